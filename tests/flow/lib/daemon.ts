// SPDX-License-Identifier: Apache-2.0
// A real berth in a directory of its own: started, asked, killed, looked into. What is started here is ended here.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, type TestContext } from 'node:test';
import { type Answer, type Ask, ask, type Target } from './http.ts';
import { berthBin, scriptedEngine } from './paths.ts';
import { alive, isHalfMade, kill, marked, stat } from './proc.ts';
import { pause, until } from './wait.ts';

export interface ModelConfig {
    id: string;
    name?: string;
    framework?: string;
    model_path: string;
    priority?: number;
    autostart?: boolean;
    additional_parameters?: string;
    parameters?: Record<string, unknown>;
    resource_requirements?: Record<string, unknown>;
    health_check?: Record<string, unknown>;
    retry_policy?: Record<string, unknown>;
    aliases?: string[];
    replicas?: number;
    keep_alive?: number | string;
    ttl?: number;
    pinned?: boolean;
    on_demand?: boolean;
}

export interface Instance {
    id: string;
    state: string;
    pid: number;
    start_time: number;
    socket: string;
    log: string;
    restarts: number;
    last_error: string | null;
    in_flight: number;
    waiting: number;
}

export interface DaemonOptions {
    config?: Record<string, any>; // merged over the defaults, section by section
    models?: ModelConfig[]; // written into the configuration file
    environment?: Record<string, string>;
}

const live = new Set<Daemon>();
process.on('exit', () => {
    for (const daemon of live) {
        daemon.reap();
    }
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => process.exit(1));
}

if (process.env.NODE_TEST_CONTEXT || process.argv[1]?.endsWith('.test.ts')) {
    afterEach((context) => {
        const { passed, name } = context as TestContext & { passed: boolean };
        for (const daemon of passed ? [] : live) {
            console.log(`--- '${name}' failed; the last of berth's log in ${daemon.dir} ---\n${daemon.log().slice(-3000)}`);
        }
    });
}

export function freePort(): Promise<number> {
    return new Promise((done, fail) => {
        const server = net.createServer();
        server.once('error', fail);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address() as net.AddressInfo;
            server.close(() => done(port));
        });
    });
}

/** A ModelConfig with everything that the contract demands. */
export function model(config: ModelConfig): ModelConfig {
    return {
        name: config.id,
        framework: 'llama_cpp',
        priority: 5,
        resource_requirements: { gpu_memory: 64 },
        ...config,
        parameters: { ctx_size: 2048, parallel: 4, threads: 1, ...config.parameters },
    };
}

export class Daemon {
    readonly dir = mkdtempSync(join(tmpdir(), 'berth-flow-'));
    readonly dataDir = join(this.dir, 'data');
    readonly configFile = join(this.dir, 'berth.yaml');
    readonly logFile = join(this.dir, 'berth.log');
    port = 0;
    private child: ChildProcess | undefined;
    private exited: Promise<number> = Promise.resolve(0);
    private environment: Record<string, string> = {};

    /** Starts a daemon and waits until it is ready. */
    static async start(options: DaemonOptions = {}): Promise<Daemon> {
        const daemon = await Daemon.prepare(options);
        await daemon.launch();
        return daemon;
    }

    /** Writes directories and configuration, starts nothing yet. */
    static async prepare({ config = {}, models = [], environment = {} }: DaemonOptions = {}): Promise<Daemon> {
        const daemon = new Daemon();
        live.add(daemon);
        daemon.port = await freePort();
        daemon.environment = environment;
        daemon.configure(config, models);
        return daemon;
    }

    /** JSON is YAML: the configuration is written without a library. */
    configure(config: Record<string, any>, models: ModelConfig[] = []): void {
        const whole: Record<string, any> = {
            ...config,
            server: { listen: `127.0.0.1:${this.port}`, ...config.server },
            engines: { llama_server: scriptedEngine, ...config.engines },
        };
        if (models.length > 0) {
            whole.models = models.map(model);
        }
        writeFileSync(this.configFile, JSON.stringify(whole, null, 2) + '\n');
    }

    get target(): Target {
        return { host: '127.0.0.1', port: this.port };
    }

    get admin(): Target {
        return { socketPath: join(this.dataDir, 'berth.sock') };
    }

    get url(): string {
        return `http://127.0.0.1:${this.port}`;
    }

    get pid(): number {
        return this.child!.pid!;
    }

    get id(): string {
        return readFileSync(join(this.dataDir, 'id'), 'utf8').trim();
    }

    /** Environment of the daemon and of CLI commands: nothing of the caller's own berth. */
    get env(): NodeJS.ProcessEnv {
        const own = Object.entries(process.env).filter(([name]) => !name.startsWith('BERTH_') && name !== 'SCRIPTED_ENGINE');
        return { ...Object.fromEntries(own), ...this.environment };
    }

    /** Spawns the process without waiting for anything. */
    spawn(): void {
        const log = openSync(this.logFile, 'a');
        const child = spawn(berthBin, ['serve', '--config', this.configFile, '--data-dir', this.dataDir], {
            stdio: ['ignore', log, log],
            env: this.env,
        });
        closeSync(log);
        child.unref(); // a daemon that a failed test left behind does not keep the test process alive
        this.child = child;
        this.exited = new Promise((done) => {
            child.once('error', () => done(-1));
            child.once('exit', (code) => done(code ?? -1));
        });
    }

    async launch(): Promise<void> {
        this.spawn();
        await this.ready();
    }

    async ready(): Promise<void> {
        await until('the daemon to be ready', async () => {
            if (!this.running()) {
                throw new Error(`berth left:\n${this.log()}`);
            }
            return (await this.get('/ready')).status === 200;
        }, 20_000, 5).catch((error) => {
            throw new Error(`${error.message}\n--- log of berth ---\n${this.log()}`);
        });
    }

    running(): boolean {
        return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
    }

    log(): string {
        return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : '';
    }

    /** SIGTERM, then SIGKILL after the limit; gives the exit code (-1: killed). */
    async stop(limitMs = 20_000): Promise<number> {
        if (!this.running()) {
            return this.exited;
        }
        kill(this.pid, 'SIGTERM');
        const timer = setTimeout(() => kill(this.pid, 'SIGKILL'), limitMs);
        const code = await this.waitExit();
        clearTimeout(timer);
        return code;
    }

    async kill9(): Promise<void> {
        if (this.running()) {
            kill(this.pid, 'SIGKILL');
            await this.waitExit();
        }
    }

    /**
     * The engines that outlived a kill9, by pid, with their instances. One that had not become an engine yet sees that its parent is
     * gone, and ends by itself. It is the very look that found none of those that is given: the next may find one that just got its mark.
     */
    async survivors(where: string): Promise<Map<number, string>> {
        await pause(5); // a child that was between fork and exec at the death gets its mark
        let marks = marked(this.id);
        await until(`${where}: half-made engines to be gone`, () => {
            marks = marked(this.id);
            return ![...marks.keys()].some((pid) => isHalfMade(pid) || !alive(pid));
        }, 5000);
        return marks;
    }

    waitExit(): Promise<number> {
        this.child?.ref();
        return this.exited;
    }

    /** Stops the daemon for good, ends what it left behind, removes its directory; gives the engines it left. */
    async finish(): Promise<number[]> {
        const code = await this.stop();
        const log = this.log();
        const left = this.reap();
        const report = /(ERROR: (Address|Leak)Sanitizer|runtime error:|[Aa]ssertion .* failed)[^]*/.exec(log);
        if (code !== 0 || report) {
            throw new Error(`berth ended with ${code}:\n${report ? report[0].slice(0, 4000) : log.slice(-3000)}`);
        }
        return left;
    }

    /** The synchronous end of everything: for finish() and for the end of the test process. */
    reap(): number[] {
        if (this.running()) {
            kill(this.pid);
        }
        const left: number[] = [];
        if (existsSync(join(this.dataDir, 'id'))) {
            for (const pid of marked(this.id).keys()) {
                if (pid !== this.child?.pid) {
                    left.push(pid);
                    kill(pid);
                }
            }
        }
        live.delete(this);
        if (!process.env.KEEP) {
            rmSync(this.dir, { recursive: true, force: true });
        }
        return left;
    }

    /** Engines alive now that carry this data directory's mark. */
    engines(): number[] {
        return [...marked(this.id).keys()].filter((pid) => pid !== this.child?.pid);
    }

    ask(request: Ask): Promise<Answer> {
        return ask(this.target, request);
    }

    get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
        return this.ask({ path, headers });
    }

    post(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
        return this.ask({ method: 'POST', path, body, headers: body === undefined ? { 'content-length': '0', ...headers } : headers });
    }

    chat(id: string, extra: Record<string, unknown> = {}): Promise<Answer> {
        return this.post('/v1/chat/completions', { model: id, messages: [{ role: 'user', content: 'Hello' }], ...extra });
    }

    async create(config: ModelConfig): Promise<void> {
        const answer = await this.post('/api/models/', model(config));
        if (answer.status !== 201) {
            throw new Error(`POST /api/models/ answered ${answer.status}: ${answer.text}`);
        }
    }

    async instances(id: string): Promise<Instance[]> {
        const answer = await this.get(`/api/models/${id}/instances`);
        if (answer.status !== 200) {
            throw new Error(`instances of ${id}: ${answer.status} ${answer.text}`);
        }
        return answer.json.instances;
    }

    async status(id: string): Promise<string> {
        return (await this.get(`/api/models/${id}/status`)).json.status;
    }

    async waitStatus(id: string, wanted: string, limitMs = 20_000): Promise<void> {
        await until(`${id} to be ${wanted}`, async () => {
            const now = await this.status(id);
            if (now !== wanted) {
                throw new Error(`it is ${now}`);
            }
            return true;
        }, limitMs).catch((error) => {
            throw new Error(`${error.message}\n--- log of berth ---\n${this.log().slice(-4000)}`);
        });
    }

    /** Waits until an instance is in that state (of DESIGN's words: starting, ready, backoff, failed ...). */
    async waitState(id: string, wanted: string, limitMs = 20_000): Promise<Instance> {
        return until(`an instance of ${id} to be ${wanted}`, async () => {
            const all = await this.instances(id);
            const one = all.find((instance) => instance.state === wanted);
            if (!one) {
                throw new Error(`instances: ${JSON.stringify(all)}`);
            }
            return one;
        }, limitMs).catch((error) => {
            throw new Error(`${error.message}\n--- log of berth ---\n${this.log().slice(-4000)}`);
        });
    }

    /** Waits for one ready instance and gives it. */
    async readyInstance(id: string, limitMs = 20_000): Promise<Instance> {
        return until(`a ready instance of ${id}`, async () => {
            const all = await this.instances(id);
            const one = all.find((instance) => instance.state === 'ready');
            if (!one || !alive(one.pid)) {
                throw new Error(`instances: ${JSON.stringify(all)}`);
            }
            return one;
        }, limitMs).catch((error) => {
            throw new Error(`${error.message}\n--- log of berth ---\n${this.log().slice(-4000)}`);
        });
    }

    /** Creates (unless it exists), starts and waits. */
    async up(config: ModelConfig): Promise<Instance> {
        await this.create(config);
        const answer = await this.post(`/api/models/${config.id}/start`);
        if (answer.status !== 200) {
            throw new Error(`start of ${config.id}: ${answer.status} ${answer.text}`);
        }
        return this.readyInstance(config.id);
    }

    /** A behaviour file for a scripted engine; see engines/scripted_behaviour.h. */
    behaviour(name: string, behaviour: Record<string, unknown>): string {
        const file = join(this.dir, `${name}.json`);
        writeFileSync(file, JSON.stringify(behaviour));
        return file;
    }

    /** A model on the scripted engine. */
    scripted(id: string, behaviour: Record<string, unknown> = {}, parameters: Record<string, unknown> = {}): ModelConfig {
        const file = this.behaviour(id, behaviour);
        return { id, model_path: file, parameters: { binary: scriptedEngine, ...parameters } };
    }
}

/** Is the engine's slot free? Asked of the engine itself, behind berth's back. */
export async function busySlots(instance: Instance): Promise<number> {
    const answer = await ask({ socketPath: instance.socket }, { path: '/slots', timeoutMs: 5000 });
    return answer.json.filter((slot: { is_processing: boolean }) => slot.is_processing).length;
}

export function startTime(pid: number): number {
    return stat(pid)?.startTime ?? 0;
}

/** The lines that a scripted engine recorded. */
export function recorded(file: string): any[] {
    return existsSync(file)
        ? readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line))
        : [];
}
