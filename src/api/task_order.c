// SPDX-License-Identifier: Apache-2.0
/* The order of a task: its members, their kinds and ranges, and the sentence when one is wrong. */
#include "api/task_order.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/task_doors_int.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "codec/scan.h"

enum { RETRIES_MAX = 1000 };
#define SECONDS_MAX (10 * 365 * 86400.0)

enum member {
    M_MODEL_ID,
    M_MODEL,
    M_TYPE,
    M_INPUT,
    M_PRIORITY,
    M_DELAY,
    M_RUN_AT,
    M_RETRIES,
    M_TIMEOUT,
    M_WEBHOOK,
    M_OPTIONS,
    M_MAX_
};

static const struct scan_member members[M_MAX_] = {
    [M_MODEL_ID] = { "model_id" }, [M_MODEL] = { "model" },         [M_TYPE] = { "type" },
    [M_INPUT] = { "input" },       [M_PRIORITY] = { "priority" },   [M_DELAY] = { "delay" },
    [M_RUN_AT] = { "run_at" },     [M_RETRIES] = { "max_retries" }, [M_TIMEOUT] = { "timeout" },
    [M_WEBHOOK] = { "webhook" },   [M_OPTIONS] = { "options" },
};

static bool is_given(const struct scan_member *m)
{
    return m->type != SCAN_ABSENT && m->type != SCAN_NULL;
}

/* ---- times ---- */

static int seconds_to_ms(double seconds, uint64_t *ret)
{
    if (!(seconds >= 0) || seconds > SECONDS_MAX) {
        return -EINVAL;
    }
    *ret = (uint64_t)(seconds * 1000);
    return 0;
}

/* A number of seconds, or a duration such as "5m". */
static int read_duration(const struct scan_member *m, uint64_t *ret, struct error *e)
{
    _cleanup_(freep) char *text = NULL;
    int r = -EINVAL;

    if (m->type == SCAN_NUMBER) {
        text = span_dup(m->value);
        r = seconds_to_ms(strtod(text, NULL), ret);
    } else if (m->type == SCAN_STRING && scan_string(m, &text, e) == 0) {
        r = str_to_duration_ms(text, ret);
        r = r == 0 && *ret > SECONDS_MAX * 1000 ? -EINVAL : r;
    }
    return r < 0 ? error_set(e, -EINVAL,
                             "%s must be a number of seconds or a duration such as \"5m\", up to "
                             "ten years",
                             m->name)
                 : 0;
}

static int read_run_at(struct api *api, const struct scan_member *m, int64_t *ret, struct error *e)
{
    _cleanup_(freep) char *text = NULL;

    if (m->type != SCAN_STRING || scan_string(m, &text, e) < 0 || timefmt_parse(text, ret) < 0) {
        return error_set(e, -EINVAL, "run_at must be a time such as \"2026-01-02T03:04:05Z\"");
    }
    if (*ret - world_wall_ms(api->in.world) > (int64_t)(SECONDS_MAX * 1000)) {
        return error_set(e, -EINVAL, "run_at must be within ten years");
    }
    return 0;
}

/* ---- the parts ---- */

/* By its number, or by a name that requests may use. */
static int read_model(struct api *api, const struct scan_member *found, struct task_order *o,
                      struct error *e)
{
    const struct scan_member *by_id = &found[M_MODEL_ID], *by_name = &found[M_MODEL];
    const struct scan_member *name = by_id->type == SCAN_STRING ? by_id : by_name;
    _cleanup_(freep) char *text = NULL;
    const struct model *model = NULL;
    int64_t id = 0;
    int r = 0;

    if (by_id->type == SCAN_NUMBER) {
        r = scan_int(by_id, &id, e);
        model = r == 0 ? models_get(api->in.models, id) : NULL;
    } else if (name->type == SCAN_STRING) {
        r = scan_string(name, &text, e);
        model = r == 0 ? models_find(api->in.models, span_of(text)) : NULL;
    } else {
        return error_set(e, -EINVAL, "model_id is required: the model's number");
    }
    if (r == 0 && !model) {
        return text ? error_set(e, -ENOENT, "there is no model '%.255s'", text)
                    : error_set(e, -ENOENT, "there is no model %lld", (long long)id);
    }
    o->model_id = model ? model->id : 0;
    return r;
}

static int read_type(struct api *api, const struct scan_member *m, struct task_order *o,
                     struct error *e)
{
    const struct task_type *type = NULL;
    _cleanup_(freep) char *text = NULL, *known = NULL;
    int r = m->type == SCAN_STRING ? scan_string(m, &text, e) : -EINVAL;

    if (r == 0) {
        type = task_types_find(api->in.task_types, span_of(text));
    }
    if (type) {
        o->type = type->name;
        return 0;
    }
    known = known_task_types(api);
    return text ? error_set(e, -EINVAL, "there is no type '%.63s'; there are %s", text, known)
                : error_set(e, -EINVAL, "type is required: one of %s", known);
}

/* A text; or an object or list, which is taken as it is written. */
static int read_input(const struct scan_member *m, struct order_reading *r, struct error *e)
{
    int err = 0;

    if (m->type == SCAN_STRING) {
        err = scan_string(m, &r->input, e);
        r->order.input = span_of(r->input);
    } else if (m->type == SCAN_OBJECT || m->type == SCAN_ARRAY) {
        r->order.input = m->value;
    }
    if (err == 0 && r->order.input.n == 0) {
        err = error_set(e, -EINVAL, "input is required: a text that is not empty, or an object");
    }
    r->input_json = m->value;
    return err;
}

/* A whole number within a range; absent: *ret stays as it is. */
static int read_number(const struct scan_member *m, int64_t min, int64_t max, int64_t *ret,
                       struct error *e)
{
    int64_t n = 0;

    if (!is_given(m)) {
        return 0;
    }
    if (scan_int(m, &n, e) < 0 || n < min || n > max) {
        return error_set(e, -EINVAL, "%s must be a whole number from %lld to %lld", m->name,
                         (long long)min, (long long)max);
    }
    *ret = n;
    return 0;
}

static int read_delay(struct api *api, const struct scan_member *found, struct task_order *o,
                      struct error *e)
{
    const bool delay = is_given(&found[M_DELAY]), run_at = is_given(&found[M_RUN_AT]);

    if (delay && run_at) {
        return error_set(e, -EINVAL, "either delay or run_at, not both");
    }
    return delay    ? read_duration(&found[M_DELAY], &o->delay_ms, e)
           : run_at ? read_run_at(api, &found[M_RUN_AT], &o->run_at_ms, e)
                    : 0;
}

static int read_options(const struct scan_member *m, struct task_order *o, struct error *e)
{
    if (!is_given(m)) {
        return 0;
    }
    if (m->type != SCAN_OBJECT) {
        return error_set(e, -EINVAL, "options must be an object");
    }
    o->options = m->value;
    return 0;
}

static int read_webhook(struct api *api, const struct scan_member *m, struct order_reading *r,
                        struct error *e)
{
    if (!is_given(m)) {
        return 0;
    }
    if (m->type != SCAN_STRING || scan_string(m, &r->webhook, e) < 0) {
        return error_set(e, -EINVAL, "webhook must be a URL");
    }
    r->order.webhook = r->webhook;
    return webhook_check(api->in.config, r->webhook, e);
}

static int read_key(struct http_exchange *x, struct task_order *o, struct error *e)
{
    const struct span key = http_header_get(http_exchange_head(x), "Idempotency-Key");

    if (key.p && (key.n == 0 || key.n > TASK_KEY_MAX)) {
        return error_set(e, -EINVAL, "an Idempotency-Key has 1 to %d bytes", TASK_KEY_MAX);
    }
    o->idempotency_key = key;
    return 0;
}

/* ---- the whole ---- */

static int read_numbers(const struct scan_member *found, struct task_order *o, struct error *e)
{
    int64_t priority = TASK_MEDIUM, retries = -1;
    int r = read_number(&found[M_PRIORITY], TASK_LOW, TASK_HIGH, &priority, e);

    r = r < 0 ? r : read_number(&found[M_RETRIES], 0, RETRIES_MAX, &retries, e);
    o->priority = (unsigned)priority;
    o->max_retries = (int)retries;
    if (r == 0 && is_given(&found[M_TIMEOUT])) {
        r = read_duration(&found[M_TIMEOUT], &o->timeout_ms, e);
        if (r == 0 && o->timeout_ms == 0) {
            r = error_set(e, -EINVAL, "timeout must be more than 0");
        }
    }
    return r;
}

static int read_all(struct api *api, struct http_exchange *x, struct order_reading *ret,
                    struct error *e)
{
    struct scan_member found[M_MAX_];
    struct task_order *o = &ret->order;
    int r;

    memcpy(found, members, sizeof(found));
    r = scan_object(http_exchange_body(x), found, M_MAX_, e);
    r = r < 0 ? r : read_input(&found[M_INPUT], ret, e);
    r = r < 0 ? r : read_type(api, &found[M_TYPE], o, e);
    r = r < 0 ? r : read_numbers(found, o, e);
    r = r < 0 ? r : read_delay(api, found, o, e);
    r = r < 0 ? r : read_options(&found[M_OPTIONS], o, e);
    r = r < 0 ? r : read_key(x, o, e);
    r = r < 0 ? r : read_model(api, found, o, e);
    return r < 0 ? r : read_webhook(api, &found[M_WEBHOOK], ret, e);
}

bool task_order_read(struct api *api, struct http_exchange *x, struct order_reading *ret)
{
    struct error e = { 0 };

    *ret = (struct order_reading){ .order = { .kind = TASK_OF_QUEUE } };
    if (read_all(api, x, ret, &e) == 0) {
        return true;
    }
    task_order_finish(ret);
    if (e.code == -EINVAL || e.code == -EBADMSG) {
        envelope_invalid(x, "%s", e.text);
    } else {
        envelope_fail(x, &e);
    }
    return false;
}

void task_order_finish(struct order_reading *r)
{
    free(r->input);
    free(r->webhook);
}
