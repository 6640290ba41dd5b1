// SPDX-License-Identifier: Apache-2.0
// The lines of a log that goes on: a door that answers text and keeps telling. The last MAX_LINES are kept; while paused they are
// collected, not shown. It begins anew when the path changes, and when the live channel came back after a break.
import { onScopeDispose, type Ref, ref, shallowRef, watch } from 'vue';
import { ask, Failure } from '@/api/client';
import { onLive } from '@/api/live';

export const MAX_LINES = 5000;
const SHOW_EVERY_MS = 100; // a busy log tells in bursts

export interface LogLine {
    number: number; // grows by one; what Vue knows the line by
    text: string;
}

export function useFollow(path: () => string) {
    const lines = shallowRef<LogLine[]>([]);
    const state = ref<'connecting' | 'live' | 'ended'>('connecting');
    const failure = shallowRef<Failure | null>(null);
    const paused = ref(false);
    const missed = ref(0); // lines that came while paused
    let kept: LogLine[] = [];
    let count = 0;
    let current: AbortController | null = null;
    let soon: ReturnType<typeof setTimeout> | undefined;

    function show(): void {
        soon = undefined;
        if (!paused.value) {
            lines.value = [...kept];
        }
    }
    function add(texts: string[]): void {
        kept.push(...texts.map((text) => ({ number: count++, text })));
        if (kept.length > MAX_LINES) {
            kept = kept.slice(-MAX_LINES);
        }
        missed.value += paused.value ? texts.length : 0;
        soon ??= setTimeout(show, SHOW_EVERY_MS);
    }
    async function read(signal: AbortSignal): Promise<void> {
        const answer = await ask(path(), { signal, cache: 'no-store' });
        const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
        let rest = '';
        state.value = 'live';
        for (;;) {
            const { value, done } = await reader.read();
            if (done) {
                add(rest === '' ? [] : [rest]);
                return;
            }
            const texts = (rest + value).split('\n');
            rest = texts.pop() ?? '';
            add(texts);
        }
    }
    async function restart(): Promise<void> {
        const mine = new AbortController();
        current?.abort();
        current = mine;
        kept = [];
        missed.value = 0;
        failure.value = null;
        state.value = 'connecting';
        try {
            await read(mine.signal);
        } catch (error) {
            if (mine.signal.aborted) {
                return;
            }
            failure.value = error instanceof Failure ? error : new Failure(0, error instanceof Error ? error.message : String(error));
        }
        if (current === mine) {
            state.value = 'ended';
            show();
        }
    }
    function clear(): void {
        kept = [];
        missed.value = 0;
        lines.value = [];
    }

    watch(path, () => {
        clear(); // the lines are another log's
        void restart();
    }, { immediate: true });
    watch(paused, () => {
        missed.value = 0;
        show();
    });
    onLive(['resync'], () => {
        if (state.value === 'ended') {
            void restart();
        }
    });
    onScopeDispose(() => {
        current?.abort();
        clearTimeout(soon);
    });
    return { lines: lines as Readonly<Ref<readonly LogLine[]>>, state, failure, paused, missed, restart, clear };
}
