// SPDX-License-Identifier: Apache-2.0
// Models: added with a form that the server checks while it is typed, found by a browser of files, started, pinned, changed, stopped and
// deleted; the page of one model tells how it is and why.
import assert from 'node:assert/strict';
import { dirname } from 'node:path';
import { after, before, test } from 'node:test';
import { quickstartGguf } from '../flow/lib/paths.ts';
import { go, type Locator, overflow, type Page, phone, settled, withPage } from './lib/browser.ts';
import { type Daemon, house, realModel, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => {
    daemon = await house({ files: { roots: [dirname(quickstartGguf)] }, models: [realModel('from-file', { autostart: false })] });
    await daemon.create(realModel('alpha', { aliases: ['first-one'], priority: 4 }));
    await daemon.create(realModel('beta', { priority: 6 }));
    await daemon.create(realModel('lost', { model_path: '/nowhere/lost.gguf', priority: 2 }));
});
after(() => daemon.finish());

function row(page: Page, id: string): Locator {
    return page.locator(`tr[data-row="${id}"]`);
}
async function choose(page: Page, id: string, item: string): Promise<void> {
    await row(page, id).getByRole('button', { name: `More: ${id}` }).click();
    await page.getByRole('menuitem', { name: item }).click();
}

test('a model is added: the file is found, the memory estimated, mistakes are shown where they are', async () => {
    await withPage(`${daemon.url}/#/models?add=1`, { refusals: true }, async (page) => {
        const form = page.getByRole('dialog', { name: 'Add a model' });
        const priority = form.getByRole('spinbutton', { name: 'Priority' });
        await form.getByText('what it needs is estimated here').waitFor();
        await form.getByRole('button', { name: 'Browse…' }).click();
        const files = page.getByRole('dialog', { name: 'Choose a model file' });
        await files.getByRole('button', { name: dirname(quickstartGguf) }).click();
        await files.getByRole('searchbox').fill('quick');
        await files.getByRole('button', { name: 'quickstart.gguf' }).click();
        assert.equal(await form.getByLabel('Model', { exact: true }).inputValue(), quickstartGguf);
        assert.equal(await form.getByLabel('ID', { exact: true }).inputValue(), 'quickstart', 'the file makes a first name');

        const estimate = form.locator('[data-test=estimate]');
        await estimate.getByText('KV cache').waitFor();
        const small = await estimate.innerText();
        await form.getByRole('button', { name: '+ ctx_size' }).click();
        await form.getByLabel('Value of ctx_size').fill('65536');
        await until('the estimate to follow', async () => (await estimate.innerText()) !== small && /KV cache\s+\d/.test(await estimate.innerText()));

        await priority.fill('99');
        await form.getByText('priority must be between 1 and 10').waitFor();
        assert.equal(await priority.getAttribute('aria-invalid'), 'true');
        await form.getByLabel('ID', { exact: true }).fill('alpha');
        await form.getByRole('button', { name: 'Add a model' }).click();
        await form.locator('[data-test=refusal]').getByText('priority must be between 1 and 10').waitFor();
        await priority.fill('7');
        await form.locator('[data-test=valid]').waitFor();
        await form.getByRole('button', { name: 'Add a model' }).click();
        await form.locator('[data-test=refusal]').getByText("'alpha' exists already").waitFor();
        assert.equal(await form.getByLabel('Value of ctx_size').inputValue(), '65536', 'nothing is lost');

        await form.getByLabel('ID', { exact: true }).fill('gamma');
        await form.getByLabel('Value of ctx_size').fill('2048');
        await form.getByRole('button', { name: 'Add a model' }).click();
        await form.waitFor({ state: 'hidden' });
        await row(page, 'gamma').getByText('Stopped').waitFor();
    });
    const { json } = await daemon.get('/api/models/gamma/config');
    assert.equal(json.priority, 7);
    assert.deepEqual(json.parameters, { ctx_size: 2048 });
    assert.equal(json.resource_requirements.gpu_memory, 'auto');
});

test('the files that are shown stay within the allowed folders', async () => {
    await withPage(`${daemon.url}/#/models?add=1`, {}, async (page) => {
        await page.getByRole('dialog', { name: 'Add a model' }).getByRole('button', { name: 'Browse…' }).click();
        const files = page.getByRole('dialog', { name: 'Choose a model file' });
        await files.getByRole('button', { name: dirname(quickstartGguf) }).click();
        await files.getByRole('button', { name: 'quickstart.gguf' }).waitFor();
        await files.getByRole('button', { name: 'Up' }).click();
        await files.getByText('Allowed folders').waitFor();
        assert.deepEqual(await files.locator('tbody tr').count(), 1, 'above a root there is nothing but the roots');
    });
});

test('a model is started, pinned without a restart, changed and stopped; the list follows', async () => {
    await withPage(`${daemon.url}/#/models`, {}, async (page) => {
        await row(page, 'alpha').getByRole('button', { name: 'Start alpha' }).click();
        await row(page, 'alpha').getByText('Running').waitFor();
        const { pid } = await daemon.readyInstance('alpha');

        await choose(page, 'alpha', 'Pin');
        await row(page, 'alpha').getByText('Pinned').waitFor();
        await choose(page, 'alpha', 'Edit');
        const form = page.getByRole('dialog', { name: 'Change alpha' });
        assert.ok(await form.getByLabel('ID', { exact: true }).getAttribute('readonly') !== null, 'an id stays');
        await form.getByRole('spinbutton', { name: 'Priority' }).fill('9');
        await form.getByText('Loading and names').click();
        await form.getByLabel('Aliases').fill('first-one, another');
        await form.getByRole('button', { name: 'Save' }).click();
        await form.waitFor({ state: 'hidden' });
        await row(page, 'alpha').getByText('another').waitFor();
        assert.equal((await daemon.readyInstance('alpha')).pid, pid, 'the engine went on');
        assert.equal((await daemon.get('/api/models/alpha/config')).json.priority, 9);

        await row(page, 'alpha').getByRole('button', { name: 'Stop alpha' }).click();
        await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
        assert.equal(await daemon.status('alpha'), 'running', 'asked, and not meant');
        await choose(page, 'alpha', 'Unpin');
        await row(page, 'alpha').getByText('Pinned').waitFor({ state: 'hidden' });
        await row(page, 'alpha').getByRole('button', { name: 'Stop alpha' }).click();
        await page.getByRole('dialog').getByRole('button', { name: 'Stop' }).click();
        await row(page, 'alpha').getByText('Stopped').waitFor();
    });
});

test('the list is searched, filtered and sorted by the server', async () => {
    await withPage(`${daemon.url}/#/models`, {}, async (page) => {
        const ids = (): Promise<string[]> => page.locator('tbody tr').evaluateAll((rows) => rows.map((one) => (one as HTMLElement).dataset.row ?? ''));
        await page.getByRole('searchbox').fill('first-one');
        await until('one row', async () => (await ids()).join() === 'alpha');
        await page.getByRole('searchbox').fill('nobody');
        await page.getByText('Nothing matches').waitFor();
        await page.getByRole('searchbox').fill('');
        await page.getByRole('button', { name: 'Priority' }).click();
        await until('the lowest first', async () => (await ids())[0] === 'lost');
        await page.locator('[data-test=status-filter]').selectOption('preempted');
        await page.getByText('Nothing matches').waitFor();
    });
});

test('a model of the configuration file says that it is changed there', async () => {
    await withPage(`${daemon.url}/#/models`, {}, async (page) => {
        await row(page, 'from-file').getByRole('button', { name: 'More: from-file' }).click();
        assert.equal(await page.getByRole('menuitem', { name: 'Edit' }).getAttribute('aria-disabled'), 'true');
        await page.getByRole('menuitem', { name: 'Defined in the configuration file' }).waitFor();
    });
});

test('a model that cannot start says why, where the button is', async () => {
    await withPage(`${daemon.url}/#/models`, { refusals: true }, async (page) => {
        await row(page, 'lost').getByRole('button', { name: 'Start lost' }).click();
        await page.getByText('cannot read the model file /nowhere/lost.gguf').first().waitFor();
    });
});

test('the page of a model: why, instances, log, history, definition', async () => {
    await daemon.post('/api/models/beta/start');
    await daemon.waitStatus('beta', 'running', 60_000);
    await daemon.chat('beta', { max_tokens: 4 });
    await withPage(`${daemon.url}/#/models/beta`, {}, async (page) => {
        await page.locator('[data-test=why]').getByText(/it runs on device \d/).waitFor();
        await page.locator('[data-test=model-status]').getByText('Running').waitFor();
        await page.getByRole('button', { name: 'Probe now' }).click();
        await page.getByText('The engine answers').waitFor();
        await page.locator('tbody tr').getByText('Ready').waitFor();
        await page.getByRole('tab', { name: 'Metrics' }).click();
        await page.getByRole('heading', { name: 'Mean time of a request' }).waitFor();
        await page.getByRole('tab', { name: 'Log' }).click();
        await page.getByRole('log').getByText('listening').waitFor();
        await page.getByRole('tab', { name: 'History' }).click();
        await page.locator('tbody tr').getByText('Placed').first().waitFor();
        await page.getByText('is ready').first().waitFor();
        await page.getByRole('tab', { name: 'Definition' }).click();
        await page.locator('[data-test=definition]').getByText('"id": "beta"').waitFor();
        await page.reload();
        await page.locator('[data-test=definition]').waitFor();
    });
});

test('a model is deleted from its page, after a question; the list does not have it any more', async () => {
    await withPage(`${daemon.url}/#/models/gamma`, { refusals: true }, async (page) => {
        await page.getByRole('button', { name: 'More: gamma' }).click();
        await page.getByRole('menuitem', { name: 'Delete' }).click();
        await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
        await page.waitForURL(/#\/models$/);
        await settled(page);
        assert.equal(await row(page, 'gamma').count(), 0);
        assert.equal((await daemon.get('/api/models/gamma')).status, 404);
    });
});

test('on a phone, in Chinese: the form and the page of a model fit', async () => {
    await withPage(`${daemon.url}/#/models?add=1`, { size: phone, language: 'zh', theme: 'dark' }, async (page) => {
        await page.getByRole('dialog', { name: '添加模型' }).getByLabel('编号').waitFor();
        assert.equal(await overflow(page), 0);
        await page.keyboard.press('Escape');
        await go(page, '/models/beta');
        await page.getByText('为何如此放置').waitFor();
        await settled(page);
        assert.equal(await overflow(page), 0);
    });
});
