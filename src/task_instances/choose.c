// SPDX-License-Identifier: Apache-2.0
/*
 * Which peer gets a task: those of its model that answer are candidates, with the wait that they
 * predict. Who has not been asked for longer than task_instances.refresh is asked first, many at
 * once, for a bounded time; who does not answer is judged by what was known and put behind those
 * who did. The choice itself is a strategy's of dispatch.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task_instances/task_instances_int.h"

enum {
    ASKING_MAX = 128,      /* questions at a time, of all lines; the overdue do not count */
    PREDICTING_MAX = 1024, /* with them */
    COLD_MS = 1000,        /* a task of which nothing is known */
    UNSURE_MS = 1000,      /* a peer that cannot say stands so far behind the last that can */
};

struct choice_wait {
    struct list node; /* of its line's choices */
    struct line *line;
    struct run *run;
    choice_fn done;
};

/* ---- lines ---- */

static void on_patience(void *arg);

struct line *ti_line_of(struct task_instances *ti, const char *model, bool make)
{
    struct line *line = map_get(&ti->lines, model);

    if (!line && make) {
        line = xcalloc(1, sizeof(*line));
        line->ti = ti;
        line->model = xstrdup(model);
        list_init(&line->peers);
        list_init(&line->choices);
        timer_init(&line->patience, ti->world, "task instances' predictions", on_patience, line);
        map_put(&ti->lines, model, line);
    }
    return line;
}

static void line_free_if_empty(struct line *line)
{
    if (line->peer_count == 0 && list_empty(&line->choices)) {
        timer_stop(&line->patience);
        map_remove(&line->ti->lines, line->model);
        free(line->model);
        free(line);
    }
}

void line_leave(struct peer *p)
{
    struct line *line = p->line;

    if (!line) {
        return;
    }
    predict_stop(p);
    list_remove(&p->of_line);
    line->peer_count--;
    p->line = NULL;
    line_settle(line);
}

/* ---- what it takes ---- */

void peer_cost(const struct peer *p, double told_ms, double *ret_ms, double *ret_var)
{
    const struct learnt *l = p->learnt.count > 0 || !p->line ? &p->learnt : &p->line->learnt;

    if (told_ms >= 0) {
        *ret_ms = told_ms;
        *ret_var = 0.05 * told_ms;
    } else if (l->count > 0) {
        *ret_ms = l->mean_ms;
        *ret_var = l->count > 1 ? l->var : l->mean_ms * l->mean_ms;
    } else {
        *ret_ms = COLD_MS;
        *ret_var = (double)COLD_MS * COLD_MS;
    }
}

/* ---- those who want to read what is true now ---- */

struct refresh {
    struct list node; /* of ti->refreshes */
    struct task_instances *ti;
    struct timer limit;
    void (*done)(void *arg);
    void *arg;
};

static void end_refresh(struct refresh *r)
{
    timer_stop(&r->limit);
    list_remove(&r->node);
    r->done(r->arg);
    free(r);
}

void refreshes_end(struct task_instances *ti)
{
    struct refresh *r;

    while ((r = list_first(&ti->refreshes, struct refresh, node))) {
        end_refresh(r);
    }
}

static void refreshes_check(struct task_instances *ti)
{
    if (ti->asking == 0) {
        refreshes_end(ti);
    }
}

/* ---- asking ---- */

static void end_predict(struct peer *p, bool good, double ms, double error_ms)
{
    struct task_instances *ti = p->ti;
    struct line *line = p->line;

    p->predict = NULL;
    ti->predicting--;
    ti->asking -= !p->overdue;
    line->asking -= !p->overdue;
    p->unsure = !good;
    p->predicted_ms = MAX_OF(world_now_ms(ti->world), 1);
    if (good) {
        estimate_answer(&p->estimate, ms, error_ms);
    } else {
        estimate_fail(&p->estimate);
    }
    line_settle(line);
    refreshes_check(ti);
}

static bool is_time(const json_t *v)
{
    return json_is_number(v) && is_time_ms(json_number_value(v));
}

static void on_predict(void *owner, int result, int status, const json_t *json,
                       const struct error *e)
{
    struct peer *p = owner;
    const json_t *expected = json_object_get(json, "expected_ms");
    const json_t *error = json_object_get(json, "error_ms");
    const bool good = result == 0 && status == 200 && is_time(expected);

    end_predict(p, good, json_number_value(expected),
                is_time(error) ? json_number_value(error) : 0);
}

/* The later generation tells the length of its queue: each of it is expected to take what tasks
 * took there. */
static void on_info(void *owner, int result, int status, const json_t *json, const struct error *e)
{
    struct peer *p = owner;
    const json_t *length = json_object_get(json_object_get(json, "queue_info"), "length_of_queue");
    const double n = json_number_value(length) / MAX_OF(p->pub.replicas, 1);
    double ms, var;

    peer_cost(p, -1, &ms, &var);
    end_predict(p, result == 0 && status == 200 && is_time(length), n * ms, sqrt(n * var));
}

static void predict(struct peer *p)
{
    const bool info = p->pub.generation == INFO_GENERATION;

    p->ti->predicting++;
    p->ti->asking++;
    p->line->asking++;
    p->overdue = false;
    p->asked_ms = world_now_ms(p->ti->world);
    estimate_ask(&p->estimate);
    p->predict = ask_start(p, &(struct ask_what){
                                  .method = info ? "GET" : "POST",
                                  .path = info ? "/info" : "/queue/predict",
                                  .timeout_ms = p->ti->timeout_ms,
                                  .done = info ? on_info : on_predict,
                                  .owner = p,
                              });
}

void predict_stop(struct peer *p)
{
    if (p->predict) {
        p->predict = ask_cancel(p->predict);
        p->ti->predicting--;
        p->ti->asking -= !p->overdue;
        p->line->asking -= !p->overdue;
        estimate_fail(&p->estimate);
    }
}

/* Who has had its time is not waited for; its answer counts when it comes. */
static void note_overdue(struct peer *p)
{
    if (p->predict && !p->overdue &&
        world_now_ms(p->ti->world) - p->asked_ms >= p->ti->patience_ms) {
        p->overdue = true;
        p->ti->asking--;
        p->line->asking--;
    }
}

static bool is_older(const struct peer *p, uint64_t ms)
{
    return p->predicted_ms == 0 || world_now_ms(p->ti->world) - p->predicted_ms >= ms;
}

/* It is asked before its prediction is too old, so that under load nobody waits for it; as far as
 * the bounds allow. */
static void predict_if_stale(struct peer *p)
{
    const struct task_instances *ti = p->ti;

    if (is_older(p, ti->refresh_ms - ti->refresh_ms / 4) && !p->predict &&
        ti->asking < ASKING_MAX && ti->predicting < PREDICTING_MAX) {
        predict(p);
    }
}

/* ---- choosing ---- */

static bool was_tried(const struct run *run, const struct peer *p)
{
    for (size_t i = 0; i < run->tried_count; i++) {
        if (run->tried[i] == p->number) {
            return true;
        }
    }
    return false;
}

static bool is_candidate(const struct run *run, const struct peer *p)
{
    return p->pub.state == TI_READY && p->pub.replicas > 0 && !was_tried(run, p);
}

/* Asks who has not been asked lately; true when some are to be waited for. */
static bool ask_all(struct run *run, struct line *line, bool *ret_any)
{
    bool waits = false;
    struct peer *p;

    *ret_any = false;
    list_for_each (p, &line->peers, of_line) {
        if (!is_candidate(run, p)) {
            continue;
        }
        *ret_any = true;
        predict_if_stale(p);
        note_overdue(p);
        waits = waits || (p->predict && !p->overdue && is_older(p, line->ti->refresh_ms));
    }
    return waits;
}

static struct candidate candidate_of(const struct peer *p, double told_ms)
{
    struct candidate c = {
        .uuid = p->pub.uuid,
        .in_flight = p->pub.in_flight,
        .cap = UINT32_MAX, /* they have queues of their own */
        .weight = MAX_OF(p->pub.replicas, 1),
        .chosen = p->pub.chosen,
        .place = p->place,
        .response_ms = (uint64_t)p->learnt.mean_ms,
    };
    double cost, var;

    peer_cost(p, told_ms, &cost, &var);
    c.wait_ms = estimate_wait(&p->estimate, &c.wait_error_ms);
    c.tokens = (uint64_t)fmin(c.wait_ms, 1e15);
    c.decode_ms = cost; /* a task counts as one token */
    c.decode_error = sqrt(var);
    return c;
}

static bool is_unsure(const struct peer *p)
{
    return p->unsure || p->predicted_ms == 0 || (p->predict && p->overdue);
}

/* Who cannot say how long it takes is never the most attractive for that. */
static void put_unsure_behind(struct candidate *c, struct peer *const *peers, size_t n)
{
    double worst = 0;

    for (size_t i = 0; i < n; i++) {
        worst = is_unsure(peers[i]) ? worst : fmax(worst, c[i].wait_ms);
    }
    for (size_t i = 0; i < n; i++) {
        if (is_unsure(peers[i])) {
            c[i].wait_ms = fmax(c[i].wait_ms, worst) + UNSURE_MS;
            c[i].wait_error_ms = fmax(c[i].wait_error_ms, c[i].wait_ms);
            c[i].tokens = (uint64_t)fmin(c[i].wait_ms, 1e15);
        }
    }
}

static void make_room(struct task_instances *ti, size_t count)
{
    if (ti->candidates_max < count) {
        ti->candidates_max = MAX_OF(count, 2 * ti->candidates_max);
        ti->candidates = xrealloc(ti->candidates, ti->candidates_max * sizeof(ti->candidates[0]));
        ti->candidate_peers =
            xrealloc(ti->candidate_peers, ti->candidates_max * sizeof(ti->candidate_peers[0]));
    }
}

static struct peer *pick(struct run *run, struct line *line)
{
    struct task_instances *ti = line->ti;
    struct choice choice = {
        .tokens = 1, .output_tokens = 1, .turn = line->turn++, .error_weight = ti->error_weight
    };
    struct peer *p;
    size_t n = 0;
    int i;

    make_room(ti, line->peer_count);
    list_for_each (p, &line->peers, of_line) {
        if (is_candidate(run, p)) {
            ti->candidates[n] = candidate_of(p, run->told_ms);
            ti->candidate_peers[n++] = p;
        }
    }
    put_unsure_behind(ti->candidates, ti->candidate_peers, n);
    world_random(ti->world, &choice.random, sizeof(choice.random));
    i = n > 0 ? ti->strategy->choose(ti->candidates, n, &choice) : -1;
    return i >= 0 && (size_t)i < n ? ti->candidate_peers[i] : NULL;
}

static int no_candidate(const struct run *run, struct error *reterr)
{
    return error_set(reterr, -EAGAIN, "no Task Instance of the model '%.100s' %s", run->model,
                     run->tried_count > 0 ? "takes it" : "answers");
}

int choose(struct run *run, choice_fn done, struct peer **ret, struct error *reterr)
{
    struct line *line = ti_line_of(run->ti, run->model, false);
    struct choice_wait *c;
    bool any = false;

    if (!line) {
        return no_candidate(run, reterr);
    }
    if (!ask_all(run, line, &any)) {
        *ret = any ? pick(run, line) : NULL;
        return *ret ? 1 : no_candidate(run, reterr);
    }
    c = xmalloc(sizeof(*c));
    *c = (struct choice_wait){ .line = line, .run = run, .done = done };
    list_append(&line->choices, &c->node);
    run->choice = c;
    if (!timer_active(&line->patience)) {
        timer_start(&line->patience, run->ti->patience_ms);
    }
    return 0;
}

void choice_cancel(struct choice_wait *c)
{
    if (c) {
        c->run->choice = NULL;
        list_remove(&c->node);
        free(c);
    }
}

static void choose_for_all(struct line *line)
{
    struct list all;
    struct choice_wait *c;

    timer_stop(&line->patience);
    list_take(&line->choices, &all);
    while ((c = list_first(&all, struct choice_wait, node))) {
        struct run *run = c->run;
        const choice_fn done = c->done;
        struct error e = { 0 };
        struct peer *p = pick(run, line);

        if (!p) {
            no_candidate(run, &e);
        }
        choice_cancel(c);
        done(run, p, p ? NULL : &e);
    }
}

static void on_patience(void *arg)
{
    struct line *line = arg;
    struct peer *p;

    list_for_each (p, &line->peers, of_line) {
        note_overdue(p);
    }
    choose_for_all(line);
    line_free_if_empty(line);
}

void line_settle(struct line *line)
{
    if (line->asking == 0) {
        choose_for_all(line);
        line_free_if_empty(line);
    }
}

static void on_refresh_limit(void *arg)
{
    struct refresh *r = arg;
    struct peer *p;

    list_for_each (p, &r->ti->peers, node) {
        note_overdue(p);
    }
    end_refresh(r);
}

void task_instances_refresh(struct task_instances *ti, const char *model, void (*done)(void *arg),
                            void *arg)
{
    struct refresh *r = xcalloc(1, sizeof(*r));
    struct peer *p;

    list_for_each (p, &ti->peers, node) {
        if (p->pub.state == TI_READY && p->line && (!model || str_eq(model, p->pub.model))) {
            predict_if_stale(p);
        }
    }
    r->ti = ti;
    r->done = done;
    r->arg = arg;
    timer_init(&r->limit, ti->world, "task instances' refresh", on_refresh_limit, r);
    timer_start(&r->limit, ti->asking > 0 ? ti->patience_ms : 0);
    list_append(&ti->refreshes, &r->node);
}

/* ---- strategies ---- */

const struct strategy *strategy_named(const char *name)
{
    /* The seed's word: by expected + w * error. */
    return strategy_find(str_eq(name, "weighted") ? "weighted_wait" : name);
}

const char *task_instances_strategy(const struct task_instances *ti)
{
    return ti->strategy->name;
}

int task_instances_set_strategy(struct task_instances *ti, const char *name, struct error *reterr)
{
    const struct strategy *s = strategy_named(name), *other;
    size_t cursor = 0;

    if (!s) {
        error_set(reterr, -EINVAL, "there is no strategy '%.64s', only:", name);
        while (reterr && (other = strategy_next(&cursor))) {
            const size_t n = strlen(reterr->text);

            snprintf(reterr->text + n, sizeof(reterr->text) - n, " %s", other->name);
        }
        return -EINVAL;
    }
    ti->strategy = s;
    return 0;
}
