// SPDX-License-Identifier: Apache-2.0
/* What the stream of events and their list share. */
#pragma once

#include "api/api_int.h"
#include "base/buf.h"

enum { EVENT_MAX_BYTES = 1024 * 1024 }; /* of an event as text */

struct events_question {
    int kind;      /* -1: all */
    char *subject; /* NULL: all */
};
/* An event as a JSON object. */
void put_event(struct buf *b, const struct event *e);
/* Where the client wants to go on: its Last-Event-ID, or ?after=; -1 when it names neither. */
int64_t events_resume_point(struct http_exchange *x);
/* Answers with those that match. The question is borrowed for the call. */
void events_list(struct api *api, struct http_exchange *x, const struct events_question *question);
