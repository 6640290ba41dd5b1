// SPDX-License-Identifier: Apache-2.0
/*
 * What an instance runs, and its processes: all that carry its mark. One of them, the leader, is
 * the one that we started (or found) and watch; an engine's workers may outlive it, so "none is
 * left" is always answered by looking at every process. A container stands for a leader, and is
 * left until it is removed; its processes carry the mark as well.
 */
#include "engines/engines_int.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "engines/words.h"

enum {
    PORT_TRIES = 16,
    SILENT_AT_STOP_MS = 10 * 1000, /* a container engine that does not answer is not waited for */
    SILENT_AT_LEAVE_MS = 60 * 1000,
};

/* FNV-1a, 64 bit, a line each. */
uint64_t spec_hash_add(uint64_t h, const char *text)
{
    for (; *text; text++) {
        h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    }
    return (h ^ '\n') * 0x100000001b3u;
}

void spec_hash_text(uint64_t h, char out[SPEC_HASH_SIZE])
{
    snprintf(out, SPEC_HASH_SIZE, "%016llx", (unsigned long long)h);
}

static void hash_command(const struct engine_command *c, char out[SPEC_HASH_SIZE])
{
    uint64_t h = SPEC_HASH_BEGIN;

    for (char **w = c->argv; w && *w; w++) {
        h = spec_hash_add(h, *w);
    }
    for (char **w = c->env; w && *w; w++) {
        h = spec_hash_add(h, *w);
    }
    if (c->container) {
        _cleanup_(freep) char *text = container_spec_text(c->container, NULL);

        h = spec_hash_add(h, text);
    }
    spec_hash_text(h, out);
}

int inst_command(struct engines *e, const struct model *model, const struct inst_place *place,
                 struct engine_command *ret, char ret_hash[SPEC_HASH_SIZE], struct error *reterr)
{
    const struct engine_driver *driver = driver_find(model->config->framework);
    struct engine_context context = {
        .config = e->config,
        .model = model->config,
        .gpu = e->gpu,
        .replica = place->replica,
        .port = place->port,
        .place = place->where && place->where->count ? place->where : NULL,
    };
    char socket_path[96];
    int r;

    if (!driver) {
        char names[128];

        driver_names(names, sizeof(names));
        return error_set(reterr, -EINVAL, "unknown framework '%s' (known: %s)",
                         model->config->framework, names);
    }
    snprintf(socket_path, sizeof(socket_path), "instances/%s/engine.sock", place->uuid);
    context.socket_path = socket_path;
    r = driver->command(&context, ret, reterr);
    if (r < 0) {
        return r;
    }
    hash_command(ret, ret_hash);
    return 0;
}

void inst_take_command(struct inst *inst, struct engine_command *command)
{
    struct instance *pub = &inst->pub;

    engine_command_finish(&inst->command);
    inst->command = *command;
    *command = (struct engine_command){ 0 };
    pub->address = inst->command.address;
    pub->remote = !inst->command.argv && !inst->command.container;
    pub->slots = inst->command.slots;
    pub->weight = inst->command.weight ? inst->command.weight : MAX_OF(pub->slots, 1U);
    pub->log_path[0] = '\0';
    if (!pub->remote) {
        snprintf(pub->log_path, sizeof(pub->log_path), "instances/%s/engine.log", pub->uuid);
    }
}

static bool lists_equal(char *const *a, char *const *b)
{
    if (!a || !b) {
        return (!a || !*a) && (!b || !*b);
    }
    while (*a && *b && str_eq(*a, *b)) {
        a++;
        b++;
    }
    return !*a && !*b;
}

static bool commands_equal(const struct engine_command *a, const struct engine_command *b)
{
    char where_a[ADDRESS_TEXT_SIZE], where_b[ADDRESS_TEXT_SIZE];

    address_format(&a->address, where_a);
    address_format(&b->address, where_b);
    return !a->argv == !b->argv && container_specs_equal(a->container, b->container) &&
           lists_equal(a->argv, b->argv) && lists_equal(a->env, b->env) && a->slots == b->slots &&
           a->weight == b->weight && str_eq(where_a, where_b) &&
           str_eq_opt(a->base_path, b->base_path) && str_eq_opt(a->headers, b->headers) &&
           str_eq_opt(a->model, b->model);
}

bool inst_matches(const struct inst *inst, const struct model *model)
{
    struct inst_place place = { inst->pub.uuid, inst->pub.replica, inst->port, &inst->pub.place };
    struct engine_command now = { 0 };
    char hash[SPEC_HASH_SIZE];
    struct error err = { 0 };
    bool same;

    if (driver_find(model->config->framework) != inst->driver ||
        inst_command(inst->engines, model, &place, &now, hash, &err) < 0) {
        return false;
    }
    same = commands_equal(&inst->command, &now);
    engine_command_finish(&now);
    return same;
}

/* ---- ports */

static void refuse_stream(void *owner, struct stream *s)
{
    stream_close(s);
}

static int try_listen(struct engines *e, const struct address *where, struct address *ret_bound,
                      struct error *reterr)
{
    struct stream_listener *listener;
    int r;

    r = stream_listen(e->world, where, refuse_stream, NULL, &listener, ret_bound, reterr);
    if (r < 0) {
        return r;
    }
    stream_listener_close(listener);
    return 0;
}

/* A port may be somebody else's: better said now than read from the engine's log. */
int inst_check_port(const struct inst *inst, struct error *reterr)
{
    if (inst->command.address.is_unix || inst->pub.remote) {
        return 0;
    }
    return try_listen(inst->engines, &inst->command.address, NULL, reterr);
}

/* An engine that starts does not listen on its port yet. */
static bool is_promised(const struct inst *self, uint16_t port)
{
    const struct inst *inst;

    list_for_each (inst, &self->engines->instances, node) {
        if (inst != self && inst->port == port) {
            return true;
        }
    }
    return false;
}

int inst_choose_port(struct inst *inst, struct error *reterr)
{
    struct address where = { .host = "127.0.0.1", .port = inst->port };
    struct address bound = { 0 };
    struct error taken = { 0 };

    if (!inst->driver || !inst->driver->needs_port) {
        return 0;
    }
    if (inst->port && inst->was_ready && try_listen(inst->engines, &where, NULL, &taken) >= 0) {
        return 0;
    }
    where.port = 0;
    for (int i = 0; i < PORT_TRIES; i++) {
        int r = try_listen(inst->engines, &where, &bound, reterr);

        if (r < 0) {
            return r;
        }
        if (!is_promised(inst, bound.port)) {
            inst->port = bound.port;
            return 0;
        }
    }
    return error_set(reterr, -EADDRINUSE, "no port of 127.0.0.1 is free");
}

/* ---- the environment */

bool marker_uuid(const struct engines *e, const char *value, char ret_uuid[UUID_SIZE])
{
    size_t n = strlen(e->data_id);

    if (strncmp(value, e->data_id, n) != 0 || value[n] != '/' ||
        strlen(value + n + 1) != UUID_SIZE - 1) {
        return false;
    }
    memcpy(ret_uuid, value + n + 1, UUID_SIZE);
    return true;
}

/* Our own settings and passwords are nothing for an engine. */
static bool is_for_engines(const char *entry)
{
    static const char *const kept_back[] = { "BERTH_",
                                             "DB_PASSWORD=", "REDIS_PASSWORD=", "LLAMA_API_KEY=" };

    for (size_t i = 0; i < ARRAY_SIZE(kept_back); i++) {
        if (str_starts(entry, kept_back[i])) {
            return false;
        }
    }
    return true;
}

/* Does one of the entries in `list` set the same name? */
static bool is_replaced(const char *entry, char *const *list)
{
    size_t name = strcspn(entry, "=") + 1;

    for (; list && *list; list++) {
        if (strncmp(entry, *list, name) == 0) {
            return true;
        }
    }
    return false;
}

static char **make_environment(const struct inst *inst)
{
    struct words env = { 0 };

    words_addf(&env, ENGINE_MARKER "=%s/%s", inst->engines->data_id, inst->pub.uuid);
    for (char **entry = environ; entry && *entry; entry++) {
        if (is_for_engines(*entry) && !is_replaced(*entry, inst->command.env)) {
            words_add(&env, *entry);
        }
    }
    for (char **entry = inst->command.env; entry && *entry; entry++) {
        if (!str_starts(*entry, ENGINE_MARKER "=")) {
            words_add(&env, *entry);
        }
    }
    return words_take(&env);
}

static char **make_argv(const struct inst *inst)
{
    const struct engines *e = inst->engines;
    struct words argv = { 0 };

    words_add(&argv, e->self_path);
    words_add(&argv, "exec-engine");
    words_add(&argv, "--parent");
    words_addf(&argv, "%ld", (long)getpid());
    words_add(&argv, "--log");
    words_add(&argv, inst->pub.log_path);
    words_add(&argv, "--oom-score");
    words_addf(&argv, "%lld", (long long)config_int(e->config, "engines.oom_score"));
    words_add(&argv, "--");
    for (char **word = inst->command.argv; *word; word++) {
        words_add(&argv, *word);
    }
    return words_take(&argv);
}

static void on_process_exit(void *owner, const struct process_exit *how)
{
    struct inst *inst = owner;

    inst->process = process_destroy(inst->process);
    inst_process_ended(inst, how);
}

/* ---- containers */

static void on_container_pull(void *owner)
{
    struct inst *inst = owner;

    timer_stop(&inst->deadline); /* an image is not part of loading; on_container_running goes on */
}

struct search {
    pid_t pid;
    struct process_id found;
};

static void on_searched(void *arg, struct process_id id, const char *value)
{
    struct search *s = arg;

    if (id.pid == s->pid) {
        s->found = id;
    }
}

static void on_container_running(void *owner, int64_t pid)
{
    struct inst *inst = owner;
    struct engines *e = inst->engines;
    struct search s = { .pid = (pid_t)pid, .found.pid = (pid_t)pid };

    if (process_scan(e->world, ENGINE_MARKER, on_searched, &s) < 0) {
        log_debug("engines", inst->log_name, "the container's process is not known");
    }
    if (inst->pub.state == INSTANCE_STARTING && !timer_active(&inst->deadline)) {
        timer_start(&inst->deadline, config_duration_ms(e->config, "engines.start_timeout"));
    }
    if (inst->pub.process.pid != s.found.pid ||
        inst->pub.process.start_time != s.found.start_time) {
        inst->pub.process = s.found;
        inst_store(inst, ROW_UPDATE, NULL);
        log_info("engines", inst->log_name, "its container runs", kv_int("pid", pid));
    }
}

static void on_not_started(struct inst *inst, const struct container_end *end)
{
    enum failure failure = end->verdict == CONTAINER_VAIN      ? FAILURE_COMMAND
                           : end->verdict == CONTAINER_NO_EXEC ? FAILURE_EXEC
                                                               : FAILURE_SPAWN;

    if (!container_exists(inst->container)) {
        inst->container = container_destroy(inst->container);
    }
    if (inst->pub.state == INSTANCE_STARTING) {
        inst_fail(inst, failure, "cannot start the container: %s", end->sentence);
    } else {
        inst_process_ended(inst, &end->how);
    }
}

static void on_container_end(void *owner, const struct container_end *end)
{
    struct inst *inst = owner;

    inst->container_ended = true;
    if (end->verdict == CONTAINER_MISSING && inst->pub.state == INSTANCE_STARTING) {
        log_warn("engines", inst->log_name, "cannot be adopted", kv_str("reason", end->sentence));
        inst_leave(inst, true);
    } else if (end->verdict == CONTAINER_EXITED || end->verdict == CONTAINER_MISSING) {
        inst_process_ended(inst, &end->how);
    } else {
        on_not_started(inst, end);
    }
}

/* Its end was told before it was removed, unless it was removed to end it. */
static void on_container_gone(void *owner)
{
    struct inst *inst = owner;
    bool told = inst->container_ended;

    inst->container = container_destroy(inst->container);
    if (told) {
        timer_start(&inst->timer, 0); /* STOPPING: looks again at what is left */
    } else {
        inst_process_ended(inst, &(struct process_exit){ 0 });
    }
}

static struct container_in container_of_inst(struct inst *inst)
{
    static const struct container_handler handler = { on_container_running, on_container_pull,
                                                      on_container_end, on_container_gone };
    struct engines *e = inst->engines;

    inst->container_ended = false;
    return (struct container_in){
        .world = e->world,
        .socket = config_string(e->config, "engines.docker_socket"),
        .data_id = e->data_id,
        .uuid = inst->pub.uuid,
        .log_path = inst->pub.log_path,
        .log_name = inst->log_name,
        .oom_score = config_int(e->config, "engines.oom_score"),
        .handler = &handler,
        .owner = inst,
    };
}

void inst_adopt_container(struct inst *inst)
{
    struct container_in in = container_of_inst(inst);
    struct stat st;

    if (stat(inst->pub.log_path, &st) == 0) {
        in.log_since_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    }
    inst->container = container_adopt(&in);
    inst->pub.adopted = true;
    inst->pub.started_wall_ms = inst->created_wall_ms;
    inst->spawned_ms = world_now_ms(inst->engines->world);
}

void inst_clear_container(struct inst *inst)
{
    struct container_in in = container_of_inst(inst);

    inst->container = container_leftover(&in);
}

static bool is_known_uuid(void *owner, const char *uuid)
{
    return engines_find(owner, uuid) != NULL;
}

void containers_sweep(struct engines *e)
{
    container_sweep_destroy(e->strays);
    e->strays = container_sweep_start(e->world, config_string(e->config, "engines.docker_socket"),
                                      e->data_id, is_known_uuid, e);
}

/* One that leaves is not held up by a container engine that is gone: what stands there then is a
 * stray. */
static bool is_given_up(const struct inst *inst)
{
    uint64_t since_ms = container_silent_since_ms(inst->container);
    uint64_t silent_ms = since_ms ? world_now_ms(inst->engines->world) - since_ms : 0;

    return (inst->engines->stopping && silent_ms > SILENT_AT_STOP_MS) ||
           (inst->leaving && silent_ms > SILENT_AT_LEAVE_MS);
}

/* How many containers are left of it: 0 or 1. */
static unsigned clear_container(struct inst *inst)
{
    if (!inst->container) {
        return 0;
    }
    if (is_given_up(inst)) {
        log_warn("engines", inst->log_name,
                 "its container may be left behind: the container engine does not answer");
        inst->container = container_destroy(inst->container);
        containers_sweep(inst->engines);
        return 0;
    }
    container_remove(inst->container);
    return 1;
}

/* ---- starting and ending */

bool inst_has_process(const struct inst *inst)
{
    return inst->process || inst->container;
}

int inst_terminate(struct inst *inst)
{
    if (inst->container) {
        container_stop(inst->container,
                       config_duration_ms(inst->engines->config, "engines.stop_grace"));
        return 0;
    }
    return inst->process ? process_signal(inst->process, SIGTERM) : 0;
}

static int spawn_process(struct inst *inst, struct error *reterr)
{
    _cleanup_(str_list_freep) char **argv = make_argv(inst);
    _cleanup_(str_list_freep) char **env = make_environment(inst);
    struct spawn_spec spec = { (const char *const *)argv, (const char *const *)env };
    int r;

    r = process_spawn(inst->engines->world, &spec, on_process_exit, inst, &inst->process, reterr);
    if (r >= 0) {
        inst->pub.process = process_id(inst->process);
    }
    return r;
}

static void start_container(struct inst *inst)
{
    struct container_in in = container_of_inst(inst);

    inst->pub.process = (struct process_id){ 0 }; /* not known yet */
    inst->container = container_start(&in, inst->command.container, inst->command.env);
}

int inst_spawn(struct inst *inst, struct error *reterr)
{
    struct engines *e = inst->engines;
    int r = 0;

    inst->log_start = engine_log_size(inst->pub.log_path);
    if (inst->pub.address.is_unix) {
        unlink(inst->pub.address.path); /* a dead engine's */
    }
    if (inst->command.container) {
        start_container(inst);
    } else {
        r = spawn_process(inst, reterr);
    }
    if (r < 0) {
        return r;
    }
    inst->pub.started_wall_ms = world_wall_ms(e->world);
    inst->spawned_ms = world_now_ms(e->world);
    return 0;
}

int inst_adopt(struct inst *inst, struct process_id id, struct error *reterr)
{
    int r;

    r = process_adopt(inst->engines->world, id, on_process_exit, inst, &inst->process, reterr);
    if (r < 0) {
        return r;
    }
    inst->pub.process = id;
    inst->pub.adopted = true;
    inst->pub.started_wall_ms = inst->created_wall_ms;
    inst->spawned_ms = world_now_ms(inst->engines->world);
    return 0;
}

void inst_open_upstream(struct inst *inst)
{
    struct http_upstream_options options = { .where = inst->pub.address };

    assert(!inst->upstream);
    inst->upstream = http_upstream_create(inst->engines->world, &options);
}

void inst_close_upstream(struct inst *inst)
{
    inst_probe_stop(inst);
    inst->upstream = http_upstream_destroy(TAKE_PTR(inst->upstream));
}

struct look {
    struct inst *inst;
    int signum;
    unsigned found;
};

static void on_marked(void *arg, struct process_id id, const char *value)
{
    struct look *look = arg;
    struct engines *e = look->inst->engines;
    char uuid[UUID_SIZE];

    if (!marker_uuid(e, value, uuid) || !str_eq(uuid, look->inst->pub.uuid)) {
        return;
    }
    look->found++;
    if (process_kill(e->world, id, look->signum) < 0) {
        log_debug("engines", look->inst->log_name, "a process ended before it was signalled",
                  kv_int("pid", id.pid));
    }
}

unsigned inst_signal_marked(struct inst *inst, int signum)
{
    struct look look = { .inst = inst, .signum = signum };

    if (process_scan(inst->engines->world, ENGINE_MARKER, on_marked, &look) < 0) {
        return 1; /* not known: it may not be called gone */
    }
    return look.found + clear_container(inst);
}
