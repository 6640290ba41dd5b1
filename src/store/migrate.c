// SPDX-License-Identifier: Apache-2.0
/*
 * Migrations: the table berth_schema says which version each room's tables have. A room or a
 * version that this program does not know comes from a newer one, and is left alone.
 */
#include "store/migrate.h"

#include <stdio.h>

enum { APPLICATION_ID = 0x62727468 }; /* "brth", in the header of the file */

int migrate_check_owner(struct sql *db, struct error *reterr)
{
    int64_t id = 0, objects = 0;
    int r = sql_get_int(db, "PRAGMA application_id", &id, reterr);

    if (r < 0) {
        return r;
    }
    r = sql_get_int(db, "SELECT count(*) FROM sqlite_schema", &objects, reterr);
    if (r < 0) {
        return r;
    }
    if (id == APPLICATION_ID || (id == 0 && objects == 0)) {
        return 0;
    }
    return error_set(reterr, -EINVAL, "it is an SQLite database, but not one of berth's");
}

static const struct store_schema *find_schema(const struct store_schema *const *schemas,
                                              const char *room)
{
    for (; *schemas; schemas++) {
        if (str_eq((*schemas)->room, room)) {
            return *schemas;
        }
    }
    return NULL;
}

static int check_versions(struct sql *db, const struct store_schema *const *schemas,
                          struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT room, version FROM berth_schema ORDER BY room", "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        const struct store_schema *schema = find_schema(schemas, sql_text(st, 0));

        if (!schema || sql_int(st, 1) > (int64_t)schema->count) {
            return error_set(
                reterr, -ENOSYS,
                "it was written by a newer berth (its tables of '%s' have version %lld, "
                "this berth knows %zu)",
                sql_text(st, 0), (long long)sql_int(st, 1), schema ? schema->count : (size_t)0);
        }
    }
    return r;
}

static int version_of(struct sql *db, const char *room, int64_t *ret, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT version FROM berth_schema WHERE room = ?", "t", room);

    if (r < 0) {
        return r;
    }
    r = sql_next(st, reterr);
    *ret = r > 0 ? sql_int(st, 0) : 0;
    return r < 0 ? r : 0;
}

static int migrate_room(struct sql *db, const struct store_schema *schema, struct error *reterr)
{
    int64_t version = 0;
    int r = version_of(db, schema->room, &version, reterr);

    if (r < 0 || (size_t)version == schema->count) {
        return r;
    }
    for (size_t i = (size_t)version; i < schema->count; i++) {
        r = sql_script(db, schema->migrations[i], reterr);
        if (r < 0) {
            error_prefix(reterr, "migration %zu of '%s': ", i + 1, schema->room);
            return r;
        }
    }
    return sql_run(db, reterr,
                   "INSERT INTO berth_schema(room, version) VALUES(?, ?) "
                   "ON CONFLICT(room) DO UPDATE SET version = excluded.version",
                   "ti", schema->room, (int64_t)schema->count);
}

static int migrate_all(struct sql *db, const struct store_schema *const *schemas,
                       struct error *reterr)
{
    char pragma[64];
    int r = sql_script(db,
                       "CREATE TABLE IF NOT EXISTS berth_schema("
                       "room TEXT PRIMARY KEY, version INTEGER NOT NULL) STRICT, WITHOUT ROWID",
                       reterr);

    if (r < 0) {
        return r;
    }
    r = check_versions(db, schemas, reterr);
    for (size_t i = 0; r >= 0 && schemas[i]; i++) {
        r = migrate_room(db, schemas[i], reterr);
    }
    if (r < 0) {
        return r;
    }
    snprintf(pragma, sizeof(pragma), "PRAGMA application_id=%d", APPLICATION_ID);
    return sql_script(db, pragma, reterr);
}

int migrate_run(struct sql *db, const struct store_schema *const *schemas, struct error *reterr)
{
    int r = sql_script(db, "BEGIN IMMEDIATE", reterr);

    if (r < 0) {
        return r;
    }
    r = migrate_all(db, schemas, reterr);
    if (r >= 0) {
        r = sql_script(db, "COMMIT", reterr);
    }
    if (r < 0 && sql_in_transaction(db)) {
        int ignored = sql_script(db, "ROLLBACK", NULL);

        (void)ignored;
    }
    return r < 0 ? r : 0;
}
