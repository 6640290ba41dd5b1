// SPDX-License-Identifier: Apache-2.0
/*
 * /openapi.json: an OpenAPI 3.1 document made of the route tables of all doors and the schemas of
 * schemas.c and planner_schemas.c. What a route's row does not say (the front's own refusals) is
 * added here, so that every status a client may see is documented.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "base/mem.h"

static json_t *schema_ref(const char *name)
{
    _cleanup_(freep) char *ref = xasprintf("#/components/schemas/%s", name);

    return json_pack("{s:s}", "$ref", ref);
}

static json_t *schema_parse(const struct schema *schema)
{
    _cleanup_(freep) char *text = xstrdup(schema->text);

    for (char *p = text; *p; p++) {
        if (*p == '\'') {
            *p = '"';
        }
    }
    return json_loads(text, 0, NULL);
}

static json_t *all_schemas(void)
{
    json_t *schemas = json_object();

    for (size_t i = 0; i < api_schema_count; i++) {
        json_object_set_new(schemas, api_schemas[i].name, schema_parse(&api_schemas[i]));
    }
    for (size_t i = 0; i < planner_schema_count; i++) {
        json_object_set_new(schemas, planner_schemas[i].name, schema_parse(&planner_schemas[i]));
    }
    return schemas;
}

/* A name without a schema of its own is some JSON object. */
static void need_schema(json_t *schemas, const char *name)
{
    if (!json_object_get(schemas, name)) {
        json_object_set_new(schemas, name, json_pack("{s:s}", "type", "object"));
    }
}

/* "EventList text/event-stream": of each word, one with a '/' is a media type, any other a schema
 * of JSON. */
static json_t *content_of(const char *names, json_t *schemas)
{
    json_t *content = json_object();
    struct span rest = span_of(names);

    while (rest.n > 0) {
        _cleanup_(freep) char *name = span_dup(span_cut(&rest, ' '));

        if (strchr(name, '/')) {
            json_object_set_new(content, name, json_pack("{s:{s:s}}", "schema", "type", "string"));
            continue;
        }
        need_schema(schemas, name);
        json_object_set_new(content, "application/json",
                            json_pack("{s:o}", "schema", schema_ref(name)));
    }
    return content;
}

static const char *const error_schemas[] = {
    [SHAPE_DETAIL] = "ErrorDetail",       [SHAPE_OPENAI] = "ErrorOpenAI",
    [SHAPE_ANTHROPIC] = "ErrorAnthropic", [SHAPE_OLLAMA] = "ErrorOllama",
    [SHAPE_ENVELOPE] = "ErrorEnvelope",
};

static json_t *response_json(int status, const char *schema, json_t *schemas)
{
    json_t *response = json_pack("{s:s}", "description", http_status_text(status));

    if (schema && status != 204 && status / 100 != 3) {
        json_object_set_new(response, "content", content_of(schema, schemas));
    }
    return response;
}

static void add_status(json_t *responses, int status, const struct route_table *table,
                       const struct route *route, json_t *schemas)
{
    const char *schema = status < 300 ? route->doc.response : error_schemas[table->shape];
    char key[8];

    if (route->raw && status > 403) { /* the front speaks as the table does */
        schema = "ErrorProxy";
    }
    if (status == 503 && route->scope == SCOPE_PUBLIC) {
        schema = route->doc.response; /* health and readiness say the same object in bad times */
    }
    snprintf(key, sizeof(key), "%d", status);
    if (!json_object_get(responses, key)) {
        json_object_set_new(responses, key, response_json(status, schema, schemas));
    }
}

static bool takes_body(const struct route *route)
{
    return str_eq(route->method, "POST") || str_eq(route->method, "PUT") ||
           str_eq(route->method, "PATCH");
}

static json_t *responses_json(const struct route_table *table, const struct route *route,
                              json_t *schemas)
{
    json_t *responses = json_object();
    struct span rest = span_of(route->doc.statuses ? route->doc.statuses : "200");

    while (rest.n > 0) {
        struct span word = span_cut(&rest, ' ');
        uint64_t status;

        if (span_eq(word, "default")) {
            json_object_set_new(responses, "default",
                                json_pack("{s:s}", "description", "What the engine answers"));
        } else if (span_to_u64(word, &status) == 0) {
            add_status(responses, (int)status, table, route, schemas);
        }
    }
    if (route->scope != SCOPE_PUBLIC) {
        add_status(responses, 401, table, route, schemas);
        add_status(responses, 403, table, route, schemas);
    }
    if (takes_body(route) && !route->raw) {
        add_status(responses, 400, table, route, schemas);
        add_status(responses, 413, table, route, schemas);
        add_status(responses, 415, table, route, schemas);
    }
    return responses;
}

static json_t *parameter_json(struct span name, const char *where, struct span type, bool required)
{
    return json_pack("{s:s%, s:s, s:b, s:{s:s%}}", "name", name.p, name.n, "in", where, "required",
                     required, "schema", "type", type.p, type.n);
}

/* "limit:integer kind:string" */
static void add_query_parameters(json_t *parameters, const char *query)
{
    struct span rest = span_of(query ? query : "");

    while (rest.n > 0) {
        struct span word = span_cut(&rest, ' ');
        struct span name = span_cut(&word, ':');

        json_array_append_new(parameters,
                              parameter_json(name, "query", word.p ? word : SPAN("string"), false));
    }
}

/* The path as OpenAPI writes it ("{rest*}" becomes "{rest}"), owned by the caller; its parameters
 * are added. */
static char *openapi_path(const char *path, json_t *parameters)
{
    struct buf b = BUF_INIT(1024);

    for (const char *p = path; *p; p++) {
        if (*p == '{') {
            const struct span name = { p + 1, strcspn(p + 1, "*}") };

            json_t *parameter = parameter_json(name, "path", SPAN("string"), true);

            if (p[1 + name.n] == '*') {
                json_object_set_new(parameter, "x-rest", json_true()); /* it may hold slashes */
            }
            json_array_append_new(parameters, parameter);
        }
        if (*p != '*') {
            buf_putc(&b, *p);
        }
    }
    return buf_take(&b, NULL);
}

/* "get_api_models_id_start" */
static char *operation_id(const char *method, const struct route *route)
{
    struct buf b = BUF_INIT(1024);
    bool gap = true;

    buf_puts(&b, method);
    for (const char *p = route->path; *p; p++) {
        const bool word = (*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9');

        if (word) {
            buf_puts(&b, gap ? "_" : "");
            buf_putc(&b, *p);
        }
        gap = !word;
    }
    if (str_ends(route->path, "/")) { /* "/api/models/" and "/api/models" are two */
        buf_puts(&b, "_root");
    }
    return buf_take(&b, NULL);
}

/* method: in lower case */
static void add_operation(json_t *paths, const char *method, const struct route_table *table,
                          const struct route *route, json_t *schemas)
{
    json_t *parameters = json_array(), *operation, *item;
    _cleanup_(freep) char *path = openapi_path(route->path, parameters);
    _cleanup_(freep) char *id = operation_id(method, route);

    add_query_parameters(parameters, route->doc.query);
    operation = json_pack("{s:[s], s:s, s:s, s:o, s:o}", "tags", table->door, "summary",
                          route->summary, "operationId", id, "parameters", parameters, "responses",
                          responses_json(table, route, schemas));
    if (route->doc.request) {
        json_object_set_new(operation, "requestBody",
                            json_pack("{s:b, s:o}", "required", 1, "content",
                                      content_of(route->doc.request, schemas)));
    }
    if (route->scope == SCOPE_PUBLIC) {
        json_object_set_new(operation, "security", json_array());
    }
    item = json_object_get(paths, path);
    if (!item) {
        item = json_object();
        json_object_set_new(paths, path, item);
    }
    json_object_set_new(item, method, operation);
}

static void add_route(json_t *paths, const struct route_table *table, const struct route *route,
                      json_t *schemas)
{
    static const char *const all[] = { "get", "post", "put", "patch", "delete" };
    char method[16];
    size_t n = 0;

    if (str_eq(route->method, "*")) {
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
            add_operation(paths, all[i], table, route, schemas);
        }
        return;
    }
    for (; route->method[n] && n < sizeof(method) - 1; n++) {
        method[n] = (char)(route->method[n] | 0x20);
    }
    method[n] = '\0';
    add_operation(paths, method, table, route, schemas);
}

json_t *openapi_document(const struct router *router, const char *version)
{
    json_t *paths = json_object(), *schemas = all_schemas();
    const struct route_table *table;
    const struct route *route;
    size_t cursor = 0;

    while ((route = router_next(router, &cursor, &table))) {
        add_route(paths, table, route, schemas);
    }
    return json_pack(
        "{s:s, s:{s:s, s:s, s:s, s:{s:s, s:s}}, s:o, s:{s:o, s:{s:{s:s, s:s}, s:{s:s, s:s, s:s}}}, "
        "s:[{}, {s:[]}, {s:[]}]}",
        "openapi", "3.1.0", "info", "title", "berth", "version", version, "description",
        "LLM inference service: models, engines, requests.", "license", "name", "Apache-2.0",
        "identifier", "Apache-2.0", "paths", paths, "components", "schemas", schemas,
        "securitySchemes", "key", "type", "http", "scheme", "bearer", "header", "type", "apiKey",
        "in", "header", "name", "x-api-key", "security", "key", "header");
}
