// SPDX-License-Identifier: Apache-2.0
// A chip by its data sheet, as the form has it and as the daemon wants it.

export interface ChipFigures {
    name: string;
    bf16: number | null; // TFLOPS, dense
    fp8: number | null;
    memory: number | null; // GB
    bandwidth: number | null; // GB/s
    link: number | null; // GB/s one way, to its neighbours
    linked: number | null; // so many chips
    network: number | null; // GB/s one way, beyond
    price: number | null; // an hour
}
export type ChipFigure = Exclude<keyof ChipFigures, 'name'>;

/** Our name, the daemon's, and what else it reads there. */
export const chipFigures: readonly { name: ChipFigure; wire: string; others: readonly string[]; unit: string; needed: boolean }[] = [
    { name: 'bf16', wire: 'bf16_tflops', others: ['compute_tflops_fp16', 'compute_tflops_bf16'], unit: 'TFLOPS', needed: true },
    { name: 'fp8', wire: 'fp8_tflops', others: ['compute_tflops_fp8'], unit: 'TFLOPS', needed: false },
    { name: 'memory', wire: 'memory_gb', others: [], unit: 'GB', needed: true },
    { name: 'bandwidth', wire: 'bandwidth_gbps', others: ['memory_bandwidth_gbps', 'dram_bandwidth_gbps'], unit: 'GB/s', needed: true },
    { name: 'link', wire: 'scaleup_gbps', others: ['intra_bw_gbps'], unit: 'GB/s', needed: false },
    { name: 'linked', wire: 'scaleup_chips', others: [], unit: '', needed: false },
    { name: 'network', wire: 'scaleout_gbps', others: ['inter_bw_gbps'], unit: 'GB/s', needed: false },
    { name: 'price', wire: 'price_hour', others: ['cost_per_hour'], unit: '', needed: false },
];

export function emptyChip(): ChipFigures {
    return { name: '', bf16: null, fp8: null, memory: null, bandwidth: null, link: null, linked: null, network: null, price: null };
}

export function chipJson(chip: ChipFigures): Record<string, unknown> {
    const told = chipFigures.filter(({ name }) => chip[name] !== null).map(({ name, wire }) => [wire, chip[name]]);
    return { name: chip.name.trim() || 'my-chip', ...Object.fromEntries(told) };
}

export function chipFromJson(json: Record<string, unknown>): ChipFigures {
    const chip = emptyChip();
    const told = typeof json.name === 'string' ? json.name : json.chip_type;
    chip.name = typeof told === 'string' ? told : '';
    for (const { name, wire, others } of chipFigures) {
        const value = [wire, ...others].map((one) => json[one]).find((one) => typeof one === 'number');
        chip[name] = typeof value === 'number' ? value : null;
    }
    return chip;
}
