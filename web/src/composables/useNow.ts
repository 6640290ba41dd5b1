// SPDX-License-Identifier: Apache-2.0
// The time, told anew every second while a component shows it: for what counts up.
import { onScopeDispose, type Ref, ref } from 'vue';

export function useNow(): Readonly<Ref<number>> {
    const now = ref(Date.now());
    const timer = setInterval(() => { now.value = Date.now(); }, 1000);

    onScopeDispose(() => clearInterval(timer));
    return now;
}
