// SPDX-License-Identifier: Apache-2.0
/* Options that other programs' configuration files have, so that such a file can be used as it is:
 * some stand for one of ours, the others are accepted and said to have no effect. */
#pragma once

#include "config/config.h"

extern const struct option_table foreign_options;

/* Gives those that stand for one of ours to it, unless that is set itself. */
int foreign_options_apply(struct config *config, struct error *reterr) _must_check_;
/* What was set and has no effect, or has it under another name: an array of sentences, owned by the
 * caller. */
json_t *foreign_options_notes(const struct config *config);
