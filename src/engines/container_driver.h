// SPDX-License-Identifier: Apache-2.0
/*
 * What the drivers of containers share: the parameters that say how any container is run, its port,
 * its devices, its environment.
 */
#pragma once

#include "engines/container.h"
#include "engines/engine_driver.h"
#include "engines/parameters.h"
#include "engines/words.h"

/* Rows of a driver's parameter table. */
// clang-format off
#define CONTAINER_PARAMETERS \
    { "image",        PARAMETER_TEXT, NULL, 0, 0 }, \
    { "pull",         PARAMETER_BOOL, NULL, 0, 0 }, \
    { "network",      PARAMETER_OWN,  NULL, 0, 0 }, /* "bridge", "host" */ \
    { "ipc",          PARAMETER_OWN,  NULL, 0, 0 }, /* "private", "host" */ \
    { "volumes",      PARAMETER_OWN,  NULL, 0, 0 }, /* ["/host:/container[:ro]"] */ \
    { "shm_size",     PARAMETER_OWN,  NULL, 0, 0 }, /* bytes, or "2GiB" */ \
    { "memory_limit", PARAMETER_OWN,  NULL, 0, 0 }, \
    { "gpus",         PARAMETER_BOOL, NULL, 0, 0 }  /* false: it gets none */
// clang-format on

struct container_defaults {
    const char *image; /* NULL: one must be named */
    bool host_ipc;
    uint16_t port; /* that it listens on inside */
};

/* The spec as far as it is the same for all of them; the caller adds its words. -EINVAL for a
 * definition that is wrong, else the machine lacks something. *ret is owned by the caller. */
int container_describe(const struct engine_context *c, const struct container_defaults *defaults,
                       struct container_spec **ret, struct error *reterr) _must_check_;
/* Where it listens as it sees it itself: "0.0.0.0", or, with host networking, "127.0.0.1". */
const char *container_host(const struct container_spec *spec);
uint16_t container_port(const struct container_spec *spec);
/* Adds "host:inside" or "host:inside:ro". */
void container_bind(struct container_spec *spec, const char *host, const char *inside,
                    const char *mode);
/* The definition's env. Which devices it sees is said by the devices that it gets: inside they are
 * counted anew. */
void container_env(const struct model_config *model, struct words *env);
/* What both add to their validation, beside that of their parameters. */
void container_validate(const struct engine_context *c, struct validation *v,
                        struct validation *machine);
