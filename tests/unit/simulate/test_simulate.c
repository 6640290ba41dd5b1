// SPDX-License-Identifier: Apache-2.0
/*
 * Whole simulations: the same seed gives the same bytes, every request ends once, one instance
 * queues as theory says, models that do not fit together swap by placement's rules, and a strategy
 * that is added to dispatch's table (examples/custom_strategy.c) is there.
 */
#include "unit.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "dispatch/dispatch.h"
#include "simulate/simulate.h"

struct scene {
    struct presets *presets;
    struct fleet *fleet;
    struct trace trace;
    struct simulation in;
};

static void open_scene(struct scene *s, const char *fleet, const struct trace_recipe *recipe)
{
    json_t *json = json_loads(fleet, 0, NULL);
    struct error e = { 0 };

    *s = (struct scene){ .presets = presets_create() };
    assert_non_null(json);
    if (fleet_read(s->presets, json, &s->fleet, &e) < 0) {
        fail_msg("%s", e.text);
    }
    json_decref(json);
    trace_make(recipe, &s->trace);
    s->in = (struct simulation){
        .fleet = s->fleet, .trace = &s->trace, .scale_rate = 1, .seed = test_seed("simulate")
    };
}

static void close_scene(struct scene *s)
{
    trace_finish(&s->trace);
    fleet_free(s->fleet);
    presets_destroy(s->presets);
}

static void play(const struct scene *s, struct sim_result *ret)
{
    struct error e = { 0 };

    if (simulate_run(&s->in, ret, &e) < 0) {
        fail_msg("%s", e.text);
    }
    assert_int_equal(ret->all.requests, s->in.max_requests ? s->in.max_requests : s->trace.count);
    assert_int_equal(ret->all.answered + ret->all.refused, ret->all.requests);
}

/* As bytes. */
static char *play_as_text(const struct scene *s)
{
    struct sim_result r;
    json_t *json;
    char *text;

    play(s, &r);
    json = sim_result_to_json(&r);
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    sim_result_finish(&r);
    return text;
}

#define FOUR_INSTANCES                                                                             \
    "{\"devices\":[{\"chip\":\"h100-sxm\",\"count\":4}],\"models\":[{\"name\":\"m\","              \
    "\"model\":\"llama-3.1-8b\",\"replicas\":4}]}"

static const struct trace_recipe busy = { .rate_rps = 60,
                                          .isl = 2000,
                                          .osl = 100,
                                          .isl_cv = 1,
                                          .osl_cv = 1,
                                          .requests = 600,
                                          .families = 12,
                                          .shared_share = 0.7,
                                          .seed = 3 };

static void the_same_seed_gives_the_same_bytes(void **state)
{
    const struct strategy *strategy;
    size_t cursor = 0;
    struct scene s;

    open_scene(&s, FOUR_INSTANCES, &busy);
    while ((strategy = strategy_next(&cursor))) {
        char *a, *b;

        s.in.strategy = strategy->name;
        a = play_as_text(&s);
        b = play_as_text(&s);
        assert_string_equal(a, b);
        assert_non_null(strstr(a, strategy->name));
        free(a);
        free(b);
    }
    close_scene(&s);
}

static void another_seed_and_another_strategy_give_others(void **state)
{
    char *a, *b, *c;
    struct scene s;

    open_scene(&s, FOUR_INSTANCES, &busy);
    s.in.strategy = "random";
    a = play_as_text(&s);
    s.in.seed++;
    b = play_as_text(&s);
    s.in.strategy = "prefix_affinity";
    c = play_as_text(&s);
    assert_string_not_equal(a, b);
    assert_string_not_equal(b, c);
    free(a);
    free(b);
    free(c);
    close_scene(&s);
}

/* Every token of every answer came, and the prompts' too. */
static void all_is_counted(void **state)
{
    uint64_t in = 0, out = 0;
    struct sim_result r;
    struct scene s;

    open_scene(&s, FOUR_INSTANCES, &busy);
    for (size_t i = 0; i < s.trace.count; i++) {
        in += s.trace.requests[i].input_tokens;
        out += s.trace.requests[i].output_tokens;
    }
    s.in.strategy = "prefix_affinity";
    play(&s, &r);
    assert_int_equal(r.all.answered, s.trace.count);
    assert_int_equal(r.all.prompt_tokens, in);
    assert_int_equal(r.all.output_tokens, out);
    assert_true(r.all.cached_tokens > 0 && r.all.cached_tokens < in);
    assert_true(r.all.busy_share > 0 && r.all.busy_share <= 1);
    assert_true(r.all.kv_share > 0 && r.all.kv_share <= 1);
    assert_true(r.all.ttft_s.p[0] <= r.all.ttft_s.p[3] && r.all.ttft_s.p[3] <= r.all.ttft_s.max);
    assert_true(r.all.wait_s.max == 0); /* nobody had to wait for a slot */
    assert_int_equal(r.model_count, 1);
    assert_int_equal(r.models[0].answered, r.all.answered);
    sim_result_finish(&r);
    close_scene(&s);
}

/* A line of two, and far more who come: they are refused, and counted. */
static void a_full_line_refuses(void **state)
{
    struct sim_result r;
    struct scene s;

    open_scene(&s,
               "{\"devices\":[{\"chip\":\"h100-sxm\"}],\"models\":[{\"name\":\"m\",\"model\":"
               "\"llama-3.1-8b\",\"max_sequences\":2}],\"options\":{\"gateway.max_queue\":2}}",
               &busy);
    play(&s, &r);
    assert_true(r.all.refused > 0 && r.all.answered > 0);
    assert_true(r.all.slo_share <= (double)r.all.answered / (double)r.all.requests);
    assert_false(r.all.sustained);
    sim_result_finish(&r);
    close_scene(&s);
}

/* One instance that works on one request at a time, and begins no other before its end, is a queue
 * with one server: its mean wait is by Pollaczek and Khinchine, of the times that it took. Lengths
 * are all alike here (M/D/1): half of what random ones would wait. */
static void one_server_waits_as_theory_says(void **state)
{
    const struct trace_recipe alike = {
        .rate_rps = 1, .isl = 500, .osl = 100, .requests = 4000, .seed = 5
    };
    double alone_s, service_s, load, expected_s, waited_s;
    struct sim_result r;
    struct scene s;

    open_scene(&s,
               "{\"devices\":[{\"chip\":\"h100-sxm\"}],\"models\":[{\"name\":\"m\",\"model\":"
               "\"llama-3.1-8b\",\"max_sequences\":1}]}",
               &alike);
    s.in.scale_rate = 0.01; /* nobody meets another: the time that one takes alone … */
    s.in.max_requests = 50;
    play(&s, &r);
    alone_s = r.all.e2e_s.p[0];
    assert_true(r.all.e2e_s.max < 1.01 * alone_s);
    /* … and that of it for which it has the engine (its way through the server is beside that) */
    service_s = r.all.busy_share * r.virtual_s / (double)r.all.answered;
    assert_true(service_s > 0.8 * alone_s && service_s <= alone_s);
    sim_result_finish(&r);
    s.in.max_requests = 0;
    s.in.scale_rate = 0.7 / service_s;
    play(&s, &r);
    load = r.rate_rps * service_s;
    expected_s = service_s * load / (2 * (1 - load));
    waited_s = r.all.e2e_s.mean - alone_s;
    if (fabs(waited_s / expected_s - 1) > 0.15) {
        fail_msg("a mean wait of %g s, where theory says %g s (load %g, service %g s of %g s)",
                 waited_s, expected_s, load, service_s, alone_s);
    }
    assert_true(fabs(r.all.busy_share - load) < 0.05);
    sim_result_finish(&r);
    close_scene(&s);
}

/* The same requests on half of the chips. */
static void fewer_chips_are_slower(void **state)
{
    const char *const fleets[] = {
        FOUR_INSTANCES,
        "{\"devices\":[{\"chip\":\"h100-sxm\",\"count\":2}],\"models\":[{\"name\":\"m\","
        "\"model\":\"llama-3.1-8b\",\"replicas\":2}]}",
    };
    double ttft_s[2], tpot_s[2];

    for (int i = 0; i < 2; i++) {
        struct sim_result r;
        struct scene s;

        open_scene(&s, fleets[i], &busy);
        play(&s, &r);
        ttft_s[i] = r.all.ttft_s.mean;
        tpot_s[i] = r.all.tpot_s.mean;
        sim_result_finish(&r);
        close_scene(&s);
    }
    assert_true(ttft_s[1] > ttft_s[0] && tpot_s[1] > tpot_s[0]);
}

/* Two models, each as large as the one device: requests for both take turns, by swaps. */
static void models_that_do_not_fit_together_swap(void **state)
{
    const struct trace_recipe slow = { .rate_rps = 1,
                                       .isl = 200,
                                       .osl = 20,
                                       .isl_cv = 0.5,
                                       .osl_cv = 0.5,
                                       .requests = 400,
                                       .seed = 9 };
    struct sim_result r;
    struct scene s;

    open_scene(&s,
               "{\"devices\":[{\"chip\":\"h100-sxm\"}],\"models\":["
               "{\"name\":\"a\",\"model\":\"llama-3.1-8b\",\"autostart\":false},"
               "{\"name\":\"b\",\"model\":\"qwen2.5-7b\",\"autostart\":false}],"
               "\"options\":{\"placement.swap_wait\":\"10s\",\"placement.min_residency\":\"20s\"}}",
               &slow);
    play(&s, &r);
    assert_int_equal(r.all.answered, r.all.requests);
    assert_true(r.models[0].requests > 100 && r.models[1].requests > 100);
    assert_true(r.models[0].swaps > 1 && r.models[1].swaps > 1);
    assert_int_equal(r.all.swaps, r.models[0].swaps + r.models[1].swaps);
    assert_true(r.all.loads >= r.all.swaps && r.all.loads <= r.all.swaps + 2);
    /* None leaves before its residency is over: at least so long a turn has. */
    assert_true((double)r.all.swaps * 20 <= r.virtual_s);
    assert_true(r.all.wait_s.max > 10);
    assert_int_equal(r.all.preemptions, 0);
    sim_result_finish(&r);
    close_scene(&s);
}

/* The more important one moves the other aside, and the other comes back when it has gone. */
static void the_more_important_one_goes_first(void **state)
{
    const struct trace_recipe slow = { .rate_rps = 0.2,
                                       .isl = 200,
                                       .osl = 20,
                                       .isl_cv = 0.5,
                                       .osl_cv = 0.5,
                                       .requests = 60,
                                       .seed = 9 };
    struct sim_result r;
    struct scene s;

    open_scene(&s,
               "{\"devices\":[{\"chip\":\"h100-sxm\"}],\"models\":["
               "{\"name\":\"low\",\"model\":\"llama-3.1-8b\",\"priority\":3},"
               "{\"name\":\"high\",\"model\":\"qwen2.5-7b\",\"priority\":8,\"autostart\":false,"
               "\"keep_alive\":\"1s\",\"share\":0.05}],"
               "\"options\":{\"placement.min_residency\":\"1s\"}}",
               &slow);
    play(&s, &r);
    assert_true(r.models[1].requests > 0);
    assert_true(r.models[0].preemptions > 0);
    assert_int_equal(r.models[1].preemptions, 0);
    assert_int_equal(r.all.answered, r.all.requests);
    sim_result_finish(&r);
    close_scene(&s);
}

static void what_cannot_be_is_refused(void **state)
{
    struct sim_result r;
    struct error e = { 0 };
    struct scene s;

    open_scene(&s, FOUR_INSTANCES, &busy);
    s.in.strategy = "best";
    assert_int_equal(simulate_run(&s.in, &r, &e), -EINVAL);
    assert_non_null(strstr(e.text, "earliest_completion"));
    s.in.strategy = NULL;
    s.in.scale_rate = 0;
    assert_int_equal(simulate_run(&s.in, &r, &e), -EINVAL);
    s.in.scale_rate = 1e-300;
    assert_int_equal(simulate_run(&s.in, &r, &e), -EINVAL);
    assert_non_null(strstr(e.text, "10 years"));
    close_scene(&s);

    open_scene(&s,
               "{\"devices\":[{\"chip\":\"h100-sxm\"}],\"models\":[{\"model\":\"llama-3.1-70b\"}]}",
               &busy);
    assert_int_equal(simulate_run(&s.in, &r, &e), -EINVAL);
    assert_non_null(strstr(e.text, "llama-3.1-70b"));
    close_scene(&s);

    open_scene(&s,
               "{\"devices\":[{\"chip\":\"h100-sxm\"}],\"models\":[{\"model\":\"llama-3.1-8b\","
               "\"replicas\":2}]}",
               &busy);
    assert_int_equal(simulate_run(&s.in, &r, &e), -ENOSPC);
    assert_non_null(strstr(e.text, "2 replicas"));
    close_scene(&s);
}

static bool stop_at_once(void *arg, double done)
{
    return false;
}

/* In the midst of its work, with nothing left behind. */
static void it_can_be_interrupted(void **state)
{
    char before[256], after[256];
    struct sim_result r;
    struct error e = { 0 };
    struct scene s;

    open_scene(&s, FOUR_INSTANCES, &busy);
    assert_non_null(getcwd(before, sizeof(before)));
    s.in.go_on = stop_at_once;
    assert_int_equal(simulate_run(&s.in, &r, &e), -EINTR);
    assert_non_null(getcwd(after, sizeof(after)));
    assert_string_equal(before, after);
    close_scene(&s);
}

/* This program's table has a row more (see meson.build): nothing else had to be done. */
static void an_added_strategy_is_there(void **state)
{
    struct sim_result r;
    struct scene s;

    assert_non_null(strategy_find("steady"));
    open_scene(&s, FOUR_INSTANCES, &busy);
    s.in.strategy = "steady";
    play(&s, &r);
    assert_string_equal(r.strategy, "steady");
    assert_int_equal(r.all.answered, r.all.requests);
    sim_result_finish(&r);
    close_scene(&s);
}

static void pictures_are_whole(void **state)
{
    const struct sim_curve_point points[] = {
        { "a", 1, 0.5, true }, { "a", 2, 1.5, true }, { "b<", 1, 0.7, true }, { "b<", 2, 40, false }
    };
    char *svg = sim_curve_svg(points, ARRAY_SIZE(points), "R&D");
    struct sim_result r;
    struct scene s;

    assert_non_null(strstr(svg, "R&amp;D"));
    assert_non_null(strstr(svg, "b&lt;"));
    assert_non_null(strstr(svg, "</svg>"));
    free(svg);
    svg = sim_curve_svg(&points[1], 1, "one rate"); /* as of several strategies at it */
    assert_non_null(strstr(svg, "</svg>"));
    free(svg);
    open_scene(&s, FOUR_INSTANCES, &busy);
    play(&s, &r);
    svg = sim_result_svg(&r, "one");
    assert_non_null(strstr(svg, "<polyline"));
    assert_null(strstr(svg, "nan"));
    free(svg);
    sim_result_finish(&r);
    close_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_bytes),
        cmocka_unit_test(another_seed_and_another_strategy_give_others),
        cmocka_unit_test(all_is_counted),
        cmocka_unit_test(a_full_line_refuses),
        cmocka_unit_test(one_server_waits_as_theory_says),
        cmocka_unit_test(fewer_chips_are_slower),
        cmocka_unit_test(models_that_do_not_fit_together_swap),
        cmocka_unit_test(the_more_important_one_goes_first),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(it_can_be_interrupted),
        cmocka_unit_test(an_added_strategy_is_there),
        cmocka_unit_test(pictures_are_whole),
    };

    if (!getenv("VERBOSE")) {
        log_set_fd(-1);
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
