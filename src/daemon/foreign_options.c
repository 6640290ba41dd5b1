// SPDX-License-Identifier: Apache-2.0
/*
 * Names of other programs' configuration files. The rule: what has an equivalent takes effect, what
 * has none is accepted, and nobody is left to believe that it does something: `berth config check`
 * says so.
 */
#include "daemon/foreign_options.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/buf.h"
#include "base/mem.h"

// clang-format off
#define NOTHING "Known from other programs' files; has no effect here."
#define PLAIN(name) { name, OPTION_STRING, "", 0, 0, NULL, false, false, NOTHING }
#define LIST(name) { name, OPTION_LIST, "", 0, 0, NULL, false, false, NOTHING }
static const struct option_row rows[] = {
    PLAIN("app.name"), PLAIN("app.version"), PLAIN("app.env"),
    { "server.host", OPTION_STRING, "", 0, 0, NULL, false, false,
      "Known from other programs' files: with server.port it is server.listen, when that is not set." },
    { "server.port", OPTION_STRING, "", 0, 0, NULL, false, false,
      "Known from other programs' files: with server.host it is server.listen, when that is not set." },
    { "server.read_timeout", OPTION_STRING, "", 0, 0, NULL, false, false,
      "Known from other programs' files: server.body_timeout, when that is not set." },
    PLAIN("server.mode"),
    PLAIN("queue.high_priority_queue"), PLAIN("queue.medium_priority_queue"), PLAIN("queue.low_priority_queue"),
    PLAIN("queue.delayed_queue"), PLAIN("queue.processing_queue"),
    PLAIN("worker.worker_timeout"), PLAIN("worker.heartbeat_interval"),
    { "logging.level", OPTION_STRING, "", 0, 0, NULL, false, false,
      "Known from other programs' files: log.level, when that is not set." },
    { "logging.format", OPTION_STRING, "", 0, 0, NULL, false, false,
      "Known from other programs' files: log.format, when that is not set." },
    PLAIN("logging.output"), PLAIN("logging.file_path"), PLAIN("logging.max_size"), PLAIN("logging.max_age"),
    PLAIN("logging.max_backups"), PLAIN("logging.compress"),
    { "cors.allowed_origins", OPTION_LIST, "", 0, 0, NULL, false, false,
      "Known from other programs' files: cors.origins, when that is not set." },
    { "cors.allow_origins", OPTION_LIST, "", 0, 0, NULL, false, false,
      "Known from other programs' files: cors.origins, when that is not set." },
    PLAIN("cors.enabled"), LIST("cors.allowed_methods"), LIST("cors.allow_methods"), LIST("cors.allowed_headers"),
    LIST("cors.allow_headers"), LIST("cors.exposed_headers"), LIST("cors.expose_headers"),
    PLAIN("cors.allow_credentials"), PLAIN("cors.max_age"),
    { "models.openai.base_url", OPTION_STRING, "", 0, 0, NULL, false, false,
      "Known from other programs' files: task_models.openai_url, when that is not set." },
    PLAIN("models.openai.timeout"), PLAIN("models.openai.max_retries"),
    PLAIN("models.local.base_url"), PLAIN("models.local.timeout"), PLAIN("models.local.max_retries"),
};
// clang-format on
const struct option_table foreign_options = { rows, ARRAY_SIZE(rows) };

static bool is_set(const struct config *c, const char *name)
{
    return !str_eq(config_source(c, name), "default");
}

/* ---- what stands for one of ours ---- */

static const struct stand_in {
    const char *name, *ours;
} stand_ins[] = {
    { "server.host", "server.listen" },
    { "server.port", "server.listen" },
    { "server.read_timeout", "server.body_timeout" },
    { "logging.level", "log.level" },
    { "logging.format", "log.format" },
    { "cors.allowed_origins", "cors.origins" },
    { "cors.allow_origins", "cors.origins" },
    { "models.openai.base_url", "task_models.openai_url" },
};

/* Where it came from says both the place and the name that stood there. */
static int take(struct config *c, const char *name, const char *text, const char *ours,
                struct error *reterr)
{
    _cleanup_(freep) char *source = xasprintf("%s (%s)", config_source(c, name), name);

    return config_set_default(c, ours, text, source, reterr);
}

static int apply_listen(struct config *c, struct error *reterr)
{
    const char *host = config_string(c, "server.host"), *port = config_string(c, "server.port");
    const char *said = *port ? "server.port" : "server.host";
    _cleanup_(freep) char *text = NULL;

    if (!*host && !*port) {
        return 0;
    }
    text = xasprintf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", *host ? host : "127.0.0.1",
                     *port ? port : "8080");
    return take(c, said, text, "server.listen", reterr);
}

/* The word that we have for it; NULL: none. */
static const char *our_level(const char *level)
{
    static const struct {
        const char *theirs, *ours;
    } levels[] = {
        { "trace", "debug" }, { "debug", "debug" },  { "info", "info" },
        { "warn", "warn" },   { "warning", "warn" }, { "error", "error" },
        { "fatal", "error" }, { "dpanic", "error" }, { "panic", "error" },
    };

    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcasecmp(level, levels[i].theirs) == 0) {
            return levels[i].ours;
        }
    }
    return NULL;
}

static int apply_log(struct config *c, struct error *reterr)
{
    const char *level = config_string(c, "logging.level");
    const char *format = config_string(c, "logging.format");
    int r = 0;

    if (*level) {
        r = take(c, "logging.level", our_level(level) ? our_level(level) : level, "log.level",
                 reterr);
    }
    if (r == 0 && *format) {
        r = take(c, "logging.format", strcasecmp(format, "json") == 0 ? "json" : "text",
                 "log.format", reterr);
    }
    return r;
}

static int apply_origins(struct config *c, const char *name, struct error *reterr)
{
    const char *const *list = config_list(c, name);
    struct buf joined = BUF_INIT(1 << 20);
    int r;

    if (!*list) {
        return 0;
    }
    for (size_t i = 0; list[i]; i++) {
        buf_printf(&joined, "%s%s", i > 0 ? "," : "", list[i]);
    }
    r = take(c, name, buf_data(&joined), "cors.origins", reterr);
    buf_finish(&joined);
    return r;
}

/* A text that is the same under both names. */
static int apply_text(struct config *c, const char *name, const char *ours, struct error *reterr)
{
    const char *text = config_string(c, name);

    return *text ? take(c, name, text, ours, reterr) : 0;
}

int foreign_options_apply(struct config *c, struct error *reterr)
{
    int r = apply_listen(c, reterr);

    r = r < 0 ? r : apply_text(c, "server.read_timeout", "server.body_timeout", reterr);
    r = r < 0 ? r : apply_text(c, "models.openai.base_url", "task_models.openai_url", reterr);
    r = r < 0 ? r : apply_log(c, reterr);
    r = r < 0 ? r : apply_origins(c, "cors.allowed_origins", reterr);
    return r < 0 ? r : apply_origins(c, "cors.allow_origins", reterr);
}

/* ---- notes ---- */

static const char *stands_for(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(stand_ins); i++) {
        if (str_eq(stand_ins[i].name, name)) {
            return stand_ins[i].ours;
        }
    }
    return NULL;
}

/* server.host is taken along with server.port. */
static bool is_taken(const struct config *c, const char *name, const char *ours)
{
    const char *said =
        str_eq(name, "server.host") && is_set(c, "server.port") ? "server.port" : name;
    _cleanup_(freep) char *end = xasprintf(" (%s)", said);

    return str_ends(config_source(c, ours), end);
}

static json_t *note(const struct config *c, const char *name)
{
    const char *ours = stands_for(name), *where = config_source(c, name);

    if (!ours) {
        return json_sprintf("%s (%s) has no effect here", name, where);
    }
    if (!is_taken(c, name, ours)) {
        return json_sprintf("%s (%s) has no effect: %s (%s) is set", name, where, ours,
                            config_source(c, ours));
    }
    return json_sprintf("%s (%s) is taken as %s", name, where, ours);
}

json_t *foreign_options_notes(const struct config *c)
{
    json_t *notes = json_array();

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        if (is_set(c, rows[i].name)) {
            json_array_append_new(notes, note(c, rows[i].name));
        }
    }
    return notes;
}
