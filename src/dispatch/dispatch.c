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
    bool open;            /* takes new requests */
    bool gone;            /* forget it when empty */
    bool told_drained;    /* the engines know that it is empty */
    struct timer suspect; /* while it runs, nobody is sent there */
};

/* One model. Lives as long as the model, or anything of it here. */
struct line {
    struct dispatch *dispatch;
    int64_t model_id;
    struct list waiting; /* tickets, first come first */
    struct list seats;
    unsigned waiting_count, in_flight;
    unsigned held_back;  /* of those who wait: may not have the instance that failed them, yet */
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
    struct timer timeout; /* held back until then; after that, how long it may wait */
    struct dispatch_ask ask;
    char exclude[UUID_SIZE]; /* while held back from it; else "" */
};

struct dispatch {
    struct world *world;
    struct models *models;
    struct engines *engines;
    struct metrics *metrics;
    const struct strategy *strategy;
    struct line **lines; /* by ascending model id */
    size_t line_count, line_cap;
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
    map_init(&d->seats);
    metrics_declare(metrics, metric_rows, ARRAY_SIZE(metric_rows));
    dispatch_reconfigure(d, config);
    return d;
}

/* Lines */

/* Index of the first line whose model id is not less. */
static size_t find_place(const struct dispatch *d, int64_t model_id)
{
    size_t low = 0, high = d->line_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (d->lines[middle]->model_id < model_id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct line *find_line(const struct dispatch *d, int64_t model_id)
{
    size_t at = find_place(d, model_id);
    struct line *l = at < d->line_count ? d->lines[at] : NULL;

    return l && l->model_id == model_id && !l->removed ? l : NULL;
}

static void insert_line(struct dispatch *d, struct line *l)
{
    size_t at = find_place(d, l->model_id);

    if (d->line_count == d->line_cap) {
        d->line_cap = d->line_cap ? 2 * d->line_cap : 16;
        d->lines = xrealloc(d->lines, d->line_cap * sizeof(*d->lines));
    }
    memmove(&d->lines[at + 1], &d->lines[at], (d->line_count - at) * sizeof(*d->lines));
    d->lines[at] = l;
    d->line_count++;
}

static void pump(void *arg);

static struct line *line_of(struct dispatch *d, const struct model *model)
{
    const char *labels[] = { model->config->id };
    struct line *l = find_line(d, model->id);

    if (l) {
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
    insert_line(d, l);
    return l;
}

/* The model is gone, and nothing of it is left here. */
static void forget_line(struct line *l)
{
    struct dispatch *d = l->dispatch;
    size_t at = find_place(d, l->model_id);

    d->line_count--;
    memmove(&d->lines[at], &d->lines[at + 1], (d->line_count - at) * sizeof(*d->lines));
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
    timer_stop(&s->suspect);
    list_remove(&s->node);
    free(s);
    if (l->removed) {
        pump_soon(l);
    }
}

static struct seat *choose_seat(const struct ticket *t)
{
    struct line *l = t->line;
    struct candidate candidates[MAX_SEATS];
    struct seat *open[MAX_SEATS], *s;
    size_t count = 0;
    int chosen;

    list_for_each (s, &l->seats, node) {
        if (s->open && !timer_active(&s->suspect) && count < MAX_SEATS &&
            !str_eq(s->uuid, t->exclude)) {
            open[count] = s;
            candidates[count++] = (struct candidate){ s->uuid, s->in_flight, s->cap, s->tokens };
        }
    }
    chosen = l->dispatch->strategy->choose(candidates, count, t->tokens);
    return chosen < 0 ? NULL : open[chosen];
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

static void end_exclusion(struct ticket *t)
{
    if (t->exclude[0]) {
        t->exclude[0] = '\0';
        t->line->held_back--;
    }
}

static void leave_line(struct ticket *t)
{
    end_exclusion(t);
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

static uint64_t queue_limit_ms(const struct ticket *t)
{
    return t->ask.queue_timeout_ms ? t->ask.queue_timeout_ms : t->line->dispatch->queue_timeout_ms;
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

    if (t->exclude[0]) {
        end_exclusion(t);
        timer_start(&t->timeout, queue_limit_ms(t));
        pump_soon(t->line);
        return;
    }
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
            pump_soon(l); /* the list may have changed: the rest comes in the next turn */
            return;
        }
    }
}

/* The first in the line for whom there is a seat. Those who are held back (few: they were in
 * flight) let others pass. */
static struct ticket *next_to_grant(struct line *l, struct seat **ret_seat)
{
    struct ticket *t;

    list_for_each (t, &l->waiting, node) {
        struct seat *s = choose_seat(t);

        if (s) {
            *ret_seat = s;
            return t;
        }
        if (!t->exclude[0]) {
            return NULL;
        }
    }
    return NULL;
}

static void grant_waiting(struct line *l)
{
    struct ticket *t;
    struct seat *s;

    while ((t = next_to_grant(l, &s))) {
        const struct instance *in = engines_find(l->dispatch->engines, s->uuid);

        assert(in);
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
        forget_line(l);
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
    timer_init(&t->timeout, l->dispatch->world, "queue timeout", on_timeout, t);
    return t;
}

/* Who was let in before and lost its instance goes first, whatever the line's length. */
static int join_line(struct ticket *t, struct error *reterr)
{
    struct line *l = t->line;

    if (t->exclude[0]) {
        list_prepend(&l->waiting, &t->node);
        l->held_back++;
        timer_start(&t->timeout, t->ask.exclude_ms);
    } else if (l->waiting_count >= l->dispatch->max_queue) {
        return error_set(reterr, -EAGAIN, "%u requests wait for this model already",
                         l->waiting_count);
    } else {
        list_append(&l->waiting, &t->node);
        timer_start(&t->timeout, queue_limit_ms(t));
    }
    l->waiting_count++;
    count_changed(l);
    return 0;
}

/* Does anybody wait who would take a free seat? */
static bool line_stands(const struct line *l)
{
    return l->waiting_count > l->held_back;
}

static void suspect(struct dispatch *d, const char *uuid, uint64_t for_ms)
{
    struct seat *s = map_get(&d->seats, uuid);

    if (s) {
        timer_start(&s->suspect, for_ms);
    }
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
    if (ask->exclude && ask->unreachable) {
        suspect(d, ask->exclude, ask->exclude_ms);
    }
    l = line_of(d, models_get(d->models, ask->model_id));
    t = create_ticket(l, ask);
    s = line_stands(l) && !ask->exclude ? NULL : choose_seat(t);
    if (s) {
        *ret_instance = engines_find(d->engines, s->uuid);
        assert(*ret_instance);
        t->exclude[0] = '\0';
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

static void on_suspicion_over(void *arg)
{
    struct seat *s = arg;

    pump_soon(s->line);
}

static struct seat *make_seat(struct dispatch *d, const struct model *model, const char *uuid)
{
    struct seat *s = xcalloc(1, sizeof(*s));

    s->line = line_of(d, model);
    memcpy(s->uuid, uuid, sizeof(s->uuid));
    timer_init(&s->suspect, d->world, "dispatch suspects", on_suspicion_over, s);
    list_append(&s->line->seats, &s->node);
    map_put(&d->seats, s->uuid, s);
    return s;
}

static void open_seat(struct dispatch *d, const struct instance *in)
{
    const struct model *model = models_get(d->models, in->model_id);
    struct seat *s = map_get(&d->seats, in->uuid);

    if (!model) {
        return; /* it was deleted meanwhile, and its instance is about to leave */
    }
    s = s ? s : make_seat(d, model, in->uuid);
    s->open = true;
    s->told_drained = false;
    timer_stop(&s->suspect);
    /* One more than the engine has slots: the next request is there when a slot falls free. */
    s->cap = (in->slots ? in->slots : 1) + 1;
    pump_soon(s->line);
}

/* What failed there may have it again in its next life. */
static void end_exclusions(struct line *l, const char *uuid)
{
    struct ticket *t;

    list_for_each (t, &l->waiting, node) {
        if (l->held_back == 0) {
            break;
        }
        if (str_eq(t->exclude, uuid)) {
            end_exclusion(t);
            timer_start(&t->timeout, queue_limit_ms(t));
        }
    }
}

static void close_seat(struct dispatch *d, const char *uuid)
{
    struct seat *s = map_remove(&d->seats, uuid);

    if (s) {
        end_exclusions(s->line, uuid);
        pump_soon(s->line);
        s->open = false;
        s->gone = true;
        forget_if_done(s);
    }
}

/* Of a model that was deleted before it was ready: nobody was sent there. */
static void drain_seat(struct dispatch *d, const char *uuid)
{
    struct seat *s = map_get(&d->seats, uuid);

    if (s) {
        s->open = false;
        pump_soon(s->line);
    } else {
        engines_drained(d->engines, uuid);
    }
}

void dispatch_on_instance(void *dispatch, const void *instance_change)
{
    struct dispatch *d = dispatch;
    const struct instance_change *c = instance_change;
    struct line *l = find_line(d, c->instance->model_id);

    if (!c->gone && c->to == INSTANCE_READY) {
        open_seat(d, c->instance);
    } else if (!c->gone && c->to == INSTANCE_DRAINING) {
        drain_seat(d, c->instance->uuid);
    } else {
        close_seat(d, c->instance->uuid);
    }
    if (l) {
        pump_soon(l); /* those who wait may have to be refused now */
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
        l->removed = true; /* its cells are void from now on: the gateway ends them */
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
    struct seat *s, *next;

    if (!d) {
        return NULL;
    }
    for (size_t i = 0; i < d->line_count; i++) {
        list_for_each_safe (s, next, &d->lines[i]->seats, node) {
            timer_stop(&s->suspect);
            free(s);
        }
        timer_stop(&d->lines[i]->pump);
        free(d->lines[i]);
    }
    free(d->lines);
    map_finish(&d->seats);
    free(d);
    return NULL;
}
