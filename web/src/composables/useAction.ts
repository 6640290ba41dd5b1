// SPDX-License-Identifier: Apache-2.0
// What a button does: asked before harm, busy while it lasts, told how it ended.
import { ElMessage, ElMessageBox } from 'element-plus';
import 'element-plus/es/components/message/style/css';
import 'element-plus/es/components/message-box/style/css';
import { ref } from 'vue';
import { t } from '@/i18n';

export function say(text: string, type: 'success' | 'error' | 'warning' | 'info' = 'success'): void {
    ElMessage({ message: text, type, grouping: true, showClose: type === 'error', duration: type === 'error' ? 8000 : 3000 });
}

export function sayFailure(error: unknown): void {
    say(error instanceof Error ? error.message : String(error), 'error');
}

/** Into the clipboard, which browsers keep from pages that came over an untrusted connection. */
export async function copyText(text: string): Promise<void> {
    try {
        await navigator.clipboard.writeText(text);
        say(t('act.copied'));
    } catch {
        say(t('act.noCopy'), 'warning');
    }
}

/** True when the person means it. */
export async function confirmHarm(question: string, button: string): Promise<boolean> {
    try {
        await ElMessageBox.confirm(question, { type: 'warning', confirmButtonText: button, cancelButtonText: t('act.cancel'), confirmButtonClass: 'el-button--danger', autofocus: false });
        return true;
    } catch {
        return false;
    }
}

/** `busy` holds the key of what is under way ('' when nothing is). run() says how it ended and returns whether it went well. */
export function useAction() {
    const busy = ref('');

    async function run(what: string, work: () => Promise<string | void>): Promise<boolean> {
        if (busy.value) {
            return false;
        }
        busy.value = what;
        try {
            const text = await work();
            if (text) {
                say(text);
            }
            return true;
        } catch (error) {
            sayFailure(error);
            return false;
        } finally {
            busy.value = '';
        }
    }
    return { busy, run };
}
