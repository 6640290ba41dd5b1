// SPDX-License-Identifier: Apache-2.0
// Words of the page of instances and routing, English.
export default {
    lead: 'Who answers requests, what they would wait there, and how that is chosen.',
    title: 'Instances', none: 'No engine runs', anyState: 'Any status', place: 'Device · memory', work: 'Busy / slots', waiting: 'In line',
    predicted: 'Predicted wait', predictedTitle: 'A request of {tokens} prompt tokens takes {low} to {high} here, nine times of ten; learnt from {n} requests',
    predictedNote: 'The mark is the expected wait of a request that comes now, the band its error. In line: requests that wait for the model.',
    requests: 'Requests', response: 'Response', breaker: 'Breaker', errors: '{n} failed', each: 'in {time}', sleeping: 'asleep', unloads: 'unloads at {at}', elsewhere: 'elsewhere',
    state: { waiting: 'Waits for room', starting: 'Loading', ready: 'Ready', draining: 'Draining', stopping: 'Stopping', backoff: 'Tries again', failed: 'Failed' },
    breakers: { closed: 'Closed', open: 'Open', half_open: 'On trial' },
    active: 'Serving', activeHint: 'ready, breaker not open', sinceStart: 'Since the start', failed: 'Failed', errorRate: '{rate} % of all', mean: 'moving average',
    shares: 'Shares of requests', noShares: 'No request was answered yet', sinceOpened: 'Since {at}, on this page',
    strategies: 'Routing strategy', strategy: 'Strategy', strategyAll: 'Of all models without one of their own', strategySet: 'Chosen by {name} from now on', strategyReset: 'as configured',
    strategiesNote: 'A change holds from the next request on, until the next start.',
    taskInstances: 'Task Instances', taskInstancesNote: 'Servers with a queue of their own; chosen by {strategy}.', queue: 'Queue', inFlight: 'In flight', chosen: 'Chosen', ended: 'Done / failed',
};
