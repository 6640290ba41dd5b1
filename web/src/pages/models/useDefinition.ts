// SPDX-License-Identifier: Apache-2.0
// The definition in the form: read, checked by the server as it is typed, saved. A problem is shown once its field was changed or
// saving was tried, so that an empty form does not complain.
import { computed, onScopeDispose, reactive, ref, shallowRef, watch } from 'vue';
import { client, data, Failure, type Schemas } from '@/api/client';
import { configOf, draftOf, type ModelConfig } from './draft';
import { byField } from './problems';

const TYPING_MS = 350;

export function useDefinition() {
    const draft = reactive(draftOf());
    const before = shallowRef<ModelConfig>(); // as the server has it; none: a new model
    const checked = shallowRef<Schemas['ValidationResult']>();
    const checkedBody = shallowRef<ModelConfig>(); // what that is about
    const checking = ref(false);
    const tried = ref(false);
    const refused = shallowRef<Record<string, string>>({}); // by saving, until something is changed
    let initial: ModelConfig = configOf(draft);
    let typing: ReturnType<typeof setTimeout> | undefined;
    let asked = 0;

    function changedSince(field: string, then: ModelConfig | undefined): boolean {
        const member = field.split('.')[0] as keyof ModelConfig;
        return JSON.stringify(configOf(draft, before.value)[member]) !== JSON.stringify(then?.[member]);
    }
    const found = computed(() => Object.fromEntries(Object.entries(byField(checked.value?.errors ?? []))
        .filter(([field]) => field === '' || !changedSince(field, checkedBody.value))));
    const problems = computed(() => Object.fromEntries(Object.entries({ ...found.value, ...refused.value })
        .filter(([field]) => tried.value || (field !== '' && changedSince(field, initial)))));

    /** Only these are sent, so that what others have changed meanwhile stays. */
    function changes(body: ModelConfig): Partial<ModelConfig> {
        return Object.fromEntries(Object.entries(body).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(Object.entries(initial).find(([other]) => other === name)?.[1])));
    }

    async function check(): Promise<void> {
        const mine = ++asked;
        const body = configOf(draft, before.value);
        checking.value = true;
        try {
            const answer = await data(client.POST('/api/models/validate', { body }));
            if (mine === asked) {
                checked.value = answer;
                checkedBody.value = body;
            }
        } catch {
            // saving will say what is wrong
        } finally {
            if (mine === asked) {
                checking.value = false;
            }
        }
    }
    watch(draft, () => {
        refused.value = {};
        clearTimeout(typing);
        typing = setTimeout(() => void check(), TYPING_MS);
    }, { deep: true });
    onScopeDispose(() => clearTimeout(typing));

    /** Empty, or that of the model; throws a Failure. */
    async function open(id?: string): Promise<void> {
        tried.value = false;
        refused.value = {};
        checked.value = undefined;
        before.value = id === undefined ? undefined : await data(client.GET('/api/models/{id}/config', { params: { path: { id } } }));
        Object.assign(draft, draftOf(before.value));
        initial = configOf(draft, before.value);
    }

    /** Throws a Failure; what is wrong then stands at the fields. */
    async function save(): Promise<void> {
        const body = configOf(draft, before.value);
        tried.value = true;
        try {
            await (before.value
                ? data(client.PATCH('/api/models/{id}', { params: { path: { id: before.value.id } }, body: changes(body) }))
                : data(client.POST('/api/models/', { body })));
        } catch (error) {
            if (error instanceof Failure && error.status >= 400 && error.status < 500) {
                const named = Object.entries(error.fields).map(([name, text]) => `${name}: ${text}`);
                refused.value = byField(named.length > 0 ? named : error.message.split('; '));
            }
            throw error;
        }
    }
    return { draft, before, checked, checking, problems, open, save };
}

export type Definition = ReturnType<typeof useDefinition>;
