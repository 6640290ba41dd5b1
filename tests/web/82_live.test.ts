// SPDX-License-Identifier: Apache-2.0
// Pages that live on while things change below them: what a person has chosen or typed stays, another thing's page is read anew, and
// many events do not become as many questions.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { go, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, realModel } from './lib/house.ts';

const MANY = 200;
let daemon: Daemon;

before(async () => {
    daemon = await house();
    await daemon.create(realModel('alpha', { name: 'The first one', autostart: false }));
    await daemon.create(realModel('beta', { name: 'The second one', autostart: false }));
});
after(() => daemon.finish());

test('rules that are being typed outlive a break of the connection', async () => {
    await withPage(`${daemon.url}/#/scheduler`, {}, async (page) => {
        await settled(page);
        await page.getByRole('button', { name: 'Policy' }).click();
        const field = page.locator('[data-test=policy]').getByRole('spinbutton').first();
        const read = await field.inputValue();
        await field.fill('0.35');
        const again = page.waitForResponse((answer) => answer.url().endsWith('/api/v1/scheduler/policy'));
        await page.evaluate(() => window.dispatchEvent(new Event('online'))); // as after a sleep: the channel is opened anew
        await (await again).finished();
        await page.locator('[data-test=policy] [aria-busy=false]').waitFor();
        assert.notEqual(read, '0.35');
        assert.equal(await field.inputValue(), '0.35');
    });
});

test('a filter stays when a form is opened and closed', async () => {
    await withPage(`${daemon.url}/#/tasks`, {}, async (page) => {
        await settled(page);
        await page.locator('[data-test=filter-status]').selectOption('pending');
        await page.getByRole('button', { name: 'Submit a task' }).click();
        const form = page.getByRole('dialog', { name: 'Submit a task' });
        await form.getByRole('button', { name: 'Cancel' }).click();
        await form.waitFor({ state: 'hidden' });
        assert.equal(await page.locator('[data-test=filter-status]').inputValue(), 'pending');
    });
});

test('from the page of one model to that of another: it is the other that is shown', async () => {
    await withPage(`${daemon.url}/#/models/alpha`, {}, async (page) => {
        await page.locator('main').getByText('The first one').first().waitFor();
        await go(page, '/models/beta');
        await page.locator('main').getByText('The second one').first().waitFor();
        assert.equal(await page.locator('main').getByText('The first one').count(), 0);
    });
});

test('hundreds of events are a few questions', async () => {
    await withPage(`${daemon.url}/#/tasks`, {}, async (page) => {
        let asked = 0;
        await settled(page);
        await page.locator('.live.live').waitFor();
        page.on('request', (request) => { asked += request.url().includes('/api/v1/stats/dashboard') ? 1 : 0; });
        for (let i = 0; i < MANY; i += 20) {
            await Promise.all(Array.from({ length: 20 }, () => daemon.post('/api/v1/tasks', { model_id: 'alpha', type: 'text-generation', input: 'later', delay: 3600 })));
        }
        await page.locator('[data-test=tasks]').getByText(`${MANY} in all`).waitFor();
        await page.locator('[data-test=queue-cards]').getByText(`${MANY}`, { exact: true }).waitFor();
        assert.ok(asked > 0 && asked < MANY / 4, `${asked} questions`);
    });
});
