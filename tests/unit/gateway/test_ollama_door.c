// SPDX-License-Identifier: Apache-2.0
/* What Ollama's door answers by itself: lists, one model, its version, what it does not do. */
#include "../api/fixture.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static int fresh(void **state)
{
    *state = fixture_create();
    return 0;
}

static int gone(void **state)
{
    fixture_destroy(*state);
    return 0;
}

static void define(struct fixture *f, const char *id)
{
    char *text = definition(f, id);

    ask_expect(f, 201, "POST", "/api/models/", text);
    free(text);
}

static void put_number(struct buf *b, uint64_t v, unsigned bytes)
{
    for (; bytes > 0; bytes--, v >>= 8) {
        buf_putc(b, (char)(v & 0xff));
    }
}

static void put_string(struct buf *b, const char *s)
{
    put_number(b, strlen(s), 8);
    buf_puts(b, s);
}

/* A header that says its architecture and file type, and no tensors. Returns its size. */
static size_t write_gguf(const char *path, const char *architecture)
{
    struct buf b = BUF_INIT(4096);
    int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    size_t n;

    buf_puts(&b, "GGUF");
    put_number(&b, 3, 4);
    put_number(&b, 0, 8);
    put_number(&b, 2, 8);
    put_string(&b, "general.architecture");
    put_number(&b, 8, 4);
    put_string(&b, architecture);
    put_string(&b, "general.file_type");
    put_number(&b, 4, 4);
    put_number(&b, 15, 4);
    put_number(&b, 0, 64);
    n = b.len;
    assert_int_equal(write(fd, buf_data(&b), n), n);
    close(fd);
    buf_finish(&b);
    return n;
}

static const json_t *only_model(const struct answer *a)
{
    const json_t *models = json_object_get(a->json, "models");

    assert_int_equal(a->status, 200);
    assert_int_equal(json_array_size(models), 1);
    return json_array_get(models, 0);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    assert_non_null(text);
    return text;
}

static void tags_tell_what_the_file_says_and_see_it_change(void **state)
{
    struct fixture *f = *state;
    size_t size;
    struct answer a;
    const json_t *m, *details;

    a = ask(f, "GET", "/api/tags", NULL);
    assert_string_equal(a.body, "{\"models\":[]}");
    answer_finish(&a);

    define(f, "small");
    a = ask(f, "GET", "/api/tags", NULL);
    m = only_model(&a);
    assert_string_equal(text_of(m, "name"), "small");
    assert_string_equal(text_of(m, "model"), "small");
    assert_int_equal(json_integer_value(json_object_get(m, "size")), 4);
    assert_int_equal(strlen(text_of(m, "digest")), 64);
    assert_non_null(strchr(text_of(m, "modified_at"), 'T'));
    assert_string_equal(text_of(json_object_get(m, "details"), "format"), "");
    answer_finish(&a);

    for (int i = 0; i < 2; i++) { /* the second one from memory */
        size = write_gguf(f->model_path, i ? "qwen\"3" : "llama");
        a = ask(f, "GET", "/api/tags", NULL);
        answer_finish(&a);
        a = ask(f, "GET", "/api/tags", NULL);
        m = only_model(&a);
        details = json_object_get(m, "details");
        assert_int_equal(json_integer_value(json_object_get(m, "size")), size);
        assert_string_equal(text_of(details, "format"), "gguf");
        assert_string_equal(text_of(details, "family"), i ? "qwen\"3" : "llama");
        assert_string_equal(text_of(details, "quantization_level"), "Q4_K_M");
        answer_finish(&a);
    }
    assert_int_equal(unlink(f->model_path), 0);
    a = ask(f, "GET", "/api/tags", NULL);
    assert_int_equal(json_integer_value(json_object_get(only_model(&a), "size")), 0);
    answer_finish(&a);
}

static bool is_ready(void *arg)
{
    struct fixture *f = arg;
    size_t cursor = 0;
    const struct instance *in = engines_next(f->engines, &cursor);

    return in && in->state == INSTANCE_READY;
}

static void ps_tells_what_is_loaded(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    define(f, "one");
    define(f, "other");
    a = ask(f, "GET", "/api/ps", NULL);
    assert_string_equal(a.body, "{\"models\":[]}");
    answer_finish(&a);

    ask_expect(f, 200, "POST", "/api/models/one/start", "{}");
    assert_true(sim_run_until(f->world, is_ready, f, 60000));
    a = ask(f, "GET", "/api/ps", NULL);
    assert_string_equal(text_of(only_model(&a), "name"), "one");
    assert_string_equal(text_of(only_model(&a), "expires_at"), "9999-12-31T23:59:59.000Z");
    answer_finish(&a);
}

static void show_tells_of_one_by_any_of_its_names(void **state)
{
    struct fixture *f = *state;
    struct answer a;

    define(f, "small");
    write_gguf(f->model_path, "llama");
    a = ask(f, "POST", "/api/show", "{\"model\":\"small:latest\"}");
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(json_object_get(a.json, "details"), "family"), "llama");
    assert_string_equal(text_of(json_object_get(a.json, "model_info"), "general.architecture"),
                        "llama");
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(a.json, "capabilities"), 0)),
        "completion");
    answer_finish(&a);
    ask_expect(f, 200, "POST", "/api/show", "{\"name\":\"small\"}");

    a = ask(f, "POST", "/api/show", "{\"model\":\"big\"}");
    assert_int_equal(a.status, 404);
    assert_string_equal(a.body, "{\"error\":\"model 'big' not found\"}");
    answer_finish(&a);
    ask_expect(f, 400, "POST", "/api/show", "{}");
    ask_expect(f, 400, "POST", "/api/show", "{\"model\":7}");
    ask_expect(f, 400, "POST", "/api/show", "[");
}

static void errors_have_ollamas_shape(void **state)
{
    struct fixture *f = *state;
    static const char *const rows[][3] = {
        { "POST", "/api/pull", "{\"name\":\"x\"}" },      { "POST", "/api/push", "{}" },
        { "POST", "/api/create", "{\"model\":\"x\"}" },   { "POST", "/api/copy", "{}" },
        { "DELETE", "/api/delete", "{\"model\":\"x\"}" },
    };
    struct answer a;

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        a = ask(f, rows[i][0], rows[i][1], rows[i][2]);
        assert_int_equal(a.status, 501);
        assert_non_null(strstr(text_of(a.json, "error"), "/api/models/"));
        answer_finish(&a);
    }
    a = ask(f, "POST", "/api/chat", "{\"model\":\"nope\",\"messages\":[]}");
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(text_of(a.json, "error"), "nope"));
    answer_finish(&a);
    a = ask(f, "GET", "/api/version", NULL);
    assert_int_equal(a.status, 200);
    assert_string_equal(text_of(a.json, "version"), PROJECT_VERSION);
    answer_finish(&a);
}

static void never(void *owner, int result, int status, struct span body, const struct error *e)
{
    fail_msg("an answer to a request that was given up");
}

static bool is_asked(void *arg)
{
    return http_server_exchanges(((struct fixture *)arg)->server) > 0;
}

/* The exchange ends between the question and what the worker found. */
static void an_exchange_may_end_while_files_are_looked_at(void **state)
{
    struct fixture *f = *state;
    const struct http_call_request request = { .method = "GET", .path = "/api/tags" };
    struct http_fetch *fetch;

    define(f, "small");
    fetch = http_fetch_start(f->client, &request, 1 << 20, never, NULL);
    assert_true(sim_run_until(f->world, is_asked, f, 1000));
    http_fetch_cancel(fetch);
    f->server = http_server_destroy(f->server);
    sim_run_for(f->world, 1000);
}

#define ON_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fresh, gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FIXTURE(tags_tell_what_the_file_says_and_see_it_change),
        ON_FIXTURE(ps_tells_what_is_loaded),
        ON_FIXTURE(show_tells_of_one_by_any_of_its_names),
        ON_FIXTURE(errors_have_ollamas_shape),
        ON_FIXTURE(an_exchange_may_end_while_files_are_looked_at),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
