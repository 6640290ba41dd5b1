// SPDX-License-Identifier: Apache-2.0
// What runs now: tasks and evaluations, as events tell; read anew at the start and after a break. What has ended stays for 3 s.
import { computed, onScopeDispose, ref, shallowReactive, watch } from 'vue';
import { client, data, type Schemas } from '@/api/client';
import { onLive } from '@/api/live';
import { useLoad } from './useLoad';

export interface Work {
    key: string;
    kind: 'task' | 'evaluation';
    id: string;
    name: string; // of an evaluation: its experiment; of a task: its model and type
    status: string;
    progress: number | null; // null: nobody knows
    message: string;
    since: string | null;
}
interface TaskChange {
    from: string | null;
    removed: boolean;
    task: Omit<Schemas['Task'], 'input' | 'output'>;
}
interface EvaluationChange {
    task_id: string;
    status: string;
    progress: number;
    message: string;
}

const LEAVE_MS = 3000;
const ENDED_MAX = 10; // of those that wait to leave
const READ_MAX = 100;
const OTHERS = ['batch', 'instance']; // a batch's lines and work of Task Instances have pages of their own

export function useLiveWork(onEnded: (work: Work) => void) {
    const works = shallowReactive(new Map<string, Work>());
    const timers = new Map<string, ReturnType<typeof setTimeout>>();
    const returned = ref(0); // how many ran already when the page was opened
    let first = true;

    function remove(key: string): void {
        clearTimeout(timers.get(key));
        timers.delete(key);
        works.delete(key);
    }
    function put(work: Work): void {
        clearTimeout(timers.get(work.key));
        timers.delete(work.key);
        works.set(work.key, work);
    }
    function end(work: Work): void {
        put(work);
        timers.set(work.key, setTimeout(() => remove(work.key), LEAVE_MS));
        const oldest = timers.keys().next().value;
        if (timers.size > ENDED_MAX && oldest !== undefined) {
            remove(oldest);
        }
        onEnded(work);
    }
    function ofTask(task: TaskChange['task']): Work {
        return { key: `task ${task.id}`, kind: 'task', id: String(task.id), name: `${task.model_name ?? ''} · ${task.type}`, status: task.status, progress: null, message: task.error_message ?? '', since: task.started_at };
    }

    // Where it cannot be read, pages say so; the cards come back with the connection.
    const running = useLoad(async (signal) => {
        const [tasks, evaluations] = await Promise.all([
            data(client.GET('/api/v1/tasks', { params: { query: { status: 'running', page_size: READ_MAX } }, signal })), data(client.GET('/api/evaluation/running', { signal })),
        ]);
        return [...tasks.data.filter(({ type }) => !OTHERS.includes(type)).map(ofTask), ...evaluations.tasks.map<Work>((task) => ({
            key: `evaluation ${task.task_id}`, kind: 'evaluation', id: task.task_id, name: task.experiment_name, status: task.status, progress: task.progress, message: task.message ?? '', since: task.started_at ?? null,
        }))];
    });
    watch(running.value, (now = []) => {
        for (const key of [...works.keys()].filter((other) => !timers.has(other))) {
            works.delete(key);
        }
        now.filter(({ key }) => !timers.has(key)).forEach(put); // the live channel may know the end before this answer did
        returned.value = first ? works.size : returned.value;
        first = false;
    });
    function onTask({ task, removed }: TaskChange): void {
        const known = works.get(`task ${task.id}`);

        if (OTHERS.includes(task.type)) {
            return;
        }
        if (task.status === 'running') {
            put(ofTask(task));
        } else if (removed || task.status === 'pending') {
            remove(`task ${task.id}`);
        } else if (!known || known.status === 'running') {
            end(ofTask(task));
        }
    }
    function onEvaluation(change: EvaluationChange): void {
        const known = works.get(`evaluation ${change.task_id}`);

        if (!known) {
            running.reloadSoon(); // its name is not told
            return;
        }
        const now = { ...known, status: change.status, progress: change.progress, message: change.message };
        if (change.status === 'running' || change.status === 'pending') {
            put(now);
        } else if (known.status === 'running' || known.status === 'pending') {
            end(now);
        }
    }
    onLive(['task', 'evaluation'], ({ kind, data: told }) => { // the daemon's word, as any answer
        if (kind === 'task') {
            onTask(told as TaskChange);
        } else {
            onEvaluation(told as EvaluationChange);
        }
    });
    onScopeDispose(() => timers.forEach((timer) => clearTimeout(timer)));
    return { works: computed(() => [...works.values()]), returned };
}
