// SPDX-License-Identifier: Apache-2.0
/*
 * The commands of placement as a user meets them (queue, why, history, policy, gpus, ps, load with
 * its options), against a daemon made of canned answers.
 */
#include "canned.h"

#include <jansson.h>

/* ---- looking ---- */

static void test_queue(void **state)
{
    answer(
        "GET /api/v1/scheduler/queue", 200,
        "{\"queue\":[{\"id\":\"big\",\"priority\":8,\"status\":\"preempted\",\"queue_position\":1,"
        "\"waiting\":65.2,\"estimated_start_time\":"
        "\"2199-01-01T00:00:00.000Z\",\"reason\":\"needs 20.0 GB; gpu1 could give 12.0 GB\"},"
        "{\"id\":\"late\",\"priority\":1,\"status\":\"queued\",\"queue_position\":2,"
        "\"waiting\":0.0,\"estimated_start_time\":null,\"reason\":null}],"
        "\"total_count\":2}");
    answer("GET /api/v1/stats/dashboard", 200,
           "{\"code\":0,\"data\":{\"queue_status\":{},\"model_stats\":[]}}");
    assert_int_equal(BERTH("queue"), 0);
    assert_has(out, "POSITION  MODEL  PRIORITY  STATE");
    assert_has(out, "1         big    8         preempted  1m5s     in ");
    assert_has(out, "needs 20.0 GB; gpu1 could give 12.0 GB\n");
    assert_has(out, "2         late   1         queued     -");
    assert_int_equal(BERTH("queue", "--json"), 0);
    assert_has(out, "\"total_count\":2");
    assert_lacks(out, "POSITION");
}

static void test_why(void **state)
{
    answer(
        "GET /api/v1/scheduler/why/draft", 200,
        "{\"model_id\":\"draft\",\"status\":\"preempted\",\"sentence\":\"needs 8.6 GB\",\"need\":"
        "{\"source\":\"measured\",\"min_devices\":1,\"max_devices\":2,\"share\":0.0,"
        "\"load_seconds\":2.5,\"split_bytes\":8053063680,\"fixed_bytes\":536870912,"
        "\"host_bytes\":1073741824,\"weight_bytes\":7516192768,\"kv_bytes\":536870912,"
        "\"compute_bytes\":0,\"runtime_bytes\":0,\"declared_bytes\":0,"
        "\"estimated_bytes\":8000000000,\"measured_bytes\":8589934592},"
        "\"instances\":[{\"state\":\"waiting\",\"displaced\":true,\"reserved\":false,\"place\":"
        "{\"devices\":[],\"host_bytes\":0},\"taken\":null,\"sentence\":\"needs 8.6 GB\"},"
        "{\"state\":\"ready\",\"displaced\":false,\"reserved\":false,\"place\":{\"devices\":"
        "[{\"device\":0,\"bytes\":8589934592},{\"device\":2,\"bytes\":1048576}],\"host_bytes\":0},"
        "\"taken\":{\"devices\":[{\"device\":0,\"bytes\":1073741824}],\"host_bytes\":0}}],"
        "\"candidates\":[{\"device\":1,\"name\":\"Card\",\"placeable_bytes\":20615843021,"
        "\"free_bytes\":1073741824,\"movable_bytes\":0,\"other_bytes\":524288,"
        "\"need_bytes\":8589934592}],\"moves\":[\"chat\",\"code\"]}");
    assert_int_equal(BERTH("why", "draft"), 0);
    assert_string_equal(out, "draft: needs 8.6 GB\n"
                             "needs     8.0G on one device, 1.0G of the host's memory (measured)\n"
                             "figures   estimated 7.5G, measured 8.0G\n"
                             "parts     weights 7.0G, KV cache 512M\n"
                             "loading   2.5s last time\n"
                             "instance  preempted; needs 8.6 GB\n"
                             "instance  ready on device 0 (8.0G), device 2 (1M); takes of device 0 "
                             "(1.0G)\n"
                             "DEVICE  NAME  PLACEABLE  FREE  OTHERS  BY MOVES  NEED\n"
                             "1       Card  19.2G      1.0G  512K    0M        8.0G\n"
                             "room could be made by moving chat, code\n");
    answer("GET /api/v1/scheduler/why/wide", 200,
           "{\"model_id\":\"wide\",\"sentence\":\"it runs\",\"need\":{\"source\":\"estimated\","
           "\"min_devices\":2,\"share\":0.85},\"instances\":[{\"state\":\"ready\"}]}");
    assert_int_equal(BERTH("why", "wide"), 0);
    assert_has(out, "needs     85 % of each of 2 devices (estimated)\n");
    assert_int_equal(BERTH("why", "nobody"), 4);
    assert_has(err, "not here");
}

static void test_history(void **state)
{
    answer(
        "GET /api/v1/scheduler/history", 200,
        "{\"history\":[{\"id\":\"2\",\"model_id\":\"draft\",\"action\":\"preempted\",\"decision\":"
        "\"swapped\","
        "\"timestamp\":\"2026-11-21T10:00:00.000Z\",\"gpu_devices\":[0,1],\"result\":\"success\","
        "\"reason\":\"made room for boss\",\"duration\":0.25,\"ended\":true},"
        "{\"id\":\"1\",\"model_id\":\"huge\",\"action\":\"failed\",\"decision\":\"failed\","
        "\"timestamp\":\"t\","
        "\"gpu_devices\":[],\"result\":\"failed\",\"reason\":\"needs too much\","
        "\"duration\":0.0,\"ended\":false}]}");
    assert_int_equal(BERTH("history"), 0);
    assert_has(out, "2026-11-21T10:00:00.000Z  draft  swapped   0, 1     success  0.2s  made room");
    assert_has(out, "huge   failed    -        failed   -     needs too much\n");
    assert_non_null(last_asked("GET /api/v1/scheduler/history?limit=20&hours=24 "));
    assert_int_equal(BERTH("history", "org/m:7b", "-n", "3", "--hours=2"), 0);
    assert_non_null(
        last_asked("GET /api/v1/scheduler/history?limit=3&hours=2&model_id=org%2Fm%3A7b "));
    assert_int_equal(BERTH("history", "-n", "some"), 2);
    assert_has(err, "--lines: 'some' is no number");
}

/* ---- the rules ---- */

static const char rules_now[] =
    "{\"scheduling_algorithm\":\"priority_based\",\"preemption_enabled\":true,"
    "\"resource_threshold\":0.8,\"priority_levels\":10}";

static void test_policy(void **state)
{
    const char *sent;
    json_t *rules;

    answer("GET /api/v1/scheduler/policy", 200, rules_now);
    answer("PUT /api/v1/scheduler/policy", 200,
           "{\"success\":true,\"message\":\"the rules are in use\",\"policy\":"
           "{\"scheduling_algorithm\":\"spread\",\"preemption_enabled\":false,"
           "\"resource_threshold\":0.9,\"priority_levels\":10},\"restart_required\":false}");
    assert_int_equal(BERTH("policy"), 0);
    assert_has(out, "resource_threshold    0.8\n");
    assert_has(out, "scheduling_algorithm  priority_based\n");
    assert_null(last_asked("PUT "));

    assert_int_equal(BERTH("policy", "resource_threshold=0.9", "scheduling_algorithm=spread",
                           "preemption_enabled=false"),
                     0);
    assert_has(out, "resource_threshold    0.9\n");
    sent = last_asked("PUT /api/v1/scheduler/policy ");
    assert_non_null(sent);
    rules = json_loads(sent, 0, NULL);
    assert_true(json_real_value(json_object_get(rules, "resource_threshold")) == 0.9);
    assert_string_equal(json_string_value(json_object_get(rules, "scheduling_algorithm")),
                        "spread");
    assert_true(json_is_false(json_object_get(rules, "preemption_enabled")));
    /* what is not named is sent as it is: the door would take its default */
    assert_int_equal(json_integer_value(json_object_get(rules, "priority_levels")), 10);
    json_decref(rules);
}

static void test_wrong_policy(void **state)
{
    answer("GET /api/v1/scheduler/policy", 200, rules_now);
    assert_int_equal(BERTH("policy", "resource_treshold=0.9"), 2);
    assert_has(err, "there is no rule 'resource_treshold'");
    assert_int_equal(BERTH("policy", "resource_threshold"), 2);
    assert_has(err, "no KEY=VALUE");
    assert_null(last_asked("PUT "));
    answer("PUT /api/v1/scheduler/policy", 400,
           "{\"detail\":\"resource_threshold must be 0.1 to 1.0\"}");
    assert_int_equal(BERTH("policy", "resource_threshold=7"), 2);
    assert_has(err, "resource_threshold must be 0.1 to 1.0");
}

/* ---- the devices ---- */

static void test_gpus(void **state)
{
    answer("GET /api/v1/system/gpu", 200,
           "[{\"device_id\":0,\"name\":\"Test A\",\"vendor\":\"nvidia\",\"memory_total\":24576,"
           "\"memory_free\":9216,\"memory_foreign\":0,\"utilization\":5,\"temperature\":0,"
           "\"power_usage\":0,\"not_told\":[\"temperature\",\"power_usage\"],\"processes\":[],"
           "\"status\":\"ok\"},"
           "{\"device_id\":1,\"name\":\"Test B\",\"vendor\":\"nvidia\",\"memory_total\":24576,"
           "\"memory_free\":24576,\"memory_foreign\":0,\"utilization\":0,\"temperature\":40,"
           "\"power_usage\":80,\"not_told\":[],\"processes\":[],\"status\":\"unresponsive\"}]");
    answer("GET /api/v1/scheduler/resources", 200,
           "{\"gpu_allocation\":["
           "{\"gpu_id\":0,\"placement\":{\"reserved\":15424,\"free\":4301},\"allocated_models\":["
           "{\"model_id\":\"chat\",\"memory_usage\":15360,\"memory_reserved\":14000},"
           "{\"model_id\":\"tiny\",\"memory_usage\":null,\"memory_reserved\":64}]},"
           "{\"gpu_id\":1,\"placement\":{\"reserved\":0,\"free\":0},\"allocated_models\":[]}]}");
    assert_int_equal(BERTH("gpus"), 0);
    assert_has(out, "INDEX  NAME    VENDOR  MEMORY");
    assert_has(out, "0      Test A  nvidia  24.0G   9.0G");
    assert_has(out, "15.1G     4.2G  chat 15.0G, tiny 64M\n");
    assert_has(out, "unresponsive");
    assert_int_equal(BERTH("gpus", "--json"), 0);
    assert_has(out, "\"device_id\":0");
    assert_has(out, "\"free\":4301");
}

static void test_ps(void **state)
{
    answer("GET /api/instances", 200,
           "{\"instances\":["
           "{\"model\":\"wide\",\"replica\":0,\"state\":\"ready\",\"pid\":7,\"place\":{\"devices\":"
           "[{\"device\":0,\"memory\":10240},{\"device\":2,\"memory\":10240}],\"host_memory\":0},"
           "\"memory_taken\":{\"devices\":[{\"device\":0,\"memory\":9216}],\"host_memory\":1024}},"
           "{\"model\":\"new\",\"replica\":0,\"state\":\"starting\",\"place\":{\"devices\":"
           "[{\"device\":1,\"memory\":512}],\"host_memory\":0},\"memory_taken\":null},"
           "{\"model\":\"moved\",\"replica\":0,\"state\":\"waiting\",\"displaced\":true},"
           "{\"model\":\"next\",\"replica\":0,\"state\":\"waiting\",\"displaced\":false}]}");
    assert_int_equal(BERTH("ps"), 0);
    assert_has(out, "MODEL  REPLICA  STATE      DEVICES  MEMORY  PID");
    assert_has(out, "wide   0        ready      0, 2     10.0G   7 ");
    assert_has(out, "new    0        starting   1        512M    - ");
    assert_has(out, "moved  0        preempted  -        -       - ");
    assert_has(out, "next   0        queued     -        -       - ");
}

/* ---- asking for a place ---- */

static const char *const model_config = "{\"id\":\"boss\",\"replicas\":1}";

static void test_load_dry(void **state)
{
    const char *sent;
    json_t *ask;

    answer("GET /api/models/boss/config", 200, model_config);
    answer("POST /api/v1/scheduler/schedule", 200,
           "{\"success\":true,\"outcome\":\"placed\",\"message\":\"fits on gpu1 once draft has "
           "gone\",\"model_id\":\"boss\","
           "\"gpu_devices\":[1],\"preempted_models\":[\"draft\",\"old\"]}");
    assert_int_equal(BERTH("load", "boss", "--dry-run", "--priority", "9", "--force"), 0);
    assert_string_equal(out, "boss: fits on gpu1 once draft has gone\n"
                             "would move aside: draft, old\n");
    sent = last_asked("POST /api/v1/scheduler/schedule ");
    assert_non_null(sent);
    ask = json_loads(sent, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(ask, "model_id")), "boss");
    assert_int_equal(json_integer_value(json_object_get(ask, "priority")), 9);
    assert_true(json_is_true(json_object_get(ask, "force")));
    assert_true(json_is_true(json_object_get(ask, "allow_preemption")));
    assert_true(json_is_true(json_object_get(ask, "dry_run")));
    json_decref(ask);
    assert_null(last_asked("POST /api/models/boss/start"));
    assert_int_equal(BERTH("load", "boss", "--dry-run", "--json"), 0);
    assert_has(out, "\"preempted_models\":[\"draft\",\"old\"]");
}

static void test_load_refused(void **state)
{
    json_t *ask;

    answer("GET /api/models/boss/config", 200, model_config);
    answer("POST /api/v1/scheduler/schedule", 200,
           "{\"success\":false,\"outcome\":\"queued\",\"message\":\"no room without moving "
           "draft\",\"model_id\":\"boss\","
           "\"gpu_devices\":[],\"preempted_models\":[]}");
    assert_int_equal(BERTH("load", "boss", "--dry-run"), 5);
    assert_string_equal(out, "boss: no room without moving draft\n");
    assert_int_equal(BERTH("load", "boss", "--no-preempt", "--no-wait"), 5);
    assert_string_equal(err, "boss: no room without moving draft\n");
    ask = json_loads(last_asked("POST /api/v1/scheduler/schedule "), 0, NULL);
    assert_true(json_is_false(json_object_get(ask, "allow_preemption")));
    assert_true(json_is_false(json_object_get(ask, "dry_run")));
    assert_null(json_object_get(ask, "priority"));
    json_decref(ask);
    answer("POST /api/v1/scheduler/schedule", 200,
           "{\"success\":false,\"outcome\":\"failed\",\"message\":\"never fits\"}");
    assert_int_equal(BERTH("load", "boss", "--force"), 1);
    assert_string_equal(err, "boss: never fits\n");
    assert_int_equal(BERTH("load", "boss", "--priority", "high"), 2);
    assert_has(err, "--priority: 'high' is no number");
    answer("POST /api/v1/scheduler/schedule", 400, "{\"detail\":\"boss is running\"}");
    assert_int_equal(BERTH("load", "boss", "--priority", "5"), 2);
    assert_has(err, "boss is running");
}

/* What waits for room tells why, once; what can never have it fails. */
static void test_load_waits(void **state)
{
    answer("GET /api/models/boss/config", 200, model_config);
    answer("POST /api/models/boss/start", 200, "{\"success\":true,\"message\":\"starting\"}");
    answer("GET /api/models/boss/instances", 200,
           "{\"instances\":[{\"model\":\"boss\",\"replica\":0,\"state\":\"waiting\"}]}");
    answer(
        "GET /api/v1/scheduler/why/boss", 200,
        "{\"sentence\":\"it loads\",\"instances\":[{\"state\":\"starting\"},{\"state\":\"waiting\","
        "\"reason\":\"no_room\",\"sentence\":\"needs 9.0 GB; gpu1 could give 6.0 GB\"}]}");
    assert_int_equal(BERTH("load", "boss", "--timeout", "1s"), 5);
    assert_string_equal(err, "boss waits for room: needs 9.0 GB; gpu1 could give 6.0 GB\n"
                             "berth: boss is not up yet; 'berth ps' tells how it goes\n");
    answer("POST /api/v1/scheduler/schedule", 200,
           "{\"outcome\":\"queued\",\"message\":\"needs 9.0 GB; gpu1 could give 6.0 GB\"}");
    assert_int_equal(BERTH("load", "boss", "--no-preempt", "--timeout", "1s"), 5);
    assert_string_equal(err, "boss: needs 9.0 GB; gpu1 could give 6.0 GB\n"
                             "berth: boss is not up yet; 'berth ps' tells how it goes\n");
    /* its place is reserved: that is told only when it takes long */
    answer("GET /api/v1/scheduler/why/boss", 200,
           "{\"instances\":[{\"state\":\"waiting\",\"reserved\":true,\"sentence\":\"soon\"}]}");
    assert_int_equal(BERTH("load", "boss", "--timeout", "4s"), 5);
    assert_has(err, "boss waits for room: soon\n");
    assert_int_equal(BERTH("load", "boss", "--timeout", "500ms"), 5);
    assert_lacks(err, "waits for room");
    answer("GET /api/v1/scheduler/why/boss", 200,
           "{\"instances\":[{\"state\":\"waiting\",\"reason\":\"never_fits\",\"sentence\":"
           "\"needs 90.0 GB; the devices have 24.0 GB\"}]}");
    assert_int_equal(BERTH("load", "boss"), 1);
    assert_has(err, "needs 90.0 GB; the devices have 24.0 GB; it stays in the queue until 'berth "
                    "stop boss'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_queue, forget_answers),
        cmocka_unit_test_setup(test_why, forget_answers),
        cmocka_unit_test_setup(test_history, forget_answers),
        cmocka_unit_test_setup(test_policy, forget_answers),
        cmocka_unit_test_setup(test_wrong_policy, forget_answers),
        cmocka_unit_test_setup(test_gpus, forget_answers),
        cmocka_unit_test_setup(test_ps, forget_answers),
        cmocka_unit_test_setup(test_load_dry, forget_answers),
        cmocka_unit_test_setup(test_load_refused, forget_answers),
        cmocka_unit_test_setup(test_load_waits, forget_answers),
    };

    return cmocka_run_group_tests(tests, open_daemon, close_daemon);
}
