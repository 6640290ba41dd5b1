// SPDX-License-Identifier: Apache-2.0
/* Staying with something durable (a task, a batch) until it has ended. A daemon that is started
 * anew meanwhile is waited for: what it has accepted goes on. */
#pragma once

#include "cli/cli_int.h"

struct followed {
    const char *path;  /* asked again and again */
    const char *name;  /* "task 12", for what is said */
    uint64_t limit_ms; /* 0: none */
    /* Has it ended, by this answer? */
    bool (*ended)(const json_t *answer);
    /* How it goes, in a line, for who waits at a terminal. */
    void (*say)(const json_t *answer, struct buf *line);
};

/* 0: *ret is the last answer, to be finished by the caller; else the exit code, having spoken (5
 * when the limit is over). */
int follow_until_end(struct cli *cli, const struct followed *f, struct reply *ret) _must_check_;
/* The option's duration in ms, 0 when it is not given. -EINVAL, having spoken. */
int cli_duration(const struct cli *cli, const char *name, uint64_t *ret) _must_check_;
