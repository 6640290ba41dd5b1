// SPDX-License-Identifier: Apache-2.0
/* Traces: the three formats, what is refused (with the line), and made ones. */
#include "simulate/trace.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "unit.h"

/* ---- files ---- */

static char dir[64], path[96];

static int setup(void **unused)
{
    (void)unused;
    snprintf(dir, sizeof(dir), "/tmp/berth-trace-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/t.csv", dir);
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    unlink(path);
    rmdir(dir);
    return 0;
}

static void write_bytes(const char *text, size_t n)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static struct trace read_text(const char *text)
{
    struct trace t;
    struct error e = { 0 };

    write_bytes(text, strlen(text));
    if (trace_read(path, &t, &e) < 0) {
        fail_msg("%s", e.text);
    }
    return t;
}

/* Refused, with the path, this line and these words in the sentence. */
static void refused_bytes(const char *text, size_t n, size_t line, const char *words)
{
    struct trace t = { .count = 77 };
    struct error e = { 0 };
    char begin[160];

    write_bytes(text, n);
    assert_int_equal(trace_read(path, &t, &e), -EINVAL);
    assert_int_equal(t.count, 77);
    assert_int_equal(e.code, -EINVAL);
    assert_true(is_valid_utf8(e.text, strlen(e.text)));
    snprintf(begin, sizeof(begin), "%s, line %zu: ", path, line);
    if (strncmp(e.text, begin, strlen(begin)) != 0 || !strstr(e.text, words)) {
        fail_msg("'%s' should begin with '%s' and say '%s'", e.text, begin, words);
    }
}

static void refused(const char *text, size_t line, const char *words)
{
    refused_bytes(text, strlen(text), line, words);
}

#define AZURE    "TIMESTAMP,ContextTokens,GeneratedTokens\n"
#define OURS     "arrival_s,input_tokens,output_tokens\n"
#define MODELS   "arrival_s,input_tokens,output_tokens,model\n"
#define SESSIONS "arrival_s,input_tokens,output_tokens,model,session\n"

/* ---- the formats ---- */

static void test_azure(void **unused)
{
    struct trace t = read_text("TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
                               "2023-12-31 23:59:59.9000001,374,44\r\n"
                               "2024-01-01 00:00:00.1,396,109\r\n"
                               "2024-02-29 00:00:01,1,1\r\n"
                               "2024-03-01 00:00:01.000000+00:00,7,8\r\n\r\n \n");

    (void)unused;
    assert_string_equal(t.name, "t.csv");
    assert_int_equal(t.count, 4);
    assert_true(t.requests[0].at_s == 0);
    assert_true(fabs(t.requests[1].at_s - 0.1999999) < 1e-9);
    assert_true(fabs(t.requests[2].at_s - (59 * 86400 + 1.0999999)) < 1e-6);
    assert_true(fabs(t.requests[3].at_s - t.requests[2].at_s - 86400) < 1e-6);
    assert_int_equal(t.requests[1].input_tokens, 396);
    assert_int_equal(t.requests[1].output_tokens, 109);
    assert_int_equal(t.model_count, 1);
    assert_string_equal(t.models[0], "");
    assert_null(t.requests[0].blocks);
    trace_finish(&t);
    assert_null(t.requests);
    t = read_text(AZURE "2000-02-28 00:00:00,1,1\n2000-03-01 00:00:00,1,1\n2100-03-01 "
                        "00:00:00,1,1\n2101-01-01 00:00:00,1,1\n");
    assert_true(t.requests[1].at_s == 2 * 86400.0);
    assert_true(t.requests[2].at_s == (36524 + 2) * 86400.0); /* 2100 has no 29th of February */
    assert_true(t.requests[3].at_s == (36524 + 2 + 306) * 86400.0);
    trace_finish(&t);
}

static void test_mooncake(void **unused)
{
    struct trace t = read_text(
        "{\"timestamp\": 27000, \"input_length\": 1025, \"output_length\": 5, \"hash_ids\": [4, 5, "
        "6]}\n"
        "{\"timestamp\": 27000.5, \"input_length\": 1537, \"output_length\": 1, \"hash_ids\": [4 , "
        "5,7,18446744073709551615], \"extra\": {\"a\": [1, {}]}}\n"
        "{\"output_length\":2,\"input_length\":600,\"timestamp\":28e3,\"hash_ids\":[9,5]}\n"
        "{\"output_length\":2,\"input_length\":600,\"timestamp\":30000,\"hash_ids\":[ ]}\n"
        "{\"output_length\":2,\"input_length\":600,\"timestamp\":30000}");
    const struct trace_request *q = t.requests;

    (void)unused;
    assert_int_equal(t.count, 5);
    assert_true(q[0].at_s == 0 && fabs(q[1].at_s - 0.0005) < 1e-9 && q[2].at_s == 1);
    assert_int_equal(q[0].block_count, 3);
    assert_int_equal(q[1].block_count, 4);
    assert_true(q[0].blocks[0] == q[1].blocks[0] && q[0].blocks[1] == q[1].blocks[1]);
    assert_true(q[0].blocks[2] != q[1].blocks[2]);
    /* the same block after another beginning is not the same */
    assert_true(q[2].blocks[0] != q[0].blocks[0] && q[2].blocks[1] != q[0].blocks[1]);
    assert_int_equal(q[3].block_count, 0);
    assert_null(q[3].blocks);
    assert_null(q[4].blocks);
    trace_finish(&t);
}

static void test_ours(void **unused)
{
    struct trace t = read_text("\xEF\xBB\xBF" SESSIONS "3,10,1,large,s1\n1.5,20,2,small,\n"
                               "1.5,30,3,large,s2\n2e0,40,4,small,s1\n");
    const struct trace_request *q = t.requests;

    (void)unused;
    assert_int_equal(t.count, 4); /* in order of time, equal ones as they stood */
    assert_int_equal(q[0].input_tokens, 20);
    assert_int_equal(q[1].input_tokens, 30);
    assert_int_equal(q[2].input_tokens, 40);
    assert_int_equal(q[3].input_tokens, 10);
    assert_true(q[0].at_s == 0 && q[1].at_s == 0 && q[2].at_s == 0.5 && q[3].at_s == 1.5);
    assert_int_equal(t.model_count, 2);
    assert_string_equal(t.models[0], "large");
    assert_string_equal(t.models[1], "small");
    assert_int_equal(q[0].model, 1);
    assert_int_equal(q[1].model, 0);
    assert_int_equal(q[0].session, 0);
    assert_int_equal(q[1].session, 2);
    assert_int_equal(q[2].session, 1);
    assert_int_equal(q[3].session, 1);
    trace_finish(&t);

    t = read_text(OURS "-5,1,1\n0,10000000,1\n");
    assert_true(t.requests[1].at_s == 5);
    assert_string_equal(t.models[0], "");
    trace_finish(&t);
    t = read_text(MODELS "0,1,1, qwen 3 \n");
    assert_string_equal(t.models[0], "qwen 3");
    trace_finish(&t);
}

/* ---- what is refused ---- */

static void test_refuses_files(void **unused)
{
    struct trace t;
    struct error e = { 0 };

    (void)unused;
    assert_int_equal(trace_read("/nonexistent/trace.csv", &t, &e), -ENOENT);
    assert_non_null(strstr(e.text, "/nonexistent/trace.csv: No such file"));
    assert_int_equal(trace_read(dir, &t, &e), -EINVAL);
    assert_non_null(strstr(e.text, "cannot be read"));
    refused("", 1, "no request");
    refused("\n\n", 1, "no request");
    refused(AZURE, 1, "no request");
    refused("a,b,c\n1,2,3\n", 1, "first line");
    refused("TIMESTAMP,GeneratedTokens,ContextTokens\n", 1, "first line");
    refused("arrival_s,input_tokens,output_tokens,session\n", 1, "first line");
    refused("[1]\n", 1, "first line");
    refused_bytes("\0\0\0", 3, 1, "first line");
}

static void test_refuses_azure(void **unused)
{
    static const char *const times[] = { "2023-11-16 18:15",
                                         "2023-11-16 18:15:46.",
                                         "2023-11-16 18:15:46.1234567890",
                                         "2023-11-16 18:15:46.1x",
                                         "2023-11-16 18:15:46+02:00",
                                         "2023-13-16 18:15:46",
                                         "2023-02-29 18:15:46",
                                         "2023-11-00 18:15:46",
                                         "1969-11-01 18:15:46",
                                         "2023-11-16 24:15:46",
                                         "2023-11-16 18:60:46",
                                         "2023-11-16 18:15:61",
                                         "2023-11-16 -1:15:46",
                                         "NaN",
                                         "" };

    (void)unused;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char text[256];

        snprintf(text, sizeof(text), AZURE "2023-11-16 18:15:46.68,1,1\n%s,1,1\n", times[i]);
        refused(text, 3, "TIMESTAMP must be");
    }
    refused(AZURE "2023-11-16 18:15:46,1\n", 2, "3 columns were expected, not 2");
    refused(AZURE "2023-11-16 18:15:46,1,2,3\n", 2, "3 columns were expected, not 4");
    refused(AZURE "2023-11-16 18:15:46,0,2\n", 2, "ContextTokens must be");
    refused(AZURE "2023-11-16 18:15:46,1,0\n", 2, "GeneratedTokens must be");
    refused(AZURE "2023-11-16 18:15:46,1,-3\n", 2, "GeneratedTokens must be");
    refused(AZURE "2023-11-16 18:15:46,10000001,3\n", 2, "from 1 to 10000000");
    refused(AZURE "2023-11-16 18:15:46,99999999999999999999999,3\n", 2, "ContextTokens must be");
    refused(AZURE "2023-11-16 18:15:46,1e3,3\n", 2, "ContextTokens must be");
    refused(AZURE "\n2023-11-16 18:15:46,1,3\n", 2, "3 columns were expected, not 1");
}

static void test_refuses_ours(void **unused)
{
    static const char *const times[] = { "nan", "inf",  "-inf", "1e999", "1e12", "0x10", "1.2.3",
                                         "",    "1 2",  "e",    "--1",   "1e",   "0,5",  "1_000",
                                         "+",   "1e+-", "-",    ".",     "12s" };
    char name[80], text[256];

    (void)unused;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        snprintf(text, sizeof(text), OURS "%s,1,1\n", times[i]);
        refused(text, 2, strchr(times[i], ',') ? "columns" : "arrival_s must be a time");
    }
    memset(name, '1', 70); /* a long one, which would be a number */
    name[70] = 0;
    snprintf(text, sizeof(text), OURS "%s,1,1\n", name);
    refused(text, 2, "arrival_s must be a time");
    snprintf(text, sizeof(text), MODELS "1,1,1,%s\n", name);
    refused(text, 2, "model must be a name");
    refused(MODELS "1,1,1,\n", 2, "model must be a name");
    refused(OURS "\xFF\xFE,1,1\n", 2, "arrival_s must be a time");
    refused(OURS "1,\xE2\x82,1\n", 2, "input_tokens must be");
    refused(MODELS "1,1,1,\"a\"\n", 2, "model must be a name");
    refused(MODELS "1,1,1,\xFF\n", 2, "model must be a name");
    refused(MODELS "1,1,1\n", 2, "4 columns were expected, not 3");
    refused_bytes(MODELS "1,1,1,a\0b\n", sizeof(MODELS "1,1,1,a\0b\n") - 1, 2, "model must be");
    refused_bytes(OURS "1,1\0,1\n", sizeof(OURS "1,1\0,1\n") - 1, 2, "input_tokens must be");
}

static void test_refuses_too_many_models(void **unused)
{
    char *text = malloc(1 << 20), *p = text + sprintf(text, MODELS);

    (void)unused;
    for (int i = 0; i <= TRACE_MODELS_MAX; i++) {
        p += sprintf(p, "%d,1,1,m%d\n", i, i);
    }
    refused(text, TRACE_MODELS_MAX + 2, "more than 1024 names");
    free(text);
}

static void test_refuses_json(void **unused)
{
    static const char good[] = "{\"timestamp\":1,\"input_length\":5,\"output_length\":6}\n";
    static const struct {
        const char *line, *words;
    } bad[] = {
        { "{\"timestamp\":1,\"input_length\":5", "" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":6}}", "" },
        { "{\"timestamp\":1,\"timestamp\":1,\"input_length\":5,\"output_length\":6}", "" },
        { "[1]", "" },
        { "x", "" },
        { "{\"timestamp\":NaN,\"input_length\":5,\"output_length\":6}", "" },
        { "{\"timestamp\":1e999,\"input_length\":5,\"output_length\":6}",
          "timestamp must be a time" },
        { "{\"timestamp\":\"1\",\"input_length\":5,\"output_length\":6}",
          "timestamp must be there" },
        { "{\"timestamp\":1,\"input_length\":5}", "output_length must be there" },
        { "{\"timestamp\":1,\"input_length\":0,\"output_length\":6}", "input_length must be" },
        { "{\"timestamp\":1,\"input_length\":5.5,\"output_length\":6}", "input_length must be" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":1e9}", "output_length must be" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":6,\"hash_ids\":7}", "a list" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":6,\"hash_ids\":[\"a\"]}",
          "whole" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":6,\"hash_ids\":[-1]}", "whole" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":6,\"hash_ids\":[[1]]}", "whole" },
        { "{\"timestamp\":1,\"input_length\":512,\"output_length\":6,\"hash_ids\":[1,2]}",
          "more than 1 blocks" },
        { "{\"timestamp\":1,\"input_length\":5,\"output_length\":6,\"hash_ids\":"
          "[18446744073709551616]}",
          "whole" },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char text[512];

        snprintf(text, sizeof(text), "%s%s%s\n%s", good, good, bad[i].line, good);
        refused(text, 3, bad[i].words);
    }
}

static void test_refuses_a_line_without_end(void **unused)
{
    const size_t n = 20 << 20;
    char *text = xmalloc(n);

    (void)unused;
    memset(text, '1', n);
    memcpy(text, OURS, sizeof(OURS) - 1);
    refused_bytes(text, n, 2, "a line of more than 8 MiB");
    memset(text, '{', n);
    refused_bytes(text, n, 1, "a line of more than 8 MiB");
    memset(text, ' ', n); /* and blanks up to the end are no lines */
    memcpy(text, OURS "0,1,1\n", sizeof(OURS "0,1,1\n") - 1);
    refused_bytes(text, n, 3, "a line of more than 8 MiB");
    free(text);
}

/* A line that ends anywhere: it is read as far as it goes, or refused; nothing else. */
static void test_every_cut(void **unused)
{
    static const char *const texts[] = {
        "{\"timestamp\": 1, \"input_length\": 1025, \"output_length\": 5, \"hash_ids\": [4, 5, "
        "6]}\n",
        AZURE "2023-11-16 18:15:46.6805900,374,44\n",
        SESSIONS "3,10,1,large,s1\n",
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        for (size_t n = 0; n <= strlen(texts[i]); n++) {
            struct trace t;
            struct error e = { 0 };

            write_bytes(texts[i], n);
            if (trace_read(path, &t, &e) >= 0) {
                assert_int_equal(t.count, 1);
                trace_finish(&t);
            } else {
                assert_int_equal(e.code < 0, 1);
                assert_non_null(strstr(e.text, ", line "));
            }
        }
    }
}

/* Longer than the reader's buffer: lines that lie across its ends come out whole. */
static void test_long_files(void **unused)
{
    const unsigned count = 60000;
    char *text = malloc((size_t)count * 48 + 64), *p = text + sprintf(text, SESSIONS);
    struct trace t;

    (void)unused;
    for (unsigned i = 0; i < count; i++) { /* backwards in time */
        p += sprintf(p, "%u.25,%u,%u,model-%u,session-%u\n", count - i, i + 1, i % 97 + 1, i % 7,
                     i % 1000);
    }
    t = read_text(text);
    free(text);
    assert_int_equal(t.count, count);
    assert_int_equal(t.model_count, 7);
    for (unsigned i = 0; i < count; i++) {
        const struct trace_request *q = &t.requests[count - 1 - i];

        assert_int_equal(q->input_tokens, i + 1);
        assert_int_equal(q->output_tokens, i % 97 + 1);
        assert_int_equal(q->model, i % 7);
        assert_int_equal(q->session, i % 1000 + 1);
        assert_true(q->at_s == count - 1 - i);
    }
    trace_finish(&t);
}

/* Its name is shown in pictures: it stays text, also where it is cut. */
static void test_names(void **unused)
{
    static const char *const endings[] = { "\xC3\xA9\xC3\xA9.csv", "\xFF.csv" };

    (void)unused;
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        char file[192];
        struct trace t;
        struct error e = { 0 };

        snprintf(file, sizeof(file), "%s/%062d%s", dir, 0, endings[i]);
        write_bytes(OURS "0,1,1\n", sizeof(OURS "0,1,1\n") - 1);
        assert_int_equal(rename(path, file), 0);
        assert_int_equal(trace_read(file, &t, &e), 0);
        assert_int_equal(strlen(t.name), 62);
        assert_true(is_valid_utf8(t.name, strlen(t.name)));
        trace_finish(&t);
        unlink(file);
    }
}

/* ---- the real ones ---- */

static bool read_real(const char *name, struct trace *ret)
{
    static const char *const folders[] = { "../shared/traces", "../../shared/traces" };
    char file[128];
    struct error e = { 0 };

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(file, sizeof(file), "%s/%s", folders[i], name);
        if (access(file, R_OK) == 0) {
            if (trace_read(file, ret, &e) < 0) {
                fail_msg("%s", e.text);
            }
            return true;
        }
    }
    print_message("no %s here: passed over\n", name);
    return false;
}

static void test_real_ones(void **unused)
{
    struct trace t;

    (void)unused;
    if (read_real("azure_llm_2023_conv.csv", &t)) {
        assert_int_equal(t.count, 19366);
        assert_true(fabs(t.requests[t.count - 1].at_s - 3501.7219370) < 1e-6);
        assert_int_equal(t.requests[0].input_tokens, 374);
        assert_int_equal(t.requests[t.count - 1].output_tokens, 183);
        trace_finish(&t);
    }
    if (read_real("mooncake_conversation.jsonl", &t)) {
        size_t blocks = 0;

        assert_int_equal(t.count, 12031);
        for (size_t i = 0; i < t.count; i++) {
            blocks += t.requests[i].block_count;
        }
        assert_int_equal(blocks, 288500);
        assert_true(t.requests[0].blocks[0] == t.requests[1].blocks[0]);
        trace_finish(&t);
    }
}

/* ---- made ones ---- */

static void mean_and_cv(const struct trace *t, bool output, double *ret_mean, double *ret_cv)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < t->count; i++) {
        const double x = output ? t->requests[i].output_tokens : t->requests[i].input_tokens;

        sum += x;
        squares += x * x;
    }
    *ret_mean = sum / (double)t->count;
    *ret_cv = sqrt(squares / (double)t->count - *ret_mean * *ret_mean) / *ret_mean;
}

static void test_made(void **unused)
{
    const struct trace_recipe recipe = { .rate_rps = 4,
                                         .isl = 3000,
                                         .osl = 200,
                                         .isl_cv = 0.5,
                                         .osl_cv = 1.5,
                                         .requests = 100000,
                                         .families = 10,
                                         .shared_share = 0.5,
                                         .seed = 7 };
    struct trace_recipe other = recipe;
    struct trace t, again;
    double mean, cv;

    (void)unused;
    trace_make(&recipe, &t);
    trace_make(&recipe, &again);
    assert_int_equal(t.count, 100000);
    mean_and_cv(&t, false, &mean, &cv);
    assert_true(fabs(mean / 3000 - 1) < 0.01 && fabs(cv / 0.5 - 1) < 0.02);
    mean_and_cv(&t, true, &mean, &cv);
    assert_true(fabs(mean / 200 - 1) < 0.03 && fabs(cv / 1.5 - 1) < 0.05);
    assert_true(fabs(t.requests[t.count - 1].at_s / 25000 - 1) < 0.02);
    assert_true(t.requests[0].at_s == 0);
    for (size_t i = 1; i < t.count; i++) {
        assert_true(t.requests[i].at_s >= t.requests[i - 1].at_s);
        assert_true(t.requests[i].at_s == again.requests[i].at_s);
        assert_int_equal(t.requests[i].input_tokens, again.requests[i].input_tokens);
    }
    trace_finish(&again);
    other.seed = 8;
    trace_make(&other, &again);
    assert_true(t.requests[5].at_s != again.requests[5].at_s);
    trace_finish(&again);
    trace_finish(&t);
}

/* Of exponential lengths one of e is longer than the mean, one of e^3 than three times that. */
static void test_made_lengths(void **unused)
{
    const struct trace_recipe recipe = {
        .rate_rps = 1, .isl = 1000, .osl = 1000, .isl_cv = 1, .requests = 200000, .seed = 5
    };
    struct trace t;
    double above = 0, far = 0;

    (void)unused;
    trace_make(&recipe, &t);
    for (size_t i = 0; i < t.count; i++) {
        above += t.requests[i].input_tokens > 1000;
        far += t.requests[i].input_tokens > 3000;
        assert_int_equal(t.requests[i].output_tokens, 1000);
        assert_null(t.requests[i].blocks);
    }
    assert_true(fabs(above / 200000 - exp(-1)) < 0.005);
    assert_true(fabs(far / 200000 - exp(-3)) < 0.002);
    trace_finish(&t);
}

static void test_families(void **unused)
{
    const struct trace_recipe recipe = { .rate_rps = 1,
                                         .isl = 5120,
                                         .osl = 10,
                                         .requests = 1000,
                                         .families = 4,
                                         .shared_share = 0.4,
                                         .seed = 3 };
    struct trace t;
    unsigned alike = 0;

    (void)unused;
    trace_make(&recipe, &t);
    for (size_t i = 0; i < t.count; i++) {
        const struct trace_request *q = &t.requests[i], *before = &t.requests[i ? i - 1 : 1];

        assert_int_equal(q->input_tokens, 5120);
        assert_int_equal(q->block_count, 10);
        for (int b = 0; b < 10; b++) { /* together from the first to the fourth, or never */
            assert_int_equal(q->blocks[b] == before->blocks[b],
                             b < 4 && q->blocks[0] == before->blocks[0]);
        }
        alike += q->blocks[0] == before->blocks[0];
    }
    assert_in_range(alike, 150, 350); /* one of four */
    trace_finish(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_azure),
        cmocka_unit_test(test_mooncake),
        cmocka_unit_test(test_ours),
        cmocka_unit_test(test_refuses_files),
        cmocka_unit_test(test_refuses_azure),
        cmocka_unit_test(test_refuses_ours),
        cmocka_unit_test(test_refuses_too_many_models),
        cmocka_unit_test(test_refuses_json),
        cmocka_unit_test(test_refuses_a_line_without_end),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_long_files),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_real_ones),
        cmocka_unit_test(test_made),
        cmocka_unit_test(test_made_lengths),
        cmocka_unit_test(test_families),
    };

    return cmocka_run_group_tests_name("simulate/trace", tests, setup, teardown);
}
