// SPDX-License-Identifier: Apache-2.0
/*
 * The plan that a person chose, in words ("tp8 pp2 dp2") or members. dp is what seed 001 counts:
 * all copies of the attention, be they replicas or attention data parallel inside one; the
 * experts' identity (dp tp = moe_tp ep) says which.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "presets/presets_int.h"

enum { FACTOR_MAX = 65536 };

static const char *const known[] = { "tp", "pp",     "dp",           "adp",      "ep",
                                     "sp", "moe_tp", "attention_dp", "replicas", NULL };

/* ---- words ---- */

static const char *member_of(const char *word)
{
    static const char *const others[][2] = {
        { "x", "replicas" }, { "etp", "moe_tp" }, { "moetp", "moe_tp" }, { "attention_dp", "adp" }
    };

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (str_eq(word, others[i][0])) {
            return others[i][1];
        }
    }
    for (size_t i = 0; known[i]; i++) {
        if (str_eq(word, known[i])) {
            return known[i];
        }
    }
    return NULL;
}

/* One of "tp8", "sp"; false when it is none. */
static bool read_piece(struct span piece, json_t *ret)
{
    char word[16];
    size_t n = 0;
    uint64_t value = 1;
    const char *member;

    while (n < piece.n && n < sizeof(word) - 1 && !isdigit((unsigned char)piece.p[n])) {
        word[n] = (char)tolower((unsigned char)piece.p[n]);
        n++;
    }
    word[n] = '\0';
    member = member_of(word);
    if (!member || json_object_get(ret, member)) {
        return false;
    }
    if (n == piece.n && str_eq(member, "sp")) {
        json_object_set_new(ret, member, json_true());
        return true;
    }
    if (span_to_u64((struct span){ piece.p + n, piece.n - n }, &value) < 0 || value > 1U << 31) {
        return false;
    }
    json_object_set_new(ret, member, json_integer((json_int_t)value));
    return true;
}

/* NULL, and a fault, when it is no plan. */
static json_t *plan_of_words(const struct fields *f, const char *text)
{
    json_t *o = json_object();
    struct span rest = span_of(text);

    if (span_trim(rest).n == 0) {
        fields_fault(f, -EINVAL, NULL, "it is empty; write tp8 pp2 dp2");
    }
    while (rest.n > 0) {
        const struct span piece = span_trim(span_cut(&rest, ' '));

        if (piece.n > 0 && !read_piece(piece, o)) {
            fields_fault(f, -EINVAL, NULL,
                         "'%.*s' is no part of a plan; write tp8 pp2 dp2 ep8 moe_tp1 sp",
                         (int)MIN_OF(piece.n, (size_t)20), piece.p);
            json_decref(o);
            return NULL;
        }
    }
    return o;
}

/* ---- members ---- */

/* Told by how often the attention stands there: the experts lie across so many of its copies as
 * their identity demands, and what is left are replicas. */
static void divide_dp(const struct fields *f, const struct planner_model *m, unsigned dp,
                      struct planner_plan *p)
{
    const double group = (double)p->ep * p->moe_tp;

    if (m->experts == 0) {
        p->replicas = dp;
        return;
    }
    if (group < p->tp || (unsigned long)group % p->tp != 0 || dp % (unsigned)(group / p->tp) != 0) {
        fields_fault(f, -EINVAL, "dp",
                     "a mixture of experts needs dp tp = moe_tp ep (or a multiple of it, as "
                     "replicas): %u x %u here, and %u x %u",
                     dp, p->tp, p->moe_tp, p->ep);
        return;
    }
    p->adp = (unsigned)(group / p->tp);
    p->replicas = dp / p->adp;
}

/* Experts of which nobody says how they lie: cut like the attention, or as ep leaves it. */
static void fill_experts(const struct fields *f, const struct planner_model *m, double ranks,
                         struct planner_plan *p)
{
    if (m->experts == 0) {
        return;
    }
    if (!fields_has(f, "moe_tp") && ranks > p->ep && (unsigned long)ranks % p->ep == 0) {
        p->moe_tp = (unsigned)(ranks / p->ep);
    } else if (!fields_has(f, "ep") && ranks > p->moe_tp && (unsigned long)ranks % p->moe_tp == 0) {
        p->ep = (unsigned)(ranks / p->moe_tp);
    }
}

static void read_sp(const struct fields *f, struct planner_plan *p)
{
    unsigned sp;

    if (json_is_boolean(fields_get(f, "sp"))) {
        p->sp = fields_bool(f, "sp", false);
        return;
    }
    sp = fields_count(f, "sp", 1, FACTOR_MAX, 1);
    if (sp != 1 && sp != p->tp) {
        fields_fault(f, -EINVAL, "sp", "it is 1, or as much as tp: %u here, and tp %u", sp, p->tp);
    }
    p->sp = sp > 1;
}

static void read_members(const struct fields *f, const struct planner_model *m,
                         struct planner_plan *p)
{
    static const char *const adps[] = { "adp", "attention_dp", NULL };
    const char *adp = fields_pick(f, adps);
    const unsigned dp = fields_count(f, "dp", 1, FACTOR_MAX, 1);

    fields_spelling(f, known);
    p->tp = fields_count(f, "tp", 1, FACTOR_MAX, 1);
    p->pp = fields_count(f, "pp", 1, FACTOR_MAX, 1);
    p->ep = fields_count(f, "ep", 1, FACTOR_MAX, 1);
    p->moe_tp = fields_count(f, "moe_tp", 1, FACTOR_MAX, 1);
    p->adp = fields_count(f, adp, 1, FACTOR_MAX, 1);
    p->replicas = fields_count(f, "replicas", 1, FACTOR_MAX, 1);
    read_sp(f, p);
    if (fields_has(f, adp) || fields_has(f, "replicas")) {
        if (fields_has(f, "dp") && (double)p->adp * p->replicas != dp) {
            fields_fault(f, -EINVAL, "dp", "%u is not %u x %u (attention_dp and replicas)", dp,
                         p->adp, p->replicas);
        }
        fill_experts(f, m, (double)p->tp * p->adp, p);
        return;
    }
    fill_experts(f, m, p->tp, p);
    divide_dp(f, m, dp, p);
}

static void read_one(const struct planner_model *m, const json_t *value, const char *path,
                     struct fault *fault, struct planner_plan *ret)
{
    struct fields f = { .fault = fault };
    json_t *words = NULL;

    *ret = (struct planner_plan){ 1, 1, 1, 1, 1, 1, false };
    if (json_is_string(value)) {
        snprintf(f.path, sizeof(f.path), "%s", path);
        words = plan_of_words(&f, json_string_value(value));
        value = words;
    }
    if (fault->code == 0) {
        f = fields_of(value, path, fault);
        read_members(&f, m, ret);
        if ((double)ret->tp * ret->adp * ret->pp * ret->replicas > 1e9) {
            fields_fault(&f, -EINVAL, NULL, "so many chips cannot be");
        }
    }
    if (fault->code != 0) {
        *ret = (struct planner_plan){ 1, 1, 1, 1, 1, 1, false };
    }
    json_decref(words);
}

void plan_read(const struct fields *f, const char *name, struct plan_request *ret)
{
    const json_t *value = fields_get(f, name), *prefill = json_object_get(value, "prefill");
    char path[FIELD_PATH_MAX];

    read_one(&ret->model.model, value, name, f->fault, &ret->plan);
    if (!prefill || json_is_null(prefill)) {
        return;
    }
    snprintf(path, sizeof(path), "%s.prefill", name);
    if (ret->question.rate_per_s > 0 || ret->question.concurrency <= 0) {
        fields_fault(f, -EINVAL, path,
                     "with other chips for the prefill a number of requests at once is needed");
    }
    read_one(&ret->model.model, prefill, path, f->fault, &ret->prefill);
}
