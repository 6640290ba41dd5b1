// SPDX-License-Identifier: Apache-2.0
/* The tables of chips and models: complete against the data files that they were carried from
 * (where those lie beside the project; else that part is skipped), every name leads to its own row,
 * and no figure is of the kind that data sheets print larger than it is. */
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "planner/planner_int.h"

enum { COLUMNS_MAX = 40, LINE_SIZE = 4096 };

/* ---- a small CSV reader ---- */

struct table {
    FILE *f;
    char head_line[LINE_SIZE], line[LINE_SIZE];
    char *head[COLUMNS_MAX], *cells[COLUMNS_MAX];
    size_t columns;
};

static size_t cut(char *line, char **cells)
{
    size_t n = 0;

    while (n < COLUMNS_MAX) {
        char *end;

        if (*line == '"') {
            cells[n++] = ++line;
            end = strchr(line, '"');
            assert_non_null(end);
            *end++ = '\0';
        } else {
            cells[n++] = line;
            end = line + strcspn(line, ",\r\n");
        }
        if (*end != ',') {
            *end = '\0';
            return n;
        }
        *end = '\0';
        line = end + 1;
    }
    return n;
}

static bool open_table(struct table *t, const char *name)
{
    static const char *const folders[] = { "../shared/planner", "../../shared/planner" };
    char path[256];

    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        snprintf(path, sizeof(path), "%s/%s", folders[i], name);
        t->f = fopen(path, "r");
        if (t->f) {
            assert_non_null(fgets(t->head_line, LINE_SIZE, t->f));
            t->columns = cut(t->head_line, t->head);
            return true;
        }
    }
    return false;
}

static bool next_row(struct table *t)
{
    return fgets(t->line, LINE_SIZE, t->f) && cut(t->line, t->cells) == t->columns;
}

static const char *cell(const struct table *t, const char *column)
{
    for (size_t i = 0; i < t->columns; i++) {
        if (strcmp(t->head[i], column) == 0) {
            return t->cells[i];
        }
    }
    print_error("no column %s\n", column);
    fail();
    return "";
}

static double number(const struct table *t, const char *column)
{
    return strtod(cell(t, column), NULL);
}

static void assert_figure(const char *row, const char *what, double got, double wanted)
{
    if (fabs(got - wanted) > 0.005 * fabs(wanted)) {
        print_error("%s: %s is %g, in the file %g\n", row, what, got, wanted);
        fail();
    }
}

/* ---- completeness ---- */

/* "Llama-3-8B / 3.1-8B" is its first name, "DeepSeek-V3.2 (DSA)" what stands before. */
static const char *plain_name(char *name)
{
    char *end = strstr(name, " / ");

    end = end ? end : strstr(name, " (");
    if (end) {
        *end = '\0';
    }
    return name;
}

static void check_model(const struct table *t, const struct planner_model *m, const char *name)
{
    const struct {
        const char *column;
        double got;
    } figures[] = {
        { "layers", m->layers },
        { "hidden", m->hidden },
        { "intermediate", m->inter },
        { "heads", m->heads },
        { "kv_heads", m->kv_heads },
        { "head_dim", m->head_dim },
        { "vocab", m->vocab },
        { "tied", m->tied },
        { "experts", m->experts },
        { "top_k", m->top_k },
        { "moe_intermediate", m->moe_inter },
        { "first_dense", m->dense_layers },
        { "q_lora", m->q_lora },
        { "kv_lora", m->kv_lora },
        { "qk_nope", m->qk_nope },
        { "qk_rope", m->qk_rope },
        { "v_dim", m->v_dim },
        { "window", m->window },
        { "params_total_B", planner_params(m) / 1e9 },
        { "params_active_B", planner_active_params(m) / 1e9 },
        { "kv_bytes_per_token_bf16_full", planner_kv_bytes_per_token(m) },
    };

    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        double wanted = number(t, figures[i].column);

        if (strncmp(figures[i].column, "params", 6) == 0) { /* two digits after the point */
            wanted = fabs(figures[i].got - wanted) < 0.006 ? figures[i].got : wanted;
        }
        assert_figure(name, figures[i].column, figures[i].got, wanted);
    }
    assert_true(strlen(m->source) > 0);
}

static void test_all_models_are_carried(void **state)
{
    struct table t;
    size_t count = 0;

    if (!open_table(&t, "models.csv")) {
        skip();
    }
    while (next_row(&t)) {
        const char *name = plain_name(t.cells[0]);
        const struct planner_model *m = planner_find_model(name);

        print_message("%s\n", name);
        assert_non_null(m);
        if (m) {
            check_model(&t, m, name);
        }
        count++;
    }
    fclose(t.f);
    assert_true(count >= 45);
}

static void check_chip(const struct table *t, const struct planner_chip *c, const char *name)
{
    const struct {
        const char *column;
        double got;
    } figures[] = {
        { "bf16_tflops_dense", c->bf16_tflops },
        { "fp8_tflops_dense", c->fp8_tflops },
        { "fp4_tflops_dense", c->fp4_tflops },
        { "int8_tops_dense", c->int8_tops },
        { "mem_GB_1e9", c->memory_gb },
        { "mem_bw_GBps", c->bandwidth_gbps },
        { "scaleup_GBps_unidir_per_chip", c->scaleup_gbps },
        { "scaleup_domain_chips", c->scaleup_chips },
        { "scaleout_GBps_unidir_per_chip", c->scaleout_gbps },
        { "tdp_W", c->tdp_w },
    };

    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        const char *text = cell(t, figures[i].column);

        if (text[0] || strcmp(figures[i].column, "mem_GB_1e9") != 0) { /* two rows tell none */
            assert_figure(name, figures[i].column, figures[i].got, strtod(text, NULL));
        }
    }
    assert_true(strlen(c->source) > 0);
}

static void test_all_chips_are_carried(void **state)
{
    struct table t;
    size_t count = 0;

    if (!open_table(&t, "chips.csv")) {
        skip();
    }
    while (next_row(&t)) {
        const char *name = plain_name(t.cells[0]);
        const struct planner_chip *c = planner_find_chip(name);

        print_message("%s\n", name);
        assert_non_null(c);
        if (c) {
            check_chip(&t, c, name);
        }
        count++;
    }
    fclose(t.f);
    assert_true(count >= 35);
}

/* ---- names ---- */

/* Each alias leads to its row, and to no other before it. */
static void check_aliases(const char *aliases, const void *row, bool chip)
{
    char names[1024], *rest = names, *one;

    snprintf(names, sizeof(names), "%s", aliases ? aliases : "");
    while ((one = strsep(&rest, ",")) != NULL) {
        const void *found = !one[0] ? row
                            : chip  ? (const void *)planner_find_chip(one)
                                    : (const void *)planner_find_model(one);

        if (found != row) {
            print_error("'%s' leads elsewhere\n", one);
            fail();
        }
    }
}

static void test_aliases_lead_home(void **state)
{
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        check_aliases(c->aliases, c, true);
    }
    for (const struct planner_model *m = planner_models; m->name; m++) {
        check_aliases(m->aliases, m, false);
    }
}

/* ---- figures ---- */

/* A peak with sparsity would be four times that of the next wider format; FP4 may be six times
 * bf16 (B300). */
static void test_no_sparse_peaks(void **state)
{
    for (const struct planner_chip *c = planner_chips; c->name; c++) {
        if (c->fp8_tflops > 2.2 * c->bf16_tflops || (c->fp4_tflops > 8.01 * c->bf16_tflops) ||
            c->int8_tops > 4.1 * c->bf16_tflops) {
            print_error("%s: bf16 %g, fp8 %g, fp4 %g, int8 %g\n", c->name, c->bf16_tflops,
                        c->fp8_tflops, c->fp4_tflops, c->int8_tops);
            fail();
        }
        assert_true(c->scaleup_gbps <= 900); /* both ways of NVLink 5 are 1800 */
        assert_true(c->scaleup_chips >= 1);
    }
    assert_true(planner_find_chip("A100-SXM-80GB")->scaleup_gbps == 300);
    assert_true(planner_find_chip("B200-SXM")->scaleup_gbps == 900);
}

static void test_models_make_sense(void **state)
{
    size_t published = 0, count = 0;

    for (const struct planner_model *m = planner_models; m->name; m++) {
        count++;
        published += m->published_b > 0;
        assert_true(m->layers > 0 && m->hidden > 0 && m->heads > 0 && m->vocab > 0);
        assert_true((m->kv_lora > 0) == (m->kv_heads == 0));
        assert_true(m->kv_lora > 0 || (m->head_dim > 0 && m->heads >= m->kv_heads));
        assert_true((m->experts > 0) == (m->top_k > 0) && m->top_k <= m->experts);
        assert_true(m->window_layers <= m->layers && m->dense_layers < m->layers);
        assert_true((m->window > 0) == (m->window_layers > 0));
        assert_true(planner_active_params(m) <= planner_params(m));
    }
    print_message("%zu models, of %zu the published size\n", count, published);
    assert_true(count >= 120 && published >= count - 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_models_are_carried), cmocka_unit_test(test_all_chips_are_carried),
        cmocka_unit_test(test_aliases_lead_home),      cmocka_unit_test(test_no_sparse_peaks),
        cmocka_unit_test(test_models_make_sense),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
