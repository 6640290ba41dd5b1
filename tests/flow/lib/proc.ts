// SPDX-License-Identifier: Apache-2.0
// What /proc says of a process: who it is, what it costs, which instance it is marked as.
import { readdirSync, readFileSync } from 'node:fs';

export interface ProcessStat {
    pid: number;
    state: string;
    parent: number;
    cpuTicks: number;
    startTime: number;
}

export function stat(pid: number): ProcessStat | undefined {
    let text: string;
    try {
        text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    } catch {
        return undefined;
    }
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return {
        pid,
        state: fields[0],
        parent: Number(fields[1]),
        cpuTicks: Number(fields[11]) + Number(fields[12]),
        startTime: Number(fields[19]),
    };
}

/** Is this very process (not a later one with its pid) still running? A zombie is not. */
export function alive(pid: number, startTime?: number): boolean {
    const now = stat(pid);
    return now !== undefined && now.state !== 'Z' && (startTime === undefined || now.startTime === startTime);
}

function statusKb(pid: number, field: string): number {
    const text = readFileSync(`/proc/${pid}/status`, 'latin1');
    return Number(text.match(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm'))?.[1] ?? NaN);
}

export const rssKb = (pid: number): number => statusKb(pid, 'VmRSS');
export const hwmKb = (pid: number): number => statusKb(pid, 'VmHWM');

/** Pids of all processes that carry BERTH_INSTANCE=<data-dir id>/..., by the mark. */
export function marked(dataDirId: string): Map<number, string> {
    const found = new Map<number, string>();
    const wanted = `BERTH_INSTANCE=${dataDirId}/`;
    for (const name of readdirSync('/proc')) {
        if (!/^\d+$/.test(name)) {
            continue;
        }
        try {
            const mark = readFileSync(`/proc/${name}/environ`, 'latin1')
                .split('\0')
                .find((entry) => entry.startsWith(wanted));
            if (mark && alive(Number(name))) {
                found.set(Number(name), mark.slice(wanted.length));
            }
        } catch {
            // gone, or not ours to read
        }
    }
    return found;
}

/** Still `berth exec-engine`, not the engine. */
export function isHalfMade(pid: number): boolean {
    try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('exec-engine');
    } catch {
        return false; // gone
    }
}

export function kill(pid: number, signal: NodeJS.Signals | 0 = 'SIGKILL'): boolean {
    try {
        process.kill(pid, signal);
        return true;
    } catch {
        return false;
    }
}
