// SPDX-License-Identifier: Apache-2.0
/*
 * The events door, /api/events: a stream (SSE) that first replays from the store what came after
 * Last-Event-ID, then goes on live, without gaps and without doubles; or a plain list
 * (events_list.c) for clients that accept JSON.
 *
 *     REPLAYING ──(a page is short, nothing came meanwhile)──► LIVE
 *        ▲  │ one page at a time; the next one when the client has taken the last
 *        └──┘
 *
 * `passed` is the id up to which all that matches is sent or declared lost, whatever way it came:
 * so an event that comes by both ways is sent once. A live client that does not read loses events
 * beyond a bound, and is told which ("gap") when it reads again.
 *
 * Changes of tasks are told live only, without an id, as `event: task`: the task's row is the
 * record. They pass through here and through the WebSockets (websockets_api.c) as the same text,
 * which is made only when somebody listens. Those of the planner's jobs are the same, as `event:
 * evaluation` (evaluation_sockets.c), and so are the monitor's samples (samples_api.c).
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/events_doors_int.h"
#include "api/paging.h"
#include "api/task_doors_int.h"
#include "base/log.h"
#include "base/mem.h"

enum {
    SUBSCRIBERS_MAX = 256,
    QUEUE_MAX_BYTES = 256 * 1024,
    REPLAY_PAGE = 200,
    RECHECK_MS = 100,
    KIND_TASK =
        EVENT_KIND_MAX_, /* beside the kinds of events: changes of tasks, and nothing else */
    KIND_EVALUATION,     /* the same of the planner's jobs */
    KIND_SAMPLE,         /* how the service is, every few seconds */
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
    uint64_t lost_tasks;      /* changes of tasks and evaluations lost in that time */
    struct timer recheck;     /* while held up by the queue: a queue may empty without on_drain */
};

/* ---- writing ---- */

static void send_event(struct subscriber *s, const struct event *e)
{
    struct buf b = BUF_INIT(EVENT_MAX_BYTES);

    buf_printf(&b, "id: %lld\nevent: %s\ndata: ", (long long)e->id, event_kind_name(e->kind));
    put_event(&b, e);
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

/* So many changes of tasks were lost. */
static void send_task_gap(struct subscriber *s)
{
    char text[64];
    const int n = snprintf(text, sizeof(text), "event: gap\ndata: {\"tasks\":%llu}\n\n",
                           (unsigned long long)s->lost_tasks);

    http_respond_write(s->x, text, (size_t)n);
    s->lost_tasks = 0;
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

/* ---- changes of tasks ---- */

/* A change as both kinds of readers get it: the JSON stands inside the event. */
struct telling {
    struct buf event; /* "event: task" and all; empty until somebody listens */
    struct span json;
};

static void put_task_change(struct buf *b, const struct task_change *change)
{
    buf_puts(b, "{\"type\":\"task\",\"from\":");
    if (change->from < 0) {
        buf_puts(b, "null");
    } else {
        buf_printf(b, "\"%s\"", task_state_name((enum task_state)change->from));
    }
    buf_printf(b, ",\"removed\":%s,\"task\":", change->removed ? "true" : "false");
    task_put_open(b, change->task, TASK_NO_BODIES, (struct span){ 0 });
    buf_puts(b, "}}");
}

static void prepare(struct telling *t, const struct task_change *change)
{
    static const char head[] = "event: task\ndata: ";
    struct buf *b = &t->event;

    if (b->len == 0) {
        buf_puts(b, head);
        put_task_change(b, change);
        buf_puts(b, "\n\n");
        t->json = (struct span){ buf_data(b) + sizeof(head) - 1, b->len - (sizeof(head) - 1) - 2 };
    }
}

/* subject: the model's id; NULL: it has none. */
static bool wants(const struct subscriber *s, int kind, const char *subject)
{
    return s->x && (s->kind < 0 || s->kind == kind) &&
           (!s->subject || str_eq_opt(s->subject, subject));
}

static void deliver_live(struct subscriber *s, const struct buf *event)
{
    if (s->lost_tasks > 0 || http_exchange_queued(s->x) > QUEUE_MAX_BYTES) {
        s->lost_tasks++;
        timer_start(&s->recheck, RECHECK_MS);
        return;
    }
    http_respond_write(s->x, buf_data(event), event->len);
}

void api_on_task(void *owner, const void *what)
{
    const struct task_change *change = what;
    struct telling telling = { .event = BUF_INIT(EVENT_MAX_BYTES) };
    struct api *api = owner;
    struct subscriber *s;

    if (change->task->kind == TASK_OF_EVALUATION) { /* told by api_on_evaluation */
        return;
    }
    list_for_each (s, &api->subscribers, node) {
        if (wants(s, KIND_TASK, change->task->model)) {
            prepare(&telling, change);
            deliver_live(s, &telling.event);
        }
    }
    if (sockets_listen(api, SOCKET_TASKS)) {
        prepare(&telling, change);
        sockets_send(api, SOCKET_TASKS, telling.json);
    }
    buf_finish(&telling.event);
}

static void tell(struct api *api, int kind, const char *name, struct span json)
{
    struct buf event = BUF_INIT(EVENT_MAX_BYTES);
    struct subscriber *s;

    buf_printf(&event, "event: %s\ndata: %.*s\n\n", name, SPAN_ARG(json));
    list_for_each (s, &api->subscribers, node) {
        if (wants(s, kind, NULL)) {
            deliver_live(s, &event);
        }
    }
    buf_finish(&event);
}

void subscribers_tell_evaluation(struct api *api, struct span json)
{
    tell(api, KIND_EVALUATION, "evaluation", json);
}

bool subscribers_want_samples(const struct api *api)
{
    const struct subscriber *s;

    list_for_each (s, &api->subscribers, node) {
        if (wants(s, KIND_SAMPLE, NULL)) {
            return true;
        }
    }
    return false;
}

void subscribers_tell_sample(struct api *api, struct span json)
{
    tell(api, KIND_SAMPLE, "sample", json);
}

/* The client has taken what was queued, or some of it. */
static void go_on(struct subscriber *s)
{
    timer_stop(&s->recheck);
    if (s->lost_tasks > 0) {
        send_task_gap(s);
    }
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

/* Reads ?kind= and ?subject=. False: the 400 is answered. */
static bool read_question(struct http_exchange *x, struct events_question *ret)
{
    const struct span q = http_exchange_head(x)->query;
    _cleanup_(freep) char *kind = http_query_get(q, "kind");

    ret->kind = -1;
    if (kind && kind[0]) {
        ret->kind = str_eq(kind, "task")         ? (int)KIND_TASK
                    : str_eq(kind, "evaluation") ? (int)KIND_EVALUATION
                    : str_eq(kind, "sample")     ? (int)KIND_SAMPLE
                                                 : event_kind_from_string(kind);
        if (ret->kind < 0) {
            respond_detail(x, 400, "there is no kind of event '%.100s'", kind);
            return false;
        }
    }
    ret->subject = http_query_get(q, "subject");
    return true;
}

static void stream(struct api *api, struct http_exchange *x, struct events_question *question)
{
    const int64_t from = events_resume_point(x), last = events_last_id(api->in.events);
    struct subscriber *s = xcalloc(1, sizeof(*s));

    s->api = api;
    s->x = x;
    s->kind = question->kind;
    s->subject = TAKE_PTR(question->subject);
    s->passed = from < 0 || from > last ? last : from;
    s->replaying = from >= 0 && s->kind < KIND_TASK;
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

static void handle_events(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct events_question question;

    if (!read_question(x, &question)) {
        return;
    }
    if (question.kind >= (int)KIND_TASK && !accepts(x, "text/event-stream") &&
        accepts(x, "application/json")) {
        respond_detail(x, 400,
                       "changes of tasks and samples are told live; their lists are /api/v1/tasks, "
                       "/api/evaluation/tasks and /api/monitoring/service/history");
    } else if (accepts(x, "application/json") && !accepts(x, "text/event-stream")) {
        events_list(api, x, &question);
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
      "What happens, as server-sent events: first what came after Last-Event-ID (or ?after=), then live, with changes of tasks (event: task) and of the planner's jobs (event: evaluation), and a sample of the service every 10 s (event: sample, a ServiceNow). With Accept: application/json a list.",
      { NULL, "EventList text/event-stream", "200 400 422 500 503", "after:integer kind:string subject:string newest:boolean " PAGING_QUERY } },
};
// clang-format on
const size_t events_route_count = ARRAY_SIZE(events_routes);
