// SPDX-License-Identifier: Apache-2.0
// Words of one page, Chinese.
import type en from '../en/configuration';
import type { Like } from '..';

export default {
    lead: 'berth 当前运行所用的全部选项。', how: '如何修改', file: 'berth 启动时使用的文件：', noFile: 'berth 启动时没有使用文件；所有值都是内置值或来自环境变量。',
    howText: '修改文件后向 berth 发送 SIGHUP 信号：可在运行中更改的选项立即生效，并告知哪些需要重启。文件有错误时不做任何更改。',
    howEnvironment: '环境变量优先于文件：BERTH_段_选项，例如',
    search: '查找选项', changedOnly: '仅显示非默认值', count: '{n} 个选项，其中 {own} 个已设置', option: '选项', value: '值', default: '默认值', source: '来源', empty: '空', secret: '（机密，不显示）',
    words: '可取：{words}。', range: '范围：{range}。', reload: '运行中即可生效。', restart: '需要重启。',
} satisfies Like<typeof en>;
