// SPDX-License-Identifier: Apache-2.0
/* How long files are kept, and what is found of them at a start. */
#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "tasks/batches_int.h"

enum { SWEEP_MS = 600 * 1000, SWEEP_MORE_MS = 100 };

/* ---- retention ---- */

struct sweep {
    struct batch_asker asker;
    struct store_op op;
    int64_t now_ms, keep_ms;
    struct batch_file gone[100];
    size_t count;
};

static void take_gone(void *arg, struct batch_file *f)
{
    struct sweep *s = arg;

    s->gone[s->count++] = *f;
}

static int run_sweep(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct sweep *s = container_of(op, struct sweep, op);
    int64_t bytes;
    int r = batch_files_expired(db, s->now_ms, take_gone, s, reterr);

    for (size_t i = 0; r >= 0 && i < s->count; i++) {
        r = batch_file_remove(db, s->gone[i].public_id, &bytes, reterr);
    }
    return r < 0 ? r : batch_rows_expire(db, s->now_ms - s->keep_ms, reterr);
}

static void on_swept(struct store_op *op)
{
    struct sweep *s = container_of(op, struct sweep, op);
    struct batches *b = s->asker.b;
    const bool more = op->result >= 100 || s->count == ARRAY_SIZE(s->gone);

    for (size_t i = 0; i < s->count; i++) {
        if (b && op->result >= 0) {
            b->files_bytes -= (uint64_t)s->gone[i].bytes;
            batch_file_unlink(b, s->gone[i].public_id);
        }
        batch_file_finish(&s->gone[i]);
    }
    if (b) {
        b->sweeping = false;
        timer_start(&b->sweep, op->result >= 0 && more ? SWEEP_MORE_MS : SWEEP_MS);
    }
    batch_asker_remove(&s->asker);
    free(s);
}

void batch_files_sweep(struct batches *b)
{
    struct sweep *s;

    if (b->sweeping || !b->started) {
        return;
    }
    b->sweeping = true;
    s = xcalloc(1, sizeof(*s));
    batch_asker_add(b, &s->asker);
    s->now_ms = world_wall_ms(b->world);
    s->keep_ms = (int64_t)config_duration_ms(b->config, "batches.keep");
    s->op = (struct store_op){ .run = run_sweep, .done = on_swept };
    store_write(b->store, &s->op);
}

/* ---- at start ---- */

struct inventory {
    struct store_op op;
    struct map known; /* public ids */
    uint64_t bytes;
};

static int read_inventory(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct inventory *i = container_of(op, struct inventory, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT public_id, bytes FROM batch_files", "");

    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        map_put(&i->known, sql_text(st, 0), i);
        i->bytes += (uint64_t)sql_int(st, 1);
    }
    return r;
}

static void remove_strangers(const struct inventory *i)
{
    DIR *dir = opendir(BATCH_FILES_DIR);
    struct dirent *entry;
    char path[FILE_PATH_MAX + 256];

    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] != '.' && !map_get(&i->known, entry->d_name)) {
            log_info("batches", NULL, "a file without a row is removed",
                     kv_str("file", entry->d_name));
            snprintf(path, sizeof(path), "%s/%s", BATCH_FILES_DIR, entry->d_name);
            unlink(path);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

int batch_files_start(struct batches *b, struct error *reterr)
{
    struct inventory i = { .op = { .run = read_inventory } };
    int r;

    map_init(&i.known);
    r = store_read_now(b->store, &i.op);
    if (r < 0) {
        error_set(reterr, r, "the files of batches cannot be read: %s", i.op.error.text);
    } else {
        remove_strangers(&i);
        b->files_bytes = i.bytes;
    }
    map_finish(&i.known);
    return r < 0 ? r : 0;
}
