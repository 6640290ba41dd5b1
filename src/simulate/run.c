// SPDX-License-Identifier: Apache-2.0
/*
 * Requests and the clock. What comes next of three things is done: an arrival of the trace, the end
 * of an engine's step, or whatever the rooms have to do in their world. A request does what the
 * gateway does with one: asks dispatch, goes to the instance that it is granted, tells of its
 * tokens as they come and of what it took in the end; one whose engine ends before its first token
 * asks again, elsewhere.
 */
#include <math.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "simulate/simulate_int.h"

enum { EVENTS_A_LOOK = 256, BYTES_PER_TOKEN = 4 /* as the gateway guesses */ };
static const uint64_t longest_us = 30ULL * 24 * 3600 * 1000000; /* after the last arrival */

static const struct trace_request *request_of(const struct sim_ask *a)
{
    return &a->run->in->trace->requests[a - a->run->asks];
}

static uint32_t output_of(const struct sim_ask *a)
{
    uint32_t limit = a->run->fleet->models[a->model].output_limit;
    uint32_t tokens = request_of(a)->output_tokens;

    return limit ? MIN_OF(limit, tokens) : tokens;
}

/* ---- asking ---- */

static void end(struct sim_ask *a, enum sim_ask_state how)
{
    a->state = (uint8_t)how;
    a->ticket = NULL;
    a->child = NULL;
    a->done_us = world_now_us(a->run->world);
    a->run->last_us = a->done_us;
    a->run->ended++;
}

static void ask(struct sim_ask *a, const char *exclude);

/* Its engine is gone, or cannot be reached. */
static void lose(struct sim_ask *a, const char *uuid)
{
    dispatch_release(a->ticket, OUTCOME_FAILED);
    a->ticket = NULL;
    a->child = NULL;
    if (a->tokens == 0 && ++a->attempts < SIM_ATTEMPTS) {
        ask(a, uuid);
    } else {
        end(a, ASK_REFUSED);
    }
}

static void work(struct sim_ask *a, const struct instance *in)
{
    const struct trace_request *r = request_of(a);
    struct sim_run *run = a->run;
    struct sim_child *c = child_find(run, in->uuid);
    const struct sim_request request = {
        .id = (uint64_t)(a - run->asks),
        .input_tokens = r->input_tokens,
        .output_tokens = output_of(a),
        .block_count = r->block_count,
        .blocks = r->blocks,
    };

    a->granted_us = world_now_us(run->world);
    if (!c || !c->loaded) {
        char uuid[UUID_SIZE];

        memcpy(uuid, in->uuid, sizeof(uuid));
        lose(a, uuid);
        return;
    }
    a->child = c;
    a->state = ASK_RUNS;
    if (sim_engine_add(c->engine, &request, a->granted_us) < 0) {
        dispatch_release(a->ticket, OUTCOME_GOOD); /* it says that the prompt is too long */
        end(a, ASK_REFUSED);
        return;
    }
    run->running++;
    child_moved(c);
}

static void on_grant(void *owner, const struct instance *in)
{
    struct sim_ask *a = owner;

    a->run->waiting--;
    work(a, in);
}

static void on_refuse(void *owner, const struct error *e)
{
    struct sim_ask *a = owner;

    (void)e;
    a->run->waiting--;
    end(a, ASK_REFUSED);
}

/* Of the trace's blocks those at whose ends the gateway would have a hash: a block of the trace has
 * more tokens than the first ones of the gateway. */
static unsigned prefix_of(const struct trace_request *r, uint64_t hashes[PREFIX_BLOCKS_MAX],
                          uint32_t ends[PREFIX_BLOCKS_MAX])
{
    size_t end = 0;
    unsigned n = 0;
    uint32_t last = 0;

    for (unsigned i = 0; i < PREFIX_BLOCKS_MAX; i++) {
        uint32_t tokens = (uint32_t)((end = prefix_next_end(end)) / BYTES_PER_TOKEN);
        uint32_t b = tokens / TRACE_BLOCK_TOKENS;

        if (tokens > r->input_tokens || b > r->block_count) {
            break;
        }
        if (b > last) {
            hashes[n] = r->blocks[b - 1] | 1;
            ends[n++] = b * TRACE_BLOCK_TOKENS;
            last = b;
        }
    }
    return n;
}

static void ask(struct sim_ask *a, const char *exclude)
{
    const struct trace_request *r = request_of(a);
    struct sim_run *run = a->run;
    const uint32_t limit = run->fleet->models[a->model].output_limit;
    uint64_t hashes[PREFIX_BLOCKS_MAX];
    uint32_t ends[PREFIX_BLOCKS_MAX];
    const struct dispatch_ask question = {
        .model_id = run->models_state[a->model].id,
        .rank = RANK_REQUEST,
        .tokens = r->input_tokens + (limit ? limit : SIM_UNLIMITED_OUTPUT),
        .prompt_tokens = r->input_tokens,
        .output_limit = limit,
        .prefix = hashes,
        .prefix_tokens = ends,
        .prefix_count = r->blocks ? prefix_of(r, hashes, ends) : 0,
        .session = r->session,
        .exclude = exclude,
        .exclude_ms = exclude ? 1000 : 0,
        .on_grant = on_grant,
        .on_refuse = on_refuse,
        .owner = a,
    };
    const struct instance *in = NULL;
    struct error e;
    int got = dispatch_acquire(run->dispatch, &question, &a->ticket, &in, &e);

    if (got < 0) {
        end(a, ASK_REFUSED);
    } else if (got == 0) {
        a->state = ASK_WAITS;
        run->waiting++;
    } else {
        work(a, in);
    }
}

/* ---- what engines tell ---- */

static void on_tokens(void *owner, uint64_t id, uint32_t n, uint64_t now_us)
{
    struct sim_ask *a = &((struct sim_run *)owner)->asks[id];

    a->first_us = a->first_us ? a->first_us : now_us;
    a->tokens += n;
    dispatch_progress(a->ticket, n);
}

static void on_done(void *owner, uint64_t id, uint32_t cached_tokens, uint64_t now_us)
{
    struct sim_ask *a = &((struct sim_run *)owner)->asks[id];

    (void)now_us;
    a->cached_tokens = cached_tokens;
    a->run->running--;
    dispatch_note_usage(a->ticket, request_of(a)->input_tokens, cached_tokens, a->tokens);
    dispatch_release(a->ticket, OUTCOME_GOOD);
    end(a, ASK_ANSWERED);
}

const struct sim_engine_events run_events = { .tokens = on_tokens, .done = on_done };

void run_lose(struct sim_run *run, struct sim_child *c)
{
    for (size_t i = 0; i < run->asked && run->running > 0; i++) {
        struct sim_ask *a = &run->asks[i];

        if (a->child == c && a->state == ASK_RUNS) {
            run->running--;
            lose(a, c->uuid);
        }
    }
}

void run_drop(struct sim_run *run)
{
    run->running = 0;
    for (size_t i = 0; i < run->asked; i++) {
        if (run->asks[i].ticket) {
            dispatch_release(run->asks[i].ticket, OUTCOME_NONE);
            run->asks[i].ticket = NULL;
        }
    }
}

/* ---- the clock ---- */

static uint64_t arrival_us(const struct sim_run *run, size_t i)
{
    const double at_s = run->in->trace->requests[i].at_s / run->in->scale_rate;

    return i < run->ask_count ? run->began_us + (uint64_t)llround(at_s * 1e6) : UINT64_MAX;
}

static void arrive(struct sim_run *run)
{
    struct sim_ask *a = &run->asks[run->asked++];

    a->at_us = world_now_us(run->world);
    ask(a, NULL);
}

static void end_step(struct sim_run *run, struct sim_child *c)
{
    sim_engine_step(c->engine, world_now_us(run->world));
    child_moved(c);
}

/* What stood there at the beginning of each part of the time in which requests come: since the
 * event before this one. */
static void look(struct sim_run *run, const struct sim_moment *before, unsigned *next)
{
    const uint64_t span_us = arrival_us(run, run->ask_count - 1) - run->began_us + 1;
    const uint64_t now_us = world_now_us(run->world);

    while (*next < SIM_MOMENTS && now_us - run->began_us >= span_us * *next / SIM_MOMENTS) {
        run->moments[(*next)++] = *before;
    }
}

static bool is_to_go_on(const struct sim_run *run, time_t *last)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!run->in->go_on || now.tv_sec == *last) {
        return true;
    }
    *last = now.tv_sec;
    return run->in->go_on(run->in->arg, (double)run->ended / (double)run->ask_count);
}

/* Does the next thing; false when there is none. The rooms go first, then engines, then arrivals.
 */
static bool do_next(struct sim_run *run)
{
    struct heap_node *top = heap_top(&run->next);
    struct sim_child *c = top ? container_of(top, struct sim_child, next) : NULL;
    uint64_t step_us = c ? c->next_us : UINT64_MAX;
    uint64_t came_us = run->asked < run->ask_count ? arrival_us(run, run->asked) : UINT64_MAX;
    uint64_t due_us = sim_next_due_us(run->world);
    uint64_t next_us = MIN_OF(due_us, MIN_OF(step_us, came_us));

    if (next_us == UINT64_MAX) {
        return false;
    }
    sim_run_to_us(run->world, next_us);
    if (due_us == next_us) {
        return true; /* the others may have changed by it */
    }
    if (step_us == next_us) {
        end_step(run, c);
    } else {
        arrive(run);
    }
    return true;
}

static int stuck(const struct sim_run *run, struct error *reterr)
{
    return error_set(reterr, -EIO, "%zu of %zu requests never end: a fault of the simulator",
                     run->ask_count - run->ended, run->ask_count);
}

static int play(struct sim_run *run, struct error *reterr)
{
    const uint64_t until_us = arrival_us(run, run->ask_count - 1) + longest_us;
    unsigned events = 0, moment = 0;
    time_t last = 0;

    while (run->ended < run->ask_count) {
        const struct sim_moment before = { .running = run->running, .waiting = run->waiting };

        if (!do_next(run) || world_now_us(run->world) > until_us) {
            return stuck(run, reterr);
        }
        look(run, &before, &moment);
        if (run->trouble.code < 0) {
            return error_set(reterr, run->trouble.code, "%s", run->trouble.text);
        }
        if (++events % EVENTS_A_LOOK == 0 && !is_to_go_on(run, &last)) {
            return error_set(reterr, -EINTR, "the simulation was ended");
        }
    }
    return 0;
}

/* ---- whose requests they are ---- */

static int find_model(const struct sim_run *run, const char *name, struct error *reterr)
{
    for (size_t i = 0; i < run->fleet->model_count; i++) {
        if (str_eq(run->fleet->models[i].name, name)) {
            return (int)i;
        }
    }
    return error_set(reterr, -EINVAL, "the trace names model '%s', which the fleet does not have",
                     name);
}

/* A trace that names no models: each request goes to one of the fleet's, by their shares. */
static size_t draw(const struct sim_run *run, uint64_t *random)
{
    const struct fleet *f = run->fleet;
    double all = 0, at;
    size_t i = 0;

    for (size_t m = 0; m < f->model_count; m++) {
        all += f->models[m].share;
    }
    at = (double)(splitmix_next(random) >> 11) * 0x1p-53 * all;
    while (i + 1 < f->model_count && at >= f->models[i].share) {
        at -= f->models[i++].share;
    }
    return i;
}

static int assign(struct sim_run *run, struct error *reterr)
{
    const struct trace *t = run->in->trace;
    const bool named = t->model_count > 1 || (t->model_count == 1 && t->models[0][0]);
    uint64_t random = run->in->seed ^ 0x6a09e667f3bcc908U;
    int model;

    for (size_t i = 0; i < run->ask_count; i++) {
        struct sim_ask *a = &run->asks[i];

        model = named ? find_model(run, t->models[t->requests[i].model], reterr)
                      : (int)draw(run, &random);
        if (model < 0) {
            return model;
        }
        a->run = run;
        a->model = (uint16_t)model;
    }
    return 0;
}

int run_trace(struct sim_run *run, struct error *reterr)
{
    int r = assign(run, reterr);

    if (r < 0) {
        return r;
    }
    run->began_us = run->last_us = world_now_us(run->world);
    return play(run, reterr);
}
