// SPDX-License-Identifier: Apache-2.0
// The one live channel: /api/events, read by fetch so that a key can go along. It comes back by itself with Last-Event-ID, says how
// it is (`liveState`), and tells whoever listens. After a break, listeners of 'resync' read anew what they show.
import { onScopeDispose, ref, watch } from 'vue';
import { ask, Failure } from './client';
import { session } from './session';

export interface LiveEvent {
    kind: string; // "instance_state", "task", "evaluation", "sample", …
    id?: string;
    data: unknown;
}
type Listener = (event: LiveEvent) => void;

/** connecting: not yet; live: told of everything; waiting: lost, tries again; refused: a key is wanted. */
export const liveState = ref<'connecting' | 'live' | 'waiting' | 'refused'>('connecting');
/** When it tries again (ms since 1970), while waiting. */
export const liveRetryAt = ref(0);

const listeners = new Set<{ kinds: ReadonlySet<string> | null; fn: Listener }>();
let lastId = '';
let running: AbortController | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let delay = 1000;
const SILENCE_MS = 45000; // the daemon gives a sign of life every 15 s: after a sleep, nobody says that the connection is gone

function tell(event: LiveEvent): void {
    for (const { kinds, fn } of [...listeners]) {
        if (!kinds || kinds.has(event.kind)) {
            try {
                fn(event);
            } catch (error) {
                reportError(error); // one page's mistake must not end the channel of all
            }
        }
    }
}

function take(block: string): void {
    let kind = 'message';
    let text = '';
    for (const line of block.split('\n')) {
        const colon = line.indexOf(':');
        const name = colon < 0 ? line : line.slice(0, colon);
        const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (name === 'event') {
            kind = value;
        } else if (name === 'id') {
            lastId = value;
        } else if (name === 'data') {
            text += text === '' ? value : `\n${value}`;
        }
    }
    if (text === '') {
        return;
    }
    if (kind === 'gap') {
        tell({ kind: 'resync', data: null });
        return;
    }
    tell({ kind, id: lastId, data: JSON.parse(text) });
}

async function read(signal: AbortSignal): Promise<void> {
    const resumed = lastId !== '';
    const answer = await ask('/api/events', {
        headers: { Accept: 'text/event-stream', ...(resumed ? { 'Last-Event-ID': lastId } : {}) },
        signal,
        cache: 'no-store',
    });
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    let silence: ReturnType<typeof setTimeout> | undefined;

    liveState.value = 'live';
    delay = 1000;
    tell({ kind: 'resync', data: null }); // what is told live only was missed meanwhile
    for (;;) {
        silence = setTimeout(reconnect, SILENCE_MS);
        const { value, done } = await reader.read().finally(() => clearTimeout(silence));
        if (done) {
            return;
        }
        rest += value.replaceAll('\r\n', '\n');
        for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
            const block = rest.slice(0, end);
            rest = rest.slice(end + 2);
            take(block);
        }
    }
}

async function run(): Promise<void> {
    const mine = new AbortController();

    clearTimeout(timer);
    running?.abort();
    running = mine;
    try {
        await read(mine.signal);
    } catch (error) {
        if (mine.signal.aborted) {
            return;
        }
        if (error instanceof Failure && (error.status === 401 || error.status === 403)) {
            liveState.value = 'refused';
            return;
        }
    }
    if (!mine.signal.aborted) {
        liveState.value = 'waiting';
        liveRetryAt.value = Date.now() + delay;
        timer = setTimeout(() => void run(), delay);
        delay = Math.min(delay * 2, 15000);
    }
}

/** Now, instead of when its time comes. */
export function reconnect(): void {
    delay = 1000;
    void run();
}

/** Once, by the application; starts anew when key or address change. */
export function startLive(): void {
    watch(session, () => {
        lastId = '';
        liveState.value = 'connecting';
        reconnect();
    });
    window.addEventListener('online', reconnect);
    void run();
}

/** Calls fn for the events of these kinds (none named: all) until the component is gone. */
export function onLive(kinds: readonly string[], fn: Listener): void {
    const entry = { kinds: kinds.length > 0 ? new Set(kinds) : null, fn };
    listeners.add(entry);
    onScopeDispose(() => listeners.delete(entry));
}
