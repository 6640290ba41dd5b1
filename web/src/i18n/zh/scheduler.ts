// SPDX-License-Identifier: Apache-2.0
// Words of the scheduler page, Chinese.
import type en from '../en/scheduler';
import type { Like } from '..';

export default {
    text: '哪个模型在哪张设备上，谁在等待、为什么等待，以及做过哪些决定。',
    schedule: '调度模型', policy: '策略', promote: '提升', withdraw: '撤出',
    cards: {
        running: '运行中', queued: '排队中', failed: '失败', total: '模型总数', state: '调度器', stateRunning: '运行中',
        last: '最近一次决定', never: '尚无', preemption: '允许让位', noPreemption: '不让位',
        today: '今日决定', todayHint: '成功 {good}，失败 {bad}', preempted: '已让位', preemptedHint: '最近一小时；一天内 {day}',
    },
    devices: {
        title: '设备', summary: '{all} 个设备中有 {used} 个载有模型', none: '没有发现设备。', others: '其他程序', held: '尚未归还', free: '可供模型使用',
        margin: '超出阈值部分', utilization: '负载', temperature: '温度', power: '功耗', priority: '优先级 {n}', of: '已用 {used} / {total}', measured: '实测 {size}',
    },
    queue: {
        title: '队列', none: '没有模型在等待空间。', why: '等待原因', since: '已等待', start: '预计开始', reserved: '位置已保留', unknownStart: '未知',
        promoted: '{model} 的优先级现为 {n}', withdrawn: '{model} 不再等待', confirm: '将 {model} 移出队列？在有人再次请求之前它不会启动。',
    },
    history: {
        title: '历史', none: '这段时间内没有决定。', action: '动作', reason: '原因', took: '耗时', devices: '设备', result: '结果', for: '为 {model} 让位', anyAction: '所有动作', anyModel: '所有模型',
        hours: '时间范围', lastHours: '最近 {n} 小时', lastDays: '最近 {n} 天', success: '完成', failed: '失败', under: '进行中', exportCsv: 'CSV', exportJson: 'JSON', exportNone: '没有可导出的内容。', filterAction: '动作', filterModel: '模型',
        scheduled: '已放置', preempted: '已让位', swapped: '让位', recovered: '已恢复', failure: '空间不足',
    },
    rules: {
        title: '放置策略', text: '立即生效，重启后保留。', basic: '基本', resources: '资源', timing: '时间', saved: '策略已生效。', defaults: '默认值',
        scheduling_algorithm: '放置顺序', scheduling_algorithmHint: '先放置谁，放在哪个设备上。',
        priority_based: '按优先级，放入最满且放得下的设备', spread: '按优先级，放入最空的设备', first_come: '先来先放置',
        preemption_enabled: '可以让较低优先级的模型让位', auto_recovery_enabled: '让位的模型自动恢复',
        resource_threshold: '设备内存中可放置的比例', resource_thresholdHint: '0.1 到 1；其余保持空闲。',
        priority_levels: '最高优先级', priority_levelsHint: '1 到 20', max_queue_size: '可等待的模型数', max_queue_sizeHint: '超出的启动请求将被拒绝。',
        scheduling_interval: '重新决定的间隔（秒）', scheduling_intervalHint: '10 到 300；变化会立即处理。',
        health_check_interval: '就绪模型的探测间隔（秒）', health_check_intervalHint: '1 到 3600',
    },
    manual: {
        title: '调度模型', model: '模型', choose: '选择模型', priority: '优先级', priorityHint: '1 到 10；会为该模型保留。', force: '强制：忽略阈值和等待时间；运行中的模型重新放置',
        preempt: '可以让较低优先级的模型让位', preview: '将会发生什么', looking: '正在查看…', act: '调度', moves: '将要让位：{models}', nobody: '没有模型需要让位。',
        placed: '将放置在 {devices}', queued: '将在队列中等待', failed: '无法放置', device: '设备 {n}', start: '预计开始：{time}',
        donePlaced: '{model} 已放置：{reason}', doneQueued: '{model} 正在等待：{reason}', confirm: '{models} 将在处理完请求后停止，为 {model} 让出空间。', failedDone: '{model} 未能放置：{reason}',
    },
} satisfies Like<typeof en>;
