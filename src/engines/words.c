// SPDX-License-Identifier: Apache-2.0
/* Lists of owned strings. */
#include "engines/words.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { WORD_MAX = 128 * 1024 }; /* Linux' own limit for one argument */

static void take_word(struct words *w, char *word)
{
    w->list = xrealloc(w->list, (w->count + 2) * sizeof(*w->list));
    w->list[w->count++] = word;
    w->list[w->count] = NULL;
}

void words_add(struct words *w, const char *word)
{
    take_word(w, xstrdup(word));
}

void words_addf(struct words *w, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    take_word(w, xvasprintf(fmt, ap));
    va_end(ap);
}

char **words_take(struct words *w)
{
    char **list = w->list ? w->list : xcalloc(1, sizeof(*list));

    *w = (struct words){ 0 };
    return list;
}

void words_finish(struct words *w)
{
    w->list = str_list_free(w->list);
    w->count = 0;
}

/* ---- what a definition says */

static bool is_word(const json_t *value)
{
    return json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value);
}

static int split_text(struct words *w, const char *what, const char *text, struct error *reterr)
{
    _cleanup_(str_list_freep) char **list = NULL;
    int r = str_split_words(text, &list, reterr);

    if (r < 0) {
        return error_prefix(reterr, "%s: ", what);
    }
    for (char **word = list; *word; word++) {
        words_add(w, *word);
    }
    return 0;
}

int words_read(struct words *w, const char *what, const json_t *value, struct error *reterr)
{
    size_t i;
    json_t *word;

    if (is_word(value)) {
        return split_text(w, what, json_string_value(value), reterr);
    }
    if (value && !json_is_array(value)) {
        return error_set(reterr, -EINVAL, "%s must be a text or a list of texts", what);
    }
    json_array_foreach(UNCONST(json_t *, value), i, word)
    {
        if (!is_word(word)) {
            return error_set(reterr, -EINVAL, "%s: word %zu is not a text", what, i + 1);
        }
        words_add(w, json_string_value(word));
    }
    return 0;
}

/* ---- names in words */

static int refuse_name(struct span name, const struct word_value *values, size_t count,
                       struct error *reterr)
{
    struct buf known = BUF_INIT(256);

    for (size_t i = 0; i < count; i++) {
        buf_printf(&known, "%s${%s}", i == 0 ? "" : i + 1 < count ? ", " : " and ", values[i].name);
    }
    error_set(reterr, -EINVAL, "${%.*s} is not known; there are %s, and '$$' for a dollar",
              (int)MIN_OF(name.n, (size_t)64), name.p, buf_data(&known));
    buf_finish(&known);
    return -EINVAL;
}

/* At "${…}": appends its value, *p goes behind it. */
static int replace_name(const char **p, struct word_value *values, size_t count, struct buf *out,
                        struct error *reterr)
{
    struct span rest = span_of(*p + 2);
    struct span name = span_cut(&rest, '}');

    if (!rest.p) {
        return error_set(reterr, -EINVAL, "'${' without '}' (a dollar is written '$$')");
    }
    for (size_t i = 0; i < count; i++) {
        if (span_eq(name, values[i].name)) {
            values[i].used = true;
            *p = rest.p;
            return buf_puts(out, values[i].value);
        }
    }
    return refuse_name(name, values, count, reterr);
}

static int replace_word(char **word, struct word_value *values, size_t count, struct error *reterr)
{
    struct buf out = BUF_INIT(WORD_MAX);
    int r = 0;

    for (const char *p = *word; *p && r >= 0;) {
        if (p[0] == '$' && p[1] == '{') {
            r = replace_name(&p, values, count, &out, reterr);
            continue;
        }
        p += p[0] == '$' && p[1] == '$';
        r = buf_putc(&out, *p++);
    }
    if (r == -EFBIG) {
        r = error_set(reterr, -EINVAL, "a word is longer than 128 KiB");
    }
    if (r >= 0) {
        free(*word);
        *word = xstrdup(buf_data(&out));
    }
    buf_finish(&out);
    return r < 0 ? r : 0;
}

int words_replace(struct words *w, const char *what, struct word_value *values, size_t count,
                  struct error *reterr)
{
    for (size_t i = 0; i < w->count; i++) {
        int r = replace_word(&w->list[i], values, count, reterr);

        if (r < 0) {
            return error_prefix(reterr, "%s: ", what);
        }
    }
    return 0;
}
