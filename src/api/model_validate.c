// SPDX-License-Identifier: Apache-2.0
/*
 * POST /api/models/validate: what is wrong with a definition, and what it would need of memory. The
 * rule: the estimate is made of what can be read, also while the rest of the definition is still
 * being written; nothing is changed.
 */
#include <stdlib.h>

#include "api/api_int.h"
#include "base/mem.h"

/* ["body", "health_check", "interval"] as "health_check.interval"; owned by the caller. */
static char *join_place(const json_t *loc)
{
    struct buf b = BUF_INIT(4096);

    for (size_t i = 1; i < json_array_size(loc); i++) {
        const json_t *step = json_array_get(loc, i);

        if (json_is_integer(step)) {
            buf_printf(&b, "[%lld]", (long long)json_integer_value(step));
        } else {
            buf_printf(&b, "%s%s", i > 1 ? "." : "", json_string_value(step));
        }
    }
    if (b.len == 0) {
        buf_puts(&b, "body");
    }
    return buf_take(&b, NULL);
}

static json_t *verdict_json(const struct validation *v)
{
    json_t *errors = json_deep_copy(v->errors), *item;
    size_t i;

    json_array_foreach(v->schema_errors, i, item)
    {
        _cleanup_(freep) char *where = join_place(json_object_get(item, "loc"));
        _cleanup_(freep) char *text =
            xasprintf("%s: %s", where, json_string_value(json_object_get(item, "msg")));

        json_array_append_new(errors, json_string(text));
    }
    return json_pack("{s:b, s:o, s:O, s:n, s:n}", "is_valid", validation_ok(v), "errors", errors,
                     "warnings", v->warnings, "estimate", "estimate_reason");
}

/* ---- what it would need ---- */

/* A definition whose file is being read. */
struct inquiry {
    struct wait *w;
    json_t *answer;
    struct model_config *config;
};

static void answer(struct inquiry *q)
{
    if (q->w->x && q->w->api) {
        http_respond_json(q->w->x, 200, json_incref(q->answer));
    }
    wait_free(q->w);
    json_decref(q->answer);
    model_config_free(q->config);
    free(q);
}

static bool is_allowed(const struct model_config *c, int device)
{
    for (size_t i = 0; i < c->gpu_device_count; i++) {
        if (c->gpu_devices[i] == device) {
            return true;
        }
    }
    return c->gpu_device_count == 0;
}

/* On how many devices each of n parts has room: now, and if all others left. */
struct room {
    unsigned now, ever;
};

static struct room find_room(struct api *api, const struct model_config *c,
                             const struct memory_need *need, unsigned n)
{
    const struct gpu_device *d;
    struct placement_room room;
    struct room ret = { 0 };
    size_t cursor = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        const uint64_t bytes = memory_need_on(need, n, d->memory_total_bytes);

        if (is_allowed(c, d->index) && placement_room(api->in.placement, d->index, &room)) {
            ret.now += room.free_bytes >= bytes;
            ret.ever += room.placeable_bytes >= bytes;
        }
    }
    return ret;
}

/* How many devices it may be spread over, of those that there are. */
static unsigned most_devices(const struct api *api, const struct model_config *c,
                             const struct memory_need *need)
{
    const struct gpu_device *d;
    unsigned count = 0;
    size_t cursor = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        count += is_allowed(c, d->index);
    }
    return MAX_OF(MIN_OF(need->max_devices, count), 1u);
}

static const char *fits(struct api *api, const struct model_config *c,
                        const struct memory_need *need)
{
    const unsigned most = most_devices(api, c, need);
    const char *word = "never";

    for (unsigned n = MAX_OF(need->min_devices, 1u); n <= most; n++) {
        const struct room room = find_room(api, c, need, n);

        if (room.now >= n) {
            return "now";
        }
        word = room.ever >= n ? "when_room_is_made" : word;
    }
    return word;
}

static uint64_t largest_device(const struct api *api)
{
    const struct gpu_device *d;
    uint64_t bytes = 0;
    size_t cursor = 0;

    while ((d = gpu_next(api->in.gpu, &cursor))) {
        bytes = MAX_OF(bytes, d->memory_total_bytes);
    }
    return bytes;
}

/* What each of so many devices would hold. */
static json_t *shares_json(const struct api *api, const struct model_config *c,
                           const struct memory_need *need)
{
    const unsigned most = MAX_OF(most_devices(api, c, need), need->min_devices);
    const uint64_t total = largest_device(api);
    json_t *list = json_array();

    for (unsigned n = MAX_OF(need->min_devices, 1u); n <= most; n++) {
        json_array_append_new(list, json_pack("{s:i, s:I}", "devices", (int)n, "bytes_each",
                                              (json_int_t)memory_need_on(need, n, total)));
    }
    return list;
}

static const char *const sentences[NEED_SOURCE_MAX_] = {
    [NEED_UNKNOWN] = "nothing is known of what it needs",
    [NEED_DECLARED] = "as the definition declares it",
    [NEED_ESTIMATED] = "estimated from the model's file and the engine's parameters",
    [NEED_MEASURED] = "as it was measured when it ran, or estimated, whichever is more",
};

static json_t *estimate_json(struct api *api, const struct model_config *c,
                             const struct memory_need *need)
{
    const unsigned n = MAX_OF(need->min_devices, 1u);
    const uint64_t total = n * memory_need_on(need, n, largest_device(api)) + need->host_bytes;

    return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s}", "source",
                     need_source_name(need->source), "sentence", sentences[need->source],
                     "total_bytes", (json_int_t)total, "weight_bytes",
                     (json_int_t)need->weight_bytes, "kv_bytes", (json_int_t)need->kv_bytes,
                     "compute_bytes", (json_int_t)need->compute_bytes, "runtime_bytes",
                     (json_int_t)need->runtime_bytes, "host_bytes", (json_int_t)need->host_bytes,
                     "estimated_bytes", (json_int_t)need->estimated_bytes, "measured_bytes",
                     (json_int_t)need->measured_bytes, "shares", shares_json(api, c, need), "fits",
                     fits(api, c, need));
}

static void on_estimated(void *arg, int result, const struct memory_need *need,
                         const struct error *e)
{
    struct inquiry *q = arg;
    const bool known = need && need->source != NEED_UNKNOWN;

    if (q->w->api && known) {
        json_object_set_new(q->answer, "estimate", estimate_json(q->w->api, q->config, need));
    }
    if (result < 0 || !known) {
        json_object_set_new(q->answer, "estimate_reason",
                            json_text(e ? e->text : sentences[NEED_UNKNOWN]));
    }
    answer(q);
}

/* What is given of what decides memory, the rest as it might be; NULL: too little is. */
static struct model_config *guess_config(const json_t *json)
{
    static const char *const members[] = { "parameters", "additional_parameters", "gpu_devices",
                                           "resource_requirements" };
    const json_t *framework = json_object_get(json, "framework");
    const json_t *path = json_object_get(json, "model_path");
    struct validation v = validation_init();
    struct model_config *config;
    json_t *whole;

    if (!json_is_string(framework) || !json_is_string(path)) {
        validation_finish(&v);
        return NULL;
    }
    whole = json_pack("{s:s, s:s, s:O, s:O, s:i, s:{s:s}}", "id", "definition", "name",
                      "definition", "framework", framework, "model_path", path, "priority",
                      MODEL_PRIORITY_MIN, "resource_requirements", "gpu_memory", "auto");
    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        json_t *value = json_object_get(json, members[i]);

        if (value) {
            json_object_set(whole, members[i], value);
        }
    }
    config = model_config_parse(whole, &v);
    json_decref(whole);
    validation_finish(&v);
    return config;
}

/* ---- the door ---- */

void handle_validate_model(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct validation v;
    struct model_config *config;
    struct inquiry *q;
    json_t *json = read_body(x);

    if (!json) {
        return;
    }
    v = validation_init();
    config = model_config_parse(json, &v);
    if (config) {
        engines_validate(api->in.engines, config, &v);
        dispatch_check(config, &v);
    } else {
        config = guess_config(json);
    }
    json_decref(json);
    q = xcalloc(1, sizeof(*q));
    q->w = wait_create(api, x, "", 0);
    q->config = config;
    q->answer = verdict_json(&v);
    validation_finish(&v);
    if (config && *config->model_path) {
        engines_estimate(api->in.engines, config, on_estimated, q);
    } else {
        answer(q);
    }
}
