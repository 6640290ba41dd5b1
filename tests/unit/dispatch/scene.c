// SPDX-License-Identifier: Apache-2.0
/* The scene of dispatch's tests. */
#include "scene.h"

struct model models[MODELS];
struct model_config configs[MODELS];
bool model_exists[MODELS];
struct instance instances[INSTANCES];
bool instance_exists[INSTANCES];
int drained[INSTANCES];

const struct model *models_get(const struct models *m, int64_t id)
{
    return id >= 1 && id <= MODELS && model_exists[id - 1] ? &models[id - 1] : NULL;
}

const struct instance *engines_next(const struct engines *e, size_t *cursor)
{
    while (*cursor < INSTANCES) {
        size_t i = (*cursor)++;

        if (instance_exists[i]) {
            return &instances[i];
        }
    }
    return NULL;
}

const struct instance *engines_find(const struct engines *e, const char *uuid)
{
    const struct instance *in;
    size_t cursor = 0;

    while ((in = engines_next(e, &cursor)) && strcmp(in->uuid, uuid) != 0) {
    }
    return in;
}

const struct instance *engines_of_model(const struct engines *e, int64_t model_id)
{
    const struct instance *in, *best = NULL;
    size_t cursor = 0;

    while ((in = engines_next(e, &cursor))) {
        if (in->model_id == model_id &&
            (!best || (in->state == INSTANCE_STARTING && best->state != INSTANCE_STARTING))) {
            best = in;
        }
    }
    return best;
}

void engines_drained(struct engines *e, const char *uuid)
{
    for (int i = 0; i < INSTANCES; i++) {
        drained[i] += instance_exists[i] && strcmp(instances[i].uuid, uuid) == 0;
    }
}

static void on_demand(void *owner, const void *what)
{
    struct scene *s = owner;
    const struct demand *demand = what;

    assert_true(model_exists[demand->model_id - 1]);
    assert_int_equal(models[demand->model_id - 1].wanted, demand->wants_room);
    assert_true(demand->wants_room || configs[demand->model_id - 1].on_demand);
    s->demanded[demand->model_id - 1]++;
    s->demand_waiting = demand->waiting;
}

void open_scene_with(struct scene *s, uint64_t seed, const char *const *env)
{
    static const struct option_table *tables[] = { &dispatch_options, NULL };
    static const char *const usual[] = { "BERTH_GATEWAY_MAX_QUEUE=20", NULL };
    struct error e = { 0 };

    *s = (struct scene){ .w = sim_create(seed), .metrics = metrics_create() };
    assert_int_equal(config_load(NULL, env ? env : usual, tables, &s->config, &e), 0);
    for (int i = 0; i < MODELS; i++) {
        static char ids[MODELS][2] = { "a", "b", "c" };

        configs[i] = (struct model_config){ .id = ids[i], .name = ids[i] };
        models[i] = (struct model){ .id = i + 1, .config = &configs[i], .wanted = true };
        model_exists[i] = true;
    }
    memset(instance_exists, 0, sizeof(instance_exists));
    memset(drained, 0, sizeof(drained));
    s->d = dispatch_create(s->w, s->config, NULL, NULL, s->metrics);
    s->on_demand = (struct listener){ .fn = on_demand, .owner = s };
    notify_add(dispatch_demand_signal(s->d), &s->on_demand);
}

void open_scene(struct scene *s, uint64_t seed)
{
    open_scene_with(s, seed, NULL);
}

void close_scene(struct scene *s)
{
    for (int i = 0; i < ASKERS; i++) {
        timer_stop(&s->askers[i].work);
        if (s->askers[i].ticket) {
            end(&s->askers[i], OUTCOME_NONE);
        }
    }
    dispatch_destroy(s->d);
    metrics_destroy(s->metrics);
    config_free(s->config);
    world_destroy(s->w);
}

static void on_grant(void *owner, const struct instance *in)
{
    struct asker *a = owner;
    unsigned *last = &a->scene->last_granted[a->model_id - 1][a->rank];

    assert_int_equal(in->model_id, a->model_id);
    assert_int_equal(in->state, INSTANCE_READY);
    assert_string_equal(a->granted, "");
    if (!a->again) {
        assert_true(a->order > *last);
        *last = a->order;
    }
    memcpy(a->granted, in->uuid, UUID_SIZE);
    a->granted_ms = world_now_ms(a->scene->w);
    if (a->on_granted) {
        a->on_granted(a);
    }
}

static void on_refuse(void *owner, const struct error *e)
{
    struct asker *a = owner;

    a->refused = e->code;
    a->ticket = NULL;
    assert_true(strlen(e->text) > 10);
    memcpy(a->reason, e->text, sizeof(a->reason));
}

/* May end the asker in on_granted at once. */
int ask_what(struct scene *s, struct asker *a, struct dispatch_ask what)
{
    const struct instance *in = NULL;
    struct error e = { 0 };
    int r;

    what.on_grant = on_grant;
    what.on_refuse = on_refuse;
    what.owner = a;
    a->order = ++s->asked;
    r = dispatch_acquire(s->d, &what, &a->ticket, &in, &e);
    if (r == 1) {
        on_grant(a, in);
    } else if (r < 0) {
        a->ticket = NULL;
        on_refuse(a, &e);
    }
    return r;
}

int ask(struct scene *s, struct asker *a, int64_t model_id)
{
    *a = (struct asker){ .scene = s,
                         .model_id = model_id,
                         .rank = a->rank,
                         .on_granted = a->on_granted,
                         .asked_ms = world_now_ms(s->w) };
    return ask_what(s, a,
                    (struct dispatch_ask){ .model_id = model_id, .rank = a->rank, .tokens = 100 });
}

int ask_again(struct scene *s, struct asker *a, bool unreachable)
{
    char uuid[UUID_SIZE];
    struct dispatch_ask what = { .model_id = a->model_id,
                                 .rank = a->rank,
                                 .tokens = 100,
                                 .exclude = uuid,
                                 .exclude_ms = 1000,
                                 .unreachable = unreachable };

    memcpy(uuid, a->granted, UUID_SIZE);
    end(a, OUTCOME_FAILED);
    a->again = true;
    a->held_until_ms = world_now_ms(s->w) + what.exclude_ms;
    return ask_what(s, a, what);
}

void end(struct asker *a, enum outcome outcome)
{
    a->granted[0] = '\0';
    dispatch_release(TAKE_PTR(a->ticket), outcome);
}

void ask_and_end(struct scene *s, int64_t model_id, enum outcome outcome)
{
    struct asker *a = &s->askers[ASKERS - 1];

    assert_int_equal(ask(s, a, model_id), 1);
    end(a, outcome);
}

void tell(struct scene *s, int i, enum instance_state to, bool gone)
{
    struct instance_change c = { &instances[i], instances[i].state, to, gone };

    instances[i].state = to;
    instances[i].state_since_ms = world_now_ms(s->w);
    dispatch_on_instance(s->d, &c);
    if (gone) {
        instance_exists[i] = false;
    }
}

void make_instance(struct scene *s, int i, int64_t model_id, unsigned slots)
{
    static unsigned serial;

    instances[i] = (struct instance){ .model_id = model_id, .slots = slots };
    snprintf(instances[i].uuid, UUID_SIZE, "instance-%d-%u", i, ++serial);
    instance_exists[i] = true;
    drained[i] = 0;
    tell(s, i, INSTANCE_WAITING, false);
    tell(s, i, INSTANCE_STARTING, false);
}

void bring_up(struct scene *s, int i, int64_t model_id)
{
    make_instance(s, i, model_id, SLOTS);
    tell(s, i, INSTANCE_READY, false);
}

void tell_wanted(struct scene *s, int64_t model_id, bool wanted, enum model_wish by)
{
    struct model_change c = { .kind = MODEL_WANTED_CHANGED,
                              .id = model_id,
                              .by = by,
                              .public_id = configs[model_id - 1].id,
                              .model = &models[model_id - 1] };

    models[model_id - 1].wanted = wanted;
    dispatch_on_model(s->d, &c);
}
