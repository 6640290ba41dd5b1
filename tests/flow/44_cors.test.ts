// SPDX-License-Identifier: Apache-2.0
// Pages of other sites: what a browser is told at every door, and that nobody else gets in by it.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { exchange } from './lib/http.ts';
import { until } from './lib/wait.ts';

const page = 'https://app.example';
let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start({ config: { cors: { origins: [page, 'http://localhost:3000'] } } });
    await daemon.up(daemon.scripted('one'));
});

after(async () => {
    assert.deepEqual(await daemon.finish(), []);
});

const preflight = (path: string, method: string, origin = page, more: Record<string, string> = {}, of = daemon) =>
    of.ask({ method: 'OPTIONS', path, headers: { origin, 'access-control-request-method': method, ...more } });

test('a preflight is answered at every route of every door', async () => {
    const { paths } = (await daemon.get('/openapi.json')).json;
    let asked = 0;
    for (const [path, item] of Object.entries<any>(paths)) {
        for (const method of Object.keys(item)) {
            const answer = await preflight(path.replace(/\{[^}]*\}/g, 'x'), method.toUpperCase(), page, { 'access-control-request-headers': 'authorization, x-stainless-os' });
            assert.equal(answer.status, 204, `${method} ${path}: ${answer.text}`);
            assert.equal(answer.headers['access-control-allow-origin'], page);
            assert.ok(String(answer.headers['access-control-allow-methods']).split(', ').includes(method.toUpperCase()), `${method} ${path}: ${answer.headers['access-control-allow-methods']}`);
            assert.equal(answer.headers['access-control-allow-headers'], 'authorization, x-stainless-os');
            assert.equal(answer.headers['access-control-allow-credentials'], undefined);
            asked++;
        }
    }
    assert.ok(asked > 40, `${asked} routes`);
});

test('a listed page calls, streams, and may read what it is told', async () => {
    const answer = await daemon.post('/v1/chat/completions', { model: 'one', messages: [] }, { origin: page });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers['access-control-allow-origin'], page);
    assert.match(String(answer.headers.vary), /Origin/);
    for (const name of ['x-request-id', 'retry-after', 'x-berth-instance', 'x-berth-queue-ms']) {
        assert.ok(String(answer.headers['access-control-expose-headers']).split(', ').includes(name), name);
    }
    const stream = await daemon.post('/v1/chat/completions', { model: 'one', messages: [], stream: true }, { origin: page });
    assert.match(String(stream.headers['content-type']), /event-stream/);
    assert.equal(stream.headers['access-control-allow-origin'], page);
    assert.match(stream.text, /\[DONE\]/);
    const admin = await daemon.get('/api/models/', { origin: 'http://localhost:3000' });
    assert.equal(admin.status, 200);
    assert.equal(admin.headers['access-control-allow-origin'], 'http://localhost:3000');
});

test('a listed page can read why it was refused', async () => {
    const cases: Array<[number, string, string]> = [
        [404, `GET /nowhere HTTP/1.1\r\n`, ''],
        [404, `GET /api/models/nobody HTTP/1.1\r\n`, ''],
        [405, `DELETE /health HTTP/1.1\r\n`, ''],
        [401, `GET /v1/models HTTP/1.1\r\nX-Forwarded-For: 192.0.2.1\r\n`, ''],
        [413, `POST /api/models/ HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\n`, ''],
        [400, `POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n`, '[]'],
    ];
    for (const [status, head, body] of cases) {
        const answer = await exchange(daemon.target, `${head}Host: 127.0.0.1:${daemon.port}\r\nOrigin: ${page}\r\n\r\n${body}`);
        assert.equal(answer.status, status, answer.text);
        assert.ok(answer.text.includes(`Access-Control-Allow-Origin: ${page}\r\n`), answer.text);
    }
});

test('a page that is not listed gets nothing, and drives nothing', async () => {
    for (const origin of ['https://evil.example', `${page}:8443`, 'http://app.example', `${page}.evil.example`, 'null', '*']) {
        const asked = await preflight('/v1/chat/completions', 'POST', origin);
        assert.equal(asked.status, 403, origin);
        assert.match(asked.json.error.message, /cors\.origins/);
        assert.equal(asked.headers['access-control-allow-origin'], undefined);
        for (const path of ['/v1/models', '/api/models/', '/api/proxy/stats', '/api/proxy/models/one/slots']) {
            const answer = await daemon.get(path, { origin });
            assert.equal(answer.status, 403, `${origin} ${path}`);
            assert.equal(answer.headers['access-control-allow-origin'], undefined);
        }
        assert.equal((await daemon.get('/health', { origin })).headers['access-control-allow-origin'], undefined);
    }
});

test('by default no page of another site is allowed', async () => {
    const own = await Daemon.start();
    const asked = await preflight('/v1/models', 'GET', page, {}, own);
    assert.equal(asked.status, 403);
    const answer = await own.get('/health', { origin: page });
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
    assert.equal(answer.headers.vary, undefined);
    await own.finish();
});

test('"*" opens inference to every page, the administration to none without a key', async () => {
    const own = await Daemon.start({ config: { cors: { origins: '*' } } });
    const models = await own.get('/v1/models', { origin: 'https://any.example' });
    assert.equal(models.status, 200);
    assert.equal(models.headers['access-control-allow-origin'], '*');
    assert.equal(models.headers['access-control-allow-credentials'], undefined);
    const admin = await own.get('/api/models/', { origin: 'https://any.example' });
    assert.equal(admin.status, 403);
    assert.equal(admin.headers['access-control-allow-origin'], '*', 'it may read that');
    assert.match(admin.json.detail, /cors\.origins/);
    await own.finish();
});

test('a reload changes the list', async () => {
    const own = await Daemon.start();
    assert.equal((await own.get('/v1/models', { origin: page })).status, 403);
    own.configure({ cors: { origins: [page] } });
    process.kill(own.pid, 'SIGHUP');
    await until('the page to be let in', async () => (await own.get('/v1/models', { origin: page })).status === 200);
    await own.finish();
});
