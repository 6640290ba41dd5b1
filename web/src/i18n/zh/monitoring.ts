// SPDX-License-Identifier: Apache-2.0
// Words of one page, Chinese.
import type en from '../en/monitoring';
import type { Like } from '..';

export default {
    lead: '最近一小时的服务、设备、模型与主机；实时更新。', range: '显示范围', minutes: '最近 {n} 分钟', hour: '最近一小时', tabs: '显示内容',
    tab: { service: '服务', devices: '设备', models: '模型', host: '主机' },
    service: {
        requestsTitle: '每秒请求数', tokensTitle: '每秒 Token 数', latencyTitle: '延迟（平均与 95 分位）', queueTitle: '处理中与等待中',
        requests: '已应答', errors: '失败', output: '输出', prompt: '提示词', firstMean: '首 Token', firstP95: '首 Token p95',
        totalMean: '总时长', totalP95: '总时长 p95', inFlight: '正在应答的请求', waiting: '等待中的请求', tasksRunning: '运行中的任务', tasksPending: '等待中的任务',
    },
    device: {
        utilization: '利用率', memory: '已用内存', temperature: '温度', power: '功率', name: '{id}：{name}',
        none: 'berth 没有发现设备。',
    },
    model: { choose: '模型', open: '打开模型', requests: '每秒请求数', latency: '请求平均时长', errors: '每秒失败请求数', memory: '已用内存', none: '还没有模型。', mean: '平均时长', rate: '请求/秒', errorRate: '失败率', lastHour: '最近一小时请求数', busy: '处理中', gpu: 'GPU 使用率', cpu: 'CPU 使用率' },
    host: { cpu: '处理器', memory: '内存', load: '负载', network: '网络', sent: '发送', received: '接收', load1: '1 分钟', load5: '5 分钟', load15: '15 分钟' },
} satisfies Like<typeof en>;
