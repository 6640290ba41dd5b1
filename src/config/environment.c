// SPDX-License-Identifier: Apache-2.0
/* The environment: ${NAME} in the file, and variables that are laid over it. */
#include "config/config_int.h"

#include <ctype.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

static const char *env_get(const char *const *env, struct span name)
{
    for (; env && *env; env++) {
        if (strncmp(*env, name.p, name.n) == 0 && (*env)[name.n] == '=') {
            return *env + name.n + 1;
        }
    }
    return NULL;
}

static bool is_env_name(struct span name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];

        if (c != '_' && !isalpha((unsigned char)c) && (i == 0 || !isdigit((unsigned char)c))) {
            return false;
        }
    }
    return name.n > 0;
}

/* The value for the ${NAME} at s; *ret_end is its closing brace. NULL when there is none. */
static const char *expand_one(const char *s, const char *const *env, const char **ret_end,
                              struct error *reterr)
{
    const char *close = strchr(s, '}'), *value;
    struct span name = { s + 2, close ? (size_t)(close - s) - 2 : 0 };

    if (!close || !is_env_name(name)) {
        error_set(reterr, -EINVAL,
                  close ? "${%.*s} is not a name of the environment" : "${%.*s is not closed",
                  MIN_OF((int)(close ? name.n : strlen(s + 2)), 60), s + 2);
        return NULL;
    }
    value = env_get(env, name);
    if (!value) {
        error_set(reterr, -EINVAL, "the environment has no %.*s", SPAN_ARG(name));
    } else if (!is_valid_utf8(value, strlen(value))) {
        error_set(reterr, -EINVAL, "%.*s in the environment is not UTF-8", SPAN_ARG(name));
        value = NULL;
    }
    *ret_end = close;
    return value;
}

/* Does one of these ${NAME} begin at s? Returns its length, or 0. */
static size_t kept_length(const char *s, const char *const *keep)
{
    for (; keep && *keep; keep++) {
        const size_t n = strlen(*keep);

        if (strncmp(s + 2, *keep, n) == 0 && s[2 + n] == '}') {
            return n + 3;
        }
    }
    return 0;
}

/* Appends what the ${NAME} at s stands for; returns its last character, NULL on failure. */
static const char *expand_reference(const char *s, const char *const *env, const char *const *keep,
                                    struct buf *b, struct error *reterr)
{
    const size_t kept = kept_length(s, keep);
    const char *end = s, *value;

    if (kept > 0) {
        buf_append(b, s, kept);
        return s + kept - 1;
    }
    value = expand_one(s, env, &end, reterr);
    if (!value) {
        return NULL;
    }
    buf_puts(b, value);
    return end;
}

int environment_expand(const char *s, const char *const *env, const char *const *keep, char **ret,
                       struct error *reterr)
{
    struct buf b = BUF_INIT(EXPANDED_MAX);

    for (; *s && !b.overflow; s++) {
        if (s[0] == '$' && s[1] == '{') {
            s = expand_reference(s, env, keep, &b, reterr);
            if (!s) {
                buf_finish(&b);
                return -EINVAL;
            }
        } else if (s[0] == '$' && s[1] == '$') {
            buf_puts(&b, keep ? "$$" : "$");
            s++;
        } else {
            buf_putc(&b, *s);
        }
    }
    if (b.overflow) {
        buf_finish(&b);
        return error_set(reterr, -EINVAL, "a text is longer than %d bytes", EXPANDED_MAX);
    }
    *ret = buf_take(&b, NULL);
    return 0;
}

/* "server.listen" is BERTH_SERVER_LISTEN */
static bool is_env_of(struct span variable, const char *option)
{
    static const char prefix[] = "BERTH_";
    size_t n = sizeof(prefix) - 1;

    if (!span_starts(variable, prefix) || variable.n != n + strlen(option)) {
        return false;
    }
    for (size_t i = 0; option[i]; i++) {
        char c = option[i] == '.' ? '_' : (char)toupper((unsigned char)option[i]);

        if (variable.p[n + i] != c) {
            return false;
        }
    }
    return true;
}

static const struct option_row *find_row_of_env(const struct option_table *const *tables,
                                                struct span variable)
{
    for (; *tables; tables++) {
        for (size_t i = 0; i < (*tables)->count; i++) {
            if (is_env_of(variable, (*tables)->rows[i].name)) {
                return &(*tables)->rows[i];
            }
        }
    }
    return NULL;
}

/* Variables that begin with BERTH_ and are no options: an engine's mark, and what the command line
 * reads. */
static bool is_known_variable(const char *name)
{
    static const char *const known[] = { "BERTH_INSTANCE", "BERTH_DATA_DIR", "BERTH_CONFIG",
                                         "BERTH_KEY", "BERTH_URL" };

    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (str_eq(name, known[i])) {
            return true;
        }
    }
    return false;
}

int environment_apply(struct config *c, const char *const *env,
                      const struct option_table *const *tables, struct error *reterr)
{
    for (; env && *env; env++) {
        struct span value = span_of(*env), variable = span_cut(&value, '=');
        const struct option_row *row = find_row_of_env(tables, variable);
        _cleanup_(freep) char *name = NULL;

        if (!span_starts(variable, "BERTH_") || !value.p) {
            continue;
        }
        name = span_dup(variable);
        if (row && !is_valid_utf8(value.p, value.n)) {
            return error_set(reterr, -EINVAL, "%s: the value is not UTF-8", name);
        }
        if (row && value_set(c, row, value.p, name, reterr) < 0) {
            return error_prefix(reterr, "%s: ", name);
        }
        if (!row && !is_known_variable(name)) {
            log_warn("config", name, "no option has this name, ignoring");
        }
    }
    return 0;
}
