// SPDX-License-Identifier: Apache-2.0
/* Strategies as what they are: pure choices. Single ones, and rules over random candidates. */
#include "properties.h"
#include "scene.h"

static const struct strategy *strategy(const char *name)
{
    const struct strategy *s;
    size_t cursor = 0;

    while ((s = strategy_next(&cursor)) && strcmp(s->name, name) != 0) {
    }
    assert_non_null(s);
    return s;
}

static int choose(const char *name, const struct candidate *c, size_t count)
{
    return strategy(name)->choose(c, count, &(struct choice){ .tokens = 50 });
}

static void least_tokens_then_fewest_in_flight_then_the_first(void **state)
{
    static const struct candidate c[] = {
        { "a", 1, 5, 1, 900 }, { "b", 3, 5, 1, 100 }, { "c", 5, 5, 1, 0 },
        { "d", 2, 5, 1, 100 }, { "e", 2, 5, 1, 100 },
    };

    assert_int_equal(choose("least_outstanding_tokens", c, 5), 3);
    assert_int_equal(choose("least_outstanding_tokens", c, 3), 1);
    assert_int_equal(choose("least_outstanding_tokens", c + 2, 1), -1);
}

static void fewest_connections_whatever_their_tokens(void **state)
{
    static const struct candidate c[] = {
        { "a", 3, 9, 1, 1, 0, 5 },
        { "b", 2, 9, 1, 900, 0, 5 },
        { "c", 2, 9, 1, 900, 0, 4 },
        { "d", 1, 1, 1, 0, 0, 0 },
    };

    assert_int_equal(choose("least_connections", c, 4), 2);
    assert_int_equal(choose("least_connections", c, 2), 1);
    assert_int_equal(choose("least_connections", c, 1), 0);
}

static void soonest_answer_and_the_unmeasured_first(void **state)
{
    static const struct candidate c[] = {
        { "a", 0, 9, 1, 0, 1000 }, { "b", 3, 9, 1, 0, 200 }, /* 4 x 200 */
        { "c", 9, 9, 1, 0, 1 },    { "d", 2, 9, 1, 0, 0 },   { "e", 1, 9, 1, 0, 0 },
    };

    assert_int_equal(choose("response_time", c, 3), 1);
    assert_int_equal(choose("response_time", c, 1), 0);
    assert_int_equal(choose("response_time", c, 4), 3);
    assert_int_equal(choose("response_time", c, 5), 4);
}

static void the_least_chosen_for_its_weight(void **state)
{
    static const struct candidate c[] = {
        { "a", 0, 9, 1, 0, 0, 10 },
        { "b", 0, 9, 4, 0, 0, 36 },
        { "c", 9, 9, 9, 0, 0, 0 },
    };
    static const struct candidate level[] = { { "a", 0, 9, 1 }, { "b", 0, 9, 4 } };

    assert_int_equal(choose("weighted", c, 3), 1);
    assert_int_equal(choose("weighted", c, 1), 0);
    assert_int_equal(choose("weighted", level, 2), 1);
}

static void round_robin_passes_over_who_has_no_room(void **state)
{
    static const struct candidate c[] = { { "a", 0, 2, 9 }, { "b", 2, 2, 1 }, { "c", 1, 2, 1 } };
    static const int expected[] = { 0, 2, 2, 0, 2, 2 };

    for (unsigned turn = 0; turn < ARRAY_SIZE(expected); turn++) {
        assert_int_equal(strategy("round_robin")->choose(c, 3, &(struct choice){ .turn = turn }),
                         expected[turn]);
    }
}

/* Of every two the better one: the worst is never chosen, the others are. */
static void power_of_two_compares_two_different_ones(void **state)
{
    static const struct candidate c[] = {
        { "a", 4, 9, 1, 0 },  { "b", 2, 9, 1, 70 }, { "c", 9, 9, 1, 0 },
        { "d", 2, 9, 1, 50 }, { "e", 3, 9, 1, 0 },
    };
    unsigned chosen[5] = { 0 };

    for (uint64_t random = 0; random < 12000; random++) {
        int i = strategy("power_of_two")->choose(c, 5, &(struct choice){ .random = random });

        assert_in_range(i, 0, 4);
        chosen[i]++;
    }
    /* Of the six pairs of a, b, d, e the best wins three, the next two, the next one. */
    assert_int_equal(chosen[3], 6000);
    assert_int_equal(chosen[1], 4000);
    assert_int_equal(chosen[4], 2000);
    assert_int_equal(chosen[0] + chosen[2], 0);
}

static void who_has_no_room_is_never_chosen_and_one_with_room_always(void **state)
{
    struct world *w = sim_create(test_seed("who_has_no_room_is_never_chosen"));
    const struct strategy *s;
    size_t cursor = 0;

    while ((s = strategy_next(&cursor))) {
        check_properties(w, s, 10000);
    }
    world_destroy(w);
}

static void weighted_shares_are_the_weights_and_smooth(void **state)
{
    struct world *w = sim_create(test_seed("weighted_shares_are_the_weights"));

    for (int round = 0; round < 20; round++) {
        struct candidate c[MANY] = { 0 };
        size_t count = 2 + world_random_below(w, 6);
        unsigned total = 0;

        for (size_t i = 0; i < count; i++) {
            c[i] = (struct candidate){ .cap = 1, .weight = 1 + (unsigned)world_random_below(w, 9) };
            total += c[i].weight;
        }
        for (unsigned n = 1; n <= 10000; n++) {
            c[choose("weighted", c, count)].chosen++;
            for (size_t i = 0; i < count; i++) { /* at any time, not only in the end */
                double share = (double)n * c[i].weight / total;

                assert_true((double)c[i].chosen < share + 2 + count);
                assert_true((double)c[i].chosen > share - 2 - count);
            }
        }
        for (size_t i = 0; i < count; i++) {
            double share = 10000.0 * c[i].weight / total;

            assert_true((double)c[i].chosen > share * 0.95 && (double)c[i].chosen < share * 1.05);
        }
    }
    world_destroy(w);
}

static void round_robin_is_fair(void **state)
{
    struct candidate c[7] = { 0 };

    for (int i = 0; i < 7; i++) {
        c[i].cap = 1;
    }
    for (uint64_t turn = 0; turn < 7000; turn++) {
        c[strategy("round_robin")->choose(c, 7, &(struct choice){ .turn = turn })].chosen++;
    }
    for (int i = 0; i < 7; i++) {
        assert_int_equal(c[i].chosen, 1000);
    }
}

static void a_strategy_is_set_by_name_until_the_option_changes(void **state)
{
    static const struct option_table *tables[] = { &dispatch_options, NULL };
    static const char *const same[] = { NULL };
    static const char *const other[] = { "BERTH_GATEWAY_STRATEGY=round_robin", NULL };
    struct config *config;
    struct scene s;
    struct error e = { 0 };

    open_scene(&s, 1);
    assert_string_equal(dispatch_strategy(s.d, 0)->name, "least_outstanding_tokens");
    assert_int_equal(dispatch_set_strategy(s.d, 0, "weighted", &e), 0);
    assert_string_equal(dispatch_strategy(s.d, 0)->name, "weighted");
    assert_int_equal(dispatch_set_strategy(s.d, 0, "luck", &e), -EINVAL);
    assert_non_null(strstr(e.text, "'luck'"));
    assert_non_null(strstr(e.text, "power_of_two"));
    assert_int_equal(config_load(NULL, same, tables, &config, &e), 0);
    dispatch_reconfigure(s.d, config);
    config_free(config);
    assert_string_equal(dispatch_strategy(s.d, 0)->name, "weighted");
    assert_int_equal(config_load(NULL, other, tables, &config, &e), 0);
    dispatch_reconfigure(s.d, config);
    config_free(config);
    assert_string_equal(dispatch_strategy(s.d, 0)->name, "round_robin");
    close_scene(&s);
}

/* Every strategy is a word of the option, with a sentence. */
static void every_strategy_can_be_configured(void **state)
{
    static const struct option_table *tables[] = { &dispatch_options, NULL };
    const struct strategy *s;
    size_t cursor = 0;

    while ((s = strategy_next(&cursor))) {
        char word[64];
        const char *env[] = { word, NULL };
        struct config *config;
        struct error e = { 0 };

        snprintf(word, sizeof(word), "BERTH_GATEWAY_STRATEGY=%s", s->name);
        assert_int_equal(config_load(NULL, env, tables, &config, &e), 0);
        config_free(config);
        assert_true(strlen(s->help) > 10);
    }
    assert_int_equal(cursor, 13);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(least_tokens_then_fewest_in_flight_then_the_first),
        cmocka_unit_test(fewest_connections_whatever_their_tokens),
        cmocka_unit_test(soonest_answer_and_the_unmeasured_first),
        cmocka_unit_test(the_least_chosen_for_its_weight),
        cmocka_unit_test(round_robin_passes_over_who_has_no_room),
        cmocka_unit_test(power_of_two_compares_two_different_ones),
        cmocka_unit_test(who_has_no_room_is_never_chosen_and_one_with_room_always),
        cmocka_unit_test(weighted_shares_are_the_weights_and_smooth),
        cmocka_unit_test(round_robin_is_fair),
        cmocka_unit_test(a_strategy_is_set_by_name_until_the_option_changes),
        cmocka_unit_test(every_strategy_can_be_configured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
