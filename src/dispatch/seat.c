// SPDX-License-Identifier: Apache-2.0
/*
 * Seats: what each instance was given, what came of it, and the breaker. Load is added when a
 * request is given and taken off when it ends, never read from the engine.
 *
 * The breaker:  CLOSED ── failures in a row, or unreachable ──► OPEN ── time ──► HALF_OPEN
 *                  ▲                                             ▲                   │ one request,
 *                  │                                             └────── failed ─────┤ the trial
 *                  └─────────────────── good, or tokens came ────────────────────────┘
 *
 * What was given before it opened does not move it: an engine that is about to end may well finish
 * what it has.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "dispatch/dispatch_int.h"

enum { RESPONSE_WEIGHT = 8, LONGEST_OPEN = 3 /* doublings */ };

static const char *const breaker_names[] = {
    [BREAKER_CLOSED] = "closed",
    [BREAKER_OPEN] = "open",
    [BREAKER_HALF_OPEN] = "half_open",
};

const char *breaker_name(enum breaker b)
{
    return breaker_names[b];
}

/* Nobody shall make up for the time in which it was not there: it begins level with the others. */
static void level(struct seat *s)
{
    const struct seat *other;
    uint64_t least = UINT64_MAX;

    list_for_each (other, &s->line->seats, node) {
        if (other != s && other->open && other->breaker == BREAKER_CLOSED) {
            least = MIN_OF(least, other->chosen / other->weight);
        }
    }
    if (least != UINT64_MAX) {
        s->chosen = MAX_OF(s->chosen, least * s->weight);
    }
}

/* The breaker */

static void close_breaker(struct seat *s)
{
    s->breaker = BREAKER_CLOSED;
    s->trial = NULL;
    timer_stop(&s->rest);
    level(s);
    seat_show(s);
    line_pump_soon(s->line);
}

void seat_rest(struct seat *s, uint64_t for_ms)
{
    uint64_t until = world_now_ms(s->line->dispatch->world) + for_ms;

    if (s->breaker != BREAKER_OPEN || s->rest.due_ms < until) {
        timer_start(&s->rest, for_ms);
    }
    s->breaker = BREAKER_OPEN;
    seat_show(s);
}

static void on_rested(void *arg)
{
    struct seat *s = arg;

    s->breaker = BREAKER_HALF_OPEN;
    seat_show(s);
    line_pump_soon(s->line);
}

static void note_failure(struct seat *s, bool trial)
{
    const struct dispatch *d = s->line->dispatch;
    uint64_t rest = d->breaker_open_ms << MIN_OF(s->times_open, (unsigned)LONGEST_OPEN);

    s->failures++;
    if (d->breaker_failures == 0 || s->breaker == BREAKER_OPEN ||
        (s->breaker == BREAKER_HALF_OPEN ? !trial : s->failures < d->breaker_failures)) {
        return;
    }
    s->times_open++;
    log_warn("dispatch", s->uuid, "an instance fails; nothing is sent there for a while",
             kv_int("failures", s->failures), kv_int("ms", (int64_t)rest));
    seat_rest(s, rest);
}

static bool another_is_closed(const struct seat *s)
{
    const struct seat *other;

    list_for_each (other, &s->line->seats, node) {
        if (other != s && other->open && other->breaker == BREAKER_CLOSED) {
            return true;
        }
    }
    return false;
}

/* It answers, though with an error: who has no other to go to had better have that at once. */
static void note_error(struct seat *s, bool trial)
{
    if (another_is_closed(s)) {
        note_failure(s, trial);
        return;
    }
    s->failures++;
    if (s->breaker == BREAKER_HALF_OPEN && trial) {
        close_breaker(s);
    }
}

static void note_good(struct seat *s, bool trial)
{
    if (s->breaker == BREAKER_CLOSED || trial) {
        s->failures = s->times_open = 0;
    }
    if (s->breaker == BREAKER_HALF_OPEN && trial) {
        log_info("dispatch", s->uuid, "an instance that failed answers again");
        close_breaker(s);
    }
}

/* The failures in a row stay counted until a request has ended well: the next one opens it again.
 */
void seat_note_progress(struct ticket *t, uint32_t tokens)
{
    struct seat *s = t->seat;
    uint32_t done = MIN_OF(tokens, t->tokens);

    t->tokens -= done;
    s->tokens -= done;
    s->sleeping = false;
    estimate_progress(s, t, tokens);
    seat_show(s);
    if (s->trial == t && s->breaker == BREAKER_HALF_OPEN) {
        close_breaker(s);
    }
}

/* Giving and taking */

void seat_take(struct seat *s, struct ticket *t)
{
    struct line *l = s->line;

    pace_before(l, s);
    estimate_add(s, t);
    t->seat = s;
    t->life = s->life;
    t->granted_ms = world_now_ms(l->dispatch->world);
    s->in_flight++;
    s->tokens += t->tokens;
    s->chosen++;
    s->trial = s->breaker == BREAKER_HALF_OPEN ? t : s->trial;
    if (l->strategy->looks_at & LOOKS_AT_PREFIX) {
        prefix_note(l, s, t);
    }
    l->in_flight++;
    l->turn++;
    pace_after(l, s);
    seat_show(s);
    dispatch_count_decision(l->dispatch, l->strategy);
    line_count_changed(l);
    metric_observe(l->wait_cell, (double)(world_now_us(l->dispatch->world) - t->asked_us) / 1e6);
}

static void note_response(struct seat *s, uint64_t took_ms)
{
    uint64_t *mean = &s->response_ms, rounding = RESPONSE_WEIGHT / 2;

    s->total_response_ms += took_ms;
    took_ms = MAX_OF(took_ms, 1U);
    *mean =
        *mean ? (*mean * (RESPONSE_WEIGHT - 1) + took_ms + rounding) / RESPONSE_WEIGHT : took_ms;
}

static void learn(struct seat *s, struct ticket *t, enum outcome outcome, uint64_t took_ms)
{
    bool trial = s->trial == t;

    s->trial = trial ? NULL : s->trial;
    s->requests++;
    if (outcome == OUTCOME_GOOD) {
        note_response(s, took_ms);
        estimate_learn(s, t);
    }
    s->errors += outcome == OUTCOME_FAILED || outcome == OUTCOME_ERROR;
    if (!s->open || s->life != t->life) {
        return; /* it was another life that failed, or answered */
    }
    s->sleeping &= outcome != OUTCOME_GOOD;
    if (outcome == OUTCOME_FAILED) {
        note_failure(s, trial);
    } else if (outcome == OUTCOME_ERROR) {
        note_error(s, trial);
    } else if (outcome == OUTCOME_GOOD) {
        note_good(s, trial);
    }
}

static void forget_if_done(struct seat *s)
{
    struct line *l = s->line;

    if (!s->gone || s->in_flight > 0) {
        return;
    }
    list_remove(&s->node);
    l->seat_count--;
    seat_free(s);
    if (l->removed) {
        line_pump_soon(l);
    }
}

void seat_leave(struct ticket *t, enum outcome outcome)
{
    struct seat *s = t->seat;
    struct line *l = t->line;
    uint64_t at = world_now_ms(l->dispatch->world), took_ms = at - t->granted_ms;

    pace_before(l, s);
    pace_ended(l, outcome, took_ms);
    s->in_flight--;
    s->tokens -= t->tokens;
    estimate_remove(s, t);
    l->in_flight--;
    l->last_used_ms = at;
    pace_after(l, s);
    learn(s, t, outcome, took_ms);
    seat_show(s);
    line_count_changed(l);
    if (!s->open || l->waiting_count > 0) {
        line_pump_soon(l);
    }
    forget_if_done(s);
}

/* What the engines tell */

static struct seat *make_seat(struct dispatch *d, const struct model *model, const char *uuid)
{
    struct line *l = line_of(d, model);
    struct seat *s;

    if (l->seat_count >= SEATS_MAX) {
        log_warn("dispatch", uuid, "the model has too many instances; this one gets no requests",
                 kv_int("instances", l->seat_count));
        return NULL;
    }
    s = xcalloc(1, sizeof(*s));
    s->line = l;
    s->weight = s->slots = 1;
    s->serial = ++l->last_serial;
    s->at = NOT_A_CANDIDATE;
    memcpy(s->uuid, uuid, sizeof(s->uuid));
    s->place = candidate_place(s->uuid);
    timer_init(&s->rest, d->world, "breaker", on_rested, s);
    list_append(&l->seats, &s->node);
    l->seat_count++;
    seat_figures_changed(s);
    map_put(&d->seats, s->uuid, s);
    return s;
}

void seat_free(struct seat *s)
{
    timer_stop(&s->rest);
    free(s->speed);
    free(s);
}

/* The instance is ready: for the first time, anew, again (it drained), or with other slots. */
static void open_seat(struct dispatch *d, const struct instance_change *c)
{
    const struct instance *in = c->instance;
    const struct model *model = models_get(d->models, in->model_id);
    struct seat *s = map_get(&d->seats, in->uuid);

    if (!model) {
        return; /* it was deleted meanwhile, and its instance is about to leave */
    }
    s = s ? s : make_seat(d, model, in->uuid);
    if (!s) {
        return;
    }
    pace_before(s->line, s);
    s->slots = MAX_OF(in->slots, 1U);
    /* One more than the engine has slots: the next request is there when a slot falls free. */
    s->cap = s->slots + 1;
    s->weight = in->weight ? in->weight : s->slots;
    s->line->pace.slots = s->slots;
    pace_after(s->line, s);
    if (!s->open && !s->draining) {
        s->life++;
        s->failures = s->times_open = 0;
        close_breaker(s);
    }
    if (c->from == INSTANCE_STARTING && in->ready_in_ms > 0 && !in->adopted) {
        pace_loaded(s->line, in->ready_in_ms);
    }
    s->open = true;
    s->draining = false;
    s->sleeping = in->sleeping;
    seat_show(s);
    line_pump_soon(s->line);
}

static void close_seat(struct dispatch *d, const char *uuid, bool gone)
{
    struct seat *s = map_get(&d->seats, uuid);

    if (!s) {
        return;
    }
    s->open = s->draining = false;
    timer_stop(&s->rest);
    seat_show(s);
    line_end_exclusions(s->line, uuid);
    line_pump_soon(s->line);
    if (gone) {
        map_remove(&d->seats, uuid);
        s->gone = true;
        forget_if_done(s);
    }
}

/* Of a model that was deleted before it was ready: nobody was sent there. */
static void drain_seat(struct dispatch *d, const char *uuid)
{
    struct seat *s = map_get(&d->seats, uuid);

    if (!s) {
        engines_drained(d->engines, uuid);
        return;
    }
    s->open = s->told_drained = false;
    s->draining = true;
    seat_show(s);
    line_pump_soon(s->line);
}

void seats_on_instance(struct dispatch *d, const struct instance_change *c)
{
    if (!c->gone && c->to == INSTANCE_READY) {
        open_seat(d, c);
    } else if (!c->gone && c->to == INSTANCE_DRAINING) {
        drain_seat(d, c->instance->uuid);
    } else {
        close_seat(d, c->instance->uuid, c->gone);
    }
}

/* Somebody waits for a model that is being unloaded: it will be wanted again at once. */
static bool is_missed(const struct line *l)
{
    const struct model *model = models_get(l->dispatch->models, l->model_id);

    return l->waiting_count > 0 && model && !model->wanted && model->config->on_demand;
}

/* What is moved aside does not return, whoever waits for it. */
static bool is_displaced(const struct seat *s)
{
    const struct instance *in = engines_find(s->line->dispatch->engines, s->uuid);

    return in && in->displaced;
}

void seats_tell_drained(struct line *l)
{
    bool missed = is_missed(l);
    struct seat *s;

    list_for_each (s, &l->seats, node) {
        if (s->draining && s->in_flight == 0 && !s->told_drained && (!missed || is_displaced(s))) {
            s->told_drained = true;
            engines_drained(l->dispatch->engines, s->uuid);
            line_pump_soon(l); /* the list may have changed: the rest comes in the next turn */
            return;
        }
    }
}

/* Figures */

bool dispatch_target(const struct dispatch *d, const char *uuid, struct dispatch_target *ret)
{
    const struct seat *s = map_get(&d->seats, uuid);

    if (!s || !s->open) {
        return false;
    }
    *ret = (struct dispatch_target){
        .breaker = s->breaker,
        .consecutive_failures = s->failures,
        .in_flight = s->in_flight,
        .weight = s->weight,
        .requests = s->requests,
        .errors = s->errors,
        .total_response_ms = s->total_response_ms,
        .response_ms = s->response_ms,
    };
    return true;
}

struct dispatch_load dispatch_instance_load(const struct dispatch *d, const char *uuid)
{
    const struct seat *s = map_get(&d->seats, uuid);

    return s ? (struct dispatch_load){ .in_flight = s->in_flight, .tokens = s->tokens }
             : (struct dispatch_load){ 0 };
}
