// SPDX-License-Identifier: Apache-2.0
/*
 * Containers of this data directory that nobody knows: made by a berth that ended before it had
 * heard of it, or removed from the catalogue while the container engine was away. They are removed
 * one after the other, once, soon after the start; while the engine does not answer there is
 * nothing to remove either, so that it is asked again rarely.
 */
#include "engines/container.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "engines/docker.h"

enum { ASK_LIMIT_MS = 60 * 1000, RETRY_MS = 60 * 1000 };

struct container_sweep {
    struct docker *docker;
    struct docker_call *ask;
    struct timer timer;
    json_t *found; /* ids that are to be removed */
    char *data_id;
    bool (*is_known)(void *owner, const char *uuid);
    void *owner;
};

static void remove_next(struct container_sweep *s);

static void on_removed(void *owner, int status, const json_t *body, const struct error *e)
{
    struct container_sweep *s = owner;

    s->ask = NULL;
    if (e && status != 404) {
        log_warn("engines", NULL, "a stray container is not removed, ignoring",
                 kv_str("reason", e->text));
    }
    remove_next(s);
}

static void remove_next(struct container_sweep *s)
{
    const char *id = json_string_value(json_array_get(s->found, 0));
    char path[DOCKER_PATH_MAX];

    if (id) {
        log_warn("engines", NULL, "stray container: removed", kv_str("container", id));
        snprintf(path, sizeof(path), "/containers/%.64s?force=1&v=1", id);
        s->ask = docker_ask(s->docker, "DELETE", path, NULL, ASK_LIMIT_MS, on_removed, s);
        json_array_remove(s->found, 0);
    }
}

static void on_listed(void *owner, int status, const json_t *body, const struct error *e)
{
    struct container_sweep *s = owner;
    size_t i;
    json_t *item;

    s->ask = NULL;
    if (status != 200) {
        timer_start(&s->timer, RETRY_MS);
        return;
    }
    json_array_foreach(UNCONST(json_t *, body), i, item)
    {
        const json_t *labels = json_object_get(item, "Labels");
        const char *data = json_string_value(json_object_get(labels, "berth.data"));
        const char *uuid = json_string_value(json_object_get(labels, "berth.instance"));

        if (data && uuid && str_eq(data, s->data_id) && !s->is_known(s->owner, uuid)) {
            json_array_append(s->found, json_object_get(item, "Id"));
        }
    }
    remove_next(s);
}

static void on_version(void *owner, int status, const json_t *body, const struct error *e)
{
    struct container_sweep *s = owner;
    char path[DOCKER_PATH_MAX];

    s->ask = NULL;
    if (status == 0) {
        timer_start(&s->timer, RETRY_MS);
        return;
    }
    snprintf(path, sizeof(path),
             "/containers/json?all=1&filters=%%7B%%22label%%22%%3A%%5B%%22berth.data%%3D%s%%22%%5D"
             "%%7D",
             s->data_id);
    s->ask = docker_ask(s->docker, "GET", path, NULL, ASK_LIMIT_MS, on_listed, s);
}

static void on_due(void *arg)
{
    struct container_sweep *s = arg;

    s->ask = docker_ask_version(s->docker, on_version, s);
}

struct container_sweep *container_sweep_start(struct world *w, const char *socket,
                                              const char *data_id,
                                              bool (*is_known)(void *owner, const char *uuid),
                                              void *owner)
{
    struct container_sweep *s = xcalloc(1, sizeof(*s));

    s->docker = docker_create(w, socket);
    s->found = json_array();
    s->data_id = xstrdup(data_id);
    s->is_known = is_known;
    s->owner = owner;
    timer_init(&s->timer, w, "engines.container_sweep", on_due, s);
    timer_start(&s->timer, 0);
    return s;
}

struct container_sweep *container_sweep_destroy(struct container_sweep *s)
{
    if (s) {
        docker_cancel(s->ask);
        timer_stop(&s->timer);
        docker_destroy(s->docker);
        json_decref(s->found);
        free(s->data_id);
        free(s);
    }
    return NULL;
}
