// SPDX-License-Identifier: Apache-2.0
// What the dashboard's pages read and do, through the real binary: lists in pages, the file browser, the estimate of a
// definition, edits that restart nothing, live samples, berth's own log, tasks in bulk.
import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { Events } from './lib/events.ts';
import { Raw } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { until } from './lib/wait.ts';

const page = 'https://app.example';
let daemon: Daemon;

const get = async (path: string): Promise<any> => {
    const answer = await daemon.get(path, { accept: 'application/json' });
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
};
const change = (method: string, path: string, body?: unknown): Promise<any> => daemon.ask({ method, path, body });

before(async () => {
    daemon = await Daemon.prepare({ config: { cors: { origins: [page] } } });
    mkdirSync(join(daemon.dir, 'models', 'deep'), { recursive: true });
    mkdirSync(join(daemon.dir, 'models-secret'));
    writeFileSync(join(daemon.dir, 'models', 'small.gguf'), 'GGUF');
    writeFileSync(join(daemon.dir, 'models-secret', 'key.gguf'), 'secret');
    symlinkSync(join(daemon.dir, 'models-secret'), join(daemon.dir, 'models', 'way-out'));
    daemon.configure({ cors: { origins: [page] }, files: { roots: [join(daemon.dir, 'models')] } });
    await daemon.launch();
    await daemon.up({ ...daemon.scripted('beta'), aliases: ['zeta'], priority: 3 });
    await daemon.create({ ...daemon.scripted('alpha'), priority: 8 });
    await daemon.create({ ...daemon.scripted('gamma'), priority: 3 });
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

const ids = async (query: string): Promise<string[]> => (await get(`/api/models/?${query}`)).map((one: any) => one.id);

test('lists are sorted, filtered and cut where they stand', async () => {
    assert.deepEqual(await ids(''), ['beta', 'alpha', 'gamma']);
    assert.deepEqual(await ids('sort=id'), ['alpha', 'beta', 'gamma']);
    assert.deepEqual(await ids('sort=-priority'), ['alpha', 'beta', 'gamma']);
    assert.deepEqual(await ids('status=running'), ['beta']);
    assert.deepEqual(await ids('q=ZET'), ['beta']);
    assert.deepEqual(await ids('sort=id&limit=1&offset=1'), ['beta']);
    const answer = await daemon.get('/api/models/?limit=1&status=stopped', { origin: page });
    assert.equal(answer.headers['x-total-count'], '2');
    assert.ok(String(answer.headers['access-control-expose-headers']).split(', ').includes('x-total-count'));
    const refused = await daemon.get('/api/models/?sort=nothing');
    assert.equal(refused.status, 422);
    assert.deepEqual(refused.json.detail[0].loc, ['query', 'sort']);
    assert.equal((await get('/api/instances?model=alpha')).total_count, 0);
    assert.equal((await get('/api/instances?model=beta&state=ready')).total_count, 1);
    assert.equal((await daemon.chat('beta')).status, 200);
    assert.equal((await daemon.chat('nobody')).status, 404);
    assert.deepEqual((await get('/api/proxy/requests/history?status_class=4xx')).requests.map((one: any) => one.status_code), [404]);
    const history = await get('/api/v1/scheduler/history?limit=1&sort=timestamp&action=scheduled');
    assert.equal(history.history[0].model_id, 'beta');
    assert.equal(history.matching, 1);
    const events = await get('/api/events?offset=0&limit=2&kind=model_created');
    assert.equal(events.events.length, 2);
    assert.equal(events.total_count, 3);
    assert.equal((await get('/api/events?q=%22ALPHA%22&kind=model_created')).total_count, 0); // the subject stands without quotes
    assert.equal((await get('/api/events?q=ALPHA&kind=model_created')).total_count, 1);
});

test('r16.14: the file browser shows its roots and nothing beside them', async () => {
    const root = join(daemon.dir, 'models');
    assert.deepEqual((await get('/api/files/roots')).map((one: any) => [one.path, one.accessible]), [[root, true]]);
    const top = await get(`/api/files/browse?path=${root}`);
    assert.deepEqual(top.directories.map((one: any) => one.name), ['deep']);
    assert.deepEqual(top.files.map((one: any) => [one.name, one.size, one.is_model]), [['small.gguf', 4, true]]);
    assert.equal(top.parent, null);
    for (const path of ['/', '/etc', `${root}-secret`, `${root}/..`, `${root}/way-out`, `${root}/deep/../../models-secret`]) {
        const outside = await get(`/api/files/browse?path=${encodeURIComponent(path)}`);
        assert.deepEqual([outside.directories, outside.files, outside.allowed_roots], [[], [], [root]], path);
        assert.match(outside.message, /outside/);
        assert.equal((await daemon.get(`/api/files/validate?path=${encodeURIComponent(path)}`)).status, 403, path);
    }
    assert.equal((await daemon.get(`/api/files/browse?path=${root}/nothing`)).status, 404);
    assert.equal((await daemon.get(`/api/files/browse?path=${root}/small.gguf`)).status, 400);
    assert.equal((await get(`/api/files/validate?path=${root}/small.gguf`)).is_model, true);
    assert.equal((await get(`/api/files/validate?path=${root}/nothing`)).valid, false);
});

test('a definition is estimated while it is written', async () => {
    const part = { framework: 'command', model_path: 'x', resource_requirements: { gpu_memory: 64 } };
    const answer = (await change('POST', '/api/models/validate', part)).json;
    assert.equal(answer.is_valid, false);
    assert.equal(answer.estimate.source, 'declared');
    assert.equal(answer.estimate.total_bytes, 64 << 20);
    assert.equal(answer.estimate.fits, 'now');
    const nothing = (await change('POST', '/api/models/validate', { name: 'n' })).json;
    assert.equal(nothing.estimate, null);
});

test('a pin and a priority leave a running model as it is', async () => {
    const before = await daemon.readyInstance('beta');
    const edited = await change('PATCH', '/api/models/beta', { pinned: true, priority: 9, keep_alive: '1h', aliases: ['eta'] });
    assert.equal(edited.status, 200, edited.text);
    assert.equal(edited.json.pinned, true);
    assert.equal((await daemon.chat('eta')).status, 200);
    const now = await daemon.readyInstance('beta');
    assert.deepEqual([now.id, now.pid], [before.id, before.pid]);
    assert.deepEqual(await ids('pinned=true'), ['beta']);
    assert.equal((await change('PATCH', '/api/models/beta', { priority: 99 })).status, 400);
});

test('the service is told live, and what was is kept', async () => {
    const events = await Events.open(daemon, '', '?kind=sample');
    assert.equal((await daemon.chat('beta')).status, 200);
    await events.wait('a sample with the request', (all) => all.some((one) => one.event === 'sample' && one.data.service.requests > 0));
    const told = events.all.find((one) => one.data.service.requests > 0)!;
    assert.equal(told.id, 0);
    assert.ok(told.data.service.total.mean >= 0 && told.data.service.first_byte.p95 >= 0);
    assert.ok(told.data.devices.length >= 1 && told.data.host.memory_total > 0);
    assert.ok(events.all.every((one) => one.event === 'sample'));
    events.raw.close();
    const kept = await get('/api/monitoring/service/history');
    assert.ok(kept.some((one: any) => one.timestamp === told.data.service.timestamp));
    assert.equal((await get('/api/monitoring/service')).type, 'sample');
});

test("berth's own log is read, and followed", async () => {
    const last = await get('/api/v1/system/logs?lines=2');
    assert.equal(last.logs.length, 2);
    assert.ok(last.total_lines > 2);
    assert.ok((await get('/api/v1/system/logs?level=warn')).logs.every((line: string) => /^\S+ (warn|error) /.test(line)));
    assert.ok((await get('/api/v1/system/logs?q=BETA')).logs.every((line: string) => /beta/i.test(line)));
    assert.deepEqual((await get('/api/v1/system/logs?since=2999-01-01T00:00:00Z')).logs, []);
    assert.equal((await daemon.get('/api/v1/system/logs?since=then')).status, 422);
    assert.equal((await daemon.get('/api/v1/system/logs?level=loud')).status, 422);
    const live = await Raw.open(daemon.target);
    live.send(`GET /api/v1/system/logs?follow=1&lines=1&q=gamma HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\n\r\n`);
    await live.read((text) => text.includes('\r\n\r\n'), 5000);
    await change('POST', '/api/models/gamma/start?wait=1');
    await live.read((text) => /engines\[gamma/.test(text), 10_000);
    live.close();
});

test('berth tells of itself', async () => {
    const { berth } = await get('/api/v1/system/info');
    assert.equal(berth.store.kind, 'sqlite');
    assert.ok(berth.store.path.endsWith('/berth.db') && berth.store.size_bytes > 0);
    assert.equal(berth.store.read_only, null);
    assert.ok(berth.listen.length >= 1 && berth.uptime >= 0 && Date.parse(berth.started_at) > 0);
});

test('tasks in bulk: each is told how it went', async () => {
    await change('PUT', '/api/models/alpha/task-status', { status: 'offline' });
    const made: number[] = [];
    for (let i = 0; i < 3; i++) {
        const answer = await daemon.post('/api/v1/tasks', { model_id: 'alpha', type: 'text-generation', input: `say ${i}` });
        assert.equal(answer.status, 200, answer.text);
        made.push(answer.json.data.id);
    }
    const bulk = async (body: unknown): Promise<any> => (await daemon.post('/api/v1/tasks/bulk', body)).json;
    const cancelled = (await bulk({ action: 'cancel', ids: [made[0], 999999, made[1]] })).data;
    assert.deepEqual(cancelled.results.map((one: any) => [one.id, one.success]), [[made[0], true], [999999, false], [made[1], true]]);
    assert.deepEqual([cancelled.succeeded, cancelled.failed], [2, 1]);
    const removed = (await bulk({ action: 'delete', ids: made })).data;
    assert.deepEqual(removed.results.map((one: any) => one.success), [true, true, false]); // the last one waits still
    assert.equal((await daemon.get(`/api/v1/tasks/${made[0]}`)).status, 404);
    for (const body of [{ action: 'eat', ids: [1] }, { action: 'cancel', ids: [] }, { action: 'cancel', ids: ['1'] }, { action: 'cancel' }, { ids: [1] }]) {
        assert.equal((await daemon.post('/api/v1/tasks/bulk', body)).status, 400, JSON.stringify(body));
    }
    await until('it is cancelled', async () => (await bulk({ action: 'cancel', ids: [made[2]] })).data.succeeded === 1 || (await get(`/api/v1/tasks/${made[2]}`)).data.status === 'cancelled');
});
