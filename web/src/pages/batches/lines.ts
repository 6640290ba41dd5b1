// SPDX-License-Identifier: Apache-2.0
// A batch's file, looked at before it is uploaded: how many lines, for which endpoint, and the first thing that is wrong. The server
// checks everything; this only spares a long upload of the wrong file.
import { ask } from '@/api/client';

export const ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses'] as const;
export type Endpoint = (typeof ENDPOINTS)[number];
const LOOK_BYTES = 4 * 1024 * 1024; // of a large file only its beginning
export const SHOWN_LINES = 5;

export interface Looked {
    lines: number | null; // null: too large to count here
    first: string[];
    endpoint: Endpoint | null;
    problem: { word: 'notJson' | 'noEndpoint' | 'mixed'; values: Record<string, string | number> } | null;
}

function urlOf(line: string): string | null | undefined {
    try {
        const value: unknown = JSON.parse(line);
        return typeof value !== 'object' || value === null ? undefined : 'url' in value && typeof value.url === 'string' ? value.url : null;
    } catch {
        return undefined;
    }
}

/** Empty lines are passed over, as the server does. */
function problemOf(lines: readonly string[]): { problem: Looked['problem']; url: string | null } {
    let endpoint: string | null = null;

    for (const [i, line] of lines.entries()) {
        const url: string | null | undefined = line.trim() === '' ? endpoint ?? '' : urlOf(line);
        if (url === undefined || url === null) {
            return { url: endpoint, problem: { word: url === undefined ? 'notJson' : 'noEndpoint', values: { n: i + 1 } } };
        }
        endpoint ??= url === '' ? null : url;
        if (url !== '' && url !== endpoint) {
            return { url: endpoint, problem: { word: 'mixed', values: { n: i + 1, url, endpoint: endpoint ?? '' } } };
        }
    }
    return { url: endpoint, problem: null };
}

export async function look(file: File): Promise<Looked> {
    const whole = file.size <= LOOK_BYTES;
    const lines = (await file.slice(0, LOOK_BYTES).text()).split('\n');
    const full = whole ? lines : lines.slice(0, -1); // the last one may be cut
    const { problem, url } = problemOf(full);

    return { lines: whole ? full.filter((line) => line.trim() !== '').length : null, first: full.slice(0, SHOWN_LINES).filter((line) => line !== ''), endpoint: ENDPOINTS.find((name) => name === url) ?? null, problem };
}

/** The beginning of a stored file; `cut`: there is more. */
export async function beginning(id: string, lines: number): Promise<{ text: string; cut: boolean }> {
    const answer = await ask(`/v1/files/${encodeURIComponent(id)}/content`);
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';

    for (;;) {
        const { value, done } = await reader.read();
        text += value ?? '';
        const found = text.split('\n');
        if (found.length > lines + 1 || text.length > 200_000) {
            await reader.cancel();
            return { text: found.slice(0, lines).join('\n').slice(0, 200_000), cut: true };
        }
        if (done) {
            return { text: text.trimEnd(), cut: false };
        }
    }
}
