// SPDX-License-Identifier: Apache-2.0
/*
 * Opens many streamed chats at once and checks every event of each: order, content, the end of the
 * stream, the chunked framing. The upstream is the scripted engine, whose tokens carry their
 * sequence numbers. Prints one JSON object; exits 1 when anything was wrong.
 *
 * usage: sse-load HOST PORT MODEL STREAMS EVENTS EVENT_MS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

enum phase { PHASE_HEAD, PHASE_SIZE, PHASE_DATA, PHASE_DATA_END, PHASE_TRAILER, PHASE_DONE };

struct stream {
    int fd;
    enum phase phase;
    bool finished; /* the event with finish_reason was seen */
    bool done;     /* data: [DONE] was seen */
    bool counted;  /* as ended, well or badly */
    long next_seq;
    size_t chunk_left;
    size_t line_len;
    char line[LINE_MAX_BYTES]; /* of the head, of a chunk's size, or of the event stream */
    size_t size_len;
    char size[32];
};

static struct {
    struct sockaddr_in address;
    char request[4096];
    size_t request_len;
    long n_streams;
    long n_events;
    long event_ms;
    long opened;
    long ended;
    long errors;
    unsigned long long events;
    int epoll;
    struct stream *streams;
} load;

static int64_t now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void end(struct stream *stream, const char *error)
{
    if (stream->counted) {
        return;
    }
    stream->counted = true;
    load.ended++;
    if (error != NULL) {
        load.errors++;
        if (load.errors <= 5) {
            fprintf(stderr, "stream %ld, event %ld: %s: %.200s\n", (long)(stream - load.streams),
                    stream->next_seq, error, stream->line);
        }
    }
    close(stream->fd);
    stream->fd = -1;
}

/* One line of the event stream, without its end. Returns what is wrong with it, or NULL. */
static const char *check_line(struct stream *stream, const char *line)
{
    static const char role[] = "\"delta\":{\"role\":\"assistant\"";
    static const char content[] = "\"delta\":{\"content\":\" ";
    const char *at;

    if (line[0] == '\0' || line[0] == ':') {
        return NULL;
    }
    if (strcmp(line, "data: [DONE]") == 0) {
        stream->done = true;
        return stream->finished ? NULL : "[DONE] before the last event";
    }
    if (strncmp(line, "data: {", 7) != 0) {
        return "not an event";
    }
    at = strstr(line, content);
    if (at != NULL) {
        if (strtol(at + sizeof(content) - 1, NULL, 10) != stream->next_seq) {
            return "out of order";
        }
        stream->next_seq++;
        load.events++;
        return NULL;
    }
    if (strstr(line, "\"finish_reason\":\"stop\"") != NULL) {
        stream->finished = true;
        return stream->next_seq == load.n_events ? NULL : "events missing at the end";
    }
    return strstr(line, role) != NULL ? NULL : "unknown event";
}

static const char *take_data(struct stream *stream, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        const char *wrong;

        if (data[i] != '\n') {
            if (stream->line_len + 1 >= sizeof(stream->line)) {
                return "line too long";
            }
            stream->line[stream->line_len++] = data[i];
            continue;
        }
        stream->line[stream->line_len] = '\0';
        wrong = check_line(stream, stream->line);
        if (wrong != NULL) {
            return wrong;
        }
        stream->line_len = 0;
    }
    return NULL;
}

static const char *check_head(struct stream *stream)
{
    stream->line[stream->line_len] = '\0';
    if (strncmp(stream->line, "HTTP/1.1 200", 12) != 0) {
        return "not a 200";
    }
    if (strcasestr(stream->line, "transfer-encoding: chunked") == NULL) {
        return "not chunked";
    }
    stream->line_len = 0;
    stream->phase = PHASE_SIZE;
    return NULL;
}

static const char *take_head(struct stream *stream, char c)
{
    if (stream->line_len + 1 >= sizeof(stream->line)) {
        return "head too long";
    }
    stream->line[stream->line_len++] = c;
    if (stream->line_len >= 4 && memcmp(stream->line + stream->line_len - 4, "\r\n\r\n", 4) == 0) {
        return check_head(stream);
    }
    return NULL;
}

static const char *take_size(struct stream *stream, char c)
{
    char *rest;

    if (c != '\n') {
        if (stream->size_len + 1 >= sizeof(stream->size)) {
            return "chunk size too long";
        }
        stream->size[stream->size_len++] = c;
        return NULL;
    }
    stream->size[stream->size_len] = '\0';
    stream->chunk_left = strtoul(stream->size, &rest, 16);
    if (rest == stream->size || strcmp(rest, "\r") != 0) {
        return "bad chunk size";
    }
    stream->size_len = 0;
    stream->phase = stream->chunk_left > 0 ? PHASE_DATA : PHASE_TRAILER;
    return NULL;
}

static const char *take_crlf(struct stream *stream, char c, enum phase next)
{
    stream->size[stream->size_len++] = c;
    if (stream->size_len < 2) {
        return NULL;
    }
    stream->size_len = 0;
    stream->phase = next;
    return memcmp(stream->size, "\r\n", 2) == 0 ? NULL : "bad end of chunk";
}

static const char *take(struct stream *stream, const char *data, size_t len)
{
    const char *wrong = NULL;
    size_t n;

    for (size_t i = 0; i < len && wrong == NULL; i += n) {
        n = 1;
        switch (stream->phase) {
        case PHASE_HEAD:
            wrong = take_head(stream, data[i]);
            break;
        case PHASE_SIZE:
            wrong = take_size(stream, data[i]);
            break;
        case PHASE_DATA:
            n = len - i < stream->chunk_left ? len - i : stream->chunk_left;
            wrong = take_data(stream, data + i, n);
            stream->chunk_left -= n;
            if (stream->chunk_left == 0) {
                stream->phase = PHASE_DATA_END;
            }
            break;
        case PHASE_DATA_END:
            wrong = take_crlf(stream, data[i], PHASE_SIZE);
            break;
        case PHASE_TRAILER:
            wrong = take_crlf(stream, data[i], PHASE_DONE);
            break;
        case PHASE_DONE:
            return "bytes after the end";
        }
    }
    return wrong;
}

static void on_readable(struct stream *stream)
{
    static char data[64 << 10];
    ssize_t n = recv(stream->fd, data, sizeof(data), 0);
    const char *wrong;

    if (n < 0 && errno == EAGAIN) {
        return;
    }
    if (n <= 0) {
        end(stream, n == 0 ? "closed early" : strerror(errno));
        return;
    }
    wrong = take(stream, data, (size_t)n);
    if (wrong != NULL) {
        end(stream, wrong);
    } else if (stream->phase == PHASE_DONE) {
        end(stream, stream->done ? NULL : "no [DONE]");
    }
}

static void open_stream(struct stream *stream)
{
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = stream };
    int one = 1;

    load.opened++;
    stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (stream->fd < 0 ||
        connect(stream->fd, (struct sockaddr *)&load.address, sizeof(load.address)) < 0) {
        end(stream, strerror(errno));
        return;
    }
    setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (send(stream->fd, load.request, load.request_len, MSG_NOSIGNAL) !=
        (ssize_t)load.request_len) {
        end(stream, "could not send");
        return;
    }
    event.data.ptr = stream;
    epoll_ctl(load.epoll, EPOLL_CTL_ADD, stream->fd, &event);
}

/* Streams open evenly over one event's time (at least 200 ms), so that their events spread as real
 * ones do. */
static int open_due(int64_t start_us)
{
    long ramp_ms = load.event_ms > 200 ? load.event_ms : 200;
    int64_t elapsed = now_us() - start_us;
    long due = elapsed >= ramp_ms * 1000 ? load.n_streams
                                         : (long)(elapsed * load.n_streams / (ramp_ms * 1000)) + 1;

    while (load.opened < due && load.opened < load.n_streams) {
        open_stream(&load.streams[load.opened]);
    }
    return load.opened < load.n_streams ? 1 : 1000;
}

static bool timed_out(int64_t start_us)
{
    return now_us() - start_us > (load.n_events * load.event_ms * 3 + 30000) * 1000;
}

static void run(void)
{
    struct epoll_event events[256];
    int64_t start_us = now_us();

    while (load.ended < load.n_streams && !timed_out(start_us)) {
        int wait_ms = open_due(start_us);
        int n = epoll_wait(load.epoll, events, 256, wait_ms);

        for (int i = 0; i < n; i++) {
            struct stream *stream = events[i].data.ptr;

            if (!stream->counted) {
                on_readable(stream);
            }
        }
    }
    for (long i = 0; i < load.opened; i++) {
        end(&load.streams[i], "not ended in time");
    }
    printf("{\"streams\":%ld,\"events\":%llu,\"expected\":%llu,\"errors\":%ld,\"seconds\":%.3f}\n",
           load.n_streams, load.events,
           (unsigned long long)load.n_streams * (unsigned long long)load.n_events, load.errors,
           (double)(now_us() - start_us) / 1e6);
}

static void make_request(const char *host, const char *port, const char *model)
{
    char body[2048];
    int n = snprintf(
        body, sizeof(body),
        "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"Count for me.\"}],"
        "\"stream\":true,\"scripted\":{\"events\":%ld,\"event_ms\":%ld}}",
        model, load.n_events, load.event_ms);

    load.request_len = (size_t)snprintf(load.request, sizeof(load.request),
                                        "POST /v1/chat/completions HTTP/1.1\r\nHost: %s:%s\r\n"
                                        "Content-Type: application/json\r\n"
                                        "Content-Length: %d\r\n\r\n%s",
                                        host, port, n, body);
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc != 7) {
        fprintf(stderr, "usage: sse-load HOST PORT MODEL STREAMS EVENTS EVENT_MS\n");
        return 2;
    }
    load.address.sin_family = AF_INET;
    load.address.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, argv[1], &load.address.sin_addr) != 1) {
        fprintf(stderr, "not an address: %s\n", argv[1]);
        return 2;
    }
    load.n_streams = atol(argv[4]);
    load.n_events = atol(argv[5]);
    load.event_ms = atol(argv[6]);
    make_request(argv[1], argv[2], argv[3]);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    load.streams = calloc((size_t)load.n_streams, sizeof(*load.streams));
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (load.streams == NULL || load.epoll < 0) {
        perror("sse-load");
        return 2;
    }
    run();
    free(load.streams);
    return load.errors > 0 ? 1 : 0;
}
