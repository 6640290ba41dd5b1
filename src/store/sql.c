// SPDX-License-Identifier: Apache-2.0
/*
 * One SQLite connection. Every SQLite result code is turned into an errno and a sentence here, and
 * nowhere else; codes that mean "this database must not be written to any more" are remembered in
 * `broken`.
 */
#include "store/sql.h"

#include <assert.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "store/sql_int.h"

enum { PROGRESS_STEPS = 1000, BUSY_MS = 10000 };

struct sql_stmt {
    struct sql *db;
    sqlite3_stmt *handle;
    const char *text; /* where it stood when it was given last; void when it is not cached */
    bool cached;      /* lives in db->cache; else it ends with sql_donep */
    bool busy;        /* given out */
    bool ended;       /* sql_next said 0, or failed */
    bool borrows;     /* what is bound outlives its use, and is not copied */
};

static uint64_t monotonic_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int on_progress(void *arg)
{
    const struct sql *db = arg;

    return db->deadline_ms && monotonic_ms() >= db->deadline_ms;
}

static int code_of_constraint(int extended)
{
    switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
    case SQLITE_CONSTRAINT_ROWID:
        return -EEXIST;
    default:
        return -EINVAL;
    }
}

static int code_of(int extended)
{
    switch (extended & 0xff) {
    case SQLITE_CONSTRAINT:
        return code_of_constraint(extended);
    case SQLITE_ERROR:
    case SQLITE_MISUSE:
    case SQLITE_RANGE:
    case SQLITE_MISMATCH:
    case SQLITE_AUTH:
        return -EINVAL;
    case SQLITE_TOOBIG:
        return -EFBIG;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_INTERRUPT:
        return -ETIMEDOUT;
    case SQLITE_NOMEM:
        return -ENOMEM;
    default: /* IOERR, CORRUPT, NOTADB, CANTOPEN, PROTOCOL … */
        return -EIO;
    }
}

/* The disk or the file does not do what was asked of it: the next write would not fare better. */
static bool breaks(int extended)
{
    switch (extended & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return true;
    default:
        return false;
    }
}

static int fail(struct sql *db, int extended, struct error *reterr)
{
    int code = code_of(extended);

    if (breaks(extended) && db->broken.code == 0) {
        error_set(&db->broken, code, "%s", sqlite3_errmsg(db->handle));
    }
    if (code == -ETIMEDOUT) {
        error_set(reterr, code, "the database query took too long");
    } else {
        error_set(reterr, code, "database: %s", sqlite3_errmsg(db->handle));
    }
    return code;
}

static int configure(struct sql *db, enum sql_mode mode, struct error *reterr)
{
    static const int on[] = { SQLITE_DBCONFIG_DEFENSIVE };
    static const int off[] = { SQLITE_DBCONFIG_TRUSTED_SCHEMA, SQLITE_DBCONFIG_DQS_DML,
                               SQLITE_DBCONFIG_DQS_DDL, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION };

    for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
        sqlite3_db_config(db->handle, on[i], 1, NULL);
    }
    for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
        sqlite3_db_config(db->handle, off[i], 0, NULL);
    }
    sqlite3_busy_timeout(db->handle, BUSY_MS);
    sqlite3_progress_handler(db->handle, PROGRESS_STEPS, on_progress, db);
    return sql_script(
        db,
        mode == SQL_OPEN_WRITER
            ? "PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; PRAGMA synchronous=FULL; "
              "PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; "
              "PRAGMA cache_size=-4096"
            : "PRAGMA query_only=ON; PRAGMA cell_size_check=ON; "
              "PRAGMA wal_autocheckpoint=0; PRAGMA temp_store=MEMORY; "
              "PRAGMA cache_size=-1024",
        reterr);
}

/* Its figures of memory are nobody's, and cost a lock at each allocation. */
static void set_up_library(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* refused once it is in use: then it counts on */
}

int sql_open(const char *path, const char *vfs, enum sql_mode mode, struct sql **ret,
             struct error *reterr)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    struct sql *db = xcalloc(1, sizeof(*db));
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    int rc, r;

    pthread_once(&once, set_up_library);
    map_init(&db->cache);
    rc = sqlite3_open_v2(path, &db->handle,
                         flags | (mode == SQL_OPEN_WRITER ? SQLITE_OPEN_CREATE : 0), vfs);
    if (rc != SQLITE_OK) {
        r = error_set(reterr, code_of(rc), "cannot open the database '%s': %s", path,
                      db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc));
        sql_close(db);
        return r;
    }
    r = configure(db, mode, reterr);
    if (r < 0) {
        error_prefix(reterr, "cannot open the database '%s': ", path);
        sql_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

struct sql *sql_close(struct sql *db)
{
    if (!db) {
        return NULL;
    }
    assert(db->in_use == 0);
    map_for_each(entry, &db->cache)
    {
        struct sql_stmt *st = entry->value;

        sqlite3_finalize(st->handle);
        free(st);
    }
    map_finish(&db->cache);
    sqlite3_close(db->handle);
    free(db);
    return NULL;
}

int sql_script(struct sql *db, const char *text, struct error *reterr)
{
    int rc = sqlite3_exec(db->handle, text, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : fail(db, rc, reterr);
}

int sql_get_int(struct sql *db, const char *text, int64_t *ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, text, "");

    if (r < 0) {
        return r;
    }
    r = sql_next(st, reterr);
    if (r == 0) {
        return error_set(reterr, -ENOENT, "database: no row for '%s'", text);
    }
    if (r > 0) {
        *ret = sql_int(st, 0);
    }
    return r < 0 ? r : 0;
}

void sql_set_limit_ms(struct sql *db, uint64_t limit_ms)
{
    db->deadline_ms = limit_ms ? monotonic_ms() + limit_ms : 0;
}

bool sql_in_transaction(const struct sql *db)
{
    return !sqlite3_get_autocommit(db->handle);
}

/* Texts are mostly constants: where one stands tells which it is, but for those that are made up.
 */
static struct sql_stmt *find_cached(struct sql *db, const char *text)
{
    struct sql_stmt **recent = &db->recent[((uintptr_t)text >> 3) % SQL_RECENT];

    if (!*recent || (*recent)->text != text || !str_eq(sqlite3_sql((*recent)->handle), text)) {
        *recent = map_get(&db->cache, text);
        if (*recent) {
            (*recent)->text = text;
        }
    }
    return *recent;
}

static int prepare(struct sql *db, const char *text, struct sql_stmt **ret, struct error *reterr)
{
    struct sql_stmt *known = find_cached(db, text);
    bool cached = !known && db->cache.count < SQL_CACHE_MAX;
    struct sql_stmt *st;
    int rc;

    if (known && !known->busy) {
        *ret = known;
        return 0;
    }
    st = xcalloc(1, sizeof(*st));
    rc = sqlite3_prepare_v3(db->handle, text, -1, cached ? SQLITE_PREPARE_PERSISTENT : 0,
                            &st->handle, NULL);
    if (rc != SQLITE_OK) {
        free(st);
        return fail(db, rc, reterr);
    }
    assert(st->handle); /* an empty text is a bug */
    st->db = db;
    st->cached = cached;
    if (cached) {
        map_put(&db->cache, text, st);
    }
    *ret = st;
    return 0;
}

static int bind_span(struct sql_stmt *st, int at, struct span s, bool blob)
{
    sqlite3_destructor_type keep = st->borrows ? SQLITE_STATIC : SQLITE_TRANSIENT;

    if (!s.p) {
        return sqlite3_bind_null(st->handle, at);
    }
    return blob ? sqlite3_bind_blob64(st->handle, at, s.p, s.n, keep)
                : sqlite3_bind_text64(st->handle, at, s.p, s.n, keep, SQLITE_UTF8);
}

static int bind_all(struct sql_stmt *st, const char *format, va_list ap)
{
    int rc = SQLITE_OK;

    for (int at = 1; *format && rc == SQLITE_OK; format++, at++) {
        switch (*format) {
        case 'i':
            rc = sqlite3_bind_int64(st->handle, at, va_arg(ap, int64_t));
            break;
        case 'd':
            rc = sqlite3_bind_double(st->handle, at, va_arg(ap, double));
            break;
        case 't':
            rc = bind_span(st, at, span_of(va_arg(ap, const char *)), false);
            break;
        case 's':
            rc = bind_span(st, at, va_arg(ap, struct span), false);
            break;
        case 'b':
            rc = bind_span(st, at, va_arg(ap, struct span), true);
            break;
        case 'n':
            rc = sqlite3_bind_null(st->handle, at);
            break;
        default:
            assert(!"unknown letter in a format");
        }
    }
    return rc;
}

static int start(struct sql *db, bool borrows, struct sql_stmt **ret, struct error *reterr,
                 const char *text, const char *format, va_list ap)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = prepare(db, text, &st, reterr);

    if (r < 0) {
        return r;
    }
    assert(st);
    st->busy = true;
    st->ended = false;
    st->borrows = borrows;
    db->in_use++;
    assert(sqlite3_bind_parameter_count(st->handle) == (int)strlen(format));
    r = bind_all(st, format, ap);
    if (r != SQLITE_OK) {
        return fail(db, r, reterr);
    }
    *ret = TAKE_PTR(st);
    return 0;
}

int sql_query(struct sql *db, struct sql_stmt **ret, struct error *reterr, const char *text,
              const char *format, ...)
{
    va_list ap;
    int r;

    va_start(ap, format);
    r = start(db, false, ret, reterr, text, format, ap);
    va_end(ap);
    return r;
}

int sql_next(struct sql_stmt *st, struct error *reterr)
{
    int rc;

    assert(st->busy);
    if (st->ended) {
        return 0;
    }
    rc = sqlite3_step(st->handle);
    if (rc == SQLITE_ROW) {
        return 1;
    }
    st->ended = true;
    return rc == SQLITE_DONE ? 0 : fail(st->db, rc, reterr);
}

void sql_donep(struct sql_stmt **p)
{
    struct sql_stmt *st = TAKE_PTR(*p);

    if (!st) {
        return;
    }
    if (st->busy) {
        st->busy = false;
        st->db->in_use--;
    }
    if (st->cached) {
        sqlite3_reset(st->handle);
        sqlite3_clear_bindings(st->handle);
        return;
    }
    sqlite3_finalize(st->handle);
    free(st);
}

int sql_run(struct sql *db, struct error *reterr, const char *text, const char *format, ...)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int64_t before = sqlite3_total_changes64(db->handle);
    va_list ap;
    int r;

    va_start(ap, format);
    r = start(db, true, &st, reterr, text, format, ap);
    va_end(ap);
    if (r < 0) {
        return r;
    }
    do {
        r = sql_next(st, reterr);
    } while (r > 0);
    if (r < 0) {
        return r;
    }
    return sqlite3_total_changes64(db->handle) == before ? 0 : sqlite3_changes(db->handle);
}

int64_t sql_last_id(struct sql *db)
{
    return sqlite3_last_insert_rowid(db->handle);
}

int64_t sql_int(struct sql_stmt *st, int column)
{
    return sqlite3_column_int64(st->handle, column);
}

double sql_double(struct sql_stmt *st, int column)
{
    return sqlite3_column_double(st->handle, column);
}

const char *sql_text(struct sql_stmt *st, int column)
{
    return (const char *)sqlite3_column_text(st->handle, column);
}

struct span sql_span(struct sql_stmt *st, int column)
{
    const char *p;

    if (sql_is_null(st, column)) {
        return (struct span){ NULL, 0 };
    }
    p = sqlite3_column_blob(st->handle, column);
    return (struct span){ p ? p : "", (size_t)sqlite3_column_bytes(st->handle, column) };
}

bool sql_is_null(struct sql_stmt *st, int column)
{
    return sqlite3_column_type(st->handle, column) == SQLITE_NULL;
}
