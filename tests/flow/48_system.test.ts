// SPDX-License-Identifier: Apache-2.0
// The devices as they are shown: by the system door, by `berth gpus`, in the metrics, to engines; when they come, go and change.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { Daemon } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';
import { berthBin } from './lib/paths.ts';
import { until } from './lib/wait.ts';

const run = promisify(execFile);
const GPUInfo = ['device_id', 'name', 'vendor', 'memory_total', 'memory_used', 'memory_free', 'utilization', 'temperature', 'power_usage', 'driver_version'];
const Overview = ['total_models', 'running_models', 'total_gpus', 'available_gpus', 'total_gpu_memory', 'used_gpu_memory', 'system_uptime', 'last_updated'];
const Resources = ['timestamp', 'cpu_usage', 'memory_usage', 'memory_total', 'memory_used', 'disk_usage', 'disk_total', 'disk_used', 'network_sent', 'network_recv', 'load_average'];

let daemon: Daemon; // with two scripted cards
let bare: Daemon; // whatever this machine has, which is taken for no GPU

/** The script is replaced whole, as an editor does. */
function script(of: Daemon, devices: object[]): void {
    writeFileSync(join(of.dir, 'devices.new'), JSON.stringify({ devices }));
    renameSync(join(of.dir, 'devices.new'), join(of.dir, 'devices.yaml'));
}

const cardA = { id: 'GPU-a', name: 'Test A', memory_total: '24GiB', memory_used: '2GiB', utilization: 12.5, temperature: 45, power: 80, driver_version: '570.1' };
const cardB = { id: 'GPU-b', name: 'Test B', memory_total: '24GiB', utilization: 95 };

before(async () => {
    daemon = await Daemon.prepare({ config: { gpu: { scripted: 'devices.yaml', interval: '100ms' } } });
    script(daemon, [cardA, cardB]);
    await daemon.launch();
    bare = await Daemon.start({ config: { gpu: { nvml: '', sysfs: '', interval: '100ms' } } });
});

after(async () => {
    for (const one of [daemon, bare]) {
        await checkTraffic(one);
        assert.deepEqual(await one.finish(), []);
    }
});

const environ = (pid: number): Record<string, string> =>
    Object.fromEntries(readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean).map((entry) => [entry.slice(0, entry.indexOf('=')), entry.slice(entry.indexOf('=') + 1)]));
const gpus = async (of = daemon): Promise<any[]> => (await of.get('/api/v1/system/gpu')).json;

function has(object: any, members: string[]): void {
    for (const member of members) {
        assert.ok(member in object, `${member} in ${JSON.stringify(object)}`);
    }
}

test('without a GPU the CPU is the one device', async () => {
    const list = await gpus(bare);
    assert.equal(list.length, 1);
    has(list[0], GPUInfo);
    assert.equal(list[0].device_id, 0);
    assert.equal(list[0].cpu, true);
    assert.equal(list[0].vendor, 'unknown');
    assert.equal(list[0].driver_version, null);
    assert.ok(list[0].memory_total > 100);
    assert.equal(list[0].memory_used + list[0].memory_free, list[0].memory_total);
    assert.ok(list[0].not_told.includes('temperature'));
    const overview = (await bare.get('/api/v1/system/status')).json;
    assert.equal(overview.total_gpus, 0, 'a CPU is no GPU');
    assert.equal(overview.total_gpu_memory, 0);
});

test('the devices, all and one', async () => {
    const list = await gpus();
    assert.deepEqual(list.map((gpu) => [gpu.device_id, gpu.name, gpu.vendor]), [[0, 'Test A', 'nvidia'], [1, 'Test B', 'nvidia']]);
    has(list[0], GPUInfo);
    assert.deepEqual([list[0].memory_total, list[0].memory_used, list[0].memory_free], [24576, 2048, 22528]);
    assert.deepEqual([list[0].utilization, list[0].temperature, list[0].power_usage, list[0].driver_version], [12.5, 45, 80, '570.1']);
    assert.deepEqual(list[1].not_told.includes('power_usage'), true);
    assert.equal(list[0].memory_foreign, 2048, 'nobody of ours holds it');
    const one = (await daemon.get('/api/v1/system/gpu/1')).json;
    assert.equal(one.name, 'Test B');
    assert.equal((await daemon.get('/api/v1/system/gpu/2')).status, 404);
    assert.ok((await daemon.get('/api/v1/system/gpu/-1')).json.detail);
    assert.equal((await daemon.get('/api/v1/system/gpu/99999999999999999999')).status, 404);
    assert.equal((await daemon.get('/api/v1/system/gpu/first')).status, 422);
});

test('the overview adds up, under both names', async () => {
    await daemon.up(daemon.scripted('counted'));
    for (const name of ['status', 'overview']) {
        const overview = (await daemon.get(`/api/v1/system/${name}`)).json;
        assert.deepEqual(Object.keys(overview).sort(), [...Overview].sort());
        assert.deepEqual([overview.total_gpus, overview.available_gpus, overview.total_gpu_memory, overview.used_gpu_memory], [2, 1, 49152, 2048]);
        assert.deepEqual([overview.total_models, overview.running_models], [1, 1]);
        assert.ok(Number.isInteger(overview.system_uptime));
    }
});

test('the host', async () => {
    const host = (await daemon.get('/api/v1/system/resources')).json;
    assert.deepEqual(Object.keys(host).sort(), [...Resources].sort());
    for (const name of ['cpu_usage', 'memory_usage', 'disk_usage']) {
        assert.ok(host[name] >= 0 && host[name] <= 100, `${name} ${host[name]}`);
    }
    assert.ok(host.memory_used > 0 && host.memory_used < host.memory_total);
    assert.ok(host.disk_used > 0 && host.disk_used < host.disk_total);
    assert.equal(host.load_average.length, 3);
});

test('an engine is told of its devices, and one that is not there is refused', async () => {
    await daemon.up({ ...daemon.scripted('on-b'), gpu_devices: [1] } as any);
    const { pid } = await daemon.readyInstance('on-b');
    assert.equal(environ(pid).CUDA_VISIBLE_DEVICES, '1');
    assert.equal(environ(pid).CUDA_DEVICE_ORDER, 'PCI_BUS_ID');
    const answer = await daemon.post('/api/models/validate', { ...daemon.scripted('on-c'), gpu_devices: [2], name: 'on-c', framework: 'llama_cpp', priority: 5, resource_requirements: { gpu_memory: 1 } });
    assert.match(answer.json.errors.join(), /gpu_devices: there is no device 2; this machine has 2 GPUs/);
});

test('what a process of ours holds is not foreign', async () => {
    const { pid } = await daemon.readyInstance('on-b');
    script(daemon, [cardA, { ...cardB, memory_used: '5GiB', processes: [{ pid, memory: '3GiB' }, { pid: 1, memory: '1GiB' }] }]);
    await until('the new figures', async () => (await gpus())[1].memory_used === 5120);
    const card = (await gpus())[1];
    assert.deepEqual(card.processes, [{ pid, memory: 3072, ours: true }, { pid: 1, memory: 1024, ours: false }]);
    assert.equal(card.memory_foreign, 2048);
    const metrics = (await daemon.get('/metrics')).text;
    assert.match(metrics, /berth_device_memory_used_bytes\{device="1",id="GPU-b",name="Test B"\} 5368709120\n/);
    assert.match(metrics, /berth_device_temperature_celsius\{device="0",id="GPU-a",name="Test A"\} 45\n/);
});

test('memory follows the processes that hold it', async () => {
    const holders = [{ command: 'engine.sock', memory: '4GiB' }];
    const { pid } = await daemon.readyInstance('on-b');
    script(daemon, [cardA, { ...cardB, holders }]);
    await until('the engine to hold its memory', async () => (await gpus())[1].processes.some((one: any) => one.pid === pid && one.ours));
    assert.equal((await daemon.post('/api/models/on-b/stop?wait=1')).status, 200);
    await until('the memory to be free', async () => !(await gpus())[1].processes.some((one: any) => one.pid === pid));
});

test('a device goes and comes back under its index, and both are events', async () => {
    const kinds = async (): Promise<any[]> => (await daemon.get('/api/events?limit=1000', { accept: 'application/json' })).json.events.filter((event: any) => event.kind.startsWith('device_'));
    script(daemon, [{ ...cardA, present: false }, cardB]);
    await until('it to be gone', async () => (await gpus()).length === 1);
    assert.equal((await gpus())[0].device_id, 1);
    assert.equal((await daemon.get('/api/v1/system/gpu/0')).status, 404);
    assert.equal((await daemon.get('/api/v1/system/status')).json.total_gpus, 1);
    script(daemon, [cardA, cardB]);
    await until('it to be back', async () => (await gpus()).length === 2);
    assert.equal((await gpus())[0].name, 'Test A');
    const told = await until('both events', async () => {
        const all = await kinds();
        return all.length >= 2 ? all : undefined;
    });
    assert.deepEqual(told.map((event: any) => [event.kind, event.data.device, event.data.id]), [['device_vanished', 0, 'GPU-a'], ['device_appeared', 0, 'GPU-a']]);
});

test('a script that is wrong changes nothing', async () => {
    writeFileSync(join(daemon.dir, 'devices.yaml'), 'devices: [{heat: 1}]\n');
    await until('the log to tell', () => /devices\.yaml:1: a script of devices has no 'heat'/.test(daemon.log()));
    assert.equal((await gpus()).length, 2);
    script(daemon, [cardA, cardB]);
    const broken = await Daemon.prepare({ config: { gpu: { scripted: 'devices.yaml' } } });
    broken.spawn();
    assert.notEqual(await broken.waitExit(), 0);
    assert.match(broken.log(), /gpu\.scripted: .*devices\.yaml: the script of devices cannot be read/);
    broken.reap();
});

test('berth gpus', async () => {
    const { stdout } = await run(berthBin, ['--data-dir', daemon.dataDir, 'gpus'], { env: daemon.env });
    const lines = stdout.trimEnd().split('\n');
    assert.equal(lines.length, 3);
    assert.match(lines[0], /^INDEX +NAME +VENDOR +MEMORY +FREE +FOREIGN +BUSY +TEMP +POWER +PROCS +NOTE/);
    assert.match(lines[1], /^0 +Test A +nvidia +24\.0G +22\.0G +2\.0G +12% +45C +80W +0/);
    assert.match(lines[2], /^1 +Test B +nvidia +24\.0G .* 95% +- +- /);
    const json = JSON.parse((await run(berthBin, ['--data-dir', daemon.dataDir, 'gpus', '--json'], { env: daemon.env })).stdout);
    assert.deepEqual(json.map((gpu: any) => gpu.id), ['GPU-a', 'GPU-b']);
});
