// SPDX-License-Identifier: Apache-2.0
/* The file browser never shows what lies outside of its roots, however it is asked. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/file_browser.h"
#include "base/mem.h"
#include "base/str.h"
#include "unit.h"

/* models/{a.gguf, b.txt, .hidden, sub/config.json, out -> ../models-secret, in -> sub},
 * models-secret/key */
static char top[64], root[96];
static const char *roots[] = { root, "/no/such/root", NULL };

static void put(const char *name, const char *text)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", top, name);
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void make_folder(const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", top, name);

    assert_int_equal(mkdir(path, 0755), 0);
}

static void make_link(const char *to, const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", top, name);

    assert_int_equal(symlink(to, path), 0);
}

static int set_up(void **state)
{
    strcpy(top, "/tmp/berth-browser-XXXXXX");
    assert_non_null(mkdtemp(top));
    snprintf(root, sizeof(root), "%s/models", top);
    make_folder("models");
    make_folder("models/sub");
    make_folder("models-secret");
    put("models/a.gguf", "GGUF");
    put("models/B.txt", "some text");
    put("models/.hidden", "");
    put("models/sub/config.json", "{}");
    put("models-secret/key", "secret");
    make_link("../models-secret", "models/out");
    make_link("../models-secret/key", "models/key.gguf");
    make_link("sub", "models/in");
    return 0;
}

static int tear_down(void **state)
{
    _cleanup_(freep) char *command = xasprintf("rm -r %s", top);

    return system(command); // NOLINT(cert-env33-c)
}

static json_t *list_with(const char *path, const struct paging *paging)
{
    struct error e = { 0 };
    json_t *json = NULL;

    if (browser_list(roots, path, paging, &json, &e) < 0) {
        fail_msg("%s: %s", path, e.text);
    }
    return json;
}

static json_t *list(const char *path)
{
    return list_with(path, &(struct paging){ .kind = &browser_paging, .limit = UINT64_MAX });
}

static int refusal(const char *path)
{
    const struct paging paging = { .kind = &browser_paging, .limit = UINT64_MAX };
    struct error e = { 0 };
    json_t *json = NULL;
    const int r = browser_list(roots, path, &paging, &json, &e);

    json_decref(json);
    assert_true(r >= 0 || e.text[0]);
    return r;
}

/* Below the top. */
static int refusal_below(const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", top, name);

    return refusal(path);
}

static const char *name_at(const json_t *json, const char *member, size_t i)
{
    return json_string_value(
        json_object_get(json_array_get(json_object_get(json, member), i), "name"));
}

static size_t count(const json_t *json, const char *member)
{
    return json_array_size(json_object_get(json, member));
}

static void test_shows_what_is_there(void **state)
{
    json_t *json = list(root);
    const json_t *file = json_array_get(json_object_get(json, "files"), 0);

    assert_string_equal(json_string_value(json_object_get(json, "path")), root);
    assert_int_equal(count(json, "directories"), 2); /* in, sub: out leads out */
    assert_string_equal(name_at(json, "directories", 0), "in");
    assert_string_equal(name_at(json, "directories", 1), "sub");
    assert_true(json_is_true(
        json_object_get(json_array_get(json_object_get(json, "directories"), 1), "is_model")));
    assert_int_equal(count(json, "files"), 2); /* nothing hidden, no key.gguf */
    assert_string_equal(name_at(json, "files", 0), "a.gguf");
    assert_string_equal(name_at(json, "files", 1), "B.txt");
    assert_int_equal(json_integer_value(json_object_get(file, "size")), 4);
    assert_true(json_is_true(json_object_get(file, "is_model")));
    assert_true(json_is_null(json_object_get(json, "parent"))); /* it is not to be shown */
    assert_true(json_is_false(json_object_get(json, "truncated")));
    json_decref(json);
}

static void test_goes_down_and_up(void **state)
{
    _cleanup_(freep) char *sub = xasprintf("%s/sub", root), *in = xasprintf("%s/in", root),
                          *round = xasprintf("%s/sub/../sub/./", root);
    const char *const ways[] = { sub, in, round };

    for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
        json_t *json = list(ways[i]);

        assert_string_equal(json_string_value(json_object_get(json, "path")), sub);
        assert_string_equal(json_string_value(json_object_get(json, "parent")), root);
        assert_string_equal(name_at(json, "files", 0), "config.json");
        json_decref(json);
    }
}

static void test_outside_is_not_told_of(void **state)
{
    assert_int_equal(refusal("/"), -EPERM);
    assert_int_equal(refusal("/etc"), -EPERM);
    assert_int_equal(refusal("/etc/no-such-thing"), -EPERM);  /* as one that is there */
    assert_int_equal(refusal_below("models-secret"), -EPERM); /* a prefix is no folder */
    assert_int_equal(refusal_below("models-secret/nothing"), -EPERM);
    assert_int_equal(refusal_below("models/.."), -EPERM);
    assert_int_equal(refusal_below("models/../models-secret"), -EPERM);
    assert_int_equal(refusal_below("models/sub/../../models-secret"), -EPERM);
    assert_int_equal(refusal_below("models/out"), -EPERM);
    assert_int_equal(refusal_below("models/out/key"), -EPERM);
    assert_int_equal(refusal_below("models/out/nothing"), -EPERM);
    assert_int_equal(refusal("models"), -EINVAL);
    assert_int_equal(refusal(""), -EINVAL);
}

/* No answer could name it. */
static void test_names_that_are_not_utf8(void **state)
{
    make_folder("models/b\xff");
    make_link("b\xff", "models/good");
    assert_int_equal(refusal_below("models/b\xff"), -EINVAL);
    assert_int_equal(refusal_below("models/good"), -EINVAL);
    assert_int_equal(refusal_below("models/none\xff"), -EINVAL);
}

static void test_what_is_no_folder(void **state)
{
    _cleanup_(freep) char *closed = xasprintf("%s/closed", root);

    assert_int_equal(refusal_below("models/nothing"), -ENOENT);
    assert_int_equal(refusal_below("models/nothing/below"), -ENOENT);
    assert_int_equal(refusal_below("models/a.gguf"), -ENOTDIR);
    if (geteuid() == 0) { /* nothing is closed to root */
        return;
    }
    assert_int_equal(mkdir(closed, 0), 0);
    assert_int_equal(refusal(closed), -EACCES);
    assert_int_equal(rmdir(closed), 0);
}

static void test_one_path(void **state)
{
    _cleanup_(freep) char *file = xasprintf("%s/a.gguf", root),
                          *out = xasprintf("%s/key.gguf", root),
                          *missing = xasprintf("%s/c.gguf", root);
    struct error e = { 0 };
    json_t *json = NULL;

    assert_int_equal(browser_look(roots, file, &json, &e), 0);
    assert_true(json_is_true(json_object_get(json, "is_model")));
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "file_info"), "size")), 4);
    json_decref(json);
    assert_int_equal(browser_look(roots, root, &json, &e), 0);
    assert_true(json_is_true(json_object_get(json_object_get(json, "file_info"), "is_directory")));
    assert_true(json_is_false(json_object_get(json, "is_model")));
    json_decref(json);
    assert_int_equal(browser_look(roots, out, &json, &e), -EPERM);
    assert_int_equal(browser_look(roots, missing, &json, &e), -ENOENT);
}

static void test_roots(void **state)
{
    json_t *json = browser_roots(roots);
    const json_t *one = json_array_get(json, 0), *two = json_array_get(json, 1);

    assert_string_equal(json_string_value(json_object_get(one, "name")), "models");
    assert_true(json_is_true(json_object_get(one, "accessible")));
    assert_true(json_is_false(json_object_get(two, "accessible")));
    json_decref(json);
}

/* Folders and files are one list: in, sub, a.gguf, B.txt. */
static void test_pages(void **state)
{
    struct paging paging = { .kind = &browser_paging, .limit = 2, .offset = 1 };
    char large[] = "size", word[] = "B";
    json_t *json = list_with(root, &paging);

    assert_int_equal(json_integer_value(json_object_get(json, "total_count")), 4);
    assert_int_equal(count(json, "directories"), 1);
    assert_string_equal(name_at(json, "directories", 0), "sub");
    assert_int_equal(count(json, "files"), 1);
    assert_string_equal(name_at(json, "files", 0), "a.gguf");
    json_decref(json);
    paging = (struct paging){
        .kind = &browser_paging, .limit = UINT64_MAX, .sort = large, .descending = true
    };
    json = list_with(root, &paging);
    assert_string_equal(name_at(json, "files", 0), "B.txt");
    json_decref(json);
    paging = (struct paging){ .kind = &browser_paging, .limit = UINT64_MAX, .q = word };
    json = list_with(root, &paging);
    assert_int_equal(json_integer_value(json_object_get(json, "total_count")), 2); /* sub, B.txt */
    json_decref(json);
    paging = (struct paging){ .kind = &browser_paging, .limit = 5, .offset = 9 };
    json = list_with(root, &paging);
    assert_int_equal(count(json, "files") + count(json, "directories"), 0);
    json_decref(json);
}

static void test_many_are_cut(void **state)
{
    _cleanup_(freep) char *many = xasprintf("%s/many", root);
    json_t *json;

    make_folder("models/many");
    for (int i = 0; i <= BROWSER_ENTRIES_MAX; i++) {
        char name[64];

        snprintf(name, sizeof(name), "models/many/%d", i);
        put(name, "");
    }
    json = list(many);
    assert_int_equal(count(json, "files"), BROWSER_ENTRIES_MAX);
    assert_true(json_is_true(json_object_get(json, "truncated")));
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shows_what_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_goes_down_and_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_outside_is_not_told_of, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_names_that_are_not_utf8, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_is_no_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_one_path, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_roots, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_many_are_cut, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
