// SPDX-License-Identifier: Apache-2.0
/*
 * Traces that are drawn, not read: Poisson arrivals, gamma lengths, families of prompts. One row of
 * random numbers in one order: the same recipe makes the same trace. Also what every trace goes
 * through at its end: its order.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "simulate/trace_int.h"

/* ---- hashes and order ---- */

static uint64_t stir(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

uint64_t trace_mix(uint64_t before, uint64_t id)
{
    return stir(stir(before + 0x9E3779B97F4A7C15ULL) ^ (id * 0xD1B54A32D192ED03ULL + 1));
}

struct moment {
    struct trace_request request;
    size_t place;
};

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;

    if (x->request.at_s != y->request.at_s) {
        return x->request.at_s < y->request.at_s ? -1 : 1;
    }
    return x->place < y->place ? -1 : 1;
}

static bool is_ascending(const struct trace *t)
{
    for (size_t i = 1; i < t->count; i++) {
        if (t->requests[i].at_s < t->requests[i - 1].at_s) {
            return false;
        }
    }
    return true;
}

int trace_in_order(struct trace *t, struct error *reterr)
{
    if (!is_ascending(t)) {
        struct moment *all = try_malloc(t->count * sizeof(*all));

        if (!all) {
            return error_set(reterr, -ENOMEM, "no memory to sort %zu requests", t->count);
        }
        for (size_t i = 0; i < t->count; i++) {
            all[i] = (struct moment){ t->requests[i], i };
        }
        qsort(all, t->count, sizeof(*all), by_time);
        for (size_t i = 0; i < t->count; i++) {
            t->requests[i] = all[i].request;
        }
        free(all);
    }
    for (size_t i = t->count; i-- > 0;) {
        t->requests[i].at_s -= t->requests[0].at_s;
    }
    return 0;
}

/* ---- drawing ---- */

static uint64_t draw(uint64_t *state)
{
    *state += 0x9E3779B97F4A7C15ULL;
    return stir(*state);
}

/* Above 0, at most 1. */
static double draw_unit(uint64_t *state)
{
    return (double)((draw(state) >> 11) + 1) * 0x1p-53;
}

static double draw_normal(uint64_t *state)
{
    const double u = draw_unit(state), v = draw_unit(state);

    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

/* Of mean 1 times shape (Marsaglia and Tsang 2000). */
static double draw_gamma(uint64_t *state, double shape)
{
    const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1 / sqrt(9 * d);
    double x, v;

    do {
        x = draw_normal(state);
        v = 1 + c * x;
        v = v * v * v;
    } while (v <= 0 || log(draw_unit(state)) > 0.5 * x * x + d - d * v + d * log(v));
    return shape < 1 ? d * v * pow(draw_unit(state), 1 / shape) : d * v;
}

static uint32_t draw_length(uint64_t *state, double mean, double cv)
{
    const double shape = cv > 0 ? 1 / (cv * cv) : 0;
    const double x = cv > 0 ? draw_gamma(state, shape) * mean / shape : mean;

    return (uint32_t)fmin(fmax(x + 0.5, 1), TRACE_TOKENS_MAX);
}

/* ---- making one ---- */

static size_t add_blocks(uint64_t *to, const struct trace_recipe *r, uint64_t *state,
                         struct trace_request *q)
{
    const uint64_t family = draw(state) % r->families, own = draw(state);
    const unsigned shared = (unsigned)(q->input_tokens * r->shared_share / TRACE_BLOCK_TOKENS);
    uint64_t hash = family;

    q->block_count = (q->input_tokens + TRACE_BLOCK_TOKENS - 1) / TRACE_BLOCK_TOKENS;
    for (unsigned i = 0; i < q->block_count; i++) {
        hash = trace_mix(hash, i < shared ? i : own);
        to[i] = hash;
    }
    return q->block_count;
}

void trace_make(const struct trace_recipe *r, struct trace *ret)
{
    struct trace t = { .name = "poisson", .count = r->requests, .model_count = 1 };
    uint64_t state = r->seed;
    size_t blocks = 0;
    double at_s = 0;

    t.requests = xcalloc(MAX_OF(t.count, 1), sizeof(*t.requests));
    t.models = xcalloc(1, sizeof(*t.models));
    for (size_t i = 0; i < t.count; i++) {
        struct trace_request *q = &t.requests[i];

        at_s += i > 0 ? -log(draw_unit(&state)) / r->rate_rps : 0;
        q->at_s = at_s;
        q->input_tokens = draw_length(&state, r->isl, r->isl_cv);
        q->output_tokens = draw_length(&state, r->osl, r->osl_cv);
        blocks += q->input_tokens / TRACE_BLOCK_TOKENS + 1;
    }
    if (r->families > 0) {
        t.block_memory = xcalloc(blocks, sizeof(*t.block_memory));
        blocks = 0;
        for (size_t i = 0; i < t.count; i++) {
            t.requests[i].blocks = t.block_memory + blocks;
            blocks += add_blocks(t.block_memory + blocks, r, &state, &t.requests[i]);
        }
    }
    *ret = t;
}
