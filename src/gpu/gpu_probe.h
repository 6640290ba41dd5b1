// SPDX-License-Identifier: Apache-2.0
/*
 * What looks at devices: the replaceable part of this room. One file a probe. Whatever a probe does
 * may block or hang, so all of it runs on a thread of its own, never on the loop, and touches
 * nothing but the probe's own state.
 */
#pragma once

#include "gpu/gpu.h"

/* What one look has found; owned by the caller (gpu_reading_finish). */
struct gpu_reading {
    /* Indexes and foreign_bytes are not the probe's to say. One that is `absent` only keeps its
     * place. */
    struct gpu_device *devices;
    size_t count;
    bool has_host;
    struct gpu_host host;
    /* code 0: it went well, which it also did when there is nothing of the kind on this machine. */
    struct error error;
};

struct gpu_probe_driver {
    const char *name; /* a constant: also the thread's */
    /* elapsed_ms: since the room was made, by the world's clock. ret is empty. */
    void (*read)(void *state, uint64_t elapsed_ms, struct gpu_reading *ret);
    void (*destroy)(void *state);
};

struct gpu_probe {
    const struct gpu_probe_driver *driver;
    void *state;
};

/* library: what dlopen gets. */
struct gpu_probe gpu_nvml_probe(const char *library);
/* sysfs: where it is mounted, "/sys". */
struct gpu_probe gpu_amd_probe(const char *sysfs);
/* The host as one device, and the host itself; disk is a path on the disk to be shown. */
struct gpu_probe gpu_host_probe(const char *proc, const char *cgroup, const char *disk);
/* Reads the script, blocking; proc is where holders are looked for. */
int gpu_scripted_probe(const char *path, const char *proc, struct gpu_probe *ret,
                       struct error *reterr) _must_check_;

/* ---- for probes ---- */

/* A device of which nothing is told yet; NULL beyond GPU_DEVICES_MAX. Void after the next call. */
struct gpu_device *gpu_reading_add(struct gpu_reading *r);
void gpu_reading_finish(struct gpu_reading *r);
/* Keeps the GPU_PROCESSES_MAX largest. Of a process that stands there already the larger figure
 * counts. */
void gpu_device_add_process(struct gpu_device *d, const struct gpu_process *p);
/* Sets used and free so that they add up to total. */
void gpu_device_set_memory(struct gpu_device *d, uint64_t total, uint64_t used);
/* Cuts, and replaces what is not printable ASCII by '?'. */
void gpu_text_set(char out[GPU_TEXT_SIZE], const char *text);

/* The start of a small file of the kernel's, trimmed; the path is a format. Negative errno. */
enum { GPU_FILE_SIZE = 4096 };
int gpu_file_read(char out[GPU_FILE_SIZE], const char *path, ...) _printf_(2, 3);
/* A file that holds one number. */
int gpu_file_u64(uint64_t *ret, const char *path, ...) _printf_(2, 3);
/* The whole of a larger file, owned by the caller; NULL when it cannot be read. */
enum { GPU_FILE_MAX = 4 << 20 };
char *gpu_file_dup(const char *path);
/* The rest of the line that begins with key, trimmed; absent when there is none. */
struct span gpu_line_of(const char *text, const char *key);
/* "12345 kB" and the like: the number at the start. 0 when there is none. */
uint64_t gpu_leading_u64(struct span s);
