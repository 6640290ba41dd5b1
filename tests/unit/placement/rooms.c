// SPDX-License-Identifier: Apache-2.0
/* The rooms around placement; see rooms.h. */
#include "rooms.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"

enum { SAMPLE_MS = 20, ROUND_MS = 1000, STOP_MS = 50, LINGERS = 64 };

struct rooms rooms;

static struct timer round_timer, sample_timer;
static struct linger {
    int device;
    uint64_t bytes, until_ms;
    char name[16];
    bool on;
} lingers[LINGERS];

static void note(const char *word, const char *name)
{
    size_t n = strlen(rooms.log);

    snprintf(rooms.log + n, sizeof(rooms.log) - n, "%s %s\n", word, name);
}

bool rooms_logged(const char *text)
{
    return strstr(rooms.log, text) != NULL;
}

static struct fake_model *model_of(int64_t id)
{
    return &rooms.models[id - 1];
}

static uint64_t now(void)
{
    return world_now_ms(rooms.world);
}

/* ---- devices ---- */

/* What an engine really takes there. */
static uint64_t bytes_on(const struct instance *in, int device)
{
    uint64_t bytes = place_bytes_on(&in->place, device);

    return bytes ? (uint64_t)((int64_t)bytes + model_of(in->model_id)->more_bytes) : 0;
}

static uint64_t used_bytes(unsigned device, bool late_load)
{
    uint64_t used = rooms.devices[device].foreign_bytes;

    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        const struct instance *in = &rooms.engines[i].pub;

        if ((in->state == INSTANCE_STARTING && !late_load) || in->state == INSTANCE_READY ||
            in->state == INSTANCE_DRAINING || in->state == INSTANCE_STOPPING) {
            used += bytes_on(in, (int)device);
        }
    }
    for (size_t i = 0; i < LINGERS; i++) {
        if (lingers[i].on && lingers[i].until_ms <= now()) {
            lingers[i].on = false;
            note("free", lingers[i].name);
        }
        used += lingers[i].on && lingers[i].device == (int)device ? lingers[i].bytes : 0;
    }
    return used;
}

/* With what loads as if it were there already. */
uint64_t rooms_used(unsigned device)
{
    return used_bytes(device, false);
}

static void begin_reading(void)
{
    for (unsigned i = 0; i < rooms.device_count; i++) {
        rooms.devices[i].reading_bytes = used_bytes(i, rooms.late_load);
    }
}

static void read_devices(void)
{
    for (unsigned i = 0; i < rooms.device_count; i++) {
        struct gpu_device *d = &rooms.devices[i].seen;

        d->index = d->vendor_index = (int)i;
        d->vendor = rooms.devices[i].cpu ? GPU_UNKNOWN : GPU_NVIDIA;
        d->cpu = rooms.devices[i].cpu;
        d->memory_total_bytes = rooms.devices[i].total_bytes;
        d->memory_used_bytes = MIN_OF(rooms.devices[i].reading_bytes, d->memory_total_bytes);
        d->memory_free_bytes = d->memory_total_bytes - d->memory_used_bytes;
        d->foreign_bytes =
            rooms.untold ? 0 : MIN_OF(rooms.devices[i].foreign_bytes, d->memory_used_bytes);
        d->sampled_wall_ms = world_wall_ms(rooms.world);
        snprintf(d->name, sizeof(d->name), "Test %u", i);
    }
}

static void on_sample(void *arg)
{
    read_devices();
    for (unsigned i = 0; i < rooms.device_count && rooms.placement; i++) {
        struct gpu_change c = { GPU_SAMPLED, &rooms.devices[i].seen };

        placement_on_device(rooms.placement, &c);
    }
}

static void on_round(void *arg)
{
    gpu_sample_now(NULL);
    timer_start(&round_timer, ROUND_MS);
}

void gpu_sample_now(struct gpu *g)
{
    if (!timer_active(&sample_timer)) {
        begin_reading();
        timer_start(&sample_timer, SAMPLE_MS);
    }
}

bool gpu_ready(const struct gpu *g)
{
    return !rooms.not_ready;
}

const struct gpu_device *gpu_next(const struct gpu *g, size_t *cursor)
{
    return *cursor < rooms.device_count ? &rooms.devices[(*cursor)++].seen : NULL;
}

const struct gpu_device *gpu_find(const struct gpu *g, int index)
{
    return index >= 0 && index < (int)rooms.device_count ? &rooms.devices[index].seen : NULL;
}

const struct gpu_device *gpu_of_vendor(const struct gpu *g, enum gpu_vendor vendor, int index)
{
    const struct gpu_device *d = gpu_find(g, index);

    return d && d->vendor == vendor ? d : NULL;
}

unsigned gpu_count(const struct gpu *g, enum gpu_vendor vendor)
{
    return vendor == GPU_NVIDIA ? rooms.device_count : 0;
}

const struct gpu_host *gpu_host(const struct gpu *g)
{
    static const struct gpu_host host = { .memory_total_bytes = 64 * GB };

    return &host;
}

int gpu_vendor_from_string(const char *s)
{
    return strcmp(s, "nvidia") == 0 ? GPU_NVIDIA : -EINVAL;
}

/* ---- engines ---- */

static void tell(struct fake_engine *e, enum instance_state to, bool gone)
{
    struct instance_change c = {
        .instance = &e->pub, .from = e->pub.state, .to = to, .gone = gone
    };

    if (e->pub.state != to) {
        e->pub.state_since_ms = now();
    }
    e->pub.state = to;
    if (rooms.placement) {
        placement_on_instance(rooms.placement, &c);
    }
}

static void linger(struct fake_engine *e)
{
    const struct fake_model *m = model_of(e->pub.model_id);

    for (unsigned i = 0; i < e->pub.place.count; i++) {
        for (size_t k = 0; k < LINGERS; k++) {
            if (!lingers[k].on) {
                lingers[k] =
                    (struct linger){ .device = e->pub.place.shares[i].device,
                                     .bytes = bytes_on(&e->pub, e->pub.place.shares[i].device),
                                     .until_ms = now() + m->linger_ms,
                                     .on = true };
                snprintf(lingers[k].name, sizeof(lingers[k].name), "%s", m->name);
                break;
            }
        }
    }
}

static void be_waiting(struct fake_engine *e)
{
    e->pub.place = e->pub.taken = (struct place){ 0 };
    e->pub.process.pid = 0;
    e->pub.waiting_since_ms = e->pub.waiting_since_ms ? e->pub.waiting_since_ms : MAX_OF(now(), 1);
    tell(e, INSTANCE_WAITING, false);
}

static void be_stopped(struct fake_engine *e)
{
    linger(e);
    note("stopped", model_of(e->pub.model_id)->name);
    if (e->wanted_gone || !model_of(e->pub.model_id)->model.wanted) {
        tell(e, e->pub.state, true);
        timer_stop(&e->need_timer);
        e->pub.state = INSTANCE_STATE_MAX_;
        if (model_of(e->pub.model_id)->exists && model_of(e->pub.model_id)->model.wanted) {
            rooms_want(e->pub.model_id, true, WISH_USER);
        }
    } else {
        be_waiting(e);
    }
}

static void run_out_of_memory(struct fake_engine *e)
{
    linger(e);
    model_of(e->pub.model_id)->out_of_memory--;
    e->pub.out_of_memory++;
    e->pub.last_error = UNCONST(char *, "cudaMalloc failed");
    tell(e, INSTANCE_BACKOFF, false);
    timer_start(&e->timer, 100);
}

static void measure(struct fake_engine *e)
{
    e->pub.taken = e->pub.place;
    for (unsigned i = 0; i < e->pub.taken.count; i++) {
        e->pub.taken.shares[i].bytes = bytes_on(&e->pub, e->pub.taken.shares[i].device);
    }
    tell(e, e->pub.state, false);
}

static void on_engine(void *arg)
{
    struct fake_engine *e = arg;
    struct fake_model *m = model_of(e->pub.model_id);

    switch (e->pub.state) {
    case INSTANCE_STARTING:
        if (m->out_of_memory > 0) {
            run_out_of_memory(e);
            return;
        }
        e->pub.waiting_since_ms = 0;
        e->pub.out_of_memory = 0;
        e->pub.displaced = false;
        tell(e, INSTANCE_READY, false);
        if (m->measured) {
            measure(e);
        }
        m->waiting = 0; /* all are served */
        break;
    case INSTANCE_DRAINING:
        if (e->in_flight > 0 && now() < e->drain_until_ms) {
            timer_start(&e->timer, 10);
            return;
        }
        e->in_flight = 0;
        tell(e, INSTANCE_STOPPING, false);
        timer_start(&e->timer, STOP_MS);
        break;
    case INSTANCE_STOPPING:
        be_stopped(e);
        break;
    case INSTANCE_BACKOFF:
        be_waiting(e);
        break;
    default:
        break;
    }
}

static void on_need(void *arg)
{
    struct fake_engine *e = arg;

    e->pub.need = model_of(e->pub.model_id)->need;
    e->pub.need_known = true;
    tell(e, e->pub.state, false);
}

static void make_engine(int64_t id)
{
    struct fake_engine *e = &rooms.engines[0];

    while (e->pub.state != INSTANCE_STATE_MAX_) {
        e++;
        assert_true(e < &rooms.engines[ROOMS_ENGINES]);
    }
    *e = (struct fake_engine){ .pub = { .model_id = id, .state = INSTANCE_WAITING } };
    snprintf(e->pub.uuid, sizeof(e->pub.uuid), "00000000-0000-0000-0000-%012u", ++rooms.made);
    e->pub.waiting_since_ms = MAX_OF(now(), 1);
    timer_init(&e->timer, rooms.world, "engine", on_engine, e);
    timer_init(&e->need_timer, rooms.world, "need", on_need, e);
    tell(e, INSTANCE_WAITING, false);
    timer_start(&e->need_timer, model_of(id)->need_after_ms);
}

static void stop_engine(struct fake_engine *e)
{
    e->wanted_gone = true;
    switch (e->pub.state) {
    case INSTANCE_WAITING:
    case INSTANCE_BACKOFF:
    case INSTANCE_FAILED:
        timer_stop(&e->timer);
        timer_stop(&e->need_timer);
        tell(e, e->pub.state, true);
        e->pub.state = INSTANCE_STATE_MAX_;
        break;
    case INSTANCE_STARTING:
        tell(e, INSTANCE_STOPPING, false);
        timer_start(&e->timer, STOP_MS);
        break;
    case INSTANCE_READY:
        e->drain_until_ms = now() + 30000;
        tell(e, INSTANCE_DRAINING, false);
        timer_start(&e->timer, 1);
        break;
    default:
        break;
    }
}

void rooms_fail(int64_t id)
{
    struct fake_engine *e = rooms_engine(id);

    assert_int_equal(e->pub.state, INSTANCE_WAITING);
    e->pub.last_error = UNCONST(char *, "there is no such file");
    tell(e, INSTANCE_FAILED, false);
}

struct fake_engine *rooms_engine(int64_t id)
{
    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        if (rooms.engines[i].pub.state != INSTANCE_STATE_MAX_ &&
            rooms.engines[i].pub.model_id == id) {
            return &rooms.engines[i];
        }
    }
    return NULL;
}

bool rooms_is_ready(int64_t id)
{
    const struct fake_engine *e = rooms_engine(id);

    return e && e->pub.state == INSTANCE_READY;
}

const struct instance *engines_next(const struct engines *e, size_t *cursor)
{
    while (*cursor < ROOMS_ENGINES) {
        const struct instance *in = &rooms.engines[(*cursor)++].pub;

        if (in->state != INSTANCE_STATE_MAX_) {
            return in;
        }
    }
    return NULL;
}

const struct instance *engines_find(const struct engines *e, const char *uuid)
{
    const struct instance *in;
    size_t cursor = 0;

    while ((in = engines_next(e, &cursor)) && strcmp(in->uuid, uuid) != 0) {
    }
    return in;
}

const struct instance *engines_of_model(const struct engines *e, int64_t id)
{
    static const int rank[] = {
        [INSTANCE_WAITING] = 2,  [INSTANCE_STARTING] = 1, [INSTANCE_READY] = 0,
        [INSTANCE_DRAINING] = 3, [INSTANCE_STOPPING] = 4, [INSTANCE_BACKOFF] = 5,
        [INSTANCE_FAILED] = 6
    };
    const struct instance *in, *best = NULL;
    size_t cursor = 0;

    while ((in = engines_next(e, &cursor))) {
        if (in->model_id == id && (!best || rank[in->state] < rank[best->state])) {
            best = in;
        }
    }
    return best;
}

void engines_place(struct engines *e, const char *uuid, const struct place *place)
{
    struct fake_engine *x = UNCONST(struct fake_engine *, engines_find(e, uuid));
    struct fake_model *m = model_of(x->pub.model_id);

    assert_non_null(x);
    if (x->pub.state != INSTANCE_WAITING || !m->model.wanted) {
        return;
    }
    assert_true(rooms.no_gpu || x->pub.need_known);
    assert_false(rooms.not_ready);
    for (unsigned i = 0; i < place->count; i++) {
        unsigned device = (unsigned)place->shares[i].device;
        uint64_t used = rooms_used(device);

        if (used + place->shares[i].bytes > rooms.devices[device].total_bytes) {
            fail_msg("%s is loaded on device %u, which has no room:\n%s", m->name, device,
                     rooms.log);
        }
    }
    x->pub.place = *place;
    x->pub.process.pid = 1000 + (int)(x - rooms.engines);
    note("load", m->name);
    tell(x, INSTANCE_STARTING, false);
    timer_start(&x->timer, m->load_ms);
}

void engines_note_displaced(struct engines *e, const char *uuid)
{
    struct fake_engine *x = UNCONST(struct fake_engine *, engines_find(e, uuid));

    assert_int_equal(x->pub.state, INSTANCE_WAITING);
    x->pub.displaced = true;
}

void engines_displace(struct engines *e, const char *uuid, uint64_t grace_ms, const char *why)
{
    struct fake_engine *x = UNCONST(struct fake_engine *, engines_find(e, uuid));

    assert_true(why[0] != '\0');
    note("displace", model_of(x->pub.model_id)->name);
    x->pub.displaced = true;
    if (x->pub.state == INSTANCE_READY) {
        x->drain_until_ms = now() + grace_ms;
        tell(x, INSTANCE_DRAINING, false);
        timer_start(&x->timer, 1);
    } else if (x->pub.state == INSTANCE_STARTING) {
        tell(x, INSTANCE_STOPPING, false);
        timer_start(&x->timer, STOP_MS);
    }
}

void engines_retry(struct engines *e, int64_t id)
{
    struct fake_engine *x = rooms_engine(id);

    if (x && x->pub.state == INSTANCE_BACKOFF) {
        timer_start(&x->timer, 0);
    }
}

void engines_set_probe_interval(struct engines *e, uint64_t interval_ms)
{
    rooms.probe_interval_ms = interval_ms;
}

struct estimate {
    struct timer timer;
    int64_t id;
    engines_need_fn done;
    void *arg;
};

static void on_estimate(void *arg)
{
    struct estimate *s = arg;
    struct error none = { 0 };

    s->done(s->arg, 0, &model_of(s->id)->need, &none);
    free(s);
}

void engines_estimate(struct engines *e, const struct model_config *config, engines_need_fn done,
                      void *arg)
{
    struct estimate *s = xcalloc(1, sizeof(*s));

    *s = (struct estimate){ .id = config->id[0] - 'a' + 1, .done = done, .arg = arg };
    timer_init(&s->timer, rooms.world, "estimate", on_estimate, s);
    timer_start(&s->timer, 5);
}

const char *instance_state_name(enum instance_state s)
{
    static const char *const names[] = { "waiting",  "starting", "ready", "draining",
                                         "stopping", "backoff",  "failed" };

    return names[s];
}

/* ---- dispatch ---- */

struct dispatch_load dispatch_model_load(const struct dispatch *d, int64_t id)
{
    struct fake_model *m = model_of(id);
    struct dispatch_load load = { .waiting = m->waiting };

    load.waiting_since_ms = m->waiting ? m->waiting_since_ms : 0;
    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        const struct fake_engine *e = &rooms.engines[i];

        load.in_flight +=
            e->pub.state != INSTANCE_STATE_MAX_ && e->pub.model_id == id ? e->in_flight : 0;
    }
    return load;
}

struct dispatch_load dispatch_instance_load(const struct dispatch *d, const char *uuid)
{
    const struct instance *in = engines_find(NULL, uuid);

    return (struct dispatch_load){
        .in_flight =
            in ? rooms.engines[(const struct fake_engine *)(const void *)in - rooms.engines]
                     .in_flight
               : 0
    };
}

double dispatch_use_rate(const struct dispatch *d, int64_t id)
{
    return 0;
}

uint64_t dispatch_last_used_ms(const struct dispatch *d, int64_t id)
{
    return 0;
}

void rooms_demand(int64_t id, unsigned waiting)
{
    struct fake_model *m = model_of(id);

    m->waiting = waiting;
    m->waiting_since_ms = now();
    if (waiting > 0 && !m->model.wanted) {
        placement_on_demand(rooms.placement, &(struct demand){ id, waiting });
    }
}

/* ---- models ---- */

const struct model *models_get(const struct models *m, int64_t id)
{
    return id >= 1 && id <= ROOMS_MODELS && model_of(id)->exists ? &model_of(id)->model : NULL;
}

void rooms_want(int64_t id, bool wanted, enum model_wish by)
{
    struct fake_model *m = model_of(id);
    struct fake_engine *e = rooms_engine(id);

    if (m->model.wanted != wanted) {
        struct model_change c = { MODEL_WANTED_CHANGED, id, by, m->name, &m->model };

        m->model.wanted = wanted;
        placement_on_model(rooms.placement, &c);
    }
    if (wanted && by == WISH_USER) {
        placement_on_start(rooms.placement, id); /* as the door does */
    }
    if (!wanted && e) {
        stop_engine(e);
    }
    if (wanted && !e) {
        make_engine(id);
    }
}

void rooms_delete(int64_t id)
{
    struct fake_model *m = model_of(id);
    struct fake_engine *e = rooms_engine(id);
    struct model_change c = { .kind = MODEL_REMOVED, .id = id, .public_id = m->name };

    m->exists = m->model.wanted = false;
    placement_on_model(rooms.placement, &c);
    if (e) {
        stop_engine(e);
    }
}

struct change {
    struct timer timer;
    int64_t id;
    bool wanted;
    enum model_wish by;
    int priority;
    models_done_fn done;
    void *arg;
};

static void on_change(void *arg)
{
    struct change *c = arg;
    struct error none = { 0 };

    if (!rooms.placement) { /* as the catalogue ends what is under way */
        c->done(c->arg, -ECANCELED, c->id, &none);
        free(c);
        return;
    }
    if (c->priority) {
        model_of(c->id)->config.priority = c->priority;
        rooms.updates++;
    } else {
        rooms_want(c->id, c->wanted, c->by);
    }
    c->done(c->arg, 0, c->id, &none);
    free(c);
}

static void change_later(struct change change)
{
    struct change *c = xmemdup(&change, sizeof(change));

    timer_init(&c->timer, rooms.world, "change", on_change, c);
    timer_start(&c->timer, 2);
}

void models_set_wanted(struct models *m, int64_t id, bool wanted, enum model_wish by,
                       models_done_fn done, void *arg)
{
    change_later((struct change){ .id = id, .wanted = wanted, .by = by, .done = done, .arg = arg });
}

void models_update(struct models *m, int64_t id, struct model_config *config, models_done_fn done,
                   void *arg)
{
    change_later(
        (struct change){ .id = id, .priority = config->priority, .done = done, .arg = arg });
    model_config_free(config);
}

struct fake_model *rooms_model(int64_t id, uint64_t bytes, int priority)
{
    struct fake_model *m = model_of(id);
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:i, s:{s:i}}", "id", m->name, "name", m->name,
                             "framework", "llama_cpp", "model_path", "/m", "priority", priority,
                             "resource_requirements", "gpu_memory", 1000);
    struct validation v = validation_init();
    struct model_config *config = model_config_parse(json, &v);

    assert_non_null(config);
    m->exists = true;
    m->config = *config;
    free(config);
    m->model = (struct model){ .id = id, .config = &m->config };
    m->need = (struct memory_need){ .source = NEED_ESTIMATED,
                                    .split_bytes = bytes,
                                    .min_devices = 1,
                                    .max_devices = 1,
                                    .load_ms = 1000 };
    m->load_ms = 500;
    json_decref(json);
    validation_finish(&v);
    return m;
}

/* ---- life ---- */

static void on_event(void *owner, const void *what)
{
    const struct event *e = what;
    size_t n = strlen(rooms.events_log);

    snprintf(rooms.events_log + n, sizeof(rooms.events_log) - n, "%s %s\n",
             event_kind_name(e->kind), e->subject);
}

void rooms_open(uint64_t seed, unsigned devices, uint64_t device_bytes)
{
    static const struct store_schema *const schemas[] = { &events_schema, &placement_schema, NULL };
    const struct store_options options = { .path = ":memory:", .schemas = schemas };
    struct error e = { 0 };

    log_set_fd(-1);
    memset(&rooms, 0, sizeof(rooms));
    memset(lingers, 0, sizeof(lingers));
    rooms.world = sim_create(seed);
    assert_int_equal(store_open(rooms.world, &options, &rooms.store, &e), 0);
    rooms.events = events_create(rooms.world, rooms.store);
    rooms.listener = (struct listener){ .fn = on_event };
    notify_add(events_signal(rooms.events), &rooms.listener);
    rooms.device_count = devices;
    for (unsigned i = 0; i < devices; i++) {
        rooms.devices[i].total_bytes = device_bytes;
    }
    for (int i = 0; i < ROOMS_MODELS; i++) {
        snprintf(rooms.models[i].name, sizeof(rooms.models[i].name), "%c", 'a' + i);
    }
    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        rooms.engines[i].pub.state = INSTANCE_STATE_MAX_;
    }
    timer_init(&round_timer, rooms.world, "round", on_round, NULL);
    timer_init(&sample_timer, rooms.world, "sample", on_sample, NULL);
    timer_start(&round_timer, 0);
    read_devices();
}

void rooms_start(const char *const *environ_)
{
    static const struct option_table *tables[] = { &placement_options, NULL };
    static const char *const none[] = { NULL };
    struct error e = { 0 };

    config_free(rooms.config);
    rooms.config = NULL;
    assert_int_equal(config_load(NULL, environ_ ? environ_ : none, tables, &rooms.config, &e), 0);
    begin_reading();
    read_devices();
    rooms.placement = placement_create(&(struct placement_in){
        .world = rooms.world,
        .config = rooms.config,
        .store = rooms.store,
        .events = rooms.events,
        .engines = (struct engines *)(void *)&rooms, /* only looked at by the doubles above */
        .gpu = rooms.no_gpu ? NULL : (struct gpu *)(void *)&rooms,
    });
    assert_int_equal(placement_load(rooms.placement, &e), 0);
}

/* Engines live on; their first word to the new placement is that they start, then that they are
 * ready. What waited is made anew. */
void rooms_restart(const char *const *environ_)
{
    rooms.placement = placement_destroy(rooms.placement);
    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        struct fake_engine *e = &rooms.engines[i];

        if (e->pub.state == INSTANCE_READY) {
            e->pub.state = INSTANCE_STARTING;
            timer_start(&e->timer, 100);
        } else if (e->pub.state == INSTANCE_WAITING) {
            e->pub.displaced = false;
        }
    }
    rooms_start(environ_);
    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        struct fake_engine *e = &rooms.engines[i];

        if (e->pub.state != INSTANCE_STATE_MAX_) {
            tell(e, e->pub.state, false);
        }
    }
}

void rooms_run(uint64_t ms)
{
    sim_run_for(rooms.world, ms);
}

static void free_config(struct model_config *c)
{
    struct model_config *copy;

    if (c->id) {
        copy = xmemdup(c, sizeof(*c));
        model_config_free(copy);
    }
}

void rooms_close(void)
{
    rooms_run(10);
    rooms.placement = placement_destroy(rooms.placement);
    timer_stop(&round_timer);
    timer_stop(&sample_timer);
    for (size_t i = 0; i < ROOMS_ENGINES; i++) {
        if (rooms.engines[i].pub.state != INSTANCE_STATE_MAX_) {
            timer_stop(&rooms.engines[i].timer);
            timer_stop(&rooms.engines[i].need_timer);
        }
    }
    sim_run_for(rooms.world, 100); /* what is still to come */
    rooms.events = events_destroy(rooms.events);
    rooms.store = store_close(rooms.store);
    rooms.config = config_free(rooms.config);
    for (int i = 0; i < ROOMS_MODELS; i++) {
        free_config(&rooms.models[i].config);
    }
    rooms.world = world_destroy(rooms.world);
}
