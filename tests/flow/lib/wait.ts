// SPDX-License-Identifier: Apache-2.0
// Waiting for a condition, never for a time: a limit only says when to give up.

export function pause(ms: number): Promise<void> {
    return new Promise((done) => setTimeout(done, ms));
}

/** Calls `probe` until it gives something other than undefined, null or false. What it throws counts as "not yet". */
export async function until<T>(
    what: string,
    probe: () => T | Promise<T>,
    limitMs = 20_000,
    everyMs = 10,
): Promise<Exclude<T, false | null | undefined>> {
    const end = Date.now() + limitMs;
    let last: unknown = 'never true';
    for (;;) {
        try {
            const value = await probe();
            if (value !== undefined && value !== null && value !== false) {
                return value as Exclude<T, false | null | undefined>;
            }
            last = value;
        } catch (error) {
            last = error;
        }
        if (Date.now() > end) {
            throw new Error(`waited ${limitMs} ms for ${what}; last: ${last}`);
        }
        await pause(everyMs);
    }
}

/** Fails with a name instead of hanging for ever. */
export async function within<T>(what: string, limitMs: number, work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, fail) => {
        timer = setTimeout(() => fail(new Error(`${what}: not done within ${limitMs} ms`)), limitMs);
    });
    try {
        return await Promise.race([work, late]);
    } finally {
        clearTimeout(timer);
    }
}

/** A small seeded generator, so that a random test can be run again: SEED=n. */
export function random(seed: number): () => number {
    let state = seed >>> 0;
    return () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let t = state;
        t = Math.imul(t ^ (t >>> 15), t | 1);
        t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
        return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
}

export function seedFromEnvironment(): number {
    const seed = Number(process.env.SEED ?? process.env.FIRST_SEED ?? Math.floor(Math.random() * 1e9));
    console.log(`SEED=${seed}`);
    return seed;
}
