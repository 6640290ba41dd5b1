// SPDX-License-Identifier: Apache-2.0
/*
 * What a definition needs of memory: its model's files are read on a worker and remembered until
 * they change; what instances of it took before is remembered in the table engine_memory. The rule:
 *
 *     measured before        the larger of that and the estimate
 *     declared               resource_requirements.gpu_memory
 *     neither                the estimate
 *
 * and more of it after each start that ended for want of memory. A measurement counts for the very
 * definition that it was taken with: its key is a hash of all that decides memory.
 */
#include "engines/need.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "engines/devices.h"
#include "engines/engines_int.h"
#include "engines/parameters.h"

#define MIB ((uint64_t)1 << 20)

enum {
    FILES_MAX = 256,          /* whose facts are remembered */
    MEASUREMENTS_MAX = 10000, /* the oldest are forgotten */
    QUEUED_MAX = 65536,
    FILE_THREADS = 4,           /* a file on a disk that hangs shall not hold up the others */
    WORTH_TELLING_PERCENT = 10, /* difference between what was thought and what it took */
    KEY_SIZE = SPEC_HASH_SIZE + 8,
};
#define DECLARED_MIB_MAX ((int64_t)1 << 40) /* more is as good as this, and would overflow */

struct known_file {
    struct list node; /* the one that was used last is last */
    struct model_stamp stamp;
    struct model_facts facts;
    char path[];
};

/* What instances of one definition took on `devices` devices. */
struct measurement {
    struct list node; /* by time */
    char key[SPEC_HASH_SIZE];
    unsigned devices;
    uint64_t device_bytes, host_bytes;
    uint32_t load_ms;
    int64_t measured_ms;
    bool told; /* that it differs from what was thought */
};

struct needs {
    struct engines *engines;
    struct worker *worker;
    struct map files; /* path → struct known_file */
    struct list file_order;
    struct map measurements; /* "key/devices" → struct measurement */
    struct list measurement_order;
    struct list queries; /* struct need_query */
};

/* A question for one definition's need, from an instance or from outside. */
struct need_query {
    struct job job;
    struct list node;
    struct needs *needs;
    bool gone; /* nobody waits for the answer any more */
    /* on the worker */
    char *path; /* NULL: there is nothing to read */
    bool has_known, unchanged;
    struct model_stamp known, stamp;
    struct model_facts *facts;
    int result;
    struct error error;
    /* who asks: an instance, or a caller with its definition */
    struct inst *inst;
    struct model_config *config;
    engines_need_fn done;
    void *arg;
};

/* ---- facts of files ---- */

static void read_files(struct job *job)
{
    struct need_query *q = container_of(job, struct need_query, job);

    if (!q->path) {
        return;
    }
    q->result = model_file_stamp(q->path, &q->stamp, &q->error);
    q->unchanged = q->result == 0 && q->has_known && q->stamp.bytes == q->known.bytes &&
                   q->stamp.changed_ns == q->known.changed_ns;
    if (q->result < 0 || q->unchanged) {
        return;
    }
    q->facts = xmalloc(sizeof(*q->facts));
    q->result = model_file_read(q->path, q->facts, &q->error);
    if (q->result < 0) {
        free(TAKE_PTR(q->facts));
    }
}

static void forget_file(struct needs *n, struct known_file *file)
{
    map_remove(&n->files, file->path);
    list_remove(&file->node);
    free(file);
}

static void remember_file(struct needs *n, const struct need_query *q)
{
    struct known_file *old = map_get(&n->files, q->path);
    struct known_file *file = xmalloc(sizeof(*file) + strlen(q->path) + 1);

    file->stamp = q->stamp;
    file->facts = *q->facts;
    strcpy(file->path, q->path);
    if (old) {
        forget_file(n, old);
    }
    if (n->files.count >= FILES_MAX) {
        forget_file(n, container_of(n->file_order.next, struct known_file, node));
    }
    map_put(&n->files, file->path, file);
    list_append(&n->file_order, &file->node);
}

static struct known_file *find_file(struct needs *n, const char *path)
{
    struct known_file *file = path ? map_get(&n->files, path) : NULL;

    if (file) {
        list_remove(&file->node);
        list_append(&n->file_order, &file->node);
    }
    return file;
}

/* ---- measurements ---- */

static uint64_t hash_number(uint64_t h, uint64_t n)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)n);
    return spec_hash_add(h, text);
}

static void make_key(const struct engine_context *c, const struct engine_driver *driver,
                     const struct model_stamp *stamp, char out[SPEC_HASH_SIZE])
{
    struct gpus gpus = gpus_of(c->gpu);
    char *parameters = json_dumps(c->model->parameters, JSON_SORT_KEYS | JSON_COMPACT);
    uint64_t h = SPEC_HASH_BEGIN;

    h = spec_hash_add(h, driver->name);
    h = spec_hash_add(h, c->model->model_path);
    h = hash_number(hash_number(h, stamp->bytes), stamp->changed_ns);
    h = spec_hash_add(h, parameters ? parameters : "");
    h = spec_hash_add(h, c->model->additional_parameters ? c->model->additional_parameters : "");
    h = hash_number(hash_number(h, parameter_slots(c)), devices_are_host(c->model, &gpus));
    spec_hash_text(h, out);
    free(parameters);
}

static void measurement_name(const char *key, unsigned devices, char out[KEY_SIZE])
{
    snprintf(out, KEY_SIZE, "%s/%u", key, devices % 100000);
}

static struct measurement *find_measurement(const struct needs *n, const char *key,
                                            unsigned devices)
{
    char name[KEY_SIZE];

    measurement_name(key, devices, name);
    return map_get(&n->measurements, name);
}

/* That of the fewest devices; NULL: none. */
static struct measurement *any_measurement(const struct needs *n, const char *key)
{
    struct measurement *m = NULL;

    for (unsigned devices = 0; devices <= PLACE_DEVICES_MAX && !m; devices++) {
        m = find_measurement(n, key, devices);
    }
    return m;
}

static void forget_measurement(struct needs *n, struct measurement *m)
{
    char name[KEY_SIZE];

    measurement_name(m->key, m->devices, name);
    map_remove(&n->measurements, name);
    list_remove(&m->node);
    free(m);
}

/* In memory; a full memory forgets the oldest. */
static struct measurement *keep_measurement(struct needs *n, const struct measurement *new)
{
    struct measurement *m = find_measurement(n, new->key, new->devices);
    char name[KEY_SIZE];

    if (!m) {
        if (n->measurements.count >= MEASUREMENTS_MAX) {
            forget_measurement(n,
                               container_of(n->measurement_order.next, struct measurement, node));
        }
        m = xmalloc(sizeof(*m));
        *m = *new;
        measurement_name(m->key, m->devices, name);
        map_put(&n->measurements, name, m);
    } else {
        list_remove(&m->node);
        *m = *new;
    }
    list_append(&n->measurement_order, &m->node);
    return m;
}

/* ---- their table ---- */

struct measurement_op {
    struct store_op op;
    struct measurement row;
};

static int write_measurement(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct measurement *m = &container_of(op, struct measurement_op, op)->row;
    int r;

    r = sql_run(db, reterr,
                "INSERT OR REPLACE INTO engine_memory (key, devices, device_bytes, host_bytes,"
                " load_ms, measured_ms) VALUES (?,?,?,?,?,?)",
                "tiiiii", m->key, (int64_t)m->devices, (int64_t)m->device_bytes,
                (int64_t)m->host_bytes, (int64_t)m->load_ms, m->measured_ms);
    return r < 0 ? r
                 : sql_run(db, reterr,
                           "DELETE FROM engine_memory WHERE measured_ms < (SELECT measured_ms FROM"
                           " engine_memory ORDER BY measured_ms DESC LIMIT 1 OFFSET ?)",
                           "i", (int64_t)MEASUREMENTS_MAX - 1);
}

static void on_written(struct store_op *op)
{
    if (op->result < 0) {
        log_warn("engines", NULL, "what an engine took of memory is not stored, ignoring",
                 kv_str("reason", op->error.text));
    }
    free(container_of(op, struct measurement_op, op));
}

static void store_measurement(struct needs *n, const struct measurement *m)
{
    struct measurement_op *o = xcalloc(1, sizeof(*o));

    o->op.run = write_measurement;
    o->op.done = on_written;
    o->row = *m;
    store_write(n->engines->store, &o->op);
}

struct load_op {
    struct store_op op;
    struct needs *needs;
};

static int load_measurements(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct needs *n = container_of(op, struct load_op, op)->needs;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r;

    r = sql_query(db, &st, reterr,
                  "SELECT key, devices, device_bytes, host_bytes, load_ms, measured_ms FROM"
                  " engine_memory ORDER BY measured_ms, key, devices",
                  "");
    while (r >= 0 && (r = sql_next(st, reterr)) > 0) {
        struct measurement m = { .devices = (unsigned)sql_int(st, 1),
                                 .device_bytes = (uint64_t)sql_int(st, 2),
                                 .host_bytes = (uint64_t)sql_int(st, 3),
                                 .load_ms = (uint32_t)sql_int(st, 4),
                                 .measured_ms = sql_int(st, 5),
                                 .told = true };
        const char *key = sql_text(st, 0);

        snprintf(m.key, sizeof(m.key), "%s", key ? key : "");
        keep_measurement(n, &m);
    }
    return r;
}

int needs_load(struct needs *n, struct error *reterr)
{
    struct load_op o = { .op.run = load_measurements, .needs = n };

    if (store_read_now(n->engines->store, &o.op) < 0) {
        return error_set(reterr, o.op.result, "cannot read what engines took of memory: %s",
                         o.op.error.text);
    }
    return 0;
}

/* ---- the figure ---- */

static bool differs(uint64_t a, uint64_t b)
{
    uint64_t larger = MAX_OF(a, b), smaller = MIN_OF(a, b);

    return smaller && (larger - smaller) > smaller / 100 * WORTH_TELLING_PERCENT;
}

static void tell_difference(struct measurement *m, const char *who, const char *what,
                            uint64_t thought)
{
    if (!m->told && differs(m->device_bytes, thought)) {
        m->told = true;
        log_warn("engines", who, "it takes other memory than was thought",
                 kv_str("thought_by", what), kv_int("thought_mib", (int64_t)(thought / MIB)),
                 kv_int("measured_mib", (int64_t)(m->device_bytes / MIB)));
    }
}

static void use_measurement(struct memory_need *need, struct measurement *m, const char *who)
{
    unsigned devices = MAX_OF(m->devices, 1u);
    uint64_t thought = need->estimated_bytes ? memory_need_on(need, devices, 0) : 0;

    tell_difference(m, who, "declared", need->declared_bytes / devices);
    tell_difference(m, who, "estimated", thought);
    need->source = NEED_MEASURED;
    need->measured_bytes = m->device_bytes;
    need->host_bytes = MAX_OF(need->host_bytes, m->host_bytes);
    if (need->estimated_bytes == 0) {
        need->split_bytes = need->fixed_bytes = 0;
    }
    if (m->device_bytes > thought) {
        need->split_bytes += (m->device_bytes - thought) * devices;
    }
}

static void use_declaration(struct memory_need *need)
{
    need->source = NEED_DECLARED;
    need->split_bytes = need->declared_bytes;
    need->fixed_bytes = 0;
}

/* Each start that ended for want of memory adds 15 %, up to the double; and an allocation that
 * failed is part of what it needs. */
static void raise_need(struct memory_need *need, const struct inst *inst)
{
    double factor = 1;

    for (unsigned i = 0; i < inst->pub.out_of_memory && factor < 2; i++) {
        factor *= 1.15;
    }
    factor = MIN_OF(factor, 2.0);
    need->split_bytes = (uint64_t)((double)need->split_bytes * factor);
    need->fixed_bytes = (uint64_t)((double)need->fixed_bytes * factor);
    if (inst->pub.out_of_memory && need->share == 0) {
        uint64_t failed = need_failed_bytes(inst->pub.last_error);

        need->split_bytes = MAX_OF(need->split_bytes, failed);
    }
}

static void find_figure(struct needs *n, const struct model_config *config,
                        const struct model_facts *facts, const struct model_stamp *stamp,
                        struct memory_need *ret, char key[SPEC_HASH_SIZE])
{
    const struct engine_driver *driver = driver_find(config->framework);
    const struct engine_context context = { .config = n->engines->config,
                                            .model = config,
                                            .gpu = n->engines->gpu };
    struct measurement *m;

    *ret = (struct memory_need){ .min_devices = 1, .max_devices = PLACE_DEVICES_MAX };
    key[0] = '\0';
    if (!driver) {
        return;
    }
    if (driver->need) {
        driver->need(&context, facts, ret);
        make_key(&context, driver, stamp, key);
    }
    ret->declared_bytes =
        (uint64_t)MIN_OF(MAX_OF(config->gpu_memory_mb, 0), DECLARED_MIB_MAX) * MIB;
    m = key[0] ? any_measurement(n, key) : NULL;
    if (m) {
        use_measurement(ret, m, config->id);
        ret->load_ms = m->load_ms;
    } else if (ret->declared_bytes && ret->share == 0) {
        use_declaration(ret);
    } else if (ret->estimated_bytes || ret->share > 0) {
        ret->source = NEED_ESTIMATED;
    }
}

static bool need_equal(const struct memory_need *a, const struct memory_need *b)
{
    return a->source == b->source && a->split_bytes == b->split_bytes &&
           a->fixed_bytes == b->fixed_bytes && a->share >= b->share && a->share <= b->share &&
           a->host_bytes == b->host_bytes && a->min_devices == b->min_devices &&
           a->max_devices == b->max_devices && a->load_ms == b->load_ms &&
           a->weight_bytes == b->weight_bytes && a->kv_bytes == b->kv_bytes &&
           a->compute_bytes == b->compute_bytes && a->runtime_bytes == b->runtime_bytes &&
           a->declared_bytes == b->declared_bytes && a->estimated_bytes == b->estimated_bytes &&
           a->measured_bytes == b->measured_bytes;
}

/* ---- questions ---- */

static void free_query(struct need_query *q)
{
    free(q->path);
    free(q->facts);
    model_config_free(q->config);
    free(q);
}

static void on_lost(struct job *job)
{
    free_query(container_of(job, struct need_query, job));
}

static void submit(struct need_query *q);

static void answer_instance(struct need_query *q, const struct model_facts *facts)
{
    struct inst *inst = q->inst;
    const struct model *model = inst_model(inst);
    struct memory_need need;

    inst->need_query = NULL;
    if (!model) {
        return;
    }
    find_figure(q->needs, model->config, facts, &q->stamp, &need, inst->need_key);
    raise_need(&need, inst);
    if (inst->need_again) {
        inst->need_again = false;
        inst_find_need(inst);
    } else if (!inst->pub.need_known || !need_equal(&need, &inst->pub.need)) {
        inst->pub.need = need;
        inst->pub.need_known = true;
        inst_tell_news(inst);
    }
}

static void answer_caller(struct need_query *q, const struct model_facts *facts)
{
    struct memory_need need;
    char key[SPEC_HASH_SIZE];

    find_figure(q->needs, q->config, facts, &q->stamp, &need, key);
    q->done(q->arg, q->result, &need, q->result < 0 ? &q->error : NULL);
}

static void on_read(struct job *job)
{
    struct need_query *q = container_of(job, struct need_query, job);
    const struct known_file *file;

    if (q->gone) {
        free_query(q);
        return;
    }
    if (q->facts) {
        remember_file(q->needs, q);
    }
    file = q->result == 0 ? find_file(q->needs, q->path) : NULL;
    if (q->unchanged && !file) { /* forgotten meanwhile */
        q->has_known = q->unchanged = false;
        list_remove(&q->node);
        submit(q);
        return;
    }
    list_remove(&q->node);
    if (q->inst) {
        answer_instance(q, file ? &file->facts : NULL);
    } else {
        answer_caller(q, file ? &file->facts : NULL);
    }
    free_query(q);
}

static void on_refused(void *arg)
{
    struct need_query *q = arg;

    on_read(&q->job);
}

static void submit(struct need_query *q)
{
    struct needs *n = q->needs;
    const struct known_file *file = find_file(n, q->path);

    if (file) {
        q->has_known = true;
        q->known = file->stamp;
    }
    q->job = (struct job){ .run = read_files, .done = on_read, .lost = on_lost };
    list_append(&n->queries, &q->node);
    if (worker_submit(n->worker, &q->job) < 0) {
        q->result = error_set(&q->error, -EAGAIN, "too many model files wait to be read");
        world_post(n->engines->world, on_refused, q);
    }
}

static struct need_query *make_query(struct needs *n, const struct model_config *config)
{
    const struct engine_driver *driver = driver_find(config->framework);
    struct need_query *q = xcalloc(1, sizeof(*q));

    q->needs = n;
    q->path = driver && driver->need ? xstrdup(config->model_path) : NULL;
    return q;
}

void inst_find_need(struct inst *inst)
{
    const struct model *model = inst_model(inst);

    if (inst->need_query) {
        inst->need_again = true;
        return;
    }
    if (!model || !inst->engines->needs) {
        return;
    }
    inst->need_query = make_query(inst->engines->needs, model->config);
    inst->need_query->inst = inst;
    submit(inst->need_query);
}

void inst_need_detach(struct inst *inst)
{
    struct need_query *q = TAKE_PTR(inst->need_query);

    if (q) {
        list_remove(&q->node);
        q->gone = true;
        q->inst = NULL;
    }
}

static struct model_config *copy_config(const struct model_config *config)
{
    json_t *json = model_config_to_json(config);
    struct validation v = validation_init();
    struct model_config *copy = model_config_parse(json, &v);

    validation_finish(&v);
    json_decref(json);
    return copy;
}

void engines_estimate(struct engines *e, const struct model_config *config, engines_need_fn done,
                      void *arg)
{
    struct need_query *q = make_query(e->needs, config);

    q->config = copy_config(config);
    assert(q->config); /* it was made by model_config_parse */
    q->done = done;
    q->arg = arg;
    submit(q);
}

void needs_validate(struct engines *e, const struct model_config *model, struct validation *v)
{
    const struct engine_driver *driver = driver_find(model->framework);
    const struct engine_context context = { .config = e->config, .model = model, .gpu = e->gpu };
    struct memory_need need = { 0 };
    struct model_stamp stamp;
    struct error err = { 0 };

    if (model->gpu_memory_mb > 0 || !driver || !driver->need) {
        return;
    }
    driver->need(&context, NULL, &need);
    if (need.share == 0 && model_file_stamp(model->model_path, &stamp, &err) < 0) {
        validation_error(
            v, "resource_requirements.gpu_memory is needed: it cannot be estimated (%s)", err.text);
    }
}

/* ---- what was measured ---- */

static bool grew(uint64_t old, uint64_t new)
{
    return new > old &&new - old > old / 100;
}

static void find_needs_of_model(struct engines *e, int64_t model_id)
{
    struct inst *inst;

    list_for_each (inst, &e->instances, node) {
        if (inst->pub.model_id == model_id) {
            inst_find_need(inst);
        }
    }
}

void needs_record(struct inst *inst, unsigned devices, uint64_t device_bytes, uint64_t host_bytes,
                  uint64_t load_ms)
{
    struct needs *n = inst->engines->needs;
    const struct measurement *old;
    struct measurement m = { .devices = devices,
                             .device_bytes = device_bytes,
                             .host_bytes = host_bytes,
                             .load_ms = (uint32_t)MIN_OF(load_ms, (uint64_t)INT32_MAX),
                             .measured_ms = world_wall_ms(inst->engines->world) };

    if (!inst->need_key[0]) {
        return;
    }
    strcpy(m.key, inst->need_key);
    old = find_measurement(n, m.key, devices);
    if (old) {
        m.told = old->told;
        m.load_ms = m.load_ms ? m.load_ms : old->load_ms;
        if (!grew(old->device_bytes, device_bytes) && !grew(old->host_bytes, host_bytes) &&
            !differs(old->load_ms, m.load_ms) && !(m.load_ms && !old->load_ms)) {
            return;
        }
        m.device_bytes = MAX_OF(old->device_bytes, device_bytes);
        m.host_bytes = MAX_OF(old->host_bytes, host_bytes);
    }
    store_measurement(n, keep_measurement(n, &m));
    find_needs_of_model(inst->engines, inst->pub.model_id);
}

int needs_submit(struct needs *n, struct job *job)
{
    return worker_submit(n->worker, job);
}

/* ---- the room's part ---- */

struct needs *needs_create(struct engines *e)
{
    struct needs *n = xcalloc(1, sizeof(*n));

    n->engines = e;
    n->worker = worker_create(e->world, &(struct worker_options){ .name = "model-files",
                                                                  .threads = FILE_THREADS,
                                                                  .max_queued = QUEUED_MAX });
    map_init(&n->files);
    list_init(&n->file_order);
    map_init(&n->measurements);
    list_init(&n->measurement_order);
    list_init(&n->queries);
    return n;
}

struct needs *needs_destroy(struct needs *n)
{
    const struct memory_need none = { 0 };
    struct need_query *q, *tmp;
    struct error e = { 0 };

    if (!n) {
        return NULL;
    }
    n->engines->needs = NULL; /* what ends from here on asks for nothing more */
    list_for_each_safe (q, tmp, &n->queries, node) {
        list_remove(&q->node);
        q->gone = true;
        if (q->inst) {
            q->inst->need_query = NULL;
        } else if (q->done) {
            error_set(&e, -ECANCELED, "berth goes down");
            q->done(q->arg, -ECANCELED, &none, &e);
        }
    }
    worker_abandon(n->worker);
    while (!list_empty(&n->file_order)) {
        forget_file(n, container_of(n->file_order.next, struct known_file, node));
    }
    while (!list_empty(&n->measurement_order)) {
        forget_measurement(n, container_of(n->measurement_order.next, struct measurement, node));
    }
    map_finish(&n->files);
    map_finish(&n->measurements);
    free(n);
    return NULL;
}
