// SPDX-License-Identifier: Apache-2.0
/* Inside the cli room: how `berth simulate` shows what came out. */
#pragma once

#include "simulate/simulate.h"

/* One strategy at one rate, over all seeds. */
struct sim_cell {
    struct sim_result first; /* of the first seed */
    double ttft[3], tpot[2], wait_s, slo_share, goodput_rps, busy_share, cached_share;
    double answered_share, p99_low, p99_high;
    double swaps, preemptions;
    bool sustained; /* with every seed */
};

/* On stdout. */
void simulate_print_one(const struct sim_result *r);
/* A line each; seeds: there were several, so the p99 has its range. */
void simulate_print_table(const struct sim_cell *cells, size_t count, bool seeds);
void simulate_print_json(const struct sim_cell *cells, size_t count, bool seeds);
