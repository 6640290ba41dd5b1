// SPDX-License-Identifier: Apache-2.0
/*
 * The object behind batches: what is unfinished stands in memory, everything else is asked of the
 * store. What a batch does stands in batches_run.c.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/batch_tasks_int.h"
#include "tasks/batches_int.h"
#include "tasks/webhooks.h"

enum { WORKERS = 2, SWEEP_FIRST_MS = 10000, WINDOW_MIN_MS = 1000 };
static const uint64_t window_max_ms = 366ull * 86400 * 1000;

// clang-format off
static const struct option_row rows[] = {
    { "batches.max_file_size", OPTION_BYTES, "200MiB", 1024, 1073741824, NULL, true, false,
      "The largest file that is taken by /v1/files; a request's body is bounded by server.max_body, too." },
    { "batches.max_files_bytes", OPTION_BYTES, "10GiB", 1048576, 1125899906842624, NULL, true, false,
      "Bytes of all files together; beyond it no further one is taken. (Results are written all the same.)" },
    { "batches.max_requests", OPTION_INT, "50000", 1, 1000000, NULL, true, false,
      "Requests of one batch." },
    { "batches.max_active", OPTION_INT, "100", 1, 10000, NULL, true, false,
      "Batches that have not ended; beyond it no further one is taken." },
    { "batches.keep", OPTION_DURATION, "30d", 60000, 315360000000, NULL, true, false,
      "How long ended batches and their result files are kept." },
};
// clang-format on
const struct option_table batches_options = { rows, ARRAY_SIZE(rows) };

void batch_asker_add(struct batches *b, struct batch_asker *a)
{
    a->b = b;
    list_append(&b->requests, &a->node);
}

void batch_asker_remove(struct batch_asker *a)
{
    list_remove(&a->node);
}

void batch_job_start(struct batches *b, struct job *job)
{
    const int r = worker_submit(b->worker, job);

    assert(r >= 0); /* its queue has no end */
}

/* ---- the work on one batch ---- */

static void on_work_timer(void *arg)
{
    struct batch_work *w = arg;

    w->retrying = false;
    batch_advance(w);
}

struct batch_work *batch_work_create(struct batches *b, struct batch_row *row)
{
    struct batch_work *w = xcalloc(1, sizeof(*w));

    w->b = b;
    w->row = *row;
    *row = (struct batch_row){ 0 };
    list_init(&w->waiters);
    timer_init(&w->timer, b->world, "batch", on_work_timer, w);
    list_append(&b->works, &w->node);
    return w;
}

void batch_work_free(struct batch_work *w)
{
    batch_work_tell(w, -ECANCELED, "berth is shutting down");
    timer_stop(&w->timer);
    list_remove(&w->node);
    batch_check_free(w->check);
    batch_row_finish(&w->row);
    free(w);
}

static struct batch_work *find_work(struct batches *b, int64_t id, const char *public_id)
{
    struct batch_work *w;

    list_for_each (w, &b->works, node) {
        if (public_id ? str_eq(w->row.batch.public_id, public_id) : w->row.batch.id == id) {
            return w;
        }
    }
    return NULL;
}

static size_t count_active(struct batches *b)
{
    struct batch_work *w;
    size_t n = 0;

    list_for_each (w, &b->works, node) {
        n += !batch_is_ended(w->row.batch.state);
    }
    return n;
}

static bool is_open(enum task_state s)
{
    return s == TASK_PENDING || s == TASK_RUNNING;
}

/* by: 1 when a task is in this state now, -1 when it is so no more. */
static void count_task(struct batch_work *w, enum task_state s, int by)
{
    struct batch *b = &w->row.batch;

    if (is_open(s)) {
        w->unfinished += by;
    } else if (s == TASK_COMPLETED) {
        b->completed += (uint64_t)by;
    } else if (s == TASK_FAILED) {
        b->failed += (uint64_t)by;
    }
}

void batches_on_task(void *batches, const void *task_change)
{
    struct batches *b = batches;
    const struct task_change *change = task_change;
    const struct task *task = change->task;
    struct batch_work *w;

    /* New ones are counted when their submission is told. */
    if (task->kind != TASK_OF_BATCH || change->from < 0) {
        return;
    }
    w = find_work(b, task->batch_id, NULL);
    if (!w || batch_is_ended(w->row.batch.state)) { /* its counts are those of its files */
        return;
    }
    count_task(w, (enum task_state)change->from, -1);
    if (!change->removed) {
        count_task(w, task->state, 1);
    }
    if (w->unfinished <= 0) {
        batch_advance(w);
    }
}

/* ---- questions ---- */

struct batch_request {
    struct batch_asker asker;
    struct list node; /* of batch_work->waiters */
    struct store_op op;
    struct batch_row row, *list;
    char public_id[48];
    char *after;
    unsigned limit;
    size_t count;
    int result; /* it was refused before the store was asked */
    struct error error;
    union {
        batch_fn one;
        batch_list_fn list;
    } done;
    void *arg;
};

static struct batch_request *request_create(struct batches *b, const char *public_id, void *arg)
{
    struct batch_request *q = xcalloc(1, sizeof(*q));

    batch_asker_add(b, &q->asker);
    list_init(&q->node);
    snprintf(q->public_id, sizeof(q->public_id), "%s", public_id ? public_id : "");
    q->arg = arg;
    return q;
}

static void request_free(struct batch_request *q)
{
    batch_asker_remove(&q->asker);
    list_remove(&q->node);
    for (size_t i = 0; i < q->count; i++) {
        batch_row_finish(&q->list[i]);
    }
    batch_row_finish(&q->row);
    free(q->list);
    free(q->after);
    free(q);
}

void batch_request_answer(struct batch_request *q, const struct batch_row *row, int result,
                          const char *sentence)
{
    struct error err = { .code = result };

    snprintf(err.text, sizeof(err.text), "%s", sentence);
    q->done.one(q->arg, result, result < 0 ? NULL : &row->batch, &err);
    request_free(q);
}

void batch_work_tell(struct batch_work *w, int result, const char *sentence)
{
    struct batch_request *q, *tmp;

    list_for_each_safe (q, tmp, &w->waiters, node) {
        batch_request_answer(q, &w->row, result, sentence);
    }
}

/* What has ended since the row was written stands in memory. */
static void show_counts(struct batch_request *q, struct batch_row *row)
{
    const struct batch_work *w = q->asker.b ? find_work(q->asker.b, row->batch.id, NULL) : NULL;

    if (w && !batch_is_ended(row->batch.state)) {
        row->batch.completed = w->row.batch.completed;
        row->batch.failed = w->row.batch.failed;
    }
}

static int get_batch(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct batch_request *q = container_of(op, struct batch_request, op);
    int r = batch_row_get(db, q->public_id, &q->row, reterr);

    return r == 0 ? error_set(reterr, -ENOENT, "there is no batch '%s'", q->public_id) : r;
}

static void on_batch(struct store_op *op)
{
    struct batch_request *q = container_of(op, struct batch_request, op);

    show_counts(q, &q->row);
    batch_request_answer(q, &q->row, MIN_OF(op->result, 0), op->error.text);
}

void batches_get(struct batches *b, const char *public_id, batch_fn done, void *arg)
{
    struct batch_request *q = request_create(b, public_id, arg);

    q->done.one = done;
    q->op = (struct store_op){ .run = get_batch, .done = on_batch };
    store_read(b->store, &q->op);
}

/* It is not worked on any more. */
static void on_ended_batch(struct store_op *op)
{
    struct batch_request *q = container_of(op, struct batch_request, op);
    const enum batch_state s = q->row.batch.state;
    char text[96];

    if (op->result < 0 || s == BATCH_CANCELLING || s == BATCH_CANCELLED) {
        on_batch(op);
        return;
    }
    snprintf(text, sizeof(text), "the batch cannot be cancelled any more: it is %s",
             batch_state_name(s));
    batch_request_answer(q, &q->row, -EBUSY, text);
}

void batches_cancel(struct batches *b, const char *public_id, batch_fn done, void *arg)
{
    struct batch_request *q = request_create(b, public_id, arg);
    struct batch_work *w = find_work(b, 0, public_id);

    q->done.one = done;
    if (w && (w->row.batch.state == BATCH_VALIDATING || w->row.batch.state == BATCH_IN_PROGRESS)) {
        list_append(&w->waiters, &q->node);
        w->cancel_wanted = true;
        batch_advance(w);
        return;
    }
    q->op = (struct store_op){ .run = get_batch, .done = on_ended_batch };
    store_read(b->store, &q->op);
}

static void take_row(void *arg, struct batch_row *row)
{
    struct batch_request *q = arg;

    q->list[q->count++] = *row;
}

static int list_batches(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct batch_request *q = container_of(op, struct batch_request, op);

    q->list = xcalloc(q->limit + 1, sizeof(*q->list));
    return batch_rows_list(db, q->after, q->limit + 1, take_row, q, reterr);
}

static void on_batches(struct store_op *op)
{
    struct batch_request *q = container_of(op, struct batch_request, op);
    const size_t n = op->result < 0 ? 0 : MIN_OF(q->count, (size_t)q->limit);
    struct batch **list = xcalloc(n + 1, sizeof(struct batch *));

    for (size_t i = 0; i < n; i++) {
        show_counts(q, &q->list[i]);
        list[i] = &q->list[i].batch;
    }
    q->done.list(q->arg, MIN_OF(op->result, 0), list, n, q->count > q->limit, &op->error);
    free(list);
    request_free(q);
}

void batches_list(struct batches *b, const char *after, unsigned limit, batch_list_fn done,
                  void *arg)
{
    struct batch_request *q = request_create(b, NULL, arg);

    q->done.list = done;
    q->after = xstrdup_opt(after);
    q->limit = MIN_OF(MAX_OF(limit, 1u), (unsigned)BATCH_LIST_MAX);
    q->op = (struct store_op){ .run = list_batches, .done = on_batches };
    store_read(b->store, &q->op);
}

/* ---- submitting ---- */

static int check_order(struct batches *b, const struct batch_order *order, struct error *reterr)
{
    static const char *const endpoints[] = { "/v1/chat/completions", "/v1/completions",
                                             "/v1/embeddings", "/v1/responses" };
    const int64_t max = config_int(b->config, "batches.max_active");
    size_t i = 0;

    while (i < ARRAY_SIZE(endpoints) && !str_eq(order->endpoint, endpoints[i])) {
        i++;
    }
    if (i == ARRAY_SIZE(endpoints)) {
        return error_set(reterr, -EINVAL,
                         "'endpoint' must be one of /v1/chat/completions, /v1/completions, "
                         "/v1/embeddings, /v1/responses");
    }
    if (order->completion_window_ms < WINDOW_MIN_MS ||
        order->completion_window_ms > window_max_ms) {
        return error_set(reterr, -EINVAL, "'completion_window' must be from 1s to 366d");
    }
    if (count_active(b) + b->coming >= (size_t)max) {
        return error_set(reterr, -EAGAIN,
                         "%lld batches have not ended yet (batches.max_active): try again later",
                         (long long)max);
    }
    return order->webhook ? webhook_check(b->config, order->webhook, reterr) : 0;
}

static int check_input(struct sql *db, const char *public_id, struct error *reterr)
{
    struct batch_file f = { 0 };
    int r = batch_file_get(db, public_id, &f, reterr);

    if (r == 0) {
        r = error_set(reterr, -ENOENT, "there is no file '%.64s'", public_id);
    } else if (r > 0 && !str_eq(f.purpose, "batch")) {
        r = error_set(reterr, -EINVAL, "the file '%.64s' has the purpose '%.32s', not 'batch'",
                      public_id, f.purpose);
    }
    batch_file_finish(&f);
    return r;
}

static int insert_batch(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct batch_request *q = container_of(op, struct batch_request, op);
    int r = q->result;

    if (r < 0) {
        *reterr = q->error;
        return r;
    }
    r = check_input(db, q->row.batch.input_file, reterr);
    return r < 0 ? r : batch_row_insert(db, &q->row, reterr);
}

static void on_batch_inserted(struct store_op *op)
{
    struct batch_request *q = container_of(op, struct batch_request, op);
    struct batches *b = q->asker.b;
    struct batch_work *w = NULL;

    if (b && q->result >= 0) {
        b->coming--;
    }
    if (op->result >= 0 && b) {
        struct batch_row row = batch_row_dup(&q->row);

        w = batch_work_create(b, &row);
    }
    batch_request_answer(q, &q->row, MIN_OF(op->result, 0), op->error.text);
    if (w) {
        notify_emit(&b->changed, &w->row.batch);
        batch_advance(w);
    }
}

void batches_submit(struct batches *b, const struct batch_order *order, batch_fn done, void *arg)
{
    struct batch_request *q = request_create(b, NULL, arg);
    struct batch *batch = &q->row.batch;

    q->done.one = done;
    q->result = check_order(b, order, &q->error);
    b->coming += q->result >= 0;
    batch_make_id(b->world, "batch_", batch->public_id);
    batch->state = BATCH_VALIDATING;
    batch->endpoint = xstrdup(order->endpoint);
    batch->metadata = order->metadata.p ? span_dup(order->metadata) : NULL;
    batch->webhook = xstrdup_opt(order->webhook);
    snprintf(batch->input_file, sizeof(batch->input_file), "%s", order->input_file);
    batch->created_ms = world_wall_ms(b->world);
    batch->completion_window_ms = order->completion_window_ms;
    batch->expires_ms = batch->created_ms + (int64_t)order->completion_window_ms;
    q->row.outcome = BATCH_COMPLETED;
    q->row.output_keep_ms = order->output_keep_ms;
    q->op = (struct store_op){ .run = insert_batch, .done = on_batch_inserted };
    store_write(b->store, &q->op);
}

/* ---- the object ---- */

static void on_sweep_timer(void *arg)
{
    batch_files_sweep(arg);
}

struct batches *batches_create(struct world *w, const struct config *config, struct store *store,
                               struct events *events, struct models *models, struct tasks *tasks)
{
    struct batches *b = xcalloc(1, sizeof(*b));

    b->world = w;
    b->config = config;
    b->store = store;
    b->events = events;
    b->models = models;
    b->tasks = tasks;
    b->worker =
        worker_create(w, &(struct worker_options){
                             .name = "batch files", .threads = WORKERS, .max_queued = SIZE_MAX });
    list_init(&b->works);
    list_init(&b->requests);
    notify_init(&b->changed);
    timer_init(&b->sweep, w, "batch files", on_sweep_timer, b);
    return b;
}

struct resume {
    struct store_op op;
    struct batches *b;
};

static void take_open(void *arg, struct batch_row *row)
{
    batch_work_create(((struct resume *)arg)->b, row);
}

/* The loop does not run yet: nothing is counted twice. */
static int read_open(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct resume *resume = container_of(op, struct resume, op);
    struct batch_work *w;
    int r = batch_rows_open(db, take_open, resume, reterr);

    list_for_each (w, &resume->b->works, node) {
        uint64_t counts[TASK_STATE_MAX_];

        r = r < 0 ? r : batch_count_tasks(db, w->row.batch.id, counts, reterr);
        if (r < 0) {
            return r;
        }
        w->unfinished = (int64_t)(counts[TASK_PENDING] + counts[TASK_RUNNING]);
        if (!batch_is_ended(w->row.batch.state)) {
            w->row.batch.completed = counts[TASK_COMPLETED];
            w->row.batch.failed = counts[TASK_FAILED];
        }
    }
    return r;
}

static void on_first_turn(void *arg)
{
    batch_advance_all(arg);
}

int batches_start(struct batches *b, struct error *reterr)
{
    struct resume resume = { .op = { .run = read_open }, .b = b };
    int r = batch_files_start(b, reterr);

    if (r < 0) {
        return r;
    }
    r = store_read_now(b->store, &resume.op);
    if (r < 0) {
        return error_set(reterr, r, "the batches cannot be read: %s", resume.op.error.text);
    }
    b->started = true;
    timer_init(&b->first, b->world, "batches", on_first_turn, b);
    timer_start(&b->first, 0);
    timer_start(&b->sweep, SWEEP_FIRST_MS);
    return 0;
}

void batches_reconfigure(struct batches *b, const struct config *config)
{
    b->config = config;
}

struct notify *batches_signal(struct batches *b)
{
    return &b->changed;
}

struct batches *batches_destroy(struct batches *b)
{
    struct batch_work *w, *tmp;
    struct batch_asker *a;

    if (!b) {
        return NULL;
    }
    timer_stop(&b->sweep);
    timer_stop(&b->first);
    list_for_each_safe (w, tmp, &b->works, node) {
        batch_work_tell(w, -ECANCELED, "berth is shutting down");
        timer_stop(&w->timer);
        list_remove(&w->node);
        w->b = NULL;
        if (!w->busy) {
            batch_work_free(w);
        }
    }
    list_for_each (a, &b->requests, node) {
        a->b = NULL;
    }
    worker_destroy(b->worker);          /* the ends of its jobs find nobody */
    while (!list_empty(&b->requests)) { /* what the store still has takes itself off no list */
        list_remove(b->requests.next);
    }
    free(b);
    return NULL;
}
