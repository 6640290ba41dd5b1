// SPDX-License-Identifier: Apache-2.0
// What berth expects an engine to take of memory against what a real llama-server takes (the peak of its resident memory, as the kernel tells it):
// within 10 % before it was ever measured, within 2 % or 100 MiB afterwards. Models of over 500 MB are made here, caches have over 500 MB.
// MEMORY_ALL=1 runs every setting; else, and under a sanitizer, the test takes a few that differ most. Prints the table.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { writeModel, type Shape } from './lib/gguf.ts';
import { llamaServer, sanitized } from './lib/paths.ts';
import { hwmKb, rssKb } from './lib/proc.ts';
import { until } from './lib/wait.ts';

const MiB = 2 ** 20;
const shapes: Record<string, Shape> = {
    'f16, GQA': { layers: 20, hidden: 1024, heads: 16, kvHeads: 4, ff: 2816, vocab: 32000, type: 'f16' },
    'q8_0, MHA': { layers: 20, hidden: 1536, heads: 24, kvHeads: 24, ff: 4096, vocab: 32000, type: 'q8_0' },
    'q4_0, GQA': { layers: 20, hidden: 2048, heads: 32, kvHeads: 8, ff: 5632, vocab: 32000, type: 'q4_0' },
};

interface Setting {
    shape: keyof typeof shapes;
    parameters: Record<string, unknown>;
    more?: string;
    always?: boolean; // also under a sanitizer
    usual?: boolean;
    embeds?: boolean;
}

const settings: Setting[] = [
    { shape: 'f16, GQA', parameters: { ctx_size: 8192, parallel: 4 }, usual: true, always: true },
    { shape: 'f16, GQA', parameters: { ctx_size: 32768, parallel: 1 } },
    { shape: 'f16, GQA', parameters: { ctx_size: 32768, parallel: 4, kv_unified: true } },
    { shape: 'f16, GQA', parameters: { ctx_size: 65536, parallel: 1, cache_type_k: 'q8_0', cache_type_v: 'q8_0' }, usual: true },
    { shape: 'f16, GQA', parameters: { ctx_size: 65536, parallel: 2, cache_type_k: 'q4_0', cache_type_v: 'q4_0' } },
    { shape: 'f16, GQA', parameters: { ctx_size: 32768, parallel: 1, ubatch_size: 128 } },
    { shape: 'f16, GQA', parameters: { ctx_size: 16384, parallel: 2, ubatch_size: 1024, batch_size: 2048 } },
    { shape: 'f16, GQA', parameters: { ctx_size: 32768, parallel: 1, no_mmap: true } },
    { shape: 'f16, GQA', parameters: { ctx_size: 4096, parallel: 8, flash_attn: false, ubatch_size: 128 }, usual: true },
    { shape: 'f16, GQA', parameters: { ctx_size: 32768, parallel: 1, embeddings: true, pooling: 'mean' }, embeds: true },
    { shape: 'q8_0, MHA', parameters: { ctx_size: 2048, parallel: 4 }, usual: true },
    { shape: 'q8_0, MHA', parameters: { ctx_size: 8192, parallel: 1, no_mmap: true } },
    { shape: 'q8_0, MHA', parameters: { ctx_size: 8192, parallel: 2, cache_type_k: 'q8_0' } },
    { shape: 'q4_0, GQA', parameters: { ctx_size: 8192, parallel: 2 }, usual: true, always: true },
    { shape: 'q4_0, GQA', parameters: { ctx_size: 8192, parallel: 2 }, more: '--no-repack' },
    { shape: 'q4_0, GQA', parameters: { ctx_size: 16384, parallel: 1, no_mmap: true } },
];
const chosen = settings.filter((s) => process.env.MEMORY_ALL || (sanitized ? s.always : s.usual));

const scratch = process.env.BUILD_DIR ?? tmpdir();
mkdirSync(scratch, { recursive: true });
const dir = mkdtempSync(join(scratch, 'memory-'));
after(() => rmSync(dir, { recursive: true, force: true }));
process.once('exit', () => rmSync(dir, { recursive: true, force: true }));

const made = new Map<string, string>();

/** One at a time lies on the disk. */
function file(shape: string): string {
    const path = join(dir, `${shape.replace(/\W+/g, '-')}.gguf`);
    if (!made.has(shape)) {
        made.forEach((old) => rmSync(old, { force: true }));
        made.clear();
        assert.ok(writeModel(path, shapes[shape]) > 500e6, 'a model of over 500 MB');
        made.set(shape, path);
    }
    return path;
}

const need = async (daemon: Daemon, id: string) => (await daemon.get(`/api/v1/scheduler/why/${id}`)).json.need;
const rows: string[] = [];
const percent = (is: number, of: number) => `${is >= of ? '+' : ''}${((is / of - 1) * 100).toFixed(1)} %`;

async function use(daemon: Daemon, s: Setting): Promise<void> {
    const text = 'a b c d '.repeat(8); // short: these models are slow, and what counts is there when they are loaded
    const answer = s.embeds
        ? await daemon.ask({ method: 'POST', path: '/v1/embeddings', body: { model: 'm', input: text }, timeoutMs: 90_000 })
        : await daemon.ask({ method: 'POST', path: '/v1/completions', body: { model: 'm', prompt: text, max_tokens: 1 }, timeoutMs: 90_000 });
    assert.equal(answer.status, 200, answer.text);
}

for (const s of chosen) {
    const name = `${s.shape}: ${JSON.stringify(s.parameters)} ${s.more ?? ''}`;

    test(name, { timeout: 180_000 }, async () => {
        const daemon = await Daemon.start({ config: { engines: { llama_server: llamaServer } } });
        const instance = await daemon.up({
            id: 'm',
            model_path: file(s.shape),
            parameters: s.parameters,
            additional_parameters: s.more ?? null,
            resource_requirements: { gpu_memory: 'auto' },
            health_check: { interval: 1, timeout: 1, max_failures: 30 },
        } as any);
        const before = await need(daemon, 'm');
        assert.ok(before.kv_bytes > 500e6, `a cache of over 500 MB, not ${before.kv_bytes}`);
        await use(daemon, s);
        const took = hwmKb(instance.pid) * 1024;
        const reserved = await until('the peak to be measured', async () => {
            const now = await need(daemon, 'm');
            if (now.source !== 'measured' || now.measured_bytes < took * 0.99) {
                throw new Error(JSON.stringify(now));
            }
            return now.split_bytes + now.fixed_bytes;
        }, 60_000);
        const estimated = before.estimated_bytes;
        const mib = (bytes: number) => Math.round(bytes / MiB);
        rows.push(`| ${name} | ${mib(estimated)} | ${mib(took)} | ${percent(estimated, took)} | ${mib(reserved)} | ${mib(reserved - took)} MiB, ${percent(reserved, took)} |`);
        assert.ok(Math.abs(estimated - took) <= 0.1 * took, `estimated ${mib(estimated)} MiB, took ${mib(took)}`);
        assert.ok(Math.abs(reserved - took) <= Math.max(0.02 * took, 100 * MiB), `reserved ${mib(reserved)} MiB, took ${mib(took)}`);

        // It is remembered: by another berth, before the engine runs again.
        await daemon.stop();
        await daemon.launch();
        const again = await until('the need to be known', async () => (await need(daemon, 'm')) ?? false, 20_000);
        assert.equal(again.source, 'measured');
        assert.equal(again.split_bytes + again.fixed_bytes, reserved);
        assert.deepEqual(await daemon.finish(), []);
    });
}

test('an engine that sleeps takes next to nothing, until it is asked again', { timeout: 120_000 }, async () => {
    const daemon = await Daemon.start({ config: { engines: { llama_server: llamaServer } } });
    const instance = await daemon.up({
        id: 'm',
        model_path: file('f16, GQA'),
        parameters: { ctx_size: 2048, parallel: 1, sleep_idle_seconds: 1 },
        resource_requirements: { gpu_memory: 'auto' },
        health_check: { interval: 2, timeout: 1 },
    } as any);
    const taken = async () => (await daemon.instances('m'))[0].memory_taken?.devices[0]?.memory ?? 0;
    await until('what it takes to be measured', async () => (await taken()) > 500, 20_000);
    await until('it to sleep and its memory to be back', async () => (await taken()) > 0 && (await taken()) < 200, 40_000);
    assert.ok(rssKb(instance.pid) < 200 * 1024);
    assert.ok((await need(daemon, 'm')).measured_bytes > 500 * MiB, 'awake it needs as much as before');
    await use(daemon, settings[0]);
    await until('its memory to be taken again', async () => (await taken()) > 500, 40_000);
    assert.deepEqual(await daemon.finish(), []);
});

test('the table', () => {
    console.log(['| setting | estimated MiB | took MiB | error | reserved afterwards | error |', '|---|---|---|---|---|---|', ...rows].join('\n'));
    assert.equal(rows.length, chosen.length);
});
