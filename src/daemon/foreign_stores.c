// SPDX-License-Identifier: Apache-2.0
/*
 * Databases and queues that other programs keep beside them, and that this build does not: who
 * configures one is told so at start. The rule: what somebody relies on is never quietly replaced
 * by something else. berth keeps all it knows in SQLite in its data directory.
 */
#include "daemon/foreign_stores.h"

#include <strings.h>

#include "base/str.h"

// clang-format off
#define OTHERS "Named by other programs for a database server, which this build cannot use: refused when set."
#define QUEUES "Named by other programs for Redis, which this build cannot use: refused when set."
static const struct option_row rows[] = {
    { "database.driver", OPTION_STRING, "", 0, 0, NULL, false, false,
      "The database: sqlite, in the data directory, is what there is; another one is refused. Said here, it also makes what is said of other databases and of Redis be passed over, here and in the environment." },
    { "database.url", OPTION_STRING, "", 0, 0, NULL, false, true,
      "The database as a URL; only sqlite: is accepted, and the file stays in the data directory." },
    { "database.host", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.port", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.username", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.password", OPTION_STRING, "", 0, 0, NULL, false, true, OTHERS },
    { "database.database", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.charset", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.parse_time", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.loc", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.max_idle_conns", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.max_open_conns", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "database.conn_max_lifetime", OPTION_STRING, "", 0, 0, NULL, false, false, OTHERS },
    { "redis.url", OPTION_STRING, "", 0, 0, NULL, false, true, QUEUES },
    { "redis.host", OPTION_STRING, "", 0, 0, NULL, false, false, QUEUES },
    { "redis.port", OPTION_STRING, "", 0, 0, NULL, false, false, QUEUES },
    { "redis.db", OPTION_STRING, "", 0, 0, NULL, false, false, QUEUES },
    { "redis.password", OPTION_STRING, "", 0, 0, NULL, false, true, QUEUES },
    { "redis.pool_size", OPTION_STRING, "", 0, 0, NULL, false, false, QUEUES },
    { "redis.min_idle_conns", OPTION_STRING, "", 0, 0, NULL, false, false, QUEUES },
};
// clang-format on
const struct option_table foreign_store_options = { rows, ARRAY_SIZE(rows) };

static bool is_sqlite(const char *driver)
{
    return strcasecmp(driver, "sqlite") == 0 || strcasecmp(driver, "sqlite3") == 0;
}

/* "sqlite:///x.db", also with a dialect's name: "sqlite+aiosqlite:" */
static bool is_sqlite_url(const char *url)
{
    return strncasecmp(url, "sqlite", 6) == 0 && strchr("3:+", url[6]) != NULL && url[6] != '\0';
}

/* name: the key or variable, where: its place. */
static int refuse_database(const char *name, const char *where, const char *advice,
                           struct error *reterr)
{
    return error_set(reterr, -EINVAL,
                     "%s (%s) asks for a database server, and this build has none: berth keeps "
                     "everything in SQLite in its data directory; %s",
                     name, where, advice);
}

static int refuse_redis(const char *name, const char *where, const char *advice,
                        struct error *reterr)
{
    return error_set(reterr, -EINVAL,
                     "%s (%s) asks for Redis, and this build has none: berth keeps its queues in "
                     "SQLite in its data directory; %s",
                     name, where, advice);
}

/* ---- the configuration ---- */

static const char out_of_file[] = "take it out, or say 'database.driver: sqlite'";

static int check_rows(const struct config *config, bool sqlite, struct error *reterr)
{
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const char *name = rows[i].name, *value = config_string(config, name);
        const char *where = config_source(config, name);

        if (!*value || str_eq(where, "default")) {
            continue;
        }
        if (str_starts(name, "redis.")) {
            if (!sqlite) {
                return refuse_redis(name, where, out_of_file, reterr);
            }
            continue;
        }
        if (str_eq(name, "database.driver") ? !is_sqlite(value)
            : str_eq(name, "database.url")  ? !is_sqlite_url(value)
                                            : !sqlite) {
            return refuse_database(name, where, out_of_file, reterr);
        }
    }
    return 0;
}

/* ---- the environment, as other programs read it ---- */

/* The value of PREFIXname, not empty, else NULL. */
static const char *get(const char *const *env, const char *name)
{
    const size_t n = strlen(name);

    for (; env && *env; env++) {
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=' && (*env)[n + 1]) {
            return *env + n + 1;
        }
    }
    return NULL;
}

static const char unset[] = "if it is meant for another program, start berth without it (env -u)";

static int check_database_variable(const char *const *env, const char *name,
                                   bool (*fine)(const char *), struct error *reterr)
{
    const char *value = get(env, name);

    if (!value || fine(value)) {
        return 0;
    }
    return refuse_database(name, "environment", unset, reterr);
}

static bool never_fine(const char *value)
{
    return false;
}

static int check_databases(const char *const *env, struct error *reterr)
{
    static const char *const drivers[] = { "DB_DRIVER", "LLM_SCHEDULER_DB_DRIVER" };
    static const char *const hosts[] = { "DB_HOST", "LLM_SCHEDULER_DB_HOST" };
    int r = check_database_variable(env, "DATABASE_URL", is_sqlite_url, reterr);

    for (size_t i = 0; i < ARRAY_SIZE(drivers) && r == 0; i++) {
        const char *driver = get(env, drivers[i]);

        r = check_database_variable(env, drivers[i], is_sqlite, reterr);
        if (r == 0 && !driver) { /* a driver of sqlite makes the host mean nothing */
            r = check_database_variable(env, hosts[i], never_fine, reterr);
        }
    }
    return r;
}

static int check_queues(const char *const *env, struct error *reterr)
{
    static const char *const names[] = { "REDIS_URL", "REDIS_HOST", "LLM_SCHEDULER_REDIS_HOST" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (get(env, names[i])) {
            return refuse_redis(names[i], "environment", unset, reterr);
        }
    }
    return 0;
}

int foreign_stores_check(const struct config *config, const char *const *env, struct error *reterr)
{
    const bool sqlite = is_sqlite(config_string(config, "database.driver"));
    int r = check_rows(config, sqlite, reterr);

    if (r == 0 && !sqlite) {
        r = check_databases(env, reterr);
    }
    return r < 0 || sqlite ? r : check_queues(env, reterr);
}
