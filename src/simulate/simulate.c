// SPDX-License-Identifier: Apache-2.0
/* One simulation: the house is built, the trace is played in it, figures are made. */
#include "simulate/simulate.h"

#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "simulate/simulate_int.h"

static const double longest_s = 10 * 365 * 86400.0;

const char *sim_next_strategy(size_t *cursor)
{
    const struct strategy *s = strategy_next(cursor);

    return s ? s->name : NULL;
}

int sim_check_strategy(const char *name, struct error *reterr)
{
    return strategy_check(name, reterr);
}

static double real_now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t count_of(const struct simulation *in)
{
    return in->max_requests && in->max_requests < in->trace->count ? in->max_requests
                                                                   : in->trace->count;
}

static int check(const struct simulation *in, struct error *reterr)
{
    if (in->trace->count == 0) {
        return error_set(reterr, -EINVAL, "the trace has no requests");
    }
    if (!(in->scale_rate > 0)) {
        return error_set(reterr, -EINVAL, "the rate's scale must be above 0");
    }
    if (!(in->trace->requests[count_of(in) - 1].at_s / in->scale_rate <= longest_s)) {
        return error_set(reterr, -EINVAL,
                         "at this rate requests would come for more than 10 years");
    }
    return in->strategy ? strategy_check(in->strategy, reterr) : 0;
}

static void finish(struct sim_run *run)
{
    for (size_t i = 0; i < run->fleet->model_count; i++) {
        for (unsigned k = 0; k < run->fleet->kind_count; k++) {
            step_times_free(run->models_state[i].times[k]);
        }
    }
    free(run->models_state);
    free(run->asks);
    free(run);
}

static int run_all(struct sim_run *run, struct sim_result *ret, struct error *reterr)
{
    int r = run_prepare(run, reterr);

    if (r < 0) {
        return r;
    }
    r = house_open(run, reterr);
    r = r < 0 ? r : run_trace(run, reterr);
    if (r == 0) {
        ret->strategy = dispatch_strategy(run->dispatch, 0)->name;
        figures_make(run, ret);
    }
    house_close(run);
    heap_finish(&run->next);
    return r;
}

int simulate_run(const struct simulation *in, struct sim_result *ret, struct error *reterr)
{
    const double from_s = real_now_s();
    struct sim_result result = { 0 };
    struct sim_run *run;
    int r = check(in, reterr);

    if (r < 0) {
        return r;
    }
    run = xcalloc(1, sizeof(*run));
    run->in = in;
    run->fleet = in->fleet;
    run->back = -1;
    run->ask_count = count_of(in);
    run->asks = xcalloc(run->ask_count, sizeof(*run->asks));
    run->models_state = xcalloc(in->fleet->model_count, sizeof(*run->models_state));
    r = run_all(run, &result, reterr);
    finish(run);
    if (r == 0) {
        result.real_s = real_now_s() - from_s;
        *ret = result;
    }
    return r;
}
