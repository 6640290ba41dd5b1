// SPDX-License-Identifier: Apache-2.0
/* The rig and its simulated engine: answers every request with one line, 503 while it loads. */
#include "rig.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* ---- the engine */

struct engine_conn {
    struct list node;
    struct sim_engine *engine;
    struct stream *stream;
    char head[1024];
    size_t len;
};

static void close_conn(struct engine_conn *c)
{
    list_remove(&c->node);
    stream_close(c->stream);
    free(c);
}

static void respond(struct engine_conn *c, int status, const char *body)
{
    char head[128];

    snprintf(head, sizeof(head),
             "HTTP/1.1 %d Whatever\r\nContent-Type: application/json\r\n"
             "Content-Length: %zu\r\n\r\n",
             status, strlen(body));
    stream_write(c->stream, head, strlen(head));
    stream_write(c->stream, body, strlen(body));
}

static void answer_loaded(struct engine_conn *c)
{
    struct sim_engine *engine = c->engine;
    char body[128];

    if (str_starts(c->head, "GET /slots")) {
        if (engine->asleep) {
            fail_msg("an engine that sleeps is asked for its progress");
        }
        snprintf(body, sizeof(body),
                 "[{\"id\":0,\"is_processing\":true,\"next_token\":{\"n_decoded\":%llu}}]",
                 (unsigned long long)engine->progress);
        respond(c, engine->slots_status ? engine->slots_status : 200, body);
        return;
    }
    snprintf(body, sizeof(body), "{\"status\":\"ok\",\"total_slots\":%u,\"is_sleeping\":%s}",
             engine->behaviour.slots ? engine->behaviour.slots : 4,
             engine->asleep ? "true" : "false");
    respond(c, engine->status ? engine->status : 200, body);
}

static void answer(struct engine_conn *c)
{
    struct sim_engine *engine = c->engine;

    engine->asked++;
    strcpy(engine->request, c->head);
    if (engine->hung) {
        return;
    }
    if (engine->loaded) {
        answer_loaded(c);
    } else {
        respond(c, 503, "{}");
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct engine_conn *c = owner;

    for (size_t i = 0; i < n; i++) {
        assert_true(c->len < sizeof(c->head) - 1);
        c->head[c->len++] = p[i];
        c->head[c->len] = '\0';
        if (str_ends(c->head, "\r\n\r\n")) {
            answer(c);
            c->len = 0;
        }
    }
}

static void on_end(void *owner, int err)
{
    close_conn(owner);
}

static void on_conn_drain(void *owner)
{
}

static void on_stream(void *owner, struct stream *s)
{
    static const struct stream_handler handler = { on_data, on_end, on_conn_drain };
    struct sim_engine *engine = owner;
    struct engine_conn *c;

    if (engine->rig->service) {
        engine->rig->service->on_stream(engine, s);
        return;
    }
    c = xcalloc(1, sizeof(*c));
    c->engine = engine;
    c->stream = s;
    list_append(&engine->conns, &c->node);
    stream_set_handler(s, &handler, c);
    stream_read_start(s);
}

static void on_load(void *arg)
{
    struct sim_engine *engine = arg;

    engine->loaded = !engine->behaviour.never_ready;
}

static void write_last_words(const struct sim_engine *engine)
{
    int fd = open(engine->log, O_WRONLY | O_APPEND | O_CREAT, 0600);

    assert_true(fd >= 0);
    if (engine->behaviour.last_words) {
        (void)!write(fd, engine->behaviour.last_words, strlen(engine->behaviour.last_words));
    }
    close(fd);
}

static void on_own_end(void *arg)
{
    struct sim_engine *engine = arg;

    write_last_words(engine);
    sim_process_exit(engine->process, engine->behaviour.end_code, engine->behaviour.end_signal);
}

static const char *word_after(const struct spawn_spec *spec, const char *flag)
{
    for (const char *const *w = spec->argv; *w; w++) {
        if (strcmp(*w, flag) == 0) {
            return w[1];
        }
    }
    fail_msg("no %s in the command line", flag);
    return NULL;
}

static const char *marker_of(const struct spawn_spec *spec)
{
    for (const char *const *e = spec->envp; *e; e++) {
        if (strncmp(*e, "BERTH_INSTANCE=", 15) == 0) {
            return *e + 15;
        }
    }
    fail_msg("no marker in the environment");
    return NULL;
}

struct row_question {
    struct store_op op;
    const char *uuid; /* NULL: all */
    int64_t count;
};

static int run_count(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct row_question *q = container_of(op, struct row_question, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT count(*) FROM instances WHERE uuid = coalesce(?, uuid)",
                  "t", q->uuid);

    if (r < 0 || (r = sql_next(st, reterr)) < 0) {
        return r;
    }
    q->count = sql_int(st, 0);
    return 0;
}

static int64_t count_rows(struct rig *rig, const char *uuid)
{
    struct row_question q = { .op.run = run_count, .uuid = uuid };

    assert_int_equal(store_read_now(rig->store, &q.op), 0);
    return q.count;
}

int64_t rig_count_rows(struct rig *rig)
{
    return count_rows(rig, NULL);
}

/* Our settings and secrets are nothing for an engine. */
static void check_environment(const struct spawn_spec *spec)
{
    for (const char *const *e = spec->envp; *e; e++) {
        if ((str_starts(*e, "BERTH_") && !str_starts(*e, "BERTH_INSTANCE=data/")) ||
            str_starts(*e, "DB_PASSWORD=")) {
            fail_msg("an engine is given %s", *e);
        }
    }
}

static size_t count_replica(struct rig *rig, const char *alias, unsigned replica)
{
    struct sim_engine *engine;
    size_t n = 0;

    list_for_each (engine, &rig->alive, node) {
        n += str_eq(engine->alias, alias) && engine->replica == replica;
    }
    return n;
}

/* No second copy, and no process before its row. */
static void check_start(struct sim_engine *engine)
{
    struct rig *rig = engine->rig;

    if (count_replica(rig, engine->alias, engine->replica) != 0) {
        fail_msg("a second process of %s, replica %u starts", engine->alias, engine->replica);
    }
    if (rig->gated && !engines_find(rig->engines, engine->uuid)->place.count) {
        fail_msg("a process of %s starts without a place", engine->alias);
    }
    if (count_rows(rig, engine->uuid) != 1) {
        fail_msg("a process of %s starts without its row", engine->alias);
    }
}

static void start_worker(struct sim_engine *engine, const struct spawn_spec *spec)
{
    const char *const argv[] = { "/sim/worker", "--alias", engine->alias, NULL };
    struct process *p;
    struct error err;

    assert_int_equal(process_spawn(engine->rig->world, &(struct spawn_spec){ argv, spec->envp },
                                   NULL, NULL, &p, &err),
                     0);
    process_destroy(p);
}

static struct sim_engine *make_engine(struct sim_process *p, const struct spawn_spec *spec)
{
    struct sim_engine *engine = xcalloc(1, sizeof(*engine));
    const struct instance *pub;

    engine->rig = sim_process_context(p);
    engine->process = p;
    p->user = engine;
    list_init(&engine->conns);
    list_init(&engine->node);
    timer_init(&engine->load, p->world, "sim.load", on_load, engine);
    timer_init(&engine->end, p->world, "sim.end", on_own_end, engine);
    snprintf(engine->alias, sizeof(engine->alias), "%s", word_after(spec, "--alias"));
    snprintf(engine->uuid, sizeof(engine->uuid), "%s", strchr(marker_of(spec), '/') + 1);
    pub = engines_find(engine->rig->engines, engine->uuid);
    engine->replica = pub ? pub->replica : 0;
    return engine;
}

static int start_engine(struct sim_process *p, const struct spawn_spec *spec)
{
    struct sim_engine *engine = make_engine(p, spec);
    struct rig *rig = engine->rig;
    struct error err;
    char text[128];

    snprintf(engine->log, sizeof(engine->log), "%s", word_after(spec, "--log"));
    snprintf(text, sizeof(text), "unix:%s", word_after(spec, "--host"));
    if (text[5] >= '0' && text[5] <= '9') {
        snprintf(text, sizeof(text), "%s:%s", word_after(spec, "--host"),
                 word_after(spec, "--port"));
    }
    assert_int_equal(address_parse(text, &engine->address, &err), 0);
    engine->behaviour = rig->behaviour;
    if (rig->roll) {
        rig->roll(rig, &engine->behaviour);
    }
    check_environment(spec);
    check_start(engine);
    list_append(&rig->alive, &engine->node);
    rig->starts++;
    if (stream_listen(p->world, &engine->address, on_stream, engine, &engine->listener, NULL,
                      &err) < 0) {
        engine->behaviour.end_after_ms = engine->behaviour.end_code = 1;
        engine->behaviour.last_words = "error: it cannot listen\n";
    }
    timer_start(&engine->load, engine->behaviour.load_ms);
    if (engine->behaviour.end_after_ms) {
        timer_start(&engine->end, engine->behaviour.end_after_ms);
    }
    if (engine->behaviour.has_worker) {
        start_worker(engine, spec);
    }
    return 0;
}

static int start_worker_program(struct sim_process *p, const struct spawn_spec *spec)
{
    struct sim_engine *engine = make_engine(p, spec);

    engine->is_worker = true;
    list_append(&engine->rig->alive, &engine->node);
    return 0;
}

static void on_signal(struct sim_process *p, int signum)
{
    struct sim_engine *engine = p->user;

    if (!engine->behaviour.ignores_term && !engine->hung) {
        sim_process_exit(p, 0, 0);
    }
}

static void close_all(struct sim_engine *engine)
{
    struct engine_conn *c, *tmp;

    list_for_each_safe (c, tmp, &engine->conns, node) {
        close_conn(c);
    }
    engine->listener = stream_listener_close(engine->listener);
}

static void finish_engine(struct sim_process *p)
{
    struct sim_engine *engine = p->user;

    if (engine->rig->service) {
        engine->rig->service->on_end(engine);
    }
    close_all(engine);
    timer_stop(&engine->load);
    timer_stop(&engine->end);
    list_remove(&engine->node);
    free(engine);
    p->user = NULL;
}

static const struct sim_program engine_program = { start_engine, on_signal, finish_engine };
static const struct sim_program worker_program = { start_worker_program, NULL, finish_engine };

struct sim_engine *rig_open_endpoint(struct rig *rig, uint16_t port)
{
    struct sim_engine *engine = xcalloc(1, sizeof(*engine));
    struct error err;

    engine->rig = rig;
    engine->loaded = true;
    list_init(&engine->conns);
    engine->address = (struct address){ .host = "127.0.0.1", .port = port };
    if (stream_listen(rig->world, &engine->address, on_stream, engine, &engine->listener, NULL,
                      &err) < 0) {
        free(engine);
        return NULL;
    }
    return engine;
}

void rig_close_endpoint(struct sim_engine *endpoint)
{
    if (endpoint) {
        close_all(endpoint);
        free(endpoint);
    }
}

/* ---- the berth around it */

static void on_change(void *owner, const void *what)
{
    struct rig *rig = owner;
    const struct instance_change *c = what;
    const char *word = c->gone ? "gone" : instance_state_name(c->to);
    size_t used = strlen(rig->trail);

    if (c->gone || c->from != c->to || !str_ends(rig->trail, word)) { /* else it is only news */
        snprintf(rig->trail + used, sizeof(rig->trail) - used, "%s%s", used ? " " : "", word);
    }
    if (rig->drains && c->to == INSTANCE_DRAINING && !c->gone) {
        engines_drained(rig->engines, c->instance->uuid);
    }
}

static void make_engines(struct rig *rig)
{
    rig->metrics = metrics_create();
    rig->engines = engines_create(&(struct engines_options_in){
        .world = rig->world,
        .config = rig->config,
        .store = rig->store,
        .events = rig->events,
        .models = rig->models,
        .metrics = rig->metrics,
        .gpu = rig->gpu,
        .data_id = "data",
        .self_path = "/sim/berth",
        .places_itself = !rig->gated,
        .proc_path = "proc",
    });
    rig->on_model = (struct listener){ .fn = engines_on_model, .owner = rig->engines };
    notify_add(models_signal(rig->models), &rig->on_model);
    rig->listener = (struct listener){ .fn = on_change, .owner = rig };
    notify_add(engines_signal(rig->engines), &rig->listener);
}

void rig_recover(struct rig *rig)
{
    struct error err = { 0 };

    if (engines_recover(rig->engines, &err) < 0) {
        fail_msg("recovery: %s", err.text);
    }
}

void rig_lose_engines(struct rig *rig)
{
    notify_remove(&rig->on_model);
    rig->engines = engines_destroy(rig->engines);
}

void rig_crash(struct rig *rig)
{
    rig_lose_engines(rig);
    rig->metrics = metrics_destroy(rig->metrics);
    make_engines(rig);
}

static void load_config(struct rig *rig, const struct rig_options *options)
{
    static const struct option_table *const own[] = { &engines_options, NULL };
    const char *all[32] = { "BERTH_ENGINES_LLAMA_SERVER=/bin/true" };
    const char *const *setting = options->environment;
    struct error err = { 0 };

    for (size_t n = 1; setting && *setting; setting++) {
        assert_true(n < ARRAY_SIZE(all) - 1);
        all[n++] = *setting;
    }
    if (config_load(NULL, all, options->tables ? options->tables : own, &rig->config, &err) < 0) {
        fail_msg("configuration: %s", err.text);
    }
}

static void enter_dir(struct rig *rig)
{
    int fd;

    strcpy(rig->dir, "/tmp/berth-engines-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(chdir(rig->dir), 0);
    assert_int_equal(mkdir("proc", 0700), 0);
    fd = open("model.gguf", O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    close(fd);
}

struct rig *rig_create(uint64_t seed, const char *const *environment)
{
    return rig_create_with(seed, &(struct rig_options){ .environment = environment });
}

struct rig *rig_create_with(uint64_t seed, const struct rig_options *options)
{
    static const struct store_schema *const own[] = { &events_schema, &models_schema,
                                                      &engines_schema, NULL };
    struct rig *rig = xcalloc(1, sizeof(*rig));
    struct store_options store = { .path = ":memory:",
                                   .schemas = options->schemas ? options->schemas : own };
    struct error err = { 0 };

    if (!getenv("VERBOSE")) {
        log_set_fd(-1);
    }
    rig->gated = options->gated;
    enter_dir(rig);
    load_config(rig, options);
    list_init(&rig->alive);
    rig->drains = true;
    rig->behaviour = (struct behaviour){ .load_ms = 70 };
    rig->world = sim_create(seed);
    if (store_open(rig->world, &store, &rig->store, &err) < 0) {
        fail_msg("store: %s", err.text);
    }
    rig->events = events_create(rig->world, rig->store);
    rig->models = models_create(rig->world, rig->store, rig->events);
    assert_int_equal(models_load(rig->models, &err), 0);
    sim_set_program(rig->world, "/bin/true", &engine_program, rig);
    sim_set_program(rig->world, "/sim/worker", &worker_program, rig);
    make_engines(rig);
    rig_recover(rig);
    return rig;
}

void rig_count_oom_kill(struct rig *rig, unsigned count)
{
    FILE *f = fopen("proc/vmstat", "w");

    assert_non_null(f);
    fprintf(f, "nr_free_pages 1\noom_kill %u\nunevictable_pgs_culled 0\n", count);
    fclose(f);
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

void rig_destroy(struct rig *rig)
{
    struct sim_engine *engine, *tmp;

    rig_lose_engines(rig);
    list_for_each_safe (engine, tmp, &rig->alive, node) {
        sim_process_exit(engine->process, 0, 9);
    }
    rig->models = models_destroy(rig->models);
    rig->events = events_destroy(rig->events);
    rig->store = store_close(rig->store);
    rig->metrics = metrics_destroy(rig->metrics);
    rig->config = config_free(rig->config);
    rig->world = world_destroy(rig->world);
    assert_int_equal(chdir("/"), 0);
    nftw(rig->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(rig);
}

/* ---- models */

static void on_model_done(void *arg, int result, int64_t id, const struct error *e)
{
    struct rig *rig = arg;

    rig->last_result = result;
    rig->last_id = id;
}

static bool is_done(void *arg)
{
    return ((struct rig *)arg)->last_result <= 0;
}

static void await_model_done(struct rig *rig)
{
    assert_true(sim_run_until(rig->world, is_done, rig, 10000));
    assert_int_equal(rig->last_result, 0);
}

struct model_config *rig_model_config(const char *public_id, const char *members)
{
    struct validation v = validation_init();
    struct model_config *config;
    json_error_t why;
    json_t *json, *more;

    json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}}", "id", public_id, "name", public_id,
                     "framework", "llama_cpp", "model_path", "model.gguf", "priority", 5,
                     "resource_requirements", "gpu_memory", 100);
    if (members) {
        char *text = xasprintf("{%s}", members);

        more = json_loads(text, 0, &why);
        if (!more) {
            fail_msg("%s: %s", text, why.text);
        }
        json_object_update(json, more);
        json_decref(more);
        free(text);
    }
    config = model_config_parse(json, &v);
    if (!config) {
        char *errors = json_dumps(v.schema_errors, 0);

        fail_msg("model: %s", errors);
    }
    json_decref(json);
    validation_finish(&v);
    return config;
}

int64_t rig_define_model(struct rig *rig, const char *public_id, const char *members)
{
    rig->last_result = 1;
    models_add(rig->models, rig_model_config(public_id, members), MODEL_FROM_API, on_model_done,
               rig);
    await_model_done(rig);
    return rig->last_id;
}

int64_t rig_add_model(struct rig *rig, const char *public_id, const char *members)
{
    int64_t id = rig_define_model(rig, public_id, members);

    rig_want(rig, id, true);
    return id;
}

void rig_want(struct rig *rig, int64_t id, bool wanted)
{
    rig->last_result = 1;
    models_set_wanted(rig->models, id, wanted, WISH_USER, on_model_done, rig);
    await_model_done(rig);
}

void rig_update_model(struct rig *rig, int64_t id, const char *public_id, const char *members)
{
    rig->last_result = 1;
    models_update(rig->models, id, rig_model_config(public_id, members), on_model_done, rig);
    await_model_done(rig);
}

void rig_remove_model(struct rig *rig, int64_t id)
{
    rig->last_result = 1;
    models_remove(rig->models, id, on_model_done, rig);
    await_model_done(rig);
}

/* ---- looking */

struct wait {
    struct rig *rig;
    int64_t model_id;
    enum instance_state state; /* INSTANCE_STATE_MAX_: gone */
};

static bool has_come(void *arg)
{
    struct wait *w = arg;
    const struct instance *pub = engines_of_model(w->rig->engines, w->model_id);

    return w->state == INSTANCE_STATE_MAX_ ? !pub : pub && pub->state == w->state;
}

static void await(struct rig *rig, int64_t model_id, enum instance_state state, uint64_t limit_ms)
{
    struct wait w = { rig, model_id, state };
    const struct instance *pub;

    if (sim_run_until(rig->world, has_come, &w, limit_ms)) {
        return;
    }
    pub = engines_of_model(rig->engines, model_id);
    fail_msg("the instance is %s (%s), not %s; so far: %s",
             pub ? instance_state_name(pub->state) : "gone",
             pub && pub->last_error ? pub->last_error : "no error",
             state == INSTANCE_STATE_MAX_ ? "gone" : instance_state_name(state), rig->trail);
}

const struct instance *rig_await(struct rig *rig, int64_t model_id, enum instance_state state,
                                 uint64_t limit_ms)
{
    await(rig, model_id, state, limit_ms);
    return engines_of_model(rig->engines, model_id);
}

void rig_await_gone(struct rig *rig, int64_t model_id, uint64_t limit_ms)
{
    await(rig, model_id, INSTANCE_STATE_MAX_, limit_ms);
}

struct sim_engine *rig_engine(struct rig *rig, const char *alias)
{
    struct sim_engine *engine;

    list_for_each (engine, &rig->alive, node) {
        if (!engine->is_worker && str_eq(engine->alias, alias)) {
            return engine;
        }
    }
    return NULL;
}

struct sim_engine *rig_replica(struct rig *rig, const char *alias, unsigned replica)
{
    struct sim_engine *engine;

    list_for_each (engine, &rig->alive, node) {
        if (!engine->is_worker && str_eq(engine->alias, alias) && engine->replica == replica) {
            return engine;
        }
    }
    return NULL;
}

size_t rig_count_instances(struct rig *rig, int64_t model_id, enum instance_state state)
{
    const struct instance *pub;
    size_t cursor = 0, n = 0;

    while ((pub = engines_next(rig->engines, &cursor))) {
        n += pub->model_id == model_id && (state == INSTANCE_STATE_MAX_ || pub->state == state);
    }
    return n;
}

struct wait_all {
    struct wait of;
    size_t count;
};

static bool have_all_come(void *arg)
{
    struct wait_all *w = arg;

    return rig_count_instances(w->of.rig, w->of.model_id, w->of.state) == w->count &&
           rig_count_instances(w->of.rig, w->of.model_id, INSTANCE_STATE_MAX_) == w->count;
}

void rig_await_all(struct rig *rig, int64_t model_id, enum instance_state state, size_t count,
                   uint64_t limit_ms)
{
    struct wait_all w = { { rig, model_id, state }, count };

    if (!sim_run_until(rig->world, have_all_come, &w, limit_ms)) {
        fail_msg("%zu of %zu instances are %s, and there are to be %zu; so far: %s",
                 rig_count_instances(rig, model_id, state),
                 rig_count_instances(rig, model_id, INSTANCE_STATE_MAX_),
                 instance_state_name(state), count, rig->trail);
    }
}

size_t rig_count_alive(struct rig *rig, const char *alias)
{
    struct sim_engine *engine;
    size_t n = 0;

    list_for_each (engine, &rig->alive, node) {
        n += !alias || str_eq(engine->alias, alias);
    }
    return n;
}

char *rig_metrics(struct rig *rig)
{
    struct buf out = BUF_INIT(1 << 20);

    assert_int_equal(metrics_write(rig->metrics, &out), 0);
    return buf_take(&out, NULL);
}
