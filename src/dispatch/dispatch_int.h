// SPDX-License-Identifier: Apache-2.0
/*
 * Inside dispatch. A line is one model: its waiting tickets, its seats, its pace. A seat is one
 * instance. A ticket is one request, in its line while it waits, on a seat once granted. Lines live
 * as long as the model, seats as long as the instance, or anything that points at them.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/world.h"
#include "dispatch/dispatch.h"

enum { MAX_SEATS = 64 };

/* How fast a line moves, see pace.c. */
struct pace {
    unsigned busy;       /* slots that work now, over all seats */
    uint64_t counted_ms; /* up to then the time of busy slots stands in pending_ms */
    uint64_t moved_ms;   /* when a request ended last, or the first began */
    double worked_ms;    /* time of busy slots up to the last end; old ones weigh less */
    double pending_ms;   /* and since then */
    double ended;        /* requests that have ended; old ones weigh less */
    uint64_t load_ms;    /* moving average of how long an instance loads; 0: never measured */
    unsigned slots;      /* of the seat that was opened last */
};

struct line {
    struct dispatch *dispatch;
    int64_t model_id;
    struct list waiting; /* tickets, first come first */
    struct list stopped; /* tickets that waited when a person stopped the model: to be refused */
    struct list seats;   /* in the order of their making */
    unsigned waiting_count, in_flight;
    unsigned held_back; /* of those who wait: may not have the instance that failed them, yet */
    uint64_t turn;      /* how many choices were made */
    uint64_t last_used_ms;
    double use_rate; /* requests a second, as of use_ms */
    uint64_t use_ms;
    struct pace pace;
    bool removed;       /* the model is; so are its cells */
    bool demand_told;   /* since the model became unwanted or wanted, or the line empty */
    bool unloaded_busy; /* it is not wanted any more, but something ran or was given to it */
    struct timer pump;  /* the line moves in a turn of its own, so that a release never calls into
                           another request */
    struct metric_cell *waiting_cell, *in_flight_cell, *wait_cell;
};

struct seat {
    struct list node; /* in line->seats */
    struct line *line;
    char uuid[UUID_SIZE];
    unsigned in_flight, slots, cap, weight;
    uint64_t tokens;
    uint64_t chosen;   /* see candidate.chosen */
    unsigned life;     /* grows when the instance is ready anew */
    bool open;         /* takes new requests */
    bool draining;     /* takes no new requests, and the engines wait for it to be empty */
    bool told_drained; /* the engines know that it is empty */
    bool gone;         /* the instance is: forget it when empty */
    enum breaker breaker;
    unsigned failures;    /* in a row */
    unsigned times_open;  /* in a row, for failures */
    struct timer rest;    /* runs while the breaker is open */
    struct ticket *trial; /* the one request of a half-open breaker; may outlast that */
    uint64_t requests, errors, total_response_ms, response_ms;
};

struct ticket {
    struct list node; /* in line->waiting or line->stopped while it waits */
    struct line *line;
    struct seat *seat; /* once granted */
    unsigned life;     /* of the seat, when granted */
    uint32_t tokens;   /* still counted on the seat */
    uint64_t asked_us, granted_ms;
    struct timer timeout; /* held back until then; after that, how long it may wait */
    struct dispatch_ask ask;
    char exclude[UUID_SIZE]; /* while held back from it; else "" */
    bool again;              /* it joined the line at its front */
};

struct dispatch {
    struct world *world;
    struct models *models;
    struct engines *engines;
    struct metrics *metrics;
    const struct strategy *strategy, *configured;
    struct notify demand;
    uint64_t random;     /* state of random_next */
    struct line **lines; /* by ascending model id */
    size_t line_count, line_cap;
    struct map seats; /* by uuid; not the gone ones */
    unsigned max_queue, breaker_failures;
    uint64_t queue_timeout_ms, breaker_open_ms, use_half_life_ms;
};

/* Good enough to spread load, and free of system calls. */
uint64_t random_next(struct dispatch *d);

/* strategy.c, and one file each */

extern const struct strategy least_connections, response_time, power_of_two, round_robin, weighted;
/* NULL when there is none of this name. */
const struct strategy *strategy_find(const char *name);
/* The first of those with room than which no other is better; -1 when none has room. */
int candidate_best(const struct candidate *candidates, size_t count,
                   bool (*better)(const struct candidate *, const struct candidate *));

/* line.c */

void lines_declare_metrics(struct metrics *metrics);
/* NULL when nothing of the model was ever here. */
struct line *line_find(const struct dispatch *d, int64_t model_id);
/* Makes it when it is not there. */
struct line *line_of(struct dispatch *d, const struct model *model);
/* In the next turn: refuses, grants, tells of demand and of what is drained. */
void line_pump_soon(struct line *l);
void line_count_changed(struct line *l);
/* A request was given to an instance: its model is in demand, should it not be wanted. */
void line_note_grant(struct line *l, const struct model *model);
/* What failed there may have it again in its next life. */
void line_end_exclusions(struct line *l, const char *uuid);
/* A person stopped the model: whoever waits now is refused in the next turn. */
void line_stop(struct line *l);
/* A request came, and was let in. */
void line_note_use(struct line *l);
/* Does anything of it take requests? */
bool line_is_open(const struct line *l);
/* world_now_ms at which the one came who has waited longest; 0: nobody waits. */
uint64_t line_waiting_since_ms(const struct line *l);
/* Can the model ever answer a request that came now? Negative errno with the reason when not. */
int line_check_model(const struct dispatch *d, const struct line *l, const struct model *model,
                     bool no_load, struct error *reterr);

struct ticket *ticket_create(struct line *l, const struct dispatch_ask *ask);
void ticket_free(struct ticket *t);
/* -EAGAIN when the line is full. */
int ticket_join_line(struct ticket *t, struct error *reterr);
void ticket_leave_line(struct ticket *t);
/* Does anybody wait who would take a free seat? */
bool line_stands(const struct line *l);

/* seat.c */

/* The seat that the strategy chooses for the ticket, or NULL when none has room for it. */
struct seat *seat_choose(const struct ticket *t);
void seat_take(struct seat *s, struct ticket *t);
void seat_leave(struct ticket *t, enum outcome outcome);
/* Tokens came: the engine works. */
void seat_note_progress(struct ticket *t);
/* It cannot be connected to: nobody is sent there for that long. */
void seat_rest(struct seat *s, uint64_t for_ms);
void seats_on_instance(struct dispatch *d, const struct instance_change *c);
/* When somebody waits whom this instance could serve, it is not told to be drained. */
void seats_tell_drained(struct line *l);
void seat_free(struct seat *s);

/* pace.c */

void pace_begin(struct line *l);
/* Before something of a seat changes, and after. */
void pace_before(struct line *l, const struct seat *s);
void pace_after(struct line *l, const struct seat *s);
/* After pace_before: a request has ended that had this long a time. */
void pace_ended(struct line *l, enum outcome outcome, uint64_t took_ms);
void pace_loaded(struct line *l, uint64_t took_ms);
