// SPDX-License-Identifier: Apache-2.0
/* Builds the rooms as the daemon does, in a simulated world; scripted engines answer their probes.
 */
#include "fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* ---- engines: each is an HTTP server on the socket that its command line names ---- */

struct scripted_engine {
    struct http_server *server;
    struct timer end;
    struct sim_process *process;
};

/* Health and properties are one answer; everything else says what it was asked. */
static void on_engine_request(void *owner, struct http_exchange *x)
{
    const struct fixture *f = owner;
    const struct http_head *head = http_exchange_head(x);
    const struct span body = http_exchange_body(x);
    _cleanup_(freep) char *echo = NULL;

    if (span_eq(head->path, "/health") || span_eq(head->path, "/props") ||
        span_eq(head->path, "/slots")) {
        http_respond(x, 200, "application/json", SPAN("{\"status\":\"ok\",\"total_slots\":2}"));
        return;
    }
    echo = xasprintf("%.*s %.*s %.*s", SPAN_ARG(head->method), SPAN_ARG(head->target), (int)body.n,
                     body.p ? body.p : "");
    http_respond(x, f->engine_status ? f->engine_status : 200, "text/plain", span_of(echo));
}

static void on_engine_end(void *arg)
{
    struct scripted_engine *engine = arg;

    sim_process_exit(engine->process, 1, 0);
}

static const char *host_argument(const struct spawn_spec *spec)
{
    for (size_t i = 0; spec->argv[i] && spec->argv[i + 1]; i++) {
        if (str_eq(spec->argv[i], "--host")) {
            return spec->argv[i + 1];
        }
    }
    return "";
}

static int start_engine(struct sim_process *p, const struct spawn_spec *spec)
{
    struct fixture *f = sim_process_context(p);
    const struct http_server_options options = { .handle = on_engine_request, .owner = f };
    struct scripted_engine *engine = xcalloc(1, sizeof(*engine));
    struct address where = { .is_unix = true };
    struct error e;

    p->user = engine;
    engine->process = p;
    timer_init(&engine->end, p->world, "scripted end", on_engine_end, engine);
    if (f->engine_broken) {
        timer_start(&engine->end, 5);
        return 0;
    }
    snprintf(where.path, sizeof(where.path), "%s", host_argument(spec));
    engine->server = http_server_create(p->world, &options);
    assert_int_equal(http_server_listen(engine->server, &where, NULL, NULL, &e), 0);
    return 0;
}

static void finish_engine(struct sim_process *p)
{
    struct scripted_engine *engine = p->user;

    timer_stop(&engine->end);
    http_server_destroy(engine->server);
    free(engine);
}

static const struct sim_program engine_program = { .start = start_engine, .finish = finish_engine };

/* ---- the rooms ---- */

static const struct option_row test_rows[] = {
    { "server.listen", OPTION_LIST, "127.0.0.1:8080", 0, 0, NULL, false, false,
      "Where to listen." },
    { "server.token", OPTION_STRING, "hush", 0, 0, NULL, false, true, "A secret." },
};
static const struct option_table test_options = { test_rows, ARRAY_SIZE(test_rows) };

static void load_config(struct fixture *f)
{
    const struct option_table *const tables[] = {
        &test_options,     &access_options,      &gpu_options,     &engines_options,
        &dispatch_options, &placement_options,   &gateway_options, &tasks_options,
        &webhooks_options, &evaluations_options, &api_options,     NULL
    };
    char *setting = xasprintf("BERTH_ENGINES_LLAMA_SERVER=%s/engine", f->dir);
    const char *const env[] = { setting, "BERTH_GPU_SCRIPTED=devices.yaml",
                                "BERTH_GPU_INTERVAL=10s",
                                "BERTH_CORS_ORIGINS=https://app.example,*", NULL };
    struct error e = { 0 };

    if (config_load(NULL, env, tables, &f->config, &e) < 0) {
        fail_msg("%s", e.text);
    }
    free(setting);
}

static const char devices[] =
    "devices:\n"
    "  - {id: GPU-a, uuid: GPU-a, name: Card A, memory_total: 1000MiB, memory_used: 300.5MiB,\n"
    "     utilization: 79.9, temperature: 50, power: 120.5, driver_version: 570.1.2,\n"
    "     processes: [{pid: 1, memory: 10MiB}, {pid: 2}]}\n"
    "  - {name: Card B, vendor: amd, memory_total: 2000MiB, utilization: 80}\n";

static void make_files(struct fixture *f)
{
    int fd;

    strcpy(f->dir, "/tmp/berth-api-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(chdir(f->dir), 0);
    f->model_path = xasprintf("%s/model.gguf", f->dir);
    fd = open(f->model_path, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, "GGUF", 4), 4);
    close(fd);
    fd = open("devices.yaml", O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, devices, strlen(devices)), (ssize_t)strlen(devices));
    close(fd);
    fd = open("engine", O_CREAT | O_WRONLY, 0700);
    close(fd);
}

static void build(struct fixture *f)
{
    static const struct store_schema *const schemas[] = {
        &events_schema,   &access_schema,    &models_schema,
        &webhooks_schema, &tasks_schema,     &evaluations_schema,
        &engines_schema,  &placement_schema, NULL
    };
    const struct store_options store = { .path = ":memory:", .schemas = schemas };
    struct error e = { 0 };
    char *new_key = NULL;

    f->metrics = metrics_create();
    assert_int_equal(
        gpu_create(
            &(struct gpu_in){ .world = f->world, .config = f->config, .metrics = f->metrics },
            &f->gpu, &e),
        0);
    assert_int_equal(store_open(f->world, &store, &f->store, &e), 0);
    f->events = events_create(f->world, f->store);
    f->models = models_create(f->world, f->store, f->events);
    assert_int_equal(models_load(f->models, &e), 0);
    assert_int_equal(access_create(f->world, f->store, f->config, false, &f->access, &new_key, &e),
                     0);
    assert_null(new_key);
    assert_int_equal(task_types_create(f->config, &f->task_types, &e), 0);
    f->webhooks = webhooks_create(f->world, f->config, f->store, f->metrics);
    f->tasks = tasks_create(&(struct tasks_in){ .world = f->world,
                                                .config = f->config,
                                                .store = f->store,
                                                .events = f->events,
                                                .models = f->models,
                                                .metrics = f->metrics });
    tasks_set_webhooks(f->tasks, f->webhooks);
    f->evaluations = evaluations_create(&(struct evaluations_in){
        .world = f->world, .config = f->config, .store = f->store, .tasks = f->tasks });
    f->engines = engines_create(&(struct engines_options_in){ .world = f->world,
                                                              .config = f->config,
                                                              .store = f->store,
                                                              .events = f->events,
                                                              .models = f->models,
                                                              .metrics = f->metrics,
                                                              .gpu = f->gpu,
                                                              .data_id = "test",
                                                              .self_path = "/proc/self/exe" });
    f->dispatch = dispatch_create(f->world, f->config, f->models, f->engines, f->metrics);
    f->placement = placement_create(&(struct placement_in){ .world = f->world,
                                                            .config = f->config,
                                                            .store = f->store,
                                                            .events = f->events,
                                                            .models = f->models,
                                                            .engines = f->engines,
                                                            .dispatch = f->dispatch,
                                                            .gpu = f->gpu,
                                                            .metrics = f->metrics });
    assert_int_equal(placement_load(f->placement, &e), 0);
    f->gateway = gateway_create(&(struct gateway_in){ .world = f->world,
                                                      .config = f->config,
                                                      .models = f->models,
                                                      .engines = f->engines,
                                                      .dispatch = f->dispatch,
                                                      .placement = f->placement,
                                                      .metrics = f->metrics,
                                                      .task_types = f->task_types });
    tasks_set_runner(f->tasks, TASK_OF_QUEUE, &gateway_task_runner, f->gateway);
    tasks_set_runner(f->tasks, TASK_OF_BATCH, &gateway_task_runner, f->gateway);
    tasks_set_runner(f->tasks, TASK_OF_EVALUATION, &evaluation_runner, f->evaluations);
    f->monitor = monitor_create(&(struct monitor_in){ .world = f->world,
                                                      .gpu = f->gpu,
                                                      .models = f->models,
                                                      .engines = f->engines,
                                                      .dispatch = f->dispatch,
                                                      .gateway = f->gateway,
                                                      .tasks = f->tasks });
    f->router = router_create();
    f->api = api_create(&(struct api_in){ .world = f->world,
                                          .config = f->config,
                                          .store = f->store,
                                          .events = f->events,
                                          .models = f->models,
                                          .engines = f->engines,
                                          .dispatch = f->dispatch,
                                          .placement = f->placement,
                                          .gateway = f->gateway,
                                          .gpu = f->gpu,
                                          .tasks = f->tasks,
                                          .task_types = f->task_types,
                                          .evaluations = f->evaluations,
                                          .monitor = f->monitor,
                                          .metrics = f->metrics,
                                          .router = f->router,
                                          .data_dir = f->dir,
                                          .version = "9.9" });
    api_add_routes(f->api, f->router);
    router_add(f->router, gateway_routes(f->gateway));
    router_add(f->router, gateway_anthropic_routes(f->gateway));
    router_add(f->router, gateway_ollama_routes(f->gateway));
    f->front = front_create(f->router, f->access, f->metrics);
}

static void listen_to(struct fixture *f, struct notify *to, void (*fn)(void *, const void *),
                      void *owner)
{
    struct listener *l = &f->listeners[f->listener_count++];

    l->fn = fn;
    l->owner = owner;
    notify_add(to, l);
}

struct fixture *fixture_create(void)
{
    struct fixture *f = xcalloc(1, sizeof(*f));
    const struct http_server_options server = { .handle = front_handle,
                                                .on_head = front_on_head,
                                                .error_body = front_error_body };
    struct http_upstream_options client = { 0 };
    struct error e = { 0 };

    log_set_fd(-1);
    make_files(f);
    f->world = sim_create(1);
    load_config(f);
    build(f);
    listen_to(f, models_signal(f->models), engines_on_model, f->engines);
    listen_to(f, models_signal(f->models), dispatch_on_model, f->dispatch);
    listen_to(f, models_signal(f->models), placement_on_model, f->placement);
    listen_to(f, models_signal(f->models), gateway_on_model, f->gateway);
    listen_to(f, models_signal(f->models), tasks_on_model, f->tasks);
    listen_to(f, models_signal(f->models), api_on_model, f->api);
    listen_to(f, tasks_signal(f->tasks), evaluations_on_task, f->evaluations);
    listen_to(f, evaluations_signal(f->evaluations), api_on_evaluation, f->api);
    listen_to(f, tasks_signal(f->tasks), api_on_task, f->api);
    listen_to(f, engines_signal(f->engines), dispatch_on_instance, f->dispatch);
    listen_to(f, engines_signal(f->engines), placement_on_instance, f->placement);
    listen_to(f, dispatch_demand_signal(f->dispatch), placement_on_demand, f->placement);
    listen_to(f, gpu_signal(f->gpu), placement_on_device, f->placement);
    listen_to(f, events_signal(f->events), api_on_event, f->api);
    listen_to(f, monitor_signal(f->monitor), api_on_sample, f->api);
    gpu_start(f->gpu); /* nothing is placed before the devices are known */
    sim_run_for(f->world, 10);
    sim_set_program(f->world, "/engine", &engine_program, f);
    assert_int_equal(engines_recover(f->engines, &e), 0);
    assert_int_equal(tasks_start(f->tasks, &e), 0);
    assert_int_equal(evaluations_start(f->evaluations, &e), 0);

    struct http_server_options options = server;
    options.owner = f->front;
    f->server = http_server_create(f->world, &options);
    f->tag = (struct access_listener){ .loopback = true };
    assert_int_equal(address_parse("127.0.0.1:8080", &client.where, &e), 0);
    assert_int_equal(http_server_listen(f->server, &client.where, &f->tag, NULL, &e), 0);
    f->client = http_upstream_create(f->world, &client);
    api_set_phase(f->api, API_SERVING);
    return f;
}

static void on_engines_stopped(void *arg)
{
    *(bool *)arg = true;
}

static bool is_true(void *arg)
{
    return *(bool *)arg;
}

void fixture_destroy(struct fixture *f)
{
    bool stopped = false;

    engines_stop_all(f->engines, on_engines_stopped, &stopped);
    assert_true(sim_run_until(f->world, is_true, &stopped, 60000));
    http_upstream_destroy(f->client);
    http_server_destroy(f->server);
    for (size_t i = 0; i < f->listener_count; i++) {
        notify_remove(&f->listeners[i]);
    }
    front_destroy(f->front);
    router_destroy(f->router);
    monitor_destroy(f->monitor);
    tasks_destroy(f->tasks);
    evaluations_destroy(f->evaluations);
    webhooks_destroy(f->webhooks);
    gateway_destroy(f->gateway);
    placement_destroy(f->placement);
    dispatch_destroy(f->dispatch);
    engines_destroy(f->engines);
    api_destroy(f->api);
    task_types_destroy(f->task_types);
    store_close(f->store);
    models_destroy(f->models);
    access_destroy(f->access);
    events_destroy(f->events);
    gpu_destroy(f->gpu);
    metrics_destroy(f->metrics);
    assert_int_equal(sim_live_processes(f->world), 0);
    world_destroy(f->world);
    config_free(f->config);
    unlink(f->model_path);
    unlink("engine");
    unlink("devices.yaml");
    assert_int_equal(chdir("/"), 0);
    rmdir(f->dir);
    free(f->model_path);
    free(f);
}

/* ---- asking ---- */

struct asking {
    struct answer *answer;
    bool done;
};

static void on_answer(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct asking *a = owner;

    if (result < 0) {
        print_error("the request failed: %s\n", e->text);
    }
    assert_int_equal(result, 0);
    a->answer->status = status;
    a->answer->body = xstrndup(body.p ? body.p : "", body.n);
    a->answer->json = json_loads(a->answer->body, JSON_DECODE_ANY, NULL);
    a->done = true;
}

struct answer ask_with(struct fixture *f, const char *method, const char *path, const char *body,
                       const char *headers)
{
    const struct span part = span_of(body);
    const struct http_call_request request = { .method = method,
                                               .path = path,
                                               .headers = headers,
                                               .body = &part,
                                               .body_parts = body ? 1 : 0 };
    struct answer answer = { 0 };
    struct asking asking = { .answer = &answer };

    http_fetch_start(f->client, &request, 64 << 20, on_answer, &asking);
    if (!sim_run_until(f->world, is_true, &asking.done, 900000)) {
        fail_msg("%s %s is never answered", method, path);
    }
    return answer;
}

struct answer ask(struct fixture *f, const char *method, const char *path, const char *body)
{
    return ask_with(f, method, path, body, body ? "Content-Type: application/json\r\n" : NULL);
}

struct listening {
    struct stream *stream;
    struct buf got;
    bool over;
};

static void on_raw_data(void *owner, const char *p, size_t n)
{
    (void)buf_append(&((struct listening *)owner)->got, p, n);
}

static void on_raw_end(void *owner, int err)
{
    ((struct listening *)owner)->over = true;
}

static void on_raw_drain(void *owner)
{
}

static const struct stream_handler raw_handler = { on_raw_data, on_raw_end, on_raw_drain };

static void on_raw_connect(void *owner, struct stream *s, const struct error *e)
{
    struct listening *l = owner;

    assert_null(e);
    l->stream = s;
    stream_set_handler(s, &raw_handler, l);
    stream_read_start(s);
}

char *ask_raw(struct fixture *f, const char *request)
{
    struct listening l = { .got = BUF_INIT(1 << 20) };
    struct address where;

    assert_int_equal(address_parse("127.0.0.1:8080", &where, NULL), 0);
    stream_connect(f->world, &where, on_raw_connect, &l);
    sim_run_for(f->world, 10);
    assert_non_null(l.stream);
    stream_write(l.stream, request, strlen(request));
    assert_true(sim_run_until(f->world, is_true, &l.over, 60000)); /* it says Connection: close */
    stream_close(l.stream);
    buf_puts(&l.got, "");
    return buf_take(&l.got, NULL);
}

void ask_expect(struct fixture *f, int status, const char *method, const char *path,
                const char *body)
{
    struct answer a = ask(f, method, path, body);

    if (a.status != status) {
        fail_msg("%s %s gives %d instead of %d: %s", method, path, a.status, status, a.body);
    }
    answer_finish(&a);
}

void answer_finish(struct answer *a)
{
    free(a->body);
    json_decref(a->json);
    *a = (struct answer){ 0 };
}

char *definition(struct fixture *f, const char *id)
{
    return xasprintf(
        "{\"id\":\"%s\",\"name\":\"A model\",\"framework\":\"llama_cpp\",\"model_path\":\"%s\","
        "\"priority\":5,\"resource_requirements\":{\"gpu_memory\":64},"
        "\"retry_policy\":{\"max_attempts\":2,\"initial_delay\":1}}",
        id, f->model_path);
}
