// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories of requests, through everything: HTTP server, front, gateway, dispatch, engines'
 * life, HTTP client, and engines that crash, hang, hang up, and talk nonsense; clients that leave
 * and that do not read; models that are stopped, changed, restarted and deleted meanwhile.
 *
 * Always: who stays is answered once, with all of the content, or with a begin of it and an error
 * that fits what happened; nobody is told of what he did not ask for; an engine never has more than
 * its slots and one, and hears soon of a client that left. In the end nothing is counted, held or
 * open any more, and the counters add up.
 *
 *     SEED=7 HISTORIES=1 VERBOSE=1 test_sim_requests     replays one with its log
 */
#include "histories.h"
#include "requests.h"

#include <string.h>

#include "access/access.h"
#include "api/front.h"
#include "base/mem.h"
#include "gateway/gateway.h"
#include "http/server.h"
#include "placement/placement.h"

enum { STEPS = 60, QUEUE_MAX = 4, QUEUE_TIMEOUT_MS = 10000, MAX_ATTEMPTS = 3 };

const char *const model_names[MODELS] = { "a", "b" };

static const char *const settings[] = {
    "BERTH_ENGINES_START_TIMEOUT=3s",   "BERTH_ENGINES_STOP_GRACE=2s",
    "BERTH_ENGINES_DRAIN_TIMEOUT=100s", "BERTH_ENGINES_STABLE_AFTER=5s",
    "BERTH_GATEWAY_MAX_QUEUE=4",        "BERTH_GATEWAY_QUEUE_TIMEOUT=10s",
    "BERTH_GATEWAY_STREAM_WAIT=1s",     "BERTH_GATEWAY_FIRST_BYTE_TIMEOUT=6s",
    "BERTH_GATEWAY_IDLE_TIMEOUT=5s",    "BERTH_GATEWAY_SPILL_PER_STREAM=16KiB",
    "BERTH_GATEWAY_SPILL_BUDGET=1MiB",  NULL,
};

/* The upper rooms over the rig's, as the daemon builds and wires them. */
struct house {
    struct scene scene;
    struct access *access;
    struct placement *placement;
    struct gateway *gateway;
    struct router *router;
    struct front *front;
    struct http_server *server;
    struct access_listener tag;
    struct http_upstream *client;
    struct listener on_model_dispatch, on_model_placement, on_model_gateway;
    struct listener on_instance_dispatch, on_instance_placement, on_demand;
    int64_t ids[MODELS];   /* 0: not there */
    bool deleted[MODELS];  /* at some time */
    bool unwanted[MODELS]; /* at some time */
    bool any_deleted;
    int versions;
};

static bool one_in(struct scene *s, uint64_t n)
{
    return world_random_below(s->rig->world, n) == 0;
}

static uint64_t below(struct scene *s, uint64_t bound)
{
    return world_random_below(s->rig->world, bound);
}

static struct house *house_of(struct scene *s)
{
    return container_of(s, struct house, scene);
}

/* ---- the house */

static void listen_to(struct listener *l, struct notify *to, void (*fn)(void *, const void *),
                      void *owner)
{
    *l = (struct listener){ .fn = fn, .owner = owner };
    notify_add(to, l);
}

static void build_server(struct house *h)
{
    struct http_upstream_options client = { 0 };
    struct error e = { 0 };

    h->server = http_server_create(h->scene.rig->world,
                                   &(struct http_server_options){ .handle = front_handle,
                                                                  .on_head = front_on_head,
                                                                  .owner = h->front,
                                                                  .error_body = front_error_body });
    h->tag = (struct access_listener){ .loopback = true };
    assert_int_equal(address_parse("127.0.0.1:8080", &client.where, &e), 0);
    assert_int_equal(http_server_listen(h->server, &client.where, &h->tag, NULL, &e), 0);
    h->client = http_upstream_create(h->scene.rig->world, &client);
}

static void roll(struct rig *rig, struct behaviour *b)
{
    struct scene *s = rig->user;

    *b = (struct behaviour){ .load_ms = 70 };
    if (!s->kind) {
        b->load_ms = below(s, 500);
        b->end_after_ms = one_in(s, 6) ? 1 + below(s, 8000) : 0;
        b->end_code = 1;
        b->never_ready = one_in(s, 15);
        b->ignores_term = one_in(s, 8);
    }
}

static struct rig *build_rig(struct house *h, uint64_t seed)
{
    static const struct option_table *const tables[] = { &engines_options, &access_options,
                                                         &dispatch_options, &placement_options,
                                                         &gateway_options, NULL };
    static const struct store_schema *const schemas[] = { &events_schema, &access_schema,
                                                          &models_schema, &engines_schema, NULL };
    struct rig *rig = rig_create_with(
        seed,
        &(struct rig_options){ .environment = settings, .tables = tables, .schemas = schemas });

    rig->service = &scripted_service;
    rig->user = &h->scene;
    rig->roll = roll;
    rig->drains = false; /* that is for dispatch to say */
    return rig;
}

static void open_house(struct house *h, uint64_t seed)
{
    struct rig *rig = h->scene.rig = build_rig(h, seed);
    struct dispatch *d;
    struct error e = { 0 };
    char *key = NULL;

    list_init(&h->scene.talks);
    assert_int_equal(
        access_create(rig->world, rig->store, rig->config, false, &h->access, &key, &e), 0);
    d = h->scene.dispatch =
        dispatch_create(rig->world, rig->config, rig->models, rig->engines, rig->metrics);
    h->placement =
        placement_create(rig->world, rig->config, rig->models, d);
    h->gateway = gateway_create(&(struct gateway_in){ .world = rig->world,
                                                      .config = rig->config,
                                                      .models = rig->models,
                                                      .engines = rig->engines,
                                                      .dispatch = d,
                                                      .placement = h->placement,
                                                      .metrics = rig->metrics });
    h->router = router_create();
    router_add(h->router, gateway_routes(h->gateway));
    router_add(h->router, gateway_anthropic_routes(h->gateway));
    router_add(h->router, gateway_ollama_routes(h->gateway));
    h->front = front_create(h->router, h->access, rig->metrics);
    listen_to(&h->on_model_dispatch, models_signal(rig->models), dispatch_on_model, d);
    listen_to(&h->on_model_placement, models_signal(rig->models), placement_on_model,
              h->placement);
    listen_to(&h->on_model_gateway, models_signal(rig->models), gateway_on_model, h->gateway);
    listen_to(&h->on_instance_dispatch, engines_signal(rig->engines), dispatch_on_instance, d);
    listen_to(&h->on_instance_placement, engines_signal(rig->engines), placement_on_instance,
              h->placement);
    listen_to(&h->on_demand, dispatch_demand_signal(d), placement_on_demand, h->placement);
    build_server(h);
}

static void close_house(struct house *h)
{
    h->client = http_upstream_destroy(h->client);
    h->server = http_server_destroy(h->server);
    notify_remove(&h->on_model_dispatch);
    notify_remove(&h->on_model_placement);
    notify_remove(&h->on_model_gateway);
    notify_remove(&h->on_instance_dispatch);
    notify_remove(&h->on_instance_placement);
    notify_remove(&h->on_demand);
    h->front = front_destroy(h->front);
    h->router = router_destroy(h->router);
    h->gateway = gateway_destroy(h->gateway);
    h->placement = placement_destroy(h->placement);
    h->scene.dispatch = dispatch_destroy(h->scene.dispatch);
    h->access = access_destroy(h->access);
    rig_destroy(h->scene.rig);
    for (unsigned i = 0; i < h->scene.asked; i++) {
        buf_finish(&h->scene.asks[i].body);
        free(h->scene.asks[i].request);
    }
}

/* ---- what a client makes of its answer */

static void _printf_(2, 3) complain(const struct ask *a, const char *fmt, ...)
{
    va_list ap;

    print_error("ask %u of %s (%s, lost %u, deaths %u%s%s%s): ", a->number, model_names[a->model],
                a->stream ? "stream" : "whole", a->lost, a->deaths, a->broken ? ", broken" : "",
                a->cut ? ", cut" : "", a->refused ? ", refused" : "");
    va_start(ap, fmt);
    vprint_error(fmt, ap);
    va_end(ap);
    print_error("\nstatus %d, %zu bytes: %.600s\n", a->status, a->body.len, buf_data(&a->body));
    fail();
}

static bool ran_out_of_attempts(const struct ask *a)
{
    return a->lost + a->deaths >= MAX_ATTEMPTS;
}

/* The engine had written it all, and died before it was read. */
static bool ended_on_its_way(const struct ask *a)
{
    return a->completed && a->deaths;
}

/* Does what the client is told fit what happened to it? */
static void check_error(const struct ask *a, int status, const char *message)
{
    struct house *h = house_of(a->scene);
    bool fits = false;

    message = message ? message : "";
    switch (status) {
    case 404:
        fits = h->deleted[a->model];
        break;
    case 408:
        fits = world_now_ms(h->scene.rig->world) >= a->asked_ms + QUEUE_TIMEOUT_MS;
        break;
    case 429:
        fits = a->lost == 0 && strstr(message, "wait");
        break;
    case 500:
        fits = a->refused && strstr(message, "as scripted");
        break;
    case 502:
        fits = a->broken || a->cut || ended_on_its_way(a) || ran_out_of_attempts(a);
        break;
    case 503:
        fits = (h->unwanted[a->model] && strstr(message, "was stopped")) ||
               strstr(message, "cannot run");
        break;
    case 504: /* what was lost has used up time */
        fits = a->broken || a->lost > 0;
        break;
    }
    if (!fits) {
        complain(a, "the error does not fit: %d %s", status, message);
    }
}

static int status_of_type(const json_t *error)
{
    static const struct {
        const char *code;
        int status;
    } codes[] = {
        { "model_not_found", 404 },   { "queue_timeout", 408 },     { "queue_full", 429 },
        { "model_not_running", 503 }, { "deadline_exceeded", 504 }, { "bad_gateway", 502 },
    };
    const char *code = json_string_value(json_object_get(error, "code"));

    for (size_t i = 0; code && i < ARRAY_SIZE(codes); i++) {
        if (str_eq(codes[i].code, code)) {
            return codes[i].status;
        }
    }
    return 500; /* the engine's own object */
}

static void check_error_object(const struct ask *a, const json_t *body, int status)
{
    const json_t *error = json_object_get(body, "error");
    const char *message = json_string_value(json_object_get(error, "message"));

    if (!message || !json_string_value(json_object_get(error, "type"))) {
        complain(a, "no error object");
    }
    check_error(a, status ? status : status_of_type(error), message);
}

/* The items of an event stream, as a strict client reads them. */
struct reading {
    unsigned words;
    bool usage, error, done;
};

static void read_event(const struct ask *a, struct reading *r, const char *data)
{
    json_t *json = json_loads(data, 0, NULL);
    const json_t *choice = json_array_get(json_object_get(json, "choices"), 0);
    const char *content =
        json_string_value(json_object_get(json_object_get(choice, "delta"), "content"));
    char word[WORD_MAX];

    if (!json || r->error) {
        complain(a, "not an event: %.100s", data);
    } else if (json_object_get(json, "error")) {
        r->error = true;
        check_error_object(a, json, 0);
    } else if (json_object_get(json, "usage")) {
        r->usage = true;
    } else if (!content || r->usage || !str_eq(content, word_of(a, r->words++, word))) {
        complain(a, "not the word that comes next: %.100s", data);
    }
    json_decref(json);
}

static void read_item(const struct ask *a, struct reading *r, const char *item)
{
    if (r->done) {
        complain(a, "something after the end: %.100s", item);
    } else if (*item == ':') {
        assert_int_equal(r->words, 0);
    } else if (strncmp(item, "data: ", 6) != 0 || strchr(item, '\n')) {
        complain(a, "no item: %.100s", item);
    } else if (str_eq(item, "data: [DONE]")) {
        r->done = true;
    } else {
        read_event(a, r, item + 6);
    }
}

static void check_stream(const struct ask *a)
{
    _cleanup_(freep) char *text = xstrndup(buf_data(&a->body), a->body.len);
    struct reading r = { 0 };
    char *item = text, *end;

    for (; (end = strstr(item, "\n\n")); item = end + 2) {
        *end = '\0';
        read_item(a, &r, item);
    }
    if (*item || r.done == r.error) {
        complain(a, "the stream ends in the middle: %s", item);
    }
    if (r.done && (r.words != a->tokens || a->completed == 0)) {
        complain(a, "%u words of %u", r.words, a->tokens);
    }
    if (r.usage ? !a->wants_usage : a->wants_usage && r.done) {
        complain(a, "the usage event");
    }
}

static void check_whole(const struct ask *a)
{
    json_t *json = json_loads(buf_data(&a->body), 0, NULL);
    const json_t *choice = json_array_get(json_object_get(json, "choices"), 0);
    const char *content =
        json_string_value(json_object_get(json_object_get(choice, "message"), "content"));
    char word[WORD_MAX];

    if (a->status != 200) {
        check_error_object(a, json, a->status);
        json_decref(json);
        return;
    }
    for (unsigned i = 0; content && i < a->tokens; i++) {
        if (!str_starts(content, word_of(a, i, word))) {
            complain(a, "word %u", i);
        }
        content += strlen(word);
    }
    if (!content || *content || a->completed == 0) {
        complain(a, "not the whole answer");
    }
    json_decref(json);
}

static void on_head(void *owner, const struct http_head *head)
{
    struct ask *a = owner;

    assert_int_equal(a->status, 0);
    a->status = head->status;
    a->event_stream = span_starts(http_header_get(head, "content-type"), "text/event-stream");
    if (a->event_stream ? !a->stream || a->status != 200 : a->stream && a->status == 200) {
        complain(a, "an answer of the wrong kind");
    }
    if ((a->status == 429 || a->status == 408) && !http_header_get(head, "retry-after").p) {
        complain(a, "no Retry-After");
    }
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct ask *a = owner;

    assert_int_equal(buf_append(&a->body, p, n), 0);
}

static void on_end(void *owner)
{
    struct ask *a = owner;

    a->call = NULL;
    timer_stop(&a->whim);
    assert_int_equal(a->state, ASK_OPEN);
    a->state = ASK_ANSWERED;
    if (a->event_stream) {
        check_stream(a);
    } else {
        check_whole(a);
    }
}

/* Only a whole answer that was begun may be cut. */
static void on_fail(void *owner, const struct error *e)
{
    struct ask *a = owner;

    a->call = NULL;
    timer_stop(&a->whim);
    assert_int_equal(a->state, ASK_OPEN);
    a->state = ASK_CUT;
    if (a->event_stream || a->status == 0 || !(a->cut || a->broken || ended_on_its_way(a))) {
        complain(a, "cut: %s", e->text);
    }
}

/* ---- what clients do */

static void on_whim(void *arg)
{
    struct ask *a = arg;
    struct scene *s = a->scene;

    if (a->paused) {
        a->paused = false;
        http_call_resume(a->call);
    } else if (one_in(s, 2)) {
        a->paused = true;
        http_call_pause(a->call);
        timer_start(&a->whim, below(s, 20000));
    } else {
        http_call_cancel(TAKE_PTR(a->call));
        a->state = ASK_LEFT;
        a->left_ms = world_now_ms(s->rig->world);
    }
}

static struct ask *make_ask(struct scene *s)
{
    struct ask *a = &s->asks[s->asked];
    struct sim_engine *dying;

    *a = (struct ask){ .scene = s,
                       .number = s->asked++,
                       .model = (size_t)below(s, MODELS),
                       .stream = !one_in(s, 3),
                       .chat = !one_in(s, 3),
                       .tokens = 1 + (unsigned)below(s, 12),
                       .word_bytes = one_in(s, 6) ? (unsigned)below(s, WORD_MAX - 1) : 0,
                       .asked_ms = world_now_ms(s->rig->world) };
    dying = rig_engine(s->rig, model_names[a->model]);
    a->deaths = dying && !dying->listener;
    a->wants_usage = a->stream && one_in(s, 2);
    if (a->word_bytes) {
        a->tokens *= 3;
    }
    buf_init(&a->body, 1 << 24);
    timer_init(&a->whim, s->rig->world, "whim", on_whim, a);
    return a;
}

static const char *usage_wish(const struct ask *a)
{
    return a->wants_usage                    ? ",\"stream_options\":{\"include_usage\":true}"
           : a->stream && a->number % 3 == 0 ? ",\"stream_options\":{\"include_usage\":false}"
           : a->stream && a->number % 3 == 1 ? ",\"stream_options\":{}"
                                             : "";
}

static void ask_something(struct house *h)
{
    static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };
    struct ask *a = make_ask(&h->scene);
    struct span part;
    struct http_call_request request = {
        .method = "POST",
        .path = a->chat ? "/v1/chat/completions" : "/v1/completions",
        .headers = "Content-Type: application/json\r\n",
        .body = &part,
        .body_parts = 1,
    };

    a->request =
        xasprintf("{\"number\":%u,\"model\":\"%s\",\"stream\":%s%s,\"messages\":[]}", a->number,
                  model_names[a->model], a->stream ? "true" : "false", usage_wish(a));
    part = span_of(a->request);
    a->call = http_call_start(h->client, &request, &handler, a);
    if (one_in(&h->scene, 3)) {
        timer_start(&a->whim, one_in(&h->scene, 2) ? below(&h->scene, 30) : below(&h->scene, 6000));
    }
}

/* ---- what befalls models and engines */

static char *random_definition(struct house *h)
{
    return xasprintf("\"parameters\":{\"parallel\":%d,\"ctx_size\":%d},"
                     "\"retry_policy\":{\"initial_delay\":0.5,\"max_delay\":2,\"max_attempts\":3},"
                     "\"health_check\":{\"interval\":1,\"timeout\":1,\"max_failures\":2}",
                     SLOTS, 1024 + ++h->versions);
}

static void add_model(struct house *h, size_t i)
{
    _cleanup_(freep) char *members = random_definition(h);

    h->ids[i] = rig_add_model(h->scene.rig, model_names[i], members);
}

static void change_model(struct house *h, size_t i)
{
    _cleanup_(freep) char *members = random_definition(h);
    struct rig *rig = h->scene.rig;

    if (!h->ids[i]) {
        add_model(h, i);
        return;
    }
    switch (below(&h->scene, 6)) {
    case 0:
        h->unwanted[i] = true;
        rig_want(rig, h->ids[i], false);
        break;
    case 1:
        rig_want(rig, h->ids[i], true);
        break;
    case 2:
        rig_update_model(rig, h->ids[i], model_names[i], members);
        break;
    case 3:
        engines_restart(rig->engines, h->ids[i]);
        break;
    case 4:
        engines_retry(rig->engines, h->ids[i]);
        break;
    default:
        h->deleted[i] = h->any_deleted = true;
        rig_remove_model(rig, h->ids[i]);
        h->ids[i] = 0;
        break;
    }
}

static void hurt_engine(struct house *h, size_t i)
{
    struct sim_engine *engine = rig_engine(h->scene.rig, model_names[i]);

    switch (engine ? below(&h->scene, 4) : 9) {
    case 0:
        sim_process_exit(engine->process, 0, 9);
        break;
    case 1:
        engine_die_slowly(engine);
        break;
    case 2:
    case 3:
        engine_close_idle(engine);
        break;
    }
}

/* No more wait than may, but for those who lost their engine. */
static void check_lines(struct house *h)
{
    unsigned fresh[MODELS] = { 0 };

    for (unsigned i = 0; i < h->scene.asked; i++) {
        const struct ask *a = &h->scene.asks[i];

        fresh[a->model] += a->state == ASK_OPEN && !a->paused && a->lost + a->deaths == 0;
    }
    for (size_t i = 0; i < MODELS && h->scene.latency_ms == 0; i++) {
        assert_in_range(fresh[i], 0, QUEUE_MAX + SLOTS + 1);
    }
}

static void step(struct house *h)
{
    struct scene *s = &h->scene;
    size_t i = (size_t)below(s, MODELS);
    uint64_t dice = below(s, 14);

    if (dice == 0) {
        change_model(h, i);
    } else if (dice == 1) {
        hurt_engine(h, i);
    } else if (s->asked < ASKS_MAX) {
        ask_something(h);
    }
    sim_run_for(s->rig->world, one_in(s, 4) ? below(s, 3000) : below(s, 60));
    check_lines(h);
    s->rig->trail[0] = '\0';
}

/* ---- the end */

static bool all_are_answered(void *arg)
{
    struct scene *s = arg;

    for (unsigned i = 0; i < s->asked; i++) {
        if (s->asks[i].state == ASK_OPEN) {
            return false;
        }
    }
    return true;
}

static void await_answers(struct scene *s)
{
    if (sim_run_until(s->rig->world, all_are_answered, s, 300 * 1000)) {
        return;
    }
    for (unsigned i = 0; i < s->asked; i++) {
        if (s->asks[i].state == ASK_OPEN) {
            complain(&s->asks[i], "never answered");
        }
    }
}

/* The sum of all cells of a metric of which the line holds this text. */
static double sum_of(const char *metrics, const char *name, const char *with)
{
    double sum = 0;

    for (const char *line = metrics; line; line = strchr(line, '\n')) {
        const char *end, *found;

        line += *line == '\n';
        end = strchrnul(line, '\n');
        found = str_starts(line, name) ? strstr(line, with) : NULL;
        if (found && found < end) {
            sum += strtod(memrchr(line, ' ', (size_t)(end - line)), NULL);
        }
    }
    return sum;
}

static void check_metrics(struct house *h)
{
    _cleanup_(freep) char *text = rig_metrics(h->scene.rig);
    double came = sum_of(text, "berth_http_requests_total{", "completions");
    double told = sum_of(text, "berth_requests_total{", "");

    assert_true(sum_of(text, "berth_spilled_bytes ", "") == 0);
    assert_true(sum_of(text, "berth_in_flight{", "") == 0);
    assert_true(sum_of(text, "berth_queue_waiting{", "") == 0);
    if (h->any_deleted ? told > came : told != came) {
        fail_msg("%g requests came, %g were counted", came, told);
    }
}

static void check_quiet(struct house *h)
{
    struct scene *s = &h->scene;

    sim_run_for(s->rig->world, 25 * s->latency_ms + 10);
    assert_int_equal(engines_working(s), 0);
    assert_int_equal(http_server_exchanges(h->server), 0);
    for (size_t i = 0; i < MODELS; i++) {
        struct dispatch_load load = dispatch_model_load(s->dispatch, h->ids[i]);

        assert_int_equal(load.in_flight, 0);
        assert_int_equal(load.waiting, 0);
        assert_int_equal(load.tokens, 0);
    }
    check_metrics(h);
}

/* Nothing runs at the engines: they need not wait for anything when their models go. */
static void check_nobody_waits_to_go(struct house *h)
{
    struct rig *rig = h->scene.rig;

    for (size_t i = 0; i < MODELS; i++) {
        if (h->ids[i] && one_in(&h->scene, 2)) {
            rig_want(rig, h->ids[i], false);
        } else if (h->ids[i]) {
            rig_remove_model(rig, h->ids[i]);
        }
    }
    sim_run_for(rig->world, 10 * 1000); /* a tenth of the drain timeout */
    if (rig_count_alive(rig, NULL) != 0) {
        fail_msg("an engine without requests does not go: %s", rig->trail);
    }
    assert_int_equal(sim_live_processes(rig->world), 0);
    sim_run_for(rig->world, 100 * 1000);
    assert_int_equal(http_server_connections(h->server), 0);
    assert_true(list_empty(&h->scene.talks));
}

static void run_history(uint64_t seed)
{
    struct house *h = xcalloc(1, sizeof(*h));
    struct scene *s = &h->scene;

    open_house(h, seed);
    s->latency_ms = one_in(s, 2) ? 0 : 1 + below(s, 30);
    sim_set_latency(s->rig->world, s->latency_ms);
    for (size_t i = 0; i < MODELS; i++) {
        add_model(h, i);
    }
    for (int i = 0; i < STEPS; i++) {
        step(h);
    }
    s->kind = true;
    await_answers(s);
    check_quiet(h);
    check_nobody_waits_to_go(h);
    close_house(h);
    free(h);
}

static void test_histories(void **state)
{
    run_histories("sim/requests", 600, run_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_histories, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
