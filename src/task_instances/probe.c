// SPDX-License-Identifier: Apache-2.0
/*
 * The heartbeat: each peer is asked every task_instances.heartbeat how it is, in the words of its
 * generation (GET /status, else GET /info). Questions are bounded in number, apart for those that
 * are new, that answer, and that do not, so that dead ones never keep others from being asked.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "task_instances/task_instances_int.h"

enum { PROBES_PER_LANE = 64, STATUS_GENERATION = 2 };

static void pump(struct task_instances *ti, int lane);

/* ---- how it is ---- */

struct report {
    const char *model, *instance_id; /* NULL: not said */
    unsigned replicas, queue_size;
    bool busy;
};

static unsigned number(const json_t *object, const char *name, unsigned fallback)
{
    const json_t *v = json_object_get(object, name);
    const json_int_t n = json_integer_value(v);

    return json_is_integer(v) && n >= 0 ? (unsigned)MIN_OF(n, 1000000000) : fallback;
}

/* GET /status */
static bool read_status(const json_t *json, struct report *ret)
{
    const char *status = json_string_value(json_object_get(json, "status"));

    if (!json_object_get(json, "queue_size") && !json_object_get(json, "replicas_running")) {
        return false;
    }
    *ret = (struct report){
        .model = json_short_text(json, "model_type"),
        .instance_id = json_short_text(json, "instance_id"),
        .replicas = number(json, "replicas_running", 0),
        .queue_size = number(json, "queue_size", 0),
    };
    ret->busy = ret->queue_size > 0 || (status && !str_eq(status, "idle"));
    return true;
}

/* GET /info */
static bool read_info(const json_t *json, struct report *ret)
{
    const json_t *deployed = json_object_get(json, "deployed_model");
    const char *status = json_string_value(json_object_get(json, "instance_status"));

    if (!json_object_get(json, "deployed_model") && !json_object_get(json, "queue_info")) {
        return false;
    }
    *ret = (struct report){
        .model = json_short_text(deployed, "model_name"),
        .instance_id = json_short_text(json, "instance_id"),
        .replicas = number(deployed, "replicas", json_is_object(deployed) ? 1 : 0),
        .queue_size = number(json_object_get(json, "queue_info"), "length_of_queue", 0),
    };
    ret->busy = ret->queue_size > 0 || (status && !str_eq(status, "idle"));
    return true;
}

/* ---- what follows of it ---- */

static bool take_report(struct peer *p, const struct report *r, unsigned generation)
{
    const char *model = r->model ? r->model : p->given_model;
    bool changed = p->pub.generation != generation;

    p->pub.generation = generation;
    p->pub.replicas = r->replicas;
    p->pub.queue_size = r->queue_size;
    p->busy = r->busy;
    p->probes++;
    p->looks_left = p->busy ? LOOKS_MAX : UINT_MAX;
    if (!str_eq_opt(p->pub.model, model)) {
        peer_set_model(p, model);
        changed = true;
    }
    if (r->instance_id && !str_eq_opt(p->pub.instance_id, r->instance_id)) {
        peer_forget_name(p);
        free(p->pub.instance_id);
        p->pub.instance_id = xstrdup(r->instance_id);
        map_put(&p->ti->by_name, r->instance_id, p);
        changed = true;
    }
    return changed;
}

static void note_good(struct peer *p, const struct report *r, unsigned generation)
{
    struct task_instances *ti = p->ti;
    const bool changed = take_report(p, r, generation);

    p->pub.seen_wall_ms = world_wall_ms(ti->world);
    p->silent_since_ms = 0;
    free(p->pub.last_error);
    p->pub.last_error = NULL;
    if (changed) {
        row_save(p);
    }
    if (p->pub.state == TI_UNREACHABLE) {
        p->pub.state = TI_READY;
        peer_tell(p, "ready");
        tasks_wake(ti->tasks);
    } else if (changed) {
        tasks_wake(ti->tasks);
    }
    runs_look(p);
    peer_tell_waiters(p, 0, NULL);
    peer_settle(p);
}

void peer_note_silent(struct peer *p, const struct error *e)
{
    struct task_instances *ti = p->ti;
    const uint64_t now = world_now_ms(ti->world);

    free(p->pub.last_error);
    p->pub.last_error = xstrdup(e->text);
    if (p->silent_since_ms == 0) {
        p->silent_since_ms = MAX_OF(now, 1);
    }
    if (p->pub.state == TI_READY) {
        p->pub.state = TI_UNREACHABLE;
        peer_tell(p, "unreachable");
    }
}

static void note_bad(struct peer *p, const struct error *e)
{
    peer_note_silent(p, e);
    if (world_now_ms(p->ti->world) - p->silent_since_ms >= p->ti->lost_after_ms) {
        peer_give_up_runs(p, "it does not answer any more");
    }
    peer_tell_waiters(p, 1, e);
    peer_settle(p);
}

/* ---- asking ---- */

static void ask_generation(struct peer *p, unsigned generation);

static void end_probe(struct peer *p)
{
    const int lane = p->probe_lane;

    p->probe_lane = -1;
    p->ti->probing[lane]--;
    if (!p->gone) {
        timer_start(&p->heartbeat, p->ti->heartbeat_ms);
    }
    pump(p->ti, lane);
}

static void on_probe(struct peer *p, unsigned generation, int result, int status,
                     const json_t *json, const struct error *e)
{
    struct report report;
    struct error bad = { 0 };

    p->probe = NULL;
    if (result == 0 && status == 200 &&
        (generation == INFO_GENERATION ? read_info(json, &report) : read_status(json, &report))) {
        end_probe(p);
        note_good(p, &report, generation);
        return;
    }
    if (result == 0 && !p->probe_second) { /* it answers, but not to this */
        p->probe_second = true;
        ask_generation(p, generation == INFO_GENERATION ? STATUS_GENERATION : INFO_GENERATION);
        return;
    }
    ask_refusal(result, status, json, e, &bad);
    end_probe(p);
    note_bad(p, &bad);
}

static void on_status(void *owner, int result, int status, const json_t *json,
                      const struct error *e)
{
    on_probe(owner, STATUS_GENERATION, result, status, json, e);
}

static void on_info(void *owner, int result, int status, const json_t *json, const struct error *e)
{
    on_probe(owner, INFO_GENERATION, result, status, json, e);
}

static void ask_generation(struct peer *p, unsigned generation)
{
    p->probe_seq = p->run_seq;
    p->probe = ask_start(p, &(struct ask_what){
                                .method = "GET",
                                .path = generation == INFO_GENERATION ? "/info" : "/status",
                                .timeout_ms = p->ti->timeout_ms,
                                .done = generation == INFO_GENERATION ? on_info : on_status,
                                .owner = p,
                            });
}

static void pump(struct task_instances *ti, int lane)
{
    struct peer *p;

    while (ti->probing[lane] < PROBES_PER_LANE &&
           (p = list_first(&ti->probe_queues[lane], struct peer, probe_node))) {
        list_remove(&p->probe_node);
        ti->probing[lane]++;
        p->probe_second = false;
        ask_generation(p,
                       p->pub.generation == INFO_GENERATION ? INFO_GENERATION : STATUS_GENERATION);
    }
}

void probe_soon(struct peer *p)
{
    if (p->probe_lane >= 0 || p->gone) {
        return;
    }
    timer_stop(&p->heartbeat);
    p->probe_lane = !list_empty(&p->waiters)  ? PROBE_NEW
                    : p->silent_since_ms == 0 ? PROBE_READY
                                              : PROBE_DEAD;
    list_append(&p->ti->probe_queues[p->probe_lane], &p->probe_node);
    pump(p->ti, p->probe_lane);
}

static void on_heartbeat(void *arg)
{
    probe_soon(arg);
}

static void on_patience(void *arg);

/* The first one comes at once, in a later turn. */
void probe_begin(struct peer *p)
{
    timer_init(&p->heartbeat, p->ti->world, "task instance's heartbeat", on_heartbeat, p);
    timer_init(&p->patience, p->ti->world, "task instance's first answer", on_patience, p);
    timer_start(&p->heartbeat, 0);
}

void probe_stop(struct peer *p)
{
    timer_stop(&p->heartbeat);
    timer_stop(&p->patience);
    if (p->probe_lane >= 0) {
        const int lane = p->probe_lane;

        if (p->probe) {
            p->probe = ask_cancel(p->probe);
            p->ti->probing[lane]--;
        }
        list_remove(&p->probe_node);
        p->probe_lane = -1;
        pump(p->ti, lane);
    }
}

void probes_init(struct task_instances *ti)
{
    for (int i = 0; i < PROBE_LANES; i++) {
        list_init(&ti->probe_queues[i]);
    }
}

/* ---- those who wait for the first answer ---- */

void peer_tell_waiters(struct peer *p, int result, const struct error *e)
{
    struct list all;
    struct waiter *w;

    timer_stop(&p->patience);
    list_take(&p->waiters, &all);
    while ((w = list_first(&all, struct waiter, node))) {
        list_remove(&w->node);
        w->done(w->arg, result, result < 0 ? NULL : &p->pub, e);
        free(w);
    }
}

static void on_patience(void *arg)
{
    struct peer *p = arg;

    peer_tell_waiters(p, 1,
                      &(struct error){ -ETIMEDOUT, "it has not answered within the time limit" });
}

void peer_await(struct peer *p, task_instance_fn done, void *arg)
{
    struct waiter *w = xmalloc(sizeof(*w));

    *w = (struct waiter){ .done = done, .arg = arg };
    list_append(&p->waiters, &w->node);
    timer_start(&p->patience, p->ti->timeout_ms);
    probe_soon(p);
}
