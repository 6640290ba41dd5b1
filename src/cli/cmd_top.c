// SPDX-License-Identifier: Apache-2.0
/*
 * berth top: the overview, drawn anew whenever the daemon's stream tells of something. The doors
 * are asked over a connection of their own, so that the stream is never waited for.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/screen.h"
#include "cli/top_view.h"

// clang-format off
static const struct cli_option options[] = {
    { "once", 0, NULL, "print it once and be done, as into a pipe" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

enum { REDRAW_MIN_MS = 500, RETRY_MS = 1000, KEY_WAIT_MS = 100 };

struct top {
    struct cli *cli;  /* of the stream */
    struct cli asker; /* of the doors */
    struct top_facts facts;
    bool changed, lost, quit;
    int64_t drawn_ms;
};

static int64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- asking ---- */

static const struct source {
    const char *name, *path;
    size_t at; /* in struct top_facts */
} sources[] = {
    { "health", "/health", offsetof(struct top_facts, health) },
    { "service", "/api/monitoring/service", offsetof(struct top_facts, service) },
    { "devices", "/api/v1/system/gpu", offsetof(struct top_facts, devices) },
    { "models", "/api/models/", offsetof(struct top_facts, models) },
    { "instances", "/api/instances", offsetof(struct top_facts, instances) },
    { "events", "/api/events?newest=1&limit=8", offsetof(struct top_facts, events) },
};

static json_t **fact(struct top *t, const struct source *source)
{
    return (json_t **)(void *)((char *)&t->facts + source->at);
}

/* What is not answered stays as it was. 0 or the exit code, having spoken. */
static int ask_all(struct top *t)
{
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        struct reply reply;
        const int code = cli_ask(&t->asker, "GET", sources[i].path, NULL, &reply);

        if (code != 0) {
            return code;
        }
        json_decref(*fact(t, &sources[i]));
        *fact(t, &sources[i]) = json_incref(reply.json);
        reply_finish(&reply);
    }
    return 0;
}

/* ---- once ---- */

static void print_once(struct top *t)
{
    json_t *all;

    if (!t->cli->json) {
        top_print(stdout, t->cli, &t->facts, 0, false);
        return;
    }
    all = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        json_object_set(all, sources[i].name, *fact(t, &sources[i]));
    }
    print_json(all);
    json_decref(all);
}

/* ---- live ---- */

static void draw(struct top *t)
{
    _cleanup_(freep) char *text = NULL;
    size_t n;
    int columns, rows;
    FILE *out = open_memstream(&text, &n);

    screen_size(&columns, &rows);
    top_print(out, t->cli, &t->facts, rows, t->lost);
    fclose(out);
    screen_draw(text);
}

static void on_event(void *arg, const json_t *data)
{
    ((struct top *)arg)->changed = true;
}

/* A burst of events is one look. */
static void refresh(struct top *t)
{
    if (t->changed && now_ms() - t->drawn_ms >= REDRAW_MIN_MS) {
        t->changed = false;
        t->lost = ask_all(t) != 0;
        t->drawn_ms = now_ms();
        draw(t);
    }
}

/* Does what the user wants; false: to end. */
static bool serve_user(struct top *t, int wait_ms)
{
    const enum screen_wish wish = screen_ask(wait_ms);

    if (wish == SCREEN_REDRAW) {
        draw(t);
    }
    t->quit = wish == SCREEN_QUIT;
    return !t->quit;
}

static bool on_tick(void *arg)
{
    refresh(arg);
    return serve_user(arg, 0);
}

/* The stream has ended: the daemon is being started anew, or has gone for good. */
static void wait_for_daemon(struct top *t)
{
    const int64_t until = now_ms() + RETRY_MS;

    t->lost = true;
    draw(t);
    while (now_ms() < until && serve_user(t, KEY_WAIT_MS)) {
    }
}

static void live(struct top *t)
{
    screen_enter();
    while (!t->quit) {
        t->changed = true; /* what happened before the stream began */
        (void)!cli_watch_events(t->cli, "/api/events", on_event, on_tick, t);
        if (!t->quit) {
            wait_for_daemon(t);
        }
    }
    screen_leave();
}

static int run(struct cli *cli)
{
    struct top t = { .cli = cli, .asker = *cli };
    const bool once = cli_value(cli, "once") || cli->json || !isatty(STDOUT_FILENO);
    const int code = ask_all(&t);

    if (code == 0 && once) {
        print_once(&t);
    } else if (code == 0) {
        live(&t);
    }
    for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
        json_decref(*fact(&t, &sources[i]));
    }
    client_destroy(t.asker.client);
    return code;
}

const struct command top_command = {
    "top",   "", "Shows the overview, live: load, devices, models, what happens; q ends it.",
    options, 0,  0,
    run,
};
