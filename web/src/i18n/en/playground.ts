// SPDX-License-Identifier: Apache-2.0
// Words of the playground, English.
export default {
    lead: 'Chat with any model and see what it takes.', settings: 'Model and settings', conversation: 'Conversation', empty: 'Ask something: the conversation stays in this tab.',
    loads: 'It is not loaded: the first request loads it.', system: 'System prompt', temperature: 'Temperature', maxTokens: 'Max tokens', own: 'default',
    question: 'Your message (Enter sends, Shift+Enter breaks the line)', send: 'Send', stop: 'Stop', again: 'Ask again', clear: 'Clear', curl: 'Copy as curl',
    user: 'You', assistant: 'Answer', thought: 'Thoughts', stopped: 'Stopped', perSecond: '{n} tokens/s',
    waiting: 'Waiting for an answer, {s} s so far', firstToken: 'The engine has it; waiting for the first token, {s} s so far',
    inLine: 'In line ({n} requests wait for this model), {s} s so far', place: 'Place {place} in line, about {wait} s left, {s} s so far',
    figure: { first: 'First token', rate: 'Speed', tokens: 'Tokens', total: 'In all', queue: 'In line', instance: 'Instance', finish: 'Ended' },
};
