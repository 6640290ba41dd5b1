// SPDX-License-Identifier: Apache-2.0
// Words of one page, English.
export default {
    lead: 'berth itself and the machine that it runs on.',
    status: { healthy: 'Healthy', degraded: 'Degraded', unhealthy: 'Unhealthy', warning: 'Warning', critical: 'Critical' },
    component: { database: 'Database', gpu: 'Devices', disk: 'Disk', memory: 'Memory' },
    health: 'Health', checked: 'Checked at {time}', program: 'berth', started: 'Running since',
    store: 'Database', queue: 'Task queue', queueKind: 'In the database; {running} running, {pending} waiting', dataDir: 'Data directory', configFile: 'Configuration file', listeners: 'Listens on', noFile: 'None: built-in values',
    takesChanges: '{kind}, {size}; it takes changes', readOnly: '{kind}, {size}; it takes no changes now',
    host: 'Host', hostname: 'Name', kernel: 'System', processor: 'Processor', cores: '{logical} threads, {physical} cores', booted: 'Booted', clock: 'Its clock',
    resources: 'Resources', cpu: 'Processor', memory: 'Memory', disk: 'Disk of the data directory', load: 'Load (1, 5, 15 min)', used: '{used} of {total}',
};
