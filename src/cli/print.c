// SPDX-License-Identifier: Apache-2.0
/* What commands print: complaints, JSON, ages, coloured states, aligned columns. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/cli_int.h"

/* "\033[…m" */
static bool is_colour(const char *s)
{
    size_t n;

    if (s[0] != '\033' || s[1] != '[') {
        return false;
    }
    n = strspn(s + 2, "0123456789;");
    return n <= 6 && s[2 + n] == 'm';
}

void make_printable(char *s, const char *kept)
{
    for (; *s; s++) {
        if (((unsigned char)*s < 0x20 || *s == 0x7f) && !strchr(kept, *s) && !is_colour(s)) {
            *s = ' ';
        }
    }
}

void complain(const char *fmt, ...)
{
    _cleanup_(freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    make_printable(text, "\n\t");
    fflush(stdout);
    fprintf(stderr, "berth: %s\n", text);
}

void flush_or_end(void)
{
    if (fflush(stdout) == EOF) {
        exit(1);
    }
}

void print_json(const json_t *json)
{
    json_dumpf(json, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
    putchar('\n');
}

// clang-format off
static const struct {
    const char *word, *color;
} colors[] = {
    { "ready", "32" },    { "running", "32" }, { "ok", "32" },
    { "starting", "33" }, { "stopping", "33" }, { "draining", "33" }, { "warn", "33" },
    { "queued", "33" },   { "preempted", "33" },
    { "failed", "31" },   { "error", "31" },    { "backoff", "31" },  { "fail", "31" },
    { "completed", "32" }, { "pending", "33" }, { "online", "32" }, { "offline", "31" },
    { "in_progress", "33" }, { "validating", "33" }, { "finalizing", "33" }, { "expired", "31" },
    { "unreachable", "31" }, { "maintenance", "33" }, { "cancelling", "33" },
};
// clang-format on

const char *paint_state(const struct cli *cli, const char *state)
{
    static char text[64];

    for (size_t i = 0; cli->color && i < ARRAY_SIZE(colors); i++) {
        if (str_eq(colors[i].word, state)) {
            snprintf(text, sizeof(text), "\033[%sm%s\033[0m", colors[i].color, state);
            return text;
        }
    }
    return state;
}

void format_age(double seconds, char out[AGE_SIZE])
{
    const long s = (long)(seconds > 0 ? seconds : 0);

    if (s < 60) {
        snprintf(out, AGE_SIZE, "%lds", s);
    } else if (s < 3600) {
        snprintf(out, AGE_SIZE, "%ldm%lds", s / 60, s % 60);
    } else if (s < 86400) {
        snprintf(out, AGE_SIZE, "%ldh%ldm", s / 3600, s / 60 % 60);
    } else {
        snprintf(out, AGE_SIZE, "%ldd%ldh", s / 86400, s / 3600 % 24);
    }
}

/* "Z", "+02:00", "" in seconds east of Greenwich. */
static double read_zone(const char *s)
{
    int hours, minutes;

    if ((*s != '+' && *s != '-') || sscanf(s + 1, "%2d:%2d", &hours, &minutes) != 2) {
        return 0;
    }
    return (*s == '-' ? -60.0 : 60.0) * (hours * 60 + minutes);
}

bool time_from_iso(const char *iso, double *ret)
{
    struct tm tm = { 0 };
    const char *rest = iso ? strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    char *end;
    double fraction = 0;

    if (!rest) {
        return false;
    }
    if (*rest == '.') {
        fraction = strtod(rest, &end);
        rest = end;
    }
    *ret = (double)timegm(&tm) + fraction - read_zone(rest);
    return true;
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void format_age_at(double when, char out[AGE_SIZE])
{
    const double d = when - now();

    format_age(d < 0 ? -d : d, out);
}

bool format_until(const char *iso, char out[AGE_SIZE])
{
    double then;

    if (!time_from_iso(iso, &then)) {
        return false;
    }
    format_age(then - now(), out);
    return true;
}

void format_since(const char *iso, char out[AGE_SIZE])
{
    double then;

    if (time_from_iso(iso, &then)) {
        format_age(now() - then, out);
    } else {
        snprintf(out, AGE_SIZE, "-");
    }
}

void format_between(const char *from, const char *to, char out[AGE_SIZE])
{
    double a, b;

    if (!time_from_iso(from, &a) || !time_from_iso(to, &b)) {
        snprintf(out, AGE_SIZE, "-");
    } else if (b - a < 10) {
        snprintf(out, AGE_SIZE, "%.1fs", MAX_OF(b - a, 0.0));
    } else {
        format_age(b - a, out);
    }
}

void format_size(double mib, char out[SIZE_SIZE])
{
    if (mib > 0 && mib < 1) {
        snprintf(out, SIZE_SIZE, "%.0fK", mib * 1024);
    } else if (mib < 1024) {
        snprintf(out, SIZE_SIZE, "%.0fM", mib);
    } else {
        snprintf(out, SIZE_SIZE, "%.1fG", mib / 1024);
    }
}

enum { JOINED_MAX_BYTES = 64 * 1024 };

char *join_members(const json_t *array, const char *fallback)
{
    struct buf b = BUF_INIT(JOINED_MAX_BYTES);
    size_t i;
    json_t *one;

    json_array_foreach(array, i, one)
    {
        const char *text = json_string_value(one);

        buf_puts(&b, i > 0 ? ", " : "");
        if (text) {
            buf_puts(&b, text);
        } else {
            buf_printf(&b, "%lld", (long long)json_number_value(one));
        }
    }
    if (b.len == 0) {
        buf_puts(&b, fallback);
    }
    return buf_take(&b, NULL);
}

const char *member_str(const json_t *object, const char *name, const char *fallback)
{
    const char *s = json_string_value(json_object_get(object, name));

    return s ? s : fallback;
}

int64_t member_int(const json_t *object, const char *name)
{
    return (int64_t)json_number_value(json_object_get(object, name));
}

void print_line(const char *label, const char *fmt, ...)
{
    _cleanup_(freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    make_printable(text, "\n\t");
    printf("%-10s%s\n", label, text);
}

json_t *read_pair(const char *what, const char *word, char **ret_key)
{
    const char *equals = strchr(word, '=');
    json_t *value;

    if (!equals || equals == word) {
        complain("%s: '%s' is no KEY=VALUE", what, word);
        return NULL;
    }
    value = json_loads(equals + 1, JSON_DECODE_ANY, NULL);
    value = value ? value : json_string(equals + 1);
    if (!value) {
        complain("%s: '%s' is no UTF-8", what, word);
        return NULL;
    }
    *ret_key = xstrndup(word, (size_t)(equals - word));
    return value;
}

/* ---- columns ---- */

struct table {
    size_t columns;
    char **cells; /* row by row; the first row are the headings */
    size_t count, room;
};

struct table *table_create(const char *const *headings, size_t columns)
{
    struct table *t = xcalloc(1, sizeof(*t));

    t->columns = columns;
    for (size_t i = 0; i < columns; i++) {
        table_cell(t, "%s", headings[i]);
    }
    return t;
}

void table_cell(struct table *t, const char *fmt, ...)
{
    va_list ap;

    if (t->count == t->room) {
        t->room = t->room ? t->room * 2 : 64;
        t->cells = xrealloc(t->cells, t->room * sizeof(*t->cells));
    }
    va_start(ap, fmt);
    t->cells[t->count] = xvasprintf(fmt, ap);
    va_end(ap);
    make_printable(t->cells[t->count++], "");
}

/* Columns on a terminal: code points, without colour codes. */
static size_t shown_width(const char *s)
{
    size_t n = 0;

    while (*s) {
        if (*s == '\033') {
            s += strcspn(s, "m");
            s += *s == 'm';
            continue;
        }
        n += ((unsigned char)*s++ & 0xc0) != 0x80;
    }
    return n;
}

static size_t column_width(const struct table *t, size_t column)
{
    size_t widest = 0;

    for (size_t i = column; i < t->count; i += t->columns) {
        widest = MAX_OF(widest, shown_width(t->cells[i]));
    }
    return widest;
}

void table_print(const struct table *t, FILE *out, bool color)
{
    size_t *widths = xcalloc(t->columns, sizeof(*widths));

    for (size_t c = 0; c < t->columns; c++) {
        widths[c] = column_width(t, c);
    }
    for (size_t i = 0; i < t->count && t->columns > 0; i++) {
        const size_t column = i % t->columns;
        const bool last = column == t->columns - 1, dim = color && i < t->columns;

        fprintf(out, "%s%s%s", dim ? "\033[2m" : "", t->cells[i], dim ? "\033[0m" : "");
        if (last) {
            fputc('\n', out);
        } else {
            fprintf(out, "%*s", (int)(widths[column] - shown_width(t->cells[i]) + 2), "");
        }
    }
    free(widths);
}

struct table *table_free(struct table *t)
{
    for (size_t i = 0; i < t->count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    free(t);
    return NULL;
}

int cli_list(struct cli *cli, const char *path, const char *member, const char *const *headings,
             size_t columns,
             void (*add_row)(const struct cli *cli, struct table *t, const json_t *element))
{
    struct reply reply;
    struct table *t;
    json_t *element;
    size_t i;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
        reply_finish(&reply);
        return 0;
    }
    t = table_create(headings, columns);
    json_array_foreach(member ? json_object_get(reply.json, member) : reply.json, i, element)
    {
        add_row(cli, t, element);
    }
    table_print(t, stdout, cli->color);
    table_free(t);
    reply_finish(&reply);
    return 0;
}
