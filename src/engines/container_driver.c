// SPDX-License-Identifier: Apache-2.0
/* What a definition says of a container, whatever runs in it. */
#include "engines/container_driver.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "engines/docker.h"
#include "gpu/gpu.h"

/* ---- parameters */

/* The second word is not the usual one. */
static int read_choice(const struct model_config *model, const char *name, const char *usual,
                       const char *other, bool *ret, struct error *reterr)
{
    const json_t *value = parameter_get(model, name);
    const char *text = json_string_value(value);

    if (!value) {
        return 0;
    }
    if (!text || (!str_eq(text, usual) && !str_eq(text, other))) {
        return error_set(reterr, -EINVAL, "parameters.%s must be %s or %s", name, usual, other);
    }
    *ret = str_eq(text, other);
    return 0;
}

static int read_bytes(const struct model_config *model, const char *name, int64_t *ret,
                      struct error *reterr)
{
    const json_t *value = parameter_get(model, name);
    uint64_t bytes = 0;

    if (!value) {
        return 0;
    }
    if (json_is_integer(value) && json_integer_value(value) > 0) {
        bytes = (uint64_t)json_integer_value(value);
    } else if (!json_is_string(value) || str_to_bytes(json_string_value(value), &bytes) < 0) {
        bytes = 0;
    }
    if (bytes == 0 || bytes > INT64_MAX) {
        return error_set(reterr, -EINVAL, "parameters.%s must be a size: bytes, or \"2GiB\"", name);
    }
    *ret = (int64_t)bytes;
    return 0;
}

/* "/host:/inside", "/host:/inside:ro": a name instead of a path would be a volume of its own. */
static bool is_volume(const char *text)
{
    const char *inside = strchr(text, ':');
    const char *mode = inside ? strchr(inside + 1, ':') : NULL;

    return *text == '/' && inside && inside[1] == '/' &&
           (!mode || str_eq(mode, ":ro") || str_eq(mode, ":rw"));
}

static int read_volumes(const struct model_config *model, struct words *binds, struct error *reterr)
{
    int r = words_read(binds, "parameters.volumes", parameter_get(model, "volumes"), reterr);

    for (size_t i = 0; i < binds->count && r >= 0; i++) {
        if (!is_volume(binds->list[i])) {
            r = error_set(reterr, -EINVAL,
                          "parameters.volumes: '%s' is not like /host:/container or "
                          "/host:/container:ro",
                          binds->list[i]);
        }
    }
    return r;
}

/* ---- devices */

static bool add_render_node(const char *pci, struct words *out)
{
    _cleanup_(freep) char *dir = xasprintf("/sys/bus/pci/devices/%s/drm", pci);
    DIR *d = *pci ? opendir(dir) : NULL;
    struct dirent *entry;
    bool found = false;

    while (d && (entry = readdir(d))) {
        if (str_starts(entry->d_name, "renderD")) {
            words_addf(out, "/dev/dri/%s", entry->d_name);
            found = true;
        }
    }
    if (d) {
        closedir(d);
    }
    return found;
}

/* A card whose node is not known is given with all others: that is better than none. */
static void add_node(const struct gpus *gpus, const char *id, struct words *nodes)
{
    const struct gpu_device *d = gpus->room ? gpu_of_vendor(gpus->room, GPU_AMD, atoi(id)) : NULL;

    if (!d || !add_render_node(d->pci, nodes)) {
        words_add(nodes, "/dev/dri");
    }
}

static char **amd_nodes(const struct gpus *gpus, char *const *ids)
{
    struct words nodes = { 0 };

    words_add(&nodes, "/dev/kfd");
    if (!ids) {
        words_add(&nodes, "/dev/dri");
    }
    for (; ids && *ids; ids++) {
        add_node(gpus, *ids, &nodes);
    }
    return words_take(&nodes);
}

/* When nobody says which ones, all that there are. */
static void describe_devices(const struct engine_context *c, struct container_spec *spec)
{
    struct gpus gpus = gpus_for(c);
    _cleanup_(str_list_freep) char **ids = devices_ids(c->model, &gpus);

    if (!parameter_bool(c->model, "gpus", true) || devices_are_host(c->model, &gpus)) {
        return;
    }
    spec->placed = gpus.place != NULL;
    if (devices_are_amd(c->model, &gpus)) {
        spec->devices = amd_nodes(&gpus, ids);
    } else if (ids) {
        spec->gpu_ids = TAKE_PTR(ids);
    } else {
        struct words all = { 0 };

        words_add(&all, "all");
        spec->gpu_ids = words_take(&all);
    }
}

/* ---- the whole */

void container_bind(struct container_spec *spec, const char *host, const char *inside,
                    const char *mode)
{
    struct words binds = { .list = spec->binds };

    while (binds.list && binds.list[binds.count]) {
        binds.count++;
    }
    words_addf(&binds, "%s:%s%s", host, inside, mode);
    spec->binds = words_take(&binds);
}

static int describe_mounts(const struct engine_context *c, struct container_spec *spec,
                           struct error *reterr)
{
    const char *path = c->model->model_path;
    struct words binds = { 0 };
    int r = read_volumes(c->model, &binds, reterr);

    if (r < 0) {
        words_finish(&binds);
        return r;
    }
    spec->binds = binds.count ? words_take(&binds) : NULL;
    if (*path != '/') {
        return 0; /* a name that the engine knows */
    }
    if (access(path, F_OK) < 0) {
        return error_set(reterr, -errno, "cannot read the model %s: %s", path, strerror(errno));
    }
    container_bind(spec, path, path, ":ro");
    return 0;
}

static int describe(const struct engine_context *c, const struct container_defaults *defaults,
                    struct container_spec *spec, struct error *reterr)
{
    const char *image = parameter_text(c->model, "image");
    uint16_t named = parameter_port(c);
    int r;

    image = image ? image : defaults->image;
    if (!image) {
        return error_set(reterr, -EINVAL, "parameters.image is needed: the container's image");
    }
    spec->image = xstrdup(image);
    spec->pull = parameter_bool(c->model, "pull", false);
    spec->host_ipc = defaults->host_ipc;
    r = read_choice(c->model, "network", "bridge", "host", &spec->host_network, reterr);
    r = r < 0 ? r : read_choice(c->model, "ipc", "private", "host", &spec->host_ipc, reterr);
    r = r < 0 ? r : read_bytes(c->model, "shm_size", &spec->shm_bytes, reterr);
    r = r < 0 ? r : read_bytes(c->model, "memory_limit", &spec->memory_bytes, reterr);
    if (r < 0) {
        return r;
    }
    spec->host_port = named ? named : c->port;
    spec->container_port = spec->host_network ? spec->host_port : defaults->port;
    describe_devices(c, spec);
    return describe_mounts(c, spec, reterr);
}

int container_describe(const struct engine_context *c, const struct container_defaults *defaults,
                       struct container_spec **ret, struct error *reterr)
{
    struct container_spec *spec = xcalloc(1, sizeof(*spec));
    int r = describe(c, defaults, spec, reterr);

    if (r < 0) {
        container_spec_free(spec);
        return r;
    }
    *ret = spec;
    return 0;
}

const char *container_host(const struct container_spec *spec)
{
    return spec->host_network ? "127.0.0.1" : "0.0.0.0";
}

uint16_t container_port(const struct container_spec *spec)
{
    return spec->container_port;
}

void container_env(const struct model_config *model, struct words *env)
{
    const char *name;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, parameter_get(model, "env")), name, value)
    {
        if (json_is_string(value)) {
            words_addf(env, "%s=%s", name, json_string_value(value));
        }
    }
}

void container_validate(const struct engine_context *c, struct validation *v,
                        struct validation *machine)
{
    struct gpus gpus = gpus_of(c->gpu);
    struct error err = { 0 };

    if (parameter_text(c->model, "host")) {
        validation_warn(v, "parameters.host has no effect: a container's port is published on "
                           "127.0.0.1 only");
    }
    if (docker_check(config_string(c->config, "engines.docker_socket"), &err) < 0) {
        validation_error(machine, "%s", err.text);
    }
    devices_validate(c->model, &gpus, machine);
}
