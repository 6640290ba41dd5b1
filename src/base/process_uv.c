// SPDX-License-Identifier: Apache-2.0
/* Real processes: posix_spawn, a pidfd on the loop, /proc for who they are. */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/world_uv_int.h"

enum { MAX_ENVIRON = 1024 * 1024 };

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

struct pid_watch {
    uv_poll_t poll;
    int fd;
    bool ended;
};

static int open_pidfd(pid_t pid)
{
    int fd = (int)syscall(SYS_pidfd_open, pid, 0);

    return fd < 0 ? -errno : fd;
}

static int send_by_pidfd(int fd, int signum)
{
    return syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0) < 0 ? -errno : 0;
}

/* Reads a /proc file whole, up to out's maximum. */
static int read_proc(pid_t pid, const char *file, struct buf *out)
{
    _cleanup_(closep) int fd = -1;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        char *to = buf_reserve(out, 4096);
        ssize_t n = to ? read(fd, to, 4096) : 0;

        if (n < 0) {
            return -errno;
        }
        if (n == 0) {
            return 0;
        }
        buf_added(out, (size_t)n);
    }
}

/* Field 22 of /proc/PID/stat, counted after the last ')' since the name may hold anything; field 3
 * is the state. */
static int read_start_time(pid_t pid, uint64_t *ret, char *ret_state)
{
    struct buf b = BUF_INIT(8192);
    const char *p;
    int r;

    r = read_proc(pid, "stat", &b);
    p = r < 0 ? NULL : strrchr(buf_data(&b), ')');
    if (!p || p[1] != ' ') {
        buf_finish(&b);
        return -ESRCH;
    }
    p += 2;
    *ret_state = *p;
    for (int field = 3; field < 22 && p; field++) {
        p = strchr(p, ' ');
        p = p ? p + 1 : NULL;
    }
    *ret = p ? strtoull(p, NULL, 10) : 0;
    buf_finish(&b);
    return p ? 0 : -ESRCH;
}

static void on_pidfd_closed(uv_handle_t *handle)
{
    struct pid_watch *watch = container_of(handle, struct pid_watch, poll);

    close(watch->fd);
    free(watch);
}

static struct process_exit read_exit(const struct process *p, int fd)
{
    siginfo_t info = { 0 };

    if (!p->child || waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG) < 0 ||
        info.si_pid == 0) {
        return (struct process_exit){ .known = false };
    }
    if (info.si_code == CLD_EXITED) {
        return (struct process_exit){ .known = true, .code = info.si_status };
    }
    return (struct process_exit){ .known = true, .signal = info.si_status };
}

static void on_pidfd(uv_poll_t *poll, int status, int events)
{
    struct process *p = poll->data;
    struct pid_watch *watch = p->impl;
    struct process_exit how = read_exit(p, watch->fd);

    watch->ended = true;
    uv_poll_stop(poll);
    p->on_exit(p->owner, &how);
}

static void start_watch(struct process *p, int fd)
{
    struct pid_watch *watch = xcalloc(1, sizeof(*watch));

    watch->fd = fd;
    watch->poll.data = p;
    p->impl = watch;
    uv_poll_init(&uv_world_of(p->world)->loop, &watch->poll, fd);
    uv_poll_start(&watch->poll, UV_READABLE, on_pidfd);
}

static int spawn(struct world *w, const struct spawn_spec *spec, struct process *p,
                 struct error *reterr)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    char state;
    int r, fd;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    r = -posix_spawn(&p->id.pid, spec->argv[0], &files, &attr, UNCONST(char *const *, spec->argv),
                     UNCONST(char *const *, spec->envp));
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attr);
    if (r < 0) {
        return error_set(reterr, r, "cannot run %s: %s", spec->argv[0], strerror(-r));
    }
    /* Until we reap it, the pid is its own: neither call can meet another process. */
    fd = open_pidfd(p->id.pid);
    if (fd < 0 || read_start_time(p->id.pid, &p->id.start_time, &state) < 0) {
        kill(p->id.pid, SIGKILL);
        waitpid(p->id.pid, NULL, 0);
        return error_set(reterr, fd < 0 ? fd : -EIO, "cannot watch the new process %d: %s",
                         (int)p->id.pid, strerror(fd < 0 ? -fd : EIO));
    }
    start_watch(p, fd);
    return 0;
}

/* A pidfd of exactly this process. */
static int open_verified(struct process_id id)
{
    uint64_t start_time;
    int fd = open_pidfd(id.pid);
    char state;

    if (fd < 0) {
        return fd;
    }
    if (read_start_time(id.pid, &start_time, &state) < 0 || start_time != id.start_time ||
        state == 'Z') {
        close(fd);
        return -ESRCH;
    }
    return fd;
}

static int adopt(struct world *w, struct process *p, struct error *reterr)
{
    int fd = open_verified(p->id);

    if (fd < 0) {
        return error_set(reterr, fd, "process %d: %s", (int)p->id.pid,
                         fd == -ESRCH ? "it is gone" : strerror(-fd));
    }
    start_watch(p, fd);
    return 0;
}

static int signal_process(struct process *p, int signum)
{
    const struct pid_watch *watch = p->impl;

    return watch->ended ? -ESRCH : send_by_pidfd(watch->fd, signum);
}

static void forget(struct process *p)
{
    struct pid_watch *watch = p->impl;

    uv_close((uv_handle_t *)&watch->poll, on_pidfd_closed);
    free(p);
}

static int kill_id(struct world *w, struct process_id id, int signum)
{
    int fd = open_verified(id), r;

    if (fd < 0) {
        return fd;
    }
    r = send_by_pidfd(fd, signum);
    close(fd);
    return r;
}

/* The value of NAME in an environ block ("A=1\0B=2\0"), or NULL. */
static const char *find_variable(const struct buf *block, const char *name)
{
    const char *p = buf_data(block), *end = p + block->len;
    size_t n = strlen(name);

    while (p < end) {
        if (strncmp(p, name, n) == 0 && p[n] == '=') {
            return p + n + 1;
        }
        p += strlen(p) + 1;
    }
    return NULL;
}

static int scan(struct world *w, const char *variable, process_found_fn found, void *arg)
{
    struct buf block = BUF_INIT(MAX_ENVIRON);
    DIR *dir = opendir("/proc");
    struct dirent *e;

    if (!dir) {
        return -errno;
    }
    while ((e = readdir(dir))) {
        struct process_id id = { .pid = (pid_t)strtol(e->d_name, NULL, 10) };
        const char *value;
        char state;

        if (!isdigit((unsigned char)e->d_name[0]) || id.pid == getpid()) {
            continue;
        }
        buf_clear(&block);
        if (read_proc(id.pid, "environ", &block) < 0) {
            continue;
        }
        value = find_variable(&block, variable);
        if (value && read_start_time(id.pid, &id.start_time, &state) == 0 && state != 'Z') {
            found(arg, id, value);
        }
    }
    closedir(dir);
    buf_finish(&block);
    return 0;
}

const struct process_ops uv_process_ops = { spawn, adopt, signal_process, forget, scan, kill_id };
