// SPDX-License-Identifier: Apache-2.0
// How much of the kept hour the charts show; the same for all of them while the page is open.
import { ref } from 'vue';
import { dateOf } from '@/lib/format';

export const RANGES = [10, 30, 60] as const;
export const minutes = ref<number>(60);

export function within<T extends { timestamp: string | null }>(rows: readonly T[], span = minutes.value): readonly T[] {
    const since = Date.now() - span * 60 * 1000;
    return span === 60 ? rows : rows.filter(({ timestamp }) => (dateOf(timestamp)?.getTime() ?? 0) >= since);
}
