// SPDX-License-Identifier: Apache-2.0
/* What probes share: putting a reading together, and the kernel's small text files. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"
#include "gpu/gpu_probe.h"

struct gpu_device *gpu_reading_add(struct gpu_reading *r)
{
    struct gpu_device *d;

    if (r->count >= GPU_DEVICES_MAX) {
        return NULL;
    }
    r->devices = xrealloc(r->devices, (r->count + 1) * sizeof(*r->devices));
    d = &r->devices[r->count++];
    *d = (struct gpu_device){ .vendor = GPU_UNKNOWN,
                              .utilization = GPU_NOT_TOLD,
                              .temperature_c = GPU_NOT_TOLD,
                              .power_w = GPU_NOT_TOLD,
                              .power_limit_w = GPU_NOT_TOLD,
                              .clock_mhz = GPU_NOT_TOLD,
                              .memory_clock_mhz = GPU_NOT_TOLD };
    return d;
}

void gpu_reading_finish(struct gpu_reading *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->devices[i].processes);
    }
    free(r->devices);
    *r = (struct gpu_reading){ 0 };
}

static struct gpu_process *find_process(struct gpu_device *d, int64_t pid)
{
    for (size_t i = 0; i < d->process_count; i++) {
        if (d->processes[i].pid == pid) {
            return &d->processes[i];
        }
    }
    return NULL;
}

/* Sorted by memory, the largest first; what is smaller than all of a full list falls out. */
void gpu_device_add_process(struct gpu_device *d, const struct gpu_process *p)
{
    struct gpu_process *old = find_process(d, p->pid), whole = *p;
    size_t at;

    if (old) {
        whole.memory_bytes = MAX_OF(whole.memory_bytes, old->memory_bytes);
        whole.memory_known = whole.memory_known || old->memory_known;
        at = (size_t)(old - d->processes);
        memmove(old, old + 1, (--d->process_count - at) * sizeof(*old));
    } else if (d->process_count == GPU_PROCESSES_MAX) {
        if (d->processes[d->process_count - 1].memory_bytes >= whole.memory_bytes) {
            return;
        }
        d->process_count--;
    }
    d->processes = xrealloc(d->processes, (d->process_count + 1) * sizeof(*d->processes));
    for (at = d->process_count; at > 0 && d->processes[at - 1].memory_bytes < whole.memory_bytes;
         at--) {
        d->processes[at] = d->processes[at - 1];
    }
    d->processes[at] = whole;
    d->process_count++;
}

void gpu_device_set_memory(struct gpu_device *d, uint64_t total, uint64_t used)
{
    d->memory_total_bytes = total;
    d->memory_used_bytes = MIN_OF(used, total);
    d->memory_free_bytes = total - d->memory_used_bytes;
}

void gpu_text_set(char out[GPU_TEXT_SIZE], const char *text)
{
    size_t n = 0;

    for (; text[n] && n + 1 < GPU_TEXT_SIZE; n++) {
        out[n] = text[n] >= 0x20 && text[n] < 0x7f ? text[n] : '?';
    }
    out[n] = '\0';
}

/* ---- files ---- */

/* Up to size - 1 bytes, terminated. The kernel's files tell no size and may come in pieces. */
static ssize_t read_start(const char *path, char *out, size_t size)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t n = 0;

    if (fd < 0) {
        return -errno;
    }
    while (n + 1 < size) {
        const ssize_t got = read(fd, out + n, size - 1 - n);

        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -errno;
        }
        if (got == 0) {
            break;
        }
        n += (size_t)got;
    }
    out[n] = '\0';
    return (ssize_t)n;
}

static void trim(char *text)
{
    size_t n = strlen(text);

    while (n > 0 && isspace((unsigned char)text[n - 1])) {
        text[--n] = '\0';
    }
}

static int read_small(char out[GPU_FILE_SIZE], const char *fmt, va_list ap)
{
    _cleanup_(freep) char *path = xvasprintf(fmt, ap);
    const ssize_t n = read_start(path, out, GPU_FILE_SIZE);

    if (n < 0) {
        return (int)n;
    }
    trim(out);
    return 0;
}

int gpu_file_read(char out[GPU_FILE_SIZE], const char *path, ...)
{
    va_list ap;
    int r;

    va_start(ap, path);
    r = read_small(out, path, ap);
    va_end(ap);
    return r;
}

int gpu_file_u64(uint64_t *ret, const char *path, ...)
{
    char text[GPU_FILE_SIZE];
    va_list ap;
    int r;

    va_start(ap, path);
    r = read_small(text, path, ap);
    va_end(ap);
    return r < 0 ? r : span_to_u64(span_of(text), ret);
}

char *gpu_file_dup(const char *path)
{
    char *text = xmalloc(GPU_FILE_MAX);
    const ssize_t n = read_start(path, text, GPU_FILE_MAX);

    if (n < 0) {
        free(text);
        return NULL;
    }
    return xrealloc(text, (size_t)n + 1);
}

struct span gpu_line_of(const char *text, const char *key)
{
    struct span rest = span_of(text);

    while (rest.n > 0) {
        struct span line = span_cut(&rest, '\n');

        if (span_starts(line, key)) {
            line.p += strlen(key);
            line.n -= strlen(key);
            return span_trim(line);
        }
    }
    return (struct span){ 0 };
}

uint64_t gpu_leading_u64(struct span s)
{
    uint64_t n = 0;
    size_t digits = 0;

    s = span_trim(s);
    while (digits < s.n && isdigit((unsigned char)s.p[digits])) {
        digits++;
    }
    return span_to_u64((struct span){ s.p, digits }, &n) < 0 ? 0 : n;
}
