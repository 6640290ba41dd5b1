// SPDX-License-Identifier: Apache-2.0
/*
 * One webhook told: a POST, and what came of it committed before the row is let go of. The status
 * is all that counts of the answer; its body is not kept, and the whole of it has
 * webhooks.timeout, however slowly it drips.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/hmac.h"
#include "base/log.h"
#include "base/mem.h"
#include "tasks/webhooks_int.h"

enum { SECRET_MAX = 4096 };

/* ---- its words ---- */

/* The secret is read each time, so that a new one counts at once; blanks at its end do not belong
 * to it. -ENOENT: there is none, -E2BIG. */
static int read_secret(const char *path, char out[SECRET_MAX], struct span *ret)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, out, SECRET_MAX);

    if (n == SECRET_MAX) { /* cut, it would be another one */
        return -E2BIG;
    }
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r' || out[n - 1] == ' ')) {
        n--;
    }
    *ret = (struct span){ out, n > 0 ? (size_t)n : 0 };
    return n > 0 ? 0 : -ENOENT;
}

/* -EIO: it should be signed and cannot be. */
static int write_headers(struct webhook_delivery *d, struct error *reterr)
{
    const char *path = config_string(d->h->config, "webhooks.secret_file");
    char secret[SECRET_MAX], signature[HMAC_HEX_SIZE] = "";
    struct span key;
    int r = 0;

    if (*path) {
        r = read_secret(path, secret, &key);
        r = r < 0 ? r : hmac_sha256_hex(key, d->part, signature);
        explicit_bzero(secret, sizeof(secret));
    }
    if (r < 0) {
        return error_set(
            reterr, -EIO,
            "webhooks.secret_file cannot be read, is empty, or is longer than %d bytes",
            SECRET_MAX - 1);
    }
    snprintf(d->headers, sizeof(d->headers),
             "Content-Type: application/json\r\nUser-Agent: berth\r\nx-berth-event: %s\r\n"
             "x-berth-delivery: %lld\r\n%s%s%s",
             d->event, (long long)d->id, *path ? "x-berth-signature: sha256=" : "", signature,
             *path ? "\r\n" : "");
    return 0;
}

/* ---- its life ---- */

struct webhook_delivery *webhook_delivery_free(struct webhook_delivery *d)
{
    if (d->h) {
        timer_stop(&d->timer);
    }
    if (d->call) {
        http_call_cancel(d->call);
    }
    http_upstream_destroy(d->upstream);
    free(d->url);
    free(d->event);
    free(d->body);
    free(d);
    return NULL;
}

void webhook_delivery_abandon(struct webhook_delivery *d)
{
    timer_stop(&d->timer);
    list_remove(&d->node);
    d->h = NULL;
    if (d->call) { /* else the store still has it */
        webhook_delivery_free(d);
    }
}

/* ---- what came of it ---- */

static void on_settled(struct store_op *op);

static int settle_in_store(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct webhook_delivery *d = container_of(op, struct webhook_delivery, op);

    if (d->outcome == WEBHOOK_AGAIN) {
        return sql_run(db, reterr, "UPDATE webhooks SET attempts = ?, next_ms = ? WHERE id = ?",
                       "iii", (int64_t)d->attempts, d->next_ms, d->id);
    }
    return sql_run(db, reterr, "DELETE FROM webhooks WHERE id = ?", "i", d->id);
}

static void settle(struct webhook_delivery *d, enum webhook_outcome outcome)
{
    d->outcome = outcome;
    d->op = (struct store_op){ .run = settle_in_store, .done = on_settled };
    store_write(d->h->store, &d->op);
}

static void let_go(struct webhook_delivery *d)
{
    struct webhooks *h = d->h;

    list_remove(&d->node);
    h->count--;
    webhook_delivery_free(d);
    webhooks_wake(h);
}

static void on_settled(struct store_op *op)
{
    struct webhook_delivery *d = container_of(op, struct webhook_delivery, op);

    if (!d->h) {
        webhook_delivery_free(d);
        return;
    }
    if (op->result < 0) {
        log_warn("webhooks", NULL, "what came of a webhook could not be stored, it is told again",
                 kv_int("delivery", d->id), kv_str("error", op->error.text));
        d->h->not_before_ms = world_now_ms(d->h->world) + WEBHOOKS_TROUBLE_MS;
    } else {
        metric_add(d->h->cells[d->outcome], 1);
    }
    let_go(d);
}

static uint64_t back_off_ms(unsigned attempts)
{
    static const uint64_t steps_s[] = { 1, 5, 30, 300, 1800 };

    return steps_s[MIN_OF(attempts, ARRAY_SIZE(steps_s)) - 1] * 1000;
}

/* why: a sentence that holds neither URL nor body, which may be secret. */
static void fail(struct webhook_delivery *d, bool helps, const char *why)
{
    const int64_t max = config_int(d->h->config, "webhooks.max_attempts");

    if (!helps || (int64_t)d->attempts >= max) {
        log_warn("webhooks", NULL, "a webhook is given up", kv_int("delivery", d->id),
                 kv_str("event", d->event), kv_int("attempts", d->attempts), kv_str("error", why));
        settle(d, WEBHOOK_GIVEN_UP);
        return;
    }
    log_info("webhooks", NULL, "a webhook could not be told, trying again",
             kv_int("delivery", d->id), kv_int("attempts", d->attempts), kv_str("error", why));
    d->next_ms = world_wall_ms(d->h->world) + (int64_t)back_off_ms(d->attempts);
    settle(d, WEBHOOK_AGAIN);
}

/* ---- the call ---- */

static void conclude(struct webhook_delivery *d, const char *why)
{
    char text[64];

    timer_stop(&d->timer);
    if (d->status >= 200 && d->status < 300) {
        settle(d, WEBHOOK_TOLD);
        return;
    }
    snprintf(text, sizeof(text), "its receiver answered %d", d->status);
    fail(d, true, d->status ? text : why);
}

static void on_head(void *owner, const struct http_head *head)
{
    ((struct webhook_delivery *)owner)->status = head->status;
}

static void on_body(void *owner, const char *p, size_t n)
{
}

static void on_end(void *owner)
{
    struct webhook_delivery *d = owner;

    d->call = NULL;
    conclude(d, "");
}

static void on_fail(void *owner, const struct error *e)
{
    struct webhook_delivery *d = owner;

    d->call = NULL;
    conclude(d, e->text);
}

static void on_time_over(void *arg)
{
    struct webhook_delivery *d = arg;

    http_call_cancel(TAKE_PTR(d->call));
    conclude(d, "its receiver did not answer in time (webhooks.timeout)");
}

static void begin_call(struct webhook_delivery *d, const struct address *where)
{
    static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };

    d->upstream =
        http_upstream_create(d->h->world, &(struct http_upstream_options){ .where = *where });
    d->call = http_call_start(d->upstream,
                              &(struct http_call_request){
                                  .method = "POST",
                                  .path = webhook_path(d->url),
                                  .headers = d->headers,
                                  .body = &d->part,
                                  .body_parts = 1,
                              },
                              &handler, d);
    timer_start(&d->timer, config_duration_ms(d->h->config, "webhooks.timeout"));
}

void webhook_deliver(struct webhooks *h, struct webhook_delivery *d)
{
    struct error err = { 0 };
    struct address where;
    int r;

    d->h = h;
    d->part = (struct span){ d->body, d->body_len };
    timer_init(&d->timer, h->world, "webhook", on_time_over, d);
    list_append(&h->deliveries, &d->node);
    h->count++;
    r = webhook_resolve(h->config, d->url, &where, &err);
    if (r < 0) { /* the list of the allowed has changed meanwhile */
        fail(d, false, err.text);
        return;
    }
    r = write_headers(d, &err);
    if (r < 0) {
        fail(d, true, err.text);
        return;
    }
    begin_call(d, &where);
}
