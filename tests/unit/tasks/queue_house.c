// SPDX-License-Identifier: Apache-2.0
/* See queue_house.h. */
#include "queue_house.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/webhooks.h"

static const struct store_schema *const schemas[] = { &events_schema, &models_schema, &tasks_schema,
                                                      &webhooks_schema, NULL };
static const struct option_table *const tables[] = { &tasks_options, NULL };

/* ---- the runner ---- */

static struct house_slot *take(struct house *h, struct task_slot *slot)
{
    for (size_t i = 0; i < HOUSE_SLOTS; i++) {
        if (!h->slots[i].slot) {
            h->slots[i] = (struct house_slot){ .slot = slot };
            return &h->slots[i];
        }
    }
    fail_msg("too many slots");
    return NULL;
}

static struct house_slot *of(struct house *h, const struct task_slot *slot)
{
    for (size_t i = 0; i < HOUSE_SLOTS; i++) {
        if (h->slots[i].slot == slot) {
            return &h->slots[i];
        }
    }
    fail_msg("a slot that the runner does not know");
    return NULL;
}

static void drop(struct house *h, struct house_slot *s)
{
    h->running -= s->running;
    *s = (struct house_slot){ 0 };
}

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    struct house *h = owner;

    h->reserves++;
    if (h->reserve_says < 0) {
        return error_set(reterr, h->reserve_says, "no room at all");
    }
    snprintf(slot->instance, sizeof(slot->instance), "%s", h->instance);
    take(h, slot)->granted = h->reserve_says > 0;
    return h->reserve_says;
}

static void note_run(struct house *h, struct house_slot *s, const struct task_work *work)
{
    for (size_t i = 0; i < h->run_count; i++) {
        if (h->runs[i].id == work->id && h->runs[i].fence >= work->fence) {
            fail_msg("task %lld ran twice at fence %lld", (long long)work->id,
                     (long long)work->fence);
        }
    }
    assert_true(h->run_count < HOUSE_RUNS);
    h->runs[h->run_count].id = s->id = work->id;
    h->runs[h->run_count++].fence = s->fence = work->fence;
    s->running = true;
    h->running++;
    h->most_running = h->running > h->most_running ? h->running : h->most_running;
}

static void run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    note_run(owner, of(owner, slot), work);
}

static void cancel(void *owner, struct task_slot *slot)
{
    struct house *h = owner;

    h->cancels++;
    drop(h, of(h, slot));
}

static bool adopt(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct house *h = owner;
    struct house_slot *s;

    if (!h->adopts) {
        return false;
    }
    s = take(h, slot);
    s->granted = s->running = true;
    s->id = work->id;
    s->fence = work->fence;
    h->running++;
    return true;
}

static bool leave(void *owner, struct task_slot *slot)
{
    struct house *h = owner;

    if (h->leaves) {
        drop(h, of(h, slot));
    }
    return h->leaves;
}

static void why(void *owner, int64_t model_id, const char *model, char *out, size_t size)
{
    (void)owner, (void)model_id, (void)model, (void)out, (void)size;
}

const struct task_runner house_runner = { .name = "house",
                                          .reserve = reserve,
                                          .run = run,
                                          .cancel = cancel,
                                          .adopt = adopt,
                                          .leave = leave,
                                          .why = why };

void house_grant_all(struct house *h)
{
    for (size_t i = 0; i < HOUSE_SLOTS; i++) {
        if (h->slots[i].slot && !h->slots[i].granted) {
            h->slots[i].granted = true;
            task_slot_granted(h->slots[i].slot);
        }
    }
    house_settle(h);
}

struct house_slot *house_find(struct house *h, int64_t id)
{
    for (size_t i = 0; i < HOUSE_SLOTS; i++) {
        if (h->slots[i].running && h->slots[i].id == id) {
            return &h->slots[i];
        }
    }
    return NULL;
}

void house_done(struct house *h, int64_t id, const struct task_result *result)
{
    struct house_slot *s = house_find(h, id);
    struct task_slot *slot;

    if (!s) {
        fail_msg("task %lld does not run", (long long)id);
        return;
    }
    slot = s->slot;
    drop(h, s);
    task_slot_done(slot, result);
}

void house_complete(struct house *h, int64_t id, const char *output)
{
    house_done(h, id, &(struct task_result){ .output = span_of(output), .http_status = 200 });
    house_settle(h);
}

/* ---- the house ---- */

static void on_change(void *owner, const void *what)
{
    const struct task_change *c = what;
    struct house *h = owner;
    size_t n = strlen(h->story);

    if (h->tells) {
        snprintf(h->story + n, sizeof(h->story) - n, "%s%lld:%s>%s", n ? " " : "",
                 (long long)c->task->id,
                 c->from < 0 ? "new" : task_state_name((enum task_state)c->from),
                 c->removed ? "gone" : task_state_name(c->task->state));
    }
}

static void open_queue(struct house *h)
{
    const struct tasks_in in = { h->w, h->config, h->store, h->events, h->models, h->metrics };
    struct error error = { 0 };

    h->t = tasks_create(&in);
    for (int kind = 0; kind < TASK_KIND_MAX_; kind++) {
        tasks_set_runner(h->t, (enum task_kind)kind, &house_runner, h);
    }
    h->listener = (struct listener){ .fn = on_change, .owner = h };
    notify_add(tasks_signal(h->t), &h->listener);
    h->on_models = (struct listener){ .fn = tasks_on_model, .owner = h->t };
    notify_add(models_signal(h->models), &h->on_models);
    assert_int_equal(tasks_start(h->t, &error), 0);
}

static void open_all(struct house *h)
{
    struct error error = { 0 };

    if (store_open(h->w, &(struct store_options){ .path = h->path, .schemas = schemas }, &h->store,
                   &error) < 0) {
        fail_msg("%s", error.text);
    }
    h->events = events_create(h->w, h->store);
    h->models = models_create(h->w, h->store, h->events);
    assert_int_equal(models_load(h->models, NULL), 0);
    h->metrics = metrics_create();
    open_queue(h);
}

static void close_all(struct house *h)
{
    tasks_destroy(h->t);
    notify_remove(&h->on_models);
    h->models = models_destroy(h->models);
    h->events = events_destroy(h->events);
    h->store = store_close(h->store);
    h->metrics = metrics_destroy(h->metrics);
}

static void load_config(struct house *h, const char *yaml)
{
    char path[96];
    FILE *file;
    struct error error = { 0 };
    static const char *const environment[] = { NULL };

    snprintf(path, sizeof(path), "%s/berth.yaml", h->dir);
    file = fopen(path, "w");
    fputs(yaml ? yaml : "{}\n", file);
    fclose(file);
    if (config_load(path, environment, tables, &h->config, &error) < 0) {
        fail_msg("%s", error.text);
    }
}

void house_open(struct house *h, const char *yaml, bool on_disk)
{
    memset(h, 0, sizeof(*h));
    log_set_fd(-1);
    snprintf(h->dir, sizeof(h->dir), "/tmp/berth-tasks-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    load_config(h, yaml);
    if (on_disk) {
        snprintf(h->path, sizeof(h->path), "%s/berth.db", h->dir);
    } else {
        snprintf(h->path, sizeof(h->path), ":memory:");
    }
    h->w = sim_create(test_seed("tasks"));
    h->reserve_says = 1;
    open_all(h);
}

static void free_details(struct house *h)
{
    for (size_t i = 0; i < h->d.log_count; i++) {
        free(h->d.logs[i].message);
        free(h->d.logs[i].data);
    }
    free(h->d.logs);
    task_free(h->d.task);
    h->d = (struct task_details){ 0 };
}

void house_close(struct house *h)
{
    char command[128];

    close_all(h);
    h->config = config_free(h->config);
    world_destroy(h->w);
    free_details(h);
    snprintf(command, sizeof(command), "rm -rf '%s'", h->dir);
    assert_int_equal(system(command), 0);
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

void house_restart(struct house *h, bool drained)
{
    if (drained) {
        bool over = false;

        tasks_drain(h->t, 1000, on_drained, &over);
        sim_run_for(h->w, 2000);
        assert_true(over);
    }
    close_all(h);
    memset(h->slots, 0, sizeof(h->slots));
    h->running = 0;
    open_all(h);
    house_settle(h);
}

void house_settle(struct house *h)
{
    sim_run_for(h->w, 1);
}

static void on_model(void *arg, int result, int64_t id, const struct error *e)
{
    struct house *h = arg;

    if (result < 0) {
        fail_msg("%s", e->text);
    }
    h->id = id;
}

static struct model_config *model_config(const char *name, int workers, enum model_status status)
{
    struct validation v = validation_init();
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}, s:s}", "id", name, "name", name,
                             "framework", "llama_cpp", "model_path", "/models/x.gguf", "priority",
                             5, "resource_requirements", "gpu_memory", 100, "task_status",
                             model_status_name(status));
    struct model_config *config;

    if (workers) {
        json_object_set_new(json, "max_workers", json_integer(workers));
    }
    config = model_config_parse(json, &v);
    if (!config) {
        fail_msg("%s", json_dumps(v.schema_errors, 0));
        return NULL;
    }
    assert_int_equal(config->max_workers, workers);
    assert_int_equal(config->task_status, status);
    json_decref(json);
    validation_finish(&v);
    return config;
}

int64_t house_model(struct house *h, const char *name, int workers)
{
    models_add(h->models, model_config(name, workers, MODEL_ONLINE), MODEL_FROM_API, on_model, h);
    house_settle(h);
    return h->id;
}

void house_model_status(struct house *h, int64_t id, enum model_status status)
{
    const struct model *m = models_get(h->models, id);

    models_update(h->models, id, model_config(m->config->id, m->config->max_workers, status),
                  on_model, h);
    house_settle(h);
}

void house_remove_model(struct house *h, int64_t id)
{
    models_remove(h->models, id, on_model, h);
    house_settle(h);
}

void house_done_fn(void *arg, int result, const struct task *task, const struct error *e)
{
    struct house *h = arg;

    h->answers++;
    h->result = result;
    snprintf(h->error, sizeof(h->error), "%s", e->text);
    if (result >= 0 && task) {
        h->id = task->id;
        h->state = task->state;
    }
}

int64_t house_order(struct house *h, const struct task_order *order)
{
    struct error error = { 0 };
    int r = tasks_submit(h->t, order, house_done_fn, h, &error);

    if (r < 0) {
        snprintf(h->error, sizeof(h->error), "%s", error.text);
        return r;
    }
    house_settle(h);
    return h->result < 0 ? h->result : h->id;
}

int64_t house_submit(struct house *h, int64_t model, unsigned priority)
{
    return house_order(h, &(struct task_order){ .model_id = model,
                                                .type = "custom",
                                                .priority = priority,
                                                .input = SPAN("hello"),
                                                .max_retries = -1 });
}

struct number_op {
    struct store_op op;
    const char *sql;
    int64_t arg, value;
};

static int read_number(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct number_op *n = container_of(op, struct number_op, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, n->sql, strchr(n->sql, '?') ? "i" : "", n->arg);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    n->value = r > 0 ? sql_int(st, 0) : -1;
    return r < 0 ? r : 0;
}

int64_t house_number(struct house *h, const char *sql, int64_t arg)
{
    struct number_op n = { .op.run = read_number, .sql = sql, .arg = arg };

    if (store_read_now(h->store, &n.op) < 0) {
        fail_msg("%s: %s", sql, n.op.error.text);
    }
    return n.value;
}

int house_state(struct house *h, int64_t id)
{
    return (int)house_number(h, "SELECT state FROM tasks WHERE id = ?", id);
}

void house_check_counts(struct house *h)
{
    struct task_counts c = tasks_counts(h->t, &(struct task_filter){ .kind = -1 });

    for (int s = 0; s < TASK_STATE_MAX_; s++) {
        assert_int_equal(c.by_state[s],
                         house_number(h, "SELECT count(*) FROM tasks WHERE state = ?", s));
    }
    assert_int_equal(
        c.delayed, house_number(h, "SELECT count(*) FROM tasks WHERE state = 0 AND due_ms > 0", 0));
    for (int class = 0; class < TASK_CLASSES; class ++) {
        assert_int_equal(c.pending_by_class[class],
                         house_number(h,
                                      "SELECT count(*) FROM tasks WHERE class = ? "
                                      "AND state = 0 AND due_ms = 0",
                                      class));
    }
    assert_int_equal(
        c.pending_bytes,
        house_number(h, "SELECT coalesce(sum(bytes), 0) FROM tasks WHERE state < 2", 0));
    assert_int_equal(house_number(h, "SELECT count(*) FROM task_counts WHERE n < 0", 0), 0);
}

static void on_details(void *arg, int result, const struct task_details *d, const struct error *e)
{
    struct house *h = arg;

    (void)e;
    free_details(h);
    h->result = result;
    if (result >= 0) {
        struct task *t = xmemdup(d->task, sizeof(*d->task));

        t->model = xstrdup(t->model);
        t->type = xstrdup(t->type);
        t->instance = xstrdup_opt(t->instance);
        t->remote_id = xstrdup_opt(t->remote_id);
        t->error = xstrdup_opt(t->error);
        t->webhook = xstrdup_opt(t->webhook);
        t->input = xstrdup_opt(t->input);
        t->output = xstrdup_opt(t->output);
        t->options = xstrdup_opt(t->options);
        h->d.task = t;
        h->d.log_count = d->log_count;
        h->d.logs = xcalloc(d->log_count, sizeof(*h->d.logs));
        for (size_t i = 0; i < d->log_count; i++) {
            h->d.logs[i] = d->logs[i];
            h->d.logs[i].message = xstrdup(d->logs[i].message);
            h->d.logs[i].data = xstrdup_opt(d->logs[i].data);
        }
    }
}

bool house_get(struct house *h, int64_t id)
{
    tasks_get(h->t, id, on_details, h);
    house_settle(h);
    return h->result >= 0;
}
