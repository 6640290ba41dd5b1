// SPDX-License-Identifier: Apache-2.0
/*
 * The events door, /api/events: a stream (SSE) that first replays from the store what came after
 * Last-Event-ID, then goes on live, without gaps and without doubles; or a plain list for clients
 * that accept JSON.
 *
 *     REPLAYING ──(a page is short, nothing came meanwhile)──► LIVE
 *        ▲  │ one page at a time; the next one when the client has taken the last
 *        └──┘
 *
 * `passed` is the id up to which all that matches is sent or declared lost, whatever way it came:
 * so an event that comes by both ways is sent once. A live client that does not read loses events
 * beyond a bound, and is told which ("gap") when it reads again.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/api_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/timefmt.h"

enum {
    SUBSCRIBERS_MAX = 256,
    QUEUE_MAX_BYTES = 256 * 1024,
    REPLAY_PAGE = 200,
    LIST_DEFAULT = 100,
    LIST_MAX = 1000,
    EVENT_MAX_BYTES = 1024 * 1024,
    RECHECK_MS = 100,
};

struct subscriber {
    struct list node;        /* of api->subscribers */
    struct api *api;         /* NULL once the api is gone */
    struct http_exchange *x; /* NULL once the client is gone or the stream is ended */
    int kind;                /* -1: all */
    char *subject;           /* NULL: all */
    int64_t passed;          /* see above */
    bool replaying;
    bool querying;            /* a query is out, and will come back to this struct */
    bool first_asked;         /* the query is for the oldest event that there is */
    unsigned page_count;      /* events that the query gave so far */
    int64_t missed;           /* id of the last live event that came while replaying */
    int64_t gap_from, gap_to; /* lost while the client did not read; 0: none */
    struct timer recheck;     /* while held up by the queue: a queue may empty without on_drain */
};

/* ---- writing ---- */

static void put_event_json(struct buf *b, const struct event *e)
{
    char at[TIMEFMT_SIZE];

    timefmt_iso(e->wall_ms, at);
    buf_printf(b, "{\"id\":%lld,\"at\":\"%s\",\"kind\":\"%s\",\"subject\":\"", (long long)e->id, at,
               event_kind_name(e->kind));
    buf_put_json_escaped(b, e->subject, strlen(e->subject));
    buf_printf(b, "\",\"data\":%s}", e->data && e->data[0] ? e->data : "{}");
}

static void send_event(struct subscriber *s, const struct event *e)
{
    struct buf b = BUF_INIT(EVENT_MAX_BYTES);

    buf_printf(&b, "id: %lld\nevent: %s\ndata: ", (long long)e->id, event_kind_name(e->kind));
    put_event_json(&b, e);
    buf_puts(&b, "\n\n");
    if (!b.overflow) {
        http_respond_write(s->x, buf_data(&b), b.len);
    }
    buf_finish(&b);
    s->passed = e->id;
}

static void send_gap(struct subscriber *s, int64_t from, int64_t to)
{
    char text[128];
    const int n = snprintf(text, sizeof(text), "event: gap\ndata: {\"from\":%lld,\"to\":%lld}\n\n",
                           (long long)from, (long long)to);

    http_respond_write(s->x, text, (size_t)n);
}

/* ---- life ---- */

static void subscriber_free(struct subscriber *s)
{
    if (s->api) {
        s->api->subscriber_count--;
    }
    timer_stop(&s->recheck);
    list_remove(&s->node);
    free(s->subject);
    free(s);
}

/* Nobody reads any more. A query that is out ends first. */
static void let_go(struct subscriber *s)
{
    s->x = NULL;
    timer_stop(&s->recheck);
    if (!s->querying) {
        subscriber_free(s);
    }
}

static void on_gone(void *arg)
{
    let_go(arg);
}

void subscribers_end(struct api *api)
{
    struct subscriber *s, *tmp;

    list_for_each_safe (s, tmp, &api->subscribers, node) {
        if (s->x) {
            http_respond_end(s->x);
            let_go(s);
        }
    }
}

void subscribers_detach(struct api *api)
{
    struct subscriber *s, *tmp;

    list_for_each_safe (s, tmp, &api->subscribers, node) {
        list_remove(&s->node);
        s->api = NULL;
        if (!s->querying) {
            subscriber_free(s);
        }
    }
}

void subscribers_keep_alive(struct api *api)
{
    struct subscriber *s;

    list_for_each (s, &api->subscribers, node) {
        if (s->x && http_exchange_queued(s->x) == 0) {
            http_respond_write(s->x, ": still here\n\n", 14);
        }
    }
}

/* ---- replay ---- */

static void on_replayed(void *arg, const struct event *e, int result);

static void query(struct subscriber *s, bool oldest)
{
    struct event_filter filter = {
        .after_id = oldest ? 0 : s->passed,
        .kind = oldest ? -1 : s->kind,
        .subject = oldest ? NULL : s->subject,
        .limit = oldest ? 1 : REPLAY_PAGE,
    };

    s->querying = true;
    s->first_asked = oldest;
    s->page_count = 0;
    events_query(s->api->in.events, &filter, on_replayed, s);
}

/* The next page, once the client has taken what is queued. */
static void replay_on(struct subscriber *s)
{
    if (s->querying) {
        return;
    }
    if (http_exchange_queued(s->x) < QUEUE_MAX_BYTES) {
        query(s, false);
    } else {
        timer_start(&s->recheck, RECHECK_MS);
    }
}

/* A page has come whole. */
static void turn_page(struct subscriber *s)
{
    if (s->page_count == REPLAY_PAGE || s->missed > s->passed) {
        replay_on(s);
        return;
    }
    s->replaying = false;
}

static void on_query_end(struct subscriber *s, int result)
{
    s->querying = false;
    if (!s->api || !s->x) {
        subscriber_free(s);
        return;
    }
    if (result < 0) { /* the client comes again with its Last-Event-ID */
        log_warn("api", NULL, "events could not be read, ending the stream",
                 kv_int("error", result));
        http_respond_abort(s->x);
        let_go(s);
        return;
    }
    if (s->first_asked) {
        query(s, false);
        return;
    }
    turn_page(s);
}

static void on_replayed(void *arg, const struct event *e, int result)
{
    struct subscriber *s = arg;

    if (!e) {
        on_query_end(s, result);
        return;
    }
    if (!s->x) {
        return;
    }
    if (s->first_asked) { /* what was before the oldest event is no longer there */
        if (e->id > s->passed + 1) {
            send_gap(s, s->passed + 1, e->id - 1);
            s->passed = e->id - 1;
        }
        return;
    }
    s->page_count++;
    send_event(s, e);
}

/* ---- live ---- */

static bool matches(const struct subscriber *s, const struct event *e)
{
    return (s->kind < 0 || (int)e->kind == s->kind) &&
           (!s->subject || str_eq(s->subject, e->subject));
}

static void deliver(struct subscriber *s, const struct event *e)
{
    if (!s->x || e->id <= s->passed || !matches(s, e)) {
        return;
    }
    if (s->replaying) {
        s->missed = e->id;
    } else if (s->gap_from > 0 || http_exchange_queued(s->x) > QUEUE_MAX_BYTES) {
        s->gap_from = s->gap_from > 0 ? s->gap_from : e->id;
        s->gap_to = e->id;
        s->passed = e->id;
        timer_start(&s->recheck, RECHECK_MS);
    } else {
        send_event(s, e);
    }
}

void api_on_event(void *owner, const void *event)
{
    struct api *api = owner;
    struct subscriber *s;

    list_for_each (s, &api->subscribers, node) {
        deliver(s, event);
    }
}

/* The client has taken what was queued, or some of it. */
static void go_on(struct subscriber *s)
{
    timer_stop(&s->recheck);
    if (s->gap_from > 0) {
        send_gap(s, s->gap_from, s->gap_to);
        s->gap_from = s->gap_to = 0;
    }
    if (s->replaying) {
        replay_on(s);
    }
}

static void on_drain(void *arg)
{
    go_on(arg);
}

static void on_recheck(void *arg)
{
    struct subscriber *s = arg;

    if (http_exchange_queued(s->x) < QUEUE_MAX_BYTES / 2) {
        go_on(s);
    } else {
        timer_start(&s->recheck, RECHECK_MS);
    }
}

static const struct http_exchange_events stream_events = { .on_gone = on_gone,
                                                           .on_drain = on_drain };

/* ---- the stream begins ---- */

struct question {
    int kind;      /* -1: all */
    char *subject; /* NULL: all */
};

/* Reads ?kind= and ?subject=. False: the 400 is answered. */
static bool read_question(struct http_exchange *x, struct question *ret)
{
    const struct span q = http_exchange_head(x)->query;
    _cleanup_(freep) char *kind = http_query_get(q, "kind");

    ret->kind = -1;
    if (kind && kind[0]) {
        ret->kind = event_kind_from_string(kind);
        if (ret->kind < 0) {
            respond_detail(x, 400, "there is no kind of event '%.100s'", kind);
            return false;
        }
    }
    ret->subject = http_query_get(q, "subject");
    return true;
}

/* Where the client wants to go on: its Last-Event-ID, or ?after=; -1 when it names neither. */
static int64_t resume_point(struct http_exchange *x)
{
    const struct span header = http_header_get(http_exchange_head(x), "Last-Event-ID");
    uint64_t id;

    if (header.p && span_to_u64(header, &id) == 0) {
        return (int64_t)MIN_OF(id, (uint64_t)INT64_MAX);
    }
    id = query_number(x, "after", UINT64_MAX);
    return id == UINT64_MAX ? -1 : (int64_t)MIN_OF(id, (uint64_t)INT64_MAX);
}

static void stream(struct api *api, struct http_exchange *x, struct question *question)
{
    const int64_t from = resume_point(x), last = events_last_id(api->in.events);
    struct subscriber *s = xcalloc(1, sizeof(*s));

    s->api = api;
    s->x = x;
    s->kind = question->kind;
    s->subject = TAKE_PTR(question->subject);
    s->passed = from < 0 || from > last ? last : from;
    s->replaying = from >= 0;
    timer_init(&s->recheck, api->in.world, "events recheck", on_recheck, s);
    list_append(&api->subscribers, &s->node);
    api->subscriber_count++;
    http_exchange_add_header(x, "Cache-Control", "no-cache");
    http_exchange_set_events(x, &stream_events, s);
    http_respond_start(x, 200, "text/event-stream", -1);
    http_respond_write(x, "retry: 2000\n\n", 13);
    if (s->replaying) {
        query(s, true);
    }
}

/* ---- the list ---- */

struct listing {
    struct http_exchange *x; /* NULL once the client is gone */
    struct buf out;
    unsigned count;
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
        put_event_json(&l->out, e);
        return;
    }
    buf_puts(&l->out, "]}");
    if (l->x && (result < 0 || l->out.overflow)) {
        respond_detail(l->x, 500, "the events could not be read");
    } else if (l->x) {
        http_respond(l->x, 200, "application/json", buf_span(&l->out));
    }
    buf_finish(&l->out);
    free(l);
}

static void list(struct api *api, struct http_exchange *x, const struct question *question)
{
    const uint64_t limit = query_number(x, "limit", LIST_DEFAULT);
    const int64_t after = resume_point(x);
    struct listing *l = xcalloc(1, sizeof(*l));
    struct event_filter filter = {
        .after_id = MAX_OF(after, 0),
        .kind = question->kind,
        .subject = question->subject,
        .limit = (unsigned)MIN_OF(MAX_OF(limit, (uint64_t)1), (uint64_t)LIST_MAX),
        .newest_first = query_flag(x, "newest"),
    };

    l->x = x;
    buf_init(&l->out, 16 * EVENT_MAX_BYTES);
    buf_puts(&l->out, "{\"events\":[");
    http_exchange_set_events(x, &listing_events, l);
    events_query(api->in.events, &filter, on_listed, l);
}

static void handle_events(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct question question;

    if (!read_question(x, &question)) {
        return;
    }
    if (accepts(x, "application/json") && !accepts(x, "text/event-stream")) {
        list(api, x, &question);
    } else if (api->subscriber_count >= SUBSCRIBERS_MAX) {
        respond_detail(x, 503, "%d readers listen to events already", SUBSCRIBERS_MAX);
    } else if (api->phase == API_DRAINING) {
        respond_detail(x, 503, "berth is going down");
    } else {
        stream(api, x, &question);
    }
    free(question.subject);
}

// clang-format off
const struct route events_routes[] = {
    { "GET", "/api/events", SCOPE_ADMIN, handle_events,
      "What happens, as server-sent events: first what came after Last-Event-ID (or ?after=), then live. With Accept: application/json a list.",
      { NULL, "EventList text/event-stream", "200 400 500 503", "after:integer kind:string subject:string limit:integer newest:boolean" } },
};
// clang-format on
const size_t events_route_count = ARRAY_SIZE(events_routes);
