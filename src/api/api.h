// SPDX-License-Identifier: Apache-2.0
/*
 * The management doors: one route table a door (models, proxy, system, events, operations), each a
 * translation of paths, field names, status words and error shapes onto the rooms below. No door
 * keeps state; a handler that waits for a commit holds the exchange and the model's id, never a
 * pointer to another room's object.
 *
 * Everything runs on the loop.
 */
#pragma once

#include "access/access.h"
#include "config/config.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "evaluations/evaluations.h"
#include "events/events.h"
#include "gateway/gateway.h"
#include "gpu/gpu.h"
#include "http/router.h"
#include "metrics/metrics.h"
#include "models/models.h"
#include "monitor/monitor.h"
#include "placement/placement.h"
#include "store/store.h"
#include "task_instances/task_instances.h"
#include "tasks/batches.h"
#include "tasks/task_types.h"
#include "tasks/tasks.h"
#include "tasks/webhooks.h"

struct api;

extern const struct option_table api_options; /* task_models.openai_url, files.roots */

struct api_in {
    struct world *world;
    const struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct engines *engines;
    struct dispatch *dispatch;
    struct placement *placement;
    struct gateway *gateway;
    struct gpu *gpu;
    struct tasks *tasks;
    const struct task_types *task_types;
    struct batches *batches;
    struct task_instances *task_instances;
    struct evaluations *evaluations; /* NULL: the planner's doors are closed (tests) */
    struct monitor *monitor;         /* NULL: nothing is kept of the last hour (tests) */
    struct metrics *metrics;
    const struct router *router; /* of all doors: what /openapi.json is made of */
    const char *data_dir; /* absolute path, so that socket and log paths can be shown whole */
    const char *version;  /* of berth */
};

/* All that `in` points to must outlive the api. */
struct api *api_create(const struct api_in *in);
/* After the HTTP server is destroyed (no exchange is left) and before the store is closed; late
 * commits are coped with. Accepts NULL, returns NULL. */
struct api *api_destroy(struct api *api);
/* The tables live in the api: destroy the router first. */
void api_add_routes(struct api *api, struct router *router);
/* The OpenAPI 3.1 document of a router's routes (GET /openapi.json); owned by the caller. */
json_t *openapi_document(const struct router *router, const char *version);
/* A reload has replaced the configuration. */
void api_reconfigure(struct api *api, const struct config *config);

/* What GET /ready tells: 200 in API_SERVING only. Draining also ends the streams that would never
 * end by themselves
 * (/api/events, followed logs, WebSockets). API_STARTING at first. */
enum api_phase { API_STARTING, API_SERVING, API_DRAINING };
void api_set_phase(struct api *api, enum api_phase phase);

/* To be connected to the events' signal by daemon/wiring.c: what makes /api/events live. `event` is
 * a const struct event *. */
void api_on_event(void *api, const void *event);
/* The same for the tasks' signal: told live, on /api/events and /ws/tasks. */
void api_on_task(void *api, const void *task_change);
/* To be connected to the models' signal: a removed model's key goes with it. */
void api_on_model(void *api, const void *model_change);
/* The same for the signal of evaluations: told live, on /ws/tasks. */
void api_on_evaluation(void *api, const void *evaluation_state);
/* The same for the signal of monitor: told live, on /api/events. */
void api_on_sample(void *api, const void *service_sample);
/* The same for the signal of task_instances: told live, on /ws/task_events. */
void api_on_task_ended(void *api, const void *task_instance_ended);
