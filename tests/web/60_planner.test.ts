// SPDX-License-Identifier: Apache-2.0
// The planner's page and its topologies: a question is filled in, refused at its fields, submitted, watched, cancelled, found again,
// asked again; experiments go out and in; a topology is drawn, kept, planned with.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { axeFindings, go, type Page, overflow, phone, settled, withPage } from './lib/browser.ts';
import { Daemon, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => { daemon = await Daemon.start(); });
after(() => daemon.finish());

/** A search that takes long: everything divides this model, and there are many chips. */
const long = (name: string): object => ({
    experiment_name: name, search_mode: 'auto',
    topology: { pod_count: 8, racks_per_pod: 16, rack_config: { boards: [{ count: 8, chips: [{ count: 64 }] }] } },
    model: { model_name: 'wide', hidden_size: 1024, num_layers: 64, num_attention_heads: 1024, num_kv_heads: 1024, head_dim: 16, intermediate_size: 65536, vocab_size: 129280, weight_dtype: 'bf16',
        moe_config: { num_experts: 1024, num_experts_per_tok: 2, expert_intermediate_size: 65536 } },
    hardware: { chip: { chip_type: 'H100-SXM', compute_tflops_fp16: 989, memory_gb: 100_000, memory_bandwidth_gbps: 3350 } },
    inference: { input_seq_length: 7000, output_seq_length: 1024, rate_per_s: 10, chunk_tokens: 128 },
    search_constraints: { disaggregated: true, tp_within_node: false, tp_divides_heads: false },
});

async function submitted(body: object): Promise<string> {
    const answer = await daemon.post('/api/evaluation/submit', body);
    assert.equal(answer.status, 200, answer.text);
    return answer.json.task_id;
}
const task = async (id: string) => (await daemon.get(`/api/evaluation/tasks/${id}`)).json;
const planner = (work: (page: Page) => Promise<void>, look = {}) => withPage(`${daemon.url}/#/planner`, look, async (page) => {
    await settled(page);
    await work(page);
});
/** The search has narrowed the list; a list that is not there yet does not count. */
const oneRow = (page: Page) => until('one row', async () => await page.locator('tbody tr').count() === 1);
const confirm = (page: Page, name: string) => page.getByRole('dialog').getByRole('button', { name, exact: true }).click();

test('an example fills the form, is submitted, and its evaluation is found in the list and asked again', async () => {
    await planner(async (page) => {
        await page.getByRole('button', { name: 'DeepSeek-V3 on 64 chips' }).click();
        await page.locator('[data-test=model-facts]').getByText('671 B parameters').waitFor();
        await page.locator('[data-test=name]').fill('from the page');
        await page.getByLabel('Description').fill('by hand');
        await page.getByLabel('Priority').selectOption('High');
        await page.getByRole('button', { name: 'Evaluate' }).click();
        const link = page.getByRole('link', { name: 'See the result' });
        const id = (await link.getAttribute('href'))!.split('/').at(-1)!;
        await until('the end of the evaluation', async () => (await task(id)).status === 'completed');
        const { request } = await task(id);
        assert.equal(request.model.preset, 'DeepSeek-V3');
        assert.equal(request.priority, 3);
        assert.deepEqual(request.topology.rack_config.boards, [{ count: 8, chips: [{ count: 8 }] }]);
        assert.equal(request.inference.slo_tpot_ms, 50);

        await page.getByRole('tab', { name: 'Evaluations' }).click();
        const row = page.locator(`[data-row="${id}"]`);
        await row.getByText('Completed').waitFor();
        await page.getByRole('searchbox', { name: 'Search' }).fill('no such thing');
        await page.getByText('Nothing matches').waitFor();
        await page.getByRole('searchbox', { name: 'Search' }).fill('from the');
        await page.getByRole('combobox', { name: 'Status' }).selectOption('Completed');
        await row.getByRole('link', { name: 'Ask again' }).click();
        await page.getByText('This is the question of “from the page”.').waitFor();
        assert.equal(await page.getByLabel('Chip', { exact: true }).inputValue(), 'H800-SXM');
        assert.equal(await page.getByLabel('Chips', { exact: true }).inputValue(), '64');
        assert.equal(await page.getByLabel('Description').inputValue(), 'by hand');
        assert.equal(await page.getByLabel('First token within').inputValue(), '3000');
    });
});

test('what the daemon refuses stands at its field, which gets the focus, and nothing is lost', async () => {
    await planner(async (page) => {
        const refused = page.locator('[data-test=refused]');
        await page.locator('[data-test=name]').fill('refused');
        await page.getByText('Limits and rules').click();
        await page.getByLabel('Plans that are kept').fill('900');
        await page.getByText('Limits and rules').click(); // folded: it is opened again
        await page.getByRole('button', { name: 'Evaluate' }).click();
        await refused.getByText('search_constraints.top_k').waitFor();
        const field = page.getByLabel('Plans that are kept');
        assert.equal(await field.getAttribute('aria-invalid'), 'true');
        assert.equal(await field.evaluate((input) => input === document.activeElement), true);
        assert.equal(await page.locator('[data-test=name]').inputValue(), 'refused');
        await field.fill('3');
        await page.locator('[data-test=name]').fill('');
        await page.getByRole('button', { name: 'Evaluate' }).click();
        await page.locator('.field', { has: page.locator('[data-test=name]') }).getByText('1 to 255 bytes').waitFor();
        await page.locator('[data-test=name]').fill('now it is right');
        await page.getByRole('button', { name: 'Evaluate' }).click();
        await page.getByText('“now it is right” was submitted.').waitFor();
        assert.equal(await refused.count(), 0);
    }, { refusals: true });
});

test('a plan by hand is counted and computed as it is typed', async () => {
    await planner(async (page) => {
        await page.getByRole('button', { name: 'One plan by hand: tp4 pp2' }).click();
        await page.getByText('TP × PP × DP = 8 of 8 chips').waitFor();
        const trial = page.locator('[data-test=trial]');
        await trial.getByText('Time to the first token').waitFor();
        await page.getByLabel('Tensor (TP)').fill('16');
        await page.getByText('TP × PP × DP = 32 chips; there are 8.').waitFor();
        await page.getByLabel('Tensor (TP)').fill('1');
        await page.getByLabel('Pipeline (PP)').fill('1');
        await page.getByLabel('Weights', { exact: true }).selectOption('bf16');
        await trial.getByText('does not fit').waitFor();
        await page.getByLabel('Tensor (TP)').fill('8');
        await trial.getByText('Time to the first token').waitFor();
        await page.getByRole('button', { name: 'Evaluate' }).click();
        const id = (await page.getByRole('link', { name: 'See the result' }).getAttribute('href'))!.split('/').at(-1)!;
        const plans = await until('the plan', async () => {
            const { top_k_plans } = (await daemon.get(`/api/evaluation/tasks/${id}/results`)).json;
            return top_k_plans.length > 0 ? top_k_plans : undefined;
        });
        assert.deepEqual(plans.map((plan: any) => plan.parallelism.tp), [8]);
    });
});

test('a model and a chip of one’s own are counted, refused where they are wrong, kept and chosen', async () => {
    await planner(async (page) => {
        const model = page.locator('[data-test=ask-model]');
        await model.getByLabel('config.json').check();
        await model.getByLabel('Its text').fill('{"architectures": ["Qwen3ForCausalLM"], "num_hidden_layers": 36, "hidden_size": 4096, "intermediate_size": 12288, "vocab_size": 151936, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "torch_dtype": "bfloat16"}');
        await model.getByText('8.19 B parameters').waitFor();
        await model.getByLabel('Own dimensions').check();
        await model.getByLabel('Attention heads').fill('7');
        await model.locator('[data-test=model-facts].problem').waitFor();
        await model.getByLabel('Attention heads').fill('32');
        await model.getByText('8.03 B parameters').waitFor();
        await model.getByRole('textbox', { name: 'Name' }).fill('mine-8b');
        await model.getByRole('button', { name: 'Keep this model' }).click();
        await page.getByText('The model mine-8b is kept.').waitFor();
        await until('the model to be chosen', async () => await model.getByLabel('Model', { exact: true }).inputValue() === 'mine-8b');

        const chips = page.locator('[data-test=ask-chips]');
        await chips.getByLabel('Own figures').check();
        await chips.getByRole('textbox', { name: 'Name' }).fill('my-card');
        await chips.getByLabel('BF16 compute, dense (TFLOPS)').fill('120');
        await chips.getByLabel('Memory (GB)').fill('48');
        await chips.getByLabel('Memory bandwidth (GB/s)').fill('900');
        await chips.getByRole('button', { name: 'Keep this chip' }).click();
        await page.getByText('The chip my-card is kept.').waitFor();
        await page.locator('[data-test=name]').fill('all mine');
        await page.getByRole('button', { name: 'Evaluate' }).click();
        await page.getByRole('link', { name: 'See the result' }).waitFor();
    }, { refusals: true });
});

test('what runs is seen with its progress, what waits with its place; both are cancelled', async () => {
    await daemon.ask({ method: 'PUT', path: '/api/evaluation/config', body: { max_workers: 1 } });
    await planner(async (page) => {
        const first = await submitted(long('long one'));
        const second = await submitted(long('waiting one'));
        const card = (id: string) => page.locator(`[data-job="${id}"]`);
        await card(first).getByText('Running').waitFor();
        await card(second).getByText('Place 1 of 1 in the queue').waitFor();
        await until('progress', async () => Number(await card(first).getByRole('progressbar').getAttribute('value')) > 0);
        await page.reload();
        await card(first).getByText('Running').waitFor();
        await card(second).getByRole('button', { name: 'Cancel' }).click();
        await confirm(page, 'Cancel evaluation');
        await until('the second to be cancelled', async () => (await task(second)).status === 'cancelled');
        await card(second).waitFor({ state: 'detached' });

        await page.getByRole('tab', { name: 'Evaluations' }).click();
        await page.getByText('1 running, 0 waiting').waitFor();
        await page.locator(`[data-row="${first}"]`).getByRole('checkbox').check();
        await page.locator(`[data-row="${second}"]`).getByRole('checkbox').check();
        await page.locator('.list-bar').getByRole('button', { name: 'Cancel' }).click();
        await confirm(page, 'Cancel evaluation');
        await page.locator(`[data-row="${first}"]`).getByText('Cancelled', { exact: true }).waitFor();
        await page.getByText('1 not:').waitFor();
        for (const id of [first, second]) {
            await page.locator(`[data-row="${id}"]`).getByRole('checkbox').check();
        }
        await page.locator('.list-bar').getByRole('button', { name: 'Delete' }).click();
        await confirm(page, 'Delete');
        await page.locator(`[data-row="${first}"]`).waitFor({ state: 'detached' });
        assert.equal((await daemon.get(`/api/evaluation/tasks/${first}`)).status, 404);

        await page.getByLabel('Searches at once').fill('3');
        await page.getByRole('button', { name: 'Save' }).click();
        await page.getByText('Up to 3 searches at once.').waitFor();
        assert.equal((await daemon.get('/api/evaluation/config')).json.max_workers, 3);
    });
});

test('experiments: exported, imported under another name, compared, deleted', async () => {
    await planner(async (page) => {
        await page.getByRole('tab', { name: 'Experiments' }).click();
        await page.getByRole('searchbox', { name: 'Search' }).fill('from the page');
        await oneRow(page);
        await page.locator('tbody').getByRole('checkbox').check();
        const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Export 1' }).click()]);
        const path = await download.path();
        assert.equal(JSON.parse(readFileSync(path, 'utf8')).experiments[0].name, 'from the page');

        await page.getByRole('button', { name: 'Import', exact: true }).click();
        await page.getByLabel('File').setInputFiles(path);
        await page.getByText('stands already').waitFor();
        await page.getByLabel('What to do: from the page').selectOption('Take in as');
        await page.getByLabel('New name: from the page').fill('from the page, again');
        await page.getByRole('button', { name: 'Import 1' }).click();
        await page.getByText('from the page, again').waitFor();

        await page.getByRole('checkbox', { name: 'All' }).check();
        await page.getByRole('button', { name: 'Compare' }).click();
        await page.waitForURL(/planner\/compare\?ids=\d+,\d+/);
        await page.goBack();
        await page.getByRole('searchbox', { name: 'Search' }).fill('again');
        await oneRow(page);
        await page.locator('tbody').getByRole('checkbox').check();
        await page.getByRole('button', { name: 'Delete' }).click();
        await confirm(page, 'Delete');
        await page.getByText('Nothing matches').waitFor();
        const { experiments } = (await daemon.get('/api/evaluation/experiments')).json;
        assert.ok(!experiments.some((one: any) => one.name === 'from the page, again'));
    });
});

test('a topology is drawn, counted, kept, opened again, planned with and deleted', async () => {
    await planner(async (page) => {
        await page.getByLabel('Model', { exact: true }).selectOption('Qwen3-32B'); // kept while the topology is drawn
        await page.getByRole('link', { name: 'Topologies' }).click();
        const totals = page.locator('[data-test=totals]');
        await settled(page);
        await page.getByRole('button', { name: 'SuperPOD of 32 DGX' }).click();
        await totals.getByText('256', { exact: true }).waitFor();
        await page.getByText('Make it by counts').click();
        await page.getByLabel('Racks a pod').fill('2');
        await page.getByLabel('Boards a rack').fill('4');
        await page.getByRole('button', { name: 'Make' }).click();
        await totals.getByText('64', { exact: true }).waitFor();
        await page.getByRole('button', { name: 'Duplicate: Rack Rack' }).click();
        await page.getByLabel('Rack Rack: Count').nth(1).fill('1');
        await page.getByLabel('Rack Rack: Count').nth(1).press('Enter');
        await page.getByLabel('H100-SXM: Count').nth(1).fill('4');
        await page.getByLabel('H100-SXM: Count').nth(1).press('Enter');
        await totals.getByText('80', { exact: true }).waitFor();
        await page.getByRole('img', { name: 'Pods: 1 · racks: 3 · boards: 12 · chips: 80' }).waitFor();
        await page.getByRole('group', { name: 'Between racks of a pod' }).getByLabel('Preset').selectOption({ label: 'InfiniBand HDR 200 Gb/s · 25 GB/s' });
        await page.locator('[data-test=topology-name]').fill('a/b');
        await page.getByRole('button', { name: 'Save' }).click();
        await page.locator('.field-problem', { hasText: 'letters, digits, blanks' }).waitFor();
        await page.locator('[data-test=topology-name]').fill('two racks and a half');
        await page.getByRole('button', { name: 'Save' }).click();
        await page.getByText('“two racks and a half” is saved.').waitFor();
        const kept = (await daemon.get('/api/topologies/two%20racks%20and%20a%20half')).json;
        assert.equal(kept.pods[0].racks.length, 3);
        assert.equal(kept.pods[0].racks[2].boards[0].chips.length, 4);
        assert.deepEqual(kept.connections.map((one: any) => [one.type, one.bandwidth]), [['board', 450], ['rack', 50], ['pod', 25]]);

        await page.getByRole('button', { name: 'One DGX H100' }).click();
        await totals.getByText('8', { exact: true }).waitFor();
        await page.getByRole('button', { name: 'two racks and a half' }).click();
        await totals.getByText('80', { exact: true }).waitFor();
        await page.locator('summary', { hasText: 'As JSON' }).click();
        const json = page.locator('[data-test=json]').getByRole('textbox');
        await json.fill('{"levels": [{"groups": 4}, {"groups": 3}]}');
        await page.getByRole('button', { name: 'Take over' }).click();
        await totals.getByText('12', { exact: true }).waitFor();
        await json.fill('{"pods": "none"}');
        await page.getByRole('button', { name: 'Take over' }).click();
        await page.getByText('This is no topology').waitFor();

        await page.getByRole('row', { name: /two racks/ }).getByRole('link', { name: 'Plan with it' }).click();
        await confirm(page, 'Go on'); // what was taken over is not saved
        await page.getByText('80 chips').waitFor();
        assert.equal(await page.getByLabel('Model', { exact: true }).inputValue(), 'Qwen3-32B');
        await page.locator('[data-test=name]').fill('on two racks and a half');
        await page.getByRole('button', { name: 'Evaluate' }).click();
        await page.getByRole('link', { name: 'See the result' }).waitFor();

        await go(page, '/planner/topologies');
        await page.getByRole('row', { name: /two racks/ }).getByRole('button', { name: 'Delete' }).click();
        await confirm(page, 'Delete');
        await page.getByText('None is saved yet').waitFor();
        assert.equal((await daemon.get('/api/topologies')).json.topologies.length, 0);
    }, { refusals: true });
});

for (const theme of ['light', 'dark'] as const) {
    test(`on a phone, ${theme}: whole pages, without serious findings, in Chinese`, async () => {
        await withPage(`${daemon.url}/#/planner`, { theme, language: 'zh', size: phone, refusals: true }, async (page) => {
            for (const path of ['/planner', '/planner?tab=evaluations', '/planner?tab=experiments', '/planner/topologies']) {
                await go(page, path);
                await settled(page);
                assert.equal(await overflow(page), 0, path);
                for (const part of await page.locator('main details').all()) {
                    await part.evaluate((details) => details.setAttribute('open', ''));
                }
                assert.deepEqual(await axeFindings(page), [], path);
            }
        });
    });
}
