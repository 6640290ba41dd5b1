// SPDX-License-Identifier: Apache-2.0
// A model by its dimensions, as the form has it and as the daemon wants it.

export interface ModelDims {
    name: string;
    layers: number | null;
    hidden: number | null;
    heads: number | null;
    kvHeads: number | null;
    headDim: number | null;
    inter: number | null;
    vocab: number | null;
    experts: number | null; // none: a dense model
    topK: number | null;
    expertInter: number | null;
    shared: number | null;
    denseLayers: number | null;
}
export type ModelDim = Exclude<keyof ModelDims, 'name'>;

export const modelDims: readonly { name: ModelDim; wire: string; experts: boolean }[] = [
    { name: 'layers', wire: 'num_layers', experts: false },
    { name: 'hidden', wire: 'hidden_size', experts: false },
    { name: 'heads', wire: 'num_attention_heads', experts: false },
    { name: 'kvHeads', wire: 'num_kv_heads', experts: false },
    { name: 'headDim', wire: 'head_dim', experts: false },
    { name: 'inter', wire: 'intermediate_size', experts: false },
    { name: 'vocab', wire: 'vocab_size', experts: false },
    { name: 'experts', wire: 'num_experts', experts: true },
    { name: 'topK', wire: 'num_experts_per_tok', experts: true },
    { name: 'expertInter', wire: 'expert_intermediate_size', experts: true },
    { name: 'shared', wire: 'num_shared_experts', experts: true },
    { name: 'denseLayers', wire: 'first_k_dense_replace', experts: true },
];

export function emptyDims(): ModelDims {
    return {
        name: '', layers: 32, hidden: 4096, heads: 32, kvHeads: 8, headDim: null, inter: 14336, vocab: 128256,
        experts: null, topK: null, expertInter: null, shared: null, denseLayers: null,
    };
}

export function dimsJson(dims: ModelDims): Record<string, unknown> {
    const members = (experts: boolean) => Object.fromEntries(modelDims.filter((one) => one.experts === experts && dims[one.name] !== null).map(({ name, wire }) => [wire, dims[name]]));
    const moe = (dims.experts ?? 0) > 0;
    return { model_name: dims.name.trim() || 'my-model', model_type: moe ? 'moe' : 'dense', ...members(false), ...(moe ? { moe_config: members(true) } : {}) };
}
