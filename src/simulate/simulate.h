// SPDX-License-Identifier: Apache-2.0
/*
 * The simulator: a trace of requests against a fleet, under the same dispatch and placement code as
 * the daemon's, on a virtual clock. Engines are the planner's step times in a continuous-batching
 * scheduler (engine.h). The same seed gives the same result, to the last digit.
 *
 *     trace ──► arrivals ──► dispatch (line, seats, strategy) ──► engine ──► tokens
 *                              ▲   placement, engines, gpu: the daemon's, in a simulated world
 *
 * One run uses one thread and touches no file but those of a private folder, which is the process's
 * working directory meanwhile: none beside it may rely on that one.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "presets/presets.h"
#include "simulate/trace.h"

enum { SIM_MODELS_MAX = 64, SIM_INSTANCES_MAX = 4096, SIM_NODES_MAX = 4096 };

/* What serves: read from YAML (docs/manual/simulator.md tells the members). */
struct fleet;
/* -EINVAL: the sentence begins with the path and the member. */
int fleet_read_file(const struct presets *p, const char *path, struct fleet **ret,
                    struct error *reterr) _must_check_;
int fleet_read(const struct presets *p, const json_t *document, struct fleet **ret,
               struct error *reterr) _must_check_;
struct fleet *fleet_free(struct fleet *f); /* accepts NULL, returns NULL */

/* The names of dispatch's strategies; *cursor starts at 0, NULL at the end. */
const char *sim_next_strategy(size_t *cursor);
/* -EINVAL with the list of them when this is none. */
int sim_check_strategy(const char *name, struct error *reterr) _must_check_;

struct simulation {
    const struct fleet *fleet;
    const struct trace *trace;
    const char *strategy; /* a name of dispatch's table; NULL: the fleet's */
    double scale_rate;    /* arrivals come so many times as fast; 1 */
    uint64_t seed;
    uint64_t max_requests;         /* 0: the whole trace */
    double slo_ttft_s, slo_tpot_s; /* 0: the fleet's, or none */
    /* Asked about every second of real time; false ends the run. NULL: never. */
    bool (*go_on)(void *arg, double done);
    void *arg;
};

/* p[0..4]: 50, 90, 95, 99, 99.9; exact, of all requests that were answered. */
enum { SIM_PERCENTILES = 5 };
extern const double sim_percentiles[SIM_PERCENTILES];
struct sim_spread {
    double mean, p[SIM_PERCENTILES], max;
};
struct sim_figures {            /* of the whole, and of each model */
    char name[PRESET_NAME_MAX]; /* "" of the whole */
    /* refused: all that were not answered: the line was full, they waited too long, their prompt is
     * longer than the cache, their engine ended. */
    uint64_t requests, answered, refused;
    uint64_t prompt_tokens, cached_tokens, output_tokens;
    struct sim_spread ttft_s, tpot_s, e2e_s, wait_s; /* wait: until dispatched */
    double slo_share;   /* of all requests: answered within the SLO; 1 when there is none */
    double goodput_rps; /* of those */
    double throughput_rps, output_tokens_ps;
    double busy_share; /* of the instances' time: an engine had something to do */
    double kv_share;   /* mean use of the KV caches */
    uint64_t swaps, preemptions, loads, engine_preemptions; /* the last: for want of KV blocks */
    /* The rate was sustained: at least 99 % of the requests were answered, and waiting did not
     * grow: the mean TTFT of those that came in the last quarter of the time was at most one and a
     * half times that of those of the second quarter, and half a second. */
    bool sustained;
};
struct sim_result {
    const char *strategy;
    bool has_slo;    /* else slo_share is 1 of those that were answered, and says nothing */
    double rate_rps; /* at which requests came, in the mean; 0: all at once */
    double virtual_s, real_s; /* real_s stands in no report: it is not the same twice */
    struct sim_figures all;
    struct sim_figures *models; /* freed by sim_result_finish */
    size_t model_count;
    /* Over the time in which requests came, in equal parts: requests/s in, mean TTFT of those,
     * running and waiting at the part's beginning. */
    struct sim_moment {
        double at_s, arrivals_ps, ttft_s, running, waiting;
    } * moments;
    size_t moment_count;
};
int simulate_run(const struct simulation *in, struct sim_result *ret,
                 struct error *reterr) _must_check_;
void sim_result_finish(struct sim_result *r);
json_t *sim_result_to_json(const struct sim_result *r);
/* A picture (SVG text, malloc'ed): several results at several rates: p99 TTFT against the rate, a
 * line a strategy. */
struct sim_curve_point {
    const char *strategy;
    double rate_rps, p99_ttft_s;
    bool sustained;
};
char *sim_curve_svg(const struct sim_curve_point *points, size_t count, const char *title);
/* One run over time. */
char *sim_result_svg(const struct sim_result *r, const char *title);
