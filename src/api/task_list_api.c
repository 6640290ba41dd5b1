// SPDX-License-Identifier: Apache-2.0
/* Lists of tasks: GET /api/v1/tasks with its filters, pages and orders. The words of a query are
 * looked up in tables; none of them reaches the store as it is written. */
#include <stdlib.h>

#include "api/task_doors_int.h"
#include "base/mem.h"
#include "base/timefmt.h"

enum { PAGE_DEFAULT = 20, PAGE_MAX = 100 };

/* A request that waits for its page. */
struct list_visit {
    struct api *api;
    struct http_exchange *x; /* NULL once the client is gone */
    unsigned page, size;
};

static void on_gone(void *arg)
{
    ((struct list_visit *)arg)->x = NULL;
}

static const struct http_exchange_events visit_events = { .on_gone = on_gone };

static void respond(struct list_visit *v, struct task *const *tasks, size_t count, uint64_t total)
{
    struct buf out = BUF_INIT(TASK_ANSWER_MAX);

    buf_putc(&out, '[');
    for (size_t i = 0; i < count; i++) {
        buf_puts(&out, i > 0 ? "," : "");
        task_put_open(&out, tasks[i], TASK_WITH_BODIES, (struct span){ 0 });
        task_put_model(&out, v->api, tasks[i]->model_id);
        buf_putc(&out, '}');
    }
    buf_putc(&out, ']');
    envelope_respond_page(v->x, &out, total, v->page, v->size);
    buf_finish(&out);
}

static void on_listed(void *arg, int result, struct task *const *tasks, size_t count,
                      uint64_t total, const struct error *e)
{
    struct list_visit *v = arg;

    if (v->x && result < 0) {
        envelope_fail(v->x, e);
    } else if (v->x) {
        respond(v, tasks, count, total);
    }
    free(v);
}

/* The texts of a query, while they are needed. */
struct listing {
    char *type, *status, *order_by, *order, *model, *q;
    struct task_query query;
    uint64_t page, size;
};

static void listing_finish(struct listing *l)
{
    free(l->type);
    free(l->status);
    free(l->order_by);
    free(l->order);
    free(l->model);
    free(l->q);
}

/* The model by a name that requests may use, beside model_id. */
static bool read_model_name(struct api *api, struct http_exchange *x, struct listing *l)
{
    const struct model *model = NULL;

    if (!l->model || !*l->model) {
        return true;
    }
    model = models_find(api->in.models, span_of(l->model));
    if (!model) {
        envelope_refuse(x, 404, "there is no model '%.255s'", l->model);
        return false;
    }
    l->query.filter.model_id = model->id;
    return true;
}

static bool read_time(struct http_exchange *x, const char *name, int64_t *ret_ms)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);

    if (text && *text && timefmt_parse(text, ret_ms) < 0) {
        envelope_invalid(x, "%s must be a time such as 2026-01-02T03:04:05Z, not '%.60s'", name,
                         text);
        return false;
    }
    return true;
}

static bool read_words(struct http_exchange *x, struct listing *l)
{
    struct task_query *q = &l->query;
    int by = TASKS_BY_CREATED;

    if (l->status && *l->status) {
        q->filter.state = task_state_from_string(l->status);
        if (q->filter.state < 0) {
            envelope_invalid(x,
                             "status must be pending, running, completed, failed or cancelled, not "
                             "'%.60s'",
                             l->status);
            return false;
        }
    }
    if (l->order_by && *l->order_by) {
        by = task_order_by_from_string(l->order_by);
    }
    if (by < 0) {
        envelope_invalid(x,
                         "order_by must be created_at, updated_at, started_at, completed_at, "
                         "priority, status, retry_count, model_id, type or id, not '%.60s'",
                         l->order_by);
        return false;
    }
    q->by = (enum task_order_by)by;
    q->ascending = l->order && str_eq(l->order, "asc");
    if (l->order && *l->order && !q->ascending && !str_eq(l->order, "desc")) {
        envelope_invalid(x, "order must be asc or desc, not '%.60s'", l->order);
        return false;
    }
    return true;
}

static bool read_listing(struct api *api, struct http_exchange *x, struct listing *l)
{
    const struct span query = http_exchange_head(x)->query;
    uint64_t model_id, priority;

    *l = (struct listing){ .type = http_query_get(query, "type"),
                           .status = http_query_get(query, "status"),
                           .order_by = http_query_get(query, "order_by"),
                           .order = http_query_get(query, "order"),
                           .model = http_query_get(query, "model"),
                           .q = http_query_get(query, "q") };
    if (!envelope_query_number(x, "page", 1, TASKS_OFFSET_MAX, &l->page) ||
        !envelope_query_number(x, "page_size", PAGE_DEFAULT, PAGE_MAX, &l->size) ||
        !envelope_query_number(x, "model_id", 0, INT64_MAX, &model_id) ||
        !envelope_query_number(x, "priority", 0, TASK_HIGH, &priority)) {
        return false;
    }
    l->query = (struct task_query){
        .filter = { .kind = TASK_OF_QUEUE,
                    .model_id = (int64_t)model_id,
                    .type = l->type && *l->type ? l->type : NULL,
                    .state = -1,
                    .priority = priority > 0 ? (int)priority : -1,
                    .dead = query_flag(x, "dead_letter") ? 1 : -1,
                    .text = l->q },
        .bodies = true,
        .limit = (unsigned)l->size,
    };
    if ((l->page - 1) * l->size > TASKS_OFFSET_MAX) {
        envelope_invalid(x, "page %llu begins beyond the first %d tasks; narrow the question",
                         (unsigned long long)l->page, TASKS_OFFSET_MAX);
        return false;
    }
    l->query.offset = (unsigned)((l->page - 1) * l->size);
    return read_time(x, "created_after", &l->query.filter.from_ms) &&
           read_time(x, "created_before", &l->query.filter.to_ms) && read_model_name(api, x, l) &&
           read_words(x, l);
}

void handle_task_list(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct listing l;

    if (read_listing(api, x, &l)) {
        struct list_visit *v = xcalloc(1, sizeof(*v));

        v->api = api;
        v->x = x;
        v->page = (unsigned)l.page;
        v->size = (unsigned)l.size;
        http_exchange_set_events(x, &visit_events, v);
        tasks_list(api->in.tasks, &l.query, on_listed, v);
    }
    listing_finish(&l);
}
