// SPDX-License-Identifier: Apache-2.0
/*
 * Devices: which GPUs this machine has, and how they are: memory, utilisation, temperature, power,
 * clocks, and the processes that hold memory on them. Where there is no GPU, the host's CPU and
 * memory are the one device, index 0.
 *
 * Every `gpu.interval` each probe (NVML, AMD's sysfs, the host's /proc, a script) reads on a thread
 * of its own; what it read is copied here, on the loop, and may be looked at at any time. A probe
 * that overruns `gpu.timeout` is left alone: its devices are unresponsive until it answers.
 *
 * An index is a device's for as long as berth runs, also when it goes and comes back. NVIDIA's come
 * first, then AMD's. With MIG, the instances of a card stand in its place.
 *
 * Everything here is called on the loop.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/notify.h"
#include "base/world.h"
#include "config/config.h"
#include "metrics/metrics.h"

enum gpu_vendor { GPU_NVIDIA, GPU_AMD, GPU_INTEL, GPU_UNKNOWN, GPU_VENDOR_MAX_ };

enum {
    GPU_TEXT_SIZE = 96,
    GPU_DEVICES_MAX = 1024,
    GPU_PROCESSES_MAX = 1024, /* of one device; the largest are kept */
    GPU_SAMPLES_MAX = 1000,   /* of one device */
};

/* Figures that a device does not tell. */
#define GPU_NOT_TOLD (-1.0)

struct gpu_process {
    int64_t pid;
    uint64_t memory_bytes;
    bool memory_known; /* else memory_bytes is 0 */
    bool ours;         /* by gpu_in.is_ours */
};

/* One device as it was read last. Borrowed: void after the turn. */
struct gpu_device {
    int index;
    int vendor_index; /* its place among the devices of its vendor, from 0 */
    enum gpu_vendor vendor;
    bool cpu;                 /* the host itself */
    bool mig;                 /* an instance of a partitioned card: engines are told its uuid */
    bool unresponsive;        /* its probe hangs: all figures are those of sampled_wall_ms */
    char id[GPU_TEXT_SIZE];   /* stable over restarts: the uuid, else the PCI address, "cpu" */
    char uuid[GPU_TEXT_SIZE]; /* "" when it has none */
    char pci[GPU_TEXT_SIZE];  /* "0000:c1:00.0", lower case; "" when it has none */
    char name[GPU_TEXT_SIZE];
    char driver_version[GPU_TEXT_SIZE];                                /* "" when it is not told */
    uint64_t memory_total_bytes, memory_used_bytes, memory_free_bytes; /* used + free = total */
    uint64_t foreign_bytes; /* of the used: what is surely not held by processes of ours */
    double utilization;     /* percent */
    double temperature_c, power_w, power_limit_w, clock_mhz, memory_clock_mhz;
    int64_t sampled_wall_ms;
    bool absent;                   /* never of one that is shown here; see gpu_probe.h */
    struct gpu_process *processes; /* the largest first */
    size_t process_count;
};

struct gpu_sample {
    int64_t wall_ms;
    uint64_t memory_used_bytes, memory_total_bytes;
    float utilization, temperature_c, power_w;
};

/* The host: what the kernel says, within the limits of our control group. */
struct gpu_host {
    int64_t sampled_wall_ms; /* 0: not read yet */
    char name[GPU_TEXT_SIZE];
    unsigned cores;
    double cpu_percent; /* between the last two readings; GPU_NOT_TOLD at first */
    uint64_t memory_total_bytes, memory_used_bytes;
    uint64_t disk_total_bytes, disk_used_bytes;          /* of the data directory's file system */
    uint64_t network_sent_bytes, network_received_bytes; /* since boot, without loopback */
    double load_average[3];
};

extern const struct option_table gpu_options;

struct gpu;

struct gpu_in {
    struct world *world;
    const struct config *config;
    struct metrics *metrics;
    /* Is this process one of our engines'? NULL: none is. */
    bool (*is_ours)(void *arg, int64_t pid);
    void *arg;
    const char *proc;   /* where the host is looked at; NULL: "/proc" */
    const char *cgroup; /* NULL: "/sys/fs/cgroup" */
};

/* Reads a script (gpu.scripted) at once; an error of it is an error here. Everything else is read
 * from gpu_start on. */
int gpu_create(const struct gpu_in *in, struct gpu **ret, struct error *reterr) _must_check_;
void gpu_start(struct gpu *g);
/* Never waits for a probe that hangs. Accepts NULL, returns NULL. */
struct gpu *gpu_destroy(struct gpu *g);
/* New option values (reload). */
void gpu_reconfigure(struct gpu *g, const struct config *config);
/* A round of readings now, unless one runs; GPU_SAMPLED tells of each device's. */
void gpu_sample_now(struct gpu *g);

/* ---- what there is ---- */

/* Every probe has answered once, or hangs. Before, only scripted devices are known. */
bool gpu_ready(const struct gpu *g);
/* Walks the devices by index: *cursor starts at 0. NULL at the end. */
const struct gpu_device *gpu_next(const struct gpu *g, size_t *cursor);
/* NULL: there is none, or not any more. */
const struct gpu_device *gpu_find(const struct gpu *g, int index);
const struct gpu_device *gpu_of_vendor(const struct gpu *g, enum gpu_vendor vendor, int index);
unsigned gpu_count(const struct gpu *g, enum gpu_vendor vendor);
/* The devices are made up: what else this machine has does not count. */
bool gpu_is_scripted(const struct gpu *g);
/* Never NULL. */
const struct gpu_host *gpu_host(const struct gpu *g);
/* What was read of a device, the oldest first; NULL beyond the last. Void after the turn. */
size_t gpu_sample_count(const struct gpu *g, int index);
const struct gpu_sample *gpu_sample_at(const struct gpu *g, int index, size_t i);

const char *gpu_vendor_name(enum gpu_vendor vendor); /* "nvidia" */
/* -EINVAL for an unknown word. */
int gpu_vendor_from_string(const char *s);

/* ---- what changes ---- */

enum gpu_change_kind {
    GPU_APPEARED,     /* the first time or again; not for what is there at the first reading */
    GPU_VANISHED,     /* device is how it was last */
    GPU_UNRESPONSIVE, /* its probe hangs */
    GPU_RESPONSIVE,   /* and answers again */
    GPU_SAMPLED,      /* of each device after each reading */
    GPU_READY,        /* once, without a device: gpu_ready from now on */
};

struct gpu_change {
    enum gpu_change_kind kind;
    const struct gpu_device *device;
};

/* Emits const struct gpu_change. */
struct notify *gpu_signal(struct gpu *g);
