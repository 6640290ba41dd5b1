// SPDX-License-Identifier: Apache-2.0
/*
 * berth plan check: the planner's predictions beside measurements. Every row counts; one that
 * cannot be predicted is a miss.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cmd_plan.h"
#include "planner/planner.h"

enum { PIECE_BYTES = 1 << 16 };

/* ---- reading and writing ---- */

int plan_read_file(const char *path, struct buf *b)
{
    FILE *f = fopen(path, "rb");
    char *piece;
    size_t n;
    int r = 0;

    if (!f) {
        complain("cannot read %s: %s", path, strerror(errno));
        return -EIO;
    }
    piece = xcalloc(1, PIECE_BYTES);
    while (r == 0 && (n = fread(piece, 1, PIECE_BYTES, f)) > 0) {
        r = buf_append(b, piece, n);
    }
    if (r < 0 || ferror(f)) {
        complain("cannot read %s: %s", path, r < 0 ? "it is too large" : strerror(errno));
        r = -EIO;
    }
    free(piece);
    fclose(f);
    return r;
}

/* A CSV cell: quoted where it must be. */
static void print_cell(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (const char *p = text; *p; p++) {
        if (*p == '"') {
            fputc('"', out);
        }
        fputc(*p, out);
    }
    fputc('"', out);
}

static int write_rows(const struct planner_rows *rows, const char *path)
{
    FILE *f = fopen(path, "wb");
    bool bad;

    if (!f) {
        complain("cannot write %s: %s", path, strerror(errno));
        return -EIO;
    }
    fputs("id,metric,value,predicted,p10,p90,reason\n", f);
    for (size_t i = 0; i < rows->count; i++) {
        const struct planner_row *r = &rows->rows[i];

        print_cell(f, r->id);
        fputc(',', f);
        print_cell(f, r->metric);
        fprintf(f, ",%.10g,", r->value);
        if (r->predicted_ok) {
            fprintf(f, "%.6g,%.6g,%.6g,", r->predicted, r->band.p10, r->band.p90);
        } else {
            fputs(",,,", f);
        }
        print_cell(f, r->reason);
        fputc('\n', f);
    }
    bad = ferror(f) != 0;
    bad = fclose(f) != 0 || bad;
    if (bad) {
        complain("cannot write %s: %s", path, strerror(errno));
        return -EIO;
    }
    return 0;
}

/* ---- groups ---- */

/* Rows with the same words in one or more of these. NULL: any. */
struct group {
    const char *workload, *metric, *split_tag;
};

static bool is_member(const struct planner_row *row, const void *arg)
{
    const struct group *g = arg;

    return (!g->workload || str_eq(g->workload, row->workload)) &&
           (!g->metric || str_eq(g->metric, row->metric)) &&
           (!g->split_tag || str_eq(g->split_tag, row->split_tag));
}

static int by_words(const void *a, const void *b)
{
    const struct group *x = a, *y = b;
    int r = strcmp(x->workload, y->workload);

    r = r ? r : strcmp(x->metric, y->metric);
    return r ? r : strcmp(x->split_tag, y->split_tag);
}

/* The distinct triples, sorted; the words are the rows'. */
static size_t find_groups(const struct planner_rows *rows, struct group **ret)
{
    struct group *all = xcalloc(rows->count + 1, sizeof(*all));
    size_t n = 0;

    for (size_t i = 0; i < rows->count; i++) {
        const struct planner_row *r = &rows->rows[i];

        all[i] = (struct group){ r->workload, r->metric, r->split_tag };
    }
    qsort(all, rows->count, sizeof(*all), by_words);
    for (size_t i = 0; i < rows->count; i++) {
        if (n == 0 || by_words(&all[n - 1], &all[i]) != 0) {
            all[n++] = all[i];
        }
    }
    *ret = all;
    return n;
}

/* ---- telling ---- */

static const char *const headings[] = { "WORKLOAD", "METRIC", "SPLIT",      "ROWS",   "PREDICTED",
                                        "MEDIAN",   "MEAN",   "WITHIN 20%", "IN BAND" };

static void add_score(struct table *t, const struct group *g, const struct planner_score *s)
{
    table_cell(t, "%s", g->workload ? g->workload : "all");
    table_cell(t, "%s", g->metric ? g->metric : "all");
    table_cell(t, "%s", !g->split_tag ? "all" : g->split_tag[0] ? g->split_tag : "-");
    table_cell(t, "%zu", s->count);
    table_cell(t, "%zu", s->predicted);
    if (s->predicted > 0) {
        table_cell(t, "%.1f%%", 100 * s->median_ape);
        table_cell(t, "%.1f%%", 100 * s->mean_ape);
    } else {
        table_cell(t, "-");
        table_cell(t, "-");
    }
    table_cell(t, "%.1f%%", 100 * s->within_20);
    table_cell(t, "%.1f%%", 100 * s->in_band);
}

static json_t *json_score(const struct group *g, const struct planner_score *s)
{
    return json_pack("{s:s?, s:s?, s:s?, s:i, s:i, s:f, s:f, s:f, s:f}", "workload", g->workload,
                     "metric", g->metric, "split_tag", g->split_tag, "count", (int)s->count,
                     "predicted", (int)s->predicted, "median_ape", s->median_ape, "mean_ape",
                     s->mean_ape, "within_20", s->within_20, "in_band", s->in_band);
}

static void tell(const struct cli *cli, const struct planner_rows *rows)
{
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    json_t *list = json_array();
    struct group *groups;
    const size_t n = find_groups(rows, &groups);

    for (size_t i = 0; i <= n; i++) { /* the last one: everything */
        const struct group g = i < n ? groups[i] : (struct group){ NULL, NULL, NULL };
        struct planner_score s;

        planner_score(rows, is_member, &g, &s);
        add_score(t, &g, &s);
        json_array_append_new(list, json_score(&g, &s));
    }
    if (cli->json) {
        print_json(list);
    } else {
        table_print(t, stdout, cli->color);
    }
    json_decref(list);
    table_free(t);
    free(groups);
}

int plan_check(struct cli *cli, const char *path, const char *rows_path)
{
    struct buf text = BUF_INIT(PLAN_FILE_MAX);
    struct planner_rows rows;
    struct error e;
    int code = 0;

    if (plan_read_file(path, &text) < 0) {
        buf_finish(&text);
        return 1;
    }
    if (planner_rows_parse(buf_data(&text), text.len, &rows, &e) < 0) {
        complain("%s: %s", path, e.text);
        buf_finish(&text);
        return error_kind(-EINVAL)->exit_code;
    }
    buf_finish(&text);
    for (size_t i = 0; i < rows.count; i++) {
        planner_row_predict(&rows.rows[i], NULL);
    }
    tell(cli, &rows);
    if (rows_path && write_rows(&rows, rows_path) < 0) {
        code = 1;
    }
    planner_rows_finish(&rows);
    return code;
}
