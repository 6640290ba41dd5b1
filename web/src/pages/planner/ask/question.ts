// SPDX-License-Identifier: Apache-2.0
// The question of the form: what it starts with, how it is asked of the daemon, and how an asked one comes back into the form.
import { fromJson } from '../topology/topology';
import { type ChipFigures, chipFromJson, chipJson, emptyChip } from './chip';
import { dimsJson, emptyDims, type ModelDims } from './model';
import { placesFrom, placesJson } from './places';

export type Json = Record<string, unknown>;
export type Maybe = number | null; // a number field that may be empty

export const objectives = ['cost', 'throughput', 'latency', 'efficiency', 'balanced', 'chips'] as const;
export const weightNames = ['latency', 'throughput', 'efficiency', 'balance'] as const;
export const degrees = ['tp', 'pp', 'dp', 'ep', 'moe_tp'] as const;
export type Degree = (typeof degrees)[number];
export type Load = 'slo' | 'batch' | 'rate' | 'offline';

export interface Question {
    name: string;
    description: string;
    priority: number;
    modelKind: 'known' | 'config' | 'own';
    model: string;
    config: string; // a config.json, or a model's object
    dims: ModelDims;
    weights: string; // number format, '' as the model's file or bf16
    kv: string;
    engine: string;
    chipKind: 'known' | 'own';
    chip: string;
    ownChip: ChipFigures;
    hardware: Json; // of the hardware what the form has no field for
    placeKind: 'count' | 'topology';
    chips: Maybe;
    perNode: Maybe;
    topology: Json | null;
    topologyName: string;
    load: Load;
    batch: Maybe;
    rate: Maybe;
    input: Maybe;
    output: Maybe;
    inputCv: Maybe;
    outputCv: Maybe;
    prefixHit: Maybe; // percent
    draftTokens: Maybe;
    acceptance: Maybe; // percent
    chunk: Maybe;
    ttft: Maybe;
    tpot: Maybe;
    e2e: Maybe;
    mode: 'auto' | 'manual';
    parallelism: Record<Degree, Maybe>;
    sequence: boolean; // sequence parallelism
    apart: boolean; // other chips read the prompts, in this plan:
    prefill: Record<Degree, Maybe>;
    objective: (typeof objectives)[number];
    scoreWeights: Record<(typeof weightNames)[number], Maybe>;
    maxChips: Maybe;
    topK: Maybe;
    minThroughput: Maybe;
    maxMemory: Maybe; // percent
    withinNode: boolean;
    divideHeads: boolean;
    evenLayers: boolean;
    disaggregated: boolean;
}

/** Nobody waits for an answer: it may take a day. */
const OFFLINE_MS = 86_400_000;

export function emptyQuestion(): Question {
    return {
        name: '', description: '', priority: 2,
        modelKind: 'known', model: 'Llama-3.1-70B', config: '', dims: emptyDims(), weights: 'fp8', kv: '', engine: 'vllm',
        chipKind: 'known', chip: 'H100-SXM', ownChip: emptyChip(), hardware: {},
        placeKind: 'count', chips: 8, perNode: 8, topology: null, topologyName: '',
        load: 'slo', batch: 32, rate: 2, input: 1024, output: 256, inputCv: 0, outputCv: 0, prefixHit: 0, draftTokens: 0, acceptance: 70, chunk: null,
        ttft: 1000, tpot: 50, e2e: null,
        mode: 'auto', parallelism: { tp: 8, pp: 1, dp: 1, ep: 1, moe_tp: 1 }, sequence: false, apart: false, prefill: { tp: 1, pp: 1, dp: 1, ep: 1, moe_tp: 1 },
        objective: 'throughput', scoreWeights: { latency: 0.3, throughput: 0.35, efficiency: 0.2, balance: 0.15 },
        maxChips: null, topK: 10, minThroughput: null, maxMemory: null, withinNode: true, divideHeads: true, evenLayers: false, disaggregated: false,
    };
}

// ---- asking ----

/** Without what is empty, so that the daemon says what it needs. */
function told(members: Json): Json {
    return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== undefined && value !== ''));
}

/** A config.json that cannot be read goes as text: the daemon says what is wrong with it. */
export function modelJson(q: Question): Json | string {
    if (q.modelKind === 'known') {
        return told({ preset: q.model, weight_dtype: q.weights });
    }
    if (q.modelKind === 'own') {
        return told({ ...dimsJson(q.dims), weight_dtype: q.weights });
    }
    try {
        const config: unknown = JSON.parse(q.config);
        return typeof config === 'object' && config !== null ? told({ ...config, weight_dtype: q.weights }) : q.config;
    } catch {
        return q.config;
    }
}

function inferenceJson(q: Question): Json {
    const offline = q.load === 'offline';
    const drafts = q.draftTokens ?? 0;
    return told({
        input_seq_length: q.input, output_seq_length: q.output,
        isl_cv: q.inputCv || null, osl_cv: q.outputCv || null,
        batch_size: q.load === 'batch' ? q.batch : null,
        rate_per_s: q.load === 'rate' ? q.rate : null,
        slo_ttft_ms: offline ? null : q.ttft, slo_tpot_ms: offline ? null : q.tpot, slo_e2e_ms: offline ? OFFLINE_MS : q.e2e,
        prefix_hit: q.prefixHit ? q.prefixHit / 100 : null,
        speculation: drafts > 0 ? told({ draft_tokens: drafts, acceptance: q.acceptance === null ? null : q.acceptance / 100 }) : null,
        chunk_tokens: q.chunk, engine: q.engine, kv_dtype: q.kv,
    });
}

function constraintsJson(q: Question): Json {
    return told({
        max_chips: q.maxChips, top_k: q.topK, optimization_target: q.objective, min_throughput: q.minThroughput,
        score_weights: q.objective === 'balanced' ? told(q.scoreWeights) : null,
        max_memory_ratio: q.maxMemory === null ? null : q.maxMemory / 100,
        tp_within_node: q.withinNode, tp_divides_heads: q.divideHeads, pp_divides_layers: q.evenLayers, disaggregated: q.disaggregated,
    });
}

function parts(q: Question) {
    const chip = q.chipKind === 'known' ? { chip_type: q.chip } : chipJson(q.ownChip);
    return { topology: placesJson(q), model: modelJson(q), hardware: { ...q.hardware, chip }, inference: inferenceJson(q) };
}

function planJson(q: Question): Json {
    return told({ ...q.parallelism, sp: q.sequence, prefill: q.apart ? told(q.prefill) : null });
}

export function toRequest(q: Question) {
    return {
        experiment_name: q.name.trim(), description: q.description.trim(), priority: q.priority, ...parts(q),
        search_mode: q.mode,
        ...(q.mode === 'manual' ? { manual_parallelism: planJson(q) } : { search_constraints: constraintsJson(q) }),
    };
}

/** What /api/validate and /api/simulate are asked of a manual plan. */
export function toTrial(q: Question) {
    return { ...parts(q), parallelism: planJson(q) };
}

// ---- and back ----

function object(value: unknown): Json {
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? Object.fromEntries(Object.entries(value)) : {};
}
const number = (value: unknown): Maybe => (typeof value === 'number' ? value : null);
const word = (value: unknown, usual: string): string => (typeof value === 'string' ? value : usual);
const percent = (value: unknown): Maybe => (typeof value === 'number' ? Math.round(value * 1e4) / 100 : null);

function modelFrom(q: Question, model: unknown): void {
    const { preset, weight_dtype: weights, ...rest } = object(model);
    const known = typeof model === 'string' ? model : preset;
    q.weights = word(weights, '');
    if (typeof known === 'string' && Object.keys(rest).length === 0) {
        q.modelKind = 'known';
        q.model = known;
    } else {
        q.modelKind = 'config';
        q.config = JSON.stringify(preset === undefined ? rest : { preset, ...rest }, null, 2);
    }
}

function hardwareFrom(q: Question, hardware: unknown): void {
    const { chip, ...rest } = object(hardware);
    const { chip_type: type, ...figures } = object(chip);
    q.hardware = rest;
    q.chipKind = Object.keys(figures).length > 0 || typeof chip === 'object' && typeof type !== 'string' ? 'own' : 'known';
    q.chip = typeof chip === 'string' ? chip : word(type, q.chip);
    q.ownChip = q.chipKind === 'own' ? chipFromJson(object(chip)) : q.ownChip;
}

function inferenceFrom(q: Question, told: Json): void {
    const slo = object(told.slo);
    const speculation = object(told.speculation);
    const e2e = number(slo.e2e_ms) ?? number(told.slo_e2e_ms);
    const rate = number(told.rate_per_s) ?? number(told.request_rate);
    q.input = number(told.input_seq_length);
    q.output = number(told.output_seq_length);
    q.inputCv = number(told.isl_cv) ?? 0;
    q.outputCv = number(told.osl_cv) ?? 0;
    q.load = rate !== null ? 'rate' : number(told.batch_size) !== null ? 'batch' : e2e === OFFLINE_MS ? 'offline' : 'slo';
    q.batch = number(told.batch_size) ?? q.batch;
    q.rate = rate ?? q.rate;
    q.ttft = number(slo.ttft_ms) ?? number(told.slo_ttft_ms);
    q.tpot = number(slo.tpot_ms) ?? number(told.slo_tpot_ms);
    q.e2e = e2e === OFFLINE_MS ? null : e2e;
    q.prefixHit = percent(told.prefix_hit) ?? 0;
    q.draftTokens = number(speculation.draft_tokens) ?? 0;
    q.acceptance = percent(speculation.acceptance) ?? 70;
    q.chunk = number(told.chunk_tokens);
    q.engine = word(told.engine, 'vllm');
    q.kv = word(told.kv_dtype, word(told.kv_cache_dtype, ''));
}

function constraintsFrom(q: Question, told: Json): void {
    const weights = object(told.score_weights);
    q.maxChips = number(told.max_chips);
    q.topK = number(told.top_k) ?? 10;
    q.objective = objectives.find((one) => one === told.optimization_target) ?? (told.score_weights ? 'balanced' : 'cost');
    q.minThroughput = number(told.min_throughput);
    q.maxMemory = percent(told.max_memory_ratio);
    q.e2e = number(told.max_latency_ms) ?? q.e2e;
    q.withinNode = told.tp_within_node !== false;
    q.divideHeads = told.tp_divides_heads !== false;
    q.evenLayers = told.pp_divides_layers === true;
    q.disaggregated = told.disaggregated === true;
    for (const name of weightNames) {
        q.scoreWeights[name] = number(weights[name]) ?? q.scoreWeights[name];
    }
}

/** A request that was submitted once, or an experiment's, as the form has it. */
export function fromRequest(request: Json): Question {
    const q = emptyQuestion();
    const manual = object(request.manual_parallelism);
    const prefill = object(manual.prefill);
    q.name = word(request.experiment_name, '');
    q.description = word(request.description, '');
    q.priority = number(request.priority) ?? 2;
    modelFrom(q, request.model);
    hardwareFrom(q, request.hardware);
    inferenceFrom(q, object(request.inference));
    constraintsFrom(q, object(request.search_constraints));
    placesFrom(q, object(request.topology));
    q.mode = request.search_mode === 'manual' ? 'manual' : 'auto';
    for (const name of degrees) {
        q.parallelism[name] = number(manual[name]) ?? 1;
        q.prefill[name] = number(prefill[name]) ?? 1;
    }
    q.apart = Object.keys(prefill).length > 0;
    q.sequence = manual.sp === true || (number(manual.sp) ?? 1) > 1;
    return q;
}

/** A kept topology, to be planned with; its chips' kind goes along when it names one. */
export function withTopology(q: Question, topology: Json, known: readonly string[]): void {
    const type = fromJson(topology, '').pods[0]?.racks[0]?.boards[0]?.chips[0]?.type ?? '';
    q.placeKind = 'topology';
    q.topology = topology;
    q.topologyName = word(topology.id, word(topology.name, ''));
    q.maxChips = null;
    if (known.includes(type)) {
        q.chipKind = 'known';
        q.chip = type;
    }
}
