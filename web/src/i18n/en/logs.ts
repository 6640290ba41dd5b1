// SPDX-License-Identifier: Apache-2.0
// Words of the logs: the page, and the view of one log that other pages show, too. English.
export default {
    lead: 'What berth and the engines of the models write, as they write it.',
    which: 'Log', own: 'berth itself', engine: 'Engine of {model}', level: 'From level',
    levels: { debug: 'Debug: everything', info: 'Info', warn: 'Warning', error: 'Error' },
    find: 'Find in the log', pause: 'Pause', resume: 'Go on', none: 'Nothing has been written yet.',
    ended: 'The log has ended.', again: 'Follow again', paused: 'Paused; {n} new lines wait.',
    following: 'Live; {n} lines (the latest {max} are kept here).',
};
