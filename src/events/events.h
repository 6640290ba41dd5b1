// SPDX-License-Identifier: Apache-2.0
/*
 * Events: the audited facts. Each is stored with a growing id, kept for a while in a ring in memory
 * (the flight recorder and the quick replay), and told to listeners after its commit.
 *
 * Two ways to make one:
 *   - events_emit: stores it by itself; for facts that no other row depends on.
 *   - events_append in a store operation of another room (so that fact and row commit together),
 * then events_publish in its done.
 *
 * When the store is read-only, an emitted event is still told and kept in the ring, with an id that
 * goes on from the last one; a restart has forgotten it. (So the event store_read_only itself
 * reaches whoever listens.)
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/notify.h"
#include "base/world.h"
#include "store/store.h"

struct events;

extern const struct store_schema events_schema;

/* Kinds are a table in events.c: name and help. The subject is a model's public id, or "" for berth
 * itself. */
enum event_kind {
    EVENT_STARTED,  /* berth started */
    EVENT_STOPPING, /* berth is going down */
    EVENT_MODEL_CREATED,
    EVENT_MODEL_UPDATED,
    EVENT_MODEL_DELETED,
    EVENT_MODEL_WANTED,      /* asked to run */
    EVENT_MODEL_UNWANTED,    /* asked to stop */
    EVENT_MODEL_TASK_STATUS, /* do its tasks run? data: from, to */
    EVENT_INSTANCE_STATE,    /* data: instance, from, to, and why */
    EVENT_INSTANCE_ADOPTED,
    EVENT_INSTANCE_KILLED, /* an orphan or a leftover */
    EVENT_CONFIG_CHANGED,
    EVENT_STORE_READ_ONLY,
    EVENT_DEVICE_APPEARED, /* of devices, data: device (its index), id, name */
    EVENT_DEVICE_VANISHED,
    EVENT_DEVICE_UNRESPONSIVE,
    EVENT_DEVICE_RESPONSIVE,
    EVENT_MODEL_PLACED,    /* of these five, data: instance, place {devices, host_bytes}, reason */
    EVENT_MODEL_RECOVERED, /* placed again after it was moved aside */
    EVENT_MODEL_PREEMPTED, /* and: for (the model that it made room for) */
    EVENT_MODEL_SWAPPED,
    EVENT_PLACEMENT_FAILED,
    EVENT_PLACEMENT_RULES_CHANGED, /* data: the rules */
    EVENT_DEVICE_MEMORY_HELD,      /* data: devices and bytes that an ended engine left in use */
    EVENT_TASK_DEAD,     /* failed with all tries used up; data: task, error. Subject: its model */
    EVENT_BATCH_STATE,   /* data: batch, from, to, counts; subject "" */
    EVENT_TASK_INSTANCE, /* data: instance, host, port, model, change (registered, ready,
                            unreachable, draining, removed); subject "" */
    EVENT_KIND_MAX_,
};
const char *event_kind_name(enum event_kind kind); /* "instance_state" */
const char *event_kind_help(enum event_kind kind);
int event_kind_from_string(const char *s); /* -EINVAL */

enum { EVENT_DATA_MAX = 64 * 1024, EVENTS_RING = 1024, EVENTS_LIMIT_MAX = 1000 };

struct event {
    int64_t id;      /* grows by at least one; 0 until stored */
    int64_t wall_ms; /* when it was made */
    enum event_kind kind;
    char *subject;
    char *data; /* a JSON object as text */
};

/* data (an object, stolen) may be NULL. Beyond EVENT_DATA_MAX bytes of text it is replaced by
 * {"omitted_bytes": n}. */
struct event *event_create(struct world *w, enum event_kind kind, const char *subject,
                           json_t *data);
/* Accepts NULL, returns NULL. */
struct event *event_free(struct event *e);

/* Reads the last ones into the ring: before the loop runs. */
struct events *events_create(struct world *w, struct store *store);
/* Before store_close. What was emitted and not yet stored will be stored, and told to nobody; open
 * queries end -ECANCELED. Accepts NULL, returns NULL. */
struct events *events_destroy(struct events *ev);

/* data is stolen and may be NULL. */
void events_emit(struct events *ev, enum event_kind kind, const char *subject, json_t *data);
/* On the store's thread; sets e->id. When the operation fails all the same, the event is not
 * published. */
int events_append(struct sql *db, struct event *e, struct error *reterr) _must_check_;
/* e is stolen. In the done of the very operation that appended it, so that ids are told in order.
 */
void events_publish(struct events *ev, struct event *e);

/* Emits const struct event * after commit, in the order of ids. */
struct notify *events_signal(struct events *ev);

/* What a list or a replay wants. */
struct event_filter {
    int64_t after_id;    /* only larger ids; with newest_first: only smaller ids when > 0 */
    int kind;            /* enum event_kind; -1: all */
    const char *subject; /* NULL: all; borrowed for the call */
    unsigned limit;      /* at most EVENTS_LIMIT_MAX; 0: that */
    bool newest_first;
    const char *text; /* in its kind, subject or data, whatever case; NULL: all; borrowed */
    unsigned offset;  /* so many that match are skipped */
    bool count;       /* the result is how many match in all, limit or not */
};
/* fn gets each event in order (borrowed for the call), then NULL with the result (0, or that count,
 * or negative errno). What is looked for by text, skipped or counted is what the store has. */
typedef void (*event_fn)(void *arg, const struct event *e, int result);
/* Reads from the ring when it holds all that is asked for, else from the store. All calls of fn
 * come together in a later turn, and hold everything that was published before this call. */
void events_query(struct events *ev, const struct event_filter *filter, event_fn fn, void *arg);

/* The newest id told so far, and the oldest that is still stored; 0 when there has never been an
 * event. A subscriber has missed something when its Last-Event-ID + 1 < events_first_id. */
int64_t events_last_id(const struct events *ev);
int64_t events_first_id(const struct events *ev);

/* Deletes events older than keep_ms (0: none) in small batches, now and every hour. */
void events_set_retention(struct events *ev, uint64_t keep_ms);
