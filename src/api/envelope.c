// SPDX-License-Identifier: Apache-2.0
/*
 * The envelope of the task doors. The rule: exactly one body an answer, `data` only where there is
 * some, and the same sentence whatever the client's language.
 */
#include <stdarg.h>

#include "api/front.h"
#include "api/task_doors_int.h"
#include "base/mem.h"
#include "codec/json.h"

void envelope_respond(struct http_exchange *x, const char *message, json_t *data)
{
    json_t *json = json_pack("{s:i, s:s}", "code", 0, "message", message);

    if (data) {
        json_object_set_new(json, "data", data);
    }
    http_respond_json(x, 200, json);
}

/* {"code":0,"message":…,"data":… and the tail, or the sentence that it is too long. */
static void respond_text(struct http_exchange *x, const char *message, const struct buf *data,
                         const char *tail)
{
    struct buf out = BUF_INIT(TASK_ANSWER_MAX + 4096);

    buf_printf(&out, "{\"code\":0,\"message\":\"%s\",\"data\":", message);
    buf_append(&out, buf_data(data), data->len);
    buf_puts(&out, tail);
    if (data->overflow || out.overflow) {
        envelope_refuse(x, 500, "the answer is longer than %d MiB; ask for fewer at a time",
                        TASK_ANSWER_MAX >> MIB_SHIFT);
    } else {
        http_respond(x, 200, "application/json", buf_span(&out));
    }
    buf_finish(&out);
}

void envelope_respond_text(struct http_exchange *x, const char *message, const struct buf *data)
{
    respond_text(x, message, data, "}");
}

void envelope_respond_page(struct http_exchange *x, const struct buf *data, uint64_t total,
                           unsigned page, unsigned size)
{
    char tail[96];

    snprintf(tail, sizeof(tail), ",\"total\":%llu,\"page\":%u,\"size\":%u}",
             (unsigned long long)total, page, size);
    respond_text(x, "success", data, tail);
}

static void refuse(struct http_exchange *x, int status, const char *prefix, const char *fmt,
                   va_list ap)
{
    _cleanup_(freep) char *text = xvasprintf(fmt, ap);
    _cleanup_(freep) char *whole = xasprintf("%s%s", prefix, text);
    struct buf body = BUF_INIT(16384);

    error_body(SHAPE_ENVELOPE, status, "", NULL, whole, &body);
    http_respond(x, status, "application/json", buf_span(&body));
    buf_finish(&body);
}

void envelope_refuse(struct http_exchange *x, int status, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    refuse(x, status, "", fmt, ap);
    va_end(ap);
}

void envelope_invalid(struct http_exchange *x, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    refuse(x, 400, "invalid request: ", fmt, ap);
    va_end(ap);
}

void envelope_fail(struct http_exchange *x, const struct error *e)
{
    if (e->code == -EBUSY) {
        envelope_refuse(x, 400, "%s", e->text);
    } else {
        respond_error(x, SHAPE_ENVELOPE, e);
    }
}

bool envelope_id(struct http_exchange *x, struct span text, int64_t *ret)
{
    if (span_to_i64(text, ret) == 0 && *ret > 0) {
        return true;
    }
    envelope_invalid(x, "an id is a whole number from 1, not '%.*s'", (int)MIN_OF(text.n, 60),
                     text.p);
    return false;
}

bool envelope_query_number(struct http_exchange *x, const char *name, uint64_t fallback,
                           uint64_t max, uint64_t *ret)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);

    *ret = fallback;
    if (!text || !*text || (span_to_u64(span_of(text), ret) == 0 && *ret >= 1 && *ret <= max)) {
        return true;
    }
    envelope_invalid(x, "%s must be a whole number from 1 to %llu, not '%.60s'", name,
                     (unsigned long long)max, text);
    return false;
}

bool envelope_body(struct http_exchange *x, json_t **ret)
{
    struct error e = { 0 };
    json_t *json;

    if (json_read(http_exchange_body(x), FRONT_MANAGEMENT_BODY_MAX, &json, &e) < 0) {
        envelope_invalid(x, "%s", e.text);
        return false;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        envelope_invalid(x, "the body must be a JSON object");
        return false;
    }
    *ret = json;
    return true;
}

bool envelope_member_int(struct http_exchange *x, const json_t *body, const char *name, int64_t min,
                         int64_t max, int64_t *ret)
{
    const json_t *value = json_object_get(body, name);
    const int64_t n = json_integer_value(value);

    if (!value || json_is_null(value)) {
        return true;
    }
    if (!json_is_integer(value) || n < min || n > max) {
        envelope_invalid(x, "%s must be a whole number from %lld to %lld", name, (long long)min,
                         (long long)max);
        return false;
    }
    *ret = n;
    return true;
}

bool envelope_member_text(struct http_exchange *x, const json_t *body, const char *name,
                          const char **ret)
{
    const json_t *value = json_object_get(body, name);

    *ret = json_string_value(value);
    if (!value || json_is_null(value) ||
        (*ret && **ret && strlen(*ret) == json_string_length(value))) {
        return true;
    }
    envelope_invalid(x, "%s must be a text that is not empty", name);
    return false;
}
