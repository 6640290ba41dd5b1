// SPDX-License-Identifier: Apache-2.0
/*
 * berth load: starts a model and stays until it answers or has failed, telling what happens on the
 * way. Given a GGUF file it defines the model first.
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

enum { POLL_MS = 100, MIB = 1024 * 1024 };

// clang-format off
static const struct cli_option options[] = {
    { "no-wait", 0, NULL,   "come back at once; 'berth ps' tells how it goes" },
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

/* 1: it runs, 0: not yet, -1: it failed. *state and *why are borrowed from the reply. */
static int judge(const json_t *inst, const char **state, const char **why)
{
    *state = inst ? member_str(inst, "state", "?") : "starting";
    *why = inst ? member_str(inst, "last_error", NULL) : NULL;
    if (str_eq(*state, "ready")) {
        return 1;
    }
    return str_eq(*state, "failed") ? -1 : 0;
}

static void sleep_ms(long ms)
{
    const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    nanosleep(&t, NULL);
}

struct progress {
    bool terminal;
    bool dots;        /* the cursor stands behind some */
    int64_t restarts; /* told of so far */
};

static void show_progress(struct progress *p, const json_t *inst, const char *state,
                          const char *why)
{
    if (why && str_eq(state, "backoff") && member_int(inst, "restarts") != p->restarts) {
        p->restarts = member_int(inst, "restarts");
        fprintf(stderr, "%s%s; trying again\n", p->dots ? "\n" : "", why);
        p->dots = false;
    } else if (p->terminal) {
        fputc('.', stderr);
        p->dots = true;
    }
}

static void end_progress(struct progress *p)
{
    if (p->dots) {
        fputc('\n', stderr);
    }
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

/* The first instance of an answer, or NULL. */
static const json_t *first_instance(const struct reply *reply)
{
    return json_array_get(json_object_get(reply->json, "instances"), 0);
}

static int wait_until_up(struct cli *cli, const char *id)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", id, "/instances");
    struct progress progress = { .terminal = isatty(STDERR_FILENO), .restarts = -1 };

    for (;;) {
        struct reply reply;
        const char *state, *why;
        bool known;
        int verdict, code = cli_ask(cli, "GET", path, NULL, &reply);

        if (code != 0) {
            return code;
        }
        known = first_instance(&reply) != NULL;
        verdict = judge(first_instance(&reply), &state, &why);
        if (verdict == 0) {
            show_progress(&progress, first_instance(&reply), state, why);
        } else {
            end_progress(&progress);
        }
        if (verdict < 0) {
            complain("%s: %s", id, why ? why : "the engine failed");
        }
        reply_finish(&reply);
        if (verdict != 0) {
            return verdict > 0 ? 0 : 1;
        }
        if (!known && (code = check_wanted(cli, id)) != 0) {
            return code;
        }
        sleep_ms(POLL_MS);
    }
}

static int start(struct cli *cli, const char *id)
{
    _cleanup_(freep) char *path = cli_path("/api/models/", id, "/start");
    const bool wait = !cli_value(cli, "no-wait");
    struct reply reply;
    int code = cli_ask(cli, "POST", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (wait) {
        code = wait_until_up(cli, id);
    }
    if (code == 0 && cli->json) {
        json_object_set_new(reply.json, "message", json_string(wait ? "running" : "starting"));
        print_json(reply.json);
    } else if (code == 0) {
        printf("%s is %s\n", id, wait ? "running" : "starting");
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
    "load", "MODEL|FILE.gguf", "Starts a model and waits until it answers.", options, 1, 1, run,
};
