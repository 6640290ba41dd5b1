// SPDX-License-Identifier: Apache-2.0
/* The rows: those that are built in, and the configuration's, which may replace them. Whatever is
 * wrong with one is told before any task is taken. */
#include "tasks/task_types.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tasks/task_types_int.h"
#include "tasks/tasks.h"

enum { TYPES_MAX = 1000, HELP_MAX = 1000 };

struct row {
    struct task_type type; /* its texts lie in `entry`, or are built in */
    json_t *entry;
};

struct task_types {
    struct row *rows;
    size_t count;
};

struct built_in {
    const char *name, *endpoint, *help, *template, *defaults;
};

// clang-format off
static const struct built_in built_in_rows[] = {
    { "text-generation", CHAT_PATH, "An answer to the input, as a chat's user message.",
      "{\"messages\": [{\"role\": \"user\", \"content\": \"{{input}}\"}]}", NULL },
    { "translation", CHAT_PATH, "The input in another language (options: language, source).",
      "{\"messages\": [{\"role\": \"system\", \"content\": \"Translate the user's text from {{source}} into {{language}}. Answer with the translation alone.\"},"
      " {\"role\": \"user\", \"content\": \"{{input}}\"}]}",
      "{\"language\": \"English\", \"source\": \"its own language\"}" },
    { "summarization", CHAT_PATH, "What the input says, in short (options: length).",
      "{\"messages\": [{\"role\": \"system\", \"content\": \"Summarize the user's text in {{length}}. Answer with the summary alone, in the language of the text.\"},"
      " {\"role\": \"user\", \"content\": \"{{input}}\"}]}",
      "{\"length\": \"a few sentences\"}" },
    { "embedding", "/v1/embeddings", "The input's embedding, a JSON array of numbers.",
      "{\"input\": \"{{input}}\"}", NULL },
    { "custom", CHAT_PATH, "The input is the request's body, a JSON object, for any path of the engine (options: path); the output is the whole answer.",
      NULL, NULL },
};
// clang-format on

const struct task_type task_type_batch = {
    .name = "batch",
    .endpoint = CHAT_PATH,
    .help = "A line of a batch.",
    .output = TASK_OUTPUT_BODY,
    .built_in = true,
};
const struct task_type task_type_instance = {
    .name = "instance",
    .endpoint = CHAT_PATH,
    .help = "A Task Instance's task that a model of the catalogue works on.",
    .output = TASK_OUTPUT_BODY,
    .built_in = true,
};

/* Rows */

enum task_output task_output_of(const char *path)
{
    size_t n = strcspn(path, "?");

    if ((n == strlen(CHAT_PATH) && strncmp(path, CHAT_PATH, n) == 0) ||
        (n == strlen("/v1/completions") && strncmp(path, "/v1/completions", n) == 0)) {
        return TASK_OUTPUT_TEXT;
    }
    return n == strlen("/v1/embeddings") && strncmp(path, "/v1/embeddings", n) == 0
               ? TASK_OUTPUT_EMBEDDING
               : TASK_OUTPUT_BODY;
}

int task_path_check(const char *path, struct error *reterr)
{
    if (path[0] != '/' || strlen(path) > TASK_PATH_MAX) {
        return error_set(reterr, -EINVAL, "a path must begin with '/' and have at most %d bytes",
                         TASK_PATH_MAX);
    }
    for (const char *p = path; *p; p++) {
        if ((unsigned char)*p <= ' ' || (unsigned char)*p >= 0x7f || *p == '#') {
            return error_set(reterr, -EINVAL,
                             "a path must be of visible ASCII characters, "
                             "without blanks and '#'");
        }
    }
    if (strstr(path, "/../") || str_ends(path, "/..")) {
        return error_set(reterr, -EINVAL, "a path must not lead upwards ('..')");
    }
    return 0;
}

static struct row *find_row(const struct task_types *t, struct span name)
{
    for (size_t i = 0; i < t->count; i++) {
        if (span_eq(name, t->rows[i].type.name)) {
            return &t->rows[i];
        }
    }
    return NULL;
}

static struct row *add_row(struct task_types *t)
{
    t->rows = xrealloc(t->rows, (t->count + 1) * sizeof(*t->rows));
    t->rows[t->count] = (struct row){ 0 };
    return &t->rows[t->count++];
}

static json_t *parse_constant(const char *text)
{
    json_t *j = text ? json_loads(text, 0, NULL) : json_null();

    assert(j);
    return j;
}

static void add_built_in(struct task_types *t, const struct built_in *b)
{
    struct row *row = add_row(t);

    row->entry = json_pack("{s:o, s:o}", "template", parse_constant(b->template), "defaults",
                           parse_constant(b->defaults));
    row->type = (struct task_type){
        .name = b->name,
        .endpoint = b->endpoint,
        .help = b->help,
        .output = b->template ? task_output_of(b->endpoint) : TASK_OUTPUT_BODY,
        .template = b->template ? json_object_get(row->entry, "template") : NULL,
        .defaults = b->defaults ? json_object_get(row->entry, "defaults") : NULL,
        .built_in = true,
    };
}

/* The configuration's */

static int check_name(const char *name, struct error *reterr)
{
    size_t n = name ? strlen(name) : 0;

    if (n == 0 || n > TASK_TYPE_MAX) {
        return error_set(reterr, -EINVAL, "'name' must be a text of 1 to %d bytes", TASK_TYPE_MAX);
    }
    for (const char *p = name; *p; p++) {
        if (!isalnum((unsigned char)*p) && !strchr("-_.", *p)) {
            return error_set(reterr, -EINVAL,
                             "'name' must be of letters, digits, '-', '_' and '.'");
        }
    }
    if (str_eq(name, task_type_batch.name) || str_eq(name, task_type_instance.name)) {
        return error_set(reterr, -EINVAL, "the name '%s' is berth's own", name);
    }
    return 0;
}

static int check_members(const json_t *entry, struct error *reterr)
{
    static const struct {
        const char *name;
        json_type type;
        const char *words;
    } known[] = {
        { "name", JSON_STRING, "a text" },        { "endpoint", JSON_STRING, "a path" },
        { "help", JSON_STRING, "a text" },        { "template", JSON_OBJECT, "an object" },
        { "defaults", JSON_OBJECT, "an object" },
    };
    const char *key;
    json_t *value;

    json_object_foreach(UNCONST(json_t *, entry), key, value)
    {
        size_t i = 0;

        while (i < ARRAY_SIZE(known) && !str_eq(key, known[i].name)) {
            i++;
        }
        if (i == ARRAY_SIZE(known)) {
            return error_set(reterr, -EINVAL,
                             "there is no member '%.100s'; it may have name, endpoint, help, "
                             "template, defaults",
                             key);
        }
        if (!json_is_null(value) && json_typeof(value) != known[i].type) {
            return error_set(reterr, -EINVAL, "'%s' must be %s", key, known[i].words);
        }
    }
    return 0;
}

/* The entry as a type whose texts it owns. */
static int read_entry(const json_t *entry, struct task_type *ret, struct error *reterr)
{
    const json_t *template = json_object_get(entry, "template"),
                 *defaults = json_object_get(entry, "defaults");
    const char *endpoint = json_string_value(json_object_get(entry, "endpoint")),
               *help = json_string_value(json_object_get(entry, "help"));
    int r;

    if (!json_is_object(entry)) {
        return error_set(reterr, -EINVAL, "it must be an object with a name");
    }
    r = check_members(entry, reterr);
    r = r < 0 ? r : check_name(json_string_value(json_object_get(entry, "name")), reterr);
    r = r < 0 || !endpoint ? r : task_path_check(endpoint, reterr);
    if (r < 0) {
        return r;
    }
    if (help && strlen(help) > HELP_MAX) {
        return error_set(reterr, -EINVAL, "'help' must have at most %d bytes", HELP_MAX);
    }
    ret->name = json_string_value(json_object_get(entry, "name"));
    ret->endpoint = endpoint ? endpoint : CHAT_PATH;
    ret->help = help ? help : "";
    ret->template = json_is_object(template) ? template : NULL;
    ret->defaults = json_is_object(defaults) ? defaults : NULL;
    ret->output = ret->template ? task_output_of(ret->endpoint) : TASK_OUTPUT_BODY;
    ret->built_in = false;
    return 0;
}

static int take_entry(struct task_types *t, json_t *entry, struct error *reterr)
{
    struct task_type type = { 0 };
    struct row *row;
    int r = read_entry(entry, &type, reterr);

    if (r < 0) {
        return r;
    }
    row = find_row(t, span_of(type.name));
    if (row && !row->type.built_in) {
        return error_set(reterr, -EINVAL, "there is a task type '%s' already", type.name);
    }
    if (!row && t->count >= TYPES_MAX) {
        return error_set(reterr, -EINVAL, "there are more than %d task types", TYPES_MAX);
    }
    row = row ? row : add_row(t);
    json_decref(row->entry);
    row->entry = json_incref(entry);
    row->type = type;
    return 0;
}

static int take_entries(struct task_types *t, const struct config *config, struct error *reterr)
{
    json_t *entries = config_task_types(config), *entry;
    size_t i;

    json_array_foreach(entries, i, entry)
    {
        const char *name = json_string_value(json_object_get(entry, "name"));

        if (take_entry(t, entry, reterr) < 0) {
            return error_prefix(reterr, "%s:%d: task_types[%zu]%s%.100s%s: ", config_path(config),
                                config_task_type_line(config, i), i, name ? " '" : "",
                                name ? name : "", name ? "'" : "");
        }
    }
    return 0;
}

/* The whole */

static void free_rows(struct task_types *t)
{
    for (size_t i = 0; i < t->count; i++) {
        json_decref(t->rows[i].entry);
    }
    free(t->rows);
}

int task_types_reload(struct task_types *t, const struct config *config, struct error *reterr)
{
    struct task_types fresh = { 0 };
    int r;

    for (size_t i = 0; i < ARRAY_SIZE(built_in_rows); i++) {
        add_built_in(&fresh, &built_in_rows[i]);
    }
    r = take_entries(&fresh, config, reterr);
    if (r < 0) {
        free_rows(&fresh);
        return r;
    }
    free_rows(t);
    *t = fresh;
    return 0;
}

int task_types_create(const struct config *config, struct task_types **ret, struct error *reterr)
{
    struct task_types *t = xcalloc(1, sizeof(*t));
    int r = task_types_reload(t, config, reterr);

    if (r < 0) {
        free(t);
        return r;
    }
    *ret = t;
    return 0;
}

struct task_types *task_types_destroy(struct task_types *t)
{
    if (t) {
        free_rows(t);
        free(t);
    }
    return NULL;
}

const struct task_type *task_types_find(const struct task_types *t, struct span name)
{
    const struct row *row = find_row(t, name);

    return row ? &row->type : NULL;
}

const struct task_type *task_types_of_task(const struct task_types *t, const char *type)
{
    if (str_eq(type, task_type_batch.name)) {
        return &task_type_batch;
    }
    return str_eq(type, task_type_instance.name) ? &task_type_instance
                                                 : task_types_find(t, span_of(type));
}

bool task_type_is_line(const struct task_type *type)
{
    return type == &task_type_batch;
}

const struct task_type *task_types_next(const struct task_types *t, size_t *cursor)
{
    return *cursor < t->count ? &t->rows[(*cursor)++].type : NULL;
}
