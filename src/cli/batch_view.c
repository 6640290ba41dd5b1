// SPDX-License-Identifier: Apache-2.0
/* Batches in words, waiting for one, and bringing its files here. */
#include "cli/batch_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/follow.h"

enum { LINE_MAX_BYTES = 4096, ERRORS_SHOWN = 10 };

char *batch_progress(const json_t *batch)
{
    const json_t *counts = json_object_get(batch, "request_counts");
    const long long total = member_int(counts, "total"), failed = member_int(counts, "failed");
    const long long ended = member_int(counts, "completed") + failed;

    return failed > 0
               ? xasprintf("%s, %lld of %lld, %lld of them failed",
                           member_str(batch, "status", "?"), ended, total, failed)
               : xasprintf("%s, %lld of %lld", member_str(batch, "status", "?"), ended, total);
}

/* ---- files ---- */

struct copy {
    FILE *out;
    bool failed;
};

static void on_piece(void *arg, const char *p, size_t n)
{
    struct copy *c = arg;

    c->failed = c->failed || fwrite(p, 1, n, c->out) != n;
}

static int stream_file(struct cli *cli, const char *file_id, FILE *out, const char *name)
{
    _cleanup_(freep) char *path = cli_path("/v1/files/", file_id, "/content");
    struct copy c = { out, false };
    int code = cli_stream(cli, path, NULL, on_piece, &c);

    if (code == 0 && (fflush(out) != 0 || c.failed)) {
        complain("cannot write %s: %s", name, strerror(errno));
        code = 1;
    }
    return code;
}

int batch_fetch(struct cli *cli, const char *file_id, const char *path)
{
    _cleanup_(freep) char *part = NULL;
    FILE *out;
    int code;

    if (str_eq(path, "-")) {
        return stream_file(cli, file_id, stdout, "stdout");
    }
    part = xasprintf("%s.part", path);
    out = fopen(part, "we");
    if (!out) {
        complain("cannot write %s: %s", part, strerror(errno));
        return 1;
    }
    code = stream_file(cli, file_id, out, part);
    fclose(out);
    if (code == 0 && rename(part, path) < 0) {
        complain("cannot rename %s to %s: %s", part, path, strerror(errno));
        code = 1;
    }
    if (code != 0) {
        unlink(part);
    }
    return code;
}

/* ---- waiting ---- */

static bool has_ended(const json_t *batch)
{
    static const char *const ends[] = { "failed", "completed", "expired", "cancelled" };
    const char *status = member_str(batch, "status", "?");

    for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
        if (str_eq(status, ends[i])) {
            return true;
        }
    }
    return false;
}

static void say(const json_t *batch, struct buf *line)
{
    _cleanup_(freep) char *text = batch_progress(batch);

    buf_puts(line, text);
}

/* What is wrong with its lines. */
static void tell_errors(const json_t *batch)
{
    const json_t *errors = json_object_get(json_object_get(batch, "errors"), "data");
    const size_t count = json_array_size(errors);

    for (size_t i = 0; i < MIN_OF(count, (size_t)ERRORS_SHOWN); i++) {
        const json_t *one = json_array_get(errors, i);
        const long long line = member_int(one, "line");

        if (line > 0) {
            complain("line %lld: %s", line, member_str(one, "message", "?"));
        } else {
            complain("%s", member_str(one, "message", "?"));
        }
    }
    if (count > ERRORS_SHOWN) {
        complain("and %zu more", count - ERRORS_SHOWN);
    }
}

static int tell_end(struct cli *cli, const json_t *batch, const char *output)
{
    const char *id = member_str(batch, "id", "?"), *status = member_str(batch, "status", "?");
    const char *file = member_str(batch, "output_file_id", NULL);
    _cleanup_(freep) char *text = batch_progress(batch);
    const bool good = str_eq(status, "completed");

    if (cli->json) {
        print_json(batch);
    } else if (!output || !str_eq(output, "-")) {
        printf("%s is %s\n", id, text);
    }
    tell_errors(batch);
    if (output && file) {
        const int code = batch_fetch(cli, file, output);

        return code ? code : !good;
    }
    if (output && good) {
        complain("no line has an answer; 'berth batches fetch %s --errors' shows why", id);
        return 1;
    }
    return good ? 0 : 1;
}

int batch_wait(struct cli *cli, const char *id, uint64_t limit_ms, const char *output)
{
    _cleanup_(freep) char *path = cli_path("/v1/batches/", id, "");
    const struct followed f = {
        .path = path, .name = id, .limit_ms = limit_ms, .ended = has_ended, .say = say
    };
    struct reply reply;
    int code = follow_until_end(cli, &f, &reply);

    if (code != 0) {
        return code;
    }
    code = tell_end(cli, reply.json, output);
    reply_finish(&reply);
    return code;
}
