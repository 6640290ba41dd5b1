// SPDX-License-Identifier: Apache-2.0
// One walk through the dashboard as a person takes it, from an empty list to a service that works and back to whom it moved aside; at a
// desk and on a phone. Each step goes by the menu and leaves what the next one finds.
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { quickstartGguf } from '../flow/lib/paths.ts';
import { type Locator, overflow, type Page, phone, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, realModel, until } from './lib/house.ts';

/** To a page by the menu, which a phone folds away; the page fits into the window. */
async function visit(page: Page, name: string): Promise<void> {
    const menu = page.getByRole('button', { name: 'Open the menu' });
    if (await menu.isVisible()) {
        await menu.click();
    }
    await page.getByRole('navigation', { name: 'Pages' }).getByRole('link', { name, exact: true }).click();
    await page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
    await settled(page);
    assert.equal(await overflow(page), 0, `${name} is wider than the window`);
}
function row(page: Page, id: string): Locator {
    return page.locator(`tr[data-row="${id}"]`);
}
function confirm(page: Page, button: string): Promise<void> {
    return page.locator('.el-message-box').getByRole('button', { name: button }).click();
}

async function addModel(page: Page): Promise<void> {
    await visit(page, 'Models');
    await page.getByRole('button', { name: 'Add a model' }).first().click();
    const form = page.getByRole('dialog', { name: 'Add a model' });
    await form.getByRole('button', { name: 'Browse…' }).click();
    const files = page.getByRole('dialog', { name: 'Choose a model file' });
    await files.getByRole('button', { name: dirname(quickstartGguf) }).click();
    await files.getByRole('button', { name: 'quickstart.gguf' }).click();
    await form.getByLabel('ID', { exact: true }).fill('writer');
    await form.getByLabel('Name', { exact: true }).fill('Writer');
    await form.getByRole('spinbutton', { name: 'Priority' }).fill('4');
    await form.getByLabel('Estimate it from the file').uncheck();
    await form.getByLabel('GPU memory in MB').fill(String(15 * 1024));
    await form.locator('[data-test=valid]').waitFor();
    await form.getByRole('button', { name: 'Add a model' }).click();
    await form.waitFor({ state: 'hidden' });
    await row(page, 'writer').getByText('Stopped').waitFor();
}

async function start(page: Page): Promise<void> {
    await row(page, 'writer').getByRole('button', { name: /^Start/ }).click();
    await row(page, 'writer').getByText('Running').waitFor();
}

async function chat(page: Page): Promise<void> {
    await visit(page, 'Playground');
    await page.locator('[data-test=model]').selectOption('writer');
    await page.locator('[data-test=question]').fill('Who is there?');
    await page.locator('[data-test=send]').click();
    const answer = page.locator('[data-role=assistant]').last();
    await answer.getByText('Hello from berth!').waitFor();
    await answer.locator('[data-figure=first]').waitFor();
    await answer.locator('[data-figure=instance]').waitFor();
}

async function preempt(page: Page, daemon: Daemon): Promise<void> {
    await visit(page, 'Scheduler');
    await page.getByRole('button', { name: 'Schedule a model' }).click();
    const dialog = page.getByRole('dialog', { name: 'Schedule a model' });
    await dialog.getByLabel('Model', { exact: true }).selectOption('boss');
    await dialog.getByLabel('Priority').fill('9');
    await dialog.locator('[data-test=preview]').getByText('Moves aside: writer').waitFor();
    assert.equal(await overflow(page), 0, 'the dialog is wider than the window');
    assert.equal(await daemon.status('writer'), 'running', 'a look changes nothing');
    await dialog.getByRole('button', { name: 'Schedule', exact: true }).click();
    await confirm(page, 'Schedule');
    await dialog.waitFor({ state: 'hidden' });
    await page.locator('[data-test=devices]').getByRole('link', { name: 'Boss' }).waitFor();
    await page.locator('[data-test=queue] tr[data-row=writer]').getByText('Moved aside').waitFor();
    const history = page.locator('[data-test=history]');
    await history.locator('[data-model=writer][data-action=preempted]').getByText("makes room for 'boss'").waitFor();
    await history.locator('[data-model=boss][data-action=scheduled]').waitFor();
}

async function submitTask(page: Page, model: string, input: string): Promise<Locator> {
    await page.locator('.page-head').getByRole('button', { name: 'Submit a task' }).click();
    const form = page.getByRole('dialog', { name: 'Submit a task' });
    await form.getByLabel('Model', { exact: true }).selectOption(model);
    await form.getByLabel('Input', { exact: true }).fill(input);
    await form.getByRole('button', { name: 'Submit' }).click();
    await form.waitFor({ state: 'hidden' });
    return page.locator('[data-test=tasks] tbody tr', { hasText: input });
}

async function tasks(page: Page): Promise<void> {
    await visit(page, 'Tasks');
    const short = await submitTask(page, 'reader', 'a short one');
    await short.locator('[data-status=completed]').waitFor();
    const long = await submitTask(page, 'boss', 'one without end');
    await long.locator('[data-status=running]').waitFor();
    const cards = page.locator('[data-test=live-cards]');
    const folded = cards.getByRole('button', { expanded: false });
    if (await folded.count() > 0) {
        await folded.click();
    }
    await cards.getByRole('button', { name: /^Cancel Task/ }).click();
    await confirm(page, 'Cancel it');
    await long.locator('[data-status=cancelled]').waitFor();
    await cards.waitFor({ state: 'detached' });
}

async function evaluate(page: Page): Promise<void> {
    await visit(page, 'Planner');
    await page.getByRole('button', { name: 'DeepSeek-V3 on 64 chips' }).click();
    await page.locator('[data-test=name]').fill('on the walk');
    await page.getByRole('button', { name: 'Evaluate' }).click();
    await page.getByRole('link', { name: 'See the result' }).click();
    await page.getByRole('heading', { level: 1, name: 'on the walk' }).waitFor();
    await page.locator('[data-test=plan]').getByText('holds').first().waitFor();
    assert.equal(await overflow(page), 0, 'the result is wider than the window');
}

async function changePolicy(page: Page, daemon: Daemon): Promise<void> {
    await visit(page, 'Scheduler');
    await page.getByRole('button', { name: 'Policy' }).click();
    const dialog = page.getByRole('dialog', { name: 'Placement policy' });
    const order = dialog.getByLabel('Order of placing');
    await until('the policy to be read', async () => await order.inputValue() === 'priority_based');
    await order.selectOption('spread');
    await dialog.getByRole('button', { name: 'Apply' }).click();
    await dialog.waitFor({ state: 'hidden' });
    assert.equal((await daemon.get('/api/v1/scheduler/policy')).json.scheduling_algorithm, 'spread');
}

/** Whom the boss moved aside comes back by itself when the boss is gone, and answers again. */
async function recover(page: Page): Promise<void> {
    await visit(page, 'Models');
    await row(page, 'writer').getByText('Moved aside').waitFor();
    await row(page, 'boss').getByRole('button', { name: /^Stop/ }).click();
    await confirm(page, 'Stop');
    await row(page, 'boss').getByText('Stopped').waitFor();
    await row(page, 'writer').getByText('Running').waitFor();
    await chat(page);
    await visit(page, 'Scheduler');
    await page.locator('[data-test=history] [data-model=writer][data-action=recovered]').waitFor();
}

async function switchLanguage(page: Page): Promise<void> {
    await page.locator('[data-test=language]').selectOption('zh');
    await page.getByRole('heading', { level: 1, name: '调度', exact: true }).waitFor();
    await page.locator('[data-test=history]').getByRole('heading', { name: '历史' }).waitFor();
    assert.equal(await overflow(page), 0, 'in Chinese the page is wider than the window');
    await page.reload();
    await page.getByRole('heading', { level: 1, name: '调度', exact: true }).waitFor();
}

for (const [where, look] of [['at a desk', {}], ['on a phone', { size: phone }]] as const) {
    test(`${where}: a model is made, started, asked, moved aside and comes back; tasks, an evaluation, a policy, the other language`, async () => {
        const daemon = await house({ files: { roots: [dirname(quickstartGguf)] } });
        try {
            const big = { resource_requirements: { gpu_memory: 15 * 1024 } };
            await daemon.up(realModel('reader', { ...big, name: 'Reader', priority: 6 }));
            await daemon.create({ ...daemon.scripted('boss', { events: 100000, event_ms: 20 }, { parallel: 2 }), ...big, name: 'Boss' });
            await withPage(daemon.url, look, async (page) => {
                await settled(page);
                await addModel(page);
                await start(page);
                await chat(page);
                await preempt(page, daemon);
                await tasks(page);
                await evaluate(page);
                await changePolicy(page, daemon);
                await recover(page);
                await switchLanguage(page);
            });
        } finally {
            await daemon.finish();
        }
    });
}
