// SPDX-License-Identifier: Apache-2.0
/* The safetensors reader: the header is bounded, parsed strictly, and every tensor must lie within
 * the file, as long as its shape says, and apart from the others. */
#include "codec/safetensors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/json.h"

enum { HEAD = 8, SHAPE_MAX = 16 };

struct extent {
    uint64_t begin, end;
};

struct reader {
    uint64_t data_bytes; /* of the file, behind the header */
    struct extent *extents;
    size_t count;
    void (*fn)(void *arg, const struct safetensors_tensor *t);
    void *arg;
    struct error *reterr;
};

/* 0: not known here; types of less than a byte are packed. */
static uint32_t bits_of(const char *dtype)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } types[] = {
        { "F64", 64 }, { "I64", 64 },    { "U64", 64 },    { "C64", 64 },    { "F32", 32 },
        { "I32", 32 }, { "U32", 32 },    { "F16", 16 },    { "BF16", 16 },   { "I16", 16 },
        { "U16", 16 }, { "F8_E4M3", 8 }, { "F8_E5M2", 8 }, { "F8_E8M0", 8 }, { "I8", 8 },
        { "U8", 8 },   { "BOOL", 8 },    { "F6_E2M3", 6 }, { "F6_E3M2", 6 }, { "F4", 4 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (str_eq(types[i].name, dtype)) {
            return types[i].bits;
        }
    }
    return 0;
}

static int take_size(const json_t *value, uint64_t *ret)
{
    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return -EINVAL;
    }
    *ret = (uint64_t)json_integer_value(value);
    return 0;
}

static int count_values(const json_t *shape, uint64_t *ret)
{
    uint64_t size;

    *ret = 1;
    if (!json_is_array(shape) || json_array_size(shape) > SHAPE_MAX) {
        return -EINVAL;
    }
    for (size_t i = 0; i < json_array_size(shape); i++) {
        if (take_size(json_array_get(shape, i), &size) < 0 ||
            __builtin_mul_overflow(*ret, size, ret)) {
            return -EINVAL;
        }
    }
    return 0;
}

static int check_length(struct reader *r, const struct safetensors_tensor *t)
{
    uint64_t bits;

    if (t->bits &&
        (__builtin_mul_overflow(t->values, t->bits, &bits) || bits % 8 || bits / 8 != t->bytes)) {
        return error_set(r->reterr, -EINVAL,
                         "broken: tensor '%.80s' is %" PRIu64
                         " bytes long, which its shape does not say",
                         t->name, t->bytes);
    }
    return 0;
}

static int read_tensor(struct reader *r, const char *name, const json_t *entry)
{
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    struct safetensors_tensor t = { .name = name };
    struct extent e;
    int x;

    if (!dtype || json_array_size(offsets) != 2 ||
        count_values(json_object_get(entry, "shape"), &t.values) < 0 ||
        take_size(json_array_get(offsets, 0), &e.begin) < 0 ||
        take_size(json_array_get(offsets, 1), &e.end) < 0 || e.end < e.begin) {
        return error_set(r->reterr, -EINVAL, "broken: what it says of tensor '%.80s' is no sense",
                         name);
    }
    if (e.end > r->data_bytes) {
        return error_set(r->reterr, -EINVAL,
                         "truncated: tensor '%.80s' ends %" PRIu64 " bytes beyond the file", name,
                         e.end - r->data_bytes);
    }
    t.bits = bits_of(dtype);
    t.bytes = e.end - e.begin;
    x = check_length(r, &t);
    if (x < 0) {
        return x;
    }
    r->extents[r->count++] = e;
    r->fn(r->arg, &t);
    return 0;
}

static int by_begin(const void *a, const void *b)
{
    const struct extent *x = a, *y = b;

    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    return x->end < y->end ? -1 : x->end > y->end;
}

static int check_apart(struct reader *r)
{
    qsort(r->extents, r->count, sizeof(*r->extents), by_begin);
    for (size_t i = 1; i < r->count; i++) {
        if (r->extents[i].begin < r->extents[i - 1].end) {
            return error_set(r->reterr, -EINVAL, "broken: two tensors lie over one another");
        }
    }
    return 0;
}

static int read_tensors(struct reader *r, const json_t *header)
{
    const char *name;
    json_t *entry;
    int x = 0;

    if (!json_is_object(header)) {
        return error_set(r->reterr, -EINVAL, "broken: the header is no JSON object");
    }
    if (json_object_size(header) > SAFETENSORS_TENSORS_MAX) {
        return error_set(r->reterr, -EINVAL, "broken: more than %d tensors",
                         SAFETENSORS_TENSORS_MAX);
    }
    r->extents = xcalloc(json_object_size(header) + 1, sizeof(*r->extents));
    json_object_foreach(UNCONST(json_t *, header), name, entry)
    {
        x = str_eq(name, "__metadata__") ? 0 : read_tensor(r, name, entry);
        if (x < 0) {
            break;
        }
    }
    x = x < 0 ? x : check_apart(r);
    free(r->extents);
    return x;
}

static int read_header(const struct gguf_source *source, char **ret, uint64_t *ret_n,
                       struct error *reterr)
{
    unsigned char raw[HEAD];
    uint64_t n = 0;
    int x;

    if (source->size < HEAD + 2) {
        return error_set(reterr, -EINVAL, "not a safetensors file: only %" PRIu64 " bytes long",
                         source->size);
    }
    x = source->read(source->arg, 0, raw, HEAD);
    if (x < 0) {
        return error_set(reterr, x, "cannot be read: %s", strerror(-x));
    }
    for (int i = HEAD; i > 0; i--) {
        n = n << 8 | raw[i - 1];
    }
    if (n > source->size - HEAD) {
        return error_set(reterr, -EINVAL, "truncated: the header goes on beyond the file's end");
    }
    if (n > SAFETENSORS_HEADER_MAX) {
        return error_set(reterr, -EINVAL, "broken: the header is larger than %d MiB",
                         SAFETENSORS_HEADER_MAX >> 20);
    }
    *ret = xmalloc(n + 1);
    x = source->read(source->arg, HEAD, *ret, n);
    if (x < 0) {
        free(*ret);
        return error_set(reterr, x, "cannot be read: %s", strerror(-x));
    }
    *ret_n = n;
    return 0;
}

int safetensors_read(const struct gguf_source *source,
                     void (*fn)(void *arg, const struct safetensors_tensor *t), void *arg,
                     struct error *reterr)
{
    struct reader r = { .fn = fn, .arg = arg, .reterr = reterr };
    json_t *header = NULL;
    char *text = NULL;
    uint64_t n = 0;
    int x;

    x = read_header(source, &text, &n, reterr);
    if (x < 0) {
        return x;
    }
    r.data_bytes = source->size - HEAD - n;
    x = json_read((struct span){ text, n }, SAFETENSORS_HEADER_MAX, &header, reterr);
    if (x < 0) {
        x = error_set(reterr, -EINVAL, "broken: its header is no JSON that can be read");
    }
    x = x < 0 ? x : read_tensors(&r, header);
    json_decref(header);
    free(text);
    return x;
}

int safetensors_read_file(const char *path,
                          void (*fn)(void *arg, const struct safetensors_tensor *t), void *arg,
                          uint64_t *ret_file_bytes, struct error *reterr)
{
    _cleanup_(closep) int fd = -1;
    struct gguf_source source = { 0 };
    int r;

    r = gguf_source_open(path, &fd, &source, reterr);
    if (r < 0) {
        return r;
    }
    r = safetensors_read(&source, fn, arg, reterr);
    if (r < 0) {
        return error_prefix(reterr, "%s: ", path);
    }
    *ret_file_bytes = source.size;
    return 0;
}
