// SPDX-License-Identifier: Apache-2.0
// A simulated timeline as a chart (a row a stage, a bar a piece of work, zoom by wheel, finger or slider) and as sums for the table.
import type { CustomSeriesOption } from 'echarts/charts';
import type { Schemas } from '@/api/client';
import type { ChartOption } from '@/lib/charts';
import { number } from '@/lib/format';
import { workColours, works } from './plans';

type Chart = Schemas['Simulation']['ganttChart'];
type Bar = Chart['tasks'][number];
export interface Words {
    stage: (n: number, phase?: string) => string;
    work: (kind: string) => string;
    phase: (name: string) => string;
}

const kinds = [...works, 'bubble'] as const;
const ms = (value: number): string => `${number(value, value < 100 ? 1 : 0)} ms`;

const drawBar: NonNullable<CustomSeriesOption['renderItem']> = (_params, api) => {
    const [x, middle] = api.coord([api.value(1), api.value(0)]);
    const [end] = api.coord([api.value(2), api.value(0)]);
    const size = api.size?.([0, 1]);
    const rowHeight = Array.isArray(size) ? size[1] ?? 0 : 0;
    if (x === undefined || middle === undefined || end === undefined) {
        return null;
    }
    const height = Math.min(26, rowHeight * 0.72);
    return { type: 'rect', shape: { x, y: middle - height / 2, width: Math.max(0.5, end - x), height }, style: { fill: api.visual('color') } };
};

/** Where other chips do the prefill each phase has stages of its own. */
function stageNames({ resources }: Chart, words: Words): string[] {
    return resources.map(({ phase }, i) => words.stage(i + 1 - Math.max(0, resources.findIndex((first) => first.phase === phase)), phase));
}

function tipOf(bar: Bar | undefined, stages: readonly string[], words: Words): string {
    return bar ? `${stages[bar.stage] ?? ''} · ${words.phase(bar.phase)}\n${words.work(bar.type)}: ${ms(bar.end - bar.start)}\n${ms(bar.start)} – ${ms(bar.end)}` : '';
}

export function timelineOption(chart: Chart, words: Words): ChartOption {
    const stages = stageNames(chart, words);
    const last = Math.max(0, ...chart.tasks.map(({ end }) => end));
    const seen = kinds.map((kind) => ({ kind, bars: chart.tasks.filter(({ type }) => type === kind) })).filter(({ bars }) => bars.length > 0);
    return {
        backgroundColor: 'transparent',
        animation: false,
        grid: { left: 12, right: 24, top: 36, bottom: 62, containLabel: true },
        legend: { top: 0, type: 'scroll' },
        tooltip: { trigger: 'item', renderMode: 'richText', confine: true },
        xAxis: { type: 'value', min: 0, max: last, axisLabel: { formatter: ms, hideOverlap: true, showMaxLabel: false } },
        yAxis: { type: 'category', inverse: true, data: stages, axisTick: { show: false } },
        dataZoom: [{ type: 'inside', filterMode: 'weakFilter', zoomOnMouseWheel: 'ctrl' }, { type: 'slider', filterMode: 'weakFilter', bottom: 12, height: 24, labelFormatter: (value: number) => ms(value) }],
        series: seen.map(({ kind, bars }) => ({
            name: words.work(kind), type: 'custom', clip: true, renderItem: drawBar, itemStyle: { color: workColours[kind] }, encode: { x: [1, 2], y: 0 },
            data: bars.map(({ stage, start, end }) => [stage, start, end]),
            tooltip: { formatter: ({ dataIndex }: { dataIndex: number }) => tipOf(bars[dataIndex], stages, words) },
        })),
    };
}

/** Milliseconds by stage, phase and kind of work: the same, for a table. */
export function sumsOf(chart: Chart, words: Words): { head: string[]; rows: string[][] } {
    const seen = kinds.filter((kind) => chart.tasks.some(({ type }) => type === kind));
    const stages = stageNames(chart, words);
    const rows = chart.resources.flatMap((resource, stage) => (['prefill', 'decode'] as const).filter((phase) => (resource.phase ?? phase) === phase).map((phase) => {
        const bars = chart.tasks.filter((bar) => bar.stage === stage && bar.phase === phase);
        return [stages[stage] ?? '', words.phase(phase), ...seen.map((kind) => ms(bars.filter(({ type }) => type === kind).reduce((sum, bar) => sum + bar.end - bar.start, 0)))];
    }));
    return { head: ['', '', ...seen.map(words.work)], rows };
}
