// SPDX-License-Identifier: Apache-2.0
/* What leaves as a file, and what comes back as one, from whomever. */
#include "house.h"

#include <string.h>

#include "base/mem.h"

static json_t *at(struct house *h, const char *member)
{
    return json_object_get(h->answer, member);
}

static void wait_one(struct house *h)
{
    house_wait(h, h->answers + 1);
}

static json_t *export_all(struct house *h)
{
    experiments_export(h->v, NULL, 0, house_done, h);
    wait_one(h);
    assert_int_equal(h->result, 0);
    return json_incref(h->answer);
}

static void check(struct house *h, json_t *file)
{
    experiments_check_import(h->v, file, house_done, h);
    wait_one(h);
}

/* action NULL: without a word. */
static void execute(struct house *h, const char *id, const char *name, const char *action,
                    const char *new_name)
{
    json_t *body = json_pack("{s:s, s:[]}", "temp_file_id", id, "configs"), *config;

    if (action) {
        config = json_pack("{s:s, s:s}", "original_name", name, "action", action);
        if (new_name) {
            json_object_set_new(config, "new_name", json_string(new_name));
        }
        json_array_append_new(json_object_get(body, "configs"), config);
    }
    experiments_execute_import(h->v, body, house_done, h);
    json_decref(body);
    wait_one(h);
}

static int64_t count(struct house *h, const char *member)
{
    return json_integer_value(at(h, member));
}

/* ---- export ---- */

static void csv_is_what_a_spreadsheet_takes(void **state)
{
    struct house h;
    static const char begins[] = "\"'=cmd|' /C calc'!A0,\"\"quoted\"\"\",\"";
    const char *id, *csv, *line;
    unsigned lines = 0;

    (void)state;
    house_open(&h, false, NULL, NULL);
    id = house_submit(&h, "=cmd|' /C calc'!A0,\"quoted\"");
    house_until_status(&h, id, "completed");
    evaluations_export(h.v, id, true, house_done, &h);
    wait_one(&h);
    csv = json_string_value(h.answer);
    assert_non_null(csv);
    assert_true(strncmp(csv, "experiment_name,task_id,rank,is_feasible,dp,tp,", 46) == 0);
    line = strstr(csv, "\r\n") + 2;
    assert_true(strncmp(line, begins, strlen(begins)) == 0);
    for (const char *c = csv; (c = strstr(c, "\r\n")); c += 2) {
        lines++;
    }
    assert_int_equal(lines - 1, house_number(&h, "SELECT count(*) FROM evaluation_results", NULL));
    evaluations_export(h.v, id, false, house_done, &h);
    wait_one(&h);
    assert_true(json_array_size(at(&h, "top_k_plans")) > 0);
    assert_non_null(at(&h, "export_time"));
    evaluations_export(h.v, "nobody", true, house_done, &h);
    wait_one(&h);
    assert_int_equal(h.result, -ENOENT);
    house_close(&h);
}

/* ---- there and back ---- */

static void comes_back_as_it_was(void **state)
{
    struct house h;
    json_t *file, *again, *ids, *a, *b;
    char *temp;
    const char *id;
    size_t i;

    (void)state;
    house_open(&h, false, NULL, NULL);
    id = house_submit(&h, "back");
    house_until_status(&h, id, "completed");
    file = export_all(&h);
    assert_string_equal(json_string_value(json_object_get(file, "version")), "1.0");
    ids = json_pack("[I]", (json_int_t)house_number(&h, "SELECT id FROM experiments", NULL));
    experiments_delete_many(h.v, ids, house_done, &h);
    json_decref(ids);
    wait_one(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_results", NULL), 0);
    check(&h, file);
    assert_int_equal(h.result, 0);
    assert_int_equal(json_array_size(at(&h, "conflicts")), 0);
    temp = xstrdup(json_string_value(at(&h, "temp_file_id")));
    execute(&h, temp, NULL, NULL, NULL);
    assert_int_equal(h.result, 0);
    assert_int_equal(count(&h, "imported_count"), 1);
    again = export_all(&h);
    a = json_array_get(json_object_get(file, "experiments"), 0);
    b = json_array_get(json_object_get(again, "experiments"), 0);
    for (i = 0; i < 3; i++) {
        static const char *const members[] = { "model_config", "hardware_config",
                                               "inference_config" };

        assert_true(json_equal(json_object_get(a, members[i]), json_object_get(b, members[i])));
    }
    assert_int_equal(json_integer_value(json_object_get(b, "completed_tasks")), 1);
    a = json_array_get(json_object_get(a, "tasks"), 0);
    b = json_array_get(json_object_get(b, "tasks"), 0);
    assert_true(json_equal(json_object_get(a, "search_stats"), json_object_get(b, "search_stats")));
    assert_true(json_equal(json_object_get(a, "completed_at"), json_object_get(b, "completed_at")));
    assert_int_equal(json_array_size(json_object_get(a, "top_k_plans")),
                     json_array_size(json_object_get(b, "top_k_plans")));
    assert_string_equal(house_status(&h, json_string_value(json_object_get(b, "task_id"))),
                        "completed");
    /* used once */
    execute(&h, temp, NULL, NULL, NULL);
    assert_int_equal(h.result, -ENOENT);
    /* it does not run, and goes like any other */
    evaluations_cancel(h.v, json_string_value(json_object_get(b, "task_id")), house_done, &h);
    wait_one(&h);
    assert_int_equal(h.result, -EBUSY);
    evaluations_delete(h.v, json_string_value(json_object_get(b, "task_id")), house_done, &h);
    wait_one(&h);
    assert_int_equal(h.result, 0);
    house_check(&h);
    free(temp);
    json_decref(file);
    json_decref(again);
    house_close(&h);
}

static char *checked(struct house *h, json_t *file)
{
    check(h, file);
    if (h->result < 0) {
        fail_msg("%s", h->error);
    }
    return xstrdup(json_string_value(at(h, "temp_file_id")));
}

static void names_that_stand(void **state)
{
    struct house h;
    json_t *file;
    char *temp;

    (void)state;
    house_open(&h, false, NULL, NULL);
    house_until_status(&h, house_submit(&h, "n"), "completed");
    file = export_all(&h);
    temp = checked(&h, file);
    assert_int_equal(json_array_size(at(&h, "conflicts")), 1);
    execute(&h, temp, NULL, NULL, NULL); /* without a word what stands is left */
    assert_int_equal(count(&h, "skipped_count"), 1);
    free(temp);
    temp = checked(&h, file);
    execute(&h, temp, "n", "rename", "n");
    assert_int_equal(h.result, -EEXIST);
    execute(&h, temp, "n", "rename", NULL);
    assert_int_equal(h.result, -EINVAL);
    execute(&h, temp, "n", "burn", NULL);
    assert_int_equal(h.result, -EINVAL);
    execute(&h, temp, "n", "rename", "n2");
    assert_int_equal(count(&h, "renamed_count"), 1);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM experiments", NULL), 2);
    free(temp);
    house_submit(&h, "n");
    temp = checked(&h, file);
    execute(&h, temp, "n", "overwrite", NULL);
    assert_int_equal(count(&h, "overwritten_count"), 1);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM experiments", NULL), 2);
    assert_int_equal(house_number(&h, "SELECT total_tasks FROM experiments WHERE name = ?", "n"),
                     1);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks", NULL), 0);
    house_check(&h);
    free(temp);
    json_decref(file);
    house_close(&h);
}

static void what_is_not_over_is_left_out(void **state)
{
    struct house h;
    json_t *file;
    char *temp;

    (void)state;
    house_open(&h, true, "planner:\n  workers: 1\n", NULL);
    atomic_store(&house_hold, true);
    house_until_status(&h, house_submit(&h, "u"), "running");
    house_submit(&h, "u");
    file = export_all(&h);
    temp = checked(&h, file);
    execute(&h, temp, "u", "overwrite", NULL); /* stops what runs */
    assert_int_equal(h.result, 0);
    assert_int_equal(count(&h, "unfinished_tasks_left_out"), 2);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM evaluation_tasks", NULL), 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM experiments", NULL), 1);
    house_settle(&h);
    house_check(&h);
    free(temp);
    json_decref(file);
    house_close(&h);
}

static void only_some_are_kept_and_not_for_ever(void **state)
{
    struct house h;
    json_t *file;
    char *first, *last = NULL;

    (void)state;
    house_open(&h, false, NULL, NULL);
    house_until_status(&h, house_submit(&h, "k"), "completed");
    file = export_all(&h);
    first = checked(&h, file);
    for (int i = 0; i < 16; i++) {
        free(last);
        last = checked(&h, file);
    }
    execute(&h, first, "k", "skip", NULL);
    assert_int_equal(h.result, -ENOENT);
    sim_run_for(h.w, 3600 * 1000 - 5000);
    execute(&h, last, "k", "rename", "k2");
    assert_int_equal(h.result, 0);
    free(last);
    last = checked(&h, file);
    sim_run_for(h.w, 3600 * 1000 + 1);
    execute(&h, last, "k", "skip", NULL);
    assert_int_equal(h.result, -ENOENT);
    free(first);
    free(last);
    json_decref(file);
    house_close(&h);
}

/* ---- hostile files ---- */

static uint64_t seed;

static size_t below(size_t n)
{
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (size_t)((seed >> 33) % n);
}

static json_t *something(void)
{
    static const char *const values[] = {
        "null",
        "true",
        "-1",
        "1e308",
        "\"\"",
        "\"=1+1\"",
        "[]",
        "{}",
        "[[[]]]",
        "9223372036854775807",
        "\"2026-01-01T00:00:00Z\"",
        "\"completed\"",
        "\"running\"",
        "{\"tp\":\"x\"}",
        "[{}]",
    };

    return json_loads(values[below(ARRAY_SIZE(values))], JSON_DECODE_ANY, NULL);
}

/* Changes, adds or takes away one member somewhere. */
static void mutate(json_t *json)
{
    while (true) {
        const size_t size = json_is_object(json) ? json_object_size(json) : json_array_size(json);
        const size_t pick = size ? below(size) : 0;
        json_t *inside;

        if (json_is_object(json) && size) {
            void *i = json_object_iter(json);

            for (size_t n = 0; n < pick; n++) {
                i = json_object_iter_next(json, i);
            }
            inside = json_object_iter_value(i);
            if ((json_is_object(inside) || json_is_array(inside)) && below(4)) {
                json = inside;
                continue;
            }
            if (below(3)) {
                json_object_iter_set_new(json, i, something());
            } else {
                json_object_del(json, json_object_iter_key(i));
            }
        } else if (json_is_array(json)) {
            inside = json_array_get(json, pick);
            if ((json_is_object(inside) || json_is_array(inside)) && below(4)) {
                json = inside;
                continue;
            }
            json_array_append_new(json, something());
        }
        return;
    }
}

static void hostile_files_are_refused_or_harmless(void **state)
{
    struct house h;
    json_t *file;
    unsigned good = 0, bad = 0;

    (void)state;
    seed = test_seed("hostile files");
    house_open(&h, false, NULL, NULL);
    house_until_status(&h, house_submit(&h, "h"), "completed");
    file = export_all(&h);
    for (int i = 0; i < 400; i++) {
        json_t *changed = json_deep_copy(file);

        for (size_t n = 1 + below(4); n > 0; n--) {
            mutate(changed);
        }
        check(&h, changed);
        if (h.result < 0) {
            assert_int_equal(h.result, -EINVAL);
            assert_true(h.error[0]);
            bad++;
        } else {
            char *temp = xstrdup(json_string_value(at(&h, "temp_file_id")));

            execute(&h, temp, "h", "overwrite", NULL);
            if (h.result < 0) {
                fail_msg("%s", h.error);
            }
            free(temp);
            good++;
        }
        json_decref(changed);
    }
    assert_true(good > 20 && bad > 20);
    house_check(&h);
    json_decref(export_all(&h));
    json_decref(file);
    house_close(&h);
}

static void what_a_file_says_is_named(void **state)
{
    static const struct {
        const char *file, *field;
    } cases[] = {
        { "[]", "version" },
        { "{\"version\":\"2.0\",\"experiments\":[]}", "version" },
        { "{\"version\":\"1.0\",\"experiments\":{}}", "experiments" },
        { "{\"version\":\"1.0\",\"experiments\":[{\"name\":1}]}", "experiments[0].name" },
        { "{\"version\":\"1.0\",\"experiments\":[{\"name\":\"a\"},{\"name\":\"a\"}]}",
          "experiments[1].name" },
        { "{\"version\":\"1.0\",\"experiments\":[{\"name\":\"a\",\"tasks\":[{\"status\":\"x\"}]}]}",
          "experiments[0].tasks[0].status" },
        { "{\"version\":\"1.0\",\"experiments\":[{\"name\":\"a\",\"tasks\":[{\"status\":\"failed\","
          "\"created_at\":\"<b>\"}]}]}",
          "experiments[0].tasks[0].created_at" },
        { "{\"version\":\"1.0\",\"experiments\":[{\"name\":\"a\",\"tasks\":[{\"status\":\"failed\","
          "\"progress\":1e9}]}]}",
          "experiments[0].tasks[0].progress" },
    };
    struct house h;

    (void)state;
    house_open(&h, false, NULL, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        json_t *file = json_loads(cases[i].file, 0, NULL);

        check(&h, file);
        json_decref(file);
        assert_int_equal(h.result, -EINVAL);
        assert_string_equal(h.field, cases[i].field);
    }
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_is_what_a_spreadsheet_takes),
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(names_that_stand),
        cmocka_unit_test(what_is_not_over_is_left_out),
        cmocka_unit_test(only_some_are_kept_and_not_for_ever),
        cmocka_unit_test(hostile_files_are_refused_or_harmless),
        cmocka_unit_test(what_a_file_says_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
