// SPDX-License-Identifier: Apache-2.0
/* /api/events: replay, live, both together without gaps or doubles, filters, and the reader that
 * does not read. */
#include <string.h>

#include "base/mem.h"
#include "fixture.h"

enum { SEEN_MAX = 20000 };

/* A reader of the stream. */
struct reader {
    struct http_call *call;
    int status;
    struct buf line;
    bool in_gap, in_sample;
    int64_t ids[SEEN_MAX];
    size_t count, comments, samples;
    int64_t gap_from, gap_to;
    bool ended;
};

static void on_line(struct reader *r, const char *line)
{
    if (str_starts(line, ": ")) {
        r->comments++;
    } else if (str_starts(line, "event: ")) {
        r->in_gap = str_eq(line, "event: gap");
        r->in_sample = str_eq(line, "event: sample");
    } else if (str_starts(line, "data: ")) {
        json_t *json = json_loads(line + 6, 0, NULL);

        assert_non_null(json);
        if (r->in_gap) {
            r->gap_from = json_integer_value(json_object_get(json, "from"));
            r->gap_to = json_integer_value(json_object_get(json, "to"));
        } else if (r->in_sample) {
            assert_true(json_is_object(json_object_get(json, "service")));
            assert_int_equal(json_array_size(json_object_get(json, "devices")), 2);
            assert_true(json_is_object(json_object_get(json, "host")));
            r->samples++;
        } else {
            assert_in_range(r->count, 0, SEEN_MAX - 1);
            assert_true(json_is_string(json_object_get(json, "at")));
            assert_true(json_is_object(json_object_get(json, "data")));
            r->ids[r->count++] = json_integer_value(json_object_get(json, "id"));
        }
        json_decref(json);
    }
}

static void on_head(void *owner, const struct http_head *head)
{
    ((struct reader *)owner)->status = head->status;
}

static void on_body(void *owner, const char *p, size_t n)
{
    struct reader *r = owner;

    for (size_t i = 0; i < n; i++) {
        if (p[i] != '\n') {
            buf_putc(&r->line, p[i]);
            continue;
        }
        on_line(r, buf_data(&r->line));
        buf_clear(&r->line);
    }
}

static void on_end(void *owner)
{
    ((struct reader *)owner)->ended = true;
}

static void on_fail(void *owner, const struct error *e)
{
    ((struct reader *)owner)->ended = true;
}

static struct reader *read_stream(struct fixture *f, const char *path, const char *headers)
{
    static const struct http_call_handler handler = { on_head, on_body, on_end, on_fail };
    const struct http_call_request request = { .method = "GET", .path = path, .headers = headers };
    struct reader *r = xcalloc(1, sizeof(*r));

    buf_init(&r->line, 1 << 20);
    r->call = http_call_start(f->client, &request, &handler, r);
    return r;
}

static void reader_free(struct reader *r)
{
    if (!r->ended) {
        http_call_cancel(r->call);
    }
    buf_finish(&r->line);
    free(r);
}

static void emit(struct fixture *f, unsigned count, const char *subject)
{
    for (unsigned i = 0; i < count; i++) {
        events_emit(f->events, i % 2 ? EVENT_MODEL_WANTED : EVENT_MODEL_UNWANTED, subject,
                    json_pack("{s:i}", "number", (int)i));
    }
}

/* ids first, first + 1, … in order, each once. */
static void expect_row(const struct reader *r, int64_t first, size_t count)
{
    assert_int_equal(r->count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(r->ids[i], first + (int64_t)i);
    }
}

static void test_live(void **state)
{
    struct fixture *f = fixture_create();
    struct reader *r;

    emit(f, 5, "before");
    sim_run_for(f->world, 100);
    r = read_stream(f, "/api/events", NULL);
    sim_run_for(f->world, 100);
    assert_int_equal(r->status, 200);
    expect_row(r, 0, 0);
    emit(f, 3, "now");
    sim_run_for(f->world, 100);
    expect_row(r, events_last_id(f->events) - 2, 3);
    sim_run_for(f->world, 31000);
    assert_int_equal(r->comments, 2);
    assert_int_equal(r->samples, 3);
    expect_row(r, events_last_id(f->events) - 2, 3);
    reader_free(r);
    r = read_stream(f, "/api/events?kind=sample", NULL);
    emit(f, 3, "others");
    sim_run_for(f->world, 20000);
    assert_int_equal(r->samples, 2);
    expect_row(r, 0, 0);
    reader_free(r);
    r = read_stream(f, "/api/events?kind=model_wanted", NULL);
    sim_run_for(f->world, 20000);
    assert_int_equal(r->samples, 0);
    reader_free(r);
    fixture_destroy(f);
}

static void test_replay(void **state)
{
    struct fixture *f = fixture_create();
    struct reader *r;
    int64_t last;

    emit(f, 1500, "many"); /* more than the ring holds, several pages */
    sim_run_for(f->world, 1000);
    last = events_last_id(f->events);
    assert_in_range(last, 1500, 1600);
    r = read_stream(f, "/api/events", "Last-Event-ID: 3\r\n");
    sim_run_for(f->world, 1000);
    expect_row(r, 4, (size_t)(last - 3));
    emit(f, 2, "after");
    sim_run_for(f->world, 1000);
    expect_row(r, 4, (size_t)(last - 3) + 2);
    reader_free(r);

    r = read_stream(f, "/api/events?after=0", NULL);
    sim_run_for(f->world, 1000);
    expect_row(r, 1, (size_t)last + 2);
    assert_int_equal(r->gap_to, 0);
    reader_free(r);
    fixture_destroy(f);
}

/* Something done in every turn of the loop, so that it falls into every gap that there is. */
struct ticker {
    struct fixture *f;
    unsigned turns;
    struct reader *leaving; /* its call is cancelled when the turns are over */
};

static void on_turn(void *arg)
{
    struct ticker *t = arg;

    if (!t->leaving) {
        emit(t->f, 1, "new");
    }
    if (t->turns-- > 0) {
        world_post(t->f->world, on_turn, t);
    } else if (t->leaving) {
        http_call_cancel(t->leaving->call);
        t->leaving->ended = true;
    }
}

/* Events keep coming while the old ones are replayed: each is seen once, in order. */
static void test_replay_meets_live(void **state)
{
    struct fixture *f = fixture_create();
    struct ticker ticker = { .f = f, .turns = 400 };
    struct reader *r;

    emit(f, 700, "old");
    sim_run_for(f->world, 1000);
    r = read_stream(f, "/api/events?after=0", NULL);
    on_turn(&ticker);
    sim_run_for(f->world, 5000);
    expect_row(r, 1, 700 + 401);
    emit(f, 2, "later");
    sim_run_for(f->world, 100);
    expect_row(r, 1, 700 + 403);
    reader_free(r);
    fixture_destroy(f);
}

/* A reader that leaves in the middle of its replay, in any turn, takes nothing with it. */
static void test_leaves(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;

    emit(f, 1500, "old");
    sim_run_for(f->world, 1000);
    for (unsigned turns = 0; turns < 60; turns++) {
        struct ticker ticker = { .f = f, .turns = turns };

        ticker.leaving = read_stream(f, "/api/events?after=0", NULL);
        on_turn(&ticker);
        sim_run_for(f->world, 100);
        assert_true(ticker.leaving->ended);
        reader_free(ticker.leaving);
        emit(f, 1, "still");
    }
    a = ask(f, "GET", "/health", NULL);
    assert_int_equal(a.status, 200);
    answer_finish(&a);
    fixture_destroy(f);
}

static void test_filters(void **state)
{
    struct fixture *f = fixture_create();
    struct reader *kind, *subject;

    emit(f, 4, "a");
    emit(f, 4, "b");
    sim_run_for(f->world, 100);
    kind = read_stream(f, "/api/events?after=0&kind=model_wanted", NULL);
    subject = read_stream(f, "/api/events?after=0&subject=b", NULL);
    sim_run_for(f->world, 100);
    emit(f, 2, "b");
    sim_run_for(f->world, 100);
    assert_int_equal(kind->count, 5);
    assert_int_equal(subject->count, 6);
    reader_free(kind);
    reader_free(subject);
    ask_expect(f, 400, "GET", "/api/events?kind=nonsense", NULL);
    fixture_destroy(f);
}

static void test_list(void **state)
{
    struct fixture *f = fixture_create();
    struct answer a;
    json_t *events;

    emit(f, 30, "x");
    sim_run_for(f->world, 100);
    a = ask_with(f, "GET", "/api/events?limit=10&newest=1", NULL, "Accept: application/json\r\n");
    assert_int_equal(a.status, 200);
    events = json_object_get(a.json, "events");
    assert_int_equal(json_array_size(events), 10);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(events, 0), "id")),
                     events_last_id(f->events));
    answer_finish(&a);
    a = ask_with(f, "GET", "/api/events?limit=10", NULL, "Accept: application/json\r\n");
    events = json_object_get(a.json, "events");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(events, 9), "id")), 10);
    answer_finish(&a);
    fixture_destroy(f);
}

/* A reader that does not read loses events beyond the bound, and is told exactly which. */
static void test_gap(void **state)
{
    struct fixture *f = fixture_create();
    struct reader *r = read_stream(f, "/api/events?after=0", NULL);
    char *big = xmalloc(4001);
    int64_t last, expected = 1;

    memset(big, 'x', 4000);
    big[4000] = '\0';
    sim_run_for(f->world, 100);
    assert_int_equal(r->status, 200);
    http_call_pause(r->call);
    for (int i = 0; i < 2000; i++) {
        events_emit(f->events, EVENT_CONFIG_CHANGED, "", json_pack("{s:s}", "big", big));
        if (i % 10 == 0) {
            sim_run_for(f->world, 5);
        }
    }
    sim_run_for(f->world, 1000);
    last = events_last_id(f->events);
    http_call_resume(r->call);
    sim_run_for(f->world, 5000);
    assert_in_range(r->count, 1, 1999);
    assert_true(r->gap_from > 0);
    emit(f, 1, "then");
    sim_run_for(f->world, 1000);
    for (size_t i = 0; i < r->count; i++) {
        if (expected == r->gap_from) {
            expected = r->gap_to + 1;
        }
        assert_int_equal(r->ids[i], expected);
        expected++;
    }
    assert_int_equal(expected, last + 2);
    free(big);
    reader_free(r);
    fixture_destroy(f);
}

static void test_draining_ends_streams(void **state)
{
    struct fixture *f = fixture_create();
    struct reader *r = read_stream(f, "/api/events", NULL);

    sim_run_for(f->world, 100);
    assert_false(r->ended);
    api_set_phase(f->api, API_DRAINING);
    sim_run_for(f->world, 100);
    assert_true(r->ended);
    reader_free(r);
    fixture_destroy(f);
}

static void test_too_many(void **state)
{
    struct fixture *f = fixture_create();
    struct reader *readers[256];

    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        readers[i] = read_stream(f, "/api/events", NULL);
    }
    sim_run_for(f->world, 1000);
    ask_expect(f, 503, "GET", "/api/events", NULL);
    reader_free(readers[0]);
    sim_run_for(f->world, 1000);
    readers[0] = read_stream(f, "/api/events", NULL);
    sim_run_for(f->world, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
        assert_int_equal(readers[i]->status, 200);
        reader_free(readers[i]);
    }
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_live),
        cmocka_unit_test(test_replay),
        cmocka_unit_test(test_replay_meets_live),
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_draining_ends_streams),
        cmocka_unit_test(test_too_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
