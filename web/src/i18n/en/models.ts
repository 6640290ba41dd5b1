// SPDX-License-Identifier: Apache-2.0
// Words of the pages of models, English.
export default {
    lead: 'What clients ask for by name. A request loads what is not loaded.',
    add: 'Add a model', editTitle: 'Change {id}', none: 'No model is defined yet',
    framework: 'Engine', replicas: 'Instances', anyStatus: 'Any status', anyFramework: 'Any engine',
    pin: 'Pin', unpin: 'Unpin', pinned: 'Pinned', fromFile: 'Defined in the configuration file: change it there',
    done: {
        start: '{id} is asked to run', stop: '{id} is being stopped', restart: '{id} is being restarted', pin: '{id} is pinned', unpin: '{id} is no longer pinned',
        delete: '{id} is deleted', added: '{id} is added', changed: '{id} is changed', probed: 'The engine answers',
    },
    ask: {
        stop: 'Stop {id}? Requests that run may end; new ones wait or load it again.',
        restart: 'Restart {id}? Requests that run may end; new ones wait until it is back.',
        delete: 'Delete {id}? It is stopped, and its definition is forgotten. Its files stay.',
    },
    refused: 'This cannot be saved yet', editNote: 'What the engine is started with restarts a running model, drained. The rest holds at once.',
    path: 'Model', url: 'Address', browse: 'Browse…', idHint: 'The name in requests.', idFixed: 'An id stays as it is; aliases give a model more names.', nameHint: 'For people.',
    priorityHint: '1 to 10. Higher ones get the room and may move lower ones aside.',
    memory: 'GPU memory in MB', memoryHint: 'Reserved until what it really takes is measured.', memoryAuto: 'Estimate it from the file',
    frameworkHint: {
        llama_cpp: 'llama-server with a GGUF file.', vllm: 'vLLM in a container or as a program of this machine.', docker: 'Any server in a container.',
        command: 'Any server, by its command line.', openai: 'An endpoint elsewhere that speaks OpenAI.',
    },
    pathHint: {
        llama_cpp: 'A GGUF file on the machine of berth.', vllm: 'A name at Hugging Face, or a folder.', docker: 'What stands for MODEL in the command; an absolute path is mounted.',
        command: 'What stands for MODEL in the command.', openai: 'The base URL, such as https://api.example.com/v1.',
    },
    parameters: 'Parameters of the engine', parametersHint: 'A value is JSON (8192, true, ["a", "b"]) or a text.', parameterName: 'Name of parameter {n}', parameterValue: 'Value of {name}',
    parameterRemove: 'Remove {name}', parameterOther: 'another',
    groupLoading: 'Loading and names', groupPlace: 'Devices, routing and command line', groupHealth: 'Health and retries',
    autostart: 'Load it when berth starts', onDemand: 'A request loads it', pinnedLong: 'Pinned: always loaded, never moved aside',
    keepAlive: 'Stays after the last request', keepAliveHint: 'Seconds, or a duration such as 5m; negative: for ever; empty: as configured.',
    replicasHint: '1 to 32 at a time.', aliases: 'Aliases', aliasesHint: 'Other names in requests, parted by commas.',
    devices: 'Devices', devicesHint: 'None: placement chooses. Some: all of these, no others.',
    strategy: 'Routing strategy', strategyDefault: 'As for all ({name})', strategyHint: 'Which instance gets a request.',
    maxWorkers: 'Tasks at once', maxWorkersHint: '0: as configured.', additional: 'More words for the command line', additionalHint: 'Split as a shell would, without one.',
    healthOn: 'Probe its health', interval: 'Every (s)', timeout: 'Answer within (s)', maxFailures: 'Failures until it is restarted', endpoint: 'Path that is asked', endpointHint: 'Empty: as the engine has it.',
    retryOn: 'Try again when it fails', maxAttempts: 'Tries', initialDelay: 'First pause (s)', maxDelay: 'Longest pause (s)', factor: 'Each pause longer by',
    estimate: {
        title: 'Memory it will need', none: 'Type a path, and what it needs is estimated here.', checking: 'Checking', unknown: 'It cannot be estimated from this.',
        weights: 'Weights', kv: 'KV cache', compute: 'Compute buffers', runtime: 'Runtime', host: 'On the host', valid: 'The definition is valid.',
        each: 'Of one instance', share: 'On {n} devices: {size} each',
        source: { declared: 'as declared', estimated: 'estimated from the file and the parameters', measured: 'as it was measured' },
        fits: { now: 'There is room now', when_room_is_made: 'When room is made', never: 'Does not fit here' },
    },
    files: {
        size: 'Size', modified: 'Changed', noRoots: 'No folder is allowed: files.roots names them', title: 'Choose a model file', folderTitle: 'Choose a file or folder', roots: 'Allowed folders', up: 'Up', empty: 'No models or folders here', take: 'Take this folder',
        cut: 'Only the first entries are shown: narrow the search.',
    },
    tab: { overview: 'Overview', metrics: 'Metrics', log: 'Log', history: 'History', definition: 'Definition' },
    why: {
        title: 'Why it is where it is', need: 'What it needs', source: 'Figure used', declared: 'Declared', estimated: 'Estimated', measured: 'Measured',
        candidates: 'What the devices could give', placeable: 'Placeable', free: 'Free now', movable: 'By moving others', others: 'Of others', needed: 'Needed', moves: 'Would move aside: {models}',
        sources: { declared: 'declared', estimated: 'estimated', measured: 'measured', share: 'a share of the device', unknown: 'unknown' },
    },
    health: { healthy: 'Healthy', unhealthy: 'Not healthy', unknown: 'Health unknown', probe: 'Probe now', last: 'Last probe' },
    endpointOwn: 'Endpoint', instances: 'Instances',
    metrics: {
        requests: 'Requests', errors: 'Errors', perStep: 'in 10 s', response: 'Response time, mean', busy: 'In flight', memory: 'Memory', gpu: 'GPU use', cpu: 'CPU use',
    },
    history: {
        decisions: 'Decisions of placement', events: 'Events', action: 'Decision', took: 'Took', anyAction: 'Any decision', what: 'What', detail: 'Details',
        actions: { scheduled: 'Placed', preempted: 'Moved aside', swapped: 'Gave way', recovered: 'Came back', failed: 'Not placed' }, noDecisions: 'Nothing was decided yet', noEvents: 'Nothing has happened yet',
        success: 'Done', failed: 'Failed', underWay: 'Under way', madeRoom: 'for {model}',
    },
    definition: { copy: 'Copy', note: 'As the API gives and takes it.' },
};
