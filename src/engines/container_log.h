// SPDX-License-Identifier: Apache-2.0
/*
 * A container's log on its way into its instance's engine.log: frames of 8 bytes {1|2,0,0,0,length}
 * and a payload that begins with a time stamp, which is taken off and remembered. After a cut the
 * log is asked for again from that time on, and what was written already is passed over.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONTAINER_STAMP_MAX = 40 };

struct container_log {
    int fd; /* of engine.log; -1: it could not be opened */
    unsigned char head[8];
    size_t head_len;
    uint64_t left; /* of the frame's payload */
    char stamp[CONTAINER_STAMP_MAX];
    size_t stamp_len;
    bool in_text;          /* the frame's time stamp is over */
    bool skipped;          /* this frame was written already */
    int64_t last_ns;       /* time of the last frame */
    unsigned at_last;      /* frames with that time */
    unsigned seen_at_last; /* since the last cut */
    int64_t cut_ns;        /* frames up to here were written before the last cut … */
    unsigned cut_count;    /* … of those of this very time, as many; ~0u: all */
};

/* since_ns: what was logged until then is written already; 0: nothing is. */
void container_log_open(struct container_log *log, const char *path, int64_t since_ns);
void container_log_close(struct container_log *log);
/* A new answer begins: its first byte begins a frame. */
void container_log_cut(struct container_log *log);
void container_log_feed(struct container_log *log, const char *p, size_t n);
/* A line of our own. */
void container_log_say(struct container_log *log, const char *line);
/* "2026-11-21T01:54:39.425668938Z" as nanoseconds since 1970; -1: it is none. */
int64_t container_stamp_ns(const char *text);
