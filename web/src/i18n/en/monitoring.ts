// SPDX-License-Identifier: Apache-2.0
// Words of one page, English.
export default {
    lead: 'The last hour of the service, its devices, models and host; live.', range: 'Shown', minutes: 'Last {n} minutes', hour: 'Last hour', tabs: 'What is shown',
    tab: { service: 'Service', devices: 'Devices', models: 'Models', host: 'Host' },
    service: {
        requestsTitle: 'Requests per second', tokensTitle: 'Tokens per second', latencyTitle: 'Latency (mean, 95th percentile)', queueTitle: 'In flight and waiting',
        requests: 'answered', errors: 'failed', output: 'output', prompt: 'prompt', firstMean: 'first token', firstP95: 'first token p95',
        totalMean: 'whole', totalP95: 'whole p95', inFlight: 'requests being answered', waiting: 'requests waiting', tasksRunning: 'tasks running', tasksPending: 'tasks waiting',
    },
    device: {
        utilization: 'Utilisation', memory: 'Memory in use', temperature: 'Temperature', power: 'Power', name: '{id}: {name}',
        none: 'berth sees no device.',
    },
    model: { choose: 'Model', open: 'Open the model', requests: 'Requests per second', latency: 'Mean time of a request', errors: 'Failed requests per second', memory: 'Memory in use', none: 'There is no model yet.', mean: 'Mean time', rate: 'Requests/s', errorRate: 'Failed', lastHour: 'Requests in the last hour', busy: 'In flight', gpu: 'GPU use', cpu: 'CPU use' },
    host: { cpu: 'Processor', memory: 'Memory', load: 'Load', network: 'Network', sent: 'sent', received: 'received', load1: '1 min', load5: '5 min', load15: '15 min' },
};
