// SPDX-License-Identifier: Apache-2.0
// How grave a line of a log is, by the looks of it: berth's own ("2026-… error room …", or JSON), llama-server's ("0.01.2 E srv …"),
// and what Python's servers write ("ERROR 11-21 …").
export type LogLevel = 'error' | 'warning' | 'debug' | '';

const marks: readonly [LogLevel, RegExp][] = [
    ['error', /^\S+ (error|critical) |"level":"(error|critical)"|^[\d.]+ E |^(\S+ )?(ERROR|CRITICAL)\b/],
    ['warning', /^\S+ warn(ing)? |"level":"warn(ing)?"|^[\d.]+ W |^(\S+ )?WARNING\b/],
    ['debug', /^\S+ debug |"level":"debug"|^[\d.]+ D |^(\S+ )?DEBUG\b/],
];

export function levelOf(line: string): LogLevel {
    return marks.find(([, pattern]) => pattern.test(line))?.[0] ?? '';
}
