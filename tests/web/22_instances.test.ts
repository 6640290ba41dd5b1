// SPDX-License-Identifier: Apache-2.0
// Instances and routing: what is predicted, who was chosen how often, and the strategy, changed where it stands.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { TaskInstance } from '../flow/lib/task_instance.ts';
import { settled, withPage } from './lib/browser.ts';
import { type Daemon, house, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => {
    daemon = await house();
    await daemon.create({ ...daemon.scripted('twins', { events: 4 }, { parallel: 2 }), replicas: 2, resource_requirements: { gpu_memory: 64 } });
    await daemon.create({ ...daemon.scripted('other', {}), priority: 3 });
    await daemon.post('/api/models/twins/start');
    await daemon.waitStatus('twins', 'running');
    await until('both to be ready', async () => (await daemon.instances('twins')).every(({ state }) => state === 'ready'));
});
after(() => daemon.finish());

test('instances are shown with what is predicted of them, and filtered by the server', async () => {
    await withPage(`${daemon.url}/#/instances`, {}, async (page) => {
        const list = page.getByRole('region', { name: 'Instances', exact: true });
        await until('both', async () => (await list.locator('tbody tr').count()) === 2);
        assert.match(await list.locator('tbody tr').first().innerText(), /twins[\s\S]*Ready[\s\S]*0 \/ 2[\s\S]*±[\s\S]*Closed/);
        await page.locator('select').filter({ hasText: 'Any status' }).selectOption('failed');
        await page.getByText('No engine runs').waitFor();
    });
});

test('requests are shared out as the strategy says; the shares are counted from when the page was opened', async () => {
    await daemon.ask({ method: 'PUT', path: '/api/proxy/load-balance?strategy=round_robin&model_id=twins', headers: { 'content-length': '0' } });
    for (let i = 0; i < 4; i++) {
        await daemon.chat('twins', { max_tokens: 2 });
    }
    await withPage(`${daemon.url}/#/instances`, {}, async (page) => {
        const shares = page.locator('[data-model=twins] tbody tr');
        await until('two halves', async () => (await shares.allInnerTexts()).every((text) => /50 % 2/.test(text)) && (await shares.count()) === 2);
        assert.ok((await shares.allInnerTexts()).every((text) => text.includes('– 0')), 'none since the page was opened');
        for (let i = 0; i < 2; i++) {
            await daemon.chat('twins', { max_tokens: 2 });
        }
        await until('the new ones', async () => (await shares.allInnerTexts()).every((text) => /50 % 3[\s\S]*50 % 1/.test(text)), 30_000);
    });
});

test('the strategy is changed in place, of one model and of all', async () => {
    await withPage(`${daemon.url}/#/instances`, {}, async (page) => {
        await page.getByLabel('Strategy: other').selectOption('shortest_queue');
        await page.getByText('Chosen by shortest_queue from now on').waitFor();
        await page.locator('[data-test=strategy-all]').selectOption('power_of_two');
        await page.getByText('Chosen by power_of_two from now on').waitFor();
        const { json } = await daemon.get('/api/proxy/load-balance');
        assert.equal(json.strategy, 'power_of_two');
        assert.equal(json.models.other, 'shortest_queue');
        await page.getByLabel('Strategy: other').selectOption('default');
        await until('it to follow the others', async () => (await page.getByLabel('Strategy: other').inputValue()) === 'power_of_two');
    });
});

test('Task Instances have a section as soon as there is one', async () => {
    await withPage(`${daemon.url}/#/instances`, {}, async (page) => {
        await settled(page);
        assert.equal(await page.getByRole('heading', { name: 'Task Instances' }).count(), 0);
        const instance = await TaskInstance.start({ model: 'ocr' });
        await daemon.post('/ti/register', { host: '127.0.0.1', port: instance.port, model_name: 'ocr' });
        await page.getByRole('heading', { name: 'Task Instances' }).waitFor();
        await page.getByRole('region', { name: 'Task Instances' }).getByText('ocr').waitFor();
        await instance.down();
    });
});
