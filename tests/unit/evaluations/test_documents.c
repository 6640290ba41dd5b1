// SPDX-License-Identifier: Apache-2.0
/*
 * Documents: what is kept comes back, also after a restart; what is no id or no good object is
 * refused and not kept; chips, models and topologies stand in the book from the commit on, before
 * those of preset files, and these before the planner's own.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "evaluations/documents_int.h"

static const char *const migrations[] = { documents_table };
static const struct store_schema schema = { "documents", migrations, 1 };
static const struct store_schema *const schemas[] = { &schema, NULL };

/* All that documents.c wants of them. */
struct evaluations {
    struct documents *documents;
};

struct documents *evaluations_documents(struct evaluations *v)
{
    return v->documents;
}

struct fixture {
    struct evaluations v;
    struct world *w;
    struct store *s;
    char dir[64], path[96], file[96];
    int told, result; /* of the last answer */
    json_t *answer;
    char field[PRESET_NAME_MAX], text[480];
};

static void on_done(void *arg, int result, json_t *answer, const char *field, const struct error *e)
{
    struct fixture *f = arg;

    f->told++;
    f->result = result;
    json_decref(f->answer);
    f->answer = json_incref(answer);
    snprintf(f->field, sizeof(f->field), "%s", result < 0 ? field : "");
    snprintf(f->text, sizeof(f->text), "%s", result < 0 ? e->text : "");
}

static void open_all(struct fixture *f)
{
    const char *const files[] = { f->file };
    struct error e = { 0 };

    assert_int_equal(
        store_open(f->w, &(struct store_options){ .path = f->path, .schemas = schemas }, &f->s, &e),
        0);
    f->v.documents = documents_create(f->w, f->s);
    if (documents_start(f->v.documents, files, access(f->file, R_OK) == 0, &e) < 0) {
        fail_msg("%s", e.text);
    }
}

static void close_all(struct fixture *f)
{
    f->v.documents = documents_destroy(f->v.documents);
    f->s = store_close(f->s);
}

static struct fixture *setup(void)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    log_set_fd(-1);
    f->w = sim_create(1);
    strcpy(f->dir, "/tmp/berth-documents-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/berth.db", f->dir);
    snprintf(f->file, sizeof(f->file), "%s/presets.yaml", f->dir);
    open_all(f);
    return f;
}

static void teardown(struct fixture *f)
{
    close_all(f);
    world_destroy(f->w);
    json_decref(f->answer);
    unlink(f->path);
    unlink(f->file);
    rmdir(f->dir);
    free(f);
}

static void restart(struct fixture *f)
{
    close_all(f);
    open_all(f);
}

/* Runs until it is told, once. */
static int settle(struct fixture *f, int before)
{
    assert_int_equal(f->told, before); /* never in the same turn */
    sim_run_for(f->w, 5);
    assert_int_equal(f->told, before + 1);
    return f->result;
}

static int put_json(struct fixture *f, enum document_kind kind, const char *id, json_t *object,
                    bool create)
{
    const int before = f->told;

    documents_put(&f->v, kind, id, object, create, on_done, f);
    json_decref(object);
    return settle(f, before);
}

static int put(struct fixture *f, enum document_kind kind, const char *id, const char *text,
               bool create)
{
    json_error_t e;
    json_t *object = json_loads(text, JSON_DECODE_ANY, &e);

    if (!object) {
        fail_msg("%s: %s", e.text, text);
    }
    return put_json(f, kind, id, object, create);
}

static int get(struct fixture *f, enum document_kind kind, const char *id)
{
    const int before = f->told;

    documents_get(&f->v, kind, id, on_done, f);
    return settle(f, before);
}

static int drop(struct fixture *f, enum document_kind kind, const char *id)
{
    const int before = f->told;

    documents_delete(&f->v, kind, id, on_done, f);
    return settle(f, before);
}

static size_t count(struct fixture *f, enum document_kind kind)
{
    const int before = f->told;

    documents_list(&f->v, kind, on_done, f);
    assert_int_equal(settle(f, before), 0);
    return json_array_size(f->answer);
}

static const char *text_of(const json_t *json, const char *name)
{
    const char *s = json_string_value(json_object_get(json, name));

    return s ? s : "(none)";
}

static const struct planner_chip *chip(struct fixture *f, const char *name)
{
    return presets_chip(documents_book(f->v.documents), name);
}

#define BENCHMARK    "{\"id\":\"b\",\"name\":\"%s\",\"model\":{\"x\":1},\"inference\":{\"y\":[2]}}"
#define CHIP(tflops) "{\"memory_gb\":64,\"bf16_tflops\":" tflops ",\"bandwidth_gbps\":1000}"

/* ---- the rows ---- */

static void test_keeps_what_it_is_given(void **state)
{
    struct fixture *f = setup();
    const char *object = "{\"id\":\"b\",\"name\":\"N\",\"model\":{\"m\":[1,2.5,null]},"
                         "\"inference\":{},\"more\":\"\\u00e9\"}";
    json_t *wanted = json_loads(object, 0, NULL);

    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "b", object, true), 0);
    assert_true(json_is_true(json_object_get(f->answer, "success")));
    assert_string_equal(text_of(f->answer, "id"), "b");
    assert_int_equal(get(f, DOCUMENT_BENCHMARK, "b"), 0);
    assert_true(json_equal(f->answer, wanted));
    restart(f);
    assert_int_equal(get(f, DOCUMENT_BENCHMARK, "b"), 0);
    assert_true(json_equal(f->answer, wanted));
    assert_int_equal(count(f, DOCUMENT_BENCHMARK), 1);
    assert_int_equal(count(f, DOCUMENT_CHIP), 0);
    json_decref(wanted);
    teardown(f);
}

static void test_lists_by_id_and_changes(void **state)
{
    struct fixture *f = setup();
    char text[200];

    snprintf(text, sizeof(text), BENCHMARK, "first");
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "b 2", text, true), 0);
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "a.1", text, true), 0);
    assert_int_equal(count(f, DOCUMENT_BENCHMARK), 2);
    assert_string_equal(text_of(json_array_get(f->answer, 0), "id"), "a.1"); /* its id, not the
                                                                                object's */
    assert_string_equal(text_of(json_array_get(f->answer, 1), "id"), "b 2");

    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "b 2", text, true), -EEXIST);
    snprintf(text, sizeof(text), BENCHMARK, "second");
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "b 2", text, false), 0);
    assert_int_equal(get(f, DOCUMENT_BENCHMARK, "b 2"), 0);
    assert_string_equal(text_of(f->answer, "name"), "second");
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "c", text, false), -ENOENT);

    assert_int_equal(drop(f, DOCUMENT_BENCHMARK, "b 2"), 0);
    assert_int_equal(drop(f, DOCUMENT_BENCHMARK, "b 2"), -ENOENT);
    assert_int_equal(get(f, DOCUMENT_BENCHMARK, "b 2"), -ENOENT);
    assert_non_null(strstr(f->text, "b 2"));
    assert_int_equal(count(f, DOCUMENT_BENCHMARK), 1);
    teardown(f);
}

static void test_ids_are_no_paths(void **state)
{
    static const char *const bad[] = { "",    ".",     "..",     "../x",  "a/b",  "a\\b", "a\nb",
                                       "a:b", "a%2fb", "\xff",   "x\xc3", " ",    ". .",  "a\"b",
                                       "a*",  "~",     "a;drop", "<b>",   "a\tb", NULL };
    static const char *const good[] = { "a", "A.b_c-9 d", "...a", "\xe7\xbe\xa4", NULL };
    struct fixture *f = setup();
    char text[200], longest[DOCUMENT_ID_MAX + 2];

    snprintf(text, sizeof(text), BENCHMARK, "n");
    for (size_t i = 0; bad[i]; i++) {
        if (put(f, DOCUMENT_BENCHMARK, bad[i], text, true) != -EINVAL || !str_eq(f->field, "id")) {
            fail_msg("'%s' gives %d (%s)", bad[i], f->result, f->field);
        }
        assert_int_equal(get(f, DOCUMENT_BENCHMARK, bad[i]), -EINVAL);
        assert_int_equal(drop(f, DOCUMENT_BENCHMARK, bad[i]), -EINVAL);
    }
    memset(longest, 'a', sizeof(longest));
    longest[DOCUMENT_ID_MAX + 1] = '\0';
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, longest, text, true), -EINVAL);
    assert_int_equal(count(f, DOCUMENT_BENCHMARK), 0);
    longest[DOCUMENT_ID_MAX] = '\0';
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, longest, text, true), 0);
    for (size_t i = 0; good[i]; i++) {
        assert_int_equal(put(f, DOCUMENT_BENCHMARK, good[i], text, true), 0);
        assert_int_equal(get(f, DOCUMENT_BENCHMARK, good[i]), 0);
    }
    teardown(f);
}

static void test_refuses_what_is_no_document(void **state)
{
    static const struct {
        enum document_kind kind;
        const char *text, *field;
        int code; /* 0: either of the two */
    } table[] = {
        { DOCUMENT_BENCHMARK, "[]", "", -EPROTO },
        { DOCUMENT_BENCHMARK, "{\"model\":{},\"inference\":{}}", "name", -EPROTO },
        { DOCUMENT_BENCHMARK, "{\"name\":7,\"model\":{},\"inference\":{}}", "name", -EPROTO },
        { DOCUMENT_BENCHMARK, "{\"name\":\"n\",\"inference\":{}}", "model", -EPROTO },
        { DOCUMENT_BENCHMARK, "{\"name\":\"n\",\"model\":[],\"inference\":{}}", "model", -EPROTO },
        { DOCUMENT_BENCHMARK, "{\"name\":\"n\",\"model\":{},\"inference\":1}", "inference",
          -EPROTO },
        { DOCUMENT_CHIP, "7", "", -EPROTO },
        { DOCUMENT_CHIP, "{\"memory_gb\":\"much\",\"bf16_tflops\":1,\"bandwidth_gbps\":1}",
          "memory_gb", 0 },
        { DOCUMENT_CHIP, "{\"memory_gb\":-1,\"bf16_tflops\":1,\"bandwidth_gbps\":1}", "memory_gb",
          0 },
        { DOCUMENT_MODEL, "{\"preset\":\"llama-3.1-8b\",\"layers\":0}", "layers", 0 },
        { DOCUMENT_TOPOLOGY, "{\"pods\":7}", "pods", 0 },
    };
    struct fixture *f = setup();

    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        int r = put(f, table[i].kind, "x", table[i].text, true);

        if (table[i].code ? r != table[i].code : r != -EPROTO && r != -EINVAL) {
            fail_msg("%s gives %d: %s", table[i].text, r, f->text);
        }
        if (!strstr(f->field, table[i].field) || !strstr(f->text, table[i].field)) {
            fail_msg("%s is about '%s', not '%s': %s", table[i].text, f->field, table[i].field,
                     f->text);
        }
        assert_int_equal(count(f, table[i].kind), 0);
    }
    teardown(f);
}

/* What has no name in the book is not kept without one. */
static void test_names_of_the_book(void **state)
{
    struct fixture *f = setup();
    char longest[PRESET_NAME_MAX + 1];

    memset(longest, 'c', sizeof(longest));
    longest[PRESET_NAME_MAX] = '\0';
    assert_int_equal(put(f, DOCUMENT_CHIP, longest, CHIP("100"), true), -EINVAL);
    assert_string_equal(f->field, "id");
    assert_int_equal(count(f, DOCUMENT_CHIP), 0);
    longest[PRESET_NAME_MAX - 1] = '\0';
    assert_int_equal(put(f, DOCUMENT_CHIP, longest, CHIP("100"), true), 0);
    assert_non_null(chip(f, longest));
    teardown(f);
}

static void test_bounds(void **state)
{
    struct fixture *f = setup();
    char text[200], id[32], *big = xcalloc(1, DOCUMENT_MAX + 1);
    json_t *object;

    memset(big, 'x', DOCUMENT_MAX);
    object = json_pack("{s:s, s:{}, s:{s:s}}", "name", "n", "model", "inference", "big", big);
    assert_int_equal(put_json(f, DOCUMENT_BENCHMARK, "big", object, true), -EFBIG);
    free(big);

    snprintf(text, sizeof(text), BENCHMARK, "n");
    for (int i = 0; i < DOCUMENTS_MAX; i++) {
        snprintf(id, sizeof(id), "b%d", i);
        assert_int_equal(put(f, DOCUMENT_BENCHMARK, id, text, true), 0);
    }
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "one more", text, true), -EBUSY);
    assert_int_equal(put(f, DOCUMENT_CHIP, "another kind", CHIP("100"), true), 0);
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "b7", text, false), 0);
    assert_int_equal(drop(f, DOCUMENT_BENCHMARK, "b7"), 0);
    assert_int_equal(put(f, DOCUMENT_BENCHMARK, "one more", text, true), 0);
    assert_int_equal(count(f, DOCUMENT_BENCHMARK), DOCUMENTS_MAX);
    teardown(f);
}

/* The book holds so many names, those of files among them: what it has no room for is not kept. */
static void test_room_in_the_book(void **state)
{
    struct fixture *f = setup();
    FILE *file = fopen(f->file, "w");

    fputs("chips:\n", file);
    for (int i = 0; i < PRESETS_MAX - 2; i++) {
        fprintf(file, "  c%d: {memory_gb: 64, bf16_tflops: 11, bandwidth_gbps: 1000}\n", i);
    }
    fclose(file);
    restart(f);
    assert_int_equal(put(f, DOCUMENT_CHIP, "one", CHIP("100"), true), 0);
    assert_int_equal(put(f, DOCUMENT_MODEL, "two", "{\"preset\":\"llama-3.1-8b\"}", true), 0);
    assert_int_equal(put(f, DOCUMENT_CHIP, "three", CHIP("100"), true), -EBUSY);
    assert_int_equal(get(f, DOCUMENT_CHIP, "three"), -ENOENT);
    assert_int_equal(put(f, DOCUMENT_CHIP, "one", CHIP("200"), false), 0);
    restart(f);
    assert_true(chip(f, "one")->bf16_tflops == 200);
    assert_non_null(chip(f, "c7"));
    assert_non_null(presets_model(documents_book(f->v.documents), "two"));
    assert_int_equal(drop(f, DOCUMENT_MODEL, "two"), 0);
    assert_int_equal(put(f, DOCUMENT_CHIP, "three", CHIP("100"), true), 0);
    assert_non_null(chip(f, "three"));
    teardown(f);
}

/* Whoever asked is told, once, and the late commits find nobody. */
static void test_going_down_with_questions(void **state)
{
    struct fixture *f = setup();
    json_t *object = json_loads(CHIP("100"), 0, NULL);

    documents_list(&f->v, DOCUMENT_CHIP, on_done, f);
    documents_get(&f->v, DOCUMENT_CHIP, "../x", on_done, f);
    documents_put(&f->v, DOCUMENT_CHIP, "late", object, true, on_done, f);
    assert_int_equal(f->told, 0);
    f->v.documents = documents_destroy(f->v.documents);
    assert_int_equal(f->told, 3);
    assert_int_equal(f->result, -ECANCELED);
    sim_run_for(f->w, 5);
    assert_int_equal(f->told, 3);
    f->s = store_close(f->s);
    open_all(f);
    assert_non_null(chip(f, "late")); /* it was with the store already */
    json_decref(object);
    teardown(f);
}

/* ---- the book ---- */

static void test_a_chip_stands_in_the_book(void **state)
{
    struct fixture *f = setup();

    assert_null(chip(f, "my-card"));
    assert_int_equal(put(f, DOCUMENT_CHIP, "my-card", CHIP("100"), true), 0);
    assert_non_null(chip(f, "my-card"));
    assert_true(chip(f, "my-card")->bf16_tflops == 100);
    assert_int_equal(put(f, DOCUMENT_CHIP, "my-card", CHIP("-5"), false), -EINVAL);
    assert_true(chip(f, "my-card")->bf16_tflops == 100);
    assert_int_equal(put(f, DOCUMENT_CHIP, "my-card", CHIP("200"), false), 0);
    assert_true(chip(f, "my-card")->bf16_tflops == 200);
    restart(f);
    assert_true(chip(f, "my-card")->bf16_tflops == 200);
    assert_int_equal(drop(f, DOCUMENT_CHIP, "my-card"), 0);
    assert_null(chip(f, "my-card"));
    assert_non_null(chip(f, "h100-sxm")); /* the planner's own are still there */
    teardown(f);
}

static void test_models_and_topologies_do_too(void **state)
{
    struct fixture *f = setup();
    const struct presets *book;
    const struct planner_topology *t;

    assert_int_equal(
        put(f, DOCUMENT_MODEL, "my-model", "{\"preset\":\"llama-3.1-8b\",\"layers\":16}", true), 0);
    assert_int_equal(
        put(f, DOCUMENT_TOPOLOGY, "my-rack",
            "{\"name\":\"a rack\",\"pods\":[{\"racks\":[{\"boards\":[{\"chips\":[{\"id\":\"a\"},"
            "{\"id\":\"b\"}]},{\"chips\":[{\"id\":\"c\"},{\"id\":\"d\"}]}]}]}],"
            "\"connections\":[]}",
            true),
        0);
    for (int round = 0; round < 2; round++) {
        book = documents_book(f->v.documents);
        assert_non_null(presets_model(book, "my-model"));
        assert_int_equal(presets_model(book, "my-model")->layers, 16);
        assert_string_equal(presets_model(book, "my-model")->name, "my-model");
        t = presets_topology(book, "my-rack");
        assert_non_null(t);
        assert_int_equal(planner_topology_chips(t), 4);
        restart(f);
    }
    assert_int_equal(get(f, DOCUMENT_TOPOLOGY, "my-rack"), 0); /* and as it was given */
    assert_int_equal(json_array_size(json_object_get(f->answer, "pods")), 1);
    assert_string_equal(text_of(f->answer, "name"), "a rack");
    teardown(f);
}

/* A chip that was made of another keeps its figures when that one changes or goes. */
static void test_made_of_another_document(void **state)
{
    struct fixture *f = setup();

    assert_int_equal(put(f, DOCUMENT_CHIP, "z-base", CHIP("100"), true), 0);
    assert_int_equal(
        put(f, DOCUMENT_CHIP, "a-made", "{\"preset\":\"z-base\",\"bandwidth_gbps\":500}", true), 0);
    restart(f);
    assert_true(chip(f, "a-made")->bf16_tflops == 100);
    assert_true(chip(f, "a-made")->bandwidth_gbps == 500);
    assert_int_equal(drop(f, DOCUMENT_CHIP, "z-base"), 0);
    restart(f);
    assert_true(chip(f, "a-made")->bf16_tflops == 100);
    assert_true(chip(f, "a-made")->memory_gb == 64 * 1.073741824);
    teardown(f);
}

static void test_documents_before_files_before_our_own(void **state)
{
    struct fixture *f = setup();
    const double shipped = chip(f, "h100-sxm")->bf16_tflops;
    FILE *file = fopen(f->file, "w");

    fputs("chips:\n  h100-sxm: {memory_gb: 64, bf16_tflops: 11, bandwidth_gbps: 1000}\n", file);
    fclose(file);
    restart(f);
    assert_true(chip(f, "h100-sxm")->bf16_tflops == 11);
    assert_int_equal(put(f, DOCUMENT_CHIP, "h100-sxm", CHIP("22"), true), 0);
    assert_true(chip(f, "h100-sxm")->bf16_tflops == 22);
    assert_int_equal(drop(f, DOCUMENT_CHIP, "h100-sxm"), 0);
    assert_true(chip(f, "h100-sxm")->bf16_tflops == 11);
    unlink(f->file);
    restart(f);
    assert_true(chip(f, "h100-sxm")->bf16_tflops == shipped);
    teardown(f);
}

static void test_a_bad_file_is_an_error(void **state)
{
    struct fixture *f = setup();
    const char *const files[] = { f->file };
    struct error e = { 0 };
    FILE *file = fopen(f->file, "w");
    struct documents *d = documents_create(f->w, f->s);

    fputs("chips: {x: {memory_gb: -1}}\n", file);
    fclose(file);
    assert_true(documents_start(d, files, 1, &e) < 0);
    assert_non_null(strstr(e.text, f->file));
    documents_destroy(d);
    teardown(f);
}

struct spoil {
    struct store_op op;
};

static int run_spoil(struct store_op *op, struct sql *db, struct error *reterr)
{
    return sql_run(db, reterr,
                   "INSERT INTO planner_documents(kind, id, object, entry, created_ms, updated_ms) "
                   "VALUES('chip', 'spoilt', '{}', '{\"memory_gb\":-1}', 0, 0), "
                   "('model', 'no json', '{}', '{', 0, 0), "
                   "('model', 'nothing', '{}', NULL, 0, 0)",
                   "");
}

/* A row that an older or newer berth wrote does not keep this one from starting. */
static void test_a_bad_row_is_passed_over(void **state)
{
    struct fixture *f = setup();
    struct spoil s = { .op.run = run_spoil };

    assert_int_equal(put(f, DOCUMENT_CHIP, "fine", CHIP("100"), true), 0);
    assert_true(store_write_now(f->s, &s.op) >= 0);
    restart(f);
    assert_null(chip(f, "spoilt"));
    assert_non_null(chip(f, "fine"));
    assert_int_equal(drop(f, DOCUMENT_CHIP, "spoilt"), 0);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keeps_what_it_is_given),
        cmocka_unit_test(test_lists_by_id_and_changes),
        cmocka_unit_test(test_ids_are_no_paths),
        cmocka_unit_test(test_refuses_what_is_no_document),
        cmocka_unit_test(test_names_of_the_book),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_room_in_the_book),
        cmocka_unit_test(test_going_down_with_questions),
        cmocka_unit_test(test_a_chip_stands_in_the_book),
        cmocka_unit_test(test_models_and_topologies_do_too),
        cmocka_unit_test(test_made_of_another_document),
        cmocka_unit_test(test_documents_before_files_before_our_own),
        cmocka_unit_test(test_a_bad_file_is_an_error),
        cmocka_unit_test(test_a_bad_row_is_passed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
