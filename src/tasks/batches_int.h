// SPDX-License-Identifier: Apache-2.0
/*
 * Inside batches: the object, the work on one batch, and what the files of this part of the room
 * share.
 *
 *     batches.c        the object, its options, doors: submit, get, list, cancel
 *     batches_run.c    what a batch needs next: every state and its steps
 *     batches_step.c   a change of state
 *     batches_lines.c  reading the input file, a piece at a time
 *     batches_check.c  validating
 *     batches_submit.c lines become tasks
 *     batches_write.c  the result files
 *     batches_store.c  SQL; batch_tasks.c: that on the queue's tables
 *     files.c          files: get, list, read, remove
 *     files_upload.c   add
 *     files_disk.c     their bytes
 *     files_keep.c     retention, and what is found at a start
 *
 * Who waits for a job, an operation or an answer of the queue holds a pointer to its own struct
 * only; `batches` in it is NULL once the object is gone.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/worker.h"
#include "tasks/batches.h"

enum {
    BATCH_LINE_MAX = 1024 * 1024, /* bytes of an input line */
    BATCH_ID_MAX = 64,            /* bytes of a custom_id */
    BATCH_ERRORS_MAX = 100,       /* told of one input file */
    BATCH_LINES_PIECE = 200,      /* lines of one step */
    BATCH_RETRY_MS = 2000,        /* after a step that failed */
    BATCH_LIST_MAX = 100,
    FILE_LIST_MAX = 10000,
    FILE_PATH_MAX = 64,
    FILE_ID_RANDOM_BYTES = 12,
};

/* As stored; the texts are the holder's. */
struct batch_row {
    struct batch batch;
    enum batch_state outcome; /* of BATCH_FINALIZING: what it becomes */
    uint64_t output_keep_ms;  /* 0: batches.keep */
    /* Lines before this place are tasks, committed together with it: */
    int64_t next_line, next_offset;
    uint64_t reached; /* how many requests those lines held */
};

struct batch_check;
struct batch_output;

/* A batch that is not through: unfinished, or with tasks that are to be removed. */
struct batch_work {
    struct list node;  /* of batches->works, by id */
    struct batches *b; /* NULL: the object is gone */
    struct batch_row row;
    int64_t unfinished; /* its tasks that are pending or running; void while a piece is submitted */
    bool busy;          /* a step is under way: its end calls batch_advance */
    bool retrying;      /* waits for its timer after a step that failed */
    bool cancel_wanted;
    bool tasks_cancelled;        /* in this life */
    struct list waiters;         /* struct batch_request: cancels that are to be answered */
    struct batch_check *check;   /* while it is validated */
    struct batch_output *output; /* while its files are written */
    struct timer timer;          /* its end, or another try */
};

struct batches {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct tasks *tasks;
    struct worker *worker;
    struct list works;
    struct list requests;          /* struct batch_request and those of files.c: their `b` */
    size_t coming;                 /* batches that are being stored */
    uint64_t files_bytes;          /* of all files, with those that are being added */
    struct batch_work *validating; /* one at a time: its ids are in memory */
    struct batch_work *writing;
    struct timer first; /* goes on with what an earlier berth began */
    struct timer sweep; /* retention */
    bool started, sweeping;
    struct notify changed;
};

/* What every asynchronous question embeds first, so that the object can let go of it. */
struct batch_asker {
    struct list node; /* of batches->requests */
    struct batches *b;
};
void batch_asker_add(struct batches *b, struct batch_asker *a);
void batch_asker_remove(struct batch_asker *a);

/* Each question, upload and batch has one job at most, and they are bounded where they come from:
 * nothing is refused here. */
void batch_job_start(struct batches *b, struct job *job);

/* ---- batches.c ---- */

struct batch_request;
/* Answers a cancel that waited. */
void batch_request_answer(struct batch_request *r, const struct batch_row *row, int result,
                          const char *sentence);
struct batch_work *batch_work_create(struct batches *b,
                                     struct batch_row *row); /* row: taken over */
void batch_work_free(struct batch_work *w);
/* Answers all cancels that wait for it. */
void batch_work_tell(struct batch_work *w, int result, const char *sentence);
bool batch_is_ended(enum batch_state s);

/* ---- batches_run.c ---- */

/* Does what this batch needs next; nothing while a step is under way. */
void batch_advance(struct batch_work *w);
/* The same for all that may wait for each other. */
void batch_advance_all(struct batches *b);
/* After a step that failed. */
void batch_retry_later(struct batch_work *w, const char *what, const struct error *e);

/* ---- batches_step.c ---- */

/* The change of a batch's state, with what belongs to it, in one transaction. */
struct batch_step {
    struct store_op op;
    struct batch_work *work;
    enum batch_state from;
    struct batch_row row; /* as it becomes */
    struct batch_file files[2];
    size_t file_count;
    struct event *event;
    char *hook_body; /* NULL: nobody is to be told */
    int64_t wall_ms;
};
struct batch_step *batch_step_create(struct batch_work *w);
void batch_step_start(struct batch_step *step, enum batch_state to);

/* ---- batches_submit.c ---- */

/* The next piece of its lines. */
void batch_submit_next(struct batch_work *w);

/* ---- batches_lines.c ---- */

struct batch_line {
    int64_t number;    /* from 1 */
    char *custom_id;   /* NULL: not readable */
    char *model;       /* NULL: not readable */
    struct span body;  /* in the piece's bytes */
    const char *code;  /* NULL: good */
    const char *param; /* member that is wrong, or NULL */
    char *message;     /* with code */
};

/* A piece of an input file: a job that reads it. */
struct batch_piece {
    struct job job;
    char path[FILE_PATH_MAX], endpoint[64];
    int64_t offset, number; /* of its first line */
    struct batch_line *lines;
    size_t count;
    char *bytes;
    int64_t next_offset, next_number;
    bool end, too_long; /* too_long: a line is beyond BATCH_LINE_MAX; there is no next */
    int result;
    struct error error;
    void *owner;
};
struct batch_piece *batch_piece_create(const struct batch_work *w, int64_t offset, int64_t number,
                                       void (*done)(struct job *job), void *owner);
void batch_piece_free(struct batch_piece *p);

/* ---- batches_check.c ---- */

void batch_check_start(struct batch_work *w);
void batch_check_free(struct batch_check *c);

/* ---- batches_write.c ---- */

void batch_output_start(struct batch_work *w);

/* ---- batches_store.c ---- */

void batch_finish(struct batch *b);
void batch_row_finish(struct batch_row *row);
struct batch_row batch_row_dup(const struct batch_row *row);
void batch_file_finish(struct batch_file *f);
struct batch_file batch_file_dup(const struct batch_file *f);

int batch_row_insert(struct sql *db, struct batch_row *row, struct error *reterr) _must_check_;
/* -EBUSY: it is not in state `from` any more. */
int batch_row_update(struct sql *db, const struct batch_row *row, enum batch_state from,
                     struct error *reterr) _must_check_;
/* The line reached; -EBUSY as above. */
int batch_row_reach(struct sql *db, const struct batch_row *row, struct error *reterr) _must_check_;
/* Its tasks are gone. */
int batch_row_clean(struct sql *db, int64_t id, struct error *reterr) _must_check_;
/* 1: *ret is filled in; 0: there is none. */
int batch_row_get(struct sql *db, const char *public_id, struct batch_row *ret,
                  struct error *reterr) _must_check_;
typedef void (*batch_row_fn)(void *arg, struct batch_row *row); /* the row is the callee's */
int batch_rows_open(struct sql *db, batch_row_fn fn, void *arg, struct error *reterr) _must_check_;
int batch_rows_list(struct sql *db, const char *after, unsigned limit, batch_row_fn fn, void *arg,
                    struct error *reterr) _must_check_;
/* Ended and cleaned ones that are older. (Their files have times of their own.) */
int batch_rows_expire(struct sql *db, int64_t ended_before_ms, struct error *reterr) _must_check_;

int batch_file_insert(struct sql *db, struct batch_file *f, struct error *reterr) _must_check_;
int batch_file_get(struct sql *db, const char *public_id, struct batch_file *ret,
                   struct error *reterr) _must_check_;
/* -ENOENT, -EBUSY */
int batch_file_remove(struct sql *db, const char *public_id, int64_t *ret_bytes,
                      struct error *reterr) _must_check_;
typedef void (*batch_file_row_fn)(void *arg, struct batch_file *f); /* f is the callee's */
int batch_files_list(struct sql *db, const char *purpose, const char *after, unsigned limit,
                     bool ascending, batch_file_row_fn fn, void *arg,
                     struct error *reterr) _must_check_;
/* Those whose time is over and that nobody needs. */
int batch_files_expired(struct sql *db, int64_t now_ms, batch_file_row_fn fn, void *arg,
                        struct error *reterr) _must_check_;

/* ---- files_disk.c ---- */

#define BATCH_FILES_DIR "files" /* in the data directory */

/* BATCH_FILES_DIR/<public id> */
void batch_file_path(const char *public_id, char out[FILE_PATH_MAX]);
/* The same while it is written. */
void batch_file_part_path(const char *public_id, char out[FILE_PATH_MAX]);
/* prefix and 24 random digits */
void batch_make_id(struct world *w, const char *prefix, char out[48]);
/* From errno: -ENOSPC or -EIO. */
int batch_disk_error(const char *what, struct error *reterr);
/* Makes the folder when it is missing and opens the part anew. */
int batch_file_open_part(const char *public_id, int *ret_fd, struct error *reterr) _must_check_;
int batch_file_write(int fd, const char *p, size_t n, struct error *reterr) _must_check_;
/* fsync, rename to the final name, fsync of the folder. Closes fd in any case. */
int batch_file_publish(int fd, const char *public_id, struct error *reterr) _must_check_;
/* Unlinks what there is of a file that has no row, its part too; on a worker of its own. */
void batch_file_unlink(struct batches *b, const char *public_id);

/* ---- files_keep.c ---- */

/* Removes what lies there without a row; reads how much the others are. Blocking, at start. */
int batch_files_start(struct batches *b, struct error *reterr) _must_check_;
void batch_files_sweep(struct batches *b);
