// SPDX-License-Identifier: Apache-2.0
/* What serves: a good fleet is read whole, and what is wrong is refused by its member. */
#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "simulate/simulate_int.h"

static int read_text(const char *text, struct fleet **ret, struct error *e)
{
    struct presets *p = presets_create();
    json_t *json = json_loads(text, 0, NULL);
    int r;

    assert_non_null(json);
    r = fleet_read(p, json, ret, e);
    json_decref(json);
    presets_destroy(p);
    return r;
}

#define DEVICES "\"devices\":[{\"chip\":\"h100-sxm\",\"count\":4},{\"chip\":\"a100-sxm-80gb\"}]"
#define MODEL   "\"name\":\"m\",\"model\":\"llama-3.1-8b\""

static void a_fleet_is_read(void **state)
{
    struct fleet *f = NULL;
    struct config *config = NULL;
    struct error e = { 0 };

    assert_int_equal(
        read_text("{" DEVICES ",\"models\":[{" MODEL ",\"precision\":\"fp8\",\"tp\":2,"
                  "\"replicas\":2,\"priority\":7,\"prefix_cache\":false,\"step_tokens\":2048,"
                  "\"kv_tokens\":50000,\"start\":\"1500ms\",\"keep_alive\":\"5m\"}],"
                  "\"slo\":{\"ttft\":\"2s\",\"tpot\":0.05},\"strategy\":\"round_robin\","
                  "\"options\":{\"gateway.max_queue\":5,\"placement.swap_wait\":\"3s\"}}",
                  &f, &e),
        0);
    assert_int_equal(f->devices, 5);
    assert_ptr_equal(fleet_kind_of(f, 3), &f->kinds[0]);
    assert_ptr_equal(fleet_kind_of(f, 4), &f->kinds[1]);
    assert_int_equal(f->models[0].format, PLANNER_FP8);
    assert_int_equal(fleet_model_devices(&f->models[0]), 2);
    assert_false(f->models[0].prefix_cache);
    assert_true(f->models[0].start_s == 1.5 && f->models[0].kv_tokens == 50000);
    assert_int_equal(json_integer_value(json_object_get(f->models[0].definition, "priority")), 7);
    assert_true(f->slo_ttft_s == 2 && f->slo_tpot_s == 0.05);
    assert_string_equal(f->strategy, "round_robin");
    assert_int_equal(fleet_config(f, &config, &e), 0);
    assert_int_equal(config_int(config, "gateway.max_queue"), 5);
    assert_int_equal(config_duration_ms(config, "placement.swap_wait"), 3000);
    config_free(config);
    fleet_free(f);
}

static void models_and_chips_may_be_told_by_their_figures(void **state)
{
    struct fleet *f = NULL;
    struct error e = { 0 };

    assert_int_equal(read_text("{\"devices\":[{\"chip\":{\"chip_type\":\"mine\",\"compute_tflops_"
                               "fp16\":500,\"memory_gb\":40,\"memory_bandwidth_gbps\":2000}}],"
                               "\"models\":[{\"name\":\"m\",\"model\":{\"preset\":\"llama-3.1-8b\","
                               "\"num_layers\":16}}]}",
                               &f, &e),
                     0);
    assert_true(f->kinds[0].chip.chip.memory_gb == 40 * 1.073741824); /* a card's are GiB */
    assert_int_equal(f->models[0].model.model.layers, 16);
    fleet_free(f);
}

/* The sentence begins with the member, and says this. */
static void refuse(const char *text, const char *member, const char *says)
{
    struct fleet *f = NULL;
    struct error e = { 0 };

    if (read_text(text, &f, &e) != -EINVAL || strncmp(e.text, member, strlen(member)) != 0 ||
        !strstr(e.text, says)) {
        fail_msg("%s: \"%s\", not \"%s … %s\"", text, e.text, member, says);
    }
}

static void what_is_wrong_is_refused_by_its_member(void **state)
{
    refuse("[]", "", "object");
    refuse("{\"devices\":[1],\"models\":[{" MODEL "}]}", "devices.0", "object");
    refuse("{\"models\":[{" MODEL "}]}", "devices", "list");
    refuse("{" DEVICES "}", "models", "list");
    refuse("{" DEVICES ",\"models\":[{" MODEL "}],\"modles\":1}", "modles", "no such member");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"tpp\":2}]}", "models.0.tpp", "no such member");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"tp\":1.5}]}", "models.0.tp", "whole number");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"tp\":16,\"pp\":2}]}", "models.0.tp", "at most");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"precision\":\"fp9\"}]}", "models.0.precision",
           "fp9");
    refuse("{" DEVICES ",\"models\":[{" MODEL "},{" MODEL "}]}", "models.1.name", "twice");
    refuse("{" DEVICES ",\"models\":[{\"name\":\"m\"}]}", "models.0.model", "needed");
    refuse("{" DEVICES ",\"models\":[{\"model\":\"llama-3.1-71b\"}]}", "models.0.model",
           "Llama-3.1-70B");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"replicas\":\"two\"}]}", "models.0.replicas",
           "integer");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"replicas\":40}]}", "models.0.replicas",
           "between 1 and 32");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"strategy\":\"best\"}]}", "models.0.strategy",
           "round_robin");
    refuse("{" DEVICES ",\"models\":[{" MODEL "}],\"strategy\":\"best\"}", "strategy",
           "round_robin");
    refuse("{\"devices\":[{\"chip\":\"h1000\"}],\"models\":[{" MODEL "}]}", "devices.0.chip",
           "h100");
    refuse("{\"devices\":[{\"chip\":\"h100-sxm\",\"count\":0}],\"models\":[{" MODEL "}]}",
           "devices.0.count", "(1 to");
    refuse("{" DEVICES ",\"models\":[{" MODEL "}],\"slo\":{\"ttft\":\"soon\"}}", "slo.ttft",
           "time");
    refuse("{" DEVICES ",\"models\":[{" MODEL ",\"start\":\"2d\"}]}", "models.0.start", "a day");
    refuse("{" DEVICES ",\"models\":[{" MODEL "}],\"options\":{\"gpu.nvml\":\"/tmp/x.so\"}}",
           "options.gpu.nvml", "no such option");
    refuse("{" DEVICES ",\"models\":[{" MODEL "}],\"options\":{\"gateway.max\":1}}",
           "options.gateway.max", "no such option");
    refuse("{" DEVICES ",\"models\":[{" MODEL "}],\"options\":{\"gateway.max_queue\":-1}}",
           "options", "max_queue");
}

static void a_file_is_named_in_its_faults(void **state)
{
    char path[] = "/tmp/berth-fleet-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    struct presets *p = presets_create();
    struct fleet *fleet = NULL;
    struct error e = { 0 };

    fputs("devices: [{chip: h100-sxm}]\nmodels: [{model: llama-3.1-8b, tp: 0}]\n", f);
    fclose(f);
    assert_int_equal(fleet_read_file(p, path, &fleet, &e), -EINVAL);
    assert_ptr_equal(strstr(e.text, path), e.text);
    assert_non_null(strstr(e.text, ": models.0.tp: "));
    unlink(path);
    assert_true(fleet_read_file(p, path, &fleet, &e) < 0);
    assert_non_null(strstr(e.text, "No such file"));
    presets_destroy(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fleet_is_read),
        cmocka_unit_test(models_and_chips_may_be_told_by_their_figures),
        cmocka_unit_test(what_is_wrong_is_refused_by_its_member),
        cmocka_unit_test(a_file_is_named_in_its_faults),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
