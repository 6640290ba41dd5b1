// SPDX-License-Identifier: Apache-2.0
/* What an instance needs and takes, in the simulated world: declared, estimated, measured; what is
 * remembered, and for which definition. The processes' memory is read from a /proc made here. */
#include "codec/model_maker.h"
#include "rig.h"

#include "base/mem.h"

#define MIB          ((uint64_t)1 << 20)
#define QUICK_HEALTH "\"health_check\":{\"interval\":2,\"timeout\":1}"
#define AUTO         QUICK_HEALTH ",\"resource_requirements\":{\"gpu_memory\":\"auto\"}"

static struct rig *rig;

static const struct llama_shape shape = { 4, 256, 4, 4, 512, 1000, GG_F16 };

static int set_up(void **state)
{
    rig = rig_create(1, NULL);
    return 0;
}

static int tear_down(void **state)
{
    rig_destroy(rig);
    return 0;
}

/* A process with this instance's mark, another one's, and one without. */
static void make_process(int64_t pid, const char *mark, uint64_t rss_mib, uint64_t peak_mib)
{
    char path[96], text[256];
    int fd, n;

    mkdir("proc", 0700);
    snprintf(path, sizeof(path), "proc/%lld", (long long)pid);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "proc/%lld/environ", (long long)pid);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    n = snprintf(text, sizeof(text), "A=b%cBERTH_INSTANCE=%s%cC=", 0, mark, 0);
    assert_int_equal(write(fd, text, (size_t)n), n);
    close(fd);
    snprintf(path, sizeof(path), "proc/%lld/status", (long long)pid);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    n = snprintf(text, sizeof(text), "Name:\tx\nVmHWM:\t%llu kB\nVmRSS:\t%llu kB\nThreads:\t1\n",
                 (unsigned long long)peak_mib * 1024, (unsigned long long)rss_mib * 1024);
    assert_int_equal(write(fd, text, (size_t)n), n);
    close(fd);
}

static void takes(const struct instance *pub, uint64_t rss_mib, uint64_t peak_mib)
{
    char mark[96];

    snprintf(mark, sizeof(mark), "data/%s", pub->uuid);
    make_process(pub->process.pid, mark, rss_mib, peak_mib);
}

static uint64_t needed(const struct instance *pub)
{
    return memory_need_on(&pub->need, 1, 0) / MIB;
}

static const struct instance *of(int64_t id)
{
    return engines_of_model(rig->engines, id);
}

static void test_declared_until_measured(void **state)
{
    int64_t id;
    const struct instance *pub;

    gg_llama(&shape, "model.gguf");
    id = rig_add_model(rig, "m", QUICK_HEALTH);
    pub = rig_await(rig, id, INSTANCE_READY, 2000);
    assert_true(pub->need_known);
    assert_int_equal(pub->need.source, NEED_DECLARED);
    assert_int_equal(needed(pub), 100); /* the rig's gpu_memory */
    assert_true(pub->need.estimated_bytes > 0);
    assert_int_equal(pub->taken.count, 0);

    takes(pub, 140, 150);
    sim_run_for(rig->world, 5000);
    pub = of(id);
    assert_int_equal(place_bytes(&pub->taken), 150 * MIB);
    assert_int_equal(pub->taken.shares[0].device, 0);
    assert_int_equal(pub->need.source, NEED_MEASURED);
    assert_int_equal(pub->need.measured_bytes, 150 * MIB);
    assert_int_equal(pub->need.declared_bytes, 100 * MIB);
    assert_int_equal(needed(pub), 150);
    assert_int_equal(pub->need.load_ms, pub->ready_in_ms);
}

/* The estimate goes on counting where it is more than what was measured. */
static void test_the_larger_of_measured_and_estimated(void **state)
{
    const struct instance *pub;
    uint64_t estimated;
    int64_t id;

    gg_llama(&shape, "model.gguf");
    id = rig_add_model(rig, "m", AUTO);
    pub = rig_await(rig, id, INSTANCE_READY, 2000);
    assert_int_equal(pub->need.source, NEED_ESTIMATED);
    estimated = pub->need.estimated_bytes;
    assert_int_equal(memory_need_on(&pub->need, 1, 0), estimated);
    takes(pub, 1, 1);
    sim_run_for(rig->world, 5000);
    assert_int_equal(of(id)->need.source, NEED_MEASURED);
    assert_int_equal(memory_need_on(&of(id)->need, 1, 0), estimated);
}

static void test_all_its_processes_and_no_others(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_HEALTH);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 2000);
    char mark[96];

    takes(pub, 200, 210);
    snprintf(mark, sizeof(mark), "data/%s", pub->uuid);
    make_process(4000001, mark, 30, 40);
    make_process(4000002, "data/11111111-1111-1111-1111-111111111111", 500, 500);
    snprintf(mark, sizeof(mark), "other/%s", pub->uuid);
    make_process(4000003, mark, 500, 500);
    sim_run_for(rig->world, 5000);
    assert_int_equal(place_bytes(&of(id)->taken), 250 * MIB);
}

static void test_a_peak_is_kept_and_sleep_gives_back(void **state)
{
    int64_t id = rig_add_model(rig, "m", QUICK_HEALTH);
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 2000);

    takes(pub, 300, 400);
    sim_run_for(rig->world, 5000);
    takes(pub, 100, 100);
    sim_run_for(rig->world, 5000);
    assert_int_equal(place_bytes(&of(id)->taken), 400 * MIB);
    takes(pub, 100, 400); /* the kernel remembers */
    rig_engine(rig, "m")->asleep = true;
    sim_run_for(rig->world, 8000);
    assert_true(of(id)->sleeping);
    assert_int_equal(place_bytes(&of(id)->taken), 100 * MIB);
    assert_int_equal(needed(of(id)), 400); /* awake it will take that again */
    rig_engine(rig, "m")->asleep = false;
    takes(pub, 390, 400);
    sim_run_for(rig->world, 8000);
    assert_int_equal(place_bytes(&of(id)->taken), 400 * MIB);
}

/* Another berth knows it; another definition does not. */
static void test_what_was_measured_is_remembered(void **state)
{
    int64_t id, other;

    gg_llama(&shape, "model.gguf");
    id = rig_add_model(rig, "m", QUICK_HEALTH);
    takes(rig_await(rig, id, INSTANCE_READY, 2000), 700, 700);
    sim_run_for(rig->world, 5000);
    assert_int_equal(needed(of(id)), 700);
    rig_crash(rig);
    rig_recover(rig);
    rig_await(rig, id, INSTANCE_READY, 2000);
    sim_run_for(rig->world, 100);
    assert_int_equal(of(id)->need.source, NEED_MEASURED);
    assert_int_equal(needed(of(id)), 700);
    assert_true(of(id)->need.load_ms > 0);

    other = rig_add_model(rig, "n", QUICK_HEALTH);
    rig_await(rig, other, INSTANCE_READY, 2000);
    assert_int_equal(needed(of(other)), 700); /* the same but for its name */
    other = rig_add_model(rig, "o", QUICK_HEALTH ",\"parameters\":{\"ctx_size\":4096}");
    rig_await(rig, other, INSTANCE_READY, 2000);
    assert_int_equal(of(other)->need.source, NEED_DECLARED);
}

/* A file that was replaced is another model, whatever its name. */
static void test_a_changed_file_is_read_anew(void **state)
{
    const struct llama_shape wider = { 4, 512, 4, 4, 1024, 1000, GG_F16 };
    uint64_t before;
    int64_t id;

    gg_llama(&shape, "model.gguf");
    id = rig_add_model(rig, "m", AUTO);
    rig_await(rig, id, INSTANCE_READY, 2000);
    before = of(id)->need.weight_bytes;
    gg_llama(&wider, "model.gguf");
    rig_update_model(rig, id, "m", AUTO ",\"parameters\":{\"ctx_size\":1024}");
    rig_await(rig, id, INSTANCE_READY, 20000);
    sim_run_for(rig->world, 100);
    assert_true(of(id)->need.weight_bytes > 2 * before);
}

static void test_a_file_that_cannot_be_read(void **state)
{
    int64_t id = rig_add_model(rig, "m", NULL); /* the rig's model.gguf is empty */
    const struct instance *pub = rig_await(rig, id, INSTANCE_READY, 2000);

    assert_true(pub->need_known);
    assert_int_equal(pub->need.source, NEED_DECLARED);
    assert_int_equal(pub->need.estimated_bytes, 0);
}

struct answer {
    unsigned count;
    int result;
    struct memory_need need;
    struct error error;
};

static void on_need(void *arg, int result, const struct memory_need *need, const struct error *e)
{
    struct answer *a = arg;

    a->count++;
    a->result = result;
    a->need = *need;
    a->error = e ? *e : (struct error){ 0 };
}

static struct answer estimate(const char *members)
{
    struct model_config *config = rig_model_config("x", members);
    struct answer a = { 0 };

    engines_estimate(rig->engines, config, on_need, &a);
    assert_int_equal(a.count, 0); /* in a later turn */
    model_config_free(config);
    sim_run_for(rig->world, 100);
    assert_int_equal(a.count, 1);
    return a;
}

static void test_estimates_for_others(void **state)
{
    struct answer a;

    gg_llama(&shape, "good.gguf");
    a = estimate("\"model_path\":\"good.gguf\"");
    assert_int_equal(a.result, 0);
    assert_int_equal(a.need.source, NEED_DECLARED);
    assert_true(a.need.estimated_bytes > a.need.weight_bytes);
    a = estimate(
        "\"model_path\":\"good.gguf\",\"resource_requirements\":{\"gpu_memory\":\"auto\"}");
    assert_int_equal(a.need.source, NEED_ESTIMATED);
    a = estimate("\"model_path\":\"gone.gguf\"");
    assert_int_equal(a.result, -ENOENT);
    assert_contains(a.error.text, "gone.gguf");
    assert_int_equal(a.need.split_bytes, 100 * MIB);
    a = estimate("\"framework\":\"openai\",\"model_path\":\"http://127.0.0.1:1\"");
    assert_int_equal(a.result, 0);
    assert_int_equal(a.need.estimated_bytes, 0);
}

static void test_auto_without_a_file_is_an_error(void **state)
{
    static const char *const automatic = "\"resource_requirements\":{\"gpu_memory\":\"auto\"}";
    struct model_config *config = rig_model_config("x", automatic);
    struct validation v = validation_init();
    char *text;

    engines_validate(rig->engines, config, &v);
    assert_int_equal(json_array_size(v.errors), 0);
    free(config->model_path);
    config->model_path = xstrdup("gone.gguf");
    engines_validate(rig->engines, config, &v);
    text = json_dumps(v.errors, 0);
    assert_contains(text, "resource_requirements.gpu_memory is needed");
    free(text);
    validation_finish(&v);
    model_config_free(config);
}

/* Each start that ends for want of memory asks for more, up to the double. */
static void test_out_of_memory_raises_the_need(void **state)
{
    int64_t id;

    rig->behaviour =
        (struct behaviour){ .end_after_ms = 50,
                            .end_code = 1,
                            .never_ready = true,
                            .last_words =
                                "0.00.1 E ggml: failed to allocate buffer of size 1000\n" };
    id = rig_add_model(rig, "m",
                       "\"retry_policy\":{\"initial_delay\":1,\"max_delay\":1,\"max_attempts\":9}");
    sim_run_for(rig->world, 500);
    assert_int_equal(of(id)->out_of_memory, 1);
    assert_in_range(needed(of(id)), 114, 115);
    sim_run_for(rig->world, 60000);
    assert_true(of(id)->out_of_memory > 6);
    assert_int_equal(needed(of(id)), 200);
}

static void count_change(void *owner, const void *change)
{
    ++*(unsigned *)owner;
}

/* Who chooses among instances counts the time of waking. */
static void test_sleep_is_told_once(void **state)
{
    unsigned changes = 0;
    struct listener listener = { .fn = count_change, .owner = &changes };
    int64_t id = rig_add_model(rig, "m", QUICK_HEALTH);

    rig_await(rig, id, INSTANCE_READY, 2000);
    sim_run_for(rig->world, 10000);
    notify_add(engines_signal(rig->engines), &listener);
    rig_engine(rig, "m")->asleep = true;
    sim_run_for(rig->world, 20000);
    assert_true(of(id)->sleeping);
    assert_int_equal(changes, 1);
    rig_engine(rig, "m")->asleep = false;
    sim_run_for(rig->world, 20000);
    assert_false(of(id)->sleeping);
    assert_int_equal(changes, 2);
    notify_remove(&listener);
}

static void load_ever_slower(struct rig *r, struct behaviour *b)
{
    *b = (struct behaviour){ .load_ms = 1000 * (r->starts + 1) };
}

/* Each start is told of once: two that take turns in it would change the figure for ever. */
static void test_replicas_that_load_in_different_times(void **state)
{
    unsigned changes = 0;
    struct listener listener = { .fn = count_change, .owner = &changes };
    const struct instance *pub;
    size_t cursor = 0;
    int64_t id;

    rig->roll = load_ever_slower;
    id = rig_add_model(rig, "m", QUICK_HEALTH ",\"replicas\":2");
    rig_await_all(rig, id, INSTANCE_READY, 2, 10000);
    while ((pub = engines_next(rig->engines, &cursor))) {
        takes(pub, 150, 150);
    }
    sim_run_for(rig->world, 10000);
    assert_true(of(id)->need.load_ms > 0);
    notify_add(engines_signal(rig->engines), &listener);
    sim_run_for(rig->world, 60000);
    notify_remove(&listener);
    assert_int_equal(changes, 0);
}

static void test_more_than_there_is_anywhere(void **state)
{
    int64_t id = rig_add_model(
        rig, "m", "\"resource_requirements\":{\"gpu_memory\":17592186044416}"); /* 2^64 bytes */

    rig_await(rig, id, INSTANCE_READY, 2000);
    assert_true(memory_need_on(&of(id)->need, 2, 0) > (uint64_t)1 << 48);
}

/* One that goes while its file is read, and a berth that goes: nothing is left behind. */
static void test_going_while_files_are_read(void **state)
{
    struct answer a = { 0 };
    struct model_config *config = rig_model_config("x", NULL);
    int64_t id = rig_add_model(rig, "m", NULL);

    rig_want(rig, id, false);
    rig_await_gone(rig, id, 20000);
    rig_add_model(rig, "n", NULL);
    engines_estimate(rig->engines, config, on_need, &a);
    model_config_free(config);
    rig_crash(rig);
    assert_true(a.count <= 1); /* answered before the end, or never */
    rig_recover(rig);
    assert_true(a.count <= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_declared_until_measured, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_larger_of_measured_and_estimated, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_all_its_processes_and_no_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sleep_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_peak_is_kept_and_sleep_gives_back, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_what_was_measured_is_remembered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_changed_file_is_read_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_cannot_be_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_estimates_for_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_auto_without_a_file_is_an_error, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_out_of_memory_raises_the_need, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_replicas_that_load_in_different_times, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_more_than_there_is_anywhere, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_going_while_files_are_read, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
