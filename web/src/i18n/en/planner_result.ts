// SPDX-License-Identifier: Apache-2.0
// Words of the planner's answers, English: one evaluation (result), several side by side (compare).
export default {
    result: {
        back: 'Planner', again: 'Plan again with changes', sure: 'Delete this evaluation and its results?', deleted: 'The evaluation was deleted.',
        cancelSure: 'Cancel this evaluation? What it has found so far is lost.', cancelled: 'The evaluation was cancelled.', stop: 'Cancel the evaluation',
        asked: 'Asked {at}', took: 'took {time}', json: 'JSON', csv: 'CSV', exportAs: 'Export as {format}',
        question: 'The question', noQuestion: 'What was asked is not kept: this evaluation was imported.',
        fact: {
            model: 'Model', precision: 'Precision', chip: 'Chip', chips: 'Chips', lengths: 'Tokens', load: 'Load', prefix: 'Prompt cached', engine: 'Engine', limits: 'Has to keep', search: 'Searched for',
        },
        chipsOf: 'at most {most} of {all}', inOut: '{input} in, {output} out',
        load: { rate: '{n} requests a second', batch: '{n} requests at once', slo: 'as many requests as the limits allow' },
        search: {
            manual: 'this plan: {plan}', cost: 'the lowest cost', throughput: 'the most tokens a second', latency: 'the shortest times', efficiency: 'the best use of the chips',
            balanced: 'the best balance', chips: 'the fewest chips',
        },
        unit: { tokens: 'tokens/s' },
        running: 'Searching', waiting: 'Waiting for its turn', position: 'Place {position} of {length} in the queue', failed: 'The evaluation failed', wasCancelled: 'The evaluation was cancelled',
        progress: 'Progress of the search', liveNote: 'This page fills by itself when the search ends; you can leave it.',
        best: 'Best plan, first of {n} that hold', rank: 'Plan number {rank}',
        words: {
            replicas: '{n} copies of the model side by side', tp: '{n} chips work on each layer together', pp: 'the layers lie in {n} stages, one after the other',
            adp: '{n} groups have the attention each of their own', ep: 'the experts are shared out in {n} parts', moeTp: 'each expert is cut over {n} chips',
            sp: 'sequence parallelism over {n} chips', prefill: 'further chips that only read prompts: {n}', single: 'one chip has the whole model',
        },
        delivers: 'It serves {users} requests at once on {chips} chips and writes {tokens} tokens a second, {each} for each user.',
        sensitive: 'Little memory is left for the KV cache, so small errors tell.',
        slo: { holds: 'holds', close: 'holds, but the band reaches over it', missed: 'missed' }, noLimits: 'No limit was set.',
        band: '{low} to {high} in 4 of 5 cases',
        hint: {
            cost: 'for a million output tokens', joules: 'chips at full power',
        },
        column: {
            plan: 'Plan', chips: 'Chips', concurrency: 'At once', ttft: 'TTFT', tpot: 'TPOT', e2e: 'Whole answer', throughput: 'Tokens/s', perChip: 'Tokens/s per chip', perUser: 'Tokens/s per user',
            requests: 'Requests/s', chipHours: 'Chip-hours per million', cost: 'Cost per million', joules: 'Joules per token', memory: 'Memory', mfu: 'MFU', mbu: 'MBU', score: 'Score', reason: 'Why not',
        },
        plans: 'Plans', show: 'Show', feasible: 'Plans that hold ({n})', refusedOnes: 'Refused plans ({n})', columns: 'Columns', pareto: 'No other plan has more tokens/s both per chip and per user',
        frontMark: 'on the front', choose: 'Choose a plan to see it above, in the charts and in the timeline.',
        none: 'No plan holds', noneText: 'Every plan that was tried was refused. The reasons and their numbers stand below; more chips, a smaller precision or looser limits may help.',
        front: 'Throughput against speed', across: 'Across', front_perUser: 'Tokens/s per user', front_ttft: 'TTFT (ms)', front_tpot: 'TPOT (ms)', front_e2e: 'Whole answer (ms)',
        onFront: 'Not beaten', others: 'Beaten by another', thisPlan: 'The plan shown', frontHint: 'Click a point to see its plan.',
        memory: 'Memory of the fullest chip', memoryPart: { weights: 'Weights', kv: 'KV cache in use', kvFree: 'KV cache free', activations: 'Activations', runtime: 'Runtime', rest: 'Not usable' }, capacity: 'Capacity',
        timeOf: { decode: 'Where the time of a decode step goes', prefill: 'Where the time of a prompt goes' }, phase: { decode: 'Decode', prefill: 'Prefill' },
        work: { gemm: 'Matrix products', attention: 'Attention', experts: 'Experts', communication: 'Communication', elementwise: 'Element-wise', host: 'Host', bubble: 'Idle' },
        timeline: 'Timeline of {plan}', timelineText: 'What the stages do, from the first chunk of a prompt on: {ttft} to the first token in the mean (with waiting), idle at most {bubble} of the prefill. Drag the ends of the bar below to zoom, or scroll with Ctrl held.',
        tokens: 'Tokens drawn', stage: 'Stage {n}', stageOf: '{phase} {n}', noTimeline: 'The timeline needs the question, which is not kept of an imported evaluation.',
        refused: 'Refused plans', refusedText: '{n} plans were refused, by what they would break. {shown} are kept, with their numbers.',
        bound: {
            limits: 'Misses the limits', bad_plan: 'Does not divide the model', bad_experts: 'Does not divide the experts', weights: 'Weights do not fit', one_request: 'No room for one request',
            batch: 'The batch does not fit', unsustainable: 'More arrives than it can serve', chips_short: 'Too few chips', other: 'Other reasons',
        },
        example: 'Examples', noneRefused: 'No plan was refused.',
        stats: { title: 'The search', total: 'Plans tried', feasible: 'hold', refused: 'refused', pruned: 'passed over', evaluations: 'loads computed', took: 'took' },
    },
    compare: {
        title: 'Compare experiments', text: 'The best plan of each, side by side. A star marks the best of a row; a coloured question is one that differs.',
        pick: 'Choose what to compare', pickText: 'Two to ten experiments.', experiments: 'Experiments', chosen: '{n} chosen', show: 'Compare',
        few: 'Choose at least two experiments.', many: 'At most ten can be compared.', question: 'Questions', answers: 'Answers', differs: 'differs', best: 'best',
        none: 'No plan holds', open: 'Open its results', of: 'Plan', csv: 'CSV', json: 'JSON', jsonNote: 'Experiments as a file that berth can import',
        word: { tried: 'Plans tried', feasible: 'Plans that hold' }, charts: 'In pictures', figure: 'What', higher: 'more is better', lower: 'less is better',
        evaluations: 'Evaluations', tasks: '{done} of {all} evaluations',
    },
};
