// SPDX-License-Identifier: Apache-2.0
/* Device indexes, as the room of devices has them or the kernel counts them. */
#include "engines/devices.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "engines/engine_driver.h"
#include "engines/parameters.h"
#include "engines/words.h"
#include "gpu/gpu.h"

#define AMD_VENDOR "0x1002"

/* prefix and then digits only: "nvidia0" is a card, "nvidiactl" is not */
static bool is_numbered(const char *name, const char *prefix)
{
    size_t n = strlen(prefix);

    return str_starts(name, prefix) && name[n] && name[n + strspn(name + n, "0123456789")] == '\0';
}

static bool is_of_amd(const char *drm, const char *card)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s/device/vendor", drm, card);
    char text[16] = "";
    FILE *f = fopen(path, "re");

    if (!f) {
        return false;
    }
    if (!fgets(text, sizeof(text), f)) {
        text[0] = '\0';
    }
    fclose(f);
    return str_starts(text, AMD_VENDOR);
}

static unsigned count_entries(const char *dir, const char *prefix,
                              bool (*counts)(const char *dir, const char *name))
{
    DIR *d = opendir(dir);
    struct dirent *entry;
    unsigned n = 0;

    if (!d) {
        return 0;
    }
    while ((entry = readdir(d))) {
        n += is_numbered(entry->d_name, prefix) && (!counts || counts(dir, entry->d_name));
    }
    closedir(d);
    return n;
}

struct gpus gpus_count(const char *root)
{
    _cleanup_(freep) char *dev = xasprintf("%s/dev", root);
    _cleanup_(freep) char *drm = xasprintf("%s/sys/class/drm", root);

    return (struct gpus){ .nvidia = count_entries(dev, "nvidia", NULL),
                          .amd = count_entries(drm, "card", is_of_amd) };
}

static unsigned count_of_vendor(const struct gpu *room, enum gpu_vendor vendor)
{
    const struct gpu_device *d;
    unsigned count = 0;
    size_t cursor = 0;

    while ((d = gpu_next(room, &cursor))) {
        if (!d->cpu && d->vendor == vendor) {
            count = MAX_OF(count, (unsigned)d->vendor_index + 1);
        }
    }
    return count;
}

struct gpus gpus_of(const struct gpu *room)
{
    struct gpus kernel = { 0 }, gpus = { .room = room };

    if (!room) {
        return gpus_count("");
    }
    gpus.nvidia = count_of_vendor(room, GPU_NVIDIA);
    gpus.amd = count_of_vendor(room, GPU_AMD);
    if (!gpu_is_scripted(room) && (gpus.nvidia == 0 || gpus.amd == 0)) {
        kernel = gpus_count("");
    }
    gpus.nvidia = gpus.nvidia ? gpus.nvidia : kernel.nvidia;
    gpus.amd = gpus.amd ? gpus.amd : kernel.amd;
    return gpus;
}

struct gpus gpus_for(const struct engine_context *c)
{
    struct gpus gpus = gpus_of(c->gpu);

    gpus.place = c->place;
    return gpus;
}

static const struct gpu_device *find_placed(const struct gpus *gpus, unsigned i)
{
    return gpus->room ? gpu_find(gpus->room, gpus->place->shares[i].device) : NULL;
}

static bool is_placed(const struct gpus *gpus)
{
    return gpus->place && gpus->place->count > 0;
}

static bool wants_amd(const struct model_config *model, const struct gpus *gpus)
{
    const char *vendor = parameter_text(model, "gpu_vendor");
    const struct gpu_device *first = is_placed(gpus) ? find_placed(gpus, 0) : NULL;

    if (first && !first->cpu) {
        return first->vendor == GPU_AMD;
    }
    return vendor ? str_eq(vendor, "amd") : gpus->nvidia == 0;
}

static unsigned count_for(const struct model_config *model, const struct gpus *gpus)
{
    return wants_amd(model, gpus) ? gpus->amd : gpus->nvidia;
}

static const struct gpu_device *find(const struct model_config *model, const struct gpus *gpus,
                                     int64_t device)
{
    const enum gpu_vendor vendor = wants_amd(model, gpus) ? GPU_AMD : GPU_NVIDIA;

    return gpus->room ? gpu_of_vendor(gpus->room, vendor, (int)device) : NULL;
}

/* Negative ones are the catalogue's to refuse. One in the middle may have vanished. */
static bool exists(const struct model_config *model, const struct gpus *gpus, int64_t device)
{
    const unsigned count = count_for(model, gpus);
    const bool told =
        gpus->room && count_of_vendor(gpus->room, wants_amd(model, gpus) ? GPU_AMD : GPU_NVIDIA);

    if (device < 0 || device >= (count ? (int64_t)count : 1)) {
        return device < 0;
    }
    return !told || find(model, gpus, device);
}

static int refuse(const char *list, int64_t device, unsigned count, struct error *reterr)
{
    if (device < (int64_t)count) {
        return error_set(reterr, -ENODEV, "%s: device %lld is not there any more", list,
                         (long long)device);
    }
    if (count == 0) {
        return error_set(
            reterr, -ENODEV,
            "%s: there is no device %lld; this machine has no GPU, device 0 is its CPU", list,
            (long long)device);
    }
    if (count == 1) {
        return error_set(reterr, -ENODEV,
                         "%s: there is no device %lld; this machine has one GPU, device 0", list,
                         (long long)device);
    }
    return error_set(reterr, -ENODEV,
                     "%s: there is no device %lld; this machine has %u GPUs, 0 to %u", list,
                     (long long)device, count, count - 1);
}

/* Tells v of every unknown index; without v, of the first one only. */
static int check(const struct model_config *model, const struct gpus *gpus, struct validation *v,
                 struct error *reterr)
{
    const json_t *more = json_object_get(model->resource_requirements, "gpu_devices");
    unsigned count = count_for(model, gpus);
    int r = 0;

    for (size_t i = 0; i < model->gpu_device_count + json_array_size(more) && (v || r == 0); i++) {
        bool first = i < model->gpu_device_count;
        int64_t device =
            first ? model->gpu_devices[i]
                  : json_integer_value(json_array_get(more, i - model->gpu_device_count));

        if (!exists(model, gpus, device)) {
            r = refuse(first ? "gpu_devices" : "resource_requirements.gpu_devices", device, count,
                       reterr);
            if (v) {
                validation_error(v, "%s", reterr->text);
            }
        }
    }
    return r;
}

int devices_check(const struct model_config *model, const struct gpus *gpus, struct error *reterr)
{
    return check(model, gpus, NULL, reterr);
}

void devices_validate(const struct model_config *model, const struct gpus *gpus,
                      struct validation *v)
{
    struct error err = { 0 };

    (void)!check(model, gpus, v, &err);
}

/* CUDA counts neither the parts of cards nor, then, the cards as we do: uuids are plain. */
static bool has_parts(const struct gpus *gpus)
{
    const struct gpu_device *d;
    size_t cursor = 0;

    while (gpus->room && (d = gpu_next(gpus->room, &cursor))) {
        if (d->mig) {
            return true;
        }
    }
    return false;
}

bool devices_are_amd(const struct model_config *model, const struct gpus *gpus)
{
    return wants_amd(model, gpus);
}

unsigned devices_count(const struct model_config *model, const struct gpus *gpus)
{
    if (count_for(model, gpus) == 0) {
        return 0;
    }
    return is_placed(gpus) ? gpus->place->count : (unsigned)model->gpu_device_count;
}

/* Of the i-th device: what it is called. A place's index is the room's own, the definition's counts
 * its vendor's. */
static void add_id(const struct model_config *model, const struct gpus *gpus, unsigned i,
                   struct words *ids)
{
    const bool by_uuid = !wants_amd(model, gpus) && has_parts(gpus);
    const struct gpu_device *d =
        is_placed(gpus) ? find_placed(gpus, i) : find(model, gpus, model->gpu_devices[i]);

    if (d && by_uuid) {
        words_add(ids, d->uuid);
    } else if (d) {
        words_addf(ids, "%d", d->vendor_index);
    } else {
        words_addf(ids, "%d",
                   is_placed(gpus) ? gpus->place->shares[i].device : model->gpu_devices[i]);
    }
}

char **devices_ids(const struct model_config *model, const struct gpus *gpus)
{
    unsigned count = devices_count(model, gpus);
    struct words ids = { 0 };

    if (count == 0) {
        return NULL;
    }
    for (unsigned i = 0; i < count; i++) {
        add_id(model, gpus, i, &ids);
    }
    return words_take(&ids);
}

char *devices_variable(const struct model_config *model, const struct gpus *gpus)
{
    _cleanup_(str_list_freep) char **ids = devices_ids(model, gpus);
    struct buf out = BUF_INIT(64 * 1024);

    if (!ids) {
        return NULL;
    }
    buf_puts(&out, wants_amd(model, gpus) ? "HIP_VISIBLE_DEVICES=" : "CUDA_VISIBLE_DEVICES=");
    for (char **id = ids; *id; id++) {
        buf_puts(&out, id == ids ? "" : ",");
        buf_puts(&out, *id);
    }
    return buf_take(&out, NULL);
}

bool devices_are_cpu(const struct model_config *model, const struct gpus *gpus)
{
    return model->gpu_device_count > 0 && count_for(model, gpus) == 0;
}

bool devices_are_host(const struct model_config *model, const struct gpus *gpus)
{
    return count_for(model, gpus) == 0;
}
