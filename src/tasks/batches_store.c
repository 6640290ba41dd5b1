// SPDX-License-Identifier: Apache-2.0
/*
 * The tables of batches and files. A change of a batch's state is a compare-and-set on the state
 * that it was in.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/batches_int.h"

static const char *const migrations[] = {
    "CREATE TABLE batch_files("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  public_id TEXT NOT NULL UNIQUE,"
    "  filename TEXT NOT NULL,"
    "  purpose TEXT NOT NULL,"
    "  bytes INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL) STRICT;"
    "CREATE INDEX batch_files_expires ON batch_files(expires_ms) WHERE expires_ms > 0;"
    "CREATE TABLE batches("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  public_id TEXT NOT NULL UNIQUE,"
    "  state TEXT NOT NULL,"
    "  outcome TEXT NOT NULL,"
    "  endpoint TEXT NOT NULL,"
    "  metadata TEXT,"
    "  webhook TEXT,"
    "  input_file TEXT NOT NULL,"
    "  output_file TEXT NOT NULL,"
    "  error_file TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  in_progress_ms INTEGER NOT NULL,"
    "  expires_ms INTEGER NOT NULL,"
    "  finalizing_ms INTEGER NOT NULL,"
    "  completed_ms INTEGER NOT NULL,"
    "  failed_ms INTEGER NOT NULL,"
    "  expired_ms INTEGER NOT NULL,"
    "  cancelling_ms INTEGER NOT NULL,"
    "  cancelled_ms INTEGER NOT NULL,"
    "  total INTEGER NOT NULL,"
    "  completed INTEGER NOT NULL,"
    "  failed INTEGER NOT NULL,"
    "  errors TEXT,"
    "  window_ms INTEGER NOT NULL,"
    "  output_keep_ms INTEGER NOT NULL,"
    "  next_line INTEGER NOT NULL,"
    "  next_offset INTEGER NOT NULL,"
    "  reached INTEGER NOT NULL,"
    /* unfinished, or with tasks that are to be removed */
    "  open INTEGER NOT NULL) STRICT;"
    "CREATE INDEX batches_open ON batches(id) WHERE open = 1;"
    "CREATE INDEX batches_input ON batches(input_file) WHERE open = 1",
};
const struct store_schema batches_schema = { "batches", migrations, ARRAY_SIZE(migrations) };

static const char *const state_names[] = {
    [BATCH_VALIDATING] = "validating",   [BATCH_FAILED] = "failed",
    [BATCH_IN_PROGRESS] = "in_progress", [BATCH_FINALIZING] = "finalizing",
    [BATCH_COMPLETED] = "completed",     [BATCH_EXPIRED] = "expired",
    [BATCH_CANCELLING] = "cancelling",   [BATCH_CANCELLED] = "cancelled",
};

const char *batch_state_name(enum batch_state s)
{
    return state_names[s];
}

static enum batch_state state_of(const char *name)
{
    for (int s = 0; s < BATCH_STATE_MAX_; s++) {
        if (str_eq(state_names[s], name)) {
            return (enum batch_state)s;
        }
    }
    return BATCH_FAILED; /* of a newer berth, which the store's versions forbid */
}

/* ---- the structs ---- */

void batch_finish(struct batch *b)
{
    free(b->endpoint);
    free(b->metadata);
    free(b->webhook);
    free(b->errors);
}

void batch_row_finish(struct batch_row *row)
{
    batch_finish(&row->batch);
    *row = (struct batch_row){ 0 };
}

struct batch_row batch_row_dup(const struct batch_row *row)
{
    struct batch_row copy = *row;

    copy.batch.endpoint = xstrdup_opt(row->batch.endpoint);
    copy.batch.metadata = xstrdup_opt(row->batch.metadata);
    copy.batch.webhook = xstrdup_opt(row->batch.webhook);
    copy.batch.errors = xstrdup_opt(row->batch.errors);
    return copy;
}

void batch_file_finish(struct batch_file *f)
{
    free(f->filename);
    free(f->purpose);
    *f = (struct batch_file){ 0 };
}

struct batch_file batch_file_dup(const struct batch_file *f)
{
    struct batch_file copy = *f;

    copy.filename = xstrdup_opt(f->filename);
    copy.purpose = xstrdup_opt(f->purpose);
    return copy;
}

/* ---- batches ---- */

int batch_row_insert(struct sql *db, struct batch_row *row, struct error *reterr)
{
    const struct batch *b = &row->batch;
    int r = sql_run(
        db, reterr,
        "INSERT INTO batches(public_id, state, outcome, endpoint, metadata, webhook, input_file,"
        " output_file, error_file, created_ms, in_progress_ms, expires_ms, finalizing_ms,"
        " completed_ms, failed_ms, expired_ms, cancelling_ms, cancelled_ms, total, completed,"
        " failed, errors, window_ms, output_keep_ms, next_line, next_offset, reached, open) "
        "VALUES(?, ?, ?, ?, ?, ?, ?, '', '', ?, 0, ?, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, ?, ?, 1, 0,"
        " 0, 1)",
        "tttttttiiii", b->public_id, batch_state_name(b->state), batch_state_name(row->outcome),
        b->endpoint, b->metadata, b->webhook, b->input_file, b->created_ms, b->expires_ms,
        (int64_t)b->completion_window_ms, (int64_t)row->output_keep_ms);

    if (r < 0) {
        return r;
    }
    row->batch.id = sql_last_id(db);
    row->next_line = 1;
    return 0;
}

int batch_row_update(struct sql *db, const struct batch_row *row, enum batch_state from,
                     struct error *reterr)
{
    const struct batch *b = &row->batch;
    int r = sql_run(
        db, reterr,
        "UPDATE batches SET state = ?, outcome = ?, output_file = ?, error_file = ?,"
        " in_progress_ms = ?, finalizing_ms = ?, completed_ms = ?, failed_ms = ?, expired_ms = ?,"
        " cancelling_ms = ?, cancelled_ms = ?, total = ?, completed = ?, failed = ?, errors = ? "
        "WHERE id = ? AND state = ?",
        "ttttiiiiiiiiiitit", batch_state_name(b->state), batch_state_name(row->outcome),
        b->output_file, b->error_file, b->in_progress_ms, b->finalizing_ms, b->completed_ms,
        b->failed_ms, b->expired_ms, b->cancelling_ms, b->cancelled_ms, (int64_t)b->total,
        (int64_t)b->completed, (int64_t)b->failed, b->errors, b->id, batch_state_name(from));

    if (r == 0) {
        return error_set(reterr, -EBUSY, "the batch was changed by another berth meanwhile");
    }
    return r < 0 ? r : 0;
}

int batch_row_reach(struct sql *db, const struct batch_row *row, struct error *reterr)
{
    int r = sql_run(db, reterr,
                    "UPDATE batches SET next_line = ?, next_offset = ?, reached = ? "
                    "WHERE id = ? AND state = 'in_progress' AND next_line < ?",
                    "iiiii", row->next_line, row->next_offset, (int64_t)row->reached, row->batch.id,
                    row->next_line);

    if (r == 0) {
        return error_set(reterr, -EBUSY, "the batch was changed by another berth meanwhile");
    }
    return r < 0 ? r : 0;
}

int batch_row_clean(struct sql *db, int64_t id, struct error *reterr)
{
    return sql_run(db, reterr, "UPDATE batches SET open = 0 WHERE id = ?", "i", id);
}

#define COLUMNS                                                                                    \
    "id, public_id, state, outcome, endpoint, metadata, webhook, input_file, output_file,"         \
    " error_file, created_ms, in_progress_ms, expires_ms, finalizing_ms, completed_ms, failed_ms," \
    " expired_ms, cancelling_ms, cancelled_ms, total, completed, failed, errors, window_ms,"       \
    " output_keep_ms, next_line, next_offset, reached"

static void copy_id(char out[48], struct sql_stmt *st, int column)
{
    snprintf(out, 48, "%s", sql_text(st, column));
}

static struct batch_row row_of(struct sql_stmt *st)
{
    struct batch_row row = {
        .batch = {
            .id = sql_int(st, 0),
            .state = state_of(sql_text(st, 2)),
            .endpoint = xstrdup(sql_text(st, 4)),
            .metadata = xstrdup_opt(sql_text(st, 5)),
            .webhook = xstrdup_opt(sql_text(st, 6)),
            .created_ms = sql_int(st, 10),
            .in_progress_ms = sql_int(st, 11),
            .expires_ms = sql_int(st, 12),
            .finalizing_ms = sql_int(st, 13),
            .completed_ms = sql_int(st, 14),
            .failed_ms = sql_int(st, 15),
            .expired_ms = sql_int(st, 16),
            .cancelling_ms = sql_int(st, 17),
            .cancelled_ms = sql_int(st, 18),
            .total = (uint64_t)sql_int(st, 19),
            .completed = (uint64_t)sql_int(st, 20),
            .failed = (uint64_t)sql_int(st, 21),
            .errors = xstrdup_opt(sql_text(st, 22)),
            .completion_window_ms = (uint64_t)sql_int(st, 23),
        },
        .outcome = state_of(sql_text(st, 3)),
        .output_keep_ms = (uint64_t)sql_int(st, 24),
        .next_line = sql_int(st, 25),
        .next_offset = sql_int(st, 26),
        .reached = (uint64_t)sql_int(st, 27),
    };

    copy_id(row.batch.public_id, st, 1);
    copy_id(row.batch.input_file, st, 7);
    copy_id(row.batch.output_file, st, 8);
    copy_id(row.batch.error_file, st, 9);
    return row;
}

int batch_row_get(struct sql *db, const char *public_id, struct batch_row *ret,
                  struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT " COLUMNS " FROM batches WHERE public_id = ?", "t",
                      public_id);

    r = r < 0 ? r : sql_next(st, reterr);
    if (r > 0) {
        *ret = row_of(st);
    }
    return r;
}

static int walk_rows(struct sql_stmt *st, batch_row_fn fn, void *arg, struct error *reterr)
{
    int r;

    while ((r = sql_next(st, reterr)) > 0) {
        struct batch_row row = row_of(st);

        fn(arg, &row);
    }
    return r;
}

int batch_rows_open(struct sql *db, batch_row_fn fn, void *arg, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT " COLUMNS " FROM batches WHERE open = 1 ORDER BY id",
                      "");

    return r < 0 ? r : walk_rows(st, fn, arg, reterr);
}

/* The row id of what a page begins behind. */
static int id_behind(struct sql *db, const char *text, const char *what, const char *public_id,
                     int64_t *ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, text, "t", public_id);

    r = r < 0 ? r : sql_next(st, reterr);
    if (r == 0) {
        return error_set(reterr, -ENOENT, "there is no %s '%.64s'", what, public_id);
    }
    if (r > 0) {
        *ret = sql_int(st, 0);
    }
    return r;
}

int batch_rows_list(struct sql *db, const char *after, unsigned limit, batch_row_fn fn, void *arg,
                    struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int64_t below = INT64_MAX;
    int r = after ? id_behind(db, "SELECT id FROM batches WHERE public_id = ?", "batch", after,
                              &below, reterr)
                  : 0;

    r = r < 0 ? r
              : sql_query(db, &st, reterr,
                          "SELECT " COLUMNS " FROM batches WHERE id < ? ORDER BY id DESC LIMIT ?",
                          "ii", below, (int64_t)limit);
    return r < 0 ? r : walk_rows(st, fn, arg, reterr);
}

int batch_rows_expire(struct sql *db, int64_t ended_before_ms, struct error *reterr)
{
    /* Only the oldest are looked at; the time of the end stands in one of four columns. */
    return sql_run(db, reterr,
                   "DELETE FROM batches WHERE open = 0 AND"
                   " max(completed_ms, failed_ms, expired_ms, cancelled_ms) < ? AND id IN"
                   " (SELECT id FROM batches ORDER BY id LIMIT 100)",
                   "i", ended_before_ms);
}

/* ---- files ---- */

#define FILE_COLUMNS "id, public_id, filename, purpose, bytes, created_ms, expires_ms"

int batch_file_insert(struct sql *db, struct batch_file *f, struct error *reterr)
{
    int r = sql_run(db, reterr,
                    "INSERT INTO batch_files(public_id, filename, purpose, bytes, created_ms,"
                    " expires_ms) VALUES(?, ?, ?, ?, ?, ?)",
                    "tttiii", f->public_id, f->filename, f->purpose, f->bytes, f->created_ms,
                    f->expires_ms);

    if (r < 0) {
        return r;
    }
    f->id = sql_last_id(db);
    return 0;
}

static struct batch_file file_of(struct sql_stmt *st)
{
    struct batch_file f = {
        .id = sql_int(st, 0),
        .filename = xstrdup(sql_text(st, 2)),
        .purpose = xstrdup(sql_text(st, 3)),
        .bytes = sql_int(st, 4),
        .created_ms = sql_int(st, 5),
        .expires_ms = sql_int(st, 6),
    };

    copy_id(f.public_id, st, 1);
    return f;
}

int batch_file_get(struct sql *db, const char *public_id, struct batch_file *ret,
                   struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT " FILE_COLUMNS " FROM batch_files WHERE public_id = ?",
                  "t", public_id);

    r = r < 0 ? r : sql_next(st, reterr);
    if (r > 0) {
        *ret = file_of(st);
    }
    return r;
}

static int is_needed(struct sql *db, const char *public_id, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT 1 FROM batches WHERE open = 1 AND input_file = ? LIMIT 1", "t",
                      public_id);

    return r < 0 ? r : sql_next(st, reterr);
}

int batch_file_remove(struct sql *db, const char *public_id, int64_t *ret_bytes,
                      struct error *reterr)
{
    struct batch_file f = { 0 };
    int r = batch_file_get(db, public_id, &f, reterr);

    if (r <= 0) {
        return r < 0 ? r : error_set(reterr, -ENOENT, "there is no file '%.64s'", public_id);
    }
    *ret_bytes = f.bytes;
    batch_file_finish(&f);
    r = is_needed(db, public_id, reterr);
    if (r > 0) {
        return error_set(reterr, -EBUSY, "the file '%.64s' is needed by a batch that runs",
                         public_id);
    }
    r = r < 0 ? r
              : sql_run(db, reterr, "DELETE FROM batch_files WHERE public_id = ?", "t", public_id);
    return r < 0 ? r : 0;
}

static int walk_files(struct sql_stmt *st, batch_file_row_fn fn, void *arg, struct error *reterr)
{
    int r;

    while ((r = sql_next(st, reterr)) > 0) {
        struct batch_file f = file_of(st);

        fn(arg, &f);
    }
    return r;
}

int batch_files_list(struct sql *db, const char *purpose, const char *after, unsigned limit,
                     bool ascending, batch_file_row_fn fn, void *arg, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int64_t edge = ascending ? 0 : INT64_MAX;
    int r = after ? id_behind(db, "SELECT id FROM batch_files WHERE public_id = ?", "file", after,
                              &edge, reterr)
                  : 0;

    r = r < 0 ? r
              : sql_query(db, &st, reterr,
                          ascending ? "SELECT " FILE_COLUMNS " FROM batch_files WHERE id > ? AND"
                                      " purpose = coalesce(?, purpose) ORDER BY id LIMIT ?"
                                    : "SELECT " FILE_COLUMNS " FROM batch_files WHERE id < ? AND"
                                      " purpose = coalesce(?, purpose) ORDER BY id DESC LIMIT ?",
                          "iti", edge, purpose, (int64_t)limit);
    return r < 0 ? r : walk_files(st, fn, arg, reterr);
}

int batch_files_expired(struct sql *db, int64_t now_ms, batch_file_row_fn fn, void *arg,
                        struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " FILE_COLUMNS " FROM batch_files WHERE expires_ms > 0 AND"
                      " expires_ms <= ? AND NOT EXISTS (SELECT 1 FROM batches WHERE open = 1 AND"
                      " input_file = batch_files.public_id) ORDER BY expires_ms LIMIT 100",
                      "i", now_ms);

    return r < 0 ? r : walk_files(st, fn, arg, reterr);
}
