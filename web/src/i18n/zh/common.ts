// SPDX-License-Identifier: Apache-2.0
// Words that several pages share, Chinese.
import type en from '../en/common';
import type { Like } from '..';

export default {
    nav: {
        title: '页面', skip: '跳到内容', open: '打开菜单', close: '关闭菜单', home: 'berth',
        overview: '总览', models: '模型', scheduler: '调度', tasks: '任务', batches: '批处理', playground: '试用台',
        planner: '规划', instances: '实例与路由', monitoring: '监控', logs: '日志', configuration: '配置',
        api: 'API', system: '系统',
        groupServe: '服务', groupWork: '作业', groupPlan: '规划', groupWatch: '观察', groupAdmin: '管理',
        missing: '没有这个页面。',
    },
    live: { connecting: '连接中', live: '实时', waiting: '连接中断，正在重试', refused: '未登录', retry: '立即重试' },
    theme: { label: '配色', auto: '跟随系统', light: '浅色', dark: '深色' },
    language: { label: '语言' },
    sign: {
        title: '登录', explain: '此 berth 需要密钥。密钥在首次启动时打印过。', key: '密钥', base: 'berth 的地址',
        baseHint: '留空：与本页面同源。', in: '登录', out: '退出', wrong: 'berth 不接受此密钥。', change: '连接设置',
    },
    state: {
        loading: '加载中', failed: '读取失败', unreachable: 'berth 没有应答。', forbidden: '没有权限',
        forbiddenText: '需要有相应权限的密钥。', empty: '暂无内容', noMatch: '没有匹配项', retry: '重试',
        stale: '显示的内容可能已过时：{reason}',
    },
    act: {
        edit: '编辑', save: '保存', cancel: '取消', close: '关闭', delete: '删除', start: '启动', stop: '停止', restart: '重启',
        retry: '重试', refresh: '刷新', export: '导出', view: '查看', more: '更多', search: '搜索', clear: '清除', copy: '复制', copied: '已复制', noCopy: '浏览器不允许在此复制：请选中文本后手动复制。',
        apply: '应用', submit: '提交', back: '返回', all: '全部', actions: '操作', select: '选择', reset: '重置', download: '下载',
    },
    list: { total: '共 {n} 条' },
    chart: { table: '表格显示', picture: '图表显示', none: '暂无数据', time: '时间' },
    word: {
        model: '模型', models: '模型', name: '名称', id: '编号', status: '状态', priority: '优先级', device: '设备', devices: '设备', memory: '内存',
        time: '时间', created: '创建时间', started: '开始时间', ended: '结束时间', type: '类型', reason: '原因', message: '消息', error: '错误', instance: '实例',
        yes: '是', no: '否', none: '无', unknown: '未知', total: '总计', used: '已用', free: '空闲', running: '运行中', queued: '排队中', failed: '失败',
        position: '位置', duration: '时长', result: '结果', progress: '进度', from: '从', to: '到', version: '版本', uptime: '已运行',
    },
    modelStatus: {
        stopped: '已停止', queued: '排队中', starting: '启动中', running: '运行中', error: '失败', stopping: '停止中', preempted: '已让位',
    },
    taskStatus: { pending: '等待中', running: '运行中', completed: '已完成', failed: '失败', cancelled: '已取消' },
} satisfies Like<typeof en>;
