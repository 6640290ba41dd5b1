// SPDX-License-Identifier: Apache-2.0
/*
 * One attempt at one task: bound to a peer, enqueued there in the words of its generation, until
 * it has ended. A peer that refuses it is left out and the next best one is asked. What
 * it adds to its peer's estimate is taken off when it leaves, whichever way.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"
#include "codec/scan.h"
#include "task_instances/task_instances_int.h"

enum {
    KEY_SIZE = UUID_SIZE + PEER_NAME_MAX + 1,
    ENQUEUE_ROOM = 8192, /* bytes around a task's own */
};

static void remote_key(const struct peer *p, const char *remote, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "%s/%s", p->pub.uuid, remote);
}

/* ---- life ---- */

struct run *run_create(struct task_instances *ti, const char *model)
{
    struct run *run = xcalloc(1, sizeof(*run));

    run->ti = ti;
    run->model = xstrdup(model);
    run->told_ms = -1;
    list_init(&run->completions);
    list_append(&ti->homeless, &run->node);
    return run;
}

void run_set_id(struct run *run, const char *public_id)
{
    snprintf(run->public_id, sizeof(run->public_id), "%s", public_id);
    if (run->public_id[0]) {
        map_put(&run->ti->by_task, run->public_id, run);
    }
}

void run_set_remote(struct run *run, const char *remote)
{
    char key[KEY_SIZE];

    free(run->remote);
    run->remote = xstrdup(remote);
    remote_key(run->peer, remote, key);
    map_put(&run->ti->by_remote, key, run);
}

void run_bind(struct run *run, struct peer *p)
{
    double ms, var;

    run->peer = p;
    run->state = RUN_CHOSEN;
    list_remove(&run->node);
    list_append(&p->runs, &run->node);
    p->pub.in_flight++;
    p->pub.chosen++;
    peer_cost(p, run->told_ms, &ms, &var);
    estimate_give(&p->estimate, &run->share, ms, var);
}

static void stop_asking(struct run *run)
{
    if (run->ask) {
        assert(run->peer); /* whom it asks */
        run->ask = ask_cancel(run->ask);
        if (run->state == RUN_ENQUEUING) {
            run->peer->enqueuing--;
        } else {
            run->peer->looking--;
        }
    }
}

void run_unbind(struct run *run)
{
    struct peer *p = run->peer;
    char key[KEY_SIZE];

    stop_asking(run);
    if (!p) {
        return;
    }
    if (run->remote) {
        remote_key(p, run->remote, key);
        if (map_get(&run->ti->by_remote, key) == run) {
            map_remove(&run->ti->by_remote, key);
        }
        free(run->remote);
        run->remote = NULL;
    }
    estimate_end(&p->estimate, &run->share);
    p->pub.in_flight--;
    run->peer = NULL;
    list_remove(&run->node);
    list_append(&run->ti->homeless, &run->node);
}

void run_free(struct run *run)
{
    struct peer *p = run->peer;
    struct completion *c;

    run_unbind(run);
    choice_cancel(run->choice);
    if (run->public_id[0] && map_get(&run->ti->by_task, run->public_id) == run) {
        map_remove(&run->ti->by_task, run->public_id);
    }
    while ((c = list_first(&run->completions, struct completion, node))) {
        completion_answer(c, -ENOENT, NULL, 0,
                          &(struct error){ -ENOENT, "the task was taken back meanwhile" });
    }
    if (run->submission) {
        submission_dropped(TAKE_PTR(run->submission));
    }
    list_remove(&run->node);
    free(run->model);
    free(run->tried);
    free(run);
    if (p) {
        completions_retry(p->ti, p);
        peer_settle(p);
    }
}

static void end_all(struct list *runs)
{
    struct run *run;

    while ((run = list_first(runs, struct run, node))) {
        run->slot = NULL;
        run_unbind(run);
        run_free(run);
    }
}

void runs_end(struct task_instances *ti)
{
    struct peer *p;

    end_all(&ti->homeless);
    list_for_each (p, &ti->peers, node) {
        end_all(&p->runs);
    }
}

/* ---- enqueuing ---- */

enum { METADATA, COST, WANTED };

/* What a task's options say; absent members where they cannot be read. */
static void scan_options(struct span options, struct scan_member ret[WANTED])
{
    ret[METADATA] = (struct scan_member){ .name = "metadata" };
    ret[COST] = (struct scan_member){ .name = "metadata.server_time_cost" };
    if (scan_object(options, ret, WANTED, NULL) < 0) {
        ret[METADATA].type = ret[COST].type = SCAN_ABSENT;
    }
}

double run_told_ms(struct span options)
{
    struct scan_member found[WANTED];
    double ms = -1;

    scan_options(options, found);
    if (found[COST].type == SCAN_NUMBER) {
        _cleanup_(freep) char *text = span_dup(found[COST].value);

        ms = strtod(text, NULL);
    }
    return is_time_ms(ms) ? ms : -1;
}

static void put_text(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, ",\"%s\":\"", name);
    buf_put_json_escaped(b, value, strlen(value));
    buf_putc(b, '"');
}

/* The bytes of the input are passed on as they are. NULL: it is too long. */
static char *enqueue_body(const struct run *run, bool later)
{
    static const struct span none = { "{}", 2 };
    struct buf b = BUF_INIT(TASK_INPUT_MAX + ENQUEUE_ROOM);
    struct scan_member found[WANTED];
    struct span input = run->work->input.n > 0 ? run->work->input : none, metadata;

    scan_options(run->work->options, found);
    metadata = found[METADATA].type == SCAN_OBJECT ? found[METADATA].value : none;
    buf_puts(&b, later ? "{\"task_input\":" : "{\"input_data\":");
    buf_append(&b, input.p, input.n);
    buf_puts(&b, ",\"metadata\":");
    buf_append(&b, metadata.p, metadata.n);
    if (later) {
        put_text(&b, "model_name", run->model);
        put_text(&b, "task_id", run->public_id);
    }
    if (buf_putc(&b, '}') < 0) {
        buf_finish(&b);
        return NULL;
    }
    return buf_take(&b, NULL);
}

static void leave_out(struct run *run)
{
    assert(run->peer);
    run->tried = xrealloc(run->tried, (run->tried_count + 1) * sizeof(run->tried[0]));
    run->tried[run->tried_count++] = run->peer->number;
}

/* Nobody takes it. Whoever submitted it is told, and then it is over; one that was accepted long
 * ago is tried again. */
static void end_refused(struct run *run, const struct error *why)
{
    struct submission *s = TAKE_PTR(run->submission);
    struct error e = *why;
    const struct task_result result = { .error = e.code, .helps = !s, .text = e.text };

    run_end(run, &result, -1);
    if (s) {
        submission_refused(s, &e);
    }
}

static void on_next(void *owner, struct peer *p, const struct error *e)
{
    struct run *run = owner;

    if (!p) {
        end_refused(run, e);
        return;
    }
    run_bind(run, p);
    snprintf(run->slot->instance, sizeof(run->slot->instance), "%s", p->pub.uuid);
    run_enqueue(run);
}

static void choose_again(struct run *run, const struct error *why)
{
    struct peer *next;
    struct error e = { 0 };
    int r;

    run->state = RUN_CHOOSING;
    r = choose(run, on_next, &next, &e);
    if (r < 0) {
        end_refused(run, why);
    } else if (r > 0) {
        on_next(run, next, why);
    }
}

static void try_next(struct run *run, const struct error *why)
{
    leave_out(run);
    run_unbind(run);
    choose_again(run, why);
}

/* The later generation may leave the name to us. */
static const char *name_given(const struct run *run, const json_t *json)
{
    const char *name = json_short_text(json, "task_id");

    return name || run->peer->pub.generation != INFO_GENERATION ? name : run->public_id;
}

static void on_enqueued(void *owner, int result, int status, const json_t *json,
                        const struct error *e)
{
    struct run *run = owner;
    struct peer *p = run->peer;
    const bool good = result == 0 && status >= 200 && status < 300 && name_given(run, json);
    struct error why = { 0 };

    run->ask = NULL;
    p->enqueuing--;
    if (good) {
        run->state = RUN_WORKING;
        run->seq = ++p->run_seq;
        run_set_remote(run, name_given(run, json));
        task_slot_set_remote(run->slot, run->remote);
        if (run->submission) {
            submission_enqueued(run->submission);
        }
        completions_retry(p->ti, p);
        return;
    }
    ask_refusal(result, status, json, e, &why);
    log_info("task_instances", p->key, "a task was not taken", kv_str("task", run->public_id),
             kv_str("error", why.text));
    error_prefix(&why, "%s: ", p->key);
    if (result < 0) {
        peer_note_silent(p, &why);
        probe_soon(p);
    }
    try_next(run, &why);
    completions_retry(p->ti, p);
}

void run_enqueue(struct run *run)
{
    struct peer *p = run->peer;
    const bool later = p->pub.generation == INFO_GENERATION;
    char *body = enqueue_body(run, later);

    if (!body) {
        end_refused(run, &(struct error){ -EFBIG, "the task is too long" });
        return;
    }
    run->state = RUN_ENQUEUING;
    p->enqueuing++;
    run->ask = ask_start(p, &(struct ask_what){
                                .method = "POST",
                                .path = later ? "/queue/submit" : "/queue/enqueue",
                                .body = body,
                                .timeout_ms = p->ti->timeout_ms,
                                .done = on_enqueued,
                                .owner = run,
                            });
}

void run_work(struct run *run, const struct task_work *work)
{
    run->work = work;
    run->told_ms = run_told_ms(work->options);
    if (!run->public_id[0] && work->public_id) {
        run_set_id(run, work->public_id);
    }
    if (run->peer) { /* now it is known what the task itself says of its cost */
        double ms, var;

        peer_cost(run->peer, run->told_ms, &ms, &var);
        estimate_end(&run->peer->estimate, &run->share);
        estimate_give(&run->peer->estimate, &run->share, ms, var);
        run_enqueue(run);
    } else { /* it left while the claim was being committed */
        choose_again(run, &(struct error){ -ECONNRESET, "its Task Instance has gone" });
    }
}

/* ---- the end ---- */

void run_lost(struct run *run, const char *why)
{
    struct task_result result = { .error = -ECONNRESET, .helps = true, .lost = true };
    struct error e = { 0 };

    if (!list_empty(&run->completions)) { /* it was told to be done; only its result is lost */
        result = (struct task_result){ 0 };
        run_end(run, &result, -1);
        return;
    }
    if (run->state == RUN_CHOSEN && run->peer) {
        run_unbind(run); /* its claim is being committed: run comes, and finds it without a peer */
        return;
    }
    error_set(&e, -ECONNRESET, "Task Instance %s: %s", run->peer ? run->peer->key : "-", why);
    if (run->state == RUN_ENQUEUING && run->submission) {
        try_next(run, &e);
        return;
    }
    result.text = e.text;
    run_end(run, &result, -1);
}

void run_end(struct run *run, const struct task_result *result, double execution_ms)
{
    struct task_slot *slot = TAKE_PTR(run->slot);
    struct peer *p = run->peer;

    if (p && !result->lost) {
        p->pub.completed += result->error == 0;
        p->pub.failed += result->error != 0;
    }
    if (p && p->line && result->error == 0 && execution_ms > 0 && is_time_ms(execution_ms)) {
        learnt_add(&p->learnt, execution_ms);
        learnt_add(&p->line->learnt, execution_ms);
    }
    if (!result->lost && (result->error == 0 || !result->helps)) {
        run_note_end(run, result->error == 0 && is_time_ms(execution_ms), execution_ms);
    }
    task_slot_done(slot, result);
    run_free(run);
}
