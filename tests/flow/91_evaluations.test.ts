// SPDX-License-Identifier: Apache-2.0
// Seed 001's doors through the real binary: the planner's jobs with their live updates, experiments, documents, /api/simulate and
// /api/validate; what is wrong is refused and not kept; a restart loses nothing; the known faults of the seed, one test each.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Daemon } from './lib/daemon.ts';
import { Events } from './lib/events.ts';
import type { Answer } from './lib/http.ts';
import { checkTraffic } from './lib/openapi.ts';
import { pause, until } from './lib/wait.ts';

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const UNKNOWN = '00000000-0000-4000-8000-000000000000';
const ENDED = ['completed', 'failed', 'cancelled'];

let daemon: Daemon;

// ---- the contract's complete example (D.3), word for word ----

const chips = (count: number) => Array.from({ length: count }, (_, i) => ({ id: `c${i}`, type: 'H100', position: [Math.floor(i / 4), i % 4], label: String(i) }));

const example = (fields: Record<string, unknown> = {}): any => ({
    experiment_name: 'moe-on-8', description: 'trial',
    topology: { pods: [{ id: 'p0', label: 'Pod 0', grid_size: [1, 1], racks: [{ id: 'r0', position: [0, 0], label: 'Rack 0', total_u: 42,
        boards: [{ id: 'b0', u_position: 1, u_height: 2, label: 'Board 0', chips: chips(8) }] }] }],
        connections: [{ source: 'c0', target: 'c1', type: 'intra', bandwidth: 450, latency: 1 }] },
    model: { model_name: 'Llama-like 7B', model_type: 'dense', hidden_size: 4096, num_layers: 32, num_attention_heads: 32, num_kv_heads: 32,
        intermediate_size: 11008, vocab_size: 32000, weight_dtype: 'bf16', activation_dtype: 'bf16', max_seq_length: 4096, attention_type: 'mha', norm_type: 'rmsnorm' },
    hardware: { chip: { chip_type: 'H100', compute_tflops_fp16: 989, memory_gb: 80, memory_bandwidth_gbps: 3350, memory_bandwidth_utilization: 0.9 },
        node: { chips_per_node: 8, intra_node_bandwidth_gbps: 900, intra_node_latency_us: 1 },
        cluster: { num_nodes: 1, inter_node_bandwidth_gbps: 400, inter_node_latency_us: 2 } },
    inference: { batch_size: 8, input_seq_length: 512, output_seq_length: 256, max_seq_length: 768, num_micro_batches: 4 },
    search_mode: 'auto', search_constraints: { max_chips: 8 },
    ...fields,
});

const deepseek = { model_name: 'DeepSeek-V3', model_type: 'moe', hidden_size: 7168, num_layers: 61, num_attention_heads: 128, num_kv_heads: 128, intermediate_size: 18432,
    vocab_size: 129280, weight_dtype: 'fp8', activation_dtype: 'bf16', max_seq_length: 8192, attention_type: 'mla', norm_type: 'rmsnorm',
    moe_config: { num_experts: 256, num_experts_per_tok: 8, num_shared_experts: 1, expert_intermediate_size: 2048, first_k_dense_replace: 3 },
    mla_config: { kv_lora_rank: 512, q_lora_rank: 1536, qk_nope_head_dim: 128, qk_rope_head_dim: 64, v_head_dim: 128 } };

/** Everything divides this one, so that there are millions of plans. */
const wide = { ...deepseek, model_name: 'wide', hidden_size: 1024, num_layers: 64, num_attention_heads: 1024, num_kv_heads: 1024, head_dim: 16, intermediate_size: 65536,
    weight_dtype: 'bf16', attention_type: 'mha', mla_config: undefined, moe_config: { num_experts: 1024, num_experts_per_tok: 2, expert_intermediate_size: 65536 } };

/** A search that takes most of a minute of a core, so that it runs still while a test looks at it; each test ends its own. */
const large = (fields: Record<string, unknown> = {}): any => example({
    experiment_name: 'large', model: wide,
    topology: { pod_count: 8, racks_per_pod: 16, rack_config: { boards: [{ count: 8, chips: [{ count: 64 }] }] } },
    hardware: { chip: { ...example().hardware.chip, memory_gb: 100_000 } },
    inference: { input_seq_length: 7000, output_seq_length: 1024, rate_per_s: 10, chunk_tokens: 128 },
    search_constraints: { disaggregated: true, tp_within_node: false, tp_divides_heads: false },
    ...fields,
});

// ---- asking ----

const api = (method: string, path: string, body?: unknown): Promise<Answer> =>
    daemon.ask({ method, path: `/api/evaluation${path}`, body, headers: body === undefined && method !== 'GET' ? { 'content-length': '0' } : {} });

async function good(method: string, path: string, body?: unknown): Promise<any> {
    const answer = await api(method, path, body);
    assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${answer.text}`);
    return answer.json;
}

/** A refusal in words, which names what it is about. */
async function bad(status: number, says: RegExp, method: string, path: string, body?: unknown): Promise<any> {
    const answer = await api(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${answer.text}`);
    const { detail } = answer.json;
    if (status === 422) {
        assert.ok(Array.isArray(detail) && detail.length > 0, answer.text);
        for (const one of detail) {
            assert.deepEqual(Object.keys(one).sort(), ['loc', 'msg', 'type']);
            assert.ok(Array.isArray(one.loc) && typeof one.msg === 'string' && typeof one.type === 'string');
        }
        assert.match(detail.map((one: any) => `${one.loc.join('.')}: ${one.msg}`).join('\n'), says);
    } else {
        assert.equal(typeof detail, 'string', answer.text);
        assert.match(detail, says);
    }
    return answer;
}

async function submit(body: unknown): Promise<string> {
    const { task_id, message } = await good('POST', '/submit', body);
    assert.match(task_id, UUID);
    assert.ok(message.length > 3);
    return task_id;
}

const task = (id: string) => good('GET', `/tasks/${id}`);
const results = (id: string) => good('GET', `/tasks/${id}/results`);

async function became(id: string, status: string): Promise<any> {
    return until(`${id} to be ${status}`, async () => {
        const now = await task(id);
        if (now.status !== status) {
            assert.ok(!ENDED.includes(now.status), `it is ${JSON.stringify(now)}`);
            throw new Error(`it is ${now.status}`);
        }
        return now;
    }, 60_000);
}

const done = async (body: unknown): Promise<string> => {
    const id = await submit(body);
    await became(id, 'completed');
    return id;
};

/** A client of /ws/tasks. */
class Updates {
    readonly all: any[] = [];
    readonly socket: WebSocket;

    private constructor(port: number) {
        this.socket = new WebSocket(`ws://127.0.0.1:${port}/ws/tasks`);
        this.socket.addEventListener('message', (message) => this.all.push(JSON.parse(String(message.data))));
    }

    static async open(of = daemon): Promise<Updates> {
        const updates = new Updates(of.port);
        await new Promise((opened, fail) => {
            updates.socket.addEventListener('open', opened);
            updates.socket.addEventListener('error', () => fail(new Error('no WebSocket')));
        });
        return updates;
    }

    of(id: string): any[] {
        return this.all.filter((one) => one.task_id === id);
    }

    async ended(id: string): Promise<any[]> {
        await until(`the end of ${id}`, () => this.of(id).some((one) => ENDED.includes(one.status)), 60_000);
        return this.of(id);
    }

    async close(): Promise<void> {
        const closed = new Promise((over) => this.socket.addEventListener('close', over));
        this.socket.close();
        await closed;
    }
}

const isUpdate = (update: any) => {
    assert.deepEqual(Object.keys(update).sort(), ['error', 'message', 'progress', 'search_stats', 'status', 'task_id', 'type']);
    assert.equal(update.type, 'task_update');
    assert.equal(typeof update.message, 'string');
    assert.ok(update.progress >= 0 && update.progress <= 100);
};

/** Plans without the number of their row. */
const bare = (plans: any[]) => plans.map(({ result_id, ...plan }) => {
    assert.ok(Number.isInteger(result_id));
    return plan;
});

const isPlan = (plan: any) => {
    for (const name of ['chips', 'throughput', 'tps_per_chip', 'ttft', 'tpot', 'mfu', 'mbu', 'score']) {
        assert.ok(Number.isFinite(plan[name]), `${name}: ${JSON.stringify(plan)}`);
    }
    for (const name of ['dp', 'tp', 'pp', 'ep']) {
        assert.ok(Number.isInteger(plan.parallelism[name]) && plan.parallelism[name] >= 1, `${name}: ${JSON.stringify(plan.parallelism)}`);
    }
    assert.equal(typeof plan.is_feasible, 'boolean');
};

before(async () => {
    daemon = await Daemon.start();
});
after(async () => {
    await checkTraffic(daemon);
    await daemon.finish();
});

// ---- jobs ----

test('the example of the contract, auto: ranked plans, true counts, updates until it is completed', async () => {
    const updates = await Updates.open();
    const id = await submit(example());
    const seen = await updates.ended(id);
    seen.forEach(isUpdate);
    assert.equal(seen.at(-1).status, 'completed');
    assert.equal(seen.at(-1).progress, 100);
    assert.equal(seen.at(-1).error, null);
    const told = seen.map((one) => one.progress);
    assert.deepEqual(told, [...told].sort((a, b) => a - b), 'progress does not fall');
    await updates.close();

    const now = await task(id);
    assert.equal(now.task_id, id);
    assert.equal(now.status, 'completed');
    assert.equal(now.progress, 100);
    assert.equal(now.experiment_name, 'moe-on-8');
    assert.equal(now.error, null);
    assert.deepEqual(now.request, example(), 'what was submitted, as it came');
    for (const name of ['created_at', 'started_at', 'completed_at']) {
        assert.match(now[name], ISO, name);
    }
    const found = await results(id);
    assert.equal(found.task_id, id);
    assert.equal(found.status, 'completed');
    assert.equal(found.experiment_name, 'moe-on-8');
    assert.ok(found.top_k_plans.length >= 1 && found.top_k_plans.length <= 10);
    for (const plan of found.top_k_plans) {
        isPlan(plan);
        assert.equal(plan.is_feasible, true);
        assert.ok(plan.throughput > 0 && plan.ttft > 0 && plan.tpot > 0 && plan.chips <= 8);
        assert.equal(plan.chips, plan.parallelism.dp * plan.parallelism.tp * plan.parallelism.pp);
    }
    const scores = found.top_k_plans.map((plan: any) => plan.score);
    assert.deepEqual(scores, [...scores].sort((a, b) => b - a), 'the best first');
    const stats = found.search_stats;
    assert.equal(stats.total_plans, stats.feasible_plans + stats.infeasible_plans + (stats.pruned_plans ?? 0));
    assert.ok(stats.feasible_plans >= found.top_k_plans.length);
    assert.ok(stats.infeasible_plans >= found.infeasible_plans.length);
    assert.deepEqual(now.search_stats, stats);
    assert.deepEqual(seen.at(-1).search_stats, stats);
});

test('the same example, manual: exactly the plan that was asked for', async () => {
    const id = await done(example({ search_mode: 'manual', manual_parallelism: { dp: 1, tp: 4, pp: 2, ep: 1, sp: 1, moe_tp: 1 }, search_constraints: null }));
    const { top_k_plans, infeasible_plans, search_stats } = await results(id);
    assert.equal(top_k_plans.length, 1);
    assert.equal(infeasible_plans.length, 0);
    const [plan] = top_k_plans;
    isPlan(plan);
    assert.deepEqual([plan.parallelism.dp, plan.parallelism.tp, plan.parallelism.pp, plan.parallelism.ep, plan.chips], [1, 4, 2, 1, 8]);
    assert.deepEqual([search_stats.total_plans, search_stats.feasible_plans, search_stats.infeasible_plans], [1, 1, 0]);
});

test('a model that does not fit: the refused plans stand there with zeros and the reason with its numbers', async () => {
    const one = example({ experiment_name: 'too big', model: deepseek, search_constraints: { max_chips: 2 } });
    const id = await done(one);
    const { top_k_plans, infeasible_plans, search_stats } = await results(id);
    assert.equal(top_k_plans.length, 0);
    assert.ok(infeasible_plans.length > 0);
    for (const plan of infeasible_plans) {
        isPlan(plan);
        assert.equal(plan.is_feasible, false);
        assert.deepEqual([plan.throughput, plan.tps_per_chip, plan.ttft, plan.tpot, plan.mfu, plan.mbu, plan.score], [0, 0, 0, 0, 0, 0, 0]);
        assert.match(plan.infeasible_reason, /\d/);
        assert.ok(search_stats.refused_by[plan.bound] > 0, `${plan.bound} is counted`);
    }
    assert.equal(search_stats.feasible_plans, 0);
    assert.equal(search_stats.total_plans, search_stats.infeasible_plans + (search_stats.pruned_plans ?? 0));
});

test('more chips than there are: needed and available are told', async () => {
    const answer = await api('POST', '/submit', example({ search_mode: 'manual', manual_parallelism: { dp: 4, tp: 4, pp: 1 } }));
    if (answer.status === 200) {
        await became(answer.json.task_id, 'completed');
        const { infeasible_plans } = await results(answer.json.task_id);
        assert.equal(infeasible_plans.length, 1);
        assert.match(infeasible_plans[0].infeasible_reason, /16.*8|8.*16/);
    } else {
        assert.equal(answer.status, 400);
        assert.match(answer.json.detail, /16.*8|8.*16/);
    }
});

test('defaults: auto without constraints searches all chips of the topology', async () => {
    const id = await done(example({ experiment_name: 'defaults', search_constraints: null }));
    const { top_k_plans } = await results(id);
    assert.ok(top_k_plans.length > 0);
    assert.ok(top_k_plans.every((plan: any) => plan.chips <= 8));
    const fewer = await results(await done(example({ experiment_name: 'defaults', search_constraints: { max_chips: 2 } })));
    assert.ok(fewer.top_k_plans.every((plan: any) => plan.chips <= 2));
    const three = await results(await done(example({ experiment_name: 'defaults', search_constraints: { max_chips: 8, top_k: 3 } })));
    assert.equal(three.top_k_plans.length, 3);
});

test('the compact topology, a mixture of experts: chips are dp tp pp, and dp tp = moe_tp ep', async () => {
    const topology = { pod_count: 1, racks_per_pod: 1, rack_config: { boards: [{ count: 4, chips: [{ count: 8 }] }] } };
    const id = await done(example({ experiment_name: 'compact', topology, model: deepseek, search_constraints: { max_chips: 32 } }));
    const { top_k_plans } = await results(id);
    assert.ok(top_k_plans.length > 0);
    for (const { parallelism: p, chips: needed } of top_k_plans) {
        assert.equal(needed, p.dp * p.tp * p.pp);
        assert.equal((p.dp * p.tp) % ((p.moe_tp ?? 1) * p.ep), 0, JSON.stringify(p));
        assert.ok(needed <= 32);
    }
});

// ---- what is wrong ----

const at = (body: any, path: string, value: unknown): any => {
    const names = path.split('.');
    const last = names.pop()!;
    const parent = names.reduce((one, name) => one[name], body);
    if (value === undefined) {
        delete parent[last];
    } else {
        parent[last] = value;
    }
    return body;
};

const wrong: Array<[string, unknown, number[], RegExp]> = [
    ['experiment_name', undefined, [422], /experiment_name/],
    ['experiment_name', 7, [422], /experiment_name/],
    ['experiment_name', '', [400, 422], /experiment_name/],
    ['experiment_name', 'x'.repeat(300), [400, 422], /experiment_name/],
    ['description', [], [422], /description/],
    ['topology', undefined, [422], /topology/],
    ['topology', 'everything', [400, 422], /topology/],
    ['topology', { pods: 3 }, [400, 422], /topology\.pods|pods/],
    ['topology', { pods: [] }, [400, 422], /topology/],
    ['model', undefined, [422], /model/],
    ['model', [], [422], /model/],
    ['model.hidden_size', undefined, [400, 422], /model\.hidden_size/],
    ['model.hidden_size', 0, [400], /model\.hidden_size/],
    ['model.hidden_size', '4096', [422], /model\.hidden_size/],
    ['model.hidden_size', -4096, [400], /model\.hidden_size/],
    ['model.num_layers', 1e9, [400], /model\.num_layers/],
    ['model.num_layers', 1e300, [400, 422], /model\.num_layers/],
    ['model.num_layers', true, [422], /model\.num_layers/],
    ['model.num_attention_heads', 0, [400], /model\.num_attention_heads/],
    ['model.num_kv_heads', 7, [400], /model/],
    ['model.weight_dtype', 'fp3', [400, 422], /model\.weight_dtype/],
    ['model.attention_type', 'linear', [400, 422], /model\.attention_type/],
    ['hardware', undefined, [422], /hardware/],
    ['hardware.chip', undefined, [400, 422], /hardware\.chip/],
    ['hardware.chip.memory_gb', -80, [400], /hardware\.chip\.memory_gb/],
    ['hardware.chip.memory_gb', 'lots', [422], /hardware\.chip\.memory_gb/],
    ['hardware.chip.compute_tflops_fp16', 0, [400], /hardware\.chip\.compute_tflops_fp16/],
    ['inference', undefined, [422], /inference/],
    ['inference.batch_size', 0, [400], /inference\.batch_size/],
    ['inference.batch_size', 'eight', [422], /inference\.batch_size/],
    ['inference.input_seq_length', -1, [400], /inference\.input_seq_length/],
    ['inference.output_seq_length', 0, [400], /inference\.output_seq_length/],
    ['search_mode', undefined, [422], /search_mode/],
    ['search_mode', 'magic', [422], /search_mode/],
    ['search_constraints', 'none', [422], /search_constraints/],
    ['search_constraints.max_chips', 9, [400], /max_chips/],
    ['search_constraints.max_chips', 0, [400, 422], /max_chips/],
    ['search_constraints.optimization_target', 'fame', [400, 422], /optimization_target/],
    ['priority', 0, [400], /priority/],
    ['priority', 4, [400], /priority/],
    ['priority', 'high', [422], /priority/],
];

test('what is wrong is refused by its name, and nothing is kept of it', async () => {
    const before = await good('GET', '/tasks?limit=1000');
    const experiments = await good('GET', '/experiments');
    for (const [path, value, statuses, says] of wrong) {
        const answer = await api('POST', '/submit', at(example(), path, value));
        const about = `${path} = ${JSON.stringify(value)?.slice(0, 40)}: ${answer.status} ${answer.text.slice(0, 200)}`;
        assert.ok(statuses.includes(answer.status), about);
        const { detail } = answer.json;
        assert.match(answer.status === 422 ? detail.map((one: any) => `${one.loc.slice(1).join('.')} ${one.msg}`).join() : detail, says, about);
        if (answer.status === 422) {
            assert.equal(detail[0].loc[0], 'body', about);
        }
    }
    await bad(422, /manual_parallelism/, 'POST', '/submit', example({ search_mode: 'manual' }));
    await bad(422, /manual_parallelism/, 'POST', '/submit', example({ search_mode: 'manual', manual_parallelism: null }));
    await bad(422, /body/, 'POST', '/submit', '[]');
    await bad(422, /body/, 'POST', '/submit', '{"experiment_name": ');
    assert.deepEqual(await good('GET', '/tasks?limit=1000'), before);
    assert.deepEqual(await good('GET', '/experiments'), experiments);
});

test('unknown ones and bad questions', async () => {
    for (const [method, path] of [['GET', ''], ['GET', '/results'], ['POST', '/cancel'], ['DELETE', ''], ['GET', '/export']]) {
        await bad(404, /./, method, `/tasks/${UNKNOWN}${path}`);
        await bad(404, /./, method, `/tasks/..%2F..%2Fetc${path}`);
    }
    await bad(400, /status/, 'GET', '/tasks?status=sleeping');
    await bad(422, /limit/, 'GET', '/tasks?limit=0');
    await bad(422, /limit/, 'GET', '/tasks?limit=many');
    await bad(422, /offset/, 'GET', '/tasks?offset=-1');
    await bad(404, /./, 'GET', '/experiments/987654');
    await bad(404, /./, 'DELETE', '/experiments/987654');
    await bad(404, /./, 'PATCH', '/experiments/987654', { description: 'x' });
    await bad(422, /experiment_id/, 'GET', '/experiments/one');
    await bad(422, /task_ids/, 'POST', '/tasks/batch-cancel', {});
    await bad(422, /task_ids/, 'POST', '/tasks/batch-delete', { task_ids: [1] });
    await bad(422, /task_ids/, 'POST', '/tasks/batch-delete', { task_ids: [] });
    await bad(422, /experiment_ids/, 'POST', '/experiments/batch-delete', { experiment_ids: ['1'] });
    await bad(422, /ids/, 'GET', '/experiments/compare?ids=1,x');
    await bad(400, /format/, 'GET', `/tasks/${UNKNOWN}/export?format=xml`);
    await bad(422, /max_workers/, 'PUT', '/config', { max_workers: 'all' });
    await bad(400, /max_workers/, 'PUT', '/config', { max_workers: 0 });
    await bad(400, /max_workers/, 'PUT', '/config', { max_workers: 33 });
});

// ---- lists, queue, cancel, delete ----

test('lists: the newest first, by status and by experiment', async () => {
    const ids = [await done(example({ experiment_name: 'listed' })), await done(example({ experiment_name: 'listed' }))];
    const { tasks } = await good('GET', '/tasks?experiment_name=listed');
    assert.deepEqual(tasks.map((one: any) => one.task_id), [...ids].reverse());
    for (const one of tasks) {
        assert.equal(one.experiment_name, 'listed');
        assert.equal(one.status, 'completed');
        assert.match(one.created_at, ISO);
    }
    assert.equal((await good('GET', '/tasks?experiment_name=listed&limit=1')).tasks.length, 1);
    assert.equal((await good('GET', '/tasks?experiment_name=listed&limit=1&offset=1')).tasks[0].task_id, ids[0]);
    assert.equal((await good('GET', '/tasks?experiment_name=listed&status=failed')).tasks.length, 0);
    const { experiments } = await good('GET', '/experiments');
    const listed = experiments.find((one: any) => one.name === 'listed');
    assert.deepEqual([listed.total_tasks, listed.completed_tasks], [2, 2], 'an existing name is gone on with');
    const whole = await good('GET', `/experiments/${listed.id}`);
    assert.equal(whole.model_config.hidden_size, 4096);
    assert.equal(whole.hardware_config.chip.chip_type, 'H100');
    assert.equal(whole.inference_config.batch_size, 8);
    assert.deepEqual(whole.tasks.map((one: any) => one.task_id).sort(), [...ids].sort());
});

test('one at a time: places in the queue, the running list, cancel of one that waits and of one that runs', async () => {
    assert.deepEqual(await good('PUT', '/config', { max_workers: 1 }), { max_workers: 1, running_tasks: 0, active_tasks: 0 });
    const updates = await Updates.open();
    const first = await submit(large());
    await became(first, 'running');
    const low = await submit(example({ experiment_name: 'waits', priority: 1 }));
    const high = await submit(example({ experiment_name: 'waits', priority: 3 }));
    const [lowTask, highTask] = [await task(low), await task(high)];
    assert.deepEqual([highTask.status, highTask.queue_position, highTask.queue_length], ['pending', 1, 2]);
    assert.deepEqual([lowTask.status, lowTask.queue_position, lowTask.queue_length], ['pending', 2, 2]);
    const running = await good('GET', '/running');
    assert.deepEqual(running.tasks.map((one: any) => one.task_id).sort(), [first, low, high].sort());
    const config = await good('GET', '/config');
    assert.deepEqual([config.max_workers, config.running_tasks], [1, 1]);

    const again = await Updates.open();
    await until('the present state', () => [first, low, high].every((id) => again.of(id).length > 0));
    again.all.forEach(isUpdate);
    assert.equal(again.of(first)[0].status, 'running');
    assert.equal(again.of(low)[0].status, 'pending');
    again.socket.send('what the client says is not heard');
    again.socket.send('{"type":"ping"}');

    await good('POST', `/tasks/${low}/cancel`);
    assert.equal((await task(low)).status, 'cancelled');
    await bad(409, /./, 'POST', `/tasks/${low}/cancel`);
    await good('POST', `/tasks/${first}/cancel`);
    assert.equal((await became(first, 'cancelled')).status, 'cancelled');
    await became(high, 'completed');
    const seen = await updates.ended(first);
    assert.equal(seen.at(-1).status, 'cancelled');
    assert.ok(seen.at(-1).progress < 100, 'a cancelled one keeps how far it came');
    assert.ok(again.all.every((one) => one.type === 'task_update'), 'and no pong comes');
    assert.equal((await task(first)).status, 'cancelled', 'nothing overwrites it');
    await bad(409, /./, 'POST', `/tasks/${high}/cancel`);
    await updates.close();
    await again.close();
    await good('PUT', '/config', { max_workers: 4 });
});

test('progress is told while a search runs', async () => {
    const updates = await Updates.open();
    const id = await submit(large());
    await until('progress', () => updates.of(id).some((one) => one.status === 'running' && one.progress > 0 && one.progress < 100), 60_000);
    await good('DELETE', `/tasks/${id}`);
    await updates.close();
});

test('delete of a running one stops its thread, and takes it out of every count', async () => {
    const id = await submit(large({ experiment_name: 'to delete' }));
    await became(id, 'running');
    await until('its thread to work', () => searching(daemon.pid).some((state) => state !== 'S'));
    await good('DELETE', `/tasks/${id}`);
    await bad(404, /./, 'GET', `/tasks/${id}`);
    await until('the worker to be free', async () => (await good('GET', '/config')).running_tasks === 0);
    await until('the thread to rest', async () => { // one that works is seen so in some of many looks, however loaded the machine is
        for (let looks = 0; looks < 20; looks++) {
            if (searching(daemon.pid).some((state) => state !== 'S')) {
                return false;
            }
            await pause(1);
        }
        return true;
    });
    const { experiments } = await good('GET', '/experiments');
    const one = experiments.find((experiment: any) => experiment.name === 'to delete');
    assert.deepEqual([one?.total_tasks ?? 0, one?.completed_tasks ?? 0], [0, 0]);
});

/** The states of the threads on which searches run: S when they sleep. */
function searching(pid: number): string[] {
    return readdirSync(`/proc/${pid}/task`)
        .map((thread) => readFileSync(`/proc/${pid}/task/${thread}/stat`, 'latin1'))
        .filter((text) => text.includes('(planner) '))
        .map((text) => text.slice(text.lastIndexOf(')') + 2)[0]);
}

test('batch cancel and delete tell of each', async () => {
    await good('PUT', '/config', { max_workers: 1 });
    const runs = await submit(large());
    await became(runs, 'running');
    const waits = await submit(example({ experiment_name: 'batch' }));
    const ended = (await good('GET', '/tasks?status=completed&limit=1')).tasks[0].task_id;
    const cancelled = await good('POST', '/tasks/batch-cancel', { task_ids: [runs, waits, ended, UNKNOWN] });
    assert.deepEqual([...cancelled.cancelled].sort(), [runs, waits].sort());
    assert.deepEqual(cancelled.failed.map((one: any) => one.task_id).sort(), [ended, UNKNOWN].sort());
    assert.ok(cancelled.failed.every((one: any) => one.reason.length > 3));
    await became(runs, 'cancelled');
    const deleted = await good('POST', '/tasks/batch-delete', { task_ids: [runs, waits, UNKNOWN] });
    assert.deepEqual([...deleted.deleted].sort(), [runs, waits].sort());
    assert.equal(deleted.failed.length, 1);
    await bad(404, /./, 'GET', `/tasks/${runs}`);
    await good('PUT', '/config', { max_workers: 4 });
});

test('a hundred may wait, not more: 429, and when to come again', async () => {
    await good('PUT', '/config', { max_workers: 1 });
    const ids: string[] = [];
    let refused: Answer | undefined;
    while (!refused && ids.length < 200) {
        const answer = await api('POST', '/submit', large());
        if (answer.status === 200) {
            ids.push(answer.json.task_id);
        } else {
            refused = answer;
        }
    }
    assert.equal(refused?.status, 429, refused?.text);
    assert.match(String(refused!.headers['retry-after']), /^\d+$/);
    assert.equal(typeof refused!.json.detail, 'string');
    assert.ok(ids.length === 100 || ids.length === 101, `${ids.length}: one may have begun before the last came`);
    while (ids.length > 0) {
        const { failed } = await good('POST', '/tasks/batch-delete', { task_ids: ids.splice(-100) });
        assert.deepEqual(failed, []);
    }
    assert.equal((await good('GET', '/running')).tasks.length, 0);
    await good('PUT', '/config', { max_workers: 4 });
});

test('the queue of tasks and its doors do not see them', async () => {
    const id = await done(example({ experiment_name: 'apart' }));
    const { json } = await daemon.get('/api/v1/tasks');
    assert.equal(json.data.length, 0);
    assert.equal(json.total, 0);
    assert.equal((await daemon.get('/api/v1/stats')).json.data?.total_tasks ?? 0, 0);
    await good('DELETE', `/tasks/${id}`);
});

test('/api/events tells of them, too', async () => {
    const events = await Events.open(daemon, '', '?kind=evaluation');
    const id = await done(example({ experiment_name: 'events' }));
    await events.wait('the completed job', (all) => all.some((one) => one.event === 'evaluation' && one.data.task_id === id && one.data.status === 'completed'));
    events.all.filter((one) => one.event === 'evaluation').forEach((one) => isUpdate(one.data));
    events.raw.close();
});

// ---- export, import, compare ----

const csvRows = (text: string) => text.trim().split('\r\n');

test('a job as JSON and as CSV', async () => {
    const id = await done(example({ experiment_name: 'export' }));
    const found = await results(id);
    const json = await api('GET', `/tasks/${id}/export?format=json`);
    assert.equal(json.status, 200);
    assert.match(String(json.headers['content-disposition']), /attachment; filename="[^"]+\.json"/);
    assert.match(json.text, new RegExp(id));
    const csv = await api('GET', `/tasks/${id}/export?format=csv`);
    assert.match(String(csv.headers['content-type']), /^text\/csv/);
    assert.match(String(csv.headers['content-disposition']), /\.csv"/);
    const [head, ...rows] = csvRows(csv.text);
    for (const column of ['dp', 'tp', 'pp', 'ep', 'chips', 'throughput', 'ttft', 'tpot', 'mfu', 'mbu', 'score', 'is_feasible', 'infeasible_reason']) {
        assert.ok(head.split(',').includes(column), `${column} in ${head}`);
    }
    assert.ok(rows.length >= found.top_k_plans.length);
    const column = head.split(',').indexOf('score');
    assert.ok(Math.abs(Number(rows[0].split(',')[column]) - found.top_k_plans[0].score) < 0.01);
});

const form = (text: string) => {
    const boundary = '----berth91';
    return { headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
        body: `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="experiments.json"\r\nContent-Type: application/json\r\n\r\n${text}\r\n--${boundary}--\r\n` };
};
const checkImport = (text: string) => daemon.ask({ method: 'POST', path: '/api/evaluation/experiments/check-import', ...form(text) });

test('experiments go out and come in: renamed, skipped, overwritten', async () => {
    const id = await done(example({ experiment_name: 'travels', description: 'to and fro' }));
    const { experiments } = await good('GET', '/experiments');
    const mine = experiments.find((one: any) => one.name === 'travels');
    const out = await api('GET', `/experiments/export?experiment_ids=${mine.id}`);
    assert.equal(out.status, 200);
    assert.equal(out.json.version, '1.0');
    assert.match(out.json.export_time, ISO);
    assert.equal(out.json.experiments.length, 1);

    const checked = await checkImport(out.text);
    assert.equal(checked.status, 200, checked.text);
    assert.match(checked.text, /travels/);
    const { temp_file_id } = checked.json;
    assert.ok(temp_file_id);
    const came = await good('POST', '/experiments/execute-import', { temp_file_id, configs: [{ original_name: 'travels', action: 'rename', new_name: 'arrived' }] });
    assert.equal(came.success, true);
    const arrived = (await good('GET', '/experiments')).experiments.find((one: any) => one.name === 'arrived');
    assert.deepEqual([arrived.total_tasks, arrived.completed_tasks, arrived.description], [1, 1, 'to and fro']);
    const whole = await good('GET', `/experiments/${arrived.id}`);
    const [copy] = whole.tasks;
    assert.notEqual(copy.task_id, id);
    assert.deepEqual(bare((await results(copy.task_id)).top_k_plans), bare((await results(id)).top_k_plans));

    const side = await good('GET', `/experiments/compare?ids=${mine.id},${arrived.id}`);
    assert.match(JSON.stringify(side), /travels/);
    assert.match(JSON.stringify(side), /arrived/);
    await bad(404, /./, 'GET', `/experiments/compare?ids=${mine.id},987654`);
    await bad(400, /ids/, 'GET', `/experiments/compare?ids=${mine.id}`);

    const second = (await checkImport(out.text)).json.temp_file_id;
    await good('POST', '/experiments/execute-import', { temp_file_id: second, configs: [{ original_name: 'travels', action: 'overwrite' }] });
    const over = (await good('GET', '/experiments')).experiments.filter((one: any) => one.name === 'travels');
    assert.equal(over.length, 1);
    assert.deepEqual([over[0].total_tasks, over[0].completed_tasks], [1, 1]);
    const third = (await checkImport(out.text)).json.temp_file_id;
    await good('POST', '/experiments/execute-import', { temp_file_id: third, configs: [{ original_name: 'travels', action: 'skip' }] });
    assert.deepEqual((await good('GET', '/experiments')).experiments.filter((one: any) => one.name === 'travels'), over);
});

test('a bad file is refused', async () => {
    for (const text of ['', '{', '[]', '7', '{"version":"1.0"}', '{"version":"1.0","experiments":7}', '{"version":"1.0","experiments":[7]}',
        '{"version":"1.0","experiments":[{"name":"x","tasks":"all"}]}', '\u0000']) {
        const answer = await checkImport(text);
        assert.ok([400, 422].includes(answer.status), `${text}: ${answer.status} ${answer.text}`);
        assert.ok(answer.json.detail);
    }
    const noForm = await daemon.ask({ method: 'POST', path: '/api/evaluation/experiments/check-import', body: '{}' });
    assert.equal(noForm.status, 400);
    const answer = await api('POST', '/experiments/execute-import', { temp_file_id: 'no-such', configs: [] });
    assert.ok([400, 404].includes(answer.status), answer.text);
    await bad(422, /temp_file_id/, 'POST', '/experiments/execute-import', { configs: [] });
});

test('an experiment is renamed, loses results, and goes with all its jobs', async () => {
    const id = await done(example({ experiment_name: 'short-lived' }));
    await done(example({ experiment_name: 'taken' }));
    const find = async (name: string) => (await good('GET', '/experiments')).experiments.find((one: any) => one.name === name);
    const { id: number } = await find('short-lived');
    await good('PATCH', `/experiments/${number}`, { name: 'renamed', description: 'new words' });
    assert.deepEqual((await find('renamed')).description, 'new words');
    await bad(409, /taken/, 'PATCH', `/experiments/${number}`, { name: 'taken' });
    await bad(422, /name/, 'PATCH', `/experiments/${number}`, { name: 7 });
    const gone = await good('POST', '/experiments/batch-delete', { experiment_ids: [number] });
    assert.deepEqual([gone.success, gone.deleted_count], [true, 1]);
    await bad(404, /./, 'GET', `/tasks/${id}`);
    await bad(404, /./, 'GET', `/experiments/${number}`);
    const taken = await find('taken');
    assert.equal((await good('DELETE', `/experiments/${taken.id}`)).success, true);
    assert.equal(await find('taken'), undefined);
});

// ---- the rows, as anybody reads them ----

test('the three tables can be read with sqlite3', async (context) => {
    const sqlite = await import('node:sqlite').catch(() => undefined);
    if (!sqlite) {
        return context.skip('this node has no sqlite');
    }
    const id = await done(example({ experiment_name: 'rows' }));
    const refused = await done(example({ experiment_name: 'rows', model: deepseek, search_constraints: { max_chips: 1 } }));
    const db = new sqlite.DatabaseSync(join(daemon.dataDir, 'berth.db'), { readOnly: true });
    const experiment: any = db.prepare('SELECT id, name, description, created_at, updated_at, model_config, hardware_config, inference_config, total_tasks, completed_tasks FROM experiments WHERE name = ?').get('rows');
    assert.deepEqual([experiment.total_tasks, experiment.completed_tasks], [2, 2]);
    assert.equal(JSON.parse(experiment.model_config).model_name, 'DeepSeek-V3', 'that of the last one');
    assert.match(experiment.created_at, ISO);
    const row: any = db.prepare('SELECT id, task_id, experiment_id, status, progress, message, error, created_at, started_at, completed_at, search_mode, manual_parallelism, search_constraints, search_stats FROM evaluation_tasks WHERE task_id = ?').get(id);
    assert.deepEqual([row.experiment_id, row.status, row.progress, row.search_mode, row.error], [experiment.id, 'completed', 100, 'auto', null]);
    assert.ok(JSON.parse(row.search_stats).total_plans > 0);
    const plans: any[] = db.prepare('SELECT id, task_id, dp, tp, pp, ep, sp, moe_tp, chips, throughput, tps_per_chip, ttft, tpot, mfu, mbu, score, is_feasible, infeasible_reason, full_result, created_at FROM evaluation_results WHERE task_id = ? ORDER BY id').all(row.id);
    const found = await results(id);
    assert.equal(plans.filter((plan) => plan.is_feasible).length, found.top_k_plans.length);
    assert.ok(Math.abs(plans[0].score - found.top_k_plans[0].score) < 1e-6);
    assert.equal(JSON.parse(plans[0].full_result).chips, plans[0].chips);
    const none: any = db.prepare('SELECT count(*) AS n, min(infeasible_reason) AS reason FROM evaluation_results r JOIN evaluation_tasks t ON t.id = r.task_id WHERE t.task_id = ? AND NOT is_feasible').get(refused);
    assert.ok(none.n > 0, 'refused plans are kept, too');
    assert.match(none.reason, /\d/);
    db.close();
});

// ---- documents ----

const kinds: Array<[string, string, any]> = [
    ['/api/benchmarks', 'benchmarks', { id: 'bench-91', name: 'A bench', model: { any: 1 }, inference: { batch_size: 1 } }],
    ['/api/topologies', 'topologies', { id: 'topo 91', name: 'A rack', pods: [{ racks: [{ boards: [{ chips: [{ id: 'a' }, { id: 'b' }] }] }] }], connections: [] }],
    ['/api/chip-presets', 'chip_presets', { id: 'chip-91', memory_gb: 64, bf16_tflops: 300, bandwidth_gbps: 2000 }],
    ['/api/model-presets', 'model_presets', { id: 'model-91', preset: 'llama-3.1-8b', layers: 16 }],
];

test('documents: created, read, listed, replaced, deleted, kept over a restart; never a path', async () => {
    for (const [path, list, object] of kinds) {
        const one = `${path}/${encodeURIComponent(object.id)}`;
        const created = await daemon.post(path, object);
        assert.equal(created.status, 200, created.text);
        assert.deepEqual(created.json, { success: true, id: object.id });
        assert.equal((await daemon.post(path, object)).status, 409);
        assert.deepEqual((await daemon.get(one)).json, object);
        const changed = { ...object, description: 'changed' };
        assert.deepEqual((await daemon.ask({ method: 'PUT', path: one, body: changed })).json, { success: true, id: object.id });
        assert.deepEqual((await daemon.get(path)).json, { [list]: [changed] });
        assert.equal((await daemon.ask({ method: 'PUT', path: `${path}/other`, body: { ...object, id: 'other' } })).status, 404);
        assert.equal((await daemon.ask({ method: 'PUT', path: one, body: { ...object, id: 'other' } })).status, 400);
        for (const id of ['../../../../tmp/evil', '..', 'a/b', 'a\\b', 'x'.repeat(200), '']) {
            const answer = await daemon.post(path, { ...object, id });
            assert.equal(answer.status, 400, `${id}: ${answer.text}`);
            assert.match(answer.json.detail, /id/);
        }
        for (const id of ['..%2F..%2F..%2Fetc%2Fpasswd', '%2e%2e', '..%5c..%5cx']) {
            const answer = await daemon.get(`${path}/${id}`);
            assert.ok([400, 404].includes(answer.status), `${id}: ${answer.status}`);
        }
        assert.equal((await daemon.post(path, { ...object, id: 7 })).status, 422);
        assert.equal((await daemon.get(path)).json[list].length, 1, 'nothing else is kept');
    }
    for (const name of ['id', 'name', 'model', 'inference']) {
        const answer = await daemon.post('/api/benchmarks', at({ ...kinds[0][2] }, name, undefined));
        assert.equal(answer.status, 422, answer.text);
        assert.deepEqual(answer.json.detail[0].loc, ['body', name]);
    }
    assert.match((await daemon.post('/api/chip-presets', { id: 'bad', memory_gb: -1, bf16_tflops: 1, bandwidth_gbps: 1 })).text, /memory_gb/);

    const { chips: known } = (await daemon.get('/api/presets/chips')).json;
    assert.ok(Math.abs(known.find((one: any) => one.name === 'chip-91').memory_gb - 64 * 1.073741824) < 0.01, 'a card of 64 GB has GiB');
    const id = await done(example({ experiment_name: 'own chip', hardware: { ...example().hardware, chip: { chip_type: 'chip-91' } } }));
    assert.ok((await results(id)).top_k_plans.length > 0);

    await daemon.stop();
    await daemon.launch();
    for (const [path, , object] of kinds) {
        const one = `${path}/${encodeURIComponent(object.id)}`;
        assert.equal((await daemon.get(one)).json.description, 'changed');
        assert.deepEqual((await daemon.ask({ method: 'DELETE', path: one })).json, { success: true, id: object.id });
        assert.equal((await daemon.get(one)).status, 404);
        assert.equal((await daemon.ask({ method: 'DELETE', path: one })).status, 404);
    }
    assert.ok(!(await daemon.get('/api/presets/chips')).json.chips.some((one: any) => one.name === 'chip-91'));
});

// ---- presets, simulate, validate ----

test('presets: chips, models and times of links, each with its defaults named', async () => {
    const { chips: known } = (await daemon.get('/api/presets/chips')).json;
    assert.ok(known.length > 10);
    for (const chip of known) {
        for (const name of ['id', 'name', 'flops_dtype', 'compute_tflops', 'num_cores', 'sram_size_mb', 'dram_bandwidth_gbps', 'intra_bw_gbps', 'inter_bw_gbps', 'intra_latency_us', 'inter_latency_us', 'comm_latency']) {
            assert.ok(name in chip, `${name} of ${chip.name}`);
        }
        for (const name of ['chip_to_chip_us', 'comm_start_overhead_us', 'memory_read_latency_us', 'memory_write_latency_us']) {
            assert.ok(Number.isFinite(chip.comm_latency[name]), name);
        }
        assert.ok(chip.compute_tflops >= 0 && chip.dram_bandwidth_gbps > 0 && chip.intra_latency_us > 0);
    }
    const h100 = known.find((chip: any) => chip.name === 'H100-SXM');
    assert.ok(Math.abs(h100.compute_tflops - 989) < 5 && Math.abs(h100.dram_bandwidth_gbps - 3350) < 10 && Math.abs(h100.intra_bw_gbps - 450) < 5, JSON.stringify(h100));
    const runtime = (await daemon.get('/api/presets/runtime')).json;
    for (const [part, names] of [['protocol', ['rtt_tp_us', 'rtt_ep_us', 'bandwidth_utilization', 'sync_latency_us']], ['network', ['switch_delay_us', 'cable_delay_us', 'link_delay_us']]] as const) {
        for (const name of names) {
            assert.ok(Number.isFinite(runtime[part][name]) && runtime[part][name] >= 0, `${part}.${name}`);
        }
    }
    assert.ok(runtime.protocol.bandwidth_utilization > 0.3 && runtime.protocol.bandwidth_utilization < 1);
    assert.equal((await daemon.get('/api/presets/runtime?chip=nonsense')).status, 404);
    const { models } = (await daemon.get('/api/presets/models')).json;
    assert.ok(models.length > 20);
    assert.ok(models.every((model: any) => model.total_params > 0 && model.config));
});

test('/api/model/calculate-params counts what a model has', async () => {
    const answer = await daemon.post('/api/model/calculate-params', { model: example().model });
    assert.equal(answer.status, 200, answer.text);
    assert.ok(Math.abs(answer.json.total_params / 6.738e9 - 1) < 0.005, String(answer.json.total_params));
    assert.equal(answer.json.kv_bytes_per_token, 2 * 32 * 32 * 128 * 2);
    const big = await daemon.post('/api/model/calculate-params', deepseek);
    assert.ok(Math.abs(big.json.total_params_b / 671 - 1) < 0.02, String(big.json.total_params_b));
    assert.ok(big.json.active_params_b > 30 && big.json.active_params_b < 45);
    for (const body of [{ model: {} }, { model: at(example().model, 'hidden_size', 0) }, { model: at(example().model, 'num_layers', 'x') }]) {
        const refused = await daemon.post('/api/model/calculate-params', body);
        assert.ok([400, 422].includes(refused.status), refused.text);
    }
});

const { topology, model, hardware, inference } = example();
const question = (parallelism: unknown, more: Record<string, unknown> = {}) => ({ topology, model, hardware, inference, parallelism, ...more });

test('/api/simulate draws a chart whose bars add up to its figures', async () => {
    const { status, json, text } = await daemon.post('/api/simulate', question({ dp: 1, tp: 4, pp: 2, ep: 1 }));
    assert.equal(status, 200, text);
    const { ganttChart: chart, stats, timestamp } = json;
    assert.ok(Math.abs(timestamp - Date.now() / 1000) < 60);
    assert.equal(chart.timeUnit, 'ms');
    assert.equal(chart.resources.length, 2);
    for (const bar of chart.tasks) {
        assert.ok(bar.end >= bar.start && bar.start >= 0, JSON.stringify(bar));
        assert.ok(['prefill', 'decode'].includes(bar.phase));
        assert.ok(chart.resources.some((one: any) => one.id === bar.resource));
        assert.ok(typeof bar.type === 'string' && typeof bar.name === 'string');
    }
    for (const stage of [0, 1]) { // nothing lies over another thing
        const bars = chart.tasks.filter((bar: any) => bar.stage === stage).sort((a: any, b: any) => a.start - b.start);
        for (let i = 1; i < bars.length; i++) {
            assert.ok(bars[i].start >= bars[i - 1].end - 0.01, JSON.stringify([bars[i - 1], bars[i]]));
        }
    }
    for (const phase of [stats.prefill, stats.decode]) {
        assert.ok(Math.abs(phase.computeTime + phase.commTime + phase.bubbleTime - phase.overlapTime - phase.totalTime) < 0.01 * phase.totalTime + 0.01, JSON.stringify(phase));
        assert.ok(phase.computeEfficiency > 0 && phase.computeEfficiency <= 1);
    }
    assert.equal(stats.totalEvents, chart.tasks.length);
    assert.equal(stats.simulatedTokens, 16);
    assert.ok(Math.abs(stats.totalRunTime - Math.max(...chart.tasks.map((bar: any) => bar.end))) < 0.01);
    assert.ok(stats.ttft > 0 && stats.avgTpot > 0 && stats.dynamicMfu > 0 && stats.dynamicMbu > 0);
    assert.ok(stats.maxPPBubbleRatio > 0 && stats.maxPPBubbleRatio < 1);
    const alone = (await daemon.post('/api/simulate', question({ tp: 8 }, { config: { maxSimulatedTokens: 4 } }))).json;
    assert.equal(alone.stats.simulatedTokens, 4);
    assert.equal(alone.stats.maxPPBubbleRatio, 0);
});

test('/api/simulate draws a plan with other chips for the prefill: its stages first, then those of the decode', async () => {
    const load = { inference: { ...inference, batch_size: 8 } };
    const { status, json, text } = await daemon.post('/api/simulate', question({ tp: 2, pp: 2, prefill: { tp: 2, pp: 2 } }, load));
    assert.equal(status, 200, text);
    const { resources, tasks } = json.ganttChart;
    assert.deepEqual(resources.map((one: any) => one.phase), ['prefill', 'prefill', 'decode', 'decode']);
    assert.ok(tasks.every((bar: any) => resources[bar.stage].phase === bar.phase));
    assert.ok(tasks.some((bar: any) => bar.stage === 1) && tasks.some((bar: any) => bar.stage === 3));
    const refusals: Array<[unknown, Record<string, unknown>, RegExp]> = [
        [{ tp: 4, prefill: { tp: 8 } }, load, /needs 12 chips, 8 are available/],
        [{ tp: 4, prefill: { tp: 0 } }, load, /parallelism\.prefill\.tp/], [{ tp: 4, prefill: 4 }, load, /parallelism\.prefill/],
        [{ tp: 4, prefill: { tp: 4 } }, { inference: { ...inference, batch_size: undefined, rate_per_s: 1 } }, /parallelism\.prefill: .*at once/],
    ];
    for (const [parallelism, more, says] of refusals) {
        const answer = await daemon.post('/api/simulate', question(parallelism, more));
        assert.equal(answer.status, 400, answer.text);
        assert.match(answer.json.detail, says);
    }
    const valid = (await daemon.post('/api/validate', question({ tp: 4, prefill: { tp: 4 } }, load))).json;
    assert.deepEqual([valid.valid, valid.required_chips, valid.errors], [true, 8, []]);
    const odd = (await daemon.post('/api/validate', question({ tp: 4, prefill: { tp: 2, pp: 'x' } }, load))).json;
    assert.deepEqual([odd.valid, odd.required_chips], [false, 6], 'as far as it tells');
});

test('/api/simulate: what is wrong is a 400 that names it', async () => {
    const table: Array<[any, RegExp]> = [
        [question(undefined), /parallelism/], [question(null), /parallelism/], [question({ tp: 'x' }), /parallelism\.tp/], [question({ tp: 0 }), /parallelism\.tp/],
        [question({ tp: 16 }), /16.*8|8.*16/], [question({ tp: 8 }, { model: undefined }), /model/], [question({ tp: 8 }, { hardware: undefined }), /hardware/],
        [question({ tp: 8 }, { inference: { ...inference, input_seq_length: -3 } }), /input_seq_length/], [question({ tp: 1 }, { model: deepseek }), /\d/],
        [question({ tp: 8 }, { config: { maxSimulatedTokens: 1e6 } }), /maxSimulatedTokens/], [question({ tp: 8 }, { config: 'x' }), /config/],
    ];
    for (const [body, says] of table) {
        const answer = await daemon.post('/api/simulate', body);
        assert.equal(answer.status, 400, answer.text);
        assert.match(answer.json.detail, says);
        assert.doesNotMatch(answer.json.detail, /manual_parallelism|search_mode/);
    }
});

test('/api/validate always answers 200', async () => {
    const fine = await daemon.post('/api/validate', question({ dp: 2, tp: 4, pp: 1 }));
    assert.equal(fine.status, 200);
    assert.deepEqual(fine.json, { valid: true, errors: [], required_chips: 8, available_chips: 8 });
    const table: Array<[any, RegExp, number]> = [
        [question({ dp: 4, tp: 4 }), /16.*8|8.*16/, 16], [question({ tp: 0 }), /parallelism/, 1], [question(null), /parallelism/, 1],
        [question({ tp: 2, pp: 2 }, { model: 'nothing' }), /model/, 4], [question({ tp: 8 }, { model: deepseek, topology, hardware }), /\d/, 8], [{}, /./, 1],
    ];
    for (const [body, says, required] of table) {
        const answer = await daemon.post('/api/validate', body);
        assert.equal(answer.status, 200, answer.text);
        assert.equal(answer.json.valid, false, JSON.stringify(answer.json));
        assert.match(answer.json.errors.join('\n'), says);
        assert.equal(answer.json.required_chips, required);
    }
});

// ---- restart ----

test('kill -9 with jobs that run and that wait: all are completed at last, each once', async () => {
    const own = await Daemon.start({ config: { planner: { workers: 1 } } });
    try {
        const send = async (body: unknown) => (await own.post('/api/evaluation/submit', body)).json.task_id;
        const look = async (id: string) => (await own.get(`/api/evaluation/tasks/${id}`)).json;
        const first = await send(large());
        await until('the first to run', async () => (await look(first)).status === 'running');
        const others = [await send(example()), await send(example({ priority: 3 })), await send(example({ experiment_name: 'two' }))];
        for (const id of others) {
            assert.equal((await look(id)).status, 'pending');
        }
        await own.kill9();
        await own.launch();
        const updates = await Updates.open(own);
        await until('the present state', () => updates.of(first).length > 0);
        await until('the first to run again', async () => (await look(first)).status === 'running');
        await own.post(`/api/evaluation/tasks/${first}/cancel`); // that it runs again is enough
        for (const id of others) {
            await until(`${id} to be completed`, async () => (await look(id)).status === 'completed', 60_000);
            assert.ok((await own.get(`/api/evaluation/tasks/${id}/results`)).json.top_k_plans.length > 0);
        }
        assert.equal((await look(first)).status, 'cancelled');
        await updates.close();
        const { experiments } = (await own.get('/api/evaluation/experiments')).json;
        const counts = Object.fromEntries(experiments.map((one: any) => [one.name, [one.total_tasks, one.completed_tasks]]));
        assert.deepEqual(counts, { large: [1, 0], 'moe-on-8': [2, 2], two: [1, 1] });
    } finally {
        await own.finish();
    }
});

test('going down with a search that runs is not held up by it', async () => {
    const own = await Daemon.start();
    const { task_id } = (await own.post('/api/evaluation/submit', large())).json;
    await until('it to run', async () => (await own.get(`/api/evaluation/tasks/${task_id}`)).json.status === 'running');
    assert.equal(await own.stop(10_000), 0);
    await own.launch();
    const now = (await own.get(`/api/evaluation/tasks/${task_id}`)).json;
    assert.ok(['pending', 'running'].includes(now.status), JSON.stringify(now));
    await own.post(`/api/evaluation/tasks/${task_id}/cancel`);
    await own.finish();
});

test('config.max_workers is kept over a restart', async () => {
    const own = await Daemon.start();
    try {
        const config = async () => (await own.get('/api/evaluation/config')).json;
        assert.deepEqual(await config(), { max_workers: 4, running_tasks: 0, active_tasks: 0 });
        assert.equal((await own.ask({ method: 'PUT', path: '/api/evaluation/config', body: { max_workers: 7 } })).json.max_workers, 7);
        await own.stop();
        await own.launch();
        assert.equal((await config()).max_workers, 7);
    } finally {
        await own.finish();
    }
});

// ---- the seed's faults (D.10), those that no test above is about ----

test('D.10: a failure is one sentence, never a stack', async () => {
    const { tasks } = await good('GET', '/tasks?limit=1000');
    for (const { task_id } of tasks) {
        const { error } = await task(task_id);
        assert.ok(error === null || (!error.includes('\n') && error.length < 500), error);
    }
});

test('D.10: cancelling an unknown or finished one is no success, and changes nothing', async () => {
    const id = await done(example({ experiment_name: 'finished' }));
    const before = await task(id);
    await bad(409, /./, 'POST', `/tasks/${id}/cancel`);
    await bad(404, /./, 'POST', `/tasks/${UNKNOWN}/cancel`);
    assert.deepEqual(await task(id), before);
});

test('D.10: an experiment that is gone on with shows the question that was asked last', async () => {
    await done(example({ experiment_name: 'snapshot' }));
    await done(example({ experiment_name: 'snapshot', inference: { ...inference, batch_size: 2 } }));
    const { experiments } = await good('GET', '/experiments');
    const { id } = experiments.find((one: any) => one.name === 'snapshot');
    assert.equal((await good('GET', `/experiments/${id}`)).inference_config.batch_size, 2);
});

test('D.10: deleting a job lowers the counts; a job without plans counts as completed', async () => {
    const find = async () => (await good('GET', '/experiments')).experiments.find((one: any) => one.name === 'counted');
    const one = await done(example({ experiment_name: 'counted' }));
    await done(example({ experiment_name: 'counted', model: deepseek, search_constraints: { max_chips: 1 } }));
    assert.deepEqual([(await find()).total_tasks, (await find()).completed_tasks], [2, 2]);
    await good('DELETE', `/tasks/${one}`);
    assert.deepEqual([(await find()).total_tasks, (await find()).completed_tasks], [1, 1]);
    const { top_k_plans, infeasible_plans } = await results((await good('GET', '/tasks?experiment_name=counted')).tasks[0].task_id);
    assert.equal(top_k_plans.length, 0);
    assert.ok(infeasible_plans.length > 0, 'refused plans are kept');
});

test('D.10: search_stats count all plans that were tried, not those that are kept', async () => {
    const body = (top_k: number) => example({ experiment_name: 'honest', search_constraints: { max_chips: 8, top_k } });
    const [few, many] = [await results(await done(body(1))), await results(await done(body(10)))];
    assert.equal(few.top_k_plans.length, 1);
    assert.deepEqual(few.search_stats, many.search_stats);
    assert.ok(few.search_stats.feasible_plans > 1);
});

test('the same question gets the same answer', async () => {
    const [a, b] = [await results(await done(example())), await results(await done(example()))];
    assert.deepEqual(bare(a.top_k_plans), bare(b.top_k_plans));
    assert.deepEqual(bare(a.infeasible_plans), bare(b.infeasible_plans));
});
