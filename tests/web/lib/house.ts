// SPDX-License-Identifier: Apache-2.0
// A berth as a user has it: two made-up cards whose memory the engines hold, a real model on a real llama-server, and scripted models
// for what a real one would take too long to show.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, type ModelConfig } from '../../flow/lib/daemon.ts';
import { llamaServer, loopGguf, quickstartGguf } from '../../flow/lib/paths.ts';
import { until as waitUntil } from '../../flow/lib/wait.ts';
import { limitMs } from './limit.ts';

export { Daemon } from '../../flow/lib/daemon.ts';

const GIB = 1024;

/** As that of the flow tests, with the limit of pages. */
export const until: typeof waitUntil = (what, probe, limit = limitMs, everyMs) => waitUntil(what, probe, limit, everyMs);

/** A model on the real llama-server; it says the same text each time ("quickstart"), or goes on for long ("loop"). */
export function realModel(id: string, config: Partial<ModelConfig> = {}, gguf: 'quickstart' | 'loop' = 'quickstart'): ModelConfig {
    return {
        id, name: id, framework: 'llama_cpp', model_path: gguf === 'loop' ? loopGguf : quickstartGguf, priority: 5,
        resource_requirements: { gpu_memory: 4 * GIB }, ...config,
        parameters: { ctx_size: 2048, parallel: 2, threads: 1, ...config.parameters },
    };
}

/** Two cards of 24 GiB. An engine that serves one of `holders` (a piece of its command line) takes that many MiB while it lives. */
export function devices(holders: Record<string, number> = {}): object {
    const taken = Object.entries(holders).map(([command, memory]) => ({ command, memory: `${memory}MiB` }));
    return { devices: [0, 1].map((i) => ({
        id: `GPU-${i}`, name: `Test card ${i}`, vendor: 'nvidia', memory_total: '24GiB', memory_used: '200MiB', utilization: 20 + 15 * i, temperature: 45 + 7 * i, power: 120, power_limit: 350, holders: taken,
    })) };
}

/** Started and ready; the caller ends it with finish(). */
export async function house(config: Record<string, any> = {}, holders: Record<string, number> = {}): Promise<Daemon> {
    const daemon = await Daemon.prepare({ config: {
        ...config,
        server: { drain_timeout: '1s', ...config.server }, // work without end is left running when a test ends
        engines: { llama_server: llamaServer, stop_grace: '1s', ...config.engines },
        gpu: { scripted: 'devices.yaml', interval: '200ms', ...config.gpu },
        placement: { min_residency: '0s', return_after: '0s', swap_wait: '1s', ...config.placement },
    } });
    writeFileSync(join(daemon.dir, 'devices.yaml'), JSON.stringify(devices(holders)));
    await daemon.launch();
    return daemon;
}
