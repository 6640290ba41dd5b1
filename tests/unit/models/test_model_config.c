// SPDX-License-Identifier: Apache-2.0
/* Definitions: what the contract asks for is read with its defaults, every rule has a case that
 * breaks it. */
#include "unit.h"

#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "models/models.h"

static const char tiny[] =
    "{\"id\":\"org/tiny:q4\",\"name\":\"Tiny chat\",\"framework\":\"llama_cpp\","
    "\"model_path\":\"/models/tiny-q4.gguf\",\"priority\":6,\"gpu_devices\":[0,1],"
    "\"additional_parameters\":\"--flash-attn\",\"parameters\":{\"port\":9001,\"x\":[1.5]},"
    "\"resource_requirements\":{\"gpu_memory\":6000,\"cpu_cores\":null},"
    "\"health_check\":{\"interval\":15},\"retry_policy\":{\"max_attempts\":5},"
    "\"created_at\":null,\"updated_at\":\"2025-01-01T00:00:00\"}";

static json_t *parse_text(const char *text)
{
    json_error_t e;
    json_t *json = json_loads(text, 0, &e);

    if (!json) {
        fail_msg("%s: %s", text, e.text);
    }
    return json;
}

/* The good definition with some members replaced (absent with the text "-"). */
static json_t *variant(const char *member, const char *value)
{
    json_t *json = parse_text(tiny);

    if (str_eq(value, "-")) {
        json_object_del(json, member);
    } else {
        json_error_t e;

        json_object_set_new(json, member, json_loads(value, JSON_DECODE_ANY, &e));
    }
    return json;
}

static void test_defaults(void **state)
{
    struct validation v = validation_init();
    json_t *json = parse_text(tiny);
    struct model_config *c = model_config_parse(json, &v);

    assert_non_null(c);
    assert_true(validation_ok(&v));
    assert_int_equal(json_array_size(v.warnings), 0);
    assert_string_equal(c->id, "org/tiny:q4");
    assert_int_equal(c->priority, 6);
    assert_int_equal(c->gpu_device_count, 2);
    assert_int_equal(c->gpu_devices[1], 1);
    assert_string_equal(c->additional_parameters, "--flash-attn");
    assert_int_equal(c->gpu_memory_mb, 6000);
    assert_true(c->health_check.enabled);
    assert_int_equal(c->health_check.interval_s, 15);
    assert_int_equal(c->health_check.timeout_s, 10);
    assert_int_equal(c->health_check.max_failures, 3);
    assert_null(c->health_check.endpoint);
    assert_int_equal(c->retry_policy.max_attempts, 5);
    assert_true(c->retry_policy.initial_delay_s == 5 && c->retry_policy.max_delay_s == 300);
    assert_true(c->retry_policy.backoff_factor == 2.0);
    assert_false(c->autostart);
    assert_false(c->pinned);
    assert_true(c->on_demand);
    assert_int_equal(c->replicas, 1);
    assert_null(c->aliases);
    assert_int_equal(c->task_status, MODEL_ONLINE);
    assert_int_equal(c->max_workers, 0);
    assert_null(c->strategy);
    assert_null(c->type);
    assert_null(c->created_at);
    assert_null(c->updated_at); /* not the client's to say */
    model_config_free(c);
    json_decref(json);
    validation_finish(&v);
}

/* What is written can be read again, and says the same. */
static void test_round_trip(void **state)
{
    struct validation v = validation_init();
    json_t *json = parse_text(tiny), *once, *twice;
    struct model_config *a = model_config_parse(json, &v), *b;

    once = model_config_to_json(a);
    b = model_config_parse(once, &v);
    assert_non_null(b);
    assert_int_equal(json_array_size(v.warnings), 0);
    twice = model_config_to_json(b);
    assert_true(json_equal(once, twice));
    assert_true(
        json_equal(json_object_get(once, "parameters"), json_object_get(json, "parameters")));
    assert_true(json_is_null(json_object_get(once, "created_at")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(once, "health_check"), "interval")), 15);
    json_decref(once);
    json_decref(twice);
    json_decref(json);
    model_config_free(a);
    model_config_free(b);
    validation_finish(&v);
}

static void test_schema(void **state)
{
    // clang-format off
    static const struct { const char *member, *value, *loc, *type; } cases[] = {
        { "id", "-", "id", "missing" },
        { "name", "-", "name", "missing" },
        { "framework", "-", "framework", "missing" },
        { "model_path", "-", "model_path", "missing" },
        { "priority", "-", "priority", "missing" },
        { "resource_requirements", "-", "resource_requirements", "missing" },
        { "resource_requirements", "{}", "resource_requirements.gpu_memory", "missing" },
        { "resource_requirements", "7", "resource_requirements", "dict_type" },
        { "resource_requirements", "{\"gpu_memory\":\"6\"}", "resource_requirements.gpu_memory", "int_type" },
        { "resource_requirements", "{\"gpu_memory\":6,\"cpu_cores\":1.5}", "resource_requirements.cpu_cores", "int_type" },
        { "id", "7", "id", "string_type" },
        { "id", "null", "id", "string_type" },
        { "priority", "\"high\"", "priority", "int_type" },
        { "priority", "5.5", "priority", "int_type" },
        { "gpu_devices", "0", "gpu_devices", "list_type" },
        { "gpu_devices", "[\"a\"]", "gpu_devices", "int_type" },
        { "additional_parameters", "[]", "additional_parameters", "string_type" },
        { "parameters", "[]", "parameters", "dict_type" },
        { "parameters", "null", "parameters", "dict_type" },
        { "health_check", "null", "health_check", "dict_type" },
        { "health_check", "{\"interval\":\"x\"}", "health_check.interval", "int_type" },
        { "health_check", "{\"enabled\":1}", "health_check.enabled", "bool_type" },
        { "retry_policy", "{\"backoff_factor\":\"x\"}", "retry_policy.backoff_factor", "float_type" },
        { "autostart", "\"yes\"", "autostart", "bool_type" },
        { "pinned", "1", "pinned", "bool_type" },
        { "on_demand", "null", "on_demand", "bool_type" },
        { "replicas", "\"2\"", "replicas", "int_type" },
        { "aliases", "\"x\"", "aliases", "list_type" },
        { "aliases", "[\"x\", 7]", "aliases", "string_type" },
        { "ttl", "\"5m\"", "ttl", "int_type" },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct validation v = validation_init();
        json_t *json = variant(cases[i].member, cases[i].value);
        const json_t *first, *part;
        char loc[128] = "";
        size_t at;

        if (model_config_parse(json, &v) || json_array_size(v.schema_errors) == 0) {
            fail_msg("%s = %s was taken", cases[i].member, cases[i].value);
        }
        assert_false(validation_ok(&v));
        first = json_array_get(v.schema_errors, 0);
        assert_string_equal(json_string_value(json_object_get(first, "type")), cases[i].type);
        assert_true(json_is_string(json_object_get(first, "msg")));
        json_array_foreach(json_object_get(first, "loc"), at, part)
        {
            if (at == 0) {
                assert_string_equal(json_string_value(part), "body");
                continue;
            }
            snprintf(loc + strlen(loc), sizeof(loc) - strlen(loc), "%s%s", at > 1 ? "." : "",
                     json_string_value(part));
        }
        assert_string_equal(loc, cases[i].loc);
        json_decref(json);
        validation_finish(&v);
    }
}

static char *long_text(size_t n)
{
    char *text = xmalloc(n + 3);

    memset(text, 'a', n + 2);
    text[0] = text[n + 1] = '"';
    text[n + 2] = '\0';
    return text;
}

static void test_rules(void **state)
{
    _cleanup_(freep) char *id_255 = long_text(255), *id_256 = long_text(256);
    // clang-format off
    const struct { const char *member, *value, *error, *warning; } cases[] = {
        { "id", id_255, NULL, NULL },
        { "id", id_256, "id must be at most 255", NULL },
        { "id", "\"\"", "id must not be empty", NULL },
        { "id", "\" a\"", "blank", NULL },
        { "id", "\"a\\n\"", "control", NULL },
        { "id", "\"a\\u0085b\"", "control", NULL },
        { "id", "\"..\"", "URL", NULL },
        { "id", "\"/odd but fine/\\u6a21\"", NULL, NULL },
        { "name", id_256, "name must be at most", NULL },
        { "name", "\"\"", "name must not be empty", NULL },
        { "framework", "\"\"", "framework", NULL },
        { "model_path", "\"\"", "model_path must not be empty", NULL },
        { "priority", "0", "priority must be between 1 and 10", NULL },
        { "priority", "11", "priority must be between 1 and 10", NULL },
        { "priority", "10.0", NULL, NULL },
        { "priority", "99999999999", "priority", NULL },
        { "gpu_devices", "[-1]", "gpu_devices must be at least 0", NULL },
        { "gpu_devices", "[99999999999]", "gpu_devices must be at most", NULL },
        { "gpu_devices", "-", NULL, NULL },
        { "additional_parameters", "null", NULL, NULL },
        { "additional_parameters", "\"\"", NULL, NULL },
        { "parameters", "-", NULL, NULL },
        { "resource_requirements", "{\"gpu_memory\":0}", "gpu_memory must be greater than 0", NULL },
        { "resource_requirements", "{\"gpu_memory\":81920}", NULL, NULL },
        { "resource_requirements", "{\"gpu_memory\":81921}", NULL, "over 80 GB" },
        { "resource_requirements", "{\"gpu_memory\":5,\"cpu_cores\":0}", "cpu_cores must be at least 1", NULL },
        { "health_check", "{\"interval\":0}", "health_check.interval must be at least 1", "timeout should be less" },
        { "health_check", "{\"timeout\":-1}", "health_check.timeout", NULL },
        { "health_check", "{\"max_failures\":0}", "max_failures", NULL },
        { "health_check", "{\"interval\":10,\"timeout\":10}", NULL, "timeout should be less" },
        { "health_check", "{\"endpoint\":\"/v1/models\"}", NULL, NULL },
        { "health_check", "{\"endpoint\":\"/a b\"}", "endpoint must be a path", NULL },
        { "health_check", "{\"endpoint\":\"http://x/\"}", "endpoint must be a path", NULL },
        { "health_check", "{\"intervall\":9}", NULL, "health_check.intervall" },
        { "retry_policy", "{\"max_attempts\":0}", "max_attempts must be at least 1", NULL },
        { "retry_policy", "{\"initial_delay\":-1}", "initial_delay must be at least 0", NULL },
        { "retry_policy", "{\"initial_delay\":0}", NULL, NULL },
        { "retry_policy", "{\"initial_delay\":10,\"max_delay\":5}", "max_delay must be at least", NULL },
        { "retry_policy", "{\"backoff_factor\":0}", "backoff_factor must be greater", NULL },
        { "modell_path", "1", NULL, "modell_path" },
        { "autostart", "true", NULL, NULL },
        { "replicas", "0", "replicas must be between 1 and 32", NULL },
        { "replicas", "33", "replicas must be between 1 and 32", NULL },
        { "replicas", "32", NULL, NULL },
        { "aliases", "[\"gpt-4o\", \"a\"]", NULL, NULL },
        { "aliases", "[\"\"]", "an alias must not be empty", NULL },
        { "aliases", "[\"x\", \"y\", \"x\"]", "'x' stands twice", NULL },
        { "aliases", "[\"org/tiny:q4\"]", "the model's own id", NULL },
        { "keep_alive", "\"soon\"", "keep_alive must be a number of seconds", NULL },
        { "keep_alive", "true", "keep_alive must be a number of seconds", NULL },
        { "keep_alive", "null", NULL, NULL },
        { "task_status", "\"asleep\"", "task_status must be online, offline or maintenance", NULL },
        { "task_status", "\"offline\"", NULL, NULL },
        { "task_status", "null", NULL, NULL },
        { "max_workers", "-1", "max_workers must be between 0", NULL },
        { "max_workers", "1001", "max_workers must be between 0", NULL },
        { "max_workers", "1000", NULL, NULL },
        { "strategy", "\"\"", "strategy must have 1 to 63 bytes", NULL },
        { "strategy", "\"round_robin\"", NULL, NULL },
        { "type", "\"magic\"", "type must be openai, local or custom", NULL },
        { "type", "\"custom\"", NULL, NULL },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct validation v = validation_init();
        json_t *json = variant(cases[i].member, cases[i].value);
        struct model_config *c = model_config_parse(json, &v);
        const char *error = json_string_value(json_array_get(v.errors, 0));
        const char *warning = json_string_value(json_array_get(v.warnings, 0));

        if (!c || !error != !cases[i].error || (error && !strstr(error, cases[i].error)) ||
            !warning != !cases[i].warning || (warning && !strstr(warning, cases[i].warning))) {
            fail_msg("%s = %s: error '%s', warning '%s'", cases[i].member, cases[i].value,
                     error ? error : "-", warning ? warning : "-");
        }
        assert_int_equal(validation_ok(&v), !cases[i].error);
        model_config_free(c);
        json_decref(json);
        validation_finish(&v);
    }
}

/* Ollama's keep_alive and llama-swap's ttl, in the words that their users know. */
static void test_keep_alive(void **state)
{
    // clang-format off
    static const struct { const char *member, *value; int64_t ms; } cases[] = {
        { "keep_alive", "-", KEEP_ALIVE_DEFAULT },
        { "keep_alive", "0", 0 },
        { "keep_alive", "\"0\"", 0 },
        { "keep_alive", "300", 300000 },
        { "keep_alive", "1.5", 1500 },
        { "keep_alive", "\"5m\"", 300000 },
        { "keep_alive", "-1", KEEP_ALIVE_FOREVER },
        { "keep_alive", "\"-1\"", KEEP_ALIVE_FOREVER },
        { "keep_alive", "\"-5m\"", KEEP_ALIVE_FOREVER },
        { "keep_alive", "1e12", KEEP_ALIVE_FOREVER }, /* beyond the dates that clients read */
        { "ttl", "0", KEEP_ALIVE_FOREVER },
        { "ttl", "-1", KEEP_ALIVE_DEFAULT },
        { "ttl", "60", 60000 },
    };
    // clang-format on

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct validation v = validation_init();
        json_t *json = variant(cases[i].member, cases[i].value), *written;
        struct model_config *c = model_config_parse(json, &v), *again;

        assert_non_null(c);
        assert_true(validation_ok(&v));
        assert_int_equal(c->keep_alive_ms, cases[i].ms);
        written = model_config_to_json(c);
        again = model_config_parse(written, &v);
        assert_int_equal(again->keep_alive_ms, cases[i].ms);
        model_config_free(c);
        model_config_free(again);
        json_decref(json);
        json_decref(written);
        validation_finish(&v);
    }
}

/* A remote endpoint takes nothing of this machine: it need not say how much. */
static void test_remote_needs_no_memory(void **state)
{
    struct validation v = validation_init();
    json_t *json = variant("framework", "\"openai\""), *written;
    struct model_config *c, *again;

    json_object_del(json, "resource_requirements");
    c = model_config_parse(json, &v);
    assert_non_null(c);
    assert_true(validation_ok(&v));
    assert_int_equal(c->gpu_memory_mb, 0);
    written = model_config_to_json(c);
    again = model_config_parse(written, &v);
    assert_non_null(again);
    assert_true(validation_ok(&v));
    model_config_free(c);
    model_config_free(again);
    json_decref(json);
    json_decref(written);
    validation_finish(&v);
}

/* What tasks need of a model is kept, and written again. */
static void test_tasks_of_it(void **state)
{
    struct validation v = validation_init();
    json_t *json = variant("max_workers", "7"), *written;
    struct model_config *c, *again;

    json_object_set_new(json, "task_status", json_string("maintenance"));
    json_object_set_new(json, "strategy", json_string("round_robin"));
    json_object_set_new(json, "type", json_string("local"));
    c = model_config_parse(json, &v);
    written = model_config_to_json(c);
    again = model_config_parse(written, &v);
    assert_int_equal(again->task_status, MODEL_MAINTENANCE);
    assert_int_equal(again->max_workers, 7);
    assert_string_equal(again->strategy, "round_robin");
    assert_string_equal(again->type, "local");
    assert_int_equal(json_array_size(v.warnings), 0);
    assert_int_equal(model_status_from_string("offline"), MODEL_OFFLINE);
    assert_int_equal(model_status_from_string("off"), -EINVAL);
    model_config_free(c);
    model_config_free(again);
    json_decref(json);
    json_decref(written);
    validation_finish(&v);
}

static void test_odd_bodies(void **state)
{
    static const char *const bodies[] = { "[]", "\"x\"", "7", "null", "{}" };
    _cleanup_(freep) char *huge = long_text(MODEL_CONFIG_MAX);
    struct validation v = validation_init();
    json_t *json;

    for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
        size_t before = json_array_size(v.schema_errors);
        json_error_t e;

        json = json_loads(bodies[i], JSON_DECODE_ANY, &e);
        assert_null(model_config_parse(json, &v));
        assert_true(json_array_size(v.schema_errors) > before);
        json_decref(json);
    }
    json = variant("model_path", huge);
    assert_null(model_config_parse(json, &v));
    json_decref(json);
    validation_finish(&v);
}

/* A sentence that quotes half a character is kept. */
static void test_broken_text_is_told(void **state)
{
    struct validation v = validation_init();

    validation_error(&v, "half: %.1s", "\xc3\xa4");
    assert_int_equal(json_array_size(v.errors), 1);
    assert_false(validation_ok(&v));
    validation_finish(&v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_schema),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_tasks_of_it),
        cmocka_unit_test(test_odd_bodies),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_remote_needs_no_memory),
        cmocka_unit_test(test_broken_text_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
