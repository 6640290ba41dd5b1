// SPDX-License-Identifier: Apache-2.0
/*
 * A stand-in for libnvidia-ml.so.1: the symbols that berth asks for, answered from `stub_nvml`.
 * Built with OLD_DRIVER it lacks what drivers before 510 lacked.
 */
#include "stub_nvml.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "gpu/gpu_nvml.h"

/* The handle of a card, or of a part of one. */
struct nvml_device_st {
    struct stub_card *card;
    struct stub_device *device;
};

struct stub_nvml stub_nvml;
static struct nvml_device_st handles[STUB_CARDS][STUB_PARTS + 1];

#define EXPORT __attribute__((visibility("default")))
#define DECLARE(name, ...)                                                                         \
    EXPORT int name(__VA_ARGS__);                                                                  \
    EXPORT int name(__VA_ARGS__)

DECLARE(nvmlInit_v2, void)
{
    if (stub_nvml.init_code == NVML_SUCCESS) {
        stub_nvml.inits++;
    }
    return stub_nvml.init_code;
}

DECLARE(nvmlShutdown, void)
{
    stub_nvml.shutdowns++;
    return NVML_SUCCESS;
}

EXPORT const char *nvmlErrorString(int code);
EXPORT const char *nvmlErrorString(int code)
{
    return code == NVML_DRIVER_NOT_LOADED ? "Driver Not Loaded" : "Stub Error";
}

DECLARE(nvmlSystemGetDriverVersion, char *out, unsigned n)
{
    snprintf(out, n, "570.1.2");
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetCount_v2, unsigned *out)
{
    atomic_fetch_add(&stub_nvml.hanging, 1);
    while (atomic_load(&stub_nvml.gate_closed)) {
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    atomic_fetch_sub(&stub_nvml.hanging, 1);
    *out = stub_nvml.count;
    return stub_nvml.count_code;
}

DECLARE(nvmlDeviceGetHandleByIndex_v2, unsigned i, struct nvml_device_st **out)
{
    struct stub_card *card = &stub_nvml.cards[i];

    handles[i][0] = (struct nvml_device_st){ card, &card->self };
    *out = &handles[i][0];
    return card->handle_code;
}

DECLARE(nvmlDeviceGetName, struct nvml_device_st *dev, char *out, unsigned n)
{
    snprintf(out, n, "%s", dev->device->name);
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetUUID, struct nvml_device_st *dev, char *out, unsigned n)
{
    snprintf(out, n, "%s", dev->device->uuid);
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetPciInfo_v3, struct nvml_device_st *dev, struct nvml_pci *out)
{
    *out = (struct nvml_pci){ .bus = dev->card->bus };
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetMemoryInfo, struct nvml_device_st *dev, struct nvml_memory *out)
{
    const struct stub_device *d = dev->device;

    *out = (struct nvml_memory){ d->total, d->free, d->total - d->free };
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetUtilizationRates, struct nvml_device_st *dev, struct nvml_utilization *out)
{
    *out = (struct nvml_utilization){ dev->card->utilization, 1 };
    return dev->card->figures_code;
}

DECLARE(nvmlDeviceGetTemperature, struct nvml_device_st *dev, int sensor, unsigned *out)
{
    *out = sensor == NVML_TEMPERATURE_GPU ? dev->card->temperature : 999;
    return dev->card->figures_code;
}

DECLARE(nvmlDeviceGetClockInfo, struct nvml_device_st *dev, int type, unsigned *out)
{
    *out = type == NVML_CLOCK_GRAPHICS ? dev->card->clock : dev->card->memory_clock;
    return dev->card->figures_code;
}

DECLARE(nvmlDeviceGetPowerUsage, struct nvml_device_st *dev, unsigned *out)
{
    *out = dev->card->power_mw;
    return dev->card->figures_code;
}

DECLARE(nvmlDeviceGetEnforcedPowerLimit, struct nvml_device_st *dev, unsigned *out)
{
    *out = dev->card->limit_mw;
    return dev->card->figures_code;
}

static int list_processes(const struct stub_device *d, unsigned *count, struct nvml_process *out)
{
    if (*count < d->process_count) {
        *count = d->process_count;
        return NVML_INSUFFICIENT_SIZE;
    }
    *count = d->process_count;
    for (unsigned i = 0; i < d->process_count; i++) {
        out[i] = (struct nvml_process){ d->processes[i].pid, d->processes[i].memory, ~0u, ~0u };
    }
    return NVML_SUCCESS;
}

#ifdef OLD_DRIVER
DECLARE(nvmlDeviceGetComputeRunningProcesses_v2, struct nvml_device_st *dev, unsigned *count,
        struct nvml_process *out)
{
    return list_processes(dev->device, count, out);
}
#else
DECLARE(nvmlDeviceGetMemoryInfo_v2, struct nvml_device_st *dev, struct nvml_memory_v2 *out)
{
    const struct stub_device *d = dev->device;

    if (stub_nvml.memory_v2_code != NVML_SUCCESS) {
        return stub_nvml.memory_v2_code;
    }
    if (out->version != NVML_MEMORY_V2) {
        return NVML_ARGUMENT_VERSION_MISMATCH;
    }
    *out = (struct nvml_memory_v2){ NVML_MEMORY_V2, d->total, d->reserved, d->free,
                                    d->total - d->free - d->reserved };
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetComputeRunningProcesses_v3, struct nvml_device_st *dev, unsigned *count,
        struct nvml_process *out)
{
    return list_processes(dev->device, count, out);
}

DECLARE(nvmlDeviceGetGraphicsRunningProcesses_v3, struct nvml_device_st *dev, unsigned *count,
        struct nvml_process *out)
{
    struct stub_device first = *dev->device;

    first.process_count = first.process_count ? 1 : 0; /* it computes and draws */
    return list_processes(&first, count, out);
}

DECLARE(nvmlDeviceGetMigMode, struct nvml_device_st *dev, unsigned *current, unsigned *pending)
{
    *current = *pending = dev->card->mig;
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetMaxMigDeviceCount, struct nvml_device_st *dev, unsigned *out)
{
    *out = STUB_PARTS;
    return NVML_SUCCESS;
}

DECLARE(nvmlDeviceGetMigDeviceHandleByIndex, struct nvml_device_st *dev, unsigned i,
        struct nvml_device_st **out)
{
    struct stub_card *card = dev->card;
    struct nvml_device_st *handle = &handles[card - stub_nvml.cards][i + 1];

    if (!card->parts[i].uuid) {
        return NVML_NOT_FOUND;
    }
    *handle = (struct nvml_device_st){ card, &card->parts[i] };
    *out = handle;
    return NVML_SUCCESS;
}
#endif
