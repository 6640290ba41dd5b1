// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the search: shapes.c lists them, candidates.c finds each one's load, disaggregate.c pairs
 * them, scores.c ranks what was found, search.c leads.
 */
#pragma once

#include "planner/planner_int.h"

/* More requests than these in one rank nobody looks at. */
enum { PLANNER_BATCH_MAX = 4096 };

struct planner_run {
    struct planner_setup setup; /* the caller's, with the question's memory share */
    const struct planner_question *q;
    unsigned max_chips;
    struct planner_findings *f;
    size_t room, refusal_room;
    /* Progress: what was told last, where the present part begins, and how much it is. */
    double told, begin, part;
    unsigned work; /* since go_on() was asked */
};

/* ---- candidates.c ---- */

/* Fills the result of a candidate that has its plan, prefill and concurrency; asks go_on() now and
 * then. */
void planner_run_evaluate(struct planner_run *x, struct planner_candidate *c);
/* Passes the share (0 to 1) of the present part on; false: end it. */
bool planner_run_goes_on(struct planner_run *x, double share);
void planner_run_keep(struct planner_run *x, const struct planner_candidate *c);
void planner_run_refuse(struct planner_run *x, const struct planner_candidate *c);
/* Keeps or refuses, and counts. */
void planner_run_count(struct planner_run *x, const struct planner_candidate *c);
/* What n times as many replicas make of one candidate. */
struct planner_candidate planner_run_multiply(const struct planner_run *x,
                                              const struct planner_candidate *one, unsigned n);
/* A shape with all numbers of replicas; replicas above 0: with this one. */
void planner_run_replicas(struct planner_run *x, const struct planner_plan *shape,
                          unsigned replicas);

/* ---- shapes.c ---- */

/* All shapes with one replica, in the order of their numbers; freed by the caller. */
struct planner_plan *planner_list_shapes(const struct planner_run *x, size_t *ret_count);

/* ---- disaggregate.c ---- */

void planner_run_disaggregated(struct planner_run *x, const struct planner_plan *shapes,
                               size_t count);

/* ---- scores.c ---- */

void planner_score_candidate(const struct planner_setup *s, const struct planner_question *q,
                             struct planner_candidate *c);
/* Marks who is on the front, and puts the best first. */
void planner_mark_front(struct planner_candidate *c, size_t count);
void planner_rank(struct planner_candidate *c, size_t count, enum planner_objective o);
