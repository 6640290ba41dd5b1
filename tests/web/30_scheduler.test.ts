// SPDX-License-Identifier: Apache-2.0
// The scheduler's page: what lies where, a model asked for by hand with a look at who would move, the queue, the history and its
// export, and the policy, which applies.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { overflow, type Page, phone, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => {
    daemon = await house();
    for (const [id, gib, priority] of [['chat', 15, 5], ['code', 10, 5], ['draft', 8, 3], ['boss', 9, 9]] as const) {
        await daemon.create({ ...daemon.scripted(id), name: id[0].toUpperCase() + id.slice(1), priority, resource_requirements: { gpu_memory: gib * 1024 } });
    }
    for (const id of ['chat', 'code', 'draft']) {
        await daemon.post(`/api/models/${id}/start`);
        await daemon.waitStatus(id, 'running', 60_000);
    }
});
after(() => daemon.finish());

async function policy(): Promise<any> {
    return (await daemon.get('/api/v1/scheduler/policy')).json;
}
function confirm(page: Page, button: string): Promise<void> {
    return page.locator('.el-message-box').getByRole('button', { name: button }).click();
}

test('a model is scheduled by hand: who would move is seen first, nothing happens before the button', async () => {
    await withPage(`${daemon.url}/#/scheduler?schedule=1`, {}, async (page) => {
        const devices = page.locator('[data-test=devices]');
        await devices.getByText('2 of 2 devices hold models').waitFor();
        const dialog = page.getByRole('dialog', { name: 'Schedule a model' });
        const preview = dialog.locator('[data-test=preview]');
        assert.equal(await dialog.getByLabel('Priority').inputValue(), '5');
        assert.ok(await dialog.getByLabel('Lower priorities may be moved aside').isChecked());
        await dialog.getByLabel('Model', { exact: true }).selectOption('boss');
        await dialog.getByLabel('Priority').fill('9');
        await preview.getByText('Moves aside: draft').waitFor();
        await dialog.getByLabel('Lower priorities may be moved aside').uncheck();
        await preview.getByText('Would wait in the queue').waitFor();
        assert.equal(await preview.getByText('Moves aside').count(), 0);
        await dialog.getByLabel('Lower priorities may be moved aside').check();
        await preview.getByText('Moves aside: draft').waitFor();
        assert.equal((await daemon.get('/api/models/boss/status')).json.status, 'stopped', 'a look changes nothing');

        await dialog.getByRole('button', { name: 'Schedule', exact: true }).click();
        await confirm(page, 'Schedule');
        await dialog.waitFor({ state: 'hidden' });
        await devices.getByRole('link', { name: 'Boss' }).waitFor();
        const waiting = page.locator('[data-test=queue] tr[data-row=draft]');
        await waiting.getByText('needs 8.0 GB on one device').waitFor();
        await waiting.getByText('Moved aside').waitFor();
        const history = page.locator('[data-test=history]');
        await history.locator('[data-model=draft][data-action=preempted]').getByText("makes room for 'boss'").waitFor();
        await history.locator('[data-model=boss][data-action=scheduled]').waitFor();
    });
});

test('who waits is raised, and withdrawn after a question', async () => {
    await withPage(`${daemon.url}/#/scheduler`, {}, async (page) => {
        const row = page.locator('[data-test=queue] tr[data-row=draft]');
        await row.getByRole('button', { name: 'Raise Draft' }).click();
        await page.getByText('Draft has priority 4 now').waitFor();
        await row.getByRole('cell', { name: '4', exact: true }).waitFor();
        await row.getByRole('button', { name: 'Withdraw Draft' }).click();
        await confirm(page, 'Withdraw');
        await page.locator('[data-test=queue]').getByText('Nobody waits for room.').waitFor();
        assert.equal((await daemon.get('/api/models/draft/status')).json.status, 'stopped');
    });
});

test('the history is narrowed by the server and exported', async () => {
    await withPage(`${daemon.url}/#/scheduler`, {}, async (page) => {
        const history = page.locator('[data-test=history]');
        await history.locator('[data-model=chat]').first().waitFor();
        await history.locator('[data-test=history-action]').selectOption('preempted');
        await history.locator('[data-model=chat]').first().waitFor({ state: 'detached' });
        assert.equal(await history.locator('li[data-action=preempted]').count(), await history.locator('li[data-action]').count());
        const [file] = await Promise.all([page.waitForEvent('download'), history.getByRole('button', { name: 'CSV' }).click()]);
        const lines = readFileSync(await file.path(), 'utf8').trim().split('\r\n');
        assert.match(lines[0], /^id,timestamp,model_id/);
        assert.ok(lines.length > 1 && lines.slice(1).every((line) => line.includes('preempted')), lines.join('\n'));
        await history.locator('[data-test=history-action]').selectOption('');
        await history.getByRole('searchbox').fill('room for');
        await until('the search to narrow', async () => await history.locator('[data-action=scheduled]').count() === 0 && await history.locator('[data-model=draft]').count() > 0);
    });
});

test('the policy applies; what is refused is said at its field and nothing is lost', async () => {
    await withPage(`${daemon.url}/#/scheduler`, { refusals: true }, async (page) => {
        await page.getByRole('button', { name: 'Policy' }).click();
        const dialog = page.getByRole('dialog', { name: 'Placement policy' });
        const share = dialog.getByLabel('Share of a device that is placed');
        await until('the policy to be read', async () => await share.inputValue() === '0.8');
        await dialog.getByLabel('Order of placing').selectOption('spread');
        await share.fill('7');
        await dialog.getByRole('button', { name: 'Apply' }).click();
        await dialog.getByRole('alert').getByText('resource_threshold').waitFor();
        assert.equal(await share.getAttribute('aria-invalid'), 'true');
        assert.equal(await dialog.getByLabel('Order of placing').inputValue(), 'spread');
        assert.equal((await policy()).scheduling_algorithm, 'priority_based');
        await share.fill('0.9');
        await dialog.getByRole('button', { name: 'Apply' }).click();
        await dialog.waitFor({ state: 'hidden' });
        const { scheduling_algorithm, resource_threshold } = await policy();
        assert.deepEqual({ scheduling_algorithm, resource_threshold }, { scheduling_algorithm: 'spread', resource_threshold: 0.9 });
    });
});

test('on a phone, in Chinese, nothing is wider than the window', async () => {
    await withPage(`${daemon.url}/#/scheduler`, { language: 'zh', size: phone }, async (page) => {
        await page.getByRole('heading', { name: '历史' }).waitFor();
        await settled(page);
        assert.equal(await overflow(page), 0);
        await page.getByRole('button', { name: '调度模型' }).click();
        await page.getByRole('dialog', { name: '调度模型' }).waitFor();
        assert.equal(await overflow(page), 0);
    });
});
