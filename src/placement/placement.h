// SPDX-License-Identifier: Apache-2.0
/*
 * Placement: which models are up. A model that somebody asks for is wanted, one that nobody has
 * asked for during its keep_alive is not any more. (Which device an instance gets, and who makes
 * room for whom, will be decided here too.)
 *
 * Idle is a model with nothing in flight and nobody waiting; its time runs from the end of its last
 * request, or from the moment at which it became ready. A pinned model is never unloaded.
 */
#pragma once

#include "config/config.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "models/models.h"

struct placement;

extern const struct option_table placement_options; /* placement.unload_after */

struct placement *placement_create(struct world *w, const struct config *config,
                                   struct models *models, struct dispatch *dispatch);
void placement_reconfigure(struct placement *p, const struct config *config);
/* Before dispatch and models. Accepts NULL, returns NULL. */
struct placement *placement_destroy(struct placement *p);

/* A request carried keep_alive: from now on this rules for the model (KEEP_ALIVE_FOREVER, 0 or
 * milliseconds) until another request says otherwise or the model is unloaded. */
void placement_keep_alive(struct placement *p, int64_t model_id, int64_t keep_alive_ms);
/* A request asks for the model to be unloaded: so it is as soon as nothing runs, unless it is
 * pinned. Nothing, when it is not loaded. */
void placement_let_go(struct placement *p, int64_t model_id);
/* When the model will be unloaded if nobody asks for it, as wall time in ms; 0: never, or it is not
 * loaded. While it is busy: from now. */
int64_t placement_expires_wall_ms(const struct placement *p, int64_t model_id);

/* To be connected by daemon/wiring.c. */
void placement_on_demand(void *placement, const void *demand);
void placement_on_model(void *placement, const void *model_change);
void placement_on_instance(void *placement, const void *instance_change);
