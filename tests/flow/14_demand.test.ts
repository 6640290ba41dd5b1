// SPDX-License-Identifier: Apache-2.0
// Models that come when they are asked for and go when nobody does: load on demand, replicas, aliases, keep_alive, and the races between
// them, each once with a real llama-server. (Thousands of them run in the simulated world: tests/sim.)
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon, recorded } from './lib/daemon.ts';
import { Raw } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { llamaServer, loopGguf, quickstartGguf } from './lib/paths.ts';
import { alive } from './lib/proc.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start({ config: { engines: { stop_grace: '1s' } } });
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

const real = (id: string, more: Record<string, unknown> = {}, parameters: Record<string, unknown> = {}) =>
    ({ id, model_path: quickstartGguf, parameters: { binary: llamaServer, parallel: 2, ...parameters }, ...more });

async function remove(id: string): Promise<void> {
    await daemon.ask({ method: 'DELETE', path: `/api/models/${id}` });
    await until(`${id} to leave nothing`, async () => daemon.engines().length === 0, 10_000);
}


test('a request starts a stopped model and is answered', async () => {
    await daemon.create(real('lazy', { aliases: ['lazy-bones'] }));
    assert.equal(await daemon.status('lazy'), 'stopped');
    const answer = await daemon.chat('lazy-bones', { max_tokens: 5 });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(await daemon.status('lazy'), 'running');
    await daemon.post('/api/models/lazy/stop');
    await daemon.waitStatus('lazy', 'stopped');
    assert.equal((await daemon.chat('lazy', { max_tokens: 5 })).status, 200, 'and again after it was stopped');
    await remove('lazy');
});

test('a hundred first requests at once start one instance', async () => {
    const record = join(daemon.dir, 'single');
    await daemon.create(daemon.scripted('single', { load_ms: 300, record }, { parallel: 16 }));
    const answers = await Promise.all(Array.from({ length: 100 }, () => daemon.chat('single')));
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
    assert.equal(recorded(record).filter((line) => line.mark === 'start').length, 1);
    await remove('single');
});

test('the same with a real llama-server', async () => {
    await daemon.create(real('single-real'));
    const answers = await Promise.all(Array.from({ length: 100 }, () => daemon.chat('single-real', { max_tokens: 3 })));
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
    assert.equal(daemon.engines().length, 1);
    await remove('single-real');
});

test('on_demand false: a stopped model refuses with 503', async () => {
    await daemon.create(real('manual', { on_demand: false }));
    const refused = await daemon.chat('manual');
    assert.equal(refused.status, 503);
    assert.match(refused.json.error.message, /stopped.*berth load manual/);
    await remove('manual');
});

test('a streaming client that waits for the load gets its headers and comments, then the answer', async () => {
    await daemon.create(daemon.scripted('slow-load', { load_ms: 1500 }));
    const body = JSON.stringify({ model: 'slow-load', messages: [{ role: 'user', content: 'go' }], stream: true });
    const quick = await Daemon.start({ config: { gateway: { stream_wait: '200ms' } } });
    await quick.create(quick.scripted('slow-load', { load_ms: 1500 }));
    const raw = await Raw.open(quick.target);
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${quick.port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    await raw.readToEnd(20_000);
    assert.match(raw.text, /x-berth-queue-position: 1\r\n/i);
    assert.match(raw.text, /x-berth-expected-wait-ms: \d+\r\n/i);
    assert.match(raw.text, /\n: waiting for an instance, place 1/);
    const [instance] = await quick.instances('slow-load');
    assert.match(raw.text, new RegExp(`\n: answered by ${instance.id}, \\d+ ms in line\r?\n`), 'its headers could not say who answers');
    assert.match(raw.text, /data: \[DONE\]/);
    raw.close();
    assert.deepEqual(await quick.finish(), []);
    await remove('slow-load');
});

test('a client that leaves while its model loads: the model comes up all the same, nothing is left in line', async () => {
    await daemon.create(daemon.scripted('left', { load_ms: 600 }));
    const body = JSON.stringify({ model: 'left', messages: [], stream: false });
    const raw = await Raw.open(daemon.target);
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    await until('it to load', async () => (await daemon.status('left')) === 'starting');
    raw.close();
    const instance = await daemon.readyInstance('left');
    await until('nothing to wait', async () => {
        const [now] = await daemon.instances('left');
        return now.waiting === 0 && now.in_flight === 0;
    });
    assert.ok(alive(instance.pid));
    await remove('left');
});

test('unloaded when idle, and a request that comes during the unload is answered', async () => {
    await daemon.create(real('brief', { keep_alive: '1s' }));
    assert.equal((await daemon.chat('brief', { max_tokens: 2 })).status, 200);
    await daemon.waitStatus('brief', 'stopped');
    for (let i = 0; i < 6; i++) {
        // Asked in the moments around the end of its second.
        assert.equal((await daemon.chat('brief', { max_tokens: 2 })).status, 200, `round ${i}`);
        const [instance] = await daemon.instances('brief');
        await until('the unload to begin', async () => (await daemon.instances('brief'))[0]?.state !== 'ready', 5000, 1).catch(() => {});
        assert.ok(instance);
    }
    assert.equal((await daemon.chat('brief', { max_tokens: 2 })).status, 200);
    await daemon.waitStatus('brief', 'stopped');
    assert.equal(daemon.engines().length, 0);
    await remove('brief');
});

test('a long answer outlives the keep_alive of its model', async () => {
    await daemon.create({ ...real('longer', { keep_alive: 0 }), model_path: loopGguf });
    const answer = await daemon.chat('longer', { max_tokens: 1500 });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.usage.completion_tokens, 1500);
    await daemon.waitStatus('longer', 'stopped');
    await remove('longer');
});

test('pinned: up from the start, and not unloaded', async () => {
    await daemon.create(real('pinned', { pinned: true, keep_alive: '1s' }));
    await daemon.readyInstance('pinned');
    assert.equal((await daemon.chat('pinned', { max_tokens: 2, keep_alive: 0 })).status, 200);
    assert.equal((await daemon.post('/api/generate', { model: 'pinned', keep_alive: 0 })).status, 200, 'whom Ollama would unload');
    const [before] = await daemon.instances('pinned');
    const later = Date.now() + 2500;
    await until('its second to be long over', async () => Date.now() > later, 5000, 100);
    const [now] = await daemon.instances('pinned');
    assert.equal(now.state, 'ready');
    assert.equal(now.pid, before.pid);
    await remove('pinned');
});

test('two loads at once of one model, and of two', async () => {
    await daemon.create(real('one'));
    await daemon.create(real('two'));
    const starts = await Promise.all(['one', 'one', 'two', 'one', 'two'].map((id) => daemon.post(`/api/models/${id}/start?wait=1`)));
    assert.deepEqual([...new Set(starts.map((answer) => answer.status))], [200]);
    assert.equal(daemon.engines().length, 2);
    await daemon.ask({ method: 'DELETE', path: '/api/models/one' });
    await remove('two');
});

test('delete while it starts, stop while it starts: waiting requests are refused, nothing is left', async () => {
    for (const how of ['delete', 'stop']) {
        await daemon.create(daemon.scripted('starting', { load_ms: 30_000 }));
        const waiting = daemon.chat('starting');
        await daemon.waitStatus('starting', 'starting');
        if (how === 'delete') {
            assert.equal((await daemon.ask({ method: 'DELETE', path: '/api/models/starting' })).status, 200);
        } else {
            assert.equal((await daemon.post('/api/models/starting/stop')).status, 200);
        }
        const answer = await waiting;
        assert.equal(answer.status, how === 'delete' ? 404 : 503, answer.text);
        if (how === 'stop') {
            await daemon.ask({ method: 'DELETE', path: '/api/models/starting' });
        }
        await until('no engine', async () => daemon.engines().length === 0, 10_000);
    }
});

test('an engine that crashes while it drains is gone, and the next request gets a fresh one', async () => {
    await daemon.create({ ...real('drained'), model_path: loopGguf });
    const body = JSON.stringify({ model: 'drained', messages: [{ role: 'user', content: 'go' }], max_tokens: 100_000, stream: true });
    const running = await Raw.open(daemon.target);
    running.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
    await running.read((text) => text.includes('data: ')); // before that it would be tried anew, and so would the model
    const instance = await daemon.readyInstance('drained');
    await daemon.post('/api/models/drained/stop');
    await daemon.waitState('drained', 'draining');
    process.kill(instance.pid, 'SIGKILL');
    await running.readToEnd();
    await until('it to be gone', async () => (await daemon.instances('drained')).length === 0, 10_000);
    assert.equal((await daemon.chat('drained', { max_tokens: 3 })).status, 200);
    await remove('drained');
});

test('an engine that answers /health and makes no token is found out and restarted; the request is answered by its next life', async () => {
    const slow = await Daemon.start({ config: { engines: { stall_timeout: '1s', stop_grace: '200ms' } } });
    await slow.create({
        ...slow.scripted('wedged', { by_start: [{ hang: true, hang_slots: true }, {}] }),
        health_check: { interval: 1, timeout: 1, max_failures: 100 },
    });
    const answer = await slow.chat('wedged', { stream: true });
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.text, /\[DONE\]/);
    const [instance] = await slow.instances('wedged');
    assert.match(String(instance.last_error), /hung.*no progress/);
    assert.deepEqual(await slow.finish(), []);
});

test('replicas: all come up, all work, one fewer when asked; a crash of one is nobody\'s business', async () => {
    await daemon.create({ ...real('twin', { replicas: 2 }, { parallel: 1 }), model_path: loopGguf });
    await daemon.post('/api/models/twin/start?wait=1');
    await until('two ready', async () => (await daemon.instances('twin')).filter((one) => one.state === 'ready').length === 2, 20_000);
    const answers = await Promise.all(Array.from({ length: 8 }, () => daemon.chat('twin', { max_tokens: 50 })));
    assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
    assert.equal(new Set(answers.map((answer) => answer.headers['x-berth-instance'])).size, 2, 'both have worked');
    const [first] = await daemon.instances('twin');
    process.kill(first.pid, 'SIGKILL');
    assert.equal((await daemon.chat('twin', { max_tokens: 5 })).status, 200);
    await until('two ready again', async () => (await daemon.instances('twin')).filter((one) => one.state === 'ready' && one.pid !== first.pid).length === 2, 20_000);
    const before = daemon.engines();
    assert.equal((await daemon.post('/api/models/twin/restart?wait=1')).status, 200);
    assert.equal((await daemon.instances('twin')).filter((one) => one.state === 'ready').length, 2, 'the answer comes when all are back');
    const now = daemon.engines();
    assert.ok(now.every((pid) => !before.includes(pid)), `each is a fresh one: ${before} ${now}`);
    const config = (await daemon.get('/api/models/twin/config')).json;
    assert.equal((await daemon.ask({ method: 'PUT', path: '/api/models/twin', body: { ...config, replicas: 1 } })).status, 200);
    await until('one left', async () => daemon.engines().length === 1, 20_000);
    assert.equal((await daemon.chat('twin', { max_tokens: 5 })).status, 200);
    await remove('twin');
});
