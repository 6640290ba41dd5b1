// SPDX-License-Identifier: Apache-2.0
// /v1/files and /v1/batches by the official openai client, and the webhooks of batches and tasks: on scripted engines what must be provoked,
// and once, a batch of 500, on a real llama-server.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { Daemon } from './lib/daemon.ts';
import { checkTraffic, observedFetch } from './lib/openapi.ts';
import { llamaServer, storiesGguf } from './lib/paths.ts';
import { pause, until } from './lib/wait.ts';

const url = '/v1/chat/completions';
let daemon: Daemon;
let openai: OpenAI;
let hooks: Hooks;

/** A receiver of webhooks that does as it is told. */
class Hooks {
    readonly calls: { event: string; id: string; signature: string; body: string; json: any }[] = [];
    status = 200;
    private readonly server: Server;

    private constructor(server: Server) {
        this.server = server;
    }

    static start(): Promise<Hooks> {
        return new Promise((done) => {
            const server = createServer((request, response) => {
                let body = '';
                request.on('data', (piece) => (body += piece));
                request.on('end', () => {
                    const { headers } = request;
                    hooks.calls.push({
                        event: String(headers['x-berth-event']), id: String(headers['x-berth-delivery']),
                        signature: String(headers['x-berth-signature']), body, json: JSON.parse(body),
                    });
                    response.writeHead(hooks.status).end();
                });
            });
            server.unref().listen(0, '127.0.0.1', () => done(new Hooks(server)));
        });
    }

    get url(): string {
        return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/hook?who=berth`;
    }

    of(batch: string) {
        return this.calls.filter((call) => call.json.batch?.id === batch);
    }

    ofTask(id: number) {
        return this.calls.filter((call) => call.json.task?.id === id);
    }

    stop(): void {
        this.server.closeAllConnections();
        this.server.close();
    }
}

const chatBody = (model: string, more: Record<string, unknown> = {}) => ({ model, messages: [{ role: 'user', content: 'Hello' }], max_tokens: 4, ...more });

/** An input: each line is a body, or a whole line as text. */
function input(lines: (Record<string, unknown> | string)[], to = url): string {
    return lines.map((line, i) => (typeof line === 'string' ? line : JSON.stringify({ custom_id: `id-${i + 1}`, method: 'POST', url: to, body: line }))).join('\n') + '\n';
}

const upload = async (text: string) => openai.files.create({ file: await toFile(Buffer.from(text), 'in "put".jsonl'), purpose: 'batch' });

async function submit(lines: (Record<string, unknown> | string)[], more: Record<string, unknown> = {}): Promise<OpenAI.Batch> {
    const file = await upload(input(lines, (more.endpoint as string) ?? url));
    return openai.batches.create({ input_file_id: file.id, endpoint: url, completion_window: '24h', ...more } as OpenAI.BatchCreateParams);
}

const ended = new Set(['failed', 'completed', 'expired', 'cancelled']);

async function finish(id: string, limitMs = 60_000): Promise<OpenAI.Batch> {
    return until(`batch ${id} to end`, async () => {
        const batch = await openai.batches.retrieve(id);
        if (!ended.has(batch.status)) {
            throw new Error(JSON.stringify(batch));
        }
        return batch;
    }, limitMs, 30);
}

async function lines(file: string | null | undefined): Promise<any[]> {
    if (!file) {
        return [];
    }
    const text = await (await openai.files.content(file)).text();
    assert.ok(text.endsWith('\n'));
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
}

const rejected = (call: Promise<unknown>): Promise<any> => call.then(() => assert.fail('answered'), (error) => error);
const ids = (list: any[]) => list.map((line) => Number(line.custom_id.slice(3)));

before(async () => {
    hooks = await Hooks.start();
    daemon = await Daemon.prepare();
    writeFileSync(join(daemon.dir, 'secret'), 'a word between us\n');
    daemon.configure({
        batches: { max_requests: 1000, max_file_size: '1MiB' },
        webhooks: { allow: ['127.0.0.1'], secret_file: join(daemon.dir, 'secret') },
    });
    await daemon.launch();
    openai = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: 'unused', maxRetries: 0, fetch: observedFetch });
    await daemon.up(daemon.scripted('b-quick', { events: 3 }, { parallel: 4 }));
    await daemon.up(daemon.scripted('b-slow', { events: 5, event_ms: 10 }, { parallel: 1 }));
});

after(async () => {
    await checkTraffic(daemon);
    hooks.stop();
    assert.deepEqual(await daemon.finish(), []);
});

// Files

test('files: create, retrieve, list, content, delete', async () => {
    const text = 'x'.repeat(300_000) + '\r\n--boundary\r\nä\n';
    const file = await upload(text);
    assert.deepEqual({ ...file, created_at: 0 }, {
        id: file.id, object: 'file', bytes: Buffer.byteLength(text), created_at: 0, filename: 'in "put".jsonl', purpose: 'batch', status: 'processed',
    });
    assert.match(file.id, /^file-[0-9a-f]{24}$/);
    assert.ok(Math.abs(file.created_at - Date.now() / 1000) < 60);
    assert.deepEqual(await openai.files.retrieve(file.id), file);
    const content = await openai.files.content(file.id);
    assert.equal(content.headers.get('content-length'), String(Buffer.byteLength(text)));
    assert.equal(await content.text(), text);
    const raw = await fetch(`${daemon.url}/v1/files/${file.id}/content`, { method: 'HEAD' });
    assert.deepEqual([raw.status, raw.headers.get('content-length'), await raw.text()], [200, String(Buffer.byteLength(text)), '']);
    const more = [await upload('1'), await upload('2')];
    const newest = await openai.files.list({ limit: 2 });
    assert.deepEqual(newest.data.map((one) => one.id), [more[1].id, more[0].id]);
    const all = [];
    for await (const one of openai.files.list({ limit: 1, order: 'asc', purpose: 'batch' })) {
        all.push(one.id);
    }
    assert.deepEqual(all, [file, ...more].map((one) => one.id), 'page after page');
    for (const one of [file, ...more]) {
        assert.deepEqual(await openai.files.delete(one.id), { id: one.id, object: 'file', deleted: true });
    }
    assert.ok((await rejected(openai.files.retrieve(file.id))) instanceof OpenAI.NotFoundError);
    assert.ok((await rejected(openai.files.content(file.id) as any)) instanceof OpenAI.NotFoundError);
    assert.ok((await rejected(openai.files.delete(file.id))) instanceof OpenAI.NotFoundError);
    await until('nothing to be left on the disk', () => readdirSync(join(daemon.dataDir, 'files')).length === 0);
});

test('files: what is refused, in words', async () => {
    const file = await toFile(Buffer.from('x'), 'x');
    const other = await rejected(openai.files.create({ file, purpose: 'fine-tune' }));
    assert.ok(other instanceof OpenAI.BadRequestError);
    assert.match(other.message, /'purpose' must be 'batch'/);
    const large = await rejected(openai.files.create({ file: await toFile(Buffer.alloc(1024 * 1024 + 1)), purpose: 'batch' }));
    assert.equal(large.status, 413);
    assert.match(large.message, /batches\.max_file_size/);
    const expiring = await openai.files.create({ file, purpose: 'batch', expires_after: { anchor: 'created_at', seconds: 3600 } });
    assert.equal(expiring.expires_at, expiring.created_at + 3600);
    await openai.files.delete(expiring.id);
    for (const [type, body, words] of [
        ['application/json', '{}', /multipart/],
        ['multipart/form-data; boundary=b', '--b\r\n', /form/],
        ['multipart/form-data; boundary=b', '--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--', /'file'/],
    ] as const) {
        const answer = await daemon.ask({ method: 'POST', path: '/v1/files', body, headers: { 'content-type': type } });
        assert.equal(answer.status, 400, answer.text);
        assert.match(answer.json.error.message, words);
        assert.equal(answer.json.error.type, 'invalid_request_error');
    }
});

// Batches

test('a batch: created, worked off, its files in the order of lines', async () => {
    const wanted = Array.from({ length: 120 }, (_, i) => chatBody('b-quick', i % 10 === 9 ? { scripted: { status: 400, body: '{"error":{"message":"no",\n"type":"t"}}' } } : {}));
    const created = await submit(wanted, { metadata: { who: 'flow' }, webhook: hooks.url });
    assert.deepEqual({ ...created, created_at: 0, expires_at: 0 }, {
        id: created.id, object: 'batch', endpoint: url, errors: null, input_file_id: created.input_file_id, completion_window: '24h', status: 'validating',
        output_file_id: null, error_file_id: null, created_at: 0, in_progress_at: null, expires_at: 0, finalizing_at: null, completed_at: null,
        failed_at: null, expired_at: null, cancelling_at: null, cancelled_at: null, request_counts: { total: 0, completed: 0, failed: 0 }, metadata: { who: 'flow' },
    });
    assert.equal(created.expires_at, created.created_at + 86400);
    const batch = await finish(created.id);
    assert.equal(batch.status, 'completed');
    assert.deepEqual(batch.request_counts, { total: 120, completed: 108, failed: 12 });
    assert.ok(batch.in_progress_at && batch.finalizing_at && batch.completed_at);
    const good = await lines(batch.output_file_id);
    assert.deepEqual(ids(good), Array.from({ length: 120 }, (_, i) => i + 1).filter((n) => n % 10));
    for (const line of good) {
        assert.deepEqual(Object.keys(line), ['id', 'custom_id', 'response', 'error']);
        assert.equal(line.error, null);
        assert.equal(line.response.status_code, 200);
        assert.equal(line.response.body.choices[0].message.role, 'assistant');
        assert.match(line.response.request_id, /^req_/);
    }
    assert.equal(new Set(good.map((line) => line.id)).size, 108);
    const bad = await lines(batch.error_file_id);
    assert.deepEqual(ids(bad), Array.from({ length: 12 }, (_, i) => 10 * (i + 1)));
    assert.deepEqual(bad[0].response, { status_code: 400, request_id: bad[0].response.request_id, body: { error: { message: 'no', type: 't' } } });
    const file = await openai.files.retrieve(batch.output_file_id!);
    assert.deepEqual([file.purpose, file.filename, file.expires_at! - file.created_at], ['batch_output', `${batch.id}_output.jsonl`, 30 * 86400]);

    await until('the webhook to be told', () => hooks.of(batch.id).length > 0);
    const [call] = hooks.of(batch.id);
    assert.equal(call.event, 'batch.completed');
    assert.equal(call.signature, 'sha256=' + createHmac('sha256', 'a word between us').update(call.body).digest('hex'));
    assert.equal(call.json.batch.output_file_id, batch.output_file_id);
    assert.deepEqual(call.json.batch.request_counts, batch.request_counts);

    const { events } = (await daemon.get('/api/events?kind=batch_state&limit=1000&after=0', { accept: 'application/json' })).json;
    assert.deepEqual(events.filter((event: any) => event.data.batch === batch.id).map((event: any) => event.data.to), ['in_progress', 'finalizing', 'completed']);
    const [listed] = (await openai.batches.list({ limit: 1 })).data;
    assert.deepEqual(listed, batch);
    assert.equal((await openai.batches.list({ after: batch.id })).data.length, 0);
});

test('completions, embeddings and responses are endpoints, too; a line may name another model', async () => {
    for (const [endpoint, body] of [
        ['/v1/completions', { prompt: 'x', max_tokens: 2 }],
        ['/v1/embeddings', { input: 'x' }],
        ['/v1/responses', { input: 'x' }],
    ] as const) {
        const batch = await finish((await submit([{ model: 'b-quick', ...body }, { model: 'b-slow', ...body }], { endpoint })).id);
        assert.equal(batch.status, 'completed', JSON.stringify(batch));
        const answers = [...await lines(batch.output_file_id), ...await lines(batch.error_file_id)];
        assert.deepEqual(ids(answers).sort(), [1, 2]);
        assert.ok(answers.every((line) => line.response.status_code > 0));
    }
});

test('an input that is wrong: failed, told line by line, and nothing runs', async () => {
    const one = input([chatBody('b-quick')]).trim();
    const batch = await finish((await submit([one, 'not json', '', one, chatBody('b-nowhere'), chatBody('b-quick', { stream: true })])).id);
    assert.equal(batch.status, 'failed');
    assert.equal(batch.errors!.object, 'list');
    assert.deepEqual(batch.errors!.data!.map(({ code, line }) => [code, line]), [
        ['invalid_json_line', 2], ['duplicate_custom_id', 4], ['model_not_found', 5], ['invalid_request', 6],
    ]);
    assert.ok(batch.failed_at);
    assert.equal(batch.output_file_id, null);
    assert.equal(batch.request_counts!.total, 0);
    const empty = await finish((await openai.batches.create({ input_file_id: (await upload('')).id, endpoint: url, completion_window: '24h' })).id);
    assert.equal(empty.errors!.data![0].code, 'empty_file');
});

test('what is refused at once, in words', async () => {
    const good = { input_file_id: (await upload(input([chatBody('b-quick')]))).id, endpoint: url, completion_window: '24h' };
    for (const [change, status, words] of [
        [{ endpoint: '/v1/moderations' }, 400, /'endpoint' must be one of/],
        [{ endpoint: undefined }, 400, /'endpoint'/],
        [{ completion_window: '900ms' }, 400, /from 1s to 366d/],
        [{ completion_window: 'soon' }, 400, /completion_window/],
        [{ input_file_id: 'file-000000000000000000000000' }, 404, /no file/],
        [{ metadata: { a: 1 } }, 400, /metadata/],
        [{ webhook: 'http://elsewhere.example/' }, 403, /webhooks\.allow/],
        [{ webhook: 'gopher://127.0.0.1/' }, 400, /webhook/],
    ] as [Record<string, unknown>, number, RegExp][]) {
        const answer = await daemon.post('/v1/batches', { ...good, ...change });
        assert.equal(answer.status, status, answer.text);
        assert.match(answer.json.error.message, words);
    }
    for (const ask of [() => openai.batches.retrieve('batch_x'), () => openai.batches.cancel('batch_x'), () => openai.batches.list({ after: 'batch_x' })]) {
        assert.ok((await rejected(ask() as Promise<unknown>)) instanceof OpenAI.NotFoundError);
    }
});

test('cancel: what has run stands in the files, the rest says so', async () => {
    const { id, input_file_id: file } = await submit(Array.from({ length: 200 }, () => chatBody('b-slow')), { webhook: hooks.url });
    await until('some to be done', async () => (await openai.batches.retrieve(id)).request_counts!.completed >= 3);
    assert.equal((await rejected(openai.files.delete(file))).status, 409);
    const cancelling = await openai.batches.cancel(id);
    assert.match(cancelling.status, /^cancell/);
    const batch = await finish(id);
    assert.equal(batch.status, 'cancelled');
    assert.ok(batch.cancelling_at && batch.cancelled_at);
    const good = await lines(batch.output_file_id);
    const bad = await lines(batch.error_file_id);
    assert.ok(good.length >= 3 && good.length < 200);
    assert.deepEqual([...ids(good), ...ids(bad)].sort((a, b) => a - b), Array.from({ length: 200 }, (_, i) => i + 1));
    assert.ok(bad.every((line) => line.error.code === 'batch_cancelled' && line.response === null));
    assert.equal(batch.request_counts!.completed, good.length);
    await until('the engine to be idle', async () => (await daemon.instances('b-slow'))[0].in_flight === 0);
    assert.equal((await openai.batches.cancel(id)).status, 'cancelled', 'once more changes nothing');
    await until('the webhook to be told', () => hooks.of(id).some((call) => call.event === 'batch.cancelled'));
    await openai.files.delete(file);
});

const together = 10;

/** Somebody who was answered by this model, as the log tells it: milliseconds, each a little off. */
interface Turn {
    who: 'line' | 'person';
    came: number;
    began: number; // had the slot
}

function turns(model: string): Turn[] {
    return daemon.log().split('\n').filter((line) => line.includes(' access request ') && line.includes(` model=${model} `)).map((line) => {
        const figure = (name: string) => Number(new RegExp(` ${name}=(\\d+) `).exec(line)?.[1]);
        const came = Date.parse(line.slice(0, 24)) - figure('total_ms');
        return { who: line.includes(' client=- ') ? 'line' : 'person', came, began: came + figure('queue_ms') };
    });
}

/** Ten persons at once, for one slot: while one of them waits no line gets it, but for the one that was on its way already. */
async function personsGoFirst(model: string, ask: () => Promise<unknown>): Promise<void> {
    const from = turns(model).length;
    await Promise.all(Array.from({ length: together }, ask));
    const order = await until('all to be in the log', () => {
        const seen = turns(model).slice(from);
        return seen.filter(({ who }) => who === 'person').length === together && seen;
    });
    for (const person of order.filter(({ who }) => who === 'person')) {
        const meanwhile = order.filter(({ who, began }) => who === 'line' && person.came + 3 < began && began < person.began - 3);
        assert.ok(meanwhile.length <= 1, `lines got the slot while a person waited: ${JSON.stringify([person, meanwhile, order])}`);
    }
}

test('a person goes first: no interactive request waits behind a line that had not reached the slot', async () => {
    const { id } = await submit(Array.from({ length: 300 }, (_, i) => chatBody('b-slow', { messages: [{ role: 'user', content: `line ${i}` }] })));
    await until('it to run', async () => (await openai.batches.retrieve(id)).request_counts!.completed > 0);
    for (let i = 0; i < 3; i++) {
        await personsGoFirst('b-slow', async () => assert.equal((await daemon.chat('b-slow', { max_tokens: 2 })).status, 200));
    }
    assert.ok((await openai.batches.retrieve(id)).request_counts!.completed < 300, 'the batch was there all the time');
    await openai.batches.cancel(id);
    await finish(id);
});

// Restarts

test('kill -9 in the middle: it goes on, and every line is answered once', async () => {
    const { id } = await submit(Array.from({ length: 150 }, (_, i) => chatBody('b-quick', { scripted: { event_ms: 5, events: 3 + (i % 4) } })), { webhook: hooks.url });
    for (const done of [1, 60, 120]) {
        await until(`${done} lines to be done`, async () => {
            const { request_counts: counts, status } = await openai.batches.retrieve(id);
            return counts!.completed >= done || status === 'completed';
        });
        await daemon.kill9();
        await daemon.launch();
    }
    const batch = await finish(id);
    assert.equal(batch.status, 'completed');
    assert.deepEqual(batch.request_counts, { total: 150, completed: 150, failed: 0 });
    assert.deepEqual(ids(await lines(batch.output_file_id)), Array.from({ length: 150 }, (_, i) => i + 1));
    await until('the webhook to be told', () => hooks.of(id).length > 0);
});

test('a webhook that fails is told again, after a restart, too, with the same number', async () => {
    hooks.status = 500;
    const { id } = await submit([chatBody('b-quick')], { webhook: hooks.url });
    await until('two tries', () => hooks.of(id).length >= 2);
    await daemon.kill9();
    hooks.status = 200;
    await daemon.launch();
    await until('it to be taken', () => hooks.of(id).length >= 3, 20_000);
    assert.equal(new Set(hooks.of(id).map((call) => call.id)).size, 1);
    assert.equal(new Set(hooks.of(id).map((call) => call.body)).size, 1);
});

test('a task of its own is told of in the same way', async () => {
    const add = async (more: Record<string, unknown>) => {
        const answer = await daemon.post('/api/v1/tasks', { model: 'b-quick', type: 'text-generation', input: 'Hello', webhook: hooks.url, ...more });
        assert.ok(answer.status < 300, answer.text);
        return answer.json.data.id as number;
    };
    const signed = (call: { body: string; signature: string }) =>
        assert.equal(call.signature, 'sha256=' + createHmac('sha256', 'a word between us').update(call.body).digest('hex'));
    const refused = await add({ options: { request: { scripted: { status: 400, body: '{"error":{"message":"no","type":"t"}}' } } } });
    await until('the failure to be told', () => hooks.ofTask(refused).length > 0);
    const [failure] = hooks.ofTask(refused);
    assert.equal(failure.event, 'task.failed');
    assert.equal(failure.json.event, 'task.failed');
    assert.deepEqual([failure.json.task.status, failure.json.task.model, failure.json.task.type], ['failed', 'b-quick', 'text-generation']);
    assert.match(failure.json.task.error_message, /no/);
    signed(failure);

    hooks.status = 500;
    const id = await add({});
    await until('two tries', () => hooks.ofTask(id).length >= 2);
    await daemon.kill9();
    const before = hooks.ofTask(id).length;
    hooks.status = 200;
    await daemon.launch();
    await until('it to be taken', () => hooks.ofTask(id).length > before, 20_000);
    const calls = hooks.ofTask(id);
    assert.equal(new Set(calls.map((call) => call.id)).size, 1);
    for (const call of calls) {
        assert.equal(call.event, 'task.completed');
        assert.deepEqual([call.json.task.id, call.json.task.status, call.json.task.error_message], [id, 'completed', null]);
        signed(call);
    }
    const stranger = await daemon.post('/api/v1/tasks', { model: 'b-quick', type: 'text-generation', input: 'x', webhook: 'http://elsewhere.example/' });
    assert.ok(stranger.status === 403 || stranger.status === 400, stranger.text);
    assert.match(stranger.text, /webhooks\.allow/);
});

test('the time is over while berth is down', async () => {
    const { id } = await submit(Array.from({ length: 20 }, (_, i) => chatBody('b-slow', i === 0 ? {} : { scripted: { event_ms: 500, events: 20 } })), { completion_window: '2s' });
    await until('one line to be done', async () => (await openai.batches.retrieve(id)).request_counts!.completed >= 1, 20_000);
    const { expires_at: over } = await openai.batches.retrieve(id);
    await daemon.kill9();
    await until('the time to be over', () => Date.now() / 1000 > over! + 1, 10_000, 50);
    await daemon.launch();
    const batch = await finish(id);
    assert.equal(batch.status, 'expired');
    const good = await lines(batch.output_file_id);
    const bad = await lines(batch.error_file_id);
    assert.equal(good.length + bad.length, 20);
    assert.ok(good.length >= 1);
    assert.ok(bad.every((line) => line.error.code === 'batch_expired'));
});

// The real thing

test('a batch of 500 on a real llama-server completes while interactive requests go first', { skip: storiesGguf ? false : 'no stories260K.gguf' }, async () => {
    await daemon.up({ id: 'b-stories', model_path: storiesGguf!, parameters: { binary: llamaServer, parallel: 1, threads: 1 } });
    const created = await submit(Array.from({ length: 500 }, (_, i) => ({ model: 'b-stories', prompt: `Once upon a time ${i}`, max_tokens: 12, temperature: 0, seed: i })), { endpoint: '/v1/completions' });
    let rounds = 0;
    let batch = await openai.batches.retrieve(created.id);
    while (!ended.has(batch.status)) {
        if (batch.status === 'in_progress' && batch.request_counts!.completed > 0 && batch.request_counts!.completed < 400 && rounds < 8) {
            rounds++;
            await personsGoFirst('b-stories', async () => {
                const answer = await openai.completions.create({ model: 'b-stories', prompt: 'The little dog', max_tokens: 12, temperature: 0 });
                assert.ok(answer.choices[0].text.length > 0);
            });
        }
        await pause(20);
        batch = await openai.batches.retrieve(created.id);
    }
    assert.ok(rounds >= 2, `only ${rounds} rounds of interactive requests while it ran`);
    assert.equal(batch.status, 'completed');
    assert.deepEqual(batch.request_counts, { total: 500, completed: 500, failed: 0 });
    const answers = await lines(batch.output_file_id);
    assert.deepEqual(ids(answers), Array.from({ length: 500 }, (_, i) => i + 1));
    assert.ok(answers.every((line) => typeof line.response.body.choices[0].text === 'string' && line.response.body.usage.completion_tokens > 0));
});
