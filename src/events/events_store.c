// SPDX-License-Identifier: Apache-2.0
/* The table of events. Ids are never given twice (AUTOINCREMENT), also not after old rows have
 * gone. */
#include "events/events_int.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { EXPIRE_BATCH = 500 };

static const char *const migrations[] = {
    "CREATE TABLE events("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  wall_ms INTEGER NOT NULL,"
    "  kind TEXT NOT NULL,"
    "  subject TEXT NOT NULL,"
    "  data TEXT NOT NULL) STRICT;"
    /* An index ends in the rowid, so each serves 'ORDER BY id' within its column. */
    "CREATE INDEX events_kind ON events(kind);"
    "CREATE INDEX events_subject ON events(subject)",
};
const struct store_schema events_schema = { "events", migrations, ARRAY_SIZE(migrations) };

int events_append(struct sql *db, struct event *e, struct error *reterr)
{
    int r =
        sql_run(db, reterr, "INSERT INTO events(wall_ms, kind, subject, data) VALUES(?, ?, ?, ?)",
                "ittt", e->wall_ms, event_kind_name(e->kind), e->subject, e->data);

    if (r < 0) {
        return r;
    }
    e->id = sql_last_id(db);
    return 0;
}

struct event *event_dup(const struct event *e)
{
    struct event *copy = xmemdup(e, sizeof(*e));

    copy->subject = xstrdup(e->subject);
    copy->data = xstrdup(e->data);
    return copy;
}

void event_rows_finish(struct event_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        event_free(rows->items[i]);
    }
    free(rows->items);
    *rows = (struct event_rows){ 0 };
}

bool event_matches(const struct event *e, const struct event_filter *filter)
{
    if (filter->newest_first ? filter->after_id > 0 && e->id >= filter->after_id
                             : e->id <= filter->after_id) {
        return false;
    }
    return (filter->kind < 0 || (int)e->kind == filter->kind) &&
           (!filter->subject || str_eq(e->subject, filter->subject));
}

/* A fact of a kind that this berth does not know is left out. */
static void add_row(struct event_rows *rows, struct sql_stmt *st)
{
    int kind = event_kind_from_string(sql_text(st, 2));
    struct event *e;

    if (kind < 0) {
        return;
    }
    e = xcalloc(1, sizeof(*e));
    e->id = sql_int(st, 0);
    e->wall_ms = sql_int(st, 1);
    e->kind = (enum event_kind)kind;
    e->subject = xstrdup(sql_text(st, 3));
    e->data = xstrdup(sql_text(st, 4));
    rows->items[rows->count++] = e;
}

/* "FROM … WHERE …": what is not asked for must not stand in the way of an index. */
static void write_where(char where[256], const struct event_filter *filter)
{
    snprintf(where, 256, "FROM events WHERE id %s ? AND %s AND %s AND %s",
             filter->newest_first ? "<" : ">", filter->kind < 0 ? "? IS NULL" : "kind = ?",
             filter->subject ? "subject = ?" : "? IS NULL",
             filter->text ? "instr(lower(kind || ' ' || subject || ' ' || data), lower(?)) > 0"
                          : "? IS NULL");
}

static int64_t bound_of(const struct event_filter *filter)
{
    return filter->newest_first && filter->after_id <= 0 ? INT64_MAX : filter->after_id;
}

static const char *kind_of(const struct event_filter *filter)
{
    return filter->kind < 0 ? NULL : event_kind_name((enum event_kind)filter->kind);
}

int event_rows_count(struct sql *db, const struct event_filter *filter, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    char where[256], text[300];
    int r;

    write_where(where, filter);
    snprintf(text, sizeof(text), "SELECT count(*) %s", where);
    r = sql_query(db, &st, reterr, text, "ittt", bound_of(filter), kind_of(filter), filter->subject,
                  filter->text);
    r = r < 0 ? r : sql_next(st, reterr);
    return r < 0 ? r : (int)MIN_OF(sql_int(st, 0), (int64_t)INT_MAX);
}

int event_rows_read(struct sql *db, const struct event_filter *filter, struct event_rows *rows,
                    struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    char where[256], text[400];
    int r;

    write_where(where, filter);
    snprintf(text, sizeof(text),
             "SELECT id, wall_ms, kind, subject, data %s ORDER BY id %s LIMIT ? OFFSET ?", where,
             filter->newest_first ? "DESC" : "ASC");
    r = sql_query(db, &st, reterr, text, "itttii", bound_of(filter), kind_of(filter),
                  filter->subject, filter->text, (int64_t)filter->limit, (int64_t)filter->offset);
    if (r < 0) {
        return r;
    }
    rows->items = xcalloc(filter->limit, sizeof(struct event *));
    while ((r = sql_next(st, reterr)) > 0) {
        add_row(rows, st);
    }
    return r;
}

int event_bounds_read(struct sql *db, int64_t *ret_first, int64_t *ret_last, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT (SELECT min(id) FROM events),"
                      " (SELECT seq FROM sqlite_sequence WHERE name = 'events')",
                      "");

    if (r < 0) {
        return r;
    }
    r = sql_next(st, reterr);
    if (r > 0) {
        *ret_last = sql_int(st, 1);
        *ret_first = sql_is_null(st, 0) ? *ret_last + (*ret_last > 0) : sql_int(st, 0);
    }
    return r < 0 ? r : 0;
}

int event_rows_expire(struct sql *db, int64_t before_ms, struct error *reterr)
{
    /* Only the oldest by id are looked at, so that a batch costs the same however many there are.
     */
    int r = sql_run(db, reterr,
                    "DELETE FROM events WHERE wall_ms < ? AND id IN "
                    "(SELECT id FROM events ORDER BY id LIMIT ?)",
                    "ii", before_ms, (int64_t)EXPIRE_BATCH);

    if (r > 0) { /* gives the file system some pages back */
        int vacuumed = sql_run(db, reterr, "PRAGMA incremental_vacuum(64)", "");

        return vacuumed < 0 ? vacuumed : r;
    }
    return r;
}
