// SPDX-License-Identifier: Apache-2.0
/*
 * The catalogue: memory follows the commit, changes of one model come in order, another berth's
 * change is seen, the file's list is made true, and everything is there after a restart.
 */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "models/models.h"

static const struct store_schema *const schemas[] = { &events_schema, &models_schema, NULL };

struct fixture {
    struct world *w;
    struct store *s;
    struct events *ev;
    struct models *m;
    char dir[64], path[96];
    struct listener model_listener, event_listener;
    char story[1024]; /* what was told, in order */
    int done, last_result;
    int64_t last_id;
    char last_error[480];
};

static void note(struct fixture *f, const char *what, const char *who)
{
    size_t n = strlen(f->story);

    snprintf(f->story + n, sizeof(f->story) - n, "%s%s %s", n ? ", " : "", what, who);
}

static void on_change(void *owner, const void *what)
{
    static const char *const words[] = { "added", "updated", "removed", "wish", "status" };
    const struct model_change *c = what;
    struct fixture *f = owner;

    assert_string_equal(c->public_id, c->model->config->id);
    assert_int_equal(c->id, c->model->id);
    assert_ptr_equal(models_get(f->m, c->id), c->kind == MODEL_REMOVED ? NULL : c->model);
    note(f, words[c->kind], c->public_id);
}

static void on_event(void *owner, const void *what)
{
    const struct event *e = what;

    note(owner, event_kind_name(e->kind), e->subject);
}

static void on_done(void *arg, int result, int64_t id, const struct error *e)
{
    struct fixture *f = arg;

    f->done++;
    f->last_result = result;
    f->last_id = id;
    assert_int_equal(e->code, result);
    snprintf(f->last_error, sizeof(f->last_error), "%s", e->text);
    if (result >= 0) {
        note(f, "done", "");
    }
}

static void open_all(struct fixture *f)
{
    assert_int_equal(store_open(f->w,
                                &(struct store_options){ .path = f->path, .schemas = schemas },
                                &f->s, NULL),
                     0);
    f->ev = events_create(f->w, f->s);
    f->m = models_create(f->w, f->s, f->ev);
    assert_int_equal(models_load(f->m, NULL), 0);
    f->model_listener = (struct listener){ .fn = on_change, .owner = f };
    f->event_listener = (struct listener){ .fn = on_event, .owner = f };
    notify_add(models_signal(f->m), &f->model_listener);
    notify_add(events_signal(f->ev), &f->event_listener);
}

static void close_all(struct fixture *f)
{
    f->m = models_destroy(f->m);
    f->ev = events_destroy(f->ev);
    f->s = store_close(f->s);
}

static struct fixture *setup(void)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    log_set_fd(-1);
    f->w = sim_create(1);
    snprintf(f->dir, sizeof(f->dir), "/tmp/berth-models-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/berth.db", f->dir);
    open_all(f);
    return f;
}

static void teardown(struct fixture *f)
{
    close_all(f);
    world_destroy(f->w);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
}

static struct model_config *config(const char *id, int priority, bool autostart)
{
    struct validation v = validation_init();
    json_t *json =
        json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:{s:i}}", "id", id, "name", id, "framework",
                  "llama_cpp", "model_path", "/x.gguf", "priority", priority, "autostart",
                  autostart, "resource_requirements", "gpu_memory", 100);
    struct model_config *c = model_config_parse(json, &v);

    assert_true(validation_ok(&v));
    json_decref(json);
    validation_finish(&v);
    return c;
}

static const struct model *find(struct fixture *f, const char *id)
{
    return models_find(f->m, span_of(id));
}

static void settle(struct fixture *f)
{
    sim_run_for(f->w, 5);
}

static int64_t add(struct fixture *f, const char *id)
{
    models_add(f->m, config(id, 5, false), MODEL_FROM_API, on_done, f);
    settle(f);
    assert_int_equal(f->last_result, 0);
    return f->last_id;
}

static void test_life_of_a_model(void **state)
{
    struct fixture *f = setup();
    const struct model *model;
    int64_t id;

    models_add(f->m, config("a", 5, false), MODEL_FROM_API, on_done, f);
    assert_null(find(f, "a")); /* not before the commit */
    assert_int_equal(f->done, 0);
    settle(f);
    id = f->last_id;
    model = find(f, "a");
    assert_non_null(model);
    assert_int_equal(model->id, id);
    assert_int_equal(model->epoch, 1);
    assert_false(model->wanted);
    assert_non_null(model->config->created_at);

    models_set_wanted(f->m, id, true, WISH_USER, on_done, f);
    models_update(f->m, id, config("other", 7, false), on_done, f);
    models_remove(f->m, id, on_done, f);
    models_set_wanted(f->m, id, false, WISH_USER, on_done, f);
    assert_false(models_get(f->m, id)->wanted);
    settle(f);
    assert_string_equal(f->story, "model_created a, added a, done , "
                                  "model_wanted a, wish a, done , "
                                  "model_updated a, updated a, done , "
                                  "model_deleted a, removed a, done ");
    assert_int_equal(f->done, 5); /* the last of them: it had gone */
    assert_int_equal(f->last_result, -ENOENT);
    assert_int_equal(models_count(f->m), 0);
    teardown(f);
}

static void test_restart(void **state)
{
    struct fixture *f = setup();
    const struct model *model;
    size_t cursor = 0;
    int64_t a = add(f, "org/a:tag"), b = add(f, "b"), c = add(f, "c");
    char created[32];

    snprintf(created, sizeof(created), "%s", models_get(f->m, a)->config->created_at);
    sim_run_for(f->w, 5000);
    models_update(f->m, a, config("x", 9, false), on_done, f);
    models_set_wanted(f->m, c, true, WISH_USER, on_done, f);
    models_remove(f->m, b, on_done, f);
    settle(f);
    close_all(f);
    open_all(f);
    assert_int_equal(models_count(f->m), 2);
    model = models_next(f->m, &cursor);
    assert_string_equal(model->config->id, "org/a:tag"); /* the id stays */
    assert_int_equal(model->config->priority, 9);
    assert_int_equal(model->id, a);
    assert_int_equal(model->epoch, 2);
    assert_string_equal(model->config->created_at, created);
    assert_string_not_equal(model->config->updated_at, created);
    model = models_next(f->m, &cursor);
    assert_int_equal(model->id, c);
    assert_true(model->wanted);
    assert_int_equal(model->epoch, 1); /* the definition did not change */
    assert_null(models_next(f->m, &cursor));
    teardown(f);
}

static void test_refusals(void **state)
{
    struct fixture *f = setup();

    add(f, "a");
    models_add(f->m, config("a", 1, false), MODEL_FROM_API, on_done, f);
    settle(f);
    assert_int_equal(f->last_result, -EEXIST);
    assert_non_null(strstr(f->last_error, "'a' exists already"));
    models_add(f->m, config("twin", 1, false), MODEL_FROM_API, on_done, f);
    models_add(f->m, config("twin", 2, false), MODEL_FROM_API, on_done, f);
    settle(f);
    assert_int_equal(f->last_result, -EEXIST);
    assert_int_equal(find(f, "twin")->config->priority, 1);
    f->done = 0;
    models_update(f->m, 99, config("x", 1, false), on_done, f);
    models_remove(f->m, 99, on_done, f);
    models_set_wanted(f->m, 99, true, WISH_USER, on_done, f);
    assert_int_equal(f->done, 0); /* never within the call */
    settle(f);
    assert_int_equal(f->done, 3);
    assert_int_equal(f->last_result, -ENOENT);
    teardown(f);
}

static struct model_config *config_with_alias(const char *id, const char *alias)
{
    struct model_config *c = config(id, 5, false);

    c->aliases = xcalloc(2, sizeof(*c->aliases));
    c->aliases[0] = xstrdup(alias);
    return c;
}

static void expect_refused(struct fixture *f, const char *name)
{
    settle(f);
    assert_int_equal(f->last_result, -EEXIST);
    assert_non_null(strstr(f->last_error, name));
}

/* Ids and aliases are one space of names. */
static void test_aliases(void **state)
{
    struct fixture *f = setup();
    int64_t a, b = add(f, "b");

    models_add(f->m, config_with_alias("a", "gpt"), MODEL_FROM_API, on_done, f);
    settle(f);
    a = f->last_id;
    assert_int_equal(find(f, "gpt")->id, a);
    models_add(f->m, config_with_alias("c", "gpt"), MODEL_FROM_API, on_done, f);
    expect_refused(f, "'gpt'");
    models_add(f->m, config_with_alias("c", "b"), MODEL_FROM_API, on_done, f);
    expect_refused(f, "'b'");
    models_add(f->m, config("gpt", 5, false), MODEL_FROM_API, on_done, f);
    expect_refused(f, "'gpt'");
    models_update(f->m, b, config_with_alias("b", "gpt"), on_done, f);
    expect_refused(f, "'gpt'");
    assert_null(find(f, "b")->config->aliases); /* it changed nothing */
    models_add(f->m, config_with_alias("d", "same"), MODEL_FROM_API, on_done, f);
    models_add(f->m, config_with_alias("e", "same"), MODEL_FROM_API, on_done, f);
    expect_refused(f, "'same'");
    assert_string_equal(find(f, "same")->config->id, "d");
    close_all(f);
    open_all(f);
    assert_int_equal(find(f, "gpt")->id, a);
    models_update(f->m, a, config("a", 5, false), on_done, f);
    settle(f);
    assert_null(find(f, "gpt")); /* given up: free for another */
    models_update(f->m, b, config_with_alias("b", "gpt"), on_done, f);
    settle(f);
    assert_int_equal(find(f, "gpt")->id, b);
    models_remove(f->m, b, on_done, f);
    settle(f);
    assert_null(find(f, "gpt"));
    teardown(f);
}

static void test_wanted_twice(void **state)
{
    struct fixture *f = setup();
    int64_t id = add(f, "a"), last = events_last_id(f->ev);

    f->story[0] = '\0';
    models_set_wanted(f->m, id, true, WISH_USER, on_done, f);
    models_set_wanted(f->m, id, true, WISH_USER, on_done, f);
    models_set_wanted(f->m, id, false, WISH_USER, on_done, f);
    models_set_wanted(f->m, id, false, WISH_USER, on_done, f);
    settle(f);
    assert_string_equal(f->story, "model_wanted a, wish a, done , done , "
                                  "model_unwanted a, wish a, done , done ");
    assert_int_equal(events_last_id(f->ev), last + 2);
    teardown(f);
}

static void test_autostart(void **state)
{
    struct fixture *f = setup();
    int64_t id;

    models_add(f->m, config("a", 5, true), MODEL_FROM_API, on_done, f);
    settle(f);
    assert_true(find(f, "a")->wanted);
    id = f->last_id;
    models_set_wanted(f->m, id, false, WISH_USER, on_done, f);
    models_update(f->m, id, config("a", 6, true), on_done, f); /* was on before: stays stopped */
    settle(f);
    assert_false(find(f, "a")->wanted);
    models_update(f->m, id, config("a", 6, false), on_done, f);
    settle(f);
    f->story[0] = '\0';
    models_update(f->m, id, config("a", 6, true), on_done, f);
    settle(f);
    assert_true(find(f, "a")->wanted);
    assert_string_equal(f->story, "model_updated a, model_wanted a, updated a, wish a, done ");
    teardown(f);
}

static void apply(struct fixture *f, struct model_config **list, size_t n)
{
    f->story[0] = '\0';
    f->done = 0;
    models_apply_config(f->m, list, n, on_done, f);
    assert_int_equal(f->done, 0);
    settle(f);
    assert_int_equal(f->done, 1);
    assert_int_equal(f->last_result, 0);
}

static void test_the_files_list(void **state)
{
    struct fixture *f = setup();

    add(f, "mine");
    add(f, "both");
    apply(f,
          (struct model_config *[]){ config("x", 5, true), config("y", 5, false),
                                     config("both", 8, false) },
          3);
    assert_true(find(f, "x")->wanted);
    assert_int_equal(find(f, "y")->origin, MODEL_FROM_CONFIG);
    assert_int_equal(find(f, "both")->origin, MODEL_FROM_CONFIG); /* taken over */
    assert_int_equal(find(f, "both")->config->priority, 8);
    models_set_wanted(f->m, find(f, "x")->id, false, WISH_USER, on_done, f);
    settle(f);

    close_all(f);
    open_all(f);
    apply(f,
          (struct model_config *[]){ config("x", 5, true), config("y", 5, false),
                                     config("both", 8, false) },
          3);
    assert_string_equal(f->story, "done "); /* the same list changes nothing */
    assert_false(find(f, "x")->wanted);     /* stopped by hand stays stopped */

    apply(f, (struct model_config *[]){ config("y", 6, true), config("z", 5, false) }, 2);
    assert_null(find(f, "x"));
    assert_null(find(f, "both"));
    assert_non_null(find(f, "mine"));
    assert_true(find(f, "y")->wanted);
    assert_int_equal(find(f, "y")->epoch, 2);
    apply(f, NULL, 0);
    assert_int_equal(models_count(f->m), 1);
    teardown(f);
}

static struct model_config *config_with_status(const char *id, int priority,
                                               enum model_status status)
{
    struct model_config *c = config(id, priority, false);

    c->task_status = status;
    return c;
}

/* Set while berth runs, whoever defined the model; kept. */
static void test_task_status(void **state)
{
    struct fixture *f = setup();
    int64_t id = add(f, "a"), last = events_last_id(f->ev);

    assert_int_equal(find(f, "a")->task_status, MODEL_ONLINE);
    f->story[0] = '\0';
    models_set_task_status(f->m, id, MODEL_MAINTENANCE, on_done, f);
    models_set_task_status(f->m, id, MODEL_MAINTENANCE, on_done, f);
    models_set_wanted(f->m, id, true, WISH_USER, on_done, f);
    settle(f);
    assert_string_equal(f->story, "model_task_status a, status a, done , done , "
                                  "model_wanted a, wish a, done ");
    assert_int_equal(events_last_id(f->ev), last + 2);
    close_all(f);
    open_all(f);
    assert_int_equal(find(f, "a")->task_status, MODEL_MAINTENANCE);
    assert_int_equal(find(f, "a")->config->task_status, MODEL_ONLINE);
    assert_int_equal(find(f, "a")->epoch, 1); /* no engine is begun anew for it */
    f->story[0] = '\0';
    models_update(f->m, id, config("a", 7, false), on_done, f); /* says online, as before */
    settle(f);
    assert_int_equal(find(f, "a")->task_status, MODEL_MAINTENANCE);
    models_update(f->m, id, config_with_status("a", 7, MODEL_OFFLINE), on_done, f);
    settle(f);
    assert_int_equal(find(f, "a")->task_status, MODEL_OFFLINE);
    assert_string_equal(f->story, "model_updated a, updated a, done , "
                                  "model_updated a, model_task_status a, updated a, done ");
    models_set_task_status(f->m, 99, MODEL_OFFLINE, on_done, f);
    settle(f);
    assert_int_equal(f->last_result, -ENOENT);
    teardown(f);
}

/* What the file says counts when it says it first, or says something else than before. */
static void test_the_files_task_status(void **state)
{
    struct fixture *f = setup();

    apply(f, (struct model_config *[]){ config_with_status("x", 5, MODEL_OFFLINE) }, 1);
    assert_int_equal(find(f, "x")->task_status, MODEL_OFFLINE);
    models_set_task_status(f->m, find(f, "x")->id, MODEL_ONLINE, on_done, f);
    settle(f);
    assert_int_equal(find(f, "x")->task_status, MODEL_ONLINE);
    close_all(f);
    open_all(f);
    apply(f, (struct model_config *[]){ config_with_status("x", 5, MODEL_OFFLINE) }, 1);
    assert_string_equal(f->story, "done ");
    apply(f, (struct model_config *[]){ config_with_status("x", 6, MODEL_OFFLINE) }, 1);
    assert_int_equal(find(f, "x")->config->priority, 6);
    assert_int_equal(find(f, "x")->task_status, MODEL_ONLINE);
    apply(f, (struct model_config *[]){ config_with_status("x", 6, MODEL_MAINTENANCE) }, 1);
    assert_int_equal(find(f, "x")->task_status, MODEL_MAINTENANCE);
    teardown(f);
}

struct sql_op {
    struct store_op op;
    const char *text;
};

static int run_sql(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr, container_of(op, struct sql_op, op)->text, "");
}

/* Another berth on the same database: its change is not trodden on, and known afterwards. */
static void test_others_change(void **state)
{
    struct fixture *f = setup();
    int64_t a = add(f, "a"), b = add(f, "b");
    struct sql_op update = {
        .op = { .run = run_sql },
        .text = "UPDATE models SET epoch = 8, config = replace(config, '\"priority\":5', "
                "'\"priority\":2') WHERE public_id = 'a'"
    };
    struct sql_op removal = { .op = { .run = run_sql },
                              .text = "DELETE FROM models WHERE public_id = 'b'" };

    assert_int_equal(store_write_now(f->s, &update.op), 1);
    assert_int_equal(store_write_now(f->s, &removal.op), 1);
    models_update(f->m, a, config("a", 9, false), on_done, f);
    settle(f);
    assert_int_equal(f->last_result, -EBUSY);
    assert_int_equal(find(f, "a")->config->priority, 2);
    assert_int_equal(find(f, "a")->epoch, 8);
    models_update(f->m, a, config("a", 9, false), on_done,
                  f); /* asked again: from what it is now */
    models_set_wanted(f->m, b, true, WISH_USER, on_done, f);
    models_remove(f->m, b, on_done, f);
    settle(f);
    assert_int_equal(f->last_result, -ENOENT);
    assert_int_equal(find(f, "a")->config->priority, 9);
    assert_null(find(f, "b"));
    teardown(f);
}

/* Whatever stands open at the end has its done; what was with the store is stored. */
static void test_destroy_midway(void **state)
{
    struct fixture *f = setup();
    int64_t id = add(f, "a");

    f->done = 0;
    models_add(f->m, config("b", 5, false), MODEL_FROM_API, on_done, f);
    models_set_wanted(f->m, id, true, WISH_USER, on_done, f);
    models_set_wanted(f->m, id, false, WISH_USER, on_done, f);
    models_remove(f->m, 77, on_done, f);
    models_apply_config(f->m, (struct model_config *[]){ config("c", 5, false) }, 1, on_done, f);
    close_all(f);
    assert_int_equal(f->done, 5);
    assert_int_equal(f->last_result, -ECANCELED);
    open_all(f);
    assert_true(find(f, "a")->wanted);
    assert_non_null(find(f, "b"));
    teardown(f);
}

static void test_thousand(void **state)
{
    struct fixture *f = setup();
    char id[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(id, sizeof(id), "model-%d", i);
        models_add(f->m, config(id, 5, false), MODEL_FROM_API, on_done, f);
    }
    settle(f);
    assert_int_equal(models_count(f->m), 1000);
    close_all(f);
    {
        uint64_t before, after;
        struct world *real = world_create();

        before = world_now_us(real);
        open_all(f);
        after = world_now_us(real);
        printf("opening with 1000 models: %llu us\n", (unsigned long long)(after - before));
        world_destroy(real);
    }
    assert_int_equal(models_count(f->m), 1000);
    assert_non_null(find(f, "model-999"));
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life_of_a_model), cmocka_unit_test(test_restart),
        cmocka_unit_test(test_refusals),        cmocka_unit_test(test_wanted_twice),
        cmocka_unit_test(test_autostart),       cmocka_unit_test(test_the_files_list),
        cmocka_unit_test(test_others_change),   cmocka_unit_test(test_destroy_midway),
        cmocka_unit_test(test_thousand),        cmocka_unit_test(test_aliases),
        cmocka_unit_test(test_task_status),     cmocka_unit_test(test_the_files_task_status),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
