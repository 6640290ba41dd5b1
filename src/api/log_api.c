// SPDX-License-Identifier: Apache-2.0
/*
 * GET /api/v1/system/logs: the last lines of berth's own log, as base/log_ring.h keeps them, and
 * with follow=1 what is written from then on. A reader that does not read is not read for: the ring
 * is the queue, and what it has lost is not told.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/paging.h"
#include "base/log.h"
#include "base/log_ring.h"
#include "base/mem.h"
#include "base/timefmt.h"

enum {
    LINES_DEFAULT = 100,
    LINES_MAX = 10000,
    FOLLOW_STEP_MS = 250,
    FOLLOW_QUEUE_BYTES = 256 * 1024,
    FOLLOWERS_MAX = 64,
};

/* Which lines are meant. */
struct wish {
    int level; /* these and graver ones; -1: all */
    int64_t since_wall_ms;
    char *q; /* NULL: all; owned */
    uint64_t lines;
};

static bool is_meant(const struct wish *w, const struct log_line *line)
{
    return (int)line->level >= w->level && line->wall_ms >= w->since_wall_ms &&
           (!w->q || strcasestr(line->text, w->q));
}

static void wish_finish(struct wish *w)
{
    free(w->q);
}

static bool read_level(struct http_exchange *x, struct wish *w)
{
    _cleanup_(freep) char *level = http_query_get(http_exchange_head(x)->query, "level");

    w->level = -1;
    if (level && *level) {
        w->level = log_level_from_string(level);
        if (w->level < 0) {
            paging_refuse(x, "level", "must be debug, info, warn or error");
            return false;
        }
    }
    return true;
}

static bool read_since(struct http_exchange *x, struct wish *w)
{
    _cleanup_(freep) char *since = http_query_get(http_exchange_head(x)->query, "since");

    if (since && *since && timefmt_parse(since, &w->since_wall_ms) < 0) {
        paging_refuse(x, "since", "must be a time such as 2026-01-02T03:04:05Z");
        return false;
    }
    return true;
}

/* False: a part of it is none, and that is answered. */
static bool wish_read(struct http_exchange *x, struct wish *ret)
{
    struct wish w = { 0 };

    if (!read_level(x, &w) || !read_since(x, &w) ||
        !query_from_one(x, "lines", LINES_DEFAULT, LINES_MAX, &w.lines)) {
        return false;
    }
    w.q = http_query_get(http_exchange_head(x)->query, "q");
    *ret = w;
    return true;
}

/* ---- the last ones ---- */

/* So many of those that are kept are meant; *cursor is behind them all. */
static uint64_t count_meant(const struct wish *w, uint64_t *cursor)
{
    struct log_line line;
    uint64_t count = 0;

    while (log_ring_next(cursor, &line)) {
        count += is_meant(w, &line);
    }
    return count;
}

/* The texts of the last w->lines of them; what comes meanwhile is left to the next reader. */
static json_t *last_lines(const struct wish *w, uint64_t *ret_total, uint64_t *ret_cursor)
{
    struct log_line line;
    json_t *list = json_array();
    uint64_t end = 0, cursor = 0, at = 0;

    *ret_total = count_meant(w, &end);
    while (cursor < end && log_ring_next(&cursor, &line)) {
        if (is_meant(w, &line) && at++ + w->lines >= *ret_total) {
            json_array_append_new(list, json_text(line.text));
        }
    }
    *ret_cursor = end;
    return list;
}

static void respond(struct http_exchange *x, const struct wish *w)
{
    uint64_t total, cursor;
    json_t *list = last_lines(w, &total, &cursor);

    http_respond_json(x, 200,
                      json_pack("{s:o, s:I, s:s, s:{s:I, s:o, s:o, s:o}}", "logs", list,
                                "total_lines", (json_int_t)total, "log_file", "stderr", "filters",
                                "lines", (json_int_t)w->lines, "level",
                                w->level < 0
                                    ? json_null()
                                    : json_string(log_level_name((enum log_level)w->level)),
                                "since", json_time(w->since_wall_ms), "q", json_text(w->q)));
}

/* ---- live ---- */

struct log_follower {
    struct list node; /* of api->log_followers */
    struct http_exchange *x;
    struct wish wish;
    uint64_t cursor;
    struct timer timer;
};

static void follower_free(struct log_follower *f)
{
    timer_stop(&f->timer);
    list_remove(&f->node);
    wish_finish(&f->wish);
    free(f);
}

static void on_gone(void *arg)
{
    follower_free(arg);
}

static const struct http_exchange_events follower_events = { .on_gone = on_gone };

void log_followers_end(struct api *api)
{
    struct log_follower *f, *tmp;

    list_for_each_safe (f, tmp, &api->log_followers, node) {
        http_respond_end(f->x);
        follower_free(f);
    }
}

static void on_step(void *arg)
{
    struct log_follower *f = arg;
    struct log_line line;

    while (http_exchange_queued(f->x) < FOLLOW_QUEUE_BYTES && log_ring_next(&f->cursor, &line)) {
        if (is_meant(&f->wish, &line)) {
            line.text[line.n] = '\n';
            http_respond_write(f->x, line.text, line.n + 1);
        }
    }
    timer_start(&f->timer, FOLLOW_STEP_MS);
}

static size_t count_followers(const struct api *api)
{
    const struct log_follower *f;
    size_t n = 0;

    list_for_each (f, &api->log_followers, node) {
        n++;
    }
    return n;
}

/* The wish is taken over. */
static void follow(struct api *api, struct http_exchange *x, const struct wish *wish)
{
    struct log_follower *f = xcalloc(1, sizeof(*f));
    uint64_t total;
    json_t *list, *text;
    size_t i;

    f->x = x;
    f->wish = *wish;
    list_append(&api->log_followers, &f->node);
    timer_init(&f->timer, api->in.world, "own log follower", on_step, f);
    timer_start(&f->timer, FOLLOW_STEP_MS);
    http_exchange_set_events(x, &follower_events, f);
    http_respond_start(x, 200, "text/plain; charset=utf-8", -1);
    list = last_lines(wish, &total, &f->cursor);
    json_array_foreach(list, i, text)
    {
        http_respond_write(x, json_string_value(text), json_string_length(text));
        http_respond_write(x, "\n", 1);
    }
    json_decref(list);
}

void handle_system_logs(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    struct wish wish;

    if (!wish_read(x, &wish)) {
        return;
    }
    if (!query_flag(x, "follow")) {
        respond(x, &wish);
    } else if (count_followers(api) >= FOLLOWERS_MAX) {
        respond_detail(x, 503, "%d readers follow the log already", FOLLOWERS_MAX);
    } else if (api->phase == API_DRAINING) {
        respond_detail(x, 503, "berth is going down");
    } else {
        follow(api, x, &wish);
        return;
    }
    wish_finish(&wish);
}
