// SPDX-License-Identifier: Apache-2.0
/*
 * A berth as daemon.c builds it, without doors: it can be killed at any moment (also at the n-th
 * write that it hands to its store, which is then lost), and another one finds what it left.
 */
#include "placement_scene.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/log.h"

static const char *const settings[] = {
    "BERTH_ENGINES_LLAMA_SERVER=/bin/true",
    "BERTH_ENGINES_START_TIMEOUT=60s",
    "BERTH_ENGINES_STOP_GRACE=2s",
    "BERTH_ENGINES_DRAIN_TIMEOUT=40s",
    "BERTH_ENGINES_STABLE_AFTER=5s",
    "BERTH_GATEWAY_QUEUE_TIMEOUT=60s",
    "BERTH_GATEWAY_MAX_QUEUE=50",
    "BERTH_PLACEMENT_MIN_RESIDENCY=10s",
    "BERTH_PLACEMENT_RETURN_AFTER=5s",
    "BERTH_PLACEMENT_SWAP_WAIT=15s",
    "BERTH_PLACEMENT_VERIFY_TIMEOUT=30s",
    "BERTH_PLACEMENT_GRACE=20s",
    "BERTH_PLACEMENT_MAX_PREEMPTIONS_PER_HOUR=2",
    NULL,
};

/* ---- the store, as it is cut off ---- */

struct held_write {
    struct list node;
    struct store_op *op;
    int (*run)(struct store_op *op, struct sql *db, struct error *reterr);
    void (*done)(struct store_op *op);
};

static struct scene *scene_of_writes;

static struct held_write *find_write(const struct store_op *op)
{
    struct held_write *w;

    list_for_each (w, &scene_of_writes->writes, node) {
        if (w->op == op) {
            return w;
        }
    }
    fail_msg("a write that nobody submitted");
    return NULL;
}

static int run_unless_dead(struct store_op *op, struct sql *db, struct error *reterr)
{
    if (scene_of_writes->dropping) {
        return error_set(reterr, -ECANCELED, "berth was killed");
    }
    return find_write(op)->run(op, db, reterr);
}

static void on_written(struct store_op *op)
{
    struct held_write *w = find_write(op);

    op->run = w->run;
    op->done = w->done;
    list_remove(&w->node);
    free(w);
    op->done(op);
}

/* What the linker puts in place of the one that rooms call (--wrap). */
void __real_store_write(struct store *s, struct store_op *op);
void __wrap_store_write(struct store *s, struct store_op *op);

void __wrap_store_write(struct store *s, struct store_op *op)
{
    struct scene *scene = scene_of_writes;
    struct held_write *w = xcalloc(1, sizeof(*w));

    *w = (struct held_write){ .op = op, .run = op->run, .done = op->done };
    op->run = run_unless_dead;
    op->done = on_written;
    list_append(&scene->writes, &w->node);
    scene->write_count++;
    __real_store_write(s, op);
}

/* ---- what is heard ---- */

static void listen_to(struct scene *s, struct notify *to, void (*fn)(void *, const void *),
                      void *owner)
{
    struct listener *l = &s->listeners[s->listener_count++];

    assert_true(s->listener_count <= ARRAY_SIZE(s->listeners));
    *l = (struct listener){ .fn = fn, .owner = owner };
    notify_add(to, l);
}

struct subject *subject_find(struct scene *s, const char *name)
{
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (str_eq(s->subjects[i].name, name)) {
            return &s->subjects[i];
        }
    }
    fail_msg("a model that nobody made: %s", name);
    return NULL;
}

struct subject *subject_of(struct scene *s, int64_t id)
{
    for (size_t i = 0; i < SUBJECTS; i++) {
        if (s->subjects[i].id == id) {
            return &s->subjects[i];
        }
    }
    return NULL;
}

static void on_model(void *owner, const void *what)
{
    const struct model_change *c = what;
    struct scene *s = owner;
    struct subject *of = subject_find(s, c->public_id);

    of->id = c->kind == MODEL_REMOVED ? 0 : c->id;
    if (c->kind == MODEL_ADDED || c->kind == MODEL_UPDATED) {
        judge_note_model(s, c->model, c->kind == MODEL_ADDED);
    }
}

/* ---- a berth ---- */

static void wire(struct scene *s)
{
    listen_to(s, models_signal(s->models), on_model, s);
    listen_to(s, models_signal(s->models), engines_on_model, s->engines);
    listen_to(s, models_signal(s->models), dispatch_on_model, s->dispatch);
    listen_to(s, models_signal(s->models), placement_on_model, s->placement);
    listen_to(s, engines_signal(s->engines), dispatch_on_instance, s->dispatch);
    listen_to(s, engines_signal(s->engines), placement_on_instance, s->placement);
    listen_to(s, dispatch_demand_signal(s->dispatch), placement_on_demand, s->placement);
    listen_to(s, gpu_signal(s->gpu), placement_on_device, s->placement);
}

static bool is_of_an_engine(void *arg, int64_t pid)
{
    const struct scene *s = arg;
    const struct instance *in;
    size_t cursor = 0;

    while ((in = engines_next(s->engines, &cursor))) {
        if (in->process.pid == pid) {
            return true;
        }
    }
    return false;
}

static void build(struct scene *s)
{
    struct error e = { 0 };

    s->metrics = metrics_create();
    s->gpu = sim_gpu_open(s->machine);
    s->events = events_create(s->world, s->store);
    s->models = models_create(s->world, s->store, s->events);
    assert_int_equal(models_load(s->models, &e), 0);
    s->engines = engines_create(&(struct engines_options_in){
        .world = s->world,
        .config = s->config,
        .store = s->store,
        .events = s->events,
        .models = s->models,
        .metrics = s->metrics,
        .gpu = s->gpu,
        .data_id = "data",
        .self_path = "/sim/berth",
        .proc_path = "proc",
    });
    s->machine->arg = s;
    s->machine->is_ours = is_of_an_engine;
    s->dispatch = dispatch_create(s->world, s->config, s->models, s->engines, s->metrics);
    s->placement = placement_create(&(struct placement_in){
        .world = s->world,
        .config = s->config,
        .store = s->store,
        .events = s->events,
        .models = s->models,
        .engines = s->engines,
        .dispatch = s->dispatch,
        .gpu = s->gpu,
        .metrics = s->metrics,
    });
    wire(s);
    watch_begin(s);
    if (placement_load(s->placement, &e) < 0 || engines_recover(s->engines, &e) < 0) {
        fail_msg("berth does not begin: %s", e.text);
    }
    s->down = false;
}

static void tear_down(struct scene *s)
{
    s->machine->is_ours = NULL;
    watch_end(s);
    clients_drop(s);
    for (unsigned i = 0; i < s->listener_count; i++) {
        notify_remove(&s->listeners[i]);
    }
    s->listener_count = 0;
    s->placement = placement_destroy(s->placement);
    s->dispatch = dispatch_destroy(s->dispatch);
    s->engines = engines_destroy(s->engines);
    s->models = models_destroy(s->models);
    s->events = events_destroy(s->events);
    s->gpu = gpu_destroy(s->gpu);
    s->metrics = metrics_destroy(s->metrics);
}

static void enter_dir(struct scene *s)
{
    int fd;

    strcpy(s->dir, "/tmp/berth-placement-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    assert_int_equal(chdir(s->dir), 0);
    fd = open("model.gguf", O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static void roll_kindly(struct scene *s, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 1000 };
}

struct scene *house_create(uint64_t seed)
{
    struct scene *s = xcalloc(1, sizeof(*s));

    if (!getenv("VERBOSE")) {
        log_set_fd(-1);
    }
    scene_of_writes = s;
    enter_dir(s);
    list_init(&s->writes);
    list_init(&s->engines_alive);
    list_init(&s->clients);
    list_init(&s->asks);
    list_init(&s->dead_asks);
    list_init(&s->facts);
    list_init(&s->deaths);
    list_init(&s->tracks);
    s->world = sim_create(seed);
    s->machine = sim_machine_create(s->world);
    s->roll = roll_kindly;
    s->began_ms = scene_now(s);
    for (size_t i = 0; i < SUBJECTS; i++) {
        snprintf(s->subjects[i].name, sizeof(s->subjects[i].name), "m%zu", i);
    }
    engines_install(s);
    return s;
}

void house_open(struct scene *s)
{
    static const struct option_table *const tables[] = { &engines_options, &dispatch_options,
                                                         &placement_options, &gpu_options, NULL };
    static const struct store_schema *const schemas[] = { &events_schema, &models_schema,
                                                          &engines_schema, &placement_schema,
                                                          NULL };
    struct store_options store = { .path = ":memory:", .schemas = schemas };
    struct error e = { 0 };

    if (config_load(NULL, settings, tables, &s->config, &e) < 0) {
        fail_msg("configuration: %s", e.text);
    }
    if (store_open(s->world, &store, &s->store, &e) < 0) {
        fail_msg("store: %s", e.text);
    }
    build(s);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

void house_close(struct scene *s)
{
    struct sim_engine *engine, *tmp;

    if (!s->down) {
        tear_down(s);
    }
    list_for_each_safe (engine, tmp, &s->engines_alive, node) {
        engine_kill(engine);
    }
    s->store = store_close(s->store);
    s->config = config_free(s->config);
    s->machine = sim_machine_destroy(s->machine);
    s->world = world_destroy(s->world);
    while (!list_empty(&s->dead_asks)) {
        struct asked *a = list_first(&s->dead_asks, struct asked, node);

        list_remove(&a->node);
        free(a);
    }
    judge_finish(s);
    assert_int_equal(chdir("/"), 0);
    nftw(s->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(s);
}

/* ---- its end, and the next one ---- */

void house_kill(struct scene *s, bool lose)
{
    s->down = true;
    s->kill_at = 0;
    s->dropping = lose;
    while (!list_empty(&s->asks)) {
        struct asked *a = list_first(&s->asks, struct asked, node);

        a->dead = true;
        list_remove(&a->node);
        list_append(&s->dead_asks, &a->node);
    }
    tear_down(s);
    sim_run_for(s->world, 0);
    judge_note_death(s);
    assert_true(list_empty(&s->writes));
    s->dropping = false;
}

void house_revive(struct scene *s)
{
    build(s);
    for (size_t i = 0; i < SUBJECTS; i++) {
        const struct model *model = models_find(s->models, span_of(s->subjects[i].name));

        if (model) {
            judge_note_model(s, model, model->id != s->subjects[i].id);
        }
        s->subjects[i].id = model ? model->id : 0;
    }
}

static void on_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void house_restart(struct scene *s)
{
    bool stopped = false;

    clients_drop(s);
    engines_stop_all(s->engines, on_stopped, &stopped);
    if (!sim_run_until(s->world, is_true, &stopped, 120 * 1000)) {
        complain(s, "berth does not come to its end");
    }
    assert_true(list_empty(&s->engines_alive));
    house_kill(s, false);
    house_revive(s);
}

static bool is_due_to_die(void *arg)
{
    const struct scene *s = arg;

    return s->kill_at && s->write_count >= s->kill_at;
}

bool house_run(struct scene *s, uint64_t ms)
{
    const uint64_t until = scene_now(s) + ms;

    if (s->kill_at && sim_run_until(s->world, is_due_to_die, s, ms)) {
        house_kill(s, !s->kill_keeps);
        return true;
    }
    sim_run_for(s->world, until - scene_now(s));
    return false;
}

/* ---- the catalogue ---- */

static void on_done(void *arg, int result, int64_t id, const struct error *e)
{
    struct scene *s = arg;

    s->last_result = result;
    s->last_id = id;
}

static bool is_done(void *arg)
{
    return ((struct scene *)arg)->last_result <= 0;
}

static void await_done(struct scene *s)
{
    assert_true(sim_run_until(s->world, is_done, s, 10000));
    assert_int_equal(s->last_result, 0);
}

static struct model_config *make_config(const struct subject *of, const char *members)
{
    struct validation v = validation_init();
    struct model_config *config;
    json_t *json, *more;

    json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:I}, s:{s:i}, s:{s:f, s:f, s:i}}", "id",
                     of->name, "name", of->name, "framework", "llama_cpp", "model_path",
                     "model.gguf", "priority", 5, "resource_requirements", "gpu_memory",
                     (json_int_t)(of->declared_bytes / MIB), "parameters", "parallel", 2,
                     "retry_policy", "initial_delay", 1.0, "max_delay", 8.0, "max_attempts", 4);
    if (members) {
        _cleanup_(freep) char *text = xasprintf("{%s}", members);

        more = json_loads(text, 0, NULL);
        assert_non_null(more);
        json_object_update(json, more);
        json_decref(more);
    }
    config = model_config_parse(json, &v);
    assert_non_null(config);
    json_decref(json);
    validation_finish(&v);
    return config;
}

void subject_add(struct scene *s, struct subject *of, const char *members)
{
    s->last_result = 1;
    models_add(s->models, make_config(of, members), MODEL_FROM_API, on_done, s);
    await_done(s);
    of->id = s->last_id;
}

void subject_update(struct scene *s, struct subject *of, const char *members)
{
    s->last_result = 1;
    models_update(s->models, of->id, make_config(of, members), on_done, s);
    await_done(s);
}

void subject_want(struct scene *s, struct subject *of, bool wanted)
{
    models_set_wanted(s->models, of->id, wanted, WISH_USER, NULL, NULL);
}

void subject_remove(struct scene *s, struct subject *of)
{
    models_remove(s->models, of->id, NULL, NULL);
}

const struct model *subject_model(const struct scene *s, const struct subject *of)
{
    return of->id ? models_get(s->models, of->id) : NULL;
}

bool subject_wanted(const struct scene *s, const struct subject *of)
{
    const struct model *model = subject_model(s, of);

    return model && model->wanted;
}

/* ---- looks ---- */

size_t count_instances(const struct scene *s, const struct subject *of, enum instance_state state)
{
    const struct instance *in;
    size_t cursor = 0, n = 0;

    while ((in = engines_next(s->engines, &cursor))) {
        n += in->model_id == of->id && (state == INSTANCE_STATE_MAX_ || in->state == state);
    }
    return n;
}

struct wait {
    struct scene *scene;
    bool (*pred)(struct scene *s, void *arg);
    void *arg;
};

static bool has_come(void *arg)
{
    struct wait *w = arg;

    return w->pred(w->scene, w->arg);
}

bool await(struct scene *s, bool (*pred)(struct scene *s, void *arg), void *arg, uint64_t limit_ms)
{
    struct wait w = { s, pred, arg };

    return sim_run_until(s->world, has_come, &w, limit_ms);
}

struct state_wait {
    const struct subject *of;
    enum instance_state state;
    size_t count;
};

static bool are_so(struct scene *s, void *arg)
{
    const struct state_wait *w = arg;

    return count_instances(s, w->of, w->state) == w->count;
}

void await_state(struct scene *s, const struct subject *of, enum instance_state state, size_t count,
                 uint64_t limit_ms)
{
    struct state_wait w = { of, state, count };

    if (!await(s, are_so, &w, limit_ms)) {
        complain(s, "%s has not %zu instances that are %s", of->name, count,
                 state == INSTANCE_STATE_MAX_ ? "whatever" : instance_state_name(state));
    }
}

/* ---- a failure's message ---- */

static double gib(uint64_t bytes)
{
    return (double)bytes / (double)GIB;
}

static void dump_devices(struct scene *s)
{
    for (unsigned i = 0; i < s->machine->count; i++) {
        const struct sim_device *d = &s->machine->devices[i];
        struct placement_room room = { 0 };
        const struct sim_holding *h;

        print_error("device %u%s: %.2f of %.2f GiB used:", i, d->present ? "" : " (away)",
                    gib(sim_device_used(d)), gib(d->facts.memory_total_bytes));
        list_for_each (h, &d->holdings, node) {
            print_error(" %s%lld %.2f",
                        h->pid == 0                 ? "lingering "
                        : h->pid <= SIM_DEVICES_MAX ? "foreign "
                                                    : "",
                        (long long)h->pid, gib(h->bytes));
        }
        if (s->placement && placement_room(s->placement, (int)i, &room)) {
            print_error("\n    berth: placeable %.2f, reserved %.2f, held %.2f, others %.2f, free "
                        "%.2f",
                        gib(room.placeable_bytes), gib(room.reserved_bytes), gib(room.held_bytes),
                        gib(room.other_bytes), gib(room.free_bytes));
        }
        print_error("\n");
    }
}

static void dump_instance(struct scene *s, const struct instance *in)
{
    struct subject *of = subject_of(s, in->model_id);
    const struct model *model = models_get(s->models, in->model_id);
    struct dispatch_load load = dispatch_instance_load(s->dispatch, in->uuid);

    print_error("%s/%.8s %s%s since %llu ms, priority %d%s%s, need %.2f GiB (%s%s), in flight %u",
                of ? of->name : "?", in->uuid, instance_state_name(in->state),
                in->displaced ? " (displaced)" : "",
                (unsigned long long)(scene_now(s) - in->state_since_ms),
                model ? model->config->priority : 0,
                model && model->config->pinned ? ", pinned" : "",
                model && model->wanted ? "" : ", not wanted",
                gib(in->need.split_bytes + in->need.fixed_bytes), need_source_name(in->need.source),
                in->need_known ? "" : ", not known", load.in_flight);
    for (unsigned i = 0; i < in->place.count; i++) {
        print_error(", on %d: %.2f", in->place.shares[i].device, gib(in->place.shares[i].bytes));
    }
    print_error("%s%s\n", in->last_error ? ": " : "", in->last_error ? in->last_error : "");
}

static void dump_waiting(struct scene *s)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (placement_next_waiting(s->placement, &cursor, &w)) {
        struct subject *of = subject_of(s, w.model_id);

        print_error("queue: %s/%.8s%s%s %s: %s\n", of ? of->name : "?", w.uuid,
                    w.displaced ? " displaced" : "", w.reserved ? " reserved" : "", w.reason,
                    w.sentence);
    }
}

void house_dump(struct scene *s)
{
    const struct instance *in;
    size_t cursor = 0;

    print_error("at %.3f s:\n", (double)(scene_now(s) - s->began_ms) / 1000);
    dump_devices(s);
    if (s->down) {
        return;
    }
    while ((in = engines_next(s->engines, &cursor))) {
        dump_instance(s, in);
    }
    dump_waiting(s);
    for (size_t i = 0; i < SUBJECTS; i++) {
        const struct model *model = subject_model(s, &s->subjects[i]);
        struct dispatch_load load = { 0 };

        if (model) {
            load = dispatch_model_load(s->dispatch, model->id);
            print_error("%s: %s, %d replicas, %u in flight, %u wait\n", s->subjects[i].name,
                        model->wanted ? "wanted" : "not wanted", model->config->replicas,
                        load.in_flight, load.waiting);
        }
    }
}

void complain(struct scene *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprint_error(fmt, ap);
    va_end(ap);
    print_error("\n");
    house_dump(s);
    fail();
    abort(); /* fail does not return, and does not say so */
}
