// SPDX-License-Identifier: Apache-2.0
// The frame around all pages: every page opens by itself and by the menu, language and colours are kept, the connection is seen, the
// key is asked for, the keyboard leads everywhere, and a phone sees whole pages.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { go, overflow, phone, settled, withPage } from './lib/browser.ts';
import { Daemon, house } from './lib/house.ts';
import { pages } from './lib/pages.ts';

let daemon: Daemon;

before(async () => { daemon = await house(); });
after(() => daemon.finish());

test('the first page takes less than 350 KB compressed, charts apart', async () => {
    let bytes = 0;
    await withPage(`${daemon.url}/#/models`, { prepare: async (page) => {
        page.on('response', async (answer) => {
            const length = answer.headers()['content-length'];
            if (new URL(answer.url()).pathname.startsWith('/assets/') || answer.url().endsWith('/')) {
                bytes += Number(length);
            }
        });
    } }, async (page) => {
        await settled(page);
        assert.ok(bytes > 10_000 && bytes < 350_000, `${bytes} bytes`);
    });
});

test('every page opens from its address and has a head of its own', async () => {
    await withPage(daemon.url, {}, async (page) => {
        const heads = new Set<string>();
        for (const path of pages) {
            await go(page, `/${path}`);
            await settled(page);
            heads.add(await page.locator('main h1').first().innerText());
        }
        assert.equal(heads.size, pages.length);
    });
});

test('the menu leads to every page that it names', async () => {
    await withPage(daemon.url, {}, async (page) => {
        const links = page.getByRole('navigation', { name: 'Pages' }).getByRole('link');
        for (const name of (await links.allInnerTexts()).slice(1)) {
            await links.filter({ hasText: name }).click();
            await page.locator('main h1', { hasText: name }).waitFor();
            assert.equal(await links.filter({ hasText: name }).getAttribute('aria-current'), 'page');
        }
    });
});

test('an address that leads nowhere says so', async () => {
    await withPage(`${daemon.url}/#/nowhere`, {}, async (page) => {
        await page.getByRole('heading', { name: 'There is no such page.' }).waitFor();
    });
});

test('the language is changed, and stays after a reload', async () => {
    await withPage(`${daemon.url}/#/models`, {}, async (page) => {
        await page.locator('[data-test=language]').selectOption('zh');
        await page.getByRole('heading', { level: 1, name: '模型' }).waitFor();
        assert.equal(await page.locator('html').getAttribute('lang'), 'zh-CN');
        await page.reload();
        await page.getByRole('heading', { level: 1, name: '模型' }).waitFor();
    });
});

test('the colours follow the system until a person chooses', async () => {
    await withPage(daemon.url, { theme: 'dark' }, async (page) => {
        await settled(page);
        assert.match(await page.locator('html').getAttribute('class') ?? '', /dark/);
        await page.locator('[data-test=theme]').selectOption('light');
        assert.doesNotMatch(await page.locator('html').getAttribute('class') ?? '', /dark/);
        await page.reload();
        await settled(page);
        assert.doesNotMatch(await page.locator('html').getAttribute('class') ?? '', /dark/);
    });
});

test('on a phone every page fits, and the menu opens and closes', async () => {
    await withPage(daemon.url, { size: phone }, async (page) => {
        for (const path of pages) {
            await go(page, `/${path}`);
            await settled(page);
            assert.equal(await overflow(page), 0, `${path} is wider than the window`);
        }
        await page.getByRole('button', { name: 'Open the menu' }).click();
        await page.getByRole('link', { name: 'Scheduler' }).click();
        await page.getByRole('heading', { level: 1, name: 'Scheduler' }).waitFor();
        await page.getByRole('button', { name: 'Open the menu' }).waitFor();
    });
});

test('the keyboard skips to the content, and leads through the menu', async () => {
    await withPage(`${daemon.url}/#/models`, {}, async (page) => {
        await settled(page);
        await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        assert.equal(await page.evaluate(() => document.activeElement?.id), 'content');
        await page.getByRole('link', { name: 'Tasks' }).focus();
        await page.keyboard.press('Enter');
        await page.getByRole('heading', { level: 1, name: 'Tasks' }).waitFor();
    });
});

test('a lost connection is seen, and comes back by itself', async () => {
    const own = await house();
    await withPage(`${own.url}/#/models`, { refusals: true }, async (page) => {
        await page.getByText('Live', { exact: true }).waitFor();
        await own.kill9();
        await page.getByText('Connection lost').waitFor();
        await own.launch();
        await page.getByRole('button', { name: 'Try now' }).click({ timeout: 2000 }).catch(() => undefined); // or it has come back meanwhile
        await page.getByText('Live', { exact: true }).waitFor();
    });
    await own.finish();
});

test('a key is asked for where berth asks for one; a wrong one is refused, the right one opens all', async () => {
    const own = await Daemon.start({ config: { access: { keys: 'on' } } });
    const key = /[A-Za-z0-9_-]{30,}/.exec(keyLine(own))![0];
    await withPage(`${own.url}/#/models`, { refusals: true }, async (page) => {
        const dialog = page.getByRole('dialog', { name: 'Sign in' });
        await dialog.getByLabel('Key').fill('wrong');
        await dialog.getByRole('button', { name: 'Sign in' }).click();
        await dialog.getByText('berth does not take this key.').waitFor();
        await dialog.getByLabel('Key').fill(key);
        await dialog.getByRole('button', { name: 'Sign in' }).click();
        await dialog.waitFor({ state: 'hidden' });
        await page.getByText('Live', { exact: true }).waitFor();
        await settled(page);
        assert.equal(await page.locator('[data-test=forbidden]').count(), 0);
    });
    await own.finish();
});

/** Where the new key was printed, once. */
function keyLine(own: Daemon): string {
    const line = readFileSync(join(own.dir, 'berth.log'), 'utf8').split('\n').find((text) => /key/i.test(text));
    assert.ok(line, 'berth printed its key');
    return line;
}
