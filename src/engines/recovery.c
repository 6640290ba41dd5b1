// SPDX-License-Identifier: Apache-2.0
/*
 * When berth starts: the rows that it stored and the processes that carry its mark are brought
 * together. A process is kept when its row exists, its leader lives, its model is wanted, no other
 * is that replica, it was not told to end, and the command line would be the same today, in the
 * place that the row tells. Everything else that is marked is killed, and its replica is made anew
 * (and waits for its place) only when all of it is gone. (Replicas beyond those that are wanted now
 * leave afterwards, by the usual rule.) What waited for its place has no process, and is simply
 * made anew.
 */
#include "engines/engines_int.h"

#include <signal.h>
#include <string.h>

#include "base/mem.h"

struct marked {
    char uuid[UUID_SIZE];
    struct process_id id;
};

struct recovery {
    struct engines *engines;
    struct row *rows;
    bool *keep; /* of each row */
    size_t row_count;
    struct marked *marked;
    size_t marked_count;
};

static void on_found(void *arg, struct process_id id, const char *value)
{
    struct recovery *rec = arg;
    struct marked m = { .id = id };

    if (!marker_uuid(rec->engines, value, m.uuid)) {
        return;
    }
    for (size_t i = 0; i < rec->marked_count; i++) {
        if (rec->marked[i].id.pid == id.pid && rec->marked[i].id.start_time == id.start_time) {
            return;
        }
    }
    rec->marked = xrealloc(rec->marked, (rec->marked_count + 1) * sizeof(m));
    rec->marked[rec->marked_count++] = m;
}

/* Twice: a process in the middle of its exec shows no environment for a moment. */
static int find_marked(struct recovery *rec, struct error *reterr)
{
    for (int round = 0; round < 2; round++) {
        int r = process_scan(rec->engines->world, ENGINE_MARKER, on_found, rec);

        if (r < 0) {
            return error_set(reterr, r, "cannot look for engines that run: %s", strerror(-r));
        }
    }
    return 0;
}

/* The process to watch: the one that the row names; when the row was written before it was known,
 * the oldest. NULL: none, or only workers whose leader is gone. */
static const struct marked *find_leader(const struct recovery *rec, const struct row *row)
{
    const struct marked *best = NULL;
    bool pid_counts = row->pid && str_eq(row->boot_id, rec->engines->boot_id);

    for (size_t i = 0; i < rec->marked_count; i++) {
        const struct marked *m = &rec->marked[i];

        if (!str_eq(m->uuid, row->uuid)) {
            continue;
        }
        if (pid_counts) {
            if (m->id.pid == row->pid && m->id.start_time == row->start_time) {
                return m;
            }
        } else if (!best || m->id.start_time < best->id.start_time ||
                   (m->id.start_time == best->id.start_time && m->id.pid < best->id.pid)) {
            best = m;
        }
    }
    return best;
}

static const struct marked *find_any(const struct recovery *rec, const char *uuid)
{
    for (size_t i = 0; i < rec->marked_count; i++) {
        if (str_eq(rec->marked[i].uuid, uuid)) {
            return &rec->marked[i];
        }
    }
    return NULL;
}

/* The port in the address that a row stores; 0: it is none. */
static uint16_t port_of(const struct row *row)
{
    struct address a = { 0 };
    struct error err = { 0 };

    return address_parse(row->socket, &a, &err) < 0 || a.is_unix ? 0 : a.port;
}

static const char *find_command_objection(struct engines *e, const struct model *model,
                                          const struct row *row, struct engine_command *command)
{
    struct inst_place place = { row->uuid, (unsigned)row->replica, port_of(row), &row->place };
    struct error err = { 0 };
    char hash[SPEC_HASH_SIZE];

    if (inst_command(e, model, &place, command, hash, &err) < 0) {
        return "its command line cannot be made any more";
    }
    if ((!command->argv && !command->container) || !str_eq(hash, row->spec_hash)) {
        engine_command_finish(command);
        return "its command line would be another one";
    }
    return NULL;
}

/* Why this instance cannot go on, or NULL. On NULL *command is the caller's. */
static const char *find_objection(const struct recovery *rec, const struct row *row,
                                  struct engine_command *command)
{
    struct engines *e = rec->engines;
    const struct model *model = models_get(e->models, row->model_id);

    if (!model || !model->wanted) {
        return "its model is not wanted";
    }
    if (!*row->container && !find_leader(rec, row)) {
        return "its leader is gone";
    }
    if (row->stopping) {
        return "it was told to end";
    }
    for (const struct row *w = rec->rows; w < row; w++) {
        if (w->model_id == row->model_id && w->replica == row->replica &&
            rec->keep[w - rec->rows]) {
            return "its replica has another one";
        }
    }
    return find_command_objection(e, model, row, command);
}

static struct inst *inst_from_row(struct recovery *rec, const struct row *row)
{
    struct engines *e = rec->engines;
    const struct model *model = models_get(e->models, row->model_id);
    struct inst *inst;

    inst = inst_create(e, row->uuid, row->model_id, row->model_name);
    inst->driver = model ? driver_find(model->config->framework) : NULL;
    inst->pub.model_epoch = row->model_epoch;
    inst->pub.replica = (unsigned)row->replica;
    inst->pub.place = row->place;
    inst->port = port_of(row);
    inst->pub.restarts = (unsigned)row->restarts;
    inst->created_wall_ms = row->created_ms;
    inst->row_epoch = row->epoch;
    strcpy(inst->spec_hash, row->spec_hash);
    strcpy(inst->stored_hash, row->spec_hash);
    return inst;
}

static struct inst *adopt(struct recovery *rec, struct row *row, struct engine_command *command)
{
    const struct marked *leader = find_leader(rec, row);
    struct inst *inst = inst_from_row(rec, row);
    struct error err = { 0 };

    inst_take_command(inst, command);
    inst->pub.model_epoch = inst_model(inst)->epoch; /* it changed in nothing that matters */
    if (inst_adopt(inst, leader->id, &err) < 0) {
        log_warn("engines", inst->log_name, "cannot be adopted", kv_str("reason", err.text));
        inst_free(inst);
        return NULL;
    }
    row->pid = leader->id.pid;
    row->start_time = leader->id.start_time;
    return inst;
}

/* Kills what is marked with it; the row goes when nothing is left. */
static void clear_away(struct recovery *rec, struct inst *inst, const struct marked *m,
                       const char *why)
{
    inst->pub.process = m->id;
    log_warn("engines", inst->log_name, "found running: killed", kv_int("pid", m->id.pid),
             kv_str("reason", why));
    inst_begin_leftover(inst);
}

/* Whether its container runs is the container engine's to say, later. */
static void settle_container(struct recovery *rec, size_t i, struct inst **ret_adopted)
{
    struct row *row = &rec->rows[i];
    struct engine_command command = { 0 };
    const char *objection = find_objection(rec, row, &command);
    struct inst *inst = inst_from_row(rec, row);

    rec->keep[i] = true;
    if (str_eq(row->boot_id, rec->engines->boot_id)) {
        inst->pub.process = (struct process_id){ (pid_t)row->pid, row->start_time };
    }
    if (!objection) {
        inst_take_command(inst, &command);
        inst->pub.model_epoch = inst_model(inst)->epoch;
        inst_adopt_container(inst);
        *ret_adopted = inst;
        return;
    }
    log_warn("engines", inst->log_name, "its container is removed", kv_str("reason", objection));
    inst->has_row = true;
    inst_clear_container(inst);
    inst_begin_leftover(inst);
}

static void settle_row(struct recovery *rec, size_t i, struct inst **ret_adopted)
{
    struct row *row = &rec->rows[i];
    const struct marked *m = find_any(rec, row->uuid);
    struct engine_command command = { 0 };
    const char *objection;

    if (*row->container) {
        settle_container(rec, i, ret_adopted);
        return;
    }
    if (!m) {
        return;
    }
    objection = find_objection(rec, row, &command);
    if (!objection) {
        *ret_adopted = adopt(rec, row, &command);
        objection = "it ended while it was adopted";
    }
    if (!*ret_adopted) {
        struct inst *inst = inst_from_row(rec, row);

        inst->has_row = true;
        clear_away(rec, inst, m, objection);
    }
    rec->keep[i] = true;
}

static void clear_strangers(struct recovery *rec)
{
    for (size_t i = 0; i < rec->marked_count; i++) {
        const struct marked *m = &rec->marked[i];

        if (!engines_find(rec->engines, m->uuid)) {
            clear_away(rec, inst_create(rec->engines, m->uuid, 0, "(unknown)"), m,
                       "nothing is known of it");
        }
    }
}

static void store_verdicts(struct recovery *rec)
{
    struct engines *e = rec->engines;
    struct error err = { 0 };
    struct inst *inst;

    if (rows_settle(e, rec->rows, rec->keep, rec->row_count, &err) < 0) {
        log_warn("engines", NULL, "what was recovered is not stored, ignoring",
                 kv_str("reason", err.text));
        return;
    }
    for (size_t i = 0; i < rec->row_count; i++) {
        list_for_each (inst, &e->instances, node) {
            if (str_eq(inst->pub.uuid, rec->rows[i].uuid)) {
                inst->row_epoch = rec->rows[i].epoch;
            }
        }
    }
}

static void settle(struct recovery *rec)
{
    struct inst **adopted = xcalloc(rec->row_count + 1, sizeof(*adopted));

    for (size_t i = 0; i < rec->row_count; i++) {
        settle_row(rec, i, &adopted[i]);
    }
    clear_strangers(rec);
    store_verdicts(rec);
    instance_dirs_sweep(rec->engines);
    for (size_t i = 0; i < rec->row_count; i++) {
        if (adopted[i]) {
            inst_begin_adopted(adopted[i]);
        }
    }
    free(adopted);
}

int engines_recover(struct engines *e, struct error *reterr)
{
    struct recovery rec = { .engines = e };
    int r;

    r = rows_load(e, &rec.rows, &rec.row_count, reterr);
    r = r < 0 ? r : needs_load(e->needs, reterr);
    if (r >= 0) {
        r = find_marked(&rec, reterr);
    }
    if (r >= 0) {
        rec.keep = xcalloc(rec.row_count + 1, sizeof(*rec.keep));
        settle(&rec);
        containers_sweep(e);
        engines_reconcile_soon(e);
    }
    free(rec.keep);
    free(rec.marked);
    free(rec.rows);
    return r < 0 ? r : 0;
}
