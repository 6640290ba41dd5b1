// SPDX-License-Identifier: Apache-2.0
/*
 * Evaluations: planner jobs that search plans, in experiments. A job is a task of its own kind in
 * the one queue (TASK_OF_EVALUATION, lane "planner"): durable, by class, cancelled, retried by a
 * restart. Its results, the experiments, and the documents that people keep (benchmarks,
 * topologies, chips, models) are this room's rows.
 *
 *     submit ──► tasks ──claim──► runner ──► a worker's thread: plan_request_run
 *                                  │  progress, cancel: two atomics
 *                                  └──► results committed ──► the task is completed
 *
 * A job that was cut off by the end of berth starts again; its results replace what it left.
 *
 * Everything is called on the loop.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/notify.h"
#include "config/config.h"
#include "presets/presets.h"
#include "store/store.h"
#include "tasks/tasks.h"

struct evaluations;

extern const struct store_schema evaluations_schema;
extern const struct option_table evaluations_options; /* planner.workers, planner.presets … */

enum {
    EVALUATION_WORKERS_MAX = 32,
    EVALUATION_BODY_MAX = 4 << 20,
    EVALUATION_NAME_MAX = 255,
    EVALUATIONS_PENDING_MAX = 100,
};

struct evaluations_in {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct tasks *tasks;
};
struct evaluations *evaluations_create(const struct evaluations_in *in);
/* Before the loop runs, after tasks_start: reads documents and preset files into the book. */
int evaluations_start(struct evaluations *v, struct error *reterr) _must_check_;
void evaluations_reconfigure(struct evaluations *v, const struct config *config);
/* After tasks_drain, before store_close. Accepts NULL, returns NULL. */
struct evaluations *evaluations_destroy(struct evaluations *v);
/* To be set with tasks_set_runner(…, TASK_OF_EVALUATION, …); owner: the evaluations. */
extern const struct task_runner evaluation_runner;
/* To be connected to the tasks' signal by daemon/wiring.c. */
void evaluations_on_task(void *evaluations, const void *task_change);

/* Chips, models and topologies as they stand now. Borrowed, until the turn ends. */
const struct presets *evaluations_presets(const struct evaluations *v);

/* ---- what is told live ---- */

/* A job as contract D.5 tells of it. The texts are good for the call. */
struct evaluation_state {
    const char *task_id;        /* public id */
    const char *status;         /* pending running completed failed cancelled */
    double progress;            /* 0 to 100 */
    const char *message;        /* "" when none */
    const char *error;          /* NULL: none */
    const json_t *search_stats; /* NULL: none yet */
};
/* Emits const struct evaluation_state *: every change of status (after its commit), and of progress
 * (at most four times a second a job). */
struct notify *evaluations_signal(struct evaluations *v);
/* Those that run or wait now, the eldest first; *cursor starts at 0; false at the end. */
bool evaluations_next_live(struct evaluations *v, size_t *cursor, struct evaluation_state *ret);

/* ---- jobs ---- */

/* Answers come in a later turn, in the shape of the contract (D.2, D.8), owned by the callee for
 * the call. result: 0, or negative errno with the sentence in e: -ENOENT, -EINVAL (400), -EPROTO
 * (422), -EAGAIN (too many wait, 429), -EBUSY (409), -EEXIST, -EFBIG, -EROFS, -ECANCELED (berth
 * goes down). field: of -EINVAL and -EPROTO, the member ("" when the whole). */
typedef void (*evaluations_done_fn)(void *arg, int result, json_t *answer, const char *field,
                                    const struct error *e);

/* body: contract D.3 (and priority 1 to 3, default 2). Checked whole before it is accepted.
 * → {task_id, message} */
void evaluations_submit(struct evaluations *v, const json_t *body, evaluations_done_fn done,
                        void *arg);
/* → the task's object, with queue_position and queue_length while it waits. */
void evaluations_get(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                     void *arg);
void evaluations_results(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                         void *arg);
/* A running search ends at its next look; a finished one is -EBUSY. */
void evaluations_cancel(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                        void *arg);
/* Whatever state: one that runs is stopped first. */
void evaluations_delete(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                        void *arg);
/* → {success, message, cancelled|deleted: [ids], failed: [{task_id, reason}]}; at most 100 ids. */
void evaluations_cancel_many(struct evaluations *v, const json_t *task_ids,
                             evaluations_done_fn done, void *arg);
void evaluations_delete_many(struct evaluations *v, const json_t *task_ids,
                             evaluations_done_fn done, void *arg);
struct evaluation_filter {
    const char *status, *experiment_name; /* NULL: all */
    const char *text; /* stands in the experiment's name, the id or the message, in whatever case */
    const char *sort; /* a member of evaluations_sorts; NULL: created_at */
    bool ascending;
    unsigned limit, offset;
};
/* By what a list may be sorted, with blanks between. */
extern const char evaluations_sorts[];
/* → {tasks, total_count}: how many match, of all pages. */
void evaluations_list(struct evaluations *v, const struct evaluation_filter *f,
                      evaluations_done_fn done, void *arg);
void evaluations_running(struct evaluations *v, evaluations_done_fn done, void *arg);
/* csv: the answer is a JSON string, the file's text. */
void evaluations_export(struct evaluations *v, const char *task_id, bool csv,
                        evaluations_done_fn done, void *arg);

/* ---- experiments ---- */

void experiments_list(struct evaluations *v, evaluations_done_fn done, void *arg);
void experiments_get(struct evaluations *v, int64_t id, evaluations_done_fn done, void *arg);
/* name and description only. */
void experiments_patch(struct evaluations *v, int64_t id, const json_t *body,
                       evaluations_done_fn done, void *arg);
/* With its jobs (running ones are stopped) and results. → {success, message, deleted_count} */
void experiments_delete_many(struct evaluations *v, const json_t *experiment_ids,
                             evaluations_done_fn done, void *arg);
void experiments_delete_results(struct evaluations *v, int64_t id, const json_t *result_ids,
                                evaluations_done_fn done, void *arg);
/* Side by side: for each the question, the best plan and the search's stats. 2 to 10 ids. */
void experiments_compare(struct evaluations *v, const int64_t *ids, size_t count,
                         evaluations_done_fn done, void *arg);
/* → {version, export_time, experiments: […]}, with tasks and results. count 0: all. */
void experiments_export(struct evaluations *v, const int64_t *ids, size_t count,
                        evaluations_done_fn done, void *arg);
/* What a file holds, and which of its names stand already: nothing is changed. The file is read on
 * a thread of the store's until the answer: it must stay as it is. */
void experiments_check_import(struct evaluations *v, json_t *file, evaluations_done_fn done,
                              void *arg);
/* {temp_file_id, configs: [{original_name, action: skip|overwrite|rename|import, new_name}]} for
 * what check_import gave (kept for an hour, at most 16 of them). Without a word about it (or with
 * "import") what is new is imported, and what stands already is left as it is. */
void experiments_execute_import(struct evaluations *v, const json_t *body, evaluations_done_fn done,
                                void *arg);

/* ---- settings ---- */

/* {max_workers, running_tasks, active_tasks} */
json_t *evaluations_config(struct evaluations *v);
/* {max_workers: 1 to 32}; kept over a restart. */
void evaluations_set_config(struct evaluations *v, const json_t *body, evaluations_done_fn done,
                            void *arg);

/* ---- documents (documents.c): objects by kind and id that people keep ---- */

enum document_kind {
    DOCUMENT_BENCHMARK,
    DOCUMENT_TOPOLOGY,
    DOCUMENT_CHIP,  /* joins the book */
    DOCUMENT_MODEL, /* the same */
    DOCUMENT_KIND_MAX_,
};
enum { DOCUMENTS_MAX = 1000, DOCUMENT_MAX = 1 << 20, DOCUMENT_ID_MAX = 128 };
/* ids: letters, digits, space . _ - only, never a path. */
void documents_list(struct evaluations *v, enum document_kind kind, evaluations_done_fn done,
                    void *arg); /* → an array, by id */
void documents_get(struct evaluations *v, enum document_kind kind, const char *id,
                   evaluations_done_fn done, void *arg);
/* create: -EEXIST when it stands; else it replaces, -ENOENT when there is none. A chip, a model, a
 * topology is checked whole (-EINVAL with the field). */
void documents_put(struct evaluations *v, enum document_kind kind, const char *id,
                   const json_t *object, bool create, evaluations_done_fn done, void *arg);
void documents_delete(struct evaluations *v, enum document_kind kind, const char *id,
                      evaluations_done_fn done, void *arg);
