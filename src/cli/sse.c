// SPDX-License-Identifier: Apache-2.0
/* The daemon's live streams as commands read them: each event's data, one JSON after the other. */
#include <string.h>

#include "cli/cli_int.h"

enum { LINE_MAX_BYTES = 2 * 1024 * 1024 };

struct sse_reader {
    struct buf line; /* not yet whole */
    void (*on_event)(void *arg, const json_t *data);
    bool (*on_tick)(void *arg);
    void *arg;
};

static void on_line(struct sse_reader *r, const char *line)
{
    json_t *json = str_starts(line, "data: ") ? json_loads(line + strlen("data: "), 0, NULL) : NULL;

    if (json) {
        r->on_event(r->arg, json);
        json_decref(json);
        flush_or_end();
    }
}

static void on_data(void *arg, const char *data, size_t n)
{
    struct sse_reader *r = arg;
    const char *end = data + n;

    while (data < end) {
        const char *stop = memchr(data, '\n', (size_t)(end - data));

        buf_append(&r->line, data, (size_t)((stop ? stop : end) - data));
        if (!stop) {
            return;
        }
        on_line(r, buf_data(&r->line));
        buf_clear(&r->line);
        data = stop + 1;
    }
}

static bool on_reader_tick(void *arg)
{
    const struct sse_reader *r = arg;

    return r->on_tick(r->arg);
}

int cli_watch_events(struct cli *cli, const char *path,
                     void (*on_event)(void *arg, const json_t *data), bool (*on_tick)(void *arg),
                     void *arg)
{
    struct sse_reader r = {
        .line = BUF_INIT(LINE_MAX_BYTES), .on_event = on_event, .on_tick = on_tick, .arg = arg
    };
    const int code = cli_stream_with(cli, &(struct cli_stream){
                                              .path = path,
                                              .headers = "Accept: text/event-stream\r\n",
                                              .on_data = on_data,
                                              .on_tick = on_tick ? on_reader_tick : NULL,
                                              .arg = &r,
                                          });

    buf_finish(&r.line);
    return code;
}

int cli_follow_events(struct cli *cli, const char *path,
                      void (*on_event)(void *arg, const json_t *data), void *arg)
{
    return cli_watch_events(cli, path, on_event, NULL, arg);
}
