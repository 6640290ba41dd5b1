// SPDX-License-Identifier: Apache-2.0
/*
 * Inside webhooks:
 *
 *     webhooks.c          the object, its table, what is due
 *     webhook_delivery.c  telling one
 *     webhook_url.c       who may be told
 */
#pragma once

#include "base/list.h"
#include "base/stream.h"
#include "http/client.h"
#include "tasks/webhooks.h"

enum {
    WEBHOOKS_PARALLEL = 32,
    WEBHOOKS_PER_HOST = 4,      /* one that hangs holds no more of them */
    WEBHOOKS_TROUBLE_MS = 5000, /* until the store is asked again after it failed */
};

enum webhook_outcome { WEBHOOK_TOLD, WEBHOOK_AGAIN, WEBHOOK_GIVEN_UP, WEBHOOK_OUTCOME_MAX_ };

struct webhooks {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct metric_cell *cells[WEBHOOK_OUTCOME_MAX_];
    struct list deliveries;
    size_t count;
    struct webhooks_look *look; /* under way */
    bool again;                 /* woken meanwhile */
    bool started;
    uint64_t not_before_ms; /* no look until then (world_now_ms): the store failed */
    struct timer timer;
};

/* ---- webhook_delivery.c ---- */

/* One row that is being told. */
struct webhook_delivery {
    struct list node;   /* of webhooks->deliveries */
    struct webhooks *h; /* NULL: the room is gone, or it was not begun */
    int64_t id;
    unsigned attempts; /* with this one */
    char *url, *event, *body;
    size_t body_len;

    char headers[512];
    struct span part;
    struct http_upstream *upstream;
    struct http_call *call; /* NULL once it has ended */
    int status;             /* of the answer; 0: not there yet */
    struct timer timer;     /* of the whole answer */

    enum webhook_outcome outcome;
    int64_t next_ms; /* of WEBHOOK_AGAIN */
    struct store_op op;
};

/* Takes it over: it frees itself, off h's list, once what came of it is stored. */
void webhook_deliver(struct webhooks *h, struct webhook_delivery *d);
/* The room goes: it is not told any more, the row stays. */
void webhook_delivery_abandon(struct webhook_delivery *d);
struct webhook_delivery *webhook_delivery_free(struct webhook_delivery *d);

/* ---- webhook_url.c ---- */

/* How much of the URL stands before its path. */
size_t webhook_base_length(const char *url);
/* Path and query. */
const char *webhook_path(const char *url);
/* -EINVAL, -EPERM, as webhook_check. */
int webhook_resolve(const struct config *config, const char *url, struct address *ret,
                    struct error *reterr) _must_check_;
