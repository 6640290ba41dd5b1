// SPDX-License-Identifier: Apache-2.0
/*
 * Seed 001's doors of the planner's jobs: /api/evaluation. Each translates a path, a query and a
 * body onto the evaluations, and their answer goes out as it comes.
 */
#include <stdlib.h>
#include <string.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"

enum {
    LIST_DEFAULT = 50,
    LIST_MAX = 1000,
    MANY_MAX = 100, /* tasks, experiments in one order */
    RESULTS_MAX = 1000,
    COMPARE_MAX = 10,
    EXPORT_MAX = 100,
};

typedef void (*by_task_fn)(struct evaluations *v, const char *task_id, evaluations_done_fn done,
                           void *arg);
typedef void (*by_nothing_fn)(struct evaluations *v, evaluations_done_fn done, void *arg);
typedef void (*by_list_fn)(struct evaluations *v, const json_t *list, evaluations_done_fn done,
                           void *arg);

static void of_task(struct api *api, struct http_exchange *x, const struct route_params *params,
                    by_task_fn fn)
{
    struct evaluations *v = planner_evaluations(api, x);
    _cleanup_(freep) char *id = planner_path_id(params);

    if (v) {
        fn(v, id, planner_answered, planner_visit_create(x));
    }
}

static void of_all(struct api *api, struct http_exchange *x, by_nothing_fn fn)
{
    struct evaluations *v = planner_evaluations(api, x);

    if (v) {
        fn(v, planner_answered, planner_visit_create(x));
    }
}

static void of_list(struct api *api, struct http_exchange *x, const char *name, json_type type,
                    by_list_fn fn)
{
    struct evaluations *v = planner_evaluations(api, x);
    json_t *body = v ? planner_body(x) : NULL;
    const json_t *list = body ? planner_list(x, body, name, type, MANY_MAX) : NULL;

    if (list) {
        fn(v, list, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}

/* ---- jobs ---- */

static void handle_submit(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body = v ? planner_body(x) : NULL;

    if (body) {
        evaluations_submit(v, body, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}

static void handle_tasks(void *owner, struct http_exchange *x, const struct route_params *params)
{
    static const struct paging_kind kind = { .sorts = evaluations_sorts,
                                             .texts = "",
                                             .filters = "status experiment_name" };
    struct evaluations *v = planner_evaluations(owner, x);
    struct evaluation_filter filter;
    struct paging p;

    if (!v || !paging_read(x, &kind, &p)) {
        return;
    }
    filter = (struct evaluation_filter){ .status = p.filters[0],
                                         .experiment_name = p.filters[1],
                                         .text = p.q,
                                         .sort = p.sort,
                                         .ascending = p.sort && !p.descending,
                                         .limit = (unsigned)MIN_OF(p.limit, (uint64_t)LIST_MAX),
                                         .offset = (unsigned)p.offset };
    if (p.limit == UINT64_MAX) {
        filter.limit = LIST_DEFAULT;
    }
    if (filter.status && task_state_from_string(filter.status) < 0) {
        respond_detail(x, 400,
                       "status: there is no '%.40s'; pending, running, completed, failed and "
                       "cancelled are known",
                       filter.status);
    } else {
        evaluations_list(v, &filter, planner_answered, planner_visit_create(x));
    }
    paging_finish(&p);
}

static void handle_task(void *owner, struct http_exchange *x, const struct route_params *params)
{
    of_task(owner, x, params, evaluations_get);
}

static void handle_results(void *owner, struct http_exchange *x, const struct route_params *params)
{
    of_task(owner, x, params, evaluations_results);
}

static void handle_cancel_task(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    of_task(owner, x, params, evaluations_cancel);
}

static void handle_delete_task(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    of_task(owner, x, params, evaluations_delete);
}

static void handle_cancel_tasks(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    of_list(owner, x, "task_ids", JSON_STRING, evaluations_cancel_many);
}

static void handle_delete_tasks(void *owner, struct http_exchange *x,
                                const struct route_params *params)
{
    of_list(owner, x, "task_ids", JSON_STRING, evaluations_delete_many);
}

static void handle_running(void *owner, struct http_exchange *x, const struct route_params *params)
{
    of_all(owner, x, evaluations_running);
}

/* Safe inside a header. */
static char *file_name_of(const char *id, const char *ending)
{
    char *name = xasprintf("evaluation-%.64s.%s", id, ending);

    for (char *p = name; *p; p++) {
        *p = (*p & 0x80) || strchr("\"\\/ ;\r\n", *p) || *p < ' ' ? '_' : *p;
    }
    return name;
}

static void handle_export_task(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    _cleanup_(freep) char *id = planner_path_id(params);
    _cleanup_(freep) char *format = http_query_get(http_exchange_head(x)->query, "format");
    struct planner_visit *visit;

    if (!v) {
        return;
    }
    if (format && !str_eq(format, "json") && !str_eq(format, "csv")) {
        respond_detail(x, 400, "format: it is json or csv, not '%.40s'", format);
        return;
    }
    visit = planner_visit_create(x);
    visit->api = owner;
    visit->csv = format && str_eq(format, "csv");
    visit->file_name = file_name_of(id, visit->csv ? "csv" : "json");
    evaluations_export(v, id, visit->csv, planner_answered, visit);
}

/* ---- experiments ---- */

/* False: it is no number, and that is answered. */
static bool experiment_id(struct http_exchange *x, const struct route_params *params, int64_t *ret)
{
    if (span_to_i64(params->values[0], ret) == 0) {
        return true;
    }
    planner_refuse_part(x, "path", "experiment_id", "it must be a whole number");
    return false;
}

/* "1,2,3" of the query; -1: it is no such list, and that is answered. */
static int query_ids(struct http_exchange *x, const char *name, int64_t *ids, int max)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);
    _cleanup_(freep) char *message = NULL;
    struct span rest = span_of(text ? text : "");
    int n = 0;

    while (rest.p && (rest.n > 0 || n > 0)) {
        if (n == max || span_to_i64(span_trim(span_cut(&rest, ',')), &ids[n]) < 0) {
            message = xasprintf("it must be at most %d whole numbers with commas between", max);
            planner_refuse_part(x, "query", name, message);
            return -1;
        }
        n++;
    }
    return n;
}

static void handle_experiments(void *owner, struct http_exchange *x,
                               const struct route_params *params)
{
    static const struct paging_kind kind = {
        .sorts = "id name total_tasks completed_tasks created_at",
        .texts = "name description",
        .filters = "",
    };
    struct evaluations *v = planner_evaluations(owner, x);
    struct planner_visit *visit;
    struct paging paging;

    if (v && paging_read(x, &kind, &paging)) {
        visit = planner_visit_create(x);
        visit->list = "experiments";
        visit->paging = paging;
        experiments_list(v, planner_answered, visit);
    }
}

static void handle_experiment(void *owner, struct http_exchange *x,
                              const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    int64_t id;

    if (v && experiment_id(x, params, &id)) {
        experiments_get(v, id, planner_answered, planner_visit_create(x));
    }
}

static void handle_patch_experiment(void *owner, struct http_exchange *x,
                                    const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body;
    int64_t id;

    if (!v || !experiment_id(x, params, &id)) {
        return;
    }
    body = planner_body(x);
    if (body) {
        experiments_patch(v, id, body, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}

static void handle_delete_experiment(void *owner, struct http_exchange *x,
                                     const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    struct planner_visit *visit;
    json_t *ids;
    int64_t id;

    if (!v || !experiment_id(x, params, &id)) {
        return;
    }
    ids = json_pack("[I]", (json_int_t)id);
    visit = planner_visit_create(x);
    visit->deletes_one = true;
    experiments_delete_many(v, ids, planner_answered, visit);
    json_decref(ids);
}

static void handle_delete_experiments(void *owner, struct http_exchange *x,
                                      const struct route_params *params)
{
    of_list(owner, x, "experiment_ids", JSON_INTEGER, experiments_delete_many);
}

static void handle_delete_results(void *owner, struct http_exchange *x,
                                  const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    const json_t *list;
    json_t *body;
    int64_t id;

    if (!v || !experiment_id(x, params, &id)) {
        return;
    }
    body = planner_body(x);
    list = body ? planner_list(x, body, "result_ids", JSON_INTEGER, RESULTS_MAX) : NULL;
    if (list) {
        experiments_delete_results(v, id, list, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}

static void handle_compare(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    int64_t ids[COMPARE_MAX];
    int n = v ? query_ids(x, "ids", ids, COMPARE_MAX) : -1;

    if (n >= 0) {
        experiments_compare(v, ids, (size_t)n, planner_answered, planner_visit_create(x));
    }
}

static void handle_export(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    struct planner_visit *visit;
    int64_t ids[EXPORT_MAX];
    int n = v ? query_ids(x, "experiment_ids", ids, EXPORT_MAX) : -1;

    if (n >= 0) {
        visit = planner_visit_create(x);
        visit->api = owner;
        visit->file_name = xstrdup("experiments.json");
        experiments_export(v, ids, (size_t)n, planner_answered, visit);
    }
}

/* ---- settings ---- */

static void handle_get_config(void *owner, struct http_exchange *x,
                              const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);

    if (v) {
        http_respond_json(x, 200, evaluations_config(v));
    }
}

static void handle_put_config(void *owner, struct http_exchange *x,
                              const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body = v ? planner_body(x) : NULL;

    if (body) {
        evaluations_set_config(v, body, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}

#define JOBS        "/api/evaluation/tasks"
#define EXPERIMENTS "/api/evaluation/experiments"

// clang-format off
const struct route evaluation_routes[] = {
    { "POST", "/api/evaluation/submit", SCOPE_ADMIN, handle_submit,
      "Submits a planner job: one plan (manual) or the search of all of them (auto).",
      { "EvaluationRequest", "EvaluationSubmitted", "200 400 422 429 500 503", NULL } },
    { "GET", JOBS, SCOPE_ADMIN, handle_tasks, "Lists the planner's jobs, the newest first.",
      { NULL, "EvaluationTaskList", "200 400 422 500 503", "status:string experiment_name:string " PAGING_QUERY } },
    { "POST", JOBS "/batch-cancel", SCOPE_ADMIN, handle_cancel_tasks, "Cancels several jobs.",
      { "EvaluationTaskIds", "EvaluationMany", "200 422 500 503", NULL } },
    { "POST", JOBS "/batch-delete", SCOPE_ADMIN, handle_delete_tasks, "Deletes several jobs with their results; what runs is stopped.",
      { "EvaluationTaskIds", "EvaluationMany", "200 422 500 503", NULL } },
    { "GET", JOBS "/{id}", SCOPE_ADMIN, handle_task, "One job: how far it is, and its place in the queue.",
      { NULL, "EvaluationTask", "200 404 500 503", NULL } },
    { "GET", JOBS "/{id}/results", SCOPE_ADMIN, handle_results, "A job's plans, the best first, and those that were refused, with the reason.",
      { NULL, "EvaluationResults", "200 404 500 503", NULL } },
    { "GET", JOBS "/{id}/export", SCOPE_ADMIN, handle_export_task, "A job with its results as a file: json or csv.",
      { NULL, "Any text/csv", "200 400 404 500 503", "format:string" } },
    { "POST", JOBS "/{id}/cancel", SCOPE_ADMIN, handle_cancel_task, "Cancels a job that waits or runs.",
      { NULL, "EvaluationDone", "200 404 409 500 503", NULL } },
    { "DELETE", JOBS "/{id}", SCOPE_ADMIN, handle_delete_task, "Deletes a job and its results; if it runs, it is stopped first.",
      { NULL, "EvaluationDone", "200 404 409 500 503", NULL } },
    { "GET", "/api/evaluation/running", SCOPE_ADMIN, handle_running, "The jobs that run or wait now.",
      { NULL, "EvaluationTaskList", "200 500 503", NULL } },
    { "GET", "/api/evaluation/config", SCOPE_ADMIN, handle_get_config, "How many jobs may run at once, and how many do.",
      { NULL, "EvaluationConfig", "200 503", NULL } },
    { "PUT", "/api/evaluation/config", SCOPE_ADMIN, handle_put_config, "Sets how many jobs may run at once (1 to 32); kept over a restart.",
      { "EvaluationConfigEdit", "EvaluationConfig", "200 400 422 500 503", NULL } },
    { "GET", EXPERIMENTS, SCOPE_ADMIN, handle_experiments, "Lists the experiments, the newest first.",
      { NULL, "ExperimentList", "200 422 500 503", PAGING_QUERY } },
    { "GET", EXPERIMENTS "/compare", SCOPE_ADMIN, handle_compare, "Two to ten experiments side by side: the question, the best plan, the search.",
      { NULL, "Comparison", "200 400 404 422 500 503", "ids:string" } },
    { "GET", EXPERIMENTS "/export", SCOPE_ADMIN, handle_export, "Experiments with their jobs and results as one file; without ids, all.",
      { NULL, "ExperimentExport", "200 404 413 422 500 503", "experiment_ids:string" } },
    { "POST", EXPERIMENTS "/check-import", SCOPE_ADMIN, handle_check_import,
      "Looks into an exported file (multipart/form-data: file): which experiments it holds, and whose names stand already.",
      { NULL, "ExperimentImportCheck", "200 400 413 422 429 500 503", NULL }, true },
    { "POST", EXPERIMENTS "/execute-import", SCOPE_ADMIN, handle_execute_import, "Takes in what was looked into: skip, overwrite or rename, for each.",
      { "ExperimentImport", "EvaluationDone", "200 400 404 409 422 500 503", NULL } },
    { "POST", EXPERIMENTS "/batch-delete", SCOPE_ADMIN, handle_delete_experiments, "Deletes several experiments with their jobs and results.",
      { "ExperimentIds", "ExperimentsDeleted", "200 404 422 500 503", NULL } },
    { "GET", EXPERIMENTS "/{id}", SCOPE_ADMIN, handle_experiment, "One experiment with its jobs.",
      { NULL, "Experiment", "200 404 422 500 503", NULL } },
    { "PATCH", EXPERIMENTS "/{id}", SCOPE_ADMIN, handle_patch_experiment, "Changes an experiment's name or description.",
      { "ExperimentEdit", "ExperimentEdited", "200 400 404 409 422 500 503", NULL } },
    { "DELETE", EXPERIMENTS "/{id}", SCOPE_ADMIN, handle_delete_experiment, "Deletes an experiment with its jobs and results.",
      { NULL, "ExperimentsDeleted", "200 404 422 500 503", NULL } },
    { "POST", EXPERIMENTS "/{id}/results/batch-delete", SCOPE_ADMIN, handle_delete_results, "Deletes some results of an experiment.",
      { "ExperimentResultIds", "ExperimentsDeleted", "200 404 422 500 503", NULL } },
};
// clang-format on
const size_t evaluation_route_count = ARRAY_SIZE(evaluation_routes);
