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
 * Deterministic: damped Gauss-Newton steps from the starting values on the sum of a Huber loss of
 * ln(predicted / measured), and of the squares by which the logarithms of the numbers leave their
 * start (what the rows say little of stays where the tables and the literature have it). Rows of
 * one metric of one model on one chip in one engine say much the same: n of them count as the
 * square root of n. The bands are those of rows that a fit has not seen: each family of models,
 * then each chip, is left out of a fit once and predicted by it.
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

enum { COUNT = sizeof(struct planner_coefficients) / sizeof(double), ROUNDS = 60, TRIES = 12 };

/* The loss has small cliffs (one pass more, one request less in the last round): who stands before
 * one sees over it with slopes taken over another width. */
static const double widths[] = { 0.02, 0.005, 0.05, 0.01 };

/* What a number costs that is e times its start. */
#define FIRM 4.0
#define SOFT 1.0
#define FREE 0.3

static const struct {
    const char *name;
    double start, low, high, pull;
} numbers[COUNT] = {
#define X(name, start, low, high, pull, help) { #name, start, low, high, pull },
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

static bool is_alike(const struct planner_row *a, const struct planner_row *b)
{
    return a->model == b->model && a->chip == b->chip && a->engine == b->engine &&
           a->format == b->format && strcmp(a->workload, b->workload) == 0 &&
           strcmp(a->metric, b->metric) == 0;
}

/* The mean of the weights is one, but for the metrics that count less. */
static void weigh(const struct planner_rows *rows, double *weights)
{
    double sum = 0;

    for (size_t i = 0; i < rows->count; i++) {
        size_t alike = 0;

        for (size_t j = 0; j < rows->count; j++) {
            alike += is_alike(&rows->rows[i], &rows->rows[j]);
        }
        weights[i] = 1 / sqrt((double)alike);
        sum += weights[i];
    }
    for (size_t i = 0; i < rows->count; i++) {
        const struct planner_row *row = &rows->rows[i];
        const bool first = strcmp(row->metric, "ttft_mean") == 0;

        weights[i] *= (double)rows->count / sum;
        weights[i] *= row->load.kind == PLANNER_DISAGGREGATED ? (first ? 0.2 : 0.5)
                      : first                                 ? 0.5
                                                              : 1;
    }
}

static double huber(double x)
{
    const double a = fabs(x), knee = 0.12;

    return a < knee ? a * a / 2 / knee : a - knee / 2 < 0.8 ? a - knee / 2 : 0.8;
}

/* Numbers are moved in u: v = 1.1 s e^u - 0.1 s, so that u = 0 is the start and zero can be
 * reached. */
static double value_of(size_t i, double u)
{
    const double s = numbers[i].start;

    return fmin(fmax(1.1 * s * exp(u) - 0.1 * s, numbers[i].low), numbers[i].high);
}

static double place_of(size_t i, double v)
{
    const double s = numbers[i].start;

    return log((v + 0.1 * s) / (1.1 * s));
}

/* ln(predicted / measured); a row that is refused is far off. */
enum { REFUSED = 9 };

static double residual(struct planner_row *row, const struct planner_coefficients *k)
{
    planner_row_predict(row, k);
    return row->predicted_ok ? log(row->predicted / row->value) : REFUSED;
}

static void residuals(struct planner_rows *rows, const struct planner_coefficients *k, double *r)
{
    for (size_t i = 0; i < rows->count; i++) {
        r[i] = residual(&rows->rows[i], k);
    }
}

/* ---- the steps ---- */

struct state {
    struct planner_rows *rows;
    double v[COUNT], u[COUNT]; /* the numbers, and where they are */
    double *weights;           /* of rows */
    double *r, *aside;         /* residuals: of now, and of a try */
    double *slopes;            /* d r / d u, a row's after the other */
    double best, damping;
};

static double loss(const struct state *s, const double *r)
{
    double sum = 0;

    for (size_t i = 0; i < s->rows->count; i++) {
        sum += s->weights[i] * huber(r[i]);
    }
    for (size_t i = 0; i < COUNT; i++) {
        sum += numbers[i].pull * s->u[i] * s->u[i];
    }
    return sum;
}

static const struct planner_coefficients *numbers_of(const struct state *s)
{
    return (const struct planner_coefficients *)s->v;
}

/* all: else rows that a number did not touch are passed over. */
static void find_slopes(struct state *s, double width, bool all)
{
    for (size_t i = 0; i < COUNT; i++) {
        const double h = s->u[i] > 0 ? -width : width, before = s->v[i];

        s->v[i] = value_of(i, s->u[i] + h);
        for (size_t j = 0; j < s->rows->count; j++) {
            double *slope = &s->slopes[j * COUNT + i], d;

            if (all || *slope != 0) {
                d = (residual(&s->rows->rows[j], numbers_of(s)) - s->r[j]) / h;
                /* a cliff (something fits or not) is no slope */
                *slope = s->v[i] == before || fabs(d) > 3 ? 0 : d;
            }
        }
        s->v[i] = before;
    }
}

/* Solves a x = b in place, a symmetric and positive (Cholesky). */
static void solve(double a[COUNT][COUNT], double *b)
{
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i][j];

            for (size_t k = 0; k < j; k++) {
                sum -= a[i][k] * a[j][k];
            }
            a[i][j] = i == j ? sqrt(fmax(sum, 1e-12)) : sum / a[j][j];
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        for (size_t k = 0; k < i; k++) {
            b[i] -= a[i][k] * b[k];
        }
        b[i] /= a[i][i];
    }
    for (size_t i = COUNT; i-- > 0;) {
        for (size_t k = i + 1; k < COUNT; k++) {
            b[i] -= a[k][i] * b[k];
        }
        b[i] /= a[i][i];
    }
}

/* How much a row pulls: less the further off it is, and hardly when it is beyond all reason. */
static double pull_of(double weight, double r)
{
    const double x = fabs(r), knee = 0.12;

    return weight * (x < knee ? 1 / knee : x - knee / 2 < 0.8 ? 1 / x : 0.1 / x);
}

/* The step, into g. */
static void find_step(const struct state *s, double *g)
{
    static double a[COUNT][COUNT];

    memset(a, 0, sizeof(a));
    for (size_t i = 0; i < COUNT; i++) {
        g[i] = -2 * numbers[i].pull * s->u[i];
        a[i][i] = 2 * numbers[i].pull + s->damping;
    }
    for (size_t j = 0; j < s->rows->count; j++) {
        const double w = pull_of(s->weights[j], s->r[j]), *row = &s->slopes[j * COUNT];

        for (size_t i = 0; i < COUNT; i++) {
            g[i] -= w * row[i] * s->r[j];
            for (size_t m = 0; row[i] != 0 && m <= i; m++) {
                a[i][m] += w * row[i] * row[m];
            }
        }
    }
    solve(a, g);
}

/* One step that makes it better, the shorter the more have failed. */
static bool step(struct state *s)
{
    double g[COUNT], v[COUNT], u[COUNT];

    memcpy(v, s->v, sizeof(v));
    memcpy(u, s->u, sizeof(u));
    for (int i = 0; i < TRIES; i++) {
        double l;

        find_step(s, g);
        for (size_t j = 0; j < COUNT; j++) {
            s->v[j] = value_of(j, u[j] + fmin(fmax(g[j], -0.7), 0.7));
            s->u[j] = place_of(j, s->v[j]);
        }
        residuals(s->rows, numbers_of(s), s->aside);
        l = loss(s, s->aside);
        if (l < s->best) {
            double *swap = s->r;

            s->r = s->aside;
            s->aside = swap;
            s->best = l;
            s->damping = fmax(s->damping / 3, 0.01);
            return true;
        }
        s->damping *= 4;
        memcpy(s->v, v, sizeof(v));
        memcpy(s->u, u, sizeof(u));
    }
    return false;
}

/* Steps until three in a row better next to nothing, or none betters anything. */
static int walk(struct state *s, double width)
{
    int round = 0, idle = 0;
    double before;

    s->damping = 1;
    do {
        find_slopes(s, width, round == 0);
        before = s->best;
        if (!step(s)) {
            return round + 1;
        }
        idle = before - s->best < 1e-5 * before ? idle + 1 : 0;
    } while (++round < ROUNDS && idle < 3);
    return round;
}

static void fit(struct planner_rows *rows, struct planner_coefficients *k)
{
    struct state s = { .rows = rows };
    int rounds = 0;
    double before;

    s.weights = xcalloc(rows->count + 1, sizeof(double));
    s.r = xcalloc(rows->count + 1, sizeof(double));
    s.aside = xcalloc(rows->count + 1, sizeof(double));
    s.slopes = xcalloc(rows->count * COUNT + 1, sizeof(double));
    for (size_t i = 0; i < COUNT; i++) {
        s.v[i] = numbers[i].start;
    }
    weigh(rows, s.weights);
    residuals(rows, numbers_of(&s), s.r);
    s.best = loss(&s, s.r);
    do {
        before = s.best;
        for (size_t i = 0; i < ARRAY_SIZE(widths); i++) {
            rounds += walk(&s, widths[i]);
        }
    } while (before - s.best > 1e-4 * s.best);
    fprintf(stderr, "%zu rows: loss %.4f after %d rounds\n", rows->count, s.best, rounds);
    memcpy(k, s.v, sizeof(*k));
    free(s.weights);
    free(s.r);
    free(s.aside);
    free(s.slopes);
}

/* ---- rows that a fit has not seen ---- */

/* What is left out together; names of models or of chips. */
static const char *const families[][6] = {
    { "DeepSeek-V3", NULL },
    { "GPT-OSS-120B", NULL },
    { "Llama-3.1-70B", "Llama-3-70B", "Llama-3.3-70B", NULL },
    { "Llama-3.1-8B", "Llama-3-8B", "Llama-2-7B", "GPT-J-6B", "CodeLlama-7B", NULL },
    { "Qwen3-235B-A22B", NULL },
    { "Mixtral-8x7B", NULL },
    { "H100-SXM", NULL },
    { "B200-SXM", NULL },
    { "A100-SXM-80GB", NULL },
    { "L40S", NULL },
    { "RTX-4090", NULL },
};

/* Each row as fits see it that have not seen it, once for its model and once for its chip. */
static struct planner_rows predict_unseen(const struct planner_rows *rows)
{
    struct planner_rows unseen = { .rows = xcalloc(2 * rows->count + 1, sizeof(*unseen.rows)) };
    struct planner_rows seen = { .rows = xcalloc(rows->count + 1, sizeof(*seen.rows)) };

    for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
        const size_t first = unseen.count;
        struct planner_coefficients k;

        seen.count = 0;
        for (size_t i = 0; i < rows->count; i++) {
            const struct planner_row *row = &rows->rows[i];
            const bool out =
                is_among(row->model->name, families[f]) || is_among(row->chip->name, families[f]);
            struct planner_rows *to = out ? &unseen : &seen;

            if (to->count < 2 * rows->count) {
                to->rows[to->count++] = *row;
            }
        }
        fit(&seen, &k);
        for (size_t i = first; i < unseen.count; i++) {
            planner_row_predict(&unseen.rows[i], &k);
        }
    }
    planner_rows_finish(&seen);
    return unseen;
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

/* The tenths of measured / predicted; wide when there is little to go by. */
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
        low = fmin(ratios[n / 10], 0.95);
        high = fmax(ratios[n - 1 - n / 10], 1.05);
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
    puts("};\n\n/* By load and figure, measured / predicted that held four of five rows not seen. "
         "*/\n"
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
    struct planner_rows rows, unseen;
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
    unseen = predict_unseen(&rows);
    fit(&rows, &k);
    print_source(&unseen, &k);
    planner_rows_finish(&unseen);
    planner_rows_finish(&rows);
    free(text);
    return 0;
}
