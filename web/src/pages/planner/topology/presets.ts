// SPDX-License-Identifier: Apache-2.0
// Topologies to begin with, and links by their names.
import { type Level, type Link, type Topology, uniform } from './topology';

/** GB/s one way of a chip; how long a transfer takes to start is the planner's to know. */
export const linkPresets: readonly { name: string; bandwidth: number }[] = [
    { name: 'NVLink 5', bandwidth: 900 },
    { name: 'NVLink 4', bandwidth: 450 },
    { name: 'NVLink 3', bandwidth: 300 },
    { name: 'Infinity Fabric (MI300X)', bandwidth: 448 },
    { name: 'HCCS (910B)', bandwidth: 196 },
    { name: 'PCIe 5.0 x16', bandwidth: 64 },
    { name: 'PCIe 4.0 x16', bandwidth: 32 },
    { name: 'InfiniBand XDR 800 Gb/s', bandwidth: 100 },
    { name: 'InfiniBand NDR 400 Gb/s', bandwidth: 50 },
    { name: 'InfiniBand HDR 200 Gb/s', bandwidth: 25 },
    { name: 'Ethernet 100 Gb/s', bandwidth: 12.5 },
    { name: 'Ethernet 25 Gb/s', bandwidth: 3.125 },
];

function linked(topology: Topology, bandwidths: Partial<Record<Level, number>>): Topology {
    const links = Object.fromEntries(Object.entries(bandwidths).map(([level, bandwidth]): [string, Link] => [level, { bandwidth, latency: null }]));
    return { ...topology, links: { ...topology.links, ...links } };
}

export const presets: readonly { id: 'dgx' | 'hgx4' | 'superpod' | 'nvl72' | 'pcie' | 'ascend'; make: () => Topology }[] = [
    { id: 'dgx', make: () => linked(uniform('H100-SXM', 1, 1, 1, 8), { board: 450 }) },
    { id: 'hgx4', make: () => linked(uniform('H100-SXM', 1, 1, 4, 8), { board: 450, rack: 50 }) },
    { id: 'superpod', make: () => linked(uniform('H100-SXM', 1, 8, 4, 8), { board: 450, rack: 50, pod: 50 }) },
    { id: 'nvl72', make: () => linked(uniform('GB200', 1, 1, 18, 4), { board: 900, rack: 900 }) },
    { id: 'pcie', make: () => linked(uniform('L40S', 1, 1, 1, 8), { board: 32 }) },
    { id: 'ascend', make: () => linked(uniform('Ascend-910B', 1, 4, 4, 8), { board: 196, rack: 25, pod: 25 }) },
];
