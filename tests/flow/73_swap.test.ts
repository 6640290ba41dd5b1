// SPDX-License-Identifier: Apache-2.0
// Models that cannot be resident together: taking turns, every race of a swap that a user can cause, too little memory at load, and
// kill -9 of berth in the middle. SEED=n repeats the kills, KILLS=n sets how many. (Thousands of these run in the simulated world: tests/sim.)
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { Cards, placeable } from './lib/cards.ts';
import type { Answer } from './lib/http.ts';
import { pause, random, seedFromEnvironment, until, within } from './lib/wait.ts';

let cards: Cards; // one card, on which one of two fits
let short: Cards; // on which an engine runs out of memory while it loads; what follows takes its time

before(async () => {
    [cards, short] = await Promise.all([Cards.start(1), Cards.start(1)]);
    const words = 'ggml_backend_cuda_buffer_type_alloc_buffer: allocating 450.00 MiB on device 0: cudaMalloc failed: out of memory';
    await short.define('grows', 400, 5, {}, { by_start: [{ exit_at_start: 1, last_words: words }, {}] });
    await short.schedule('grows');
});

beforeEach(() => cards.clear());

after(async () => {
    assert.deepEqual(await cards.daemon.finish(), []);
    assert.deepEqual(await short.daemon.finish(), []);
});

const ok = (answers: Answer[]): void => assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200], answers.find((answer) => answer.status !== 200)?.text);
const loads = (id: string): number => cards.marks(id, 'start').length;

/** How often what was served changed from one model to another. */
function turns(...ids: string[]): number {
    const served = ids.flatMap((id) => cards.marks(id, 'request').filter((one) => one.body?.includes('"model"')).map(({ clock_ms }) => ({ id, clock_ms })));
    served.sort((one, two) => one.clock_ms - two.clock_ms);
    return served.filter((one, i) => i > 0 && one.id !== served[i - 1].id).length;
}

test('A B A B A B ... at once: served in batches, with few loads, and everybody is answered', async () => {
    for (const id of ['a', 'b']) {
        await cards.define(id, 700, 5, { parameters: { parallel: 2 } }, { load_ms: 100 });
    }
    const watch = cards.watch();
    const began = Date.now();
    ok(await Promise.all(Array.from({ length: 60 }, (_, i) => cards.daemon.chat(i % 2 ? 'a' : 'b', { scripted: { first_ms: 40, events: 2 } }))));
    assert.ok(await watch.end() <= placeable);
    assert.deepEqual(['a', 'b'].map((id) => cards.marks(id, 'request').filter((one) => one.body?.includes('"model"')).length), [30, 30], 'each was asked once');
    // 0.6 s of work each: one change would do. Who has waited for a second may have a turn, and on a slow machine more of them do.
    const fair = 3 + Math.floor((Date.now() - began) / 1000);
    assert.ok(turns('a', 'b') <= fair, `${turns('a', 'b')} turns, not ${fair}`);
    assert.ok(loads('a') + loads('b') <= fair + 1, `${loads('a')} and ${loads('b')} loads`);
});

test('steady requests for one starve no other: it has its turn, and then the first one again', async () => {
    for (const id of ['a', 'b']) {
        await cards.define(id, 700, 5);
    }
    const swaps = async () => (await cards.history('a')).filter((entry) => entry.made_room_for === 'b');
    const earlier = (await swaps()).length; // of models that had these names before
    let go = true;
    const answers: Answer[] = [];
    const steady = Array.from({ length: 3 }, async () => {
        while (go) {
            answers.push(await cards.daemon.chat('a', { scripted: { first_ms: 30, events: 1 } }));
        }
    });
    await until('it to be busy', () => answers.length > 10);
    for (let round = 0; round < 2; round++) {
        ok([await within('a turn of b', 12_000, cards.daemon.chat('b', { scripted: { events: 1 } }))]);
        const before = answers.length;
        await until('a to be served again', () => answers.length > before + 10);
    }
    go = false;
    await Promise.all(steady);
    ok(answers);
    assert.ok(loads('a') <= 3 && loads('b') <= 2, `${loads('a')} and ${loads('b')} loads`);
    const swapped = await swaps();
    assert.equal(swapped.length - earlier, 2);
    assert.match(swapped[0].reason, /'b'/); // by turn, or in a moment between two requests
});

test('who waits for a model without room is refused when the queue\'s time is over, and not before', async () => {
    const own = await Cards.start(1, { gateway: { queue_timeout: '1500ms' } });
    await own.up('top', 700, 9);
    await own.define('low', 700, 3);
    const began = Date.now();
    const answer = await own.daemon.chat('low');
    assert.equal(answer.json.error.code, 'queue_timeout', answer.text);
    assert.match(answer.json.error.message, /waits for room on a device/);
    assert.ok(Date.now() - began >= 1490, `after ${Date.now() - began} ms`);
    assert.equal((await own.daemon.chat('top')).status, 200);
    assert.deepEqual(await own.daemon.finish(), []);
});

test('a request for a model that is just being moved aside is answered', async () => {
    await cards.up('low', 700, 3);
    await cards.define('top', 700, 9);
    const stream = await cards.stream('low', { events: 30, event_ms: 20 });
    await stream.read((text) => text.includes('data: '));
    await cards.schedule('top');
    await cards.daemon.waitState('low', 'draining');
    const late = cards.daemon.chat('low');
    await stream.readToEnd();
    assert.match(stream.text, /data: \[DONE\]/);
    await cards.daemon.waitStatus('top', 'running');
    await cards.stop('top');
    ok([await late]);
});

test('two loads at once where one fits: one runs, the other waits, and comes when it can', async () => {
    await cards.define('a', 700, 5);
    await cards.define('b', 700, 5);
    const watch = cards.watch();
    const both = await Promise.all([cards.schedule('a'), cards.schedule('b')]);
    assert.deepEqual(both.map((answer) => answer.json.outcome).sort(), ['placed', 'queued']);
    const [first, second] = both[0].json.success ? ['a', 'b'] : ['b', 'a'];
    await cards.daemon.waitStatus(first, 'running');
    assert.equal(await cards.daemon.status(second), 'queued');
    await cards.stop(first);
    await cards.daemon.waitStatus(second, 'running');
    assert.ok(await watch.end() <= placeable);
});

test('who asked first goes, but a person has started the model meanwhile: it keeps its place in the queue', async () => {
    const { daemon } = cards;
    await cards.up('top', 700, 9);
    for (const start of [false, true]) {
        await cards.define('low', 700, 3);
        const client = await cards.stream('low', {});
        await until('it to wait', async () => (await daemon.status('low')) === 'queued');
        if (start) {
            assert.equal((await daemon.post('/api/models/low/start')).status, 200);
        }
        client.close();
        if (start) {
            await pause(500); // it would go at the next decision
            assert.equal(await daemon.status('low'), 'queued');
        } else {
            await daemon.waitStatus('low', 'stopped');
        }
        await cards.remove('low');
    }
});

test('two loads at once where both fit: one after the other', async () => {
    for (const id of ['a', 'b', 'c']) {
        await cards.define(id, 200, 5, {}, { load_ms: 300 });
    }
    await Promise.all(['a', 'b', 'c'].map((id) => cards.schedule(id)));
    await Promise.all(['a', 'b', 'c'].map((id) => cards.daemon.waitStatus(id, 'running')));
    const starts = ['a', 'b', 'c'].map((id) => cards.marks(id, 'start')[0].clock_ms).sort((one, two) => one - two);
    assert.ok(starts[1] - starts[0] >= 300 && starts[2] - starts[1] >= 300, `each began when the one before was loaded: ${starts}`);
});

test('one that still loads makes room as well, at once, and comes back', async () => {
    const { daemon } = cards;
    await cards.define('loads', 700, 3, {}, { by_start: [{ load_ms: 600_000 }, {}] });
    await cards.schedule('loads');
    await until('its process', () => cards.marks('loads', 'start').length > 0);
    await cards.define('top', 700, 9);
    const watch = cards.watch();
    const waiting = daemon.chat('loads');
    const top = await cards.schedule('top');
    assert.deepEqual([top.json.success, top.json.preempted_models], [true, ['loads']], top.text);
    await daemon.waitStatus('top', 'running');
    assert.equal(await daemon.status('loads'), 'preempted');
    ok([await daemon.chat('top')]);
    await cards.stop('top');
    ok([await waiting]); // whose request came while it loaded first
    assert.ok(await watch.end() <= placeable);
    assert.equal(loads('loads'), 2);
});

test('the client goes while room is made for its model: nothing is left in line, and somebody runs', async () => {
    await cards.up('low', 700, 3);
    await cards.define('top', 700, 9);
    const work = await cards.stream('low', { events: 40, event_ms: 20 });
    await work.read((text) => text.includes('data: '));
    const client = await cards.stream('top', {});
    await cards.daemon.waitState('low', 'draining');
    client.close();
    await work.readToEnd();
    assert.match(work.text, /data: \[DONE\]/);
    await until('it to settle', async () => {
        const [low, top] = await Promise.all([cards.daemon.status('low'), cards.daemon.status('top')]);
        return `${low} ${top}` === 'running stopped' || `${low} ${top}` === 'preempted running';
    });
    const instances = [...await cards.daemon.instances('low'), ...await cards.daemon.instances('top')];
    assert.ok(instances.every((one) => one.waiting === 0 && one.in_flight === 0), JSON.stringify(instances));
    if (await cards.daemon.status('top') === 'running') {
        await cards.stop('top');
    }
    await cards.daemon.waitStatus('low', 'running');
});

for (const how of ['delete', 'stop', 'cancel']) {
    for (const when of ['while room is made for it', 'while it loads']) {
        test(`${how} ${when}: it leaves nothing, and who went for it comes back`, async () => {
            const { daemon } = cards;
            await cards.up('low', 700, 3);
            await cards.define('top', 700, 9, {}, { load_ms: 600_000 });
            const work = when === 'while it loads' ? undefined : await cards.stream('low', { events: 500, event_ms: 20 });
            await work?.read((text) => text.includes('data: '));
            await cards.schedule('top');
            await (work ? daemon.waitState('low', 'draining') : until('its process', () => cards.marks('top', 'start').length > 0));
            const answer = await (how === 'delete' ? daemon.ask({ method: 'DELETE', path: '/api/models/top' })
                : how === 'stop' ? daemon.post('/api/models/top/stop') : daemon.post('/api/v1/scheduler/models/top/cancel'));
            assert.equal(answer.status, 200, answer.text);
            work?.close();
            await daemon.waitStatus('low', 'running');
            ok([await daemon.chat('low')]);
            assert.equal(daemon.engines().length, 1);
            if (how !== 'delete') {
                assert.equal(await daemon.status('top'), 'stopped');
            }
            assert.deepEqual((await cards.ask('queue')).queue, []);
        });
    }
}

test('the victim is deleted while it drains: its place is free all the same', async () => {
    await cards.up('low', 700, 3);
    await cards.define('top', 700, 9);
    const work = await cards.stream('low', { events: 500, event_ms: 20 });
    await work.read((text) => text.includes('data: '));
    await cards.schedule('top');
    await cards.daemon.waitState('low', 'draining');
    assert.equal((await cards.daemon.ask({ method: 'DELETE', path: '/api/models/low' })).status, 200);
    work.close();
    await cards.daemon.waitStatus('top', 'running');
    ok([await cards.daemon.chat('top')]);
    assert.equal(cards.daemon.engines().length, 1);
});

const kills = Number(process.env.KILLS ?? 6);

test(`${kills} deaths of berth in the middle of a swap: it is completed or undone, never too much on a card, no orphan`, { timeout: 300_000 }, async () => {
    const seed = seedFromEnvironment();
    const next = random(seed);
    const own = await Cards.start(2);
    const { daemon } = own;
    await own.up('one', 700, 5, {}, { load_ms: 60 }, '100ms');
    await own.up('two', 700, 3, {}, { load_ms: 60 }, '100ms');
    await own.define('top', 700, 9, {}, { load_ms: 60 }, '100ms');
    for (let n = 0; n < kills; n++) {
        const how = ['schedule', 'chat', 'return'][Math.floor(next() * 3)];
        const delay = next() * 450;
        const where = `SEED=${seed}, death ${n} (${how}, ${delay.toFixed(1)} ms)`;
        if (how === 'return') {
            await own.schedule('top');
            await daemon.waitStatus('top', 'running');
            void daemon.post('/api/models/top/stop').catch(() => undefined);
        } else {
            void (how === 'chat' ? daemon.chat('top') : own.schedule('top')).catch(() => undefined);
        }
        const watch = own.watch();
        await pause(delay);
        await daemon.kill9();
        const marks = await daemon.survivors(where);
        assert.equal(new Set(marks.values()).size, marks.size, `${where}: one process an instance`);
        await daemon.launch();
        if (how === 'return') {
            await daemon.post('/api/models/top/stop'); // the wish may have been lost
        } else if (await daemon.status('top') === 'stopped') {
            await own.schedule('top');
        }
        const running = how === 'return' ? ['one', 'two'] : ['one', 'top'];
        for (const id of running) {
            await daemon.waitStatus(id, 'running').catch((error) => assert.fail(`${where}: ${error.message}`));
            assert.equal((await daemon.chat(id)).status, 200, `${where}: ${id}`);
        }
        const serving = await Promise.all(running.map((id) => daemon.readyInstance(id)));
        await until(`${where}: no others to be left`, () => daemon.engines().length === 2);
        assert.deepEqual(daemon.engines().sort(), serving.map((one) => one.pid).sort(), where);
        assert.ok(await watch.end() <= placeable, `${where}: more than may be placed on one card`);
        if (how !== 'return') {
            assert.match(await daemon.status('two'), /^(preempted|queued)$/, where);
            await own.stop('top');
            await daemon.waitStatus('two', 'running').catch((error) => assert.fail(`${where}: ${error.message}`));
        }
    }
    assert.deepEqual(await daemon.finish(), []);
});

test('out of memory while loading: placed anew with more, once, and no crash loop', async () => {
    const { daemon } = short;
    await daemon.waitStatus('grows', 'running', 40_000);
    assert.equal(short.marks('grows', 'start').length, 2, 'it was tried once more');
    assert.equal((await daemon.chat('grows')).status, 200);
    const [first, second] = await short.history('grows');
    assert.deepEqual([first.result, second.result], ['failed', 'success']);
    assert.match(first.reason, /out of memory.*450\.00 MiB/);
    const [instance] = await daemon.instances('grows') as any[];
    assert.ok(instance.place.devices[0].memory >= 450, `reserved: ${instance.place.devices[0].memory} MiB`);
    const events = (await daemon.get('/api/events?limit=1000', { accept: 'application/json' })).json.events;
    assert.ok(events.some((event: any) => event.kind === 'placement_failed' && /out of memory/.test(event.data.reason)));
});
