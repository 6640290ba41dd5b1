// SPDX-License-Identifier: Apache-2.0
// What is promised of tasks, seen as a user sees it: each option and each state of a model takes effect, each reason to wait is told with
// a place and a time that are true, and one task's life is told in order.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Cards } from './lib/cards.ts';
import { Daemon } from './lib/daemon.ts';
import { Events } from './lib/events.ts';
import { checkTraffic } from './lib/openapi.ts';
import { berthBin } from './lib/paths.ts';
import { asked, Gate, Tasks } from './lib/tasks.ts';
import { pause, until } from './lib/wait.ts';

const shout = { name: 'shout', help: 'Says it louder.', template: { temperature: 0, messages: [{ role: 'user', content: 'LOUDER{{marks}} {{input}}' }] }, defaults: { marks: '!' } };

let daemon: Daemon;
let tasks: Tasks;
let gate: Gate;

before(async () => {
    gate = await Gate.start();
    daemon = await Daemon.start({ config: { task_types: [shout], queue: { retry_delay: '50ms', retry_delay_max: '100ms' } } });
    tasks = new Tasks(daemon);
});

after(async () => {
    await checkTraffic(daemon);
    gate.stop();
    assert.deepEqual(await daemon.finish(), []);
});

/** A berth with that configuration and its own gate. */
async function withOptions(config: Record<string, any>, work: (tasks: Tasks, gate: Gate, daemon: Daemon) => Promise<void>): Promise<void> {
    const own = await Daemon.start({ config });
    const ownGate = await Gate.start();
    try {
        await work(new Tasks(own), ownGate, own);
    } finally {
        ownGate.open = true;
        ownGate.held.forEach((one) => one.answer());
        await own.finish();
        ownGate.stop();
    }
}

/** Another model's task went all the way: whatever could have begun meanwhile has begun. */
async function aTurn(door = tasks, by = gate): Promise<void> {
    const from = by.onAsked;
    by.onAsked = (one) => one.model === 'turn' && one.answer();
    if (!(await door.good('GET', '/models')).some((one: any) => one.name === 'turn')) {
        await by.model(door.daemon, 'turn');
    }
    await door.became(await door.submit('turn'), 'completed');
    by.onAsked = from;
}

// ---- a model's state ----

test('maintenance and offline: what runs goes on, the rest waits and says so; online lets it go', async () => {
    await gate.model(daemon, 'state88', { max_workers: 1 });
    const [one, two, three] = [await tasks.submit('state88'), await tasks.submit('state88'), await tasks.submit('state88')];
    const [first] = await gate.holds(1, 'state88');
    assert.equal(first.id, one);
    await tasks.status('state88', 'maintenance');
    first.answer();
    assert.equal((await tasks.ended(one)).status, 'completed');
    await aTurn();
    assert.equal(gate.times(two), 0);
    for (const [status, says] of [['maintenance', /the model is in maintenance/], ['offline', /the model is offline/]] as const) {
        await tasks.status('state88', status);
        assert.equal((await tasks.good('GET', `/models/${await tasks.numberOf('state88')}`)).status, status);
        const waiting = (await tasks.show(three)).waiting;
        assert.match(waiting.reason, says);
        assert.deepEqual([waiting.place, waiting.estimated_start], [2, null], 'nobody can tell when');
        assert.deepEqual((await tasks.good('GET', '/models/available')).filter((model: any) => model.name === 'state88'), []);
        assert.equal((await daemon.get('/api/models/state88/config')).json.task_status, status, 'the other door says the same');
    }
    await tasks.status('state88', 'online');
    for (const id of [two, three]) {
        const [held] = await gate.holds(1, 'state88');
        assert.equal(held.id, id);
        held.answer();
        assert.equal((await tasks.ended(id)).status, 'completed');
    }
});

test('a model that was defined as offline and is put online says nothing else', async () => {
    await gate.model(daemon, 'asleep88', { max_workers: 1, task_status: 'offline' });
    await tasks.status('asleep88', 'online');
    const one = await tasks.submit('asleep88');
    const [held] = await gate.holds(1, 'asleep88');
    const two = await tasks.submit('asleep88');
    assert.match((await tasks.show(two)).waiting.reason, /one worker is busy/);
    const workers = (await tasks.good('GET', '/stats/dashboard')).worker_status;
    assert.ok(JSON.stringify(workers).includes('asleep88'), JSON.stringify(workers));
    held.answer();
    await tasks.became(one, 'completed');
    (await gate.holds(1, 'asleep88'))[0].answer();
    await tasks.became(two, 'completed');
});

// ---- options, one test each ----

test('max_workers of a model: so many at once, and a change of it takes effect', async () => {
    await gate.model(daemon, 'workers88', { max_workers: 2 });
    const ids: number[] = [];
    for (let i = 0; i < 8; i++) {
        ids.push(await tasks.submit('workers88'));
    }
    await gate.holds(2, 'workers88');
    await aTurn();
    assert.deepEqual((await gate.holds(2, 'workers88')).map((one) => one.id), ids.slice(0, 2));
    const waiting = (await tasks.show(ids[3])).waiting;
    assert.match(waiting.reason, /all 2 workers of the model are busy/);
    assert.equal(waiting.place, 2);
    const number = await tasks.numberOf('workers88');
    assert.deepEqual(await tasks.good('GET', `/models/${number}`).then((one) => [one.max_workers, one.current_workers]), [2, 2]);
    await tasks.good('PUT', `/models/${number}`, { max_workers: 4 });
    (await gate.holds(4, 'workers88')).slice(0, 3).forEach((one) => one.answer());
    await gate.holds(4, 'workers88');
    const timed = (await tasks.show(ids[7])).waiting;
    assert.equal(timed.place, 1);
    assert.ok(Date.parse(timed.estimated_start) >= Date.parse((await tasks.show(ids[7])).created_at), 'now that the pace is known');
    await tasks.good('PUT', `/models/${number}`, { max_workers: 1 });
    const late = await tasks.submit('workers88');
    (await gate.holds(4, 'workers88')).forEach((one) => one.answer());
    for (const id of [ids[7], late]) {
        const held = await gate.holds(1, 'workers88');
        assert.equal(held[0].id, id);
        held[0].answer();
        await tasks.became(id, 'completed');
    }
});

test('worker.default_workers and worker.max_workers: those of one model, and the sum over all', () => withOptions({ worker: { default_workers: 2, max_workers: 3 } }, async (own, by) => {
    await by.model(own.daemon, 'one88');
    await by.model(own.daemon, 'two88', { max_workers: 9 });
    const ids = [];
    for (let i = 0; i < 12; i++) {
        ids.push(await own.submit(i % 2 ? 'one88' : 'two88'));
        if (i === 7) {
            await by.holds(3);
        }
    }
    assert.match((await own.show(ids[10])).waiting.reason, /all 3 workers of all models are busy/);
    let most = 0;
    by.onAsked = () => { most = Math.max(most, by.of('one88').length); };
    while (by.asked.length < 12 || by.held.size > 0) {
        const [one] = await until('a request', () => by.held.size > 0 && [...by.held]);
        one.answer();
        await own.became(one.id, 'completed');
    }
    assert.equal(by.most, 3, 'no more than three together');
    assert.ok(most <= 2, `no more than two of one model: ${most}`);
    for (const id of ids) {
        assert.equal(by.times(id), 1);
    }
}));

test('queue.max_queue_size: 429, and who comes again when it says is taken', () => withOptions({ queue: { max_queue_size: 4 } }, async (own, by, berth) => {
    await by.model(berth, 'full88', { max_workers: 1 });
    const order = { model_id: 'full88', type: 'custom', input: { messages: [] } };
    by.open = true;
    for (let i = 0; i < 5; i++) {
        await own.became(await own.submit('full88'), 'completed'); // the pace becomes known
    }
    by.open = false;
    const ids = [await own.submit('full88')];
    await by.holds(1);
    for (let i = 0; i < 4; i++) {
        ids.push(await own.submit('full88'));
    }
    const refused = await own.api('POST', '/tasks', order);
    assert.deepEqual([refused.status, refused.json.code], [429, -1], refused.text);
    assert.match(refused.json.message, /\bfull\b|\b4\b/);
    const ms = Number(refused.headers['retry-after-ms']);
    assert.equal(Number(refused.headers['retry-after']), Math.ceil(ms / 1000), 'both say the same');
    assert.ok(ms >= 1000 && ms < 60_000, `five that take no time are not worth ${ms} ms`);
    assert.equal((await own.all()).size, 10, 'nothing was stored of it');
    by.open = true;
    by.held.forEach((one) => one.answer());
    await pause(ms);
    assert.equal((await own.api('POST', '/tasks', order)).status, 200, 'it came when it was told to');
    for (const id of ids) {
        assert.equal((await own.ended(id)).status, 'completed');
    }
}));

test('queue.task_timeout: the engine is let go, and the next attempt is another one', () => withOptions({ queue: { task_timeout: '150ms', retry_delay: '1ms' } }, async (own, by, berth) => {
    await by.model(berth, 'time88');
    const id = await own.submit('time88', { max_retries: 1 });
    const first = await until('the first attempt', () => by.asked[0]);
    await until('it to be let go', () => first.gone);
    await until('the second', () => by.asked[1]);
    by.asked[1].answer();
    const task = await own.ended(id);
    assert.deepEqual(by.asked.map((one) => one.attempt), [1, 2]);
    assert.ok(task.status === 'completed' || /longer than 0\.15 s/.test(task.error_message), JSON.stringify(task));
    assert.ok(task.logs.some((log: any) => /longer than 0\.15 s/.test(log.message + JSON.stringify(log.data))), JSON.stringify(task.logs));
}));

test('queue.max_retries and queue.retry_delay: so many tries, never earlier, each later than the last', () => withOptions({ queue: { max_retries: 3, retry_delay: '80ms', retry_delay_max: '200ms' } }, async (own, _, berth) => {
    const record = join(berth.dir, 'record');
    await berth.up(berth.scripted('tries88', { record, status: 503, body: '{"error":{"message":"not today"}}' }) as any);
    const id = await own.submit('tries88');
    const task = await own.ended(id);
    assert.deepEqual([task.status, task.retry_count, task.max_retries, task.dead_letter], ['failed', 3, 3, true]);
    assert.match(task.error_message, /not today/);
    const times = asked(record).filter((one) => one.id === id);
    assert.deepEqual(times.map((one) => one.attempt), [1, 2, 3, 4]);
    const gaps = times.slice(1).map((one, i) => one.clock_ms - times[i].clock_ms);
    [80, 160, 200].forEach((delay, i) => assert.ok(gaps[i] >= delay * 0.75 - 2, `${gaps}: doubled, at most 200, a quarter less at the most`));
    const once = await own.submit('tries88', { max_retries: 0 });
    assert.deepEqual(await own.ended(once).then((one) => [one.status, one.retry_count]), ['failed', 0], "a task's own goes before");
}));

// ---- why it waits ----

test('delayed: until when, no place, and it starts then', async () => {
    await gate.model(daemon, 'later88');
    const run_at = new Date(Date.now() + 3_600_000).toISOString();
    const id = await tasks.submit('later88', { run_at });
    const waiting = (await tasks.show(id)).waiting;
    assert.match(waiting.reason, /delayed until /);
    assert.equal(Date.parse(waiting.estimated_start), Date.parse(run_at));
    assert.equal(waiting.place, null);
    assert.equal((await tasks.good('GET', '/stats/dashboard')).queue_status.delayed_count, 1);
    await tasks.cancel(id);
    const soon = await tasks.submit('later88', { delay: '100ms' });
    const [held] = await gate.holds(1, 'later88');
    assert.equal(held.id, soon);
    held.answer();
    const task = await tasks.ended(soon);
    assert.ok(Date.parse(task.started_at) >= Date.parse(task.created_at) + 100);
});

test('loading, failed, stopped: each is said, and a time that is not known is not made up', async () => {
    const retry_policy = { max_attempts: 1, initial_delay: 0, max_delay: 1, backoff_factor: 1 };
    // It has answered once, so its pace is known; then it is stopped, and loads for long.
    await daemon.up({ ...daemon.scripted('slow88', { by_start: [{}, { load_ms: 2500 }] }), on_demand: false });
    await tasks.became(await tasks.submit('slow88'), 'completed');
    await daemon.post('/api/models/slow88/stop');
    await daemon.waitStatus('slow88', 'stopped');
    const stopped = await tasks.submit('slow88');
    const no = await tasks.waits(stopped, /the model is stopped/);
    assert.deepEqual([no.place, no.estimated_start], [1, null], 'somebody must start it first');
    await daemon.post('/api/models/slow88/start');
    const loading = await tasks.waits(stopped, /the model is loading/);
    assert.equal(loading.place, 1);
    const done = await tasks.ended(stopped);
    assert.equal(done.status, 'completed');
    if (loading.estimated_start) { // not before the model can be there
        assert.ok(Date.parse(loading.estimated_start) - Date.parse(done.started_at) > -1500, `promised ${loading.estimated_start}, began ${done.started_at}`);
    }
    await daemon.create({ ...daemon.scripted('broken88', { exit_at_start: 7, last_words: 'no kernel for this card' }), retry_policy });
    await daemon.post('/api/models/broken88/start');
    await daemon.waitState('broken88', 'failed');
    const id = await tasks.submit('broken88');
    const failed = await tasks.waits(id, /its instance failed/);
    assert.match(failed.reason, /must be started again/);
    assert.deepEqual([failed.place, failed.estimated_start], [1, null]);
    await tasks.cancel(id);
});

test('no room on a device: which one has it, and the task runs when it is there', async () => {
    const cards = await Cards.start(1);
    const door = new Tasks(cards.daemon);
    await cards.up('big88', 700, 9);
    await cards.define('small88', 600, 5, { on_demand: true });
    const id = await door.submit('small88');
    const waiting = await door.waits(id, /waiting for room on a device/);
    assert.equal(waiting.place, 1);
    assert.equal((await door.show(id)).status, 'pending');
    await cards.stop('big88');
    assert.equal((await door.ended(id)).status, 'completed');
    assert.equal(cards.marks('small88', 'request').filter((one) => one.body?.includes('messages')).length, 1);
    assert.deepEqual(await cards.daemon.finish(), []);
});

// ---- order, types, the command line ----

test('a raised priority overtakes, a lowered one falls back', async () => {
    await gate.model(daemon, 'order88', { max_workers: 1 });
    const ids: number[] = [];
    for (const priority of [2, 2, 2, 2, 1, 3]) {
        ids.push(await tasks.submit('order88', { priority }));
        if (ids.length === 1) {
            await gate.holds(1, 'order88');
        }
    }
    await tasks.good('PUT', `/tasks/${ids[3]}/priority`, { priority: 3 });
    await tasks.good('PUT', `/tasks/${ids[1]}`, { priority: 1 });
    assert.equal((await tasks.show(ids[3])).waiting.place, 1, 'before the one that is high as well, but came later');
    for (const n of [0, 3, 5, 2, 1, 4]) {
        const [held] = await gate.holds(1, 'order88');
        assert.equal(held.id, ids[n]);
        held.answer();
        await tasks.became(ids[n], 'completed');
    }
});

test('a type of the configuration alone, by berth submit --wait', async () => {
    await gate.model(daemon, 'typed88');
    const run = new Promise<{ code: unknown; out: string; err: string }>((done) => {
        execFile(berthBin, ['submit', 'typed88', 'good morning', '--type', 'shout', '--option', 'marks=!!!', '--wait'], { env: { ...daemon.env, BERTH_DATA_DIR: daemon.dataDir }, timeout: 20_000 },
            (error, out, err) => done({ code: error ? error.code : 0, out, err }));
    });
    const [held] = await gate.holds(1, 'typed88');
    assert.deepEqual(held.body.messages, [{ role: 'user', content: 'LOUDER!!! good morning' }]);
    assert.equal(held.body.temperature, 0);
    held.answer(200, 'GOOD MORNING');
    const { code, out, err } = await run;
    assert.deepEqual([code, out.trim()], [0, 'GOOD MORNING'], err);
    assert.equal((await tasks.good('GET', '/stats/tasks/type')).find((row: any) => row.type === 'shout').completed_tasks, 1);
});

// ---- live ----

test("one task's whole life, in order and the same at both doors: a failed try, a priority, a cancel, its removal", async () => {
    await gate.model(daemon, 'life88', { max_workers: 1 });
    const events = await Events.open(daemon, '', '?kind=task');
    const socket = new WebSocket(`ws://127.0.0.1:${daemon.port}/ws/tasks?kind=task`);
    const pushed: any[] = [];
    socket.addEventListener('message', (message) => pushed.push(JSON.parse(String(message.data))));
    await new Promise((done, fail) => {
        socket.addEventListener('open', done);
        socket.addEventListener('error', () => fail(new Error('no WebSocket')));
    });
    const one = await tasks.submit('life88');
    (await gate.holds(1, 'life88'))[0].answer(503, 'not now');
    const again = await until('the next try', () => gate.of('life88').find((held) => held.attempt === 2));
    const two = await tasks.submit('life88', { priority: 1 });
    await tasks.good('PUT', `/tasks/${two}/priority`, { priority: 3 });
    await tasks.cancel(two);
    again.answer();
    await tasks.became(one, 'completed');
    await tasks.good('DELETE', `/tasks/${two}?purge=true`);
    const mine = (id: number) => events.all.filter((event) => event.data.task.id === id).map((event) => event.data);
    await events.wait('the removal', () => mine(two).some((data) => data.removed));
    await until('the removal at the other door', () => pushed.some((one) => one.type === 'task' && one.task.id === two && one.removed));
    assert.deepEqual(mine(one).map((data) => [data.from, data.task.status, data.task.retry_count]), [
        [null, 'pending', 0], ['pending', 'running', 0], ['running', 'pending', 1], ...mine(one).slice(3, -2).map(() => ['pending', 'pending', 1]), ['pending', 'running', 1], ['running', 'completed', 1]]);
    assert.deepEqual(mine(two).map((data) => [data.from, data.task.status, data.task.priority]), [
        [null, 'pending', 1], ['pending', 'pending', 3], ['pending', 'cancelled', 3], ['cancelled', 'cancelled', 3]]);
    const tell = (data: any) => JSON.stringify([data.from, data.task, data.removed]);
    const atSocket = pushed.filter((one) => one.type === 'task');
    for (const id of [one, two]) {
        assert.deepEqual(atSocket.filter((each) => each.task.id === id).map(tell), mine(id).map(tell));
    }
    events.raw.close();
    socket.close();
});
