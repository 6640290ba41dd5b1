// SPDX-License-Identifier: Apache-2.0
/* The reader of forms: what clients send is read byte for byte, what can be read in two ways is
 * refused, and random forms come back as they were made. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "codec/multipart.h"

#define TYPE "multipart/form-data; boundary=XyZ"

/* In steps of one to eight bytes, in turn. */
static int read_all(struct span type, struct span body, struct multipart *m, struct error *reterr)
{
    static size_t max;
    int r = multipart_begin(m, type, body, reterr);

    max = max % 8 + 1;
    for (size_t steps = 0; r >= 0 && (r = multipart_step(m, max, reterr)) > 0; steps++) {
        assert_true(steps <= body.n);
    }
    return r;
}

static int read_text(const char *type, const char *body, struct multipart *m)
{
    struct error err = { 0 };
    int r = read_all(span_of(type), span_of(body), m, &err);

    assert_true(r < 0 ? err.text[0] != '\0' && err.code == r : err.text[0] == '\0');
    return r;
}

static void assert_span(struct span s, const char *text)
{
    assert_non_null(s.p);
    assert_int_equal(s.n, strlen(text));
    assert_memory_equal(s.p, text, s.n);
}

static void test_a_file_and_a_field(void **state)
{
    static const char body[] = "--XyZ\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\n"
                               "batch\r\n--XyZ\r\ncontent-disposition: form-data; name=\"file\"; "
                               "filename=\"in\\\"put%22.jsonl\"\r\n"
                               "Content-Type: application/octet-stream\r\n\r\n"
                               "{\"a\":1}\r\n--XyY\n\r\n--XyZ--\r\n";
    const struct multipart_part *part;
    struct multipart m;
    char *name;

    assert_int_equal(read_text(TYPE, body, &m), 0);
    assert_int_equal(m.count, 2);
    assert_int_equal(multipart_find(&m, "purpose", &part, NULL), 0);
    assert_span(part->data, "batch");
    assert_null(part->filename.p);
    assert_null(part->content_type.p);
    assert_int_equal(multipart_find(&m, "file", &part, NULL), 0);
    assert_span(part->data, "{\"a\":1}\r\n--XyY\n");
    assert_span(part->content_type, "application/octet-stream");
    name = multipart_text(part->filename);
    assert_string_equal(name, "in\"put\".jsonl");
    free(name);
    assert_int_equal(multipart_find(&m, "other", &part, NULL), 0);
    assert_null(part);
}

static void test_boundaries(void **state)
{
    static const struct {
        const char *type, *body;
        int result;
    } rows[] = {
        { "multipart/form-data; boundary=b", "--b--", 0 },
        { "Multipart/Form-Data;BOUNDARY=\"b\"", "--b--\r\n", 0 },
        { "multipart/form-data; charset=utf-8; boundary=b", "--b--", 0 },
        { "multipart/form-data; boundary=\"a b\"", "--a b--", 0 },
        { "multipart/form-data", "--b--", -EINVAL },
        { "multipart/form-data; boundary=", "----", -EINVAL },
        { "multipart/form-data; boundary=\"\"", "----", -EINVAL },
        { "multipart/form-data; boundary=\"b \"", "--b --", -EINVAL },
        { "multipart/form-data; boundary=b; boundary=b", "--b--", -EINVAL },
        { "multipart/form-data; boundary=\"b", "--b--", -EINVAL },
        { "multipart/form-data; boundary=b junk", "--b--", -EINVAL },
        { "multipart/mixed; boundary=b", "--b--", -EINVAL },
        { "application/json", "{}", -EINVAL },
        { "multipart/form-data; boundary=0123456789012345678901234567890123456789012345678901234567"
          "8901234567890",
          "--", -EINVAL },
        { "multipart/form-data; boundary=b", "", -EBADMSG },
        { "multipart/form-data; boundary=b", "--b", -EBADMSG },
        { "multipart/form-data; boundary=b", "preamble\r\n--b--", -EBADMSG },
        { "multipart/form-data; boundary=b", "--b--epilogue", -EBADMSG },
        { "multipart/form-data; boundary=b", "--b \r\n", -EBADMSG },
        { "multipart/form-data; boundary=b", "--bb--", -EBADMSG },
    };
    struct multipart m;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        int r = read_text(rows[i].type, rows[i].body, &m);

        if (r != rows[i].result) {
            fail_msg("%s | %s: %d, not %d", rows[i].type, rows[i].body, r, rows[i].result);
        }
    }
}

static void test_broken_parts(void **state)
{
    static const char *const parts[] = {
        "",
        "\r\n",
        "Content-Disposition: form-data\r\n\r\nx",
        "Content-Disposition: form-data; name=\"a\r\n\r\nx",
        "Content-Disposition: form-data; name=\"a\"\r\nx",
        "Content-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nx",
        "Content-Disposition: form-data; filename=\"b\"\r\n\r\nx",
        "Content-Disposition: attachment; name=\"a\"\r\n\r\nx",
        ("Content-Disposition: form-data; name=\"a\"\r\nContent-Disposition: form-data; "
         "name=\"b\"\r\n\r\nx"),
        "Content-Disposition: form-data; name=\"a\"\r\nno header\r\n\r\nx",
        "Content-Disposition: form-data; name=\"a\"\r\nContent-Transfer-Encoding: base64\r\n\r\nx",
        "Content-Type: text/plain\r\n\r\nx",
    };
    struct multipart m;
    char body[512];

    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        snprintf(body, sizeof(body), "--XyZ\r\n%s\r\n--XyZ--", parts[i]);
        if (read_text(TYPE, body, &m) != -EBADMSG) {
            fail_msg("taken: %s", body);
        }
    }
    /* Each of them stands whole but for its last boundary. */
    assert_int_equal(
        read_text(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--XyZ", &m),
        -EBADMSG);
    assert_int_equal(
        read_text(TYPE, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\nx", &m), -EBADMSG);
}

static void test_limits(void **state)
{
    struct buf b = BUF_INIT(1 << 20);
    struct multipart m;
    const struct multipart_part *part;

    for (int i = 0; i < MULTIPART_PARTS_MAX; i++) {
        buf_puts(&b, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n");
    }
    buf_puts(&b, "--XyZ--");
    assert_int_equal(read_text(TYPE, buf_data(&b), &m), 0);
    assert_int_equal(m.count, MULTIPART_PARTS_MAX);
    assert_int_equal(m.parts[3].data.n, 0);
    assert_int_equal(multipart_find(&m, "a", &part, NULL), -EINVAL);
    buf_clear(&b);
    for (int i = 0; i <= MULTIPART_PARTS_MAX; i++) {
        buf_puts(&b, "--XyZ\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n");
    }
    buf_puts(&b, "--XyZ--");
    assert_int_equal(read_text(TYPE, buf_data(&b), &m), -E2BIG);
    buf_clear(&b);
    buf_puts(&b, "--XyZ\r\nContent-Disposition: form-data; name=a; x=");
    for (int i = 0; i < MULTIPART_HEAD_MAX; i++) {
        buf_putc(&b, 'x');
    }
    buf_puts(&b, "\r\n\r\n\r\n--XyZ--");
    assert_int_equal(read_text(TYPE, buf_data(&b), &m), -E2BIG);
    buf_finish(&b);
}

/* Random bytes of the boundary's own letters: whatever does not hold the delimiter comes back. */
static void test_random_forms(void **state)
{
    uint64_t x = test_seed("multipart");

    for (int round = 0; round < 2000; round++) {
        struct buf b = BUF_INIT(1 << 20);
        char data[4][64];
        size_t n[4];
        const int count = round % 4 + 1;
        struct multipart m;

        for (int i = 0; i < count; i++) {
            do {
                n[i] = 0;
                x = x * 6364136223846793005ULL + 1442695040888963407ULL;
                while (n[i] < (x >> 40) % 60) {
                    x = x * 6364136223846793005ULL + 1442695040888963407ULL;
                    data[i][n[i]++] = "\r\n-XyZ"[(x >> 33) % 6];
                }
            } while (memmem(data[i], n[i], "\r\n--XyZ", 7));
            buf_printf(&b, "%s--XyZ\r\nContent-Disposition: form-data; name=\"p%d\"\r\n\r\n",
                       i ? "\r\n" : "", i);
            buf_append(&b, data[i], n[i]);
        }
        buf_puts(&b, "\r\n--XyZ--\r\n");
        assert_int_equal(read_all(span_of(TYPE), buf_span(&b), &m, NULL), 0);
        assert_int_equal(m.count, count);
        for (int i = 0; i < count; i++) {
            assert_int_equal(m.parts[i].data.n, n[i]);
            assert_memory_equal(m.parts[i].data.p, data[i], n[i]);
        }
        buf_finish(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_file_and_a_field), cmocka_unit_test(test_boundaries),
        cmocka_unit_test(test_broken_parts),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_random_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
