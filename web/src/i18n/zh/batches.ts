// SPDX-License-Identifier: Apache-2.0
// Words of the batches page, Chinese.
import type en from '../en/batches';
import type { Like } from '..';

export default {
    text: '整个请求文件，在其他一切之后逐条处理。',
    make: {
        title: '新建批处理', drop: '将 JSONL 文件拖到这里，或选择文件', choose: '选择文件', other: '选择其他文件', lines: '{n} 行，{size}', first: '前几行', endpoint: '端点', window: '允许时长', windowHint: '如 24h 或 30m 的时长。届时未运行的将被放弃。',
        start: '上传并开始', uploading: '正在上传…', started: '批处理 {id} 已开始。', notJson: '第 {n} 行不是 JSON 对象。', noEndpoint: '第 {n} 行没有 url。', mixed: '第 {n} 行的端点是 {url}，其他行是 {endpoint}。', example: '每行的格式如下：', tooMany: '一次一个文件。',
    },
    list: { title: '批处理', none: '还没有批处理。', endpoint: '端点', progress: '进度', made: '创建时间', counts: '{done} / {total}', failedCount: '{n} 个失败', newer: '较新', older: '较旧', cancel: '取消', cancelIt: '确认取消', cancelAsk: '取消 {id}？已运行的结果会保留在其文件中。', cancelled: '{id} 正在取消。', open: '详情' },
    status: { validating: '检查中', failed: '被拒绝', in_progress: '运行中', finalizing: '收尾中', completed: '已完成', expired: '已超时', cancelling: '取消中', cancelled: '已取消' },
    detail: {
        title: '批处理', input: '请求', output: '回答', errors: '错误', wrong: '文件中的问题', line: '第 {n} 行', noOutput: '还没有回答。', window: '时限', began: '开始', ended: '结束', metadata: '元数据',
        previewEmpty: '文件为空。', previewCut: '仅显示开头部分。',
    },
    files: { title: '文件', none: '还没有文件。', name: '名称', size: '大小', purpose: '用途', made: '创建时间', expires: '保留至 {time}', delete: '删除', deleteAsk: '永久删除 {name}？', deleted: '{name} 已删除。', purposeBatch: '请求', purposeOutput: '回答', run: '运行' },
} satisfies Like<typeof en>;
