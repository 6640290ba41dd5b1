// SPDX-License-Identifier: Apache-2.0
// What is known of one evaluation: its task, its question and what it found; and what the live channel says of it.
import { client, data, type Schemas } from '@/api/client';
import type { Stats } from './plans';
import type { Question } from './question';

export interface Found {
    task: Schemas['EvaluationTask'];
    question: Question | null; // null: not kept
    results: Schemas['EvaluationResults'];
}
export interface Update {
    task_id: string;
    status: string;
    progress: number;
    message: string;
    search_stats: Stats | null;
}

/** An imported one has no question of its own: that of its experiment stands for it, as far as it is kept. */
async function questionOf(task: Found['task'], signal: AbortSignal): Promise<Question | null> {
    if (task.request) {
        return task.request;
    }
    if (task.experiment_id === undefined) {
        return null;
    }
    const experiment = await data(client.GET('/api/evaluation/experiments/{id}', { params: { path: { id: String(task.experiment_id) } }, signal }));
    const known = Object.entries({ model: experiment.model_config, hardware: experiment.hardware_config, inference: experiment.inference_config }).filter(([, value]) => value !== null);
    return known.length > 0 ? { ...Object.fromEntries(known), search_mode: task.search_mode, search_constraints: task.search_constraints, manual_parallelism: task.manual_parallelism } : null;
}

export async function readFound(id: string, signal: AbortSignal): Promise<Found> {
    const params = { path: { id } };
    const [task, results] = await Promise.all([
        data(client.GET('/api/evaluation/tasks/{id}', { params, signal })), data(client.GET('/api/evaluation/tasks/{id}/results', { params, signal })),
    ]);
    return { task, results, question: await questionOf(task, signal) };
}

/** What came over the live channel as an update; null when it is none. */
export function updateOf(message: unknown): Update | null {
    return typeof message === 'object' && message !== null && 'task_id' in message && 'status' in message && 'progress' in message ? (message as Update) : null;
}
