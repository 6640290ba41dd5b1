// SPDX-License-Identifier: Apache-2.0
// Doors that fail or take long, on every page: what a person sees is a state with a way out, never an empty page.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { go, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, until } from './lib/house.ts';

let daemon: Daemon;
/** Pages whose first view is read from berth. */
const reading = ['models', 'scheduler', 'instances', 'tasks', 'batches', 'monitoring', 'configuration', 'system'];

before(async () => { daemon = await house(); });
after(() => daemon.finish());

test('a door that fails: the page says why, and tries again when told to', async () => {
    await withPage(daemon.url, { refusals: true }, async (page) => {
        await settled(page);
        for (const path of reading) {
            await go(page, '/api');
            await page.route(/\/(api|v1)\//, (route) => (route.request().url().includes('/api/events') ? route.continue() : route.fulfill({ status: 503, contentType: 'application/json', body: '{"detail": "the store is closed"}' })));
            await go(page, `/${path}`);
            await page.locator('[data-test=failed]').first().getByText('the store is closed').waitFor();
            await page.unroute(/\/(api|v1)\//);
            const again = page.locator('[data-test=failed]').getByRole('button', { name: 'Try again' });
            await until(`${path} to be read`, async () => { // a view may come back by itself while its button is looked for
                await again.first().click({ timeout: 1000 }).catch(() => undefined);
                await settled(page);
                return await again.count() === 0;
            });
        }
    });
});

test('a door that takes long: the page shows that it loads', async () => {
    await withPage(daemon.url, {}, async (page) => {
        await settled(page);
        for (const path of reading) {
            let release = (): void => undefined;
            const held = new Promise<void>((done) => { release = done; });
            await go(page, '/api');
            await page.route(/\/(api|v1)\//, async (route) => {
                await (route.request().url().includes('/api/events') ? undefined : held);
                await route.continue();
            });
            await go(page, `/${path}`);
            await page.locator('[data-test=loading]').first().waitFor();
            release();
            await settled(page);
            assert.equal(await page.locator('[data-test=loading]').count(), 0, path);
            await page.unroute(/\/(api|v1)\//);
        }
    });
});

test('a key that may not: the page says so and offers to sign in', async () => {
    await withPage(daemon.url, { refusals: true, prepare: (page) => page.route(/\/api\//, (route) => route.fulfill({ status: 403, contentType: 'application/json', body: '{"detail": "this key is for inference only"}' })) }, async (page) => {
        for (const path of ['models', 'scheduler', 'instances', 'tasks', 'configuration', 'system']) {
            await go(page, `/${path}`);
            const state = page.locator('[data-test=forbidden]').first();
            await state.getByText('this key is for inference only').waitFor();
            await state.getByRole('button', { name: 'Sign in' }).waitFor();
        }
        await page.getByText('Not signed in').waitFor();
    });
});
