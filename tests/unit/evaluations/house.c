// SPDX-License-Identifier: Apache-2.0
/* See house.h. */
#include "house.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

atomic_bool house_hold;
atomic_uint house_searches, house_asked;

static const struct store_schema *const schemas[] = { &events_schema, &models_schema, &tasks_schema,
                                                      &evaluations_schema, NULL };
static const struct option_table *const tables[] = { &tasks_options, &evaluations_options, NULL };

/* ---- searches that wait ---- */

// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
void __real_plan_request_run(const struct plan_request *r, bool (*go_on)(void *arg, double done),
                             void *arg, struct planner_setup *setup, struct planner_findings *ret);
void __wrap_plan_request_run(const struct plan_request *r, bool (*go_on)(void *arg, double done),
                             void *arg, struct planner_setup *setup, struct planner_findings *ret);

void __wrap_plan_request_run(const struct plan_request *r, bool (*go_on)(void *arg, double done),
                             void *arg, struct planner_setup *setup, struct planner_findings *ret)
{
    bool goes = true;

    atomic_fetch_add(&house_searches, 1);
    while (goes && atomic_load(&house_hold)) {
        goes = go_on(arg, 0.5);
        atomic_fetch_add(&house_asked, 1);
        usleep(500);
    }
    if (goes) {
        __real_plan_request_run(r, go_on, arg, setup, ret);
    }
    atomic_fetch_sub(&house_searches, 1);
}
// NOLINTEND(bugprone-reserved-identifier)

/* ---- the house ---- */

static void on_state(void *owner, const void *what)
{
    const struct evaluation_state *s = what;
    struct house *h = owner;
    size_t n = strlen(h->told);

    h->told_count++;
    snprintf(h->told + n, sizeof(h->told) - n, "%.4s:%s@%.4g%s%s ", s->task_id, s->status,
             s->progress, s->error ? "!" : "", s->search_stats ? "+" : "");
    assert_non_null(s->message);
    if (strcmp(s->status, "running") == 0 && s->progress > 0) {
        h->least = h->least > 0 && h->least < s->progress ? h->least : s->progress;
        h->most = h->most > s->progress ? h->most : s->progress;
    }
}

static void open_queue(struct house *h)
{
    struct error error = { 0 };

    h->t = tasks_create(
        &(struct tasks_in){ h->w, h->config, h->store, h->events, h->models, h->metrics });
    h->v = evaluations_create(&(struct evaluations_in){ h->w, h->config, h->store, h->t });
    tasks_set_runner(h->t, TASK_OF_EVALUATION, &evaluation_runner, h->v);
    h->on_task = (struct listener){ .fn = evaluations_on_task, .owner = h->v };
    notify_add(tasks_signal(h->t), &h->on_task);
    h->on_state = (struct listener){ .fn = on_state, .owner = h };
    notify_add(evaluations_signal(h->v), &h->on_state);
    if (tasks_start(h->t, &error) < 0 || evaluations_start(h->v, &error) < 0) {
        fail_msg("%s", error.text);
    }
}

int house_start(struct house *h)
{
    struct error error = { 0 };
    int r = store_open(
        h->w, &(struct store_options){ .path = h->path, .vfs = h->vfs, .schemas = schemas },
        &h->store, &error);

    if (r < 0) {
        snprintf(h->error, sizeof(h->error), "%s", error.text);
        return r;
    }
    h->events = events_create(h->w, h->store);
    h->models = models_create(h->w, h->store, h->events);
    r = models_load(h->models, &error);
    assert_int_equal(r, 0);
    h->metrics = metrics_create();
    open_queue(h);
    return 0;
}

void house_stop(struct house *h)
{
    notify_remove(&h->on_task);
    notify_remove(&h->on_state);
    h->t = tasks_destroy(h->t);
    h->v = evaluations_destroy(h->v);
    h->models = models_destroy(h->models);
    h->events = events_destroy(h->events);
    h->store = store_close(h->store);
    h->metrics = metrics_destroy(h->metrics);
}

static void load_config(struct house *h, const char *yaml)
{
    static const char *const environment[] = { NULL };
    struct error error = { 0 };
    char path[96];
    FILE *file;

    snprintf(path, sizeof(path), "%s/berth.yaml", h->dir);
    file = fopen(path, "w");
    fputs(yaml ? yaml : "{}\n", file);
    fclose(file);
    if (config_load(path, environment, tables, &h->config, &error) < 0) {
        fail_msg("%s", error.text);
    }
}

void house_open(struct house *h, bool real, const char *yaml, const char *vfs)
{
    memset(h, 0, sizeof(*h));
    log_set_fd(-1);
    atomic_store(&house_hold, false);
    h->real = real;
    h->vfs = vfs;
    snprintf(h->dir, sizeof(h->dir), "/tmp/berth-evaluations-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    load_config(h, yaml);
    snprintf(h->path, sizeof(h->path), "%s/berth.db", h->dir);
    h->w = real ? world_create() : sim_create(test_seed("evaluations"));
    if (house_start(h) < 0) {
        fail_msg("%s", h->error);
    }
}

void house_close(struct house *h)
{
    char command[128];

    house_stop(h);
    h->config = config_free(h->config);
    world_destroy(h->w);
    json_decref(h->answer);
    snprintf(command, sizeof(command), "rm -rf '%s'", h->dir);
    assert_int_equal(system(command), 0);
}

static void on_drained(void *arg)
{
    *(bool *)arg = true;
}

static bool is_drained;

static bool drained(struct house *h)
{
    (void)h;
    return is_drained;
}

void house_restart(struct house *h, bool with_drain)
{
    if (with_drain) {
        is_drained = false;
        tasks_drain(h->t, 60000, on_drained, &is_drained);
        house_until(h, drained);
    }
    house_stop(h);
    if (house_start(h) < 0) {
        fail_msg("%s", h->error);
    }
}

/* ---- time ---- */

struct wait {
    struct house *h;
    bool (*fn)(struct house *h);
    struct timer timer;
    unsigned turns;
    bool came;
};

static bool sim_check(void *arg)
{
    struct wait *w = arg;

    return w->fn(w->h);
}

static void on_turn(void *arg)
{
    struct wait *w = arg;

    w->came = w->fn(w->h);
    if (w->came || ++w->turns > 20000) {
        world_stop(w->h->w);
    } else {
        timer_start(&w->timer, 1);
    }
}

void house_until(struct house *h, bool (*fn)(struct house *h))
{
    struct wait w = { .h = h, .fn = fn };

    if (!h->real) {
        w.came = sim_run_until(h->w, sim_check, &w, 20000);
    } else {
        timer_init(&w.timer, h->w, "test", on_turn, &w);
        timer_start(&w.timer, 0);
        world_run(h->w);
    }
    if (!w.came) {
        fail_msg("it never came; told: %s", h->told);
    }
}

static unsigned turns_left;

static bool turns_over(struct house *h)
{
    (void)h;
    return turns_left-- == 0;
}

static bool is_flushed;

static int run_nothing(struct store_op *op, struct sql *db, struct error *reterr)
{
    (void)op, (void)db, (void)reterr;
    return 0;
}

static void on_flushed(struct store_op *op)
{
    (void)op;
    is_flushed = true;
}

static bool flushed(struct house *h)
{
    (void)h;
    return is_flushed;
}

/* A few turns, and what they asked the store to write is written. */
void house_settle(struct house *h)
{
    static struct store_op op;

    if (!h->real) {
        sim_run_for(h->w, 1);
        return;
    }
    turns_left = 20;
    house_until(h, turns_over);
    is_flushed = false;
    op = (struct store_op){ .run = run_nothing, .done = on_flushed };
    store_write(h->store, &op);
    house_until(h, flushed);
}

static unsigned answers_wanted;

static bool answered(struct house *h)
{
    return h->answers >= answers_wanted;
}

void house_wait(struct house *h, unsigned answers)
{
    answers_wanted = answers;
    house_until(h, answered);
}

/* ---- asking ---- */

void house_done(void *arg, int result, json_t *answer, const char *field, const struct error *e)
{
    struct house *h = arg;

    h->answers++;
    h->result = result;
    json_decref(h->answer);
    h->answer = json_deep_copy(answer);
    snprintf(h->field, sizeof(h->field), "%s", field);
    snprintf(h->error, sizeof(h->error), "%s", e->text);
    assert_true(result <= 0);
    assert_true(result < 0 || answer);
    assert_true(result >= 0 || e->text[0]);
}

static const char example[] =
    "{\"description\":\"trial\","
    "\"topology\":{\"pods\":[{\"id\":\"p0\",\"racks\":[{\"id\":\"r0\",\"boards\":[{\"id\":\"b0\","
    "\"chips\":[{\"id\":\"c0\"},{\"id\":\"c1\"},{\"id\":\"c2\"},{\"id\":\"c3\"},"
    "{\"id\":\"c4\"},{\"id\":\"c5\"},{\"id\":\"c6\"},{\"id\":\"c7\"}]}]}]}]},"
    "\"model\":{\"model_name\":\"Llama-like 7B\",\"model_type\":\"dense\",\"hidden_size\":4096,"
    "\"num_layers\":32,\"num_attention_heads\":32,\"num_kv_heads\":32,\"intermediate_size\":11008,"
    "\"vocab_size\":32000,\"weight_dtype\":\"bf16\",\"activation_dtype\":\"bf16\","
    "\"max_seq_length\":4096,\"attention_type\":\"mha\",\"norm_type\":\"rmsnorm\"},"
    "\"hardware\":{\"chip\":{\"chip_type\":\"H100\",\"compute_tflops_fp16\":989,\"memory_gb\":80,"
    "\"memory_bandwidth_gbps\":3350,\"memory_bandwidth_utilization\":0.9},"
    "\"node\":{\"chips_per_node\":8,\"intra_node_bandwidth_gbps\":900,"
    "\"intra_node_latency_us\":1},"
    "\"cluster\":{\"num_nodes\":1,\"inter_node_bandwidth_gbps\":400,"
    "\"inter_node_latency_us\":2}},"
    "\"inference\":{\"batch_size\":8,\"input_seq_length\":512,\"output_seq_length\":256,"
    "\"max_seq_length\":768,\"num_micro_batches\":4},"
    "\"search_mode\":\"auto\",\"search_constraints\":{\"max_chips\":8}}";

json_t *house_body(const char *name)
{
    json_t *body = json_loads(example, 0, NULL);

    assert_non_null(body);
    json_object_set_new(body, "experiment_name", json_string(name));
    return body;
}

const char *house_submit_body(struct house *h, json_t *body)
{
    static char ids[64][UUID_SIZE];
    static unsigned next;
    char *id = ids[next++ % 64];

    evaluations_submit(h->v, body, house_done, h);
    json_decref(body);
    house_wait(h, h->answers + 1);
    if (h->result < 0) {
        return NULL;
    }
    snprintf(id, UUID_SIZE, "%s", json_string_value(json_object_get(h->answer, "task_id")));
    return id;
}

const char *house_submit(struct house *h, const char *name)
{
    const char *id = house_submit_body(h, house_body(name));

    if (!id) {
        fail_msg("%s: %s", h->field, h->error);
    }
    return id;
}

const char *house_status(struct house *h, const char *task_id)
{
    static char status[32];

    evaluations_get(h->v, task_id, house_done, h);
    house_wait(h, h->answers + 1);
    snprintf(status, sizeof(status), "%s",
             h->result < 0 ? "" : json_string_value(json_object_get(h->answer, "status")));
    return status;
}

void house_until_status(struct house *h, const char *task_id, const char *status)
{
    for (int i = 0; i < 3000; i++) {
        if (strcmp(house_status(h, task_id), status) == 0) {
            return;
        }
        house_settle(h);
    }
    fail_msg("%s is %s, not %s", task_id, house_status(h, task_id), status);
}

/* ---- looking into the store ---- */

struct look {
    struct store_op op;
    const char *sql, *arg;
    char *text;
};

static int run_look(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct look *l = container_of(op, struct look, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, l->sql, strchr(l->sql, '?') ? "t" : "", l->arg);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    l->text = r > 0 ? xstrdup_opt(sql_text(st, 0)) : NULL;
    return r < 0 ? r : 0;
}

char *house_text(struct house *h, const char *sql, const char *arg)
{
    struct look l = { .op.run = run_look, .sql = sql, .arg = arg };

    if (store_read_now(h->store, &l.op) < 0) {
        fail_msg("%s: %s", sql, l.op.error.text);
    }
    return l.text;
}

int64_t house_number(struct house *h, const char *sql, const char *arg)
{
    char *text = house_text(h, sql, arg);
    int64_t n = text ? strtoll(text, NULL, 10) : -1;

    free(text);
    return n;
}

static int run_write(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, container_of(op, struct look, op)->sql, "");
}

void house_write(struct house *h, const char *sql)
{
    struct look l = { .op.run = run_write, .sql = sql };

    if (store_write_now(h->store, &l.op) < 0) {
        fail_msg("%s: %s", sql, l.op.error.text);
    }
}

void house_check(struct house *h)
{
    static const char *const none[] = {
        /* counts are of what stands */
        "SELECT count(*) FROM experiments x WHERE total_tasks <> "
        "(SELECT count(*) FROM evaluation_tasks e WHERE e.experiment_id = x.id)",
        "SELECT count(*) FROM experiments x WHERE completed_tasks <> (SELECT count(*) FROM "
        "evaluation_tasks e WHERE e.experiment_id = x.id AND e.status = 'completed')",
        /* every job has its task, every task its job, every result its job */
        "SELECT count(*) FROM evaluation_jobs j WHERE NOT imported AND NOT EXISTS "
        "(SELECT 1 FROM tasks t WHERE t.public_id = j.task_id)",
        "SELECT count(*) FROM tasks t JOIN lanes l ON l.id = t.lane WHERE l.kind = 3 AND NOT "
        "EXISTS (SELECT 1 FROM evaluation_jobs j WHERE j.task_id = t.public_id)",
        "SELECT count(*) FROM evaluation_results r WHERE NOT EXISTS "
        "(SELECT 1 FROM evaluation_jobs j WHERE j.id = r.task_id)",
        "SELECT count(*) FROM evaluation_jobs j WHERE NOT EXISTS "
        "(SELECT 1 FROM experiment_rows x WHERE x.id = j.experiment_id)",
        /* who is completed has its results and figures; who was cancelled or failed has none */
        "SELECT count(*) FROM evaluation_tasks e WHERE status = 'completed' AND "
        "(search_stats IS NULL OR progress <> 100)",
        "SELECT count(*) FROM evaluation_tasks e WHERE status IN ('cancelled', 'failed') AND "
        "(search_stats IS NOT NULL OR EXISTS "
        "(SELECT 1 FROM evaluation_results r WHERE r.task_id = e.id))",
        "SELECT count(*) FROM task_inputs i WHERE NOT EXISTS "
        "(SELECT 1 FROM tasks t WHERE t.id = i.id)",
        "SELECT count(*) FROM task_counts WHERE n < 0",
    };

    for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
        if (house_number(h, none[i], NULL) != 0) {
            fail_msg("%lld rows: %s", (long long)house_number(h, none[i], NULL), none[i]);
        }
    }
    const struct task_counts c = tasks_counts(
        h->t, &(struct task_filter){
                  .kind = TASK_OF_EVALUATION, .state = -1, .priority = -1, .dead = -1 });
    for (int s = 0; s < TASK_STATE_MAX_; s++) {
        const int64_t n = house_number(
            h,
            "SELECT count(*) FROM evaluation_tasks e JOIN tasks t ON t.id = e.queue_id "
            "WHERE e.status = ?",
            task_state_name((enum task_state)s));

        assert_int_equal(c.by_state[s], n);
    }
}
