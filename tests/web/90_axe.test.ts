// SPDX-License-Identifier: Apache-2.0
// axe-core on every page, in both colours, both languages, on a desk and on a phone: no serious finding.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { axeFindings, go, phone, settled, withPage } from './lib/browser.ts';
import { furnish } from './lib/furnish.ts';
import { type Daemon, house } from './lib/house.ts';
import { pages } from './lib/pages.ts';

let daemon: Daemon;
let paths: string[];

before(async () => {
    daemon = await house();
    paths = [...pages, ...await furnish(daemon)];
});
after(() => daemon.finish());

for (const look of [{ theme: 'light', language: 'en' }, { theme: 'dark', language: 'zh' }, { theme: 'light', language: 'zh', size: phone }, { theme: 'dark', language: 'en', size: phone }] as const) {
    test(`no serious finding: ${look.theme}, ${look.language}, ${'size' in look ? 'phone' : 'desk'}`, async () => {
        await withPage(daemon.url, look, async (page) => {
            const findings: string[] = [];
            for (const path of paths) {
                await go(page, `/${path}`);
                await settled(page);
                findings.push(...(await axeFindings(page)).map((finding) => `${path}: ${finding}`));
            }
            assert.deepEqual(findings, []);
        });
    });
}
