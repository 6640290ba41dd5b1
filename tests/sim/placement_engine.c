// SPDX-License-Identifier: Apache-2.0
/*
 * Simulated engines: each answers its probes, takes the memory that it really needs on the devices
 * that it was told of, ends with its driver's words when there is not so much, and gives it back
 * late. No second one of a replica starts, and none before its row.
 */
#include "placement_scene.h"

#include <fcntl.h>
#include <unistd.h>

struct conn {
    struct list node;
    struct sim_engine *engine;
    struct stream *stream;
    char head[1024];
    size_t len;
};

static void close_conn(struct conn *c)
{
    list_remove(&c->node);
    stream_close(c->stream);
    free(c);
}

static void answer(struct conn *c)
{
    static const char good[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                               "Content-Length: 31\r\n\r\n{\"status\":\"ok\",\"total_slots\":2}";
    static const char loading[] = "HTTP/1.1 503 Loading\r\nContent-Length: 2\r\n\r\n{}";
    const char *text = c->engine->loaded ? good : loading;

    if (!c->engine->hung) {
        stream_write(c->stream, text, strlen(text));
    }
}

static void on_data(void *owner, const char *p, size_t n)
{
    struct conn *c = owner;

    for (size_t i = 0; i < n; i++) {
        assert_true(c->len < sizeof(c->head) - 1);
        c->head[c->len++] = p[i];
        c->head[c->len] = '\0';
        if (str_ends(c->head, "\r\n\r\n")) {
            answer(c);
            c->len = 0;
        }
    }
}

static void on_conn_end(void *owner, int err)
{
    close_conn(owner);
}

static void on_stream(void *owner, struct stream *stream)
{
    static const struct stream_handler handler = { on_data, on_conn_end, NULL };
    struct sim_engine *engine = owner;
    struct conn *c = xcalloc(1, sizeof(*c));

    c->engine = engine;
    c->stream = stream;
    list_append(&engine->conns, &c->node);
    stream_set_handler(stream, &handler, c);
    stream_read_start(stream);
}

/* ---- memory ---- */

static void end_with(struct sim_engine *engine, const char *words)
{
    int fd = open(engine->log, O_WRONLY | O_APPEND | O_CREAT, 0600);

    assert_true(fd >= 0);
    (void)!write(fd, words, strlen(words));
    close(fd);
    sim_process_exit(engine->process, 1, 0);
}

static void on_takes(void *arg)
{
    struct sim_engine *engine = arg;
    struct sim_machine *m = engine->scene->machine;
    char words[256];

    for (unsigned i = 0; i < engine->device_count; i++) {
        struct sim_device *d = &m->devices[engine->devices[i]];

        if (!sim_device_take(d, engine->process->id.pid, engine->bytes)) {
            sim_machine_release(m, engine->process->id.pid, 0);
            engine->scene->out_of_memory++;
            if (engine->scene->exact && d->present) {
                complain(engine->scene, "%s finds no room on device %d", engine->subject->name,
                         engine->devices[i]);
            }
            snprintf(words, sizeof(words),
                     "ggml_backend_cuda_buffer_type_alloc_buffer: allocating %.2f MiB on device "
                     "%u: cudaMalloc failed: out of memory\n",
                     (double)engine->bytes / (double)MIB, i);
            end_with(engine, words);
            return;
        }
    }
    engine->took = true;
}

static void on_loads(void *arg)
{
    struct sim_engine *engine = arg;

    engine->loaded = !engine->behaviour.never_ready && !engine->subject->fails;
    if (engine->subject->fails) {
        end_with(engine, "error: it cannot be loaded\n");
    }
}

static void on_ends(void *arg)
{
    end_with(arg, "error: so it is\n");
}

/* ---- processes ---- */

static const char *word_after(const struct spawn_spec *spec, const char *flag)
{
    for (const char *const *w = spec->argv; *w; w++) {
        if (strcmp(*w, flag) == 0) {
            return w[1];
        }
    }
    fail_msg("no %s in the command line", flag);
    return NULL;
}

static const char *variable(const struct spawn_spec *spec, const char *name)
{
    const size_t n = strlen(name);

    for (const char *const *e = spec->envp; *e; e++) {
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=') {
            return *e + n + 1;
        }
    }
    return NULL;
}

static void add_device(struct sim_engine *engine, enum gpu_vendor vendor, int vendor_index)
{
    const struct sim_machine *m = engine->scene->machine;

    for (unsigned i = 0; i < m->count; i++) {
        if (m->devices[i].facts.vendor == vendor &&
            m->devices[i].facts.vendor_index == vendor_index) {
            engine->devices[engine->device_count++] = (int)i;
            return;
        }
    }
    fail_msg("an engine is told of a device that is not there: %d", vendor_index);
}

/* As its environment says. */
static void read_devices(struct sim_engine *engine, const struct spawn_spec *spec)
{
    const char *nvidia = variable(spec, "CUDA_VISIBLE_DEVICES");
    const char *amd = variable(spec, "HIP_VISIBLE_DEVICES");

    for (const char *at = nvidia ? nvidia : amd; at && *at; at += *at == ',') {
        assert_true(engine->device_count < SIM_DEVICES_MAX);
        add_device(engine, nvidia ? GPU_NVIDIA : GPU_AMD,
                   (int)strtol(at, UNCONST(char **, &at), 10));
    }
}

struct row_question {
    struct store_op op;
    const char *uuid;
    int64_t count;
};

static int run_count(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct row_question *q = container_of(op, struct row_question, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r =
        sql_query(db, &st, reterr, "SELECT count(*) FROM instances WHERE uuid = ?", "t", q->uuid);

    if (r < 0 || (r = sql_next(st, reterr)) < 0) {
        return r;
    }
    q->count = sql_int(st, 0);
    return 0;
}

static void check_start(struct sim_engine *engine)
{
    struct row_question q = { .op.run = run_count, .uuid = engine->uuid };
    struct scene *s = engine->scene;
    struct sim_engine *other;

    list_for_each (other, &s->engines_alive, node) {
        if (other->subject == engine->subject && other->replica == engine->replica) {
            complain(s, "a second process of %s, replica %u starts", engine->subject->name,
                     engine->replica);
        }
    }
    assert_int_equal(store_read_now(s->store, &q.op), 0);
    if (q.count != 1) {
        complain(s, "a process of %s starts without its row", engine->subject->name);
    }
}

/* Where it is told to be must be where it was placed: no more, and nothing else. */
static void check_devices(struct sim_engine *engine, const struct instance *in)
{
    struct scene *s = engine->scene;

    if (engine->device_count != in->place.count) {
        complain(s, "%s was placed on %u devices, and told of %u", engine->subject->name,
                 in->place.count, engine->device_count);
    }
    for (unsigned i = 0; i < engine->device_count; i++) {
        if (place_bytes_on(&in->place, engine->devices[i]) == 0) {
            complain(s, "%s uses device %d, where it was not placed", engine->subject->name,
                     engine->devices[i]);
        }
    }
}

/* By the definition that it runs; one that has changed in this very moment is not that. */
static uint64_t take_of(const struct sim_engine *engine, const struct instance *in)
{
    const struct model *model = models_get(engine->scene->models, in->model_id);
    const uint64_t declared = model && model->epoch == in->model_epoch
                                  ? (uint64_t)model->config->gpu_memory_mb * MIB
                                  : place_bytes(&in->place);

    return declared / 100 * engine->subject->percent / MAX_OF(engine->device_count, 1U);
}

static struct sim_engine *make_engine(struct sim_process *p, const struct spawn_spec *spec)
{
    struct sim_engine *engine = xcalloc(1, sizeof(*engine));
    struct scene *s = engine->scene = sim_process_context(p);
    const char *marker = variable(spec, "BERTH_INSTANCE");
    const struct instance *in;

    engine->process = p;
    p->user = engine;
    list_init(&engine->conns);
    list_init(&engine->node);
    assert_non_null(marker);
    snprintf(engine->uuid, sizeof(engine->uuid), "%s", strchr(marker, '/') + 1);
    snprintf(engine->log, sizeof(engine->log), "%s", word_after(spec, "--log"));
    engine->subject = subject_find(s, word_after(spec, "--alias"));
    read_devices(engine, spec);
    in = engines_find(s->engines, engine->uuid);
    assert_non_null(in);
    engine->replica = in->replica;
    engine->bytes = take_of(engine, in);
    check_start(engine);
    check_devices(engine, in);
    return engine;
}

static int start(struct sim_process *p, const struct spawn_spec *spec)
{
    struct sim_engine *engine = make_engine(p, spec);
    struct scene *s = engine->scene;
    struct error err;
    char text[128];

    snprintf(text, sizeof(text), "unix:%s", word_after(spec, "--host"));
    assert_int_equal(address_parse(text, &engine->address, &err), 0);
    assert_int_equal(
        stream_listen(p->world, &engine->address, on_stream, engine, &engine->listener, NULL, &err),
        0);
    s->roll(s, &engine->behaviour);
    s->starts++;
    list_append(&s->engines_alive, &engine->node);
    timer_init(&engine->takes, p->world, "sim.takes", on_takes, engine);
    timer_init(&engine->loads, p->world, "sim.loads", on_loads, engine);
    timer_init(&engine->ends, p->world, "sim.ends", on_ends, engine);
    timer_start(&engine->takes, scene_below(s, engine->behaviour.load_ms + 1));
    timer_start(&engine->loads, engine->behaviour.load_ms + 1);
    if (engine->behaviour.crash_ms) {
        timer_start(&engine->ends, engine->behaviour.crash_ms);
    }
    return 0;
}

static void on_signal(struct sim_process *p, int signum)
{
    struct sim_engine *engine = p->user;

    if (!engine->behaviour.ignores_term && !engine->hung) {
        sim_process_exit(p, 0, 0);
    }
}

static void finish(struct sim_process *p)
{
    struct sim_engine *engine = p->user;
    struct scene *s = engine->scene;
    struct conn *c, *tmp;

    list_for_each_safe (c, tmp, &engine->conns, node) {
        close_conn(c);
    }
    engine->listener = stream_listener_close(engine->listener);
    timer_stop(&engine->takes);
    timer_stop(&engine->loads);
    timer_stop(&engine->ends);
    list_remove(&engine->node);
    sim_machine_release(s->machine, p->id.pid, engine->behaviour.linger_ms);
    clients_lose(s, engine->uuid);
    free(engine);
    p->user = NULL;
}

void engines_install(struct scene *s)
{
    static const struct sim_program program = { start, on_signal, finish };

    sim_set_program(s->world, "/bin/true", &program, s);
}

struct sim_engine *engine_find(struct scene *s, const char *uuid)
{
    struct sim_engine *engine;

    list_for_each (engine, &s->engines_alive, node) {
        if (str_eq(engine->uuid, uuid)) {
            return engine;
        }
    }
    return NULL;
}

struct sim_engine *engine_of(struct scene *s, const struct subject *of)
{
    struct sim_engine *engine;

    list_for_each (engine, &s->engines_alive, node) {
        if (engine->subject == of) {
            return engine;
        }
    }
    return NULL;
}

void engine_kill(struct sim_engine *engine)
{
    sim_process_exit(engine->process, 0, 9);
}
