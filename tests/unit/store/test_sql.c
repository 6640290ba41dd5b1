// SPDX-License-Identifier: Apache-2.0
/* The hand on a connection: values come back as they went in, errors have their codes, statements
 * are reused. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "store/sql_int.h"

static struct sql *open_memory(void)
{
    struct sql *db = NULL;

    assert_int_equal(sql_open(":memory:", NULL, SQL_OPEN_WRITER, &db, NULL), 0);
    assert_int_equal(sql_script(db,
                                "CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT UNIQUE, "
                                "n INTEGER CHECK(n > 0), d REAL, b BLOB)",
                                NULL),
                     0);
    return db;
}

static void test_values(void **state)
{
    struct sql *db = open_memory();
    struct sql_stmt *st = NULL;
    struct span blob = { "a\0b", 3 }, none = { NULL, 0 };

    assert_int_equal(sql_run(db, NULL, "INSERT INTO t(name, n, d, b) VALUES(?, ?, ?, ?)", "tidb",
                             "x'; DROP TABLE t; --", (int64_t)INT64_MAX, 1.5, blob),
                     1);
    assert_int_equal(
        sql_run(db, NULL, "INSERT INTO t(name, n, d, b) VALUES(?, ?, ?, ?)", "snnb", none, none),
        1);
    assert_int_equal(sql_last_id(db), 2);
    assert_int_equal(sql_query(db, &st, NULL, "SELECT name, n, d, b FROM t ORDER BY id", ""), 0);
    assert_int_equal(sql_next(st, NULL), 1);
    assert_string_equal(sql_text(st, 0), "x'; DROP TABLE t; --");
    assert_true(sql_int(st, 1) == INT64_MAX);
    assert_true(sql_double(st, 2) == 1.5);
    assert_int_equal(sql_span(st, 3).n, 3);
    assert_memory_equal(sql_span(st, 3).p, "a\0b", 3);
    assert_int_equal(sql_next(st, NULL), 1);
    for (int i = 0; i < 4; i++) {
        assert_true(sql_is_null(st, i));
    }
    assert_null(sql_text(st, 0));
    assert_null(sql_span(st, 3).p);
    assert_int_equal(sql_next(st, NULL), 0);
    assert_int_equal(sql_next(st, NULL), 0); /* does not begin again */
    sql_donep(&st);
    sql_close(db);
}

static void test_changed_rows(void **state)
{
    struct sql *db = open_memory();

    for (int i = 1; i <= 3; i++) {
        assert_int_equal(sql_run(db, NULL, "INSERT INTO t(n) VALUES(?)", "i", (int64_t)i), 1);
    }
    assert_int_equal(sql_run(db, NULL, "UPDATE t SET d = 1 WHERE n >= ?", "i", (int64_t)2), 2);
    assert_int_equal(sql_run(db, NULL, "UPDATE t SET d = 1 WHERE n >= ?", "i", (int64_t)9), 0);
    assert_int_equal(sql_run(db, NULL, "SELECT * FROM t", ""), 0);
    assert_int_equal(sql_run(db, NULL, "DELETE FROM t", ""), 3);
    sql_close(db);
}

static void test_errors(void **state)
{
    struct sql *db = open_memory();
    struct error e = { 0 };

    assert_int_equal(sql_run(db, &e, "INSERT INTO t(name) VALUES(?)", "t", "a"), 1);
    assert_int_equal(sql_run(db, &e, "INSERT INTO t(name) VALUES(?)", "t", "a"), -EEXIST);
    assert_non_null(strstr(e.text, "t.name"));
    assert_int_equal(sql_run(db, &e, "INSERT INTO t(n) VALUES(?)", "i", (int64_t)0), -EINVAL);
    assert_int_equal(sql_run(db, &e, "NONSENSE", ""), -EINVAL);
    assert_int_equal(sql_run(db, &e, "SELECT \"no such column\" FROM t", ""), -EINVAL);
    assert_int_equal(db->broken.code, 0); /* none of these makes the database unusable */
    assert_int_equal(db->in_use, 0);
    /* A statement that has failed works again. */
    assert_int_equal(sql_run(db, &e, "INSERT INTO t(name) VALUES(?)", "t", "b"), 1);
    sql_close(db);
}

static void test_nested_and_cached(void **state)
{
    static const char text[] = "SELECT id FROM t ORDER BY id";
    struct sql *db = open_memory();
    struct sql_stmt *a = NULL, *b = NULL;

    assert_int_equal(sql_run(db, NULL, "INSERT INTO t(n) VALUES(1), (2)", ""), 2);
    assert_int_equal(sql_query(db, &a, NULL, text, ""), 0);
    assert_int_equal(sql_next(a, NULL), 1);
    assert_int_equal(sql_query(db, &b, NULL, text, ""), 0); /* the same text, inside */
    assert_int_equal(sql_next(b, NULL), 1);
    assert_int_equal(sql_next(a, NULL), 1);
    assert_int_equal(sql_int(a, 0), 2);
    assert_int_equal(sql_int(b, 0), 1);
    sql_donep(&a);
    sql_donep(&b);
    assert_int_equal(sql_query(db, &a, NULL, text, ""), 0);
    assert_int_equal(sql_next(a, NULL), 1);
    assert_int_equal(sql_int(a, 0), 1); /* from the start again */
    sql_donep(&a);
    for (int i = 0; i < 2 * SQL_CACHE_MAX; i++) { /* the cache does not grow without end */
        char many[64];

        snprintf(many, sizeof(many), "SELECT %d FROM t", i);
        assert_int_equal(sql_run(db, NULL, many, ""), 0);
    }
    assert_true(db->cache.count <= SQL_CACHE_MAX);
    sql_close(db);
}

static void test_limit(void **state)
{
    static const char endless[] =
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c";
    struct sql *db = open_memory();

    sql_set_limit_ms(db, 20);
    assert_int_equal(sql_run(db, NULL, endless, ""), -ETIMEDOUT);
    sql_set_limit_ms(db, 0);
    assert_int_equal(sql_run(db, NULL, "SELECT 1", ""), 0);
    sql_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values), cmocka_unit_test(test_changed_rows),
        cmocka_unit_test(test_errors), cmocka_unit_test(test_nested_and_cached),
        cmocka_unit_test(test_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
