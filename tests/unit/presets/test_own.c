// SPDX-License-Identifier: Apache-2.0
/* Questions in our own members, as `berth plan` asks them; plans in words; and a question printed
 * is the question asked. */
#include "unit.h"

#include <string.h>

#include "base/macros.h"
#include "presets/presets.h"

static struct plan_request request;
static char field[PRESET_NAME_MAX];
static struct error error;

static int read_text(const char *text)
{
    json_t *body = json_loads(text, 0, NULL);
    int r;

    assert_non_null(body);
    memset(&error, 0, sizeof(error));
    r = plan_request_from_json(NULL, body, &request, field, &error);
    json_decref(body);
    return r;
}

static void test_defaults(void **state)
{
    const struct planner_question *q = &request.question;

    assert_int_equal(read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"a100\"}"), 0);
    assert_int_equal(request.format, PLANNER_BF16); /* this chip has no FP8 */
    assert_int_equal(request.chips, 8);
    assert_int_equal(q->max_chips, 8);
    assert_float_equal(q->isl, 1024, 0);
    assert_float_equal(q->osl, 256, 0);
    assert_float_equal(q->concurrency, 0, 0);
    assert_int_equal(q->objective, PLANNER_COST);
    assert_int_equal(request.top_k, 10);
    assert_int_equal(read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"h100\"}"), 0);
    assert_int_equal(request.format, PLANNER_FP8);
    assert_int_equal(
        read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"h100\", \"engine\": \"llama.cpp\"}"),
        0);
    assert_int_equal(request.format, PLANNER_Q4_K_M);
    /* weights are for the objective that weighs */
    assert_int_equal(read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"h100\", "
                               "\"score_weights\": {\"latency\": 1}}"),
                     0);
    assert_int_equal(q->objective, PLANNER_BALANCED);
    assert_int_equal(read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"h100\", \"objective\": "
                               "\"latency\", \"score_weights\": {\"latency\": 1}}"),
                     0);
    assert_int_equal(q->objective, PLANNER_LATENCY);
    assert_float_equal(q->concurrency, 1, 0); /* the least latency is that of a request alone */
    assert_int_equal(read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"h100\", \"objective\": "
                               "\"latency\", \"slo_tpot_ms\": 50}"),
                     0);
    assert_float_equal(q->concurrency, 0, 0);
    assert_int_equal(read_text("{\"model\": \"llama-3.1-8b\", \"chip\": \"h100\", \"objective\": "
                               "\"latency\", \"rate_per_s\": 2}"),
                     0);
    assert_float_equal(q->concurrency, 0, 0);
}

static void test_plan_words(void **state)
{
    static const struct {
        const char *model, *words;
        struct planner_plan plan; /* tp 0: refused */
    } rows[] = {
        { "llama-3.1-8b", "tp8", { 8, 1, 1, 1, 1, 1, false } },
        { "llama-3.1-8b", "  TP2  pp4 dp3 sp ", { 2, 4, 1, 1, 1, 3, true } },
        { "llama-3.1-8b", "x5", { 1, 1, 1, 1, 1, 5, false } },
        { "llama-3.1-8b", "tp4 sp4", { 4, 1, 1, 1, 1, 1, true } },
        { "llama-3.1-8b", "tp4 sp2", { 0 } },
        { "llama-3.1-8b", "tp4 tp8", { 0 } },
        { "llama-3.1-8b", "tp", { 0 } },
        { "llama-3.1-8b", "tp0", { 0 } },
        { "llama-3.1-8b", "tp-2", { 0 } },
        { "llama-3.1-8b", "tp99999999999999999999", { 0 } },
        { "llama-3.1-8b", "tp65536 pp65536", { 0 } },
        { "llama-3.1-8b", "nonsense", { 0 } },
        { "llama-3.1-8b", "", { 0 } },
        { "llama-3.1-8b", "  ", { 0 } },
        { "deepseek-v3", "tp1 dp8 ep8 pp2", { 1, 2, 8, 8, 1, 1, false } },
        { "deepseek-v3", "tp2 adp4 ep8 x2", { 2, 1, 4, 8, 1, 2, false } },
        { "deepseek-v3", "tp8 etp8", { 8, 1, 1, 1, 8, 1, false } },
        { "deepseek-v3", "tp2 adp4 dp9 ep8", { 0 } },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[200];
        int r;

        snprintf(text, sizeof(text), "{\"model\": \"%s\", \"chip\": \"h200\", \"plan\": \"%s\"}",
                 rows[i].model, rows[i].words);
        r = read_text(text);
        if ((r == 0) != (rows[i].plan.tp > 0)) {
            print_error("%s: %s\n", rows[i].words, error.text);
        }
        if (rows[i].plan.tp == 0) {
            assert_int_equal(r, -EINVAL);
            assert_int_equal(strncmp(field, "plan", 4), 0);
            continue;
        }
        assert_int_equal(r, 0);
        assert_true(request.manual);
        assert_int_equal(request.plan.tp, rows[i].plan.tp);
        assert_int_equal(request.plan.pp, rows[i].plan.pp);
        assert_int_equal(request.plan.adp, rows[i].plan.adp);
        assert_int_equal(request.plan.ep, rows[i].plan.ep);
        assert_int_equal(request.plan.moe_tp, rows[i].plan.moe_tp);
        assert_int_equal(request.plan.replicas, rows[i].plan.replicas);
        assert_int_equal(request.plan.sp, rows[i].plan.sp);
    }
}

/* What is printed asks the same, to the last digit. */
static void test_round_trip(void **state)
{
    static const char *const texts[] = {
        "{\"model\": \"qwen3-8b\", \"chip\": \"h100\"}",
        "{\"model\": {\"preset\": \"deepseek-v3\", \"layers\": 30}, \"chip\": {\"preset\": "
        "\"h200\", \"name\": \"ours\", \"memory_gb\": 100, \"decode_times\": 1.1}, \"chips\": 32, "
        "\"topology\": {\"levels\": [{\"groups\": 8, \"gbps\": 400}, {\"groups\": 4}]}, \"isl\": "
        "3000, \"osl\": 500, \"isl_cv\": 0.5, \"osl_cv\": 1, \"slo_ttft_ms\": 900, "
        "\"slo_tpot_ms\": 40, \"slo_e2e_ms\": 9000, \"rate_per_s\": 3.5, \"engine\": \"sglang\", "
        "\"precision\": \"fp8\", \"kv\": \"8\", \"prefix_hit\": 0.3, \"chunk_tokens\": 2048, "
        "\"draft_tokens\": 2, \"acceptance\": 0.8, \"draft_share\": 0.1, \"tp\": 4, \"pp\": 2, "
        "\"ep\": 4, \"moe_tp\": 1, \"replicas\": 2, \"sp\": true, \"disaggregated\": true, "
        "\"across_nodes\": true, \"any_heads\": true, \"even_layers\": true, \"min_tokens_per_s\": "
        "100, \"max_memory_share\": 0.8, \"objective\": \"balanced\", \"score_weights\": "
        "{\"latency\": 2, \"throughput\": 1}, \"price_hour\": 3, \"top_k\": 4}",
        "{\"model\": \"mixtral-8x7b\", \"chip\": \"b200\", \"plan\": \"tp2 dp4 ep8 sp\"}",
    };

    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        json_t *first, *second;

        assert_int_equal(read_text(texts[i]), 0);
        first = plan_request_to_json(&request);
        if (plan_request_from_json(NULL, first, &request, field, &error) < 0) {
            print_error("%s\n", error.text);
            fail();
        }
        second = plan_request_to_json(&request);
        if (!json_equal(first, second)) {
            print_error("%s\n%s\n", json_dumps(first, 0), json_dumps(second, 0));
            fail();
        }
        json_decref(first);
        json_decref(second);
    }
}

/* A request that was read stands by itself: the texts inside are its own. */
static void test_stands_alone(void **state)
{
    struct presets *book = presets_create();
    json_t *document = json_pack("{s:{s:{s:s}}}", "chips", "mine", "preset", "h100");
    json_t *body = json_pack("{s:s, s:s}", "model", "qwen3-8b", "chip", "mine");

    assert_int_equal(presets_add(book, document, &error), 0);
    assert_int_equal(plan_request_from_json(book, body, &request, field, &error), 0);
    json_decref(document);
    json_decref(body);
    presets_destroy(book);
    assert_string_equal(request.chip.chip.name, "mine");
    assert_ptr_equal(request.chip.chip.name, request.chip.name);
    assert_ptr_equal(request.model.model.name, request.model.name);
}

static void test_faults(void **state)
{
    static const struct {
        const char *members, *field;
        int result;
    } rows[] = {
        { "\"isl\": 0", "isl", -EINVAL },
        { "\"isl\": \"x\"", "isl", -EPROTO },
        { "\"chips\": 0", "chips", -EINVAL },
        { "\"chips\": 1.5", "chips", -EINVAL },
        { "\"engine\": \"tgi\"", "engine", -EINVAL },
        { "\"precision\": \"fp7\"", "precision", -EINVAL },
        { "\"kv\": 8", "kv", -EPROTO },
        { "\"prefix_hit\": 1.1", "prefix_hit", -EINVAL },
        { "\"acceptance\": -0.1", "acceptance", -EINVAL },
        { "\"rate_per_s\": 3, \"concurrency\": 4", "rate_per_s", -EINVAL },
        { "\"topology\": \"none such\"", "topology", -EINVAL },
        { "\"topology\": {\"levels\": [{\"groups\": 4}]}, \"chips\": 8", "chips", -EINVAL },
        { "\"concurency\": 3", "concurency", -EINVAL },
        { "\"score_weights\": {\"latency\": 0}", "score_weights", -EINVAL },
        { "\"slo_ttft_ms\": true", "slo_ttft_ms", -EPROTO },
        { "\"sp\": 1", "sp", -EPROTO },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char text[200];

        snprintf(text, sizeof(text), "{\"model\": \"qwen3-8b\", \"chip\": \"h100\", %s}",
                 rows[i].members);
        assert_int_equal(read_text(text), rows[i].result);
        assert_string_equal(field, rows[i].field);
    }
    assert_int_equal(read_text("{\"chip\": \"h100\"}"), -EPROTO);
    assert_string_equal(field, "model");
    assert_int_equal(read_text("{\"model\": \"lama-3.1-8b\", \"chip\": \"h100\"}"), -EINVAL);
    assert_non_null(strstr(error.text, "Llama-3.1-8B"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),   cmocka_unit_test(test_plan_words),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_stands_alone),
        cmocka_unit_test(test_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
