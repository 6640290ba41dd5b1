// SPDX-License-Identifier: Apache-2.0
/* Looks again and again, soon at first, then once a second; shows how it goes on a terminal only.
 */
#include "cli/follow.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

enum { FIRST_PAUSE_MS = 20, LAST_PAUSE_MS = 1000, PATIENCE_MS = 60000, LINE_MAX_BYTES = 4096 };

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int cli_duration(const struct cli *cli, const char *name, uint64_t *ret)
{
    const char *text = cli_value(cli, name);

    *ret = 0;
    if (text && str_to_duration_ms(text, ret) < 0) {
        complain("--%s: '%s' is no duration such as 90s or 5m", name, text);
        return -EINVAL;
    }
    return 0;
}

/* To what one line of the terminal holds, in code points: more could not be wiped. */
static void cut_to_width(char *s)
{
    struct winsize size = { 0 };
    size_t left = 79;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1) {
        left = size.ws_col - 1u;
    }
    for (; *s; s++) {
        if (((unsigned char)*s & 0xc0) != 0x80 && left-- == 0) {
            *s = '\0';
            return;
        }
    }
}

static void show(const struct followed *f, const json_t *answer)
{
    struct buf line = BUF_INIT(LINE_MAX_BYTES);
    char *text;

    buf_printf(&line, "%s: ", f->name);
    f->say(answer, &line);
    text = buf_take(&line, NULL);
    make_printable(text, "");
    cut_to_width(text);
    fprintf(stderr, "\r\033[K%s", text);
    free(text);
}

static void wipe(bool terminal)
{
    if (terminal) {
        fputs("\r\033[K", stderr);
    }
}

/* Nobody answers there, or not yet: a daemon that is being started anew. */
static bool is_away(int r, const struct reply *reply)
{
    return r == -ECONNREFUSED || r == -ECONNRESET || (r == 0 && reply->status == 503);
}

/* One look. 1: go on, 0: it has ended (*ret), negative: it is for the caller to ask once more and
 * let that speak. */
static int look(struct cli *cli, const struct followed *f, bool terminal, uint64_t *seen_ms,
                struct reply *ret)
{
    struct reply reply = { 0 };
    struct error e;
    const int r = cli_call(cli, "GET", f->path, NULL, &reply, &e);

    if (is_away(r, &reply)) {
        reply_finish(&reply);
        return now_ms() - *seen_ms < PATIENCE_MS ? 1 : -1;
    }
    if (r < 0 || reply.status >= 400) {
        reply_finish(&reply);
        return -1;
    }
    *seen_ms = now_ms();
    if (f->ended(reply.json)) {
        *ret = reply;
        return 0;
    }
    if (terminal) {
        show(f, reply.json);
    }
    reply_finish(&reply);
    return 1;
}

static void pause_ms(uint64_t ms)
{
    const struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000L };

    nanosleep(&t, NULL);
}

int follow_until_end(struct cli *cli, const struct followed *f, struct reply *ret)
{
    const bool terminal = isatty(STDERR_FILENO);
    const uint64_t began_ms = now_ms();
    uint64_t seen_ms = began_ms, pause = FIRST_PAUSE_MS;
    int r;

    while ((r = look(cli, f, terminal, &seen_ms, ret)) > 0) {
        const uint64_t past = now_ms() - began_ms;

        if (f->limit_ms > 0 && past >= f->limit_ms) {
            wipe(terminal);
            complain("%s has not ended yet; it goes on", f->name);
            return error_kind(-ETIMEDOUT)->exit_code;
        }
        pause_ms(f->limit_ms > 0 ? MIN_OF(pause, f->limit_ms - past) : pause);
        pause = MIN_OF(pause * 3 / 2, (uint64_t)LAST_PAUSE_MS);
    }
    wipe(terminal);
    return r < 0 ? cli_ask(cli, "GET", f->path, NULL, ret) : 0;
}
