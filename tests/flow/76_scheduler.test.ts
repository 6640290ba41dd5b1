// SPDX-License-Identifier: Apache-2.0
// The scheduler door through the real binary: two scripted cards of 1000 MiB, whose memory is held by live engines.
import assert from 'node:assert/strict';
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { Daemon, type ModelConfig } from './lib/daemon.ts';
import type { Answer } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { until } from './lib/wait.ts';

const base = '/api/v1/scheduler';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/;
const defaults = {
    scheduling_algorithm: 'priority_based', preemption_enabled: true, auto_recovery_enabled: true, resource_threshold: 0.8,
    priority_levels: 10, max_queue_size: 50, scheduling_interval: 30, health_check_interval: 60,
};
const ModelInfo = ['id', 'name', 'framework', 'model_path', 'status', 'priority', 'gpu_devices', 'memory_usage', 'api_endpoint', 'uptime', 'last_health_check'];

let daemon: Daemon;

/** Each engine holds what it was given, on the card that it was told. */
function script(sizes: Record<string, number>): void {
    const holders = Object.entries(sizes).map(([id, size]) => ({ command: join(daemon.dir, `${id}.json`), memory: `${size}MiB` }));
    const card = (letter: string) => ({ id: `GPU-${letter}`, name: `Card ${letter}`, memory_total: '1000MiB', utilization: 10, temperature: 40, power: 50, holders });
    writeFileSync(join(daemon.dir, 'devices.new'), JSON.stringify({ devices: [card('a'), card('b')] }));
    renameSync(join(daemon.dir, 'devices.new'), join(daemon.dir, 'devices.yaml'));
}

const sizes: Record<string, number> = {};

/** Defines a model that declares, and takes, so many MiB. */
async function define(id: string, memory: number, priority = 5, extra: Partial<ModelConfig> & Record<string, unknown> = {}): Promise<void> {
    sizes[id] = memory;
    script(sizes);
    await daemon.create({ ...daemon.scripted(id), priority, resource_requirements: { gpu_memory: memory }, ...extra } as ModelConfig);
}

async function up(id: string, memory: number, priority = 5, extra: Partial<ModelConfig> & Record<string, unknown> = {}): Promise<void> {
    await define(id, memory, priority, extra);
    const answer = await schedule(id);
    assert.equal(answer.status, 200, answer.text);
    await daemon.waitStatus(id, 'running');
}

const schedule = (id: string, extra: Record<string, unknown> = {}): Promise<Answer> => daemon.post(`${base}/schedule`, { model_id: id, ...extra });
const get = async (what: string): Promise<any> => {
    const answer = await daemon.get(`${base}/${what}`);
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
};
const policy = (fields: Record<string, unknown>): Promise<Answer> => daemon.ask({ method: 'PUT', path: `${base}/policy`, body: fields });
const stop = async (id: string): Promise<void> => assert.equal((await daemon.post(`/api/models/${id}/stop?wait=1`)).status, 200);
const devicesOf = async (id: string): Promise<number[]> => (await daemon.get(`/api/models/${id}`)).json.gpu_devices;
const remove = async (id: string): Promise<void> => {
    await daemon.ask({ method: 'DELETE', path: `/api/models/${id}?wait=1` });
};

before(async () => {
    daemon = await Daemon.prepare({
        config: {
            gpu: { scripted: 'devices.yaml', interval: '100ms' },
            placement: { min_residency: '0s', return_after: '0s', grace: '2s', verify_timeout: '5s', max_preemptions_per_hour: 0 },
        },
    });
    script({});
    await daemon.launch();
});

beforeEach(async () => {
    for (const { id } of (await daemon.get('/api/models/')).json) {
        await remove(id);
        delete sizes[id];
    }
    script(sizes);
    assert.equal((await policy({})).status, 200);
    await until('the cards to be empty', async () => (await get('resources')).summary.total_memory_used === 0);
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

test('status: counts of models and of today, and the time of the last decision', async () => {
    const before = await get('status');
    assert.deepEqual(before.models, { total: 0, running: 0, queued: 0, failed: 0 });
    assert.equal(before.scheduler.status, 'running');
    assert.equal(before.scheduler.auto_scheduling_enabled, true);
    assert.equal(before.scheduler.preemption_enabled, true);
    await up('one', 500);
    await define('two', 500);
    const now = await get('status');
    assert.deepEqual(now.models, { total: 2, running: 1, queued: 0, failed: 0 });
    assert.match(now.scheduler.last_schedule_time, ISO);
    assert.match(now.timestamp, ISO);
    assert.ok(now.scheduler.last_schedule_time <= now.timestamp, 'not in the future');
    assert.ok(now.scheduler.total_schedules_today > before.scheduler.total_schedules_today);
    assert.equal(now.scheduler.successful_schedules, before.scheduler.successful_schedules + 1);
    const later = await get('status');
    assert.equal(later.scheduler.last_schedule_time, now.scheduler.last_schedule_time, 'it is not simply now');
});

test('schedule: placed, and everything about it is told', async () => {
    await define('one', 500, 5);
    const answer = await schedule('one', { priority: 7 });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.success, true);
    assert.equal(answer.json.model_id, 'one');
    assert.equal(answer.json.gpu_devices.length, 1);
    assert.deepEqual(answer.json.preempted_models, []);
    assert.match(answer.json.schedule_time, ISO);
    assert.equal(typeof answer.json.message, 'string');
    await daemon.waitStatus('one', 'running');
    const info = (await daemon.get('/api/models/one')).json;
    assert.equal(info.priority, 7, 'the given priority is saved');
    assert.deepEqual(info.gpu_devices, answer.json.gpu_devices);
    const { history } = await get('history?model_id=one');
    const entry = history.find((one: any) => one.id === answer.json.history_id);
    assert.ok(entry, `history_id ${answer.json.history_id} in ${JSON.stringify(history)}`);
    assert.equal(entry.action, 'scheduled');
    assert.equal(entry.result, 'success');
    assert.equal(entry.resource_usage.gpu_memory, 500);
    assert.deepEqual(entry.gpu_devices, answer.json.gpu_devices);
    assert.ok(entry.reason.length > 0);
});

test('schedule: 404, 400 and 422', async () => {
    assert.equal((await schedule('nobody')).status, 404);
    await up('one', 500);
    const again = await schedule('one');
    assert.equal(again.status, 400);
    assert.match(again.json.detail, /running/);
    for (const body of [{}, { model_id: 5 }, { model_id: 'one', priority: 0 }, { model_id: 'one', priority: 11 }, { model_id: 'one', force: 'yes' }, { model_id: 'one', allow_preemption: 1 }]) {
        const answer = await daemon.post(`${base}/schedule`, body);
        assert.equal(answer.status, 422, JSON.stringify(body));
        assert.ok(Array.isArray(answer.json.detail));
    }
    assert.equal((await daemon.post(`${base}/schedule`, '{"model_id"')).status, 422);
});

test('queue: who waits, by priority, with the reason; cancelled, it is gone', async () => {
    await up('top-a', 700, 9);
    await up('top-b', 700, 9);
    await define('low', 700, 2);
    await define('mid', 700, 4);
    const low = await schedule('low');
    assert.equal(low.status, 200);
    assert.equal(low.json.success, false, low.text);
    assert.equal(low.json.outcome, 'queued');
    assert.match(low.json.message, /needs|room|MB|GB/);
    assert.equal(low.json.history_id, null);
    await schedule('mid');
    const { queue, total_count } = await get('queue');
    assert.equal(total_count, 2);
    assert.deepEqual(queue.map((one: any) => [one.id, one.queue_position, one.status]), [['mid', 1, 'queued'], ['low', 2, 'queued']]);
    for (const member of [...ModelInfo, 'queue_position', 'estimated_start_time']) {
        assert.ok(member in queue[0], member);
    }
    assert.ok(queue[0].reason.length > 0);
    assert.equal((await get('status')).models.queued, 2);

    assert.equal((await daemon.post(`${base}/models/top-a/cancel`)).status, 400, 'running: it must be stopped');
    assert.equal((await daemon.post(`${base}/models/nobody/cancel`)).status, 404);
    const cancelled = await daemon.post(`${base}/models/mid/cancel`);
    assert.equal(cancelled.status, 200);
    assert.equal(cancelled.json.success, true);
    assert.equal(cancelled.json.model_id, 'mid');
    assert.match(cancelled.json.cancelled_at, ISO);
    await daemon.waitStatus('mid', 'stopped');
    assert.equal((await daemon.post(`${base}/models/mid/cancel`)).status, 400, 'stopped: nothing is queued');
    await stop('top-a');
    await daemon.waitStatus('low', 'running'); // and mid is not tried again
    assert.equal(await daemon.status('mid'), 'stopped');
});

test('prioritize: one up, at most ten', async () => {
    await define('one', 100, 9);
    const first = await daemon.post(`${base}/models/one/prioritize`);
    assert.equal(first.status, 200);
    const { message, updated_at, ...rest } = first.json;
    assert.deepEqual(rest, { success: true, model_id: 'one', old_priority: 9, new_priority: 10 });
    assert.match(updated_at, ISO);
    const second = await daemon.post(`${base}/models/one/prioritize`);
    assert.equal(second.status, 200);
    assert.equal(second.json.success, false);
    assert.equal(second.json.current_priority, 10);
    assert.equal((await daemon.post(`${base}/models/nobody/prioritize`)).status, 404);
    assert.equal((await daemon.get('/api/models/one/config')).json.priority, 10);
});

test('a raised priority acts: the model takes the room of a lower one, which comes back when it can', async () => {
    await up('a', 700, 5);
    await up('b', 700, 6);
    await define('c', 700, 5);
    assert.equal((await schedule('c')).json.success, false);
    assert.equal((await daemon.post(`${base}/models/c/prioritize`)).json.new_priority, 6);
    await daemon.waitStatus('c', 'running');
    await daemon.waitStatus('a', 'preempted');
    assert.deepEqual((await get('queue')).queue.map((one: any) => [one.id, one.status]), [['a', 'preempted']]);
    assert.equal((await get('status')).models.queued, 1);
    const moved = (await get('history?model_id=a')).history.find((one: any) => one.action === 'preempted');
    assert.ok(moved);
    assert.equal(moved.made_room_for, 'c');
    await stop('b');
    await daemon.waitStatus('a', 'running');
    await until('the return to be told', async () => (await get('history?model_id=a')).history.some((one: any) => one.action === 'recovered' && one.result === 'success'));
});

test('schedule with preemption names who has to go; allow_preemption=false takes free room only', async () => {
    await up('a', 700, 3);
    await up('b', 700, 5);
    await define('high', 700, 8);
    const modest = await schedule('high', { allow_preemption: false });
    assert.equal(modest.status, 200);
    assert.equal(modest.json.success, false);
    assert.equal(modest.json.outcome, 'queued');
    assert.equal(await daemon.status('a'), 'running');
    const dry = await schedule('high', { dry_run: true });
    assert.equal(dry.json.success, true, dry.text);
    assert.deepEqual(dry.json.preempted_models, ['a']);
    assert.equal(dry.json.history_id, null);
    assert.equal(await daemon.status('a'), 'running', 'a dry run moves nobody');
    const firm = await schedule('high');
    assert.equal(firm.json.success, true, firm.text);
    assert.deepEqual(firm.json.preempted_models, ['a']);
    await daemon.waitStatus('high', 'running');
    assert.equal(await daemon.status('b'), 'running');
});

test('force places a running model again, and goes beyond the threshold', async () => {
    await up('one', 500);
    const { id } = await daemon.readyInstance('one');
    const { pid } = await daemon.readyInstance('one');
    const answer = await schedule('one', { force: true });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.success, true, answer.text);
    await until('another process', async () => {
        const one = (await daemon.instances('one')).find((instance) => instance.state === 'ready');
        return one && one.pid !== pid;
    });
    assert.ok(id);
    await define('large', 900);
    assert.equal((await schedule('large')).json.success, false);
    assert.equal((await schedule('large', { force: true })).json.success, true);
    await daemon.waitStatus('large', 'running');
});

test('resources: what lies where', async () => {
    await up('one', 500, 6);
    const [device] = await devicesOf('one');
    await until('its memory to be seen', async () => (await get('resources')).summary.total_memory_used === 500);
    const { gpu_allocation, summary, timestamp } = await get('resources');
    assert.match(timestamp, ISO);
    assert.deepEqual(summary, { total_gpus: 2, allocated_gpus: 1, free_gpus: 1, total_models: 1, total_memory_used: 500, total_memory_available: 2000 });
    const card = gpu_allocation[device];
    assert.deepEqual([card.gpu_id, card.gpu_name, card.memory_total, card.memory_used, card.memory_free], [device, device === 0 ? 'Card a' : 'Card b', 1000, 500, 500]);
    assert.deepEqual([card.utilization, card.temperature, card.power_usage, card.allocation_status], [10, 40, 50, 'allocated']);
    const [model] = card.allocated_models;
    assert.deepEqual([model.model_id, model.model_name, model.priority], ['one', 'one', 6]);
    assert.match(model.start_time, ISO);
    assert.equal(gpu_allocation[1 - device].allocation_status, 'free');
    assert.deepEqual(gpu_allocation[1 - device].allocated_models, []);
});

test('history: newest first, by limit, hours and model; 422 for what is no number', async () => {
    await up('one', 100);
    await up('two', 100);
    await stop('one');
    await schedule('one');
    await daemon.waitStatus('one', 'running');
    const all = await get('history');
    assert.deepEqual(all.filters, { limit: 50, hours: 24, model_id: null });
    assert.equal(all.total_count, all.history.length);
    for (const entry of all.history) {
        for (const member of ['id', 'model_id', 'model_name', 'action', 'timestamp', 'gpu_devices', 'result', 'reason', 'duration', 'resource_usage']) {
            assert.ok(member in entry, member);
        }
        assert.equal(typeof entry.duration, 'number');
        assert.equal(typeof entry.id, 'string');
        assert.ok(['scheduled', 'preempted', 'failed', 'recovered'].includes(entry.action), entry.action);
    }
    const times = all.history.map((entry: any) => entry.timestamp);
    assert.deepEqual(times, [...times].sort().reverse());
    const limited = await get('history?limit=2');
    assert.deepEqual(limited.history.map((entry: any) => entry.id), all.history.slice(0, 2).map((entry: any) => entry.id));
    const mine = await get('history?model_id=one&hours=1');
    assert.deepEqual(mine.filters, { limit: 50, hours: 1, model_id: 'one' });
    assert.ok(mine.history.length >= 2 && mine.history.every((entry: any) => entry.model_id === 'one'));
    assert.deepEqual((await get('history?model_id=nobody')).history, []);
    for (const bad of ['limit=0', 'limit=1001', 'limit=x', 'hours=0', 'hours=-1']) {
        assert.equal((await daemon.get(`${base}/history?${bad}`)).status, 422, bad);
    }
});

test('policy: told, set, checked', async () => {
    assert.deepEqual(await get('policy'), defaults);
    const answer = await policy({ resource_threshold: 0.5, scheduling_algorithm: 'spread' });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(answer.json.success, true);
    assert.equal(answer.json.restart_required, false);
    assert.match(answer.json.updated_at, ISO);
    assert.deepEqual(answer.json.policy, { ...defaults, resource_threshold: 0.5, scheduling_algorithm: 'spread' });
    assert.deepEqual(await get('policy'), answer.json.policy);
    assert.deepEqual((await policy({ priority_levels: 7 })).json.policy, { ...defaults, priority_levels: 7 }, 'what is absent takes its default');
    for (const bad of [{ resource_threshold: 0.09 }, { resource_threshold: 1.1 }, { priority_levels: 0 }, { priority_levels: 21 }, { scheduling_interval: 9 }, { scheduling_interval: 301 },
        { health_check_interval: 0 }, { max_queue_size: 0 }, { scheduling_algorithm: 'round_robin' }]) {
        const refused = await policy(bad);
        assert.equal(refused.status, 400, JSON.stringify(bad));
        assert.equal(typeof refused.json.detail, 'string');
    }
    assert.match((await policy({ scheduling_algorithm: 'x' })).json.detail, /priority_based.*spread.*first_come/);
    for (const bad of [{ resource_threshold: 'x' }, { priority_levels: 1.5 }, { preemption_enabled: 1 }, { scheduling_algorithm: null }, [], 5]) {
        assert.equal((await policy(bad as any)).status, 422, JSON.stringify(bad));
    }
    assert.deepEqual(await get('policy'), { ...defaults, priority_levels: 7 }, 'what was refused changed nothing');
});

test('scheduling_algorithm: spread takes the emptiest card, priority_based the one that is filled best', async () => {
    await up('one', 300);
    await up('two', 300);
    assert.deepEqual(await devicesOf('two'), await devicesOf('one'));
    await remove('two');
    await until('its memory to be free', async () => (await get('resources')).summary.total_memory_used === 300);
    await policy({ scheduling_algorithm: 'spread' });
    await up('three', 300);
    assert.notDeepEqual(await devicesOf('three'), await devicesOf('one'));
});

test('scheduling_algorithm: with first_come who has waited longest is first', async () => {
    await policy({ preemption_enabled: false, scheduling_algorithm: 'first_come' });
    await up('a', 700, 9);
    await up('b', 700, 9);
    await define('early', 700, 2);
    await define('late', 700, 8);
    await schedule('early');
    await schedule('late');
    await stop('a');
    await daemon.waitStatus('early', 'running');
    assert.equal(await daemon.status('late'), 'queued');
});

test('resource_threshold caps what is placed', async () => {
    await define('one', 700, 5, { gpu_devices: [0] }); // it would be split over both else
    await policy({ resource_threshold: 0.6 });
    const refused = await schedule('one');
    assert.equal(refused.json.success, false, refused.text);
    await policy({ resource_threshold: 0.8 });
    await daemon.waitStatus('one', 'running');
});

test('max_queue_size refuses', async () => {
    await policy({ max_queue_size: 1 });
    await up('a', 700, 9);
    await up('b', 700, 9);
    await define('c', 700);
    await define('d', 700);
    assert.equal((await schedule('c')).json.outcome, 'queued');
    const refused = await schedule('d');
    assert.equal(refused.status, 429, refused.text);
    assert.match(refused.json.detail, /max_queue_size/);
    assert.equal((await daemon.post('/api/models/d/start')).status, 429);
    assert.equal(await daemon.status('d'), 'stopped');
    await policy({ max_queue_size: 2 });
    assert.equal((await schedule('d')).json.outcome, 'queued');
});

test('priority_levels bounds priorities', async () => {
    await policy({ priority_levels: 5 });
    await up('a', 700, 5);
    await up('b', 700, 5);
    await define('nine', 700, 9); // counts as 5
    const answer = await schedule('nine');
    assert.equal(answer.json.success, false, answer.text);
    assert.equal(await daemon.status('a'), 'running');
    await define('c', 100, 4);
    assert.equal((await schedule('c', { priority: 6 })).status, 400);
    assert.equal((await daemon.post(`${base}/models/c/prioritize`)).json.new_priority, 5);
    assert.equal((await daemon.post(`${base}/models/c/prioritize`)).json.success, false);
    await policy({ priority_levels: 10 });
    await daemon.waitStatus('nine', 'running');
});

test('preemption_enabled=false: nobody is moved aside', async () => {
    await policy({ preemption_enabled: false });
    assert.equal((await get('status')).scheduler.preemption_enabled, false);
    await up('a', 700, 1);
    await up('b', 700, 1);
    await define('high', 700, 10);
    const answer = await schedule('high');
    assert.equal(answer.json.success, false, answer.text);
    assert.deepEqual([await daemon.status('a'), await daemon.status('b')], ['running', 'running']);
    await policy({ preemption_enabled: true });
    await daemon.waitStatus('high', 'running');
});

test('auto_recovery_enabled=false: what was moved aside does not come back by itself', async () => {
    await policy({ auto_recovery_enabled: false });
    await up('a', 700, 1);
    await up('b', 700, 9);
    await up('high', 700, 10);
    await daemon.waitStatus('a', 'preempted');
    await stop('high');
    await until('its memory to be free', async () => (await get('resources')).summary.total_memory_used === 700);
    await until('the reason', async () => /recovery/.test((await get('queue')).queue[0].reason));
    assert.equal(await daemon.status('a'), 'preempted');
    await policy({ auto_recovery_enabled: true });
    await daemon.waitStatus('a', 'running');
});

test('scheduling_interval: everything is decided anew at least so often', async () => {
    const passes = async (): Promise<number> => Number(/berth_placement_pass_seconds_count (\d+)/.exec((await daemon.get('/metrics')).text)![1]);
    const calm = await Daemon.start({ config: { gpu: { nvml: '', sysfs: '', interval: '60s' } } });
    const calmly = async (): Promise<number> => Number(/berth_placement_pass_seconds_count (\d+)/.exec((await calm.get('/metrics')).text)![1]);
    assert.ok(await passes() > 0);
    assert.equal((await calm.ask({ method: 'PUT', path: `${base}/policy`, body: { scheduling_interval: 10 } })).status, 200);
    const first = await calmly();
    await until('two more passes, without anything having happened', async () => (await calmly()) >= first + 2, 28_000, 200);
    assert.deepEqual(await calm.finish(), []);
});

test('health_check_interval: ready models are probed at least so often', async () => {
    await up('one', 100, 5, { health_check: { interval: 600 } });
    await policy({ health_check_interval: 1 });
    const told = async (): Promise<string> => (await daemon.get('/api/models/one')).json.last_health_check;
    const first = await told();
    await until('two more probes', async () => Date.parse(await told()) - Date.parse(first) >= 2000, 20_000, 100);
});

test('why: the sentence of one that runs, one that waits, one that is stopped', async () => {
    await up('a', 700, 9);
    await up('b', 700, 9);
    await define('c', 700);
    await schedule('c');
    await define('d', 700);
    for (const [id, status] of [['a', 'running'], ['c', 'queued'], ['d', 'stopped']]) {
        const why = await get(`why/${id}`);
        assert.equal(why.model_id, id);
        assert.equal(why.status, status);
        assert.ok(why.sentence.length > 10, why.sentence);
    }
    assert.equal((await daemon.get(`${base}/why/nobody`)).status, 404);
});

test('restart and health', async () => {
    await up('one', 100);
    const { pid } = await daemon.readyInstance('one');
    const answer = await daemon.post(`${base}/restart`);
    assert.equal(answer.status, 200);
    assert.equal(answer.json.success, true);
    assert.match(answer.json.restart_requested_at, ISO);
    assert.ok(answer.json.message && answer.json.note);
    const health = await get('health');
    assert.equal(health.status, 'healthy');
    assert.deepEqual(Object.keys(health.components).sort(), ['model_manager', 'resource_monitor', 'scheduler_core']);
    for (const component of Object.values<any>(health.components)) {
        assert.equal(component.status, 'healthy');
        assert.ok(component.message);
    }
    assert.equal((await daemon.readyInstance('one')).pid, pid, 'no engine is touched');
});

test('after a restart of berth: policy, history and today are as they were', async () => {
    await policy({ resource_threshold: 0.9, max_queue_size: 7 });
    await up('one', 500, 3);
    const { history } = await get('history?limit=1000');
    const { scheduler } = await get('status');
    const told = await get('policy');
    await daemon.stop();
    await daemon.launch();
    await daemon.waitStatus('one', 'running');
    assert.deepEqual(await get('policy'), told);
    const ids = new Set((await get('history?limit=1000')).history.map((entry: any) => entry.id));
    assert.deepEqual(history.filter((entry: any) => !ids.has(entry.id)), []);
    assert.ok((await get('status')).scheduler.successful_schedules > scheduler.successful_schedules, 'it was placed once more');
});
