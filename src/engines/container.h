// SPDX-License-Identifier: Apache-2.0
/*
 * A container as an instance's process: what a driver says of it (the drivers `docker` and `vllm`),
 * and its life, through the Docker Engine API on a unix socket (engines.docker_socket; podman's
 * compatible one will do).
 *
 *     ask for the version ─► create (fetch the image) ─► start ─► running ─► ended ─► removed
 *
 * A container is known by its name, "berth-" and the beginning of its instance's uuid, which is
 * stored before it is made; two labels say whose it is. While it runs one request waits for its
 * end, which is why the stream of all events is not needed, and another one follows its log, which
 * is written into the instance's own. Either may be cut: the engine is asked again, for the log
 * from where it was left. What does not answer is not called gone.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/process.h"
#include "base/world.h"

struct container_spec {
    char *image;
    char **cmd;        /* NULL-terminated; NULL: the image's own */
    char **entrypoint; /* NULL: the image's own */
    char **binds;      /* "/host:/container:ro"; NULL: none */
    char **devices;    /* paths (/dev/kfd, /dev/dri/…) for AMD; NULL: none */
    char **gpu_ids; /* NVIDIA device ids for a device request, or "all" alone; NULL: no request */
    bool placed;    /* its devices are those of its place: not told by container_spec_text, since
                       an instance keeps its place, and devices may not be known yet */
    const char *const *passed; /* names of variables of our own that it gets where they are set:
                                  secrets, neither hashed nor shown; a constant, or NULL */
    uint16_t container_port, host_port; /* published on 127.0.0.1; the same with host networking */
    bool host_network, host_ipc;
    int64_t memory_bytes, shm_bytes; /* limits; 0: none */
    bool pull;                       /* fetch the image when it is not there */
};
/* Accepts NULL, returns NULL. */
struct container_spec *container_spec_free(struct container_spec *s);
/* The body of the request that makes it, without what differs from one instance to the next
 * (labels, the mark, passed variables): the same spec gives the same. Owned by the caller. */
json_t *container_spec_json(const struct container_spec *s, char *const *env);
/* What the definition makes of it, for a hash; owned by the caller. */
char *container_spec_text(const struct container_spec *s, char *const *env);
bool container_specs_equal(const struct container_spec *a, const struct container_spec *b);

enum { CONTAINER_NAME_SIZE = 16 };
/* "berth-1f0c2e3a" */
void container_name(const char *uuid, char out[CONTAINER_NAME_SIZE]);

/* Why it runs no more. */
enum container_verdict {
    CONTAINER_EXITED,  /* `how` says how */
    CONTAINER_VAIN,    /* it cannot be made: another try is in vain (no such image, …) */
    CONTAINER_NO_EXEC, /* its program cannot be run: the same */
    CONTAINER_FAILED,  /* it could not be made or started; another try may do */
    CONTAINER_MISSING, /* to be adopted, but it does not run */
};
struct container_end {
    enum container_verdict verdict;
    struct process_exit how;
    const char *sentence; /* of all but CONTAINER_EXITED; good for the call */
};

struct container_handler {
    /* It runs (again known to): its first process, as the container engine's host sees it. */
    void (*on_running)(void *owner, int64_t pid);
    /* Its image is being fetched: that may take long. */
    void (*on_pull)(void *owner);
    /* Its program runs no more, or never did; its log is written to the end. Comes at most once;
     * what is left of it is removed by container_remove. */
    void (*on_end)(void *owner, const struct container_end *end);
    /* Nothing is left of it. The handle may be destroyed from inside. */
    void (*on_gone)(void *owner);
};

struct container_in {
    struct world *world;
    const char *socket;  /* of the container engine */
    const char *data_id; /* label berth.data */
    const char *uuid;    /* label berth.instance */
    const char *log_path, *log_name;
    int64_t log_since_ns; /* adopting: what its log has up to then is written already */
    int64_t oom_score;
    const struct container_handler *handler;
    void *owner;
};
struct container;

/* Callbacks come in later turns only. spec and env are borrowed for the call. */
struct container *container_start(const struct container_in *in, const struct container_spec *spec,
                                  char *const *env);
/* One that an earlier berth made; on_end with CONTAINER_MISSING when it does not run any more. */
struct container *container_adopt(const struct container_in *in);
/* One whose remains are to be removed. */
struct container *container_leftover(const struct container_in *in);
/* Asks its program to end (the image's stop signal); after grace_ms it is killed. */
void container_stop(struct container *c, uint64_t grace_ms);
/* Kills what runs and removes it: on_gone follows. A container of its name that is not ours is left
 * alone. May be called again. */
void container_remove(struct container *c);
/* Was it made, as far as is known? Else there is nothing to remove. */
bool container_exists(const struct container *c);
/* Since when the container engine has not answered (world_now_ms); 0: it does. */
uint64_t container_silent_since_ms(const struct container *c);
/* Lets go of it, it lives on. Accepts NULL, returns NULL. */
struct container *container_destroy(struct container *c);

/* Removes containers with our data directory's label that `is_known` does not know by their uuid;
 * tries again until the container engine has answered. */
struct container_sweep;
struct container_sweep *container_sweep_start(struct world *w, const char *socket,
                                              const char *data_id,
                                              bool (*is_known)(void *owner, const char *uuid),
                                              void *owner);
struct container_sweep *container_sweep_destroy(struct container_sweep *s);
