// SPDX-License-Identifier: Apache-2.0
/* Real children: exits, signals, adoption, and finding marked processes. The children are this
 * program itself. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "base/stream.h"

struct watch {
    struct world *w;
    struct process_exit how;
    bool ended;
    struct process_id found;
    int found_count;
    const char *expect;
};

static const char *self;

static void on_exit_of(void *owner, const struct process_exit *how)
{
    struct watch *watch = owner;

    watch->how = *how;
    watch->ended = true;
    world_stop(watch->w);
}

static struct process *spawn_self(struct watch *watch, const char *what, const char *mark)
{
    const char *argv[] = { self, what, NULL };
    char env[128];
    const char *envp[] = { "PATH=/bin", env, NULL };
    struct spawn_spec spec = { argv, envp };
    struct error e = { 0 };
    struct process *p = NULL;

    snprintf(env, sizeof(env), "BERTH_TEST=%s", mark);
    assert_int_equal(process_spawn(watch->w, &spec, on_exit_of, watch, &p, &e), 0);
    return p;
}

static void exit_code_is_told(void **state)
{
    struct watch watch = { .w = world_create() };
    struct process *p = spawn_self(&watch, "exit7", "x");

    world_run(watch.w);
    assert_true(watch.how.known);
    assert_int_equal(watch.how.code, 7);
    assert_int_equal(watch.how.signal, 0);
    assert_int_equal(process_signal(p, SIGTERM), -ESRCH);
    process_destroy(p);
    world_destroy(watch.w);
}

static void signal_is_told(void **state)
{
    struct watch watch = { .w = world_create() };
    struct process *p = spawn_self(&watch, "sleep", "x");

    assert_int_equal(process_signal(p, SIGKILL), 0);
    world_run(watch.w);
    assert_int_equal(watch.how.signal, SIGKILL);
    process_destroy(p);
    world_destroy(watch.w);
}

static void a_missing_file_is_said(void **state)
{
    struct watch watch = { .w = world_create() };
    const char *argv[] = { "/nonexistent/engine", NULL }, *envp[] = { NULL };
    struct spawn_spec spec = { argv, envp };
    struct process *p = NULL;
    struct error e = { 0 };

    assert_int_equal(process_spawn(watch.w, &spec, on_exit_of, &watch, &p, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/engine"));
    assert_null(p);
    world_destroy(watch.w);
}

static void on_found(void *arg, struct process_id id, const char *value)
{
    struct watch *watch = arg;

    if (strcmp(value, watch->expect) == 0) {
        watch->found = id;
        watch->found_count++;
    }
}

/* What a restarted berth does: it finds the marked process of its forerunner, watches it, and sees
 * it end. */
static void a_marked_process_is_found_and_adopted(void **state)
{
    struct watch first = { .w = world_create() };
    char mark[64];
    struct process *own, *adopted = NULL;
    struct watch second = { .w = world_create(), .expect = mark };
    struct process_id other;
    struct error e = { 0 };

    snprintf(mark, sizeof(mark), "test-%d-%d", (int)getpid(), rand());
    own = spawn_self(&first, "sleep", mark);
    /* Between fork and exec the child still shows our environment. */
    for (int i = 0; i < 200 && second.found_count == 0; i++) {
        assert_int_equal(process_scan(second.w, "BERTH_TEST", on_found, &second), 0);
        usleep(second.found_count ? 0 : 5000);
    }
    assert_int_equal(second.found_count, 1);
    assert_int_equal(second.found.pid, process_id(own).pid);
    assert_true(second.found.start_time == process_id(own).start_time);

    other = second.found;
    other.start_time++;
    assert_int_equal(process_adopt(second.w, other, on_exit_of, &second, &adopted, &e), -ESRCH);
    assert_int_equal(process_kill(second.w, other, SIGKILL), -ESRCH);
    assert_int_equal(process_adopt(second.w, second.found, on_exit_of, &second, &adopted, &e), 0);
    assert_int_equal(process_kill(second.w, second.found, SIGKILL), 0);
    world_run(second.w);
    assert_true(second.ended);
    assert_false(second.how.known);
    world_run(first.w);
    assert_int_equal(first.how.signal, SIGKILL);
    second.found_count = 0;
    assert_int_equal(process_scan(second.w, "BERTH_TEST", on_found, &second), 0);
    assert_int_equal(second.found_count, 0);
    process_destroy(own);
    process_destroy(adopted);
    world_destroy(first.w);
    world_destroy(second.w);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_code_is_told),
        cmocka_unit_test(signal_is_told),
        cmocka_unit_test(a_missing_file_is_said),
        cmocka_unit_test(a_marked_process_is_found_and_adopted),
    };

    if (argc > 1 && strcmp(argv[1], "exit7") == 0) {
        return 7;
    }
    if (argc > 1) {
        sleep(60);
        return 0;
    }
    self = realpath("/proc/self/exe", NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
