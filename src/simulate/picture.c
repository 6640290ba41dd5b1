// SPDX-License-Identifier: Apache-2.0
/* Pictures of results, as SVG text: curves over the rate, and one run over time. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "simulate/simulate.h"

enum { WIDTH = 960, HEIGHT = 540, LEFT = 80, RIGHT = 250, TOP = 50, BOTTOM = 60, LINES_MAX = 32 };

static const char *const colours[] = { "#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd",
                                       "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22", "#17becf",
                                       "#000000", "#5254a3", "#ad494a" };

struct axes {
    double x_min, x_max, y_min, y_max;
    bool log_y;
};

static double place_x(const struct axes *a, double x)
{
    double span = MAX_OF(a->x_max - a->x_min, 1e-12);

    return LEFT + (x - a->x_min) / span * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct axes *a, double y)
{
    double v = a->log_y ? log10(MAX_OF(y, a->y_min)) : y;
    double low = a->log_y ? log10(a->y_min) : a->y_min;
    double high = a->log_y ? log10(a->y_max) : a->y_max;

    return HEIGHT - BOTTOM - (v - low) / MAX_OF(high - low, 1e-12) * (HEIGHT - TOP - BOTTOM);
}

static void put_text(FILE *f, double x, double y, const char *anchor, const char *text)
{
    fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '<':
            fputs("&lt;", f);
            break;
        case '&':
            fputs("&amp;", f);
            break;
        default:
            fputc(*c, f);
        }
    }
    fputs("</text>\n", f);
}

static void begin(FILE *f, const char *title)
{
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"13\">\n"
            "<rect width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT);
    put_text(f, LEFT, 28, "start", title);
}

/* 1, 2 or 5 times a power of ten, so that there are some five of them. */
static double step_of(double span)
{
    double power = pow(10, floor(log10(MAX_OF(span, 1e-9) / 5)));
    double n = span / 5 / power;

    return power * (n < 1.5 ? 1 : n < 3.5 ? 2 : n < 7.5 ? 5 : 10);
}

static void put_grid_line(FILE *f, double x1, double y1, double x2, double y2)
{
    fprintf(f, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#dddddd\"/>\n", x1,
            y1, x2, y2);
}

static void put_x_axis(FILE *f, const struct axes *a, const char *name)
{
    const double step = step_of(a->x_max - a->x_min);
    char text[32];

    for (int i = (int)ceil(a->x_min / step); i * step <= a->x_max * (1 + 1e-9); i++) {
        const double x = i * step;

        put_grid_line(f, place_x(a, x), TOP, place_x(a, x), HEIGHT - BOTTOM);
        snprintf(text, sizeof(text), "%g", x);
        put_text(f, place_x(a, x), HEIGHT - BOTTOM + 18, "middle", text);
    }
    put_text(f, (WIDTH - RIGHT + LEFT) / 2.0, HEIGHT - 16, "middle", name);
}

static void put_y_mark(FILE *f, const struct axes *a, double y)
{
    char text[32];

    put_grid_line(f, LEFT, place_y(a, y), WIDTH - RIGHT, place_y(a, y));
    snprintf(text, sizeof(text), "%g", y);
    put_text(f, LEFT - 8, place_y(a, y) + 4, "end", text);
}

static void put_y_axis(FILE *f, const struct axes *a, const char *name)
{
    const double step = step_of(a->y_max - a->y_min);
    const int powers = a->log_y ? (int)ceil(log10(a->y_max / a->y_min)) : 0;

    for (int i = 0; i <= powers && a->log_y; i++) {
        put_y_mark(f, a, a->y_min * pow(10, i));
    }
    for (int i = 0; i * step <= a->y_max * (1 + 1e-9) && !a->log_y; i++) {
        put_y_mark(f, a, i * step);
    }
    put_text(f, LEFT, TOP - 6, "start", name);
}

static void put_legend(FILE *f, unsigned line, const char *name)
{
    const double y = TOP + 14 + 20.0 * line;

    fprintf(f,
            "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\" "
            "stroke-width=\"2.5\"/>\n",
            WIDTH - RIGHT + 16, y - 4, WIDTH - RIGHT + 40, y - 4,
            colours[line % ARRAY_SIZE(colours)]);
    put_text(f, WIDTH - RIGHT + 48, y, "start", name);
}

static char *finish(FILE *f, char **text)
{
    fputs("</svg>\n", f);
    fclose(f);
    return *text;
}

/* ---- curves ---- */

/* Of one rate alone, from nothing to it. */
static struct axes axes_of(const struct sim_curve_point *points, size_t count)
{
    struct axes a = { .x_min = INFINITY, .y_min = INFINITY, .log_y = true };

    for (size_t i = 0; i < count; i++) {
        a.x_min = MIN_OF(a.x_min, points[i].rate_rps);
        a.x_max = MAX_OF(a.x_max, points[i].rate_rps);
        a.y_min = MIN_OF(a.y_min, MAX_OF(points[i].p99_ttft_s, 1e-3));
        a.y_max = MAX_OF(a.y_max, points[i].p99_ttft_s);
    }
    a.x_min = count && a.x_max - a.x_min > 1e-3 * a.x_max ? a.x_min : 0;
    a.y_min = count ? pow(10, floor(log10(a.y_min))) : 1;
    a.y_max = pow(10, ceil(log10(MAX_OF(a.y_max, 2 * a.y_min))));
    return a;
}

/* The points of one strategy, which stand in the order of their rates. Filled where the rate was
 * sustained. */
static void put_curve(FILE *f, const struct axes *a, const struct sim_curve_point *points,
                      size_t count, const char *strategy, const char *colour)
{
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colour);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(points[i].strategy, strategy) == 0) {
            fprintf(f, "%.1f,%.1f ", place_x(a, points[i].rate_rps),
                    place_y(a, points[i].p99_ttft_s));
        }
    }
    fputs("\"/>\n", f);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(points[i].strategy, strategy) == 0) {
            fprintf(f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" stroke=\"%s\" fill=\"%s\"/>\n",
                    place_x(a, points[i].rate_rps), place_y(a, points[i].p99_ttft_s), colour,
                    points[i].sustained ? colour : "#ffffff");
        }
    }
}

static bool is_first(const struct sim_curve_point *points, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (strcmp(points[i].strategy, points[at].strategy) == 0) {
            return false;
        }
    }
    return true;
}

char *sim_curve_svg(const struct sim_curve_point *points, size_t count, const char *title)
{
    struct axes a = axes_of(points, count);
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    unsigned line = 0;

    begin(f, title);
    put_x_axis(f, &a, "requests/s");
    put_y_axis(f, &a, "p99 TTFT, s (filled: the rate is sustained)");
    for (size_t i = 0; i < count && line < LINES_MAX; i++) {
        if (is_first(points, i)) {
            put_curve(f, &a, points, count, points[i].strategy,
                      colours[line % ARRAY_SIZE(colours)]);
            put_legend(f, line++, points[i].strategy);
        }
    }
    return finish(f, &text);
}

/* ---- one run ---- */

enum moment_line { ARRIVALS, TTFT, RUNNING, WAITING, MOMENT_LINE_MAX_ };

static const char *const line_names[] = {
    [ARRIVALS] = "requests/s that come",
    [TTFT] = "mean TTFT, s",
    [RUNNING] = "running",
    [WAITING] = "waiting",
};

static double value_of(const struct sim_moment *m, int line)
{
    const double values[] = { m->arrivals_ps, m->ttft_s, m->running, m->waiting };

    return values[line];
}

/* Each in its own measure, since they have nothing in common: its greatest stands in the legend. */
static void put_moments(FILE *f, const struct axes *a, const struct sim_result *r, int line)
{
    char text[64];
    double most = 0;

    for (size_t i = 0; i < r->moment_count; i++) {
        most = MAX_OF(most, value_of(&r->moments[i], line));
    }
    fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" points=\"", colours[line]);
    for (size_t i = 0; i < r->moment_count; i++) {
        fprintf(f, "%.1f,%.1f ", place_x(a, r->moments[i].at_s),
                place_y(a, most > 0 ? 100 * value_of(&r->moments[i], line) / most : 0));
    }
    fputs("\"/>\n", f);
    snprintf(text, sizeof(text), "%s (max %.4g)", line_names[line], most);
    put_legend(f, (unsigned)line, text);
}

char *sim_result_svg(const struct sim_result *r, const char *title)
{
    struct axes a = { .y_max = 100 };
    char *text = NULL;
    size_t size;
    FILE *f = open_memstream(&text, &size);

    a.x_max = r->moment_count ? r->moments[r->moment_count - 1].at_s : 1;
    begin(f, title);
    put_x_axis(f, &a, "time, s");
    put_y_axis(f, &a, "percent of each line's greatest value");
    for (int line = 0; line < MOMENT_LINE_MAX_; line++) {
        put_moments(f, &a, r, line);
    }
    return finish(f, &text);
}
