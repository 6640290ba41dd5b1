// SPDX-License-Identifier: Apache-2.0
/*
 * Dispatch. Per model a line of waiting tickets; per ready instance a seat that counts what it was
 * given. Load is added at dispatch and taken off at release, never read from the engine.
 */
#include "dispatch/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

enum { MAX_SEATS = 64, SERVICE_WEIGHT = 8, DEFAULT_SERVICE_MS = 1000 };

// clang-format off
static const struct option_row rows[] = {
    { "gateway.max_queue", OPTION_INT, "1000", 0, 1000000, NULL, true, false,
      "How many requests may wait for one model; more are refused with 429." },
    { "gateway.queue_timeout", OPTION_DURATION, "60s", 1, 86400000, NULL, true, false,
      "How long a request may wait for an instance before it is refused with 408." },
};

static const struct metric metric_rows[] = {
    { "berth_queue_waiting", METRIC_GAUGE, "Requests that wait for an instance.", { "model" } },
    { "berth_in_flight", METRIC_GAUGE, "Requests that an instance is working on.", { "model" } },
    { "berth_queue_wait_seconds", METRIC_HISTOGRAM, "Time from asking for an instance to getting one.", { "model" }, metric_seconds },
};
// clang-format on

enum { M_WAITING, M_IN_FLIGHT, M_WAIT };

const struct option_table dispatch_options = { rows, ARRAY_SIZE(rows) };

/* What one instance was given. Outlives the instance until its last ticket is released. */
struct seat {
    struct list node; /* in line->seats */
    struct line *line;
    char uuid[UUID_SIZE];
    unsigned in_flight, cap;
    uint64_t tokens;
    bool open;         /* takes new requests */
    bool gone;         /* forget it when empty */
    bool told_drained; /* the engines know that it is empty */
};

/* One model. Lives as long as the model, or anything of it here. */
struct line {
    struct list node; /* in dispatch->lines */
    struct dispatch *dispatch;
    int64_t model_id;
    struct list waiting; /* tickets, first come first */
    struct list seats;
    unsigned waiting_count, in_flight;
    uint64_t service_ms; /* moving average of grant to release */
    bool removed;
    struct timer pump; /* the line moves in a turn of its own, so that a release never calls into
                          another request */
    struct metric_cell *waiting_cell, *in_flight_cell, *wait_cell;
};

struct ticket {
    struct list node; /* in line->waiting while it waits */
    struct line *line;
    struct seat *seat; /* once granted */
    uint32_t tokens;   /* still counted on the seat */
    uint64_t asked_us, granted_ms;
    struct timer timeout;
    struct dispatch_ask ask;
    char exclude[UUID_SIZE];
};

struct dispatch {
    struct world *world;
    struct models *models;
    struct engines *engines;
    struct metrics *metrics;
    const struct strategy *strategy;
    struct list lines;
    struct map seats; /* by uuid; not the gone ones */
    unsigned max_queue;
    uint64_t queue_timeout_ms;
};

void dispatch_reconfigure(struct dispatch *d, const struct config *config)
{
    d->max_queue = (unsigned)config_int(config, "gateway.max_queue");
    d->queue_timeout_ms = config_duration_ms(config, "gateway.queue_timeout");
}

struct dispatch *dispatch_create(struct world *w, const struct config *config,
                                 struct models *models, struct engines *engines,
                                 struct metrics *metrics)
{
    struct dispatch *d = xcalloc(1, sizeof(*d));

    d->world = w;
    d->models = models;
    d->engines = engines;
    d->metrics = metrics;
    d->strategy = &least_outstanding_tokens;
    list_init(&d->lines);
    map_init(&d->seats);
    metrics_declare(metrics, metric_rows, ARRAY_SIZE(metric_rows));
    dispatch_reconfigure(d, config);
    return d;
}

/* Lines */

static struct line *find_line(const struct dispatch *d, int64_t model_id)
{
    struct line *l;

    list_for_each (l, &d->lines, node) {
        if (l->model_id == model_id && !l->removed) {
            return l;
        }
    }
    return NULL;
}

static void pump(void *arg);

static struct line *line_of(struct dispatch *d, const struct model *model)
{
    const char *labels[] = { model->config->id };
    struct line *l = find_line(d, model->id);

    if (l) {
        /* Asked for most is found first. */
        list_remove(&l->node);
        list_prepend(&d->lines, &l->node);
        return l;
    }
    l = xcalloc(1, sizeof(*l));
    l->dispatch = d;
    l->model_id = model->id;
    l->service_ms = DEFAULT_SERVICE_MS;
    list_init(&l->waiting);
    list_init(&l->seats);
    timer_init(&l->pump, d->world, "dispatch", pump, l);
    l->waiting_cell = metrics_cell(d->metrics, &metric_rows[M_WAITING], labels);
    l->in_flight_cell = metrics_cell(d->metrics, &metric_rows[M_IN_FLIGHT], labels);
    l->wait_cell = metrics_cell(d->metrics, &metric_rows[M_WAIT], labels);
    list_prepend(&d->lines, &l->node);
    return l;
}

static void free_line(struct line *l)
{
    timer_stop(&l->pump);
    list_remove(&l->node);
    free(l);
}

static void pump_soon(struct line *l)
{
    if (!timer_active(&l->pump)) {
        timer_start(&l->pump, 0);
    }
}

static void count_changed(struct line *l)
{
    if (!l->removed) {
        metric_set(l->waiting_cell, l->waiting_count);
        metric_set(l->in_flight_cell, l->in_flight);
    }
}

/* Seats */

static void forget_if_done(struct seat *s)
{
    struct line *l = s->line;

    if (!s->gone || s->in_flight > 0) {
        return;
    }
    list_remove(&s->node);
    free(s);
    if (l->removed) {
        pump_soon(l);
    }
}

static struct seat *choose_seat(struct line *l, uint32_t tokens, const char *exclude)
{
    struct candidate candidates[MAX_SEATS];
    struct seat *open[MAX_SEATS], *s;
    size_t count = 0;
    int chosen;

    list_for_each (s, &l->seats, node) {
        if (s->open && count < MAX_SEATS && !(exclude && str_eq(s->uuid, exclude))) {
            open[count] = s;
            candidates[count++] = (struct candidate){ s->uuid, s->in_flight, s->cap, s->tokens };
        }
    }
    chosen = l->dispatch->strategy->choose(candidates, count, tokens);
    if (chosen < 0) {
        /* Better the one that failed just now than none at all. */
        return exclude ? choose_seat(l, tokens, NULL) : NULL;
    }
    return open[chosen];
}

/* Tickets */

static void take_seat(struct ticket *t, struct seat *s)
{
    struct line *l = t->line;

    t->seat = s;
    t->granted_ms = world_now_ms(l->dispatch->world);
    s->in_flight++;
    s->tokens += t->tokens;
    l->in_flight++;
    count_changed(l);
    metric_observe(l->wait_cell, (double)(world_now_us(l->dispatch->world) - t->asked_us) / 1e6);
}

static void leave_line(struct ticket *t)
{
    list_remove(&t->node);
    timer_stop(&t->timeout);
    t->line->waiting_count--;
    count_changed(t->line);
}

static void free_ticket(struct ticket *t)
{
    timer_stop(&t->timeout);
    free(t);
}

static void refuse(struct ticket *t, const struct error *e)
{
    void (*fn)(void *, const struct error *) = t->ask.on_refuse;
    void *owner = t->ask.owner;

    leave_line(t);
    free_ticket(t);
    fn(owner, e);
}

static void on_timeout(void *arg)
{
    struct ticket *t = arg;
    struct error e;

    error_set(&e, -ETIME,
              "no instance of the model became free within %llu ms (place %u in the line)",
              (unsigned long long)(world_now_us(t->line->dispatch->world) - t->asked_us) / 1000,
              dispatch_position(t));
    refuse(t, &e);
}

/* Can the model ever answer? Negative errno with the reason when not. */
static int check_model(const struct dispatch *d, int64_t model_id, struct error *reterr)
{
    const struct model *model = models_get(d->models, model_id);
    const struct instance *in;

    if (!model) {
        return error_set(reterr, -ENOENT, "the model was deleted");
    }
    if (!model->wanted) {
        return error_set(reterr, -ESRCH, "model '%s' is stopped; start it with `berth load %s`",
                         model->config->id, model->config->id);
    }
    in = engines_of_model(d->engines, model_id);
    if (in && in->state == INSTANCE_FAILED) {
        return error_set(reterr, -ESRCH, "model '%s' cannot run: %s", model->config->id,
                         in->last_error ? in->last_error : "it failed");
    }
    return 0;
}

static void refuse_all(struct line *l, const struct error *e)
{
    struct list all;

    list_take(&l->waiting, &all);
    while (!list_empty(&all)) {
        refuse(list_first(&all, struct ticket, node), e);
    }
}

static void tell_drained(struct line *l)
{
    struct seat *s;

    list_for_each (s, &l->seats, node) {
        if (!s->open && !s->gone && s->in_flight == 0 && !s->told_drained) {
            s->told_drained = true;
            engines_drained(l->dispatch->engines, s->uuid);
            return; /* the list may have changed: the rest comes in the next turn */
        }
    }
}

static void grant_waiting(struct line *l)
{
    while (!list_empty(&l->waiting)) {
        struct ticket *t = list_first(&l->waiting, struct ticket, node);
        struct seat *s = choose_seat(l, t->tokens, t->exclude[0] ? t->exclude : NULL);
        const struct instance *in = s ? engines_find(l->dispatch->engines, s->uuid) : NULL;

        if (!in) {
            break;
        }
        leave_line(t);
        take_seat(t, s);
        t->ask.on_grant(t->ask.owner, in);
    }
}

static void pump(void *arg)
{
    struct line *l = arg;
    struct error e = { 0 };

    if (!list_empty(&l->waiting) && check_model(l->dispatch, l->model_id, &e) < 0) {
        refuse_all(l, &e);
    }
    grant_waiting(l);
    if (l->removed && list_empty(&l->seats) && list_empty(&l->waiting)) {
        free_line(l);
        return;
    }
    tell_drained(l);
}

static struct ticket *create_ticket(struct line *l, const struct dispatch_ask *ask)
{
    struct ticket *t = xcalloc(1, sizeof(*t));

    t->line = l;
    t->ask = *ask;
    t->tokens = ask->tokens;
    t->asked_us = world_now_us(l->dispatch->world);
    list_init(&t->node);
    if (ask->exclude) {
        memcpy(t->exclude, ask->exclude, strnlen(ask->exclude, UUID_SIZE - 1));
    }
    return t;
}

static int join_line(struct ticket *t, struct error *reterr)
{
    struct line *l = t->line;
    struct dispatch *d = l->dispatch;

    if (l->waiting_count >= d->max_queue) {
        return error_set(reterr, -EAGAIN, "%u requests wait for this model already",
                         l->waiting_count);
    }
    list_append(&l->waiting, &t->node);
    l->waiting_count++;
    count_changed(l);
    timer_init(&t->timeout, d->world, "queue timeout", on_timeout, t);
    timer_start(&t->timeout,
                t->ask.queue_timeout_ms ? t->ask.queue_timeout_ms : d->queue_timeout_ms);
    return 0;
}

int dispatch_acquire(struct dispatch *d, const struct dispatch_ask *ask, struct ticket **ret,
                     const struct instance **ret_instance, struct error *reterr)
{
    struct ticket *t;
    struct seat *s;
    struct line *l;
    int r;

    r = check_model(d, ask->model_id, reterr);
    if (r < 0) {
        return r;
    }
    l = line_of(d, models_get(d->models, ask->model_id));
    t = create_ticket(l, ask);
    s = list_empty(&l->waiting) ? choose_seat(l, t->tokens, ask->exclude) : NULL;
    if (s) {
        *ret_instance = engines_find(d->engines, s->uuid);
        assert(*ret_instance);
        take_seat(t, s);
        *ret = t;
        return 1;
    }
    r = join_line(t, reterr);
    if (r < 0) {
        free_ticket(t);
        return r;
    }
    *ret = t;
    return 0;
}

static void leave_seat(struct ticket *t)
{
    struct seat *s = t->seat;
    struct line *l = t->line;
    struct dispatch *d = l->dispatch;
    uint64_t took = world_now_ms(d->world) - t->granted_ms;

    s->in_flight--;
    s->tokens -= t->tokens;
    l->in_flight--;
    l->service_ms += (took > l->service_ms) ? (took - l->service_ms) / SERVICE_WEIGHT : 0;
    l->service_ms -= (took < l->service_ms) ? (l->service_ms - took) / SERVICE_WEIGHT : 0;
    count_changed(l);
    if (!s->open || !list_empty(&l->waiting)) {
        pump_soon(l);
    }
    forget_if_done(s);
}

void dispatch_release(struct ticket *t)
{
    if (t->seat) {
        leave_seat(t);
    } else {
        leave_line(t);
    }
    free_ticket(t);
}

void dispatch_progress(struct ticket *t, uint32_t tokens)
{
    uint32_t done = MIN_OF(tokens, t->tokens);

    if (t->seat) {
        t->tokens -= done;
        t->seat->tokens -= done;
    }
}

unsigned dispatch_position(const struct ticket *t)
{
    struct ticket *other;
    unsigned place = 1;

    if (t->seat) {
        return 0;
    }
    list_for_each (other, &t->line->waiting, node) {
        if (other == t) {
            break;
        }
        place++;
    }
    return place;
}

/* What the engines and the models tell */

static struct seat *seat_of(struct dispatch *d, const struct instance *in)
{
    const struct model *model = models_get(d->models, in->model_id);
    struct seat *s = map_get(&d->seats, in->uuid);

    if (s || !model) {
        return s;
    }
    s = xcalloc(1, sizeof(*s));
    s->line = line_of(d, model);
    memcpy(s->uuid, in->uuid, sizeof(s->uuid));
    list_append(&s->line->seats, &s->node);
    map_put(&d->seats, s->uuid, s);
    return s;
}

static void open_seat(struct seat *s, const struct instance *in)
{
    s->open = true;
    s->told_drained = false;
    /* One more than the engine has slots: the next request is there when a slot falls free. */
    s->cap = (in->slots ? in->slots : 1) + 1;
}

static void close_seat(struct dispatch *d, const char *uuid)
{
    struct seat *s = map_remove(&d->seats, uuid);

    if (s) {
        s->open = false;
        s->gone = true;
        forget_if_done(s);
    }
}

void dispatch_on_instance(void *dispatch, const void *instance_change)
{
    struct dispatch *d = dispatch;
    const struct instance_change *c = instance_change;
    struct line *l;

    if (c->gone || (c->to != INSTANCE_READY && c->to != INSTANCE_DRAINING)) {
        close_seat(d, c->instance->uuid);
    } else {
        struct seat *s = seat_of(d, c->instance);

        if (s && c->to == INSTANCE_READY) {
            open_seat(s, c->instance);
        } else if (s) {
            s->open = false;
        }
    }
    l = find_line(d, c->instance->model_id);
    if (l) {
        pump_soon(l);
    }
}

void dispatch_on_model(void *dispatch, const void *model_change)
{
    struct dispatch *d = dispatch;
    const struct model_change *c = model_change;
    struct line *l = find_line(d, c->id);

    if (!l) {
        return;
    }
    if (c->kind == MODEL_REMOVED) {
        l->removed = true;
        metrics_forget(d->metrics, "model", c->public_id);
    }
    pump_soon(l);
}

/* Figures */

uint64_t dispatch_expected_wait_ms(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = find_line(d, model_id);
    unsigned room = 0;
    struct seat *s;

    if (!l) {
        return 0;
    }
    list_for_each (s, &l->seats, node) {
        room += s->open ? s->cap : 0;
    }
    if (room > l->in_flight && l->waiting_count == 0) {
        return 0;
    }
    return (l->waiting_count + 1) * l->service_ms / MAX_OF(room, 1U);
}

unsigned dispatch_retry_after_s(const struct dispatch *d, int64_t model_id)
{
    uint64_t s = (dispatch_expected_wait_ms(d, model_id) + 999) / 1000;

    s = MAX_OF(1U, MIN_OF(300U, s));
    return (unsigned)(s + world_random_below(d->world, s / 4 + 2));
}

struct dispatch_load dispatch_instance_load(const struct dispatch *d, const char *uuid)
{
    const struct seat *s = map_get(&d->seats, uuid);

    return s ? (struct dispatch_load){ s->in_flight, 0, s->tokens } : (struct dispatch_load){ 0 };
}

struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = find_line(d, model_id);
    struct dispatch_load load = { 0 };
    struct seat *s;

    if (l) {
        load.in_flight = l->in_flight;
        load.waiting = l->waiting_count;
        list_for_each (s, &l->seats, node) {
            load.tokens += s->tokens;
        }
    }
    return load;
}

struct dispatch *dispatch_destroy(struct dispatch *d)
{
    struct line *l, *next_line;
    struct seat *s, *next_seat;

    if (!d) {
        return NULL;
    }
    list_for_each_safe (l, next_line, &d->lines, node) {
        list_for_each_safe (s, next_seat, &l->seats, node) {
            list_remove(&s->node);
            free(s);
        }
        free_line(l);
    }
    map_finish(&d->seats);
    free(d);
    return NULL;
}
