// SPDX-License-Identifier: Apache-2.0
/*
 * Keys of remote models that come through the task doors: a file each below the data directory,
 * readable by us only, named by the definition (parameters.api_key_file). The rule: a key is in its
 * file and on its way there, and nowhere else; it is in place, and synced, before a definition that
 * names it is committed.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/task_doors_int.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

#define KEYS_DIR "keys"

enum { RANDOM_BYTES = 16 };

/* "keys/<32 hex digits>", nothing else: what is removed by this name is ours. */
static bool is_ours(const char *name)
{
    const size_t prefix = sizeof(KEYS_DIR);

    return name && str_starts(name, KEYS_DIR "/") && strlen(name) == prefix + 2 * RANDOM_BYTES &&
           strspn(name + prefix, "0123456789abcdef") == 2 * RANDOM_BYTES;
}

void task_key_name(struct api *api, char ret[TASK_KEY_NAME_SIZE])
{
    char hex[2 * RANDOM_BYTES + 1];
    unsigned char bytes[RANDOM_BYTES];

    world_random(api->in.world, bytes, sizeof(bytes));
    hex_encode(bytes, sizeof(bytes), hex);
    snprintf(ret, TASK_KEY_NAME_SIZE, KEYS_DIR "/%s", hex);
}

static int write_synced(int fd, const char *key)
{
    const size_t n = strlen(key);

    if (write(fd, key, n) != (ssize_t)n || fsync(fd) < 0) {
        return errno > 0 ? -errno : -EIO;
    }
    return 0;
}

int task_key_write(const char *data_dir, const char *name, const char *key, struct error *reterr)
{
    _cleanup_(freep) char *dir = xasprintf("%s/%s", data_dir, KEYS_DIR);
    _cleanup_(freep) char *path = xasprintf("%s/%s", data_dir, name);
    _cleanup_(closep) int fd = -1, dir_fd = -1;
    int r = mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;

    if (r == 0) {
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        r = fd < 0 ? -errno : write_synced(fd, key);
    }
    if (r == 0) {
        dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = dir_fd < 0 || fsync(dir_fd) < 0 ? -errno : 0;
    }
    if (r < 0) {
        if (fd >= 0) {
            unlink(path);
        }
        return error_set(reterr, r == -ENOSPC ? r : -EIO, "the key could not be kept: %s",
                         strerror(-r));
    }
    return 0;
}

void task_key_remove(const struct api *api, const char *name)
{
    _cleanup_(freep) char *path = NULL;

    if (!is_ours(name)) {
        return;
    }
    path = xasprintf("%s/%s", api->in.data_dir, name);
    if (unlink(path) < 0 && errno != ENOENT) {
        log_warn("api", NULL, "a key's file could not be removed, ignoring", kv_str("file", name),
                 kv_str("why", strerror(errno)));
    }
}

const char *task_key_of(const struct model_config *config)
{
    return json_string_value(json_object_get(config->parameters, "api_key_file"));
}

void api_on_model(void *owner, const void *what)
{
    const struct model_change *change = what;

    if (change->kind == MODEL_REMOVED) {
        task_key_remove(owner, task_key_of(change->model->config));
    }
}

void task_keys_sweep(struct api *api)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", api->in.data_dir, KEYS_DIR);
    const struct model *model;
    const struct dirent *entry;
    DIR *dir = opendir(path);
    struct map named;
    size_t cursor = 0;

    if (!dir) {
        return;
    }
    map_init(&named);
    while ((model = models_next(api->in.models, &cursor))) {
        const char *key = task_key_of(model->config);

        if (is_ours(key) && !map_get(&named, key)) {
            map_put(&named, key, api);
        }
    }
    while ((entry = readdir(dir))) {
        _cleanup_(freep) char *name = xasprintf(KEYS_DIR "/%s", entry->d_name);

        if (!map_get(&named, name)) {
            task_key_remove(api, name);
        }
    }
    closedir(dir);
    map_finish(&named);
}
