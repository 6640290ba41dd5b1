// SPDX-License-Identifier: Apache-2.0
// The monitoring door and the system's info and health, through the real binary.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { checkTraffic } from './lib/openapi.ts';
import { until } from './lib/wait.ts';

const GPUMetrics = ['device_id', 'memory_total', 'memory_used', 'power_usage', 'temperature', 'timestamp', 'utilization'];
const Resources = ['cpu_usage', 'disk_total', 'disk_usage', 'disk_used', 'load_average', 'memory_total', 'memory_usage', 'memory_used', 'network_recv', 'network_sent', 'timestamp'];
const Performance = ['active_connections', 'cpu_usage', 'error_count', 'gpu_utilization', 'memory_usage', 'model_id', 'request_count', 'timestamp', 'total_response_time'];

let daemon: Daemon;
const get = async (path: string): Promise<any> => {
    const answer = await daemon.get(path);
    assert.equal(answer.status, 200, answer.text);
    return answer.json;
};

before(async () => {
    daemon = await Daemon.prepare({ config: { gpu: { scripted: 'devices.yaml', interval: '100ms' } } });
    writeFileSync(join(daemon.dir, 'devices.yaml'), JSON.stringify({ devices: [
        { id: 'GPU-a', name: 'Card a', memory_total: '24GiB', memory_used: '1GiB', utilization: 12.5, temperature: 45, power: 80 },
        { id: 'GPU-b', name: 'Card b', memory_total: '24GiB', utilization: 95 },
    ] }));
    await daemon.launch();
    await daemon.up(daemon.scripted('counted'));
});

after(async () => {
    await checkTraffic(daemon);
    assert.deepEqual(await daemon.finish(), []);
});

test('the devices, now and lately', async () => {
    const list = await get('/api/monitoring/gpu');
    assert.deepEqual(list.map((one: any) => [one.device_id, one.memory_used, one.memory_total, one.utilization, one.temperature, one.power_usage]),
        [[0, 1024, 24576, 12.5, 45, 80], [1, 0, 24576, 95, 0, 0]]);
    assert.deepEqual(Object.keys(list[0]).sort(), GPUMetrics);
    await until('some readings', async () => (await get('/api/monitoring/gpu/history?device_id=1')).length >= 3);
    const lately = await get('/api/monitoring/gpu/history?device_id=1&limit=3&hours=24');
    assert.equal(lately.length, 3);
    assert.deepEqual(Object.keys(lately[0]).sort(), GPUMetrics);
    assert.ok(lately.every((one: any) => one.device_id === 1 && one.utilization === 95));
    assert.ok(lately[0].timestamp < lately[2].timestamp);
    assert.deepEqual([...new Set((await get('/api/monitoring/gpu/history')).map((one: any) => one.device_id))], [0, 1]);
    assert.equal((await daemon.get('/api/monitoring/gpu/history?device_id=7')).status, 404);
    assert.equal((await daemon.get('/api/monitoring/gpu/history?hours=x')).status, 422);
});

test('the host, now and lately', async () => {
    const system = await get('/api/monitoring/system');
    assert.deepEqual([system.total_gpus, system.available_gpus, system.total_models, system.running_models], [2, 1, 1, 1]);
    assert.equal(system.gpu_metrics.length, 2);
    assert.deepEqual(Object.keys(system.system_metrics).sort(), ['cpu_percent', 'disk_percent', 'memory_percent']);
    assert.ok(system.system_metrics.memory_percent > 0 && system.system_metrics.memory_percent <= 100);
    for (const path of ['/api/monitoring/metrics/system', '/api/system/metrics']) {
        assert.deepEqual(Object.keys(await get(path)).sort(), Resources);
    }
    const lately = await until('a sample', async () => {
        const list = await get('/api/monitoring/system/history');
        return list.length > 0 && list;
    });
    assert.deepEqual(Object.keys(lately[0]).sort(), Resources);
    assert.ok(lately[0].memory_total > 100);
});

test('a model: what it was asked, and how it was', async () => {
    for (let n = 0; n < 3; n++) {
        assert.equal((await daemon.chat('counted')).status, 200);
    }
    const metrics = await get('/api/monitoring/models/counted/metrics?hours=24');
    assert.deepEqual(Object.keys(metrics).sort(), ['average_response_time', 'error_rate', 'gpu_utilization', 'model_id', 'request_count', 'throughput', 'time_range']);
    assert.equal(metrics.request_count, 3);
    assert.equal(metrics.error_rate, 0);
    assert.ok(metrics.throughput > 0);
    assert.ok(Date.parse(metrics.time_range.end_time) - Date.parse(metrics.time_range.start_time) < 3600_000, 'it says since when it was watched');
    const samples = await until('the requests in the samples', async () => {
        const list = await get('/api/monitoring/models/counted/history');
        return list.reduce((sum: number, one: any) => sum + one.request_count, 0) === 3 && list;
    });
    assert.deepEqual(Object.keys(samples[0]).sort(), Performance);
    assert.ok(samples.every((one: any) => one.model_id === 'counted' && one.active_connections === 0 && one.cpu_usage >= 0));
    assert.equal((await get('/api/monitoring/models/counted/metrics')).request_count, 3, 'each is counted once');
    assert.equal((await get('/api/monitoring/models/counted/health')).health_status, 'healthy');
    assert.equal((await daemon.get('/api/monitoring/models/nobody/metrics')).status, 404);
    assert.equal((await daemon.get('/api/monitoring/models/counted/metrics?hours=0')).status, 422);
});

test('info and health speak both tongues', async () => {
    const info = await get('/api/v1/system/info');
    assert.equal(info.system.hostname, os.hostname());
    assert.equal(info.system.release, os.release());
    assert.equal(info.cpu.cpu_count_logical >= 1 && info.cpu.cpu_count_physical >= 1, true);
    const since = Date.now() / 1000 - os.uptime();
    assert.ok(Math.abs(Date.parse(info.system.boot_time) / 1000 - since) < 60, `${info.system.boot_time}`);
    assert.equal(info.memory.used + info.memory.available, info.memory.total);
    assert.equal(info.disk.used + info.disk.free, info.disk.total);
    assert.deepEqual([info.code, info.message, typeof info.data.version], [0, 'success', 'string']);
    const answer = await daemon.get('/api/v1/system/health');
    const health = answer.json;
    assert.deepEqual(Object.keys(health.components).sort(), ['database', 'disk', 'gpu', 'memory']);
    assert.equal(health.components.gpu.gpu_count, 2);
    const bad = health.status === 'unhealthy'; // this machine's disk or memory may be full
    assert.equal(answer.status, bad ? 503 : 200);
    assert.deepEqual([health.code, health.data.status], bad ? [-1, 'error'] : [0, 'ok']);
    assert.deepEqual([health.data.database, health.data.redis], ['ok', 'disabled']);
});
