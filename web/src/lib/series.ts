// SPDX-License-Identifier: Apache-2.0
// The usual chart over time as an ECharts option: lines with a legend below and a tooltip drawn in the canvas (no HTML strings).
import type { ChartOption } from './charts';

export interface Line {
    name: string;
    points: readonly (readonly [Date, number | null])[];
}

const COLOURS = ['#3f7fd6', '#e08b2d', '#2f9e83', '#d4566c', '#9069d1', '#8792a0'];

/** No line can be drawn to a point without neighbours: it gets a mark of its own. */
function isLone(points: Line['points'], i: number): boolean {
    return (points[i - 1]?.[1] ?? null) === null && (points[i + 1]?.[1] ?? null) === null;
}

export function overTime(lines: readonly Line[], unit: (value: number) => string, area = false): ChartOption {
    return {
        backgroundColor: 'transparent',
        color: COLOURS,
        animation: false,
        grid: { left: 8, right: 16, top: 16, bottom: 36, containLabel: true },
        legend: { bottom: 0, type: 'scroll', show: lines.length > 1, icon: 'roundRect', itemWidth: 14, itemHeight: 8 },
        tooltip: { trigger: 'axis', renderMode: 'richText', valueFormatter: (value) => (typeof value === 'number' ? unit(value) : '–') },
        xAxis: { type: 'time', axisLabel: { hideOverlap: true } },
        yAxis: { type: 'value', min: 0, axisLabel: { formatter: unit } },
        series: lines.map(({ name, points }) => ({ name, type: 'line', showAllSymbol: true, symbol: (_value: unknown, { dataIndex }: { dataIndex: number }) => (isLone(points, dataIndex) ? 'circle' : 'none'), symbolSize: 5, ...(area ? { areaStyle: { opacity: 0.15 } } : {}), data: points.map(([at, value]) => [at.getTime(), value]) })),
    };
}
