// SPDX-License-Identifier: Apache-2.0
/* Names as people write them, and what is said when there is no such thing. */
#include "unit.h"

#include <string.h>

#include "planner/planner.h"

static void assert_model(const char *written, const char *name)
{
    const struct planner_model *m = planner_find_model(written);

    assert_non_null(m);
    assert_string_equal(m->name, name);
}

static void assert_chip(const char *written, const char *name)
{
    const struct planner_chip *c = planner_find_chip(written);

    assert_non_null(c);
    assert_string_equal(c->name, name);
}

static void test_spellings(void **state)
{
    assert_model("llama-3.1-70b", "Llama-3.1-70B");
    assert_model("meta-llama/Llama-3.1-70B-Instruct", "Llama-3.1-70B");
    assert_model("Llama-3.3-70B", "Llama-3.1-70B");
    assert_model("deepseek-ai/DeepSeek-R1", "DeepSeek-V3");
    assert_model("GPT-J 6B", "GPT-J-6B");
    assert_model("Kimi-K2.5", "Kimi-K2");
    assert_chip("h100-sxm", "H100-SXM");
    assert_chip("H100 SXM", "H100-SXM");
    assert_chip("RTX 4090", "RTX-4090");
    assert_chip("Apple M3 Max 40c 64GB", "Apple-M3-Max-40c");
    assert_chip("RTX 3070 8GB", "RTX-3070");
    assert_null(planner_find_model("llama-3.1-71b"));
    assert_null(planner_find_chip(""));
}

static void test_nearest(void **state)
{
    const char *names[3];

    assert_int_equal(planner_near_models("llama-3.1-71b", names, 3), 3);
    assert_string_equal(names[0], "Llama-3.1-70B");
    assert_int_equal(planner_near_chips("h100-sxn", names, 1), 1);
    assert_string_equal(names[0], "H100-SXM");
}

/* No two presets answer to one name. */
static void test_no_name_twice(void **state)
{
    for (const struct planner_model *m = planner_models; m->name; m++) {
        assert_ptr_equal(planner_find_model(m->name), m);
    }
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        assert_ptr_equal(planner_find_chip(c->name), c);
    }
}

static void test_words(void **state)
{
    assert_int_equal(planner_engine_from_string("TensorRT-LLM 1.0 (PyTorch)"),
                     PLANNER_ENGINE_TRTLLM);
    assert_int_equal(planner_engine_from_string("vllm 0.12.0"), PLANNER_ENGINE_VLLM);
    assert_int_equal(planner_engine_from_string("llama.cpp May-2024"), PLANNER_ENGINE_LLAMACPP);
    assert_int_equal(planner_engine_from_string("DeepSeek internal"), -1);
    assert_int_equal(planner_format_from_string("Q4_K_M"), PLANNER_Q4_K_M);
    assert_int_equal(planner_format_from_string("FP16"), PLANNER_BF16);
    assert_int_equal(planner_format_from_string("fp7"), -1);
    assert_int_equal(planner_kv_format_from_string(""), PLANNER_KV_AUTO);
    assert_int_equal(planner_kv_format_from_string("FP8"), PLANNER_KV_8);
    assert_int_equal(planner_objective_from_string("latency"), PLANNER_LATENCY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_no_name_twice),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
