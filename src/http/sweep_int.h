// SPDX-License-Identifier: Apache-2.0
/*
 * Deadlines of many connections on one timer. A connection keeps its own deadline and moves it
 * freely; the timer is touched only when a deadline comes earlier than what it waits for. When it
 * fires, the owner looks at all its connections and says which is next. Coarse: up to 100 ms late.
 */
#pragma once

#include "base/macros.h"
#include "base/world.h"

enum { SWEEP_STEP_MS = 100 };
#define NO_DEADLINE UINT64_MAX

struct sweep {
    struct timer timer;
    uint64_t due_ms; /* NO_DEADLINE while it waits for nothing */
};

static inline void sweep_init(struct sweep *s, struct world *w, const char *name,
                              void (*fn)(void *arg), void *arg)
{
    timer_init(&s->timer, w, name, fn, arg);
    s->due_ms = NO_DEADLINE;
}

/* Some connection has this deadline now. */
static inline void sweep_need(struct sweep *s, uint64_t deadline_ms)
{
    if (deadline_ms < s->due_ms) {
        uint64_t now = world_now_ms(s->timer.world);
        uint64_t at = MAX_OF(deadline_ms, now + 1);

        s->due_ms = at;
        timer_start(&s->timer, at - now);
    }
}

/* The timer fired: to be called before the walk. A deadline that is set during it, on a connection
 * that the walk may not meet any more, counts. */
static inline void sweep_begin(struct sweep *s)
{
    s->due_ms = NO_DEADLINE;
}

/* After the walk, with the earliest deadline left. */
static inline void sweep_again(struct sweep *s, uint64_t earliest_ms)
{
    if (earliest_ms != NO_DEADLINE) {
        sweep_need(s, MAX_OF(earliest_ms, world_now_ms(s->timer.world) + SWEEP_STEP_MS));
    }
}
