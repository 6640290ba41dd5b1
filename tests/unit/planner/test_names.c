// SPDX-License-Identifier: Apache-2.0
/* Names as people write them, and what is said when there is no such thing. */
#include "unit.h"

#include <stdio.h>
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

/* As model cards, nvidia-smi and rocm-smi write them. */
static void test_names_in_the_wild(void **state)
{
    static const struct {
        const char *written, *name;
    } models[] = {
        { "meta-llama/Llama-3.3-70B-Instruct", "Llama-3.1-70B" },
        { "meta-llama/Meta-Llama-3.1-8B-Instruct", "Llama-3.1-8B" },
        { "neuralmagic/Llama-3.3-70B-Instruct-FP8-dynamic", "Llama-3.1-70B" },
        { "nvidia/Llama-3.1-405B-Instruct-FP8", "Llama-3.1-405B" },
        { "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "Llama-3.1-70B" },
        { "nvidia/DeepSeek-R1-0528-NVFP4", "DeepSeek-V3" },
        { "nvidia/Llama-3.1-70B-Instruct-FP8-KV", "Llama-3.1-70B" },
        { "mlx-community/Llama-3.1-8B-Instruct-4bit", "Llama-3.1-8B" },
        { "unsloth/Llama-3.1-8B-Instruct-bnb-4bit", "Llama-3.1-8B" },
        { "mlx-community/gemma-3-27b-it-8bit", "Gemma-3-27B" },
        { "Meta-Llama-3.1-8B-Instruct-Q4_K_M", "Llama-3.1-8B" },
        { "Llama-3.1-8B-Instruct-Q8_0", "Llama-3.1-8B" },
        { "deepseek-ai/DeepSeek-R1-Distill-Llama-70B", "Llama-3.1-70B" },
        { "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B", "Qwen2.5-32B" },
        { "deepseek-ai/DeepSeek-V2-Lite-Chat", "DeepSeek-V2-Lite" },
        { "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8", "Qwen3-235B-A22B" },
        { "Qwen/Qwen3-Coder-30B-A3B-Instruct", "Qwen3-30B-A3B" },
        { "Qwen/Qwen2.5-Coder-32B-Instruct-GPTQ-Int4", "Qwen2.5-32B" },
        { "Qwen/QwQ-32B", "Qwen2.5-32B" },
        { "openai/gpt-oss-120b", "GPT-OSS-120B" },
        { "mistralai/Mixtral-8x7B-Instruct-v0.1", "Mixtral-8x7B" },
        { "mistralai/Mistral-7B-Instruct-v0.3", "Mistral-7B" },
        { "mistralai/Mistral-Small-24B-Instruct-2501", "Mistral-Small-24B" },
        { "mistralai/Mistral-Large-Instruct-2407", "Mistral-Large-123B" },
        { "google/gemma-3-27b-it", "Gemma-3-27B" },
        { "google/gemma-2-9b-it", "Gemma-2-9B" },
        { "google/gemma-2b-it", "Gemma-2B" },
        { "microsoft/Phi-3-mini-4k-instruct", "Phi-3-mini-3.8B" },
        { "microsoft/phi-4", "Phi-4-14B" },
        { "zai-org/GLM-4.6", "GLM-4.5" },
        { "moonshotai/Kimi-K2-Instruct-0905", "Kimi-K2" },
        { "CohereForAI/c4ai-command-r-plus", "Command-R-Plus-104B" },
        { "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "Llama-4-Maverick" },
        { "01-ai/Yi-1.5-34B-Chat", "Yi-34B" },
        { "bigscience/bloom", "BLOOM-176B" },
        { "facebook/opt-66b", "OPT-66B" },
    };
    static const struct {
        const char *written, *name;
    } chips[] = {
        { "NVIDIA H100 80GB HBM3", "H100-SXM" },
        { "H100-SXM5-80GB", "H100-SXM" },
        { "H100 SXM5 80GB", "H100-SXM" },
        { "NVIDIA H100 PCIe", "H100-PCIe" },
        { "H100 PCIe 80GB", "H100-PCIe" },
        { "NVIDIA H100 NVL", "H100-NVL" },
        { "NVIDIA H200", "H200-SXM" },
        { "H200 141GB HBM3e", "H200-SXM" },
        { "A100-SXM4-80GB", "A100-SXM-80GB" },
        { "NVIDIA A100-SXM4-40GB", "A100-SXM-40GB" },
        { "A100 40GB", "A100-SXM-40GB" },
        { "NVIDIA A100 80GB PCIe", "A100-PCIE-80GB" },
        { "NVIDIA A100-PCIE-40GB", "A100-PCIE-40GB" },
        { "NVIDIA A10G", "A10G" },
        { "NVIDIA L40S", "L40S" },
        { "L40S 48GB", "L40S" },
        { "NVIDIA L4", "L4" },
        { "L4 24GB", "L4" },
        { "Tesla V100-SXM2-32GB", "V100-SXM-32GB" },
        { "Tesla V100-SXM2-16GB", "V100-SXM-16GB" },
        { "Tesla T4", "T4" },
        { "NVIDIA GeForce RTX 4090", "RTX-4090" },
        { "RTX 4090 24GB", "RTX-4090" },
        { "NVIDIA GeForce RTX 3090 Ti", "RTX-3090-Ti" },
        { "NVIDIA GeForce RTX 4070 Ti SUPER", "RTX-4070-Ti-Super" },
        { "NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada" },
        { "NVIDIA RTX A6000", "RTX-A6000" },
        { "NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000-Server" },
        { "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX-PRO-6000-Workstation" },
        { "NVIDIA B200", "B200-SXM" },
        { "NVIDIA GB200", "GB200" },
        { "NVIDIA GB10", "GB10" },
        { "NVIDIA GH200 480GB", "GH200-96GB" },
        { "NVIDIA GH200 144G HBM3e", "GH200-144GB" },
        { "NVIDIA H20", "H20-96GB" },
        { "AMD Instinct MI300X", "MI300X" },
        { "AMD Instinct MI300X OAM", "MI300X" },
        { "MI300X 192GB", "MI300X" },
        { "AMD Instinct MI325X", "MI325X" },
        { "Apple M2 Max", "Apple-M2-Max-38c" },
        { "Apple M4 Pro", "Apple-M4-Pro-20c" },
        { "Intel Gaudi 2", "Gaudi2" },
        { "Google TPU v5e", "TPU-v5e" },
        { "Huawei Ascend 910B", "Ascend-910B" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
        print_message("%s\n", models[i].written);
        assert_model(models[i].written, models[i].name);
    }
    for (size_t i = 0; i < ARRAY_SIZE(chips); i++) {
        print_message("%s\n", chips[i].written);
        assert_chip(chips[i].written, chips[i].name);
    }
    assert_null(planner_find_chip("RTX 4090 80GB")); /* there is none */
    assert_null(planner_find_chip("80GB"));
    assert_null(planner_find_chip("NVIDIA"));
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

/* A sentence that refuses a word names such as are taken. */
static void assert_taken(const char *sentence, int (*from)(const char *))
{
    char words[256], *rest = NULL;

    snprintf(words, sizeof(words), "%s", sentence);
    for (char *word = strtok_r(words, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest)) {
        if (strcmp(word, "and") != 0 && strcmp(word, "are") != 0 && strcmp(word, "known") != 0) {
            assert_true(from(word) >= 0);
        }
    }
}

static void test_words_that_are_told(void **state)
{
    assert_taken(PLANNER_FORMAT_WORDS, planner_format_from_string);
    assert_taken(PLANNER_KV_WORDS, planner_kv_format_from_string);
    assert_taken(PLANNER_ENGINE_WORDS, planner_engine_from_string);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings), cmocka_unit_test(test_names_in_the_wild),
        cmocka_unit_test(test_nearest),   cmocka_unit_test(test_no_name_twice),
        cmocka_unit_test(test_words),     cmocka_unit_test(test_words_that_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
