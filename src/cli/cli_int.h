// SPDX-License-Identifier: Apache-2.0
/*
 * Inside the cli room: what a command is (one file each, opening with its row), how it reads its
 * options, talks to the daemon and prints.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

/* An option of a command. Rows end with a NULL name. */
struct cli_option {
    const char *name; /* "lines": given as --lines N, --lines=N */
    char letter;      /* also -n N; 0: none */
    const char *arg;  /* what it takes, for the help: "N"; NULL: nothing */
    const char *help;
};

enum { CLI_ARGS_MAX = 256, CLI_GIVEN_MAX = 128 };

struct cli;

struct command {
    const char *name;
    const char *args;                 /* as the usage line shows them: "MODEL" */
    const char *help;                 /* one sentence */
    const struct cli_option *options; /* NULL: none of its own */
    int min_args, max_args;
    int (*run)(struct cli *cli); /* returns the exit code */
    /* For completion, what may stand as the first argument, separated by blanks: MODEL, TASK,
     * BATCH, TASK_INSTANCE, COMMAND, CHIP, PRESET (a model of the planner's), STRATEGY and FILE
     * stand for what there is of it, all else for itself. NULL: nothing. An option's `arg` is read
     * the same way, with "|" for the blanks. */
    const char *words;
    /* The same for every later argument. */
    const char *more_words;
};

/* An option as it was given. */
struct cli_given {
    const struct cli_option *option;
    const char *value; /* "" for one that takes none */
};

struct cli {
    const struct command *command;
    /* Of all commands. */
    const char *data_dir; /* absolute: --data-dir, else BERTH_DATA_DIR, else ./berth-data */
    const char *url;      /* --url, or NULL: the daemon of data_dir */
    const char *key;      /* --key, else BERTH_KEY, or NULL */
    bool json, help;
    /* Of this one. */
    const char *args[CLI_ARGS_MAX];
    int arg_count;
    struct cli_given given[CLI_GIVEN_MAX];
    int given_count;
    bool color;
    struct client *client; /* NULL until the first call */
};

extern const struct command *const cli_commands[]; /* ends with NULL */
extern const struct cli_option cli_common_options[];

/* Fills cli from what follows the program's name. -EINVAL with a sentence. */
int cli_parse(struct cli *cli, int argc, char **argv, struct error *reterr) _must_check_;
/* The value of an option ("" for one that takes none), the last one when it is given several times,
 * NULL when it is not. Asking for an unknown one is a bug. */
const char *cli_value(const struct cli *cli, const char *name);
/* All of them in their order; *cursor starts at 0, NULL at the end. */
const char *cli_next_value(const struct cli *cli, const char *name, int *cursor);
/* The same as a number. Says on stderr what is wrong and returns -EINVAL. */
int cli_number(const struct cli *cli, const char *name, uint64_t fallback,
               uint64_t *ret) _must_check_;
/* The option of these rows (NULL: none) with this name (absent: not asked for by name) or letter;
 * NULL when there is none. */
const struct cli_option *cli_find_option(const struct cli_option *rows, struct span name,
                                         char letter);
const struct command *cli_find_command(const char *name);
void cli_print_help(FILE *out);
void cli_print_command_help(FILE *out, const struct command *command);
/* The command with the nearest name, or NULL when none is near. */
const struct command *cli_nearest(const char *name);

/* Exit codes that commands give by themselves, of error_kind's. */
enum { EXIT_WRONG = 2, EXIT_ABSENT = 4 };

/* ---- talking to the daemon (client.c) ---- */

struct reply {
    int status;
    char *body;   /* terminated */
    json_t *json; /* NULL when the body is none */
};
void reply_finish(struct reply *r);

/* One request; blocks until the answer is whole. Any HTTP status is a success here. Errors:
 * -ECONNREFUSED: no daemon there. */
int cli_call(struct cli *cli, const char *method, const char *path,
             json_t *body /* borrowed, may be NULL */, struct reply *ret,
             struct error *reterr) _must_check_;
/* The same, and says on stderr what went wrong, be it the way there or the answer (status 400 and
 * up). Returns 0, or the exit code; *ret is to be finished only after 0. */
int cli_ask(struct cli *cli, const char *method, const char *path, json_t *body,
            struct reply *ret) _must_check_;
/* The same with a body of any kind, sent in pieces, and more headers. */
struct cli_request {
    const char *method, *path;
    const char *headers; /* "Name: value\r\n…", NULL: none */
    const struct span *body;
    size_t body_parts; /* 0: no body */
};
#define CLI_JSON_HEADERS "Accept: application/json\r\nContent-Type: application/json\r\n"
int cli_send(struct cli *cli, const struct cli_request *request, struct reply *ret) _must_check_;
/* GET; gives the body's pieces to on_data as they come, until the answer ends. Returns 0 or the
 * exit code, having spoken. */
int cli_stream(struct cli *cli, const char *path, const char *headers,
               void (*on_data)(void *arg, const char *p, size_t n), void *arg) _must_check_;
/* The same, as long as on_tick says so, which is asked some times a second. */
struct cli_stream {
    const char *path, *headers;
    void (*on_data)(void *arg, const char *p, size_t n);
    bool (*on_tick)(void *arg); /* NULL: until the answer ends */
    void *arg;
};
int cli_stream_with(struct cli *cli, const struct cli_stream *what) _must_check_;
/* The same for a stream of events (/api/events): each one's data. */
int cli_follow_events(struct cli *cli, const char *path,
                      void (*on_event)(void *arg, const json_t *data), void *arg) _must_check_;
int cli_watch_events(struct cli *cli, const char *path,
                     void (*on_event)(void *arg, const json_t *data), bool (*on_tick)(void *arg),
                     void *arg) _must_check_;
void client_destroy(struct client *client);
/* before + value percent-encoded + after, so that a path segment or a query value may hold
 * anything. The caller owns the result. */
char *cli_path(const char *before, const char *value, const char *after);
/* The exit code of an HTTP status, by error_kind. */
int exit_code_of_status(int status);
/* "http://HOST[:PORT]", "https://…", "HOST:PORT" */
struct address;
int client_parse_url(const char *url, struct address *ret, struct error *reterr) _must_check_;

/* ---- completion (cmd_completion.c) ---- */

/* What the scripts of `berth completion` call: prints what the last of these words could become, a
 * line each, "word<TAB>what it is". Says nothing else, whatever is wrong. */
int complete_main(struct cli *cli, int count, char **words);

/* ---- the sample configuration (sample.c) ---- */

/* Every option with its default, range and help, all commented out; with --json the rows
 * themselves. Returns the exit code. */
int print_sample(const struct cli *cli);

/* ---- printing (print.c) ---- */

/* What would move the cursor becomes a blank; kept: what is left as it is. Colours stay. */
void make_printable(char *s, const char *kept);
/* "berth: …" on stderr. */
void complain(const char *fmt, ...) _printf_(1, 2);
/* The body of an answer to stdout, as one line of JSON. */
void print_json(const json_t *json);
/* How a state word looks on a terminal (plain elsewhere); the result is good until the next call.
 */
const char *paint_state(const struct cli *cli, const char *state);
/* "3d4h", "5h12m", "42s" */
enum { AGE_SIZE = 32 };
void format_age(double seconds, char out[AGE_SIZE]);
/* Seconds since 1970 of an RFC 3339 time; false when it is none (absent, null). */
bool time_from_iso(const char *iso, double *ret);
/* Until then; false when it is no time. */
bool format_until(const char *iso, char out[AGE_SIZE]);
/* The time from now to then or from then to now, seconds since 1970. */
void format_age_at(double when, char out[AGE_SIZE]);
/* Since then, "-" when it is no time. */
void format_since(const char *iso, char out[AGE_SIZE]);
/* From the one to the other, "0.4s" when it is short, "-" when one is no time. */
void format_between(const char *from, const char *to, char out[AGE_SIZE]);
/* "512K", "820M", "12.4G": in KiB, MiB and GiB, as the doors count. */
enum { SIZE_SIZE = 32 };
void format_size(double mib, char out[SIZE_SIZE]);
/* The array of texts or numbers as "a, b", or fallback when there is nothing in it. Owned by the
 * caller. */
char *join_members(const json_t *array, const char *fallback);

/* Text in aligned columns. Cells are copied. */
struct table;
struct table *table_create(const char *const *headings, size_t columns);
void table_cell(struct table *t, const char *fmt, ...)
    _printf_(2, 3); /* the next cell of the row */
void table_print(const struct table *t, FILE *out, bool color);
struct table *table_free(struct table *t);

/* The whole of a command that shows a list: GETs path, prints the answer as it is (--json), or a
 * row for each element of the answer, or of its member. The exit code. */
int cli_list(struct cli *cli, const char *path, const char *member, const char *const *headings,
             size_t columns,
             void (*add_row)(const struct cli *cli, struct table *t, const json_t *element));

/* The options of a text "KEY=VALUE": a JSON value where VALUE is one, else a text. NULL, having
 * spoken, when it is none; what: the command or option, for that. */
json_t *read_pair(const char *what, const char *word, char **ret_key);

/* Brings what was printed to its reader now; ends the program when there is none any more (a closed
 * pipe). */
void flush_or_end(void);

/* The string member, or fallback when it is absent or null. */
const char *member_str(const json_t *object, const char *name, const char *fallback);
int64_t member_int(const json_t *object, const char *name);
/* "label     text" */
void print_line(const char *label, const char *fmt, ...) _printf_(2, 3);
