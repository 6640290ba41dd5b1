// SPDX-License-Identifier: Apache-2.0
// ECharts, cut to what our charts use. Only ChartBox.vue loads this file, when the first chart is shown.
import { BarChart, CustomChart, LineChart, PieChart, ScatterChart } from 'echarts/charts';
import { AriaComponent, DataZoomComponent, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent } from 'echarts/components';
import { type ComposeOption, init, use } from 'echarts/core';
import type { BarSeriesOption, CustomSeriesOption, LineSeriesOption, PieSeriesOption, ScatterSeriesOption } from 'echarts/charts';
import type { DataZoomComponentOption, GridComponentOption, LegendComponentOption, TooltipComponentOption } from 'echarts/components';
import { CanvasRenderer } from 'echarts/renderers';

export type ChartOption = ComposeOption<BarSeriesOption | CustomSeriesOption | LineSeriesOption | PieSeriesOption | ScatterSeriesOption
    | DataZoomComponentOption | GridComponentOption | LegendComponentOption | TooltipComponentOption>;
export type ECharts = ReturnType<typeof init>;

use([AriaComponent, BarChart, CanvasRenderer, CustomChart, DataZoomComponent, GridComponent, LegendComponent, LineChart, MarkLineComponent, PieChart, ScatterChart, TooltipComponent]);

export function openChart(box: HTMLElement, dark: boolean): ECharts {
    return init(box, dark ? 'dark' : undefined, { renderer: 'canvas' });
}
