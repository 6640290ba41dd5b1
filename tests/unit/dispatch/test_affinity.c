// SPDX-License-Identifier: Apache-2.0
/* Who has which prompt's beginning, and which strategy a model has: through the door. */
#include "scene.h"

#include "dispatch/dispatch_int.h"

enum { TOKENS = 800 };

static char prompt[PREFIX_BLOCK_BYTES * (PREFIX_BLOCKS_MAX + 4)];

static void make_prompt(char conversation)
{
    memset(prompt, 's', sizeof(prompt)); /* the system's, the same for all: one block */
    memset(prompt + PREFIX_BLOCK_BYTES, conversation, sizeof(prompt) - PREFIX_BLOCK_BYTES);
}

/* Blocks that are whole within so many bytes. */
static unsigned blocks_in(size_t bytes)
{
    unsigned n = 0;

    for (size_t end = prefix_next_end(0); end <= bytes; end = prefix_next_end(end)) {
        n++;
    }
    return n;
}

static void blocks_grow_and_reach_far(void **state)
{
    static char long_prompt[2 << 20];
    uint64_t hashes[PREFIX_BLOCKS_MAX];
    size_t end = 0, next;

    assert_int_equal(blocks_in(PREFIX_SHORT_BYTES), PREFIX_SHORT_BYTES / PREFIX_BLOCK_BYTES);
    for (int i = 0; i < PREFIX_BLOCKS_MAX; i++, end = next) {
        next = prefix_next_end(end);
        assert_true(next > end && next % PREFIX_BLOCK_BYTES == 0);
        assert_true(next - end <= MAX_OF(end / 8, (size_t)PREFIX_BLOCK_BYTES));
    }
    assert_true(end > 800 * 1000);
    assert_int_equal(prefix_hashes((struct span){ long_prompt, sizeof(long_prompt) }, hashes),
                     PREFIX_BLOCKS_MAX);
}

static void hashes_are_of_all_up_to_their_block(void **state)
{
    const unsigned all = blocks_in(sizeof(prompt));
    uint64_t a[PREFIX_BLOCKS_MAX], b[PREFIX_BLOCKS_MAX];

    make_prompt('a');
    assert_int_equal(prefix_hashes((struct span){ prompt, sizeof(prompt) }, a), all);
    assert_int_equal(prefix_hashes((struct span){ prompt, PREFIX_BLOCK_BYTES - 1 }, b), 0);
    assert_int_equal(prefix_hashes((struct span){ NULL, 0 }, b), 0);
    assert_int_equal(prefix_hashes((struct span){ prompt, 3 * PREFIX_BLOCK_BYTES + 17 }, b), 3);
    assert_memory_equal(a, b, 3 * sizeof(a[0]));
    make_prompt('b');
    assert_int_equal(prefix_hashes((struct span){ prompt, sizeof(prompt) }, b), all);
    assert_true(a[0] == b[0]);
    for (unsigned i = 1; i < all; i++) {
        assert_true(a[i] != b[i]);
        assert_true(a[i] != a[i - 1] && a[i] != 0); /* though the bytes are the same */
    }
    make_prompt('a');
    prompt[0] = 'x';
    assert_int_equal(prefix_hashes((struct span){ prompt, sizeof(prompt) }, b), all);
    for (unsigned i = 0; i < all; i++) {
        assert_true(a[i] != b[i]);
    }
    make_prompt('a');
    prompt[PREFIX_BLOCK_BYTES - 1] = 'x';
    assert_int_equal(prefix_hashes((struct span){ prompt, sizeof(prompt) }, b), all);
    assert_true(a[0] != b[0]);
}

/* The index of the instance that it was given to. */
static int converse(struct scene *s, struct asker *a, char conversation, unsigned blocks)
{
    uint64_t hashes[PREFIX_BLOCKS_MAX];
    struct dispatch_ask what = { .model_id = 1,
                                 .tokens = TOKENS,
                                 .prompt_tokens = blocks * PREFIX_BLOCK_BYTES / 4,
                                 .prefix = hashes };

    make_prompt(conversation);
    what.prefix_count =
        prefix_hashes((struct span){ prompt, (size_t)blocks * PREFIX_BLOCK_BYTES }, hashes);
    *a = (struct asker){ .scene = s, .model_id = 1, .again = true };
    assert_int_equal(ask_what(s, a, what), 1);
    memset(hashes, 0, sizeof(hashes)); /* they were copied */
    for (int i = 0; i < INSTANCES; i++) {
        if (strcmp(a->granted, instances[i].uuid) == 0) {
            return i;
        }
    }
    fail();
    return -1;
}

static int converse_and_end(struct scene *s, char conversation, unsigned blocks)
{
    int at = converse(s, &s->askers[50], conversation, blocks);

    end(&s->askers[50], OUTCOME_NONE);
    return at;
}

static void open_four(struct scene *s, const char *strategy)
{
    open_scene(s, 1);
    for (int i = 0; i < 4; i++) {
        make_instance(s, i, 1, 20);
        tell(s, i, INSTANCE_READY, false);
    }
    assert_int_equal(dispatch_set_strategy(s->d, 0, strategy, NULL), 0);
}

static void conversations_stay_where_they_are(void **state)
{
    static const char *const names[] = { "prefix_affinity", "earliest_completion" };
    struct scene s;

    for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
        int homes[4];

        open_four(&s, names[n]);
        for (int c = 0; c < 4; c++) { /* at the same time, so that they spread */
            homes[c] = converse(&s, &s.askers[c], (char)('a' + c), 8);
            for (int before = 0; before < c; before++) {
                assert_int_not_equal(homes[c], homes[before]);
            }
        }
        for (int c = 0; c < 4; c++) {
            end(&s.askers[c], OUTCOME_NONE);
        }
        for (unsigned blocks = 9; blocks < 30; blocks++) {
            for (int c = 3; c >= 0; c--) {
                assert_int_equal(converse_and_end(&s, (char)('a' + c), blocks), homes[c]);
            }
        }
        close_scene(&s);
    }
}

/* An instance that was restarted has nothing cached; one that is gone does not count. */
static void a_new_life_has_forgotten(void **state)
{
    struct scene s;
    int home;

    open_four(&s, "prefix_affinity");
    home = converse_and_end(&s, 'a', 8);
    assert_int_equal(home, 0); /* the first of equals */
    assert_int_equal(converse(&s, &s.askers[0], 'b', 8), 0);
    assert_int_equal(converse(&s, &s.askers[1], 'c', 8), 1);
    end(&s.askers[0], OUTCOME_NONE);
    assert_int_equal(converse_and_end(&s, 'c', 8), 1);
    end(&s.askers[1], OUTCOME_NONE);
    assert_int_equal(converse_and_end(&s, 'c', 8), 1);
    tell(&s, 1, INSTANCE_BACKOFF, false);
    tell(&s, 1, INSTANCE_READY, false);
    assert_int_equal(converse_and_end(&s, 'c', 8), 0); /* the first of equals */
    assert_int_equal(converse_and_end(&s, 'c', 8), 0);
    tell(&s, 0, INSTANCE_STOPPING, true);
    assert_int_equal(converse_and_end(&s, 'c', 8), 1); /* by load alone */
    close_scene(&s);
}

/* Choices are counted for a very long time. */
static void what_is_remembered_is_not_lost_in_a_turn_of_the_count(void **state)
{
    struct scene s;

    open_four(&s, "prefix_affinity");
    s.d->lines[0]->turn = UINT32_MAX - 1;
    for (int i = 0; i < 4; i++) {
        tell(&s, i, INSTANCE_BACKOFF, false);
        tell(&s, i, INSTANCE_READY, false);
    }
    for (int c = 0; c < 4; c++) {
        assert_int_equal(converse(&s, &s.askers[c], (char)('a' + c), 8), c);
    }
    for (int c = 0; c < 4; c++) {
        end(&s.askers[c], OUTCOME_NONE);
    }
    for (int c = 3; c >= 0; c--) {
        assert_int_equal(converse_and_end(&s, (char)('a' + c), 9), c);
    }
    close_scene(&s);
}

/* More conversations than the table holds: the oldest are forgotten, the last ones are not. */
static void what_is_remembered_is_bounded(void **state)
{
    enum { CROWD = 20000, LAST = 5000, BLOCKS = 8 }; /* the table holds some 65,000 blocks */
    struct dispatch_ask what = { .model_id = 1, .tokens = 1, .prompt_tokens = 64 * BLOCKS };
    uint64_t hashes[BLOCKS];
    struct scene s;
    unsigned at_home = 0;

    open_four(&s, "prefix_affinity");
    what.prefix = hashes;
    what.prefix_count = BLOCKS;
    for (int round = 0; round < 2; round++) {
        for (int n = round ? CROWD - LAST : 0; n < CROWD; n++) {
            struct asker *a = &s.askers[0], *busy = &s.askers[1];
            uint64_t state_of = (uint64_t)n;
            int home = 1 + n % 3;

            for (int b = 0; b < BLOCKS; b++) {
                hashes[b] = splitmix_next(&state_of) | 1;
            }
            *a = *busy = (struct asker){ .scene = &s, .model_id = 1, .again = true };
            if (round == 0) { /* all but one have too much to do */
                for (int i = 0; i < 4; i++) {
                    if (i != home) {
                        tell(&s, i, INSTANCE_DRAINING, false);
                    }
                }
            }
            assert_int_equal(ask_what(&s, a, what), 1);
            at_home += round && strcmp(a->granted, instances[home].uuid) == 0;
            end(a, OUTCOME_NONE);
            for (int i = 0; i < 4 && round == 0; i++) {
                if (i != home) {
                    tell(&s, i, INSTANCE_READY, false);
                }
            }
        }
    }
    assert_true(at_home >= LAST * 97 / 100);
    close_scene(&s);
}

static void a_common_beginning_does_not_bind(void **state)
{
    struct scene s;

    open_four(&s, "prefix_affinity");
    assert_int_equal(converse(&s, &s.askers[0], 'a', 40), 0);
    assert_int_equal(converse(&s, &s.askers[1], 'b', 40), 1); /* one of forty blocks */
    assert_int_equal(converse(&s, &s.askers[2], 'b', 40), 1);
    close_scene(&s);
}

static void sessions_have_a_home(void **state)
{
    struct scene s;

    open_four(&s, "session_affinity");
    for (uint64_t session = 1; session < 100; session++) {
        struct dispatch_ask what = { .model_id = 1, .tokens = TOKENS, .session = session << 32 };
        char home[UUID_SIZE];

        for (int n = 0; n < 5; n++) {
            struct asker *a = &s.askers[0];

            *a = (struct asker){ .scene = &s, .model_id = 1, .again = true };
            assert_int_equal(ask_what(&s, a, what), 1);
            assert_true(n == 0 || strcmp(home, a->granted) == 0);
            memcpy(home, a->granted, sizeof(home));
            end(a, OUTCOME_NONE);
        }
    }
    close_scene(&s);
}

/* Strategies by model */

static const char *in_use(const struct scene *s, int64_t model_id)
{
    return dispatch_strategy(s->d, model_id)->name;
}

static void reconfigure(struct scene *s, const char *word)
{
    static const struct option_table *tables[] = { &dispatch_options, NULL };
    const char *env[] = { word, NULL };
    struct config *config;
    struct error e;

    assert_int_equal(config_load(NULL, env, tables, &config, &e), 0);
    dispatch_reconfigure(s->d, config);
    config_free(config);
}

static void a_model_has_the_strategy_that_was_said_last_and_nearest(void **state)
{
    struct model_change c = { .kind = MODEL_UPDATED, .id = 1, .model = &models[0] };
    struct error e = { 0 };
    struct scene s;

    open_scene(&s, 1);
    assert_string_equal(in_use(&s, 1), "least_outstanding_tokens");
    configs[0].strategy = UNCONST(char *, "random");
    configs[1].strategy = UNCONST(char *, "of another berth"); /* counts as none */
    dispatch_on_model(s.d, &c);
    assert_string_equal(in_use(&s, 1), "random");
    assert_string_equal(in_use(&s, 2), "least_outstanding_tokens");
    assert_string_equal(in_use(&s, 0), "least_outstanding_tokens");
    assert_int_equal(dispatch_set_strategy(s.d, 0, "weighted", &e), 0);
    assert_string_equal(in_use(&s, 1), "weighted");
    assert_string_equal(in_use(&s, 2), "weighted");
    assert_string_equal(in_use(&s, 0), "weighted");
    assert_int_equal(dispatch_set_strategy(s.d, 1, "round_robin", &e), 0);
    assert_string_equal(in_use(&s, 1), "round_robin");
    assert_string_equal(in_use(&s, 2), "weighted");
    reconfigure(&s, "BERTH_GATEWAY_MAX_QUEUE=30");
    assert_string_equal(in_use(&s, 2), "weighted");
    reconfigure(&s, "BERTH_GATEWAY_STRATEGY=power_of_two");
    assert_string_equal(in_use(&s, 1), "round_robin");
    assert_string_equal(in_use(&s, 2), "power_of_two");
    assert_int_equal(dispatch_set_strategy(s.d, 1, NULL, &e), 0);
    assert_string_equal(in_use(&s, 1), "random");
    assert_int_equal(dispatch_set_strategy(s.d, 0, "shortest_queue", &e), 0);
    assert_int_equal(dispatch_set_strategy(s.d, 0, NULL, &e), 0);
    assert_string_equal(in_use(&s, 2), "power_of_two");
    assert_int_equal(dispatch_set_strategy(s.d, 1, "luck", &e), -EINVAL);
    assert_int_equal(dispatch_set_strategy(s.d, 77, "random", &e), -ENOENT);
    close_scene(&s);
}

/* The strategy that is in use is the one that chooses. */
static void models_are_served_by_their_own_strategies(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    for (int i = 0; i < 6; i++) {
        make_instance(&s, i, 1 + i % 2, 20);
        tell(&s, i, INSTANCE_READY, false);
    }
    configs[0].strategy = UNCONST(char *, "round_robin");
    configs[1].strategy = UNCONST(char *, "session_affinity");
    reconfigure(&s, "BERTH_GATEWAY_MAX_QUEUE=30");
    for (int n = 0; n < 12; n++) {
        ask_and_end(&s, 1, OUTCOME_NONE);
        ask_and_end(&s, 2, OUTCOME_NONE); /* no session: the first of equals */
    }
    for (int i = 0; i < 6; i++) {
        struct dispatch_target t = { 0 };

        assert_true(dispatch_target(s.d, instances[i].uuid, &t));
        assert_int_equal(t.requests, i % 2 == 0 ? 4 : i == 1 ? 12 : 0);
    }
    close_scene(&s);
}

static void a_name_is_checked(void **state)
{
    struct error e = { 0 };

    assert_int_equal(strategy_check("earliest_completion", &e), 0);
    assert_int_equal(strategy_check("luck", &e), -EINVAL);
    assert_non_null(strstr(e.text, "'luck'"));
    assert_non_null(strstr(e.text, " session_affinity"));
    assert_int_equal(strategy_check("luck", NULL), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_grow_and_reach_far),
        cmocka_unit_test(hashes_are_of_all_up_to_their_block),
        cmocka_unit_test(conversations_stay_where_they_are),
        cmocka_unit_test(a_new_life_has_forgotten),
        cmocka_unit_test(what_is_remembered_is_bounded),
        cmocka_unit_test(what_is_remembered_is_not_lost_in_a_turn_of_the_count),
        cmocka_unit_test(a_common_beginning_does_not_bind),
        cmocka_unit_test(sessions_have_a_home),
        cmocka_unit_test(a_model_has_the_strategy_that_was_said_last_and_nearest),
        cmocka_unit_test(models_are_served_by_their_own_strategies),
        cmocka_unit_test(a_name_is_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
