// SPDX-License-Identifier: Apache-2.0
// A berth with made-up cards, each of 1000 MiB of which 800 are placed, whose memory is held by the engines that live: what a model
// declares is what its engine takes, on the cards that it was told, and for `linger` after it has ended.
import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Daemon, type ModelConfig, recorded } from './daemon.ts';
import { type Answer, Raw } from './http.ts';
import { marked } from './proc.ts';
import { pause, until } from './wait.ts';

export const placeable = 800;

export interface Card {
    present?: boolean;
    memory_used?: string; // by nobody of ours
}

export interface Decision {
    id: string;
    model_id: string;
    action: string;
    result: string;
    reason: string;
    gpu_devices: number[];
    duration: number;
    made_room_for: string | null;
}

export class Cards {
    readonly daemon: Daemon;
    readonly cards: Card[];
    private sizes: Record<string, { memory: number; linger: string }> = {};
    private records: Record<string, string> = {};

    private constructor(daemon: Daemon, cards: number) {
        this.daemon = daemon;
        this.cards = Array.from({ length: cards }, () => ({}));
    }

    /** `cards` of them; the rules of time are off unless `placement` sets them. */
    static async start(cards: number, config: Record<string, any> = {}): Promise<Cards> {
        const daemon = await Daemon.prepare({ config: {
            ...config,
            gpu: { scripted: 'devices.yaml', interval: '100ms' },
            engines: { stop_grace: '1s', ...config.engines },
            placement: { min_residency: '0s', return_after: '0s', swap_wait: '1s', grace: '10s', max_preemptions_per_hour: 0, ...config.placement },
        } });
        const all = new Cards(daemon, cards);
        all.script();
        await daemon.launch();
        return all;
    }

    /** The script is replaced whole, as an editor does. */
    script(): void {
        const holders = Object.entries(this.sizes).map(([id, { memory, linger }]) => ({ command: join(this.daemon.dir, `${id}.`), memory: `${memory}MiB`, linger }));
        const devices = this.cards.map((card, i) => ({ id: `GPU-${i}`, name: `Card ${i}`, vendor: 'nvidia', memory_total: '1000MiB', holders, ...card }));
        writeFileSync(join(this.daemon.dir, 'devices.new'), JSON.stringify({ devices }));
        renameSync(join(this.daemon.dir, 'devices.new'), join(this.daemon.dir, 'devices.yaml'));
    }

    /** From now on an engine with that model's file takes so much. */
    weighs(id: string, memory: number, linger = '0s'): void {
        this.sizes[id] = { memory, linger };
        this.script();
    }

    /** What was held by that model's file, and what lingers of it, is free from now on. */
    frees(id: string): void {
        delete this.sizes[id];
        this.script();
    }

    /** Defines a model of so many MiB on the scripted engine, which records what happens to it. */
    async define(id: string, memory: number, priority = 5, extra: Record<string, unknown> = {}, behaviour: Record<string, unknown> = {}, linger = '0s'): Promise<void> {
        this.weighs(id, memory, linger);
        this.records[id] = join(this.daemon.dir, `${id}-${Object.keys(this.records).length}-${Date.now()}.record`);
        const { parameters, ...rest } = extra;
        await this.daemon.create({
            ...this.daemon.scripted(id, { record: this.records[id], ...behaviour }, parameters as Record<string, unknown>),
            priority, resource_requirements: { gpu_memory: memory }, ...rest,
        } as ModelConfig);
    }

    async up(...args: Parameters<Cards['define']>): Promise<void> {
        await this.define(...args);
        const answer = await this.schedule(args[0]);
        assert.equal(answer.json.success, true, answer.text);
        await this.daemon.waitStatus(args[0], 'running');
    }

    /** The recorded lines of one kind; their clock_ms is one clock for all engines. */
    marks(id: string, mark: string): Array<{ pid: number; clock_ms: number; body?: string }> {
        return recorded(this.records[id]).filter((line) => line.mark === mark);
    }

    schedule(id: string, extra: Record<string, unknown> = {}): Promise<Answer> {
        return this.daemon.post('/api/v1/scheduler/schedule', { model_id: id, ...extra });
    }

    async ask(what: string): Promise<any> {
        const answer = await this.daemon.get(`/api/v1/scheduler/${what}`);
        assert.equal(answer.status, 200, answer.text);
        return answer.json;
    }

    /** Oldest first. */
    async history(id?: string): Promise<Decision[]> {
        return (await this.ask(`history?limit=1000${id ? `&model_id=${id}` : ''}`)).history.reverse();
    }

    policy(fields: Record<string, unknown>): Promise<Answer> {
        return this.daemon.ask({ method: 'PUT', path: '/api/v1/scheduler/policy', body: fields });
    }

    async stop(id: string): Promise<void> {
        assert.equal((await this.daemon.post(`/api/models/${id}/stop`)).status, 200);
    }

    async remove(id: string): Promise<void> {
        await this.daemon.ask({ method: 'DELETE', path: `/api/models/${id}?wait=1` });
    }

    /** Every model and every engine goes, and every rule is as it was. */
    async clear(): Promise<void> {
        const { daemon } = this;
        await Promise.all((await daemon.get('/api/models/')).json.map(({ id }: { id: string }) => this.remove(id)));
        await until('all engines to be gone', () => daemon.engines().length === 0);
        this.sizes = {};
        this.cards.forEach((card, i) => (this.cards[i] = {}));
        this.script();
        assert.equal((await this.policy({})).status, 200);
        await until('the cards to be empty, and to be known to be', async () => {
            const all: any[] = (await this.ask('resources')).gpu_allocation;
            return all.length === this.cards.length && all.every((card) => card.memory_used === 0 && card.placement.held === 0);
        });
    }

    /** What is used on each card now, in MiB, as berth reads it. */
    async used(): Promise<number[]> {
        return (await this.daemon.get('/api/v1/system/gpu')).json.map((one: { memory_used: number }) => one.memory_used);
    }

    async reason(id: string): Promise<string> {
        return (await this.ask('queue')).queue.find((one: { id: string }) => one.id === id)?.reason ?? '';
    }

    async devicesOf(id: string): Promise<number[]> {
        return (await this.daemon.get(`/api/models/${id}`)).json.gpu_devices;
    }

    /** A stream, begun: the connection on which it comes. */
    async stream(id: string, scripted: Record<string, unknown>): Promise<Raw> {
        const body = JSON.stringify({ model: id, messages: [{ role: 'user', content: 'go' }], stream: true, scripted });
        const raw = await Raw.open(this.daemon.target);
        raw.send(`POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:${this.daemon.port}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
        return raw;
    }

    /** What the engines that live hold of each card, by their own environment and files, behind berth's back. */
    held(): number[] {
        const held = this.cards.map(() => 0);
        for (const pid of marked(this.daemon.id).keys()) {
            try {
                const command = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
                const environ = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
                const [, devices = ''] = environ.find((entry) => entry.startsWith('CUDA_VISIBLE_DEVICES='))?.split('=') ?? [];
                const size = Object.entries(this.sizes).find(([id]) => command.includes(join(this.daemon.dir, `${id}.`)))?.[1].memory ?? 0;
                devices.split(',').filter(Boolean).forEach((device) => (held[Number(device)] += size));
            } catch {
                // gone meanwhile
            }
        }
        return held;
    }

    /** Looks again and again, until told to end: the most that was ever held of one card, by its reading or by the engines that live. */
    watch(): { end(): Promise<number> } {
        let most = 0;
        let go = true;
        const looks = (async () => {
            while (go) {
                most = Math.max(most, ...this.held(), ...await this.used().catch(() => []));
                await pause(15);
            }
        })();
        return { end: async () => { go = false; await looks; return most; } };
    }
}
