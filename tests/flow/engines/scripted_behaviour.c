// SPDX-License-Identifier: Apache-2.0
/* Reads a scripted engine's behaviour file; unknown members end the process, so that no test is
 * misled by a typo. */
#include "scripted_behaviour.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum member_type { MEMBER_INT, MEMBER_BOOL, MEMBER_STRING };

struct member {
    const char *name;
    enum member_type type;
    size_t offset;
};

// clang-format off
static const struct member answer_members[] = {
    { "status",             MEMBER_INT,    offsetof(struct answer, status) },
    { "body",               MEMBER_STRING, offsetof(struct answer, body) },
    { "broken",             MEMBER_STRING, offsetof(struct answer, broken) },
    { "first_ms",           MEMBER_INT,    offsetof(struct answer, first_ms) },
    { "event_ms",           MEMBER_INT,    offsetof(struct answer, event_ms) },
    { "events",             MEMBER_INT,    offsetof(struct answer, events) },
    { "event_bytes",        MEMBER_INT,    offsetof(struct answer, event_bytes) },
    { "die_after_events",   MEMBER_INT,    offsetof(struct answer, die_after_events) },
    { "close_after_events", MEMBER_INT,    offsetof(struct answer, close_after_events) },
    { "stall_after_events", MEMBER_INT,    offsetof(struct answer, stall_after_events) },
    { "hang",               MEMBER_BOOL,   offsetof(struct answer, hang) },
    { "ignore_disconnect",  MEMBER_BOOL,   offsetof(struct answer, ignore_disconnect) },
    { "exit_on_request",    MEMBER_BOOL,   offsetof(struct answer, exit_on_request) },
    { NULL, MEMBER_INT, 0 },
};

static const struct member behaviour_members[] = {
    { "load_ms",           MEMBER_INT,    offsetof(struct behaviour, load_ms) },
    { "exit_at_start",     MEMBER_INT,    offsetof(struct behaviour, exit_at_start) },
    { "exit_after_ms",     MEMBER_INT,    offsetof(struct behaviour, exit_after_ms) },
    { "exit_code",         MEMBER_INT,    offsetof(struct behaviour, exit_code) },
    { "hang_health_after_ms", MEMBER_INT, offsetof(struct behaviour, hang_health_after_ms) },
    { "stderr_bytes",      MEMBER_INT,    offsetof(struct behaviour, stderr_bytes) },
    { "keepalive_max",     MEMBER_INT,    offsetof(struct behaviour, keepalive_max) },
    { "keepalive_idle_ms", MEMBER_INT,    offsetof(struct behaviour, keepalive_idle_ms) },
    { "last_words",        MEMBER_STRING, offsetof(struct behaviour, last_words) },
    { "record",            MEMBER_STRING, offsetof(struct behaviour, record) },
    { "never_ready",       MEMBER_BOOL,   offsetof(struct behaviour, never_ready) },
    { "ignore_sigterm",    MEMBER_BOOL,   offsetof(struct behaviour, ignore_sigterm) },
    { "hang_slots",        MEMBER_BOOL,   offsetof(struct behaviour, hang_slots) },
    { "stream_keepalive",  MEMBER_BOOL,   offsetof(struct behaviour, stream_keepalive) },
    { NULL, MEMBER_INT, 0 },
};
// clang-format on

static void set_member(void *base, const struct member *member, json_t *value)
{
    char *at = (char *)base + member->offset;

    switch (member->type) {
    case MEMBER_INT:
        *(json_int_t *)(void *)at = json_integer_value(value);
        break;
    case MEMBER_BOOL:
        *(bool *)(void *)at = json_is_true(value);
        break;
    case MEMBER_STRING:
        *(const char **)(void *)at = json_string_value(value);
        break;
    }
}

static bool set_named(void *base, const struct member *members, const char *name, json_t *value)
{
    for (const struct member *member = members; member->name != NULL; member++) {
        if (strcmp(member->name, name) == 0) {
            set_member(base, member, value);
            return true;
        }
    }
    return false;
}

void answer_override(struct answer *answer, json_t *script)
{
    const char *name;
    json_t *value;

    json_object_foreach(script, name, value)
    {
        if (!set_named(answer, answer_members, name, value)) {
            fprintf(stderr, "E scripted: no answer member '%s'\n", name);
        }
    }
}

static void apply(struct behaviour *behaviour, json_t *object)
{
    const char *name;
    json_t *value;

    json_object_foreach(object, name, value)
    {
        if (strcmp(name, "by_start") != 0 &&
            !set_named(behaviour, behaviour_members, name, value) &&
            !set_named(&behaviour->answer, answer_members, name, value)) {
            fprintf(stderr, "E scripted: no behaviour member '%s'\n", name);
            exit(64);
        }
    }
}

/* Adds one byte to FILE.starts and returns how many starts came before this one. */
static size_t count_start(const char *path)
{
    char name[4096];
    struct stat st;
    int fd;

    snprintf(name, sizeof(name), "%s.starts", path);
    fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0 || fstat(fd, &st) < 0 || write(fd, ".", 1) != 1) {
        perror(name);
        exit(64);
    }
    close(fd);
    return (size_t)st.st_size;
}

static bool ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text);
    size_t m = strlen(suffix);

    return n >= m && strcmp(text + n - m, suffix) == 0;
}

void behaviour_load(const char *model_path, struct behaviour *ret_behaviour)
{
    const char *path = getenv("SCRIPTED_ENGINE");
    json_error_t error;
    json_t *root;
    json_t *starts;

    *ret_behaviour = (struct behaviour){
        .exit_at_start = -1,
        .exit_after_ms = -1,
        .exit_code = 1,
        .hang_health_after_ms = -1,
        .keepalive_max = 100,
        .keepalive_idle_ms = 5000,
        .answer = { .status = 200,
                    .events = 8,
                    .die_after_events = -1,
                    .close_after_events = -1,
                    .stall_after_events = -1 },
    };
    if (path == NULL && model_path != NULL && ends_with(model_path, ".json")) {
        path = model_path;
    }
    if (path == NULL) {
        return;
    }
    root = json_load_file(path, 0, &error);
    if (!json_is_object(root)) {
        fprintf(stderr, "E scripted: cannot read '%s': %s\n", path, error.text);
        exit(64);
    }
    apply(ret_behaviour, root);
    starts = json_object_get(root, "by_start");
    if (json_array_size(starts) > 0) {
        size_t n = count_start(path);
        size_t last = json_array_size(starts) - 1;

        apply(ret_behaviour, json_array_get(starts, n < last ? n : last));
    }
}
