// SPDX-License-Identifier: Apache-2.0
/* A batch's tasks, as the queue's tables have them. On the store's threads. */
#pragma once

#include "store/store.h"
#include "tasks/tasks.h"

enum { BATCH_ANSWERS_MAX = 200 };

/* Fills in at most max ids of a batch's tasks; returns how many. */
int batch_task_ids(struct sql *db, int64_t batch_id, int64_t *ids, int max,
                   struct error *reterr) _must_check_;
/* How many of a batch's tasks are in each state. */
int batch_count_tasks(struct sql *db, int64_t batch_id, uint64_t counts[TASK_STATE_MAX_],
                      struct error *reterr) _must_check_;

/* How a line ended. */
struct batch_answer {
    int64_t task_id, line;
    enum task_state state;
    int http_status;
    char *error, *output; /* NULL: none */
    size_t output_len;
};
typedef void (*batch_answer_fn)(void *arg, struct batch_answer *a); /* a is the callee's */
/* In the order of lines, from beyond after_task on, at most BATCH_ANSWERS_MAX of them and not much
 * over a MiB. Returns how many. */
int batch_answers_read(struct sql *db, int64_t batch_id, int64_t after_task, batch_answer_fn fn,
                       void *arg, struct error *reterr) _must_check_;

/* The statements, for those who look at their plans. */
extern const char batch_ids_query[];     /* id, limit */
extern const char batch_counts_query[];  /* id */
extern const char batch_answers_query[]; /* id, after which task, limit */
