// SPDX-License-Identifier: Apache-2.0
/*
 * How fast a line moves, and what that means for who waits. Measured is the time that slots were
 * busy and the number of requests that ended: their quotient is the time of service, whether the
 * engines are busy, half busy or idle now, and whatever order they work in. (The one request that a
 * seat has above its slots waits inside the engine; that time counts for nothing.) A full line
 * moves at slots / time of service.
 */
#include "dispatch/dispatch_int.h"

enum {
    WINDOW = 16, /* so many requests are remembered, roughly */
    LOAD_WEIGHT = 4,
    DEFAULT_SERVICE_MS = 1000,
    DEFAULT_LOAD_MS = 10000,
    RETRY_MIN_MS = 1000,
    RETRY_MAX_MS = 300 * 1000,
};

/* Measuring */

static uint64_t now(const struct line *l)
{
    return world_now_ms(l->dispatch->world);
}

void pace_begin(struct line *l)
{
    l->pace.counted_ms = l->pace.moved_ms = now(l);
    l->pace.slots = 1;
}

static unsigned busy_slots(const struct seat *s)
{
    return MIN_OF(s->in_flight, s->slots);
}

void pace_before(struct line *l, const struct seat *s)
{
    struct pace *p = &l->pace;
    uint64_t at = now(l);

    if (p->busy == 0) {
        p->moved_ms = at;
    }
    p->pending_ms += (double)p->busy * (double)(at - p->counted_ms);
    p->counted_ms = at;
    p->busy -= busy_slots(s);
}

void pace_after(struct line *l, const struct seat *s)
{
    l->pace.busy += busy_slots(s);
}

/* The mean time of service. As long as nothing ends for longer than that, it grows. */
static double service_ms(const struct line *l)
{
    const struct pace *p = &l->pace;
    double still = p->busy ? (double)(now(l) - p->moved_ms) : 0, mean;

    if (p->ended <= 0) {
        return MAX_OF((double)DEFAULT_SERVICE_MS, still);
    }
    mean = p->worked_ms / p->ended;
    return still > mean ? mean + (still - mean) * p->busy / (p->ended + 1) : mean;
}

void pace_ended(struct line *l, enum outcome outcome, uint64_t took_ms)
{
    struct pace *p = &l->pace;
    const double fade = 1 - 1.0 / WINDOW;

    /* One that failed fast comes again, or says nothing of the others: the line has not moved. */
    if ((outcome == OUTCOME_FAILED || outcome == OUTCOME_ERROR) &&
        (double)took_ms < service_ms(l)) {
        return;
    }
    p->worked_ms = (p->worked_ms + p->pending_ms) * fade;
    p->ended = (p->ended + 1) * fade;
    p->pending_ms = 0;
    p->moved_ms = now(l);
}

void pace_loaded(struct line *l, uint64_t took_ms)
{
    uint64_t *mean = &l->pace.load_ms;

    took_ms = MAX_OF(took_ms, 1U);
    *mean = *mean ? (*mean * (LOAD_WEIGHT - 1) + took_ms) / LOAD_WEIGHT : took_ms;
}

/* Telling */

/* What takes requests now. */
struct capacity {
    unsigned slots, cap, in_flight;
    uint64_t rest_ms; /* until the first of those whose breakers are open tries again */
    bool open;        /* there is any, be its breaker open or not */
};

static struct capacity capacity_of(const struct line *l)
{
    struct capacity c = { .rest_ms = UINT64_MAX };
    const struct seat *s;

    list_for_each (s, &l->seats, node) {
        c.open |= s->open;
        if (s->open && s->breaker == BREAKER_OPEN) {
            uint64_t rest = s->rest.due_ms > now(l) ? s->rest.due_ms - now(l) : 0;

            c.rest_ms = MIN_OF(c.rest_ms, rest);
        } else if (s->open) {
            c.slots += s->breaker == BREAKER_CLOSED ? s->slots : 1;
            c.cap += s->breaker == BREAKER_CLOSED ? s->cap : 1;
            c.in_flight += s->in_flight;
        }
    }
    return c;
}

/* What is late already takes, for all we know, as long again as it is late. */
static uint64_t time_left(uint64_t expected, uint64_t passed)
{
    return expected > passed ? expected - passed : passed - expected;
}

static uint64_t load_time(const struct line *l, const struct instance *in)
{
    if (l && l->pace.load_ms) {
        return l->pace.load_ms;
    }
    return in && in->need.load_ms ? in->need.load_ms : DEFAULT_LOAD_MS;
}

uint64_t line_load_time_ms(const struct line *l)
{
    return load_time(l, engines_of_model(l->dispatch->engines, l->model_id));
}

/* Until the first instance of a model that has none is ready. */
static uint64_t load_left(const struct dispatch *d, const struct line *l, int64_t model_id)
{
    const struct instance *in = engines_of_model(d->engines, model_id);
    uint64_t load = load_time(l, in);
    uint64_t at = world_now_ms(d->world);

    if (in && in->state == INSTANCE_STARTING) {
        return time_left(load, at - in->state_since_ms);
    }
    if (in && in->state == INSTANCE_BACKOFF && in->retry_at_ms > at) {
        return load + in->retry_at_ms - at;
    }
    return load;
}

/* Until so many requests have left seats that `slots` work on. */
static uint64_t until_ended(const struct line *l, unsigned count, unsigned slots)
{
    return (uint64_t)(service_ms(l) * count / MAX_OF(slots, 1U));
}

/* How long the one at this place (from 1) will wait. */
static uint64_t wait_at(const struct dispatch *d, const struct line *l, enum dispatch_rank rank,
                        unsigned place)
{
    struct capacity c = capacity_of(l);
    uint64_t first = 0;
    unsigned cap;

    if (c.slots == 0) { /* as soon as there is an instance, it takes as many as it has room for */
        first = c.open ? c.rest_ms : load_left(d, l, l->model_id);
        c.slots = l->pace.slots;
        c.cap = c.slots + 1;
    }
    cap = rank == RANK_REQUEST ? c.cap : c.slots;
    place += c.in_flight;
    return first + (place > cap ? until_ended(l, place - cap, c.slots) : 0);
}

uint64_t dispatch_expected_wait_ms(const struct dispatch *d, int64_t model_id)
{
    const struct line *l = line_find(d, model_id);

    if (l) {
        return wait_at(d, l, RANK_REQUEST, l->ranks[RANK_REQUEST].count + 1);
    }
    return models_get(d->models, model_id) ? load_left(d, NULL, model_id) : 0;
}

uint64_t dispatch_ticket_wait_ms(const struct ticket *t)
{
    return t->seat ? 0 : wait_at(t->line->dispatch, t->line, t->ask.rank, dispatch_position(t));
}

uint64_t dispatch_retry_after_ms(const struct dispatch *d, int64_t model_id)
{
    uint64_t ms = dispatch_expected_wait_ms(d, model_id);

    ms = MAX_OF((uint64_t)RETRY_MIN_MS, MIN_OF((uint64_t)RETRY_MAX_MS, ms));
    return ms + world_random_below(d->world, ms / 4 + 1);
}
