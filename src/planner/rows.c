// SPDX-License-Identifier: Apache-2.0
/*
 * Measurements as CSV: what each row asks. A row that cannot be understood stays, and says why.
 */
#include "planner/planner_int.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/str.h"

/* ---- CSV ---- */

enum { COLUMNS_MAX = 512, CELL_MAX = 1024 };

enum column {
    ID,
    WORKLOAD,
    MODEL,
    PRECISION,
    KV_DTYPE,
    CHIP,
    CHIPS,
    TP,
    PP,
    DP,
    EP,
    MOE_TP,
    ISL,
    OSL,
    CONCURRENCY,
    REQ_RATE,
    FRAMEWORK,
    METRIC,
    VALUE,
    TIER,
    SPLIT_TAG,
    NOTE,
    COLUMN_MAX_,
};

static const struct {
    const char *name;
    bool needed;
} columns[COLUMN_MAX_] = {
    [ID] = { "id", false },
    [WORKLOAD] = { "workload", true },
    [MODEL] = { "model", true },
    [PRECISION] = { "precision", true },
    [KV_DTYPE] = { "kv_dtype", false },
    [CHIP] = { "chip", true },
    [CHIPS] = { "chips", false },
    [TP] = { "tp", false },
    [PP] = { "pp", false },
    [DP] = { "dp", false },
    [EP] = { "ep", false },
    [MOE_TP] = { "moe_tp", false },
    [ISL] = { "isl", true },
    [OSL] = { "osl", true },
    [CONCURRENCY] = { "concurrency", false },
    [REQ_RATE] = { "req_rate", false },
    [FRAMEWORK] = { "framework", false },
    [METRIC] = { "metric", true },
    [VALUE] = { "value", true },
    [TIER] = { "tier", false },
    [SPLIT_TAG] = { "split_tag", false },
    [NOTE] = { "note", false },
};

struct reader {
    const char *p, *end;
};

/* One cell into out (cut when it is longer); true when another follows on the line. */
static bool read_cell(struct reader *r, char out[CELL_MAX])
{
    bool quoted = false, more = false;
    size_t n = 0;

    if (r->p < r->end && *r->p == '"') {
        quoted = true;
        r->p++;
    }
    while (r->p < r->end) {
        const char c = *r->p++;

        if (quoted && c == '"') {
            if (r->p < r->end && *r->p == '"') {
                r->p++;
            } else {
                quoted = false;
                continue;
            }
        } else if (!quoted && c == ',') {
            more = true;
            break;
        } else if (!quoted && c == '\n') {
            break;
        } else if (!quoted && c == '\r') {
            continue;
        }
        if (n < CELL_MAX - 1) {
            out[n++] = c;
        }
    }
    out[n] = '\0';
    return more;
}

/* ---- a row ---- */

void planner_row_complain(struct planner_row *row, const char *fmt, ...)
{
    va_list ap;

    if (row->reason[0]) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(row->reason, sizeof(row->reason), fmt, ap);
    va_end(ap);
}

static double number(struct planner_row *row, char cells[COLUMN_MAX_][CELL_MAX], enum column c,
                     double fallback)
{
    char *end;
    double v;

    if (!cells[c][0]) {
        return fallback;
    }
    v = strtod(cells[c], &end);
    if (end == cells[c] || *end != '\0' || !isfinite(v) || v < 0 || v > 1e12) {
        planner_row_complain(row, "%s '%.40s' is no number", columns[c].name, cells[c]);
        return fallback;
    }
    return v;
}

static unsigned count(struct planner_row *row, char cells[COLUMN_MAX_][CELL_MAX], enum column c)
{
    const double v = number(row, cells, c, 1);

    if (v < 1 || v > 65536 || v != floor(v)) {
        planner_row_complain(row, "%s '%.40s' is no count", columns[c].name, cells[c]);
        return 1;
    }
    return (unsigned)v;
}

static void name_hint(char *out, size_t size, size_t (*near)(const char *, const char **, size_t),
                      const char *name)
{
    const char *names[2];
    const size_t n = near(name, names, 2);

    snprintf(out, size, "%s%s%s", n > 0 ? names[0] : "", n > 1 ? " or " : "",
             n > 1 ? names[1] : "");
}

static void read_names(struct planner_row *row, char cells[COLUMN_MAX_][CELL_MAX])
{
    char hint[128];

    row->model = planner_find_model(cells[MODEL]);
    if (!row->model) {
        name_hint(hint, sizeof(hint), planner_near_models, cells[MODEL]);
        planner_row_complain(row, "unknown model '%.60s' (near: %s)", cells[MODEL], hint);
    }
    row->chip = planner_find_chip(cells[CHIP]);
    if (!row->chip) {
        name_hint(hint, sizeof(hint), planner_near_chips, cells[CHIP]);
        planner_row_complain(row, "unknown chip '%.60s' (near: %s)", cells[CHIP], hint);
    }
    row->engine =
        cells[FRAMEWORK][0] ? planner_engine_from_string(cells[FRAMEWORK]) : PLANNER_ENGINE_VLLM;
    if (row->engine < 0) {
        row->engine = PLANNER_ENGINE_VLLM; /* the nearest to an engine that nobody measured */
    }
    row->format = planner_format_from_string(cells[PRECISION]);
    if (row->format < 0) {
        planner_row_complain(row, "unknown precision '%.40s'", cells[PRECISION]);
    }
    row->kv = planner_kv_format_from_string(cells[KV_DTYPE]);
    if (row->kv < 0) {
        planner_row_complain(row, "unknown kv_dtype '%.40s'", cells[KV_DTYPE]);
    }
}

/* "P 3x(tp1 dp8 etp8 ep1) D …" in the note; else the chips that are left over. */
static void read_prefill_plan(struct planner_row *row, const char *note, unsigned chips)
{
    const char *at = strstr(note, "P ");
    const unsigned group = row->plan.tp * row->plan.adp * row->plan.pp;
    unsigned n, tp = 1, dp = 1, etp = 1, ep = 1;

    while (at && sscanf(at, "P %ux(tp%u dp%u etp%u ep%u)", &n, &tp, &dp, &etp, &ep) != 5) {
        at = strstr(at + 1, "P ");
    }
    if (at && tp > 0 && dp > 0 && n > 0) {
        row->load.prefill = (struct planner_plan){ tp, 1, dp, ep, etp, n };
        n = chips > n * tp * dp ? chips - n * tp * dp : group;
        row->plan.replicas = n / group > 0 ? n / group : 1;
        return;
    }
    row->load.prefill = row->plan;
    n = chips / group;
    row->load.prefill.replicas = n / 2 > 0 ? n / 2 : 1;
    row->plan.replicas = n - n / 2 > 0 ? n - n / 2 : 1;
}

/* dp stands for replicas, or, where the experts span tp * dp chips, for attention data parallel; a
 * row with tp = dp = chips means the latter. */
static void read_plan(struct planner_row *row, char cells[COLUMN_MAX_][CELL_MAX])
{
    struct planner_plan *p = &row->plan;
    const unsigned dp = count(row, cells, DP), tp = count(row, cells, TP);
    const unsigned chips = cells[CHIPS][0] && strncmp(cells[CHIPS], "per", 3) != 0
                               ? count(row, cells, CHIPS)
                               : tp * dp;
    unsigned group;

    *p = (struct planner_plan){
        tp, count(row, cells, PP), 1, count(row, cells, EP), count(row, cells, MOE_TP), 1
    };
    if (!row->model) {
        return;
    }
    if (row->model->experts == 0) {
        p->ep = p->moe_tp = 1;
    } else {
        group = p->ep * p->moe_tp;
        if (dp > 1 && tp == chips && group == tp && tp % dp == 0) {
            p->adp = dp;
            p->tp = tp / dp;
        } else if (dp > 1 && group == tp * dp) {
            p->adp = dp;
        } else if (group != tp) {
            /* the row says only part of it: experts are split like the rest */
            p->moe_tp = p->ep > 1 && tp % p->ep == 0 ? tp / p->ep : p->ep > 1 ? 1 : tp;
            p->ep = p->ep > 1 && tp % p->ep == 0 ? p->ep : p->ep > 1 ? tp : 1;
        }
    }
    group = p->tp * p->adp * p->pp;
    if (strcmp(row->workload, "pd_disagg") == 0) {
        read_prefill_plan(row, cells[NOTE], chips);
        return;
    }
    p->replicas = chips > group ? chips / group : 1;
    if (p->replicas == 1 && p->adp == 1 && dp > 1) {
        p->replicas = dp;
    }
}

/* The requests of NVIDIA's runs at full throughput, by lengths, as the performance overview of
 * TensorRT-LLM gives them. */
static double requests_of(double isl, double osl)
{
    static const struct {
        double isl, osl, requests;
    } sets[] = {
        { 128, 128, 30000 },  { 128, 2048, 3000 },   { 128, 4096, 1500 }, { 500, 2000, 3000 },
        { 1000, 1000, 3000 }, { 1000, 2000, 1500 },  { 2048, 128, 3000 }, { 2048, 2048, 1500 },
        { 5000, 500, 1500 },  { 20000, 2000, 1000 },
    };

    for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
        if (sets[i].isl == isl && sets[i].osl == osl) {
            return sets[i].requests;
        }
    }
    return 0;
}

/* What is published of a benchmark and no column says. In InferenceMAX's settings this release runs
 * DeepSeek with its multi-token head: three drafts, or one with attention data parallel; the other
 * releases run there without, or both ways. */
static void read_known(struct planner_row *row, const char *framework)
{
    struct planner_load *l = &row->load;

    if (strcmp(row->workload, "offline_max") == 0 && l->concurrency == 0 &&
        row->engine == PLANNER_ENGINE_TRTLLM) {
        l->requests = requests_of(l->isl, l->osl);
    }
    if (row->model && row->model->kv_lora > 0 && strcmp(framework, "trtllm 1.2.0rc6.post3") == 0) {
        l->draft_tokens = row->plan.adp > 1 ? 1 : 3;
        l->acceptance = planner_shipped.mtp_accept;
    }
}

static void read_load(struct planner_row *row, char cells[COLUMN_MAX_][CELL_MAX])
{
    static const struct {
        const char *workload;
        enum planner_load_kind kind;
    } kinds[] = {
        { "closed_loop", PLANNER_CLOSED_LOOP },    { "offline_max", PLANNER_OFFLINE },
        { "open_loop", PLANNER_OPEN_LOOP },        { "open_loop_poisson", PLANNER_OPEN_LOOP },
        { "static_batch", PLANNER_STATIC },        { "pd_disagg", PLANNER_DISAGGREGATED },
        { "single_user_prefill", PLANNER_STATIC }, { "single_user_decode", PLANNER_STATIC },
        { "single_prefill", PLANNER_STATIC },      { "mlperf_offline", PLANNER_OFFLINE },
        { "mlperf_server", PLANNER_OFFLINE },
    };
    struct planner_load *l = &row->load;
    size_t i = 0;

    while (i < ARRAY_SIZE(kinds) && strcmp(kinds[i].workload, row->workload) != 0) {
        i++;
    }
    if (i == ARRAY_SIZE(kinds)) {
        planner_row_complain(row, "unknown workload '%s'", row->workload);
        return;
    }
    l->kind = kinds[i].kind;
    l->isl = number(row, cells, ISL, 0);
    l->osl = number(row, cells, OSL, 0);
    l->concurrency = number(row, cells, CONCURRENCY, l->kind == PLANNER_OFFLINE ? 0 : 1);
    l->rate_per_s = number(row, cells, REQ_RATE, 0);
    if (!cells[ISL][0]) {
        /* MLPerf's two sets: OpenOrca's mean input is as long as its output; the mixed one of
         * Mixtral has about 2.5 times of it. */
        row->generic_isl = true;
        l->isl = row->model && row->model->experts > 0 ? 3.4 * l->osl : l->osl;
    }
    if (l->kind == PLANNER_OPEN_LOOP && l->rate_per_s <= 0) {
        planner_row_complain(row, "an open loop needs its req_rate");
    }
    if (l->isl + l->osl < 1) {
        planner_row_complain(row, "isl and osl are both missing");
    }
    read_known(row, cells[FRAMEWORK]);
}

static void keep(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)size - 1, from);
}

/* A word that groups rows, and so becomes JSON: in another encoding than UTF-8, or cut in the
 * middle of a letter, it keeps what is ASCII. */
static void keep_word(char *to, size_t size, const char *from)
{
    keep(to, size, from);
    if (is_valid_utf8(to, strlen(to))) {
        return;
    }
    for (char *p = to; *p; p++) {
        *p = (unsigned char)*p < 0x80 ? *p : '?';
    }
}

static void read_row(struct planner_row *row, char cells[COLUMN_MAX_][CELL_MAX])
{
    keep(row->id, sizeof(row->id), cells[ID]);
    keep_word(row->workload, sizeof(row->workload), cells[WORKLOAD]);
    keep_word(row->metric, sizeof(row->metric), cells[METRIC]);
    keep_word(row->split_tag, sizeof(row->split_tag), cells[SPLIT_TAG]);
    keep_word(row->tier, sizeof(row->tier), cells[TIER]);
    row->value = number(row, cells, VALUE, 0);
    read_names(row, cells);
    read_plan(row, cells);
    read_load(row, cells);
    row->understood = !row->reason[0];
}

/* Which column of ours each of the file's is, or COLUMN_MAX_. */
static int read_head(struct reader *r, enum column map[COLUMNS_MAX], size_t *ret_n,
                     struct error *reterr)
{
    char cell[CELL_MAX];
    bool seen[COLUMN_MAX_] = { false }, more = true;
    size_t n = 0;

    while (more) {
        int c = 0;

        more = read_cell(r, cell);
        while (c < COLUMN_MAX_ && strcasecmp(columns[c].name, cell) != 0) {
            c++;
        }
        if (n == COLUMNS_MAX) {
            return error_set(reterr, -EINVAL, "more than %d columns", COLUMNS_MAX);
        }
        map[n++] = (enum column)c;
        if (c < COLUMN_MAX_) {
            seen[c] = true;
        }
    }
    for (int c = 0; c < COLUMN_MAX_; c++) {
        if (columns[c].needed && !seen[c]) {
            return error_set(reterr, -EINVAL, "the head line has no column '%s'", columns[c].name);
        }
    }
    *ret_n = n;
    return 0;
}

int planner_rows_parse(const char *text, size_t size, struct planner_rows *ret,
                       struct error *reterr)
{
    struct reader r = { text, text + size };
    enum column map[COLUMNS_MAX];
    char(*cells)[CELL_MAX], aside[CELL_MAX];
    size_t n = 0, room = 0;
    int e;

    if (size >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        r.p += 3;
    }
    e = read_head(&r, map, &n, reterr);
    if (e < 0) {
        return e;
    }
    *ret = (struct planner_rows){ 0 };
    cells = xcalloc(COLUMN_MAX_, sizeof(*cells));
    while (r.p < r.end) {
        bool more = true;
        size_t i;

        memset(cells, 0, COLUMN_MAX_ * sizeof(*cells));
        if (*r.p == '\n' || *r.p == '\r') {
            r.p++;
            continue;
        }
        for (i = 0; more; i++) {
            const enum column c = i < n ? map[i] : COLUMN_MAX_;

            more = read_cell(&r, c < COLUMN_MAX_ ? cells[c] : aside);
        }
        if (ret->count == room) {
            room = room ? 2 * room : 256;
            ret->rows = xrealloc(ret->rows, room * sizeof(*ret->rows));
        }
        memset(&ret->rows[ret->count], 0, sizeof(*ret->rows));
        read_row(&ret->rows[ret->count++], cells);
    }
    free(cells);
    return 0;
}

void planner_rows_finish(struct planner_rows *r)
{
    free(r->rows);
    *r = (struct planner_rows){ 0 };
}
