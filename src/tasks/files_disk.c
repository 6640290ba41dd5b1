// SPDX-License-Identifier: Apache-2.0
/*
 * Files of batches on the disk: written under another name, synced, renamed, so that what stands
 * under its own name is whole. All of it blocks and runs on a worker, but for the names.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "tasks/batches_int.h"

/* ---- names ---- */

void batch_make_id(struct world *w, const char *prefix, char out[48])
{
    unsigned char random[FILE_ID_RANDOM_BYTES];
    char hex[2 * FILE_ID_RANDOM_BYTES + 1];

    world_random(w, random, sizeof(random));
    hex_encode(random, sizeof(random), hex);
    snprintf(out, 48, "%s%s", prefix, hex);
}

void batch_file_path(const char *public_id, char out[FILE_PATH_MAX])
{
    snprintf(out, FILE_PATH_MAX, "%s/%.47s", BATCH_FILES_DIR, public_id);
}

void batch_file_part_path(const char *public_id, char out[FILE_PATH_MAX])
{
    snprintf(out, FILE_PATH_MAX, "%s/%.47s.part", BATCH_FILES_DIR, public_id);
}

/* ---- the disk, on a worker ---- */

int batch_disk_error(const char *what, struct error *reterr)
{
    const int code = errno == ENOSPC || errno == EDQUOT ? -ENOSPC : -EIO;

    return error_set(reterr, code, "%s: %s", what, strerror(errno));
}

int batch_file_open_part(const char *public_id, int *ret_fd, struct error *reterr)
{
    char path[FILE_PATH_MAX];
    int fd;

    if (mkdir(BATCH_FILES_DIR, 0700) < 0 && errno != EEXIST) {
        return batch_disk_error("the folder of files cannot be made", reterr);
    }
    batch_file_part_path(public_id, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return batch_disk_error("a file cannot be made", reterr);
    }
    *ret_fd = fd;
    return 0;
}

int batch_file_write(int fd, const char *p, size_t n, struct error *reterr)
{
    while (n > 0) {
        const ssize_t w = write(fd, p, n);

        if (w < 0 && errno == EINTR) {
            continue;
        }
        if (w < 0) {
            return batch_disk_error("a file cannot be written", reterr);
        }
        p += w;
        n -= (size_t)w;
    }
    return 0;
}

static int sync_folder(struct error *reterr)
{
    _cleanup_(closep) int fd = open(BATCH_FILES_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd >= 0 && fsync(fd) == 0
               ? 0
               : batch_disk_error("the folder of files cannot be synced", reterr);
}

int batch_file_publish(int fd, const char *public_id, struct error *reterr)
{
    char from[FILE_PATH_MAX], to[FILE_PATH_MAX];
    const int synced = fsync(fd);
    const int r = synced < 0 ? batch_disk_error("a file cannot be synced", reterr) : 0;

    close(fd);
    if (r < 0) {
        return r;
    }
    batch_file_part_path(public_id, from);
    batch_file_path(public_id, to);
    if (rename(from, to) < 0) {
        return batch_disk_error("a file cannot be renamed", reterr);
    }
    return sync_folder(reterr);
}

/* ---- removing ---- */

struct removal {
    struct job job;
    char path[FILE_PATH_MAX], part[FILE_PATH_MAX];
};

static void run_removal(struct job *job)
{
    struct removal *m = container_of(job, struct removal, job);

    unlink(m->part);
    unlink(m->path);
}

static void on_removed(struct job *job)
{
    free(container_of(job, struct removal, job));
}

void batch_file_unlink(struct batches *b, const char *public_id)
{
    struct removal *m = xcalloc(1, sizeof(*m));

    m->job = (struct job){ .run = run_removal, .done = on_removed };
    batch_file_path(public_id, m->path);
    batch_file_part_path(public_id, m->part);
    batch_job_start(b, &m->job);
}
