// SPDX-License-Identifier: Apache-2.0
/*
 * The file of task_instances.config (or SCHEDULER_CONFIG_PATH): `instances:`, a list of URLs or of
 * {host, port, model}. Loading it removes what an earlier load had made and it no longer names;
 * what stands in both goes on, and what registered itself is not touched.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "codec/yaml_tree.h"
#include "task_instances/task_instances_int.h"

enum { DEFAULT_PORT = 8100 };

struct entry {
    char host[PEER_NAME_MAX + 1];
    uint16_t port;
    char *model; /* NULL: it says so itself */
};

struct entries {
    struct entry *list;
    size_t count;
    struct map by_key; /* of peers */
};

static void entries_finish(struct entries *e)
{
    for (size_t i = 0; i < e->count; i++) {
        free(e->list[i].model);
    }
    free(e->list);
    map_finish(&e->by_key);
}

static int read_url(const char *url, struct entry *ret, struct error *reterr)
{
    _cleanup_(freep) char *path = NULL;
    struct address where;
    int r = address_parse_url(url, &where, &path, reterr);

    if (r < 0) {
        return r;
    }
    if (where.tls || where.is_unix || *path) {
        return error_set(reterr, -EINVAL,
                         "a Task Instance's URL is http://HOST:PORT, with nothing "
                         "behind it");
    }
    ret->port = strchr(strstr(url, "//") + 2, ':') || where.port != 80 ? where.port : DEFAULT_PORT;
    return host_normalize(where.host, ret->host, reterr);
}

static int read_object(const json_t *item, struct entry *ret, struct error *reterr)
{
    const json_t *host = json_object_get(item, "host"), *port = json_object_get(item, "port");
    const json_t *model = json_object_get(item, "model");
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)item, key, value)
    {
        if (!str_eq(key, "host") && !str_eq(key, "port") && !str_eq(key, "model")) {
            return error_set(reterr, -EINVAL,
                             "'%.64s' is unknown here: host, port and model are "
                             "known",
                             key);
        }
    }
    if ((host && !json_is_string(host)) || (model && !json_is_string(model))) {
        return error_set(reterr, -EINVAL, "host and model must be text");
    }
    if (port && (!json_is_integer(port) || json_integer_value(port) < 1 ||
                 json_integer_value(port) > UINT16_MAX)) {
        return error_set(reterr, -EINVAL, "port must be a whole number from 1 to 65535");
    }
    if (model && (!*json_string_value(model) || json_string_length(model) > PEER_NAME_MAX)) {
        return error_set(reterr, -EINVAL, "model must have 1 to %d bytes", PEER_NAME_MAX);
    }
    ret->port = port ? (uint16_t)json_integer_value(port) : DEFAULT_PORT;
    ret->model = model ? xstrdup(json_string_value(model)) : NULL;
    return host_normalize(host ? json_string_value(host) : "localhost", ret->host, reterr);
}

static int read_entry(const json_t *item, struct entry *ret, struct error *reterr)
{
    if (json_is_string(item)) {
        return read_url(json_string_value(item), ret, reterr);
    }
    if (json_is_object(item)) {
        return read_object(item, ret, reterr);
    }
    return error_set(reterr, -EINVAL, "an instance is a URL, or has host and port");
}

/* The first of those that stand twice counts. */
static void take(struct entries *all, struct entry *e)
{
    struct entry *place = &all->list[all->count];
    char key[PEER_KEY_SIZE];

    peer_write_key(key, sizeof(key), e->host, e->port);
    if (map_get(&all->by_key, key)) {
        free(e->model);
        return;
    }
    *place = *e;
    all->count++;
    map_put(&all->by_key, key, place);
}

static int read_list(const char *path, const struct yaml_document *doc, struct entries *ret,
                     struct error *reterr)
{
    const json_t *list = json_object_get(doc->root, "instances"), *item;
    size_t i;

    if (!json_is_null(doc->root) && list && !json_is_null(list) && !json_is_array(list)) {
        return error_set(reterr, -EINVAL, "%s:%d: instances must be a list", path,
                         yaml_line(doc, "instances"));
    }
    if (!json_is_null(doc->root) && !list) {
        return error_set(reterr, -EINVAL, "%s:1: there is no list `instances:`", path);
    }
    if (json_array_size(list) > TASK_INSTANCES_MAX) {
        return error_set(reterr, -EFBIG, "%s: more than %d instances", path, TASK_INSTANCES_MAX);
    }
    ret->list = xcalloc(json_array_size(list) + 1, sizeof(*ret->list));
    json_array_foreach((json_t *)(uintptr_t)list, i, item)
    {
        struct entry e = { .port = 0 };
        char place[64];
        int r = read_entry(item, &e, reterr);

        if (r < 0) {
            free(e.model);
            snprintf(place, sizeof(place), "instances.%zu", i);
            error_prefix(reterr, "%s:%d: ", path, yaml_line(doc, place));
            return r;
        }
        take(ret, &e);
    }
    return 0;
}

static int read_text(const char *path, struct buf *out, struct error *reterr)
{
    FILE *f = fopen(path, "re");
    size_t n;
    char *p;

    if (!f) {
        return error_set(reterr, -errno, "task_instances.config: %s cannot be read: %s", path,
                         strerror(errno));
    }
    while ((p = buf_reserve(out, 4096)) && (n = fread(p, 1, 4096, f)) > 0) {
        buf_added(out, n);
    }
    if (!p || ferror(f)) {
        fclose(f);
        return error_set(reterr, p ? -EIO : -EFBIG, "task_instances.config: %s %s", path,
                         p ? "cannot be read" : "is too long");
    }
    fclose(f);
    return 0;
}

static int read_entries(const char *path, struct entries *ret, struct error *reterr)
{
    struct buf text = BUF_INIT(YAML_SIZE_MAX);
    struct yaml_document doc;
    int r = read_text(path, &text, reterr);

    if (r == 0) {
        r = yaml_read(buf_span(&text), path, &doc, reterr);
        if (r == 0) {
            r = read_list(path, &doc, ret, reterr);
            yaml_document_finish(&doc);
        }
    }
    buf_finish(&text);
    return r;
}

static void on_removed(void *arg, int result, const struct task_instance *instance,
                       const struct error *e)
{
}

static void remove_others(struct task_instances *ti, const struct entries *all)
{
    struct peer *p;

    list_for_each (p, &ti->peers, node) {
        if (p->from_file && !map_get(&all->by_key, p->key)) {
            peer_remove(p, on_removed, NULL); /* in a later turn */
        }
    }
}

static void add(struct task_instances *ti, const struct entry *e)
{
    struct peer *p = peer_of_key(ti, e->host, e->port);
    char uuid[UUID_SIZE];

    if (p) {
        p->again = p->leaving;
        if (e->model && !str_eq_opt(e->model, p->given_model)) {
            free(p->given_model);
            p->given_model = xstrdup(e->model);
            row_save(p);
        }
        return;
    }
    if (ti->count == TASK_INSTANCES_MAX) {
        return;
    }
    world_uuid(ti->world, uuid);
    p = peer_add(ti, uuid, e->host, e->port, e->model);
    p->from_file = true;
    row_add(p, NULL, NULL);
    peer_tell(p, "registered");
}

/* Empty: there is none. */
static const char *file_path(const struct task_instances *ti)
{
    static const char *const variables[] = { "SCHEDULER_CONFIG_PATH", "GLOBALQUEUE_CONFIG" };
    const char *path = config_string(ti->config, "task_instances.config");

    for (size_t i = 0; path[0] == '\0' && i < ARRAY_SIZE(variables); i++) {
        const char *value = getenv(variables[i]);

        path = value ? value : "";
    }
    return path;
}

int peer_file_load(struct task_instances *ti, struct error *reterr)
{
    const char *path = file_path(ti);
    struct entries all = { .count = 0 };
    int r;

    map_init(&all.by_key);
    r = *path ? read_entries(path, &all, reterr) : 0;

    if (r == 0) {
        remove_others(ti, &all);
        for (size_t i = 0; i < all.count; i++) {
            add(ti, &all.list[i]);
        }
    }
    entries_finish(&all);
    return r;
}
