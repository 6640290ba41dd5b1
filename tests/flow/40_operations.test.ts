// SPDX-License-Identifier: Apache-2.0
// What an operator looks at: health, readiness, metrics, the API's own description, events.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { Events, type SseEvent } from './lib/events.ts';
import { ask } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start();
    await daemon.up(daemon.scripted('one'));
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

/** The text exposition, strictly: every line is HELP, TYPE or a sample of a declared family. */
function parseMetrics(text: string): Map<string, number> {
    const samples = new Map<string, number>();
    const types = new Map<string, string>();
    assert.ok(text.endsWith('\n'));
    for (const line of text.split('\n').slice(0, -1)) {
        const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
        if (meta) {
            if (meta[1] === 'TYPE') {
                assert.ok(!types.has(meta[2]), `${meta[2]} is declared once`);
                types.set(meta[2], meta[3]);
            }
            continue;
        }
        const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+|NaN|[+-]Inf)$/.exec(line);
        assert.ok(sample, `a line of the exposition: ${line}`);
        const family = types.has(sample[1]) ? sample[1] : sample[1].replace(/_(bucket|sum|count)$/, '');
        assert.ok(types.has(family), `${sample[1]} has a type`);
        assert.ok(!samples.has(sample[1] + (sample[2] ?? '')), `${line} stands once`);
        samples.set(sample[1] + (sample[2] ?? ''), Number(sample[3]));
    }
    return samples;
}

/** The sum of all samples of a metric whose labels hold every given part. */
function sum(samples: Map<string, number>, name: RegExp, ...labels: string[]): number {
    let total = 0;
    for (const [key, value] of samples) {
        if (name.test(key.split('{')[0]) && labels.every((label) => key.includes(label))) {
            total += value;
        }
    }
    return total;
}

test('health, readiness and the root say what they are asked', async () => {
    const health = await daemon.get('/health');
    assert.equal(health.status, 200);
    assert.equal(health.json.status, 'healthy');
    assert.match(health.json.version, /^\d+\.\d+/);
    assert.ok(health.json.service && health.json.timestamp);
    const ready = await daemon.get('/ready');
    assert.equal(ready.status, 200);
    const root = await daemon.get('/', { accept: 'application/json' });
    assert.equal(root.json.status, 'running');
    assert.equal(root.json.code, 0);
    assert.ok(root.json.name && root.json.version);
    const page = await daemon.get('/', { accept: 'text/html' });
    assert.match(String(page.headers['content-type']), /^text\/html/);
});

// One program for all: each client finds in the shared answers what its own server says there.
test('GET /health and GET / satisfy the clients of all five programs', async () => {
    const health = (await daemon.get('/health')).json;
    assert.equal(health.status, 'healthy', 'all of them look for this word');
    for (const member of ['status', 'service', 'timestamp', 'version']) { // the model service and its scheduler page
        assert.equal(typeof health[member], 'string', member);
    }
    assert.ok(Number.isFinite(Date.parse(health.timestamp)));
    assert.equal(health.redis, 'disabled', 'what is not there is not "ok"');
    assert.equal(health.database, 'ok');
    assert.ok(Number.isInteger(health.uptime) && health.uptime >= 0);

    const root = (await daemon.get('/')).json;
    assert.equal(root.code, 0); // LLM Scheduler: an envelope
    assert.equal(typeof root.message, 'string'); // … and the model service's message
    assert.deepEqual(Object.keys(root.data).sort(), ['name', 'status', 'version']);
    assert.equal(root.data.status, 'running');
    assert.deepEqual([root.name, root.version, root.status], [root.data.name, root.data.version, 'running']); // the evaluation tasks
});

test('the docs page stands on its own', async () => {
    const page = await daemon.get('/docs', { accept: 'text/html' });
    assert.equal(page.status, 200);
    assert.match(String(page.headers['content-type']), /^text\/html/);
    assert.match(String(page.headers['content-security-policy']), /default-src 'none'/);
    assert.ok(!/ on[a-z]+=|<script>|style=|https?:/.test(page.text), 'no handlers, scripts or styles in line, nothing from elsewhere');
    for (const [, path] of page.text.matchAll(/(?:src|href)="([^"]+)"/g)) {
        assert.equal((await daemon.get(path)).status, 200, path);
    }
    const script = (await daemon.get('/docs/docs.js')).text;
    assert.doesNotThrow(() => new Function(script), 'the script is whole');
});

test('metrics parse, and count what was sent', async () => {
    const before_ = parseMetrics((await daemon.get('/metrics')).text);
    for (let i = 0; i < 7; i++) {
        assert.equal((await daemon.chat('one', { scripted: { events: 5 } })).status, 200);
    }
    for (let i = 0; i < 3; i++) {
        await daemon.chat('one', { stream: true, scripted: { events: 11 } });
    }
    for (let i = 0; i < 2; i++) {
        assert.equal((await daemon.chat('no-such-model')).status, 404);
    }
    const after_ = parseMetrics((await daemon.get('/metrics')).text);
    const grown = (name: RegExp, ...labels: string[]) => sum(after_, name, ...labels) - sum(before_, name, ...labels);
    assert.equal(grown(/^berth_requests_total$/, 'model="one"', 'status="200"'), 10);
    assert.equal(grown(/^berth_request_seconds_count$/, 'model="one"'), 10);
    assert.equal(grown(/^berth_output_tokens_total$/, 'model="one"'), 7 * 5 + 3 * 11);
    assert.equal(grown(/^berth_prompt_tokens_total$/, 'model="one"'), 10 * 10);
    assert.equal(sum(after_, /^berth_in_flight$/, 'model="one"'), 0);
    assert.ok(![...after_.keys()].some((key) => key.includes('no-such-model')), 'a name that nobody defined makes no series');
});

test('the description holds every door with its statuses', async () => {
    const document = (await daemon.get('/openapi.json')).json;
    assert.match(document.openapi, /^3\./);
    for (const path of ['/v1/models', '/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/api/models/', '/api/models/{id}', '/api/models/{id}/start',
        '/api/models/{id}/stop', '/api/models/{id}/restart', '/api/models/{id}/status', '/api/models/{id}/config', '/api/models/validate', '/api/models/{id}/instances',
        '/api/models/{id}/health', '/api/models/{id}/health-check', '/api/proxy/targets', '/api/proxy/stats', '/api/proxy/models/{id}/{path}', '/api/proxy/load-balance',
        '/health', '/ready', '/metrics', '/openapi.json', '/docs', '/api/events']) {
        assert.ok(document.paths[path], `${path} is described`);
        for (const [method, operation] of Object.entries<any>(document.paths[path])) {
            assert.ok(operation.summary?.length > 5, `${method} ${path} has a summary`);
            assert.ok(Object.keys(operation.responses).length > 0, `${method} ${path} has responses`);
        }
    }
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map((m) => m[1]);
    for (const name of new Set(refs)) {
        assert.ok(document.components.schemas[name], `schema ${name} exists`);
    }
});

test('events: live, with growing ids, and replayed after Last-Event-ID without gap or double', async () => {
    const live = await Events.open(daemon);
    await daemon.create(daemon.scripted('watched'));
    await daemon.post('/api/models/watched/start');
    await daemon.readyInstance('watched');
    const about = (events: SseEvent[]) => events.filter((one) => one.data.subject === 'watched');
    await live.wait('the model to be seen becoming ready', (events) => about(events).some((one) => one.event === 'instance_state' && one.data.data.to === 'ready'));
    const first = about(live.all);
    assert.equal(first[0].event, 'model_created');
    const ids = live.all.map((one) => one.id);
    assert.ok(ids.every((id, i) => i === 0 || id > ids[i - 1]), `ids grow: ${ids}`);
    const states = first.filter((one) => one.event === 'instance_state').map((one) => one.data.data.to);
    assert.deepEqual(states.filter((one) => ['starting', 'ready'].includes(one)).at(-1), 'ready');

    live.raw.close();
    await daemon.post('/api/models/watched/stop');
    await daemon.waitStatus('watched', 'stopped');
    const replay = await Events.open(daemon, `Last-Event-ID: ${first[0].id}\r\n`);
    await replay.wait('the rest', (events) => about(events).some((one) => one.event === 'model_unwanted'));
    const again = about(replay.all);
    assert.deepEqual(again.slice(0, first.length - 1).map((one) => one.id), first.slice(1).map((one) => one.id), 'exactly what came after');
    await daemon.ask({ method: 'DELETE', path: '/api/models/watched' });
    await replay.wait('the deletion, live', (events) => about(events).some((one) => one.event === 'model_deleted'));
    const replayed = replay.all.map((one) => one.id);
    assert.equal(new Set(replayed).size, replayed.length, 'no doubles');
    replay.raw.close();
});

test('events survive a restart of berth, and their ids go on', async () => {
    const last = (await ask(daemon.target, { path: '/api/events?limit=1&newest=1', headers: { accept: 'application/json' } })).json.events[0].id;
    await daemon.stop();
    await daemon.launch();
    const replay = await Events.open(daemon, `Last-Event-ID: ${last}\r\n`);
    await replay.wait('the start of berth', (events) => events.some((one) => one.event === 'started'));
    assert.ok(replay.all.every((one) => one.id > last));
    replay.raw.close();
});

test('a reader of events that does not read costs nobody anything', async () => {
    const lazy = await Events.open(daemon);
    lazy.raw.socket.pause();
    const config = daemon.scripted('busy');
    for (let i = 0; i < 100; i++) {
        await daemon.create({ ...config, id: `busy-${i}` });
        await daemon.ask({ method: 'DELETE', path: `/api/models/busy-${i}` });
    }
    assert.equal((await daemon.get('/health')).status, 200);
    lazy.raw.socket.resume();
    await lazy.wait('everything, or a gap that says what is missing', (events) =>
        events.some((one) => one.event === 'gap') || events.filter((one) => one.event === 'model_deleted' && one.data.subject.startsWith('busy-')).length === 100);
    lazy.raw.close();
});

test('draining: /ready says so, running streams end whole, new ones are refused', async () => {
    const own = await Daemon.start();
    await own.up(own.scripted('one'));
    const running = own.chat('one', { stream: true, scripted: { events: 20, event_ms: 50 } });
    await until('the stream to be at the engine', async () => (await own.instances('one'))[0].in_flight === 1);
    process.kill(own.pid, 'SIGTERM');
    await until('readiness to go', async () => {
        try {
            return (await own.get('/ready')).status === 503;
        } catch {
            return true; // it listens no more
        }
    }, 5000);
    const answer = await running;
    assert.match(answer.text, /" 19"[^]*data: \[DONE\]/, 'the accepted stream is whole');
    assert.equal(await own.waitExit(), 0);
    assert.deepEqual(await own.finish(), []);
});
