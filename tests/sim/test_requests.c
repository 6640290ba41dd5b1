// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories of requests, through everything: HTTP server, front, gateway, placement,
 * dispatch, engines' life, HTTP client, and engines that crash, hang, get stuck over their work,
 * hang up, and talk nonsense; clients that leave, that do not read, and that have little time;
 * models that nobody loads but demand, that are unloaded when nobody asks for them, stopped,
 * changed, made more and fewer replicas of, restarted and deleted meanwhile, several of these at
 * once.
 *
 * Always: who stays is answered once and in time, with all of the content, or with a begin of it
 * and an error that fits what happened; nobody is told of what he did not ask for; an engine never
 * has more than its slots and one, and hears soon of a client that left; and what requests_watch.c
 * watches. In the end nothing is counted, held or open any more, and the counters add up.
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
#include "gateway/history.h"
#include "http/server.h"
#include "placement/placement.h"

enum { STEPS = 60, RACE = 4 };

const char *const model_names[MODELS] = { "a", "b" };

static const char *const settings[] = {
    "BERTH_ENGINES_START_TIMEOUT=3s",   "BERTH_ENGINES_STOP_GRACE=2s",
    "BERTH_ENGINES_DRAIN_TIMEOUT=100s", "BERTH_ENGINES_STABLE_AFTER=5s",
    "BERTH_ENGINES_STALL_TIMEOUT=4s",   "BERTH_GATEWAY_MAX_QUEUE=4",
    "BERTH_GATEWAY_QUEUE_TIMEOUT=10s",  "BERTH_GATEWAY_STREAM_WAIT=1s",
    "BERTH_GATEWAY_DEADLINE=40s",       "BERTH_GATEWAY_FIRST_BYTE_TIMEOUT=9s",
    "BERTH_GATEWAY_IDLE_TIMEOUT=8s",    "BERTH_GATEWAY_BREAKER_FAILURES=3",
    "BERTH_GATEWAY_BREAKER_OPEN=300ms", "BERTH_GATEWAY_SPILL_PER_STREAM=16KiB",
    "BERTH_GATEWAY_SPILL_BUDGET=1MiB",
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
    bool any_deleted;
    int versions;
};

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
        b->load_ms = scene_below(s, scene_one_in(s, 3) ? 2500 : 500);
        b->end_after_ms = scene_one_in(s, 6) ? 1 + scene_below(s, 8000) : 0;
        b->end_code = 1;
        b->never_ready = scene_one_in(s, 15);
        b->ignores_term = scene_one_in(s, 8);
    }
}

static const char *const strategy_settings[] = {
    "BERTH_GATEWAY_STRATEGY=least_outstanding_tokens",
    "BERTH_GATEWAY_STRATEGY=least_connections",
    "BERTH_GATEWAY_STRATEGY=response_time",
    "BERTH_GATEWAY_STRATEGY=power_of_two",
    "BERTH_GATEWAY_STRATEGY=round_robin",
    "BERTH_GATEWAY_STRATEGY=weighted",
    "BERTH_GATEWAY_STRATEGY=random",
    "BERTH_GATEWAY_STRATEGY=shortest_queue",
    "BERTH_GATEWAY_STRATEGY=weighted_wait",
    "BERTH_GATEWAY_STRATEGY=probabilistic",
    "BERTH_GATEWAY_STRATEGY=earliest_completion",
    "BERTH_GATEWAY_STRATEGY=prefix_affinity",
    "BERTH_GATEWAY_STRATEGY=session_affinity",
};

static struct rig *build_rig(struct house *h, uint64_t seed)
{
    static const struct option_table *const tables[] = { &engines_options,  &access_options,
                                                         &dispatch_options, &placement_options,
                                                         &gateway_options,  NULL };
    static const struct store_schema *const schemas[] = { &events_schema, &access_schema,
                                                          &models_schema, &engines_schema, NULL };
    const char *environment[ARRAY_SIZE(settings) + 3] = { 0 };
    struct rig *rig;

    memcpy(environment, settings, sizeof(settings));
    environment[ARRAY_SIZE(settings)] = strategy_settings[seed % ARRAY_SIZE(strategy_settings)];
    if (seed % 5 == 0) {
        environment[ARRAY_SIZE(settings) + 1] = "BERTH_PLACEMENT_UNLOAD_AFTER=2s";
    }
    h->scene.unload_after_ms = seed % 5 == 0 ? 2000 : KEEP_ALIVE_FOREVER;
    rig = rig_create_with(
        seed,
        &(struct rig_options){ .environment = environment, .tables = tables, .schemas = schemas });
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
    h->placement = placement_create(&(struct placement_in){
        .world = rig->world, .config = rig->config, .models = rig->models, .dispatch = d });
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
    listen_to(&h->on_model_placement, models_signal(rig->models), placement_on_model, h->placement);
    listen_to(&h->on_model_gateway, models_signal(rig->models), gateway_on_model, h->gateway);
    listen_to(&h->on_instance_dispatch, engines_signal(rig->engines), dispatch_on_instance, d);
    listen_to(&h->on_instance_placement, engines_signal(rig->engines), placement_on_instance,
              h->placement);
    listen_to(&h->on_demand, dispatch_demand_signal(d), placement_on_demand, h->placement);
    watch_begin(&h->scene);
    build_server(h);
}

static void close_house(struct house *h)
{
    h->client = http_upstream_destroy(h->client);
    h->server = http_server_destroy(h->server);
    watch_end(&h->scene);
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
    clients_finish(&h->scene);
}
/* ---- what befalls models and engines */

static const char *random_stay(struct scene *s)
{
    static const char *const stays[] = {
        "",
        "\"keep_alive\":\"300ms\",",
        "\"keep_alive\":\"700ms\",",
        "\"keep_alive\":\"2s\",",
        "\"keep_alive\":0,",
        "\"ttl\":0,",
        "\"ttl\":1,",
    };

    return stays[scene_below(s, ARRAY_SIZE(stays))];
}

/* Half of the new definitions change nothing for the engines. */
static char *random_definition(struct house *h)
{
    struct scene *s = &h->scene;

    h->versions += scene_one_in(s, 2);
    return xasprintf("\"parameters\":{\"parallel\":%d,\"ctx_size\":%d,\"weight\":%d},%s"
                     "\"replicas\":%d,\"on_demand\":%s,\"pinned\":%s,"
                     "\"retry_policy\":{\"initial_delay\":0.5,\"max_delay\":2,\"max_attempts\":3},"
                     "\"health_check\":{\"interval\":1,\"timeout\":1,\"max_failures\":2}",
                     SLOTS, 1024 + h->versions, 1 + h->versions % 3, random_stay(s),
                     scene_one_in(s, 2) ? 1 : 1 + (int)scene_below(s, REPLICAS),
                     scene_one_in(s, 8) ? "false" : "true", scene_one_in(s, 10) ? "true" : "false");
}

static char *definition_of(struct house *h, size_t i)
{
    char *some = random_definition(h);
    char *members = xasprintf("%s,\"aliases\":[\"%s-alias\",\"%s-%llu\"]", some, model_names[i],
                              model_names[i], (unsigned long long)scene_below(&h->scene, 3));

    free(some);
    return members;
}

static void add_model(struct house *h, size_t i)
{
    _cleanup_(freep) char *members = definition_of(h, i);

    if (scene_one_in(&h->scene, 3)) {
        rig_add_model(h->scene.rig, model_names[i], members);
    } else {
        rig_define_model(h->scene.rig, model_names[i], members);
    }
}

static void want(struct house *h, size_t i, bool wanted)
{
    struct scene *s = &h->scene;

    if (!wanted) {
        watch_note_stop(s, i);
    }
    models_set_wanted(s->rig->models, s->subjects[i].id, wanted, WISH_USER, NULL, NULL);
}

static void update(struct house *h, size_t i)
{
    _cleanup_(freep) char *members = definition_of(h, i);

    models_update(h->scene.rig->models, h->scene.subjects[i].id,
                  rig_model_config(model_names[i], members), NULL, NULL);
}

static void restart(struct house *h, size_t i)
{
    watch_allow_starts(&h->scene, i, REPLICAS);
    engines_restart(h->scene.rig->engines, h->scene.subjects[i].id);
}

static void remove_model(struct house *h, size_t i)
{
    int64_t id = h->scene.subjects[i].id;

    h->any_deleted = true;
    watch_note_removal(&h->scene, i);
    models_remove(h->scene.rig->models, id, NULL, NULL);
}

static void change_model(struct house *h, size_t i)
{
    struct scene *s = &h->scene;

    if (!s->subjects[i].id) {
        add_model(h, i);
        return;
    }
    switch (scene_below(s, 10)) {
    case 0:
    case 1:
        want(h, i, false);
        break;
    case 2:
    case 3:
        want(h, i, true);
        break;
    case 4:
    case 5:
    case 6:
        update(h, i);
        break;
    case 7:
        restart(h, i);
        break;
    case 8:
        engines_retry(s->rig->engines, s->subjects[i].id);
        break;
    default:
        remove_model(h, i);
        break;
    }
}

/* Several things at once, or nearly: what one of them began, the next one finds half done. */
static void race(struct house *h, size_t i)
{
    struct scene *s = &h->scene;

    for (uint64_t n = 2 + scene_below(s, RACE); n > 0; n--) {
        if (scene_one_in(s, 2) && s->asked < ASKS_MAX) {
            client_ask(s, h->client);
        } else {
            change_model(h, i);
        }
        sim_run_for(s->rig->world, scene_one_in(s, 2) ? 0 : scene_below(s, 12));
    }
}

static void hurt_engine(struct house *h, size_t i)
{
    struct scene *s = &h->scene;
    struct sim_engine *engine =
        rig_replica(s->rig, model_names[i], (unsigned)scene_below(s, REPLICAS));

    switch (engine ? scene_below(s, 6) : 9) {
    case 0:
        sim_process_exit(engine->process, 0, 9);
        break;
    case 1:
        engine_die_slowly(engine);
        break;
    case 2:
        engine_get_stuck(engine);
        break;
    case 3:
        engine_get_sick(engine, scene_below(s, 5000));
        break;
    case 4:
    case 5:
        engine_close_idle(engine);
        break;
    }
}

static void change_strategy(struct scene *s)
{
    const char *name =
        strchr(strategy_settings[scene_below(s, ARRAY_SIZE(strategy_settings))], '=');
    struct error e = { 0 };

    assert_int_equal(dispatch_set_strategy(s->dispatch, 0, name + 1, &e), 0);
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
        assert_in_range(fresh[i], 0, QUEUE_MAX + REPLICAS * (SLOTS + 1));
    }
}

/* Long enough, now and then, to be unloaded. */
static uint64_t random_pause(struct scene *s)
{
    return scene_one_in(s, 12)  ? scene_below(s, 8000)
           : scene_one_in(s, 4) ? scene_below(s, 2000)
                                : scene_below(s, 60);
}

static void step(struct house *h)
{
    struct scene *s = &h->scene;
    size_t i = (size_t)scene_below(s, MODELS);

    switch (scene_below(s, 20)) {
    case 0:
        change_model(h, i);
        break;
    case 1:
        race(h, i);
        break;
    case 2:
    case 3:
        hurt_engine(h, i);
        break;
    case 4:
        change_strategy(s);
        break;
    default:
        if (s->asked < ASKS_MAX) {
            client_ask(s, h->client);
        }
        break;
    }
    sim_run_for(s->rig->world, random_pause(s));
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
    if (sim_run_until(s->rig->world, all_are_answered, s, 120 * 1000)) {
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

/* The history has every request once, with what the counters say. */
static void check_history(struct house *h)
{
    _cleanup_(freep) char *text = rig_metrics(h->scene.rig);
    const struct history *history = gateway_history(h->gateway);
    const struct request_record *r;
    struct model_figures figures = { 0 };
    uint64_t tokens = 0, errors = 0;
    size_t n = 0;

    for (; (r = history_at(history, n)); n++) {
        assert_true(r->total_ms >= r->first_byte_ms && r->total_ms >= r->queue_ms);
        assert_true(r->status < 400 || r->status == 499 || r->error[0]);
        errors += r->status >= 500;
        tokens += r->output_tokens;
    }
    assert_int_equal(n, (size_t)sum_of(text, "berth_http_requests_total{", "completions"));
    for (size_t i = 0; i < MODELS && !h->any_deleted; i++) {
        struct model_figures f = gateway_model_figures(h->gateway, model_names[i]);

        figures.requests += f.requests;
        figures.errors += f.errors;
        figures.output_tokens += f.output_tokens;
    }
    if (!h->any_deleted) {
        assert_int_equal(figures.requests, n);
        assert_int_equal(figures.errors, errors);
        assert_int_equal(figures.output_tokens, tokens);
    }
}

static void check_quiet(struct house *h)
{
    struct scene *s = &h->scene;

    sim_run_for(s->rig->world, scene_delay(s));
    assert_int_equal(engines_working(s), 0);
    assert_int_equal(http_server_exchanges(h->server), 0);
    for (size_t i = 0; i < MODELS; i++) {
        struct dispatch_load load = dispatch_model_load(s->dispatch, s->subjects[i].id);

        assert_int_equal(load.in_flight, 0);
        assert_int_equal(load.waiting, 0);
        assert_int_equal(load.tokens, 0);
    }
    check_metrics(h);
    check_history(h);
}

static double count_hung(struct house *h)
{
    _cleanup_(freep) char *text = rig_metrics(h->scene.rig);

    return sum_of(text, "berth_instance_failures_total{", "hung");
}

/* Whose work has ended is not judged by its progress any more; who may not stay, goes (the watch
 * sees to that). */
static void check_idleness(struct house *h)
{
    double hung;

    sim_run_for(h->scene.rig->world, 3000); /* what does not answer is found out */
    hung = count_hung(h);
    sim_run_for(h->scene.rig->world, 2 * STALL_MS);
    h->scene.rig->trail[0] = '\0';
    if (count_hung(h) > hung) {
        fail_msg("an engine without work is called hung");
    }
}

/* Nothing runs at the engines: they need not wait for anything when their models go. */
static void check_nobody_waits_to_go(struct house *h)
{
    struct rig *rig = h->scene.rig;

    for (size_t i = 0; i < MODELS; i++) {
        if (h->scene.subjects[i].id && scene_one_in(&h->scene, 2)) {
            want(h, i, false);
        } else if (h->scene.subjects[i].id) {
            remove_model(h, i);
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
    s->latency_ms = scene_one_in(s, 2) ? 0 : 1 + scene_below(s, 30);
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
    check_idleness(h);
    check_nobody_waits_to_go(h);
    close_house(h);
    free(h);
}

static void test_histories(void **state)
{
    run_histories("sim/requests", 500, run_history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_histories, tell_seed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
