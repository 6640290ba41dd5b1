// SPDX-License-Identifier: Apache-2.0
/*
 * A container engine in the simulated world: the few requests of the Docker Engine API that are
 * made of it, in Docker's words or in podman's, on a unix socket that may go away and come back
 * while its containers live on. A container that runs is a simulated engine on its port.
 */
#pragma once

#include "rig.h"

enum { FAKE_SOCKET_CONNS = 32 };

struct fake_container {
    struct list node;
    struct fake_docker *docker;
    char name[32];
    char image[64];
    json_t *body; /* that it was made of */
    bool running, ended, oom;
    int exit_code;
    int64_t pid;
    bool ignores_stop;
    unsigned stops;
    char log[8192]; /* frames, with time stamps */
    size_t log_len;
    struct sim_engine *engine;
};

struct fake_docker {
    struct rig *rig;
    struct stream_listener *listener;
    struct list conns, containers;
    bool podman;
    const char *version;     /* NULL: "1.41" */
    const char *min_version; /* NULL: "1.12" */
    const char *missing;     /* an image that is not there */
    const char *pull_answer; /* NULL: it comes */
    int start_status;        /* 0: it starts */
    const char *start_words;
    const char *first_log; /* what a container writes when it starts; NULL: nothing */
    bool dies_at_once;     /* with exit code 1 */
    bool mute;             /* takes requests, and never answers */
    size_t piece;          /* logs are sent in pieces of so many bytes; 0: whole */
    unsigned creates, starts, removes, pulls;
    char paths[4096]; /* "POST /v1.41/containers/create …", one a line */
};

struct fake_docker *fake_docker_create(struct rig *rig);
/* Its socket goes, with all that is connected; its containers stay. */
void fake_docker_close(struct fake_docker *d);
void fake_docker_open(struct fake_docker *d);
struct fake_docker *fake_docker_destroy(struct fake_docker *d);

size_t fake_docker_count(struct fake_docker *d);
/* The one that there is, or a failure. */
struct fake_container *fake_docker_only(struct fake_docker *d);
/* One that we did not make. */
struct fake_container *fake_docker_add(struct fake_docker *d, const char *name, const char *body);
void fake_container_exit(struct fake_container *c, int code, bool oom);
/* A line of its log, at this second of the day. */
void fake_container_log(struct fake_container *c, int stream, unsigned second, const char *text);
