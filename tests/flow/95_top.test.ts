// SPDX-License-Identifier: Apache-2.0
// berth top: the overview in a pipe and, by script(1), on a terminal: drawn anew when something happens, and the terminal given back.
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { after, afterEach, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { berthBin } from './lib/paths.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;
let terminal: Terminal | undefined;

before(async () => {
    daemon = await Daemon.start({ config: { gpu: { interval: '100ms' } } });
    await daemon.create(daemon.scripted('asleep'));
    await daemon.up(daemon.scripted('busy'));
});

afterEach(() => terminal?.child.kill('SIGKILL'));

after(async () => {
    assert.deepEqual(await daemon.finish(), []);
});

const environment = (more: Record<string, string> = {}) => ({ ...daemon.env, BERTH_DATA_DIR: daemon.dataDir, TERM: 'xterm', ...more });

function berth(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    return new Promise((done) => {
        execFile(berthBin, args, { env: environment(), encoding: 'utf8', timeout: 30_000 }, (error, out, err) => {
            done({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, out, err });
        });
    });
}

/** `berth top` on a terminal of its own. */
class Terminal {
    readonly child: ChildProcess;
    text = '';
    readonly ended: Promise<number>;

    constructor(command: string, more: Record<string, string> = {}) {
        this.child = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], { env: environment(more), stdio: ['pipe', 'pipe', 'inherit'] });
        this.child.stdout!.on('data', (data) => (this.text += data));
        this.ended = new Promise((done) => this.child.once('close', (code) => done(code ?? -1))); // its output is read to the end by then
    }

    /** What stands on the screen, without colours. */
    get screen(): string {
        return this.text.slice(this.text.lastIndexOf('\x1b[H') + 3).replace(/\x1b\[[0-9;?]*[A-Za-z]/g, '').replaceAll('\r', '');
    }

    shows(what: RegExp): Promise<boolean> {
        return until(`the screen to show ${what}`, async () => {
            if (!what.test(this.screen)) {
                throw new Error(this.screen);
            }
            return true;
        }, 30_000);
    }

    press(keys: string): void {
        this.child.stdin!.write(keys);
    }
}

function open(more: Record<string, string> = {}): Terminal {
    terminal = new Terminal(`trap : INT; stty rows 40 cols 100; ${berthBin} top; echo "code $?"; stty -a`, more);
    return terminal;
}

test('in a pipe it is printed once', async () => {
    for (const args of [['top'], ['top', '--once']]) {
        const { code, out, err } = await berth(...args);
        assert.equal(code, 0, err);
        assert.match(out, /^berth \d+\.\d+\.\d+, up \S+: healthy\n/);
        assert.match(out, /^requests +\d+\.\d\/s.* in flight/m);
        assert.match(out, /^tasks +0 pending, 0 running$/m);
        assert.match(out, /^busy +running +1 of 1 ready +0 +0$/m);
        assert.match(out, /^asleep +stopped +- +0 +0$/m);
        assert.match(out, /^\d\d:\d\d:\d\d\S* instance_state +busy .*to=ready/m);
        assert.ok(out.indexOf('\nbusy') < out.indexOf('\nasleep'), 'what runs stands first');
        assert.ok(!out.includes('\x1b'), 'without colours');
    }
    const json = JSON.parse((await berth('top', '--json')).out);
    assert.deepEqual(Object.keys(json).sort(), ['devices', 'events', 'health', 'instances', 'models', 'service']);
    assert.equal(json.models.length, 2);
});

test('on a terminal it follows what happens, until q', async () => {
    const top = open();
    await top.shows(/^busy +running/m);
    assert.ok(top.text.includes('\x1b[?1049h') && top.text.includes('\x1b[?25l'), 'a screen of its own, without a cursor');
    assert.match(top.text, /\x1b\[32mhealthy/);
    await daemon.create(daemon.scripted('newcomer'));
    await daemon.post('/api/models/newcomer/start');
    await top.shows(/^newcomer +running +1 of 1 ready/m);
    await daemon.post('/api/models/newcomer/stop');
    await top.shows(/^newcomer +stopped/m);
    top.press('q');
    assert.equal(await top.ended, 0);
    const left = top.text.slice(top.text.lastIndexOf('\x1b[?1049l'));
    assert.ok(top.text.includes('\x1b[?25h'), 'the cursor is back');
    assert.match(left, /code 0/);
    assert.match(left, /(?<!-)\bicanon\b/, 'lines as before');
    assert.match(left, /(?<!-)\becho\b/, 'and what is typed is seen');
});

test('Ctrl-C leaves the terminal as it was, too; NO_COLOR is kept to', async () => {
    const top = open({ NO_COLOR: '1' });
    await top.shows(/^busy +running/m);
    assert.ok(!/\x1b\[[0-9;]*[1-9]m/.test(top.text), 'no colours');
    top.press('\x03');
    assert.equal(await top.ended, 0);
    const left = top.text.slice(top.text.lastIndexOf('\x1b[?1049l'));
    assert.match(left, /(?<!-)\bicanon\b[^]*(?<!-)\becho\b/);
});

test('a daemon that goes is waited for', async () => {
    const top = open();
    await top.shows(/: healthy/);
    assert.equal(await daemon.stop(), 0);
    await top.shows(/does not answer; asking again/);
    assert.match(top.screen, /^busy/m, 'what was known last stays');
    await daemon.launch();
    await top.shows(/: healthy/);
    top.press('q');
    assert.equal(await top.ended, 0);
});
