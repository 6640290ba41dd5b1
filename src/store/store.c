// SPDX-License-Identifier: Apache-2.0
/*
 * The store's operations. Three threads touch a connection each: the writer (a group of operations,
 * one transaction), the readers (an operation, one snapshot), the checkpointer. A connection is
 * used under its lock, so that the *_now functions may borrow it.
 *
 *     loop:  store_write ──► write_worker ─── run_group ──► BEGIN (SAVEPOINT run RELEASE)… COMMIT
 * ──► done store_read  ──► read_worker ──── run_read ───► BEGIN run COMMIT ──────────────────────►
 * done refused (full, read-only) ──────────────────────────── next turn ──────────────────────►
 * done
 */
#include "store/store.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "store/migrate.h"
#include "store/sql_int.h"

enum {
    MAX_QUEUED = 100000,
    MAX_GROUP = 2000, /* operations in one transaction */
    READERS = 2,
    READ_LIMIT_MS = 5000,
    CHECKPOINT_PAGES = 1000, /* written since the last one */
    CHECKPOINT_BUSY_MS = 100,
    MAX_WAL_BYTES = 64 << 20,
};

struct connection {
    struct sql *db;
    pthread_mutex_t lock;
};

struct checkpointer {
    struct job job;
    struct store *store;
    struct worker *worker;
    struct sql *db;
    bool running;
    int64_t base_pages;    /* of the log, when the last checkpoint ended */
    int64_t max_pages;     /* of the log; beyond it it is cut back */
    _Atomic int64_t pages; /* of the log, told by the writer after each commit */
};

struct store {
    struct world *world;
    bool in_memory;
    uint64_t read_limit_ms;
    struct connection writer;
    struct connection readers[READERS];
    struct worker *write_worker, *read_worker; /* NULL while closing */
    struct checkpointer checkpointer;

    struct list refused; /* the queue was full: their done comes in the next turn */
    struct timer refused_timer;
    struct list late; /* ops submitted while closing */

    _Atomic bool read_only;
    struct error reason; /* written once by the writer, before read_only */
    bool told;
    struct notify read_only_signal;

    _Atomic uint64_t commits;
    uint64_t operations, failures;
};

static struct store_op *op_of(struct job *job)
{
    return container_of(job, struct store_op, job);
}

/* ---- results ---- */

static void set_failed(struct store_op *op, int r, const char *text)
{
    op->result = error_set(&op->error, r, "%s", text);
}

static void set_read_only(struct store_op *op)
{
    op->result =
        error_set(&op->error, -EROFS, "the store is read-only: %s", op->store->reason.text);
}

/* Calls run and sees to it that a failure has its code and a sentence. */
static void run_op(struct store_op *op, struct sql *db)
{
    op->error = (struct error){ 0 };
    op->result = op->run(op, db, &op->error);
    assert(db->in_use == 0); /* a statement was not given back */
    if (op->result < 0 && op->error.text[0] == '\0') {
        set_failed(op, op->result, strerror(-op->result));
    }
    op->error.code = op->result < 0 ? op->result : 0;
}

static void rollback(struct sql *db)
{
    if (sql_in_transaction(db)) {
        int ignored = sql_script(db, "ROLLBACK", NULL);

        (void)ignored; /* a rollback that fails leaves nothing behind either */
    }
}

/* ---- writes: on the writer's thread, or under the *_now functions ---- */

static bool lost(const struct sql *db)
{
    return db->broken.code != 0 || !sql_in_transaction(db);
}

static void run_in_savepoint(struct store_op *op, struct sql *db)
{
    int r = sql_run(db, &op->error, "SAVEPOINT op", "");

    if (r < 0) {
        op->result = r;
        return;
    }
    run_op(op, db);
    if (lost(db)) {
        return;
    }
    if (op->result < 0) {
        r = sql_run(db, NULL, "ROLLBACK TO op", "");
    }
    if (r >= 0) {
        r = sql_run(db, NULL, "RELEASE op", "");
    }
    if (r < 0) { /* no half operation may be committed: give the whole group up */
        rollback(db);
    }
}

static void turn_read_only(struct store *s, const struct error *why)
{
    s->reason = *why;
    atomic_store(&s->read_only, true);
}

/* The group did not commit: with the disk broken the store is read-only, else only this group has
 * failed. */
static void fail_group(struct store *s, struct list *jobs, const struct error *why)
{
    struct sql *db = s->writer.db;
    struct job *job;

    rollback(db);
    if (db->broken.code != 0) {
        turn_read_only(s, &db->broken);
    }
    list_for_each (job, jobs, node) {
        if (db->broken.code != 0) {
            set_read_only(op_of(job));
        } else {
            set_failed(op_of(job), why->code, why->text);
        }
    }
}

/* An operation alone needs no savepoint: what it did is undone with the transaction. */
static int commit_group(struct sql *db, struct list *jobs, struct error *reterr)
{
    const bool alone = jobs->next == jobs->prev;
    bool failed = false;
    struct job *job;
    int r = sql_script(db, "BEGIN IMMEDIATE", reterr);

    if (r < 0) {
        return r;
    }
    list_for_each (job, jobs, node) {
        if (alone) {
            run_op(op_of(job), db);
            failed = op_of(job)->result < 0;
        } else {
            run_in_savepoint(op_of(job), db);
        }
        if (lost(db)) {
            return error_set(reterr, -EIO, "the transaction was lost: %s", op_of(job)->error.text);
        }
    }
    if (failed) {
        rollback(db);
        return 0;
    }
    return sql_script(db, "COMMIT", reterr);
}

static void run_group(struct list *jobs, void *arg)
{
    struct error error = { 0 };
    struct store *s = arg;
    struct job *job;

    pthread_mutex_lock(&s->writer.lock);
    if (atomic_load(&s->read_only)) {
        list_for_each (job, jobs, node) {
            set_read_only(op_of(job));
        }
    } else if (commit_group(s->writer.db, jobs, &error) < 0) {
        fail_group(s, jobs, &error);
    } else {
        atomic_fetch_add(&s->commits, 1);
    }
    pthread_mutex_unlock(&s->writer.lock);
}

/* ---- reads: on a reader's thread, or under the *_now functions ---- */

/* There are as many connections as threads; a *_now call on the loop may have to wait for the
 * first. */
static struct connection *take_reader(struct store *s)
{
    for (size_t i = 0; i < READERS; i++) {
        if (pthread_mutex_trylock(&s->readers[i].lock) == 0) {
            return &s->readers[i];
        }
    }
    pthread_mutex_lock(&s->readers[0].lock);
    return &s->readers[0];
}

static void read_snapshot(struct store_op *op, struct sql *db)
{
    int r = sql_script(db, "BEGIN", &op->error);

    if (r < 0) {
        op->result = r;
        return;
    }
    sql_set_limit_ms(db, op->store->read_limit_ms);
    run_op(op, db);
    sql_set_limit_ms(db, 0);
    rollback(db);
    db->broken = (struct error){ 0 }; /* told with the result; the next read may fare better */
}

/* In memory the writer's connection serves reads too: it must not be written through meanwhile. */
static void read_in_memory(struct store_op *op, struct sql *db)
{
    int r = sql_script(db, "PRAGMA query_only=ON", &op->error);

    if (r < 0) {
        op->result = r;
        return;
    }
    read_snapshot(op, db);
    r = sql_script(db, "PRAGMA query_only=OFF", NULL);
    assert(r >= 0);
}

static void run_read(struct job *job)
{
    struct store_op *op = op_of(job);
    struct store *s = op->store;

    if (s->in_memory) {
        pthread_mutex_lock(&s->writer.lock);
        read_in_memory(op, s->writer.db);
        pthread_mutex_unlock(&s->writer.lock);
    } else {
        struct connection *c = take_reader(s);

        read_snapshot(op, c->db);
        pthread_mutex_unlock(&c->lock);
    }
}

/* ---- checkpoints: copy the log into the file, off the writer ---- */

static int on_wal_commit(void *arg, sqlite3 *handle, const char *name, int pages)
{
    struct checkpointer *c = arg;

    atomic_store(&c->pages, pages);
    return SQLITE_OK;
}

/* A passive one gets in nobody's way, but cannot start the log anew under steady load; so when the
 * log has grown too long it is followed by one that does, and that holds writers up for the short
 * rest. */
static void run_checkpoint(struct job *job)
{
    struct checkpointer *c = container_of(job, struct checkpointer, job);
    sqlite3 *handle = c->db->handle;
    int in_log = 0;
    int rc = sqlite3_wal_checkpoint_v2(handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &in_log, NULL);

    if (rc == SQLITE_OK && in_log > c->max_pages) {
        rc = sqlite3_wal_checkpoint_v2(handle, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        in_log =
            rc == SQLITE_OK ? 0 : in_log; /* a reader was in the way: again when it has grown */
    }
    c->base_pages = MAX_OF(in_log, 0);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        log_warn("store", NULL, "checkpoint failed, ignoring",
                 kv_str("why", sqlite3_errmsg(handle)));
    }
}

static void on_checkpoint_done(struct job *job)
{
    struct checkpointer *c = container_of(job, struct checkpointer, job);

    c->running = false;
}

static void consider_checkpoint(struct store *s)
{
    struct checkpointer *c = &s->checkpointer;
    int64_t pages = atomic_load(&c->pages);

    if (!c->worker || c->running || atomic_load(&s->read_only)) {
        return;
    }
    if (pages < c->base_pages) { /* the log began anew */
        c->base_pages = 0;
    }
    if (pages - c->base_pages >= MIN_OF(CHECKPOINT_PAGES, c->max_pages)) {
        c->job.run = run_checkpoint;
        c->job.done = on_checkpoint_done;
        c->running = worker_submit(c->worker, &c->job) == 0;
    }
}

/* ---- on the loop ---- */

static void tell_read_only(struct store *s)
{
    if (s->told || !atomic_load(&s->read_only)) {
        return;
    }
    s->told = true;
    log_error("store", NULL, "turned read-only", kv_str("why", s->reason.text));
    notify_emit(&s->read_only_signal, s->reason.text);
}

static void finish_op(struct store_op *op)
{
    struct store *s = op->store;

    s->operations++;
    s->failures += op->result < 0;
    tell_read_only(s);
    consider_checkpoint(s);
    op->done(op);
}

static void on_job_done(struct job *job)
{
    finish_op(op_of(job));
}

static void finish_refused(void *arg)
{
    struct store *s = arg;
    struct list ops;

    list_take(&s->refused, &ops);
    while (!list_empty(&ops)) {
        struct job *job = list_first(&ops, struct job, node);

        list_remove(&job->node);
        finish_op(op_of(job));
    }
}

static void submit(struct store *s, struct worker *worker, struct store_op *op)
{
    op->store = s;
    op->job.done = on_job_done;
    if (!worker) {
        list_append(&s->late, &op->job.node);
    } else if (worker_submit(worker, &op->job) < 0) {
        set_failed(op, -EAGAIN, "too many operations wait for the database");
        list_append(&s->refused, &op->job.node);
        timer_start(&s->refused_timer, 0);
    }
}

/* Also when the store is read-only: the refusal must not overtake what committed before. */
void store_write(struct store *s, struct store_op *op)
{
    op->job.run = NULL;
    submit(s, s->write_worker, op);
}

void store_read(struct store *s, struct store_op *op)
{
    op->job.run = run_read;
    submit(s, s->read_worker, op);
}

int store_write_now(struct store *s, struct store_op *op)
{
    struct list one;

    op->store = s;
    list_init(&one);
    list_append(&one, &op->job.node);
    run_group(&one, s);
    list_remove(&op->job.node);
    s->operations++;
    s->failures += op->result < 0;
    tell_read_only(s);
    return op->result;
}

int store_read_now(struct store *s, struct store_op *op)
{
    op->store = s;
    run_read(&op->job);
    s->operations++;
    s->failures += op->result < 0;
    return op->result;
}

/* ---- open and close ---- */

/* The log and its index take the file's mode: nobody else reads hashes and prompts. */
static int make_private_file(const char *path, struct error *reterr)
{
    _cleanup_(closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (fd < 0) {
        int r = -errno;

        return error_set(reterr, r, "cannot open the database '%s': %s", path, strerror(-r));
    }
    return 0;
}

static int use_wal(struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_script(db, "PRAGMA auto_vacuum=INCREMENTAL", reterr); /* before the first table */

    if (r < 0) {
        return r;
    }
    r = sql_query(db, &st, reterr, "PRAGMA journal_mode=WAL", "");
    if (r < 0) {
        return r;
    }
    r = sql_next(st, reterr);
    if (r > 0 && str_eq(sql_text(st, 0), "wal")) {
        return 0;
    }
    return r < 0 ? r : error_set(reterr, -EIO, "its file system cannot hold a write-ahead log");
}

static int open_writer(struct store *s, const struct store_options *o, struct error *reterr)
{
    int r = 0;

    if (!s->in_memory && !o->vfs) {
        r = make_private_file(o->path, reterr);
    }
    if (r >= 0) {
        r = sql_open(o->path, o->vfs, SQL_OPEN_WRITER, &s->writer.db, reterr);
    }
    if (r < 0) {
        return r;
    }
    r = migrate_check_owner(s->writer.db, reterr);
    if (r >= 0 && !s->in_memory) {
        r = use_wal(s->writer.db, reterr);
    }
    if (r >= 0) {
        r = migrate_run(s->writer.db, o->schemas, reterr);
    }
    if (r < 0) {
        error_prefix(reterr, "cannot use the database '%s': ", o->path);
    }
    return r;
}

static int open_checkpointer(struct store *s, const struct store_options *o, struct error *reterr)
{
    struct checkpointer *c = &s->checkpointer;
    int64_t page_bytes = 0;
    int r = sql_get_int(s->writer.db, "PRAGMA page_size", &page_bytes, reterr);

    if (r < 0) {
        return r;
    }
    r = sql_open(o->path, o->vfs, SQL_OPEN_WRITER, &c->db, reterr);
    if (r < 0) {
        return r;
    }
    sqlite3_busy_timeout(c->db->handle, CHECKPOINT_BUSY_MS);
    c->max_pages = (int64_t)(o->max_wal_bytes ? o->max_wal_bytes : MAX_WAL_BYTES) / page_bytes;
    sqlite3_wal_hook(s->writer.db->handle, on_wal_commit, c);
    return 0;
}

static int open_others(struct store *s, const struct store_options *o, struct error *reterr)
{
    int r = 0;

    for (size_t i = 0; r >= 0 && i < READERS; i++) {
        r = sql_open(o->path, o->vfs, SQL_OPEN_READER, &s->readers[i].db, reterr);
    }
    return r < 0 ? r : open_checkpointer(s, o, reterr);
}

static void create_workers(struct store *s, const struct store_options *o)
{
    size_t max_queued = o->max_queued ? o->max_queued : MAX_QUEUED;

    s->write_worker = worker_create(s->world, &(struct worker_options){ .name = "store-write",
                                                                        .threads = 1,
                                                                        .max_queued = max_queued,
                                                                        .run_batch = run_group,
                                                                        .arg = s,
                                                                        .max_batch = MAX_GROUP });
    s->read_worker = worker_create(s->world, &(struct worker_options){ .name = "store-read",
                                                                       .threads = READERS,
                                                                       .max_queued = max_queued });
    if (!s->in_memory) {
        s->checkpointer.worker = worker_create(
            s->world,
            &(struct worker_options){ .name = "store-log", .threads = 1, .max_queued = 1 });
    }
}

static struct store *create(struct world *w, const struct store_options *options)
{
    struct store *s = xcalloc(1, sizeof(*s));

    s->world = w;
    s->in_memory = str_eq(options->path, ":memory:");
    s->read_limit_ms = options->read_limit_ms ? options->read_limit_ms : READ_LIMIT_MS;
    pthread_mutex_init(&s->writer.lock, NULL);
    for (size_t i = 0; i < READERS; i++) {
        pthread_mutex_init(&s->readers[i].lock, NULL);
    }
    list_init(&s->refused);
    list_init(&s->late);
    timer_init(&s->refused_timer, w, "store refusals", finish_refused, s);
    notify_init(&s->read_only_signal);
    return s;
}

int store_open(struct world *w, const struct store_options *options, struct store **ret,
               struct error *reterr)
{
    struct store *s = create(w, options);
    int r = open_writer(s, options, reterr);

    if (r >= 0 && !s->in_memory) {
        r = open_others(s, options, reterr);
    }
    if (r < 0) {
        store_close(s);
        return r;
    }
    create_workers(s, options);
    *ret = s;
    return 0;
}

/* What done callbacks submitted after their worker had gone: here and now, in order. */
static void run_late(struct store *s)
{
    while (!list_empty(&s->late) || !list_empty(&s->refused)) {
        struct job *job = list_first(&s->late, struct job, node);

        if (job) {
            struct store_op *op = op_of(job);

            list_remove(&job->node);
            if (job->run) {
                run_read(job);
            } else {
                struct list one;

                list_init(&one);
                list_append(&one, &job->node);
                run_group(&one, s);
                list_remove(&job->node);
            }
            finish_op(op);
        }
        finish_refused(s);
    }
}

static void close_connection(struct connection *c)
{
    c->db = sql_close(c->db);
    pthread_mutex_destroy(&c->lock);
}

struct store *store_close(struct store *s)
{
    if (!s) {
        return NULL;
    }
    worker_destroy(TAKE_PTR(s->checkpointer.worker));
    worker_destroy(TAKE_PTR(s->read_worker));
    worker_destroy(TAKE_PTR(s->write_worker));
    run_late(s);
    timer_stop(&s->refused_timer);
    sql_close(s->checkpointer.db);
    for (size_t i = 0; i < READERS; i++) {
        close_connection(&s->readers[i]);
    }
    close_connection(&s->writer); /* the last one: copies the log into the file and removes it */
    free(s);
    return NULL;
}

/* ---- what is known from outside ---- */

const char *store_read_only_reason(const struct store *s)
{
    return atomic_load(&s->read_only) ? s->reason.text : NULL;
}

struct notify *store_read_only_signal(struct store *s)
{
    return &s->read_only_signal;
}

struct store_figures store_figures(const struct store *s)
{
    return (struct store_figures){
        .commits = atomic_load(&s->commits),
        .operations = s->operations,
        .failures = s->failures,
        .waiting = (s->write_worker ? worker_queued(s->write_worker) : 0) +
                   (s->read_worker ? worker_queued(s->read_worker) : 0),
    };
}
