// SPDX-License-Identifier: Apache-2.0
/* The rooms of one running berth, in the order of their making. */
#pragma once

#include "access/access.h"
#include "api/api.h"
#include "api/front.h"
#include "daemon/daemon.h"
#include "daemon/data_dir.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "evaluations/evaluations.h"
#include "events/events.h"
#include "gateway/gateway.h"
#include "gpu/gpu.h"
#include "http/server.h"
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

enum { MAX_LISTENERS = 16, MAX_SUBSCRIPTIONS = 32 };

struct daemon {
    const struct daemon_options *options;
    char *config_path;
    struct data_dir dir;
    struct config *config;
    struct world *world;
    struct metrics *metrics;
    struct gpu *gpu;
    struct store *store;
    struct events *events;
    struct models *models;
    struct access *access;
    struct webhooks *webhooks;
    struct task_types *task_types;
    struct tasks *tasks;
    struct batches *batches;
    struct engines *engines;
    struct dispatch *dispatch;
    struct placement *placement;
    struct task_instances *task_instances;
    struct evaluations *evaluations;
    struct gateway *gateway;
    struct monitor *monitor;
    struct router *router;
    struct api *api;
    struct front *front;
    struct http_server *server,
        *admin_server; /* the second one keeps its own connections under overload */
    struct access_listener listener_tags[MAX_LISTENERS + 1];
    struct address bound; /* first TCP address, for the words at start */
    size_t listener_count;
    struct listener subscriptions[MAX_SUBSCRIPTIONS];
    size_t subscription_count;
    char *new_key;
    struct listener banner; /* until the first model is up */
    bool banner_done;
    int stop_signals;                 /* how often we were asked to go */
    bool requests_ended, tasks_ended; /* while berth goes down */
    struct timer drain_limit;
};

/* wiring.c: every subscription of one room to another's signal. */
void daemon_wire(struct daemon *d);
/* banner.c: says on stdout where berth listens and how to try it. */
void banner_start(struct daemon *d);
void banner_stop(struct daemon *d);
