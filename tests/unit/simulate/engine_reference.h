// SPDX-License-Identifier: Apache-2.0
/* A slow engine that follows the same rules in the plainest way: blocks of the cache are counted
 * anew each time, the oldest is looked for among all. */
#pragma once

#include "simulate/engine.h"

struct reference;
struct reference *reference_create(const struct engine_spec *spec);
struct reference *reference_free(struct reference *r);
int reference_add(struct reference *r, const struct sim_request *q, uint64_t now_us);
void reference_remove(struct reference *r, uint64_t id, uint64_t now_us);
uint64_t reference_next_us(const struct reference *r);
void reference_step(struct reference *r, uint64_t now_us);
struct sim_engine_figures reference_figures(const struct reference *r, uint64_t now_us);
/* What a request got, when it was done (0: not), and what was found of it. */
uint32_t reference_tokens(const struct reference *r, uint64_t id);
uint64_t reference_done_us(const struct reference *r, uint64_t id);
uint32_t reference_cached(const struct reference *r, uint64_t id);

/* A random number below n. */
uint64_t reference_random(uint64_t *state, uint64_t n);
