// SPDX-License-Identifier: Apache-2.0
/*
 * berth load: starts a model and stays until all of its replicas answer or what is left of them has
 * failed, telling what happens on the way. Given a GGUF file it defines the model first. With an
 * option of placement it is placed by the scheduler's door, which says at once what has to move.
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

enum { POLL_MS = 100, PATIENT_LOOKS = 20 };

// clang-format off
static const struct cli_option options[] = {
    { "no-wait", 0, NULL,   "come back at once; 'berth ps' tells how it goes" },
    { "timeout", 0, "DURATION", "wait no longer than this, such as 90s or 5m (default: until it is up or has failed)" },
    { "name",    0, "NAME", "of a file: the model's id (default: the file's name without .gguf)" },
    { "priority", 0, "N",   "from now on its priority is this, 1 to 10; it may move lower ones aside" },
    { "no-preempt", 0, NULL, "take free room only, else wait for it" },
    { "force",   0, NULL,   "do not mind the memory threshold and how long others have been up; place it anew when it runs" },
    { "dry-run", 0, NULL,   "only say where it would go and what would have to move; changes nothing" },
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
static int define_file(struct cli *cli, const char *file, char **ret_id)
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
    config = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:s}}", "id", id, "name", id, "framework",
                       "llama_cpp", "model_path", path ? path : file, "priority", 5,
                       "resource_requirements", "gpu_memory", "auto");
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
    bool dots; /* the cursor stands behind some */
    char *why; /* of the last look that found it waiting for room */
    bool why_told;
    unsigned looks;                       /* that found it so */
    int64_t restarts[MODEL_REPLICAS_MAX]; /* told of so far, by replica */
};

/* What one look at the instances found. */
struct tally {
    unsigned ready, failed, queued, all;
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
        t.queued += str_eq(state, "waiting");
    }
    return t;
}

/* Its place is decided within a moment mostly: only what still holds at the second look is told,
 * once. */
static void tell_why(struct waiting *w, const char *sentence)
{
    const bool same = w->why && str_eq(w->why, sentence);

    if (same && !w->why_told) {
        end_dots(w);
        fprintf(stderr, "%s waits for room: %s\n", w->id, sentence);
        w->why_told = true;
    } else if (!same) {
        free(w->why);
        w->why = xstrdup(sentence);
        w->why_told = false;
    }
}

/* The first of its instances whose waiting is worth a word; NULL: none. One whose place is reserved
 * mostly loads within a moment. */
static const json_t *find_waiting(const struct waiting *w, const json_t *why)
{
    size_t i;
    json_t *inst;

    json_array_foreach(json_object_get(why, "instances"), i, inst)
    {
        const bool reserved = json_is_true(json_object_get(inst, "reserved"));

        if (str_eq(member_str(inst, "state", ""), "waiting") &&
            (!reserved || w->looks > PATIENT_LOOKS) && member_str(inst, "sentence", "")[0]) {
            return inst;
        }
    }
    return NULL;
}

/* It waits for room: why? 0: go on; -1: it can never have it (and that is told). */
static int look_why(struct waiting *w)
{
    _cleanup_(freep) char *path = cli_path("/api/v1/scheduler/why/", w->id, "");
    const json_t *inst;
    struct reply reply;
    struct error e;
    int verdict = 0;

    w->looks++;
    if (cli_call(w->cli, "GET", path, NULL, &reply, &e) < 0) {
        return 0; /* the next look says it */
    }
    inst = reply.status == 200 ? find_waiting(w, reply.json) : NULL;
    if (inst && str_eq(member_str(inst, "reason", ""), "never_fits")) {
        end_dots(w);
        complain("%s: %s; it stays in the queue until 'berth stop %s'", w->id,
                 member_str(inst, "sentence", ""), w->id);
        verdict = -1;
    } else if (inst) {
        tell_why(w, member_str(inst, "sentence", ""));
    }
    reply_finish(&reply);
    return verdict;
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
    if (t.queued > 0) {
        return look_why(w);
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

/* ---- the scheduler's door ---- */

static bool is_dry(const struct cli *cli)
{
    return cli_value(cli, "dry-run");
}

static bool names_placement(const struct cli *cli)
{
    return cli_value(cli, "priority") || cli_value(cli, "no-preempt") || cli_value(cli, "force") ||
           is_dry(cli);
}

/* 0, or the exit code, having spoken; *ret is to be finished only after 0. */
static int ask_place(struct cli *cli, const char *id, struct reply *ret)
{
    uint64_t priority;
    json_t *ask;
    int code;

    if (cli_number(cli, "priority", 0, &priority) < 0) {
        return error_kind(-EINVAL)->exit_code;
    }
    ask = json_pack("{s:s, s:b, s:b, s:b}", "model_id", id, "force", !!cli_value(cli, "force"),
                    "allow_preemption", !cli_value(cli, "no-preempt"), "dry_run", is_dry(cli));
    if (cli_value(cli, "priority")) {
        json_object_set_new(ask, "priority", json_integer((json_int_t)MIN_OF(priority, INT32_MAX)));
    }
    code = cli_ask(cli, "POST", "/api/v1/scheduler/schedule", ask, ret);
    json_decref(ask);
    return code;
}

/* What the door has decided, or would. 0; or the exit code of what is not placed, which may still
 * be waited for when it is queued. */
static int tell_decision(const struct cli *cli, struct waiting *w, const json_t *answer)
{
    const char *outcome = member_str(answer, "outcome", "?");
    const json_t *moved = json_object_get(answer, "preempted_models");
    _cleanup_(freep) char *names = join_members(moved, "");
    FILE *out = is_dry(cli) ? stdout : stderr;

    if (cli->json && is_dry(cli)) {
        print_json(answer);
    } else if (is_dry(cli) || !str_eq(outcome, "placed")) {
        w->why = xstrdup(member_str(answer, "message", "?"));
        w->why_told = true;
        fprintf(out, "%s: %s\n", w->id, w->why);
    }
    if (!cli->json && json_array_size(moved) > 0) {
        fprintf(out, "%s: %s\n", is_dry(cli) ? "would move aside" : "moves aside", names);
    }
    if (str_eq(outcome, "placed")) {
        return 0;
    }
    return str_eq(outcome, "queued") ? error_kind(-ESRCH)->exit_code : 1;
}

/* ---- starting ---- */

/* Asks for the start by the one door or the other. 0, or the exit code, having spoken; *ret is to
 * be finished only after 0. */
static int ask_start(struct cli *cli, struct waiting *w, struct reply *ret)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", w->id, "/start");

    return names_placement(cli) ? ask_place(cli, w->id, ret)
                                : cli_ask(cli, "POST", path, NULL, ret);
}

/* After the answer: tells of it, waits as it is asked to. The exit code. */
static int follow(struct cli *cli, struct waiting *w, json_t *answer)
{
    const bool wait = !cli_value(cli, "no-wait");
    int code = 0;

    if (names_placement(cli)) {
        code = tell_decision(cli, w, answer);
    }
    if (is_dry(cli) || code == 1 || (code != 0 && !wait)) {
        return code;
    }
    code = wait ? wait_until_up(w) : 0;
    if (code == 0) {
        print_started(cli, answer, w, wait);
    }
    return code;
}

static int start(struct cli *cli, const char *name)
{
    _cleanup_(freep) char *id = NULL;
    const char *limit = cli_value(cli, "timeout");
    struct waiting w = { .cli = cli, .terminal = isatty(STDERR_FILENO) };
    struct reply reply = { 0 };
    int code;

    if (limit && str_to_duration_ms(limit, &w.limit_ms) < 0) {
        complain("--timeout: '%s' is no duration such as 90s or 5m", limit);
        return error_kind(-EINVAL)->exit_code;
    }
    memset(w.restarts, -1, sizeof(w.restarts));
    code = ask_replicas(cli, name, &w.replicas, &id);
    w.id = id;
    if (code == 0) {
        code = ask_start(cli, &w, &reply);
    }
    if (code != 0) {
        return code;
    }
    code = follow(cli, &w, reply.json);
    free(w.why);
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
    if (is_dry(cli)) {
        complain("--dry-run is for a model that is defined; a file is defined when it is loaded");
        return error_kind(-EINVAL)->exit_code;
    }
    code = define_file(cli, cli->args[0], &id);
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
