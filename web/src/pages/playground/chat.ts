// SPDX-License-Identifier: Apache-2.0
// One streamed chat: the request, its answer piece by piece, what it took, and what the daemon tells while it waits. An answer is the
// engine's; the signs of life are SSE comments of the daemon (": waiting for an instance, place 3, about 12 s").
import { ask, failureOf } from '@/api/client';

export interface Turn {
    role: 'system' | 'user' | 'assistant';
    content: string;
}
export interface ChatBody {
    model: string;
    messages: Turn[];
    temperature?: number;
    max_tokens?: number;
}
/** Times in ms since the request was sent. */
export interface Figures {
    instance: string; // '' while it is not known
    queueMs: number | null;
    firstMs: number | null;
    totalMs: number | null;
    promptTokens: number | null;
    outputTokens: number | null;
    perSecond: number | null; // tokens, as the engine has measured it
    finish: string;
}
export interface Waiting {
    place: number | null;
    expectedS: number | null;
}
export interface Listener {
    text: (piece: string) => void;
    thought: (piece: string) => void;
    waiting: (sign: Waiting) => void;
    figures: (figures: Figures) => void;
}
interface Chunk {
    error?: unknown;
    choices?: { finish_reason?: string | null; delta?: { content?: string | null; reasoning_content?: string | null } }[];
    usage?: { prompt_tokens?: number; completion_tokens?: number } | null;
    timings?: { predicted_per_second?: number } | null; // of llama-server
}

export function noFigures(): Figures {
    return { instance: '', queueMs: null, firstMs: null, totalMs: null, promptTokens: null, outputTokens: null, perSecond: null, finish: '' };
}

function numberIn(text: string | null | undefined): number | null {
    return text === null || text === undefined || text === '' ? null : Number(text);
}

function takeComment(line: string, figures: Figures, to: Listener): void {
    const place = /waiting for an instance, place (\d+), about (\d+) s/.exec(line);
    const served = /answered by (\S+), (\d+) ms in line/.exec(line);
    if (place) {
        to.waiting({ place: Number(place[1]), expectedS: Number(place[2]) });
    } else if (served) {
        figures.instance = served[1] ?? '';
        figures.queueMs = Number(served[2]);
        to.figures({ ...figures });
    } else if (line.includes('waiting for the first token')) {
        to.waiting({ place: 0, expectedS: null });
    }
}

function takeChunk(chunk: Chunk, figures: Figures, since: () => number, to: Listener): void {
    if (chunk.error) {
        throw failureOf(502, { error: chunk.error });
    }
    const choice = chunk.choices?.[0];
    const piece = choice?.delta?.content ?? '';
    const thought = choice?.delta?.reasoning_content ?? '';
    if ((piece !== '' || thought !== '') && figures.firstMs === null) {
        figures.firstMs = since();
    }
    figures.finish = choice?.finish_reason ?? figures.finish;
    figures.promptTokens = chunk.usage?.prompt_tokens ?? figures.promptTokens;
    figures.outputTokens = chunk.usage?.completion_tokens ?? figures.outputTokens;
    figures.perSecond = chunk.timings?.predicted_per_second ?? figures.perSecond;
    figures.totalMs = since();
    to.figures({ ...figures });
    if (thought !== '') {
        to.thought(thought);
    }
    if (piece !== '') {
        to.text(piece);
    }
}

/** Ends when the answer does; throws a Failure, or an AbortError when it was stopped. */
export async function streamChat(body: ChatBody, signal: AbortSignal, to: Listener): Promise<void> {
    const began = performance.now();
    const since = (): number => performance.now() - began;
    const figures = noFigures();
    const answer = await ask('/v1/chat/completions', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json', Accept: 'text/event-stream' },
        body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
        signal,
    });
    figures.instance = answer.headers.get('x-berth-instance') ?? '';
    figures.queueMs = numberIn(answer.headers.get('x-berth-queue-ms'));
    to.figures({ ...figures });
    const place = numberIn(answer.headers.get('x-berth-queue-position'));
    if (place !== null) {
        to.waiting({ place, expectedS: Math.ceil((numberIn(answer.headers.get('x-berth-expected-wait-ms')) ?? 0) / 1000) });
    }

    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    for (;;) {
        const { value, done } = await reader.read();
        if (done) {
            return;
        }
        const lines = (rest + value).split(/\r?\n/);
        rest = lines.pop() ?? '';
        for (const line of lines) {
            if (line.startsWith(':')) {
                takeComment(line, figures, to);
            } else if (line.startsWith('data:') && line.slice(5).trim() !== '[DONE]') {
                takeChunk(JSON.parse(line.slice(5)) as Chunk, figures, since, to);
            }
        }
    }
}

function quoted(text: string): string {
    return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The same request for a terminal. The key is named, never written. */
export function curlOf(address: string, body: ChatBody, withKey: boolean): string {
    const key = withKey ? ' \\\n  -H "Authorization: Bearer $BERTH_KEY"' : '';
    return `curl -N ${quoted(address)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d ${quoted(JSON.stringify({ ...body, stream: true }))}`;
}
