// SPDX-License-Identifier: Apache-2.0
/*
 * NVIDIA's devices through NVML, loaded at run time: a machine without the library has none of
 * them. Everything is asked anew in each reading, so that cards that come, go or are partitioned
 * are seen, and the library is begun anew when it says that it lost its driver.
 */
#include "gpu/gpu_nvml.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/gpu_probe.h"

enum { CARDS_MAX = 256, LISTED_PROCESSES = 64, LISTED_PROCESSES_MAX = 16384 };

typedef struct nvml_device_st *device_ref;
typedef int (*get_text_fn)(device_ref, char *, unsigned);
typedef int (*get_number_fn)(device_ref, unsigned *);
typedef int (*get_typed_fn)(device_ref, int, unsigned *);
typedef int (*get_processes_fn)(device_ref, unsigned *, struct nvml_process *);

struct library {
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int);
    int (*driver_version)(char *, unsigned);
    int (*count)(unsigned *);
    int (*by_index)(unsigned, device_ref *);
    get_text_fn name, uuid;
    int (*pci)(device_ref, struct nvml_pci *);
    int (*memory)(device_ref, struct nvml_memory *);
    int (*memory_v2)(device_ref, struct nvml_memory_v2 *);
    int (*utilization)(device_ref, struct nvml_utilization *);
    get_typed_fn temperature, clock;
    get_number_fn power, power_limit, max_mig;
    get_processes_fn compute, graphics, compute_v2, graphics_v2;
    int (*mig_mode)(device_ref, unsigned *, unsigned *);
    int (*mig_by_index)(device_ref, unsigned, device_ref *);
};

// clang-format off
static const struct {
    const char *name;
    size_t offset;
    bool needed; /* without it nothing can be said */
} symbols[] = {
    { "nvmlInit_v2",                               offsetof(struct library, init),           true },
    { "nvmlShutdown",                              offsetof(struct library, shutdown),       true },
    { "nvmlErrorString",                           offsetof(struct library, error_string),   false },
    { "nvmlSystemGetDriverVersion",                offsetof(struct library, driver_version), false },
    { "nvmlDeviceGetCount_v2",                     offsetof(struct library, count),          true },
    { "nvmlDeviceGetHandleByIndex_v2",             offsetof(struct library, by_index),       true },
    { "nvmlDeviceGetName",                         offsetof(struct library, name),           false },
    { "nvmlDeviceGetUUID",                         offsetof(struct library, uuid),           true },
    { "nvmlDeviceGetPciInfo_v3",                   offsetof(struct library, pci),            false },
    { "nvmlDeviceGetMemoryInfo",                   offsetof(struct library, memory),         true },
    { "nvmlDeviceGetMemoryInfo_v2",                offsetof(struct library, memory_v2),      false },
    { "nvmlDeviceGetUtilizationRates",             offsetof(struct library, utilization),    false },
    { "nvmlDeviceGetTemperature",                  offsetof(struct library, temperature),    false },
    { "nvmlDeviceGetClockInfo",                    offsetof(struct library, clock),          false },
    { "nvmlDeviceGetPowerUsage",                   offsetof(struct library, power),          false },
    { "nvmlDeviceGetEnforcedPowerLimit",           offsetof(struct library, power_limit),    false },
    { "nvmlDeviceGetComputeRunningProcesses_v3",   offsetof(struct library, compute),        false },
    { "nvmlDeviceGetComputeRunningProcesses_v2",   offsetof(struct library, compute_v2),     false },
    { "nvmlDeviceGetGraphicsRunningProcesses_v3",  offsetof(struct library, graphics),       false },
    { "nvmlDeviceGetGraphicsRunningProcesses_v2",  offsetof(struct library, graphics_v2),    false },
    { "nvmlDeviceGetMigMode",                      offsetof(struct library, mig_mode),       false },
    { "nvmlDeviceGetMaxMigDeviceCount",            offsetof(struct library, max_mig),        false },
    { "nvmlDeviceGetMigDeviceHandleByIndex",       offsetof(struct library, mig_by_index),   false },
};
// clang-format on

struct nvml {
    char *path;
    void *handle; /* NULL: not loaded (yet) */
    struct library lib;
    bool begun; /* nvmlInit succeeded */
    char driver_version[GPU_TEXT_SIZE];
};

/* ---- the library ---- */

static const char *words_of(const struct nvml *n, int code)
{
    const char *text = n->lib.error_string ? n->lib.error_string(code) : NULL;

    return text ? text : "no words for it";
}

static int load_symbols(struct nvml *n, struct error *reterr)
{
    for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
        void *symbol = dlsym(n->handle, symbols[i].name);

        if (!symbol && symbols[i].needed) {
            return error_set(reterr, -ENOSYS, "%s has no %s", n->path, symbols[i].name);
        }
        memcpy((char *)&n->lib + symbols[i].offset, &symbol, sizeof(symbol));
    }
    return 0;
}

/* 1: it is loaded. 0: this machine has none, which is no error. */
static int load(struct nvml *n, struct error *reterr)
{
    int r;

    if (n->handle) {
        return 1;
    }
    n->handle = dlopen(n->path, RTLD_NOW | RTLD_LOCAL);
    if (!n->handle) {
        return 0;
    }
    r = load_symbols(n, reterr);
    if (r < 0) {
        dlclose(n->handle);
        n->handle = NULL;
        n->lib = (struct library){ 0 };
        return r;
    }
    return 1;
}

static int begin(struct nvml *n, struct error *reterr)
{
    char version[GPU_TEXT_SIZE] = "";
    int code;

    if (n->begun) {
        return 0;
    }
    code = n->lib.init();
    if (code != NVML_SUCCESS) {
        return error_set(reterr, -ENODEV, "NVML does not begin: %s (%d)", words_of(n, code), code);
    }
    n->begun = true;
    n->driver_version[0] = '\0';
    if (n->lib.driver_version &&
        n->lib.driver_version(version, sizeof(version) - 1) == NVML_SUCCESS) {
        gpu_text_set(n->driver_version, version);
    }
    return 0;
}

/* Begun anew in the next reading. */
static void end(struct nvml *n)
{
    if (n->begun) {
        n->lib.shutdown();
        n->begun = false;
    }
}

/* ---- one device ---- */

static void read_text(get_text_fn get, device_ref dev, char out[GPU_TEXT_SIZE])
{
    char text[GPU_TEXT_SIZE] = "";

    if (get && get(dev, text, sizeof(text)) == NVML_SUCCESS) {
        text[sizeof(text) - 1] = '\0';
        gpu_text_set(out, text);
    }
}

/* "00000000:C1:00.0" as sysfs writes it: "0000:c1:00.0" */
static void read_pci(const struct nvml *n, device_ref dev, struct gpu_device *d)
{
    struct nvml_pci pci = { 0 };

    if (n->lib.pci && n->lib.pci(dev, &pci) == NVML_SUCCESS) {
        snprintf(d->pci, sizeof(d->pci), "%04x:%02x:%02x.0", pci.domain, pci.bus, pci.device);
    }
}

/* Of older drivers the second version is not there (no symbol, 13) or not known (25). */
static bool read_memory(const struct nvml *n, device_ref dev, struct gpu_device *d)
{
    struct nvml_memory_v2 v2 = { .version = NVML_MEMORY_V2 };
    struct nvml_memory v1 = { 0 };

    if (n->lib.memory_v2 && n->lib.memory_v2(dev, &v2) == NVML_SUCCESS) {
        gpu_device_set_memory(d, v2.total, v2.total - MIN_OF(v2.free, v2.total));
        return true;
    }
    if (n->lib.memory(dev, &v1) == NVML_SUCCESS) {
        gpu_device_set_memory(d, v1.total, v1.total - MIN_OF(v1.free, v1.total));
        return true;
    }
    return false;
}

static double scaled(get_number_fn get, device_ref dev, double scale)
{
    unsigned value = 0;

    return get && get(dev, &value) == NVML_SUCCESS ? value * scale : GPU_NOT_TOLD;
}

static double typed(get_typed_fn get, device_ref dev, int type)
{
    unsigned value = 0;

    return get && get(dev, type, &value) == NVML_SUCCESS ? value : GPU_NOT_TOLD;
}

static void read_figures(const struct nvml *n, device_ref dev, struct gpu_device *d)
{
    struct nvml_utilization use = { 0 };

    if (n->lib.utilization && n->lib.utilization(dev, &use) == NVML_SUCCESS) {
        d->utilization = MIN_OF(use.gpu, 100u);
    }
    d->temperature_c = typed(n->lib.temperature, dev, NVML_TEMPERATURE_GPU);
    d->clock_mhz = typed(n->lib.clock, dev, NVML_CLOCK_GRAPHICS);
    d->memory_clock_mhz = typed(n->lib.clock, dev, NVML_CLOCK_MEMORY);
    d->power_w = scaled(n->lib.power, dev, 0.001);
    d->power_limit_w = scaled(n->lib.power_limit, dev, 0.001);
}

/* How many there are may grow between the calls. *ret is the caller's; 0 when they are not told. */
static unsigned list_processes(get_processes_fn list, device_ref dev, struct nvml_process **ret)
{
    unsigned room = LISTED_PROCESSES;

    *ret = NULL;
    while (list && room <= LISTED_PROCESSES_MAX) {
        unsigned count = room;
        int code;

        *ret = xrealloc(*ret, room * sizeof(**ret));
        code = list(dev, &count, *ret);
        if (code == NVML_SUCCESS) {
            return MIN_OF(count, room);
        }
        if (code != NVML_INSUFFICIENT_SIZE) {
            return 0;
        }
        room = MAX_OF(room * 2, MIN_OF(count, (unsigned)LISTED_PROCESSES_MAX));
    }
    return 0;
}

static void add_processes(get_processes_fn list, device_ref dev, struct gpu_device *d)
{
    struct nvml_process *found = NULL;
    const unsigned count = list_processes(list, dev, &found);

    for (unsigned i = 0; i < count; i++) {
        const bool known = found[i].used_memory != NVML_MEMORY_NOT_TOLD;

        gpu_device_add_process(
            d, &(struct gpu_process){ .pid = found[i].pid,
                                      .memory_known = known,
                                      .memory_bytes = known ? found[i].used_memory : 0 });
    }
    free(found);
}

/* card: the device itself, or the one that it is a part of. A device that does not tell who it is
 * and how much memory it has is as good as gone. */
static void add_device(const struct nvml *n, device_ref dev, device_ref card,
                       struct gpu_reading *ret)
{
    struct gpu_device *d = gpu_reading_add(ret);

    if (!d) {
        return;
    }
    read_text(n->lib.uuid, dev, d->uuid);
    if (d->uuid[0] == '\0' || !read_memory(n, dev, d)) {
        ret->count--;
        return;
    }
    d->vendor = GPU_NVIDIA;
    d->mig = dev != card;
    memcpy(d->id, d->uuid, sizeof(d->id));
    memcpy(d->driver_version, n->driver_version, sizeof(d->driver_version));
    read_text(n->lib.name, dev, d->name);
    read_pci(n, card, d);
    read_figures(n, card, d);
    if (d->mig) {
        d->utilization = GPU_NOT_TOLD; /* of the whole card it says nothing about a part */
    }
    add_processes(n->lib.compute ? n->lib.compute : n->lib.compute_v2, dev, d);
    add_processes(n->lib.graphics ? n->lib.graphics : n->lib.graphics_v2, dev, d);
}

static bool is_partitioned(const struct nvml *n, device_ref card)
{
    unsigned current = 0, pending = 0;

    return n->lib.mig_mode && n->lib.max_mig && n->lib.mig_by_index &&
           n->lib.mig_mode(card, &current, &pending) == NVML_SUCCESS && current == NVML_MIG_ENABLED;
}

static void add_parts(const struct nvml *n, device_ref card, struct gpu_reading *ret)
{
    unsigned slots = 0;

    if (n->lib.max_mig(card, &slots) != NVML_SUCCESS) {
        return;
    }
    for (unsigned i = 0; i < slots; i++) {
        device_ref part = NULL;

        if (n->lib.mig_by_index(card, i, &part) == NVML_SUCCESS) { /* else the slot is empty */
            add_device(n, part, card, ret);
        }
    }
}

/* ---- the probe ---- */

/* A lost card makes one reading incomplete; a lost driver ends all of it. */
static void read_cards(struct nvml *n, struct gpu_reading *ret)
{
    unsigned count = 0;
    int code = n->lib.count(&count);

    if (code != NVML_SUCCESS) {
        error_set(&ret->error, -EIO, "NVML does not tell its devices: %s (%d)", words_of(n, code),
                  code);
        end(n);
        return;
    }
    for (unsigned i = 0; i < MIN_OF(count, (unsigned)CARDS_MAX); i++) {
        device_ref card = NULL;

        code = n->lib.by_index(i, &card);
        if (code != NVML_SUCCESS) {
            error_set(&ret->error, -EIO, "NVML does not give device %u: %s (%d)", i,
                      words_of(n, code), code);
            if (code == NVML_UNINITIALIZED || code == NVML_DRIVER_NOT_LOADED) {
                end(n);
                return;
            }
        } else if (is_partitioned(n, card)) {
            add_parts(n, card, ret);
        } else {
            add_device(n, card, card, ret);
        }
    }
}

static void read_all(void *state, uint64_t elapsed_ms, struct gpu_reading *ret)
{
    struct nvml *n = state;

    if (load(n, &ret->error) > 0 && begin(n, &ret->error) == 0) {
        read_cards(n, ret);
    }
}

static void destroy(void *state)
{
    struct nvml *n = state;

    end(n);
    if (n->handle) {
        dlclose(n->handle);
    }
    free(n->path);
    free(n);
}

static const struct gpu_probe_driver driver = { "gpu nvml", read_all, destroy };

struct gpu_probe gpu_nvml_probe(const char *library)
{
    struct nvml *n = xcalloc(1, sizeof(*n));

    n->path = xstrdup(library);
    return (struct gpu_probe){ &driver, n };
}
