// SPDX-License-Identifier: Apache-2.0
/*
 * Is this a file of ours? It may come from anybody: what it says is checked member by member, and a
 * sentence about it begins with the member's path.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "evaluations/evaluations_int.h"

enum {
    TASKS_MAX = EVALUATIONS_MAX,
    TEXT_MAX = 2000,
    TIME_MAX = 40,
    PLANS_MAX = EVALUATION_TOP_MAX + EVALUATION_REFUSED_MAX,
};

static int bad(struct error *reterr, const char *path, const char *member, const char *what)
{
    return error_set(reterr, -EINVAL, "%s.%s: %s", path, member, what);
}

static int check_text(const json_t *object, const char *path, const char *member, size_t max,
                      struct error *reterr)
{
    const json_t *value = json_object_get(object, member);

    if (value && !json_is_null(value) && !json_is_string(value)) {
        return bad(reterr, path, member, "must be a string");
    }
    return json_string_length(value) > max ? bad(reterr, path, member, "is too long") : 0;
}

static int check_time(const json_t *object, const char *path, const char *member,
                      struct error *reterr)
{
    const char *text = json_string_value(json_object_get(object, member));
    int r = check_text(object, path, member, TIME_MAX, reterr);

    if (r >= 0 && text && strspn(text, "0123456789-+:.TZ") != strlen(text)) {
        return bad(reterr, path, member, "must be a time, as 2026-01-02T03:04:05Z");
    }
    return r;
}

static int check_objects(const json_t *object, const char *path, const char *const *members,
                         struct error *reterr)
{
    for (; *members; members++) {
        const json_t *value = json_object_get(object, *members);

        if (value && !json_is_null(value) && !json_is_object(value)) {
            return bad(reterr, path, *members, "must be an object");
        }
    }
    return 0;
}

static int check_plans(const json_t *task, const char *path, const char *member, bool feasible,
                       struct error *reterr)
{
    static const char *const objects[] = { "parallelism", NULL };
    const json_t *plans = json_object_get(task, member), *plan;
    size_t i;

    if (plans && !json_is_array(plans)) {
        return bad(reterr, path, member, "must be an array");
    }
    if (json_array_size(plans) > PLANS_MAX) {
        return bad(reterr, path, member, "has too many plans");
    }
    json_array_foreach(plans, i, plan)
    {
        _cleanup_(freep) char *at = xasprintf("%s.%s[%zu]", path, member, i);
        int r;

        if (!json_is_object(plan) ||
            json_is_true(json_object_get(plan, "is_feasible")) != feasible) {
            return bad(reterr, at, "is_feasible", feasible ? "must be true" : "must be false");
        }
        r = check_text(plan, at, "infeasible_reason", TEXT_MAX, reterr);
        r = r < 0 ? r : check_objects(plan, at, objects, reterr);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int check_task(const json_t *task, const char *path, struct error *reterr)
{
    static const char *const objects[] = { "manual_parallelism", "search_constraints",
                                           "search_stats", NULL };
    static const char *const texts[] = { "message", "error", "search_mode" };
    static const char *const times[] = { "created_at", "started_at", "completed_at" };
    const json_t *status = json_object_get(task, "status");
    const json_t *progress = json_object_get(task, "progress");
    int r = 0;

    if (!json_is_string(status) || task_state_from_string(json_string_value(status)) < 0) {
        return bad(reterr, path, "status", "must be a task's status");
    }
    if (progress && !(json_is_number(progress) && json_number_value(progress) >= 0 &&
                      json_number_value(progress) <= 100)) {
        return bad(reterr, path, "progress", "must be 0 to 100");
    }
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(texts); i++) {
        r = check_text(task, path, texts[i], TEXT_MAX, reterr);
    }
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(times); i++) {
        r = check_time(task, path, times[i], reterr);
    }
    r = r < 0 ? r : check_objects(task, path, objects, reterr);
    r = r < 0 ? r : check_plans(task, path, "top_k_plans", true, reterr);
    return r < 0 ? r : check_plans(task, path, "infeasible_plans", false, reterr);
}

static int check_tasks(const json_t *x, const char *path, size_t *count, struct error *reterr)
{
    const json_t *tasks = json_object_get(x, "tasks"), *task;
    size_t i;

    if (tasks && !json_is_array(tasks)) {
        return bad(reterr, path, "tasks", "must be an array");
    }
    *count += json_array_size(tasks);
    if (*count > TASKS_MAX) {
        return bad(reterr, path, "tasks", "are too many");
    }
    json_array_foreach(tasks, i, task)
    {
        _cleanup_(freep) char *at = xasprintf("%s.tasks[%zu]", path, i);
        int r = check_task(task, at, reterr);

        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int check_config(const json_t *x, const char *path, const char *member, struct error *reterr)
{
    const json_t *value = json_object_get(x, member);

    if (value && !json_is_null(value) && !json_is_object(value) && !json_is_string(value)) {
        return bad(reterr, path, member, "must be an object");
    }
    return 0;
}

static int check_experiment(const json_t *x, const char *path, size_t *count, struct error *reterr)
{
    static const char *const configs[] = { "model_config", "hardware_config", "inference_config" };
    const json_t *name = json_object_get(x, "name");
    int r;

    if (!json_is_string(name)) {
        return bad(reterr, path, "name", "must be a string");
    }
    r = experiment_check_name(json_string_value(name), json_string_length(name), reterr);
    if (r < 0) {
        return error_prefix(reterr, "%s.name: ", path);
    }
    r = check_text(x, path, "description", DESCRIPTION_MAX, reterr);
    for (size_t i = 0; r >= 0 && i < ARRAY_SIZE(configs); i++) {
        r = check_config(x, path, configs[i], reterr);
    }
    return r < 0 ? r : check_tasks(x, path, count, reterr);
}

int import_check_file(const json_t *file, size_t *ret_tasks, struct error *reterr)
{
    const json_t *list = json_object_get(file, "experiments"), *x;
    const json_t *version = json_object_get(file, "version");
    json_t *names;
    size_t i;
    int r = 0;

    if (!json_is_string(version) || !str_starts(json_string_value(version), "1.")) {
        return error_set(reterr, -EINVAL, "version: must be \"1.0\"");
    }
    if (!json_is_array(list) || json_array_size(list) > EXPERIMENTS_EXPORT_MAX) {
        return error_set(reterr, -EINVAL, "experiments: must be an array of at most %d",
                         EXPERIMENTS_EXPORT_MAX);
    }
    names = json_object();
    json_array_foreach(list, i, x)
    {
        char path[40];
        const char *name = json_string_value(json_object_get(x, "name"));

        snprintf(path, sizeof(path), "experiments[%zu]", i);
        r = r < 0 ? r : check_experiment(x, path, ret_tasks, reterr);
        if (r >= 0 && json_object_get(names, name)) {
            r = bad(reterr, path, "name", "stands twice");
        }
        if (r >= 0) {
            json_object_set_new(names, name, json_true());
        }
    }
    json_decref(names);
    return r;
}
