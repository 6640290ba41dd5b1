// SPDX-License-Identifier: Apache-2.0
// A definition as it stands in the form, and the way there and back. What the form does not show is kept as it was. What cannot be
// a value (a number that is not there) is sent as it is, so that the server says what is wrong.
import type { Schemas } from '@/api/client';

export type ModelConfig = Schemas['ModelConfig'];
type Figure = number | ''; // of <input type="number">

export interface Parameter {
    name: string;
    value: string; // JSON, or a text as it is
}

export interface Draft {
    id: string;
    name: string;
    framework: string;
    modelPath: string;
    priority: Figure;
    memoryAuto: boolean;
    memory: Figure; // MiB
    parameters: Parameter[];
    additional: string;
    aliases: string; // parted by commas
    replicas: Figure;
    keepAlive: string;
    autostart: boolean;
    pinned: boolean;
    onDemand: boolean;
    strategy: string; // '': as for all
    devices: number[]; // none: chosen
    maxWorkers: Figure;
    health: { enabled: boolean; interval: Figure; timeout: Figure; maxFailures: Figure; endpoint: string };
    retry: { enabled: boolean; maxAttempts: Figure; initialDelay: Figure; maxDelay: Figure; factor: Figure };
}

export const frameworks = ['llama_cpp', 'vllm', 'docker', 'command', 'openai'] as const;

function valueOf(text: string): unknown {
    try {
        return JSON.parse(text);
    } catch {
        return text;
    }
}

/** Such that valueOf gives it back. */
function textOf(value: unknown): string {
    return typeof value === 'string' && valueOf(value) === value ? value : JSON.stringify(value);
}

function numberOf(figure: Figure): number {
    return figure === '' ? NaN : figure; // which JSON knows as null
}

function words(text: string): string[] {
    return text.split(',').map((word) => word.trim()).filter((word) => word !== '');
}

export function draftOf(config?: ModelConfig): Draft {
    const memory = config?.resource_requirements.gpu_memory ?? 'auto';
    const health = config?.health_check;
    const retry = config?.retry_policy;

    return {
        id: config?.id ?? '',
        name: config?.name ?? '',
        framework: config?.framework ?? 'llama_cpp',
        modelPath: config?.model_path ?? '',
        priority: config?.priority ?? 5,
        memoryAuto: typeof memory !== 'number',
        memory: typeof memory === 'number' ? memory : '',
        parameters: Object.entries(config?.parameters ?? {}).map(([name, value]) => ({ name, value: textOf(value) })),
        additional: config?.additional_parameters ?? '',
        aliases: (config?.aliases ?? []).join(', '),
        replicas: config?.replicas ?? 1,
        keepAlive: config?.keep_alive === null || config?.keep_alive === undefined ? '' : String(config.keep_alive),
        autostart: config?.autostart ?? false,
        pinned: config?.pinned ?? false,
        onDemand: config?.on_demand ?? true,
        strategy: config?.strategy ?? '',
        devices: [...(config?.gpu_devices ?? [])],
        maxWorkers: config?.max_workers ?? 0,
        health: { enabled: health?.enabled ?? true, interval: health?.interval ?? 30, timeout: health?.timeout ?? 10, maxFailures: health?.max_failures ?? 3, endpoint: health?.endpoint ?? '' },
        retry: { enabled: retry?.enabled ?? true, maxAttempts: retry?.max_attempts ?? 3, initialDelay: retry?.initial_delay ?? 5, maxDelay: retry?.max_delay ?? 300, factor: retry?.backoff_factor ?? 2 },
    };
}

export function configOf(draft: Draft, before?: ModelConfig): ModelConfig {
    const { health, retry } = draft;

    return {
        ...before,
        id: draft.id.trim(),
        name: draft.name.trim(),
        framework: draft.framework,
        model_path: draft.modelPath.trim(),
        priority: numberOf(draft.priority),
        parameters: Object.fromEntries(draft.parameters.filter(({ name }) => name.trim() !== '').map(({ name, value }) => [name.trim(), valueOf(value)])),
        additional_parameters: draft.additional.trim() || null,
        aliases: words(draft.aliases),
        replicas: numberOf(draft.replicas),
        keep_alive: draft.keepAlive.trim() || null,
        autostart: draft.autostart,
        pinned: draft.pinned,
        on_demand: draft.onDemand,
        strategy: draft.strategy || null,
        gpu_devices: draft.devices,
        max_workers: numberOf(draft.maxWorkers),
        resource_requirements: { ...before?.resource_requirements, gpu_memory: draft.memoryAuto ? 'auto' : numberOf(draft.memory) },
        health_check: { enabled: health.enabled, interval: numberOf(health.interval), timeout: numberOf(health.timeout), max_failures: numberOf(health.maxFailures), endpoint: health.endpoint.trim() || null },
        retry_policy: { enabled: retry.enabled, max_attempts: numberOf(retry.maxAttempts), initial_delay: numberOf(retry.initialDelay), max_delay: numberOf(retry.maxDelay), backoff_factor: numberOf(retry.factor) },
    };
}
