// SPDX-License-Identifier: Apache-2.0
/* What drivers say that an instance needs, from made-up facts, on the host and on devices; and the
 * words by which engines say that memory was short. */
#include "driver_rig.h"

#include <string.h>

#include "base/sim.h"
#include "engines/llamacpp_need.h"
#include "engines/need.h"
#include "gpu/gpu.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

enum { F16 = 1, Q4_0 = 2, Q8_0 = 8 };

static struct model_facts facts;

/* Llama-3-8B's shape with round weights: 32 layers of 200 MiB, embedding and output of 1 GiB. */
static void fill_facts(void)
{
    facts = (struct model_facts){ .format = MODEL_GGUF,
                                  .hidden = 4096,
                                  .heads = 32,
                                  .head_values = 128,
                                  .feed_forward = 14336,
                                  .vocab = 128256,
                                  .layer_count = 32,
                                  .embedding_bytes = GIB,
                                  .output_bytes = GIB,
                                  .weight_bytes = 2 * GIB + 32 * 200 * MIB };
    facts.matrix_bytes[F16] = GIB + 32 * 200 * MIB;
    for (unsigned i = 0; i < 32; i++) {
        facts.layers[i] = (struct model_layer){
            .k_values = 1024, .v_values = 1024, .weight_bytes = 200 * MIB, .expert_bytes = 150 * MIB
        };
    }
}

struct room {
    struct world *world;
    struct config *config;
    struct metrics *metrics;
    struct gpu *gpu;
};

static struct room room;

static void open_room(const char *script)
{
    static const struct option_table *const tables[] = { &gpu_options, NULL };
    const char *settings[] = { "BERTH_GPU_SCRIPTED=devices.yaml", NULL };
    struct error e = { 0 };

    room = (struct room){ .world = sim_create(1), .metrics = metrics_create() };
    write_file("devices.yaml", script);
    assert_int_equal(config_load(NULL, settings, tables, &room.config, &e), 0);
    assert_int_equal(
        gpu_create(
            &(struct gpu_in){ .world = room.world, .config = room.config, .metrics = room.metrics },
            &room.gpu, &e),
        0);
    gpu_start(room.gpu);
    sim_run_for(room.world, 10);
}

static int tear_down(void **state)
{
    if (room.world) {
        gpu_destroy(room.gpu);
        metrics_destroy(room.metrics);
        config_free(room.config);
        world_destroy(room.world);
        room = (struct room){ 0 };
    }
    return 0;
}

static struct memory_need need_of(const struct engine_driver *driver, const char *framework,
                                  const struct model_facts *f, const char *members)
{
    struct model_config *model = driver_model(framework, members);
    struct memory_need need;

    driver->need(
        &(struct engine_context){ .config = driver_rig_config, .model = model, .gpu = room.gpu }, f,
        &need);
    model_config_free(model);
    return need;
}

static struct memory_need llama(const char *members)
{
    return need_of(&llamacpp_driver, "llama_cpp", &facts, members);
}

#define PARAMETERS(text) "\"parameters\":{" text "}"

/* 8,192 tokens are 1 GiB of cache in f16. */
static void test_on_the_host(void **state)
{
    struct memory_need n;

    open_room("");
    fill_facts();
    facts.matrix_bytes[F16] = 0; /* whatever this machine's CPU is */
    n = llama(PARAMETERS("\"ctx_size\":8192,\"parallel\":1"));
    assert_int_equal(n.weight_bytes, facts.weight_bytes);
    assert_int_equal(n.kv_bytes, GIB);
    assert_int_equal(n.split_bytes, n.weight_bytes + n.kv_bytes);
    assert_int_equal(n.fixed_bytes, n.compute_bytes + n.runtime_bytes);
    assert_int_equal(n.estimated_bytes, n.split_bytes + n.fixed_bytes);
    assert_int_equal(n.host_bytes, 0);
    assert_int_equal(n.max_devices, 1);
    /* (5·4096 + 3·14336)·4·512 + masks and logits */
    assert_in_range(n.compute_bytes, 124 * MIB, 140 * MIB);
    assert_in_range(n.runtime_bytes, 30 * MIB, 100 * MIB);
}

static void test_what_parameters_do(void **state)
{
    static const struct {
        const char *members;
        uint64_t kv_mib;
    } rows[] = {
        { PARAMETERS("\"ctx_size\":2048"), 1024 }, /* four requests of it: engines.parallel */
        { PARAMETERS("\"ctx_size\":2048,\"parallel\":8"), 2048 },
        { PARAMETERS("\"ctx_size\":8192,\"parallel\":8,\"kv_unified\":true"), 1024 },
        { PARAMETERS("\"ctx_size\":8192,\"parallel\":1,\"cache_type_k\":\"q8_0\""), 512 + 272 },
        { PARAMETERS("\"ctx_size\":8192,\"parallel\":1,\"cache_type_k\":\"q4_0\","
                     "\"cache_type_v\":\"q4_0\""),
          288 },
        { PARAMETERS("\"ctx_size\":100,\"parallel\":1"), 32 }, /* in 256s */
        { "\"additional_parameters\":\"-c 8192 -np 2 --foo bar\"",
          1024 }, /* there it is the total */
        { "\"additional_parameters\":\"-ctk q8_0 -ctv q8_0 -c 8192\"", 544 },
        { "\"additional_parameters\":\"-c\"", 1024 },
        { PARAMETERS("\"ctx_size\":-5,\"parallel\":1"), 32 }, /* nonsense may be stored */
    };

    open_room("");
    fill_facts();
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        uint64_t got = llama(rows[i].members).kv_bytes / MIB;

        if (got != rows[i].kv_mib) {
            fail_msg("%s: %llu MiB", rows[i].members, (unsigned long long)got);
        }
    }
}

static void test_compute_follows_its_settings(void **state)
{
    uint64_t usual, small, scores;

    open_room("");
    fill_facts();
    usual = llama(PARAMETERS("\"ctx_size\":4096,\"parallel\":1")).compute_bytes;
    small = llama(PARAMETERS("\"ctx_size\":4096,\"parallel\":1,\"ubatch_size\":128")).compute_bytes;
    scores =
        llama(PARAMETERS("\"ctx_size\":4096,\"parallel\":1,\"flash_attn\":false")).compute_bytes;
    assert_in_range(usual, 3 * small, 4 * small);
    assert_true(scores > 2 * usual); /* 512·32·4096·4: 256 MiB of scores */
    assert_int_equal(llama("\"additional_parameters\":\"-c 4096 -np 1 -fa off\"").compute_bytes,
                     scores);
    assert_int_equal(
        llama(PARAMETERS("\"ctx_size\":4096,\"parallel\":1,\"cache_ram\":100")).runtime_bytes,
        llama(PARAMETERS("\"ctx_size\":4096,\"parallel\":1")).runtime_bytes + 100 * MIB);
}

/* Of a mapped file what the CPU wants in another order is there twice; a file that is read is not.
 */
static void test_matrices_in_another_order(void **state)
{
    static const char haswell[] = "flags : fpu avx avx2 f16c\n";

    assert_true(llamacpp_repacks(haswell, Q4_0));
    assert_false(llamacpp_repacks(haswell, Q8_0));
    assert_false(llamacpp_repacks(haswell, F16));
    assert_true(llamacpp_repacks("flags : avx2 amx_int8", F16));
    assert_true(llamacpp_repacks("flags : avx2 amx_int8\n", Q8_0));
    assert_true(llamacpp_repacks("Features : fp asimd asimddp", Q8_0));
    assert_false(llamacpp_repacks("flags : avx2x", Q4_0));
    assert_false(llamacpp_repacks("none", Q4_0));
}

static void test_a_second_copy_of_mapped_matrices(void **state)
{
    const bool repacks = __builtin_cpu_supports("avx2");
    uint64_t mapped, read, plain;

    open_room("");
    fill_facts();
    facts.matrix_bytes[F16] = 0;
    facts.matrix_bytes[Q4_0] = GIB;
    mapped = llama(NULL).weight_bytes;
    read = llama(PARAMETERS("\"no_mmap\":true")).weight_bytes;
    plain = llama("\"additional_parameters\":\"--no-repack\"").weight_bytes;
    assert_int_equal(read, facts.weight_bytes);
    assert_int_equal(plain, facts.weight_bytes);
    assert_int_equal(mapped - read, repacks ? GIB : 0);
}

/* All layers and the output; the input embedding stays with the host. */
static void test_on_devices(void **state)
{
    struct memory_need n;

    open_room("devices:\n  - {id: a, memory_total: 24GiB}\n  - {id: b, memory_total: 24GiB}\n");
    fill_facts();
    n = llama(PARAMETERS("\"ctx_size\":8192,\"parallel\":1"));
    assert_int_equal(n.weight_bytes, facts.weight_bytes - GIB);
    assert_int_equal(n.kv_bytes, GIB);
    assert_in_range(n.host_bytes, GIB, GIB + 600 * MIB);
    assert_int_equal(n.min_devices, 1);
    assert_int_equal(n.max_devices, PLACE_DEVICES_MAX);
    assert_int_equal(memory_need_on(&n, 2, 0), n.split_bytes / 2 + n.fixed_bytes);
    assert_int_equal(llama(PARAMETERS("\"split_mode\":\"none\"")).max_devices, 1);
}

static void test_layers_that_stay_with_the_host(void **state)
{
    struct memory_need n;

    open_room("devices:\n  - {id: a, memory_total: 24GiB}\n");
    fill_facts();
    /* the output and the last ten layers */
    n = llama(PARAMETERS("\"ctx_size\":8192,\"parallel\":1,\"n_gpu_layers\":11"));
    assert_int_equal(n.weight_bytes, GIB + 10 * 200 * MIB);
    assert_int_equal(n.kv_bytes, GIB / 32 * 10);
    assert_in_range(n.host_bytes, GIB + 22 * 200 * MIB + GIB / 32 * 22,
                    GIB + 22 * 200 * MIB + GIB / 32 * 22 + 600 * MIB);
    n = llama(PARAMETERS("\"n_gpu_layers\":0"));
    assert_int_equal(n.weight_bytes + n.kv_bytes, 0);
    n = llama("\"additional_parameters\":\"--n-cpu-moe 2\"");
    assert_int_equal(n.weight_bytes, facts.weight_bytes - GIB - 300 * MIB);
    n = llama("\"additional_parameters\":\"--no-kv-offload\"");
    assert_int_equal(n.kv_bytes, 0);
    /* of a model without an output matrix the embedding goes to the device, too */
    facts.weight_bytes -= GIB;
    facts.output_bytes = 0;
    n = llama(NULL);
    assert_int_equal(n.weight_bytes, GIB + 32 * 200 * MIB);
}

static void test_windows_and_states(void **state)
{
    struct memory_need n;

    open_room("");
    fill_facts();
    facts.window = 1024;
    facts.layers[0].windowed = true;                                  /* 1,536 cells */
    facts.layers[1] = (struct model_layer){ .state_bytes = 5 * MIB }; /* a sequence */
    n = llama(PARAMETERS("\"ctx_size\":8192,\"parallel\":2"));
    assert_int_equal(n.kv_bytes, 2 * (30 * 32 * MIB + 1536 * 4096 + 5 * MIB));
    n = llama("\"additional_parameters\":\"-c 16384 -np 2 --swa-full\"");
    assert_int_equal(n.kv_bytes, 2 * (31 * 32 * MIB + 5 * MIB));
}

static void test_other_files_count(void **state)
{
    uint64_t without;

    open_room("");
    fill_facts();
    without = llama(NULL).weight_bytes;
    write_file("eyes.gguf", "0123456789");
    assert_int_equal(llama(PARAMETERS("\"mmproj\":\"eyes.gguf\"")).weight_bytes, without + 10);
    assert_int_equal(
        llama("\"additional_parameters\":\"--lora eyes.gguf -md eyes.gguf\"").weight_bytes,
        without + 20);
    assert_int_equal(llama(PARAMETERS("\"mmproj\":\"gone.gguf\"")).weight_bytes, without);
}

/* Files and definitions may claim what they like: the figure is huge then, and never small. */
static void test_absurd_sizes_do_not_wrap(void **state)
{
    struct memory_need n;

    open_room("");
    fill_facts();
    facts.layer_count = MODEL_LAYERS_MAX;
    for (unsigned i = 0; i < facts.layer_count; i++) {
        facts.layers[i] = (struct model_layer){ .k_values = UINT32_MAX, .v_values = UINT32_MAX };
    }
    n = llama("\"additional_parameters\":\"-ctk f32 -ctv f32 -c 2147483647 -np 65536\"");
    assert_true(n.kv_bytes > (uint64_t)1 << 47);
    assert_true(memory_need_on(&n, 2, 0) > (uint64_t)1 << 47);
    n = llama(PARAMETERS("\"cache_type_k\":\"f32\",\"ctx_size\":2147483647,\"parallel\":65536"));
    assert_true(memory_need_on(&n, 2, 0) > (uint64_t)1 << 47);
    fill_facts();
    facts.window = UINT64_MAX / 2;
    for (unsigned i = 0; i < facts.layer_count; i++) {
        facts.layers[i].windowed = true;
    }
    assert_int_equal(llama(PARAMETERS("\"ctx_size\":8192,\"parallel\":4")).kv_bytes, 4 * GIB);
    fill_facts();
    facts.heads = 1 << 24;
    facts.hidden = 1 << 24;
    n = llama("\"additional_parameters\":\"-c 2147483647 -np 65536 -kvu -fa off -b 2000000000 -ub "
              "2000000000\"");
    assert_true(n.compute_bytes > (uint64_t)1 << 47);
    n = need_of(&vllm_driver, "vllm", &facts,
                PARAMETERS("\"tensor_parallel_size\":4611686018427387904,"
                           "\"pipeline_parallel_size\":4"));
    assert_int_equal(n.min_devices, PLACE_DEVICES_MAX);
}

static void test_without_facts(void **state)
{
    struct memory_need n;

    open_room("");
    fill_facts();
    n = need_of(&llamacpp_driver, "llama_cpp", NULL, NULL);
    assert_int_equal(n.estimated_bytes, 0);
    assert_int_equal(n.max_devices, 1);
    n = need_of(&command_driver, "command", NULL, NULL);
    assert_int_equal(n.estimated_bytes, 0);
    n = need_of(&command_driver, "command", &facts, NULL);
    assert_int_equal(n.kv_bytes, GIB);
    assert_in_range(n.estimated_bytes, facts.weight_bytes + GIB, facts.weight_bytes + 2 * GIB);
    assert_null(openai_driver.need);
}

static void test_a_share(void **state)
{
    struct memory_need n;

    fill_facts();
    need_of_share(0.9, 4, &facts, &n);
    assert_int_equal(memory_need_on(&n, 4, 80 * GIB), (uint64_t)(0.9 * 80 * (double)GIB));
    assert_int_equal(n.min_devices, 4);
    assert_int_equal(n.max_devices, 4);
    assert_int_equal(n.weight_bytes, facts.weight_bytes);
}

/* Real words: llama-server 0.7.0 on a CPU (context too large), CUDA builds, the C++ library, vLLM.
 */
static void test_words_of_too_little_memory(void **state)
{
    static const char *const yes[] = {
        "ggml_aligned_malloc: insufficient memory (attempted to allocate 781250.00 MB)",
        "ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 819200000000",
        "alloc_buffer: allocating 5000.00 MiB on device 0: cudaMalloc failed: out of memory",
        "llama_model_load: error loading model: unable to allocate CUDA0 buffer",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "ValueError: No available memory for the cache blocks. Try increasing",
        "mmap failed: Cannot allocate memory",
    };
    static const char *const no[] = {
        "llama_init_from_model: quantized V cache requires flash_attn to be enabled; common_init_: "
        "failed to create context with model 'm.gguf'",
        "gguf_init_from_file: failed to open GGUF file 'm.gguf'",
        "error: invalid argument: --nope",
    };

    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        assert_true(llamacpp_driver.is_out_of_memory(yes[i]));
    }
    for (size_t i = 0; i < ARRAY_SIZE(no); i++) {
        assert_false(llamacpp_driver.is_out_of_memory(no[i]));
    }
    assert_int_equal(need_failed_bytes(yes[1]), 819200000000);
    assert_int_equal(need_failed_bytes("of size 5; of size 70 and of size x"), 70);
    assert_int_equal(need_failed_bytes(NULL), 0);
    assert_int_equal(need_failed_bytes("of size 99999999999999999999999"), 0); /* no sense */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_on_the_host, tear_down),
        cmocka_unit_test_teardown(test_what_parameters_do, tear_down),
        cmocka_unit_test_teardown(test_compute_follows_its_settings, tear_down),
        cmocka_unit_test_teardown(test_matrices_in_another_order, tear_down),
        cmocka_unit_test_teardown(test_a_second_copy_of_mapped_matrices, tear_down),
        cmocka_unit_test_teardown(test_on_devices, tear_down),
        cmocka_unit_test_teardown(test_layers_that_stay_with_the_host, tear_down),
        cmocka_unit_test_teardown(test_windows_and_states, tear_down),
        cmocka_unit_test_teardown(test_other_files_count, tear_down),
        cmocka_unit_test_teardown(test_absurd_sizes_do_not_wrap, tear_down),
        cmocka_unit_test_teardown(test_without_facts, tear_down),
        cmocka_unit_test_teardown(test_a_share, tear_down),
        cmocka_unit_test_teardown(test_words_of_too_little_memory, tear_down),
    };

    return cmocka_run_group_tests(tests, driver_rig_set_up, driver_rig_tear_down);
}
