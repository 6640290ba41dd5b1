// SPDX-License-Identifier: Apache-2.0
// A topology as the editor has it: a tree of kinds with counts ("4 racks like this one"), and the links of its levels. It is kept and
// asked in the daemon's shape: pods, racks, boards, chips one by one while they are few, counted beyond that.

export type Level = 'board' | 'rack' | 'pod' | 'cluster';
export const levels: readonly Level[] = ['board', 'rack', 'pod', 'cluster'];
type Json = Record<string, unknown>;

/** Of one chip, one way; null: what the chip's own links do. */
export interface Link {
    bandwidth: number | null; // GB/s
    latency: number | null; // µs
}
export interface Chips {
    type: string;
    count: number;
}
export interface Board {
    label: string;
    count: number;
    chips: Chips[];
}
export interface Rack {
    label: string;
    count: number;
    boards: Board[];
}
export interface Pod {
    label: string;
    count: number;
    racks: Rack[];
}
export interface Topology {
    id: string;
    description: string;
    pods: Pod[];
    links: Record<Level, Link>;
}

export const CHIPS_MAX = 65536;
const ONE_BY_ONE_MAX = 8192;

function unlinked(): Link {
    return { bandwidth: null, latency: null };
}

/** So many pods, racks in each, boards in each of them, chips on each. */
export function uniform(type: string, pods: number, racks: number, boards: number, chips: number): Topology {
    return {
        id: '',
        description: '',
        pods: [{ label: 'Pod', count: pods, racks: [{ label: 'Rack', count: racks, boards: [{ label: 'Board', count: boards, chips: [{ type, count: chips }] }] }] }],
        links: { board: unlinked(), rack: unlinked(), pod: unlinked(), cluster: unlinked() },
    };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);

export function chipsOfBoard(board: Board): number {
    return sum(board.chips.map(({ count }) => count));
}
export function chipsOfRack(rack: Rack): number {
    return sum(rack.boards.map((board) => board.count * chipsOfBoard(board)));
}
export function chipsOfPod(pod: Pod): number {
    return sum(pod.racks.map((rack) => rack.count * chipsOfRack(rack)));
}
export function chipsOf({ pods }: Topology): number {
    return sum(pods.map((pod) => pod.count * chipsOfPod(pod)));
}

/** How many chips of each kind, the most first. */
export function kindsOf({ pods }: Topology): Chips[] {
    const counts = new Map<string, number>();
    for (const pod of pods) {
        for (const rack of pod.racks) {
            for (const board of rack.boards) {
                for (const { type, count } of board.chips) {
                    counts.set(type, (counts.get(type) ?? 0) + pod.count * rack.count * board.count * count);
                }
            }
        }
    }
    return [...counts].map(([type, count]) => ({ type, count })).filter(({ count }) => count > 0).sort((a, b) => b.count - a.count);
}

/** The levels that have more than one thing in them, so that their links count. */
export function levelsOf({ pods }: Topology): Level[] {
    const racks = pods.flatMap((pod) => pod.racks);
    const wide: Record<Level, boolean> = {
        board: racks.some((rack) => rack.boards.some((board) => chipsOfBoard(board) > 1)),
        rack: racks.some((rack) => sum(rack.boards.map(({ count }) => count)) > 1),
        pod: pods.some((pod) => sum(pod.racks.map(({ count }) => count)) > 1),
        cluster: sum(pods.map(({ count }) => count)) > 1,
    };
    return levels.filter((level) => wide[level]);
}

// ---- to the daemon's shape ----

function range<T>(count: number, make: (index: number) => T): T[] {
    return Array.from({ length: count }, (_, index) => make(index));
}

function repeated<T extends { count: number; label: string }>(kinds: readonly T[], make: (kind: T, index: number, label: string) => Json): Json[] {
    let index = 0;
    return kinds.flatMap((kind) => range(kind.count, (nth) => make(kind, index++, kind.count > 1 ? `${kind.label} ${nth + 1}` : kind.label)));
}

function chipsJson(board: Board, at: string): Json[] {
    let index = 0;
    return board.chips.flatMap(({ type, count }) => range(count, () => {
        const here = index++;
        return { id: `${at}c${here}`, type, position: [Math.floor(here / 4), here % 4], label: String(here) };
    }));
}

function podsJson(pods: readonly Pod[]): Json[] {
    return repeated(pods, (pod, p, label) => ({
        id: `p${p}`, label, grid_size: [1, sum(pod.racks.map(({ count }) => count))],
        racks: repeated(pod.racks, (rack, r, rackLabel) => ({
            id: `p${p}r${r}`, label: rackLabel, position: [0, r], total_u: 42,
            boards: repeated(rack.boards, (board, b, boardLabel) => ({ id: `p${p}r${r}b${b}`, label: boardLabel, u_position: 1 + 4 * b, u_height: 4, chips: chipsJson(board, `p${p}r${r}b${b}`) })),
        })),
    }));
}

/** One connection a level says how all of that level are linked. */
function connectionsJson(topology: Topology): Json[] {
    const ends: Record<Level, [string, string]> = { board: ['p0r0b0c0', 'p0r0b0c1'], rack: ['p0r0b0', 'p0r0b1'], pod: ['p0r0', 'p0r1'], cluster: ['p0', 'p1'] };
    return levelsOf(topology).filter((level) => (topology.links[level].bandwidth ?? 0) > 0).map((level) => ({
        source: ends[level][0], target: ends[level][1], type: level, bandwidth: topology.links[level].bandwidth, latency: topology.links[level].latency ?? 0,
    }));
}

/** Undefined: it is too large to be told, since its pods or racks differ. */
export function toJson(topology: Topology): Json | undefined {
    const connections = connectionsJson(topology);
    const [pod, ...pods] = topology.pods;
    const [rack, ...racks] = pod?.racks ?? [];
    if (chipsOf(topology) <= ONE_BY_ONE_MAX) {
        return { pods: podsJson(topology.pods), connections };
    }
    if (!pod || !rack || pods.length > 0 || racks.length > 0) {
        return undefined;
    }
    return { pod_count: pod.count, racks_per_pod: rack.count, rack_config: { boards: rack.boards.map(({ label, count, chips }) => ({ label, count, chips })) }, connections };
}

// ---- and back ----

const list = (value: unknown): Json[] => (Array.isArray(value) ? value.filter((one): one is Json => typeof one === 'object' && one !== null) : []);
const text = (value: unknown, usual: string): string => (typeof value === 'string' && value !== '' ? value : usual);
const count = (value: unknown, usual = 1): number => (typeof value === 'number' && value >= 0 ? Math.floor(value) : usual);

/** Alike neighbours are one kind with a count; "Rack 3" of several is called "Rack". */
function grouped<T extends { label: string; count: number }>(parts: readonly T[]): T[] {
    const kinds: T[] = [];
    for (const part of parts) {
        const last = kinds.at(-1);
        if (last && JSON.stringify({ ...last, label: '', count: 1 }) === JSON.stringify({ ...part, label: '', count: 1 })) {
            last.count += part.count;
            last.label = last.label.replace(/\s*\d+$/, '') || last.label;
        } else {
            kinds.push({ ...part });
        }
    }
    return kinds;
}

function chipsFrom(value: unknown, usual: string): Chips[] {
    const kinds: Chips[] = [];
    for (const one of list(value)) {
        const type = text(one.type, text(one.name, usual));
        const last = kinds.at(-1);
        if (last && last.type === type) {
            last.count += count(one.count);
        } else {
            kinds.push({ type, count: count(one.count) });
        }
    }
    return kinds;
}

function boardsFrom(value: unknown, usual: string): Board[] {
    return grouped(list(value).map((board) => ({ label: text(board.label, 'Board'), count: count(board.count), chips: chipsFrom(board.chips, usual) })));
}

function podsFrom(json: Json, usual: string): Pod[] {
    if (Array.isArray(json.pods)) {
        return grouped(list(json.pods).map((pod) => ({
            label: text(pod.label, 'Pod'), count: 1,
            racks: grouped(list(pod.racks).map((rack) => ({ label: text(rack.label, 'Rack'), count: 1, boards: boardsFrom(rack.boards, usual) }))),
        })));
    }
    if (Array.isArray(json.levels)) {
        const [chips = 1, boards = 1, racks = 1, ...rest] = list(json.levels).map(({ groups }) => count(groups));
        return uniform(usual, rest.reduce((product, one) => product * one, 1), racks, boards, chips).pods;
    }
    const rack = typeof json.rack_config === 'object' && json.rack_config !== null && 'boards' in json.rack_config ? json.rack_config.boards : [];
    return [{ label: 'Pod', count: count(json.pod_count), racks: [{ label: 'Rack', count: count(json.racks_per_pod), boards: boardsFrom(rack, usual) }] }];
}

function linksFrom(json: Json, topology: Topology): void {
    const used = levelsOf(topology);
    list(json.levels).forEach((level, index) => {
        const at = levels[Math.min(index, levels.length - 1)]!;
        topology.links[at] = { bandwidth: Number(level.gbps) || null, latency: Number(level.alpha_us) || null };
    });
    for (const { type, bandwidth, latency } of list(json.connections)) {
        const told = type === 'intra' ? ['board' as const] : type === 'inter' ? used.filter((level) => level !== 'board') : levels.filter((level) => level === type);
        for (const level of told) {
            topology.links[level] = { bandwidth: Number(bandwidth) || null, latency: Number(latency) || null };
        }
    }
}

/** `usual`: the chip of those that have no type. */
export function fromJson(json: Json, usual = 'H100-SXM'): Topology {
    const topology: Topology = { ...uniform(usual, 1, 1, 1, 1), id: text(json.id, text(json.name, '')), description: text(json.description, ''), pods: podsFrom(json, usual) };
    linksFrom(json, topology);
    return topology;
}
