// SPDX-License-Identifier: Apache-2.0
/* The drivers of containers: what a definition becomes in the Docker Engine API's words, and what
 * is refused with a sentence. */
#include "driver_rig.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "engines/container.h"
#include "gpu/gpu.h"

#define DOCKER           &docker_driver
#define VLLM             &vllm_driver
#define PARAMETERS(text) "\"parameters\":{" text "}"
#define IMAGE            "\"image\":\"x/y:1\""

/* The body of the request that makes it, as text. */
static char *body_of(const struct driver_made *made)
{
    json_t *body;
    char *text;

    assert_non_null(made->command.container);
    assert_null(made->command.argv);
    body = container_spec_json(made->command.container, made->command.env);
    text = json_dumps(body, JSON_SORT_KEYS | JSON_COMPACT);
    json_decref(body);
    return text;
}

static char *make_body(const struct engine_driver *driver, const char *members)
{
    struct driver_made made = { .port = 18123 };
    char *text;

    driver_make(driver, members, &made);
    assert_string_equal(made.command.address.host, "127.0.0.1");
    text = body_of(&made);
    driver_made_finish(&made);
    return text;
}

static void expect(const struct engine_driver *driver, const char *members, const char *part)
{
    _cleanup_(freep) char *text = make_body(driver, members);

    assert_has(text, part);
}

static void expect_not(const struct engine_driver *driver, const char *members, const char *part)
{
    _cleanup_(freep) char *text = make_body(driver, members);

    assert_has_not(text, part);
}

static void test_published_on_this_machine_only(void **state)
{
    struct driver_made made = { .port = 18123 };

    expect(DOCKER, PARAMETERS(IMAGE),
           "\"PortBindings\":{\"8000/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"18123\"}]}");
    expect(DOCKER, PARAMETERS(IMAGE), "\"ExposedPorts\":{\"8000/tcp\":{}}");
    expect(DOCKER, PARAMETERS(IMAGE ",\"container_port\":9,\"port\":20000,\"host\":\"0.0.0.0\""),
           "{\"9/tcp\":[{\"HostIp\":\"127.0.0.1\",\"HostPort\":\"20000\"}]}");
    expect_not(DOCKER, PARAMETERS(IMAGE ",\"network\":\"host\""), "PortBindings");
    expect(DOCKER, PARAMETERS(IMAGE ",\"network\":\"host\""), "\"NetworkMode\":\"host\"");
    made.replica = 2;
    driver_make(DOCKER, PARAMETERS(IMAGE ",\"port\":20000"), &made);
    assert_int_equal(made.command.address.port, 20002);
    assert_string_equal(made.command.model, "m");
    driver_made_finish(&made);
}

static void test_words(void **state)
{
    expect(DOCKER,
           "\"model_path\":\"org/a b\",\"additional_parameters\":\"--x 'y z'\"," PARAMETERS(
               IMAGE ",\"command\":\"serve ${MODEL} $$HOME --at ${HOST}:${PORT}\","
                     "\"entrypoint\":[\"/bin/${MODEL_ID}\",\"a b\"],\"env\":{\"N\":\"${PORT}\"}"),
           "\"Cmd\":[\"serve\",\"org/a b\",\"$HOME\",\"--at\",\"0.0.0.0:8000\",\"--x\",\"y z\"],"
           "\"Entrypoint\":[\"/bin/m\",\"a b\"],\"Env\":[\"N=8000\"]");
    expect(DOCKER, PARAMETERS(IMAGE ",\"network\":\"host\",\"command\":\"${HOST} ${PORT}\""),
           "\"Cmd\":[\"127.0.0.1\",\"18123\"]");
    expect_not(DOCKER, PARAMETERS(IMAGE), "Cmd");
    expect_not(DOCKER, PARAMETERS(IMAGE), "Entrypoint");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"command\":\"${SOCKET}\""),
                   "parameters.command: ${SOCKET} is not known; there are ${PORT}, ${HOST}, "
                   "${MODEL} and ${MODEL_ID}");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"entrypoint\":\"'x\""), "parameters.entrypoint: ");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"command\":7"), "a text or a list of texts");
    driver_refuses(DOCKER, PARAMETERS("\"pull\":true"), "parameters.image is needed");
}

static void test_limits_and_mounts(void **state)
{
    _cleanup_(freep) char *cwd = getcwd(NULL, 0);
    _cleanup_(freep) char *members =
        xasprintf("\"model_path\":\"%s/model.gguf\"," PARAMETERS(
                      IMAGE ",\"volumes\":[\"/data:/in:ro\",\"/c:/d\"]"),
                  cwd);
    _cleanup_(freep) char *binds = xasprintf(
        "\"Binds\":[\"/data:/in:ro\",\"/c:/d\",\"%s/model.gguf:%s/model.gguf:ro\"]", cwd, cwd);

    expect(DOCKER, members, binds);
    expect_not(DOCKER, PARAMETERS(IMAGE), "Binds");
    expect(DOCKER, PARAMETERS(IMAGE ",\"memory_limit\":\"2GiB\",\"shm_size\":65536"),
           "\"Memory\":2147483648");
    expect(DOCKER, PARAMETERS(IMAGE ",\"shm_size\":65536"), "\"ShmSize\":65536");
    expect_not(DOCKER, PARAMETERS(IMAGE ",\"shm_size\":65536,\"ipc\":\"host\""), "ShmSize");
    expect(DOCKER, PARAMETERS(IMAGE), "\"RestartPolicy\":{\"Name\":\"no\"}");
    expect(DOCKER, PARAMETERS(IMAGE), "\"SecurityOpt\":[\"no-new-privileges\"]");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"volumes\":\"data:/in\""), "'data:/in' is not like");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"volumes\":\"/a:/b:rx\""), "is not like");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"memory_limit\":\"much\""), "must be a size");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"memory_limit\":0"), "must be a size");
    driver_refuses(DOCKER, PARAMETERS(IMAGE ",\"network\":\"none\""), "bridge or host");
    driver_refuses(DOCKER, "\"model_path\":\"/nosuch/file\"," PARAMETERS(IMAGE),
                   "cannot read the model /nosuch/file");
}

/* ---- devices */

struct room {
    struct world *world;
    struct config *config;
    struct metrics *metrics;
    struct gpu *gpu;
};

static void open_room(struct room *r, const char *script)
{
    static const struct option_table *const tables[] = { &engines_options, &gpu_options, NULL };
    const char *environment[] = { "BERTH_GPU_SCRIPTED=devices.yaml", NULL };
    struct error err = { 0 };

    write_file("devices.yaml", script);
    if (config_load(NULL, environment, tables, &r->config, &err) < 0) {
        fail_msg("%s", err.text);
    }
    r->world = sim_create(1);
    r->metrics = metrics_create();
    log_set_fd(-1);
    if (gpu_create(
            &(struct gpu_in){ .world = r->world, .config = r->config, .metrics = r->metrics },
            &r->gpu, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

static void close_room(struct room *r)
{
    gpu_destroy(r->gpu);
    metrics_destroy(r->metrics);
    world_destroy(r->world);
    config_free(r->config);
}

static char *body_in(struct room *r, const char *members, const struct place *place)
{
    struct model_config *model = driver_model("docker", members);
    struct engine_context c = {
        .config = r->config, .model = model, .gpu = r->gpu, .place = place, .port = 1
    };
    struct driver_made made = { 0 };
    char *text;

    if (docker_driver.command(&c, &made.command, &made.error) < 0) {
        fail_msg("%s", made.error.text);
    }
    text = body_of(&made);
    engine_command_finish(&made.command);
    model_config_free(model);
    return text;
}

static void expect_in(struct room *r, const char *members, const struct place *place,
                      const char *part, const char *absent)
{
    _cleanup_(freep) char *text = body_in(r, members, place);

    assert_has(text, part);
    assert_has_not(text, absent);
}

static void test_nvidia_cards_of_the_place(void **state)
{
    const struct place place = { 2, { { 2, 1 }, { 0, 1 } }, 0 };
    struct room r;

    open_room(&r, "devices: [{id: a, memory_total: 1GiB}, {id: b, memory_total: 1GiB},"
                  " {id: c, memory_total: 1GiB}]");
    expect_in(&r, "\"gpu_devices\":[1]," PARAMETERS(IMAGE), &place,
              "\"DeviceRequests\":[{\"Capabilities\":[[\"gpu\"]],\"DeviceIDs\":[\"2\",\"0\"]}]",
              "CUDA_VISIBLE");
    expect_in(&r, "\"gpu_devices\":[1]," PARAMETERS(IMAGE), NULL, "\"DeviceIDs\":[\"1\"]",
              "VISIBLE");
    expect_in(&r, PARAMETERS(IMAGE), NULL, "\"Count\":-1", "DeviceIDs");
    expect_in(&r, PARAMETERS(IMAGE ",\"gpus\":false"), &place, "Image", "DeviceRequests");
    close_room(&r);
}

static void test_amd_cards(void **state)
{
    const struct place place = { 1, { { 0, 1 } }, 0 };
    struct room r;

    open_room(&r, "devices: [{id: a, vendor: amd, memory_total: 1GiB}]");
    expect_in(&r, PARAMETERS(IMAGE), &place,
              "\"Devices\":[{\"CgroupPermissions\":\"rwm\",\"PathInContainer\":\"/dev/kfd\","
              "\"PathOnHost\":\"/dev/kfd\"},{\"CgroupPermissions\":\"rwm\",\"PathInContainer\":"
              "\"/dev/dri\"",
              "DeviceRequests");
    close_room(&r);
}

/* An instance keeps its place, and a berth that starts may not know its devices yet. */
static void test_the_place_does_not_change_the_hash(void **state)
{
    char image[] = "x", id[] = "1";
    char *ids[] = { id, NULL };
    const struct container_spec a = { .image = image, .placed = true };
    const struct container_spec b = { .image = image, .placed = true, .gpu_ids = ids };
    const struct container_spec c = { .image = image, .gpu_ids = ids };
    const struct container_spec d = { .image = image };

    assert_true(container_specs_equal(&a, &b));
    assert_false(container_specs_equal(&c, &d));
    assert_false(container_specs_equal(&a, NULL));
    assert_true(container_specs_equal(NULL, NULL));
}

/* ---- validation */

static void test_validation(void **state)
{
    driver_check_apart(DOCKER, PARAMETERS(IMAGE), NULL, "engines.docker_socket");
    driver_check(DOCKER, PARAMETERS(""), "parameters.image is needed", NULL);
    driver_check(DOCKER, PARAMETERS(IMAGE ",\"container_port\":0"), "between 1 and 65535", NULL);
    driver_check(DOCKER, PARAMETERS(IMAGE ",\"container_port\":9,\"network\":\"host\""),
                 "engines.docker_socket", "parameters.container_port has no effect");
    driver_check(DOCKER, PARAMETERS(IMAGE ",\"host\":\"0.0.0.0\""), "engines.docker_socket",
                 "parameters.host has no effect");
    driver_check_apart(VLLM, NULL, NULL, "engines.docker_socket");
    driver_check(VLLM, PARAMETERS("\"tensor_parallel_size\":0"),
                 "parameters.tensor_parallel_size must be greater than 0", NULL);
    driver_check(VLLM, PARAMETERS("\"max_model_len\":0"), "parameters.max_model_len must be", NULL);
    driver_check(VLLM, PARAMETERS("\"gpu_memory_utilization\":1.5"), "above 0 and at most 1", NULL);
    driver_check(VLLM, PARAMETERS("\"gpu_memory_utilization\":0"), "above 0 and at most 1", NULL);
    driver_check(VLLM, PARAMETERS("\"runtime\":\"vm\""), "container or process", NULL);
    driver_check(VLLM, PARAMETERS("\"port\":80"), "between 1024 and 65535", NULL);
    driver_check_apart(VLLM, PARAMETERS("\"binary\":\"/nosuch\""), NULL,
                       "the vLLM program /nosuch is not an executable file");
    driver_check_apart(VLLM, PARAMETERS("\"binary\":\"/bin/true\""), NULL, NULL);
}

/* ---- vLLM */

static void test_vllm_as_a_container(void **state)
{
    setenv("HF_HOME", "/hub", 1);
    expect(VLLM, "\"model_path\":\"org/m\"",
           "\"Cmd\":[\"--model\",\"org/m\",\"--served-model-name\",\"m\",\"--host\",\"0.0.0.0\","
           "\"--port\",\"8000\",\"--tensor-parallel-size\",\"1\",\"--gpu-memory-utilization\","
           "\"0.8\"]");
    expect(VLLM, "\"model_path\":\"org/m\"", "\"Image\":\"vllm/vllm-openai:latest\"");
    expect(VLLM, "\"model_path\":\"org/m\"", "\"IpcMode\":\"host\"");
    expect(VLLM, "\"model_path\":\"org/m\"", "\"Binds\":[\"/hub:/root/.cache/huggingface\"]");
    expect_not(VLLM, "\"model_path\":\"/tmp\"", "huggingface");
    unsetenv("HF_HOME");
}

static void test_vllm_as_a_process(void **state)
{
    struct driver_made made = { .port = 18123 };

    driver_make(VLLM,
                "\"model_path\":\"org/m\",\"additional_parameters\":\"--a 'b c'\"," PARAMETERS(
                    "\"binary\":\"/bin/true\",\"tensor_parallel_size\":2,\"dtype\":\"half\","
                    "\"pipeline_parallel_size\":3,\"gpu_memory_utilization\":0.5,"
                    "\"trust_remote_code\":true,\"disable_log_stats\":false,\"seed\":0,"
                    "\"max_num_seqs\":7"),
                &made);
    assert_null(made.command.container);
    assert_string_equal(made.line,
                        "/bin/true serve org/m --served-model-name m --host 127.0.0.1 --port 18123 "
                        "--tensor-parallel-size 2 --gpu-memory-utilization 0.5 "
                        "--pipeline-parallel-size 3 --dtype half --seed 0 --max-num-seqs 7 "
                        "--trust-remote-code --a b c");
    assert_int_equal(made.command.slots, 7);
    driver_made_finish(&made);
}

static void test_vllm_tokens_are_secrets(void **state)
{
    struct driver_made made = { .port = 1 };
    _cleanup_(freep) char *text = NULL;

    setenv("HF_TOKEN", "hf_secret", 1);
    driver_make(VLLM, NULL, &made);
    text = container_spec_text(made.command.container, made.command.env);
    assert_has_not(text, "hf_secret");
    assert_string_equal(made.command.container->passed[0], "HF_TOKEN");
    driver_made_finish(&made);
    unsetenv("HF_TOKEN");
}

static void test_vllm_slots(void **state)
{
    struct driver_made made = { .port = 1 };

    driver_make(VLLM, NULL, &made);
    assert_int_equal(made.command.slots, 256);
    driver_made_finish(&made);
    driver_make(VLLM, PARAMETERS("\"max_num_seqs\":100000"), &made);
    assert_int_equal(made.command.slots, 1024);
    driver_made_finish(&made);
    driver_make(VLLM, PARAMETERS("\"parallel\":9"), &made);
    assert_int_equal(made.command.slots, 9);
    driver_made_finish(&made);
}

static void test_vllm_need(void **state)
{
    struct model_config *model =
        driver_model("vllm", PARAMETERS("\"gpu_memory_utilization\":0.5,\"tensor_parallel_size\":2,"
                                        "\"pipeline_parallel_size\":2"));
    struct engine_context c = { .config = driver_rig_config, .model = model };
    struct memory_need need = { 0 };

    vllm_driver.need(&c, NULL, &need);
    assert_true(need.share > 0.49 && need.share < 0.51);
    assert_int_equal(need.min_devices, 4);
    assert_int_equal(need.max_devices, 4);
    model_config_free(model);
}

static void expect_words(const char *log, const char *expected, bool memory)
{
    _cleanup_(freep) char *words = vllm_driver.last_words(span_of(log));

    assert_string_equal(words, expected);
    assert_int_equal(vllm_driver.is_out_of_memory(words), memory);
}

static void test_vllm_last_words(void **state)
{
    expect_words(
        "INFO 09-01 12:00:00 [core.py:58] Initializing\n"
        "(EngineCore pid=7) ERROR 09-01 12:00:01 [core.py:700] Traceback (most recent call last):\n"
        "(EngineCore pid=7) ERROR 09-01 12:00:01 [core.py:700]   File \"x.py\", line 1, in f\n"
        "(EngineCore pid=7) ERROR 09-01 12:00:01 [core.py:700] ValueError: Free memory on device "
        "(1.0/24.0 GiB) on startup is less than desired GPU memory utilization (0.9, 21.6 GiB).\n"
        "RuntimeError: Engine core initialization failed. See root cause above.\n",
        "ValueError: Free memory on device (1.0/24.0 GiB) on startup is less than desired GPU "
        "memory utilization (0.9, 21.6 GiB).",
        true);
    expect_words("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n",
                 "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", true);
    expect_words("ValueError: No available memory for the cache blocks. Try increasing it\n",
                 "ValueError: No available memory for the cache blocks. Try increasing it", true);
    expect_words("x\nberth: the container ran out of memory: killed\n",
                 "berth: the container ran out of memory: killed", true);
    expect_words("OSError: org/m is not a local folder\n", "OSError: org/m is not a local folder",
                 false);
    expect_words("killed\n", "killed", false);
}

static void test_vllm_progress(void **state)
{
    const char *a = "# HELP x\nvllm:generation_tokens_total{m=\"m\"} 5\nvllm:other 1\n";
    const char *b = "# HELP x\nvllm:generation_tokens_total{m=\"m\"} 6\nvllm:other 1\n";
    const char *c = "# HELP x\nvllm:generation_tokens_total{m=\"m\"} 5\nvllm:other 2\n";
    const char *d = "vllm:prompt_tokens_total 1\nvllm:generation_tokens_total{m=\"m\"} 5\n";
    uint64_t first = vllm_driver.read_progress(span_of(a));

    assert_true(first != vllm_driver.read_progress(span_of(b)));
    assert_true(first == vllm_driver.read_progress(span_of(c)));
    assert_true(first != vllm_driver.read_progress(span_of(d)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_on_this_machine_only),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_limits_and_mounts),
        cmocka_unit_test(test_nvidia_cards_of_the_place),
        cmocka_unit_test(test_amd_cards),
        cmocka_unit_test(test_the_place_does_not_change_the_hash),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_vllm_as_a_container),
        cmocka_unit_test(test_vllm_as_a_process),
        cmocka_unit_test(test_vllm_tokens_are_secrets),
        cmocka_unit_test(test_vllm_slots),
        cmocka_unit_test(test_vllm_need),
        cmocka_unit_test(test_vllm_last_words),
        cmocka_unit_test(test_vllm_progress),
    };

    return cmocka_run_group_tests(tests, driver_rig_set_up, driver_rig_tear_down);
}
