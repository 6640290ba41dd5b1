// SPDX-License-Identifier: Apache-2.0
/* See engine_reference.h. Requests stand in one table by id; who runs and who waits is a list of
 * ids. Nothing is kept that can be worked out. */
#include "engine_reference.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "simulate/trace.h"

enum { IDS = 4096, ENTRIES = 4096 };

struct asked {
    struct sim_request q;
    uint64_t ready, done_us;
    uint32_t whole; /* blocks of the prompt that may be shared */
    uint32_t made, computed, chunk, cached;
    bool seen, decoding;
    uint64_t mine; /* blocks */
    uint64_t shared[64];
    unsigned shared_count, next_block;
};

struct entry {
    uint64_t hash, last; /* last: when it lost its last user, as a running number */
    unsigned users;
};

struct reference {
    struct engine_spec spec;
    struct asked all[IDS];
    uint64_t running[IDS], waiting[IDS];
    unsigned running_count, waiting_count;
    struct entry entries[ENTRIES];
    unsigned entry_count;
    uint64_t total, per, clock, began, next, counted;
    bool busy;
    struct sim_engine_figures sums;
};

uint64_t reference_random(uint64_t *state, uint64_t n)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (*state >> 33) % n;
}

struct reference *reference_create(const struct engine_spec *spec)
{
    struct reference *r = calloc(1, sizeof(*r));

    assert(r);
    r->spec = *spec;
    r->total = spec->kv_tokens / spec->block_tokens;
    r->per = TRACE_BLOCK_TOKENS / spec->block_tokens;
    r->next = UINT64_MAX;
    return r;
}

struct reference *reference_free(struct reference *r)
{
    free(r);
    return NULL;
}

/* ---- lists and the cache ---- */

static void take_out(uint64_t *list, unsigned *count, unsigned at)
{
    memmove(list + at, list + at + 1, (*count - at - 1) * sizeof(*list));
    (*count)--;
}

static void put_in(uint64_t *list, unsigned *count, unsigned at, uint64_t id)
{
    memmove(list + at + 1, list + at, (*count - at) * sizeof(*list));
    list[at] = id;
    (*count)++;
}

static struct entry *entry_of(struct reference *r, uint64_t hash)
{
    for (unsigned i = 0; i < r->entry_count; i++) {
        if (r->entries[i].hash == hash) {
            return &r->entries[i];
        }
    }
    return NULL;
}

static void count_blocks(const struct reference *r, uint64_t *used, uint64_t *kept)
{
    *used = *kept = 0;
    for (unsigned i = 0; i < r->running_count; i++) {
        *used += r->all[r->running[i]].mine;
    }
    for (unsigned i = 0; i < r->entry_count; i++) {
        *(r->entries[i].users ? used : kept) += r->per;
    }
}

static uint64_t spare(const struct reference *r)
{
    uint64_t used, kept;

    count_blocks(r, &used, &kept);
    return r->total - used;
}

static void make_room(struct reference *r, uint64_t blocks)
{
    for (;;) {
        uint64_t used, kept;
        struct entry *oldest = NULL;

        count_blocks(r, &used, &kept);
        if (r->total - used - kept >= blocks) {
            return;
        }
        for (unsigned i = 0; i < r->entry_count; i++) {
            if (!r->entries[i].users && (!oldest || r->entries[i].last < oldest->last)) {
                oldest = &r->entries[i];
            }
        }
        assert(oldest);
        *oldest = r->entries[--r->entry_count];
    }
}

static bool has_room_for(struct reference *r, struct asked *a, uint64_t tokens)
{
    const uint64_t need = (tokens + r->spec.block_tokens - 1) / r->spec.block_tokens;
    const uint64_t has = a->mine + a->shared_count * r->per;

    if (need > has) {
        if (need - has > spare(r)) {
            return false;
        }
        make_room(r, need - has);
        a->mine += need - has;
    }
    return true;
}

static void let_go(struct reference *r, struct asked *a)
{
    while (a->shared_count > 0) {
        struct entry *e = entry_of(r, a->shared[--a->shared_count]);

        e->last = ++r->clock;
        e->users--;
    }
    a->mine = 0;
    a->computed = a->chunk = 0;
    a->next_block = 0;
    a->decoding = false;
}

/* ---- a step ---- */

static uint32_t goal(const struct asked *a)
{
    return a->q.input_tokens + a->made;
}

static bool come_in(struct reference *r, struct asked *a)
{
    const uint32_t most = (goal(a) - 1) / TRACE_BLOCK_TOKENS;
    const uint64_t blocks = (goal(a) + r->spec.block_tokens - 1) / r->spec.block_tokens;
    unsigned found = 0, asleep = 0;

    while (found < a->whole && found < most && entry_of(r, a->q.blocks[found])) {
        asleep += entry_of(r, a->q.blocks[found++])->users == 0;
    }
    if (blocks - found * r->per + (r->running_count ? r->total / 100 : 0) >
        spare(r) - asleep * r->per) {
        return false;
    }
    for (unsigned i = 0; i < found; i++) {
        entry_of(r, a->q.blocks[i])->users++;
        a->shared[a->shared_count++] = a->q.blocks[i];
    }
    a->computed = found * TRACE_BLOCK_TOKENS;
    a->next_block = found;
    if (!a->seen) {
        a->cached = a->computed;
        a->seen = true;
    }
    r->sums.cached_tokens += a->computed;
    put_in(r->running, &r->running_count, r->running_count, a->q.id);
    take_out(r->waiting, &r->waiting_count, 0);
    assert(has_room_for(r, a, goal(a)));
    return true;
}

static void offer(struct reference *r, struct asked *a)
{
    const uint32_t until = a->computed + a->chunk;

    for (; a->next_block < a->whole && (a->next_block + 1) * TRACE_BLOCK_TOKENS <= until;
         a->next_block++) {
        if (!entry_of(r, a->q.blocks[a->next_block])) {
            assert(r->entry_count < ENTRIES);
            a->mine -= r->per;
            a->shared[a->shared_count++] = a->q.blocks[a->next_block];
            r->entries[r->entry_count++] =
                (struct entry){ .hash = a->q.blocks[a->next_block], .users = 1 };
        }
    }
}

static bool give_tokens(struct reference *r)
{
    bool all = true;

    for (unsigned i = 0; i < r->running_count; i++) {
        struct asked *a = &r->all[r->running[i]];

        while (a->decoding && !has_room_for(r, a, a->computed + 1)) {
            const uint64_t last = r->running[--r->running_count];

            let_go(r, &r->all[last]);
            put_in(r->waiting, &r->waiting_count, 0, last);
            r->sums.preemptions++;
            all = false;
        }
    }
    return all;
}

static void begin(struct reference *r, uint64_t now)
{
    const bool all = give_tokens(r);
    unsigned decodes = 0, tokens = 0;
    const unsigned places =
        r->spec.max_sequences < r->spec.step_tokens ? r->spec.max_sequences : r->spec.step_tokens;
    double context = 0, looks = 0;

    for (unsigned i = 0; i < r->running_count; i++) {
        decodes += r->all[r->running[i]].decoding;
        context += r->all[r->running[i]].decoding ? r->all[r->running[i]].computed : 0;
    }
    for (unsigned i = 0;; i++) {
        struct asked *a;

        if (decodes + tokens >= r->spec.step_tokens) {
            break;
        }
        if (i == r->running_count &&
            (!all || i >= places || !r->waiting_count || r->all[r->waiting[0]].ready > now ||
             !come_in(r, &r->all[r->waiting[0]]))) {
            break;
        }
        a = &r->all[r->running[i]];
        if (a->decoding) {
            continue;
        }
        a->chunk = goal(a) - a->computed;
        if (a->chunk > r->spec.step_tokens - decodes - tokens) {
            a->chunk = r->spec.step_tokens - decodes - tokens;
        }
        for (uint32_t n = 1; n <= a->chunk; n++) {
            looks += a->computed + n;
        }
        tokens += a->chunk;
        offer(r, a);
    }
    r->busy = decodes + tokens > 0;
    r->began = now;
    r->next = r->busy
                  ? now + step_times_us(r->spec.times, decodes, decodes ? context / decodes : 0,
                                        tokens, tokens ? looks / tokens - (tokens + 1.0) / 2 : 0)
              : r->waiting_count ? r->all[r->waiting[0]].ready
                                 : UINT64_MAX;
}

static void count_time(struct reference *r, uint64_t now)
{
    uint64_t used, kept;

    count_blocks(r, &used, &kept);
    r->sums.kv_token_us += (double)(used * r->spec.block_tokens) * (double)(now - r->counted);
    r->counted = now;
}

void reference_step(struct reference *r, uint64_t now)
{
    count_time(r, now);
    if (r->busy) {
        r->sums.steps++;
        r->sums.busy_us += now - r->began;
    }
    for (unsigned i = 0; i < r->running_count && r->busy; i++) {
        struct asked *a = &r->all[r->running[i]];
        const bool token = a->decoding || (a->chunk && a->computed + a->chunk == goal(a));

        r->sums.prefill_tokens += a->chunk;
        r->sums.output_tokens += token;
        a->computed += a->decoding ? 1 : a->chunk;
        a->chunk = 0;
        a->made += token;
        a->decoding = token || a->decoding;
        if (a->made == a->q.output_tokens) {
            a->done_us = now;
            let_go(r, a);
            take_out(r->running, &r->running_count, i--);
        }
    }
    begin(r, now);
}

/* ---- the rest ---- */

int reference_add(struct reference *r, const struct sim_request *q, uint64_t now)
{
    struct asked *a = &r->all[q->id];

    if (q->input_tokens + q->output_tokens - 1 > r->total * r->spec.block_tokens) {
        return -EFBIG;
    }
    *a = (struct asked){ .q = *q, .ready = now + r->spec.first_us };
    a->whole = q->input_tokens / TRACE_BLOCK_TOKENS;
    a->whole = !r->spec.prefix_cache ? 0 : a->whole < q->block_count ? a->whole : q->block_count;
    put_in(r->waiting, &r->waiting_count, r->waiting_count, q->id);
    if (!r->busy) {
        count_time(r, now);
        begin(r, now);
    }
    return 0;
}

void reference_remove(struct reference *r, uint64_t id, uint64_t now)
{
    for (unsigned i = 0; i < r->running_count; i++) {
        if (r->running[i] == id) {
            count_time(r, now);
            let_go(r, &r->all[id]);
            take_out(r->running, &r->running_count, i);
        }
    }
    for (unsigned i = 0; i < r->waiting_count; i++) {
        if (r->waiting[i] == id) {
            take_out(r->waiting, &r->waiting_count, i);
        }
    }
    if (!r->busy) {
        count_time(r, now);
        begin(r, now);
    }
}

uint64_t reference_next_us(const struct reference *r)
{
    return r->next;
}

struct sim_engine_figures reference_figures(const struct reference *r, uint64_t now)
{
    struct sim_engine_figures f = r->sums;

    count_blocks(r, &f.blocks_used, &f.blocks_kept);
    f.blocks_free = r->total - f.blocks_used - f.blocks_kept;
    f.running = r->running_count;
    f.waiting = r->waiting_count;
    f.busy_us += r->busy ? now - r->began : 0;
    f.kv_token_us += (double)(f.blocks_used * r->spec.block_tokens) * (double)(now - r->counted);
    return f;
}

uint32_t reference_tokens(const struct reference *r, uint64_t id)
{
    return r->all[id].made;
}

uint64_t reference_done_us(const struct reference *r, uint64_t id)
{
    return r->all[id].done_us;
}

uint32_t reference_cached(const struct reference *r, uint64_t id)
{
    return r->all[id].cached;
}
