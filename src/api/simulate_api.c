// SPDX-License-Identifier: Apache-2.0
/*
 * Seed 001's /api/simulate and /api/validate: one plan that a person chose, drawn as a chart, or
 * only judged. All times are milliseconds. The chart is drawn on a worker: it may have many bars.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/planner_doors_int.h"
#include "base/mem.h"
#include "base/worker.h"
#include "codec/json.h"

enum { TOKENS_DEFAULT = 16, TOKENS_MAX = 1024, BARS_MAX = 20000, DEGREE_MAX = 1 << 20 };

/* ---- the body ---- */

/* The contract's {topology, model, inference, parallelism, hardware} as a question of one plan, the
 * caller's. */
static json_t *question_of(const json_t *body)
{
    static const char *const members[] = { "topology", "model", "inference", "hardware" };
    json_t *question = json_pack("{s:s}", "search_mode", "manual"), *value;

    for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
        value = json_object_get(body, members[i]);
        if (value) {
            json_object_set(question, members[i], value);
        }
    }
    value = json_object_get(body, "parallelism");
    if (value) {
        json_object_set(question, "manual_parallelism", value);
    }
    return question;
}

/* The member is called parallelism here. */
static void rename_member(char *text, size_t size)
{
    char *at = strstr(text, "manual_parallelism");

    if (at && size > 0) {
        memmove(at, at + strlen("manual_"), strlen(at) - strlen("manual_") + 1);
    }
}

static int read_question(const struct presets *presets, const json_t *body,
                         struct plan_request *ret, char field[PRESET_NAME_MAX],
                         struct error *reterr)
{
    json_t *question;
    struct error e = { 0 };
    int r;

    if (!json_is_object(json_object_get(body, "parallelism"))) {
        snprintf(field, PRESET_NAME_MAX, "parallelism");
        return error_set(reterr, -EPROTO, "parallelism: this has to be an object, as {\"tp\": 8}");
    }
    question = question_of(body);
    r = plan_request_from_json(presets, question, ret, field, &e);
    json_decref(question);
    if (r < 0) {
        rename_member(field, PRESET_NAME_MAX);
        rename_member(e.text, sizeof(e.text));
        *reterr = e;
    }
    return r;
}

/* The one plan, tried: its candidate or its refusal. NULL: neither came. */
static const struct planner_candidate *only_candidate(const struct planner_findings *f)
{
    if (f->count > 0) {
        return &f->candidates[0];
    }
    return f->refusal_count > 0 ? &f->refusals[0] : NULL;
}

static void say_refusal(const struct plan_request *r, const struct planner_setup *setup,
                        const struct planner_candidate *c, char out[PLANNER_REFUSAL_SIZE])
{
    const struct planner_load load = planner_candidate_load(&r->question, c);

    planner_refusal(setup, &c->plan, &load, &c->result, out);
}

/* ---- simulate ---- */

struct simulation {
    struct job job;
    struct planner_visit *visit;
    struct plan_request request;
    unsigned tokens;
    double now_s;
    json_t *answer;
    struct error error;
};

static double ms(double s)
{
    return round(s * 1e6) / 1e3;
}

static const char *bar_word(const struct planner_bar *b)
{
    return b->work == PLANNER_WORK_MAX_ ? "bubble" : planner_work_names[b->work];
}

static json_t *bar_json(const struct planner_bar *b, size_t number)
{
    const char *word = bar_word(b), *phase = b->decode ? "decode" : "prefill";

    return json_pack("{s:o, s:o, s:o, s:i, s:f, s:f, s:s, s:s, s:i}", "id",
                     json_sprintf("b%zu", number), "name",
                     json_sprintf("%s %u %s", phase, b->index, word), "resource",
                     json_sprintf("stage-%u", b->stage), "stage", (int)b->stage, "start",
                     ms(b->start_s), "end", ms(b->start_s + b->length_s), "type", word, "phase",
                     phase, b->decode ? "tokenIndex" : "microbatch", (int)b->index);
}

/* What the bars of a phase add up to. */
struct phase {
    double compute_s, comm_s, start_s, end_s;
    unsigned first_stage, last_stage;
};

static void add_bar(struct phase *p, const struct planner_bar *b, bool first)
{
    p->start_s = first ? b->start_s : fmin(p->start_s, b->start_s);
    p->end_s = fmax(p->end_s, b->start_s + b->length_s);
    p->first_stage = first ? b->stage : MIN_OF(p->first_stage, b->stage);
    p->last_stage = MAX_OF(p->last_stage, b->stage);
    if (b->work == PLANNER_WORK_COMM) {
        p->comm_s += b->length_s;
    } else if (b->work != PLANNER_WORK_MAX_) {
        p->compute_s += b->length_s;
    }
}

static struct phase phase_of(const struct planner_bar *bars, size_t count, bool decode)
{
    struct phase p = { 0 };
    bool first = true;

    for (size_t i = 0; i < count; i++) {
        if (bars[i].decode == decode) {
            add_bar(&p, &bars[i], first);
            first = false;
        }
    }
    return p;
}

/* A stage's mean share of the phase; nothing overlaps in this model. */
static json_t *phase_json(const struct phase *p)
{
    const double stages = p->last_stage - p->first_stage + 1, total = p->end_s - p->start_s;
    const double compute = p->compute_s / stages, comm = p->comm_s / stages;

    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f}", "computeTime", ms(compute), "commTime",
                     ms(comm), "bubbleTime", ms(fmax(total - compute - comm, 0)), "overlapTime",
                     0.0, "totalTime", ms(total), "computeEfficiency",
                     total > 0 ? compute / total : 0);
}

/* The largest share of the prefill in which one stage waits. */
static double worst_bubble(const struct planner_bar *bars, size_t count, const struct phase *p)
{
    const double total = p->end_s - p->start_s;
    double worst = 0;

    for (unsigned stage = p->first_stage; stage <= p->last_stage && total > 0; stage++) {
        double busy = 0;

        for (size_t i = 0; i < count; i++) {
            busy += !bars[i].decode && bars[i].stage == stage && bars[i].work != PLANNER_WORK_MAX_
                        ? bars[i].length_s
                        : 0;
        }
        worst = fmax(worst, 1 - busy / total);
    }
    return worst < 1e-9 ? 0 : worst;
}

/* Where other chips do the prefill, each stage belongs to one of the phases. */
static json_t *resource_json(unsigned stage, const struct phase *prefill,
                             const struct phase *decode)
{
    const bool apart = decode->first_stage > prefill->last_stage;
    const char *phase = !apart ? NULL : stage < decode->first_stage ? "prefill" : "decode";

    return json_pack("{s:o, s:o, s:i, s:s*}", "id", json_sprintf("stage-%u", stage), "name",
                     json_sprintf("Stage %u", stage), "ppStage", (int)stage, "phase", phase);
}

static json_t *chart_json(const struct planner_bar *bars, size_t count, const struct phase *prefill,
                          const struct phase *decode)
{
    const unsigned last = MAX_OF(prefill->last_stage, decode->last_stage);
    json_t *resources = json_array(), *tasks = json_array();

    for (unsigned i = 0; i <= last; i++) {
        json_array_append_new(resources, resource_json(i, prefill, decode));
    }
    for (size_t i = 0; i < count; i++) {
        json_array_append_new(tasks, bar_json(&bars[i], i));
    }
    return json_pack("{s:s, s:o, s:o, s:{s:f, s:f}, s:f}", "timeUnit", "ms", "resources", resources,
                     "tasks", tasks, "timeRange", "start", 0.0, "end",
                     ms(fmax(prefill->end_s, decode->end_s)), "phaseTransition",
                     ms(prefill->end_s));
}

static json_t *stats_json(const struct simulation *s, const struct planner_result *r,
                          const struct phase *prefill, const struct phase *decode)
{
    return json_pack("{s:o, s:o, s:f, s:I, s:f, s:f, s:f, s:f}", "prefill", phase_json(prefill),
                     "decode", phase_json(decode), "totalRunTime",
                     ms(fmax(prefill->end_s, decode->end_s)), "simulatedTokens",
                     (json_int_t)s->tokens, "ttft", ms(r->ttft_s), "avgTpot", ms(r->tpot_s),
                     "dynamicMfu", r->mfu, "dynamicMbu", r->mbu);
}

static json_t *whole_json(const struct simulation *s, const struct planner_result *r,
                          const struct planner_bar *bars, size_t count)
{
    const struct phase prefill = phase_of(bars, count, false), decode = phase_of(bars, count, true);
    json_t *stats = stats_json(s, r, &prefill, &decode);

    json_object_set_new(stats, "maxPPBubbleRatio", json_real(worst_bubble(bars, count, &prefill)));
    json_object_set_new(stats, "totalEvents", json_integer((json_int_t)count));
    return json_pack("{s:o, s:o, s:f}", "ganttChart", chart_json(bars, count, &prefill, &decode),
                     "stats", stats, "timestamp", s->now_s);
}

/* As many tokens as there is room for bars. */
static size_t draw(struct simulation *s, const struct planner_setup *setup,
                   const struct planner_candidate *c, struct planner_bar *bars)
{
    const struct planner_load load = planner_candidate_load(&s->request.question, c);
    size_t count = planner_timeline(setup, &c->plan, &load, s->tokens, bars, BARS_MAX);

    while (count > BARS_MAX && s->tokens > 1) {
        s->tokens /= 2;
        count = planner_timeline(setup, &c->plan, &load, s->tokens, bars, BARS_MAX);
    }
    return count;
}

static void simulate(struct simulation *s, const struct planner_setup *setup,
                     const struct planner_candidate *c)
{
    struct planner_bar *bars = xcalloc(BARS_MAX, sizeof(*bars));
    const size_t count = draw(s, setup, c, bars);

    if (count > BARS_MAX) {
        error_set(&s->error, -EINVAL,
                  "inference: the prefill alone has %zu bars, more than the %d that a chart may "
                  "have; shorten input_seq_length, or let a chunk have more tokens",
                  count, BARS_MAX);
    } else {
        s->answer = whole_json(s, &c->result, bars, count);
        if (!s->answer) { /* JSON has no infinity */
            error_set(&s->error, -EINVAL, "parallelism: its times are beyond all numbers");
        }
    }
    free(bars);
}

static void run_simulation(struct job *job)
{
    struct simulation *s = container_of(job, struct simulation, job);
    char refusal[PLANNER_REFUSAL_SIZE];
    struct planner_setup setup;
    struct planner_findings f = { 0 };
    const struct planner_candidate *c;

    plan_request_run(&s->request, NULL, NULL, &setup, &f);
    c = only_candidate(&f);
    if (!c) {
        error_set(&s->error, -EINVAL, "parallelism: it makes no plan");
    } else if (c->result.bound != PLANNER_FITS) {
        say_refusal(&s->request, &setup, c, refusal);
        error_set(&s->error, -EINVAL, "parallelism: %s", refusal);
    } else {
        simulate(s, &setup, c);
    }
    planner_findings_finish(&f);
}

static void on_simulated(struct job *job)
{
    struct simulation *s = container_of(job, struct simulation, job);

    planner_answered(s->visit, s->error.code, s->answer, "", &s->error);
    json_decref(s->answer);
    free(s);
}

/* config {maxSimulatedTokens}, or max_simulated_tokens. */
static int read_tokens(const json_t *body, unsigned *ret, struct error *reterr)
{
    const json_t *config = json_object_get(body, "config"), *tokens;

    *ret = TOKENS_DEFAULT;
    if (!config || json_is_null(config)) {
        return 0;
    }
    if (!json_is_object(config)) {
        return error_set(reterr, -EINVAL, "config: it must be an object");
    }
    tokens = json_object_get(config, "maxSimulatedTokens");
    tokens = tokens ? tokens : json_object_get(config, "max_simulated_tokens");
    if (!tokens) {
        return 0;
    }
    if (!json_is_integer(tokens) || json_integer_value(tokens) < 1 ||
        json_integer_value(tokens) > TOKENS_MAX) {
        return error_set(reterr, -EINVAL,
                         "config.maxSimulatedTokens: it must be a whole number from 1 to %d",
                         TOKENS_MAX);
    }
    *ret = (unsigned)json_integer_value(tokens);
    return 0;
}

static void start(struct api *api, struct http_exchange *x, struct evaluations *v,
                  const json_t *body)
{
    struct simulation *s = xcalloc(1, sizeof(*s));
    char field[PRESET_NAME_MAX] = "";
    int r = read_tokens(body, &s->tokens, &s->error);

    r = r < 0 ? r : read_question(evaluations_presets(v), body, &s->request, field, &s->error);
    if (r < 0) { /* the contract: 400 whatever is wrong with it */
        planner_refuse(x, -EINVAL, field, &s->error);
        free(s);
        return;
    }
    s->job.run = run_simulation;
    s->job.done = on_simulated;
    s->now_s = (double)world_wall_ms(api->in.world) / 1000;
    s->tokens = MIN_OF(s->tokens, (unsigned)fmax(s->request.question.osl, 1));
    if (worker_submit(planner_worker(api), &s->job) < 0) {
        planner_refuse(x, -EAGAIN, "",
                       &(struct error){ -EAGAIN, "too much is asked of the planner at once" });
        free(s);
        return;
    }
    s->visit = planner_visit_create(x);
    s->visit->api = api;
}

static void handle_simulate(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body = v ? planner_body(x) : NULL;

    if (body) {
        start(owner, x, v, body);
    }
    json_decref(body);
}

/* ---- validate ---- */

/* As far as the body tells: it may be wrong in any way. */
static json_int_t told_degree(const json_t *parallelism, const char *name)
{
    const json_int_t n = json_integer_value(json_object_get(parallelism, name));

    return n >= 1 && n <= DEGREE_MAX ? n : 1;
}

/* Experts lie on the chips that attention has: ep and moe_tp need none of their own. */
static json_int_t told_chips(const json_t *parallelism)
{
    return told_degree(parallelism, "dp") * told_degree(parallelism, "tp") *
           told_degree(parallelism, "pp");
}

static json_int_t required_chips(const json_t *body)
{
    const json_t *p = json_object_get(body, "parallelism"), *apart = json_object_get(p, "prefill");

    return told_chips(p) + (json_is_object(apart) ? told_chips(apart) : 0);
}

static json_int_t available_chips(const json_t *body)
{
    const json_t *told = json_object_get(body, "topology");
    struct planner_topology t = { 0 };

    return preset_topology_from_json(told, &t, NULL) < 0 ? 0 : planner_topology_chips(&t);
}

/* NULL, or what speaks against the plan, the caller's. */
static char *objection(const struct plan_request *request)
{
    char refusal[PLANNER_REFUSAL_SIZE] = "it makes no plan";
    struct planner_setup setup;
    struct planner_findings f = { 0 };
    const struct planner_candidate *c;
    bool fits;

    plan_request_run(request, NULL, NULL, &setup, &f);
    c = only_candidate(&f);
    fits = c && c->result.bound == PLANNER_FITS;
    if (c && !fits) {
        say_refusal(request, &setup, c, refusal);
    }
    planner_findings_finish(&f);
    return fits ? NULL : xasprintf("parallelism: %s", refusal);
}

static json_t *judge(const struct presets *presets, const json_t *body)
{
    struct plan_request *request = xcalloc(1, sizeof(*request));
    char field[PRESET_NAME_MAX] = "";
    struct error e = { 0 };
    json_t *errors = json_array();
    json_int_t required = required_chips(body), available = available_chips(body);
    _cleanup_(freep) char *against = NULL;

    if (read_question(presets, body, request, field, &e) < 0) {
        json_array_append_new(errors, json_text(e.text));
    } else {
        required = planner_plan_chips(&request->plan);
        required += request->prefill.replicas > 0 ? planner_plan_chips(&request->prefill) : 0;
        available = request->chips;
        against = objection(request);
        if (against) {
            json_array_append_new(errors, json_text(against));
        }
    }
    free(request);
    return json_pack("{s:b, s:o, s:I, s:I}", "valid", json_array_size(errors) == 0, "errors",
                     errors, "required_chips", required, "available_chips", available);
}

static void handle_validate(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct evaluations *v = planner_evaluations(owner, x);
    json_t *body = v ? planner_body(x) : NULL;

    if (body) {
        http_respond_json(x, 200, judge(evaluations_presets(v), body));
    }
    json_decref(body);
}

// clang-format off
const struct route simulate_routes[] = {
    { "POST", "/api/simulate", SCOPE_ADMIN, handle_simulate,
      "One plan as a chart: what each stage does when, in a prefill and some decode steps. Times in milliseconds.",
      { "SimulateRequest", "Simulation", "200 400 422 429 503", NULL } },
    { "POST", "/api/validate", SCOPE_ADMIN, handle_validate, "Does this plan fit on these chips? If not, why.",
      { "SimulateRequest", "Validation", "200 422 503", NULL } },
};
// clang-format on
const size_t simulate_route_count = ARRAY_SIZE(simulate_routes);
