// SPDX-License-Identifier: Apache-2.0
/*
 * AMD's devices through the kernel's files: drm's for the cards, hwmon's below them for what is
 * measured, kfd's for the processes. Any of them may be absent, or refuse to be read while a card
 * is reset: that figure is then not told. A card without its memory's files is none for us.
 */
#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "gpu/gpu_probe.h"

#define AMD_VENDOR "0x1002"

enum { CARDS_MAX = 256, NODES_MAX = 1024, KFD_PROCESSES_MAX = 4096 };

struct amd {
    char *sysfs;
};

struct numbers {
    unsigned *list;
    size_t count;
};

static int compare_numbers(const void *a, const void *b)
{
    const unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;

    return x < y ? -1 : x > y;
}

/* The N of every entry "prefixN" of a folder, rising; at most max. The caller frees list. */
static struct numbers numbered_entries(const char *dir, const char *prefix, size_t max)
{
    struct numbers n = { 0 };
    DIR *d = opendir(dir);
    struct dirent *entry;
    uint64_t number;

    while (d && n.count < max && (entry = readdir(d))) {
        if (str_starts(entry->d_name, prefix) &&
            span_to_u64(span_of(entry->d_name + strlen(prefix)), &number) == 0 &&
            number <= UINT32_MAX) {
            n.list = xrealloc(n.list, (n.count + 1) * sizeof(*n.list));
            n.list[n.count++] = (unsigned)number;
        }
    }
    if (d) {
        closedir(d);
    }
    if (n.count > 0) {
        qsort(n.list, n.count, sizeof(*n.list), compare_numbers);
    }
    return n;
}

/* ---- who it is ---- */

static void read_pci(const char *device, struct gpu_device *d)
{
    char text[GPU_FILE_SIZE];
    struct span slot;

    if (gpu_file_read(text, "%s/uevent", device) < 0) {
        return;
    }
    slot = gpu_line_of(text, "PCI_SLOT_NAME=");
    if (slot.p && slot.n < GPU_TEXT_SIZE) {
        _cleanup_(freep) char *copy = span_dup(slot);

        for (char *p = copy; *p; p++) {
            *p = (char)tolower((unsigned char)*p);
        }
        gpu_text_set(d->pci, copy);
    }
}

static void read_identity(const struct amd *a, const char *device, unsigned card,
                          struct gpu_device *d)
{
    char text[GPU_FILE_SIZE];

    read_pci(device, d);
    if (gpu_file_read(text, "%s/unique_id", device) == 0 && text[0]) {
        char uuid[GPU_TEXT_SIZE];

        snprintf(uuid, sizeof(uuid), "GPU-%.80s", text);
        gpu_text_set(d->uuid, uuid);
    }
    if (gpu_file_read(text, "%s/product_name", device) == 0 && text[0]) {
        gpu_text_set(d->name, text);
    } else if (gpu_file_read(text, "%s/device", device) == 0) {
        char name[GPU_TEXT_SIZE];

        snprintf(name, sizeof(name), "AMD GPU %.60s", text);
        gpu_text_set(d->name, name);
    }
    if (gpu_file_read(text, "%s/module/amdgpu/version", a->sysfs) == 0) {
        gpu_text_set(d->driver_version, text);
    }
    if (d->uuid[0] || d->pci[0]) {
        memcpy(d->id, d->uuid[0] ? d->uuid : d->pci, sizeof(d->id));
    } else {
        snprintf(d->id, sizeof(d->id), "amd-card%u", card);
    }
}

/* ---- how it is ---- */

static double file_number(const char *dir, const char *file, double scale)
{
    uint64_t value;

    return gpu_file_u64(&value, "%s/%s", dir, file) < 0 ? GPU_NOT_TOLD : (double)value * scale;
}

static void read_sensors(const char *hwmon, struct gpu_device *d)
{
    d->temperature_c = file_number(hwmon, "temp1_input", 0.001);
    d->power_w = file_number(hwmon, "power1_average", 1e-6);
    if (d->power_w < 0) { /* newer cards have this one instead */
        d->power_w = file_number(hwmon, "power1_input", 1e-6);
    }
    d->power_limit_w = file_number(hwmon, "power1_cap", 1e-6);
    d->clock_mhz = file_number(hwmon, "freq1_input", 1e-6);
    d->memory_clock_mhz = file_number(hwmon, "freq2_input", 1e-6);
}

static void find_sensors(const char *device, struct gpu_device *d)
{
    _cleanup_(freep) char *dir = xasprintf("%s/hwmon", device);
    struct numbers n = numbered_entries(dir, "hwmon", NODES_MAX);
    char name[GPU_FILE_SIZE];

    for (size_t i = 0; i < n.count; i++) {
        _cleanup_(freep) char *hwmon = xasprintf("%s/hwmon%u", dir, n.list[i]);

        if (gpu_file_read(name, "%s/name", hwmon) == 0 && str_eq(name, "amdgpu")) {
            read_sensors(hwmon, d);
            break;
        }
    }
    free(n.list);
}

/* ---- who is on it ---- */

/* kfd's number of the card at this PCI address; 0: it has none. */
static uint64_t kfd_id(const struct amd *a, const char *pci)
{
    _cleanup_(freep) char *dir = xasprintf("%s/class/kfd/kfd/topology/nodes", a->sysfs);
    struct numbers n = { 0 };
    unsigned domain, bus, slot, function;
    char text[GPU_FILE_SIZE];
    uint64_t id = 0, found = 0;

    if (sscanf(pci, "%x:%x:%x.%x", &domain, &bus, &slot, &function) == 4) {
        n = numbered_entries(dir, "", NODES_MAX);
    }
    for (size_t i = 0; i < n.count && found == 0; i++) {
        if (gpu_file_u64(&id, "%s/%u/gpu_id", dir, n.list[i]) == 0 && id != 0 &&
            gpu_file_read(text, "%s/%u/properties", dir, n.list[i]) == 0 &&
            gpu_leading_u64(gpu_line_of(text, "domain ")) == domain &&
            gpu_leading_u64(gpu_line_of(text, "location_id ")) ==
                ((uint64_t)bus << 8 | (uint64_t)slot << 3 | function)) {
            found = id;
        }
    }
    free(n.list);
    return found;
}

static void add_processes(const struct amd *a, struct gpu_device *d)
{
    _cleanup_(freep) char *dir = xasprintf("%s/class/kfd/kfd/proc", a->sysfs);
    const uint64_t id = d->pci[0] ? kfd_id(a, d->pci) : 0;
    struct numbers n = { 0 };
    uint64_t bytes;

    if (id != 0) {
        n = numbered_entries(dir, "", KFD_PROCESSES_MAX);
    }
    for (size_t i = 0; i < n.count; i++) {
        if (gpu_file_u64(&bytes, "%s/%u/vram_%llu", dir, n.list[i], (unsigned long long)id) == 0 &&
            bytes > 0) {
            gpu_device_add_process(d, &(struct gpu_process){ .pid = n.list[i],
                                                             .memory_bytes = bytes,
                                                             .memory_known = true });
        }
    }
    free(n.list);
}

/* ---- the probe ---- */

static void read_card(const struct amd *a, unsigned card, struct gpu_reading *ret)
{
    _cleanup_(freep) char *device = xasprintf("%s/class/drm/card%u/device", a->sysfs, card);
    char vendor[GPU_FILE_SIZE];
    struct gpu_device *d;
    uint64_t total, used, busy;

    if (gpu_file_read(vendor, "%s/vendor", device) < 0 || !str_eq(vendor, AMD_VENDOR) ||
        gpu_file_u64(&total, "%s/mem_info_vram_total", device) < 0 ||
        gpu_file_u64(&used, "%s/mem_info_vram_used", device) < 0 || total == 0) {
        return;
    }
    d = gpu_reading_add(ret);
    if (!d) {
        return;
    }
    d->vendor = GPU_AMD;
    gpu_device_set_memory(d, total, used);
    read_identity(a, device, card, d);
    if (gpu_file_u64(&busy, "%s/gpu_busy_percent", device) == 0) {
        d->utilization = (double)MIN_OF(busy, (uint64_t)100);
    }
    find_sensors(device, d);
    add_processes(a, d);
}

static void read_all(void *state, uint64_t elapsed_ms, struct gpu_reading *ret)
{
    const struct amd *a = state;
    _cleanup_(freep) char *dir = xasprintf("%s/class/drm", a->sysfs);
    struct numbers cards = numbered_entries(dir, "card", CARDS_MAX);

    for (size_t i = 0; i < cards.count; i++) {
        read_card(a, cards.list[i], ret);
    }
    free(cards.list);
}

static void destroy(void *state)
{
    struct amd *a = state;

    free(a->sysfs);
    free(a);
}

static const struct gpu_probe_driver driver = { "gpu amd", read_all, destroy };

struct gpu_probe gpu_amd_probe(const char *sysfs)
{
    struct amd *a = xcalloc(1, sizeof(*a));

    a->sysfs = xstrdup(sysfs);
    return (struct gpu_probe){ &driver, a };
}
