// SPDX-License-Identifier: Apache-2.0
/*
 * The table of instances: what was registered, and what is worth knowing of them after a restart
 * (how they call themselves, which protocol they speak). Rows that the file of
 * task_instances.config made say so.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "task_instances/task_instances_int.h"

static const char *const migrations[] = {
    "CREATE TABLE task_instances("
    "  uuid TEXT PRIMARY KEY,"
    "  host TEXT NOT NULL,"
    "  port INTEGER NOT NULL,"
    "  given_model TEXT," /* as registered */
    "  model TEXT,"       /* as it said last */
    "  instance_id TEXT,"
    "  generation INTEGER NOT NULL,"
    "  from_file INTEGER NOT NULL,"
    "  draining INTEGER NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  UNIQUE(host, port)) STRICT, WITHOUT ROWID",
};
const struct store_schema task_instances_schema = { "task_instances", migrations,
                                                    ARRAY_SIZE(migrations) };

enum save_kind { SAVE_ADD, SAVE_UPDATE, SAVE_DELETE };

/* One write that is with the store. */
struct save {
    struct store_op op;
    struct list node;
    struct task_instances *ti; /* NULL: destroyed meanwhile */
    enum save_kind kind;
    char uuid[UUID_SIZE];
    char host[PEER_NAME_MAX + 1];
    uint16_t port;
    char *given_model, *model, *instance_id;
    unsigned generation;
    bool from_file, draining;
    int64_t created_ms;
    task_instance_fn done;
    void *arg;
};

static void free_save(struct save *s)
{
    free(s->given_model);
    free(s->model);
    free(s->instance_id);
    free(s);
}

static int run_save(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct save *s = container_of(op, struct save, op);

    switch (s->kind) {
    case SAVE_ADD:
        return sql_run(
            db, reterr,
            "INSERT OR REPLACE INTO task_instances(uuid, host, port, given_model, model, "
            "instance_id, generation, from_file, draining, created_ms) "
            "VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            "ttitttiiii", s->uuid, s->host, (int64_t)s->port, s->given_model, s->model,
            s->instance_id, (int64_t)s->generation, (int64_t)s->from_file, (int64_t)s->draining,
            s->created_ms);
    case SAVE_UPDATE:
        return sql_run(db, reterr,
                       "UPDATE task_instances SET given_model = ?, model = ?, instance_id = ?, "
                       "generation = ?, from_file = ?, draining = ? WHERE uuid = ?",
                       "tttiiit", s->given_model, s->model, s->instance_id, (int64_t)s->generation,
                       (int64_t)s->from_file, (int64_t)s->draining, s->uuid);
    default:
        return sql_run(db, reterr, "DELETE FROM task_instances WHERE uuid = ?", "t", s->uuid);
    }
}

static void on_saved(struct store_op *op)
{
    struct save *s = container_of(op, struct save, op);
    const struct peer *p = s->ti ? peer_find(s->ti, s->uuid) : NULL;
    const int result = op->result < 0 ? op->result : 0;

    if (result < 0) {
        log_warn("task_instances", s->host, "a row was not written", kv_int("port", s->port),
                 kv_str("error", op->error.text));
    }
    if (s->ti) {
        list_remove(&s->node);
        if (s->done) {
            s->done(s->arg, result, p ? &p->pub : NULL, result < 0 ? &op->error : NULL);
        }
    }
    free_save(s);
}

static void save(struct peer *p, enum save_kind kind, task_instance_fn done, void *arg)
{
    struct save *s = xcalloc(1, sizeof(*s));

    s->op.run = run_save;
    s->op.done = on_saved;
    s->ti = p->ti;
    s->kind = kind;
    snprintf(s->uuid, sizeof(s->uuid), "%s", p->pub.uuid);
    snprintf(s->host, sizeof(s->host), "%s", p->pub.host);
    s->port = p->pub.port;
    s->given_model = xstrdup_opt(p->given_model);
    s->model = xstrdup_opt(p->pub.model);
    s->instance_id = xstrdup_opt(p->pub.instance_id);
    s->generation = p->pub.generation;
    s->from_file = p->from_file;
    s->draining = p->pub.state == TI_DRAINING;
    s->created_ms = world_wall_ms(p->ti->world);
    s->done = done;
    s->arg = arg;
    list_append(&p->ti->saves, &s->node);
    store_write(p->ti->store, &s->op);
}

void row_add(struct peer *p, task_instance_fn done, void *arg)
{
    save(p, SAVE_ADD, done, arg);
}

void row_save(struct peer *p)
{
    save(p, SAVE_UPDATE, NULL, NULL);
}

void row_delete(struct peer *p, task_instance_fn done, void *arg)
{
    save(p, SAVE_DELETE, done, arg);
}

void saves_detach(struct task_instances *ti)
{
    struct save *s;

    while ((s = list_first(&ti->saves, struct save, node))) {
        list_remove(&s->node);
        s->ti = NULL;
        if (s->done) {
            s->done(s->arg, -ECANCELED, NULL, &(struct error){ -ECANCELED, "berth goes down" });
        }
    }
}

/* ---- at the start ---- */

struct load {
    struct store_op op;
    struct task_instances *ti;
};

static void take_row(struct task_instances *ti, struct sql_stmt *st)
{
    const char *uuid = sql_text(st, 0), *host = sql_text(st, 1), *model = sql_text(st, 4);
    const int64_t port = sql_int(st, 2);
    struct peer *p;

    if (ti->count == TASK_INSTANCES_MAX || port < 1 || port > UINT16_MAX) {
        return;
    }
    p = peer_add(ti, uuid, host, (uint16_t)port, sql_text(st, 3));
    if (model) {
        peer_set_model(p, model);
    }
    p->pub.instance_id = xstrdup_opt(sql_text(st, 5));
    if (p->pub.instance_id) {
        map_put(&ti->by_name, p->pub.instance_id, p);
    }
    p->pub.generation = (unsigned)sql_int(st, 6);
    p->from_file = sql_int(st, 7) != 0;
    p->pub.state = sql_int(st, 8) ? TI_DRAINING : TI_UNREACHABLE;
}

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct load *l = container_of(op, struct load, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT uuid, host, port, given_model, model, instance_id, generation, "
                      "from_file, draining FROM task_instances ORDER BY created_ms, uuid",
                      "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        take_row(l->ti, st);
    }
    return r;
}

int ti_rows_load(struct task_instances *ti, struct error *reterr)
{
    struct load l = { .op = { .run = run_load }, .ti = ti };
    const int r = store_read_now(ti->store, &l.op);

    if (r < 0) {
        return error_set(reterr, r, "the Task Instances cannot be read: %s", l.op.error.text);
    }
    return 0;
}
