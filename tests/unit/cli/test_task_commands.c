// SPDX-License-Identifier: Apache-2.0
/*
 * The commands of tasks, batches and Task Instances as a user meets them (submit, tasks, queue,
 * batch, batches, ti), against a daemon made of canned answers.
 */
#include "canned.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

/* The body of the last request that begins so, to be freed. */
static json_t *sent(const char *start)
{
    const char *text = last_asked(start);
    json_t *json;

    assert_non_null(text);
    json = json_loads(text, 0, NULL);
    assert_non_null(json);
    return json;
}

static void assert_member(const json_t *json, const char *name, const char *wanted)
{
    json_t *value = json_object_get(json, name);
    char *text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

    assert_string_equal(text ? text : "(absent)", wanted);
    free(text);
}

/* ---- submit ---- */

#define TASK_PENDING                                                                               \
    "{\"code\":0,\"message\":\"created\",\"data\":{\"id\":9,\"model_name\":\"chat\",\"status\":"   \
    "\"pending\",\"waiting\":{\"reason\":\"all 2 workers are busy\",\"place\":4}}}"

static void test_submit(void **state)
{
    json_t *order;

    answer("POST /api/v1/tasks", 200, TASK_PENDING);
    assert_int_equal(BERTH("submit", "chat", "some text"), 0);
    assert_string_equal(out, "task 9 is pending\n");
    order = sent("POST /api/v1/tasks ");
    assert_member(order, "model", "\"chat\"");
    assert_member(order, "type", "\"text-generation\"");
    assert_member(order, "priority", "2");
    assert_member(order, "input", "\"some text\"");
    assert_member(order, "options", "(absent)");
    assert_member(order, "delay", "(absent)");
    assert_member(order, "max_retries", "(absent)");
    json_decref(order);
    assert_null(strcasestr(last_head("POST /api/v1/tasks "), "idempotency-key"));
    assert_int_equal(BERTH("submit", "chat", "x", "--json"), 0);
    assert_has(out, "\"id\":9");
    assert_lacks(out, "\"code\"");
}

static void test_submit_options(void **state)
{
    json_t *order;

    answer("POST /api/v1/tasks", 200, TASK_PENDING);
    assert_int_equal(BERTH("submit", "chat", "-t", "translation", "-p", "high", "-o",
                           "language=French", "--option=length=3", "-o", "note=a=b", "--delay",
                           "90s", "--attempt=2m", "--retries", "0", "--webhook", "http://h/x",
                           "--idempotency-key", "k 1", "bonjour"),
                     0);
    order = sent("POST /api/v1/tasks ");
    assert_member(order, "type", "\"translation\"");
    assert_member(order, "priority", "3");
    assert_member(order, "options", "{\"language\":\"French\",\"length\":3,\"note\":\"a=b\"}");
    assert_member(order, "delay", "90.0");
    assert_member(order, "timeout", "120.0");
    assert_member(order, "max_retries", "0");
    assert_member(order, "webhook", "\"http://h/x\"");
    json_decref(order);
    assert_has(last_head("POST /api/v1/tasks "), "Idempotency-Key: k 1\r\n");
}

static void test_submit_input(void **state)
{
    char word[128];
    json_t *order;

    answer("POST /api/v1/tasks", 200, TASK_PENDING);
    put_file("input", "two\nlines\n");
    snprintf(word, sizeof(word), "@%s", in_folder("input"));
    assert_int_equal(BERTH("submit", "chat", word), 0);
    order = sent("POST /api/v1/tasks ");
    assert_member(order, "input", "\"two\\nlines\\n\"");
    json_decref(order);

    assert_non_null(freopen(in_folder("input"), "r", stdin));
    assert_int_equal(BERTH("submit", "chat", "-"), 0);
    order = sent("POST /api/v1/tasks ");
    assert_member(order, "input", "\"two\\nlines\\n\"");
    json_decref(order);
    assert_int_equal(BERTH("submit", "chat", "@/nowhere/at/all"), 4);
    assert_has(err, "/nowhere/at/all");
}

static void test_wrong_submit(void **state)
{
    assert_int_equal(BERTH("submit", "chat", "x", "--priority", "urgent"), 2);
    assert_has(err, "'urgent' is none of low, medium, high");
    assert_int_equal(BERTH("submit", "chat", "x", "--option", "language"), 2);
    assert_has(err, "'language' is no KEY=VALUE");
    assert_int_equal(BERTH("submit", "chat", "x", "--delay", "soon"), 2);
    assert_has(err, "--delay: 'soon' is no duration");
    assert_int_equal(BERTH("submit", "chat", "x", "--timeout", "3s"), 2);
    assert_has(err, "--wait");
    assert_int_equal(BERTH("submit", "chat", "x", "--idempotency-key", "a\nb: c"), 2);
    assert_has(err, "control character");
    assert_int_equal(BERTH("submit", "chat", "\xff"), 2);
    assert_has(err, "UTF-8");
    assert_null(last_asked("POST "));
    answer("POST /api/v1/tasks", 404, "{\"code\":-1,\"message\":\"there is no model 'chat'\"}");
    assert_int_equal(BERTH("submit", "chat", "x"), 4);
    assert_string_equal(err, "berth: there is no model 'chat'\n");
    answer("POST /api/v1/tasks", 429, "{\"code\":-1,\"message\":\"the queue is full\"}");
    assert_int_equal(BERTH("submit", "chat", "x"), 5);
    assert_has(err, "the queue is full");
}

/* It stays through a restart of the daemon, and its exit code tells how the task ended. */
static void test_submit_waits(void **state)
{
    answer("POST /api/v1/tasks", 200, TASK_PENDING);
    answer("GET /api/v1/tasks/9", 200,
           "{\"code\":0,\"data\":{\"id\":9,\"status\":\"completed\",\"output\":\"Bonjour\"}}");
    answer_times("GET /api/v1/tasks/9", 2, 503, "{\"code\":-1,\"message\":\"starting\"}");
    answer_times("GET /api/v1/tasks/9", 2, 200, TASK_PENDING);
    assert_int_equal(BERTH("submit", "chat", "x", "--wait"), 0);
    assert_string_equal(out, "Bonjour\n");
    assert_string_equal(err, "");

    answer("GET /api/v1/tasks/9", 200,
           "{\"code\":0,\"data\":{\"id\":9,\"status\":\"failed\",\"error_message\":\"too long\"}}");
    assert_int_equal(BERTH("submit", "chat", "x", "--wait"), 1);
    assert_string_equal(out, "");
    assert_string_equal(err, "berth: task 9 is failed: too long\n");
    assert_int_equal(BERTH("submit", "chat", "x", "--wait", "--json"), 1);
    assert_has(out, "\"error_message\":\"too long\"");
    answer("GET /api/v1/tasks/9", 200, "{\"code\":0,\"data\":{\"id\":9,\"status\":\"cancelled\"}}");
    assert_int_equal(BERTH("submit", "chat", "x", "--wait"), 1);
    assert_string_equal(err, "berth: task 9 is cancelled\n");
    answer("GET /api/v1/tasks/9", 200, TASK_PENDING);
    assert_int_equal(BERTH("submit", "chat", "x", "--wait", "--timeout", "100ms"), 5);
    assert_string_equal(err, "berth: task 9 has not ended yet; it goes on\n");
    answer("GET /api/v1/tasks/9", 404, "{\"code\":-1,\"message\":\"there is no task 9\"}");
    assert_int_equal(BERTH("submit", "chat", "x", "--wait"), 4);
    assert_string_equal(err, "berth: there is no task 9\n");
}

/* ---- tasks ---- */

static void test_tasks(void **state)
{
    answer("GET /api/v1/tasks?", 200,
           "{\"code\":0,\"data\":["
           "{\"id\":12,\"model_name\":\"chat\",\"type\":\"summarization\",\"status\":\"pending\","
           "\"priority\":3,\"retry_count\":1,\"error_message\":\"the engine was cut off\","
           "\"created_at\":\"2020-01-01T00:00:00.000Z\",\"started_at\":null,\"completed_at\":null,"
           "\"waiting\":{\"reason\":\"the model is offline\",\"place\":2}},"
           "{\"id\":11,\"model_name\":\"draft\",\"type\":\"custom\",\"status\":\"completed\","
           "\"priority\":1,\"retry_count\":0,\"error_message\":null,"
           "\"created_at\":\"2020-01-01T00:00:00Z\",\"started_at\":\"2020-01-01T00:00:00.500Z\","
           "\"completed_at\":\"2020-01-01T01:00:02+01:00\"}],\"total\":2,\"page\":1,\"size\":20}");
    assert_int_equal(BERTH("tasks"), 0);
    assert_has(out, "ID  MODEL  TYPE           STATUS     PRIORITY  RETRIES  AGE");
    assert_has(out, "12  chat   summarization  pending    high      1 ");
    assert_has(out, "the model is offline, place 2; before: the engine was cut off\n");
    assert_has(out, "11  draft  custom         completed  low       0 ");
    assert_has(out, " 1.5s ");
    assert_non_null(last_asked("GET /api/v1/tasks?page_size=20 "));
    assert_int_equal(BERTH("tasks", "--json"), 0);
    assert_has(out, "\"total\":2");
    assert_int_equal(BERTH("tasks", "-s", "failed", "-t", "a b", "-n", "5", "-m", "org/m:7b"), 0);
    assert_non_null(
        last_asked("GET /api/v1/tasks?page_size=5&status=failed&type=a%20b&model=org%2Fm%3A7b "));
    assert_int_equal(BERTH("tasks", "-n", "500"), 2);
    assert_has(err, "1 to 100");
}

static void test_task_details(void **state)
{
    answer("GET /api/v1/tasks/12", 200,
           "{\"code\":0,\"data\":{\"id\":12,\"model_name\":\"chat\",\"type\":\"custom\","
           "\"status\":\"failed\",\"dead_letter\":true,\"priority\":2,\"retry_count\":3,"
           "\"max_retries\":3,\"error_message\":\"the engine says no\",\"input\":\"Hello\","
           "\"output\":null,\"created_at\":\"2020-01-01T00:00:00Z\",\"started_at\":"
           "\"2020-01-01T00:00:01Z\",\"completed_at\":\"2020-01-01T00:01:03Z\",\"logs\":["
           "{\"level\":\"warn\",\"message\":\"try 1 failed\",\"created_at\":"
           "\"2020-01-01T00:00:02Z\",\"data\":{\"status\":500}}]}}");
    assert_int_equal(BERTH("tasks", "12"), 0);
    assert_has(out, "task 12: failed, a dead letter\n");
    assert_has(out, "model     chat\n");
    assert_has(out, "retries   3 of 3\n");
    assert_has(out, "ended     2020-01-01T00:01:03Z (1m2s)\n");
    assert_has(out, "error     the engine says no\n");
    assert_has(out, "input     Hello\n");
    assert_lacks(out, "output");
    assert_has(out, "2020-01-01T00:00:02Z warn  try 1 failed {\"status\":500}\n");
    assert_int_equal(BERTH("tasks", "logs", "12"), 0);
    assert_string_equal(out, "2020-01-01T00:00:02Z warn  try 1 failed {\"status\":500}\n");
    assert_int_equal(BERTH("tasks", "12", "--json"), 0);
    assert_has(out, "\"dead_letter\":true");
    assert_int_equal(BERTH("tasks", "12", "--watch"), 1);
    assert_has(err, "task 12 is failed: the engine says no");
    assert_int_equal(BERTH("tasks", "13"), 4);
}

static void test_tasks_watch(void **state)
{
    answer("GET /api/events?kind=task", 200,
           "retry: 2000\n\nevent: task\ndata: {\"type\":\"task\",\"from\":\"running\",\"removed\":"
           "false,\"task\":{\"id\":3,\"model_name\":\"chat\",\"type\":\"custom\",\"status\":"
           "\"failed\",\"error_message\":\"too long\",\"updated_at\":\"T1\"}}\n\n"
           "event: task\ndata: {\"type\":\"task\",\"removed\":true,\"task\":{\"id\":2,"
           "\"model_name\":\"chat\",\"type\":\"custom\",\"status\":\"failed\","
           "\"error_message\":null,\"updated_at\":\"T2\"}}\n\n");
    assert_int_equal(BERTH("tasks", "--watch"), 0);
    assert_string_equal(out, "T1 task 3 failed    chat custom: too long\n"
                             "T2 task 2 removed   chat custom\n");
}

/* Each of the named ones, also after one that could not be. */
static void test_task_verbs(void **state)
{
    json_t *body;

    answer("DELETE /api/v1/tasks/", 200, "{\"code\":0,\"message\":\"cancelled\"}");
    answer("DELETE /api/v1/tasks/2 ", 400, "");
    answer("DELETE /api/v1/tasks/2", 400, "{\"code\":-1,\"message\":\"task 2 is completed\"}");
    assert_int_equal(BERTH("tasks", "cancel", "1", "2", "3"), 2);
    assert_string_equal(out, "task 1 is cancelled\ntask 3 is cancelled\n");
    assert_string_equal(err, "berth: task 2 is completed\n");
    assert_int_equal(BERTH("tasks", "rm", "7"), 0);
    assert_non_null(last_asked("DELETE /api/v1/tasks/7?purge=true "));
    assert_string_equal(out, "task 7 is removed\n");
    answer("POST /api/v1/tasks/", 200, "{\"code\":0,\"message\":\"ok\"}");
    assert_int_equal(BERTH("tasks", "retry", "7"), 0);
    assert_non_null(last_asked("POST /api/v1/tasks/7/retry "));
    assert_int_equal(BERTH("tasks", "retry", "--again", "7"), 0);
    assert_non_null(last_asked("POST /api/v1/tasks/7/retry?again=true "));
    answer("PUT /api/v1/tasks/", 200, "{\"code\":0,\"data\":{}}");
    assert_int_equal(BERTH("tasks", "priority", "low", "7", "8"), 0);
    assert_string_equal(out, "task 7 is of low priority\ntask 8 is of low priority\n");
    body = sent("PUT /api/v1/tasks/8/priority ");
    assert_member(body, "priority", "1");
    json_decref(body);
    assert_non_null(last_asked("PUT /api/v1/tasks/7/priority "));
}

static void test_wrong_verbs(void **state)
{
    assert_int_equal(BERTH("tasks", "destroy", "1"), 2);
    assert_has(err, "'destroy' is neither a task's number");
    assert_int_equal(BERTH("tasks", "cancel"), 2);
    assert_has(err, "tasks cancel needs the numbers");
    assert_int_equal(BERTH("tasks", "cancel", "one"), 2);
    assert_has(err, "'one' is no task");
    assert_int_equal(BERTH("tasks", "priority", "7"), 2);
    assert_int_equal(BERTH("tasks", "priority", "top", "7"), 2);
    assert_has(err, "needs low, medium or high");
    assert_null(last_asked(""));
}

static void test_stats(void **state)
{
    answer("GET /api/v1/tasks/stats", 200,
           "{\"code\":0,\"data\":{\"total_tasks\":10,\"pending_tasks\":1,\"running_tasks\":2,"
           "\"completed_tasks\":6,\"failed_tasks\":1,\"cancelled_tasks\":0,\"success_rate\":60.0,"
           "\"avg_processing_ms\":1234.5}}");
    answer("GET /api/v1/stats/tasks/model", 200,
           "{\"code\":0,\"data\":[{\"model_name\":\"chat\",\"total_tasks\":10,\"pending_tasks\":1,"
           "\"running_tasks\":2,\"completed_tasks\":6,\"failed_tasks\":1,\"success_rate\":60.0,"
           "\"avg_processing_ms\":12.0}]}");
    answer("GET /api/v1/stats/tasks/type", 200, "{\"code\":0,\"data\":[]}");
    answer("GET /api/v1/stats/tasks/date", 200,
           "{\"code\":0,\"data\":[{\"date\":\"2026-11-21\",\"total\":10,\"completed\":6,"
           "\"failed\":1,\"avg_processing_ms\":12.0}]}");
    assert_int_equal(BERTH("tasks", "stats"), 0);
    assert_has(out, "10 tasks: 1 pending, 2 running, 6 completed, 1 failed, 0 cancelled\n");
    assert_has(out, "60.0 % good, 123");
    assert_has(out, "chat   10     1        2        6     1       60.0 %  12 ms\n");
    assert_has(out, "2026-11-21  10     6     1       12 ms\n");
    assert_non_null(last_asked("GET /api/v1/stats/tasks/date?days=7 "));
    assert_int_equal(BERTH("tasks", "stats", "-d", "30", "--json"), 0);
    assert_non_null(last_asked("GET /api/v1/stats/tasks/date?days=30 "));
    assert_has(out, "\"by_model\":[{");
    answer("GET /api/v1/task-types", 200,
           "{\"code\":0,\"data\":[{\"name\":\"embedding\",\"endpoint\":\"/v1/embeddings\","
           "\"help\":\"A vector.\"}]}");
    assert_int_equal(BERTH("tasks", "types"), 0);
    assert_has(out, "embedding  /v1/embeddings  A vector.\n");
}

/* ---- queue ---- */

static void test_queue(void **state)
{
    answer("GET /api/v1/scheduler/queue", 200, "{\"queue\":[],\"total_count\":0}");
    answer("GET /api/v1/stats/dashboard", 200,
           "{\"code\":0,\"data\":{\"queue_status\":{\"high_priority_count\":1,"
           "\"medium_priority_count\":5,\"low_priority_count\":0,\"processing_count\":2,"
           "\"delayed_count\":3,\"total_count\":11},\"model_stats\":["
           "{\"id\":5,\"name\":\"chat\",\"status\":\"online\",\"max_workers\":2,"
           "\"pending_tasks\":9,\"running_tasks\":2,\"queue_status\":{\"high_priority_count\":1,"
           "\"medium_priority_count\":5,\"low_priority_count\":0,\"delayed_count\":3}},"
           "{\"id\":6,\"name\":\"idle\",\"status\":\"online\",\"max_workers\":2,"
           "\"pending_tasks\":0,\"running_tasks\":0}]}}");
    answer("GET /api/v1/tasks?status=pending&model_id=5", 200,
           "{\"code\":0,\"data\":[{\"id\":3,\"created_at\":\"2020-01-01T00:00:00Z\"}]}");
    assert_int_equal(BERTH("queue"), 0);
    assert_has(out, "no model waits for room\n\n");
    assert_has(out, "TASKS OF  STATUS  HIGH  MEDIUM  LOW  DELAYED  RUNNING  WORKERS  OLDEST\n"
                    "chat      online  1     5       0    3        2        2        ");
    assert_has(out, "9 waiting, 2 running\n");
    assert_lacks(out, "idle");
    assert_int_equal(BERTH("queue", "--json"), 0);
    assert_has(out, "\"total_count\":0");
    assert_has(out, "\"oldest\":\"2020-01-01T00:00:00Z\"");
    answer("GET /api/v1/stats/dashboard", 200,
           "{\"code\":0,\"data\":{\"queue_status\":{\"total_count\":0},\"model_stats\":[]}}");
    assert_int_equal(BERTH("queue"), 0);
    assert_has(out, "no tasks wait or run\n");
}

/* ---- batches ---- */

#define LINE                                                                                       \
    "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/embeddings\",\"body\":{\"model\":"     \
    "\"m\"}}\n"

static void test_batch(void **state)
{
    const char *form;
    json_t *order;

    answer("POST /v1/files", 200, "{\"id\":\"file-1\",\"object\":\"file\"}");
    answer("POST /v1/batches", 200, "{\"id\":\"batch_1\",\"status\":\"validating\"}");
    put_file("input", LINE LINE);
    assert_int_equal(BERTH("batch", in_folder("input")), 0);
    assert_string_equal(out, "batch_1 is validating\n");
    form = last_asked("POST /v1/files ");
    assert_non_null(form);
    assert_has(form, "name=\"purpose\"\r\n\r\nbatch\r\n--");
    assert_has(form, "name=\"file\"; filename=\"input\"\r\n");
    assert_has(form, "\r\n\r\n" LINE LINE "\r\n--");
    assert_has(last_head("POST /v1/files "), "multipart/form-data; boundary=");
    order = sent("POST /v1/batches ");
    assert_member(order, "input_file_id", "\"file-1\"");
    assert_member(order, "endpoint", "\"/v1/embeddings\"");
    assert_member(order, "completion_window", "\"24h\"");
    json_decref(order);
    put_file("input", "nothing\n");
    assert_int_equal(BERTH("batch", in_folder("input")), 2);
    assert_has(err, "its first line names no \"url\"");
    put_file("input", "");
    assert_int_equal(BERTH("batch", in_folder("input")), 2);
    assert_has(err, "is empty");
    assert_int_equal(BERTH("batch", "/nowhere.jsonl"), 4);
}

static void slurp_input(char text[256])
{
    FILE *f = fopen(in_folder("input"), "r");

    assert_non_null(f);
    text[fread(text, 1, 255, f)] = '\0';
    fclose(f);
}

static void test_batch_waits(void **state)
{
    char path[128], text[256];

    answer("POST /v1/files", 200, "{\"id\":\"file-1\"}");
    answer("POST /v1/batches", 200, "{\"id\":\"batch_1\",\"status\":\"validating\"}");
    answer("GET /v1/batches/batch_1", 200,
           "{\"id\":\"batch_1\",\"status\":\"completed\",\"output_file_id\":\"file-2\","
           "\"request_counts\":{\"total\":3,\"completed\":2,\"failed\":1}}");
    answer_times("GET /v1/batches/batch_1", 2, 200,
                 "{\"id\":\"batch_1\",\"status\":\"in_progress\"}");
    answer("GET /v1/files/file-2/content", 200, "{\"custom_id\":\"a\"}\n");
    put_file("input", LINE);
    snprintf(path, sizeof(path), "%s", in_folder("input"));
    assert_int_equal(BERTH("batch", path, "--wait", "--output", path), 0);
    assert_string_equal(out, "batch_1 is completed, 3 of 3, 1 of them failed\n");
    slurp_input(text);
    assert_string_equal(text, "{\"custom_id\":\"a\"}\n");
    answer("GET /v1/batches/batch_1", 200,
           "{\"id\":\"batch_1\",\"status\":\"failed\",\"request_counts\":{},\"errors\":{\"data\":["
           "{\"line\":2,\"message\":\"no JSON\"}]}}");
    assert_int_equal(BERTH("batches", "batch_1", "--watch"), 1);
    assert_has(err, "berth: line 2: no JSON\n");
    assert_int_equal(BERTH("batches", "batch_1"), 0);
    assert_has(out, "error     line 2: no JSON\n");
    assert_int_equal(BERTH("batch", path, "--output", path), 2);
    assert_has(err, "--wait");
}

static void test_batches(void **state)
{
    answer("GET /v1/batches?limit=20", 200,
           "{\"object\":\"list\",\"data\":[{\"id\":\"batch_1\",\"status\":\"in_progress\","
           "\"endpoint\":\"/v1/completions\",\"created_at\":1577836800,\"expires_at\":4102444800,"
           "\"request_counts\":{\"total\":500,\"completed\":20,\"failed\":3}}]}");
    assert_int_equal(BERTH("batches"), 0);
    assert_has(out, "ID       STATUS       ENDPOINT         TOTAL  DONE  FAILED  AGE");
    assert_has(out, "batch_1  in_progress  /v1/completions  500    20    3 ");
    answer("POST /v1/batches/batch_1/cancel", 200,
           "{\"id\":\"batch_1\",\"status\":\"cancelling\"}");
    assert_int_equal(BERTH("batches", "cancel", "batch_1"), 0);
    assert_string_equal(out, "batch_1 is cancelling\n");
    answer("GET /v1/batches/batch_1", 200,
           "{\"id\":\"batch_1\",\"status\":\"completed\",\"output_file_id\":\"file-2\","
           "\"error_file_id\":null}");
    answer("GET /v1/files/file-2/content", 200, "line 1\nline 2\n");
    assert_int_equal(BERTH("batches", "fetch", "batch_1"), 0);
    assert_string_equal(out, "line 1\nline 2\n");
    assert_int_equal(BERTH("batches", "fetch", "batch_1", "--errors"), 4);
    assert_has(err, "has no lines that failed");
    assert_int_equal(BERTH("batches", "fetch"), 2);
    assert_int_equal(BERTH("batches", "drop", "batch_1"), 2);
    assert_has(err, "'drop' is neither cancel nor fetch");
}

/* A file that does not come leaves nothing behind, and what was there stays. */
static void test_fetch_fails(void **state)
{
    char path[128], part[160], text[256];
    struct stat st;

    answer("GET /v1/batches/batch_1", 200,
           "{\"id\":\"batch_1\",\"status\":\"completed\",\"output_file_id\":\"file-2\"}");
    answer("GET /v1/files/file-2/content", 404,
           "{\"error\":{\"message\":\"there is no such file\"}}");
    put_file("input", "before");
    snprintf(path, sizeof(path), "%s", in_folder("input"));
    snprintf(part, sizeof(part), "%s.part", path);
    assert_int_equal(BERTH("batches", "fetch", "batch_1", "-o", path), 4);
    assert_has(err, "there is no such file");
    assert_true(stat(part, &st) < 0);
    slurp_input(text);
    assert_string_equal(text, "before");
}

/* ---- Task Instances ---- */

static void test_ti(void **state)
{
    json_t *body;

    answer("GET /scheduler/info", 200,
           "{\"instances\":[{\"uuid\":\"u-1\",\"url\":\"http://10.0.0.5:8100\","
           "\"model_type\":\"ocr\",\"status\":\"ready\",\"replicas\":2,\"queue_size\":3,"
           "\"in_flight\":1,\"waiting_time_expect\":120.4,\"waiting_time_error\":8,\"failed\":0},"
           "{\"uuid\":\"u-2\",\"url\":\"http://b:1\",\"model_type\":null,"
           "\"status\":\"unreachable\",\"error\":\"refused\"}]}");
    assert_int_equal(BERTH("ti"), 0);
    assert_has(out,
               "u-1       http://10.0.0.5:8100  ocr    ready        2         3      1     120 "
               "± 8 ms  0");
    assert_has(out, "u-2       http://b:1            -      unreachable  0         0      0     -  "
                    "         0       refused\n");
    answer("POST /ti/register", 200,
           "{\"status\":\"success\",\"message\":\"registered\",\"ti_uuid\":\"u-3\"}");
    assert_int_equal(BERTH("ti", "register", "[::1]:8100", "-m", "ocr"), 0);
    assert_string_equal(out, "u-3: registered\n");
    body = sent("POST /ti/register ");
    assert_member(body, "host", "\"::1\"");
    assert_member(body, "port", "8100");
    assert_member(body, "model_name", "\"ocr\"");
    json_decref(body);
    answer("POST /ti/remove", 200,
           "{\"status\":\"error\",\"message\":\"TaskInstance u-9 not found\",\"ti_uuid\":\"u-9\"}");
    assert_int_equal(BERTH("ti", "rm", "u-9"), 1);
    assert_string_equal(err, "berth: TaskInstance u-9 not found\n");
    assert_int_equal(BERTH("ti", "register", "nowhere"), 2);
    assert_has(err, "'nowhere' is no HOST:PORT");
    assert_int_equal(BERTH("ti", "register"), 2);
    assert_has(err, "ti register needs the instance's HOST:PORT");
    assert_int_equal(BERTH("ti", "drop", "x"), 2);
    assert_has(err, "'drop' is neither register nor rm");
}

/* ---- completion ---- */

#define COMPLETE(...) assert_int_equal(BERTH("complete", __VA_ARGS__), 0)

static void test_completion(void **state)
{
    answer("GET /api/v1/tasks", 200,
           "{\"code\":0,\"data\":[{\"id\":12,\"status\":\"failed\"},{\"id\":7,\"status\":"
           "\"pending\"}]}");
    COMPLETE("tasks", "re");
    assert_string_equal(out, "retry\t\n");
    COMPLETE("tasks", "retry", "");
    assert_string_equal(out, "12\tfailed\n7\tpending\n");
    COMPLETE("submit", "--priority", "");
    assert_string_equal(out, "low\t\nmedium\t\nhigh\t\n");
    COMPLETE("submit", "--delay", "");
    assert_string_equal(out, "");
    answer("GET /v1/batches", 200, "{\"data\":[{\"id\":\"batch_1\",\"status\":\"completed\"}]}");
    COMPLETE("batches", "fetch", "b");
    assert_string_equal(out, "batch_1\tcompleted\n");
    answer("GET /scheduler/info", 200, "{\"instances\":[{\"uuid\":\"u-1\",\"status\":\"ready\"}]}");
    COMPLETE("ti", "rm", "");
    assert_string_equal(out, "u-1\tready\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_submit, forget_answers),
        cmocka_unit_test_setup(test_submit_options, forget_answers),
        cmocka_unit_test_setup(test_submit_input, forget_answers),
        cmocka_unit_test_setup(test_wrong_submit, forget_answers),
        cmocka_unit_test_setup(test_submit_waits, forget_answers),
        cmocka_unit_test_setup(test_tasks, forget_answers),
        cmocka_unit_test_setup(test_task_details, forget_answers),
        cmocka_unit_test_setup(test_tasks_watch, forget_answers),
        cmocka_unit_test_setup(test_task_verbs, forget_answers),
        cmocka_unit_test_setup(test_wrong_verbs, forget_answers),
        cmocka_unit_test_setup(test_stats, forget_answers),
        cmocka_unit_test_setup(test_queue, forget_answers),
        cmocka_unit_test_setup(test_batch, forget_answers),
        cmocka_unit_test_setup(test_batch_waits, forget_answers),
        cmocka_unit_test_setup(test_batches, forget_answers),
        cmocka_unit_test_setup(test_fetch_fails, forget_answers),
        cmocka_unit_test_setup(test_ti, forget_answers),
        cmocka_unit_test_setup(test_completion, forget_answers),
    };

    return cmocka_run_group_tests(tests, open_daemon, close_daemon);
}
