// SPDX-License-Identifier: Apache-2.0
/* Lists of owned strings. */
#include "engines/words.h"

#include <stdarg.h>

#include "base/mem.h"
#include "base/str.h"

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
