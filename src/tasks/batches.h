// SPDX-License-Identifier: Apache-2.0
/*
 * Batches, as OpenAI has them: a file of requests, one a line, worked off behind everything else
 * (class TASK_BATCH), and a file of answers.
 *
 *     validating ──► in_progress ──► finalizing ──► completed
 *         │               │ (time is over: what has run by then stands in the files)
 *         ▼               ├──► expired
 *       failed            └──► cancelling ──► cancelled
 *
 * Lines become tasks in pieces, each piece committed with the line reached, so that a restart goes
 * on where it was; a finished batch's tasks are removed once its files stand. Files are bytes in
 * the data directory (files/<id>) and a row each; a file is made under another name, synced and
 * renamed before its row is committed; leftovers are removed at start.
 *
 * Everything runs on the loop; files are read and written on workers.
 */
#pragma once

#include "tasks/tasks.h"

struct batches;

extern const struct store_schema batches_schema;
extern const struct option_table batches_options; /* batches.max_file_size, batches.max_requests,
                                                     batches.max_files_bytes, batches.keep … */

struct batch_file {
    int64_t id;
    char public_id[48]; /* "file-…" */
    char *filename, *purpose;
    int64_t bytes, created_ms, expires_ms;
};

enum batch_state {
    BATCH_VALIDATING,
    BATCH_FAILED,
    BATCH_IN_PROGRESS,
    BATCH_FINALIZING,
    BATCH_COMPLETED,
    BATCH_EXPIRED,
    BATCH_CANCELLING,
    BATCH_CANCELLED,
    BATCH_STATE_MAX_,
};
const char *batch_state_name(enum batch_state s);

struct batch {
    int64_t id;
    char public_id[48]; /* "batch_…" */
    enum batch_state state;
    char *endpoint, *metadata /* JSON object, or NULL */, *webhook;
    char input_file[48], output_file[48], error_file[48]; /* public ids; "" */
    int64_t created_ms, in_progress_ms, expires_ms, finalizing_ms, completed_ms, failed_ms,
        expired_ms, cancelling_ms, cancelled_ms; /* 0: not */
    uint64_t total, completed, failed;
    char *errors; /* JSON array of {code, line, message, param}, or NULL */
    uint64_t completion_window_ms;
};

struct batches *batches_create(struct world *w, const struct config *config, struct store *store,
                               struct events *events, struct models *models, struct tasks *tasks);
/* After tasks_start: goes on with what an earlier berth began. */
int batches_start(struct batches *b, struct error *reterr) _must_check_;
void batches_reconfigure(struct batches *b, const struct config *config);
struct batches *batches_destroy(struct batches *b); /* before tasks_destroy and store_close */

/* All asynchronous: done comes once, in a later turn (and at the latest in batches_destroy or
 * store_close); what it gets is good for the call. Errors:
 * -ENOENT, -EINVAL, -EFBIG, -EDQUOT (batches.max_files_bytes), -ENOSPC, -EROFS, -EBUSY, -EAGAIN
 * (batches.max_active), -ECANCELED (shutdown). */
typedef void (*batch_file_fn)(void *arg, int result, const struct batch_file *f,
                              const struct error *e);
struct batch_upload;
/* Stored in pieces: bytes are borrowed until done comes, or until batches_cancel_upload. keep_ms:
 * it is removed after that time; 0: only when somebody asks for it. */
struct batch_upload *batches_add_file(struct batches *b, const char *filename, const char *purpose,
                                      struct span bytes, uint64_t keep_ms, batch_file_fn done,
                                      void *arg);
/* The bytes are not looked at any more; done does not come. (The file may be there all the same.)
 */
void batches_cancel_upload(struct batch_upload *u);
void batches_get_file(struct batches *b, const char *public_id, batch_file_fn done, void *arg);
/* Not while a batch that runs needs it: -EBUSY. */
void batches_remove_file(struct batches *b, const char *public_id, batch_file_fn done, void *arg);
typedef void (*batch_files_fn)(void *arg, int result, struct batch_file *const *files, size_t count,
                               bool more, const struct error *e);
struct batch_files_query {
    const char *purpose, *after; /* NULL: all, from the first */
    unsigned limit;              /* at most 10000 */
    bool ascending;              /* by age; else the newest first */
};
void batches_list_files(struct batches *b, const struct batch_files_query *query,
                        batch_files_fn done, void *arg);
/* The next piece from offset, at most 256 KiB; absent at the end. */
typedef void (*batch_content_fn)(void *arg, int result, struct span piece, const struct error *e);
void batches_read_file(struct batches *b, const char *public_id, int64_t offset,
                       batch_content_fn done, void *arg);

typedef void (*batch_fn)(void *arg, int result, const struct batch *batch, const struct error *e);
struct batch_order {
    const char *input_file, *endpoint, *webhook;
    uint64_t completion_window_ms; /* 1 s to 366 d */
    uint64_t output_keep_ms;       /* of its result files; 0: batches.keep */
    struct span metadata;          /* a JSON object, or absent */
};
void batches_submit(struct batches *b, const struct batch_order *order, batch_fn done, void *arg);
void batches_get(struct batches *b, const char *public_id, batch_fn done, void *arg);
void batches_cancel(struct batches *b, const char *public_id, batch_fn done, void *arg);
typedef void (*batch_list_fn)(void *arg, int result, struct batch *const *batches, size_t count,
                              bool more, const struct error *e);
/* The newest first; limit: at most 100. */
void batches_list(struct batches *b, const char *after, unsigned limit, batch_list_fn done,
                  void *arg);

/* Emits const struct batch * after the commit of each change of state. (webhooks_on_change hangs
 * there.) */
struct notify *batches_signal(struct batches *b);

/* To be connected to the tasks' signal by daemon/wiring.c. */
void batches_on_task(void *batches, const void *task_change);
