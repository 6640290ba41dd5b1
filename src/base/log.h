// SPDX-License-Identifier: Apache-2.0
/*
 * Structured log lines on stderr, one write each:
 *
 *     2026-01-02T03:04:05.678Z info engines[recite/1f0c] ready ms=93
 * socket=instances/1f0c/engine.sock
 *
 *     log_info("engines", inst->name, "ready", kv_int("ms", n), kv_str("socket", path));
 *
 * topic is the room, object the thing (NULL for none), text a short constant phrase; figures go
 * into the key-value pairs. The last lines are kept, too (log_ring.h). As JSON (log.format: json)
 * the same fields are members. Secrets are never given to these functions. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_LEVEL_MAX_ };

struct log_kv {
    const char *key; /* NULL ends the list */
    const char *str; /* NULL: the number counts */
    int64_t num;
};

static inline struct log_kv kv_str(const char *key, const char *value)
{
    return (struct log_kv){ key, value ? value : "-", 0 };
}

static inline struct log_kv kv_int(const char *key, int64_t value)
{
    return (struct log_kv){ key, (const char *)0, value };
}

void log_write(enum log_level level, const char *topic, const char *object, const char *text,
               const struct log_kv *kvs);

#define log_at(level, topic, object, text, ...)                                                    \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            log_write(level, topic, object, text,                                                  \
                      (const struct log_kv[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } });                 \
        }                                                                                          \
    } while (0)
#define log_debug(topic, object, text, ...)                                                        \
    log_at(LOG_DEBUG, topic, object, text __VA_OPT__(, ) __VA_ARGS__)
#define log_info(topic, object, text, ...)                                                         \
    log_at(LOG_INFO, topic, object, text __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(topic, object, text, ...)                                                         \
    log_at(LOG_WARN, topic, object, text __VA_OPT__(, ) __VA_ARGS__)
#define log_error(topic, object, text, ...)                                                        \
    log_at(LOG_ERROR, topic, object, text __VA_OPT__(, ) __VA_ARGS__)

void log_set_level(enum log_level level);
void log_set_json(bool json);
void log_set_fd(int fd); /* 2 at start; tests give their own; -1 silences */
bool log_enabled(enum log_level level);
const char *log_level_name(enum log_level level); /* "debug" … */
/* -EINVAL for an unknown word. */
int log_level_from_string(const char *s);
