// SPDX-License-Identifier: Apache-2.0
/* Model files made for tests: GGUF headers key by key with tensors of which only the place is there
 * (a hole in the file), and safetensors with a header of any text. */
#pragma once

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "unit.h"

enum {
    GG_BOOL = 7,
    GG_U32 = 4,
    GG_STRING = 8,
    GG_ARRAY = 9,
    GG_F32 = 0,
    GG_F16 = 1,
    GG_Q4_0 = 2,
    GG_Q8_0 = 8,
};

struct gguf_maker {
    struct buf pairs, tensors;
    uint64_t pair_count, tensor_count, data_bytes;
    const char *architecture;
};

static inline void gg_put(struct buf *b, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        buf_putc(b, (char)(v >> (8 * i)));
    }
}

static inline void gg_put_text(struct buf *b, const char *s)
{
    gg_put(b, strlen(s), 8);
    buf_puts(b, s);
}

static inline void gg_key(struct gguf_maker *m, const char *name, uint64_t type)
{
    char key[128];

    snprintf(key, sizeof(key), "%s.%s", m->architecture, name);
    gg_put_text(&m->pairs, key);
    gg_put(&m->pairs, type, 4);
    m->pair_count++;
}

static inline void gg_u32(struct gguf_maker *m, const char *name, uint64_t v)
{
    gg_key(m, name, GG_U32);
    gg_put(&m->pairs, v, 4);
}

/* Of type u32 or bool. */
static inline void gg_list(struct gguf_maker *m, const char *name, uint64_t type,
                           const uint32_t *values, size_t count)
{
    gg_key(m, name, GG_ARRAY);
    gg_put(&m->pairs, type, 4);
    gg_put(&m->pairs, count, 8);
    for (size_t i = 0; i < count; i++) {
        gg_put(&m->pairs, values[i], type == GG_BOOL ? 1 : 4);
    }
}

static inline struct gguf_maker gg_begin(const char *architecture)
{
    struct gguf_maker m = { .pairs = BUF_INIT(1 << 20),
                            .tensors = BUF_INIT(1 << 20),
                            .architecture = architecture };

    gg_put_text(&m.pairs, "general.architecture");
    gg_put(&m.pairs, GG_STRING, 4);
    gg_put_text(&m.pairs, architecture);
    m.pair_count = 1;
    return m;
}

static inline void gg_tensor(struct gguf_maker *m, const char *name, uint64_t columns,
                             uint64_t rows, uint64_t type)
{
    uint64_t values = columns * rows;
    uint64_t bytes = type == GG_F32    ? values * 4
                     : type == GG_F16  ? values * 2
                     : type == GG_Q8_0 ? values / 32 * 34
                                       : values / 32 * 18;

    gg_put_text(&m->tensors, name);
    gg_put(&m->tensors, 2, 4);
    gg_put(&m->tensors, columns, 8);
    gg_put(&m->tensors, rows, 8);
    gg_put(&m->tensors, type, 4);
    gg_put(&m->tensors, m->data_bytes, 8);
    m->tensor_count++;
    m->data_bytes += (bytes + 31) / 32 * 32;
}

/* The usual tensors of a layer, attention with so many KV values, all of one type. */
static inline void gg_layer(struct gguf_maker *m, unsigned layer, uint64_t hidden,
                            uint64_t kv_values, uint64_t ff, uint64_t type)
{
    static const char *const names[] = { "attn_q",   "attn_k", "attn_v",  "attn_output",
                                         "ffn_gate", "ffn_up", "ffn_down" };
    const uint64_t columns[] = { hidden, hidden, hidden, hidden, hidden, hidden, ff };
    const uint64_t rows[] = { hidden, kv_values, kv_values, hidden, ff, ff, hidden };
    char name[64];

    for (size_t i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "blk.%u.%s.weight", layer, names[i]);
        gg_tensor(m, name, columns[i], rows[i], type);
    }
}

/* Writes the file and forgets the maker. */
static inline void gg_write(struct gguf_maker *m, const char *path)
{
    struct buf head = BUF_INIT(4 << 20);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    buf_puts(&head, "GGUF");
    gg_put(&head, 3, 4);
    gg_put(&head, m->tensor_count, 8);
    gg_put(&head, m->pair_count, 8);
    buf_append(&head, buf_data(&m->pairs), m->pairs.len);
    buf_append(&head, buf_data(&m->tensors), m->tensors.len);
    while (head.len % 32) {
        buf_putc(&head, '\0');
    }
    assert_int_equal(write(fd, buf_data(&head), head.len), head.len);
    assert_int_equal(ftruncate(fd, (off_t)(head.len + m->data_bytes)), 0);
    close(fd);
    buf_finish(&head);
    buf_finish(&m->pairs);
    buf_finish(&m->tensors);
}

/* A dense llama of one type: *layers* of them, with an output matrix of its own. */
struct llama_shape {
    unsigned layers;
    uint64_t hidden, heads, kv_heads, ff, vocab, type;
};

static inline void gg_llama(const struct llama_shape *s, const char *path)
{
    struct gguf_maker m = gg_begin("llama");

    gg_u32(&m, "context_length", 8192);
    gg_u32(&m, "embedding_length", s->hidden);
    gg_u32(&m, "block_count", s->layers);
    gg_u32(&m, "feed_forward_length", s->ff);
    gg_u32(&m, "attention.head_count", s->heads);
    gg_u32(&m, "attention.head_count_kv", s->kv_heads);
    gg_u32(&m, "vocab_size", s->vocab);
    gg_tensor(&m, "token_embd.weight", s->hidden, s->vocab, s->type);
    for (unsigned i = 0; i < s->layers; i++) {
        gg_layer(&m, i, s->hidden, s->hidden / s->heads * s->kv_heads, s->ff, s->type);
    }
    gg_tensor(&m, "output.weight", s->hidden, s->vocab, s->type);
    gg_write(&m, path);
}

static inline void st_write(const char *path, const char *header, uint64_t data_bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    uint64_t n = strlen(header);
    unsigned char head[8];

    assert_true(fd >= 0);
    for (int i = 0; i < 8; i++) {
        head[i] = (unsigned char)(n >> (8 * i));
    }
    assert_int_equal(write(fd, head, 8), 8);
    assert_int_equal(write(fd, header, n), n);
    assert_int_equal(ftruncate(fd, (off_t)(8 + n + data_bytes)), 0);
    close(fd);
}
