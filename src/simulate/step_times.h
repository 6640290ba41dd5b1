// SPDX-License-Identifier: Apache-2.0
/*
 * Step times of one setup and plan, worked out once and shared by all instances of it: tables of a
 * decode step by batch and context and of a prefill chunk by its tokens and by what they look back
 * at, put together by the planner's rule for steps that do both. Reading between the tables' points
 * is within 1 % of planner_step_s (a test).
 */
#pragma once

#include <stdint.h>

#include "planner/planner.h"

enum { STEP_DECODES_MAX = 65536, STEP_TOKENS_MAX = 1 << 20 }; /* more counts as so many */

struct step_times;
/* Keeps nothing of s and plan. Some tens of milliseconds. */
struct step_times *step_times_create(const struct planner_setup *s,
                                     const struct planner_plan *plan);
struct step_times *step_times_free(struct step_times *t); /* accepts NULL, returns NULL */
/* `decodes` sequences that hold `context` tokens in the mean, and prefill of `tokens` after
 * `before` ones (0 tokens: none). before is less than 0 when several short prompts share the step:
 * then each token sees fewer than those of the step before it. At least 1. */
uint64_t step_times_us(const struct step_times *t, unsigned decodes, double context,
                       unsigned tokens, double before);
/* What a request's first token takes besides steps (struct engine_spec's first_us). */
uint64_t step_times_first_us(const struct step_times *t);
