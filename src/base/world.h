// SPDX-License-Identifier: Apache-2.0
/*
 * The world: time, timers, posted calls and randomness; with worker.h, process.h and stream.h also
 * workers, children and connections. Everything above this room gets them from a `struct world`,
 * which is real (libuv) or simulated (base/sim.h: virtual clock, seeded, nothing leaves the
 * process), and cannot tell which.
 *
 * One loop thread. Everything here is called on it, unless a function says otherwise.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/heap.h"

struct world;

/* The real world. Raises nothing, starts nothing until world_run. */
struct world *world_create(void);
/* After world_run returned. Accepts NULL, returns NULL. */
struct world *world_destroy(struct world *w);
/* Runs until world_stop. */
void world_run(struct world *w);
void world_stop(struct world *w);

/* Monotonic. now_ms is that of the turn's start, now_us is exact. */
uint64_t world_now_ms(struct world *w);
uint64_t world_now_us(struct world *w);
/* Milliseconds since 1970: for what is stored or shown, never for waiting. */
int64_t world_wall_ms(struct world *w);

/* Good enough for keys in the real world; from the seed in a simulated one. */
void world_random(struct world *w, void *out, size_t n);
/* Evenly from 0 .. bound-1; bound > 0. */
uint64_t world_random_below(struct world *w, uint64_t bound);
enum { UUID_SIZE = 37 };
void world_uuid(struct world *w, char out[UUID_SIZE]); /* random (version 4), lower case */

/* Calls fn(arg) in the next turn, after everything posted before. */
void world_post(struct world *w, void (*fn)(void *arg), void *arg);

/* Unix signals, in the real world only (a simulated one ignores it). The handler runs on the loop,
 * as often as the signal comes. */
void world_on_signal(struct world *w, int signum, void (*fn)(void *arg, int signum), void *arg);

/* A timer lies in its owner; name is a constant that shows in "slow turn" log lines. Stop it before
 * its memory goes. */
struct timer {
    struct heap_node node;
    uint64_t due_ms, seq;
    struct world *world;
    void (*fn)(void *arg);
    void *arg;
    const char *name;
};

void timer_init(struct timer *t, struct world *w, const char *name, void (*fn)(void *arg),
                void *arg);
/* (Re)starts: fires once, delay_ms from now. */
void timer_start(struct timer *t, uint64_t delay_ms);
/* Also of a timer never started, or zeroed memory. */
void timer_stop(struct timer *t);
bool timer_active(const struct timer *t);
