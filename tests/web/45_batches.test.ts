// SPDX-License-Identifier: Apache-2.0
// Batches: a file is uploaded, worked off and its answers fetched; a wrong one is refused with its lines; a running one is cancelled;
// files are run again and deleted.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { overflow, type Page, phone, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, realModel } from './lib/house.ts';

let daemon: Daemon;

before(async () => {
    daemon = await house();
    await daemon.create(realModel('talker'));
    await daemon.create(daemon.scripted('endless', { events: 100000, event_ms: 20 }, { parallel: 1 }));
    for (const id of ['talker', 'endless']) {
        await daemon.post(`/api/models/${id}/start`);
        await daemon.waitStatus(id, 'running', 60_000);
    }
});
after(() => daemon.finish());

function requests(model: string, count: number, max_tokens = 3): string {
    return Array.from({ length: count }, (_, i) => `${JSON.stringify({ custom_id: `q${i}`, method: 'POST', url: '/v1/chat/completions', body: { model, max_tokens, messages: [{ role: 'user', content: 'Hello' }] } })}\n`).join('');
}
async function choose(page: Page, name: string, text: string): Promise<void> {
    await page.locator('[data-test=file]').setInputFiles({ name, mimeType: 'application/jsonl', buffer: Buffer.from(text) });
    await page.locator('[data-test=new-batch]').getByText(name).waitFor();
}

test('a file is uploaded, its batch watched to the end, the answers seen and fetched', async () => {
    await withPage(`${daemon.url}/#/batches`, {}, async (page) => {
        await choose(page, 'questions.jsonl', requests('talker', 4));
        await page.locator('[data-test=new-batch]').getByText('4 lines').waitFor();
        await page.getByRole('button', { name: 'Upload and start' }).click();
        const row = page.locator('[data-test=batches] tbody tr').first();
        await row.locator('[data-status=completed]').waitFor();
        await row.getByText('4 of 4').waitFor();
        await row.getByRole('button', { name: /^Details/ }).click();
        const answers = page.getByRole('dialog').locator('[data-test=answers]');
        await answers.getByText('"custom_id":"q0"').waitFor();
        const [file] = await Promise.all([page.waitForEvent('download'), answers.getByRole('button', { name: /^Download/ }).click()]);
        assert.equal(readFileSync(await file.path(), 'utf8').trim().split('\n').length, 4);
    });
});

test('a file that is no batch is told before it is uploaded; what the server refuses stands with its line', async () => {
    await withPage(`${daemon.url}/#/batches`, {}, async (page) => {
        await choose(page, 'prose.jsonl', 'this is prose\n');
        await page.getByText('Line 1 is no JSON object.').waitFor();
        await choose(page, 'nobody.jsonl', requests('nobody', 1));
        await page.getByRole('button', { name: 'Upload and start' }).click();
        const row = page.locator('[data-test=batches] tbody tr').first();
        await row.locator('[data-status=failed]').waitFor();
        await row.getByRole('button', { name: /^Details/ }).click();
        await page.locator('[data-test=batch-errors]').getByText(/line 1: .*nobody/).waitFor();
    });
});

test('a running batch is cancelled after a question', async () => {
    await withPage(`${daemon.url}/#/batches`, {}, async (page) => {
        await choose(page, 'long.jsonl', requests('endless', 3, 100000));
        await page.getByRole('button', { name: 'Upload and start' }).click();
        const row = page.locator('[data-test=batches] tbody tr').first();
        await row.locator('[data-status=in_progress]').waitFor();
        await row.getByRole('button', { name: /^Cancel/ }).click();
        await page.locator('.el-message-box').getByRole('button', { name: 'Cancel it' }).click();
        await row.locator('[data-status=cancelled]').waitFor();
    });
});

test('a kept file is run again, and deleted after a question', async () => {
    await withPage(`${daemon.url}/#/batches`, {}, async (page) => {
        const files = page.locator('[data-test=files]');
        await files.getByRole('button', { name: 'Run questions.jsonl' }).click();
        await page.getByRole('button', { name: 'Upload and start' }).click();
        await page.locator('[data-test=batches] tbody tr').first().locator('[data-status=completed]').waitFor();
        await files.getByRole('button', { name: 'Delete nobody.jsonl' }).click();
        await page.locator('.el-message-box').getByRole('button', { name: 'Delete' }).click();
        await files.getByRole('row', { name: /nobody\.jsonl/ }).waitFor({ state: 'detached' });
    });
});

test('on a phone nothing is wider than the window', async () => {
    await withPage(`${daemon.url}/#/batches`, { size: phone }, async (page) => {
        await page.locator('[data-test=batches] tbody tr').first().waitFor();
        await settled(page);
        assert.equal(await overflow(page), 0);
    });
});
