// SPDX-License-Identifier: Apache-2.0
/* Small random cases for the policy, and the best that could be made of them: by trying everything,
 * with arithmetic of its own. */
#pragma once

#include "placement/policy.h"

enum { CASE_DEVICES = 4, CASE_MODELS = 8 }; /* the host's pool comes beside the devices */

struct policy_case {
    struct policy_snapshot snapshot;
    struct policy_device devices[CASE_DEVICES + 1];
    size_t gpus; /* the first of them; the pool is the last one, if there is one */
    struct policy_instance instances[CASE_MODELS];
    int named[CASE_MODELS][2];
};

/*
 * The same seed makes the same case. Residents that load, are idle, young or pinned; newcomers that
 * name devices; memory of the host; limits of preemptions. No swaps, no force, and all may preempt:
 * there turns and wishes decide, not values.
 */
void policy_case_make(struct policy_case *c, uint64_t seed);

/* requests[c] of the classes, and what moving costs; computed here. */
struct reference_value {
    double requests[POLICY_CLASSES];
    double cost;
};
/* Of the best state that the rules allow to reach in one pass. */
struct reference_value policy_reference_best(const struct policy_case *c);
/* Some device is kept for one that only time keeps out: then others have less than the best. */
bool policy_reference_is_kept(const struct policy_plan *plan);
/* Of what the plan makes of the case. */
struct reference_value policy_reference_of_plan(const struct policy_case *c,
                                                const struct policy_plan *plan);
int policy_reference_compare(const struct reference_value *a, const struct reference_value *b);
/*
 * How much of the best was reached, 0–1. The value is lexicographic, so no class may be traded for
 * a lower one: for every class from the highest down, the requests of it and all above it, reached
 * ÷ best; the least of these.
 */
double policy_reference_share(const struct reference_value *got,
                              const struct reference_value *best);
