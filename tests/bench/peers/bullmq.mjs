// SPDX-License-Identifier: Apache-2.0
// BullMQ's side of the queue benchmark: node bullmq.mjs add|work PORT COUNT [IN_FLIGHT]. Adds COUNT jobs of 1 KB, or works COUNT off
// with a processor that does nothing; prints one line of JSON with the time it took and the CPU it used.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { cpuUsage, cwd } from 'node:process';

const { Queue, Worker } = createRequire(join(cwd(), 'x.js'))('bullmq');
const [role, port, count, inFlight] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const connection = { host: '127.0.0.1', port, maxRetriesPerRequest: null };
const payload = { input: 'x'.repeat(1000) };

/** Only what happens in the measured time: loading the library is not counted. */
async function measured(work) {
    const cpu = cpuUsage();
    const begin = process.hrtime.bigint();
    await work();
    const end = process.hrtime.bigint();
    const us = Number(end - begin) / 1e3;
    const { user, system } = cpuUsage(cpu);
    console.log(JSON.stringify({ us, cpu_us: user + system, end_us: Number(end) / 1e3 }));
}

async function add() {
    const queue = new Queue('bench', { connection });
    await queue.waitUntilReady();
    let sent = 0;
    const client = async () => {
        while (sent < count) {
            sent++;
            await queue.add('task', payload);
        }
    };
    await measured(() => Promise.all(Array.from({ length: inFlight }, client)));
    await queue.close();
}

async function work() {
    let ended = 0;
    let done;
    const all = new Promise((resolve) => (done = resolve));
    const worker = new Worker('bench', async () => undefined, { connection, concurrency: inFlight, autorun: false });
    worker.on('completed', () => ++ended === count && done());
    worker.on('error', (error) => console.error(error.message));
    await worker.waitUntilReady();
    console.log('ready');
    await measured(async () => {
        worker.run();
        await all;
    });
    await worker.close(true);
}

await (role === 'add' ? add() : work());
process.exit(0);
