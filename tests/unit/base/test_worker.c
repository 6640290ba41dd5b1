// SPDX-License-Identifier: Apache-2.0
/* Workers, real and simulated: every job runs once and comes back once, in order, the queue has its
 * limit, and an abandoned worker harms nobody. */
#include "unit.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>

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

/* ---- abandoned ---- */

enum fate { RUNNING, HELD, DONE, LOST };

struct held_job {
    struct job job;
    struct held *held;
    atomic_int fate;
};

/* Outlives the world. */
struct held {
    atomic_bool open;
    struct held_job jobs[3];
    struct world *w;
};

static void run_held(struct job *job)
{
    struct held_job *j = container_of(job, struct held_job, job);

    if (j == &j->held->jobs[0]) {
        return; /* this one ends */
    }
    atomic_store(&j->fate, HELD);
    while (!atomic_load(&j->held->open)) {
        sched_yield();
    }
}

static void on_held_done(struct job *job)
{
    struct held_job *j = container_of(job, struct held_job, job);

    atomic_store(&j->fate, DONE);
    world_stop(j->held->w);
}

static void on_held_lost(struct job *job)
{
    atomic_store(&container_of(job, struct held_job, job)->fate, LOST);
}

static void wait_for(struct held_job *j, int fate)
{
    while (atomic_load(&j->fate) != fate) {
        sched_yield();
    }
}

static void abandoned_jobs_are_lost_and_hurt_nobody(void **state)
{
    struct held held = { .w = world_create() };
    struct worker_options options = { .name = "test", .threads = 1, .max_queued = 3 };
    struct worker *worker = worker_create(held.w, &options);

    for (int i = 0; i < 3; i++) {
        held.jobs[i] = (struct held_job){
            .job = { .run = run_held, .done = on_held_done, .lost = on_held_lost }, .held = &held
        };
        assert_int_equal(worker_submit(worker, &held.jobs[i].job), 0);
    }
    wait_for(&held.jobs[1], HELD); /* the first has ended, and its done has not run */
    assert_int_equal(atomic_load(&held.jobs[0].fate), RUNNING);
    assert_null(worker_abandon(worker));
    assert_int_equal(atomic_load(&held.jobs[0].fate), DONE);
    assert_int_equal(atomic_load(&held.jobs[1].fate), HELD); /* nobody waited for it */
    assert_int_equal(atomic_load(&held.jobs[2].fate), LOST); /* it never ran */
    world_destroy(held.w);
    atomic_store(&held.open, true);
    wait_for(&held.jobs[1], LOST);
}

static void nothing_hangs_in_a_simulated_world(void **state)
{
    struct held held = { .w = sim_create(1), .open = true };
    struct worker_options options = { .name = "test", .threads = 1, .max_queued = 1 };
    struct worker *worker = worker_create(held.w, &options);

    held.jobs[1] =
        (struct held_job){ .job = { .run = run_held, .done = on_held_done }, .held = &held };
    assert_int_equal(worker_submit(worker, &held.jobs[1].job), 0);
    assert_null(worker_abandon(worker));
    assert_int_equal(atomic_load(&held.jobs[1].fate), DONE);
    world_destroy(held.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_run_on_threads),
        cmocka_unit_test(jobs_run_in_batches),
        cmocka_unit_test(jobs_run_in_a_simulated_world),
        cmocka_unit_test(destroy_waits_for_what_stands),
        cmocka_unit_test(abandoned_jobs_are_lost_and_hurt_nobody),
        cmocka_unit_test(nothing_hangs_in_a_simulated_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
