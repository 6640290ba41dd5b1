// SPDX-License-Identifier: Apache-2.0
/*
 * Task Instances as a runner of tasks (tasks/runner.h): a place is a chosen peer. Tasks of models
 * that berth runs itself came in by the same door and are handed on to the gateway's runner.
 */
#include "base/mem.h"
#include "task_instances/task_instances_int.h"

static bool is_others(const struct task_instances *ti, const struct task_slot *slot)
{
    return slot->model_id != 0 && ti->fallback;
}

static void set_peer(struct run *run, struct peer *p)
{
    run_bind(run, p);
    snprintf(run->slot->instance, sizeof(run->slot->instance), "%s", p->pub.uuid);
}

static void on_chosen(void *owner, struct peer *p, const struct error *e)
{
    struct run *run = owner;
    struct task_slot *slot = run->slot;

    if (p) {
        set_peer(run, p);
        task_slot_granted(slot);
        return;
    }
    run->slot = NULL;
    slot->runner_data = NULL;
    run_free(run);
    task_slot_refused(slot, e);
}

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    struct task_instances *ti = owner;
    struct run *run;
    struct peer *p;
    int r;

    if (is_others(ti, slot)) {
        return ti->fallback->reserve(ti->fallback_owner, slot, reterr);
    }
    run = run_create(ti, slot->model);
    run->slot = slot;
    run->strategy = ti->strategy;
    slot->runner_data = run;
    r = choose(run, on_chosen, &p, reterr);
    if (r > 0) {
        set_peer(run, p);
    } else if (r < 0) {
        slot->runner_data = NULL;
        run_free(run);
    }
    return r;
}

static void run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct task_instances *ti = owner;

    if (is_others(ti, slot)) {
        ti->fallback->run(ti->fallback_owner, slot, work);
    } else {
        run_work(slot->runner_data, work);
    }
}

static void cancel(void *owner, struct task_slot *slot)
{
    struct task_instances *ti = owner;

    if (is_others(ti, slot)) {
        ti->fallback->cancel(ti->fallback_owner, slot);
    } else if (slot->runner_data) { /* their protocol has no word for it: it is let go of */
        run_free(slot->runner_data);
    }
}

/* The later generation knows the task by our own name, so that it can be asked even when its answer
 * to the submit was not heard. */
static bool adopt(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct task_instances *ti = owner;
    struct peer *p = peer_find(ti, slot->instance);
    const char *remote = work->remote_id;
    struct run *run;

    if (is_others(ti, slot)) {
        return ti->fallback->adopt && ti->fallback->adopt(ti->fallback_owner, slot, work);
    }
    if (p && !remote && p->pub.generation == INFO_GENERATION) {
        remote = work->public_id;
    }
    if (!p || !p->line || !remote || !*remote) {
        return false;
    }
    run = run_create(ti, slot->model);
    run->slot = slot;
    run->doubt = true;
    slot->runner_data = run;
    run_set_id(run, work->public_id);
    run_bind(run, p);
    run_set_remote(run, remote);
    run->state = RUN_WORKING;
    p->pub.chosen--; /* it was not chosen now */
    probe_soon(p);
    return true;
}

static bool leave(void *owner, struct task_slot *slot)
{
    struct task_instances *ti = owner;
    struct run *run = slot->runner_data;

    if (is_others(ti, slot)) {
        return ti->fallback->leave && ti->fallback->leave(ti->fallback_owner, slot);
    }
    if (!run || run->state != RUN_WORKING) {
        return false;
    }
    run->slot = NULL;
    ti->down = true;
    run_free(run);
    return true;
}

static void why(void *owner, int64_t model_id, const char *model, char *out, size_t size)
{
    struct task_instances *ti = owner;
    const struct line *line = map_get(&ti->lines, model);
    const struct peer *p;

    if (model_id != 0 && ti->fallback) {
        if (ti->fallback->why) {
            ti->fallback->why(ti->fallback_owner, model_id, model, out, size);
        }
        return;
    }
    out[0] = '\0';
    if (!line || line->peer_count == 0) {
        snprintf(out, size, "no Task Instance serves the model");
        return;
    }
    list_for_each (p, &line->peers, of_line) {
        if (p->pub.state == TI_READY && p->pub.replicas > 0) {
            return;
        }
    }
    snprintf(out, size, "no Task Instance of the model answers");
}

const struct task_runner task_instance_runner = {
    .name = "task_instances",
    .reserve = reserve,
    .run = run,
    .cancel = cancel,
    .adopt = adopt,
    .leave = leave,
    .why = why,
    .unbounded = true,
};
