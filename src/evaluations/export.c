// SPDX-License-Identifier: Apache-2.0
/*
 * What leaves berth as a file: one job's plans (JSON or CSV), experiments whole (JSON, which can be
 * imported again). A file is at most as large as what an import takes.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "evaluations/evaluations_int.h"

struct export_inquiry {
    struct inquiry q;
    char *task_id; /* of one job */
    bool csv;
    int64_t *ids; /* experiments; count 0: all */
    size_t count;
    char now[TIMEFMT_SIZE];
};

static struct export_inquiry *of(struct inquiry *q)
{
    return container_of(q, struct export_inquiry, q);
}

static void finish(struct inquiry *q)
{
    free(of(q)->task_id);
    free(of(q)->ids);
}

static struct export_inquiry *create(struct evaluations *v, evaluations_done_fn done, void *arg)
{
    struct export_inquiry *i = inquiry_create(v, sizeof(*i), done, arg);

    timefmt_iso(world_wall_ms(v->in.world), i->now);
    i->q.finish = finish;
    return i;
}

/* ---- CSV (RFC 4180) ---- */

/* Text that a spreadsheet would take for a formula is told to be text. */
static void add_text(struct buf *b, const char *text)
{
    buf_puts(b, text[0] && strchr("=+-@\t\r\n", text[0]) ? "\"'" : "\"");
    for (const char *c = text; *c; c++) {
        buf_puts(b, *c == '"' ? "\"" : "");
        buf_putc(b, *c);
    }
    buf_putc(b, '"');
}

static const char csv_head[] =
    "experiment_name,task_id,rank,is_feasible,dp,tp,pp,ep,sp,moe_tp,chips,throughput,tps_per_chip,"
    "ttft,tpot,mfu,mbu,score,infeasible_reason\r\n";
enum { CSV_NUMBERS = 15 }; /* columns 0 to 14 of the query; then the texts */
static const char csv_query[] =
    "SELECT r.is_feasible, r.dp, r.tp, r.pp, r.ep, r.sp, r.moe_tp, r.chips, r.throughput, "
    "r.tps_per_chip, r.ttft, r.tpot, r.mfu, r.mbu, r.score, x.name, e.task_id, "
    "r.infeasible_reason FROM evaluation_results r JOIN evaluation_tasks e ON e.id = r.task_id "
    "JOIN experiment_rows x ON x.id = e.experiment_id WHERE e.task_id = ? "
    "AND e.status = 'completed' ORDER BY r.is_feasible DESC, r.score DESC, r.id LIMIT 210";

static void add_line(struct buf *b, struct sql_stmt *st, unsigned rank)
{
    const char *reason = sql_text(st, CSV_NUMBERS + 2);

    add_text(b, sql_text(st, CSV_NUMBERS));
    buf_putc(b, ',');
    add_text(b, sql_text(st, CSV_NUMBERS + 1));
    buf_printf(b, ",%u", rank);
    for (int column = 0; column < CSV_NUMBERS; column++) {
        buf_printf(b, ",%.10g", sql_double(st, column));
    }
    buf_putc(b, ',');
    if (reason) {
        add_text(b, reason);
    }
    buf_puts(b, "\r\n");
}

static int write_csv(struct inquiry *q, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    _cleanup_(buf_finish) struct buf b = BUF_INIT(EXPORT_BYTES_MAX);
    unsigned rank = 0;
    int r = sql_query(db, &st, reterr, csv_query, "t", of(q)->task_id);

    buf_puts(&b, csv_head);
    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        add_line(&b, st, ++rank);
    }
    if (r >= 0 && b.overflow) {
        return error_set(reterr, -EFBIG, "the file would be larger than %d bytes",
                         EXPORT_BYTES_MAX);
    }
    q->answer = json_stringn(buf_data(&b), b.len);
    return r;
}

/* ---- one job ---- */

static int run_job(struct inquiry *q, struct sql *db, struct error *reterr)
{
    const struct export_inquiry *i = of(q);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT " JOB_COLUMNS JOB_FROM "WHERE e.task_id = ?", "t",
                      i->task_id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r <= 0) {
        return r < 0 ? r : error_set(reterr, -ENOENT, "there is no such evaluation");
    }
    if (i->csv) {
        return write_csv(q, db, reterr);
    }
    q->answer = job_object(st, true);
    json_object_set_new(q->answer, "export_time", json_string(i->now));
    return job_plans_load(db, st, q->answer, reterr);
}

void evaluations_export(struct evaluations *v, const char *task_id, bool csv,
                        evaluations_done_fn done, void *arg)
{
    struct export_inquiry *i = create(v, done, arg);

    i->task_id = xstrdup(task_id);
    i->csv = csv;
    inquiry_read(&i->q, run_job);
}

/* ---- experiments ---- */

/* Before anything is read into memory. */
static int add_size(struct sql *db, int64_t id, int64_t *bytes, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT (SELECT coalesce(sum(length(r.full_result)), 0) "
                      "FROM evaluation_results r JOIN evaluation_jobs j ON j.id = r.task_id "
                      "WHERE j.experiment_id = ?1) "
                      "+ (SELECT coalesce(sum(1000 + length(coalesce(manual_parallelism, '') || "
                      "coalesce(search_constraints, '') || coalesce(search_stats, ''))), 0) "
                      "FROM evaluation_jobs WHERE experiment_id = ?1) "
                      "+ (SELECT length(description || coalesce(model_config, '') || "
                      "coalesce(hardware_config, '') || coalesce(inference_config, '')) "
                      "FROM experiment_rows WHERE id = ?1)",
                      "i", id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r > 0) {
        *bytes += sql_int(st, 0);
    }
    if (r >= 0 && *bytes > EXPORT_BYTES_MAX) {
        return error_set(reterr, -EFBIG,
                         "the file would be larger than %d bytes: export fewer experiments at once",
                         EXPORT_BYTES_MAX);
    }
    return MIN_OF(r, 0);
}

static int add_jobs(struct sql *db, int64_t id, json_t *tasks, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " JOB_COLUMNS JOB_FROM "WHERE e.experiment_id = ? ORDER BY e.id", "i",
                      id);

    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        json_t *job = job_object(st, true);

        json_array_append_new(tasks, job);
        r = job_plans_load(db, st, job, reterr);
    }
    return r;
}

static int add_experiment(struct sql *db, int64_t id, json_t *array, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    json_t *x, *tasks = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT " EXPERIMENT_COLUMNS " FROM experiments x WHERE x.id = ?", "i", id);

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r <= 0) {
        return r < 0 ? r : error_set(reterr, -ENOENT, "there is no experiment %lld", (long long)id);
    }
    x = experiment_object(st, true);
    tasks = json_array();
    json_array_append_new(array, x);
    json_object_set_new(x, "tasks", tasks);
    return add_jobs(db, id, tasks, reterr);
}

static int all_ids(struct export_inquiry *i, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT id FROM experiment_rows ORDER BY id LIMIT ?", "i",
                      (int64_t)EXPERIMENTS_EXPORT_MAX + 1);

    i->ids = xcalloc(EXPERIMENTS_EXPORT_MAX + 1, sizeof(*i->ids));
    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        i->ids[i->count++] = sql_int(st, 0);
    }
    if (r >= 0 && i->count > EXPERIMENTS_EXPORT_MAX) {
        return error_set(reterr, -EFBIG, "at most %d experiments are exported at once",
                         EXPERIMENTS_EXPORT_MAX);
    }
    return r;
}

static int run_experiments(struct inquiry *q, struct sql *db, struct error *reterr)
{
    struct export_inquiry *i = of(q);
    json_t *array = json_array();
    int64_t bytes = 0;
    int r = i->ids ? 0 : all_ids(i, db, reterr);

    q->answer =
        json_pack("{s:s, s:s, s:o}", "version", "1.0", "export_time", i->now, "experiments", array);
    for (size_t k = 0; r >= 0 && k < i->count; k++) {
        r = add_size(db, i->ids[k], &bytes, reterr);
    }
    for (size_t k = 0; r >= 0 && k < i->count; k++) {
        r = add_experiment(db, i->ids[k], array, reterr);
    }
    return r;
}

void experiments_export(struct evaluations *v, const int64_t *ids, size_t count,
                        evaluations_done_fn done, void *arg)
{
    struct export_inquiry *i = create(v, done, arg);

    if (count > EXPERIMENTS_EXPORT_MAX) {
        inquiry_refuse(&i->q, -EINVAL, "experiment_ids",
                       "experiment_ids: at most %d experiments are exported at once",
                       EXPERIMENTS_EXPORT_MAX);
        return;
    }
    if (count) {
        i->ids = xmemdup(ids, count * sizeof(*ids));
        i->count = count;
    }
    inquiry_read(&i->q, run_experiments);
}
