// SPDX-License-Identifier: Apache-2.0
// Words of the task pages, Chinese.
import type en from '../en/tasks';
import type { Like } from '..';

export default {
    text: '需要完成但无需等候的工作：持久排队，按优先级执行。', submit: '提交任务', one: '任务 {id}', list: '任务', statistics: '统计', views: '视图',
    priorities: { low: '低', medium: '中', high: '高' },
    queue: { high: '等待中（高）', medium: '等待中（中）', low: '等待中（低）', delayed: '定时', running: '运行中', completed: '已完成', failed: '失败', good: '成功率', ofAll: '占全部已提交任务', average: '平均 {time}' },
    running: { title: '正在运行', none: '没有任务在运行。', since: '已运行 {time}', usual: '通常 {time}', more: '另有 {n} 个在运行', progress: '按该类型通常耗时估计的进度' },
    columns: { id: '编号', retries: '重试', took: '耗时', input: '输入' },
    filter: {
        status: '状态', anyStatus: '所有状态', model: '模型', anyModel: '所有模型', type: '类型', anyType: '所有类型', priority: '优先级', anyPriority: '所有优先级',
        dead: '仅死信', from: '提交时间从', to: '提交时间至', none: '还没有任务。请提交一个，或使用 berth submit 发送。', noMatch: '没有匹配的任务。', clear: '清除筛选',
    },
    bulk: {
        selected: '已选 {n} 个', cancel: '取消', retry: '重试', delete: '删除', cancelIt: '确认取消', deleteIt: '确认删除', max: '一次最多 {n} 个，请少选一些。',
        confirmCancel: '取消 {n} 个任务？正在运行的会被中断。', confirmDelete: '永久删除 {n} 个任务？其输出也会一并删除。',
        doneCancel: '已取消 {n} 个', doneRetry: '{n} 个重新等待', doneDelete: '已删除 {n} 个', refused: '{n} 个被拒绝：{reason}',
    },
    export: { csv: 'CSV', json: 'JSON', cut: '已导出 {total} 个任务中的前 {n} 个。其余请缩小筛选范围后导出。', none: '没有可导出的内容。' },
    form: {
        title: '提交任务', model: '模型', choose: '选择模型', type: '类型', input: '输入', asText: '文本', asJson: 'JSON', inputKind: '输入形式', priority: '优先级', retries: '最多重试次数', retriesHint: '留空则按配置。',
        when: '何时', now: '尽快', delay: '延迟', at: '指定时间', delayField: '延迟', delayHint: '秒数，或 5m 这样的时长。', atField: '时间', timeout: '时限', timeoutHint: '留空则按配置。秒数，或 2m。',
        options: '选项', optionHint: '默认：{value}', moreOptions: '更多选项（JSON 对象）', moreHint: '例如 request 成员：{example}', webhook: 'Webhook', webhookHint: '任务结束时收到 POST；其主机必须在允许之列。',
        advanced: '更多', badJson: '不是有效的 JSON：{reason}', noObject: '必须是 JSON 对象。', chooseModel: '请选择模型。', noInput: '请填写任务内容。', noTime: '请填写开始时间。', submitted: '任务 {id} 已入队。', path: '引擎路径',
    },
    detail: {
        waits: '等待原因', place: '第 {n} 位', starts: '预计 {time} 开始', input: '输入', output: '输出', none: '暂无。', noOutput: '没有输出。', log: '日志', attempts: '尝试', attempt: '尝试', options: '选项', tries: '已用重试 {n} / {max}', dead: '死信：尝试次数已用完。',
        instance: '应答实例', runAt: '最早开始', waited: '等待时长', took: '耗时', level: '级别', again: '再提交一个类似的', cancel: '取消', cancelAsk: '取消任务 {id}？', cancelIt: '确认取消', cancelled: '任务 {id} 已取消。', retried: '任务 {id} 重新等待。',
        deleteAsk: '永久删除任务 {id}？其输出也会一并删除。', deleted: '任务 {id} 已删除。', moved: '任务 {id} 的优先级为{priority}。', changePriority: '修改优先级',
    },
    stats: {
        byDate: '每日任务', byModel: '按模型', byType: '按类型', days: '天数', lastDays: '最近 {n} 天', completed: '已完成', failed: '失败', cancelled: '已取消', average: '平均耗时', averageByDate: '每日任务平均耗时',
        date: '日期', total: '总数', good: '成功率', pending: '等待中', running: '运行中', none: '还没有任务。',
    },
} satisfies Like<typeof en>;
