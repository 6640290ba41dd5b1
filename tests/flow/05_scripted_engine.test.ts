// SPDX-License-Identifier: Apache-2.0
// The stand-in itself: it speaks as the real llama-server does, and its faults are the faults they claim to be.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { recorded } from './lib/daemon.ts';
import { type Answer, ask, Raw, type Target } from './lib/http.ts';
import { llamaServer, quickstartGguf, scriptedEngine } from './lib/paths.ts';
import { until } from './lib/wait.ts';

const dir = mkdtempSync(join(tmpdir(), 'berth-engine-'));
const children: Array<ReturnType<typeof spawn>> = [];

after(() => {
    children.forEach((child) => child.kill('SIGKILL'));
    rmSync(dir, { recursive: true, force: true });
});

interface Engine {
    target: Target;
    child: ReturnType<typeof spawn>;
    exit: Promise<number | null>;
}

let count = 0;

function start(binary: string, behaviour?: Record<string, unknown>, args: string[] = []): Engine {
    const socket = join(dir, `${++count}.sock`);
    const env: NodeJS.ProcessEnv = { ...process.env };
    delete env.SCRIPTED_ENGINE;
    if (behaviour) {
        env.SCRIPTED_ENGINE = join(dir, `${count}.json`);
        writeFileSync(env.SCRIPTED_ENGINE, JSON.stringify(behaviour));
    }
    const child = spawn(binary, ['--model', quickstartGguf, '--alias', 'same', '--host', socket, '--parallel', '2', '--ctx-size', '2048', '-t', '1', '--metrics', '--embeddings', '--pooling', 'mean', ...args], { env, stdio: 'ignore' });
    children.push(child);
    return { target: { socketPath: socket }, child, exit: new Promise((done) => child.once('exit', (code) => done(code))) };
}

const ready = (engine: Engine) => until('the engine', async () => (await ask(engine.target, { path: '/health' })).status === 200);
const chat = (engine: Engine, extra: Record<string, unknown> = {}) => ask(engine.target, {
    method: 'POST', path: '/v1/chat/completions', body: { messages: [{ role: 'user', content: 'Hello' }], ...extra },
});

/** The shape of a JSON value: its keys, sorted, with the types of what they hold. */
function shape(value: any): any {
    if (Array.isArray(value)) {
        return value.length > 0 ? [shape(value[0])] : [];
    }
    if (value !== null && typeof value === 'object') {
        return Object.fromEntries(Object.keys(value).sort().map((key) => [key, shape(value[key])]));
    }
    return value === null ? 'null' : typeof value;
}

/** Everything of `own` is in `real` and of the same type. */
function within(own: any, real: any, path: string): void {
    if (own !== null && typeof own === 'object') {
        assert.ok(real !== null && typeof real === 'object', `${path} exists in the real answer`);
        for (const key of Object.keys(own)) {
            within(own[key], real[key], `${path}.${key}`);
        }
        return;
    }
    assert.equal(own, real, path);
}

const events = (answer: Answer) => answer.text.split('\n\n').filter(Boolean).map((line) => line.replace(/^data: /, ''));

test('its answers have the shapes of llama-server\'s', async () => {
    const real = start(llamaServer);
    const own = start(scriptedEngine);
    await ready(real);
    await ready(own);
    for (const path of ['/health', '/v1/models', '/slots', '/props']) {
        const [a, b] = await Promise.all([own, real].map((engine) => ask(engine.target, { path })));
        assert.equal(a.status, b.status, path);
        if (path === '/v1/models') {
            within(shape(a.json.data), shape(b.json.data), path);
        } else if (path !== '/slots') {
            within(shape(a.json), shape(b.json), path);
        } else {
            assert.deepEqual([a.json.length, typeof a.json[0].is_processing], [b.json.length, typeof b.json[0].is_processing]);
        }
    }
    const [a, b] = await Promise.all([chat(own), chat(real)]);
    within(shape(a.json), shape(b.json), 'chat');
    for (const include_usage of [false, true]) {
        const [c, d] = await Promise.all([own, real].map((engine) => chat(engine, { stream: true, stream_options: { include_usage } })));
        assert.equal(c.headers['content-type'], d.headers['content-type']);
        const [mine, theirs] = [events(c), events(d)];
        assert.equal(mine.at(-1), theirs.at(-1));
        within(shape(JSON.parse(mine[0])), shape(JSON.parse(theirs[0])), 'first event');
        within(shape(JSON.parse(mine[1])), shape(JSON.parse(theirs[1])), 'second event');
        within(shape(JSON.parse(mine.at(-2)!)), shape(JSON.parse(theirs.at(-2)!)), `last event, include_usage ${include_usage}`);
    }
    for (const body of ['x', '[]']) {
        const statuses = await Promise.all([own, real].map((engine) => ask(engine.target, { method: 'POST', path: '/v1/chat/completions', body })));
        assert.ok(statuses.every((answer) => answer.status >= 400 && answer.json.error.message));
    }
    for (const engine of [own, real]) { // both close after a stream and stay after a whole answer
        const raw = await Raw.open(engine.target);
        const body = '{"messages":[{"role":"user","content":"x"}],"stream":true,"max_tokens":3}';
        raw.send('GET /health HTTP/1.1\r\nHost: x\r\n\r\n');
        await raw.read((text) => text.includes('"ok"'));
        raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        assert.match(await raw.readToEnd(), /\[DONE\][^]*0\r\n\r\n$/);
    }
    real.child.kill('SIGTERM');
    own.child.kill('SIGTERM');
    assert.deepEqual(await Promise.all([real.exit, own.exit]), [0, 0]);
});

test('its faults', async () => {
    const record = join(dir, 'record');
    const engine = start(scriptedEngine, { record, events: 3 });
    await ready(engine);
    assert.equal((await chat(engine)).json.choices[0].message.content, ' 0 1 2');
    assert.equal((await chat(engine, { scripted: { events: 5 } })).json.choices[0].message.content, ' 0 1 2 3 4');
    assert.equal((await chat(engine, { scripted: { status: 503 } })).status, 503);
    for (const broken of ['two_content_lengths', 'te_and_cl', 'huge_header', 'bad_chunk', 'early_close', 'garbage', 'nothing', 'short_body']) {
        await assert.rejects(chat(engine, { scripted: { broken } }), broken); // node's own parser refuses them
    }
    await assert.rejects(chat(engine, { stream: true, scripted: { close_after_events: 2 } }));
    const big = await chat(engine, { scripted: { events: 2000, event_bytes: 1000 } });
    assert.equal(big.json.choices[0].message.content.length, 2_000_000);
    assert.equal(recorded(record)[0].mark, 'start');
    assert.equal(JSON.parse(recorded(record).findLast((line) => line.mark === 'request').body).scripted.event_bytes, 1000);

    const held = await Raw.open(engine.target);
    const body = '{"scripted":{"hang":true}}';
    held.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    const busy = async () => (await ask(engine.target, { path: '/slots' })).json.filter((slot: any) => slot.is_processing).length;
    await until('a busy slot', async () => (await busy()) === 1);
    held.close();
    await until('a free slot', async () => (await busy()) === 0, 5000);
    await until('the mark', () => recorded(record).some((line) => line.mark === 'gone'));
    await assert.rejects(chat(engine, { stream: true, scripted: { die_after_events: 2 } }));
    assert.equal(await engine.exit, 9);

    const queued = start(scriptedEngine, { events: 1 }, ['--parallel', '1']);
    await ready(queued);
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => chat(queued, { stream: i % 2 === 0, scripted: { event_ms: 5 } })));
    assert.ok(all.every((answer) => answer.status === 200));
    queued.child.kill();
    assert.equal(await queued.exit, 0);

    const failing = start(scriptedEngine, { exit_at_start: 7 });
    assert.equal(await failing.exit, 7);
    const absent = spawn(scriptedEngine, ['--model', '/nowhere'], { stdio: ['ignore', 'ignore', 'pipe'] });
    let words = '';
    absent.stderr.on('data', (data) => (words += data));
    assert.equal(await new Promise((done) => absent.once('close', done)), 1);
    assert.match(words, /exiting due to model loading error/);
    const typo = start(scriptedEngine, { evnts: 3 });
    assert.equal(await typo.exit, 64);
    const second = start(scriptedEngine, { by_start: [{ exit_at_start: 1 }, { load_ms: 50 }] });
    assert.equal(await second.exit, 1);
    assert.equal(readFileSync(join(dir, `${count}.json.starts`), 'utf8'), '.');
    assert.ok(existsSync(dir));
});
