// SPDX-License-Identifier: Apache-2.0
/*
 * A thin hand on one SQL connection: prepared statements (cached by text), binding by a format,
 * columns by number. Used inside store operations (store/store.h), on whichever thread runs them.
 *
 *     _cleanup_(sql_donep) struct sql_stmt *st = NULL;
 *
 *     r = sql_query(db, &st, reterr, "SELECT id, name FROM models WHERE priority >= ? AND engine =
 * ?", "it", (int64_t)3, "llamacpp"); if (r < 0) { return r; } while ((r = sql_next(st, reterr)) >
 * 0) { … sql_int(st, 0) … sql_text(st, 1) … }
 *
 * Every statement is given back (sql_donep) before the operation's run returns. Texts are
 * constants: values are bound, never written into the text, so the cache stays small.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/str.h"

struct sql;
struct sql_stmt;

/*
 * Format letters, one an argument: i int64_t, d double, t const char * (NULL is SQL NULL), s struct
 * span (as text; absent is NULL), b struct span (as blob; absent is NULL), n nothing (SQL NULL,
 * takes no argument). Texts and blobs need not outlive the call. "" binds nothing.
 *
 * Errors of all three: -EEXIST (a unique value is taken), -EINVAL (another constraint, or bad SQL),
 * -EFBIG (value too big), -ETIMEDOUT (a read ran over its time), -EBUSY, -ENOSPC, -EROFS, -EIO,
 * -ENOMEM.
 */
int sql_query(struct sql *db, struct sql_stmt **ret, struct error *reterr, const char *text,
              const char *format, ...) _must_check_;
/* 1: a row stands; 0: no more (and again 0 when asked again); negative errno. */
int sql_next(struct sql_stmt *st, struct error *reterr) _must_check_;
/* Gives the statement back to the cache. Accepts a NULL statement. */
void sql_donep(struct sql_stmt **st);

/* Runs a statement whose rows (if any) are of no interest. Returns the number of rows that it
 * inserted, updated or deleted (0 for any other kind of statement), or negative errno. */
int sql_run(struct sql *db, struct error *reterr, const char *text, const char *format,
            ...) _must_check_;
/* The rowid of the last insert on this connection. */
int64_t sql_last_id(struct sql *db);

/* Columns of the row that stands, from 0. */
int64_t sql_int(struct sql_stmt *st, int column);
double sql_double(struct sql_stmt *st, int column);
/* Borrowed until the next sql_next or sql_donep; NULL (or an absent span) for SQL NULL. */
const char *sql_text(struct sql_stmt *st, int column);
struct span sql_span(struct sql_stmt *st, int column);
bool sql_is_null(struct sql_stmt *st, int column);
