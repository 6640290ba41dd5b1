// SPDX-License-Identifier: Apache-2.0
/* AMD's devices from made-up trees of sysfs, whole, broken and random. */
#include "rig.h"

#include <string.h>

static void add_card(unsigned number, const char *bus)
{
    char text[128];

    snprintf(text, sizeof(text), "DRIVER=amdgpu\nPCI_SLOT_NAME=0000:%s:00.0\nMODALIAS=x\n", bus);
    rig_write("0x1002\n", "sys/class/drm/card%u/device/vendor", number);
    rig_write("0x74a1\n", "sys/class/drm/card%u/device/device", number);
    rig_write(text, "sys/class/drm/card%u/device/uevent", number);
    rig_write("1073741824\n", "sys/class/drm/card%u/device/mem_info_vram_total", number);
    rig_write("268435456\n", "sys/class/drm/card%u/device/mem_info_vram_used", number);
    rig_write("37\n", "sys/class/drm/card%u/device/gpu_busy_percent", number);
    rig_write("nvme\n", "sys/class/drm/card%u/device/hwmon/hwmon2/name", number);
    rig_write("99000\n", "sys/class/drm/card%u/device/hwmon/hwmon2/temp1_input", number);
    rig_write("amdgpu\n", "sys/class/drm/card%u/device/hwmon/hwmon5/name", number);
    rig_write("54000\n", "sys/class/drm/card%u/device/hwmon/hwmon5/temp1_input", number);
    rig_write("123000000\n", "sys/class/drm/card%u/device/hwmon/hwmon5/power1_average", number);
    rig_write("300000000\n", "sys/class/drm/card%u/device/hwmon/hwmon5/power1_cap", number);
    rig_write("2100000000\n", "sys/class/drm/card%u/device/hwmon/hwmon5/freq1_input", number);
    rig_write("1300000000\n", "sys/class/drm/card%u/device/hwmon/hwmon5/freq2_input", number);
}

static struct gpu_reading look(void)
{
    struct gpu_probe probe = gpu_amd_probe("sys");
    struct gpu_reading r = rig_look(probe);

    probe.driver->destroy(probe.state);
    return r;
}

static void test_a_card_is_told_whole(void **state)
{
    struct gpu_reading r;
    const struct gpu_device *d;

    rig_remove("sys");
    add_card(10, "C3");
    add_card(2, "c1");
    rig_write("0x8086\n", "sys/class/drm/card0/device/vendor");
    rig_write("", "sys/class/drm/card2-DP-1/status");
    rig_write("", "sys/class/drm/renderD128/dev");
    rig_write("Instinct\tMI300X\n", "sys/class/drm/card2/device/product_name");
    rig_write("9a3c5e7f00112233\n", "sys/class/drm/card10/device/unique_id");
    rig_write("6.8.5\n", "sys/module/amdgpu/version");
    r = look();
    assert_int_equal(r.error.code, 0);
    assert_int_equal(r.count, 2);
    d = &r.devices[0];
    assert_int_equal(d->vendor, GPU_AMD);
    assert_string_equal(d->pci, "0000:c1:00.0");
    assert_string_equal(d->id, "0000:c1:00.0");
    assert_string_equal(d->uuid, "");
    assert_string_equal(d->name, "Instinct?MI300X");
    assert_string_equal(d->driver_version, "6.8.5");
    assert_int_equal(d->memory_total_bytes, 1024ull * MIB);
    assert_int_equal(d->memory_used_bytes, 256ull * MIB);
    assert_int_equal((int)d->utilization, 37);
    assert_int_equal((int)d->temperature_c, 54);
    assert_int_equal((int)d->power_w, 123);
    assert_int_equal((int)d->power_limit_w, 300);
    assert_int_equal((int)d->clock_mhz, 2100);
    assert_int_equal((int)d->memory_clock_mhz, 1300);
    d = &r.devices[1];
    assert_string_equal(d->id, "GPU-9a3c5e7f00112233");
    assert_string_equal(d->pci, "0000:c3:00.0");
    assert_string_equal(d->name, "AMD GPU 0x74a1");
    gpu_reading_finish(&r);
}

static void test_newer_cards_tell_their_power_elsewhere(void **state)
{
    struct gpu_reading r;

    rig_remove("sys");
    add_card(0, "c1");
    rig_remove("sys/class/drm/card0/device/hwmon/hwmon5/power1_average");
    rig_write("88000000\n", "sys/class/drm/card0/device/hwmon/hwmon5/power1_input");
    r = look();
    assert_int_equal((int)r.devices[0].power_w, 88);
    gpu_reading_finish(&r);
}

static void test_processes(void **state)
{
    struct gpu_reading r;

    rig_remove("sys");
    add_card(0, "c1");
    add_card(1, "03");
    rig_write("0\n", "sys/class/kfd/kfd/topology/nodes/0/gpu_id");
    rig_write("location_id 0\ndomain 0\n", "sys/class/kfd/kfd/topology/nodes/0/properties");
    rig_write("51234\n", "sys/class/kfd/kfd/topology/nodes/1/gpu_id");
    rig_write("cpu_cores_count 0\nlocation_id 768\ndomain 0\n",
              "sys/class/kfd/kfd/topology/nodes/1/properties");
    rig_write("777\n", "sys/class/kfd/kfd/topology/nodes/2/gpu_id");
    rig_write("location_id 49408\ndomain 0\n", "sys/class/kfd/kfd/topology/nodes/2/properties");
    rig_write("1048576\n", "sys/class/kfd/kfd/proc/4001/vram_777");
    rig_write("0\n", "sys/class/kfd/kfd/proc/4001/vram_51234");
    rig_write("4194304\n", "sys/class/kfd/kfd/proc/4002/vram_777");
    r = look();
    assert_int_equal(r.count, 2);
    assert_int_equal(r.devices[0].process_count, 2);
    assert_int_equal(r.devices[0].processes[0].pid, 4002);
    assert_int_equal(r.devices[0].processes[0].memory_bytes, 4 * MIB);
    assert_true(r.devices[0].processes[0].memory_known);
    assert_int_equal(r.devices[1].process_count, 0);
    gpu_reading_finish(&r);
}

static void test_what_cannot_be_read_is_not_told(void **state)
{
    struct gpu_reading r;

    rig_remove("sys");
    add_card(0, "c1");
    add_card(1, "c2");
    rig_remove("sys/class/drm/card0/device/hwmon");
    rig_remove("sys/class/drm/card0/device/uevent");
    rig_write("-5\n", "sys/class/drm/card0/device/gpu_busy_percent");
    rig_remove("sys/class/drm/card1/device/mem_info_vram_total");
    r = look();
    assert_int_equal(r.count, 1);
    assert_string_equal(r.devices[0].id, "amd-card0");
    assert_true(r.devices[0].utilization == GPU_NOT_TOLD);
    assert_true(r.devices[0].temperature_c == GPU_NOT_TOLD);
    gpu_reading_finish(&r);
    rig_remove("sys");
    r = look();
    assert_int_equal(r.count, 0);
    assert_int_equal(r.error.code, 0);
    gpu_reading_finish(&r);
}

static const char *const files[] = {
    "class/drm/card0/device/vendor",
    "class/drm/card0/device/uevent",
    "class/drm/card0/device/mem_info_vram_total",
    "class/drm/card0/device/mem_info_vram_used",
    "class/drm/card0/device/gpu_busy_percent",
    "class/drm/card0/device/product_name",
    "class/drm/card0/device/unique_id",
    "class/drm/card0/device/hwmon/hwmon5/temp1_input",
    "class/drm/card0/device/hwmon/hwmon5/power1_average",
    "class/kfd/kfd/topology/nodes/1/gpu_id",
    "class/kfd/kfd/topology/nodes/1/properties",
    "class/kfd/kfd/proc/4001/vram_777",
    "module/amdgpu/version",
};

static uint64_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 33;
}

static void write_random(uint64_t *seed, const char *path)
{
    static const char letters[] = "0123456789abcxPCI_SLOT_NAME= :.-\n\t\xff\x01";
    char text[6000];
    size_t n = next_random(seed) % (next_random(seed) % 8 ? 40 : sizeof(text));

    for (size_t i = 0; i < n; i++) {
        text[i] = letters[next_random(seed) % (sizeof(letters) - 1)];
    }
    text[n] = '\0';
    rig_write(text, "sys/%s", path);
}

static void check_sane(const struct gpu_device *d)
{
    assert_true(d->id[0]);
    assert_true(d->memory_total_bytes > 0);
    assert_true(d->memory_used_bytes + d->memory_free_bytes == d->memory_total_bytes);
    assert_true(d->utilization == GPU_NOT_TOLD || (d->utilization >= 0 && d->utilization <= 100));
    for (const char *p = d->name; *p; p++) {
        assert_true(*p >= 0x20 && *p < 0x7f);
    }
}

static void test_random_texts(void **state)
{
    uint64_t seed = test_seed("amd");

    for (int round = 0; round < 300; round++) {
        struct gpu_reading r;

        if (round % 4 == 0) {
            rig_remove("sys");
            add_card(0, "c1");
        }
        for (int i = 0; i < 3; i++) {
            write_random(&seed, files[next_random(&seed) % ARRAY_SIZE(files)]);
        }
        r = look();
        for (size_t i = 0; i < r.count; i++) {
            check_sane(&r.devices[i]);
        }
        gpu_reading_finish(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_card_is_told_whole),
        cmocka_unit_test(test_newer_cards_tell_their_power_elsewhere),
        cmocka_unit_test(test_processes),
        cmocka_unit_test(test_what_cannot_be_read_is_not_told),
        cmocka_unit_test(test_random_texts),
    };

    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
