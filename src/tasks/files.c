// SPDX-License-Identifier: Apache-2.0
/*
 * Files of batches: bytes under files/ in the data directory, and a row each. The bytes come first,
 * the row after them; at removal the row goes first. What has no row belongs to nobody, and goes at
 * the next start. Here is what is asked of them.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "tasks/batches_int.h"

enum { READ_BYTES = 256 * 1024 };

/* What can be one of our names; anything else could name a path. */
static bool is_file_id(const char *s)
{
    const char *p = s + 5;

    if (!str_starts(s, "file-")) {
        return false;
    }
    return strlen(p) == 2 * FILE_ID_RANDOM_BYTES && strspn(p, "0123456789abcdef") == strlen(p);
}

/* One question about files. */
struct file_request {
    struct batch_asker asker;
    struct store_op op;
    struct job job;
    char public_id[48], path[FILE_PATH_MAX];
    char *purpose, *after;
    unsigned limit;
    bool ascending, found;
    int64_t offset, bytes;
    struct batch_file file, *files;
    size_t count;
    char *piece;
    ssize_t piece_n;
    int result;
    struct error error;
    union {
        batch_file_fn file;
        batch_files_fn files;
        batch_content_fn content;
    } done;
    void *arg;
};

static struct file_request *request_create(struct batches *b, const char *public_id, void *arg)
{
    struct file_request *q = xcalloc(1, sizeof(*q));

    batch_asker_add(b, &q->asker);
    snprintf(q->public_id, sizeof(q->public_id), "%s", public_id ? public_id : "");
    q->arg = arg;
    return q;
}

static void request_free(struct file_request *q)
{
    batch_asker_remove(&q->asker);
    for (size_t i = 0; i < q->count; i++) {
        batch_file_finish(&q->files[i]);
    }
    batch_file_finish(&q->file);
    free(q->files);
    free(q->purpose);
    free(q->after);
    free(q->piece);
    free(q);
}

static int get_file(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct file_request *q = container_of(op, struct file_request, op);
    int r = batch_file_get(db, q->public_id, &q->file, reterr);

    return r == 0 ? error_set(reterr, -ENOENT, "there is no file '%s'", q->public_id) : r;
}

static void on_file(struct store_op *op)
{
    struct file_request *q = container_of(op, struct file_request, op);

    q->done.file(q->arg, MIN_OF(op->result, 0), op->result < 0 ? NULL : &q->file, &op->error);
    request_free(q);
}

void batches_get_file(struct batches *b, const char *public_id, batch_file_fn done, void *arg)
{
    struct file_request *q = request_create(b, public_id, arg);

    q->done.file = done;
    q->op = (struct store_op){ .run = get_file, .done = on_file };
    store_read(b->store, &q->op);
}

static int remove_file(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct file_request *q = container_of(op, struct file_request, op);
    int r = batch_file_get(db, q->public_id, &q->file, reterr);

    return r < 0 ? r : batch_file_remove(db, q->public_id, &q->bytes, reterr);
}

static void on_file_removed(struct store_op *op)
{
    struct file_request *q = container_of(op, struct file_request, op);

    if (op->result >= 0 && q->asker.b) {
        q->asker.b->files_bytes -= (uint64_t)q->bytes;
        batch_file_unlink(q->asker.b, q->public_id);
    }
    on_file(op);
}

void batches_remove_file(struct batches *b, const char *public_id, batch_file_fn done, void *arg)
{
    struct file_request *q = request_create(b, public_id, arg);

    q->done.file = done;
    q->op = (struct store_op){ .run = remove_file, .done = on_file_removed };
    store_write(b->store, &q->op);
}

static void take_file(void *arg, struct batch_file *f)
{
    struct file_request *q = arg;

    q->files[q->count++] = *f;
}

static int list_files(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct file_request *q = container_of(op, struct file_request, op);

    q->files = xcalloc(q->limit + 1, sizeof(*q->files));
    return batch_files_list(db, q->purpose, q->after, q->limit + 1, q->ascending, take_file, q,
                            reterr);
}

static void on_files(struct store_op *op)
{
    struct file_request *q = container_of(op, struct file_request, op);
    const bool more = q->count > q->limit;
    const size_t n = MIN_OF(q->count, (size_t)q->limit);
    struct batch_file **list = xcalloc(n + 1, sizeof(struct batch_file *));

    for (size_t i = 0; i < n; i++) {
        list[i] = &q->files[i];
    }
    q->done.files(q->arg, MIN_OF(op->result, 0), list, op->result < 0 ? 0 : n, more, &op->error);
    free(list);
    request_free(q);
}

void batches_list_files(struct batches *b, const struct batch_files_query *query,
                        batch_files_fn done, void *arg)
{
    struct file_request *q = request_create(b, NULL, arg);

    q->done.files = done;
    q->purpose = xstrdup_opt(query->purpose);
    q->after = xstrdup_opt(query->after);
    q->limit = MIN_OF(MAX_OF(query->limit, 1u), (unsigned)FILE_LIST_MAX);
    q->ascending = query->ascending;
    q->op = (struct store_op){ .run = list_files, .done = on_files };
    store_read(b->store, &q->op);
}

static void read_piece(struct job *job)
{
    struct file_request *q = container_of(job, struct file_request, job);
    _cleanup_(closep) int fd = open(q->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0) {
        q->result = error_set(&q->error, -ENOENT, "there is no file '%s'", q->public_id);
        return;
    }
    q->piece = xmalloc(READ_BYTES);
    q->piece_n = pread(fd, q->piece, READ_BYTES, q->offset);
    if (q->piece_n < 0) {
        q->result = batch_disk_error("a file cannot be read", &q->error);
    }
}

static void on_piece_read(struct job *job)
{
    struct file_request *q = container_of(job, struct file_request, job);
    const struct span piece = { q->piece_n > 0 ? q->piece : NULL, (size_t)MAX_OF(q->piece_n, 0) };

    q->done.content(q->arg, q->result, piece, &q->error);
    request_free(q);
}

static void nothing_to_read(struct job *job)
{
    struct file_request *q = container_of(job, struct file_request, job);

    q->result = error_set(&q->error, -ENOENT, "there is no file '%s'", q->public_id);
}

void batches_read_file(struct batches *b, const char *public_id, int64_t offset,
                       batch_content_fn done, void *arg)
{
    struct file_request *q = request_create(b, public_id, arg);
    const bool good = is_file_id(public_id);

    q->done.content = done;
    q->offset = offset;
    batch_file_path(public_id, q->path);
    q->job = (struct job){ .run = good ? read_piece : nothing_to_read, .done = on_piece_read };
    batch_job_start(b, &q->job);
}
