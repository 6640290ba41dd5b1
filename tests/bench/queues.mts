// SPDX-License-Identifier: Apache-2.0
// Durable queues side by side: berth, BullMQ on Redis, beanstalkd. Each in turn, with a fresh directory on a real disk, every submit
// synced before it is answered, 64 clients; then the whole way of a task: submitted, claimed, done. CPU is that of all processes
// involved: the queue's, its clients', its workers'.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { closeSync, copyFileSync, existsSync, fsyncSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, freePort, model } from '../flow/lib/daemon.ts';
import { scriptedEngine } from '../flow/lib/paths.ts';
import { until } from '../flow/lib/wait.ts';
import { type Row, median, row, show } from './figures.mts';

const CLIENTS = 64;
const TMPFS = 0x01021994;
const here = import.meta.dirname;

export interface QueueSample {
    queue: string;
    round: number;
    submits: number; // a second
    submitsPerCpu: number; // and CPU-second
    cycles: number;
    cyclesPerCpu: number;
}

/** What the bench lends: where to work, how to start and to watch a process. */
export interface Bench {
    work: string;
    peers: string; // where the packages from npm are installed
    seconds: number;
    background: (command: string, args: string[]) => number;
    listening: (name: string, port: number) => Promise<void>;
    cpuSeconds: (pid: number) => number;
    end: (pid: number) => Promise<void>;
    which: (name: string) => string | undefined;
    complain: (text: string) => void;
}

/** Of the directory that all of them write to: how fast it syncs, and whether it is a disk at all. */
export function disk(dir: string): { tmpfs: boolean; syncs: number } {
    const path = join(dir, 'sync');
    const fd = openSync(path, 'w');
    const begin = process.hrtime.bigint();
    const count = 200;
    for (let i = 0; i < count; i++) {
        writeSync(fd, Buffer.alloc(4096));
        fsyncSync(fd);
    }
    const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
    closeSync(fd);
    rmSync(path);
    return { tmpfs: statfsSync(dir).type === TMPFS, syncs: count / seconds };
}

/* ---- clients: programs of their own, that tell time and CPU ---- */

interface Run {
    us: number;
    cpuUs: number;
    endUs: number; // by the clock that all processes share
}

interface Client {
    child: ChildProcess;
    ready: Promise<void>;
    ended: Promise<Run>;
}

function client(script: string, cwd: string, args: Array<string | number>): Client {
    const child = spawn(process.execPath, [join(cwd, script), ...args.map(String)], { cwd, stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    let onReady: () => void;
    const ready = new Promise<void>((done) => (onReady = done));
    const ended = new Promise<Run>((done, fail) => {
        child.stdout!.on('data', (data) => {
            text += data;
            if (text.startsWith('ready')) {
                onReady();
            }
        });
        child.on('error', fail);
        child.on('close', () => {
            const line = text.trimEnd().split('\n').at(-1) ?? '';
            if (!line.startsWith('{')) {
                fail(new Error(`${script} ${args.join(' ')} told nothing`));
                return;
            }
            const { us, cpu_us, end_us } = JSON.parse(line);
            done({ us, cpuUs: cpu_us, endUs: end_us });
        });
    });
    return { child, ready, ended };
}

/** wrk under a shell that tells what its children used. */
function wrk(port: number, seconds: number, modelId: number): { requests: number; us: number; errors: number; cpuSeconds: number } {
    const script = join(here, 'submit.lua');
    const command = `wrk -t1 -c${CLIENTS} -d${seconds}s --timeout 30s -s '${script}' http://127.0.0.1:${port} -- ${modelId}; times`;
    const { stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
    const lines = stdout.trimEnd().split('\n');
    const figures = lines.find((line) => line.startsWith('{'));
    if (!figures) {
        throw new Error(`wrk: ${stdout}${stderr}`);
    }
    const used = [...lines.at(-1)!.matchAll(/(\d+)m([\d.]+)s/g)].reduce((sum, [, m, s]) => sum + 60 * Number(m) + Number(s), 0);
    return { ...JSON.parse(figures), cpuSeconds: used };
}

function per(count: number, seconds: number): number {
    return count / Math.max(seconds, 1e-6);
}

/* ---- berth ---- */

async function berthModel(daemon: Daemon, id: string, more: Record<string, unknown>): Promise<number> {
    const script = daemon.behaviour(id, { events: 1, keepalive_max: 0, keepalive_idle_ms: 0 });
    await daemon.create(model({ id, model_path: script, parameters: { binary: scriptedEngine, ctx_size: 8192, parallel: 256 }, ...more } as any));
    const listed = (await daemon.get('/api/v1/models?page_size=100')).json.data;
    const found = (listed.models ?? listed.items ?? listed).find((one: any) => one.name === id);
    return found.id;
}

async function measureBerth(bench: Bench, round: number): Promise<QueueSample> {
    const daemon = await Daemon.start({
        config: { gateway: { access_log: false }, queue: { max_queue_size: 10_000_000, max_queue_bytes: '16GiB' }, worker: { max_workers: 1000 } },
    });
    const sample: QueueSample = { queue: 'berth', round, submits: NaN, submitsPerCpu: NaN, cycles: NaN, cyclesPerCpu: NaN };
    try {
        const waiting = await berthModel(daemon, 'waiting', { task_status: 'offline' });
        let before = bench.cpuSeconds(daemon.pid);
        const submits = wrk(daemon.port, bench.seconds, waiting);
        sample.submits = per(submits.requests, submits.us / 1e6);
        sample.submitsPerCpu = per(submits.requests, bench.cpuSeconds(daemon.pid) - before + submits.cpuSeconds);
        await check(bench, daemon, 'pending', submits.requests, submits.errors);

        const working = await berthModel(daemon, 'working', { max_workers: CLIENTS });
        await daemon.post('/api/models/working/start');
        const engine = await daemon.readyInstance('working');
        before = bench.cpuSeconds(daemon.pid) + bench.cpuSeconds(engine.pid);
        const begin = process.hrtime.bigint();
        const cycles = wrk(daemon.port, bench.seconds, working);
        await until('all tasks to end', async () => (await count(daemon, 'completed')) >= cycles.requests, 60_000, 20);
        sample.cycles = per(cycles.requests, Number(process.hrtime.bigint() - begin) / 1e9);
        sample.cyclesPerCpu = per(cycles.requests, bench.cpuSeconds(daemon.pid) + bench.cpuSeconds(engine.pid) - before + cycles.cpuSeconds);
        await check(bench, daemon, 'completed', cycles.requests, cycles.errors);
    } finally {
        await daemon.finish();
    }
    return sample;
}

async function count(daemon: Daemon, status: string): Promise<number> {
    return (await daemon.get(`/api/v1/tasks?status=${status}&page_size=1`)).json.total;
}

/** wrk breaks off what is on its way at its end: up to one submit of each client is not counted by it. */
async function check(bench: Bench, daemon: Daemon, status: string, acknowledged: number, errors: number): Promise<void> {
    const found = await count(daemon, status);
    if (errors > 0 || found < acknowledged || found > acknowledged + CLIENTS) {
        bench.complain(`berth's queue: ${acknowledged} submits acknowledged, ${errors} failed, ${found} tasks are ${status}`);
    }
}

/* ---- its peers ---- */

interface Server {
    pid: number;
    port: number;
}

async function startRedis(bench: Bench, dir: string): Promise<Server> {
    const port = await freePort();
    const pid = bench.background(bench.which('redis-server')!, ['--port', String(port), '--bind', '127.0.0.1', '--dir', dir, '--save', '',
        '--appendonly', 'yes', '--appendfsync', 'always', '--loglevel', 'warning', '--logfile', join(dir, 'log')]);
    await bench.listening('redis-server', port);
    return { pid, port };
}

async function startBeanstalkd(bench: Bench, dir: string): Promise<Server> {
    const port = await freePort();
    const pid = bench.background(bench.which('beanstalkd')!, ['-l', '127.0.0.1', '-p', String(port), '-b', dir, '-f0']);
    await bench.listening('beanstalkd', port);
    return { pid, port };
}

interface Peer {
    name: string;
    start: (bench: Bench, dir: string) => Promise<Server>;
    script: string;
    add: string;
    jobs: number;
}

const peers: Peer[] = [
    { name: 'bullmq', start: startRedis, script: 'bullmq.mjs', add: 'add', jobs: 4000 },
    { name: 'beanstalkd', start: startBeanstalkd, script: 'beanstalk.mjs', add: 'put', jobs: 4000 },
];

async function measurePeer(bench: Bench, peer: Peer, round: number): Promise<QueueSample> {
    const dir = join(bench.work, `${peer.name}-${round}`);
    mkdirSync(dir);
    copyFileSync(join(here, 'peers', peer.script), join(bench.peers, peer.script));
    const server = await peer.start(bench, dir);
    const jobs = peer.jobs * bench.seconds;
    const args = [server.port, jobs, CLIENTS];
    try {
        let before = bench.cpuSeconds(server.pid);
        const added = await client(peer.script, bench.peers, [peer.add, ...args]).ended;
        const submitCpu = bench.cpuSeconds(server.pid) - before + added.cpuUs / 1e6;
        // What was added is worked off first, then the whole way is measured with both ends at once.
        await client(peer.script, bench.peers, ['work', ...args]).ended;
        before = bench.cpuSeconds(server.pid);
        const worker = client(peer.script, bench.peers, ['work', ...args]);
        await worker.ready;
        const adder = client(peer.script, bench.peers, [peer.add, ...args]);
        const [a, w] = await Promise.all([adder.ended, worker.ended]);
        return {
            queue: peer.name,
            round,
            submits: per(jobs, added.us / 1e6),
            submitsPerCpu: per(jobs, submitCpu),
            cycles: per(jobs, (w.endUs - (a.endUs - a.us)) / 1e6), // from the first add to the last end
            cyclesPerCpu: per(jobs, bench.cpuSeconds(server.pid) - before + (a.cpuUs + w.cpuUs) / 1e6),
        };
    } finally {
        await bench.end(server.pid);
        rmSync(dir, { recursive: true, force: true });
    }
}

function available(bench: Bench, peer: Peer): boolean {
    const there = peer.name === 'bullmq'
        ? bench.which('redis-server') && existsSync(join(bench.peers, 'node_modules/bullmq'))
        : bench.which('beanstalkd');
    if (!there) {
        console.log(`no ${peer.name}, going on without it`);
    }
    return Boolean(there);
}

export async function measureQueues(bench: Bench, rounds: number): Promise<QueueSample[]> {
    const others = peers.filter((peer) => available(bench, peer));
    const samples: QueueSample[] = [];
    const all = [measureBerth, ...others.map((peer) => (b: Bench, round: number) => measurePeer(b, peer, round))];
    for (let round = 0; round < rounds; round++) {
        for (let i = 0; i < all.length; i++) {
            const sample = await all[(i + round) % all.length](bench, round);
            samples.push(sample);
            console.log(`round ${round + 1}  ${sample.queue.padEnd(10)} ${sample.submits.toFixed(0)} submits/s (${sample.submitsPerCpu.toFixed(0)} per CPU-s)  ` +
                `${sample.cycles.toFixed(0)} done/s (${sample.cyclesPerCpu.toFixed(0)} per CPU-s)`);
        }
    }
    return samples;
}

/* ---- the report ---- */

function middle(samples: QueueSample[], queue: string, field: 'submits' | 'submitsPerCpu' | 'cycles' | 'cyclesPerCpu'): number {
    return median(samples.filter((sample) => sample.queue === queue).map((sample) => sample[field]));
}

export function queueReport(samples: QueueSample[], { tmpfs, syncs }: ReturnType<typeof disk>, work: string): string[] {
    const names = [...new Set(samples.map((sample) => sample.queue))];
    const value = (name: string, field: Parameters<typeof middle>[2]) => show(middle(samples, name, field), 0);
    return samples.length === 0 ? [] : [
        `Durable queues: tasks of 1 KB, 64 clients, each submit synced before its answer; medians of the rounds, CPU of all processes.`,
        tmpfs ? `VOID: ${work} lies in memory, syncs cost nothing there.` : `${work} is on a disk that takes ${syncs.toFixed(0)} syncs of 4 KiB a second, one after the other: so many commits are possible, each of what ${CLIENTS} clients have on their way.`,
        '',
        '| queue | submits/s | per CPU-s | submitted, claimed, done/s | per CPU-s |',
        '|---|---|---|---|---|',
        ...names.map((name) => `| ${name} | ${value(name, 'submits')} | ${value(name, 'submitsPerCpu')} | ${value(name, 'cycles')} | ${value(name, 'cyclesPerCpu')} |`),
        '',
    ];
}

/** What the program tasks-bench tells. */
export interface RoomFigures {
    ways: number;
    few_us: number;
    many_us: number;
    bytes: number;
}

export function queueRows(queues: QueueSample[], tasks: RoomFigures | undefined): Row[] {
    return [
        row('durable submits a second over HTTP', middle(queues, 'berth', 'submits') / 1000, 1, ' thousand', '>=', 20),
        row('the same per CPU-second, berth : bullmq', middle(queues, 'berth', 'submitsPerCpu') / middle(queues, 'bullmq', 'submitsPerCpu'), 2, ' x', '>=', 1),
        row('submitted, claimed, completed a second, without HTTP', (tasks?.ways ?? NaN) / 1000, 1, ' thousand', '>=', 10),
        row('the same over HTTP per CPU-second, berth : bullmq', middle(queues, 'berth', 'cyclesPerCpu') / middle(queues, 'bullmq', 'cyclesPerCpu'), 2, ' x', '>=', 1),
        row('CPU of a claim and its completion, 1,000,000 : 1,000 queued', (tasks?.many_us ?? NaN) / (tasks?.few_us ?? NaN), 2, ' x', '<=', 1.2),
        row('memory per queued task', tasks?.bytes ?? NaN, 0, ' bytes', '<=', 300),
    ];
}
