// SPDX-License-Identifier: Apache-2.0
// The official OpenAI client against berth with a real llama-server: what a user does first.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import OpenAI from 'openai';
import { busySlots, Daemon } from './lib/daemon.ts';
import { ask } from './lib/http.ts';
import { checkTraffic, observedFetch } from './lib/openapi.ts';
import { llamaServer, loopGguf, quickstartGguf, storiesGguf } from './lib/paths.ts';
import { until } from './lib/wait.ts';

const hello = [{ role: 'user' as const, content: 'Hello, who are you?' }];
let daemon: Daemon;
let client: OpenAI;
let recital: string; // what the engine itself answers, asked behind berth's back

before(async () => {
    daemon = await Daemon.start({ config: { engines: { llama_server: llamaServer } } });
    client = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: 'unused', maxRetries: 0, fetch: observedFetch });
    const instance = await daemon.up({ id: 'recite', model_path: quickstartGguf, parameters: { embeddings: true, pooling: 'mean', parallel: 2 } });
    const own = await ask({ socketPath: instance.socket }, { method: 'POST', path: '/v1/chat/completions', body: { messages: hello, temperature: 0 } });
    recital = own.json.choices[0].message.content;
    assert.ok(recital.length > 40, `the engine recites something: ${recital}`);
    await daemon.up({ id: 'loop', model_path: loopGguf, parameters: { parallel: 1 } });
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), [], 'no engine outlives berth');
});

test('list models', async () => {
    const ids = [];
    for await (const model of client.models.list()) {
        assert.equal(model.object, 'model');
        assert.equal(typeof model.created, 'number');
        ids.push(model.id);
    }
    assert.deepEqual(ids.sort(), ['loop', 'recite']);
});

test('chat answers the exact text, with usage', async () => {
    const answer = await client.chat.completions.create({ model: 'recite', messages: hello, temperature: 0 });
    assert.equal(answer.choices[0].message.content, recital);
    assert.equal(answer.choices[0].finish_reason, 'stop');
    assert.equal(answer.model, 'recite');
    assert.ok(answer.usage!.completion_tokens > 5);
    assert.equal(answer.usage!.total_tokens, answer.usage!.prompt_tokens + answer.usage!.completion_tokens);
});

test('stream says the same text piece by piece, and no usage that was not asked for', async () => {
    let text = '';
    let pieces = 0;
    let finish: string | null = null;
    for await (const chunk of await client.chat.completions.create({ model: 'recite', messages: hello, temperature: 0, stream: true })) {
        assert.ok(chunk.choices.length > 0, 'no event without a choice');
        assert.ok(!chunk.usage, 'no usage');
        text += chunk.choices[0].delta.content ?? '';
        pieces += chunk.choices[0].delta.content ? 1 : 0;
        finish = chunk.choices[0].finish_reason ?? finish;
    }
    assert.equal(text, recital);
    assert.equal(finish, 'stop');
    assert.ok(pieces > 5, `${pieces} pieces`);
});

test('stream with usage ends on the one usage event', async () => {
    let usage: OpenAI.CompletionUsage | null | undefined;
    let after_usage = 0;
    const stream = await client.chat.completions.create({ model: 'recite', messages: hello, stream: true, stream_options: { include_usage: true } });
    for await (const chunk of stream) {
        if (usage) {
            after_usage++;
        }
        usage = chunk.usage ?? usage;
    }
    assert.ok(usage && usage.completion_tokens > 5 && usage.prompt_tokens > 0);
    assert.equal(after_usage, 0);
});

test('many streams at once, each whole', async () => {
    const texts = await Promise.all(Array.from({ length: 16 }, async () => {
        let text = '';
        for await (const chunk of await client.chat.completions.create({ model: 'recite', messages: hello, temperature: 0, stream: true })) {
            text += chunk.choices[0].delta.content ?? '';
        }
        return text;
    }));
    assert.deepEqual(new Set(texts), new Set([recital]));
});

test('abort frees the engine\'s slot within a second', async () => {
    const [instance] = await daemon.instances('loop');
    const stream = await client.chat.completions.create({ model: 'loop', messages: hello, stream: true, max_tokens: 100_000 });
    let pieces = 0;
    for await (const chunk of stream) {
        pieces += chunk.choices[0]?.delta.content ? 1 : 0;
        if (pieces === 5) {
            assert.equal(await busySlots(instance), 1, 'the slot is busy while it streams');
            break; // leaving the loop aborts the request
        }
    }
    stream.controller.abort();
    await until('the slot to be free', async () => (await busySlots(instance)) === 0, 5000);
    await until('nothing to be in flight', async () => (await daemon.instances('loop'))[0].in_flight === 0, 5000);
});

test('abort before the first byte leaves the line', async () => {
    const [instance] = await daemon.instances('loop');
    const holder = await client.chat.completions.create({ model: 'loop', messages: hello, stream: true, max_tokens: 100_000 });
    const aborts = Array.from({ length: 6 }, () => new AbortController());
    const waiting = aborts.map((abort) => client.chat.completions
        .create({ model: 'loop', messages: hello, stream: true, max_tokens: 100_000 }, { signal: abort.signal })
        .then(() => 'answered', (error) => error.constructor.name));
    await until('others to stand in line', async () => {
        const now = (await daemon.instances('loop'))[0];
        return now.in_flight + now.waiting >= 7;
    }, 5000);
    aborts.forEach((abort) => abort.abort());
    assert.deepEqual(new Set(await Promise.all(waiting)), new Set(['APIUserAbortError']));
    holder.controller.abort();
    await until('the slot to be free', async () => (await busySlots(instance)) === 0, 5000);
    await until('the line to be empty', async () => {
        const now = (await daemon.instances('loop'))[0];
        return now.in_flight === 0 && now.waiting === 0;
    }, 2000);
});

test('text completions, whole and streamed', async () => {
    const whole = await client.completions.create({ model: 'recite', prompt: 'Hello', temperature: 0, max_tokens: 12 });
    assert.ok(whole.choices[0].text.length > 0);
    let text = '';
    for await (const chunk of await client.completions.create({ model: 'recite', prompt: 'Hello', temperature: 0, max_tokens: 12, stream: true })) {
        text += chunk.choices[0]?.text ?? '';
    }
    assert.equal(text, whole.choices[0].text);
});

test('embeddings', async () => {
    const answer = await client.embeddings.create({ model: 'recite', input: ['one', 'two'], encoding_format: 'float' });
    assert.equal(answer.data.length, 2);
    assert.ok(answer.data[0].embedding.length > 3 && answer.data[0].embedding.every(Number.isFinite));
    const packed = await client.embeddings.create({ model: 'recite', input: 'one' }); // the client asks for base64
    assert.equal(packed.data[0].embedding.length, answer.data[0].embedding.length);
});

test('an unknown model is a 404 object', async () => {
    for (const stream of [false, true]) {
        const error = await client.chat.completions.create({ model: 'nope', messages: hello, stream }).then(() => assert.fail('answered'), (e) => e);
        assert.ok(error instanceof OpenAI.NotFoundError, String(error));
        assert.equal(error.code, 'model_not_found');
        assert.match(error.message, /nope/);
    }
});

test('the engine\'s own refusal comes through', async () => {
    const error = await client.chat.completions.create({ model: 'recite', messages: 'not a list' as never }).then(() => assert.fail('answered'), (e) => e);
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.ok(error.message.length > 10);
});

test('x-request-id is echoed, or made', async () => {
    const own = await daemon.chat('recite', { max_tokens: 1 });
    assert.match(String(own.headers['x-request-id']), /^[A-Za-z0-9._:-]{8,128}$/);
    const mine = await daemon.post('/v1/chat/completions', { model: 'recite', messages: hello, max_tokens: 1 }, { 'x-request-id': 'flow-42' });
    assert.equal(mine.headers['x-request-id'], 'flow-42');
    const bad = await daemon.post('/v1/chat/completions', { model: 'recite', messages: hello, max_tokens: 1 }, { 'x-request-id': 'a b<c>' });
    assert.notEqual(bad.headers['x-request-id'], 'a b<c>');
    const { response, data } = await client.chat.completions.create({ model: 'recite', messages: hello, max_tokens: 1 }).withResponse();
    assert.ok(data.choices.length === 1 && response.headers.get('x-request-id'));
});

test('a real trained model writes English', { skip: !existsSync(storiesGguf) && 'no stories260K.gguf here' }, async () => {
    await daemon.up({ id: 'stories', model_path: storiesGguf, parameters: { ctx_size: 512, parallel: 1 } });
    const answer = await client.completions.create({ model: 'stories', prompt: 'Once upon a time', max_tokens: 60, temperature: 0 });
    assert.match(answer.choices[0].text, /\b(the|and|was|to)\b/);
    assert.ok(answer.choices[0].text.split(' ').length > 10);
    await daemon.ask({ method: 'DELETE', path: '/api/models/stories' });
});
