// SPDX-License-Identifier: Apache-2.0
/*
 * The table of models. A definition is kept as the JSON that it was given as, so that a new member
 * needs no migration. Every change is a compare-and-set on the epoch of the definition; wanted
 * or the status alone does not make a new epoch, since an engine that runs the definition still
 * runs the right one.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "models/models_int.h"

static const char *const migrations[] = {
    "CREATE TABLE models("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  public_id TEXT NOT NULL UNIQUE,"
    "  config TEXT NOT NULL,"
    "  origin TEXT NOT NULL CHECK(origin IN ('api', 'config')),"
    "  wanted INTEGER NOT NULL DEFAULT 0,"
    "  epoch INTEGER NOT NULL DEFAULT 1,"
    "  node TEXT NOT NULL DEFAULT 'local',"
    "  created_ms INTEGER NOT NULL,"
    "  updated_ms INTEGER NOT NULL) STRICT",
    "ALTER TABLE models ADD COLUMN task_status TEXT NOT NULL DEFAULT 'online'"
    "  CHECK(task_status IN ('online', 'offline', 'maintenance'))",
};
const struct store_schema models_schema = { "models", migrations, ARRAY_SIZE(migrations) };

const char *model_origin_name(enum model_origin origin)
{
    static const char *const names[] = { [MODEL_FROM_API] = "api", [MODEL_FROM_CONFIG] = "config" };

    return names[origin];
}

void model_row_finish(struct model_row *row)
{
    free(row->config);
    *row = (struct model_row){ 0 };
}

#define COLUMNS "id, config, origin, wanted, epoch, created_ms, updated_ms, task_status"

/* config stays the statement's. */
static struct model_row row_of(struct sql_stmt *st)
{
    return (struct model_row){
        .id = sql_int(st, 0),
        .config = UNCONST(char *, sql_text(st, 1)),
        .origin = str_eq(sql_text(st, 2), "config") ? MODEL_FROM_CONFIG : MODEL_FROM_API,
        .wanted = sql_int(st, 3) != 0,
        .epoch = sql_int(st, 4),
        .created_ms = sql_int(st, 5),
        .updated_ms = sql_int(st, 6),
        .task_status = (enum model_status)model_status_from_string(sql_text(st, 7)),
    };
}

int model_rows_read(struct sql *db, void (*fn)(void *arg, const struct model_row *row), void *arg,
                    struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT " COLUMNS " FROM models ORDER BY id", "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        struct model_row row = row_of(st);

        fn(arg, &row);
    }
    return r;
}

static int add(struct model_write *w, struct sql *db, struct error *reterr)
{
    const struct model_row *row = &w->row;
    int r = sql_run(
        db, reterr,
        "INSERT INTO models(public_id, config, origin, wanted, epoch, created_ms, updated_ms, "
        "task_status) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
        "tttiiiit", w->public_id, row->config, model_origin_name(row->origin), (int64_t)row->wanted,
        row->epoch, row->created_ms, row->updated_ms, model_status_name(row->task_status));

    if (r == -EEXIST) {
        return error_set(reterr, r, "a model with the id '%s' exists already", w->public_id);
    }
    if (r >= 0) {
        w->row.id = sql_last_id(db);
    }
    return r;
}

/* No row of that id and epoch was there: tells what is instead. */
static int missed(struct model_write *w, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT " COLUMNS " FROM models WHERE id = ?", "i", w->row.id);

    if (r < 0) {
        return r;
    }
    r = sql_next(st, reterr);
    if (r < 0) {
        return r;
    }
    if (r == 0) {
        return error_set(reterr, -ENOENT, "the model was deleted meanwhile");
    }
    w->fresh = row_of(st);
    w->fresh.config = xstrdup(w->fresh.config);
    return error_set(reterr, -EBUSY, "the model was changed by another berth meanwhile");
}

static int change(struct model_write *w, struct sql *db, struct error *reterr)
{
    const struct model_row *row = &w->row;
    int r;

    switch (w->action) {
    case ACTION_UPDATE: /* row->epoch is the new one */
        r = sql_run(
            db, reterr,
            "UPDATE models SET config = ?, origin = ?, wanted = ?, epoch = ?, updated_ms = ?, "
            "task_status = ? WHERE id = ? AND epoch = ?",
            "ttiiitii", row->config, model_origin_name(row->origin), (int64_t)row->wanted,
            row->epoch, row->updated_ms, model_status_name(row->task_status), row->id,
            row->epoch - 1);
        break;
    case ACTION_WANT:
        r = sql_run(db, reterr, "UPDATE models SET wanted = ? WHERE id = ? AND epoch = ?", "iii",
                    (int64_t)row->wanted, row->id, row->epoch);
        break;
    case ACTION_STATUS:
        r = sql_run(db, reterr, "UPDATE models SET task_status = ? WHERE id = ? AND epoch = ?",
                    "tii", model_status_name(row->task_status), row->id, row->epoch);
        break;
    default:
        r = sql_run(db, reterr, "DELETE FROM models WHERE id = ? AND epoch = ?", "ii", row->id,
                    row->epoch);
        break;
    }
    return r == 0 ? missed(w, db, reterr) : r;
}

int model_write_run(struct model_write *w, struct sql *db, struct error *reterr)
{
    int r = w->action == ACTION_ADD ? add(w, db, reterr) : change(w, db, reterr);

    for (size_t i = 0; r >= 0 && i < w->event_count; i++) {
        r = events_append(db, w->events[i], reterr);
    }
    return r < 0 ? r : 0;
}
