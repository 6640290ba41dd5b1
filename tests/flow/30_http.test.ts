// SPDX-License-Identifier: Apache-2.0
// HTTP on the wire: what cannot be read in one way only is refused, what is right is answered, in order and in time.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { exchange, Raw } from './lib/http.ts';
import { pause } from './lib/wait.ts';

let daemon: Daemon;
let host: string;

before(async () => {
    daemon = await Daemon.start();
    await daemon.up(daemon.scripted('one'));
    host = `Host: 127.0.0.1:${daemon.port}\r\n`;
});

after(async () => {
    assert.deepEqual(await daemon.finish(), []);
});

const body = '{"model":"one","messages":[]}';
const post = (headers: string, content = body) => `POST /v1/chat/completions HTTP/1.1\r\n${host}Content-Type: application/json\r\n${headers}\r\n${content}`;

test('refused with 400 and a closed connection', async () => {
    const cases: Array<[string, string]> = [
        ['bare LF in the request line', `GET /health HTTP/1.1\n${host}\r\n`],
        ['bare LF in a header', `GET /health HTTP/1.1\r\nX: y\n${host}\r\n`],
        ['bare LF at the end of the head', `GET /health HTTP/1.1\r\n${host}\n`],
        ['bare CR in a value', `GET /health HTTP/1.1\r\n${host}X: a\rb\r\n\r\n`],
        ['two Content-Lengths', post('Content-Length: 29\r\nContent-Length: 30\r\n')],
        ['two equal Content-Lengths', post('Content-Length: 29\r\nContent-Length: 29\r\n')],
        ['a list of Content-Lengths', post('Content-Length: 29, 29\r\n')],
        ['Transfer-Encoding with Content-Length', post('Content-Length: 29\r\nTransfer-Encoding: chunked\r\n', '0\r\n\r\n')],
        ['Content-Length with a sign', post('Content-Length: +29\r\n')],
        ['Content-Length in hexadecimal', post('Content-Length: 0x1d\r\n')],
        ['Content-Length beyond 64 bits', post('Content-Length: 99999999999999999999999\r\n')],
        ['a folded header', `GET /health HTTP/1.1\r\n${host}X: a\r\n b\r\n\r\n`],
        ['space before the colon', `GET /health HTTP/1.1\r\n${host}X : a\r\n\r\n`],
        ['a header without a name', `GET /health HTTP/1.1\r\n${host}: a\r\n\r\n`],
        ['a header without a colon', `GET /health HTTP/1.1\r\n${host}nonsense\r\n\r\n`],
        ['NUL in a value', `GET /health HTTP/1.1\r\n${host}X: a\0b\r\n\r\n`],
        ['no Host', 'GET /health HTTP/1.1\r\n\r\n'],
        ['two Hosts', `GET /health HTTP/1.1\r\n${host}${host}\r\n`],
        ['a Host with a path', 'GET /health HTTP/1.1\r\nHost: a/b\r\n\r\n'],
        ['space in the target', `GET /hea lth HTTP/1.1\r\n${host}\r\n`],
        ['two spaces', `GET  /health HTTP/1.1\r\n${host}\r\n`],
        ['a method that is no token', `G<T /health HTTP/1.1\r\n${host}\r\n`],
        ['a chunk size that is none', post('Transfer-Encoding: chunked\r\n', 'zz\r\n{}\r\n0\r\n\r\n')],
        ['a chunk size too large', post('Transfer-Encoding: chunked\r\n', 'fffffffffffffffff\r\n')],
        ['a chunk without its end', post('Transfer-Encoding: chunked\r\n', '2\r\n{}xx0\r\n\r\n')],
    ];
    for (const [what, bytes] of cases) {
        const raw = await Raw.open(daemon.target);
        raw.send(bytes);
        const text = await raw.readToEnd(5000).catch((error) => assert.fail(`${what}: ${error.message}`));
        assert.match(text, /^HTTP\/1\.1 400 /, `${what}: ${text.slice(0, 100)}`);
        assert.equal(text.match(/HTTP\/1\.1 /g)!.length, 1, `${what}: one answer`);
        raw.close();
    }
});

test('refused with a more fitting status', async () => {
    const cases: Array<[string, string, RegExp]> = [
        ['an unknown transfer coding', post('Transfer-Encoding: gzip, chunked\r\n', ''), /^HTTP\/1\.1 (400|501) /],
        ['another major version', `GET /health HTTP/3.0\r\n${host}\r\n`, /^HTTP\/1\.1 (400|505) /],
        ['HTTP/2 by prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /^HTTP\/1\.1 (400|505) /],
        ['a head of 100 KB', `GET /health HTTP/1.1\r\n${host}X: ${'a'.repeat(100_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
        ['ten thousand headers', `GET /health HTTP/1.1\r\n${host}${'A: b\r\n'.repeat(10_000)}\r\n`, /^HTTP\/1\.1 431 /],
        ['an endless request line', `GET /${'a'.repeat(200_000)}`, /^HTTP\/1\.1 (414|431) /],
    ];
    for (const [what, bytes, wanted] of cases) {
        const raw = await Raw.open(daemon.target);
        raw.send(bytes);
        const text = await raw.readToEnd(5000).catch((error) => assert.fail(`${what}: ${error.message}`));
        assert.match(text, wanted, `${what}: ${text.slice(0, 100)}`);
        raw.close();
    }
});

test('errors of the codec speak the door\'s language', async () => {
    const openai = await exchange(daemon.target, `POST /v1/chat/completions HTTP/1.1\r\n${host}X : a\r\n\r\n`);
    assert.match(openai.text, /"error"/);
    const detail = await exchange(daemon.target, `GET /api/models/ HTTP/1.1\r\n${host}X : a\r\n\r\n`);
    assert.equal(detail.status, 400);
    assert.ok(/"detail"|"error"/.test(detail.text), detail.text);
});

test('keep-alive and pipelining: many answers, in the order of their questions', async () => {
    const raw = await Raw.open(daemon.target);
    const paths = ['/health', '/v1/models', '/ready', '/api/models/one/status', '/v1/nothing', '/health'];
    raw.send(paths.map((path) => `GET ${path} HTTP/1.1\r\n${host}\r\n`).join(''));
    const text = await raw.read((got) => (got.match(/HTTP\/1\.1 \d/g)?.length ?? 0) === paths.length && /\}\s*$/.test(got), 5000);
    assert.deepEqual([...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map((m) => m[1]), ['200', '200', '200', '200', '404', '200']);
    const order = ['"healthy"', '"list"', '"model_id"', '"error"'].map((word) => text.indexOf(word));
    assert.deepEqual([...order].sort((a, b) => a - b), order);
    raw.send(`GET /health HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
    assert.match(await raw.readToEnd(5000), /onnection: close/);
});

test('a pipelined request behind a chat waits for it', async () => {
    const raw = await Raw.open(daemon.target);
    const slow = '{"model":"one","messages":[],"scripted":{"first_ms":300,"events":3}}';
    raw.send(post(`Content-Length: ${slow.length}\r\n`, slow) + `GET /health HTTP/1.1\r\n${host}\r\n`);
    const text = await raw.read((got) => got.includes('"healthy"'), 5000);
    assert.ok(text.indexOf(' 0 1 2') > 0 && text.indexOf(' 0 1 2') < text.indexOf('"healthy"'));
    raw.close();
});

test('a request cut into single bytes reads the same', async () => {
    const raw = await Raw.open(daemon.target);
    for (const byte of post(`Content-Length: ${body.length}\r\n`)) {
        raw.send(byte);
        await new Promise((done) => setImmediate(done));
    }
    assert.match(await raw.read((got) => got.includes('"usage"'), 10_000), /^HTTP\/1\.1 200 [^]* 0 1 2 3/);
    raw.close();
});

test('a chunked body, with extensions and trailers, reads as one', async () => {
    const half = Math.floor(body.length / 2);
    const chunks = `${half.toString(16)};name=value\r\n${body.slice(0, half)}\r\n${(body.length - half).toString(16)}\r\n${body.slice(half)}\r\n0\r\nX-Trailer: yes\r\n\r\n`;
    const answer = await exchange(daemon.target, post('Transfer-Encoding: chunked\r\n', chunks));
    assert.equal(answer.status, 200, answer.text);
    assert.ok(!answer.closed, 'the connection goes on');
});

test('Expect: 100-continue is answered before the body, and not when it would be refused', async () => {
    const raw = await Raw.open(daemon.target);
    raw.send(post(`Content-Length: ${body.length}\r\nExpect: 100-continue\r\n`, ''));
    assert.match(await raw.read((got) => got.includes('\r\n\r\n'), 5000), /^HTTP\/1\.1 100 /);
    raw.send(body);
    assert.match(await raw.read((got) => got.includes('"usage"'), 5000), /HTTP\/1\.1 200 /);
    raw.close();
    const large = await Raw.open(daemon.target);
    large.send(post('Content-Length: 400000000\r\nExpect: 100-continue\r\n', ''));
    assert.match(await large.read((got) => got.includes('\r\n\r\n'), 5000), /^HTTP\/1\.1 413 /);
    large.close();
});

test('HEAD answers like GET, without a body', async () => {
    const raw = await Raw.open(daemon.target);
    raw.send(`HEAD /health HTTP/1.1\r\n${host}\r\nGET /health HTTP/1.1\r\n${host}Connection: close\r\n\r\n`);
    const text = await raw.readToEnd(5000);
    assert.equal(text.match(/HTTP\/1\.1 200 /g)!.length, 2);
    assert.equal(text.match(/"healthy"/g)!.length, 1);
    assert.equal(text.match(/content-length: [1-9]/gi)!.length, 2);
});

test('HTTP/1.0 closes unless asked not to', async () => {
    const raw = await Raw.open(daemon.target);
    raw.send(`GET /health HTTP/1.0\r\n${host}\r\n`);
    assert.match(await raw.readToEnd(5000), /"healthy"/);
});

test('a client that dribbles its head is let go with 408', { timeout: 60_000 }, async () => {
    const raw = await Raw.open(daemon.target);
    raw.send(`GET /health HTTP/1.1\r\n${host}`);
    const dribble = setInterval(() => !raw.ended && raw.send('X: y\r\n'), 500);
    const text = await raw.readToEnd(40_000).finally(() => clearInterval(dribble));
    assert.ok(text === '' || /^HTTP\/1\.1 408 /.test(text), text);
    assert.ok(raw.ended);
});

test('a thousand connections at once are all served', async () => {
    const all = await Promise.all(Array.from({ length: 1000 }, () => Raw.open(daemon.target)));
    for (const raw of all) {
        raw.send(`GET /health HTTP/1.1\r\n${host}\r\n`);
    }
    const answers = await Promise.all(all.map((raw) => raw.read((got) => got.includes('"healthy"'), 20_000)));
    assert.ok(answers.every((text) => text.startsWith('HTTP/1.1 200 ')));
    all.forEach((raw) => raw.close());
});

test('garbage never ends the daemon', async () => {
    const pid = daemon.pid;
    const cases = ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', '\0'.repeat(5000), 'SSH-2.0-x\r\n', '\r\n\r\n\r\n', '{}', 'GET', `POST /v1/chat/completions HTTP/1.1\r\n${host}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`];
    for (const bytes of cases) {
        const raw = await Raw.open(daemon.target);
        raw.send(bytes);
        await pause(5);
        raw.close();
    }
    assert.equal((await daemon.get('/health')).status, 200);
    assert.equal(daemon.pid, pid);
});

test('keyless use is for this machine\'s own programs only', async () => {
    const cases: Array<[string, string]> = [
        ['a Host that is not loopback (DNS rebinding)', `Host: evil.example:${daemon.port}\r\n`],
        ['Forwarded', `${host}Forwarded: for=192.0.2.1\r\n`],
        ['X-Forwarded-For', `${host}X-Forwarded-For: 192.0.2.1\r\n`],
        ['another site\'s Origin', `${host}Origin: https://evil.example\r\n`],
        ['a null Origin', `${host}Origin: null\r\n`],
    ];
    for (const [what, headers] of cases) {
        for (const path of ['/api/models/', '/v1/models']) {
            const answer = await exchange(daemon.target, `GET ${path} HTTP/1.1\r\n${headers}\r\n`);
            assert.ok([401, 403].includes(answer.status), `${what} on ${path}: ${answer.text.slice(0, 200)}`);
        }
    }
    for (const headers of [host, `Host: localhost:${daemon.port}\r\n`, `${host}Origin: http://127.0.0.1:${daemon.port}\r\n`]) {
        const answer = await exchange(daemon.target, `GET /api/models/ HTTP/1.1\r\n${headers}\r\n`);
        assert.equal(answer.status, 200, `${headers}: ${answer.text.slice(0, 200)}`);
    }
});

test('with access.keys on, nothing but the public doors answers without the key', async () => {
    const locked = await Daemon.prepare({ config: { access: { keys: 'on' } } });
    await locked.launch();
    const key = /\bkey\b[^\n]*?([A-Za-z0-9_-]{24,})/i.exec(locked.log())?.[1];
    assert.ok(key, `the key is printed once:\n${locked.log()}`);
    assert.equal((await locked.get('/health')).status, 200);
    const refused = await locked.get('/v1/models');
    assert.equal(refused.status, 401);
    assert.equal(typeof refused.json.error.message, 'string');
    const detail = await locked.get('/api/models/');
    assert.equal(detail.status, 401);
    assert.ok(detail.json.detail);
    assert.equal((await locked.get('/v1/models', { authorization: 'Bearer wrong' })).status, 401);
    assert.equal((await locked.get('/v1/models', { authorization: `Bearer ${key}` })).status, 200);
    assert.equal((await locked.get('/api/models/', { 'x-api-key': key })).status, 200);
    assert.equal((await locked.get('/v1/models', { 'x-api-key': 'wrong' })).status, 401);
    const message = { model: 'nobody', max_tokens: 1, messages: [{ role: 'user', content: 'Hello' }] };
    const anthropic = (headers: Record<string, string>) => locked.post('/v1/messages', message, { 'anthropic-version': '2023-06-01', ...headers });
    assert.equal((await anthropic({ 'x-api-key': key })).status, 404, 'let in: it is the model that is not there');
    const keyless = await anthropic({});
    assert.equal(keyless.status, 401);
    assert.equal(keyless.json.type, 'error', 'in the words of its door');
    await locked.stop();
    const seen = locked.log().length;
    await locked.launch();
    assert.ok(!locked.log().slice(seen).includes(key), 'and never again');
    assert.equal((await locked.get('/v1/models', { authorization: `Bearer ${key}` })).status, 200, 'it stays good');
    await locked.finish();
});
