// SPDX-License-Identifier: Apache-2.0
/* The simulated world: time jumps, the same seed gives the same run, children are scripts. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/sim.h"

struct trace {
    struct world *w;
    struct timer timer;
    char text[400];
    struct process_exit how;
    bool ended;
    int signals;
};

static void on_tick(void *arg)
{
    struct trace *t = arg;
    char word[32];

    snprintf(word, sizeof(word), "%llu ", (unsigned long long)(world_now_ms(t->w) % 1000000));
    strncat(t->text, word, sizeof(t->text) - strlen(t->text) - 1);
    timer_start(&t->timer, 1 + world_random_below(t->w, 1000000));
}

static void same_seed_same_run(void **state)
{
    struct trace a = { .w = sim_create(42) }, b = { .w = sim_create(42) },
                 c = { .w = sim_create(43) };
    struct trace *all[] = { &a, &b, &c };

    for (int i = 0; i < 3; i++) {
        timer_init(&all[i]->timer, all[i]->w, "tick", on_tick, all[i]);
        timer_start(&all[i]->timer, 5);
        sim_run_for(all[i]->w, 20 * 1000 * 1000);
        timer_stop(&all[i]->timer);
    }
    assert_string_equal(a.text, b.text);
    assert_string_not_equal(a.text, c.text);
    assert_true(strlen(a.text) > 100);
    for (int i = 0; i < 3; i++) {
        world_destroy(all[i]->w);
    }
}

static int start_child(struct sim_process *p, const struct spawn_spec *spec)
{
    p->user = sim_process_context(p);
    return strcmp(spec->argv[1], "refuse") == 0 ? -EACCES : 0;
}

static void on_child_signal(struct sim_process *p, int signum)
{
    struct trace *t = p->user;

    if (++t->signals == 2) {
        sim_process_exit(p, 3, 0);
    }
}

static const struct sim_program stubborn = { .start = start_child, .on_signal = on_child_signal };

static void on_ended(void *owner, const struct process_exit *how)
{
    struct trace *t = owner;

    t->how = *how;
    t->ended = true;
}

static struct process *spawn(struct trace *t, const char *arg, int expect)
{
    const char *argv[] = { "/bin/engine", arg, NULL }, *envp[] = { "MARK=me", NULL };
    struct spawn_spec spec = { argv, envp };
    struct process *p = NULL;
    struct error e = { 0 };

    assert_int_equal(process_spawn(t->w, &spec, on_ended, t, &p, &e), expect);
    return p;
}

static void on_found(void *arg, struct process_id id, const char *value)
{
    assert_string_equal(value, "me");
    *(struct process_id *)arg = id;
}

static void children_follow_their_script(void **state)
{
    struct trace t = { .w = sim_create(1) };
    struct process_id id = { 0 };
    struct process *p, *again = NULL;
    struct error e = { 0 };

    assert_null(spawn(&t, "x", -ENOENT));
    sim_set_program(t.w, "/engine", &stubborn, &t);
    assert_null(spawn(&t, "refuse", -EACCES));
    p = spawn(&t, "x", 0);
    assert_int_equal(sim_live_processes(t.w), 1);
    assert_int_equal(process_scan(t.w, "MARK", on_found, &id), 0);
    assert_int_equal(id.pid, process_id(p).pid);
    assert_int_equal(process_signal(p, 15), 0);
    sim_run_for(t.w, 10);
    assert_false(t.ended);

    process_destroy(p);
    assert_int_equal(sim_live_processes(t.w), 1);
    assert_int_equal(process_adopt(t.w, id, on_ended, &t, &again, &e), 0);
    assert_int_equal(process_signal(again, 15), 0);
    assert_false(t.ended);
    sim_run_for(t.w, 1);
    assert_true(t.ended);
    assert_false(t.how.known);
    assert_int_equal(process_signal(again, 9), -ESRCH);
    assert_int_equal(sim_live_processes(t.w), 0);
    process_destroy(again);
    world_destroy(t.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_run),
        cmocka_unit_test(children_follow_their_script),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
