// SPDX-License-Identifier: Apache-2.0
// Tasks while everything around them changes: berth is killed, drained, reloaded, its disk fills; models are changed, deleted, moved aside;
// cancels race answers. What was accepted is there once and ends, what was cancelled stays so, and whoever waits for an answer goes first.
// SEED=n repeats a run, KILLS=n sets how many deaths.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { Cards } from './lib/cards.ts';
import { busySlots, Daemon, recorded } from './lib/daemon.ts';
import { Events } from './lib/events.ts';
import { asked, askerOf, Gate, type Held, Tasks, terminal } from './lib/tasks.ts';
import { pause, random, seedFromEnvironment, until, within } from './lib/wait.ts';

const kills = Number(process.env.KILLS ?? 30);
const seed = seedFromEnvironment();

/** Every task that there is, once all of them have ended. */
async function allEnded(tasks: Tasks): Promise<Map<number, any>> {
    await until('everything to end', async () => {
        const { queue_status: queue } = await tasks.good('GET', '/stats/dashboard');
        if (queue.total_count > 0) {
            throw new Error(JSON.stringify(queue));
        }
        return true;
    }, 40_000, 20);
    return tasks.all();
}

/** No attempt asked an engine twice. */
function askedOnce(names: string[]): void {
    assert.deepEqual(names.filter((name, i) => names.indexOf(name) !== i), [], 'asked twice for one attempt');
}

// ---- deaths ----

interface Known {
    order: Record<string, unknown>;
    id: number; // 0: nobody was told
    cancelled: boolean; // and that was acknowledged
    maybe: boolean; // a cancel whose answer never came
    priority: number; // acknowledged; 0: not known
}

/** Users who submit, cancel and move until berth is gone. */
async function users(tasks: Tasks, next: () => number, known: Map<string, Known>, name: string): Promise<void> {
    const mine: Known[] = [];
    for (let n = 0; ; n++) {
        const [what, model, priority] = [next(), `kill-${1 + Math.floor(next() * 2)}`, 1 + Math.floor(next() * 3)];
        const scripted = { first_ms: Math.floor(next() * 25), events: 1 + Math.floor(next() * 4), ignore_disconnect: next() < 0.2 };
        const one = mine[Math.floor(next() * mine.length)];
        if (what < 0.6 || !one) {
            const task: Known = { order: { model_id: model, type: 'custom', priority, input: { messages: [], scripted } }, id: 0, cancelled: false, maybe: false, priority };
            known.set(`${name}-${n}`, task);
            const answer = await tasks.api('POST', '/tasks', task.order, { 'idempotency-key': `${name}-${n}` });
            assert.equal(answer.status, 200, answer.text);
            task.id = answer.json.data.id;
            mine.push(task);
        } else if (what < 0.8) {
            one.maybe = true;
            const answer = await tasks.cancel(one.id);
            assert.ok(answer.status === 200 || answer.status === 400, answer.text);
            one.cancelled ||= answer.status === 200;
            one.maybe = false;
        } else {
            const before = one.priority;
            one.priority = 0;
            const answer = await tasks.api('PUT', `/tasks/${one.id}/priority`, { priority });
            assert.ok(answer.status === 200 || answer.status === 400, answer.text);
            one.priority = answer.status === 200 ? priority : before;
        }
    }
}

test(`${kills} deaths of berth under submits, cancels, priorities and completions: nothing is lost, doubled or stuck`, async () => {
    const next = random(seed);
    const daemon = await Daemon.start({ config: { queue: { retry_delay: '10ms', retry_delay_max: '20ms' } } });
    const tasks = new Tasks(daemon);
    const record = join(daemon.dir, 'record');
    const sockets = [];
    for (const id of ['kill-1', 'kill-2']) {
        sockets.push(await daemon.up({ ...daemon.scripted(id, { record }, { parallel: 2 }), max_workers: 3 } as any));
    }
    const known = new Map<string, Known>();
    for (let n = 0; n < kills; n++) {
        const gone = (error: any) => assert.match(String(error.code ?? error.message), /ECONN|EPIPE|hang up|aborted/, `SEED=${seed}, death ${n}: ${error.stack}`);
        const work = Array.from({ length: 8 }, (_, i) => users(tasks, random(seed + n * 10 + i), known, `${n}-${i}`).catch(gone));
        await pause(next() * next() * 250); // the moment of death is what is random here
        await daemon.kill9();
        await Promise.all(work);
        for (const instance of sockets) { // what was sent to them before has been seen
            await until('the engines to be free', async () => await busySlots(instance) === 0);
        }
        appendFileSync(record, `${JSON.stringify({ mark: 'death', cancelled: [...known.values()].filter((one) => one.cancelled).map((one) => one.id) })}\n`);
        await daemon.launch();
        for (const [key, one] of known) {
            if (one.id === 0) { // nobody knows whether it was taken: it comes again
                const answer = await tasks.api('POST', '/tasks', one.order, { 'idempotency-key': key });
                assert.equal(answer.status, 200, `SEED=${seed}, death ${n}: ${answer.text}`);
                one.id = answer.json.data.id;
            }
        }
    }
    const there = await allEnded(tasks);
    assert.equal(new Set([...known.values()].map((one) => one.id)).size, known.size, 'a task each');
    assert.deepEqual([...there.keys()].sort((a, b) => a - b), [...known.values()].map((one) => one.id).sort((a, b) => a - b), 'each once, and no others');
    for (const one of known.values()) {
        const task = there.get(one.id);
        const states = one.cancelled ? ['cancelled'] : one.maybe ? ['cancelled', 'completed'] : ['completed'];
        assert.ok(states.includes(task.status), `SEED=${seed}: ${states} was expected of ${JSON.stringify(task)}`);
        assert.ok(!one.priority || task.priority === one.priority, `SEED=${seed}: priority ${one.priority} of ${JSON.stringify(task)}`);
        assert.equal(task.output !== null, task.status === 'completed', JSON.stringify(task));
    }
    const done = new Set<number>();
    const attempts: string[] = [];
    let cancelled = new Set<number>();
    for (const line of recorded(record)) {
        if (line.mark === 'death') {
            cancelled = new Set(line.cancelled);
        } else if (line.mark === 'request') {
            const { id, attempt } = askerOf(/^x-request-id: (.*)\r$/m.exec(line.head)?.[1]);
            if (id) {
                assert.ok(!cancelled.has(id), `SEED=${seed}: task ${id} was asked for after its cancel had been acknowledged`);
                attempts.push(`${id}-${attempt}`);
                done.add(id);
            }
        }
    }
    askedOnce(attempts);
    for (const task of there.values()) {
        assert.ok(task.status !== 'completed' || done.has(task.id), `an engine did ${task.id}`);
    }
    console.log(`${kills} deaths: ${there.size} tasks, ${attempts.length} attempts, ${[...known.values()].filter((one) => one.cancelled).length} cancelled`);
    assert.deepEqual(await daemon.finish(), []);
});

// ---- cancels ----

test('300 cancels race answers: what was acknowledged stays, and what never began is never asked for', async () => {
    const next = random(seed + 1);
    const gate = await Gate.start();
    const daemon = await Daemon.start();
    const tasks = new Tasks(daemon);
    await gate.model(daemon, 'cancel', { max_workers: 4 });
    const events = await Events.open(daemon, '', '?kind=task');
    const ids: number[] = [];
    const acknowledged = new Map<number, number>();
    const work: Promise<void>[] = [];
    const cancel = async (id: number): Promise<void> => {
        acknowledged.set(id, (await tasks.cancel(id)).status);
    };
    gate.onAsked = (one: Held) => {
        const luck = next();
        if (luck < 0.25) {
            one.answer();
            work.push(cancel(one.id));
        } else if (luck < 0.5) {
            work.push(cancel(one.id));
            one.answer();
        } else if (luck < 0.75) {
            work.push(cancel(one.id).then(async () => {
                if (acknowledged.get(one.id) === 200) {
                    await until('the engine to be let go', () => one.gone);
                }
                one.answer(200, 'late');
            }));
        } else {
            setImmediate(() => one.answer());
        }
    };
    for (let n = 0; n < 300; n++) {
        const id = await tasks.submit('cancel', { priority: 1 + Math.floor(next() * 3) });
        ids.push(id);
        if (next() < 0.4) {
            work.push(cancel(ids[Math.floor(next() * ids.length)]));
        }
    }
    const there = await allEnded(tasks);
    await Promise.all(work);
    gate.onAsked = (one) => one.answer();
    const last = await tasks.submit('cancel');
    await tasks.ended(last);
    await until('the last event', () => events.raw.text.lastIndexOf(`"id":${last},`) > 0 && events.raw.text.slice(events.raw.text.lastIndexOf(`"id":${last},`)).includes('"completed"'), 20_000, 50);
    const later = await tasks.all();
    const told = new Map<number, string[]>(ids.map((id) => [id, []]));
    for (const { data } of events.all) {
        told.get(data.task.id)?.push(data.task.status);
    }
    let cancelled = 0;
    for (const id of ids) {
        const states = told.get(id)!;
        const task = later.get(id);
        assert.equal(task.status, there.get(id).status, 'an end is an end');
        assert.equal(states.filter((state) => terminal.includes(state)).length, 1, `one end: ${states}`);
        assert.equal(states.at(-1), task.status);
        if (acknowledged.get(id) === 200) {
            assert.deepEqual([task.status, task.output], ['cancelled', null], JSON.stringify(task));
            cancelled++;
        } else {
            assert.ok(acknowledged.get(id) === undefined || acknowledged.get(id) === 400);
        }
        const begun = states.filter((state) => state === 'running').length;
        assert.ok(gate.times(id) <= begun, `task ${id} was asked for ${gate.times(id)} times and began ${begun} times: ${states}`);
    }
    askedOnce(gate.asked.map((one) => `${one.id}-${one.attempt}`));
    assert.ok(cancelled > 20 && cancelled < 300, `${cancelled} were cancelled`);
    events.raw.close();
    assert.deepEqual(await daemon.finish(), []);
    gate.stop();
});

test('an engine that goes on after a cancel and answers late changes nothing', async () => {
    const daemon = await Daemon.start();
    const tasks = new Tasks(daemon);
    const record = join(daemon.dir, 'record');
    const instance = await daemon.up(daemon.scripted('late', { record }, { parallel: 2 }));
    const id = await tasks.submit('late', { input: { messages: [], scripted: { first_ms: 300, ignore_disconnect: true } } });
    await until('it to be asked for', () => asked(record).some((one) => one.id === id));
    assert.equal((await tasks.cancel(id)).status, 200);
    const { updated_at } = await tasks.show(id);
    await until('the engine to be done with it', async () => await busySlots(instance) === 0);
    const other = await tasks.submit('late');
    assert.equal((await tasks.ended(other)).status, 'completed');
    const task = await tasks.show(id);
    assert.deepEqual([task.status, task.output, task.updated_at], ['cancelled', null, updated_at]);
    assert.equal(asked(record).filter((one) => one.id === id).length, 1);
    assert.deepEqual(await daemon.finish(), []);
});

// ---- models ----

test('a model is changed and restarted while its tasks run, again and again: each ends well', async () => {
    const next = random(seed + 2);
    const daemon = await Daemon.start({ config: { queue: { retry_delay: '10ms', max_retries: 20 }, engines: { stop_grace: '100ms' } } });
    const tasks = new Tasks(daemon);
    const config = daemon.scripted('changed');
    await daemon.up({ ...config, max_workers: 4 } as any);
    const ids: number[] = [];
    for (let round = 0; round < 6; round++) {
        for (let n = 0; n < 12; n++) {
            ids.push(await tasks.submit('changed', { input: { messages: [], scripted: { first_ms: Math.floor(next() * 60) } } }));
        }
        await until('some to be done', async () => terminal.includes((await tasks.show(ids[round * 8])).status));
        const now = (await daemon.get('/api/models/changed/config')).json;
        const answer = round % 2
            ? await daemon.post('/api/models/changed/restart')
            : await daemon.ask({ method: 'PUT', path: '/api/models/changed', body: { ...now, parameters: { ...now.parameters, ctx_size: 2048 + 256 * (round + 1) } } });
        assert.equal(answer.status, 200, answer.text);
    }
    const there = await allEnded(tasks);
    assert.deepEqual([...there.values()].filter((task) => task.status !== 'completed'), []);
    assert.equal(there.size, ids.length);
    assert.deepEqual(await daemon.finish(), []);
});

test('a model is deleted while its tasks run and wait: they end and say why, and a new one of its name gets none of them', async () => {
    const gate = await Gate.start();
    const daemon = await Daemon.start();
    const tasks = new Tasks(daemon);
    await gate.model(daemon, 'doomed', { max_workers: 2 });
    const ids: number[] = [];
    for (let n = 0; n < 10; n++) {
        ids.push(await tasks.submit('doomed', n > 7 ? { delay: '1h' } : {}));
    }
    await gate.holds(2);
    const refused = await tasks.api('DELETE', `/models/${await tasks.numberOf('doomed')}`);
    assert.equal(refused.status, 400, 'the door of tasks knows better');
    const gone = daemon.ask({ method: 'DELETE', path: '/api/models/doomed' });
    await until('it to be gone', async () => (await daemon.get('/api/models/doomed')).status === 404);
    gate.held.forEach((one) => one.answer());
    assert.equal((await gone).status, 200);
    await gate.model(daemon, 'doomed', { max_workers: 2 });
    const fresh = await tasks.submit('doomed');
    const held = await until('the new one to be asked for', () => [...gate.held].find((one) => one.id === fresh));
    held.answer();
    assert.equal((await tasks.ended(fresh)).status, 'completed');
    for (const [n, id] of ids.entries()) {
        const task = await tasks.ended(id);
        assert.ok(task.status === 'failed' || (n < 2 && task.status === 'completed'), JSON.stringify(task));
        assert.ok(task.status === 'completed' || /model/.test(task.error_message), JSON.stringify(task));
        assert.equal(gate.times(id), n < 2 ? 1 : 0);
    }
    assert.deepEqual(await daemon.finish(), []);
    gate.stop();
});

test('a model is moved aside for a better one while its tasks run: they come back, and end when it is back', async () => {
    const cards = await Cards.start(1, { placement: { grace: '100ms' } });
    const tasks = new Tasks(cards.daemon);
    await cards.up('aside', 700, 1, { parameters: { parallel: 2 }, max_workers: 4 });
    const ids: number[] = [];
    for (let n = 0; n < 8; n++) {
        ids.push(await tasks.submit('aside', { input: { messages: [], scripted: { first_ms: n < 2 ? 1500 : 20 } } }));
    }
    await until('two to run', async () => (await tasks.all('&status=running')).size === 2);
    await cards.define('better', 700, 9);
    await cards.schedule('better');
    await cards.daemon.waitStatus('better', 'running');
    const waiting = await tasks.waits(ids[7], /room on a device|moved aside|is stopped|about to be loaded/);
    assert.equal(typeof waiting.place, 'number');
    assert.equal((await tasks.all('&status=completed')).size, 0);
    await cards.stop('better');
    const there = await allEnded(tasks);
    assert.deepEqual([...there.values()].map((task) => [task.status, task.retry_count]), ids.map(() => ['completed', 0]), 'and it was not counted as a failure of theirs');
    assert.deepEqual(await cards.daemon.finish(), []);
});

// ---- berth itself ----

test('SIGTERM: what can finish does, the rest is pending again and is done by the next berth; SIGHUP disturbs nobody', async () => {
    const gate = await Gate.start();
    const daemon = await Daemon.start({ config: { server: { drain_timeout: '700ms' } } });
    const tasks = new Tasks(daemon);
    await gate.model(daemon, 'drain', { max_workers: 3 });
    const ids: number[] = [];
    for (let n = 0; n < 9; n++) {
        ids.push(await tasks.submit('drain'));
    }
    const [quick, slow] = await gate.holds(3);
    for (let n = 0; n < 5; n++) {
        process.kill(daemon.pid, 'SIGHUP');
        assert.equal((await tasks.good('GET', '/tasks?status=running')).length, 3);
    }
    gate.onAsked = (one) => assert.fail(`${one.id} was asked for while berth went down`);
    const left = daemon.stop();
    quick.answer();
    assert.equal(await left, 0, daemon.log());
    assert.ok(slow.gone, 'the engine is let go');
    gate.onAsked = () => {};
    await daemon.launch();
    assert.equal((await tasks.show(quick.id)).status, 'completed', 'it had been finished');
    const held = await gate.holds(3);
    assert.deepEqual(held.map((one) => one.id).sort(), ids.slice(1, 4), 'those that ran are first again');
    assert.equal(gate.times(quick.id), 1);
    gate.open = true;
    held.forEach((one) => one.answer());
    const there = await allEnded(tasks);
    assert.deepEqual([...there.values()].map((task) => [task.status, task.retry_count]), ids.map(() => ['completed', 0]));
    askedOnce(gate.asked.map((one) => `${one.id}-${one.attempt}`));
    assert.deepEqual(await daemon.finish(), []);
    gate.stop();
});

/** A small disk for the data of a berth, or undefined where this user may not mount one. */
function smallDisk(daemon: Daemon): (() => void) | undefined {
    mkdirSync(daemon.dataDir, { mode: 0o700 });
    try {
        execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=700', 'tmpfs', daemon.dataDir], { stdio: 'ignore' });
    } catch {
        return undefined;
    }
    const umount = () => execFileSync('umount', ['-l', daemon.dataDir], { stdio: 'ignore' });
    process.on('exit', umount);
    return () => {
        process.off('exit', umount);
        umount();
    };
}

test('the disk is full while tasks run: no more is accepted, nothing accepted is lost, and with room again all is done', async (context) => {
    const gate = await Gate.start();
    const daemon = await Daemon.prepare();
    const umount = smallDisk(daemon);
    if (!umount) {
        await daemon.finish();
        gate.stop();
        context.skip('no disk can be mounted here');
        return;
    }
    await daemon.launch();
    const tasks = new Tasks(daemon);
    await gate.model(daemon, 'disk', { max_workers: 2 });
    const ids = [await tasks.submit('disk'), await tasks.submit('disk'), await tasks.submit('disk')];
    const held = await gate.holds(2);
    const filler = join(daemon.dataDir, 'filler');
    const free = statfsSync(daemon.dataDir);
    writeFileSync(filler, Buffer.alloc(Math.max(0, (free.bfree - 16) * free.bsize)));
    let refused;
    for (let n = 0; n < 200 && !refused; n++) {
        const answer = await tasks.api('POST', '/tasks', { model_id: 'disk', type: 'custom', input: { messages: [], text: 'x'.repeat(20_000) } });
        if (answer.status === 200) {
            ids.push(answer.json.data.id);
        } else {
            refused = answer;
        }
    }
    assert.equal(refused?.status, 503, refused?.text);
    assert.match(refused!.json.message, /read-only|full|no more/);
    const first = gate.asked.length;
    held.forEach((one) => one.answer()); // their ends cannot be stored
    assert.equal((await daemon.get('/health')).status, 503);
    assert.equal((await tasks.cancel(ids[2])).status, 503, 'nor can a cancel');
    const chat = daemon.chat('disk');
    const person = await until('the person to be served', () => gate.asked.slice(first).find((one) => one.id === 0));
    person.answer();
    assert.equal((await chat).status, 200, 'who only asks is answered');
    assert.deepEqual(gate.asked.slice(first).filter((one) => one.id !== 0), [], 'what cannot be claimed is not begun');
    assert.equal(await daemon.stop(), 0, daemon.log());
    rmSync(filler);
    gate.open = true;
    await daemon.launch();
    const there = await allEnded(tasks);
    assert.deepEqual([...there.values()].map((task) => [task.id, task.status]), ids.map((id) => [id, 'completed']), 'each that was accepted, and no other');
    assert.equal(await daemon.stop(), 0);
    umount();
    assert.ok(!existsSync(filler));
    await daemon.finish();
    gate.stop();
});

// ---- who goes first ----

test('300 tasks and a batch of 200 on two slots: no person waits behind work that had not begun', async () => {
    const next = random(seed + 3);
    const gate = await Gate.start();
    const daemon = await Daemon.start();
    const tasks = new Tasks(daemon);
    await gate.model(daemon, 'mixed', { max_workers: 8 }, { parallel: 2 });
    const openai = new OpenAI({ baseURL: `${daemon.url}/v1`, apiKey: 'unused', maxRetries: 0 });
    const lines = Array.from({ length: 200 }, (_, i) => JSON.stringify({ custom_id: `line-${i}`, method: 'POST', url: '/v1/chat/completions', body: { model: 'mixed', messages: [{ role: 'user', content: 'line' }] } }));
    const file = await openai.files.create({ file: await toFile(Buffer.from(`${lines.join('\n')}\n`), 'in.jsonl'), purpose: 'batch' });
    const batch = await openai.batches.create({ input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
    await gate.holds(2);
    const isLine = (one: Held) => JSON.stringify(one.body).includes('"line"');
    const ids = new Set<number>();
    await Promise.all(Array.from({ length: 10 }, async () => {
        for (let n = 0; n < 30; n++) {
            ids.add(await tasks.submit('mixed', { priority: 1 + n % 3 }));
        }
    }));
    const waiting = async (): Promise<number> => (await daemon.instances('mixed'))[0].waiting;
    let persons = 0;
    for (let step = 0; step < 40; step++) {
        for (let n = Math.floor(next() * 3); n > 0; n--) { // some work is done between
            (await gate.holds(2))[0].answer();
        }
        await gate.holds(2);
        const people = 2 + Math.floor(next() * 4);
        const from = gate.asked.length;
        const line = await until('the line to be still', async () => {
            const now = await waiting();
            return now === await waiting() && now > 0 && now;
        });
        const answers = Array.from({ length: people }, () => daemon.chat('mixed'));
        await until('berth to have them all', async () => await waiting() + gate.asked.length - from >= line + people);
        while (gate.asked.length < from + people) {
            const before = gate.asked.length;
            [...gate.held].find((one) => one.id !== 0)?.answer() ?? [...gate.held][0].answer();
            await until('the next to be asked for', () => gate.asked.length > before || gate.held.size === 0);
        }
        assert.deepEqual(gate.asked.slice(from, from + people).map((one) => one.id), Array(people).fill(0), `SEED=${seed}, step ${step}: no task is given to the engine before the ${people} persons`);
        [...gate.held].filter((one) => one.id === 0).forEach((one) => one.answer());
        for (const answer of await within('the answers', 20_000, Promise.all(answers))) {
            assert.equal(answer.status, 200, answer.text);
        }
        persons += people;
    }
    gate.open = true;
    gate.held.forEach((one) => one.answer());
    const there = await allEnded(tasks);
    assert.deepEqual([...there.values()].filter((task) => task.status !== 'completed'), []);
    assert.deepEqual(new Set(there.keys()), ids);
    const ended = await until('the batch to end', async () => {
        const now = await openai.batches.retrieve(batch.id);
        return now.status === 'completed' && now;
    }, 30_000);
    assert.deepEqual(ended.request_counts, { total: 200, completed: 200, failed: 0 });
    const order = gate.asked.filter((one) => one.id !== 0);
    const begunEarly = order.slice(0, order.findIndex((one) => !isLine(one))).length;
    const lastTask = order.findLastIndex((one) => !isLine(one));
    assert.ok(order.slice(begunEarly, lastTask).filter(isLine).length <= 8, 'and the batch waits for the tasks');
    assert.equal(gate.asked.filter((one) => one.id === 0).length, persons);
    askedOnce(order.map((one) => `${one.id}-${one.attempt}`));
    assert.deepEqual(await daemon.finish(), []);
    gate.stop();
});
