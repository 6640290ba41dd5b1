// SPDX-License-Identifier: Apache-2.0
// Seed 002's doors through the real binary: every request of its contract with status, envelope and fields; its known faults, one test each.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon, recorded } from './lib/daemon.ts';
import { Events } from './lib/events.ts';
import { type Answer, Raw } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { berthBin } from './lib/paths.ts';
import { until } from './lib/wait.ts';

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const taskFields = ['id', 'model_id', 'type', 'input', 'output', 'status', 'priority', 'retry_count', 'max_retries', 'error_message', 'started_at', 'completed_at', 'created_at', 'updated_at'];
const modelFields = ['id', 'name', 'type', 'config', 'status', 'max_workers', 'current_workers', 'total_requests', 'success_requests', 'created_at', 'updated_at'];
const counters = ['total_tasks', 'pending_tasks', 'running_tasks', 'completed_tasks', 'failed_tasks', 'success_rate', 'avg_processing_ms'];
const KEY = 'sk-tasks-very-secret';
const UNKNOWN = 987654;

let daemon: Daemon;
let tasks81: number; // the number of a model on the scripted engine
let record: string;

/** An OpenAI-compatible server that answers at once, and tells with which key it was asked. */
class Remote {
    readonly keys: Array<string | undefined> = [];
    readonly bodies: any[] = [];
    private readonly server: http.Server;
    private constructor(server: http.Server) {
        this.server = server;
    }

    static async open(): Promise<Remote> {
        const server = http.createServer((request, response) => {
            let text = '';
            request.on('data', (piece) => (text += piece));
            request.on('end', () => {
                response.setHeader('content-type', 'application/json');
                if (request.url!.endsWith('/models')) {
                    response.end(JSON.stringify({ object: 'list', data: [{ id: 'far', object: 'model' }] }));
                    return;
                }
                remote.keys.push(request.headers.authorization);
                remote.bodies.push(JSON.parse(text));
                response.end(JSON.stringify({ id: 'x', object: 'chat.completion', choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'from afar' } }], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } }));
            });
        });
        const remote = new Remote(server);
        await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
        return remote;
    }

    get port(): number {
        return (this.server.address() as AddressInfo).port;
    }

    close(): void {
        this.server.close();
        this.server.closeAllConnections();
    }
}

const api = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
    daemon.ask({ method, path: `/api/v1${path}`, body, headers: body === undefined && method !== 'GET' ? { 'content-length': '0', ...headers } : headers });

/** A good answer: 200, the envelope, its data. */
async function good(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<any> {
    const answer = await api(method, path, body, headers);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.json.code, 0);
    assert.equal(typeof answer.json.message, 'string');
    return answer.json.data;
}

/** A refusal: the status, the envelope, no data, a sentence. */
async function bad(status: number, says: RegExp, method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await api(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    assert.equal(answer.json.code, -1, answer.text);
    assert.match(answer.json.message, says);
    assert.deepEqual(Object.keys(answer.json), ['code', 'message']);
    return answer;
}

const hasFields = (object: any, fields: string[]): void => {
    for (const field of fields) {
        assert.ok(field in object, `${field} is missing in ${JSON.stringify(object)}`);
    }
};

const submit = (fields: Record<string, unknown> = {}): Promise<any> => good('POST', '/tasks', { model_id: tasks81, type: 'text-generation', input: 'Long text', ...fields });
const show = (id: number): Promise<any> => good('GET', `/tasks/${id}`);
const became = (id: number, status: string): Promise<any> => until(`task ${id} to be ${status}`, async () => {
    const task = await show(id);
    if (task.status !== status) {
        throw new Error(JSON.stringify(task));
    }
    return task;
});
/** A task whose engine request is answered as it says. */
const custom = (scripted: Record<string, unknown>, fields: Record<string, unknown> = {}): Promise<any> =>
    submit({ type: 'custom', input: { messages: [{ role: 'user', content: 'x' }], scripted }, ...fields });

/** A model of its own on the scripted engine, so that a test sees its own figures; gives its number. */
async function scripted(id: string, fields: Record<string, unknown> = {}, behaviour: Record<string, unknown> = {}): Promise<number> {
    await daemon.create({ ...daemon.scripted(id, behaviour), ...fields } as any);
    return (await good('GET', '/models')).find((model: any) => model.name === id).id;
}

before(async () => {
    daemon = await Daemon.prepare({ config: { queue: { retry_delay: '50ms', retry_delay_max: '100ms' } } });
    record = join(daemon.dir, 'record.jsonl');
    await daemon.launch();
    tasks81 = await scripted('tasks81', { max_workers: 2 }, { record });
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

// ---- tasks ----

test('POST /tasks: the whole task comes back, and it is done by the engine', async () => {
    const answer = await api('POST', '/tasks', { model_id: tasks81, type: 'summarization', input: 'Long "text" ü\n', priority: 3 });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.code, 0);
    const task = answer.json.data;
    hasFields(task, taskFields);
    assert.deepEqual(
        [task.model_id, task.type, task.input, task.output, task.status, task.priority, task.retry_count, task.max_retries, task.error_message, task.started_at, task.completed_at],
        [tasks81, 'summarization', 'Long "text" ü\n', null, 'pending', 3, 0, 3, null, null, null]);
    assert.ok(Number.isInteger(task.id) && task.id > 0);
    assert.match(task.created_at, RFC3339);
    assert.match(task.updated_at, RFC3339);
    const done = await became(task.id, 'completed');
    assert.equal(done.output, ' 0 1 2 3 4 5 6 7');
    assert.match(done.started_at, RFC3339);
    assert.match(done.completed_at, RFC3339);
    assert.ok(done.created_at <= done.started_at && done.started_at <= done.completed_at);
    const asked = recorded(record).filter((line) => JSON.stringify(line).includes('Long'));
    assert.ok(asked.length > 0, 'the engine was really asked');
});

test('POST /tasks: what is absent has its default, what is wrong is refused in words', async () => {
    assert.equal((await submit()).priority, 2);
    const task = (fields: Record<string, unknown>) => ({ model_id: tasks81, type: 'custom', input: 'x', ...fields });
    await bad(400, /invalid request: .*type is required/, 'POST', '/tasks', { model_id: tasks81, input: 'x' });
    await bad(400, /input is required/, 'POST', '/tasks', { model_id: tasks81, type: 'custom' });
    await bad(400, /input is required/, 'POST', '/tasks', task({ input: '' }));
    await bad(400, /model_id is required/, 'POST', '/tasks', { type: 'custom', input: 'x' });
    await bad(400, /there is no type 'poetry'; there are .*text-generation/, 'POST', '/tasks', task({ type: 'poetry' }));
    for (const priority of [0, 4, 2.5, '3']) {
        await bad(400, /priority must be a whole number from 1 to 3/, 'POST', '/tasks', task({ priority }));
    }
    await bad(400, /max_retries/, 'POST', '/tasks', task({ max_retries: -1 }));
    await bad(400, /delay must be/, 'POST', '/tasks', task({ delay: 'soon' }));
    await bad(400, /either delay or run_at/, 'POST', '/tasks', task({ delay: 1, run_at: '2030-01-01T00:00:00Z' }));
    await bad(400, /run_at must be a time/, 'POST', '/tasks', task({ run_at: 'tomorrow' }));
    await bad(400, /options must be an object/, 'POST', '/tasks', task({ options: 'x' }));
    await bad(400, /JSON/, 'POST', '/tasks', '{"model_id":');
    await bad(403, /webhooks\.allow|not allowed/, 'POST', '/tasks', task({ webhook: 'http://127.0.0.1:9/x' }));
});

test('refusals before the door speak as the door does: 401 or 403, 404, 405, 413, 415', async () => {
    await bad(404, /there is nothing at/, 'GET', '/tasks/1/nothing');
    await bad(405, /method/, 'PATCH', '/tasks/1');
    const plain = await daemon.ask({ method: 'POST', path: '/api/v1/tasks', body: 'x=1', headers: { 'content-type': 'text/plain' } });
    assert.deepEqual([plain.status, plain.json.code], [415, -1]);
    const large = await api('POST', '/tasks', { model_id: tasks81, type: 'custom', input: 'x'.repeat(1100 * 1024) });
    assert.deepEqual([large.status, large.json.code], [413, -1]);
    const elsewhere = await api('GET', '/tasks', undefined, { origin: 'https://evil.example' });
    assert.deepEqual([elsewhere.status, elsewhere.json.code], [403, -1]);
});

test('GET /tasks: pages, filters and orders', async () => {
    const model = await scripted('pages81', { task_status: 'offline' });
    const ids: number[] = [];
    for (let i = 0; i < 5; i++) {
        ids.push((await submit({ model_id: model, priority: (i % 3) + 1, type: i === 4 ? 'embedding' : 'custom', input: `{"n":${i}}` })).id);
    }
    const page = async (query: string): Promise<any> => {
        const answer = await api('GET', `/tasks?model_id=${model}&${query}`);
        assert.equal(answer.status, 200, answer.text);
        return answer.json;
    };
    const numbers = async (query: string): Promise<number[]> => (await page(query)).data.map((task: any) => ids.indexOf(task.id));
    const first = await page('page_size=2');
    assert.deepEqual([first.code, first.total, first.page, first.size, first.data.length], [0, 5, 1, 2, 2]);
    hasFields(first.data[0], taskFields);
    assert.equal(first.data[0].model.name, 'pages81');
    assert.deepEqual(await numbers(''), [4, 3, 2, 1, 0], 'the newest first');
    assert.deepEqual(await numbers('order=asc'), [0, 1, 2, 3, 4]);
    assert.deepEqual(await numbers('page=2&page_size=2'), [2, 1]);
    assert.deepEqual(await numbers('page=9&page_size=2'), []);
    assert.deepEqual(await numbers('type=embedding'), [4]);
    assert.deepEqual(await numbers('priority=3'), [2]);
    assert.deepEqual(await numbers('status=completed'), []);
    assert.deepEqual((await numbers('order_by=priority&order=asc')).map((n) => n % 3), [0, 0, 1, 1, 2]);
    assert.equal((await page('')).size, 20);
    await bad(400, /page_size must be a whole number from 1 to 100/, 'GET', '/tasks?page_size=101');
    await bad(400, /page must be/, 'GET', '/tasks?page=0');
    await bad(400, /status must be/, 'GET', '/tasks?status=done');
    await bad(400, /order must be asc or desc/, 'GET', '/tasks?order=up');
    for (const id of ids) {
        await good('DELETE', `/tasks/${id}`);
    }
});

test('GET /tasks/:id: model, logs, why it waits; 404 and 400', async () => {
    const model = await scripted('waits81', { task_status: 'offline' });
    const one = await submit({ model_id: model });
    const two = await submit({ model_id: model, options: { language: 'French' } });
    const task = await show(two.id);
    hasFields(task, taskFields);
    hasFields(task.model, modelFields);
    assert.equal(task.model.id, model);
    assert.ok(Array.isArray(task.logs));
    for (const log of task.logs) {
        assert.equal(log.task_id, two.id);
        assert.match(log.level, /^(debug|info|warn|error)$/);
        assert.match(log.created_at, RFC3339);
    }
    assert.deepEqual(task.options, { language: 'French' });
    assert.match(task.waiting.reason, /offline/);
    assert.equal(task.waiting.place, 2);
    const later = await show((await submit({ model_id: model, delay: '1h' })).id);
    assert.match(later.waiting.reason, /delayed/);
    assert.match(later.run_at, RFC3339);
    await bad(404, /there is no task 987654/, 'GET', `/tasks/${UNKNOWN}`);
    await bad(400, /an id is a whole number/, 'GET', '/tasks/abc');
    for (const id of [one.id, two.id, later.id]) {
        await good('DELETE', `/tasks/${id}`);
    }
    assert.equal((await show(one.id)).waiting, null);
});

test('PUT /tasks/:id and /priority: a changed priority moves the queued task', async () => {
    const model = await scripted('moves81', { task_status: 'offline', max_workers: 1 });
    const [low, mid] = [await submit({ model_id: model, priority: 1 }), await submit({ model_id: model, priority: 2 })];
    assert.equal((await show(low.id)).waiting.place, 2);
    const moved = await good('PUT', `/tasks/${low.id}`, { priority: 3 });
    hasFields(moved, taskFields);
    assert.deepEqual([moved.priority, moved.waiting.place], [3, 1]);
    assert.equal((await show(mid.id)).waiting.place, 2);
    assert.equal((await good('PUT', `/tasks/${mid.id}/priority`, { priority: 1 })).priority, 1);
    await bad(400, /priority must be a whole number from 1 to 3/, 'PUT', `/tasks/${mid.id}/priority`, { priority: 7 });
    await bad(400, /name a priority/, 'PUT', `/tasks/${mid.id}/priority`, {});
    await bad(400, /status can be set to cancelled, or to pending/, 'PUT', `/tasks/${mid.id}`, { status: 'running' });
    await bad(404, /there is no task/, 'PUT', `/tasks/${UNKNOWN}`, { priority: 1 });
    assert.equal((await good('PUT', `/tasks/${mid.id}`, { status: 'cancelled' })).status, 'cancelled');
    await good('PUT', `/models/${model}/status`, { status: 'online' });
    await became(low.id, 'completed');
});

test('DELETE /tasks/:id cancels; an ended one is a 400; purge removes it', async () => {
    const model = await scripted('ends81', { task_status: 'offline' });
    const { id } = await submit({ model_id: model });
    const answer = await api('DELETE', `/tasks/${id}`);
    assert.deepEqual([answer.status, Object.keys(answer.json)], [200, ['code', 'message']], 'no data');
    assert.equal((await show(id)).status, 'cancelled');
    await bad(400, /cancelled/, 'DELETE', `/tasks/${id}`);
    await bad(404, /there is no task/, 'DELETE', `/tasks/${UNKNOWN}`);
    const waits = await submit({ model_id: model });
    await bad(400, /./, 'DELETE', `/tasks/${waits.id}?purge=true`);
    await good('DELETE', `/tasks/${waits.id}`);
    await good('DELETE', `/tasks/${waits.id}?purge=true`);
    await bad(404, /there is no task/, 'GET', `/tasks/${waits.id}`);
});

test('a failed task: retried by itself, then a dead letter; retry by hand only with again', async () => {
    const dead = await custom({ status: 500, body: '{"error":{"message":"out of luck"}}' }, { max_retries: 1 });
    const task = await became(dead.id, 'failed');
    assert.deepEqual([task.retry_count, task.max_retries, task.dead_letter], [1, 1, true]);
    assert.match(task.error_message, /500|out of luck/);
    await bad(400, /tries|retries/, 'POST', `/tasks/${dead.id}/retry`);
    assert.ok((await good('GET', `/tasks?dead_letter=true&model_id=${tasks81}`)).some((one: any) => one.id === dead.id));
    await good('POST', `/tasks/${dead.id}/retry?again=true`);
    await became(dead.id, 'failed');
    const refused = await custom({ status: 400, body: '{"error":{"message":"no such thing"}}' }, { max_retries: 3 });
    assert.equal((await became(refused.id, 'failed')).retry_count, 0, 'another try would not help');
    const answer = await api('POST', `/tasks/${refused.id}/retry`);
    assert.deepEqual([answer.status, Object.keys(answer.json)], [200, ['code', 'message']]);
    assert.equal((await became(refused.id, 'failed')).retry_count, 1);
    await bad(400, /completed/, 'POST', `/tasks/${(await became((await submit()).id, 'completed')).id}/retry`);
    await bad(404, /there is no task/, 'POST', `/tasks/${UNKNOWN}/retry`);
});

test('an idempotency key makes one task', async () => {
    const order = { model_id: tasks81, type: 'custom', input: '{"messages":[]}' };
    const headers = { 'idempotency-key': 'once-81' };
    const one = await good('POST', '/tasks', order, headers);
    const two = await good('POST', '/tasks', order, headers);
    assert.equal(two.id, one.id);
    assert.equal(two.input, order.input);
    const done = await became(one.id, 'completed');
    const later = await good('POST', '/tasks', order, headers);
    assert.deepEqual([later.status, later.output, later.input], ['completed', done.output, order.input], 'as it is now');
    const other = await api('POST', '/tasks', { ...order, input: '{}' }, headers);
    assert.deepEqual([other.status, other.json.code], [409, -1]);
});

test('a full queue: 429 with the time to come back', async () => {
    const full = await Daemon.start({ config: { queue: { max_queue_size: 2 } } });
    try {
        await full.create({ ...full.scripted('full81'), task_status: 'offline' } as any);
        const order = { model_id: 'full81', type: 'custom', input: '{}' };
        assert.equal((await full.post('/api/v1/tasks', order)).status, 200);
        assert.equal((await full.post('/api/v1/tasks', order)).status, 200);
        const answer = await full.post('/api/v1/tasks', order);
        assert.deepEqual([answer.status, answer.json.code], [429, -1], answer.text);
        assert.ok(Number(answer.headers['retry-after']) >= 1);
        assert.ok(Number(answer.headers['retry-after-ms']) > 0);
    } finally {
        await full.finish();
    }
});

test('GET /task-types: what a task can be', async () => {
    const types = await good('GET', '/task-types');
    assert.deepEqual(types.map((type: any) => type.name).sort(), ['custom', 'embedding', 'summarization', 'text-generation', 'translation']);
    assert.equal(types.find((type: any) => type.name === 'embedding').endpoint, '/v1/embeddings');
});

// ---- models ----

test('POST /models of type openai: offline at first, its key in a file and nowhere else', async () => {
    const remote = await Remote.open();
    const base_url = `http://127.0.0.1:${remote.port}/v1`;
    const config = { base_url, api_key: KEY, model: 'far', max_tokens: 77, temperature: 0.5 };
    const model = await good('POST', '/models', { name: 'openai81', type: 'openai', config, max_workers: 3 });
    hasFields(model, modelFields);
    assert.deepEqual([model.name, model.type, model.status, model.max_workers, model.current_workers], ['openai81', 'openai', 'offline', 3, 0]);
    assert.deepEqual(model.config, { ...config, api_key: '********' });
    const keys = () => readdirSync(join(daemon.dataDir, 'keys')).map((name) => join(daemon.dataDir, 'keys', name));
    assert.equal(readFileSync(keys()[0], 'utf8'), KEY);
    assert.equal(statSync(keys()[0]).mode & 0o777, 0o600);
    await bad(400, /openai81/, 'POST', '/models', { name: 'openai81', type: 'openai', config });
    assert.equal(keys().length, 1, 'a refused one leaves no key');
    const task = await submit({ model_id: model.id });
    assert.match((await show(task.id)).waiting.reason, /offline/);
    await good('PUT', `/models/${model.id}/status`, { status: 'online' });
    assert.equal((await became(task.id, 'completed')).output, 'from afar');
    assert.equal(remote.keys.at(-1), `Bearer ${KEY}`);
    assert.deepEqual([remote.bodies.at(-1).model, remote.bodies.at(-1).max_tokens, remote.bodies.at(-1).temperature], ['far', 77, 0.5], 'request defaults');
    // What was shown comes back: the key stays.
    const same = await good('PUT', `/models/${model.id}`, { config: { ...model.config, max_tokens: 78 } });
    assert.deepEqual(same.config, { ...model.config, max_tokens: 78 });
    assert.equal(readFileSync(keys()[0], 'utf8'), KEY);
    await good('PUT', `/models/${model.id}`, { config: { ...model.config, api_key: 'sk-another' } });
    assert.deepEqual(keys().map((file) => readFileSync(file, 'utf8')), ['sk-another'], 'the old file goes');
    await became((await submit({ model_id: model.id })).id, 'completed');
    assert.equal(remote.keys.at(-1), 'Bearer sk-another');
    const everything = JSON.stringify([await good('GET', '/models'), (await daemon.get('/api/models/openai81/config')).json, (await daemon.get('/api/models/')).json, daemon.log()]);
    assert.ok(!everything.includes(KEY) && !everything.includes('sk-another'), 'a key is never told');
    const counted = await good('GET', `/models/${model.id}`);
    assert.deepEqual([counted.total_requests, counted.success_requests], [2, 2]);
    assert.equal((await api('DELETE', `/models/${model.id}`)).status, 200);
    assert.deepEqual(keys(), []);
    await bad(404, /there is no model/, 'GET', `/models/${model.id}`);
    remote.close();
});

test('POST /models of type local: the server at host and port, else the file; never berth itself', async () => {
    const remote = await Remote.open();
    const { port } = remote;
    const there = await good('POST', '/models', { name: 'there81', type: 'local', config: { host: '127.0.0.1', port } });
    assert.deepEqual([there.config.host, there.config.port], ['127.0.0.1', port]);
    await good('PUT', `/models/${there.id}/status`, { status: 'online' });
    assert.equal((await became((await submit({ model_id: there.id })).id, 'completed')).output, 'from afar');
    remote.close();
    const file = daemon.behaviour('file81', {});
    const ours = await good('POST', '/models', { name: 'file81', type: 'local', config: { host: '127.0.0.1', port, model_path: file } });
    assert.deepEqual([ours.config.host, ours.config.port, ours.config.model_path], ['127.0.0.1', port, file]);
    assert.equal((await daemon.get('/api/models/file81/config')).json.framework, 'llamacpp');
    await good('PUT', `/models/${ours.id}/status`, { status: 'online' });
    assert.equal((await became((await submit({ model_id: ours.id })).id, 'completed')).output, ' 0 1 2 3 4 5 6 7');
    await bad(400, /no server answers/, 'POST', '/models', { name: 'none81', type: 'local', config: { host: '127.0.0.1', port: 1 } });
    await bad(400, /where berth itself listens/, 'POST', '/models', { name: 'self81', type: 'local', config: { host: 'localhost', port: daemon.port } });
});

test('POST /models of type custom: a base_url, or a command', async () => {
    const remote = await Remote.open();
    const url = await good('POST', '/models', { name: 'url81', type: 'custom', config: { base_url: `http://127.0.0.1:${remote.port}/v1` } });
    assert.equal(url.type, 'custom');
    assert.equal((await daemon.get('/api/models/url81/config')).json.framework, 'openai');
    await good('POST', '/models', { name: 'command81', type: 'custom', config: { command: ['/bin/false', '${PORT}'] } });
    assert.equal((await daemon.get('/api/models/command81/config')).json.framework, 'command');
    await bad(400, /base_url of its server, or the command/, 'POST', '/models', { name: 'neither81', type: 'custom', config: {} });
    remote.close();
});

test('models: lists, changes, words', async () => {
    await bad(400, /type must be openai, local or custom/, 'POST', '/models', { name: 'x81', type: 'magic', config: {} });
    await bad(400, /name is required/, 'POST', '/models', { type: 'openai', config: {} });
    await bad(400, /config is required/, 'POST', '/models', { name: 'x81', type: 'openai' });
    await bad(400, /max_workers/, 'POST', '/models', { name: 'x81', type: 'openai', config: {}, max_workers: 0 });
    const model = await good('POST', '/models', { name: 'list81', type: 'openai', config: {} });
    assert.equal(model.config.base_url, 'https://api.openai.com/v1');
    const names = async (query: string): Promise<string[]> => (await good('GET', `/models${query}`)).map((one: any) => one.name);
    assert.ok((await names('?type=openai&status=offline')).includes('list81'));
    assert.ok(!(await names('?type=local')).includes('list81'));
    assert.ok((await names('?type=local')).includes('tasks81'), 'made at another door');
    await bad(400, /status must be online, offline or maintenance/, 'GET', '/models?status=asleep');
    const changed = await good('PUT', `/models/${model.id}`, { name: 'renamed81', max_workers: 4, status: 'maintenance' });
    assert.deepEqual([changed.name, changed.max_workers, changed.status], ['renamed81', 4, 'maintenance']);
    assert.equal((await daemon.get('/api/models/renamed81')).json.id, 'list81', 'both names are good');
    assert.ok(!(await names('/available')).includes('renamed81'));
    const answer = await api('PUT', `/models/${model.id}/status`, { status: 'online' });
    assert.deepEqual(Object.keys(answer.json), ['code', 'message'], 'data is null');
    assert.ok((await names('/available')).includes('renamed81'));
    const stats = (await good('GET', '/models/stats')).find((one: any) => one.id === model.id);
    hasFields(stats, [...modelFields, 'pending_tasks', 'running_tasks', 'success_rate', 'avg_response_ms']);
    await bad(404, /there is no model/, 'PUT', `/models/${UNKNOWN}`, { max_workers: 1 });
    await bad(404, /there is no model/, 'PUT', `/models/${UNKNOWN}/status`, { status: 'online' });
    await bad(404, /there is no model/, 'DELETE', `/models/${UNKNOWN}`);
    await bad(400, /an id is/, 'GET', '/models/tasks81');
});

test('one model at both doors: /api/models shows and takes task_status and max_workers', async () => {
    const config = (await daemon.get('/api/models/tasks81/config')).json;
    assert.deepEqual([config.task_status, config.max_workers], ['online', 2]);
    assert.equal((await good('GET', `/models/${tasks81}`)).max_workers, 2);
});

test('the status of a model of the config file is set while berth runs, is kept, and the file wins when it says something else', async () => {
    const own = await Daemon.prepare();
    const fixed = (status: string): any => ({ ...own.scripted('fixed81'), task_status: status });
    try {
        own.configure({}, [fixed('offline')]);
        await own.launch();
        const model = async (): Promise<any> => (await own.get('/api/v1/models')).json.data[0];
        const put = (path: string, body: unknown): Promise<Answer> => own.ask({ method: 'PUT', path, body });
        const { id, status } = await model();
        assert.equal(status, 'offline');
        const task = (await own.post('/api/v1/tasks', { model_id: id, type: 'text-generation', input: 'x' })).json.data;
        assert.equal((await put(`/api/v1/models/${id}/status`, { status: 'online' })).status, 200);
        await until('its task to run', async () => (await own.get(`/api/v1/tasks/${task.id}`)).json.data.status === 'completed');
        const refused = await put(`/api/v1/models/${id}`, { max_workers: 3 });
        assert.deepEqual([refused.status, refused.json.code], [409, -1]);
        assert.match(refused.json.message, /only its status is set here/);
        assert.equal((await put('/api/models/fixed81/task-status', { status: 'maintenance' })).status, 200);
        assert.equal((await own.get('/api/models/fixed81')).json.task_status, 'maintenance');
        await own.stop();
        await own.launch();
        assert.equal((await model()).status, 'maintenance', 'kept over a restart');
        own.configure({}, [fixed('online')]);
        process.kill(own.pid, 'SIGHUP');
        await until('the file to be read', async () => (await model()).status === 'online');
    } finally {
        await own.finish();
    }
});

test('DELETE /models/:id is refused while it has tasks', async () => {
    const model = await scripted('busy81', { task_status: 'offline' });
    const { id } = await submit({ model_id: model });
    await bad(400, /1 pending and 0 running tasks/, 'DELETE', `/models/${model}`);
    await good('DELETE', `/tasks/${id}`);
    await good('DELETE', `/models/${model}`);
    assert.equal((await show(id)).model, null, 'its tasks stay');
});

// ---- statistics ----

test('statistics are true: all, by model, by type, by date, on the dashboard', async () => {
    const model = await scripted('counted81');
    for (const type of ['translation', 'translation', 'summarization']) {
        await became((await submit({ model_id: model, type })).id, 'completed');
    }
    await became((await custom({ status: 400, body: '{}' }, { model_id: model })).id, 'failed');
    const all = await good('GET', '/tasks/stats');
    hasFields(all, [...counters, 'cancelled_tasks']);
    assert.ok(all.total_tasks >= 4 && all.completed_tasks >= 3 && all.failed_tasks >= 1);
    const mine = (await good('GET', '/stats/tasks/model')).find((row: any) => row.model_name === 'counted81');
    hasFields(mine, ['model_name', 'model_type', ...counters]);
    assert.deepEqual([mine.model_type, mine.total_tasks, mine.completed_tasks, mine.failed_tasks, mine.pending_tasks, mine.running_tasks, mine.success_rate], ['local', 4, 3, 1, 0, 0, 75]);
    assert.ok(mine.avg_processing_ms > 0);
    const types = await good('GET', '/stats/tasks/type');
    hasFields(types[0], ['type', ...counters]);
    assert.equal(types.find((row: any) => row.type === 'translation').completed_tasks, 2);
    const days = await good('GET', '/stats/tasks/date?days=1');
    assert.equal(days[0].date, new Date().toISOString().slice(0, 10));
    hasFields(days[0], ['date', 'total', 'completed', 'failed', 'avg_processing_ms']);
    assert.deepEqual([days[0].total, days[0].completed], [all.total_tasks, all.completed_tasks], 'all of it was today');
    await bad(400, /days must be a whole number from 1 to 365/, 'GET', '/stats/tasks/date?days=366');
    const dashboard = await good('GET', '/stats/dashboard');
    hasFields(dashboard, ['task_stats', 'model_stats', 'queue_status', 'worker_status', 'system_stats', 'recent_tasks']);
    assert.equal(dashboard.task_stats.total_tasks, all.total_tasks);
    assert.ok(dashboard.recent_tasks.length <= 10 && dashboard.recent_tasks[0].model_id === model);
    hasFields(dashboard.recent_tasks[0], taskFields);
    assert.equal(dashboard.system_stats.stat_date, days[0].date);
    assert.equal(dashboard.system_stats.total_tasks, all.total_tasks);
});

test('C.6: queue_status and worker_status are there, and follow', async () => {
    const model = await scripted('workers81', { max_workers: 2 });
    const hung = await custom({ hang: true }, { model_id: model, priority: 3 });
    await became(hung.id, 'running');
    const delayed = await submit({ model_id: model, delay: '1h' });
    const { queue_status, worker_status } = await good('GET', '/stats/dashboard');
    assert.ok(queue_status.processing_count >= 1 && queue_status.delayed_count >= 1);
    assert.equal(queue_status.total_count, queue_status.high_priority_count + queue_status.medium_priority_count + queue_status.low_priority_count + queue_status.processing_count + queue_status.delayed_count);
    const workers = worker_status.filter((worker: any) => worker.model_id === model);
    assert.deepEqual(workers.map((worker: any) => [worker.status, worker.current_task_id]).sort(), [['busy', hung.id], ['idle', null]]);
    for (const worker of workers) {
        assert.match(worker.worker_id, /^worker-/);
        assert.equal(worker.model_name, 'workers81');
        assert.match(worker.start_time, RFC3339);
        assert.match(worker.last_heartbeat, RFC3339);
    }
    // current_workers counts those that work, so a model with a free one is available.
    assert.equal((await good('GET', `/models/${model}`)).current_workers, 1);
    assert.ok((await good('GET', '/models/available')).some((one: any) => one.id === model));
    for (const { id } of [hung, delayed]) {
        await good('DELETE', `/tasks/${id}`);
    }
    await until('the worker to be free', async () => (await good('GET', `/models/${model}`)).current_workers === 0);
});

// ---- the system doors ----

test('C.6: health and info answer, with one body, and tell of the queue', async () => {
    for (const what of ['health', 'info']) {
        const answer = await api('GET', `/system/${what}`);
        assert.ok([200, 503].includes(answer.status), answer.text);
        assert.ok(answer.json, 'one JSON body');
        hasFields(answer.json.data.queue_status, ['high_priority_count', 'medium_priority_count', 'low_priority_count', 'processing_count', 'delayed_count', 'total_count']);
    }
    const { data } = (await api('GET', '/system/health')).json;
    assert.match(data.timestamp, RFC3339);
    assert.deepEqual([data.database, data.redis, data.queue], ['ok', 'disabled', 'ok']);
    const root = (await daemon.get('/', { accept: 'application/json' })).json;
    assert.deepEqual([root.code, root.data.name, root.data.status], [0, 'berth', 'running']);
});

// ---- the faults of the original ----

test('C.6: a cancelled pending task never runs', async () => {
    const model = await scripted('cancel81', { task_status: 'offline' }, { record: join(daemon.dir, 'cancel.jsonl') });
    const gone = await submit({ model_id: model, input: 'must not be asked' });
    const stays = await submit({ model_id: model, input: 'may be asked' });
    await good('DELETE', `/tasks/${gone.id}`);
    await good('PUT', `/models/${model}/status`, { status: 'online' });
    await became(stays.id, 'completed');
    assert.equal((await show(gone.id)).status, 'cancelled');
    assert.ok(!readFileSync(join(daemon.dir, 'cancel.jsonl'), 'utf8').includes('must not be asked'));
});

test('C.6: a cancelled running task stays cancelled, and the engine is let go', async () => {
    const { id } = await custom({ first_ms: 300 });
    await became(id, 'running');
    await good('DELETE', `/tasks/${id}`);
    await became((await custom({ first_ms: 400 })).id, 'completed'); // by then a late answer would have come
    const task = await show(id);
    assert.deepEqual([task.status, task.output], ['cancelled', null]);
});

test('C.6: FIFO within a class, high before low, also when models share the queue', async () => {
    const model = await scripted('order81', { task_status: 'offline', max_workers: 1 }, { record: join(daemon.dir, 'order.jsonl') });
    const ids: number[] = [];
    for (const [i, priority] of [1, 2, 3, 1, 2, 3].entries()) {
        ids.push((await submit({ model_id: model, priority, input: `number-${i}-` })).id);
        await submit({ input: 'another model' });
    }
    await good('PUT', `/models/${model}/status`, { status: 'online' });
    for (const id of ids) {
        await became(id, 'completed');
    }
    const order = await Promise.all(ids.map(async (id, i) => [(await show(id)).started_at, i] as const));
    assert.deepEqual(order.sort().map(([, i]) => i), [2, 5, 1, 4, 0, 3]);
});

test('C.6: a model put online after start gets its workers; offline again its tasks wait', async () => {
    const model = await scripted('late81', { task_status: 'offline', max_workers: 1 });
    const one = await submit({ model_id: model });
    await good('PUT', `/models/${model}/status`, { status: 'online' });
    await became(one.id, 'completed');
    await good('PUT', `/models/${model}/status`, { status: 'maintenance' });
    const two = await submit({ model_id: model });
    assert.match((await show(two.id)).waiting.reason, /maintenance/);
    await good('DELETE', `/tasks/${two.id}`);
});

test('C.6: order_by is checked against a list', async () => {
    await bad(400, /order_by must be/, 'GET', `/tasks?order_by=${encodeURIComponent('id;DROP TABLE tasks')}`);
    await bad(400, /order_by must be/, 'GET', '/tasks?order_by=input');
});

test('C.6: a status is one of its words', async () => {
    await bad(400, /status must be online, offline or maintenance/, 'PUT', `/models/${tasks81}/status`, { status: 'sleeping' });
    await bad(400, /status is required/, 'PUT', `/models/${tasks81}/status`, {});
});

test('C.6: an unknown model is a 404, not a 500', async () => {
    await bad(404, /there is no model 987654/, 'POST', '/tasks', { model_id: UNKNOWN, type: 'custom', input: 'x' });
    await bad(404, /there is no model 'nobody81'/, 'POST', '/tasks', { model_id: 'nobody81', type: 'custom', input: 'x' });
});

test('C.6: text is never cut within a character', async () => {
    const input = '日本語'.repeat(2000);
    const { id } = await submit({ input, type: 'summarization' });
    assert.equal((await became(id, 'completed')).input, input);
});

// ---- live ----

test('/api/events tells every change of a task, without ids; kind=task tells nothing else', async () => {
    const events = await Events.open(daemon, '', '?kind=task');
    const { id } = await submit();
    await became(id, 'completed');
    await events.wait('all of its states', (all) => all.some((one) => one.data.task.id === id && one.data.task.status === 'completed'));
    const mine = events.all.filter((one) => one.data.task.id === id);
    assert.deepEqual(mine.map((one) => [one.id, one.event, one.data.from, one.data.task.status]), [[0, 'task', null, 'pending'], [0, 'task', 'pending', 'running'], [0, 'task', 'running', 'completed']]);
    assert.ok(!('input' in mine[0].data.task), 'without bodies');
    events.raw.close();
});

test('/ws/tasks?kind=task pushes every change; ping and pong; the rest is refused', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}/ws/tasks?kind=task`);
    const seen: any[] = [];
    socket.addEventListener('message', (message) => seen.push(JSON.parse(String(message.data))));
    await new Promise((done, fail) => {
        socket.addEventListener('open', done);
        socket.addEventListener('error', () => fail(new Error('no WebSocket')));
    });
    const { id } = await submit();
    await until('the completed task', () => seen.some((one) => one.type === 'task' && one.task.id === id && one.task.status === 'completed'));
    assert.deepEqual(seen.filter((one) => one.type === 'task' && one.task.id === id).map((one) => one.task.status), ['pending', 'running', 'completed']);
    socket.send('{"type":"ping"}');
    await until('the pong', () => seen.some((one) => one.type === 'pong' && RFC3339.test(one.timestamp)));
    const closed = new Promise((done) => socket.addEventListener('close', done));
    socket.close();
    await closed;
    const plain = await daemon.get('/ws/tasks');
    assert.equal(plain.status, 426, 'the planner\'s jobs are told there; see 91_evaluations');
    const other = await daemon.get('/ws/tasks?kind=other');
    assert.equal(other.status, 404);
    assert.match(other.json.detail, /task tells the changes of the queue/);
    assert.equal((await daemon.get('/ws/tasks?kind=task')).status, 426);
    const raw = await Raw.open(daemon.target);
    raw.send(`GET /ws/tasks?kind=task HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nOrigin: https://evil.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`);
    assert.match(await raw.read((text) => text.includes('\r\n\r\n')), /^HTTP\/1\.1 403 /, 'a page of another site may not listen');
    raw.close();
});

// ---- options, one test each (queue.max_queue_size is above, worker.default_workers and queue.max_retries below) ----

async function withOptions(config: Record<string, any>, work: (own: Daemon, order: (fields?: Record<string, unknown>) => Promise<number>, task: (id: number) => Promise<any>) => Promise<void>): Promise<void> {
    const own = await Daemon.start({ config });
    try {
        await own.create(own.scripted('own81'));
        await work(own, async (fields = {}) => (await own.post('/api/v1/tasks', { model_id: 'own81', type: 'custom', input: { messages: [] }, ...fields })).json.data.id,
            async (id) => (await own.get(`/api/v1/tasks/${id}`)).json.data);
    } finally {
        await own.finish();
    }
}
const hangs = { messages: [], scripted: { hang: true } };

test('queue.task_timeout ends an attempt', () => withOptions({ queue: { task_timeout: '200ms', max_retries: 0 } }, async (_, order, task) => {
    const [id, own] = [await order({ input: hangs }), await order({ input: { messages: [], scripted: { first_ms: 400 } }, timeout: '30s' })];
    const ended = (which: number): Promise<any> => until(`the end of ${which}`, async () => {
        const now = await task(which);
        return ['failed', 'completed'].includes(now.status) && now;
    });
    const failed = await ended(id);
    assert.equal(failed.status, 'failed');
    assert.match(failed.error_message, /longer than 0\.2 s/);
    assert.equal((await ended(own)).status, 'completed', 'its own time was longer');
}));

test('queue.retry_delay is how long a failed task waits for its next try', () => withOptions({ queue: { retry_delay: '1h' } }, async (_, order, task) => {
    const id = await order({ input: { messages: [], scripted: { status: 503, body: '{}' } } });
    const waits = await until('the wait', async () => {
        const now = await task(id);
        return now.retry_count === 1 && now.status === 'pending' && now;
    });
    const seconds = (Date.parse(waits.run_at) - Date.now()) / 1000;
    assert.ok(seconds > 1000 && seconds < 7300, `about an hour, with jitter: ${seconds}`);
    assert.match(waits.waiting.reason, /delayed|again/);
}));

test('worker.max_workers bounds the sum over all models', () => withOptions({ worker: { max_workers: 2 } }, async (own, order, task) => {
    await own.create(own.scripted('other81'));
    const running = [await order({ input: hangs }), await order({ input: hangs, model_id: 'other81' })];
    for (const id of running) {
        await until(`task ${id} to run`, async () => (await task(id)).status === 'running');
    }
    const waits = await order({ model_id: 'other81' });
    assert.match((await task(waits)).waiting.reason, /busy|worker/);
    await own.ask({ method: 'DELETE', path: `/api/v1/tasks/${running[0]}`, headers: { 'content-length': '0' } });
    await until('the third to be done', async () => (await task(waits)).status === 'completed');
    await own.ask({ method: 'DELETE', path: `/api/v1/tasks/${running[1]}`, headers: { 'content-length': '0' } });
}));

// ---- the configuration file of the original ----

const seedFile = (port: number, driver: string): string => `app:
  name: "LLM Scheduler"
  version: "1.0.0"
  env: "development"

server:
  host: "127.0.0.1"
  port: ${port}
  mode: "debug"
  read_timeout: 60s
  write_timeout: 60s

database:
  driver: "${driver}"
  host: "localhost"
  port: 3306
  username: "root"
  password: "geheim"
  database: "llm_scheduler"
  charset: "utf8mb4"
  parse_time: true
  loc: "Local"
  max_idle_conns: 10
  max_open_conns: 100
  conn_max_lifetime: 1h

redis:
  host: "localhost"
  port: 6379
  password: ""
  db: 0
  pool_size: 10
  min_idle_conns: 5

queue:
  high_priority_queue: "llm:queue:high"
  medium_priority_queue: "llm:queue:medium"
  low_priority_queue: "llm:queue:low"
  delayed_queue: "llm:queue:delayed"
  processing_queue: "llm:queue:processing"
  max_queue_size: 3
  task_timeout: 300s
  max_retries: 2
  retry_delay: 60s

worker:
  default_workers: 7
  max_workers: 50
  worker_timeout: 300s
  heartbeat_interval: 30s

logging:
  level: "warn"
  format: "json"
  output: "file"
  file_path: "./logs/app.log"
  max_size: 100
  max_age: 30
  max_backups: 10
  compress: true

cors:
  allowed_origins:
    - "http://localhost:3000"
  allowed_methods: ["GET", "POST", "PUT", "DELETE"]
  allowed_headers: ["*"]
  exposed_headers: ["Content-Length"]
  allow_credentials: true
  max_age: 12h

models:
  openai:
    base_url: "https://models.example/v1"
    timeout: 60s
    max_retries: 3
  local:
    timeout: 120s
    max_retries: 2
`;

test('the configuration file of the original starts berth, and what has an equivalent takes effect', async () => {
    const own = await Daemon.prepare({ environment: { REDIS_HOST: 'localhost', DB_HOST: 'localhost', LLM_SCHEDULER_DB_PORT: '3306' } });
    writeFileSync(own.configFile, seedFile(own.port, 'sqlite'));
    try {
        await own.launch(); // on the port that server.port names
        const { options } = (await own.get('/api/config')).json;
        assert.deepEqual(options.server.listen.value, [`127.0.0.1:${own.port}`]);
        assert.match(options.server.listen.source, /berth\.yaml:8 \(server\.port\)$/);
        assert.deepEqual([options.log.level.value, options.log.format.value], ['warn', 'json']);
        assert.deepEqual(options.cors.origins.value, ['http://localhost:3000']);
        assert.ok(!JSON.stringify(options).includes('geheim'));
        const model = (await own.post('/api/v1/models', { name: 'seed81', type: 'openai', config: {} })).json.data;
        assert.equal(model.config.base_url, 'https://models.example/v1');
        assert.equal(model.max_workers, 7, 'worker.default_workers');
        const order = { model_id: model.id, type: 'custom', input: '{}' };
        const first = (await own.post('/api/v1/tasks', order)).json.data;
        assert.equal(first.max_retries, 2, 'queue.max_retries');
        await own.post('/api/v1/tasks', order);
        await own.post('/api/v1/tasks', order);
        assert.equal((await own.post('/api/v1/tasks', order)).status, 429, 'queue.max_queue_size');
        const page = await own.get('/api/v1/tasks', { origin: 'http://localhost:3000' });
        assert.equal(page.headers['access-control-allow-origin'], 'http://localhost:3000');
    } finally {
        await own.finish();
    }
});

test('its MySQL and Redis are refused with a sentence; config check says what has no effect', async () => {
    const own = await Daemon.prepare();
    const check = (driver: string): { code: number; text: string } => {
        writeFileSync(own.configFile, seedFile(own.port, driver));
        try {
            return { code: 0, text: execFileSync('sh', ['-c', `'${berthBin}' config check '${own.configFile}' 2>&1`], { encoding: 'utf8', env: own.env }) };
        } catch (error: any) {
            return { code: error.status, text: String(error.stdout) };
        }
    };
    try {
        const refused = check('mysql');
        assert.notEqual(refused.code, 0);
        assert.match(refused.text, /database\.driver .*SQLite/);
        const fine = check('sqlite');
        assert.equal(fine.code, 0, fine.text);
        assert.match(fine.text, /queue\.high_priority_queue .*has no effect/);
        assert.match(fine.text, /server\.port .*is taken as server\.listen/);
        assert.doesNotMatch(fine.text, /geheim/);
    } finally {
        await own.finish();
    }
});
