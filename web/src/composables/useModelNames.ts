// SPDX-License-Identifier: Apache-2.0
// The models that a person can choose from, by id: for pickers and filters.
import { client, list } from '@/api/client';
import { type Loaded, useLoad } from './useLoad';

export interface ModelName {
    id: string;
    name: string;
    priority: number;
    status: string;
}

export function useModelNames(): Loaded<ModelName[]> {
    return useLoad(async (signal) => (await list(client.GET('/api/models/', { params: { query: { sort: 'name', limit: 1000 } }, signal }))).rows,
        ['model_created', 'model_updated', 'model_deleted']);
}
