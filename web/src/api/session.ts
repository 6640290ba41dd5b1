// SPDX-License-Identifier: Apache-2.0
// Who we are and whom we ask: the key (kept for this tab only) and the address of the daemon (its own origin unless it is told).
import { ref } from 'vue';

const KEY = 'berth.key'; // /docs reads the same name
const BASE = 'berth.base';

function builtIn(): string {
    return import.meta.env.VITE_BERTH_BASE ?? '';
}

export const key = ref(sessionStorage.getItem(KEY) ?? '');
export const base = ref(localStorage.getItem(BASE) ?? builtIn());
/** Grows with each sign-in and sign-out, also with the same key: whatever was read before is read anew. */
export const session = ref(0);
/** The daemon has said 401: the sign-in is shown. */
export const signInWanted = ref(false);

export function signIn(newKey: string, newBase: string): void {
    key.value = newKey.trim();
    base.value = newBase.trim().replace(/\/+$/, '');
    sessionStorage.setItem(KEY, key.value);
    if (base.value === builtIn()) {
        localStorage.removeItem(BASE);
    } else {
        localStorage.setItem(BASE, base.value);
    }
    signInWanted.value = false;
    session.value++;
}

export function signOut(): void {
    key.value = '';
    sessionStorage.removeItem(KEY);
    session.value++;
}

export function headers(): Record<string, string> {
    return key.value ? { Authorization: `Bearer ${key.value}` } : {};
}

/** The whole address of a path of the daemon. */
export function address(path: string): string {
    return `${base.value || location.origin}${path}`;
}
