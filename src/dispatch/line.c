// SPDX-License-Identifier: Apache-2.0
/*
 * Lines, and how they move. Whatever a line has to tell somebody (grants, refusals, demand, an
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
    estimates_declare_metrics(metrics);
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
    for (int r = 0; r < RANK_MAX_; r++) {
        list_init(&l->ranks[r].waiting);
    }
    list_init(&l->stopped);
    list_init(&l->seats);
    timer_init(&l->pump, d->world, "dispatch", pump, l);
    l->waiting_cell = metrics_cell(d->metrics, &metric_rows[M_WAITING], labels);
    l->in_flight_cell = metrics_cell(d->metrics, &metric_rows[M_IN_FLIGHT], labels);
    l->wait_cell = metrics_cell(d->metrics, &metric_rows[M_WAIT], labels);
    pace_begin(l);
    estimate_begin(l);
    line_pick_strategy(l);
    insert_line(d, l);
    return l;
}

void line_free(struct line *l)
{
    struct seat *s, *next;

    list_for_each_safe (s, next, &l->seats, node) {
        seat_free(s);
    }
    timer_stop(&l->pump);
    timer_stop(&l->age);
    candidates_free(l);
    prefix_table_free(l->prefixes);
    free(l);
}

/* The model is gone, and nothing of it is left here. */
static void forget_line(struct line *l)
{
    struct dispatch *d = l->dispatch;
    size_t at = find_place(d, l->model_id);

    d->line_count--;
    memmove(&d->lines[at], &d->lines[at + 1], (d->line_count - at) * sizeof(*d->lines));
    line_free(l);
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
bool line_waits_for_room(const struct line *l)
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

/* The pump */

static void refuse_all(struct list *waiting, const struct error *e)
{
    struct list all;

    list_take(waiting, &all);
    while (!list_empty(&all)) {
        ticket_refuse(list_first(&all, struct ticket, node), e);
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
    for (int r = 0; r < RANK_MAX_; r++) {
        if (!list_empty(&l->ranks[r].waiting) &&
            line_check_model(l->dispatch, l, model, false, &e) < 0) {
            refuse_all(&l->ranks[r].waiting, &e);
        }
    }
}

/* The first in the line for whom there is a seat. Those who are held back (few: they were in
 * flight) let others pass. */
static struct ticket *next_to_grant(struct line *l, struct seat **ret_seat)
{
    for (struct ticket *t = line_first(l); t; t = line_next(t)) {
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
    demand.wants_room = l->waiting_count > 0 && line_waits_for_room(l);
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
    if (l->removed && list_empty(&l->seats) && l->waiting_count == 0) {
        timer_stop(&l->pump);
        forget_line(l);
        return;
    }
    seats_tell_drained(l);
    tell_demand(l);
}
