// SPDX-License-Identifier: Apache-2.0
// Tasks: submitted with a form, watched while they run, found again, cancelled, retried and deleted many at once; the page of one task
// tells why it waits; cards on every page say what runs, also after a reload.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { go, overflow, type Page, phone, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, realModel, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => {
    daemon = await house();
    await daemon.create(realModel('talker'));
    await daemon.create(daemon.scripted('endless', { events: 100000, event_ms: 20 }, { parallel: 2 }));
    await daemon.create({ ...daemon.scripted('broken', { status: 400, body: '{"error":{"message":"it does not like this"}}' }) });
    for (const id of ['talker', 'endless', 'broken']) {
        await daemon.post(`/api/models/${id}/start`);
        await daemon.waitStatus(id, 'running', 60_000);
    }
});
after(() => daemon.finish());

async function submit(model: string, input: string, fields: object = {}): Promise<number> {
    return (await daemon.post('/api/v1/tasks', { model_id: model, type: 'text-generation', input, ...fields })).json.data.id;
}
async function status(id: number): Promise<string> {
    return (await daemon.get(`/api/v1/tasks/${id}`)).json.data.status;
}
function confirm(page: Page, button: string): Promise<void> {
    return page.locator('.el-message-box').getByRole('button', { name: button }).click();
}

test('a task is submitted, done, and its page shows what came of it', async () => {
    await withPage(`${daemon.url}/#/tasks?submit=1`, {}, async (page) => {
        const form = page.getByRole('dialog', { name: 'Submit a task' });
        await form.getByRole('button', { name: 'Submit' }).click();
        await form.getByText('Choose a model.').waitFor();
        await form.getByLabel('Model', { exact: true }).selectOption('talker');
        await form.getByLabel('Input', { exact: true }).fill('Hello there');
        await form.getByLabel('Priority').selectOption('3');
        await form.getByRole('button', { name: 'Submit' }).click();
        await form.waitFor({ state: 'hidden' });
        const row = page.locator('[data-test=tasks] tbody tr', { hasText: 'Hello there' });
        await row.locator('[data-status=completed]').waitFor();
        await row.getByText('high').waitFor();
        await row.getByRole('link').click();
        await page.getByRole('region', { name: 'Output' }).getByText('Hello from berth!').waitFor();
        await page.locator('[data-test=task-log]').getByText('submitted').waitFor();
    });
});

test('JSON that is none is said at its field, and what was typed stays', async () => {
    await withPage(`${daemon.url}/#/tasks?submit=1`, {}, async (page) => {
        const form = page.getByRole('dialog', { name: 'Submit a task' });
        await form.getByLabel('Model', { exact: true }).selectOption('talker');
        await form.getByLabel('Type', { exact: true }).selectOption('custom');
        assert.ok(await form.getByLabel('JSON', { exact: true }).isChecked(), 'a request body is JSON');
        await form.getByLabel('Input', { exact: true }).fill('{"prompt": ');
        await form.getByLabel('path').fill('/v1/completions');
        await form.getByRole('button', { name: 'Submit' }).click();
        await form.getByText('This is no JSON').waitFor();
        await form.getByLabel('Input', { exact: true }).fill('{"prompt": "Once", "max_tokens": 3}');
        assert.equal(await form.getByLabel('path').inputValue(), '/v1/completions');
        await form.getByRole('button', { name: 'Submit' }).click();
        await page.locator('[data-test=tasks] tbody tr', { hasText: '"Once"' }).locator('[data-status=completed]').waitFor();
    });
});

test('what runs has a card on every page, back after a reload with a note, and is cancelled from it', async () => {
    const id = await submit('endless', 'go on');
    await until('it to run', async () => await status(id) === 'running');
    await withPage(`${daemon.url}/#/models`, {}, async (page) => {
        const cards = page.locator('[data-test=live-cards]');
        const card = cards.locator(`[data-work="task ${id}"]`);
        await card.locator('[data-status=running]').waitFor();
        await page.reload();
        await cards.locator('[data-test=returned]').getByText('Still running: 1.').waitFor();
        await go(page, '/tasks');
        await page.locator(`[data-test=running] [data-task="${id}"]`).waitFor();
        await cards.getByRole('button', { name: /1 running/ }).click();
        await card.waitFor({ state: 'hidden' });
        await cards.getByRole('button', { name: /1 running/ }).click();
        await card.getByRole('button', { name: `Cancel Task ${id}` }).click();
        await confirm(page, 'Cancel it');
        await card.locator('[data-status=cancelled]').waitFor();
        await card.waitFor({ state: 'detached' });
        assert.equal(await status(id), 'cancelled');
    });
});

test('on a phone the cards are folded, and the page is as wide as the window', async () => {
    const id = await submit('endless', 'for the phone');
    await withPage(`${daemon.url}/#/tasks`, { size: phone, language: 'zh' }, async (page) => {
        const fold = page.locator('[data-test=live-cards]').getByRole('button', { name: /1 个运行中/ });
        await fold.waitFor();
        assert.equal(await fold.getAttribute('aria-expanded'), 'false');
        await settled(page);
        assert.equal(await overflow(page), 0);
        await page.getByRole('link', { name: '统计' }).click();
        await page.getByRole('heading', { name: '按模型' }).waitFor();
        assert.equal(await overflow(page), 0);
    });
    await daemon.ask({ method: 'DELETE', path: `/api/v1/tasks/${id}` });
});

test('a waiting task says why; its priority is changed where it stands', async () => {
    await daemon.ask({ method: 'PUT', path: '/api/models/broken/task-status', body: { status: 'offline' } });
    const id = await submit('broken', 'held back');
    await withPage(`${daemon.url}/#/tasks/${id}`, {}, async (page) => {
        await page.locator('[data-test=waiting]').getByText('offline').waitFor();
        await page.getByLabel('Change the priority').selectOption('3');
        await page.getByText(`Task ${id} is of high priority.`).waitFor();
        assert.equal((await daemon.get(`/api/v1/tasks/${id}`)).json.data.priority, 3);
        await daemon.ask({ method: 'PUT', path: '/api/models/broken/task-status', body: { status: 'online' } });
        await page.locator('[data-test=error]').getByText('it does not like this').waitFor();
    });
});

test('many at once: cancelled, deleted after a question, what is refused is told', async () => {
    const ids = await Promise.all(['one', 'two', 'three'].map((word) => submit('talker', `many ${word}`, { delay: '1h' })));
    await withPage(`${daemon.url}/#/tasks`, {}, async (page) => {
        const list = page.locator('[data-test=tasks]');
        await list.getByRole('searchbox').fill('MANY t');
        await until('the text to narrow', async () => await list.locator('tbody tr').count() === 2);
        await list.getByRole('searchbox').fill('many ');
        await until('all three', async () => await list.locator('tbody tr').count() === 3);
        await list.getByLabel('All', { exact: true }).check();
        await list.locator('[data-test=bulk]').getByRole('button', { name: 'Delete' }).click();
        await confirm(page, 'Delete them');
        await page.getByText('3 refused').waitFor();
        await list.getByLabel('All', { exact: true }).check();
        await list.locator('[data-test=bulk]').getByRole('button', { name: 'Cancel' }).click();
        await confirm(page, 'Cancel them');
        await until('all to be cancelled', async () => await list.locator('[data-status=cancelled]').count() === 3);
        for (const id of ids) {
            assert.equal(await status(id), 'cancelled');
        }
        await list.getByLabel('All', { exact: true }).check();
        await list.locator('[data-test=bulk]').getByRole('button', { name: 'Delete' }).click();
        await confirm(page, 'Delete them');
        await list.getByText('Nothing matches').waitFor();
    });
});

test('the list is narrowed by status and time, and exported', async () => {
    await submit('talker', 'narrow');
    await withPage(`${daemon.url}/#/tasks?status=completed`, {}, async (page) => {
        const list = page.locator('[data-test=tasks]');
        await list.locator('[data-status=completed]').first().waitFor();
        assert.equal(await list.locator('tbody tr').count(), await list.locator('[data-status=completed]').count());
        const [file] = await Promise.all([page.waitForEvent('download'), list.getByRole('button', { name: 'JSON' }).click()]);
        const rows: { status: string }[] = JSON.parse(readFileSync(await file.path(), 'utf8'));
        assert.ok(rows.length > 0 && rows.every((row) => row.status === 'completed'));
        await list.getByLabel('Submitted until').fill('2020-01-01T00:00');
        await list.getByText('No task matches.').waitFor();
        await list.getByRole('button', { name: 'Clear filters' }).click();
        await list.locator('tbody tr').first().waitFor();
    });
});

test('statistics by day, model and type', async () => {
    await withPage(`${daemon.url}/#/tasks?view=statistics`, {}, async (page) => {
        await page.locator('[data-test=by-model]').getByRole('row', { name: /^talker/ }).waitFor();
        await page.locator('[data-test=by-type]').getByRole('row', { name: /^custom/ }).waitFor();
        await page.locator('.chart canvas').first().waitFor();
    });
});
