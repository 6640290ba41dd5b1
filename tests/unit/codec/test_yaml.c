// SPDX-License-Identifier: Apache-2.0
/* YAML as a tree with lines: types, places, refusals, files that unfold. */
#include "unit.h"

#include "base/buf.h"
#include "base/mem.h"
#include "codec/yaml_tree.h"

static char *compact(const char *text)
{
    struct yaml_document d;
    struct error e = { 0 };
    char *out;

    if (yaml_read(span_of(text), "f.yaml", &d, &e) < 0) {
        return xstrdup(e.text);
    }
    out = json_dumps(d.root, JSON_COMPACT | JSON_ENCODE_ANY);
    yaml_document_finish(&d);
    return out;
}

struct pair {
    const char *yaml, *expected;
};

static void check_all(const struct pair *pairs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        _cleanup_(freep) char *got = compact(pairs[i].yaml);

        assert_string_equal(got, pairs[i].expected);
    }
}

static void scalars_have_types(void **state)
{
    static const struct pair pairs[] = {
        { "", "null" },
        { "# only a comment\n", "null" },
        { "[~, null, true, False, on, off, yes, no]",
          "[null,null,true,false,\"on\",\"off\",\"yes\",\"no\"]" },
        { "[1, -2, +3, 0, '1', \"2\"]", "[1,-2,3,0,\"1\",\"2\"]" },
        { "[1.5, -0.25, 1e3, .5]", "[1.5,-0.25,1000.0,0.5]" },
        { "[0755, 1.2.3, 1e, '', 12345678901234567890, 1e999, 127.0.0.1:8080, 300s]",
          "[\"0755\",\"1.2.3\",\"1e\",\"\",\"12345678901234567890\",\"1e999\",\"127.0.0.1:8080\","
          "\"300s\"]" },
        { "a: |\n  x\n  y\nb:\n", "{\"a\":\"x\\ny\\n\",\"b\":null}" },
        { "\xEF\xBB\xBF"
          "a: \xE4\xB8\xAD\n",
          "{\"a\":\"\xE4\xB8\xAD\"}" },
        { "a: &x {k: [1, 2]}\nb: *x\nc: *x\n",
          "{\"a\":{\"k\":[1,2]},\"b\":{\"k\":[1,2]},\"c\":{\"k\":[1,2]}}" },
    };

    check_all(pairs, ARRAY_SIZE(pairs));
}

static void refusals_say_file_and_line(void **state)
{
    static const struct pair pairs[] = {
        { "a: 1\nb: 2\na: 3\n", "f.yaml:3: 'a' stands here twice, first in line 1" },
        { "a: 1\n---\nb: 2\n", "f.yaml:2: more than one document" },
        { "a: 1\n? [x]\n: 2\n", "f.yaml:2: a key must be plain text" },
        { "a: 1\nb: *nothing\n", "f.yaml:2: an alias without its anchor before it" },
        { "a: &a [*a]\n", "f.yaml:1: an alias without its anchor before it" },
        { "a: &x {k: 1}\nb:\n  <<: *x\n", "f.yaml:3: merge keys (<<) are not understood here" },
        { "a: 1\nb: !!str 5\n", "f.yaml:2: tags (!...) are not understood here" },
        { "a: 1\nb: \"x\\0y\"\n", "f.yaml:2: a NUL character stands in a text" },
        { "a: 1\n\"x\\0y\": 1\n", "f.yaml:2: a NUL character stands in a key" },
    };
    _cleanup_(freep) char *got = compact("a: 1\nb: [1,\n2\nc: 3\n");

    check_all(pairs, ARRAY_SIZE(pairs));
    assert_true(str_starts(got, "f.yaml:4: "));
}

static void every_value_has_its_line(void **state)
{
    struct yaml_document d;

    assert_int_equal(
        yaml_read(
            SPAN("server:\n  listen: x\n\n  port: 1\nmodels:\n  - id: a\n    x: 1\n  - id: b\n"
                 "c: &n\n  k: 1\nd: *n\n"),
            "f", &d, NULL),
        0);
    assert_int_equal(yaml_line(&d, "server"), 1);
    assert_int_equal(yaml_line(&d, "server.listen"), 2);
    assert_int_equal(yaml_line(&d, "server.port"), 4);
    assert_int_equal(yaml_line(&d, "models.0"), 6);
    assert_int_equal(yaml_line(&d, "models.0.x"), 7);
    assert_int_equal(yaml_line(&d, "models.1.id"), 8);
    assert_int_equal(yaml_line(&d, "c.k"), 10);
    assert_int_equal(yaml_line(&d, "d.k"), 11);
    assert_int_equal(yaml_line(&d, "nothing"), 0);
    yaml_document_finish(&d);
}

/* n levels of lists */
static int read_nested(unsigned n)
{
    struct buf b = BUF_INIT(10000);
    struct yaml_document d;
    int r;

    for (unsigned i = 0; i < n; i++) {
        buf_putc(&b, '[');
    }
    for (unsigned i = 0; i < n; i++) {
        buf_putc(&b, ']');
    }
    r = yaml_read(buf_span(&b), "f", &d, NULL);
    if (r == 0) {
        yaml_document_finish(&d);
    }
    buf_finish(&b);
    return r;
}

static void depth_is_bounded(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct yaml_document d;
    struct error e;

    assert_int_equal(read_nested(YAML_DEPTH_MAX), 0);
    assert_int_equal(read_nested(YAML_DEPTH_MAX + 1), -EINVAL);
    /* by aliases too: each of these is one deeper than the one before */
    buf_puts(&b, "a0: &a0 [x]\n");
    for (int i = 1; i < 2000; i++) {
        buf_printf(&b, "a%d: &a%d [*a%d]\n", i, i, i - 1);
    }
    assert_int_equal(yaml_read(buf_span(&b), "f", &d, &e), -EINVAL);
    assert_string_equal(e.text, "f:32: nested too deeply");
    buf_finish(&b);
}

static void files_that_unfold_are_refused(void **state)
{
    struct buf b = BUF_INIT(4 << 20);
    struct yaml_document d;
    struct error e;

    buf_puts(&b, "a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (int c = 'b'; c <= 'j'; c++) {
        buf_printf(&b, "%c: &%c [", c, c);
        for (int i = 0; i < 9; i++) {
            buf_printf(&b, "%s*%c", i ? "," : "", c - 1);
        }
        buf_puts(&b, "]\n");
    }
    assert_int_equal(yaml_read(buf_span(&b), "f", &d, &e), -EINVAL);
    assert_non_null(strstr(e.text, "the file holds too much"));

    buf_clear(&b); /* few values, but of a long text */
    buf_puts(&b, "a: &a ");
    for (int i = 0; i < 1000000; i++) {
        buf_putc(&b, 'x');
    }
    buf_puts(&b, "\nb:\n");
    for (int i = 0; i < 100; i++) {
        buf_puts(&b, " - *a\n");
    }
    assert_int_equal(yaml_read(buf_span(&b), "f", &d, &e), -EINVAL);
    assert_non_null(strstr(e.text, "the file holds too much"));
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scalars_have_types),
        cmocka_unit_test(refusals_say_file_and_line),
        cmocka_unit_test(every_value_has_its_line),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(files_that_unfold_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
