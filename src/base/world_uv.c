// SPDX-License-Identifier: Apache-2.0
/*
 * The real world on libuv. A turn: poll, callbacks, flush of the streams, then posted calls and
 * timers, flush again. A turn that computed longer than SLOW_TURN_MS is logged with the name of
 * what ran last in it.
 */
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/world_uv_int.h"

enum { SLOW_TURN_MS = 20 };

struct signal_watch {
    struct list node;
    uv_signal_t handle;
    void (*fn)(void *arg, int signum);
    void *arg;
};

static uint64_t real_now_ms(struct world *w)
{
    return uv_now(&uv_world_of(w)->loop);
}

static uint64_t real_now_us(struct world *w)
{
    return uv_hrtime() / 1000;
}

static int64_t real_wall_ms(struct world *w)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void real_random(struct world *w, void *out, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = getrandom((char *)out + got, n - got, 0);

        if (r > 0) {
            got += (size_t)r;
        }
    }
}

static void on_idle(uv_idle_t *idle)
{
}

/* Only wakes the loop: what is due runs in on_prepare. */
static void on_timer(uv_timer_t *timer)
{
    struct uv_world *w = timer->data;

    w->armed_ms = UINT64_MAX;
}

/* Arms libuv so that the loop comes round when the next thing is due. */
static void real_wake(struct world *base)
{
    struct uv_world *w = uv_world_of(base);
    uint64_t due = world_next_due(base), now = uv_now(&w->loop);

    if (!list_empty(&base->posted) || due <= now) {
        uv_idle_start(&w->idle, on_idle);
        return;
    }
    uv_idle_stop(&w->idle);
    if (due == w->armed_ms) {
        return;
    }
    w->armed_ms = due;
    if (due != UINT64_MAX) {
        uv_timer_start(&w->timer, on_timer, due - now, 0);
    } else {
        uv_timer_stop(&w->timer);
    }
}

/* The loop's time is that of the poll's return (or of the due calls' start): what has passed since
 * was computing. */
static void watch_turn(struct uv_world *w)
{
    uint64_t now_ms = uv_hrtime() / 1000000, began_ms = uv_now(&w->loop);

    if (now_ms > began_ms + SLOW_TURN_MS) {
        log_warn("loop", w->base.last_name, "slow turn",
                 kv_int("ms", (int64_t)(now_ms - began_ms)));
    }
    w->base.last_name = "streams";
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct uv_world *w = prepare->data;

    uv_update_time(&w->loop);
    world_run_due(&w->base, uv_now(&w->loop));
    uv_streams_flush(w);
    watch_turn(w);
    real_wake(&w->base);
}

static void on_check(uv_check_t *check)
{
    struct uv_world *w = check->data;

    uv_streams_flush(w);
    watch_turn(w);
}

static void on_async(uv_async_t *async)
{
    uv_workers_collect(async->data);
}

static void real_run(struct world *base)
{
    struct uv_world *w = uv_world_of(base);

    real_wake(base);
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

static void real_stop(struct world *base)
{
    uv_stop(&uv_world_of(base)->loop);
}

static void on_signal(uv_signal_t *handle, int signum)
{
    struct signal_watch *watch = handle->data;

    watch->fn(watch->arg, signum);
}

static void real_on_signal(struct world *base, int signum, void (*fn)(void *, int), void *arg)
{
    struct uv_world *w = uv_world_of(base);
    struct signal_watch *watch = xcalloc(1, sizeof(*watch));

    watch->fn = fn;
    watch->arg = arg;
    watch->handle.data = watch;
    uv_signal_init(&w->loop, &watch->handle);
    uv_signal_start(&watch->handle, on_signal, signum);
    uv_unref((uv_handle_t *)&watch->handle);
    list_append(&w->signals, &watch->node);
}

static void real_destroy(struct world *base)
{
    struct uv_world *w = uv_world_of(base);
    struct signal_watch *watch, *tmp;

    uv_workers_collect(w);
    uv_streams_abandon(w);
    /* A look-up that has begun cannot be called back, and ends in memory of this world. */
    while (w->resolving > 0) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    list_for_each (watch, &w->signals, node) {
        uv_close((uv_handle_t *)&watch->handle, NULL);
    }
    uv_close((uv_handle_t *)&w->timer, NULL);
    uv_close((uv_handle_t *)&w->idle, NULL);
    uv_close((uv_handle_t *)&w->prepare, NULL);
    uv_close((uv_handle_t *)&w->check, NULL);
    uv_close((uv_handle_t *)&w->async, NULL);
    /* What streams and processes closed before is finished here too. */
    for (int i = 0; i < 100 && uv_run(&w->loop, UV_RUN_NOWAIT); i++) {
    }
    if (uv_loop_close(&w->loop) < 0) {
        log_warn("loop", NULL, "handles left open at the end");
    }
    list_for_each_safe (watch, tmp, &w->signals, node) {
        free(watch);
    }
    world_finish(base);
    pthread_mutex_destroy(&w->done_lock);
    free(w);
}

static const struct world_ops real_ops = {
    .destroy = real_destroy,
    .run = real_run,
    .stop = real_stop,
    .now_ms = real_now_ms,
    .now_us = real_now_us,
    .wall_ms = real_wall_ms,
    .random = real_random,
    .wake = real_wake,
    .on_signal = real_on_signal,
    .workers = &uv_worker_ops,
    .processes = &uv_process_ops,
    .streams = &uv_stream_ops,
};

struct world *world_create(void)
{
    struct uv_world *w = xcalloc(1, sizeof(*w));

    world_init(&w->base, &real_ops);
    list_init(&w->signals);
    list_init(&w->dirty);
    list_init(&w->lingering);
    list_init(&w->done);
    pthread_mutex_init(&w->done_lock, NULL);
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->timer);
    uv_idle_init(&w->loop, &w->idle);
    uv_prepare_init(&w->loop, &w->prepare);
    uv_check_init(&w->loop, &w->check);
    uv_async_init(&w->loop, &w->async, on_async);
    w->timer.data = w->prepare.data = w->check.data = w->async.data = w;
    w->armed_ms = UINT64_MAX;
    uv_prepare_start(&w->prepare, on_prepare);
    uv_check_start(&w->check, on_check);
    /* A write to a connection whose peer is gone is an error to read, not a reason to die. */
    signal(SIGPIPE, SIG_IGN);
    return &w->base;
}
