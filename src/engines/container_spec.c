// SPDX-License-Identifier: Apache-2.0
/* What a driver says of a container, as the Docker Engine API has it. */
#include "engines/container.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/str.h"

struct container_spec *container_spec_free(struct container_spec *s)
{
    if (s) {
        free(s->image);
        str_list_free(s->cmd);
        str_list_free(s->entrypoint);
        str_list_free(s->binds);
        str_list_free(s->devices);
        str_list_free(s->gpu_ids);
        free(s);
    }
    return NULL;
}

void container_name(const char *uuid, char out[CONTAINER_NAME_SIZE])
{
    snprintf(out, CONTAINER_NAME_SIZE, "berth-%.8s", uuid);
}

/* NULL for none, so that "s:o*" leaves it out. */
static json_t *list_json(char *const *list)
{
    json_t *array;

    if (!list) {
        return NULL;
    }
    array = json_array();
    for (; *list; list++) {
        json_array_append_new(array, json_string(*list));
    }
    return array;
}

static json_t *devices_json(char *const *paths)
{
    json_t *array = paths ? json_array() : NULL;

    for (; paths && *paths; paths++) {
        json_array_append_new(array,
                              json_pack("{s:s, s:s, s:s}", "PathOnHost", *paths, "PathInContainer",
                                        *paths, "CgroupPermissions", "rwm"));
    }
    return array;
}

/* Who may open the devices, by number: an image need not know the groups of the host by name. */
static json_t *groups_json(char *const *paths)
{
    json_t *array = json_array();
    gid_t last = 0;

    for (; paths && *paths; paths++) {
        struct stat st;

        if (stat(*paths, &st) == 0 && st.st_gid != 0 && st.st_gid != last) {
            last = st.st_gid;
            json_array_append_new(array, json_sprintf("%u", (unsigned)st.st_gid));
        }
    }
    if (json_array_size(array) == 0) {
        json_decref(array);
        return NULL;
    }
    return array;
}

static json_t *requests_json(char *const *gpu_ids)
{
    if (!gpu_ids) {
        return NULL;
    }
    if (*gpu_ids && str_eq(*gpu_ids, "all")) {
        return json_pack("[{s:i, s:[[s]]}]", "Count", -1, "Capabilities", "gpu");
    }
    return json_pack("[{s:o, s:[[s]]}]", "DeviceIDs", list_json(gpu_ids), "Capabilities", "gpu");
}

/* Never on another address than this machine's own. */
static json_t *bindings_json(const struct container_spec *s, const char *port)
{
    char host_port[8];

    if (s->host_network || s->container_port == 0) {
        return NULL;
    }
    snprintf(host_port, sizeof(host_port), "%u", (unsigned)s->host_port);
    return json_pack("{s:[{s:s, s:s}]}", port, "HostIp", "127.0.0.1", "HostPort", host_port);
}

static json_t *host_json(const struct container_spec *s, const char *port)
{
    json_t *host = json_pack("{s:o*, s:o*, s:o*, s:o*, s:o*, s:[s], s:{s:s}}", "Binds",
                             list_json(s->binds), "Devices", devices_json(s->devices), "GroupAdd",
                             groups_json(s->devices), "DeviceRequests", requests_json(s->gpu_ids),
                             "PortBindings", bindings_json(s, port), "SecurityOpt",
                             "no-new-privileges", "RestartPolicy", "Name", "no");

    if (s->host_network) {
        json_object_set_new(host, "NetworkMode", json_string("host"));
    }
    if (s->host_ipc) {
        json_object_set_new(host, "IpcMode", json_string("host"));
    }
    if (s->memory_bytes) {
        json_object_set_new(host, "Memory", json_integer(s->memory_bytes));
    }
    if (s->shm_bytes && !s->host_ipc) { /* podman refuses both */
        json_object_set_new(host, "ShmSize", json_integer(s->shm_bytes));
    }
    return host;
}

json_t *container_spec_json(const struct container_spec *s, char *const *env)
{
    char port[16];
    json_t *body;

    snprintf(port, sizeof(port), "%u/tcp", (unsigned)s->container_port);
    body = json_pack("{s:s, s:o*, s:o*, s:o*, s:o}", "Image", s->image, "Cmd", list_json(s->cmd),
                     "Entrypoint", list_json(s->entrypoint), "Env", list_json(env), "HostConfig",
                     host_json(s, port));
    if (s->container_port && !s->host_network) {
        json_object_set_new(body, "ExposedPorts", json_pack("{s:{}}", port));
    }
    return body;
}

char *container_spec_text(const struct container_spec *s, char *const *env)
{
    struct container_spec told = *s;
    json_t *body;
    char *text;

    if (s->placed) {
        told.gpu_ids = told.devices = NULL;
    }
    body = container_spec_json(&told, env);
    json_object_set_new(body, "placed", json_boolean(s->placed));
    text = json_dumps(body, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(body);
    return text;
}

bool container_specs_equal(const struct container_spec *a, const struct container_spec *b)
{
    _cleanup_(freep) char *text_a = a ? container_spec_text(a, NULL) : NULL;
    _cleanup_(freep) char *text_b = b ? container_spec_text(b, NULL) : NULL;

    return !a == !b && (!a || str_eq(text_a, text_b));
}
