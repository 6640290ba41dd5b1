// SPDX-License-Identifier: Apache-2.0
/*
 * Inside of evaluations. A job's state is its task's row, and nothing else; what this room adds to
 * it stands in a row of its own (evaluation_jobs), and whoever reads joins the two (the views
 * evaluation_tasks and experiments). What waits or runs is known in memory, too: its place in the
 * queue and its progress are told from there.
 */
#pragma once

#include <stdatomic.h>

#include "base/world.h"
#include "evaluations/documents_int.h"
#include "evaluations/evaluations.h"

enum {
    EVALUATIONS_MAX = 10000, /* jobs that are kept */
    EXPERIMENTS_MAX = 10000, /* experiments that are kept */
    EVALUATION_TOP_MAX = 10, /* plans of a job that are kept */
    EVALUATION_REFUSED_MAX = 200,
    EVALUATION_IDS_MAX = 100, /* of one request */
    EXPERIMENTS_EXPORT_MAX = 1000,
    EXPORT_BYTES_MAX = 32 << 20, /* of a file that is exported or imported */
    DESCRIPTION_MAX = 4096,
};

/* ---- questions and changes of a door's, on their way through the store ---- */

/* Stands first in a struct of the asker's (inquiry_create's size); freed by inquiry_end. */
struct inquiry {
    struct list node;          /* in evaluations.inquiries */
    struct evaluations *owner; /* NULL: it is gone, and whoever asked was told */
    struct store_op op;
    evaluations_done_fn done;
    void *arg;
    json_t *answer;
    char field[PRESET_NAME_MAX]; /* of a refusal */
    int refusal;                 /* of inquiry_refuse */
    struct error error;
    /* On the store's thread, as store_op.run. */
    int (*run)(struct inquiry *q, struct sql *db, struct error *reterr);
    /* On the loop, before it is told (a good end, and owner is there); may be NULL. */
    void (*dress)(struct inquiry *q);
    void (*finish)(struct inquiry *q); /* frees what it holds, not itself; may be NULL */
};
void *inquiry_create(struct evaluations *v, size_t size, evaluations_done_fn done, void *arg);
void inquiry_read(struct inquiry *q,
                  int (*run)(struct inquiry *q, struct sql *db, struct error *reterr));
void inquiry_write(struct inquiry *q,
                   int (*run)(struct inquiry *q, struct sql *db, struct error *reterr));
/* Tells (in a later turn) that it is refused. field may be "". */
void inquiry_refuse(struct inquiry *q, int code, const char *field, const char *fmt, ...)
    _printf_(4, 5);
/* The same of what inquiry_fault() has named. */
void inquiry_refuse_fault(struct inquiry *q, int code, const struct error *e);
/* Tells now, and frees it: only from a later turn than the asker's. */
void inquiry_end(struct inquiry *q, int result, const struct error *e);
/* Names the member that is wrong; also inside run. Returns code. */
int inquiry_fault(struct inquiry *q, int code, const char *field, struct error *reterr,
                  const char *fmt, ...) _printf_(5, 6);
void inquiries_finish(struct evaluations *v);

/* ---- jobs that wait or run ---- */

struct search;
struct live {
    struct list node; /* in evaluations.live, the eldest first */
    int64_t row_id;   /* the task's */
    char task_id[UUID_SIZE];
    enum task_state state;
    unsigned priority;
    double progress;
    uint64_t kept_ms;  /* when its row was told of the progress */
    char message[160]; /* of a completed one */
    json_t *stats;     /* NULL until it is completed */
};
struct live *live_find(const struct evaluations *v, const char *task_id);
struct live *live_add(struct evaluations *v, int64_t row_id, const char *task_id,
                      enum task_state state, unsigned priority);
struct live *live_free(struct live *live);
void live_tell(struct evaluations *v, const struct live *live, const char *error);
/* 1-based among those that wait; 0: it does not. */
size_t live_place(const struct evaluations *v, const struct live *live);
size_t live_count(const struct evaluations *v, enum task_state state);
/* What only the loop knows of a job's object: progress while it runs, its place while it waits. */
void live_dress(const struct evaluations *v, json_t *job);

/* ---- searches (runner.c) ---- */

void searches_init(struct evaluations *v);
void searches_finish(struct evaluations *v);
unsigned searches_running(const struct evaluations *v);

/* ---- rows ---- */

/* A job's plans, in their order (owned): the best, then the refused. */
struct findings {
    json_t **plans;
    size_t count;
    json_t *stats;
    char message[160];
};
void findings_clear(struct findings *f);
/* Replaces what stands there. job: evaluation_jobs.id. */
int results_save(struct sql *db, int64_t job, const struct findings *f, int64_t now_ms,
                 struct error *reterr) _must_check_;
int result_insert(struct sql *db, int64_t job, const json_t *plan, int64_t now_ms,
                  struct error *reterr) _must_check_;

#define JOB_COLUMNS                                                                                \
    "e.id, e.task_id, e.status, e.progress, e.message, e.error, e.search_stats, e.created_at, "    \
    "e.started_at, e.completed_at, x.name, e.experiment_id, e.priority, e.search_mode, "           \
    "e.manual_parallelism, e.search_constraints"
#define JOB_FROM " FROM evaluation_tasks e JOIN experiment_rows x ON x.id = e.experiment_id "
/* Of a row with JOB_COLUMNS: the contract's object. */
json_t *job_object(struct sql_stmt *st, bool whole);
/* Its top_k_plans and infeasible_plans are added to the object; none before it is completed. */
int job_plans_load(struct sql *db, struct sql_stmt *st, json_t *object,
                   struct error *reterr) _must_check_;
/* 1: found (id of the job and of its task, 0 when it was imported), 0: not. */
int job_find(struct sql *db, const char *task_id, int64_t *ret_job, int64_t *ret_task,
             struct error *reterr) _must_check_;
/* The job, its plans. Its task is the caller's (tasks_erase). */
int job_remove(struct sql *db, int64_t job, struct error *reterr) _must_check_;

json_t *json_of_text(const char *text); /* null when there is none */
char *text_of_json(const json_t *json); /* NULL of NULL and null; owned */
json_t *string_or_null(const char *s);

/* 1: found; 0: not. */
int experiment_find(struct sql *db, const char *name, int64_t *ret,
                    struct error *reterr) _must_check_;
struct experiment_words {
    const char *name, *description, *model, *hardware, *inference; /* JSON texts, or NULL */
};
int experiment_insert(struct sql *db, const struct experiment_words *x, int64_t now_ms,
                      int64_t *ret, struct error *reterr) _must_check_;
/* Its jobs and itself; the ids of their tasks are added to *ids. */
int experiment_remove(struct sql *db, int64_t id, struct task_ids *ids,
                      struct error *reterr) _must_check_;
/* Is this a name? A sentence when not. */
int experiment_check_name(const char *name, size_t length, struct error *reterr) _must_check_;

#define EXPERIMENT_COLUMNS                                                                         \
    "x.id, x.name, x.description, x.total_tasks, x.completed_tasks, x.created_at, x.updated_at, "  \
    "x.model_config, x.hardware_config, x.inference_config"
json_t *experiment_object(struct sql_stmt *st, bool whole);

/* ---- imports ---- */

/* *ret_tasks: how many jobs it has. */
int import_check_file(const json_t *file, size_t *ret_tasks, struct error *reterr) _must_check_;

struct import {
    struct list node; /* in evaluations.imports, the eldest first */
    char id[UUID_SIZE];
    char *text;
    size_t bytes, tasks;
    uint64_t until_ms;
};
/* NULL: it is not there (any more). */
struct import *import_find(struct evaluations *v, const char *id);
void import_free(struct import *i);
void imports_init(struct evaluations *v);
void imports_finish(struct evaluations *v);

/* ---- settings ---- */

int settings_load(struct sql *db, unsigned *ret_max_workers, struct error *reterr) _must_check_;

/* ---- all ---- */

struct evaluations {
    struct evaluations_in in;
    struct documents *documents;
    struct notify signal;
    struct list live, inquiries, imports;
    unsigned coming;      /* submitted, and not yet stored */
    unsigned max_workers; /* that counts */
    unsigned set_workers; /* by PUT config; 0: the option counts */

    struct list searches, idle; /* struct search; struct thread */
    unsigned search_count;      /* that have a place, or a thread that has not ended yet */
    struct timer look;          /* at their progress */
    struct timer expiry;        /* of imports */
};
