// SPDX-License-Identifier: Apache-2.0
// berth dies without a word; its engines live on and serve again, the same processes, when it is back.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { busySlots, Daemon, type Instance, model, recorded } from './lib/daemon.ts';
import { ask, Raw } from './lib/http.ts';
import { llamaServer, loopGguf, quickstartGguf, scriptedEngine } from './lib/paths.ts';
import { alive, kill, marked } from './lib/proc.ts';
import { until } from './lib/wait.ts';

function same(a: Instance, b: Instance): void {
    assert.deepEqual({ pid: b.pid, start_time: b.start_time, id: b.id }, { pid: a.pid, start_time: a.start_time, id: a.id });
}

test('B.16 13: the same process serves after kill -9 of berth; its later death is seen within a second; it can still log', async () => {
    const daemon = await Daemon.start();
    const record = join(daemon.dir, 'record');
    const scripted = await daemon.up(daemon.scripted('scripted', { record }));
    const real = await daemon.up(model({ id: 'real', model_path: quickstartGguf, parameters: { binary: llamaServer } }));
    await daemon.kill9();
    assert.ok(alive(scripted.pid, scripted.start_time) && alive(real.pid, real.start_time), 'engines outlive berth');
    await daemon.launch();
    same(scripted, await daemon.readyInstance('scripted'));
    same(real, await daemon.readyInstance('real'));
    assert.equal((await daemon.chat('scripted')).status, 200);
    assert.ok((await daemon.chat('real')).json.choices[0].message.content.length > 20);
    assert.equal(recorded(record).filter((line) => line.mark === 'start').length, 1, 'it was started once');

    const size = statSync(scripted.log).size;
    const logged = await ask({ socketPath: scripted.socket }, { method: 'POST', path: '/scripted/log/1048576' });
    assert.equal(logged.status, 200);
    assert.ok(statSync(scripted.log).size - size >= 1_048_576, 'a megabyte more stands in its log');
    assert.ok(alive(scripted.pid, scripted.start_time));

    for (const instance of [scripted, real]) {
        const id = instance === real ? 'real' : 'scripted';
        kill(instance.pid);
        await until(`the death of ${id} to be seen`, async () => {
            const now = await daemon.instances(id);
            return now.every((one) => one.pid !== instance.pid || one.state !== 'ready');
        }, 1000);
        assert.notEqual((await daemon.readyInstance(id)).pid, instance.pid);
        assert.equal((await daemon.chat(id)).status, 200);
    }
    assert.deepEqual(await daemon.finish(), [], 'SIGTERM ends what was adopted as well');
});

test('an engine that is still loading is adopted too', async () => {
    const daemon = await Daemon.start();
    const record = join(daemon.dir, 'record');
    await daemon.create(daemon.scripted('slow', { load_ms: 1500, record }));
    await daemon.post('/api/models/slow/start');
    const pid = await until('its process', async () => (await daemon.instances('slow'))[0]?.pid || undefined);
    await until('it to have begun', () => recorded(record).length > 0);
    await daemon.kill9();
    await daemon.launch();
    assert.equal((await daemon.readyInstance('slow')).pid, pid);
    assert.equal(recorded(record).filter((line) => line.mark === 'start').length, 1);
    assert.deepEqual(await daemon.finish(), []);
});

test('streams that berth took down free their slots', async () => {
    const daemon = await Daemon.start();
    const instance = await daemon.up(model({ id: 'loop', model_path: loopGguf, parameters: { binary: llamaServer, parallel: 2 } }));
    const body = JSON.stringify({ model: 'loop', messages: [{ role: 'user', content: 'go' }], stream: true, max_tokens: 100_000 });
    const raw = await Raw.open(daemon.target);
    raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await raw.read((text) => text.split('data: ').length > 5);
    await daemon.kill9();
    assert.ok(!(await raw.readToEnd()).endsWith('0\r\n\r\n'), 'the client can see that its answer is not whole');
    await daemon.launch();
    same(instance, await daemon.readyInstance('loop'));
    await until('the slot to be free', async () => (await busySlots(instance)) === 0, 5000);
    assert.equal((await daemon.chat('loop', { max_tokens: 4 })).status, 200);
    assert.deepEqual(await daemon.finish(), []);
});

test('what is not wanted any more is ended at the next start: changed or removed models, stray marks', async () => {
    const daemon = await Daemon.prepare();
    const script = daemon.behaviour('engine', {});
    const one = { id: 'one', model_path: script, autostart: true, parameters: { binary: scriptedEngine, parallel: 2 } };
    const two = { id: 'two', model_path: script, autostart: true, parameters: { binary: scriptedEngine } };
    daemon.configure({}, [one, two]);
    await daemon.launch();
    const first = await daemon.readyInstance('one');
    const second = await daemon.readyInstance('two');
    await daemon.kill9();
    daemon.configure({}, [{ ...one, parameters: { ...one.parameters, parallel: 3 } }]);
    await daemon.launch();
    const next = await daemon.readyInstance('one');
    assert.notEqual(next.pid, first.pid, 'a changed definition gets a new process');
    assert.ok(!alive(first.pid, first.start_time), 'the old one is gone before');
    await until('the engine of the removed model to end', () => !alive(second.pid, second.start_time), 15_000);
    assert.deepEqual(daemon.engines(), [next.pid]);
    assert.deepEqual(await daemon.finish(), []);
});

test('an engine that died while berth was away is started anew', async () => {
    const daemon = await Daemon.start();
    const instance = await daemon.up(daemon.scripted('one'));
    await daemon.kill9();
    kill(instance.pid);
    await until('it to be gone', () => !alive(instance.pid, instance.start_time));
    await daemon.launch();
    assert.notEqual((await daemon.readyInstance('one')).pid, instance.pid);
    assert.equal((await daemon.chat('one')).status, 200);
    assert.deepEqual(await daemon.finish(), []);
});

test('two daemons with directories of their own leave each other\'s engines alone', async () => {
    const a = await Daemon.start();
    const b = await Daemon.start();
    const of_a = await a.up(a.scripted('one'));
    await b.up(b.scripted('one'));
    await b.kill9();
    await b.launch();
    await b.readyInstance('one');
    same(of_a, await a.readyInstance('one'));
    assert.notEqual(a.id, b.id);
    assert.equal(marked(a.id).size, 1);
    assert.deepEqual(await b.finish(), []);
    assert.ok(alive(of_a.pid, of_a.start_time));
    assert.deepEqual(await a.finish(), []);
});
