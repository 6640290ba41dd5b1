// SPDX-License-Identifier: Apache-2.0
// Which field of the form a sentence of the daemon's checks is about: nearly all begin with the member's name.
const fields = ['id', 'name', 'framework', 'model_path', 'priority', 'gpu_devices', 'additional_parameters', 'parameters', 'aliases', 'replicas', 'keep_alive',
    'strategy', 'max_workers', 'resource_requirements.gpu_memory', 'health_check', 'retry_policy'];
const words: [RegExp, string][] = [[/\balias\b/, 'aliases'], [/\bmodel file\b|\bmodel path\b/, 'model_path'], [/^framework\b/, 'framework'], [/^the id\b|with the id\b/, 'id']];

/** '' when it is about none of them. */
export function fieldOf(sentence: string): string {
    const named = /^[a-z_.]+/.exec(sentence)?.[0] ?? '';
    const field = fields.find((name) => named === name || named.startsWith(`${name}.`));
    return field ?? words.find(([pattern]) => pattern.test(sentence))?.[1] ?? '';
}

export function byField(sentences: readonly string[]): Record<string, string> {
    const all: Record<string, string> = {};
    for (const sentence of sentences) {
        const field = fieldOf(sentence);
        all[field] = all[field] ? `${all[field]}; ${sentence}` : sentence;
    }
    return all;
}
