// SPDX-License-Identifier: Apache-2.0
// Several addresses at once, all serving the same; and what berth refuses to start with.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import net from 'node:net';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { Daemon, freePort } from './lib/daemon.ts';
import { ask } from './lib/http.ts';
import { berthBin } from './lib/paths.ts';

function isFree(port: number): Promise<boolean> {
    return new Promise((done) => {
        const server = net.createServer();
        server.once('error', () => done(false));
        server.listen(port, '127.0.0.1', () => server.close(() => done(true)));
    });
}

async function serveOn(ports: number[]): Promise<void> {
    const daemon = await Daemon.prepare();
    daemon.port = ports[0];
    daemon.configure({ server: { listen: ports.map((port) => `127.0.0.1:${port}`) } });
    await daemon.launch();
    await daemon.up(daemon.scripted('one'));
    for (const port of ports) {
        const target = { host: '127.0.0.1', port };
        const body = { model: 'one', messages: [{ role: 'user', content: 'Hello' }] };
        assert.equal((await ask(target, { path: '/health' })).json.status, 'healthy', `port ${port}`);
        assert.equal((await ask(target, { path: '/', headers: { accept: 'application/json' } })).json.data.status, 'running');
        assert.deepEqual((await ask(target, { path: '/api/models/' })).json.map((one: { id: string }) => one.id), ['one']);
        assert.equal((await ask(target, { path: '/api/proxy/targets' })).json.total_models, 1);
        const chat = await ask(target, { method: 'POST', path: '/v1/chat/completions', body });
        assert.equal(chat.status, 200, chat.text);
        const stream = await ask(target, { method: 'POST', path: '/v1/chat/completions', body: { ...body, stream: true } });
        assert.match(stream.text, /\[DONE\]/);
    }
    const { requests } = (await ask({ host: '127.0.0.1', port: ports[4] }, { path: '/api/proxy/requests/history' })).json;
    assert.equal(requests.length, 2 * ports.length, 'one account for all of them');
    assert.deepEqual(await daemon.finish(), []);
    for (const port of ports) {
        assert.ok(await isFree(port), `${port} is free again`);
    }
}

test('five addresses at once serve the same', async () => {
    const ports: number[] = [];
    while (ports.length < 5) {
        const port = await freePort();
        if (!ports.includes(port)) {
            ports.push(port);
        }
    }
    await serveOn(ports);
});

test('the ports of the programs that berth stands in for, all five', async (context) => {
    const ports = [8000, 8001, 8080, 8102, 3000];
    const free = await Promise.all(ports.map(isFree));
    if (free.includes(false)) {
        context.skip(`in use: ${ports.filter((_, i) => !free[i])}`);
        return;
    }
    await serveOn(ports);
});

test('an address in use is refused by name, and nothing is left behind', async () => {
    const [taken, other] = [await freePort(), await freePort()];
    const server = net.createServer().listen(taken, '127.0.0.1');
    const daemon = await Daemon.prepare();
    daemon.configure({ server: { listen: [`127.0.0.1:${other}`, `127.0.0.1:${taken}`] } });
    daemon.spawn();
    assert.notEqual(await daemon.waitExit(), 0);
    assert.match(daemon.log(), new RegExp(`127\\.0\\.0\\.1:${taken}`));
    server.close();
    daemon.reap();
});

interface Refusal {
    what: string;
    config?: Record<string, any>;
    environment?: Record<string, string>;
    says: RegExp;
}

// What the programs that berth stands in for keep their data in: each is refused with its own name, none is quietly replaced.
const refusals: Refusal[] = [
    { what: 'a MySQL section', config: { database: { host: 'localhost', port: 3306, username: 'llm_user', password: 'geheim', database: 'llm_scheduler' } }, says: /database\.host \(.*berth\.yaml:\d+\)/ },
    { what: 'a MySQL driver', config: { database: { driver: 'mysql' } }, says: /database\.driver \(.*berth\.yaml:\d+\)/ },
    { what: 'a PostgreSQL driver', config: { database: { driver: 'postgres' } }, says: /database\.driver/ },
    { what: 'a Redis section', config: { redis: { host: 'localhost', port: 6379, db: 0 } }, says: /redis\.host .*Redis/ },
    { what: 'DB_HOST', environment: { DB_HOST: 'localhost' }, says: /DB_HOST \(environment\).*env -u/ },
    { what: 'DB_DRIVER', environment: { DB_DRIVER: 'mysql' }, says: /DB_DRIVER/ },
    { what: 'DATABASE_URL of MySQL', environment: { DATABASE_URL: 'mysql://u:geheim@db/x' }, says: /DATABASE_URL/ },
    { what: 'DATABASE_URL of PostgreSQL', environment: { DATABASE_URL: 'postgresql://u:geheim@db/x' }, says: /DATABASE_URL/ },
    { what: 'REDIS_HOST', environment: { REDIS_HOST: 'localhost' }, says: /REDIS_HOST.*Redis/ },
    { what: 'REDIS_URL', environment: { REDIS_URL: 'redis://:geheim@r:6379/0' }, says: /REDIS_URL/ },
];

for (const { what, config = {}, environment = {}, says } of refusals) {
    test(`refused at start and by config check: ${what}`, async () => {
        const daemon = await Daemon.prepare({ config, environment });
        daemon.spawn();
        assert.notEqual(await daemon.waitExit(), 0, 'it does not start');
        const lines = daemon.log().trim().split('\n');
        assert.equal(lines.length, 1, `one sentence: ${daemon.log()}`);
        assert.match(lines[0], says);
        assert.match(lines[0], /SQLite in its data directory/, 'what there is instead');
        assert.ok(!lines[0].includes('geheim'), 'no password');
        const checked = await promisify(execFile)(berthBin, ['config', 'check', daemon.configFile], { env: daemon.env }).catch((error) => error);
        assert.notEqual(checked.code ?? 0, 0);
        assert.match(checked.stderr, says, 'config check says the same');
        daemon.reap();
    });
}

test('what names SQLite, or nothing, is accepted', async () => {
    const daemon = await Daemon.start({ config: { database: { driver: 'sqlite' } }, environment: { DATABASE_URL: 'sqlite:///./x.db', REDIS_HOST: '', DB_HOST: 'somebody-elses' } });
    const health = (await daemon.get('/health')).json;
    assert.deepEqual([health.database, health.redis], ['ok', 'disabled']);
    await daemon.finish();
});
