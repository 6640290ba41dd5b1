// SPDX-License-Identifier: Apache-2.0
/*
 * The objects that people keep for the planner: benchmarks, topologies, chips and models. Four
 * doors of one shape: a list under the kind's name, one object as it was given, and {success, id}
 * for every change.
 */
#include <stdlib.h>
#include <string.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"

/* ---- listing ---- */

/* Each list stands under a name of its own. */
struct list_visit {
    struct planner_visit *visit;
    const char *name;
};

static void on_list(void *arg, int result, json_t *answer, const char *field, const struct error *e)
{
    struct list_visit *lv = arg;
    json_t *whole = result < 0 ? NULL : json_pack("{s:O}", lv->name, answer);

    planner_answered(lv->visit, result, whole, field, e);
    json_decref(whole);
    free(lv);
}

static void list(struct api *api, struct http_exchange *x, enum document_kind kind,
                 const char *name)
{
    struct evaluations *v = planner_evaluations(api, x);
    static const struct paging_kind wanted = {
        .sorts = "id name",
        .texts = "id name description",
        .filters = "",
    };
    struct list_visit *lv;
    struct paging paging;

    if (v && paging_read(x, &wanted, &paging)) {
        lv = xcalloc(1, sizeof(*lv));
        *lv = (struct list_visit){ planner_visit_create(x), name };
        lv->visit->list = paging.asked ? name : NULL; /* else as it always was */
        lv->visit->paging = paging;
        documents_list(v, kind, on_list, lv);
    }
}

/* ---- one ---- */

static void get(struct api *api, struct http_exchange *x, const struct route_params *params,
                enum document_kind kind)
{
    struct evaluations *v = planner_evaluations(api, x);
    _cleanup_(freep) char *id = planner_path_id(params);

    if (v) {
        documents_get(v, kind, id, planner_answered, planner_visit_create(x));
    }
}

static void drop(struct api *api, struct http_exchange *x, const struct route_params *params,
                 enum document_kind kind)
{
    struct evaluations *v = planner_evaluations(api, x);
    _cleanup_(freep) char *id = planner_path_id(params);

    if (v) {
        documents_delete(v, kind, id, planner_answered, planner_visit_create(x));
    }
}

/* A benchmark has its id; the others may go by their name. */
static const char *id_of(const json_t *body, enum document_kind kind)
{
    const json_t *id = json_object_get(body, "id");
    const json_t *name = json_object_get(body, "name");

    id = id || kind == DOCUMENT_BENCHMARK ? id : name;
    return json_is_string(id) && strlen(json_string_value(id)) == json_string_length(id)
               ? json_string_value(id)
               : NULL;
}

static void create(struct api *api, struct http_exchange *x, enum document_kind kind)
{
    struct evaluations *v = planner_evaluations(api, x);
    json_t *body = v ? planner_body(x) : NULL;
    const char *id = body ? id_of(body, kind) : NULL;

    if (id) {
        documents_put(v, kind, id, body, true, planner_answered, planner_visit_create(x));
    } else if (body) {
        planner_refuse_part(x, "body", "id", "it must be a text");
    }
    json_decref(body);
}

static void replace(struct api *api, struct http_exchange *x, const struct route_params *params,
                    enum document_kind kind)
{
    struct evaluations *v = planner_evaluations(api, x);
    _cleanup_(freep) char *id = planner_path_id(params);
    json_t *body = v ? planner_body(x) : NULL;
    const json_t *told = json_object_get(body, "id");

    if (body && told && !str_eq_opt(json_string_value(told), id)) {
        respond_detail(x, 400, "id: the body is of another than '%.80s'", id);
    } else if (body) {
        documents_put(v, kind, id, body, false, planner_answered, planner_visit_create(x));
    }
    json_decref(body);
}

/* ---- the doors ---- */

/* Five handlers a kind, since a route knows its path and nothing else. */
#define DOORS(kind_word, KIND, list_name)                                                          \
    static void handle_list_##kind_word(void *api, struct http_exchange *x,                        \
                                        const struct route_params *params)                         \
    {                                                                                              \
        list(api, x, KIND, list_name);                                                             \
    }                                                                                              \
    static void handle_get_##kind_word(void *api, struct http_exchange *x,                         \
                                       const struct route_params *params)                          \
    {                                                                                              \
        get(api, x, params, KIND);                                                                 \
    }                                                                                              \
    static void handle_create_##kind_word(void *api, struct http_exchange *x,                      \
                                          const struct route_params *params)                       \
    {                                                                                              \
        create(api, x, KIND);                                                                      \
    }                                                                                              \
    static void handle_replace_##kind_word(void *api, struct http_exchange *x,                     \
                                           const struct route_params *params)                      \
    {                                                                                              \
        replace(api, x, params, KIND);                                                             \
    }                                                                                              \
    static void handle_drop_##kind_word(void *api, struct http_exchange *x,                        \
                                        const struct route_params *params)                         \
    {                                                                                              \
        drop(api, x, params, KIND);                                                                \
    }
DOORS(benchmark, DOCUMENT_BENCHMARK, "benchmarks")
DOORS(topology, DOCUMENT_TOPOLOGY, "topologies")
DOORS(chip, DOCUMENT_CHIP, "chip_presets")
DOORS(model, DOCUMENT_MODEL, "model_presets")

// clang-format off
#define ROUTES(path, word, what, request, response)                                                                             \
    { "GET", path, SCOPE_ADMIN, handle_list_##word, "Lists the " what "s that are kept.",                                       \
      { NULL, response, "200 413 422 500 503", PAGING_QUERY } },                                                                            \
    { "POST", path, SCOPE_ADMIN, handle_create_##word, "Keeps a new " what ".",                                                 \
      { request, "DocumentDone", "200 400 409 413 422 500 503", NULL } },                                                       \
    { "GET", path "/{id}", SCOPE_ADMIN, handle_get_##word, "A " what " as it was given.",                                       \
      { NULL, request, "200 400 404 500 503", NULL } },                                                                         \
    { "PUT", path "/{id}", SCOPE_ADMIN, handle_replace_##word, "Replaces a " what ".",                                          \
      { request, "DocumentDone", "200 400 404 413 422 500 503", NULL } },                                                       \
    { "DELETE", path "/{id}", SCOPE_ADMIN, handle_drop_##word, "Forgets a " what ".",                                           \
      { NULL, "DocumentDone", "200 400 404 500 503", NULL } }
const struct route documents_routes[] = {
    ROUTES("/api/benchmarks", benchmark, "benchmark", "Benchmark", "BenchmarkList"),
    ROUTES("/api/topologies", topology, "topology", "Topology", "TopologyList"),
    ROUTES("/api/chip-presets", chip, "chip", "ChipPreset", "ChipPresetList"),
    ROUTES("/api/model-presets", model, "model", "ModelPreset", "ModelPresetList"),
};
// clang-format on
const size_t documents_route_count = ARRAY_SIZE(documents_routes);
