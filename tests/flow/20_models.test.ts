// SPDX-License-Identifier: Apache-2.0
// The management door /api/models, by its contract: paths, bodies, statuses, error shapes.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon, model, recorded } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';
import { llamaServer, quickstartGguf, scriptedEngine } from './lib/paths.ts';
import { alive, kill } from './lib/proc.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start();
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

const whole = (id: string) => ({ ...model(daemon.scripted(id)), additional_parameters: '--flash-attn on' });

test('an empty catalogue is an empty array; the path without its slash leads to it', async () => {
    assert.deepEqual((await daemon.get('/api/models/')).json, []);
    const redirected = await daemon.get('/api/models');
    assert.equal(redirected.status, 307);
    assert.equal(redirected.headers.location, '/api/models/');
    const asked = await daemon.get('/api/models?page=2&name=a%20b%26c');
    assert.equal(asked.status, 307);
    assert.equal(asked.headers.location, '/api/models/?page=2&name=a%20b%26c', 'the query is kept');
    assert.equal((await daemon.post('/api/models', whole('first'))).status, 307, 'and so is the method');
});

test('create, read, list', async () => {
    const made = await daemon.post('/api/models/', whole('first'));
    assert.equal(made.status, 201, made.text);
    assert.equal(made.json.success, true);
    assert.equal(made.json.model_id, 'first');
    assert.equal(typeof made.json.message, 'string');
    const info = (await daemon.get('/api/models/first')).json;
    for (const key of ['id', 'name', 'framework', 'model_path', 'status', 'priority', 'gpu_devices', 'memory_usage', 'api_endpoint', 'uptime', 'last_health_check']) {
        assert.ok(key in info, `ModelInfo has ${key}`);
    }
    assert.equal(info.status, 'stopped');
    assert.equal(info.model_path, whole('first').model_path);
    const list = (await daemon.get('/api/models/')).json;
    assert.deepEqual(list.map((one: { id: string }) => one.id), ['first']);
});

test('the configuration comes back whole, with its defaults', async () => {
    const config = (await daemon.get('/api/models/first/config')).json;
    assert.equal(config.additional_parameters, '--flash-attn on');
    assert.equal(config.parameters.parallel, 4);
    assert.deepEqual({ ...config.health_check, endpoint: null }, { enabled: true, interval: 30, timeout: 10, max_failures: 3, endpoint: null });
    assert.deepEqual(config.retry_policy, { enabled: true, max_attempts: 3, initial_delay: 5, max_delay: 300, backoff_factor: 2.0 });
    assert.equal(config.resource_requirements.gpu_memory, 64);
    assert.match(config.created_at, /^\d{4}-\d\d-\d\dT/);
});

test('what berth adds to a definition is kept', async () => {
    const added = { aliases: ['second', 'org/second:latest'], replicas: 2, pinned: true, on_demand: false, keep_alive: '5m' };
    const made = await daemon.post('/api/models/', { ...whole('adding'), ...added });
    assert.equal(made.status, 201, made.text);
    const config = (await daemon.get('/api/models/adding/config')).json;
    assert.deepEqual([config.aliases, config.replicas, config.pinned, config.on_demand], [added.aliases, 2, true, false]);
    const { properties } = (await daemon.get('/openapi.json')).json.components.schemas.ModelConfig;
    assert.deepEqual(Object.keys(config).filter((name) => !(name in properties)), [], 'every member is described');
    assert.equal((await daemon.post('/api/models/', { ...whole('second') })).status, 400, 'an alias is taken like an id');
    assert.equal((await daemon.ask({ method: 'DELETE', path: '/api/models/adding' })).status, 200);
});

test('B.16 1: one model is told whole, its path included', async () => {
    const info = await daemon.get('/api/models/first');
    assert.equal(info.status, 200);
    assert.equal(info.json.model_path, whole('first').model_path);
    assert.deepEqual((await daemon.get('/api/models/')).json, [info.json], 'and as in the list');
});

test('status and health of a model, asked and probed', async () => {
    const names = (answer: { json: object }) => Object.keys(answer.json).sort();
    const status = await daemon.get('/api/models/first/status');
    assert.deepEqual(names(status), ['health', 'model_id', 'status', 'timestamp']);
    assert.deepEqual([status.json.status, status.json.health], ['stopped', 'unknown']);
    const health = await daemon.get('/api/models/first/health');
    assert.deepEqual(names(health), ['health_result', 'health_status', 'model_id', 'timestamp']);
    assert.deepEqual([health.json.health_status, health.json.health_result], ['unknown', null]);
    const down = await daemon.post('/api/models/first/health-check');
    assert.equal(down.status, 200);
    assert.deepEqual(names(down), ['health_result', 'message', 'model_id', 'success']);
    assert.equal(down.json.success, false);

    await daemon.up(daemon.scripted('probed'));
    const up = await daemon.post('/api/models/probed/health-check');
    assert.deepEqual([up.json.success, up.json.health_result.is_healthy], [true, true]);
    const told = (await daemon.get('/api/models/probed/health')).json;
    assert.equal(told.health_status, 'healthy');
    assert.equal(told.health_result.is_healthy, true);
    // What once went wrong is no message of one that is well again.
    const [first] = await daemon.instances('probed');
    kill(first.pid);
    await until('it to be up again', async () => (await daemon.instances('probed'))[0]?.restarts === 1 && (await daemon.status('probed')) === 'running');
    const again = (await daemon.get('/api/models/probed/health')).json.health_result;
    assert.deepEqual([again.is_healthy, again.message], [true, null]);
    await daemon.ask({ method: 'DELETE', path: '/api/models/probed?wait=1' });
});

test('a model with several instances is running while one is; stopped is who is not wanted', async () => {
    const config = { ...daemon.scripted('several', { by_start: [{}, { load_ms: -1, never_ready: true }] }), replicas: 2 };
    await daemon.create(config);
    assert.equal(await daemon.status('several'), 'stopped');
    await daemon.post('/api/models/several/start');
    await daemon.waitStatus('several', 'running');
    await daemon.waitState('several', 'starting'); // loads come one after another
    const states = (await daemon.instances('several')).map((one) => one.state).sort();
    assert.deepEqual(states, ['ready', 'starting']);
    assert.deepEqual((await daemon.instances('several') as any[]).map((one) => one.replica).sort(), [0, 1]);
    assert.equal((await daemon.post('/api/models/several/stop?wait=1')).status, 200);
    assert.equal(await daemon.status('several'), 'stopped');
    assert.deepEqual(await daemon.instances('several'), []);
    await daemon.ask({ method: 'DELETE', path: '/api/models/several' });
});

test('a stopped model that somebody asks for is starting, then running', async () => {
    await daemon.create(daemon.scripted('asked', { load_ms: 400 }));
    assert.equal(await daemon.status('asked'), 'stopped');
    const chat = daemon.chat('asked');
    await daemon.waitStatus('asked', 'starting');
    assert.equal((await chat).status, 200);
    assert.equal(await daemon.status('asked'), 'running');
    await daemon.ask({ method: 'DELETE', path: '/api/models/asked?wait=1' });
});

test('a second one of the same id is 400', async () => {
    const again = await daemon.post('/api/models/', whole('first'));
    assert.equal(again.status, 400);
    assert.match(again.json.detail, /first/);
});

test('bad bodies: 422 for the schema, 400 for what is not sensible, nothing stored', async () => {
    const broken = await daemon.post('/api/models/', '{"id":');
    assert.ok([400, 422].includes(broken.status), broken.text);
    assert.ok(broken.json.detail);
    for (const [missing, status] of [['id', 422], ['name', 422], ['framework', 422], ['model_path', 422], ['priority', 422], ['resource_requirements', 422]] as const) {
        const body: Record<string, unknown> = { ...whole('bad') };
        delete body[missing];
        const answer = await daemon.post('/api/models/', body);
        assert.equal(answer.status, status, `${missing}: ${answer.text}`);
        assert.ok(Array.isArray(answer.json.detail), `${missing}: detail is a list`);
        assert.deepEqual(answer.json.detail[0].loc, ['body', missing]);
        assert.equal(typeof answer.json.detail[0].msg, 'string');
        assert.equal(typeof answer.json.detail[0].type, 'string');
    }
    for (const [what, change] of [
        ['priority', { priority: 11 }],
        ['priority type', { priority: 'high' }],
        ['empty id', { id: '' }],
        ['long name', { name: 'n'.repeat(256) }],
        ['negative device', { gpu_devices: [-1] }],
        ['framework', { framework: 'abacus' }],
        ['gpu_memory', { resource_requirements: { gpu_memory: 0 } }],
        ['health', { health_check: { interval: 0 } }],
        ['retry', { retry_policy: { backoff_factor: 0 } }],
    ] as const) {
        const answer = await daemon.post('/api/models/', { ...whole('bad'), ...change });
        assert.ok([400, 422].includes(answer.status), `${what}: ${answer.status} ${answer.text}`);
        assert.ok(answer.json.detail, what);
    }
    assert.deepEqual((await daemon.get('/api/models/')).json.length, 1);
});

test('validate always answers 200 and says what is wrong', async () => {
    const good = await daemon.post('/api/models/validate', whole('other'));
    assert.equal(good.status, 200);
    assert.deepEqual({ ...good.json, warnings: [], estimate: null, estimate_reason: null }, { is_valid: true, errors: [], warnings: [], estimate: null, estimate_reason: null });
    assert.ok(good.json.estimate.total_bytes > 0);
    const bad = await daemon.post('/api/models/validate', { ...whole('other'), model_path: '/nowhere/x.gguf', parameters: { ctx_size: -1, threads: 0, binary: '/nowhere/server' } });
    assert.equal(bad.status, 200);
    assert.equal(bad.json.is_valid, false);
    for (const word of [/ctx_size/, /threads/, /nowhere\/x\.gguf/, /nowhere\/server/]) {
        assert.ok(bad.json.errors.some((error: string) => word.test(error)), `${word} in ${JSON.stringify(bad.json.errors)}`);
    }
    const large = await daemon.post('/api/models/validate', { ...whole('other'), parameters: { ...whole('other').parameters, ctx_size: 40000 } });
    assert.equal(large.json.is_valid, true);
    assert.ok(large.json.warnings.length > 0, 'a context over 32768 is a warning');
});

test('unknown models are 404 with a detail, on every path', async () => {
    for (const [method, path] of [
        ['GET', ''], ['PUT', ''], ['DELETE', ''], ['POST', '/start'], ['POST', '/stop'], ['POST', '/restart'], ['GET', '/status'], ['GET', '/config'], ['GET', '/instances'],
    ]) {
        const answer = await daemon.ask({ method, path: `/api/models/nobody${path}`, body: method === 'PUT' ? whole('nobody') : undefined,
            headers: method === 'POST' ? { 'content-length': '0' } : {} });
        assert.equal(answer.status, 404, `${method} ${path}: ${answer.text}`);
        assert.match(answer.json.detail, /nobody/);
    }
    const odd = await daemon.get('/api/models/first/unheard-of');
    assert.equal(odd.status, 404);
    assert.ok(odd.json.detail);
    const method = await daemon.ask({ method: 'POST', path: '/api/models/first' });
    assert.equal(method.status, 405);
    assert.ok(method.json.detail);
});

test('start, status, restart, stop', async () => {
    const started = await daemon.post('/api/models/first/start');
    assert.equal(started.status, 200, started.text);
    assert.deepEqual({ success: started.json.success, model_id: started.json.model_id }, { success: true, model_id: 'first' });
    const instance = await daemon.readyInstance('first');
    assert.ok(alive(instance.pid, instance.start_time));
    const status = (await daemon.get('/api/models/first/status')).json;
    assert.equal(status.model_id, 'first');
    assert.equal(status.status, 'running');
    assert.equal(status.health, 'healthy');
    assert.equal((await daemon.post('/api/models/first/start')).status, 200, 'starting what runs is no error');
    assert.equal((await daemon.readyInstance('first')).pid, instance.pid, 'and changes nothing');
    assert.equal((await daemon.chat('first')).status, 200);

    assert.equal((await daemon.post('/api/models/first/restart')).status, 200);
    const next = await until('another process', async () => {
        const now = await daemon.readyInstance('first');
        return now.pid !== instance.pid && now;
    });
    assert.ok(!alive(instance.pid, instance.start_time), 'the old one is gone');
    assert.equal((await daemon.chat('first')).status, 200);

    assert.equal((await daemon.post('/api/models/first/stop')).status, 200);
    await daemon.waitStatus('first', 'stopped');
    assert.ok(!alive(next.pid, next.start_time));
    assert.deepEqual(daemon.engines(), []);
    assert.equal((await daemon.post('/api/models/first/stop')).status, 200, 'stopping what is stopped is no error');
});

test('B.16 2: an update of a running model runs it anew with the new definition, and locks nobody out', async () => {
    const record = join(daemon.dir, 'updates');
    const config = model(daemon.scripted('changing', { record }));
    const instance = await daemon.up(config);
    const others = Promise.all(Array.from({ length: 20 }, () => daemon.get('/api/models/')));
    const updated = await daemon.ask({ method: 'PUT', path: '/api/models/changing', body: { ...config, id: 'ignored', name: 'Renamed', parameters: { ...config.parameters, parallel: 7 } } });
    assert.equal(updated.status, 200, updated.text);
    assert.equal(updated.json.id, 'changing');
    assert.equal(updated.json.name, 'Renamed');
    assert.equal(updated.json.parameters.parallel, 7);
    assert.ok((await others).every((answer) => answer.status === 200), 'everybody else is answered meanwhile');
    const next = await until('a process with the new definition', async () => {
        const now = await daemon.readyInstance('changing');
        return now.pid !== instance.pid && now;
    });
    assert.ok(!alive(instance.pid, instance.start_time));
    const slots = await daemon.get('/api/models/changing/instances');
    assert.equal(slots.json.instances.length, 1);
    assert.equal(slots.json.instances[0].pid, next.pid);
    const bad = await daemon.ask({ method: 'PUT', path: '/api/models/changing', body: { ...config, priority: 99 } });
    assert.ok([400, 422].includes(bad.status));
    assert.equal((await daemon.readyInstance('changing')).pid, next.pid, 'a refused update changes nothing');
    assert.equal(recorded(record).filter((line) => line.mark === 'start').length, 2);
});

test('B.16 2 and 3: delete stops a running model first, and stays after a restart of berth', async () => {
    const instance = await daemon.up(daemon.scripted('doomed'));
    const gone = await daemon.ask({ method: 'DELETE', path: '/api/models/doomed' });
    assert.equal(gone.status, 200, gone.text);
    assert.equal(gone.json.success, true);
    await until('its process to end', () => !alive(instance.pid, instance.start_time));
    assert.equal((await daemon.get('/api/models/doomed')).status, 404);
    await daemon.stop();
    await daemon.launch();
    assert.equal((await daemon.get('/api/models/doomed')).status, 404);
    const ids = (await daemon.get('/api/models/')).json.map((one: { id: string }) => one.id).sort();
    assert.deepEqual(ids, ['changing', 'first']);
    assert.equal((await daemon.readyInstance('changing')).state, 'ready', 'what was to run runs again');
    assert.equal(await daemon.status('first'), 'stopped', 'what was stopped stays so');
});

test('a model that cannot start says why, in the engine\'s own words', async () => {
    await daemon.create({ id: 'absent', model_path: '/nowhere/absent.gguf', parameters: { binary: scriptedEngine } });
    const answer = await daemon.post('/api/models/absent/start');
    assert.equal(answer.status, 500, answer.text);
    assert.match(answer.json.detail, /nowhere\/absent\.gguf/);

    await daemon.create({ id: 'garbage', model_path: daemon.configFile, parameters: { binary: llamaServer }, retry_policy: { max_attempts: 1, initial_delay: 0 } });
    await daemon.post('/api/models/garbage/start');
    const instance = await daemon.waitState('garbage', 'failed');
    assert.equal(await daemon.status('garbage'), 'error');
    assert.match(String(instance.last_error), /load|gguf|model/i);
    assert.match(String(instance.last_error), /exit|code|status|1/);
    const refused = await daemon.chat('garbage');
    assert.equal(refused.status, 503);
    assert.match(refused.json.error.message, /load|gguf|model/i);
});

test('models of the configuration file start by themselves and cannot be deleted', async () => {
    const own = await Daemon.prepare();
    own.configure({ engines: { llama_server: llamaServer } }, [
        { id: 'from-file', model_path: quickstartGguf, autostart: true },
        { id: 'lazy', model_path: quickstartGguf },
    ]);
    await own.launch();
    await own.readyInstance('from-file');
    assert.equal(await own.status('lazy'), 'stopped');
    const answer = await own.ask({ method: 'DELETE', path: '/api/models/from-file' });
    assert.equal(answer.status, 409, answer.text);
    assert.ok(answer.json.detail);
    assert.deepEqual(await own.finish(), []);
});
