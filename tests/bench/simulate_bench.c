// SPDX-License-Identifier: Apache-2.0
/* How many simulated requests a minute of real time on one core: 100 instances of an 8B model, four
 * names of 25 each, made requests like those of a conversation. */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "simulate/simulate.h"

static const char fleet_text[] =
    "{\"devices\":[{\"chip\":\"h100-sxm\",\"count\":100}],\"models\":["
    "{\"name\":\"a\",\"model\":\"llama-3.1-8b\",\"precision\":\"bf16\",\"replicas\":25},"
    "{\"name\":\"b\",\"model\":\"llama-3.1-8b\",\"precision\":\"bf16\",\"replicas\":25},"
    "{\"name\":\"c\",\"model\":\"llama-3.1-8b\",\"precision\":\"bf16\",\"replicas\":25},"
    "{\"name\":\"d\",\"model\":\"llama-3.1-8b\",\"precision\":\"bf16\",\"replicas\":25}],"
    "\"options\":{\"gateway.max_queue\":100000}}";

static int bench(const struct fleet *fleet, const struct trace *trace, const char *strategy)
{
    const struct simulation in = {
        .fleet = fleet, .trace = trace, .strategy = strategy, .scale_rate = 1, .seed = 1
    };
    struct sim_result r;
    struct error e = { 0 };

    if (simulate_run(&in, &r, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    printf("%-26s %8.0f requests/min  (%.2f s for %.0f s; busy %.0f %%, p99 TTFT %.3f s)\n",
           strategy, (double)trace->count / r.real_s * 60, r.real_s, r.virtual_s,
           100 * r.all.busy_share, r.all.ttft_s.p[3]);
    sim_result_finish(&r);
    return 0;
}

int main(int argc, char **argv)
{
    const struct trace_recipe recipe = { .rate_rps = argc > 1 ? strtod(argv[1], NULL) : 400,
                                         .isl = 1000,
                                         .osl = 200,
                                         .isl_cv = 1,
                                         .osl_cv = 1,
                                         .requests = 50000,
                                         .families = 1000,
                                         .shared_share = 0.5,
                                         .seed = 1 };
    json_t *json = json_loads(fleet_text, 0, NULL);
    struct presets *presets = presets_create();
    struct fleet *fleet = NULL;
    struct trace trace;
    struct error e = { 0 };
    int r;

    log_set_level(LOG_ERROR);
    if (fleet_read(presets, json, &fleet, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    trace_make(&recipe, &trace);
    r = bench(fleet, &trace, "least_outstanding_tokens");
    r |= bench(fleet, &trace, "earliest_completion");
    trace_finish(&trace);
    fleet_free(fleet);
    presets_destroy(presets);
    json_decref(json);
    return r;
}
