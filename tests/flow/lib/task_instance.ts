// SPDX-License-Identifier: Apache-2.0
// A stand-in for a Task Instance: a real HTTP server that speaks either generation of the protocol, works on its queue one task
// after the other (or when it is told to), and has the faults that a test asks for.
import http from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Given {
    id: string; // its own name for the task
    input: any;
    metadata: any;
    given: string | undefined; // the scheduler's name, in the later generation
    done: boolean;
    result: any;
}

export interface Faults {
    silent?: boolean; // takes requests, never answers
    refuses?: number; // status of every enqueue
    badPredict?: boolean;
    slowMs?: number; // each answer
}

export interface TaskInstanceOptions {
    model?: string | null;
    generation?: 2 | 3;
    workMs?: number; // undefined: works when it is told to
    berth?: string; // where completions are told
    expected?: number;
    error?: number;
    port?: number;
    withResult?: boolean; // completions carry the result
}

const live = new Set<TaskInstance>();
process.on('exit', () => live.clear());

export class TaskInstance {
    readonly tasks: Given[] = [];
    readonly asked: string[] = []; // "GET /status" …
    faults: Faults = {};
    options: Required<Omit<TaskInstanceOptions, 'berth' | 'workMs' | 'port'>> & TaskInstanceOptions;
    private server: http.Server | undefined;
    private sequence = 0;
    port = 0;

    private constructor(options: TaskInstanceOptions) {
        this.options = { model: 'ocr', generation: 2, expected: 0, error: 0, withResult: false, ...options };
    }

    static async start(options: TaskInstanceOptions = {}): Promise<TaskInstance> {
        const instance = new TaskInstance(options);
        await instance.up(options.port ?? 0);
        live.add(instance);
        return instance;
    }

    get name(): string {
        return `127.0.0.1:${this.port}`;
    }

    async up(port = this.port): Promise<void> {
        const server = http.createServer((request, response) => this.take(request, response));
        await new Promise<void>((done, fail) => {
            server.once('error', fail);
            server.listen(port, '127.0.0.1', done);
        });
        server.unref();
        this.server = server;
        this.port = (server.address() as AddressInfo).port;
    }

    /** Nothing listens any more, and every connection is cut. */
    async down(): Promise<void> {
        const { server } = this;
        this.server = undefined;
        server?.closeAllConnections();
        await new Promise<void>((done) => (server ? server.close(() => done()) : done()));
        live.delete(this);
    }

    /** Ends a task; tells the scheduler unless it is not to. */
    async complete(task: Given, { result = { ok: task.input }, ms = 5, tell = true }: { result?: any; ms?: number; tell?: boolean } = {}): Promise<any> {
        task.done = true;
        task.result = result;
        if (!tell || !this.options.berth) {
            return undefined;
        }
        const answer = await fetch(`${this.options.berth}/notify/task_complete`, {
            method: 'POST', headers: { 'content-type': 'application/json' },
            body: JSON.stringify({ task_id: task.id, instance_id: this.name, execution_time: ms, ...(this.options.withResult ? { result } : {}) }),
        });
        return answer.json();
    }

    private get waiting(): number {
        return this.tasks.filter((task) => !task.done).length;
    }

    private async take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
        const parts: Buffer[] = [];
        for await (const part of request) {
            parts.push(part as Buffer);
        }
        this.asked.push(`${request.method} ${request.url}`);
        if (this.faults.silent) {
            return;
        }
        if (this.faults.slowMs) {
            await new Promise((done) => setTimeout(done, this.faults.slowMs));
        }
        const [status, body] = this.answer(request.method!, request.url!, parts.length > 0 ? JSON.parse(Buffer.concat(parts).toString()) : {});
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify(body));
    }

    private answer(method: string, url: string, body: any): [number, unknown] {
        const { generation, model, expected, error } = this.options;
        const what = `${method} ${url}`;
        const state = this.waiting > 0 ? 'running' : 'idle';
        if (what === 'GET /status' && generation === 2) {
            return [200, { instance_id: this.name, model_type: model, replicas_running: model === null ? 0 : 1, queue_size: this.waiting, status: state }];
        }
        if (what === 'GET /info' && generation === 3) {
            return [200, { deployed_model: { model_name: model, replicas: 1 }, queue_info: { length_of_queue: this.waiting }, instance_status: state }];
        }
        if (what === 'POST /queue/predict' && generation === 2) {
            return this.faults.badPredict ? [500, { detail: 'no prediction' }] : [200, { expected_ms: expected, error_ms: error, queue_size: this.waiting }];
        }
        if (what === (generation === 2 ? 'POST /queue/enqueue' : 'POST /queue/submit')) {
            return this.faults.refuses ? [this.faults.refuses, { detail: 'refused' }] : this.enqueue(body);
        }
        if (method === 'GET' && url.startsWith('/results/')) {
            const task = this.tasks.find((one) => one.id === decodeURIComponent(url.slice('/results/'.length)));
            return task ? [200, { task_id: task.id, result: task.done ? task.result : null, status: task.done ? 'completed' : 'running', error: null }] : [404, { detail: 'Task not found' }];
        }
        return [404, { detail: 'Not Found' }];
    }

    private enqueue(body: any): [number, unknown] {
        const later = this.options.generation === 3;
        const task: Given = {
            id: later ? body.task_id : `task-${this.port}-${++this.sequence}`, given: body.task_id,
            input: later ? body.task_input : body.input_data, metadata: body.metadata, done: false, result: null,
        };
        this.tasks.push(task);
        if (this.options.workMs !== undefined) {
            const wait = this.options.workMs * this.waiting;
            setTimeout(() => void this.complete(task, { ms: this.options.workMs }).catch(() => undefined), wait).unref();
        }
        return [200, { task_id: task.id, queue_size: this.waiting, enqueue_time: Date.now() / 1000 }];
    }
}
