// SPDX-License-Identifier: Apache-2.0
// How long something that must come may take until a test gives up. No test waits for it, and none asserts it.
export const limitMs = Number(process.env.WEB_LIMIT_MS ?? 20_000);
