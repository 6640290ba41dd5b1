// SPDX-License-Identifier: Apache-2.0
/*
 * The daemon's rooms, as daemon.c builds them and wiring.c joins them, without doors, in a
 * simulated world: store, events, models, engines, devices, dispatch, placement. Engines keep files
 * beside them, so a run has a private folder, which is the working directory meanwhile.
 */
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "simulate/simulate_int.h"

enum { SETTLE_MS = 4 * 3600 * 1000, READY_MS = 60 * 1000, ADD_MS = 60 * 1000 };

/* ---- the folder ---- */

/* As the probe of scripted devices reads them: all they tell is how much memory they have. */
static int write_devices(const struct fleet *f, const char *path, struct error *reterr)
{
    FILE *out = fopen(path, "we");

    if (!out) {
        return error_set(reterr, -errno, "%s: %s", path, strerror(errno));
    }
    fprintf(out, "devices:\n");
    for (unsigned k = 0, n = 0; k < f->kind_count; k++) {
        const double bytes = f->kinds[k].chip.chip.memory_gb * 1e9;

        for (unsigned i = 0; i < f->kinds[k].count; i++, n++) {
            fprintf(out, "  - {id: GPU-%u, name: kind-%u, vendor: nvidia, memory_total: %llu}\n", n,
                    k, (unsigned long long)bytes);
        }
    }
    return fclose(out) == 0 ? 0 : error_set(reterr, -EIO, "%s: it cannot be written", path);
}

static int enter_dir(struct sim_run *run, struct error *reterr)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(run->dir, sizeof(run->dir), "%s/berth-simulate-XXXXXX",
             tmp && *tmp == '/' && strlen(tmp) < 32 ? tmp : "/tmp");
    run->back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->back < 0 || !mkdtemp(run->dir)) {
        run->dir[0] = '\0';
        return error_set(reterr, -errno, "no private folder can be made: %s", strerror(errno));
    }
    if (chdir(run->dir) < 0) {
        return error_set(reterr, -errno, "%s: %s", run->dir, strerror(errno));
    }
    return write_devices(run->fleet, "devices.yaml", reterr);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st, (void)kind, (void)where;
    return remove(path);
}

static void leave_dir(struct sim_run *run)
{
    if (run->back >= 0) {
        (void)!fchdir(run->back);
        close(run->back);
    }
    if (run->dir[0]) {
        nftw(run->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    }
}

/* ---- the rooms ---- */

static void listen_to(struct sim_run *run, struct notify *to, void (*fn)(void *, const void *),
                      void *owner)
{
    struct listener *l = &run->listeners[run->listener_count++];

    *l = (struct listener){ .fn = fn, .owner = owner };
    notify_add(to, l);
}

static size_t model_named(const struct fleet *f, const char *name)
{
    size_t i = 0;

    while (i < f->model_count && !str_eq(f->models[i].name, name)) {
        i++;
    }
    return i;
}

static void on_event(void *owner, const void *what)
{
    struct sim_run *run = owner;
    const struct event *e = what;
    size_t i = model_named(run->fleet, e->subject ? e->subject : "");

    if (i < run->fleet->model_count) {
        run->models_state[i].swaps += e->kind == EVENT_MODEL_SWAPPED;
        run->models_state[i].preemptions += e->kind == EVENT_MODEL_PREEMPTED;
    }
}

static void wire(struct sim_run *run)
{
    listen_to(run, models_signal(run->models), engines_on_model, run->engines);
    listen_to(run, models_signal(run->models), dispatch_on_model, run->dispatch);
    listen_to(run, models_signal(run->models), placement_on_model, run->placement);
    listen_to(run, engines_signal(run->engines), dispatch_on_instance, run->dispatch);
    listen_to(run, engines_signal(run->engines), placement_on_instance, run->placement);
    listen_to(run, dispatch_demand_signal(run->dispatch), placement_on_demand, run->placement);
    listen_to(run, gpu_signal(run->gpu), placement_on_device, run->placement);
    listen_to(run, events_signal(run->events), on_event, run);
}

static bool is_of_an_engine(void *arg, int64_t pid)
{
    (void)arg, (void)pid;
    return true; /* there are no others */
}

static bool devices_are_known(void *arg)
{
    return gpu_ready(((struct sim_run *)arg)->gpu);
}

static int open_devices(struct sim_run *run, struct error *reterr)
{
    const struct gpu_in in = { .world = run->world,
                               .config = run->config,
                               .metrics = run->metrics,
                               .is_ours = is_of_an_engine,
                               .proc = "proc",
                               .cgroup = "cgroup" };
    int r = gpu_create(&in, &run->gpu, reterr);

    if (r < 0) {
        return r;
    }
    gpu_start(run->gpu);
    return sim_run_until(run->world, devices_are_known, run, READY_MS)
               ? 0
               : error_set(reterr, -EIO, "the devices cannot be read");
}

static int load_config(struct sim_run *run, struct error *reterr)
{
    _cleanup_(freep) char *path = xasprintf("%s/devices.yaml", run->dir);
    int r = fleet_config(run->fleet, &run->config, reterr);

    return r < 0 ? r : config_set_default(run->config, "gpu.scripted", path, "the fleet", reterr);
}

static int open_store(struct sim_run *run, struct error *reterr)
{
    static const struct store_schema *const schemas[] = { &events_schema, &models_schema,
                                                          &engines_schema, &placement_schema,
                                                          NULL };
    struct store_options options = { .path = ":memory:", .schemas = schemas };

    return store_open(run->world, &options, &run->store, reterr);
}

static void build_engines(struct sim_run *run)
{
    run->engines = engines_create(&(struct engines_options_in){
        .world = run->world,
        .config = run->config,
        .store = run->store,
        .events = run->events,
        .models = run->models,
        .metrics = run->metrics,
        .gpu = run->gpu,
        .data_id = "simulated",
        .self_path = "/proc/self/exe",
        .proc_path = "proc",
    });
    run->dispatch =
        dispatch_create(run->world, run->config, run->models, run->engines, run->metrics);
    run->placement = placement_create(&(struct placement_in){
        .world = run->world,
        .config = run->config,
        .store = run->store,
        .events = run->events,
        .models = run->models,
        .engines = run->engines,
        .dispatch = run->dispatch,
        .gpu = run->gpu,
        .metrics = run->metrics,
    });
}

static int build(struct sim_run *run, struct error *reterr)
{
    const char *strategy = run->in->strategy ? run->in->strategy : run->fleet->strategy;
    int r;

    run->world = sim_create(run->in->seed);
    run->metrics = metrics_create();
    r = load_config(run, reterr);
    r = r < 0 ? r : open_devices(run, reterr);
    r = r < 0 ? r : open_store(run, reterr);
    if (r < 0) {
        return r;
    }
    run->events = events_create(run->world, run->store);
    run->models = models_create(run->world, run->store, run->events);
    r = models_load(run->models, reterr);
    if (r < 0) {
        return r;
    }
    children_install(run);
    build_engines(run);
    wire(run);
    r = placement_load(run->placement, reterr);
    r = r < 0 ? r : engines_recover(run->engines, reterr);
    return r < 0 || !*strategy ? r : dispatch_set_strategy(run->dispatch, 0, strategy, reterr);
}

/* ---- the catalogue ---- */

struct adding {
    bool done;
    int result;
    int64_t id;
    struct error error;
};

static void on_added(void *arg, int result, int64_t id, const struct error *e)
{
    struct adding *a = arg;

    a->done = true;
    a->result = result;
    a->id = id;
    if (result < 0) {
        a->error = *e;
    }
}

static bool is_added(void *arg)
{
    return ((struct adding *)arg)->done;
}

static int add_model(struct sim_run *run, size_t i, struct error *reterr)
{
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(run->fleet->models[i].definition, &v);
    struct adding a = { .result = -EIO };

    validation_finish(&v);
    run->adding = i;
    if (!config) {
        return error_set(reterr, -EINVAL, "models.%zu: no definition", i);
    }
    models_add(run->models, config, MODEL_FROM_API, on_added, &a);
    if (!sim_run_until(run->world, is_added, &a, ADD_MS) || a.result < 0) {
        return error_set(reterr, a.result, "models.%zu: %s", i, a.error.text);
    }
    run->models_state[i].id = a.id;
    return 0;
}

/* The first model that is wanted and is not as it shall be, every replica of it ready; or NULL. */
static const struct model *find_absent(const struct sim_run *run)
{
    struct error e;

    for (size_t i = 0; i < run->fleet->model_count; i++) {
        const struct model *model = models_get(run->models, run->models_state[i].id);

        if (model && model->wanted && engines_settled(run->engines, model->id, &e) != 1) {
            return model;
        }
    }
    return NULL;
}

static bool is_settled(void *arg)
{
    const struct sim_run *run = arg;

    return !find_absent(run) || run->trouble.code < 0;
}

/* Why an instance of it waits, as placement says. */
static const char *why_it_waits(const struct sim_run *run, const struct model *model)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (model && placement_next_waiting(run->placement, &cursor, &w)) {
        if (w.model_id == model->id) {
            return w.sentence;
        }
    }
    return "an instance does not become ready";
}

/* What is to stand from the beginning has all to be there: its room is the fleet's own affair. */
static int settle(struct sim_run *run, struct error *reterr)
{
    const struct model *absent;

    if (sim_run_until(run->world, is_settled, run, SETTLE_MS)) {
        return run->trouble.code < 0 ? error_set(reterr, run->trouble.code, "%s", run->trouble.text)
                                     : 0;
    }
    absent = find_absent(run);
    return error_set(
        reterr, -ENOSPC,
        "not all %d replicas of '%s' come up (%s); give the fleet more devices, or the "
        "model `autostart: false`",
        absent ? absent->config->replicas : 0, absent ? absent->config->id : "?",
        why_it_waits(run, absent));
}

int house_open(struct sim_run *run, struct error *reterr)
{
    int r;

    list_init(&run->children_alive);
    map_init(&run->children);
    r = enter_dir(run, reterr);
    r = r < 0 ? r : build(run, reterr);
    for (size_t i = 0; i < run->fleet->model_count && r == 0; i++) {
        r = add_model(run, i, reterr);
    }
    return r < 0 ? r : settle(run, reterr);
}

void house_close(struct sim_run *run)
{
    run_drop(run);
    for (unsigned i = 0; i < run->listener_count; i++) {
        notify_remove(&run->listeners[i]);
    }
    run->placement = placement_destroy(run->placement);
    run->dispatch = run->dispatch ? dispatch_destroy(run->dispatch) : NULL;
    run->engines = run->engines ? engines_destroy(run->engines) : NULL;
    run->models = run->models ? models_destroy(run->models) : NULL;
    run->events = run->events ? events_destroy(run->events) : NULL;
    run->gpu = gpu_destroy(run->gpu);
    run->metrics = run->metrics ? metrics_destroy(run->metrics) : NULL;
    run->store = store_close(run->store);
    run->config = run->config ? config_free(run->config) : NULL;
    run->world = run->world ? world_destroy(run->world) : NULL;
    map_finish(&run->children);
    leave_dir(run);
}
