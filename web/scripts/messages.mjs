// SPDX-License-Identifier: Apache-2.0
// Are the texts of the dashboard the texts that it asks for? Names each key that is asked for and does not exist, and each message
// that nobody asks for. A key that is put together (`modelStatus.${status}`) stands for all that it may become.
import { readdirSync, readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../src', import.meta.url));

// The files of messages import each other as Vite finds them: './common' is common.ts.
registerHooks({ resolve: (name, context, next) => next(/^\.\.?\/[\w/]+$/.test(name) ? `${name}.ts` : name, context) });
const { default: messages } = await import('../src/i18n/en/index.ts');

function keysOf(tree, path) {
    return Object.entries(tree).flatMap(([name, value]) => (typeof value === 'string' ? [`${path}${name}`] : keysOf(value, `${path}${name}.`)));
}
const keys = new Set(keysOf(messages, ''));

/** What stands in quotes in our sources and may be a key: plain ones, and patterns of those that are put together. */
function asked() {
    const files = readdirSync(root, { recursive: true, withFileTypes: true }).map((entry) => join(entry.parentPath, entry.name))
        .filter((path) => /\.(ts|vue)$/.test(path) && !path.includes('/i18n/') && !path.endsWith('/schema.d.ts'));
    return files.flatMap((path) => {
        const text = readFileSync(path, 'utf8');
        const plain = [...text.matchAll(/(?:'|keypath=")([a-z]\w*(?:\.\w+)+)['"]/gi)].map(([, key]) => ({ path, key }));
        const made = [...text.matchAll(/`([a-z]\w*\.[\w.]*\$\{[^`]*)`/gi)].map(([, key]) => ({ path, key, pattern: new RegExp(`^${key.replaceAll('.', '\\.').replace(/\$\{[^}]*\}/g, '\\w+')}$`) }));
        return [...plain, ...made].filter(({ key }) => (key.split('.')[0] ?? '') in messages);
    });
}

const places = asked();
const made = places.filter(({ pattern }) => pattern);
const plain = new Set(places.filter(({ pattern }) => !pattern).map(({ key }) => key));
const missing = places.filter(({ key, pattern }) => (pattern ? ![...keys].some((one) => pattern.test(one)) : !keys.has(key)));
const unused = [...keys].filter((key) => !plain.has(key) && !made.some(({ pattern }) => pattern.test(key)));

missing.forEach(({ path, key }) => console.error(`${path.slice(root.length + 1)}: there is no message "${key}"`));
unused.forEach((key) => console.error(`the message "${key}" is used nowhere`));
console.log(`${keys.size} messages, ${places.length} places that ask for one`);
process.exitCode = missing.length + unused.length > 0 ? 1 : 0;
