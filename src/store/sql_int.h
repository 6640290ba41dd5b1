// SPDX-License-Identifier: Apache-2.0
/* Inside of the store: one SQLite connection with its statement cache and its deadline. */
#pragma once

#include <sqlite3.h>
#include <stddef.h>

#include "base/map.h"
#include "store/sql.h"

enum { SQL_CACHE_MAX = 128, SQL_RECENT = 64 };

struct sql_stmt;

struct sql {
    sqlite3 *handle;
    struct map cache;                    /* text → struct sql_stmt */
    struct sql_stmt *recent[SQL_RECENT]; /* of the cache, by where their text stands */
    size_t in_use;                       /* statements given out and not given back */
    uint64_t deadline_ms; /* CLOCK_MONOTONIC; statements beyond it end -ETIMEDOUT; 0: none */
    /* The first error of a kind after which nothing more may be written; code 0 while there is
     * none. */
    struct error broken;
};

enum sql_mode { SQL_OPEN_WRITER, SQL_OPEN_READER };

/* Opens and sets what every connection of ours has. The file is made by a writer only. */
int sql_open(const char *path, const char *vfs, enum sql_mode mode, struct sql **ret,
             struct error *reterr) _must_check_;
/* Accepts NULL, returns NULL. All statements must be back. */
struct sql *sql_close(struct sql *db);

/* Runs any number of statements without arguments or rows: pragmas, BEGIN, migrations. */
int sql_script(struct sql *db, const char *text, struct error *reterr) _must_check_;
/* The one integer that the statement gives (-ENOENT without a row). */
int sql_get_int(struct sql *db, const char *text, int64_t *ret, struct error *reterr) _must_check_;

/* Statements from now on may take so long; 0 takes the limit away. */
void sql_set_limit_ms(struct sql *db, uint64_t limit_ms);
/* Tells whether a transaction is open: SQLite ends it by itself after some errors. */
bool sql_in_transaction(const struct sql *db);
