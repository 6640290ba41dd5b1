// SPDX-License-Identifier: Apache-2.0
/*
 * One container's life: a row of small requests to the container engine, one at a time (`ask`),
 * beside which the one that waits for its end, the one that follows its log and the one that asks
 * it to stop stand for long. What is a callback's last act is the caller's: the handle may be gone
 * afterwards.
 */
#include "engines/container.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "engines/container_log.h"
#include "engines/docker.h"
#include "engines/words.h"

enum {
    ASK_LIMIT_MS = 60 * 1000,
    PULL_IDLE_MS = 10 * 60 * 1000,
    PULL_LINE_MAX = 64 * 1024,
    RETRY_MS = 500,
    LOG_DRAIN_MS = 1000, /* its log may end that much later than it does */
    PATH_MAX_ = 256,
    SIGNAL_EXIT = 128, /* the exit code of one that a signal has ended is above it */
};

enum step {
    STEP_VERSION, /* what follows it: `then` */
    STEP_CREATE,
    STEP_CLEAR, /* its name is used by a container of ours that is of no use any more */
    STEP_PULL,
    STEP_START,
    STEP_INSPECT,
    STEP_RUNNING,
    STEP_ENDED,
    STEP_REMOVE, /* looks whether it is ours: names can be anybody's */
    STEP_DELETE,
    STEP_GONE,
};

struct container {
    struct world *world;
    struct docker *docker;
    const struct container_handler *handler;
    void *owner;
    char name[CONTAINER_NAME_SIZE];
    char *uuid, *data_id, *log_name;
    json_t *body; /* of the request that makes it; NULL: it was made by an earlier berth */
    char *image;
    bool pull, pulled, cleared;
    enum step step, then;
    struct docker_call *ask, *wait, *stop;
    struct http_call *follow; /* its log, or the image that comes */
    struct container_log log;
    struct buf line; /* of what is told while the image comes */
    char *pull_error;
    struct timer retry, drain;
    bool exists;   /* was made, or may have been */
    bool adopting; /* not seen to run yet */
    bool end_told, remove_wanted;
    bool log_whole;   /* it ended by itself: there is no more of it */
    bool log_refused; /* the container engine keeps none */
    struct process_exit how;
    uint64_t silent_since_ms;
};

static void take_step(struct container *c, enum step step);
static void on_asked(void *owner, int status, const json_t *body, const struct error *e);

/* ---- telling */

static void tell_end(struct container *c, enum container_verdict verdict, const char *sentence)
{
    struct container_end end = { verdict, c->how, sentence };

    timer_stop(&c->retry);
    timer_stop(&c->drain);
    c->step = STEP_ENDED;
    if (!c->end_told) {
        c->end_told = true;
        c->handler->on_end(c->owner, &end);
    }
}

static void stop_asking(struct container *c)
{
    c->ask = docker_cancel(c->ask);
    c->wait = docker_cancel(c->wait);
    c->stop = docker_cancel(c->stop);
    if (c->follow) {
        http_call_cancel(TAKE_PTR(c->follow));
    }
    timer_stop(&c->retry);
    timer_stop(&c->drain);
}

static void tell_gone(struct container *c)
{
    stop_asking(c);
    c->step = STEP_GONE;
    c->exists = false;
    c->handler->on_gone(c->owner);
}

static void tell_running(struct container *c, int64_t pid)
{
    if (!c->end_told) {
        c->handler->on_running(c->owner, pid);
    }
}

/* ---- asking */

static void note_answer(struct container *c, int status, const struct error *e)
{
    if (status) {
        if (c->silent_since_ms) {
            log_info("engines", c->log_name, "the container engine answers again");
        }
        c->silent_since_ms = 0;
    } else if (!c->silent_since_ms) {
        c->silent_since_ms = MAX_OF(world_now_ms(c->world), 1);
        log_warn("engines", c->log_name, "the container engine is silent",
                 kv_str("reason", e->text));
    }
}

static void ask(struct container *c, const char *method, const char *what, const json_t *body)
{
    char path[PATH_MAX_];

    snprintf(path, sizeof(path), "/containers/%s%s", c->name, what);
    c->ask = docker_ask(c->docker, method, path, body, ASK_LIMIT_MS, on_asked, c);
}

static void ask_create(struct container *c)
{
    char path[PATH_MAX_];

    c->exists = true; /* from now on it may have been */
    snprintf(path, sizeof(path), "/containers/create?name=%s", c->name);
    c->ask = docker_ask(c->docker, "POST", path, c->body, ASK_LIMIT_MS, on_asked, c);
}

static void on_retry(void *arg)
{
    struct container *c = arg;

    take_step(c, STEP_VERSION);
}

/* Asks for the version again first: another engine may stand there by then. */
static void try_later(struct container *c, enum step then)
{
    c->step = STEP_VERSION;
    c->then = then;
    timer_start(&c->retry, RETRY_MS);
}

static void begin(struct container *c, enum step then)
{
    c->then = then;
    take_step(c, STEP_VERSION);
}

/* ---- its log */

static void on_log_body(void *owner, const char *p, size_t n)
{
    struct container *c = owner;

    container_log_feed(&c->log, p, n);
}

static void on_log_over(struct container *c)
{
    c->follow = NULL;
    if (c->step == STEP_RUNNING && !c->log_refused) {
        timer_start(&c->drain, RETRY_MS); /* it runs: its log is asked for again */
    } else if (c->step == STEP_ENDED && timer_active(&c->drain)) {
        tell_end(c, CONTAINER_EXITED, NULL);
    }
}

static void on_log_head(void *owner, const struct http_head *head)
{
    struct container *c = owner;

    if (head->status != 200) {
        c->log_refused = true;
        http_call_cancel(c->follow);
        on_log_over(c);
    }
}

static void on_log_end(void *owner)
{
    struct container *c = owner;

    c->log_whole = true;
    on_log_over(c);
}

static void on_log_fail(void *owner, const struct error *e)
{
    on_log_over(owner);
}

static void follow_log(struct container *c)
{
    static const struct http_call_handler handler = { on_log_head, on_log_body, on_log_end,
                                                      on_log_fail };
    char path[PATH_MAX_];

    c->log_whole = false;
    container_log_cut(&c->log);
    snprintf(path, sizeof(path),
             "/containers/%s/logs?follow=1&stdout=1&stderr=1&timestamps=1&since=%" PRId64, c->name,
             c->log.last_ns / 1000000000);
    c->follow = docker_follow(c->docker, "GET", path, 0, &handler, c);
}

static void on_drain(void *arg)
{
    struct container *c = arg;

    if (c->step == STEP_RUNNING && !c->follow) {
        follow_log(c);
    } else if (c->step == STEP_ENDED) {
        tell_end(c, CONTAINER_EXITED, NULL);
    }
}

/* ---- it runs */

/* Whatever it says, only a look tells how it is. */
static void on_waited(void *owner, int status, const json_t *body, const struct error *e)
{
    struct container *c = owner;

    c->wait = NULL;
    if (c->step != STEP_RUNNING) {
        return; /* it is being removed */
    }
    note_answer(c, status, e);
    if (status == 0) {
        try_later(c, STEP_INSPECT);
    } else {
        take_step(c, STEP_INSPECT);
    }
}

static void run(struct container *c)
{
    char path[PATH_MAX_];

    c->step = STEP_RUNNING;
    snprintf(path, sizeof(path), "/containers/%s/wait", c->name);
    if (!c->wait) {
        c->wait = docker_ask(c->docker, "POST", path, NULL, 0, on_waited, c);
    }
    if (!c->follow && !c->log_refused) {
        follow_log(c);
    }
}

static bool is_ours(const struct container *c, const json_t *body)
{
    const json_t *labels = json_object_get(json_object_get(body, "Config"), "Labels");
    const char *data = json_string_value(json_object_get(labels, "berth.data"));
    const char *uuid = json_string_value(json_object_get(labels, "berth.instance"));

    return data && uuid && str_eq(data, c->data_id) && str_eq(uuid, c->uuid);
}

static void read_exit(struct container *c, const json_t *state)
{
    int64_t code = json_integer_value(json_object_get(state, "ExitCode"));
    int64_t signum = code - SIGNAL_EXIT;

    c->how = (struct process_exit){ .known = true, .code = (int)code };
    if (signum > 0 && signum <= 64) {
        c->how = (struct process_exit){ .known = true, .signal = (int)signum };
    }
    if (json_is_true(json_object_get(state, "OOMKilled"))) {
        container_log_say(&c->log, "berth: the container ran out of memory: the kernel killed "
                                   "a process of it");
    }
}

/* How it ended is known; its log may still be on its way. */
static void end(struct container *c, const json_t *state)
{
    read_exit(c, state);
    c->step = STEP_ENDED;
    if (!c->follow && !c->log_whole && !c->log_refused) {
        follow_log(c); /* it ended so soon, or its log was cut */
    }
    if (c->follow) {
        timer_start(&c->drain, LOG_DRAIN_MS);
    } else {
        tell_end(c, CONTAINER_EXITED, NULL);
    }
}

static void on_missing(struct container *c, const char *sentence)
{
    if (c->adopting) {
        tell_end(c, CONTAINER_MISSING, sentence);
        return;
    }
    c->how = (struct process_exit){ 0 }; /* somebody removed it: how it ended is not known */
    tell_end(c, CONTAINER_EXITED, NULL);
}

static void on_inspected(struct container *c, int status, const json_t *body, const struct error *e)
{
    const json_t *state = json_object_get(body, "State");

    if (status == 404) {
        c->exists = false;
        on_missing(c, "its container is gone");
    } else if (status != 200) {
        try_later(c, STEP_INSPECT);
    } else if (!is_ours(c, body)) {
        c->exists = false; /* not ours to remove */
        on_missing(c, "its container's name is another one's");
    } else if (json_is_true(json_object_get(state, "Running"))) {
        c->adopting = false;
        run(c);
        tell_running(c, json_integer_value(json_object_get(state, "Pid")));
    } else if (c->adopting) {
        on_missing(c, "its container has ended");
    } else {
        end(c, state);
    }
}

/* ---- the image */

static void on_pull_line(struct container *c, struct span line)
{
    json_t *json = json_loadb(line.p, line.n, 0, NULL);
    const char *error = json_string_value(json_object_get(json, "error"));
    const char *status = json_string_value(json_object_get(json, "status"));
    const char *id = json_string_value(json_object_get(json, "id"));

    if (error || json_string_value(json_object_get(json, "message"))) {
        free(c->pull_error);
        c->pull_error =
            xstrdup(error ? error : json_string_value(json_object_get(json, "message")));
    } else if (status && !json_object_get(json, "progress")) {
        _cleanup_(freep) char *text =
            xasprintf("berth: image: %s%s%s", id ? id : "", id ? ": " : "", status);

        container_log_say(&c->log, text);
    }
    json_decref(json);
}

static void on_pull_body(void *owner, const char *p, size_t n)
{
    struct container *c = owner;

    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n') {
            on_pull_line(c, buf_span(&c->line));
            buf_clear(&c->line);
        } else {
            (void)!buf_putc(&c->line, p[i]); /* what is beyond the maximum is no line of theirs */
        }
    }
}

static void on_pull_over(struct container *c, const char *error)
{
    c->follow = NULL;
    if (c->line.len) {
        on_pull_line(c, buf_span(&c->line));
    }
    buf_finish(&c->line);
    c->pulled = true;
    if (c->remove_wanted) {
        take_step(c, STEP_REMOVE);
    } else if (error || c->pull_error) {
        _cleanup_(freep) char *text =
            xasprintf("cannot fetch the image %s: %s", c->image, error ? error : c->pull_error);

        tell_end(c, CONTAINER_FAILED, text);
    } else {
        take_step(c, STEP_CREATE);
    }
}

static void on_pull_head(void *owner, const struct http_head *head)
{
    struct container *c = owner;

    if (head->status >= 400 && !c->pull_error) {
        c->pull_error = xasprintf("the container engine answered with status %d", head->status);
    }
}

static void on_pull_end(void *owner)
{
    on_pull_over(owner, NULL);
}

static void on_pull_fail(void *owner, const struct error *e)
{
    on_pull_over(owner, e->text);
}

/* "host:5000/a/b:tag", "a@sha256:…": what follows the last ':' behind the last '/' is the tag; an
 * image without one would be fetched in all its versions. */
static bool has_tag(const char *image)
{
    const char *slash = strrchr(image, '/');

    return strchr(slash ? slash : image, ':') || strchr(image, '@');
}

static void encode(const char *text, struct buf *out)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";

    for (; *text; text++) {
        buf_printf(out, strchr(plain, *text) ? "%c" : "%%%02X", (unsigned char)*text);
    }
}

static void pull(struct container *c)
{
    static const struct http_call_handler handler = { on_pull_head, on_pull_body, on_pull_end,
                                                      on_pull_fail };
    struct buf path = BUF_INIT(DOCKER_PATH_MAX);

    c->exists = false;
    c->line = BUF_INIT(PULL_LINE_MAX);
    buf_puts(&path, "/images/create?fromImage=");
    encode(c->image, &path);
    buf_puts(&path, has_tag(c->image) ? "" : "&tag=latest");
    c->follow = docker_follow(c->docker, "POST", buf_data(&path), PULL_IDLE_MS, &handler, c);
    buf_finish(&path);
    c->handler->on_pull(c->owner);
}

/* ---- making it */

static void on_no_image(struct container *c, const struct error *e)
{
    if (c->pull && !c->pulled) {
        take_step(c, STEP_PULL);
        return;
    }
    c->exists = false;
    if (c->pull) {
        tell_end(c, CONTAINER_FAILED, e->text);
    } else {
        _cleanup_(freep) char *text =
            xasprintf("%s (parameters.pull fetches an image that is not there)", e->text);

        tell_end(c, CONTAINER_VAIN, text);
    }
}

/* Docker says 409, podman 500 with these words. */
static bool is_name_used(int status, const struct error *e)
{
    return status == 409 || (status == 500 && strstr(e->text, "in use"));
}

static void on_created(struct container *c, int status, const struct error *e)
{
    if (status == 201) {
        take_step(c, STEP_START);
    } else if (status == 404) {
        on_no_image(c, e);
    } else if (is_name_used(status, e) && !c->cleared) {
        c->cleared = true;
        take_step(c, STEP_CLEAR);
    } else {
        c->exists = false;
        tell_end(c, status == 400 ? CONTAINER_VAIN : CONTAINER_FAILED, e->text);
    }
}

/* A berth that ended before it knew of its end has left it. */
static void on_used(struct container *c, int status, const json_t *body)
{
    if (status == 404) {
        take_step(c, STEP_CREATE);
    } else if (status == 200 && is_ours(c, body)) {
        ask(c, "DELETE", "?force=1&v=1", NULL);
    } else if (status == 204) {
        take_step(c, STEP_CREATE);
    } else {
        _cleanup_(freep) char *text = xasprintf("the name %s is used by a container that is not "
                                                "ours",
                                                c->name);

        c->exists = false;
        tell_end(c, CONTAINER_FAILED, text);
    }
}

/* What its program is and is not there for is the image's or the definition's fault, and stays. */
static void on_started(struct container *c, int status, const struct error *e)
{
    if (status == 204 || status == 304) {
        take_step(c, STEP_INSPECT);
    } else {
        bool no_exec = strstr(e->text, "executable file") || strstr(e->text, "exec: \"") ||
                       strstr(e->text, "exec format error");

        tell_end(c, no_exec ? CONTAINER_NO_EXEC : CONTAINER_FAILED, e->text);
    }
}

/* ---- removing it */

static void on_looked(struct container *c, int status, const json_t *body)
{
    if (status == 200 && is_ours(c, body)) {
        take_step(c, STEP_DELETE);
    } else if (status == 200 || status == 404) {
        tell_gone(c);
    } else {
        try_later(c, STEP_REMOVE);
    }
}

/* 409: somebody else removes it just now. */
static void on_removed(struct container *c, int status, const struct error *e)
{
    if (status == 204 || status == 200 || status == 404) {
        tell_gone(c);
        return;
    }
    if (status != 409) {
        log_warn("engines", c->log_name, "its container is not removed, tried again",
                 kv_str("reason", e->text));
    }
    try_later(c, STEP_REMOVE);
}

/* ---- the steps */

static void on_silence(struct container *c, const struct error *e)
{
    bool unmade = c->step == STEP_VERSION && c->then == STEP_CREATE;

    if (c->remove_wanted && unmade) {
        tell_gone(c);
    } else if (c->remove_wanted) {
        try_later(c, STEP_REMOVE);
    } else if (unmade) {
        tell_end(c, CONTAINER_FAILED, e->text);
    } else if (c->step == STEP_VERSION) {
        try_later(c, c->then);
    } else if (c->step == STEP_CREATE || c->step == STEP_CLEAR || c->step == STEP_START) {
        tell_end(c, CONTAINER_FAILED, e->text); /* it may be there all the same */
    } else {
        try_later(c, c->step);
    }
}

static void on_asked(void *owner, int status, const json_t *body, const struct error *e)
{
    struct container *c = owner;

    c->ask = NULL;
    note_answer(c, status, e);
    if (c->remove_wanted && c->step != STEP_REMOVE && c->step != STEP_DELETE &&
        c->step != STEP_VERSION) {
        take_step(c, STEP_REMOVE); /* whatever it was, it is of no interest any more */
        return;
    }
    if (status == 0) {
        on_silence(c, e);
        return;
    }
    switch (c->step) {
    case STEP_VERSION:
        take_step(c, c->remove_wanted ? STEP_REMOVE : c->then);
        break;
    case STEP_CREATE:
        on_created(c, status, e);
        break;
    case STEP_CLEAR:
        on_used(c, status, body);
        break;
    case STEP_START:
        on_started(c, status, e);
        break;
    case STEP_INSPECT:
        on_inspected(c, status, body, e);
        break;
    case STEP_REMOVE:
        on_looked(c, status, body);
        break;
    default:
        on_removed(c, status, e);
        break;
    }
}

static void take_step(struct container *c, enum step step)
{
    c->step = step;
    switch (step) {
    case STEP_VERSION:
        c->ask = docker_ask_version(c->docker, on_asked, c);
        break;
    case STEP_CREATE:
        ask_create(c);
        break;
    case STEP_PULL:
        pull(c);
        break;
    case STEP_START:
        ask(c, "POST", "/start", NULL);
        break;
    case STEP_CLEAR:
    case STEP_INSPECT:
    case STEP_REMOVE:
        ask(c, "GET", "/json", NULL);
        break;
    case STEP_DELETE:
        ask(c, "DELETE", "?force=1&v=1", NULL);
        break;
    default:
        assert(!"a step that asks for something");
    }
}

/* ---- from outside */

static struct container *make(const struct container_in *in)
{
    struct container *c = xcalloc(1, sizeof(*c));

    c->world = in->world;
    c->docker = docker_create(in->world, in->socket);
    c->handler = in->handler;
    c->owner = in->owner;
    container_name(in->uuid, c->name);
    c->uuid = xstrdup(in->uuid);
    c->data_id = xstrdup(in->data_id);
    c->log_name = xstrdup(in->log_name);
    timer_init(&c->retry, in->world, "engines.container_retry", on_retry, c);
    timer_init(&c->drain, in->world, "engines.container_log", on_drain, c);
    container_log_open(&c->log, in->log_path, in->log_since_ns);
    return c;
}

/* What the definition says itself goes before what is passed on. */
static bool sets(const json_t *env, const char *name)
{
    size_t n = strlen(name), i;
    json_t *entry;

    json_array_foreach(UNCONST(json_t *, env), i, entry)
    {
        const char *text = json_string_value(entry);

        if (strncmp(text, name, n) == 0 && text[n] == '=') {
            return true;
        }
    }
    return false;
}

static void add_own(json_t *body, const struct container_in *in, const struct container_spec *spec)
{
    json_t *env = json_object_get(body, "Env");

    if (!env) {
        env = json_array();
        json_object_set_new(body, "Env", env);
    }
    json_array_append_new(env, json_sprintf("BERTH_INSTANCE=%s/%s", in->data_id, in->uuid));
    for (const char *const *name = spec->passed; name && *name; name++) {
        const char *value = getenv(*name);

        if (value && *value && !sets(env, *name)) {
            json_array_append_new(env, json_sprintf("%s=%s", *name, value));
        }
    }
    json_object_set_new(
        body, "Labels",
        json_pack("{s:s, s:s}", "berth.data", in->data_id, "berth.instance", in->uuid));
    if (in->oom_score) {
        json_object_set_new(json_object_get(body, "HostConfig"), "OomScoreAdj",
                            json_integer(in->oom_score));
    }
}

struct container *container_start(const struct container_in *in, const struct container_spec *spec,
                                  char *const *env)
{
    struct container *c = make(in);

    c->image = xstrdup(spec->image);
    c->pull = spec->pull;
    c->body = container_spec_json(spec, env);
    add_own(c->body, in, spec);
    begin(c, STEP_CREATE);
    return c;
}

struct container *container_adopt(const struct container_in *in)
{
    struct container *c = make(in);

    c->exists = c->adopting = true;
    begin(c, STEP_INSPECT);
    return c;
}

struct container *container_leftover(const struct container_in *in)
{
    struct container *c = make(in);

    c->exists = c->remove_wanted = c->end_told = true;
    begin(c, STEP_REMOVE);
    return c;
}

static void on_stopped(void *owner, int status, const json_t *body, const struct error *e)
{
    struct container *c = owner;

    c->stop = NULL; /* the one that waits tells of it */
}

void container_stop(struct container *c, uint64_t grace_ms)
{
    char path[PATH_MAX_];

    if (c->step != STEP_RUNNING) {
        container_remove(c); /* not running yet, or not any more: there is nothing to ask */
        return;
    }
    if (!c->stop) {
        snprintf(path, sizeof(path), "/containers/%s/stop?t=%" PRIu64, c->name,
                 grace_ms / 1000 + 1);
        c->stop = docker_ask(c->docker, "POST", path, NULL, 0, on_stopped, c);
    }
}

void container_remove(struct container *c)
{
    if (c->remove_wanted || c->step == STEP_GONE) {
        return;
    }
    c->remove_wanted = true;
    if (c->step == STEP_PULL) {
        http_call_cancel(TAKE_PTR(c->follow));
        buf_finish(&c->line);
    }
    if (c->ask) {
        return; /* its answer goes on with it */
    }
    timer_stop(&c->retry);
    timer_stop(&c->drain);
    begin(c, STEP_REMOVE);
}

bool container_exists(const struct container *c)
{
    return c->exists;
}

uint64_t container_silent_since_ms(const struct container *c)
{
    return c->silent_since_ms;
}

struct container *container_destroy(struct container *c)
{
    if (!c) {
        return NULL;
    }
    stop_asking(c);
    docker_destroy(c->docker);
    container_log_close(&c->log);
    buf_finish(&c->line);
    json_decref(c->body);
    free(c->pull_error);
    free(c->image);
    free(c->uuid);
    free(c->data_id);
    free(c->log_name);
    free(c);
    return NULL;
}
