// SPDX-License-Identifier: Apache-2.0
// Words of one page, Chinese.
import type en from '../en/api';
import type { Like } from '..';

export default {
    lead: '程序如何与 berth 交互。', ownTab: '在新标签页打开文档', docs: '交互式文档',
    docsText: '所有接口的说明（英文），可直接在此试用；此处沿用当前登录。', docsApart: '此控制台托管在别处；文档将在 berth 本身打开。',
    examples: '示例', address: 'OpenAI 客户端的 base URL：',
    example: { chat: '对话（流式）', completion: '补全', embeddings: '向量嵌入', python: 'Python（openai）' },
} satisfies Like<typeof en>;
