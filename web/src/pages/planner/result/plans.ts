// SPDX-License-Identifier: Apache-2.0
// Plans: their names and what they are in words, the figures that tables and charts show of them, the colours of kinds of work.
import type { Schemas } from '@/api/client';
import { t } from '@/i18n';
import { figure, milliseconds, number, percent } from '@/lib/format';

export type Plan = Schemas['EvaluationPlan'];
export type Stats = Schemas['SearchStats'];
export type Work = 'gemm' | 'attention' | 'experts' | 'communication' | 'elementwise' | 'host';

export const works: readonly Work[] = ['gemm', 'attention', 'experts', 'communication', 'elementwise', 'host'];
export const workColours: Record<Work | 'bubble', string> = {
    gemm: '#3f7fd6', attention: '#e08b2d', experts: '#9069d1', communication: '#d4566c', elementwise: '#2f9e83', host: '#8792a0', bubble: 'rgb(140 150 162 / 22%)',
};

/** "tp2 pp4"; of one chip "tp1"; copies as "tp2 ×4". */
function nameOf(p: Plan['parallelism']): string {
    const parts: [string, number | undefined][] = [['tp', p.tp], ['pp', p.pp], ['adp', p.attention_dp], ['ep', p.ep], ['moe-tp', p.moe_tp], ['sp', p.sp]];
    const cut = parts.flatMap(([name, degree]) => (degree !== undefined && degree > 1 ? [`${name}${degree}`] : [])).join(' ') || 'tp1';
    const copies = p.replicas ?? p.dp;
    return copies > 1 ? `${cut} ×${copies}` : cut;
}
/** Where other chips read the prompts: "P tp2 | D tp4". */
export function planName({ parallelism, prefill_parallelism: prefill }: Plan): string {
    return prefill ? `P ${nameOf(prefill)} | D ${nameOf(parallelism)}` : nameOf(parallelism);
}

/** How the chips share the work, a sentence a way. */
export function planWords(plan: Plan): string[] {
    const p = plan.parallelism;
    const rows: [string, number | undefined][] = [
        ['replicas', p.replicas ?? p.dp], ['tp', p.tp], ['pp', p.pp], ['adp', p.attention_dp], ['ep', p.ep], ['moeTp', p.moe_tp], ['sp', p.sp],
    ];
    const words = rows.flatMap(([name, n]) => (n !== undefined && n > 1 ? [t(`planner.result.words.${name}`, { n })] : []));
    if (plan.prefill_parallelism) {
        words.push(t('planner.result.words.prefill', { n: plan.chips - p.dp * p.tp * p.pp }));
    }
    return words.length > 0 ? words : [t('planner.result.words.single')];
}

/** A time of a few milliseconds, with a tenth. */
export function tenths(ms: number): string {
    return ms < 1000 ? `${number(ms, 1)} ms` : milliseconds(ms);
}

/** Chip-hours of a million output tokens. */
export function chipHours(plan: Plan): number | null {
    return plan.throughput > 0 ? (plan.chips * 1e6) / (plan.throughput * 3600) : null;
}
/** The share of the chip's memory that is in use. */
export function memoryShare({ memory: m }: Plan): number | null {
    return m && m.capacity_gb > 0 ? (m.weights_gb + m.activations_gb + m.runtime_gb + m.kv_used_gb) / m.capacity_gb : null;
}

/** A figure of a plan: its label stands in planner.result.column; `best`: which end is the better one, if any. */
export interface PlanFigure {
    name: string;
    value: (plan: Plan) => number | null | undefined;
    text: (value: number) => string;
    best?: 'low' | 'high';
}
export const figures: readonly PlanFigure[] = [
    { name: 'chips', value: (plan) => plan.chips, text: (value) => number(value) },
    { name: 'concurrency', value: (plan) => plan.concurrency, text: (value) => number(value) },
    { name: 'ttft', value: (plan) => plan.ttft, text: milliseconds, best: 'low' },
    { name: 'tpot', value: (plan) => plan.tpot, text: tenths, best: 'low' },
    { name: 'e2e', value: (plan) => plan.e2e, text: milliseconds, best: 'low' },
    { name: 'throughput', value: (plan) => plan.throughput, text: (value) => number(value), best: 'high' },
    { name: 'perChip', value: (plan) => plan.tps_per_chip, text: figure, best: 'high' },
    { name: 'perUser', value: (plan) => plan.tps_per_user, text: figure, best: 'high' },
    { name: 'requests', value: (plan) => plan.requests_per_s, text: figure, best: 'high' },
    { name: 'chipHours', value: chipHours, text: figure, best: 'low' },
    { name: 'cost', value: (plan) => plan.cost_per_million_tokens, text: figure, best: 'low' },
    { name: 'joules', value: (plan) => plan.joules_per_token, text: figure, best: 'low' },
    { name: 'memory', value: memoryShare, text: (value) => percent(value) },
    { name: 'mfu', value: (plan) => plan.mfu, text: (value) => percent(value), best: 'high' },
    { name: 'mbu', value: (plan) => plan.mbu, text: (value) => percent(value), best: 'high' },
    { name: 'score', value: (plan) => plan.score, text: (value) => number(value, 1), best: 'high' },
];

export function textOf(of: PlanFigure, plan: Plan): string {
    const value = of.value(plan);
    return value === null || value === undefined ? '–' : of.text(value);
}

/** "290 ms – 1.4 s" */
export function bandText(band: { p10: number; p90: number } | undefined, text: (value: number) => string): string {
    return band ? t('planner.result.band', { low: text(band.p10), high: text(band.p90) }) : '';
}
