// SPDX-License-Identifier: Apache-2.0
// Every page of the dashboard that needs nothing to be there: what walks over all of them goes by this list.
export const pages = [
    'overview', 'models', 'scheduler', 'instances', 'playground', 'tasks', 'batches', 'planner', 'planner/topologies', 'monitoring', 'logs', 'configuration', 'api', 'system',
] as const;
