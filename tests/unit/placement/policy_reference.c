// SPDX-License-Identifier: Apache-2.0
/* Random cases and the exhaustive reference: every combination of who goes and who comes where. */
#include "policy_reference.h"

#include <string.h>

#define GB 1000000000ULL

/* ---- cases ---- */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static uint64_t below(uint64_t *state, uint64_t n)
{
    return next_random(state) % n;
}

static void make_devices(struct policy_case *c, uint64_t *r)
{
    static const uint64_t sizes[] = { 16, 24, 24, 48, 80 };
    bool mixed = below(r, 5) == 0, equal = below(r, 2) == 0, pool = below(r, 4) == 0;
    uint64_t size = sizes[below(r, 5)];

    c->gpus = 1 + below(r, CASE_DEVICES);
    for (size_t d = 0; d < c->gpus; d++) {
        c->devices[d] = (struct policy_device){
            .index = (int)d,
            .vendor = mixed ? (int)below(r, 2) : 0,
            .total_bytes = (equal ? size : sizes[below(r, 5)]) * GB,
            .other_bytes = below(r, 4) == 0 ? below(r, 12) * GB : 0,
        };
    }
    c->snapshot.device_count = c->gpus + pool;
    if (pool) {
        c->devices[c->gpus] = (struct policy_device){ .index = (int)c->gpus,
                                                      .vendor = 7,
                                                      .host_pool = true,
                                                      .total_bytes = (8 + below(r, 24)) * GB };
    }
}

static bool runs(const struct policy_case *c, size_t n)
{
    return c->instances[n].state == POLICY_READY || c->instances[n].state == POLICY_LOADING;
}

static int64_t limit_of(const struct policy_case *c, size_t device)
{
    const struct policy_device *d = &c->devices[device];

    return (int64_t)(c->snapshot.rules.threshold * (double)d->total_bytes) -
           (int64_t)d->other_bytes;
}

static int64_t room_on(const struct policy_case *c, size_t device)
{
    int64_t room = limit_of(c, device);

    for (size_t n = 0; n < c->snapshot.instance_count; n++) {
        const struct place *place = &c->instances[n].place;

        if (runs(c, n)) {
            room -= (int64_t)(device == c->gpus ? place->host_bytes
                                                : place_bytes_on(place, (int)device));
        }
    }
    return room;
}

static uint64_t need_on(const struct policy_instance *i, unsigned n)
{
    return (i->need.split_bytes + n - 1) / n + i->need.fixed_bytes;
}

static bool has_pool(const struct policy_case *c)
{
    return c->snapshot.device_count > c->gpus;
}

static void try_run(struct policy_case *c, struct policy_instance *i, uint64_t *r)
{
    size_t d = below(r, c->gpus);

    if (room_on(c, d) < (int64_t)need_on(i, 1) ||
        (has_pool(c) && room_on(c, c->gpus) < (int64_t)i->need.host_bytes)) {
        return;
    }
    i->place = (struct place){ .count = 1,
                               .shares = { { (int)d, need_on(i, 1) } },
                               .host_bytes = i->need.host_bytes };
    i->state = below(r, 5) == 0 ? POLICY_LOADING : POLICY_READY;
    i->pinned = below(r, 6) == 0;
    i->use_rate = (double)below(r, 100) / 10;
    i->reload_s = (double)(1 + below(r, 60));
    if (i->state == POLICY_LOADING) {
        i->waiting = (unsigned)below(r, 3);
        i->waiting_since_ms = 99000;
    } else {
        i->in_flight = (unsigned)below(r, 4);
        i->since_ms = below(r, 6) == 0 ? 95000 : i->since_ms;
    }
}

/* A newcomer that nobody asks for, or that is asked for; some have their devices named. */
static void make_newcomer(struct policy_case *c, size_t n, uint64_t *r)
{
    struct policy_instance *i = &c->instances[n];
    int *named = c->named[n];

    if (below(r, 2) == 0) {
        i->waiting = (unsigned)(1 + below(r, 5));
        i->waiting_since_ms = 99000;
    }
    if (below(r, 6) == 0) {
        i->devices = named;
        i->device_count = 1 + (c->gpus > 1 && below(r, 2) == 0);
        named[0] = (int)below(r, c->gpus);
        named[1] = (int)(((size_t)named[0] + 1) % c->gpus);
    }
}

static void make_instance(struct policy_case *c, size_t n, uint64_t *r, bool running)
{
    struct policy_instance *i = &c->instances[n];
    unsigned kind = (unsigned)below(r, 20);

    *i = (struct policy_instance){
        .id = n + 1,
        .model_id = (int64_t)n + 1,
        .priority = 1 + (int)below(r, below(r, 2) ? 4 : 10),
        .may_preempt = true,
        .need = { .source = NEED_ESTIMATED,
                  .split_bytes = (2 + below(r, 30)) * GB,
                  .fixed_bytes = below(r, 3) * GB / 2,
                  .host_bytes = below(r, 3) == 0 ? (1 + below(r, 12)) * GB : 0,
                  .min_devices = 1,
                  .max_devices = kind < 13   ? 1
                                 : kind < 17 ? 2
                                             : 4 },
        .vendor = -1,
        .since_ms = 1000 + below(r, 5000),
    };
    if (running) {
        try_run(c, i, r);
    }
    if (i->state == POLICY_WAITING) {
        make_newcomer(c, n, r);
    }
}

/* What is idle would give way to an equal that is asked for: so nobody of its priority is. */
static void forbid_swaps(struct policy_case *c)
{
    for (size_t n = 0; n < c->snapshot.instance_count; n++) {
        const struct policy_instance *idle = &c->instances[n];

        for (size_t m = 0; idle->state == POLICY_READY && m < c->snapshot.instance_count; m++) {
            struct policy_instance *i = &c->instances[m];

            if (idle->in_flight == 0 && i->state == POLICY_WAITING &&
                i->priority == idle->priority) {
                i->waiting = 0;
                i->waiting_since_ms = 0;
            }
        }
    }
}

void policy_case_make(struct policy_case *c, uint64_t seed)
{
    uint64_t r = seed;
    bool running;

    *c = (struct policy_case){ 0 };
    c->snapshot = (struct policy_snapshot){
        .now_ms = 100000,
        .rules = { .preemption = below(&r, 8) != 0,
                   .auto_recovery = true,
                   .threshold = below(&r, 2) ? 1.0 : 0.9,
                   .min_residency_ms = 10000,
                   .swap_wait_ms = 15000,
                   .max_preemptions_per_hour = below(&r, 4) == 0 ? 4 : 0 },
        .preemptions_last_hour = (unsigned)below(&r, 5),
        .devices = c->devices,
        .instances = c->instances,
    };
    make_devices(c, &r);
    running = below(&r, 3) != 0;
    for (size_t n = 1 + below(&r, CASE_MODELS); c->snapshot.instance_count < n;) {
        make_instance(c, c->snapshot.instance_count, &r, running && below(&r, 2));
        c->snapshot.instance_count++;
    }
    forbid_swaps(c);
}

/* ---- the best ---- */

struct quest {
    const struct policy_case *c;
    int64_t room[CASE_DEVICES + 1];
    bool up[CASE_MODELS];
    unsigned where[CASE_MODELS]; /* mask of devices */
    unsigned may_go;             /* more preemptions */
    bool any;
    struct reference_value best;
};

static bool is_movable(const struct policy_case *c, size_t n)
{
    const struct policy_instance *i = &c->instances[n];
    const struct policy_rules *rules = &c->snapshot.rules;

    return rules->preemption && !i->pinned &&
           (i->state == POLICY_LOADING ||
            c->snapshot.now_ms >= i->since_ms + rules->min_residency_ms);
}

static struct reference_value value_of(const struct policy_case *c, const bool *up)
{
    struct reference_value v = { 0 };

    for (size_t n = 0; n < c->snapshot.instance_count; n++) {
        const struct policy_instance *i = &c->instances[n];

        if (up[n]) {
            v.requests[i->priority] += 1.0 + i->in_flight + i->waiting;
        } else if (i->state == POLICY_READY) {
            double bytes = (double)(place_bytes(&i->place) + i->place.host_bytes);

            v.cost += i->use_rate * i->reload_s / (bytes / 1073741824.0);
        }
    }
    return v;
}

int policy_reference_compare(const struct reference_value *a, const struct reference_value *b)
{
    for (int k = POLICY_CLASSES - 1; k >= 0; k--) {
        if (a->requests[k] != b->requests[k]) {
            return a->requests[k] < b->requests[k] ? -1 : 1;
        }
    }
    /* Sums of the same figures in another order differ in the last digits. */
    if (a->cost > b->cost * (1 + 1e-9)) {
        return -1;
    }
    return b->cost > a->cost * (1 + 1e-9);
}

static int64_t bytes_on(const struct quest *q, size_t n, size_t device)
{
    const struct policy_instance *i = &q->c->instances[n];

    if (device == q->c->gpus) {
        return q->where[n] ? (int64_t)i->need.host_bytes : 0;
    }
    return q->where[n] & (1U << device)
               ? (int64_t)need_on(i, (unsigned)__builtin_popcount(q->where[n]))
               : 0;
}

/* What it has to itself there, beside those above it, who stays of its class, and those that cannot
 * be moved. */
static int64_t left_for(const struct quest *q, size_t gone, size_t device)
{
    const struct policy_case *c = q->c;
    int64_t left = limit_of(c, device);

    for (size_t n = 0; n < c->snapshot.instance_count; n++) {
        int priority = c->instances[n].priority, own = c->instances[gone].priority;

        if (q->up[n] && (runs(c, n) ? priority >= own || !is_movable(c, n) : priority > own)) {
            left -= bytes_on(q, n, device);
        }
    }
    return left;
}

static bool had_to_go(const struct quest *q, size_t gone)
{
    const struct policy_instance *i = &q->c->instances[gone];

    return left_for(q, gone, (size_t)i->place.shares[0].device) < (int64_t)need_on(i, 1) ||
           (has_pool(q->c) && i->need.host_bytes > 0 &&
            left_for(q, gone, q->c->gpus) < (int64_t)i->need.host_bytes);
}

static void judge(struct quest *q)
{
    struct reference_value v = value_of(q->c, q->up);

    if (q->any && policy_reference_compare(&v, &q->best) <= 0) {
        return;
    }
    for (size_t n = 0; n < q->c->snapshot.instance_count; n++) {
        if (runs(q->c, n) && !q->up[n] && !had_to_go(q, n)) {
            return;
        }
    }
    q->any = true;
    q->best = v;
}

static bool put(struct quest *q, size_t n, unsigned mask, int sign)
{
    bool fits = true;

    q->where[n] = mask;
    for (size_t d = 0; d < q->c->snapshot.device_count; d++) {
        q->room[d] -= sign * bytes_on(q, n, d);
        fits = fits && q->room[d] >= 0;
    }
    return fits;
}

static bool is_allowed(const struct quest *q, size_t n, unsigned mask)
{
    const struct policy_instance *i = &q->c->instances[n];
    int vendor = q->c->devices[__builtin_ctz(mask)].vendor;
    unsigned named = 0;

    for (unsigned k = 0; k < i->device_count; k++) {
        named |= 1U << i->devices[k];
    }
    if (named ? mask != named : (unsigned)__builtin_popcount(mask) > i->need.max_devices) {
        return false;
    }
    for (size_t d = 0; d < q->c->gpus; d++) {
        if ((mask & (1U << d)) && q->c->devices[d].vendor != vendor) {
            return false;
        }
    }
    return true;
}

/* Could it still become the best, if all that are not decided were up? */
static bool is_hopeless(const struct quest *q, size_t from)
{
    bool up[CASE_MODELS];
    struct reference_value v;

    for (size_t n = 0; n < q->c->snapshot.instance_count; n++) {
        up[n] = n >= from || q->up[n];
    }
    v = value_of(q->c, up);
    return q->any && policy_reference_compare(&v, &q->best) <= 0;
}

static void try_all(struct quest *q, size_t n)
{
    const struct policy_instance *i = &q->c->instances[n];

    if (n == q->c->snapshot.instance_count) {
        judge(q);
        return;
    }
    if (is_hopeless(q, n)) {
        return;
    }
    for (unsigned mask = 1; mask < 1U << q->c->gpus; mask++) {
        if (runs(q->c, n) ? mask != 1U << i->place.shares[0].device : !is_allowed(q, n, mask)) {
            continue;
        }
        q->up[n] = true;
        if (put(q, n, mask, 1)) {
            try_all(q, n + 1);
        }
        put(q, n, mask, -1);
    }
    q->where[n] = 0;
    q->up[n] = false;
    if (!runs(q->c, n)) {
        try_all(q, n + 1);
    } else if (q->may_go > 0 && is_movable(q->c, n)) {
        q->may_go--;
        try_all(q, n + 1);
        q->may_go++;
    }
}

struct reference_value policy_reference_best(const struct policy_case *c)
{
    unsigned most = c->snapshot.rules.max_preemptions_per_hour;
    struct quest q = { .c = c,
                       .may_go = most ? most - c->snapshot.preemptions_last_hour : CASE_MODELS };

    for (size_t d = 0; d < c->snapshot.device_count; d++) {
        q.room[d] = limit_of(c, d);
    }
    try_all(&q, 0);
    return q.best;
}

/* ---- what was reached ---- */

bool policy_reference_is_kept(const struct policy_plan *plan)
{
    for (size_t v = 0; v < plan->verdict_count; v++) {
        if (plan->verdicts[v].reason == POLICY_TOO_YOUNG) {
            return true;
        }
    }
    return false;
}

struct reference_value policy_reference_of_plan(const struct policy_case *c,
                                                const struct policy_plan *plan)
{
    bool up[CASE_MODELS];

    for (size_t n = 0; n < c->snapshot.instance_count; n++) {
        up[n] = runs(c, n);
    }
    for (size_t a = 0; a < plan->action_count; a++) {
        if (plan->actions[a].kind == POLICY_RESERVE) {
            up[plan->actions[a].instance] = true;
        } else if (plan->actions[a].kind == POLICY_DISPLACE) {
            up[plan->actions[a].instance] = false;
        }
    }
    return value_of(c, up);
}

double policy_reference_share(const struct reference_value *got, const struct reference_value *best)
{
    double share = 1, reached = 0, wanted = 0;

    for (int k = POLICY_CLASSES - 1; k >= 0; k--) {
        reached += got->requests[k];
        wanted += best->requests[k];
        if (wanted > 0 && reached / wanted < share) {
            share = reached / wanted;
        }
    }
    return share;
}
