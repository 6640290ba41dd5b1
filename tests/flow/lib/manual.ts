// SPDX-License-Identifier: Apache-2.0
// The manual as its readers use it: its pages are cut into blocks, and what a block of the kind `console` shows is typed into a shell.
//
// In a console block a line that begins with "$ " is a command; it goes on in the next line after a "\" or within an open quote, and up to
// the closing word of a here-document. What follows up to the next command is what it prints: "..." stands for anything within a line, alone in a line for any lines.
// A command must end with 0, unless the next one is `echo $?`. One that ends with "&" stays in the background: what is shown of it is its
// beginning. One shell runs a whole page, in its order, in a home directory of its own, where ~/berth is the source tree.
// A block of the kind `figures` is the same, but that what is computed is shown: its numbers may be off by a fifth, so that a new fit of the
// planner does not make liars of pages that still say what a reader would see.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { freePort } from './daemon.ts';
import { ask } from './http.ts';
import { berthBin, llamaServer, quickstartGguf, root } from './paths.ts';
import { alive, kill, marked } from './proc.ts';
import { until } from './wait.ts';

export const manual = join(root, 'docs/manual');
export const languages = readdirSync(manual).sort();
export const pages = readdirSync(join(manual, 'en')).sort();

export interface Block {
    kind: string;
    line: number; // of its first line
    text: string;
}

export interface Command {
    line: number;
    text: string;
    expected: string;
    figures: boolean;
}

/** Blocks that are typed. */
export const isTyped = (block: Block): boolean => block.kind === 'console' || block.kind === 'figures';

export function read(language: string, page: string): string {
    return readFileSync(join(manual, language, page), 'utf8');
}

export function blocks(page: string): Block[] {
    const found: Block[] = [];
    let open: Block | undefined;
    page.split('\n').forEach((line, at) => {
        const fence = /^```(\w*)$/.exec(line);
        if (fence && open) {
            found.push(open);
            open = undefined;
        } else if (fence) {
            open = { kind: fence[1], line: at + 2, text: '' };
        } else if (open) {
            open.text += line + '\n';
        }
    });
    if (open) {
        throw new Error(`the block of line ${open.line} is not closed`);
    }
    return found;
}

export function commands(block: Block): Command[] {
    const found: Command[] = [];
    const lines = block.text.split('\n').slice(0, -1);
    for (let i = 0; i < lines.length; i++) {
        if (!lines[i].startsWith('$ ')) {
            if (found.length === 0) {
                throw new Error(`line ${block.line}: a console block begins with a command`);
            }
            found.at(-1)!.expected += lines[i] + '\n';
            continue;
        }
        const command: Command = { line: block.line + i, text: lines[i].slice(2), expected: '', figures: block.kind === 'figures' };
        const word = /<<'?(\w+)'?/.exec(command.text)?.[1];
        const goesOn = (): boolean => lines[i].endsWith('\\') || (command.text.match(/'/g) ?? []).length % 2 === 1;
        while (word ? lines[i] !== word : goesOn()) {
            if (++i >= lines.length) {
                throw new Error(`line ${command.line}: the command has no end`);
            }
            command.text += '\n' + lines[i];
        }
        found.push(command);
    }
    return found;
}

const even = (text: string): string => text.split('\n').map((line) => line.trimEnd().replace(/\s+/g, ' ')).join('\n').trim();

const number = /\d+(?:\.\d+)?/g;
const near = (a: number, b: number): boolean => Math.abs(a - b) <= 0.2 * Math.max(Math.abs(a), Math.abs(b)) + 1.001;

/** Does what was printed read like what the page shows? `part`: it may go on. `figures`: numbers may be somewhat off. */
export function matches(shown: string, printed: string, part = false, figures = false): boolean {
    const literal = (piece: string): string => piece.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
    const text = (piece: string): string => (figures ? piece.split(number).map(literal).join('(\\d+(?:\\.\\d+)?)') : literal(piece));
    const lines = even(shown).split('\n').map((line) =>
        line === '...' ? '(?:[^\\n]*\\n)*?' : line.split('...').map(text).join('[^\\n]*?') + '\\n');
    if (part && shown.trim() === '') {
        return true;
    }
    const found = new RegExp(`^${lines.join('')}${part ? '' : '$'}`).exec(even(printed) + '\n');
    if (!found || !figures) {
        return found !== null;
    }
    const wanted = shown.replaceAll('...', ' ').match(number) ?? [];
    return wanted.every((one, i) => near(Number(one), Number(found[i + 1])));
}

/** A reader at a shell: types commands, sees what they print. What is started in it is ended with it. */
export class Reader {
    readonly home = mkdtempSync(join(tmpdir(), 'berth-manual-'));
    port = 0;
    private shell!: ChildProcess;
    private printed = '';
    private background: number[] = []; // pids of what was started with "&"

    static async sitDown(): Promise<Reader> {
        const reader = new Reader();
        reader.port = await freePort();
        const bin = join(reader.home, '.bin');
        const tools = join(reader.home, 'berth/build/tools');
        mkdirSync(bin);
        mkdirSync(tools, { recursive: true });
        mkdirSync(join(reader.home, 'try'));
        symlinkSync(berthBin, join(bin, 'berth'));
        symlinkSync(berthBin, join(reader.home, 'berth/build/berth'));
        symlinkSync(quickstartGguf, join(tools, 'quickstart.gguf'));
        symlinkSync(join(root, 'tests/flow/node_modules'), join(reader.home, 'node_modules'));
        const own = Object.entries(process.env).filter(([name]) => !/^(BERTH_|NODE_|DB_|REDIS_|DATABASE_URL|SCRIPTED_)/.test(name));
        reader.shell = spawn('bash', ['--noprofile', '--norc'], {
            cwd: join(reader.home, 'try'),
            stdio: ['pipe', 'pipe', 'inherit'],
            env: { ...Object.fromEntries(own), HOME: reader.home, PATH: `${bin}:${dirname(llamaServer)}:${dirname(process.execPath)}:${process.env.PATH}`, LC_ALL: 'C.UTF-8' },
        });
        reader.shell.stdout!.setEncoding('utf8').on('data', (text) => (reader.printed += text));
        await reader.type('exec 2>&1');
        return reader;
    }

    /** Pages say 8080; each reader has a port of its own. */
    private outward = (text: string): string => text.replaceAll(':8080', `:${this.port}`);
    private inward = (text: string): string => text.replaceAll(`:${this.port}`, ':8080').replaceAll(this.home, '/home/you');

    private async type(command: string): Promise<string> {
        const from = this.printed.length;
        const end = /\n<(\d+)>\n$/;
        // The shell tells of a job's end at some time, also behind the mark.
        const said = (): string => this.printed.slice(from).replace(/^bash: line \d+: +\d+ (Killed|Terminated).*\n/gm, '');
        // The exit code of the command before is put back, for `echo $?`.
        this.shell.stdin!.write(`(exit $code)\n${command}\ncode=$?; printf '\\n<%d>\\n' $code\n`);
        await until(`'${command}' to end`, () => end.test(said()), 60_000, 5).catch((error) => {
            throw new Error(`${error.message}; it printed:\n${this.printed.slice(from)}`);
        });
        return this.inward(said());
    }

    /** Runs one command and compares; throws with both texts when they differ. */
    async run(command: Command, mayFail: boolean): Promise<void> {
        const text = this.outward(command.text);
        let printed: string;
        if (/&$/.test(text)) {
            const log = join(this.home, `.background-${this.background.length}`);
            const said = await this.type(text.replace(/&$/, `>${log} 2>&1 </dev/null & echo "<$!>"`));
            this.background.push(Number(/^<(\d+)>$/m.exec(said)![1]));
            const look = (): string => (existsSync(log) ? this.inward(readFileSync(log, 'utf8')) : '');
            await until('berth to be ready', async () => (await ask({ host: '127.0.0.1', port: this.port }, { path: '/ready' })).status === 200, 20_000, 20)
                .catch(() => { throw new Error(`line ${command.line}: '${command.text}' does not get ready:\n${look()}`); });
            await until('it to print what the page shows', () => matches(command.expected, look(), true), 20_000, 20)
                .catch(() => { throw new Error(`line ${command.line}: '${command.text}' shows\n${command.expected}\nbut printed\n${look()}`); });
            return;
        }
        printed = await this.type(text);
        const code = Number(/\n<(\d+)>\n$/.exec(printed)![1]);
        printed = printed.replace(/\n<\d+>\n$/, '');
        if (code !== 0 && !mayFail) {
            throw new Error(`line ${command.line}: '${command.text}' ended with ${code}:\n${printed}`);
        }
        if (!matches(command.expected, printed, false, command.figures)) {
            throw new Error(`line ${command.line}: '${command.text}' shows\n${command.expected}\nbut printed\n${printed}`);
        }
    }

    /** Ends what the page has started; gives the engines that were left without a berth. */
    async leave(): Promise<number[]> {
        this.background.forEach((pid) => kill(pid, 'SIGTERM'));
        await until('berth to end', () => !this.background.some((pid) => alive(pid)), 20_000, 20)
            .catch(() => this.background.forEach((pid) => kill(pid)));
        this.shell.stdin!.end();
        const left: number[] = [];
        for (const dir of readdirSync(join(this.home, 'try'))) {
            const id = join(this.home, 'try', dir, 'id');
            for (const pid of existsSync(id) ? marked(readFileSync(id, 'utf8').trim()).keys() : []) {
                if (alive(pid)) {
                    left.push(pid);
                    kill(pid);
                }
            }
        }
        if (this.shell.exitCode === null) {
            this.shell.kill('SIGKILL');
        }
        if (!process.env.KEEP) {
            rmSync(this.home, { recursive: true, force: true });
        }
        return left;
    }
}
