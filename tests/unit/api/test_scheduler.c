// SPDX-License-Identifier: Apache-2.0
/* The scheduler door, field for field, over a placement that says what the test tells it to. */
#include <string.h>

#include "api/api_int.h"
#include "base/mem.h"
#include "fake_placement.h"
#include "fixture.h"

static struct fixture *begin(void)
{
    fake_reset();
    return fixture_create();
}

static const json_t *at(const json_t *json, const char *path)
{
    struct span rest = span_of(path);

    while (rest.n > 0) {
        char *name = span_dup(span_cut(&rest, '.'));
        const json_t *next = json_is_array(json) ? json_array_get(json, (size_t)atoi(name))
                                                 : json_object_get(json, name);

        if (!next) {
            fail_msg("there is no %s (in %s)", name, path);
        }
        free(name);
        json = next;
    }
    return json;
}

static void assert_number(const json_t *json, const char *path, double expected)
{
    const json_t *value = at(json, path);

    if (!json_is_number(value) || json_number_value(value) != expected) {
        fail_msg("%s is %s instead of %g", path, json_dumps(value, JSON_ENCODE_ANY), expected);
    }
}

static void assert_text(const json_t *json, const char *path, const char *expected)
{
    const json_t *value = at(json, path);

    if (!expected) {
        assert_true(json_is_null(value));
        return;
    }
    if (!json_is_string(value)) {
        fail_msg("%s is no text", path);
    }
    assert_string_equal(json_string_value(value), expected);
}

static void assert_flag(const json_t *json, const char *path, bool expected)
{
    assert_true(json_is_boolean(at(json, path)));
    assert_int_equal(json_is_true(at(json, path)), expected);
}

static void define(struct fixture *f, const char *id)
{
    char *text = definition(f, id);

    ask_expect(f, 201, "POST", "/api/models/", text);
    free(text);
}

static bool is_in_state(struct fixture *f, const char *id, const char *status)
{
    const struct model *model = models_find(f->models, span_of(id));
    const struct instance *inst = engines_of_model(f->engines, model->id);

    return str_eq(status_words(model->wanted, inst)->status, status);
}

static void wait_for(struct fixture *f, const char *id, const char *status)
{
    for (int i = 0; i < 1000 && !is_in_state(f, id, status); i++) {
        sim_run_for(f->world, 100);
    }
    if (!is_in_state(f, id, status)) {
        fail_msg("%s is never %s", id, status);
    }
}

static void start(struct fixture *f, const char *id, const char *status)
{
    char *path = xasprintf("/api/models/%s/start", id);

    define(f, id);
    ask_expect(f, 200, "POST", path, NULL);
    free(path);
    wait_for(f, id, status);
}

/* ---- looking ---- */

static void test_status(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "GET", "/api/v1/scheduler/status", NULL);

    assert_text(a.json, "scheduler.last_schedule_time", NULL);
    answer_finish(&a);
    fake.counts = (struct placement_counts){ .last_decision_wall_ms = 1735787045000,
                                             .decisions_today = 7,
                                             .placed_today = 6,
                                             .failed_today = 1,
                                             .preemptions_last_hour = 2,
                                             .preemptions_last_day = 3 };
    fake.rules.preemption_enabled = false;
    define(f, "idle");
    start(f, "up", "running");
    fake.places = false;
    start(f, "waits", "queued");
    a = ask(f, "GET", "/api/v1/scheduler/status", NULL);
    assert_int_equal(a.status, 200);
    assert_text(a.json, "scheduler.status", "running");
    assert_text(a.json, "scheduler.last_schedule_time", "2025-01-02T03:04:05.000Z");
    assert_flag(a.json, "scheduler.auto_scheduling_enabled", true);
    assert_flag(a.json, "scheduler.preemption_enabled", false);
    assert_number(a.json, "scheduler.total_schedules_today", 7);
    assert_number(a.json, "scheduler.successful_schedules", 6);
    assert_number(a.json, "scheduler.failed_schedules", 1);
    assert_number(a.json, "models.total", 3);
    assert_number(a.json, "models.running", 1);
    assert_number(a.json, "models.queued", 1);
    assert_number(a.json, "models.failed", 0);
    assert_true(json_is_string(at(a.json, "timestamp")));
    answer_finish(&a);
    fixture_destroy(f);
}

static int64_t id_of(struct fixture *f, const char *id)
{
    return models_find(f->models, span_of(id))->id;
}

static void test_queue(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    define(f, "idle");
    start(f, "up", "running");
    fake.places = false;
    start(f, "low", "queued");
    start(f, "high", "queued");
    start(f, "late", "queued");
    ask_expect(f, 200, "POST", "/api/v1/scheduler/models/high/prioritize", NULL);
    fake.waiting[0] = (struct placement_waiting){ .model_id = id_of(f, "high"),
                                                  .sentence = "needs more",
                                                  .waiting_ms = 1500,
                                                  .reserved = true,
                                                  .place = { .count = 1, .shares = { { 1, 5 } } },
                                                  .start_in_ms = 60000 };
    fake.waiting[1] = (struct placement_waiting){ .model_id = id_of(f, "late"),
                                                  .sentence = "has to wait",
                                                  .waiting_ms = 500 };
    fake.waiting[2] = (struct placement_waiting){ .model_id = id_of(f, "low"),
                                                  .sentence = "has to wait",
                                                  .waiting_ms = 900 };
    fake.waiting_count = 3;
    a = ask(f, "GET", "/api/v1/scheduler/queue", NULL);
    assert_number(a.json, "total_count", 3);
    assert_int_equal(json_array_size(at(a.json, "queue")), 3);
    assert_text(a.json, "queue.0.id", "high");
    assert_number(a.json, "queue.0.priority", 6);
    assert_number(a.json, "queue.0.queue_position", 1);
    assert_text(a.json, "queue.0.reason", "needs more");
    assert_number(a.json, "queue.0.waiting", 1.5);
    assert_flag(a.json, "queue.0.reserved", true);
    assert_number(a.json, "queue.0.gpu_devices.0", 1);
    assert_true(json_is_string(at(a.json, "queue.0.estimated_start_time")));
    assert_text(a.json, "queue.0.framework", "llama_cpp");
    assert_text(a.json, "queue.0.status", "queued");
    assert_text(a.json, "queue.1.id", "low"); /* it waits longer */
    assert_text(a.json, "queue.1.estimated_start_time", NULL);
    assert_int_equal(json_array_size(at(a.json, "queue.1.gpu_devices")), 0);
    assert_text(a.json, "queue.2.id", "late");
    assert_number(a.json, "queue.2.queue_position", 3);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_moved_aside(void **state)
{
    struct fixture *f = begin();
    const struct instance *inst;
    struct answer a;

    start(f, "up", "running");
    inst = engines_of_model(f->engines, id_of(f, "up"));
    fake.places = false;
    engines_displace(f->engines, inst->uuid, 0, "for another");
    wait_for(f, "up", "preempted");
    a = ask(f, "GET", "/api/v1/scheduler/queue", NULL);
    assert_text(a.json, "queue.0.status", "preempted");
    answer_finish(&a);
    a = ask(f, "GET", "/api/v1/scheduler/status", NULL);
    assert_number(a.json, "models.queued", 1);
    answer_finish(&a);
    a = ask(f, "GET", "/api/models/up/instances", NULL);
    assert_flag(a.json, "instances.0.displaced", true);
    assert_text(a.json, "instances.0.state", "waiting");
    assert_text(a.json, "instances.0.place", NULL);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_failed_model(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    f->engine_broken = true;
    start(f, "bad", "error");
    a = ask(f, "GET", "/api/v1/scheduler/status", NULL);
    assert_number(a.json, "models.failed", 1);
    assert_number(a.json, "models.queued", 0);
    answer_finish(&a);
    a = ask(f, "GET", "/api/v1/scheduler/queue", NULL);
    assert_text(a.json, "queue.0.status", "error");
    assert_true(json_is_string(at(a.json, "queue.0.reason")));
    answer_finish(&a);
    a = ask(f, "GET", "/api/v1/scheduler/health", NULL);
    assert_int_equal(a.status, 200);
    assert_text(a.json, "status", "degraded");
    assert_text(a.json, "components.model_manager.status", "degraded");
    assert_text(a.json, "components.model_manager.message", "1 of 1 models have failed");
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/v1/scheduler/models/bad/cancel", NULL); /* not tried again */
    wait_for(f, "bad", "stopped");
    fixture_destroy(f);
}

static void test_history(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    define(f, "known");
    fake.entries[0] =
        (struct placement_entry){ .id = 12,
                                  .wall_ms = 1735787045000,
                                  .model_name = "known",
                                  .act = ACT_SCHEDULED,
                                  .success = true,
                                  .reason = "there is room",
                                  .place = { .count = 2,
                                             .shares = { { 0, 100 << 20 }, { 1, 50 << 20 } },
                                             .host_bytes = 7 << 20 },
                                  .duration_ms = 1500,
                                  .for_model = "" };
    fake.entries[1] = (struct placement_entry){ .id = 11,
                                                .wall_ms = 1735787044000,
                                                .model_name = "gone",
                                                .act = ACT_SWAPPED,
                                                .success = true,
                                                .reason = "known is waited for",
                                                .duration_ms = -1,
                                                .for_model = "known" };
    fake.entries[2] = (struct placement_entry){ .id = 10,
                                                .wall_ms = 1735787043000,
                                                .model_name = "known",
                                                .act = ACT_FAILED,
                                                .reason = "too large",
                                                .duration_ms = -1 };
    fake.entry_count = 3;
    a = ask(f, "GET", "/api/v1/scheduler/history", NULL);
    assert_int_equal(a.status, 200);
    assert_number(a.json, "total_count", 3);
    assert_number(a.json, "filters.limit", 50);
    assert_number(a.json, "filters.hours", 24);
    assert_text(a.json, "filters.model_id", NULL);
    assert_text(a.json, "history.0.id", "12");
    assert_text(a.json, "history.0.model_id", "known");
    assert_text(a.json, "history.0.model_name", "A model");
    assert_text(a.json, "history.0.action", "scheduled");
    assert_text(a.json, "history.0.timestamp", "2025-01-02T03:04:05.000Z");
    assert_number(a.json, "history.0.gpu_devices.1", 1);
    assert_text(a.json, "history.0.result", "success");
    assert_text(a.json, "history.0.reason", "there is room");
    assert_number(a.json, "history.0.duration", 1.5);
    assert_flag(a.json, "history.0.ended", true);
    assert_number(a.json, "history.0.resource_usage.gpu_memory", 150);
    assert_number(a.json, "history.0.resource_usage.system_memory", 7);
    assert_number(a.json, "history.0.resource_usage.cpu_cores", 0);
    assert_text(a.json, "history.0.made_room_for", NULL);
    assert_text(a.json, "history.1.model_name", "gone"); /* nobody knows it any more */
    assert_text(a.json, "history.1.action", "preempted");
    assert_text(a.json, "history.1.decision", "swapped");
    assert_text(a.json, "history.1.made_room_for", "known");
    assert_number(a.json, "history.1.duration", 0);
    assert_flag(a.json, "history.1.ended", false);
    assert_text(a.json, "history.2.action", "failed");
    assert_text(a.json, "history.2.result", "failed");
    assert_flag(a.json, "history.2.ended", true);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_history_filters(void **state)
{
    static const char *const bad[] = { "limit=0", "limit=1001", "limit=x",
                                       "hours=0", "hours=-1",   "hours=1.5" };
    struct fixture *f = begin();
    struct answer a =
        ask(f, "GET", "/api/v1/scheduler/history?limit=2&hours=3&model_id=a%20b", NULL);

    assert_int_equal(a.status, 200);
    assert_int_equal(fake.filter.limit, 2);
    assert_string_equal(fake.filter_model, "a b");
    assert_int_equal(fake.filter.since_wall_ms, world_wall_ms(f->world) - 3 * 3600 * 1000);
    assert_text(a.json, "filters.model_id", "a b");
    assert_number(a.json, "filters.hours", 3);
    answer_finish(&a);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        char *path = xasprintf("/api/v1/scheduler/history?%s", bad[i]);

        ask_expect(f, 422, "GET", path, NULL);
        free(path);
    }
    fake.result = -EIO;
    ask_expect(f, 503, "GET", "/api/v1/scheduler/history", NULL);
    fixture_destroy(f);
}

static void test_resources(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    start(f, "up", "running");
    a = ask(f, "GET", "/api/v1/scheduler/resources", NULL);
    assert_int_equal(a.status, 200);
    assert_number(a.json, "gpu_allocation.0.gpu_id", 0);
    assert_text(a.json, "gpu_allocation.0.gpu_name", "Card A");
    assert_number(a.json, "gpu_allocation.0.memory_total", 1000);
    assert_number(a.json, "gpu_allocation.0.memory_used", 300);
    assert_number(a.json, "gpu_allocation.0.memory_free", 700);
    assert_number(a.json, "gpu_allocation.0.utilization", 79.9);
    assert_number(a.json, "gpu_allocation.0.temperature", 50);
    assert_number(a.json, "gpu_allocation.0.power_usage", 120.5);
    assert_text(a.json, "gpu_allocation.0.allocation_status", "allocated");
    assert_text(a.json, "gpu_allocation.0.allocated_models.0.model_id", "up");
    assert_text(a.json, "gpu_allocation.0.allocated_models.0.model_name", "A model");
    assert_number(a.json, "gpu_allocation.0.allocated_models.0.priority", 5);
    assert_text(a.json, "gpu_allocation.0.allocated_models.0.memory_usage", NULL);
    assert_number(a.json, "gpu_allocation.0.allocated_models.0.memory_reserved", 100);
    assert_true(json_is_string(at(a.json, "gpu_allocation.0.allocated_models.0.start_time")));
    assert_number(a.json, "gpu_allocation.0.placement.placeable", 800);
    assert_number(a.json, "gpu_allocation.0.placement.free", 700);
    assert_text(a.json, "gpu_allocation.1.allocation_status", "free");
    assert_int_equal(json_array_size(at(a.json, "gpu_allocation.1.allocated_models")), 0);
    assert_null(json_object_get(at(a.json, "gpu_allocation.1"), "placement"));
    assert_number(a.json, "summary.total_gpus", 2);
    assert_number(a.json, "summary.allocated_gpus", 1);
    assert_number(a.json, "summary.free_gpus", 1);
    assert_number(a.json, "summary.total_models", 1);
    assert_number(a.json, "summary.total_memory_used", 300);
    assert_number(a.json, "summary.total_memory_available", 3000);
    answer_finish(&a);
    a = ask(f, "GET", "/api/models/up", NULL); /* where it lies, not what its definition says */
    assert_number(a.json, "gpu_devices.0", 0);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_health(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "GET", "/api/v1/scheduler/health", NULL);

    assert_int_equal(a.status, 200);
    assert_text(a.json, "status", "healthy");
    assert_text(a.json, "components.scheduler_core.status", "healthy");
    assert_text(a.json, "components.resource_monitor.message", "2 of 2 devices answer");
    assert_text(a.json, "components.model_manager.status", "healthy");
    answer_finish(&a);
    api_set_phase(f->api, API_DRAINING);
    a = ask(f, "GET", "/api/v1/scheduler/health", NULL);
    assert_text(a.json, "status", "degraded");
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_why(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    define(f, "one");
    a = ask(f, "GET", "/api/v1/scheduler/why/one", NULL);
    assert_int_equal(a.status, 200);
    assert_text(a.json, "model_id", "one");
    assert_text(a.json, "status", "stopped");
    assert_text(a.json, "sentence", "because");
    answer_finish(&a);
    ask_expect(f, 404, "GET", "/api/v1/scheduler/why/two", NULL);
    fixture_destroy(f);
}

/* ---- the policy ---- */

static void test_policy(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "GET", "/api/v1/scheduler/policy", NULL);

    assert_int_equal(a.status, 200);
    assert_int_equal(json_object_size(a.json), 8);
    assert_text(a.json, "scheduling_algorithm", "priority_based");
    assert_flag(a.json, "preemption_enabled", true);
    assert_flag(a.json, "auto_recovery_enabled", true);
    assert_number(a.json, "resource_threshold", 0.8);
    assert_number(a.json, "priority_levels", 10);
    assert_number(a.json, "max_queue_size", 50);
    assert_number(a.json, "scheduling_interval", 30);
    assert_number(a.json, "health_check_interval", 60);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_set_policy(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "PUT", "/api/v1/scheduler/policy",
                          "{\"scheduling_algorithm\":\"spread\",\"preemption_enabled\":false,"
                          "\"auto_recovery_enabled\":false,\"resource_threshold\":1,"
                          "\"priority_levels\":20,\"max_queue_size\":3,\"scheduling_interval\":10,"
                          "\"health_check_interval\":5,\"unheard_of\":1}");

    assert_int_equal(a.status, 200);
    assert_flag(a.json, "success", true);
    assert_flag(a.json, "restart_required", false);
    assert_int_equal(json_object_size(a.json), 5);
    assert_true(json_is_string(at(a.json, "updated_at")));
    assert_true(json_is_string(at(a.json, "message")));
    assert_text(a.json, "policy.scheduling_algorithm", "spread");
    assert_int_equal(fake.rules.algorithm, POLICY_SPREAD);
    assert_false(fake.rules.preemption_enabled);
    assert_false(fake.rules.auto_recovery_enabled);
    assert_true(fake.rules.resource_threshold == 1.0);
    assert_int_equal(fake.rules.priority_levels, 20);
    assert_int_equal(fake.rules.max_queue_size, 3);
    assert_int_equal(fake.rules.scheduling_interval_s, 10);
    assert_int_equal(fake.rules.health_check_interval_s, 5);
    answer_finish(&a);
    ask_expect(f, 200, "PUT", "/api/v1/scheduler/policy", "{}"); /* all defaults */
    assert_int_equal(fake.rules.algorithm, POLICY_PRIORITY_BASED);
    assert_true(fake.rules.preemption_enabled && fake.rules.auto_recovery_enabled);
    assert_true(fake.rules.resource_threshold == 0.8);
    assert_int_equal(fake.rules.max_queue_size, 50);
    assert_int_equal(fake.rules.scheduling_interval_s, 30);
    fixture_destroy(f);
}

static void test_bad_policies(void **state)
{
    static const struct {
        const char *body;
        int status;
    } bad[] = {
        { "{\"resource_threshold\":0.05}", 400 },
        { "{\"priority_levels\":9999999999999}", 400 },
        { "{\"scheduling_algorithm\":\"magic\"}", 400 },
        { "{\"scheduling_algorithm\":1}", 422 },
        { "{\"preemption_enabled\":1}", 422 },
        { "{\"preemption_enabled\":null}", 422 },
        { "{\"resource_threshold\":\"0.5\"}", 422 },
        { "{\"max_queue_size\":1.5}", 422 },
        { "{\"max_queue_size\":true}", 422 },
        { "[]", 422 },
        { "{", 422 },
    };
    struct fixture *f = begin();
    struct answer a;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        ask_expect(f, bad[i].status, "PUT", "/api/v1/scheduler/policy", bad[i].body);
    }
    assert_true(fake.rules.resource_threshold == 0.8); /* none of them was set */
    a = ask(f, "PUT", "/api/v1/scheduler/policy", "{\"scheduling_algorithm\":\"magic\"}");
    assert_text(a.json, "detail",
                "there is no scheduling_algorithm 'magic'; there are priority_based, spread, "
                "first_come");
    answer_finish(&a);
    a = ask(f, "PUT", "/api/v1/scheduler/policy", "{\"max_queue_size\":\"x\"}");
    assert_text(a.json, "detail.0.loc.0", "body");
    assert_text(a.json, "detail.0.loc.1", "max_queue_size");
    assert_text(a.json, "detail.0.type", "int_type");
    answer_finish(&a);
    fake.result = -EROFS;
    strcpy(fake.error, "the store takes no more changes");
    ask_expect(f, 503, "PUT", "/api/v1/scheduler/policy", "{}");
    fixture_destroy(f);
}

/* ---- asking ---- */

static void test_schedule(void **state)
{
    static const char *const moved[] = { "one", "two", NULL };
    struct fixture *f = begin();
    struct answer a;

    define(f, "m");
    fake.answer = (struct placement_answer){ .outcome = PLACEMENT_PLACED,
                                             .reason = "there is room",
                                             .place = { .count = 1, .shares = { { 1, 5 } } },
                                             .moved = moved,
                                             .history_id = 12,
                                             .start_in_ms = 1000 };
    a = ask(f, "POST", "/api/v1/scheduler/schedule", "{\"model_id\":\"m\"}");
    assert_int_equal(a.status, 200);
    assert_flag(a.json, "success", true);
    assert_text(a.json, "message", "there is room");
    assert_text(a.json, "model_id", "m");
    assert_number(a.json, "gpu_devices.0", 1);
    assert_text(a.json, "preempted_models.0", "one");
    assert_text(a.json, "preempted_models.1", "two");
    assert_true(json_is_string(at(a.json, "schedule_time")));
    assert_text(a.json, "history_id", "12");
    assert_text(a.json, "outcome", "placed");
    assert_flag(a.json, "dry_run", false);
    assert_true(json_is_string(at(a.json, "estimated_start_time")));
    answer_finish(&a);
    assert_int_equal(fake.ask.model_id, id_of(f, "m"));
    assert_int_equal(fake.ask.priority, 0);
    assert_true(fake.ask.allow_preemption && !fake.ask.force && !fake.ask.dry_run);

    fake.answer = (struct placement_answer){ .outcome = PLACEMENT_QUEUED, .reason = "it waits" };
    a = ask(f, "POST", "/api/v1/scheduler/schedule",
            "{\"model_id\":\"m\",\"priority\":9,\"force\":true,\"allow_preemption\":false,"
            "\"dry_run\":true}");
    assert_flag(a.json, "success", false);
    assert_text(a.json, "outcome", "queued");
    assert_text(a.json, "history_id", NULL);
    assert_int_equal(json_array_size(at(a.json, "preempted_models")), 0);
    assert_int_equal(json_array_size(at(a.json, "gpu_devices")), 0);
    assert_text(a.json, "estimated_start_time", NULL);
    assert_flag(a.json, "dry_run", true);
    answer_finish(&a);
    assert_int_equal(fake.ask.priority, 9);
    assert_true(!fake.ask.allow_preemption && fake.ask.force && fake.ask.dry_run);
    ask_expect(f, 200, "POST", "/api/v1/scheduler/schedule",
               "{\"model_id\":\"m\",\"priority\":null}");
    assert_int_equal(fake.ask.priority, 0);
    fixture_destroy(f);
}

static void test_bad_schedules(void **state)
{
    static const struct {
        int result, status;
    } failures[] = {
        { -EALREADY, 400 }, { -EINVAL, 400 }, { -ENOENT, 404 }, { -EDQUOT, 429 }, { -EROFS, 503 }
    };
    static const char *const bad[] = {
        "{}",
        "{\"model_id\":1}",
        "{\"model_id\":\"m\",\"priority\":0}",
        "{\"model_id\":\"m\",\"priority\":11}",
        "{\"model_id\":\"m\",\"priority\":\"5\"}",
        "{\"model_id\":\"m\",\"force\":\"yes\"}",
        "{\"model_id\":\"m\",\"allow_preemption\":0}",
        "[1]",
        "nothing",
    };
    struct fixture *f = begin();

    define(f, "m");
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        ask_expect(f, 422, "POST", "/api/v1/scheduler/schedule", bad[i]);
    }
    ask_expect(f, 404, "POST", "/api/v1/scheduler/schedule", "{\"model_id\":\"n\"}");
    assert_int_equal(fake.asked, 0);
    strcpy(fake.error, "a sentence");
    for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
        struct answer a;

        fake.result = failures[i].result;
        a = ask(f, "POST", "/api/v1/scheduler/schedule", "{\"model_id\":\"m\"}");
        assert_int_equal(a.status, failures[i].status);
        assert_text(a.json, "detail", "a sentence");
        answer_finish(&a);
    }
    fake.result = -EDQUOT; /* the doors that start models ask as well */
    ask_expect(f, 429, "POST", "/api/models/m/start", NULL);
    assert_true(is_in_state(f, "m", "stopped"));
    fixture_destroy(f);
}

static void on_applied(void *arg, int result, int64_t id, const struct error *e)
{
    *(bool *)arg = result == 0;
}

/* A priority of the config file is not changed behind its back. */
static void test_schedule_of_the_config_file(void **state)
{
    struct fixture *f = begin();
    struct validation v = validation_init();
    char *text = definition(f, "m");
    json_t *json = json_loads(text, 0, NULL);
    struct model_config *config;
    bool applied = false;

    json_object_set_new(json, "priority", json_integer(5));
    config = model_config_parse(json, &v);
    assert_non_null(config);
    validation_finish(&v);
    models_apply_config(f->models, &config, 1, on_applied, &applied);
    sim_run_for(f->world, 1000);
    assert_true(applied);
    ask_expect(f, 409, "POST", "/api/v1/scheduler/schedule", "{\"model_id\":\"m\",\"priority\":7}");
    assert_int_equal(fake.asked, 0);
    ask_expect(f, 200, "POST", "/api/v1/scheduler/schedule", "{\"model_id\":\"m\",\"priority\":5}");
    ask_expect(f, 200, "POST", "/api/v1/scheduler/schedule",
               "{\"model_id\":\"m\",\"priority\":7,\"dry_run\":true}");
    json_decref(json);
    free(text);
    fixture_destroy(f);
}

static void test_prioritize(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    define(f, "m");
    a = ask(f, "POST", "/api/v1/scheduler/models/m/prioritize", NULL);
    assert_int_equal(a.status, 200);
    assert_flag(a.json, "success", true);
    assert_text(a.json, "model_id", "m");
    assert_number(a.json, "old_priority", 5);
    assert_number(a.json, "new_priority", 6);
    assert_true(json_is_string(at(a.json, "updated_at")));
    answer_finish(&a);
    assert_int_equal(models_find(f->models, SPAN("m"))->config->priority, 6);
    for (int i = 0; i < 4; i++) {
        ask_expect(f, 200, "POST", "/api/v1/scheduler/models/m/prioritize", NULL);
    }
    a = ask(f, "POST", "/api/v1/scheduler/models/m/prioritize", NULL);
    assert_int_equal(a.status, 200);
    assert_int_equal(json_object_size(a.json), 3);
    assert_flag(a.json, "success", false);
    assert_number(a.json, "current_priority", 10);
    answer_finish(&a);
    ask_expect(f, 404, "POST", "/api/v1/scheduler/models/n/prioritize", NULL);

    define(f, "bounded");
    fake.rules.priority_levels = 6;
    ask_expect(f, 200, "POST", "/api/v1/scheduler/models/bounded/prioritize", NULL);
    a = ask(f, "POST", "/api/v1/scheduler/models/bounded/prioritize", NULL);
    assert_number(a.json, "current_priority", 6);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_cancel(void **state)
{
    struct fixture *f = begin();
    struct answer a;

    ask_expect(f, 404, "POST", "/api/v1/scheduler/models/none/cancel", NULL);
    define(f, "idle");
    ask_expect(f, 400, "POST", "/api/v1/scheduler/models/idle/cancel", NULL);
    start(f, "up", "running");
    ask_expect(f, 400, "POST", "/api/v1/scheduler/models/up/cancel", NULL);
    assert_true(is_in_state(f, "up", "running"));
    fake.places = false;
    start(f, "waits", "queued");
    a = ask(f, "POST", "/api/v1/scheduler/models/waits/cancel", NULL);
    assert_int_equal(a.status, 200);
    assert_flag(a.json, "success", true);
    assert_text(a.json, "model_id", "waits");
    assert_true(json_is_string(at(a.json, "cancelled_at")));
    answer_finish(&a);
    wait_for(f, "waits", "stopped");
    assert_false(models_find(f->models, SPAN("waits"))->wanted);
    fixture_destroy(f);
}

static void test_restart(void **state)
{
    struct fixture *f = begin();
    struct answer a = ask(f, "POST", "/api/v1/scheduler/restart", NULL);

    assert_int_equal(a.status, 200);
    assert_flag(a.json, "success", true);
    assert_true(json_is_string(at(a.json, "message")));
    assert_true(json_is_string(at(a.json, "restart_requested_at")));
    assert_true(json_is_string(at(a.json, "note")));
    assert_int_equal(fake.reconfigured, 1);
    answer_finish(&a);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_queue),
        cmocka_unit_test(test_moved_aside),
        cmocka_unit_test(test_failed_model),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_history_filters),
        cmocka_unit_test(test_resources),
        cmocka_unit_test(test_health),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_policy),
        cmocka_unit_test(test_set_policy),
        cmocka_unit_test(test_bad_policies),
        cmocka_unit_test(test_schedule),
        cmocka_unit_test(test_bad_schedules),
        cmocka_unit_test(test_schedule_of_the_config_file),
        cmocka_unit_test(test_prioritize),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_restart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
