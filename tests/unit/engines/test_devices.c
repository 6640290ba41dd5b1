// SPDX-License-Identifier: Apache-2.0
/* Which device indexes there are, by a made-up /dev and /sys and by scripted devices, and what
 * engines are told of them. */
#include "driver_rig.h"

#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/sim.h"
#include "engines/devices.h"
#include "gpu/gpu.h"

static void touch(const char *path)
{
    char text[128];

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(text, sizeof(text), "%.*s", (int)(slash - path), path);
        mkdir(text, 0700);
    }
    write_file(path, "");
}

static void add_card(const char *card, const char *vendor)
{
    char path[128];

    snprintf(path, sizeof(path), "root/sys/class/drm/%s/device/vendor", card);
    touch(path);
    write_file(path, vendor);
}

static void test_count(void **state)
{
    struct gpus gpus = gpus_count("nowhere");

    assert_int_equal(gpus.nvidia, 0);
    assert_int_equal(gpus.amd, 0);
    touch("root/dev/nvidia0");
    touch("root/dev/nvidia1");
    touch("root/dev/nvidia10");
    touch("root/dev/nvidiactl");
    touch("root/dev/nvidia-uvm");
    touch("root/dev/nvidia");
    touch("root/dev/nvidia1a");
    add_card("card0", "0x1002\n");
    add_card("card1", "0x8086\n");
    add_card("card0-DP-1", "0x1002\n");
    touch("root/sys/class/drm/renderD128/device/vendor");
    gpus = gpus_count("root");
    assert_int_equal(gpus.nvidia, 3);
    assert_int_equal(gpus.amd, 1);
}

/* words NULL: all indexes are there. */
static void check(struct gpus gpus, const char *members, const char *words)
{
    struct model_config *model = driver_model("llama_cpp", members);
    struct validation v = validation_init();
    struct error err = { 0 };
    int r = devices_check(model, &gpus, &err);

    devices_validate(model, &gpus, &v);
    if (words) {
        assert_int_equal(r, -ENODEV);
        assert_has(err.text, words);
        assert_string_equal(err.text, json_string_value(json_array_get(v.errors, 0)));
    } else {
        assert_int_equal(r, 0);
        assert_int_equal(json_array_size(v.errors), 0);
    }
    validation_finish(&v);
    model_config_free(model);
}

static void test_unknown_indexes_are_refused_by_name(void **state)
{
    struct gpus none = { 0 }, one = { .nvidia = 1 }, two = { .amd = 2 }, both = { 4, 1 };

    check(none, NULL, NULL);
    check(none, "\"gpu_devices\":[0]", NULL);
    check(none, "\"gpu_devices\":[0,3]",
          "gpu_devices: there is no device 3; this machine has no GPU, device 0 is its CPU");
    check(one, "\"gpu_devices\":[0]", NULL);
    check(one, "\"gpu_devices\":[1]", "there is no device 1; this machine has one GPU, device 0");
    check(two, "\"gpu_devices\":[0,1]", NULL);
    check(two, "\"gpu_devices\":[2]", "there is no device 2; this machine has 2 GPUs, 0 to 1");
    check(both, "\"gpu_devices\":[3]", NULL);
    check(both, "\"gpu_devices\":[3],\"parameters\":{\"gpu_vendor\":\"amd\"}", "no device 3");
    check(none, "\"resource_requirements\":{\"gpu_memory\":1,\"gpu_devices\":[7]}",
          "resource_requirements.gpu_devices: there is no device 7");
}

static void test_every_unknown_index_is_named(void **state)
{
    struct model_config *model = driver_model("llama_cpp", "\"gpu_devices\":[4,0,5]");
    struct validation v = validation_init();

    devices_validate(model, &(struct gpus){ 0 }, &v);
    assert_int_equal(json_array_size(v.errors), 2);
    assert_has(json_string_value(json_array_get(v.errors, 1)), "device 5");
    validation_finish(&v);
    model_config_free(model);
}

static void expect_variable(struct gpus gpus, const char *members, const char *expected, bool cpu)
{
    struct model_config *model = driver_model("llama_cpp", members);
    char *variable = devices_variable(model, &gpus);

    if (expected) {
        assert_non_null(variable);
        assert_string_equal(variable, expected);
    } else {
        assert_null(variable);
    }
    assert_int_equal(devices_are_cpu(model, &gpus), cpu);
    free(variable);
    model_config_free(model);
}

static void test_the_variable_that_tells_engines(void **state)
{
    struct gpus none = { 0 }, nvidia = { .nvidia = 4 }, amd = { .amd = 2 }, both = { 4, 2 };

    expect_variable(nvidia, "\"gpu_devices\":[0,2]", "CUDA_VISIBLE_DEVICES=0,2", false);
    expect_variable(amd, "\"gpu_devices\":[1]", "HIP_VISIBLE_DEVICES=1", false);
    expect_variable(both, "\"gpu_devices\":[1]", "CUDA_VISIBLE_DEVICES=1", false);
    expect_variable(both, "\"gpu_devices\":[1],\"parameters\":{\"gpu_vendor\":\"amd\"}",
                    "HIP_VISIBLE_DEVICES=1", false);
    expect_variable(nvidia, NULL, NULL, false);
    expect_variable(none, "\"gpu_devices\":[0]", NULL, true);
    expect_variable(none, NULL, NULL, false);
}

/* ---- as the room knows them ---- */

struct room {
    struct world *world;
    struct config *config;
    struct metrics *metrics;
    struct gpu *gpu;
};

static struct room open_room(const char *script)
{
    static const struct option_table *const tables[] = { &gpu_options, NULL };
    const char *const settings[] = { "BERTH_GPU_SCRIPTED=devices.yaml", NULL };
    struct room room = { .world = sim_create(1), .metrics = metrics_create() };
    struct error e = { 0 };

    write_file("devices.yaml", script);
    assert_int_equal(config_load(NULL, settings, tables, &room.config, &e), 0);
    assert_int_equal(
        gpu_create(
            &(struct gpu_in){ .world = room.world, .config = room.config, .metrics = room.metrics },
            &room.gpu, &e),
        0);
    gpu_start(room.gpu);
    sim_run_for(room.world, 10);
    return room;
}

static void close_room(struct room *room)
{
    gpu_destroy(room->gpu);
    metrics_destroy(room->metrics);
    config_free(room->config);
    world_destroy(room->world);
}

static void test_the_room_says_what_there_is(void **state)
{
    struct room room = open_room("devices:\n"
                                 "  - {id: a, memory_total: 1GiB}\n"
                                 "  - {id: b, memory_total: 1GiB, vendor: amd}\n"
                                 "  - {id: c, memory_total: 1GiB}\n");
    struct gpus gpus = gpus_of(room.gpu);

    assert_int_equal(gpus.nvidia, 2);
    assert_int_equal(gpus.amd, 1);
    check(gpus, "\"gpu_devices\":[0,1]", NULL);
    check(gpus, "\"gpu_devices\":[2]", "there is no device 2; this machine has 2 GPUs, 0 to 1");
    check(gpus, "\"gpu_devices\":[0],\"parameters\":{\"gpu_vendor\":\"amd\"}", NULL);
    expect_variable(gpus, "\"gpu_devices\":[1]", "CUDA_VISIBLE_DEVICES=1", false);
    close_room(&room);
    assert_null(gpus_of(NULL).room);
}

static void test_a_device_that_vanished_is_refused(void **state)
{
    struct room room = open_room("devices:\n"
                                 "  - {id: a, memory_total: 1GiB, present: false}\n"
                                 "  - {id: b, memory_total: 1GiB}\n");
    struct gpus gpus = gpus_of(room.gpu);

    check(gpus, "\"gpu_devices\":[0]", "gpu_devices: device 0 is not there any more");
    check(gpus, "\"gpu_devices\":[1]", NULL);
    close_room(&room);
}

static void test_a_part_of_a_card_is_named_by_its_uuid(void **state)
{
    struct room room = open_room("devices:\n"
                                 "  - {id: MIG-1, uuid: MIG-1, mig: true, memory_total: 1GiB}\n"
                                 "  - {id: MIG-2, uuid: MIG-2, mig: true, memory_total: 1GiB}\n"
                                 "  - {id: GPU-b, uuid: GPU-b, memory_total: 1GiB}\n");
    struct gpus gpus = gpus_of(room.gpu);

    expect_variable(gpus, "\"gpu_devices\":[0,1]", "CUDA_VISIBLE_DEVICES=MIG-1,MIG-2", false);
    expect_variable(gpus, "\"gpu_devices\":[2]", "CUDA_VISIBLE_DEVICES=GPU-b", false);
    close_room(&room);
}

static char *variable_at(const struct room *room, const struct place *place, const char *members)
{
    struct model_config *model = driver_model("llama_cpp", members);
    const struct engine_context c = { .model = model, .gpu = room->gpu, .place = place };
    struct gpus gpus = gpus_for(&c);
    char *variable = devices_variable(model, &gpus);

    model_config_free(model);
    return variable;
}

static void expect_at(const struct room *room, const struct place *place, const char *members,
                      const char *want)
{
    char *variable = variable_at(room, place, members);

    assert_non_null(variable);
    assert_string_equal(variable, want);
    free(variable);
}

/* A place goes before what the definition names; its indexes are the room's, engines are told their
 * vendor's. */
static void test_a_place_says_the_devices(void **state)
{
    struct room room = open_room("devices:\n"
                                 "  - {id: a, memory_total: 1GiB}\n"
                                 "  - {id: b, memory_total: 1GiB}\n"
                                 "  - {id: c, memory_total: 1GiB, vendor: amd}\n"
                                 "  - {id: d, memory_total: 1GiB, vendor: amd}\n");
    const struct place both = { .count = 2, .shares = { { 1, 5 }, { 0, 5 } } };
    const struct place amd = { .count = 1, .shares = { { 3, 5 } } };

    expect_at(&room, &both, NULL, "CUDA_VISIBLE_DEVICES=1,0");
    expect_at(&room, &amd, NULL, "HIP_VISIBLE_DEVICES=1");
    expect_at(&room, &amd, "\"gpu_devices\":[0]", "HIP_VISIBLE_DEVICES=1");
    expect_at(&room, NULL, "\"gpu_devices\":[1]", "CUDA_VISIBLE_DEVICES=1");
    assert_null(variable_at(&room, NULL, NULL));
    close_room(&room);
}

static void test_a_place_on_parts_of_cards(void **state)
{
    struct room room = open_room("devices:\n"
                                 "  - {id: MIG-1, uuid: MIG-1, mig: true, memory_total: 1GiB}\n"
                                 "  - {id: MIG-2, uuid: MIG-2, mig: true, memory_total: 1GiB}\n");
    const struct place second = { .count = 1, .shares = { { 1, 5 } } };

    expect_at(&room, &second, NULL, "CUDA_VISIBLE_DEVICES=MIG-2");
    close_room(&room);
}

/* On the host a place says nothing to an engine; on several devices llama.cpp is told equal parts,
 * unless somebody says otherwise. */
static void test_the_split_over_devices(void **state)
{
    static const struct {
        unsigned count;
        const char *members;
        bool split;
    } rows[] = {
        { 2, NULL, true },
        { 1, NULL, false },
        { 2, "\"parameters\":{\"tensor_split\":\"3,1\"}", false },
        { 2, "\"parameters\":{\"split_mode\":\"none\"}", false },
    };
    struct room gpus = open_room("devices:\n"
                                 "  - {id: a, memory_total: 1GiB}\n"
                                 "  - {id: b, memory_total: 1GiB}\n");

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const struct place place = { .count = rows[i].count, .shares = { { 0, 1 }, { 1, 1 } } };
        struct model_config *model = driver_model("llama_cpp", rows[i].members);
        struct engine_command made = { 0 };
        struct error err = { 0 };
        bool split = false;

        assert_int_equal(
            llamacpp_driver.command(&(struct engine_context){ .config = driver_rig_config,
                                                              .model = model,
                                                              .gpu = gpus.gpu,
                                                              .place = &place,
                                                              .socket_path = "x.sock" },
                                    &made, &err),
            0);
        for (char **word = made.argv; *word; word++) {
            split |= str_eq(*word, "--tensor-split") && str_eq(word[1], "1,1");
        }
        assert_int_equal(split, rows[i].split);
        engine_command_finish(&made);
        model_config_free(model);
    }
    close_room(&gpus);
}

static void test_a_place_on_the_host_says_nothing(void **state)
{
    struct room room = open_room("");
    const struct place host = { .count = 1, .shares = { { 0, 5 } } };

    assert_null(variable_at(&room, &host, NULL));
    close_room(&room);
}

static void test_no_scripted_device_is_the_cpu(void **state)
{
    struct room room = open_room("");

    expect_variable(gpus_of(room.gpu), "\"gpu_devices\":[0]", NULL, true);
    close_room(&room);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_unknown_indexes_are_refused_by_name),
        cmocka_unit_test(test_every_unknown_index_is_named),
        cmocka_unit_test(test_the_variable_that_tells_engines),
        cmocka_unit_test(test_the_room_says_what_there_is),
        cmocka_unit_test(test_a_device_that_vanished_is_refused),
        cmocka_unit_test(test_a_part_of_a_card_is_named_by_its_uuid),
        cmocka_unit_test(test_a_place_says_the_devices),
        cmocka_unit_test(test_a_place_on_parts_of_cards),
        cmocka_unit_test(test_the_split_over_devices),
        cmocka_unit_test(test_a_place_on_the_host_says_nothing),
        cmocka_unit_test(test_no_scripted_device_is_the_cpu),
    };

    return cmocka_run_group_tests(tests, driver_rig_set_up, driver_rig_tear_down);
}
