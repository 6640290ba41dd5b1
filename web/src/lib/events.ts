// SPDX-License-Identifier: Apache-2.0
// Stored events for people: which words tell one (i18n events.KIND, or events.KIND_STATE), with what, how grave it is, and why it was.
import { client, data as dataOf, type Schemas } from '@/api/client';
import type { LiveEvent } from '@/api/live';
import { bytes } from './format';

export type StoredEvent = Omit<Schemas['Event'], 'data'> & { data: Record<string, unknown> };
export type EventTone = 'good' | 'bad' | 'plain';

const GOOD = new Set(['instance_state_ready', 'device_responsive', 'device_appeared', 'model_recovered', 'started', 'batch_state_completed']);
const BAD = new Set(['instance_state_backoff', 'instance_state_failed', 'placement_failed', 'device_vanished', 'device_unresponsive', 'device_memory_held', 'store_read_only',
    'task_dead', 'batch_state_failed', 'batch_state_expired', 'task_instance_unreachable']);
const BY_STATE: Record<string, string> = { instance_state: 'to', task_instance: 'change' }; // kinds whose words go by a member

/** What the live channel tells of stored events; null for what is told live only. */
export function storedEvent({ data, id }: LiveEvent): StoredEvent | null {
    const event = data as StoredEvent | null; // the daemon's word, as any answer
    return id && typeof event?.id === 'number' && typeof event.kind === 'string' ? event : null;
}

/** Those that are stored, as the list door tells them (which tells a stream as text, otherwise). */
export async function readEvents(query: { newest?: boolean; limit?: number; subject?: string; kind?: string }): Promise<StoredEvent[]> {
    const answer = await dataOf(client.GET('/api/events', { params: { query }, headers: { Accept: 'application/json' } }));
    return typeof answer === 'string' ? [] : answer.events;
}

function text(value: unknown): string {
    return typeof value === 'string' || typeof value === 'number' ? String(value) : '';
}

/** The name of its words, below `events`. */
export function eventWords({ kind, data }: StoredEvent): string {
    const member = BY_STATE[kind];
    return member ? `${kind}_${text(data[member])}` : kind;
}

export function eventTone(event: StoredEvent): EventTone {
    const words = event.kind === 'batch_state' ? `batch_state_${text(event.data.to)}` : eventWords(event);
    return GOOD.has(words) ? 'good' : BAD.has(words) ? 'bad' : 'plain';
}

/** What stands in the words besides the model. */
export function eventValues({ data }: StoredEvent): Record<string, string> {
    const memory = Array.isArray(data.devices) ? data.devices.reduce((sum: number, { bytes: held }: { bytes?: number }) => sum + (held ?? 0), 0) : null;
    return {
        ...Object.fromEntries(Object.entries(data).map(([name, value]) => [name, text(value)])),
        memory: bytes(memory),
        host: `${text(data.host)}:${text(data.port)}`,
    };
}

/** In the daemon's words; '' where there is nothing to tell. */
export function eventReason({ data }: StoredEvent): string {
    const error = data.error;
    const told = typeof error === 'object' && error !== null && 'message' in error ? error.message : error;
    return [data.why, data.reason, told].map(text).find((part) => part !== '' && part !== '-') ?? '';
}

/** Kinds after which the list of models, or where they lie, may be another. */
export const MODEL_EVENTS = ['model_created', 'model_updated', 'model_deleted', 'model_wanted', 'model_unwanted', 'instance_state', 'instance_adopted', 'model_placed',
    'model_recovered', 'model_preempted', 'model_swapped', 'placement_failed', 'config_changed'] as const;
export const DEVICE_EVENTS = ['device_appeared', 'device_vanished', 'device_unresponsive', 'device_responsive'] as const;
