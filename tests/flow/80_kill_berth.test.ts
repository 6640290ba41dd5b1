// SPDX-License-Identifier: Apache-2.0
// kill -9 of berth at random moments, again and again in one data directory: between intent and spawn, while loading,
// mid-stream, while it recovers from the last time. SEED=n repeats a run, KILLS=n sets how many.
import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { test } from 'node:test';
import { Daemon, model, startTime } from './lib/daemon.ts';
import { ask, Raw } from './lib/http.ts';
import { llamaServer, quickstartGguf } from './lib/paths.ts';
import { alive, kill } from './lib/proc.ts';
import { pause, random, seedFromEnvironment, until } from './lib/wait.ts';

const kills = Number(process.env.KILLS ?? 50);
const ids = ['scripted', 'real'];

/** Streams that nobody waits for: they are cut with berth. */
async function openStreams(daemon: Daemon, n: number): Promise<void> {
    for (let i = 0; i < n; i++) {
        const body = JSON.stringify({ model: ids[i % 2], messages: [{ role: 'user', content: 'go' }], stream: true, scripted: { events: 1000, event_ms: 5 } });
        const raw = await Raw.open(daemon.target);
        raw.socket.on('data', () => {});
        raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${daemon.port}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    }
}

test(`${kills} random deaths: the same processes serve on, never two of one, no orphan`, { timeout: 600_000 }, async () => {
    const seed = seedFromEnvironment();
    const next = random(seed);
    const daemon = await Daemon.start();
    const retry = { retry_policy: { max_attempts: 10, initial_delay: 0, max_delay: 1, backoff_factor: 1.0 } };
    await daemon.up({ ...daemon.scripted('scripted', { load_ms: 30 }), ...retry });
    await daemon.up(model({ id: 'real', model_path: quickstartGguf, parameters: { binary: llamaServer }, ...retry }));

    for (let n = 0; n < kills; n++) {
        const action = ['start', 'stream', 'boot', 'restart', 'idle'][Math.floor(next() * 5)];
        const delay = next() * next() * 150;
        const where = `SEED=${seed}, death ${n} (${action}, ${delay.toFixed(1)} ms)`;
        const ignored = () => undefined;
        if (action === 'start') {
            await Promise.all(ids.map((id) => daemon.post(`/api/models/${id}/stop`)));
            await Promise.all(ids.map((id) => daemon.waitStatus(id, 'stopped')));
            ids.forEach((id) => void daemon.post(`/api/models/${id}/start`).catch(ignored));
        } else if (action === 'restart') {
            ids.forEach((id) => void daemon.post(`/api/models/${id}/restart`).catch(ignored));
        } else if (action === 'stream') {
            await openStreams(daemon, 6);
        } else if (action === 'boot') {
            await daemon.kill9();
            daemon.spawn();
        }
        await pause(delay);
        await daemon.kill9();

        const marks = await daemon.survivors(where);
        const survivors = new Map([...marks.keys()].map((pid) => [pid, startTime(pid)]));
        assert.equal(new Set(marks.values()).size, marks.size, `${where}: one process an instance`);
        await daemon.launch();
        for (const id of ids) {
            if (['stopped', 'error'].includes(await daemon.status(id))) {
                await daemon.post(`/api/models/${id}/start`); // its wish had not been committed
            }
        }
        const ready = await Promise.all(ids.map((id) => daemon.readyInstance(id).catch((error) => assert.fail(`${where}: ${error.message}`))));
        const serving = new Map(ready.map((one) => [one.pid, one.start_time]));
        assert.equal(serving.size, 2, `${where}: a process each`);
        if (action !== 'restart') { // there the old one may have been on its way out
            for (const [pid, started] of survivors) {
                assert.equal(serving.get(pid), started, `${where}: process ${pid} lived on and serves again`);
            }
        }
        assert.deepEqual(new Set(daemon.engines()), new Set(serving.keys()), `${where}: no copies, no orphans`);
        for (const id of ids) {
            const answer = await daemon.chat(id, { max_tokens: 4 });
            assert.equal(answer.status, 200, `${where}: ${id} answers: ${answer.text}`);
        }
    }

    const [scripted] = await daemon.instances('scripted');
    const size = statSync(scripted.log).size;
    await ask({ socketPath: scripted.socket }, { method: 'POST', path: '/scripted/log/1048576' });
    assert.ok(statSync(scripted.log).size - size >= 1_048_576, 'it can still log a megabyte');
    kill(scripted.pid);
    await until('its death to be seen', async () => (await daemon.instances('scripted')).every((one) => one.pid !== scripted.pid || one.state !== 'ready'), 5000);
    await daemon.readyInstance('scripted');
    assert.deepEqual(await daemon.finish(), [], 'nothing is left after a good end');
    assert.ok(!alive(scripted.pid, scripted.start_time));
});
