// SPDX-License-Identifier: Apache-2.0
/* berth plan --timeline: when the first plan's stages do what, as a Gantt chart in text or as bars
 * in JSON. */
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "cli/cmd_plan.h"

enum { BARS_MAX = 1 << 18, CHART_WIDTH = 72, CHART_TOKENS = 4 };

struct chart {
    double *seconds; /* [stage][column][prefill's kinds, then decode's] */
    unsigned stages;
    double end_s;
};

enum { KINDS = 2 * PLANNER_WORK_MAX_ };

static double *cell_of(const struct chart *c, unsigned stage, int column)
{
    return &c->seconds[((size_t)stage * CHART_WIDTH + (size_t)column) * KINDS];
}

/* A bar's share of each column that it lies in. */
static void add_bar(const struct chart *c, const struct planner_bar *b)
{
    const double width = c->end_s / CHART_WIDTH;
    const int kind = (int)b->work + (b->decode ? PLANNER_WORK_MAX_ : 0);
    const int first = (int)(b->start_s / width);

    for (int i = first; i < CHART_WIDTH && i * width < b->start_s + b->length_s; i++) {
        const double from = fmax(b->start_s, i * width);
        const double to = fmin(b->start_s + b->length_s, (i + 1) * width);

        cell_of(c, b->stage, i)[kind] += fmax(to - from, 0);
    }
}

/* What takes most of a column; capital letters are prefill. */
static char letter_of(const double *cell, double width)
{
    static const char letters[] = "GAXCEHgaxceh";
    int best = 0;
    double sum = 0;

    for (int i = 0; i < KINDS; i++) {
        best = cell[i] > cell[best] ? i : best;
        sum += cell[i];
    }
    return sum < width / 2 ? '.' : letters[best];
}

/* Disaggregated, the stages of the prefill side come first. */
static void draw(const struct chart *c, unsigned prefill_stages)
{
    for (unsigned s = 0; s < c->stages; s++) {
        const bool second = s >= prefill_stages;
        char line[CHART_WIDTH + 1];

        for (int i = 0; i < CHART_WIDTH; i++) {
            line[i] = letter_of(cell_of(c, s, i), c->end_s / CHART_WIDTH);
        }
        line[CHART_WIDTH] = '\0';
        printf("%sstage %-3u |%s|\n",
               prefill_stages == 0 ? ""
               : second            ? "D "
                                   : "P ",
               second ? s - prefill_stages : s, line);
    }
}

/* The bars of the first plan; owned by the caller. */
static struct planner_bar *first_bars(const struct plan_report *p, size_t *ret_count)
{
    const struct planner_candidate *c = p->findings->candidates;
    struct planner_bar *bars = xcalloc(BARS_MAX, sizeof(*bars));
    struct planner_load load;

    *ret_count = 0;
    if (p->findings->count > 0) {
        load = planner_candidate_load(&p->request->question, c);
        *ret_count = planner_timeline(p->setup, &c->plan, &load, CHART_TOKENS, bars, BARS_MAX);
        *ret_count = MIN_OF(*ret_count, (size_t)BARS_MAX);
    }
    return bars;
}

json_t *plan_timeline_json(const struct plan_report *p)
{
    size_t n;
    struct planner_bar *bars = first_bars(p, &n);
    json_t *list = json_array();

    for (size_t i = 0; i < n; i++) {
        const struct planner_bar *b = &bars[i];
        const char *work = b->work < PLANNER_WORK_MAX_ ? planner_work_names[b->work] : "idle";

        json_array_append_new(
            list, json_pack("{s:i, s:s, s:i, s:s, s:f, s:f}", "stage", (int)b->stage, "phase",
                            b->decode ? "decode" : "prefill", "index", (int)b->index, "work", work,
                            "start_ms", b->start_s * 1e3, "length_ms", b->length_s * 1e3));
    }
    free(bars);
    return list;
}

static void print_chart(const struct plan_report *p, const struct chart *c)
{
    const struct planner_plan *prefill = &p->findings->candidates[0].prefill;

    printf("\nOne prefill and %d decode steps of the first plan, %.1f ms:\n", CHART_TOKENS,
           c->end_s * 1e3);
    draw(c, prefill->replicas > 0 ? prefill->pp : 0);
    puts("what takes most of a column; capitals prefill, small letters decode:\n"
         "G gemm, A attention, X experts, C communication, E elementwise, H host, . none of these\n"
         "(idle, or free for other requests)");
}

void plan_print_timeline(const struct plan_report *p)
{
    struct chart chart = { 0 };
    size_t n;
    struct planner_bar *bars = first_bars(p, &n);

    for (size_t i = 0; i < n; i++) {
        chart.stages = MAX_OF(chart.stages, bars[i].stage + 1);
        chart.end_s = fmax(chart.end_s, bars[i].start_s + bars[i].length_s);
    }
    if (p->findings->count > 0 && chart.end_s <= 0) {
        puts("\nThe first plan has no timeline that can be drawn.");
    } else if (chart.end_s > 0) {
        chart.seconds = xcalloc((size_t)chart.stages * CHART_WIDTH * KINDS, sizeof(double));
        for (size_t i = 0; i < n; i++) {
            if (bars[i].work < PLANNER_WORK_MAX_) {
                add_bar(&chart, &bars[i]);
            }
        }
        print_chart(p, &chart);
    }
    free(chart.seconds);
    free(bars);
}
