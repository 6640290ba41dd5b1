// SPDX-License-Identifier: Apache-2.0
/*
 * Attempts in the store: a claim, and what ends it. A claim asks for a ready row; an end asks for
 * the running row of its fence.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/tasks_int.h"

enum {
    LOST_MAX = 10, /* attempts that may be lost before that counts as a failure */
    RETRY_AFTER_MAX_MS = 24 * 3600 * 1000,
};

/* ---- claims ---- */

struct claim {
    struct change c;
    struct task_slot *slot;
    struct head head;
    unsigned class;
    char instance[UUID_SIZE];
};

static int run_claim(struct change *c, struct writing *w, struct error *reterr)
{
    struct claim *claim = container_of(c, struct claim, c);
    struct task *task = NULL;
    struct move *m;
    int r = row_load(w->db, c->id, true, &task, reterr);

    if (r <= 0) {
        return r;
    }
    if (task->state != TASK_PENDING || task->due_ms || task->priority != claim->class) {
        task_free(task);
        return 0;
    }
    m = move_begin(c, task);
    task->state = TASK_RUNNING;
    task->fence++;
    task->started_ms = world_wall_ms(w->world);
    free(task->instance);
    free(task->remote_id);
    task->instance = claim->instance[0] ? xstrdup(claim->instance) : NULL;
    task->remote_id = NULL;
    return move_save(w, m, reterr);
}

static void claim_done(struct change *c)
{
    struct claim *claim = container_of(c, struct claim, c);
    struct task_slot *slot = claim->slot;

    if (c->result < 0) {
        struct lane *lane = slot->lane;

        window_insert(&lane->windows[claim->class], &claim->head);
        lane->not_before_ms = world_now_ms(c->tasks->in.world) + 1000;
        snprintf(lane->refusal, sizeof(lane->refusal), "%s", c->error->text);
        if (slot->state == SLOT_LEFT) {
            slot_next(slot);
        } else {
            slot_void(slot);
        }
    } else if (c->move_count == 0) {
        slot_next(slot);
    } else {
        slot_run(slot, TAKE_PTR(c->moves[0].task));
    }
}

static const struct change_kind claims = { run_claim, claim_done, NULL, true };

void claim_add(struct task_slot *slot, const struct head *head, unsigned class)
{
    struct claim *claim = xcalloc(1, sizeof(*claim));

    claim->c.kind = &claims;
    claim->c.id = head->id;
    claim->slot = slot;
    claim->head = *head;
    claim->class = class;
    snprintf(claim->instance, sizeof(claim->instance), "%s", slot->instance);
    journal_add(slot->tasks, &claim->c);
}

/* ---- ends ---- */

struct ending {
    struct change c;
    struct task_result result;
    char *text;
    struct span output; /* owned; absent: none */
    /* How long until another try: retry_delay, doubled each time, up to the maximum, and this much
     * of it. */
    uint64_t delay_ms, delay_max_ms;
    double jitter;
};

static void finish_ending(struct change *c)
{
    struct ending *e = container_of(c, struct ending, c);

    free(e->text);
    free(UNCONST(char *, e->output.p));
}

static int64_t next_try(const struct ending *e, const struct task *task, int64_t now)
{
    uint64_t delay = e->delay_ms;

    if (e->result.retry_after_ms) {
        return now + (int64_t)MIN_OF(e->result.retry_after_ms, (uint64_t)RETRY_AFTER_MAX_MS);
    }
    for (unsigned i = 0; i < task->retry_count && delay < e->delay_max_ms; i++) {
        delay *= 2;
    }
    return now + (int64_t)((double)MIN_OF(delay, e->delay_max_ms) * e->jitter);
}

void task_set_error(struct task *task, const char *text)
{
    size_t n = MIN_OF(strlen(text), TASK_ERROR_MAX);

    while (n > 0 && text[n] && ((unsigned char)text[n] & 0xc0) == 0x80) {
        n--; /* not in the middle of a character */
    }
    free(task->error);
    task->error = xstrndup(text, n);
}

static void end_well(struct task *task, int64_t now)
{
    task->state = TASK_COMPLETED;
    task->completed_ms = now;
    task->due_ms = 0;
    free(task->error);
    task->error = NULL;
}

static const char *end_badly(const struct ending *e, struct task *task, int64_t now)
{
    bool lost = e->result.lost && task->lost < LOST_MAX;
    bool helps = e->result.helps || e->result.lost;

    task_set_error(task, e->text);
    task->state = TASK_PENDING;
    task->due_ms = 0;
    if (lost) {
        task->lost++;
        return "the attempt was lost and begins anew";
    }
    if (helps && task->retry_count < task->max_retries) {
        task->due_ms = next_try(e, task, now);
        task->due_ms = task->due_ms > now ? task->due_ms : 0;
        task->retry_count++;
        return "the attempt failed and is tried again";
    }
    task->state = TASK_FAILED;
    task->completed_ms = now;
    task->dead = helps;
    return helps ? "the last attempt failed" : "the attempt failed, and another would, too";
}

static int log_failure(struct writing *w, const struct task *task, const char *what,
                       struct error *reterr)
{
    json_t *data = json_pack("{s:I, s:s}", "attempt", (json_int_t)task->fence, "error",
                             task->error ? task->error : "");

    if (data && task->instance) {
        json_object_set_new(data, "instance", json_string(task->instance));
    }
    if (data && task->due_ms) {
        json_object_set_new(data, "due_ms", json_integer(task->due_ms));
    }
    return log_append(w, task->id, task->state == TASK_FAILED ? "error" : "warn", what, data,
                      reterr);
}

static int end_row(struct ending *e, struct writing *w, struct task *task, struct error *reterr)
{
    struct move *m = move_begin(&e->c, task);
    int64_t now = world_wall_ms(w->world);
    int r = 0;

    task->http_status = e->result.http_status;
    if (e->result.error == 0) {
        end_well(task, now);
    } else {
        r = log_failure(w, task, end_badly(e, task, now), reterr);
    }
    if (r >= 0 && e->output.p && task->state != TASK_PENDING) {
        r = output_save(w->db, task->id, e->output, reterr);
    }
    return r < 0 ? r : move_save(w, m, reterr);
}

static int run_ending(struct change *c, struct writing *w, struct error *reterr)
{
    struct task *task = NULL;
    int r = row_load(w->db, c->id, false, &task, reterr);

    if (r <= 0) {
        return r;
    }
    if (task->state != TASK_RUNNING || task->fence != c->fence) {
        task_free(task);
        return 0;
    }
    return end_row(container_of(c, struct ending, c), w, task, reterr);
}

static void ending_done(struct change *c)
{
    if (c->result < 0) {
        log_warn("tasks", NULL, "the end of an attempt was not stored, ignoring",
                 kv_int("task", c->id), kv_str("why", c->error->text));
    }
}

static const struct change_kind endings = { run_ending, ending_done, finish_ending, true };

static void set_output(struct ending *e, const struct task_result *result)
{
    if (result->output.n > TASK_OUTPUT_MAX) {
        e->result.error = -EFBIG;
        e->result.helps = false;
        free(e->text);
        e->text = xasprintf("the output is larger than %d bytes", (int)TASK_OUTPUT_MAX);
    } else if (result->output.p) {
        e->output = (struct span){ span_dup(result->output), result->output.n };
    }
}

void finish_add(struct tasks *t, int64_t id, int64_t fence, const struct task_result *result)
{
    struct ending *e = xcalloc(1, sizeof(*e));

    e->c.kind = &endings;
    e->c.id = id;
    e->c.fence = fence;
    e->result = *result;
    e->result.text = NULL;
    e->text = xstrdup(result->text ? result->text : "");
    set_output(e, result);
    e->delay_ms = t->retry_delay_ms;
    e->delay_max_ms = t->retry_delay_max_ms;
    e->jitter = 0.75 + (double)world_random_below(t->in.world, 501) / 1000;
    journal_add(t, &e->c);
}

/* ---- what an instance calls it ---- */

struct remote {
    struct change c;
    char *name, instance[UUID_SIZE];
};

static void finish_remote(struct change *c)
{
    free(container_of(c, struct remote, c)->name);
}

static int run_remote(struct change *c, struct writing *w, struct error *reterr)
{
    struct task *task = NULL;
    struct move *m;
    int r = row_load(w->db, c->id, false, &task, reterr);

    if (r <= 0) {
        return r;
    }
    if (task->state != TASK_RUNNING || task->fence != c->fence) {
        task_free(task);
        return 0;
    }
    m = move_begin(c, task);
    free(task->remote_id);
    task->remote_id = xstrdup_opt(container_of(c, struct remote, c)->name);
    free(task->instance);
    task->instance = xstrdup(container_of(c, struct remote, c)->instance);
    return move_save(w, m, reterr);
}

static const struct change_kind remotes = { run_remote, NULL, finish_remote, true };

void remote_add(const struct task_slot *slot, const char *remote_id)
{
    struct remote *remote = xcalloc(1, sizeof(*remote));

    remote->c.kind = &remotes;
    remote->c.id = slot->task_id;
    remote->c.fence = slot->fence;
    snprintf(remote->instance, sizeof(remote->instance), "%s", slot->instance);
    remote->name = xstrdup_opt(remote_id);
    journal_add(slot->tasks, &remote->c);
}
