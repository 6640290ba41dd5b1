// SPDX-License-Identifier: Apache-2.0
/* The daemon of canned answers: one thread that serves one connection after the other. */
#include "canned.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/str.h"
#include "cli/cli.h"

enum { ANSWERS_MAX = 32, ASKED_MAX = 256, REQUEST_MAX = 4096 };

/* ---- the daemon ---- */

struct canned {
    const char *asked; /* "GET /path", the beginning of it */
    int status;
    const char *body;
    int times; /* how often yet; negative: always */
};

static struct {
    int listener;
    unsigned short port;
    pthread_t thread;
    pthread_mutex_t lock;
    struct canned answers[ANSWERS_MAX];
    size_t answer_count;
    char asked[ASKED_MAX][REQUEST_MAX]; /* "PUT /path BODY" */
    char heads[ASKED_MAX][REQUEST_MAX];
    size_t asked_count;
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Later rows go before earlier ones. */
static struct canned find_answer(const char *line)
{
    for (size_t i = fake.answer_count; i-- > 0;) {
        struct canned *c = &fake.answers[i];

        if (str_starts(line, c->asked) && c->times != 0) {
            c->times -= c->times > 0;
            return *c;
        }
    }
    return (struct canned){ "", 404, "{\"detail\":\"not here\"}", -1 };
}

/* Reads one whole request; false at the end of the connection. */
static bool read_request(int fd, char text[TEXT_MAX], const char **ret_body)
{
    size_t n = 0, wanted = 0;
    const char *end = NULL;

    while (!end || n < wanted) {
        const ssize_t got = read(fd, text + n, TEXT_MAX - 1 - n);
        const char *length;

        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        text[n] = '\0';
        end = strstr(text, "\r\n\r\n");
        length = end ? strcasestr(text, "content-length:") : NULL;
        wanted = end ? (size_t)(end + 4 - text) + (length ? strtoul(length + 15, NULL, 10) : 0) : 0;
    }
    *ret_body = end + 4;
    return true;
}

/* What follows the request line that was cut off. */
static const char *head_of(const char *text)
{
    return text + strlen(text) + 1;
}

static void serve_connection(int fd)
{
    static char text[TEXT_MAX], head[256];
    const char *body;

    while (read_request(fd, text, &body)) {
        struct canned c;

        *strstr(text, " HTTP/1.1") = '\0';
        pthread_mutex_lock(&fake.lock);
        c = find_answer(text);
        if (fake.asked_count < ASKED_MAX) {
            snprintf(fake.heads[fake.asked_count], REQUEST_MAX, "%s", head_of(text));
            snprintf(fake.asked[fake.asked_count++], REQUEST_MAX, "%s %s", text, body);
        }
        pthread_mutex_unlock(&fake.lock);
        snprintf(head, sizeof(head),
                 "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 c.status, strlen(c.body));
        if (write(fd, head, strlen(head)) < 0 || write(fd, c.body, strlen(c.body)) < 0) {
            return;
        }
    }
}

static void *serve(void *arg)
{
    int fd;

    while ((fd = accept(fake.listener, NULL, NULL)) >= 0) {
        serve_connection(fd);
        close(fd);
    }
    return NULL;
}

void answer_times(const char *asked, int times, int status, const char *body)
{
    pthread_mutex_lock(&fake.lock);
    assert_true(fake.answer_count < ANSWERS_MAX);
    fake.answers[fake.answer_count++] = (struct canned){ asked, status, body, times };
    pthread_mutex_unlock(&fake.lock);
}

void answer(const char *asked, int status, const char *body)
{
    answer_times(asked, -1, status, body);
}

static size_t find_asked(const char *start)
{
    for (size_t i = fake.asked_count; i-- > 0;) {
        if (str_starts(fake.asked[i], start)) {
            return i;
        }
    }
    return SIZE_MAX;
}

const char *last_asked(const char *start)
{
    const size_t i = find_asked(start);

    return i == SIZE_MAX ? NULL : fake.asked[i] + strlen(start);
}

const char *last_head(const char *start)
{
    const size_t i = find_asked(start);

    return i == SIZE_MAX ? NULL : fake.heads[i];
}

/* ---- running a command ---- */

char out[TEXT_MAX], err[TEXT_MAX];
static char folder[64];

char *in_folder(const char *name)
{
    static char paths[8][128];
    static unsigned turn;
    char *path = paths[turn++ % ARRAY_SIZE(paths)];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void slurp(const char *path, char text[TEXT_MAX])
{
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, TEXT_MAX - 1, f);
    text[n] = '\0';
    fclose(f);
    unlink(path);
}

void put_file(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Points fd at a file; returns what it was. */
static int divert(int fd, const char *path)
{
    const int before = dup(fd), file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    assert_true(before >= 0 && file >= 0);
    assert_int_equal(dup2(file, fd), fd);
    close(file);
    return before;
}

static void restore(int fd, int before)
{
    dup2(before, fd);
    close(before);
}

int run_command(const char **words)
{
    char url[64], *argv[64] = { UNCONST(char *, "berth"), UNCONST(char *, *words) };
    int count = 2, code, stdout_before, stderr_before;

    snprintf(url, sizeof(url), "http://127.0.0.1:%u", fake.port);
    argv[count++] = UNCONST(char *, "--url");
    argv[count++] = url;
    words++;
    for (; *words; words++) {
        argv[count++] = UNCONST(char *, *words);
    }
    fflush(stdout);
    fflush(stderr);
    stdout_before = divert(STDOUT_FILENO, in_folder("out"));
    stderr_before = divert(STDERR_FILENO, in_folder("err"));
    code = cli_main(count, argv);
    fflush(stdout);
    fflush(stderr);
    restore(STDOUT_FILENO, stdout_before);
    restore(STDERR_FILENO, stderr_before);
    slurp(in_folder("out"), out);
    slurp(in_folder("err"), err);
    return code;
}

void assert_has(const char *text, const char *wanted)
{
    if (!strstr(text, wanted)) {
        fail_msg("'%s' is not in:\n%s", wanted, text);
    }
}

void assert_lacks(const char *text, const char *unwanted)
{
    if (strstr(text, unwanted)) {
        fail_msg("'%s' is in:\n%s", unwanted, text);
    }
}

/* ---- all of it ---- */

int forget_answers(void **state)
{
    pthread_mutex_lock(&fake.lock);
    fake.answer_count = 0;
    fake.asked_count = 0;
    pthread_mutex_unlock(&fake.lock);
    return 0;
}

int open_daemon(void **state)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(at);

    strcpy(folder, "/tmp/berth-cli-XXXXXX");
    fake.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (!mkdtemp(folder) || fake.listener < 0 ||
        bind(fake.listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(fake.listener, 16) < 0 ||
        getsockname(fake.listener, (struct sockaddr *)&at, &size) < 0) {
        return -1;
    }
    fake.port = ntohs(at.sin_port);
    return pthread_create(&fake.thread, NULL, serve, NULL);
}

int close_daemon(void **state)
{
    shutdown(fake.listener, SHUT_RDWR);
    pthread_join(fake.thread, NULL);
    close(fake.listener);
    (void)unlink(in_folder("input"));
    return rmdir(folder);
}
