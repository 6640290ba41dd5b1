// SPDX-License-Identifier: Apache-2.0
/*
 * kill -9 of berth in the real world (seed 003, bug 13). This program is everything: the test, the
 * small berth that is killed (mode "berth"), its exec-engine, and the engine (started with
 * llama-server's command line), which listens on its unix socket and answers 200. The berth tells
 * every change of state as a line on a pipe; the test only ever waits for such lines.
 */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/world.h"
#include "engines/engines.h"

enum { REPORT_FD = 9 };

static char self[4096];
static char dir[64];

/* ---- the engine */

static const char *word_after(char **argv, const char *flag)
{
    for (; *argv; argv++) {
        if (strcmp(*argv, flag) == 0) {
            return argv[1];
        }
    }
    return NULL;
}

static void serve_one(int fd)
{
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    char request[4096];

    if (read(fd, request, sizeof(request)) > 0) {
        (void)!write(fd, answer, sizeof(answer) - 1);
    }
    close(fd);
}

static int be_engine(char **argv)
{
    struct sockaddr_un where = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(where.sun_path, sizeof(where.sun_path), "%s", word_after(argv, "--host"));
    if (bind(fd, (struct sockaddr *)&where, sizeof(where)) < 0 || listen(fd, 16) < 0) {
        fprintf(stderr, "error: cannot listen: %s\n", strerror(errno));
        return 1;
    }
    for (;;) {
        serve_one(accept(fd, NULL, NULL));
    }
}

/* ---- the berth */

struct berth {
    struct world *world;
    struct models *models;
    struct engines *engines;
};

static void on_change(void *owner, const void *what)
{
    const struct instance_change *c = what;
    char line[128];

    if (c->to == INSTANCE_DRAINING && !c->gone) {
        struct berth *b = owner;

        engines_drained(b->engines, c->instance->uuid);
    }
    snprintf(line, sizeof(line), "%s %d %s\n", c->gone ? "gone" : instance_state_name(c->to),
             (int)c->instance->process.pid, c->instance->adopted ? "adopted" : "own");
    (void)!write(REPORT_FD, line, strlen(line));
}

/* Wanted from the start, in one commit: this process may be killed at any moment. */
static void add_model(struct berth *b)
{
    struct validation v = validation_init();
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:b, s:{s:i}}", "id", "m", "name", "m",
                             "framework", "llama_cpp", "model_path", "model.gguf", "priority", 5,
                             "autostart", 1, "resource_requirements", "gpu_memory", 100);

    models_add(b->models, model_config_parse(json, &v), MODEL_FROM_API, NULL, NULL);
    json_decref(json);
    validation_finish(&v);
}

static void on_stopped(void *arg)
{
    struct berth *b = arg;

    world_stop(b->world);
}

static void on_term(void *arg, int signum)
{
    struct berth *b = arg;

    engines_stop_all(b->engines, on_stopped, b);
}

static int be_berth(void)
{
    static const struct option_table *const tables[] = { &engines_options, NULL };
    static const struct store_schema *const schemas[] = { &events_schema, &models_schema,
                                                          &engines_schema, NULL };
    char setting[4200];
    const char *environment[] = { setting, NULL };
    struct store_options options = { .path = "berth.db", .schemas = schemas };
    struct listener on_model;
    struct listener listener;
    struct berth b = { .world = world_create() };
    struct config *config;
    struct store *store;
    struct events *events;
    struct metrics *metrics = metrics_create();
    struct error err;

    log_set_level(LOG_WARN);
    snprintf(setting, sizeof(setting), "BERTH_ENGINES_LLAMA_SERVER=%s", self);
    if (config_load(NULL, environment, tables, &config, &err) < 0 ||
        store_open(b.world, &options, &store, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    events = events_create(b.world, store);
    b.models = models_create(b.world, store, events);
    b.engines = engines_create(&(struct engines_options_in){ .world = b.world,
                                                             .config = config,
                                                             .store = store,
                                                             .events = events,
                                                             .models = b.models,
                                                             .metrics = metrics,
                                                             .data_id = dir,
                                                             .self_path = self,
                                                             .places_itself = true });
    on_model = (struct listener){ .fn = engines_on_model, .owner = b.engines };
    notify_add(models_signal(b.models), &on_model);
    listener = (struct listener){ .fn = on_change, .owner = &b };
    notify_add(engines_signal(b.engines), &listener);
    if (models_load(b.models, &err) < 0 || engines_recover(b.engines, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    if (models_count(b.models) == 0) {
        add_model(&b);
    }
    world_on_signal(b.world, SIGTERM, on_term, &b);
    world_run(b.world);
    engines_destroy(b.engines);
    models_destroy(b.models);
    events_destroy(events);
    store_close(store);
    metrics_destroy(metrics);
    config_free(config);
    world_destroy(b.world);
    return 0;
}

/* ---- the test */

struct berth_process {
    pid_t pid;
    FILE *reports;
};

static struct berth_process start_berth(void)
{
    struct berth_process b;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    b.pid = fork();
    if (b.pid == 0) {
        dup2(ends[1], REPORT_FD);
        execl(self, self, "berth", dir, NULL);
        _exit(99);
    }
    close(ends[1]);
    b.reports = fdopen(ends[0], "r");
    return b;
}

/* Reads reports until one starts with `state`; returns the pid in it, -1 when berth ended instead.
 */
static int await(struct berth_process *b, const char *state, bool *ret_adopted)
{
    char line[128], word[32], how[32];
    int pid;

    while (fgets(line, sizeof(line), b->reports)) {
        assert_int_equal(sscanf(line, "%31s %d %31s", word, &pid, how), 3);
        if (strcmp(word, state) == 0) {
            if (ret_adopted) {
                *ret_adopted = strcmp(how, "adopted") == 0;
            }
            return pid;
        }
    }
    return -1;
}

static void kill_berth(struct berth_process *b)
{
    kill(b->pid, SIGKILL);
    assert_int_equal(waitpid(b->pid, NULL, 0), b->pid);
    fclose(b->reports);
}

static void stop_berth(struct berth_process *b)
{
    int status;

    kill(b->pid, SIGTERM);
    assert_int_equal(waitpid(b->pid, &status, 0), b->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fclose(b->reports);
}

static void on_marked(void *arg, struct process_id id, const char *value)
{
    *(int *)arg += strncmp(value, dir, strlen(dir)) == 0;
}

static int count_engines(void)
{
    struct world *w = world_create();
    int n = 0;

    assert_int_equal(process_scan(w, "BERTH_INSTANCE", on_marked, &n), 0);
    world_destroy(w);
    return n;
}

/* A child whose berth was killed before its exec shows its mark for a moment, then ends by itself
 * (--parent) without ever being an engine: what counts is what stays. */
static bool settles_to_one(void)
{
    for (int i = 0; i < 300; i++) {
        if (count_engines() <= 1) {
            return true;
        }
        usleep(10000);
    }
    return false;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static int enter_dir(void **state)
{
    int fd;

    strcpy(dir, "/tmp/berth-adoption-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(chdir(dir), 0);
    fd = open("model.gguf", O_WRONLY | O_CREAT, 0600);
    close(fd);
    return 0;
}

static int leave_dir(void **state)
{
    assert_int_equal(chdir("/"), 0);
    return nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_the_same_engine_serves_after_kill_9(void **state)
{
    struct berth_process b = start_berth();
    int first = await(&b, "ready", NULL), second;
    bool adopted;

    assert_true(first > 0);
    for (int i = 0; i < 3; i++) {
        kill_berth(&b);
        assert_int_equal(kill(first, 0), 0);
        b = start_berth();
        assert_int_equal(await(&b, "ready", &adopted), first);
        assert_true(adopted);
        assert_int_equal(count_engines(), 1);
    }
    kill(first, SIGKILL); /* its death is seen, although it is nobody's child */
    assert_true(await(&b, "backoff", NULL) >= 0);
    second = await(&b, "ready", &adopted);
    assert_int_not_equal(second, first);
    assert_false(adopted);
    stop_berth(&b);
    assert_int_equal(count_engines(), 0);
}

static void test_kill_9_at_random_moments(void **state)
{
    uint64_t seed = test_seed("engines/adoption");
    struct berth_process b;

    srandom((unsigned)seed);
    for (int i = 0; i < 25; i++) {
        b = start_berth();
        if (random() % 3 == 0) {
            await(&b, random() % 2 ? "starting" : "ready", NULL);
        }
        usleep((useconds_t)(random() % 30000)); /* the fault's moment, nothing is waited for */
        kill_berth(&b);
        if (!settles_to_one()) {
            fail_msg("two engines after kill %d", i);
        }
    }
    b = start_berth();
    assert_true(await(&b, "ready", NULL) > 0);
    assert_int_equal(count_engines(), 1);
    stop_berth(&b);
    assert_int_equal(count_engines(), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_engine_serves_after_kill_9, enter_dir,
                                        leave_dir),
        cmocka_unit_test_setup_teardown(test_kill_9_at_random_moments, enter_dir, leave_dir),
    };

    if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) {
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], "exec-engine") == 0) {
        exec_engine_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "--model") == 0) {
        return be_engine(argv);
    }
    if (argc > 2 && strcmp(argv[1], "berth") == 0) {
        snprintf(dir, sizeof(dir), "%s", argv[2]);
        return be_berth();
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
