// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the policy: the board, on which one pass is played. It holds every device's room and every
 * instance's state as the pass goes; what differs from the snapshot in the end is the plan.
 *
 *     policy_board.c    room arithmetic, and who sits where
 *     policy_place.c    choice of devices
 *     policy_victims.c  choice of those that must go
 *     policy_search.c   improves what was chosen one by one
 *     policy_verdict.c  why one waits
 *     policy_words.c    names and sentences
 *     policy.c          the pass
 *
 * A device is named by its position in the snapshot here, not by its index.
 */
#pragma once

#include <limits.h>

#include "placement/policy.h"

enum { HOLDS_MAX = PLACE_DEVICES_MAX + 1 }; /* its devices and the host's pool */

/* What one instance holds, or shall hold, on one device. */
struct hold {
    struct hold *next; /* of the same device */
    size_t piece, device;
    int64_t bytes;
};
struct seat {
    unsigned count;   /* of holds; the host's pool is the last one, if it is among them */
    unsigned devices; /* of them without the host's pool */
    uint64_t host_bytes;
    struct hold holds[HOLDS_MAX];
};

/* One instance, as the pass goes. */
struct piece {
    enum policy_state state;
    struct seat seat; /* void while WAITING */
    bool fresh;       /* RESERVED in this pass */
    bool withdrawn;   /* its reservation was taken back in this pass */
    bool swapped;     /* LEAVING: gave way to an equal; RESERVED: equals gave way */
    bool loads;       /* RESERVED: told to load in this pass */
    bool pending;     /* WAITING: not tried yet since it waits */
    size_t other;     /* LEAVING by this pass, withdrawn: for whom; SIZE_MAX */
    enum policy_reason withdrawn_reason;
    int class;                     /* of its priority */
    double served, cost;           /* what it serves; what moving it costs beside that */
    struct policy_verdict verdict; /* of one that waits */
};

/* What every look at all devices reads of one: kept small. */
struct fit {
    int64_t free; /* for a reservation, unless it is forced: limit − staying − reserved */
    int64_t now;  /* to load at once: limit − staying − leaving */
    int vendor;
    int barred; /* up to this priority nobody is placed there in this pass; INT_MAX: it is not
                   usable, or the host's pool */
};
struct room {
    int64_t limit; /* what may be placed at all: total × threshold − others' */
    int64_t extra; /* more of it for a forced one: what the threshold keeps */
    int64_t staying, reserved, leaving;
    unsigned loading;   /* instances that load there */
    bool claimed;       /* the next to load is known, and waits for a load on another device */
    size_t barred_for;  /* the one whose turn comes, where it is barred */
    struct hold *holds; /* of LOADING, READY, RESERVED */
};

/* One that could go, and what that would do. */
struct victim {
    size_t piece;
    int class;
    double served, cost;
    bool is_reserved, is_preempted; /* else it is swapped */
    bool is_ready;
    int64_t bytes[HOLDS_MAX]; /* that it frees, by hold of the place in question */
};

struct board {
    const struct policy_snapshot *s;
    struct fit *fits;
    struct room *rooms;
    struct piece *pieces;
    int64_t *capacity;      /* of each device: total × threshold */
    bool *listed;           /* pieces that are on their devices' lists: kept small, as fits */
    int64_t *gain;          /* scratch of victims_gain(), one for each device */
    struct victim *victims; /* scratch of victims_make_room(), one for each instance each */
    size_t *chosen, *trial;
    size_t *gone; /* pieces that were made to leave for a newcomer, in turn */
    size_t gone_count;
    size_t host;  /* the host's pool; SIZE_MAX: there is none */
    int *vendors; /* that there are, ascending */
    size_t vendor_count;
    unsigned *usable;          /* devices, by vendor */
    unsigned preemptions_left; /* UINT_MAX: no limit */
    unsigned preemptions;      /* in this pass */
    bool has_moved;            /* somebody, since the last look: there may be room beside */
    bool has_bars;             /* there was one at least */
    bool ignores_bars;         /* asking why */
};

/* ---- policy_board.c ---- */

void board_init(struct board *b, const struct policy_snapshot *s);
void board_finish(struct board *b);
size_t board_device(const struct board *b, int index); /* SIZE_MAX: not there */
/* Free for a reservation by i. May be negative. */
static inline int64_t board_free(const struct board *b, size_t device,
                                 const struct policy_instance *i)
{
    return b->fits[device].free + (i->force ? b->rooms[device].extra : 0);
}
/* The same, when it is to load at once. */
static inline int64_t board_now(const struct board *b, size_t device,
                                const struct policy_instance *i)
{
    return b->fits[device].now + (i->force ? b->rooms[device].extra : 0);
}
/* Whether what i needs there is there, with as much more as `gain` says (may be NULL). */
static inline bool board_has(const struct board *b, size_t device, const struct policy_instance *i,
                             int64_t bytes, const int64_t *gain)
{
    return bytes == 0 || board_free(b, device, i) + (gain ? gain[device] : 0) >= bytes;
}
bool board_seat_fits(const struct board *b, const struct policy_instance *i,
                     const struct seat *seat);
/* Would it start at once: everything that leaves counted, too. */
bool board_fits_now(const struct board *b, const struct policy_instance *i,
                    const struct seat *seat);
int64_t board_bytes_on(const struct piece *p, size_t device);
/* All changes of state go through here. For RESERVED from WAITING the seat must be set. */
void board_set_state(struct board *b, size_t piece, enum policy_state state);
void board_reserve(struct board *b, size_t piece, const struct seat *seat);
void board_place(const struct board *b, const struct seat *seat, struct place *ret);

/* ---- policy_place.c ---- */

/* It works, is of the right kind, and is not kept for somebody whose turn comes. */
static inline bool place_may_use(const struct board *b, const struct policy_instance *i,
                                 size_t device)
{
    const struct fit *f = &b->fits[device];

    return (f->barred < i->priority ||
            (f->barred < INT_MAX &&
             (b->ignores_bars || b->rooms[device].barred_for == (size_t)(i - b->s->instances)))) &&
           (i->vendor < 0 || i->vendor == f->vendor);
}
int64_t place_need(const struct board *b, const struct policy_instance *i, unsigned n,
                   size_t device);
/* Adds i's host memory to a seat whose devices are chosen. */
void place_add_host(const struct board *b, const struct policy_instance *i, struct seat *seat);
void place_add(struct seat *seat, size_t piece, size_t device, int64_t bytes);
/* The range of device counts over which it may be spread, where its definition names none. */
unsigned place_min_devices(const struct policy_instance *i);
unsigned place_max_devices(const struct policy_instance *i);
/* The devices that its definition names. False: one of them is not there or not usable. */
bool place_named(const struct board *b, size_t piece, struct seat *ret);
/* Over how few devices it would fit, with gain[] more on every device (NULL: none); 0: none. */
unsigned place_fewest(const struct board *b, size_t piece, const int64_t *gain);
/* The best place in the room that is there, with gain[] more on every device (NULL: none). */
bool place_find(const struct board *b, size_t piece, const int64_t *gain, struct seat *ret);

/* ---- policy_victims.c ---- */

/* What is allowed beyond what is: to find out what stands in the way. */
enum allowance {
    ALLOW_YOUNG = 1, /* min_residency, what still loads, and the turn of the first to come */
    ALLOW_TURN = 2,  /* swap_wait */
    ALLOW_RATE = 4,  /* max_preemptions_per_hour */
    ALLOW_MOVES = 8, /* that nothing may be preempted, by the rules or by the request */
};
/* May the newcomer move it? */
bool victims_may_move(const struct board *b, size_t newcomer, size_t victim, unsigned allowance);
/* Fills b->gain with what the newcomer could have by all moves. False: there are none. */
bool victims_gain(struct board *b, size_t newcomer, unsigned allowance);
/* Chooses place and victims with the least harm, and does it. False: it cannot be. */
bool victims_make_room(struct board *b, size_t newcomer);

/* ---- policy_search.c ---- */

/* Found no place for want of room. */
bool search_was_refused(const struct board *b, size_t piece);
void search_improve(struct board *b, const size_t *order, size_t count);

/* ---- policy_verdict.c ---- */

/* May it be placed now? If not, its verdict says why. */
bool verdict_eligible(struct board *b, size_t piece);
/* It found no place: why. Bars the devices that it will get when time alone is in its way. */
void verdict_refused(struct board *b, size_t piece);

/* ---- policy_value.c ---- */

int policy_class(int priority); /* 0 … POLICY_CLASSES - 1 */
double policy_served(const struct policy_instance *i);
/* What moving it costs beside what it serves; of one that is not ready, nothing. */
double policy_reload_cost(const struct policy_instance *i);
