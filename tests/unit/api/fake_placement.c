// SPDX-License-Identifier: Apache-2.0
/* The placement of tests: answers come in a later turn, as the real one's do. */
#include "fake_placement.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct placement {
    struct placement_in in;
};

struct fake_placement fake;

static const struct option_row rows[] = {
    { "placement.unload_after", OPTION_DURATION, "0s", 0, 31536000000, NULL, true, false, "None." },
};
const struct option_table placement_options = { rows, ARRAY_SIZE(rows) };
const struct store_schema placement_schema = { "placement", NULL, 0 };

void fake_reset(void)
{
    memset(&fake, 0, sizeof(fake));
    fake.rules = (struct placement_rules){ .preemption_enabled = true,
                                           .auto_recovery_enabled = true,
                                           .resource_threshold = 0.8,
                                           .priority_levels = 10,
                                           .max_queue_size = 50,
                                           .scheduling_interval_s = 30,
                                           .health_check_interval_s = 60 };
    fake.places = true;
}

struct placement *placement_create(const struct placement_in *in)
{
    struct placement *p = xcalloc(1, sizeof(*p));

    p->in = *in;
    return p;
}

int placement_load(struct placement *p, struct error *reterr)
{
    return 0;
}

void placement_reconfigure(struct placement *p, const struct config *config)
{
    fake.reconfigured++;
}

struct placement *placement_destroy(struct placement *p)
{
    free(p);
    return NULL;
}

void placement_keep_alive(struct placement *p, int64_t model_id, int64_t keep_alive_ms)
{
}

void placement_on_start(struct placement *p, int64_t model_id)
{
}

void placement_let_go(struct placement *p, int64_t model_id)
{
}

int64_t placement_expires_wall_ms(const struct placement *p, int64_t model_id)
{
    return 0;
}

const struct placement_rules *placement_rules(const struct placement *p)
{
    return &fake.rules;
}

/* ---- answers that come later ---- */

struct later {
    struct placement *p;
    void (*done)(void *arg, int result, const struct error *e);
    placement_done_fn scheduled;
    void (*entry)(void *arg, const struct placement_entry *entry, int result);
    void *arg;
    size_t limit;
};

static void tell(void *arg)
{
    struct later *l = arg;
    struct error e = { 0 };

    if (fake.result < 0) {
        error_set(&e, fake.result, "%s", fake.error);
    }
    if (l->done) {
        l->done(l->arg, fake.result, &e);
    }
    if (l->scheduled) {
        l->scheduled(l->arg, fake.result, fake.result < 0 ? NULL : &fake.answer, &e);
    }
    for (size_t i = 0; l->entry && i < MIN_OF(fake.entry_count, l->limit); i++) {
        l->entry(l->arg, &fake.entries[i], 0);
    }
    if (l->entry) {
        l->entry(l->arg, NULL, fake.result);
    }
    free(l);
}

static void later(struct placement *p, const struct later *what)
{
    struct later *l = xmemdup(what, sizeof(*what));

    world_post(p->in.world, tell, l);
}

int placement_set_rules(struct placement *p, const struct placement_rules *rules,
                        void (*done)(void *arg, int result, const struct error *e), void *arg,
                        struct error *reterr)
{
    if (rules->resource_threshold < 0.1 || rules->resource_threshold > 1 ||
        rules->priority_levels < 1 || rules->priority_levels > 20) {
        return error_set(reterr, -EINVAL, "out of range");
    }
    fake.rules = *rules;
    later(p, &(struct later){ .done = done, .arg = arg });
    return 0;
}

void placement_schedule(struct placement *p, const struct placement_ask *ask,
                        placement_done_fn done, void *arg)
{
    fake.ask = *ask;
    fake.asked++;
    later(p, &(struct later){ .scheduled = done, .arg = arg });
}

void placement_history(struct placement *p, const struct placement_history_filter *filter,
                       void (*fn)(void *arg, const struct placement_entry *entry, int result),
                       void *arg)
{
    fake.filter = *filter;
    snprintf(fake.filter_model, sizeof(fake.filter_model), "%s",
             filter->model ? filter->model : "");
    later(p, &(struct later){ .entry = fn, .arg = arg, .limit = filter->limit });
}

/* ---- answers at once ---- */

int placement_admit(const struct placement *p, int64_t model_id, struct error *reterr)
{
    return fake.result < 0 ? error_set(reterr, fake.result, "%s", fake.error) : 0;
}

bool placement_next_waiting(struct placement *p, size_t *cursor, struct placement_waiting *ret)
{
    if (*cursor >= fake.waiting_count) {
        return false;
    }
    *ret = fake.waiting[(*cursor)++];
    return true;
}

struct placement_counts placement_counts(const struct placement *p)
{
    return fake.counts;
}

bool placement_room(struct placement *p, int device, struct placement_room *ret)
{
    *ret = (struct placement_room){ .total_bytes = 1000ull << 20,
                                    .placeable_bytes = 800ull << 20,
                                    .reserved_bytes = 100ull << 20,
                                    .free_bytes = 700ull << 20 };
    return device == 0;
}

json_t *placement_why(struct placement *p, int64_t model_id)
{
    return json_pack("{s:s}", "sentence", "because");
}

const char *placement_act_name(enum placement_act a)
{
    static const char *const names[] = { "scheduled", "preempted", "swapped", "recovered",
                                         "failed" };

    return names[a];
}

const char *policy_algorithm_name(enum policy_algorithm a)
{
    static const char *const names[] = { "priority_based", "spread", "first_come" };

    return names[a];
}

int policy_algorithm_from_string(const char *s)
{
    for (int a = 0; a < POLICY_ALGORITHM_MAX_; a++) {
        if (str_eq(s, policy_algorithm_name((enum policy_algorithm)a))) {
            return a;
        }
    }
    return -EINVAL;
}

void placement_on_demand(void *placement, const void *demand)
{
}

void placement_on_model(void *placement, const void *model_change)
{
}

struct arrival {
    struct placement *p;
    char uuid[UUID_SIZE];
};

static void place(void *arg)
{
    const struct place where = { .count = 1, .shares = { { 0, 100ull << 20 } } };
    struct arrival *a = arg;

    if (engines_find(a->p->in.engines, a->uuid)) {
        engines_place(a->p->in.engines, a->uuid, &where);
    }
    free(a);
}

void placement_on_instance(void *placement, const void *instance_change)
{
    const struct instance_change *c = instance_change;
    struct placement *p = placement;
    struct arrival *a;

    if (fake.places && c->to == INSTANCE_WAITING && !c->gone && !c->instance->displaced) {
        a = xcalloc(1, sizeof(*a));
        a->p = p;
        memcpy(a->uuid, c->instance->uuid, sizeof(a->uuid));
        world_post(p->in.world, place, a);
    }
}

void placement_on_device(void *placement, const void *gpu_change)
{
}
