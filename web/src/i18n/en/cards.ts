// SPDX-License-Identifier: Apache-2.0
// Words of the cards of what runs, English.
export default {
    title: 'Running now', count: '{n} running', task: 'Task {id}', more: '{n} more', fold: 'Fold', unfold: 'Unfold', cancel: 'Cancel', cancelAsk: 'Cancel {name}?', cancelIt: 'Cancel it',
    returned: 'Still running: {n}. Their cards are back.', progress: 'Progress', evaluation: 'Evaluation', since: 'for {time}',
    notify: { label: 'Tell me on the desktop when work ends', denied: 'Your browser does not allow notifications from this page.', unavailable: 'Notifications need HTTPS or localhost.', many: '{n} have ended', ended: '{name}: {status}' },
};
