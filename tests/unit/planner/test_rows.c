// SPDX-License-Identifier: Apache-2.0
/* Measurements as CSV: columns in any order, cells that need quotes, rows that cannot be predicted,
 * and the arithmetic of the score. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "planner/planner.h"

static struct planner_rows parse(const char *text)
{
    struct planner_rows rows;
    struct error e = { 0 };

    if (planner_rows_parse(text, strlen(text), &rows, &e) < 0) {
        print_error("%s\n", e.text);
        fail();
    }
    for (size_t i = 0; i < rows.count; i++) {
        planner_row_predict(&rows.rows[i], NULL);
    }
    return rows;
}

#define HEAD                                                                                       \
    "id,workload,model,precision,chip,chips,tp,pp,dp,ep,moe_tp,isl,osl,concurrency,req_rate,"      \
    "framework,metric,value,split_tag\n"

static void test_a_row(void **state)
{
    struct planner_rows rows =
        parse(HEAD "a,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,1024,256,"
                   "16,,vllm 0.9,tpot_mean,15,seen\n");
    const struct planner_row *r = &rows.rows[0];

    assert_int_equal(rows.count, 1);
    assert_true(r->predicted_ok);
    assert_string_equal(r->reason, "");
    assert_true(r->predicted > 5 && r->predicted < 40);
    assert_true(r->band.p10 < r->predicted && r->band.p90 > r->predicted);
    assert_int_equal(r->plan.tp, 4);
    assert_int_equal(r->plan.replicas, 1);
    planner_rows_finish(&rows);
}

static void test_any_order_and_quotes(void **state)
{
    struct planner_rows rows =
        parse("\xef\xbb\xbf"
              "note,metric,value,more,osl,isl,chip,precision,model,workload,tp,id,chips,"
              "concurrency,framework\r\n"
              "\"says \"\"fast\"\", and\nmore\",tpot_mean,15,x,256,1024,h100 sxm,fp8,llama-3.1-70b,"
              "closed_loop,4,\"b,1\",4,16,vllm\r\n"
              "\r\n"
              ",ttft_mean,150,x,256,1024,h100 sxm,fp8,llama-3.1-70b,closed_loop,4,c,4,16,vllm");

    assert_int_equal(rows.count, 2);
    assert_string_equal(rows.rows[0].id, "b,1");
    assert_true(rows.rows[0].predicted_ok && rows.rows[1].predicted_ok);
    assert_string_equal(rows.rows[1].metric, "ttft_mean");
    planner_rows_finish(&rows);
}

static void test_what_cannot_be(void **state)
{
    static const char *const why[] = { "near: Llama-3.1-70B",   "near: H100-SXM", "precision 'FP7'",
                                       "workload 'party'",      "is no number",   "unknown metric",
                                       "does not fit: weights", "isl and osl" };
    struct planner_rows rows = parse(
        HEAD "1,closed_loop,Llama-3.1-71B,FP8,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,tpot_mean,15,\n"
             "2,closed_loop,Llama-3.1-70B,FP8,H100-SXN,4,4,1,1,,,1024,256,16,,vllm,tpot_mean,15,\n"
             "3,closed_loop,Llama-3.1-70B,FP7,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,tpot_mean,15,\n"
             "4,party,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,tpot_mean,15,\n"
             "5,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,many,256,16,,vllm,tpot_mean,15,\n"
             "6,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,joy,15,\n"
             "7,closed_loop,Llama-3.1-70B,FP16,H100-SXM,1,1,1,1,,,1024,256,1,,vllm,tpot_mean,15,\n"
             "8,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,,,16,,vllm,tpot_mean,15,\n");
    struct planner_score s;

    assert_int_equal(rows.count, 8);
    for (size_t i = 0; i < rows.count; i++) {
        assert_false(rows.rows[i].predicted_ok);
        if (!strstr(rows.rows[i].reason, why[i])) {
            print_error("row %zu says '%s', not '%s'\n", i, rows.rows[i].reason, why[i]);
            fail();
        }
    }
    planner_score(&rows, NULL, NULL, &s);
    assert_int_equal(s.count, 8);
    assert_int_equal(s.predicted, 0);
    assert_true(s.within_20 == 0 && s.in_band == 0);
    planner_rows_finish(&rows);
}

static void test_missing_column(void **state)
{
    const char text[] = "id,workload,model\n";
    struct planner_rows rows;
    struct error e;

    assert_int_equal(planner_rows_parse(text, strlen(text), &rows, &e), -EINVAL);
    assert_non_null(strstr(e.text, "precision"));
    assert_int_equal(planner_rows_parse("", 0, &rows, &e), -EINVAL);
}

/* dp is replicas, or attention data parallel where the experts span it. */
static void test_what_dp_means(void **state)
{
    struct planner_rows rows =
        parse(HEAD "1,offline_max,Llama-3.1-8B,FP8,H100-SXM,8,2,1,4,1,,128,128,,,trtllm,"
                   "output_tokens_per_s,1,\n"
                   "2,closed_loop,DeepSeek-R1,FP8,H200-SXM,8,1,1,8,8,1,1024,1024,64,,trtllm,"
                   "tpot_mean,1,\n"
                   "3,offline_max,Qwen3-235B-A22B,FP8,H100-SXM,8,8,1,8,8,1,128,128,,,trtllm,"
                   "output_tokens_per_s,1,\n"
                   "4,mlperf_offline,Mixtral-8x7B,FP8,H100-SXM,8,1,1,8,1,,,145.9,,,TensorRT-LLM,"
                   "output_tokens_per_s,1,\n");
    static const unsigned tp[] = { 2, 1, 1, 1 }, adp[] = { 1, 8, 8, 1 },
                          replicas[] = { 4, 1, 1, 8 };

    for (size_t i = 0; i < rows.count; i++) {
        const struct planner_plan *p = &rows.rows[i].plan;

        assert_int_equal(p->tp, tp[i]);
        assert_int_equal(p->adp, adp[i]);
        assert_int_equal(p->replicas, replicas[i]);
        assert_int_equal(planner_plan_chips(p), 8);
        assert_true(rows.rows[i].predicted_ok);
    }
    assert_true(rows.rows[3].generic_isl && rows.rows[3].load.isl > 0);
    planner_rows_finish(&rows);
}

/* What the rows' columns do not say, their benchmarks do: how many requests there are, and where a
 * multi-token head drafts. */
static void test_what_benchmarks_say(void **state)
{
    struct planner_rows rows = parse(
        HEAD "1,offline_max,Llama-3.1-8B,FP8,H100-SXM,1,1,1,1,1,,1000,2000,,,TensorRT-LLM 1.0,"
             "output_tokens_per_s,1,\n"
             "2,offline_max,Llama-3.1-8B,FP8,H100-SXM,1,1,1,1,1,,1000,2000,64,,TensorRT-LLM 1.0,"
             "output_tokens_per_s,1,\n"
             "3,offline_max,Llama-3.1-8B,FP8,H100-SXM,1,1,1,1,1,,1001,2000,,,TensorRT-LLM 1.0,"
             "output_tokens_per_s,1,\n"
             "4,offline_max,Llama-3.1-8B,FP8,H100-SXM,1,1,1,1,1,,1000,2000,,,vllm 0.9,"
             "output_tokens_per_s,1,\n"
             "5,closed_loop,DeepSeek-R1,NVFP4,B200-SXM,8,8,1,1,1,8,1024,1024,4,,"
             "trtllm 1.2.0rc6.post3,tpot_mean,1,\n"
             "6,closed_loop,DeepSeek-R1,NVFP4,B200-SXM,8,1,1,8,8,1,1024,1024,64,,"
             "trtllm 1.2.0rc6.post3,tpot_mean,1,\n"
             "7,closed_loop,DeepSeek-R1,NVFP4,B200-SXM,8,8,1,1,1,8,1024,1024,4,,"
             "trtllm 1.2.0rc6.post2,tpot_mean,1,\n"
             "8,closed_loop,GPT-OSS-120B,MXFP4,B200-SXM,8,8,1,1,1,8,1024,1024,4,,"
             "trtllm 1.2.0rc6.post3,tpot_mean,1,\n");
    static const double requests[] = { 1500, 0, 0, 0, 0, 0, 0, 0 };
    static const unsigned drafts[] = { 0, 0, 0, 0, 3, 1, 0, 0 };

    assert_int_equal(rows.count, ARRAY_SIZE(drafts));
    for (size_t i = 0; i < rows.count; i++) {
        assert_true(rows.rows[i].predicted_ok);
        assert_true(rows.rows[i].load.requests == requests[i]);
        assert_int_equal(rows.rows[i].load.draft_tokens, drafts[i]);
    }
    assert_true(rows.rows[0].predicted < rows.rows[2].predicted);
    assert_true(rows.rows[4].predicted < 0.8 * rows.rows[6].predicted);
    planner_rows_finish(&rows);
}

/* Formats as their makers write them, and far more columns than are read. */
static void test_foreign_words(void **state)
{
    static const char *const formats[] = { "FP8-block", "w8a8_int8", "GPTQ-Int4", "W4A16", "FP16" };
    static const char *const caches[] = { "fp8_e4m3", "fp8_e5m2", "bfloat16", "auto", "" };
    char text[8192] = "extra";

    for (int i = 0; i < 200; i++) {
        strcat(text, ",x");
    }
    strcat(text, ",workload,model,precision,kv_dtype,chip,isl,osl,concurrency,metric,value\n");
    for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
        for (int j = 0; j < 201; j++) {
            strcat(text, ",");
        }
        strcat(text, "closed_loop,llama-3.1-8b,");
        strcat(strcat(text, formats[i]), ",");
        strcat(strcat(text, caches[i]), ",H100,1024,256,4,tpot_mean,9\n");
    }
    {
        struct planner_rows rows = parse(text);

        assert_int_equal(rows.count, ARRAY_SIZE(formats));
        for (size_t i = 0; i < rows.count; i++) {
            assert_string_equal(rows.rows[i].reason, "");
            assert_true(rows.rows[i].predicted_ok);
        }
        planner_rows_finish(&rows);
    }
}

/* MLPerf's server scenario keeps the p99 of TPOT below 200 ms, whatever would run without it. */
static void test_server_limit(void **state)
{
    struct planner_rows rows = parse(
        HEAD "1,mlperf_server,Llama-2-70B,FP8,L40S,8,4,1,2,,,,293,,,TensorRT-LLM,tpot_p99,"
             "176,\n"
             "2,closed_loop,Llama-2-70B,FP8,L40S,8,8,1,1,,,300,293,900,,vllm,tpot_p99,176,\n");

    assert_true(rows.rows[0].predicted_ok && rows.rows[0].predicted <= 200);
    assert_true(rows.rows[1].predicted_ok && rows.rows[1].predicted > 200);
    planner_rows_finish(&rows);
}

/* Loads that make none of what was measured: no figure, and no band that is no number. */
static void test_nothing_to_predict(void **state)
{
    static const char *const ends[] = {
        "1024,256,0,,vllm,output_tokens_per_s,15,x\n",
        "1024,0,4,,vllm,output_tokens_per_s,15,x\n",
        "0,256,4,,vllm,prefill_tokens_per_s,15,x\n",
        "1024,256,0,,vllm,total_tokens_per_s,15,x\n",
    };

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        char text[1024];
        struct planner_rows rows;

        snprintf(text, sizeof(text), HEAD "a,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,%s",
                 ends[i]);
        rows = parse(text);
        print_message("%s: %s\n", ends[i], rows.rows[0].reason);
        assert_false(rows.rows[0].predicted_ok);
        assert_true(strlen(rows.rows[0].reason) > 10);
        planner_rows_finish(&rows);
    }
}

/* Words in no known letters, or cut in the middle of one, do not become JSON that cannot be. */
static void test_words_are_text(void **state)
{
    struct planner_rows rows = parse(
        HEAD
        "a\xff,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,"
        "tpot_mean,15,\xe9t\xe9\n"
        "b,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,"
        "tpot_mean,15,x\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9"
        "\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\u00e9\n");

    for (size_t i = 0; i < rows.count; i++) {
        const struct planner_row *r = &rows.rows[i];

        assert_true(r->predicted_ok);
        assert_true(is_valid_utf8(r->split_tag, strlen(r->split_tag)));
    }
    assert_string_equal(rows.rows[0].split_tag, "?t?");
    planner_rows_finish(&rows);
}

static bool is_good(const struct planner_row *row, const void *arg)
{
    return row->value > *(const double *)arg;
}

static void test_score(void **state)
{
    struct planner_row rows[5] = {
        { .value = 100, .predicted = 110, .predicted_ok = true, .band = { 99, 120 } },
        { .value = 100, .predicted = 70, .predicted_ok = true, .band = { 60, 80 } },
        { .value = 100, .predicted = 98, .predicted_ok = true, .band = { 90, 105 } },
        { .value = 100, .predicted = 119, .predicted_ok = true, .band = { 110, 130 } },
        { .value = 50 },
    };
    const struct planner_rows all = { rows, 5 };
    const double least = 60;
    struct planner_score s;

    planner_score(&all, NULL, NULL, &s);
    assert_int_equal(s.count, 5);
    assert_int_equal(s.predicted, 4);
    assert_true(fabs(s.median_ape - 0.145) < 1e-9); /* of .02 .10 .19 .30 */
    assert_true(fabs(s.mean_ape - 0.1525) < 1e-9);
    assert_true(fabs(s.within_20 - 0.6) < 1e-9);
    assert_true(fabs(s.in_band - 0.4) < 1e-9);
    planner_score(&all, is_good, &least, &s);
    assert_int_equal(s.count, 4);
    assert_true(fabs(s.within_20 - 0.75) < 1e-9);
}

/* Whatever the bytes are, nothing breaks, and every row has a number or a reason. */
static void test_random_bytes(void **state)
{
    static const char row[] =
        "x,closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1,1,,,1024,256,16,,vllm,tpot_mean,15,seen\n";
    uint64_t seed = test_seed("bytes");
    char text[1024];

    for (int i = 0; i < 20000; i++) {
        struct planner_rows rows;
        struct error e;
        size_t n;

        snprintf(text, sizeof(text), "%s%s%s", HEAD, row, row);
        n = strlen(text);
        for (int j = 0; j < 4; j++) {
            static const char odd[] = "\",\n\r0189-e. \xff";

            seed = seed * 6364136223846793005U + 1442695040888963407U;
            text[(seed >> 20) % n] = odd[(seed >> 50) % (sizeof(odd) - 1)];
        }
        if (planner_rows_parse(text, n, &rows, &e) < 0) {
            continue;
        }
        for (size_t r = 0; r < rows.count; r++) {
            planner_row_predict(&rows.rows[r], NULL);
            assert_true(rows.rows[r].predicted_ok || rows.rows[r].reason[0]);
            assert_true(!rows.rows[r].predicted_ok || isfinite(rows.rows[r].predicted));
        }
        planner_rows_finish(&rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row),          cmocka_unit_test(test_any_order_and_quotes),
        cmocka_unit_test(test_what_cannot_be), cmocka_unit_test(test_missing_column),
        cmocka_unit_test(test_what_dp_means),  cmocka_unit_test(test_what_benchmarks_say),
        cmocka_unit_test(test_score),          cmocka_unit_test(test_nothing_to_predict),
        cmocka_unit_test(test_words_are_text), cmocka_unit_test(test_random_bytes),
        cmocka_unit_test(test_foreign_words),  cmocka_unit_test(test_server_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
