// SPDX-License-Identifier: Apache-2.0
// A real Chromium on berth's own pages. Whatever a page writes to the console as an error, throws, or is refused by its
// Content-Security-Policy fails the test that had it open.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core';
import { limitMs } from './limit.ts';

export type { Locator, Page } from 'playwright-core';

export const phone = { width: 390, height: 844 };
const desk = { width: 1280, height: 900 };
const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let shared: Promise<Browser> | undefined;

/** One a process; closed with it. */
export function browser(): Promise<Browser> {
    shared ??= chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'] });
    return shared;
}

if (process.env.NODE_TEST_CONTEXT || process.argv[1]?.endsWith('.test.ts')) {
    after(async () => (await shared)?.close());
}

export interface Look {
    language?: 'en' | 'zh';
    theme?: 'light' | 'dark';
    size?: { width: number; height: number };
    key?: string;
    refusals?: boolean; // the test provokes answers of 4xx and 5xx, which Chromium reports as errors
    prepare?: (page: Page) => Promise<unknown>; // before anything is loaded: routes
}

async function open(context: BrowserContext, look: Look, problems: string[]): Promise<Page> {
    const page = await context.newPage();
    page.setDefaultTimeout(limitMs);
    page.on('console', (message) => {
        if (message.type() === 'error' && !(look.refusals && message.text().startsWith('Failed to load resource'))) {
            problems.push(`console: ${message.text()} (${message.location().url})`);
        }
    });
    page.on('pageerror', (error) => problems.push(`thrown: ${error.stack ?? error.message}`));
    await look.prepare?.(page);
    return page;
}

/** Opens `url`, lets `work` have the page, then insists that nothing went wrong unseen. A picture of a failed page is kept. */
export async function withPage(url: string, look: Look, work: (page: Page) => Promise<void>): Promise<void> {
    const problems: string[] = [];
    const context = await (await browser()).newContext({ viewport: look.size ?? desk, colorScheme: look.theme ?? 'light', locale: look.language === 'zh' ? 'zh-CN' : 'en-GB', reducedMotion: 'reduce', acceptDownloads: true });
    try {
        if (look.key) {
            await context.addInitScript((key) => sessionStorage.setItem('berth.key', key), look.key);
        }
        const page = await open(context, look, problems);
        try {
            await page.goto(url);
            await work(page);
        } catch (error) {
            const picture = join(tmpdir(), `berth-web-${Date.now()}.png`);
            await page.screenshot({ path: picture }).catch(() => undefined);
            console.log(`the page as it was: ${picture}; ${page.url()}${problems.length > 0 ? `\n${problems.join('\n')}` : ''}`);
            throw error;
        }
    } finally {
        await context.close();
    }
    assert.deepEqual(problems, [], 'errors that the page had');
}

/** To another page of the dashboard, without loading it anew; done when it is the one that is shown. */
export async function go(page: Page, path: string): Promise<void> {
    await page.locator('main h1').first().waitFor(); // the first page has found its way
    await page.evaluate((hash) => { location.hash = hash; }, `#${path}`);
    await page.waitForFunction((wanted) => {
        const shown = document.querySelector('main')?.dataset.path;
        const bare = (one?: string): string | undefined => one?.split('?')[0];
        const taken = location.hash !== `#${wanted}` && `#${shown}` === location.hash; // a page takes off what it has done: ?add=1
        return shown === wanted || (taken && bare(shown) === bare(wanted));
    }, path);
    await page.locator('main h1').first().waitFor();
}

/** Nothing on the page is being waited for any more. */
export async function settled(page: Page): Promise<void> {
    await page.locator('main h1').first().waitFor();
    await page.waitForFunction(() => !document.querySelector('main [aria-busy="true"]'));
}

interface AxeNode { target: string[]; failureSummary?: string }
interface AxeResults { violations: Array<{ id: string; impact: string; help: string; nodes: AxeNode[] }> }
declare const axe: { run(context: Document, options: object): Promise<AxeResults> };

/** The serious and critical findings of axe-core, one line each. Its script is run beside the page's, past its policy. */
export async function axeFindings(page: Page): Promise<string[]> {
    await page.evaluate(axeSource);
    const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }));
    return violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .flatMap(({ id, help, nodes }) => nodes.map((node) => `${id} (${help}) at ${node.target.join(' ')}: ${node.failureSummary?.replaceAll(/\s+/g, ' ') ?? ''}`));
}

/** How far the page is wider than the window, in pixels: 0 on a page that fits. */
export function overflow(page: Page): Promise<number> {
    return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}
