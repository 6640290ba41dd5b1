// SPDX-License-Identifier: Apache-2.0
// Ready questions that fill the form, each a few differences from an empty one.
import { emptyQuestion, type Question } from './question';

export const examples: readonly { id: 'eight' | 'experts' | 'card' | 'cheapest' | 'manual' | 'offline'; differs: Partial<Question> }[] = [
    { id: 'eight', differs: { name: '70B on 8 H100', model: 'Llama-3.1-70B', chip: 'H100-SXM', chips: 8 } },
    { id: 'experts', differs: { name: 'DeepSeek-V3 on 64 chips', model: 'DeepSeek-V3', chip: 'H800-SXM', chips: 64, input: 4096, output: 1024, ttft: 3000, tpot: 50 } },
    { id: 'card', differs: { name: '8B on one RTX 4090', model: 'Llama-3.1-8B', chip: 'RTX-4090', chips: 1, perNode: 1, tpot: 40 } },
    { id: 'cheapest', differs: { name: 'Fewest chips for 2 requests a second', objective: 'chips', load: 'rate', rate: 2, ttft: null, tpot: 20 } },
    { id: 'manual', differs: { name: '70B, tp4 pp2', mode: 'manual', load: 'batch', batch: 64, parallelism: { tp: 4, pp: 2, dp: 1, ep: 1, moe_tp: 1 } } },
    { id: 'offline', differs: { name: 'Offline batch, 32B on 4 A100', model: 'Qwen3-32B', weights: 'bf16', chip: 'A100-SXM-80GB', chips: 4, load: 'offline', input: 2048, output: 512 } },
];

export function filled(differs: Partial<Question>): Question {
    return { ...emptyQuestion(), ...structuredClone(differs) };
}
