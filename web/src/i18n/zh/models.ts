// SPDX-License-Identifier: Apache-2.0
// Words of the pages of models, Chinese.
import type en from '../en/models';
import type { Like } from '..';

export default {
    lead: '客户端按名称请求的对象。未加载的模型会由请求触发加载。',
    add: '添加模型', editTitle: '修改 {id}', none: '尚未定义模型',
    framework: '引擎', replicas: '实例数', anyStatus: '所有状态', anyFramework: '所有引擎',
    pin: '固定', unpin: '取消固定', pinned: '已固定', fromFile: '在配置文件中定义：请在文件中修改',
    done: {
        start: '已请求运行 {id}', stop: '{id} 正在停止', restart: '{id} 正在重启', pin: '{id} 已固定', unpin: '{id} 已取消固定',
        delete: '{id} 已删除', added: '{id} 已添加', changed: '{id} 已修改', probed: '引擎有应答',
    },
    ask: {
        stop: '停止 {id}？正在处理的请求可能中断；新请求会等待或重新加载它。',
        restart: '重启 {id}？正在处理的请求可能中断；新请求会等到它恢复。',
        delete: '删除 {id}？它会被停止，定义会被移除。文件保留。',
    },
    refused: '暂时无法保存', editNote: '影响引擎启动的改动会排空后重启正在运行的模型，其余改动立即生效。',
    path: '模型', url: '地址', browse: '浏览…', idHint: '请求中使用的名称。', idFixed: 'id 不可更改；可用别名增加名称。', nameHint: '供人阅读。',
    priorityHint: '1 到 10。优先级高的先得到空间，并可让优先级低的让位。',
    memory: 'GPU 内存（MB）', memoryHint: '在测得实际占用之前按此预留。', memoryAuto: '根据文件估算',
    frameworkHint: {
        llama_cpp: '用 llama-server 运行 GGUF 文件。', vllm: '以容器或本机程序运行 vLLM。', docker: '容器中的任意服务。',
        command: '用命令行启动的任意服务。', openai: '其他地方的 OpenAI 兼容接口。',
    },
    pathHint: {
        llama_cpp: 'berth 所在机器上的 GGUF 文件。', vllm: 'Hugging Face 上的名称，或一个目录。', docker: '命令中 MODEL 代表的内容；绝对路径会被挂载。',
        command: '命令中 MODEL 代表的内容。', openai: '基础 URL，例如 https://api.example.com/v1。',
    },
    parameters: '引擎参数', parametersHint: '值为 JSON（8192、true、["a", "b"]）或文本。', parameterName: '第 {n} 个参数的名称', parameterValue: '{name} 的值',
    parameterRemove: '移除 {name}', parameterOther: '其他',
    groupLoading: '加载与名称', groupPlace: '设备、路由与命令行', groupHealth: '健康检查与重试',
    autostart: 'berth 启动时加载', onDemand: '由请求触发加载', pinnedLong: '固定：始终加载，从不让位',
    keepAlive: '最后一次请求后保留', keepAliveHint: '秒数，或 5m 这样的时长；负数：永久；留空：按配置。',
    replicasHint: '同时 1 到 32 个。', aliases: '别名', aliasesHint: '请求中可用的其他名称，用逗号分隔。',
    devices: '设备', devicesHint: '不选：由放置决定。选择：只用且全用这些。',
    strategy: '路由策略', strategyDefault: '与全局相同（{name}）', strategyHint: '请求分配给哪个实例。',
    maxWorkers: '同时执行的任务数', maxWorkersHint: '0：按配置。', additional: '附加命令行参数', additionalHint: '按 shell 规则拆分，但不经过 shell。',
    healthOn: '检查健康状态', interval: '间隔（秒）', timeout: '应答时限（秒）', maxFailures: '失败多少次后重启', endpoint: '探测路径', endpointHint: '留空：用引擎默认值。',
    retryOn: '失败后重试', maxAttempts: '尝试次数', initialDelay: '首次间隔（秒）', maxDelay: '最长间隔（秒）', factor: '间隔倍增系数',
    estimate: {
        title: '所需内存', none: '输入路径后，这里会估算所需内存。', checking: '检查中', unknown: '无法由此估算。',
        weights: '权重', kv: 'KV 缓存', compute: '计算缓冲', runtime: '运行时', host: '主机内存', valid: '定义有效。',
        each: '单个实例', share: '{n} 个设备：每个 {size}',
        source: { declared: '按声明', estimated: '根据文件和参数估算', measured: '按实测' },
        fits: { now: '现在就放得下', when_room_is_made: '腾出空间后放得下', never: '这里放不下' },
    },
    files: {
        size: '大小', modified: '修改时间', noRoots: '没有允许的目录：用 files.roots 指定', title: '选择模型文件', folderTitle: '选择文件或目录', roots: '允许的目录', up: '上一级', empty: '这里没有模型或目录', take: '使用此目录',
        cut: '只显示了前面的条目：请缩小范围。',
    },
    tab: { overview: '概况', metrics: '指标', log: '日志', history: '历史', definition: '定义' },
    why: {
        title: '为何如此放置', need: '所需资源', source: '采用的数值', declared: '声明', estimated: '估算', measured: '实测',
        candidates: '各设备可提供', placeable: '可放置', free: '当前空闲', movable: '移走其他模型后', others: '其他进程', needed: '需要', moves: '需要让位：{models}',
        sources: { declared: '声明', estimated: '估算', measured: '实测', share: '设备的一定比例', unknown: '未知' },
    },
    health: { healthy: '健康', unhealthy: '不健康', unknown: '健康状态未知', probe: '立即检查', last: '上次检查' },
    endpointOwn: '请求地址', instances: '实例',
    history: {
        decisions: '放置决定', events: '事件', action: '决定', took: '用时', anyAction: '所有决定', what: '内容', detail: '详情',
        actions: { scheduled: '已放置', preempted: '已让位', swapped: '轮换让出', recovered: '已恢复', failed: '未能放置' }, noDecisions: '尚无决定', noEvents: '尚无事件',
        success: '完成', failed: '失败', underWay: '进行中', madeRoom: '让给 {model}',
    },
    definition: { copy: '复制', note: '与 API 收发的内容一致。' },
} satisfies Like<typeof en>;
