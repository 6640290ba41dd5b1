// SPDX-License-Identifier: Apache-2.0
/*
 * The table of instances. A row exists from before the first process of an instance until after its
 * last one, and every change of it asks for the epoch under which this berth owns it. What a row
 * says beyond that (state, pid) only helps a later berth and people: it follows the facts, in
 * order, and is never waited for. The one write that is waited for is the intent.
 */
#include "engines/engines_int.h"

#include <string.h>

#include "base/mem.h"
#include "gpu/gpu.h"

static const char *const migrations[] = {
    "CREATE TABLE instances ("
    " uuid TEXT PRIMARY KEY,"
    " node TEXT NOT NULL,"     /* id of the data directory that owns the process */
    " epoch INTEGER NOT NULL," /* grows with every new owner of the row */
    " model_id INTEGER NOT NULL,"
    " model_name TEXT NOT NULL," /* its public id, also when it was deleted since */
    " model_epoch INTEGER NOT NULL,"
    " state TEXT NOT NULL,"
    " socket TEXT NOT NULL," /* where it listens, as address text */
    " spec_hash TEXT NOT NULL,"
    " pid INTEGER NOT NULL," /* 0: no process known */
    " start_time INTEGER NOT NULL,"
    " boot_id TEXT NOT NULL,"
    " restarts INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL"
    ") WITHOUT ROWID;",
    "ALTER TABLE instances ADD COLUMN replica INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE instances ADD COLUMN place TEXT NOT NULL DEFAULT '';"     /* JSON; '': none */
    "ALTER TABLE instances ADD COLUMN container TEXT NOT NULL DEFAULT '';" /* id; '': none */
    "CREATE TABLE engine_memory ("    /* what instances really took */
    " key TEXT NOT NULL,"             /* of all in a definition that decides it */
    " devices INTEGER NOT NULL,"      /* over how many it was spread */
    " device_bytes INTEGER NOT NULL," /* on the fullest of them, at the peak */
    " host_bytes INTEGER NOT NULL,"
    " load_ms INTEGER NOT NULL," /* 0: not known */
    " measured_ms INTEGER NOT NULL,"
    " PRIMARY KEY (key, devices)"
    ") WITHOUT ROWID;",
};

const struct store_schema engines_schema = { "engines", migrations, ARRAY_SIZE(migrations) };

/* ---- places: {"devices":[[index,bytes,id],…],"host":bytes}; an index is good for one berth, an id
 * for ever (a device without one has its index only) */

static json_t *share_json(const struct place_share *share, const struct gpu *gpu)
{
    const struct gpu_device *d = gpu ? gpu_find(gpu, share->device) : NULL;

    return json_pack("[i, I, s*]", share->device, (json_int_t)share->bytes, d ? d->id : NULL);
}

/* Owned by the caller; "" for none. */
static char *place_text(const struct place *place, const struct gpu *gpu)
{
    json_t *devices = json_array(), *json;
    char *text;

    for (unsigned i = 0; i < place->count; i++) {
        json_array_append_new(devices, share_json(&place->shares[i], gpu));
    }
    json = json_pack("{s:o, s:I}", "devices", devices, "host", (json_int_t)place->host_bytes);
    text = place->count ? json_dumps(json, JSON_COMPACT) : xstrdup("");
    json_decref(json);
    return text;
}

/* Where the device is now; one that is not seen (any more, or yet) keeps its index. */
static int find_index(const json_t *share, const struct gpu *gpu)
{
    const char *id = json_string_value(json_array_get(share, 2));
    const struct gpu_device *d;
    size_t cursor = 0;

    while (id && gpu && (d = gpu_next(gpu, &cursor))) {
        if (str_eq(d->id, id)) {
            return d->index;
        }
    }
    return (int)json_integer_value(json_array_get(share, 0));
}

/* What cannot be read is no place. */
static void read_place(const char *text, const struct gpu *gpu, struct place *ret)
{
    json_t *json = text && *text ? json_loads(text, 0, NULL) : NULL;
    json_t *devices = json_object_get(json, "devices"), *share;
    struct place place = { .host_bytes =
                               (uint64_t)json_integer_value(json_object_get(json, "host")) };
    size_t i;

    json_array_foreach(devices, i, share)
    {
        if (place.count < PLACE_DEVICES_MAX) {
            place.shares[place.count++] = (struct place_share){
                find_index(share, gpu),
                (uint64_t)json_integer_value(json_array_get(share, 1)),
            };
        }
    }
    *ret = place.count ? place : (struct place){ 0 };
    json_decref(json);
}

struct row_op {
    struct store_op op;
    struct list node;
    struct engines *engines; /* NULL: the room is gone */
    enum row_change change;
    char data_id[64];
    struct row row;
    char *place; /* row.place, as it is written */
    struct event *event;
};

static int write_intent(struct sql *db, const struct row_op *o, struct error *reterr)
{
    const struct row *w = &o->row;

    return sql_run(
        db, reterr,
        "INSERT INTO instances (uuid, node, epoch, model_id, model_name, model_epoch, state,"
        " socket, spec_hash, pid, start_time, boot_id, restarts, created_ms, replica, place,"
        " container)"
        " VALUES (?,?,?,?,?,?,?,?,?,0,0,?,?,?,?,?,?)"
        " ON CONFLICT(uuid) DO UPDATE SET state = excluded.state,"
        " model_epoch = excluded.model_epoch,"
        " socket = excluded.socket, spec_hash = excluded.spec_hash, pid = 0,"
        " start_time = 0, boot_id = excluded.boot_id, restarts = excluded.restarts,"
        " place = excluded.place, container = excluded.container"
        " WHERE epoch = excluded.epoch",
        "ttiitittttiiitt", w->uuid, o->data_id, w->epoch, w->model_id, w->model_name,
        w->model_epoch, instance_state_name(w->state), w->socket, w->spec_hash, w->boot_id,
        w->restarts, w->created_ms, w->replica, o->place, w->container);
}

static int write_update(struct sql *db, const struct row_op *o, struct error *reterr)
{
    const struct row *w = &o->row;

    return sql_run(db, reterr,
                   "UPDATE instances SET state = ?, pid = ?, start_time = ?, restarts = ?,"
                   " model_epoch = ?, place = ?, container = ? WHERE uuid = ? AND epoch = ?",
                   "tiiiittti", instance_state_name(w->state), w->pid, (int64_t)w->start_time,
                   w->restarts, w->model_epoch, o->place, w->container, w->uuid, w->epoch);
}

static int write_row(struct sql *db, const struct row_op *o, struct error *reterr)
{
    int r;

    switch (o->change) {
    case ROW_NONE:
        return 0;
    case ROW_INTENT:
        r = write_intent(db, o, reterr);
        break;
    case ROW_UPDATE:
        r = write_update(db, o, reterr);
        break;
    default:
        r = sql_run(db, reterr, "DELETE FROM instances WHERE uuid = ? AND epoch = ?", "ti",
                    o->row.uuid, o->row.epoch);
        break;
    }
    if (r == 0) {
        return error_set(reterr, -ESTALE, "instance %s is owned by another berth", o->row.uuid);
    }
    return r;
}

static int run_row_op(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct row_op *o = container_of(op, struct row_op, op);
    int r;

    r = write_row(db, o, reterr);
    if (r < 0) {
        return r;
    }
    return o->event ? events_append(db, o->event, reterr) : 0;
}

static void tell(struct row_op *o)
{
    struct engines *e = o->engines;
    const struct instance *pub;

    if (o->op.result >= 0 && o->event) {
        events_publish(e->events, TAKE_PTR(o->event));
    }
    if (o->op.result < 0 && o->change != ROW_INTENT) {
        log_warn("engines", o->row.uuid, "the change is not stored, ignoring",
                 kv_str("reason", o->op.error.text));
    }
    pub = o->change == ROW_INTENT ? engines_find(e, o->row.uuid) : NULL;
    if (pub) {
        inst_committed(inst_of(pub), o->op.result, &o->op.error);
    }
}

static void on_stored(struct store_op *op)
{
    struct row_op *o = container_of(op, struct row_op, op);

    if (o->engines) {
        list_remove(&o->node);
        tell(o);
    }
    event_free(o->event);
    free(o->place);
    free(o);
}

/* An intent tells of the container that will be; everything else of the one that there is. */
static void fill_container(struct row *w, enum row_change change, const struct inst *inst)
{
    if (change == ROW_INTENT ? inst->command.container != NULL : inst->container != NULL) {
        container_name(inst->pub.uuid, w->container);
    }
}

static void fill_row(struct row *w, const struct inst *inst)
{
    const struct instance *pub = &inst->pub;

    *w = (struct row){
        .model_id = pub->model_id,
        .model_epoch = pub->model_epoch,
        .epoch = inst->row_epoch,
        .created_ms = inst->created_wall_ms,
        .state = pub->state,
        .pid = pub->process.pid,
        .start_time = pub->process.start_time,
        .restarts = pub->restarts,
        .replica = pub->replica,
        .place = pub->place,
    };
    strcpy(w->uuid, pub->uuid);
    snprintf(w->model_name, sizeof(w->model_name), "%s", inst->model_name);
    address_format(&pub->address, w->socket);
    strcpy(w->spec_hash, inst->spec_hash);
    strcpy(w->boot_id, inst->engines->boot_id);
}

void inst_store(struct inst *inst, enum row_change change, struct event *event)
{
    struct engines *e = inst->engines;
    struct row_op *o = xcalloc(1, sizeof(*o));

    o->op.run = run_row_op;
    o->op.done = on_stored;
    o->engines = e;
    o->change = change;
    o->event = event;
    snprintf(o->data_id, sizeof(o->data_id), "%s", e->data_id);
    fill_row(&o->row, inst);
    fill_container(&o->row, change, inst);
    o->place = place_text(&o->row.place, e->gpu);
    list_append(&e->row_ops, &o->node);
    store_write(e->store, &o->op);
}

void rows_detach(struct engines *e)
{
    struct row_op *o, *tmp;

    list_for_each_safe (o, tmp, &e->row_ops, node) {
        list_remove(&o->node);
        o->engines = NULL;
    }
}

/* Both whole-table operations of recovery. */
struct rows_op {
    struct store_op op;
    const char *data_id;
    const struct gpu *gpu;
    struct row *rows;
    size_t count, cap;
    const bool *keep;
};

static void copy_text(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

static void read_row(struct sql_stmt *st, const struct gpu *gpu, struct row *w)
{
    *w = (struct row){
        .model_id = sql_int(st, 1),
        .model_epoch = sql_int(st, 2),
        .epoch = sql_int(st, 3),
        .created_ms = sql_int(st, 4),
        .pid = sql_int(st, 7),
        .start_time = (uint64_t)sql_int(st, 8),
        .restarts = sql_int(st, 10),
        .replica = sql_int(st, 12),
    };
    copy_text(w->uuid, sizeof(w->uuid), sql_text(st, 0));
    copy_text(w->socket, sizeof(w->socket), sql_text(st, 5));
    copy_text(w->spec_hash, sizeof(w->spec_hash), sql_text(st, 6));
    copy_text(w->boot_id, sizeof(w->boot_id), sql_text(st, 9));
    copy_text(w->model_name, sizeof(w->model_name), sql_text(st, 11));
    read_place(sql_text(st, 13), gpu, &w->place);
    copy_text(w->container, sizeof(w->container), sql_text(st, 15));
    w->stopping = str_eq_opt(sql_text(st, 14), instance_state_name(INSTANCE_STOPPING));
}

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct rows_op *o = container_of(op, struct rows_op, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r;

    r = sql_query(db, &st, reterr,
                  "SELECT uuid, model_id, model_epoch, epoch, created_ms, socket, spec_hash, pid,"
                  " start_time, boot_id, restarts, model_name, replica, place, state, container"
                  " FROM instances"
                  " WHERE node = ?"
                  " ORDER BY created_ms, uuid",
                  "t", o->data_id);
    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        if (o->count == o->cap) {
            o->cap = o->cap ? o->cap * 2 : 16;
            o->rows = xrealloc(o->rows, o->cap * sizeof(*o->rows));
        }
        read_row(st, o->gpu, &o->rows[o->count++]);
    }
    return r;
}

int rows_load(struct engines *e, struct row **ret, size_t *ret_count, struct error *reterr)
{
    struct rows_op o = { .op.run = run_load, .data_id = e->data_id, .gpu = e->gpu };

    if (store_read_now(e->store, &o.op) < 0) {
        free(o.rows);
        return error_set(reterr, o.op.result, "cannot read the instances: %s", o.op.error.text);
    }
    *ret = o.rows;
    *ret_count = o.count;
    return 0;
}

static int run_settle(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct rows_op *o = container_of(op, struct rows_op, op);
    int r;

    for (size_t i = 0; i < o->count; i++) {
        const struct row *w = &o->rows[i];

        if (o->keep[i]) {
            r = sql_run(db, reterr,
                        "UPDATE instances SET epoch = epoch + 1, pid = ?, start_time = ?"
                        " WHERE uuid = ? AND epoch = ?",
                        "iiti", w->pid, (int64_t)w->start_time, w->uuid, w->epoch);
        } else {
            r = sql_run(db, reterr, "DELETE FROM instances WHERE uuid = ? AND epoch = ?", "ti",
                        w->uuid, w->epoch);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int rows_settle(struct engines *e, struct row *rows, const bool *keep, size_t count,
                struct error *reterr)
{
    struct rows_op o = {
        .op.run = run_settle,
        .data_id = e->data_id,
        .rows = rows,
        .count = count,
        .keep = keep,
    };

    if (count == 0) {
        return 0;
    }
    if (store_write_now(e->store, &o.op) < 0) {
        return error_set(reterr, o.op.result, "%s", o.op.error.text);
    }
    for (size_t i = 0; i < count; i++) {
        rows[i].epoch += keep[i];
    }
    return 0;
}
