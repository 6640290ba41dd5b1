// SPDX-License-Identifier: Apache-2.0
// How far a batch is, in percent of its lines; and when it may be further: each line is a task.
import type { Schemas } from '@/api/client';
import { onLive } from '@/api/live';

export function onLine(fn: () => void): void {
    onLive(['task'], ({ data: told }) => {
        if ((told as { task: { type: string } }).task.type === 'batch') { // the daemon's word, as any answer
            fn();
        }
    });
}

export function share({ request_counts: { total = 0, completed = 0, failed = 0 } }: Schemas['OpenAIBatch']): { done: number; failed: number } {
    return total > 0 ? { done: (100 * completed) / total, failed: (100 * failed) / total } : { done: 0, failed: 0 };
}
