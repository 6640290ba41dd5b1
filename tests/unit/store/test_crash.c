// SPDX-License-Identifier: Apache-2.0
/*
 * Acknowledged is there, once, and failed is not: random groups of writes on a disk that loses what
 * was not synced, power cuts at random operations (also while opening, migrating, checkpointing,
 * closing). And the disk itself is tested: with syncs left out, losses must be seen.
 */
#include "unit.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"
#include "crash_vfs.h"
#include "store/store.h"

static const char *const migrations[] = {
    "CREATE TABLE log(n INTEGER NOT NULL, payload TEXT); CREATE INDEX log_n ON log(n)",
    "CREATE TABLE counters(k INTEGER PRIMARY KEY, c INTEGER NOT NULL)",
};
static const struct store_schema schema = { "room", migrations, 2 };
static const struct store_schema *const schemas[] = { &schema, NULL };

enum { WRITES_MAX = 4096 };

struct history {
    struct world *w;
    struct store *s;
    struct crash_disk *disk;
    char dir[64], path[96];
    int64_t submitted;
    bool acknowledged[WRITES_MAX];
    bool failing[WRITES_MAX]; /* rolled back on purpose */
    uint64_t lost, doubled, damaged;
};

struct put_op {
    struct store_op op;
    struct history *h;
    int64_t n;
    size_t payload_bytes;
    bool fails;
};

static char letters[20001];

static int run_put(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct put_op *p = container_of(op, struct put_op, op);
    struct span payload = { letters, p->payload_bytes };
    int r = sql_run(db, reterr, "INSERT INTO log(n, payload) VALUES(?, ?)", "is", p->n, payload);

    if (r >= 0) {
        r = sql_run(db, reterr,
                    "INSERT INTO counters(k, c) VALUES(?, 1) ON CONFLICT DO UPDATE SET c = c + 1",
                    "i", p->n % 7);
    }
    if (r >= 0 && p->fails) {
        return error_set(reterr, -EBUSY, "on purpose");
    }
    return r;
}

static void on_put(struct store_op *op)
{
    struct put_op *p = container_of(op, struct put_op, op);

    p->h->acknowledged[p->n] = op->result >= 0;
    free(p);
}

static bool open_store(struct history *h)
{
    return store_open(h->w,
                      &(struct store_options){ .path = h->path,
                                               .vfs = "crash",
                                               .schemas = schemas,
                                               .max_wal_bytes = 200 << 10 },
                      &h->s, NULL) >= 0;
}

static void put_group(struct history *h)
{
    uint64_t size = 1 + world_random_below(h->w, 12);

    for (uint64_t i = 0; i < size && h->submitted < WRITES_MAX - 1; i++) {
        struct put_op *p = xcalloc(1, sizeof(*p));

        p->op.run = run_put;
        p->op.done = on_put;
        p->h = h;
        p->n = ++h->submitted;
        p->fails = world_random_below(h->w, 10) == 0;
        h->failing[p->n] = p->fails;
        p->payload_bytes = (size_t)world_random_below(
            h->w, world_random_below(h->w, 8) == 0 ? sizeof(letters) - 1 : 200);
        store_write(h->s, &p->op);
    }
}

/* Life until the lights go out. */
static void live(struct history *h)
{
    uint64_t scale = (uint64_t[]){ 30, 300, 1500 }[world_random_below(h->w, 3)];

    crash_disk_cut_after(h->disk, 1 + world_random_below(h->w, scale));
    while (!crash_disk_is_cut(h->disk) && h->submitted < WRITES_MAX - 1) {
        if (!h->s && !open_store(h)) {
            break;
        }
        put_group(h);
        if (world_random_below(h->w, 4) != 0) {
            sim_run_for(h->w, 1);
        }
        if (world_random_below(h->w, 20) == 0) {
            h->s = store_close(h->s);
        }
    }
    h->s = store_close(h->s);
}

static int64_t get(sqlite3 *db, const char *text, int64_t n)
{
    sqlite3_stmt *st = NULL;
    int64_t value = -1;

    if (sqlite3_prepare_v2(db, text, -1, &st, NULL) == SQLITE_OK) {
        if (sqlite3_bind_parameter_count(st) > 0) {
            sqlite3_bind_int64(st, 1, n);
        }
        if (sqlite3_step(st) == SQLITE_ROW) {
            value = sqlite3_column_int64(st, 0);
        }
    }
    sqlite3_finalize(st);
    return value;
}

static void check(struct history *h)
{
    sqlite3 *db = NULL;

    crash_disk_power_on(h->disk);
    if (sqlite3_open_v2(h->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "crash") !=
            SQLITE_OK ||
        get(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check", 0) != 1) {
        h->damaged++;
        sqlite3_close(db);
        return;
    }
    for (int64_t n = 1; n <= h->submitted; n++) {
        int64_t times = get(db, "SELECT count(*) FROM log WHERE n = ?", n);

        h->lost += h->acknowledged[n] && times < 1;
        h->doubled += times > (h->failing[n] ? 0 : 1);
    }
    if (get(db, "SELECT count(*) FROM log", 0) > 0) { /* each operation came whole or not at all */
        h->damaged +=
            get(db, "SELECT (SELECT sum(c) FROM counters) = (SELECT count(*) FROM log)", 0) != 1;
    }
    sqlite3_close(db);
}

/* Several lives on one disk; what was found is in *h. */
static void play(struct history *h, uint64_t seed, bool ignore_syncs)
{
    memset(h, 0, sizeof(*h));
    memset(letters, 'l', sizeof(letters) - 1);
    log_set_fd(-1);
    h->w = sim_create(seed);
    h->disk = crash_disk_create(seed);
    crash_disk_ignore_syncs(h->disk, ignore_syncs);
    snprintf(h->dir, sizeof(h->dir), "/tmp/berth-crash-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    snprintf(h->path, sizeof(h->path), "%s/berth.db", h->dir);
    for (int i = 0; i < 6 && h->damaged == 0; i++) {
        live(h);
        check(h);
    }
    world_destroy(h->w);
    crash_disk_power_on(h->disk);
    crash_disk_destroy(h->disk);
    unlink(h->path);
    assert_int_equal(rmdir(h->dir), 0);
}

static void test_acknowledged_is_there(void **state)
{
    uint64_t seed = test_seed("acknowledged is there");
    int rounds = getenv("SEED") ? 1 : 60;
    struct history *h = xmalloc(sizeof(*h));
    int64_t acknowledged = 0;

    for (int i = 0; i < rounds; i++) {
        play(h, seed + (uint64_t)i, false);
        if (h->lost || h->doubled || h->damaged) {
            fail_msg("SEED=%llu: %llu lost, %llu doubled, %llu damaged",
                     (unsigned long long)(seed + (uint64_t)i), (unsigned long long)h->lost,
                     (unsigned long long)h->doubled, (unsigned long long)h->damaged);
        }
        for (int64_t n = 1; n <= h->submitted; n++) {
            acknowledged += h->acknowledged[n];
        }
    }
    printf("%lld writes acknowledged and found, in %d rounds\n", (long long)acknowledged, rounds);
    assert_true(rounds == 1 || acknowledged > 1000);
    free(h);
}

/* The property above can be red: a disk that lies about syncs is caught. */
static void test_lying_disk_is_caught(void **state)
{
    struct history *h = xmalloc(sizeof(*h));
    uint64_t found = 0;

    for (uint64_t seed = 1; seed <= 30; seed++) {
        play(h, seed, true);
        found += h->lost + h->damaged;
    }
    assert_true(found > 0);
    free(h);
}

/* Commits under a pragma, cuts the power, counts what is left of 20. */
static int64_t survivors(uint64_t seed, const char *pragma)
{
    struct crash_disk *disk = crash_disk_create(seed);
    char path[] = "/tmp/berth-vfs-XXXXXX";
    int fd = mkstemp(path);
    sqlite3 *db = NULL;
    int64_t n;

    assert_int_equal(
        sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "crash"), 0);
    assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode=WAL; CREATE TABLE t(n)", 0, 0, NULL), 0);
    assert_int_equal(sqlite3_exec(db, pragma, 0, 0, NULL), 0);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(1)", 0, 0, NULL), 0);
    }
    crash_disk_cut_after(disk, 1);
    assert_int_not_equal(sqlite3_exec(db, "INSERT INTO t VALUES(1)", 0, 0, NULL), 0);
    assert_true(crash_disk_is_cut(disk));
    sqlite3_close(db);
    crash_disk_power_on(disk);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "crash"), 0);
    n = get(db, "SELECT count(*) FROM t", 0);
    sqlite3_close(db);
    crash_disk_destroy(disk);
    close(fd);
    unlink(path);
    return n;
}

static void test_synchronous_matters(void **state)
{
    int64_t full = 0, off = 0;

    for (uint64_t seed = 1; seed <= 50; seed++) {
        full += survivors(seed, "PRAGMA synchronous=FULL");
        off += survivors(seed, "PRAGMA synchronous=OFF");
    }
    assert_int_equal(full, 50 * 20);
    assert_true(off < 50 * 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_synchronous_matters),
        cmocka_unit_test(test_lying_disk_is_caught),
        cmocka_unit_test(test_acknowledged_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
