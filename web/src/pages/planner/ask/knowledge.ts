// SPDX-License-Identifier: Apache-2.0
// What the planner knows by name: chips, models, kept topologies.
import { client, data } from '@/api/client';
import { useLoad } from '@/composables/useLoad';

export type KnownChip = Awaited<ReturnType<typeof readChips>>[number];
export type KnownModel = Awaited<ReturnType<typeof readModels>>[number];
export type KeptTopology = Awaited<ReturnType<typeof readTopologies>>[number];

export interface Knowledge {
    chips: KnownChip[];
    models: KnownModel[];
    topologies: KeptTopology[];
}

async function readChips() {
    return (await data(client.GET('/api/presets/chips'))).chips;
}
async function readModels() {
    return (await data(client.GET('/api/presets/models'))).models;
}
async function readTopologies() {
    return (await data(client.GET('/api/topologies'))).topologies;
}

export function useKnowledge() {
    return useLoad<Knowledge>(async () => {
        const [chips, models, topologies] = await Promise.all([readChips(), readModels(), readTopologies()]);
        return { chips, models, topologies };
    });
}
