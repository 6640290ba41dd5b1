// SPDX-License-Identifier: Apache-2.0
/*
 * Tasks at the gateway: what an engine is asked, what of its answer is told to the queue and
 * whether another try helps, who gives back what at which moment. The queue is a few lines here
 * (task_slot_granted and its kin); dispatch, placement and engines' life are the real ones, over
 * scripted engines in a simulated world.
 */
#include "../engines/rig.h"

#include "base/mem.h"
#include "gateway/gateway.h"
#include "gateway/history.h"
#include "http/message.h"
#include "placement/placement.h"
#include "tasks/tasks.h"

enum { SLOTS = 2, ORDERS = 16, SEEN_MAX = 8 << 20, LIMIT_MS = 60000 };

struct scene;

/* A connection at an engine. */
struct talk {
    struct list node;
    struct scene *scene;
    struct sim_engine *engine;
    struct stream *stream;
    struct buf in;
    bool working;
};

/* A task, as the queue would have it. */
struct order {
    struct task_slot slot; /* first: slots are orders */
    struct scene *scene;
    struct task_work work;
    bool waits_before_run;
    bool granted, refused, done;
    int error, http_status;
    bool helps, lost;
    uint64_t retry_after_ms;
    char text[600];
    char *output;
    size_t output_len;
};

struct scene {
    struct rig *rig;
    struct dispatch *dispatch;
    struct placement *placement;
    struct gateway *gateway;
    struct task_types *types;
    struct listener on_model_dispatch, on_model_placement, on_model_gateway;
    struct listener on_instance_dispatch, on_instance_placement, on_demand;
    struct list talks;
    /* what the engine does from now on */
    const char *answer; /* whole HTTP; NULL: holds the request */
    bool closes;        /* instead of an answer */
    unsigned asked;
    struct buf head, body; /* of the last request */
    struct order orders[ORDERS];
    unsigned order_count;
};

/* ---- the queue */

static void run_now(void *arg)
{
    struct order *o = arg;

    gateway_task_runner.run(o->scene->gateway, &o->slot, &o->work);
}

void task_slot_granted(struct task_slot *slot)
{
    struct order *o = (struct order *)slot;

    assert_false(o->granted || o->refused);
    o->granted = true;
    if (!o->waits_before_run) {
        world_post(o->scene->rig->world, run_now, o);
    }
}

void task_slot_refused(struct task_slot *slot, const struct error *e)
{
    struct order *o = (struct order *)slot;

    assert_false(o->granted || o->refused);
    o->refused = true;
    o->error = e->code;
    snprintf(o->text, sizeof(o->text), "%s", e->text);
}

void task_slot_done(struct task_slot *slot, const struct task_result *result)
{
    struct order *o = (struct order *)slot;

    assert_true(o->granted && !o->done);
    o->done = true;
    o->error = result->error;
    o->http_status = result->http_status;
    o->helps = result->helps;
    o->lost = result->lost;
    o->retry_after_ms = result->retry_after_ms;
    snprintf(o->text, sizeof(o->text), "%s", result->text ? result->text : "");
    o->output = result->output.p ? xmemdup(result->output.p, result->output.n + 1) : NULL;
    o->output_len = result->output.n;
}

void task_slot_set_remote(struct task_slot *slot, const char *remote_id)
{
    fail_msg("an engine has no name for a task");
}

/* What reserve says. */
static int submit(struct scene *s, int64_t model_id, const struct task_work *work,
                  struct order **ret)
{
    struct order *o = &s->orders[s->order_count++];
    struct error e = { 0 };
    int r;

    assert_in_range(s->order_count, 1, ORDERS);
    o->scene = s;
    o->work = *work;
    o->work.id = s->order_count;
    o->work.fence = 3;
    o->waits_before_run = work->timeout_ms == 1; /* the test runs it */
    o->slot.model_id = model_id;
    o->slot.priority = work->priority;
    o->slot.tokens = 100;
    r = gateway_task_runner.reserve(s->gateway, &o->slot, &e);
    if (r > 0) {
        task_slot_granted(&o->slot);
    } else if (r < 0) {
        o->error = r;
        snprintf(o->text, sizeof(o->text), "%s", e.text);
    }
    *ret = o;
    return r;
}

/* ---- the engine */

static void forget_talk(struct talk *t)
{
    list_remove(&t->node);
    buf_finish(&t->in);
    free(t);
}

static void free_talk(struct talk *t)
{
    stream_close(t->stream);
    forget_talk(t);
}

static void answer_probe(struct talk *t)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: 31\r\n\r\n{\"status\":\"ok\",\"total_slots\":2}";
    static const char loading[] = "HTTP/1.1 503 Loading\r\nContent-Length: 2\r\n\r\n{}";

    stream_write(t->stream, t->engine->loaded ? good : loading,
                 t->engine->loaded ? sizeof(good) - 1 : sizeof(loading) - 1);
}

static void answer_request(struct talk *t)
{
    struct scene *s = t->scene;

    s->asked++;
    if (s->closes) {
        free_talk(t);
    } else if (s->answer) {
        stream_write(t->stream, s->answer, strlen(s->answer));
        stream_close_flushed(t->stream, LIMIT_MS);
        forget_talk(t);
    } else {
        t->working = true;
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct talk *t = owner;
    struct http_head head = { 0 };
    struct error e = { 0 };
    size_t scanned = 0, body;
    ssize_t m;

    assert_int_equal(buf_append(&t->in, p, n), 0);
    m = http_parse_request(buf_data(&t->in), t->in.len, &scanned, &head, &e);
    body = head.framing == HTTP_LENGTH ? (size_t)head.content_length : 0;
    if (m <= 0 || t->in.len < (size_t)m + body) {
        assert_true(m >= 0);
        return;
    }
    if (span_eq(head.method, "GET")) {
        buf_clear(&t->in);
        answer_probe(t);
        return;
    }
    buf_clear(&t->scene->head);
    buf_clear(&t->scene->body);
    buf_append(&t->scene->head, buf_data(&t->in), (size_t)m);
    buf_append(&t->scene->body, buf_data(&t->in) + m, body);
    buf_clear(&t->in);
    answer_request(t);
}

static void on_conn_end(void *owner, int err)
{
    free_talk(owner);
}

static void on_stream(struct sim_engine *engine, struct stream *stream)
{
    static const struct stream_handler handler = { on_data, on_conn_end, NULL };
    struct talk *t = xcalloc(1, sizeof(*t));

    t->scene = engine->rig->user;
    t->engine = engine;
    t->stream = stream;
    buf_init(&t->in, SEEN_MAX);
    list_append(&t->scene->talks, &t->node);
    stream_set_handler(stream, &handler, t);
    stream_read_start(stream);
}

static void on_engine_end(struct sim_engine *engine)
{
    struct scene *s = engine->rig->user;
    struct talk *t, *tmp;

    list_for_each_safe (t, tmp, &s->talks, node) {
        if (t->engine == engine) {
            free_talk(t);
        }
    }
}

static unsigned working(struct scene *s)
{
    struct talk *t;
    unsigned n = 0;

    list_for_each (t, &s->talks, node) {
        n += t->working;
    }
    return n;
}

/* ---- the house */

static void listen_to(struct listener *l, struct notify *to, void (*fn)(void *, const void *),
                      void *owner)
{
    *l = (struct listener){ .fn = fn, .owner = owner };
    notify_add(to, l);
}

static void build_rooms(struct scene *s)
{
    struct rig *rig = s->rig;
    struct error e = { 0 };

    assert_int_equal(task_types_create(rig->config, &s->types, &e), 0);
    s->dispatch = dispatch_create(rig->world, rig->config, rig->models, rig->engines, rig->metrics);
    s->placement = placement_create(&(struct placement_in){ .world = rig->world,
                                                            .config = rig->config,
                                                            .models = rig->models,
                                                            .dispatch = s->dispatch });
    s->gateway = gateway_create(&(struct gateway_in){ .world = rig->world,
                                                      .config = rig->config,
                                                      .models = rig->models,
                                                      .engines = rig->engines,
                                                      .dispatch = s->dispatch,
                                                      .placement = s->placement,
                                                      .metrics = rig->metrics,
                                                      .task_types = s->types });
    listen_to(&s->on_model_dispatch, models_signal(rig->models), dispatch_on_model, s->dispatch);
    listen_to(&s->on_model_placement, models_signal(rig->models), placement_on_model, s->placement);
    listen_to(&s->on_model_gateway, models_signal(rig->models), gateway_on_model, s->gateway);
    listen_to(&s->on_instance_dispatch, engines_signal(rig->engines), dispatch_on_instance,
              s->dispatch);
    listen_to(&s->on_instance_placement, engines_signal(rig->engines), placement_on_instance,
              s->placement);
    listen_to(&s->on_demand, dispatch_demand_signal(s->dispatch), placement_on_demand,
              s->placement);
}

static int open_scene(void **state)
{
    static const struct option_table *const tables[] = { &engines_options, &dispatch_options,
                                                         &placement_options, &gateway_options,
                                                         NULL };
    static const struct rig_service service = { on_stream, on_engine_end };
    struct scene *s = xcalloc(1, sizeof(*s));

    list_init(&s->talks);
    buf_init(&s->head, SEEN_MAX);
    buf_init(&s->body, SEEN_MAX);
    s->rig = rig_create_with(test_seed("task_runner"), &(struct rig_options){ .tables = tables });
    s->rig->service = &service;
    s->rig->user = s;
    s->rig->drains = false;
    s->rig->behaviour = (struct behaviour){ .load_ms = 500 };
    build_rooms(s);
    *state = s;
    return 0;
}

static int close_scene(void **state)
{
    struct scene *s = *state;

    for (unsigned i = 0; i < s->order_count; i++) {
        free(s->orders[i].output);
    }
    notify_remove(&s->on_model_dispatch);
    notify_remove(&s->on_model_placement);
    notify_remove(&s->on_model_gateway);
    notify_remove(&s->on_instance_dispatch);
    notify_remove(&s->on_instance_placement);
    notify_remove(&s->on_demand);
    s->gateway = gateway_destroy(s->gateway);
    s->placement = placement_destroy(s->placement);
    s->dispatch = dispatch_destroy(s->dispatch);
    rig_destroy(s->rig);
    s->types = task_types_destroy(s->types);
    buf_finish(&s->head);
    buf_finish(&s->body);
    free(s);
    return 0;
}

/* ---- steps */

#define ANSWER(status, headers, body)                                                              \
    "HTTP/1.1 " status " X\r\nContent-Type: application/json\r\n" headers                          \
    "Connection: close\r\n\r\n" body
#define CHAT_ANSWER                                                                                \
    ANSWER("200", "",                                                                              \
           "{\"choices\":[{\"message\":{\"content\":\"Hi\"}}],\"usage\":{\"prompt_tokens\":9,"     \
           "\"completion_tokens\":4}}")

static int64_t ready_model(struct scene *s, const char *name)
{
    int64_t id = rig_add_model(s->rig, name, "\"parameters\":{\"parallel\":2}");

    rig_await(s->rig, id, INSTANCE_READY, LIMIT_MS);
    return id;
}

static struct order *submit_text(struct scene *s, int64_t model, const char *type,
                                 const char *input, const char *options)
{
    struct order *o;

    assert_true(submit(s, model,
                       &(struct task_work){ .type = type,
                                            .priority = TASK_MEDIUM,
                                            .input = span_of(input),
                                            .options = span_of(options) },
                       &o) >= 0);
    return o;
}

static bool is_done(void *arg)
{
    const struct order *o = arg;

    return o->done || o->refused;
}

static void await_done(struct order *o)
{
    assert_true(sim_run_until(o->scene->rig->world, is_done, o, LIMIT_MS));
}

static bool engine_works(void *arg)
{
    return working(arg) > 0;
}

static bool engine_rests(void *arg)
{
    return working(arg) == 0;
}

static void assert_nothing_held(struct scene *s, int64_t model)
{
    struct dispatch_load load = dispatch_model_load(s->dispatch, model);

    assert_int_equal(load.in_flight, 0);
    assert_int_equal(load.waiting, 0);
    assert_int_equal(load.tokens, 0);
}

/* ---- tests */

static void a_task_is_one_request_with_an_account(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct model_figures figures;
    const struct request_record *record;
    struct order *o;
    char *metrics;

    s->answer = CHAT_ANSWER;
    o = submit_text(s, model, "text-generation", "Hello \"you\"", NULL);
    /* Counted as a request like it would be. */
    assert_int_equal(dispatch_model_load(s->dispatch, model).tokens, 100 + 256);
    await_done(o);
    assert_int_equal(o->error, 0);
    assert_int_equal(o->http_status, 200);
    assert_string_equal(o->output, "Hi");
    assert_int_equal(o->output_len, 2);
    assert_string_equal(buf_data(&s->body),
                        "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello \\\"you\\\"\"}],"
                        "\"model\":\"m\"}");
    assert_contains(buf_data(&s->head), "POST /v1/chat/completions HTTP/1.1\r\n");
    assert_contains(buf_data(&s->head), "Content-Type: application/json\r\n");
    assert_contains(buf_data(&s->head), "x-request-id: task-1-3\r\n");
    assert_string_equal(o->slot.instance, engines_of_model(s->rig->engines, model)->uuid);

    figures = gateway_model_figures(s->gateway, "m");
    assert_int_equal(figures.requests, 1);
    assert_int_equal(figures.errors, 0);
    assert_int_equal(figures.prompt_tokens, 9);
    assert_int_equal(figures.output_tokens, 4);
    record = history_at(gateway_history(s->gateway), 0);
    assert_string_equal(record->user_agent, "task");
    assert_string_equal(record->path, "/v1/chat/completions");
    assert_int_equal(record->status, 200);
    assert_string_equal(record->instance, o->slot.instance);
    metrics = rig_metrics(s->rig);
    assert_contains(metrics, "berth_requests_total{model=\"m\",endpoint=\"chat_completions\","
                             "status=\"200\"} 1");
    free(metrics);
    assert_nothing_held(s, model);
}

static void what_helps_and_what_does_not(void **state)
{
    static const struct {
        const char *answer;
        int error, status;
        bool helps;
        uint64_t retry_after_ms;
        const char *words;
    } rows[] = {
        { ANSWER("400", "", "{\"error\":{\"message\":\"no such thing\"}}"), -EINVAL, 400, false, 0,
          "no such thing" },
        { ANSWER("404", "", "{\"error\":\"not here\"}"), -ENOENT, 404, false, 0, "not here" },
        { ANSWER("413", "", "too large"), -EINVAL, 413, false, 0, "status 413" },
        { ANSWER("422", "", "{\"message\":\"odd\"}"), -EINVAL, 422, false, 0, "odd" },
        { ANSWER("501", "", "{\"error\":{\"message\":\"no embeddings here\"}}"), -EPROTO, 501,
          false, 0, "no embeddings" },
        { ANSWER("429", "Retry-After: 7\r\n", "{}"), -EAGAIN, 429, true, 7000, "status 429" },
        { ANSWER("503", "retry-after-ms: 1500\r\nRetry-After: 9\r\n", "{}"), -EPROTO, 503, true,
          1500, "status 503" },
        { ANSWER("500", "Retry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\n", ""), -EPROTO, 500, true,
          0, "status 500" },
        { ANSWER("200", "", "{\"choices\":[]}"), -EPROTO, 200, true, 0, "no choice" },
        { ANSWER("200", "",
                 "{\"choices\":[{\"message\":{\"content\":\"\",\"reasoning_content\":\"Hm\"}}]}"),
          -ENODATA, 200, false, 0, "max_tokens" },
        { ANSWER("302", "", ""), -EPROTO, 302, false, 0, "status 302" },
        { "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", -EPROTO, 0, true, 0,
          "before it answered" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nno", -EPROTO, 0, true, 0,
          "while it answered" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        void *fresh = NULL;
        struct scene *s;
        struct order *o;
        int64_t model;

        open_scene(&fresh);
        s = fresh;
        model = ready_model(s, "m");
        s->answer = rows[i].answer;
        o = submit_text(s, model, "text-generation", "x", NULL);
        await_done(o);
        if (o->error != rows[i].error || o->http_status != rows[i].status ||
            o->helps != rows[i].helps || o->retry_after_ms != rows[i].retry_after_ms ||
            !strstr(o->text, rows[i].words) || o->lost || o->output) {
            fail_msg("row %zu: error %d, status %d, helps %d, lost %d, after %llu ms, '%s'", i,
                     o->error, o->http_status, o->helps, o->lost,
                     (unsigned long long)o->retry_after_ms, o->text);
        }
        assert_nothing_held(s, model);
        close_scene(&fresh);
    }
}

static void a_cut_connection_is_worth_a_try(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o;

    s->closes = true;
    o = submit_text(s, model, "embedding", "x", NULL);
    await_done(o);
    assert_int_equal(o->error, -EPROTO);
    assert_true(o->helps);
    assert_false(o->lost);
    assert_contains(o->text, "the engine failed before it answered");
    assert_nothing_held(s, model);
}

static void answers_that_never_end_are_cut(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    const size_t n = (2 * TASK_OUTPUT_MAX) + 100;
    char *answer = xmalloc(n + 1);
    struct order *o;

    memset(answer, 'x', n);
    answer[n] = '\0';
    memcpy(answer, "HTTP/1.1 200 OK\r\n\r\n", 19);
    s->answer = answer;
    o = submit_text(s, model, "custom", "{}", NULL);
    await_done(o);
    assert_int_equal(o->error, -EFBIG);
    assert_contains(o->text, "the engine's answer is longer than 8 MiB"); /* it was not read on */
    assert_false(o->helps);
    assert_null(o->output);
    assert_nothing_held(s, model);
    free(answer);
}

static void lines_of_batches_keep_refusals(void **state)
{
    static const char refusal[] = "{\"error\":{\"message\":\"no\"},\"more\":[1]}";
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o;

    s->answer = ANSWER("400", "", "{\"error\":{\"message\":\"no\"},\"more\":[1]}");
    o = submit_text(s, model, "batch", "{\"model\":\"m\",\"input\":1e400}",
                    "{\"url\":\"/v1/embeddings\"}");
    await_done(o);
    assert_contains(buf_data(&s->head), "POST /v1/embeddings ");
    assert_string_equal(buf_data(&s->body), "{\"model\":\"m\",\"input\":1e400}");
    assert_int_equal(o->error, -EINVAL);
    assert_int_equal(o->http_status, 400);
    assert_string_equal(o->output, refusal);
    s->answer = ANSWER("200", "", "any");
    o = submit_text(s, model, "batch", "{\"model\":\"m\"}", NULL);
    await_done(o);
    assert_int_equal(o->error, 0);
    assert_string_equal(o->output, "any");
}

static void what_makes_no_request_asks_no_engine(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    static const struct {
        const char *type, *input, *options, *words;
    } rows[] = {
        { "nothing", "x", NULL, "no task type 'nothing'" },
        { "text-generation", "\xFF", NULL, "UTF-8" },
        { "batch", "{}", NULL, "model" },
        { "embedding", "x", "[]", "JSON object" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct order *o = submit_text(s, model, rows[i].type, rows[i].input, rows[i].options);

        await_done(o);
        assert_int_equal(o->error, -EINVAL);
        assert_false(o->helps);
        assert_contains(o->text, rows[i].words);
    }
    assert_int_equal(s->asked, 0);
    assert_int_equal(gateway_model_figures(s->gateway, "m").requests, 0);
    assert_nothing_held(s, model);
}

static void a_stopped_model_is_loaded_for_a_task(void **state)
{
    struct scene *s = *state;
    int64_t model = rig_define_model(s->rig, "m", "\"on_demand\":true");
    struct order *o;

    s->answer = CHAT_ANSWER;
    o = submit_text(s, model, "text-generation", "x", NULL);
    assert_false(o->granted);
    await_done(o);
    assert_int_equal(o->error, 0);
}

static void who_cannot_run_says_so(void **state)
{
    struct scene *s = *state;
    int64_t stopped = rig_define_model(s->rig, "m", "\"on_demand\":false");
    const struct task_work work = { .type = "embedding", .input = SPAN("x") };
    struct order *o;
    char why[200];

    assert_int_equal(submit(s, stopped, &work, &o), -ESRCH);
    assert_true(strlen(o->text) > 0);
    gateway_task_runner.why(s->gateway, stopped, "m", why, sizeof(why));
    assert_contains(why, "stopped");
    assert_int_equal(submit(s, 4711, &work, &o), -ENOENT);
    gateway_task_runner.why(s->gateway, 4711, "m", why, sizeof(why));
    assert_contains(why, "not in the catalogue");
}

static void cancelled_while_it_waits(void **state)
{
    struct scene *s = *state;
    int64_t model = rig_add_model(s->rig, "m", NULL);
    struct order *o = submit_text(s, model, "embedding", "x", NULL);

    assert_int_equal(dispatch_model_load(s->dispatch, model).waiting, 1);
    gateway_task_runner.cancel(s->gateway, &o->slot);
    assert_nothing_held(s, model);
    rig_await(s->rig, model, INSTANCE_READY, LIMIT_MS);
    sim_run_for(s->rig->world, 1000);
    assert_false(o->granted || o->done || o->refused);
    assert_int_equal(s->asked, 0);
}

static void cancelled_before_it_runs(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o;

    assert_int_equal(
        submit(s, model, &(struct task_work){ .type = "embedding", .timeout_ms = 1 }, &o), 1);
    assert_int_equal(dispatch_model_load(s->dispatch, model).in_flight, 1);
    gateway_task_runner.cancel(s->gateway, &o->slot);
    sim_run_for(s->rig->world, 1000);
    assert_nothing_held(s, model);
    assert_int_equal(s->asked, 0);
    assert_false(o->done);
}

static void cancelled_while_the_engine_works(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o = submit_text(s, model, "embedding", "x", NULL);

    assert_true(sim_run_until(s->rig->world, engine_works, s, LIMIT_MS));
    gateway_task_runner.cancel(s->gateway, &o->slot);
    assert_nothing_held(s, model);
    assert_true(sim_run_until(s->rig->world, engine_rests, s, LIMIT_MS)); /* its connection ended */
    sim_run_for(s->rig->world, 1000);
    assert_false(o->done);
    assert_int_equal(history_at(gateway_history(s->gateway), 0)->status, 499);
}

/* Compose failed, and the queue lets go before it is told. */
static void cancelled_just_before_its_end_is_told(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o;

    assert_int_equal(
        submit(s, model, &(struct task_work){ .type = "nothing", .timeout_ms = 1 }, &o), 1);
    gateway_task_runner.run(s->gateway, &o->slot, &o->work);
    gateway_task_runner.cancel(s->gateway, &o->slot);
    sim_run_for(s->rig->world, 1000);
    assert_false(o->done);
    assert_nothing_held(s, model);
}

static void an_instance_that_goes_before_the_request_costs_no_try(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o;

    assert_int_equal(
        submit(s, model, &(struct task_work){ .type = "embedding", .timeout_ms = 1 }, &o), 1);
    sim_process_exit(rig_engine(s->rig, "m")->process, 0, 9);
    sim_run_for(s->rig->world, 100);
    gateway_task_runner.run(s->gateway, &o->slot, &o->work);
    assert_false(o->done); /* only in a later turn */
    await_done(o);
    assert_true(o->lost);
    assert_int_equal(o->error, -ESRCH);
    assert_int_equal(s->asked, 0);
}

static void an_engine_that_dies_at_it_is_worth_a_try(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    struct order *o = submit_text(s, model, "embedding", "x", NULL);

    assert_true(sim_run_until(s->rig->world, engine_works, s, LIMIT_MS));
    sim_process_exit(rig_engine(s->rig, "m")->process, 0, 9);
    await_done(o);
    assert_true(o->helps);
    assert_false(o->lost);
    sim_run_for(s->rig->world, 100);
    assert_nothing_held(s, model);
}

static void on_request_granted(void *owner, const struct instance *instance)
{
    *(bool *)owner = true;
}

static void on_request_refused(void *owner, const struct error *e)
{
    fail_msg("a request is refused: %s", e->text);
}

/* Whatever waits, a request that somebody waits for goes first, and finds a place beyond the slots
 * that no task takes; among tasks it is the class. */
static void requests_go_first(void **state)
{
    struct scene *s = *state;
    int64_t model = ready_model(s, "m");
    const struct task_work line = { .type = "embedding", .priority = TASK_BATCH },
                           high = { .type = "embedding", .priority = TASK_HIGH };
    bool granted = false;
    const struct dispatch_ask ask = { .model_id = model,
                                      .on_grant = on_request_granted,
                                      .on_refuse = on_request_refused,
                                      .owner = &granted };
    struct order *lines[SLOTS + 1], *o;
    struct ticket *first, *second;
    const struct instance *instance;

    for (unsigned i = 0; i < SLOTS; i++) {
        assert_int_equal(submit(s, model, &line, &lines[i]), 1);
    }
    assert_int_equal(submit(s, model, &line, &lines[SLOTS]), 0);
    assert_int_equal(submit(s, model, &high, &o), 0);
    assert_int_equal(dispatch_acquire(s->dispatch, &ask, &first, &instance, NULL), 1);
    assert_int_equal(dispatch_acquire(s->dispatch, &ask, &second, &instance, NULL), 0);
    sim_run_for(s->rig->world, 100);
    assert_false(granted || o->granted || lines[SLOTS]->granted);
    gateway_task_runner.cancel(s->gateway, &lines[0]->slot);
    sim_run_for(s->rig->world, 100);
    assert_true(granted); /* the one that came last */
    assert_false(o->granted || lines[SLOTS]->granted);
    dispatch_release(first, OUTCOME_GOOD);
    sim_run_for(s->rig->world, 100);
    assert_false(o->granted || lines[SLOTS]->granted); /* the slots are full */
    dispatch_release(second, OUTCOME_GOOD);
    sim_run_for(s->rig->world, 100);
    assert_true(o->granted);
    assert_false(lines[SLOTS]->granted); /* though it has waited longer */
    s->answer = ANSWER("200", "", "{\"data\":[{\"embedding\":[1]}]}");
    gateway_task_runner.cancel(s->gateway, &o->slot);
    await_done(lines[SLOTS]);
    assert_string_equal(lines[SLOTS]->output, "[1]");
    gateway_task_runner.cancel(s->gateway, &lines[1]->slot);
    assert_nothing_held(s, model);
}

static void why_a_model_lets_tasks_wait(void **state)
{
    struct scene *s = *state;
    int64_t model = rig_add_model(s->rig, "m", "\"retry_policy\":{\"max_attempts\":1}");
    char why[200];

    rig_await(s->rig, model, INSTANCE_STARTING, LIMIT_MS);
    gateway_task_runner.why(s->gateway, model, "m", why, sizeof(why));
    assert_contains(why, "the model is loading");
    rig_await(s->rig, model, INSTANCE_READY, LIMIT_MS);
    gateway_task_runner.why(s->gateway, model, "m", why, sizeof(why));
    assert_string_equal(why, "");
    submit_text(s, model, "embedding", "x", NULL);
    gateway_task_runner.why(s->gateway, model, "m", why, sizeof(why));
    assert_contains(why, "busy: 1 in work");
    sim_run_for(s->rig->world, 100);
    gateway_task_runner.cancel(s->gateway, &s->orders[0].slot);
    s->rig->behaviour = (struct behaviour){
        .load_ms = 500, .end_after_ms = 10, .end_code = 1, .last_words = "error: no memory\n"
    };
    for (int i = 0; i < 4 && engines_of_model(s->rig->engines, model)->state != INSTANCE_FAILED;
         i++) {
        if (rig_engine(s->rig, "m")) {
            sim_process_exit(rig_engine(s->rig, "m")->process, 1, 0);
        }
        sim_run_for(s->rig->world, 20000);
    }
    gateway_task_runner.why(s->gateway, model, "m", why, sizeof(why));
    assert_contains(why, "its instance failed: ");
    assert_contains(why, "must be started again");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_scene, close_scene)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_task_is_one_request_with_an_account),
        cmocka_unit_test(what_helps_and_what_does_not),
        TEST(a_cut_connection_is_worth_a_try),
        TEST(answers_that_never_end_are_cut),
        TEST(lines_of_batches_keep_refusals),
        TEST(what_makes_no_request_asks_no_engine),
        TEST(a_stopped_model_is_loaded_for_a_task),
        TEST(who_cannot_run_says_so),
        TEST(cancelled_while_it_waits),
        TEST(cancelled_before_it_runs),
        TEST(cancelled_while_the_engine_works),
        TEST(cancelled_just_before_its_end_is_told),
        TEST(an_instance_that_goes_before_the_request_costs_no_try),
        TEST(an_engine_that_dies_at_it_is_worth_a_try),
        TEST(requests_go_first),
        TEST(why_a_model_lets_tasks_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
