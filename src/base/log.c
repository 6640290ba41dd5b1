// SPDX-License-Identifier: Apache-2.0
/* One line, one write: lines of several threads never mix. */
#include "base/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log_ring.h"
#include "base/timefmt.h"

enum { USUAL_LINE = 512 };

static const char *const level_names[LOG_LEVEL_MAX_] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARN] = "warn",
    [LOG_ERROR] = "error",
};

static atomic_int min_level = LOG_INFO;
static atomic_bool as_json;
static atomic_int out_fd = STDERR_FILENO;

void log_set_level(enum log_level level)
{
    min_level = (int)level;
}

void log_set_json(bool json)
{
    as_json = json;
}

void log_set_fd(int fd)
{
    out_fd = fd;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= min_level && out_fd >= 0;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

int log_level_from_string(const char *s)
{
    for (int i = 0; i < LOG_LEVEL_MAX_; i++) {
        if (str_eq(s, level_names[i])) {
            return i;
        }
    }
    return -EINVAL;
}

static void put_json_member(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, ",\"%s\":\"", key);
    buf_put_json_escaped(b, value, strlen(value));
    buf_putc(b, '"');
}

/* A value with blanks or control characters is quoted, so that a line stays one line and splits
 * cleanly. */
static void put_text_value(struct buf *b, const char *value)
{
    bool quote = *value == '\0';

    for (const char *p = value; *p && !quote; p++) {
        quote = (unsigned char)*p <= ' ' || *p == '"' || *p == '=';
    }
    if (!quote) {
        buf_puts(b, value);
        return;
    }
    buf_putc(b, '"');
    buf_put_json_escaped(b, value, strlen(value));
    buf_putc(b, '"');
}

static void put_number(struct buf *b, int64_t number)
{
    char digits[24], *p = digits + sizeof(digits);
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    do {
        *--p = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0) {
        *--p = '-';
    }
    buf_append(b, p, (size_t)(digits + sizeof(digits) - p));
}

/* Without printf: there may be a line for every request. */
static void put_text(struct buf *b, const char *object, const char *text, const struct log_kv *kvs)
{
    if (object) {
        buf_printf(b, "[%s]", object);
    }
    buf_putc(b, ' ');
    buf_puts(b, text);
    for (; kvs->key; kvs++) {
        buf_putc(b, ' ');
        buf_puts(b, kvs->key);
        buf_putc(b, '=');
        if (kvs->str) {
            put_text_value(b, kvs->str);
        } else {
            put_number(b, kvs->num);
        }
    }
}

static void put_json(struct buf *b, const char *object, const char *text, const struct log_kv *kvs)
{
    if (object) {
        put_json_member(b, "object", object);
    }
    put_json_member(b, "message", text);
    for (; kvs->key; kvs++) {
        if (kvs->str) {
            put_json_member(b, kvs->key, kvs->str);
        } else {
            buf_printf(b, ",\"%s\":%lld", kvs->key, (long long)kvs->num);
        }
    }
    buf_putc(b, '}');
}

void log_write(enum log_level level, const char *topic, const char *object, const char *text,
               const struct log_kv *kvs)
{
    struct buf line = BUF_INIT(LOG_LINE_MAX);
    int64_t wall_ms;
    struct timespec ts;
    char when[TIMEFMT_SIZE];

    (void)!buf_reserve(&line, USUAL_LINE);
    clock_gettime(CLOCK_REALTIME, &ts);
    wall_ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
    timefmt_iso(wall_ms, when);
    if (as_json) {
        buf_printf(&line, "{\"timestamp\":\"%s\",\"level\":\"%s\",\"logger\":\"%s\"", when,
                   level_names[level], topic);
        put_json(&line, object, text, kvs);
    } else {
        buf_printf(&line, "%s %s %s", when, level_names[level], topic);
        put_text(&line, object, text, kvs);
    }
    if (buf_putc(&line, '\n') == 0) {
        log_ring_add(level, wall_ms, buf_data(&line), line.len - 1);
        (void)!write(out_fd, buf_data(&line), line.len);
    }
    buf_finish(&line);
}
