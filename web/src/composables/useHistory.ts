// SPDX-License-Identifier: Apache-2.0
// How something was in the last hour: what the daemon kept, and each live sample after it, so that charts go on without asking.
import { type Ref, shallowRef, watch } from 'vue';
import type { Schemas } from '@/api/client';
import { onLive } from '@/api/live';
import { dateOf } from '@/lib/format';
import { type Loaded, useLoad } from './useLoad';

export type Sample = Schemas['ServiceNow'];
const SPAN_MS = 3600 * 1000;

export function onSample(fn: (sample: Sample) => void): void {
    onLive(['sample'], ({ data }) => fn(data as Sample)); // the daemon's word, as any answer
}

function fresh<T extends { timestamp: string | null }>(rows: readonly T[]): T[] {
    const at = ({ timestamp }: T): number => dateOf(timestamp)?.getTime() ?? 0;
    const since = Math.max(...rows.slice(-1).map(at)) - SPAN_MS; // by the daemon's clock: ours may be another
    return rows.filter((row) => at(row) >= since);
}

/** `read`: what was kept, oldest first; `pick`: what a sample brings of it; `series`: what tells several things in one history apart. */
export function useHistory<T extends { timestamp: string | null }>(
    read: () => Promise<T[]>,
    pick: (sample: Sample) => readonly T[],
    series: (row: T) => string | number = () => '',
): { loaded: Loaded<T[]>; rows: Readonly<Ref<T[]>> } {
    const loaded = useLoad(read);
    const rows = shallowRef<T[]>([]);
    watch(loaded.value, (kept) => { rows.value = kept ?? []; });
    onSample((sample) => {
        const newer = pick(sample).filter((row) => (row.timestamp ?? '') > (rows.value.findLast((other) => series(other) === series(row))?.timestamp ?? ''));
        if (loaded.value.value && newer.length > 0) {
            rows.value = fresh([...rows.value, ...newer]);
        }
    });
    return { loaded, rows };
}
