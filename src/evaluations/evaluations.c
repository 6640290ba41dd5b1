// SPDX-License-Identifier: Apache-2.0
/* The room's life: options, what an earlier berth left, what the queue tells of its jobs. */
#include "evaluations/evaluations.h"

#include <libgen.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "evaluations/evaluations_int.h"

// clang-format off
static const struct option_row option_rows[] = {
    { "planner.presets", OPTION_LIST, "", 0, 0, NULL, false, false,
      "YAML files with chips, models and topologies of your own, which evaluations may name. A relative path counts from the configuration's folder." },
    { "planner.workers", OPTION_INT, "4", 1, EVALUATION_WORKERS_MAX, NULL, true, false,
      "How many evaluations are searched at once, each on a thread of its own; what PUT /api/evaluation/config has set goes before it." },
};
// clang-format on
const struct option_table evaluations_options = { option_rows, ARRAY_SIZE(option_rows) };

struct evaluations *evaluations_create(const struct evaluations_in *in)
{
    struct evaluations *v = xcalloc(1, sizeof(*v));

    v->in = *in;
    notify_init(&v->signal);
    list_init(&v->live);
    list_init(&v->inquiries);
    v->documents = documents_create(in->world, in->store);
    searches_init(v);
    imports_init(v);
    evaluations_reconfigure(v, in->config);
    return v;
}

void evaluations_reconfigure(struct evaluations *v, const struct config *config)
{
    v->in.config = config;
    v->max_workers =
        v->set_workers ? v->set_workers : (unsigned)config_int(config, "planner.workers");
    tasks_wake(v->in.tasks);
}

/* ---- what an earlier berth left ---- */

struct leftovers {
    struct store_op op;
    struct evaluations *v;
};

/* Before the loop runs, on its thread: so it may fill the list. */
static int read_leftovers(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct evaluations *v = container_of(op, struct leftovers, op)->v;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = settings_load(db, &v->set_workers, reterr);

    if (r >= 0) {
        r = sql_query(
            db, &st, reterr,
            "SELECT t.id, j.task_id, t.state, t.class FROM evaluation_jobs j "
            "CROSS JOIN tasks t ON t.public_id = j.task_id WHERE t.state < 2 ORDER BY t.id",
            "");
    }
    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        live_add(v, sql_int(st, 0), sql_text(st, 1), (enum task_state)sql_int(st, 2),
                 (unsigned)sql_int(st, 3));
    }
    return r;
}

/* Relative ones count from the configuration's folder: berth's own directory is its data's. */
static char *preset_path(const struct config *config, const char *path)
{
    _cleanup_(freep) char *copy = xstrdup_opt(config_path(config));

    return path[0] == '/' || !copy ? xstrdup(path) : xasprintf("%s/%s", dirname(copy), path);
}

static int read_presets(struct evaluations *v, struct error *reterr)
{
    const char *const *named = config_list(v->in.config, "planner.presets");
    char **files;
    size_t count = 0;
    int r;

    while (named[count]) {
        count++;
    }
    files = xcalloc(count + 1, sizeof(*files));
    for (size_t i = 0; i < count; i++) {
        files[i] = preset_path(v->in.config, named[i]);
    }
    r = documents_start(v->documents, (const char *const *)files, count, reterr);
    for (size_t i = 0; i < count; i++) {
        free(files[i]);
    }
    free(files);
    return r < 0 ? error_prefix(reterr, "planner.presets: ") : r;
}

/* Results that were stored when berth ended, and whose job was not completed by them. */
static int run_sweep(struct store_op *op, struct sql *db, struct error *reterr)
{
    int r = sql_run(db, reterr,
                    "DELETE FROM evaluation_results WHERE task_id IN (SELECT j.id FROM "
                    "evaluation_jobs j CROSS JOIN tasks t ON t.public_id = j.task_id "
                    "WHERE NOT j.imported AND t.state <> 2)",
                    "");

    return MIN_OF(r, 0);
}

static void on_swept(struct store_op *op)
{
    if (op->result < 0) {
        log_warn("evaluations", NULL, "results of what was not completed stay, ignoring",
                 kv_str("error", op->error.text));
    }
    free(op);
}

static void sweep(struct evaluations *v)
{
    struct store_op *op = xcalloc(1, sizeof(*op));

    *op = (struct store_op){ .run = run_sweep, .done = on_swept };
    store_write(v->in.store, op);
}

int evaluations_start(struct evaluations *v, struct error *reterr)
{
    struct leftovers l = { .op.run = read_leftovers, .v = v };
    int r = store_read_now(v->in.store, &l.op);

    if (r < 0) {
        return error_set(reterr, r, "the evaluations cannot be read: %s", l.op.error.text);
    }
    sweep(v);
    evaluations_reconfigure(v, v->in.config);
    return read_presets(v, reterr);
}

struct evaluations *evaluations_destroy(struct evaluations *v)
{
    if (!v) {
        return NULL;
    }
    v->in.tasks = NULL; /* gone by now */
    searches_finish(v);
    inquiries_finish(v);
    imports_finish(v);
    documents_destroy(v->documents);
    while (!list_empty(&v->live)) {
        live_free(list_first(&v->live, struct live, node));
    }
    free(v);
    return NULL;
}

const struct presets *evaluations_presets(const struct evaluations *v)
{
    return documents_book(v->documents);
}

struct documents *evaluations_documents(struct evaluations *v)
{
    return v->documents;
}

struct notify *evaluations_signal(struct evaluations *v)
{
    return &v->signal;
}

/* ---- what the queue tells ---- */

struct tidy {
    struct store_op op;
    char task_id[UUID_SIZE];
    double progress;
};

/* An attempt that did not end well leaves nothing but how far it came. */
static int run_tidy(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct tidy *t = container_of(op, struct tidy, op);
    int r = sql_run(db, reterr,
                    "DELETE FROM evaluation_results WHERE task_id = "
                    "(SELECT id FROM evaluation_jobs WHERE task_id = ?)",
                    "t", t->task_id);

    r = r < 0 ? r
              : sql_run(db, reterr,
                        "UPDATE evaluation_jobs SET progress = ?, message = '', "
                        "search_stats = NULL WHERE task_id = ?",
                        "dt", t->progress, t->task_id);
    return MIN_OF(r, 0);
}

static void on_tidied(struct store_op *op)
{
    if (op->result < 0) {
        log_warn("evaluations", NULL, "results of what was not completed stay, ignoring",
                 kv_str("error", op->error.text));
    }
    free(container_of(op, struct tidy, op));
}

static void tidy(struct evaluations *v, struct live *live)
{
    struct tidy *t = xcalloc(1, sizeof(*t));

    if (live->state == TASK_PENDING) {
        live->progress = 0;
    }
    json_decref(live->stats);
    live->stats = NULL;
    t->progress = live->progress;
    snprintf(t->task_id, sizeof(t->task_id), "%s", live->task_id);
    t->op = (struct store_op){ .run = run_tidy, .done = on_tidied };
    store_write(v->in.store, &t->op);
}

/* It went while it waited or ran: who watches it is told that nothing comes any more. */
static void tell_removed(struct evaluations *v, struct live *live)
{
    live->state = TASK_CANCELLED;
    live_tell(v, live, NULL);
    live_free(live);
}

static void move_on(struct evaluations *v, struct live *live, const struct task_change *change)
{
    const struct task *task = change->task;

    live->state = task->state;
    live->priority = task->priority;
    if (change->from == TASK_RUNNING && task->state != TASK_COMPLETED) {
        tidy(v, live);
    }
    if (task->state == TASK_COMPLETED) {
        live->progress = 100;
    }
    live_tell(v, live, task->state == TASK_FAILED ? task->error : NULL);
    if (task->state >= TASK_COMPLETED) {
        live_free(live);
    }
}

void evaluations_on_task(void *evaluations, const void *task_change)
{
    struct evaluations *v = evaluations;
    const struct task_change *change = task_change;
    const struct task *task = change->task;
    struct live *live;

    if (task->kind != TASK_OF_EVALUATION) {
        return;
    }
    live = live_find(v, task->public_id);
    if (!live && change->from < 0) {
        live = live_add(v, task->id, task->public_id, task->state, task->priority);
    }
    if (live && change->removed) {
        tell_removed(v, live);
    } else if (live && change->from != (int)task->state) {
        move_on(v, live, change);
    }
}
