// SPDX-License-Identifier: Apache-2.0
/*
 * The scheduler of a simulated engine. A step is planned when it begins (who decodes, whose prompt
 * goes on, who is let in: all blocks are taken then) and takes effect when it ends. Every request
 * stands in one of two places: `waiting`, in the order in which they are let in, or `running`, in
 * the order in which they were; the last there is the youngest.
 */
#include "simulate/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"
#include "simulate/engine_blocks.h"
#include "simulate/trace.h"

struct run {
    struct list node; /* in waiting */
    uint64_t id, ready_us;
    uint32_t input, output, made; /* tokens; made: that came */
    uint32_t computed;            /* tokens whose keys and values are in the cache */
    uint32_t target;              /* to compute before the next token comes, while it prefills */
    uint32_t chunk;               /* of that, in the step that runs */
    uint32_t cached;              /* tokens that were found when it was first let in */
    uint32_t own;                 /* blocks of its own */
    bool decoding, let_in, over;  /* let_in: once at least; over: to be forgotten */
    const uint64_t *hashes;
    uint32_t hash_count; /* prompt blocks that are filled to their end */
    uint32_t published;  /* of them: found, or computed and offered to others */
    uint32_t held_count;
    uint32_t held[]; /* prefixes */
};

struct sim_engine {
    struct engine_spec spec;
    struct sim_engine_events events;
    struct kv_blocks kv;
    uint64_t watermark; /* blocks that stay for those who run when one is let in */
    struct list waiting;
    struct run **running;
    unsigned running_count, waiting_count;
    bool telling; /* handlers run */

    /* The step that runs, or so many alike. */
    bool busy;
    unsigned repeat;
    uint64_t began_us, step_us, next_us;

    /* While it is planned. */
    unsigned decodes;
    uint32_t chunk_tokens;
    double context, seen; /* sums: what decodes hold; what each token of the chunks looks back at */
    uint32_t soonest;     /* steps until one of those who decode has all */

    uint64_t counted_us; /* until when kv_token_us is counted */
    struct sim_engine_figures sums;
};

/* ---- blocks of a request ---- */

static uint64_t blocks_for(const struct sim_engine *e, uint64_t tokens)
{
    return (tokens + e->spec.block_tokens - 1) / e->spec.block_tokens;
}

static uint64_t blocks_of(const struct sim_engine *e, const struct run *r)
{
    return r->own + (uint64_t)r->held_count * e->kv.per_prefix;
}

/* Room for so many tokens; false when there is none. */
static bool reach(struct sim_engine *e, struct run *r, uint64_t tokens)
{
    const uint64_t need = blocks_for(e, tokens), has = blocks_of(e, r);

    if (need <= has) {
        return true;
    }
    if (!kv_take(&e->kv, need - has)) {
        return false;
    }
    r->own += (uint32_t)(need - has);
    return true;
}

/* The end of a prefix is of no use without its beginning: it is dropped first. */
static void release(struct sim_engine *e, struct run *r)
{
    kv_give(&e->kv, r->own);
    while (r->held_count > 0) {
        kv_drop(&e->kv, r->held[--r->held_count]);
    }
    r->own = 0;
}

/* What the prompt's next tokens fill is there for others, too. */
static void publish(struct sim_engine *e, struct run *r, uint64_t computed)
{
    while (r->published < r->hash_count &&
           (uint64_t)(r->published + 1) * TRACE_BLOCK_TOKENS <= computed) {
        const uint32_t prefix = kv_publish(&e->kv, r->hashes[r->published++]);

        if (prefix) {
            r->held[r->held_count++] = prefix;
            r->own -= e->kv.per_prefix;
        }
    }
}

/* ---- planning a step ---- */

static void put_back(struct sim_engine *e, struct run *r)
{
    release(e, r);
    r->decoding = false;
    r->target = r->input + r->made;
    r->chunk = 0;
    list_prepend(&e->waiting, &r->node);
    e->waiting_count++;
    e->running_count--;
    e->sums.preemptions++;
}

/* Everybody who decodes gets a token, those first who were let in first; false when some were put
 * back for it. */
static bool plan_decodes(struct sim_engine *e)
{
    bool all = true;

    for (unsigned i = 0; i < e->running_count; i++) {
        struct run *r = e->running[i];

        if (!r->decoding) {
            continue;
        }
        while (i < e->running_count && !reach(e, r, (uint64_t)r->computed + 1)) {
            put_back(e, e->running[e->running_count - 1]);
            all = false;
        }
        if (i < e->running_count) {
            e->decodes++;
            e->context += r->computed;
            e->soonest = MIN_OF(e->soonest, r->output - r->made);
        }
    }
    return all;
}

static void plan_chunk(struct sim_engine *e, struct run *r)
{
    const uint32_t room = e->spec.step_tokens - e->decodes - e->chunk_tokens;

    r->chunk = MIN_OF(r->target - r->computed, room);
    e->chunk_tokens += r->chunk;
    e->seen += r->chunk * (r->computed + (r->chunk + 1.0) / 2);
    publish(e, r, (uint64_t)r->computed + r->chunk);
}

static bool has_budget(const struct sim_engine *e)
{
    return e->decodes + e->chunk_tokens < e->spec.step_tokens;
}

/* Lets the first of those who wait in, with all blocks of its prompt. Of a prompt at least one
 * token is computed. */
static bool let_in(struct sim_engine *e, struct run *r)
{
    const uint32_t most = MIN_OF(r->hash_count, (r->target - 1) / TRACE_BLOCK_TOKENS);
    const uint64_t spare = e->running_count > 0 ? e->watermark : 0;
    uint32_t idle, found = kv_match(&e->kv, r->hashes, most, r->held, &idle);
    const uint64_t need = blocks_for(e, r->target) - (uint64_t)found * e->kv.per_prefix;

    if (kv_room(&e->kv) < need + (uint64_t)idle * e->kv.per_prefix + spare) {
        return false;
    }
    for (uint32_t i = 0; i < found; i++) {
        kv_hold(&e->kv, r->held[i]);
    }
    r->held_count = r->published = found;
    r->computed = found * TRACE_BLOCK_TOKENS;
    if (!r->let_in) {
        r->let_in = true;
        r->cached = r->computed;
    }
    e->sums.cached_tokens += r->computed;
    (void)reach(e, r, r->target);
    list_remove(&r->node);
    e->waiting_count--;
    e->running[e->running_count++] = r;
    return true;
}

static void plan_prefills(struct sim_engine *e, bool may_let_in, uint64_t now_us)
{
    struct run *r;

    for (unsigned i = 0; i < e->running_count && has_budget(e); i++) {
        if (!e->running[i]->decoding) {
            plan_chunk(e, e->running[i]);
        }
    }
    while (may_let_in && has_budget(e) && e->running_count < e->spec.max_sequences) {
        r = list_first(&e->waiting, struct run, node);
        if (!r || r->ready_us > now_us || !let_in(e, r)) {
            return;
        }
        plan_chunk(e, r);
    }
}

/* How many steps like this one nothing else can happen in: nobody prefills or gets all, everybody
 * has room. */
static unsigned alike(const struct sim_engine *e, bool all)
{
    const unsigned most = MIN_OF(MAX_OF(e->spec.jump_steps, 1U), e->soonest);
    const uint64_t blocks = (uint64_t)e->decodes * ((most - 1) / e->spec.block_tokens + 1);

    return all && e->chunk_tokens == 0 && blocks <= kv_room(&e->kv) ? most : 1;
}

/* Steps that begin before this time are the last ones of those that run. */
static void cut(struct sim_engine *e, uint64_t until_us)
{
    uint64_t steps = 1;

    if (!e->busy) {
        return;
    }
    if (until_us > e->began_us) {
        steps = (until_us - e->began_us + e->step_us - 1) / e->step_us;
    }
    if (steps < e->repeat) {
        e->repeat = (unsigned)steps;
        e->next_us = e->began_us + e->repeat * e->step_us;
    }
}

static void begin(struct sim_engine *e, uint64_t now_us)
{
    const struct run *first;
    bool all;

    e->decodes = 0;
    e->chunk_tokens = 0;
    e->context = e->seen = 0;
    e->soonest = UINT32_MAX;
    all = plan_decodes(e);
    plan_prefills(e, all, now_us);
    first = list_first(&e->waiting, struct run, node);
    e->busy = e->decodes + e->chunk_tokens > 0;
    if (!e->busy) {
        e->next_us = first ? first->ready_us : UINT64_MAX;
        return;
    }
    e->repeat = alike(e, all);
    e->began_us = now_us;
    e->step_us = step_times_us(
        e->spec.times, e->decodes, e->decodes ? e->context / e->decodes + (e->repeat - 1) / 2.0 : 0,
        e->chunk_tokens,
        e->chunk_tokens ? e->seen / e->chunk_tokens - (e->chunk_tokens + 1.0) / 2 : 0);
    e->next_us = now_us + e->repeat * e->step_us;
    if (first && first->ready_us > now_us) {
        cut(e, first->ready_us);
    }
}

/* ---- its end ---- */

static void count_room(struct sim_engine *e, uint64_t now_us)
{
    e->sums.kv_token_us +=
        (double)(e->kv.used * e->spec.block_tokens) * (double)(now_us - e->counted_us);
    e->counted_us = now_us;
}

static void tell_tokens(struct sim_engine *e, struct run *r, uint32_t n, uint64_t now_us)
{
    r->made += n;
    e->sums.output_tokens += n;
    e->events.tokens(e->events.owner, r->id, n, now_us);
    if (r->made == r->output && !r->over) {
        r->over = true;
        e->events.done(e->events.owner, r->id, r->cached, now_us);
    }
}

static void advance(struct sim_engine *e, struct run *r, uint64_t now_us)
{
    if (r->decoding) {
        /* of more steps than one the blocks are taken now; that they are there was seen before */
        if (!reach(e, r, (uint64_t)r->computed + e->repeat)) {
            assert(0);
        }
        r->computed += e->repeat;
        tell_tokens(e, r, e->repeat, now_us);
        return;
    }
    r->computed += r->chunk;
    e->sums.prefill_tokens += r->chunk;
    if (r->chunk > 0 && r->computed == r->target) {
        r->decoding = true;
        tell_tokens(e, r, 1, now_us);
    }
    r->chunk = 0;
}

static void forget_over(struct sim_engine *e)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < e->running_count; i++) {
        struct run *r = e->running[i];

        if (r->over) {
            release(e, r);
            free(r);
        } else {
            e->running[kept++] = r;
        }
    }
    e->running_count = kept;
}

void sim_engine_step(struct sim_engine *e, uint64_t now_us)
{
    assert(now_us == e->next_us && !e->telling);
    count_room(e, now_us);
    if (e->busy) {
        e->sums.busy_us += e->repeat * e->step_us;
        e->sums.steps += e->repeat;
        e->telling = true;
        for (unsigned i = 0; i < e->running_count; i++) {
            if (!e->running[i]->over) {
                advance(e, e->running[i], now_us);
            }
        }
        e->telling = false;
        forget_over(e);
    }
    begin(e, now_us);
}

uint64_t sim_engine_next_us(const struct sim_engine *e)
{
    return e->next_us;
}

/* ---- who comes and goes ---- */

int sim_engine_add(struct sim_engine *e, const struct sim_request *q, uint64_t now_us)
{
    const uint64_t most = (uint64_t)q->input_tokens + q->output_tokens - 1;
    const uint32_t hashes =
        e->spec.prefix_cache ? MIN_OF(q->block_count, q->input_tokens / TRACE_BLOCK_TOKENS) : 0;
    const bool alone = list_empty(&e->waiting);
    struct run *r;

    assert(q->input_tokens > 0 && q->output_tokens > 0);
    if (most > UINT32_MAX || blocks_for(e, most) > e->kv.total) {
        return -EFBIG;
    }
    r = xcalloc(1, sizeof(*r) + ((size_t)hashes + 1) * sizeof(r->held[0]));
    r->id = q->id;
    r->ready_us = now_us + e->spec.first_us;
    r->input = r->target = q->input_tokens;
    r->output = q->output_tokens;
    r->hashes = q->blocks;
    r->hash_count = hashes;
    list_append(&e->waiting, &r->node);
    e->waiting_count++;
    if (e->telling) {
        return 0;
    }
    if (!e->busy) {
        count_room(e, now_us);
        begin(e, now_us);
    } else if (alone) {
        cut(e, r->ready_us);
    }
    return 0;
}

static struct run *find_running(const struct sim_engine *e, uint64_t id)
{
    for (unsigned i = 0; i < e->running_count; i++) {
        if (e->running[i]->id == id && !e->running[i]->over) {
            return e->running[i];
        }
    }
    return NULL;
}

static bool remove_waiting(struct sim_engine *e, uint64_t id)
{
    struct run *r;

    list_for_each (r, &e->waiting, node) {
        if (r->id == id) {
            list_remove(&r->node);
            e->waiting_count--;
            free(r);
            return true;
        }
    }
    return false;
}

void sim_engine_remove(struct sim_engine *e, uint64_t id, uint64_t now_us)
{
    struct run *r = find_running(e, id);

    if (!r && !remove_waiting(e, id)) {
        return;
    }
    if (r) {
        r->over = true;
    }
    if (e->telling) {
        return;
    }
    count_room(e, now_us);
    forget_over(e);
    cut(e, now_us);
    if (!e->busy) { /* the one for whom it would have woken may be gone */
        begin(e, now_us);
    }
}

/* ---- the whole ---- */

struct sim_engine *sim_engine_create(const struct engine_spec *spec,
                                     const struct sim_engine_events *events)
{
    struct sim_engine *e = xcalloc(1, sizeof(*e));

    assert(spec->block_tokens > 0 && TRACE_BLOCK_TOKENS % spec->block_tokens == 0);
    assert(spec->max_sequences > 0 && spec->step_tokens > 0);
    e->spec = *spec;
    e->spec.max_sequences = MIN_OF(spec->max_sequences, spec->step_tokens);
    e->events = *events;
    kv_init(&e->kv, spec->kv_tokens / spec->block_tokens, TRACE_BLOCK_TOKENS / spec->block_tokens);
    e->watermark = e->kv.total / 100;
    e->running = xcalloc(e->spec.max_sequences, sizeof(struct run *));
    e->next_us = UINT64_MAX;
    list_init(&e->waiting);
    return e;
}

struct sim_engine *sim_engine_free(struct sim_engine *e)
{
    struct run *r, *next;

    if (!e) {
        return NULL;
    }
    for (unsigned i = 0; i < e->running_count; i++) {
        free(e->running[i]);
    }
    list_for_each_safe (r, next, &e->waiting, node) {
        free(r);
    }
    free(e->running);
    kv_finish(&e->kv);
    free(e);
    return NULL;
}

struct sim_engine_figures sim_engine_figures(const struct sim_engine *e, uint64_t now_us)
{
    struct sim_engine_figures f = e->sums;

    if (e->busy) {
        f.busy_us += MIN_OF(now_us - e->began_us, e->repeat * e->step_us);
    }
    f.kv_token_us += (double)(e->kv.used * e->spec.block_tokens) * (double)(now_us - e->counted_us);
    f.running = e->running_count;
    f.waiting = e->waiting_count;
    f.blocks_used = e->kv.used;
    f.blocks_kept = e->kv.kept;
    f.blocks_free = e->kv.free;
    return f;
}
