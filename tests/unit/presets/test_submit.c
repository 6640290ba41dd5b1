// SPDX-License-Identifier: Apache-2.0
/* Requests of seed 001 as they come: the whole example, each member wrong, missing or absurd, and
 * what they turn into. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "presets/example.h"
#include "presets/presets.h"

static struct presets *book;
static struct plan_request request;
static char field[PRESET_NAME_MAX];
static struct error error;

static int read_it(json_t *body)
{
    int r;

    memset(&error, 0, sizeof(error));
    r = plan_request_from_json(book, body, &request, field, &error);
    json_decref(body);
    return r;
}

static void test_example(void **state)
{
    const struct planner_model *m = &request.model.model;

    assert_int_equal(read_it(example()), 0);
    assert_string_equal(m->name, "Llama-like 7B");
    assert_int_equal(m->layers, 32);
    assert_int_equal(m->head_dim, 128);
    assert_false(m->tied);
    assert_int_equal(m->experts, 0);
    assert_string_equal(request.chip.chip.name, "H100-SXM");
    assert_float_equal(request.chip.chip.memory_gb, 85.9, 1e-9); /* "80 GB" are 80 GiB */
    assert_float_equal(request.chip.chip.bf16_tflops, 989, 1e-9);
    assert_float_equal(request.chip.chip.bandwidth_gbps, 3350, 1e-9);
    assert_int_equal(request.chips, 8);
    assert_int_equal(request.question.max_chips, 8);
    assert_int_equal(request.topology.level_count, 1);
    assert_int_equal(request.topology.levels[0].groups, 8);
    assert_float_equal(request.topology.levels[0].gbps, 450, 1e-9); /* of 900 in both directions */
    assert_int_equal(request.format, PLANNER_BF16);
    assert_float_equal(request.question.isl, 512, 0);
    assert_float_equal(request.question.osl, 256, 0);
    assert_float_equal(request.question.concurrency, 8, 0);
    assert_int_equal(request.top_k, 10);
    assert_false(request.manual);
}

static bool is_finite(const json_t *v)
{
    const char *key;
    json_t *inner;
    size_t i;

    if (json_is_real(v) && !isfinite(json_real_value(v))) {
        return false;
    }
    json_array_foreach(UNCONST(json_t *, v), i, inner)
    {
        if (!is_finite(inner)) {
            return false;
        }
    }
    json_object_foreach(UNCONST(json_t *, v), key, inner)
    {
        if (!is_finite(inner)) {
            return false;
        }
    }
    return true;
}

static double member(const json_t *o, const char *name)
{
    assert_true(json_is_number(json_object_get(o, name)));
    return json_number_value(json_object_get(o, name));
}

static void test_example_is_answered(void **state)
{
    struct planner_setup setup;
    struct planner_findings f;
    json_t *plan, *stats;

    assert_int_equal(read_it(example()), 0);
    plan_request_run(&request, NULL, NULL, &setup, &f);
    assert_true(f.count > 3);
    stats = plan_stats_to_json(&f);
    assert_true(member(stats, "total_plans") >= member(stats, "feasible_plans"));
    assert_true(member(stats, "feasible_plans") > 0);
    for (size_t i = 0; i < f.count; i++) {
        plan = plan_candidate_to_json(&request, &setup, &f.candidates[i]);
        assert_true(is_finite(plan));
        assert_true(json_is_true(json_object_get(plan, "is_feasible")));
        assert_true(member(plan, "throughput") > 0);
        assert_true(member(plan, "ttft") > 0);
        assert_true(member(plan, "tpot") > 1);
        assert_float_equal(member(plan, "tps_per_chip"),
                           member(plan, "throughput") / member(plan, "chips"), 1e-6);
        json_decref(plan);
    }
    json_decref(stats);
    planner_findings_finish(&f);
}

static void test_manual(void **state)
{
    struct planner_setup setup;
    struct planner_findings f;
    json_t *body = example_with("search_mode", "\"manual\""), *plan, *parallelism;

    json_object_set_new(body, "manual_parallelism", json_pack("{s:i, s:i}", "tp", 4, "dp", 2));
    json_object_set_new(body, "search_constraints", json_null());
    assert_int_equal(read_it(body), 0);
    assert_true(request.manual);
    plan_request_run(&request, NULL, NULL, &setup, &f);
    assert_int_equal(f.count, 1);
    plan = plan_candidate_to_json(&request, &setup, &f.candidates[0]);
    parallelism = json_object_get(plan, "parallelism");
    assert_float_equal(member(parallelism, "dp"), 2, 0);
    assert_float_equal(member(parallelism, "tp"), 4, 0);
    assert_float_equal(member(parallelism, "sp"), 1, 0);
    assert_float_equal(member(plan, "chips"), 8, 0);
    json_decref(plan);
    planner_findings_finish(&f);
}

/* One plan that wants more chips than the topology has: refused with both numbers, and zeros. */
static void test_manual_needs_more(void **state)
{
    struct planner_setup setup;
    struct planner_findings f;
    json_t *body = example_with("search_mode", "\"manual\""), *plan;
    const char *why;

    json_object_set_new(body, "manual_parallelism", json_pack("{s:i, s:i}", "tp", 8, "pp", 4));
    assert_int_equal(read_it(body), 0);
    plan_request_run(&request, NULL, NULL, &setup, &f);
    assert_int_equal(f.count, 0);
    assert_int_equal(f.refusal_count, 1);
    plan = plan_candidate_to_json(&request, &setup, &f.refusals[0]);
    why = json_string_value(json_object_get(plan, "infeasible_reason"));
    assert_non_null(why);
    assert_non_null(strstr(why, "32"));
    assert_non_null(strstr(why, "8"));
    assert_float_equal(member(plan, "throughput"), 0, 0);
    assert_float_equal(member(plan, "ttft"), 0, 0);
    assert_float_equal(member(plan, "score"), 0, 0);
    assert_false(json_is_true(json_object_get(plan, "is_feasible")));
    json_decref(plan);
    planner_findings_finish(&f);
}

/* A limit that no plan keeps: none is feasible, each says what was needed, and the stats agree. */
static void test_limits_that_nobody_keeps(void **state)
{
    static const struct {
        const char *constraints, *says;
    } rows[] = {
        { "{\"max_latency_ms\": 1}", "the limit is 1.0 ms" },
        { "{\"min_throughput\": 1e9}", "1000000000 tokens/s are needed" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct planner_setup setup;
        struct planner_findings f;
        json_t *plan, *stats;

        assert_int_equal(read_it(example_with("search_constraints", rows[i].constraints)), 0);
        plan_request_run(&request, NULL, NULL, &setup, &f);
        assert_true(f.count > 0);
        plan = plan_candidate_to_json(&request, &setup, &f.candidates[0]);
        assert_true(json_is_false(json_object_get(plan, "is_feasible")));
        assert_float_equal(member(plan, "throughput"), 0, 0);
        assert_float_equal(member(plan, "tpot"), 0, 0);
        assert_non_null(
            strstr(json_string_value(json_object_get(plan, "infeasible_reason")), rows[i].says));
        stats = plan_stats_to_json(&f);
        assert_float_equal(member(stats, "feasible_plans"), 0, 0);
        assert_true(member(json_object_get(stats, "refused_by"), "limits") > 0);
        json_decref(stats);
        json_decref(plan);
        planner_findings_finish(&f);
    }
}

/* ---- what is wrong is told by its name ---- */

static void test_faults(void **state)
{
    static const struct {
        const char *path, *value;
        int result;
        const char *field; /* NULL: the path */
    } rows[] = {
        { "topology", "", -EPROTO },
        { "model", "", -EPROTO },
        { "hardware", "null", -EPROTO },
        { "inference", "", -EPROTO },
        { "search_mode", "", -EPROTO },
        { "search_mode", "7", -EPROTO },
        { "search_mode", "\"guess\"", -EPROTO },
        { "search_mode", "\"manual\"", -EPROTO, "manual_parallelism" },
        { "model", "[]", -EPROTO },
        { "model", "\"no-such-model\"", -EINVAL },
        { "model.hidden_size", "\"4096\"", -EPROTO },
        { "model.hidden_size", "", -EPROTO },
        { "model.hidden_size", "0", -EINVAL },
        { "model.hidden_size", "-1", -EINVAL },
        { "model.hidden_size", "1.5", -EINVAL },
        { "model.num_layers", "1e9", -EINVAL },
        { "model.num_layers", "0", -EINVAL },
        { "model.num_attention_heads", "0", -EINVAL },
        { "model.num_attention_heads", "", -EPROTO },
        { "model.num_attention_heads", "30", -EINVAL, "model.num_kv_heads" },
        { "model.num_kv_heads", "7", -EINVAL },
        { "model.num_kv_heads", "8", -EINVAL }, /* attention_type says mha */
        { "model.intermediate_size", "", -EPROTO },
        { "model.vocab_size", "true", -EPROTO },
        { "model.weight_dtype", "\"fp7\"", -EINVAL },
        { "model.weight_dtype", "\"fp32\"", -EINVAL },
        { "model.activation_dtype", "\"fp8\"", -EINVAL },
        { "model.attention_type", "\"linear\"", -EINVAL },
        { "model.attention_type", "\"mla\"", -EPROTO, "model.mla_config" },
        { "model.attention_type", "\"mqa\"", -EINVAL, "model.num_kv_heads" },
        { "model.norm_type", "\"batchnorm\"", -EINVAL },
        { "model.model_type", "\"moe\"", -EPROTO, "model.moe_config" },
        { "model.moe_config", "{\"num_experts\": 8}", -EPROTO,
          "model.moe_config.num_experts_per_tok" },
        { "model.moe_config", "{\"num_experts\": 8, \"num_experts_per_tok\": 9}", -EINVAL,
          "model.moe_config.num_experts_per_tok" },
        { "model.moe_config", "4", -EPROTO },
        { "model.hiden_size", "4096", -EINVAL },
        { "hardware.chip", "", -EPROTO },
        { "hardware.chip.memory_gb", "-80", -EINVAL },
        { "hardware.chip.memory_bandwidth_gbps", "0", -EINVAL },
        { "hardware.chip.memory_bandwidth_utilization", "1.9", -EINVAL },
        { "hardware.chip.compute_tflops_fp16", "\"fast\"", -EPROTO },
        { "hardware.chip", "{\"chip_type\": \"Mystery\"}", -EPROTO,
          "hardware.chip.compute_tflops_fp16" },
        { "hardware.node.chips_per_node", "0", -EINVAL },
        { "hardware.node.intra_node_bandwidth_gbps", "1e300", -EINVAL },
        { "hardware.cluster.num_nodes", "\"one\"", -EPROTO },
        { "topology", "{}", -EPROTO, "topology.pods" },
        { "topology.pods", "{}", -EPROTO },
        { "topology.pods", "[]", -EINVAL, "topology" },
        { "topology.pods", "[{}]", -EPROTO, "topology.pods[0].racks" },
        { "topology.pods", "[7]", -EPROTO, "topology.pods[0]" },
        { "inference.batch_size", "0", -EINVAL },
        { "inference.batch_size", "", -EPROTO },
        { "inference.input_seq_length", "", -EPROTO },
        { "inference.input_seq_length", "1e12", -EINVAL },
        { "inference.input_seq_length", "4000", -EINVAL, "inference.max_seq_length" },
        { "inference.max_seq_length", "700", -EINVAL },
        { "inference.num_micro_batches", "0", -EINVAL },
        { "search_constraints", "7", -EPROTO },
        { "search_constraints.max_chips", "9", -EINVAL },
        { "search_constraints.max_chips", "0", -EINVAL },
        { "search_constraints.top_k", "0", -EINVAL },
        { "search_constraints.max_latency_ms", "-5", -EINVAL },
        { "search_constraints.tp_divides_heads", "1", -EPROTO },
        { "search_constraints.optimization_target", "\"beauty\"", -EINVAL },
        { "search_constraints.score_weights", "{\"latency\": -1}", -EINVAL,
          "search_constraints.score_weights.latency" },
        { "search_constraints.optimisation_target", "\"latency\"", -EINVAL },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const int r = read_it(example_with(rows[i].path, rows[i].value));
        const char *wanted = rows[i].field ? rows[i].field : rows[i].path;

        if (r != rows[i].result || strcmp(field, wanted) != 0) {
            print_error("%s = %s: %d, field '%s': %s\n", rows[i].path, rows[i].value, r, field,
                        error.text);
        }
        assert_int_equal(r, rows[i].result);
        assert_string_equal(field, wanted);
        assert_non_null(strstr(error.text, wanted));
    }
}

static void test_what_is_not_an_object(void **state)
{
    static const char *const texts[] = { "[]", "7", "\"x\"", "null", "true" };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        assert_int_equal(read_it(json_loads(texts[i], JSON_DECODE_ANY, NULL)), -EPROTO);
        assert_string_equal(field, "");
    }
    assert_int_equal(read_it(json_object()), -EPROTO);
}

/* ---- what is right is heard ---- */

static void test_constraints_are_heard(void **state)
{
    const struct planner_question *q = &request.question;

    assert_int_equal(
        read_it(example_with(
            "search_constraints",
            "{\"max_chips\": 4, \"top_k\": 3, \"max_latency_ms\": 9000, \"min_throughput\": 50, "
            "\"max_memory_ratio\": 0.5, \"tp_divides_heads\": false, \"pp_divides_layers\": true, "
            "\"tp_within_node\": false, \"optimization_target\": \"latency\", \"score_weights\": "
            "{\"latency\": 1, \"throughput\": 0}}")),
        0);
    assert_int_equal(q->max_chips, 4);
    assert_int_equal(request.top_k, 3);
    assert_float_equal(q->slo_e2e_s, 9, 1e-9);
    assert_float_equal(q->min_tokens_ps, 50, 0);
    assert_float_equal(q->max_memory_share, 0.5, 0);
    assert_true(q->any_heads);
    assert_true(q->even_layers);
    assert_true(q->across_nodes);
    assert_int_equal(q->objective, PLANNER_LATENCY);
    assert_float_equal(q->weights.latency, 1, 0);
    assert_float_equal(q->weights.balance, 0, 0);
    assert_int_equal(read_it(example_with("search_constraints", "null")), 0);
    assert_int_equal(q->max_chips, 8);
    assert_int_equal(read_it(example_with("search_constraints", "")), 0);
}

static void test_chips(void **state)
{
    const struct planner_chip *c = &request.chip.chip;

    /* figures win over the data sheet, the other peaks keep their ratio */
    assert_int_equal(read_it(example_with("hardware.chip.compute_tflops_fp16", "494.5")), 0);
    assert_float_equal(c->bf16_tflops, 494.5, 1e-9);
    assert_float_equal(c->fp8_tflops, 989, 1e-6);
    assert_int_equal(read_it(example_with("hardware.chip.memory_gb", "40")), 0);
    assert_float_equal(c->memory_gb, 42.949673, 1e-5);
    assert_int_equal(read_it(example_with("hardware.chip.memory_gb", "85.9")), 0);
    assert_float_equal(c->memory_gb, 85.9, 1e-9);
    assert_int_equal(read_it(example_with("hardware.chip", "{\"chip_type\": \"A100\"}")), 0);
    assert_string_equal(c->name, "A100-SXM-80GB");
    assert_int_equal(read_it(example_with("hardware.chip", "\"h200\"")), 0);
    assert_string_equal(c->name, "H200-SXM");
    /* nobody knows it: a name and figures */
    assert_int_equal(read_it(example_with(
                         "hardware.chip",
                         "{\"chip_type\": \"Mystery 9\", \"compute_tflops_fp16\": 500, "
                         "\"memory_gb\": 64, \"memory_bandwidth_gbps\": 2000, \"cost_per_hour\": "
                         "2.5, \"num_cores\": 64, \"flops_dtype\": \"fp16\"}")),
                     0);
    assert_string_equal(c->name, "Mystery 9");
    assert_float_equal(c->price_hour, 2.5, 0);
    assert_float_equal(c->memory_gb, 68.719477, 1e-5);
}

static void test_topologies(void **state)
{
    const struct planner_topology *t = &request.topology;

    assert_int_equal(read_it(example_with(
                         "topology", "{\"pod_count\": 2, \"racks_per_pod\": 2, \"rack_config\": "
                                     "{\"boards\": [{\"count\": 4, \"chips\": [{\"count\": "
                                     "8}]}]}}")),
                     0);
    assert_int_equal(request.chips, 128);
    assert_int_equal(t->level_count, 4);
    assert_int_equal(t->levels[0].groups, 8);
    assert_int_equal(t->levels[1].groups, 4);
    assert_float_equal(t->levels[0].gbps, 450, 1e-9);
    assert_float_equal(t->levels[2].gbps, 50, 1e-9); /* 400 Gbit/s */
    assert_float_equal(t->levels[3].gbps, 25, 1e-9); /* another pod: half */
    assert_int_equal(request.question.max_chips, 8);
    assert_int_equal(read_it(example_with(
                         "topology", "{\"levels\": [{\"name\": \"box\", \"groups\": 4, \"gbps\": "
                                     "100, \"alpha_us\": 2, \"link\": \"mesh\"}, {\"groups\": "
                                     "4}]}")),
                     0);
    assert_int_equal(request.chips, 16);
}

/* As the answer has it, dp is what was asked. */
static void assert_dp_comes_back(const char *parallelism)
{
    json_t *asked = json_loads(parallelism, 0, NULL), *plan;
    const double dp = json_object_get(asked, "dp") ? member(asked, "dp") : 1;
    struct planner_setup setup;
    struct planner_findings f;

    plan_request_run(&request, NULL, NULL, &setup, &f);
    assert_int_equal(f.count + f.refusal_count, 1);
    plan = plan_candidate_to_json(&request, &setup, f.count ? f.candidates : f.refusals);
    assert_float_equal(member(json_object_get(plan, "parallelism"), "dp"), dp, 0);
    json_decref(plan);
    json_decref(asked);
    planner_findings_finish(&f);
}

/* The experts lie across so many copies of the attention as dp tp = moe_tp ep says. */
static void test_experts(void **state)
{
    static const struct {
        const char *parallelism;
        unsigned adp, replicas, ep, moe_tp; /* adp 0: refused */
    } rows[] = {
        { "{\"dp\": 8, \"tp\": 1, \"ep\": 8}", 8, 1, 8, 1 },
        { "{\"dp\": 1, \"tp\": 8, \"ep\": 8}", 1, 1, 8, 1 },
        { "{\"dp\": 2, \"tp\": 4, \"ep\": 4}", 1, 2, 4, 1 },
        { "{\"dp\": 2, \"tp\": 4, \"ep\": 4, \"moe_tp\": 2}", 2, 1, 4, 2 },
        { "{\"tp\": 8}", 1, 1, 1, 8 },
        { "{\"tp\": 8, \"ep\": 2}", 1, 1, 2, 4 },
        { "{\"tp\": 8, \"ep\": 1, \"moe_tp\": 1}", 0, 0, 0, 0 },
        { "{\"dp\": 3, \"tp\": 2, \"ep\": 4}", 0, 0, 0, 0 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        json_t *body = example_with("model", "\"deepseek-v3\"");
        int r;

        json_object_set_new(body, "search_mode", json_string("manual"));
        json_object_set_new(body, "manual_parallelism", json_loads(rows[i].parallelism, 0, NULL));
        r = read_it(body);
        if (rows[i].adp == 0) {
            assert_int_equal(r, -EINVAL);
            assert_non_null(strstr(field, "manual_parallelism"));
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(request.plan.adp, rows[i].adp);
        assert_int_equal(request.plan.replicas, rows[i].replicas);
        assert_int_equal(request.plan.ep, rows[i].ep);
        assert_int_equal(request.plan.moe_tp, rows[i].moe_tp);
        assert_dp_comes_back(rows[i].parallelism);
    }
}

static void test_model_blocks(void **state)
{
    const struct planner_model *m = &request.model.model;
    const struct planner_model *v3 = planner_find_model("deepseek-v3");

    assert_int_equal(
        read_it(example_with(
            "model",
            "{\"model_name\":\"DS\",\"model_type\":\"moe\",\"hidden_size\":7168,\"num_layers\":61,"
            "\"num_attention_heads\":128,\"intermediate_size\":18432,\"vocab_size\":129280,"
            "\"attention_type\":\"mla\",\"dtype\":\"fp8\",\"moe_config\":{\"num_experts\":256,"
            "\"num_experts_per_tok\":8,\"num_shared_experts\":1,\"expert_intermediate_size\":2048,"
            "\"first_k_dense_replace\":3,\"moe_layer_freq\":1,\"expert_capacity_factor\":1.0,"
            "\"moe_tp\":1,\"ep_tp_strategy\":\"greedy\"},\"mla_config\":{\"kv_lora_rank\":512,"
            "\"q_lora_rank\":1536,\"qk_nope_head_dim\":128,\"qk_rope_head_dim\":64,"
            "\"v_head_dim\":128,\"variant\":\"mla\"}}")),
        0);
    assert_int_equal(request.format, PLANNER_FP8);
    assert_float_equal(planner_params(m), planner_params(v3), 1);
    assert_float_equal(planner_active_params(m), planner_active_params(v3), 1);
    assert_float_equal(planner_kv_bytes_per_token(m), planner_kv_bytes_per_token(v3), 0);
    assert_int_equal(read_it(example_with("model", "{\"model_name\": \"llama-3.1-70b\"}")), 0);
    assert_int_equal(m->layers, 80);
}

/* Of links of one kind the fastest counts, and the least latency, in whichever order they come. */
static void test_connections(void **state)
{
    static const char *const lists[] = {
        "[{\"type\": \"intra\", \"bandwidth\": 300, \"latency\": 1}, {\"type\": \"intra\", "
        "\"bandwidth\": 100, \"latency\": 9}]",
        "[{\"type\": \"intra\", \"bandwidth\": 100, \"latency\": 9}, {\"type\": \"intra\", "
        "\"bandwidth\": 300, \"latency\": 1}, {\"type\": \"intra\"}, 3]",
    };

    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        json_t *body = example_with("topology.connections", lists[i]);

        json_object_del(json_object_get(body, "hardware"), "node");
        assert_int_equal(read_it(body), 0);
        assert_float_equal(request.topology.levels[0].gbps, 300, 1e-9);
        assert_float_equal(request.topology.levels[0].alpha_us, 1, 1e-9);
    }
}

/* A connection may name its level, in the tree and in counts; then "inter" is not told for it. */
static void test_connections_by_level(void **state)
{
    static const char *const places[] = {
        "\"pod_count\": 2, \"racks_per_pod\": 4, \"rack_config\": {\"boards\": [{\"count\": 2, "
        "\"chips\": [{\"count\": 8}]}]}",
        "\"pods\": [{\"racks\": [{\"boards\": [{\"chips\": [{}, {}]}, {\"chips\": [{}]}]}, "
        "{\"boards\": [{\"chips\": [{}]}]}]}, {\"racks\": []}]",
    };
    static const double gbps[] = { 450, 100, 50, 25 }, us[] = { 1, 2, 5, 9 };
    char text[512];

    for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
        json_t *body;

        snprintf(text, sizeof(text),
                 "{%s, \"connections\": ["
                 "{\"type\": \"board\", \"bandwidth\": 450, \"latency\": 1},"
                 "{\"type\": \"rack\", \"bandwidth\": 100, \"latency\": 2},"
                 "{\"type\": \"pod\", \"bandwidth\": 50, \"latency\": 5},"
                 "{\"type\": \"cluster\", \"bandwidth\": 25, \"latency\": 9}]}",
                 places[i]);
        body = example_with("topology", text);
        json_object_set_new(body, "hardware", json_pack("{s:{s:s}}", "chip", "chip_type", "H100"));
        json_object_del(body, "search_constraints");
        assert_int_equal(read_it(body), 0);
        assert_int_equal(request.topology.level_count, 4);
        for (unsigned l = 0; l < 4; l++) {
            assert_float_equal(request.topology.levels[l].gbps, gbps[l], 1e-9);
            assert_float_equal(request.topology.levels[l].alpha_us, us[l], 1e-9);
        }
    }
}

static void test_lengths_that_vary(void **state)
{
    assert_int_equal(read_it(example_with("inference.isl_cv", "0.5")), 0);
    assert_float_equal(request.question.isl_cv, 0.5, 0);
    assert_int_equal(read_it(example_with("inference.osl_cv", "1.5")), 0);
    assert_float_equal(request.question.osl_cv, 1.5, 0);
    assert_int_equal(read_it(example_with("inference.osl_cv", "-1")), -EINVAL);
    assert_string_equal(field, "inference.osl_cv");
}

/* So many nodes that nobody can count their chips. */
static void test_too_many_nodes(void **state)
{
    json_t *body = example_with("hardware.cluster.num_nodes", "65536");

    json_object_set_new(json_object_get(json_object_get(body, "hardware"), "node"),
                        "chips_per_node", json_integer(65536));
    assert_int_equal(read_it(body), -EINVAL);
    assert_string_equal(field, "hardware.cluster.num_nodes");
    assert_int_equal(read_it(example_with("inference.slo", "{\"ttft_s\": 3}")), -EINVAL);
    assert_string_equal(field, "inference.slo.ttft_s");
}

static int set_up(void **state)
{
    book = presets_create();
    return 0;
}

static int tear_down(void **state)
{
    book = presets_destroy(book);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example),
        cmocka_unit_test(test_example_is_answered),
        cmocka_unit_test(test_manual),
        cmocka_unit_test(test_manual_needs_more),
        cmocka_unit_test(test_limits_that_nobody_keeps),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_what_is_not_an_object),
        cmocka_unit_test(test_constraints_are_heard),
        cmocka_unit_test(test_chips),
        cmocka_unit_test(test_topologies),
        cmocka_unit_test(test_experts),
        cmocka_unit_test(test_model_blocks),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_connections_by_level),
        cmocka_unit_test(test_lengths_that_vary),
        cmocka_unit_test(test_too_many_nodes),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
