// SPDX-License-Identifier: Apache-2.0
// Words of one page, Chinese.
import type en from '../en/overview';
import type { Like } from '..';

export default {
    lead: 'berth 当前的运行情况。', schedule: '调度模型', submit: '提交任务', addModel: '添加模型',
    figures: '指标', running: '运行中的模型', queued: '排队中的模型', failed: '失败的模型', total: '模型总数',
    memory: '已用 {used}，共 {total}', requests: '请求/秒', inFlight: '{n} 个正在应答', tokens: 'Token/秒', prompt: '提示词 {n} Token/秒',
    wait: '排队等待', waiting: '当前等待 {n} 个', tasksRunning: '运行中的任务', tasksWaiting: '等待中的任务',
    attention: '需要关注', calm: '没有需要关注的事项。', unresponsive: '无响应', unresponsiveText: '读取此设备时卡住；所示数值已过时。',
    deadTasks: '最终失败的任务：{n} 个', deadTasksText: '重试次数已用尽，可以再次重试或删除。',
    events: '最近事件',
    first: {
        title: '欢迎使用 berth', text: '还没有模型。三步得到第一个回答：',
        add: '添加模型', addText: '为它命名并选择文件，或为 vLLM 选择 Hugging Face 模型；berth 会在设备上为它找到位置。',
        chat: '在试用台与它对话', chatText: 'berth 会在第一个请求到来时启动它。',
        use: '在程序中使用', useText: 'berth 兼容 OpenAI 的 API：把此地址填入客户端即可。',
    },
} satisfies Like<typeof en>;
