// SPDX-License-Identifier: Apache-2.0
/*
 * Inside dispatch. A line is one model: its waiting tickets, its seats, its pace, what was learnt
 * of it. A seat is one instance. A ticket is one request, in its line while it waits, on a seat
 * once granted. Lines live as long as the model, seats as long as the instance, or anything that
 * points at them.
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "base/world.h"
#include "dispatch/dispatch.h"
#include "dispatch/predictor.h"

enum { SEATS_MAX = 16384, TASKS_WAITING_MAX = 10000, STRATEGIES_MAX = 32 };
enum { NOT_A_CANDIDATE = -1 };

struct prefix_table;

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
    struct rank {
        struct list waiting; /* tickets, first come first */
        unsigned count;      /* of them, and of those of it in `stopped` */
        unsigned held_back;  /* of them: may not have the instance that failed them, yet */
    } ranks[RANK_MAX_];
    struct list stopped; /* tickets that waited when a person stopped the model: to be refused */
    struct list seats;   /* in the order of their making */
    unsigned seat_count;
    uint32_t last_serial;
    unsigned waiting_count, in_flight; /* waiting: of all ranks */
    uint64_t turn;                     /* how many choices were made */
    /* Those seats that may take requests now, in the order of their making, and, side by side, how
     * they look to a strategy. */
    struct seat **open_seats;
    struct candidate *candidates;
    int candidate_count, candidate_cap;
    bool caps_of_tasks;              /* candidates' caps are those for tasks, not for requests */
    const struct strategy *strategy; /* in use */
    const struct strategy *chosen;   /* for this model by name; NULL: none */
    struct prefix_table *prefixes;   /* NULL until a strategy looks at them */
    struct lengths lengths;          /* of answers */
    struct expected {                /* of an answer, as it was asked for last */
        uint64_t limit, learnt;
        double mean, error;
        bool known;
    } expected;
    struct list silent;     /* tickets in flight of which nothing was seen yet */
    struct timer age;       /* of these less is left as time goes by */
    struct speed speed;     /* of all instances */
    double read_tokens,     /* that requests had to have read, in the mean; 0: none yet */
        made_tokens;        /* that answers had after their first */
    struct figures figures; /* of those that have not shown their own yet */
    struct spread ratios;   /* how long requests took, over what was predicted */
    uint64_t last_used_ms;
    double use_rate; /* requests a second, as of use_ms */
    uint64_t use_ms;
    struct pace pace;
    bool removed;       /* the model is; so are its cells */
    bool demand_told;   /* since the model became unwanted or wanted, or the line empty */
    bool unloaded_busy; /* it is not wanted any more, but something ran or was given to it */
    struct timer pump;  /* the line moves in a turn of its own, so that a release never calls into
                           another request */
    struct metric_cell *waiting_cell, *in_flight_cell, *wait_cell, *first_cell, *whole_cell;
};

struct seat {
    struct list node; /* in line->seats */
    struct line *line;
    char uuid[UUID_SIZE];
    uint32_t serial; /* in its line, from 1 */
    int at;          /* in line->candidates, or NOT_A_CANDIDATE */
    uint64_t place;  /* candidate.place */
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
    /* What is predicted to be left of its tickets: the sum of theirs. */
    uint64_t work_us, error_ms2;
    uint64_t read_us;       /* prompts that are not read yet */
    uint64_t first_us;      /* when a first token came last */
    bool sleeping;          /* it has to wake before it begins */
    struct speed *speed;    /* NULL: nothing learnt yet */
    struct figures figures; /* in use */
    bool cold;              /* not all of them its own: they follow the line's */
    uint64_t learnt;        /* from so many requests */
};

struct ticket {
    struct list node; /* while it waits in its rank or line->stopped; then in line->silent */
    struct line *line;
    struct seat *seat; /* once granted */
    unsigned life;     /* of the seat, when granted */
    uint32_t tokens;   /* still counted on the seat */
    uint64_t asked_us, granted_ms;
    /* What was predicted when it was granted, and what of it is left; the latter is counted on the
     * seat. */
    struct estimate estimate;
    double begin_ms, token_ms; /* predicted until it begins; an output token */
    uint64_t work_us, error_ms2, read_us;
    uint64_t granted_us, first_us; /* first_us: its first token came; 0: not yet */
    uint64_t read_from_us;         /* when its prompt's turn came: those before it had been read */
    uint32_t progress;             /* tokens that were seen to come */
    uint32_t cached_tokens;        /* of the prompt, as predicted */
    bool queued;                   /* it waited in the engine for a slot, or to wake */
    bool noted;                    /* the engine told what it took: */
    uint64_t prompt, cached, output;
    struct timer timeout; /* held back until then; after that, how long it may wait */
    struct dispatch_ask ask;
    char exclude[UUID_SIZE]; /* while held back from it; else "" */
    bool again;              /* it joined its rank at the front */
    unsigned prefix_count;
    struct prefix_part {
        uint64_t hash;
        uint32_t tokens; /* of the prompt, up to the end of this block */
    } prefix[];
};

struct dispatch {
    struct world *world;
    struct models *models;
    struct engines *engines;
    struct metrics *metrics;
    const struct strategy *chosen, *configured; /* for all, by name (NULL: none), by option */
    struct metric_cell
        *decisions[STRATEGIES_MAX]; /* as in strategy_next; NULL until there is one */
    struct notify demand;
    uint64_t random;     /* state of random_next */
    struct line **lines; /* by ascending model id */
    size_t line_count, line_cap;
    struct map seats; /* by uuid; not the gone ones */
    unsigned max_queue, breaker_failures;
    uint64_t queue_timeout_ms, breaker_open_ms, use_half_life_ms, learn_half_life_ms;
    double error_weight;
};

/* Good enough to spread load, and free of system calls. */
uint64_t random_next(struct dispatch *d);
void dispatch_count_decision(struct dispatch *d, const struct strategy *s);

/* strategy.c, and one file each */

extern const struct strategy earliest_completion, least_connections, power_of_two, prefix_affinity,
    probabilistic, random_choice, response_time, round_robin, session_affinity, shortest_queue,
    weighted, weighted_wait;
/* Where it stands among all; it is one of them. */
size_t strategy_index(const struct strategy *s);
/* Something that decides about it has changed. */
void line_pick_strategy(struct line *l);

/* line.c */

void lines_declare_metrics(struct metrics *metrics);
/* NULL when nothing of the model was ever here. */
struct line *line_find(const struct dispatch *d, int64_t model_id);
/* Makes it when it is not there. */
struct line *line_of(struct dispatch *d, const struct model *model);
void line_free(struct line *l);
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

/* ticket.c */

struct ticket *ticket_create(struct line *l, const struct dispatch_ask *ask);
void ticket_free(struct ticket *t);
/* -EAGAIN when the line is full. */
int ticket_join_line(struct ticket *t, struct error *reterr);
void ticket_leave_line(struct ticket *t);
/* It leaves the line, and its owner hears why. */
void ticket_refuse(struct ticket *t, const struct error *e);
/* Does anybody of this rank or a better one wait who would take a free seat? */
bool line_stands(const struct line *l, enum dispatch_rank rank);
/* The first who waits; after one; NULL when there is none. */
struct ticket *line_first(const struct line *l);
struct ticket *line_next(const struct ticket *t);

/* Does the model wait for room on a device? All of its instances do, and there is one. */
bool line_waits_for_room(const struct line *l);

/* candidates.c */

/* The seat that the strategy chooses for the ticket, or NULL when none has room for it. */
struct seat *seat_choose(struct ticket *t);
/* Something of it has changed. */
void seat_show(struct seat *s);
/* A seat that is a candidate, or NULL. */
struct seat *seat_by_serial(const struct line *l, uint32_t serial);
void candidates_free(struct line *l);

/* prefix.c */

enum { MARKS_MAX = 12 };
struct marks {
    struct candidate *marked[MARKS_MAX];
    unsigned count;
};
/* The blocks of an ask, as they are known to its ticket. */
void prefix_copy(struct ticket *t, const struct dispatch_ask *ask);
/* Sets cached_tokens of those candidates that were given the most of the ticket's prompt; unmark
 * takes it back. */
void prefix_mark(struct line *l, const struct ticket *t, struct marks *m);
void prefix_unmark(const struct marks *m);
/* The seat was given this prompt. */
void prefix_note(struct line *l, const struct seat *s, const struct ticket *t);
struct prefix_table *prefix_table_free(struct prefix_table *t);

/* estimate.c */

void estimates_declare_metrics(struct metrics *metrics);
void estimate_begin(struct line *l); /* a line of which nothing is known yet */
/* What its figures follow has changed. */
void seat_figures_changed(struct seat *s);
/* Before the ticket is counted on the seat: its estimate, fixed from now on, is added there. */
void estimate_add(struct seat *s, struct ticket *t);
/* What is left of it is taken off. */
void estimate_remove(struct seat *s, struct ticket *t);
/* Tokens came: less is left. (Before the first one, less is left as time goes by.) */
void estimate_progress(struct seat *s, struct ticket *t, uint32_t tokens);
/* It has ended well: what is to be learnt is. */
void estimate_learn(struct seat *s, struct ticket *t);
/* Expected of the line's model under the limit of a request. */
void line_expect_output(struct line *l, uint64_t limit, double *ret_mean, double *ret_error);

/* seat.c */

void seat_take(struct seat *s, struct ticket *t);
void seat_leave(struct ticket *t, enum outcome outcome);
/* Tokens came: less is left, and the engine works. */
void seat_note_progress(struct ticket *t, uint32_t tokens);
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
/* How long an instance of it loads, as measured, or as the engines say. */
uint64_t line_load_time_ms(const struct line *l);
