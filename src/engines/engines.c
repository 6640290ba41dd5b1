// SPDX-License-Identifier: Apache-2.0
/*
 * The list of instances, and the one rule that makes and ends them: every wanted model has its
 * replicas, each one instance of its present definition; every other instance leaves. Where several
 * serve, what is outdated leaves one at a time, and only while all replicas serve: a definition
 * that does not work takes no more than one of them away. The rule is applied in a turn of its own
 * whenever models or instances change.
 */
#include "engines/engines_int.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { ROTATE_EVERY_MS = 10 * 1000, PROBE_LIMIT_MS = 10 * 1000 };

// clang-format off
static const struct option_row option_rows[] = {
    { "engines.docker_socket", OPTION_STRING, "/var/run/docker.sock", 0, 0, NULL, true, false,
      "The container engine's socket (Docker's, or podman's compatible one), for models that run in containers." },
    { "engines.drain_timeout", OPTION_DURATION, "30s", 0, 86400000, NULL, true, false,
      "How long requests that run may go on after their engine is asked to stop." },
    { "engines.llama_server", OPTION_STRING, "llama-server", 0, 0, NULL, true, false,
      "The llama.cpp server: a path, or a name that is looked up in PATH." },
    { "engines.log_max", OPTION_BYTES, "50MiB", 4096, 0x800000000000, NULL, true, false,
      "Size at which an engine's log is put aside (one old part is kept)." },
    { "engines.oom_score", OPTION_INT, "500", 0, 1000, NULL, true, false,
      "Added to berth's own out-of-memory adjustment for engines: they are to die before berth does." },
    { "engines.parallel", OPTION_INT, "4", 1, 256, NULL, true, false,
      "Requests that an engine works on at once, unless its model says otherwise." },
    { "engines.stable_after", OPTION_DURATION, "60s", 1000, 86400000, NULL, true, false,
      "An engine that was ready for so long starts with a clean record when it fails." },
    { "engines.stall_timeout", OPTION_DURATION, "300s", 1000, 86400000, NULL, true, false,
      "An engine that works on requests and makes no progress for so long is hung and started anew, whatever its health probe says." },
    { "engines.start_timeout", OPTION_DURATION, "300s", 100, 86400000, NULL, true, false,
      "How long an engine may load before it is given up." },
    { "engines.stop_grace", OPTION_DURATION, "10s", 0, 3600000, NULL, true, false,
      "How long an engine may take to end after SIGTERM before it is killed." },
    { "engines.threads", OPTION_INT, "0", 0, 4096, NULL, true, false,
      "CPU threads of an engine, unless its model says otherwise; 0 is half of the cores, since spinning threads of two engines on the same cores slow both down many times." },
    { "engines.vllm", OPTION_STRING, "vllm", 0, 0, NULL, true, false,
      "The vLLM program of models that run it as a plain process: a path, or a name that is looked up in PATH." },
    { "engines.vllm_memory", OPTION_INT, "80", 1, 100, NULL, true, false,
      "Percent of each device's memory that vLLM takes, unless its model says gpu_memory_utilization; what is above placement.threshold is never placed." },
};

const struct metric engines_metrics[] = {
    [METRIC_INSTANCES] = { "berth_instances", METRIC_GAUGE, "Instances by state.", { "state" }, NULL },
    [METRIC_STARTS] = { "berth_instance_starts_total", METRIC_COUNTER, "Engine processes started.", { "model" }, NULL },
    [METRIC_FAILURES] = { "berth_instance_failures_total", METRIC_COUNTER, "Failures of instances by reason.", { "model", "reason" }, NULL },
    [METRIC_LOAD_SECONDS] = { "berth_instance_load_seconds", METRIC_HISTOGRAM, "Time from an engine's start until it is ready.", { "model" }, metric_seconds },
};
// clang-format on

const struct option_table engines_options = { option_rows, ARRAY_SIZE(option_rows) };

/* ---- instances */

struct inst *inst_create(struct engines *e, const char *uuid, int64_t model_id,
                         const char *model_name)
{
    struct inst *inst = xcalloc(1, sizeof(*inst));

    inst->engines = e;
    snprintf(inst->pub.uuid, sizeof(inst->pub.uuid), "%s", uuid);
    snprintf(inst->pub.log_path, sizeof(inst->pub.log_path), "instances/%s/engine.log", uuid);
    snprintf(inst->log_name, sizeof(inst->log_name), "%s/%.8s", model_name, uuid);
    inst->pub.model_id = model_id;
    inst->model_name = xstrdup(model_name);
    inst->row_epoch = 1;
    inst->created_wall_ms = world_wall_ms(e->world);
    timer_init(&inst->timer, e->world, "engines.instance", inst_on_timer, inst);
    timer_init(&inst->deadline, e->world, "engines.start_timeout", inst_on_deadline, inst);
    timer_init(&inst->stall, e->world, "engines.stall_timeout", inst_on_stall, inst);
    list_append(&e->instances, &inst->node);
    return inst;
}

void inst_free(struct inst *inst)
{
    list_remove(&inst->node);
    timer_stop(&inst->timer);
    timer_stop(&inst->deadline);
    timer_stop(&inst->stall);
    inst_close_upstream(inst);
    inst_need_detach(inst);
    inst->process = process_destroy(inst->process);
    inst->container = container_destroy(inst->container);
    engine_command_finish(&inst->command);
    free(inst->pub.last_error);
    free(inst->model_name);
    free(inst);
}

const struct model *inst_model(const struct inst *inst)
{
    return models_get(inst->engines->models, inst->pub.model_id);
}

/* ---- bringing instances and models together */

static unsigned replicas_of(const struct model *model)
{
    return (unsigned)MAX_OF(model->config->replicas, 1);
}

/* The slot of a replica is free when nothing of it is left. A model that was deleted and made anew
 * under its name waits until the old one's engines are gone. */
static bool is_taken(const struct engines *e, const struct model *model, unsigned replica)
{
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id == model->id ? inst->pub.replica == replica
                                            : str_eq(inst->model_name, model->config->id)) {
            return true;
        }
    }
    return false;
}

static void make_instance(struct engines *e, const struct model *model, unsigned replica)
{
    char uuid[UUID_SIZE];
    struct inst *inst;

    world_uuid(e->world, uuid);
    inst = inst_create(e, uuid, model->id, model->config->id);
    inst->driver = driver_find(model->config->framework);
    inst->pub.model_epoch = model->epoch;
    inst->pub.replica = replica;
    inst_begin(inst);
}

static bool serves(const struct inst *inst)
{
    return inst->pub.state == INSTANCE_READY && !inst->leaving;
}

static bool all_serve(const struct engines *e, const struct model *model)
{
    unsigned count = 0;
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        count += inst->pub.model_id == model->id && inst->pub.replica < replicas_of(model) &&
                 serves(inst);
    }
    return count == replicas_of(model);
}

/* Nothing of it runs: what changed is for its next start. */
static void renew_waiting(struct inst *inst, const struct model *model)
{
    inst->waited |= inst->stale || inst->pub.model_epoch != model->epoch;
    if (inst->stale) {
        inst->stale = false;
        inst_retry(inst);
    }
    if (inst->pub.model_epoch != model->epoch) {
        inst_take_definition(inst);
    }
}

/* A new definition that changes nothing for the engine (an alias, a time) leaves it alone, as it
 * does one that is moved aside: that will wait with the new one. What failed is made anew in any
 * case: perhaps it can run now. */
static bool is_outdated(struct inst *inst, const struct model *model)
{
    bool runs = inst->pub.state == INSTANCE_STARTING || inst->pub.state == INSTANCE_READY ||
                inst->pub.state == INSTANCE_DRAINING;

    if (inst->stale) {
        return true;
    }
    if (inst->pub.model_epoch == model->epoch || inst->pub.displaced) {
        return false;
    }
    if (!runs || !inst_matches(inst, model)) {
        return true;
    }
    inst->pub.model_epoch = model->epoch;
    inst_store(inst, inst->has_row && !inst->committing ? ROW_UPDATE : ROW_NONE, NULL);
    inst_find_need(inst); /* what it may take can be another, though its command is not */
    return false;
}

/* Of those that ran before berth did, it is not known yet. */
static bool may_serve(const struct inst *inst)
{
    return serves(inst) || (inst->pub.adopted && inst->pub.state == INSTANCE_STARTING);
}

/* It has got no room for so long that nobody can wait for it. One that was not there before the
 * update may only be too large now: for such a one somebody else must have shown that the present
 * definition works. */
static bool is_left_out(const struct inst *inst, bool works)
{
    uint64_t since_ms = world_now_ms(inst->engines->world) - inst->pub.state_since_ms;

    return inst->pub.state == INSTANCE_WAITING && since_ms >= ROOM_PATIENCE_MS &&
           (inst->waited || works);
}

static bool works(const struct engines *e, const struct model *model)
{
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id == model->id && inst->pub.model_epoch == model->epoch &&
            !inst->stale && serves(inst)) {
            return true;
        }
    }
    return false;
}

/* All serve that can: where room is short, the others need not be waited for. */
static bool all_serve_that_can(const struct engines *e, const struct model *model)
{
    bool proven = works(e, model);
    unsigned count = 0;
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        count += inst->pub.model_id == model->id && inst->pub.replica < replicas_of(model) &&
                 (serves(inst) || is_left_out(inst, proven));
    }
    return count == replicas_of(model);
}

static bool may_go(const struct inst *inst, const struct model *model)
{
    return replicas_of(model) == 1 || !may_serve(inst) || all_serve_that_can(inst->engines, model);
}

static void review(struct inst *inst)
{
    const struct model *model = inst->engines->stopping ? NULL : inst_model(inst);

    if (!model || !model->wanted || inst->pub.replica >= replicas_of(model)) {
        inst_leave(inst, false);
    } else if (inst->renew) {
        return; /* it goes already */
    } else if (inst->pub.state == INSTANCE_WAITING) {
        renew_waiting(inst, model);
    } else if (is_outdated(inst, model)) {
        if (may_go(inst, model)) {
            inst_leave(inst, true);
        }
    } else if (inst->leaving) {
        inst_stay(inst);
    }
}

static void make_missing(struct engines *e, const struct model *model)
{
    for (unsigned replica = 0; replica < replicas_of(model); replica++) {
        if (!is_taken(e, model, replica)) {
            make_instance(e, model, replica);
        }
    }
}

/* Marked processes of nobody knows which model: one more could be a second copy. They are being
 * killed. */
static bool has_strangers(const struct engines *e)
{
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id == 0) {
            return true;
        }
    }
    return false;
}

static void on_all_gone(struct engines *e)
{
    void (*stopped)(void *arg) = e->stopped;

    e->stopped = NULL;
    if (stopped) {
        stopped(e->stopped_arg);
    }
}

static void on_reconcile(void *arg)
{
    struct engines *e = arg;
    struct inst *inst, *tmp;
    const struct model *model;
    size_t cursor = 0;

    list_for_each_safe (inst, tmp, &e->instances, node) {
        review(inst);
    }
    if (e->stopping) {
        if (list_empty(&e->instances)) {
            on_all_gone(e);
        }
        return;
    }
    while (!has_strangers(e) && (model = models_next(e->models, &cursor))) {
        if (model->wanted) {
            make_missing(e, model);
        }
    }
}

void engines_reconcile_soon(struct engines *e)
{
    timer_start(&e->reconcile, 0);
}

void engines_on_model(void *engines, const void *model_change)
{
    engines_reconcile_soon(engines);
}

static void on_rotate(void *arg)
{
    struct engines *e = arg;

    engine_logs_rotate(e);
    timer_start(&e->rotate, ROTATE_EVERY_MS);
}

/* ---- the room */

static void on_collect(void *arg)
{
    struct engines *e = arg;
    unsigned counts[INSTANCE_STATE_MAX_] = { 0 };
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        counts[inst->pub.state]++;
    }
    for (int s = 0; s < INSTANCE_STATE_MAX_; s++) {
        const char *state = instance_state_name(s);

        metric_set(metrics_cell(e->metrics, &engines_metrics[METRIC_INSTANCES], &state), counts[s]);
    }
}

/* Pids start anew with every boot; a row of an earlier one tells of no process. "" where it cannot
 * be read. */
static void read_boot_id(char out[BOOT_ID_SIZE])
{
    _cleanup_(closep) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, out, BOOT_ID_SIZE - 1);

    out[MAX_OF(n, 0)] = '\0';
    out[strcspn(out, "\n")] = '\0';
}

struct engines *engines_create(const struct engines_options_in *in)
{
    struct engines *e = xcalloc(1, sizeof(*e));

    e->world = in->world;
    e->config = in->config;
    e->store = in->store;
    e->events = in->events;
    e->models = in->models;
    e->metrics = in->metrics;
    e->gpu = in->gpu;
    e->data_id = xstrdup(in->data_id);
    e->self_path = xstrdup(in->self_path);
    e->places_itself = in->places_itself;
    read_boot_id(e->boot_id);
    notify_init(&e->signal);
    list_init(&e->instances);
    list_init(&e->row_ops);
    timer_init(&e->reconcile, e->world, "engines.reconcile", on_reconcile, e);
    timer_init(&e->rotate, e->world, "engines.rotate", on_rotate, e);
    timer_start(&e->rotate, ROTATE_EVERY_MS);
    e->files = worker_create(
        e->world,
        &(struct worker_options){ .name = "engine-logs", .threads = 1, .max_queued = 256 });
    e->proc_path = xstrdup(in->proc_path ? in->proc_path : "/proc");
    e->needs = needs_create(e);
    metrics_declare(e->metrics, engines_metrics, METRIC_MAX_);
    metrics_on_collect(e->metrics, on_collect, e);
    return e;
}

struct engines *engines_destroy(struct engines *e)
{
    struct inst *inst, *tmp;

    if (!e) {
        return NULL;
    }
    e->files = worker_destroy(e->files);
    e->needs = needs_destroy(e->needs);
    free(e->proc_path);
    e->strays = container_sweep_destroy(e->strays);
    rows_detach(e);
    timer_stop(&e->reconcile);
    timer_stop(&e->rotate);
    list_for_each_safe (inst, tmp, &e->instances, node) {
        inst_free(inst);
    }
    free(e->data_id);
    free(e->self_path);
    free(e);
    return NULL;
}

void engines_reconfigure(struct engines *e, const struct config *config)
{
    e->config = config;
}

void engines_set_probe_interval(struct engines *e, uint64_t interval_ms)
{
    struct inst *inst;

    e->probe_interval_ms = interval_ms;
    list_for_each (inst, &e->instances, node) {
        if (inst->pub.state == INSTANCE_READY && timer_active(&inst->timer)) {
            inst_plan_health(inst); /* the next one is not that far away any more */
        }
    }
}

void engines_stop_all(struct engines *e, void (*done)(void *arg), void *arg)
{
    e->stopping = true;
    e->stopped = done;
    e->stopped_arg = arg;
    engines_reconcile_soon(e);
}

/* ---- questions and wishes from outside */

static void complain_framework(const struct model_config *model, struct validation *v)
{
    char names[128];

    driver_names(names, sizeof(names));
    validation_error(v, "framework '%s' is not supported (known: %s)", model->framework, names);
}

const struct gpu *engines_gpu(const struct engines *e)
{
    return e->gpu;
}

void engines_check(const struct config *config, const struct model_config *model,
                   struct validation *v)
{
    const struct engine_driver *driver = driver_find(model->framework);
    struct validation machine;

    if (!driver) {
        complain_framework(model, v);
        return;
    }
    machine = validation_init();
    driver->validate(&(struct engine_context){ .config = config, .model = model }, v, &machine);
    validation_finish(&machine);
}

void engines_validate(struct engines *e, const struct model_config *config, struct validation *v)
{
    const struct engine_driver *driver = driver_find(config->framework);

    if (driver) {
        driver->validate(
            &(struct engine_context){ .config = e->config, .model = config, .gpu = e->gpu }, v, v);
        needs_validate(e, config, v);
    } else {
        complain_framework(config, v);
    }
}

void engines_retry(struct engines *e, int64_t model_id)
{
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id == model_id) {
            inst_retry(inst);
        }
    }
}

int engines_settled(const struct engines *e, int64_t model_id, struct error *reterr)
{
    const struct model *model = models_get(e->models, model_id);
    struct inst *inst;
    bool old = false;

    if (!model || !model->wanted) {
        return 0;
    }
    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id != model_id) {
            continue;
        }
        if (inst->stale || inst->leaving || inst->pub.model_epoch != model->epoch) {
            old = true;
        } else if (inst->pub.state == INSTANCE_FAILED) {
            return error_set(reterr, -ESRCH, "%s",
                             inst->pub.last_error ? inst->pub.last_error : "the engine failed");
        }
    }
    return !old && all_serve(e, model);
}

void engines_restart(struct engines *e, int64_t model_id)
{
    struct inst *inst, *tmp;

    list_for_each (inst, &e->instances, node) {
        inst->stale |= inst->pub.model_id == model_id;
    }
    list_for_each_safe (inst, tmp, &e->instances, node) {
        if (inst->pub.model_id == model_id) {
            review(inst);
        }
    }
}

void engines_place(struct engines *e, const char *uuid, const struct place *place)
{
    const struct instance *pub = engines_find(e, uuid);

    if (pub && !e->stopping) {
        inst_place(inst_of(pub), place);
    }
}

void engines_displace(struct engines *e, const char *uuid, uint64_t grace_ms, const char *why)
{
    const struct instance *pub = engines_find(e, uuid);

    if (pub) {
        inst_displace(inst_of(pub), grace_ms, why);
    }
}

void engines_note_displaced(struct engines *e, const char *uuid)
{
    const struct instance *pub = engines_find(e, uuid);

    if (pub && pub->state == INSTANCE_WAITING) {
        inst_of(pub)->pub.displaced = true;
    }
}

const struct instance *engines_next(const struct engines *e, size_t *cursor)
{
    struct inst *inst;
    size_t i = 0;

    list_for_each (inst, &e->instances, node) {
        if (i++ == *cursor) {
            ++*cursor;
            return &inst->pub;
        }
    }
    return NULL;
}

const struct instance *engines_find(const struct engines *e, const char *uuid)
{
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        if (str_eq(inst->pub.uuid, uuid)) {
            return &inst->pub;
        }
    }
    return NULL;
}

static bool is_better(const struct instance *a, const struct instance *b)
{
    static const int ranks[INSTANCE_STATE_MAX_] = {
        [INSTANCE_READY] = 6,   [INSTANCE_STARTING] = 5, [INSTANCE_DRAINING] = 4,
        [INSTANCE_WAITING] = 3, [INSTANCE_BACKOFF] = 2,  [INSTANCE_STOPPING] = 1,
        [INSTANCE_FAILED] = 0,
    };

    return ranks[a->state] != ranks[b->state] ? ranks[a->state] > ranks[b->state]
                                              : a->model_epoch > b->model_epoch;
}

const struct instance *engines_of_model(const struct engines *e, int64_t model_id)
{
    struct inst *inst, *best = NULL;

    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id == model_id && (!best || is_better(&inst->pub, &best->pub))) {
            best = inst;
        }
    }
    return best ? &best->pub : NULL;
}

bool engines_route(struct engines *e, const char *uuid, struct engine_route *ret)
{
    const struct instance *pub = engines_find(e, uuid);
    const struct inst *inst = pub ? inst_of(pub) : NULL;

    if (!inst || !inst->upstream || (pub->process.pid == 0 && !pub->remote)) {
        return false;
    }
    *ret = (struct engine_route){
        .upstream = inst->upstream,
        .base_path = inst->command.base_path,
        .headers = inst->command.headers,
        .model = inst->command.model,
        .remote = pub->remote,
    };
    return true;
}

/* "/v1" as a whole: "/v1/models" and "/v1?x", not "/v10". */
static bool begins_with_v1(struct span path)
{
    return span_starts(path, "/v1") && (path.n == 3 || path.p[3] == '/' || path.p[3] == '?');
}

int engine_route_path(const struct engine_route *route, struct span path, char out[ENGINE_PATH_MAX])
{
    struct span base = { "", 0 };
    int n;

    if (route->base_path && begins_with_v1(path)) {
        base = span_of(route->base_path);
        path.p += 3;
        path.n -= 3;
        while (base.n && base.p[base.n - 1] == '/') {
            base.n--;
        }
    }
    n = snprintf(out, ENGINE_PATH_MAX, "%s%.*s%.*s",
                 base.n == 0 && (path.n == 0 || *path.p != '/') ? "/" : "", SPAN_ARG(base),
                 SPAN_ARG(path));
    return n >= ENGINE_PATH_MAX ? -ENAMETOOLONG : 0;
}

void engines_drained(struct engines *e, const char *uuid)
{
    const struct instance *pub = engines_find(e, uuid);

    if (pub) {
        inst_drained(inst_of(pub));
    }
}

void engines_note_work(struct engines *e, const char *uuid, int change, bool streams)
{
    const struct instance *pub = engines_find(e, uuid);

    if (pub) {
        inst_note_work(inst_of(pub), change, streams);
    }
}

void engines_note_progress(struct engines *e, const char *uuid)
{
    const struct instance *pub = engines_find(e, uuid);

    if (pub) {
        inst_note_progress(inst_of(pub));
    }
}

struct no_probe {
    http_fetch_fn done;
    void *owner;
};

static void on_no_probe(void *arg)
{
    struct no_probe *p = arg;
    struct error err = { 0 };

    error_set(&err, -ESRCH, "no engine of this model is running");
    p->done(p->owner, err.code, 0, (struct span){ 0 }, &err);
    free(p);
}

void engines_probe(struct engines *e, int64_t model_id, http_fetch_fn done, void *owner)
{
    const struct instance *pub = engines_of_model(e, model_id);
    struct engine_route route;
    struct no_probe *p;

    if (pub && engines_route(e, pub->uuid, &route)) {
        probe_start(inst_of(pub), PROBE_LIMIT_MS, done, owner);
        return;
    }
    p = xmalloc(sizeof(*p));
    *p = (struct no_probe){ done, owner };
    world_post(e->world, on_no_probe, p);
}

struct notify *engines_signal(struct engines *e)
{
    return &e->signal;
}
