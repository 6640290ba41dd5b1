// SPDX-License-Identifier: Apache-2.0
// A list in the manner of /v1: a page is what comes after an id. Back is the way that was come.
import { computed, ref } from 'vue';
import { useLoad } from '@/composables/useLoad';

interface Page<T> {
    data: T[];
    last_id?: string | null;
    has_more: boolean;
}

export function useCursor<T>(read: (after: string | undefined, signal: AbortSignal) => Promise<Page<T>>, events: readonly string[]) {
    const way = ref<string[]>([]);
    const loaded = useLoad((signal) => read(way.value.at(-1), signal), events);

    function older(): void {
        const last = loaded.value.value?.last_id;
        if (last) {
            way.value.push(last);
            void loaded.reload();
        }
    }
    function newer(): void {
        way.value.pop();
        void loaded.reload();
    }
    return { loaded, older, newer, mayNewer: computed(() => way.value.length > 0), mayOlder: computed(() => loaded.value.value?.has_more ?? false) };
}
