// SPDX-License-Identifier: Apache-2.0
/* Safetensors headers: what is read, and that every damage is refused with words. */
#include "unit.h"

#include <string.h>

#include "base/buf.h"
#include "base/str.h"
#include "codec/safetensors.h"

struct seen {
    unsigned count;
    uint64_t bytes, values;
    uint32_t bits;
};

static void on_tensor(void *arg, const struct safetensors_tensor *t)
{
    struct seen *seen = arg;

    seen->count++;
    seen->bytes += t->bytes;
    seen->values += t->values;
    seen->bits = t->bits;
}

static int read_bytes(void *arg, uint64_t offset, void *out, size_t n)
{
    const struct span *bytes = arg;

    assert_true(offset <= bytes->n && n <= bytes->n - offset);
    memcpy(out, bytes->p + offset, n);
    return 0;
}

/* head_bytes: what the file says of the header's length; 0: the truth */
static int read_text(const char *header, uint64_t head_bytes, uint64_t data_bytes,
                     struct seen *seen, struct error *e)
{
    struct buf b = BUF_INIT(1 << 20);
    uint64_t n = head_bytes ? head_bytes : strlen(header);
    struct span bytes;
    struct gguf_source source = { .read = read_bytes, .arg = &bytes };
    int r;

    for (int i = 0; i < 8; i++) {
        buf_putc(&b, (char)(n >> (8 * i)));
    }
    buf_puts(&b, header);
    for (uint64_t i = 0; i < data_bytes; i++) {
        buf_putc(&b, '\0');
    }
    bytes = (struct span){ buf_data(&b), b.len };
    source.size = b.len;
    *seen = (struct seen){ 0 };
    r = safetensors_read(&source, on_tensor, seen, e);
    buf_finish(&b);
    return r;
}

static void test_good_ones(void **state)
{
    struct error e = { 0 };
    struct seen seen;

    assert_int_equal(read_text("{\"__metadata__\":{\"a\":\"b\"},"
                               "\"a\":{\"dtype\":\"BF16\",\"shape\":[3,4],\"data_offsets\":[0,24]},"
                               "\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]}}",
                               0, 32, &seen, &e),
                     0);
    assert_int_equal(seen.count, 2);
    assert_int_equal(seen.bytes, 32);
    assert_int_equal(seen.values, 13);
    /* a type of the future counts with its bytes; half-byte values are packed */
    assert_int_equal(read_text("{\"a\":{\"dtype\":\"F3\",\"shape\":[8],\"data_offsets\":[0,3]}}", 0,
                               3, &seen, &e),
                     0);
    assert_int_equal(seen.bits, 0);
    assert_int_equal(seen.bytes, 3);
    assert_int_equal(read_text("{\"a\":{\"dtype\":\"F4\",\"shape\":[8],\"data_offsets\":[0,4]}}", 0,
                               4, &seen, &e),
                     0);
    assert_int_equal(read_text("{}", 0, 0, &seen, &e), 0);
}

#define TENSOR(dtype, shape, offsets)                                                              \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static void test_damages(void **state)
{
    static const struct {
        const char *header;
        uint64_t head_bytes, data_bytes;
        const char *words;
    } rows[] = {
        { "{}", 100, 0, "the header goes on beyond" },
        { "{}", UINT64_MAX, 0, "the header goes on beyond" },
        { "{", 0, 4, "no JSON that can be read" },
        { "[1,2]", 0, 0, "no JSON object" },
        { "{\"a\":1}", 0, 0, "is no sense" },
        { TENSOR("F32", "[4]", "[0,16]"), 0, 15, "ends 1 bytes beyond" },
        { TENSOR("F32", "[4]", "[0,12]"), 0, 16, "which its shape does not say" },
        { TENSOR("F32", "[4]", "[16,0]"), 0, 16, "is no sense" },
        { TENSOR("F32", "[4]", "[-1,16]"), 0, 16, "is no sense" },
        { TENSOR("F32", "[4]", "[0]"), 0, 16, "is no sense" },
        { TENSOR("F32", "[-4]", "[0,16]"), 0, 16, "is no sense" },
        { TENSOR("F32", "4", "[0,16]"), 0, 16, "is no sense" },
        { TENSOR("F32", "[4294967296,4294967296,2]", "[0,16]"), 0, 16, "is no sense" },
        { TENSOR("F32", "[4611686018427387904]", "[0,0]"), 0, 0, "its shape does not say" },
        { TENSOR("F4", "[3]", "[0,1]"), 0, 1, "its shape does not say" },
        { "{\"a\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8]},"
          "\"b\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[4,12]}}",
          0, 12, "over one another" },
    };
    struct seen seen;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error e = { 0 };
        int r = read_text(rows[i].header, rows[i].head_bytes, rows[i].data_bytes, &seen, &e);

        if (r != -EINVAL || !strstr(e.text, rows[i].words)) {
            fail_msg("row %zu: %d '%s', not '%s'", i, r, e.text, rows[i].words);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_ones),
        cmocka_unit_test(test_damages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
