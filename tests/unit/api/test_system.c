// SPDX-License-Identifier: Apache-2.0
/* The system door, field for field, over two scripted cards. */
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fixture.h"

static double num(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);

    if (!json_is_number(value)) {
        fail_msg("%s is no number", name);
    }
    return json_number_value(value);
}

static void assert_text(const json_t *json, const char *name, const char *expected)
{
    const json_t *value = json_object_get(json, name);

    assert_non_null(value);
    if (expected) {
        assert_string_equal(json_string_value(value), expected);
    } else {
        assert_true(json_is_null(value));
    }
}

static void test_devices(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/api/v1/system/gpu", NULL);
    const json_t *one = json_array_get(a.json, 0), *two = json_array_get(a.json, 1), *process;

    assert_int_equal(a.status, 200);
    assert_int_equal(json_array_size(a.json), 2);
    assert_true(num(one, "device_id") == 0);
    assert_text(one, "name", "Card A");
    assert_text(one, "vendor", "nvidia");
    assert_text(one, "driver_version", "570.1.2");
    assert_text(one, "uuid", "GPU-a");
    assert_text(one, "pci", NULL);
    assert_text(one, "status", "ok");
    assert_true(json_is_integer(json_object_get(one, "memory_total")));
    assert_true(num(one, "memory_total") == 1000);
    assert_true(num(one, "memory_used") == 300);
    assert_true(num(one, "memory_free") == 700); /* whole MiB that add up */
    assert_true(num(one, "utilization") == 79.9);
    assert_true(num(one, "temperature") == 50);
    assert_true(num(one, "power_usage") == 120.5);
    process = json_array_get(json_object_get(one, "processes"), 0);
    assert_true(num(process, "pid") == 1 && num(process, "memory") == 10);
    assert_true(json_is_false(json_object_get(process, "ours")));
    process = json_array_get(json_object_get(one, "processes"), 1);
    assert_true(json_is_null(json_object_get(process, "memory")));
    assert_text(two, "vendor", "amd");
    assert_text(two, "driver_version", NULL);
    assert_true(num(two, "temperature") == 0); /* a number in any case */
    assert_string_equal(json_string_value(json_array_get(json_object_get(two, "not_told"), 0)),
                        "temperature");
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_one_device(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a = ask(f, "GET", "/api/v1/system/gpu/1", NULL);

    assert_int_equal(a.status, 200);
    assert_text(a.json, "name", "Card B");
    answer_finish(&a);
    ask_expect(f, 404, "GET", "/api/v1/system/gpu/2", NULL);
    ask_expect(f, 404, "GET", "/api/v1/system/gpu/-1", NULL);
    ask_expect(f, 404, "GET", "/api/v1/system/gpu/4294967296", NULL);
    ask_expect(f, 404, "GET", "/api/v1/system/gpu/99999999999999999999", NULL);
    ask_expect(f, 422, "GET", "/api/v1/system/gpu/one", NULL);
    ask_expect(f, 405, "POST", "/api/v1/system/gpu", "{}");
    fixture_destroy(f);
}

static void test_overview(void **state)
{
    static const char *const paths[] = { "/api/v1/system/status", "/api/v1/system/overview" };
    struct fixture *f = fixture_create();

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct answer a = ask(f, "GET", paths[i], NULL);

        assert_int_equal(a.status, 200);
        assert_int_equal(json_object_size(a.json), 8);
        assert_true(num(a.json, "total_models") == 0 && num(a.json, "running_models") == 0);
        assert_true(num(a.json, "total_gpus") == 2);
        assert_true(num(a.json, "available_gpus") == 1); /* 80 % is not less than 80 % */
        assert_true(num(a.json, "total_gpu_memory") == 3000);
        assert_true(num(a.json, "used_gpu_memory") == 300);
        assert_true(num(a.json, "system_uptime") >= 0);
        assert_non_null(json_string_value(json_object_get(a.json, "last_updated")));
        answer_finish(&a);
    }
    fixture_destroy(f);
}

static void test_resources(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;

    a = ask(f, "GET", "/api/v1/system/resources", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_object_size(a.json), 11);
    assert_true(num(a.json, "memory_total") > num(a.json, "memory_used"));
    assert_true(num(a.json, "memory_usage") > 0 && num(a.json, "memory_usage") < 100);
    assert_true(num(a.json, "cpu_usage") == 0); /* one look tells none */
    assert_true(num(a.json, "disk_total") > num(a.json, "disk_used"));
    assert_int_equal(json_array_size(json_object_get(a.json, "load_average")), 3);
    answer_finish(&a);
    fixture_destroy(f);
}

static const json_t *part(const struct answer *a, const char *name)
{
    const json_t *json = json_object_get(a->json, name);

    if (!json_is_object(json)) {
        fail_msg("%s is no object", name);
    }
    return json;
}

static void test_info(void **state)
{
    struct fixture *f = fixture_create();
    const json_t *system, *cpu, *memory, *disk, *data;
    struct answer a;

    a = ask(f, "GET", "/api/v1/system/info", NULL);
    assert_int_equal(a.status, 200);
    system = part(&a, "system");
    cpu = part(&a, "cpu");
    memory = part(&a, "memory");
    disk = part(&a, "disk");
    data = part(&a, "data");
    assert_int_equal(json_object_size(system), 12);
    assert_text(system, "system", "Linux");
    assert_true(json_is_string(json_object_get(system, "boot_time")));
    assert_text(system, "python_version", NULL);
    assert_true(num(cpu, "cpu_count_logical") >= num(cpu, "cpu_count_physical"));
    assert_true(num(cpu, "cpu_count_physical") >= 1);
    assert_non_null(json_object_get(cpu, "cpu_freq"));
    assert_true(num(memory, "total") == num(memory, "used") + num(memory, "free"));
    assert_true(num(memory, "total") > 1 << 20); /* bytes */
    assert_true(num(disk, "total") == num(disk, "used") + num(disk, "free"));
    assert_true(num(disk, "percent") > 0 && num(disk, "percent") <= 100);
    assert_true(num(a.json, "code") == 0);
    assert_text(a.json, "message", "success");
    assert_text(data, "version", "9.9");
    assert_text(data, "environment", "production");
    assert_true(num(json_object_get(data, "database_stats"), "open_connections") == 1);
    assert_true(num(json_object_get(data, "queue_status"), "models") == 0);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_health(void **state)
{
    static const char *const names[] = { "database", "gpu", "disk", "memory" };
    struct fixture *f = fixture_create();
    bool bad = false;
    struct answer a;

    a = ask(f, "GET", "/api/v1/system/health", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const json_t *one = json_object_get(part(&a, "components"), names[i]);
        const char *status = json_string_value(json_object_get(one, "status"));

        assert_true(json_is_string(json_object_get(one, "message")));
        assert_true(str_eq(status, "healthy") || str_eq(status, "warning") ||
                    str_eq(status, "critical"));
        bad |= str_eq(status, "critical"); /* this machine's disk may be full */
    }
    assert_text(json_object_get(part(&a, "components"), "database"), "status", "healthy");
    assert_true(num(json_object_get(part(&a, "components"), "gpu"), "gpu_count") == 2);
    assert_int_equal(a.status, bad ? 503 : 200);
    assert_true(num(a.json, "code") == (bad ? -1 : 0));
    assert_text(part(&a, "data"), "database", "ok");
    assert_text(part(&a, "data"), "redis", "disabled");
    assert_int_equal(str_eq(json_string_value(json_object_get(a.json, "status")), "unhealthy"),
                     bad);
    answer_finish(&a);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),  cmocka_unit_test(test_one_device),
        cmocka_unit_test(test_overview), cmocka_unit_test(test_resources),
        cmocka_unit_test(test_info),     cmocka_unit_test(test_health),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
