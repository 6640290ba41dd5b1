// SPDX-License-Identifier: Apache-2.0
// The door of Task Instances through the real binary: every request of the seed's description, its answers field by field, and
// the faults that were found in it (their numbers stand in the tests' names).
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { promisify } from 'node:util';
import { Daemon } from './lib/daemon.ts';
import type { Answer } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { root } from './lib/paths.ts';
import { TaskInstance, type TaskInstanceOptions } from './lib/task_instance.ts';
import { until, within } from './lib/wait.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const nobody = '4c9c4c0e-4a3b-4e57-9d84-3f2d4f6c7a11';
const config = { task_instances: { heartbeat: '200ms', timeout: '1s', refresh: '0s', lost_after: '600ms' } };

let daemon: Daemon;
let instances: TaskInstance[] = [];
let model = 'ocr'; // of each test its own: what one has left waits for no instance of the next
let number = 0;

before(async () => {
    daemon = await Daemon.start({ config });
});
beforeEach(() => {
    model = `ocr-${++number}`;
});
after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});
afterEach(async () => {
    for (const one of (await daemon.get('/scheduler/info')).json.instances) {
        await daemon.post('/ti/remove', { ti_uuid: one.uuid });
    }
    await Promise.all(instances.map((one) => one.down()));
    instances = [];
    await daemon.post('/scheduler/set', { name: 'shortest_queue' });
    await daemon.post('/task/clear', {});
});

async function instance(options: TaskInstanceOptions = {}): Promise<TaskInstance> {
    const one = await TaskInstance.start({ model, berth: daemon.url, ...options });
    instances.push(one);
    return one;
}

async function registered(options: TaskInstanceOptions = {}): Promise<{ ti: TaskInstance; uuid: string }> {
    const ti = await instance(options);
    const answer = await daemon.post('/ti/register', { host: '127.0.0.1', port: ti.port });
    assert.equal(answer.json.status, 'success', answer.text);
    return { ti, uuid: answer.json.ti_uuid };
}

const submit = (extra: Record<string, unknown> = {}): Promise<Answer> =>
    daemon.post('/queue/submit', { model_name: model, task_input: { page: 3 }, metadata: { hardware: 'A10' }, ...extra });
const query = async (id: string): Promise<any> => (await daemon.get(`/task/query?task_id=${id}`)).json;
const finished = (id: string): Promise<any> => until(`task ${id} to be completed`, async () => {
    const task = await query(id);
    return task.task_status === 'completed' && task;
});
const mine = async (): Promise<any[]> => (await daemon.get('/task/all_tasks')).json.tasks.filter((task: any) => task.model_name === model);
const fields = (object: object): string[] => Object.keys(object).sort();
const complaints = (answer: Answer): string[][] => answer.json.detail.map((one: any) => one.loc);

test('GET /health', async () => {
    const answer = await daemon.get('/health');
    assert.equal(answer.status, 200);
    assert.equal(answer.json.status, 'healthy');
    assert.equal(typeof answer.json.service, 'string');
    assert.equal(typeof answer.json.version, 'string');
});

test('POST /ti/register', async () => {
    const ti = await instance();
    const answer = await daemon.post('/ti/register', { host: '127.0.0.1', port: ti.port });
    assert.equal(answer.status, 200);
    assert.deepEqual(fields(answer.json), ['message', 'status', 'ti_uuid']);
    assert.equal(answer.json.status, 'success');
    assert.equal(answer.json.message, 'TaskInstance registered successfully');
    assert.match(answer.json.ti_uuid, UUID);

    const again = await daemon.post('/ti/register', { host: '127.0.0.1', port: ti.port });
    assert.equal(again.json.status, 'success');
    assert.equal(again.json.ti_uuid, answer.json.ti_uuid);
    assert.equal(again.json.message, 'TaskInstance is registered already');

    for (const [body, loc] of [[{ port: 8100 }, 'host'], [{ host: '127.0.0.1' }, 'port'], [{ host: 5, port: 8100 }, 'host'], [{ host: 'a', port: 'b' }, 'port']] as const) {
        const bad = await daemon.post('/ti/register', body);
        assert.equal(bad.status, 422);
        assert.deepEqual(complaints(bad), [['body', loc]]);
    }
    for (const body of [{ host: 'http://10.0.0.1/x', port: 1 }, { host: '', port: 8100 }, { host: 'localhost', port: 70000 }]) {
        const bad = await daemon.post('/ti/register', body);
        assert.equal(bad.status, 200);
        assert.equal(bad.json.status, 'error');
        assert.equal(bad.json.ti_uuid, '');
    }
});

test('POST /ti/register of one that does not answer (8): the message says so, and it is used once it does', async () => {
    const ti = await instance();
    await ti.down();
    const answer = await daemon.post('/ti/register', { host: '127.0.0.1', port: ti.port });
    assert.equal(answer.status, 200);
    assert.equal(answer.json.status, 'success');
    assert.match(answer.json.message, /registered, but it does not answer yet: /);
    assert.match(answer.json.ti_uuid, UUID);
    assert.equal((await submit()).json.detail, `No available instances for model type ${model}`);
    await ti.up();
    await until('it to be used', async () => (await submit()).status === 200);
});

test('POST /ti/remove', async () => {
    const { ti, uuid } = await registered();
    const answer = await daemon.post('/ti/remove', { ti_uuid: uuid });
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.json, { status: 'success', message: 'TaskInstance removed successfully', ti_uuid: uuid });
    assert.deepEqual((await daemon.post('/ti/remove', { ti_uuid: uuid })).json, { status: 'error', message: `TaskInstance ${uuid} not found`, ti_uuid: uuid });
    assert.deepEqual((await daemon.post('/ti/remove', { ti_uuid: 'nonsense' })).json, { status: 'error', message: 'Invalid UUID format', ti_uuid: 'nonsense' });
    assert.deepEqual(complaints(await daemon.post('/ti/remove', {})), [['body', 'ti_uuid']]);

    await daemon.post('/ti/register', { host: '127.0.0.1', port: ti.port });
    const by = await daemon.post('/ti/remove', { host: '127.0.0.1', port: ti.port });
    assert.equal(by.json.status, 'success');
    assert.equal(by.json.host, '127.0.0.1');
    assert.equal(by.json.port, ti.port);
    assert.match(by.json.ti_uuid, UUID);
    assert.equal((await daemon.post('/ti/remove', { host: '127.0.0.1', port: ti.port })).json.ti_uuid, null);
});

test('POST /queue/submit, GET /task/query, POST /notify/task_complete (5, 6, 7)', async () => {
    const { ti, uuid } = await registered();
    const began = Date.now() / 1000;
    const answer = await submit();
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(fields(answer.json), ['scheduled_ti', 'status', 'task_id']);
    assert.equal(answer.json.status, 'success');
    assert.equal(answer.json.scheduled_ti, uuid);
    const id = answer.json.task_id;
    assert.equal(ti.tasks.length, 1);
    assert.deepEqual(ti.tasks[0].input, { page: 3 });
    assert.deepEqual(ti.tasks[0].metadata, { hardware: 'A10' });

    const scheduled = await query(id);
    assert.deepEqual(fields(scheduled), ['result', 'scheduled_ti', 'submit_time', 'task_id', 'task_status']);
    assert.equal(scheduled.task_status, 'scheduled');
    assert.equal(scheduled.scheduled_ti, uuid);
    assert.equal(scheduled.result, null);
    assert.ok(Math.abs(scheduled.submit_time - began) < 60);

    // another one is dead: nobody asks it for this (5)
    const dead = await registered();
    dead.ti.faults.silent = true;
    const told = await within('the completion to be taken', 900, ti.complete(ti.tasks[0], { result: { text: 'Ünïcode', n: [1, 2] }, ms: 0 }));
    assert.equal(told.status, 'success');
    assert.equal(told.message, `Task ${ti.tasks[0].id} completion processed`);
    assert.equal(typeof told.total_time_ms, 'number');
    const task = await query(id);
    assert.equal(task.task_status, 'completed');
    assert.deepEqual(task.result, { text: 'Ünïcode', n: [1, 2] });

    const twice = await ti.complete(ti.tasks[0]);
    assert.equal(twice.status, 'success');
    assert.match(twice.message, /was processed before/);
    const unknown = await daemon.post('/notify/task_complete', { task_id: 'nothing', instance_id: ti.name, execution_time: 1 });
    assert.equal(unknown.status, 200);
    assert.deepEqual(unknown.json, { status: 'warning', message: 'Task nothing not found' });
    const stranger = await daemon.post('/notify/task_complete', { task_id: 'x', instance_id: 'who', execution_time: 1 });
    assert.equal(stranger.status, 200);
    assert.deepEqual(stranger.json, { status: 'warning', message: 'Instance who not found' });
    assert.deepEqual(complaints(await daemon.post('/notify/task_complete', {})), [['body', 'task_id'], ['body', 'instance_id'], ['body', 'execution_time']]);
});

test('POST /queue/submit: what is wrong with it', async () => {
    const none = await submit();
    assert.equal(none.status, 503);
    assert.deepEqual(none.json, { detail: 'No TaskInstances configured' });
    const { ti } = await registered();
    const other = await submit({ model_name: 'speech' });
    assert.equal(other.status, 503);
    assert.deepEqual(other.json, { detail: 'No available instances for model type speech' });
    assert.deepEqual(complaints(await daemon.post('/queue/submit', {})), [['body', 'model_name'], ['body', 'task_input']]);
    assert.deepEqual(complaints(await submit({ task_input: 'text' })), [['body', 'task_input']]);
    assert.deepEqual(complaints(await submit({ metadata: [] })), [['body', 'metadata']]);
    assert.deepEqual(await mine(), []); // nothing is stored
    ti.faults.refuses = 500;
    const refused = await submit();
    assert.equal(refused.status, 503);
    assert.match(refused.json.detail, /^Failed to schedule task: .*refused/);
    const [failed] = await mine(); // (9)
    assert.equal(failed.task_status, 'failed');
    assert.match(failed.error, /refused/);
});

test('GET /task/query: unknown, and without its parameter', async () => {
    const answer = await daemon.get('/task/query?task_id=nothing');
    assert.equal(answer.status, 404);
    assert.deepEqual(answer.json, { detail: 'Task nothing not found' });
    const bad = await daemon.get('/task/query');
    assert.equal(bad.status, 422);
    assert.deepEqual(complaints(bad), [['query', 'task_id']]);
});

test('GET /queue/info tells the true wait (1), and leaves out who does not answer', async () => {
    assert.deepEqual((await daemon.get('/queue/info')).json, { status: 'success', queues: [] });
    const { uuid } = await registered({ expected: 250, error: 40 });
    const off = await instance();
    await off.down();
    await daemon.post('/ti/register', { host: '127.0.0.1', port: off.port });
    const answer = await daemon.get('/queue/info');
    assert.equal(answer.status, 200);
    assert.deepEqual(answer.json, { status: 'success', queues: [{ model_name: model, ti_uuid: uuid, waiting_time_expect: 250, waiting_time_error: 40 }] });
    assert.deepEqual((await daemon.get('/queue/info?model_name=speech')).json.queues, []);
    assert.equal((await daemon.get(`/queue/info?model_name=${model}`)).json.queues.length, 1);
    await registered({ model: null });
    assert.ok((await daemon.get('/queue/info')).json.queues.some((one: any) => one.model_name === 'unknown'));
});

test('the shortest queue is chosen; one that cannot predict is not (10)', async () => {
    const slow = await registered({ expected: 5000 });
    const fast = await registered({ expected: 100 });
    const odd = await registered({ expected: 0 });
    odd.ti.faults.badPredict = true;
    for (let i = 0; i < 3; i++) {
        assert.equal((await submit({ metadata: { server_time_cost: 10 } })).json.scheduled_ti, fast.uuid);
    }
    await daemon.post('/ti/remove', { ti_uuid: fast.uuid });
    assert.equal((await submit()).json.scheduled_ti, slow.uuid);
});

test('the later generation: GET /info, POST /queue/submit, results by POST /result/submit and /result/fetch (13)', async () => {
    const { ti } = await registered({ generation: 3 });
    const answer = await submit({ task_id: 'client-1' });
    assert.equal(answer.json.task_id, 'client-1');
    assert.equal(ti.tasks[0].given, 'client-1');
    assert.equal((await submit({ task_id: 'client-1' })).status, 409);
    const told = await daemon.post('/result/submit', { task_id: 'client-1', instance_id: ti.name, execution_time: 12.5, result: { text: 'yes' }, metadata: {}, replica_id: 0 });
    assert.equal(told.status, 200);
    assert.equal(told.json.status, 'success');
    assert.equal(typeof told.json.message, 'string');
    const fetched = await daemon.post('/result/fetch', { task_id: 'client-1' });
    assert.deepEqual(fetched.json.result, { text: 'yes' });
    assert.equal((await query('client-1')).task_status, 'completed'); // it stays
    assert.equal((await daemon.post('/result/fetch', { task_id: 'nobody' })).status, 404);
    assert.deepEqual(complaints(await daemon.post('/result/fetch', {})), [['body', 'task_id']]);
});

test('POST /queue/submit_batch, GET /task/all_tasks, GET /result/fetch_all_completed, POST /task/clear', async () => {
    await registered({ workMs: 1 });
    const answer = await daemon.post('/queue/submit_batch', { model_name: model, tasks: [{ task_input: { n: 0 } }, { task_input: 'no' }, { task_input: { n: 2 }, metadata: { a: 1 } }] });
    assert.equal(answer.status, 200);
    assert.equal(answer.json.status, 'partial');
    assert.equal(answer.json.total_tasks, 3);
    assert.equal(answer.json.successful_tasks, 2);
    assert.equal(answer.json.failed_tasks, 1);
    assert.deepEqual(answer.json.results.map((one: any) => [one.index, one.status]), [[0, 'success'], [1, 'error'], [2, 'success']]);
    assert.match(answer.json.results[1].error, /task_input/);
    await Promise.all([0, 2].map((i) => finished(answer.json.results[i].task_id)));
    assert.equal((await daemon.post('/queue/submit_batch', { model_name: model, tasks: [] })).json.status, 'success');
    assert.equal((await daemon.post('/queue/submit_batch', { model_name: 'speech', tasks: [{ task_input: {} }] })).json.status, 'error');
    assert.equal((await daemon.post('/queue/submit_batch', { model_name: model })).status, 422);

    await finished((await submit()).json.task_id);
    const all = (await daemon.get('/task/all_tasks')).json;
    assert.equal(all.status, 'success');
    assert.equal(all.total_tasks, all.tasks.length);
    const [newest, , oldest] = await mine();
    assert.deepEqual(fields(newest), ['completion_time', 'model_name', 'result', 'scheduled_ti', 'submit_time', 'task_id', 'task_status']);
    assert.equal(oldest.task_id, answer.json.results[0].task_id);
    const results = (await daemon.get('/result/fetch_all_completed?limit=2')).json;
    assert.equal(results.results.length, 2);
    assert.deepEqual(results.results[1].result, { ok: { n: 2 } });
    const waiting = all.tasks.filter((task: any) => ['queued', 'scheduled'].includes(task.task_status)).length;
    const cleared = await daemon.post('/task/clear', {});
    assert.equal(cleared.json.status, 'success');
    assert.equal(cleared.json.cleared_count, all.total_tasks - waiting);
    assert.equal((await daemon.get('/task/all_tasks')).json.total_tasks, waiting);
});

test('GET /result/fetch_all_completed is bounded in bytes, and says what it leaves out', async () => {
    const { ti } = await registered();
    for (let i = 0; i < 6; i++) {
        await submit();
        const told = await daemon.post('/result/submit', { task_id: ti.tasks[i].id, instance_id: ti.name, execution_time: 1, result: { text: 'x'.repeat(900_000) } });
        assert.equal(told.json.status, 'success', told.text);
    }
    const all = (await daemon.get('/result/fetch_all_completed')).json;
    assert.equal(all.results.length, 6);
    assert.match(all.message, /left out/);
    assert.deepEqual(all.results.map((one: any) => one.result === null), [false, false, false, false, true, true]);
    assert.deepEqual(all.results.map((one: any) => one.result_omitted === true), [false, false, false, false, true, true]);
    const one = await daemon.post('/result/fetch', { task_id: all.results[5].task_id });
    assert.equal(one.json.result.text.length, 900_000);
});

test('POST /queue/submit_async', async () => {
    assert.equal((await daemon.post('/queue/submit_async', { model_name: model, task_input: {} })).status, 503);
    await registered({ workMs: 1, withResult: true });
    const answer = await daemon.post('/queue/submit_async', { model_name: model, task_input: { a: 1 } });
    assert.equal(answer.status, 200);
    assert.deepEqual((await finished(answer.json.task_id)).result, { ok: { a: 1 } });
});

test('POST /scheduler/set, and every strategy works under load while it is switched', async () => {
    const all = await Promise.all([1, 2, 3].map((n) => registered({ workMs: 2, expected: n * 10, error: 5 })));
    const names = ['shortest_queue', 'round_robin', 'weighted', 'probabilistic', 'random', 'power_of_two', 'least_outstanding_tokens', 'earliest_completion', 'session_affinity'];
    const ids: string[] = [];
    for (const name of names) {
        const answer = await daemon.post('/scheduler/set', { name });
        assert.deepEqual(answer.json, { status: 'success', message: 'OK' });
        ids.push(...(await Promise.all(Array.from({ length: 12 }, () => submit()))).map((one) => one.json.task_id));
        if (name === 'weighted') { // one goes under load (and its tasks to the others)
            await daemon.post('/ti/remove', { ti_uuid: all[2].uuid });
        }
    }
    await Promise.all(ids.map(finished));
    assert.equal((await daemon.post('/scheduler/set', { name: 'best' })).status, 400);
    assert.equal((await daemon.post('/scheduler/set', {})).status, 422);
    const stats = (await daemon.get('/queue/stats')).json;
    for (const name of ['shortest_queue', 'round_robin', 'weighted_wait', 'probabilistic']) {
        assert.ok(stats.strategies[name].total_tasks >= 6, name);
    }
});

test('GET /queue/stats and the metrics', async () => {
    const { ti } = await registered();
    const before = (await daemon.get('/queue/stats')).json;
    for (let i = 0; i < 12; i++) {
        await submit();
        await ti.complete(ti.tasks[i], { ms: 3 });
    }
    const stats = (await daemon.get('/queue/stats')).json;
    assert.equal(stats.total_tasks, before.total_tasks + 12);
    assert.equal(stats.recent_tasks.length, 10);
    for (const one of stats.recent_tasks) {
        assert.deepEqual(fields(one), ['execution_time_ms', 'overhead_ms', 'task_id', 'total_time_ms']);
        assert.ok(Math.abs(one.total_time_ms - one.execution_time_ms - one.overhead_ms) < 1e-6);
    }
    assert.ok(stats.min_total_time_ms <= stats.avg_total_time_ms && stats.avg_total_time_ms <= stats.max_total_time_ms);
    assert.equal(stats.strategy, 'shortest_queue');
    const metrics = (await daemon.get('/metrics')).text;
    assert.match(metrics, /berth_task_instance_tasks_total\{strategy="shortest_queue",state="completed"\} \d+/);
    assert.match(metrics, /berth_task_instance_total_seconds_count\{strategy="shortest_queue"\} \d+/);
});

test('an instance that dies with tasks: they are done elsewhere; one that is removed: too', async () => {
    const first = await registered();
    const ids = (await Promise.all([submit(), submit()])).map((answer) => answer.json.task_id);
    const second = await registered({ workMs: 1 });
    await first.ti.down();
    await Promise.all(ids.map(finished));
    assert.equal((await query(ids[0])).scheduled_ti, second.uuid);

    const third = await registered({ expected: 0 });
    second.ti.options.expected = 1000;
    const id = (await submit()).json.task_id;
    assert.equal((await query(id)).scheduled_ti, third.uuid);
    await daemon.post('/ti/remove', { ti_uuid: third.uuid });
    assert.equal((await finished(id)).scheduled_ti, second.uuid);
});

test('drain: it ends what it has, then it goes', async () => {
    const { ti, uuid } = await registered();
    const id = (await submit()).json.task_id;
    assert.equal((await daemon.post('/ti/remove', { ti_uuid: uuid, drain: true })).json.status, 'success');
    assert.equal((await submit()).status, 503);
    assert.equal((await daemon.get('/scheduler/info')).json.instances[0].status, 'draining');
    await ti.complete(ti.tasks[0]);
    await until('it to be gone', async () => (await daemon.get('/scheduler/info')).json.total_instances === 0);
    assert.equal((await query(id)).task_status, 'completed');
});

test('GET /scheduler/info', async () => {
    const { ti, uuid } = await registered();
    const info = (await daemon.get('/scheduler/info')).json;
    assert.equal(info.total_instances, 1);
    assert.equal(info.strategy, 'shortest_queue');
    assert.deepEqual(info.capacity_by_type, { [model]: 1 });
    const [one] = info.instances;
    assert.equal(one.uuid, uuid);
    assert.equal(one.url, `http://127.0.0.1:${ti.port}`);
    assert.equal(one.instance_id, ti.name);
    assert.equal(one.status, 'ready');
    assert.equal(one.error, null);
});

test('instances and what they work on outlive a kill -9 of berth', async () => {
    const { ti, uuid } = await registered();
    const id = (await submit()).json.task_id;
    await daemon.kill9();
    ti.tasks[0].done = true; // nobody heard of it
    ti.tasks[0].result = { late: true };
    await daemon.launch();
    assert.equal((await daemon.get('/scheduler/info')).json.instances[0].uuid, uuid);
    assert.deepEqual((await finished(id)).result, { late: true });
    assert.equal(ti.tasks.length, 1);
});

test('a model that berth runs itself takes tasks by the same door', async () => {
    await daemon.create(daemon.scripted(model));
    await daemon.post(`/api/models/${model}/start?wait=1`);
    const answer = await submit({ task_input: { prompt: 'Hello' } });
    assert.equal(answer.status, 200, answer.text);
    assert.ok((await finished(answer.json.task_id)).result);
    await daemon.ask({ method: 'DELETE', path: `/api/models/${model}?wait=1` });
});

/** Opens one and gives what it says, message by message. */
async function socket(path: string): Promise<{ ws: WebSocket; said: string[]; closed: Promise<number> }> {
    const ws = new WebSocket(`ws://127.0.0.1:${daemon.port}${path}`);
    const said: string[] = [];
    ws.addEventListener('message', (event) => said.push(String(event.data)));
    const closed = new Promise<number>((done) => ws.addEventListener('close', (event) => done(event.code)));
    await within(`${path} to open`, 5000, new Promise<void>((done, fail) => {
        ws.addEventListener('open', () => done());
        ws.addEventListener('error', () => fail(new Error('no WebSocket')));
    }));
    return { ws, said, closed };
}

test('WS /ws/task_events', async () => {
    const { ti } = await registered();
    const { ws, said, closed } = await socket('/ws/task_events');
    ws.send('ping');
    await until('a pong', () => said[0] === 'pong');
    const id = (await submit()).json.task_id;
    await ti.complete(ti.tasks[0], { ms: 4 });
    const event = JSON.parse(await until('the event', () => said[1]));
    assert.equal(event.event, 'task_completed');
    assert.equal(event.data.task_id, id);
    assert.equal(event.data.execution_time, 4);
    ws.close();
    await closed;
});

test('WS /ws/result_submit', async () => {
    const { ti } = await registered();
    const ids = (await Promise.all([submit(), submit(), submit()])).map((answer) => answer.json.task_id);
    const { ws, said, closed } = await socket('/ws/result_submit');
    const answer = async (message: unknown): Promise<any> => {
        const n = said.length;
        ws.send(JSON.stringify(message));
        await until('an answer', () => said.length > n);
        return JSON.parse(said[n]);
    };
    assert.equal((await answer({ type: 'register', instance_id: ti.name })).type, 'registered');
    assert.equal((await answer({ type: 'ping' })).type, 'pong');
    const [a, b, c] = ti.tasks;
    const ack = await answer({ type: 'result', task_id: a.id, execution_time: 2, result: { n: 1 } });
    assert.equal(ack.type, 'ack');
    assert.equal(ack.status, 'success');
    assert.equal(ack.task_id, a.id);
    const batch = await answer({ type: 'batch', results: [{ task_id: b.id, execution_time: 2, result: 2 }, { task_id: c.id, execution_time: 2, status: 'failed', error: 'no ink' }, 7] });
    assert.deepEqual(batch.results.map((one: any) => one.status), ['success', 'success', 'error']);
    assert.equal((await answer({ type: 'nonsense' })).type, 'error');
    const sent = await answer({ type: 'task', model_name: model, task_input: { via: 'ws' } });
    assert.equal(sent.type, 'task_ack');
    assert.equal((await query(sent.task_id)).task_status, 'scheduled');
    const states = await Promise.all(ids.map(query));
    assert.deepEqual(states.map((one) => one.task_status).sort(), ['completed', 'completed', 'failed']);
    assert.equal(states.find((one) => one.task_status === 'failed').error, 'no ink');
    ws.close();
    await closed;

    const rude = await socket('/ws/result_submit');
    rude.ws.send(JSON.stringify({ type: 'result', task_id: 'x', execution_time: 1 }));
    assert.equal(await within('it to be closed', 8000, rude.closed), 1008);
});

test('SCHEDULER_CONFIG_PATH is loaded, port 8102 is one more address, and the examples run', async () => {
    const a = await instance({ workMs: 1 });
    const b = await instance({ workMs: 1 });
    const own = await Daemon.prepare({ config });
    const file = join(own.dir, 'instances.yaml');
    const port = own.port + 1;
    writeFileSync(file, `instances:\n  - host: 127.0.0.1\n    port: ${a.port}\n  - "http://127.0.0.1:${b.port}"   # a URL will do\n`);
    own.environment = { SCHEDULER_CONFIG_PATH: file };
    own.configure({ ...config, server: { listen: [`127.0.0.1:${own.port}`, `127.0.0.1:${port}`] } });
    await own.launch();
    a.options.berth = b.options.berth = `http://127.0.0.1:${port}`;
    await until('both to be ready', async () => (await own.get('/scheduler/info')).json.instances.filter((one: any) => one.status === 'ready').length === 2);

    const c = await instance({ workMs: 1, berth: own.url });
    const example = join(root, 'examples', 'basic_usage.ts');
    const { stdout } = await promisify(execFile)(process.execPath, [example, `http://127.0.0.1:${port}`, `127.0.0.1:${c.port}`, model], { timeout: 30_000 });
    assert.match(stdout, /registered: /);
    assert.match(stdout, /completed: /);
    assert.equal((await own.get('/scheduler/info')).json.total_instances, 3);
    await own.finish();
});

test('examples/config_example.yaml is a configuration that berth takes', async () => {
    const own = await Daemon.prepare({});
    const example = join(root, 'examples', 'config_example.yaml');
    own.environment = { SCHEDULER_CONFIG_PATH: example };
    await own.launch();
    const info = (await own.get('/scheduler/info')).json;
    assert.ok(info.total_instances >= 2, JSON.stringify(info));
    await own.finish();

    const bad = await Daemon.prepare({});
    const file = join(bad.dir, 'instances.yaml');
    writeFileSync(file, 'instances:\n  - host: 127.0.0.1\n  - port: none\n');
    bad.environment = { SCHEDULER_CONFIG_PATH: file };
    bad.spawn();
    assert.notEqual(await bad.waitExit(), 0);
    assert.match(bad.log(), /instances\.yaml:3: port must be/);
    bad.reap();
});
