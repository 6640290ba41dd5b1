// SPDX-License-Identifier: Apache-2.0
/*
 * What a scripted engine is told to do: one JSON object, read from the file named by the
 * environment variable SCRIPTED_ENGINE or, when the model's path ends in ".json", from that file. A
 * request may override the answer part by a top-level member "scripted" of its own body. Numbers
 * are counts, bytes or milliseconds as their names say; -1 means "never". "by_start": [A, B, ...]
 * merges A over the rest at the first start, B at the second, the last one at all later ones;
 * starts are counted in FILE.starts.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* How one request is answered. Strings are borrowed from the JSON value it was read from. */
struct answer {
    json_int_t status;             /* not 200: answered with "body" at once */
    const char *body;              /* the body of such an answer */
    const char *broken;            /* name of a malformed answer, see broken_answer() */
    json_int_t first_ms;           /* silence before the first byte */
    json_int_t event_ms;           /* pause between events; 0: as fast as they are read */
    json_int_t events;             /* tokens to say: " 0", " 1", ... */
    json_int_t event_bytes;        /* pads each token to this length with 'x' */
    json_int_t die_after_events;   /* the process leaves by _exit(9) after that many */
    json_int_t close_after_events; /* only the connection is closed */
    json_int_t stall_after_events; /* nothing more is said, the connection stays */
    bool hang;                     /* never answers */
    bool ignore_disconnect;        /* keeps its slot until all events' time is over */
    bool exit_on_request;          /* leaves before it answers */
};

struct behaviour {
    json_int_t load_ms; /* 503 "Loading model" for so long */
    json_int_t exit_at_start;
    json_int_t exit_after_ms;
    json_int_t exit_code;
    json_int_t hang_health_after_ms; /* from then on /health is not answered */
    json_int_t stderr_bytes;         /* logged at start */
    json_int_t keepalive_max;        /* requests a connection; 0: no limit */
    json_int_t keepalive_idle_ms;
    const char *last_words; /* logged before an exit */
    const char *record;     /* file that gets one JSON line for each start, request, end */
    bool never_ready;
    bool ignore_sigterm;
    bool hang_slots;
    bool stream_keepalive; /* llama-server closes after a stream; true: stay open */
    struct answer answer;
};

/* Fills *ret_behaviour; the strings live as long as the process. Ends the process on a file it
 * cannot read. */
void behaviour_load(const char *model_path, struct behaviour *ret_behaviour);

/* Overrides *answer by the members of `script`, which must outlive it. */
void answer_override(struct answer *answer, json_t *script);
