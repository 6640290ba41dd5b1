// SPDX-License-Identifier: Apache-2.0
/* Instances in containers, on a scripted container engine in simulated time. */
#include "fake_docker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"
#include "engines/container.h"
#include "engines/container_log.h"

#define BOXED                                                                                      \
    "\"framework\":\"docker\",\"model_path\":\"org/name\","                                        \
    "\"retry_policy\":{\"initial_delay\":2,\"max_delay\":10,\"max_attempts\":3},"                  \
    "\"parameters\":{\"image\":\"x/y:1\",\"command\":\"--port ${PORT} ${MODEL_ID}\"}"
#define PULLED                                                                                     \
    "\"framework\":\"docker\",\"model_path\":\"org/name\","                                        \
    "\"parameters\":{\"image\":\"reg:5000/x/y\",\"pull\":true}"

static struct rig *rig;
static struct fake_docker *docker;

static int set_up(void **state)
{
    static const char *const environment[] = { "BERTH_ENGINES_DOCKER_SOCKET=docker.sock",
                                               "BERTH_ENGINES_STOP_GRACE=3s", NULL };

    rig = rig_create(1, environment);
    docker = fake_docker_create(rig);
    return 0;
}

static int tear_down(void **state)
{
    rig_lose_engines(rig);
    docker = fake_docker_destroy(docker);
    rig_destroy(rig);
    return 0;
}

static void pass(uint64_t ms)
{
    sim_run_for(rig->world, ms);
}

static const struct instance *add_ready(int64_t *ret_id)
{
    *ret_id = rig_add_model(rig, "m", BOXED);
    return rig_await(rig, *ret_id, INSTANCE_READY, 5000);
}

static char *log_of(const struct instance *pub)
{
    char *text = engines_log_tail(rig->engines, pub->uuid, 8192);

    return text ? text : xstrdup("");
}

static void expect_log(const struct instance *pub, const char *expected)
{
    _cleanup_(freep) char *text = log_of(pub);

    assert_string_equal(text, expected);
}

static void test_a_whole_life(void **state)
{
    const struct instance *pub;
    struct fake_container *c;
    char expected[128];
    int64_t id;

    docker->first_log = "loading\n";
    pub = add_ready(&id);
    c = fake_docker_only(docker);
    snprintf(expected, sizeof(expected), "berth-%.8s", pub->uuid);
    assert_string_equal(c->name, expected);
    assert_int_equal(pub->process.pid, c->pid);
    assert_false(pub->remote);
    assert_string_equal(json_string_value(json_object_get(c->body, "Image")), "x/y:1");
    snprintf(expected, sizeof(expected), "BERTH_INSTANCE=data/%s", pub->uuid);
    assert_string_equal(json_string_value(json_array_get(json_object_get(c->body, "Env"), 0)),
                        expected);
    assert_contains(docker->paths, "POST /v1.41/containers/create?name=berth-");
    expect_log(pub, "loading\n");
    assert_int_equal(rig_count_rows(rig), 1);

    pass(600 * 1000);
    assert_int_equal(docker->starts, 1);
    rig->trail[0] = '\0';
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 5000);
    assert_string_equal(rig->trail, "draining stopping gone");
    pass(100); /* its row goes */
    assert_contains(docker->paths, "/stop?t=4\n");
    assert_int_equal(fake_docker_count(docker), 0);
    assert_int_equal(rig_count_rows(rig), 0);
}

static void test_one_that_does_not_stop_is_killed(void **state)
{
    int64_t id;

    add_ready(&id);
    fake_docker_only(docker)->ignores_stop = true;
    rig_want(rig, id, false);
    pass(2900);
    assert_int_equal(fake_docker_only(docker)->stops, 1);
    rig_await_gone(rig, id, 1000);
    assert_int_equal(fake_docker_count(docker), 0);
}

static void test_its_end_is_told_with_its_last_words_and_it_starts_anew(void **state)
{
    const struct instance *pub;
    int64_t id;

    add_ready(&id);
    fake_container_log(fake_docker_only(docker), 1, 10, "an answer\n");
    fake_container_log(fake_docker_only(docker), 2, 11, "assertion failed\n");
    fake_container_exit(fake_docker_only(docker), 134, false);
    pub = rig_await(rig, id, INSTANCE_STARTING, 1000);
    assert_contains(pub->last_error, "was killed by signal 6");
    assert_contains(pub->last_error, "assertion failed");
    rig_await(rig, id, INSTANCE_READY, 5000);
    assert_int_equal(docker->creates, 2);
    assert_int_equal(docker->removes, 1);
    fake_docker_only(docker);
}

static void test_one_that_ends_before_its_log_is_asked_for(void **state)
{
    const struct instance *pub;
    int64_t id;

    docker->first_log = "no such model\n";
    docker->dies_at_once = true;
    id = rig_add_model(rig, "m", BOXED);
    pub = rig_await(rig, id, INSTANCE_FAILED, 60 * 1000);
    assert_contains(pub->last_error, "exited with code 1 while loading: no such model");
    assert_int_equal(docker->creates, 3);
    assert_int_equal(fake_docker_count(docker), 0);
}

static void test_out_of_memory_is_told(void **state)
{
    const struct instance *pub;
    int64_t id;

    add_ready(&id);
    fake_container_exit(fake_docker_only(docker), 137, true);
    pub = rig_await(rig, id, INSTANCE_STARTING, 1000);
    assert_contains(pub->last_error, "the container ran out of memory");
    assert_int_equal(pub->out_of_memory, 1);
}

static void test_the_engine_goes_and_comes_back(void **state)
{
    const struct instance *pub;
    struct fake_container *c;
    int64_t id;

    docker->piece = 5;
    pub = add_ready(&id);
    c = fake_docker_only(docker);
    fake_container_log(c, 1, 9, "zero\n");
    fake_container_log(c, 1, 10, "one\n");
    fake_container_log(c, 1, 10, "two\n");
    pass(100);
    fake_docker_close(docker);
    fake_container_log(c, 1, 10, "three\n");
    fake_container_log(c, 2, 20, "four\n");
    pass(30 * 1000);
    assert_int_equal(pub->state, INSTANCE_READY);
    expect_log(pub, "zero\none\ntwo\n");
    fake_docker_open(docker);
    pass(2000);
    expect_log(pub, "zero\none\ntwo\nthree\nfour\n");
    assert_int_equal(docker->starts, 1);

    fake_docker_close(docker);
    pass(1000);
    fake_container_exit(c, 3, false); /* nobody hears of it */
    pass(1000);
    fake_docker_open(docker);
    rig_await(rig, id, INSTANCE_STARTING, 2000);
    assert_contains(engines_of_model(rig->engines, id)->last_error, "exited with code 3");
    rig_await(rig, id, INSTANCE_READY, 5000);
}

static void test_podman_has_times_of_whole_seconds(void **state)
{
    const struct instance *pub;
    struct fake_container *c;
    int64_t id;

    docker->podman = true;
    pub = add_ready(&id);
    c = fake_docker_only(docker);
    fake_container_log(c, 1, 10, "one\n");
    fake_container_log(c, 1, 10, "one\n");
    pass(100);
    fake_docker_close(docker);
    fake_container_log(c, 1, 10, "one\n");
    pass(1000);
    fake_docker_open(docker);
    pass(2000);
    expect_log(pub, "one\none\none\n");
}

static void test_no_engine_is_an_error_that_is_tried_again(void **state)
{
    const struct instance *pub;
    int64_t id;

    fake_docker_close(docker);
    id = rig_add_model(rig, "m", BOXED);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 1000);
    assert_contains(pub->last_error, "the container engine at docker.sock does not answer: ");
    fake_docker_open(docker);
    rig_await(rig, id, INSTANCE_READY, 5000);
}

static void test_stopping_does_not_wait_for_an_engine_that_is_gone(void **state)
{
    int64_t id;

    add_ready(&id);
    fake_docker_close(docker);
    pass(1000);
    rig_want(rig, id, false);
    pass(30 * 1000);
    assert_int_equal(rig_count_instances(rig, id, INSTANCE_STOPPING), 1);
    rig_await_gone(rig, id, 60 * 1000);
    assert_int_equal(fake_docker_count(docker), 1);
    fake_docker_open(docker); /* what was left behind is a stray */
    pass(70 * 1000);
    assert_int_equal(fake_docker_count(docker), 0);
}

static void test_no_image(void **state)
{
    const struct instance *pub;
    int64_t id;

    docker->missing = "x/y:1";
    id = rig_add_model(rig, "m", BOXED);
    pub = rig_await(rig, id, INSTANCE_FAILED, 1000);
    assert_contains(pub->last_error, "cannot start the container: No such image: x/y:1 "
                                     "(parameters.pull");
    assert_int_equal(docker->pulls, 0);
    assert_int_equal(rig_count_rows(rig), 1);
}

static void test_image_is_fetched(void **state)
{
    const struct instance *pub;
    int64_t id;

    docker->missing = "reg:5000/x/y";
    id = rig_add_model(rig, "m", PULLED);
    pub = rig_await(rig, id, INSTANCE_READY, 2000);
    assert_contains(docker->paths, "fromImage=reg%3A5000%2Fx%2Fy&tag=latest\n");
    expect_log(pub, "berth: image: latest: Pulling from x\nberth: image: Done\n");
    assert_int_equal(docker->pulls, 1);
}

static void test_image_that_cannot_be_fetched(void **state)
{
    const struct instance *pub;
    int64_t id;

    docker->missing = "reg:5000/x/y";
    docker->podman = true;
    docker->pull_answer = "{\"status\":\"Trying\"}\n{\"error\":\"no route to reg\"}"; /* with 200 */
    id = rig_add_model(rig, "m", PULLED);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 2000);
    assert_contains(pub->last_error, "cannot fetch the image reg:5000/x/y: no route to reg");
}

static void test_program_that_cannot_be_run(void **state)
{
    const struct instance *pub;
    int64_t id;

    docker->start_status = 400;
    docker->start_words = "unable to start container process: exec: \"/x\": no such file";
    id = rig_add_model(rig, "m", BOXED);
    pub = rig_await(rig, id, INSTANCE_FAILED, 2000);
    assert_contains(pub->last_error, "exec: \"/x\": no such file");
    assert_int_equal(docker->creates, 1);
    assert_int_equal(fake_docker_count(docker), 0);
}

static void use_name(const char *uuid, const char *data)
{
    char name[32], body[256];

    container_name(uuid, name);
    snprintf(body, sizeof(body), "{\"Labels\":{\"berth.data\":\"%s\",\"berth.instance\":\"%s\"}}",
             data, uuid);
    fake_docker_add(docker, name, body);
}

static void name_in_use(bool podman)
{
    const struct instance *pub;
    char uuid[UUID_SIZE];
    int64_t id;

    docker->podman = podman;
    docker->start_status = 500;
    docker->start_words = "no";
    id = rig_add_model(rig, "m", BOXED);
    pub = rig_await(rig, id, INSTANCE_BACKOFF, 2000);
    strcpy(uuid, pub->uuid);
    docker->start_status = 0;
    use_name(uuid, "data"); /* ours: left behind */
    rig_await(rig, id, INSTANCE_READY, 5000);
    assert_int_equal(docker->removes, 2);

    use_name("00000000", "x");
    docker->start_status = 500;
    fake_container_exit(list_first(&docker->containers, struct fake_container, node), 1, false);
    rig_await(rig, id, INSTANCE_BACKOFF, 5000);
    docker->start_status = 0;
    use_name(uuid, "of another");
    pub = rig_await(rig, id, INSTANCE_FAILED, 30 * 1000);
    assert_contains(pub->last_error, "is used by a container that is not ours");
    assert_int_equal(fake_docker_count(docker), 2);
}

static void test_name_in_use(void **state)
{
    name_in_use(false);
}

static void test_name_in_use_of_podman(void **state)
{
    name_in_use(true);
}

static void test_version_in_whose_words_we_speak(void **state)
{
    int64_t id;

    docker->version = "1.52";
    docker->min_version = "1.44";
    add_ready(&id);
    assert_contains(docker->paths, "POST /v1.44/containers/create");
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 5000);
    docker->version = "1.30";
    docker->min_version = "1.12";
    rig_want(rig, id, true);
    rig_await(rig, id, INSTANCE_READY, 5000);
    assert_contains(docker->paths, "POST /v1.30/containers/create");
}

static void test_stopped_at_any_moment_of_its_start(void **state)
{
    for (uint64_t ms = 0; ms < 40; ms++) {
        int64_t id;

        sim_set_latency(rig->world, 5);
        id = rig_add_model(rig, "m", BOXED);
        pass(ms);
        rig_want(rig, id, false);
        rig_await_gone(rig, id, 20 * 1000);
        pass(1000);
        if (fake_docker_count(docker) != 0 || rig_count_rows(rig) != 0) {
            fail_msg("stopped after %d ms: something is left; asked:\n%s", (int)ms, docker->paths);
        }
        docker->paths[0] = '\0';
        rig_remove_model(rig, id);
    }
}

static void test_berth_is_killed_and_comes_back(void **state)
{
    const struct instance *pub;
    struct fake_container *c;
    char uuid[UUID_SIZE];
    int64_t id;

    pub = add_ready(&id);
    strcpy(uuid, pub->uuid);
    c = fake_docker_only(docker);
    fake_container_log(c, 1, 10, "old\n");
    pass(100);
    rig_crash(rig);
    rig_recover(rig);
    rig_await(rig, id, INSTANCE_READY, 5000);
    pass(5000);
    pub = rig_await(rig, id, INSTANCE_READY, 0);
    assert_string_equal(pub->uuid, uuid);
    assert_true(pub->adopted);
    assert_int_equal(pub->process.pid, c->pid);
    assert_int_equal(docker->starts, 1);
    rig_want(rig, id, false);
    rig_await_gone(rig, id, 5000);
    assert_int_equal(fake_docker_count(docker), 0);
}

static void test_what_has_ended_meanwhile_is_made_anew_at_once(void **state)
{
    const struct instance *pub;
    char uuid[UUID_SIZE];
    int64_t id;

    pub = add_ready(&id);
    strcpy(uuid, pub->uuid);
    rig_lose_engines(rig);
    fake_container_exit(fake_docker_only(docker), 1, false);
    rig_crash(rig);
    rig_recover(rig);
    pub = rig_await(rig, id, INSTANCE_READY, 1500);
    assert_string_not_equal(pub->uuid, uuid);
    assert_int_equal(pub->restarts, 0);
    fake_docker_only(docker);
    assert_int_equal(rig_count_rows(rig), 1);
}

static void test_what_is_not_wanted_any_more_and_strays_are_removed(void **state)
{
    const char *body = "{\"Labels\":{\"berth.data\":\"data\",\"berth.instance\":\"1234\"}}";
    int64_t id;

    add_ready(&id);
    fake_docker_add(docker, "stray", body);
    fake_docker_add(docker, "other",
                    "{\"Labels\":{\"berth.data\":\"x\",\"berth.instance\":\"1234\"}}");
    fake_docker_add(docker, "bare", "{}");
    rig_lose_engines(rig);
    rig->last_result = 1;
    rig_want(rig, id, false);
    rig_crash(rig);
    rig_recover(rig);
    rig_await_gone(rig, id, 5000);
    pass(1000);
    assert_int_equal(fake_docker_count(docker), 2);
    assert_int_equal(rig_count_rows(rig), 0);
}

/* Somebody else's by now: it is neither ours to watch nor to remove. */
static void make_foreign(struct fake_container *c)
{
    json_object_set_new(json_object_get(c->body, "Labels"), "berth.data",
                        json_string("of another"));
}

static void test_what_is_not_ours_by_now_is_left_alone(void **state)
{
    const struct instance *pub;
    int64_t id;

    add_ready(&id);
    fake_docker_close(docker);
    make_foreign(fake_docker_only(docker));
    pass(1000);
    fake_docker_open(docker);
    pub = rig_await(rig, id, INSTANCE_FAILED, 60 * 1000); /* its name stays in use */
    assert_contains(pub->last_error, "is used by");
    assert_int_equal(docker->removes, 0);
    assert_true(fake_docker_only(docker)->running);
}

static void test_what_is_not_ours_is_not_adopted(void **state)
{
    int64_t id;

    add_ready(&id);
    rig_lose_engines(rig);
    make_foreign(fake_docker_only(docker));
    fake_container_exit(fake_docker_only(docker), 0, false);
    rig_crash(rig);
    rig_recover(rig);
    rig_await(rig, id, INSTANCE_READY, 5000);
    assert_int_equal(docker->removes, 0);
    assert_int_equal(fake_docker_count(docker), 2);
}

/* ---- frames */

static const char frames[] = "\1\0\0\0\0\0\0\x24"
                             "2026-11-21T01:54:39.425668938Z tick\n"
                             "\2\0\0\0\0\0\0\1x"
                             "\1\0\0\0\0\0\0\0"
                             "\2\0\0\0\0\0\0\x1b"
                             "2026-11-21T01:54:40Z to-err";

static void test_frames_are_cut_anywhere(void **state)
{
    size_t n = sizeof(frames) - 1;

    for (size_t a = 0; a <= n; a++) {
        for (size_t b = a; b <= n; b += 7) {
            struct container_log log;
            char text[128] = "";
            int fd;

            unlink("frames.log");
            container_log_open(&log, "frames.log", 0);
            container_log_feed(&log, frames, a);
            container_log_feed(&log, frames + a, b - a);
            container_log_feed(&log, frames + b, n - b);
            container_log_close(&log);
            fd = open("frames.log", O_RDONLY);
            assert_true(read(fd, text, sizeof(text) - 1) >= 0);
            close(fd);
            if (!str_eq(text, "tick\nxto-err")) {
                fail_msg("cut at %zu and %zu: '%s'", a, b, text);
            }
        }
    }
}

static void test_time_stamps(void **state)
{
    assert_int_equal(container_stamp_ns("1970-01-01T00:00:01.5Z "), 1500000000);
    assert_int_equal(container_stamp_ns("1970-01-01T02:00:01+02:00 "), 1000000000);
    assert_int_equal(container_stamp_ns("1970-01-01T00:00:00.000000001Z"), 1);
    assert_int_equal(container_stamp_ns("hello "), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
        TEST(test_a_whole_life),
        TEST(test_one_that_does_not_stop_is_killed),
        TEST(test_its_end_is_told_with_its_last_words_and_it_starts_anew),
        TEST(test_one_that_ends_before_its_log_is_asked_for),
        TEST(test_out_of_memory_is_told),
        TEST(test_the_engine_goes_and_comes_back),
        TEST(test_podman_has_times_of_whole_seconds),
        TEST(test_no_engine_is_an_error_that_is_tried_again),
        TEST(test_stopping_does_not_wait_for_an_engine_that_is_gone),
        TEST(test_no_image),
        TEST(test_image_is_fetched),
        TEST(test_image_that_cannot_be_fetched),
        TEST(test_program_that_cannot_be_run),
        TEST(test_name_in_use),
        TEST(test_name_in_use_of_podman),
        TEST(test_version_in_whose_words_we_speak),
        TEST(test_stopped_at_any_moment_of_its_start),
        TEST(test_berth_is_killed_and_comes_back),
        TEST(test_what_has_ended_meanwhile_is_made_anew_at_once),
        TEST(test_what_is_not_wanted_any_more_and_strays_are_removed),
        TEST(test_what_is_not_ours_by_now_is_left_alone),
        TEST(test_what_is_not_ours_is_not_adopted),
        TEST(test_frames_are_cut_anywhere),
        TEST(test_time_stamps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
