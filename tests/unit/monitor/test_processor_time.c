// SPDX-License-Identifier: Apache-2.0
/* Processor time, out of a /proc made by the test, and of the real one. */
#include "monitor/processor_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_process(const char *proc, int pid, const char *name, const char *ticks,
                         const char *children)
{
    char path[256], text[512];

    snprintf(path, sizeof(path), "%s/%d", proc, pid);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/%d/stat", proc, pid);
    snprintf(text, sizeof(text), "%d (%s) S 1 2 3 4 5 6 7 8 9 10 %s 20 0 1 0 777 99 99\n", pid,
             name, ticks);
    write_file(path, text);
    snprintf(path, sizeof(path), "%s/%d/task", proc, pid);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/%d/task/%d", proc, pid, pid);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/%d/task/%d/children", proc, pid, pid);
    write_file(path, children);
}

static void test_tree(void **state)
{
    char proc[] = "/tmp/berth-proc-XXXXXX", command[64];

    assert_non_null(mkdtemp(proc));
    make_process(proc, 10, "a) b (c", "1 2 4 8", "11 12 ");
    make_process(proc, 11, "worker", "16 32 0 0", "");
    make_process(proc, 12, "worker", "64 0 0 0", "13 ");
    make_process(proc, 13, "worker", "128 0 0 0", "10 "); /* a circle ends as well */
    assert_true(processor_time_ticks(proc, (struct process_id){ 10, 777 }) >= 15 + 48 + 64 + 128);
    make_process(proc, 13, "worker", "128 0 0 0", "");
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 10, 777 }),
                     15 + 48 + 64 + 128);
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 11, 777 }), 48);
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 11, 776 }), 0); /* another's */
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 14, 777 }), 0);
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 0, 0 }), 0);
    snprintf(command, sizeof(command), "%s/11/stat", proc);
    write_file(command, "11 (cut) S 1 2 3");
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 11, 777 }), 0);
    write_file(command, "");
    assert_int_equal(processor_time_ticks(proc, (struct process_id){ 11, 777 }), 0);
    snprintf(command, sizeof(command), "rm -r %s", proc);
    assert_int_equal(system(command), 0);
}

/* What this very process has burnt is seen. */
static void test_real(void **state)
{
    char text[4096], *field;
    FILE *f = fopen("/proc/self/stat", "re");
    struct process_id self = { getpid(), 0 };
    uint64_t before, now;

    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    field = strrchr(text, ')');
    for (int n = 3; n <= 22; n++) {
        field = strchr(field + 1, ' ');
    }
    self.start_time = strtoull(field, NULL, 10);
    before = processor_time_ticks("/proc", self);
    do {
        now = processor_time_ticks("/proc", self);
    } while (now < before + 2);
    assert_int_equal(processor_time_ticks("/proc", (struct process_id){ getpid(), 1 }), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_tree), cmocka_unit_test(test_real) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
