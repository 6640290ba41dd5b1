// SPDX-License-Identifier: Apache-2.0
/*
 * Telling webhooks: rows that are due are read a few at a time, a few of each host, so that a
 * receiver that hangs stands in nobody else's way. A row that was told and not yet removed when
 * berth died is told again: at least once, with the same number.
 */
#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/webhooks_int.h"

enum {
    COALESCE_MS = 20, /* between a wake and its look */
    LOOK_MAX_MS = 3600 * 1000,
};

// clang-format off
static const struct option_row rows[] = {
    { "webhooks.allow", OPTION_LIST, "", 0, 0, NULL, true, false,
      "Whom tasks and batches may make berth call: HOST, HOST:PORT, *.DOMAIN, or * for everybody. Empty: nobody." },
    { "webhooks.secret_file", OPTION_STRING, "", 0, 0, NULL, true, false,
      "File with the secret that signs webhooks (x-berth-signature). Empty: they are not signed." },
    { "webhooks.max_attempts", OPTION_INT, "8", 1, 100, NULL, true, false,
      "How often a webhook is tried, after 1s, 5s, 30s, 5m, and every 30m from then on, before it is given up." },
    { "webhooks.timeout", OPTION_DURATION, "10s", 100, 600000, NULL, true, false,
      "How long the receiver of a webhook may take to answer." },
};
// clang-format on
const struct option_table webhooks_options = { rows, ARRAY_SIZE(rows) };

static const char *const migrations[] = {
    "CREATE TABLE webhooks("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  url TEXT NOT NULL,"
    "  host TEXT NOT NULL," /* of the URL, with its scheme */
    "  event TEXT NOT NULL,"
    "  body TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL,"
    "  next_ms INTEGER NOT NULL,"
    "  attempts INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE INDEX webhooks_next ON webhooks(host, next_ms)",
};
const struct store_schema webhooks_schema = { "webhooks", migrations, ARRAY_SIZE(migrations) };

static const struct metric told_metric = {
    .name = "berth_webhooks_total",
    .type = METRIC_COUNTER,
    .help = "Attempts to tell a webhook, by what came of them.",
    .labels = { "result" },
};

static const char *const outcome_names[] = {
    [WEBHOOK_TOLD] = "told",
    [WEBHOOK_AGAIN] = "again",
    [WEBHOOK_GIVEN_UP] = "given_up",
};

/* Rows that are due, and when the next ones are. */
struct webhooks_look {
    struct store_op op;
    struct webhooks *h; /* NULL: the room is gone */
    int64_t now_ms, busy[WEBHOOKS_PARALLEL];
    size_t busy_count;
    struct webhook_delivery *found[WEBHOOKS_PARALLEL];
    size_t found_count;
    int64_t next_ms; /* of the first that is not due; 0: none */
};

/* The URL's part before the path, in small letters. */
static char *host_of(const char *url)
{
    char *host = xstrndup(url, webhook_base_length(url));

    for (char *p = host; *p; p++) {
        *p = (char)tolower((unsigned char)*p);
    }
    return host;
}

int webhook_append(struct sql *db, const char *url, const char *event, struct span body,
                   int64_t wall_ms, struct error *reterr)
{
    _cleanup_(freep) char *host = host_of(url);
    int r = sql_run(db, reterr,
                    "INSERT INTO webhooks(url, host, event, body, created_ms, next_ms) "
                    "VALUES(?, ?, ?, ?, ?, ?)",
                    "tttsii", url, host, event, body, wall_ms, wall_ms);

    return r < 0 ? r : 0;
}

/* ---- what is due ---- */

static bool is_busy(const struct webhooks_look *l, int64_t id)
{
    for (size_t i = 0; i < l->busy_count; i++) {
        if (l->busy[i] == id) {
            return true;
        }
    }
    return false;
}

static struct webhook_delivery *delivery_of(struct sql_stmt *st)
{
    struct webhook_delivery *d = xcalloc(1, sizeof(*d));
    const struct span body = sql_span(st, 3);

    list_init(&d->node);
    d->id = sql_int(st, 0);
    d->url = xstrdup(sql_text(st, 1));
    d->event = xstrdup(sql_text(st, 2));
    d->body = span_dup(body);
    d->body_len = body.n;
    d->attempts = (unsigned)sql_int(st, 4) + 1;
    return d;
}

/* The first few of each host, by the index: what else waits for a host is not looked at. Those that
 * are being told are the first of their host. */
static const char look_query[] =
    "WITH RECURSIVE hosts(host) AS (SELECT min(host) FROM webhooks UNION ALL"
    " SELECT (SELECT min(x.host) FROM webhooks x WHERE x.host > hosts.host) FROM hosts"
    " WHERE host IS NOT NULL) "
    "SELECT w.id, w.url, w.event, w.body, w.attempts, w.next_ms "
    "FROM hosts CROSS JOIN webhooks w "
    "WHERE w.id IN (SELECT y.id FROM webhooks y WHERE y.host = hosts.host"
    " ORDER BY y.next_ms, y.id LIMIT ?) "
    "ORDER BY w.next_ms, w.id LIMIT ?";

static int look_in_store(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct webhooks_look *l = container_of(op, struct webhooks_look, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, look_query, "ii", (int64_t)WEBHOOKS_PER_HOST,
                      2 * (int64_t)WEBHOOKS_PARALLEL + 1);

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0 && l->next_ms == 0) {
        if (is_busy(l, sql_int(st, 0))) {
            continue;
        }
        if (sql_int(st, 5) > l->now_ms) {
            l->next_ms = sql_int(st, 5);
        } else if (l->found_count + l->busy_count < WEBHOOKS_PARALLEL) {
            l->found[l->found_count++] = delivery_of(st);
        }
    }
    return r < 0 ? r : 0;
}

static void take_found(struct webhooks_look *l)
{
    for (size_t i = 0; i < l->found_count; i++) {
        webhook_deliver(l->h, TAKE_PTR(l->found[i]));
    }
}

static void look_free(struct webhooks_look *l)
{
    for (size_t i = 0; i < l->found_count; i++) {
        if (l->found[i]) {
            webhook_delivery_free(l->found[i]);
        }
    }
    free(l);
}

static void on_looked(struct store_op *op)
{
    struct webhooks_look *l = container_of(op, struct webhooks_look, op);
    struct webhooks *h = l->h;
    int64_t wait;

    if (!h) {
        look_free(l);
        return;
    }
    h->look = NULL;
    if (op->result < 0) {
        h->not_before_ms = world_now_ms(h->world) + WEBHOOKS_TROUBLE_MS;
        h->again = true;
    } else {
        take_found(l);
        wait = l->next_ms - world_wall_ms(h->world);
        if (l->next_ms > 0) {
            timer_start(&h->timer, (uint64_t)MIN_OF(MAX_OF(wait, 1), (int64_t)LOOK_MAX_MS));
        }
    }
    look_free(l);
    if (h->again) {
        webhooks_wake(h);
    }
}

static void look_now(struct webhooks *h)
{
    struct webhook_delivery *d;
    struct webhooks_look *l;

    h->again = h->look != NULL;
    if (h->look || h->count >= WEBHOOKS_PARALLEL) { /* what ends looks again */
        return;
    }
    if (store_read_only_reason(h->store)) { /* nobody would know afterwards who was told */
        return;
    }
    l = xcalloc(1, sizeof(*l));
    l->h = h;
    l->now_ms = world_wall_ms(h->world);
    list_for_each (d, &h->deliveries, node) {
        l->busy[l->busy_count++] = d->id;
    }
    l->op = (struct store_op){ .run = look_in_store, .done = on_looked };
    h->look = l;
    store_read(h->store, &l->op);
}

static void on_timer(void *arg)
{
    look_now(arg);
}

void webhooks_wake(struct webhooks *h)
{
    const uint64_t now = world_now_ms(h->world);
    const uint64_t due = MAX_OF(now + COALESCE_MS, h->not_before_ms);

    if (h->look) {
        h->again = true;
    } else if (h->started && (!timer_active(&h->timer) || h->timer.due_ms > due)) {
        timer_start(&h->timer, due - now);
    }
}

void webhooks_on_change(void *webhooks, const void *change)
{
    struct webhooks *h = webhooks;

    if (*config_list(h->config, "webhooks.allow")) { /* else there can be nothing new */
        webhooks_wake(h);
    }
}

/* ---- the object ---- */

struct webhooks *webhooks_create(struct world *w, const struct config *config, struct store *store,
                                 struct metrics *metrics)
{
    struct webhooks *h = xcalloc(1, sizeof(*h));

    h->world = w;
    h->config = config;
    h->store = store;
    list_init(&h->deliveries);
    timer_init(&h->timer, w, "webhooks", on_timer, h);
    metrics_declare(metrics, &told_metric, 1);
    for (int i = 0; i < WEBHOOK_OUTCOME_MAX_; i++) {
        h->cells[i] = metrics_cell(metrics, &told_metric, &outcome_names[i]);
    }
    return h;
}

int webhooks_start(struct webhooks *h, struct error *reterr)
{
    h->started = true;
    timer_start(&h->timer, 0);
    return 0;
}

void webhooks_reconfigure(struct webhooks *h, const struct config *config)
{
    h->config = config;
    webhooks_wake(h);
}

struct webhooks *webhooks_destroy(struct webhooks *h)
{
    struct webhook_delivery *d, *tmp;

    if (!h) {
        return NULL;
    }
    timer_stop(&h->timer);
    if (h->look) {
        h->look->h = NULL;
    }
    list_for_each_safe (d, tmp, &h->deliveries, node) {
        webhook_delivery_abandon(d);
    }
    free(h);
    return NULL;
}
