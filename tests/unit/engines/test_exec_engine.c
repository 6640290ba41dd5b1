// SPDX-License-Identifier: Apache-2.0
/* exec-engine in the real world: the test runs itself again, as exec-engine and then as the
 * "engine" that tells what it finds. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engines/engines.h"

static char self[4096];
static char dir[64];

static long read_number(const char *path)
{
    FILE *f = fopen(path, "r");
    long n = -1;

    if (f) {
        if (fscanf(f, "%ld", &n) != 1) {
            n = -1;
        }
        fclose(f);
    }
    return n;
}

static int count_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    while (readdir(d)) {
        n++;
    }
    closedir(d);
    return n - 3; /* ".", "..", the directory itself */
}

static int count_odd_signals(void)
{
    sigset_t blocked;
    int n = 0;

    sigprocmask(SIG_SETMASK, NULL, &blocked);
    for (int s = 1; s < 32; s++) {
        struct sigaction now;

        if (s != SIGKILL && s != SIGSTOP && sigaction(s, NULL, &now) == 0) {
            n += now.sa_handler == SIG_IGN || sigismember(&blocked, s);
        }
    }
    return n;
}

/* The engine: says what it is on stdout and stderr. */
static int report(int argc, char **argv)
{
    struct rlimit core, files;
    char byte;

    getrlimit(RLIMIT_CORE, &core);
    getrlimit(RLIMIT_NOFILE, &files);
    printf("leader %d\n", getsid(0) == getpid());
    printf("descriptors %d\n", count_descriptors());
    printf("odd_signals %d\n", count_odd_signals());
    printf("core %ld\n", (long)core.rlim_cur);
    printf("files_sane %d\n", files.rlim_cur >= 1024 || files.rlim_cur == files.rlim_max);
    printf("no_new_privs %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    printf("oom %ld\n", read_number("/proc/self/oom_score_adj"));
    printf("stdin_empty %d\n", read(0, &byte, 1) == 0);
    printf("last_argument %s\n", argv[argc - 1]);
    fflush(stdout);
    fprintf(stderr, "complaint\n");
    return 7;
}

static char *read_log(const char *path)
{
    char *text = calloc(1, 65536);
    FILE *f = fopen(path, "r");

    assert_non_null(f);
    (void)!fread(text, 1, 65535, f);
    fclose(f);
    return text;
}

/* Runs exec-engine as a child with a messy inheritance. Returns the wait status. */
static int run_exec_engine(const char *const argv[])
{
    int status = 0, fd;
    pid_t pid = fork();

    if (pid == 0) {
        sigset_t all;

        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        signal(SIGPIPE, SIG_IGN);
        fd = open("/dev/null", O_RDONLY);
        dup2(fd, 37);
        execv(self, UNCONST(char *const *, argv));
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static char *log_path(const char *name)
{
    char *path = NULL;

    assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
    return path;
}

#define ASSERT_HAS(text, part)                                                                     \
    do {                                                                                           \
        if (!strstr(text, part)) {                                                                 \
            fail_msg("'%s' is missing in: %s", part, text);                                        \
        }                                                                                          \
    } while (0)

static void test_engine_runs_free_of_us(void **state)
{
    char *path = log_path("free.log");
    const char *const argv[] = { self, "exec-engine", "--log",  path,        "--oom-score", "700",
                                 "--", self,          "report", "last word", NULL };
    int status = run_exec_engine(argv);
    char *text = read_log(path);
    struct stat st;
    char oom[32];

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    ASSERT_HAS(text, "leader 1\n");
    ASSERT_HAS(text, "descriptors 3\n");
    ASSERT_HAS(text, "odd_signals 0\n");
    ASSERT_HAS(text, "core 0\n");
    ASSERT_HAS(text, "files_sane 1\n");
    ASSERT_HAS(text, "no_new_privs 1\n");
    snprintf(oom, sizeof(oom), "oom %ld\n",
             MIN_OF(read_number("/proc/self/oom_score_adj") + 700, 1000L));
    ASSERT_HAS(text, oom);
    ASSERT_HAS(text, "stdin_empty 1\n");
    ASSERT_HAS(text, "last_argument last word\n");
    ASSERT_HAS(text, "complaint\n");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    free(text);
    free(path);
}

static void test_log_is_appended_to(void **state)
{
    char *path = log_path("append.log");
    const char *const argv[] = { self, "exec-engine", "--log", path, "--", self, "report", NULL };
    char *text, *first;

    run_exec_engine(argv);
    run_exec_engine(argv);
    text = read_log(path);
    first = strstr(text, "complaint\n");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "complaint\n"));
    free(text);
    free(path);
}

static void test_missing_program_is_said_in_the_log(void **state)
{
    char *path = log_path("missing.log");
    const char *const argv[] = {
        self, "exec-engine", "--log", path, "--", "/nowhere/engine", NULL
    };
    int status = run_exec_engine(argv);
    char *text = read_log(path);

    assert_int_equal(WEXITSTATUS(status), 127);
    assert_string_equal(text, "berth: cannot run /nowhere/engine: No such file or directory\n");
    free(text);
    free(path);
}

static void test_program_that_is_none_is_said_in_the_log(void **state)
{
    char *path = log_path("none.log");
    const char *const argv[] = { self, "exec-engine", "--log", path, "--", "/etc/passwd", NULL };
    int status = run_exec_engine(argv);
    char *text = read_log(path);

    assert_int_equal(WEXITSTATUS(status), 126);
    assert_string_equal(text, "berth: cannot run /etc/passwd: Permission denied\n");
    free(text);
    free(path);
}

static void test_usage_is_refused(void **state)
{
    const char *const no_log[] = { self, "exec-engine", "--", "/bin/true", NULL };
    const char *const no_program[] = { self, "exec-engine", "--log", "/dev/null", "--", NULL };
    const char *const unknown[] = { self,        "exec-engine", "--what", "x", "--log",
                                    "/dev/null", "--",          self,     NULL };

    assert_int_equal(WEXITSTATUS(run_exec_engine(no_log)), 126);
    assert_int_equal(WEXITSTATUS(run_exec_engine(no_program)), 126);
    assert_int_equal(WEXITSTATUS(run_exec_engine(unknown)), 126);
}

/* A berth that died between fork and exec must not get an engine that nobody knows. */
static void test_orphan_does_not_start(void **state)
{
    char *path = log_path("orphan.log");
    char mine[16], other[16];
    const char *const with_parent[] = { self, "exec-engine", "--parent", mine,     "--log",
                                        path, "--",          self,       "report", NULL };
    const char *const without[] = { self, "exec-engine", "--parent", other,    "--log",
                                    path, "--",          self,       "report", NULL };

    snprintf(mine, sizeof(mine), "%d", (int)getpid());
    snprintf(other, sizeof(other), "%d", (int)getppid());
    assert_int_equal(WEXITSTATUS(run_exec_engine(without)), 126);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(WEXITSTATUS(run_exec_engine(with_parent)), 7);
    assert_int_equal(unlink(path), 0);
    free(path);
}

static int remove_dir(void **state)
{
    for (const char *const *f =
             (const char *const[]){ "free.log", "append.log", "missing.log", "none.log", NULL };
         *f; f++) {
        char *path = log_path(*f);

        unlink(path);
        free(path);
    }
    return rmdir(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_runs_free_of_us),
        cmocka_unit_test(test_log_is_appended_to),
        cmocka_unit_test(test_missing_program_is_said_in_the_log),
        cmocka_unit_test(test_program_that_is_none_is_said_in_the_log),
        cmocka_unit_test(test_usage_is_refused),
        cmocka_unit_test(test_orphan_does_not_start),
    };

    if (argc > 1 && strcmp(argv[1], "exec-engine") == 0) {
        exec_engine_main(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "report") == 0) {
        return report(argc, argv);
    }
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    strcpy(dir, "/tmp/berth-exec-XXXXXX");
    assert_non_null(mkdtemp(dir));
    return cmocka_run_group_tests(tests, NULL, remove_dir);
}
