// SPDX-License-Identifier: Apache-2.0
/*
 * What an instance really takes: of the host the resident memory of all processes that carry its
 * mark, of the devices what their process lists say of those processes. The peak counts, as the
 * kernel remembers it and as it was seen here, since that is what must have room; only of an engine
 * that sleeps what it takes just now. Processes are looked at on a worker; those that may not be
 * read (another user's, a container's) count as not measured.
 */
#include "engines/engines_int.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "gpu/gpu.h"

enum { PIDS_MAX = 1024, ENVIRON_MAX = 256 * 1024, STATUS_MAX = 8192 };

struct look {
    struct job job;
    struct engines *engines; /* looked at on the loop only; by then it may be gone: see lost */
    char uuid[UUID_SIZE];
    struct process_id process;
    /* on the worker */
    char *proc, *mark; /* "BERTH_INSTANCE=…" */
    int64_t pids[PIDS_MAX];
    size_t count;
    uint64_t now_bytes, peak_bytes;
};

/* ---- on the worker ---- */

/* At most max - 1 bytes, terminated; the length, or -1. */
static ssize_t read_small(const char *path, char *out, size_t max)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t done = 0;
    ssize_t n = fd < 0 ? -1 : 0;

    while (fd >= 0 && done < max - 1 && (n = read(fd, out + done, max - 1 - done)) > 0) {
        done += (size_t)n;
    }
    out[done] = '\0';
    return n < 0 ? -1 : (ssize_t)done;
}

static bool is_marked(const struct look *l, const char *pid, char *buffer)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s/environ", l->proc, pid);
    ssize_t n = read_small(path, buffer, ENVIRON_MAX);

    for (const char *entry = buffer; n > 0 && entry < buffer + n; entry += strlen(entry) + 1) {
        if (str_eq(entry, l->mark)) {
            return true;
        }
    }
    return false;
}

/* "VmHWM:    1234 kB" */
static uint64_t status_bytes(const char *status, const char *name)
{
    const char *line = strstr(status, name);

    return line ? strtoull(line + strlen(name), NULL, 10) * 1024 : 0;
}

static void add_process(struct look *l, const char *pid)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s/status", l->proc, pid);
    char status[STATUS_MAX];
    uint64_t now, peak;

    if (read_small(path, status, sizeof(status)) <= 0 || l->count == PIDS_MAX) {
        return;
    }
    now = status_bytes(status, "\nVmRSS:");
    peak = status_bytes(status, "\nVmHWM:");
    l->now_bytes += now;
    l->peak_bytes += MAX_OF(now, peak);
    l->pids[l->count++] = strtoll(pid, NULL, 10);
}

static void look_at_processes(struct job *job)
{
    struct look *l = container_of(job, struct look, job);
    DIR *d = opendir(l->proc);
    struct dirent *entry;
    char *buffer;

    if (!d) {
        return;
    }
    buffer = xmalloc(ENVIRON_MAX);
    while ((entry = readdir(d))) {
        if (isdigit((unsigned char)entry->d_name[0]) && is_marked(l, entry->d_name, buffer)) {
            add_process(l, entry->d_name);
        }
    }
    free(buffer);
    closedir(d);
}

static void free_look(struct job *job)
{
    struct look *l = container_of(job, struct look, job);

    free(l->proc);
    free(l->mark);
    free(l);
}

/* ---- on the loop ---- */

static bool is_among(const struct look *l, int64_t pid)
{
    for (size_t i = 0; i < l->count; i++) {
        if (l->pids[i] == pid) {
            return true;
        }
    }
    return false;
}

static uint64_t bytes_on(const struct look *l, const struct gpu_device *d)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < d->process_count; i++) {
        sum += is_among(l, d->processes[i].pid) ? d->processes[i].memory_bytes : 0;
    }
    return sum;
}

/* A reading from before it was ready may tell of half a load. */
static bool is_recent(const struct inst *inst, const struct gpu_device *d)
{
    return d->sampled_wall_ms >=
           inst->pub.started_wall_ms + (int64_t)MIN_OF(inst->pub.ready_in_ms, (uint64_t)INT32_MAX);
}

/* What it takes now. False: it cannot be told yet. */
static bool add_up(const struct inst *inst, const struct look *l, struct place *ret)
{
    const struct gpu_device *d;
    size_t cursor = 0;
    bool gpus = false;

    *ret = (struct place){ .host_bytes = inst->pub.sleeping ? l->now_bytes : l->peak_bytes };
    while (inst->engines->gpu && (d = gpu_next(inst->engines->gpu, &cursor))) {
        uint64_t bytes = d->cpu ? 0 : bytes_on(l, d);

        gpus |= !d->cpu;
        if (bytes && !is_recent(inst, d)) {
            return false;
        }
        if (bytes && ret->count < PLACE_DEVICES_MAX) {
            ret->shares[ret->count++] = (struct place_share){ d->index, bytes };
        }
    }
    if (!gpus) { /* the host is the device */
        ret->shares[ret->count++] = (struct place_share){ 0, ret->host_bytes };
        ret->host_bytes = 0;
    }
    return ret->count > 0;
}

/* The greater of both, share by share. */
static void keep_peak(struct place *now, const struct place *before)
{
    now->host_bytes = MAX_OF(now->host_bytes, before->host_bytes);
    for (unsigned i = 0; i < now->count; i++) {
        now->shares[i].bytes =
            MAX_OF(now->shares[i].bytes, place_bytes_on(before, now->shares[i].device));
    }
}

static uint64_t fullest(const struct place *place)
{
    uint64_t most = 0;

    for (unsigned i = 0; i < place->count; i++) {
        most = MAX_OF(most, place->shares[i].bytes);
    }
    return most;
}

static bool place_equal(const struct place *a, const struct place *b)
{
    bool equal = a->count == b->count && a->host_bytes == b->host_bytes;

    for (unsigned i = 0; equal && i < a->count; i++) {
        equal =
            a->shares[i].device == b->shares[i].device && a->shares[i].bytes == b->shares[i].bytes;
    }
    return equal;
}

static bool is_same(struct process_id a, struct process_id b)
{
    return a.pid == b.pid && a.start_time == b.start_time;
}

/* It is as it was defined: what it takes tells of its definition. */
static bool is_current(const struct inst *inst)
{
    const struct model *model = inst_model(inst);

    return model && model->epoch == inst->pub.model_epoch && !inst->pub.sleeping;
}

static void take_in(struct inst *inst, const struct look *l)
{
    struct instance *pub = &inst->pub;
    bool again = is_same(inst->measured, l->process);
    struct place now;

    if (l->count == 0 || !add_up(inst, l, &now)) {
        return;
    }
    if (again && !pub->sleeping) {
        keep_peak(&now, &pub->taken);
    }
    inst->measured = l->process;
    if (is_current(inst)) {
        needs_record(inst, now.count, fullest(&now), now.host_bytes, again ? 0 : pub->ready_in_ms);
    }
    if (!place_equal(&now, &pub->taken)) {
        pub->taken = now;
        inst_tell_news(inst);
    }
}

static void on_looked(struct job *job)
{
    struct look *l = container_of(job, struct look, job);
    const struct instance *pub = l->engines->needs ? engines_find(l->engines, l->uuid) : NULL;

    if (pub) {
        inst_of(pub)->looked_at = false;
    }
    if (pub && is_same(pub->process, l->process)) {
        take_in(inst_of(pub), l);
    }
    free_look(job);
}

void inst_measure(struct inst *inst)
{
    struct engines *e = inst->engines;
    struct look *l;

    if (inst->pub.remote || inst->pub.process.pid == 0 || inst->looked_at || !e->needs) {
        return;
    }
    l = xcalloc(1, sizeof(*l));
    l->job = (struct job){ .run = look_at_processes, .done = on_looked, .lost = free_look };
    l->engines = e;
    l->process = inst->pub.process;
    memcpy(l->uuid, inst->pub.uuid, sizeof(l->uuid));
    l->proc = xstrdup(e->proc_path);
    l->mark = xasprintf(ENGINE_MARKER "=%s/%s", e->data_id, inst->pub.uuid);
    inst->looked_at = needs_submit(e->needs, &l->job) >= 0;
    if (!inst->looked_at) {
        free_look(&l->job); /* with the next health probe */
    }
}
