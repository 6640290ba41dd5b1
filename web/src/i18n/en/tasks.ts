// SPDX-License-Identifier: Apache-2.0
// Words of the task pages, English.
export default {
    text: 'Work that is wanted, not waited for: queued durably, done by priority.', submit: 'Submit a task', one: 'Task {id}', list: 'Tasks', statistics: 'Statistics', views: 'Views',
    priorities: { low: 'low', medium: 'medium', high: 'high' },
    queue: { high: 'Waiting, high', medium: 'Waiting, medium', low: 'Waiting, low', delayed: 'For later', running: 'Running', completed: 'Completed', failed: 'Failed', good: 'Success rate', ofAll: 'of all submitted', average: 'on average {time}' },
    running: { title: 'Running now', none: 'No task runs.', since: 'for {time}', usual: 'usually {time}', more: '{n} more run', progress: 'Progress by the usual time of this type' },
    columns: { id: 'No.', retries: 'Retries', took: 'Took', input: 'Input' },
    filter: {
        status: 'Status', anyStatus: 'Every status', model: 'Model', anyModel: 'Every model', type: 'Type', anyType: 'Every type', priority: 'Priority', anyPriority: 'Every priority',
        dead: 'Dead letters only', from: 'Submitted from', to: 'Submitted until', none: 'No task yet. Submit one, or send it with berth submit.', noMatch: 'No task matches.', clear: 'Clear filters',
    },
    bulk: {
        selected: '{n} selected', cancel: 'Cancel', retry: 'Retry', delete: 'Delete', cancelIt: 'Cancel them', deleteIt: 'Delete them', max: 'At most {n} at once: choose fewer.',
        confirmCancel: 'Cancel {n} tasks? What runs is broken off.', confirmDelete: 'Delete {n} tasks for good? Their outputs go with them.',
        doneCancel: '{n} cancelled', doneRetry: '{n} wait again', doneDelete: '{n} deleted', refused: '{n} refused: {reason}',
    },
    export: { csv: 'CSV', json: 'JSON', cut: 'The first {n} of {total} tasks were exported. Narrow the filters for the others.', none: 'There is nothing to export.' },
    form: {
        title: 'Submit a task', model: 'Model', choose: 'Choose a model', type: 'Type', input: 'Input', asText: 'Text', asJson: 'JSON', inputKind: 'The input is', priority: 'Priority', retries: 'Retries at most', retriesHint: 'Empty: as configured.',
        when: 'When', now: 'As soon as possible', delay: 'After a while', at: 'At a time', delayField: 'Delay', delayHint: 'Seconds, or a duration such as 5m.', atField: 'Time', timeout: 'Time limit', timeoutHint: 'Empty: as configured. Seconds, or 2m.',
        options: 'Options', optionHint: 'Default: {value}', moreOptions: 'More options (JSON object)', moreHint: 'For example a request member: {example}', webhook: 'Webhook', webhookHint: 'Gets a POST when the task has ended; its host must be allowed.',
        advanced: 'More', badJson: 'This is no JSON: {reason}', noObject: 'This must be a JSON object.', chooseModel: 'Choose a model.', noInput: 'Say what the task is about.', noTime: 'Say when it begins.', submitted: 'Task {id} is queued.', path: 'Path of the engine',
    },
    detail: {
        waits: 'Why it waits', place: 'Place {n}', starts: 'expected to begin {time}', input: 'Input', output: 'Output', none: 'Nothing yet.', noOutput: 'It has given no output.', log: 'Log', attempts: 'Attempts', attempt: 'Attempt', options: 'Options', tries: '{n} of {max} retries used', dead: 'Dead letter: its tries are used up.',
        instance: 'Answered by', runAt: 'Not before', waited: 'Waited', took: 'Took', level: 'Level', again: 'Submit another like it', cancel: 'Cancel', cancelAsk: 'Cancel task {id}?', cancelIt: 'Cancel it', cancelled: 'Task {id} is cancelled.', retried: 'Task {id} waits again.',
        deleteAsk: 'Delete task {id} for good? Its output goes with it.', deleted: 'Task {id} is deleted.', moved: 'Task {id} is of {priority} priority.', changePriority: 'Change the priority',
    },
    stats: {
        byDate: 'Tasks a day', byModel: 'By model', byType: 'By type', days: 'Days', lastDays: 'last {n} days', completed: 'Completed', failed: 'Failed', cancelled: 'Cancelled', average: 'Average time', averageByDate: 'Average time of a task, by day',
        date: 'Day', total: 'Total', good: 'Good', pending: 'Waiting', running: 'Running', none: 'No task yet.',
    },
};
