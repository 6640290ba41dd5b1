// SPDX-License-Identifier: Apache-2.0
/* The daemon's own options (server.*, log.*), and the models that the file defines. */
#pragma once

#include "config/config.h"
#include "models/models.h"

extern const struct option_table daemon_options_table;

/* The models of the file, checked, paths made absolute (relative ones count from the file's
 * folder). Caller owns all. */
int options_models(const struct config *config, struct model_config ***ret, size_t *ret_count,
                   struct error *reterr) _must_check_;
/* log.level and log.format take effect. */
void options_apply_log(const struct config *config);
