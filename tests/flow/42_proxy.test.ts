// SPDX-License-Identifier: Apache-2.0
// The proxy door of the model service's contract, through a real daemon (its original calls what its proxy service does not have: B.16, 4).
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon, recorded } from './lib/daemon.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;
let record: string;

before(async () => {
    daemon = await Daemon.start();
    record = join(daemon.dir, 'record');
    await daemon.up(daemon.scripted('one', { record }));
    await daemon.create(daemon.scripted('resting'));
});

after(async () => {
    assert.deepEqual(await daemon.finish(), []);
});

const members = (object: object) => Object.keys(object).sort();
const put = (path: string) => daemon.ask({ method: 'PUT', path, headers: { 'content-length': '0' } });

test('B.16 4: every call of the proxy API answers, with the members of its contract', async () => {
    assert.equal((await daemon.chat('one')).status, 200);
    const targets = (await daemon.get('/api/proxy/targets')).json;
    assert.deepEqual(members(targets), ['targets', 'timestamp', 'total_models']);
    assert.deepEqual(members(targets.targets), ['one', 'resting']);
    assert.deepEqual(members(targets.targets.one[0]), ['active', 'average_response_time', 'consecutive_failures', 'endpoint', 'error_count', 'framework', 'last_health_check',
        'model_id', 'priority', 'total_requests', 'total_response_time', 'weight']);
    assert.equal(targets.targets.one[0].active, true);
    assert.deepEqual(targets.targets.resting, []);

    const stats = (await daemon.get('/api/proxy/stats')).json;
    assert.deepEqual(members(stats), ['models', 'summary', 'timestamp']);
    assert.deepEqual(members(stats.summary), ['active_targets', 'average_response_time', 'error_rate', 'total_errors', 'total_models', 'total_requests', 'total_targets']);
    assert.deepEqual(members(stats.models.one), ['active_targets', 'targets', 'total_targets']);

    const own = (await daemon.get('/api/proxy/models/one/stats?hours=1')).json;
    assert.deepEqual(members(own), ['model_id', 'stats', 'time_range_hours', 'timestamp']);
    assert.equal(own.time_range_hours, 1);

    const history = (await daemon.get('/api/proxy/requests/history?model_id=one&limit=5')).json;
    assert.deepEqual(members(history), ['limit', 'model_id_filter', 'requests', 'timestamp', 'total_count']);
    for (const name of ['model_id', 'timestamp', 'method', 'path', 'status_code', 'response_time', 'request_size', 'response_size', 'client_ip', 'user_agent']) {
        assert.ok(name in history.requests[0], `a request has ${name}`);
    }

    const health = (await daemon.get('/api/proxy/health')).json;
    assert.deepEqual(members(health), ['active_targets', 'inactive_targets', 'message', 'status', 'timestamp', 'total_models', 'total_targets']);
    assert.equal(health.status, 'healthy');
    assert.equal(health.total_models, 2);
});

test('the gateway keeps one account: targets, stats, history and metrics tell the same', async () => {
    const before_ = (await daemon.get('/api/proxy/stats')).json;
    for (let i = 0; i < 5; i++) {
        assert.equal((await daemon.post('/v1/chat/completions', { model: 'one', messages: [] }, { 'user-agent': `counter/${i}` })).status, 200);
    }
    assert.equal((await daemon.chat('one', { stream: true })).status, 200);
    assert.equal((await daemon.get('/api/proxy/models/one/slots')).status, 200);
    const after_ = (await daemon.get('/api/proxy/stats')).json;
    assert.equal(after_.summary.total_requests - before_.summary.total_requests, 7);
    assert.equal(after_.models.one.targets[0].total_requests - before_.models.one.targets[0].total_requests, 7);
    assert.equal(after_.summary.total_errors, before_.summary.total_errors);
    assert.ok(after_.summary.average_response_time >= 0);

    const { requests } = (await daemon.get('/api/proxy/requests/history?limit=7')).json;
    assert.match(requests[0].path, /slots/);
    assert.deepEqual(requests.slice(2).map((one: { user_agent: string }) => one.user_agent), ['counter/4', 'counter/3', 'counter/2', 'counter/1', 'counter/0']);
    assert.ok(requests.slice(2).every((one: any) => one.model_id === 'one' && one.method === 'POST' && one.path === '/v1/chat/completions' && one.status_code === 200
        && one.client_ip === '127.0.0.1' && one.request_size === Buffer.byteLength('{"model":"one","messages":[]}') && one.response_size > 0 && !one.error_message));
});

test('any method and any path of the engine, streams included', async () => {
    const chat = await daemon.post('/api/proxy/models/one/v1/chat/completions', { model: 'whatever', messages: [], stream: true, scripted: { events: 5 } });
    assert.equal(chat.status, 200, chat.text);
    assert.match(String(chat.headers['content-type']), /^text\/event-stream/);
    assert.match(chat.text, /data: \[DONE\]/);
    const slots = await daemon.get('/api/proxy/models/one/slots?x=a%20b');
    assert.equal(slots.status, 200);
    assert.ok(Array.isArray(slots.json));
    assert.equal(slots.headers['content-security-policy'], 'sandbox', 'what an engine serves is no page of berth\'s');
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        await daemon.ask({ method, path: `/api/proxy/models/one/odd/${method}?q=1`, headers: { 'content-type': 'text/plain', 'content-length': '0' } });
    }
    const heads = recorded(record).filter((line) => line.mark === 'request').map((line) => line.head.split('\r\n')[0]);
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']) {
        assert.ok(heads.includes(`${method} /odd/${method}?q=1 HTTP/1.1`), `${method} in ${heads}`);
    }
    assert.ok(heads.includes('GET /slots?x=a%20b HTTP/1.1'));
});

test('a body of another type and of more than a mebibyte passes, too', async () => {
    const body = 'x'.repeat(3 * 1024 * 1024);
    const answer = await daemon.ask({ method: 'POST', path: '/api/proxy/models/one/upload', body, headers: { 'content-type': 'application/octet-stream' } });
    assert.notEqual(answer.status, 413);
    assert.notEqual(answer.status, 415);
    const sent = recorded(record).filter((line) => line.mark === 'request').at(-1);
    assert.match(sent.head, /^POST \/upload /);
    assert.match(sent.head, new RegExp(`content-length: ${body.length}\\r\\n`, 'i'));
});

test('own failures: 404 for a model that is not there, 503 for one that does not run', async () => {
    for (const [id, status] of [['nobody', 404], ['resting', 503]] as const) {
        const answer = await daemon.get(`/api/proxy/models/${id}/some/path`);
        assert.equal(answer.status, status, answer.text);
        assert.deepEqual(members(answer.json), ['error', 'model_id', 'path', 'timestamp']);
        assert.equal(answer.json.model_id, id);
        assert.equal(answer.json.path, '/some/path');
    }
    assert.equal(await daemon.status('resting'), 'stopped', 'the proxy loads nothing');
    assert.equal((await daemon.get('/api/proxy/models/nobody/stats')).status, 404);
    assert.equal((await daemon.get('/api/proxy/targets?model_id=nobody')).status, 404);
});

test('a target whose engine has gone is not active', async () => {
    const failed = { ...daemon.scripted('failing'), parameters: { binary: '/bin/false' }, retry_policy: { max_attempts: 1, initial_delay: 0 } };
    await daemon.create(failed);
    await daemon.post('/api/models/failing/start');
    await daemon.waitState('failing', 'failed');
    const { targets } = (await daemon.get('/api/proxy/targets?model_id=failing')).json;
    assert.deepEqual(targets.failing.map((one: { active: boolean }) => one.active), [false]);
    const health = (await daemon.get('/api/proxy/health')).json;
    assert.equal(health.status, 'degraded');
    assert.ok(health.inactive_targets >= 1 && health.active_targets >= 1);
    await daemon.ask({ method: 'DELETE', path: '/api/models/failing?wait=1' });
});

test('load-balance takes the four names of the contract, and no other word', async () => {
    for (const strategy of ['round_robin', 'weighted', 'least_connections', 'response_time']) {
        const answer = await put(`/api/proxy/load-balance?strategy=${strategy}`);
        assert.equal(answer.status, 200, answer.text);
        assert.deepEqual(members(answer.json), ['message', 'strategy', 'success', 'updated_at']);
        assert.deepEqual([answer.json.success, answer.json.strategy], [true, strategy]);
        assert.equal((await daemon.chat('one')).status, 200, strategy);
    }
    for (const wrong of ['?strategy=fastest', '?strategy=', '', '?strategy=ROUND_ROBIN']) {
        const answer = await put(`/api/proxy/load-balance${wrong}`);
        assert.equal(answer.status, 400, `${wrong}: ${answer.text}`);
        assert.match(answer.json.detail, /round_robin/, 'it says which there are');
    }
});

test('two instances share the work by round robin', async () => {
    await daemon.create({ ...daemon.scripted('pair'), replicas: 2 });
    await daemon.post('/api/models/pair/start');
    await until('both to be ready', async () => (await daemon.instances('pair')).filter((one) => one.state === 'ready').length === 2);
    assert.equal((await put('/api/proxy/load-balance?strategy=round_robin')).status, 200);
    for (let i = 0; i < 8; i++) {
        assert.equal((await daemon.chat('pair')).status, 200);
    }
    const { targets } = (await daemon.get('/api/proxy/targets?model_id=pair')).json;
    assert.deepEqual(targets.pair.map((one: { total_requests: number }) => one.total_requests), [4, 4]);
    const shown = await daemon.instances('pair') as any[];
    assert.deepEqual(shown.map((one) => [one.replica, one.requests, one.breaker, one.remote]), [[0, 4, 'closed', false], [1, 4, 'closed', false]]);
});
