// SPDX-License-Identifier: Apache-2.0
// The two languages. English is the measure: its messages give the type that Chinese must fill, so that a missing line does not
// compile. Chinese is loaded when it is wanted. One file a page: i18n/en/PAGE.ts, i18n/zh/PAGE.ts.
import { computed } from 'vue';
import { createI18n } from 'vue-i18n';
import en from './en';

export type Language = 'en' | 'zh';
/** The same keys, any text. */
export type Like<T> = { [K in keyof T]: T[K] extends string ? string : Like<T[K]> };

const KEY = 'berth.language';

export const i18n = createI18n({ legacy: false, locale: 'en', fallbackLocale: 'en', messages: { en } as Record<string, typeof en> });
export const locale = computed(() => (i18n.global.locale.value === 'zh' ? 'zh-CN' : 'en-GB'));

/** For code outside of components. */
export const t = (name: string, values: Record<string, unknown> = {}): string => i18n.global.t(name, values);

export async function setLanguage(language: Language): Promise<void> {
    if (language === 'zh' && !i18n.global.availableLocales.includes('zh')) {
        i18n.global.setLocaleMessage('zh', (await import('./zh')).default as typeof en);
    }
    i18n.global.locale.value = language;
    localStorage.setItem(KEY, language);
    document.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
}

export function wantedLanguage(): Language {
    const kept = localStorage.getItem(KEY);
    return kept === 'zh' || kept === 'en' ? kept : navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
}
