// SPDX-License-Identifier: Apache-2.0
/* A berth of store, events, models and tasks: built on a disk, killed, built again. */
#include "tasks_scene.h"

#include <stdarg.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

static const char *const settings[] = {
    "BERTH_QUEUE_TASK_TIMEOUT=20s",
    "BERTH_QUEUE_RETRY_DELAY=1s",
    "BERTH_QUEUE_RETRY_DELAY_MAX=30s",
    "BERTH_QUEUE_MAX_RETRIES=2",
    "BERTH_QUEUE_MAX_QUEUE_SIZE=200",
    "BERTH_WORKER_DEFAULT_WORKERS=2",
    NULL, /* queue.keep, in some histories */
    NULL,
};

enum {
    KEEP_AT = ARRAY_SIZE(settings) - 2,
    LONG_KEEP_MS = 30 * 24 * 3600 * 1000LL,
    SHORT_KEEP_MS = 3600 * 1000
};

static const char *const piece_migrations[] = {
    "CREATE TABLE sim_piece(piece INTEGER PRIMARY KEY, lines INTEGER NOT NULL)",
};
static const struct store_schema pieces_schema = { "sim_pieces", piece_migrations, 1 };

uint64_t scene_now(struct scene *s)
{
    return world_now_ms(s->world);
}

const char *remote_name(unsigned lane)
{
    static const char *const names[REMOTES] = { "far", "farther" };

    return names[lane - MODELS];
}

unsigned lane_of(const struct scene *s, int64_t model_id, const char *model)
{
    for (unsigned i = 0; i < MODELS; i++) {
        if (model_id != 0 && s->model_ids[i] == model_id) {
            return i;
        }
    }
    for (unsigned i = MODELS; i < LANES; i++) {
        if (model_id == 0 && str_eq_opt(model, remote_name(i))) {
            return i;
        }
    }
    fail_msg("a lane that nobody made: %lld %s", (long long)model_id, model);
    return 0;
}

void complain(struct scene *s, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vprint_error(fmt, ap);
    va_end(ap);
    print_error("\nin life %u, at %.3f s\n", s->life, (double)scene_now(s) / 1000);
    fail();
    abort(); /* fail does not return, and does not say so */
}

/* ---- the catalogue ---- */

static struct model_config *make_config(const struct scene *s, unsigned i, bool online)
{
    struct validation v = validation_init();
    char name[8];
    struct model_config *config;
    json_t *json;

    snprintf(name, sizeof(name), "m%u", i);
    json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}, s:s, s:i}", "id", name, "name", name,
                     "framework", "llama_cpp", "model_path", "/m.gguf", "priority", 5,
                     "resource_requirements", "gpu_memory", 1, "task_status",
                     online ? "online" : "offline", "max_workers", (int)s->max_workers[i]);
    config = model_config_parse(json, &v);
    assert_non_null(config);
    json_decref(json);
    validation_finish(&v);
    return config;
}

void house_set_online(struct scene *s, unsigned model, bool online)
{
    models_update(s->models, s->model_ids[model], make_config(s, model, online), NULL, NULL);
}

static void note_status(struct scene *s, const struct model *m)
{
    unsigned lane = lane_of(s, m->id, NULL);
    bool online = m->task_status == MODEL_ONLINE;

    if (s->online[lane] && !online) {
        s->offline_seq[lane] = ++s->seq;
    }
    s->online[lane] = online;
}

static void on_model(void *owner, const void *what)
{
    const struct model_change *c = what;

    if (c->kind == MODEL_UPDATED) {
        note_status(owner, c->model);
    }
}

static void on_added(void *arg, int result, int64_t id, const struct error *e)
{
    struct scene *s = arg;

    assert_int_equal(result, 0);
    for (unsigned i = 0; i < MODELS; i++) {
        if (s->model_ids[i] == 0) {
            s->model_ids[i] = id;
            return;
        }
    }
}

static bool has_models(void *arg)
{
    return ((struct scene *)arg)->model_ids[MODELS - 1] != 0;
}

static void add_models(struct scene *s)
{
    for (unsigned i = 0; i < MODELS; i++) {
        s->max_workers[i] = i + 1;
        s->online[i] = true;
        models_add(s->models, make_config(s, i, true), MODEL_FROM_API, on_added, s);
    }
    assert_true(sim_run_until(s->world, has_models, s, 1000));
}

static void look_at_models(struct scene *s)
{
    for (unsigned i = 0; i < MODELS; i++) {
        const struct model *m = models_get(s->models, s->model_ids[i]);

        if (!m) {
            complain(s, "model m%u is lost", i);
        }
        note_status(s, m);
    }
}

/* ---- a berth ---- */

static void open_store(struct scene *s)
{
    static const struct store_schema *const schemas[] = { &events_schema, &models_schema,
                                                          &tasks_schema, &pieces_schema, NULL };
    struct store_options options = {
        .path = s->path, .vfs = "crash", .schemas = schemas, .max_wal_bytes = 300 << 10
    };
    struct error e = { 0 };

    if (store_open(s->world, &options, &s->store, &e) < 0) {
        complain(s, "the store does not open: %s", e.text);
    }
}

static void build_tasks(struct scene *s)
{
    struct error e = { 0 };

    s->tasks = tasks_create(&(struct tasks_in){ .world = s->world,
                                                .config = s->config,
                                                .store = s->store,
                                                .events = s->events,
                                                .models = s->models,
                                                .metrics = s->metrics });
    tasks_set_runner(s->tasks, TASK_OF_QUEUE, &local_runner, s);
    tasks_set_runner(s->tasks, TASK_OF_BATCH, &local_runner, s);
    tasks_set_runner(s->tasks, TASK_OF_INSTANCE, &remote_runner, s);
    s->on_task = (struct listener){ .fn = judge_on_task, .owner = s };
    notify_add(tasks_signal(s->tasks), &s->on_task);
    s->models_on_tasks = (struct listener){ .fn = tasks_on_model, .owner = s->tasks };
    notify_add(models_signal(s->models), &s->models_on_tasks);
    s->up = true;
    if (tasks_start(s->tasks, &e) < 0) {
        complain(s, "tasks do not start: %s", e.text);
    }
}

void house_begin(struct scene *s)
{
    s->life++;
    latency_begin(s);
    open_store(s);
    s->metrics = metrics_create();
    s->events = events_create(s->world, s->store);
    s->models = models_create(s->world, s->store, s->events);
    assert_int_equal(models_load(s->models, NULL), 0);
    s->on_model = (struct listener){ .fn = on_model, .owner = s };
    notify_add(models_signal(s->models), &s->on_model);
    if (s->life == 1) {
        add_models(s);
    }
    look_at_models(s);
    build_tasks(s);
}

static void tear_down(struct scene *s)
{
    notify_remove(&s->on_task);
    notify_remove(&s->on_model);
    notify_remove(&s->models_on_tasks);
    s->up = false;
    s->tasks = tasks_destroy(s->tasks);
    runners_drop(s);
    s->models = models_destroy(s->models);
    s->events = events_destroy(s->events);
    latency_end(s);
    s->store = store_close(s->store);
    latency_end(s);
    s->metrics = metrics_destroy(s->metrics);
    sim_run_for(s->world, 0);
    if (s->in_flight != 0) {
        complain(s, "%u changes were never answered", s->in_flight);
    }
}

void house_kill(struct scene *s)
{
    if (!crash_disk_is_cut(s->disk)) {
        crash_disk_cut_after(s->disk, 1);
    }
    tear_down(s);
    crash_disk_power_on(s->disk);
    judge_after_death(s);
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void house_stop(struct scene *s)
{
    bool drained = false;

    tasks_drain(s->tasks, world_random_below(s->world, 4000), on_drained, &drained);
    if (!sim_run_until(s->world, is_true, &drained, 60 * 1000)) {
        complain(s, "the drain does not end");
    }
    tear_down(s);
    judge_after_death(s);
}

/* ---- the whole ---- */

static struct config *load_config(int64_t keep_ms)
{
    static const struct option_table *const tables[] = { &tasks_options, NULL };
    const char *env[ARRAY_SIZE(settings)];
    struct config *config = NULL;
    char keep[64];
    struct error e = { 0 };

    memcpy(env, settings, sizeof(settings));
    snprintf(keep, sizeof(keep), "BERTH_QUEUE_KEEP=%llds", (long long)keep_ms / 1000);
    env[KEEP_AT] = keep;
    if (config_load(NULL, env, tables, &config, &e) < 0) {
        fail_msg("configuration: %s", e.text);
    }
    return config;
}

struct scene *house_create(uint64_t seed)
{
    struct scene *s = xcalloc(1, sizeof(*s));

    if (!getenv("VERBOSE")) {
        log_set_fd(-1);
    }
    list_init(&s->stints);
    s->world = sim_create(seed);
    s->disk = crash_disk_create(seed);
    snprintf(s->dir, sizeof(s->dir), "/tmp/berth-tasks-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof(s->path), "%s/berth.db", s->dir);
    s->keep_ms = world_random_below(s->world, 3) == 0 ? SHORT_KEEP_MS : LONG_KEEP_MS;
    s->config = load_config(s->keep_ms);
    return s;
}

void house_destroy(struct scene *s)
{
    if (s->up) {
        tear_down(s);
    }
    runners_finish(s);
    config_free(s->config);
    world_destroy(s->world);
    crash_disk_power_on(s->disk);
    crash_disk_destroy(s->disk);
    unlink(s->path);
    assert_int_equal(rmdir(s->dir), 0);
    free(s);
}
