// SPDX-License-Identifier: Apache-2.0
// A list that the server pages, sorts and filters: its state here, its looks in DataList.vue.
import { computed, onScopeDispose, reactive, type Ref, ref, watch } from 'vue';
import { type Loaded, useLoad } from './useLoad';

export interface ListAsk {
    page: number; // from 1
    size: number;
    limit: number;
    offset: number;
    sort: string; // a member's name, '-name' descending, '' as the server likes
    q: string;
}
export interface ListAnswer<T> {
    rows: T[];
    total: number;
}
export interface List<T> extends Loaded<ListAnswer<T>> {
    page: Ref<number>;
    size: Ref<number>;
    sort: Ref<string>;
    q: Ref<string>;
    rows: Readonly<Ref<T[]>>;
    total: Readonly<Ref<number>>;
}

const TYPING_MS = 250;

/** `filters`: a reactive object (or a getter's result) of what else narrows the list; a change of it goes back to page 1. */
export function useList<T>(
    read: (ask: ListAsk, signal: AbortSignal) => Promise<ListAnswer<T>>,
    options: { events?: readonly string[]; size?: number; sort?: string; filters?: object | (() => unknown) } = {},
): List<T> {
    const page = ref(1);
    const size = ref(options.size ?? 20);
    const sort = ref(options.sort ?? '');
    const q = ref('');
    const loaded = useLoad((signal) => read({
        page: page.value,
        size: size.value,
        limit: size.value,
        offset: (page.value - 1) * size.value,
        sort: sort.value,
        q: q.value.trim(),
    }, signal), options.events);
    const filters = options.filters;
    const narrowing = typeof filters === 'function' ? filters as () => unknown : reactive(filters ?? {});
    let typing: ReturnType<typeof setTimeout> | undefined;

    function fromStart(): void {
        if (page.value === 1) {
            void loaded.reload();
        } else {
            page.value = 1; // which reloads
        }
    }
    watch([page, size, sort], () => void loaded.reload());
    watch(narrowing, fromStart, { deep: true });
    watch(q, () => {
        clearTimeout(typing);
        typing = setTimeout(fromStart, TYPING_MS);
    });
    onScopeDispose(() => clearTimeout(typing));
    return {
        ...loaded,
        page, size, sort, q,
        rows: computed(() => loaded.value.value?.rows ?? []),
        total: computed(() => loaded.value.value?.total ?? 0),
    };
}
