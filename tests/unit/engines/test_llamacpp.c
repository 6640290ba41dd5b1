// SPDX-License-Identifier: Apache-2.0
/* What the llama.cpp driver makes of a definition: its command line, what it objects to, what it
 * reads out of a log. */
#include "rig.h"

#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "engines/engine_driver.h"

static struct rig *rig;

static int set_up(void **state)
{
    rig = rig_create(1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    rig_destroy(rig);
    return 0;
}

static char *join(char *const *words)
{
    struct buf out = BUF_INIT(65536);

    for (; words && *words; words++) {
        buf_printf(&out, out.len ? " %s" : "%s", *words);
    }
    return buf_take(&out, NULL);
}

/* The command line of a model with these members, and its environment; asserts that there is one.
 */
static char *command_of(const char *members, char **ret_env, unsigned *ret_slots)
{
    struct model_config *model = rig_model_config("m", members);
    struct engine_context c = { rig->config, model, "instances/u/engine.sock" };
    struct engine_command command = { 0 };
    struct error err = { 0 };
    char *line;

    if (llamacpp_driver.command(&c, &command, &err) < 0) {
        fail_msg("no command: %s", err.text);
    }
    line = join(command.argv);
    if (ret_env) {
        *ret_env = join(command.env);
    }
    if (ret_slots) {
        *ret_slots = command.slots;
    }
    engine_command_finish(&command);
    model_config_free(model);
    return line;
}

static void assert_has(const char *line, const char *part)
{
    if (!line || !strstr(line, part)) {
        fail_msg("'%s' is missing in '%s'", part, line ? line : "(nothing)");
    }
}

static void assert_has_not(const char *line, const char *part)
{
    if (line && strstr(line, part)) {
        fail_msg("'%s' should not be in '%s'", part, line);
    }
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
    assert_has(line, " --metrics --no-webui");
    assert_has_not(line, "--port");
    assert_has_not(line, "--n-gpu-layers");
    assert_string_equal(env, "");
    assert_int_equal(slots, 4);
    free(line);
    free(env);
}

static void test_parameters_become_flags(void **state)
{
    unsigned slots;
    char *line = command_of(
        "\"parameters\":{\"ctx_size\":4096,\"batch_size\":256,\"n_gpu_layers\":0,\"threads\":3,"
        "\"parallel\":8,\"embeddings\":true,\"verbose\":true,\"flash_attn\":true,\"temp\":0.5,"
        "\"top_p\":0.25,\"top_k\":7,\"repeat_penalty\":1.5,\"seed\":11}",
        NULL, &slots);

    assert_has(line, " --ctx-size 32768 ");
    assert_has(line, " --batch-size 256");
    assert_has(line, " --n-gpu-layers 0");
    assert_has(line, " --threads 3");
    assert_has(line, " --parallel 8 --threads-http 16");
    assert_has(line, " --embeddings");
    assert_has(line, " --verbose");
    assert_has(line, " --flash-attn on");
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

static void test_load_modes(void **state)
{
    static const struct {
        const char *members, *flag;
    } cases[] = {
        { "\"parameters\":{\"mlock\":true}", " --load-mode mmap+mlock" },
        { "\"parameters\":{\"no_mmap\":true}", " --load-mode none" },
        { "\"parameters\":{\"mlock\":true,\"no_mmap\":true}", " --load-mode mlock" },
    };
    char *line;

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        line = command_of(cases[i].members, NULL, NULL);
        assert_has(line, cases[i].flag);
        free(line);
    }
    line = command_of("\"parameters\":{\"mlock\":false}", NULL, NULL);
    assert_has_not(line, "--load-mode");
    free(line);
}

static void test_additional_parameters_come_last_without_a_shell(void **state)
{
    char *line =
        command_of("\"additional_parameters\":\"--grammar 'a b' $(date) ; rm\"", NULL, NULL);

    assert_has(line, " --grammar a b $(date) ; rm");
    assert_int_equal(strcmp(line + strlen(line) - 4, "; rm"), 0);
    free(line);
}

static void test_devices_and_environment(void **state)
{
    char *env;

    free(command_of("\"gpu_devices\":[0,2],\"parameters\":{\"env\":{\"A\":\"1\"}}", &env, NULL));
    assert_string_equal(env, "CUDA_VISIBLE_DEVICES=0,2 A=1");
    free(env);
    free(command_of("\"gpu_devices\":[1],\"parameters\":{\"gpu_vendor\":\"amd\"}", &env, NULL));
    assert_string_equal(env, "HIP_VISIBLE_DEVICES=1");
    free(env);
}

static void test_named_port(void **state)
{
    char *line = command_of("\"parameters\":{\"port\":9001,\"host\":\"0.0.0.0\"}", NULL, NULL);

    assert_has(line, " --host 0.0.0.0 --port 9001 ");
    assert_has_not(line, "engine.sock");
    free(line);
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
    struct model_config *model;
    struct engine_command command = { 0 };
    struct error err = { 0 };
    char *line = command_of("\"parameters\":{\"binary\":\"true\"}", NULL, NULL);

    assert_true(line[0] == '/');
    assert_has(line, "/true --model");
    free(line);
    model = rig_model_config("m", "\"parameters\":{\"binary\":\"no-such-llama\"}");
    assert_int_equal(llamacpp_driver.command(
                         &(struct engine_context){ rig->config, model, "x.sock" }, &command, &err),
                     -ENOENT);
    assert_has(err.text, "no-such-llama");
    assert_has(err.text, "PATH");
    model_config_free(model);
}

/* ---- validation */

static void check(const char *members, const char *error, const char *warning)
{
    struct model_config *model = rig_model_config("m", members);
    struct validation v = validation_init();
    char *errors, *warnings;

    engines_validate(rig->engines, model, &v);
    errors = json_dumps(v.errors, 0);
    warnings = json_dumps(v.warnings, 0);
    if (error) {
        assert_has(errors, error);
    } else {
        assert_string_equal(errors, "[]");
    }
    if (warning) {
        assert_has(warnings, warning);
    } else if (!error) {
        assert_string_equal(warnings, "[]");
    }
    free(errors);
    free(warnings);
    validation_finish(&v);
    model_config_free(model);
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
    check("\"parameters\":{\"colour\":\"blue\"}", NULL, "parameters.colour is not known");
    check("\"parameters\":{\"env\":{\"A=B\":\"x\"}}", "no name of a variable", NULL);
    check("\"parameters\":{\"env\":{\"BERTH_INSTANCE\":\"x\"}}", "our own", NULL);
    check("\"parameters\":{\"binary\":\"/etc/passwd\"}", "not an executable file", NULL);
    check("\"model_path\":\"/nowhere.gguf\"", "cannot read the model file /nowhere.gguf", NULL);
    check("\"model_path\":\"/tmp\"", "/tmp is not a file", NULL);
    check("\"additional_parameters\":\"--x 'open\"", "additional_parameters", NULL);
}

static void test_framework_names(void **state)
{
    struct model_config *model = rig_model_config("m", "\"framework\":\"vllm\"");
    struct validation v = validation_init();
    char *errors;

    assert_string_equal(engines_driver_name("llama_cpp"), "llamacpp");
    assert_string_equal(engines_driver_name("llamacpp"), "llamacpp");
    assert_null(engines_driver_name("vllm"));
    engines_validate(rig->engines, model, &v);
    errors = json_dumps(v.errors, 0);
    assert_has(errors, "'vllm' is not supported (known: llama_cpp, llamacpp)");
    free(errors);
    validation_finish(&v);
    model_config_free(model);
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

static void test_info_tells_the_slots(void **state)
{
    unsigned slots = 4;

    llamacpp_driver.read_info(SPAN("{\"total_slots\": 7}"), &slots);
    assert_int_equal(slots, 7);
    llamacpp_driver.read_info(SPAN("{\"total_slots\": -1}"), &slots);
    llamacpp_driver.read_info(SPAN("[1"), &slots);
    llamacpp_driver.read_info(SPAN("{\"total_slots\": \"many\"}"), &slots);
    assert_int_equal(slots, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_command),
        cmocka_unit_test(test_parameters_become_flags),
        cmocka_unit_test(test_shared_context),
        cmocka_unit_test(test_load_modes),
        cmocka_unit_test(test_additional_parameters_come_last_without_a_shell),
        cmocka_unit_test(test_devices_and_environment),
        cmocka_unit_test(test_named_port),
        cmocka_unit_test(test_same_definition_same_command),
        cmocka_unit_test(test_own_binary),
        cmocka_unit_test(test_validation),
        cmocka_unit_test(test_framework_names),
        cmocka_unit_test(test_last_words_of_a_load_error),
        cmocka_unit_test(test_last_words_begin_with_the_cause),
        cmocka_unit_test(test_last_words_of_others),
        cmocka_unit_test(test_last_words_are_bounded),
        cmocka_unit_test(test_info_tells_the_slots),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
