// SPDX-License-Identifier: Apache-2.0
/*
 * A placement that says what the test tells it to: so that every answer of it can be seen in the
 * doors' words. It stands in the place of the real one, function for function.
 */
#pragma once

#include "placement/placement.h"

struct fake_placement {
    bool places; /* whoever waits gets 100 MiB of device 0 at once */
    struct placement_rules rules;
    struct placement_counts counts;
    struct placement_waiting waiting[4];
    size_t waiting_count;
    struct placement_entry entries[4];
    size_t entry_count;
    struct placement_history_filter filter; /* as last asked; model: see filter_model */
    char filter_model[64];
    struct placement_ask ask; /* the last one */
    unsigned asked;
    struct placement_answer answer;
    int result; /* of schedule, admit, history and set_rules */
    char error[128];
    unsigned reconfigured;
};
extern struct fake_placement fake;
void fake_reset(void);
