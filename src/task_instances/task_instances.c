// SPDX-License-Identifier: Apache-2.0
/* The room's object: its options, its beginning and end, and registering. */
#include "task_instances/task_instances.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "task_instances/task_instances_int.h"

// clang-format off
static const struct option_row rows[] = {
    { "task_instances.heartbeat", OPTION_DURATION, "5s", 50, 3600000, NULL, true, false,
      "How often each Task Instance is asked how it is." },
    { "task_instances.timeout", OPTION_DURATION, "5s", 50, 300000, NULL, true, false,
      "How long a Task Instance may take to answer." },
    { "task_instances.refresh", OPTION_DURATION, "1s", 0, 3600000, NULL, true, false,
      "A Task Instance's predicted wait is asked for again when it is older than this." },
    { "task_instances.patience", OPTION_DURATION, "250ms", 1, 60000, NULL, true, false,
      "How long a choice waits for the predictions that it has asked for; then it goes by what is known." },
    { "task_instances.lost_after", OPTION_DURATION, "15s", 0, 86400000, NULL, true, false,
      "What a Task Instance works on is given to others after it has not answered for so long." },
    { "task_instances.task_timeout", OPTION_DURATION, "1d", 1000, 2592000000, NULL, true, false,
      "How long a Task Instance may have a task, waiting in its queue included." },
    { "task_instances.strategy", OPTION_ENUM, "shortest_queue", 0, 0,
      "shortest_queue weighted_wait weighted probabilistic earliest_completion least_outstanding_tokens least_connections response_time power_of_two round_robin random prefix_affinity session_affinity",
      true, false,
      "How the Task Instance for a task is chosen; 'weighted' is 'weighted_wait' here." },
    { "task_instances.config", OPTION_STRING, "", 0, 0, NULL, true, false,
      "A YAML file with a list `instances:` of URLs or of {host, port, model}; empty: the one named by SCHEDULER_CONFIG_PATH or GLOBALQUEUE_CONFIG in the environment." },
};
// clang-format on
const struct option_table task_instances_options = { rows, ARRAY_SIZE(rows) };

static void configure(struct task_instances *ti, const struct config *config)
{
    const struct strategy *s = strategy_named(config_string(config, "task_instances.strategy"));

    ti->config = config;
    ti->heartbeat_ms = config_duration_ms(config, "task_instances.heartbeat");
    ti->timeout_ms = config_duration_ms(config, "task_instances.timeout");
    ti->refresh_ms = config_duration_ms(config, "task_instances.refresh");
    ti->patience_ms = config_duration_ms(config, "task_instances.patience");
    ti->lost_after_ms = config_duration_ms(config, "task_instances.lost_after");
    ti->task_timeout_ms = config_duration_ms(config, "task_instances.task_timeout");
    ti->error_weight = (double)config_int(config, "gateway.error_weight") / 100;
    assert(s);
    if (s != ti->configured_strategy) {
        ti->configured_strategy = ti->strategy = s;
    }
}

struct task_instances *task_instances_create(struct world *w, const struct config *config,
                                             struct store *store, struct events *events,
                                             struct tasks *tasks, struct metrics *metrics)
{
    struct task_instances *ti = xcalloc(1, sizeof(*ti));

    ti->world = w;
    ti->store = store;
    ti->events = events;
    ti->tasks = tasks;
    ti->metrics = metrics;
    notify_init(&ti->ended_signal);
    peers_init(ti);
    probes_init(ti);
    list_init(&ti->saves);
    list_init(&ti->homeless);
    list_init(&ti->early);
    list_init(&ti->submissions);
    list_init(&ti->clears);
    list_init(&ti->refreshes);
    map_init(&ti->lines);
    map_init(&ti->by_task);
    map_init(&ti->by_remote);
    map_init(&ti->endings);
    map_init(&ti->ended);
    configure(ti, config);
    timing_declare(ti);
    return ti;
}

int task_instances_start(struct task_instances *ti, struct error *reterr)
{
    const int r = ti_rows_load(ti, reterr);

    return r < 0 ? r : peer_file_load(ti, reterr);
}

void task_instances_reconfigure(struct task_instances *ti, const struct config *config)
{
    struct error e = { 0 };

    configure(ti, config);
    if (peer_file_load(ti, &e) < 0) {
        log_error("task_instances", NULL, "the list of instances was not reloaded",
                  kv_str("error", e.text));
    }
}

struct task_instances *task_instances_destroy(struct task_instances *ti)
{
    if (!ti) {
        return NULL;
    }
    ti->down = true;
    submissions_end(ti);
    runs_end(ti);
    saves_detach(ti);
    completions_end(ti);
    refreshes_end(ti);
    peers_free(ti);
    map_finish(&ti->lines);
    map_finish(&ti->by_task);
    map_finish(&ti->by_remote);
    free(ti->candidates);
    free(ti->candidate_peers);
    free(ti);
    return NULL;
}

void task_instances_set_fallback(struct task_instances *ti, const struct task_runner *runner,
                                 void *owner)
{
    ti->fallback = runner;
    ti->fallback_owner = owner;
}

struct notify *task_instances_signal(struct task_instances *ti)
{
    return &ti->ended_signal;
}

/* ---- registering ---- */

struct registration {
    task_instance_fn done;
    void *arg;
    struct task_instances *ti;
    bool stood; /* there was one at this host and port */
};

static void on_asked(void *arg, int result, const struct task_instance *instance,
                     const struct error *e)
{
    struct registration *r = arg;

    r->done(r->arg, r->stood && result == 0 ? 2 : result, instance, e);
    free(r);
}

static void on_stored(void *arg, int result, const struct task_instance *instance,
                      const struct error *e)
{
    struct registration *r = arg;
    struct peer *p = instance ? peer_find(r->ti, instance->uuid) : NULL;

    if (result < 0 || !p) {
        const struct error gone = { -ESRCH, "the Task Instance was removed meanwhile" };

        r->done(r->arg, result < 0 ? result : -ESRCH, NULL, result < 0 ? e : &gone);
        if (p) { /* what is not stored was never there */
            peer_bury(p);
        }
        free(r);
        return;
    }
    if (p->pub.seen_wall_ms > 0) { /* it was asked while its row was written */
        on_asked(r, 0, &p->pub, NULL);
        return;
    }
    peer_await(p, on_asked, r);
}

static struct registration *registration(struct task_instances *ti, task_instance_fn done,
                                         void *arg, bool stood)
{
    struct registration *r = xmalloc(sizeof(*r));

    *r = (struct registration){ done, arg, ti, stood };
    return r;
}

/* It says that it is there (again): it is not going any more, and may serve another model now. */
static void register_again(struct peer *p, const char *model, task_instance_fn done, void *arg)
{
    const bool new_model = model && !str_eq_opt(p->given_model, model);

    if (new_model) {
        free(p->given_model);
        p->given_model = xstrdup(model);
    }
    if (p->pub.state == TI_DRAINING) {
        p->pub.state = TI_UNREACHABLE;
    }
    p->from_file = false;
    p->again = p->leaving;
    row_save(p);
    if (p->pub.state == TI_READY && !new_model) {
        done(arg, 2, &p->pub, NULL);
    } else {
        peer_await(p, on_asked, registration(p->ti, done, arg, true));
    }
}

void task_instances_register(struct task_instances *ti, const char *host, uint16_t port,
                             const char *model, task_instance_fn done, void *arg)
{
    char name[PEER_NAME_MAX + 1], uuid[UUID_SIZE];
    struct error e = { 0 };
    struct peer *p;

    if (host_normalize(host, name, &e) < 0) {
        done(arg, e.code, NULL, &e);
        return;
    }
    p = peer_of_key(ti, name, port);
    if (p) {
        register_again(p, model, done, arg);
        return;
    }
    if (ti->count == TASK_INSTANCES_MAX) {
        error_set(&e, -ENOSPC, "there are %d Task Instances already", TASK_INSTANCES_MAX);
        done(arg, e.code, NULL, &e);
        return;
    }
    world_uuid(ti->world, uuid);
    p = peer_add(ti, uuid, name, port, model);
    row_add(p, on_stored, registration(ti, done, arg, false));
    peer_tell(p, "registered");
}
