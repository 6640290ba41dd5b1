// SPDX-License-Identifier: Apache-2.0
// Options as the page shows them.
import type { Schemas } from '@/api/client';

export interface Option extends Omit<Schemas['ConfigOption'], 'value'> {
    key: string;
    name: string; // section.key
    shown: string;
}

function text(value: unknown): string {
    return Array.isArray(value) ? value.map(text).join(', ') : typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '');
}

export function optionsOf(section: string, members: Record<string, Schemas['ConfigOption']>): Option[] {
    return Object.entries(members).map(([key, { value, ...rest }]) => ({ ...rest, key, name: `${section}.${key}`, shown: text(value) }));
}

export function matches({ name, shown, help }: Option, q: string): boolean {
    const wanted = q.trim().toLowerCase();
    return [name, shown, help].some((part) => part.toLowerCase().includes(wanted));
}
