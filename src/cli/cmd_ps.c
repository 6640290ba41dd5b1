// SPDX-License-Identifier: Apache-2.0
/* berth ps: the engines that run, or try to. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "MODEL", "REPLICA", "STATE", "PID",      "UP",
                                        "SLOTS", "BUSY",    "LINE",  "RESTARTS", "NOTE" };

enum { NOTE_MAX_BYTES = 4096 };

/* Everything that a reader should know besides: ", " between. */
static void add_note(struct buf *b, const char *fmt, ...) _printf_(2, 3);

static void add_note(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    buf_printf(b, "%s%s", b->len > 0 ? ", " : "", text);
    free(text);
}

/* Until then, an ISO time in UTC; false when it is none. */
static bool time_left(const char *iso, char out[AGE_SIZE])
{
    struct tm tm = { 0 };

    if (!strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm)) {
        return false;
    }
    format_age(difftime(timegm(&tm), time(NULL)), out);
    return true;
}

/* Owned by the caller. */
static char *note_of(const json_t *inst)
{
    struct buf b = BUF_INIT(NOTE_MAX_BYTES);
    const char *breaker = member_str(inst, "breaker", "closed");
    const char *expires = member_str(inst, "expires_at", NULL);
    char left[AGE_SIZE];

    if (json_is_true(json_object_get(inst, "remote"))) {
        add_note(&b, "at %s", member_str(inst, "address", "another machine"));
    }
    if (!str_eq(breaker, "closed")) {
        add_note(&b, "breaker %s", str_eq(breaker, "half_open") ? "half open" : breaker);
    }
    if (expires && time_left(expires, left)) {
        add_note(&b, "unloads in %s", left);
    }
    if (member_str(inst, "last_error", NULL)) {
        add_note(&b, "%s%s", str_eq(member_str(inst, "state", "?"), "ready") ? "before: " : "",
                 member_str(inst, "last_error", ""));
    }
    return buf_take(&b, NULL);
}

static void add_row(const struct cli *cli, struct table *t, const json_t *inst)
{
    const json_t *uptime = json_object_get(inst, "uptime");
    const bool sleeping = json_is_true(json_object_get(inst, "sleeping"));
    const int64_t pid = member_int(inst, "pid");
    _cleanup_(freep) char *note = note_of(inst);
    char up[AGE_SIZE] = "-";

    if (json_is_number(uptime)) {
        format_age(json_number_value(uptime), up);
    }
    table_cell(t, "%s", member_str(inst, "model", "?"));
    table_cell(t, "%lld", (long long)member_int(inst, "replica"));
    table_cell(t, "%s", paint_state(cli, sleeping ? "sleeping" : member_str(inst, "state", "?")));
    if (pid > 0) {
        table_cell(t, "%lld", (long long)pid);
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%s", up);
    table_cell(t, "%lld", (long long)member_int(inst, "slots"));
    table_cell(t, "%lld", (long long)member_int(inst, "in_flight"));
    table_cell(t, "%lld", (long long)member_int(inst, "waiting"));
    table_cell(t, "%lld", (long long)member_int(inst, "restarts"));
    table_cell(t, "%s", note ? note : "");
}

static int run(struct cli *cli)
{
    return cli_list(cli, "/api/instances", "instances", headings, ARRAY_SIZE(headings), add_row);
}

const struct command ps_command = {
    "ps", "", "Lists the running engines: state, process, load, what is wrong.", NULL, 0, 0, run,
};
