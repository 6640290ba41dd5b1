// SPDX-License-Identifier: Apache-2.0
// Choosing instances by what was learnt of them, by session and by prompt; strategies of models; switching and removing under load.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Daemon, model, type ModelConfig } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start();
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

const put = (path: string, body?: unknown) => daemon.ask({ method: 'PUT', path, body, headers: body ? {} : { 'content-length': '0' } });
const use = (strategy: string, id?: string) => put(`/api/proxy/load-balance?strategy=${strategy}${id ? `&model_id=${id}` : ''}`);
const inUse = async (model: string) => (await daemon.get('/api/proxy/load-balance')).json.models[model];
const remove = (id: string) => daemon.ask({ method: 'DELETE', path: `/api/models/${id}?wait=1` });

/** So many instances, ready; behaviours by the order in which they start. */
async function up(id: string, replicas: number, behaviour: Record<string, unknown>, more: Partial<ModelConfig> & { strategy?: string } = {}, parallel = 4): Promise<void> {
    await daemon.create({ ...daemon.scripted(id, behaviour, { parallel }), replicas, ...more });
    await daemon.post(`/api/models/${id}/start`);
    await until(`${replicas} of ${id} to be ready`, async () => (await daemon.instances(id)).filter((one) => one.state === 'ready').length === replicas);
}

/** One streamed chat; the instance that answered. */
async function stream(id: string, extra: Record<string, unknown> = {}, headers: Record<string, string> = {}): Promise<string> {
    const answer = await daemon.post('/v1/chat/completions', {
        model: id, stream: true, stream_options: { include_usage: true }, messages: [{ role: 'user', content: 'Hello' }], ...extra,
    }, headers);
    assert.equal(answer.status, 200, answer.text);
    assert.match(answer.text, /\[DONE\]/);
    return String(answer.headers['x-berth-instance']);
}

const counts = (names: string[]) => [...new Set(names)].map((name) => names.filter((one) => one === name).length).sort((a, b) => b - a);

test('earliest completion learns which instance is faster, and tells of its predictions', async () => {
    await up('uneven', 2, { by_start: [{ event_ms: 2, events: 20 }, { event_ms: 15, events: 20 }] }, { strategy: 'earliest_completion' });
    assert.equal(await inUse('uneven'), 'earliest_completion');
    const asked = 90; // it believes in a difference only when that is no luck
    const used: string[] = [];
    for (let i = 0; i < asked; i++) {
        used.push(await stream('uneven', { max_tokens: 20 }));
    }
    const last = new Set(used.slice(-15));
    assert.equal(last.size, 1, `it has made up its mind: ${counts(used)}`);
    assert.equal(counts(used).length, 2, 'after it had tried both');
    const { targets } = (await daemon.get('/api/proxy/targets?model_id=uneven')).json;
    const [one, other] = targets.uneven;
    const [busy, idle] = one.total_requests > other.total_requests ? [one, other] : [other, one];
    assert.ok(busy.average_response_time < idle.average_response_time, 'it is the faster one');
    const predicted = (await daemon.get('/api/models/uneven/instances')).json.instances.map((instance: any) => instance.predicted);
    const [most, least] = predicted[0].learnt_from > predicted[1].learnt_from ? predicted : predicted.toReversed();
    assert.equal(most.learnt_from + least.learnt_from, asked);
    assert.ok(most.ms_per_output_token < least.ms_per_output_token, JSON.stringify(predicted));
    assert.ok(Math.abs(most.output_tokens - 20) < 2, JSON.stringify(predicted));
    assert.ok(most.low_ms <= most.high_ms && most.wait_ms === 0 && most.prefill_ms > 0);
    const metrics = (await daemon.get('/metrics')).text;
    assert.match(metrics, new RegExp(`berth_dispatch_decisions_total\\{strategy="earliest_completion"\\} ${asked}`));
    assert.match(metrics, new RegExp(`berth_prediction_ratio_count\\{model="uneven",of="whole"\\} ${asked}`));
    assert.match(metrics, new RegExp(`berth_prediction_ratio_count\\{model="uneven",of="first_token"\\} ${asked}`));
    await remove('uneven');
});

test('the strategy of a definition: its name is checked, it changes without a restart, what is set at run time goes before it', async () => {
    await up('named', 2, { events: 2 }, { strategy: 'round_robin' });
    const wrong = await daemon.post('/api/models/', { ...model(daemon.scripted('misnamed')), strategy: 'luck' });
    assert.equal(wrong.status, 400, wrong.text);
    assert.match(wrong.json.detail, /strategy: there is no strategy 'luck', only: .*round_robin/);
    assert.equal(await inUse('named'), 'round_robin');
    const names = await Promise.all([1, 2, 3, 4].map(() => stream('named')));
    assert.deepEqual(counts(names), [2, 2]);
    const engines = daemon.engines();
    const config = (await daemon.get('/api/models/named/config')).json;
    assert.equal(config.strategy, 'round_robin');
    assert.equal((await put('/api/models/named', { ...config, strategy: 'session_affinity' })).status, 200);
    assert.equal(await inUse('named'), 'session_affinity');
    assert.deepEqual(daemon.engines(), engines, 'no engine was replaced for that');
    assert.equal((await use('shortest_queue', 'named')).json.strategy, 'shortest_queue');
    assert.equal((await use('random')).json.strategy, 'random');
    assert.equal(await inUse('named'), 'shortest_queue');
    assert.equal((await use('default', 'named')).status, 200);
    assert.equal(await inUse('named'), 'random');
    assert.equal((await use('default')).json.strategy, 'least_outstanding_tokens');
    assert.equal(await inUse('named'), 'session_affinity');
    assert.equal((await use('random', 'nobody')).status, 404);
    assert.equal((await use('luck', 'named')).status, 400);
    const { strategies } = (await daemon.get('/api/proxy/load-balance')).json;
    assert.equal(strategies.length, 13);
    assert.ok(strategies.every((one: any) => one.name && one.description));
    await remove('named');
});

test('a definition in the file is checked as well', async () => {
    const other = await Daemon.prepare();
    other.configure({}, [{ ...other.scripted('misnamed'), strategy: 'luck' } as ModelConfig]);
    other.spawn();
    assert.notEqual(await other.waitExit(), 0);
    assert.match(other.log(), /berth\.yaml:\d+: model 1: .*there is no strategy 'luck', only: /);
    assert.deepEqual(other.reap(), []);
});

test('sessions have a home, and most keep it when an instance goes', async () => {
    await up('home', 3, { events: 2 }, { strategy: 'session_affinity' });
    const sessions = Array.from({ length: 30 }, (_, i) => ({ 'x-session-id': `person-${i}` }));
    const ask = async () => {
        const names: string[] = [];
        for (const headers of sessions) {
            names.push(await stream('home', {}, headers));
        }
        return names;
    };
    const first = await ask();
    assert.deepEqual(await ask(), first);
    assert.equal(new Set(first).size, 3, 'they are spread');
    const config = (await daemon.get('/api/models/home/config')).json;
    assert.equal((await put('/api/models/home', { ...config, replicas: 2 })).status, 200);
    await until('one to be gone', async () => (await daemon.instances('home')).length === 2);
    const left = new Set((await daemon.instances('home')).map((one) => one.id));
    const then = await ask();
    for (const [i, name] of then.entries()) {
        assert.ok(left.has(name));
        assert.ok(!left.has(first[i]) || name === first[i], `session ${i} moved for nothing`);
    }
    await remove('home');
});

test('a conversation goes where its beginning was read', async () => {
    await up('reader', 3, { events: 2 }, { strategy: 'prefix_affinity' });
    const talk = (who: string, turns: number) => [
        { role: 'system', content: 'You are terse.' },
        ...Array.from({ length: turns }, (_, i) => ({ role: i % 2 ? 'assistant' : 'user', content: `${who} ${i} `.repeat(60) })),
    ];
    const homes = await Promise.all(['ann', 'bob', 'cyn'].map((who) => stream('reader', { messages: talk(who, 3), scripted: { event_ms: 100 } })));
    assert.equal(new Set(homes).size, 3, 'asked at once they are spread');
    for (let turns = 5; turns < 15; turns += 2) {
        for (const [i, who] of ['cyn', 'ann', 'bob'].entries()) {
            assert.equal(await stream('reader', { messages: talk(who, turns) }), homes[(i + 2) % 3], `${who}, turn ${turns}`);
        }
    }
    await remove('reader');
});

test('strategies are switched under load: nothing is lost, every one of them works', async () => {
    await up('busy', 3, { by_start: [{ event_ms: 1, events: 5 }, { event_ms: 3, events: 5 }, { event_ms: 8, events: 5 }] });
    const names: string[] = (await daemon.get('/api/proxy/load-balance')).json.strategies.map((one: { name: string }) => one.name);
    let going = true;
    let done = 0;
    const client = async (n: number) => {
        while (going) {
            await stream('busy', { max_tokens: 5, messages: [{ role: 'user', content: `client ${n} `.repeat(80) }] }, { 'x-session-id': `${n}` });
            done++;
        }
    };
    const clients = Array.from({ length: 24 }, (_, n) => client(n));
    for (let round = 0; round < 2; round++) {
        for (const name of names) {
            const before = done;
            assert.equal((await use(name, round ? 'busy' : undefined)).status, 200);
            await until(`requests by ${name}`, () => done >= before + 60);
        }
    }
    going = false;
    await Promise.all(clients);
    const metrics = (await daemon.get('/metrics')).text;
    for (const name of names) {
        assert.match(metrics, new RegExp(`berth_dispatch_decisions_total\\{strategy="${name}"\\} [1-9]`));
    }
    const instances = await daemon.instances('busy');
    assert.deepEqual(instances.map((one) => [one.in_flight, one.waiting]), instances.map(() => [0, 0]));
    assert.equal((await use('default')).status, 200);
    await remove('busy');
});

test('instances are removed and added under load: no request fails', async () => {
    await up('changing', 3, { event_ms: 2, events: 5 }, { strategy: 'earliest_completion' }, 2);
    let going = true;
    let done = 0;
    const client = async () => {
        while (going) {
            await stream('changing', { max_tokens: 5 });
            done++;
        }
    };
    const clients = Array.from({ length: 12 }, client);
    const config = (await daemon.get('/api/models/changing/config')).json;
    for (const replicas of [1, 3, 2, 3]) {
        const before = done;
        assert.equal((await put('/api/models/changing', { ...config, replicas })).status, 200);
        await until(`${replicas} instances`, async () => {
            const all = await daemon.instances('changing');
            return all.length === replicas && all.every((one) => one.state === 'ready');
        });
        await until('requests meanwhile', () => done >= before + 50);
    }
    going = false;
    await Promise.all(clients);
    assert.deepEqual((await daemon.instances('changing')).map((one) => [one.in_flight, one.waiting]), [[0, 0], [0, 0], [0, 0]]);
    await remove('changing');
});
