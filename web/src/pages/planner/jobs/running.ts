// SPDX-License-Identifier: Apache-2.0
// The evaluations that run or wait: read once, then moved by what is told live; read again when one comes or goes.
import { ref, watch } from 'vue';
import { client, data } from '@/api/client';
import { onLive } from '@/api/live';
import { useLoad } from '@/composables/useLoad';

export type Job = Awaited<ReturnType<typeof read>>[number];

async function read(signal: AbortSignal) {
    return (await data(client.GET('/api/evaluation/running', { signal }))).tasks;
}

interface Update {
    task_id: string;
    status: Job['status'];
    progress: number;
    message: string;
}

function isUpdate(told: unknown): told is Update {
    return typeof told === 'object' && told !== null && 'task_id' in told && 'status' in told && 'progress' in told;
}

/** Told when a job comes, begins or ends; not when it only moves on. */
export function onJobChange(fn: () => void): void {
    const statuses = new Map<string, Job['status']>();
    onLive(['evaluation'], ({ data: told }) => {
        if (isUpdate(told) && statuses.get(told.task_id) !== told.status) {
            statuses.set(told.task_id, told.status);
            fn();
        }
    });
}

export function useRunning() {
    const loaded = useLoad(read);
    const jobs = ref<Job[]>([]);

    watch(loaded.value, (now) => { jobs.value = now ?? []; });
    onJobChange(loaded.reloadSoon);
    onLive(['evaluation'], ({ data: told }) => {
        const job = isUpdate(told) ? jobs.value.find(({ task_id: id }) => id === told.task_id) : undefined;
        if (job && isUpdate(told)) {
            job.progress = told.progress;
        }
    });
    return jobs;
}
