// SPDX-License-Identifier: Apache-2.0
/* NVML through a stand-in library: what is told of cards and parts of cards, and what is made of
 * every way to fail. */
#include "rig.h"

#include <string.h>

#include "gpu/gpu_nvml.h"

static struct stub_card card(const char *uuid, unsigned bus)
{
    return (struct stub_card){
        .self = { .uuid = uuid,
                  .name = "NVIDIA H200",
                  .total = 1000ull * MIB,
                  .free = 700ull * MIB,
                  .reserved = 50ull * MIB },
        .bus = bus,
        .utilization = 42,
        .temperature = 61,
        .power_mw = 250500,
        .limit_mw = 700000,
        .clock = 1980,
        .memory_clock = 3201,
    };
}

static void test_a_card_is_told_whole(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;
    const struct gpu_device *d;

    stub->count = 1;
    stub->cards[0] = card("GPU-a", 0xc1);
    stub->cards[0].self.processes[0] = (struct stub_process){ 100, 100ull * MIB };
    stub->cards[0].self.processes[1] = (struct stub_process){ 200, 150ull * MIB };
    stub->cards[0].self.processes[2] = (struct stub_process){ 300, UINT64_MAX };
    stub->cards[0].self.process_count = 3;
    r = rig_look(probe);
    assert_int_equal(r.error.code, 0);
    assert_int_equal(r.count, 1);
    d = &r.devices[0];
    assert_int_equal(d->vendor, GPU_NVIDIA);
    assert_false(d->mig);
    assert_string_equal(d->id, "GPU-a");
    assert_string_equal(d->uuid, "GPU-a");
    assert_string_equal(d->pci, "0000:c1:00.0");
    assert_string_equal(d->name, "NVIDIA H200");
    assert_string_equal(d->driver_version, "570.1.2");
    assert_int_equal(d->memory_total_bytes, 1000ull * MIB);
    assert_int_equal(d->memory_used_bytes, 300ull * MIB); /* what is reserved is not free */
    assert_int_equal(d->memory_free_bytes, 700ull * MIB);
    assert_int_equal((int)d->utilization, 42);
    assert_int_equal((int)d->temperature_c, 61);
    assert_int_equal((int)(d->power_w * 10), 2505);
    assert_int_equal((int)d->power_limit_w, 700);
    assert_int_equal((int)d->clock_mhz, 1980);
    assert_int_equal((int)d->memory_clock_mhz, 3201);
    assert_int_equal(d->process_count, 3); /* the one that also draws stands once */
    assert_int_equal(d->processes[0].pid, 200);
    assert_int_equal(d->processes[1].memory_bytes, 100ull * MIB);
    assert_false(d->processes[2].memory_known);
    assert_int_equal(d->processes[2].memory_bytes, 0);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
    assert_int_equal(stub->inits, 1);
    assert_int_equal(stub->shutdowns, 1);
}

static void test_what_is_not_told_is_not_made_up(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;

    stub->count = 1;
    stub->cards[0] = card("GPU-a", 1);
    stub->cards[0].figures_code = NVML_NOT_SUPPORTED;
    r = rig_look(probe);
    assert_int_equal(r.count, 1);
    assert_true(r.devices[0].utilization == GPU_NOT_TOLD);
    assert_true(r.devices[0].temperature_c == GPU_NOT_TOLD);
    assert_true(r.devices[0].power_w == GPU_NOT_TOLD);
    assert_true(r.devices[0].clock_mhz == GPU_NOT_TOLD);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void expect_used_memory(struct gpu_probe probe, uint64_t used)
{
    struct gpu_reading r = rig_look(probe);

    assert_int_equal(r.count, 1);
    assert_int_equal(r.devices[0].memory_used_bytes, used);
    assert_int_equal(r.devices[0].memory_total_bytes, 1000ull * MIB);
    gpu_reading_finish(&r);
}

static void test_older_drivers(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path), *old;
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;

    stub->count = 1;
    stub->cards[0] = card("GPU-a", 1);
    stub->memory_v2_code = NVML_FUNCTION_NOT_FOUND;
    expect_used_memory(probe, 300ull * MIB);
    stub->memory_v2_code = NVML_ARGUMENT_VERSION_MISMATCH;
    expect_used_memory(probe, 300ull * MIB);
    probe.driver->destroy(probe.state);

    old = rig_stub(true, &path); /* has neither the symbol nor version 3 of the processes */
    probe = gpu_nvml_probe(path);
    old->count = 1;
    old->cards[0] = card("GPU-b", 1);
    old->cards[0].self.processes[0] = (struct stub_process){ 7, 5 };
    old->cards[0].self.process_count = 1;
    r = rig_look(probe);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.devices[0].memory_used_bytes, 300ull * MIB);
    assert_int_equal(r.devices[0].process_count, 1);
    assert_int_equal(r.devices[0].processes[0].pid, 7);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void test_many_processes(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;

    stub->count = 1;
    stub->cards[0] = card("GPU-a", 1);
    stub->cards[0].self.process_count = STUB_PROCESSES;
    for (unsigned i = 0; i < STUB_PROCESSES; i++) {
        stub->cards[0].self.processes[i] = (struct stub_process){ 1000 + i, i };
    }
    r = rig_look(probe);
    assert_int_equal(r.devices[0].process_count, STUB_PROCESSES);
    assert_int_equal(r.devices[0].processes[0].pid, 1000 + STUB_PROCESSES - 1);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void test_parts_stand_in_place_of_their_card(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;

    stub->count = 2;
    stub->cards[0] = card("GPU-a", 1);
    stub->cards[1] = card("GPU-b", 2);
    stub->cards[0].mig = true;
    stub->cards[0].parts[1] =
        (struct stub_device){ "MIG-1", "NVIDIA H200 MIG 1g.18gb", 16ull * MIB, 6ull * MIB, 0 };
    stub->cards[0].parts[4] =
        (struct stub_device){ "MIG-2", "NVIDIA H200 MIG 2g.35gb", 32ull * MIB, 32ull * MIB, 0 };
    r = rig_look(probe);
    assert_int_equal(r.count, 3);
    assert_string_equal(r.devices[0].id, "MIG-1");
    assert_true(r.devices[0].mig);
    assert_int_equal(r.devices[0].memory_used_bytes, 10ull * MIB);
    assert_true(r.devices[0].utilization == GPU_NOT_TOLD);
    assert_int_equal((int)r.devices[0].temperature_c, 61); /* its card's */
    assert_string_equal(r.devices[0].pci, "0000:01:00.0");
    assert_string_equal(r.devices[1].id, "MIG-2");
    assert_string_equal(r.devices[2].id, "GPU-b");
    assert_false(r.devices[2].mig);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void test_a_lost_card_is_gone_and_said(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;

    stub->count = 2;
    stub->cards[0] = card("GPU-a", 1);
    stub->cards[1] = card("GPU-b", 2);
    stub->cards[0].handle_code = NVML_GPU_IS_LOST;
    r = rig_look(probe);
    assert_int_equal(r.count, 1);
    assert_string_equal(r.devices[0].id, "GPU-b");
    assert_int_equal(r.error.code, -EIO);
    assert_non_null(strstr(r.error.text, "device 0"));
    assert_int_equal(stub->shutdowns, 0);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void test_a_lost_driver_is_begun_anew(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct gpu_probe probe = gpu_nvml_probe(path);
    struct gpu_reading r;

    stub->init_code = NVML_DRIVER_NOT_LOADED;
    r = rig_look(probe);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.error.code, -ENODEV);
    assert_non_null(strstr(r.error.text, "Driver Not Loaded"));
    gpu_reading_finish(&r);
    stub->init_code = NVML_SUCCESS;
    stub->count = 1;
    stub->cards[0] = card("GPU-a", 1);
    stub->count_code = NVML_UNINITIALIZED;
    r = rig_look(probe);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.error.code, -EIO);
    gpu_reading_finish(&r);
    stub->count_code = NVML_SUCCESS;
    r = rig_look(probe);
    assert_int_equal(r.count, 1);
    assert_int_equal(r.error.code, 0);
    assert_int_equal(stub->inits, 2);
    assert_int_equal(stub->shutdowns, 1);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

static void test_without_the_library_there_is_nothing(void **state)
{
    struct gpu_probe probe = gpu_nvml_probe("./no-such-library.so");
    struct gpu_reading r = rig_look(probe);

    assert_int_equal(r.count, 0);
    assert_int_equal(r.error.code, 0);
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
    probe = gpu_nvml_probe("libm.so.6"); /* some other library */
    r = rig_look(probe);
    assert_int_equal(r.count, 0);
    assert_int_equal(r.error.code, -ENOSYS);
    assert_non_null(strstr(r.error.text, "nvmlInit_v2"));
    gpu_reading_finish(&r);
    probe.driver->destroy(probe.state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_card_is_told_whole),
        cmocka_unit_test(test_what_is_not_told_is_not_made_up),
        cmocka_unit_test(test_older_drivers),
        cmocka_unit_test(test_many_processes),
        cmocka_unit_test(test_parts_stand_in_place_of_their_card),
        cmocka_unit_test(test_a_lost_card_is_gone_and_said),
        cmocka_unit_test(test_a_lost_driver_is_begun_anew),
        cmocka_unit_test(test_without_the_library_there_is_nothing),
    };

    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
