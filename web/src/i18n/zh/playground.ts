// SPDX-License-Identifier: Apache-2.0
// Words of the playground, Chinese.
import type en from '../en/playground';
import type { Like } from '..';

export default {
    lead: '与任意模型对话，并查看其开销。', settings: '模型与设置', conversation: '对话', empty: '请提问：对话只保存在此标签页。',
    loads: '尚未加载：首个请求会加载它。', system: '系统提示词', temperature: '温度', maxTokens: '最多 token', own: '默认',
    question: '输入消息（Enter 发送，Shift+Enter 换行）', send: '发送', stop: '停止', again: '重新提问', clear: '清空', curl: '复制为 curl',
    user: '您', assistant: '回答', thought: '思考过程', stopped: '已停止', perSecond: '{n} token/秒',
    waiting: '等待应答，已 {s} 秒', firstToken: '引擎已收到，等待首个 token，已 {s} 秒',
    inLine: '排队中（{n} 个请求在等待此模型），已 {s} 秒', place: '排在第 {place} 位，约需 {wait} 秒，已 {s} 秒',
    figure: { first: '首 token', rate: '速度', tokens: 'Token 数', total: '总计', queue: '排队', instance: '实例', finish: '结束原因' },
} satisfies Like<typeof en>;
