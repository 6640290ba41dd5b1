// SPDX-License-Identifier: Apache-2.0
/*
 * The checker: reads a log from its beginning, keeps its own account of devices and models, and
 * says the first thing that was against the rules of policy.h. Its arithmetic is its own.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy_log.h"

enum { TIMES_MAX = 8192 };

struct account_device {
    bool there;
    struct policy_device d;
    int64_t physical; /* of ours: loaded, and not yet free again */
};

struct account {
    bool wanted, waits, reserved, loading, ready, leaving;
    bool displaced;
    bool was_judged; /* in this pass */
    bool left_now;   /* displaced in this pass */
    int left_for;
    unsigned moved; /* mask of those that went for it since it waits */
    enum policy_reason verdict;
    struct log_spec spec;
    struct place place;
    uint64_t ready_ms, ended_ms, not_before_ms;
    unsigned waiting, in_flight;
    uint64_t waiting_since_ms;
};

struct checker {
    uint64_t ms;
    struct policy_rules rules;
    struct account_device devices[LOG_DEVICES];
    size_t device_count;
    struct account models[LOG_MODELS];
    uint64_t preemptions[TIMES_MAX];
    size_t preemption_count;
    bool crowded;
    char *text;
    size_t size;
    bool wrong;
};

static void complain(struct checker *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void complain(struct checker *c, const char *fmt, ...)
{
    va_list ap;
    int n;

    if (c->wrong) {
        return;
    }
    c->wrong = true;
    n = snprintf(c->text, c->size, "at %llu ms: ", (unsigned long long)c->ms);
    va_start(ap, fmt);
    vsnprintf(c->text + n, c->size - (size_t)n, fmt, ap);
    va_end(ap);
}

/* ---- room ---- */

static struct account_device *find(struct checker *c, int index)
{
    for (size_t d = 0; d < c->device_count; d++) {
        if (c->devices[d].d.index == index) {
            return &c->devices[d];
        }
    }
    return NULL;
}

static int64_t limit_of(const struct checker *c, const struct account_device *d, bool force)
{
    double share = force ? 1.0 : c->rules.threshold;

    return (int64_t)(share * (double)d->d.total_bytes) - (int64_t)d->d.other_bytes;
}

static int64_t on(const struct place *place, const struct account_device *d)
{
    int64_t sum = 0;

    if (d->d.host_pool) {
        return (int64_t)place->host_bytes;
    }
    for (unsigned k = 0; k < place->count; k++) {
        sum += place->shares[k].device == d->d.index ? (int64_t)place->shares[k].bytes : 0;
    }
    return sum;
}

/* Of those that stay, or have a reservation. */
static int64_t spoken_for(const struct checker *c, const struct account_device *d)
{
    int64_t sum = 0;

    for (int m = 0; m < LOG_MODELS; m++) {
        const struct account *a = &c->models[m];

        sum += a->reserved || a->loading || a->ready ? on(&a->place, d) : 0;
    }
    return sum;
}

static int64_t share_of(const struct log_spec *s, unsigned n, const struct account_device *d)
{
    if (s->need.share > 0) {
        return (int64_t)(s->need.share * (double)d->d.total_bytes);
    }
    return (int64_t)((s->need.split_bytes + n - 1) / n + s->need.fixed_bytes);
}

/* Would it be at home on the devices of the mask, with nobody there (empty) or as it is? */
static bool at_home(const struct checker *c, const struct log_spec *s, unsigned mask, bool empty)
{
    unsigned n = (unsigned)__builtin_popcount(mask);
    int vendor = -1;

    for (size_t d = 0; d < c->device_count; d++) {
        const struct account_device *device = &c->devices[d];
        int64_t need = device->d.host_pool ? (int64_t)s->need.host_bytes : share_of(s, n, device);
        int64_t taken = empty ? 0 : spoken_for(c, device);

        if (device->d.host_pool ? !device->there : !(mask & (1U << d))) {
            continue;
        }
        if (!device->d.host_pool) {
            if (!device->there || device->d.unusable ||
                (vendor >= 0 && vendor != device->d.vendor)) {
                return false;
            }
            vendor = device->d.vendor;
        }
        if (need > 0 && need > limit_of(c, device, s->force) - taken) {
            return false;
        }
    }
    return true;
}

static bool may_be_on(const struct checker *c, const struct log_spec *s, unsigned mask)
{
    unsigned n = (unsigned)__builtin_popcount(mask), named = 0;

    for (size_t d = 0; d < c->device_count; d++) {
        for (unsigned k = 0; k < s->device_count; k++) {
            named |= s->devices[k] == c->devices[d].d.index ? 1U << d : 0;
        }
        if ((mask & (1U << d)) && c->devices[d].d.host_pool) {
            return false;
        }
    }
    return s->device_count > 0 ? mask == named
                               : n >= s->need.min_devices && n <= s->need.max_devices;
}

static bool fits_somewhere(const struct checker *c, const struct log_spec *s, bool empty)
{
    for (unsigned mask = 1; mask < 1U << c->device_count; mask++) {
        if (may_be_on(c, s, mask) && at_home(c, s, mask, empty)) {
            return true;
        }
    }
    return false;
}

/* ---- what the policy did ---- */

static void check_place(struct checker *c, int m, const struct place *place)
{
    struct log_spec *s = &c->models[m].spec;
    unsigned mask = 0;

    for (unsigned k = 0; k < place->count; k++) {
        struct account_device *d = find(c, place->shares[k].device);

        if (!d || !d->there || d->d.unusable || d->d.host_pool) {
            complain(c, "model %d is placed on a device that is not usable", m);
            return;
        }
        mask |= 1U << (d - c->devices);
        if ((int64_t)place->shares[k].bytes != share_of(s, place->count, d)) {
            complain(c, "model %d does not take its equal part of every device", m);
        }
    }
    if (!may_be_on(c, s, mask) || place->host_bytes != s->need.host_bytes) {
        complain(c, "model %d is placed where its definition does not want it", m);
    }
}

static void on_reserve(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];
    bool asked = a->waiting > 0 || a->spec.force;

    check_place(c, e->model, &e->place);
    if (!a->waits || c->ms < a->not_before_ms) {
        complain(c, "model %d is placed, and it does not wait", e->model);
    }
    if (a->displaced && !asked &&
        (c->ms < a->ended_ms + c->rules.return_after_ms || !c->rules.auto_recovery)) {
        complain(c, "model %d comes back too early", e->model);
    }
    a->waits = false;
    a->reserved = true;
    a->place = e->place;
}

static void begin_to_wait(struct account *a)
{
    a->waits = true;
    a->moved = 0;
}

/* Where the first come keeps his turn, only force takes it. */
static bool may_withdraw(const struct checker *c, const struct account *a,
                         const struct account *newcomer)
{
    return newcomer->spec.may_preempt && !a->spec.pinned &&
           (c->rules.algorithm != POLICY_FIRST_COME || newcomer->spec.force);
}

static void on_withdraw(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];
    bool holds = true;

    if (e->other >= 0 && c->models[e->other].spec.priority <= a->spec.priority) {
        complain(c, "the reservation of model %d goes to an equal", e->model);
    }
    for (size_t d = 0; d < c->device_count; d++) {
        const struct account_device *device = &c->devices[d];
        int64_t bytes = on(&a->place, device);

        if (bytes > 0 && (!device->there || device->d.unusable ||
                          spoken_for(c, device) > limit_of(c, device, a->spec.force))) {
            holds = false;
        }
    }
    if (e->other >= 0 && !may_withdraw(c, a, &c->models[e->other])) {
        complain(c, "the reservation of model %d is taken by one that may not", e->model);
    }
    if (e->other < 0 && holds) {
        complain(c, "the reservation of model %d is withdrawn for nothing", e->model);
    }
    a->reserved = false;
    begin_to_wait(a);
}

static void on_load(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];

    if (!a->reserved) {
        complain(c, "model %d loads without a reservation", e->model);
    }
    for (size_t d = 0; d < c->device_count; d++) {
        struct account_device *device = &c->devices[d];
        int64_t bytes = on(&e->place, device);

        if (bytes > 0 && device->physical + bytes > limit_of(c, device, a->spec.force)) {
            complain(c, "memory of device %d is over-committed by model %d", device->d.index,
                     e->model);
        }
        device->physical += bytes;
        for (int m = 0; m < LOG_MODELS; m++) {
            if (!device->d.host_pool && bytes > 0 && c->models[m].loading &&
                on(&c->models[m].place, device) > 0) {
                complain(c, "two load on device %d at once", device->d.index);
            }
        }
    }
    a->reserved = false;
    a->loading = true;
}

static void check_preemption(struct checker *c, const struct account *victim,
                             const struct account *newcomer)
{
    unsigned n = 0;

    if (victim->spec.priority >= newcomer->spec.priority) {
        complain(c, "one of equal or higher priority is preempted");
    }
    if (!c->rules.preemption || !newcomer->spec.may_preempt) {
        complain(c, "one is preempted, and that is not allowed");
    }
    for (size_t k = 0; k < c->preemption_count; k++) {
        n += c->preemptions[k] + 3600000 > c->ms;
    }
    if (c->rules.max_preemptions_per_hour > 0 && n >= c->rules.max_preemptions_per_hour) {
        complain(c, "more preemptions in an hour than allowed");
    }
    if (c->preemption_count < TIMES_MAX) {
        c->preemptions[c->preemption_count++] = c->ms;
    }
}

static void check_swap(struct checker *c, const struct account *victim,
                       const struct account *newcomer)
{
    bool idle = victim->in_flight == 0 && victim->waiting == 0;

    if (victim->spec.priority != newcomer->spec.priority || newcomer->waiting == 0 ||
        !newcomer->spec.may_preempt) {
        complain(c, "a swap for one that is no equal, or that nobody asks for");
    }
    if (!idle && c->ms < newcomer->waiting_since_ms + c->rules.swap_wait_ms) {
        complain(c, "a busy one gives way before the other's turn");
    }
}

/* What loads has no residency: a more important one may have its place, an equal may not. */
static void check_residency(struct checker *c, const struct log_entry *e, const struct account *a,
                            const struct account *newcomer)
{
    bool preempted = e->reason == POLICY_PREEMPTED, forced = preempted && newcomer->spec.force;

    if (!a->ready && !a->loading) {
        complain(c, "model %d is moved, and does not run", e->model);
    } else if (a->loading && !preempted) {
        complain(c, "model %d still loads, and gives way to an equal", e->model);
    } else if (a->loading && !forced && c->rules.algorithm == POLICY_FIRST_COME) {
        complain(c, "model %d came first, and its load is broken off", e->model);
    } else if (a->ready && !forced && c->ms < a->ready_ms + c->rules.min_residency_ms) {
        complain(c, "model %d is moved before min_residency", e->model);
    }
}

static void on_displace(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model], *newcomer;

    if (e->other < 0) {
        complain(c, "model %d is moved for nobody", e->model);
        return;
    }
    newcomer = &c->models[e->other];
    if (a->spec.pinned) {
        complain(c, "model %d is pinned, and moved", e->model);
    }
    if (e->reason == POLICY_PREEMPTED) {
        check_preemption(c, a, newcomer);
    } else {
        check_swap(c, a, newcomer);
    }
    check_residency(c, e, a, newcomer);
    if (newcomer->moved & (1U << e->model)) {
        complain(c, "model %d is moved again and again for model %d", e->model, e->other);
    }
    newcomer->moved |= 1U << e->model;
    a->ready = a->loading = false;
    a->leaving = a->left_now = true;
    a->left_for = e->other;
}

/* ---- after every pass ---- */

/* Somebody more important, or an equal, whose turn comes keeps room for himself. */
static bool somebody_keeps_room(const struct checker *c, const struct account *a)
{
    for (int m = 0; m < LOG_MODELS; m++) {
        const struct account *other = &c->models[m];

        if (other != a && other->waits && other->was_judged && other->verdict == POLICY_TOO_YOUNG &&
            other->spec.priority >= a->spec.priority) {
            return true;
        }
    }
    return false;
}

static bool is_free_to_come(const struct checker *c, const struct account *a)
{
    if (c->ms < a->not_before_ms) {
        return false;
    }
    if (!a->displaced || a->waiting > 0 || a->spec.force) {
        return true;
    }
    return c->rules.auto_recovery && c->ms >= a->ended_ms + c->rules.return_after_ms;
}

static void check_waiting(struct checker *c, int m)
{
    struct account *a = &c->models[m];

    if (a->was_judged != (a->waits || a->reserved)) {
        complain(c, "model %d %s", m,
                 a->was_judged ? "has a verdict, and does not wait" : "waits without a reason");
    }
    if (a->was_judged && a->verdict < POLICY_NEVER_FITS) {
        complain(c, "the verdict of model %d is no reason to wait", m);
    }
    if (!a->waits) {
        return;
    }
    if (is_free_to_come(c, a)) {
        if (fits_somewhere(c, &a->spec, false) && !somebody_keeps_room(c, a)) {
            complain(c, "model %d waits (%s), and there is room", m,
                     policy_reason_name(a->verdict));
        }
        if ((a->verdict == POLICY_NEVER_FITS) && fits_somewhere(c, &a->spec, true)) {
            complain(c, "model %d is told that it never fits", m);
        }
    }
}

static void check_needed(struct checker *c, int m)
{
    struct account *a = &c->models[m];
    bool fits = true;

    for (size_t d = 0; a->left_now && d < c->device_count; d++) {
        int64_t bytes = on(&a->place, &c->devices[d]);

        fits =
            fits && (bytes == 0 || (c->devices[d].there && spoken_for(c, &c->devices[d]) + bytes <=
                                                               limit_of(c, &c->devices[d], false)));
    }
    if (a->left_now && fits) {
        complain(c, "model %d is moved, and need not have been", m);
    }
    if (a->left_now && !c->models[a->left_for].reserved && !c->models[a->left_for].loading) {
        complain(c, "model %d is moved for model %d, which got no place", m, a->left_for);
    }
}

static void on_pass(struct checker *c)
{
    for (size_t d = 0; d < c->device_count; d++) {
        bool forced = false, some = false;

        for (int m = 0; m < LOG_MODELS; m++) {
            const struct account *a = &c->models[m];

            some |= a->reserved && on(&a->place, &c->devices[d]) > 0;
            forced |= a->spec.force;
        }
        if (some && c->devices[d].there &&
            spoken_for(c, &c->devices[d]) > limit_of(c, &c->devices[d], forced)) {
            complain(c, "more is reserved on device %d than there is", c->devices[d].d.index);
        }
    }
    for (int m = 0; m < LOG_MODELS; m++) {
        check_needed(c, m);
    }
    for (int m = 0; m < LOG_MODELS; m++) {
        check_waiting(c, m);
    }
    for (int m = 0; m < LOG_MODELS; m++) {
        c->models[m].was_judged = c->models[m].left_now = false;
    }
}

/* ---- bounds ---- */

/* In the crowd: everybody who is asked for has his turn, at most one round of all others later. */
static void check_turn(struct checker *c, int m)
{
    struct account *a = &c->models[m];
    uint64_t each = c->rules.swap_wait_ms + c->rules.min_residency_ms + DRAIN_MS_MAX + FREE_MS_MAX +
                    2 * LOAD_MS_MAX;

    if (c->crowded && a->wanted && a->waiting > 0 &&
        c->ms > a->waiting_since_ms + (LOG_MODELS + 1) * each) {
        complain(c, "requests for model %d wait for ever", m);
    }
}

static void on_end(struct checker *c)
{
    for (int m = 0; m < LOG_MODELS && !c->crowded; m++) {
        struct account *a = &c->models[m];

        if (a->wanted && !a->ready && fits_somewhere(c, &a->spec, true)) {
            complain(c, "model %d is not back, and all room is its own", m);
        }
    }
}

/* ---- what happened ---- */

static void on_ended(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];

    a->leaving = a->ready = a->loading = false;
    a->displaced = a->wanted;
    a->ended_ms = c->ms;
    if (a->wanted) {
        begin_to_wait(a);
    }
}

static void on_unwanted(struct account *a)
{
    bool runs = a->ready || a->loading || a->leaving;

    a->wanted = a->waits = a->reserved = a->ready = a->loading = false;
    a->leaving = runs;
}

static void on_wanted(struct account *a, const struct log_entry *e)
{
    if (!a->wanted) {
        *a = (struct account){ .wanted = true, .waits = true };
    }
    a->spec = e->spec;
}

static void on_device(struct checker *c, const struct log_entry *e)
{
    struct account_device *d = find(c, e->model);

    if (!d) {
        d = &c->devices[c->device_count++];
    }
    d->d = e->device;
    d->there = e->kind == LOG_DEVICE;
}

static void on_freed(struct checker *c, const struct log_entry *e)
{
    for (size_t d = 0; d < c->device_count; d++) {
        c->devices[d].physical -= on(&e->place, &c->devices[d]);
    }
}

static void on_failed(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];

    a->loading = a->ready = a->leaving = a->displaced = false;
    a->not_before_ms = e->since_ms;
    if (a->wanted) {
        begin_to_wait(a);
    }
}

static void on_ready(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];

    a->loading = a->displaced = false;
    a->ready = true;
    a->ready_ms = c->ms;
}

static void on_demand(struct checker *c, const struct log_entry *e)
{
    struct account *a = &c->models[e->model];

    a->waiting = e->waiting;
    a->in_flight = e->in_flight;
    a->waiting_since_ms = e->since_ms;
}

static void on_verdict(struct checker *c, const struct log_entry *e)
{
    c->models[e->model].was_judged = true;
    c->models[e->model].verdict = e->reason;
}

static void read_entry(struct checker *c, const struct log_entry *e)
{
    switch (e->kind) {
    case LOG_RULES:
        c->rules = e->rules;
        break;
    case LOG_DEVICE:
    case LOG_GONE:
        on_device(c, e);
        break;
    case LOG_WANTED:
        on_wanted(&c->models[e->model], e);
        break;
    case LOG_UNWANTED:
        on_unwanted(&c->models[e->model]);
        break;
    case LOG_DEMAND:
        on_demand(c, e);
        break;
    case LOG_RESERVE:
        on_reserve(c, e);
        break;
    case LOG_WITHDRAW:
        on_withdraw(c, e);
        break;
    case LOG_LOAD:
        on_load(c, e);
        break;
    case LOG_READY:
        on_ready(c, e);
        break;
    case LOG_FAILED:
        on_failed(c, e);
        break;
    case LOG_DISPLACE:
        on_displace(c, e);
        break;
    case LOG_ENDED:
        on_ended(c, e);
        break;
    case LOG_FREED:
        on_freed(c, e);
        break;
    case LOG_VERDICT:
        on_verdict(c, e);
        break;
    case LOG_PASS:
        on_pass(c);
        break;
    case LOG_CROWDED:
        c->crowded = true;
        break;
    case LOG_END:
        on_end(c);
        break;
    }
}

bool policy_check(const struct log *log, char *ret_text, size_t size)
{
    struct checker c = { .text = ret_text, .size = size };

    for (size_t k = 0; k < log->count && !c.wrong; k++) {
        c.ms = log->entries[k].ms;
        read_entry(&c, &log->entries[k]);
        for (int m = 0; m < LOG_MODELS; m++) {
            check_turn(&c, m);
        }
    }
    return !c.wrong;
}
