// SPDX-License-Identifier: Apache-2.0
/*
 * A whole management side in a simulated world: store in memory, events, models, engines whose
 * processes are scripted, access, the front, a server, and a client that asks it. What the tests of
 * the doors stand on.
 */
#pragma once

#include "api/api.h"
#include "api/front.h"
#include "base/sim.h"
#include "http/client.h"
#include "unit.h"

struct fixture {
    struct world *world;
    struct config *config;
    struct metrics *metrics;
    struct gpu *gpu; /* by the script devices.yaml: two cards */
    struct store *store;
    struct events *events;
    struct models *models;
    struct access *access;
    struct engines *engines;
    struct dispatch *dispatch;
    struct placement *placement;
    struct task_types *task_types;
    struct webhooks *webhooks;
    struct tasks *tasks;
    struct evaluations *evaluations;
    struct gateway *gateway;
    struct monitor *monitor;
    struct router *router;
    struct api *api;
    struct front *front;
    struct http_server *server;
    struct access_listener tag;
    struct http_upstream *client;
    struct listener listeners[20];
    size_t listener_count;
    char dir[64]; /* real and temporary, the working directory: holds model.gguf and an executable
                     "engine" */
    char *model_path;
    bool engine_broken; /* engines exit with 1 as soon as they start */
    int engine_status;  /* what engines answer everything but their probes with; 0: 200 */
};

struct fixture *fixture_create(void);
void fixture_destroy(struct fixture *f);

struct answer {
    int status;
    char *body;
    json_t *json; /* NULL when the body is none */
};
/* The answer as its bytes, head included: for what a client library would hide. Owned by the
 * caller. */
char *ask_raw(struct fixture *f, const char *request);
/* Asks and runs the world until the answer is whole. body NULL: none; borrowed. The caller finishes
 * it. */
struct answer ask(struct fixture *f, const char *method, const char *path, const char *body);
struct answer ask_with(struct fixture *f, const char *method, const char *path, const char *body,
                       const char *headers);
void answer_finish(struct answer *a);
/* Asks, and fails the test (with the answer) when the status is another. */
void ask_expect(struct fixture *f, int status, const char *method, const char *path,
                const char *body);

/* A ModelConfig as text with this id, owned by the caller. */
char *definition(struct fixture *f, const char *id);
