// SPDX-License-Identifier: Apache-2.0
// Placement as its users see it, on made-up cards whose memory is held by live engines: who has to go for whom, in which order, what is
// told of it; and every way to be refused. The doors by themselves: 76_scheduler. Turns and races: 73_swap.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import { Cards, type Decision, placeable } from './lib/cards.ts';
import { Events, type SseEvent } from './lib/events.ts';
import { checkTraffic } from './lib/openapi.ts';
import { berthBin, llamaServer, quickstartGguf } from './lib/paths.ts';
import { until } from './lib/wait.ts';

let cards: Cards;

before(async () => {
    cards = await Cards.start(2);
});

beforeEach(() => cards.clear());

after(async () => {
    await checkTraffic(cards.daemon);
    assert.deepEqual(await cards.daemon.finish(), []);
});

/** The clock of the engines' records. */
const monotonicMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);
const short = (entry: Decision): string => `${entry.model_id} ${entry.action} ${entry.result}`;
/** The events of placement and of the engines' states, in their order: "boss model_placed", "draft draining". */
const told = (events: SseEvent[]): string[] => events.flatMap(({ event, data }) =>
    event === 'instance_state' ? [`${data.subject} ${data.data.to}`] : /^(model_(placed|preempted|swapped|recovered)|placement_failed)$/.test(event) ? [`${data.subject} ${event}`] : []);

function inOrder(wanted: string[], all: string[]): void {
    let at = -1;
    for (const one of wanted) {
        const next = all.indexOf(one, at + 1);
        assert.ok(next > at, `'${one}' after '${all[at] ?? 'the start'}' in:\n${all.join('\n')}`);
        at = next;
    }
}

/** The command line, in words. */
function berth(...args: string[]): Promise<{ code: number; out: string; err: string }> {
    return new Promise((done) => execFile(berthBin, args, { env: { ...cards.daemon.env, BERTH_DATA_DIR: cards.daemon.dataDir }, timeout: 20_000 },
        (error, out, err) => done({ code: error ? Number(error.code ?? -1) : 0, out, err })));
}

/** chat has a card, code and draft share the other; draft is the least of them. */
async function three(on = cards, linger = '0s'): Promise<void> {
    await on.up('chat', 700, 5);
    await on.up('code', 400, 5);
    await on.up('draft', 300, 3, {}, {}, linger);
    assert.deepEqual(await on.devicesOf('draft'), await on.devicesOf('code'));
}

for (const how of ['a person', 'a request']) {
    test(`${how} asks for a higher one: the right victim drains, its memory falls, the new one loads and answers; it goes, the victim returns`, async () => {
        const own = await Cards.start(2);
        const { daemon } = own;
        await own.define('boss', 400, 9);
        await three(own, how === 'a person' ? '10m' : '1s'); // what draft holds, it holds until we say so; or for a second
        const events = await Events.open(daemon, '', '?since=now');
        const watch = own.watch();
        const stream = await own.stream('draft', { events: 60, event_ms: 20 });
        await stream.read((text) => text.includes('data: '));

        const asked = how === 'a person'
            ? own.schedule('boss').then((answer) => assert.deepEqual([answer.json.success, answer.json.preempted_models], [true, ['draft']], answer.text))
            : daemon.chat('boss').then((answer) => assert.equal(answer.status, 200, answer.text));
        asked.catch(() => undefined); // it is looked at below
        await daemon.waitState('draft', 'draining');
        await stream.readToEnd();
        assert.match(stream.text, / 59[^]*data: \[DONE\]/, 'the stream that ran on the victim ended whole');
        await daemon.waitStatus('draft', 'preempted');
        if (how === 'a person') {
            await until('it to be told what boss waits for', async () => (await own.ask('resources')).gpu_allocation.some((card: any) => card.placement.held === 300) && /waits until .* is free/.test(await own.reason('boss')));
            assert.equal(own.marks('boss', 'start').length, 0);
            const fallsAt = monotonicMs();
            own.frees('draft');
            await daemon.waitStatus('boss', 'running');
            assert.ok(own.marks('boss', 'start')[0].clock_ms >= fallsAt, 'it began to load before the memory fell');
        }
        await asked;
        await daemon.waitStatus('boss', 'running');
        await until('both to be seen on its card', async () => (await own.used())[(await own.devicesOf('boss'))[0]] === 800);
        assert.ok(await watch.end() <= placeable, 'no card ever held more than may be placed');
        assert.equal((await daemon.chat('boss')).status, 200);
        assert.equal(await daemon.status('draft'), 'preempted');
        assert.deepEqual([await daemon.status('chat'), await daemon.status('code')], ['running', 'running']);

        await own.stop('boss');
        await daemon.waitStatus('draft', 'running');
        assert.equal((await daemon.chat('draft')).status, 200);

        await until('all of it to be in the history', async () => (await own.history()).every((entry) => entry.result === 'success' && entry.duration >= 0));
        const history = await own.history();
        assert.deepEqual(history.map(short), ['chat scheduled success', 'code scheduled success', 'draft scheduled success', 'draft preempted success', 'boss scheduled success', 'draft recovered success']);
        assert.equal(history[3].made_room_for, 'boss');
        assert.match(history[3].reason, /makes room for 'boss' \(priority 9 over 3\)/);

        await events.wait('the return', (all) => told(all).lastIndexOf('draft ready') > told(all).indexOf('draft model_recovered') && told(all).includes('draft model_recovered'));
        const all = told(events.all);
        inOrder(['draft model_preempted', 'draft draining', 'draft stopping', 'draft waiting', 'boss starting', 'boss ready', 'boss draining', 'draft model_recovered', 'draft starting', 'draft ready'], all);
        inOrder(['boss model_placed', 'boss starting'], all);
        inOrder(['boss gone', 'draft starting'], all);
        assert.ok(!all.some((one) => /^(chat|code) /.test(one)), `nobody else moved:\n${all.join('\n')}`);
        const event = events.all.find((one) => one.event === 'model_preempted')!;
        assert.equal(event.data.data.for, 'boss');
        assert.match(event.data.data.reason, /priority 9 over 3/);
        events.raw.close();
        assert.deepEqual(await daemon.finish(), []);
    });
}

test('the same with a real llama-server, which sees its card', async () => {
    const { daemon } = cards;
    const real = async (id: string, memory: number, priority: number): Promise<void> => {
        const file = join(daemon.dir, `${id}.gguf`);
        copyFileSync(quickstartGguf, file);
        cards.weighs(id, memory, '300ms');
        await daemon.create({ id, model_path: file, priority, parameters: { binary: llamaServer, parallel: 1 }, resource_requirements: { gpu_memory: memory } });
    };
    const visible = async (id: string): Promise<string | undefined> =>
        /CUDA_VISIBLE_DEVICES=([^\0]*)/.exec(readFileSync(`/proc/${(await daemon.readyInstance(id)).pid}/environ`, 'utf8'))?.[1];
    await Promise.all([real('one', 700, 5), real('two', 700, 3), real('top', 700, 8)]);
    for (const id of ['one', 'two']) {
        assert.equal((await cards.schedule(id)).json.success, true);
        await daemon.waitStatus(id, 'running');
    }
    const where = await visible('two');
    assert.deepEqual([await visible('one'), where].sort(), ['0', '1']);
    const answer = await daemon.chat('top', { max_tokens: 4 });
    assert.equal(answer.status, 200, answer.text);
    assert.equal(await daemon.status('two'), 'preempted');
    assert.equal(await visible('top'), where, 'it has the card of the one that went');
    await cards.stop('top');
    await daemon.waitStatus('two', 'running');
    assert.equal((await daemon.chat('two', { max_tokens: 4 })).status, 200);
    assert.equal(await visible('two'), where);
});

test('an engine that gave its memory back long before its process ended: who comes next does not wait for a fall that was', async () => {
    const own = await Cards.start(1);
    await own.up('stays', 100, 9);
    await own.up('slow', 600, 5, { health_check: { interval: 1 } }, { ignore_sigterm: true });
    await until('what it takes to be measured', async () => ((await own.daemon.instances('slow'))[0] as any).memory_taken?.devices[0]?.memory === 600);
    await own.define('next', 700, 9);
    await own.schedule('next');
    await own.daemon.waitState('slow', 'stopping');
    own.frees('slow');
    await until('it to be seen', async () => (await own.used())[0] === 100);
    assert.equal((await own.daemon.instances('slow'))[0].state, 'stopping', 'its process lives');
    await own.daemon.waitStatus('next', 'running', 10_000); // and not only after verify_timeout
    assert.deepEqual(await own.daemon.finish(), []);
});

test('preempted models come back by priority', async () => {
    await cards.up('low', 300, 2, { gpu_devices: [0] });
    await cards.up('mid', 300, 4, { gpu_devices: [0] });
    await cards.up('top', 800, 9, { gpu_devices: [0] });
    await cards.daemon.waitStatus('low', 'preempted');
    await cards.daemon.waitStatus('mid', 'preempted');
    await cards.up('next', 500, 8, { gpu_devices: [1] });
    await cards.define('also', 300, 3, { gpu_devices: [0] });
    await cards.schedule('also');
    assert.deepEqual((await cards.ask('queue')).queue.map((one: any) => [one.id, one.status]), [['mid', 'preempted'], ['also', 'queued'], ['low', 'preempted']]);
    await cards.stop('top');
    await cards.daemon.waitStatus('mid', 'running');
    await cards.daemon.waitStatus('also', 'running');
    assert.equal(await cards.daemon.status('low'), 'preempted', 'two of three fit: the higher ones');
    await cards.stop('also');
    await cards.daemon.waitStatus('low', 'running');
});

test('a pinned model is moved by nobody, not by force either', async () => {
    await cards.define('held', 700, 1, { pinned: true, gpu_devices: [0] }); // comes by itself
    const { pid } = await cards.daemon.readyInstance('held');
    await cards.define('top', 700, 10, { gpu_devices: [0] });
    for (const force of [false, true]) {
        const answer = await cards.schedule('top', { force });
        assert.deepEqual([answer.json.success, answer.json.outcome], [false, 'queued'], answer.text);
        assert.match(answer.json.message, /needs .* gpu0 could give/);
    }
    assert.equal((await cards.daemon.readyInstance('held')).pid, pid);
});

test('gpu_devices: this card and no other, though another is empty', async () => {
    await cards.up('there', 700, 5, { gpu_devices: [1] });
    assert.deepEqual(await cards.devicesOf('there'), [1]);
    await cards.define('also', 700, 5, { gpu_devices: [1] });
    const queued = await cards.schedule('also');
    assert.equal(queued.json.outcome, 'queued', queued.text);
    assert.deepEqual((await cards.used())[0], 0);
    await cards.define('both', 600, 6, { gpu_devices: [0, 1] });
    const both = await cards.schedule('both', { dry_run: true });
    assert.equal(both.json.success, true, both.text);
    assert.deepEqual(both.json.gpu_devices, [0, 1]);
    assert.deepEqual(both.json.preempted_models, ['there']);
});

test('one that fits on no single card is spread over the fewest', async () => {
    await cards.define('wide', 1400, 5);
    cards.weighs('wide', 700); // on each
    assert.equal((await cards.schedule('wide')).json.success, true);
    await cards.daemon.waitStatus('wide', 'running');
    assert.deepEqual(await cards.devicesOf('wide'), [0, 1]);
    const { pid } = await cards.daemon.readyInstance('wide');
    assert.match(readFileSync(`/proc/${pid}/environ`, 'utf8'), /CUDA_VISIBLE_DEVICES=0,1\0/);
    assert.deepEqual(cards.held(), [700, 700]);
});

test('allow_preemption=false: free room only, with the reason, also when time passes; then with it', async () => {
    await cards.up('one', 700, 2);
    await cards.up('two', 700, 2);
    await cards.define('top', 700, 9);
    const modest = await cards.schedule('top', { allow_preemption: false });
    assert.deepEqual([modest.json.success, modest.json.outcome], [false, 'queued'], modest.text);
    assert.match(modest.json.message, /preempt|move|aside/i);
    await cards.define('small', 90, 2); // a change after which everything was decided anew
    await cards.schedule('small');
    await cards.daemon.waitStatus('small', 'running');
    assert.equal(await cards.daemon.status('top'), 'queued');
    assert.equal((await cards.schedule('top')).json.success, true);
    await cards.daemon.waitStatus('top', 'running');
});

test('a dry run says who would move, for every kind of asking, and changes nothing', async () => {
    await three();
    await cards.define('boss', 400, 4);
    const before = { history: await cards.history(), queue: await cards.ask('queue'), pids: cards.daemon.engines().sort() };
    for (const [ask, success, moved] of [[{}, true, ['draft']], [{ priority: 3 }, false, []], [{ allow_preemption: false }, false, []], [{ priority: 10 }, true, ['draft']]] as const) {
        const { json } = await cards.schedule('boss', { ...ask, dry_run: true });
        assert.deepEqual([json.success, json.preempted_models, json.history_id], [success, moved, null], JSON.stringify([ask, json]));
        assert.ok(json.message.length > 10);
    }
    const { timestamp: _, ...queue } = await cards.ask('queue');
    const { timestamp: __, ...queueBefore } = before.queue;
    assert.deepEqual(queue, queueBefore);
    assert.deepEqual(await cards.history(), before.history);
    assert.deepEqual(cards.daemon.engines().sort(), before.pids);
    assert.equal((await cards.daemon.get('/api/models/boss/config')).json.priority, 4);
    assert.equal(await cards.daemon.status('boss'), 'stopped');
});

test('a model that is too big is refused in the same words by the API, the events and the command line', async () => {
    await cards.define('huge', 5000, 9, { gpu_devices: [0] });
    const answer = await cards.schedule('huge');
    assert.deepEqual([answer.json.success, answer.json.outcome], [false, 'failed'], answer.text);
    const sentence: string = answer.json.message;
    assert.match(sentence, /needs \d.* gpu0/);
    const [failed] = await until('the failure in the history', async () => {
        const all = await cards.history('huge');
        return all.length > 0 && all;
    });
    assert.deepEqual([failed.action, failed.result, failed.reason], ['failed', 'failed', sentence]);
    const list = (await cards.daemon.get('/api/events?limit=1000&newest=1', { accept: 'application/json' })).json.events;
    const event = list.findLast((one: any) => one.kind === 'placement_failed' && one.subject === 'huge');
    assert.equal(event.data.reason, sentence);
    assert.equal(await cards.reason('huge'), sentence);
    assert.ok((await berth('queue')).out.includes(sentence));
    assert.ok((await berth('why', 'huge')).out.startsWith(`huge: ${sentence}`));
    assert.equal((await cards.ask('why/huge')).sentence, sentence);
    const chat = await cards.daemon.ask({ method: 'POST', path: '/v1/chat/completions', body: { model: 'huge', messages: [{ role: 'user', content: 'x' }] }, timeoutMs: 1000 }).catch(() => undefined);
    assert.ok(!chat || chat.status >= 500, 'it is never answered');
    await cards.up('small', 100, 1, { gpu_devices: [0] }); // and it keeps nothing from the others
    assert.equal((await cards.history('huge')).length, 1, 'it is recorded once');
});

test('equals never move each other unless requests wait', async () => {
    await cards.up('one', 700, 5);
    await cards.up('two', 700, 5);
    const pids = cards.daemon.engines().sort();
    await cards.define('third', 700, 5);
    assert.equal((await cards.schedule('third')).json.outcome, 'queued');
    assert.equal((await cards.schedule('third', { force: true })).json.outcome, 'queued', 'by force neither');
    await cards.up('small', 90, 5); // a change after which everything was decided anew
    assert.deepEqual(pids.filter((pid) => !cards.daemon.engines().includes(pid)), []);
    assert.equal((await cards.daemon.chat('third')).status, 200, 'a request has it come');
    assert.equal((await cards.history()).filter((entry) => entry.made_room_for === 'third').length, 1);
});

test('memory that is held by others counts, and when they go, who waited comes', async () => {
    cards.cards[0] = { memory_used: '600MiB' };
    cards.script();
    await until('it to be seen', async () => (await cards.used())[0] === 600);
    await cards.define('one', 300, 5, { gpu_devices: [0] });
    const answer = await cards.schedule('one');
    assert.equal(answer.json.outcome, 'queued', answer.text);
    assert.match(answer.json.message, /gpu0/);
    const why = await cards.ask('why/one');
    assert.ok(JSON.stringify(why).includes(String(600 * 1024 * 1024)) || /600/.test(JSON.stringify(why)), JSON.stringify(why));
    cards.cards[0] = {};
    cards.script();
    await cards.daemon.waitStatus('one', 'running');
});

test('a card vanishes under a model: nothing new goes there; back, it is used again', async () => {
    const { daemon } = cards;
    await cards.up('gone', 700, 5, { gpu_devices: [1] });
    cards.cards[1] = { present: false };
    cards.script();
    await until('it to be seen', async () => (await cards.used()).length === 1);
    await cards.define('named', 300, 9, { gpu_devices: [1] });
    const named = await cards.schedule('named');
    assert.equal(named.json.success, false, named.text);
    assert.match(named.json.message, /not there|no such|gpu1|device/);
    process.kill((await daemon.instances('gone'))[0].pid, 'SIGKILL'); // as engines do without their card
    await until('it to wait', async () => (await daemon.status('gone')) === 'queued');
    await cards.up('free', 700, 2);
    assert.deepEqual(await cards.devicesOf('free'), [0], 'what does not name it goes elsewhere');
    cards.cards[1] = {};
    cards.script();
    await daemon.waitStatus('named', 'running');
    assert.deepEqual(await cards.devicesOf('named'), [1]);
    await cards.stop('named');
    await daemon.waitStatus('gone', 'running');
    assert.equal((await daemon.chat('gone')).status, 200);
});

test('auto_recovery off: what was moved aside stays aside, until a request or a person wants it', async () => {
    await cards.policy({ auto_recovery_enabled: false });
    for (const how of ['request', 'person']) {
        await cards.up('low', 700, 2, { gpu_devices: [0] });
        await cards.up('top', 700, 9, { gpu_devices: [0] });
        await cards.stop('top');
        await until('the reason to be told', async () => /recovery/.test(await cards.reason('low')));
        if (how === 'request') {
            assert.equal((await cards.daemon.chat('low')).status, 200);
        } else {
            assert.equal((await cards.schedule('low')).json.success, true);
        }
        await cards.daemon.waitStatus('low', 'running');
        await Promise.all([cards.remove('low'), cards.remove('top')]);
    }
});

test('what was moved aside is so still after berth was killed, and comes back', async () => {
    const own = await Cards.start(1);
    await own.up('low', 700, 2);
    await own.up('top', 700, 9);
    const { pid } = await own.daemon.readyInstance('top');
    await own.policy({ auto_recovery_enabled: false });
    for (const how of ['killed', 'stopped']) {
        await (how === 'killed' ? own.daemon.kill9() : own.daemon.stop());
        await own.daemon.launch();
        await own.daemon.waitStatus('top', 'running');
        assert.equal((await own.daemon.readyInstance('top')).pid === pid, how === 'killed', 'an engine that lives is kept where it is');
        await own.daemon.waitStatus('low', 'preempted');
        assert.deepEqual((await own.ask('queue')).queue.map((one: any) => [one.id, one.status]), [['low', 'preempted']]);
    }
    await own.stop('top');
    await until('the reason', async () => /recovery/.test(await own.reason('low')));
    await own.policy({ auto_recovery_enabled: true });
    await own.daemon.waitStatus('low', 'running');
    await until('the return to be told', async () => (await own.history('low')).at(-1)?.action === 'recovered');
    assert.deepEqual(await own.daemon.finish(), []);
});

test('ten preemptions an hour unless it is set otherwise, also after berth was killed', async () => {
    const strict = await Cards.start(2, { placement: { max_preemptions_per_hour: 10 } });
    const small = Array.from({ length: 10 }, (_, i) => `s${i}`);
    for (const id of small) {
        await strict.define(id, 80, 2, { gpu_devices: [0], autostart: false });
    }
    await Promise.all(small.map((id) => strict.schedule(id)));
    await Promise.all(small.map((id) => strict.daemon.waitStatus(id, 'running')));
    await strict.up('last', 700, 2, { gpu_devices: [1] });
    await strict.up('big', 800, 9, { gpu_devices: [0] });
    assert.equal((await strict.history()).filter((entry) => entry.action === 'preempted').length, 10);
    await strict.define('more', 700, 9, { gpu_devices: [1] });
    const refused = await strict.schedule('more');
    assert.equal(refused.json.outcome, 'queued', refused.text);
    assert.match(refused.json.message, /10.* an hour|an hour.*10|hour/);
    await strict.daemon.kill9();
    await strict.daemon.launch();
    await until('the reason again', async () => /hour/.test(await strict.reason('more')));
    assert.equal(await strict.daemon.status('last'), 'running');
    assert.deepEqual(await strict.daemon.finish(), []);
});
