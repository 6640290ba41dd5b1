// SPDX-License-Identifier: Apache-2.0
// 32 clients through engines that do everything wrong. Every request ends with an answer or a typed error within its deadline, berth's
// memory stays flat, and nothing is left behind. CHAOS_SECONDS sets how long (120; 20 with sanitizers), SEED replays the choices.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import http from 'node:http';
import { test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { sanitized } from './lib/paths.ts';
import { rssKb } from './lib/proc.ts';
import { pause, random, seedFromEnvironment, until } from './lib/wait.ts';

const clients = 32;
const seconds = Number(process.env.CHAOS_SECONDS ?? (sanitized ? 20 : 120));
const deadlineMs = 4000;
const slackMs = sanitized ? 6000 : 3000; // this process shares two cores with 32 clients and the engines

const flood = { events: 400, event_bytes: 4096 };

/** What an engine may do to one request; most do nothing wrong. */
const faults: Array<Record<string, unknown> | undefined> = [
    undefined, undefined, undefined, undefined, undefined, undefined, undefined, undefined,
    { die_after_events: 3, events: 20 }, // dies in the middle
    { exit_on_request: true }, // dies before it answers
    { close_after_events: 4, events: 20 },
    { stall_after_events: 2, events: 20 }, // says no more
    { hang: true }, // never answers
    { first_ms: 1500 }, // slow first byte
    { status: 500 }, { status: 503 }, { status: 429 },
    flood,
    { events: 20, event_ms: 20 },
    { broken: 'garbage' }, { broken: 'two_content_lengths' }, { broken: 'bad_chunk' }, { broken: 'huge_header' }, { broken: 'short_body' },
    { broken: 'early_close' }, { broken: 'nothing' },
];

interface End {
    kind: string; // "answer", "error 502 server_error", "stream error …": how it was told
    ms: number;
}

/** One request to its end. Whatever cannot be explained to a user throws. */
function request(daemon: Daemon, agent: http.Agent, model: string, stream: boolean, scripted: Record<string, unknown> | undefined): Promise<End> {
    const body = JSON.stringify({ model, messages: [{ role: 'user', content: 'go' }], stream, scripted });
    const began = Date.now();
    return new Promise((done, fail) => {
        const what = `${model} stream=${stream} ${JSON.stringify(scripted)}`;
        const end = (kind: string) => done({ kind, ms: Date.now() - began });
        const call = http.request({ ...daemon.target, agent, method: 'POST', path: '/v1/chat/completions', headers: {
            'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)), 'x-berth-deadline': `${deadlineMs}ms`,
        } }, (response) => {
            let text = '';
            response.setEncoding('utf8');
            response.on('data', (piece) => { text += piece; });
            response.on('error', () => (!stream && scripted === flood ? end('cut') : fail(new Error(`cut: ${what}: ${text.slice(-300)}`))));
            response.on('end', () => {
                const status = response.statusCode!;
                if (status !== 200) {
                    const type = JSON.parse(text).error?.type;
                    return type ? end(`error ${status} ${type}`) : fail(new Error(`an error without a type: ${what}: ${status} ${text.slice(0, 300)}`));
                }
                if (!stream) {
                    return JSON.parse(text).choices ? end('answer') : fail(new Error(`no answer: ${what}: ${text.slice(0, 300)}`));
                }
                const last = text.trimEnd().split('\n\n').at(-1)!;
                const error = last.startsWith('data: {') ? JSON.parse(last.slice(6)).error : undefined;
                return last === 'data: [DONE]' ? end('answer') : error?.type ? end(`stream error ${error.type}`)
                    : fail(new Error(`a stream that says neither [DONE] nor an error: ${what}: ${text.slice(-300)}`));
            });
        });
        call.on('error', (error) => fail(new Error(`${error.message}: ${what}`)));
        call.end(body);
    });
}

test(`${clients} clients, ${seconds} s of chaos`, { timeout: (seconds + 120) * 1000 }, async () => {
    const seed = seedFromEnvironment();
    const daemon = await Daemon.start({ config: {
        engines: { stop_grace: '300ms', start_timeout: '2s', stable_after: '1s', stall_timeout: '2s' },
        gateway: { queue_timeout: '3s', breaker_open: '500ms' },
        log: { level: 'error' },
    } });
    const forgiving = { retry_policy: { max_attempts: 100_000, initial_delay: 0.05, max_delay: 0.2, backoff_factor: 1.5 }, health_check: { interval: 1, timeout: 1, max_failures: 2 } };
    const starts = [{ exit_at_start: 3 }, {}, { load_ms: 300 }, {}, { never_ready: true }, {}]; // the first ones; then they start well
    await daemon.up({ ...daemon.scripted('a', { keepalive_max: 7 }, { parallel: 4 }), ...forgiving, replicas: 2 });
    await daemon.create({ ...daemon.scripted('b', { by_start: starts, keepalive_idle_ms: 30 }, { parallel: 2 }), ...forgiving });
    await daemon.create({ ...daemon.scripted('c', { hang_slots: true }, { parallel: 8 }), ...forgiving, keep_alive: 0 });

    const begun = Date.now();
    const ends = new Map<string, number>();
    const memory: number[] = [];
    let slowest = 0;
    let over = false;
    const work = Array.from({ length: clients }, async (_, n) => {
        const next = random(seed + n);
        const agent = new http.Agent({ keepAlive: n % 2 === 0 });
        while (!over) {
            const model = 'abc'[Math.floor(next() * 3)];
            const fault = faults[Math.floor(next() * faults.length)];
            const end = await request(daemon, agent, model, next() < 0.6, fault);
            ends.set(end.kind, (ends.get(end.kind) ?? 0) + 1);
            slowest = Math.max(slowest, end.ms);
            assert.ok(end.ms < deadlineMs + slackMs, `${end.kind} after ${end.ms} ms: ${model} ${JSON.stringify(fault)}`);
        }
        agent.destroy();
    });
    const watch = (async () => {
        while (Date.now() - begun < seconds * 1000) {
            await pause(1000);
            memory.push(rssKb(daemon.pid));
        }
        over = true;
    })();
    await Promise.all([...work, watch]).finally(() => { over = true; });

    const total = [...ends.values()].reduce((a, b) => a + b, 0);
    const answered = ends.get('answer') ?? 0;
    const early = memory.slice(Math.floor(memory.length / 4), Math.floor(memory.length / 2));
    const late = memory.slice(Math.floor((memory.length * 3) / 4));
    console.log(`${total} requests, ${answered} answered, slowest ${slowest} ms; memory ${Math.max(...early)} kB early, ${Math.max(...late)} kB late`);
    console.log(Object.fromEntries([...ends].sort((x, y) => y[1] - x[1])));
    assert.ok(answered > total / 10, `${answered} of ${total} were answered`);
    assert.ok(sanitized || Math.max(...late) < Math.max(...early) * 1.2 + 4096, `memory grows: ${memory}`);

    // Nothing is left: no request, no descriptor, and the models still answer.
    await until('nothing to be in flight', async () => {
        const all = await Promise.all(['a', 'b', 'c'].map((id) => daemon.instances(id)));
        return all.flat().every((one) => one.in_flight === 0 && one.waiting === 0);
    }, 15_000, 100);
    for (const id of ['a', 'b', 'c']) {
        await until(`${id} to answer`, async () => (await daemon.chat(id)).status === 200, 30_000, 200);
    }
    const connections = readdirSync(`/proc/${daemon.pid}/fd`).length;
    assert.ok(connections < 200, `${connections} open descriptors`);
    assert.deepEqual(await daemon.finish(), []);
});
