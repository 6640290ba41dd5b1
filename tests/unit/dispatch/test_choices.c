// SPDX-License-Identifier: Apache-2.0
/* The strategies that go by predictions, affinity and chance: single choices, and how often each
 * candidate is chosen, against what it should be. */
#include "properties.h"

#include <math.h>
#include <string.h>

static const struct strategy *strategy(const char *name)
{
    const struct strategy *s = strategy_find(name);

    assert_non_null(s);
    return s;
}

static int choose(const char *name, const struct candidate *c, size_t count)
{
    return strategy(name)->choose(c, count, &(struct choice){ .tokens = 50, .error_weight = 0.5 });
}

/* How often each is chosen, of so many. */
static void count_choices(const char *name, const struct candidate *c, size_t count,
                          unsigned rounds, double ret_shares[])
{
    struct world *w = sim_create(test_seed(name));
    unsigned chosen[MANY] = { 0 };

    for (unsigned n = 0; n < rounds; n++) {
        struct choice choice = { .tokens = 50,
                                 .turn = n,
                                 .random = world_random_below(w, UINT64_MAX) };

        chosen[strategy(name)->choose(c, count, &choice)]++;
    }
    for (size_t i = 0; i < count; i++) {
        ret_shares[i] = (double)chosen[i] / rounds;
    }
    world_destroy(w);
}

static void near(double is, double expected, double by)
{
    if (fabs(is - expected) > by) {
        fail_msg("%g is not within %g of %g", is, by, expected);
    }
}

/* Chi-square with 6 degrees of freedom: above 33 once in a hundred thousand runs. */
static void random_is_even(void **state)
{
    struct candidate c[9] = { 0 };
    double shares[9], chi = 0;

    for (int i = 0; i < 9; i++) {
        c[i] =
            (struct candidate){ .uuid = "x", .cap = i == 3 || i == 8 ? 0 : 2, .tokens = 100 * i };
    }
    count_choices("random", c, 9, 70000, shares);
    for (int i = 0; i < 9; i++) {
        double expected = c[i].cap ? 10000 : 0, is = 70000 * shares[i];

        chi += expected > 0 ? (is - expected) * (is - expected) / expected : is;
    }
    print_message("   chi-square %.1f\n", chi);
    assert_true(chi < 33);
    assert_true(chi > 0.02); /* by chance, not in turn */
}

static void shortest_queue_by_wait_error_in_flight_and_uuid(void **state)
{
    static const struct candidate c[] = {
        { .uuid = "f", .cap = 9, .in_flight = 1, .wait_ms = 100, .wait_error_ms = 9 },
        { .uuid = "e", .cap = 9, .in_flight = 2, .wait_ms = 100, .wait_error_ms = 5 },
        { .uuid = "d", .cap = 9, .in_flight = 1, .wait_ms = 100, .wait_error_ms = 5 },
        { .uuid = "c", .cap = 9, .in_flight = 1, .wait_ms = 100, .wait_error_ms = 5 },
        { .uuid = "b", .cap = 9, .in_flight = 9, .wait_ms = 1 },
        { .uuid = "a", .cap = 9, .in_flight = 0, .wait_ms = 101 },
    };

    assert_int_equal(choose("shortest_queue", c, 6), 3);
    assert_int_equal(choose("shortest_queue", c, 3), 2);
    assert_int_equal(choose("shortest_queue", c, 2), 1);
    assert_int_equal(choose("shortest_queue", c, 1), 0);
    assert_int_equal(choose("shortest_queue", c + 4, 2), 1);
    assert_int_equal(choose("shortest_queue", c + 4, 1), -1);
}

static void weighted_wait_counts_the_error_by_its_weight(void **state)
{
    static const struct candidate c[] = {
        { .uuid = "a", .cap = 9, .wait_ms = 100, .wait_error_ms = 60 },
        { .uuid = "b", .cap = 9, .wait_ms = 125, .wait_error_ms = 0 },
        { .uuid = "c", .cap = 9, .wait_ms = 90, .wait_error_ms = 200 },
    };
    const struct strategy *s = strategy("weighted_wait");

    assert_int_equal(s->choose(c, 3, &(struct choice){ .error_weight = 0 }), 2);
    assert_int_equal(s->choose(c, 3, &(struct choice){ .error_weight = 0.25 }), 0);
    assert_int_equal(s->choose(c, 3, &(struct choice){ .error_weight = 0.5 }), 1);
}

/* The order in which candidates stand decides nothing. */
static void order_decides_nothing(void **state)
{
    static const char *const names[] = { "shortest_queue", "weighted_wait" };
    struct world *w = sim_create(test_seed("order_decides_nothing"));

    for (int round = 0; round < 20000; round++) {
        const struct strategy *s = strategy(names[round % 2]);
        struct candidate c[MANY], turned[MANY];
        size_t count = roll_candidates(w, c), by = count ? world_random_below(w, count) : 0;
        struct choice choice = roll_choice(w);
        int i, k;

        for (size_t n = 0; n < count; n++) {
            turned[n] = c[(n + by) % count];
        }
        i = s->choose(c, count, &choice);
        k = s->choose(turned, count, &choice);
        assert_int_equal(i < 0, k < 0);
        assert_true(i < 0 || strcmp(c[i].uuid, turned[k].uuid) == 0);
    }
    world_destroy(w);
}

/* The chance that one is through first, of normal waits. */
static double first(const struct candidate *a, const struct candidate *b)
{
    return 0.5 * erfc((a->wait_ms - b->wait_ms) / sqrt(2 * (a->wait_error_ms * a->wait_error_ms +
                                                            b->wait_error_ms * b->wait_error_ms)));
}

static void probabilistic_chooses_as_often_as_one_is_likely_to_be_first(void **state)
{
    static const double waits[][4] = {
        { 1000, 100, 1000, 100 }, { 1000, 100, 1050, 100 },   { 1000, 50, 1100, 200 },
        { 500, 20, 1000, 20 },    { 9000, 900, 10000, 2000 },
    };

    for (size_t n = 0; n < ARRAY_SIZE(waits); n++) {
        struct candidate c[] = {
            { .uuid = "a", .cap = 9, .wait_ms = waits[n][0], .wait_error_ms = waits[n][1] },
            { .uuid = "b", .cap = 9, .wait_ms = waits[n][2], .wait_error_ms = waits[n][3] },
        };
        double shares[2];

        count_choices("probabilistic", c, 2, 20000, shares);
        near(shares[0], first(&c[0], &c[1]), 0.02);
    }
}

/* E.5.12: of long queues, too, the shorter wins. */
static void probabilistic_tells_long_queues_apart(void **state)
{
    static const struct candidate c[] = {
        { .uuid = "a", .cap = 99, .wait_ms = 100000, .wait_error_ms = 10000 },
        { .uuid = "b", .cap = 99, .wait_ms = 10000, .wait_error_ms = 1000 },
    };
    double shares[2];

    count_choices("probabilistic", c, 2, 5000, shares);
    assert_true(shares[1] > 0.999);
}

static void probabilistic_is_even_among_the_idle(void **state)
{
    static const struct candidate c[] = {
        { .uuid = "a", .cap = 9 },
        { .uuid = "b", .cap = 9 },
        { .uuid = "c", .cap = 9, .wait_ms = 1 },
        { .uuid = "d", .cap = 9 },
    };
    double shares[4];

    count_choices("probabilistic", c, 4, 30000, shares);
    near(shares[0], 1.0 / 3, 0.02);
    near(shares[1], 1.0 / 3, 0.02);
    near(shares[2], 0, 0);
    near(shares[3], 1.0 / 3, 0.02);
}

static void earliest_completion_adds_everything_up(void **state)
{
    const struct strategy *s = strategy("earliest_completion");
    struct choice choice = { .tokens = 300, .prompt_tokens = 200, .output_tokens = 100 };
    struct candidate c[] = {
        /* 100 + 200 + 1000 = 1300; 500 + 100 + 500 = 1100 */
        { .uuid = "slow", .cap = 9, .wait_ms = 100, .prefill_ms = 1, .decode_ms = 10 },
        { .uuid = "fast", .cap = 9, .wait_ms = 500, .prefill_ms = 0.5, .decode_ms = 5 },
    };

    assert_int_equal(s->choose(c, 2, &choice), 1);
    c[1].wait_ms = 701;
    assert_int_equal(s->choose(c, 2, &choice), 0);
    c[0].swap_ms = 2;
    assert_int_equal(s->choose(c, 2, &choice), 1);
    c[0].cached_tokens = 3;
    assert_int_equal(s->choose(c, 2, &choice), 0);
    choice.output_tokens = 101; /* the faster one's advantage grows */
    assert_int_equal(s->choose(c, 2, &choice), 1);
    c[1].decode_error = 10;
    assert_int_equal(s->choose(c, 2, &choice), 1);
    choice.error_weight = 0.5;
    assert_int_equal(s->choose(c, 2, &choice), 0);
    c[0].in_flight = 9;
    assert_int_equal(s->choose(c, 2, &choice), 1);
}

/* The uncertainty of an answer's length weighs more where tokens are slow. */
static void earliest_completion_fears_long_answers_where_they_are_slow(void **state)
{
    const struct strategy *s = strategy("earliest_completion");
    struct choice choice = { .output_tokens = 100, .error_weight = 1 };
    static const struct candidate c[] = {
        { .uuid = "slow", .cap = 9, .wait_ms = 0, .decode_ms = 10 },
        { .uuid = "fast", .cap = 9, .wait_ms = 600, .decode_ms = 5 },
    };

    assert_int_equal(s->choose(c, 2, &choice), 0);
    choice.output_error = 50;
    assert_int_equal(s->choose(c, 2, &choice), 1);
}

static void prefix_affinity_within_its_guard(void **state)
{
    const struct strategy *s = strategy("prefix_affinity");
    struct choice choice = { .tokens = 300, .prompt_tokens = 200 };
    struct candidate c[] = {
        { .uuid = "a", .cap = 9, .tokens = 1000 },
        { .uuid = "b", .cap = 9, .tokens = 1500, .cached_tokens = 100 },
        { .uuid = "c", .cap = 9, .tokens = 2100, .cached_tokens = 150 },
        { .uuid = "d", .cap = 9, .tokens = 2000, .cached_tokens = 150 },
    };

    assert_int_equal(s->choose(c, 4, &choice), 3); /* of equals the less loaded */
    c[2].tokens = c[3].tokens = 2101;
    assert_int_equal(s->choose(c, 4, &choice), 1);
    c[1].tokens = 2101; /* 1.5 x 1000 + 2 x 300 */
    assert_int_equal(s->choose(c, 4, &choice), 0);
    c[1].tokens = 1000;
    c[1].cached_tokens = 49; /* too small a part */
    assert_int_equal(s->choose(c, 4, &choice), 0);
    c[1].cached_tokens = 50;
    assert_int_equal(s->choose(c, 4, &choice), 1);
    c[1].in_flight = 9;
    assert_int_equal(s->choose(c, 4, &choice), 0);
}

/* Sessions */

enum { SESSIONS = 20000 };

static void make_places(struct candidate *c, size_t count)
{
    static char uuids[MANY][32];

    for (size_t i = 0; i < count; i++) {
        snprintf(uuids[i], sizeof(uuids[i]), "uuid-%zu", i);
        c[i] = (struct candidate){ .uuid = uuids[i], .cap = 9, .place = candidate_place(uuids[i]) };
    }
}

static int home(const struct candidate *c, size_t count, uint64_t session)
{
    return strategy("session_affinity")
        ->choose(c, count, &(struct choice){ .session = session * 0x9e3779b97f4a7c15U + 1 });
}

static void sessions_are_spread_evenly(void **state)
{
    struct candidate c[8];
    unsigned chosen[8] = { 0 };

    make_places(c, 8);
    for (uint64_t n = 0; n < SESSIONS; n++) {
        chosen[home(c, 8, n)]++;
    }
    for (int i = 0; i < 8; i++) {
        near(chosen[i], SESSIONS / 8.0, SESSIONS / 80.0);
    }
}

/* One that comes takes its share and moves nobody else; one that goes gives back its own only. */
static void few_sessions_move(void **state)
{
    struct candidate c[9];
    unsigned moved = 0;

    make_places(c, 9);
    for (uint64_t n = 0; n < SESSIONS; n++) {
        int before = home(c, 8, n), after = home(c, 9, n);

        assert_true(after == before || after == 8);
        moved += after != before;
    }
    near(moved, SESSIONS / 9.0, SESSIONS / 90.0);
}

static void a_session_leaves_whom_has_more_than_its_share(void **state)
{
    struct candidate c[4];
    int at, other;

    make_places(c, 4);
    at = home(c, 4, 7);
    c[at].in_flight = 1; /* (1 + 1) x 1.25 / 4, rounded up: 1 */
    other = home(c, 4, 7);
    assert_int_not_equal(other, at);
    for (int i = 0; i < 4; i++) {
        c[i].in_flight = 3;
    }
    assert_int_equal(home(c, 4, 7), at); /* 13 x 1.25 / 4, rounded up: 5 */
    c[at].in_flight = 4;
    assert_int_equal(home(c, 4, 7), at);
    c[at].in_flight = 5;
    assert_int_equal(home(c, 4, 7), other);
    for (int i = 0; i < 4; i++) {
        c[i].cap = i == 2 ? 9 : 0;
        c[i].in_flight = i == 2 ? 8 : 0;
    }
    assert_int_equal(home(c, 4, 7), 2); /* rather too much than none */
}

static void without_a_session_the_least_loaded(void **state)
{
    struct candidate c[4];

    make_places(c, 4);
    for (int i = 0; i < 4; i++) {
        c[i].tokens = i == 1 ? 10 : 100;
    }
    assert_int_equal(choose("session_affinity", c, 4), 1);
}

/* Does not depend on the order either. */
static void a_session_finds_its_home_in_any_order(void **state)
{
    struct candidate c[8], turned[8];

    make_places(c, 8);
    for (int i = 0; i < 8; i++) {
        turned[i] = c[(i + 3) % 8];
    }
    for (uint64_t n = 0; n < 1000; n++) {
        assert_string_equal(c[home(c, 8, n)].uuid, turned[home(turned, 8, n)].uuid);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_is_even),
        cmocka_unit_test(shortest_queue_by_wait_error_in_flight_and_uuid),
        cmocka_unit_test(weighted_wait_counts_the_error_by_its_weight),
        cmocka_unit_test(order_decides_nothing),
        cmocka_unit_test(probabilistic_chooses_as_often_as_one_is_likely_to_be_first),
        cmocka_unit_test(probabilistic_tells_long_queues_apart),
        cmocka_unit_test(probabilistic_is_even_among_the_idle),
        cmocka_unit_test(earliest_completion_adds_everything_up),
        cmocka_unit_test(earliest_completion_fears_long_answers_where_they_are_slow),
        cmocka_unit_test(prefix_affinity_within_its_guard),
        cmocka_unit_test(sessions_are_spread_evenly),
        cmocka_unit_test(few_sessions_move),
        cmocka_unit_test(a_session_leaves_whom_has_more_than_its_share),
        cmocka_unit_test(without_a_session_the_least_loaded),
        cmocka_unit_test(a_session_finds_its_home_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
