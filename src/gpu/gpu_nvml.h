// SPDX-License-Identifier: Apache-2.0
/*
 * The part of NVML's binary interface that is used, declared here since its header is not free to
 * ship. Sizes are checked at compile time; the tests' stand-in library is built from the same
 * declarations.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct nvml_device_st;

enum nvml_return {
    NVML_SUCCESS = 0,
    NVML_UNINITIALIZED = 1,
    NVML_NOT_SUPPORTED = 3,
    NVML_NOT_FOUND = 6,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_FUNCTION_NOT_FOUND = 13,
    NVML_GPU_IS_LOST = 15,
    NVML_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_UNKNOWN = 999,
};

enum { NVML_TEMPERATURE_GPU = 0, NVML_CLOCK_GRAPHICS = 0, NVML_CLOCK_MEMORY = 2 };
#define NVML_MEMORY_V2       0x02000028u
#define NVML_MEMORY_NOT_TOLD UINT64_MAX
#define NVML_MIG_ENABLED     1u

struct nvml_memory {
    uint64_t total, free, used;
};

struct nvml_memory_v2 {
    uint32_t version;
    uint64_t total, reserved, free, used;
};

struct nvml_utilization {
    uint32_t gpu, memory;
};

struct nvml_pci {
    char bus_id_legacy[16];
    uint32_t domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

struct nvml_process {
    uint32_t pid;
    uint64_t used_memory;
    uint32_t gpu_instance_id, compute_instance_id;
};

static_assert(sizeof(struct nvml_memory) == 24, "nvmlMemory_t");
static_assert(sizeof(struct nvml_memory_v2) == 40, "nvmlMemory_v2_t");
static_assert(offsetof(struct nvml_memory_v2, total) == 8, "nvmlMemory_v2_t.total");
static_assert(sizeof(struct nvml_utilization) == 8, "nvmlUtilization_t");
static_assert(sizeof(struct nvml_pci) == 68, "nvmlPciInfo_t");
static_assert(offsetof(struct nvml_pci, bus_id) == 36, "nvmlPciInfo_t.busId");
static_assert(sizeof(struct nvml_process) == 24, "nvmlProcessInfo_v2_t");
static_assert(offsetof(struct nvml_process, used_memory) == 8,
              "nvmlProcessInfo_v2_t.usedGpuMemory");
