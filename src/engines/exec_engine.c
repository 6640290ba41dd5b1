// SPDX-License-Identifier: Apache-2.0
/*
 * `berth exec-engine`: what runs between berth's fork and the engine's own code, in the process
 * that becomes the engine. It takes away all that ties an engine to berth (session, descriptors,
 * signals) and opens its log. Whatever goes wrong is said there.
 *
 *     berth exec-engine [--parent PID] --log FILE [--oom-score N] -- PROGRAM ARGUMENT...
 *
 * With --parent it ends at once when that process is no longer its parent: a berth that was killed
 * between fork and here knows nothing of this child any more, and a later one may already have
 * looked for it in vain.
 */
#include "engines/engines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/str.h"

enum { EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127, NOFILE_WANTED = 65536, OOM_SCORE_MAX = 1000 };

struct exec_options {
    const char *log;
    int64_t oom_score; /* added to ours */
    int64_t parent;    /* 0: do not care */
    char **argv;
};

static int complain(int status, const char *what, const char *name)
{
    fprintf(stderr, "berth: %s %s: %s\n", what, name, strerror(errno));
    return status;
}

static int read_number(const char *name, const char *value, struct exec_options *ret)
{
    if (str_eq(name, "--oom-score")) {
        return span_to_i64(span_of(value), &ret->oom_score);
    }
    return str_eq(name, "--parent") ? span_to_i64(span_of(value), &ret->parent) : -EINVAL;
}

static int read_options(int argc, char **argv, struct exec_options *ret)
{
    int i = 1;

    for (; i + 1 < argc && !str_eq(argv[i], "--"); i += 2) {
        if (str_eq(argv[i], "--log")) {
            ret->log = argv[i + 1];
        } else if (read_number(argv[i], argv[i + 1], ret) < 0) {
            return -EINVAL;
        }
    }
    if (i + 1 >= argc || !str_eq(argv[i], "--") || !ret->log) {
        return -EINVAL;
    }
    ret->argv = argv + i + 1;
    return 0;
}

static int open_log(const char *path)
{
    int log = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (log < 0 || null < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0) {
        return -errno;
    }
    return 0;
}

static void set_limits(void)
{
    struct rlimit core = { 0, 0 };
    struct rlimit files;

    setrlimit(RLIMIT_CORE, &core);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < NOFILE_WANTED ? files.rlim_max : NOFILE_WANTED;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static void reset_signals(void)
{
    sigset_t none;

    for (int s = 1; s < NSIG; s++) {
        signal(s, SIG_DFL); /* fails for those that have no other anyway */
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Ours and N more; a higher one is always allowed. Where that is not possible the engine runs
 * without. */
static void raise_oom_score(int64_t by)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "r+e");
    int64_t own = 0;

    if (!f || fscanf(f, "%" SCNd64, &own) != 1) {
        complain(0, "cannot read", "/proc/self/oom_score_adj");
    } else {
        rewind(f);
        own = own + by > OOM_SCORE_MAX ? OOM_SCORE_MAX : own + by;
        if (fprintf(f, "%" PRId64, own) < 0 || fflush(f) != 0) {
            complain(0, "cannot write", "/proc/self/oom_score_adj");
        }
    }
    if (f) {
        fclose(f);
    }
}

static int become_engine(int argc, char **argv)
{
    struct exec_options o = { 0 };

    if (read_options(argc, argv, &o) < 0) {
        fprintf(stderr, "berth: usage: berth exec-engine [--parent PID] --log FILE [--oom-score N] "
                        "-- PROGRAM [ARGUMENT...]\n");
        return EXIT_CANNOT_RUN;
    }
    if (o.parent && getppid() != o.parent) {
        return EXIT_CANNOT_RUN;
    }
    setsid(); /* fails only when we lead a session already */
    if (open_log(o.log) < 0) {
        return complain(EXIT_CANNOT_RUN, "cannot open the log", o.log);
    }
    set_limits();
    raise_oom_score(o.oom_score);
    reset_signals();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return complain(EXIT_CANNOT_RUN, "cannot give up new privileges for", o.argv[0]);
    }
    if (close_range(3, ~0u, 0) < 0) {
        complain(0, "cannot close descriptors for",
                 o.argv[0]); /* ours close by themselves at exec */
    }
    execv(o.argv[0], o.argv);
    return complain(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN, "cannot run", o.argv[0]);
}

/* Nothing of berth's is left to do at the end. (What a sanitizer does there takes a second process
 * with this one's mark, which whoever counts engines would see.) */
void exec_engine_main(int argc, char **argv)
{
    _exit(become_engine(argc, argv));
}
