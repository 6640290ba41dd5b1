// SPDX-License-Identifier: Apache-2.0
/* What the llama.cpp driver makes of a definition: its command line, what it objects to, what it
 * reads out of a log. */
#include "driver_rig.h"

#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engines/devices.h"
#include "engines/engines_int.h"

#define DRIVER &llamacpp_driver

/* The command line of a model with these members, and its environment; asserts that there is one.
 */
static char *command_of(const char *members, char **ret_env, unsigned *ret_slots)
{
    struct driver_made made = { 0 };
    char *line;

    driver_make(DRIVER, members, &made);
    line = TAKE_PTR(made.line);
    if (ret_env) {
        *ret_env = TAKE_PTR(made.env);
    }
    if (ret_slots) {
        *ret_slots = made.command.slots;
    }
    driver_made_finish(&made);
    return line;
}

static void test_plain_command(void **state)
{
    unsigned slots;
    char *env;
    char *line = command_of(NULL, &env, &slots);

    assert_has(line, "/bin/true --model model.gguf --alias m --host instances/u/engine.sock ");
    assert_has(line, " --ctx-size 8192 ");
    assert_has(line, " --parallel 4 --threads-http 12 ");
    assert_has(line, " --threads ");
    assert_has(line, " --metrics");
    assert_has_not(line, "--port");
    assert_has_not(line, "--n-gpu-layers");
    assert_string_equal(env, "LLAMA_ARG_FIT=off LLAMA_ARG_CACHE_RAM=0 LLAMA_ARG_ENDPOINT_SLOTS=1 "
                             "LLAMA_ARG_NO_WEBUI=1 LLAMA_ARG_WEBUI=0 "
                             "LLAMA_ARG_UI=0");
    assert_int_equal(slots, 4);
    free(line);
    free(env);
}

static void test_parameters_become_flags(void **state)
{
    unsigned slots;
    char *line = command_of(
        "\"parameters\":{\"ctx_size\":4096,\"batch_size\":256,\"n_gpu_layers\":0,\"threads\":3,"
        "\"parallel\":8,\"embeddings\":true,\"verbose\":true,\"temp\":0.5,"
        "\"threads_batch\":5,\"split_mode\":\"row\",\"tensor_split\":\"3,1\",\"main_gpu\":1,"
        "\"rope_freq_base\":10000,\"rope_freq_scale\":0.5,\"jinja\":true,"
        "\"reasoning_format\":\"none\",\"sleep_idle_seconds\":60,\"mmproj\":\"model.gguf\","
        "\"top_p\":0.25,\"top_k\":7,\"repeat_penalty\":1.5,\"seed\":11}",
        NULL, &slots);

    assert_has(line, " --ctx-size 32768 ");
    assert_has(line, " --batch-size 256");
    assert_has(line, " --n-gpu-layers 0");
    assert_has(line, " --threads 3");
    assert_has(line, " --parallel 8 --threads-http 16");
    assert_has(line, " --embeddings");
    assert_has(line, " --verbose");
    assert_has(line, " --threads-batch 5");
    assert_has(line, " --split-mode row --tensor-split 3,1 --main-gpu 1");
    assert_has(line, " --rope-freq-base 10000 --rope-freq-scale 0.5");
    assert_has(line, " --jinja --reasoning-format none");
    assert_has(line, " --sleep-idle-seconds 60");
    assert_has(line, " --mmproj model.gguf");
    assert_has(line, " --temp 0.5");
    assert_has(line, " --top-p 0.25");
    assert_has(line, " --top-k 7");
    assert_has(line, " --repeat-penalty 1.5");
    assert_has(line, " --seed 11");
    assert_has_not(line, "--kv-unified");
    assert_int_equal(slots, 8);
    free(line);
}

static void test_shared_context(void **state)
{
    char *line = command_of("\"parameters\":{\"ctx_size\":4096,\"kv_unified\":true}", NULL, NULL);

    assert_has(line, " --ctx-size 4096 --parallel 4 --kv-unified ");
    free(line);
}

/* Versions differ in the flags for these: each is told in its own words, and none in a flag that it
 * might refuse. */
static void test_what_versions_say_differently(void **state)
{
    static const struct {
        const char *members, *env;
    } cases[] = {
        { "\"mlock\":true", "LLAMA_ARG_MLOCK=1 LLAMA_ARG_LOAD_MODE=mmap+mlock LLAMA_ARG_FIT" },
        { "\"no_mmap\":true", "LLAMA_ARG_NO_MMAP=1 LLAMA_ARG_LOAD_MODE=none LLAMA_ARG_FIT" },
        { "\"mlock\":true,\"no_mmap\":true",
          "LLAMA_ARG_MLOCK=1 LLAMA_ARG_NO_MMAP=1 LLAMA_ARG_LOAD_MODE=mlock LLAMA_ARG_FIT" },
        { "\"flash_attn\":true", "LLAMA_ARG_FLASH_ATTN=1 " },
        { "\"flash_attn\":\"on\"", "LLAMA_ARG_FLASH_ATTN=1 " },
        { "\"flash_attn\":false", "LLAMA_ARG_FLASH_ATTN=0 " },
        { "\"flash_attn\":\"auto\"", "LLAMA_ARG_FLASH_ATTN=auto " },
        { "\"flash_attn\":true,\"env\":{\"LLAMA_ARG_FLASH_ATTN\":\"off\"}",
          "LLAMA_ARG_FLASH_ATTN=off LLAMA_ARG_FIT" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char members[256];
        char *line, *env;

        snprintf(members, sizeof(members), "\"parameters\":{%s}", cases[i].members);
        line = command_of(members, &env, NULL);
        assert_int_equal(strncmp(env, cases[i].env, strlen(cases[i].env)), 0);
        assert_has_not(line, "--mlock");
        assert_has_not(line, "--no-mmap");
        assert_has_not(line, "--load-mode");
        assert_has_not(line, "--flash-attn");
        free(line);
        free(env);
    }
}

static void test_nothing_said_nothing_set(void **state)
{
    char *env;

    free(command_of("\"parameters\":{\"mlock\":false,\"no_mmap\":false}", &env, NULL));
    assert_has_not(env, "MLOCK");
    assert_has_not(env, "LOAD_MODE");
    assert_has_not(env, "MMAP");
    assert_has_not(env, "FLASH");
    free(env);
}

static void test_additional_parameters_come_last_without_a_shell(void **state)
{
    char *line =
        command_of("\"additional_parameters\":\"--grammar 'a b' $(date) ; rm\"", NULL, NULL);

    assert_has(line, " --grammar a b $(date) ; rm");
    assert_int_equal(strcmp(line + strlen(line) - 4, "; rm"), 0);
    free(line);
}

static void test_environment(void **state)
{
    char *env;

    free(command_of("\"parameters\":{\"env\":{\"A\":\"1\",\"B\":\"x y\"}}", &env, NULL));
    assert_int_equal(strncmp(env, "A=1 B=x y LLAMA_ARG_", 20), 0);
    free(env);
}

static void test_device_0_of_a_machine_without_gpus(void **state)
{
    struct gpus gpus = gpus_count("");
    char *line;

    if (gpus.nvidia || gpus.amd) {
        skip();
    }
    line = command_of("\"gpu_devices\":[0]", NULL, NULL);
    assert_has(line, " --n-gpu-layers 0");
    free(line);
    line = command_of("\"gpu_devices\":[0],\"parameters\":{\"n_gpu_layers\":9}", NULL, NULL);
    assert_has(line, " --n-gpu-layers 9");
    assert_has_not(line, " --n-gpu-layers 0");
    free(line);
    driver_refuses(DRIVER, "\"gpu_devices\":[0,1]",
                   "gpu_devices: there is no device 1; this machine has no GPU");
    driver_check(DRIVER, "\"gpu_devices\":[3]", "there is no device 3", NULL);
}

static void test_named_port(void **state)
{
    struct driver_made made = { .replica = 2 };
    char *line = command_of("\"parameters\":{\"port\":9001,\"host\":\"0.0.0.0\"}", NULL, NULL);

    assert_has(line, " --host 0.0.0.0 --port 9001 ");
    assert_has_not(line, "engine.sock");
    free(line);
    driver_make(DRIVER, "\"parameters\":{\"port\":9001,\"host\":\"0.0.0.0\",\"weight\":4}", &made);
    assert_has(made.line, " --port 9003 ");
    assert_int_equal(made.command.address.port, 9003);
    assert_string_equal(made.command.address.host, "127.0.0.1");
    assert_int_equal(made.command.weight, 4);
    driver_made_finish(&made);
}

static void test_same_definition_same_command(void **state)
{
    char *a = command_of("\"parameters\":{\"temp\":0.1,\"seed\":1,\"top_k\":2}", NULL, NULL);
    char *b = command_of("\"parameters\":{\"top_k\":2,\"seed\":1,\"temp\":0.1}", NULL, NULL);

    assert_string_equal(a, b);
    free(a);
    free(b);
}

static void test_own_binary(void **state)
{
    char *line = command_of("\"parameters\":{\"binary\":\"true\"}", NULL, NULL);

    assert_true(line[0] == '/');
    assert_has(line, "/true --model");
    free(line);
    driver_refuses(DRIVER, "\"parameters\":{\"binary\":\"no-such-llama\"}",
                   "'no-such-llama' is not in PATH");
    driver_refuses(DRIVER, "\"model_path\":\"/nowhere\"", "cannot read the model file /nowhere");
    driver_refuses(DRIVER, "\"parameters\":{\"mmproj\":\"/nowhere\"}",
                   "cannot read the projector file /nowhere");
}

/* ---- validation */

static void check(const char *members, const char *error, const char *warning)
{
    driver_check(DRIVER, members, error, warning);
}

static void test_validation(void **state)
{
    check(NULL, NULL, NULL);
    check("\"parameters\":{\"port\":80}", "between 1024 and 65535", NULL);
    check("\"parameters\":{\"port\":65536}", "between 1024 and 65535", NULL);
    check("\"parameters\":{\"port\":\"x\"}", "port must be an integer", NULL);
    check("\"parameters\":{\"port\":1024}", NULL, NULL);
    check("\"parameters\":{\"ctx_size\":0}", "ctx_size must be greater than 0", NULL);
    check("\"parameters\":{\"ctx_size\":32768}", NULL, NULL);
    check("\"parameters\":{\"ctx_size\":32769}", NULL, "32768");
    check("\"parameters\":{\"batch_size\":0}", "batch_size must be greater than 0", NULL);
    check("\"parameters\":{\"threads\":0}", "threads must be", NULL);
    check("\"parameters\":{\"n_gpu_layers\":-1}", "n_gpu_layers must be 0 or greater", NULL);
    check("\"parameters\":{\"n_gpu_layers\":0}", NULL, NULL);
    check("\"parameters\":{\"flash_attn\":\"maybe\"}", "flash_attn", NULL);
    check("\"parameters\":{\"flash_attn\":\"auto\"}", NULL, NULL);
    check("\"parameters\":{\"gpu_vendor\":\"acme\"}", "gpu_vendor must be nvidia or amd", NULL);
    check("\"parameters\":{\"sleep_idle_seconds\":-2}", "between -1 and", NULL);
    check("\"parameters\":{\"host\":\"127.0.0.1\"}", NULL, "host has no effect");
    check("\"parameters\":{\"pooling\":\"a\\u0000b\"}", "pooling must be a text", NULL);
    check("\"parameters\":{\"colour\":\"blue\"}", NULL, "parameters.colour is not known");
    check("\"parameters\":{\"env\":{\"A=B\":\"x\"}}", "no name of a variable", NULL);
    check("\"parameters\":{\"env\":{\"BERTH_INSTANCE\":\"x\"}}", "our own", NULL);
    check("\"parameters\":{\"binary\":\"/etc/passwd\"}", "not an executable file", NULL);
    check("\"model_path\":\"/nowhere.gguf\"", "cannot read the model file /nowhere.gguf", NULL);
    check("\"model_path\":\"/tmp\"", "/tmp is not a file", NULL);
    check("\"additional_parameters\":\"--x 'open\"", "additional_parameters", NULL);
}

/* What is wrong with the definition must not be stored; what the machine lacks may come later. */
static void test_definition_and_machine(void **state)
{
    driver_check_apart(DRIVER, "\"parameters\":{\"ctx_size\":-5}", "ctx_size must be", NULL);
    driver_check_apart(DRIVER, "\"parameters\":{\"port\":9000,\"host\":\"a b\"}",
                       "parameters.host: ", NULL);
    driver_check_apart(DRIVER, "\"additional_parameters\":\"'\"", "additional_parameters: ", NULL);
    driver_check_apart(DRIVER, "\"model_path\":\"/nowhere\"", NULL, "/nowhere");
    driver_check_apart(DRIVER, "\"model_path\":\"/tmp\"", NULL, "/tmp is not a file");
    driver_check_apart(DRIVER, "\"parameters\":{\"binary\":\"nope\"}", NULL, "not in PATH");
    driver_check_apart(DRIVER, "\"gpu_devices\":[77]", NULL, "no device 77");
}

/* Nothing that it takes goes beside the reckoning, unless the definition says so. */
static void test_what_is_planned_is_run(void **state)
{
    char *line, *env;

    line = command_of("\"parameters\":{\"cache_ram\":512}", &env, NULL);
    assert_has(env, "LLAMA_ARG_FIT=off LLAMA_ARG_CACHE_RAM=512 ");
    assert_has_not(line, "cache");
    free(line);
    free(env);
    line = command_of("\"parameters\":{\"env\":{\"LLAMA_ARG_FIT\":\"on\"}}", &env, NULL);
    assert_has(env, "LLAMA_ARG_FIT=on");
    assert_has_not(env, "LLAMA_ARG_FIT=off");
    free(line);
    free(env);
}

static void test_framework_names(void **state)
{
    char names[128];

    assert_ptr_equal(driver_find("llama_cpp"), DRIVER);
    assert_ptr_equal(driver_find("llamacpp"), DRIVER);
    assert_ptr_equal(driver_find("command"), &command_driver);
    assert_ptr_equal(driver_find("openai"), &openai_driver);
    assert_null(driver_find("nobody"));
    driver_names(names, sizeof(names));
    assert_has(names, "llama_cpp, llamacpp, command, openai");
}

/* ---- what engines write */

static char *words_of(const char *log)
{
    return llamacpp_driver.last_words(span_of(log));
}

static void test_last_words_of_a_load_error(void **state)
{
    char *words = words_of(
        "0.00.010.100 I srv    load_model: loading model 'x.gguf'\n"
        "0.00.011.200 E gguf_init_from_file_impl: invalid magic characters: '?', expected 'GGUF'\n"
        "0.00.011.250 E llama_model_load: error loading model: failed to load model from x.gguf\n"
        "0.00.011.300 W srv  something harmless\n"
        "0.00.011.300 E srv  llama_server: exiting due to model loading error\n");

    assert_string_equal(words, "gguf_init_from_file_impl: invalid magic characters: '?', expected "
                               "'GGUF'; llama_model_load: error loading model: failed to load "
                               "model from x.gguf; srv  llama_server: exiting due to model loading "
                               "error");
    free(words);
}

/* As llama-server 0.7.0 wrote it for a cache type that does not fit the model. */
static void test_last_words_begin_with_the_cause(void **state)
{
    char *words = words_of(
        "0.00.028.538 E llama_init_from_model: K cache type q8_0 does not fit\n"
        "0.00.028.692 E common_fit_params: encountered an error while trying to fit params\n"
        "0.00.032.453 E llama_init_from_model: K cache type q8_0 does not fit\n"
        "0.00.032.454 E cmn  common_init_: failed to create context with model 'x'\n"
        "0.00.032.456 E cmn  common_init_: failed to create context with model 'x'\n"
        "0.00.032.459 E srv    load_model: failed to create_context with model 'x'\n"
        "0.00.034.104 E srv  llama_server: exiting due to model loading error\n");

    assert_has(words, "llama_init_from_model: K cache type q8_0 does not fit; common_fit_params");
    assert_has(words, "; srv  llama_server: exiting due to model loading error");
    free(words);
}

static void test_last_words_of_others(void **state)
{
    static const struct {
        const char *log, *words;
    } cases[] = {
        { "error: invalid argument: --nope\n", "error: invalid argument: --nope" },
        /* as llama-server 0.7.0 wrote it */
        { "error while handling argument \"--flash-attn\": expected value for argument\n\nusage:\n"
          "-fa,   --flash-attn [on|off|auto]       set Flash Attention use\n\n\n"
          "to show complete usage, run with -h\n",
          "error while handling argument \"--flash-attn\": expected value for argument" },
        { "0.00.014.694 W srv  llama_server: security: no API key is set\n"
          "0.00.014.797 E srv         start: couldn't bind HTTP server socket, hostname: "
          "127.0.0.1, port: 18777\n"
          "0.00.014.820 I srv    operator(): operator(): cleaning up before exit...\n"
          "0.00.014.888 E srv  llama_server: exiting due to HTTP server error",
          "srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 18777; "
          "srv  llama_server: exiting due to HTTP server error" },
        { "berth: cannot run /x: No such file or directory\n",
          "berth: cannot run /x: No such file or directory" },
        { "/x: error while loading shared libraries: libllama.so: cannot open\n",
          "/x: error while loading shared libraries: libllama.so: cannot open" },
        { "first\nsecond\n\n", "second" },
        { "no newline", "no newline" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char *words = words_of(cases[i].log);

        assert_string_equal(words, cases[i].words);
        free(words);
    }
    assert_null(words_of(""));
    assert_null(words_of("\n\n"));
    assert_null(words_of("0.00.032.648 I srv  llama_server: listening on unix://e.sock\n"));
}

static void test_last_words_are_bounded(void **state)
{
    struct buf log = BUF_INIT(1 << 20);
    char *words;

    for (int i = 0; i < 10; i++) {
        buf_printf(&log, "error: %d ", i);
        for (int k = 0; k < 5000; k++) {
            buf_putc(&log, 'x');
        }
        buf_putc(&log, '\n');
    }
    words = words_of(buf_data(&log));
    assert_true(strlen(words) < 1500);
    free(words);
    buf_finish(&log);
}

static void test_info(void **state)
{
    struct engine_info info = { .slots = 4 };

    llamacpp_driver.read_info(SPAN("{\"total_slots\": 7}"), &info);
    assert_int_equal(info.slots, 7);
    assert_false(info.sleeping);
    llamacpp_driver.read_info(SPAN("{\"total_slots\": -1, \"is_sleeping\": true}"), &info);
    assert_true(info.sleeping);
    llamacpp_driver.read_info(SPAN("[1"), &info);
    llamacpp_driver.read_info(SPAN("{\"total_slots\": \"many\", \"is_sleeping\": 0}"), &info);
    assert_int_equal(info.slots, 7);
    assert_true(info.sleeping);
    llamacpp_driver.read_info(SPAN("{\"is_sleeping\": false}"), &info);
    assert_false(info.sleeping);
}

static uint64_t progress_of(const char *body)
{
    return llamacpp_driver.read_progress(span_of(body));
}

#define SLOT(task, busy, prompt, decoded)                                                          \
    "[{\"id\":0,\"is_processing\":" busy ",\"id_task\":" task                                      \
    ",\"n_prompt_tokens_processed\":" prompt ",\"next_token\":[{\"n_decoded\":" decoded "}]}]"

/* Whatever a slot does next changes the number; doing nothing does not. */
static void test_progress(void **state)
{
    static const char *const steps[] = {
        SLOT("5", "true", "0", "0"),
        SLOT("5", "true", "512", "0"),
        SLOT("5", "true", "1024", "0"),
        SLOT("5", "true", "1024", "1"),
        SLOT("5", "false", "1024", "1"),
        SLOT("6", "true", "1024", "1"),
        "[{\"id\":0,\"is_processing\":false}]",
    };

    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        assert_int_equal(progress_of(steps[i]), progress_of(steps[i]));
        for (size_t j = 0; j < i; j++) {
            assert_int_not_equal(progress_of(steps[i]), progress_of(steps[j]));
        }
    }
    assert_int_not_equal(progress_of("[{\"next_token\":{\"n_decoded\":1}}]"),
                         progress_of("[{\"next_token\":{\"n_decoded\":2}}]"));
    assert_int_equal(progress_of("nonsense"), progress_of("{\"error\":1}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_command),
        cmocka_unit_test(test_parameters_become_flags),
        cmocka_unit_test(test_shared_context),
        cmocka_unit_test(test_what_versions_say_differently),
        cmocka_unit_test(test_nothing_said_nothing_set),
        cmocka_unit_test(test_additional_parameters_come_last_without_a_shell),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_device_0_of_a_machine_without_gpus),
        cmocka_unit_test(test_named_port),
        cmocka_unit_test(test_same_definition_same_command),
        cmocka_unit_test(test_own_binary),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_definition_and_machine),
        cmocka_unit_test(test_what_is_planned_is_run),
        cmocka_unit_test(test_framework_names),
        cmocka_unit_test(test_last_words_of_a_load_error),
        cmocka_unit_test(test_last_words_begin_with_the_cause),
        cmocka_unit_test(test_last_words_of_others),
        cmocka_unit_test(test_last_words_are_bounded),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_progress),
    };

    return cmocka_run_group_tests(tests, driver_rig_set_up, driver_rig_tear_down);
}
