// SPDX-License-Identifier: Apache-2.0
// Where the chips are: so many in nodes of so many, or a topology.
import { chipsOf, fromJson } from '../topology/topology';
import type { Json, Maybe, Question } from './question';

/** "12 chips, 8 in a node": one node of 8 and one of 4. */
function countsJson(chips: Maybe, perNode: Maybe): Json {
    const size = Math.max(Math.min(perNode ?? 8, chips ?? 1), 1);
    const full = Math.floor((chips ?? 0) / size);
    const rest = (chips ?? 0) % size;
    const boards = [{ count: full, chips: [{ count: size }] }, { count: 1, chips: [{ count: rest }] }];
    return { pod_count: 1, racks_per_pod: 1, rack_config: { boards: boards.filter((board) => board.count > 0 && board.chips[0]!.count > 0) } };
}

export function placesJson(q: Question): Json {
    return q.placeKind === 'count' ? countsJson(q.chips, q.perNode) : q.topology ?? {};
}

/** How many chips the question has; null: it is not told. */
export function chipsAsked(q: Question): Maybe {
    return q.placeKind === 'count' ? q.chips : q.topology && chipsOf(fromJson(q.topology));
}

export function placesFrom(q: Question, topology: Json): void {
    const { pods } = fromJson(topology, '');
    const boards = pods[0]?.racks[0]?.boards ?? [];
    const chips = chipsOf(fromJson(topology, ''));
    const perNode = boards[0]?.chips[0]?.count ?? 8;
    q.placeKind = 'topology';
    q.topology = topology;
    q.topologyName = '';
    if (JSON.stringify(countsJson(chips, perNode)) === JSON.stringify(topology)) {
        q.placeKind = 'count';
        q.topology = null;
        q.chips = chips;
        q.perNode = perNode;
    }
}
