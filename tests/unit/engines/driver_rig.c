// SPDX-License-Identifier: Apache-2.0
/* A place for the drivers' tests. */
#include "driver_rig.h"

#include <ftw.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

struct config *driver_rig_config;
static char dir[64];

int driver_rig_set_up(void **state)
{
    static const struct option_table *const tables[] = { &engines_options, NULL };
    const char *environment[] = { "BERTH_ENGINES_LLAMA_SERVER=/bin/true", NULL };
    struct error err = { 0 };

    strcpy(dir, "/tmp/berth-drivers-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    write_file("model.gguf", "");
    if (config_load(NULL, environment, tables, &driver_rig_config, &err) < 0) {
        fail_msg("configuration: %s", err.text);
    }
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

int driver_rig_tear_down(void **state)
{
    driver_rig_config = config_free(driver_rig_config);
    assert_int_equal(chdir("/"), 0);
    nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

struct model_config *driver_model(const char *framework, const char *members)
{
    struct validation v = validation_init();
    struct model_config *model;
    json_t *json;

    json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}}", "id", "m", "name", "m", "framework",
                     framework, "model_path", "model.gguf", "priority", 5, "resource_requirements",
                     "gpu_memory", 100);
    if (members) {
        _cleanup_(freep) char *text = xasprintf("{%s}", members);
        json_error_t why;
        json_t *more = json_loads(text, JSON_ALLOW_NUL, &why);

        if (!more) {
            fail_msg("%s: %s", text, why.text);
        }
        json_object_update(json, more);
        json_decref(more);
    }
    model = model_config_parse(json, &v);
    if (!model) {
        fail_msg("model: %s", json_dumps(v.schema_errors, 0));
    }
    json_decref(json);
    validation_finish(&v);
    return model;
}

static char *join(char *const *words)
{
    struct buf out = BUF_INIT(1 << 20);

    for (; words && *words; words++) {
        buf_printf(&out, out.len ? " %s" : "%s", *words);
    }
    return buf_take(&out, NULL);
}

static void make(const struct engine_driver *driver, const char *members, struct driver_made *made)
{
    struct model_config *model = driver_model(driver->frameworks[0], members);

    made->result =
        driver->command(&(struct engine_context){ .config = driver_rig_config,
                                                  .model = model,
                                                  .socket_path = "instances/u/engine.sock",
                                                  .replica = made->replica,
                                                  .port = made->port },
                        &made->command, &made->error);
    made->line = join(made->command.argv);
    made->env = join(made->command.env);
    model_config_free(model);
}

void driver_make(const struct engine_driver *driver, const char *members, struct driver_made *made)
{
    make(driver, members, made);
    if (made->result < 0) {
        fail_msg("no command for %s: %s", members, made->error.text);
    }
}

void driver_refuses(const struct engine_driver *driver, const char *members, const char *words)
{
    struct driver_made made = { .port = 18000 };

    make(driver, members, &made);
    if (made.result >= 0) {
        fail_msg("no refusal of %s", members);
    }
    assert_has(made.error.text, words);
    assert_int_equal(made.error.code, made.result);
    assert_null(made.command.argv);
    assert_null(made.command.headers);
    driver_made_finish(&made);
}

void driver_made_finish(struct driver_made *made)
{
    engine_command_finish(&made->command);
    free(made->line);
    free(made->env);
    *made = (struct driver_made){ 0 };
}

static void check_list(const char *what, const json_t *list, const char *words, const char *members)
{
    char *text = json_dumps(list, 0);

    if (words ? !strstr(text, words) : json_array_size(list) > 0) {
        fail_msg("%s of %s: expected '%s', got %s", what, members ? members : "{}",
                 words ? words : "none", text);
    }
    free(text);
}

void driver_check(const struct engine_driver *driver, const char *members, const char *error,
                  const char *warning)
{
    struct model_config *model = driver_model(driver->frameworks[0], members);
    struct validation v = validation_init();

    driver->validate(&(struct engine_context){ .config = driver_rig_config, .model = model }, &v,
                     &v);
    check_list("errors", v.errors, error, members);
    check_list("warnings", v.warnings, warning, members);
    validation_finish(&v);
    model_config_free(model);
}

void driver_check_apart(const struct engine_driver *driver, const char *members,
                        const char *definition, const char *machine)
{
    struct model_config *model = driver_model(driver->frameworks[0], members);
    struct validation v = validation_init(), m = validation_init();

    driver->validate(&(struct engine_context){ .config = driver_rig_config, .model = model }, &v,
                     &m);
    check_list("errors", v.errors, definition, members);
    check_list("lacks", m.errors, machine, members);
    validation_finish(&v);
    validation_finish(&m);
    model_config_free(model);
}

void assert_has(const char *text, const char *part)
{
    if (!text || !strstr(text, part)) {
        fail_msg("'%s' is missing in '%s'", part, text ? text : "(nothing)");
    }
}

void assert_has_not(const char *text, const char *part)
{
    if (text && strstr(text, part)) {
        fail_msg("'%s' should not be in '%s'", part, text);
    }
}

void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}
