// SPDX-License-Identifier: Apache-2.0
/*
 * The task doors where the real daemon is a blunt tool: readers that do not read, a store that
 * takes no more changes, clients that leave, keys that a crash left behind. The contract itself is
 * held by tests/flow/81_tasks.test.ts.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/task_doors_int.h"
#include "base/mem.h"
#include "fixture.h"

#define ORDER "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"{}\"}"

static int64_t define_offline(struct fixture *f)
{
    char *text = definition(f, "m");
    struct answer a;
    int64_t id;

    text[strlen(text) - 1] = '\0';
    char *whole = xasprintf("%s,\"task_status\":\"offline\"}", text);
    ask_expect(f, 201, "POST", "/api/models/", whole);
    a = ask(f, "GET", "/api/v1/models", NULL);
    id = json_integer_value(
        json_object_get(json_array_get(json_object_get(a.json, "data"), 0), "id"));
    assert_true(id > 0);
    answer_finish(&a);
    free(text);
    free(whole);
    return id;
}

/* ---- readers that do not read ---- */

struct reader {
    struct http_call *call;
    struct buf got;
};

static void on_head(void *owner, const struct http_head *head)
{
    assert_int_equal(head->status, 200);
}

static void on_body(void *owner, const char *p, size_t n)
{
    (void)buf_append(&((struct reader *)owner)->got, p, n);
}

static void on_end(void *owner)
{
    ((struct reader *)owner)->call = NULL;
}

static void on_fail(void *owner, const struct error *e)
{
    ((struct reader *)owner)->call = NULL;
}

static const struct http_call_handler reader_handler = { on_head, on_body, on_end, on_fail };

static unsigned count_of(const struct buf *b, const char *what)
{
    unsigned n = 0;

    for (const char *p = buf_data(b); (p = strstr(p, what)); p++) {
        n++;
    }
    return n;
}

static void change_many(struct fixture *f, unsigned count)
{
    char *error = xcalloc(1, 2000);
    struct task task = { .id = 1,
                         .model_id = 1,
                         .model = UNCONST(char *, "m"),
                         .type = UNCONST(char *, "custom"),
                         .error = error };

    memset(error, 'x', 1999);
    for (unsigned i = 0; i < count; i++) {
        api_on_task(f->api, &(struct task_change){ .task = &task, .from = TASK_PENDING });
    }
    free(error);
}

/* What a stalled reader loses is counted, told, and what comes later is told again. */
static void a_stalled_reader_is_told_how_much_it_missed(void **state)
{
    struct fixture *f = fixture_create();
    struct reader r = { .got = BUF_INIT(64 << 20) };
    const struct http_call_request request = { .method = "GET",
                                               .path = "/api/events?kind=task",
                                               .headers = "Accept: text/event-stream\r\n" };
    enum { MANY = 3000 };
    unsigned told, missed = 0;

    r.call = http_call_start(f->client, &request, &reader_handler, &r);
    sim_run_for(f->world, 50);
    assert_non_null(strstr(buf_data(&r.got), "retry:"));
    http_call_pause(r.call);
    sim_run_for(f->world, 50);
    change_many(f, MANY);
    sim_run_for(f->world, 500);
    http_call_resume(r.call);
    sim_run_for(f->world, 2000);
    told = count_of(&r.got, "event: task\n");
    assert_in_range(told, 1, MANY - 1);
    assert_int_equal(count_of(&r.got, "event: gap\n"), 1);
    assert_int_equal(sscanf(strstr(buf_data(&r.got), "event: gap\n"),
                            "event: gap\ndata: {\"tasks\":%u}", &missed),
                     1);
    assert_int_equal(told + missed, MANY);
    change_many(f, 1);
    sim_run_for(f->world, 500);
    assert_int_equal(count_of(&r.got, "event: task\n"), told + 1);
    http_call_cancel(r.call);
    buf_finish(&r.got);
    fixture_destroy(f);
}

/* Those who listen to other things do not hear of tasks, and a subject is a model's name. */
static void filters_hold_for_tasks_too(void **state)
{
    static const struct {
        const char *path;
        unsigned told;
    } cases[] = {
        { "/api/events", 1 },
        { "/api/events?kind=task", 1 },
        { "/api/events?kind=model_created", 0 },
        { "/api/events?subject=m", 1 },
        { "/api/events?subject=n", 0 },
    };
    struct fixture *f = fixture_create();

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct reader r = { .got = BUF_INIT(1 << 20) };
        const struct http_call_request request = { .method = "GET",
                                                   .path = cases[i].path,
                                                   .headers = "Accept: text/event-stream\r\n" };

        r.call = http_call_start(f->client, &request, &reader_handler, &r);
        sim_run_for(f->world, 50);
        change_many(f, 1);
        sim_run_for(f->world, 50);
        if (count_of(&r.got, "event: task\n") != cases[i].told) {
            fail_msg("%s: %s", cases[i].path, buf_data(&r.got));
        }
        http_call_cancel(r.call);
        buf_finish(&r.got);
    }
    ask_expect(f, 400, "GET", "/api/events?kind=tusk", NULL);
    struct answer a =
        ask_with(f, "GET", "/api/events?kind=task", NULL, "Accept: application/json\r\n");
    assert_int_equal(a.status, 400);
    answer_finish(&a);
    fixture_destroy(f);
}

/* ---- clients that leave ---- */

static void a_client_that_leaves_takes_nothing_with_it(void **state)
{
    static const char *const paths[] = { "/api/v1/tasks", "/api/v1/tasks/stats", "/api/v1/tasks/1",
                                         "/api/v1/stats/dashboard" };
    struct fixture *f = fixture_create();

    define_offline(f);
    ask_expect(f, 200, "POST", "/api/v1/tasks", ORDER);
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        for (unsigned ms = 0; ms < 4; ms++) {
            struct reader r = { .got = BUF_INIT(1 << 20) };
            const struct http_call_request request = { .method = "GET", .path = paths[i] };

            r.call = http_call_start(f->client, &request, &reader_handler, &r);
            sim_run_for(f->world, ms);
            if (r.call) {
                http_call_cancel(r.call);
            }
            buf_finish(&r.got);
        }
    }
    sim_run_for(f->world, 1000);
    ask_expect(f, 200, "GET", "/api/v1/tasks/1", NULL);
    fixture_destroy(f);
}

/* ---- keys ---- */

static void write_key(const char *name)
{
    int fd = open(name, O_CREAT | O_WRONLY, 0600);

    assert_int_equal(write(fd, "k", 1), 1);
    close(fd);
}

static char *key_file_of(struct fixture *f, const char *id)
{
    const struct model *model = models_find(f->models, span_of(id));

    assert_non_null(model);
    return xstrdup(task_key_of(model->config));
}

/* A key goes with its model, through whatever door that goes; a stranger's file never does. */
static void keys_go_with_their_models(void **state)
{
    static const char leftover[] = "keys/0123456789abcdef0123456789abcdef";
    struct fixture *f = fixture_create();
    char *name;
    struct stat st;

    ask_expect(f, 200, "POST", "/api/v1/models",
               "{\"name\":\"far\",\"type\":\"openai\",\"config\":{\"api_key\":\"sk-1\"}}");
    name = key_file_of(f, "far");
    assert_int_equal(stat(name, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    write_key(leftover);
    write_key("keys/mine.txt");
    task_keys_sweep(f->api);
    assert_int_equal(access(name, F_OK), 0);
    assert_int_equal(access(leftover, F_OK), -1);
    assert_int_equal(access("keys/mine.txt", F_OK), 0);
    ask_expect(f, 200, "DELETE", "/api/models/far", NULL);
    assert_int_equal(access(name, F_OK), -1);
    task_key_remove(f->api, "keys/../model.gguf");
    task_key_remove(f->api, "model.gguf");
    assert_int_equal(access("model.gguf", F_OK), 0);
    unlink("keys/mine.txt");
    rmdir("keys");
    free(name);
    fixture_destroy(f);
}

/* A definition that is refused leaves neither a key nor a model. */
static void a_refused_model_leaves_no_key(void **state)
{
    struct fixture *f = fixture_create();

    ask_expect(f, 400, "POST", "/api/v1/models",
               "{\"name\":\" bad \",\"type\":\"openai\",\"config\":{\"api_key\":\"sk-1\"}}");
    assert_int_equal(access("keys", F_OK), -1);
    ask_expect(f, 200, "POST", "/api/v1/models",
               "{\"name\":\"far\",\"type\":\"openai\",\"config\":{}}");
    ask_expect(f, 400, "POST", "/api/v1/models",
               "{\"name\":\"far\",\"type\":\"openai\",\"config\":{\"api_key\":\"sk-1\"}}");
    assert_int_equal(rmdir("keys"), 0); /* it is empty */
    assert_int_equal(models_count(f->models), 1);
    fixture_destroy(f);
}

/* ---- changes at once ---- */

static void on_done_head(void *owner, const struct http_head *head)
{
    *(int *)owner = head->status;
}

static void on_done_body(void *owner, const char *p, size_t n)
{
}

static void on_done_end(void *owner)
{
}

static void on_done_fail(void *owner, const struct error *e)
{
    *(int *)owner = e->code;
}

static const struct http_call_handler done_handler = { on_done_head, on_done_body, on_done_end,
                                                       on_done_fail };

static void put_now(struct fixture *f, const char *body, int *status)
{
    const struct span part = span_of(body);

    http_call_start(f->client,
                    &(struct http_call_request){ .method = "PUT",
                                                 .path = "/api/v1/models/1",
                                                 .headers = "Content-Type: application/json\r\n",
                                                 .body = &part,
                                                 .body_parts = 1 },
                    &done_handler, status);
}

/* Each change is made from what the one before it left; the last key stands, the others go. */
static void changes_of_a_model_at_once_lose_nothing(void **state)
{
    struct fixture *f = fixture_create();
    const struct model *model;
    int status[5] = { 0 };
    char *name;

    ask_expect(f, 200, "POST", "/api/v1/models",
               "{\"name\":\"far\",\"type\":\"openai\",\"config\":{\"api_key\":\"sk-1\"}}");
    put_now(f, "{\"config\":{\"api_key\":\"sk-2\"}}", &status[0]);
    put_now(f, "{\"config\":{\"api_key\":\"********\",\"temperature\":0.5}}", &status[1]);
    put_now(f, "{\"max_workers\":3}", &status[2]);
    put_now(f, "{\"status\":\"online\"}", &status[3]);
    put_now(f, "{\"name\":\"farther\",\"status\":\"maintenance\"}", &status[4]);
    sim_run_for(f->world, 1000);
    for (size_t i = 0; i < ARRAY_SIZE(status); i++) {
        assert_int_equal(status[i], 200);
    }
    model = models_find(f->models, SPAN("farther"));
    assert_non_null(model);
    assert_int_equal(model->config->max_workers, 3);
    assert_int_equal(model->task_status, MODEL_MAINTENANCE);
    assert_non_null(json_object_get(model->config->parameters, "temperature"));
    name = key_file_of(f, "far");
    assert_int_equal(access(name, F_OK), 0);
    ask_expect(f, 200, "DELETE", "/api/v1/models/1", NULL);
    assert_int_equal(rmdir("keys"), 0); /* it is empty */
    free(name);
    fixture_destroy(f);
}

/* ---- words ---- */

static void odd_orders(void **state)
{
    // clang-format off
    static const struct { const char *body; int status; const char *says; } cases[] = {
        { "[]", 400, "invalid request" },
        { "{\"model_id\":1.5,\"type\":\"custom\",\"input\":\"x\"}", 400, "model_id" },
        { "{\"model_id\":\"m\",\"type\":7,\"input\":\"x\"}", 400, "type is required" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":7}", 400, "input is required" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"a\\u0000b\"}", 400, "input" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"delay\":1e300}", 400, "delay" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"delay\":-1}", 400, "delay" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"timeout\":0}", 400, "timeout" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"run_at\":\"2026-13-01T00:00:00Z\"}", 400, "run_at" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"run_at\":\"2027-02-31T00:00:00Z\"}", 400, "run_at" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"run_at\":\" 027-02-01T00:00:00Z\"}", 400, "run_at" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"run_at\":\"2999-01-01T00:00:00Z\"}", 400, "ten years" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"run_at\":\"2020-01-01T00:00:00+02:00\"}", 200, "created" },
        { "{\"model_id\":\"m\",\"type\":\"custom\",\"input\":{\"messages\":[]},\"priority\":null,\"options\":null}", 200, "\"input\":\"{\\\"messages\\\":[]}\"" },
        { "{\"model_id\":99,\"type\":\"custom\",\"input\":\"x\"}", 404, "there is no model 99" },
    };
    // clang-format on
    struct fixture *f = fixture_create();

    define_offline(f);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask(f, "POST", "/api/v1/tasks", cases[i].body);

        if (a.status != cases[i].status || !strstr(a.body, cases[i].says)) {
            fail_msg("%s: %d %s", cases[i].body, a.status, a.body);
        }
        assert_int_equal(json_integer_value(json_object_get(a.json, "code")),
                         a.status == 200 ? 0 : -1);
        answer_finish(&a);
    }
    fixture_destroy(f);
}

/* A time with a zone is that moment. */
static void run_at_is_a_moment(void **state)
{
    struct fixture *f = fixture_create();
    const int64_t at = (world_wall_ms(f->world) / 1000 + 3 * 3600) * 1000;
    time_t shown = (time_t)(at / 1000 + 2 * 3600);
    struct tm tm;
    char clock[40], *body;
    struct answer a;
    json_t *expected;

    define_offline(f);
    gmtime_r(&shown, &tm);
    strftime(clock, sizeof(clock), "%Y-%m-%dT%H:%M:%S.250+02:00", &tm);
    body = xasprintf("{\"model_id\":\"m\",\"type\":\"custom\",\"input\":\"x\",\"run_at\":\"%s\"}",
                     clock);
    a = ask(f, "POST", "/api/v1/tasks", body);
    expected = json_time(at + 250);
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(a.json, "data"), "run_at")),
        json_string_value(expected));
    json_decref(expected);
    answer_finish(&a);
    free(body);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stalled_reader_is_told_how_much_it_missed),
        cmocka_unit_test(filters_hold_for_tasks_too),
        cmocka_unit_test(a_client_that_leaves_takes_nothing_with_it),
        cmocka_unit_test(keys_go_with_their_models),
        cmocka_unit_test(a_refused_model_leaves_no_key),
        cmocka_unit_test(changes_of_a_model_at_once_lose_nothing),
        cmocka_unit_test(odd_orders),
        cmocka_unit_test(run_at_is_a_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
