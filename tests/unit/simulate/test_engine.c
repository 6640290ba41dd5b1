// SPDX-License-Identifier: Apache-2.0
/* The simulated engine: what it promises, case by case; and random histories side by side with a
 * slow one (engine_reference.c) that must tell the same at the same times. */
#include "simulate/engine.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "engine_reference.h"
#include "simulate/trace.h"
#include "unit.h"

enum { IDS = 4096 };

/* ---- a rig ---- */

static struct step_times *times;

static struct {
    struct sim_engine *engine;
    uint64_t now, first_us[IDS], done_us[IDS];
    uint32_t tokens[IDS], cached[IDS], done[IDS];
    unsigned ended;
    uint64_t order[IDS]; /* ids as their first tokens came */
    unsigned begun;
    void (*on_tokens)(uint64_t id, uint32_t n);
    void (*on_done)(uint64_t id);
} rig;

static void on_tokens(void *owner, uint64_t id, uint32_t n, uint64_t now_us)
{
    assert_ptr_equal(owner, &rig);
    assert_true(id < IDS && n > 0 && !rig.done[id]);
    assert_int_equal(now_us, rig.now);
    if (rig.tokens[id] == 0) {
        assert_int_equal(n, 1);
        rig.first_us[id] = now_us;
        rig.order[rig.begun++] = id;
    }
    rig.tokens[id] += n;
    if (rig.on_tokens) {
        rig.on_tokens(id, n);
    }
}

static void on_done(void *owner, uint64_t id, uint32_t cached_tokens, uint64_t now_us)
{
    assert_ptr_equal(owner, &rig);
    assert_int_equal(now_us, rig.now);
    assert_int_equal(rig.done[id]++, 0);
    rig.done_us[id] = now_us;
    rig.cached[id] = cached_tokens;
    rig.ended++;
    if (rig.on_done) {
        rig.on_done(id);
    }
}

static const struct sim_engine_events events = { on_tokens, on_done, &rig };

static struct engine_spec plain_spec(void)
{
    return (struct engine_spec){ .times = times,
                                 .max_sequences = 64,
                                 .step_tokens = 2048,
                                 .kv_tokens = 200000,
                                 .block_tokens = 16,
                                 .prefix_cache = true };
}

static void open_engine(const struct engine_spec *spec)
{
    memset(&rig, 0, sizeof(rig));
    rig.engine = sim_engine_create(spec, &events);
    assert_true(sim_engine_next_us(rig.engine) == UINT64_MAX);
}

static void close_engine(void)
{
    rig.engine = sim_engine_free(rig.engine);
    assert_null(rig.engine);
}

static int add_blocks(uint64_t id, uint32_t input, uint32_t output, const uint64_t *blocks,
                      uint32_t count)
{
    const struct sim_request r = { id, input, output, count, blocks };

    return sim_engine_add(rig.engine, &r, rig.now);
}

static void add(uint64_t id, uint32_t input, uint32_t output)
{
    assert_int_equal(add_blocks(id, input, output, NULL, 0), 0);
}

static struct sim_engine_figures figures(void)
{
    return sim_engine_figures(rig.engine, rig.now);
}

static bool step(void)
{
    const uint64_t next = sim_engine_next_us(rig.engine);
    struct sim_engine_figures f;

    if (next == UINT64_MAX) {
        return false;
    }
    assert_true(next >= rig.now);
    rig.now = next;
    sim_engine_step(rig.engine, next);
    f = figures();
    assert_int_equal(f.blocks_used + f.blocks_kept + f.blocks_free, 200000 / 16);
    return true;
}

static void run_all(void)
{
    while (step()) {
    }
    assert_int_equal(figures().running + figures().waiting, 0);
    assert_int_equal(figures().blocks_used, 0);
}

static uint64_t time_of(unsigned decodes, double context, unsigned tokens, double before)
{
    return step_times_us(times, decodes, context, tokens, before);
}

/* ---- case by case ---- */

static void test_one_request(void **unused)
{
    const struct engine_spec spec = plain_spec();
    uint64_t at;

    (void)unused;
    open_engine(&spec);
    rig.now = 1000;
    add(1, 5000, 3);
    assert_int_equal(figures().blocks_used, 313); /* of the whole prompt, at once */
    at = 1000 + time_of(0, 0, 2048, 0) + time_of(0, 0, 2048, 2048) + time_of(0, 0, 904, 4096);
    run_all();
    assert_int_equal(rig.first_us[1], at);
    at += time_of(1, 5000, 0, 0) + time_of(1, 5001, 0, 0);
    assert_int_equal(rig.done_us[1], at);
    assert_int_equal(rig.tokens[1], 3);
    assert_int_equal(rig.cached[1], 0);
    assert_int_equal(figures().steps, 5);
    assert_int_equal(figures().busy_us, at - 1000);
    assert_int_equal(figures().prefill_tokens, 5000);
    assert_int_equal(figures().output_tokens, 3);
    /* 313 blocks hold 5,008 tokens: no further one was needed */
    assert_true(fabs(figures().kv_token_us - 5008.0 * (double)(at - 1000)) < 1);
    close_engine();
}

/* Decodes first, then what is left of the budget to prompts, first come first served. */
static void test_shares_a_step(void **unused)
{
    const struct engine_spec spec = plain_spec();
    uint64_t at;
    double seen;

    (void)unused;
    open_engine(&spec);
    add(1, 100, 50);
    (void)step();
    at = rig.now;
    add(2, 1500, 5);
    add(3, 1000, 5);
    (void)step(); /* the step that had begun */
    assert_int_equal(rig.now, at + time_of(1, 100, 0, 0));
    at = rig.now;
    (void)step(); /* 1 token, 1,500 and 547 of the budget */
    seen = (1500 * 750.5 + 547 * 274.0) / 2047;
    assert_int_equal(rig.now, at + time_of(1, 101, 2047, seen - 1024));
    assert_int_equal(rig.first_us[2], rig.now);
    assert_int_equal(rig.tokens[3], 0);
    at = rig.now;
    (void)step();
    assert_int_equal(rig.now, at + time_of(2, (102 + 1500) / 2.0, 453, 547));
    assert_int_equal(rig.first_us[3], rig.now);
    run_all();
    assert_int_equal(rig.tokens[1], 50);
    close_engine();
}

static void test_finds_prefixes(void **unused)
{
    const struct engine_spec spec = plain_spec();
    const uint64_t a[] = { 11, 12, 13, 14 }, b[] = { 11, 12, 23 };
    uint64_t at;

    (void)unused;
    open_engine(&spec);
    assert_int_equal(add_blocks(1, 1600, 2, a, 4), 0); /* three whole ones */
    run_all();
    assert_int_equal(figures().blocks_kept, 3 * 32);
    at = rig.now;
    assert_int_equal(add_blocks(2, 1400, 2, b, 3), 0);
    assert_int_equal(figures().blocks_used, 88); /* 64 of them were there */
    assert_int_equal(figures().blocks_kept, 32);
    run_all();
    assert_int_equal(rig.first_us[2] - at, time_of(0, 0, 1400 - 1024, 1024));
    assert_int_equal(rig.cached[2], 1024);
    at = rig.now;
    assert_int_equal(add_blocks(3, 1024, 2, a, 2), 0); /* all is there: a token is computed still */
    run_all();
    assert_int_equal(rig.cached[3], 512);
    assert_int_equal(rig.first_us[3] - at, time_of(0, 0, 512, 512));
    assert_int_equal(add_blocks(4, 1025, 1, a, 3), 0);
    run_all();
    assert_int_equal(rig.cached[4], 1024);
    assert_int_equal(figures().cached_tokens, 1024 + 512 + 1024);
    close_engine();
}

/* A prompt that another one computes right now is found as far as it has come. */
static void test_shares_what_is_computed(void **unused)
{
    const struct engine_spec spec = plain_spec();
    const uint64_t a[] = { 1, 2, 3, 4, 5, 6 };

    (void)unused;
    open_engine(&spec);
    assert_int_equal(add_blocks(1, 3072, 100, a, 6), 0);
    assert_int_equal(add_blocks(2, 3072, 100, a, 6), 0); /* let in beside the rest of the first */
    (void)step();
    assert_int_equal(figures().running, 2);
    /* the first: 192; the second: four of the six were begun, and one token has to be computed */
    assert_int_equal(figures().blocks_used, 192 + 192 - 5 * 32);
    run_all();
    assert_int_equal(rig.cached[2], 5 * 512);
    close_engine();
}

static void test_without_cache(void **unused)
{
    struct engine_spec spec = plain_spec();
    const uint64_t a[] = { 1, 2 };

    (void)unused;
    spec.prefix_cache = false;
    open_engine(&spec);
    assert_int_equal(add_blocks(1, 1200, 2, a, 2), 0);
    run_all();
    assert_int_equal(add_blocks(2, 1200, 2, a, 2), 0);
    run_all();
    assert_int_equal(rig.cached[2], 0);
    assert_int_equal(figures().blocks_kept, 0);
    close_engine();
}

/* The oldest goes first, and the end of a prompt before its beginning. */
static void test_evicts(void **unused)
{
    const struct engine_spec spec = plain_spec();
    uint64_t a[100], b[100];

    (void)unused;
    for (unsigned i = 0; i < 100; i++) {
        a[i] = 1000 + i;
        b[i] = 2000 + i;
    }
    open_engine(&spec);
    assert_int_equal(add_blocks(1, 51200, 1, a, 100), 0);
    run_all();
    assert_int_equal(add_blocks(2, 51200, 1, b, 100), 0);
    run_all();
    assert_int_equal(figures().blocks_kept, 6400);
    add(3, 120000, 1); /* 97,600 are free: 1,400 blocks have to go, 44 prefixes of the first */
    run_all();
    assert_int_equal(figures().blocks_kept, 6400 - 44 * 32);
    assert_int_equal(add_blocks(4, 51200, 1, b, 100), 0);
    run_all();
    assert_int_equal(rig.cached[4], 99 * 512);
    assert_int_equal(add_blocks(5, 51200, 1, a, 100), 0);
    run_all();
    assert_int_equal(rig.cached[5], 56 * 512);
    close_engine();
}

static void test_too_long(void **unused)
{
    struct engine_spec spec = plain_spec();

    (void)unused;
    open_engine(&spec);
    assert_int_equal(add_blocks(1, 199999, 3, NULL, 0), -EFBIG);
    assert_int_equal(add_blocks(1, UINT32_MAX, UINT32_MAX, NULL, 0), -EFBIG);
    assert_true(sim_engine_next_us(rig.engine) == UINT64_MAX);
    add(1, 199999, 2); /* the last token's keys are never needed */
    run_all();
    assert_int_equal(rig.tokens[1], 2);
    close_engine();
    spec.kv_tokens = (uint64_t)1 << 40; /* more than can be counted in one request */
    open_engine(&spec);
    assert_int_equal(add_blocks(1, UINT32_MAX, 2, NULL, 0), -EFBIG);
    assert_int_equal(add_blocks(1, UINT32_MAX, 1, NULL, 0), 0);
    close_engine();
}

/* Who finds no room is put back, the youngest first, and gets every token only once. */
static void test_puts_back(void **unused)
{
    struct engine_spec spec = plain_spec();

    (void)unused;
    open_engine(&spec);
    add(1, 65000, 4000);
    add(2, 65000, 4000);
    add(3, 65000, 4000);
    while (figures().preemptions == 0) {
        assert_true(step());
    }
    assert_int_equal(figures().running, 2);
    assert_int_equal(figures().waiting, 1);
    assert_int_equal(rig.order[2], 3);
    assert_true(rig.tokens[3] > 1 && rig.tokens[3] < 4000);
    add(4, 10, 1); /* it came later: it does not pass the one that was put back */
    run_all();
    assert_true(rig.done_us[1] < rig.done_us[3] && rig.done_us[2] < rig.done_us[3]);
    assert_true(rig.first_us[4] > rig.done_us[1]);
    for (int id = 1; id <= 3; id++) {
        assert_int_equal(rig.tokens[id], 4000);
    }
    assert_true(figures().prefill_tokens > 3 * 65000 + 10);
    assert_int_equal(figures().output_tokens, 12001);
    close_engine();
}

/* At most so many run; the rest wait in order. */
static void test_max_sequences(void **unused)
{
    struct engine_spec spec = plain_spec();

    (void)unused;
    spec.max_sequences = 3;
    open_engine(&spec);
    for (uint64_t id = 1; id <= 9; id++) {
        add(id, 100, (uint32_t)(10 + id));
    }
    while (step()) {
        assert_true(figures().running <= 3);
    }
    for (uint64_t id = 1; id <= 9; id++) {
        assert_int_equal(rig.order[id - 1], id);
    }
    close_engine();
    spec.max_sequences = 1000; /* no more than a step's tokens */
    spec.step_tokens = 4;
    open_engine(&spec);
    for (uint64_t id = 1; id <= 9; id++) {
        add(id, 10, 20);
    }
    while (step()) {
        assert_true(figures().running <= 4);
    }
    assert_int_equal(rig.ended, 9);
    close_engine();
}

/* The way through the server keeps nobody busy, and the engine sleeps until it is over. */
static void test_first_us(void **unused)
{
    struct engine_spec spec = plain_spec();

    (void)unused;
    spec.first_us = 50000;
    open_engine(&spec);
    rig.now = 7;
    add(1, 100, 1);
    assert_int_equal(sim_engine_next_us(rig.engine), 50007);
    rig.now = 10000;
    add(2, 100, 1);
    assert_int_equal(sim_engine_next_us(rig.engine), 50007);
    sim_engine_remove(rig.engine, 1, rig.now);
    assert_int_equal(sim_engine_next_us(rig.engine), 60000);
    run_all();
    assert_int_equal(rig.first_us[2], 60000 + time_of(0, 0, 100, 0));
    assert_int_equal(figures().busy_us, time_of(0, 0, 100, 0));
    close_engine();
}

static void test_remove(void **unused)
{
    const struct engine_spec spec = plain_spec();
    const uint64_t a[] = { 5, 6, 7 };

    (void)unused;
    open_engine(&spec);
    assert_int_equal(add_blocks(1, 1600, 100, a, 3), 0);
    add(2, 300, 10);
    add(3, 300, 10);
    (void)step();
    sim_engine_remove(rig.engine, 1, rig.now);
    sim_engine_remove(rig.engine, 99, rig.now);
    assert_int_equal(figures().blocks_kept, 96);
    sim_engine_remove(rig.engine, 2, rig.now + 1);
    run_all();
    assert_int_equal(rig.ended, 1);
    assert_int_equal(rig.tokens[3], 10);
    assert_int_equal(rig.tokens[1], 1);
    add(4, 300, 10); /* all go while a step runs: it ends, and nothing comes of it */
    sim_engine_remove(rig.engine, 4, rig.now);
    run_all();
    assert_int_equal(rig.tokens[4], 0);
    close_engine();
}

static void add_next_at_done(uint64_t id)
{
    if (id < 50) {
        add(id + 1, 100, 2);
    }
}

static void remove_at_first(uint64_t id, uint32_t n)
{
    (void)n;
    if (id == 1) {
        sim_engine_remove(rig.engine, 2, rig.now); /* it comes later in the same step */
    } else if (id == 3) {
        sim_engine_remove(rig.engine, 1, rig.now); /* it came earlier */
        sim_engine_remove(rig.engine, 3, rig.now); /* itself, at its last token */
        sim_engine_remove(rig.engine, 4, rig.now); /* it waits */
    }
}

static void test_from_handlers(void **unused)
{
    struct engine_spec spec = plain_spec();

    (void)unused;
    open_engine(&spec);
    rig.on_done = add_next_at_done;
    add(1, 100, 2);
    run_all();
    assert_int_equal(rig.ended, 50);
    assert_int_equal(figures().busy_us, rig.now); /* without a pause */
    close_engine();

    spec.max_sequences = 3;
    open_engine(&spec);
    rig.on_tokens = remove_at_first;
    add(1, 100, 5);
    add(2, 100, 5);
    add(3, 100, 1);
    add(4, 100, 5);
    assert_int_equal(figures().running, 1); /* the step had begun when the others came */
    (void)step();
    run_all();
    assert_int_equal(rig.ended, 0);
    assert_int_equal(rig.tokens[2] + rig.tokens[4], 0);
    close_engine();
}

/* ---- several steps at once ---- */

struct arrival {
    uint64_t at_us;
    uint32_t input, output;
};

static struct sim_engine_figures play(const struct engine_spec *spec, const struct arrival *a,
                                      unsigned count)
{
    struct sim_engine_figures f;
    unsigned next = 0;

    open_engine(spec);
    for (;;) {
        const uint64_t due = sim_engine_next_us(rig.engine);

        if (next < count && a[next].at_us <= due) {
            rig.now = a[next].at_us;
            add(next, a[next].input, a[next].output);
            next++;
        } else if (!step()) {
            break;
        }
    }
    assert_int_equal(rig.ended, count);
    f = figures();
    close_engine();
    return f;
}

/* The same comes, nearly at the same times, and in far fewer events. */
static void test_jumps(void **unused)
{
    struct engine_spec spec = plain_spec();
    struct arrival a[200];
    uint64_t done_us[200], state = test_seed("jumps"), at = 0;
    double off = 0, took = 0;
    struct sim_engine_figures slow, fast;

    (void)unused;
    spec.max_sequences = 16;
    spec.first_us = 3000;
    for (unsigned i = 0; i < 200; i++) {
        at += reference_random(&state, 600000);
        a[i] = (struct arrival){ at, 1 + (uint32_t)reference_random(&state, 3000),
                                 1 + (uint32_t)reference_random(&state, 400) };
    }
    slow = play(&spec, a, 200);
    memcpy(done_us, rig.done_us, sizeof(done_us));
    spec.jump_steps = 64;
    fast = play(&spec, a, 200);
    for (unsigned i = 0; i < 200; i++) {
        assert_int_equal(rig.tokens[i], a[i].output);
        off += fabs((double)rig.done_us[i] - (double)done_us[i]);
        took += (double)(done_us[i] - a[i].at_us);
    }
    assert_true(off < 0.02 * took); /* some are let in a step earlier or later */
    assert_true(fabs((double)fast.steps / (double)slow.steps - 1) < 0.02);
    assert_int_equal(fast.output_tokens, slow.output_tokens);
    assert_true(fabs(fast.kv_token_us / slow.kv_token_us - 1) < 0.02);
}

/* What comes in the middle has its turn when the step ends that runs then. */
static void test_jump_is_cut(void **unused)
{
    struct engine_spec spec = plain_spec();
    uint64_t began, each;

    (void)unused;
    spec.jump_steps = 100;
    open_engine(&spec);
    add(1, 1000, 500);
    (void)step();
    began = rig.now;
    each = time_of(1, 1000 + 99 / 2.0, 0, 0);
    assert_int_equal(sim_engine_next_us(rig.engine), began + 100 * each);
    rig.now = began + 7 * each + 1;
    assert_int_equal(figures().busy_us, rig.now);
    add(2, 100, 1);
    assert_int_equal(sim_engine_next_us(rig.engine), began + 8 * each);
    (void)step();
    assert_int_equal(rig.tokens[1], 1 + 8);
    assert_int_equal(figures().steps, 1 + 8);
    (void)step();
    assert_int_equal(rig.tokens[2], 1);
    began = rig.now;
    rig.now++; /* and who goes */
    sim_engine_remove(rig.engine, 1, rig.now);
    assert_true(sim_engine_next_us(rig.engine) <= began + 2 * each);
    run_all();
    close_engine();
}

/* One who is still on the way through the server has his turn at the first step's end after it. */
static void test_jump_meets_first_us(void **unused)
{
    struct engine_spec spec = plain_spec();
    uint64_t added;

    (void)unused;
    spec.jump_steps = 10;
    spec.first_us = 250000;
    open_engine(&spec);
    add(1, 1000, 500);
    (void)step();
    (void)step();
    added = rig.now;
    add(2, 100, 1);
    while (rig.tokens[2] == 0) {
        assert_true(step());
    }
    /* no later than a step of decoding, and the one with its prompt */
    assert_true(rig.first_us[2] - added >= 250000 + time_of(1, 1000, 100, 0));
    assert_true(rig.first_us[2] - added <
                250000 + time_of(1, 1100, 0, 0) + time_of(1, 1100, 100, 0));
    close_engine();
}

/* ---- histories ---- */

static struct reference *shadow;

static void same_figures(void)
{
    const struct sim_engine_figures f = figures();
    const struct sim_engine_figures r = reference_figures(shadow, rig.now);

    assert_int_equal(f.blocks_used, r.blocks_used);
    assert_int_equal(f.blocks_kept, r.blocks_kept);
    assert_int_equal(f.blocks_free, r.blocks_free);
    assert_int_equal(f.running, r.running);
    assert_int_equal(f.waiting, r.waiting);
    assert_int_equal(f.preemptions, r.preemptions);
    assert_int_equal(f.busy_us, r.busy_us);
    assert_int_equal(f.steps, r.steps);
    assert_int_equal(f.prefill_tokens, r.prefill_tokens);
    assert_int_equal(f.cached_tokens, r.cached_tokens);
    assert_int_equal(f.output_tokens, r.output_tokens);
    assert_true(f.kv_token_us == r.kv_token_us);
}

struct history {
    uint64_t state, removed[IDS];
    uint32_t input[IDS], output[IDS], blocks_of[IDS];
    uint64_t blocks[IDS][8];
    unsigned count;
};

static uint64_t below(struct history *h, uint64_t n)
{
    return reference_random(&h->state, n);
}

static void add_random(struct history *h, unsigned id)
{
    const uint64_t family = below(h, 3);
    uint32_t shared = (uint32_t)below(h, 9);

    h->input[id] = 1 + (uint32_t)below(h, below(h, 2) ? 4000 : 300);
    h->output[id] = 1 + (uint32_t)below(h, below(h, 5) ? 30 : 1500);
    h->blocks_of[id] = (uint32_t)below(h, 9);
    for (uint32_t i = 0; i < h->blocks_of[id]; i++) {
        h->blocks[id][i] = i < shared ? family * 100 + i + 1 : 10000 + (uint64_t)id * 10 + i;
    }
    assert_int_equal(add_blocks(id, h->input[id], h->output[id], h->blocks[id], h->blocks_of[id]),
                     reference_add(shadow,
                                   &(struct sim_request){ id, h->input[id], h->output[id],
                                                          h->blocks_of[id], h->blocks[id] },
                                   rig.now));
}

static void remove_random(struct history *h, unsigned known)
{
    const uint64_t id = below(h, known);

    if (!rig.done[id]) {
        h->removed[id] = 1;
    }
    sim_engine_remove(rig.engine, id, rig.now);
    reference_remove(shadow, id, rig.now);
}

/* One history: both get the same, and tell the same. */
static void play_history(struct history *h, unsigned count)
{
    unsigned known = 0;
    uint64_t next_add = 0;

    for (;;) {
        const uint64_t due = sim_engine_next_us(rig.engine);

        assert_int_equal(due, reference_next_us(shadow));
        if (known < count && next_add <= due) {
            rig.now = next_add;
            add_random(h, known++);
            next_add += below(h, 3) ? below(h, 200000) : below(h, 3000000);
            if (below(h, 10) == 0) {
                remove_random(h, known);
            }
        } else if (due != UINT64_MAX) {
            rig.now = due;
            sim_engine_step(rig.engine, due);
            reference_step(shadow, due);
        } else {
            break;
        }
        same_figures();
    }
}

static void one_history(uint64_t seed, uint64_t *preemptions)
{
    static struct history h;
    struct engine_spec spec = plain_spec();

    memset(&h, 0, sizeof(h));
    h.state = seed;
    spec.max_sequences = 1 + (unsigned)below(&h, 12);
    spec.step_tokens = (unsigned)(below(&h, 3) ? 1 + below(&h, 3000) : 1 + below(&h, 20));
    spec.block_tokens = 1U << below(&h, 8);
    spec.kv_tokens = 5600 + below(&h, 12000);
    spec.prefix_cache = below(&h, 4) > 0;
    spec.first_us = below(&h, 2) ? 0 : below(&h, 100000);
    open_engine(&spec);
    shadow = reference_create(&spec);
    play_history(&h, 150);
    for (unsigned id = 0; id < 150; id++) {
        assert_int_equal(rig.tokens[id], reference_tokens(shadow, id));
        assert_int_equal(rig.done_us[id], reference_done_us(shadow, id));
        if (!h.removed[id]) {
            assert_int_equal(rig.tokens[id], h.output[id]);
            assert_int_equal(rig.done[id], 1);
            assert_int_equal(rig.cached[id], reference_cached(shadow, id));
        } else {
            assert_int_equal(rig.done[id], 0);
        }
    }
    assert_int_equal(figures().blocks_used, 0);
    *preemptions += figures().preemptions;
    shadow = reference_free(shadow);
    close_engine();
}

static void test_histories(void **unused)
{
    const uint64_t seed = test_seed("engine histories");
    const char *asked = getenv("HISTORIES");
    const unsigned count = asked ? (unsigned)strtoul(asked, NULL, 10) : 60;
    uint64_t preemptions = 0;

    (void)unused;
    for (unsigned i = 0; i < count; i++) {
        one_history(seed + i, &preemptions);
    }
    printf("%u histories, %llu times put back\n", count, (unsigned long long)preemptions);
    assert_true(count < 60 || preemptions > 0);
}

static int open_times(void **unused)
{
    struct planner_setup s;
    const struct planner_plan plan = {
        .tp = 1, .pp = 1, .adp = 1, .ep = 1, .moe_tp = 1, .replicas = 1
    };

    (void)unused;
    planner_setup_init(&s, planner_find_model("llama-3.1-8b"), planner_find_chip("h100-sxm"),
                       PLANNER_ENGINE_VLLM, PLANNER_BF16, PLANNER_KV_AUTO, NULL);
    times = step_times_create(&s, &plan);
    return 0;
}

static int close_times(void **unused)
{
    (void)unused;
    times = step_times_free(times);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_request),
        cmocka_unit_test(test_shares_a_step),
        cmocka_unit_test(test_finds_prefixes),
        cmocka_unit_test(test_shares_what_is_computed),
        cmocka_unit_test(test_without_cache),
        cmocka_unit_test(test_evicts),
        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_puts_back),
        cmocka_unit_test(test_max_sequences),
        cmocka_unit_test(test_first_us),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_from_handlers),
        cmocka_unit_test(test_jumps),
        cmocka_unit_test(test_jump_is_cut),
        cmocka_unit_test(test_jump_meets_first_us),
        cmocka_unit_test(test_histories),
    };

    return cmocka_run_group_tests_name("simulate/engine", tests, open_times, close_times);
}
