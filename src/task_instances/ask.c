// SPDX-License-Identifier: Apache-2.0
/*
 * One question to a peer: JSON there and back over plain HTTP, bounded in time and in size. What
 * comes back is read strictly; an answer that is no JSON has no tree, and its status is told.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json.h"
#include "task_instances/task_instances_int.h"

struct ask {
    struct http_fetch *fetch;
    struct timer limit; /* of the whole answer: one that drips holds nobody up */
    char *body;
    struct span part;
    size_t max_answer;
    ask_fn done;
    void *owner;
};

static void free_ask(struct ask *a)
{
    timer_stop(&a->limit);
    free(a->body);
    free(a);
}

static void on_answer(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct ask *a = owner;
    const ask_fn done = a->done;
    void *done_owner = a->owner;
    json_t *json = NULL;

    if (result == 0 && json_read(body, a->max_answer, &json, NULL) < 0) {
        json = NULL;
    }
    free_ask(a);
    done(done_owner, result, status, json, e);
    json_decref(json);
}

static void on_limit(void *arg)
{
    struct ask *a = arg;
    const ask_fn done = a->done;
    void *done_owner = a->owner;

    ask_cancel(a);
    done(done_owner, -ETIMEDOUT, 0, NULL,
         &(struct error){ -ETIMEDOUT, "it has not answered within the time limit" });
}

struct ask *ask_start(struct peer *p, const struct ask_what *what)
{
    struct ask *a = xcalloc(1, sizeof(*a));
    struct http_call_request request = {
        .method = what->method,
        .path = what->path,
        .headers = what->body ? "Accept: application/json\r\nContent-Type: application/json\r\n"
                              : "Accept: application/json\r\n",
    };

    timer_init(&a->limit, p->ti->world, "task instance's answer", on_limit, a);
    timer_start(&a->limit, what->timeout_ms);
    a->done = what->done;
    a->owner = what->owner;
    a->max_answer = what->max_answer ? what->max_answer : PEER_ANSWER_MAX;
    if (what->body) {
        a->body = what->body;
        a->part = span_of(a->body);
        request.body = &a->part;
        request.body_parts = 1;
    }
    a->fetch = http_fetch_start(p->upstream, &request, a->max_answer, on_answer, a);
    return a;
}

struct ask *ask_cancel(struct ask *a)
{
    if (a) {
        http_fetch_cancel(a->fetch);
        free_ask(a);
    }
    return NULL;
}

int ask_refusal(int result, int status, const json_t *json, const struct error *e,
                struct error *reterr)
{
    const json_t *detail = json_object_get(json, "detail");
    const char *text = json_string_value(detail ? detail : json_object_get(json, "error"));

    if (result < 0) {
        return error_set(reterr, result, "%.*s", PEER_ERROR_MAX, e->text);
    }
    if (status < 200 || status > 299) {
        return error_set(reterr, -EPROTO, "it answered with status %d%s%.*s", status,
                         text ? ": " : "", PEER_ERROR_MAX, text ? text : "");
    }
    return error_set(reterr, -EPROTO, "its answer is not what its protocol says");
}

const char *json_short_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text && *text && strlen(text) <= PEER_NAME_MAX ? text : NULL;
}
