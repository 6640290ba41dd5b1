// SPDX-License-Identifier: Apache-2.0
/* See batch_house.h. */
#include "batch_house.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"

static const struct store_schema *const schemas[] = { &events_schema,   &models_schema,
                                                      &webhooks_schema, &tasks_schema,
                                                      &batches_schema,  NULL };
static const struct option_table *const tables[] = { &tasks_options, &batches_options,
                                                     &webhooks_options, NULL };

/* ---- the engine ---- */

struct run {
    struct list node;
    struct house *h;
    struct task_slot *slot;
    char *input; /* NULL until it runs */
    struct timer timer;
};

static void run_free(struct run *run)
{
    timer_stop(&run->timer);
    list_remove(&run->node);
    run->h->running--;
    free(run->input);
    free(run);
}

static void on_run(void *arg)
{
    struct run *run = arg;
    struct house *h = run->h;
    struct task_slot *slot = run->slot;
    struct error err = { 0 };
    json_t *json, *status;
    char text[128];
    struct task_result result = { .http_status = 200 };

    if (h->holds) {
        return;
    }
    if (json_read(span_of(run->input), JSON_BYTES_MAX, &json, &err) < 0) {
        fail_msg("%s: %s", run->input, err.text);
    }
    status = json_object_get(json, "status");
    snprintf(text, sizeof(text), "{\n \"n\": %lld\n}",
             (long long)json_integer_value(json_object_get(json, "n")));
    if (json_is_true(json_object_get(json, "dead"))) {
        result = (struct task_result){ .error = -EIO, .text = "the engine broke" };
    } else {
        result.output = span_of(text);
    }
    if (status) {
        result.http_status = (int)json_integer_value(status);
        result.error = -EINVAL;
        result.text = "refused";
    }
    json_decref(json);
    h->answered++;
    run_free(run);
    task_slot_done(slot, &result);
    tasks_wake(h->tasks);
}

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    struct house *h = owner;
    struct run *run;

    if (h->running >= h->places) {
        return error_set(reterr, -EAGAIN, "no place");
    }
    run = xcalloc(1, sizeof(*run));
    run->h = h;
    run->slot = slot;
    timer_init(&run->timer, h->w, "engine", on_run, run);
    list_append(&h->runs, &run->node);
    h->running++;
    slot->runner_data = run;
    return 1;
}

static void start_run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct run *run = slot->runner_data;

    assert_string_equal(work->type, "batch");
    assert_true(span_eq(work->options, "{\"url\":\"/v1/chat/completions\"}"));
    run->input = span_dup(work->input);
    timer_start(&run->timer, 1);
}

static void cancel_run(void *owner, struct task_slot *slot)
{
    run_free(slot->runner_data);
}

static const struct task_runner runner = {
    .name = "house", .reserve = reserve, .run = start_run, .cancel = cancel_run
};

/* ---- the house ---- */

void house_up(struct house *h)
{
    struct error err = { 0 };

    if (store_open(
            h->w, &(struct store_options){ .path = "berth.db", .vfs = "crash", .schemas = schemas },
            &h->store, &err) < 0) {
        fail_msg("%s", err.text);
    }
    h->events = events_create(h->w, h->store);
    h->models = models_create(h->w, h->store, h->events);
    h->metrics = metrics_create();
    assert_int_equal(models_load(h->models, NULL), 0);
    h->hooks = webhooks_create(h->w, h->config, h->store, h->metrics);
    h->tasks = tasks_create(
        &(struct tasks_in){ h->w, h->config, h->store, h->events, h->models, h->metrics });
    for (int kind = 0; kind < TASK_KIND_MAX_; kind++) {
        tasks_set_runner(h->tasks, (enum task_kind)kind, &runner, h);
    }
    h->b = batches_create(h->w, h->config, h->store, h->events, h->models, h->tasks);
    h->on_task = (struct listener){ .fn = batches_on_task, .owner = h->b };
    notify_add(tasks_signal(h->tasks), &h->on_task);
    h->on_batch = (struct listener){ .fn = webhooks_on_change, .owner = h->hooks };
    notify_add(batches_signal(h->b), &h->on_batch);
    h->on_model = (struct listener){ .fn = tasks_on_model, .owner = h->tasks };
    notify_add(models_signal(h->models), &h->on_model);
    assert_int_equal(tasks_start(h->tasks, &err), 0);
    assert_int_equal(batches_start(h->b, &err), 0);
    assert_int_equal(webhooks_start(h->hooks, &err), 0);
}

void house_down(struct house *h)
{
    h->b = batches_destroy(h->b);
    h->tasks = tasks_destroy(h->tasks);
    h->hooks = webhooks_destroy(h->hooks);
    while (!list_empty(&h->runs)) {
        run_free(container_of(h->runs.next, struct run, node));
    }
    h->models = models_destroy(h->models);
    h->events = events_destroy(h->events);
    h->store = store_close(h->store);
    h->metrics = metrics_destroy(h->metrics);
    if (crash_disk_is_cut(h->disk)) {
        crash_disk_power_on(h->disk);
    }
    crash_disk_cut_after(h->disk, 0);
}

void house_restart(struct house *h)
{
    house_down(h);
    house_up(h);
}

static void load_config(struct house *h, const char *yaml)
{
    static const char *const environment[] = { NULL };
    struct error err = { 0 };
    FILE *file = fopen("berth.yaml", "w");

    fputs(yaml ? yaml : "{}\n", file);
    fclose(file);
    if (config_load("berth.yaml", environment, tables, &h->config, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

void house_open(struct house *h, const char *yaml)
{
    const uint64_t seed = test_seed("batches");

    memset(h, 0, sizeof(*h));
    log_set_fd(-1);
    list_init(&h->runs);
    assert_non_null(getcwd(h->cwd, sizeof(h->cwd)));
    snprintf(h->dir, sizeof(h->dir), "/tmp/berth-batches-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    assert_int_equal(chdir(h->dir), 0);
    load_config(h, yaml);
    h->w = sim_create(seed);
    h->disk = crash_disk_create(seed);
    h->places = 8;
    house_up(h);
    house_add_model(h, "m");
}

void house_close(struct house *h)
{
    char command[128];

    house_down(h);
    crash_disk_destroy(h->disk);
    h->config = config_free(h->config);
    world_destroy(h->w);
    assert_int_equal(chdir(h->cwd), 0);
    snprintf(command, sizeof(command), "rm -rf '%s'", h->dir);
    assert_int_equal(system(command), 0);
}

void house_settle(struct house *h)
{
    sim_run_for(h->w, 5);
}

/* ---- questions ---- */

static void note(struct house *h, int result, const struct error *e)
{
    assert_int_equal(h->result, 1); /* once */
    h->result = result;
    snprintf(h->error, sizeof(h->error), "%s", result < 0 ? e->text : "");
}

static bool is_answered(void *arg)
{
    return ((struct house *)arg)->result != 1;
}

static int wait_for_answer(struct house *h)
{
    if (!sim_run_until(h->w, is_answered, h, 60000)) {
        fail_msg("no answer came");
    }
    return h->result;
}

static void on_file(void *arg, int result, const struct batch_file *f, const struct error *e)
{
    struct house *h = arg;

    note(h, result, e);
    if (result >= 0) {
        h->file = *f;
        snprintf(h->id, sizeof(h->id), "%s", f->public_id);
        snprintf(h->filename, sizeof(h->filename), "%s", f->filename);
    }
}

int house_add_file(struct house *h, const char *text, size_t n)
{
    h->result = 1;
    batches_add_file(h->b, "input.jsonl", "batch", (struct span){ text, n }, 0, on_file, h);
    assert_int_equal(h->result, 1); /* never within the call */
    return wait_for_answer(h);
}

int house_get_file(struct house *h, const char *file)
{
    h->result = 1;
    batches_get_file(h->b, file, on_file, h);
    return wait_for_answer(h);
}

int house_remove_file(struct house *h, const char *file)
{
    h->result = 1;
    batches_remove_file(h->b, file, on_file, h);
    return wait_for_answer(h);
}

static void on_batch(void *arg, int result, const struct batch *b, const struct error *e)
{
    struct house *h = arg;

    note(h, result, e);
    if (result >= 0) {
        h->batch = *b;
        snprintf(h->id, sizeof(h->id), "%s", b->public_id);
        snprintf(h->errors, sizeof(h->errors), "%s", b->errors ? b->errors : "");
    }
}

int house_submit(struct house *h, const char *file, const char *window)
{
    struct batch_order order = { .input_file = file,
                                 .endpoint = "/v1/chat/completions",
                                 .metadata = SPAN("{\"a\":\"b\"}") };

    assert_int_equal(str_to_duration_ms(window, &order.completion_window_ms), 0);
    h->result = 1;
    batches_submit(h->b, &order, on_batch, h);
    assert_int_equal(h->result, 1);
    return wait_for_answer(h);
}

enum batch_state house_state(struct house *h, const char *batch)
{
    h->result = 1;
    batches_get(h->b, batch, on_batch, h);
    if (wait_for_answer(h) < 0) {
        fail_msg("%s", h->error);
    }
    return h->batch.state;
}

int house_cancel(struct house *h, const char *batch)
{
    h->result = 1;
    batches_cancel(h->b, batch, on_batch, h);
    assert_int_equal(h->result, 1);
    return wait_for_answer(h);
}

enum batch_state house_finish(struct house *h, const char *batch, uint64_t limit_ms)
{
    enum batch_state s = BATCH_VALIDATING;

    for (uint64_t ms = 0; ms < limit_ms; ms += 50) {
        s = house_state(h, batch);
        if (s == BATCH_FAILED || s == BATCH_COMPLETED || s == BATCH_EXPIRED ||
            s == BATCH_CANCELLED) {
            break;
        }
        sim_run_for(h->w, 50);
    }
    house_settle(h);
    return s;
}

struct content {
    struct house *h;
    struct buf bytes;
    bool end;
};

static void on_content(void *arg, int result, struct span piece, const struct error *e)
{
    struct content *c = arg;

    note(c->h, result, e);
    buf_append(&c->bytes, piece.p, piece.n);
    c->end = !piece.p;
}

char *house_content(struct house *h, const char *file)
{
    struct content c = { .h = h, .bytes = BUF_INIT(64 << 20) };

    while (!c.end) {
        h->result = 1;
        batches_read_file(h->b, file, (int64_t)c.bytes.len, on_content, &c);
        wait_for_answer(h);
    }
    if (h->result < 0) {
        buf_finish(&c.bytes);
        return NULL;
    }
    buf_puts(&c.bytes, "");
    return c.bytes.mem ? buf_take(&c.bytes, NULL) : xstrdup("");
}

struct number_op {
    struct store_op op;
    const char *sql;
    int64_t value;
};

static int read_number(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct number_op *n = container_of(op, struct number_op, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, n->sql, "");

    r = r < 0 ? r : sql_next(st, reterr);
    n->value = r > 0 ? sql_int(st, 0) : -1;
    return r < 0 ? r : 0;
}

int64_t house_number(struct house *h, const char *sql)
{
    struct number_op n = { .op.run = read_number, .sql = sql };

    if (store_read_now(h->store, &n.op) < 0) {
        fail_msg("%s: %s", sql, n.op.error.text);
    }
    return n.value;
}

size_t house_count_files(struct house *h)
{
    DIR *dir = opendir("files");
    struct dirent *entry;
    size_t n = 0;

    (void)h;
    while (dir && (entry = readdir(dir))) {
        n += entry->d_name[0] != '.';
    }
    if (dir) {
        closedir(dir);
    }
    return n;
}

void house_input(struct buf *out, int n)
{
    for (int i = 1; i <= n; i++) {
        buf_printf(out,
                   "{\"custom_id\":\"id-%d\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\","
                   "\"body\":{\"model\":\"m\",\"n\":%d%s}}\n",
                   i, i,
                   i % 7 == 0    ? ",\"status\":400"
                   : i % 11 == 0 ? ",\"dead\":true"
                                 : "");
    }
}

/* ---- models ---- */

static void on_model(void *arg, int result, int64_t id, const struct error *e)
{
    (void)id;
    note(arg, result, e);
}

void house_add_model(struct house *h, const char *name)
{
    struct validation v = validation_init();
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:{s:i}}", "id", name, "name", name,
                             "framework", "llama_cpp", "model_path", "/models/x.gguf", "priority",
                             5, "max_workers", 8, "resource_requirements", "gpu_memory", 100);

    h->result = 1;
    models_add(h->models, model_config_parse(json, &v), MODEL_FROM_API, on_model, h);
    json_decref(json);
    validation_finish(&v);
    assert_int_equal(wait_for_answer(h), 0);
}

void house_remove_model(struct house *h, const char *name)
{
    h->result = 1;
    models_remove(h->models, models_find(h->models, span_of(name))->id, on_model, h);
    assert_int_equal(wait_for_answer(h), 0);
}
