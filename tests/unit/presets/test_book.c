// SPDX-License-Identifier: Apache-2.0
/* The book: what stands, what users add, all or nothing; and each preset out and in again. */
#include "unit.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "presets/presets.h"

static struct error error;

static int add(struct presets *p, const char *text)
{
    json_t *document = json_loads(text, JSON_DECODE_ANY, NULL);
    int r;

    assert_non_null(document);
    memset(&error, 0, sizeof(error));
    r = presets_add(p, document, &error);
    json_decref(document);
    return r;
}

static void test_own_ones_stand(void **state)
{
    struct presets *p = presets_create();
    const struct planner_chip *c;
    size_t cursor = 0, count = 0;
    bool own;

    assert_ptr_equal(presets_chip(p, "h100"), planner_find_chip("H100-SXM"));
    assert_ptr_equal(presets_model(p, "meta-llama/Llama-3.1-70B-Instruct"),
                     planner_find_model("llama-3.1-70b"));
    assert_null(presets_topology(p, "x"));
    assert_null(presets_chip(p, ""));
    while ((c = presets_next_chip(p, &cursor, &own)) != NULL) {
        assert_ptr_equal(c, &planner_chips[count]);
        assert_false(own);
        count++;
    }
    assert_null(planner_chips[count].name);
    assert_null(presets_next_chip(p, &cursor, &own));
    presets_destroy(p);
}

static void test_users_come_first(void **state)
{
    struct presets *p = presets_create();
    size_t cursor = 0;
    bool own = false;

    assert_int_equal(
        add(p, "{\"chips\": {\"My Card\": {\"bf16_tflops\": 100, \"memory_gb\": 24, "
               "\"bandwidth_gbps\": 900, \"aliases\": [\"mc\", \"card one\"]}, \"H100-SXM\": "
               "{\"preset\": \"h100-sxm\", \"decode_times\": 1.5}}, \"topologies\": {\"pair\": "
               "{\"levels\": [{\"groups\": 2, \"gbps\": 60}]}}}"),
        0);
    assert_float_equal(presets_chip(p, "my-card")->memory_gb, 25.769803776, 1e-9);
    assert_string_equal(presets_chip(p, "CARD ONE")->name, "My Card");
    assert_float_equal(presets_chip(p, "h100-sxm")->decode_times, 1.5, 0);
    assert_float_equal(presets_chip(p, "h100-sxm")->bf16_tflops, 989, 0);
    assert_string_equal(presets_next_chip(p, &cursor, &own)->name, "My Card");
    assert_true(own);
    assert_int_equal(presets_topology(p, "Pair")->levels[0].groups, 2);
    /* again: replaced, not added */
    assert_int_equal(add(p, "{\"chips\": {\"my card\": {\"preset\": \"mc\", \"memory_gb\": 48}}}"),
                     0);
    assert_float_equal(presets_chip(p, "My Card")->memory_gb, 51.539607552, 1e-9);
    cursor = 2;
    assert_non_null(presets_next_chip(p, &cursor, &own));
    assert_false(own);
    presets_destroy(p);
}

/* A card like a known one keeps its measured kernels. */
static void test_kernels_go_along(void **state)
{
    struct presets *p = presets_create();
    struct planner_setup own, known, other;
    const struct planner_model *m = planner_find_model("llama-3.1-8b");

    assert_int_equal(add(p,
                         "{\"chips\": {\"ours\": {\"preset\": \"h100\"}, \"theirs\": "
                         "{\"bf16_tflops\": 989, \"memory_gb\": 80, \"bandwidth_gbps\": 3350}}}"),
                     0);
    planner_setup_init(&own, m, presets_chip(p, "ours"), PLANNER_ENGINE_VLLM, PLANNER_BF16,
                       PLANNER_KV_AUTO, NULL);
    planner_setup_init(&known, m, planner_find_chip("h100"), PLANNER_ENGINE_VLLM, PLANNER_BF16,
                       PLANNER_KV_AUTO, NULL);
    planner_setup_init(&other, m, presets_chip(p, "theirs"), PLANNER_ENGINE_VLLM, PLANNER_BF16,
                       PLANNER_KV_AUTO, NULL);
    assert_int_equal(own.rung, 0);
    assert_float_equal(own.attn_gemm.flops, known.attn_gemm.flops, 0);
    assert_int_equal(other.rung, 2);
    presets_destroy(p);
}

static void test_all_or_nothing(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        { "{\"chips\": {\"a\": {\"bf16_tflops\": 1, \"memory_gb\": 1, \"bandwidth_gbps\": 1}, "
          "\"my-card\": {\"bf16_tflops\": 1, \"bandwidth_gbps\": 1}}}",
          "chips.my-card.memory_gb: " },
        { "{\"chips\": {\"a\": {\"preset\": \"none such\"}}}", "chips.a.preset: there is no chip" },
        { "{\"chips\": {\"a\": {\"preset\": \"h100\", \"memory_gb\": \"80\"}}}",
          "chips.a.memory_gb: this has to be a number" },
        { "{\"chips\": {\"a\": {\"preset\": \"h100\", \"bandwith_gbps\": 3}}}",
          "chips.a.bandwith_gbps: there is no such member; bandwidth_gbps" },
        { "{\"chips\": {\"a,b\": {\"preset\": \"h100\"}}}", "chips: 'a,b' is no name" },
        { "{\"chips\": {\"--\": {\"preset\": \"h100\"}}}", "chips: '--' is no name" },
        { "{\"chips\": []}", "chips: this has to be an object" },
        { "{\"modles\": {}}", "modles: " },
        { "{\"models\": {\"m\": {\"layers\": 3}}}", "models.m.hidden: this is missing" },
        { "{\"models\": {\"m\": {\"preset\": \"qwen3-8b\", \"layers\": 1e9}}}",
          "models.m.layers: 1e+09 is out of range" },
        { "{\"topologies\": {\"t\": {\"levels\": []}}}", "topologies.t.levels: " },
        { "{\"topologies\": {\"t\": {\"levels\": [{\"groups\": 65536}, {\"groups\": 65536}]}}}",
          "topologies.t: " },
        { "{\"topologies\": {\"t\": {\"levels\": [{\"groups\": 2, \"link\": \"string\"}]}}}",
          "topologies.t.levels[0].link: " },
        { "[]", "this has to be an object" },
    };
    struct presets *p = presets_create();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        assert_int_equal(add(p, rows[i].text), -EINVAL);
        if (strncmp(error.text, rows[i].says, strlen(rows[i].says)) != 0) {
            print_error("'%s' does not begin with '%s'\n", error.text, rows[i].says);
            fail();
        }
        assert_null(presets_chip(p, "a"));
    }
    presets_destroy(p);
}

static void test_no_end(void **state)
{
    struct presets *p = presets_create();
    json_t *document = json_object(), *chips = json_object();
    char name[32];

    for (int i = 0; i <= PRESETS_MAX; i++) {
        snprintf(name, sizeof(name), "card %d", i);
        json_object_set_new(chips, name, json_string("h100"));
    }
    json_object_set_new(document, "chips", chips);
    assert_int_equal(presets_add(p, document, &error), -EINVAL);
    assert_null(presets_chip(p, "card 1"));
    json_object_del(chips, "card 0");
    assert_int_equal(presets_add(p, document, &error), 0);
    assert_non_null(presets_chip(p, "card 1"));
    json_decref(document);
    presets_destroy(p);
}

/* ---- each out and in again ---- */

static void test_models_round_trip(void **state)
{
    for (const struct planner_model *m = planner_models; m->name; m++) {
        json_t *o = preset_model_to_json(m);
        struct preset_model back;

        if (preset_model_from_json(NULL, o, &back, &error) < 0) {
            print_error("%s: %s\n", m->name, error.text);
            fail();
        }
        assert_string_equal(back.model.name, m->name);
        assert_ptr_equal(back.model.name, back.name);
        back.model.name = m->name;
        back.model.source = m->source;
        back.model.aliases = m->aliases;
        back.model.published_b = m->published_b;
        assert_float_equal(planner_params(&back.model), planner_params(m), 0);
        assert_float_equal(planner_active_params(&back.model), planner_active_params(m), 0);
        assert_float_equal(planner_kv_bytes_per_token(&back.model), planner_kv_bytes_per_token(m),
                           0);
        assert_int_equal(back.model.window_layers, m->window_layers);
        assert_int_equal(back.model.indexer, m->indexer);
        json_decref(o);
    }
}

static void test_chips_round_trip(void **state)
{
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        json_t *o = preset_chip_to_json(c);
        struct preset_chip back;

        if (preset_chip_from_json(NULL, o, &back, &error) < 0) {
            print_error("%s: %s\n", c->name, error.text);
            fail();
        }
        assert_string_equal(back.chip.name, c->name);
        assert_int_equal(back.chip.generation, c->generation);
        assert_float_equal(back.chip.bf16_tflops, c->bf16_tflops, 0);
        assert_float_equal(back.chip.fp8_tflops, c->fp8_tflops, 0);
        assert_float_equal(back.chip.fp4_tflops, c->fp4_tflops, 0);
        assert_float_equal(back.chip.int8_tops, c->int8_tops, 0);
        assert_float_equal(back.chip.memory_gb, c->memory_gb, 1e-6);
        assert_float_equal(back.chip.bandwidth_gbps, c->bandwidth_gbps, 0);
        assert_float_equal(back.chip.scaleup_gbps, c->scaleup_gbps, 0);
        assert_int_equal(back.chip.scaleup_chips, c->scaleup_chips);
        assert_float_equal(back.chip.scaleout_gbps, c->scaleout_gbps, 0);
        json_decref(o);
    }
}

static void test_topology_round_trip(void **state)
{
    const struct planner_topology t = {
        2, { { "box", 8, 450, 3, PLANNER_LINK_MESH }, { "hall", 4, 50, 0, PLANNER_LINK_PCIE } }
    };
    json_t *o = preset_topology_to_json(&t);
    struct planner_topology back;

    assert_int_equal(preset_topology_from_json(o, &back, &error), 0);
    assert_int_equal(back.level_count, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(back.levels[i].name, t.levels[i].name);
        assert_int_equal(back.levels[i].groups, t.levels[i].groups);
        assert_float_equal(back.levels[i].gbps, t.levels[i].gbps, 0);
        assert_float_equal(back.levels[i].alpha_us, t.levels[i].alpha_us, 0);
        assert_int_equal(back.levels[i].link, t.levels[i].link);
    }
    json_decref(o);
}

/* The precision of a model of the user's goes wherever the model goes. */
static void test_precision_goes_along(void **state)
{
    struct presets *p = presets_create();
    struct preset_model m, again;
    struct plan_request *request = test_calloc(1, sizeof(*request));
    json_t *o, *body = json_pack("{s:s, s:s}", "model", "mine", "chip", "h100");
    char field[PRESET_NAME_MAX];

    assert_int_equal(
        add(p, "{\"models\": {\"mine\": {\"preset\": \"qwen3-8b\", \"precision\": \"int4\"}, "
               "\"other\": {\"preset\": \"mine\", \"layers\": 30}, \"file\": {\"architectures\": "
               "[\"LlamaForCausalLM\"], \"num_hidden_layers\": 2, \"hidden_size\": 64, "
               "\"num_attention_heads\": 4, \"vocab_size\": 100, \"intermediate_size\": 128, "
               "\"torch_dtype\": \"bfloat16\", \"precision\": \"fp8\"}}}"),
        0);
    assert_true(presets_find_model(p, "Mine", &m));
    assert_int_equal(m.format, PLANNER_INT4);
    assert_ptr_equal(m.model.name, m.name);
    assert_true(presets_find_model(p, "other", &m));
    assert_int_equal(m.format, PLANNER_INT4);
    assert_int_equal(m.model.layers, 30);
    o = preset_model_document(&m);
    assert_int_equal(preset_model_from_json(NULL, o, &again, &error), 0);
    assert_int_equal(again.format, PLANNER_INT4);
    json_decref(o);
    assert_true(presets_find_model(p, "file", &m));
    assert_int_equal(m.format, PLANNER_FP8);
    assert_true(presets_find_model(p, "qwen3-8b", &m));
    assert_int_equal(m.format, -1);
    assert_false(presets_find_model(p, "nobody", &m));
    assert_int_equal(plan_request_from_json(p, body, request, field, &error), 0);
    assert_int_equal(request->format, PLANNER_INT4);
    json_decref(body);
    test_free(request);
    presets_destroy(p);
}

/* Of a name that is none the user's own are among the nearest. */
static void test_nearest_names(void **state)
{
    struct presets *p = presets_create();
    struct preset_model m;
    struct preset_chip c;
    json_t *chip = json_string("my-crad"), *model = json_string("house13"),
           *far = json_string("h100sxmm");

    assert_int_equal(
        add(p, "{\"chips\": {\"other\": {\"preset\": \"h100\"}, \"my-card\": {\"preset\": "
               "\"h100\"}}, \"models\": {\"house-13b\": {\"preset\": \"qwen3-8b\"}}}"),
        0);
    assert_int_equal(preset_chip_from_json(p, chip, &c, &error), -EINVAL);
    assert_non_null(strstr(error.text, "the nearest are my-card, "));
    assert_int_equal(preset_model_from_json(p, model, &m, &error), -EINVAL);
    assert_non_null(strstr(error.text, "the nearest are house-13b, "));
    assert_int_equal(preset_chip_from_json(p, far, &c, &error), -EINVAL);
    assert_non_null(strstr(error.text, "the nearest are H100-SXM, "));
    assert_int_equal(preset_chip_from_json(NULL, chip, &c, &error), -EINVAL);
    json_decref(chip);
    json_decref(model);
    json_decref(far);
    presets_destroy(p);
}

/* A window that is taken away leaves no windowed layers. */
static void test_without_window(void **state)
{
    json_t *o = json_pack("{s:s, s:i}", "preset", "gemma-2-9b", "window", 0);
    struct preset_model m;

    assert_int_equal(preset_model_from_json(NULL, o, &m, &error), 0);
    assert_int_equal(m.model.window_layers, 0);
    json_decref(o);
}

/* ---- files ---- */

static void test_example_file(void **state)
{
    struct presets *p = presets_create();
    const struct planner_model *m;
    struct preset_model whole;

    if (presets_add_file(p, EXAMPLES "/presets.yaml", &error) < 0) {
        print_error("%s\n", error.text);
        fail();
    }
    assert_float_equal(presets_chip(p, "wh64")->price_hour, 1.9, 0);
    assert_string_equal(presets_chip(p, "our-h100")->kernels, "H100-SXM");
    assert_float_equal(presets_chip(p, "our-h100")->prefill_times, 1.15, 0);
    m = presets_model(p, "house-moe");
    assert_int_equal(m->experts, 128);
    assert_int_equal(m->kv_heads, 4);
    assert_int_equal(m->dense_layers, 0);
    assert_int_equal(presets_model(p, "house-13b")->layers, 40);
    assert_true(presets_find_model(p, "house-13b", &whole));
    assert_int_equal(whole.format, PLANNER_BF16);
    assert_int_equal(planner_topology_chips(presets_topology(p, "two-racks")), 64);
    presets_destroy(p);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void test_bad_files(void **state)
{
    char path[] = "/tmp/berth-presets-XXXXXX";
    struct presets *p = presets_create();
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    put(path, "chips:\n  a: [1\n");
    assert_int_equal(presets_add_file(p, path, &error), -EINVAL);
    assert_non_null(strstr(error.text, path));
    put(path, "chips:\n  a: {preset: h100, memory_gb: lots}\n");
    assert_int_equal(presets_add_file(p, path, &error), -EINVAL);
    assert_int_equal(strncmp(error.text, path, strlen(path)), 0);
    assert_non_null(strstr(error.text, "chips.a.memory_gb"));
    put(path, "");
    assert_int_equal(presets_add_file(p, path, &error), 0);
    unlink(path);
    assert_int_equal(presets_add_file(p, path, &error), -ENOENT);
    assert_int_equal(presets_add_file(p, "/tmp", &error), -EINVAL);
    presets_destroy(p);
}

/* ---- calibration ---- */

/* One topology, or a document with one; no folder, no pipe that nobody writes to. */
static void test_topology_files(void **state)
{
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        { "levels: [{groups: 4}]\n", 0 },
        { "{\"levels\": [{\"groups\": 4}]}", 0 },
        { "topologies:\n  a: {levels: [{groups: 4}]}\n", 0 },
        { "topologies:\n  a: {levels: [{groups: 4}]}\n  b: {levels: [{groups: 2}]}\n", -EINVAL },
        { "topologies: {}\n", -EINVAL },
        { "", -EINVAL },
        { "- 1\n", -EINVAL },
        { "{", -EINVAL },
    };
    char path[] = "/tmp/berth-topology-XXXXXX";
    struct planner_topology t;
    json_t *o;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        put(path, rows[i].text);
        o = NULL;
        assert_int_equal(preset_topology_import(path, &o, &error), rows[i].result);
        if (rows[i].result == 0) {
            assert_int_equal(preset_topology_from_json(o, &t, &error), 0);
            assert_int_equal(planner_topology_chips(&t), 4);
        } else {
            assert_null(o);
            assert_int_equal(strncmp(error.text, path, strlen(path)), 0);
        }
        json_decref(o);
    }
    unlink(path);
    assert_int_equal(preset_topology_import(path, &o, &error), -ENOENT);
    assert_int_equal(preset_topology_import("/tmp", &o, &error), -EINVAL);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(preset_topology_import(path, &o, &error), -EINVAL);
    unlink(path);
}

static void test_calibration(void **state)
{
    struct planner_chip chip = *planner_find_chip("h100");
    const struct planner_model *m = planner_find_model("llama-3.1-8b");
    struct preset_measured rows[5];
    struct planner_setup s;

    for (int i = 0; i < 5; i++) {
        struct planner_result r;

        rows[i] = (struct preset_measured){
            .model = m,
            .engine = PLANNER_ENGINE_VLLM,
            .format = PLANNER_FP8,
            .kv = PLANNER_KV_AUTO,
            .plan = { 1, 1, 1, 1, 1, 1, false },
            .load = { .isl = 500 * (i + 1), .osl = 100, .concurrency = 1 }
        };
        planner_setup_init(&s, m, &chip, PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
        planner_evaluate(&s, &rows[i].plan, &rows[i].load, &r);
        rows[i].tpot_s = r.tpot_s * (i == 4 ? 50 : 1.25); /* one is odd */
        rows[i].ttft_s = i == 2 ? 0 : r.ttft_s * 2;
    }
    assert_int_equal(preset_chip_calibrate(&chip, rows, 5, &error), 0);
    assert_float_equal(chip.decode_times, 1.25, 0.02);
    assert_float_equal(chip.prefill_times, 2, 1e-6);
    assert_int_equal(preset_chip_calibrate(&chip, rows, 0, &error), -ENODATA);
    assert_float_equal(chip.prefill_times, 2, 1e-6); /* as it was */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_ones_stand),   cmocka_unit_test(test_users_come_first),
        cmocka_unit_test(test_kernels_go_along), cmocka_unit_test(test_all_or_nothing),
        cmocka_unit_test(test_no_end),           cmocka_unit_test(test_models_round_trip),
        cmocka_unit_test(test_chips_round_trip), cmocka_unit_test(test_topology_round_trip),
        cmocka_unit_test(test_example_file),     cmocka_unit_test(test_bad_files),
        cmocka_unit_test(test_calibration),      cmocka_unit_test(test_precision_goes_along),
        cmocka_unit_test(test_without_window),   cmocka_unit_test(test_topology_files),
        cmocka_unit_test(test_nearest_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
