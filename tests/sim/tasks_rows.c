// SPDX-License-Identifier: Apache-2.0
/*
 * The judge of the rows: after a death, all that was told stands there, what was not told stands
 * there once or not at all; at the end everything has ended, and all that counts agrees.
 */
#include "tasks_scene.h"

#include <sqlite3.h>
#include <string.h>

#include "base/str.h"

#define TASKS_SQL "FROM tasks t JOIN lanes l ON l.id = t.lane"
#define COUNT_SQL "SELECT count(*) " TASKS_SQL
#define KEPT_SQL  COUNT_SQL " WHERE t.batch_id = 0" /* a batch's are kept as long as it is */

static const char rows_sql[] =
    "SELECT t.id, l.kind, l.model_id, l.name, t.state, t.class, t.fence, t.due_ms, t.batch_id, "
    "i.input, o.output, t.completed_ms " TASKS_SQL " LEFT JOIN task_inputs i ON i.id = t.id "
    "LEFT JOIN task_outputs o ON o.id = t.id ORDER BY t.id";

static sqlite3 *open_rows(struct scene *s)
{
    sqlite3 *db = NULL;

    if (sqlite3_open_v2(s->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "crash") !=
        SQLITE_OK) {
        complain(s, "the file does not open");
    }
    return db;
}

static sqlite3_stmt *prepare(struct scene *s, sqlite3 *db, const char *sql)
{
    sqlite3_stmt *st = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &st, NULL) != SQLITE_OK) {
        complain(s, "%s: %s", sql, sqlite3_errmsg(db));
    }
    return st;
}

static int64_t get(struct scene *s, const char *sql)
{
    sqlite3 *db = open_rows(s);
    sqlite3_stmt *st = prepare(s, db, sql);
    int64_t n = sqlite3_step(st) == SQLITE_ROW ? sqlite3_column_int64(st, 0) : -1;

    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}

static const char *text_of(sqlite3_stmt *st, int column)
{
    return (const char *)sqlite3_column_text(st, column);
}

static void read_rows(struct scene *s, void (*fn)(struct scene *s, const struct row *row))
{
    sqlite3 *db = open_rows(s);
    sqlite3_stmt *st = prepare(s, db, rows_sql);

    while (sqlite3_step(st) == SQLITE_ROW) {
        fn(s, &(struct row){ .id = sqlite3_column_int64(st, 0),
                             .kind = sqlite3_column_int(st, 1),
                             .model_id = sqlite3_column_int64(st, 2),
                             .model = text_of(st, 3),
                             .state = sqlite3_column_int(st, 4),
                             .priority = (unsigned)sqlite3_column_int(st, 5),
                             .fence = sqlite3_column_int64(st, 6),
                             .due_ms = sqlite3_column_int64(st, 7),
                             .completed_ms = sqlite3_column_int64(st, 11),
                             .batch_id = sqlite3_column_int64(st, 8),
                             .output = text_of(st, 10),
                             .input = span_of(text_of(st, 9)) });
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
}

/* ---- a row after a death ---- */

/* Could this have been on its way when the lights went out? */
static bool may_follow(const struct scene *s, const struct seen *seen, const struct row *r)
{
    bool same_fence = r->fence == seen->fence;
    bool cancelled = r->state == TASK_CANCELLED && judge_may_be_cancelled(s, seen);

    if (r->fence == seen->fence + 1 &&
        (seen->told == TASK_PENDING || (seen->told == TASK_RUNNING && seen->taken_asked))) {
        return r->state == TASK_RUNNING || cancelled;
    }
    switch (seen->told) {
    case TASK_PENDING:
        return same_fence && (r->state == TASK_PENDING || cancelled);
    case TASK_RUNNING:
        return same_fence && (r->state <= TASK_RUNNING || r->state == TASK_FAILED || cancelled ||
                              (r->state == TASK_COMPLETED && seen->ok_fence == r->fence));
    case TASK_FAILED:
        return same_fence && (r->state == TASK_FAILED ||
                              (seen->retry_asked && (r->state == TASK_PENDING || cancelled)));
    default:
        return r->state == seen->told && same_fence;
    }
}

static void meet_row(struct scene *s, struct seen *seen, const struct row *r)
{
    const struct order *o = &s->orders[seen->token];

    if (o->fate == FATE_ACKNOWLEDGED) {
        complain(s, "order %d was acknowledged, its task %lld was never told of", seen->token,
                 (long long)r->id);
    }
    seen->known = true;
    seen->kind = (enum task_kind)r->kind;
    seen->batch_id = r->batch_id;
    seen->lane = lane_of(s, r->model_id, r->model);
    if (r->state != TASK_PENDING && !(o->bound && r->state == TASK_RUNNING && r->fence == 1) &&
        !(r->state == TASK_CANCELLED && judge_may_be_cancelled(s, seen))) {
        complain(s, "task %lld was never told of, and is %s", (long long)r->id,
                 task_state_name((enum task_state)r->state));
    }
    seen->priorities = 1u << o->priority;
    s->seen_max = MAX_OF(s->seen_max, r->id);
}

static void check_output(struct scene *s, const struct seen *seen, const struct row *r)
{
    char expected[64];

    snprintf(expected, sizeof(expected), "%d:%lld", seen->token, (long long)r->fence);
    if (r->state == TASK_COMPLETED && !str_eq_opt(r->output, expected)) {
        complain(s, "task %lld is completed with the output '%s', not '%s'", (long long)r->id,
                 r->output ? r->output : "(none)", expected);
    }
}

/* From now on it is what the row says. */
static void settle(struct scene *s, struct seen *seen, const struct row *r)
{
    seen->told = r->state;
    seen->fence = r->fence;
    seen->life = s->life;
    seen->priority = r->priority;
    seen->priorities = 1u << r->priority;
    seen->moves = 0;
    seen->due_ms = r->due_ms;
    seen->pending_seq = ++s->seq;
    seen->there = true;
    if (seen->finished_ms == 0 && r->state > TASK_RUNNING) {
        seen->finished_ms = r->completed_ms;
    }
    seen->retry_asked = seen->remove_asked = seen->erase_asked = false;
    seen->cancel_asked = seen->taken_asked = false;
}

static void check_row(struct scene *s, const struct row *r)
{
    struct seen *seen = judge_seen(s, r->id);
    char text[4000];
    struct order *o;

    judge_link(s, r->id, atoi(r->input.p));
    o = &s->orders[seen->token];
    if (++o->rows > 1 || o->fate == FATE_REFUSED || o->fate == FATE_NOT_THERE || seen->gone) {
        complain(s, "order %d has %u rows (task %lld%s)", seen->token, o->rows, (long long)r->id,
                 seen->gone ? ", which was removed" : "");
    }
    order_text(seen->token, text, sizeof(text));
    if (!span_eq(r->input, text) || (int)o->kind != r->kind ||
        o->lane != lane_of(s, r->model_id, r->model)) {
        complain(s, "task %lld is not what was ordered", (long long)r->id);
    }
    if (!seen->known) {
        meet_row(s, seen, r);
    } else if (!may_follow(s, seen, r) || r->fence < seen->run_fence ||
               (seen->cancel_acknowledged && r->state != TASK_CANCELLED)) {
        complain(s,
                 "task %lld is %s at fence %lld, it was told to be %s at fence %lld, ran at %lld",
                 (long long)r->id, task_state_name((enum task_state)r->state), (long long)r->fence,
                 task_state_name((enum task_state)seen->told), (long long)seen->fence,
                 (long long)seen->run_fence);
    }
    if (!(seen->priorities & 1u << r->priority)) {
        complain(s, "task %lld is of class %u", (long long)r->id, r->priority);
    }
    check_output(s, seen, r);
    settle(s, seen, r);
}

/* ---- what is not there ---- */

static void check_absent_tasks(struct scene *s)
{
    for (int64_t id = 1; id <= s->seen_max; id++) {
        struct seen *seen = judge_seen(s, id);

        if (!seen->known || seen->gone || seen->there) {
            continue;
        }
        if (!judge_may_be_removed(s, seen)) {
            complain(s, "task %lld, told to be %s, is not there", (long long)id,
                     task_state_name((enum task_state)seen->told));
        }
        seen->gone = true;
    }
}

static void check_absent_orders(struct scene *s)
{
    for (int token = 1; token <= s->order_count; token++) {
        struct order *o = &s->orders[token];

        if (o->rows > 0) {
            o->fate = FATE_ACKNOWLEDGED;
        } else if (o->fate == FATE_ACKNOWLEDGED && !o->seen) {
            complain(s, "order %d was acknowledged and is not there", token);
        } else if (o->fate == FATE_UNKNOWN || o->fate == FATE_ASKED) {
            o->fate = FATE_NOT_THERE;
        }
    }
}

/* A batch's lines came all together with what their room wrote beside them, or not at all. */
static void check_pieces(struct scene *s)
{
    for (int token = 1; token <= s->order_count; token++) {
        const struct order *o = &s->orders[token];
        char sql[80];

        if (o->piece == 0 || o->piece == s->orders[token - 1].piece) {
            continue;
        }
        snprintf(sql, sizeof(sql), "SELECT count(*) FROM sim_piece WHERE piece = %u", o->piece);
        for (int64_t there = get(s, sql);
             token <= s->order_count && s->orders[token].piece == o->piece; token++) {
            if (s->orders[token].seen != (there == 1)) {
                complain(s, "piece %u came in part", o->piece);
            }
        }
        token--;
    }
}

static void look(struct scene *s)
{
    for (int64_t id = 1; id <= s->seen_max; id++) {
        judge_seen(s, id)->there = false;
    }
    for (int token = 1; token <= s->order_count; token++) {
        s->orders[token].rows = 0;
    }
    read_rows(s, check_row);
    check_absent_tasks(s);
    check_absent_orders(s);
    check_pieces(s);
}

void judge_after_death(struct scene *s)
{
    if (get(s, "SELECT integrity_check = 'ok' FROM pragma_integrity_check") != 1) {
        complain(s, "the file is damaged");
    }
    look(s);
}

/* ---- the end ---- */

static void check_counters(struct scene *s, const struct task_filter *filter, const char *where)
{
    struct task_counts counts = tasks_counts(s->tasks, filter);
    char sql[200];

    for (int state = 0; state < TASK_STATE_MAX_; state++) {
        int64_t rows;

        snprintf(sql, sizeof(sql), COUNT_SQL " WHERE t.state = %d AND %s", state, where);
        rows = get(s, sql);
        if (rows != (int64_t)counts.by_state[state]) {
            complain(s, "%llu tasks are counted as %s where %s, there are %lld",
                     (unsigned long long)counts.by_state[state],
                     task_state_name((enum task_state)state), where, (long long)rows);
        }
    }
    if (counts.delayed != 0 || counts.pending_bytes != 0) {
        complain(
            s, "nothing waits where %s, and %llu are counted as delayed, %llu bytes as waiting",
            where, (unsigned long long)counts.delayed, (unsigned long long)counts.pending_bytes);
    }
    for (unsigned class = 0; class < TASK_CLASSES; class ++) {
        assert_int_equal(counts.pending_by_class[class], 0);
    }
}

/* How the tasks ended, as it was told. ended and removed at once, as berth died: nobody heard how.
 */
static struct task_stats count_seen(struct scene *s, uint64_t *ret_unheard)
{
    struct task_stats all = { 0 };

    *ret_unheard = 0;
    for (int64_t id = 1; id <= s->seen_max; id++) {
        const struct seen *seen = judge_seen(s, id);

        all.submitted += seen->known;
        all.completed += seen->known && seen->told == TASK_COMPLETED;
        all.failed += seen->known && seen->told == TASK_FAILED;
        all.cancelled += seen->known && seen->told == TASK_CANCELLED;
        *ret_unheard += seen->known && seen->told <= TASK_RUNNING;
    }
    return all;
}

static void on_stats(void *arg, int result, const struct task_stats *rows, size_t count,
                     const struct error *e)
{
    struct scene *s = arg;
    uint64_t unheard;
    const struct task_stats told = count_seen(s, &unheard), none = { 0 };
    const struct task_stats *is = count ? rows : &none;

    assert_int_equal(result, 0);
    if (count > 1 || is->submitted != told.submitted ||
        is->completed + is->failed + is->cancelled != told.submitted ||
        is->completed < told.completed || is->failed < told.failed ||
        is->cancelled < told.cancelled) {
        complain(s,
                 "statistics: %llu submitted, %llu completed, %llu failed, %llu cancelled; it were "
                 "%llu, %llu, %llu, %llu (and %llu of which nobody knows)",
                 (unsigned long long)is->submitted, (unsigned long long)is->completed,
                 (unsigned long long)is->failed, (unsigned long long)is->cancelled,
                 (unsigned long long)told.submitted, (unsigned long long)told.completed,
                 (unsigned long long)told.failed, (unsigned long long)told.cancelled,
                 (unsigned long long)unheard);
    }
    s->in_flight--;
}

static void check_all_counters(struct scene *s)
{
    char where[40];

    check_counters(s, &(struct task_filter){ .kind = -1 }, "1");
    for (int kind = 0; kind < TASK_KIND_MAX_; kind++) {
        snprintf(where, sizeof(where), "l.kind = %d", kind);
        check_counters(s, &(struct task_filter){ .kind = kind }, where);
    }
    for (unsigned i = 0; i < MODELS; i++) {
        snprintf(where, sizeof(where), "l.model_id = %lld", (long long)s->model_ids[i]);
        check_counters(s, &(struct task_filter){ .kind = -1, .model_id = s->model_ids[i] }, where);
    }
    s->in_flight++;
    tasks_stats(s->tasks, TASK_STATS_ALL, -1, 0, on_stats, s);
    sim_run_for(s->world, 10);
    assert_int_equal(s->in_flight, 0);
}

void judge_at_end(struct scene *s)
{
    const struct stint *st;

    look(s);
    list_for_each (st, &s->stints, node) {
        if (st->state == STINT_RUNS && st->slot) {
            complain(s, "task %lld has ended, and its work goes on", (long long)st->id);
        }
    }
    for (int64_t id = 1; id <= s->seen_max; id++) {
        const struct seen *seen = judge_seen(s, id);

        if (seen->known && !seen->gone && seen->told <= TASK_RUNNING) {
            complain(s, "task %lld is stuck: %s", (long long)id,
                     task_state_name((enum task_state)seen->told));
        }
    }
    check_all_counters(s);
    if (s->keep_ms < 24 * 3600 * 1000) {
        sim_run_for(s->world, (uint64_t)s->keep_ms + 3 * 3600 * 1000);
        look(s);
        if (get(s, KEPT_SQL) != 0) {
            complain(s, "%lld tasks are kept beyond their time", (long long)get(s, KEPT_SQL));
        }
        check_all_counters(s);
    }
}
