// SPDX-License-Identifier: Apache-2.0
/*
 * The children that stand for engines. Each is started by the engines' room as vLLM would be, takes
 * as long to load as its weights need, answers the probe of its health, and then works: its steps
 * are those of a simulated engine. When it ends, whatever ran there is lost.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/stream.h"
#include "simulate/simulate_int.h"

/* Steps that are told of as one while an engine only decodes: as pieces of a stream come. */
enum { JUMP_STEPS = 8 };

/* ---- probes ---- */

struct conn {
    struct list node;
    struct sim_child *child;
    struct stream *stream;
    unsigned ends; /* of "\r\n\r\n", so many are there */
};

static void close_conn(struct conn *c)
{
    list_remove(&c->node);
    stream_close(c->stream);
    free(c);
}

static void on_data(void *owner, const char *p, size_t n)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char loading[] = "HTTP/1.1 503 Loading\r\nContent-Length: 0\r\n\r\n";
    struct conn *c = owner;
    const char *text = c->child->loaded ? good : loading;

    for (size_t i = 0; i < n; i++) {
        c->ends = p[i] == "\r\n\r\n"[c->ends] ? c->ends + 1 : p[i] == '\r';
        if (c->ends == 4) {
            c->ends = 0;
            stream_write(c->stream, text, strlen(text));
        }
    }
}

static void on_conn_end(void *owner, int err)
{
    (void)err;
    close_conn(owner);
}

static void on_stream(void *owner, struct stream *stream)
{
    static const struct stream_handler handler = { on_data, on_conn_end, NULL };
    struct sim_child *child = owner;
    struct conn *c = xcalloc(1, sizeof(*c));

    c->child = child;
    c->stream = stream;
    list_append(&child->conns, &c->node);
    stream_set_handler(stream, &handler, c);
    stream_read_start(stream);
}

/* ---- what an engine of a model is like on a kind of chip ---- */

static uint64_t model_load_ms(const struct fleet_model *m, const struct planner_setup *s)
{
    struct planner_result r;

    planner_evaluate(s, &m->plan,
                     &(struct planner_load){
                         .kind = PLANNER_CLOSED_LOOP, .isl = 128, .osl = 2, .concurrency = 1 },
                     &r);
    return (uint64_t)(1000 * (m->start_s + r.weights_bytes / (m->load_gbps * 1e9)));
}

/* As many tokens as the planner says that the rest of the memory holds, at the share of it that
 * this engine takes. */
static double room_of_cache(const struct fleet_model *m, const struct planner_setup *s,
                            struct error *reterr)
{
    enum { LENGTH = 4096 };
    const struct planner_load load = {
        .kind = PLANNER_CLOSED_LOOP, .isl = LENGTH, .osl = 2, .concurrency = 1
    };
    struct planner_result r;
    char why[PLANNER_REFUSAL_SIZE];
    double budget, per_token;

    planner_evaluate(s, &m->plan, &load, &r);
    if (r.bound != PLANNER_FITS) {
        planner_refusal(s, &m->plan, &load, &r, why);
        error_set(reterr, -EINVAL, "model '%s' on %s: %s", m->name, s->chip->name, why);
        return 0;
    }
    if (m->kv_tokens > 0) {
        return m->kv_tokens;
    }
    per_token = r.kv_budget_bytes / (r.fits_requests * LENGTH);
    budget = m->memory_share * s->chip->memory_gb * 1e9 - r.weights_bytes - r.activation_bytes -
             r.fixed_bytes;
    if (!(budget / per_token >= LENGTH)) {
        error_set(reterr, -EINVAL,
                  "model '%s' on %s: of %.1f GB a device, memory_share %g leaves no room for a "
                  "cache of %d tokens",
                  m->name, s->chip->name, s->chip->memory_gb, m->memory_share, LENGTH);
        return 0;
    }
    return budget / per_token;
}

static int prepare(struct sim_run *run, size_t model, unsigned kind, struct error *reterr)
{
    const struct fleet_model *m = &run->fleet->models[model];
    struct sim_model_state *state = &run->models_state[model];
    struct planner_setup s;

    planner_setup_init(&s, &m->model.model, &run->fleet->kinds[kind].chip.chip,
                       (enum planner_engine)m->engine, (enum planner_format)m->format,
                       (enum planner_kv_format)m->kv, NULL);
    state->kv_tokens[kind] = room_of_cache(m, &s, reterr);
    if (state->kv_tokens[kind] <= 0) {
        return -EINVAL;
    }
    state->times[kind] = step_times_create(&s, &m->plan);
    state->load_ms[kind] = model_load_ms(m, &s);
    return 0;
}

/* On those kinds on which it does not fit it cannot be started: that is an error only when there is
 * no other. */
int run_prepare(struct sim_run *run, struct error *reterr)
{
    for (size_t i = 0; i < run->fleet->model_count; i++) {
        bool any = false;

        for (unsigned k = 0; k < run->fleet->kind_count; k++) {
            any |= prepare(run, i, k, reterr) == 0;
        }
        if (!any) {
            return -EINVAL;
        }
    }
    return 0;
}

/* ---- life ---- */

struct sim_child *child_find(struct sim_run *run, const char *uuid)
{
    return map_get(&run->children, uuid);
}

void child_moved(struct sim_child *c)
{
    uint64_t next_us = sim_engine_next_us(c->engine);

    if (next_us == c->next_us && (c->next.index > 0 || next_us == UINT64_MAX)) {
        return;
    }
    heap_remove(&c->run->next, &c->next);
    c->next_us = next_us;
    if (next_us != UINT64_MAX) {
        heap_push(&c->run->next, &c->next);
    }
}

static void on_loaded(void *arg)
{
    struct sim_child *c = arg;

    c->loaded = true;
    c->ready_us = world_now_us(c->run->world);
    c->run->models_state[c->model].loads++;
}

/* Time before the first request is nobody's. */
void child_count(struct sim_child *c)
{
    struct sim_model_state *state = &c->run->models_state[c->model];
    uint64_t now_us = world_now_us(c->run->world);
    uint64_t from_us = MAX_OF(c->ready_us, c->run->began_us);
    struct sim_engine_figures f = sim_engine_figures(c->engine, now_us);

    if (c->loaded && c->run->began_us && now_us > from_us) {
        state->busy_us += (double)f.busy_us;
        state->alive_us += (double)(now_us - from_us);
        state->kv_token_us += f.kv_token_us;
        state->kv_room_us += c->kv_tokens * (double)(now_us - from_us);
        state->engine_preemptions += f.preemptions;
    }
}

static const char *word_after(const struct spawn_spec *spec, const char *flag)
{
    for (const char *const *w = spec->argv; *w; w++) {
        if (str_eq(*w, flag) && w[1]) {
            return w[1];
        }
    }
    return "";
}

static const char *variable(const struct spawn_spec *spec, const char *name)
{
    const size_t n = strlen(name);

    for (const char *const *e = spec->envp; e && *e; e++) {
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') {
            return *e + n + 1;
        }
    }
    return "";
}

static size_t model_of(const struct sim_run *run, int64_t id)
{
    size_t i = 0;

    while (i < run->fleet->model_count && run->models_state[i].id != id) {
        i++;
    }
    return i;
}

static unsigned kind_of(const struct sim_run *run, const struct spawn_spec *spec)
{
    unsigned device = (unsigned)strtoul(variable(spec, "CUDA_VISIBLE_DEVICES"), NULL, 10);

    return (unsigned)(fleet_kind_of(run->fleet, device) - run->fleet->kinds);
}

/* 0, or why it cannot be: that ends the run. */
static int begin(struct sim_child *c, const struct spawn_spec *spec, unsigned kind)
{
    struct sim_run *run = c->run;
    const struct fleet_model *m = &run->fleet->models[c->model];
    const struct sim_model_state *state = &run->models_state[c->model];
    const struct step_times *times = state->times[kind];
    const struct engine_spec engine = {
        .times = times,
        .max_sequences = m->max_sequences,
        .step_tokens = m->step_tokens,
        .kv_tokens = (uint64_t)state->kv_tokens[kind],
        .block_tokens = m->block_tokens,
        .prefix_cache = m->prefix_cache,
        .first_us = times ? step_times_first_us(times) : 0,
        .jump_steps = JUMP_STEPS,
    };
    struct sim_engine_events events = run_events;
    struct address where = { .host = "127.0.0.1" };

    if (!engine.times) {
        return error_set(&run->trouble, -EINVAL,
                         "model '%s' was placed on %s, where it does not fit", m->name,
                         run->fleet->kinds[kind].chip.name);
    }
    events.owner = run;
    where.port = (uint16_t)strtoul(word_after(spec, "--port"), NULL, 10);
    c->kv_tokens = state->kv_tokens[kind];
    c->engine = sim_engine_create(&engine, &events);
    return stream_listen(run->world, &where, on_stream, c, &c->listener, NULL, &run->trouble);
}

static void free_child(struct sim_child *c)
{
    c->engine = c->engine ? sim_engine_free(c->engine) : NULL;
    free(c);
}

static int start(struct sim_process *p, const struct spawn_spec *spec)
{
    struct sim_run *run = sim_process_context(p);
    const char *slash = strchr(variable(spec, "BERTH_INSTANCE"), '/');
    const struct instance *in = slash ? engines_find(run->engines, slash + 1) : NULL;
    size_t model = in ? model_of(run, in->model_id) : run->fleet->model_count;
    unsigned kind = kind_of(run, spec);
    struct sim_child *c;
    int r;

    if (!in) {
        return -ENOENT;
    }
    if (model == run->fleet->model_count) { /* it is being added: its id is not told yet */
        model = run->adding;
    }
    c = xcalloc(1, sizeof(*c));
    c->run = run;
    c->process = p;
    c->model = model;
    c->serial = ++run->child_serial;
    c->next_us = UINT64_MAX;
    list_init(&c->conns);
    memcpy(c->uuid, in->uuid, sizeof(c->uuid));
    timer_init(&c->loads, p->world, "sim.loads", on_loaded, c);
    r = begin(c, spec, kind);
    if (r < 0) {
        free_child(c);
        return r;
    }
    p->user = c;
    timer_start(&c->loads, run->models_state[model].load_ms[kind]);
    list_append(&run->children_alive, &c->node);
    map_put(&run->children, c->uuid, c);
    return 0;
}

static void on_signal(struct sim_process *p, int signum)
{
    (void)signum;
    sim_process_exit(p, 0, 0);
}

static void finish(struct sim_process *p)
{
    struct sim_child *c = p->user;
    struct conn *conn, *tmp;

    list_for_each_safe (conn, tmp, &c->conns, node) {
        close_conn(conn);
    }
    c->listener = stream_listener_close(c->listener);
    timer_stop(&c->loads);
    heap_remove(&c->run->next, &c->next);
    list_remove(&c->node);
    map_remove(&c->run->children, c->uuid);
    child_count(c);
    run_lose(c->run, c);
    free_child(c);
    p->user = NULL;
}

static bool is_sooner(const struct heap_node *a, const struct heap_node *b)
{
    const struct sim_child *x =
        container_of(UNCONST(struct heap_node *, a), struct sim_child, next);
    const struct sim_child *y =
        container_of(UNCONST(struct heap_node *, b), struct sim_child, next);

    return x->next_us != y->next_us ? x->next_us < y->next_us : x->serial < y->serial;
}

void children_install(struct sim_run *run)
{
    static const struct sim_program program = { start, on_signal, finish };

    heap_init(&run->next, is_sooner);
    sim_set_program(run->world, "serve", &program, run);
}
