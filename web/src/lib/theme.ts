// SPDX-License-Identifier: Apache-2.0
// Dark, light, or as the system is; kept in the browser. The class "dark" on <html> is what Element Plus and our styles go by.
import { computed, ref, watchEffect } from 'vue';

export type Theme = 'auto' | 'light' | 'dark';
const KEY = 'berth.theme';
const system = matchMedia('(prefers-color-scheme: dark)');
const systemDark = ref(system.matches);

function kept(): Theme {
    const value = localStorage.getItem(KEY);
    return value === 'light' || value === 'dark' ? value : 'auto';
}

export const theme = ref<Theme>(kept());
export const dark = computed(() => (theme.value === 'auto' ? systemDark.value : theme.value === 'dark'));

export function startTheme(): void {
    system.addEventListener('change', ({ matches }) => { systemDark.value = matches; });
    watchEffect(() => {
        document.documentElement.classList.toggle('dark', dark.value);
        localStorage.setItem(KEY, theme.value);
    });
}
