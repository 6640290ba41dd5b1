// SPDX-License-Identifier: Apache-2.0
/* GGUF headers made here byte by byte: what is read, and that every damage is refused with words.
 */
#include "unit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "codec/gguf.h"

enum { U32 = 4, STRING = 8, ARRAY = 9, U64 = 10, F16 = 1, Q8_0 = 8 };

static void put(struct buf *b, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        buf_putc(b, (char)(v >> (8 * i)));
    }
}

static void put_text(struct buf *b, const char *s)
{
    put(b, strlen(s), 8);
    buf_puts(b, s);
}

static void put_key(struct buf *b, const char *key, uint64_t type)
{
    put_text(b, key);
    put(b, type, 4);
}

static void put_u32(struct buf *b, const char *key, uint64_t v)
{
    put_key(b, key, U32);
    put(b, v, 4);
}

static void put_string(struct buf *b, const char *key, const char *value)
{
    put_key(b, key, STRING);
    put_text(b, value);
}

static void put_head(struct buf *b, uint64_t version, uint64_t tensors, uint64_t pairs)
{
    buf_puts(b, "GGUF");
    put(b, version, 4);
    put(b, tensors, 8);
    put(b, pairs, 8);
}

static void put_tensor(struct buf *b, const char *name, uint64_t rows, uint64_t type,
                       uint64_t offset)
{
    put_text(b, name);
    put(b, 2, 4);
    put(b, 64, 8);
    put(b, rows, 8);
    put(b, type, 4);
    put(b, offset, 8);
}

static void pad(struct buf *b, size_t alignment)
{
    while (b->len % alignment) {
        buf_putc(b, '\0');
    }
}

/* Two tensors: 64 x 2 of F16 (256 bytes) and 64 x 3 of Q8_0 (204 bytes). */
static struct buf whole_file(bool architecture_first)
{
    struct buf b = BUF_INIT(1 << 20);

    put_head(&b, 3, 2, 9);
    if (architecture_first) {
        put_string(&b, "general.architecture", "llama");
    }
    put_u32(&b, "llama.context_length", 4096);
    put_u32(&b, "llama.block_count", 22);
    put_u32(&b, "llama.embedding_length", 64);
    put_key(&b, "llama.attention.head_count", ARRAY); /* one a layer */
    put(&b, U32, 4);
    put(&b, 2, 8);
    put(&b, 8, 4);
    put(&b, 32, 4);
    put_u32(&b, "general.file_type", 7);
    put_string(&b, "general.name", "Tiny");
    put_key(&b, "tokenizer.ggml.tokens", ARRAY);
    put(&b, STRING, 4);
    put(&b, 3, 8);
    put_text(&b, "a");
    put_text(&b, "");
    put_text(&b, "ccc");
    put_string(&b, "tokenizer.chat_template", "{{ messages }}");
    if (!architecture_first) {
        put_string(&b, "general.architecture", "llama");
    }
    put_tensor(&b, "token_embd.weight", 2, F16, 0);
    put_tensor(&b, "output.weight", 3, Q8_0, 256);
    pad(&b, 32);
    for (size_t i = 0; i < 256 + 204; i++) {
        buf_putc(&b, '\0');
    }
    return b;
}

static int read_bytes(void *arg, uint64_t offset, void *out, size_t n)
{
    const struct span *bytes = arg;

    assert_true(offset <= bytes->n && n <= bytes->n - offset);
    memcpy(out, bytes->p + offset, n);
    return 0;
}

static int read_span(struct span bytes, struct gguf_info *ret, struct error *e)
{
    struct gguf_source source = { .read = read_bytes, .arg = &bytes, .size = bytes.n };

    return gguf_read(&source, ret, e);
}

static void check_whole(const struct gguf_info *i, size_t size)
{
    assert_int_equal(i->version, 3);
    assert_string_equal(i->architecture, "llama");
    assert_string_equal(i->name, "Tiny");
    assert_int_equal(i->context_length, 4096);
    assert_int_equal(i->block_count, 22);
    assert_int_equal(i->embedding_length, 64);
    assert_int_equal(i->head_count, 32);
    assert_int_equal(i->head_count_kv, 0);
    assert_int_equal(i->vocab_size, 3);
    assert_true(i->has_file_type && i->file_type == 7);
    assert_true(i->has_chat_template);
    assert_int_equal(i->tensor_count, 2);
    assert_int_equal(i->tensor_bytes, 460);
    assert_int_equal(i->type_bytes[F16], 256);
    assert_int_equal(i->type_bytes[Q8_0], 204);
    assert_int_equal(i->file_bytes, size);
    assert_int_equal(i->data_offset, size - 460);
    assert_string_equal(gguf_type_name(Q8_0), "Q8_0");
    assert_null(gguf_type_name(5));
}

static void tells_what_the_model_is(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct buf b = whole_file(first);
        struct gguf_info info;
        struct error e;

        assert_int_equal(read_span(buf_span(&b), &info, &e), 0);
        check_whole(&info, b.len);
        buf_finish(&b);
    }
}

static void every_truncation_is_refused(void **state)
{
    struct buf b = whole_file(true);

    for (size_t n = 0; n < b.len; n++) {
        char *copy = xmemdup(buf_data(&b), n); /* exact, so that ASan sees a read beyond */
        struct gguf_info info;
        struct error e = { 0 };

        assert_int_equal(read_span((struct span){ copy, n }, &info, &e), -EINVAL);
        assert_true(str_starts(e.text, n < 24 ? "not a GGUF file" : "truncated: "));
        free(copy);
    }
    buf_finish(&b);
}

static void says_how_much_is_missing(void **state)
{
    struct buf b = BUF_INIT(1000);
    struct gguf_info info;
    struct error e;

    put_head(&b, 3, 1, 0);
    put_tensor(&b, "w", 5000, F16, 0); /* 640,000 bytes */
    pad(&b, 32);
    for (int i = 0; i < 766; i++) {
        buf_putc(&b, 'x');
    }
    assert_int_equal(read_span(buf_span(&b), &info, &e), -EINVAL);
    assert_string_equal(e.text, "truncated: tensor data ends 639,234 bytes beyond the file");
    buf_finish(&b);
}

static void check_refused(struct buf *b, const char *sentence)
{
    struct gguf_info info;
    struct error e = { 0 };

    for (int i = 0; i < 100; i++) {
        buf_putc(b, '\0');
    }
    assert_int_equal(read_span(buf_span(b), &info, &e), -EINVAL);
    assert_non_null(strstr(e.text, sentence));
    buf_finish(b);
}

static struct buf one_tensor(uint64_t pairs)
{
    struct buf b = BUF_INIT(10000);

    put_head(&b, 3, 1, pairs);
    return b;
}

static void damage_is_named(void **state)
{
    struct buf b = BUF_INIT(10000);

    buf_puts(&b, "<html>not a model</html>");
    check_refused(&b, "not a GGUF file: it does not begin with GGUF");
    put_head(&b, 1, 0, 0);
    check_refused(&b, "GGUF version 1 is not understood");
    put_head(&b, 0x03000000, 0, 0);
    check_refused(&b, "big-endian");
    put_head(&b, 3, UINT64_MAX, UINT64_MAX);
    check_refused(&b, "broken: a metadata key is 0 bytes long");
    b = one_tensor(1);
    put_key(&b, "k", 77);
    check_refused(&b, "unknown type 77");
    b = one_tensor(1);
    put_key(&b, "k", STRING);
    put(&b, UINT64_MAX - 5, 8);
    check_refused(&b, "truncated: the header goes on beyond the file's end");
    b = one_tensor(1);
    put_key(&b, "k", ARRAY);
    put(&b, U64, 4);
    put(&b, UINT64_MAX / 4, 8);
    check_refused(&b, "truncated: the header goes on beyond the file's end");
    b = one_tensor(1);
    put_u32(&b, "general.alignment", 33);
    check_refused(&b, "an alignment of 33");
    b = one_tensor(0);
    put_tensor(&b, "w", UINT64_MAX / 2, F16, 0);
    check_refused(&b, "tensor 'w' has an impossible shape");
    b = one_tensor(0);
    put_tensor(&b, "w", 1, 12, 0); /* Q4_K has blocks of 256 */
    check_refused(&b, "tensor 'w' does not fit the blocks of Q4_K");
    b = one_tensor(0);
    put_tensor(&b, "w", 1, F16, 5);
    check_refused(&b, "tensor 'w' is not aligned");
    b = one_tensor(0);
    put_tensor(&b, "w", 1, F16, UINT64_MAX - 31);
    check_refused(&b, "impossible place");
    put_head(&b, 3, 3, 0);
    for (int i = 0; i < 3; i++) {
        put_tensor(&b, "w", 1, 24, 0); /* each lies in the file, all three would not */
    }
    check_refused(&b, "its tensors lie over one another");
}

static void deep_arrays_are_refused(void **state)
{
    struct buf b = one_tensor(1);

    put_key(&b, "k", ARRAY);
    for (int i = 0; i < 100; i++) {
        put(&b, ARRAY, 4);
        put(&b, 1, 8);
    }
    check_refused(&b, "nested too deep");
}

static void types_of_tomorrow_pass(void **state)
{
    struct buf b = one_tensor(0);
    struct gguf_info info;

    put_tensor(&b, "w", 1, 63, 0);
    assert_int_equal(read_span(buf_span(&b), &info, NULL), 0);
    assert_int_equal(info.unknown_tensors, 1);
    assert_int_equal(info.tensor_bytes, 0);
    buf_finish(&b);
}

static int fail_to_read(void *arg, uint64_t offset, void *out, size_t n)
{
    return -EIO;
}

static void the_source_may_fail(void **state)
{
    struct gguf_source source = { .read = fail_to_read, .size = 1000 };
    struct gguf_info info;
    struct error e;

    assert_int_equal(gguf_read(&source, &info, &e), -EIO);
    assert_non_null(strstr(e.text, "cannot be read: "));
}

static void reads_files(void **state)
{
    char path[] = "/tmp/test-gguf-XXXXXX";
    _cleanup_(closep) int fd = mkstemp(path);
    struct buf b = whole_file(true);
    struct gguf_info info;
    struct error e;

    assert_int_equal(write(fd, buf_data(&b), b.len), (int)b.len);
    assert_int_equal(gguf_read_file(path, &info, &e), 0);
    check_whole(&info, b.len);
    assert_int_equal(ftruncate(fd, (off_t)b.len - 5), 0);
    assert_int_equal(gguf_read_file(path, &info, &e), -EINVAL);
    assert_true(str_starts(e.text, path));
    assert_non_null(strstr(e.text, ": truncated: tensor data ends 5 bytes beyond the file"));
    unlink(path);
    assert_int_equal(gguf_read_file(path, &info, &e), -ENOENT);
    assert_int_equal(gguf_read_file("/tmp", &info, &e), -EINVAL);
    buf_finish(&b);
}

static void reads_a_real_model(void **state)
{
    const char *path = getenv("STORIES_GGUF");
    struct gguf_info info;
    struct error e;

    if (!path || access(path, R_OK) < 0) {
        skip();
    }
    assert_int_equal(gguf_read_file(path, &info, &e), 0);
    assert_string_equal(info.architecture, "llama");
    assert_int_equal(info.block_count, 5);
    assert_int_equal(info.vocab_size, 512);
    assert_true(info.tensor_bytes > 1000000 && info.unknown_tensors == 0);
    assert_true(info.data_offset + info.tensor_bytes <= info.file_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_what_the_model_is),  cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(says_how_much_is_missing), cmocka_unit_test(damage_is_named),
        cmocka_unit_test(deep_arrays_are_refused),  cmocka_unit_test(types_of_tomorrow_pass),
        cmocka_unit_test(the_source_may_fail),      cmocka_unit_test(reads_files),
        cmocka_unit_test(reads_a_real_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
