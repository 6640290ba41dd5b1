// SPDX-License-Identifier: Apache-2.0
/*
 * Files of an instance, below instances/<uuid>: engine.log, engine.log.1 (what rotation put aside),
 * engine.sock. The engine writes its log itself (O_APPEND), so rotation copies and truncates: the
 * engine notices nothing, and lines that are written between the copy and the truncation are lost.
 */
#include "engines/engines_int.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define INSTANCES_DIR "instances"

enum { LAST_LINE_MAX = 400 };

static int make_dir(const char *path, struct error *reterr)
{
    if (mkdir(path, 0700) < 0 && errno != EEXIST) {
        return error_set(reterr, -errno, "cannot make the directory %s: %s", path, strerror(errno));
    }
    return 0;
}

int instance_dir_make(const char *uuid, struct error *reterr)
{
    char path[96];
    int r;

    r = make_dir(INSTANCES_DIR, reterr);
    if (r < 0) {
        return r;
    }
    snprintf(path, sizeof(path), INSTANCES_DIR "/%s", uuid);
    return make_dir(path, reterr);
}

void instance_dir_remove(const char *uuid)
{
    static const char *const files[] = { "engine.log", "engine.log.1", "engine.sock" };
    char path[128];

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof(path), INSTANCES_DIR "/%s/%s", uuid, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), INSTANCES_DIR "/%s", uuid);
    if (rmdir(path) < 0 && errno != ENOENT) {
        log_warn("engines", uuid, "cannot remove the instance's directory, ignoring",
                 kv_str("reason", strerror(errno)));
    }
}

void instance_dirs_sweep(struct engines *e)
{
    DIR *dir = opendir(INSTANCES_DIR);
    struct dirent *entry;

    if (!dir) {
        return;
    }
    while ((entry = readdir(dir))) {
        if (strlen(entry->d_name) == UUID_SIZE - 1 && !engines_find(e, entry->d_name)) {
            instance_dir_remove(entry->d_name);
        }
    }
    closedir(dir);
}

int64_t engine_log_size(const char *path)
{
    struct stat st;

    return stat(path, &st) < 0 ? 0 : st.st_size;
}

static size_t read_at(int fd, char *out, size_t n, int64_t offset)
{
    size_t got = 0;

    while (got < n) {
        ssize_t r = pread(fd, out + got, n - got, offset + (int64_t)got);

        if (r <= 0) {
            break;
        }
        got += (size_t)r;
    }
    return got;
}

/* Drops the first line, which is cut unless it is the only one. */
static void start_at_line(char *text, size_t *len)
{
    char *nl = memchr(text, '\n', *len);

    if (nl && nl + 1 < text + *len) {
        *len -= (size_t)(nl + 1 - text);
        memmove(text, nl + 1, *len);
    }
}

char *engine_log_tail(const char *path, int64_t from, size_t max, size_t *ret_len)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int64_t start;
    char *text;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size <= from || max == 0) {
        return NULL;
    }
    start = MAX_OF(from, st.st_size - (int64_t)max);
    text = try_malloc((size_t)(st.st_size - start) + 1);
    if (!text) {
        return NULL;
    }
    *ret_len = read_at(fd, text, (size_t)(st.st_size - start), start);
    if (start > from) {
        start_at_line(text, ret_len);
    }
    text[*ret_len] = '\0';
    return text;
}

void make_presentable(char *text)
{
    bool utf8 = is_valid_utf8(text, strlen(text));

    for (unsigned char *p = (unsigned char *)text; *p; p++) {
        if (*p < ' ' || *p == 0x7f || (*p > 0x7f && !utf8)) {
            *p = '?';
        }
    }
}

char *engine_log_last_line(const char *path, int64_t from)
{
    size_t len = 0;
    _cleanup_(freep) char *text = engine_log_tail(path, from, LAST_LINE_MAX, &len);
    struct span rest = { text, len };
    struct span last = { 0 };
    char *line;

    while (rest.p) {
        struct span next = span_trim(span_cut(&rest, '\n'));

        last = next.n ? next : last;
    }
    if (!last.n) {
        return NULL;
    }
    line = span_dup(last);
    make_presentable(line);
    return line;
}

char *engines_log_tail(struct engines *e, const char *uuid, size_t max_bytes)
{
    const struct instance *inst = engines_find(e, uuid);
    size_t len;

    assert(max_bytes <= (size_t)16 << 20);
    return inst ? engine_log_tail(inst->log_path, 0, max_bytes, &len) : NULL;
}

struct rotation {
    struct job job;
    struct engines *engines;
    char uuid[UUID_SIZE];
    char path[96];
    bool rotated;
};

static bool copy_file(int from, int to)
{
    char piece[64 * 1024];
    ssize_t n;

    while ((n = read(from, piece, sizeof(piece))) > 0) {
        if (write(to, piece, (size_t)n) != n) {
            return false;
        }
    }
    return n == 0;
}

/* A copy that fails (disk full) costs the old lines: a log that grows on would cost more. */
static void run_rotation(struct job *job)
{
    struct rotation *t = container_of(job, struct rotation, job);
    char old[sizeof(t->path) + 2];
    _cleanup_(closep) int from = -1;
    _cleanup_(closep) int to = -1;

    snprintf(old, sizeof(old), "%s.1", t->path);
    from = open(t->path, O_RDWR | O_CLOEXEC);
    to = open(old, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0) {
        return;
    }
    if (to < 0 || !copy_file(from, to)) {
        unlink(old);
    }
    t->rotated = ftruncate(from, 0) == 0;
}

static void on_rotated(struct job *job)
{
    struct rotation *t = container_of(job, struct rotation, job);
    const struct instance *pub = engines_find(t->engines, t->uuid);

    if (pub && t->rotated) {
        inst_of(pub)->log_start = 0;
        log_info("engines", inst_of(pub)->log_name, "log rotated");
    }
    if (!pub) {
        instance_dir_remove(t->uuid); /* it went meanwhile; the copy may have come after */
    }
    free(t);
}

void engine_logs_rotate(struct engines *e)
{
    int64_t max = (int64_t)config_bytes(e->config, "engines.log_max");
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        struct rotation *t;

        if (engine_log_size(inst->pub.log_path) <= max) {
            continue;
        }
        t = xcalloc(1, sizeof(*t));
        t->job.run = run_rotation;
        t->job.done = on_rotated;
        t->engines = e;
        strcpy(t->uuid, inst->pub.uuid);
        strcpy(t->path, inst->pub.log_path);
        if (worker_submit(e->files, &t->job) < 0) {
            free(t); /* the next round comes */
        }
    }
}
