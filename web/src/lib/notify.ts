// SPDX-License-Identifier: Apache-2.0
// Desktop notifications of what has ended: only when a person has asked for them, and many at once as one.
import { ref } from 'vue';
import { t } from '@/i18n';

const KEY = 'berth.notify';
const BUNCH_MS = 1000;
const available = 'Notification' in window && window.isSecureContext;
let waiting: string[] = [];

/** Asked for, and the browser allows it. */
export const notifying = ref(available && localStorage.getItem(KEY) === '1' && Notification.permission === 'granted');

/** Turns it on or off; what it returns is why it cannot be on, '' when it is as wanted. */
export async function setNotifying(wanted: boolean): Promise<string> {
    localStorage.setItem(KEY, wanted ? '1' : '0');
    notifying.value = false;
    if (!wanted) {
        return '';
    }
    if (!available) {
        return t('cards.notify.unavailable');
    }
    notifying.value = await Notification.requestPermission() === 'granted';
    return notifying.value ? '' : t('cards.notify.denied');
}

function show(): void {
    const texts = waiting;
    waiting = [];
    try {
        new Notification('berth', { body: texts.length === 1 ? texts[0] : t('cards.notify.many', { n: texts.length }), tag: `berth-${texts[0]}` });
    } catch {
        notifying.value = false; // phones' browsers have the word, not the thing
    }
}

/** Something has ended. */
export function notify(text: string): void {
    if (!notifying.value) {
        return;
    }
    if (waiting.push(text) === 1) {
        setTimeout(show, BUNCH_MS);
    }
}
