// SPDX-License-Identifier: Apache-2.0
/*
 * Adding a file: its bytes go to a worker piece by piece, then its row is stored. Whoever gives it
 * up on the way leaves nothing behind.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "tasks/batches_int.h"

enum { PIECE_BYTES = 1024 * 1024 };

struct batch_upload {
    struct batch_asker asker;
    struct job job;
    struct store_op op;
    struct batch_file file;
    struct span left; /* not yet copied */
    char *piece;      /* with the worker */
    size_t piece_n;
    int fd;
    bool ended; /* published */
    int result;
    struct error error;
    batch_file_fn done; /* NULL: cancelled */
    void *arg;
};

static void upload_free(struct batch_upload *u)
{
    batch_asker_remove(&u->asker);
    batch_file_finish(&u->file);
    free(u->piece);
    free(u);
}

static void finish_upload(struct batch_upload *u, int result, const struct error *e)
{
    struct batches *b = u->asker.b;

    closep(&u->fd);
    if (result < 0 && b) { /* at an end of berth, the next start removes it */
        b->files_bytes -= (uint64_t)u->file.bytes;
        if (result != -EROFS) { /* else its row may stand all the same: the next start knows */
            batch_file_unlink(b, u->file.public_id);
        }
    }
    if (u->done) {
        u->done(u->arg, result, result < 0 ? NULL : &u->file, e);
    }
    upload_free(u);
}

static int insert_file(struct store_op *op, struct sql *db, struct error *reterr)
{
    return batch_file_insert(db, &container_of(op, struct batch_upload, op)->file, reterr);
}

static void on_file_inserted(struct store_op *op)
{
    finish_upload(container_of(op, struct batch_upload, op), op->result, &op->error);
}

/* The piece, or, when none is left, the end. */
static void run_upload(struct job *job)
{
    struct batch_upload *u = container_of(job, struct batch_upload, job);

    if (u->result < 0) {
        return;
    }
    if (u->fd < 0) {
        u->result = batch_file_open_part(u->file.public_id, &u->fd, &u->error);
    }
    if (u->result == 0 && u->piece_n > 0) {
        u->result = batch_file_write(u->fd, u->piece, u->piece_n, &u->error);
    } else if (u->result == 0) {
        u->result = batch_file_publish(u->fd, u->file.public_id, &u->error);
        u->fd = -1;
        u->ended = true;
    }
}

static void next_upload_piece(struct batch_upload *u);

static void abandon_upload(struct batch_upload *u, const char *why)
{
    struct error err = { 0 };

    finish_upload(u, error_set(&err, -ECANCELED, "%s", why), &err);
}

static void on_upload_ran(struct job *job)
{
    struct batch_upload *u = container_of(job, struct batch_upload, job);

    if (u->result < 0) {
        finish_upload(u, u->result, &u->error);
    } else if (!u->asker.b) {
        abandon_upload(u, "berth is shutting down");
    } else if (u->ended) {
        u->op = (struct store_op){ .run = insert_file, .done = on_file_inserted };
        store_write(u->asker.b->store, &u->op);
    } else if (!u->done) {
        abandon_upload(u, "nobody waits for it");
    } else {
        next_upload_piece(u);
    }
}

static void next_upload_piece(struct batch_upload *u)
{
    u->piece_n = MIN_OF(u->left.n, (size_t)PIECE_BYTES);
    if (u->piece_n > 0) {
        memcpy(u->piece, u->left.p, u->piece_n);
        u->left.p += u->piece_n;
        u->left.n -= u->piece_n;
    }
    u->job = (struct job){ .run = run_upload, .done = on_upload_ran };
    batch_job_start(u->asker.b, &u->job);
}

/* Answers it in a later turn, as whatever else. */
static void refuse_upload(struct batch_upload *u)
{
    u->job = (struct job){ .run = run_upload, .done = on_upload_ran };
    u->asker.b->files_bytes += (uint64_t)u->file.bytes; /* taken back by finish_upload */
    batch_job_start(u->asker.b, &u->job);
}

static int check_upload(struct batches *b, size_t n, struct error *reterr)
{
    const uint64_t max = config_bytes(b->config, "batches.max_file_size");
    const uint64_t all = config_bytes(b->config, "batches.max_files_bytes");

    if (n > max) {
        return error_set(reterr, -EFBIG,
                         "the file has %zu bytes, batches.max_file_size allows %llu", n,
                         (unsigned long long)max);
    }
    if (b->files_bytes + n > all) {
        return error_set(reterr, -EDQUOT,
                         "all files together may have %llu bytes (batches.max_files_bytes); remove "
                         "some first",
                         (unsigned long long)all);
    }
    return 0;
}

struct batch_upload *batches_add_file(struct batches *b, const char *filename, const char *purpose,
                                      struct span bytes, uint64_t keep_ms, batch_file_fn done,
                                      void *arg)
{
    struct batch_upload *u = xcalloc(1, sizeof(*u));

    batch_asker_add(b, &u->asker);
    u->fd = -1;
    u->done = done;
    u->arg = arg;
    u->left = bytes;
    batch_make_id(b->world, "file-", u->file.public_id);
    u->file.filename = xstrdup(filename);
    u->file.purpose = xstrdup(purpose);
    u->file.bytes = (int64_t)bytes.n;
    u->file.created_ms = world_wall_ms(b->world);
    u->file.expires_ms = keep_ms ? u->file.created_ms + (int64_t)keep_ms : 0;
    u->result = check_upload(b, bytes.n, &u->error);
    if (u->result < 0) {
        refuse_upload(u);
        return u;
    }
    b->files_bytes += bytes.n;
    u->piece = xmalloc(MAX_OF(MIN_OF(bytes.n, (size_t)PIECE_BYTES), (size_t)1));
    next_upload_piece(u);
    return u;
}

void batches_cancel_upload(struct batch_upload *u)
{
    u->done = NULL;
    u->left = (struct span){ 0 };
}
