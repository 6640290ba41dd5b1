// SPDX-License-Identifier: Apache-2.0
/* Metrics in memory: per metric a map from label values to a cell, bounded; and the text format. */
#include "metrics/metrics.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/str.h"

enum { COLLECTORS_MAX = 16, VALUE_MAX = 256, KEY_MAX = METRIC_LABELS_MAX * (VALUE_MAX + 1) + 1 };

const double metric_seconds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                  2.5,   5,      10,    20,   30,    60,   120, 300,  600, 0 };

struct labelled_cell {
    struct metric_cell cell;
    char *values[METRIC_LABELS_MAX];
};

struct family {
    struct list node;
    const struct metric *metric;
    size_t label_count;
    struct map cells; /* by the label values, joined with a byte that UTF-8 does not have */
};

struct collector {
    void (*fn)(void *arg);
    void *arg;
};

struct metrics {
    struct list families;
    struct collector collectors[COLLECTORS_MAX];
    size_t collector_count;
};

struct metrics *metrics_create(void)
{
    struct metrics *m = xcalloc(1, sizeof(*m));

    list_init(&m->families);
    return m;
}

static void free_cell(struct labelled_cell *c)
{
    for (size_t i = 0; i < METRIC_LABELS_MAX; i++) {
        free(c->values[i]);
    }
    free(c);
}

struct metrics *metrics_destroy(struct metrics *m)
{
    struct family *f, *tmp;

    if (!m) {
        return NULL;
    }
    list_for_each_safe (f, tmp, &m->families, node) {
        map_for_each(e, &f->cells)
        {
            free_cell(e->value);
        }
        map_finish(&f->cells);
        free(f);
    }
    free(m);
    return NULL;
}

static struct family *find_family(const struct metrics *m, const struct metric *metric)
{
    struct family *f;

    list_for_each (f, &m->families, node) {
        if (f->metric == metric) {
            return f;
        }
    }
    return NULL;
}

/* Label values as they are kept: UTF-8 and at most VALUE_MAX bytes, so that two that look alike are
 * one. */
struct label_values {
    char text[METRIC_LABELS_MAX][VALUE_MAX + 1];
};

static void keep_value(const char *value, char out[VALUE_MAX + 1])
{
    size_t n = strnlen(value, VALUE_MAX + 1);

    if (n > VALUE_MAX) { /* cut, but not within a character */
        for (n = VALUE_MAX; n > 0 && ((unsigned char)value[n] & 0xC0) == 0x80; n--) {
        }
    }
    memcpy(out, value, n);
    out[n] = '\0';
    for (char *p = out; !is_valid_utf8(out, n) && *p; p++) {
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    }
}

static void make_key(const struct family *f, const struct label_values *values, char key[KEY_MAX])
{
    char *to = key;

    for (size_t i = 0; i < f->label_count; i++) {
        to = stpcpy(to, values->text[i]);
        *to++ = (char)0xFF;
    }
    *to = '\0';
}

static struct labelled_cell *make_cell(struct family *f, const char *key,
                                       const struct label_values *values)
{
    struct labelled_cell *c = xcalloc(1, sizeof(*c));

    c->cell.bounds = f->metric->buckets;
    for (size_t i = 0; i < f->label_count; i++) {
        c->values[i] = xstrdup(values->text[i]);
    }
    map_put(&f->cells, key, c);
    return c;
}

static void check_buckets(const struct metric *metric)
{
    size_t n = 0;

    for (; metric->buckets && metric->buckets[n] > 0; n++) {
        assert(n < METRIC_BUCKETS_MAX && (n == 0 || metric->buckets[n] > metric->buckets[n - 1]));
    }
    assert((metric->type == METRIC_HISTOGRAM) == (n > 0));
}

static bool is_declared(const struct metrics *m, const char *name)
{
    const struct family *f;

    list_for_each (f, &m->families, node) {
        if (str_eq(f->metric->name, name)) {
            return true;
        }
    }
    return false;
}

void metrics_declare(struct metrics *m, const struct metric *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct family *f = xcalloc(1, sizeof(*f));

        assert(!is_declared(m, table[i].name));
        check_buckets(&table[i]);
        f->metric = &table[i];
        while (f->label_count < METRIC_LABELS_MAX && table[i].labels[f->label_count]) {
            f->label_count++;
        }
        map_init(&f->cells);
        list_append(&m->families, &f->node);
        if (f->label_count == 0) {
            make_cell(f, "", NULL); /* there from the start, as 0 */
        }
    }
}

struct metric_cell *metrics_cell(struct metrics *m, const struct metric *metric,
                                 const char *const *values)
{
    struct family *f = find_family(m, metric);
    struct labelled_cell *c;
    struct label_values kept;
    char key[KEY_MAX];

    assert(f);
    for (size_t i = 0; i < f->label_count; i++) {
        keep_value(values[i], kept.text[i]);
    }
    make_key(f, &kept, key);
    c = map_get(&f->cells, key);
    if (!c && f->cells.count >= METRIC_CELLS_MAX) {
        for (size_t i = 0; i < f->label_count; i++) {
            keep_value("other", kept.text[i]);
        }
        make_key(f, &kept, key);
        c = map_get(&f->cells, key);
    }
    c = c ? c : make_cell(f, key, &kept);
    return &c->cell;
}

void metrics_forget(struct metrics *m, const char *name, const char *value)
{
    struct family *f;

    list_for_each (f, &m->families, node) {
        for (size_t i = 0; i < f->label_count; i++) {
            if (!str_eq(f->metric->labels[i], name)) {
                continue;
            }
            map_for_each(e, &f->cells)
            {
                struct labelled_cell *c = e->value;

                if (str_eq(c->values[i], value)) {
                    map_remove(&f->cells, e->key);
                    free_cell(c);
                }
            }
        }
    }
}

void metric_observe(struct metric_cell *c, double value)
{
    c->value += value;
    c->count++;
    for (size_t i = 0; c->bounds && c->bounds[i] > 0; i++) {
        if (value <= c->bounds[i]) {
            c->buckets[i]++;
            return;
        }
    }
}

void metrics_on_collect(struct metrics *m, void (*fn)(void *arg), void *arg)
{
    assert(m->collector_count < COLLECTORS_MAX);
    m->collectors[m->collector_count++] = (struct collector){ fn, arg };
}

/* Exposition */

static void put_escaped(struct buf *out, const char *s, bool quote)
{
    for (; *s; s++) {
        if (*s == '\\') {
            buf_puts(out, "\\\\");
        } else if (*s == '\n') {
            buf_puts(out, "\\n");
        } else if (*s == '"' && quote) {
            buf_puts(out, "\\\"");
        } else {
            buf_putc(out, *s);
        }
    }
}

enum { NUMBER_SIZE = 40 };

/* The shortest text that reads back as the same number. */
static const char *number_text(double v, char out[NUMBER_SIZE])
{
    if (!isfinite(v)) {
        return isnan(v) ? "NaN" : v > 0 ? "+Inf" : "-Inf";
    }
    if (v == floor(v) && fabs(v) < 1e15) {
        snprintf(out, NUMBER_SIZE, "%.0f", v);
        return out;
    }
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, NUMBER_SIZE, "%.*g", digits, v);
        if (strtod(out, NULL) == v) {
            break;
        }
    }
    return out;
}

static void put_number(struct buf *out, double v)
{
    char text[NUMBER_SIZE];

    buf_puts(out, number_text(v, text));
}

/* name{a="x",le="…"}; le NULL when there is none */
static void put_series(struct buf *out, const struct family *f, const struct labelled_cell *c,
                       const char *suffix, const char *le)
{
    bool any = false;

    buf_printf(out, "%s%s", f->metric->name, suffix);
    for (size_t i = 0; i < f->label_count; i++) {
        buf_printf(out, "%s%s=\"", any ? "," : "{", f->metric->labels[i]);
        put_escaped(out, c->values[i], true);
        buf_putc(out, '"');
        any = true;
    }
    if (le) {
        buf_printf(out, "%sle=\"%s\"", any ? "," : "{", le);
        any = true;
    }
    buf_puts(out, any ? "} " : " ");
}

static void put_histogram(struct buf *out, const struct family *f, const struct labelled_cell *c)
{
    uint64_t below = 0;

    for (size_t i = 0; c->cell.bounds && c->cell.bounds[i] > 0; i++) {
        char le[NUMBER_SIZE];

        below += c->cell.buckets[i];
        put_series(out, f, c, "_bucket", number_text(c->cell.bounds[i], le));
        buf_printf(out, "%llu\n", (unsigned long long)below);
    }
    put_series(out, f, c, "_bucket", "+Inf");
    buf_printf(out, "%llu\n", (unsigned long long)c->cell.count);
    put_series(out, f, c, "_sum", NULL);
    put_number(out, c->cell.value);
    buf_putc(out, '\n');
    put_series(out, f, c, "_count", NULL);
    buf_printf(out, "%llu\n", (unsigned long long)c->cell.count);
}

static void put_cell(struct buf *out, const struct family *f, const struct labelled_cell *c)
{
    if (f->metric->type == METRIC_HISTOGRAM) {
        put_histogram(out, f, c);
        return;
    }
    put_series(out, f, c, "", NULL);
    put_number(out, c->cell.value);
    buf_putc(out, '\n');
}

int metrics_write(struct metrics *m, struct buf *out)
{
    static const char *const types[] = { "counter", "gauge", "histogram" };
    struct family *f;

    for (size_t i = 0; i < m->collector_count; i++) {
        m->collectors[i].fn(m->collectors[i].arg);
    }
    list_for_each (f, &m->families, node) {
        buf_printf(out, "# HELP %s ", f->metric->name);
        put_escaped(out, f->metric->help, false);
        buf_printf(out, "\n# TYPE %s %s\n", f->metric->name, types[f->metric->type]);
        map_for_each(e, &f->cells)
        {
            put_cell(out, f, e->value);
        }
    }
    return out->overflow ? -EFBIG : 0;
}
