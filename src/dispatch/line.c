// SPDX-License-Identifier: Apache-2.0
/*
 * Lines and who waits in them. Whatever a line has to tell somebody (grants, refusals, demand, an
 * instance that is drained) is told from its pump, in a turn of its own: nothing that is called
 * here ever calls into another request.
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/dispatch_int.h"

// clang-format off
static const struct metric metric_rows[] = {
    { "berth_queue_waiting", METRIC_GAUGE, "Requests that wait for an instance.", { "model" } },
    { "berth_in_flight", METRIC_GAUGE, "Requests that an instance is working on.", { "model" } },
    { "berth_queue_wait_seconds", METRIC_HISTOGRAM, "Time from asking for an instance to getting one.", { "model" }, metric_seconds },
};
// clang-format on

enum { M_WAITING, M_IN_FLIGHT, M_WAIT };

void lines_declare_metrics(struct metrics *metrics)
{
    metrics_declare(metrics, metric_rows, ARRAY_SIZE(metric_rows));
}

/* All lines */

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

struct line *line_find(const struct dispatch *d, int64_t model_id)
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

struct line *line_of(struct dispatch *d, const struct model *model)
{
    const char *labels[] = { model->config->id };
    struct line *l = line_find(d, model->id);

    if (l) {
        return l;
    }
    l = xcalloc(1, sizeof(*l));
    l->dispatch = d;
    l->model_id = model->id;
    list_init(&l->waiting);
    list_init(&l->stopped);
    list_init(&l->seats);
    timer_init(&l->pump, d->world, "dispatch", pump, l);
    l->waiting_cell = metrics_cell(d->metrics, &metric_rows[M_WAITING], labels);
    l->in_flight_cell = metrics_cell(d->metrics, &metric_rows[M_IN_FLIGHT], labels);
    l->wait_cell = metrics_cell(d->metrics, &metric_rows[M_WAIT], labels);
    pace_begin(l);
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

void line_pump_soon(struct line *l)
{
    if (!timer_active(&l->pump)) {
        timer_start(&l->pump, 0);
    }
}

void line_count_changed(struct line *l)
{
    if (!l->removed) {
        metric_set(l->waiting_cell, l->waiting_count);
        metric_set(l->in_flight_cell, l->in_flight);
    }
}

bool line_stands(const struct line *l)
{
    return l->waiting_count > l->held_back;
}

/* Can the model answer? */

bool line_is_open(const struct line *l)
{
    const struct seat *s;

    list_for_each (s, &l->seats, node) {
        if (s->open) {
            return true;
        }
    }
    return false;
}

/* When all of the model's instances (and there is one) have failed: the first. */
static const struct instance *find_failure(const struct dispatch *d, int64_t model_id)
{
    const struct instance *in, *failed = NULL;
    size_t cursor = 0;

    while ((in = engines_next(d->engines, &cursor))) {
        if (in->model_id == model_id && in->state != INSTANCE_FAILED) {
            return NULL;
        }
        failed = !failed && in->model_id == model_id ? in : failed;
    }
    return failed;
}

int line_check_model(const struct dispatch *d, const struct line *l, const struct model *model,
                     bool no_load, struct error *reterr)
{
    const struct instance *failed;

    if (!model) {
        return error_set(reterr, -ENOENT, "the model was deleted");
    }
    if (!model->wanted && (no_load || !model->config->on_demand)) {
        return error_set(reterr, -ESRCH, "model '%s' is stopped; start it with `berth load %s`",
                         model->config->id, model->config->id);
    }
    if (!model->wanted || (l && line_is_open(l))) {
        return 0;
    }
    failed = find_failure(d, model->id);
    if (failed) {
        return error_set(reterr, -ESRCH, "model '%s' cannot run: %s", model->config->id,
                         failed->last_error ? failed->last_error : "it failed");
    }
    return 0;
}

/* The model is wanted, and all of its instances (there is one) wait for a place. */
static bool waits_for_room(const struct line *l)
{
    const struct model *model = models_get(l->dispatch->models, l->model_id);
    const struct instance *in;
    size_t cursor = 0;
    bool waits = false;

    if (!model || !model->wanted || line_is_open(l)) {
        return false;
    }
    while ((in = engines_next(l->dispatch->engines, &cursor))) {
        if (in->model_id == l->model_id && in->state != INSTANCE_WAITING) {
            return false;
        }
        waits |= in->model_id == l->model_id;
    }
    return waits;
}

/* Use */

/* A request adds so much that a steady rate is told as it is. */
static void fade_use(const struct line *l, double *ret_rate)
{
    uint64_t passed_ms = world_now_ms(l->dispatch->world) - l->use_ms;

    *ret_rate = l->use_rate * exp2(-(double)passed_ms / (double)l->dispatch->use_half_life_ms);
}

void line_note_use(struct line *l)
{
    fade_use(l, &l->use_rate);
    l->use_rate += M_LN2 * 1000 / (double)l->dispatch->use_half_life_ms;
    l->use_ms = world_now_ms(l->dispatch->world);
}

double dispatch_use_rate(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = line_find(d, model_id);
    double rate = 0;

    if (l) {
        fade_use(l, &rate);
    }
    return rate;
}

/* Tickets */

static void on_timeout(void *arg);

struct ticket *ticket_create(struct line *l, const struct dispatch_ask *ask)
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

void ticket_free(struct ticket *t)
{
    timer_stop(&t->timeout);
    free(t);
}

static uint64_t queue_limit_ms(const struct ticket *t)
{
    return t->ask.queue_timeout_ms ? t->ask.queue_timeout_ms : t->line->dispatch->queue_timeout_ms;
}

/* Who was let in before and lost its instance goes first, whatever the line's length. */
int ticket_join_line(struct ticket *t, struct error *reterr)
{
    struct line *l = t->line;

    if (t->exclude[0]) {
        t->again = true;
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
    line_count_changed(l);
    return 0;
}

static void end_exclusion(struct ticket *t)
{
    if (t->exclude[0]) {
        t->exclude[0] = '\0';
        t->line->held_back--;
    }
}

void ticket_leave_line(struct ticket *t)
{
    struct line *l = t->line;

    end_exclusion(t);
    list_remove(&t->node);
    timer_stop(&t->timeout);
    l->waiting_count--;
    l->last_used_ms = world_now_ms(l->dispatch->world);
    line_count_changed(l);
    if (l->waiting_count == 0) {
        l->demand_told = false;
        line_pump_soon(l); /* what drains was kept for those who waited */
    }
}

static void refuse(struct ticket *t, const struct error *e)
{
    void (*fn)(void *, const struct error *) = t->ask.on_refuse;
    void *owner = t->ask.owner;

    ticket_leave_line(t);
    ticket_free(t);
    fn(owner, e);
}

static void on_timeout(void *arg)
{
    struct ticket *t = arg;
    struct error e;

    if (t->exclude[0]) {
        end_exclusion(t);
        timer_start(&t->timeout, queue_limit_ms(t));
        line_pump_soon(t->line);
        return;
    }
    error_set(&e, -ETIME, "%s within %llu ms (place %u in the line)",
              waits_for_room(t->line) ? "the model waits for room on a device, and got none"
                                      : "no instance of the model became free",
              (unsigned long long)(world_now_us(t->line->dispatch->world) - t->asked_us) / 1000,
              dispatch_position(t));
    refuse(t, &e);
}

void line_end_exclusions(struct line *l, const char *uuid)
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

void line_stop(struct line *l)
{
    struct ticket *t, *next;

    list_for_each_safe (t, next, &l->waiting, node) {
        list_remove(&t->node);
        list_append(&l->stopped, &t->node);
    }
}

/* Those at the front may have come after the first of the others. */
uint64_t line_waiting_since_ms(const struct line *l)
{
    uint64_t since_us = UINT64_MAX;
    struct ticket *t;

    list_for_each (t, &l->waiting, node) {
        since_us = MIN_OF(since_us, t->asked_us);
        if (!t->again) {
            break;
        }
    }
    return since_us == UINT64_MAX ? 0 : MAX_OF(since_us / 1000, 1U);
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

/* The pump */

static void refuse_all(struct list *waiting, const struct error *e)
{
    struct list all;

    list_take(waiting, &all);
    while (!list_empty(&all)) {
        refuse(list_first(&all, struct ticket, node), e);
    }
}

static void refuse_waiting(struct line *l, const struct model *model)
{
    struct error e = { 0 };

    if (!list_empty(&l->stopped)) {
        error_set(&e, model ? -ESRCH : -ENOENT,
                  model ? "the model was stopped" : "the model was deleted");
        refuse_all(&l->stopped, &e);
    }
    if (!list_empty(&l->waiting) && line_check_model(l->dispatch, l, model, false, &e) < 0) {
        refuse_all(&l->waiting, &e);
    }
}

/* The first in the line for whom there is a seat. Those who are held back (few: they were in
 * flight) let others pass. */
static struct ticket *next_to_grant(struct line *l, struct seat **ret_seat)
{
    struct ticket *t;

    list_for_each (t, &l->waiting, node) {
        struct seat *s = seat_choose(t);

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

/* Between the wish to unload a model and the end of its instances a request may still be given to
 * one: it is in use, then. */
void line_note_grant(struct line *l, const struct model *model)
{
    if (model && !model->wanted) {
        l->unloaded_busy = true;
        line_pump_soon(l);
    }
}

static void grant_waiting(struct line *l)
{
    struct ticket *t;
    struct seat *s;

    while ((t = next_to_grant(l, &s))) {
        const struct instance *in = engines_find(l->dispatch->engines, s->uuid);

        assert(in);
        ticket_leave_line(t);
        seat_take(s, t);
        line_note_grant(l, models_get(l->dispatch->models, l->model_id));
        t->ask.on_grant(t->ask.owner, in);
    }
}

static bool is_in_demand(const struct line *l)
{
    const struct model *model = models_get(l->dispatch->models, l->model_id);

    return model && !model->wanted && model->config->on_demand &&
           (l->waiting_count > 0 || l->unloaded_busy);
}

static void tell_demand(struct line *l)
{
    struct demand demand = { l->model_id, l->waiting_count, false };

    if (l->demand_told) {
        return;
    }
    demand.wants_room = l->waiting_count > 0 && waits_for_room(l);
    if (demand.wants_room || is_in_demand(l)) {
        l->demand_told = l->waiting_count > 0;
        l->unloaded_busy = false;
        notify_emit(&l->dispatch->demand, &demand);
    }
}

static void pump(void *arg)
{
    struct line *l = arg;

    refuse_waiting(l, models_get(l->dispatch->models, l->model_id));
    grant_waiting(l);
    if (l->removed && list_empty(&l->seats) && list_empty(&l->waiting) && list_empty(&l->stopped)) {
        timer_stop(&l->pump);
        forget_line(l);
        return;
    }
    seats_tell_drained(l);
    tell_demand(l);
}
