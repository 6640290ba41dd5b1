// SPDX-License-Identifier: Apache-2.0
// Holds the traffic of a test file against /openapi.json: every route that was used is described there, and every status that came back.
import assert from 'node:assert/strict';
import type { Daemon } from './daemon.ts';
import { observers } from './http.ts';

const seen = new Map<string, { method: string; path: string; status: number }>();

export function observe(method: string, path: string, status: number): void {
    const plain = path.split('?')[0];
    seen.set(`${method} ${plain} ${status}`, { method, path: plain, status });
}
observers.push(observe);

/** A fetch for the openai client that notes what it saw. */
export const observedFetch: typeof fetch = async (input, init) => {
    const response = await fetch(input, init);
    const url = new URL(typeof input === 'string' ? input : input instanceof URL ? input.href : input.url);
    if (url.protocol !== 'data:') { // which the openai client fetches to learn what fetch can do
        observe(init?.method ?? 'GET', url.pathname, response.status);
    }
    return response;
};

function matches(template: string, path: string): boolean {
    const a = template.split('/');
    const b = path.split('/');
    return a.length === b.length && a.every((part, i) => part === b[i] || (/^\{.*\}$/.test(part) && b[i] !== ''));
}

/** Call at the end of a file, while its daemon still runs. Answers of unknown paths (404, 405, 307) need no description. */
export async function checkTraffic(daemon: Daemon): Promise<void> {
    const { json: document } = await daemon.get('/openapi.json');
    const paths = Object.keys(document.paths);
    const wrong: string[] = [];
    for (const { method, path, status } of seen.values()) {
        const template = paths.find((one) => one === path) ?? paths.find((one) => matches(one, path));
        if (!template) {
            if (![404, 307, 308].includes(status)) {
                wrong.push(`${method} ${path} answered ${status} but is not described`);
            }
            continue;
        }
        const operation = document.paths[template][method.toLowerCase()];
        if (!operation) {
            if (status !== 405) {
                wrong.push(`${method} ${path} answered ${status} but ${template} has no such method`);
            }
        } else if (!operation.responses[String(status)] && !operation.responses[`${String(status)[0]}XX`] && !operation.responses.default) {
            wrong.push(`${method} ${path} answered ${status}, described are ${Object.keys(operation.responses)}`);
        }
    }
    assert.deepEqual(wrong, []);
    seen.clear();
}
