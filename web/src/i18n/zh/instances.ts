// SPDX-License-Identifier: Apache-2.0
// Words of the page of instances and routing, Chinese.
import type en from '../en/instances';
import type { Like } from '..';

export default {
    lead: '由谁应答请求、预计等待多久，以及如何选择。',
    title: '实例', none: '没有运行中的引擎', anyState: '所有状态', place: '设备 · 内存', work: '处理中 / 槽位', waiting: '排队',
    predicted: '预测等待', predictedTitle: '含 {tokens} 个提示 token 的请求，十次中有九次在此用时 {low} 到 {high}；依据 {n} 个请求学得',
    predictedNote: '标记是此刻到来的请求的预期等待，色带为其误差。排队：等待该模型的请求数。',
    requests: '请求', response: '响应时间', breaker: '熔断器', errors: '{n} 次失败', each: '平均 {time}', sleeping: '休眠', unloads: '{at} 卸载', elsewhere: '外部',
    state: { waiting: '等待空间', starting: '加载中', ready: '就绪', draining: '排空中', stopping: '停止中', backoff: '稍后重试', failed: '失败' },
    breakers: { closed: '闭合', open: '断开', half_open: '试探' },
    active: '可服务的实例', activeHint: '就绪且熔断器未断开', sinceStart: '自启动以来', failed: '失败', errorRate: '占全部的 {rate} %', mean: '移动平均',
    shares: '请求占比', noShares: '尚未应答过请求', sinceOpened: '自 {at} 打开本页以来',
    strategies: '路由策略', strategy: '策略', strategyAll: '没有自己策略的所有模型', strategySet: '今后按 {name} 选择', strategyReset: '按配置',
    strategiesNote: '改动从下一个请求起生效，到下次启动为止。',
    taskInstances: 'Task Instance', taskInstancesNote: '自带队列的服务；按 {strategy} 选择。', queue: '队列', inFlight: '处理中', chosen: '被选次数', ended: '完成 / 失败',
} satisfies Like<typeof en>;
