// SPDX-License-Identifier: Apache-2.0
/* Dispatch's door: options, strategies, asking for an instance and giving it back. */
#include "dispatch/dispatch.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/dispatch_int.h"

// clang-format off
static const struct option_row rows[] = {
    { "gateway.max_queue", OPTION_INT, "1000", 0, 1000000, NULL, true, false,
      "How many requests may wait for one model; more are refused with 429." },
    { "gateway.queue_timeout", OPTION_DURATION, "300s", 1, 86400000, NULL, true, false,
      "How long a request may wait for an instance before it is refused with 408." },
    { "gateway.use_half_life", OPTION_DURATION, "10m", 1000, 86400000, NULL, true, false,
      "A model's rate of use counts a request half after so long: when room is short, what is used least gives way first." },
    { "gateway.strategy", OPTION_ENUM, "least_outstanding_tokens", 0, 0,
      "least_outstanding_tokens least_connections response_time power_of_two round_robin weighted "
      "random shortest_queue weighted_wait probabilistic earliest_completion prefix_affinity "
      "session_affinity",
      true, false,
      "How the instance for a request is chosen when a model has several and names no strategy of its own." },
    { "gateway.error_weight", OPTION_INT, "50", 0, 1000, NULL, true, false,
      "How much the uncertainty of a prediction counts beside its expectation, in percent, for the strategies weighted_wait and earliest_completion." },
    { "gateway.learn_half_life", OPTION_DURATION, "10m", 1000, 86400000, NULL, true, false,
      "What was learnt of an instance's speed and of the length of answers counts half after so long; the last few requests always count." },
    { "gateway.breaker_failures", OPTION_INT, "5", 0, 1000000, NULL, true, false,
      "After so many failures in a row an instance gets no requests for gateway.breaker_open; 0: it gets them whatever it does." },
    { "gateway.breaker_open", OPTION_DURATION, "5s", 1, 3600000, NULL, true, false,
      "How long an instance that failed gets no requests; then one at a time, until one is good. Each time in a row twice as long as before, up to eight times." },
};

// clang-format on

const struct option_table dispatch_options = { rows, ARRAY_SIZE(rows) };

/* Strategies */

static const struct strategy *usual(const struct dispatch *d)
{
    return d->chosen ? d->chosen : d->configured;
}

static const struct strategy *of_definition(const struct model *model)
{
    return model && model->config->strategy ? strategy_find(model->config->strategy) : NULL;
}

static const struct strategy *pick(const struct dispatch *d, const struct line *l,
                                   const struct model *model)
{
    const struct strategy *own = of_definition(model);

    if (l && l->chosen) {
        return l->chosen;
    }
    return d->chosen ? d->chosen : own ? own : d->configured;
}

void line_pick_strategy(struct line *l)
{
    l->strategy = pick(l->dispatch, l, models_get(l->dispatch->models, l->model_id));
}

static void pick_all(struct dispatch *d)
{
    for (size_t i = 0; i < d->line_count; i++) {
        line_pick_strategy(d->lines[i]);
    }
}

const struct strategy *dispatch_strategy(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = model_id ? line_find(d, model_id) : NULL;
    const struct model *model = model_id && !l ? models_get(d->models, model_id) : NULL;

    return l ? l->strategy : model ? pick(d, NULL, model) : usual(d);
}

int dispatch_set_strategy(struct dispatch *d, int64_t model_id, const char *name,
                          struct error *reterr)
{
    const struct model *model = model_id ? models_get(d->models, model_id) : NULL;
    struct line *l;
    int r = name ? strategy_check(name, reterr) : 0;

    if (r < 0) {
        return r;
    }
    if (model_id && !model) {
        return error_set(reterr, -ENOENT, "the model was deleted");
    }
    if (model) {
        l = line_of(d, model);
        l->chosen = name ? strategy_find(name) : NULL;
        line_pick_strategy(l);
    } else {
        d->chosen = name ? strategy_find(name) : NULL;
        pick_all(d);
    }
    return 0;
}

static const struct metric decisions_row = { "berth_dispatch_decisions_total",
                                             METRIC_COUNTER,
                                             "Instances chosen for requests, by strategy.",
                                             { "strategy" } };

void dispatch_count_decision(struct dispatch *d, const struct strategy *s)
{
    struct metric_cell **cell = &d->decisions[strategy_index(s)];
    const char *labels[] = { s->name };

    if (!*cell) {
        *cell = metrics_cell(d->metrics, &decisions_row, labels);
    }
    metric_add(*cell, 1);
}

struct choice dispatch_choice(struct dispatch *d)
{
    return (struct choice){ .random = random_next(d), .error_weight = d->error_weight };
}

/* Beginning and end */

void dispatch_reconfigure(struct dispatch *d, const struct config *config)
{
    const struct strategy *configured = strategy_find(config_string(config, "gateway.strategy"));

    d->max_queue = (unsigned)config_int(config, "gateway.max_queue");
    d->use_half_life_ms = config_duration_ms(config, "gateway.use_half_life");
    d->queue_timeout_ms = config_duration_ms(config, "gateway.queue_timeout");
    d->breaker_failures = (unsigned)config_int(config, "gateway.breaker_failures");
    d->breaker_open_ms = config_duration_ms(config, "gateway.breaker_open");
    assert(configured);
    if (configured != d->configured) {
        d->configured = configured;
        d->chosen = NULL;
    }
    d->error_weight = (double)config_int(config, "gateway.error_weight") / 100;
    d->learn_half_life_ms = config_duration_ms(config, "gateway.learn_half_life");
    pick_all(d);
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
    notify_init(&d->demand);
    world_random(w, &d->random, sizeof(d->random));
    map_init(&d->seats);
    lines_declare_metrics(metrics);
    metrics_declare(metrics, &decisions_row, 1);
    dispatch_reconfigure(d, config);
    return d;
}

struct dispatch *dispatch_destroy(struct dispatch *d)
{
    if (!d) {
        return NULL;
    }
    for (size_t i = 0; i < d->line_count; i++) {
        line_free(d->lines[i]);
    }
    free(d->lines);
    map_finish(&d->seats);
    free(d);
    return NULL;
}

uint64_t random_next(struct dispatch *d)
{
    return splitmix_next(&d->random);
}

/* Asking and giving back */

static void rest_unreachable(struct dispatch *d, const struct dispatch_ask *ask)
{
    struct seat *s = ask->exclude && ask->unreachable ? map_get(&d->seats, ask->exclude) : NULL;

    if (s && s->open) {
        seat_rest(s, ask->exclude_ms);
    }
}

int dispatch_acquire(struct dispatch *d, const struct dispatch_ask *ask, struct ticket **ret,
                     const struct instance **ret_instance, struct error *reterr)
{
    const struct model *model = models_get(d->models, ask->model_id);
    struct line *l = line_find(d, ask->model_id);
    struct ticket *t;
    struct seat *s;
    int r;

    r = line_check_model(d, l, model, ask->no_load, reterr);
    if (r < 0) {
        return r;
    }
    rest_unreachable(d, ask);
    l = l ? l : line_of(d, model);
    t = ticket_create(l, ask);
    s = line_stands(l, ask->rank) && !ask->exclude ? NULL : seat_choose(t);
    if (s) {
        *ret_instance = engines_find(d->engines, s->uuid);
        assert(*ret_instance);
        t->exclude[0] = '\0';
        seat_take(s, t);
        line_note_grant(l, model);
        line_note_use(l);
        *ret = t;
        return 1;
    }
    r = ticket_join_line(t, reterr);
    if (r < 0) {
        ticket_free(t);
        return r;
    }
    line_note_use(l);
    if (!model->wanted || !line_is_open(l)) {
        line_pump_soon(l); /* tells of the demand */
    }
    *ret = t;
    return 0;
}

void dispatch_release(struct ticket *t, enum outcome outcome)
{
    if (t->seat) {
        seat_leave(t, outcome);
    } else {
        ticket_leave_line(t);
    }
    ticket_free(t);
}

void dispatch_progress(struct ticket *t, uint32_t tokens)
{
    if (t->seat) {
        seat_note_progress(t, tokens);
    }
}

void dispatch_note_usage(struct ticket *t, uint64_t prompt_tokens, uint64_t cached_tokens,
                         uint64_t output_tokens)
{
    t->noted = true;
    t->prompt = prompt_tokens;
    t->cached = MIN_OF(cached_tokens, prompt_tokens);
    t->output = output_tokens;
}

/* What the engines and the models tell */

void dispatch_on_instance(void *dispatch, const void *instance_change)
{
    struct dispatch *d = dispatch;
    const struct instance_change *c = instance_change;
    struct line *l = line_find(d, c->instance->model_id);

    seats_on_instance(d, c);
    if (l) {
        line_pump_soon(l); /* those who wait may have to be refused now */
    }
}

static void on_wanted(struct line *l, const struct model_change *c)
{
    bool wanted = c->model->wanted;

    l->demand_told = false;
    l->unloaded_busy = !wanted && c->by == WISH_IDLE && l->in_flight > 0;
    if (!wanted && c->by == WISH_USER) {
        line_stop(l);
    }
}

void dispatch_on_model(void *dispatch, const void *model_change)
{
    struct dispatch *d = dispatch;
    const struct model_change *c = model_change;
    struct line *l = line_find(d, c->id);

    if (!l) {
        return;
    }
    if (c->kind == MODEL_REMOVED) {
        l->removed = true; /* its cells are void from now on: the gateway ends them */
    } else if (c->kind == MODEL_WANTED_CHANGED) {
        on_wanted(l, c);
    } else if (c->kind == MODEL_UPDATED) {
        line_pick_strategy(l);
    }
    line_pump_soon(l);
}

struct notify *dispatch_demand_signal(struct dispatch *d)
{
    return &d->demand;
}

/* Figures */

uint64_t dispatch_last_used_ms(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = line_find(d, model_id);

    return l ? l->last_used_ms : 0;
}

struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = line_find(d, model_id);
    struct dispatch_load load = { 0 };
    struct seat *s;

    if (l) {
        load.waiting_since_ms = line_waiting_since_ms(l);
        load.in_flight = l->in_flight;
        load.waiting = l->waiting_count;
        load.waiting_requests = l->ranks[RANK_REQUEST].count;
        list_for_each (s, &l->seats, node) {
            load.tokens += s->tokens;
        }
    }
    return load;
}
