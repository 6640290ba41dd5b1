// SPDX-License-Identifier: Apache-2.0
/*
 * Random histories with a seed: submits, cancels, deletes, renames and imports on top of each other
 * without waiting, with good and bad ends of berth and power cuts between. Whatever happened: what
 * was accepted is there, what was cancelled stays so, what was deleted is gone, every count is of
 * what stands, and at last all is completed.
 */
#include "house.h"

#include <string.h>

#include "base/mem.h"
#include "crash_vfs.h"

enum { JOBS = 400, NAMES = 5 };

struct seen {
    char id[UUID_SIZE];
    bool accepted, cancelled, deleted; /* as it was answered */
    bool lost;                         /* an answer was not heard: either may be so */
};

struct history {
    struct house h;
    struct crash_disk *disk;
    uint64_t seed;
    struct seen jobs[JOBS];
    size_t count, open; /* open: questions not yet answered */
    unsigned cuts, restarts;
};

static size_t below(struct history *s, size_t n)
{
    s->seed = s->seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (size_t)((s->seed >> 33) % n);
}

struct question {
    struct history *s;
    struct seen *job;
    enum { SUBMIT, CANCEL, DELETE, OTHER } what;
};

static void on_answer(void *arg, int result, json_t *answer, const char *field,
                      const struct error *e)
{
    struct question *q = arg;
    struct seen *job = q->job;

    (void)field, (void)e;
    q->s->open--;
    if (result == -ECANCELED || result == -EROFS || result == -EIO) {
        if (job) {
            job->lost = true;
        }
    } else if (q->what == SUBMIT && result >= 0) {
        job->accepted = true;
        snprintf(job->id, sizeof(job->id), "%s",
                 json_string_value(json_object_get(answer, "task_id")));
    } else if (q->what == CANCEL && result >= 0) {
        job->cancelled = true;
    } else if (q->what == DELETE && result >= 0) {
        job->deleted = true;
    }
    free(q);
}

static struct question *question(struct history *s, struct seen *job, int what)
{
    struct question *q = xcalloc(1, sizeof(*q));

    *q = (struct question){ s, job, what };
    s->open++;
    return q;
}

static void submit(struct history *s)
{
    char name[16];
    json_t *body;

    if (s->count == JOBS) {
        return;
    }
    snprintf(name, sizeof(name), "x%zu", below(s, NAMES));
    body = house_body(name);
    json_object_set_new(body, "priority", json_integer(1 + (json_int_t)below(s, 3)));
    evaluations_submit(s->h.v, body, on_answer, question(s, &s->jobs[s->count++], SUBMIT));
    json_decref(body);
}

static struct seen *some_job(struct history *s)
{
    struct seen *job =
        s->count ? &s->jobs[s->count - 1 - below(s, s->count < 6 ? s->count : 6)] : NULL;

    return job && job->accepted ? job : NULL;
}

static void act(struct history *s)
{
    const size_t what = below(s, 20);
    struct seen *job = some_job(s);

    if (what < 8) {
        submit(s);
    } else if (what < 12 && job) {
        evaluations_cancel(s->h.v, job->id, on_answer, question(s, job, CANCEL));
    } else if (what < 15 && job) {
        evaluations_delete(s->h.v, job->id, on_answer, question(s, job, DELETE));
    } else if (what < 17 && job) {
        evaluations_results(s->h.v, job->id, on_answer, question(s, NULL, OTHER));
        evaluations_get(s->h.v, job->id, on_answer, question(s, NULL, OTHER));
        evaluations_running(s->h.v, on_answer, question(s, NULL, OTHER));
    } else if (what < 18) {
        json_t *body = json_pack("{s:i}", "max_workers", 1 + (int)below(s, 5));

        evaluations_set_config(s->h.v, body, on_answer, question(s, NULL, OTHER));
        json_decref(body);
    } else {
        experiments_export(s->h.v, NULL, 0, on_answer, question(s, NULL, OTHER));
    }
}

static void judge_job(struct history *s, const struct seen *job)
{
    const char *status;

    if (!job->accepted) {
        return;
    }
    status = house_status(&s->h, job->id);
    if (job->deleted) {
        assert_string_equal(status, "");
    } else if (job->cancelled) {
        assert_true(strcmp(status, "cancelled") == 0 || (job->lost && !status[0]));
    } else if (!job->lost) {
        assert_true(status[0] && strcmp(status, "failed") != 0);
        assert_string_not_equal(status, "cancelled");
    }
}

static void judge(struct history *s)
{
    house_check(&s->h);
    for (size_t i = 0; i < s->count; i++) {
        judge_job(s, &s->jobs[i]);
    }
}

static void restart(struct history *s)
{
    const size_t how = below(s, 3);

    s->restarts++;
    if (how == 0) {
        house_restart(&s->h, true);
    } else if (how == 1) {
        house_restart(&s->h, false);
    } else {
        crash_disk_cut_after(s->disk, 1 + below(s, 60));
        for (int i = 0; i < 60 && !crash_disk_is_cut(s->disk); i++) {
            act(s);
            sim_run_for(s->h.w, below(s, 2));
        }
        house_stop(&s->h);
        s->cuts += crash_disk_is_cut(s->disk);
        crash_disk_power_on(s->disk);
        if (house_start(&s->h) < 0) {
            fail_msg("%s", s->h.error);
        }
    }
    assert_int_equal(s->open, 0); /* everybody was told */
}

static bool all_over(struct house *h)
{
    struct evaluation_state state;
    size_t cursor = 0;

    return !evaluations_next_live(h->v, &cursor, &state);
}

static void runs(uint64_t seed, unsigned *cuts)
{
    struct history *s = xcalloc(1, sizeof(*s));

    s->seed = seed;
    s->disk = crash_disk_create(seed);
    house_open(&s->h, false, "planner:\n  workers: 2\n", "crash");
    for (int i = 0; i < 300; i++) {
        act(s);
        if (below(s, 3) == 0) {
            sim_run_for(s->h.w, below(s, 3));
        }
        if (below(s, 60) == 0) {
            restart(s);
            house_settle(&s->h);
            judge(s);
        }
    }
    house_until(&s->h, all_over);
    house_settle(&s->h);
    assert_int_equal(s->open, 0);
    judge(s);
    for (size_t i = 0; i < s->count; i++) {
        const struct seen *job = &s->jobs[i];

        if (job->accepted && !job->deleted && !job->cancelled && !job->lost) {
            assert_string_equal(house_status(&s->h, job->id), "completed");
        }
    }
    *cuts += s->cuts;
    house_close(&s->h);
    crash_disk_destroy(s->disk);
    free(s);
}

static void whatever_happens(void **state)
{
    const uint64_t seed = test_seed("histories");
    const char *times = getenv("HISTORIES");
    unsigned cuts = 0;

    (void)state;
    for (int i = 0; i < (times ? atoi(times) : 4); i++) {
        runs(seed + (uint64_t)i, &cuts);
    }
    printf("power cuts: %u\n", cuts);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(whatever_happens) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
