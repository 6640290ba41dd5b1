// SPDX-License-Identifier: Apache-2.0
/* The timeline: its ends are the evaluation's figures, its bars lie side by side, and where a
 * pipeline leaves a stage idle there is a bar that says so. */
#include "unit.h"

#include <math.h>
#include <string.h>

#include "planner/planner_int.h"

enum { BARS_MAX = 8192 };

struct chart {
    struct planner_bar bars[BARS_MAX];
    size_t count;
    struct planner_result r;
    struct planner_load load;
    struct planner_setup s;
};

static void assert_near(double got, double wanted, double share)
{
    if (!(fabs(got - wanted) <= share * fabs(wanted) + 1e-15)) {
        print_error("got %.12g, wanted %.12g within %g\n", got, wanted, share);
        fail();
    }
}

static struct chart *draw(const char *model, struct planner_plan p, double concurrency,
                          unsigned tokens)
{
    static struct chart c;

    memset(&c, 0, sizeof(c));
    c.load = (struct planner_load){ .kind = PLANNER_CLOSED_LOOP,
                                    .isl = 6000,
                                    .osl = 100,
                                    .chunk_tokens = 1000,
                                    .concurrency = concurrency };
    planner_setup_init(&c.s, planner_find_model(model), planner_find_chip("H200-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    planner_evaluate(&c.s, &p, &c.load, &c.r);
    assert_int_equal(c.r.bound, PLANNER_FITS);
    c.count = planner_timeline(&c.s, &p, &c.load, tokens, c.bars, BARS_MAX);
    assert_true(c.count > 0 && c.count < BARS_MAX);
    return &c;
}

static double end_of(const struct chart *c, bool decode)
{
    double end = 0;

    for (size_t i = 0; i < c->count; i++) {
        if (c->bars[i].decode == decode) {
            end = fmax(end, c->bars[i].start_s + c->bars[i].length_s);
        }
    }
    return end;
}

static void test_ends_are_the_evaluations(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 1, 10);

    assert_near(end_of(c, false), c->r.prefill_s, 1e-9);
    assert_near(end_of(c, true), c->r.prefill_s + 10 * c->r.decode_step_s, 1e-9);
    /* with nobody else a token takes a step, and the first token no queue */
    assert_near(c->r.tpot_s, c->r.decode_step_s, 1e-9);
    assert_true(c->r.ttft_s > 0.5 * end_of(c, false));
}

/* Side by side, none above another, from the first moment to the last: a stage is never in two
 * places, and its idle time is drawn. */
static void test_stages_are_covered(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 1, 5);

    for (unsigned stage = 0; stage < 4; stage++) {
        double at = 0;

        for (size_t i = 0; i < c->count; i++) {
            if (c->bars[i].stage == stage) {
                assert_near(c->bars[i].start_s, at, 1e-9);
                at = c->bars[i].start_s + c->bars[i].length_s;
            }
        }
        assert_near(at, end_of(c, true), 1e-9);
    }
    for (size_t i = 1; i < c->count; i++) {
        assert_true(c->bars[i].start_s >= c->bars[i - 1].start_s * (1 - 1e-12));
    }
}

/* Of (m + pp - 1) beats a stage works m. */
static void test_bubbles(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 1, 0);
    double idle = 0;

    for (size_t i = 0; i < c->count; i++) {
        idle += c->bars[i].work == PLANNER_WORK_MAX_ ? c->bars[i].length_s : 0;
    }
    assert_near(idle / (4 * end_of(c, false)), 3.0 / (6 + 3), 1e-9);
    assert_near(c->r.bubble, 3.0 / 9, 1e-9);
}

/* A static batch goes through prefill together: as many chunks as all its prompts make. */
static void test_static_batch(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    static struct planner_bar bars[BARS_MAX];
    struct chart *c = draw("Llama-3.1-70B", p, 3, 0);
    double idle = 0, all = 0;
    size_t count;

    c->load.kind = PLANNER_STATIC;
    planner_evaluate(&c->s, &p, &c->load, &c->r);
    count = planner_timeline(&c->s, &p, &c->load, 0, bars, BARS_MAX);
    assert_true(count > 0 && count < BARS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_true(bars[i].index < 18);
        idle += bars[i].work == PLANNER_WORK_MAX_ ? bars[i].length_s : 0;
        all += bars[i].length_s;
    }
    assert_near(all, 4 * c->r.prefill_s, 1e-9);
    assert_near(c->r.bubble, 3.0 / (18 + 3), 1e-9);
    assert_near(idle / all, c->r.bubble, 1e-9);
}

/* By start; of those that begin together the idle ones first, and these and the others by stage. */
static void test_order(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 1, 5);

    for (size_t i = 1; i < c->count; i++) {
        const struct planner_bar *a = &c->bars[i - 1], *b = &c->bars[i];
        const bool a_idle = a->work == PLANNER_WORK_MAX_, b_idle = b->work == PLANNER_WORK_MAX_;

        if (fabs(b->start_s - a->start_s) <= 1e-12 * b->start_s) {
            assert_true(a_idle >= b_idle);
            assert_true(a_idle != b_idle || a->stage < b->stage);
        } else {
            assert_true(b->start_s > a->start_s);
        }
    }
}

/* Chunk k is on stage i after stage i - 1 has done with it. */
static void test_chunks_follow_the_stages(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 1, 0);
    double begin[4][6], end[4][6] = { { 0 } };

    for (unsigned i = 0; i < 24; i++) {
        begin[i / 6][i % 6] = INFINITY;
    }
    for (size_t i = 0; i < c->count; i++) {
        const struct planner_bar *b = &c->bars[i];

        if (b->work != PLANNER_WORK_MAX_) {
            assert_true(b->stage < 4 && b->index < 6 && !b->decode);
            begin[b->stage][b->index] = fmin(begin[b->stage][b->index], b->start_s);
            end[b->stage][b->index] = fmax(end[b->stage][b->index], b->start_s + b->length_s);
        }
    }
    for (unsigned stage = 0; stage < 4; stage++) {
        for (unsigned k = 0; k < 6; k++) {
            assert_near(begin[stage][k], (stage + k) * c->r.prefill_s / 9, 1e-9);
            assert_true(stage == 0 || begin[stage][k] >= end[stage - 1][k] * (1 - 1e-9));
        }
    }
}

static void check_shares(const struct chart *c, bool decode, const double *work)
{
    double sums[PLANNER_WORK_MAX_] = { 0 }, all = 0, whole = 0;

    for (size_t i = 0; i < c->count; i++) {
        if (c->bars[i].decode == decode && c->bars[i].work != PLANNER_WORK_MAX_) {
            sums[c->bars[i].work] += c->bars[i].length_s;
            all += c->bars[i].length_s;
        }
    }
    for (int k = 0; k < PLANNER_WORK_MAX_; k++) {
        whole += work[k];
    }
    for (int k = 0; k < PLANNER_WORK_MAX_; k++) {
        assert_near(sums[k] / all, work[k] / whole, 1e-9);
    }
}

static void test_kinds_in_proportion(void **state)
{
    const struct planner_plan p = { 8, 2, 1, 8, 1, 1, false };
    const struct chart *c = draw("DeepSeek-V3", p, 16, 4);

    check_shares(c, false, c->r.prefill_work_s);
    check_shares(c, true, c->r.decode_work_s);
}

/* While others keep the stages busy a decode has no idle bars. */
static void test_no_bubbles_in_company(void **state)
{
    const struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 16, 5);
    size_t idle = 0;

    for (size_t i = 0; i < c->count; i++) {
        idle += c->bars[i].decode && c->bars[i].work == PLANNER_WORK_MAX_;
    }
    assert_int_equal(idle, 0);
}

static void test_bounds(void **state)
{
    struct planner_plan p = { 2, 4, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", p, 1, 5);
    struct planner_bar few[3] = { { .stage = 77 }, { .stage = 77 }, { .stage = 77 } };
    struct planner_load load = c->load;

    /* at most so many are written, all are counted */
    assert_int_equal(planner_timeline(&c->s, &p, &load, 5, few, 2), c->count);
    for (int i = 0; i < 2; i++) {
        assert_true(few[i].stage == c->bars[i].stage && few[i].work == c->bars[i].work);
        assert_true(few[i].start_s == c->bars[i].start_s);
    }
    assert_int_equal(few[2].stage, 77);
    assert_int_equal(planner_timeline(&c->s, &p, &load, 5, NULL, 0), c->count);
    p.tp = 3;
    assert_int_equal(planner_timeline(&c->s, &p, &load, 5, NULL, 0), 0);
    p.tp = 2;
    load.isl = 1e6; /* a chunk of one token: bounded all the same */
    load.chunk_tokens = 1;
    planner_timeline(&c->s, &p, &load, 4000000000U, NULL, 0);
}

/* The prefill side's stages come first. */
static void test_disaggregated_stages(void **state)
{
    const struct planner_plan decode = { 4, 1, 1, 1, 1, 1, false };
    const struct chart *c = draw("Llama-3.1-70B", decode, 4, 3);
    struct planner_load load = c->load;
    struct planner_bar bars[512];
    size_t count;

    load.kind = PLANNER_DISAGGREGATED;
    load.prefill = (struct planner_plan){ 2, 2, 1, 1, 1, 1, false };
    count = planner_timeline(&c->s, &decode, &load, 3, bars, 512);
    assert_true(count > 0 && count <= 512);
    for (size_t i = 0; i < count; i++) {
        assert_true(bars[i].decode ? bars[i].stage == 2 : bars[i].stage < 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_are_the_evaluations),
        cmocka_unit_test(test_stages_are_covered),
        cmocka_unit_test(test_bubbles),
        cmocka_unit_test(test_static_batch),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_chunks_follow_the_stages),
        cmocka_unit_test(test_kinds_in_proportion),
        cmocka_unit_test(test_no_bubbles_in_company),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_disaggregated_stages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
