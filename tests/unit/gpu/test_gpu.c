// SPDX-License-Identifier: Apache-2.0
/*
 * The room in a simulated world (the stand-in NVML, trees of files and scripts are real, the clock
 * is not), and in the real one where a probe hangs.
 */
#include "rig.h"

#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/sim.h"
#include "gpu/gpu_nvml.h"

struct scene {
    struct world *world;
    struct config *config;
    struct metrics *metrics;
    struct gpu *gpu;
    struct listener listener;
    struct buf told; /* "+GPU-a -GPU-b ", as the signal says it; samples left out */
    unsigned samples;
    void (*on_told)(struct scene *s);
    int64_t our_pid;
    char *settings[8];
};

static void on_change(void *owner, const void *what)
{
    static const char *const marks[] = {
        [GPU_APPEARED] = "+", [GPU_VANISHED] = "-", [GPU_UNRESPONSIVE] = "?", [GPU_RESPONSIVE] = "!"
    };
    struct scene *s = owner;
    const struct gpu_change *change = what;

    if (change->kind == GPU_SAMPLED) {
        s->samples++;
    } else if (change->kind != GPU_READY) {
        buf_printf(&s->told, "%s%s ", marks[change->kind], change->device->id);
    }
    if (s->on_told) {
        s->on_told(s);
    }
}

static bool is_ours(void *arg, int64_t pid)
{
    const struct scene *s = arg;

    return pid == s->our_pid;
}

static void write_host(void)
{
    rig_write("MemTotal: 4096000 kB\nMemAvailable: 2048000 kB\n", "proc/meminfo");
    rig_write("cpu  1 0 0 9 0 0 0 0\ncpu0 1 0 0 9\n", "proc/stat");
    rig_write("model name\t: Test CPU\n", "proc/cpuinfo");
}

static int try_open(struct scene *s, struct error *reterr)
{
    const struct gpu_in in = { .world = s->world,
                               .config = s->config,
                               .metrics = s->metrics,
                               .is_ours = is_ours,
                               .arg = s,
                               .proc = "proc",
                               .cgroup = "cg" };

    return gpu_create(&in, &s->gpu, reterr);
}

/* nvml, sysfs, scripted: NULL is none. */
static void open_scene(struct scene *s, struct world *world, const char *nvml, const char *sysfs,
                       const char *scripted)
{
    struct error e = { 0 };

    *s = (struct scene){ .world = world, .told = BUF_INIT(65536) };
    s->settings[0] = xasprintf("BERTH_GPU_NVML=%s", nvml ? nvml : "");
    s->settings[1] = xasprintf("BERTH_GPU_SYSFS=%s", sysfs ? sysfs : "");
    s->settings[2] = xasprintf("BERTH_GPU_SCRIPTED=%s", scripted ? scripted : "");
    s->settings[3] = xstrdup("BERTH_GPU_TIMEOUT=200ms");
    s->settings[4] = xstrdup("BERTH_GPU_INTERVAL=1s");
    write_host();
    s->config = rig_config((const char *const *)s->settings);
    s->metrics = metrics_create();
    if (try_open(s, &e) < 0) {
        fail_msg("%s", e.text);
    }
    s->listener = (struct listener){ .fn = on_change, .owner = s };
    notify_add(gpu_signal(s->gpu), &s->listener);
    gpu_start(s->gpu);
}

static void close_scene(struct scene *s)
{
    s->gpu = gpu_destroy(s->gpu);
    metrics_destroy(s->metrics);
    config_free(s->config);
    world_destroy(s->world);
    for (size_t i = 0; i < ARRAY_SIZE(s->settings); i++) {
        free(s->settings[i]);
    }
    buf_finish(&s->told);
}

static void expect_told(struct scene *s, const char *expected)
{
    assert_string_equal(buf_data(&s->told), expected);
    buf_clear(&s->told);
}

/* "0:GPU-a 2:GPU-b " */
static void expect_list(const struct scene *s, const char *expected)
{
    struct buf b = BUF_INIT(65536);
    const struct gpu_device *d;
    size_t cursor = 0;

    while ((d = gpu_next(s->gpu, &cursor))) {
        buf_printf(&b, "%d:%s ", d->index, d->id);
        assert_ptr_equal(gpu_find(s->gpu, d->index), d);
    }
    assert_string_equal(buf_data(&b), expected);
    buf_finish(&b);
}

static double metric_of(struct scene *s, const char *line_start)
{
    struct buf b = BUF_INIT(1 << 20);
    double value = -1;
    const char *at;

    assert_int_equal(metrics_write(s->metrics, &b), 0);
    at = strstr(buf_data(&b), line_start);
    if (at) {
        value = strtod(strchr(at, '}') + 1, NULL);
    }
    buf_finish(&b);
    return value;
}

static void set_card(struct stub_nvml *stub, unsigned i, const char *uuid)
{
    stub->cards[i] = (struct stub_card){
        .self = { .uuid = uuid, .name = "Stub", .total = 1000ull * MIB, .free = 600ull * MIB },
        .temperature = 50,
        .utilization = 10,
    };
    stub->count = MAX_OF(stub->count, i + 1);
}

static void add_amd(const char *pci)
{
    char text[64];

    snprintf(text, sizeof(text), "PCI_SLOT_NAME=%s\n", pci);
    rig_write("0x1002\n", "sys/class/drm/card0/device/vendor");
    rig_write(text, "sys/class/drm/card0/device/uevent");
    rig_write("1048576000\n", "sys/class/drm/card0/device/mem_info_vram_total");
    rig_write("0\n", "sys/class/drm/card0/device/mem_info_vram_used");
}

/* ---- without GPUs ---- */

static void test_a_machine_without_gpus_is_its_cpu(void **state)
{
    struct scene s;

    open_scene(&s, sim_create(1), "./none.so", "none", NULL);
    assert_false(gpu_ready(s.gpu));
    expect_list(&s, "");
    sim_run_for(s.world, 10);
    assert_true(gpu_ready(s.gpu));
    expect_list(&s, "0:cpu ");
    assert_true(gpu_find(s.gpu, 0)->cpu);
    assert_int_equal(gpu_find(s.gpu, 0)->memory_used_bytes, 2000ull * MIB);
    assert_null(gpu_find(s.gpu, 1));
    assert_null(gpu_find(s.gpu, -1));
    assert_int_equal(gpu_count(s.gpu, GPU_UNKNOWN), 0);
    assert_string_equal(gpu_host(s.gpu)->name, "Test CPU");
    expect_told(&s, "");
    assert_true(metric_of(&s, "berth_device_memory_used_bytes{device=\"0\",id=\"cpu\"") ==
                2000.0 * MIB);
    assert_true(metric_of(&s, "berth_device_power_watts{") < 0); /* what is not told is not shown */
    close_scene(&s);
}

/* ---- coming and going ---- */

static void test_devices_come_and_go(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct scene s;

    rig_remove("sys");
    open_scene(&s, sim_create(1), path, "sys", NULL);
    set_card(stub, 0, "GPU-a");
    set_card(stub, 1, "GPU-b");
    add_amd("0000:09:00.0");
    sim_run_for(s.world, 10);
    expect_list(&s, "0:GPU-a 1:GPU-b 2:0000:09:00.0 ");
    expect_told(&s, ""); /* they were there */
    assert_int_equal(gpu_count(s.gpu, GPU_NVIDIA), 2);
    assert_int_equal(gpu_count(s.gpu, GPU_AMD), 1);
    assert_int_equal(gpu_of_vendor(s.gpu, GPU_AMD, 0)->index, 2);
    assert_null(gpu_of_vendor(s.gpu, GPU_AMD, 1));
    assert_true(metric_of(&s, "berth_device_temperature_celsius{device=\"0\"") == 50);

    stub->cards[0].handle_code = NVML_GPU_IS_LOST;
    sim_run_for(s.world, 1000);
    expect_list(&s, "1:GPU-b 2:0000:09:00.0 ");
    expect_told(&s, "-GPU-a ");
    assert_null(gpu_find(s.gpu, 0));
    assert_int_equal(gpu_of_vendor(s.gpu, GPU_NVIDIA, 1)->index, 1);
    assert_true(metric_of(&s, "berth_device_temperature_celsius{device=\"0\"") < 0);

    stub->cards[0].handle_code = NVML_SUCCESS;
    set_card(stub, 2, "GPU-c");
    rig_remove("sys");
    sim_run_for(s.world, 1000);
    expect_list(&s, "0:GPU-a 1:GPU-b 3:GPU-c ");
    expect_told(&s, "+GPU-a +GPU-c -0000:09:00.0 ");
    assert_int_equal(gpu_of_vendor(s.gpu, GPU_NVIDIA, 2)->index, 3);

    stub->count_code = NVML_UNINITIALIZED; /* the driver is unloaded */
    sim_run_for(s.world, 1000);
    expect_list(&s, ""); /* a GPU that is gone does not make its index the CPU's */
    expect_told(&s, "-GPU-a -GPU-b -GPU-c ");
    stub->count_code = NVML_SUCCESS;
    sim_run_for(s.world, 1000);
    expect_list(&s, "0:GPU-a 1:GPU-b 3:GPU-c ");
    close_scene(&s);
}

static void test_a_gpu_takes_the_place_of_the_cpu(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct scene s;

    open_scene(&s, sim_create(1), path, NULL, NULL);
    sim_run_for(s.world, 10);
    expect_list(&s, "0:cpu ");
    set_card(stub, 0, "GPU-a");
    sim_run_for(s.world, 1000);
    expect_list(&s, "0:GPU-a ");
    expect_told(&s, "+GPU-a ");
    assert_true(metric_of(&s, "berth_device_memory_used_bytes{device=\"0\",id=\"cpu\"") < 0);
    assert_int_equal(gpu_host(s.gpu)->cores, 1); /* it is still looked at */
    close_scene(&s);
}

/* ---- memory of others ---- */

static void test_memory_of_others(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    const struct gpu_device *d;
    struct scene s;

    open_scene(&s, sim_create(1), path, NULL, NULL);
    s.our_pid = 70;
    set_card(stub, 0, "GPU-a"); /* 400 MiB are used */
    stub->cards[0].self.processes[0] = (struct stub_process){ 70, 150ull * MIB };
    stub->cards[0].self.processes[1] = (struct stub_process){ 71, 50ull * MIB };
    stub->cards[0].self.process_count = 2;
    sim_run_for(s.world, 10);
    d = gpu_find(s.gpu, 0);
    assert_true(d->processes[0].ours);
    assert_false(d->processes[1].ours);
    assert_int_equal(d->foreign_bytes, 250ull * MIB); /* what nobody owns up to is not ours */
    stub->cards[0].self.processes[0].memory = UINT64_MAX;
    sim_run_for(s.world, 1000);
    assert_int_equal(gpu_find(s.gpu, 0)->foreign_bytes,
                     50ull * MIB); /* how much is ours is not known */
    assert_true(metric_of(&s, "berth_device_memory_foreign_bytes{") == 50.0 * MIB);
    stub->cards[0].self.process_count = 0;
    sim_run_for(s.world, 1000);
    assert_int_equal(gpu_find(s.gpu, 0)->foreign_bytes, 400ull * MIB);
    close_scene(&s);
}

/* ---- samples ---- */

static void test_samples_are_kept_in_a_ring(void **state)
{
    struct scene s;
    const struct gpu_sample *last;

    rig_write("repeat: 10s\ndevices:\n  - memory_total: 1GiB\n    utilization: 1\n"
              "    timeline: [{at: 5s, utilization: 2}]\n",
              "ring.yaml");
    open_scene(&s, sim_create(1), NULL, NULL, "ring.yaml");
    expect_list(&s, "0:scripted-0 "); /* a script is known at once */
    sim_run_for(s.world, 20 * 1000 + 10);
    assert_in_range(gpu_sample_count(s.gpu, 0), 20, 24);
    assert_null(gpu_sample_at(s.gpu, 0, gpu_sample_count(s.gpu, 0)));
    for (size_t i = 1; i < gpu_sample_count(s.gpu, 0); i++) { /* before it turns */
        assert_true(gpu_sample_at(s.gpu, 0, i)->wall_ms >= gpu_sample_at(s.gpu, 0, i - 1)->wall_ms);
    }
    assert_int_equal(gpu_sample_at(s.gpu, 0, gpu_sample_count(s.gpu, 0) - 1)->wall_ms,
                     gpu_find(s.gpu, 0)->sampled_wall_ms);
    sim_run_for(s.world, 2000 * 1000);
    assert_int_equal(gpu_sample_count(s.gpu, 0), GPU_SAMPLES_MAX);
    for (size_t i = 1; i < GPU_SAMPLES_MAX; i++) {
        assert_int_equal(
            gpu_sample_at(s.gpu, 0, i)->wall_ms - gpu_sample_at(s.gpu, 0, i - 1)->wall_ms, 1000);
    }
    last = gpu_sample_at(s.gpu, 0, GPU_SAMPLES_MAX - 1);
    assert_int_equal(last->wall_ms, gpu_find(s.gpu, 0)->sampled_wall_ms);
    assert_true(last->utilization == 1.0f || last->utilization == 2.0f);
    assert_int_equal(gpu_sample_count(s.gpu, 1), 0);
    assert_null(gpu_sample_at(s.gpu, 1, 0));
    close_scene(&s);
}

static void test_a_round_can_be_asked_for(void **state)
{
    struct scene s;
    unsigned before;

    rig_write("devices: [{memory_total: 1GiB}]\n", "one.yaml");
    open_scene(&s, sim_create(1), NULL, NULL, "one.yaml");
    sim_run_for(s.world, 10);
    before = s.samples;
    gpu_sample_now(s.gpu);
    gpu_sample_now(s.gpu); /* one runs */
    sim_run_for(s.world, 10);
    assert_int_equal(s.samples, before + 1);
    close_scene(&s);
}

static void test_the_interval_is_reloaded(void **state)
{
    const char *const settings[] = { "BERTH_GPU_INTERVAL=100ms", "BERTH_GPU_SCRIPTED=one.yaml",
                                     NULL };
    struct config *fresh;
    unsigned before;
    struct scene s;

    rig_write("devices: [{memory_total: 1GiB}]\n", "one.yaml");
    open_scene(&s, sim_create(1), NULL, NULL, "one.yaml");
    sim_run_for(s.world, 10);
    fresh = rig_config(settings);
    gpu_reconfigure(s.gpu, fresh);
    before = s.samples;
    sim_run_for(s.world, 1000);
    assert_int_equal(s.samples, before + 10);
    config_free(fresh);
    close_scene(&s);
}

static void test_a_wrong_script_is_an_error_at_start(void **state)
{
    const char *const settings[] = { "BERTH_GPU_SCRIPTED=wrong.yaml", NULL };
    struct scene s = { .world = sim_create(1) };
    struct error e = { 0 };

    rig_write("devices: 7\n", "wrong.yaml");
    s.config = rig_config(settings);
    s.metrics = metrics_create();
    assert_int_equal(try_open(&s, &e), -EINVAL);
    assert_non_null(strstr(e.text, "gpu.scripted: wrong.yaml:1: "));
    close_scene(&s);
}

static void test_a_scripted_device_keeps_its_place(void **state)
{
    struct scene s;

    rig_write(
        "devices:\n"
        "  - {id: late, memory_total: 1GiB, present: false, timeline: [{at: 3s, present: true}]}\n"
        "  - {id: here, memory_total: 1GiB}\n",
        "late.yaml");
    open_scene(&s, sim_create(1), NULL, NULL, "late.yaml");
    expect_list(&s, "1:here ");
    sim_run_for(s.world, 3500);
    expect_list(&s, "0:late 1:here ");
    expect_told(&s, "+late ");
    close_scene(&s);
}

/* ---- a probe that hangs ---- */

static void wait_until_it_hangs(struct stub_nvml *stub)
{
    while (atomic_load(&stub->hanging) == 0) {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

static void stop_when_told(struct scene *s)
{
    if (s->told.len > 0) {
        world_stop(s->world);
    }
}

static void stop_when_sampled(struct scene *s)
{
    if (gpu_ready(s->gpu) && gpu_find(s->gpu, 0)) {
        world_stop(s->world);
    }
}

static void test_a_probe_that_hangs_is_left_alone(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct scene s;
    int64_t sampled;

    set_card(stub, 0, "GPU-a");
    open_scene(&s, world_create(), path, NULL, NULL);
    s.on_told = stop_when_sampled;
    world_run(s.world);
    sampled = gpu_find(s.gpu, 0)->sampled_wall_ms;
    atomic_store(&stub->gate_closed, true);
    s.on_told = stop_when_told;
    world_run(s.world);
    expect_told(&s, "?GPU-a ");
    assert_true(gpu_find(s.gpu, 0)->unresponsive);
    assert_true(gpu_find(s.gpu, 0)->sampled_wall_ms >= sampled);
    assert_true(metric_of(&s, "berth_device_up{") == 0);
    gpu_sample_now(s.gpu); /* does not pile up */
    assert_int_equal(atomic_load(&stub->hanging), 1);
    atomic_store(&stub->gate_closed, false);
    world_run(s.world);
    expect_told(&s, "!GPU-a ");
    assert_false(gpu_find(s.gpu, 0)->unresponsive);
    assert_true(metric_of(&s, "berth_device_up{") == 1);
    close_scene(&s);
}

static void test_the_end_waits_for_nobody(void **state)
{
    const char *path;
    struct stub_nvml *stub = rig_stub(false, &path);
    struct scene s;

    set_card(stub, 0, "GPU-a");
    atomic_store(&stub->gate_closed, true);
    open_scene(&s, world_create(), path, NULL, NULL);
    s.on_told = stop_when_sampled; /* the CPU: NVML is given up */
    world_run(s.world);
    assert_true(gpu_ready(s.gpu));
    expect_list(&s, "0:cpu ");
    wait_until_it_hangs(stub);
    close_scene(&s);
    assert_int_equal(atomic_load(&stub->hanging), 1); /* it still does, and nobody is hurt: */
    atomic_store(&stub->gate_closed, false);
    while (stub->shutdowns == 0) { /* it frees itself */
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_machine_without_gpus_is_its_cpu),
        cmocka_unit_test(test_devices_come_and_go),
        cmocka_unit_test(test_a_gpu_takes_the_place_of_the_cpu),
        cmocka_unit_test(test_memory_of_others),
        cmocka_unit_test(test_samples_are_kept_in_a_ring),
        cmocka_unit_test(test_a_round_can_be_asked_for),
        cmocka_unit_test(test_the_interval_is_reloaded),
        cmocka_unit_test(test_a_wrong_script_is_an_error_at_start),
        cmocka_unit_test(test_a_scripted_device_keeps_its_place),
        cmocka_unit_test(test_a_probe_that_hangs_is_left_alone),
        cmocka_unit_test(test_the_end_waits_for_nobody),
    };

    return cmocka_run_group_tests(tests, rig_set_up, rig_tear_down);
}
