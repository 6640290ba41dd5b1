// SPDX-License-Identifier: Apache-2.0
// What berth tells of waiting against what waiting is, at three known rates of service: the Retry-After of a refused request, and the
// expected wait that a queued one is told, agree with the realised wait within a factor of two. Prints the table that docs/manual quotes.
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { until } from './lib/wait.ts';

interface Told {
    status: number;
    headers: http.IncomingHttpHeaders;
    queuedMs: number; // until its first byte that is an answer's
}

function chat(daemon: Daemon, ms: number): Promise<Told> {
    const body = JSON.stringify({ model: 'paced', messages: [{ role: 'user', content: 'go' }], scripted: { first_ms: ms, events: 1 } });
    return new Promise((done, fail) => {
        const call = http.request({ ...daemon.target, agent: false, method: 'POST', path: '/v1/chat/completions', headers: { 'content-type': 'application/json', 'content-length': String(body.length) } }, (response) => {
            response.resume();
            response.on('end', () => done({ status: response.statusCode!, headers: response.headers, queuedMs: Number(response.headers['x-berth-queue-ms'] ?? 0) }));
        });
        call.on('error', fail);
        call.end(body);
    });
}

const rows: string[] = [];

for (const { serviceMs, slots, line } of [{ serviceMs: 1000, slots: 1, line: 4 }, { serviceMs: 400, slots: 2, line: 20 }, { serviceMs: 100, slots: 4, line: 120 }]) {
    const rate = (slots * 1000) / serviceMs;

    test(`${rate} requests a second, ${line} in line: told and realised waits agree within a factor of two`, { timeout: 120_000 }, async () => {
        const daemon = await Daemon.start({ config: { gateway: { max_queue: line, queue_timeout: '120s' } } });
        await daemon.up(daemon.scripted('paced', {}, { parallel: slots }));
        await Promise.all(Array.from({ length: slots * 6 }, () => chat(daemon, serviceMs))); // it has measured its rate

        const room = slots + 1;
        const queued = Array.from({ length: room + line }, () => chat(daemon, serviceMs));
        await until('the line to be full', async () => (await daemon.instances('paced'))[0].waiting === line);
        const refused = await chat(daemon, serviceMs);
        assert.equal(refused.status, 429);
        const toldMs = Number(refused.headers['retry-after-ms']);
        assert.equal(Number(refused.headers['retry-after']), Math.ceil(toldMs / 1000));
        const answers = await Promise.all(queued);
        assert.deepEqual([...new Set(answers.map((answer) => answer.status))], [200]);
        // Who stood last in line waited as long as the refused one would have had to.
        const realisedMs = Math.max(...answers.map((answer) => answer.queuedMs));
        rows.push(`| ${rate}/s | ${line} | ${(toldMs / 1000).toFixed(1)} s | ${(realisedMs / 1000).toFixed(1)} s | ${(toldMs / realisedMs).toFixed(2)} |`);
        assert.ok(toldMs / realisedMs > 0.5 && toldMs / realisedMs < 2, `told ${toldMs} ms, realised ${realisedMs} ms`);
        assert.deepEqual(await daemon.finish(), []);
    });
}

test('the table', () => {
    console.log(['| served | in line | told | realised | told : realised |', '|---|---|---|---|---|', ...rows].join('\n'));
    assert.equal(rows.length, 3);
});
