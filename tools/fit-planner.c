// SPDX-License-Identifier: Apache-2.0
/*
 * Fits the planner's free numbers on one part of a file of measurements and prints
 * src/planner/coefficients.c. The other part, all rows of the models and chips named below, is
 * never looked at while fitting; --held and --fitted write the parts as CSV files for `berth plan
 * check`.
 *
 *   fit-planner FILE.csv > src/planner/coefficients.c
 *   fit-planner --held FILE.csv > held.csv
 *
 * Deterministic: coordinate descent from the starting values, each number in turn up and down by a
 * shrinking step, on the sum of a Huber loss of ln(predicted / measured).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "planner/planner_int.h"

/* Whole models and whole chips, so that what is judged is of a kind that the fit has not seen. */
static const char *const held_models[] = { "Llama-3.1-405B", "Qwen3-32B",   "Kimi-K2",
                                           "Qwen3-30B-A3B",  "Llama-2-70B", NULL };
static const char *const held_chips[] = { "H200-SXM", "H200-SXM-CTS", "GB200",
                                          "H100-NVL", "MI300X",       "RTX-3090",
                                          "RTX-3070", "RTX-4080",     "Apple-M2-Ultra-76c",
                                          NULL };

enum { COUNT = sizeof(struct planner_coefficients) / sizeof(double), ROUNDS = 40 };

#define WIDER 1.6

static const struct {
    const char *name;
    double start, low, high;
} numbers[COUNT] = {
#define X(name, start, low, high, help) { #name, start, low, high },
    PLANNER_COEFFICIENTS(X)
#undef X
};

static bool is_among(const char *name, const char *const *names)
{
    for (; *names; names++) {
        if (strcmp(*names, name) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_held(const struct planner_row *row)
{
    return (row->model && is_among(row->model->name, held_models)) ||
           (row->chip && is_among(row->chip->name, held_chips));
}

static bool is_scored(const struct planner_row *row)
{
    return strcmp(row->tier, "C") != 0;
}

/* ---- the loss ---- */

static double weight_of(const struct planner_row *row)
{
    const bool first = strcmp(row->metric, "ttft_mean") == 0;

    return row->load.kind == PLANNER_DISAGGREGATED ? (first ? 0.05 : 0.5) : first ? 0.5 : 1;
}

static double huber(double x)
{
    const double a = fabs(x), knee = 0.12;

    return a < knee ? a * a / 2 / knee : a - knee / 2 < 0.8 ? a - knee / 2 : 0.8;
}

static double loss(struct planner_rows *rows, const struct planner_coefficients *k,
                   const double *from_start)
{
    double sum = 0;

    for (size_t i = 0; i < rows->count; i++) {
        struct planner_row *row = &rows->rows[i];

        planner_row_predict(row, k);
        sum += weight_of(row) * (row->predicted_ok ? huber(log(row->predicted / row->value)) : 0.8);
    }
    for (size_t i = 0; i < COUNT; i++) { /* what the data say nothing of stays where it is */
        const double v = ((const double *)k)[i];

        sum += 0.15 * pow((v - from_start[i]) / (numbers[i].high - numbers[i].low), 2);
    }
    return sum;
}

static void fit(struct planner_rows *rows, struct planner_coefficients *k)
{
    double *v = (double *)k, start[COUNT], best;
    double steps[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        v[i] = start[i] = numbers[i].start;
        steps[i] = 0.12 * (numbers[i].high - numbers[i].low);
    }
    best = loss(rows, k, start);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < COUNT; i++) {
            bool better = false;

            for (int sign = -1; sign <= 1 && !better; sign += 2) {
                const double before = v[i];
                double l;

                v[i] = fmin(fmax(before + sign * steps[i], numbers[i].low), numbers[i].high);
                l = loss(rows, k, start);
                if (l < best - 1e-9) {
                    best = l;
                    better = true;
                } else {
                    v[i] = before;
                }
            }
            steps[i] *= better ? 1.3 : 0.6;
        }
        fprintf(stderr, "round %d: loss %.4f\n", round + 1, best);
    }
}

/* ---- output ---- */

static const char *const loads[PLANNER_LOAD_MAX_] = { "closed loop", "open loop", "offline",
                                                      "static batch", "disaggregated" };
static const char *const figures[] = { "TTFT", "TPOT", "throughput" };

static int figure_of(const struct planner_row *row)
{
    if (strstr(row->metric, "ttft") || strcmp(row->metric, "prefill_tokens_per_s") == 0) {
        return PLANNER_FIGURE_TTFT;
    }
    return strstr(row->metric, "output_tokens") ? PLANNER_FIGURE_THROUGHPUT : PLANNER_FIGURE_TPOT;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The tenths of measured / predicted, wide when there is little to go by; and wider by WIDER (of
 * the logarithm) than on the rows that were fitted, because others are further off. */
static void print_band(const struct planner_rows *rows, int kind, int figure)
{
    double *ratios = xcalloc(rows->count + 1, sizeof(*ratios)), low = 0.6, high = 1.5;
    size_t n = 0;

    for (size_t i = 0; i < rows->count; i++) {
        const struct planner_row *row = &rows->rows[i];

        if (row->predicted_ok && (int)row->load.kind == kind && figure_of(row) == figure) {
            const bool rate = strstr(row->metric, "tokens_per_s") &&
                              figure != PLANNER_FIGURE_THROUGHPUT; /* the time is its inverse */

            ratios[n++] = rate ? row->predicted / row->value : row->value / row->predicted;
        }
    }
    if (n >= 20) {
        qsort(ratios, n, sizeof(*ratios), by_value);
        low = pow(ratios[n / 10], figure == PLANNER_FIGURE_TTFT ? 1 : WIDER);
        high = pow(ratios[n - 1 - n / 10], figure == PLANNER_FIGURE_TTFT ? 1 : WIDER);
    }
    printf("    [%d][%d] = { %.3f, %.3f }, /* %s, %s: %zu */\n", kind, figure, low, high,
           loads[kind], figures[figure], n);
    free(ratios);
}

static void print_source(const struct planner_rows *rows, const struct planner_coefficients *k)
{
    const double *v = (const double *)k;

    puts("// SPDX-License-Identifier: Apache-2.0\n"
         "/* The planner's free numbers. Made by tools/fit-planner, not by hand. */\n"
         "#include \"planner/planner_int.h\"\n\n// clang-format off\n"
         "const struct planner_coefficients planner_shipped = {");
    for (size_t i = 0; i < COUNT; i++) {
        printf("    .%s = %.4g,\n", numbers[i].name, v[i]);
    }
    puts("};\n\n/* By load and figure, measured / predicted that held four of five. */\n"
         "const struct planner_band planner_bands[PLANNER_LOAD_MAX_][PLANNER_FIGURE_MAX_] = {");
    for (int kind = 0; kind < PLANNER_LOAD_MAX_; kind++) {
        for (int figure = 0; figure < PLANNER_FIGURE_MAX_; figure++) {
            print_band(rows, kind, figure);
        }
    }
    puts("};\n// clang-format on");
}

/* ---- input ---- */

static char *read_file(const char *path, size_t *ret_size)
{
    FILE *f = fopen(path, "rb");
    char *text = NULL;
    size_t n = 0, got;

    while (f) {
        text = xrealloc(text, n + 65536);
        got = fread(text + n, 1, 65536, f);
        n += got;
        if (got == 0) {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    *ret_size = n;
    return text;
}

/* Copies the head and the lines of one part; a line is a row. */
static int print_part(const char *text, size_t size, bool held)
{
    const char *end = text + size, *line = memchr(text, '\n', size);
    const size_t head = line ? (size_t)(line - text) + 1 : 0;
    struct error e;

    fwrite(text, 1, head, stdout);
    for (line = text + head; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const size_t n = (size_t)((stop ? stop : end) - line);
        char *one = xcalloc(head + n + 2, 1);
        struct planner_rows rows;

        memcpy(one, text, head);
        memcpy(one + head, line, n);
        if (planner_rows_parse(one, head + n, &rows, &e) == 0) {
            if (rows.count == 1 && is_held(&rows.rows[0]) == held) {
                fwrite(line, 1, n, stdout);
                putchar('\n');
            }
            planner_rows_finish(&rows);
        }
        free(one);
        line += n + 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    const bool all = argc == 3 && strcmp(argv[1], "--all") == 0;
    struct planner_rows rows;
    struct planner_coefficients k;
    struct error e;
    size_t size, n = 0;
    char *text;

    if (argc < 2) {
        fputs("usage: fit-planner [--held | --fitted | --all] FILE.csv\n", stderr);
        return 2;
    }
    text = read_file(argv[argc - 1], &size);
    if (!text || planner_rows_parse(text, size, &rows, &e) < 0) {
        fprintf(stderr, "fit-planner: cannot read %s%s%s\n", argv[argc - 1], text ? ": " : "",
                text ? e.text : "");
        return 1;
    }
    if (argc == 3 && !all) {
        return print_part(text, size, strcmp(argv[1], "--held") == 0);
    }
    for (size_t i = 0; i < rows.count; i++) {
        const struct planner_row *row = &rows.rows[i];

        if (is_scored(row) && row->understood && row->value > 0 && (all || !is_held(row))) {
            rows.rows[n++] = *row;
        }
    }
    rows.count = n;
    fprintf(stderr, "%zu rows, %d numbers\n", n, COUNT);
    fit(&rows, &k);
    loss(&rows, &k, (const double *)&k);
    print_source(&rows, &k);
    planner_rows_finish(&rows);
    free(text);
    return 0;
}
