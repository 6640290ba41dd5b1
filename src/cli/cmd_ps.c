// SPDX-License-Identifier: Apache-2.0
/* berth ps: the engines that run, try to, or wait for room. */
#include <stdarg.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = {
    "MODEL", "REPLICA", "STATE", "DEVICES", "MEMORY",   "PID",
    "UP",    "SLOTS",   "BUSY",  "LINE",    "RESTARTS", "NOTE"
};

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

/* Owned by the caller. */
static char *note_of(const json_t *inst)
{
    struct buf b = BUF_INIT(NOTE_MAX_BYTES);
    const char *breaker = member_str(inst, "breaker", "closed");
    char left[AGE_SIZE];

    if (json_is_true(json_object_get(inst, "remote"))) {
        add_note(&b, "at %s", member_str(inst, "address", "another machine"));
    }
    if (!str_eq(breaker, "closed")) {
        add_note(&b, "breaker %s", str_eq(breaker, "half_open") ? "half open" : breaker);
    }
    if (format_until(member_str(inst, "expires_at", NULL), left)) {
        add_note(&b, "unloads in %s", left);
    }
    if (member_str(inst, "last_error", NULL)) {
        add_note(&b, "%s%s", str_eq(member_str(inst, "state", "?"), "ready") ? "before: " : "",
                 member_str(inst, "last_error", ""));
    }
    return buf_take(&b, NULL);
}

/* In words that say what one without a place waits for. */
static const char *state_of(const json_t *inst)
{
    const char *state = member_str(inst, "state", "?");

    if (str_eq(state, "waiting")) {
        return json_is_true(json_object_get(inst, "displaced")) ? "preempted" : "queued";
    }
    return json_is_true(json_object_get(inst, "sleeping")) ? "sleeping" : state;
}

/* MiB over all devices and the host; -1: nothing is told. */
static double memory_in(const json_t *place)
{
    double sum = json_number_value(json_object_get(place, "host_memory"));
    size_t i;
    json_t *share;

    json_array_foreach(json_object_get(place, "devices"), i, share)
    {
        sum += json_number_value(json_object_get(share, "memory"));
    }
    return json_is_object(place) ? sum : -1;
}

/* Where it is, and what it takes: as measured, else as reserved. */
static void add_place(struct table *t, const json_t *inst)
{
    const json_t *place = json_object_get(inst, "place");
    double mib = memory_in(json_object_get(inst, "memory_taken"));
    json_t *indexes = json_array();
    _cleanup_(freep) char *devices = NULL;
    char size[SIZE_SIZE] = "-";
    size_t i;
    json_t *share;

    json_array_foreach(json_object_get(place, "devices"), i, share)
    {
        json_array_append(indexes, json_object_get(share, "device"));
    }
    devices = join_members(indexes, "-");
    json_decref(indexes);
    mib = mib < 0 ? memory_in(place) : mib;
    if (mib >= 0) {
        format_size(mib, size);
    }
    table_cell(t, "%s", devices);
    table_cell(t, "%s", size);
}

static void add_row(const struct cli *cli, struct table *t, const json_t *inst)
{
    const json_t *uptime = json_object_get(inst, "uptime");
    const int64_t pid = member_int(inst, "pid");
    _cleanup_(freep) char *note = note_of(inst);
    char up[AGE_SIZE] = "-";

    if (json_is_number(uptime)) {
        format_age(json_number_value(uptime), up);
    }
    table_cell(t, "%s", member_str(inst, "model", "?"));
    table_cell(t, "%lld", (long long)member_int(inst, "replica"));
    table_cell(t, "%s", paint_state(cli, state_of(inst)));
    add_place(t, inst);
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
    "ps", "",  "Lists the engines: state, device, memory, process, load, what is wrong.", NULL, 0,
    0,    run,
};
