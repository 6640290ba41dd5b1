// SPDX-License-Identifier: Apache-2.0
/*
 * The life of the daemon: configuration → data directory (locked) → store → rooms, lower ones first
 * → listening → recovery of what an earlier berth left → the loop. SIGTERM or SIGINT drains: no new
 * connections, accepted requests end, engines stop; asked twice, it does not wait for requests;
 * asked three times, it leaves the engines to the next berth. SIGHUP reads the configuration anew.
 */
#include "daemon/daemon.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "daemon/daemon_int.h"
#include "daemon/options.h"

enum { RESERVED_FILES = 256, ADMIN_CONNECTIONS = 128 };

static int complain(const struct error *e)
{
    fprintf(stderr, "berth: %s\n", e->text);
    return error_kind(e->code)->exit_code;
}

/* Two descriptors a client (its own and the engine's), and a reserve for engines, store and admin.
 */
static size_t connection_cap(const struct config *config)
{
    size_t cap = (size_t)config_int(config, "server.max_connections");
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) < 0) {
        return cap;
    }
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_max < 2 * cap + RESERVED_FILES) {
        size_t lower =
            files.rlim_max > RESERVED_FILES + 32 ? (files.rlim_max - RESERVED_FILES) / 2 : 16;

        log_warn("daemon", NULL, "fewer connections, since few files may be open",
                 kv_int("connections", (int64_t)lower), kv_int("files", (int64_t)files.rlim_max));
        return lower;
    }
    return cap;
}

static bool listens_beyond_loopback(const struct config *config)
{
    for (const char *const *l = config_list(config, "server.listen"); *l; l++) {
        struct address a;

        if (address_parse(*l, &a, NULL) < 0 || !address_is_loopback(&a)) {
            return true;
        }
    }
    return false;
}

/* Rooms */

static int open_store(struct daemon *d, struct error *reterr)
{
    static const struct store_schema *const schemas[] = {
        &events_schema,
        &access_schema,
        &models_schema,
        &webhooks_schema,
        &tasks_schema,
        &batches_schema,
        &engines_schema,
        &placement_schema,
        &task_instances_schema,
        &evaluations_schema,
        NULL,
    };
    struct store_options options = { .path = "berth.db", .schemas = schemas };

    return store_open(d->world, &options, &d->store, reterr);
}

/* Ready only now: before, a model of the file might not be known yet. */
static void on_config_applied(void *arg, int result, int64_t id, const struct error *e)
{
    struct daemon *d = arg;

    if (result == -ECANCELED) {
        return; /* berth goes down */
    }
    if (result < 0) {
        log_error("daemon", NULL, "the configured models could not be stored",
                  kv_str("error", e->text));
    }
    if (d->stop_signals == 0) {
        api_set_phase(d->api, API_SERVING);
    }
}

static int apply_models(struct daemon *d, struct error *reterr)
{
    struct model_config **list = NULL;
    size_t count = 0;
    int r;

    r = options_models(d->config, &list, &count, reterr);
    if (r < 0) {
        return r;
    }
    models_apply_config(d->models, list, count, on_config_applied, d);
    free(list);
    return 0;
}

/* An engine's processes are all of its leader's session. */
static bool is_of_an_engine(void *arg, int64_t pid)
{
    const struct daemon *d = arg;
    const pid_t leader = getsid((pid_t)pid);
    const struct instance *inst;
    size_t cursor = 0;

    while (d->engines && (inst = engines_next(d->engines, &cursor))) {
        if (inst->process.pid > 0 && (inst->process.pid == pid || inst->process.pid == leader)) {
            return true;
        }
    }
    return false;
}

static void on_devices_known(void *owner, const void *what)
{
    const struct gpu_change *change = what;
    struct daemon *d = owner;

    if (change->kind == GPU_READY) {
        world_stop(d->world);
    }
}

/* Engines are told of devices, so these must be known before any is started or known again. A probe
 * that hangs is waited for as long as gpu.timeout. */
static int look_at_devices(struct daemon *d, struct error *reterr)
{
    struct listener ready = { .fn = on_devices_known, .owner = d };
    const struct gpu_in in = { .world = d->world,
                               .config = d->config,
                               .metrics = d->metrics,
                               .is_ours = is_of_an_engine,
                               .arg = d };
    int r = gpu_create(&in, &d->gpu, reterr);

    if (r < 0) {
        return r;
    }
    notify_add(gpu_signal(d->gpu), &ready);
    gpu_start(d->gpu);
    world_run(d->world);
    notify_remove(&ready);
    return 0;
}

static int build_rooms(struct daemon *d, struct error *reterr)
{
    int r;

    d->world = world_create();
    d->metrics = metrics_create();
    r = look_at_devices(d, reterr);
    if (r < 0) {
        return r;
    }
    r = open_store(d, reterr);
    if (r < 0) {
        return r;
    }
    d->events = events_create(d->world, d->store);
    events_set_retention(d->events, config_duration_ms(d->config, "events.keep"));
    d->models = models_create(d->world, d->store, d->events);
    r = models_load(d->models, reterr);
    if (r < 0) {
        return r;
    }
    r = task_types_create(d->config, &d->task_types, reterr);
    if (r < 0) {
        return r;
    }
    d->webhooks = webhooks_create(d->world, d->config, d->store, d->metrics);
    d->tasks = tasks_create(&(struct tasks_in){
        .world = d->world,
        .config = d->config,
        .store = d->store,
        .events = d->events,
        .models = d->models,
        .metrics = d->metrics,
    });
    tasks_set_webhooks(d->tasks, d->webhooks);
    d->batches = batches_create(d->world, d->config, d->store, d->events, d->models, d->tasks);
    d->evaluations = evaluations_create(&(struct evaluations_in){
        .world = d->world,
        .config = d->config,
        .store = d->store,
        .tasks = d->tasks,
    });
    r = access_create(d->world, d->store, d->config, listens_beyond_loopback(d->config), &d->access,
                      &d->new_key, reterr);
    if (r < 0) {
        return r;
    }
    d->engines = engines_create(&(struct engines_options_in){
        .world = d->world,
        .config = d->config,
        .store = d->store,
        .events = d->events,
        .models = d->models,
        .metrics = d->metrics,
        .gpu = d->gpu,
        .data_id = d->dir.id,
        .self_path = "/proc/self/exe", /* also when the file was replaced meanwhile */
    });
    d->dispatch = dispatch_create(d->world, d->config, d->models, d->engines, d->metrics);
    d->placement = placement_create(&(struct placement_in){
        .world = d->world,
        .config = d->config,
        .store = d->store,
        .events = d->events,
        .models = d->models,
        .engines = d->engines,
        .dispatch = d->dispatch,
        .gpu = d->gpu,
        .metrics = d->metrics,
    });
    d->gateway = gateway_create(&(struct gateway_in){
        .world = d->world,
        .config = d->config,
        .models = d->models,
        .engines = d->engines,
        .dispatch = d->dispatch,
        .placement = d->placement,
        .metrics = d->metrics,
        .task_types = d->task_types,
    });
    d->task_instances =
        task_instances_create(d->world, d->config, d->store, d->events, d->tasks, d->metrics);
    task_instances_set_fallback(d->task_instances, &gateway_task_runner, d->gateway);
    tasks_set_runner(d->tasks, TASK_OF_QUEUE, &gateway_task_runner, d->gateway);
    tasks_set_runner(d->tasks, TASK_OF_BATCH, &gateway_task_runner, d->gateway);
    tasks_set_runner(d->tasks, TASK_OF_INSTANCE, &task_instance_runner, d->task_instances);
    tasks_set_runner(d->tasks, TASK_OF_EVALUATION, &evaluation_runner, d->evaluations);
    d->monitor = monitor_create(&(struct monitor_in){
        .world = d->world,
        .gpu = d->gpu,
        .models = d->models,
        .engines = d->engines,
        .dispatch = d->dispatch,
        .gateway = d->gateway,
        .tasks = d->tasks,
    });
    d->router = router_create();
    d->api = api_create(&(struct api_in){
        .world = d->world,
        .config = d->config,
        .store = d->store,
        .events = d->events,
        .models = d->models,
        .engines = d->engines,
        .dispatch = d->dispatch,
        .placement = d->placement,
        .gateway = d->gateway,
        .gpu = d->gpu,
        .tasks = d->tasks,
        .task_types = d->task_types,
        .batches = d->batches,
        .task_instances = d->task_instances,
        .evaluations = d->evaluations,
        .monitor = d->monitor,
        .metrics = d->metrics,
        .router = d->router,
        .data_dir = d->dir.path,
        .version = BERTH_VERSION,
    });
    api_add_routes(d->api, d->router);
    router_add(d->router, gateway_routes(d->gateway));
    router_add(d->router, gateway_anthropic_routes(d->gateway));
    router_add(d->router, gateway_ollama_routes(d->gateway));
    d->front = front_create(d->router, d->access, d->metrics);
    return 0;
}

/* Listening */

static struct http_server *make_server(struct daemon *d, size_t max_connections)
{
    return http_server_create(
        d->world, &(struct http_server_options){
                      .handle = front_handle,
                      .on_head = front_on_head,
                      .owner = d->front,
                      .error_body = front_error_body,
                      .max_connections = max_connections,
                      .max_body_bytes = config_bytes(d->config, "server.max_body"),
                      .body_budget_bytes = config_bytes(d->config, "server.body_budget"),
                      .head_timeout_ms = config_duration_ms(d->config, "server.head_timeout"),
                      .body_timeout_ms = config_duration_ms(d->config, "server.body_timeout"),
                      .idle_timeout_ms = config_duration_ms(d->config, "server.idle_timeout"),
                      .write_timeout_ms = config_duration_ms(d->config, "server.write_timeout"),
                  });
}

static int listen_on(struct daemon *d, struct http_server *server, const struct address *where,
                     bool admin, struct error *reterr)
{
    struct access_listener *tag = &d->listener_tags[d->listener_count];
    struct address bound;
    int r;

    assert(d->listener_count <= MAX_LISTENERS); /* daemon_load_config has counted */
    *tag =
        (struct access_listener){ .loopback = address_is_loopback(where), .admin_socket = admin };
    r = http_server_listen(server, where, tag, &bound, reterr);
    if (r < 0) {
        return r;
    }
    d->listener_count++;
    if (!bound.is_unix && !d->bound.port) {
        d->bound = bound;
    }
    return 0;
}

static int start_listening(struct daemon *d, struct error *reterr)
{
    struct address where;
    int r;

    d->server = make_server(d, connection_cap(d->config));
    d->admin_server = make_server(d, ADMIN_CONNECTIONS);
    r = address_parse("unix:berth.sock", &where, reterr);
    if (r == 0) {
        r = listen_on(d, d->admin_server, &where, true, reterr);
    }
    for (const char *const *l = config_list(d->config, "server.listen"); *l && r == 0; l++) {
        r = address_parse(*l, &where, reterr);
        if (r == 0) {
            r = listen_on(d, d->server, &where, false, reterr);
        }
    }
    return r;
}

/* Reload: everything is read and checked before anything changes. */

static void log_changes(const json_t *diff)
{
    const json_t *change;
    size_t i;

    log_info("daemon", NULL, "configuration reloaded",
             kv_int("changed", (int64_t)json_array_size(diff)));
    json_array_foreach(diff, i, change)
    {
        if (json_is_true(json_object_get(change, "restart_required"))) {
            log_warn("daemon", NULL, "a changed option takes effect at the next start only",
                     kv_str("option", json_string_value(json_object_get(change, "name"))));
        }
    }
}

static void reload(struct daemon *d)
{
    struct config *fresh = NULL, *old = d->config;
    struct error e = { 0 };
    json_t *diff;

    if (daemon_load_config(d->config_path, d->options->listen, &fresh, &e) < 0) {
        log_error("daemon", NULL, "the configuration was not reloaded", kv_str("error", e.text));
        return;
    }
    diff = config_diff(old, fresh);
    d->config = fresh;
    options_apply_log(fresh);
    events_set_retention(d->events, config_duration_ms(fresh, "events.keep"));
    gpu_reconfigure(d->gpu, fresh);
    access_reconfigure(d->access, fresh);
    engines_reconfigure(d->engines, fresh);
    dispatch_reconfigure(d->dispatch, fresh);
    placement_reconfigure(d->placement, fresh);
    gateway_reconfigure(d->gateway, fresh);
    if (task_types_reload(d->task_types, fresh, &e) < 0) {
        log_error("daemon", NULL, "the task types were not reloaded", kv_str("error", e.text));
    }
    webhooks_reconfigure(d->webhooks, fresh);
    tasks_reconfigure(d->tasks, fresh);
    evaluations_reconfigure(d->evaluations, fresh);
    batches_reconfigure(d->batches, fresh);
    task_instances_reconfigure(d->task_instances, fresh);
    api_reconfigure(d->api, fresh);
    if (apply_models(d, &e) < 0) {
        log_error("daemon", NULL, "the configured models were not applied",
                  kv_str("error", e.text));
    }
    log_changes(diff);
    events_emit(d->events, EVENT_CONFIG_CHANGED, "", json_pack("{s:o}", "changed", diff));
    config_free(old);
}

static void on_hup(void *arg, int signum)
{
    reload(arg);
}

/* Going down */

static void on_engines_stopped(void *arg)
{
    struct daemon *d = arg;

    world_stop(d->world);
}

/* Engines go when neither a request nor a task needs them any more. */
static void stop_engines_when_idle(struct daemon *d)
{
    if (d->requests_ended && d->tasks_ended) {
        timer_stop(&d->drain_limit);
        engines_stop_all(d->engines, on_engines_stopped, d);
    }
}

static void on_requests_ended(void *arg)
{
    struct daemon *d = arg;

    d->requests_ended = true;
    stop_engines_when_idle(d);
}

static void on_tasks_ended(void *arg)
{
    struct daemon *d = arg;

    d->tasks_ended = true;
    stop_engines_when_idle(d);
}

/* Requests had their time: what is left is cut, and tasks go back into the queue; then the engines
 * go. */
static void cut_requests(void *arg)
{
    struct daemon *d = arg;

    if (!d->requests_ended) {
        log_warn("daemon", NULL, "requests are cut, since they did not end in time",
                 kv_int("requests", (int64_t)http_server_exchanges(d->server)));
        d->server = http_server_destroy(d->server);
    }
    tasks_drain(d->tasks, 0, on_tasks_ended, d);
    on_requests_ended(d);
}

static void on_stop(void *arg, int signum)
{
    struct daemon *d = arg;

    d->stop_signals++;
    log_info("daemon", NULL, "asked to stop", kv_int("signal", signum),
             kv_int("time", d->stop_signals));
    if (d->stop_signals == 1) {
        banner_stop(d);
        api_set_phase(d->api, API_DRAINING);
        placement_drain(d->placement);
        events_emit(d->events, EVENT_STOPPING, "", json_pack("{s:i}", "signal", signum));
        timer_start(&d->drain_limit, config_duration_ms(d->config, "server.drain_timeout"));
        http_server_drain(d->server, on_requests_ended, d);
        tasks_drain(d->tasks, config_duration_ms(d->config, "server.drain_timeout"), on_tasks_ended,
                    d);
    } else if (d->stop_signals == 2 && timer_active(&d->drain_limit)) {
        cut_requests(d);
    } else if (d->stop_signals > 2) {
        world_stop(d->world);
    }
}

static void tear_down(struct daemon *d)
{
    if (d->drain_limit.world) {
        timer_stop(&d->drain_limit);
    }
    d->server = http_server_destroy(d->server);
    d->admin_server = http_server_destroy(d->admin_server);
    for (size_t i = 0; i < d->subscription_count; i++) {
        notify_remove(&d->subscriptions[i]);
    }
    if (d->engines) {
        banner_stop(d);
    }
    d->front = front_destroy(d->front);
    d->router = router_destroy(d->router);
    d->monitor = monitor_destroy(d->monitor);
    d->batches = batches_destroy(d->batches);
    d->tasks = tasks_destroy(d->tasks);
    d->evaluations = evaluations_destroy(d->evaluations);
    d->task_instances = task_instances_destroy(d->task_instances);
    d->webhooks = webhooks_destroy(d->webhooks);
    d->gateway = gateway_destroy(d->gateway);
    d->placement = placement_destroy(d->placement);
    d->dispatch = dispatch_destroy(d->dispatch);
    d->engines = engines_destroy(d->engines);
    d->api = api_destroy(d->api);
    d->task_types = task_types_destroy(d->task_types);
    d->access = access_destroy(d->access);
    d->models = models_destroy(d->models);
    d->events = events_destroy(d->events);
    d->store = store_close(d->store); /* what those above have asked for is stored yet */
    d->gpu = gpu_destroy(d->gpu);
    d->metrics = metrics_destroy(d->metrics);
    d->world = world_destroy(d->world);
    d->config = config_free(d->config);
    data_dir_close(&d->dir);
    free(d->new_key);
    free(d->config_path);
}

/* Task Instances first: what they work on is adopted. */
static int start_tasks(struct daemon *d, struct error *reterr)
{
    int r = task_instances_start(d->task_instances, reterr);

    r = r < 0 ? r : tasks_start(d->tasks, reterr);
    r = r < 0 ? r : evaluations_start(d->evaluations, reterr);
    r = r < 0 ? r : batches_start(d->batches, reterr);
    return r < 0 ? r : webhooks_start(d->webhooks, reterr);
}

static int start(struct daemon *d, struct error *reterr)
{
    int r;

    r = build_rooms(d, reterr);
    if (r < 0) {
        return r;
    }
    timer_init(&d->drain_limit, d->world, "drain limit", cut_requests, d);
    daemon_wire(d);
    r = placement_load(d->placement, reterr);
    if (r < 0) {
        return r;
    }
    r = apply_models(d, reterr);
    if (r < 0) {
        return r;
    }
    r = start_listening(d, reterr);
    if (r < 0) {
        return r;
    }
    banner_start(d);
    r = engines_recover(d->engines, reterr);
    if (r < 0) {
        return r;
    }
    world_on_signal(d->world, SIGTERM, on_stop, d);
    world_on_signal(d->world, SIGINT, on_stop, d);
    world_on_signal(d->world, SIGHUP, on_hup, d);
    r = start_tasks(d, reterr);
    if (r < 0) {
        return r;
    }
    events_emit(d->events, EVENT_STARTED, "",
                json_pack("{s:s, s:i}", "version", BERTH_VERSION, "pid", (int)getpid()));
    return 0;
}

int daemon_run(const struct daemon_options *options)
{
    struct daemon d = { .options = options, .dir = { .lock_fd = -1 } };
    _cleanup_(freep) char *dir = daemon_data_dir(options->data_dir);
    struct error e = { 0 };
    int exit_code = 0;

    d.config_path = daemon_config_path(options->config_path);
    if (daemon_load_config(d.config_path, options->listen, &d.config, &e) < 0) {
        free(d.config_path);
        return complain(&e);
    }
    if (d.config_path && config_path(d.config)) {
        free(d.config_path);
        d.config_path = xstrdup(config_path(d.config)); /* absolute: we change the directory */
    }
    options_apply_log(d.config);
    if (data_dir_open(dir, &d.dir, &e) < 0 || start(&d, &e) < 0) {
        exit_code = complain(&e);
    } else {
        world_run(d.world);
        log_info("daemon", NULL, "stopped");
    }
    tear_down(&d);
    return exit_code;
}
