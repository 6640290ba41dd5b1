// SPDX-License-Identifier: Apache-2.0
/* /v1/models: the catalogue as clients of OpenAI and of Anthropic read it. Each object has the
 * members of both, since both ask on the same path. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "gateway/gateway_int.h"

/* One in the list: its id and name, of which each byte may be written as six, and the rest. */
enum { MODEL_BYTES_MAX = 3 * 6 * MODEL_ID_MAX + 512 };

static int64_t unix_seconds(const char *iso)
{
    struct tm tm = { 0 };

    return iso && strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm) ? (int64_t)timegm(&tm) : 0;
}

/* Written, not built as a tree: there may be ten thousand. */
static void put_model(struct gateway *g, const struct model *m, struct buf *out)
{
    const struct instance *in = engines_of_model(g->in.engines, m->id);
    const char *created = m->config->created_at ? m->config->created_at : "1970-01-01T00:00:00Z";

    buf_puts(out, "{\"id\":\"");
    buf_put_json_escaped(out, m->config->id, strlen(m->config->id));
    buf_printf(out,
               "\",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"berth\",\"status\":\"%s\",",
               (long long)unix_seconds(created), in ? instance_state_name(in->state) : "stopped");
    buf_puts(out, "\"type\":\"model\",\"display_name\":\"");
    buf_put_json_escaped(out, m->config->id, strlen(m->config->id));
    buf_printf(out, "\",\"created_at\":\"%s\"}", created);
}

static void put_id(struct buf *out, const char *key, const struct model *m)
{
    buf_printf(out, ",\"%s\":", key);
    if (!m) {
        buf_puts(out, "null");
        return;
    }
    buf_putc(out, '"');
    buf_put_json_escaped(out, m->config->id, strlen(m->config->id));
    buf_putc(out, '"');
}

void models_list(void *gateway, struct http_exchange *x, const struct route_params *params)
{
    struct gateway *g = gateway;
    struct buf body = BUF_INIT((size_t)(MODELS_MAX + 1) * MODEL_BYTES_MAX);
    const struct model *m, *first = NULL, *last = NULL;
    size_t cursor = 0;

    buf_puts(&body, "{\"object\":\"list\",\"data\":[");
    while ((m = models_next(g->in.models, &cursor))) {
        buf_puts(&body, first ? "," : "");
        put_model(g, m, &body);
        first = first ? first : m;
        last = m;
    }
    buf_puts(&body, "],\"has_more\":false");
    put_id(&body, "first_id", first);
    put_id(&body, "last_id", last);
    buf_puts(&body, "}");
    http_respond(x, 200, "application/json", buf_span(&body));
    buf_finish(&body);
}

void models_one(void *gateway, struct http_exchange *x, const struct route_params *params)
{
    struct gateway *g = gateway;
    _cleanup_(freep) char *id = http_decode(params->values[0], false);
    const struct model *m = id ? models_find(g->in.models, span_of(id)) : NULL;
    struct buf body = BUF_INIT(MODEL_BYTES_MAX);

    if (!m) {
        answer_error(x, SHAPE_OPENAI, -ENOENT, "model_not_found", "there is no such model");
        return;
    }
    put_model(g, m, &body);
    http_respond(x, 200, "application/json", buf_span(&body));
    buf_finish(&body);
}
