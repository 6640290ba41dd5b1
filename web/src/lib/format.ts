// SPDX-License-Identifier: Apache-2.0
// Figures as people read them, in the language of the page. What is unknown is a dash.
import { locale } from '@/i18n';

const DASH = '–';
type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
    return value !== null && value !== undefined && Number.isFinite(value);
}

export function number(value: Maybe, digits = 0): string {
    return known(value) ? value.toLocaleString(locale.value, { maximumFractionDigits: digits }) : DASH;
}

/** Three significant digits: 1,234 → 1,230; 0.01234 → 0.0123. */
export function figure(value: Maybe): string {
    return known(value) ? value.toLocaleString(locale.value, { maximumSignificantDigits: 3 }) : DASH;
}

/** A share from 0 to 1. */
export function percent(share: Maybe, digits = 0): string {
    return known(share) ? `${(share * 100).toLocaleString(locale.value, { maximumFractionDigits: digits })} %` : DASH;
}

export function bytes(value: Maybe): string {
    if (!known(value)) {
        return DASH;
    }
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
    let rest = value;
    let unit = 0;
    while (Math.abs(rest) >= 1024 && unit < units.length - 1) {
        rest /= 1024;
        unit++;
    }
    return `${number(rest, rest < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

export function mebibytes(value: Maybe): string {
    return known(value) ? bytes(value * 1024 * 1024) : DASH;
}

/** 0.25 s, 12 s, 3 min 20 s, 2 h 5 min, 3 d 4 h. */
export function duration(seconds: Maybe): string {
    if (!known(seconds)) {
        return DASH;
    }
    if (seconds < 1) {
        return `${number(seconds * 1000, seconds < 0.01 ? 1 : 0)} ms`;
    }
    if (seconds < 60) {
        return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
    }
    if (seconds < 3600) {
        return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
    }
    if (seconds < 86400) {
        return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
    }
    return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export function milliseconds(value: Maybe): string {
    return known(value) ? duration(value / 1000) : DASH;
}

/** An ISO time of the daemon (UTC unless it says otherwise) as a Date; null for what is none. */
export function dateOf(iso: string | number | null | undefined): Date | null {
    if (iso === null || iso === undefined || iso === '') {
        return null;
    }
    if (typeof iso === 'number') {
        return new Date(iso * 1000);
    }
    const date = new Date(/(Z|[+-]\d\d:?\d\d)$/.test(iso) ? iso : `${iso}Z`);
    return Number.isNaN(date.getTime()) ? null : date;
}

export function dateTime(iso: string | number | null | undefined): string {
    return dateOf(iso)?.toLocaleString(locale.value, { dateStyle: 'medium', timeStyle: 'medium' }) ?? DASH;
}

export function clock(iso: string | number | null | undefined): string {
    return dateOf(iso)?.toLocaleTimeString(locale.value) ?? DASH;
}
