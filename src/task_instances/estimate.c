// SPDX-License-Identifier: Apache-2.0
/*
 * How long a task given now waits at a peer: what it said when it was asked, with what was given
 * since and without what ended since. Each task adds an expected time and a variance, remembered
 * with it, and its end takes off exactly these, whatever it really took. While a new answer is
 * under way both reckonings go on side by side.
 */
#include <math.h>

#include "task_instances/task_instances_int.h"

static void tally_give(struct tally *t, const struct share *s)
{
    t->added_ms += s->ms;
    t->added_var += s->var;
    t->added++;
}

static void tally_end(struct tally *t, const struct share *s)
{
    t->added--;
    if (t->added == 0) { /* no dust of rounding */
        t->added_ms = t->added_var = 0;
    } else {
        t->added_ms -= s->ms;
        t->added_var -= s->var;
    }
}

void estimate_give(struct estimate *e, struct share *s, double ms, double var)
{
    *s = (struct share){ .ms = ms, .var = var, .seq = ++e->seq, .counted = true };
    tally_give(&e->now, s);
    if (e->asking) {
        tally_give(&e->next, s);
    }
}

void estimate_end(struct estimate *e, struct share *s)
{
    if (!s->counted) {
        return;
    }
    s->counted = false;
    if (s->seq > e->now.seq) {
        tally_end(&e->now, s);
    } else {
        e->now.removed_ms += s->ms;
        e->now.removed_var += s->var;
    }
    /* One that was there when it was asked and has ended before it answered is not in the answer.
     */
    if (e->asking && s->seq > e->next.seq) {
        tally_end(&e->next, s);
    }
}

void estimate_ask(struct estimate *e)
{
    e->asking = true;
    e->next = (struct tally){ .seq = e->seq };
}

void estimate_answer(struct estimate *e, double ms, double error_ms)
{
    e->asking = false;
    e->next.base_ms = ms;
    e->next.base_var = error_ms * error_ms;
    e->now = e->next;
}

void estimate_fail(struct estimate *e)
{
    e->asking = false;
}

double estimate_wait(const struct estimate *e, double *ret_error)
{
    const struct tally *t = &e->now;
    const double ms = fmax(0, t->base_ms - t->removed_ms) + t->added_ms;
    const double var = fmax(0, t->base_var - t->removed_var) + t->added_var;

    *ret_error = sqrt(fmax(0, var));
    return fmax(0, ms);
}

void learnt_add(struct learnt *l, double ms)
{
    const double weight = fmax(0.05, 1.0 / (double)(l->count + 1));
    const double away = ms - l->mean_ms;

    l->mean_ms += weight * away;
    l->var = (1 - weight) * (l->var + weight * away * away);
    l->count++;
}
