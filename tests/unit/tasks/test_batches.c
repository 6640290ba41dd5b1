// SPDX-License-Identifier: Apache-2.0
/*
 * Batches from the input file to the result files: every line is answered once, in its order and in
 * the right file; what is wrong with an input is told before anything runs; a cancel, the end of
 * the time, a model that goes, and a crash at any operation of the disk leave whole results.
 */
#include "batch_house.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "base/worker.h"
#include "codec/json.h"
#include "http/server.h"

/* ---- what stands in the files ---- */

/* Calls fn with each line of a file, and frees it. Returns how many. */
static int walk_lines(struct house *h, const char *file, void (*fn)(void *arg, const json_t *line),
                      void *arg)
{
    char *text = *file ? house_content(h, file) : NULL;
    struct span left = span_of(text), line;
    int count = 0;

    if (*file && !text) {
        fail_msg("file %s is not there", file);
    }
    while (left.n > 0) {
        struct error err = { 0 };
        json_t *json;

        line = span_cut(&left, '\n');
        if (json_read(line, JSON_BYTES_MAX, &json, &err) < 0) {
            fail_msg("%.*s: %s", SPAN_ARG(line), err.text);
        }
        fn(arg, json);
        json_decref(json);
        count++;
    }
    free(text);
    return count;
}

struct seen {
    bool good;
    int last; /* number in the custom_id of the line before */
    int lines[2000];
    int codes[2000]; /* status, or 0 for an error */
    char code[40];   /* of the last error */
};

static const json_t *at(const json_t *json, const char *a, const char *b)
{
    const json_t *inner = json_object_get(json, a);

    return b ? json_object_get(inner, b) : inner;
}

static void see(void *arg, const json_t *line)
{
    struct seen *s = arg;
    const char *custom = json_string_value(at(line, "custom_id", NULL));
    int n;

    assert_int_equal(sscanf(custom, "id-%d", &n), 1);
    assert_true(n > s->last); /* in the order of lines, and so none twice in this file */
    s->last = n;
    s->lines[n]++;
    assert_true(str_starts(json_string_value(at(line, "id", NULL)), "batch_req_"));
    if (json_is_null(at(line, "response", NULL))) {
        assert_false(s->good);
        snprintf(s->code, sizeof(s->code), "%s", json_string_value(at(line, "error", "code")));
        assert_non_null(json_string_value(at(line, "error", "message")));
        return;
    }
    assert_true(json_is_null(at(line, "error", NULL)));
    s->codes[n] = (int)json_integer_value(at(line, "response", "status_code"));
    assert_int_equal(s->good, s->codes[n] == 200);
    assert_non_null(json_string_value(at(line, "response", "request_id")));
    assert_int_equal(json_integer_value(at(at(line, "response", "body"), "n", NULL)), n);
}

/* Reads both files of the batch that was asked for last. */
static struct seen *see_files(struct house *h)
{
    struct seen *s = xcalloc(1, sizeof(*s));
    const struct batch b = h->batch;
    int good, bad;

    s->good = true;
    good = walk_lines(h, b.output_file, see, s);
    s->good = false;
    s->last = 0;
    bad = walk_lines(h, b.error_file, see, s);
    assert_int_equal(good + bad, b.total);
    assert_int_equal(good, b.completed);
    h->batch = b;
    return s;
}

/* Every request of house_input was answered as it says. */
static void check_whole(struct house *h, int n)
{
    struct seen *s = see_files(h);

    for (int i = 1; i <= n; i++) {
        const int code = i % 7 == 0 ? 400 : i % 11 == 0 ? 0 : 200;

        if (s->lines[i] != 1 || s->codes[i] != code) {
            fail_msg("line %d stands %d times, with %d and not %d", i, s->lines[i], s->codes[i],
                     code);
        }
    }
    free(s);
}

static void begin(struct house *h, int n, char batch[48])
{
    struct buf input = BUF_INIT(16 << 20);

    house_input(&input, n);
    assert_int_equal(house_add_file(h, buf_data(&input), input.len), 0);
    assert_int_equal(house_submit(h, h->id, "24h"), 0);
    memcpy(batch, h->id, 48);
    buf_finish(&input);
}

/* Of the batch that was submitted last. */
static enum batch_state finish_last(struct house *h, uint64_t limit_ms)
{
    char batch[48];

    memcpy(batch, h->id, 48);
    return house_finish(h, batch, limit_ms);
}

static void test_every_line_is_answered(void **state)
{
    struct house h;
    char batch[48], input[48];

    house_open(&h, NULL);
    begin(&h, 450, batch);
    memcpy(input, h.batch.input_file, 48);
    assert_int_equal(h.batch.state, BATCH_VALIDATING);
    sim_run_for(h.w, 20);
    assert_int_equal(house_remove_file(&h, input), -EBUSY); /* while it is needed */
    assert_int_equal(house_finish(&h, batch, 100000), BATCH_COMPLETED);
    assert_int_equal(h.batch.total, 450);
    assert_true(h.batch.in_progress_ms && h.batch.finalizing_ms && h.batch.completed_ms);
    assert_true(!h.batch.cancelled_ms && !h.batch.expired_ms && !h.batch.failed_ms);
    assert_int_equal(h.batch.failed, 450 - h.batch.completed);
    assert_int_equal(h.answered, 450);
    check_whole(&h, 450);
    assert_int_equal(house_get_file(&h, h.batch.output_file), 0);
    assert_true(h.file.expires_ms > h.file.created_ms);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks"), 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM batches WHERE open = 1"), 0);
    assert_int_equal(house_count_files(&h), 3);
    assert_int_equal(house_remove_file(&h, input), 0);
    house_settle(&h);
    assert_int_equal(house_count_files(&h), 2);
    house_close(&h);
}

static void test_counts_are_live(void **state)
{
    struct house h;
    char batch[48];

    house_open(&h, NULL);
    h.places = 1;
    begin(&h, 40, batch);
    while (h.answered < 20) {
        sim_run_for(h.w, 1);
    }
    h.holds = true;
    house_settle(&h);
    assert_int_equal(house_state(&h, batch), BATCH_IN_PROGRESS);
    assert_int_equal(h.batch.total, 40);
    assert_int_equal(h.batch.completed + h.batch.failed, h.answered);
    assert_int_equal(h.batch.failed, 20 / 7 + 20 / 11); /* so the first ones went first */
    house_restart(&h);
    house_settle(&h);
    assert_int_equal(house_state(&h, batch), BATCH_IN_PROGRESS);
    assert_int_equal(h.batch.completed + h.batch.failed, 20);
    h.holds = false;
    house_restart(&h);
    assert_int_equal(house_finish(&h, batch, 100000), BATCH_COMPLETED);
    check_whole(&h, 40);
    house_close(&h);
}

/* Lines of one piece may name many models; a restart knows all of them. */
static void test_many_models(void **state)
{
    struct house h;
    struct buf input = BUF_INIT(1 << 20);
    char batch[48];

    house_open(&h, NULL);
    house_add_model(&h, "n");
    house_add_model(&h, "o");
    for (int i = 1; i <= 30; i++) {
        buf_printf(&input,
                   "{\"custom_id\":\"id-%d\",\"method\":\"POST\",\"url\":"
                   "\"/v1/chat/completions\",\"body\":{\"n\":%d,\"model\":\"%c\"}}\n",
                   i, i, "mno"[i % 3]);
    }
    h.holds = true;
    assert_int_equal(house_add_file(&h, buf_data(&input), input.len), 0);
    assert_int_equal(house_submit(&h, h.id, "24h"), 0);
    memcpy(batch, h.id, 48);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks"), 30);
    h.holds = false;
    house_restart(&h);
    assert_int_equal(house_finish(&h, batch, 10000), BATCH_COMPLETED);
    assert_int_equal(h.batch.completed, 30);
    free(see_files(&h));
    buf_finish(&input);
    house_close(&h);
}

/* ---- inputs that are wrong ---- */

#define LINE(id, more)                                                                             \
    "{\"custom_id\":\"" id "\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\"," more "}\n"
#define BODY "\"body\":{\"model\":\"m\",\"n\":1}"

static void test_wrong_lines(void **state)
{
    static const struct {
        const char *text, *code;
        int line;
    } rows[] = {
        { "", "empty_file", 0 },
        { "\n \n\r\n", "empty_file", 0 },
        { "not json\n", "invalid_json_line", 1 },
        { "[]\n", "invalid_json_line", 1 },
        { LINE("a", BODY) "\n{\n", "invalid_json_line", 3 },
        { LINE("a", BODY) LINE("b", BODY) LINE("a", BODY), "duplicate_custom_id", 3 },
        { LINE("", BODY), "invalid_custom_id", 1 },
        { LINE("01234567890123456789012345678901234567890123456789012345678901234", BODY),
          "invalid_custom_id", 1 },
        { "{\"custom_id\":7,\"method\":\"POST\",\"url\":\"/v1/chat/completions\"," BODY "}",
          "invalid_custom_id", 1 },
        { "{\"method\":\"POST\",\"url\":\"/v1/chat/completions\"," BODY "}",
          "missing_required_parameter", 1 },
        { "{\"custom_id\":\"a\",\"method\":\"GET\",\"url\":\"/v1/chat/completions\"," BODY "}",
          "invalid_method", 1 },
        { "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\"," BODY "}",
          "url_mismatch", 1 },
        { LINE("a", "\"body\":[]"), "missing_required_parameter", 1 },
        { LINE("a", "\"body\":{}"), "missing_required_parameter", 1 },
        { LINE("a", "\"body\":{\"model\":3}"), "missing_required_parameter", 1 },
        { LINE("a", "\"body\":{\"model\":\"m\",\"stream\":true}"), "invalid_request", 1 },
        { LINE("a", BODY) LINE("b", "\"body\":{\"model\":\"gone\"}"), "model_not_found", 2 },
    };
    struct house h;

    house_open(&h, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        char batch[48], code[64];
        json_t *errors;

        assert_int_equal(house_add_file(&h, rows[i].text, strlen(rows[i].text)), 0);
        assert_int_equal(house_submit(&h, h.id, "24h"), 0);
        memcpy(batch, h.id, 48);
        if (house_finish(&h, batch, 1000) != BATCH_FAILED) {
            fail_msg("taken: %s", rows[i].text);
        }
        errors = json_loads(h.errors, 0, NULL);
        assert_int_equal(json_array_size(errors), 1);
        snprintf(code, sizeof(code), "%s",
                 json_string_value(at(json_array_get(errors, 0), "code", NULL)));
        assert_string_equal(code, rows[i].code);
        assert_int_equal(json_integer_value(at(json_array_get(errors, 0), "line", NULL)),
                         rows[i].line);
        assert_true(json_string_length(at(json_array_get(errors, 0), "message", NULL)) > 10);
        json_decref(errors);
        assert_int_equal(h.batch.total, 0);
    }
    assert_int_equal(h.answered, 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks"), 0);
    house_close(&h);
}

static void test_bounds_of_an_input(void **state)
{
    static const char head[] =
        "{\"custom_id\":\"id-1\",\"method\":\"POST\",\"url\":"
        "\"/v1/chat/completions\",\"body\":{\"model\":\"m\",\"n\":1,\"x\":\"";
    struct house h;
    struct buf b = BUF_INIT(8 << 20);
    json_t *errors;

    house_open(&h, "batches: {max_requests: 300}\n");
    for (int i = 0; i < 500; i++) {
        buf_puts(&b, "x\n");
    }
    assert_int_equal(house_add_file(&h, buf_data(&b), b.len), 0);
    assert_int_equal(house_submit(&h, h.id, "24h"), 0);
    assert_int_equal(finish_last(&h, 1000), BATCH_FAILED);
    errors = json_loads(h.errors, 0, NULL);
    assert_int_equal(json_array_size(errors), 100);
    json_decref(errors);

    buf_clear(&b);
    house_input(&b, 301);
    assert_int_equal(house_add_file(&h, buf_data(&b), b.len), 0);
    assert_int_equal(house_submit(&h, h.id, "24h"), 0);
    assert_int_equal(finish_last(&h, 1000), BATCH_FAILED);
    assert_non_null(strstr(h.errors, "too_many_requests"));

    for (int over = 0; over < 2; over++) { /* a line of exactly a MiB, and of one byte more */
        buf_clear(&b);
        buf_puts(&b, head);
        while (b.len < 1024 * 1024 - 3 + (size_t)over) {
            buf_putc(&b, 'x');
        }
        buf_puts(&b, "\"}}\n");
        house_input(&b, 0);
        assert_int_equal(house_add_file(&h, buf_data(&b), b.len), 0);
        assert_int_equal(house_submit(&h, h.id, "24h"), 0);
        assert_int_equal(finish_last(&h, 5000), over ? BATCH_FAILED : BATCH_COMPLETED);
        if (over) {
            assert_non_null(strstr(h.errors, "line_too_long"));
        }
    }
    buf_finish(&b);
    house_close(&h);
}

static void count_taken(void *arg, int result, const struct batch *b, const struct error *e)
{
    *(int *)arg += result >= 0;
    assert_true(result >= 0 || result == -EAGAIN);
    (void)b;
    (void)e;
}

static void test_refused_orders(void **state)
{
    struct batch_order order = { .endpoint = "/v1/chat/completions", .completion_window_ms = 1000 };
    struct house h;
    char file[48];
    int taken = 0;

    house_open(&h, "batches: {max_active: 1}\n");
    h.holds = true;
    assert_int_equal(house_submit(&h, "file-nope", "24h"), -ENOENT);
    assert_non_null(strstr(h.error, "file-nope"));
    assert_int_equal(house_add_file(&h, LINE("a", BODY), strlen(LINE("a", BODY))), 0);
    memcpy(file, h.id, 48);
    assert_int_equal(house_submit(&h, file, "999ms"), -EINVAL);
    assert_int_equal(house_submit(&h, file, "367d"), -EINVAL);
    order.input_file = file;
    for (int i = 0; i < 3; i++) { /* all in one turn */
        batches_submit(h.b, &order, count_taken, &taken);
    }
    house_settle(&h);
    assert_int_equal(taken, 1);
    assert_int_equal(house_submit(&h, file, "24h"), -EAGAIN);
    house_settle(&h);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM batches"), 1);
    house_close(&h);
}

/* ---- ends before the end ---- */

static void test_cancel(void **state)
{
    struct house h;
    char batch[48];
    struct seen *s;

    house_open(&h, NULL);
    begin(&h, 300, batch);
    while (h.answered < 100) {
        sim_run_for(h.w, 1);
    }
    h.holds = true;
    assert_int_equal(house_cancel(&h, batch), 0);
    assert_int_equal(h.batch.state, BATCH_CANCELLING);
    assert_int_equal(house_finish(&h, batch, 10000), BATCH_CANCELLED);
    assert_true(h.batch.cancelling_ms && h.batch.cancelled_ms);
    s = see_files(&h);
    assert_string_equal(s->code, "batch_cancelled");
    assert_true(h.batch.completed + h.batch.failed >= 100 && h.batch.completed < 110);
    free(s);
    assert_int_equal(house_cancel(&h, batch), 0); /* once more changes nothing */
    assert_int_equal(h.batch.state, BATCH_CANCELLED);
    assert_int_equal(h.running, 0);
    assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks"), 0);
    assert_int_equal(house_cancel(&h, "batch_nope"), -ENOENT);

    /* Before it is validated: there is nothing to tell. */
    h.holds = false;
    begin(&h, 300, batch);
    assert_int_equal(house_cancel(&h, batch), 0);
    assert_int_equal(house_finish(&h, batch, 1000), BATCH_CANCELLED);
    assert_string_equal(h.batch.output_file, "");

    begin(&h, 10, batch);
    assert_int_equal(house_finish(&h, batch, 10000), BATCH_COMPLETED);
    assert_int_equal(house_cancel(&h, batch), -EBUSY);
    assert_non_null(strstr(h.error, "completed"));
    house_close(&h);
}

static void test_time_is_over(void **state)
{
    struct house h;
    struct buf input = BUF_INIT(1 << 20);
    char batch[48];
    struct seen *s;

    house_open(&h, NULL);
    h.places = 1;
    house_input(&input, 50);
    assert_int_equal(house_add_file(&h, buf_data(&input), input.len), 0);
    assert_int_equal(house_submit(&h, h.id, "1m"), 0);
    memcpy(batch, h.id, 48);
    while (h.answered < 10) {
        sim_run_for(h.w, 1);
    }
    h.holds = true;
    sim_run_for(h.w, 55000);
    assert_int_equal(house_state(&h, batch), BATCH_IN_PROGRESS);
    sim_run_for(h.w, 6000);
    assert_int_equal(house_finish(&h, batch, 2000), BATCH_EXPIRED);
    assert_true(h.batch.expired_ms && !h.batch.completed_ms && !h.batch.cancelled_ms);
    s = see_files(&h);
    assert_string_equal(s->code, "batch_expired");
    for (int i = 1; i <= 50; i++) {
        assert_int_equal(s->lines[i], 1);
        assert_int_equal(s->codes[i] != 0, i <= 10);
    }
    free(s);
    assert_int_equal(h.running, 0);

    /* It was over while berth was down. */
    h.holds = true;
    assert_int_equal(house_add_file(&h, buf_data(&input), input.len), 0);
    assert_int_equal(house_submit(&h, h.id, "1m"), 0);
    memcpy(batch, h.id, 48);
    house_settle(&h);
    house_down(&h);
    sim_run_for(h.w, 120000);
    house_up(&h);
    assert_int_equal(house_finish(&h, batch, 2000), BATCH_EXPIRED);
    buf_finish(&input);
    house_close(&h);
}

static void test_model_goes(void **state)
{
    struct house h;
    char batch[48];
    struct seen *s;

    house_open(&h, NULL);
    h.places = 2;
    begin(&h, 40, batch);
    while (h.answered < 10) {
        sim_run_for(h.w, 1);
    }
    house_remove_model(&h, "m");
    assert_int_equal(house_finish(&h, batch, 100000), BATCH_COMPLETED);
    s = see_files(&h);
    for (int i = 1; i <= 40; i++) {
        assert_int_equal(s->lines[i], 1);
    }
    assert_true(h.batch.completed < 15);
    assert_int_equal(h.batch.completed + h.batch.failed, 40); /* also those that were no tasks */
    free(s);
    house_close(&h);
}

static void on_begun(void *owner, const void *batch)
{
    *(bool *)owner |= ((const struct batch *)batch)->state == BATCH_IN_PROGRESS;
}

static bool is_set(void *flag)
{
    return *(bool *)flag;
}

/* It goes while the lines are still becoming tasks: those that came too late are told of, and count
 * as failed. */
static void test_model_goes_early(void **state)
{
    bool begun = false;
    struct listener watch = { .fn = on_begun, .owner = &begun };
    struct house h;
    char batch[48];
    struct seen *s;

    house_open(&h, NULL);
    h.holds = true;
    begin(&h, 1900, batch);
    notify_add(batches_signal(h.b), &watch);
    assert_true(sim_run_until(h.w, is_set, &begun, 10000));
    notify_remove(&watch);
    house_remove_model(&h, "m");
    assert_int_equal(house_finish(&h, batch, 100000), BATCH_COMPLETED);
    s = see_files(&h);
    assert_string_equal(s->code, "model_not_found"); /* of the last one */
    for (int i = 1; i <= 1900; i++) {
        assert_int_equal(s->lines[i], 1);
    }
    assert_int_equal(h.batch.completed + h.batch.failed, 1900);
    free(s);
    house_close(&h);
}

/* ---- a disk that fails ---- */

/* The results find no room: tried again, and no try leaves anything behind. */
static void test_no_room(void **state)
{
    struct rlimit limit, small;
    struct house h;
    char batch[48];

    house_open(&h, NULL);
    signal(SIGXFSZ, SIG_IGN);
    begin(&h, 250, batch);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 10000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    sim_run_for(h.w, 30000);
    assert_int_equal(house_state(&h, batch), BATCH_FINALIZING);
    assert_true(house_count_files(&h) <= 3); /* the input, and those of this try */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(house_finish(&h, batch, 10000), BATCH_COMPLETED);
    check_whole(&h, 250);
    house_settle(&h);
    assert_int_equal(house_count_files(&h), 3);
    house_close(&h);
}

/* A cancel that cannot be stored is refused: nobody waits until the store can be written again. */
static void test_cancel_that_is_not_stored(void **state)
{
    struct house h;
    char batch[48];

    house_open(&h, NULL);
    h.places = 1;
    begin(&h, 50, batch);
    while (h.answered < 10) {
        sim_run_for(h.w, 1);
    }
    h.holds = true;
    crash_disk_cut_after(h.disk, 1);
    assert_true(house_cancel(&h, batch) < 0);
    assert_true(h.error[0]);
    h.holds = false;
    house_restart(&h);
    assert_int_equal(house_finish(&h, batch, 10000), BATCH_COMPLETED);
    check_whole(&h, 50);
    house_close(&h);
}

/* ---- crashes ---- */

/* The power goes at one operation of the disk after another, until a batch comes through without:
 * each time every line stands once in the files in the end. */
static void test_crash_anywhere(void **state)
{
    const char *step = getenv("EVERY");
    const uint64_t every = step ? strtoull(step, NULL, 10) : 9;
    bool cut = true;

    for (uint64_t n = 1; cut; n += every) {
        struct house h;
        char batch[48], input[48];

        house_open(&h, NULL);
        begin(&h, 250, batch);
        memcpy(input, h.batch.input_file, 48);
        crash_disk_cut_after(h.disk, n);
        for (int ms = 0; ms < 2000 && !crash_disk_is_cut(h.disk); ms++) {
            sim_run_for(h.w, 1);
        }
        cut = crash_disk_is_cut(h.disk);
        sim_run_for(h.w, 20); /* what is under way sees the dead disk */
        house_restart(&h);
        if (house_finish(&h, batch, 100000) != BATCH_COMPLETED) {
            fail_msg("cut at %llu: %s", (unsigned long long)n, batch_state_name(h.batch.state));
        }
        check_whole(&h, 250);
        sim_run_for(h.w, 5000);
        assert_int_equal(house_number(&h, "SELECT count(*) FROM tasks"), 0);
        assert_int_equal(house_number(&h, "SELECT count(*) FROM batches WHERE open = 1"), 0);
        house_restart(&h);
        assert_int_equal(house_count_files(&h), 3); /* and nothing is left behind */
        assert_int_equal(house_number(&h, "SELECT count(*) FROM batch_files"), 3);
        house_close(&h);
    }
}

/* The house goes down in order at any moment: nothing is lost or leaked, nobody waits for ever. */
static void test_down_anywhere(void **state)
{
    for (int ms = 0; ms < 120; ms += 7) {
        struct house h;
        char batch[48];

        house_open(&h, NULL);
        begin(&h, 250, batch);
        sim_run_for(h.w, (uint64_t)ms);
        house_restart(&h);
        assert_int_equal(house_finish(&h, batch, 100000), BATCH_COMPLETED);
        check_whole(&h, 250);
        house_close(&h);
    }
}

/* ---- told to a webhook ---- */

static char told[4096];

static void on_hook(void *owner, struct http_exchange *x)
{
    const struct span body = http_exchange_body(x);

    snprintf(told, sizeof(told), "%.*s|%.*s",
             SPAN_ARG(http_header_get(http_exchange_head(x), "x-berth-event")), SPAN_ARG(body));
    http_respond(x, 204, NULL, SPAN(""));
    (void)owner;
}

static void on_submitted(void *arg, int result, const struct batch *b, const struct error *e)
{
    struct house *h = arg;

    h->result = result;
    if (result >= 0) {
        memcpy(h->id, b->public_id, 48);
    }
    (void)e;
}

static void test_webhook(void **state)
{
    struct house h;
    struct http_server *server;
    struct address where;
    struct batch_order order = { .endpoint = "/v1/chat/completions",
                                 .completion_window_ms = 3600000 };
    char input[48];

    house_open(&h, "webhooks: {allow: [\"127.0.0.1:9000\"]}\n");
    server = http_server_create(h.w, &(struct http_server_options){ .handle = on_hook });
    assert_int_equal(address_parse("127.0.0.1:9000", &where, NULL), 0);
    assert_int_equal(http_server_listen(server, &where, NULL, NULL, NULL), 0);
    assert_int_equal(house_add_file(&h, LINE("id-1", BODY), strlen(LINE("id-1", BODY))), 0);
    memcpy(input, h.id, 48);
    order.input_file = input;
    order.webhook = "http://elsewhere.example/hook";
    batches_submit(h.b, &order, on_submitted, &h);
    house_settle(&h);
    assert_int_equal(h.result, -EPERM);
    order.webhook = "http://127.0.0.1:9000/hook";
    batches_submit(h.b, &order, on_submitted, &h);
    house_settle(&h);
    assert_int_equal(h.result, 0);
    assert_int_equal(finish_last(&h, 10000), BATCH_COMPLETED);
    sim_run_for(h.w, 1000);
    assert_true(str_starts(told, "batch.completed|{\"event\":\"batch.completed\""));
    assert_non_null(strstr(told, h.batch.output_file));
    assert_int_equal(house_number(&h, "SELECT count(*) FROM webhooks"), 0);
    http_server_destroy(server);
    house_close(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_line_is_answered),
        cmocka_unit_test(test_counts_are_live),
        cmocka_unit_test(test_many_models),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_bounds_of_an_input),
        cmocka_unit_test(test_refused_orders),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_time_is_over),
        cmocka_unit_test(test_model_goes),
        cmocka_unit_test(test_model_goes_early),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_cancel_that_is_not_stored),
        cmocka_unit_test(test_crash_anywhere),
        cmocka_unit_test(test_down_anywhere),
        cmocka_unit_test(test_webhook),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
