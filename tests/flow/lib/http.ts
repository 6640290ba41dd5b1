// SPDX-License-Identifier: Apache-2.0
// Plain HTTP for tests: one connection a request, nothing hidden; and raw sockets for what no client would send.
import http from 'node:http';
import net from 'node:net';

export interface Answer {
    status: number;
    headers: http.IncomingHttpHeaders;
    text: string;
    json: any;
}

export interface Target {
    host?: string;
    port?: number;
    socketPath?: string;
}

export interface Ask {
    method?: string;
    path: string;
    body?: unknown; // a string goes as it is, anything else as JSON
    headers?: Record<string, string>;
    timeoutMs?: number;
}

/** Called with the method, path and status of every answer, for the check against /openapi.json. */
export const observers: Array<(method: string, path: string, status: number) => void> = [];

function parsed(text: string): any {
    try {
        return JSON.parse(text);
    } catch {
        return undefined;
    }
}

export function ask(target: Target, { method = 'GET', path, body, headers = {}, timeoutMs = 30_000 }: Ask): Promise<Answer> {
    return new Promise((done, fail) => {
        const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body);
        const request = http.request({ ...target, method, path, agent: false, headers: {
            ...(payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(payload)) }),
            ...headers,
        } }, (response) => {
            const parts: Buffer[] = [];
            response.on('data', (part) => parts.push(part));
            response.on('error', fail);
            response.on('end', () => {
                const text = Buffer.concat(parts).toString();
                for (const observer of target.socketPath ? [] : observers) { // an engine's socket is no door of berth's
                    observer(method, path, response.statusCode!);
                }
                done({ status: response.statusCode!, headers: response.headers, text, json: parsed(text) });
            });
        });
        request.setTimeout(timeoutMs, () => request.destroy(new Error(`${method} ${path}: silent for ${timeoutMs} ms`)));
        request.on('error', fail);
        request.end(payload);
    });
}

/** A raw connection: send bytes, read what comes until a condition or the peer's end. */
export class Raw {
    received = Buffer.alloc(0);
    ended = false;
    error: Error | undefined;
    readonly socket: net.Socket;
    private wake: Array<() => void> = [];

    private constructor(socket: net.Socket) {
        this.socket = socket;
        socket.unref(); // who waits for it has a timer; a forgotten one keeps nothing alive
        const changed = () => this.wake.splice(0).forEach((f) => f());
        socket.on('data', (data) => {
            this.received = Buffer.concat([this.received, data]);
            changed();
        });
        socket.on('error', (error) => {
            this.error = error;
            this.ended = true;
            changed();
        });
        socket.on('close', () => {
            this.ended = true;
            changed();
        });
    }

    static open(target: Target): Promise<Raw> {
        return new Promise((done, fail) => {
            const socket = target.socketPath ? net.connect(target.socketPath) : net.connect(target.port!, target.host);
            socket.once('error', fail);
            socket.once('connect', () => {
                socket.off('error', fail);
                socket.setNoDelay(true);
                done(new Raw(socket));
            });
        });
    }

    send(data: string | Buffer): void {
        this.socket.write(typeof data === 'string' ? Buffer.from(data, 'latin1') : data);
    }

    get text(): string {
        return this.received.toString('latin1');
    }

    /** Waits until `enough` holds for the received text, or the peer ends; gives the text. */
    async read(enough: (text: string) => boolean, limitMs = 10_000): Promise<string> {
        const end = Date.now() + limitMs;
        while (!this.ended && !enough(this.text)) {
            const left = end - Date.now();
            if (left <= 0) {
                throw new Error(`nothing that was waited for within ${limitMs} ms; got: ${JSON.stringify(this.text.slice(0, 500))}`);
            }
            await new Promise<void>((done) => {
                const timer = setTimeout(done, left);
                this.wake.push(() => {
                    clearTimeout(timer);
                    done();
                });
            });
        }
        return this.text;
    }

    readToEnd(limitMs = 10_000): Promise<string> {
        return this.read(() => false, limitMs);
    }

    close(): void {
        this.socket.destroy();
    }
}

/** Sends bytes as they are on a connection of their own and gives status, head and body of the first answer. */
export async function exchange(target: Target, bytes: string | Buffer, limitMs = 10_000): Promise<{ status: number; text: string; closed: boolean }> {
    const raw = await Raw.open(target);
    try {
        raw.send(bytes);
        const whole = (text: string) => {
            const end = text.indexOf('\r\n\r\n');
            if (end < 0) {
                return false;
            }
            const length = /\r\ncontent-length: *(\d+)/i.exec(text.slice(0, end));
            return length ? text.length >= end + 4 + Number(length[1]) : text.endsWith('0\r\n\r\n');
        };
        const text = await raw.read(whole, limitMs);
        return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1] ?? 0), text, closed: raw.ended };
    } finally {
        raw.close();
    }
}
