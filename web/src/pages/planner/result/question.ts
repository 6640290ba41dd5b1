// SPDX-License-Identifier: Apache-2.0
// A job's question, which may have any of the forms that the daemon takes, as a person reads it: one row a fact. Nothing is
// assumed to be there.
import { t } from '@/i18n';
import { milliseconds, number, percent } from '@/lib/format';
import type { Plan } from './plans';

export type Question = Record<string, unknown>;

/** A fact of the question: its name stands in planner.result.fact. */
export interface Fact {
    name: string;
    text: string;
}
export interface Limit {
    name: 'ttft' | 'tpot' | 'e2e' | 'throughput';
    value: number; // milliseconds, or tokens a second
}

function isObject(value: unknown): value is Question {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}
function part(of: unknown, name: string): Question {
    const value = isObject(of) ? of[name] : undefined;
    return isObject(value) ? value : {};
}
function list(of: unknown, name: string): unknown[] {
    const value = isObject(of) ? of[name] : undefined;
    return Array.isArray(value) ? value : [];
}
function count(of: Question, ...names: string[]): number | undefined {
    const found = names.map((name) => of[name]).find((value) => typeof value === 'number' && value > 0);
    return typeof found === 'number' ? found : undefined;
}
function word(of: Question, ...names: string[]): string {
    const found = names.map((name) => of[name]).find((value) => typeof value === 'string' && value !== '');
    return typeof found === 'string' ? found : '';
}
function sum(values: readonly number[]): number {
    return values.reduce((all, value) => all + value, 0);
}

/** How many chips a topology has, in whichever of its three forms; 0: it does not say. */
export function chipsOf(topology: unknown): number {
    const pods = list(topology, 'pods');
    if (pods.length > 0) {
        return sum(pods.flatMap((pod) => list(pod, 'racks')).flatMap((rack) => list(rack, 'boards')).map((board) => list(board, 'chips').length));
    }
    const levels = list(topology, 'levels');
    if (levels.length > 0) {
        return levels.reduce<number>((all, level) => all * (isObject(level) ? count(level, 'groups') ?? 1 : 1), 1);
    }
    const whole = isObject(topology) ? topology : {};
    const boards = list(part(topology, 'rack_config'), 'boards').filter(isObject);
    const rack = sum(boards.map((board) => (count(board, 'count') ?? 1) * sum(list(board, 'chips').filter(isObject).map((chip) => count(chip, 'count') ?? 1))));
    return (count(whole, 'pod_count') ?? 1) * (count(whole, 'racks_per_pod') ?? 1) * rack;
}

function modelOf(question: Question): string {
    if (typeof question.model === 'string') {
        return question.model;
    }
    const model = part(question, 'model');
    return word(model, 'model_name', 'name', 'preset');
}
function chipOf(question: Question): string {
    const chip = part(question, 'hardware').chip;
    return typeof chip === 'string' ? chip : word(isObject(chip) ? chip : {}, 'chip_type', 'name', 'preset');
}
function loadOf(inference: Question): string {
    const batch = count(inference, 'batch_size');
    const rate = count(inference, 'rate_per_s', 'request_rate');
    return rate ? t('planner.result.load.rate', { n: number(rate, 2) }) : batch ? t('planner.result.load.batch', { n: number(batch) }) : t('planner.result.load.slo');
}
function degreesOf(manual: Question): string {
    return Object.entries(manual).filter(([, degree]) => !isObject(degree) && degree !== null && degree !== 1).map(([name, degree]) => `${name} ${String(degree)}`).join(', ') || 'tp 1';
}
function searchOf(question: Question): string {
    const manual = part(question, 'manual_parallelism');
    if (question.search_mode === 'manual') {
        const both = isObject(manual.prefill) ? `${t('planner.result.phase.prefill')} ${degreesOf(manual.prefill)}; ${t('planner.result.phase.decode')} ` : '';
        return t('planner.result.search.manual', { plan: both + degreesOf(manual) });
    }
    const target = word(part(question, 'search_constraints'), 'optimization_target') || 'cost';
    return t(`planner.result.search.${target}`);
}

/** What the plan has to keep. */
export function limitsOf(question: Question | null): Limit[] {
    const inference = part(question, 'inference');
    const slo = part(inference, 'slo');
    const constraints = part(question, 'search_constraints');
    const rows: [Limit['name'], number | undefined][] = [
        ['ttft', count(slo, 'ttft_ms') ?? count(inference, 'slo_ttft_ms')],
        ['tpot', count(slo, 'tpot_ms') ?? count(inference, 'slo_tpot_ms')],
        ['e2e', count(slo, 'e2e_ms') ?? count(inference, 'slo_e2e_ms') ?? count(constraints, 'max_latency_ms')],
        ['throughput', count(constraints, 'min_throughput')],
    ];
    return rows.flatMap(([name, value]) => (value ? [{ name, value }] : []));
}
export function limitText({ name, value }: Limit): string {
    return name === 'throughput' ? `≥ ${number(value)} ${t('planner.result.unit.tokens')}` : `${name.toUpperCase()} ≤ ${milliseconds(value)}`;
}
/** holds; close: the band reaches over it; missed. */
export function judge({ name, value }: Limit, plan: Plan): 'holds' | 'close' | 'missed' {
    const is = name === 'e2e' ? plan.e2e ?? 0 : plan[name];
    const band = name === 'ttft' ? plan.ttft_band : name === 'tpot' ? plan.tpot_band : name === 'throughput' ? plan.throughput_band : undefined;
    const [misses, reaches] = name === 'throughput' ? [is < value, (band?.p10 ?? is) < value] : [is > value, (band?.p90 ?? is) > value];
    return misses ? 'missed' : reaches ? 'close' : 'holds';
}

/** What asks for this very plan. One with other chips for the prefill is asked for with the load that it was found for. */
export function manualOf(plan: Plan, question: Question | null): { inference: Question; parallelism: Question } {
    const inference = part(question, 'inference');
    if (!plan.prefill_parallelism) {
        return { inference, parallelism: plan.parallelism };
    }
    const { rate_per_s: _rate, request_rate: _same, ...rest } = inference;
    return { inference: { ...rest, batch_size: Math.max(1, Math.round(plan.concurrency ?? 1)) }, parallelism: { ...plan.parallelism, prefill: plan.prefill_parallelism } };
}

/** The question in short. */
export function factsOf(question: Question): Fact[] {
    const inference = part(question, 'inference');
    const model = part(question, 'model');
    const [input, output] = [count(inference, 'input_seq_length'), count(inference, 'output_seq_length')];
    const chips = chipsOf(question.topology);
    const most = count(part(question, 'search_constraints'), 'max_chips');
    const hit = count(inference, 'prefix_hit');
    const rows: [string, string][] = [
        ['model', modelOf(question)],
        ['precision', word(inference, 'precision') || word(model, 'weight_dtype', 'dtype')],
        ['chip', chipOf(question)],
        ['chips', chips > 0 ? (most && most < chips ? t('planner.result.chipsOf', { most: number(most), all: number(chips) }) : number(chips)) : most ? number(most) : ''],
        ['lengths', input && output ? t('planner.result.inOut', { input: number(input), output: number(output) }) : ''],
        ['load', Object.keys(inference).length > 0 ? loadOf(inference) : ''],
        ['prefix', hit ? percent(hit) : ''],
        ['engine', word(inference, 'engine')],
        ['limits', limitsOf(question).map(limitText).join(', ')],
        ['search', typeof question.search_mode === 'string' ? searchOf(question) : ''],
    ];
    return rows.filter(([, text]) => text !== '').map(([name, text]) => ({ name, text }));
}
