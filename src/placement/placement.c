// SPDX-License-Identifier: Apache-2.0
/* The room's life and options, and who in it is told of what happens around it. */
#include "placement/placement.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "placement/placement_int.h"

// clang-format off
static const struct option_row rows[] = {
    { "placement.unload_after", OPTION_DURATION, "0s", 0, 31536000000, NULL, true, false,
      "How long a model stays loaded after its last request, unless it says so itself (keep_alive); 0: for ever." },
    { "placement.algorithm", OPTION_ENUM, "priority_based", 0, 0, "priority_based spread first_come", true, false,
      "Who is placed first, and where: by priority on the device that is filled best, the same on the one with most room left, or by who has waited longest." },
    { "placement.preemption", OPTION_BOOL, "true", 0, 0, NULL, true, false,
      "Whether a model may be moved aside for one of higher priority." },
    { "placement.auto_recovery", OPTION_BOOL, "true", 0, 0, NULL, true, false,
      "Whether a model that was moved aside comes back by itself when there is room." },
    { "placement.threshold", OPTION_INT, "80", 10, 100, NULL, true, false,
      "How much of a device's memory may be placed, in percent." },
    { "placement.priority_levels", OPTION_INT, "10", 1, 20, NULL, true, false,
      "Priorities go from 1 to this; a higher one counts as it." },
    { "placement.max_queue", OPTION_INT, "50", 1, 10000, NULL, true, false,
      "How many models may wait for room; beyond it a start is refused." },
    { "placement.interval", OPTION_DURATION, "30s", 10000, 300000, NULL, true, false,
      "Everything is decided anew at least so often." },
    { "placement.health_interval", OPTION_DURATION, "60s", 1000, 3600000, NULL, true, false,
      "Ready models are probed at least so often, whatever their own interval." },
    { "placement.min_residency", OPTION_DURATION, "10s", 0, 86400000, NULL, true, false,
      "A model that became ready less than this ago is not moved aside." },
    { "placement.return_after", OPTION_DURATION, "5s", 0, 86400000, NULL, true, false,
      "A model that was moved aside comes back after this at the earliest, unless requests wait for it." },
    { "placement.swap_wait", OPTION_DURATION, "15s", 0, 86400000, NULL, true, false,
      "How long requests wait for their model before a busy one of equal priority gives way to it." },
    { "placement.max_preemptions_per_hour", OPTION_INT, "10", 0, 100000, NULL, true, false,
      "How many models may be moved aside for higher ones within an hour; 0: any number." },
    { "placement.grace", OPTION_DURATION, "30s", 0, 3600000, NULL, true, false,
      "How long the requests of a model that is moved aside may take to end; 0: engines.drain_timeout." },
    { "placement.verify_timeout", OPTION_DURATION, "30s", 1000, 3600000, NULL, true, false,
      "How long the memory of an engine that has ended is awaited; then it counts as somebody else's." },
};

const struct metric placement_metrics[] = {
    [METRIC_DECISIONS] = { "berth_placement_decisions_total", METRIC_COUNTER, "What was decided about instances, by the history's words.", { "action" } },
    [METRIC_WAITING]   = { "berth_placement_waiting", METRIC_GAUGE, "Instances that wait for room." },
    [METRIC_RESERVED]  = { "berth_placement_reserved_bytes", METRIC_GAUGE, "Memory that is kept for instances.", { "device" } },
    [METRIC_HELD]      = { "berth_placement_held_bytes", METRIC_GAUGE, "Memory of instances that have ended, and that was not seen to be free yet.", { "device" } },
    [METRIC_PASS]      = { "berth_placement_pass_seconds", METRIC_HISTOGRAM, "How long a decision about everything takes.", { 0 }, metric_seconds },
};
// clang-format on
_Static_assert(ARRAY_SIZE(placement_metrics) == METRIC_MAX_, "every metric has its row");

const struct option_table placement_options = { rows, ARRAY_SIZE(rows) };

static const char *const migrations[] = { placements_table, placement_rules_table };
const struct store_schema placement_schema = { "placement", migrations, ARRAY_SIZE(migrations) };

/* What is told */

void placement_on_demand(void *placement, const void *demand)
{
    residency_on_demand(placement, demand);
    decide_soon(placement);
}

void placement_on_model(void *placement, const void *model_change)
{
    residency_on_model(placement, model_change);
    decide_soon(placement);
}

void placement_on_instance(void *placement, const void *instance_change)
{
    seats_hear_instance(placement, instance_change);
    residency_on_instance(placement, instance_change);
    decide_soon(placement);
}

void placement_on_device(void *placement, const void *gpu_change)
{
    room_on_device(placement, gpu_change);
}

/* Life */

static void on_collect(void *arg)
{
    struct placement *p = arg;
    const struct seat *s;
    unsigned waiting = 0;
    char index[24];
    const char *device = index;

    list_for_each (s, &p->seats, node) {
        waiting += seat_waits(s);
    }
    metric_set(metrics_cell(p->metrics, &placement_metrics[METRIC_WAITING], NULL), waiting);
    for (size_t i = 0; i < p->room_count; i++) {
        snprintf(index, sizeof(index), "%zu", i);
        if (p->gpu && gpu_find(p->gpu, (int)i)) {
            metric_set(metrics_cell(p->metrics, &placement_metrics[METRIC_RESERVED], &device),
                       (double)p->rooms[i].reserved_bytes);
            metric_set(metrics_cell(p->metrics, &placement_metrics[METRIC_HELD], &device),
                       (double)p->rooms[i].held_bytes);
        }
    }
}

void placement_drain(struct placement *p)
{
    p->draining = true;
}

void placement_reconfigure(struct placement *p, const struct config *config)
{
    p->unload_after_ms = config_duration_ms(config, "placement.unload_after");
    p->min_residency_ms = config_duration_ms(config, "placement.min_residency");
    p->return_after_ms = config_duration_ms(config, "placement.return_after");
    p->swap_wait_ms = config_duration_ms(config, "placement.swap_wait");
    p->grace_ms = config_duration_ms(config, "placement.grace");
    p->verify_timeout_ms = config_duration_ms(config, "placement.verify_timeout");
    p->max_preemptions_per_hour =
        (unsigned)config_int(config, "placement.max_preemptions_per_hour");
    rules_reconfigure(p, config);
    residency_review_soon(p);
    decide_soon(p);
}

struct placement *placement_create(const struct placement_in *in)
{
    struct placement *p = xcalloc(1, sizeof(*p));

    p->world = in->world;
    p->store = in->store;
    p->events = in->events;
    p->models = in->models;
    p->engines = in->engines;
    p->dispatch = in->dispatch;
    p->gpu = in->gpu;
    p->metrics = in->metrics;
    p->next_id = 1;
    list_init(&p->rule_ops);
    list_init(&p->seats);
    list_init(&p->gone);
    map_init(&p->by_uuid);
    list_init(&p->ghosts);
    list_init(&p->records);
    list_init(&p->queries);
    list_init(&p->wishes);
    timer_init(&p->review, in->world, "placement review", residency_on_review, p);
    timer_init(&p->decide, in->world, "placement decide", controller_on_decide, p);
    timer_init(&p->look, in->world, "placement look", room_on_look, p);
    timer_init(&p->poll, in->world, "placement poll", controller_on_poll, p);
    placement_reconfigure(p, in->config);
    if (p->metrics) {
        metrics_declare(p->metrics, placement_metrics, METRIC_MAX_);
        metrics_on_collect(p->metrics, on_collect, p);
    }
    return p;
}

int placement_load(struct placement *p, struct error *reterr)
{
    int r = p->store ? rules_load(p, reterr) : 0;

    if (r == 0 && p->store) {
        r = history_load(p, reterr);
    }
    p->loaded = r == 0;
    decide_soon(p);
    return r;
}

struct placement *placement_destroy(struct placement *p)
{
    if (!p) {
        return NULL;
    }
    timer_stop(&p->review);
    timer_stop(&p->decide);
    timer_stop(&p->look);
    timer_stop(&p->poll);
    wishes_detach(p);
    rules_detach(p);
    history_detach(p);
    seats_finish(p);
    history_finish(p);
    free(p->rooms);
    free(p->stays);
    free(p);
    return NULL;
}
