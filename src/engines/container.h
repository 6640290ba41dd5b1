// SPDX-License-Identifier: Apache-2.0
/*
 * What a driver says of a container that is to be an instance: the drivers `docker` and `vllm`. It
 * is run through the Docker Engine API on its unix socket (engines.docker_socket); podman's
 * compatible one will do.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct container_spec {
    char *image;
    char **cmd;        /* NULL-terminated; NULL: the image's own */
    char **entrypoint; /* NULL: the image's own */
    char **binds;      /* "/host:/container:ro"; NULL: none */
    char **devices;    /* paths (/dev/kfd, /dev/dri/…) for AMD; NULL: none */
    char **gpu_ids;    /* NVIDIA device ids for a device request; NULL: none, and no request */
    uint16_t container_port, host_port; /* published on 127.0.0.1; the same with host networking */
    bool host_network, host_ipc;
    int64_t memory_bytes, shm_bytes; /* limits; 0: none */
    bool pull;                       /* fetch the image when it is not there */
};
/* Accepts NULL, returns NULL. */
struct container_spec *container_spec_free(struct container_spec *s);
