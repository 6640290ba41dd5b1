// SPDX-License-Identifier: Apache-2.0
/* The data directory: whose it is, that one berth has it, and that its id stays. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "daemon/data_dir.h"

struct place {
    char root[64];
    char *path; /* below it, not made yet */
};

static int set_up(void **state)
{
    struct place *p = xcalloc(1, sizeof(*p));

    strcpy(p->root, "/tmp/berth-data-XXXXXX");
    assert_non_null(mkdtemp(p->root));
    p->path = xasprintf("%s/deep/er/data", p->root);
    *state = p;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    return remove(path);
}

static int tear_down(void **state)
{
    struct place *p = *state;

    assert_int_equal(chdir("/"), 0);
    nftw(p->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(p->path);
    free(p);
    return 0;
}

static void write_id(const struct place *p, const char *text)
{
    _cleanup_(freep) char *path = xasprintf("%s/id", p->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct data_dir open_well(const char *path)
{
    struct data_dir d = { .lock_fd = -1 };
    struct error e = { 0 };

    if (data_dir_open(path, &d, &e) < 0) {
        fail_msg("%s: %s", path, e.text);
    }
    return d;
}

static void open_badly(const char *path, int code, const char *words)
{
    struct data_dir d = { .lock_fd = -1 };
    struct error e = { 0 };

    assert_int_equal(data_dir_open(path, &d, &e), code);
    assert_int_equal(d.lock_fd, -1);
    assert_null(d.path);
    if (!strstr(e.text, words)) {
        fail_msg("'%s' does not say '%s'", e.text, words);
    }
}

static void is_made_for_its_owner_alone_and_entered(void **state)
{
    struct place *p = *state;
    struct data_dir d = open_well(p->path);
    char cwd[256];
    struct stat st;

    assert_int_equal(stat(p->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_string_equal(getcwd(cwd, sizeof(cwd)), p->path);
    assert_string_equal(d.path, p->path);
    assert_int_equal(strlen(d.id), 16);
    assert_int_equal(stat("id", &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    data_dir_close(&d);
    assert_int_equal(d.lock_fd, -1);
}

static void others_are_kept_out_of_one_that_is_there(void **state)
{
    struct place *p = *state;
    struct data_dir d;
    struct stat st;

    assert_int_equal(chmod(p->root, 0755), 0);
    d = open_well(p->root);
    assert_int_equal(stat(p->root, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    data_dir_close(&d);
}

static void a_second_berth_is_refused_until_the_first_lets_go(void **state)
{
    struct place *p = *state;
    struct data_dir d = open_well(p->path);
    char id[DATA_ID_SIZE];

    strcpy(id, d.id);
    open_badly(p->path, -EBUSY, "another berth");
    data_dir_close(&d);
    d = open_well(p->path);
    assert_string_equal(d.id, id);
    data_dir_close(&d);
}

static void each_has_an_id_of_its_own(void **state)
{
    struct place *p = *state;
    struct data_dir a = open_well(p->path), b = open_well(p->root);

    assert_string_not_equal(a.id, b.id);
    data_dir_close(&a);
    data_dir_close(&b);
}

static void a_damaged_id_is_refused_and_left_alone(void **state)
{
    static const char *const damaged[] = { "",
                                           "\n",
                                           "0123456789abcde\n",
                                           "0123456789abcdef0",
                                           "0123456789ABCDEF",
                                           "../../etc/passwd",
                                           "0123456789abcdef0123456789abcdef0123456789abcdef" };
    struct place *p = *state;
    struct data_dir d = open_well(p->path);

    data_dir_close(&d);
    for (size_t i = 0; i < ARRAY_SIZE(damaged); i++) {
        struct stat st;

        write_id(p, damaged[i]);
        open_badly(p->path, -EINVAL, "/id is damaged");
        assert_int_equal(stat("id", &st), 0);
        assert_int_equal(st.st_size, strlen(damaged[i]));
    }
    write_id(p, "0123456789abcdef\n"); /* as an editor leaves it */
    d = open_well(p->path);
    assert_string_equal(d.id, "0123456789abcdef");
    data_dir_close(&d);
}

/* An id that is there and cannot be read is no reason to make another one. */
static void an_unreadable_id_is_refused(void **state)
{
    struct place *p = *state;
    struct data_dir d = open_well(p->path);

    data_dir_close(&d);
    assert_int_equal(unlink("id"), 0);
    assert_int_equal(symlink("id", "id"), 0); /* ELOOP, for root too */
    open_badly(p->path, -ELOOP, "cannot read");
}

static void what_is_no_directory_is_refused(void **state)
{
    struct place *p = *state;
    _cleanup_(freep) char *file = xasprintf("%s/file", p->root);
    _cleanup_(freep) char *below = xasprintf("%s/file/data", p->root);

    close(open(file, O_WRONLY | O_CREAT, 0600));
    open_badly(file, -ENOTDIR, "is not a directory");
    open_badly(below, -ENOTDIR, below);
}

static void another_users_is_refused(void **state)
{
    struct place *p = *state;

    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(chown(p->root, 12345, 12345), 0);
    open_badly(p->root, -EPERM, "belongs to another user");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(is_made_for_its_owner_alone_and_entered),
        TEST(others_are_kept_out_of_one_that_is_there),
        TEST(a_second_berth_is_refused_until_the_first_lets_go),
        TEST(each_has_an_id_of_its_own),
        TEST(a_damaged_id_is_refused_and_left_alone),
        TEST(an_unreadable_id_is_refused),
        TEST(what_is_no_directory_is_refused),
        TEST(another_users_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
