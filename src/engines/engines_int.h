// SPDX-License-Identifier: Apache-2.0
/*
 * The inside of the room: what its files share. Who does what:
 *
 *     engines.c            the list of instances, and bringing it in line with the wanted models
 *     instance.c           one instance's life: every state change goes through its set_state
 *     instance_process.c   its command and processes: spawn, watch, signal, count what is left
 *     instance_probe.c     asking the engine whether it is ready and alive, and about itself
 *     instance_progress.c  does it get on with the work that it was given
 *     instance_memory.c    what it really takes
 *     need.c               what a definition needs: model files read on a worker, measurements kept
 *     recovery.c           rows and processes brought together when berth starts
 *     engines_store.c      the table of instances
 *     engine_log.c         files below instances/<uuid>: tail, rotation, removal
 *     drivers.c and one file a driver   the kinds of engines
 *     exec_engine.c        what runs between fork and the engine's own code
 */
#pragma once

#include "base/list.h"
#include "base/log.h"
#include "base/worker.h"
#include "base/world.h"
#include "engines/container.h"
#include "engines/engine_driver.h"
#include "engines/engines.h"

enum {
    SPEC_HASH_SIZE = 17,
    BOOT_ID_SIZE = 40,
    LAST_WORDS_TAIL = 16 * 1024,  /* how much of a log is read for them */
    ROOM_PATIENCE_MS = 60 * 1000, /* so long the replicas' update waits for one to get room */
};

#define ENGINE_MARKER "BERTH_INSTANCE"

struct engines {
    struct world *world;
    const struct config *config;
    const struct gpu *gpu; /* may be NULL */
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    char *data_id, *self_path;
    char boot_id[BOOT_ID_SIZE];
    struct notify signal;
    struct list instances;  /* struct inst, in the order of their making */
    struct list row_ops;    /* struct row_op that are with the store */
    struct timer reconcile; /* 0 ms: bring instances and models together */
    struct timer rotate;
    struct worker *files; /* rotates logs */
    struct needs *needs;  /* need.c */
    struct container_sweep *strays;
    bool stopping; /* going down: nothing is started */
    bool places_itself;
    uint64_t probe_interval_ms; /* engines_set_probe_interval; 0: none is set */
    char *proc_path;
    void (*stopped)(void *arg);
    void *stopped_arg;
};

/* Why an instance failed: the label of berth_instance_failures_total. */
enum failure {
    FAILURE_NONE,
    FAILURE_COMMAND, /* no command line can be made: retrying is in vain */
    FAILURE_EXEC,    /* exec-engine could not run it: the same */
    FAILURE_SPAWN,
    FAILURE_STORE,
    FAILURE_EXIT,    /* it ended by itself */
    FAILURE_SIGNAL,  /* something killed it */
    FAILURE_UNKNOWN, /* it ended, and it was not our child */
    FAILURE_START_TIMEOUT,
    FAILURE_HUNG,
    FAILURE_UNREACHABLE, /* a remote endpoint does not answer as it should */
    FAILURE_MEMORY,      /* it said so when it ended, or the kernel's OOM killer struck */
    FAILURE_MAX_,
};

/*
 * One instance. `timer` means another thing in each state:
 *   STARTING  the next readiness probe      READY    the next health probe
 *   DRAINING  end of the drain              STOPPING end of the grace, then the next look for
 *                                                    processes that are left
 *   WAITING   an update waits for it no longer
 *   BACKOFF   the next wait for a place     FAILED   the start that a person asked for
 */
struct inst {
    struct instance pub; /* first: what others see */
    struct list node;
    bool told; /* others know of it */
    struct engines *engines;
    const struct engine_driver *driver; /* NULL for a leftover of an unknown model */
    char *model_name;                   /* public id, also after the model is gone */
    char log_name[MODEL_ID_MAX + 12];   /* "recite/1f0c2e3a" */
    int64_t row_epoch;                  /* of our ownership of the row */
    int64_t created_wall_ms;
    char spec_hash[SPEC_HASH_SIZE];   /* of this start's command */
    char stored_hash[SPEC_HASH_SIZE]; /* as the row has it for certain; "" before */
    struct engine_command command;    /* of this start */
    struct process *process;
    struct container *container; /* instead of a process; NULL while there is none */
    bool container_ended;        /* its end was told; what is left of it is being removed */
    struct http_upstream *upstream;
    uint16_t port;                 /* chosen for a driver with needs_port; 0 before */
    struct probe *probe;           /* under way */
    struct http_fetch *fetch;      /* the question about itself under way */
    struct http_fetch *question;   /* the one about its progress */
    struct need_query *need_query; /* about its need, under way; need.c */
    bool need_again;               /* and once more when it has ended */
    char
        need_key[SPEC_HASH_SIZE]; /* of all in its definition that decides its memory; "" unknown */
    struct process_id measured;   /* the process that pub.taken is of */
    bool looked_at;               /* a look at its processes is under way */
    struct timer timer;
    struct timer deadline;  /* STARTING: engines.start_timeout */
    bool committing;        /* STARTING: the intent row is with the store */
    bool has_row;           /* the row was submitted (and not deleted) */
    bool leaving;           /* ends for good; a wanted model gets another one */
    bool stale;             /* a person asked for a fresh one */
    bool renew;             /* leaving, and does not come back: a fresh one takes its place */
    bool waited;            /* WAITING since before its definition changed, or it was asked anew */
    bool drained;           /* DRAINING: nothing is in flight any more */
    bool was_ready;         /* in this start */
    unsigned work, streams; /* requests that it has now; those whose bytes come one by one */
    struct timer stall;     /* the next look at its progress */
    uint64_t alive_ms;      /* world_now_ms of the last sign of progress, or the work's begin */
    uint64_t progress;      /* what progress_path told last; void while !progress_known */
    bool progress_known;
    bool progress_refused; /* it has no progress_path (any more) in this start */
    enum failure failure;  /* STOPPING: the verdict that waits for the last process */
    unsigned attempts;     /* failed ones in a row */
    unsigned probes;       /* readiness: tries so far; health: failures in a row */
    unsigned looks;        /* for processes that are left */
    uint64_t oom_kills;    /* the kernel's count at the start, then at the last health probe */
    uint64_t spawned_ms;   /* world_now_ms of this start's process */
    uint64_t progress_ms;  /* world_now_ms of the last byte that the gateway saw */
    int64_t log_start;     /* where this start's part of the log begins */
};

static inline struct inst *inst_of(const struct instance *pub)
{
    return UNCONST(struct inst *, pub);
}

/* --- engines.c */
struct inst *inst_create(struct engines *e, const char *uuid, int64_t model_id,
                         const char *model_name);
/* Takes it off the list and frees it, whatever lives of it. */
void inst_free(struct inst *inst);
const struct model *inst_model(const struct inst *inst);
void engines_reconcile_soon(struct engines *e);
extern const struct metric engines_metrics[];
enum { METRIC_INSTANCES, METRIC_STARTS, METRIC_FAILURES, METRIC_LOAD_SECONDS, METRIC_MAX_ };

/* --- instance.c */
void inst_begin(struct inst *inst); /* a new one: tells of it, and it waits for its place */
/* WAITING: the model has a new definition. */
void inst_take_definition(struct inst *inst);
void inst_place(struct inst *inst, const struct place *place);
void inst_displace(struct inst *inst, uint64_t grace_ms, const char *why);
void inst_begin_adopted(
    struct inst *inst); /* its process runs and is watched: waits until it answers */
void inst_begin_leftover(struct inst *inst); /* marked processes that must go, then the row */
/* Ends it for good, drained where there is something to drain. renew: even if the model is wanted
 * again meanwhile. */
void inst_leave(struct inst *inst, bool renew);
/* It drains, and its model is wanted again just as it is: takes requests again, or, when it was
 * moved aside, will wait for a place instead of being gone. */
bool inst_stay(struct inst *inst);
void inst_drained(struct inst *inst);
void inst_retry(struct inst *inst);
void inst_ready(struct inst *inst); /* the probe answered */
/* READY, and its slots are others than it was told with: tells of it anew. */
void inst_tell_slots(struct inst *inst);
/* It is of no use any more: kills what lives, then judges (back-off, failed, gone). */
void inst_fail(struct inst *inst, enum failure failure, const char *fmt, ...) _printf_(3, 4);
void inst_on_timer(void *inst);
void inst_on_deadline(void *inst);
void inst_committed(struct inst *inst, int result, const struct error *error);
void inst_process_ended(struct inst *inst, const struct process_exit *how);

/* --- instance_process.c */
int inst_spawn(struct inst *inst, struct error *reterr) _must_check_;
int inst_adopt(struct inst *inst, struct process_id id, struct error *reterr) _must_check_;
/* Its container, which an earlier berth made: to be watched again, or to be removed. */
void inst_adopt_container(struct inst *inst);
void inst_clear_container(struct inst *inst);
/* A process or container of it is watched. */
bool inst_has_process(const struct inst *inst);
/* SIGTERM to its leader. -ESRCH when it has ended. */
int inst_terminate(struct inst *inst);
/* Removes containers that carry our mark and no instance's, soon. */
void containers_sweep(struct engines *e);
void inst_open_upstream(struct inst *inst);
void inst_close_upstream(struct inst *inst);
/* Sends signum to every process that carries this instance's mark, and removes its container; how
 * many there were. */
unsigned inst_signal_marked(struct inst *inst, int signum);
/* A hash of texts, which tells definitions apart that nobody made to collide: from SPEC_HASH_BEGIN
 * on. */
#define SPEC_HASH_BEGIN 0xcbf29ce484222325u
uint64_t spec_hash_add(uint64_t h, const char *text);
void spec_hash_text(uint64_t h, char out[SPEC_HASH_SIZE]);
/* What of an instance goes into its command. */
struct inst_place {
    const char *uuid;
    unsigned replica;
    uint16_t port;
    const struct place *where; /* NULL: as the definition says */
};
/* The command for it as the model is defined now, and the command's hash. */
int inst_command(struct engines *e, const struct model *model, const struct inst_place *place,
                 struct engine_command *ret, char ret_hash[SPEC_HASH_SIZE],
                 struct error *reterr) _must_check_;
/* Takes it over, with what the instance shows of it. */
void inst_take_command(struct inst *inst, struct engine_command *command);
/* Would the model as it is defined now be run (or reached) just as this one is? */
bool inst_matches(const struct inst *inst, const struct model *model);
/* A port for a driver that needs one: the one it had when it ran well there and it is free, else
 * another. */
int inst_choose_port(struct inst *inst, struct error *reterr) _must_check_;
/* Can something listen there now? */
int inst_check_port(const struct inst *inst, struct error *reterr) _must_check_;
/* The uuid in a marker's value, when it is one of ours. */
bool marker_uuid(const struct engines *e, const char *value, char ret_uuid[UUID_SIZE]);

/* --- instance_probe.c */
void inst_probe_ready(struct inst *inst);  /* asks, and again until it answers */
void inst_probe_health(struct inst *inst); /* asks once */
/* Ends every question to it that is under way. */
void inst_probe_stop(struct inst *inst);
void inst_ask_info(struct inst *inst);    /* what the engine tells of itself */
void inst_plan_health(struct inst *inst); /* starts the timer for the next health probe */
/* One question whether it is well. done gets 0 when it is, with status and body, else negative
 * errno with the reason; -EPROTO comes with status and body too. The instance may go meanwhile. */
struct probe *probe_start(struct inst *inst, uint64_t limit_ms, http_fetch_fn done, void *owner);

/* --- instance_memory.c */
/* Looks at what it takes now (RSS of its processes, devices' process lists) and keeps the peak:
 * when it is ready, with each health probe, and before it is stopped. Tells, when pub.taken has
 * changed, and stores it for the next start of the same definition. */
void inst_measure(struct inst *inst);

/* --- need.c */
struct needs *needs_create(struct engines *e);
/* Reads what was measured by earlier berths: before the loop runs. */
int needs_load(struct needs *n, struct error *reterr) _must_check_;
/* Never waits for files that hang. Accepts NULL, returns NULL. */
struct needs *needs_destroy(struct needs *n);
/* Something on the room's worker for files: -EAGAIN when too much stands. */
int needs_submit(struct needs *n, struct job *job) _must_check_;
/* What an instance of the definition that it has now took on so many devices (the fullest of them)
 * and of the host beside them, and how long loading took (0: not known, or told before); kept, if
 * it is more than was known or another time, and its need found out anew. */
void needs_record(struct inst *inst, unsigned devices, uint64_t device_bytes, uint64_t host_bytes,
                  uint64_t load_ms);
/* Is the definition's memory neither declared nor can it be estimated? Then that is an error. */
void needs_validate(struct engines *e, const struct model_config *model, struct validation *v);

/* Finds out pub.need anew: at its making, at a new definition, after a measurement. Tells (from and
 * to the same state) when it is known or another. */
void inst_find_need(struct inst *inst);
void inst_need_detach(struct inst *inst); /* before it is freed */

/* --- instance.c */
/* Says that something about it is new, in the state that it is in. */
void inst_tell_news(struct inst *inst);

/* --- oom.c */
/* How often the kernel has killed a process for want of memory since it booted; 0: not known. */
uint64_t oom_kills(const struct inst *inst);

/* --- instance_progress.c */
void inst_note_work(struct inst *inst, int change, bool streams);
void inst_note_progress(struct inst *inst);
void inst_watch_progress(struct inst *inst); /* it is ready */
void inst_on_stall(void *inst);

/* --- engines_store.c */
struct row {
    char uuid[UUID_SIZE];
    int64_t model_id, model_epoch, epoch, created_ms;
    char model_name[MODEL_ID_MAX + 1];
    enum instance_state state;
    char socket[ADDRESS_TEXT_SIZE];
    char spec_hash[SPEC_HASH_SIZE];
    int64_t pid;
    uint64_t start_time;
    char boot_id[BOOT_ID_SIZE];
    int64_t restarts;
    int64_t replica;
    struct place place;
    bool stopping;                       /* it was told to end */
    char container[CONTAINER_NAME_SIZE]; /* "": it is none, or none is left */
};

enum row_change { ROW_NONE, ROW_INTENT, ROW_UPDATE, ROW_DELETE };

/* Writes the instance as it is now, and the event (stolen, may be NULL) in the same transaction. An
 * intent's end is told to inst_committed. */
void inst_store(struct inst *inst, enum row_change change, struct event *event);
/* What stood in the way of recovery, all rows; *ret owned by the caller (free). Before the loop
 * runs. */
int rows_load(struct engines *e, struct row **ret, size_t *ret_count,
              struct error *reterr) _must_check_;
/* Takes over (epoch + 1) the rows that are kept, deletes the others, at once. keep[i] tells of
 * rows[i]. */
int rows_settle(struct engines *e, struct row *rows, const bool *keep, size_t count,
                struct error *reterr) _must_check_;
void rows_detach(struct engines *e); /* operations that stand no longer know the room */

/* --- engine_log.c */
int instance_dir_make(const char *uuid, struct error *reterr) _must_check_;
void instance_dir_remove(const char *uuid);
/* Removes what lies below instances/ and belongs to none of the list. */
void instance_dirs_sweep(struct engines *e);
int64_t engine_log_size(const char *path);
/* One line of printable UTF-8, whatever an engine wrote. */
void make_presentable(char *text);
/* The last line that says something, presentable, owned by the caller; NULL when there is none. */
char *engine_log_last_line(const char *path, int64_t from);
/* At most max bytes from the end, not before `from`; starts at a line unless there is none. NULL
 * when there is nothing. */
char *engine_log_tail(const char *path, int64_t from, size_t max, size_t *ret_len);
/* Copies logs beyond engines.log_max to <log>.1 and empties them, on the worker. */
void engine_logs_rotate(struct engines *e);

/* --- drivers.c */
const struct engine_driver *driver_find(const char *framework);
/* "llamacpp (llama_cpp, llamacpp)": for errors. */
void driver_names(char *out, size_t size);
