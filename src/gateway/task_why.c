// SPDX-License-Identifier: Apache-2.0
/* From the outside inwards: the model, its instance, the room that this waits for, the line. */
#include "gateway/task_why.h"

#include <stdio.h>
#include <string.h>

#include "gateway/gateway_int.h"

static unsigned long long seconds(uint64_t ms)
{
    return (unsigned long long)(ms + 999) / 1000;
}

/* An error's first line, as far as it fits into a sentence. */
static struct span first_line(const char *text)
{
    struct span rest = span_of(text ? text : "");
    struct span line = span_cut(&rest, '\n');

    line.n = MIN_OF(line.n, (size_t)110);
    while (line.n > 0 && !is_valid_utf8(line.p, line.n)) {
        line.n--;
    }
    return line;
}

static void why_stopped(const struct model *m, char *out, size_t size)
{
    if (m->wanted || m->config->on_demand) {
        snprintf(out, size, "the model is about to be loaded");
    } else {
        snprintf(out, size, "the model is stopped, and a request does not start it (on_demand)");
    }
}

/* What placement says of it. False: it does not wait there. */
static bool why_no_room(const struct gateway *g, int64_t model_id, char *out, size_t size)
{
    struct placement_waiting w;
    size_t cursor = 0;

    while (g->in.placement && placement_next_waiting(g->in.placement, &cursor, &w)) {
        if (w.model_id == model_id && w.sentence && w.sentence[0]) {
            snprintf(out, size, "waiting for room on a device: %.*s",
                     SPAN_ARG(first_line(w.sentence)));
            return true;
        }
    }
    return false;
}

static void why_loading(const struct gateway *g, int64_t model_id, char *out, size_t size)
{
    uint64_t ms = dispatch_expected_wait_ms(g->in.dispatch, model_id);

    if (ms > 0) {
        snprintf(out, size, "the model is loading, ready in about %llu s", seconds(ms));
    } else {
        snprintf(out, size, "the model is loading");
    }
}

static void why_failed(const struct gateway *g, const struct instance *i, char *out, size_t size)
{
    uint64_t now = world_now_ms(g->in.world);
    struct span text = first_line(i->last_error);
    int n = snprintf(out, size, "its instance failed%s%.*s", text.n ? ": " : "", SPAN_ARG(text));

    if (n < 0 || (size_t)n >= size) {
        return;
    }
    if (i->state == INSTANCE_FAILED) {
        snprintf(out + n, size - (size_t)n, "; it must be started again");
    } else {
        snprintf(out + n, size - (size_t)n, "; tried again in %llu s",
                 seconds(i->retry_at_ms > now ? i->retry_at_ms - now : 0));
    }
}

static void why_ready(const struct gateway *g, int64_t model_id, const struct instance *i,
                      char *out, size_t size)
{
    struct dispatch_load load = dispatch_model_load(g->in.dispatch, model_id);
    struct dispatch_target target;

    if (dispatch_target(g->in.dispatch, i->uuid, &target) && target.breaker == BREAKER_OPEN) {
        snprintf(out, size, "its instance has failed %u times in a row, and is left alone a while",
                 target.consecutive_failures);
    } else if (load.in_flight > 0) {
        snprintf(out, size, "the model is busy: %u in work, %u in the line", load.in_flight,
                 load.waiting);
    }
}

static void why_of(const struct gateway *g, const struct model *m, char *out, size_t size)
{
    const struct instance *i = engines_of_model(g->in.engines, m->id);

    if (!i) {
        why_stopped(m, out, size);
        return;
    }
    switch (i->state) {
    case INSTANCE_READY:
        why_ready(g, m->id, i, out, size);
        return;
    case INSTANCE_WAITING:
        if (!why_no_room(g, m->id, out, size)) {
            snprintf(out, size, "waiting for room on a device");
        }
        return;
    case INSTANCE_STARTING:
        why_loading(g, m->id, out, size);
        return;
    case INSTANCE_BACKOFF:
    case INSTANCE_FAILED:
        why_failed(g, i, out, size);
        return;
    default:
        snprintf(out, size, "its instance is being stopped");
        return;
    }
}

void task_why(const struct gateway *g, int64_t model_id, char *out, size_t size)
{
    const struct model *m = models_get(g->in.models, model_id);

    out[0] = '\0';
    if (m) {
        why_of(g, m, out, size);
    } else {
        snprintf(out, size, "the model is not in the catalogue");
    }
}
