// SPDX-License-Identifier: Apache-2.0
/* berth events: what happened, and with -f what happens. */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"
#include "cli/event_view.h"

// clang-format off
static const struct cli_option options[] = {
    { "follow",  'f', NULL,   "stay and print what comes" },
    { "lines",   'n', "N",    "how many of the last ones first (default: 20)" },
    { "kind",    'k', "KIND", "only this kind, such as instance_state" },
    { "subject", 's', "MODEL", "only what is about this model" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

enum { LINES_MAX = 1000 }; /* of one answer */

struct printer {
    struct cli *cli;
    int64_t last_id;
};

static void print_event(struct printer *p, const json_t *event)
{
    p->last_id = member_int(event, "id");
    if (p->cli->json) {
        print_json(event);
        return;
    }
    event_print(stdout, member_str(event, "at", "?"), event);
}

static void on_event(void *arg, const json_t *json)
{
    struct printer *p = arg;

    if (json_object_get(json, "kind")) {
        print_event(p, json);
    } else if (json_is_integer(json_object_get(json, "from"))) {
        complain("events %lld to %lld were lost", (long long)member_int(json, "from"),
                 (long long)member_int(json, "to"));
    }
}

/* "?kind=…&subject=…&", owned by the caller. */
static char *filter_of(const struct cli *cli)
{
    const char *kind = cli_value(cli, "kind"), *subject = cli_value(cli, "subject");
    _cleanup_(freep) char *k = kind ? cli_path("kind=", kind, "&") : xstrdup("");
    _cleanup_(freep) char *s = subject ? cli_path("subject=", subject, "&") : xstrdup("");

    return xasprintf("?%s%s", k, s);
}

static int print_last(struct cli *cli, struct printer *p, const char *filter, uint64_t count)
{
    _cleanup_(freep) char *path =
        xasprintf("/api/events%snewest=1&limit=%llu", filter,
                  (unsigned long long)MIN_OF(MAX_OF(count, (uint64_t)1), (uint64_t)LINES_MAX));
    struct reply reply;
    json_t *events;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    events = json_object_get(reply.json, "events");
    for (size_t i = json_array_size(events); i-- > 0;) {
        if (count > 0) {
            print_event(p, json_array_get(events, i));
        } else {
            p->last_id = member_int(json_array_get(events, i), "id");
        }
    }
    flush_or_end();
    reply_finish(&reply);
    return 0;
}

static int run(struct cli *cli)
{
    _cleanup_(freep) char *filter = filter_of(cli), *path = NULL;
    struct printer p = { .cli = cli };
    uint64_t count;
    int code;

    if (cli_number(cli, "lines", 20, &count) < 0) {
        return 2;
    }
    code = print_last(cli, &p, filter, count);
    if (code == 0 && cli_value(cli, "follow")) {
        path = xasprintf("/api/events%safter=%lld", filter, (long long)p.last_id);
        code = cli_follow_events(cli, path, on_event, &p);
    }
    return code;
}

const struct command events_command = {
    "events", "", "Prints the last events, and with -f what comes.", options, 0, 0, run,
};
