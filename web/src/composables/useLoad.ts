// SPDX-License-Identifier: Apache-2.0
// What a view shows and how it came by it: loaded, loading, refused; read again when an event says that it may have changed.
import { computed, onScopeDispose, type Ref, ref, shallowRef } from 'vue';
import { Failure } from '@/api/client';
import { onLive } from '@/api/live';

export interface Loaded<T> {
    value: Readonly<Ref<T | undefined>>;
    failure: Readonly<Ref<Failure | null>>;
    loading: Readonly<Ref<boolean>>;
    /** The first answer is awaited: there is nothing to show yet. */
    first: Readonly<Ref<boolean>>;
    reload: () => Promise<void>;
    /** Because of an event: shortly, bunched with others, and never so often that an answer could not come. */
    reloadSoon: () => void;
}

const SETTLE_MS = 150; // events come in bunches
const REST_MS = 500; // from an answer to the next question that events ask; more where answers are dear
const REST_SHARE = 4; // times as long as the answer took,
const REST_MAX_MS = 10000; // at most
const HUNG_MS = 5000; // a question that the connection's return finds unanswered for so long is asked anew

/** `events`: kinds after which it is read again (bunched). An answer that was overtaken by a later one is dropped. */
export function useLoad<T>(read: (signal: AbortSignal) => Promise<T>, events: readonly string[] = []): Loaded<T> {
    const value = shallowRef<T>();
    const failure = shallowRef<Failure | null>(null);
    const loading = ref(false);
    let current: AbortController | null = null;
    let soon: ReturnType<typeof setTimeout> | undefined;
    let told = false; // by an event that has not been asked about
    let began = 0;
    let rested = 0; // when events may ask again
    let gone = false;

    async function reload(): Promise<void> {
        if (gone) {
            return;
        }
        const mine = new AbortController();
        current?.abort();
        current = mine;
        began = Date.now();
        told = false;
        loading.value = true;
        try {
            const answer = await read(mine.signal);
            if (current === mine) {
                value.value = answer;
                failure.value = null;
            }
        } catch (error) {
            if (current === mine && !mine.signal.aborted) {
                failure.value = error instanceof Failure ? error : new Failure(0, error instanceof Error ? error.message : String(error));
            }
        } finally {
            if (current === mine) {
                loading.value = false;
                rested = Date.now() + Math.min(REST_MAX_MS, Math.max(REST_MS, REST_SHARE * (Date.now() - began)));
                if (told) {
                    reloadSoon();
                }
            }
        }
    }

    // A steady stream of events must not keep it from reading: what is under way is awaited, and the first event sets the time.
    function reloadSoon(): void {
        told = true;
        if (loading.value || gone) {
            return;
        }
        soon ??= setTimeout(() => {
            soon = undefined;
            if (told && !loading.value) {
                void reload();
            }
        }, Math.max(SETTLE_MS, rested - Date.now()));
    }
    function resync(): void {
        rested = 0;
        if (loading.value && Date.now() - began > HUNG_MS) {
            void reload();
        } else {
            reloadSoon();
        }
    }
    onLive(['resync'], resync);
    if (events.length > 0) { // none named would mean all
        onLive(events, reloadSoon);
    }
    onScopeDispose(() => {
        gone = true;
        clearTimeout(soon);
        current?.abort();
    });
    void reload();
    return { value, failure, loading, first: computed(() => value.value === undefined && failure.value === null), reload, reloadSoon };
}
