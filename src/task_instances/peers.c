// SPDX-License-Identifier: Apache-2.0
/*
 * The registry: who is known, by uuid and by host and port. One that is removed leaves the maps at
 * once and is freed in a later turn, since a question of its own may be what ended it.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "task_instances/task_instances_int.h"

const char *task_instance_state_name(enum task_instance_state s)
{
    static const char *const names[] = {
        [TI_UNREACHABLE] = "unreachable",
        [TI_READY] = "ready",
        [TI_DRAINING] = "draining",
    };

    return names[s];
}

int host_normalize(const char *host, char out[PEER_NAME_MAX + 1], struct error *reterr)
{
    size_t n = strlen(host);

    if (n > 2 && host[0] == '[' && host[n - 1] == ']') { /* an IPv6 address */
        host++;
        n -= 2;
    }
    if (n == 0 || n > PEER_NAME_MAX - 8) {
        return error_set(reterr, -EINVAL, "the host must have 1 to %d characters",
                         PEER_NAME_MAX - 8);
    }
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)host[i];

        if (!isalnum(c) && !strchr(".-_:", c)) {
            return error_set(reterr, -EINVAL,
                             "the host must be a name or an address, without scheme, port or path");
        }
        out[i] = (char)tolower(c);
    }
    out[n] = '\0';
    return 0;
}

void peer_write_key(char *out, size_t size, const char *host, uint16_t port)
{
    snprintf(out, size, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, (unsigned)port);
}

struct peer *peer_find(const struct task_instances *ti, const char *uuid)
{
    return map_get(&ti->by_uuid, uuid);
}

struct peer *peer_of_key(const struct task_instances *ti, const char *host, uint16_t port)
{
    char key[PEER_KEY_SIZE];

    peer_write_key(key, sizeof(key), host, port);
    return map_get(&ti->by_key, key);
}

static void on_burial(void *arg)
{
    struct task_instances *ti = arg;
    struct peer *p, *tmp;

    list_for_each_safe (p, tmp, &ti->dead, node) {
        list_remove(&p->node);
        http_upstream_destroy(p->upstream);
        free(p->pub.model);
        free(p->pub.instance_id);
        free(p->pub.last_error);
        free(p->given_model);
        free(p);
    }
}

struct peer *peer_add(struct task_instances *ti, const char *uuid, const char *host, uint16_t port,
                      const char *model)
{
    struct peer *p = xcalloc(1, sizeof(*p));
    struct http_upstream_options options = { .max_idle = 8,
                                             .connect_timeout_ms = ti->timeout_ms,
                                             .where = { .port = port } };

    p->ti = ti;
    p->number = ++ti->last_number;
    p->place = candidate_place(uuid);
    p->probe_lane = -1;
    p->silent_since_ms = MAX_OF(world_now_ms(ti->world), 1);
    snprintf(p->pub.uuid, sizeof(p->pub.uuid), "%s", uuid);
    snprintf(p->pub.host, sizeof(p->pub.host), "%s", host);
    p->pub.port = port;
    p->pub.state = TI_UNREACHABLE;
    peer_write_key(p->key, sizeof(p->key), host, port);
    p->given_model = xstrdup_opt(model);
    snprintf(options.where.host, sizeof(options.where.host), "%s", host);
    p->upstream = http_upstream_create(ti->world, &options);
    list_init(&p->runs);
    list_init(&p->waiters);
    list_init(&p->probe_node);
    list_init(&p->of_line);
    list_append(&ti->peers, &p->node);
    ti->all[ti->count++] = p;
    map_put(&ti->by_uuid, p->pub.uuid, p);
    map_put(&ti->by_key, p->key, p);
    peer_set_model(p, model);
    probe_begin(p);
    return p;
}

void peer_set_model(struct peer *p, const char *model)
{
    if (str_eq_opt(p->pub.model, model)) {
        return;
    }
    line_leave(p);
    free(p->pub.model);
    p->pub.model = xstrdup_opt(model);
    if (model) {
        p->line = ti_line_of(p->ti, model, true);
        list_append(&p->line->peers, &p->of_line);
        p->line->peer_count++;
    }
}

void peer_tell(struct peer *p, const char *change)
{
    const char *model = p->pub.model ? p->pub.model : "";

    log_info("task_instances", p->key, change, kv_str("instance", p->pub.uuid),
             kv_str("model", model));
    events_emit(p->ti->events, EVENT_TASK_INSTANCE, "",
                json_pack("{s:s, s:s, s:i, s:s, s:s}", "instance", p->pub.uuid, "host", p->pub.host,
                          "port", (int)p->pub.port, "model", model, "change", change));
}

static void stop_questions(struct peer *p)
{
    probe_stop(p);
    predict_stop(p);
}

void peer_forget_name(struct peer *p)
{
    const char *name = p->pub.instance_id;

    if (name && map_get(&p->ti->by_name, name) == p) {
        map_remove(&p->ti->by_name, name);
    }
}

static void forget(struct task_instances *ti, const struct peer *p)
{
    size_t i = 0;

    while (ti->all[i] != p) {
        i++;
    }
    memmove(&ti->all[i], &ti->all[i + 1], (--ti->count - i) * sizeof(ti->all[0]));
}

void peer_bury(struct peer *p)
{
    struct task_instances *ti = p->ti;

    p->gone = true;
    map_remove(&ti->by_uuid, p->pub.uuid);
    map_remove(&ti->by_key, p->key);
    peer_forget_name(p);
    list_remove(&p->node);
    forget(ti, p);
    stop_questions(p);
    line_leave(p); /* nothing more is given to it */
    peer_give_up_runs(p, "it was removed");
    peer_tell_waiters(p, -ESRCH,
                      &(struct error){ -ESRCH, "the Task Instance was removed meanwhile" });
    completions_retry(ti, p);
    list_append(&ti->dead, &p->node);
    timer_start(&ti->burial, 0);
}

void peers_free(struct task_instances *ti)
{
    struct peer *p, *tmp;

    list_for_each_safe (p, tmp, &ti->peers, node) {
        stop_questions(p);
        line_leave(p);
        peer_tell_waiters(p, -ECANCELED, &(struct error){ -ECANCELED, "berth goes down" });
        list_remove(&p->node);
        list_append(&ti->dead, &p->node);
    }
    timer_stop(&ti->burial);
    on_burial(ti);
    map_finish(&ti->by_uuid);
    map_finish(&ti->by_key);
    map_finish(&ti->by_name);
}

void peers_init(struct task_instances *ti)
{
    list_init(&ti->peers);
    list_init(&ti->dead);
    map_init(&ti->by_uuid);
    map_init(&ti->by_key);
    map_init(&ti->by_name);
    timer_init(&ti->burial, ti->world, "task instance's end", on_burial, ti);
}

void peer_give_up_runs(struct peer *p, const char *why)
{
    struct run *run;

    while ((run = list_first(&p->runs, struct run, node))) {
        run_lost(run, why); /* leaves the list */
    }
}

/* Its row is deleted. One that has registered meanwhile stays, with a row again. */
static void leave(struct peer *p)
{
    p->leaving = false;
    if (p->again) {
        p->again = false;
        row_add(p, NULL, NULL);
        return;
    }
    peer_tell(p, "removed");
    peer_bury(p);
}

static void on_settled(void *arg, int result, const struct task_instance *instance,
                       const struct error *e)
{
    struct task_instances *ti = arg;
    struct peer *p = instance ? peer_find(ti, instance->uuid) : NULL;

    if (result == 0 && p) {
        leave(p);
    } else if (p) { /* again with the next heartbeat */
        p->leaving = false;
    }
}

void peer_settle(struct peer *p)
{
    if (p->pub.state == TI_DRAINING && !p->gone && !p->leaving && !p->ti->down &&
        list_empty(&p->runs)) {
        p->leaving = true;
        row_delete(p, on_settled, p->ti);
    }
}

/* ---- removing ---- */

struct removal {
    struct task_instances *ti;
    task_instance_fn done;
    void *arg;
};

static void on_removed(void *arg, int result, const struct task_instance *instance,
                       const struct error *e)
{
    struct removal *r = arg;
    struct peer *p = instance ? peer_find(r->ti, instance->uuid) : NULL;

    r->done(r->arg, result, instance, e);
    if (result == 0 && p) {
        leave(p);
    } else if (p) {
        p->leaving = false;
    }
    free(r);
}

void peer_remove(struct peer *p, task_instance_fn done, void *arg)
{
    struct removal *r = xmalloc(sizeof(*r));

    *r = (struct removal){ p->ti, done, arg };
    p->leaving = true;
    p->again = false;
    row_delete(p, on_removed, r);
}

void task_instances_remove(struct task_instances *ti, const char *uuid, bool drain,
                           task_instance_fn done, void *arg)
{
    struct peer *p = peer_find(ti, uuid);
    struct error e = { 0 };

    if (!p) {
        error_set(&e, -ESRCH, "TaskInstance %s not found", uuid);
        done(arg, -ESRCH, NULL, &e);
        return;
    }
    if (!drain || list_empty(&p->runs)) {
        peer_remove(p, done, arg);
        return;
    }
    if (p->pub.state != TI_DRAINING) {
        p->pub.state = TI_DRAINING;
        row_save(p);
        peer_tell(p, "draining");
    }
    done(arg, 0, &p->pub, NULL);
}

/* ---- reading ---- */

static const struct task_instance *brought_up(struct peer *p)
{
    p->pub.expected_ms = estimate_wait(&p->estimate, &p->pub.error_ms);
    return &p->pub;
}

const struct task_instance *task_instances_next(const struct task_instances *ti, size_t *cursor)
{
    return *cursor < ti->count ? brought_up(ti->all[(*cursor)++]) : NULL;
}

const struct task_instance *task_instances_find(const struct task_instances *ti, const char *uuid)
{
    struct peer *p = peer_find(ti, uuid);

    return p ? brought_up(p) : NULL;
}

const struct task_instance *task_instances_at(const struct task_instances *ti, const char *host,
                                              uint16_t port)
{
    char name[PEER_NAME_MAX + 1];
    struct peer *p = host_normalize(host, name, NULL) < 0 ? NULL : peer_of_key(ti, name, port);

    return p ? brought_up(p) : NULL;
}

bool task_instances_serve(const struct task_instances *ti, const char *model)
{
    const struct line *line = map_get(&ti->lines, model);

    return line && line->peer_count > 0;
}
