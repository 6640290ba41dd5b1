// SPDX-License-Identifier: Apache-2.0
// A remote endpoint as an engine: a server of node stands for it, and writes its JSON as other servers do, with blanks.
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';

interface Seen {
    path: string;
    headers: http.IncomingHttpHeaders;
    body: any;
}

let daemon: Daemon;
let remote: http.Server;
const seen: Seen[] = [];
let toBreak = 0; // so many whole answers end in their middle
const key = 'sk-remote-secret-1';
const spaced = (value: unknown) => JSON.stringify(value, null, 1).replaceAll(/\n */g, ' '); // "choices": [ ]

function answer(body: any, response: http.ServerResponse): void {
    const usage = { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 };
    if (body.status) {
        response.writeHead(body.status, { 'content-type': 'application/json', 'retry-after': '17' });
        response.end('{"error": {"message": "slow down", "type": "rate_limit_error"}}');
    } else if (!body.stream) {
        response.writeHead(200, { 'content-type': 'application/json' });
        if (toBreak-- > 0) {
            response.write('{"choices": [', () => response.destroy());
            return;
        }
        response.end(spaced({ choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }], usage }));
    } else {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        for (const content of ['hel', 'lo']) {
            response.write(`data: ${spaced({ choices: [{ index: 0, delta: { content } }], usage: null })}\n\n`);
        }
        if (body.stream_options?.include_usage) {
            response.write(`data: ${spaced({ choices: [], usage })}\n\n`);
        }
        response.end('data: [DONE]\n\n');
    }
}

before(async () => {
    remote = http.createServer((request, response) => {
        let text = '';
        request.on('data', (part) => { text += part; });
        request.on('end', () => {
            const body = text ? JSON.parse(text) : {};
            if (request.method === 'POST') {
                seen.push({ path: request.url!, headers: request.headers, body });
            }
            answer(body, response);
        });
    });
    await new Promise<void>((done) => remote.listen(0, '127.0.0.1', done));
    daemon = await Daemon.start({ environment: { REMOTE_KEY: key } });
    const base_url = `http://127.0.0.1:${(remote.address() as AddressInfo).port}/deep/v1`;
    await daemon.create({ id: 'far', framework: 'openai', model_path: 'far', parameters: { base_url, model: 'vendor/large', api_key_env: 'REMOTE_KEY' } });
});

after(async () => {
    await checkTraffic(daemon);
    remote.close();
    remote.closeAllConnections();
    assert.deepEqual(await daemon.finish(), []);
});

test('the request goes to the base URL, with the key and the name that are known there', async () => {
    const got = await daemon.chat('far', { unknown: [1] });
    assert.equal(got.status, 200, got.text);
    assert.equal(got.json.choices[0].message.content, 'hello');
    const { path, headers, body } = seen.at(-1)!;
    assert.equal(path, '/deep/v1/chat/completions');
    assert.equal(headers.authorization, `Bearer ${key}`);
    assert.equal(body.model, 'vendor/large');
    assert.deepEqual(body.unknown, [1]);
});

test('a stream: the usage that was not asked for is counted, and dropped, however it is written', async () => {
    for (const include_usage of [false, true]) {
        const got = await daemon.chat('far', { stream: true, stream_options: { include_usage } });
        const events = got.text.split('\n\n').filter(Boolean);
        assert.equal(events.pop(), 'data: [DONE]');
        const parsed = events.map((event) => JSON.parse(event.slice(6)));
        assert.equal(parsed.map((one) => one.choices[0]?.delta.content ?? '').join(''), 'hello');
        assert.equal(parsed.filter((one) => one.choices.length === 0).length, include_usage ? 1 : 0);
        assert.equal(seen.at(-1)!.body.stream_options.include_usage, true);
    }
    assert.match((await daemon.get('/metrics')).text, /berth_output_tokens_total\{model="far"\} 6\n/);
});

test('a whole answer that breaks off in its middle is asked for again, at every door', async () => {
    for (const path of ['/v1/chat/completions', '/api/chat']) {
        const before = seen.length;
        toBreak = 1;
        const got = await daemon.post(path, { model: 'far', messages: [{ role: 'user', content: 'go' }], stream: false });
        assert.equal(got.status, 200, got.text);
        assert.equal((got.json.message ?? got.json.choices[0].message).content, 'hello');
        assert.equal(seen.length, before + 2, path);
    }
});

test('its own refusal comes through, with its own time to come back', async () => {
    const got = await daemon.chat('far', { status: 429 });
    assert.equal(got.status, 429);
    assert.equal(got.json.error.message, 'slow down');
    assert.equal(got.headers['retry-after'], '17');
});

test('the key is told to nobody', async () => {
    for (const path of ['/api/models/far', '/api/models/', '/api/models/far/instances', '/api/proxy/targets', '/api/proxy/requests/history', '/metrics']) {
        assert.ok(!(await daemon.get(path)).text.includes(key), path);
    }
    assert.ok(!daemon.log().includes(key));
});
