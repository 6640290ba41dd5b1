// SPDX-License-Identifier: Apache-2.0
// Files for the person: bytes saved under a name, rows as CSV (RFC 4180; what a spreadsheet would run as a formula is quoted off).
export function save(name: string, content: Blob | string, type = 'text/plain'): void {
    const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    const link = document.createElement('a');
    link.href = url;
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function cell(value: unknown): string {
    const text = value === null || value === undefined ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
    const safe = typeof value === 'string' && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(rows: readonly object[], columns: readonly string[]): string {
    const lines = rows.map((row) => columns.map((name) => cell((row as Record<string, unknown>)[name])).join(','));
    return [columns.join(','), ...lines].join('\r\n') + '\r\n';
}

export function saveRows(name: string, rows: readonly object[], columns: readonly string[], format: 'json' | 'csv'): void {
    if (format === 'json') {
        save(`${name}.json`, JSON.stringify(rows, null, 2), 'application/json');
    } else {
        save(`${name}.csv`, csv(rows, columns), 'text/csv');
    }
}
