// SPDX-License-Identifier: Apache-2.0
/* The search: what it offers, in which order, that it says the same every time, that it tells of
 * its progress and stops when told; and one plan by itself. */
#include "unit.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "planner/search_int.h"
#include "questions.h"

static bool is_same(const struct planner_plan *a, const struct planner_plan *b)
{
    return a->tp == b->tp && a->pp == b->pp && a->adp == b->adp && a->ep == b->ep &&
           a->moe_tp == b->moe_tp && a->replicas == b->replicas && a->sp == b->sp;
}

/* The SLO is kept to the last request: one more breaks it, or memory. */
static void test_largest_batch_in_the_slo(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    assert_true(f.count > 4);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_candidate *c = &f.candidates[i];
        struct planner_load load = { .kind = PLANNER_CLOSED_LOOP, .isl = 1024, .osl = 256 };
        struct planner_plan one = c->plan;
        struct planner_result r;

        assert_true(c->meets_slo && c->result.tpot_s <= 0.050);
        one.replicas = 1;
        load.concurrency = c->concurrency / c->plan.replicas + 1;
        planner_evaluate(&s, &one, &load, &r);
        assert_true(r.tpot_s > 0.050 || r.running < load.concurrency || load.concurrency > 4096);
    }
    planner_findings_finish(&f);
}

/* Fewer chips than there are is an answer too, and refusals are counted and shown. */
static void test_offers_fewer_chips(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    bool small = false, full = false;
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    for (size_t i = 0; i < f.count; i++) {
        small = small || f.candidates[i].result.chips == 2;
        full = full || f.candidates[i].result.chips == 8;
        assert_true(f.candidates[i].result.chips <= 8);
        assert_int_equal(f.candidates[i].result.chips, planner_plan_chips(&f.candidates[i].plan));
    }
    assert_true(small && full);
    assert_int_equal(f.tried, f.found + f.refused + f.pruned);
    planner_findings_finish(&f);
}

/* Downwards by score, those that meet the SLO before those that do not, and by the figure that the
 * objective is about. */
static void test_ranked_by_objective(void **state)
{
    const struct planner_setup s = setup("Qwen3-235B-A22B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.slo_ttft_s = 0.2;
    q.max_chips = 32;
    for (int o = 0; o < PLANNER_OBJECTIVE_MAX_; o++) {
        q.objective = (enum planner_objective)o;
        planner_search(&s, &q, &f);
        assert_true(f.count > 10);
        for (size_t i = 1; i < f.count; i++) {
            const struct planner_result *a = &f.candidates[i - 1].result;
            const struct planner_result *b = &f.candidates[i].result;

            assert_true(f.candidates[i - 1].score >= f.candidates[i].score);
            assert_true(f.candidates[i - 1].meets_slo >= f.candidates[i].meets_slo);
            assert_true(f.candidates[i].score > 0 && f.candidates[i].score <= 100);
            assert_true(f.candidates[i].meets_slo == (f.candidates[i].score > 50));
            if (!f.candidates[i].meets_slo) {
                continue;
            }
            assert_true(o != PLANNER_COST || a->output_tokens_ps_chip >= b->output_tokens_ps_chip);
            assert_true(o != PLANNER_THROUGHPUT || a->output_tokens_ps >= b->output_tokens_ps);
            assert_true(o != PLANNER_LATENCY || a->tpot_s < b->tpot_s ||
                        (a->tpot_s == b->tpot_s && a->ttft_s <= b->ttft_s));
            assert_true(o != PLANNER_CHIPS || a->chips <= b->chips);
            assert_true(o != PLANNER_EFFICIENCY ||
                        0.6 * a->mfu + 0.4 * a->mbu >= 0.999999 * (0.6 * b->mfu + 0.4 * b->mbu));
        }
        planner_findings_finish(&f);
    }
}

/* Of plans that are alike the one with fewer chips comes first. */
static void test_ties_to_fewer_chips(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-8B", "H100-SXM");
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    for (size_t i = 1; i < f.count; i++) {
        if (f.candidates[i].score == f.candidates[i - 1].score) {
            assert_true(f.candidates[i].result.chips >= f.candidates[i - 1].result.chips);
        }
    }
    assert_int_equal(f.candidates[0].plan.replicas, 1); /* the cost of a token is that of eight */
    planner_findings_finish(&f);
}

/* No plan beats one on the front in both, and each that is not on it is beaten or equalled. */
static void test_front(void **state)
{
    const struct planner_setup s = setup("Qwen3-235B-A22B", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    size_t on = 0;

    q.max_chips = 16;
    planner_search(&s, &q, &f);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_result *a = &f.candidates[i].result;
        bool beaten = false, equalled = false;

        for (size_t j = 0; j < f.count; j++) {
            const struct planner_result *b = &f.candidates[j].result;
            const bool chip = b->output_tokens_ps_chip >= a->output_tokens_ps_chip;
            const bool user = b->output_tokens_ps_user >= a->output_tokens_ps_user;
            const bool more = b->output_tokens_ps_chip > a->output_tokens_ps_chip ||
                              b->output_tokens_ps_user > a->output_tokens_ps_user;

            beaten = beaten || (chip && user && more);
            equalled = equalled || (i != j && chip && user);
        }
        assert_true(f.candidates[i].pareto ? !beaten : equalled);
        on += f.candidates[i].pareto;
    }
    assert_true(on > 1);
    planner_findings_finish(&f);
}

/* Of more plans than are kept: the best ones and the front are those of all of them. */
static void test_too_many_to_keep(void **state)
{
    enum { ALL = 150000, BEST = 1000 };
    struct planner_candidate *all = xcalloc(ALL, sizeof(*all));
    const struct planner_question q = plain;
    struct planner_findings f = { .count = 0 };
    struct planner_run x = { .setup = setup("Llama-3.1-70B", "H100-SXM"), .q = &q, .f = &f };
    size_t on = 0, kept_on = 0;
    uint64_t r = 1;

    for (unsigned i = 0; i < ALL; i++) {
        struct planner_candidate *c = &all[i];

        c->plan = (struct planner_plan){ .tp = 1, .pp = 1, .adp = 1, .ep = 1, .moe_tp = 1 };
        c->plan.replicas = i + 1;
        c->meets_slo = i % 3 != 0;
        c->slo_excess = c->meets_slo ? 0.5 : 2 + i;
        r = r * 6364136223846793005U + 1442695040888963407U;
        c->result.chips = i + 1;
        c->result.output_tokens_ps_chip = (double)(r >> 40);
        c->result.output_tokens_ps_user = (double)(r >> 20 & 0xffffff);
        planner_run_keep(&x, c);
        planner_score_candidate(&x.setup, &q, c);
    }
    assert_int_equal(f.found, ALL);
    assert_int_equal(f.meeting, ALL / 3 * 2);
    assert_true(f.count <= PLANNER_KEPT_MAX);
    for (int whole = 0; whole < 2; whole++) {
        planner_mark_front(whole ? all : f.candidates, whole ? ALL : f.count);
        planner_rank(whole ? all : f.candidates, whole ? ALL : f.count, q.objective);
    }
    for (size_t i = 0; i < BEST; i++) {
        assert_int_equal(f.candidates[i].plan.replicas, all[i].plan.replicas);
    }
    for (size_t i = 0; i < ALL; i++) {
        on += all[i].pareto;
        kept_on += i < f.count && f.candidates[i].pareto;
    }
    assert_true(on > 1);
    assert_int_equal(kept_on, on);
    planner_findings_finish(&f);
    free(all);
}

static void test_nearest_when_no_plan_meets_it(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.slo_tpot_s = 0.0001;
    planner_search(&s, &q, &f);
    assert_true(f.count > 1 && !f.candidates[0].meets_slo);
    assert_true(f.candidates[0].slo_excess > 1);
    assert_true(f.candidates[0].slo_excess <= f.candidates[1].slo_excess);
    planner_findings_finish(&f);
}

static void test_constraints(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.tp = 8;
    q.ep = 8;
    q.max_chips = 16;
    planner_search(&s, &q, &f);
    assert_true(f.count > 0);
    for (size_t i = 0; i < f.count; i++) {
        assert_true(f.candidates[i].plan.tp == 8 && f.candidates[i].plan.ep == 8);
    }
    planner_findings_finish(&f);
    q.tp = 16; /* leaves the domain of fast links */
    q.ep = 0;
    planner_search(&s, &q, &f);
    assert_int_equal(f.count, 0);
    planner_findings_finish(&f);
    q.across_nodes = true;
    planner_search(&s, &q, &f);
    assert_true(f.count > 0);
    planner_findings_finish(&f);
}

static void test_nothing_fits(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "RTX-4090");
    struct planner_findings f;

    planner_search(&s, &plain, &f);
    assert_int_equal(f.count, 0);
    assert_true(f.refused_by[PLANNER_WEIGHTS] > 0);
    assert_int_equal(f.refused_example[PLANNER_WEIGHTS].result.bound, PLANNER_WEIGHTS);
    planner_findings_finish(&f);
}

static void test_same_answer_twice(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings a, b;

    q.max_chips = 64;
    q.disaggregated = q.sp = true;
    planner_search(&s, &q, &a);
    planner_search(&s, &q, &b);
    assert_true(a.count > 10);
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        assert_true(is_same(&a.candidates[i].plan, &b.candidates[i].plan));
        assert_true(is_same(&a.candidates[i].prefill, &b.candidates[i].prefill));
        assert_true(a.candidates[i].score == b.candidates[i].score);
        assert_true(a.candidates[i].result.tpot_s == b.candidates[i].result.tpot_s);
    }
    planner_findings_finish(&a);
    planner_findings_finish(&b);
}

/* ---- weights ---- */

static void test_weights_of_the_scores(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.objective = PLANNER_BALANCED;
    f = ask(&s, &q);
    for (size_t i = 0; i < f.count; i++) {
        const struct planner_scores *x = &f.candidates[i].scores;
        const double sum =
            0.3 * x->latency + 0.35 * x->throughput + 0.2 * x->efficiency + 0.15 * x->balance;

        assert_true(fabs(f.candidates[i].score - (50 + sum / 2)) < 1e-9);
    }
    planner_findings_finish(&f);
    q.weights = (struct planner_score_weights){ .latency = 7 };
    f = ask(&s, &q);
    for (size_t i = 1; i < f.count; i++) {
        assert_true(f.candidates[i - 1].scores.latency >= f.candidates[i].scores.latency);
    }
    planner_findings_finish(&f);
}

/* ---- progress ---- */

struct watcher {
    double last;
    size_t asked, limit;
};

static bool watch(void *arg, double done)
{
    struct watcher *w = arg;

    assert_true(w->asked < w->limit);
    assert_true(done >= w->last && done <= 1 && (w->asked > 0 || done == 0));
    w->last = done;
    return ++w->asked < w->limit;
}

static void test_progress(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct watcher w = { .limit = SIZE_MAX };
    struct planner_question q = plain;
    struct planner_findings f;

    q.max_chips = 256;
    q.disaggregated = true;
    q.go_on = watch;
    q.arg = &w;
    f = ask(&s, &q);
    assert_true(w.last == 1 && !f.stopped);
    assert_true(f.evaluations / w.asked < 600); /* about a millisecond's */
    planner_findings_finish(&f);
}

/* Whenever it is stopped, it is never asked again, and what there is has its order. */
static void test_stops(void **state)
{
    const struct planner_setup s = setup("DeepSeek-V3", "H200-SXM");
    struct planner_question q = plain;
    struct planner_findings f;
    struct watcher all = { .limit = SIZE_MAX };
    size_t before = 0;

    q.max_chips = 256;
    q.disaggregated = true;
    q.go_on = watch;
    q.arg = &all;
    f = ask(&s, &q);
    planner_findings_finish(&f);
    assert_true(all.asked > 20);
    for (size_t limit = 1; limit < all.asked - 1; limit++) {
        struct watcher w = { .limit = limit };

        q.arg = &w;
        f = ask(&s, &q);
        assert_true(f.stopped && w.asked == limit);
        assert_true(limit > 1 || f.count == 0);
        assert_true(f.count >= before);
        before = f.count;
        for (size_t i = 1; i < f.count; i++) {
            assert_true(f.candidates[i - 1].score >= f.candidates[i].score);
        }
        planner_findings_finish(&f);
    }
    assert_true(before > 0);
}

/* ---- one plan ---- */

static void test_try_one(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-70B", "H100-SXM");
    struct planner_plan p = { 4, 1, 1, 1, 1, 2, false };
    struct planner_question q = plain;
    char why[PLANNER_REFUSAL_SIZE];
    struct planner_findings f, all;
    struct planner_load load;

    planner_try(&s, &q, &p, &none, &f);
    assert_true(f.count == 1 && f.tried == 1 && f.refused == 0);
    assert_true(is_same(&f.candidates[0].plan, &p));
    assert_true(f.candidates[0].pareto && f.candidates[0].score > 50);
    all = ask(&s, &q); /* the same answer as among all */
    for (size_t i = 0; i < all.count; i++) {
        if (is_same(&all.candidates[i].plan, &p)) {
            assert_true(all.candidates[i].score == f.candidates[0].score);
            assert_true(all.candidates[i].result.tpot_s == f.candidates[0].result.tpot_s);
        }
    }
    planner_findings_finish(&all);
    planner_findings_finish(&f);
    p.replicas = 3;
    planner_try(&s, &q, &p, &none, &f);
    assert_true(f.count == 0 && f.refusal_count == 1);
    assert_int_equal(f.refusals[0].result.bound, PLANNER_CHIPS_SHORT);
    load = planner_candidate_load(&q, &f.refusals[0]);
    planner_refusal(&s, &p, &load, &f.refusals[0].result, why);
    assert_string_equal(why, "needs 12 chips, 8 are available");
    planner_findings_finish(&f);
    p = (struct planner_plan){ 1, 1, 1, 2, 1, 1, false };
    planner_try(&s, &q, &p, &none, &f);
    assert_int_equal(f.refusals[0].result.bound, PLANNER_BAD_EXPERTS);
    planner_findings_finish(&f);
    p = (struct planner_plan){ 0 };
    planner_try(&s, &q, &p, &none, &f);
    assert_int_equal(f.refusals[0].result.bound, PLANNER_BAD_PLAN);
    planner_findings_finish(&f);
}

static void test_refusals_say_why(void **state)
{
    const struct planner_setup s = setup("Llama-3.1-405B", "H100-SXM");
    struct planner_question q = plain;
    struct planner_findings f;

    q.max_chips = 64;
    f = ask(&s, &q);
    assert_true(f.refusal_count > 10);
    for (size_t i = 0; i < f.refusal_count; i++) {
        const struct planner_load load = planner_candidate_load(&q, &f.refusals[i]);
        char why[PLANNER_REFUSAL_SIZE];

        planner_refusal(&s, &f.refusals[i].plan, &load, &f.refusals[i].result, why);
        assert_true(strlen(why) > 20);
        assert_true(f.refusals[i].result.need > f.refusals[i].result.have);
    }
    planner_findings_finish(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest_batch_in_the_slo),
        cmocka_unit_test(test_offers_fewer_chips),
        cmocka_unit_test(test_ranked_by_objective),
        cmocka_unit_test(test_front),
        cmocka_unit_test(test_nearest_when_no_plan_meets_it),
        cmocka_unit_test(test_constraints),
        cmocka_unit_test(test_nothing_fits),
        cmocka_unit_test(test_same_answer_twice),
        cmocka_unit_test(test_ties_to_fewer_chips),
        cmocka_unit_test(test_weights_of_the_scores),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_stops),
        cmocka_unit_test(test_try_one),
        cmocka_unit_test(test_too_many_to_keep),
        cmocka_unit_test(test_refusals_say_why),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
