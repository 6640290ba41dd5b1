// SPDX-License-Identifier: Apache-2.0
// Stacked bars, one a plan: what the memory chart and the time chart have in common.
import type { ChartOption } from '@/lib/charts';

export interface Layer {
    name: string;
    colour: string;
    values: readonly number[]; // one a bar
}

export function stackedBars(bars: readonly string[], layers: readonly Layer[], unit: (value: number) => string): ChartOption {
    return {
        backgroundColor: 'transparent',
        animation: false,
        grid: { left: 12, right: 20, top: 12, bottom: 62, containLabel: true },
        legend: { bottom: 0, itemWidth: 14, itemHeight: 10, itemGap: 8 },
        tooltip: { trigger: 'axis', axisPointer: { type: 'shadow' }, renderMode: 'richText', confine: true, valueFormatter: (value) => (typeof value === 'number' ? unit(value) : '–') },
        xAxis: { type: 'value', axisLabel: { formatter: unit, hideOverlap: true } },
        yAxis: { type: 'category', inverse: true, data: bars.map((name) => name.replace(' | ', '\n')), axisLabel: { interval: 0, fontSize: 11, lineHeight: 12 } },
        series: layers.map(({ name, colour, values }) => ({ name, type: 'bar', stack: 'all', barMaxWidth: 22, itemStyle: { color: colour }, data: [...values] })),
    };
}
