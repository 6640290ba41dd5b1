// SPDX-License-Identifier: Apache-2.0
/*
 * berth doctor: looks at everything that a daemon needs before it is started, or while it runs, and
 * says of each thing whether it is good and what to do when it is not. Changes nothing.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/process.h"
#include "base/str.h"
#include "base/stream.h"
#include "cli/commands.h"
#include "codec/gguf.h"
#include "config/config.h"
#include "daemon/daemon.h"
#include "daemon/options.h"

enum { OUTPUT_MAX = 4096, VERSION_LIMIT_MS = 10000, NOFILE_WANTED = 4096 };
static const uint64_t disk_fail_bytes = 64ull << 20, disk_warn_bytes = 1ull << 30;

// clang-format off
static const struct cli_option options[] = {
    { "config", 'c', "FILE", "the configuration to look at (default: as for serve)" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

enum verdict { OK, WARN, FAIL };
static const char *const verdict_names[] = { [OK] = "ok", [WARN] = "warn", [FAIL] = "fail" };

struct doctor {
    struct cli *cli;
    struct world *world;
    struct config *config; /* NULL when it could not be read */
    json_t *findings;
    bool running; /* a berth answers in the data directory */
    int fails;
};

static void find(struct doctor *d, enum verdict verdict, const char *what, const char *fmt, ...)
    _printf_(4, 5);

static void find(struct doctor *d, enum verdict verdict, const char *what, const char *fmt, ...)
{
    va_list ap;
    char *text;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    d->fails += verdict == FAIL;
    json_array_append_new(d->findings,
                          json_pack("{s:s, s:s, s:s}", "verdict", verdict_names[verdict], "what",
                                    what, "text", text));
    if (!d->cli->json) {
        const char *word = verdict_names[verdict];

        printf("%s%*s %-12s %s\n", paint_state(d->cli, word), (int)(4 - strlen(word)), "", what,
               text);
    }
    free(text);
}

/* ---- the daemon, its configuration ---- */

static void look_at_daemon(struct doctor *d)
{
    struct reply reply;
    struct error e = { 0 };

    if (cli_call(d->cli, "GET", "/health", NULL, &reply, &e) < 0) {
        find(d, OK, "daemon", "none is running in %s", d->cli->data_dir);
        return;
    }
    d->running = true;
    if (reply.status == 200) {
        find(d, OK, "daemon", "berth %s is running", member_str(reply.json, "version", "?"));
    } else {
        find(d, FAIL, "daemon", "it is running, but %s",
             member_str(reply.json, "reason", "says that it is not well"));
    }
    reply_finish(&reply);
}

static void look_at_config(struct doctor *d)
{
    _cleanup_(freep) char *path = daemon_config_path(cli_value(d->cli, "config"));
    struct error e = { 0 };

    if (daemon_load_config(path, NULL, &d->config, &e) < 0) {
        find(d, FAIL, "config", "%s", e.text);
    } else if (path) {
        find(d, OK, "config", "%s is good, with %zu models", path,
             json_array_size(config_models(d->config)));
    } else {
        find(d, OK, "config", "no file, so everything has its default");
    }
}

/* A model file that was cut short would only show when its engine dies. */
static void look_at_model_files(struct doctor *d)
{
    struct model_config **models = NULL;
    struct error e = { 0 };
    size_t count = 0;

    if (!d->config || options_models(d->config, &models, &count, &e) < 0) {
        return; /* said by look_at_config */
    }
    for (size_t i = 0; i < count; i++) {
        struct gguf_info info;

        if (!str_ends(models[i]->model_path, ".gguf")) {
            continue;
        }
        if (gguf_read_file(models[i]->model_path, &info, &e) < 0) {
            find(d, FAIL, "model", "%s: %s", models[i]->id, e.text);
        } else {
            find(d, OK, "model", "%s: %s, %llu layers, %llu MiB of weights", models[i]->id,
                 info.architecture, (unsigned long long)info.block_count,
                 (unsigned long long)(info.tensor_bytes >> 20));
        }
    }
    for (size_t i = 0; i < count; i++) {
        model_config_free(models[i]);
    }
    free(models);
}

/* ---- the data directory ---- */

static void look_at_disk(struct doctor *d, const char *dir)
{
    struct statvfs fs;
    uint64_t left;

    if (statvfs(dir, &fs) < 0) {
        find(d, WARN, "disk", "cannot be asked: %s", strerror(errno));
        return;
    }
    left = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (left < disk_fail_bytes) {
        find(d, FAIL, "disk",
             "%llu MiB are left for %s: the store will stop taking changes; make room",
             (unsigned long long)(left >> 20), dir);
    } else if (left < disk_warn_bytes) {
        find(d, WARN, "disk", "only %llu MiB are left for %s", (unsigned long long)(left >> 20),
             dir);
    } else {
        find(d, OK, "disk", "%llu GiB are left", (unsigned long long)(left >> 30));
    }
}

static void look_at_data_dir(struct doctor *d)
{
    const char *dir = d->cli->data_dir;
    struct stat st;

    if (stat(dir, &st) < 0 && errno == ENOENT) {
        find(d, OK, "data", "%s does not exist yet; 'berth serve' makes it", dir);
        look_at_disk(d, ".");
        return;
    }
    if (stat(dir, &st) < 0) {
        find(d, FAIL, "data", "%s: %s", dir, strerror(errno));
        return;
    }
    if (!S_ISDIR(st.st_mode)) {
        find(d, FAIL, "data", "%s is no directory; choose another --data-dir", dir);
        return;
    }
    if (st.st_uid != geteuid()) {
        find(d, FAIL, "data", "%s belongs to user %u, not to you; run as that user or chown it",
             dir, (unsigned)st.st_uid);
    } else if (access(dir, R_OK | W_OK | X_OK) < 0) {
        find(d, FAIL, "data", "%s cannot be written: %s", dir, strerror(errno));
    } else if (st.st_mode & 077) {
        find(d, WARN, "data", "others may enter %s; chmod 700 it, its socket needs no key", dir);
    } else {
        find(d, OK, "data", "%s is yours, and yours alone", dir);
    }
    look_at_disk(d, dir);
}

/* ---- engines ---- */

/* Runs argv, no shell between; its output (both streams) cut at n - 1 bytes. Returns the exit
 * status, or negative errno. */
static int run_program(char *const *argv, char *out, size_t n)
{
    posix_spawn_file_actions_t actions;
    size_t got = 0;
    int fds[2], status, r;
    pid_t pid;

    if (pipe2(fds, O_CLOEXEC) < 0) {
        return -errno;
    }
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 1);
    posix_spawn_file_actions_adddup2(&actions, fds[1], 2);
    r = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    while (r == 0 && got < n - 1) {
        struct pollfd p = { .fd = fds[0], .events = POLLIN };
        ssize_t k = poll(&p, 1, VERSION_LIMIT_MS) == 1 ? read(fds[0], out + got, n - 1 - got) : -1;

        if (k <= 0) {
            if (k < 0) {
                kill(pid, SIGKILL);
            }
            break;
        }
        got += (size_t)k;
    }
    out[got] = '\0';
    close(fds[0]);
    if (r != 0) {
        return -r;
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
}

/* An executable by its name on PATH, or by its path; owned by the caller, NULL when there is none.
 */
static char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    struct span rest = span_of(path ? path : "");

    if (strchr(name, '/')) {
        return access(name, X_OK) == 0 ? xstrdup(name) : NULL;
    }
    while (rest.n > 0) {
        const struct span dir = span_cut(&rest, ':');
        char *whole = xasprintf("%.*s/%s", SPAN_ARG(dir), name);

        if (dir.n > 0 && access(whole, X_OK) == 0) {
            return whole;
        }
        free(whole);
    }
    return NULL;
}

static void look_at_llama_server(struct doctor *d)
{
    const char *set = d->config ? config_string(d->config, "engines.llama_server") : "";
    const char *name = set[0] ? set : "llama-server";
    _cleanup_(freep) char *program = find_program(name);
    char *argv[] = { program, UNCONST(char *, "--version"), NULL };
    char out[OUTPUT_MAX];
    int status;

    if (!program) {
        find(d, FAIL, "llama-server",
             "'%s' is not there or not executable; install llama.cpp or set engines.llama_server",
             name);
        return;
    }
    status = run_program(argv, out, sizeof(out));
    if (status != 0) {
        find(d, FAIL, "llama-server", "%s --version ends with %d: %.200s", program, status, out);
        return;
    }
    out[strcspn(out, "\r\n")] = '\0';
    find(d, OK, "llama-server", "%s, %.120s", program, out);
}

struct leftovers {
    const char *data_id;
    unsigned count;
    pid_t first;
};

static void on_found(void *arg, struct process_id id, const char *value)
{
    struct leftovers *l = arg;
    const size_t n = strlen(l->data_id);

    if (strncmp(value, l->data_id, n) == 0 && value[n] == '/') {
        l->first = l->count++ == 0 ? id.pid : l->first;
    }
}

/* The first line of a small file, owned by the caller; NULL when it cannot be read. */
static char *read_line(const char *path)
{
    char text[256];
    FILE *f = fopen(path, "re");
    bool ok;

    if (!f) {
        return NULL;
    }
    ok = fgets(text, sizeof(text), f) != NULL;
    fclose(f);
    if (!ok) {
        return NULL;
    }
    text[strcspn(text, "\r\n")] = '\0';
    return xstrdup(text);
}

static void look_at_leftovers(struct doctor *d)
{
    _cleanup_(freep) char *path = xasprintf("%s/id", d->cli->data_dir);
    _cleanup_(freep) char *data_id = read_line(path);
    struct leftovers l = { .data_id = data_id };

    if (!data_id || !data_id[0]) {
        find(d, OK, "engines", "none of this data directory can be left over");
        return;
    }
    if (process_scan(d->world, "BERTH_INSTANCE", on_found, &l) < 0) {
        find(d, WARN, "engines", "/proc cannot be read, so left-over engines cannot be seen");
    } else if (l.count > 0 && !d->running) {
        find(d, WARN, "engines",
             "%u processes of engines live on (pid %d first); the next berth takes them over",
             l.count, (int)l.first);
    } else {
        find(d, OK, "engines", "%u processes%s", l.count,
             l.count > 0 ? ", under berth's eyes" : " left over");
    }
}

/* ---- the machine ---- */

static void on_stray(void *owner, struct stream *s)
{
    stream_close(s);
}

static void look_at_address(struct doctor *d, const char *text)
{
    struct stream_listener *listener = NULL;
    struct address where;
    struct error e = { 0 };
    int r = address_parse(text, &where, &e);

    if (r == 0 && where.is_unix) {
        return;
    }
    if (r == 0) {
        r = stream_listen(d->world, &where, on_stray, NULL, &listener, NULL, &e);
        stream_listener_close(listener);
    }
    if (r == 0) {
        find(d, OK, "address", "%s is free", text);
    } else if (r == -EADDRINUSE && d->running) {
        find(d, OK, "address", "%s is in use, by berth it seems", text);
    } else {
        find(d, FAIL, "address", "%s: %s; set server.listen to another one", text, e.text);
    }
}

static void look_at_addresses(struct doctor *d)
{
    const char *const *list = d->config ? config_list(d->config, "server.listen") : NULL;

    for (size_t i = 0; list && list[i]; i++) {
        look_at_address(d, list[i]);
    }
}

static void look_at_limits(struct doctor *d)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return;
    }
    if (limit.rlim_max < NOFILE_WANTED) {
        find(d, WARN, "files",
             "only %llu may be open at once: few connections will fit; raise ulimit -n",
             (unsigned long long)limit.rlim_max);
    } else {
        find(d, OK, "files", "%llu may be open at once", (unsigned long long)limit.rlim_max);
    }
}

static void look_at_sqlite(struct doctor *d)
{
    if (sqlite3_libversion_number() < 3040000) {
        find(d, FAIL, "sqlite", "%s is too old: 3.40 is needed", sqlite3_libversion());
    } else if (!sqlite3_threadsafe()) {
        find(d, FAIL, "sqlite", "%s is built without threads", sqlite3_libversion());
    } else {
        find(d, OK, "sqlite", "%s", sqlite3_libversion());
    }
}

static void (*const looks[])(struct doctor *d) = {
    look_at_config,    look_at_model_files, look_at_data_dir, look_at_daemon, look_at_llama_server,
    look_at_addresses, look_at_leftovers,   look_at_limits,   look_at_sqlite,
};

static int run(struct cli *cli)
{
    struct doctor d = { .cli = cli, .world = world_create(), .findings = json_array() };

    for (size_t i = 0; i < ARRAY_SIZE(looks); i++) {
        looks[i](&d);
    }
    if (cli->json) {
        print_json(d.findings);
    }
    config_free(d.config);
    json_decref(d.findings);
    world_destroy(d.world);
    return d.fails > 0 ? 1 : 0;
}

const struct command doctor_command = {
    "doctor", "",  "Looks for what could keep berth from working, and says what to do.", options, 0,
    0,        run,
};
