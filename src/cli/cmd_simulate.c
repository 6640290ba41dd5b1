// SPDX-License-Identifier: Apache-2.0
/*
 * berth simulate: a trace of requests against a fleet, under the daemon's own dispatch and
 * placement, on a virtual clock. One run is told in detail; several (strategies, rates, seeds) are
 * one table, and with --svg one picture. Works without a daemon.
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/simulate_view.h"
#include "simulate/simulate.h"

enum { RATES_MAX = 64, SEEDS_MAX = 64, NAMES_MAX = 64, MADE_REQUESTS = 10000 };

// clang-format off
static const struct cli_option options[] = {
    { "trace",      0, "FILE", "the requests: Azure's CSV, Mooncake's JSON lines, or arrival_s,input_tokens,output_tokens[,model[,session]]; or made ones: poisson:rate=2,isl=1000,osl=200[,requests=10000,isl_cv=1,osl_cv=1,families=0,shared=0.5]" },
    { "fleet",      0, "FILE", "what serves them (YAML)" },
    { "presets",    0, "FILE", "more chips and models (YAML)" },
    { "strategy",   0, "STRATEGY|all", "one of dispatch's, several separated by commas, or all (default: the fleet's)" },
    { "scale-rate", 0, "N",    "requests come so many times as fast: 2, or several: 0.5,1,2, or from..to:how many, 0.5..4:8 (default: 1)" },
    { "seed",       0, "N",    "of what is random; several, separated by commas, are averaged (default: 1)" },
    { "requests",   0, "N",    "only the first so many" },
    { "slo-ttft",   0, "TIME", "the first token within: 500ms, 2s (default: the fleet's)" },
    { "slo-tpot",   0, "TIME", "each further token within: 50ms" },
    { "svg",        0, "FILE", "writes a picture: of one run over time, of several p99 TTFT over the rate" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

/* ---- what is asked ---- */

struct plan {
    struct presets *presets;
    struct fleet *fleet;
    struct trace trace;
    const char *strategies[NAMES_MAX]; /* NULL: the fleet's */
    size_t strategy_count;
    double rates[RATES_MAX];
    size_t rate_count;
    uint64_t seeds[SEEDS_MAX];
    size_t seed_count;
    uint64_t requests;
    double slo_ttft_s, slo_tpot_s;
};

static int wrong(const char *option, const char *value, const char *expected)
{
    complain("--%s '%.80s': %s", option, value, expected);
    return -EINVAL;
}

static int read_number(const char *option, const char *text, double *ret)
{
    char *end;

    errno = 0;
    *ret = strtod(text, &end);
    return *text && *end == '\0' && errno == 0 && isfinite(*ret) && *ret >= 0
               ? 0
               : wrong(option, text, "a number is expected");
}

static int read_time(const struct cli *cli, const char *option, double *ret_s)
{
    const char *text = cli_value(cli, option);
    uint64_t ms;

    *ret_s = 0;
    if (text && str_to_duration_ms(text, &ms) < 0) {
        return wrong(option, text, "a time is expected, such as 2s or 50ms");
    }
    *ret_s = text ? (double)ms / 1000 : 0;
    return 0;
}

static int read_word(const char *option, struct span word, double *ret)
{
    _cleanup_(freep) char *text = xstrndup(word.p ? word.p : "", word.n);

    return read_number(option, text, ret);
}

/* "0.5..4:8": from, to, so many. dots: where these stand. */
static int read_range(struct plan *p, const char *text, const char *dots)
{
    struct span count_text = span_of(dots + 2), to_text = span_cut(&count_text, ':');
    double from, to, count = 0;

    if (read_word("scale-rate", (struct span){ text, (size_t)(dots - text) }, &from) < 0 ||
        read_word("scale-rate", to_text, &to) < 0 ||
        read_word("scale-rate", count_text, &count) < 0) {
        return -EINVAL;
    }
    if (!(from > 0) || !(to >= from) || !(count >= 2 && count <= RATES_MAX) ||
        count != floor(count)) {
        return wrong("scale-rate", text, "FROM..TO:COUNT is expected, such as 0.5..4:8");
    }
    p->rate_count = (size_t)count;
    for (size_t i = 0; i < p->rate_count; i++) {
        p->rates[i] = from + (to - from) * (double)i / (count - 1);
    }
    return 0;
}

static int read_rates(struct plan *p, const char *text)
{
    const char *dots = strstr(text, "..");
    struct span list = span_of(text);

    if (dots) {
        return read_range(p, text, dots);
    }
    while (list.p) {
        if (p->rate_count == RATES_MAX) {
            return wrong("scale-rate", text, "these are too many");
        }
        if (read_word("scale-rate", span_cut(&list, ','), &p->rates[p->rate_count]) < 0) {
            return -EINVAL;
        }
        if (!(p->rates[p->rate_count++] > 0)) {
            return wrong("scale-rate", text, "rates are above 0");
        }
    }
    return 0;
}

static int read_seeds(struct plan *p, const char *text)
{
    struct span list = span_of(text);

    while (list.p) {
        if (p->seed_count == SEEDS_MAX ||
            span_to_u64(span_cut(&list, ','), &p->seeds[p->seed_count++]) < 0) {
            return wrong("seed", text, "whole numbers, separated by commas, are expected");
        }
    }
    return 0;
}

static int add_strategy(struct plan *p, struct span word)
{
    _cleanup_(freep) char *name = xstrndup(word.p, word.n);
    const char *known;
    struct error e = { 0 };
    size_t cursor = 0;

    if (sim_check_strategy(name, &e) < 0) {
        complain("--strategy: %s", e.text);
        return -EINVAL;
    }
    while ((known = sim_next_strategy(&cursor)) && p->strategy_count < NAMES_MAX) {
        if (str_eq(known, name)) {
            p->strategies[p->strategy_count++] = known;
        }
    }
    return 0;
}

static int read_strategies(struct plan *p, const char *text)
{
    struct span list = span_of(text);
    const char *name;
    size_t cursor = 0;
    int r = 0;

    if (!str_eq(text, "all")) {
        while (list.p && r == 0) {
            r = add_strategy(p, span_cut(&list, ','));
        }
        return r;
    }
    while ((name = sim_next_strategy(&cursor)) && p->strategy_count < NAMES_MAX) {
        p->strategies[p->strategy_count++] = name;
    }
    return 0;
}

/* ---- the trace ---- */

static double *member_of_recipe(struct trace_recipe *r, double *requests, double *families,
                                struct span name)
{
    const struct {
        const char *name;
        double *value;
    } members[] = {
        { "rate", &r->rate_rps }, { "isl", &r->isl },
        { "osl", &r->osl },       { "isl_cv", &r->isl_cv },
        { "osl_cv", &r->osl_cv }, { "requests", requests },
        { "families", families }, { "shared", &r->shared_share },
    };

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        if (span_eq(name, members[i].name)) {
            return members[i].value;
        }
    }
    return NULL;
}

/* "rate=2,isl=1000": what follows "poisson:". */
static int make_trace(struct plan *p, const char *text)
{
    struct trace_recipe r = { 1, 1000, 200, 1, 1, 0, 0, 0.5, p->seeds[0] };
    double requests = MADE_REQUESTS, families = 0;
    struct span list = span_of(text);

    while (list.p && list.n > 0) {
        struct span word = span_cut(&list, ','), name = span_cut(&word, '=');
        double *value = member_of_recipe(&r, &requests, &families, name);

        if (!value || !word.p) {
            return wrong("trace", text,
                         "made requests have rate, isl, osl, isl_cv, osl_cv, "
                         "requests, families, shared");
        }
        if (read_word("trace", word, value) < 0) {
            return -EINVAL;
        }
    }
    if (!(r.rate_rps > 0) || r.isl < 1 || r.osl < 1 || r.isl > TRACE_TOKENS_MAX ||
        r.osl > TRACE_TOKENS_MAX || !(requests >= 1 && requests <= TRACE_REQUESTS_MAX) ||
        families > 1e6 || r.shared_share > 1) {
        return wrong("trace", text, "that is out of range");
    }
    r.requests = (size_t)requests;
    r.families = (unsigned)families;
    trace_make(&r, &p->trace);
    return 0;
}

static int read_trace(struct plan *p, const char *text)
{
    struct error e = { 0 };

    if (str_starts(text, "poisson:")) {
        return make_trace(p, text + strlen("poisson:"));
    }
    if (trace_read(text, &p->trace, &e) < 0) {
        complain("%s", e.text);
        return -EINVAL;
    }
    return 0;
}

static int read_fleet(struct plan *p, const struct cli *cli)
{
    const char *more = cli_value(cli, "presets");
    struct error e = { 0 };

    p->presets = presets_create();
    if ((more && presets_add_file(p->presets, more, &e) < 0) ||
        fleet_read_file(p->presets, cli_value(cli, "fleet"), &p->fleet, &e) < 0) {
        complain("%s", e.text);
        return -EINVAL;
    }
    return 0;
}

static int read_plan(struct plan *p, struct cli *cli)
{
    const char *strategy = cli_value(cli, "strategy"), *seed = cli_value(cli, "seed");
    const char *rate = cli_value(cli, "scale-rate");

    if (!cli_value(cli, "trace") || !cli_value(cli, "fleet")) {
        complain("simulate needs --trace and --fleet; `berth simulate --help` tells more");
        return -EINVAL;
    }
    p->strategy_count = strategy ? 0 : 1;
    if ((strategy && read_strategies(p, strategy) < 0) || read_seeds(p, seed ? seed : "1") < 0 ||
        read_rates(p, rate ? rate : "1") < 0 || cli_number(cli, "requests", 0, &p->requests) < 0 ||
        read_time(cli, "slo-ttft", &p->slo_ttft_s) < 0 ||
        read_time(cli, "slo-tpot", &p->slo_tpot_s) < 0 || read_fleet(p, cli) < 0) {
        return -EINVAL;
    }
    return read_trace(p, cli_value(cli, "trace"));
}

static void finish_plan(struct plan *p)
{
    trace_finish(&p->trace);
    fleet_free(p->fleet);
    presets_destroy(p->presets);
}

/* ---- running ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signum)
{
    interrupted = signum;
}

struct progress {
    size_t run, runs;
    bool shown;
};

static bool go_on(void *arg, double done)
{
    struct progress *p = arg;

    if (p->shown) {
        fprintf(stderr, "\rrun %zu of %zu: %3.0f %% ", p->run + 1, p->runs, 100 * done);
    }
    return !interrupted;
}

static void add_result(struct sim_cell *c, const struct sim_result *r, size_t seeds)
{
    const struct sim_figures *f = &r->all;
    const double n = (double)seeds, p99 = f->ttft_s.p[3];

    c->ttft[0] += f->ttft_s.p[0] / n;
    c->ttft[1] += f->ttft_s.mean / n;
    c->ttft[2] += p99 / n;
    c->tpot[0] += f->tpot_s.p[0] / n;
    c->tpot[1] += f->tpot_s.p[3] / n;
    c->wait_s += f->wait_s.mean / n;
    c->slo_share += f->slo_share / n;
    c->goodput_rps += f->goodput_rps / n;
    c->busy_share += f->busy_share / n;
    c->cached_share +=
        f->prompt_tokens ? (double)f->cached_tokens / (double)f->prompt_tokens / n : 0;
    c->answered_share += (double)f->answered / (double)f->requests / n;
    c->swaps += (double)f->swaps / n;
    c->preemptions += (double)f->preemptions / n;
    c->p99_low = MIN_OF(c->p99_low, p99);
    c->p99_high = MAX_OF(c->p99_high, p99);
    c->sustained &= f->sustained;
}

static int run_cell(const struct plan *p, const char *strategy, double rate, struct progress *at,
                    struct sim_cell *c)
{
    struct error e = { 0 };

    *c = (struct sim_cell){ .p99_low = INFINITY, .sustained = true };
    for (size_t s = 0; s < p->seed_count; s++, at->run++) {
        const struct simulation in = {
            .fleet = p->fleet,
            .trace = &p->trace,
            .strategy = strategy,
            .scale_rate = rate,
            .seed = p->seeds[s],
            .max_requests = p->requests,
            .slo_ttft_s = p->slo_ttft_s,
            .slo_tpot_s = p->slo_tpot_s,
            .go_on = go_on,
            .arg = at,
        };
        struct sim_result result;
        int r = simulate_run(&in, &result, &e);

        if (r < 0) {
            complain("%s", e.text);
            return r;
        }
        add_result(c, &result, p->seed_count);
        if (s == 0) {
            c->first = result;
        } else {
            sim_result_finish(&result);
        }
    }
    return 0;
}

/* ---- telling ---- */

/* In the order of strategies, then rates. */
static char *draw(const struct plan *p, const struct sim_cell *cells, size_t count)
{
    struct sim_curve_point *points = xcalloc(count, sizeof(*points));
    char title[160], *text;

    snprintf(title, sizeof(title), "%s", p->trace.name);
    for (size_t i = 0; i < count; i++) {
        points[i] = (struct sim_curve_point){ cells[i].first.strategy, cells[i].first.rate_rps,
                                              cells[i].ttft[2], cells[i].sustained };
    }
    text =
        count == 1 ? sim_result_svg(&cells[0].first, title) : sim_curve_svg(points, count, title);
    free(points);
    return text;
}

static int write_svg(const struct plan *p, const char *path, const struct sim_cell *cells,
                     size_t count)
{
    _cleanup_(freep) char *text = draw(p, cells, count);
    FILE *f = fopen(path, "we");

    if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
        complain("%s: %s", path, strerror(errno));
        return -EIO;
    }
    return 0;
}

static int tell(const struct cli *cli, const struct plan *p, const struct sim_cell *cells,
                size_t count)
{
    const char *svg = cli_value(cli, "svg");

    if (cli->json) {
        simulate_print_json(cells, count, p->seed_count > 1);
    } else if (count == 1 && p->seed_count == 1) {
        simulate_print_one(&cells[0].first);
    } else {
        simulate_print_table(cells, count, p->seed_count > 1);
    }
    return svg ? write_svg(p, svg, cells, count) : 0;
}

static int run_plan(const struct cli *cli, const struct plan *p)
{
    const size_t count = p->strategy_count * p->rate_count;
    struct sim_cell *cells = xcalloc(count, sizeof(*cells));
    struct progress at = { 0, count * p->seed_count, isatty(STDERR_FILENO) };
    size_t done = 0;
    int r = 0;

    for (; done < count && r == 0; done += r == 0) {
        r = run_cell(p, p->strategies[done / p->rate_count], p->rates[done % p->rate_count], &at,
                     &cells[done]);
    }
    if (at.shown) {
        fprintf(stderr, "\r\033[K");
    }
    r = r < 0 ? r : tell(cli, p, cells, count);
    for (size_t i = 0; i < done; i++) {
        sim_result_finish(&cells[i].first);
    }
    free(cells);
    return r;
}

static int run(struct cli *cli)
{
    struct plan p = { 0 };
    int r = read_plan(&p, cli);

    if (r == 0) {
        log_set_level(LOG_ERROR);
        signal(SIGINT, on_interrupt);
        signal(SIGTERM, on_interrupt);
        r = run_plan(cli, &p);
    }
    finish_plan(&p);
    return interrupted ? 128 + interrupted : r < 0 ? EXIT_WRONG : 0;
}

const struct command simulate_command = {
    .name = "simulate",
    .args = "",
    .help = "Plays a trace of requests against a fleet under berth's own dispatch and placement, "
            "on a virtual clock: latencies, SLO, goodput, swaps.",
    .options = options,
    .run = run,
};
