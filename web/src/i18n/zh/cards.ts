// SPDX-License-Identifier: Apache-2.0
// Words of the cards of what runs, Chinese.
import type en from '../en/cards';
import type { Like } from '..';

export default {
    title: '正在运行', count: '{n} 个运行中', task: '任务 {id}', more: '另有 {n} 个', fold: '收起', unfold: '展开', cancel: '取消', cancelAsk: '取消 {name}？', cancelIt: '确认取消',
    returned: '仍在运行：{n} 个，卡片已恢复。', progress: '进度', evaluation: '评估', since: '已运行 {time}',
    notify: { label: '工作结束时发送桌面通知', denied: '浏览器不允许此页面发送通知。', unavailable: '通知需要 HTTPS 或 localhost。', many: '{n} 个已结束', ended: '{name}：{status}' },
} satisfies Like<typeof en>;
