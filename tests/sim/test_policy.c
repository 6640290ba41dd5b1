// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories of the policy alone: a world in memory does what it says (policy_world.c), and
 * what happened is judged from the log (policy_check.c). Then the checker itself is put to the
 * test: policies with one fault each must be caught.
 *
 *     SEED=7 HISTORIES=1 test_sim_policy     replays one; HISTORIES=100000 takes a few minutes
 */
#include "histories.h"
#include "policy_log.h"

enum { HISTORIES = 12000, TRIES = 4000 };

static unsigned long long passes, loads, moves, broken_off, played;

static void count(const struct log *log)
{
    bool is_loading[LOG_MODELS] = { false };

    played++;
    for (size_t k = 0; k < log->count; k++) {
        const struct log_entry *e = &log->entries[k];

        passes += e->kind == LOG_PASS;
        loads += e->kind == LOG_LOAD;
        moves += e->kind == LOG_DISPLACE;
        broken_off += e->kind == LOG_DISPLACE && is_loading[e->model];
        if (e->kind == LOG_LOAD || e->kind == LOG_READY || e->kind == LOG_FAILED ||
            e->kind == LOG_ENDED) {
            is_loading[e->model] = e->kind == LOG_LOAD;
        }
    }
}

static void run_history(uint64_t seed)
{
    struct log log;
    char text[256];

    policy_world_play(seed, 0, &log);
    if (!policy_check(&log, text, sizeof(text))) {
        printf("SEED=%llu HISTORIES=1: %s\n", (unsigned long long)seed, text);
        fail();
    }
    count(&log);
    log_finish(&log);
}

static void rules_are_kept_in_random_histories(void **state)
{
    run_histories("policy", HISTORIES, run_history);
    printf("%llu histories: %llu passes, %llu loads, %llu moved aside, %llu of them while they "
           "loaded\n",
           played, passes, loads, moves, broken_off);
    if (played > 100) {
        assert_true(loads > played && moves > played / 4 && broken_off > played / 100);
    }
}

static bool is_caught(int fault, uint64_t seed)
{
    struct log log;
    char text[256];
    bool kept;

    policy_world_play(seed, fault, &log);
    kept = policy_check(&log, text, sizeof(text));
    if (!kept) {
        printf("  %s: %s\n", policy_fault_name(fault), text);
    }
    log_finish(&log);
    return !kept;
}

static void every_seeded_fault_is_caught(void **state)
{
    uint64_t seed = test_seed("faults");

    for (int fault = 1; fault <= FAULTS; fault++) {
        unsigned tries = 1;

        while (tries <= TRIES && !is_caught(fault, seed + tries)) {
            tries++;
        }
        printf("fault %d, %s: %s after %u histories\n", fault, policy_fault_name(fault),
               tries <= TRIES ? "caught" : "NOT CAUGHT", tries);
        assert_true(tries <= TRIES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(rules_are_kept_in_random_histories, tell_seed),
        cmocka_unit_test(every_seeded_fault_is_caught),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
