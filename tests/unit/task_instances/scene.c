// SPDX-License-Identifier: Apache-2.0
/* The simulated house of Task Instances. */
#include "scene.h"

#include <unistd.h>

#include "base/log.h"
#include "codec/json.h"
#include "models/models.h"

static const struct store_schema *const schemas[] = { &events_schema, &models_schema, &tasks_schema,
                                                      &task_instances_schema, NULL };
/* Of dispatch, whose other options need its whole house. */
static const struct option_row weight_row[] = {
    { "gateway.error_weight", OPTION_INT, "50", 0, 1000, NULL, true, false, "As dispatch has it." },
};
static const struct option_table weight_option = { weight_row, 1 };
static const struct option_table *const tables[] = { &tasks_options, &weight_option,
                                                     &task_instances_options, NULL };

/* ---- fakes ---- */

static void answer(struct http_exchange *x, int status, json_t *json)
{
    http_respond_json(x, status, json);
}

static unsigned pending(const struct fake *f)
{
    unsigned n = 0;

    for (unsigned i = 0; i < f->count; i++) {
        n += !f->tasks[i].ended;
    }
    return n;
}

static void answer_how(struct fake *f, struct http_exchange *x, bool info)
{
    const int queue = f->queue_size >= 0 ? f->queue_size : (int)pending(f);
    const char *status = pending(f) > 0 || queue > 0 ? "running" : "idle";

    if (info != (f->generation == 3)) {
        answer(x, 404, json_pack("{s:s}", "detail", "Not Found"));
    } else if (info) {
        answer(x, 200,
               json_pack("{s:{s:s, s:i}, s:{s:i}, s:s}", "deployed_model", "model_name", f->model,
                         "replicas", f->replicas, "queue_info", "length_of_queue", queue,
                         "instance_status", status));
    } else {
        answer(x, 200,
               json_pack("{s:s, s:s?, s:i, s:i, s:s}", "instance_id", f->name ? f->name : f->host,
                         "model_type", f->model, "replicas_running", f->replicas, "queue_size",
                         queue, "status", status));
    }
}

static void on_completed(void *arg, int result, const struct task *task, double total_ms,
                         const struct error *e)
{
    struct scene *s = arg;

    s->completions++;
    s->result = result;
    s->total_ms = total_ms;
}

static void take(struct fake *f, struct http_exchange *x)
{
    struct span body = http_exchange_body(x);
    json_t *json = NULL;
    const char *ours;
    struct fake_task *t;

    if (f->enqueue_status) {
        answer(x, f->enqueue_status, json_pack("{s:s}", "detail", "refused by the test"));
        return;
    }
    assert_true(f->count < FAKE_TASKS);
    assert_int_equal(json_read(body, 1 << 20, &json, NULL), 0);
    t = &f->tasks[f->count++];
    *t = (struct fake_task){ .ended = false };
    ours = json_string_value(json_object_get(json, "task_id"));
    if (f->generation == 3) {
        assert_non_null(ours);
        assert_non_null(json_object_get(json, "task_input"));
        snprintf(t->our_id, sizeof(t->our_id), "%s", ours);
        snprintf(t->name, sizeof(t->name), "%s", ours);
    } else {
        assert_non_null(json_object_get(json, "input_data"));
        assert_non_null(json_object_get(json, "metadata"));
        snprintf(t->name, sizeof(t->name), "t/%u@%s", f->count, f->host);
    }
    json_decref(json);
    if (f->complete_first) {
        task_instances_complete(f->scene->ti,
                                &(struct task_completion){ .task_id = t->name,
                                                           .instance_id = f->host,
                                                           .execution_ms = 5,
                                                           .result = SPAN("1") },
                                on_completed, f->scene);
        t->ended = true;
    }
    if (f->mute_enqueue) {
        f->held = x;
        return;
    }
    answer(x, 200,
           json_pack("{s:s, s:i, s:f}", "task_id", t->name, "queue_size", (int)f->count,
                     "enqueue_time", 1.5));
}

static void give_result(struct fake *f, struct http_exchange *x, struct span name)
{
    char *text = http_decode((struct span){ name.p, name.n }, false);

    f->asked_results++;
    if (f->result_bytes) {
        _cleanup_(freep) char *long_text = xmalloc(f->result_bytes);

        memset(long_text, 'x', f->result_bytes);
        answer(
            x, 200,
            json_pack("{s:s, s:s%}", "status", "completed", "result", long_text, f->result_bytes));
        free(text);
        return;
    }
    for (unsigned i = 0; i < f->count && !f->forgetful; i++) {
        const struct fake_task *t = &f->tasks[i];

        if (str_eq(t->name, text)) {
            answer(x, 200,
                   t->ended ? json_pack("{s:s, s:{s:s}, s:s, s:s?, s:f, s:f, s:f, s:f, s:f}",
                                        "task_id", t->name, "result", "out", t->name, "status",
                                        t->failed ? "failed" : "completed", "error",
                                        t->failed ? "it broke" : NULL, "enqueue_time", 100.0,
                                        "completion_time", 100.5, "wait_time", 0.1,
                                        "execution_time", 0.4, "total_time", 0.5)
                            : json_pack("{s:s, s:n, s:s}", "task_id", t->name, "result", "status",
                                        "running"));
            free(text);
            return;
        }
    }
    free(text);
    answer(x, 404, json_pack("{s:s}", "detail", "Task not found"));
}

static void on_gone(void *owner)
{
}

static const struct http_exchange_events silence = { .on_gone = on_gone };

static void on_request(void *owner, struct http_exchange *x)
{
    struct fake *f = owner;
    struct span path = http_exchange_head(x)->path;

    http_exchange_set_events(x, &silence, f);
    f->asked_status += span_eq(path, "/status");
    f->asked_info += span_eq(path, "/info");
    f->asked_predict += span_eq(path, "/queue/predict");
    if (f->mute || (f->mute_predict && span_eq(path, "/queue/predict"))) {
        return;
    }
    if (span_eq(path, "/status") || span_eq(path, "/info")) {
        answer_how(f, x, span_eq(path, "/info"));
    } else if (span_eq(path, "/queue/predict")) {
        answer(x, f->predict_status ? f->predict_status : 200,
               json_pack("{s:f, s:f, s:i}", "expected_ms", f->expected, "error_ms", f->error,
                         "queue_size", (int)pending(f)));
    } else if (span_eq(path, f->generation == 3 ? "/queue/submit" : "/queue/enqueue")) {
        take(f, x);
    } else if (span_starts(path, "/results/")) {
        give_result(f, x, (struct span){ path.p + 9, path.n - 9 });
    } else {
        answer(x, 404, json_pack("{s:s}", "detail", "Not Found"));
    }
}

void fake_up(struct scene *s, int i, const char *model)
{
    struct fake *f = &s->fakes[i];
    struct address where = { .port = 8100 };
    struct error e = { 0 };

    f->scene = s;
    f->model = model;
    f->generation = f->generation ? f->generation : 2;
    f->replicas = 1;
    f->queue_size = -1;
    snprintf(f->host, sizeof(f->host), "10.0.0.%d", i + 1);
    snprintf(where.host, sizeof(where.host), "%s", f->host);
    f->server =
        http_server_create(s->w, &(struct http_server_options){ .handle = on_request, .owner = f });
    assert_int_equal(http_server_listen(f->server, &where, NULL, NULL, &e), 0);
}

void fake_down(struct scene *s, int i)
{
    s->fakes[i].server = http_server_destroy(s->fakes[i].server);
}

/* ---- berth ---- */

static void open_rooms(struct scene *s)
{
    struct error e = { 0 };

    assert_int_equal(store_open(s->w,
                                &(struct store_options){ .path = s->path, .schemas = schemas },
                                &s->store, &e),
                     0);
    s->events = events_create(s->w, s->store);
    s->models = models_create(s->w, s->store, s->events);
    assert_int_equal(models_load(s->models, &e), 0);
    s->metrics = metrics_create();
    s->tasks = tasks_create(&(struct tasks_in){ .world = s->w,
                                                .config = s->config,
                                                .store = s->store,
                                                .events = s->events,
                                                .models = s->models,
                                                .metrics = s->metrics });
    s->ti = task_instances_create(s->w, s->config, s->store, s->events, s->tasks, s->metrics);
    tasks_set_runner(s->tasks, TASK_OF_INSTANCE, &task_instance_runner, s->ti);
    s->on_task = (struct listener){ .fn = task_instances_on_task, .owner = s->ti };
    notify_add(tasks_signal(s->tasks), &s->on_task);
    if (task_instances_start(s->ti, &e) < 0 || tasks_start(s->tasks, &e) < 0) {
        fail_msg("%s", e.text);
    }
}

static void close_rooms(struct scene *s)
{
    s->tasks = tasks_destroy(s->tasks);
    s->ti = task_instances_destroy(s->ti);
    s->models = models_destroy(s->models);
    s->events = events_destroy(s->events);
    s->store = store_close(s->store);
    s->metrics = metrics_destroy(s->metrics);
}

void scene_open(struct scene *s, const char *yaml)
{
    static const char *const environment[] = { NULL };
    char path[128] = "";
    struct error e = { 0 };

    memset(s, 0, sizeof(*s));
    log_set_fd(-1);
    s->w = sim_create(7);
    snprintf(s->dir, sizeof(s->dir), "/tmp/berth-ti-XXXXXX");
    assert_non_null(mkdtemp(s->dir));
    snprintf(s->path, sizeof(s->path), "%s/berth.db", s->dir);
    if (yaml) {
        FILE *f;

        snprintf(path, sizeof(path), "%s/berth.yaml", s->dir);
        f = fopen(path, "w");
        fputs(yaml, f);
        fclose(f);
    }
    if (config_load(yaml ? path : NULL, environment, tables, &s->config, &e) < 0) {
        fail_msg("%s", e.text);
    }
    open_rooms(s);
}

void scene_close(struct scene *s)
{
    char command[128];

    close_rooms(s);
    for (int i = 0; i < FAKES; i++) {
        fake_down(s, i);
    }
    s->config = config_free(s->config);
    world_destroy(s->w);
    snprintf(command, sizeof(command), "rm -rf %s", s->dir);
    assert_int_equal(system(command), 0);
}

static void on_drained(void *arg)
{
    ((struct scene *)arg)->answers++;
}

void scene_restart(struct scene *s)
{
    const unsigned before = s->answers;

    tasks_drain(s->tasks, 1000, on_drained, s);
    wait_answer(s, before);
    close_rooms(s);
    open_rooms(s);
}

void run_for(struct scene *s, uint64_t ms)
{
    sim_run_for(s->w, ms);
}

void wait_answer(struct scene *s, unsigned before)
{
    for (int i = 0; i < 20000 && s->answers == before; i++) {
        sim_run_for(s->w, 1);
    }
    assert_int_equal(s->answers, before + 1);
}

/* ---- asking ---- */

static void on_instance(void *arg, int result, const struct task_instance *instance,
                        const struct error *e)
{
    struct scene *s = arg;

    s->answers++;
    s->result = result;
    snprintf(s->uuid, sizeof(s->uuid), "%s", instance ? instance->uuid : "");
    snprintf(s->error, sizeof(s->error), "%s", e ? e->text : "");
}

int scene_register(struct scene *s, int i)
{
    const unsigned before = s->answers;

    task_instances_register(s->ti, s->fakes[i].host, 8100, NULL, on_instance, s);
    wait_answer(s, before);
    return s->result;
}

int scene_remove(struct scene *s, const char *uuid, bool drain)
{
    const unsigned before = s->answers;

    task_instances_remove(s->ti, uuid, drain, on_instance, s);
    wait_answer(s, before);
    return s->result;
}

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct scene *s = arg;

    s->answers++;
    s->result = result;
    snprintf(s->task_id, sizeof(s->task_id), "%s", task ? task->public_id : "");
    snprintf(s->chosen, sizeof(s->chosen), "%s", task && task->instance ? task->instance : "");
    snprintf(s->error, sizeof(s->error), "%s", e ? e->text : "");
}

int scene_submit(struct scene *s, const char *model, const char *metadata)
{
    return scene_submit_as(s, model, metadata, NULL);
}

int scene_submit_as(struct scene *s, const char *model, const char *metadata, const char *task_id)
{
    const unsigned before = s->answers;

    task_instances_submit(s->ti,
                          &(struct task_instance_order){ .model = model,
                                                         .task_id = task_id,
                                                         .input = SPAN("{\"page\":3}"),
                                                         .metadata = span_of(metadata) },
                          on_submitted, s);
    wait_answer(s, before);
    return s->result;
}

int scene_complete(struct scene *s, const char *instance, const char *task, double ms,
                   const char *result)
{
    const unsigned before = s->completions;

    task_instances_complete(s->ti,
                            &(struct task_completion){ .task_id = task,
                                                       .instance_id = instance,
                                                       .execution_ms = ms,
                                                       .result = span_of(result) },
                            on_completed, s);
    for (int i = 0; i < 20000 && s->completions == before; i++) {
        sim_run_for(s->w, 1);
    }
    assert_int_equal(s->completions, before + 1);
    return s->result;
}

void scene_many(struct scene *s, const char *model, const char *instance, int from, int count)
{
    char id[32];
    const unsigned answers = s->answers, completions = s->completions;

    for (int i = from; i < from + count; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        task_instances_submit(
            s->ti,
            &(struct task_instance_order){ .model = model, .task_id = id, .input = SPAN("{}") },
            on_submitted, s);
    }
    while (s->answers < answers + (unsigned)count) {
        sim_run_for(s->w, 1);
    }
    for (int i = from; i < from + count; i++) {
        snprintf(id, sizeof(id), "many-%d", i);
        task_instances_complete(
            s->ti,
            &(struct task_completion){
                .task_id = id, .instance_id = instance, .execution_ms = 1, .result = SPAN("1") },
            on_completed, s);
    }
    while (s->completions < completions + (unsigned)count) {
        sim_run_for(s->w, 1);
    }
}

static void on_details(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct scene *s = arg;

    s->answers++;
    s->result = result >= 0 ? (int)d->task->state : -1;
    s->output[0] = '\0';
    if (result >= 0) {
        snprintf(s->output, sizeof(s->output), "%.*s", (int)d->task->output_len,
                 d->task->output ? d->task->output : "");
        snprintf(s->chosen, sizeof(s->chosen), "%s", d->task->instance ? d->task->instance : "");
        snprintf(s->error, sizeof(s->error), "%s", d->task->error ? d->task->error : "");
    }
}

int scene_query(struct scene *s, const char *task_id)
{
    const unsigned before = s->answers;

    tasks_get_public(s->tasks, task_id, on_details, s);
    wait_answer(s, before);
    return s->result;
}

const struct task_instance *scene_instance(struct scene *s, int i)
{
    const struct task_instance *p;
    size_t cursor = 0;

    while ((p = task_instances_next(s->ti, &cursor))) {
        if (str_eq(p->host, s->fakes[i].host)) {
            return p;
        }
    }
    return NULL;
}

int fake_of(struct scene *s, const char *uuid)
{
    const struct task_instance *p = task_instances_find(s->ti, uuid);

    for (int i = 0; p && i < FAKES; i++) {
        if (str_eq(p->host, s->fakes[i].host)) {
            return i;
        }
    }
    return -1;
}
