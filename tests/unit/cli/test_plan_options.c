// SPDX-License-Identifier: Apache-2.0
/* berth plan with all that one may say: presets and topologies of one's own, one plan, lists, a
 * timeline, calibration by a file and by a daemon; and what is wrong told by the option's name. */
#include "canned.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/str.h"

enum { COLUMNS = 100 };

static json_t *said(void)
{
    json_t *o = json_loads(out, 0, NULL);

    if (!o) {
        print_error("no JSON: %s\n%s\n", out, err);
    }
    assert_non_null(o);
    return o;
}

static double number_at(const json_t *o, const char *a, const char *b)
{
    const json_t *v = b ? json_object_get(json_object_get(o, a), b) : json_object_get(o, a);

    assert_true(json_is_number(v));
    return json_number_value(v);
}

static void test_readable(void **state)
{
    assert_int_equal(BERTH("plan", "--model", "llama-3.1-70b", "--chip", "h100-sxm", "--slo-tpot",
                           "50ms", "--timeline"),
                     0);
    assert_has(out, "One prefill and 4 decode steps");
    assert_has(out, "stage 0 ");
    assert_has(out, "MFU");
    for (const char *line = out; *line;) {
        const char *end = strchr(line, '\n');

        assert_non_null(end);
        if (end - line > COLUMNS) {
            print_error("%d columns: %.*s\n", (int)(end - line), (int)(end - line), line);
            fail();
        }
        line = end + 1;
    }
}

/* What is asked is printed as it was understood, and asks the same again. */
static void test_question(void **state)
{
    json_t *o, *q;

    assert_int_equal(BERTH("plan", "--model", "deepseek-v3", "--chip", "h200", "--chips", "16",
                           "--isl", "2000", "--osl", "500", "--isl-cv", "0.5", "--slo-e2e", "60s",
                           "--slo-ttft", "3s", "--rate", "1.5", "--prefix-hit", "25", "--chunk",
                           "4096", "--draft", "1", "--acceptance", "80", "--sp", "--moe-tp", "1",
                           "--max-memory", "85", "--objective", "balanced", "--weights",
                           "latency=1,throughput=3", "--top", "3", "--json"),
                     0);
    o = said();
    q = json_object_get(o, "question");
    assert_float_equal(number_at(q, "chips", NULL), 16, 0);
    assert_float_equal(number_at(q, "isl", NULL), 2000, 0);
    assert_float_equal(number_at(q, "isl_cv", NULL), 0.5, 0);
    assert_float_equal(number_at(q, "slo_e2e_ms", NULL), 60000, 0);
    assert_float_equal(number_at(q, "rate_per_s", NULL), 1.5, 0);
    assert_float_equal(number_at(q, "prefix_hit", NULL), 0.25, 0);
    assert_float_equal(number_at(q, "chunk_tokens", NULL), 4096, 0);
    assert_float_equal(number_at(q, "acceptance", NULL), 0.8, 0);
    assert_float_equal(number_at(q, "max_memory_share", NULL), 0.85, 0);
    assert_float_equal(number_at(q, "score_weights", "throughput"), 3, 0);
    assert_true(json_is_true(json_object_get(q, "sp")));
    assert_string_equal(json_string_value(json_object_get(q, "objective")), "balanced");
    assert_true(json_array_size(json_object_get(o, "plans")) <= 3);
    assert_true(number_at(o, "stats", "total_plans") > 0);
    json_decref(o);
}

static void test_one_plan(void **state)
{
    json_t *o, *plan;

    assert_int_equal(BERTH("plan", "--model", "llama-3.1-70b", "--chip", "h100", "--plan",
                           "tp4 pp2 sp", "--concurrency", "16", "--json"),
                     0);
    o = said();
    assert_int_equal(json_array_size(json_object_get(o, "plans")), 1);
    plan = json_array_get(json_object_get(o, "plans"), 0);
    assert_float_equal(number_at(plan, "plan", "tp"), 4, 0);
    assert_float_equal(number_at(plan, "plan", "pp"), 2, 0);
    assert_true(json_is_true(json_object_get(json_object_get(plan, "plan"), "sp")));
    assert_float_equal(number_at(plan, "concurrency", NULL), 16, 0);
    json_decref(o);
    /* one that cannot be says why, with both numbers */
    assert_int_equal(BERTH("plan", "--model", "llama-3.1-70b", "--chip", "h100", "--plan", "tp16"),
                     1);
    assert_has(out, "No plan fits.");
    assert_has(out, "needs 16 chips, 8 are available");
    assert_int_equal(BERTH("plan", "--model", "llama-3.1-405b", "--chip", "h100", "--plan", "tp1"),
                     1);
    assert_has(out, "does not fit");
}

static const char mine[] = "chips:\n"
                           "  my-card: {bf16_tflops: 500, memory_gb: 64, bandwidth_gbps: 2000, "
                           "scaleup_gbps: 100, scaleup_chips: 4}\n"
                           "models:\n"
                           "  my-model: {layers: 32, hidden: 4096, inter: 11008, heads: 32, "
                           "vocab: 32000, precision: int8}\n"
                           "topologies:\n"
                           "  pair: {levels: [{groups: 2, gbps: 100}]}\n";

static void test_own_presets(void **state)
{
    put_file("mine.yaml", mine);
    assert_int_equal(BERTH("plan", "--presets", in_folder("mine.yaml"), "--model", "my-model",
                           "--chip", "My Card", "--topology", "pair"),
                     0);
    assert_has(out, "my-model (int8,"); /* as its entry says */
    assert_has(out, "on my-card");
    assert_has(out, "tp2");
    assert_lacks(out, "tp4");
    assert_int_equal(BERTH("plan", "chips", "--presets", in_folder("mine.yaml")), 0);
    assert_has(out, "my-card (own)");
    assert_has(out, "H100-SXM");
    assert_int_equal(BERTH("plan", "models", "--presets", in_folder("mine.yaml"), "--json"), 0);
    assert_has(out, "my-model");
    put_file("topology.yaml", "levels:\n- {groups: 4, gbps: 450}\n- {groups: 2, gbps: 50}\n");
    assert_int_equal(BERTH("plan", "--model", "qwen3-8b", "--chip", "h100", "--topology",
                           in_folder("topology.yaml"), "--json"),
                     0);
    assert_has(out, "\"groups\":4");
    assert_int_equal(
        BERTH("plan", "--presets", in_folder("none.yaml"), "--model", "qwen3-8b", "--chip", "h100"),
        2);
    assert_has(err, "--presets: ");
    assert_has(err, "none.yaml");
}

static void test_config_file(void **state)
{
    put_file("config.json",
             "{\"architectures\":[\"LlamaForCausalLM\"],\"model_type\":\"llama\",\"hidden_size\":"
             "2048,\"intermediate_size\":8192,\"num_attention_heads\":32,\"num_hidden_layers\":16,"
             "\"num_key_value_heads\":8,\"head_dim\":64,\"vocab_size\":128256,"
             "\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\"}");
    assert_int_equal(BERTH("plan", "--model", in_folder("config.json"), "--chip", "h100", "--json"),
                     0);
    assert_has(out, "\"precision\":\"bf16\"");
    assert_has(out, "\"layers\":16");
    assert_int_equal(BERTH("plan", "--model", "./nowhere/x.gguf", "--chip", "h100"), 2);
    assert_has(err, "--model: ./nowhere/x.gguf: No such file");
}

static void test_wrong(void **state)
{
    static const struct {
        const char *option, *value;
    } rows[] = {
        { "--isl", "0" },
        { "--isl", "x" },
        { "--chips", "0" },
        { "--isl-cv", "-1" },
        { "--slo-e2e", "5" },
        { "--rate", "many" },
        { "--acceptance", "170" },
        { "--draft", "1000" },
        { "--draft-share", "nan" },
        { "--plan", "tp8 qq2" },
        { "--plan", "tp4 sp3" },
        { "--objective", "beauty" },
        { "--weights", "latency" },
        { "--weights", "latncy=1" },
        { "--max-memory", "101" },
        { "--engine", "tgi" },
        { "--precision", "fp7" },
        { "--kv", "3" },
        { "--topology", "nowhere" },
        { "--topology", "/tmp" },
        { "--plan", "" },
        { "--price", "-1" },
        { "--min-throughput", "1e99" },
        { "--top", "0" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (BERTH("plan", "--model", "qwen3-8b", "--chip", "h100", rows[i].option, rows[i].value) !=
                2 ||
            !strstr(err, rows[i].option) || *out) {
            print_error("%s %s: %s\n", rows[i].option, rows[i].value, err);
            fail();
        }
    }
    assert_int_equal(BERTH("plan", "--chip", "h100"), 2);
    assert_int_equal(BERTH("plan", "check"), 2);
    assert_has(err, "plan check FILE.csv");
    assert_int_equal(BERTH("plan", "--model", "qwen3-8b", "--chip", "h100", "--weights", "speed=1"),
                     2);
    assert_has(err, "'speed'");
    assert_int_equal(BERTH("plan", "calibrate"), 2);
    assert_int_equal(BERTH("plan", "calibrate", "nowhere.csv", "--chip", "h100"), 1);
    assert_has(err, "nowhere.csv: No such file");
    assert_int_equal(BERTH("plan", "chips", "x"), 2);
}

/* A question that no plan answers is told why. */
static void test_nothing_to_try(void **state)
{
    assert_int_equal(BERTH("plan", "--model", "qwen3-8b", "--chip", "h100", "--ep", "8"), 1);
    assert_has(out, "no plan has this shape");
    assert_lacks(out, "Refused");
    assert_int_equal(BERTH("plan", "--model", "llama-3.1-405b", "--chip", "l4", "--chips", "1"), 1);
    assert_has(out, "No plan fits.");
    assert_has(out, "Refused");
}

/* Which stages prefill and which decode; the same as numbers. */
static void test_timeline(void **state)
{
    json_t *o, *bars;

    assert_int_equal(BERTH("plan", "--model", "qwen3-8b", "--chip", "h100", "--plan", "tp1 pp2",
                           "--timeline", "--json"),
                     0);
    o = said();
    bars = json_object_get(o, "timeline");
    assert_true(json_array_size(bars) > 4);
    assert_true(number_at(json_array_get(bars, 0), "length_ms", NULL) > 0);
    json_decref(o);
    assert_int_equal(BERTH("plan", "--model", "llama-3.1-70b", "--chip", "h100", "--disaggregated",
                           "--slo-ttft", "500ms", "--slo-tpot", "20ms", "--timeline"),
                     0);
    assert_has(out, "1*  P tp");
    assert_has(out, "P stage 0 ");
    assert_has(out, "D stage 0 ");
}

/* ---- calibration ---- */

static void test_calibrate_by_file(void **state)
{
    json_t *o;
    double before, after;

    assert_int_equal(BERTH("plan", "--model", "qwen3-8b", "--chip", "h100", "--plan", "tp1",
                           "--concurrency", "1", "--precision", "bf16", "--json"),
                     0);
    o = said();
    before = number_at(json_array_get(json_object_get(o, "plans"), 0), "tpot_ms", NULL);
    json_decref(o);
    {
        char csv[600];

        snprintf(csv, sizeof(csv),
                 "id,workload,model,precision,chip,chips,tp,isl,osl,concurrency,framework,metric,"
                 "value\n"
                 "1,closed_loop,Qwen3-8B,BF16,Nobodys-Card,1,1,1024,256,1,vllm,tpot_mean,%f\n"
                 "2,closed_loop,Qwen3-8B,BF16,H100-SXM,1,1,1024,256,1,vllm,tpot_mean,%f\n"
                 "3,closed_loop,Qwen3-8B,BF16,A100-SXM-80GB,1,1,1024,256,1,vllm,tpot_mean,900\n"
                 "4,closed_loop,Qwen3-8B,BF16,H100-SXM,1,1,1024,256,1,vllm,tpot_p99,900\n",
                 before * 1.5, before * 1.5);
        put_file("rows.csv", csv);
    }
    assert_int_equal(BERTH("plan", "calibrate", in_folder("rows.csv"), "--chip", "h100", "--name",
                           "ours", "--out", in_folder("ours.yaml")),
                     0);
    assert_int_equal(BERTH("plan", "--presets", in_folder("ours.yaml"), "--model", "qwen3-8b",
                           "--chip", "ours", "--plan", "tp1", "--concurrency", "1", "--precision",
                           "bf16", "--json"),
                     0);
    o = said();
    after = number_at(json_array_get(json_object_get(o, "plans"), 0), "tpot_ms", NULL);
    assert_float_equal(after / before, 1.5, 0.01);
    json_decref(o);
    put_file("rows.csv", "id,workload,model,chip,metric,value\n");
    assert_int_not_equal(BERTH("plan", "calibrate", in_folder("rows.csv"), "--chip", "h100"), 0);
    assert_string_equal(out, "");
    put_file("rows.csv", "id,workload,model,precision,chip,chips,tp,isl,osl,concurrency,framework,"
                         "metric,value\n");
    assert_int_equal(BERTH("plan", "calibrate", in_folder("rows.csv"), "--chip", "h100"), 1);
    assert_has(err, "rows.csv: no row");
    assert_has(err, "H100-SXM");
    assert_int_equal(
        BERTH("plan", "calibrate", in_folder("rows.csv"), "--chip", "h100", "--name", "a,b"), 2);
    assert_has(err, "--name: ");
}

static void test_calibrate_by_daemon(void **state)
{
    answer(
        "GET /api/instances", 200,
        "{\"instances\":[{\"model\":\"mine\",\"predicted\":{\"prompt_tokens\":1000,\"prefill_ms\":"
        "400.0,\"output_tokens\":200.0,\"ms_per_output_token\":40.0,\"learnt_from\":30}},"
        "{\"model\":\"mine\",\"predicted\":{\"prompt_tokens\":1000,\"prefill_ms\":1.0,"
        "\"output_tokens\":200.0,\"ms_per_output_token\":1.0,\"learnt_from\":0}},"
        "{\"model\":\"mine\",\"predicted\":null},"
        "{\"model\":\"other\",\"predicted\":{\"prompt_tokens\":1000,\"prefill_ms\":9.0,"
        "\"output_tokens\":200.0,\"ms_per_output_token\":9.0,\"learnt_from\":30}}]}");
    assert_int_equal(BERTH("plan", "calibrate", "mine", "--model", "qwen3-8b", "--chip", "a100"),
                     0);
    assert_has(out, "# from 1 measured");
    assert_has(out, "\"A100-SXM-80GB\":");
    assert_has(out, "decode_times: ");
    assert_has(out, "prefill_times: ");
    assert_int_equal(BERTH("plan", "calibrate", "nobody", "--model", "qwen3-8b", "--chip", "a100"),
                     1);
    assert_has(err, "no instance of nobody");
    assert_int_equal(BERTH("plan", "calibrate", "mine", "--chip", "a100"), 2);
}

static int leave(void **state)
{
    static const char *const files[] = { "mine.yaml", "topology.yaml", "config.json", "rows.csv",
                                         "ours.yaml" };

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        unlink(in_folder(files[i]));
    }
    return close_daemon(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_readable, forget_answers),
        cmocka_unit_test_teardown(test_question, forget_answers),
        cmocka_unit_test_teardown(test_one_plan, forget_answers),
        cmocka_unit_test_teardown(test_own_presets, forget_answers),
        cmocka_unit_test_teardown(test_config_file, forget_answers),
        cmocka_unit_test_teardown(test_wrong, forget_answers),
        cmocka_unit_test_teardown(test_nothing_to_try, forget_answers),
        cmocka_unit_test_teardown(test_timeline, forget_answers),
        cmocka_unit_test_teardown(test_calibrate_by_file, forget_answers),
        cmocka_unit_test_teardown(test_calibrate_by_daemon, forget_answers),
    };

    return cmocka_run_group_tests(tests, open_daemon, leave);
}
