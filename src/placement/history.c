// SPDX-License-Identifier: Apache-2.0
/*
 * What was decided, one row a decision: appended with its event in one transaction, closed when it
 * is known how it went on. Numbers are given here, not by the store, so that a row can be closed
 * before it is known to be stored: writes run in order. The newest 100,000 rows are kept.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "placement/placement_int.h"

enum {
    ROWS_KEPT = 100000,
    EXPIRE_BATCH = 100,
    ENTRIES_MAX = 1000,
    HOUR_MS = 3600 * 1000,
    DAY_MS = 24 * HOUR_MS,
};

const char placements_table[] = "CREATE TABLE placements("
                                "  id INTEGER PRIMARY KEY,"
                                "  wall_ms INTEGER NOT NULL,"
                                "  model_id INTEGER NOT NULL,"
                                "  model_name TEXT NOT NULL,"
                                "  act TEXT NOT NULL,"
                                "  success INTEGER NOT NULL,"
                                "  reason TEXT NOT NULL,"
                                "  place TEXT NOT NULL,"
                                "  duration_ms INTEGER NOT NULL,"
                                "  for_model TEXT NOT NULL) STRICT;"
                                "CREATE INDEX placements_wall ON placements(wall_ms);"
                                "CREATE INDEX placements_model ON placements(model_name, wall_ms)";

static const char *const act_names[] = {
    [ACT_SCHEDULED] = "scheduled", [ACT_PREEMPTED] = "preempted", [ACT_SWAPPED] = "swapped",
    [ACT_RECOVERED] = "recovered", [ACT_FAILED] = "failed",
};
_Static_assert(ARRAY_SIZE(act_names) == ACT_MAX_, "every act has its word");

const char *placement_act_name(enum placement_act a)
{
    return act_names[a];
}

static int act_from_string(const char *s)
{
    for (int i = 0; i < ACT_MAX_; i++) {
        if (str_eq(act_names[i], s)) {
            return i;
        }
    }
    return -EINVAL;
}

/* ---- places as text ---- */

json_t *place_to_json(const struct place *place)
{
    json_t *devices = json_array();

    for (unsigned i = 0; i < place->count; i++) {
        json_array_append_new(devices, json_pack("{s:i, s:I}", "device", place->shares[i].device,
                                                 "bytes", (json_int_t)place->shares[i].bytes));
    }
    return json_pack("{s:o, s:I}", "devices", devices, "host_bytes", (json_int_t)place->host_bytes);
}

static char *place_text(const struct place *place)
{
    json_t *json = place_to_json(place);
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    return text;
}

static struct place place_of_text(const char *text)
{
    json_t *json = json_loads(text, 0, NULL), *share;
    struct place place = { .host_bytes =
                               (uint64_t)json_integer_value(json_object_get(json, "host_bytes")) };
    size_t i;

    json_array_foreach(json_object_get(json, "devices"), i, share)
    {
        if (place.count < PLACE_DEVICES_MAX) {
            place.shares[place.count++] = (struct place_share){
                .device = (int)json_integer_value(json_object_get(share, "device")),
                .bytes = (uint64_t)json_integer_value(json_object_get(share, "bytes")),
            };
        }
    }
    json_decref(json);
    return place;
}

/* ---- today's counts ---- */

/* The last local midnight. */
static int64_t midnight(int64_t wall_ms)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm;

    if (!localtime_r(&t, &tm)) {
        return wall_ms - wall_ms % DAY_MS;
    }
    tm.tm_sec = tm.tm_min = tm.tm_hour = 0;
    tm.tm_isdst = -1;
    return (int64_t)mktime(&tm) * 1000;
}

static bool is_placement(enum placement_act act)
{
    return act == ACT_SCHEDULED || act == ACT_RECOVERED;
}

/* Counts begin anew at midnight. */
static void turn_day(struct placement *p)
{
    int64_t day = midnight(world_wall_ms(p->world));

    if (day != p->day_wall_ms) {
        p->day_wall_ms = day;
        p->placed_today = p->failed_today = 0;
    }
}

static void note_preemption(struct placement *p, int64_t wall_ms)
{
    size_t old = 0;

    if (!p->preemptions) {
        p->preemptions = xcalloc(PREEMPTIONS_KEPT, sizeof(*p->preemptions));
    }
    while (old < p->preemption_count && p->preemptions[old] <= wall_ms - DAY_MS) {
        old++;
    }
    old = MAX_OF(old, p->preemption_count == PREEMPTIONS_KEPT ? 1 : 0);
    p->preemption_count -= old;
    memmove(p->preemptions, p->preemptions + old, p->preemption_count * sizeof(*p->preemptions));
    p->preemptions[p->preemption_count++] = wall_ms;
}

static void count(struct placement *p, const struct placement_entry *e)
{
    if (e->act == ACT_PREEMPTED) {
        note_preemption(p, e->wall_ms);
    }
    p->last_wall_ms = MAX_OF(p->last_wall_ms, e->wall_ms);
    if (e->wall_ms < p->day_wall_ms) {
        return;
    }
    p->placed_today += is_placement(e->act) && e->success;
    p->failed_today += e->act == ACT_FAILED || !e->success;
}

unsigned history_preemptions_since(const struct placement *p, int64_t wall_ms)
{
    unsigned n = 0;

    for (size_t i = p->preemption_count; i > 0 && p->preemptions[i - 1] > wall_ms; i--) {
        n++;
    }
    return n;
}

struct placement_counts placement_counts(const struct placement *p)
{
    int64_t now = world_wall_ms(p->world);
    bool today = midnight(now) == p->day_wall_ms;

    return (struct placement_counts){
        .last_decision_wall_ms = p->last_wall_ms,
        .decisions_today = today ? p->placed_today + p->failed_today : 0,
        .placed_today = today ? p->placed_today : 0,
        .failed_today = today ? p->failed_today : 0,
        .preemptions_last_hour = history_preemptions_since(p, now - HOUR_MS),
        .preemptions_last_day = history_preemptions_since(p, now - DAY_MS),
    };
}

/* ---- writing ---- */

enum record_kind { RECORD_ADD, RECORD_END, RECORD_NOTHING };

/* One write that is with the store. */
struct record {
    struct store_op op;
    struct list node;
    struct placement *p; /* NULL: destroyed meanwhile */
    enum record_kind kind;
    struct placement_entry entry; /* its texts are the three below */
    char *model_name, *reason, *for_model;
    struct event *event;
    history_done_fn done;
    void *arg;
};

static void record_free(struct record *r)
{
    event_free(r->event);
    free(r->model_name);
    free(r->reason);
    free(r->for_model);
    free(r);
}

static int insert(struct record *rec, struct sql *db, struct error *reterr)
{
    const struct placement_entry *e = &rec->entry;
    _cleanup_(freep) char *place = place_text(&e->place);
    int r =
        sql_run(db, reterr,
                "INSERT INTO placements(id, wall_ms, model_id, model_name, act, success, "
                "reason, place, duration_ms, for_model) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                "iiittittit", e->id, e->wall_ms, e->model_id, rec->model_name, act_names[e->act],
                (int64_t)e->success, rec->reason, place, e->duration_ms, rec->for_model);

    if (r < 0 || e->id <= ROWS_KEPT) {
        return r;
    }
    return sql_run(db, reterr,
                   "DELETE FROM placements WHERE id IN "
                   "(SELECT id FROM placements WHERE id <= ? ORDER BY id LIMIT ?)",
                   "ii", e->id - ROWS_KEPT, (int64_t)EXPIRE_BATCH);
}

static int end(struct record *rec, struct sql *db, struct error *reterr)
{
    const struct placement_entry *e = &rec->entry;

    return sql_run(db, reterr,
                   "UPDATE placements SET duration_ms = ?, success = ?, "
                   "reason = coalesce(?, reason) WHERE id = ?",
                   "iiti", e->duration_ms, (int64_t)e->success, rec->reason, e->id);
}

static int run_record(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct record *rec = container_of(op, struct record, op);
    int r = 0;

    if (rec->kind != RECORD_NOTHING) {
        r = rec->kind == RECORD_ADD ? insert(rec, db, reterr) : end(rec, db, reterr);
    }
    if (r >= 0 && rec->event) {
        r = events_append(db, rec->event, reterr);
    }
    return MIN_OF(r, 0);
}

static void on_recorded(struct store_op *op)
{
    struct record *rec = container_of(op, struct record, op);
    struct placement *p = rec->p;

    list_remove(&rec->node);
    if (p && op->result < 0) {
        log_warn("placement", rec->model_name, "a decision was not stored, ignoring",
                 kv_str("error", op->error.text));
    }
    if (p && rec->event && op->result == 0) {
        events_publish(p->events, TAKE_PTR(rec->event));
    }
    if (p && rec->done) {
        rec->done(rec->arg, op->result, &op->error);
    }
    record_free(rec);
}

static struct record *make_record(struct placement *p, enum record_kind kind, struct event *event)
{
    struct record *rec = xcalloc(1, sizeof(*rec));

    rec->op.run = run_record;
    rec->op.done = on_recorded;
    rec->p = p;
    rec->kind = kind;
    rec->event = event;
    list_append(&p->records, &rec->node);
    return rec;
}

int64_t history_note(struct placement *p, const struct placement_entry *entry, struct event *event,
                     history_done_fn done, void *arg)
{
    struct placement_entry e = *entry;
    const char *action = act_names[e.act];
    struct record *rec;

    e.id = p->next_id++;
    e.wall_ms = world_wall_ms(p->world);
    turn_day(p);
    count(p, &e);
    if (p->metrics) {
        metric_add(metrics_cell(p->metrics, &placement_metrics[METRIC_DECISIONS], &action), 1);
    }
    if (!p->store) {
        event_free(event);
        return e.id;
    }
    rec = make_record(p, RECORD_ADD, event);
    rec->model_name = xstrdup(e.model_name);
    rec->reason = xstrdup(e.reason);
    rec->for_model = xstrdup(e.for_model ? e.for_model : "");
    rec->done = done;
    rec->arg = arg;
    rec->entry = e;
    store_write(p->store, &rec->op);
    return e.id;
}

void history_end(struct placement *p, int64_t id, int64_t duration_ms, const char *reason,
                 struct event *event)
{
    struct record *rec;

    if (reason) {
        turn_day(p);
        p->placed_today -= p->placed_today > 0;
        p->failed_today++;
    }
    if (!p->store) {
        event_free(event);
        return;
    }
    rec = make_record(p, RECORD_END, event);
    rec->entry =
        (struct placement_entry){ .id = id, .duration_ms = duration_ms, .success = !reason };
    rec->reason = xstrdup_opt(reason);
    store_write(p->store, &rec->op);
}

void history_after(struct placement *p, history_done_fn done, void *arg)
{
    struct record *rec = make_record(p, RECORD_NOTHING, NULL);

    rec->done = done;
    rec->arg = arg;
    store_write(p->store, &rec->op);
}

/* ---- reading ---- */

struct query {
    struct store_op op;
    struct list node;
    struct placement *p; /* NULL: destroyed meanwhile */
    struct placement_history_filter filter;
    char *model, *act, *text;
    struct placement_entry *entries;
    size_t count;
    void (*fn)(void *arg, const struct placement_entry *entry, int result);
    void *arg;
    struct timer timer; /* of an answer without a store */
};

static struct placement_entry entry_of(struct sql_stmt *st)
{
    int act = act_from_string(sql_text(st, 4));

    return (struct placement_entry){
        .id = sql_int(st, 0),
        .wall_ms = sql_int(st, 1),
        .model_id = sql_int(st, 2),
        .model_name = xstrdup(sql_text(st, 3)),
        .act = act < 0 ? ACT_FAILED : (enum placement_act)act,
        .success = sql_int(st, 5) != 0,
        .reason = xstrdup(sql_text(st, 6)),
        .place = place_of_text(sql_text(st, 7)),
        .duration_ms = sql_int(st, 8),
        .for_model = xstrdup(sql_text(st, 9)),
    };
}

static const char *act_condition(const char *act)
{
    return !act                                    ? "? IS NULL"
           : str_eq(act, act_names[ACT_PREEMPTED]) ? "(act = ? OR act = 'swapped')"
                                                   : "act = ?";
}

/* "FROM … WHERE …": what is not asked for must not stand in the way of an index. */
static void write_where(char where[300], const struct query *q)
{
    snprintf(where, 300, "FROM placements WHERE wall_ms >= ? AND %s AND %s AND %s",
             q->model ? "model_name = ?" : "? IS NULL", act_condition(q->act),
             q->text ? "instr(lower(model_name || ' ' || for_model || ' ' || reason), lower(?)) > 0"
                     : "? IS NULL");
}

static int count_rows(const struct query *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    char where[300], text[340];
    int r;

    write_where(where, q);
    snprintf(text, sizeof(text), "SELECT count(*) %s", where);
    r = sql_query(db, &st, reterr, text, "ittt", q->filter.since_wall_ms, q->model, q->act,
                  q->text);
    r = r < 0 ? r : sql_next(st, reterr);
    return r < 0 ? r : (int)sql_int(st, 0); /* ROWS_KEPT at most */
}

static int run_query(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct query *q = container_of(op, struct query, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    const char *order = q->filter.oldest_first ? "ASC" : "DESC";
    const int total = count_rows(q, db, reterr);
    char where[300], text[512];
    int r;

    if (total < 0) {
        return total;
    }
    write_where(where, q);
    snprintf(text, sizeof(text),
             "SELECT id, wall_ms, model_id, model_name, act, success, reason, place, duration_ms, "
             "for_model %s ORDER BY wall_ms %s, id %s LIMIT ? OFFSET ?",
             where, order, order);
    r = sql_query(db, &st, reterr, text, "itttii", q->filter.since_wall_ms, q->model, q->act,
                  q->text, (int64_t)q->filter.limit, (int64_t)q->filter.offset);
    if (r < 0) {
        return r;
    }
    q->entries = xcalloc(q->filter.limit, sizeof(*q->entries));
    while ((r = sql_next(st, reterr)) > 0) {
        q->entries[q->count++] = entry_of(st);
    }
    return r < 0 ? r : total;
}

static void query_free(struct query *q)
{
    for (size_t i = 0; i < q->count; i++) {
        free(UNCONST(char *, q->entries[i].model_name));
        free(UNCONST(char *, q->entries[i].reason));
        free(UNCONST(char *, q->entries[i].for_model));
    }
    free(q->entries);
    free(q->model);
    free(q->act);
    free(q->text);
    free(q);
}

static void answer_query(struct query *q, int result)
{
    for (size_t i = 0; i < q->count && result >= 0; i++) {
        q->fn(q->arg, &q->entries[i], 0);
    }
    q->fn(q->arg, NULL, result);
}

static void on_queried(struct store_op *op)
{
    struct query *q = container_of(op, struct query, op);

    list_remove(&q->node);
    if (q->p) {
        answer_query(q, op->result);
    }
    query_free(q);
}

static void on_nothing(void *arg)
{
    struct query *q = arg;

    list_remove(&q->node);
    answer_query(q, 0);
    query_free(q);
}

void placement_history(struct placement *p, const struct placement_history_filter *filter,
                       void (*fn)(void *arg, const struct placement_entry *entry, int result),
                       void *arg)
{
    struct query *q = xcalloc(1, sizeof(*q));

    q->p = p;
    q->filter = *filter;
    q->filter.limit = MIN_OF(MAX_OF(filter->limit, 1), ENTRIES_MAX);
    q->model = xstrdup_opt(filter->model);
    q->act = xstrdup_opt(filter->act);
    q->text = xstrdup_opt(filter->text);
    q->fn = fn;
    q->arg = arg;
    q->op.run = run_query;
    q->op.done = on_queried;
    timer_init(&q->timer, p->world, "placement history", on_nothing, q);
    list_append(&p->queries, &q->node);
    if (p->store) {
        store_read(p->store, &q->op);
    } else {
        timer_start(&q->timer, 0);
    }
}

/* ---- life ---- */

struct load_op {
    struct store_op op;
    struct placement *p;
};

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct placement *p = container_of(op, struct load_op, op)->p;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int64_t since = MIN_OF(p->day_wall_ms, world_wall_ms(p->world) - DAY_MS);
    int r = sql_query(db, &st, reterr,
                      "SELECT wall_ms, act, success FROM placements WHERE wall_ms >= ? "
                      "ORDER BY wall_ms",
                      "i", since);

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        int act = act_from_string(sql_text(st, 1));

        if (act >= 0) {
            count(p, &(struct placement_entry){ .wall_ms = sql_int(st, 0),
                                                .act = (enum placement_act)act,
                                                .success = sql_int(st, 2) != 0 });
        }
    }
    return r;
}

/* What is not closed never will be: berth ended meanwhile. So it stays: -1 says "not yet, or
 * never". */
static int run_bounds(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct placement *p = container_of(op, struct load_op, op)->p;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT (SELECT max(id) FROM placements),"
                      " (SELECT max(wall_ms) FROM placements)",
                      "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        p->next_id = sql_int(st, 0) + 1;
        p->last_wall_ms = sql_int(st, 1);
    }
    return MIN_OF(r, 0);
}

/* Who was moved aside last, and not placed again since. */
static int run_aside(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct placement *p = container_of(op, struct load_op, op)->p;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT model_id FROM placements WHERE act IN ('preempted', 'swapped') "
                      "AND id IN (SELECT max(id) FROM placements WHERE act <> 'failed' "
                      "GROUP BY model_id)",
                      "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        const struct model *model = models_get(p->models, sql_int(st, 0));

        if (model && model->wanted) {
            stay_make(p, model->id)->aside = true;
        }
    }
    return r;
}

int history_load(struct placement *p, struct error *reterr)
{
    static int (*const steps[])(struct store_op *, struct sql *,
                                struct error *) = { run_bounds, run_load, run_aside };

    turn_day(p);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct load_op o = { .op.run = steps[i], .p = p };
        int r = store_read_now(p->store, &o.op);

        if (r < 0) {
            return error_set(reterr, r, "the history of placement cannot be read: %s",
                             o.op.error.text);
        }
    }
    return 0;
}

/* What is with the store comes back to nobody. */
void history_detach(struct placement *p)
{
    struct record *rec, *tmp;
    struct query *q, *next;

    list_for_each_safe (rec, tmp, &p->records, node) {
        list_remove(&rec->node);
        rec->p = NULL;
    }
    list_for_each_safe (q, next, &p->queries, node) {
        list_remove(&q->node);
        q->fn(q->arg, NULL, -ECANCELED);
        q->p = NULL;
        if (!p->store) {
            timer_stop(&q->timer);
            query_free(q);
        }
    }
}

void history_finish(struct placement *p)
{
    free(p->preemptions);
}
