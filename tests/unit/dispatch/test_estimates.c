// SPDX-License-Identifier: Apache-2.0
/*
 * What is predicted of instances: counted when a request is given, less as tokens come, taken off
 * exactly when it leaves; learnt from how requests ended; used by the strategies.
 */
#include "scene.h"

#include <math.h>

enum { PROMPT = 100, OUTPUT = 50 };

static struct prediction predict(const struct scene *s, int i)
{
    struct prediction p = { 0 };

    assert_true(dispatch_predict(s->d, instances[i].uuid, PROMPT, 0, &p));
    return p;
}

static int ask_for(struct scene *s, struct asker *a, uint32_t prompt, uint32_t limit)
{
    *a = (struct asker){ .scene = s, .model_id = 1, .again = true };
    return ask_what(s, a,
                    (struct dispatch_ask){ .model_id = 1,
                                           .tokens = prompt + limit,
                                           .prompt_tokens = prompt,
                                           .output_limit = limit });
}

/* A streamed answer: reads its prompt at so many ms a token, then a token each so many ms. */
static void work(struct scene *s, struct asker *a, uint32_t prompt, uint32_t output,
                 uint64_t prefill_ms, uint64_t decode_ms)
{
    sim_run_for(s->w, prompt * prefill_ms);
    dispatch_progress(a->ticket, 1);
    for (uint32_t n = 1; n < output; n++) {
        sim_run_for(s->w, decode_ms);
        dispatch_progress(a->ticket, 1);
    }
    dispatch_note_usage(a->ticket, prompt, 0, output);
    end(a, OUTCOME_GOOD);
    sim_run_for(s->w, 1);
}

static void serve(struct scene *s, unsigned count, uint64_t prefill_ms, uint64_t decode_ms)
{
    for (unsigned n = 0; n < count; n++) {
        assert_int_equal(ask_for(s, &s->askers[99], PROMPT, 0), 1);
        work(s, &s->askers[99], PROMPT, OUTPUT, prefill_ms, decode_ms);
    }
}

static void near(double is, double expected, double part)
{
    if (fabs(is - expected) > part * fabs(expected)) {
        fail_msg("%g is not within %g %% of %g", is, 100 * part, expected);
    }
}

static void what_was_added_is_taken_off_exactly(void **state)
{
    struct world *w = sim_create(test_seed("what_was_added_is_taken_off_exactly"));
    static struct scene s;
    unsigned busy = 0;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 50);
    tell(&s, 0, INSTANCE_READY, false);
    for (int step = 0; step < 20000; step++) {
        struct asker *a = &s.askers[world_random_below(w, 50)];

        if (!a->ticket) {
            assert_int_equal(ask_for(&s, a, (uint32_t)world_random_below(w, 5000),
                                     (uint32_t)world_random_below(w, 900)),
                             1);
            busy++;
        } else if (world_random_below(w, 3)) {
            dispatch_progress(a->ticket, (uint32_t)world_random_below(w, 40));
        } else {
            dispatch_note_usage(a->ticket, world_random_below(w, 5000), world_random_below(w, 5000),
                                world_random_below(w, 900));
            end(a, world_random_below(w, 4) ? OUTCOME_GOOD : OUTCOME_NONE);
            busy--;
        }
        sim_run_for(s.w, world_random_below(w, 100));
        assert_true(predict(&s, 0).wait_error_ms >= 0);
    }
    assert_true(busy > 5);
    for (int i = 0; i < 50; i++) {
        if (s.askers[i].ticket) {
            end(&s.askers[i], OUTCOME_NONE);
        }
    }
    /* The load of one request shows that nothing is left of the others. */
    for (int i = 0; i < 50; i++) {
        assert_int_equal(ask_for(&s, &s.askers[i], 0, 0), 1);
        dispatch_progress(s.askers[i].ticket, UINT32_MAX);
    }
    assert_true(predict(&s, 0).wait_ms == 0);
    assert_true(predict(&s, 0).wait_error_ms == 0);
    close_scene(&s);
    world_destroy(w);
}

/* Whatever others did meanwhile. */
static void what_stays_is_what_it_was(void **state)
{
    struct prediction before, after;
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, OUTPUT), 1);
    dispatch_progress(s.askers[0].ticket, 3);
    before = predict(&s, 0);
    assert_int_equal(ask_for(&s, &s.askers[1], 4 * PROMPT, 3 * OUTPUT), 1);
    assert_true(predict(&s, 0).wait_ms > before.wait_ms);
    dispatch_progress(s.askers[1].ticket, 7);
    end(&s.askers[1], OUTCOME_NONE);
    after = predict(&s, 0);
    assert_true(after.wait_ms == before.wait_ms && after.wait_error_ms == before.wait_error_ms);
    close_scene(&s);
}

static void progress_leaves_less(void **state)
{
    struct prediction cold, before, after;
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    cold = predict(&s, 0);
    assert_true(cold.wait_ms == 0 && cold.wait_error_ms == 0);
    assert_int_equal(cold.learnt_from, 0);
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, OUTPUT), 1);
    before = predict(&s, 0);
    near(before.wait_ms, cold.prefill_ms + OUTPUT * cold.ms_per_output_token, 0.01);
    assert_true(before.wait_error_ms > 0);
    dispatch_progress(s.askers[0].ticket, 10);
    after = predict(&s, 0);
    near(after.wait_ms, (OUTPUT - 10) * cold.ms_per_output_token, 0.01);
    near(after.wait_error_ms / before.wait_error_ms, after.wait_ms / before.wait_ms, 0.01);
    dispatch_progress(s.askers[0].ticket, 1000);
    after = predict(&s, 0);
    assert_true(after.wait_ms == 0 && after.wait_error_ms == 0);
    end(&s.askers[0], OUTCOME_NONE);
    close_scene(&s);
}

/* While a slot is free only the prompts before it are to be read; then one after the other has to
 * leave. */
static void the_wait_is_for_as_many_as_must_leave(void **state)
{
    struct prediction p;
    double one;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1); /* two slots */
    p = predict(&s, 0);
    one = p.prefill_ms + OUTPUT * p.ms_per_output_token;
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, OUTPUT), 1);
    near(predict(&s, 0).wait_ms, p.prefill_ms, 0.01);
    dispatch_progress(s.askers[0].ticket, 1); /* it has been read */
    assert_true(predict(&s, 0).wait_ms == 0);
    assert_int_equal(ask_for(&s, &s.askers[1], PROMPT, OUTPUT), 1);
    near(predict(&s, 0).wait_ms, (one + (OUTPUT - 1) * p.ms_per_output_token) / 4, 0.01);
    assert_int_equal(ask_for(&s, &s.askers[2], PROMPT, OUTPUT), 1);
    near(predict(&s, 0).wait_ms, (2 * one + (OUTPUT - 1) * p.ms_per_output_token) / 3, 0.01);
    close_scene(&s);
}

static void speed_and_length_are_learnt(void **state)
{
    struct prediction p;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    serve(&s, 60, 3, 7);
    p = predict(&s, 0);
    near(p.prefill_ms, 3 * PROMPT, 0.02);
    near(p.ms_per_output_token, 7, 0.02);
    near(p.output_tokens, OUTPUT, 0.05);
    near(p.decode_ms, 7 * OUTPUT, 0.05);
    assert_int_equal(p.learnt_from, 60);
    assert_true(p.error_ms < 0.2 * (p.prefill_ms + p.decode_ms));
    near(p.high_ms, 3 * PROMPT + 7 * (OUTPUT - 1), 0.05);
    assert_true(p.low_ms <= p.high_ms);
    assert_true(dispatch_predict(s.d, instances[0].uuid, PROMPT, 10, &p));
    near(p.output_tokens, 10, 0.01);
    near(p.decode_ms, 70, 0.03);
    close_scene(&s);
}

/* Answers that are cut at their request's limit do not make the others seem short. */
static void lengths_are_learnt_beyond_limits(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int n = 0; n < 60; n++) {
        bool limited = n % 2;

        assert_int_equal(ask_for(&s, &s.askers[99], PROMPT, limited ? 10 : 0), 1);
        work(&s, &s.askers[99], PROMPT, limited ? 10 : 100, 1, 5);
    }
    near(predict(&s, 0).output_tokens, 100, 0.06);
    close_scene(&s);
}

/* One that had to wait in the engine for a slot says nothing of how fast prompts are read. */
static void waiting_in_the_engine_is_no_reading(void **state)
{
    double cold;
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    cold = predict(&s, 0).prefill_ms;
    for (int n = 0; n < 5; n++) {
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        assert_int_equal(ask_for(&s, &s.askers[1], PROMPT, 0), 1);
        sim_run_for(s.w, 5000);
        end(&s.askers[0], OUTCOME_NONE);
        work(&s, &s.askers[1], PROMPT, OUTPUT, 3, 7);
    }
    assert_true(predict(&s, 0).prefill_ms == cold);
    near(predict(&s, 0).ms_per_output_token, 7, 0.02);
    close_scene(&s);
}

/* Of an answer that comes in one piece, of one that nobody counted, and of one that has no output.
 */
static void whole_answers_teach_too(void **state)
{
    struct prediction p;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int n = 0; n < 60; n++) { /* embeddings */
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        sim_run_for(s.w, 4 * PROMPT);
        dispatch_note_usage(s.askers[0].ticket, PROMPT, 0, 0);
        end(&s.askers[0], OUTCOME_GOOD);
    }
    near(predict(&s, 0).prefill_ms, 4 * PROMPT, 0.02);
    for (int n = 0; n < 60; n++) { /* one piece */
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        sim_run_for(s.w, 4 * PROMPT + 9 * OUTPUT);
        dispatch_note_usage(s.askers[0].ticket, PROMPT, 0, OUTPUT);
        end(&s.askers[0], OUTCOME_GOOD);
    }
    near(predict(&s, 0).ms_per_output_token, 9, 0.02);
    close_scene(&s);
    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int n = 0; n < 60; n++) { /* counted by its pieces */
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        for (int i = 0; i < OUTPUT; i++) {
            sim_run_for(s.w, 5);
            dispatch_progress(s.askers[0].ticket, 1);
        }
        end(&s.askers[0], OUTCOME_GOOD);
    }
    p = predict(&s, 0);
    near(p.ms_per_output_token, 5, 0.02);
    near(p.output_tokens, OUTPUT, 0.05);
    close_scene(&s);
}

/* What ended badly, or was cut off by its client, says nothing. */
static void only_good_ends_teach(void **state)
{
    static const enum outcome outcomes[] = { OUTCOME_NONE, OUTCOME_ERROR, OUTCOME_FAILED };
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (size_t n = 0; n < ARRAY_SIZE(outcomes); n++) {
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        sim_run_for(s.w, 100);
        dispatch_progress(s.askers[0].ticket, 5);
        dispatch_note_usage(s.askers[0].ticket, PROMPT, 0, 5);
        end(&s.askers[0], outcomes[n]);
        sim_run_for(s.w, 1);
    }
    assert_int_equal(predict(&s, 0).learnt_from, 0);
    assert_true(predict(&s, 0).output_tokens > 100); /* the default */
    close_scene(&s);
}

/* A refusal of a long prompt is no fast reading of it. */
static void what_nobody_counted_teaches_nothing(void **state)
{
    double cold;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    cold = predict(&s, 0).prefill_ms;
    for (int n = 0; n < 5; n++) {
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        sim_run_for(s.w, 2);
        end(&s.askers[0], OUTCOME_GOOD);
    }
    assert_true(predict(&s, 0).prefill_ms == cold);
    assert_int_equal(predict(&s, 0).learnt_from, 0);
    close_scene(&s);
}

/* Of an answer that comes in one piece nothing is seen until its end: less is left as time goes by,
 * as far as predictions are sure; what takes longer than they said goes on for as long as they are
 * wrong. */
static void time_leaves_less_of_what_is_not_seen(void **state)
{
    double whole;
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    tell(&s, 0, INSTANCE_READY, false);
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
    whole = predict(&s, 0).wait_ms;
    sim_run_for(s.w, 3000);
    assert_true(predict(&s, 0).wait_ms == whole); /* who knows nothing learns nothing by waiting */
    end(&s.askers[0], OUTCOME_NONE);
    serve(&s, 60, 30, 70);
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
    assert_int_equal(ask_for(&s, &s.askers[1], PROMPT, 0), 1); /* it has not begun */
    whole = predict(&s, 0).wait_ms;
    sim_run_for(s.w, 2000);
    assert_in_range(predict(&s, 0).wait_ms, whole - 2000, whole - 1500);
    assert_true(predict(&s, 0).wait_error_ms > 0);
    end(&s.askers[1], OUTCOME_NONE);
    sim_run_for(s.w, 60000);
    assert_in_range(predict(&s, 0).wait_ms, 1, whole / 20);
    end(&s.askers[0], OUTCOME_NONE);
    assert_true(predict(&s, 0).wait_ms == 0 && predict(&s, 0).wait_error_ms == 0);
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
    sim_run_for(s.w, 60000); /* the first token comes late: all others are left */
    dispatch_progress(s.askers[0].ticket, 1);
    near(predict(&s, 0).wait_ms, 70 * (OUTPUT - 1), 0.06);
    end(&s.askers[0], OUTCOME_NONE);
    assert_true(predict(&s, 0).wait_ms == 0 && predict(&s, 0).wait_error_ms == 0);
    close_scene(&s);
}

/* A new instance is taken to be like the others, until it has shown what it is. */
static void a_cold_instance_is_like_the_others(void **state)
{
    struct prediction p;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    bring_up(&s, 1, 1);
    assert_int_equal(dispatch_set_strategy(s.d, 0, "round_robin", NULL), 0);
    tell(&s, 1, INSTANCE_BACKOFF, false);
    serve(&s, 30, 3, 7);
    bring_up(&s, 2, 1);
    tell(&s, 1, INSTANCE_READY, false);
    p = predict(&s, 1);
    near(p.ms_per_output_token, 7, 0.02);
    near(p.prefill_ms, 3 * PROMPT, 0.02);
    assert_int_equal(p.learnt_from, 0);
    near(predict(&s, 2).ms_per_output_token, 7, 0.02);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    tell(&s, 2, INSTANCE_BACKOFF, false);
    serve(&s, 30, 1, 20);
    tell(&s, 0, INSTANCE_READY, false);
    near(predict(&s, 1).ms_per_output_token, 20, 0.02);
    near(predict(&s, 0).ms_per_output_token, 7, 0.02);
    close_scene(&s);
}

/* One instance is four times as fast: it gets most of what comes one at a time, and no request ends
 * later than it would on the other. */
static void earliest_completion_finds_the_faster_one(void **state)
{
    unsigned at_fast = 0;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    bring_up(&s, 1, 1);
    assert_int_equal(dispatch_set_strategy(s.d, 1, "earliest_completion", NULL), 0);
    for (int n = 0; n < 200; n++) {
        struct asker *a = &s.askers[0];
        bool fast;

        assert_int_equal(ask_for(&s, a, PROMPT, 0), 1);
        fast = strcmp(a->granted, instances[1].uuid) == 0;
        at_fast += fast;
        work(&s, a, PROMPT, OUTPUT, fast ? 1 : 4, fast ? 5 : 20);
    }
    assert_in_range(at_fast, 180, 199); /* the other one was tried */
    close_scene(&s);
}

/* One that sleeps is chosen when waking it is sooner than waiting. */
static void waking_counts(void **state)
{
    double cold_ms;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    bring_up(&s, 1, 1);
    cold_ms = predict(&s, 0).prefill_ms;
    assert_int_equal(dispatch_set_strategy(s.d, 0, "earliest_completion", NULL), 0);
    instances[0].need.load_ms = 2000;
    instances[0].sleeping = true;
    tell(&s, 0, INSTANCE_READY, false);
    assert_true(predict(&s, 0).wait_ms == 2000 && predict(&s, 1).wait_ms == 0);
    assert_int_equal(ask_for(&s, &s.askers[0], 10, 20), 1);
    assert_string_equal(s.askers[0].granted, instances[1].uuid);
    assert_int_equal(ask_for(&s, &s.askers[1], 10, 1000), 1);
    assert_string_equal(s.askers[1].granted, instances[1].uuid);
    assert_int_equal(ask_for(&s, &s.askers[2], 10, 20), 1);
    assert_string_equal(s.askers[2].granted, instances[0].uuid);
    sim_run_for(s.w, 3000);
    dispatch_progress(s.askers[2].ticket, 1); /* it has woken */
    dispatch_progress(s.askers[2].ticket, 1);
    assert_true(predict(&s, 0).wait_ms == 0);
    dispatch_note_usage(s.askers[2].ticket, 10, 0, 2);
    end(&s.askers[2], OUTCOME_GOOD); /* which says nothing of how fast it reads */
    assert_true(predict(&s, 0).prefill_ms == cold_ms);
    tell(&s, 0, INSTANCE_READY, false);
    assert_true(predict(&s, 0).wait_ms == 2000);
    tell(&s, 1, INSTANCE_BACKOFF, false);
    assert_int_equal(ask_for(&s, &s.askers[3], 10, 20), 1);
    end(&s.askers[3], OUTCOME_GOOD); /* so does one that answered in one piece */
    assert_true(predict(&s, 0).wait_ms == 0);
    close_scene(&s);
}

/* Predictions and what came of them stand in the metrics, decisions by strategy too. */
static void the_metrics_tell_how_predictions_came_out(void **state)
{
    struct buf text;
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    serve(&s, 100, 3, 7);
    buf_init(&text, 1 << 20);
    assert_true(metrics_write(s.metrics, &text) >= 0);
    assert_int_equal(buf_append(&text, "", 1), 0);
    assert_non_null(strstr(buf_data(&text),
                           "berth_dispatch_decisions_total{strategy=\"least_outstanding_"
                           "tokens\"} 100"));
    assert_non_null(strstr(buf_data(&text),
                           "berth_prediction_ratio_count{model=\"a\",of=\"first_token\"} 100"));
    assert_non_null(
        strstr(buf_data(&text), "berth_prediction_ratio_count{model=\"a\",of=\"whole\"} 100"));
    assert_null(strstr(buf_data(&text),
                       "berth_prediction_ratio_bucket{model=\"a\",of=\"whole\",le=\"1.1\"} 0"));
    buf_finish(&text);
    close_scene(&s);
}

static void what_takes_no_requests_is_not_predicted(void **state)
{
    struct prediction p;
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 1);
    assert_false(dispatch_predict(s.d, instances[0].uuid, 1, 1, &p));
    assert_false(dispatch_predict(s.d, "nobody", 1, 1, &p));
    tell(&s, 0, INSTANCE_READY, false);
    assert_true(dispatch_predict(s.d, instances[0].uuid, 1, 1, &p));
    tell(&s, 0, INSTANCE_DRAINING, false);
    assert_false(dispatch_predict(s.d, instances[0].uuid, 1, 1, &p));
    close_scene(&s);
}

/* Two prompts that came together are read one after the other: each has its own time, and who comes
 * third waits for both, though there are slots. */
static void prompts_are_read_one_after_the_other(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    make_instance(&s, 0, 1, 8);
    tell(&s, 0, INSTANCE_READY, false);
    for (int n = 0; n < 30; n++) {
        for (int i = 0; i < 2; i++) {
            assert_int_equal(ask_for(&s, &s.askers[i], PROMPT, 0), 1);
        }
        for (int i = 0; i < 2; i++) {
            sim_run_for(s.w, 3 * PROMPT);
            dispatch_progress(s.askers[i].ticket, 1);
        }
        sim_run_for(s.w, 500);
        for (int i = 0; i < 2; i++) {
            dispatch_progress(s.askers[i].ticket, OUTPUT - 1);
            dispatch_note_usage(s.askers[i].ticket, PROMPT, 0, OUTPUT);
            end(&s.askers[i], OUTCOME_GOOD);
        }
    }
    near(predict(&s, 0).prefill_ms, 3 * PROMPT, 0.02);
    assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
    assert_int_equal(ask_for(&s, &s.askers[1], PROMPT, 0), 1);
    near(predict(&s, 0).wait_ms, 6 * PROMPT, 0.02);
    sim_run_for(s.w, 3 * PROMPT);
    dispatch_progress(s.askers[0].ticket, 1);
    near(predict(&s, 0).wait_ms, 3 * PROMPT, 0.02);
    close_scene(&s);
}

/* What every request costs beside its length is much of a short one: they count as they are long.
 */
static void long_ones_tell_more(void **state)
{
    struct scene s;

    open_scene(&s, 1);
    bring_up(&s, 0, 1);
    for (int n = 0; n < 100; n++) {
        bool is_short = n % 2;
        uint32_t prompt = is_short ? 1 : 1000;

        assert_int_equal(ask_for(&s, &s.askers[0], prompt, 0), 1);
        sim_run_for(s.w, 40); /* of a step */
        work(&s, &s.askers[0], prompt, is_short ? 2 : 200, 1, is_short ? 300 : 10);
    }
    near(predict(&s, 0).prefill_ms, PROMPT, 0.35);
    near(predict(&s, 0).ms_per_output_token, 10, 0.35);
    close_scene(&s);
}

/* Two instances that are alike and had different luck are told alike; one that surely is another is
 * told by itself. */
static void only_a_sure_difference_counts(void **state)
{
    struct world *chance = sim_create(test_seed("only_a_sure_difference_counts"));
    struct scene s;

    open_scene(&s, 1);
    assert_int_equal(dispatch_set_strategy(s.d, 0, "round_robin", NULL), 0);
    for (int i = 0; i < 3; i++) {
        make_instance(&s, i, 1, 1);
    }
    tell(&s, 0, INSTANCE_READY, false);
    tell(&s, 1, INSTANCE_READY, false);
    for (int n = 0; n < 60; n++) {
        assert_int_equal(ask_for(&s, &s.askers[0], PROMPT, 0), 1);
        work(&s, &s.askers[0], PROMPT, OUTPUT, 1, 5 + world_random_below(chance, 40));
    }
    assert_int_equal(predict(&s, 0).learnt_from, 30);
    assert_int_equal(predict(&s, 1).learnt_from, 30);
    near(predict(&s, 0).ms_per_output_token, predict(&s, 1).ms_per_output_token, 0.051);
    tell(&s, 2, INSTANCE_READY, false);
    tell(&s, 0, INSTANCE_BACKOFF, false);
    tell(&s, 1, INSTANCE_BACKOFF, false);
    serve(&s, 10, 1, 200);
    near(predict(&s, 2).ms_per_output_token, 200, 0.02);
    close_scene(&s);
    world_destroy(chance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_taken_off_exactly),
        cmocka_unit_test(what_stays_is_what_it_was),
        cmocka_unit_test(progress_leaves_less),
        cmocka_unit_test(the_wait_is_for_as_many_as_must_leave),
        cmocka_unit_test(speed_and_length_are_learnt),
        cmocka_unit_test(lengths_are_learnt_beyond_limits),
        cmocka_unit_test(waiting_in_the_engine_is_no_reading),
        cmocka_unit_test(whole_answers_teach_too),
        cmocka_unit_test(only_good_ends_teach),
        cmocka_unit_test(what_nobody_counted_teaches_nothing),
        cmocka_unit_test(time_leaves_less_of_what_is_not_seen),
        cmocka_unit_test(a_cold_instance_is_like_the_others),
        cmocka_unit_test(earliest_completion_finds_the_faster_one),
        cmocka_unit_test(waking_counts),
        cmocka_unit_test(the_metrics_tell_how_predictions_came_out),
        cmocka_unit_test(what_takes_no_requests_is_not_predicted),
        cmocka_unit_test(prompts_are_read_one_after_the_other),
        cmocka_unit_test(long_ones_tell_more),
        cmocka_unit_test(only_a_sure_difference_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
