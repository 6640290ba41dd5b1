// SPDX-License-Identifier: Apache-2.0
// The playground: an answer as it comes and what it took, the place in line while it waits, stopped, refused, kept for the tab.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Page, phone, overflow, withPage } from './lib/browser.ts';
import { type Daemon, house, realModel, until } from './lib/house.ts';

let daemon: Daemon;

before(async () => {
    daemon = await house({ gateway: { stream_wait: '200ms' } });
    await daemon.create(realModel('talker'));
    await daemon.create(daemon.scripted('endless', { events: 100000, event_ms: 20 }, { parallel: 1 }));
    await daemon.create({ ...daemon.scripted('closed', {}), on_demand: false });
    for (const id of ['talker', 'endless']) {
        await daemon.post(`/api/models/${id}/start`);
        await daemon.waitStatus(id, 'running', 60_000);
    }
});
after(() => daemon.finish());

async function ask(page: Page, model: string, question: string): Promise<void> {
    await page.locator('[data-test=model]').selectOption(model);
    await page.locator('[data-test=question]').fill(question);
    await page.keyboard.press('Enter');
}
function inFlight(id: string): Promise<number> {
    return daemon.instances(id).then(([instance]) => instance.in_flight);
}

test('an answer, what it took and who gave it; kept over a reload, gone when it is cleared', async () => {
    const { id } = await daemon.readyInstance('talker');
    await withPage(`${daemon.url}/#/playground?model=talker`, {}, async (page) => {
        await page.getByLabel('System prompt').fill('Be kind.');
        await page.getByLabel('Max tokens').fill('6');
        await ask(page, 'talker', 'Hello you');
        const answer = page.locator('[data-role=assistant]');
        await answer.getByText('Hello from berth!').waitFor();
        assert.match(await answer.locator('[data-figure=tokens]').innerText(), /^\d+ → 6$/);
        assert.equal(await answer.locator('[data-figure=instance]').innerText(), id.slice(0, 8));
        await answer.locator('[data-figure=first]').waitFor();
        await answer.locator('[data-figure=rate]').waitFor();
        assert.equal(await answer.locator('[data-figure=finish]').innerText(), 'length');
        await page.reload();
        await page.locator('[data-role=user]').getByText('Hello you').waitFor();
        await answer.getByText('Hello from berth!').waitFor();
        await page.getByRole('button', { name: 'Clear' }).click();
        await page.getByText('the conversation stays in this tab').waitFor();
    });
});

test('an answer is stopped: what came stays, and the engine works on it no more', async () => {
    await withPage(`${daemon.url}/#/playground`, {}, async (page) => {
        await ask(page, 'endless', 'go on');
        await page.locator('[data-role=assistant]').getByText('0 1 2').waitFor();
        await page.locator('[data-test=stop]').click();
        await page.locator('[data-role=assistant]').getByText('Stopped').waitFor();
        await until('the engine to be free', async () => (await inFlight('endless')) === 0);
        await page.locator('[data-test=send]').waitFor();
    });
});

test('whoever waits sees the place in line, and then who answered', async () => {
    const { id } = await daemon.readyInstance('endless');
    const others = [new AbortController(), new AbortController()];
    for (const [i, { signal }] of others.entries()) { // one works, one stands behind it in the engine
        void fetch(`${daemon.url}/v1/chat/completions`, {
            method: 'POST', signal, headers: { 'Content-Type': 'application/json' },
            body: JSON.stringify({ model: 'endless', stream: true, messages: [{ role: 'user', content: 'mine' }] }),
        }).then((answer) => answer.text()).catch(() => undefined);
        await until('it to have its place', async () => (await inFlight('endless')) === i + 1);
    }
    await withPage(`${daemon.url}/#/playground`, {}, async (page) => {
        await ask(page, 'endless', 'and me?');
        await page.locator('[data-test=sign]').getByText('Place 1 in line').waitFor();
        others.forEach((other) => other.abort());
        await page.locator('[data-role=assistant]').getByText('0 1 2').waitFor();
        assert.equal(await page.locator('[data-figure=instance]').innerText(), id.slice(0, 8));
        await page.locator('[data-figure=queue]').waitFor();
        await page.locator('[data-test=stop]').click();
        await page.getByText('Stopped').waitFor();
    });
});

test('a refusal stands where the answer would, and the question can be asked again', async () => {
    await withPage(`${daemon.url}/#/playground`, { refusals: true }, async (page) => {
        await ask(page, 'closed', 'anybody?');
        await page.locator('[data-test=problem]').getByText('stopped').waitFor();
        await page.locator('[data-test=model]').selectOption('talker');
        await page.getByRole('button', { name: 'Ask again' }).click();
        await page.locator('[data-role=assistant]').getByText('Hello from berth!').waitFor();
        assert.equal(await page.locator('[data-role=assistant]').count(), 1);
    });
});

test('the request is copied as curl, without the key', async () => {
    await withPage(`${daemon.url}/#/playground`, {}, async (page) => {
        await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
        await page.locator('[data-test=model]').selectOption('talker');
        await page.locator('[data-test=question]').fill("it's me");
        await page.getByRole('button', { name: 'Copy as curl' }).click();
        await page.getByText('Copied').waitFor();
        const text = await page.evaluate(() => navigator.clipboard.readText());
        assert.ok(text.startsWith(`curl -N '${daemon.url}/v1/chat/completions'`), text);
        assert.ok(text.includes(`it'\\''s me`), text);
    });
});

test('on a phone the page fits, with a long answer too', async () => {
    await withPage(`${daemon.url}/#/playground`, { size: phone, theme: 'dark' }, async (page) => {
        await ask(page, 'talker', 'x'.repeat(300));
        await page.locator('[data-figure=total]').waitFor();
        assert.equal(await overflow(page), 0);
    });
});
