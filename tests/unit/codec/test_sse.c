// SPDX-License-Identifier: Apache-2.0
/* The SSE reader: events at every cut, all line ends, the bound on what is held; and the writers.
 */
#include "unit.h"

#include "base/mem.h"
#include "sse_oracle.h"

static const char stream[] = "\xEF\xBB\xBF"
                             "data: {\"a\":1}\n\n"
                             ": ping\n\n"
                             "id: 7\r\nevent: note\r\ndata:one\r\ndata: two\r\n\r\n"
                             "data: x\r\r"
                             "data\n\n"
                             ":c\ndata: y\nother: z\n\n"
                             "event: no data\n\n\n"
                             "data: [DONE]\n\ndata: unfinished";

static size_t given_size(void *arg)
{
    size_t *sizes = arg; /* the first, then all others */
    size_t n = sizes[0];

    sizes[0] = sizes[1];
    return n;
}

static void every_cut_gives_the_same_events(void **state)
{
    for (size_t cut = 1; cut < sizeof(stream); cut++) {
        for (size_t later = 1; later < 40; later += 3) {
            sse_check(stream, sizeof(stream) - 1, 1 << 20, given_size, (size_t[]){ cut, later });
            sse_check(stream, sizeof(stream) - 1, 9, given_size, (size_t[]){ cut, later });
        }
    }
}

static void an_event_has_its_parts(void **state)
{
    struct sse_reader r;
    struct sse_event e;
    static const char text[] = "id: 7\nevent: note\ndata: a\ndata: b\n\nrest";

    sse_reader_init(&r, 100);
    sse_feed(&r, SPAN("id: 7\nevent: note\ndata: a\ndata: b\n\nrest"));
    assert_true(sse_next(&r, &e));
    assert_true(e.whole);
    assert_true(span_eq(e.id, "7"));
    assert_true(span_eq(e.name, "note"));
    assert_true(span_eq(e.data, "a\nb"));
    assert_int_equal(e.raw.n, sizeof(text) - 1 - 4);
    assert_false(sse_next(&r, &e));
    assert_true(sse_rest(&r, &e));
    assert_true(span_eq(e.raw, "rest"));
    assert_false(sse_rest(&r, &e));
    sse_reader_finish(&r);
}

static void a_whole_event_is_not_copied(void **state)
{
    static const char text[] = "data: abc\n\n";
    struct sse_reader r;
    struct sse_event e;

    sse_reader_init(&r, 0); /* even with no room to hold anything */
    sse_feed(&r, (struct span){ text, sizeof(text) - 1 });
    assert_true(sse_next(&r, &e));
    assert_ptr_equal(e.raw.p, text);
    assert_ptr_equal(e.data.p, text + 6);
    assert_int_equal(e.data.n, 3);
    assert_false(sse_next(&r, &e));
    sse_reader_finish(&r);
}

static void a_comment_does_not_wait_for_a_blank_line(void **state)
{
    struct sse_reader r;
    struct sse_event e;

    sse_reader_init(&r, 100);
    sse_feed(&r, SPAN(": ping\n"));
    assert_true(sse_next(&r, &e));
    assert_true(span_eq(e.raw, ": ping\n"));
    assert_null(e.data.p);
    assert_false(sse_next(&r, &e));
    sse_reader_finish(&r);
}

static void a_long_event_is_passed_on_unexamined(void **state)
{
    struct sse_reader r;
    struct sse_event e;

    sse_reader_init(&r, 10);
    sse_feed(&r, SPAN("data: 89"));
    assert_false(sse_next(&r, &e));
    sse_feed(&r, SPAN("0123"));
    assert_true(sse_next(&r, &e));
    assert_false(e.whole);
    assert_true(span_eq(e.raw, "data: 89"));
    assert_true(sse_next(&r, &e));
    assert_true(span_eq(e.raw, "0123"));
    assert_false(sse_next(&r, &e));
    sse_feed(&r, SPAN("4\n\ndata: b\n\n"));
    assert_true(sse_next(&r, &e));
    assert_true(span_eq(e.raw, "4\n\n"));
    assert_false(e.whole);
    assert_true(sse_next(&r, &e));
    assert_true(e.whole);
    assert_true(span_eq(e.data, "b"));
    assert_false(sse_next(&r, &e));
    sse_reader_finish(&r);
}

/* `first` fills what may be held, then comes the rest of the event: all of it is passed on, up to
 * the blank line. */
static void check_passed_on(const char *first, const char *rest)
{
    struct sse_reader r;
    struct sse_event e;
    size_t n = 0;

    sse_reader_init(&r, strlen(first));
    sse_feed(&r, span_of(first));
    assert_false(sse_next(&r, &e));
    sse_feed(&r, span_of(rest));
    while (sse_next(&r, &e)) {
        assert_false(e.whole);
        n += e.raw.n;
    }
    assert_int_equal(n, strlen(first) + strlen(rest));
    sse_feed(&r, SPAN("data: next\n\n"));
    assert_true(sse_next(&r, &e));
    assert_true(span_eq(e.data, "next"));
    assert_false(sse_next(&r, &e));
    sse_reader_finish(&r);
}

static void what_is_passed_on_ends_where_the_event_ends(void **state)
{
    check_passed_on("data", ":x\ndata: y\n\n");
    check_passed_on("data: x", "\ndata: y\n\n");
    check_passed_on("data: x\n", ":c\ndata: y\n\n");
    check_passed_on("data: x\r", "\ndata: y\r\n\r\n");
    check_passed_on("data: x\n", "\n");
}

static uint64_t random_state;

static size_t random_size(void *arg)
{
    size_t limit = *(size_t *)arg;

    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return 1 + (size_t)(random_state >> 33) % limit;
}

static void random_streams_come_out_whole(void **state)
{
    static const char *const pieces[] = {
        "data", ":",     " ",        "\n", "\r",        "\r\n",
        "\n\n", "id: 1", "event: e", "x",  "data: y\n", "data: long enough to matter\r\n\r\n"
    };
    size_t many = ARRAY_SIZE(pieces), limits[] = { 1, 4, 100 };

    random_state = test_seed("sse");
    for (int i = 0; i < 5000; i++) {
        struct buf b = BUF_INIT(1 << 20);

        for (size_t n = random_size(&(size_t){ 60 }); n > 0; n--) {
            buf_puts(&b, pieces[random_size(&many) - 1]);
        }
        for (size_t k = 0; k < ARRAY_SIZE(limits); k++) {
            sse_check(buf_data(&b), b.len, 1 << 20, random_size, &limits[k]);
            sse_check(buf_data(&b), b.len, random_size(&(size_t){ 30 }), random_size, &limits[k]);
        }
        buf_finish(&b);
    }
}

static void writers_write_what_the_reader_reads(void **state)
{
    struct buf b = BUF_INIT(1000);
    struct sse_reader r;
    struct sse_event e;

    assert_int_equal(sse_write_comment(&b, "hello"), 0);
    assert_int_equal(sse_write_event(&b, "note", "12", SPAN("a\r\nb\rc\n")), 0);
    assert_int_equal(sse_write_event(&b, NULL, NULL, SPAN("")), 0);
    assert_string_equal(buf_data(&b), ": hello\n\nid: 12\nevent: note\ndata: a\ndata: b\ndata: c\n"
                                      "data: \n\ndata: \n\n");
    sse_reader_init(&r, 1000);
    sse_feed(&r, buf_span(&b));
    assert_true(sse_next(&r, &e) && sse_next(&r, &e) && sse_next(&r, &e));
    assert_true(span_eq(e.data, "a\nb\nc\n"));
    assert_true(sse_next(&r, &e));
    assert_non_null(e.data.p);
    assert_int_equal(e.data.n, 0);
    assert_false(sse_next(&r, &e));
    sse_reader_finish(&r);
    buf_finish(&b);
}

static void a_full_buffer_takes_no_part_of_an_event(void **state)
{
    struct buf b = BUF_INIT(20);

    assert_int_equal(sse_write_event(&b, NULL, NULL, SPAN("12345")), 0);
    assert_int_equal(sse_write_event(&b, NULL, NULL, SPAN("12345")), -EFBIG);
    assert_int_equal(sse_write_comment(&b, "123456789"), -EFBIG);
    assert_string_equal(buf_data(&b), "data: 12345\n\n");
    assert_int_equal(sse_write_comment(&b, "1"), 0);
    buf_finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_events),
        cmocka_unit_test(an_event_has_its_parts),
        cmocka_unit_test(a_whole_event_is_not_copied),
        cmocka_unit_test(a_comment_does_not_wait_for_a_blank_line),
        cmocka_unit_test(a_long_event_is_passed_on_unexamined),
        cmocka_unit_test(what_is_passed_on_ends_where_the_event_ends),
        cmocka_unit_test(random_streams_come_out_whole),
        cmocka_unit_test(writers_write_what_the_reader_reads),
        cmocka_unit_test(a_full_buffer_takes_no_part_of_an_event),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
