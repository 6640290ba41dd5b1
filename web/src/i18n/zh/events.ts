// SPDX-License-Identifier: Apache-2.0
// What happened, in words: by kind, some by kind and state. Chinese.
import type en from '../en/events';
import type { Like } from '..';

export default {
    other: '{kind}',
    started: 'berth {version} 已启动', stopping: 'berth 正在关闭', config_changed: '配置已重新加载',
    store_read_only: '数据库已不可写入',
    model_created: '已新增 {model}', model_updated: '已修改 {model}', model_deleted: '已删除 {model}',
    model_wanted: '已要求运行 {model}', model_unwanted: '已要求停止 {model}', model_task_status: '{model} 的任务：{from} → {to}',
    instance_state_waiting: '{model} 等待空间', instance_state_starting: '{model} 启动中', instance_state_ready: '{model} 已就绪',
    instance_state_draining: '{model} 处理完现有请求后停止', instance_state_stopping: '{model} 停止中', instance_state_backoff: '{model} 失败，稍后重试',
    instance_state_failed: '{model} 失败', instance_state_gone: '{model} 已停止',
    instance_adopted: '已接管 {model} 仍在运行的引擎', instance_killed: '已结束 {model} 遗留的引擎',
    model_placed: '{model} 已分配位置', model_recovered: '{model} 已恢复原位', model_preempted: '{model} 为 {for} 让位',
    model_swapped: '{model} 与 {for} 轮换', placement_failed: '没有 {model} 所需的空间', placement_rules_changed: '调度策略已修改',
    device_appeared: '设备 {device}（{name}）已出现', device_vanished: '设备 {device}（{name}）已消失', device_unresponsive: '设备 {device}（{name}）无响应',
    device_responsive: '设备 {device}（{name}）恢复响应', device_memory_held: '{model} 已结束，但仍有 {memory} 设备内存未归还',
    task_dead: '{model} 的任务 {task} 最终失败', batch_state: '批处理 {batch}：{from} → {to}',
    task_instance_registered: '任务实例 {host} 已加入', task_instance_ready: '任务实例 {host} 已就绪', task_instance_unreachable: '任务实例 {host} 无法连接',
    task_instance_draining: '任务实例 {host} 处理完现有任务后退出', task_instance_removed: '任务实例 {host} 已移除',
} satisfies Like<typeof en>;
