// SPDX-License-Identifier: Apache-2.0
// Words of asking the planner, of its jobs and of topologies, Chinese.
import type en from '../en/planner_ask';
import type { Like } from '..';

export default {
    ask: {
        tab: '提问', lead: '在购买或启动之前，计算某个模型在给定芯片上的表现。',
        examples: '从示例开始',
        example: {
            eight: '8 张 H100 跑 70B', experts: '64 片跑 DeepSeek-V3', card: '单张 RTX 4090 跑 8B', cheapest: '每秒 2 个请求最少要几片', manual: '手工指定：tp4 pp2', offline: '4 张 A100 离线批量',
        },
        own: '自定义', known: '按名称',
        model: '模型', modelFrom: '模型来源', ownDims: '自填参数', configFile: 'Hugging Face 的 config.json', configText: '文件内容', configHint: '粘贴到这里，或在上面选择文件。',
        params: '{n} B 参数', activeParams: '，其中激活 {n} B', weighs: '权重 {n} GB', kvBytes: '每个 token 的 KV 缓存 {n}',
        weights: '权重精度', kv: 'KV 缓存精度', engine: '推理引擎', formatDefault: '按模型自身', keepModel: '保存此模型', keptModel: '已保存模型 {name}。',
        dim: {
            layers: '层数', hidden: '隐藏维度', heads: '注意力头数', kvHeads: 'KV 头数', headDim: '每头维度', inter: 'FFN 维度', vocab: '词表大小',
            experts: '专家数', topK: '每 token 专家数', expertInter: '专家维度', shared: '共享专家数', denseLayers: '开头的稠密层数',
        },
        chips: '芯片', chipFrom: '芯片来源', chip: '芯片', ownFigures: '自填指标', linked: '与相邻芯片 {n} GB/s', keepChip: '保存此芯片', keptChip: '已保存芯片 {name}。',
        figure: {
            bf16: 'BF16 稠密算力', fp8: 'FP8 稠密算力', memory: '显存', bandwidth: '显存带宽', link: '相邻互联单向带宽', linked: '如此互联的芯片数', network: '网络单向带宽', price: '每小时价格',
        },
        places: '摆放方式', byCount: '按数量', byTopology: '按拓扑', count: '芯片数', perNode: '每节点芯片数', perNodeHint: '节点内走高速互联，节点间走网络。',
        topology: '拓扑', chooseTopology: '请选择', topologyOfQuestion: '原问题的拓扑', topologyChips: '{n} 片芯片', editTopologies: '绘制和保存拓扑',
        mixed: '其中有多种芯片（{kinds}）；规划时全部按上面所选的芯片计算。',
        load: '负载与速度', howMany: '请求量', loadSlo: '满足时延下的最多', loadBatch: '固定并发', loadRate: '固定速率', loadOffline: '离线',
        loadHint: {
            slo: '求出在满足下列时延的前提下最多能同时处理多少请求。', batch: '始终有这么多请求在处理：一个结束，下一个才开始。',
            rate: '请求随机到达，平均每秒这么多。', offline: '无人等待：显存容得下多少就同时处理多少。',
        },
        batch: '同时处理的请求数', rate: '请求数', perSecond: '每秒', tokens: 'token', input: '平均输入', output: '平均输出',
        ttft: '首个 token 不超过', tpot: '后续每个不超过', e2e: '完整回答不超过', trialTtft: '首个 token 时间', trialTpot: '后续每个 token 时间', noLimit: '不限', engineDefault: '按引擎默认',
        moreLoad: '长度分布、前缀缓存、投机解码', prefixHit: '前缀命中', prefixHint: '提示词中已缓存的比例。', inputCv: '输入长度变异系数', outputCv: '输出长度变异系数', cvHint: '标准差除以均值；0 表示长度一致。',
        drafts: '每步草稿 token 数', draftsHint: '投机解码；0 表示不用。', acceptance: '草稿接受率', chunk: '每步提示词 token 数',
        search: '方案', mode: '方案如何产生', auto: '全部搜索', manual: '手工指定', objective: '何为最优', maxChips: '最多芯片数', allChips: '全部 {n} 片',
        aim: { cost: '每 token 最便宜', throughput: '吞吐最高', latency: '回答最快', efficiency: '芯片利用最好', balanced: '加权评分', chips: '芯片最少' },
        aimHint: {
            cost: '每片芯片（或每单位价格）的输出 token/s 最多。', throughput: '总输出 token/s 最多。', latency: '完整回答用时最短。',
            efficiency: '算力与带宽的利用率最高。', balanced: '四项评分按下面的权重相加。', chips: '满足时延的最小方案。',
        },
        scoreWeights: '评分权重', weight: { latency: '时延', throughput: '吞吐', efficiency: '效率', balance: '均衡' },
        moreSearch: '限制与规则', topK: '保留方案数', minThroughput: '输出至少', tokensPerSecond: 'token/s', maxMemory: '引擎占用显存比例',
        rule: {
            withinNode: '张量并行不跨节点', divideHeads: '张量并行整除 KV 头数', evenLayers: '流水线各级层数相同', disaggregated: '也尝试预填充用另外的芯片',
        },
        degree: { tp: '张量 (TP)', pp: '流水线 (PP)', dp: '数据 (DP)', ep: '专家 (EP)', moe_tp: '专家张量 (MoE-TP)', sp: '序列并行 (SP)' },
        apart: '由另外的芯片处理提示（需要给出同时的请求数）', apartPlan: '处理提示的芯片的方案',
        chipsNeeded: 'TP × PP × DP = {needed}，共有 {present} 片', tooManyChips: 'TP × PP × DP = {needed} 片，但只有 {present} 片。', mfu: '算力利用率 (MFU)', mbu: '带宽利用率 (MBU)',
        submitTitle: '评估', name: '实验', nameHint: '同名评估归在一起，可以相互比较。', description: '说明',
        priority1: '低', priority2: '普通', priority3: '高', refused: '规划器无法接受这个问题：', evaluate: '开始评估', toResult: '查看结果', submitted: '已提交“{name}”。',
        broughtBack: '这是“{name}”的问题。', noRequest: '此评估是导入的，没有原问题。',
    },
    jobs: {
        now: '当前评估', history: '评估', evaluations: '评估数', experiments: '实验', place: '排队第 {position} 位，共 {length} 个', since: '自 {time} 起',
        cancel: '取消', cancelDo: '取消评估', cancelOne: '取消评估“{name}”？', cancelled: '正在取消“{name}”。', cancelMany: '取消选中的 {n} 个评估？已结束的保持不变。',
        deleteMany: '删除 {n} 个评估及其结果？正在运行的会被停止。', many: '已完成：{n} 个', notMany: '{n} 个未成功：{reason}', none: '还没有评估：请先提问。', anyStatus: '所有状态', selected: '已选 {n} 个', again: '再次提问',
        workers: '同时搜索数', workersKept: '最多同时进行 {n} 个搜索。', inUse: '运行 {running} 个，等待 {waiting} 个',
        noExperiments: '还没有实验：第一个评估会创建一个。', completed: '已完成', compare: '比较', compareHint: '请选择 2 至 10 个实验', exportSome: '导出 {n} 个', exportAll: '全部导出', import: '导入',
        deleteExperiments: '删除 {n} 个实验及其全部评估和结果？', deletedExperiments: '已删除：{n} 个',
        importTitle: '导入实验', importFile: '文件', importHint: '由导出功能生成的文件。确认之前不会改动任何内容。', whatToDo: '如何处理', exists: '已存在',
        importNew: '导入', skip: '跳过', overwrite: '覆盖已有', rename: '改名导入', newName: '新名称', copyOf: '{name}（副本）', take: '导入 {n} 个',
    },
    topology: {
        title: '拓扑', lead: '机群、机架、板卡、芯片以及它们的互联：规划所依据的硬件。',
        kept: '已保存的拓扑', none: '还没有保存的拓扑。请绘制一个并保存。', new: '新建', open: '打开', name: '名称', nameHint: '可用字母、数字、空格和 . _ -', description: '说明', saved: '已保存“{name}”。',
        deleteOne: '删除拓扑“{name}”？', deleted: '已删除“{name}”。', overwrite: '拓扑“{name}”已存在。要替换吗？', replace: '替换', discard: '未保存的内容将丢失。继续吗？', goOn: '继续', plan: '用它规划', planHint: '请先保存',
        presets: '从预设开始', preset: { dgx: '一台 DGX H100', hgx4: '4 台 HGX H100', superpod: '32 台 DGX 的 SuperPOD', nvl72: 'GB200 NVL72', pcie: 'PCIe 服务器，8 张 L40S', ascend: '昇腾 910B，16 节点' },
        counts: '按数量生成', pods: '机群数', racks: '每机群机架数', boards: '每机架板卡数', chips: '每板芯片数', make: '生成', tree: '组成', pod: '机群', rack: '机架', board: '板卡', chip: '芯片', count: '数量', label: '名称',
        add: '添加', addPod: '添加机群', addRack: '添加机架', addBoard: '添加板卡', addChips: '添加芯片', duplicate: '复制', remove: '移除', chipType: '芯片',
        links: '互联', linksHint: '每片芯片，单向。留空则按芯片自身的互联。', bandwidth: '带宽', latency: '时延', linkPreset: '预设', ownLink: '自填', chipLink: '按芯片自身',
        level: { board: '板内', rack: '同机架板卡之间', pod: '同机群机架之间', cluster: '机群之间' },
        totals: '合计', totalChips: '芯片', totalMemory: '显存', totalCompute: 'BF16 算力', totalBandwidth: '显存带宽', totalPower: '芯片功率', unknownChips: '不含没有指标的 {types}',
        picture: '示意图', pictureOf: '机群 {pods} · 机架 {racks} · 板卡 {boards} · 芯片 {chips}', json: 'JSON 形式', jsonHint: '可复制，或粘贴另一份后采用。', jsonTake: '采用', jsonBad: '这不是拓扑：{reason}', jsonNothing: '其中没有芯片',
        empty: '其中还没有芯片。', tooMany: '{n} 片超过了可规划的 {max} 片。', tooLarge: '超过 8,192 片时，只有所有机群和机架都相同才能保存。', unsaved: '未保存',
    },
} satisfies Like<typeof en>;
