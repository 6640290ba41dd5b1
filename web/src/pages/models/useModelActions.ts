// SPDX-License-Identifier: Apache-2.0
// What a person does to a model, from the list and from its page: asked before what interrupts others' work.
import { useI18n } from 'vue-i18n';
import { client, data } from '@/api/client';
import { confirmHarm, useAction } from '@/composables/useAction';

export function useModelActions(changed: () => unknown) {
    const { t } = useI18n();
    const { busy, run } = useAction();

    async function act(key: string, work: () => Promise<unknown>, done: string): Promise<boolean> {
        const well = await run(key, async () => {
            await work();
            return done;
        });
        void changed();
        return well;
    }
    function start(id: string): Promise<boolean> {
        return act(`start ${id}`, () => data(client.POST('/api/models/{id}/start', { params: { path: { id } } })), t('models.done.start', { id }));
    }
    async function stop(id: string): Promise<boolean> {
        return await confirmHarm(t('models.ask.stop', { id }), t('act.stop'))
            && act(`stop ${id}`, () => data(client.POST('/api/models/{id}/stop', { params: { path: { id } } })), t('models.done.stop', { id }));
    }
    async function restart(id: string): Promise<boolean> {
        return await confirmHarm(t('models.ask.restart', { id }), t('act.restart'))
            && act(`restart ${id}`, () => data(client.POST('/api/models/{id}/restart', { params: { path: { id } } })), t('models.done.restart', { id }));
    }
    function pin(id: string, pinned: boolean): Promise<boolean> {
        return act(`pin ${id}`, () => data(client.PATCH('/api/models/{id}', { params: { path: { id } }, body: { pinned } })), t(pinned ? 'models.done.pin' : 'models.done.unpin', { id }));
    }
    async function remove(id: string): Promise<boolean> {
        return await confirmHarm(t('models.ask.delete', { id }), t('act.delete'))
            && act(`delete ${id}`, () => data(client.DELETE('/api/models/{id}', { params: { path: { id } } })), t('models.done.delete', { id }));
    }
    return { busy, start, stop, restart, pin, remove };
}

export type ModelActions = ReturnType<typeof useModelActions>;
