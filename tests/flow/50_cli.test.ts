// SPDX-License-Identifier: Apache-2.0
// The command line: every command does what its help says, speaks JSON when asked, and its exit code can be trusted.
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { berthBin } from './lib/paths.ts';
import { alive } from './lib/proc.ts';
import { until } from './lib/wait.ts';

let daemon: Daemon;

before(async () => {
    daemon = await Daemon.start();
    await daemon.create(daemon.scripted('one'));
});

after(async () => {
    assert.deepEqual(await daemon.finish(), []);
});

interface Run {
    code: number;
    out: string;
    err: string;
    json: any;
}

/** On a daemon of its own, with one made-up device. */
async function withCard(test: (card: Daemon, run: (...args: string[]) => Promise<Run>) => Promise<void>): Promise<void> {
    const card = await Daemon.prepare({ config: { gpu: { scripted: 'devices.yaml', interval: '100ms' }, placement: { min_residency: '0s', return_after: '0s' } } });
    const holders = ['low', 'high', 'huge'].map((id) => ({ command: `/${id}.json`, memory: '600MiB' }));
    writeFileSync(join(card.dir, 'devices.yaml'), JSON.stringify({ devices: [{ name: 'Card', vendor: 'nvidia', memory_total: '1000MiB', holders }] }));
    await card.launch();
    await test(card, (...args) => berth(args, { BERTH_DATA_DIR: card.dataDir }));
    assert.deepEqual(await card.finish(), []);
}

function berth(args: string[], environment: Record<string, string> = {}, timeout = 20_000): Promise<Run> {
    return new Promise((done) => {
        const env = { ...daemon.env, BERTH_DATA_DIR: daemon.dataDir, ...environment };
        execFile(berthBin, args, { env, encoding: 'utf8', timeout, cwd: daemon.dir }, (error, out, err) => {
            let json: any;
            try {
                json = JSON.parse(out);
            } catch {
                json = undefined;
            }
            done({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, out, err, json });
        });
    });
}

test('help names every command, and each has its own', async () => {
    const help = await berth(['help']);
    assert.equal(help.code, 0, help.err);
    for (const command of ['serve', 'ps', 'models', 'load', 'stop', 'rm', 'logs', 'events', 'queue', 'why', 'history', 'policy', 'gpus', 'submit', 'tasks', 'batch', 'batches', 'ti', 'config', 'openapi', 'top', 'doctor', 'completion']) {
        assert.match(help.out, new RegExp(`^ *${command}\\b`, 'm'), command);
        const own = await berth([command, '--help']);
        assert.equal(own.code, 0, `${command} --help: ${own.err}`);
        assert.ok(own.out.includes(command), own.out);
    }
    assert.match((await berth(['version'])).out, /\d+\.\d+/);
});

test('a wrong command is refused, with the nearest one', async () => {
    const wrong = await berth(['modles']);
    assert.notEqual(wrong.code, 0);
    assert.match(wrong.err, /models/);
    const option = await berth(['ps', '--nonsense']);
    assert.notEqual(option.code, 0);
    assert.match(option.err, /nonsense/);
});

test('models, load, ps, logs, stop, rm', async () => {
    const models = await berth(['models', '--json']);
    assert.equal(models.code, 0, models.err);
    assert.match(models.out, /"one"/);
    assert.match((await berth(['models'])).out, /\bone\b/);

    const load = await berth(['load', 'one']);
    assert.equal(load.code, 0, load.out + load.err);
    const instance = await daemon.readyInstance('one');
    const ps = await berth(['ps', '--json']);
    assert.equal(ps.code, 0, ps.err);
    assert.ok(ps.json, ps.out);
    assert.match(ps.out, new RegExp(`\\b${instance.pid}\\b`));
    const table = await berth(['ps']);
    assert.match(table.out, /\bone\b.*\bready\b/);
    assert.ok(!table.out.includes('\x1b['), 'no colours in a pipe');

    const logs = await berth(['logs', 'one']);
    assert.equal(logs.code, 0, logs.err);
    assert.match(logs.out, /listening on/);

    const stop = await berth(['stop', 'one']);
    assert.equal(stop.code, 0, stop.err);
    await daemon.waitStatus('one', 'stopped');
    assert.ok(!alive(instance.pid, instance.start_time));

    const rm = await berth(['rm', 'one']);
    assert.equal(rm.code, 0, rm.err);
    assert.equal((await daemon.get('/api/models/one')).status, 404);
});

test('what does not exist or cannot run fails, in words', async () => {
    for (const command of ['load', 'stop', 'rm', 'logs']) {
        const run = await berth([command, 'nobody']);
        assert.notEqual(run.code, 0, command);
        assert.match(run.err, /nobody/, command);
    }
    await daemon.create({ ...daemon.scripted('weak', { exit_at_start: 3, last_words: 'no room for 12 GB of weights' }), retry_policy: { max_attempts: 1, initial_delay: 0 } });
    const load = await berth(['load', 'weak']);
    assert.notEqual(load.code, 0);
    assert.match(load.out + load.err, /no room for 12 GB of weights/);
    await berth(['rm', 'weak']);
});

test('load follows all replicas, and says which one failed and why', async () => {
    await daemon.create({ ...daemon.scripted('pair'), replicas: 2, aliases: ['couple'], keep_alive: '10m' });
    const models = await berth(['models']);
    assert.match(models.out, /^pair +stopped +2 +couple /m);
    const load = await berth(['load', 'couple']);
    assert.equal(load.code, 0, load.err);
    assert.equal(load.out, 'pair is running, 2 replicas\n');
    const ps = await berth(['ps']);
    assert.match(ps.out, /^pair +0 +ready .*unloads in /m);
    assert.match(ps.out, /^pair +1 +ready /m);
    assert.equal((await berth(['stop', 'pair'])).code, 0);
    await berth(['rm', 'pair']);

    await daemon.create({ ...daemon.scripted('bad-pair', { exit_at_start: 3, last_words: 'no room at all' }), replicas: 2, retry_policy: { enabled: false } });
    const bad = await berth(['load', 'bad-pair']);
    assert.equal(bad.code, 1);
    assert.match(bad.err, /bad-pair, replica 0: .*no room at all/s);
    assert.match(bad.err, /bad-pair, replica 1: /);
    await berth(['rm', 'bad-pair']);

    await daemon.create(daemon.scripted('slow', { never_ready: true }));
    const late = await berth(['load', 'slow', '--timeout', '200ms']);
    assert.equal(late.code, 5, late.err);
    assert.match(late.err, /not up yet/);
    await berth(['rm', 'slow']);
});

test('a higher one moves a lower one aside, and every command tells of it', async () => {
    await withCard(async (card, run) => {
        await card.create({ ...card.scripted('low'), priority: 3, resource_requirements: { gpu_memory: 600 } });
        await card.create({ ...card.scripted('high'), priority: 3, resource_requirements: { gpu_memory: 600 } });
        await card.create({ ...card.scripted('huge'), priority: 9, resource_requirements: { gpu_memory: 6000 } });
        assert.equal((await run('load', 'low')).code, 0);
        assert.match((await run('gpus')).out, /^0 +Card +nvidia .* low 600M$/m);
        assert.match((await run('ps')).out, /^low +0 +ready +0 +6\d\dM +\d+ /m);
        assert.match((await run('why', 'low')).out, /^low: \S/);

        // Free room only: it would wait, and nothing has changed.
        const dry = await run('load', 'high', '--dry-run', '--no-preempt', '--priority', '7');
        assert.equal(dry.code, 5, dry.out + dry.err);
        assert.match(dry.out, /^high: \S/);
        assert.match((await run('models')).out, /^high +stopped +1 +- +3 /m);

        const could = await run('load', 'high', '--dry-run', '--priority', '7');
        assert.equal(could.code, 0, could.out + could.err);
        assert.match(could.out, /would move aside: low/);
        assert.match((await run('ps')).out, /^low +0 +ready /m);

        const load = await run('load', 'high', '--priority', '7');
        assert.equal(load.code, 0, load.out + load.err);
        assert.equal(load.out, 'high is running\n');
        assert.match(load.err, /moves aside: low/);
        assert.match((await run('queue')).out, /^1 +low +3 +preempted +\d+s +\S+/m);
        assert.match((await run('ps')).out, /^low +0 +preempted +- +- +- /m);
        assert.match((await run('why', 'low')).out, /^low: needs /);
        const why = (await run('why', 'low', '--json')).json;
        assert.deepEqual([why.model_id, why.status], ['low', 'preempted']);

        const never = await run('load', 'huge', '--timeout', '10s');
        assert.equal(never.code, 1, never.out + never.err);
        assert.match(never.err, /huge: needs .*; it stays in the queue until 'berth stop huge'/);
        assert.equal((await run('stop', 'huge')).code, 0);

        assert.equal((await run('stop', 'high')).code, 0);
        await card.waitStatus('low', 'running');
        const history = await run('history', 'low');
        assert.match(history.out, /^TIME +MODEL +DECISION .*\n.* low +recovered +0 +success .*\n.* low +preempted +0 +success .*high.*\n.* low +scheduled +0 +success .*\n$/);
        assert.equal((await run('history', '-n', '1', '--json')).json.history.length, 1);
        assert.equal((await run('history', '-n', '0')).code, 2);
    });
});

test('the rules of placement are shown, set, kept and checked', async () => {
    await withCard(async (card, run) => {
        assert.match((await run('policy')).out, /^resource_threshold +0\.8$/m);
        const set = await run('policy', 'resource_threshold=0.5', 'scheduling_algorithm=spread');
        assert.equal(set.code, 0, set.err);
        await card.stop();
        await card.launch();
        const now = (await run('policy', '--json')).json;
        assert.deepEqual([now.resource_threshold, now.scheduling_algorithm, now.priority_levels], [0.5, 'spread', 10]);
        const wrong = await run('policy', 'resource_threshold=7');
        assert.equal(wrong.code, 2);
        assert.match(wrong.err, /resource_threshold/);
        assert.equal((await run('policy', '--json')).json.resource_threshold, 0.5);
    });
});

test('completion offers commands, options, and the models of the running daemon', async () => {
    await daemon.create({ ...daemon.scripted('named'), id: 'org/name:7b' });
    const words = async (...line: string[]): Promise<string[]> => (await berth(['complete', ...line])).out.split('\n').filter(Boolean).map((one) => one.split('\t')[0]);
    assert.deepEqual(await words('lo'), ['load', 'logs']);
    assert.deepEqual(await words('stop', 'org'), ['org/name:7b']);
    assert.deepEqual(await words('stop', '--no'), ['--no-wait']);
    assert.deepEqual(await words('--data-dir', '/nowhere', 'stop', 'org'), []);

    // bash ends its words at colons: only what stands behind is to be put there
    const script = (line: string): string => `source <("${berthBin}" completion bash); PATH="$(dirname "${berthBin}"):$PATH"
        COMP_LINE='${line}' COMP_POINT=${line.length} COMP_WORDBREAKS=$' \\t\\n:='; _berth; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const bash = (line: string): string => execFileSync('bash', ['-c', script(line)], { encoding: 'utf8', env: { ...daemon.env, BERTH_DATA_DIR: daemon.dataDir } }).trim();
    assert.equal(bash('berth load org'), 'org/name:7b');
    assert.equal(bash('berth load org/name:'), '7b');
    assert.equal(bash('berth config s'), 'show\nsample');
    await berth(['rm', 'org/name:7b']);
});

test('events lists what happened', async () => {
    const events = await berth(['events', '--json']);
    assert.equal(events.code, 0, events.err);
    assert.match(events.out, /model_created/);
    assert.match((await berth(['events'])).out, /model_deleted/);
});

test('config check accepts a good file and names the line of a bad one', async () => {
    const good = join(daemon.dir, 'good.yaml');
    writeFileSync(good, [
        '# a comment', 'server:', '  listen: "127.0.0.1:0"', '  max_body: 8MiB', 'gateway:', '  queue_timeout: 30s',
        'models:', '  - id: a', '    name: A', '    framework: llama_cpp', '    model_path: ${MODEL_DIR}/a.gguf', '    priority: 5', '    resource_requirements: { gpu_memory: 64 }', '',
    ].join('\n'));
    const fine = await berth(['config', 'check', good], { MODEL_DIR: '/models' });
    assert.equal(fine.code, 0, fine.out + fine.err);
    const bad = join(daemon.dir, 'bad.yaml');
    for (const [what, lines, wanted] of [
        ['an unknown key', ['server:', '  listen: "127.0.0.1:0"', '  listne: 3'], /bad\.yaml:3.*listne/s],
        ['a duration that is none', ['gateway:', '  queue_timeout: soon'], /bad\.yaml:2.*queue_timeout/s],
        ['an unset variable', ['server:', '  listen: ${NOT_SET_ANYWHERE}'], /bad\.yaml:2.*NOT_SET_ANYWHERE/s],
        ['no YAML at all', ['server: [', '  }'], /bad\.yaml/],
    ] as const) {
        writeFileSync(bad, lines.join('\n') + '\n');
        const run = await berth(['config', 'check', bad]);
        assert.notEqual(run.code, 0, what);
        assert.match(run.out + run.err, wanted, what);
    }
});

test('serve refuses a bad configuration and a data directory in use', async () => {
    const bad = join(daemon.dir, 'worse.yaml');
    writeFileSync(bad, 'server:\n  listen: "not an address"\n');
    const wrong = await berth(['serve', '--config', bad, '--data-dir', join(daemon.dir, 'other')], {}, 5000);
    assert.ok(wrong.code > 0, `exit ${wrong.code}`);
    assert.match(wrong.err + wrong.out, /listen/);
    const second = await berth(['serve', '--config', daemon.configFile, '--data-dir', daemon.dataDir], {}, 5000);
    assert.ok(second.code > 0, `exit ${second.code}`);
    assert.match(second.err + second.out, /in use|\bruns\b|running|locked/i);
    assert.equal((await daemon.get('/health')).status, 200, 'the first one goes on');
});

test('doctor looks at everything and says how it is', async () => {
    const run = await berth(['doctor', '--config', daemon.configFile]);
    assert.ok([0, 1].includes(run.code), run.err);
    assert.match(run.out, /ok/i);
    assert.match(run.out, /llama/i);
});

test('the sample is a configuration that can be checked', async () => {
    const sample = await berth(['config', 'sample']);
    const file = join(daemon.dir, 'sample.yaml');
    writeFileSync(file, sample.out.replace(/^# /gm, ''));
    const check = await berth(['config', 'check', file]);
    assert.equal(check.code, 0, check.err);
    assert.match(check.out, /with 3 models/);
    const rows = (await berth(['config', 'sample', '--json'])).json;
    assert.ok(rows.length > 30 && rows.every((row: any) => sample.out.includes(row.help)));
});

test('another machine that cannot be reached is told in words', async () => {
    for (const [url, wanted] of [['http://127.0.0.1:1', /no berth answers at .*127\.0\.0\.1:1: /], ['https://nope.invalid', /nope\.invalid/], ['http://127.0.0.1:1/path', /\/path/]] as const) {
        const run = await berth(['ps', '--url', url]);
        assert.notEqual(run.code, 0);
        assert.match(run.err, wanted, url);
    }
});

test('without a daemon the commands say so', async () => {
    const run = await berth(['ps', '--data-dir', join(daemon.dir, 'nothing-here')]);
    assert.notEqual(run.code, 0);
    assert.match(run.err, /berth|daemon|running|connect/i);
});

test('the admin socket is for its owner only', async () => {
    assert.equal(statSync(daemon.dataDir).mode & 0o077, 0, 'the data directory is closed to others');
    assert.ok(statSync(join(daemon.dataDir, 'berth.sock')).isSocket());
});

test('tasks: submit, look, wait, cancel, retry, remove', async () => {
    await daemon.create({ ...daemon.scripted('clerk'), max_workers: 1 });
    const done = await berth(['submit', 'clerk', 'some text', '--wait']);
    assert.equal(done.code, 0, done.err);
    assert.notEqual(done.out.trim(), '');
    const piped = await berth(['submit', 'clerk', '@input.txt', '--type', 'summarization', '--json', '--wait']);
    assert.equal(piped.code, 4, 'there is no such file');
    writeFileSync(join(daemon.dir, 'input.txt'), 'from a file');
    const file = await berth(['submit', 'clerk', '@input.txt', '--type', 'summarization', '--json', '--wait']);
    assert.equal(file.code, 0, file.err);
    assert.equal(file.json.status, 'completed');
    assert.equal(file.json.input, 'from a file');

    const late = await berth(['submit', 'clerk', 'later', '--delay', '1h', '--priority', 'high', '--json']);
    assert.equal(late.code, 0, late.err);
    assert.equal(late.json.status, 'pending');
    const id = String(late.json.id);
    assert.match((await berth(['tasks', '--status', 'pending'])).out, new RegExp(`^${id} +clerk +text-generation +pending +high`, 'm'));
    assert.match((await berth(['tasks', id])).out, /^waits +\S/m);
    assert.match((await berth(['queue'])).out, /^clerk +online +0 +0 +0 +1 +0 +1 /m);
    assert.equal((await berth(['tasks', 'priority', 'low', id])).out, `task ${id} is of low priority\n`);
    assert.equal((await berth(['tasks', id, '--json'])).json.priority, 1);
    assert.equal((await berth(['tasks', 'rm', id])).code, 2, 'it has not ended');
    assert.equal((await berth(['tasks', 'cancel', id])).out, `task ${id} is cancelled\n`);
    const twice = await berth(['tasks', 'cancel', id]);
    assert.equal(twice.code, 2);
    assert.match(twice.err, /cancelled/);
    assert.equal((await berth(['tasks', 'rm', id])).code, 0);
    assert.equal((await berth(['tasks', id])).code, 4);
    assert.equal((await berth(['submit', 'nobody', 'x'])).code, 4);
    assert.equal((await berth(['submit', 'clerk', 'x', '--type', 'nonsense'])).code, 2);
    assert.match((await berth(['tasks', 'stats'])).out, /^clerk +\d+ /m);
    assert.match((await berth(['tasks', '--model', 'clerk', '-n', '1'])).out, /\bclerk\b/);
    assert.equal((await berth(['tasks', '--model', 'nobody'])).code, 4);
});

test('submit --wait stays through a kill of berth', async () => {
    const own = await Daemon.start();
    await own.create(own.scripted('night'));
    const setStatus = (status: string) => own.ask({ method: 'PUT', path: '/api/v1/models/1/status', body: { status } });
    assert.equal((await setStatus('offline')).status, 200);
    const waiting = berth(['submit', 'night', 'x', '--wait'], { BERTH_DATA_DIR: own.dataDir });
    await until('the task to be there', async () => (await own.get('/api/v1/tasks')).json.total === 1);
    await own.kill9();
    await own.launch();
    assert.equal((await setStatus('online')).status, 200);
    const run = await waiting;
    assert.equal(run.code, 0, run.err);
    assert.notEqual(run.out.trim(), '');
    assert.deepEqual(await own.finish(), []);
});

test('batches: hand over, wait, list, fetch', async () => {
    await daemon.create(daemon.scripted('writer'));
    const line = (id: string, model = 'writer') => JSON.stringify({ custom_id: id, method: 'POST', url: '/v1/chat/completions', body: { model, messages: [{ role: 'user', content: id }] } });
    writeFileSync(join(daemon.dir, 'lines.jsonl'), `${line('a')}\n${line('b')}\n`);
    const run = await berth(['batch', 'lines.jsonl', '--wait', '--output', 'answers.jsonl']);
    assert.equal(run.code, 0, run.out + run.err);
    const id = /^(\S+) is completed, 2 of 2$/m.exec(run.out)?.[1];
    assert.ok(id, run.out);
    const answers = readFileSync(join(daemon.dir, 'answers.jsonl'), 'utf8').trim().split('\n').map((text) => JSON.parse(text));
    assert.deepEqual(answers.map((answer) => [answer.custom_id, answer.response.status_code]), [['a', 200], ['b', 200]]);
    assert.match((await berth(['batches'])).out, new RegExp(`^${id} +completed +/v1/chat/completions +2 +2 +0 `, 'm'));
    assert.equal((await berth(['batches', 'fetch', id])).out, readFileSync(join(daemon.dir, 'answers.jsonl'), 'utf8'));
    writeFileSync(join(daemon.dir, 'wrong.jsonl'), `${line('a')}\n${line('b', 'nobody')}\n`);
    const wrong = await berth(['batch', 'wrong.jsonl', '--wait']);
    assert.equal(wrong.code, 1);
    assert.match(wrong.err, /line 2: .*nobody/);
    assert.equal((await berth(['batches', 'cancel', 'batch_nothing'])).code, 4);
});

test('Task Instances are registered, listed and removed', async () => {
    const registered = await berth(['ti', 'register', '127.0.0.1:1', '--model', 'ocr', '--json']);
    assert.equal(registered.code, 0, registered.err);
    const uuid = registered.json.ti_uuid;
    assert.match((await berth(['ti'])).out, new RegExp(`^${uuid} +http://127.0.0.1:1 +ocr +unreachable `, 'm'));
    assert.equal((await berth(['ti', 'rm', uuid])).code, 0);
    const again = await berth(['ti', 'rm', uuid]);
    assert.equal(again.code, 1);
    assert.match(again.err, /not found/);
});
