// SPDX-License-Identifier: Apache-2.0
// What the submit form holds, and the order that becomes of it, or what is wrong with it: by the members' names of the door.
import type { Schemas } from '@/api/client';

export interface Draft {
    model: string;
    type: string;
    input: string;
    asJson: boolean;
    priority: number;
    retries: string | number; // '' : as configured
    when: 'now' | 'delay' | 'at';
    delay: string;
    at: string;
    timeout: string;
    webhook: string;
    options: Record<string, string>;
    more: string;
}
type Order = Schemas['TaskCreate'];
type Say = (name: string, values?: Record<string, unknown>) => string;

export function emptyDraft(): Draft {
    return { model: '', type: 'text-generation', input: '', asJson: false, priority: 2, retries: '', when: 'now', delay: '', at: '', timeout: '', webhook: '', options: {}, more: '' };
}

function parse(text: string, say: Say): { value?: object; problem?: string } {
    try {
        const value: unknown = JSON.parse(text);
        return typeof value === 'object' && value !== null ? { value } : { problem: say('tasks.form.noObject') };
    } catch (error) {
        return { problem: say('tasks.form.badJson', { reason: error instanceof Error ? error.message : '' }) };
    }
}

/** A number is seconds; anything else is a duration, which the server reads. */
function span(text: string): string | number | undefined {
    const trimmed = text.trim();
    return trimmed === '' ? undefined : Number.isFinite(Number(trimmed)) ? Number(trimmed) : trimmed;
}

/** `names`: of the options that belong to the type; others were typed for another type. */
export function orderOf(draft: Draft, names: readonly string[], say: Say): { order?: Order; problems: Record<string, string> } {
    const problems: Record<string, string> = {};
    const input = draft.asJson && draft.input.trim() ? parse(draft.input, say) : {};
    const more = draft.more.trim() ? parse(draft.more, say) : {};
    const options = { ...Object.fromEntries(names.filter((name) => draft.options[name]?.trim()).map((name) => [name, draft.options[name]])), ...more.value };

    if (!draft.model) {
        problems.model_id = say('tasks.form.chooseModel');
    }
    if (!draft.input.trim()) {
        problems.input = say('tasks.form.noInput');
    } else if (input.problem) {
        problems.input = input.problem;
    }
    if (more.problem || Array.isArray(more.value)) {
        problems.options = more.problem ?? say('tasks.form.noObject');
    }
    if (draft.when === 'at' && !draft.at) {
        problems.run_at = say('tasks.form.noTime');
    }
    if (Object.keys(problems).length > 0) {
        return { problems };
    }
    return { problems, order: {
        model_id: draft.model, type: draft.type, input: input.value ?? draft.input, priority: draft.priority,
        ...(draft.retries === '' ? {} : { max_retries: Number(draft.retries) }),
        ...(draft.when === 'delay' ? { delay: span(draft.delay) ?? 0 } : {}),
        ...(draft.when === 'at' ? { run_at: new Date(draft.at).toISOString() } : {}),
        ...(draft.timeout.trim() ? { timeout: span(draft.timeout) } : {}),
        ...(draft.webhook.trim() ? { webhook: draft.webhook.trim() } : {}),
        ...(Object.keys(options).length > 0 ? { options } : {}),
    } };
}
