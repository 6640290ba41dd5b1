// SPDX-License-Identifier: Apache-2.0
/* Events as lines: when, what, about whom, and the members of its data. */
#include "cli/event_view.h"

#include <stdlib.h>

#include "base/mem.h"

enum { EVENT_LINE_MAX = 256 * 1024 };

/* "from=starting to=ready" of an event's data. */
static void add_data(struct buf *b, const json_t *data)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)data, key, value)
    {
        _cleanup_(freep) char *text = json_is_string(value)
                                          ? xstrdup(json_string_value(value))
                                          : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

        buf_printf(b, " %s=%s", key, text ? text : "?");
    }
}

void event_print(FILE *out, const char *at, const json_t *event)
{
    struct buf b = BUF_INIT(EVENT_LINE_MAX);
    _cleanup_(freep) char *line = NULL;

    buf_printf(&b, "%s %-16s %s", at, member_str(event, "kind", "?"),
               member_str(event, "subject", ""));
    add_data(&b, json_object_get(event, "data"));
    line = buf_take(&b, NULL);
    make_printable(line, "");
    fprintf(out, "%s\n", line);
}
