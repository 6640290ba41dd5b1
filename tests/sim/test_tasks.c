// SPDX-License-Identifier: Apache-2.0
/*
 * kill -9 at random moments, on a disk that loses what was not synced, under submits, claims,
 * completions, time-outs, cancels, retries, moves, removals and erasures at once: what was
 * acknowledged is there exactly once, nothing runs twice at one fence, nothing is stuck, the
 * counters are true.
 */
#include "histories.h"
#include "tasks_scene.h"

enum { HISTORIES = 45, DEATHS = 200 /* the other lives end in good order */ };

static struct {
    unsigned long long deaths, acknowledged, runs, cancels, adoptions, duplicates, taken, erasures;
} totals;

static bool is_cut(void *arg)
{
    return crash_disk_is_cut(((struct scene *)arg)->disk);
}

static uint64_t below(struct scene *s, uint64_t n)
{
    return world_random_below(s->world, n);
}

/* Until the lights go out, or for a while. */
static void live(struct scene *s, uint64_t beats)
{
    while (beats-- > 0 && !is_cut(s)) {
        uint64_t pause = below(s, 12) == 0 ? below(s, 8000) : below(s, 30);

        for (uint64_t n = 1 + below(s, 4); n > 0; n--) {
            client_act(s);
        }
        sim_run_until(s->world, is_cut, s, pause);
    }
}

static bool has_ended(void *arg)
{
    struct scene *s = arg;
    struct task_counts c = tasks_counts(s->tasks, &(struct task_filter){ .kind = -1 });

    return s->in_flight == 0 && c.by_state[TASK_PENDING] == 0 && c.by_state[TASK_RUNNING] == 0;
}

static void calm_down(struct scene *s)
{
    s->calm = true;
    for (unsigned i = 0; i < MODELS; i++) {
        house_set_online(s, i, true);
    }
    sim_run_until(s->world, has_ended, s, 30 * 60 * 1000);
    sim_run_for(s->world, 1000); /* what ends now may still have its places to give back */
    judge_at_end(s);
}

static void run_history(uint64_t seed)
{
    static const uint64_t scales[] = { 30, 200, 1000, 4000 };
    struct scene *s = house_create(seed);

    for (unsigned i = 0; i < LIVES; i++) {
        house_begin(s);
        crash_disk_cut_after(s->disk, 1 + below(s, scales[below(s, ARRAY_SIZE(scales))]));
        live(s, 20 + below(s, 150));
        if (!is_cut(s) && below(s, 3) == 0) {
            crash_disk_cut_after(s->disk, 0);
            house_stop(s);
        } else {
            house_kill(s);
            totals.deaths++;
        }
    }
    house_begin(s);
    live(s, 20);
    calm_down(s);
    totals.acknowledged += s->acknowledged;
    totals.runs += s->runs;
    totals.cancels += s->cancels;
    totals.adoptions += s->adoptions;
    totals.duplicates += s->duplicates;
    totals.taken += s->taken;
    totals.erasures += s->erasures;
    house_destroy(s);
}

static void test_kill(void **state)
{
    run_histories("tasks", HISTORIES, run_history);
    printf("%llu deaths, %llu tasks acknowledged and found, %llu runs, %llu let go of, %llu "
           "adopted, %llu sent twice, %llu taken by another berth, %llu erased\n",
           totals.deaths, totals.acknowledged, totals.runs, totals.cancels, totals.adoptions,
           totals.duplicates, totals.taken, totals.erasures);
    if (!getenv("HISTORIES")) {
        assert_true(totals.deaths >= DEATHS && totals.runs > 1000 && totals.cancels > 100);
        assert_true(totals.adoptions > 100 && totals.duplicates > 100 && totals.taken > 10);
        assert_true(totals.erasures > 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(test_kill, tell_seed) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
