// SPDX-License-Identifier: Apache-2.0
// The one client of the daemon, typed by its own OpenAPI document. Whatever shape a door's error has, callers see one: Failure.
import createClient from 'openapi-fetch';
import { t } from '@/i18n';
import type { components, paths } from './schema';
import { address, headers, key, signInWanted } from './session';

export type Schemas = components['schemas'];

/** What a door refused, or why it could not be asked (status 0). `fields`: what was wrong with which member. */
export class Failure extends Error {
    readonly status: number;
    readonly fields: Record<string, string>;

    constructor(status: number, message: string, fields: Record<string, string> = {}) {
        super(message);
        this.status = status;
        this.fields = fields;
    }
}

interface Complaint {
    loc?: (string | number)[];
    msg?: string;
}

function isObject(value: unknown): value is Record<string, unknown> {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function fieldsOf(complaints: Complaint[]): Record<string, string> {
    return Object.fromEntries(complaints.map(({ loc, msg }) => [(loc ?? []).filter((part) => part !== 'body' && part !== 'query').join('.'), msg ?? '']));
}

/** Reads {detail}, {error: {message}}, {error}, {message}, {errors} alike. */
export function failureOf(status: number, body: unknown): Failure {
    if (typeof body === 'string' && body !== '') {
        return new Failure(status, body);
    }
    if (!isObject(body)) {
        return new Failure(status, `HTTP ${status}`);
    }
    if (Array.isArray(body.detail)) {
        const fields = fieldsOf(body.detail as Complaint[]);
        return new Failure(status, Object.entries(fields).map(([name, text]) => (name ? `${name}: ${text}` : text)).join('; '), fields);
    }
    if (isObject(body.error) && typeof body.error.message === 'string') {
        return new Failure(status, body.error.message);
    }
    const text = [body.detail, body.error, body.message].find((part) => typeof part === 'string' && part !== '');
    return new Failure(status, typeof text === 'string' ? text : `HTTP ${status}`);
}

/** fetch() of a path of the daemon, with the key; a refusal is thrown as a Failure. */
export async function ask(path: string, options: RequestInit = {}): Promise<Response> {
    const used = key.value;
    let answer: Response;
    try {
        answer = await fetch(address(path), { ...options, headers: { ...headers(), ...(options.headers as Record<string, string> | undefined) } });
    } catch (error) {
        if (error instanceof DOMException && error.name === 'AbortError') {
            throw error;
        }
        throw new Failure(0, t('state.unreachable'));
    }
    if (answer.ok) {
        return answer;
    }
    if (answer.status === 401 && used === key.value) { // not by an answer to a key that was changed meanwhile
        signInWanted.value = true;
    }
    const text = await answer.text();
    let body: unknown = text;
    try {
        body = JSON.parse(text);
    } catch {
        // it was no JSON: the text says it
    }
    throw failureOf(answer.status, body);
}

export const client = createClient<paths>({
    baseUrl: 'http://berth', // ask() puts the address of the day in its place
    fetch: async (request: Request) => {
        const { pathname, search } = new URL(request.url);
        const body = request.method === 'GET' || request.method === 'HEAD' ? undefined : await request.arrayBuffer();
        return ask(pathname + search, { method: request.method, headers: Object.fromEntries(request.headers), body, signal: request.signal });
    },
});

/** The data of an answer; openapi-fetch never sees a refusal, since ask() throws. */
export async function data<T>(answer: Promise<{ data?: T }>): Promise<T> {
    return (await answer).data as T;
}

/** The data of a list and how many there are in all (X-Total-Count). */
export async function list<T>(answer: Promise<{ data?: T[]; response: Response }>): Promise<{ rows: T[]; total: number }> {
    const { data: rows = [], response } = await answer;
    const told = response.headers.get('X-Total-Count');
    return { rows, total: told === null ? rows.length : Number(told) };
}
