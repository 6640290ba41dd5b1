// SPDX-License-Identifier: Apache-2.0
/*
 * Asking a peer for results: of tasks that it must have ended by what it says of itself, and of
 * those that it was told to have ended without one. What it does not know any more is given to
 * others.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/json.h"
#include "task_instances/task_instances_int.h"

/* Not known so often in a row, it is lost: one that works may be between the end of a task and the
 * word of it, each time it is asked. */
enum { ABSENT_IDLE = 2, ABSENT_BUSY = 6 };

/* Its times are seconds where its own total says so. */
static double result_time_ms(const json_t *json)
{
    const json_t *took = json_object_get(json, "execution_time");
    const double span_s = json_number_value(json_object_get(json, "completion_time")) -
                          json_number_value(json_object_get(json, "enqueue_time"));
    const double total = json_number_value(json_object_get(json, "total_time"));

    if (!json_is_number(took) || json_number_value(took) < 0) {
        return -1;
    }
    return json_number_value(took) * (span_s > 0 && total > 0 && total < span_s * 30 ? 1000 : 1);
}

static bool has_failed(const json_t *json, const char **ret_error)
{
    const char *status = json_string_value(json_object_get(json, "status"));
    const char *error = json_string_value(json_object_get(json, "error"));

    *ret_error = error && *error ? error : "the Task Instance says that it failed";
    return (status && (str_eq(status, "failed") || str_eq(status, "error"))) || (error && *error);
}

static bool has_completed(const json_t *json)
{
    const char *status = json_string_value(json_object_get(json, "status"));
    const json_t *at = json_object_get(json, "completion_time");

    return (status && (str_eq(status, "completed") || str_eq(status, "success") ||
                       str_eq(status, "done") || str_eq(status, "finished"))) ||
           (!status && json_is_number(at));
}

static void end_with(struct run *run, const json_t *json, double execution_ms)
{
    const json_t *value = json_object_get(json, "result");
    char *text =
        value && !json_is_null(value) ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    struct task_result result = { .output = span_of(text) };
    const char *error;

    if (has_failed(json, &error)) {
        result.error = -EREMOTEIO;
        result.text = error;
    }
    run_end(run, &result, execution_ms);
    free(text);
}

/* It is done, and what came of it is more than is kept. */
static void end_too_long(struct run *run)
{
    run_end(
        run,
        &(struct task_result){ .error = -EFBIG, .text = "the task's result is too long to keep" },
        -1);
}

static void note_there(struct run *run)
{
    run->there = true;
    run->absent = 0;
    list_remove(&run->node); /* next time the others come first */
    list_append(&run->peer->runs, &run->node);
}

static void note_absent(struct run *run)
{
    run->absent += run->missed;
    if (run->absent >= (run->peer->busy ? ABSENT_BUSY : ABSENT_IDLE)) {
        run_lost(run, "it does not know the task");
    }
}

static void on_looked(void *owner, int result, int status, const json_t *json,
                      const struct error *e)
{
    struct run *run = owner;
    struct peer *p = run->peer;
    const char *error;

    run->ask = NULL;
    p->looking--;
    run->doubt = run->doubt && result < 0;
    if (result == -EFBIG) {
        end_too_long(run);
    } else if (result == 0 && status == 200 && (has_completed(json) || has_failed(json, &error))) {
        end_with(run, json, result_time_ms(json));
    } else if (result == 0 && status == 200) {
        note_there(run);
    } else if (result == 0 && status == 404) {
        note_absent(run);
    }
    if (!p->gone && p->silent_since_ms == 0) {
        runs_look(p);
    }
}

/* A name as a part of a path. */
static void encode(const char *name, char *out)
{
    for (; *name; name++) {
        const unsigned char c = (unsigned char)*name;

        if (isalnum(c) || strchr("-_.~:", c)) {
            *out++ = (char)c;
        } else {
            out += sprintf(out, "%%%02X", c);
        }
    }
    *out = '\0';
}

static void ask_result(struct run *run, ask_fn done)
{
    char path[16 + 3 * PEER_NAME_MAX] = "/results/";

    encode(run->remote, path + strlen(path));
    run->peer->looking++;
    run->ask = ask_start(run->peer, &(struct ask_what){
                                        .method = "GET",
                                        .path = path,
                                        .timeout_ms = run->ti->timeout_ms,
                                        .max_answer = TASK_OUTPUT_MAX + PEER_ANSWER_MAX,
                                        .done = done,
                                        .owner = run,
                                    });
}

/* Those that it had been given when it was asked how it is. */
static bool was_given(const struct run *run)
{
    return run->state == RUN_WORKING && run->seq <= run->peer->probe_seq;
}

/* How many of them must have ended: it has fewer. Nobody has told (yet), or it was told while
 * nobody listened, or it has begun anew and knows nothing of them. */
static size_t count_missed(const struct peer *p)
{
    const size_t has = p->busy ? (size_t)p->pub.queue_size + p->pub.replicas : 0;
    const struct run *run;
    size_t given = 0;

    list_for_each (run, &p->runs, node) {
        given += was_given(run);
    }
    return given > has ? given - has : 0;
}

/* Which of them are missed is not known: those that are not known to be there, the oldest first. */
void runs_look(struct peer *p)
{
    size_t missed = count_missed(p);
    struct run *run, *tmp;

    list_for_each_safe (run, tmp, &p->runs, node) {
        if (!was_given(run)) {
            continue;
        }
        if (run->ask || run->looked == p->probes) {
            missed -= missed > 0 && !run->there;
        } else if (missed == 0 && !run->doubt) {
            run->absent = 0;
        } else if (p->looking == LOOK_MAX || p->looks_left == 0) {
            break;
        } else {
            p->looks_left--;
            run->looked = p->probes;
            run->there = false;
            run->missed = missed > 0;
            missed -= missed > 0;
            ask_result(run, on_looked);
        }
    }
}

/* ---- a completion without its result ---- */

static void on_fetched(void *owner, int result, int status, const json_t *json,
                       const struct error *e)
{
    struct run *run = owner;
    const struct completion *c = list_first(&run->completions, struct completion, node);
    const double execution_ms =
        c ? c->execution_ms : -1; /* none: it did not want to wait so long */

    run->ask = NULL;
    run->peer->looking--;
    if (result == -EFBIG) {
        end_too_long(run);
        return;
    }
    if (result < 0 || status != 200) {
        log_warn("task_instances", run->peer->key, "a result was not given",
                 kv_str("task", run->public_id), kv_int("status", status));
        json = NULL;
    }
    end_with(run, json, execution_ms);
}

void run_fetch(struct run *run)
{
    if (run->ask) { /* a look, whose answer may be older than the completion */
        run->ask = ask_cancel(run->ask);
        run->peer->looking--;
    }
    run->state = RUN_FETCHING;
    ask_result(run, on_fetched);
}
