// SPDX-License-Identifier: Apache-2.0
/* berth plan as a user meets it: its table, its JSON, its complaints, and the check of a file. */
#include "unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "cli/cli.h"

enum { TEXT_MAX = 65536 };

static char out[TEXT_MAX], err[TEXT_MAX], folder[64];

static char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void slurp(const char *path, char text[TEXT_MAX])
{
    FILE *f = fopen(path, "r");
    size_t n;

    assert_non_null(f);
    n = fread(text, 1, TEXT_MAX - 1, f);
    text[n] = '\0';
    fclose(f);
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* Points fd at a file; returns what it was. */
static int divert(int fd, const char *path)
{
    const int before = dup(fd), file = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0600);

    assert_true(before >= 0 && file >= 0);
    assert_int_equal(dup2(file, fd), fd);
    close(file);
    return before;
}

/* Runs the words after "berth plan"; their exit code, and what they wrote in out and err. */
#define PLAN(...) run((const char *[]){ "berth", "plan", __VA_ARGS__, NULL })

static int run(const char **words)
{
    int count = 0, code, stdout_before, stderr_before;

    while (words[count]) {
        count++;
    }
    fflush(stdout);
    fflush(stderr);
    stdout_before = divert(STDOUT_FILENO, in_folder("out"));
    stderr_before = divert(STDERR_FILENO, in_folder("err"));
    code = cli_main(count, UNCONST(char **, words));
    fflush(stdout);
    fflush(stderr);
    dup2(stdout_before, STDOUT_FILENO);
    dup2(stderr_before, STDERR_FILENO);
    close(stdout_before);
    close(stderr_before);
    slurp(in_folder("out"), out);
    slurp(in_folder("err"), err);
    return code;
}

static void assert_says(const char *text, const char *words)
{
    if (!strstr(text, words)) {
        print_error("no '%s' in:\n%s\n", words, text);
        fail();
    }
}

static void test_table(void **state)
{
    assert_int_equal(PLAN("--model", "llama-3.1-70b", "--chip", "h100-sxm", "--chips", "8", "--isl",
                          "1024", "--osl", "256", "--slo-tpot", "50ms"),
                     0);
    assert_says(out, "Llama-3.1-70B (fp8");
    assert_says(out, "tp2");
    assert_says(out, "TPOT ms (p10-p90)");
    assert_says(out, "A decode step of the first");
    assert_says(out, "Ranked by the most output tokens/s of a chip among plans that meet the SLO");
    assert_string_equal(err, "");
}

static void test_refusals_are_told(void **state)
{
    assert_int_equal(PLAN("--model", "llama-3.1-405b", "--chip", "rtx-4090", "--chips", "4"), 1);
    assert_says(out, "No plan fits.");
    assert_says(out, "does not fit: weights");
    assert_says(out, "25.8 GB");
}

static void test_json(void **state)
{
    double before = 1e300;
    json_t *answer, *plans, *plan;
    size_t i;

    assert_int_equal(PLAN("--model", "qwen3-235b-a22b", "--chip", "h200", "--slo-tpot", "0.05s",
                          "--json", "--top", "5", "--price", "3.5"),
                     0);
    answer = json_loads(out, 0, NULL);
    assert_non_null(answer);
    plans = json_object_get(answer, "plans");
    assert_int_equal(json_array_size(plans), 5);
    json_array_foreach(plans, i, plan)
    {
        const double rate =
            json_number_value(json_object_get(plan, "output_tokens_per_s_per_chip"));

        assert_true(rate > 0 && rate <= before);
        assert_true(json_number_value(json_object_get(plan, "tpot_ms")) <= 50);
        assert_non_null(json_object_get(plan, "usd_per_m_output_tokens"));
        before = rate;
    }
    assert_non_null(json_object_get(json_object_get(answer, "search"), "tried"));
    json_decref(answer);
}

static void test_wrong_words(void **state)
{
    assert_int_equal(PLAN("--model", "llama-3.1-71b", "--chip", "h100"), 2);
    assert_says(err, "Llama-3.1-70B");
    assert_int_equal(PLAN("--model", "llama-3.1-70b", "--chip", "h100-sxn"), 2);
    assert_says(err, "H100-SXM");
    assert_int_equal(PLAN("--model", "llama-3.1-70b"), 2);
    assert_int_equal(PLAN("--model", "qwen3-8b", "--chip", "h100", "--slo-tpot", "50"), 2);
    assert_says(err, "--slo-tpot");
    assert_int_equal(PLAN("--model", "qwen3-8b", "--chip", "h100", "--precision", "fp7"), 2);
    assert_int_equal(PLAN("--model", "qwen3-8b", "--chip", "h100", "--chips", "0"), 2);
    assert_int_equal(PLAN("--model", "qwen3-8b", "--chip", "h100", "--price", "-1"), 2);
    assert_int_equal(PLAN("chekc", "x"), 2);
    assert_int_equal(PLAN("check"), 2);
    assert_int_equal(PLAN("check", "/nowhere/at/all.csv"), 1);
    assert_says(err, "/nowhere/at/all.csv");
}

static void test_check(void **state)
{
    char rows[128], file[128];

    snprintf(rows, sizeof(rows), "%s", in_folder("rows.csv"));
    snprintf(file, sizeof(file), "%s", in_folder("m.csv"));
    put(file,
        "id,workload,model,precision,chip,chips,tp,isl,osl,concurrency,framework,metric,value,"
        "split_tag\n"
        "\"a,1\",closed_loop,Llama-3.1-70B,FP8,H100-SXM,4,4,1024,256,16,vllm,tpot_mean,15,new\n"
        "b,closed_loop,Nobody-7B,FP8,H100-SXM,4,4,1024,256,16,vllm,tpot_mean,15,new\n"
        "c,closed_loop,Llama-3.1-70B,BF16,H100-SXM,1,1,1024,256,16,vllm,tpot_mean,15,old\n");
    assert_int_equal(PLAN("check", file, "--rows", rows), 0);
    assert_says(out, "closed_loop");
    assert_says(out, "new");
    assert_says(out, "old");
    slurp(rows, out);
    assert_int_equal(
        strncmp(out, "id,metric,value,predicted,p10,p90,reason\n\"a,1\",tpot_mean,15,", 60), 0);
    assert_says(out, "\nb,tpot_mean,15,,,,unknown model 'Nobody-7B'");
    assert_says(out, "\nc,tpot_mean,15,,,,\"does not fit: weights");
    put(file, "id,colour\n1,red\n");
    assert_int_equal(PLAN("check", file), 2);
    assert_says(err, "no column 'workload'");
}

static int enter(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/berth-test-plan-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int leave(void **state)
{
    static const char *const files[] = { "out", "err", "m.csv", "rows.csv" };

    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        unlink(in_folder(files[i]));
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_refusals_are_told),
        cmocka_unit_test(test_json),  cmocka_unit_test(test_wrong_words),
        cmocka_unit_test(test_check),
    };

    return cmocka_run_group_tests(tests, enter, leave);
}
