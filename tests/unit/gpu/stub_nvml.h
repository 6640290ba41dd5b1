// SPDX-License-Identifier: Apache-2.0
/* What the stand-in NVML answers: its `stub_nvml` symbol, set by the test that loads it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { STUB_CARDS = 4, STUB_PARTS = 8, STUB_PROCESSES = 400 };

struct stub_process {
    uint32_t pid;
    uint64_t memory;
};

struct stub_device {
    const char *uuid, *name;
    uint64_t total, free, reserved;
    struct stub_process processes[STUB_PROCESSES];
    unsigned process_count;
};

struct stub_card {
    struct stub_device self;
    int handle_code; /* what asking for its handle answers */
    unsigned utilization, temperature, power_mw, limit_mw, clock, memory_clock, bus;
    int figures_code; /* what utilization, temperature, power and clocks answer */
    bool mig;
    struct stub_device parts[STUB_PARTS]; /* without uuid: an empty slot */
};

struct stub_nvml {
    int init_code, count_code, memory_v2_code;
    unsigned count;
    struct stub_card cards[STUB_CARDS];
    unsigned inits;
    atomic_uint shutdowns;
    atomic_bool gate_closed; /* counting the devices hangs while it is */
    atomic_uint hanging;
};
