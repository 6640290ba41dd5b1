// SPDX-License-Identifier: Apache-2.0
// Measures berth beside its peers, in turn, on one machine in one run, and prints every figure beside its target.
// A missed target is a result, not a failure: the exit status is 1 only for wrong content or a broken run.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Daemon, freePort, model } from '../flow/lib/daemon.ts';
import { ask } from '../flow/lib/http.ts';
import { berthBin, program, root, scriptedEngine } from '../flow/lib/paths.ts';
import { alive, hwmKb, kill, rssKb, stat } from '../flow/lib/proc.ts';
import { until } from '../flow/lib/wait.ts';
import { type Row, median, row, show, verdict } from './figures.mts';
import { type Bench, type QueueSample, type RoomFigures, disk, measureQueues, queueReport, queueRows } from './queues.mts';

const quick = Boolean(process.env.QUICK);
const rounds = Number(process.env.ROUNDS ?? (quick ? 2 : 5));
const loadSeconds = quick ? 1 : 3;
const latencySeconds = quick ? 1 : 2;
const sseEvents = quick ? 50 : 150;
const memorySeconds = quick ? 5 : 15;
const storedModels = 1000;
const EVENTS = 46; // tokens of an answer: makes it 0.6 KB

const here = import.meta.dirname;
const out = join(root, 'build/bench');
const peersDir = join(out, 'peers');
const work = mkdtempSync(join(tmpdir(), 'berth-bench-'));
const sseLoad = program('tests/bench', 'sse-load', ['sse_load.c']);
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
const expectedText = Array.from({ length: EVENTS }, (_, i) => ` ${i}`).join('');
const behaviour = { events: EVENTS, keepalive_max: 0, keepalive_idle_ms: 0, stream_keepalive: true };

interface Peer {
    name: string;
    port: number;
    pid: number | undefined; // none: cannot be measured itself
    headers: string[]; // for wrk: name, value, ...
    streams: boolean;
}

const children: ChildProcess[] = [];
const daemons: Daemon[] = [];
let wrong = 0;

process.on('exit', () => {
    children.forEach((child) => child.pid && kill(child.pid, 'SIGTERM'));
    daemons.forEach((daemon) => daemon.reap());
    if (!process.env.KEEP) {
        rmSync(work, { recursive: true, force: true });
    }
});
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => process.exit(130));
}

function complain(text: string): void {
    wrong++;
    console.log(`WRONG CONTENT  ${text}`);
}

function background(command: string, args: string[], env: Record<string, string> = {}): number {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...env } });
    child.on('error', (error) => console.log(`${command}: ${error.message}`));
    children.push(child);
    if (!child.pid) {
        throw new Error(`cannot start ${command}`);
    }
    return child.pid;
}

function connects(port: number): Promise<boolean> {
    return new Promise((done) => {
        const socket = net.connect(port, '127.0.0.1', () => {
            socket.destroy();
            done(true);
        });
        socket.on('error', () => done(false));
    });
}

/** A process and its children (nginx's worker), not the engines, which are sessions of their own. */
function family(pid: number): number[] {
    const all = [pid];
    for (const name of readdirSync('/proc')) {
        if (/^\d+$/.test(name) && stat(Number(name))?.parent === pid && sameSession(Number(name), pid)) {
            all.push(Number(name));
        }
    }
    return all;
}

function sameSession(a: number, b: number): boolean {
    const session = (pid: number) => {
        const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
        return text.slice(text.lastIndexOf(')') + 2).split(' ')[3];
    };
    try {
        return session(a) === session(b);
    } catch {
        return false;
    }
}

function cpuSeconds(pid: number): number {
    return family(pid).reduce((sum, one) => sum + (stat(one)?.cpuTicks ?? 0), 0) / ticksPerSecond;
}

function memoryKb(pid: number, of: (pid: number) => number): number {
    return family(pid).reduce((sum, one) => sum + of(one), 0);
}

function which(name: string): string | undefined {
    return ['/usr/sbin', '/usr/local/sbin', ...(process.env.PATH ?? '').split(':')]
        .map((dir) => join(dir, name))
        .find((path) => existsSync(path));
}

/* ---- the machines under test ---- */

function mock(args: string[]): number {
    const script = join(work, 'mock.json');
    writeFileSync(script, JSON.stringify(behaviour));
    return background('/bin/sh', ['-c', 'exec "$0" "$@" 2>/dev/null', scriptedEngine, '--alias', 'bench', '--parallel', '8192', ...args], { SCRIPTED_ENGINE: script });
}

async function listening(name: string, port: number): Promise<void> {
    await until(`${name} to listen on ${port}`, () => connects(port), 20_000, 20);
}

async function startDirect(): Promise<Peer> {
    const port = await freePort();
    const pid = mock(['--port', String(port)]);
    await listening('the mock engine', port);
    return { name: 'direct', port, pid, headers: [], streams: true };
}

function fill(file: string, values: Record<string, string>): string {
    const text = readFileSync(join(here, file), 'utf8').replace(/@([A-Z]+)@/g, (all, key) => values[key] ?? all);
    const path = join(work, file);
    writeFileSync(path, text);
    return path;
}

async function startNginx(socket: string): Promise<Peer | undefined> {
    const bin = which('nginx');
    if (!bin) {
        return undefined;
    }
    const port = await freePort();
    const user = process.getuid?.() === 0 ? 'user root;\n' : '';
    const path = fill('nginx.conf', { DIR: work, PORT: String(port), UPSTREAM: `unix:${socket}` });
    writeFileSync(path, user + readFileSync(path, 'utf8'));
    const pid = background(bin, ['-p', work, '-c', path, '-e', join(work, 'nginx-error.log')]);
    await listening('nginx', port);
    return { name: 'nginx', port, pid, headers: [], streams: true };
}

async function startHaproxy(socket: string): Promise<Peer | undefined> {
    const bin = which('haproxy');
    if (!bin) {
        return undefined;
    }
    const port = await freePort();
    const path = fill('haproxy.cfg', { PORT: String(port), UPSTREAM: `unix@${socket}` });
    const pid = background(bin, ['-q', '-db', '-f', path]);
    await listening('haproxy', port);
    return { name: 'haproxy', port, pid, headers: [], streams: true };
}

/** What comes from npm, as the lock file names it; what was installed by an older one is installed anew. */
function installPeers(): boolean {
    const lock = readFileSync(join(here, 'peers/package-lock.json'));
    const stamp = join(peersDir, 'installed-lock.json');
    if (existsSync(stamp) && readFileSync(stamp).equals(lock)) {
        return true;
    }
    mkdirSync(peersDir, { recursive: true });
    for (const file of ['package.json', 'package-lock.json']) {
        writeFileSync(join(peersDir, file), readFileSync(join(here, 'peers', file)));
    }
    const npm = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', peersDir], { encoding: 'utf8' });
    if (npm.status !== 0) {
        console.log(`the peers from npm could not be installed, going on without them:\n${npm.stderr ?? npm.error}`);
        return false;
    }
    writeFileSync(stamp, lock);
    return true;
}

/** The gateway from npm; 1.11.5 is no longer in the registry, 1.15.2 is (and fails on streams: not measured there). */
async function startPortkey(enginePort: number): Promise<Peer | undefined> {
    const entry = join(peersDir, 'node_modules/@portkey-ai/gateway/build/start-server.js');
    if (!existsSync(entry)) {
        return undefined;
    }
    const port = await freePort();
    const pid = background(process.execPath, [entry, `--port=${port}`, '--headless'], { TRUSTED_CUSTOM_HOSTS: '127.0.0.1', NODE_ENV: 'production' });
    await listening('portkey', port);
    const headers = ['x-portkey-provider', 'openai', 'x-portkey-custom-host', `http://127.0.0.1:${enginePort}/v1`, 'Authorization', 'Bearer none'];
    return { name: 'portkey', port, pid, headers, streams: false };
}

function benchModel(daemon: Daemon): ReturnType<typeof model> {
    const script = daemon.behaviour('bench', behaviour);
    return model({ id: 'bench', model_path: script, parameters: { binary: scriptedEngine, ctx_size: 8192, parallel: 4096 } });
}

/** Without an access log, as its peers here (ACCESS_LOG=1: with one, to see what it costs). */
async function startBerth(): Promise<{ daemon: Daemon; peer: Peer }> {
    const daemon = await Daemon.start({ config: { gateway: { access_log: process.env.ACCESS_LOG === '1' } } });
    daemons.push(daemon);
    await daemon.up(benchModel(daemon));
    return { daemon, peer: { name: 'berth', port: daemon.port, pid: daemon.pid, headers: [], streams: true } };
}

/* ---- the measurements ---- */

async function checkContent(peer: Peer): Promise<number> {
    const headers: Record<string, string> = {};
    for (let i = 0; i < peer.headers.length; i += 2) {
        headers[peer.headers[i]] = peer.headers[i + 1];
    }
    let bytes = 0;
    for (let i = 0; i < 20; i++) {
        const answer = await ask({ host: '127.0.0.1', port: peer.port }, {
            method: 'POST',
            path: '/v1/chat/completions',
            headers,
            body: { model: 'bench', messages: [{ role: 'user', content: 'Count.' }], max_tokens: 64 },
        });
        bytes = answer.text.length;
        if (answer.status !== 200 || answer.json?.choices?.[0]?.message?.content !== expectedText) {
            complain(`${peer.name}: ${answer.status} ${answer.text.slice(0, 200)}`);
            break;
        }
    }
    return bytes;
}

function wrk(peer: Peer, connections: number, seconds: number): { requests: number; bytes: number; us: number; p50_us: number; p99_us: number; errors: number } {
    const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '--timeout', '30s', '-s', join(here, 'chat.lua'), `http://127.0.0.1:${peer.port}`];
    const run = spawnSync('wrk', peer.headers.length > 0 ? [...args, '--', ...peer.headers] : args, { encoding: 'utf8' });
    const line = run.stdout?.split('\n').find((text) => text.startsWith('{'));
    if (!line) {
        throw new Error(`wrk on ${peer.name}: ${run.error ?? run.stdout + run.stderr}`);
    }
    return JSON.parse(line);
}

interface Sample {
    peer: string;
    round: number;
    rps?: number;
    usPerRequest?: number;
    p50?: number;
    p99?: number;
    usPerChunk?: number;
    rssMb?: number;
}

const samples: Sample[] = [];

function measureRequests(peer: Peer, round: number, answerBytes: number): Sample {
    const before = peer.pid ? cpuSeconds(peer.pid) : 0;
    const load = wrk(peer, 64, loadSeconds);
    const cpu = (peer.pid ? cpuSeconds(peer.pid) : 0) - before;
    const one = wrk(peer, 1, latencySeconds);
    if (load.errors + one.errors > 0) {
        complain(`${peer.name}: ${load.errors + one.errors} of wrk's requests failed`);
    }
    if (load.bytes / load.requests < answerBytes) {
        complain(`${peer.name}: answers of ${Math.round(load.bytes / load.requests)} bytes, expected at least ${answerBytes}`);
    }
    return {
        peer: peer.name,
        round,
        rps: load.requests / (load.us / 1e6),
        usPerRequest: (cpu * 1e6) / load.requests,
        p50: one.p50_us,
        p99: one.p99_us,
        rssMb: peer.pid ? memoryKb(peer.pid, rssKb) / 1024 : undefined,
    };
}

/** CPU a chunk; the loader runs aside so that this process can go on serving its children. */
function sse(peer: Peer, streams: number, events: number, eventMs: number): Promise<{ events: number; errors: number; cpu: number }> {
    const before = peer.pid ? cpuSeconds(peer.pid) : 0;
    return new Promise((done, fail) => {
        const child = spawn(sseLoad, ['127.0.0.1', String(peer.port), 'bench', String(streams), String(events), String(eventMs)], { stdio: ['ignore', 'pipe', 'inherit'] });
        let text = '';
        child.stdout.on('data', (data) => (text += data));
        child.on('error', fail);
        child.on('close', () => {
            const result = JSON.parse(text);
            if (result.errors > 0 || result.events !== result.expected) {
                complain(`${peer.name}: ${result.errors} of ${streams} streams wrong, ${result.events} of ${result.expected} events`);
            }
            done({ events: result.events, errors: result.errors, cpu: (peer.pid ? cpuSeconds(peer.pid) : 0) - before });
        });
    });
}

async function roundOf(peers: Peer[], round: number, answerBytes: number): Promise<void> {
    const order = peers.map((_, i) => peers[(i + round) % peers.length]);
    for (const peer of order) {
        const sample = measureRequests(peer, round, answerBytes);
        if (peer.streams) {
            const { events, cpu } = await sse(peer, 200, sseEvents, 20);
            sample.usPerChunk = (cpu * 1e6) / Math.max(events, 1);
        }
        samples.push(sample);
        console.log(`round ${round + 1}  ${peer.name.padEnd(8)} ${show(sample.rps, 0)} req/s  ${show(sample.usPerRequest)} us CPU/req  ` +
            `p50 ${show(sample.p50, 0)} us  p99 ${show(sample.p99, 0)} us  ${show(sample.usPerChunk)} us CPU/chunk`);
    }
}

/* ---- berth's own sizes ---- */

interface Sizes {
    idleMb: number;
    streamsHwmMb: number;
    listenMs: number[];
}

async function startToListening(daemon: Daemon): Promise<number> {
    const begin = process.hrtime.bigint();
    daemon.spawn();
    while (!(await connects(daemon.port))) {
        if (!daemon.running()) {
            throw new Error(`berth left: ${daemon.log()}`);
        }
        await new Promise((done) => setTimeout(done, 1));
    }
    const ms = Number(process.hrtime.bigint() - begin) / 1e6;
    await daemon.ready();
    return ms;
}

async function measureSizes(): Promise<Sizes> {
    const idle = await Daemon.start();
    daemons.push(idle);
    const idleMb = rssKb(idle.pid) / 1024;
    await idle.finish();

    const { daemon, peer } = await startBerth();
    await sse(peer, 2000, memorySeconds, 1000);
    const streamsHwmMb = hwmKb(daemon.pid) / 1024;
    await daemon.finish();

    const many = await Daemon.start();
    daemons.push(many);
    const script = many.behaviour('stored', behaviour);
    for (let i = 0; i < storedModels; i++) {
        await many.create({ id: `stored-${i}`, model_path: script, parameters: { binary: scriptedEngine } });
    }
    const listenMs: number[] = [];
    for (let i = 0; i < 5; i++) {
        await many.stop();
        listenMs.push(await startToListening(many));
    }
    const stored = (await many.get('/api/models/')).json.length;
    if (stored !== storedModels) {
        complain(`${stored} models after the restart, ${storedModels} were stored`);
    }
    await many.finish();
    return { idleMb, streamsHwmMb, listenMs };
}

/* ---- queues ---- */

const queueRounds = Math.min(rounds, 3);

function bench(): Bench {
    return {
        work,
        peers: peersDir,
        seconds: loadSeconds,
        background,
        listening,
        cpuSeconds,
        end: async (pid) => {
            kill(pid, 'SIGTERM');
            await until(`process ${pid} to end`, () => !alive(pid), 20_000, 10);
        },
        which,
        complain,
    };
}

/* ---- arithmetic alone: placement, planner, dispatch; and the tasks' room ---- */

interface Arithmetic {
    tasks?: RoomFigures;
    dispatch?: { us_64: number; us_10000: number };
    placement?: { ms_1000: number; ms_10000: number; optimal: number; worst: number };
    planner?: { evaluations: number; search_ms: number };
}

/** Runs a C program that stands beside berth; its last line is its figures. */
function figures(name: string, parse: (line: string) => any = JSON.parse): any {
    const path = join(dirname(realpathSync(berthBin)), 'tests/bench', name);
    if (!existsSync(path)) {
        console.log(`no ${path}, going on without it`);
        return undefined;
    }
    const text = execFileSync(path, { encoding: 'utf8' });
    process.stdout.write(text);
    return parse(text.trimEnd().split('\n').at(-1)!);
}

function dispatchFigures(line: string): Arithmetic['dispatch'] {
    const [, few, many] = /([\d.]+) over 64 instances, ([\d.]+) over 10000/.exec(line) ?? [];
    return { us_64: Number(few), us_10000: Number(many) };
}

/* ---- the report ---- */

function of(peer: string, field: keyof Sample): number {
    return median(samples.filter((sample) => sample.peer === peer).map((sample) => sample[field] as number | undefined));
}

/** The median over the rounds of berth's figure divided by the peer's of the same round. */
function ratio(field: keyof Sample, peer: string, value: (sample: Sample, direct: Sample | undefined) => number): number {
    const ratios: number[] = [];
    for (let round = 0; round < rounds; round++) {
        const at = (name: string) => samples.find((sample) => sample.peer === name && sample.round === round);
        const own = at('berth');
        const other = at(peer);
        if (own && other && own[field] !== undefined && other[field] !== undefined) {
            ratios.push(value(own, at('direct')) / value(other, at('direct')));
        }
    }
    return median(ratios);
}

function rows(sizes: Sizes | undefined, queues: QueueSample[], { placement, planner, tasks, dispatch }: Arithmetic): Row[] {
    const perCpu = (sample: Sample) => 1 / sample.usPerRequest!;
    const added = (sample: Sample, direct: Sample | undefined) => Math.max(sample.p50! - (direct?.p50 ?? 0), 1);
    return [
        row('requests per CPU-second, berth : nginx', ratio('usPerRequest', 'nginx', perCpu), 2, ' x', '>=', 1.0),
        row('requests per CPU-second, berth : portkey', ratio('usPerRequest', 'portkey', perCpu), 0, ' x', '>=', 50),
        row('added p50 at one connection, berth : nginx', ratio('p50', 'nginx', added), 2, ' x', '<=', 1.3),
        row('CPU per SSE chunk, berth : nginx', ratio('usPerChunk', 'nginx', (sample) => sample.usPerChunk!), 2, ' x', '<=', 1.0),
        row('VmHWM with 2,000 streams', sizes?.streamsHwmMb ?? NaN, 1, ' MB', '<=', 64),
        row('idle RSS', sizes?.idleMb ?? NaN, 1, ' MB', '<=', 20),
        row(`start to listening, ${storedModels} models`, median(sizes?.listenMs ?? []), 1, ' ms', '<=', 100),
        row('placement pass, 1,000 devices, 500 models', placement?.ms_1000 ?? NaN, 1, ' ms', '<=', 10),
        row('placement pass, 10,000 devices, 500 models', placement?.ms_10000 ?? NaN, 1, ' ms', '<=', 150),
        row('placements of the best value, of 200 cases', 100 * (placement?.optimal ?? NaN), 1, ' %', '>=', 95),
        row('the worst of them, of the best value', 100 * (placement?.worst ?? NaN), 1, ' %', '>=', 90),
        row('plan evaluations a second, one core, the slowest of three models', (planner?.evaluations ?? NaN) / 1000, 0, ' thousand', '>=', 500),
        row('plan search, 1,024 chips', planner?.search_ms ?? NaN, 0, ' ms', '<=', 1000),
        ...queueRows(queues, tasks),
        row('dispatch decision, 64 instances, the slowest strategy', dispatch?.us_64 ?? NaN, 1, ' us', '<=', 10),
        row('dispatch decision, 10,000 instances', dispatch?.us_10000 ?? NaN, 0, ' us', '<=', 200),
    ];
}

function report(peers: Peer[], queueLines: string[], table: Row[]): string {
    const lines = [
        '# berth beside its peers',
        '',
        `${rounds} alternating rounds, medians; ${cpus().length} x ${cpus()[0]?.model.trim()}; 2 KB chat request, 0.6 KB answer, scripted engine`,
        'behind a unix socket (portkey: TCP), one worker each, 64 connections for load, 1 for latency, 200 paced streams for events.',
        'Ratios are the median of the ratios within each round; "added" is over the direct answer of the same round.',
        '',
        '| proxy | req/s | CPU us/request | req per CPU-s | p50 us | p99 us | CPU us/SSE chunk | RSS MB |',
        '|---|---|---|---|---|---|---|---|',
        ...peers.map(({ name }) => `| ${name} | ${show(of(name, 'rps'), 0)} | ${show(of(name, 'usPerRequest'))} | ${show(1e6 / of(name, 'usPerRequest'), 0)} | ` +
            `${show(of(name, 'p50'), 0)} | ${show(of(name, 'p99'), 0)} | ${show(of(name, 'usPerChunk'))} | ${show(of(name, 'rssMb'))} |`),
        '',
        ...queueLines,
        '| target | measured | wanted | |',
        '|---|---|---|---|',
        ...table.map((row) => `| ${row.what} | ${row.figure} | ${row.target} | ${verdict(row)} |`),
        '',
    ];
    return lines.join('\n');
}

async function main(): Promise<void> {
    mkdirSync(out, { recursive: true });
    installPeers();
    const socket = join(work, 'mock.sock');
    mock(['--host', socket]);
    const direct = await startDirect();
    const withBerth = existsSync(berthBin) && !process.env.NO_BERTH;
    if (!withBerth) {
        console.log(`no berth at ${berthBin}: measuring the peers alone`);
    }
    const started = process.env.NO_PROXIES ? [] : [
        direct,
        await startNginx(socket),
        await startHaproxy(socket),
        process.env.NO_PORTKEY ? undefined : await startPortkey(direct.port),
        withBerth ? (await startBerth()).peer : undefined,
    ];
    const peers = started.filter((peer) => peer !== undefined);
    const answerBytes = await checkContent(direct);
    for (const peer of peers) {
        await checkContent(peer);
    }
    for (let round = 0; round < rounds && peers.length > 0; round++) {
        await roundOf(peers, round, answerBytes);
    }
    for (const peer of peers) {
        await checkContent(peer);
    }
    const sizes = withBerth && peers.length > 0 ? await measureSizes() : undefined;
    const place = disk(work);
    const queues = withBerth && !process.env.NO_QUEUES ? await measureQueues(bench(), queueRounds) : [];
    const arithmetic: Arithmetic = withBerth
        ? { placement: figures('placement-bench'), planner: figures('planner-bench'), tasks: figures('tasks-bench'), dispatch: figures('dispatch-bench', dispatchFigures) }
        : {};
    const table = rows(sizes, queues, arithmetic);
    const text = report(peers, queueReport(queues, place, work), table);
    writeFileSync(join(out, 'report.md'), text);
    writeFileSync(join(out, 'report.json'), JSON.stringify({ rounds, answerBytes, samples, sizes, place, queues, arithmetic, table, wrong }, null, 2) + '\n');
    console.log(`\n${text}\nwritten to build/bench/report.md and report.json`);
    process.exit(wrong > 0 ? 1 : 0);
}

await main();
