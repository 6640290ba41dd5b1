// SPDX-License-Identifier: Apache-2.0
/* Scripts of devices: figures that change with time, holders that live and die, and every mistake
 * named with its line. */
#include "rig.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct gpu_probe open_script(const char *text, const char *proc)
{
    struct gpu_probe probe = { 0 };
    struct error e = { 0 };

    rig_write(text, "script.yaml");
    if (gpu_scripted_probe("script.yaml", proc, &probe, &e) < 0) {
        fail_msg("%s", e.text);
    }
    return probe;
}

static struct gpu_reading look_at(struct gpu_probe probe, uint64_t elapsed_ms)
{
    struct gpu_reading r = { 0 };

    probe.driver->read(probe.state, elapsed_ms, &r);
    return r;
}

static const char timed[] = "repeat: 60s\n"
                            "devices:\n"
                            "  - id: GPU-a\n"
                            "    name: Test 24G\n"
                            "    vendor: amd\n"
                            "    pci: 0000:01:00.0\n"
                            "    driver_version: \"1.2\"\n"
                            "    memory_total: 24GiB\n"
                            "    memory_used: 1GiB\n"
                            "    utilization: 5\n"
                            "    power_limit: 300\n"
                            "    processes: [{pid: 7, memory: 512MiB}, {pid: 8}]\n"
                            "    timeline:\n"
                            "      - {at: 10s, utilization: 95.5, memory_used: 20GiB}\n"
                            "      - {at: 20, temperature: 80, memory_used: 99GiB}\n"
                            "      - {at: 30s, present: false}\n"
                            "      - {at: 40s, present: true, processes: []}\n"
                            "  - memory_total: 1073741824\n";

static void test_figures_follow_the_time(void **state)
{
    struct gpu_probe probe = open_script(timed, "proc");
    struct gpu_reading r = look_at(probe, 0);
    const struct gpu_device *d = &r.devices[0];

    assert_int_equal(r.count, 2);
    assert_string_equal(d->id, "GPU-a");
    assert_int_equal(d->vendor, GPU_AMD);
    assert_string_equal(d->driver_version, "1.2");
    assert_int_equal(d->memory_used_bytes, 1024ull * MIB);
    assert_int_equal(d->memory_total_bytes, 24 * 1024ull * MIB);
    assert_int_equal((int)d->utilization, 5);
    assert_true(d->temperature_c == GPU_NOT_TOLD);
    assert_int_equal(d->process_count, 2);
    assert_false(d->processes[1].memory_known);
    assert_string_equal(r.devices[1].id, "scripted-1");
    assert_int_equal(r.devices[1].vendor, GPU_NVIDIA);
    gpu_reading_finish(&r);

    r = look_at(probe, 9999);
    assert_int_equal((int)r.devices[0].utilization, 5);
    gpu_reading_finish(&r);
    r = look_at(probe, 10000);
    assert_true(r.devices[0].utilization == 95.5);
    assert_int_equal(r.devices[0].memory_used_bytes, 20 * 1024ull * MIB);
    gpu_reading_finish(&r);
    r = look_at(probe, 25000);
    assert_int_equal((int)r.devices[0].temperature_c, 80);
    assert_int_equal(r.devices[0].memory_free_bytes, 0); /* never more than there is */
    gpu_reading_finish(&r);
    r = look_at(probe, 30000);
    assert_int_equal(r.count, 2);
    assert_true(r.devices[0].absent);
    assert_false(r.devices[1].absent);
    gpu_reading_finish(&r);
    r = look_at(probe, 45000);
    assert_false(r.devices[0].absent);
    assert_int_equal(r.devices[0].process_count, 0);
    gpu_reading_finish(&r);
    r = look_at(probe, 60001); /* anew */
    assert_int_equal((int)r.devices[0].utilization, 5);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void test_a_changed_file_is_read_again(void **state)
{
    struct gpu_probe probe = open_script("devices: [{id: a, memory_total: 1GiB}]\n", "proc");
    struct gpu_reading r = look_at(probe, 0);

    assert_int_equal(r.count, 1);
    gpu_reading_finish(&r);
    rig_write("devices: [{id: a, memory_total: 1GiB}, {id: b, memory_total: 2GiB}]\n",
              "script.yaml");
    r = look_at(probe, 1);
    assert_int_equal(r.count, 2);
    gpu_reading_finish(&r);
    for (int i = 0; i < 2; i++) { /* as long as it is wrong */
        rig_write("devices: [{id: a, memory: 1GiB}]\n", "script.yaml");
        r = look_at(probe, 2);
        assert_int_equal(r.count, 2);
        assert_int_equal(r.error.code, -EINVAL);
        gpu_reading_finish(&r);
    }
    rig_remove("script.yaml");
    r = look_at(probe, 3);
    assert_int_equal(r.count, 2);
    assert_int_equal(r.error.code, -ENOENT);
    gpu_reading_finish(&r);
    rig_write("", "script.yaml");
    r = look_at(probe, 4);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.error.code, 0);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void expect_error(const char *text, const char *words)
{
    struct gpu_probe probe = { 0 };
    struct error e = { 0 };

    rig_write(text, "script.yaml");
    assert_true(gpu_scripted_probe("script.yaml", "proc", &probe, &e) < 0);
    if (!strstr(e.text, words)) {
        fail_msg("'%s' does not say '%s'", e.text, words);
    }
}

static void test_mistakes_are_named(void **state)
{
    struct gpu_probe probe;
    struct error e = { 0 };

    rig_remove("script.yaml");
    assert_int_equal(gpu_scripted_probe("script.yaml", "proc", &probe, &e), -ENOENT);
    expect_error("devices: [\n", "script.yaml:");
    expect_error("- 1\n", "script.yaml:1: members");
    expect_error("gpus: []\n", "script.yaml:1: a script of devices has no 'gpus'");
    expect_error("devices:\n  - memory_total: 1GiB\n    heat: 1\n", "script.yaml:3: ");
    expect_error("devices:\n  - memory_total: 1GiB\n    utilization: hot\n",
                 "script.yaml:3: this is no value for 'utilization'");
    expect_error("devices:\n  - memory_total: 1GiB\n    utilization: -1\n", "no value");
    expect_error("devices:\n  - memory_total: 1GiB\n    vendor: acme\n", "no value for 'vendor'");
    expect_error("devices:\n  - memory_total: lots\n", "no value for 'memory_total'");
    expect_error("devices:\n  - id: a\n", "device 'a' has no memory_total");
    expect_error("devices: [{id: a, memory_total: 1}, {id: a, memory_total: 1}]\n",
                 "'a' is not the id of one device");
    expect_error("devices:\n  - memory_total: 1\n    timeline:\n      - {at: soon}\n",
                 "script.yaml:4: this is no value for 'at'");
    expect_error("devices:\n  - memory_total: 1\n    timeline: [7]\n", "members");
    expect_error("devices:\n  - memory_total: 1\n    holders: [{memory: 1, cmd: x}]\n", "'cmd'");
    expect_error("repeat: often\n", "no value for 'repeat'");
}

/* ---- holders ---- */

static const char holders[] =
    "devices:\n"
    "  - {id: GPU-a, memory_total: 10GiB, memory_used: 1GiB,\n"
    "     holders: [{command: model-a, memory: 4GiB, linger: 2s}]}\n"
    "  - {id: GPU-b, memory_total: 10GiB, holders: [{command: model-a, memory: 4GiB}]}\n";

static void write_process(int pid, const char *words, const char *env)
{
    char path[64];
    FILE *f;

    rig_write("", "proc/%d/cmdline", pid);
    snprintf(path, sizeof(path), "proc/%d/cmdline", pid);
    f = fopen(path, "w");
    fwrite(words, 1, strlen(words) + 1, f);
    fwrite("--alias\0last", 1, 13, f);
    fclose(f);
    snprintf(path, sizeof(path), "proc/%d/environ", pid);
    f = fopen(path, "w");
    fwrite("HOME=/\0", 1, 7, f);
    fwrite(env, 1, strlen(env) + 1, f);
    fclose(f);
}

static void expect_used(struct gpu_probe probe, uint64_t at_ms, uint64_t a_gib, uint64_t b_gib)
{
    struct gpu_reading r = look_at(probe, at_ms);

    assert_int_equal(r.count, 2);
    assert_int_equal(r.devices[0].memory_used_bytes >> 30, a_gib);
    assert_int_equal(r.devices[1].memory_used_bytes >> 30, b_gib);
    gpu_reading_finish(&r);
}

static void test_holders_use_memory_while_they_live(void **state)
{
    struct gpu_probe probe = open_script(holders, "proc");
    struct gpu_reading r;

    rig_remove("proc");
    write_process(50, "engine model-b", "X=1");
    expect_used(probe, 0, 1, 0);
    write_process(51, "engine model-a", "CUDA_VISIBLE_DEVICES=0");
    expect_used(probe, 1000, 5, 0);
    r = look_at(probe, 1000);
    assert_int_equal(r.devices[0].process_count, 1);
    assert_int_equal(r.devices[0].processes[0].pid, 51);
    assert_int_equal(r.devices[0].processes[0].memory_bytes >> 30, 4);
    gpu_reading_finish(&r);
    write_process(52, "engine model-a", "CUDA_VISIBLE_DEVICES=GPU-b");
    expect_used(probe, 2000, 5, 4);
    write_process(53, "engine model-a", "NOTHING=1"); /* free to use all of them */
    expect_used(probe, 3000, 9, 8);
    rig_remove("proc/51");
    rig_remove("proc/52");
    rig_remove("proc/53");
    expect_used(probe, 4900, 9, 0); /* the first one frees late */
    expect_used(probe, 5000, 1, 0);
    probe.driver->destroy(probe.state);
}

static void test_a_real_process_holds(void **state)
{
    struct gpu_probe probe = open_script("devices: [{memory_total: 10GiB, holders: "
                                         "[{command: berth-test-4711, memory: 3GiB}]}]\n",
                                         "/proc");
    struct gpu_reading r;
    int ready[2], hold[2]; /* it waits for a byte that never comes */
    char byte;
    pid_t pid;

    assert_int_equal(pipe(ready), 0);
    assert_int_equal(pipe(hold), 0);
    pid = fork();
    if (pid == 0) {
        dup2(hold[0], 0);
        dup2(ready[1], 1);
        execl("/bin/sh", "sh", "-c", "echo; read x; : berth-test-4711", NULL);
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    r = look_at(probe, 0);
    assert_int_equal(r.devices[0].memory_used_bytes >> 30, 3);
    assert_int_equal(r.devices[0].processes[0].pid, pid);
    gpu_reading_finish(&r);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    r = look_at(probe, 1);
    assert_int_equal(r.devices[0].memory_used_bytes, 0);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
    close(ready[0]);
    close(ready[1]);
    close(hold[0]);
    close(hold[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_figures_follow_the_time),
        cmocka_unit_test(test_a_changed_file_is_read_again),
        cmocka_unit_test(test_mistakes_are_named),
        cmocka_unit_test(test_holders_use_memory_while_they_live),
        cmocka_unit_test(test_a_real_process_holds),
    };

    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
