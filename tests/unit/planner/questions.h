// SPDX-License-Identifier: Apache-2.0
/* What the tests of the search share: a setup in FP8, a plain question, and an answer whose counts
 * have been checked. */
#pragma once

#include "planner/planner.h"

static inline struct planner_setup setup(const char *model, const char *chip)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model(model), planner_find_chip(chip), PLANNER_ENGINE_VLLM,
                       PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    return s;
}

static const struct planner_question plain = {
    .max_chips = 8, .isl = 1024, .osl = 256, .slo_tpot_s = 0.050
};

/* Of chips that prefill. */
static const struct planner_plan none;

static inline struct planner_findings ask(const struct planner_setup *s,
                                          const struct planner_question *q)
{
    struct planner_findings f;
    size_t refused = 0;

    planner_search(s, q, &f);
    for (int b = 0; b < PLANNER_BOUND_MAX_; b++) {
        refused += f.refused_by[b];
    }
    assert_int_equal(f.tried, f.found + f.refused + f.pruned);
    assert_int_equal(refused, f.refused);
    assert_int_equal(f.refused_by[PLANNER_FITS], 0);
    assert_int_equal(f.refusal_count,
                     f.refused < PLANNER_REFUSALS_MAX ? f.refused : PLANNER_REFUSALS_MAX);
    return f;
}
