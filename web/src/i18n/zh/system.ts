// SPDX-License-Identifier: Apache-2.0
// Words of one page, Chinese.
import type en from '../en/system';
import type { Like } from '..';

export default {
    lead: 'berth 自身及其所在的机器。',
    status: { healthy: '健康', degraded: '降级', unhealthy: '不健康', warning: '警告', critical: '严重' },
    component: { database: '数据库', gpu: '设备', disk: '磁盘', memory: '内存' },
    health: '健康状况', checked: '检查于 {time}', program: 'berth', started: '启动时间',
    store: '数据库', queue: '任务队列', queueKind: '保存在数据库中；{running} 个运行中，{pending} 个等待中', dataDir: '数据目录', configFile: '配置文件', listeners: '监听地址', noFile: '无：使用内置值',
    takesChanges: '{kind}，{size}；可写入', readOnly: '{kind}，{size}；当前不可写入',
    host: '主机', hostname: '名称', kernel: '系统', processor: '处理器', cores: '{logical} 线程，{physical} 核', booted: '开机时间', clock: '主机时钟',
    resources: '资源', cpu: '处理器', memory: '内存', disk: '数据目录所在磁盘', load: '负载（1、5、15 分钟）', used: '已用 {used}，共 {total}',
} satisfies Like<typeof en>;
