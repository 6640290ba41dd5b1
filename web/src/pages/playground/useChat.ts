// SPDX-License-Identifier: Apache-2.0
// The conversation: kept for this tab, gone on with, stopped, cleared. One request at a time.
import { computed, onScopeDispose, reactive, ref, watch } from 'vue';
import { client, data, Failure } from '@/api/client';
import { type ChatBody, type Figures, noFigures, streamChat, type Turn, type Waiting } from './chat';

export interface Message {
    role: 'user' | 'assistant';
    content: string;
    thought: string;
    figures: Figures | null;
    problem: string; // why it broke off
    stopped: boolean; // by the person
}
interface Kept {
    model: string;
    system: string;
    temperature: number | '';
    maxTokens: number | '';
    messages: Message[];
}

const KEY = 'berth.playground';
const LOOK_AFTER_MS = 1000;

function message(role: Message['role'], content: string): Message {
    return { role, content, thought: '', figures: null, problem: '', stopped: false };
}

function kept(): Kept {
    const nothing: Kept = { model: '', system: '', temperature: '', maxTokens: '', messages: [] };
    try {
        return { ...nothing, ...(JSON.parse(sessionStorage.getItem(KEY) ?? '{}') as Partial<Kept>) };
    } catch {
        return nothing;
    }
}

export function useChat() {
    const chat = reactive(kept());
    const running = ref(false);
    const waiting = ref<Waiting | null>(null); // in the line, as far as is known
    const waitedS = ref(0);
    let current: AbortController | null = null;

    function keep(): void {
        try {
            sessionStorage.setItem(KEY, JSON.stringify(chat));
        } catch {
            // too long to be kept: it stays on the page
        }
    }
    watch(() => [chat.model, chat.system, chat.temperature, chat.maxTokens, chat.messages.length, running.value], keep);

    const body = computed<ChatBody>(() => ({
        model: chat.model,
        messages: [
            ...(chat.system.trim() ? [{ role: 'system', content: chat.system } satisfies Turn] : []),
            ...chat.messages.filter(({ content }) => content !== '').map(({ role, content }): Turn => ({ role, content })),
        ],
        ...(chat.temperature === '' ? {} : { temperature: chat.temperature }),
        ...(chat.maxTokens === '' ? {} : { max_tokens: chat.maxTokens }),
    }));

    /** Before the gateway gives its first sign: how many are in line, where the key may know. */
    async function look(signal: AbortSignal): Promise<void> {
        try {
            const { instances } = await data(client.GET('/api/models/{id}/instances', { params: { path: { id: chat.model } }, signal }));
            const inLine = instances[0]?.waiting ?? 0;
            if (running.value && waiting.value === null && inLine > 0) {
                waiting.value = { place: inLine, expectedS: null };
            }
        } catch {
            // nobody tells: the gateway's own signs come
        }
    }

    async function send(text: string): Promise<void> {
        if (running.value || text.trim() === '') {
            return;
        }
        chat.messages.push(message('user', text));
        await answer();
    }

    /** Of the conversation as it stands. */
    async function answer(): Promise<void> {
        const mine = new AbortController();
        const request = body.value;
        const reply = reactive({ ...message('assistant', ''), figures: noFigures() });
        chat.messages.push(reply);
        running.value = true;
        waiting.value = null;
        waitedS.value = 0;
        current = mine;
        const began = Date.now();
        const clock = setInterval(() => { waitedS.value = Math.floor((Date.now() - began) / 1000); }, 500);
        const soon = setTimeout(() => { if (reply.content === '') { void look(mine.signal); } }, LOOK_AFTER_MS);
        try {
            await streamChat(request, mine.signal, {
                text: (piece) => { reply.content += piece; },
                thought: (piece) => { reply.thought += piece; },
                waiting: (sign) => { waiting.value = sign; },
                figures: (figures) => { reply.figures = figures; },
            });
        } catch (error) {
            if (mine.signal.aborted) {
                reply.stopped = true;
            } else {
                reply.problem = error instanceof Failure ? error.message : String(error);
            }
        } finally {
            clearInterval(clock);
            clearTimeout(soon);
            running.value = false;
            keep();
        }
    }

    function stop(): void {
        current?.abort();
    }
    /** The last question once more. */
    async function retry(): Promise<void> {
        if (!running.value && chat.messages.at(-1)?.role === 'assistant') {
            chat.messages.pop();
            await answer();
        }
    }
    function clear(): void {
        stop();
        chat.messages = [];
    }
    onScopeDispose(stop);
    return { chat, body, running, waiting, waitedS, send, retry, stop, clear };
}
