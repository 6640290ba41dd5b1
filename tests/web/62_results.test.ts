// SPDX-License-Identifier: Apache-2.0
// What the planner found: a finished evaluation with its plans, charts, timeline and refusals; one that runs and one that waits;
// experiments side by side. Against the daemon's own searches.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { axeFindings, go, type Locator, overflow, type Page, phone, settled, withPage } from './lib/browser.ts';
import { Daemon, house, until } from './lib/house.ts';

const boards = (count: number) => ({ pod_count: 1, racks_per_pod: 1, rack_config: { boards: [{ count, chips: [{ count: 4 }] }] } });
const question = (fields: Record<string, unknown> = {}) => ({
    experiment_name: 'llama on 8', search_mode: 'auto', topology: boards(2), model: { preset: 'llama-3.1-70b', weight_dtype: 'fp8' }, hardware: { chip: { chip_type: 'H100' } },
    inference: { input_seq_length: 1024, output_seq_length: 256, slo_ttft_ms: 800, slo_tpot_ms: 50 }, search_constraints: { max_chips: 8, optimization_target: 'throughput' },
    ...fields,
});
/** Millions of plans: it runs until it is cancelled. */
const endless = () => question({
    experiment_name: 'endless', topology: { pod_count: 8, racks_per_pod: 16, rack_config: { boards: [{ count: 8, chips: [{ count: 64 }] }] } },
    model: { model_name: 'wide', model_type: 'moe', hidden_size: 1024, num_layers: 64, num_attention_heads: 1024, num_kv_heads: 1024, head_dim: 16, intermediate_size: 65536, vocab_size: 129280,
        weight_dtype: 'bf16', activation_dtype: 'bf16', max_seq_length: 8192, attention_type: 'mha', norm_type: 'rmsnorm',
        moe_config: { num_experts: 1024, num_experts_per_tok: 2, expert_intermediate_size: 65536 } },
    hardware: { chip: { chip_type: 'H100', compute_tflops_fp16: 989, memory_gb: 100_000, memory_bandwidth_gbps: 3350 } },
    inference: { input_seq_length: 7000, output_seq_length: 1024, rate_per_s: 10, chunk_tokens: 128 },
    search_constraints: { disaggregated: true, tp_within_node: false, tp_divides_heads: false },
});

let daemon: Daemon;
let llama: string; // a finished evaluation
let deepseek: string; // too large for its chips: no plan holds

async function submit(body: unknown): Promise<string> {
    const answer = await daemon.post('/api/evaluation/submit', body);
    assert.equal(answer.status, 200, answer.text);
    return answer.json.task_id;
}
const task = async (id: string) => (await daemon.get(`/api/evaluation/tasks/${id}`)).json;
const results = async (id: string) => (await daemon.get(`/api/evaluation/tasks/${id}/results`)).json;
async function completed(body: unknown): Promise<string> {
    const id = await submit(body);
    await until(`${id} to be completed`, async () => (await task(id)).status === 'completed', 60_000);
    return id;
}
const open = (path: string): string => `${daemon.url}/#${path}`;
const plansOf = (page: Page): Locator => page.locator('[data-test=plans] tbody tr');
const shown = (value: number, digits: number): string => value.toLocaleString('en-GB', { maximumFractionDigits: digits });

before(async () => {
    daemon = await house({ planner: { workers: 1 } });
    llama = await completed(question());
    deepseek = await completed(question({ experiment_name: 'too large', model: { preset: 'deepseek-v3' } }));
    await completed(question({ experiment_name: 'llama on H200', hardware: { chip: { chip_type: 'H200' } } }));
});
after(() => daemon.finish());

test('the best plan stands there with its figures, its bands and whether it holds', async () => {
    const { top_k_plans: [best] } = await results(llama);
    const { tp, pp, replicas } = best.parallelism;
    const name = [...(tp > 1 ? [`tp${tp}`] : []), ...(pp > 1 ? [`pp${pp}`] : []), ...(replicas > 1 ? [`×${replicas}`] : [])].join(' ');
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        await page.getByRole('heading', { level: 1, name: 'llama on 8' }).waitFor();
        const plan = page.locator('[data-test=plan]');
        await plan.getByRole('heading', { name, exact: true }).waitFor();
        assert.match(await plan.locator('[data-test=figure-tpot]').innerText(), new RegExp(`${shown(best.tpot, 1)} ms[^]*${shown(best.tpot_band.p10, 1)} ms to ${shown(best.tpot_band.p90, 1)} ms`));
        assert.match(await plan.locator('[data-test=figure-throughput]').innerText(), new RegExp(`\\n${shown(best.throughput, 0)}\\n`));
        assert.match(await plan.locator('.limits').innerText(), /TTFT ≤ 800 ms: holds[^]*TPOT ≤ 50 ms: holds/);
        const asked = await page.locator('[data-test=question]').innerText();
        for (const word of ['llama-3.1-70b', 'fp8', 'H100', '1,024 in, 256 out', 'TTFT ≤ 800 ms, TPOT ≤ 50 ms', 'the most tokens a second']) {
            assert.ok(asked.includes(word), `${word} in ${asked}`);
        }
    });
});

test('the table sorts, takes other columns (kept after a reload), and chooses the plan that is shown', async () => {
    const { top_k_plans: plans } = await results(llama);
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        await plansOf(page).nth(plans.length - 1).waitFor();
        assert.equal(await plansOf(page).count(), plans.length);
        const column = (name: string) => page.locator('[data-test=plans] th', { has: page.getByRole('button', { name, exact: true }) });
        await page.getByRole('button', { name: 'TTFT', exact: true }).click();
        assert.equal(await column('TTFT').getAttribute('aria-sort'), 'ascending');
        const fastest = plans.reduce((a: any, b: any) => (b.ttft < a.ttft ? b : a));
        await plansOf(page).first().getByRole('button').click();
        assert.match(await page.locator('[data-test=figure-ttft]').innerText(), new RegExp(`\\n${shown(fastest.ttft, 0)} ms`));
        await page.getByText(/^Plan number \d+$/).waitFor();

        await page.getByText('Columns', { exact: true }).click();
        await page.getByRole('checkbox', { name: 'MFU' }).check();
        await column('MFU').waitFor();
        await page.reload();
        await column('MFU').waitFor();
    });
});

test('charts have their figures as tables: the front, memory against capacity, time by kind of work', async () => {
    const { top_k_plans: plans } = await results(llama);
    const { memory, breakdown } = plans[0];
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        const rowOf = async (title: string): Promise<string> => {
            const chart = page.locator('figure', { has: page.getByRole('heading', { name: title }) });
            await chart.locator('canvas').first().waitFor();
            await chart.getByRole('button', { name: 'As a table' }).click();
            assert.equal(await chart.locator('tbody tr').count(), plans.length);
            return (await chart.locator('tbody tr').first().innerText()).replaceAll(/\s+/g, ' ');
        };
        await rowOf('Throughput against speed');
        const inMemory = await rowOf('Memory of the fullest chip');
        for (const value of [memory.weights_gb, memory.kv_used_gb, memory.capacity_gb]) {
            assert.ok(inMemory.includes(`${shown(value, 1)} GB`), inMemory);
        }
        assert.ok((await rowOf('Where the time of a decode step goes')).includes(`${shown(breakdown.decode_ms.gemm, 0)} ms`));
        await rowOf('Where the time of a prompt goes');
    });
});

test('a click on a point of the front chooses its plan', async () => {
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        const chart = page.locator('figure', { has: page.getByRole('heading', { name: 'Throughput against speed' }) }).locator('canvas').first();
        await chart.scrollIntoViewIfNeeded();
        const size = await chart.boundingBox();
        assert.ok(size);
        const chosen = page.getByText(/^Plan number \d+$/);
        for (let y = 0.1; y < 0.8 && (await chosen.count()) === 0; y += 0.02) { // where the points lie is ECharts' business: the left edge has some
            for (let x = 0.1; x < 0.2 && (await chosen.count()) === 0; x += 0.012) {
                await page.mouse.click(size.x + size.width * x, size.y + size.height * y);
            }
        }
        await chosen.waitFor();
    });
});

test('the timeline shows the stages of the chosen plan, with as many tokens as are asked for', async () => {
    const { top_k_plans: [best] } = await results(llama);
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        const timeline = page.locator('[data-test=timeline]');
        await timeline.locator('canvas').first().waitFor();
        await timeline.getByRole('button', { name: 'As a table' }).click();
        assert.equal(await timeline.locator('tbody tr').count(), 2 * best.parallelism.pp, 'prefill and decode of every stage');
        const decode = async (): Promise<string> => timeline.locator('tbody tr').nth(1).innerText();
        const before = await decode();
        await timeline.getByLabel('Tokens drawn').selectOption('4');
        await until('fewer tokens to take less', async () => (await decode()) !== before);
    });
});

test('a plan whose prompts are read by other chips has a timeline with the stages of both', async () => {
    const { inference } = question();
    const apart = await completed(question({
        experiment_name: 'two sides', inference: { ...inference, batch_size: 16 }, search_mode: 'manual', manual_parallelism: { tp: 4, prefill: { tp: 2, pp: 2 } }, search_constraints: null,
    }));
    await withPage(open(`/planner/results/${apart}`), {}, async (page) => {
        const timeline = page.locator('[data-test=timeline]');
        await timeline.getByRole('button', { name: 'As a table' }).click();
        const names = await timeline.locator('tbody tr').allInnerTexts();
        assert.deepEqual(names.map((row) => row.split('\t').slice(0, 2)), [['Prefill 1', 'Prefill'], ['Prefill 2', 'Prefill'], ['Decode 1', 'Decode']]);
        assert.match(await page.locator('[data-test=question]').innerText(), /Prefill tp 2, pp 2; Decode tp 4/);
        await page.getByRole('button', { name: 'Plan again with changes' }).click();
        const prefill = page.getByRole('group', { name: 'The plan of the chips that read the prompts' });
        assert.deepEqual([await prefill.getByLabel('Tensor (TP)').inputValue(), await prefill.getByLabel('Pipeline (PP)').inputValue()], ['2', '2']);
        await page.getByText('TP × PP × DP = 8 of 8 chips').waitFor();
        await prefill.getByLabel('Pipeline (PP)').fill('4');
        await page.getByText('TP × PP × DP = 12 chips; there are 8.').waitFor();
    });
});

test('where no plan holds, the reasons stand there with how many each, and their numbers', async () => {
    const { search_stats: stats, infeasible_plans: refused } = await results(deepseek);
    await withPage(open(`/planner/results/${deepseek}`), {}, async (page) => {
        await page.getByRole('heading', { name: 'No plan holds' }).waitFor();
        const groups = page.locator('[data-test=refused]');
        await groups.getByText(`${stats.infeasible_plans} plans were refused`).waitFor();
        const weights = groups.getByRole('listitem').filter({ has: page.getByRole('heading', { name: 'Weights do not fit' }) });
        assert.match(await weights.innerText(), new RegExp(`\\b${stats.refused_by.weights}\\b`));
        assert.match(await weights.innerText(), /weights \d+\.\d GB.*usable are/);
        assert.equal(await plansOf(page).count(), refused.length);
        assert.equal(await page.locator('canvas').count(), 0);
    });
});

test('it is exported as JSON and CSV', async () => {
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        for (const [format, says] of [['JSON', /"top_k_plans"/], ['CSV', /^[\w,]*,tps_per_chip,[\w,]*\r?\n/]] as const) {
            const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: `Export as ${format}` }).click()]);
            assert.equal(file.suggestedFilename(), `llama on 8.${format.toLowerCase()}`);
            assert.match(readFileSync(await file.path(), 'utf8'), says);
        }
    });
});

test('one runs, one waits behind it: live progress, the place in the queue, cancelling; then the waiting one fills by itself', async () => {
    const running = await submit(endless());
    const waiting = await submit(question({ experiment_name: 'waits' }));
    await withPage(open(`/planner/results/${running}`), {}, async (page) => {
        await page.getByRole('heading', { name: 'Searching' }).waitFor();
        const gauge = page.getByRole('main').getByRole('progressbar');
        const seen = Number(await gauge.getAttribute('aria-valuenow'));
        await until('it to get on', async () => Number(await gauge.getAttribute('aria-valuenow')) > seen);
        await go(page, `/planner/results/${waiting}`);
        await page.getByText('Place 1 of 1 in the queue').waitFor();
        await go(page, `/planner/results/${running}`);
        await page.getByRole('button', { name: 'Cancel the evaluation' }).click();
        await page.getByRole('dialog').getByRole('button', { name: 'Cancel the evaluation' }).click();
        await page.getByRole('heading', { name: 'The evaluation was cancelled' }).waitFor();
        assert.equal((await task(running)).status, 'cancelled');
        await go(page, `/planner/results/${waiting}`);
        await page.locator('[data-test=plan]').waitFor();
    });
});

test('results come while one looks on: nobody has to reload', async () => {
    const running = await submit(endless());
    const waiting = await submit(question({ experiment_name: 'looked at' }));
    await withPage(open(`/planner/results/${waiting}`), {}, async (page) => {
        await page.getByText('Place 1 of 1 in the queue').waitFor();
        await daemon.post(`/api/evaluation/tasks/${running}/cancel`);
        await page.locator('[data-test=plan]').waitFor();
        await page.locator('[data-status=completed]').first().waitFor();
    });
});

test('deleting asks first, and leads back', async () => {
    const id = await completed(question({ experiment_name: 'goes' }));
    await withPage(open(`/planner/results/${id}`), {}, async (page) => {
        const button = page.getByRole('main').getByRole('button', { name: 'Delete', exact: true });
        const dialog = page.getByRole('dialog');
        await button.click();
        await dialog.getByRole('button', { name: 'Cancel' }).click();
        await dialog.waitFor({ state: 'hidden' });
        assert.equal((await task(id)).status, 'completed');
        await button.click();
        await dialog.getByRole('button', { name: 'Delete' }).click();
        await page.waitForURL(/#\/planner$/);
        assert.equal((await daemon.get(`/api/evaluation/tasks/${id}`)).status, 404);
    });
});

test('planning again leads to the form with this question', async () => {
    await withPage(open(`/planner/results/${llama}`), {}, async (page) => {
        await page.getByRole('button', { name: 'Plan again with changes' }).click();
        await page.waitForURL((url) => url.hash === `#/planner?from=${llama}`);
    });
    assert.deepEqual((await task(llama)).request, question());
});

test('experiments are chosen and stand side by side: what differs, and the best of each row', async () => {
    await withPage(open('/planner/compare'), {}, async (page) => {
        const picker = page.locator('[data-test=picker]');
        const compare = picker.getByRole('button', { name: 'Compare', exact: true });
        for (const name of ['llama on 8', 'llama on H200']) {
            assert.ok(await compare.isDisabled());
            await picker.getByRole('row').filter({ hasText: name }).getByRole('checkbox').check();
        }
        await compare.click();
        await page.waitForURL(/compare\?ids=\d+(,|%2C)\d+$/);
        const row = (name: string): Locator => page.locator('[data-test=compared] tbody tr').filter({ has: page.getByRole('rowheader', { name }) });
        await row('Chip').first().waitFor();
        assert.match(await row('Chip').first().innerText(), /differs[^]*H100[^]*H200|differs[^]*H200[^]*H100/);
        assert.doesNotMatch(await row('Model').first().innerText(), /differs/);
        const perChip = row('Tokens/s per chip');
        assert.equal(await perChip.locator('.best').count(), 1);
        const head = await page.locator('[data-test=compared] thead th').allInnerTexts();
        const best = await perChip.locator('td').evaluateAll((cells) => cells.findIndex((cell) => cell.classList.contains('best')));
        assert.match(head[best + 1] ?? '', /llama on H200/, 'the larger memory gives more a chip');
        await page.locator('figure canvas').first().waitFor();
        const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export as CSV' }).click()]);
        const lines = readFileSync(await file.path(), 'utf8').trim().split('\r\n');
        assert.equal(lines.length, 3);
        assert.match(lines[0] ?? '', /^experiment,.*perChip/);
    });
});

test('both pages are accessible in both themes and languages, and fit a phone', async () => {
    const { experiments } = (await daemon.get('/api/evaluation/experiments')).json;
    const ids = ['llama on 8', 'too large', 'llama on H200'].map((name) => experiments.find((one: any) => one.name === name).id);
    const paths = [[`/planner/results/${llama}`, 'plan'], [`/planner/results/${deepseek}`, 'none'], [`/planner/compare?ids=${ids.join(',')}`, 'compared']] as const;
    for (const [language, theme, size] of [['en', 'light', undefined], ['zh', 'dark', phone]] as const) {
        await withPage(open(paths[0][0]), { language, theme, size }, async (page) => {
            for (const [path, part] of paths) {
                await go(page, path);
                await settled(page);
                await page.locator(`[data-test=${part}]`).waitFor();
                assert.deepEqual(await axeFindings(page), [], path);
                assert.equal(await overflow(page), 0, `${path} is wider than the window`);
            }
        });
    }
});
