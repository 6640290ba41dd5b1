// SPDX-License-Identifier: Apache-2.0
/* Memory against plans that really ran: none of them may be called impossible, and none of those
 * made of them by growing past the chip's memory by a tenth or more may pass. The measurements are
 * not part of the project: MEASURED names the file; without it there is nothing to test. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "planner/planner_int.h"

static char *read_measured(size_t *ret_size)
{
    const char *path = getenv("MEASURED");
    FILE *f = path ? fopen(path, "rb") : NULL;
    char *text = NULL;
    size_t n = 0, got = 0;

    do {
        text = xrealloc(text, n + 65536);
        got = f ? fread(text + n, 1, 65536, f) : 0;
        n += got;
    } while (got > 0);
    if (f) {
        fclose(f);
    }
    *ret_size = n;
    return text;
}

static struct planner_rows open_measured(void)
{
    struct planner_rows rows = { 0 };
    struct error e;
    size_t size;
    char *text = read_measured(&size);

    if (size == 0) {
        free(text);
        skip();
    }
    assert_true(planner_rows_parse(text, size, &rows, &e) >= 0);
    free(text);
    return rows;
}

static struct planner_result run(const struct planner_row *row, const struct planner_load *load,
                                 enum planner_format format)
{
    struct planner_setup s;
    struct planner_result r;

    planner_setup_init(&s, row->model, row->chip, row->engine, format, row->kv, NULL);
    planner_evaluate(&s, &row->plan, load, &r);
    return r;
}

static void test_nothing_measured_is_impossible(void **state)
{
    struct planner_rows rows = open_measured();
    size_t ran = 0;

    for (size_t i = 0; i < rows.count; i++) {
        const struct planner_row *row = &rows.rows[i];

        if (!row->understood) {
            continue;
        }
        if (run(row, &row->load, row->format).bound != PLANNER_FITS &&
            run(row, &row->load, row->format).bound != PLANNER_UNSUSTAINABLE) {
            print_error("%s (%s on %s) ran, but is refused\n", row->id, row->model->name,
                        row->chip->name);
            fail();
        }
        ran++;
    }
    print_message("%zu measured plans fit\n", ran);
    assert_true(ran > 0);
    planner_rows_finish(&rows);
}

/* A batch whose KV cache alone, with the weights, is a tenth more than the whole memory. */
static bool grow_batch(const struct planner_row *row, const struct planner_result *r,
                       struct planner_load *load)
{
    struct planner_setup s;
    double one;

    planner_setup_init(&s, row->model, row->chip, row->engine, row->format, row->kv, NULL);
    one = planner_request_kv(&s, &row->plan, load->isl + load->osl, 8192);
    load->kind = PLANNER_STATIC;
    load->concurrency =
        (1.1 * r->memory_bytes - r->weights_bytes) / one * row->plan.adp * row->plan.replicas;
    return load->concurrency >= 1;
}

/* One request whose context does the same. */
static void grow_context(const struct planner_row *row, const struct planner_result *r,
                         struct planner_load *load)
{
    struct planner_setup s;

    planner_setup_init(&s, row->model, row->chip, row->engine, row->format, row->kv, NULL);
    while (planner_request_kv(&s, &row->plan, load->isl + load->osl, 8192) + r->weights_bytes <
           1.1 * r->memory_bytes) {
        load->isl = 1.05 * load->isl + 64;
    }
}

static void test_a_tenth_too_much_is_refused(void **state)
{
    struct planner_rows rows = open_measured();
    size_t refused[3] = { 0 };

    for (size_t i = 0; i < rows.count; i++) {
        const struct planner_row *row = &rows.rows[i];
        struct planner_load load;
        struct planner_result r;

        if (!row->understood || row->load.kind == PLANNER_DISAGGREGATED) {
            continue;
        }
        r = run(row, &row->load, row->format);
        if (r.bound != PLANNER_FITS) {
            continue;
        }
        load = row->load;
        if (grow_batch(row, &r, &load)) {
            assert_int_not_equal(run(row, &load, row->format).bound, PLANNER_FITS);
            refused[0]++;
        }
        load = row->load;
        grow_context(row, &r, &load);
        assert_int_not_equal(run(row, &load, row->format).bound, PLANNER_FITS);
        refused[1]++;
        r = run(row, &row->load, PLANNER_BF16); /* wider weights */
        if (r.weights_bytes > 1.1 * r.memory_bytes) {
            assert_int_not_equal(r.bound, PLANNER_FITS);
            refused[2]++;
        }
    }
    print_message("refused: %zu by batch, %zu by context, %zu by precision\n", refused[0],
                  refused[1], refused[2]);
    assert_true(refused[0] + refused[1] + refused[2] >= 60 && refused[2] > 0);
    planner_rows_finish(&rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_measured_is_impossible),
        cmocka_unit_test(test_a_tenth_too_much_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
