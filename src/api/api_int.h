// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the api room: the object behind all doors, and what handlers share: reading a body,
 * answering in the door's shape, and the small request struct that outlives the handler while a
 * commit or an engine is waited for.
 */
#pragma once

#include "api/api.h"
#include "base/list.h"
#include "http/websocket.h"

enum { API_TABLES = 18, MIB_SHIFT = 20, GIB_SHIFT = 30, MS_PER_HOUR = 3600 * 1000 };

struct api {
    struct api_in in;
    enum api_phase phase;
    uint64_t made_ms; /* world_now_ms: what uptime counts from */
    struct route_table tables[API_TABLES];
    struct list waits;       /* struct wait, while their timer may fire */
    struct list subscribers; /* struct subscriber of events_api.c */
    size_t subscriber_count;
    struct list followers;     /* struct follower of logs_api.c */
    struct list log_followers; /* struct log_follower of log_api.c */
    struct list sockets;       /* struct socket */
    size_t socket_count;
    struct timer keep_alive;
    struct list model_edits; /* struct model_edit of task_models_api.c */
    size_t model_edit_count;
    struct worker *key_worker;     /* NULL until the first key */
    struct worker *planner_worker; /* NULL until the first job (planner_doors.c) */
    struct worker *browser_worker; /* the same of browse_api.c */
    int physical_cores;            /* 0: not counted yet */
};

extern const struct route models_routes[], proxy_routes[], ops_routes[], events_routes[],
    system_routes[], scheduler_routes[], monitoring_routes[], tasks_routes[], task_models_routes[],
    task_stats_routes[], websockets_routes[], task_instances_routes[], batches_routes[],
    evaluation_routes[], documents_routes[], planner_routes[], simulate_routes[], browse_routes[];
extern const size_t models_route_count, proxy_route_count, ops_route_count, events_route_count,
    system_route_count, scheduler_route_count, monitoring_route_count, tasks_route_count,
    task_models_route_count, task_stats_route_count, websockets_route_count,
    task_instances_route_count, batches_route_count, evaluation_route_count, documents_route_count,
    planner_route_count, simulate_route_count, browse_route_count;

/* A named JSON schema of the doors; the text is JSON in which ' stands for ". */
struct schema {
    const char *name;
    const char *text;
};
extern const struct schema api_schemas[], planner_schemas[];
extern const size_t api_schema_count, planner_schema_count;

/* ---- answers ---- */

/* {"detail": "…"} with any status. */
void respond_detail(struct http_exchange *x, int status, const char *fmt, ...) _printf_(3, 4);
/* {"success": true, "message": …, "model_id": …} */
void respond_done(struct http_exchange *x, int status, const char *message, const char *model_id);
/* A list of pydantic-like errors: {"detail": [...]}, 422. The list is borrowed. */
void respond_schema_errors(struct http_exchange *x, json_t *errors);
/* The strings of a JSON array joined by "; ", owned by the caller. */
char *join_strings(const json_t *array);
/* Now, ISO. */
json_t *json_now(struct api *api);
/* A string, or null for NULL. What is not UTF-8 (an engine's last words, a path) has '?' for its
 * odd bytes. */
json_t *json_text(const char *s);
/* Where the instance listens, as a URL ("unix:" and its path for a socket). */
json_t *endpoint_json(struct api *api, const struct instance *inst);
/* Seconds since the instance's process started, or null. */
json_t *uptime_json(struct api *api, const struct instance *inst);
/* ISO, or null for 0. */
json_t *json_time(int64_t wall_ms);
/* Reads the body as JSON. NULL: the 422 is answered and x is void. */
json_t *read_body(struct http_exchange *x);
/* A non-negative number of the query; fallback when it is absent or no number. */
uint64_t query_number(struct http_exchange *x, const char *name, uint64_t fallback);
bool query_flag(struct http_exchange *x, const char *name);
/* A whole number of the query from 1 to max; fallback when it is absent. False: it is none, and the
 * 422 is answered. */
bool query_from_one(struct http_exchange *x, const char *name, uint64_t fallback, uint64_t max,
                    uint64_t *ret);
/* Does the Accept header name this media type? */
bool accepts(struct http_exchange *x, const char *type);

/* ---- reading the members of a body ---- */

/* What is absent takes its default; what has the wrong type is noted, and answered by
 * body_is_good. */
struct body {
    json_t *json;
    json_t *errors; /* as of respond_schema_errors */
};
/* False: it is no JSON object, and that is answered. */
bool body_read(struct http_exchange *x, struct body *ret);
void body_complain(struct body *b, const char *name, const char *message, const char *type);
bool body_bool(struct body *b, const char *name, bool fallback);
/* Cut to the range of int. */
int body_int(struct body *b, const char *name, int fallback);
double body_number(struct body *b, const char *name, double fallback);
/* Borrowed from the body. */
const char *body_text(struct body *b, const char *name, const char *fallback);
/* False: something was complained of, and the 422 is answered. */
bool body_is_good(struct body *b, struct http_exchange *x);
void body_finish(struct body *b);

/* ---- a request that waits ---- */

struct wait {
    struct list node;        /* of api->waits */
    struct api *api;         /* NULL once the api is gone (nothing is answered then) */
    struct http_exchange *x; /* NULL once the client is gone */
    char *public_id;
    int64_t model_id;
    const char *message;             /* of the good answer, a constant */
    int status;                      /* of the good answer */
    bool start;                      /* by a person */
    bool retry;                      /* start: the model was wanted already, begin a new round */
    bool dry_run;                    /* schedule: nothing is to be done */
    int priority;                    /* prioritize: the new one */
    bool until_settled;              /* ?wait=1: answer when the engine is up (or down) */
    bool (*settled)(struct wait *w); /* answers and returns true when it is so far */
    uint64_t deadline_ms;
    struct timer timer;
};

/* From now on the exchange may go at any time: w->x is NULL then. */
struct wait *wait_create(struct api *api, struct http_exchange *x, const char *public_id,
                         int64_t model_id);
void wait_free(struct wait *w);

/* ---- WebSockets (websockets_api.c) ---- */

enum socket_kind {
    SOCKET_TASKS,
    SOCKET_TASK_INSTANCES,
    SOCKET_PREDICTIONS,
    SOCKET_RESULTS,
    SOCKET_EVALUATIONS, /* whatever its client says, nobody listens */
};
struct socket {
    struct list node; /* of api->sockets */
    struct api *api;
    struct websocket *ws;
    enum socket_kind kind;
    /* A text came; NULL: only pings are answered. */
    void (*on_text)(struct socket *s, struct span text);
    void (*on_end)(struct socket *s); /* it is going; NULL: nobody needs to know */
    void *data;                       /* its owner's */
};
/* NULL: it is refused (too many, going down, no upgrade), and that is answered. x is void in any
 * case. A text "ping" or {"type": "ping"} is answered by itself. */
struct socket *socket_open(struct api *api, struct http_exchange *x, enum socket_kind kind,
                           void (*on_text)(struct socket *s, struct span text));
void socket_send_json(struct socket *s, json_t *json); /* stolen */
/* Does anybody listen to these? To all who do. */
bool sockets_listen(const struct api *api, enum socket_kind kind);
void sockets_send(struct api *api, enum socket_kind kind, struct span json);
void socket_close(struct socket *s, int code, const char *reason);
void sockets_end(struct api *api);  /* says goodbye to all */
void sockets_free(struct api *api); /* cuts all */

/* ---- parts with state of their own ---- */

void subscribers_end(struct api *api); /* every stream of /api/events ends now */
void subscribers_detach(struct api *api);
void subscribers_keep_alive(struct api *api);
/* A change of a planner job, as JSON. */
void subscribers_tell_evaluation(struct api *api, struct span json);
/* Does anybody listen to samples? To all who do, as JSON. */
bool subscribers_want_samples(const struct api *api);
void subscribers_tell_sample(struct api *api, struct span json);
void followers_end(struct api *api);
void log_followers_end(struct api *api);
void model_edits_detach(struct api *api);
/* Of model_validate.c. */
void handle_validate_model(void *api, struct http_exchange *x, const struct route_params *params);
void handle_logs(void *api, struct http_exchange *x, const struct route_params *params);
void handle_instances(void *api, struct http_exchange *x, const struct route_params *params);
void handle_all_instances(void *api, struct http_exchange *x, const struct route_params *params);
void handle_model_health(void *api, struct http_exchange *x, const struct route_params *params);
void handle_health_check(void *api, struct http_exchange *x, const struct route_params *params);

/* Of samples_api.c. */
void handle_service(void *api, struct http_exchange *x, const struct route_params *params);
void handle_service_history(void *api, struct http_exchange *x, const struct route_params *params);

/* hours and limit of a query about the last hour; of what is found, the latest `limit` are told,
 * the oldest of them first. */
struct range {
    int64_t since_wall_ms;
    uint64_t limit;
};
/* False: a figure is none, and that is answered. */
bool range_read(struct api *api, struct http_exchange *x, struct range *ret);
/* Drops the oldest beyond the limit. */
void range_cut(const struct range *range, json_t *list);

/* Of scheduler_orders.c. */
void handle_policy(void *api, struct http_exchange *x, const struct route_params *params);
void handle_set_policy(void *api, struct http_exchange *x, const struct route_params *params);
void handle_schedule(void *api, struct http_exchange *x, const struct route_params *params);
void handle_prioritize(void *api, struct http_exchange *x, const struct route_params *params);
void handle_cancel(void *api, struct http_exchange *x, const struct route_params *params);
void handle_restart_scheduler(void *api, struct http_exchange *x,
                              const struct route_params *params);
/* Of log_api.c. */
void handle_system_logs(void *api, struct http_exchange *x, const struct route_params *params);
/* Of system_info.c. */
void handle_system_info(void *api, struct http_exchange *x, const struct route_params *params);
void handle_system_health(void *api, struct http_exchange *x, const struct route_params *params);

/* The model named by the first parameter of the path. NULL: the 404 is answered and x is void. */
const struct model *model_of_path(struct api *api, struct http_exchange *x,
                                  const struct route_params *params);
/* Definitions of the config file are changed there, not here. True: it is one, and that is
 * answered. */
bool refuse_config_model(struct http_exchange *x, const struct model *model);

/* ---- what several doors show ---- */

/* Whole MiB. */
json_int_t mib(uint64_t bytes);
double percent(uint64_t part, uint64_t whole);
/* ModelInfo. */
json_t *model_info(struct api *api, struct http_exchange *x, const struct model *model);
/* SystemOverview. */
json_t *overview_json(struct api *api);
/* GPUMetricsList: the last reading of each device. */
json_t *all_device_metrics(const struct api *api);
/* SystemResourceMetrics. */
json_t *host_json(struct api *api, const struct gpu_host *host);
/* The devices' indexes of a place. */
json_t *place_devices_json(const struct place *place);
/* {status, message} */
json_t *component_json(const char *status, json_t *message);

/* ---- the contract's words ---- */

struct status_words {
    const char *status; /* stopped starting running error stopping preempted */
    const char *health; /* healthy unhealthy unknown */
};
/* instance NULL: there is none. */
const struct status_words *status_words(bool wanted, const struct instance *instance);

/* The model's status now: of the best of its instances. */
const char *model_status(const struct api *api, const struct model *model);
