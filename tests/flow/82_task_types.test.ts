// SPDX-License-Identifier: Apache-2.0
// What tasks become: the very request that an engine sees, what of its answer is kept, and that whoever waits for an answer
// goes before any task.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon, recorded } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';
import { berthBin, llamaServer, quickstartGguf } from './lib/paths.ts';
import { until } from './lib/wait.ts';

const types = [
    { name: 'keywords', help: 'The most telling words.', template: { temperature: 0, messages: [{ role: 'user', content: '{{count}} keywords of: {{input}}' }] }, defaults: { count: 5 } },
    { name: 'rerank', endpoint: '/v1/rerank' },
];

let daemon: Daemon;
let record: string;
const ids: Record<string, number> = {};

const asked = (): any[] => recorded(record).filter((line) => line.mark === 'request' && line.head.startsWith('POST'));
const pathOf = (line: any): string => line.head.split(' ')[1];

async function numberOf(name: string): Promise<number> {
    const answer = await daemon.get('/api/v1/models');
    return answer.json.data.find((one: any) => one.name === name).id;
}

async function submit(type: string, input: unknown, fields: Record<string, unknown> = {}): Promise<number> {
    const answer = await daemon.post('/api/v1/tasks', { model_id: ids.types82, type, input, ...fields });
    assert.equal(answer.status, 200, answer.text);
    return answer.json.data.id;
}

const task = async (id: number): Promise<any> => (await daemon.get(`/api/v1/tasks/${id}`)).json.data;

async function ended(id: number): Promise<any> {
    return until(`task ${id} to end`, async () => {
        const now = await task(id);
        if (now.status === 'pending' || now.status === 'running') {
            throw new Error(JSON.stringify(now));
        }
        return now;
    }, 30_000);
}

/** The task's output, and the one request that it made. */
async function done(type: string, input: unknown, fields: Record<string, unknown> = {}): Promise<{ output: string; path: string; body: any; head: string }> {
    const before_ = asked().length;
    const result = await ended(await submit(type, input, fields));
    assert.equal(result.status, 'completed', JSON.stringify(result));
    const made = asked().slice(before_);
    assert.equal(made.length, 1);
    return { output: result.output, path: pathOf(made[0]), body: JSON.parse(made[0].body), head: made[0].head };
}

async function failed(type: string, input: unknown, fields: Record<string, unknown> = {}): Promise<any> {
    const result = await ended(await submit(type, input, { max_retries: 0, ...fields }));
    assert.equal(result.status, 'failed', JSON.stringify(result));
    return result;
}

before(async () => {
    daemon = await Daemon.start({ config: { task_types: types } });
    record = join(daemon.dir, 'record');
    await daemon.up(daemon.scripted('types82', { record, events: 2 }, { parallel: 2, embeddings: true, max_tokens: 9 }));
    ids.types82 = await numberOf('types82');
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

test('each built-in type makes the request that it stands for', async () => {
    const text = await done('text-generation', 'Say "hello" {{input}}');
    assert.equal(text.path, '/v1/chat/completions');
    assert.deepEqual(text.body, { model: 'types82', max_tokens: 9, messages: [{ role: 'user', content: 'Say "hello" {{input}}' }] });
    assert.equal(text.output, ' 0 1');
    assert.match(text.head, /^x-request-id: task-\d+-1\r$/m);

    const translation = await done('translation', 'Bonjour', { options: { language: 'Japanese', source: 'French' } });
    assert.equal(translation.path, '/v1/chat/completions');
    assert.match(translation.body.messages[0].content, /from French into Japanese\./);
    assert.deepEqual(translation.body.messages[1], { role: 'user', content: 'Bonjour' });

    const summary = await done('summarization', '長い文章', { options: { length: 'one word' } });
    assert.equal(summary.path, '/v1/chat/completions');
    assert.equal(summary.body.messages.length, 2);
    assert.match(summary.body.messages[0].content, /in one word\./);
    assert.equal(summary.body.messages[1].content, '長い文章');
    assert.equal(summary.output, ' 0 1');

    const vector = await done('embedding', 'words');
    assert.equal(vector.path, '/v1/embeddings');
    assert.deepEqual(vector.body, { model: 'types82', input: 'words' });
    assert.deepEqual(JSON.parse(vector.output), [0.5, -0.25, 0.125]);

    const custom = await done('custom', JSON.stringify({ prompt: 'x', stream: true, max_tokens: 1 }), { options: { path: '/v1/completions' } });
    assert.equal(custom.path, '/v1/completions');
    assert.deepEqual(custom.body, { model: 'types82', prompt: 'x', max_tokens: 1 });
    assert.equal(JSON.parse(custom.output).object, 'text_completion');
});

test('a model has templates of its own, and the configuration new types', async () => {
    const template = { messages: [{ role: 'user', content: 'To {{language}}: {{input}}' }] };
    await daemon.up(daemon.scripted('own82', { record }, { temperature: 0.5, task_templates: { translation: template } }));
    const translation = await done('translation', 'Hallo', { model_id: await numberOf('own82'), options: { language: 'Welsh', request: { seed: 4, max_tokens: 3 } } });
    assert.deepEqual(translation.body, { model: 'own82', seed: 4, max_tokens: 3, temperature: 0.5, messages: [{ role: 'user', content: 'To Welsh: Hallo' }] });
    const keywords = await done('keywords', 'a b c', { options: { count: 2 } });
    assert.deepEqual(keywords.body, { model: 'types82', max_tokens: 9, temperature: 0, messages: [{ role: 'user', content: '2 keywords of: a b c' }] });
    const answer = await daemon.get('/api/v1/task-types');
    assert.equal(answer.status, 200, answer.text);
    const names = answer.json.data.map((one: any) => one.name);
    assert.deepEqual(names, ['text-generation', 'translation', 'summarization', 'embedding', 'custom', 'keywords', 'rerank']);
});

test("an engine's refusal fails a task at once, in its own words; input that fits no request asks nobody", async () => {
    const refused = await failed('custom', { messages: [], scripted: { status: 400, body: '{"error":{"message":"too many apples"}}' } }, { max_retries: 3 });
    assert.match(refused.error_message, /too many apples/);
    assert.equal(refused.retry_count, 0);
    const before_ = asked().length;
    assert.match((await failed('rerank', 'no object')).error_message, /JSON object/);
    assert.match((await failed('custom', '{}', { options: { path: '/v1/../slots' } })).error_message, /upwards/);
    assert.equal(asked().length, before_);
});

test('cancelling a running task ends the work of its engine', async () => {
    const id = await submit('custom', { messages: [], scripted: { first_ms: 60_000 } });
    await until('it to run', async () => (await task(id)).status === 'running' && asked().at(-1).body.includes('60000'));
    assert.equal((await daemon.ask({ method: 'DELETE', path: `/api/v1/tasks/${id}` })).status, 200);
    await until('the engine to be free', async () => recorded(record).at(-1).mark === 'gone');
    assert.equal((await task(id)).status, 'cancelled');
});

test('requests overtake tasks: none waits in the engine behind a task that had not begun', async () => {
    // Two slots: both are taken by tasks, more wait.
    const tasks: number[] = [];
    for (let i = 0; i < 6; i++) {
        tasks.push(await submit('custom', { messages: [], i, scripted: { first_ms: 700 } }));
    }
    await until('two of them to run', async () => (await Promise.all(tasks.map(task))).filter((one) => one.status === 'running').length === 2);
    const from = asked().length;
    const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => daemon.chat('types82', { i, scripted: { first_ms: 100 } })));
    for (const answer of answers) {
        assert.equal(answer.status, 200, answer.text);
    }
    const order = asked().slice(from).map((line) => ('messages' in JSON.parse(line.body) && JSON.parse(line.body).messages.length ? 'request' : 'task'));
    assert.deepEqual(order.slice(0, 6), Array(6).fill('request'), `the engine was asked for ${order}`);
    for (const id of tasks) {
        assert.equal((await ended(id)).status, 'completed');
    }
});

test('a stopped model is loaded for a task, and a task of one that is loading says so', async () => {
    await daemon.create({ ...daemon.scripted('sleepy82', { load_ms: 3000 }), on_demand: true });
    const id = await submit('text-generation', 'x', { model_id: await numberOf('sleepy82') });
    const reason = await until('a reason', async () => {
        const waiting = (await task(id)).waiting;
        return /loading/.test(waiting?.reason ?? '') && waiting.reason;
    });
    assert.match(reason, /the model is loading/);
    assert.equal((await ended(id)).status, 'completed');
});

test('wrong types are told with their line, and a reload of them keeps the old ones', async () => {
    const whole = JSON.parse(readFileSync(daemon.configFile, 'utf8'));
    const wrong = join(daemon.dir, 'wrong.yaml');
    writeFileSync(wrong, 'task_types:\n  - {name: a}\n  - {name: b, endpoint: nowhere}\n');
    const check = spawnSync(berthBin, ['config', 'check', wrong], { encoding: 'utf8', env: daemon.env });
    assert.notEqual(check.status, 0);
    assert.match(check.stdout + check.stderr, /wrong\.yaml:3: task_types\[1\] 'b': .*begin with '\/'/);

    const listed = async (): Promise<string[]> => (await daemon.get('/api/v1/task-types')).json.data.map((one: any) => one.name);
    writeFileSync(daemon.configFile, JSON.stringify({ ...whole, task_types: [{ name: 'batch' }] }));
    process.kill(daemon.pid, 'SIGHUP');
    await until('the refusal', async () => /the name 'batch' is berth's own/.test(daemon.log()));
    assert.ok((await listed()).includes('keywords'));
    writeFileSync(daemon.configFile, JSON.stringify({ ...whole, task_types: [...types, { name: 'fresh' }] }));
    process.kill(daemon.pid, 'SIGHUP');
    await until('the new type', async () => (await listed()).includes('fresh'));
});

test('text generation and embedding on a real llama-server', { skip: !existsSync(llamaServer) && 'no llama-server' }, async () => {
    const real = (id: string, parameters: Record<string, unknown>) => ({ id, model_path: quickstartGguf, parameters: { binary: llamaServer, ctx_size: 512, parallel: 1, ...parameters } });
    await daemon.up(real('real82', { max_tokens: 8 }));
    await daemon.up(real('vectors82', { embeddings: true }));
    const text = await ended(await submit('text-generation', 'Once upon a time', { model_id: await numberOf('real82') }));
    assert.equal(text.status, 'completed', JSON.stringify(text));
    assert.ok(text.output.length > 0);
    const vector = await ended(await submit('embedding', 'Once', { model_id: await numberOf('vectors82') }));
    assert.equal(vector.status, 'completed', JSON.stringify(vector));
    const numbers = JSON.parse(vector.output);
    assert.ok(Array.isArray(numbers) && numbers.length > 8 && numbers.every((one: unknown) => typeof one === 'number'));
});
