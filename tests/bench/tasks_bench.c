// SPDX-License-Identifier: Apache-2.0
/*
 * What a task costs inside the room, on a real file with every commit synced: submits, whole ways
 * (submit, claim, completion by a runner that is there at once), and whether a claim costs more
 * when a million wait than when a thousand do; what those take in memory, and how long a start
 * takes then. The last line is for bench.mts.
 *
 *     tasks-bench [DIR]    DIR must not lie in memory; default: the system's temporary directory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "config/config.h"
#include "tasks/tasks.h"

enum {
    IN_FLIGHT = 64,
    SUBMITS = 40000,
    WAYS = 40000,
    FEW = 1000,
    ROUNDS = 25,
    MANY = 1000000,
    LINES = 500,      /* a piece of the backlog */
    INPUT = 1000,     /* bytes of a task that is submitted alone */
    LINE_INPUT = 100, /* and of the backlog's */
    TMPFS = 0x01021994,
};

struct bench {
    struct world *world;
    struct config *config;
    struct store *store;
    struct events *events;
    struct models *models;
    struct metrics *metrics;
    struct tasks *tasks;
    struct listener on_task;
    char dir[256], path[300];
    int64_t model_id;
    bool open; /* the runner takes tasks */
    uint64_t submitted, answered, completed, target;
    uint64_t working;
    char input[INPUT];
};

struct clock {
    double wall_s, cpu_s;
};

static struct clock clock_now(void)
{
    struct timespec t, cpu;

    clock_gettime(CLOCK_MONOTONIC, &t);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu); /* of all threads */
    return (struct clock){ (double)t.tv_sec + 1e-9 * (double)t.tv_nsec,
                           (double)cpu.tv_sec + 1e-9 * (double)cpu.tv_nsec };
}

static struct clock clock_since(struct clock begin)
{
    struct clock now = clock_now();

    return (struct clock){ now.wall_s - begin.wall_s, now.cpu_s - begin.cpu_s };
}

static double rss_bytes(void)
{
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (!f || fscanf(f, "%*d %ld", &pages) != 1) {
        pages = 0;
    }
    if (f) {
        fclose(f);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void die(const char *what, const struct error *e)
{
    fprintf(stderr, "tasks-bench: %s: %s\n", what, e ? e->text : "");
    exit(1);
}

/* ---- the runner: always there, done at once ---- */

static int reserve(void *owner, struct task_slot *slot, struct error *reterr)
{
    const struct bench *b = owner;

    return b->open ? 1 : error_set(reterr, -EBUSY, "closed");
}

static void on_done(void *arg)
{
    task_slot_done(arg, &(struct task_result){ .output = SPAN("done"), .http_status = 200 });
}

static void run(void *owner, struct task_slot *slot, const struct task_work *work)
{
    struct bench *b = owner;

    world_post(b->world, on_done, slot);
}

static void cancel(void *owner, struct task_slot *slot)
{
}

static const struct task_runner runner = {
    .name = "instant", .reserve = reserve, .run = run, .cancel = cancel
};

static void on_task(void *owner, const void *what)
{
    struct bench *b = owner;
    const struct task_change *c = what;

    if (c->task->state == TASK_COMPLETED && !c->removed && ++b->completed == b->target) {
        world_stop(b->world);
    }
}

/* ---- a berth ---- */

static void begin_tasks(struct bench *b)
{
    struct error e = { 0 };

    b->tasks = tasks_create(
        &(struct tasks_in){ b->world, b->config, b->store, b->events, b->models, b->metrics });
    tasks_set_runner(b->tasks, TASK_OF_QUEUE, &runner, b);
    b->on_task = (struct listener){ .fn = on_task, .owner = b };
    notify_add(tasks_signal(b->tasks), &b->on_task);
    if (tasks_start(b->tasks, &e) < 0) {
        die("start", &e);
    }
}

static void end_tasks(struct bench *b)
{
    notify_remove(&b->on_task);
    b->tasks = tasks_destroy(b->tasks);
    b->metrics = metrics_destroy(b->metrics);
}

static void on_model(void *arg, int result, int64_t id, const struct error *e)
{
    struct bench *b = arg;

    if (result < 0) {
        die("model", e);
    }
    b->model_id = id;
    world_stop(b->world);
}

static void add_model(struct bench *b)
{
    struct validation v = validation_init();
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}, s:i}", "id", "m", "name", "m",
                             "framework", "llama_cpp", "model_path", "/m.gguf", "priority", 5,
                             "resource_requirements", "gpu_memory", 1, "max_workers", IN_FLIGHT);

    models_add(b->models, model_config_parse(json, &v), MODEL_FROM_API, on_model, b);
    json_decref(json);
    validation_finish(&v);
    world_run(b->world);
}

static void begin(struct bench *b, const char *dir)
{
    static const char *const settings[] = { "BERTH_QUEUE_MAX_QUEUE_SIZE=10000000",
                                            "BERTH_WORKER_MAX_WORKERS=1000", NULL };
    static const struct option_table *const tables[] = { &tasks_options, NULL };
    static const struct store_schema *const schemas[] = { &events_schema, &models_schema,
                                                          &tasks_schema, NULL };
    struct error e = { 0 };

    snprintf(b->dir, sizeof(b->dir), "%s/tasks-bench-XXXXXX", dir);
    if (!mkdtemp(b->dir)) {
        die(b->dir, NULL);
    }
    snprintf(b->path, sizeof(b->path), "%s/berth.db", b->dir);
    memset(b->input, 'x', sizeof(b->input));
    b->world = world_create();
    if (config_load(NULL, settings, tables, &b->config, &e) < 0 ||
        store_open(b->world, &(struct store_options){ .path = b->path, .schemas = schemas },
                   &b->store, &e) < 0) {
        die("open", &e);
    }
    b->metrics = metrics_create();
    b->events = events_create(b->world, b->store);
    b->models = models_create(b->world, b->store, b->events);
    if (models_load(b->models, &e) < 0) {
        die("models", &e);
    }
    add_model(b);
    begin_tasks(b);
}

static void finish(struct bench *b)
{
    end_tasks(b);
    b->models = models_destroy(b->models);
    b->events = events_destroy(b->events);
    b->store = store_close(b->store);
    config_free(b->config);
    world_destroy(b->world);
    unlink(b->path);
    rmdir(b->dir);
}

/* ---- clients ---- */

static void submit(struct bench *b);

static void on_submitted(void *arg, int result, const struct task *task, const struct error *e)
{
    struct bench *b = arg;

    if (result < 0) {
        die("submit", e);
    }
    b->answered++;
    if (b->submitted < b->target) {
        submit(b);
    } else if (!b->open && b->answered == b->target) {
        world_stop(b->world);
    }
}

static void submit(struct bench *b)
{
    struct error e = { 0 };

    b->submitted++;
    if (tasks_submit(b->tasks,
                     &(struct task_order){ .kind = TASK_OF_QUEUE,
                                           .model_id = b->model_id,
                                           .type = "text-generation",
                                           .priority = TASK_MEDIUM,
                                           .input = { b->input, INPUT },
                                           .max_retries = -1 },
                     on_submitted, b, &e) < 0) {
        die("submit", &e);
    }
}

/* count submits, 64 at a time; with the runner open: until they are completed. */
static struct clock submit_all(struct bench *b, uint64_t count)
{
    struct clock begin = clock_now();

    b->submitted = b->answered = b->completed = 0;
    b->target = count;
    for (int i = 0; i < IN_FLIGHT; i++) {
        submit(b);
    }
    world_run(b->world);
    return clock_since(begin);
}

static void send_lines(struct bench *b);

static void on_lines(void *arg, int result, const struct task *task, const struct error *e)
{
    struct bench *b = arg;

    if (result < 0) {
        die("lines", e);
    }
    b->answered += LINES;
    if (b->submitted < b->target) {
        send_lines(b);
    } else if (b->answered == b->target) {
        world_stop(b->world);
    }
}

static void send_lines(struct bench *b)
{
    struct task_order orders[LINES];

    for (int i = 0; i < LINES; i++) {
        orders[i] = (struct task_order){ .kind = TASK_OF_QUEUE,
                                         .model_id = b->model_id,
                                         .type = "text-generation",
                                         .priority = TASK_MEDIUM,
                                         .input = { b->input, LINE_INPUT },
                                         .max_retries = -1 };
    }
    b->submitted += LINES;
    tasks_submit_lines(b->tasks, orders, LINES, NULL, on_lines, b);
}

static void fill(struct bench *b, uint64_t count)
{
    b->submitted = b->answered = 0;
    b->target = count;
    send_lines(b);
    if (b->submitted < b->target) {
        send_lines(b);
    }
    world_run(b->world);
}

static bool is_idle(const struct bench *b)
{
    return tasks_running(b->tasks, b->model_id) == 0;
}

static void on_tick(void *arg)
{
    world_stop(((struct bench *)arg)->world);
}

/* Until what was claimed beyond the target has ended, too. */
static void settle(struct bench *b)
{
    struct timer tick;

    timer_init(&tick, b->world, "tick", on_tick, b);
    do {
        timer_start(&tick, 20);
        world_run(b->world);
    } while (!is_idle(b));
}

/* Claims and completes count of those that wait. */
static struct clock drain(struct bench *b, uint64_t count)
{
    struct clock begin = clock_now(), used;

    b->completed = 0;
    b->target = count;
    b->open = true;
    tasks_wake(b->tasks);
    world_run(b->world);
    used = clock_since(begin);
    b->open = false;
    settle(b);
    return used;
}

/* ---- figures ---- */

static double per_second(double count, double seconds)
{
    return seconds > 0 ? count / seconds : 0;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median CPU of a claim and its completion. refill: as many come again, outside the measure. */
static double claim_us(struct bench *b, bool refill)
{
    double cpu[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        if (refill) {
            fill(b, FEW);
        }
        cpu[i] = 1e6 * drain(b, FEW).cpu_s / FEW;
    }
    qsort(cpu, ROUNDS, sizeof(cpu[0]), compare);
    return cpu[ROUNDS / 2];
}

static double start_ms(struct bench *b)
{
    struct clock begin;

    end_tasks(b);
    b->metrics = metrics_create();
    begin = clock_now();
    begin_tasks(b);
    return 1e3 * clock_since(begin).wall_s;
}

static void check_disk(const char *dir)
{
    struct statfs fs;

    if (statfs(dir, &fs) < 0 || fs.f_type == TMPFS) {
        printf("%s lies in memory: syncs cost nothing there, the figures are void\n", dir);
    } else {
        printf("in %s, file system type %lx, every commit synced\n", dir, (long)fs.f_type);
    }
}

int main(int argc, char **argv)
{
    const char *given = argc > 1 ? argv[1] : getenv("TMPDIR"), *dir = given ? given : "/tmp";
    struct bench *b = xcalloc(1, sizeof(*b));
    struct clock submits, ways, filling;
    double few, many, rss, per_task, start;

    log_set_fd(-1);
    setvbuf(stdout, NULL, _IOLBF, 0);
    check_disk(dir);
    begin(b, dir);

    submits = submit_all(b, SUBMITS);
    printf("submits: %.0f/s, %.1f us CPU each\n", per_second(SUBMITS, submits.wall_s),
           1e6 * submits.cpu_s / SUBMITS);
    drain(b, SUBMITS);

    b->open = true;
    ways = submit_all(b, WAYS);
    b->open = false;
    settle(b);
    printf("submit, claim, completion: %.0f/s, %.1f us CPU each\n", per_second(WAYS, ways.wall_s),
           1e6 * ways.cpu_s / WAYS);

    fill(b, FEW / 2);
    few = claim_us(b, true); /* from one and a half thousand down to a half */
    printf("claim and completion with %d queued: %.1f us CPU\n", FEW, few);
    rss = rss_bytes();
    filling = clock_now();
    fill(b, MANY);
    filling = clock_since(filling);
    per_task = (rss_bytes() - rss) / MANY;
    printf("%d queued in %.1f s, %.1f bytes of memory each\n", MANY, filling.wall_s, per_task);
    many = claim_us(b, false);
    printf("claim and completion with %d queued: %.1f us CPU\n", MANY, many);
    start = start_ms(b);
    printf("start with them: %.1f ms\n", start);
    finish(b);
    printf("{\"submits\": %.0f, \"ways\": %.0f, \"few_us\": %.2f, \"many_us\": %.2f, "
           "\"bytes\": %.1f, \"start_ms\": %.2f}\n",
           per_second(SUBMITS, submits.wall_s), per_second(WAYS, ways.wall_s), few, many, per_task,
           start);
    free(b);
    return 0;
}
