// SPDX-License-Identifier: Apache-2.0
// Writes llama-architecture models of any size with noise for weights: for tests of what engines take of memory. They load and answer; what they
// say makes no sense.
import { closeSync, openSync, writeSync } from 'node:fs';

export type WeightType = 'f16' | 'q8_0' | 'q4_0';

export interface Shape {
    layers: number;
    hidden: number;
    heads: number;
    kvHeads: number;
    ff: number;
    vocab: number;
    type: WeightType;
}

// GGUF's numbers: of value types, then of tensor types with the values and bytes of a block.
const U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9;
const blocks = { f32: [0, 1, 4], f16: [1, 1, 2], q4_0: [2, 32, 18], q8_0: [8, 32, 34] } as const;

function number(bytes: 4 | 8, value: number): Buffer {
    const out = Buffer.alloc(bytes);
    if (bytes === 4) {
        out.writeUInt32LE(value);
    } else {
        out.writeBigUInt64LE(BigInt(value));
    }
    return out;
}

function text(value: string): Buffer {
    const raw = Buffer.from(value);
    return Buffer.concat([number(8, raw.length), raw]);
}

function float(value: number): Buffer {
    const out = Buffer.alloc(4);
    out.writeFloatLE(value);
    return out;
}

const pair = (key: string, type: number, value: Buffer) => Buffer.concat([text(key), number(4, type), value]);
const list = (key: string, type: number, values: Buffer[]) => pair(key, ARRAY, Buffer.concat([number(4, type), number(8, values.length), ...values]));

/** Bytes first, as every tokenizer of this kind has them, then letters and words without meaning. */
function vocabulary(size: number): string[] {
    const letters = [...'abcdefghijklmnopqrstuvwxyz'];
    const words = ['<unk>', '<s>', '</s>', ...Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, '0')}>`),
        '▁', ...letters, ...letters.map((letter) => `▁${letter}`)];
    return [...words, ...Array.from({ length: size - words.length }, (_, i) => `w${i}`)];
}

function metadata(s: Shape): Buffer[] {
    const words = vocabulary(s.vocab);
    return [
        pair('general.architecture', STRING, text('llama')),
        pair('general.name', STRING, text('noise')),
        pair('llama.context_length', U32, number(4, 131072)),
        pair('llama.embedding_length', U32, number(4, s.hidden)),
        pair('llama.block_count', U32, number(4, s.layers)),
        pair('llama.feed_forward_length', U32, number(4, s.ff)),
        pair('llama.attention.head_count', U32, number(4, s.heads)),
        pair('llama.attention.head_count_kv', U32, number(4, s.kvHeads)),
        pair('llama.rope.dimension_count', U32, number(4, s.hidden / s.heads)),
        pair('llama.attention.layer_norm_rms_epsilon', F32, float(1e-5)),
        pair('llama.vocab_size', U32, number(4, s.vocab)),
        pair('tokenizer.ggml.model', STRING, text('llama')),
        list('tokenizer.ggml.tokens', STRING, words.map(text)),
        list('tokenizer.ggml.scores', F32, words.map((_, i) => float(-i))),
        list('tokenizer.ggml.token_type', I32, words.map((_, i) => number(4, i === 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1))),
        pair('tokenizer.ggml.bos_token_id', U32, number(4, 1)),
        pair('tokenizer.ggml.eos_token_id', U32, number(4, 2)),
        pair('tokenizer.ggml.add_bos_token', BOOL, Buffer.from([1])),
    ];
}

interface Tensor {
    name: string;
    dimensions: number[];
    type: keyof typeof blocks;
    bytes: number;
}

function tensors(s: Shape): Tensor[] {
    const kv = (s.hidden / s.heads) * s.kvHeads;
    const make = (type: keyof typeof blocks) => (name: string, ...dimensions: number[]): Tensor => {
        const values = dimensions.reduce((a, b) => a * b);
        return { name: `${name}.weight`, dimensions, type, bytes: (values / blocks[type][1]) * blocks[type][2] };
    };
    const matrix = make(s.type), vector = make('f32');
    return [
        matrix('token_embd', s.hidden, s.vocab),
        ...Array.from({ length: s.layers }, (_, i) => [
            vector(`blk.${i}.attn_norm`, s.hidden),
            matrix(`blk.${i}.attn_q`, s.hidden, s.hidden),
            matrix(`blk.${i}.attn_k`, s.hidden, kv),
            matrix(`blk.${i}.attn_v`, s.hidden, kv),
            matrix(`blk.${i}.attn_output`, s.hidden, s.hidden),
            vector(`blk.${i}.ffn_norm`, s.hidden),
            matrix(`blk.${i}.ffn_gate`, s.hidden, s.ff),
            matrix(`blk.${i}.ffn_up`, s.hidden, s.ff),
            matrix(`blk.${i}.ffn_down`, s.ff, s.hidden),
        ]).flat(),
        vector('output_norm', s.hidden),
        matrix('output', s.hidden, s.vocab),
    ];
}

/** Small numbers of the type, in whole blocks. */
function noise(type: keyof typeof blocks): Buffer {
    const [, , size] = blocks[type];
    const out = Buffer.alloc(size * 32768);
    let seed = 1;
    const next = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff);
    for (let at = 0; at < out.length; at += size) {
        if (type === 'f32') {
            out.writeFloatLE(1, at);
        } else if (type === 'f16') {
            out.writeUInt16LE(((next() & 0x8000) | 0x2400 | (next() & 0x3ff)) & 0xffff, at); // about 0.02
        } else {
            out.writeUInt16LE(0x1000, at); // the scale: about 0.0005
            for (let i = 2; i < size; i++) {
                out[at + i] = next() >> 8;
            }
        }
    }
    return out;
}

const pad = (n: number) => Math.ceil(n / 32) * 32;

/** Writes the model; its size in bytes. */
export function writeModel(path: string, shape: Shape): number {
    const all = tensors(shape), pairs = metadata(shape);
    let offset = 0;
    const table = all.map((t) => {
        const row = Buffer.concat([text(t.name), number(4, t.dimensions.length), ...t.dimensions.map((d) => number(8, d)), number(4, blocks[t.type][0]), number(8, offset)]);
        offset += pad(t.bytes);
        return row;
    });
    const head = Buffer.concat([Buffer.from('GGUF'), number(4, 3), number(8, all.length), number(8, pairs.length), ...pairs, ...table]);
    const file = openSync(path, 'w');
    const chunks = { f32: noise('f32'), [shape.type]: noise(shape.type) } as Record<string, Buffer>;
    let size = writeSync(file, Buffer.concat([head, Buffer.alloc(pad(head.length) - head.length)]));
    for (const t of all) {
        const chunk = chunks[t.type];
        for (let left = t.bytes; left > 0; left -= chunk.length) {
            size += writeSync(file, chunk, 0, Math.min(left, chunk.length));
        }
        size += writeSync(file, Buffer.alloc(pad(t.bytes) - t.bytes));
    }
    closeSync(file);
    return size;
}
