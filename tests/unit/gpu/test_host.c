// SPDX-License-Identifier: Apache-2.0
/* The host from a made-up /proc: its figures, and the memory that control groups leave it. */
#include "rig.h"

#include <string.h>

#define MEMINFO                                                                                    \
    "MemTotal:        8388608 kB\nMemFree:          100000 kB\nMemAvailable:    6291456 kB\n"

static void write_proc(void)
{
    rig_remove("proc");
    rig_remove("cg");
    rig_write(MEMINFO, "proc/meminfo");
    rig_write("processor\t: 0\nmodel name\t: Test CPU 9000\nprocessor\t: 1\n", "proc/cpuinfo");
    rig_write("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 1 1 1\ncpu1 1 1 1 1\nintr 5\n",
              "proc/stat");
    rig_write("0.52 1.25 2.50 3/400 12345\n", "proc/loadavg");
    rig_write("Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n"
              "    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
              "  eth0: 1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0\n"
              "  eth1:10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n",
              "proc/net/dev");
    rig_write("0::/\n", "proc/self/cgroup");
}

static struct gpu_reading look_once(void)
{
    struct gpu_probe probe = gpu_host_probe("proc", "cg", ".");
    struct gpu_reading r = rig_look(probe);

    probe.driver->destroy(probe.state);
    return r;
}

static void test_the_host_is_told_whole(void **state)
{
    struct gpu_reading r;

    write_proc();
    rig_write("Name:\tbig\nRssAnon:\t  204800 kB\nRssFile:\t 900000 kB\nRssShmem:\t   1024 kB\n",
              "proc/42/status");
    rig_write("Name:\tsmall\nRssAnon:\t  1000 kB\n", "proc/43/status");
    rig_write("Name:\tno\nRssAnon:\t  999999 kB\n", "proc/4x/status");
    r = look_once();
    assert_int_equal(r.error.code, 0);
    assert_true(r.has_host);
    assert_string_equal(r.host.name, "Test CPU 9000");
    assert_int_equal(r.host.cores, 2);
    assert_true(r.host.cpu_percent == GPU_NOT_TOLD); /* one look has no time between */
    assert_int_equal(r.host.memory_total_bytes, 8192ull * MIB);
    assert_int_equal(r.host.memory_used_bytes, 2048ull * MIB);
    assert_int_equal(r.host.network_received_bytes, 1010);
    assert_int_equal(r.host.network_sent_bytes, 2020);
    assert_true(r.host.load_average[0] == 0.52 && r.host.load_average[2] == 2.5);
    assert_true(r.host.disk_total_bytes > r.host.disk_used_bytes);
    assert_int_equal(r.count, 1);
    assert_true(r.devices[0].cpu);
    assert_string_equal(r.devices[0].id, "cpu");
    assert_int_equal(r.devices[0].memory_free_bytes, 6144ull * MIB);
    assert_int_equal(r.devices[0].process_count, 1);
    assert_int_equal(r.devices[0].processes[0].pid, 42);
    assert_int_equal(r.devices[0].processes[0].memory_bytes, 201ull * MIB);
    gpu_reading_finish(&r);
}

static void test_how_busy_it_was_since_the_last_look(void **state)
{
    struct gpu_probe probe;
    struct gpu_reading r;

    write_proc();
    probe = gpu_host_probe("proc", "cg", ".");
    r = rig_look(probe);
    gpu_reading_finish(&r);
    rig_write("cpu  120 0 110 760 110 0 0 0 0 0\ncpu0 1 1 1 1\n", "proc/stat");
    r = rig_look(probe); /* of 100 ticks 30 were busy */
    assert_int_equal((int)(r.host.cpu_percent + 0.5), 30);
    assert_true(r.devices[0].utilization == r.host.cpu_percent);
    gpu_reading_finish(&r);
    r = rig_look(probe); /* no time went by */
    assert_true(r.host.cpu_percent == GPU_NOT_TOLD);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void expect_left(uint64_t total_mib, uint64_t free_mib)
{
    struct gpu_reading r = look_once();

    assert_int_equal(r.count, 1);
    assert_int_equal(r.devices[0].memory_total_bytes / MIB, total_mib);
    assert_int_equal(r.devices[0].memory_free_bytes / MIB, free_mib);
    gpu_reading_finish(&r);
}

static void test_control_groups_of_the_second_kind(void **state)
{
    write_proc();
    rig_write("0::/a/b\n", "proc/self/cgroup");
    rig_write("max\n", "cg/a/b/memory.max");
    rig_write("1\n", "cg/a/b/memory.current");
    expect_left(8192, 6144);
    rig_write("4294967296\n", "cg/a/memory.max"); /* the limit of a group above counts */
    rig_write("1073741824\n", "cg/a/memory.current");
    rig_write("anon 5\ninactive_file 536870912\nactive_file 7\n", "cg/a/memory.stat");
    expect_left(4096, 3584);
    rig_write("2147483648\n", "cg/a/b/memory.max");
    rig_write("2147483648\n", "cg/a/b/memory.current");
    expect_left(2048, 0);
    rig_write("99999999999999\n", "cg/a/b/memory.max"); /* more than there is */
    expect_left(4096, 3584);
}

static void test_control_groups_of_the_first_kind(void **state)
{
    write_proc();
    rig_write("9:name=systemd:/\n4:cpu,memory:/box\n0::/\n", "proc/self/cgroup");
    rig_write("9223372036854771712\n", "cg/memory/memory.limit_in_bytes");
    rig_write("1\n", "cg/memory/memory.usage_in_bytes");
    expect_left(8192, 6144);
    rig_write("1073741824\n", "cg/memory/box/memory.limit_in_bytes");
    rig_write("805306368\n", "cg/memory/box/memory.usage_in_bytes");
    rig_write("total_inactive_file 268435456\n", "cg/memory/box/memory.stat");
    expect_left(1024, 512);
}

static void test_a_container_sees_its_own_tree(void **state)
{
    write_proc();
    rig_write("0::/docker/abc\n", "proc/self/cgroup"); /* a path that is not there inside */
    rig_write("1073741824\n", "cg/memory.max");
    rig_write("0\n", "cg/memory.current");
    expect_left(1024, 1024);
}

static void test_without_meminfo_nothing_is_said(void **state)
{
    struct gpu_reading r;

    write_proc();
    rig_remove("proc/meminfo");
    r = look_once();
    assert_int_equal(r.count, 0);
    assert_false(r.has_host);
    assert_int_equal(r.error.code, -ENOENT);
    gpu_reading_finish(&r);
    rig_write("MemTotal: lots\n", "proc/meminfo");
    r = look_once();
    assert_int_equal(r.error.code, -EBADMSG);
    gpu_reading_finish(&r);
}

static void test_this_machine(void **state)
{
    struct gpu_probe probe = gpu_host_probe("/proc", "/sys/fs/cgroup", "/");
    struct gpu_reading r = rig_look(probe);

    assert_int_equal(r.error.code, 0);
    assert_true(r.host.cores >= 1);
    assert_true(r.host.memory_total_bytes > 64 * MIB);
    assert_true(r.host.memory_used_bytes > 0);
    assert_true(r.host.memory_used_bytes < r.host.memory_total_bytes);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static const char *const files[] = { "meminfo", "cpuinfo",   "stat",       "loadavg",
                                     "net/dev", "42/status", "self/cgroup" };

static void test_random_texts(void **state)
{
    static const char *const pieces[] = { "MemTotal:",
                                          "MemAvailable: ",
                                          "cpu ",
                                          "cpu0",
                                          "\n",
                                          "4:memory:/",
                                          "0::",
                                          "/../",
                                          "18446744073709551615",
                                          "99999999999999999999 ",
                                          "-1",
                                          " kB",
                                          ":",
                                          "7 ",
                                          "eth0:",
                                          "RssAnon: ",
                                          "\xff",
                                          "model name",
                                          "1.5 " };
    uint64_t seed = test_seed("host");

    for (int round = 0; round < 300; round++) {
        char text[2000] = "";
        struct gpu_reading r;

        if (round % 8 == 0) {
            write_proc();
        }
        for (int i = 0; i < 60; i++) {
            seed = seed * 6364136223846793005ull + 1442695040888963407ull;
            strcat(text, pieces[(seed >> 33) % ARRAY_SIZE(pieces)]);
        }
        rig_write(text, "proc/%s", files[(seed >> 40) % ARRAY_SIZE(files)]);
        r = look_once();
        if (r.count > 0) {
            assert_true(r.devices[0].memory_used_bytes + r.devices[0].memory_free_bytes ==
                        r.devices[0].memory_total_bytes);
            assert_true(r.host.memory_used_bytes <= r.host.memory_total_bytes);
        }
        gpu_reading_finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_host_is_told_whole),
        cmocka_unit_test(test_how_busy_it_was_since_the_last_look),
        cmocka_unit_test(test_control_groups_of_the_second_kind),
        cmocka_unit_test(test_control_groups_of_the_first_kind),
        cmocka_unit_test(test_a_container_sees_its_own_tree),
        cmocka_unit_test(test_without_meminfo_nothing_is_said),
        cmocka_unit_test(test_this_machine),
        cmocka_unit_test(test_random_texts),
    };

    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
