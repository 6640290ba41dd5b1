// SPDX-License-Identifier: Apache-2.0
/*
 * GET /api/models/{id}/logs: the tail of the engine's own log file, and with follow=1 what is
 * appended to it, across restarts of the engine. A reader that does not read is not read for: the
 * file is the queue.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api_int.h"
#include "base/mem.h"

enum {
    LINES_DEFAULT = 100,
    LINES_MAX = 10000,
    TAIL_MAX_BYTES = 1024 * 1024,
    FOLLOW_STEP_MS = 250,
    FOLLOW_READ_BYTES = 64 * 1024,
    FOLLOW_QUEUE_BYTES = 256 * 1024,
    FOLLOWERS_MAX = 64,
};

static const char text_type[] = "text/plain; charset=utf-8";

/* Where the last `lines` lines of text begin. */
static const char *last_lines(const char *text, size_t n, uint64_t lines)
{
    const char *p = text + n;

    if (p > text && p[-1] == '\n') {
        p--;
    }
    while (p > text) {
        if (p[-1] == '\n' && --lines == 0) {
            return p;
        }
        p--;
    }
    return text;
}

struct follower {
    struct list node;
    struct api *api;
    struct http_exchange *x;
    int64_t model_id;
    char uuid[UUID_SIZE]; /* whose log is read; "" while there is none */
    off_t offset;         /* read so far */
    struct timer timer;
};

static void follower_free(struct follower *f)
{
    timer_stop(&f->timer);
    list_remove(&f->node);
    free(f);
}

static void on_follower_gone(void *arg)
{
    follower_free(arg);
}

static const struct http_exchange_events follower_events = { .on_gone = on_follower_gone };

void followers_end(struct api *api)
{
    struct follower *f, *tmp;

    list_for_each_safe (f, tmp, &api->followers, node) {
        http_respond_end(f->x);
        follower_free(f);
    }
}

/* Sends what stands in the file beyond the offset, one piece. */
static void send_appended(struct follower *f, const char *path)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    _cleanup_(freep) char *piece = NULL;
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0) {
        return;
    }
    if (st.st_size < f->offset) { /* rotated by truncation */
        f->offset = 0;
    }
    if (st.st_size == f->offset) {
        return;
    }
    piece = xmalloc(FOLLOW_READ_BYTES);
    n = pread(fd, piece, FOLLOW_READ_BYTES, f->offset);
    if (n > 0) {
        f->offset += n;
        http_respond_write(f->x, piece, (size_t)n);
    }
}

static void on_follow(void *arg)
{
    struct follower *f = arg;
    const struct instance *inst = engines_of_model(f->api->in.engines, f->model_id);

    if (!inst && !models_get(f->api->in.models, f->model_id)) { /* deleted */
        http_respond_end(f->x);
        follower_free(f);
        return;
    }
    if (inst && http_exchange_queued(f->x) < FOLLOW_QUEUE_BYTES) {
        if (!str_eq(inst->uuid, f->uuid)) {
            memcpy(f->uuid, inst->uuid, sizeof(f->uuid));
            f->offset = 0;
        }
        send_appended(f, inst->log_path);
    }
    timer_start(&f->timer, FOLLOW_STEP_MS);
}

static off_t file_size(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 ? st.st_size : 0;
}

static void follow(struct api *api, struct http_exchange *x, const struct model *model,
                   const struct instance *inst, struct span tail)
{
    struct follower *f = xcalloc(1, sizeof(*f));

    f->api = api;
    f->x = x;
    f->model_id = model->id;
    if (inst) {
        memcpy(f->uuid, inst->uuid, sizeof(f->uuid));
        f->offset = file_size(inst->log_path);
    }
    list_append(&api->followers, &f->node);
    timer_init(&f->timer, api->in.world, "log follower", on_follow, f);
    timer_start(&f->timer, FOLLOW_STEP_MS);
    http_exchange_set_events(x, &follower_events, f);
    http_respond_start(x, 200, text_type, -1);
    if (tail.n > 0) {
        http_respond_write(x, tail.p, tail.n);
    }
}

static size_t count_followers(struct api *api)
{
    struct follower *f;
    size_t n = 0;

    list_for_each (f, &api->followers, node) {
        n++;
    }
    return n;
}

void handle_logs(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct api *api = owner;
    const struct model *model = model_of_path(api, x, params);
    const uint64_t lines = MIN_OF(query_number(x, "lines", LINES_DEFAULT), (uint64_t)LINES_MAX);
    const struct instance *inst;
    _cleanup_(freep) char *text = NULL;
    struct span tail = SPAN("");

    if (!model) {
        return;
    }
    inst = engines_of_model(api->in.engines, model->id);
    text = inst ? engines_log_tail(api->in.engines, inst->uuid, TAIL_MAX_BYTES) : NULL;
    if (text && lines > 0) {
        tail = span_of(last_lines(text, strlen(text), lines));
    }
    if (!query_flag(x, "follow")) {
        http_respond(x, 200, text_type, tail);
    } else if (count_followers(api) >= FOLLOWERS_MAX) {
        respond_detail(x, 503, "%d readers follow logs already", FOLLOWERS_MAX);
    } else {
        follow(api, x, model, inst, tail);
    }
}
