// SPDX-License-Identifier: Apache-2.0
/* Collectives over levels of links, held against what a hand computes: the phases are a sum, every
 * one has a start, and who shares a link has its share of it. */
#include "unit.h"

#include <math.h>

#include "planner/planner_int.h"

static void assert_near(double got, double wanted)
{
    if (!(fabs(got - wanted) <= 1e-9 * fabs(wanted))) {
        print_error("got %.12g, wanted %.12g\n", got, wanted);
        fail();
    }
}

/* On links that nobody measured: a chip's own are 450. */
static struct planner_setup setup_with(const struct planner_topology *t)
{
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model("Llama-3.1-70B"), planner_find_chip("H100-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_FP8, PLANNER_KV_AUTO, NULL);
    planner_setup_topology(&s, t);
    return s;
}

/* Of 100 and 10 GB/s three quarters are got. */
static const struct planner_topology two = {
    2, { { "node", 4, 100, 2, PLANNER_LINK_SWITCH }, { "rack", 8, 10, 20, PLANNER_LINK_SWITCH } }
};

static void test_two_levels_by_hand(void **state)
{
    const struct planner_setup s = setup_with(&two);
    const double bytes = 64e6, near = 75e9, far = 7.5e9;
    /* reduce-scatter and all-gather among 4, then an all-reduce of a quarter among 2 */
    const double inside = 2 * (2e-6 + 0.75 * bytes / near);
    const double outside = 20e-6 + 2 * 0.5 * (bytes / 4) / far;

    assert_near(planner_topology_all_reduce(&s, 1, 8, bytes), inside + outside);
    /* inside one node: one start, the same bytes */
    assert_near(planner_topology_all_reduce(&s, 1, 4, bytes), 2e-6 + 2 * 0.75 * bytes / near);
    assert_near(planner_topology_all_reduce(&s, 1, 1, bytes), 0);
    /* all 32 chips: an eighth-and-seven for the rack */
    assert_near(planner_topology_all_reduce(&s, 1, 32, bytes),
                inside + 20e-6 + 2 * 7.0 / 8 * (bytes / 4) / far);
}

/* The slowest phase is not the whole: who takes the maximum is wrong by the others. */
static void test_sum_not_maximum(void **state)
{
    struct planner_topology t = two;
    struct planner_setup s;
    double both, far;

    t.levels[0].gbps = 10; /* both phases are long now */
    s = setup_with(&t);
    both = planner_topology_all_reduce(&s, 1, 8, 64e6);
    far = 20e-6 + (64e6 / 4) / 7.5e9;
    assert_true(both > 3 * far);
}

static void test_three_levels(void **state)
{
    const struct planner_topology t = { 3,
                                        { { "pair", 2, 200, 1, PLANNER_LINK_SWITCH },
                                          { "node", 4, 100, 2, PLANNER_LINK_SWITCH },
                                          { "rack", 2, 10, 20, PLANNER_LINK_SWITCH } } };
    const struct planner_setup s = setup_with(&t);
    const double b = 32e6;

    assert_int_equal(planner_topology_chips(&t), 16);
    assert_near(planner_topology_all_reduce(&s, 1, 16, b), 2 * (1e-6 + 0.5 * b / 150e9) +
                                                               2 * (2e-6 + 0.75 * (b / 2) / 75e9) +
                                                               (20e-6 + 2 * 0.5 * (b / 8) / 7.5e9));
}

/* Every fourth chip: one in each node, so that all goes by the rack. */
static void test_groups_across(void **state)
{
    const struct planner_setup s = setup_with(&two);

    assert_near(planner_topology_all_reduce(&s, 4, 8, 1e6), 20e-6 + 2 * 7.0 / 8 * 1e6 / 7.5e9);
    /* every second: two in a node */
    assert_near(planner_topology_all_reduce(&s, 2, 4, 1e6),
                2 * (2e-6 + 0.5 * 1e6 / 75e9) + 20e-6 + 2 * 0.5 * (1e6 / 2) / 7.5e9);
}

/* One uplink for four chips: each has a quarter of it. */
static void test_shared_uplink(void **state)
{
    struct planner_topology t = two;
    struct planner_setup s;

    t.levels[1].link = PLANNER_LINK_PCIE;
    s = setup_with(&t);
    assert_near(planner_topology_p2p(&s, 4, 1e6), 20e-6 + 1e6 / (7.5e9 / 4));
    assert_near(planner_topology_all_reduce(&s, 4, 2, 1e6), 20e-6 + 1e6 / (7.5e9 / 4));
}

/* A pair in a mesh of eight has one of a chip's seven links. */
static void test_mesh_pair_has_one_link(void **state)
{
    const struct planner_topology t = { 1, { { "node", 8, 70, 2, PLANNER_LINK_MESH } } };
    const struct planner_setup s = setup_with(&t);

    assert_near(planner_topology_p2p(&s, 1, 1e6), 2e-6 + 1e6 / (0.75 * 10e9));
    assert_near(planner_topology_all_reduce(&s, 1, 2, 1e6), 2e-6 + 1e6 / (0.75 * 10e9));
    assert_near(planner_topology_all_reduce(&s, 1, 8, 1e6),
                2e-6 + 2 * 7.0 / 8 * 1e6 / (0.75 * 70e9));
}

/* Round a ring each step has a start. */
static void test_ring_starts(void **state)
{
    const struct planner_topology t = { 1, { { "torus", 16, 100, 1, PLANNER_LINK_RING } } };
    const struct planner_setup s = setup_with(&t);

    assert_near(planner_topology_all_reduce(&s, 1, 16, 0), 2 * 15 * 1e-6);
    assert_near(planner_topology_all_reduce(&s, 1, 4, 0), 2 * 3 * 1e-6);
}

/* Half of what goes to seven others leaves the node; both links work at once. */
static void test_all_to_all(void **state)
{
    const struct planner_setup s = setup_with(&two);

    assert_near(planner_topology_all_to_all(&s, 1, 8, 7e6), 20e-6 + 4e6 / 7.5e9);
    assert_near(planner_topology_all_to_all(&s, 1, 4, 3e6), 2e-6 + 3e6 / 75e9);
    assert_near(planner_topology_all_to_all(&s, 1, 1, 3e6), 0);
}

/* A level with the figures of the chip's own links is what was measured of them, to the digit. */
static void test_own_links_are_as_measured(void **state)
{
    const struct planner_topology t = { 2,
                                        { { "node", 8, 450, 0, PLANNER_LINK_SWITCH },
                                          { "cluster", 4, 50, 0, PLANNER_LINK_SWITCH } } };
    const struct planner_setup s = setup_with(&t);
    double bytes = 1e3;

    for (int i = 0; i < 8; i++, bytes *= 7) {
        for (unsigned n = 2; n <= 8; n *= 2) {
            assert_near(planner_topology_all_reduce(&s, 1, n, bytes),
                        planner_all_reduce(&s, n, bytes));
        }
        /* two nodes: measured reduce-scatter and all-gather inside, an eighth goes across */
        assert_near(planner_topology_all_reduce(&s, 1, 16, bytes),
                    s.parted[3].alpha_s + 2 * 7.0 / 8 * bytes / s.parted[3].bytes_ps +
                        s.across.alpha_s + bytes / 8 / s.across.bytes_ps);
    }
}

static double tpot(const struct planner_setup *s, unsigned tp)
{
    const struct planner_plan p = { tp, 1, 1, 1, 1, 1, false };
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = 128, .osl = 128, .concurrency = 1
    };
    struct planner_result r;

    planner_evaluate(s, &p, &load, &r);
    assert_int_equal(r.bound, PLANNER_FITS);
    return r.tpot_s;
}

/* Dividing a small model among more chips costs more starts than it saves reading. */
static void test_starts_make_small_tp_win(void **state)
{
    struct planner_topology t = { 1, { { "host", 8, 30, 40, PLANNER_LINK_PCIE } } };
    struct planner_setup s;

    planner_setup_init(&s, planner_find_model("Llama-3.2-1B"), planner_find_chip("H100-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_BF16, PLANNER_KV_AUTO, NULL);
    planner_setup_topology(&s, &t);
    assert_true(tpot(&s, 8) > tpot(&s, 1));
    planner_setup_init(&s, planner_find_model("Llama-3.1-70B"), planner_find_chip("H200-SXM"),
                       PLANNER_ENGINE_VLLM, PLANNER_BF16, PLANNER_KV_AUTO, NULL);
    assert_true(tpot(&s, 8) < tpot(&s, 2)); /* where the starts are short and the weights long */
}

/* Slower links never make a plan quicker. */
static void test_slower_links_slower_plans(void **state)
{
    double before = 0, gbps = 400;

    for (int i = 0; i < 9; i++, gbps /= 2) {
        const struct planner_topology t = { 1, { { "node", 8, gbps, 2, PLANNER_LINK_SWITCH } } };
        const struct planner_setup s = setup_with(&t);

        assert_true(tpot(&s, 8) > before);
        before = tpot(&s, 8);
    }
}

static void test_fast_domain(void **state)
{
    struct planner_topology t = { 3,
                                  { { "board", 8, 450, 0, PLANNER_LINK_SWITCH },
                                    { "rack", 4, 400, 0, PLANNER_LINK_SWITCH },
                                    { "pod", 2, 50, 0, PLANNER_LINK_SWITCH } } };
    struct planner_setup s = setup_with(&t);

    assert_int_equal(planner_fast_domain(&s), 32);
    t.levels[1].link = PLANNER_LINK_PCIE; /* of the uplink each chip has an eighth */
    s = setup_with(&t);
    assert_int_equal(planner_fast_domain(&s), 8);
    t.levels[1].link = PLANNER_LINK_SWITCH;
    t.levels[0].groups = 1;
    s = setup_with(&t);
    assert_int_equal(planner_fast_domain(&s), 4);
    t.level_count = 0;
    s = setup_with(&t);
    assert_int_equal(planner_fast_domain(&s), 8);
    assert_int_equal(planner_topology_chips(&t), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_levels_by_hand),
        cmocka_unit_test(test_sum_not_maximum),
        cmocka_unit_test(test_three_levels),
        cmocka_unit_test(test_groups_across),
        cmocka_unit_test(test_shared_uplink),
        cmocka_unit_test(test_mesh_pair_has_one_link),
        cmocka_unit_test(test_ring_starts),
        cmocka_unit_test(test_all_to_all),
        cmocka_unit_test(test_own_links_are_as_measured),
        cmocka_unit_test(test_starts_make_small_tp_win),
        cmocka_unit_test(test_slower_links_slower_plans),
        cmocka_unit_test(test_fast_domain),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
