// SPDX-License-Identifier: Apache-2.0
// Registers a Task Instance, submits a task to it, and waits for its result. Needs nothing but node >= 22.18:
//
//     node examples/basic_usage.ts http://127.0.0.1:8080 127.0.0.1:8100 my-model
//
// The first argument is where berth listens, the second where the Task Instance does, the third the model that it serves.
const [berth = 'http://127.0.0.1:8080', instance = '127.0.0.1:8100', model = 'my-model'] = process.argv.slice(2);

async function call(method: string, path: string, body?: unknown): Promise<any> {
    const response = await fetch(berth + path, {
        method,
        headers: { 'content-type': 'application/json' }, // with keys on, also: authorization: `Bearer ${key}`
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) {
        throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer.detail)}`);
    }
    return answer;
}

// 1. Register. It may be told again and again: one at the same host and port is the same.
const at = instance.lastIndexOf(':');
const registered = await call('POST', '/ti/register', { host: instance.slice(0, at), port: Number(instance.slice(at + 1)) });
if (registered.status !== 'success') {
    throw new Error(registered.message);
}
console.log(`registered: ${registered.ti_uuid} (${registered.message})`);

// 2. How long would a task wait?
for (const queue of (await call('GET', `/queue/info?model_name=${encodeURIComponent(model)}`)).queues) {
    console.log(`${queue.ti_uuid}: ${queue.waiting_time_expect} ms, give or take ${queue.waiting_time_error} ms`);
}

// 3. Submit. metadata.server_time_cost (ms) may say what the task takes, when that is known.
const { task_id, scheduled_ti } = await call('POST', '/queue/submit', { model_name: model, task_input: { prompt: 'Hello' }, metadata: {} });
console.log(`submitted: ${task_id}, to ${scheduled_ti}`);

// 4. Ask until it has ended.
for (;;) {
    const task = await call('GET', `/task/query?task_id=${encodeURIComponent(task_id)}`);
    if (!['queued', 'scheduled'].includes(task.task_status)) {
        console.log(`${task.task_status}: ${JSON.stringify(task.result)}${task.error ? ` (${task.error})` : ''}`);
        process.exitCode = task.task_status === 'completed' ? 0 : 1;
        break;
    }
    await new Promise((done) => setTimeout(done, 100));
}

export {};
