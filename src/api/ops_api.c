// SPDX-License-Identifier: Apache-2.0
/* The operations door: is it alive, is it ready, what does it count, how is it set, what can be
 * called. */
#include <stdio.h>

#include "api/api_int.h"
#include "api/pages_int.h"
#include "base/mem.h"

enum { METRICS_MAX_BYTES = 16 * 1024 * 1024 };

static const char *const phase_names[] = {
    [API_STARTING] = "starting",
    [API_SERVING] = "ready",
    [API_DRAINING] = "draining",
};

static void handle_health(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const char *read_only = store_read_only_reason(api->in.store);
    const uint64_t uptime_ms = world_now_ms(api->in.world) - api->made_ms;
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:I}", "status",
                             read_only ? "degraded" : "healthy", "service", "berth", "name",
                             "berth", "version", api->in.version, "timestamp", json_now(api),
                             "database", read_only ? "read_only" : "ok", "redis", "disabled",
                             "uptime", (json_int_t)(uptime_ms / 1000));

    if (read_only) {
        json_object_set_new(json, "reason",
                            json_sprintf("the store takes no more changes: %s", read_only));
    }
    http_respond_json(x, read_only ? 503 : 200, json);
}

static json_t *model_counts(struct api *api)
{
    const struct model *model;
    int defined = 0, wanted = 0, ready = 0, failed = 0;
    size_t cursor = 0;

    while ((model = models_next(api->in.models, &cursor))) {
        const struct instance *inst = engines_of_model(api->in.engines, model->id);

        defined++;
        wanted += model->wanted;
        ready += inst && inst->state == INSTANCE_READY;
        failed += inst && inst->state == INSTANCE_FAILED;
    }
    return json_pack("{s:i, s:i, s:i, s:i}", "defined", defined, "wanted", wanted, "ready", ready,
                     "failed", failed);
}

static void handle_ready(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    json_t *reasons = json_array();

    if (api->phase == API_STARTING) {
        json_array_append_new(reasons, json_string("berth is still starting"));
    } else if (api->phase == API_DRAINING) {
        json_array_append_new(reasons, json_string("berth is going down"));
    }
    http_respond_json(x, api->phase == API_SERVING ? 200 : 503,
                      json_pack("{s:s, s:o, s:o}", "status", phase_names[api->phase], "reasons",
                                reasons, "models", model_counts(api)));
}

static void handle_metrics(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct buf b = BUF_INIT(METRICS_MAX_BYTES);

    if (metrics_write(api->in.metrics, &b) < 0) {
        respond_detail(x, 500, "the metrics are longer than %d bytes", METRICS_MAX_BYTES);
    } else {
        http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", buf_span(&b));
    }
    buf_finish(&b);
}

static void handle_openapi(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    http_respond_json(x, 200, openapi_document(api->in.router, api->in.version));
}

/* An option as a person looks at it: its value, where that came from, and what its row says. */
static json_t *option_json(const struct config *config, const char *name, json_t *value)
{
    const struct option_row *row = config_row(config, name);
    char range[OPTION_RANGE_SIZE];

    return json_pack("{s:O, s:s, s:s, s:s, s:s?, s:s?, s:b, s:b}", "value", value, "source",
                     config_source(config, name), "default", row->secret ? "" : row->def, "help",
                     row->help, "range", option_range(row, range) ? range : NULL, "words",
                     row->words, "reload", (int)row->reload, "secret", (int)row->secret);
}

/* {section: {key: value}} becomes {section: {key: {value, source, …}}}. */
static json_t *options_json(const struct config *config)
{
    json_t *sections = config_to_json(config), *section, *value;
    const char *section_name, *key;

    json_object_foreach(sections, section_name, section)
    {
        void *tmp;

        json_object_foreach_safe(section, tmp, key, value)
        {
            char name[128];

            snprintf(name, sizeof(name), "%s.%s", section_name, key);
            json_object_set_new(section, key, option_json(config, name, value));
        }
    }
    return sections;
}

static void handle_config(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const char *path = config_path(api->in.config);

    http_respond_json(x, 200,
                      json_pack("{s:o, s:o, s:o}", "path", json_text(path), "data_dir",
                                json_text(api->in.data_dir), "options",
                                options_json(api->in.config)));
}

static void handle_root(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;

    http_exchange_add_header(x, "Vary", "Accept");
    if (accepts(x, "text/html")) {
        dashboard_respond(x);
        return;
    }
    http_respond_json(x, 200,
                      json_pack("{s:s, s:s, s:s, s:i, s:s, s:{s:s, s:s, s:s}}", "name", "berth",
                                "version", api->in.version, "status", "running", "code", 0,
                                "message", "berth is running", "data", "name", "berth", "version",
                                api->in.version, "status", "running"));
}

// clang-format off
const struct route ops_routes[] = {
    { "GET", "/",             SCOPE_PUBLIC, handle_root,    "Says what this is; to browsers, the dashboard.",
      { NULL, "Root text/html", "200 304", NULL } },
    { "GET", "/assets/{file}", SCOPE_PUBLIC, handle_asset,  "The parts of the dashboard: scripts, styles.",
      { NULL, "text/javascript text/css", "200 304 404 406", NULL } },
    { "GET", "/favicon.svg",  SCOPE_PUBLIC, handle_favicon, "The dashboard's sign.",
      { NULL, "image/svg+xml", "200 304 404", NULL } },
    { "GET", "/health",       SCOPE_PUBLIC, handle_health,  "Is berth alive, and does its store take changes?",
      { NULL, "Health", "200 503", NULL } },
    { "GET", "/ready",        SCOPE_PUBLIC, handle_ready,   "Should requests be sent here?",
      { NULL, "Ready", "200 503", NULL } },
    { "GET", "/metrics",      SCOPE_ADMIN,  handle_metrics, "All counters, in the Prometheus text format.",
      { NULL, "text/plain", "200 500", NULL } },
    { "GET", "/openapi.json", SCOPE_PUBLIC, handle_openapi, "This description of every route.",
      { NULL, "Any", "200", NULL } },
    { "GET", "/docs",         SCOPE_PUBLIC, handle_docs,    "The same description as a page, where every route can be tried.",
      { NULL, "text/html", "200 304", NULL } },
    { "GET", "/docs/docs.js", SCOPE_PUBLIC, handle_docs_script, "The script of that page.",
      { NULL, "text/javascript", "200 304", NULL } },
    { "GET", "/docs/docs.css", SCOPE_PUBLIC, handle_docs_style, "The looks of that page.",
      { NULL, "text/css", "200 304", NULL } },
    { "GET", "/api/config",   SCOPE_ADMIN,  handle_config,  "Every option with its value and where that came from; secrets are masked.",
      { NULL, "Config", "200", NULL } },
};
// clang-format on
const size_t ops_route_count = ARRAY_SIZE(ops_routes);
