// SPDX-License-Identifier: Apache-2.0
/* Worker threads. The lock guards only the queue; a job belongs to one side at a time. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/world_uv_int.h"

enum { MAX_THREADS = 16 };

struct uv_worker {
    struct worker base;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct list queue;
    size_t waiting; /* in queue */
    bool quit;
    bool abandoned; /* the world may be gone: jobs are lost, the last thread frees all this */
    unsigned thread_count;
    pthread_t threads[MAX_THREADS];
};

/* Moves up to `limit` jobs (0: all) from the queue. Called with the lock. */
static void take_jobs(struct uv_worker *k, size_t limit, struct list *ret)
{
    if (limit == 0 || limit >= k->waiting) {
        list_take(&k->queue, ret);
        k->waiting = 0;
        return;
    }
    list_init(ret);
    for (size_t i = 0; i < limit; i++) {
        struct list *node = k->queue.next;

        list_remove(node);
        list_append(ret, node);
    }
    k->waiting -= limit;
}

static void run_jobs(struct uv_worker *k, struct list *jobs)
{
    struct job *job;

    if (k->base.options.run_batch) {
        k->base.options.run_batch(jobs, k->base.options.arg);
        return;
    }
    list_for_each (job, jobs, node) {
        job->run(job);
    }
}

static void give_back(struct uv_worker *k, struct list *jobs)
{
    struct uv_world *w = uv_world_of(k->base.world);

    pthread_mutex_lock(&w->done_lock);
    while (!list_empty(jobs)) {
        struct list *node = jobs->next;

        list_remove(node);
        list_append(&w->done, node);
    }
    pthread_mutex_unlock(&w->done_lock);
    uv_async_send(&w->async);
}

static void lose(struct list *jobs)
{
    while (!list_empty(jobs)) {
        struct job *job = list_first(jobs, struct job, node);

        list_remove(&job->node);
        if (job->lost) {
            job->lost(job);
        }
    }
}

static void free_worker(struct uv_worker *k)
{
    pthread_cond_destroy(&k->more);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* Called with the lock, which it lets go. */
static void end_thread(struct uv_worker *k)
{
    const bool last = k->abandoned && --k->thread_count == 0;

    pthread_mutex_unlock(&k->lock);
    if (last) {
        free_worker(k);
    }
}

static void *thread_main(void *arg)
{
    struct uv_worker *k = arg;
    size_t limit = k->base.options.run_batch ? k->base.options.max_batch : 1;
    char name[16];

    snprintf(name, sizeof(name), "%s", k->base.options.name);
    pthread_setname_np(pthread_self(), name);
    pthread_mutex_lock(&k->lock);
    for (;;) {
        struct list jobs;

        while (list_empty(&k->queue) && !k->quit) {
            pthread_cond_wait(&k->more, &k->lock);
        }
        if (list_empty(&k->queue)) {
            break;
        }
        take_jobs(k, limit, &jobs);
        pthread_mutex_unlock(&k->lock);
        run_jobs(k, &jobs);
        pthread_mutex_lock(&k->lock);
        if (k->abandoned) {
            lose(&jobs);
        } else {
            give_back(k, &jobs); /* with the lock, so that nobody abandons us meanwhile */
        }
    }
    end_thread(k);
    return NULL;
}

void uv_workers_collect(struct uv_world *w)
{
    struct list done;

    pthread_mutex_lock(&w->done_lock);
    list_take(&w->done, &done);
    pthread_mutex_unlock(&w->done_lock);
    while (!list_empty(&done)) {
        struct job *job = list_first(&done, struct job, node);

        list_remove(&job->node);
        worker_finish_job(job);
    }
}

/* Those of this worker alone: whom the others' are for may be half gone by now. */
static void collect_own(struct uv_worker *k)
{
    struct uv_world *w = uv_world_of(k->base.world);
    struct list own;
    struct job *job, *tmp;

    list_init(&own);
    pthread_mutex_lock(&w->done_lock);
    list_for_each_safe (job, tmp, &w->done, node) {
        if (job->worker == &k->base) {
            list_remove(&job->node);
            list_append(&own, &job->node);
        }
    }
    pthread_mutex_unlock(&w->done_lock);
    while (!list_empty(&own)) {
        job = list_first(&own, struct job, node);
        list_remove(&job->node);
        worker_finish_job(job);
    }
}

static struct worker *create(struct world *w, const struct worker_options *options)
{
    struct uv_worker *k = xcalloc(1, sizeof(*k));
    sigset_t all, old;

    k->base.world = w;
    k->base.options = *options;
    list_init(&k->queue);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->more, NULL);
    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    while (k->thread_count < MIN_OF(options->threads, (unsigned)MAX_THREADS)) {
        if (pthread_create(&k->threads[k->thread_count], NULL, thread_main, k) != 0) {
            break;
        }
        k->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (k->thread_count == 0) {
        abort(); /* no thread to be had: as good as no memory */
    }
    return &k->base;
}

static void destroy(struct worker *base)
{
    struct uv_worker *k = container_of(base, struct uv_worker, base);

    pthread_mutex_lock(&k->lock);
    k->quit = true;
    pthread_cond_broadcast(&k->more);
    pthread_mutex_unlock(&k->lock);
    for (unsigned i = 0; i < k->thread_count; i++) {
        pthread_join(k->threads[i], NULL);
    }
    collect_own(k);
    free_worker(k);
}

static void abandon(struct worker *base)
{
    struct uv_worker *k = container_of(base, struct uv_worker, base);
    struct list waiting;

    pthread_mutex_lock(&k->lock);
    k->abandoned = true; /* nothing is given back from here on */
    take_jobs(k, 0, &waiting);
    pthread_mutex_unlock(&k->lock);
    lose(&waiting);
    collect_own(k);
    pthread_mutex_lock(&k->lock);
    k->quit = true; /* only now may the last thread free k: the jobs just collected needed it */
    for (unsigned i = 0; i < k->thread_count; i++) {
        pthread_detach(k->threads[i]);
    }
    pthread_cond_broadcast(&k->more);
    pthread_mutex_unlock(&k->lock);
}

static void submit(struct worker *base, struct job *job)
{
    struct uv_worker *k = container_of(base, struct uv_worker, base);

    pthread_mutex_lock(&k->lock);
    list_append(&k->queue, &job->node);
    k->waiting++;
    pthread_cond_signal(&k->more);
    pthread_mutex_unlock(&k->lock);
}

const struct worker_ops uv_worker_ops = { create, destroy, abandon, submit };
