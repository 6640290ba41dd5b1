// SPDX-License-Identifier: Apache-2.0
/*
 * Clients: each asks for an instance, works with it for a while, and goes; or leaves earlier. Whose
 * engine ends asks once more, as the gateway does. Every one of them comes to an end.
 */
#include "placement_scene.h"

#include <errno.h>

enum { ATTEMPTS = 2, AVOID_MS = 1000 };

static void on_grant(void *owner, const struct instance *in);
static void on_refuse(void *owner, const struct error *e);

static void finish(struct client *c)
{
    timer_stop(&c->timer);
    list_remove(&c->node);
    c->scene->client_count--;
    free(c);
}

static void work(struct client *c, const struct instance *in)
{
    if (in->state != INSTANCE_READY && in->state != INSTANCE_DRAINING) {
        complain(c->scene, "a request for %s is given to an instance that is %s", c->subject->name,
                 instance_state_name(in->state));
    }
    strcpy(c->uuid, in->uuid);
    c->scene->granted++;
    timer_start(&c->timer, c->work_ms);
}

static void ask(struct client *c, const char *exclude)
{
    const struct dispatch_ask asking = {
        .model_id = c->subject->id,
        .tokens = 100,
        .exclude = exclude,
        .exclude_ms = exclude ? AVOID_MS : 0,
        .on_grant = on_grant,
        .on_refuse = on_refuse,
        .owner = c,
    };
    const struct instance *in = NULL;
    struct error e = { 0 };
    int r = dispatch_acquire(c->scene->dispatch, &asking, &c->ticket, &in, &e);

    if (r < 0) {
        assert_true(e.text[0] != '\0');
        c->scene->refused++;
        finish(c);
    } else if (r == 1) {
        work(c, in);
    }
}

static void on_grant(void *owner, const struct instance *in)
{
    work(owner, in);
}

/* ETIME after its time only; the other ones have their reason in the catalogue. */
static void on_refuse(void *owner, const struct error *e)
{
    struct client *c = owner;
    struct scene *s = c->scene;

    if (e->text[0] == '\0') {
        complain(s, "a request for %s is refused without a reason", c->subject->name);
    }
    if (e->code == -ETIME && scene_now(s) < c->asked_ms + QUEUE_TIMEOUT_MS) {
        complain(s, "a request for %s is refused too early: %s", c->subject->name, e->text);
    }
    s->refused++;
    finish(c);
}

static void end_work(struct client *c)
{
    const bool lives = engine_find(c->scene, c->uuid);
    char uuid[UUID_SIZE];

    strcpy(uuid, c->uuid);
    c->uuid[0] = '\0';
    dispatch_release(c->ticket, lives ? OUTCOME_GOOD : OUTCOME_FAILED);
    c->ticket = NULL;
    if (!lives && ++c->attempts < ATTEMPTS) {
        ask(c, uuid);
    } else {
        finish(c);
    }
}

static void leave(struct client *c)
{
    c->scene->left++;
    dispatch_release(c->ticket, OUTCOME_NONE);
    finish(c);
}

static void on_timer(void *arg)
{
    struct client *c = arg;

    if (c->uuid[0]) {
        end_work(c);
    } else {
        leave(c);
    }
}

void client_ask(struct scene *s, struct subject *of, uint64_t work_ms, uint64_t patience_ms)
{
    struct client *c;

    if (s->client_count >= CLIENTS_MAX) {
        return;
    }
    c = xcalloc(1, sizeof(*c));
    c->scene = s;
    c->subject = of;
    c->work_ms = work_ms;
    c->asked_ms = scene_now(s);
    timer_init(&c->timer, s->world, "sim.client", on_timer, c);
    list_append(&s->clients, &c->node);
    s->client_count++;
    if (patience_ms) {
        timer_start(&c->timer, patience_ms);
    }
    ask(c, NULL);
}

/* It is told by the end of its connection, in a turn of its own. */
void clients_lose(struct scene *s, const char *uuid)
{
    struct client *c;

    list_for_each (c, &s->clients, node) {
        if (str_eq(c->uuid, uuid)) {
            timer_start(&c->timer, 0);
        }
    }
}

void clients_drop(struct scene *s)
{
    struct client *c;

    while ((c = list_first(&s->clients, struct client, node))) {
        leave(c);
    }
}

/* ---- asking for places ---- */

/* Another ask for the same model may allow more: the last one rules. */
static bool is_only(const struct asked *a)
{
    const struct asked *other;

    list_for_each (other, &a->scene->asks, node) {
        if (other != a && other->ask.model_id == a->ask.model_id) {
            return false;
        }
    }
    return true;
}

static void check_answer(const struct asked *a, int result, const struct placement_answer *answer,
                         const struct error *e)
{
    struct scene *s = a->scene;

    if (a->dead && result != -ECANCELED) {
        complain(s, "a berth that is dead answers");
    }
    if (result < 0 ? answer || !e->text[0] : !answer || !answer->reason || !answer->reason[0]) {
        complain(s, "an answer without its reason (%d)", result);
    }
    if (result >= 0 && !a->ask.allow_preemption && is_only(a) && answer->moved &&
        answer->moved[0]) {
        complain(s, "%s is moved though nothing may be", answer->moved[0]);
    }
    if (result >= 0 && a->ask.dry_run && answer->history_id) {
        complain(s, "a dry run is in the history");
    }
}

static void on_answer(void *arg, int result, const struct placement_answer *answer,
                      const struct error *e)
{
    struct asked *a = arg;

    check_answer(a, result, answer, e);
    a->scene->answered++;
    list_remove(&a->node);
    free(a);
}

void schedule(struct scene *s, const struct placement_ask *ask)
{
    struct asked *a = xcalloc(1, sizeof(*a));

    a->scene = s;
    a->ask = *ask;
    list_append(&s->asks, &a->node);
    if (ask->force && !ask->dry_run && subject_of(s, ask->model_id)) {
        subject_of(s, ask->model_id)->forced = true;
    }
    placement_schedule(s->placement, ask, on_answer, a);
}

bool everybody_is_done(struct scene *s, void *arg)
{
    return list_empty(&s->clients) && list_empty(&s->asks);
}
