// SPDX-License-Identifier: Apache-2.0
// What the task views share: the words of priorities, what may be done to a task, and doing it to many.
import { client, data, type Schemas } from '@/api/client';

export type Task = Schemas['Task'];
export type Act = 'cancel' | 'retry' | 'delete';

export const PRIORITIES = [{ value: 1, word: 'low' }, { value: 2, word: 'medium' }, { value: 3, word: 'high' }] as const;
export const STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled'] as const;
export const ENDED: readonly string[] = ['completed', 'failed', 'cancelled'];
export const BULK_MAX = 100;

export function priorityWord(priority: number): 'low' | 'medium' | 'high' {
    return PRIORITIES.find(({ value }) => value === priority)?.word ?? 'medium';
}

export function may(task: Pick<Task, 'status'>, act: Act): boolean {
    return act === 'delete' ? ENDED.includes(task.status) : act === 'retry' ? task.status === 'failed' : task.status === 'pending' || task.status === 'running';
}

export async function perform(id: number, act: Act): Promise<void> {
    const path = { id: String(id) };
    if (act === 'retry') {
        await client.POST('/api/v1/tasks/{id}/retry', { params: { path, query: { again: true } } });
    } else {
        await client.DELETE('/api/v1/tasks/{id}', { params: { path, query: act === 'delete' ? { purge: true } : {} } });
    }
}

export async function setPriority(id: number, priority: number): Promise<void> {
    await data(client.PUT('/api/v1/tasks/{id}/priority', { params: { path: { id: String(id) } }, body: { priority } }));
}

/** What is refused does not stop the others. */
export async function performAll(ids: readonly number[], action: Act): Promise<{ done: number; refused: string[] }> {
    const { data: { succeeded, results } } = await data(client.POST('/api/v1/tasks/bulk', { body: { action, ids: [...ids], again: true } }));
    return { done: succeeded, refused: results.filter(({ success }) => !success).map(({ error }) => error ?? '') };
}
