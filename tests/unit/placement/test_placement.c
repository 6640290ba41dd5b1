// SPDX-License-Identifier: Apache-2.0
/*
 * Who is loaded and for how long, in a simulated world over a catalogue and a dispatch that are a
 * few lines of this file. What a user would notice: a model that was asked for comes up, one that
 * is in use is never taken away, and one that nobody asks for goes when its time is over.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "placement/placement.h"

enum { MODELS = 4, LATE_MS = 1000 };

/* The rooms around, as far as placement looks at them. A wish is committed after a while. */

struct fake {
    struct model model;
    struct model_config config;
    bool exists;
    unsigned in_flight, waiting;
    uint64_t last_used_ms;
    int unloads; /* by idleness */
};

struct wish {
    struct timer timer;
    int64_t id;
    bool wanted, failing;
    enum model_wish by;
    models_done_fn done;
    void *arg;
};

static struct fake fakes[MODELS];
static struct world *world;
static struct placement *placement;
static bool store_fails;

const struct model *models_get(const struct models *m, int64_t id)
{
    return id >= 1 && id <= MODELS && fakes[id - 1].exists ? &fakes[id - 1].model : NULL;
}

struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t id)
{
    return (struct dispatch_load){ fakes[id - 1].in_flight, fakes[id - 1].waiting, 0 };
}

uint64_t dispatch_last_used_ms(const struct dispatch *d, int64_t id)
{
    return fakes[id - 1].last_used_ms;
}

static void tell_instance(int64_t id, enum instance_state from)
{
    struct instance in = { .model_id = id, .state = INSTANCE_READY };
    struct instance_change c = { .instance = &in, .from = from, .to = INSTANCE_READY };

    placement_on_instance(placement, &c);
}

static void on_committed(void *arg)
{
    struct wish *w = arg;
    struct fake *f = &fakes[w->id - 1];
    struct error e = { 0 };
    int r = 0;

    if (w->failing) {
        r = error_set(&e, -EROFS, "the disk is full");
    } else if (f->model.wanted != w->wanted) {
        struct model_change c = { MODEL_WANTED_CHANGED, w->id, w->by, "m", &f->model };

        f->model.wanted = w->wanted;
        f->unloads += !w->wanted && w->by == WISH_IDLE;
        placement_on_model(placement, &c);
        if (w->wanted) {
            tell_instance(w->id, INSTANCE_STARTING);
        } else if (f->in_flight + f->waiting > 0) {
            placement_on_demand(placement, &(struct demand){ w->id, f->waiting });
        }
    }
    w->done(w->arg, r, w->id, &e);
    free(w);
}

void models_set_wanted(struct models *m, int64_t id, bool wanted, enum model_wish by,
                       models_done_fn done, void *arg)
{
    struct wish *w = xcalloc(1, sizeof(*w));

    *w = (struct wish){ .id = id, .wanted = wanted, .by = by, .done = done, .arg = arg };
    w->failing = store_fails;
    timer_init(&w->timer, world, "wish", on_committed, w);
    timer_start(&w->timer, world_random_below(world, 4));
}

/* A scene */

static struct config *config;

static void open_scene(uint64_t seed)
{
    static const struct option_table *tables[] = { &placement_options, NULL };
    static const char *const env[] = { "BERTH_PLACEMENT_UNLOAD_AFTER=60s", NULL };
    struct error e = { 0 };

    log_set_fd(-1);
    store_fails = false;
    world = sim_create(seed);
    assert_int_equal(config_load(NULL, env, tables, &config, &e), 0);
    for (int i = 0; i < MODELS; i++) {
        static char ids[MODELS][2] = { "a", "b", "c", "d" };

        fakes[i] = (struct fake){ .exists = true };
        fakes[i].config = (struct model_config){ .id = ids[i],
                                                 .on_demand = true,
                                                 .keep_alive_ms = KEEP_ALIVE_DEFAULT };
        fakes[i].model = (struct model){ .id = i + 1, .config = &fakes[i].config };
    }
    placement = placement_create(&(struct placement_in){ .world = world, .config = config });
}

static void close_scene(void)
{
    sim_run_for(world, 100);
    placement = placement_destroy(placement);
    config = config_free(config);
    world = world_destroy(world);
}

static struct fake *model(int64_t id)
{
    return &fakes[id - 1];
}

static void demand(int64_t id)
{
    model(id)->waiting = 1;
    placement_on_demand(placement, &(struct demand){ id, 1 });
}

static void use(int64_t id) /* a request came and went */
{
    model(id)->waiting = 0;
    model(id)->last_used_ms = MAX_OF(world_now_ms(world), 1);
}

static void load(int64_t id)
{
    demand(id);
    sim_run_for(world, 10);
    assert_true(model(id)->model.wanted);
    use(id);
}

static void test_demand_loads_and_idleness_unloads(void **state)
{
    open_scene(1);
    load(1);
    sim_run_for(world, 59 * 1000);
    assert_true(model(1)->model.wanted);
    use(1);
    sim_run_for(world, 59 * 1000);
    assert_true(model(1)->model.wanted); /* its time began anew */
    tell_instance(1, INSTANCE_READY);    /* it tells another number of slots: that is no request */
    sim_run_for(world, 2000);
    assert_false(model(1)->model.wanted);
    assert_int_equal(model(1)->unloads, 1);
    close_scene();
}

/* What is loaded when berth goes down is loaded again by the next one. */
static void test_drain_keeps_what_is_wanted(void **state)
{
    open_scene(1);
    load(1);
    placement_drain(placement);
    sim_run_for(world, 120 * 1000);
    assert_true(model(1)->model.wanted);
    assert_int_equal(model(1)->unloads, 0);
    close_scene();
}

static void test_own_keep_alive(void **state)
{
    open_scene(1);
    model(1)->config.keep_alive_ms = 5000;
    model(2)->config.keep_alive_ms = KEEP_ALIVE_FOREVER;
    model(3)->config.keep_alive_ms = 0;
    model(4)->config.keep_alive_ms = 1000;
    model(4)->config.pinned = true;
    for (int id = 1; id <= MODELS; id++) {
        load(id);
    }
    sim_run_for(world, 2000);
    assert_false(model(3)->model.wanted); /* at once, when nothing runs */
    assert_true(model(1)->model.wanted);
    sim_run_for(world, 5000);
    assert_false(model(1)->model.wanted);
    sim_run_for(world, 3600 * 1000);
    assert_true(model(2)->model.wanted);
    assert_true(model(4)->model.wanted);
    assert_int_equal(placement_expires_wall_ms(placement, 2), 0);
    close_scene();
}

static void test_request_says_keep_alive(void **state)
{
    int64_t expires;

    open_scene(1);
    load(1);
    placement_keep_alive(placement, 1, KEEP_ALIVE_FOREVER);
    sim_run_for(world, 600 * 1000);
    assert_true(model(1)->model.wanted);
    placement_keep_alive(placement, 1, 2000);
    use(1);
    expires = placement_expires_wall_ms(placement, 1);
    assert_int_equal(expires, world_wall_ms(world) + 2000);
    sim_run_for(world, 3000);
    assert_false(model(1)->model.wanted);
    assert_int_equal(placement_expires_wall_ms(placement, 1), 0);
    load(1); /* what was said is over with the unload: the configured minute rules again */
    sim_run_for(world, 50 * 1000);
    assert_true(model(1)->model.wanted);
    close_scene();
}

static void test_let_go(void **state)
{
    open_scene(1);
    model(2)->config.pinned = true;
    load(1);
    load(2);
    model(1)->in_flight = 1;
    placement_let_go(placement, 1);
    placement_let_go(placement, 2);
    placement_let_go(placement, 3); /* not loaded: nothing to be kept in mind for later */
    sim_run_for(world, 10 * 1000);
    assert_true(model(1)->model.wanted); /* something runs */
    model(1)->in_flight = 0;
    use(1);
    load(3);
    sim_run_for(world, 3000);
    assert_false(model(1)->model.wanted);
    load(1);
    sim_run_for(world, 50 * 1000);
    assert_true(model(1)->model.wanted); /* it was said of the stay before */
    assert_true(model(2)->model.wanted);
    assert_true(model(3)->model.wanted);
    close_scene();
}

static void test_busy_is_not_idle(void **state)
{
    open_scene(1);
    model(1)->config.keep_alive_ms = 0;
    load(1);
    model(1)->in_flight = 1;
    sim_run_for(world, 3600 * 1000);
    assert_true(model(1)->model.wanted);
    model(1)->in_flight = 0;
    use(1);
    sim_run_for(world, 1100);
    assert_false(model(1)->model.wanted);
    close_scene();
}

/* A wish that could not be stored is wished again while somebody waits. */
static void test_full_disk(void **state)
{
    open_scene(1);
    store_fails = true;
    demand(1);
    sim_run_for(world, 5000);
    assert_false(model(1)->model.wanted);
    store_fails = false;
    sim_run_for(world, 2000);
    assert_true(model(1)->model.wanted);
    close_scene();
}

static void test_deleted_while_loading(void **state)
{
    struct model_change gone;

    open_scene(1);
    demand(1);
    gone = (struct model_change){ MODEL_REMOVED, 1, WISH_USER, "a", &model(1)->model };
    model(1)->exists = false;
    placement_on_model(placement, &gone);
    sim_run_for(world, 3600 * 1000);
    placement_on_demand(placement, &(struct demand){ 1, 1 }); /* said a turn too late */
    sim_run_for(world, 10);
    close_scene();
}

/* Random requests to models with random keep_alive: one that is in use, or was within its time, is
 * not taken away; one whose time is over goes within a second. */
static void check_history(uint64_t seed)
{
    int64_t keep[MODELS];

    open_scene(seed);
    for (int i = 0; i < MODELS; i++) {
        keep[i] = (int64_t)world_random_below(world, 5000);
        fakes[i].config.keep_alive_ms = keep[i];
    }
    for (int step = 0; step < 300; step++) {
        int64_t id = 1 + (int64_t)world_random_below(world, MODELS);
        struct fake *f = model(id);

        if (f->in_flight > 0 && world_random_below(world, 2)) {
            f->in_flight--;
            use(id);
        } else if (!f->model.wanted) {
            demand(id);
        } else if (world_random_below(world, 4) == 0) {
            f->in_flight++;
            f->waiting = 0;
        }
        sim_run_for(world, world_random_below(world, 800));
        for (int i = 0; i < MODELS; i++) {
            struct fake *g = &fakes[i];
            uint64_t idle = world_now_ms(world) - MIN_OF(g->last_used_ms, world_now_ms(world));

            if (g->in_flight > 0 && !g->model.wanted) {
                sim_run_for(world, 10); /* unloaded in the moment at which the request came: back */
                assert_true(g->model.wanted);
            }
            if (g->unloads && g->last_used_ms && !g->model.wanted && !g->waiting) {
                assert_true(idle + 4 >= (uint64_t)keep[i]);
            }
        }
    }
    for (int i = 0; i < MODELS; i++) {
        fakes[i].in_flight = fakes[i].waiting = 0;
        fakes[i].last_used_ms = world_now_ms(world);
    }
    sim_run_for(world, 5000 + LATE_MS + 10);
    for (int i = 0; i < MODELS; i++) {
        assert_false(fakes[i].model.wanted);
    }
    close_scene();
}

static void test_histories(void **state)
{
    uint64_t seed = test_seed("placement histories");
    int n = getenv("SEED") ? 1 : 200;

    for (int i = 0; i < n; i++) {
        check_history(seed + (uint64_t)i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demand_loads_and_idleness_unloads),
        cmocka_unit_test(test_drain_keeps_what_is_wanted),
        cmocka_unit_test(test_own_keep_alive),
        cmocka_unit_test(test_request_says_keep_alive),
        cmocka_unit_test(test_let_go),
        cmocka_unit_test(test_busy_is_not_idle),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_deleted_while_loading),
        cmocka_unit_test(test_histories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
