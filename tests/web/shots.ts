// SPDX-License-Identifier: Apache-2.0
// Pictures of every page in both languages, in light and dark, on a desk and on a phone, for a person to look at:
//     cd web && npm run shots          into web/shots/, or SHOTS=folder
import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { browser, go, phone, settled, withPage } from './lib/browser.ts';
import { furnish } from './lib/furnish.ts';
import { house } from './lib/house.ts';
import { pages } from './lib/pages.ts';

const folder = resolve(process.env.SHOTS ?? join(import.meta.dirname, '../../web/shots'));
const opensDialog = (path: string): boolean => path.endsWith('=1');
mkdirSync(folder, { recursive: true });
const daemon = await house();
try {
    const paths = [...pages, ...await furnish(daemon)];
    for (const language of ['en', 'zh'] as const) {
        for (const [name, look] of Object.entries({ light: { theme: 'light' }, dark: { theme: 'dark' }, phone: { theme: 'light', size: phone } } as const)) {
            await withPage(daemon.url, { ...look, language }, async (page) => {
                for (const path of paths) {
                    await go(page, `/${path}`);
                    if (opensDialog(path)) {
                        await page.getByRole('dialog').waitFor();
                    }
                    await settled(page);
                    await page.screenshot({ path: join(folder, `${path.replaceAll(/[^a-z0-9]+/gi, '-')}.${language}.${name}.png`), fullPage: true });
                }
            });
        }
    }
    console.log(`pictures of ${paths.length} pages in ${folder}`);
} finally {
    await (await browser()).close();
    await daemon.finish();
}
