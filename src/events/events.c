// SPDX-License-Identifier: Apache-2.0
/*
 * Events in memory: the ring, the signal, queries and retention. Every store operation in flight
 * hangs in a list, so that events_destroy can cut it loose.
 */
#include "events/events.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "events/events_int.h"

enum { RETENTION_EVERY_MS = 3600 * 1000 };

struct emit_op {
    struct store_op op;
    struct list node;
    struct events *ev; /* NULL: destroyed meanwhile */
    struct event *event;
};

struct query {
    struct store_op op;
    struct list node;
    struct events *ev;  /* NULL: destroyed meanwhile, fn has been called */
    struct timer timer; /* of an answer from the ring */
    struct event_filter filter;
    char *subject, *text;
    struct event_rows rows;
    event_fn fn;
    void *arg;
};

struct expire_op {
    struct store_op op;
    struct events *ev; /* NULL: destroyed meanwhile */
    int64_t before_ms;
    int64_t first_id, last_id;
};

struct events {
    struct world *world;
    struct store *store;
    struct event
        *ring[EVENTS_RING]; /* the event with number n (from 0) stands at n % EVENTS_RING */
    uint64_t published;     /* numbers given */
    bool whole;             /* every stored event has stood in the ring */
    int64_t first_id, last_id;
    struct notify signal;
    struct list emits, queries;
    uint64_t keep_ms;
    struct timer retention_timer;
    struct expire_op *expiring; /* in flight */
};

/* ---- kinds ---- */

static const struct kind_row {
    const char *name, *help;
} kinds[] = {
    [EVENT_STARTED] = { "started", "berth has started" },
    [EVENT_STOPPING] = { "stopping", "berth is going down" },
    [EVENT_MODEL_CREATED] = { "model_created", "a model was added to the catalogue" },
    [EVENT_MODEL_UPDATED] = { "model_updated", "a model's definition was changed" },
    [EVENT_MODEL_DELETED] = { "model_deleted", "a model was removed from the catalogue" },
    [EVENT_MODEL_WANTED] = { "model_wanted", "a model was asked to run" },
    [EVENT_MODEL_UNWANTED] = { "model_unwanted", "a model was asked to stop" },
    [EVENT_MODEL_TASK_STATUS] = { "model_task_status",
                                  "a model was put online, offline or into maintenance for tasks" },
    [EVENT_INSTANCE_STATE] = { "instance_state", "an instance went from one state to another" },
    [EVENT_INSTANCE_ADOPTED] = { "instance_adopted",
                                 "a living engine of an earlier berth was taken over" },
    [EVENT_INSTANCE_KILLED] = { "instance_killed", "an orphaned or left-over engine was ended" },
    [EVENT_CONFIG_CHANGED] = { "config_changed", "the configuration was loaded anew" },
    [EVENT_STORE_READ_ONLY] = { "store_read_only", "the database takes no more writes" },
    [EVENT_DEVICE_APPEARED] = { "device_appeared", "a device came, or came back" },
    [EVENT_DEVICE_VANISHED] = { "device_vanished", "a device is not there any more" },
    [EVENT_DEVICE_UNRESPONSIVE] = { "device_unresponsive", "what looks at a device hangs" },
    [EVENT_DEVICE_RESPONSIVE] = { "device_responsive", "a device answers again" },
    [EVENT_MODEL_PLACED] = { "model_placed", "an instance was given its place" },
    [EVENT_MODEL_RECOVERED] = { "model_recovered",
                                "an instance that was moved aside was given a place again" },
    [EVENT_MODEL_PREEMPTED] = { "model_preempted",
                                "an instance was moved aside for a model of higher priority" },
    [EVENT_MODEL_SWAPPED] = { "model_swapped",
                              "an instance gave way to a model of equal priority" },
    [EVENT_PLACEMENT_FAILED] = { "placement_failed",
                                 "there is no room for an instance, or it ran out of memory" },
    [EVENT_PLACEMENT_RULES_CHANGED] = { "placement_rules_changed",
                                        "the rules of placement were changed" },
    [EVENT_DEVICE_MEMORY_HELD] = { "device_memory_held",
                                   "an engine has ended, and its memory was not given back" },
    [EVENT_TASK_DEAD] = { "task_dead", "a task failed, and all its tries are used up" },
    [EVENT_BATCH_STATE] = { "batch_state", "a batch went from one state to another" },
    [EVENT_TASK_INSTANCE] = { "task_instance", "a Task Instance came, went, or changed" },
};
_Static_assert(ARRAY_SIZE(kinds) == EVENT_KIND_MAX_, "every kind has its row");

const char *event_kind_name(enum event_kind kind)
{
    assert(kind < EVENT_KIND_MAX_);
    return kinds[kind].name;
}

const char *event_kind_help(enum event_kind kind)
{
    assert(kind < EVENT_KIND_MAX_);
    return kinds[kind].help;
}

int event_kind_from_string(const char *s)
{
    for (size_t i = 0; s && i < ARRAY_SIZE(kinds); i++) {
        if (str_eq(kinds[i].name, s)) {
            return (int)i;
        }
    }
    return -EINVAL;
}

/* ---- one event ---- */

static char *data_text(json_t *data)
{
    char *text = data ? json_dumps(data, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;

    json_decref(data);
    if (n > EVENT_DATA_MAX) {
        free(text);
        return xasprintf("{\"omitted_bytes\":%zu}", n);
    }
    return text ? text : xstrdup("{}");
}

struct event *event_create(struct world *w, enum event_kind kind, const char *subject, json_t *data)
{
    struct event *e = xcalloc(1, sizeof(*e));

    assert(kind < EVENT_KIND_MAX_);
    e->wall_ms = world_wall_ms(w);
    e->kind = kind;
    e->subject = xstrdup(subject);
    e->data = data_text(data);
    return e;
}

struct event *event_free(struct event *e)
{
    if (e) {
        free(e->subject);
        free(e->data);
        free(e);
    }
    return NULL;
}

/* ---- the ring ---- */

static void ring_put(struct events *ev, struct event *e)
{
    struct event **place = &ev->ring[ev->published++ % EVENTS_RING];

    if (*place) {
        ev->whole = false;
        event_free(*place);
    }
    *place = e;
}

static uint64_t ring_start(const struct events *ev)
{
    return ev->published > EVENTS_RING ? ev->published - EVENTS_RING : 0;
}

void events_publish(struct events *ev, struct event *e)
{
    assert(e->id >
           ev->last_id); /* published in another operation's done than the one that appended it */
    ev->last_id = e->id;
    if (ev->first_id == 0) {
        ev->first_id = e->id;
    }
    ring_put(ev, e);
    notify_emit(&ev->signal, e);
}

struct notify *events_signal(struct events *ev)
{
    return &ev->signal;
}

int64_t events_last_id(const struct events *ev)
{
    return ev->last_id;
}

int64_t events_first_id(const struct events *ev)
{
    return ev->first_id;
}

/* ---- emitting ---- */

static int run_emit(struct store_op *op, struct sql *db, struct error *reterr)
{
    return events_append(db, container_of(op, struct emit_op, op)->event, reterr);
}

static void on_emitted(struct store_op *op)
{
    struct emit_op *emit = container_of(op, struct emit_op, op);
    struct events *ev = emit->ev;
    struct event *e = TAKE_PTR(emit->event);

    list_remove(&emit->node);
    if (ev && op->result == -EROFS) {
        e->id = ev->last_id + 1; /* told, though not stored */
    } else if (op->result < 0) {
        log_warn("events", e->subject, "event not stored, ignoring",
                 kv_str("kind", event_kind_name(e->kind)), kv_str("why", op->error.text));
        e = event_free(e);
    }
    free(emit);
    if (ev && e) {
        events_publish(ev, e);
    } else {
        event_free(e);
    }
}

void events_emit(struct events *ev, enum event_kind kind, const char *subject, json_t *data)
{
    struct emit_op *emit = xcalloc(1, sizeof(*emit));

    emit->op.run = run_emit;
    emit->op.done = on_emitted;
    emit->ev = ev;
    emit->event = event_create(ev->world, kind, subject, data);
    list_append(&ev->emits, &emit->node);
    store_write(ev->store, &emit->op);
}

/* ---- queries ---- */

static void query_free(struct query *q)
{
    timer_stop(&q->timer);
    event_rows_finish(&q->rows);
    free(q->subject);
    free(q->text);
    free(q);
}

static void answer(struct query *q, int result)
{
    for (size_t i = 0; result >= 0 && i < q->rows.count; i++) {
        q->fn(q->arg, q->rows.items[i], 0);
    }
    q->fn(q->arg, NULL, result);
}

static void finish_query(struct query *q, int result)
{
    list_remove(&q->node);
    if (q->ev) {
        answer(q, result);
    }
    query_free(q);
}

static void on_ring_answer(void *arg)
{
    finish_query(arg, 0);
}

static int run_query(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct query *q = container_of(op, struct query, op);

    int total = q->filter.count ? event_rows_count(db, &q->filter, reterr) : 0;
    int r = total < 0 ? total : event_rows_read(db, &q->filter, &q->rows, reterr);

    return r < 0 ? r : total;
}

static void on_query_done(struct store_op *op)
{
    finish_query(container_of(op, struct query, op), op->result);
}

static void collect(struct query *q, const struct event *e)
{
    if (q->rows.count < q->filter.limit && event_matches(e, &q->filter)) {
        q->rows.items[q->rows.count++] = event_dup(e);
    }
}

/* Copies from the ring; tells whether that is the whole answer. */
static bool answer_from_ring(struct events *ev, struct query *q)
{
    uint64_t start = ring_start(ev), n = ev->published;
    int64_t oldest = n > start ? ev->ring[start % EVENTS_RING]->id : 0;

    if (q->filter.text || q->filter.offset > 0 || q->filter.count) {
        return false;
    }
    if (!q->filter.newest_first && !ev->whole && q->filter.after_id + 1 < oldest) {
        return false;
    }
    q->rows.items = xcalloc(q->filter.limit, sizeof(struct event *));
    for (uint64_t i = start; i < n; i++) {
        collect(q, ev->ring[(q->filter.newest_first ? start + n - 1 - i : i) % EVENTS_RING]);
    }
    if (!q->filter.newest_first || ev->whole || q->rows.count == q->filter.limit) {
        return true;
    }
    event_rows_finish(&q->rows);
    return false;
}

void events_query(struct events *ev, const struct event_filter *filter, event_fn fn, void *arg)
{
    struct query *q = xcalloc(1, sizeof(*q));

    assert(filter->kind < EVENT_KIND_MAX_);
    q->ev = ev;
    q->filter = *filter;
    q->subject = xstrdup_opt(filter->subject);
    q->filter.subject = q->subject;
    q->text = xstrdup_opt(filter->text);
    q->filter.text = q->text;
    if (filter->limit == 0 || filter->limit > EVENTS_LIMIT_MAX) {
        q->filter.limit = EVENTS_LIMIT_MAX;
    }
    q->fn = fn;
    q->arg = arg;
    q->op.run = run_query;
    q->op.done = on_query_done;
    timer_init(&q->timer, ev->world, "events query", on_ring_answer, q);
    list_append(&ev->queries, &q->node);
    if (answer_from_ring(ev, q)) {
        timer_start(&q->timer, 0);
    } else {
        store_read(ev->store, &q->op);
    }
}

/* ---- retention ---- */

static void expire(struct events *ev);

static int run_expire(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct expire_op *x = container_of(op, struct expire_op, op);
    int removed = event_rows_expire(db, x->before_ms, reterr);
    int r = removed < 0 ? removed : event_bounds_read(db, &x->first_id, &x->last_id, reterr);

    return r < 0 ? r : removed;
}

static void on_expired(struct store_op *op)
{
    struct expire_op *x = container_of(op, struct expire_op, op);
    struct events *ev = x->ev;
    int removed = op->result;

    if (ev) {
        ev->expiring = NULL;
        if (removed >= 0) {
            ev->first_id = x->first_id;
        }
    }
    free(x);
    if (ev && removed > 0) {
        expire(ev); /* the next batch, behind what waits meanwhile */
    }
}

static void expire(struct events *ev)
{
    struct expire_op *x;

    if (ev->expiring || ev->keep_ms == 0) {
        return;
    }
    x = xcalloc(1, sizeof(*x));
    x->op.run = run_expire;
    x->op.done = on_expired;
    x->ev = ev;
    x->before_ms = world_wall_ms(ev->world) - (int64_t)ev->keep_ms;
    ev->expiring = x;
    store_write(ev->store, &x->op);
}

static void on_retention(void *arg)
{
    struct events *ev = arg;

    timer_start(&ev->retention_timer, RETENTION_EVERY_MS);
    expire(ev);
}

void events_set_retention(struct events *ev, uint64_t keep_ms)
{
    ev->keep_ms = MIN_OF(keep_ms, (uint64_t)INT64_MAX / 2);
    on_retention(ev);
}

/* ---- life ---- */

struct load_op {
    struct store_op op;
    struct event_rows rows;
    int64_t first_id, last_id;
};

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct load_op *load = container_of(op, struct load_op, op);
    struct event_filter newest = { .kind = -1, .limit = EVENTS_RING, .newest_first = true };
    int r = event_bounds_read(db, &load->first_id, &load->last_id, reterr);

    return r < 0 ? r : event_rows_read(db, &newest, &load->rows, reterr);
}

static void load(struct events *ev)
{
    struct load_op load = { .op = { .run = run_load } };

    if (store_read_now(ev->store, &load.op) < 0) {
        log_warn("events", NULL, "the last events cannot be read, ignoring",
                 kv_str("why", load.op.error.text));
    }
    ev->first_id = load.first_id;
    ev->last_id = load.last_id;
    ev->whole = load.op.result >= 0 && load.rows.count < EVENTS_RING;
    while (load.rows.count > 0) {
        ring_put(ev, load.rows.items[--load.rows.count]);
    }
    event_rows_finish(&load.rows);
}

struct events *events_create(struct world *w, struct store *store)
{
    struct events *ev = xcalloc(1, sizeof(*ev));

    ev->world = w;
    ev->store = store;
    notify_init(&ev->signal);
    list_init(&ev->emits);
    list_init(&ev->queries);
    timer_init(&ev->retention_timer, w, "events retention", on_retention, ev);
    load(ev);
    return ev;
}

static void cut_loose(struct events *ev)
{
    struct emit_op *emit, *next_emit;
    struct query *q, *next_query;

    list_for_each_safe (emit, next_emit, &ev->emits, node) {
        list_remove(&emit->node);
        emit->ev = NULL;
    }
    list_for_each_safe (q, next_query, &ev->queries, node) {
        bool from_ring = timer_active(&q->timer);

        list_remove(&q->node);
        q->ev = NULL;
        q->fn(q->arg, NULL, -ECANCELED);
        if (from_ring) {
            query_free(q);
        }
    }
    if (ev->expiring) {
        ev->expiring->ev = NULL;
    }
}

struct events *events_destroy(struct events *ev)
{
    if (!ev) {
        return NULL;
    }
    timer_stop(&ev->retention_timer);
    cut_loose(ev);
    for (size_t i = 0; i < EVENTS_RING; i++) {
        event_free(ev->ring[i]);
    }
    free(ev);
    return NULL;
}
