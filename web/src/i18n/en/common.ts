// SPDX-License-Identifier: Apache-2.0
// Words that several pages share, English.
export default {
    nav: {
        title: 'Pages', skip: 'Skip to content', open: 'Open the menu', close: 'Close the menu', home: 'berth',
        overview: 'Overview', models: 'Models', scheduler: 'Scheduler', tasks: 'Tasks', batches: 'Batches', playground: 'Playground',
        planner: 'Planner', instances: 'Instances and routing', monitoring: 'Monitoring', logs: 'Logs', configuration: 'Configuration',
        api: 'API', system: 'System',
        groupServe: 'Serve', groupWork: 'Work', groupPlan: 'Plan', groupWatch: 'Watch', groupAdmin: 'Administer',
        missing: 'There is no such page.',
    },
    live: { connecting: 'Connecting', live: 'Live', waiting: 'Connection lost; tries again', refused: 'Not signed in', retry: 'Try now' },
    theme: { label: 'Colours', auto: 'As the system', light: 'Light', dark: 'Dark' },
    language: { label: 'Language' },
    sign: {
        title: 'Sign in', explain: 'This berth asks for its key. It was printed when berth first started.', key: 'Key', base: 'Address of berth',
        baseHint: 'Empty: where this page comes from.', in: 'Sign in', out: 'Sign out', wrong: 'berth does not take this key.', change: 'Connection',
    },
    state: {
        loading: 'Loading', failed: 'This could not be read', unreachable: 'berth does not answer.', forbidden: 'No permission',
        forbiddenText: 'This needs a key that may do it.', empty: 'Nothing here yet', noMatch: 'Nothing matches', retry: 'Try again',
        stale: 'What is shown may be old: {reason}',
    },
    act: {
        edit: 'Edit', save: 'Save', cancel: 'Cancel', close: 'Close', delete: 'Delete', start: 'Start', stop: 'Stop', restart: 'Restart',
        retry: 'Retry', refresh: 'Refresh', export: 'Export', view: 'View', more: 'More', search: 'Search', clear: 'Clear', copy: 'Copy', copied: 'Copied', noCopy: 'The browser does not allow it here: select the text and copy it.',
        apply: 'Apply', submit: 'Submit', back: 'Back', all: 'All', actions: 'Actions', select: 'Select', reset: 'Reset', download: 'Download',
    },
    list: { total: '{n} in all' },
    chart: { table: 'As a table', picture: 'As a chart', none: 'No data yet', time: 'Time' },
    word: {
        model: 'Model', models: 'Models', name: 'Name', id: 'ID', status: 'Status', priority: 'Priority', device: 'Device', devices: 'Devices', memory: 'Memory',
        time: 'Time', created: 'Created', started: 'Started', ended: 'Ended', type: 'Type', reason: 'Reason', message: 'Message', error: 'Error', instance: 'Instance',
        yes: 'Yes', no: 'No', none: 'None', unknown: 'unknown', total: 'Total', used: 'Used', free: 'Free', running: 'Running', queued: 'Queued', failed: 'Failed',
        position: 'Position', duration: 'Duration', result: 'Result', progress: 'Progress', from: 'From', to: 'To', version: 'Version', uptime: 'Up for',
    },
    modelStatus: {
        stopped: 'Stopped', queued: 'Queued', starting: 'Starting', running: 'Running', error: 'Failed', stopping: 'Stopping', preempted: 'Moved aside',
    },
    taskStatus: { pending: 'Waiting', running: 'Running', completed: 'Completed', failed: 'Failed', cancelled: 'Cancelled' },
};
