// SPDX-License-Identifier: Apache-2.0
// Fills a house with what pages show: models in several states, requests, tasks, a batch, evaluations, a topology. Gives the addresses
// of the pages of single things.
import { type Daemon, realModel, until } from './house.ts';

async function evaluate(daemon: Daemon, name: string, chips: number): Promise<string> {
    const answer = await daemon.post('/api/evaluation/submit', {
        experiment_name: name, description: 'Made for the pictures.', search_mode: 'auto',
        topology: { pod_count: 1, racks_per_pod: 1, rack_config: { boards: [{ count: chips / 4, chips: [{ count: 4 }] }] } },
        model: { preset: 'llama-3.1-70b', weight_dtype: 'fp8' },
        hardware: { chip: { chip_type: 'H100' } },
        inference: { input_seq_length: 1024, output_seq_length: 256, slo_ttft_ms: 800, slo_tpot_ms: 50 },
        search_constraints: { max_chips: chips, optimization_target: 'throughput' },
    });
    if (answer.status >= 300) {
        throw new Error(`submit: ${answer.status} ${answer.text}`);
    }
    return answer.json.task_id;
}

const GIB = 1024;
const topology = { name: 'two-racks', description: 'Two racks of two boards.', pod_count: 1, racks_per_pod: 2, rack_config: { boards: [{ count: 2, chips: [{ count: 4 }] }] } };

async function models(daemon: Daemon): Promise<void> {
    const big = (gib: number) => ({ resource_requirements: { gpu_memory: gib * GIB } });
    await daemon.create(realModel('qwen-small', { name: 'Qwen Small', autostart: false, priority: 7, pinned: true }));
    await daemon.create(realModel('llama-long', { name: 'Llama Long', priority: 4, replicas: 2 }, 'loop'));
    await daemon.create({ ...daemon.scripted('crashed', { exit_at_start: 3 }), name: 'Falls over', priority: 3, retry_policy: { enabled: false }, ...big(2) });
    await daemon.create({ ...daemon.scripted('endless', { events: 100000, event_ms: 200 }, { parallel: 1 }), name: 'Never done', priority: 2, ...big(12) });
    await daemon.create({ ...daemon.scripted('broken', { status: 400, body: '{"error":{"message":"the prompt is too long"}}' }), name: 'Always refuses', ...big(2) });
    await daemon.create({ ...daemon.scripted('too-big'), name: 'Waits for room', priority: 1, ...big(23) });
    await daemon.create({ ...daemon.scripted('idle'), name: 'Asleep', priority: 5, ...big(2) });
    for (const id of ['qwen-small', 'llama-long', 'endless', 'broken', 'crashed']) {
        await daemon.post(`/api/models/${id}/start`);
    }
    for (const id of ['qwen-small', 'llama-long', 'endless', 'broken']) {
        await daemon.waitStatus(id, 'running', 60_000);
    }
    await daemon.post('/api/models/too-big/start');
}

async function tasks(daemon: Daemon): Promise<number[]> {
    const submit = async (model_id: string, input: string, fields: object = {}): Promise<number> => {
        const answer = await daemon.post('/api/v1/tasks', { model_id, type: 'text-generation', input, ...fields });
        if (answer.status >= 300) {
            throw new Error(`task: ${answer.status} ${answer.text}`);
        }
        return answer.json.data.id;
    };
    const done = await submit('qwen-small', 'Tell me a story about a harbour.');
    const failed = await submit('broken', 'Summarise the whole library, please.', { max_retries: 0 });
    await submit('llama-long', 'Hello', { priority: 3 });
    const running = await submit('endless', 'Count the waves.');
    const waiting = await submit('endless', 'And then count the gulls.', { priority: 1 });
    await until('the tasks to end', async () => (await daemon.get(`/api/v1/tasks/${failed}`)).json.data.status === 'failed' && (await daemon.get(`/api/v1/tasks/${done}`)).json.data.status === 'completed', 60_000);
    return [done, failed, running, waiting];
}

async function batch(daemon: Daemon): Promise<void> {
    const lines = [1, 2, 3].map((i) => JSON.stringify({ custom_id: `q${i}`, method: 'POST', url: '/v1/chat/completions', body: { model: 'qwen-small', max_tokens: 4, messages: [{ role: 'user', content: 'Hello' }] } }));
    const form = new FormData();
    form.set('purpose', 'batch');
    form.set('file', new Blob([lines.join('\n') + '\n']), 'questions.jsonl');
    const file = await (await fetch(`${daemon.url}/v1/files`, { method: 'POST', body: form })).json() as { id: string };
    await daemon.post('/v1/batches', { input_file_id: file.id, endpoint: '/v1/chat/completions', completion_window: '24h' });
}

/** Everything at once: what runs goes on running until the house is closed. */
export async function furnish(daemon: Daemon): Promise<string[]> {
    await models(daemon);
    for (let i = 0; i < 8; i++) {
        await daemon.chat(i % 2 ? 'qwen-small' : 'llama-long', { max_tokens: 12 });
    }
    await batch(daemon);
    const numbers = await tasks(daemon);
    await daemon.post('/api/topologies', topology);
    const jobs = [await evaluate(daemon, '8 cards', 8), await evaluate(daemon, '16 cards', 16)];
    for (const job of jobs) {
        await until(`job ${job} to end`, async () => ['completed', 'failed'].includes((await daemon.get(`/api/evaluation/tasks/${job}`)).json.status), 60_000);
    }
    const ids = (await daemon.get('/api/evaluation/experiments')).json.experiments.slice(0, 2).map(({ id }: { id: number }) => id);
    return [
        'models/qwen-small', 'models/qwen-small?tab=log', 'models/qwen-small?tab=metrics', 'models/qwen-small?tab=history', 'models/qwen-small?tab=definition',
        'models/crashed', 'models/too-big', 'models?add=1', 'scheduler?schedule=1', 'tasks?submit=1',
        ...numbers.map((id) => `tasks/${id}`), `planner/results/${jobs[0]}`, `planner/compare?ids=${ids.join(',')}`,
    ];
}
