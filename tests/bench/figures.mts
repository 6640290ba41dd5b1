// SPDX-License-Identifier: Apache-2.0
// Figures and how they are shown: medians, and the rows of the table of targets.

export function median(values: Array<number | undefined>): number {
    const sorted = values.filter((value): value is number => value !== undefined).sort((a, b) => a - b);
    return sorted.length === 0 ? NaN : sorted[Math.floor(sorted.length / 2)];
}

export function show(value: number | undefined, digits = 1): string {
    return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits);
}

export interface Row {
    what: string;
    figure: string;
    target: string;
    pass: boolean | undefined;
}

export function row(what: string, figure: number, digits: number, unit: string, compare: '>=' | '<=', target: number): Row {
    const known = !Number.isNaN(figure);
    return {
        what,
        figure: known ? `${figure.toFixed(digits)}${unit}` : 'not measured',
        target: `${compare} ${target}${unit}`,
        pass: known ? (compare === '>=' ? figure >= target : figure <= target) : undefined,
    };
}

export function verdict(row: Row): string {
    return row.pass === undefined ? '-' : row.pass ? 'pass' : 'MISS';
}
