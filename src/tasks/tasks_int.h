// SPDX-License-Identifier: Apache-2.0
/*
 * Inside of tasks. A change is made on the store's thread by reading a row, altering it and saving
 * it as a move (what it was, what it is now); after the commit the loop applies each move to the
 * counters, the windows and the slots, tells it, and answers whoever asked.
 *
 *     tasks_submit, slots … ─► change ─► journal ─► group ═ commit ═► move ─► windows, signal, fn
 */
#pragma once

#include "base/map.h"
#include "tasks/tasks.h"

enum {
    WINDOW_MAX = 256, /* heads of a class that are known in memory */
    WINDOW_LOW = 64,  /* below it more are read */
    ASKING_MAX = 64,  /* places that a lane asks for at once */
    PIECE = 256,      /* rows that one change touches at most, where it may touch many */
    CELL_DELAYED = TASK_STATE_MAX_, /* counted apart from what is pending */
    CELLS,
};

/* ---- counters ---- */

/* What a group of changes adds to the rows of task_counts and task_days. */
struct count_delta {
    int64_t lane;
    char type[TASK_TYPE_MAX + 1];
    unsigned class, cell;
    int64_t n, bytes;
};
enum day_figure { DAY_SUBMITTED, DAY_COMPLETED, DAY_FAILED, DAY_CANCELLED, DAY_MS, DAY_FIGURES };
struct day_delta {
    int64_t lane, day;
    char type[TASK_TYPE_MAX + 1];
    int64_t figures[DAY_FIGURES];
};
struct deltas {
    struct count_delta *counts;
    size_t count_count, count_cap;
    struct day_delta *days;
    size_t day_count, day_cap;
};
void deltas_finish(struct deltas *d);
unsigned task_cell(const struct task *task);
/* by: 1 as the task stands now, -1 to take that away. */
void deltas_count(struct deltas *d, const struct task *task, int by);
void deltas_day(struct deltas *d, const struct task *task, enum day_figure figure, int64_t by);
int deltas_save(const struct deltas *d, struct sql *db, struct error *reterr) _must_check_;

/* ---- lanes ---- */

struct head {
    int64_t id, created_ms;
    uint64_t bytes;
};

/*
 * The first of what is ready in a class of a lane, by id. Complete up to `reached`: whatever is
 * ready and not beyond it stands here (and perhaps a few that are not ready any more, which their
 * claim finds out). With `more` there may be ready ones beyond it; without, all are here.
 */
struct window {
    struct head *heads;
    size_t count;
    int64_t reached;
    bool more;
    bool reading;   /* the next ones are being read */
    int64_t missed; /* the lowest that became ready beyond `reached` meanwhile; 0: none */
};

enum lane_metric { LM_SUBMITTED, LM_COMPLETED, LM_FAILED, LM_CANCELLED, LM_RETRIED, LM_MAX_ };

struct lane_type {
    struct list node;
    char name[TASK_TYPE_MAX + 1];
    uint64_t n[TASK_CLASSES][CELLS], bytes[TASK_CLASSES][CELLS];
    struct metric_cell *cells[LM_MAX_]; /* NULL until used */
};

struct lane {
    struct list node;    /* in tasks.lanes, by id */
    struct list kicked;  /* in tasks.kicked: is to be looked at this turn */
    struct list starved; /* in tasks.starved: waits for a worker of all models' */
    struct tasks *tasks;
    int64_t id, model_id;
    enum task_kind kind;
    char *name;
    bool stored;       /* its row is committed */
    struct lane *pair; /* queue's and batches' lane of one model share its workers; NULL */
    struct window windows[TASK_CLASSES];
    struct list types;        /* struct lane_type */
    struct list asking_slots; /* that have no place yet */
    struct list slots;        /* that have a task, or are about to */
    unsigned asking, asking_by_class[TASK_CLASSES], busy;
    bool failing; /* its model is gone: what waits is failed piece by piece */
    uint64_t not_before_ms;
    char refusal[480]; /* why its runner gave no place; "" */
    double mean_ms;    /* of recent attempts that completed; 0: none yet */
    struct metric_cell *wait_seconds, *run_seconds;
};

/* Finds or makes. */
struct lane *lane_make(struct tasks *t, enum task_kind kind, int64_t model_id, const char *name);
struct lane *lane_find(const struct tasks *t, enum task_kind kind, int64_t model_id,
                       const char *name);
struct lane *lane_of_id(const struct tasks *t, int64_t id);
struct lane *lane_add(struct tasks *t, int64_t id, enum task_kind kind, int64_t model_id,
                      const char *name);
struct lane *lane_free(struct lane *lane);
struct lane_type *lane_type_make(struct lane *lane, const char *name);
/* Of these cells over types and classes. */
uint64_t lane_count(const struct lane *lane, unsigned cell);
/* Looks at it in a later turn (or this one's end). */
void lane_kick(struct lane *lane);
void lanes_kick_all(struct tasks *t);
void lane_kick_model(struct lane *lane); /* it and its pair, queue's first */

void window_insert(struct window *w, const struct head *head);
void window_remove(struct window *w, int64_t id);
/* Reads what comes next when it runs low. */
void window_refill(struct lane *lane, unsigned class);
/* The class of the next task that no slot asks for yet; -1: none is ready, or it is not known yet
 * (more are being read), or the slots that ask already are as many. */
int lane_wanted_class(struct lane *lane);
/* Takes the first task off its window; false: as above. */
bool lane_pop(struct lane *lane, struct head *ret, unsigned *ret_class);
/* 1-based place of a ready task in its lane; 0: beyond the windows. */
uint64_t lane_place(const struct lane *lane, unsigned class, int64_t id);

/* ---- changes ---- */

struct move {
    struct task *task; /* as it is now; the move's */
    int from;          /* enum task_state; -1: it is new */
    unsigned from_class;
    bool from_ready, removed;
    struct event *event; /* to be published; NULL */
};

/* The store's thread, while a group of changes runs. */
struct writing {
    struct sql *db;
    struct deltas deltas;
    struct world *world; /* its wall clock only */
    bool webhooks;       /* one became due */
};

struct change;
struct change_kind {
    /* On the store's thread: touches nothing but the change and w. Negative: the database failed,
     * and with it the whole group; what merely does not apply is told by change_refuse. May run
     * again when the store was busy. */
    int (*run)(struct change *c, struct writing *w, struct error *reterr);
    /* On the loop, after its moves were applied, or its failure. May be NULL. */
    void (*done)(struct change *c);
    void (*finish)(struct change *c); /* frees what it holds, not itself; may be NULL */
    bool must;                        /* berth's own: tried again when the store is busy */
};

struct change {
    struct list node;
    struct tasks *tasks; /* NULL: nobody is there any more to be told */
    const struct change_kind *kind;
    tasks_done_fn fn;
    void *arg;
    int64_t id, fence;
    bool many;  /* it is told how many, not which */
    bool lends; /* its run uses what arg points to */
    int result;
    struct error *error; /* NULL: none */
    struct task *known;  /* told though it did not change; NULL: that of the one move */
    struct move one, *moves;
    size_t move_count, move_cap;
};
void change_refuse(struct change *c, int code, const char *fmt, ...) _printf_(3, 4);
/* What a caller's own fn does stands in a savepoint ("lines"): when it refused, that is undone and
 * nothing else. Negative: the database failed. */
int change_end_fn(struct change *c, struct sql *db, int result, const struct error *e,
                  struct error *reterr) _must_check_;

/* Gives it to the journal, whose it is then. */
void journal_add(struct tasks *t, struct change *c);
bool journal_is_idle(const struct tasks *t);
/* For shutdown: all that stands is handed to the store; whoever asked is told -ECANCELED. */
void journal_finish(struct tasks *t);
void journal_init(struct tasks *t);

/* ---- rows: on the store's thread ---- */

#define TASK_COLUMNS                                                                               \
    "t.id, t.lane, t.type, t.state, t.class, t.due_ms, t.fence, t.retry_count, t.max_retries, "    \
    "t.created_ms, t.updated_ms, t.started_ms, t.completed_ms, t.timeout_ms, t.bytes, "            \
    "t.http_status, t.dead, t.public_id, t.instance, t.remote_id, t.error, t.webhook, "            \
    "t.batch_id, t.batch_line, t.lost"
enum { TASK_COLUMN_COUNT = 25 };

extern const char ready_query[];      /* what a window reads: lane, class, after id, limit */
extern const char due_query[];        /* what has become due: until, limit */
extern const char old_query[];        /* what retention removes: before, limit */
extern const char unfinished_query[]; /* of a batch: its id, after which id, limit */

struct task *task_of_row(struct sql_stmt *st);
void task_set_bodies(struct task *task, struct span input, struct span options, struct span output);
/* 1 found, 0 not. inputs: with input and options. */
int row_load(struct sql *db, int64_t id, bool inputs, struct task **ret, struct error *reterr);
/* Remembers what the task is; the move (and the task) are the change's. Alter move->task, then
 * save. The pointer is good until the next begin. */
struct move *move_begin(struct change *c, struct task *task);
int move_save(struct writing *w, struct move *m, struct error *reterr) _must_check_;
/* Of a new one: 1 stored (its id is set), 0 when a unique value is taken. */
int move_insert(struct writing *w, struct move *m, struct span key,
                struct error *reterr) _must_check_;
int move_remove(struct writing *w, struct move *m, struct error *reterr) _must_check_;
/* Cut at TASK_ERROR_MAX. */
void task_set_error(struct task *task, const char *text);
int lane_save(struct sql *db, const struct task *task, struct error *reterr) _must_check_;
int output_save(struct sql *db, int64_t id, struct span output, struct error *reterr) _must_check_;
int output_remove(struct sql *db, int64_t id, struct error *reterr) _must_check_;
int log_append(struct writing *w, int64_t id, const char *level, const char *message, json_t *data,
               struct error *reterr) _must_check_;
/* The name of a task's model. "" when there is none. */
char *lane_name_load(struct sql *db, int64_t lane);

/* ---- reading ---- */

/* One reading operation, embedded. */
struct task_read {
    struct store_op op;
    struct list node;    /* in tasks.reads */
    struct tasks *tasks; /* NULL: nobody is there any more to be told */
    void (*answer)(struct task_read *read, int result, const struct error *e);
    void (*finish)(struct task_read *read); /* frees it */
};
void read_start(struct tasks *t, struct task_read *read,
                int (*run)(struct store_op *op, struct sql *db, struct error *reterr));
void reads_finish(struct tasks *t);

/* With TASK_COLUMNS, tasks t and lanes l. */
#define JOINED_COLUMNS TASK_COLUMNS ", l.kind, l.model_id, l.name"
struct task *joined_row(struct sql_stmt *st);
/* By kind, model_id and model. */
bool lane_matches(const struct lane *lane, const struct task_filter *f);

/* ---- slots ---- */

enum slot_state { SLOT_ASKING, SLOT_BOUND, SLOT_CLAIMING, SLOT_LEFT, SLOT_RUNNING };

/* Lets every lane that was kicked ask for places. */
void slots_work(struct tasks *t);
/* After the commit of its claim: hands the task over. */
void slot_run(struct task_slot *slot, struct task *task);
/* A task that ran is not running any more: whoever works on it is to stop. */
void slot_revoke(struct tasks *t, int64_t task_id);
/* After a restart; true: its runner looks after it. */
bool slot_adopt(struct tasks *t, struct task *task);
struct task_slot *slot_create(struct lane *lane, int state);
/* Points into task. */
struct task_work task_work_of(const struct task *task);
void slot_begin_work(struct task_slot *slot);
void slot_begin_running(struct task_slot *slot, struct task *task);
void slot_free(struct task_slot *slot);
void task_give_back(struct tasks *t, int64_t id, int64_t fence, const char *text);
void slots_finish(struct tasks *t);
void lane_stop_asking(struct lane *lane);
unsigned lane_max_workers(const struct lane *lane);
/* Do its tasks need workers? */
bool lane_is_bounded(const struct lane *lane);
const struct model *lane_model(const struct lane *lane); /* NULL: gone, or none of the catalogue */
void slots_check_drained(struct tasks *t);
void drain_init(struct tasks *t);

/* Claims it for the slot. */
void claim_add(struct task_slot *slot, const struct head *head, unsigned class);
/* The claim changed nothing: it takes the next one, or is given back. */
void slot_next(struct task_slot *slot);
/* Given back, with its runner told. */
void slot_void(struct task_slot *slot);
/* How the attempt (id, fence) ended; the result is copied. */
void finish_add(struct tasks *t, int64_t id, int64_t fence, const struct task_result *result);
/* Also where it runs: the runner may have turned to another one since the claim. */
void remote_add(const struct task_slot *slot, const char *remote_id);
/* What has become due is ready. */
void release_add(struct tasks *t);
/* What waits in a lane whose model is gone fails. */
void fail_lane_add(struct lane *lane);
void retention_add(struct tasks *t);
void due_at(struct tasks *t, int64_t due_ms);

/* ---- metrics ---- */

void task_metrics_declare(struct tasks *t);
/* A move was committed. */
void task_metrics_count(struct tasks *t, struct lane *lane, const struct move *m);
void task_metrics_forget(struct tasks *t, const char *model);

/* ---- all ---- */

struct runner_of_kind {
    const struct task_runner *runner; /* NULL: nobody works on this kind */
    void *owner;
};

struct tasks {
    struct tasks_in in;
    struct webhooks *webhooks;
    struct runner_of_kind runners[TASK_KIND_MAX_];
    struct notify signal;

    uint64_t max_queue_size, max_queue_bytes, timeout_ms, retry_delay_ms, retry_delay_max_ms,
        ageing_ms, keep_ms;
    unsigned max_retries, default_workers, max_workers;

    struct list lanes;
    struct lane **lanes_by_id; /* index: id */
    size_t lanes_cap;
    int64_t last_lane_id;
    struct map lanes_by_key;
    struct list kicked, starved;
    struct timer work; /* this turn's kicked lanes; not_before ones */
    struct timer again;

    struct {
        struct list waiting, groups;
        size_t count;
        size_t alone; /* of those that wait, the first: each is a group of its own */
        unsigned in_flight;
        struct timer flush;
    } journal;

    uint64_t totals[TASK_KIND_MAX_][CELLS], total_bytes[TASK_KIND_MAX_];
    uint64_t coming, coming_bytes; /* submitted and not yet committed */
    double ended;                  /* recently, decaying: for the pace */
    uint64_t ended_ms;             /* when it was brought up to date */
    uint64_t started_ms;           /* monotonic */
    int64_t started_wall_ms;

    struct map running; /* slots by the id of their task */
    unsigned busy;      /* slots with a task, of bounded runners */
    unsigned working;   /* and of all */
    bool draining, releasing, cleaning;
    struct timer drain, due, retention;
    int64_t due_wall_ms; /* of the timer; 0: none */
    void (*drained)(void *arg);
    void *drained_arg;

    struct list reads;
};
