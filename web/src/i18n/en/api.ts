// SPDX-License-Identifier: Apache-2.0
// Words of one page, English.
export default {
    lead: 'How programs talk to berth.', ownTab: 'Open the docs in a tab', docs: 'Interactive documentation',
    docsText: 'Every endpoint, described (in English), to be tried right here with your sign-in.', docsApart: 'This dashboard comes from elsewhere; the documentation opens at berth itself.',
    examples: 'Examples', address: 'Clients of OpenAI take this as their base URL:',
    example: { chat: 'Chat, streamed', completion: 'Completion', embeddings: 'Embeddings', python: 'Python (openai)' },
};
