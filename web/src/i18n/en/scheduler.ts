// SPDX-License-Identifier: Apache-2.0
// Words of the scheduler page, English.
export default {
    text: 'Which model lies where, who waits for room and why, and what was decided.',
    schedule: 'Schedule a model', policy: 'Policy', promote: 'Raise', withdraw: 'Withdraw',
    cards: {
        running: 'Running', queued: 'In the queue', failed: 'Failed', total: 'Models', state: 'Scheduler', stateRunning: 'running',
        last: 'Last decision', never: 'none yet', preemption: 'moves models aside', noPreemption: 'moves nobody aside',
        today: 'Decisions today', todayHint: '{good} placed, {bad} failed', preempted: 'Moved aside', preemptedHint: 'in the last hour; {day} in a day',
    },
    devices: {
        title: 'Devices', summary: '{used} of {all} devices hold models', none: 'No device is seen.', others: 'Other programs', held: 'Not given back yet', free: 'Free for models',
        margin: 'Beyond the threshold', utilization: 'Load', temperature: 'Temperature', power: 'Power', priority: 'priority {n}', of: '{used} of {total} used', measured: 'measured {size}',
    },
    queue: {
        title: 'Queue', none: 'Nobody waits for room.', why: 'Why it waits', since: 'Waits', start: 'Expected', reserved: 'its place is kept', unknownStart: 'unknown',
        promoted: '{model} has priority {n} now', withdrawn: '{model} does not wait any more', confirm: 'Take {model} out of the queue? It will not be started until somebody asks for it again.',
    },
    history: {
        title: 'History', none: 'No decision in this time.', action: 'What', reason: 'Why', took: 'Took', devices: 'Devices', result: 'Outcome', for: 'for {model}', anyAction: 'Every action', anyModel: 'Every model',
        hours: 'Since', lastHours: 'last {n} h', lastDays: 'last {n} days', success: 'done', failed: 'failed', under: 'under way', exportCsv: 'CSV', exportJson: 'JSON', exportNone: 'There is nothing to export.', filterAction: 'Action', filterModel: 'Model',
        scheduled: 'placed', preempted: 'moved aside', swapped: 'gave way', recovered: 'came back', failure: 'no room',
    },
    rules: {
        title: 'Placement policy', text: 'In force at once, and kept over restarts.', basic: 'Basics', resources: 'Resources', timing: 'Timing', saved: 'The policy is in force.', defaults: 'Defaults',
        scheduling_algorithm: 'Order of placing', scheduling_algorithmHint: 'Whom to place first, and on which device.',
        priority_based: 'By priority, fullest device that fits', spread: 'By priority, emptiest device', first_come: 'First come, first placed',
        preemption_enabled: 'Lower priorities may be moved aside', auto_recovery_enabled: 'What was moved aside comes back by itself',
        resource_threshold: 'Share of a device that is placed', resource_thresholdHint: '0.1 to 1: the rest stays free.',
        priority_levels: 'Highest priority', priority_levelsHint: '1 to 20', max_queue_size: 'Models that may wait', max_queue_sizeHint: 'Further starts are refused.',
        scheduling_interval: 'Everything is decided anew every (s)', scheduling_intervalHint: '10 to 300; changes are acted on at once.',
        health_check_interval: 'Ready models are probed every (s)', health_check_intervalHint: '1 to 3600',
    },
    manual: {
        title: 'Schedule a model', model: 'Model', choose: 'Choose a model', priority: 'Priority', priorityHint: '1 to 10; kept for this model.', force: 'Force: ignore the threshold and waiting times; place a running model anew',
        preempt: 'Lower priorities may be moved aside', preview: 'What would happen', looking: 'Looking…', act: 'Schedule', moves: 'Moves aside: {models}', nobody: 'Nobody is moved aside.',
        placed: 'Would be placed on {devices}', queued: 'Would wait in the queue', failed: 'Cannot be placed', device: 'device {n}', start: 'Expected start: {time}',
        donePlaced: '{model} is placed: {reason}', doneQueued: '{model} waits: {reason}', confirm: '{models} will be drained and stopped to make room for {model}.', failedDone: '{model} was not placed: {reason}',
    },
};
