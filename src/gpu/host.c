// SPDX-License-Identifier: Apache-2.0
/*
 * The host through /proc: what it has, how busy it is, and its CPU and memory as a device. Where
 * our control group, or one above it, is given less memory than the machine has, that is the
 * memory.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "base/str.h"
#include "gpu/gpu_probe.h"

/* A smaller process is not worth a line. */
enum { PROCESS_WORTH_BYTES = 64 << 20, KIB = 1024 };

struct host {
    char *proc, *cgroup, *disk;
    char name[GPU_TEXT_SIZE];
    uint64_t busy, total; /* ticks at the last reading; total 0: there was none */
};

/* ---- memory ---- */

struct memory {
    uint64_t total, free;
};

static uint64_t kib_line(const char *text, const char *key)
{
    return gpu_leading_u64(gpu_line_of(text, key)) * KIB;
}

static int read_meminfo(const struct host *h, struct memory *ret)
{
    char text[GPU_FILE_SIZE];
    int r = gpu_file_read(text, "%s/meminfo", h->proc);

    if (r < 0) {
        return r;
    }
    ret->total = kib_line(text, "MemTotal:");
    ret->free = MIN_OF(kib_line(text, "MemAvailable:"), ret->total);
    return ret->total > 0 ? 0 : -EBADMSG;
}

/* Pages of files that were not used of late are given back when memory is asked for. */
static void narrow(struct memory *m, const char *dir, const char *limit_file,
                   const char *usage_file, const char *cache_key)
{
    char stat[GPU_FILE_SIZE];
    uint64_t limit, usage, cache = 0;

    if (gpu_file_u64(&limit, "%s/%s", dir, limit_file) < 0 || limit >= m->total ||
        gpu_file_u64(&usage, "%s/%s", dir, usage_file) < 0) {
        return; /* "max" is no number */
    }
    if (gpu_file_read(stat, "%s/memory.stat", dir) == 0) {
        cache = gpu_leading_u64(gpu_line_of(stat, cache_key));
    }
    usage -= MIN_OF(cache, usage);
    m->total = limit;
    m->free = MIN_OF(m->free, limit - MIN_OF(usage, limit));
}

/* A group and all above it, up to where the tree is mounted. */
static void narrow_by(struct memory *m, const char *mount, struct span path, bool v2)
{
    for (;;) {
        _cleanup_(freep) char *dir = xasprintf("%s%.*s", mount, SPAN_ARG(path));

        if (v2) {
            narrow(m, dir, "memory.max", "memory.current", "inactive_file ");
        } else {
            narrow(m, dir, "memory.limit_in_bytes", "memory.usage_in_bytes",
                   "total_inactive_file ");
        }
        if (path.n == 0) {
            return;
        }
        do {
            path.n--;
        } while (path.n > 0 && path.p[path.n] != '/');
    }
}

static bool has_word(struct span list, const char *word)
{
    while (list.n > 0) {
        if (span_eq(span_cut(&list, ','), word)) {
            return true;
        }
    }
    return false;
}

/* Lines of /proc/self/cgroup: "0::/path" of the second kind, "4:memory:/path" of the first. */
static void read_groups(const struct host *h, struct memory *m)
{
    _cleanup_(freep) char *v1_mount = xasprintf("%s/memory", h->cgroup);
    char text[GPU_FILE_SIZE];
    struct span rest;

    if (gpu_file_read(text, "%s/self/cgroup", h->proc) < 0) {
        return;
    }
    rest = span_of(text);
    while (rest.n > 0) {
        struct span path = span_cut(&rest, '\n');
        const struct span number = span_cut(&path, ':'), controllers = span_cut(&path, ':');

        if (span_eq(path, "/")) {
            path.n = 0;
        }
        if (span_eq(number, "0") && controllers.n == 0) {
            narrow_by(m, h->cgroup, path, true);
        } else if (has_word(controllers, "memory")) {
            narrow_by(m, v1_mount, path, false);
        }
    }
}

/* ---- what it does ---- */

/* "cpu  user nice system idle iowait irq softirq steal …": idle and iowait are not busy. */
static void read_stat(struct host *h, struct gpu_host *ret)
{
    _cleanup_(freep) char *path = xasprintf("%s/stat", h->proc);
    _cleanup_(freep) char *text = gpu_file_dup(path);
    uint64_t total = 0, idle = 0;
    struct span line;

    ret->cpu_percent = GPU_NOT_TOLD;
    if (!text) {
        return;
    }
    line = gpu_line_of(text, "cpu ");
    for (int i = 0; i < 8 && line.n > 0; i++) {
        const uint64_t ticks = gpu_leading_u64(span_cut(&line, ' '));

        total += ticks;
        idle += i == 3 || i == 4 ? ticks : 0;
    }
    for (const char *p = text; (p = strstr(p, "\ncpu")); p++) {
        ret->cores += isdigit((unsigned char)p[4]) != 0;
    }
    if (h->total > 0 && total > h->total) {
        const uint64_t busy = total - idle;
        const double more = busy > h->busy ? (double)(busy - h->busy) : 0;

        ret->cpu_percent = MIN_OF(100.0 * more / (double)(total - h->total), 100.0);
    }
    h->total = total;
    h->busy = total - idle;
}

static void read_load(const struct host *h, struct gpu_host *ret)
{
    char text[GPU_FILE_SIZE];
    double l[3];

    if (gpu_file_read(text, "%s/loadavg", h->proc) == 0 &&
        sscanf(text, "%lf %lf %lf", &l[0], &l[1], &l[2]) == 3) {
        memcpy(ret->load_average, l, sizeof(l));
    }
}

/* "  eth0: received packets errs drop fifo frame compressed multicast sent …" */
static void read_network(const struct host *h, struct gpu_host *ret)
{
    _cleanup_(freep) char *path = xasprintf("%s/net/dev", h->proc);
    _cleanup_(freep) char *text = gpu_file_dup(path);
    struct span rest = span_of(text);

    while (rest.n > 0) {
        struct span figures = span_cut(&rest, '\n');
        const struct span name = span_trim(span_cut(&figures, ':'));
        _cleanup_(freep) char *copy = span_dup(figures);
        unsigned long long received, sent;

        if (figures.p && !span_eq(name, "lo") &&
            sscanf(copy, "%llu %*u %*u %*u %*u %*u %*u %*u %llu", &received, &sent) == 2) {
            ret->network_received_bytes += received;
            ret->network_sent_bytes += sent;
        }
    }
}

static void read_disk(const struct host *h, struct gpu_host *ret)
{
    struct statvfs fs;

    if (statvfs(h->disk, &fs) == 0) {
        ret->disk_total_bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
        ret->disk_used_bytes = (uint64_t)(fs.f_blocks - fs.f_bfree) * fs.f_frsize;
    }
}

static void read_name(struct host *h)
{
    _cleanup_(freep) char *path = xasprintf("%s/cpuinfo", h->proc);
    _cleanup_(freep) char *text = gpu_file_dup(path);
    struct span name = text ? gpu_line_of(text, "model name") : (struct span){ 0 };
    _cleanup_(freep) char *copy = NULL;

    (void)span_cut(&name, ':');
    name = span_trim(name);
    copy = name.n > 0 ? span_dup(name) : xstrdup("CPU");
    gpu_text_set(h->name, copy);
}

/* ---- processes ---- */

/* What the kernel could not take back: the pages of mapped files count as free. */
static void add_process(const struct host *h, uint64_t pid, struct gpu_device *d)
{
    char text[GPU_FILE_SIZE];
    uint64_t bytes;

    if (gpu_file_read(text, "%s/%llu/status", h->proc, (unsigned long long)pid) < 0) {
        return; /* it has ended meanwhile */
    }
    bytes = kib_line(text, "RssAnon:") + kib_line(text, "RssShmem:");
    if (bytes >= PROCESS_WORTH_BYTES) {
        gpu_device_add_process(d, &(struct gpu_process){ .pid = (int64_t)pid,
                                                         .memory_bytes = bytes,
                                                         .memory_known = true });
    }
}

static void add_processes(const struct host *h, struct gpu_device *d)
{
    DIR *dir = opendir(h->proc);
    struct dirent *entry;
    uint64_t pid;

    while (dir && (entry = readdir(dir))) {
        if (span_to_u64(span_of(entry->d_name), &pid) == 0 && pid <= INT32_MAX) {
            add_process(h, pid, d);
        }
    }
    if (dir) {
        closedir(dir);
    }
}

/* ---- the probe ---- */

static void read_all(void *state, uint64_t elapsed_ms, struct gpu_reading *ret)
{
    struct host *h = state;
    struct memory memory;
    struct gpu_device *d;
    int r = read_meminfo(h, &memory);

    if (r < 0) {
        error_set(&ret->error, r, "%s/meminfo does not tell the memory: %s", h->proc, strerror(-r));
        return;
    }
    if (h->name[0] == '\0') {
        read_name(h);
    }
    read_groups(h, &memory);
    ret->has_host = true;
    memcpy(ret->host.name, h->name, sizeof(h->name));
    ret->host.memory_total_bytes = memory.total;
    ret->host.memory_used_bytes = memory.total - MIN_OF(memory.free, memory.total);
    read_stat(h, &ret->host);
    read_load(h, &ret->host);
    read_network(h, &ret->host);
    read_disk(h, &ret->host);
    d = gpu_reading_add(ret);
    d->cpu = true;
    memcpy(d->id, "cpu", sizeof("cpu"));
    memcpy(d->name, h->name, sizeof(d->name));
    gpu_device_set_memory(d, memory.total, ret->host.memory_used_bytes);
    d->utilization = ret->host.cpu_percent;
    add_processes(h, d);
}

static void destroy(void *state)
{
    struct host *h = state;

    free(h->proc);
    free(h->cgroup);
    free(h->disk);
    free(h);
}

static const struct gpu_probe_driver driver = { "gpu host", read_all, destroy };

struct gpu_probe gpu_host_probe(const char *proc, const char *cgroup, const char *disk)
{
    struct host *h = xcalloc(1, sizeof(*h));

    h->proc = xstrdup(proc);
    h->cgroup = xstrdup(cgroup);
    h->disk = xstrdup(disk);
    return (struct gpu_probe){ &driver, h };
}
