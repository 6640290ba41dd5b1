// SPDX-License-Identifier: Apache-2.0
/*
 * berth load: starts a model and stays until all of its replicas answer or what is left of them has
 * failed, telling what happens on the way. Given a GGUF file it defines the model first.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "cli/commands.h"
#include "codec/gguf.h"
#include "models/models.h"

enum { POLL_MS = 100, MIB = 1024 * 1024 };

// clang-format off
static const struct cli_option options[] = {
    { "no-wait", 0, NULL,   "come back at once; 'berth ps' tells how it goes" },
    { "timeout", 0, "DURATION", "wait no longer than this, such as 90s or 5m (default: until it is up or has failed)" },
    { "name",    0, "NAME", "of a file: the model's id (default: the file's name without .gguf)" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

/* ---- a file becomes a definition ---- */

static char *id_of_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *id = xstrdup(slash ? slash + 1 : path);

    if (str_ends(id, ".gguf")) {
        id[strlen(id) - strlen(".gguf")] = '\0';
    }
    return id;
}

/* Defines the model; *ret_id is owned by the caller. A definition that stands already is kept. */
static int define_file(struct cli *cli, const char *file, const struct stat *st, char **ret_id)
{
    const char *name = cli_value(cli, "name");
    _cleanup_(freep) char *id = name ? xstrdup(name) : id_of_file(file);
    _cleanup_(freep) char *path = realpath(file, NULL);
    _cleanup_(freep) char *model_url = cli_path("/api/models/", id, "");
    struct gguf_info info;
    struct reply reply;
    struct error e;
    json_t *config;
    int code;

    if (cli_call(cli, "GET", model_url, NULL, &reply, &e) == 0) {
        const bool known = reply.status == 200;

        reply_finish(&reply);
        if (known) {
            complain("'%s' is defined already, starting it as it is", id);
            *ret_id = TAKE_PTR(id);
            return 0;
        }
    }
    if (gguf_read_file(file, &info, &e) < 0) {
        complain("%s", e.text);
        return error_kind(e.code)->exit_code;
    }
    config = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:I}}", "id", id, "name", id, "framework",
                       "llama_cpp", "model_path", path ? path : file, "priority", 5,
                       "resource_requirements", "gpu_memory",
                       (json_int_t)st->st_size / MIB * 6 / 5 + 64);
    code = cli_ask(cli, "POST", "/api/models/", config, &reply);
    json_decref(config);
    if (code == 0) {
        reply_finish(&reply);
        *ret_id = TAKE_PTR(id);
    }
    return code;
}

/* ---- waiting ---- */

struct waiting {
    struct cli *cli;
    const char *id;
    unsigned replicas;
    uint64_t limit_ms; /* 0: none */
    bool terminal;
    bool dots;                            /* the cursor stands behind some */
    int64_t restarts[MODEL_REPLICAS_MAX]; /* told of so far, by replica */
};

/* What one look at the instances found. */
struct tally {
    unsigned ready, failed, all;
};

static void end_dots(struct waiting *w)
{
    if (w->dots) {
        fputc('\n', stderr);
    }
    w->dots = false;
}

static unsigned replica_of(const json_t *inst)
{
    return (unsigned)member_int(inst, "replica") % MODEL_REPLICAS_MAX;
}

/* Before the engine's words, with several replicas: which one. */
static void say_replica(const struct waiting *w, const json_t *inst)
{
    if (w->replicas > 1) {
        fprintf(stderr, "replica %u: ", replica_of(inst));
    }
}

static void tell_retry(struct waiting *w, const json_t *inst)
{
    const char *why = member_str(inst, "last_error", NULL);
    const int64_t restarts = member_int(inst, "restarts");
    int64_t *told = &w->restarts[replica_of(inst)];

    if (why && restarts != *told) {
        *told = restarts;
        end_dots(w);
        say_replica(w, inst);
        fprintf(stderr, "%s; trying again\n", why);
    }
}

static void tell_failure(struct waiting *w, const json_t *inst)
{
    end_dots(w);
    if (w->replicas > 1) {
        complain("%s, replica %u: %s", w->id, replica_of(inst),
                 member_str(inst, "last_error", "the engine failed"));
    } else {
        complain("%s: %s", w->id, member_str(inst, "last_error", "the engine failed"));
    }
}

static struct tally count_instances(const json_t *instances)
{
    struct tally t = { 0 };
    size_t i;
    json_t *inst;

    json_array_foreach(instances, i, inst)
    {
        const char *state = member_str(inst, "state", "?");

        t.all++;
        t.ready += str_eq(state, "ready");
        t.failed += str_eq(state, "failed");
    }
    return t;
}

/* 1: all run, 0: not yet, -1: what does not run has failed for good (and is told). */
static int look_at(struct waiting *w, const json_t *instances)
{
    const struct tally t = count_instances(instances);
    const bool over = t.failed > 0 && t.ready + t.failed >= w->replicas;
    size_t i;
    json_t *inst;

    json_array_foreach(instances, i, inst)
    {
        const char *state = member_str(inst, "state", "?");

        if (over && str_eq(state, "failed")) {
            tell_failure(w, inst);
        } else if (!over && str_eq(state, "backoff")) {
            tell_retry(w, inst);
        }
    }
    if (over) {
        return -1;
    }
    return t.ready >= w->replicas;
}

/* Without an instance: is it at least still wanted? Returns 0 or the exit code, having spoken. */
static int check_wanted(struct cli *cli, const char *id)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", id, "/status");
    struct reply reply;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (str_eq(member_str(reply.json, "status", ""), "stopped")) {
        complain("%s was stopped meanwhile", id);
        code = 1;
    }
    reply_finish(&reply);
    return code;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* A moment later; the sign of life on a terminal. */
static void pause_a_moment(struct waiting *w)
{
    const struct timespec t = { 0, POLL_MS * 1000000L };

    if (w->terminal) {
        fputc('.', stderr);
        w->dots = true;
    }
    nanosleep(&t, NULL);
}

/* One look. 0: go on, 1: it is over and *ret_code says how. */
static int look_once(struct waiting *w, const char *path, int *ret_code)
{
    struct reply reply;
    bool none;
    int verdict;

    *ret_code = cli_ask(w->cli, "GET", path, NULL, &reply);
    if (*ret_code != 0) {
        return 1;
    }
    none = json_array_size(json_object_get(reply.json, "instances")) == 0;
    verdict = look_at(w, json_object_get(reply.json, "instances"));
    reply_finish(&reply);
    if (verdict != 0) {
        *ret_code = verdict > 0 ? 0 : 1;
        return 1;
    }
    *ret_code = none ? check_wanted(w->cli, w->id) : 0;
    return *ret_code != 0;
}

static int wait_until_up(struct waiting *w)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", w->id, "/instances");
    const uint64_t began_ms = now_ms();
    int code;

    while (!look_once(w, path, &code)) {
        if (w->limit_ms > 0 && now_ms() - began_ms >= w->limit_ms) {
            end_dots(w);
            complain("%s is not up yet; 'berth ps' tells how it goes", w->id);
            return error_kind(-ETIMEDOUT)->exit_code;
        }
        pause_a_moment(w);
    }
    end_dots(w);
    return code;
}

/* How many instances it is to have; its id, when it was called by an alias, is owned by the caller.
 */
static int ask_replicas(struct cli *cli, const char *name, unsigned *ret, char **ret_id)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", name, "/config");
    struct reply reply;
    int64_t n;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    n = member_int(reply.json, "replicas");
    *ret = (unsigned)MIN_OF(MAX_OF(n, 1), (int64_t)MODEL_REPLICAS_MAX);
    *ret_id = xstrdup(member_str(reply.json, "id", name));
    reply_finish(&reply);
    return 0;
}

static void print_started(const struct cli *cli, json_t *answer, const struct waiting *w, bool up)
{
    if (cli->json) {
        json_object_set_new(answer, "message", json_string(up ? "running" : "starting"));
        print_json(answer);
    } else if (up && w->replicas > 1) {
        printf("%s is running, %u replicas\n", w->id, w->replicas);
    } else {
        printf("%s is %s\n", w->id, up ? "running" : "starting");
    }
}

static int start(struct cli *cli, const char *name)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", name, "/start"), *id = NULL;
    const bool wait = !cli_value(cli, "no-wait");
    const char *limit = cli_value(cli, "timeout");
    struct waiting w = { .cli = cli, .terminal = isatty(STDERR_FILENO) };
    struct reply reply;
    int code;

    if (limit && str_to_duration_ms(limit, &w.limit_ms) < 0) {
        complain("--timeout: '%s' is no duration such as 90s or 5m", limit);
        return error_kind(-EINVAL)->exit_code;
    }
    memset(w.restarts, -1, sizeof(w.restarts));
    code = ask_replicas(cli, name, &w.replicas, &id);
    if (code == 0) {
        code = cli_ask(cli, "POST", path, NULL, &reply);
    }
    if (code != 0) {
        return code;
    }
    w.id = id;
    if (wait) {
        code = wait_until_up(&w);
    }
    if (code == 0) {
        print_started(cli, reply.json, &w, wait);
    }
    reply_finish(&reply);
    return code;
}

static int run(struct cli *cli)
{
    _cleanup_(freep) char *id = NULL;
    struct stat st;
    int code;

    if (!str_ends(cli->args[0], ".gguf") || stat(cli->args[0], &st) < 0) {
        return start(cli, cli->args[0]);
    }
    code = define_file(cli, cli->args[0], &st, &id);
    return code != 0 ? code : start(cli, id);
}

const struct command load_command = {
    "load",
    "MODEL|FILE.gguf",
    "Starts a model and waits until all of its replicas answer, or tells why not.",
    options,
    1,
    1,
    run,
    "MODEL FILE",
};
