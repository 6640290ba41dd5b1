// SPDX-License-Identifier: Apache-2.0
// Words of the logs: the page, and the view of one log that other pages show, too. Chinese.
import type en from '../en/logs';
import type { Like } from '..';

export default {
    lead: 'berth 与各模型引擎写下的日志，实时显示。',
    which: '日志', own: 'berth 自身', engine: '{model} 的引擎', level: '最低级别',
    levels: { debug: '调试（全部）', info: '信息', warn: '警告', error: '错误' },
    find: '在日志中查找', pause: '暂停', resume: '继续', none: '尚无日志。',
    ended: '日志已结束。', again: '重新跟踪', paused: '已暂停；有 {n} 行新内容等待显示。',
    following: '实时；{n} 行（此处保留最近 {max} 行）。',
} satisfies Like<typeof en>;
