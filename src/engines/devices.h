// SPDX-License-Identifier: Apache-2.0
/*
 * The indexes of `gpu_devices`: which ones there are on this machine, and how an engine is told. A
 * machine without GPUs has one device, 0, its CPU; with GPUs the indexes are theirs, from 0. A
 * definition's `parameters.gpu_vendor` ("nvidia", "amd") says whose GPUs are meant; without it
 * they are NVIDIA's where there are any.
 */
#pragma once

#include <stdbool.h>

#include "models/models.h"

struct engine_context;
struct gpu;
struct place;

/* room is borrowed for the turn; NULL: nothing is known but how many there are. */
struct gpus {
    unsigned nvidia, amd; /* one more than the highest index */
    const struct gpu *room;
    const struct place
        *place; /* the instance's; NULL: the definition says its devices, or nobody */
};

/* As the room knows them. Of a vendor of whom it sees none, and everywhere without a room, the
 * kernel's count stands: a container may lack the library that tells of the cards it has. */
struct gpus gpus_of(const struct gpu *room);
/* The same for an instance: its place stands for the devices that the definition names. */
struct gpus gpus_for(const struct engine_context *c);
/* Counts what the kernel shows below root ("" is this machine): a device node for each NVIDIA card,
 * a directory of drm for each AMD card. */
struct gpus gpus_count(const char *root);

/* Names every index that this machine does not have: -ENODEV and the first one, or all of them as
 * errors of v. */
int devices_check(const struct model_config *model, const struct gpus *gpus,
                  struct error *reterr) _must_check_;
void devices_validate(const struct model_config *model, const struct gpus *gpus,
                      struct validation *v);

/* The devices that it is to have, as an engine is told: the vendor's indexes, or uuids where a card
 * is partitioned. NULL-terminated, owned by the caller; NULL when nobody says, or they are no GPUs.
 */
char **devices_ids(const struct model_config *model, const struct gpus *gpus);
/* Of these: are they AMD's? */
bool devices_are_amd(const struct model_config *model, const struct gpus *gpus);
/* How many GPUs it is to have; 0 when nobody says. */
unsigned devices_count(const struct model_config *model, const struct gpus *gpus);
/* "CUDA_VISIBLE_DEVICES=0,2", owned by the caller; NULL when devices_ids is. */
char *devices_variable(const struct model_config *model, const struct gpus *gpus);
/* The definition names device 0, and that is the CPU. */
bool devices_are_cpu(const struct model_config *model, const struct gpus *gpus);
/* Wherever it is placed, it is the host: there are no GPUs of its kind. */
bool devices_are_host(const struct model_config *model, const struct gpus *gpus);
