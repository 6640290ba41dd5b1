// SPDX-License-Identifier: Apache-2.0
/*
 * Webhooks: when a task or a batch has ended, its URL is told, at least once, with back-off, also
 * across restarts. What is to be told is a row, written in the transaction that ends the task.
 *
 *     POST <url>   content-type: application/json, x-berth-event: task.completed,
 *                  x-berth-delivery: <number>, x-berth-signature: sha256=<HMAC of the body>
 *
 * A status 2xx is all that is asked of the answer. Few are told at a time, and of one host fewer
 * still: a receiver that hangs is in nobody else's way.
 *
 * Whom a client may make berth call is the operator's business: webhooks.allow names hosts
 * ("hooks.example.com", "*.example.com", "127.0.0.1:9000", "*"); by default nobody's. Redirects are
 * not followed. The signature's secret comes from webhooks.secret_file.
 */
#pragma once

#include "config/config.h"
#include "metrics/metrics.h"
#include "store/store.h"

struct webhooks;

extern const struct store_schema webhooks_schema;
extern const struct option_table webhooks_options;

struct webhooks *webhooks_create(struct world *w, const struct config *config, struct store *store,
                                 struct metrics *metrics);
int webhooks_start(struct webhooks *h, struct error *reterr) _must_check_;
void webhooks_reconfigure(struct webhooks *h, const struct config *config);
struct webhooks *webhooks_destroy(struct webhooks *h);

/* May this be called? -EINVAL (no http or https URL), -EPERM (the host is not allowed), with the
 * sentence. */
int webhook_check(const struct config *config, const char *url, struct error *reterr) _must_check_;
/* Inside the transaction that ends it. body: JSON. */
int webhook_append(struct sql *db, const char *url, const char *event, struct span body,
                   int64_t wall_ms, struct error *reterr) _must_check_;
/* After that commit: there is something to tell. Cheap, however often it is called. */
void webhooks_wake(struct webhooks *h);
/* To be connected to the tasks' and the batches' signals by daemon/wiring.c. */
void webhooks_on_change(void *webhooks, const void *change);
