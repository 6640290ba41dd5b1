// SPDX-License-Identifier: Apache-2.0
/*
 * Slots: places for tasks, from asking for one to the end of an attempt. A task is claimed only
 * when its place is there, and the first task of that moment is taken, whichever it was when the
 * place was asked for.
 *
 *     ASKING ──granted──► CLAIMING ──committed──► RUNNING ──done, time is over, cancelled──► (gone)
 *       │ refused, not       │ its place went meanwhile
 *       ▼ wanted any more    ▼
 *     (gone)               LEFT ──committed──► (gone; the task is pending again)
 *
 *     BOUND: the place was there before the task; RUNNING once that is committed.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/tasks_int.h"

enum { AGAIN_MS = 1000, BYTES_PER_TOKEN = 4, SLOT_KEY_SIZE = 24 };

static const struct runner_of_kind *runner_of(const struct lane *lane)
{
    return &lane->tasks->runners[lane->kind];
}

bool lane_is_bounded(const struct lane *lane)
{
    return lane->model_id != 0 || !runner_of(lane)->runner->unbounded;
}

const struct model *lane_model(const struct lane *lane)
{
    return lane->model_id ? models_get(lane->tasks->in.models, lane->model_id) : NULL;
}

unsigned lane_max_workers(const struct lane *lane)
{
    const struct model *model = lane_model(lane);

    return model && model->config->max_workers > 0 ? (unsigned)model->config->max_workers
                                                   : lane->tasks->default_workers;
}

static void write_key(char out[SLOT_KEY_SIZE], int64_t id)
{
    snprintf(out, SLOT_KEY_SIZE, "%llx", (unsigned long long)id);
}

/* ---- life ---- */

static void note_numbers(const struct list *slots, bool *taken, unsigned count)
{
    const struct task_slot *slot;

    list_for_each (slot, slots, node) {
        if (slot->number < count) {
            taken[slot->number] = true;
        }
    }
}

static unsigned free_number(const struct lane *lane)
{
    const struct lane *const lanes[] = { lane, lane->pair };
    unsigned count = lane->asking + lane->busy + 1, number = 0;
    _cleanup_(freep) bool *taken = NULL;

    count += lane->pair ? lane->pair->asking + lane->pair->busy : 0;
    taken = xcalloc(count, sizeof(*taken)); /* one more than there are slots: one stays free */
    for (size_t i = 0; i < ARRAY_SIZE(lanes) && lanes[i]; i++) {
        note_numbers(&lanes[i]->asking_slots, taken, count);
        note_numbers(&lanes[i]->slots, taken, count);
    }
    while (taken[number]) {
        number++;
    }
    return number;
}

static void on_timeout(void *arg);

struct task_slot *slot_create(struct lane *lane, int state)
{
    struct task_slot *slot = xcalloc(1, sizeof(*slot));

    slot->tasks = lane->tasks;
    slot->lane = lane;
    slot->model_id = lane->model_id;
    slot->model = lane->name;
    slot->state = state;
    slot->number = lane_is_bounded(lane) ? free_number(lane) : 0;
    list_init(&slot->node);
    timer_init(&slot->timeout, lane->tasks->in.world, "task timeout", on_timeout, slot);
    return slot;
}

static void begin_asking(struct task_slot *slot, unsigned class)
{
    struct lane *lane = slot->lane;
    const struct window *w = &lane->windows[class];

    slot->priority = class;
    slot->tokens = (uint32_t)(w->count ? w->heads[0].bytes / BYTES_PER_TOKEN : 0);
    list_append(&lane->asking_slots, &slot->node);
    lane->asking++;
    lane->asking_by_class[class]++;
}

static void end_asking(struct task_slot *slot)
{
    list_remove(&slot->node);
    slot->lane->asking--;
    slot->lane->asking_by_class[slot->priority]--;
}

void slot_begin_work(struct task_slot *slot)
{
    list_append(&slot->lane->slots, &slot->node);
    slot->lane->busy++;
    slot->tasks->working++;
    slot->tasks->busy += lane_is_bounded(slot->lane);
}

static void end_work(struct task_slot *slot)
{
    char key[SLOT_KEY_SIZE];

    list_remove(&slot->node);
    slot->lane->busy--;
    slot->tasks->working--;
    slot->tasks->busy -= lane_is_bounded(slot->lane);
    if (slot->state == SLOT_RUNNING) {
        write_key(key, slot->task_id);
        map_remove(&slot->tasks->running, key);
    }
}

void slot_free(struct task_slot *slot)
{
    struct lane *lane = slot->lane;

    timer_stop(&slot->timeout);
    if (slot->state == SLOT_ASKING) {
        end_asking(slot);
    } else {
        end_work(slot);
    }
    task_free(slot->task);
    free(slot);
    lane_kick_model(lane);
}

void slot_void(struct task_slot *slot)
{
    const struct runner_of_kind *by = runner_of(slot->lane);

    by->runner->cancel(by->owner, slot);
    slot_free(slot);
}

/* ---- asking ---- */

static bool takes_tasks(const struct lane *lane)
{
    const struct tasks *t = lane->tasks;
    const struct model *model = lane_model(lane);

    return !t->draining && !store_read_only_reason(t->in.store) && runner_of(lane)->runner &&
           (lane->model_id == 0 || (model && model->task_status == MODEL_ONLINE));
}

static void look_again(struct lane *lane)
{
    struct tasks *t = lane->tasks;

    lane->not_before_ms = world_now_ms(t->in.world) + AGAIN_MS;
    if (!timer_active(&t->again)) {
        timer_start(&t->again, AGAIN_MS);
    }
}

static void note_refusal(struct lane *lane, const struct error *e)
{
    snprintf(lane->refusal, sizeof(lane->refusal), "%s", e ? e->text : "");
    look_again(lane);
}

/* No worker is free: it waits for its turn. Batches yield to all others. */
static void starve(struct lane *lane)
{
    struct lane *before;

    if (!list_empty(&lane->starved)) {
        return;
    }
    list_for_each (before, &lane->tasks->starved, starved) {
        if (lane->kind != TASK_OF_BATCH && before->kind == TASK_OF_BATCH) {
            list_append(&before->starved, &lane->starved);
            return;
        }
    }
    list_append(&lane->tasks->starved, &lane->starved);
}

/* False: the place is given back. */
static bool grant(struct task_slot *slot)
{
    struct lane *lane = slot->lane;
    struct tasks *t = slot->tasks;
    struct head head;
    unsigned class;

    if (lane_is_bounded(lane) && t->busy >= t->max_workers) {
        starve(lane);
        slot_void(slot);
        return false;
    }
    if (!takes_tasks(lane) || !lane_pop(lane, &head, &class)) {
        slot_void(slot);
        return false;
    }
    lane->refusal[0] = '\0';
    end_asking(slot);
    slot->state = SLOT_CLAIMING;
    slot_begin_work(slot);
    claim_add(slot, &head, class);
    return true;
}

/* False: there is no use in asking for another one now. */
static bool ask(struct lane *lane, unsigned class)
{
    const struct runner_of_kind *by = runner_of(lane);
    struct task_slot *slot = slot_create(lane, SLOT_ASKING);
    struct error error = { 0 };
    int r;

    begin_asking(slot, class);
    r = by->runner->reserve(by->owner, slot, &error);
    if (r < 0) {
        note_refusal(lane, &error);
        slot_free(slot);
        return false;
    }
    return r == 0 || grant(slot);
}

/* A place that is asked for and worth less than one of this class. */
static struct task_slot *find_lesser(struct lane *lane, unsigned class)
{
    struct task_slot *slot;

    if (lane->kind == TASK_OF_QUEUE && lane->pair && lane->pair->asking) {
        return list_first(&lane->pair->asking_slots, struct task_slot, node);
    }
    list_for_each (slot, &lane->asking_slots, node) {
        if (slot->priority < class) {
            return slot;
        }
    }
    return NULL;
}

/* Is there a worker for one more, if need be one that waits with something lesser? */
static bool make_room(struct lane *lane, unsigned class)
{
    struct tasks *t = lane->tasks;
    const struct lane *pair = lane->pair;
    unsigned taken = lane->asking + lane->busy + (pair ? pair->asking + pair->busy : 0);
    struct task_slot *lesser;

    if (!lane_is_bounded(lane)) {
        return lane->asking < ASKING_MAX;
    }
    if (t->busy >= t->max_workers) {
        starve(lane);
        return false;
    }
    if (taken < lane_max_workers(lane) && lane->asking < ASKING_MAX) {
        return true;
    }
    lesser = find_lesser(lane, class);
    if (lesser) {
        slot_void(lesser);
    }
    return lesser != NULL;
}

static void work(struct lane *lane)
{
    struct tasks *t = lane->tasks;
    int class;

    if (lane->model_id && !lane_model(lane)) {
        lane_stop_asking(lane);
        fail_lane_add(lane);
        return;
    }
    if (!takes_tasks(lane)) {
        lane_stop_asking(lane);
        return;
    }
    if (world_now_ms(t->in.world) < lane->not_before_ms) {
        if (!timer_active(&t->again)) {
            timer_start(&t->again, AGAIN_MS);
        }
        return;
    }
    while ((class = lane_wanted_class(lane)) >= 0 && make_room(lane, (unsigned)class)) {
        if (!ask(lane, (unsigned)class)) {
            return;
        }
    }
}

/* A model's queue goes before its batches. */
static void work_model(struct lane *lane)
{
    if (lane->kind == TASK_OF_BATCH && lane->pair) {
        work(lane->pair);
    }
    work(lane);
}

/* Those that have waited for a worker go first: whose worker has just ended would take it again
 * and again. */
void slots_work(struct tasks *t)
{
    struct list kicked;

    list_take(&t->kicked, &kicked);
    while (t->busy < t->max_workers && !list_empty(&t->starved)) {
        struct lane *lane = container_of(t->starved.next, struct lane, starved);

        list_remove(&lane->starved);
        work_model(lane);
    }
    while (!list_empty(&kicked)) {
        struct lane *lane = container_of(kicked.next, struct lane, kicked);

        list_remove(&lane->kicked);
        work_model(lane);
    }
    slots_check_drained(t);
}

void lane_stop_asking(struct lane *lane)
{
    struct task_slot *slot;

    while ((slot = list_first(&lane->asking_slots, struct task_slot, node))) {
        slot_void(slot);
    }
}

/* ---- from asking to running ---- */

void task_slot_granted(struct task_slot *slot)
{
    assert(slot->state == SLOT_ASKING);
    (void)grant(slot);
}

void task_slot_refused(struct task_slot *slot, const struct error *e)
{
    assert(slot->state == SLOT_ASKING || slot->state == SLOT_CLAIMING);
    note_refusal(slot->lane, e);
    if (slot->state == SLOT_CLAIMING) {
        slot->state = SLOT_LEFT;
    } else {
        slot_free(slot);
    }
}

void slot_next(struct task_slot *slot)
{
    struct head head;
    unsigned class;

    if (slot->state == SLOT_LEFT) {
        slot_free(slot);
    } else if (takes_tasks(slot->lane) && lane_pop(slot->lane, &head, &class)) {
        claim_add(slot, &head, class);
    } else {
        slot_void(slot);
    }
}

struct task_work task_work_of(const struct task *task)
{
    return (struct task_work){
        .id = task->id,
        .fence = task->fence,
        .public_id = task->public_id,
        .type = task->type,
        .priority = task->priority,
        .input = { task->input ? task->input : "", task->input_len },
        .options = { task->options, task->options ? strlen(task->options) : 0 },
        .timeout_ms = task->timeout_ms,
        .remote_id = task->remote_id,
    };
}

void slot_begin_running(struct task_slot *slot, struct task *task)
{
    char key[SLOT_KEY_SIZE];

    slot->state = SLOT_RUNNING;
    slot->task = task;
    slot->work = task_work_of(task);
    slot->task_id = task->id;
    slot->fence = task->fence;
    slot->priority = task->priority;
    slot->started_wall_ms = task->started_ms;
    write_key(key, task->id);
    map_put(&slot->tasks->running, key, slot);
    timer_start(&slot->timeout, task->timeout_ms);
}

void task_give_back(struct tasks *t, int64_t id, int64_t fence, const char *text)
{
    finish_add(t, id, fence,
               &(struct task_result){ .error = -ECANCELED, .lost = true, .text = text });
}

void slot_run(struct task_slot *slot, struct task *task)
{
    const struct runner_of_kind *by = runner_of(slot->lane);

    if (slot->state == SLOT_LEFT || slot->tasks->draining) {
        task_give_back(slot->tasks, task->id, task->fence,
                       slot->state == SLOT_LEFT ? "its place went before it began"
                                                : "berth went down before it began");
        task_free(task);
        if (slot->state == SLOT_LEFT) {
            slot_free(slot);
        } else {
            slot_void(slot);
        }
        return;
    }
    slot_begin_running(slot, task);
    by->runner->run(by->owner, slot, &slot->work);
}

/* ---- the end ---- */

static void end(struct task_slot *slot, const struct task_result *result)
{
    finish_add(slot->tasks, slot->task_id, slot->fence, result);
    slot_free(slot);
}

void task_slot_done(struct task_slot *slot, const struct task_result *result)
{
    assert(slot->state == SLOT_RUNNING);
    end(slot, result);
}

static void on_timeout(void *arg)
{
    struct task_slot *slot = arg;
    const struct runner_of_kind *by = runner_of(slot->lane);
    char text[96];

    snprintf(text, sizeof(text), "the attempt took longer than %.3g s",
             (double)slot->task->timeout_ms / 1000);
    by->runner->cancel(by->owner, slot);
    end(slot, &(struct task_result){ .error = -ETIMEDOUT, .helps = true, .text = text });
}

static struct task_slot *find(const struct tasks *t, int64_t task_id)
{
    char key[SLOT_KEY_SIZE];

    write_key(key, task_id);
    return map_get(&t->running, key);
}

void slot_revoke(struct tasks *t, int64_t task_id)
{
    struct task_slot *slot = find(t, task_id);

    if (slot) {
        slot_void(slot);
    }
}

void task_slot_set_remote(struct task_slot *slot, const char *remote_id)
{
    assert(slot->state == SLOT_RUNNING);
    free(slot->task->remote_id);
    slot->task->remote_id = xstrdup_opt(remote_id);
    slot->work.remote_id = slot->task->remote_id;
    remote_add(slot, remote_id);
}

/* ---- places that were there first ---- */

struct task_slot *task_slot_claim(struct tasks *t, int kind, const char *model,
                                  const char *instance, void *runner_data)
{
    struct task_slot *slot = slot_create(lane_make(t, (enum task_kind)kind, 0, model), SLOT_BOUND);

    snprintf(slot->instance, sizeof(slot->instance), "%s", instance);
    slot->runner_data = runner_data;
    slot_begin_work(slot);
    return slot;
}

void task_slot_cancel(struct task_slot *slot)
{
    assert(slot->state == SLOT_BOUND);
    slot_free(slot);
}
