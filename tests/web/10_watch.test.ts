// SPDX-License-Identifier: Apache-2.0
// The pages that watch: overview, monitoring, logs, configuration, API, system. What happens in the daemon is seen in them without a
// reload.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { go, type Page, settled, withPage } from './lib/browser.ts';
import { Daemon, devices, house, realModel, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => { daemon = await house(); });
after(() => daemon.finish());

const figure = (page: Page, name: string): Promise<string> => page.locator(`[data-test="${name}"] .figure-value`).innerText();
const figureIs = (page: Page, name: string, wanted: string): Promise<unknown> => until(`${name} to be ${wanted}`, async () => (await figure(page, name)) === wanted);

test('the overview greets an empty berth, then follows what its models do', async () => {
    await withPage(`${daemon.url}/#/overview`, {}, async (page) => {
        await page.getByRole('heading', { name: 'Welcome to berth' }).waitFor();
        await figureIs(page, 'total', '0');
        await figureIs(page, 'devices', '2');
        assert.match(await page.locator('[data-test="devices"]').innerText(), /400 MiB of 48 GiB in use/);

        await daemon.create(realModel('alpha', { autostart: true }));
        await daemon.create(realModel('lost', { model_path: join(daemon.dir, 'lost.gguf'), autostart: true, retry_policy: { enabled: false } }));
        await daemon.create(realModel('giant', { resource_requirements: { gpu_memory: 90 * 1024 }, autostart: true }));
        for (const id of ['alpha', 'lost', 'giant']) {
            await daemon.post(`/api/models/${id}/start`);
        }
        await figureIs(page, 'total', '3');
        await figureIs(page, 'running', '1');
        await figureIs(page, 'failed', '1');
        await figureIs(page, 'queued', '1');
        assert.equal(await page.getByRole('heading', { name: 'Welcome to berth' }).count(), 0);

        const attention = page.locator('[data-test="attention"] li');
        await attention.filter({ hasText: 'giant' }).getByText(/needs .* on one device/).waitFor();
        await attention.filter({ hasText: 'lost' }).getByText('lost.gguf').waitFor();
        assert.equal(await attention.filter({ hasText: 'alpha' }).count(), 0);
        const events = page.locator('[data-test="recent-events"] li');
        await events.filter({ hasText: 'alpha is ready' }).waitFor();
        await events.filter({ hasText: 'There is no room for giant' }).first().waitFor();

        await daemon.ask({ method: 'DELETE', path: '/api/models/giant' });
        await attention.filter({ hasText: 'giant' }).waitFor({ state: 'detached' });
        await events.filter({ hasText: 'giant was removed' }).waitFor();
        await attention.getByRole('link', { name: 'lost' }).click();
        await page.getByRole('heading', { name: 'lost', level: 1 }).waitFor();
    });
});

test('the quick actions lead to the forms that they name', async () => {
    await withPage(`${daemon.url}/#/overview`, {}, async (page) => {
        for (const [name, hash] of [['Schedule a model', '#/scheduler?schedule=1'], ['Submit a task', '#/tasks?submit=1'], ['Add a model', '#/models?add=1']] as const) {
            assert.equal(await page.locator('.page-head').getByRole('link', { name }).getAttribute('href'), hash);
        }
    });
});

test('requests are seen in the figures and charts of the service, and of their model', async () => {
    await daemon.waitStatus('alpha', 'running');
    await withPage(`${daemon.url}/#/overview`, {}, async (page) => {
        await settled(page);
        await until('a sample with tokens', async () => {
            await daemon.chat('alpha', { max_tokens: 12 });
            return !['0', '–'].includes(await figure(page, 'tokens'));
        });
        await page.locator('figure', { hasText: 'Latency' }).getByRole('button', { name: 'As a table' }).click();
        await page.locator('figure', { hasText: 'Latency' }).getByRole('cell', { name: /\d m?s$/ }).first().waitFor();
        await go(page, '/monitoring?show=models');
        assert.match(await page.getByRole('combobox', { name: 'Model' }).innerText(), /alpha/);
        await until('the requests of the hour', async () => Number(await page.locator('.figure', { hasText: 'Requests in the last hour' }).locator('.figure-value').innerText()) > 0);
    });
});

test('the devices are followed: what one reads next is in its row and its charts', async () => {
    await withPage(`${daemon.url}/#/monitoring?show=devices`, {}, async (page) => {
        const row = page.locator('tr[data-row="1"]');
        await row.getByText('52 °C').waitFor();
        const next = JSON.parse(JSON.stringify(devices())) as { devices: { temperature: number }[] };
        next.devices[1]!.temperature = 77;
        writeFileSync(join(daemon.dir, 'devices.new'), JSON.stringify(next));
        renameSync(join(daemon.dir, 'devices.new'), join(daemon.dir, 'devices.yaml'));
        await row.getByText('77 °C').waitFor();
        const chart = page.locator('figure', { hasText: 'Temperature' });
        await chart.getByRole('button', { name: 'As a table' }).click();
        await chart.getByRole('cell', { name: '77 °C' }).first().waitFor();
        assert.ok(await chart.getByRole('cell', { name: '52 °C' }).count() > 0, 'what was before is kept');
        await page.getByRole('link', { name: 'Host' }).click();
        await page.getByRole('img', { name: 'Load' }).waitFor();
    });
});

test("berth's own log is followed, filtered, paused and saved", async () => {
    await withPage(`${daemon.url}/#/logs`, {}, async (page) => {
        const log = page.getByRole('log');
        await log.getByText('alpha').first().waitFor();
        await daemon.up(realModel('noted'));
        await log.getByText(/noted/).first().waitFor();

        await page.getByRole('searchbox', { name: 'Find in the log' }).fill('NOTED');
        await until('only what was looked for', async () => (await log.locator('.log-line').allInnerTexts()).every((line) => /noted/i.test(line)));
        const [download] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
        assert.equal(download.suggestedFilename(), 'berth.log');
        assert.match(readFileSync(await download.path(), 'utf8'), /^.*noted.*\n/);

        await page.getByRole('button', { name: 'Pause' }).click();
        const before = await log.locator('.log-line').count();
        await daemon.ask({ method: 'DELETE', path: '/api/models/noted' });
        await page.getByText(/Paused; [1-9]\d* new lines wait/).waitFor();
        assert.equal(await log.locator('.log-line').count(), before, 'nothing moves while it is paused');
        await page.getByRole('button', { name: 'Go on' }).click();
        await until('what was missed', async () => (await log.locator('.log-line').count()) > before);

        await page.getByRole('searchbox', { name: 'Find in the log' }).fill('');
        assert.ok(await log.locator('.log-line', { hasText: ' info ' }).count() > 0, 'there are lines to leave out');
        await page.getByLabel('From level').selectOption('error');
        await until('errors alone', async () => (await log.locator('.log-line').allInnerTexts()).every((line) => / error /.test(line)));
        await page.getByRole('combobox', { name: 'Log' }).selectOption('alpha');
        await daemon.chat('alpha', { max_tokens: 4 });
        await log.getByText('stop processing').first().waitFor();
    });
});

test('the configuration tells each option: value, default, where from; secrets are masked', async () => {
    const own = await house({ database: { url: 'sqlite:///hush-hush' } });
    try {
        await withPage(`${own.url}/#/configuration`, {}, async (page) => {
            const option = (name: string) => page.locator(`[data-option="${name}"]`);
            await option('engines.stop_grace').getByText('1s', { exact: true }).waitFor();
            assert.match(await option('engines.stop_grace').innerText(), /10s[\s\S]*berth\.yaml:\d+/);
            assert.match(await option('database.url').innerText(), /\*\*\*[\s\S]*secret, not shown/);
            assert.ok(!(await page.content()).includes('hush-hush'));
            await page.getByLabel('Only what is not the default').check();
            assert.equal(await option('engines.log_max').count(), 0);
            await page.getByLabel('Only what is not the default').uncheck();
            await page.getByRole('searchbox').fill('stop_gr');
            await option('engines.log_max').waitFor({ state: 'detached' });
            assert.equal(await page.locator('[data-option]').count(), 1);
            await page.getByRole('searchbox').fill('no such thing');
            await page.getByText('Nothing matches').waitFor();
        });
    } finally {
        await own.finish();
    }
});

test('the API page shows the docs in place and a request that works', async () => {
    await withPage(`${daemon.url}/#/api`, {}, async (page) => {
        await page.frameLocator('iframe').getByText('/api/models/validate').first().waitFor();
        const text = page.locator('pre');
        await text.getByText('"model":"alpha"').waitFor();
        const curl = await text.innerText();
        assert.ok(curl.includes(`${daemon.url}/v1/chat/completions`), curl);
        const body = JSON.parse(/-d '(.*)'$/s.exec(curl)![1]!);
        assert.equal((await daemon.post('/v1/chat/completions', { ...body, stream: false, max_tokens: 4 })).status, 200);
        await page.getByLabel('Examples').first().selectOption('python');
        await text.getByText('from openai import OpenAI').waitFor();
    });
});

test('the system page tells how berth is and what it keeps where', async () => {
    const { version } = (await daemon.get('/health')).json;
    await withPage(`${daemon.url}/#/system`, {}, async (page) => {
        await page.locator('[data-component="database"]').getByText('Healthy').waitFor();
        await page.locator('[data-component="gpu"]').getByText('2 GPUs answer').waitFor();
        const program = page.locator('[data-test="program"]');
        await program.getByText(version, { exact: true }).waitFor();
        assert.ok((await program.innerText()).includes(daemon.dir));
        await program.getByText(/SQLite, [\d.]+ [KM]iB; it takes changes/).waitFor();
        await page.locator('[data-test="resources"]').getByText(/GiB of/).first().waitFor();
        const before = await program.locator('[data-test="uptime"]').innerText();
        await until('the uptime to go on', async () => (await program.locator('[data-test="uptime"]').innerText()) !== before);
    });
});
