// SPDX-License-Identifier: Apache-2.0
/*
 * Child processes, and processes that an earlier berth started: one watcher for both (a pidfd on
 * the loop). A process is known by its pid and start time, so that a reused pid is never taken for
 * it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/world.h"

struct process;

struct process_id {
    pid_t pid;
    uint64_t start_time; /* clock ticks since boot, field 22 of /proc/PID/stat */
};

struct process_exit {
    bool known; /* false: it was not our child, how it ended cannot be known */
    int code;   /* exit code when signal == 0 */
    int signal; /* that killed it, or 0 */
};

typedef void (*process_exit_fn)(void *owner, const struct process_exit *how);

struct spawn_spec {
    const char *const *argv; /* argv[0] is the file, an absolute path; NULL-terminated */
    const char *const *envp; /* "NAME=value", whole environment; NULL-terminated */
};

/* Starts a child. No descriptor of ours but 0-2 reaches it (0 is /dev/null). on_exit runs once, on
 * the loop, unless the handle is destroyed before. The caller owns *ret. Errors: -ENOENT, -EACCES
 * …, with the reason. */
int process_spawn(struct world *w, const struct spawn_spec *spec, process_exit_fn on_exit,
                  void *owner, struct process **ret, struct error *reterr) _must_check_;
/* Watches a process that somebody else started. -ESRCH when it is gone (or the pid is another's by
 * now). */
int process_adopt(struct world *w, struct process_id id, process_exit_fn on_exit, void *owner,
                  struct process **ret, struct error *reterr) _must_check_;
struct process_id process_id(const struct process *p);
/* To the process alone. -ESRCH when it has ended. */
int process_signal(struct process *p, int signum);
/* Stops watching; the process lives on. Accepts NULL, returns NULL. */
struct process *process_destroy(struct process *p);

/* Calls found(arg, id, value) for each live process (not zombies, not ourselves) whose environment
 * has `variable` (value: what follows the '='). Reads /proc; about 20 us a process. Processes of
 * other users are passed over. */
typedef void (*process_found_fn)(void *arg, struct process_id id, const char *value);
int process_scan(struct world *w, const char *variable, process_found_fn found, void *arg);
/* Signals a process found by a scan, if it is still the same one. */
int process_kill(struct world *w, struct process_id id, int signum);
