// SPDX-License-Identifier: Apache-2.0
// The charts of task statistics: stacked counts by name, and averages by day.
import type { ChartOption } from '@/lib/charts';
import { milliseconds } from '@/lib/format';

export interface Counts {
    name: string;
    completed: number;
    failed: number;
    cancelled: number;
}
const COLOURS = { completed: '#2e9e5b', failed: '#d64545', cancelled: '#8a94a0' } as const;

export function countsChart(rows: readonly Counts[], words: Record<keyof typeof COLOURS, string>): ChartOption {
    return {
        backgroundColor: 'transparent', animation: false,
        grid: { left: 8, right: 16, top: 16, bottom: 36, containLabel: true },
        legend: { bottom: 0 },
        tooltip: { trigger: 'axis', renderMode: 'richText' },
        xAxis: { type: 'category', data: rows.map(({ name }) => name) },
        yAxis: { type: 'value', min: 0, minInterval: 1 },
        series: (['completed', 'failed', 'cancelled'] as const).map((kind) => ({
            name: words[kind], type: 'bar', stack: 'all', barMaxWidth: 40, itemStyle: { color: COLOURS[kind] }, data: rows.map((row) => row[kind]),
        })),
    };
}

export function averageChart(rows: readonly { date: string; completed: number; avg_processing_ms: number }[], name: string): ChartOption {
    return {
        backgroundColor: 'transparent', animation: false,
        grid: { left: 8, right: 16, top: 16, bottom: 16, containLabel: true },
        tooltip: { trigger: 'axis', renderMode: 'richText', valueFormatter: (value) => (typeof value === 'number' ? milliseconds(value) : '–') },
        xAxis: { type: 'category', data: rows.map(({ date }) => date) },
        yAxis: { type: 'value', min: 0, axisLabel: { formatter: (value: number) => milliseconds(value) } },
        series: [{ name, type: 'line', connectNulls: true, data: rows.map(({ completed, avg_processing_ms }) => (completed > 0 ? avg_processing_ms : null)) }],
    };
}
