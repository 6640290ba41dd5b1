// SPDX-License-Identifier: Apache-2.0
// Models in containers, on a real dockerd: a real llama-server in one, and vLLM's command line in another. Where root
// runs the tests they do run: an engine that cannot be started is a failure.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Container, Dockerd, cannotRun, rootfs } from './lib/container_engine.ts';
import { Daemon, type DaemonOptions, type ModelConfig } from './lib/daemon.ts';
import { llamaServer, quickstartGguf, scriptedEngine } from './lib/paths.ts';
import { alive, kill } from './lib/proc.ts';
import { until } from './lib/wait.ts';

const skip = cannotRun();
let docker: Dockerd;

before(async () => {
    if (skip) {
        return;
    }
    docker = await Dockerd.start();
    const backends = readdirSync(dirname(llamaServer)).filter((name) => name.endsWith('.so')).map((name) => join(dirname(llamaServer), name));
    const dir = rootfs(join(docker.dir, 'rootfs'), [llamaServer, scriptedEngine, '/bin/sh', '/bin/cat', '/bin/sleep', ...backends]);
    await docker.image('local/llama-server:1', dir, `ENTRYPOINT ["${llamaServer}"]`);
    await docker.image('local/scripted:1', dir, `ENTRYPOINT ["${scriptedEngine}"]`);
    await docker.image('local/shell:1', dir, 'ENTRYPOINT ["/bin/sh","-c"]');
});

after(async () => {
    await docker?.stop();
});

function start(options: DaemonOptions = {}): Promise<Daemon> {
    return Daemon.start({ ...options, config: { ...options.config, engines: { docker_socket: docker.socket, ...options.config?.engines } } });
}

/** llama-server in a container. */
function contained(id: string, parameters: Record<string, unknown> = {}, more: Partial<ModelConfig> = {}): ModelConfig {
    return {
        id,
        framework: 'docker',
        model_path: quickstartGguf,
        health_check: { endpoint: '/health' },
        ...more,
        parameters: {
            image: 'local/llama-server:1',
            network: 'host',
            command: ['--model', '${MODEL}', '--alias', '${MODEL_ID}', '--host', '${HOST}', '--port', '${PORT}', '--parallel', '4', '-t', '1'],
            ...parameters,
        },
    };
}

/** As a person writes it, without what the tests' helper adds for llama.cpp. */
async function create(daemon: Daemon, config: ModelConfig): Promise<void> {
    const answer = await daemon.post('/api/models/', { name: config.id, priority: 5, resource_requirements: { gpu_memory: 64 }, ...config });
    assert.equal(answer.status, 201, answer.text);
    assert.equal((await daemon.post(`/api/models/${config.id}/start`)).status, 200);
}

async function up(daemon: Daemon, config: ModelConfig): Promise<{ pid: number; container: Container }> {
    await create(daemon, config);
    const { pid } = await daemon.readyInstance(config.id, 30_000);
    return { pid, container: await docker.only(daemon.id) };
}

async function nothingLeft(daemon: Daemon): Promise<void> {
    await until('no container to be left', async () => (await docker.containers(daemon.id)).length === 0, 15_000);
}

async function failed(daemon: Daemon, id: string): Promise<string> {
    return (await daemon.waitState(id, 'failed', 30_000)).last_error!;
}

test('a real llama-server in a container: health, chat, log, marks, a port of this machine only', { skip }, async () => {
    const daemon = await start();
    const { pid, container } = await up(daemon, contained('boxed', { env: { NAMED: '${MODEL_ID} $$' }, volumes: ['/etc:/inside:ro'] }));
    const instance = await daemon.readyInstance('boxed');
    assert.equal(container.Name, `/berth-${instance.id.slice(0, 8)}`);
    assert.deepEqual(container.Config.Labels, { 'berth.data': daemon.id, 'berth.instance': instance.id });
    assert.ok(container.Config.Env.includes(`BERTH_INSTANCE=${daemon.id}/${instance.id}`) && container.Config.Env.includes('NAMED=boxed $'));
    assert.deepEqual(container.HostConfig.Binds, ['/etc:/inside:ro', `${quickstartGguf}:${quickstartGguf}:ro`]);
    assert.equal(container.HostConfig.RestartPolicy.Name, 'no');
    assert.equal(pid, container.State.Pid);
    assert.ok(readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(`${llamaServer}\0--model\0${quickstartGguf}\0--alias\0boxed\0--host\x00127.0.0.1\0`));
    assert.ok((await daemon.chat('boxed')).json.choices[0].message.content.length > 20);
    const health = await daemon.post('/api/models/boxed/health-check');
    assert.ok(health.json.health_result.is_healthy, health.text);
    await until('its log', async () => /model loaded[^]*listening on http:\/\/127\.0\.0\.1/.test(readFileSync(instance.log, 'utf8')));
    assert.doesNotMatch(readFileSync(instance.log, 'latin1'), /\x01\0|\x02\0|20\d\d-\d\d-\d\dT/, 'no frames, no time stamps of the container engine');

    assert.equal((await daemon.post('/api/models/boxed/stop')).status, 200);
    await nothingLeft(daemon);
    assert.ok(!alive(pid));
    assert.equal((await daemon.post('/api/models/boxed/start')).status, 200);
    await daemon.readyInstance('boxed', 30_000);
    assert.equal((await daemon.ask({ method: 'DELETE', path: '/api/models/boxed' })).status, 200);
    await nothingLeft(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

test('a container that ends is made anew; one that runs outlives berth, and is known again', { skip }, async () => {
    const daemon = await start();
    const first = await up(daemon, contained('boxed'));
    kill(first.pid);
    const second = await until('another one to be ready', async () => {
        const now = await daemon.readyInstance('boxed', 1000);
        return now.pid !== first.pid && now;
    }, 30_000);
    assert.match(second.last_error ?? '', /killed by signal 9/);
    assert.equal((await daemon.chat('boxed')).status, 200);
    const container = await docker.only(daemon.id);
    assert.notEqual(container.Id, first.container.Id);

    await daemon.kill9();
    assert.ok(alive(second.pid, second.start_time), `a container outlives berth: ${JSON.stringify([first.pid, second, container.State, (await docker.only(daemon.id)).State, alive(second.pid)])}\n${daemon.log().slice(-3000)}`);
    await daemon.launch();
    const third = await daemon.readyInstance('boxed');
    assert.deepEqual([third.id, third.pid, (await docker.only(daemon.id)).Id], [second.id, second.pid, container.Id]);
    const before = readFileSync(third.log, 'utf8');
    assert.equal((await daemon.chat('boxed')).status, 200);
    await until('what it logs since to follow what it logged before', () => {
        const now = readFileSync(third.log, 'utf8');
        return now.length > before.length && now.startsWith(before) && now.split('model loaded').length === before.split('model loaded').length;
    });
    kill(third.pid);
    await until('its death to be seen', async () => (await daemon.readyInstance('boxed', 1000)).pid !== third.pid, 30_000);
    assert.equal((await daemon.chat('boxed')).status, 200);

    // It died while berth was away: made anew, and what is left of it removed.
    await daemon.kill9();
    const dead = await docker.only(daemon.id);
    kill(dead.State.Pid);
    await until('it to have ended', async () => !(await docker.only(daemon.id)).State.Running);
    await daemon.launch();
    await until('another container', async () => (await docker.only(daemon.id)).Id !== dead.Id, 20_000);
    await daemon.readyInstance('boxed', 30_000);
    assert.equal((await daemon.chat('boxed')).status, 200);
    const { id } = daemon;
    assert.deepEqual(await daemon.finish(), []);
    assert.deepEqual(await docker.containers(id), [], 'SIGTERM of berth removes what was adopted as well');
});

test('what is changed, or nobody knows, is removed at the start', { skip }, async () => {
    const daemon = await Daemon.prepare();
    const engines = { docker_socket: docker.socket };
    const one = contained('one', {}, { autostart: true, name: 'one', priority: 5, resource_requirements: { gpu_memory: 64 } });
    daemon.configure({ engines }, [one]);
    await daemon.launch();
    await daemon.readyInstance('one', 30_000);
    const first = await docker.only(daemon.id);
    const labels = { 'berth.data': daemon.id, 'berth.instance': '00000000-0000-4000-8000-000000000000' };
    for (const [name, own] of [['berth-stray', labels], ['berth-other', { ...labels, 'berth.data': 'another' }]] as const) {
        const answer = await docker.api('POST', `/containers/create?name=${name}`, { Image: 'local/shell:1', Cmd: ['sleep 100'], Labels: own, HostConfig: { NetworkMode: 'host' } });
        assert.equal(answer.status, 201, answer.text);
    }
    await daemon.kill9();
    daemon.configure({ engines }, [{ ...one, parameters: { ...one.parameters, env: { CHANGED: '1' } } }]);
    await daemon.launch();
    await until('a container of the new definition', async () => (await docker.containers(daemon.id)).some(({ Config }) => Config.Env.includes('CHANGED=1')), 20_000);
    await daemon.readyInstance('one', 30_000);
    await until('strays to be gone', async () => !(await docker.containers(daemon.id)).some(({ Name, Id }) => Name === '/berth-stray' || Id === first.Id));
    assert.ok((await docker.containers()).some(({ Name }) => Name === '/berth-other'), 'those of another data directory stay');
    const { id } = daemon;
    assert.deepEqual(await daemon.finish(), []);
    assert.deepEqual(await docker.containers(id), []);
    await docker.api('DELETE', '/containers/berth-other?force=1');
});

test('what cannot be started is said in the words of who knows: image, program, last words, memory', { skip }, async () => {
    const daemon = await start();
    const once = { retry_policy: { enabled: false } };
    const shell = (command: string, more: Record<string, unknown> = {}) => ({ image: 'local/shell:1', command: [command], ...more });
    await create(daemon, contained('noimage', { image: 'nosuch/image:1' }, once));
    assert.match(await failed(daemon, 'noimage'), /No such image: nosuch\/image:1 \(parameters\.pull/);
    await create(daemon, contained('nopull', { image: 'localhost:1/nosuch:1', pull: true }, once));
    assert.match(await failed(daemon, 'nopull'), /cannot fetch the image localhost:1\/nosuch:1: /);
    await create(daemon, contained('noprogram', { entrypoint: '/nosuch/program' }, once));
    assert.match(await failed(daemon, 'noprogram'), /\/nosuch\/program.*no such file/);
    await create(daemon, contained('crash', shell('echo first; echo it broke >&2; exit 3'), once));
    assert.match(await failed(daemon, 'crash'), /exited with code 3 while loading: .*it broke/);
    await create(daemon, contained('hungry', shell('x=aaaaaaaa; while :; do x=$$x$$x; done', { memory_limit: '32MiB' }), once));
    assert.match(await failed(daemon, 'hungry'), /ran out of memory/);
    await nothingLeft(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

test('every parameter of vLLM stands in the arguments of its container; NVIDIA cards are asked for by their place', { skip }, async () => {
    const daemon = await Daemon.prepare({ environment: { HF_TOKEN: 'hf_of_berth', HF_ENDPOINT: 'http://hub.of.berth' } });
    const script = join(daemon.dir, 'devices.yaml');
    const gib = 1 << 30;
    writeFileSync(script, JSON.stringify({
        devices: [0, 1, 2].map((n) => ({ id: `GPU-0000000${n}`, name: 'Made up', memory_total: 24 * gib, memory_used: n === 0 ? 23 * gib : 0 })),
    }));
    daemon.configure({ engines: { docker_socket: docker.socket }, gpu: { scripted: script } });
    await daemon.launch();
    const { container } = await up(daemon, {
        id: 'v',
        framework: 'vllm',
        model_path: quickstartGguf,
        additional_parameters: "--swap-space 4 --chat-template 'a b'",
        parameters: {
            image: 'local/scripted:1',
            network: 'host',
            tensor_parallel_size: 2,
            pipeline_parallel_size: 1,
            gpu_memory_utilization: 0.75,
            max_model_len: 4096,
            dtype: 'bfloat16',
            quantization: 'awq',
            seed: 7,
            max_num_seqs: 64,
            max_num_batched_tokens: 8192,
            trust_remote_code: true,
            disable_log_stats: true,
            env: { HF_ENDPOINT: 'http://hub.of.model' },
        },
    });
    const port = ((await daemon.readyInstance('v')) as unknown as { address: string }).address.replace(/.*:/, '');
    assert.deepEqual(container.Args, [
        '--model', quickstartGguf, '--served-model-name', 'v', '--host', '127.0.0.1', '--port', port,
        '--tensor-parallel-size', '2', '--gpu-memory-utilization', '0.75', '--pipeline-parallel-size', '1',
        '--max-model-len', '4096', '--dtype', 'bfloat16', '--quantization', 'awq', '--seed', '7',
        '--max-num-seqs', '64', '--max-num-batched-tokens', '8192', '--trust-remote-code', '--disable-log-stats',
        '--swap-space', '4', '--chat-template', 'a b',
    ]);
    assert.equal(container.HostConfig.IpcMode, 'host');
    assert.deepEqual(container.Config.Env.filter((entry) => entry.startsWith('HF_')).sort(), ['HF_ENDPOINT=http://hub.of.model', 'HF_TOKEN=hf_of_berth']);
    for (const path of ['/api/models/v/config', '/api/models/v', '/api/models/v/instances']) {
        assert.doesNotMatch((await daemon.get(path)).text, /hf_of_berth/);
    }
    assert.doesNotMatch(daemon.log(), /hf_of_berth/);
    assert.deepEqual(container.HostConfig.DeviceRequests, [
        { Driver: '', Count: 0, DeviceIDs: ['1', '2'], Capabilities: [['gpu']], Options: null },
    ]);
    assert.ok(readFileSync(docker.hookRecord, 'utf8').includes(container.Id), "NVIDIA's hook was called for it");
    assert.equal((await daemon.chat('v')).status, 200);
    assert.deepEqual(await daemon.finish(), []);
});

test('a container engine that goes away takes its containers along; what is to start says so, and starts when it is back', { skip }, async () => {
    const away = await Dockerd.start();
    const daemon = await start({ config: { engines: { docker_socket: away.socket } } });
    const dir = rootfs(join(away.dir, 'rootfs'), [scriptedEngine]);
    await away.image('local/scripted:1', dir, `ENTRYPOINT ["${scriptedEngine}"]`);
    const scripted = (id: string) => contained(id, { image: 'local/scripted:1' }, { retry_policy: { initial_delay: 1, max_delay: 1, max_attempts: 60 } });
    await create(daemon, scripted('boxed'));
    const first = await daemon.readyInstance('boxed', 30_000);
    await away.end();
    const waiting = await daemon.waitState('boxed', 'backoff');
    assert.match(waiting.last_error!, /the container engine at \S+docker\.sock does not answer: /);
    const answer = await daemon.post('/api/models/', { name: 'x', priority: 5, resource_requirements: { gpu_memory: 64 }, ...scripted('other') });
    assert.equal(answer.status, 201, answer.text);
    const refused = await daemon.post('/api/models/other/start');
    assert.equal(refused.status, 500);
    assert.match(refused.text, /the container engine at \S+docker\.sock cannot be reached \(engines\.docker_socket\)/);
    await away.launch();
    assert.notEqual((await daemon.readyInstance('boxed', 30_000)).pid, first.pid);
    assert.equal((await daemon.chat('boxed')).status, 200);
    const { id } = daemon;
    assert.deepEqual(await daemon.finish(), []);
    assert.deepEqual(await away.containers(id), []);
    await away.stop();
});
