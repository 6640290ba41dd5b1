// SPDX-License-Identifier: Apache-2.0
/*
 * Store operations, in the real world (threads) and the simulated one: done comes once and in
 * order, after the commit; failures stay alone; a full disk makes the store read-only with the
 * reason; closing finishes what stands.
 */
#include "unit.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "crash_vfs.h"
#include "store/store.h"

static const char *const migrations[] = {
    "CREATE TABLE t(id INTEGER PRIMARY KEY, payload TEXT)",
    "ALTER TABLE t ADD COLUMN n INTEGER NOT NULL DEFAULT 7",
};
static const struct store_schema schema_v1 = { "room", migrations, 1 };
static const struct store_schema schema_v2 = { "room", migrations, 2 };
static const struct store_schema other = { "other", migrations, 0 };
static const struct store_schema *const v1[] = { &schema_v1, NULL };
static const struct store_schema *const v2[] = { &schema_v2, &other, NULL };
static const struct store_schema *const none[] = { NULL };

struct fixture {
    struct world *w;
    struct store *s;
    char dir[64], path[96];
    int done, failed;
    int64_t last_id;
    bool ordered;
};

struct put_op {
    struct store_op op;
    struct fixture *f;
    int64_t id;
    const char *payload;
    int repeat; /* times that done submits it again */
    int stop_at;
};

static int run_put(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct put_op *p = container_of(op, struct put_op, op);

    return sql_run(db, reterr, "INSERT INTO t(id, payload) VALUES(?, ?)", "it", p->id, p->payload);
}

static void on_put(struct store_op *op)
{
    struct put_op *p = container_of(op, struct put_op, op);
    struct fixture *f = p->f;

    f->done++;
    f->failed += op->result < 0;
    f->ordered = f->ordered && p->id >= f->last_id;
    f->last_id = p->id;
    if (p->repeat > 0) {
        p->repeat--;
        p->id++;
        store_write(f->s, op);
    } else if (f->done == p->stop_at) {
        world_stop(f->w);
    }
}

static struct put_op put_op(struct fixture *f, int64_t id, const char *payload)
{
    return (struct put_op){
        .op = { .run = run_put, .done = on_put }, .f = f, .id = id, .payload = payload
    };
}

struct count_op {
    struct store_op op;
    const char *text;
    int64_t value;
    bool done;
};

static int run_count(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct count_op *c = container_of(op, struct count_op, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, c->text, "");

    r = r < 0 ? r : sql_next(st, reterr);
    if (r > 0) {
        c->value = sql_int(st, 0);
    }
    return r;
}

static int64_t get(struct store *s, const char *text)
{
    struct count_op c = { .op = { .run = run_count }, .text = text };

    assert_true(store_read_now(s, &c.op) >= 0);
    return c.value;
}

static struct fixture *setup(bool real)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    f->w = real ? world_create() : sim_create(1);
    f->ordered = true;
    snprintf(f->dir, sizeof(f->dir), "/tmp/berth-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/berth.db", f->dir);
    log_set_fd(-1);
    return f;
}

static void teardown(struct fixture *f)
{
    f->s = store_close(f->s);
    world_destroy(f->w);
    unlink(f->path);
    assert_int_equal(rmdir(f->dir), 0); /* the log and its index have gone with the store */
    free(f);
}

static int reopen(struct fixture *f, const struct store_schema *const *schemas, struct error *e)
{
    f->s = store_close(f->s);
    return store_open(f->w, &(struct store_options){ .path = f->path, .schemas = schemas }, &f->s,
                      e);
}

static void test_migrations(void **state)
{
    struct fixture *f = setup(false);
    struct error e = { 0 };
    struct put_op p = put_op(f, 1, "a");
    struct stat st;

    assert_int_equal(reopen(f, v1, &e), 0);
    assert_int_equal(store_write_now(f->s, &p.op), 1);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(reopen(f, v2, &e), 0);
    assert_int_equal(get(f->s, "SELECT n FROM t"), 7);
    assert_int_equal(get(f->s, "PRAGMA auto_vacuum"), 2);
    assert_int_equal(reopen(f, v2, &e), 0); /* nothing to do */
    assert_int_equal(reopen(f, v1, &e), -ENOSYS);
    assert_non_null(strstr(e.text, "newer berth"));
    assert_int_equal(reopen(f, none, &e), -ENOSYS);
    assert_int_equal(reopen(f, v2, &e), 0); /* the refusals changed nothing */
    teardown(f);
}

static void test_foreign_file(void **state)
{
    static const char *const bad[] = { "CREATE TABLE t(x); NONSENSE" };
    static const struct store_schema bad_schema = { "room", bad, 1 };
    const struct store_schema *const schemas[] = { &bad_schema, NULL };
    struct fixture *f = setup(false);
    struct error e = { 0 };
    FILE *out;

    assert_int_equal(reopen(f, schemas, &e), -EINVAL);
    assert_non_null(strstr(e.text, "migration 1 of 'room'"));
    assert_int_equal(reopen(f, v1, &e), 0); /* the failed migration left nothing */
    f->s = store_close(f->s);
    out = fopen(f->path, "w");
    fputs("this is a text, not a database, however long one may look at it "
          "..........................",
          out);
    fclose(out);
    assert_true(reopen(f, v1, &e) < 0);
    assert_non_null(strstr(e.text, f->path));
    teardown(f);
}

static void test_failure_alone(void **state)
{
    struct fixture *f = setup(false);
    struct put_op p[4];

    assert_int_equal(reopen(f, v1, NULL), 0);
    for (int i = 0; i < 4; i++) {
        p[i] = put_op(f, i == 2 ? 2 : i + 1, "x"); /* 1 2 2 4 */
        store_write(f->s, &p[i].op);
        assert_int_equal(f->done, 0); /* never within the call */
    }
    sim_run_for(f->w, 10);
    assert_int_equal(f->done, 4);
    assert_int_equal(p[2].op.result, -EEXIST);
    assert_int_equal(p[2].op.error.code, -EEXIST);
    assert_int_equal(f->failed, 1);
    assert_int_equal(get(f->s, "SELECT count(*) FROM t"), 3);
    assert_int_equal(store_figures(f->s).commits, 1);
    assert_int_equal(store_figures(f->s).failures, 1);
    teardown(f);
}

/* Ten thousand of one turn, real threads: in order, few commits. */
static void test_groups(void **state)
{
    enum { N = 10000 };
    struct fixture *f = setup(true);
    struct put_op *p = xcalloc(N, sizeof(*p));

    assert_int_equal(reopen(f, v1, NULL), 0);
    for (int i = 0; i < N; i++) {
        p[i] = put_op(f, i + 1, "payload");
        p[i].stop_at = N;
        store_write(f->s, &p[i].op);
    }
    world_run(f->w);
    assert_int_equal(f->done, N);
    assert_int_equal(f->failed, 0);
    assert_true(f->ordered);
    assert_int_equal(get(f->s, "SELECT count(*) FROM t"), N);
    assert_true(store_figures(f->s).commits <= 20);
    assert_int_equal(store_figures(f->s).waiting, 0);
    free(p);
    teardown(f);
}

static void test_queue_limit(void **state)
{
    struct fixture *f = setup(false);
    struct put_op p[5];

    assert_int_equal(
        store_open(f->w, &(struct store_options){ .path = f->path, .schemas = v1, .max_queued = 3 },
                   &f->s, NULL),
        0);
    for (int i = 0; i < 5; i++) {
        p[i] = put_op(f, i + 1, "x");
        store_write(f->s, &p[i].op);
    }
    assert_int_equal(f->done, 0);
    sim_run_for(f->w, 10);
    assert_int_equal(f->done, 5);
    assert_int_equal(p[2].op.result, 1);
    assert_int_equal(p[3].op.result, -EAGAIN);
    assert_int_equal(p[4].op.result, -EAGAIN);
    teardown(f);
}

/* Closing runs every done, also of what those submit: reads, writes and refusals. */
static void test_close(void **state)
{
    for (int real = 0; real < 2; real++) {
        struct fixture *f = setup(real);
        struct put_op p[3];

        assert_int_equal(reopen(f, v1, NULL), 0);
        for (int i = 0; i < 3; i++) {
            p[i] = put_op(f, 100 * i + 1, "x");
            p[i].repeat = 5;
            store_write(f->s, &p[i].op);
        }
        f->s = store_close(f->s);
        assert_int_equal(f->done, 18);
        assert_int_equal(f->failed, 0);
        assert_int_equal(reopen(f, v1, NULL), 0);
        assert_int_equal(get(f->s, "SELECT count(*) FROM t"), 18);
        teardown(f);
    }
}

static void on_count(struct store_op *op)
{
    container_of(op, struct count_op, op)->done = true;
}

static void test_reads(void **state)
{
    static const char *const paths[] = { NULL, ":memory:" };

    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        struct fixture *f = setup(false);
        struct count_op good = { .op = { .run = run_count, .done = on_count },
                                 .text = "SELECT count(*) FROM t" };
        struct count_op writes = { .op = { .run = run_count, .done = on_count },
                                   .text = "DELETE FROM t RETURNING id" };
        struct count_op endless = {
            .op = { .run = run_count, .done = on_count },
            .text = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) "
                    "SELECT count(*) FROM c"
        };
        struct put_op p = put_op(f, 1, "x");

        assert_int_equal(store_open(f->w,
                                    &(struct store_options){ .path = paths[i] ? paths[i] : f->path,
                                                             .schemas = v1,
                                                             .read_limit_ms = 20 },
                                    &f->s, NULL),
                         0);
        assert_int_equal(store_write_now(f->s, &p.op), 1);
        store_read(f->s, &writes.op);
        store_read(f->s, &endless.op);
        store_read(f->s, &good.op);
        sim_run_for(f->w, 10);
        assert_true(writes.done && endless.done && good.done);
        assert_int_equal(writes.op.result, -EROFS);
        assert_int_equal(endless.op.result, -ETIMEDOUT);
        assert_int_equal(good.value, 1);
        assert_null(store_read_only_reason(f->s)); /* a reader's trouble is not the store's */
        p.id = 2;
        assert_int_equal(store_write_now(f->s, &p.op), 1);
        teardown(f);
    }
}

struct told {
    struct listener listener;
    int times;
};

static void on_read_only(void *owner, const void *what)
{
    struct told *t = owner;

    t->times++;
    assert_non_null(strstr(what, "full"));
}

static void test_disk_full(void **state)
{
    static char big[200000];
    struct fixture *f = setup(false);
    struct crash_disk *disk = crash_disk_create(1);
    struct told told = { .listener = { .fn = on_read_only, .owner = &told } };
    struct put_op first = put_op(f, 1, "small"), p[3], late = put_op(f, 9, "small");

    memset(big, 'x', sizeof(big) - 1);
    crash_disk_set_capacity(disk, 256 << 10);
    assert_int_equal(
        store_open(f->w, &(struct store_options){ .path = f->path, .vfs = "crash", .schemas = v1 },
                   &f->s, NULL),
        0);
    notify_add(store_read_only_signal(f->s), &told.listener);
    store_write(f->s, &first.op);
    sim_run_for(f->w, 10);
    assert_int_equal(first.op.result, 1);
    for (int i = 0; i < 3; i++) {
        p[i] = put_op(f, i + 2, big);
        store_write(f->s, &p[i].op);
    }
    sim_run_for(f->w, 10);
    store_write(f->s, &late.op);
    sim_run_for(f->w, 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(p[i].op.result, -EROFS);
    }
    assert_int_equal(late.op.result, -EROFS);
    assert_non_null(strstr(late.op.error.text, "full"));
    assert_non_null(strstr(store_read_only_reason(f->s), "full"));
    assert_int_equal(told.times, 1);
    assert_int_equal(get(f->s, "SELECT count(*) FROM t"), 1); /* reading goes on */
    f->s = store_close(f->s);

    crash_disk_set_capacity(disk, 0); /* room again: a restart writes again */
    assert_int_equal(
        store_open(f->w, &(struct store_options){ .path = f->path, .vfs = "crash", .schemas = v1 },
                   &f->s, NULL),
        0);
    assert_int_equal(store_write_now(f->s, &late.op), 1);
    assert_int_equal(get(f->s, "SELECT count(*) FROM t"), 2);
    f->s = store_close(f->s);
    crash_disk_destroy(disk);
    teardown(f);
}

/* Each in a commit of its own, ids from first + 1. */
static void put_many(struct fixture *f, int first, int n, const char *payload)
{
    for (int i = first; i < first + n; i++) {
        struct put_op p = put_op(f, i + 1, payload);

        store_write(f->s, &p.op);
        sim_run_for(f->w, 1);
        assert_int_equal(p.op.result, 1);
    }
}

/* The log is copied into the file as it grows, and cut back when it is too long. */
static void test_checkpoints(void **state)
{
    static char payload[3000];
    struct fixture *f = setup(false);
    struct crash_disk *disk = crash_disk_create(1);
    char wal[128];
    uint64_t largest = 0;
    sqlite3 *reader = NULL;

    memset(payload, 'p', sizeof(payload) - 1);
    snprintf(wal, sizeof(wal), "%s-wal", f->path);
    assert_int_equal(
        store_open(f->w,
                   &(struct store_options){
                       .path = f->path, .vfs = "crash", .schemas = v1, .max_wal_bytes = 1 << 20 },
                   &f->s, NULL),
        0);
    for (int i = 0; i < 3000; i += 100) {
        put_many(f, i, 100, payload);
        largest = MAX_OF(largest, crash_disk_file_size(disk, wal));
    }
    assert_true(largest < 2 << 20);

    /* A reader from outside holds the log up; when it has gone, the log is cut back. */
    assert_int_equal(sqlite3_open_v2(f->path, &reader, SQLITE_OPEN_READWRITE, "crash"), SQLITE_OK);
    assert_int_equal(sqlite3_exec(reader, "BEGIN; SELECT * FROM t LIMIT 1", NULL, NULL, NULL),
                     SQLITE_OK);
    put_many(f, 3000, 1000, payload);
    assert_true(crash_disk_file_size(disk, wal) > 3 << 20);
    sqlite3_close(reader);
    put_many(f, 4000, 1000, payload);
    assert_true(crash_disk_file_size(disk, wal) < 2 << 20);
    assert_true(crash_disk_file_size(disk, f->path) > 8 << 20);
    f->s = store_close(f->s);
    crash_disk_destroy(disk);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_migrations),    cmocka_unit_test(test_foreign_file),
        cmocka_unit_test(test_failure_alone), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_queue_limit),   cmocka_unit_test(test_close),
        cmocka_unit_test(test_reads),         cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_checkpoints),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
