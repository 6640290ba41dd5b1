// SPDX-License-Identifier: Apache-2.0
// Words of one page, English.
export default {
    lead: 'How berth is doing now.', schedule: 'Schedule a model', submit: 'Submit a task', addModel: 'Add a model',
    figures: 'Figures', running: 'Models running', queued: 'Models queued', failed: 'Models failed', total: 'All models',
    memory: '{used} of {total} in use', requests: 'Requests/s', inFlight: '{n} being answered', tokens: 'Tokens/s', prompt: '{n} prompt tokens/s',
    wait: 'Wait in the queue', waiting: '{n} waiting now', tasksRunning: 'Tasks running', tasksWaiting: 'Tasks waiting',
    attention: 'Needs attention', calm: 'Nothing needs attention.', unresponsive: 'Does not answer', unresponsiveText: 'What looks at this device hangs; its figures are old.',
    deadTasks: 'Tasks that failed for good: {n}', deadTasksText: 'All their tries are used up. They can be tried again or deleted.',
    events: 'Recent events',
    first: {
        title: 'Welcome to berth', text: 'There is no model yet. Three steps to the first answer:',
        add: 'Add a model', addText: 'Name it and choose its file, or a Hugging Face model for vLLM; berth finds room for it on your devices.',
        chat: 'Talk to it in the playground', chatText: 'berth starts it with the first request.',
        use: 'Use it from your programs', useText: 'berth speaks the API of OpenAI: give your client this address.',
    },
};
