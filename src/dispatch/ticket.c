// SPDX-License-Identifier: Apache-2.0
/*
 * Tickets, and how they wait: by rank, first come first served within. One that lost its instance
 * and asks again goes to the front of its rank. While it may not have that instance it is held
 * back, and lets others pass.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/dispatch_int.h"

static void on_timeout(void *arg);

struct ticket *ticket_create(struct line *l, const struct dispatch_ask *ask)
{
    unsigned prefix_count = MIN_OF(ask->prefix_count, (unsigned)PREFIX_BLOCKS_MAX);
    struct ticket *t = xcalloc(1, sizeof(*t) + prefix_count * sizeof(t->prefix[0]));

    t->line = l;
    t->ask = *ask;
    t->tokens = ask->tokens;
    t->asked_us = world_now_us(l->dispatch->world);
    list_init(&t->node);
    if (ask->exclude) {
        memcpy(t->exclude, ask->exclude, strnlen(ask->exclude, UUID_SIZE - 1));
    }
    t->prefix_count = prefix_count;
    prefix_copy(t, ask);
    t->ask.prefix = NULL;
    t->ask.prefix_tokens = NULL;
    t->ask.exclude = NULL;
    timer_init(&t->timeout, l->dispatch->world, "queue timeout", on_timeout, t);
    return t;
}

void ticket_free(struct ticket *t)
{
    timer_stop(&t->timeout);
    free(t);
}

static struct rank *rank_of(const struct ticket *t)
{
    return &t->line->ranks[t->ask.rank];
}

static uint64_t queue_limit_ms(const struct ticket *t)
{
    return t->ask.queue_timeout_ms ? t->ask.queue_timeout_ms : t->line->dispatch->queue_timeout_ms;
}

/* Requests do not lose their line to tasks, nor tasks theirs to requests. */
static int check_bound(const struct ticket *t, struct error *reterr)
{
    const struct line *l = t->line;
    unsigned requests = l->ranks[RANK_REQUEST].count, tasks = l->waiting_count - requests;

    if (t->ask.rank == RANK_REQUEST && requests >= l->dispatch->max_queue) {
        return error_set(reterr, -EAGAIN, "%u requests wait for this model already", requests);
    }
    if (t->ask.rank != RANK_REQUEST && tasks >= TASKS_WAITING_MAX) {
        return error_set(reterr, -EAGAIN, "%u tasks wait for this model already", tasks);
    }
    return 0;
}

/* Who was let in before and lost its instance goes first in its rank, whatever the line's length.
 */
int ticket_join_line(struct ticket *t, struct error *reterr)
{
    struct line *l = t->line;
    struct rank *rank = rank_of(t);
    int r;

    if (t->exclude[0]) {
        t->again = true;
        list_prepend(&rank->waiting, &t->node);
        rank->held_back++;
        timer_start(&t->timeout, t->ask.exclude_ms);
    } else {
        r = check_bound(t, reterr);
        if (r < 0) {
            return r;
        }
        list_append(&rank->waiting, &t->node);
        timer_start(&t->timeout, queue_limit_ms(t));
    }
    rank->count++;
    l->waiting_count++;
    line_count_changed(l);
    return 0;
}

static void end_exclusion(struct ticket *t)
{
    if (t->exclude[0]) {
        t->exclude[0] = '\0';
        rank_of(t)->held_back--;
    }
}

void ticket_leave_line(struct ticket *t)
{
    struct line *l = t->line;

    end_exclusion(t);
    list_remove(&t->node);
    timer_stop(&t->timeout);
    rank_of(t)->count--;
    l->waiting_count--;
    l->last_used_ms = world_now_ms(l->dispatch->world);
    line_count_changed(l);
    if (l->waiting_count == 0) {
        l->demand_told = false;
        line_pump_soon(l); /* what drains was kept for those who waited */
    }
}

void ticket_refuse(struct ticket *t, const struct error *e)
{
    void (*fn)(void *, const struct error *) = t->ask.on_refuse;
    void *owner = t->ask.owner;

    ticket_leave_line(t);
    ticket_free(t);
    fn(owner, e);
}

static void on_timeout(void *arg)
{
    struct ticket *t = arg;
    struct error e;

    if (t->exclude[0]) {
        end_exclusion(t);
        timer_start(&t->timeout, queue_limit_ms(t));
        line_pump_soon(t->line);
        return;
    }
    error_set(&e, -ETIME, "%s within %llu ms (place %u in the line)",
              line_waits_for_room(t->line) ? "the model waits for room on a device, and got none"
                                           : "no instance of the model became free",
              (unsigned long long)(world_now_us(t->line->dispatch->world) - t->asked_us) / 1000,
              dispatch_position(t));
    ticket_refuse(t, &e);
}

/* The whole line */

bool line_stands(const struct line *l, enum dispatch_rank rank)
{
    for (int r = 0; r <= (int)rank; r++) {
        if (l->ranks[r].count > l->ranks[r].held_back) {
            return true;
        }
    }
    return false;
}

static struct ticket *first_from(const struct line *l, int rank)
{
    for (; rank < RANK_MAX_; rank++) {
        if (!list_empty(&l->ranks[rank].waiting)) {
            return list_first(&l->ranks[rank].waiting, struct ticket, node);
        }
    }
    return NULL;
}

struct ticket *line_first(const struct line *l)
{
    return first_from(l, 0);
}

struct ticket *line_next(const struct ticket *t)
{
    const struct rank *rank = rank_of(t);

    return t->node.next != &rank->waiting ? container_of(t->node.next, struct ticket, node)
                                          : first_from(t->line, (int)t->ask.rank + 1);
}

void line_end_exclusions(struct line *l, const char *uuid)
{
    for (struct ticket *t = line_first(l); t; t = line_next(t)) {
        if (str_eq(t->exclude, uuid)) {
            end_exclusion(t);
            timer_start(&t->timeout, queue_limit_ms(t));
        }
    }
}

void line_stop(struct line *l)
{
    struct ticket *t;

    while ((t = line_first(l))) {
        list_remove(&t->node);
        list_append(&l->stopped, &t->node);
    }
}

/* Those at the front of a rank may have come after the first of the others. */
uint64_t line_waiting_since_ms(const struct line *l)
{
    uint64_t since_us = UINT64_MAX;
    struct ticket *t;

    for (int r = 0; r < RANK_MAX_; r++) {
        list_for_each (t, &l->ranks[r].waiting, node) {
            since_us = MIN_OF(since_us, t->asked_us);
            if (!t->again) {
                break;
            }
        }
    }
    return since_us == UINT64_MAX ? 0 : MAX_OF(since_us / 1000, 1U);
}

unsigned dispatch_position(const struct ticket *t)
{
    struct ticket *other;
    unsigned place = 1;

    if (t->seat) {
        return 0;
    }
    for (int r = 0; r < (int)t->ask.rank; r++) {
        place += t->line->ranks[r].count;
    }
    list_for_each (other, &rank_of(t)->waiting, node) {
        if (other == t) {
            break;
        }
        place++;
    }
    return place;
}
