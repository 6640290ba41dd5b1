// SPDX-License-Identifier: Apache-2.0
/*
 * The store: the truth. One writer thread that groups what waits into one transaction; readers of
 * their own; checkpoints in a thread and connection of their own. Rooms own their tables and their
 * SQL; the store knows none of them.
 *
 * Commit before effect: an operation's `done` runs on the loop after the commit that holds it, so
 * replies, events and signals belong there. An operation that fails is rolled back alone
 * (to a savepoint); the others of its group commit. When the disk fails (full, I/O error, damaged
 * file), the group that met it ends with -EROFS and the reason, and so does every later write: the
 * store is read-only until berth is started again. (Whether the group that met an I/O error while
 * committing is there after the restart is then not known.)
 *
 * The file is not searched for damage at open: that costs time in proportion to its size, and
 * SQLite's journal makes a power cut harmless. A damaged page is found when it is read, and told.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/notify.h"
#include "base/worker.h"
#include "base/world.h"
#include "store/sql.h"

struct store;

/* The tables of one room: migrations in order, each applied once; all that an open applies are one
 * transaction. A row is never edited after release. */
struct store_schema {
    const char *room;
    const char *const *migrations; /* SQL; migration n is migrations[n - 1] */
    size_t count;
};

struct store_options {
    const char *path; /* of the SQLite file, or ":memory:" (then one connection serves all) */
    const char *vfs;  /* NULL: the default one (tests give theirs) */
    const struct store_schema *const *schemas; /* NULL-terminated */
    size_t max_queued;                         /* operations of a kind (reads, writes); 0: 100000 */
    uint64_t read_limit_ms; /* a read operation that runs longer ends -ETIMEDOUT; 0: 5000 */
    uint64_t max_wal_bytes; /* beyond it the write-ahead log is cut back; 0: 64 MiB */
};

/* Opens, checks, migrates; on the caller's thread, before the loop runs. Refused with a sentence: a
 * database that a newer berth has written (-ENOSYS), a file that is not berth's (-EINVAL), what
 * SQLite cannot open. */
int store_open(struct world *w, const struct store_options *options, struct store **ret,
               struct error *reterr) _must_check_;
/* Finishes what was submitted, and what is submitted by the done callbacks that this runs; cuts the
 * log back, closes. Accepts NULL, returns NULL. */
struct store *store_close(struct store *s);

/* One operation, embedded in the caller's struct, zeroed but for run and done. */
struct store_op {
    struct job job; /* the store's */
    struct store *store;
    /* On a thread of the store's, inside a transaction (writes) or a snapshot (reads). Touches
     * nothing but the struct that embeds op, and db. Negative errno rolls this operation back. */
    int (*run)(struct store_op *op, struct sql *db, struct error *reterr);
    /* On the loop, after the commit (result >= 0: what run returned) or the failure (negative
     * errno, the sentence in error). Owns the op again; may free it, or submit it anew. */
    void (*done)(struct store_op *op);
    int result;
    struct error error;
};

/* Writes run in the order of their submission; reads run by themselves, two at a time, and see
 * every write whose done has run. `done` always comes, also when the queue is full (result -EAGAIN)
 * or the store is read-only (-EROFS), and always after this call has returned. */
void store_write(struct store *s, struct store_op *op);
void store_read(struct store *s, struct store_op *op);
/* Both at once, at the caller's risk of blocking: only before the loop runs, in tests and in
 * offline commands. Return op->result; done is not called and may be NULL. */
int store_write_now(struct store *s, struct store_op *op);
int store_read_now(struct store *s, struct store_op *op);

/* NULL, or why the store takes no more writes. */
const char *store_read_only_reason(const struct store *s);
/* Emits the reason (const char *) once, on the loop, when the store has turned read-only. */
struct notify *store_read_only_signal(struct store *s);

/* Figures for metrics. */
struct store_figures {
    uint64_t commits;    /* of groups of writes */
    uint64_t operations; /* done: reads and writes, failures among them */
    uint64_t failures;   /* operations that ended with a negative result */
    size_t waiting;      /* submitted and not yet done */
};
struct store_figures store_figures(const struct store *s);
