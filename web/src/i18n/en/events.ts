// SPDX-License-Identifier: Apache-2.0
// What happened, in words: by kind, some by kind and state. English.
export default {
    other: '{kind}',
    started: 'berth {version} started', stopping: 'berth is going down', config_changed: 'The configuration was loaded anew',
    store_read_only: 'The database takes no more writes',
    model_created: '{model} was added', model_updated: '{model} was changed', model_deleted: '{model} was removed',
    model_wanted: '{model} was asked to run', model_unwanted: '{model} was asked to stop', model_task_status: 'Tasks of {model}: {from} → {to}',
    instance_state_waiting: '{model} waits for room', instance_state_starting: '{model} starts', instance_state_ready: '{model} is ready',
    instance_state_draining: '{model} finishes its requests before it stops', instance_state_stopping: '{model} stops', instance_state_backoff: '{model} failed and is tried again soon',
    instance_state_failed: '{model} failed', instance_state_gone: '{model} has stopped',
    instance_adopted: 'A living engine of {model} was taken over', instance_killed: 'A left-over engine of {model} was ended',
    model_placed: '{model} was given its place', model_recovered: '{model} got its place back', model_preempted: '{model} was moved aside for {for}',
    model_swapped: '{model} gave way to {for}', placement_failed: 'There is no room for {model}', placement_rules_changed: 'The rules of placement were changed',
    device_appeared: 'Device {device} ({name}) is there', device_vanished: 'Device {device} ({name}) is gone', device_unresponsive: 'Device {device} ({name}) does not answer',
    device_responsive: 'Device {device} ({name}) answers again', device_memory_held: '{model} has ended, but {memory} of device memory were not given back',
    task_dead: 'Task {task} of {model} failed for good', batch_state: 'Batch {batch}: {from} → {to}',
    task_instance_registered: 'Task instance {host} came', task_instance_ready: 'Task instance {host} is ready', task_instance_unreachable: 'Task instance {host} cannot be reached',
    task_instance_draining: 'Task instance {host} finishes its tasks', task_instance_removed: 'Task instance {host} was removed',
};
