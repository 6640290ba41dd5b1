// SPDX-License-Identifier: Apache-2.0
/* Taking a container's log apart. Nothing is kept but a frame's head and time stamp. */
#include "engines/container_log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"

enum { NS_PER_S = 1000000000 };

void container_log_open(struct container_log *log, const char *path, int64_t since_ns)
{
    *log = (struct container_log){ .last_ns = since_ns, .at_last = ~0u };
    log->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    container_log_cut(log);
}

void container_log_close(struct container_log *log)
{
    if (log->fd >= 0) {
        close(log->fd);
    }
    log->fd = -1;
}

void container_log_cut(struct container_log *log)
{
    log->head_len = 0;
    log->left = 0;
    log->cut_ns = log->last_ns;
    log->cut_count = log->at_last;
    log->seen_at_last = 0;
}

/* A log that cannot be written (disk full) costs its lines, nothing else. */
static void write_all(const struct container_log *log, const char *p, size_t n)
{
    while (n > 0 && log->fd >= 0) {
        ssize_t written = write(log->fd, p, n);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return;
        }
        p += written;
        n -= (size_t)written;
    }
}

void container_log_say(struct container_log *log, const char *line)
{
    write_all(log, line, strlen(line));
    write_all(log, "\n", 1);
}

static int64_t read_fraction(const char *p)
{
    int64_t ns = 0, unit = NS_PER_S / 10;

    for (; *p >= '0' && *p <= '9' && unit > 0; p++, unit /= 10) {
        ns += (*p - '0') * unit;
    }
    return ns;
}

/* "Z", "+02:00" */
static int64_t read_zone_s(const char *p)
{
    p += strspn(p, ".0123456789");
    if ((*p != '+' && *p != '-') || strlen(p) < 6) {
        return 0;
    }
    return (*p == '-' ? -1 : 1) *
           (((p[1] - '0') * 10 + p[2] - '0') * 3600 + ((p[4] - '0') * 10 + p[5] - '0') * 60);
}

int64_t container_stamp_ns(const char *text)
{
    struct tm tm = { 0 };
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

    if (!rest) {
        return -1;
    }
    return (int64_t)(timegm(&tm) - read_zone_s(rest)) * NS_PER_S +
           (*rest == '.' ? read_fraction(rest + 1) : 0);
}

static bool is_written(struct container_log *log, int64_t ns)
{
    if (ns < log->cut_ns) {
        return true;
    }
    return ns == log->cut_ns && log->cut_count && log->seen_at_last++ < log->cut_count;
}

static void note_time(struct container_log *log, int64_t ns)
{
    if (log->skipped) {
        return;
    }
    log->at_last = ns == log->last_ns && log->at_last != ~0u ? log->at_last + 1 : 1;
    log->last_ns = ns;
}

/* The stamp stands whole; without one (an engine that does not know timestamps) all is text. */
static void end_stamp(struct container_log *log)
{
    int64_t ns;

    log->stamp[log->stamp_len] = '\0';
    ns = container_stamp_ns(log->stamp);
    log->in_text = true;
    if (ns < 0) {
        write_all(log, log->stamp, log->stamp_len);
        return;
    }
    log->skipped = is_written(log, ns);
    note_time(log, ns);
}

static size_t feed_stamp(struct container_log *log, const char *p, size_t n)
{
    size_t used = 0;

    while (used < n && !log->in_text) {
        char c = p[used++];

        log->stamp[log->stamp_len++] = c;
        if (c == ' ' || c == '\n' || log->stamp_len == sizeof(log->stamp) - 1 ||
            used == log->left) {
            end_stamp(log);
        }
    }
    return used;
}

static size_t feed_payload(struct container_log *log, const char *p, size_t n)
{
    size_t used;

    n = MIN_OF(n, log->left);
    used = log->in_text ? 0 : feed_stamp(log, p, n);
    if (log->in_text && !log->skipped) {
        write_all(log, p + used, n - used);
    }
    log->left -= n;
    return n;
}

static size_t feed_head(struct container_log *log, const char *p, size_t n)
{
    size_t used = MIN_OF(n, sizeof(log->head) - log->head_len);

    memcpy(log->head + log->head_len, p, used);
    log->head_len += used;
    if (log->head_len == sizeof(log->head)) {
        const unsigned char *h = log->head + 4;

        log->left =
            (uint64_t)h[0] << 24 | (uint64_t)h[1] << 16 | (uint64_t)h[2] << 8 | (uint64_t)h[3];
        log->head_len = 0;
        log->stamp_len = 0;
        log->in_text = log->skipped = false;
    }
    return used;
}

void container_log_feed(struct container_log *log, const char *p, size_t n)
{
    while (n > 0) {
        size_t used = log->left ? feed_payload(log, p, n) : feed_head(log, p, n);

        p += used;
        n -= used;
    }
}
