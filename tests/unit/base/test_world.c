// SPDX-License-Identifier: Apache-2.0
/* Timers, posted calls and signals of the real world. */
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/world.h"

struct trace {
    struct world *w;
    char text[64];
    struct timer a, b, stopped;
};

static void note(struct trace *t, const char *word)
{
    strncat(t->text, word, sizeof(t->text) - strlen(t->text) - 1);
}

static void on_a(void *arg)
{
    note(arg, "a");
}

static void on_b(void *arg)
{
    struct trace *t = arg;

    note(t, "b");
    world_stop(t->w);
}

static void on_never(void *arg)
{
    note(arg, "X");
}

static void on_posted(void *arg)
{
    note(arg, "p");
}

static void timers_and_posts_run_in_order(void **state)
{
    struct trace t = { .w = world_create() };

    timer_init(&t.a, t.w, "a", on_a, &t);
    timer_init(&t.b, t.w, "b", on_b, &t);
    timer_init(&t.stopped, t.w, "stopped", on_never, &t);
    timer_start(&t.b, 30);
    timer_start(&t.a, 10);
    timer_start(&t.stopped, 5);
    timer_stop(&t.stopped);
    timer_stop(&t.stopped);
    world_post(t.w, on_posted, &t);
    world_post(t.w, on_posted, &t);
    world_run(t.w);
    assert_string_equal(t.text, "ppab");
    assert_false(timer_active(&t.a));
    world_destroy(t.w);
}

static void on_usr1(void *arg, int signum)
{
    struct trace *t = arg;

    note(t, signum == SIGUSR1 ? "s" : "?");
    world_stop(t->w);
}

static void raise_it(void *arg)
{
    kill(getpid(), SIGUSR1);
}

static void signals_come_on_the_loop(void **state)
{
    struct trace t = { .w = world_create() };

    world_on_signal(t.w, SIGUSR1, on_usr1, &t);
    world_post(t.w, raise_it, &t);
    world_run(t.w);
    assert_string_equal(t.text, "s");
    world_destroy(t.w);
}

static void uuids_differ_and_are_well_formed(void **state)
{
    struct world *w = world_create();
    char a[UUID_SIZE], b[UUID_SIZE];

    world_uuid(w, a);
    world_uuid(w, b);
    assert_int_equal(strlen(a), 36);
    assert_int_equal(a[14], '4');
    assert_string_not_equal(a, b);
    for (int i = 0; i < 1000; i++) {
        assert_true(world_random_below(w, 7) < 7);
    }
    world_destroy(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_and_posts_run_in_order),
        cmocka_unit_test(signals_come_on_the_loop),
        cmocka_unit_test(uuids_differ_and_are_well_formed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
