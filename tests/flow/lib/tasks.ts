// SPDX-License-Identifier: Apache-2.0
// Tasks as a user of /api/v1 handles them, and an engine in this process that answers when it is told to, so that no test has to guess
// what is under way.
import assert from 'node:assert/strict';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Daemon, recorded } from './daemon.ts';
import type { Answer } from './http.ts';
import { until } from './wait.ts';

export const terminal = ['completed', 'failed', 'cancelled'];

/** Who asked the engine: a task by its number and attempt, or somebody who waits. */
export interface Asker {
    id: number; // 0: no task
    attempt: number;
}

export function askerOf(requestId: unknown): Asker {
    const found = /^task-(\d+)-(\d+)$/.exec(String(requestId ?? ''));
    return { id: Number(found?.[1] ?? 0), attempt: Number(found?.[2] ?? 0) };
}

/** The door of tasks. */
export class Tasks {
    readonly daemon: Daemon;
    constructor(daemon: Daemon) {
        this.daemon = daemon;
    }

    api(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
        return this.daemon.ask({ method, path: `/api/v1${path}`, body, headers: body === undefined && method !== 'GET' ? { 'content-length': '0', ...headers } : headers });
    }

    async good(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<any> {
        const answer = await this.api(method, path, body, headers);
        assert.equal(answer.status, 200, `${method} ${path}: ${answer.status} ${answer.text}`);
        return answer.json.data;
    }

    /** Of type custom, on that model; gives its number. */
    async submit(model: string, fields: Record<string, unknown> = {}): Promise<number> {
        return (await this.good('POST', '/tasks', { model_id: model, type: 'custom', input: { messages: [] }, ...fields })).id;
    }

    show(id: number): Promise<any> {
        return this.good('GET', `/tasks/${id}`);
    }

    cancel(id: number): Promise<Answer> {
        return this.api('DELETE', `/tasks/${id}`);
    }

    /** Waits until the task is in one of these states; gives it. */
    became(id: number, ...states: string[]): Promise<any> {
        return until(`task ${id} to be ${states}`, async () => {
            const task = await this.show(id);
            if (!states.includes(task.status)) {
                throw new Error(JSON.stringify(task));
            }
            return task;
        }, 30_000);
    }

    ended(id: number): Promise<any> {
        return this.became(id, ...terminal);
    }

    /** Waits until the reason for which it waits is like that; gives all that it says. */
    waits(id: number, reason: RegExp): Promise<{ reason: string; place: number | null; estimated_start: string | null }> {
        return until(`task ${id} to wait because of ${reason}`, async () => {
            const task = await this.show(id);
            if (!reason.test(task.waiting?.reason ?? '')) {
                throw new Error(JSON.stringify(task));
            }
            return task.waiting;
        });
    }

    async numberOf(model: string): Promise<number> {
        return (await this.good('GET', '/models')).find((one: any) => one.name === model).id;
    }

    async status(model: string, status: string): Promise<void> {
        await this.good('PUT', `/models/${await this.numberOf(model)}/status`, { status });
    }

    /** Every task that there is, by number. */
    async all(query = ''): Promise<Map<number, any>> {
        const tasks = new Map<number, any>();
        for (let page = 1; ; page++) {
            const answer = await this.api('GET', `/tasks?order_by=id&order=asc&page_size=100&page=${page}${query}`);
            assert.equal(answer.status, 200, answer.text);
            for (const task of answer.json.data) {
                assert.ok(!tasks.has(task.id), `task ${task.id} is listed once`);
                tasks.set(task.id, task);
            }
            if (page * 100 >= answer.json.total) {
                return tasks;
            }
        }
    }
}

export interface Held extends Asker {
    model: string;
    body: any;
    gone: boolean; // berth let go of it
    answer(status?: number, text?: string): void;
}

/** An OpenAI-compatible server that keeps every request until the test answers it, and knows in which order they came. */
export class Gate {
    readonly asked: Held[] = []; // all, in order
    readonly held = new Set<Held>(); // not answered, not gone
    most = 0; // were held at once since it was set to 0
    open = false; // answers by itself
    onAsked: (one: Held) => void = () => {};
    private readonly server: http.Server;

    private constructor(server: http.Server) {
        this.server = server;
    }

    static async start(): Promise<Gate> {
        const server = http.createServer((request, response) => void gate.take(request, response));
        const gate = new Gate(server);
        await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
        server.unref();
        return gate;
    }

    stop(): void {
        this.server.closeAllConnections();
        this.server.close();
    }

    /** Defines a model whose engine this is. */
    async model(daemon: Daemon, id: string, fields: Record<string, unknown> = {}, parameters: Record<string, unknown> = {}): Promise<void> {
        const base_url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/v1`;
        await daemon.create({ id, framework: 'openai', model_path: id, parameters: { base_url, parallel: 16, ...parameters }, ...fields } as any);
    }

    of(model: string): Held[] {
        return [...this.held].filter((one) => one.model === model);
    }

    /** Waits until so many are held; gives them, the first first. */
    holds(count: number, model?: string): Promise<Held[]> {
        return until(`${count} requests to be held`, () => {
            const held = model ? this.of(model) : [...this.held];
            if (held.length !== count) {
                throw new Error(`${held.length}: ${JSON.stringify(held.map(({ id, attempt }) => `${id}-${attempt}`))}`);
            }
            return held;
        });
    }

    times(id: number): number {
        return this.asked.filter((one) => one.id === id).length;
    }

    private async take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
        let text = '';
        for await (const piece of request) {
            text += piece;
        }
        response.setHeader('content-type', 'application/json');
        if (request.method !== 'POST') {
            response.end('{"object":"list","data":[]}');
            return;
        }
        const body = JSON.parse(text);
        const one: Held = { ...askerOf(request.headers['x-request-id']), model: body.model, body, gone: false, answer: (status = 200, said = 'yes') => {
            this.held.delete(one);
            response.writeHead(status);
            response.end(JSON.stringify(status === 200
                ? { id: 'x', object: 'chat.completion', choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: said } }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } }
                : { error: { message: said } }));
        } };
        response.on('close', () => {
            one.gone = !response.writableFinished;
            this.held.delete(one);
        });
        this.asked.push(one);
        this.held.add(one);
        this.most = Math.max(this.most, this.held.size);
        this.onAsked(one);
        if (this.open) {
            one.answer();
        }
    }
}

export interface Asked extends Asker {
    clock_ms: number;
    line: boolean; // of a batch
    body: any;
}

/** What a scripted engine's record says that it was asked to do, in order. */
export function asked(record: string): Asked[] {
    return recorded(record).filter((line) => line.mark === 'request' && line.head.startsWith('POST')).map((line) => {
        const body = JSON.parse(line.body);
        return { ...askerOf(/^x-request-id: (.*)\r$/m.exec(line.head)?.[1]), clock_ms: line.clock_ms, line: body.line !== undefined, body };
    });
}
