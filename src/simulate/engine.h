// SPDX-License-Identifier: Apache-2.0
/*
 * A simulated engine: one instance that batches continuously, as vLLM's V1 scheduler does. Each
 * step takes what runs, decodes one token of each, and fills what is left of the step's token
 * budget with chunks of prefills, first come first served; a request is let in when the KV cache
 * has blocks for its prompt; when a running one needs a block and none is free, the youngest is put
 * back and prefills again. Blocks of prompts that were seen are kept until their room is needed
 * (least recently used first). How long a step takes is the planner's.
 *
 * Pure of clocks and worlds: time comes in and goes out in microseconds of virtual time. The owner
 * asks when the next step ends and calls sim_engine_step then; what is added or removed may change
 * when that is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "simulate/step_times.h"

struct engine_spec {
    const struct step_times *times; /* outlives the engine */
    unsigned max_sequences;         /* that run at once; no more than step_tokens of them do */
    unsigned step_tokens;           /* budget of a step */
    uint64_t kv_tokens;             /* that the cache holds */
    unsigned block_tokens; /* 16, or another that divides TRACE_BLOCK_TOKENS; prefixes are shared in
                              blocks of that size */
    bool prefix_cache;
    /* A request's way through the server before its prefill can begin (step_times_first_us); it
     * keeps no other from computing. */
    uint64_t first_us;
    /* Up to so many steps in a row in which nothing but decoding happens are told of as one (0 and
     * 1: each by itself): fewer events, and progress that is seen later by as many tokens. Ends of
     * requests, and when what is added gets its turn, stay exact. */
    unsigned jump_steps;
};

struct sim_engine;
struct sim_request {
    uint64_t id; /* the owner's */
    uint32_t input_tokens, output_tokens;
    uint32_t block_count;
    const uint64_t *blocks; /* as struct trace_request has them; outlive the request. Those that the
                               prompt fills to their end are kept and found again */
};
/* From inside a handler more may be added and others removed. */
struct sim_engine_events {
    /* The request's first, or n further tokens came, by now_us: the end of a step. */
    void (*tokens)(void *owner, uint64_t id, uint32_t n, uint64_t now_us);
    /* All of them came; cached: tokens of its prompt that were found when it was first let in.
     * Comes after its last tokens. */
    void (*done)(void *owner, uint64_t id, uint32_t cached_tokens, uint64_t now_us);
    void *owner;
};
struct sim_engine *sim_engine_create(const struct engine_spec *spec,
                                     const struct sim_engine_events *events);
struct sim_engine *sim_engine_free(struct sim_engine *e); /* accepts NULL, returns NULL */
/* It comes into the engine's own queue. An idle engine begins a step at once (or when the request
 * has come through the server). A request longer than the whole cache is -EFBIG. */
int sim_engine_add(struct sim_engine *e, const struct sim_request *r, uint64_t now_us);
/* It goes (its client is gone, or the engine is stopped); one that is not there: nothing. What it
 * had computed of its prompt stays in the prefix cache. */
void sim_engine_remove(struct sim_engine *e, uint64_t id, uint64_t now_us);
/* When sim_engine_step is due; UINT64_MAX: idle. */
uint64_t sim_engine_next_us(const struct sim_engine *e);
/* Ends what runs (now_us is sim_engine_next_us), tells what came, begins the next. */
void sim_engine_step(struct sim_engine *e, uint64_t now_us);

struct sim_engine_figures {
    uint64_t busy_us, steps, preemptions;
    double kv_token_us; /* integral over time of the tokens' room that requests hold */
    unsigned running, waiting;
    /* Tokens since the start: computed of prompts (again, after a preemption, too), found in the
     * prefix cache, generated. */
    uint64_t prefill_tokens, cached_tokens, output_tokens;
    /* Blocks now: held by requests; kept for prompts that may come again; neither. */
    uint64_t blocks_used, blocks_kept, blocks_free;
};
struct sim_engine_figures sim_engine_figures(const struct sim_engine *e, uint64_t now_us);
