// SPDX-License-Identifier: Apache-2.0
/* Events as a plain list, for clients that accept JSON, and one event as JSON. */
#include <stdlib.h>
#include <string.h>

#include "api/events_doors_int.h"
#include "api/paging.h"
#include "base/mem.h"
#include "base/timefmt.h"

enum { LIST_DEFAULT = 100, LIST_MAX = 1000 };

void put_event(struct buf *b, const struct event *e)
{
    char at[TIMEFMT_SIZE];

    timefmt_iso(e->wall_ms, at);
    buf_printf(b, "{\"id\":%lld,\"at\":\"%s\",\"kind\":\"%s\",\"subject\":\"", (long long)e->id, at,
               event_kind_name(e->kind));
    buf_put_json_escaped(b, e->subject, strlen(e->subject));
    buf_printf(b, "\",\"data\":%s}", e->data && e->data[0] ? e->data : "{}");
}

int64_t events_resume_point(struct http_exchange *x)
{
    const struct span header = http_header_get(http_exchange_head(x), "Last-Event-ID");
    uint64_t id;

    if (header.p && span_to_u64(header, &id) == 0) {
        return (int64_t)MIN_OF(id, (uint64_t)INT64_MAX);
    }
    id = query_number(x, "after", UINT64_MAX);
    return id == UINT64_MAX ? -1 : (int64_t)MIN_OF(id, (uint64_t)INT64_MAX);
}

struct listing {
    struct http_exchange *x; /* NULL once the client is gone */
    struct buf out;
    unsigned count;
    bool counted; /* the result is how many there are */
};

static void on_listing_gone(void *arg)
{
    ((struct listing *)arg)->x = NULL;
}

static const struct http_exchange_events listing_events = { .on_gone = on_listing_gone };

static void on_listed(void *arg, const struct event *e, int result)
{
    struct listing *l = arg;

    if (e) {
        buf_puts(&l->out, l->count++ > 0 ? "," : "");
        put_event(&l->out, e);
        return;
    }
    buf_puts(&l->out, "]");
    if (l->counted) {
        buf_printf(&l->out, ",\"total_count\":%d", result);
    }
    buf_puts(&l->out, "}");
    if (l->x && (result < 0 || l->out.overflow)) {
        respond_detail(l->x, 500, "the events could not be read");
    } else if (l->x) {
        http_respond(l->x, 200, "application/json", buf_span(&l->out));
    }
    buf_finish(&l->out);
    free(l);
}

static void list(struct api *api, struct http_exchange *x, const struct event_filter *filter)
{
    struct listing *l = xcalloc(1, sizeof(*l));

    l->x = x;
    l->counted = filter->count;
    buf_init(&l->out, 16 * EVENT_MAX_BYTES);
    buf_puts(&l->out, "{\"events\":[");
    http_exchange_set_events(x, &listing_events, l);
    events_query(api->in.events, filter, on_listed, l);
}

static bool has_parameter(struct http_exchange *x, const char *name)
{
    _cleanup_(freep) char *text = http_query_get(http_exchange_head(x)->query, name);

    return text != NULL;
}

void events_list(struct api *api, struct http_exchange *x, const struct events_question *question)
{
    static const struct paging_kind kind = { .sorts = "id at", .texts = "", .filters = "" };
    const int64_t after = events_resume_point(x);
    struct event_filter filter = { .after_id = MAX_OF(after, 0),
                                   .kind = question->kind,
                                   .subject = question->subject,
                                   .newest_first = query_flag(x, "newest") };
    struct paging paging;

    if (!paging_read(x, &kind, &paging)) {
        return;
    }
    filter.newest_first = paging.sort ? paging.descending : filter.newest_first;
    filter.limit = (unsigned)MIN_OF(paging.limit, (uint64_t)LIST_MAX);
    if (paging.limit == UINT64_MAX) {
        filter.limit = LIST_DEFAULT;
    }
    filter.text = paging.q;
    filter.offset = (unsigned)paging.offset;
    filter.count = paging.q || has_parameter(x, "offset");
    list(api, x, &filter);
    paging_finish(&paging);
}
