// SPDX-License-Identifier: Apache-2.0
// What the daemon refused, at the fields it is about. A refusal names its member ("inference.batch_size: this is missing"); fields ask
// by that path.
import { computed, inject, type InjectionKey, provide, type Ref, ref } from 'vue';
import { Failure } from '@/api/client';

export interface Problems {
    fields: Record<string, string>;
    text: string; // the whole, for the summary
}
const KEY: InjectionKey<Ref<Problems>> = Symbol('problems');

export function noProblems(): Problems {
    return { fields: {}, text: '' };
}

function split(text: string): [string, string] {
    const found = /^([\w.[\]]+): (.*)$/s.exec(text);
    return found ? [found[1]!, found[2]!] : ['', text];
}

export function problemsOf(error: unknown): Problems {
    const text = error instanceof Error ? error.message : String(error);
    const told = error instanceof Failure ? Object.entries(error.fields) : [];
    if (told.length > 0) {
        const fields = Object.fromEntries(told.map(([name, message]) => [name, split(message)[0] === name ? split(message)[1] : message]));
        return { fields, text: Object.entries(fields).map(([name, message]) => `${name}: ${message}`).join('\n') };
    }
    const [name, message] = split(text);
    return { fields: name ? { [name]: message } : {}, text };
}

export function provideProblems(): Ref<Problems> {
    const problems = ref(noProblems());
    provide(KEY, problems);
    return problems;
}

/** What is said of one of these members ('' when nothing is). `of`: for who provided them itself. */
export function useProblem(members: () => string | readonly string[] | undefined, of?: Ref<Problems>) {
    const problems = of ?? inject(KEY, ref(noProblems()));
    return computed(() => [members() ?? []].flat().map((name) => problems.value.fields[name]).find((text) => text !== undefined) ?? '');
}
