// SPDX-License-Identifier: Apache-2.0
// The official clients of Anthropic and Ollama, and what the OpenAI client can do beyond chat, unmodified, against berth with a real
// llama-server. Each test is one line of the list of calls in README.md here.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Ollama } from 'ollama';
import OpenAI from 'openai';
import { busySlots, Daemon } from './lib/daemon.ts';
import { checkTraffic, observedFetch } from './lib/openapi.ts';
import { llamaServer, loopGguf, quickstartGguf, storiesGguf } from './lib/paths.ts';
import { until } from './lib/wait.ts';

const hello = 'Hello, who are you?';
const messages = [{ role: 'user' as const, content: hello }];
let daemon: Daemon;
let anthropic: Anthropic;
let ollama: Ollama;
let openai: OpenAI;
let recital: string;

before(async () => {
    daemon = await Daemon.start({ config: { engines: { llama_server: llamaServer } } });
    anthropic = new Anthropic({ baseURL: daemon.url, apiKey: 'unused', maxRetries: 0, fetch: observedFetch });
    ollama = new Ollama({ host: daemon.url, fetch: observedFetch as typeof fetch });
    openai = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: 'unused', maxRetries: 0, fetch: observedFetch });
    await daemon.up({ id: 'recite', model_path: quickstartGguf, aliases: ['claude-here', 'gpt-here'], parameters: { embeddings: true, pooling: 'mean', parallel: 2 } });
    await daemon.up({ id: 'rank', model_path: quickstartGguf, parameters: { reranking: true, parallel: 1 } });
    await daemon.up({ id: 'loop', model_path: loopGguf, parameters: { parallel: 1 } });
    recital = (await openai.chat.completions.create({ model: 'recite', messages, temperature: 0 })).choices[0].message.content!;
    assert.ok(recital.length > 40);
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), [], 'no engine outlives berth');
});

const rejected = (call: Promise<unknown>): Promise<any> => call.then(() => assert.fail('answered'), (error) => error);

// OpenAI

test('openai: responses.create', async () => {
    const answer = await openai.responses.create({ model: 'recite', input: hello, temperature: 0 });
    assert.equal(answer.output_text, recital);
    assert.equal(answer.status, 'completed');
    assert.ok(answer.usage!.output_tokens > 5);
});

test('openai: responses.create, streamed', async () => {
    let text = '';
    let completed = false;
    for await (const event of await openai.responses.create({ model: 'recite', input: hello, temperature: 0, stream: true })) {
        text += event.type === 'response.output_text.delta' ? event.delta : '';
        completed ||= event.type === 'response.completed';
    }
    assert.equal(text, recital);
    assert.ok(completed);
});

test('openai: chat by an alias, and with tools and unknown fields', async () => {
    const answer = await openai.chat.completions.create({
        model: 'gpt-here', messages, temperature: 0, metadata: { a: 'b' }, // @ts-expect-error a field that no client knows
        x_unknown: { deep: [1, 2.50, null] },
    });
    assert.equal(answer.choices[0].message.content, recital);
});

test('openai: rerank (no method of the client, its own post)', async () => {
    const answer: any = await openai.post('/rerank', { body: { model: 'rank', query: 'berth', documents: ['a harbour', 'a model'] } });
    assert.equal(answer.results.length, 2);
    assert.ok(answer.results.every((one: any) => Number.isFinite(one.relevance_score)));
});

test('openai: models.retrieve of an id and of an alias', async () => {
    assert.equal((await openai.models.retrieve('recite')).id, 'recite');
    assert.equal((await openai.models.retrieve('gpt-here')).id, 'recite');
});

// Anthropic

test('anthropic: messages.create', async () => {
    const answer = await anthropic.messages.create({ model: 'recite', messages, max_tokens: 200, temperature: 0 });
    assert.equal(answer.type, 'message');
    assert.equal(answer.role, 'assistant');
    assert.deepEqual(answer.content.map((block) => (block.type === 'text' ? block.text : block.type)), [recital]);
    assert.equal(answer.stop_reason, 'end_turn');
    assert.ok(answer.usage.output_tokens > 5);
});

test('anthropic: messages.create with a system prompt, by an alias, stopped by max_tokens', async () => {
    const answer = await anthropic.messages.create({ model: 'claude-here', system: 'Be brief.', messages, max_tokens: 3 });
    assert.equal(answer.stop_reason, 'max_tokens');
    assert.equal(answer.usage.output_tokens, 3);
});

test('anthropic: messages.create, streamed', async () => {
    const types = [];
    let text = '';
    for await (const event of await anthropic.messages.create({ model: 'recite', messages, max_tokens: 200, temperature: 0, stream: true })) {
        types.push(event.type);
        text += event.type === 'content_block_delta' && event.delta.type === 'text_delta' ? event.delta.text : '';
    }
    assert.equal(text, recital);
    assert.equal(types[0], 'message_start');
    assert.equal(types.at(-1), 'message_stop');
});

test('anthropic: messages.stream gives the final message', async () => {
    const stream = anthropic.messages.stream({ model: 'recite', messages, max_tokens: 200, temperature: 0 });
    const final = await stream.finalMessage();
    assert.equal(await stream.finalText(), recital);
    assert.ok(final.usage.output_tokens > 5);
});

test('anthropic: messages.countTokens', async () => {
    const { input_tokens } = await anthropic.messages.countTokens({ model: 'recite', messages });
    assert.ok(input_tokens > 3 && input_tokens < 200, `${input_tokens} tokens`);
});

test('anthropic: a model that is not there is its NotFoundError', async () => {
    const error = await rejected(anthropic.messages.create({ model: 'nope', messages, max_tokens: 5 }));
    assert.ok(error instanceof Anthropic.NotFoundError, String(error));
    assert.equal(error.error.type, 'error');
    assert.equal(error.error.error.type, 'not_found_error');
    assert.match(error.error.error.message, /nope/);
});

test('anthropic: a bad body is its BadRequestError, in words', async () => {
    const error = await rejected(anthropic.messages.create({ model: '', messages, max_tokens: 5 }));
    assert.ok(error instanceof Anthropic.BadRequestError, String(error));
    assert.equal(error.error.error.type, 'invalid_request_error');
});

test('anthropic: aborting a stream frees the slot', async () => {
    const stream = await anthropic.messages.create({ model: 'loop', messages, max_tokens: 100_000, stream: true });
    for await (const event of stream) {
        if (event.type === 'content_block_delta') {
            break;
        }
    }
    stream.controller.abort();
    const [instance] = await daemon.instances('loop');
    await until('the slot to be free', async () => (await busySlots(instance)) === 0, 5000);
});

test('anthropic: models.list', async () => {
    const ids = [];
    for await (const model of anthropic.models.list()) {
        ids.push(model.id);
    }
    assert.deepEqual(ids.sort(), ['loop', 'rank', 'recite']);
});

// Ollama

test('ollama: list', async () => {
    const { models } = await ollama.list();
    const one = models.find((model) => model.name.replace(/:latest$/, '') === 'recite')!;
    assert.ok(one, JSON.stringify(models));
    assert.ok(one.size > 100_000 && one.digest.length >= 12);
    assert.equal(one.details.format, 'gguf');
    assert.ok(!Number.isNaN(new Date(one.modified_at).getTime()));
});

test('ollama: ps', async () => {
    const { models } = await ollama.ps();
    assert.deepEqual(models.map((model) => model.name.replace(/:latest$/, '')).sort(), ['loop', 'rank', 'recite']);
    assert.ok(models.every((model) => new Date(model.expires_at).getTime() > Date.now()));
});

test('ollama: version and show', async () => {
    assert.match((await ollama.version()).version, /^\d+\.\d+/);
    const shown = await ollama.show({ model: 'recite' });
    assert.equal(shown.details.format, 'gguf');
    assert.ok(shown.capabilities.includes('completion'));
});

test('ollama: chat', async () => {
    const answer = await ollama.chat({ model: 'recite', messages, options: { temperature: 0 } });
    assert.equal(answer.message.role, 'assistant');
    assert.equal(answer.message.content, recital);
    assert.equal(answer.done, true);
    assert.equal(answer.done_reason, 'stop');
    assert.ok(answer.eval_count > 5 && answer.prompt_eval_count > 0 && answer.total_duration > 0);
});

test('ollama: chat, streamed, by name:latest', async () => {
    let text = '';
    let last: any;
    for await (const part of await ollama.chat({ model: 'recite:latest', messages, stream: true, options: { temperature: 0 } })) {
        text += part.message.content;
        last = part;
    }
    assert.equal(text, recital);
    assert.equal(last.done, true);
    assert.ok(last.eval_count > 5);
});

test('ollama: generate, whole and streamed, num_predict, system', async () => {
    const whole = await ollama.generate({ model: 'recite', prompt: hello, options: { temperature: 0 } });
    assert.equal(whole.response, recital);
    let text = '';
    for await (const part of await ollama.generate({ model: 'recite', prompt: hello, stream: true, options: { temperature: 0 } })) {
        text += part.response;
    }
    assert.equal(text, recital);
    const cut = await ollama.generate({ model: 'recite', prompt: hello, system: 'Be brief.', options: { num_predict: 3 } });
    assert.equal(cut.eval_count, 3);
    assert.equal(cut.done_reason, 'length');
});

test('ollama: generate, raw', async () => {
    const answer = await ollama.generate({ model: 'recite', prompt: 'Hello', raw: true, options: { num_predict: 4, temperature: 0 } });
    assert.ok(answer.response.length > 0);
    assert.equal(answer.done, true);
});

test('ollama: generate with format json', { skip: !existsSync(storiesGguf) && 'no stories260K.gguf here' }, async () => {
    await daemon.create({ id: 'stories', model_path: storiesGguf, parameters: { ctx_size: 512, parallel: 1 } });
    const answer = await ollama.generate({ model: 'stories', prompt: 'Once', format: 'json', options: { num_predict: 30, temperature: 0 } });
    assert.match(answer.response.trimStart(), /^[[{]/);
    await daemon.ask({ method: 'DELETE', path: '/api/models/stories' });
});

test('ollama: embed and embeddings', async () => {
    const both = await ollama.embed({ model: 'recite', input: ['one', 'two'] });
    assert.equal(both.embeddings.length, 2);
    assert.ok(both.embeddings[0].length > 3 && both.embeddings[0].every(Number.isFinite));
    const one = await ollama.embeddings({ model: 'recite', prompt: 'one' });
    assert.equal(one.embedding.length, both.embeddings[0].length);
});

test('ollama: abort ends a stream and frees the slot', async () => {
    const stream = await ollama.chat({ model: 'loop', messages, stream: true });
    await assert.rejects(async () => {
        for await (const part of stream) {
            if (part.message.content) {
                stream.abort();
            }
        }
    }, /abort/i);
    const [instance] = await daemon.instances('loop');
    await until('the slot to be free', async () => (await busySlots(instance)) === 0, 5000);
});

test('ollama: an unknown model is a 404 in its words', async () => {
    const error = await rejected(ollama.chat({ model: 'nope', messages }));
    assert.equal(error.status_code, 404);
    assert.match(error.error ?? error.message, /nope/);
});

test('ollama: keep_alive 0 without a prompt unloads, an empty prompt loads', async () => {
    const unloaded = await ollama.generate({ model: 'rank', prompt: '', keep_alive: 0 });
    assert.equal(unloaded.done_reason, 'unload');
    await daemon.waitStatus('rank', 'stopped');
    const loaded = await ollama.generate({ model: 'rank', prompt: '' });
    assert.equal(loaded.done_reason, 'load');
    assert.equal(await daemon.status('rank'), 'running');
});

test('ollama: keep_alive of a request rules how long the model stays', async () => {
    await ollama.generate({ model: 'rank', prompt: '', keep_alive: '1s' });
    const { models } = await ollama.ps();
    const one = models.find((model) => model.name.replace(/:latest$/, '') === 'rank')!;
    assert.ok(new Date(one.expires_at).getTime() < Date.now() + 5000, String(one.expires_at));
    await daemon.waitStatus('rank', 'stopped');
});
