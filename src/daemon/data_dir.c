// SPDX-License-Identifier: Apache-2.0
/* The data directory. */
#include "daemon/data_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

enum { ID_DIGITS = 16 };

/* Every missing directory on the way, the last one 0700. */
static int make_path(const char *path, struct error *reterr)
{
    _cleanup_(freep) char *copy = xstrdup(path);
    struct stat st;

    for (char *p = copy + 1; *p; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(copy, 0755) < 0 && errno != EEXIST) {
                return error_set(reterr, -errno, "cannot make %s: %s", copy, strerror(errno));
            }
            *p = '/';
        }
    }
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return error_set(reterr, -errno, "cannot make %s: %s", path, strerror(errno));
    }
    if (stat(path, &st) < 0) {
        return error_set(reterr, -errno, "cannot look at %s: %s", path, strerror(errno));
    }
    if (!S_ISDIR(st.st_mode)) {
        return error_set(reterr, -ENOTDIR, "%s is not a directory", path);
    }
    if (st.st_uid != geteuid()) {
        return error_set(reterr, -EPERM, "the data directory %s belongs to another user", path);
    }
    if ((st.st_mode & 0077) && chmod(path, 0700) < 0) {
        return error_set(reterr, -errno, "cannot keep others out of %s: %s", path, strerror(errno));
    }
    return 0;
}

static int take_lock(struct data_dir *d, struct error *reterr)
{
    d->lock_fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->lock_fd < 0) {
        return error_set(reterr, -errno, "cannot open %s/lock: %s", d->path, strerror(errno));
    }
    if (flock(d->lock_fd, LOCK_EX | LOCK_NB) == 0) {
        return 0;
    }
    if (errno == EWOULDBLOCK) {
        return error_set(reterr, -EBUSY, "another berth runs with the data directory %s", d->path);
    }
    return error_set(reterr, -errno, "cannot lock %s/lock: %s", d->path, strerror(errno));
}

/* -ENOENT, without a sentence: there is none yet. */
static int read_id(struct data_dir *d, struct error *reterr)
{
    _cleanup_(closep) int fd = open("id", O_RDONLY | O_CLOEXEC);
    char text[DATA_ID_SIZE];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd < 0 && errno == ENOENT) {
        return -ENOENT;
    }
    if (n < 0) {
        return error_set(reterr, -errno, "cannot read %s/id: %s", d->path, strerror(errno));
    }
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (strlen(text) != ID_DIGITS || strspn(text, "0123456789abcdef") != ID_DIGITS) {
        return error_set(reterr, -EINVAL, "%s/id is damaged: it should hold %d hex digits", d->path,
                         ID_DIGITS);
    }
    memcpy(d->id, text, ID_DIGITS + 1);
    return 0;
}

static int make_id(struct data_dir *d, struct error *reterr)
{
    _cleanup_(closep) int fd = open("id.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    _cleanup_(closep) int dir = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    unsigned char bytes[ID_DIGITS / 2];

    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
        return error_set(reterr, -errno, "no random numbers: %s", strerror(errno));
    }
    hex_encode(bytes, sizeof(bytes), d->id);
    if (fd < 0 || dir < 0 || write(fd, d->id, ID_DIGITS) != ID_DIGITS || fsync(fd) < 0 ||
        rename("id.new", "id") < 0 || fsync(dir) < 0) {
        return error_set(reterr, -errno, "cannot write %s/id: %s", d->path, strerror(errno));
    }
    return 0;
}

/* The id is what marks our engines in /proc; it must never change or be shared, so it is written
 * once, whole, and only where there certainly is none. */
static int read_or_make_id(struct data_dir *d, struct error *reterr)
{
    int r = read_id(d, reterr);

    return r == -ENOENT ? make_id(d, reterr) : r;
}

int data_dir_open(const char *path, struct data_dir *ret, struct error *reterr)
{
    struct data_dir d = { .lock_fd = -1 };
    int r;

    r = make_path(path, reterr);
    if (r < 0) {
        return r;
    }
    d.path = realpath(path, NULL);
    if (!d.path || chdir(d.path) < 0) {
        r = error_set(reterr, -errno, "cannot enter %s: %s", path, strerror(errno));
    } else {
        r = take_lock(&d, reterr);
    }
    if (r == 0) {
        r = read_or_make_id(&d, reterr);
    }
    if (r < 0) {
        data_dir_close(&d);
        return r;
    }
    *ret = d;
    return 0;
}

void data_dir_close(struct data_dir *d)
{
    closep(&d->lock_fd);
    free(d->path);
    d->path = NULL;
}
