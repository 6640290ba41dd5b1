// SPDX-License-Identifier: Apache-2.0
/*
 * Files of batches: what is told as stored is there, byte for byte, also after a restart and a
 * crash at any operation of the disk; limits, pages, removal and retention; nothing is left behind.
 */
#include "batch_house.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static char *random_bytes(struct house *h, size_t n)
{
    char *bytes = xmalloc(n + 1);

    world_random(h->w, bytes, n);
    return bytes;
}

static void assert_content(struct house *h, const char *file, const char *bytes, size_t n)
{
    char *content = house_content(h, file);

    assert_non_null(content);
    assert_memory_equal(content, bytes, n);
    free(content);
}

static void test_stored_and_read(void **state)
{
    static const size_t sizes[] = { 0, 1, 256 * 1024, 256 * 1024 + 1, 1024 * 1024, 3000000 };
    struct house h;

    house_open(&h, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        char *bytes = random_bytes(&h, sizes[i]), id[48];
        struct stat st;
        char path[80];

        assert_int_equal(house_add_file(&h, bytes, sizes[i]), 0);
        memcpy(id, h.id, 48);
        assert_true(str_starts(id, "file-"));
        house_restart(&h);
        assert_int_equal(house_get_file(&h, id), 0);
        assert_int_equal(h.file.bytes, sizes[i]);
        assert_string_equal(h.filename, "input.jsonl");
        assert_int_equal(h.file.expires_ms, 0);
        snprintf(path, sizeof(path), "files/%s", id);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, sizes[i]);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_content(&h, id, bytes, sizes[i]);
        free(bytes);
    }
    assert_int_equal(house_count_files(&h), ARRAY_SIZE(sizes));
    assert_int_equal(house_get_file(&h, "file-0123456789abcdef01234567"), -ENOENT);
    assert_int_equal(house_get_file(&h, ""), -ENOENT);
    house_close(&h);
}

/* A name that is none of ours reaches no path. */
static void test_strange_names(void **state)
{
    static const char *const names[] = { "",
                                         "file-",
                                         "../berth.yaml",
                                         "file-../../berth.yaml",
                                         "file-0123456789abcdef0123456/",
                                         "berth.yaml" };
    struct house h;

    house_open(&h, NULL);
    assert_int_equal(house_add_file(&h, "x", 1), 0); /* so that files/ is there */
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        assert_null(house_content(&h, names[i]));
        assert_int_equal(h.result, -ENOENT);
        assert_int_equal(house_remove_file(&h, names[i]), -ENOENT);
    }
    assert_int_equal(access("berth.yaml", F_OK), 0);
    house_close(&h);
}

static void test_limits(void **state)
{
    struct house h;
    char *bytes, first[48];

    house_open(&h, "batches: {max_file_size: 700KiB, max_files_bytes: 1MiB}\n");
    bytes = random_bytes(&h, 1 << 20);
    assert_int_equal(house_add_file(&h, bytes, 700 * 1024 + 1), -EFBIG);
    assert_int_equal(house_add_file(&h, bytes, 700 * 1024), 0);
    memcpy(first, h.id, 48);
    assert_int_equal(house_add_file(&h, bytes, 324 * 1024 + 1), -EDQUOT);
    assert_non_null(strstr(h.error, "batches.max_files_bytes"));
    house_restart(&h);
    assert_int_equal(house_add_file(&h, bytes, 324 * 1024 + 1), -EDQUOT);
    assert_int_equal(house_add_file(&h, bytes, 324 * 1024), 0);
    assert_int_equal(house_add_file(&h, bytes, 1), -EDQUOT);
    assert_int_equal(house_remove_file(&h, first), 0);
    assert_int_equal(house_add_file(&h, bytes, 700 * 1024), 0);
    house_settle(&h);
    assert_int_equal(house_count_files(&h), 2);
    free(bytes);
    house_close(&h);
}

/* ---- pages ---- */

static void on_files(void *arg, int result, struct batch_file *const *files, size_t count,
                     bool more, const struct error *e)
{
    struct house *h = arg;

    assert_int_equal(h->result, 1);
    h->result = result;
    h->count = count;
    h->more = more;
    for (size_t i = 0; i < count; i++) {
        memcpy(h->ids[i], files[i]->public_id, 48);
    }
    (void)e;
}

static int list(struct house *h, struct batch_files_query q)
{
    h->result = 1;
    batches_list_files(h->b, &q, on_files, h);
    house_settle(h);
    return h->result;
}

static void test_pages(void **state)
{
    struct house h;
    char ids[5][48];

    house_open(&h, NULL);
    assert_int_equal(list(&h, (struct batch_files_query){ .limit = 10 }), 0);
    assert_int_equal(h.count, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(house_add_file(&h, "x", 1), 0);
        memcpy(ids[i], h.id, 48);
    }
    assert_int_equal(list(&h, (struct batch_files_query){ .limit = 2 }), 0);
    assert_int_equal(h.count, 2);
    assert_true(h.more);
    assert_string_equal(h.ids[0], ids[4]);
    assert_int_equal(list(&h, (struct batch_files_query){ .limit = 3, .after = ids[3] }), 0);
    assert_int_equal(h.count, 3);
    assert_false(h.more);
    assert_string_equal(h.ids[2], ids[0]);
    assert_int_equal(
        list(&h, (struct batch_files_query){ .limit = 9, .after = ids[1], .ascending = true }), 0);
    assert_int_equal(h.count, 3);
    assert_string_equal(h.ids[0], ids[2]);
    assert_int_equal(list(&h, (struct batch_files_query){ .limit = 9, .purpose = "batch_output" }),
                     0);
    assert_int_equal(h.count, 0);
    assert_int_equal(list(&h, (struct batch_files_query){ .limit = 9, .after = "file-x" }),
                     -ENOENT);
    house_close(&h);
}

/* ---- ends ---- */

static int told; /* 1: not yet, 2: must not be */
static void on_told(void *arg, int result, const struct batch_file *f, const struct error *e)
{
    assert_int_not_equal(told, 2);
    told = result;
    (void)arg, (void)f, (void)e;
}

/* Comes true when the upload is told, or after so many looks. */
static bool is_time(void *looks)
{
    return told != 1 || --*(int *)looks <= 0;
}

static void test_cancelled_upload(void **state)
{
    struct house h;
    char *bytes;
    int cancelled = 0;

    house_open(&h, "batches: {max_files_bytes: 10MiB}\n");
    bytes = random_bytes(&h, 8 << 20);
    for (int turn = 1; turn < 40; turn++) {
        char *copy = xmemdup(bytes, 8 << 20);
        struct batch_upload *u;
        int looks = turn;

        told = 1;
        u = batches_add_file(h.b, "f", "batch", (struct span){ copy, 8 << 20 }, 0, on_told, &h);
        sim_run_until(h.w, is_time, &looks, 1000);
        if (told == 1) {
            told = 2;
            cancelled++;
            batches_cancel_upload(u);
        }
        free(copy); /* never looked at again */
        house_settle(&h);
        if (house_count_files(&h) > 0) { /* it was too late: all of it stands */
            assert_int_equal(list(&h, (struct batch_files_query){ .limit = 1 }), 0);
            assert_int_equal(h.count, 1);
            assert_int_equal(house_remove_file(&h, strcpy(h.id, h.ids[0])), 0);
            house_settle(&h);
        }
        assert_int_equal(house_count_files(&h), 0);
    }
    assert_in_range(cancelled, 5, 38);
    assert_int_equal(house_add_file(&h, bytes, 8 << 20), 0); /* all of the quota is back */
    free(bytes);
    house_close(&h);
}

static int ended;
static void on_ended(void *arg, int result, const struct batch_file *f, const struct error *e)
{
    ended = result;
    (void)arg, (void)f, (void)e;
}

static void test_down_while_uploading(void **state)
{
    struct house h;
    char *bytes;

    house_open(&h, NULL);
    bytes = random_bytes(&h, 8 << 20);
    ended = 1;
    batches_add_file(h.b, "f", "batch", (struct span){ bytes, 8 << 20 }, 0, on_ended, NULL);
    sim_run_for(h.w, 0);
    house_restart(&h);
    assert_true(ended <= 0); /* answered */
    assert_int_equal(house_count_files(&h), house_number(&h, "SELECT count(*) FROM batch_files"));
    free(bytes);
    house_close(&h);
}

static void test_retention(void **state)
{
    struct house h;
    struct buf input = BUF_INIT(1 << 20);
    char batch[48], in[48];

    house_open(&h, "batches: {keep: 1h}\n");
    house_input(&input, 20);
    assert_int_equal(house_add_file(&h, buf_data(&input), input.len), 0);
    memcpy(in, h.id, 48);
    assert_int_equal(house_submit(&h, h.id, "24h"), 0);
    memcpy(batch, h.id, 48);
    assert_int_equal(house_finish(&h, batch, 10000), BATCH_COMPLETED);
    assert_int_equal(house_count_files(&h), 3);
    sim_run_for(h.w, 50 * 60 * 1000);
    assert_int_equal(house_count_files(&h), 3);
    sim_run_for(h.w, 21 * 60 * 1000);
    assert_int_equal(house_count_files(&h), 1); /* the input stays until somebody removes it */
    assert_int_equal(house_get_file(&h, in), 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM batches"), 0);
    /* An input whose own time is over stays while it is needed. */
    h.result = 1;
    h.places = 0;
    batches_add_file(h.b, "f", "batch", buf_span(&input), 60000, on_ended, &h);
    house_settle(&h);
    assert_int_equal(ended, 0);
    assert_int_equal(list(&h, (struct batch_files_query){ .limit = 1 }), 0);
    memcpy(in, h.ids[0], 48);
    assert_int_equal(house_submit(&h, in, "2h"), 0);
    memcpy(batch, h.id, 48);
    sim_run_for(h.w, 3600 * 1000);
    assert_int_equal(house_get_file(&h, in), 0);
    assert_int_equal(house_finish(&h, batch, 2 * 3600 * 1000), BATCH_EXPIRED);
    sim_run_for(h.w, 11 * 60 * 1000);
    assert_int_equal(house_get_file(&h, in), -ENOENT);
    buf_finish(&input);
    house_close(&h);
}

/* After a power cut: a file that was told as stored is whole, and there is a row for every file. */
static void test_crash_anywhere(void **state)
{
    bool cut = true;

    for (uint64_t n = 1; cut; n++) {
        struct house h;
        char *bytes, kept[48], id[48] = "";

        house_open(&h, NULL);
        bytes = random_bytes(&h, 300000);
        assert_int_equal(house_add_file(&h, bytes, 300000), 0);
        memcpy(kept, h.id, 48);
        crash_disk_cut_after(h.disk, n);
        if (house_add_file(&h, bytes, 200000) == 0) {
            memcpy(id, h.id, 48);
        }
        cut = crash_disk_is_cut(h.disk);
        house_restart(&h);
        assert_content(&h, kept, bytes, 300000);
        if (*id) {
            assert_int_equal(house_get_file(&h, id), 0);
            assert_content(&h, id, bytes, 200000);
        }
        assert_int_equal(house_count_files(&h),
                         house_number(&h, "SELECT count(*) FROM batch_files"));
        free(bytes);
        house_close(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stored_and_read),  cmocka_unit_test(test_strange_names),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_pages),
        cmocka_unit_test(test_cancelled_upload), cmocka_unit_test(test_down_while_uploading),
        cmocka_unit_test(test_retention),        cmocka_unit_test(test_crash_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
