// SPDX-License-Identifier: Apache-2.0
// /api/events as it comes, event by event, with the connection beside it.
import type { Daemon } from './daemon.ts';
import { Raw } from './http.ts';
import { until } from './wait.ts';

export interface SseEvent {
    id: number; // 0: none (a gap)
    event: string;
    data: any;
}

/** Reads /api/events as it comes. */
export class Events {
    readonly raw: Raw;
    private constructor(raw: Raw) {
        this.raw = raw;
    }

    static async open(from: Daemon, headers = '', query = ''): Promise<Events> {
        const raw = await Raw.open(from.target);
        raw.send(`GET /api/events${query} HTTP/1.1\r\nHost: 127.0.0.1:${from.port}\r\nAccept: text/event-stream\r\n${headers}\r\n`);
        await raw.read((text) => text.includes('\r\n\r\n'), 5000);
        return new Events(raw);
    }

    get all(): SseEvent[] {
        // chunk frames are lines of their own between the events' lines: they match none of the fields
        return this.raw.text.split('\n\n').flatMap((block) => {
            const id = /^id: ?(\d+)/m.exec(block);
            const event = /^event: ?(\S+)/m.exec(block);
            const data = /^data: ?(.*)$/m.exec(block);
            return event && data ? [{ id: id ? Number(id[1]) : 0, event: event[1], data: JSON.parse(data[1]) }] : [];
        });
    }

    wait(what: string, enough: (events: SseEvent[]) => boolean): Promise<unknown> {
        return until(what, () => enough(this.all), 20_000);
    }
}
