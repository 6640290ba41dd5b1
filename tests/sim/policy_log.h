// SPDX-License-Identifier: Apache-2.0
/*
 * A world for the policy alone, and the log of what happened in it. The world plays devices,
 * processes and requests; the checker knows nothing but the log, and recomputes from it whether
 * the policy kept its rules.
 */
#pragma once

#include "placement/policy.h"

enum { LOG_DEVICES = 5, LOG_MODELS = 7, HOST_POOL = 99 };

enum log_kind {
    LOG_RULES,    /* rules */
    LOG_DEVICE,   /* model = index of the device; device */
    LOG_GONE,     /* the device is not there any more */
    LOG_WANTED,   /* spec: the model is wanted, or its definition has changed; it waits */
    LOG_UNWANTED, /* what runs of it is stopped */
    LOG_DEMAND,   /* waiting, in_flight, since_ms */
    LOG_RESERVE,  /* place, reason */
    LOG_WITHDRAW, /* other, reason */
    LOG_LOAD,     /* its process is started, at its place */
    LOG_READY,
    LOG_FAILED,   /* its process has ended by itself; since_ms: not to be placed earlier */
    LOG_DISPLACE, /* other, reason */
    LOG_ENDED,    /* its process has ended; if it was displaced, it waits again */
    LOG_FREED,    /* memory at place is free again */
    LOG_VERDICT,  /* reason */
    LOG_PASS,     /* the policy was asked, and what stands before this is its answer */
    LOG_CROWDED,  /* from now on nothing changes but what the policy does; all want the same */
    LOG_END,
};

struct log_spec {
    int priority;
    bool pinned, may_preempt, force;
    struct memory_need need;
    int devices[2];
    unsigned device_count;
};

struct log_entry {
    uint64_t ms;
    enum log_kind kind;
    int model, other; /* -1: none */
    enum policy_reason reason;
    struct place place;
    unsigned waiting, in_flight;
    uint64_t since_ms;
    union {
        struct policy_rules rules;
        struct policy_device device;
        struct log_spec spec;
    };
};

struct log {
    struct log_entry *entries;
    size_t count, room;
};

/* How long things take in this world, at most. */
enum { LOAD_MS_MAX = 9000, DRAIN_MS_MAX = 6000, FREE_MS_MAX = 5000 };

/* Plays one history into the log (which the caller frees: log_finish). fault: see policy_faults.c;
 * 0: none. */
void policy_world_play(uint64_t seed, int fault, struct log *ret);
void log_finish(struct log *log);

/* True: all rules were kept. False: ret_text says which was not, and when. */
bool policy_check(const struct log *log, char *ret_text, size_t size);

/* policy_decide() with one fault. */
void policy_decide_faulty(const struct policy_snapshot *s, int fault, struct policy_plan *ret);
enum { FAULTS = 16 };
const char *policy_fault_name(int fault);
