// SPDX-License-Identifier: Apache-2.0
/*
 * berth batch: hands a file of requests, one a line, to the daemon, which works it off behind
 * everything else. The file is uploaded as OpenAI's clients do it (a form with two parts).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/batch_view.h"
#include "cli/commands.h"
#include "cli/follow.h"

// clang-format off
static const struct cli_option options[] = {
    { "endpoint", 'e', "/v1/chat/completions|/v1/completions|/v1/embeddings|/v1/responses", "where its requests go (default: the url of its first line)" },
    { "window",   0,   "DURATION", "what has not run by then is given up (default: 24h)" },
    { "wait",     'w', NULL,   "stay until it has ended; the exit code is 0 only when it is completed" },
    { "output",   'o', "FILE", "with --wait: put the answers there (- is stdout)" },
    { "timeout",  0,   "DURATION", "with --wait: stay no longer than this; the batch goes on" },
    { NULL, 0, NULL, NULL },
};
// clang-format on

/* A file as it lies on the disk. */
struct mapped {
    char *bytes; /* NULL: it is empty */
    size_t size;
};

/* 0 or the exit code, having spoken. */
static int map_file(const char *path, struct mapped *ret)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    void *bytes;

    if (fd < 0 || fstat(fd, &st) < 0) {
        complain("cannot read %s: %s", path, strerror(errno));
        return EXIT_ABSENT;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        complain("%s %s", path, S_ISREG(st.st_mode) ? "is empty" : "is no file");
        return EXIT_WRONG;
    }
    bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        complain("cannot read %s: %s", path, strerror(errno));
        return 1;
    }
    *ret = (struct mapped){ bytes, (size_t)st.st_size };
    return 0;
}

/* The "url" of the first line, owned by the caller; NULL, having spoken. */
static char *first_url(const char *path, const struct mapped *file)
{
    const char *stop = memchr(file->bytes, '\n', file->size);
    const size_t n = stop ? (size_t)(stop - file->bytes) : file->size;
    json_t *line = json_loadb(file->bytes, n, 0, NULL);
    const char *url = member_str(line, "url", NULL);
    char *copy = url ? xstrdup(url) : NULL;

    if (!copy) {
        complain("%s: its first line names no \"url\"; each line is {\"custom_id\", \"method\": "
                 "\"POST\", \"url\", \"body\"}",
                 path);
    }
    json_decref(line);
    return copy;
}

/* ---- the upload ---- */

/* The file's name as a form has it: quotes and line ends have no place there. Owned by the caller.
 */
static char *form_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = xstrdup(slash ? slash + 1 : path);

    for (char *p = name; *p; p++) {
        if ((unsigned char)*p < ' ' || strchr("\"\\\x7f", *p)) {
            *p = '_';
        }
    }
    return name;
}

/* A boundary that the file does not hold; false when chance was against us (never, in practice). */
static bool pick_boundary(const struct mapped *file, char out[64])
{
    static unsigned tries;

    for (int i = 0; i < 16; i++) {
        snprintf(out, 64, "berth-%d-%u-9d1f3c5b7a", (int)getpid(), tries++);
        if (!memmem(file->bytes, file->size, out, strlen(out))) {
            return true;
        }
    }
    return false;
}

static int upload(struct cli *cli, const char *path, const struct mapped *file, char **ret_id)
{
    _cleanup_(freep) char *name = form_name(path), *headers = NULL, *before = NULL, *after = NULL;
    char boundary[64];
    struct span parts[3];
    struct cli_request request = {
        .method = "POST", .path = "/v1/files", .body = parts, .body_parts = 3
    };
    struct reply reply;
    int code;

    if (!pick_boundary(file, boundary)) {
        complain("%s cannot be put into a form", path);
        return 1;
    }
    headers = xasprintf("Accept: application/json\r\n"
                        "Content-Type: multipart/form-data; boundary=%s\r\n",
                        boundary);
    before = xasprintf("--%s\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n"
                       "--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n"
                       "Content-Type: application/jsonl\r\n\r\n",
                       boundary, boundary, name);
    after = xasprintf("\r\n--%s--\r\n", boundary);
    request.headers = headers;
    parts[0] = span_of(before);
    parts[1] = (struct span){ file->bytes, file->size };
    parts[2] = span_of(after);
    code = cli_send(cli, &request, &reply);
    if (code != 0) {
        return code;
    }
    *ret_id = xstrdup(member_str(reply.json, "id", ""));
    reply_finish(&reply);
    return 0;
}

/* ---- the batch ---- */

static int create(struct cli *cli, const char *file_id, const char *endpoint, struct reply *ret)
{
    const char *window = cli_value(cli, "window");
    json_t *order = json_pack("{s:s, s:s, s:s}", "input_file_id", file_id, "endpoint", endpoint,
                              "completion_window", window ? window : "24h");
    int code;

    if (!order) {
        complain("--endpoint or --window is no UTF-8");
        return EXIT_WRONG;
    }
    code = cli_ask(cli, "POST", "/v1/batches", order, ret);
    json_decref(order);
    return code;
}

/* 0, or the exit code, having spoken. */
static int follow(struct cli *cli, const json_t *batch, uint64_t limit_ms)
{
    const char *id = member_str(batch, "id", "?");

    if (cli_value(cli, "wait")) {
        return batch_wait(cli, id, limit_ms, cli_value(cli, "output"));
    }
    if (cli->json) {
        print_json(batch);
    } else {
        printf("%s is %s\n", id, member_str(batch, "status", "?"));
    }
    return 0;
}

static int submit(struct cli *cli, const char *path, const struct mapped *file, uint64_t limit_ms)
{
    const char *given = cli_value(cli, "endpoint");
    _cleanup_(freep) char *endpoint = given ? xstrdup(given) : first_url(path, file);
    _cleanup_(freep) char *file_id = NULL;
    struct reply reply;
    int code;

    if (!endpoint) {
        return EXIT_WRONG;
    }
    code = upload(cli, path, file, &file_id);
    code = code == 0 ? create(cli, file_id, endpoint, &reply) : code;
    if (code != 0) {
        return code;
    }
    code = follow(cli, reply.json, limit_ms);
    reply_finish(&reply);
    return code;
}

static int run(struct cli *cli)
{
    struct mapped file = { 0 };
    uint64_t limit_ms;
    int code;

    if (cli_duration(cli, "timeout", &limit_ms) < 0) {
        return EXIT_WRONG;
    }
    if ((cli_value(cli, "timeout") || cli_value(cli, "output")) && !cli_value(cli, "wait")) {
        complain("--timeout and --output are of --wait; 'berth batches fetch' brings the answers");
        return EXIT_WRONG;
    }
    code = map_file(cli->args[0], &file);
    if (code == 0) {
        code = submit(cli, cli->args[0], &file, limit_ms);
        munmap(file.bytes, file.size);
    }
    return code;
}

const struct command batch_command = {
    "batch",
    "FILE.jsonl",
    "Hands a file of requests over, to be worked off behind everything else.",
    options,
    1,
    1,
    run,
    "FILE",
    NULL,
};
