// SPDX-License-Identifier: Apache-2.0
// Where everything of a topology stands in its picture: boards as rows of chips, racks as stacks of boards, pods as rows of racks. Of
// many alike the first few are drawn, and how many there are beside them.
import { type Board, type Pod, type Rack, type Topology } from './topology';

export interface Box {
    part: 'pod' | 'rack' | 'board' | 'chip' | 'more';
    x: number;
    y: number;
    width: number;
    height: number;
    text?: string;
    type?: string; // of a chip
}
export interface Picture {
    width: number;
    height: number;
    boxes: Box[];
}

const CHIP = 11;
const GAP = 3;
const PAD = 6;
const HEAD = 13;
const MORE = 30;
const DRAWN = { pod: 4, rack: 8, board: 8, chip: 32 };

function shifted(boxes: readonly Box[], x: number, y: number): Box[] {
    return boxes.map((box) => ({ ...box, x: box.x + x, y: box.y + y }));
}

/** Kinds with counts as single things: the first `limit`, and how many are left. */
function unrolled<T extends { count: number }>(kinds: readonly T[], limit: number): { shown: T[]; left: number } {
    const shown: T[] = [];
    let left = 0;
    for (const kind of kinds) {
        const drawn = Math.min(kind.count, limit - shown.length);
        shown.push(...Array.from({ length: drawn }, () => kind));
        left += kind.count - drawn;
    }
    return { shown, left };
}

function boardPicture(board: Board): Picture {
    const { shown, left } = unrolled(board.chips, DRAWN.chip);
    const columns = Math.max(Math.min(shown.length, 8), 1);
    const rows = Math.max(Math.ceil(shown.length / columns), 1);
    const chips = shown.map(({ type }, index): Box => ({
        part: 'chip', type, x: PAD + (index % columns) * (CHIP + GAP), y: PAD + Math.floor(index / columns) * (CHIP + GAP), width: CHIP, height: CHIP,
    }));
    const inner = columns * (CHIP + GAP) - GAP;
    const more: Box[] = left > 0 ? [{ part: 'more', x: PAD + inner + GAP, y: PAD, width: MORE, height: CHIP, text: `+${left}` }] : [];
    return enclosed('board', [...chips, ...more], inner + 2 * PAD + (left > 0 ? MORE + GAP : 0), rows * (CHIP + GAP) - GAP + 2 * PAD);
}

function enclosed(part: Box['part'], inside: readonly Box[], width: number, height: number, text?: string): Picture {
    return { width, height, boxes: [{ part, x: 0, y: 0, width, height, text }, ...inside] };
}

/** One below the other, or side by side, in a box with a name. */
function packed(part: Box['part'], name: string, pictures: readonly Picture[], left: number, below: boolean): Picture {
    const boxes: Box[] = [];
    let at = below ? HEAD + PAD : PAD;
    for (const { width, height, boxes: inner } of pictures) {
        boxes.push(...shifted(inner, below ? PAD : at, below ? at : HEAD + PAD));
        at += (below ? height : width) + GAP + 1;
    }
    if (left > 0) {
        boxes.push({ part: 'more', x: below ? PAD : at, y: below ? at : HEAD + PAD, width: MORE, height: CHIP, text: `+${left}` });
        at += below ? CHIP + GAP : MORE + GAP;
    }
    const across = Math.max(...pictures.map((one) => (below ? one.width : one.height)), 40);
    return below ? enclosed(part, boxes, across + 2 * PAD, at + PAD - GAP, name) : enclosed(part, boxes, Math.max(at + PAD - GAP, 60), across + HEAD + 2 * PAD, name);
}

function rackPicture(rack: Rack): Picture {
    const { shown, left } = unrolled(rack.boards, DRAWN.board);
    return packed('rack', rack.label, shown.map(boardPicture), left, true);
}

function podPicture(pod: Pod): Picture {
    const { shown, left } = unrolled(pod.racks, DRAWN.rack);
    return packed('pod', pod.label, shown.map(rackPicture), left, false);
}

export function pictureOf({ pods }: Topology): Picture {
    const { shown, left } = unrolled(pods, DRAWN.pod);
    const boxes: Box[] = [];
    let [width, y] = [0, 0];
    for (const picture of shown.map(podPicture)) {
        boxes.push(...shifted(picture.boxes, 0, y));
        width = Math.max(width, picture.width);
        y += picture.height + 2 * GAP;
    }
    if (left > 0) {
        boxes.push({ part: 'more', x: 0, y, width: MORE, height: CHIP, text: `+${left}` });
        y += CHIP + GAP;
    }
    return { width, height: y, boxes };
}
