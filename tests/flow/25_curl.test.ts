// SPDX-License-Identifier: Apache-2.0
// The README's journey as curl lines, run by a real curl.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { llamaServer, quickstartGguf } from './lib/paths.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start({ config: { engines: { llama_server: llamaServer } } });
});

after(async () => {
    assert.deepEqual(await daemon.finish(), []);
});

/** One line as a user types it, without the shell's quoting trouble. */
function curl(...args: string[]): Promise<{ status: number; text: string }> {
    return new Promise((done, fail) => {
        execFile('curl', ['-sS', '--max-time', '30', '-w', '\n%{http_code}', ...args], { encoding: 'utf8' }, (error, stdout, stderr) => {
            if (error) {
                fail(new Error(`curl ${args.join(' ')}: ${stderr}`));
                return;
            }
            const cut = stdout.lastIndexOf('\n');
            done({ status: Number(stdout.slice(cut + 1)), text: stdout.slice(0, cut) });
        });
    });
}

const json = ['-H', 'Content-Type: application/json'];

test('define a model, start it, look at it, chat with it', async () => {
    const config = JSON.stringify({
        id: 'tiny', name: 'Tiny', framework: 'llama_cpp', model_path: quickstartGguf, priority: 5,
        parameters: { ctx_size: 2048, threads: 1 }, resource_requirements: { gpu_memory: 64 },
    });
    const made = await curl('-X', 'POST', `${daemon.url}/api/models/`, ...json, '-d', config);
    assert.equal(made.status, 201, made.text);
    assert.equal(JSON.parse(made.text).model_id, 'tiny');

    const started = await curl('-X', 'POST', `${daemon.url}/api/models/tiny/start`);
    assert.equal(started.status, 200, started.text);

    await until('the model to run', async () => JSON.parse((await curl(`${daemon.url}/api/models/tiny/status`)).text).status === 'running');

    const chat = await curl(`${daemon.url}/v1/chat/completions`, ...json, '-d', '{"model":"tiny","messages":[{"role":"user","content":"Hello"}]}');
    assert.equal(chat.status, 200, chat.text);
    assert.ok(JSON.parse(chat.text).choices[0].message.content.length > 40);

    const stream = await curl('-N', `${daemon.url}/v1/chat/completions`, ...json, '-d', '{"model":"tiny","stream":true,"messages":[{"role":"user","content":"Hello"}]}');
    assert.equal(stream.status, 200);
    assert.match(stream.text, /^data: \{/);
    assert.match(stream.text, /\ndata: \[DONE\]\n/);
});

test('curl\'s other habits: HEAD, a body announced by Expect, a file upload in chunks', async () => {
    const head = await curl('-I', `${daemon.url}/health`);
    assert.equal(head.status, 200);
    const big = JSON.stringify({ model: 'tiny', max_tokens: 2, filler: 'word '.repeat(2000), messages: [{ role: 'user', content: 'Hello' }] });
    const expect = await curl(`${daemon.url}/v1/chat/completions`, ...json, '-H', 'Expect: 100-continue', '-d', big);
    assert.equal(expect.status, 200, expect.text);
    const chunked = await curl(`${daemon.url}/v1/chat/completions`, ...json, '-H', 'Transfer-Encoding: chunked', '-d', big);
    assert.equal(chunked.status, 200, chunked.text);
    const http10 = await curl('--http1.0', `${daemon.url}/v1/models`);
    assert.equal(http10.status, 200);
    const form = await curl(`${daemon.url}/v1/chat/completions`, '-d', big);
    assert.equal(form.status, 415, 'curl without the content type is told so');
});
