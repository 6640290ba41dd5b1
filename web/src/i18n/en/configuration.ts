// SPDX-License-Identifier: Apache-2.0
// Words of one page, English.
export default {
    lead: 'Every option as berth runs with it.', how: 'How to change it', file: 'berth was started with the file', noFile: 'berth was started without a file; all values are built in, or of the environment.',
    howText: 'Change the file, then send berth the signal SIGHUP: it takes what can be changed while it runs, and says what needs a restart. A file with errors changes nothing.',
    howEnvironment: 'A variable of the environment goes before the file: BERTH_SECTION_KEY, for example',
    search: 'Find an option', changedOnly: 'Only what is not the default', count: '{n} options, {own} set here', option: 'Option', value: 'Value', default: 'Default', source: 'Where from', empty: 'empty', secret: '(secret, not shown)',
    words: 'One of: {words}.', range: 'From {range}.', reload: 'Taken over while berth runs.', restart: 'Needs a restart.',
};
