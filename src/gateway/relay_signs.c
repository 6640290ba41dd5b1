// SPDX-License-Identifier: Apache-2.0
/*
 * Time: signs of life for streaming clients that wait, and deadlines. One timer for all requests,
 * which sleeps until the first of them has something due.
 */
#include <stdio.h>

#include "gateway/relay_int.h"

enum { SIGN_MS = 1000 }; /* signs of life come no oftener */

static void start_signs(struct relay *r, unsigned place)
{
    if (r->state == RELAY_ASKED) {
        relay_add_served(r);
    } else if (r->ticket) {
        answer_add_number(r->x, "x-berth-queue-position", place);
        answer_add_number(r->x, "x-berth-expected-wait-ms", dispatch_ticket_wait_ms(r->ticket));
    }
    http_respond_start(r->x, 200, "text/event-stream", -1);
    r->event_stream = true;
}

static void give_sign(struct relay *r, uint64_t waited_s)
{
    unsigned place = r->ticket ? dispatch_position(r->ticket) : 0;
    char text[128];
    int n;

    if (!http_respond_started(r->x)) {
        start_signs(r, place);
    }
    if (place > 0) {
        n = snprintf(text, sizeof(text), ": waiting for an instance, place %u, about %llu s\n\n",
                     place, (unsigned long long)(dispatch_ticket_wait_ms(r->ticket) + 999) / 1000);
    } else {
        n = snprintf(text, sizeof(text), ": waiting for the first token, %llu s so far\n\n",
                     (unsigned long long)waited_s);
    }
    relay_send(r, text, (size_t)n);
}

static uint64_t next_due(const struct relay *r)
{
    bool sign = r->signs && r->state != RELAY_ANSWERING;

    return sign ? MIN_OF(r->sign_ms, r->deadline_ms) : r->deadline_ms;
}

static void sweep_by(struct gateway *g, uint64_t due_ms)
{
    uint64_t now = world_now_ms(g->in.world);

    if (!timer_active(&g->sweep) || g->sweep.due_ms > due_ms) {
        timer_start(&g->sweep, due_ms > now ? due_ms - now : 0);
    }
}

void relay_watch(struct relay *r)
{
    sweep_by(r->gateway, next_due(r));
}

static void on_deadline(struct relay *r)
{
    char text[96];

    snprintf(text, sizeof(text), "the request was not done within its deadline of %.3g s",
             (double)r->time_limit_ms / 1000);
    relay_fail(r, -ETIMEDOUT, NULL, text);
}

void relay_sweep(void *gateway)
{
    struct gateway *g = gateway;
    uint64_t now = world_now_ms(g->in.world), due = UINT64_MAX;
    struct relay *r, *tmp;

    list_for_each_safe (r, tmp, &g->relays, node) {
        if (now >= r->deadline_ms) {
            on_deadline(r);
            continue;
        }
        if (now >= next_due(r)) {
            give_sign(r, (now - r->began_ms) / 1000);
            r->sign_ms = now + MAX_OF(g->stream_wait_ms, (uint64_t)SIGN_MS);
        }
        due = MIN_OF(due, next_due(r));
    }
    if (due != UINT64_MAX) {
        sweep_by(g, due);
    }
}
