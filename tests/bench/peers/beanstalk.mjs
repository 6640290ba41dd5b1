// SPDX-License-Identifier: Apache-2.0
// A client of beanstalkd for the queue benchmark: node beanstalk.mjs put|work PORT COUNT CONNECTIONS. Puts COUNT jobs of 1 KB, one after
// the other on each connection, or reserves and deletes COUNT; prints one line of JSON with the time it took and the CPU it used.
import net from 'node:net';
import { cpuUsage } from 'node:process';

const [role, port, count, connections] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const put = 'put 1024 0 120 1000\r\n' + 'x'.repeat(1000) + '\r\n';

function open() {
    return new Promise((done, fail) => {
        const socket = net.connect(port, '127.0.0.1', () => done(socket));
        socket.setNoDelay(true);
        socket.setEncoding('latin1');
        socket.on('error', fail);
    });
}

/** Sends a command, gives the answer's first line once the answer is whole. */
function ask(socket, command) {
    return new Promise((done, fail) => {
        let text = '';
        const onData = (data) => {
            text += data;
            const end = text.indexOf('\r\n');
            const body = /^RESERVED \d+ (\d+)\r\n/.exec(text);
            if (end >= 0 && (!body || text.length >= end + 4 + Number(body[1]))) {
                socket.off('data', onData);
                /^(INSERTED|RESERVED|DELETED)/.test(text) ? done(text.slice(0, end)) : fail(new Error(text));
            }
        };
        socket.on('data', onData);
        socket.write(command);
    });
}

const sockets = await Promise.all(Array.from({ length: connections }, open));
let begun = 0;
async function client(socket) {
    while (begun < count) {
        begun++;
        if (role === 'put') {
            await ask(socket, put);
        } else {
            const answer = await ask(socket, 'reserve\r\n');
            await ask(socket, `delete ${answer.split(' ')[1]}\r\n`);
        }
    }
}
console.log('ready');
const cpu = cpuUsage();
const begin = process.hrtime.bigint();
await Promise.all(sockets.map(client));
const end = process.hrtime.bigint();
const us = Number(end - begin) / 1e3;
const { user, system } = cpuUsage(cpu);
console.log(JSON.stringify({ us, cpu_us: user + system, end_us: Number(end) / 1e3 }));
process.exit(0);
