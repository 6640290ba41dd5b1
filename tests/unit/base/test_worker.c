// SPDX-License-Identifier: Apache-2.0
/* Workers, real and simulated: every job runs once and comes back once, in order, and the queue has
 * its limit. */
#include "unit.h"

#include <errno.h>

#include "base/mem.h"
#include "base/sim.h"
#include "base/worker.h"

enum { JOBS = 1000 };

struct bench {
    struct world *w;
    int done, batches;
};

struct sum_job {
    struct job job;
    struct bench *bench;
    int number, ran;
};

static void run_sum(struct job *job)
{
    container_of(job, struct sum_job, job)->ran++;
}

static void on_done(struct job *job)
{
    struct sum_job *j = container_of(job, struct sum_job, job);

    assert_int_equal(j->ran, 1);
    assert_int_equal(j->number, j->bench->done);
    if (++j->bench->done == JOBS) {
        world_stop(j->bench->w);
    }
}

static void run_batch(struct list *jobs, void *arg)
{
    struct bench *b = arg;
    struct job *job;

    b->batches++;
    list_for_each (job, jobs, node) {
        run_sum(job);
    }
}

static void submit_all(struct bench *b, struct worker *worker, struct sum_job *jobs)
{
    for (int i = 0; i < JOBS; i++) {
        jobs[i] =
            (struct sum_job){ .job = { .run = run_sum, .done = on_done }, .bench = b, .number = i };
        assert_int_equal(worker_submit(worker, &jobs[i].job), 0);
    }
    assert_int_equal(worker_submit(worker, &jobs[0].job), -EAGAIN);
    assert_int_equal(worker_queued(worker), JOBS);
}

static void run_in(struct world *w, bool batch)
{
    struct bench b = { .w = w };
    struct sum_job *jobs = xcalloc(JOBS, sizeof(*jobs));
    struct worker_options options = { .name = "test", .threads = 1, .max_queued = JOBS, .arg = &b };
    struct worker *worker;

    options.run_batch = batch ? run_batch : NULL;
    worker = worker_create(w, &options);
    submit_all(&b, worker, jobs);
    world_run(w);
    assert_int_equal(b.done, JOBS);
    assert_int_equal(worker_queued(worker), 0);
    assert_true(!batch || (b.batches > 0 && b.batches <= JOBS));
    worker_destroy(worker);
    world_destroy(w);
    free(jobs);
}

static void jobs_run_on_threads(void **state)
{
    run_in(world_create(), false);
}

static void jobs_run_in_batches(void **state)
{
    run_in(world_create(), true);
}

static void jobs_run_in_a_simulated_world(void **state)
{
    run_in(sim_create(1), false);
    run_in(sim_create(1), true);
}

static void destroy_waits_for_what_stands(void **state)
{
    struct bench b = { .w = world_create() };
    struct sum_job *jobs = xcalloc(JOBS, sizeof(*jobs));
    struct worker_options options = { .name = "test", .threads = 1, .max_queued = JOBS };
    struct worker *worker = worker_create(b.w, &options);

    submit_all(&b, worker, jobs);
    worker_destroy(worker);
    assert_int_equal(b.done, JOBS);
    world_destroy(b.w);
    free(jobs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_on_threads),
        cmocka_unit_test(jobs_run_in_batches),
        cmocka_unit_test(jobs_run_in_a_simulated_world),
        cmocka_unit_test(destroy_waits_for_what_stands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
