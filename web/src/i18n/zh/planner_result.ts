// SPDX-License-Identifier: Apache-2.0
// Words of the planner's answers, Chinese.
import type en from '../en/planner_result';
import type { Like } from '..';

export default {
    result: {
        back: '规划器', again: '修改后重新规划', sure: '删除这次评估及其结果？', deleted: '评估已删除。',
        cancelSure: '取消这次评估？目前找到的内容会丢失。', cancelled: '评估已取消。', stop: '取消评估',
        asked: '提交于 {at}', took: '用时 {time}', json: 'JSON', csv: 'CSV', exportAs: '导出为 {format}',
        question: '问题', noQuestion: '没有保存所提的问题：这次评估是导入的。',
        fact: {
            model: '模型', precision: '精度', chip: '芯片', chips: '芯片数', lengths: 'Token', load: '负载', prefix: '提示缓存命中', engine: '引擎', limits: '必须满足', search: '搜索目标',
        },
        chipsOf: '最多 {most} 个，共 {all} 个', inOut: '输入 {input}，输出 {output}',
        load: { rate: '每秒 {n} 个请求', batch: '同时 {n} 个请求', slo: '在限制之内尽可能多的请求' },
        search: {
            manual: '指定方案：{plan}', cost: '成本最低', throughput: '每秒 token 最多', latency: '延迟最短', efficiency: '芯片利用率最高',
            balanced: '综合最优', chips: '芯片最少',
        },
        unit: { tokens: 'token/s' },
        running: '正在搜索', waiting: '等待执行', position: '队列第 {position} 位，共 {length} 个', failed: '评估失败', wasCancelled: '评估已取消',
        progress: '搜索进度', liveNote: '搜索结束后本页会自动显示结果；可以先离开。',
        best: '最佳方案，{n} 个可行方案中的第一个', rank: '第 {rank} 个方案',
        words: {
            replicas: '{n} 份模型副本并列', tp: '每层由 {n} 个芯片共同计算', pp: '各层依次分为 {n} 个阶段',
            adp: '{n} 组各自计算注意力', ep: '专家分为 {n} 份', moeTp: '每个专家切分到 {n} 个芯片',
            sp: '{n} 个芯片做序列并行', prefill: '另有 {n} 个芯片只处理提示', single: '一个芯片容纳整个模型',
        },
        delivers: '在 {chips} 个芯片上同时服务 {users} 个请求，每秒输出 {tokens} 个 token，每个用户 {each} 个。',
        sensitive: '留给 KV 缓存的内存很少，小误差也会有明显影响。',
        slo: { holds: '满足', close: '满足，但误差区间超出', missed: '未满足' }, noLimits: '没有设置限制。',
        band: '五次中四次在 {low} 至 {high}',
        hint: {
            cost: '每百万输出 token', joules: '按芯片满功率',
        },
        column: {
            plan: '方案', chips: '芯片', concurrency: '并发', ttft: 'TTFT', tpot: 'TPOT', e2e: '完整回答', throughput: 'Token/s', perChip: '每芯片 token/s', perUser: '每用户 token/s',
            requests: '请求/s', chipHours: '每百万的芯片小时', cost: '每百万的成本', joules: '每 token 焦耳', memory: '内存', mfu: 'MFU', mbu: 'MBU', score: '得分', reason: '原因',
        },
        plans: '方案列表', show: '显示', feasible: '可行方案（{n}）', refusedOnes: '被拒方案（{n}）', columns: '列', pareto: '没有其他方案在每芯片和每用户的 token/s 上同时更高',
        frontMark: '在前沿上', choose: '选择一个方案，可在上方、图表和时间线中查看。',
        none: '没有可行方案', noneText: '尝试过的方案全部被拒。原因和数字见下方；更多芯片、更低精度或更宽松的限制可能有帮助。',
        front: '吞吐量与速度', across: '横轴', front_perUser: '每用户 token/s', front_ttft: 'TTFT（ms）', front_tpot: 'TPOT（ms）', front_e2e: '完整回答（ms）',
        onFront: '未被超过', others: '被其他方案超过', thisPlan: '当前显示的方案', frontHint: '点击一个点可查看该方案。',
        memory: '最满芯片的内存', memoryPart: { weights: '权重', kv: '已用 KV 缓存', kvFree: '空闲 KV 缓存', activations: '激活', runtime: '运行时', rest: '不可用' }, capacity: '容量',
        timeOf: { decode: '一个解码步的时间分布', prefill: '处理提示的时间分布' }, phase: { decode: '解码', prefill: '预填充' },
        work: { gemm: '矩阵乘', attention: '注意力', experts: '专家', communication: '通信', elementwise: '逐元素', host: '主机', bubble: '空闲' },
        timeline: '{plan} 的时间线', timelineText: '各阶段从提示的第一块起的工作：首个 token 平均 {ttft}（含等待），预填充阶段空闲最多 {bubble}。拖动下方滑条的两端，或按住 Ctrl 滚动，即可缩放。',
        tokens: '绘制的 token 数', stage: '阶段 {n}', stageOf: '{phase} {n}', noTimeline: '时间线需要原来的问题，导入的评估没有保存它。',
        refused: '被拒的方案', refusedText: '{n} 个方案被拒，按违反的条件分组。保留了其中 {shown} 个及其数字。',
        bound: {
            limits: '不满足限制', bad_plan: '不能整除模型', bad_experts: '不能整除专家', weights: '权重放不下', one_request: '放不下一个请求',
            batch: '放不下整批请求', unsustainable: '到达的请求超过处理能力', chips_short: '芯片不够', other: '其他原因',
        },
        example: '例子', noneRefused: '没有方案被拒。',
        stats: { title: '搜索过程', total: '尝试的方案', feasible: '可行', refused: '被拒', pruned: '略过', evaluations: '计算的负载', took: '用时' },
    },
    compare: {
        title: '比较实验', text: '并排显示各实验的最佳方案。星号表示该行最优；着色的问题表示不同之处。',
        pick: '选择要比较的实验', pickText: '两到十个实验。', experiments: '实验', chosen: '已选 {n} 个', show: '比较',
        few: '请至少选择两个实验。', many: '最多可以比较十个。', question: '问题', answers: '答案', differs: '不同', best: '最优',
        none: '没有可行方案', open: '查看结果', of: '方案', csv: 'CSV', json: 'JSON', jsonNote: 'berth 可以导入的实验文件',
        word: { tried: '尝试的方案', feasible: '可行方案' }, charts: '图示', figure: '项目', higher: '越大越好', lower: '越小越好',
        evaluations: '评估', tasks: '评估 {done}/{all}',
    },
} satisfies Like<typeof en>;
