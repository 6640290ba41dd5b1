// SPDX-License-Identifier: Apache-2.0
/*
 * The catalogue in memory, and the changes on their way through the store.
 *
 * A change of a known model stands in its entry's line until those before it are done, so that it
 * is made from what the model then is; one at a time is with the store (`in_flight`). A change that
 * needs no store (the model is not there, or is already as asked) is finished in the next turn
 * (`ready`).
 */
#include "models/models.h"

#include <assert.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/timefmt.h"
#include "codec/json.h"
#include "models/models_int.h"

struct entry {
    struct model model;
    int64_t created_ms;
    bool busy; /* a change of it is in flight or ready */
    struct list waiting;
};

struct change {
    struct store_op op;
    struct list node;
    struct models *m; /* NULL: the catalogue has gone, done has been called */
    struct model_write write;
    struct model_config *config; /* add, update; the catalogue's after the commit */
    bool takes_over;             /* update: the model becomes the file's */
    int64_t from_epoch;          /* update: of the definition that it was made of; 0: of none */
    bool unchanged;              /* success without a write */
    enum model_wish by;          /* want */
    models_done_fn done;
    void *arg;
};

struct models {
    struct world *world;
    struct store *store;
    struct events *events;
    struct entry **entries; /* in the order of ids, which is that of creation */
    size_t count, cap;
    size_t adding; /* adds in flight */
    struct map by_public_id;
    struct map by_alias; /* a name that two models claim is the one's who was stored last */
    struct list in_flight, ready;
    struct timer ready_timer;
    struct notify signal;
};

/* ---- entries ---- */

/* Index of the first entry whose id is not less than id. */
static size_t find_place(const struct models *m, int64_t id)
{
    size_t low = 0, high = m->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (m->entries[middle]->model.id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct entry *find_entry(const struct models *m, int64_t id)
{
    size_t at = find_place(m, id);

    return at < m->count && m->entries[at]->model.id == id ? m->entries[at] : NULL;
}

static struct entry *insert_entry(struct models *m, int64_t id)
{
    size_t at = find_place(m, id);
    struct entry *e = xcalloc(1, sizeof(*e));

    if (m->count == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 64;
        m->entries = xrealloc(m->entries, m->cap * sizeof(struct entry *));
    }
    memmove(&m->entries[at + 1], &m->entries[at], (m->count - at) * sizeof(struct entry *));
    m->entries[at] = e;
    m->count++;
    e->model.id = id;
    list_init(&e->waiting);
    return e;
}

static void forget_names(struct models *m, const struct entry *e)
{
    const struct model_config *c = e->model.config;

    map_remove(&m->by_public_id, c->id);
    for (char **a = c->aliases; a && *a; a++) {
        if (map_get(&m->by_alias, *a) == e) {
            map_remove(&m->by_alias, *a);
        }
    }
}

static void remember_names(struct models *m, struct entry *e)
{
    const struct model_config *c = e->model.config;

    map_put(&m->by_public_id, c->id, e);
    for (char **a = c->aliases; a && *a; a++) {
        map_remove(&m->by_alias, *a);
        map_put(&m->by_alias, *a, e);
    }
}

/* The entry stays, out of the catalogue. */
static void detach_entry(struct models *m, struct entry *e)
{
    size_t at = find_place(m, e->model.id);

    memmove(&m->entries[at], &m->entries[at + 1], (m->count - at - 1) * sizeof(struct entry *));
    m->count--;
    forget_names(m, e);
}

static void entry_free(struct entry *e)
{
    model_config_free(e->model.config);
    free(e);
}

static void set_times(struct model_config *c, int64_t created_ms, int64_t updated_ms)
{
    char text[TIMEFMT_SIZE];

    free(c->created_at);
    timefmt_iso(created_ms, text);
    c->created_at = xstrdup(text);
    free(c->updated_at);
    timefmt_iso(updated_ms, text);
    c->updated_at = xstrdup(text);
}

/* Puts what is stored into memory; config is taken over. */
static struct entry *remember(struct models *m, const struct model_row *row,
                              struct model_config *config)
{
    struct entry *e = find_entry(m, row->id);

    if (!e) {
        e = insert_entry(m, row->id);
        e->created_ms = row->created_ms;
    } else if (e->model.config != config) {
        forget_names(m, e);
        model_config_free(e->model.config);
    }
    set_times(config, e->created_ms, row->updated_ms);
    e->model.config = config;
    e->model.origin = row->origin;
    e->model.wanted = row->wanted;
    e->model.task_status = row->task_status;
    e->model.epoch = row->epoch;
    remember_names(m, e);
    return e;
}

/* NULL (and a log line) when it cannot be read any more. */
static struct model_config *parse_stored(const struct model_row *row)
{
    struct validation v = validation_init();
    struct error e = { 0 };
    json_t *json = NULL;
    int r = json_read(span_of(row->config), JSON_BYTES_MAX, &json, &e);
    struct model_config *config = r == 0 ? model_config_parse(json, &v) : NULL;

    if (!config) {
        log_error("models", NULL, "a stored definition cannot be read and is left out, ignoring",
                  kv_int("id", row->id),
                  kv_str("why", json ? json_string_value(json_object_get(
                                           json_array_get(v.schema_errors, 0), "msg"))
                                     : e.text));
    }
    json_decref(json);
    validation_finish(&v);
    return config;
}

static void on_row(void *arg, const struct model_row *row)
{
    struct model_config *config = parse_stored(row);

    if (config) {
        remember(arg, row, config);
    }
}

struct load_op {
    struct store_op op;
    struct models *m;
};

/* On the caller's thread: models_load reads before the loop runs. */
static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    return model_rows_read(db, on_row, container_of(op, struct load_op, op)->m, reterr);
}

int models_load(struct models *m, struct error *reterr)
{
    struct load_op load = { .op = { .run = run_load }, .m = m };
    int r = store_read_now(m->store, &load.op);

    return r < 0 ? error_set(reterr, r, "cannot read the models: %s", load.op.error.text) : 0;
}

/* ---- looking ---- */

const struct model *models_get(const struct models *m, int64_t id)
{
    const struct entry *e = find_entry(m, id);

    return e ? &e->model : NULL;
}

const struct model *models_find(const struct models *m, struct span name)
{
    const struct entry *e = map_get_span(&m->by_public_id, name);

    if (!e) {
        e = map_get_span(&m->by_alias, name);
    }
    return e ? &e->model : NULL;
}

size_t models_count(const struct models *m)
{
    return m->count;
}

const struct model *models_next(const struct models *m, size_t *cursor)
{
    return *cursor < m->count ? &m->entries[(*cursor)++]->model : NULL;
}

struct notify *models_signal(struct models *m)
{
    return &m->signal;
}

/* ---- the end of a change ---- */

static void tell(struct models *m, enum model_change_kind kind, enum model_wish by,
                 const struct entry *e)
{
    struct model_change change = { kind, e->model.id, by, e->model.config->id, &e->model };

    notify_emit(&m->signal, &change);
}

static void change_free(struct change *c)
{
    for (size_t i = 0; i < c->write.event_count; i++) {
        event_free(c->write.events[i]);
    }
    model_row_finish(&c->write.row);
    model_row_finish(&c->write.fresh);
    model_config_free(c->config);
    free(c);
}

static void publish_events(struct change *c)
{
    for (size_t i = 0; i < c->write.event_count; i++) {
        events_publish(c->m->events, TAKE_PTR(c->write.events[i]));
    }
}

const char *model_wish_name(enum model_wish wish)
{
    static const char *const names[] = {
        [WISH_USER] = "user", [WISH_DEMAND] = "demand", [WISH_IDLE] = "idle"
    };

    return names[wish];
}

static void next_change(struct models *m, struct entry *e);
static void make_ready(struct change *c, int result, const char *text);

static void forget(struct models *m, struct entry *e)
{
    detach_entry(m, e);
    tell(m, MODEL_REMOVED, WISH_USER, e);
    while (!list_empty(&e->waiting)) {
        struct change *c = list_first(&e->waiting, struct change, node);

        list_remove(&c->node);
        make_ready(c, -ENOENT, "the model was deleted");
    }
    entry_free(e);
}

/* The change stands in the store: memory follows, then everybody hears of it. */
static void apply(struct change *c)
{
    struct models *m = c->m;
    const struct model_row *row = &c->write.row;
    const enum model_action action = c->write.action;
    struct entry *e = find_entry(m, row->id);
    bool was_wanted = e && e->model.wanted;

    /* One change of a model is in flight at a time: nothing can have taken it away meanwhile. */
    assert(e || action == ACTION_ADD);
    publish_events(c);
    switch (action) {
    case ACTION_ADD:
        tell(m, MODEL_ADDED, WISH_USER, remember(m, row, TAKE_PTR(c->config)));
        break;
    case ACTION_UPDATE:
        e = remember(m, row, TAKE_PTR(c->config));
        tell(m, MODEL_UPDATED, WISH_USER, e);
        if (e->model.wanted != was_wanted) {
            tell(m, MODEL_WANTED_CHANGED, WISH_USER, e);
        }
        break;
    case ACTION_WANT:
        e->model.wanted = row->wanted;
        tell(m, MODEL_WANTED_CHANGED, c->by, e);
        break;
    case ACTION_STATUS:
        e->model.task_status = row->task_status;
        tell(m, MODEL_STATUS_CHANGED, WISH_USER, e);
        break;
    case ACTION_REMOVE:
        forget(m, e);
        break;
    }
}

/* Memory was not what is stored: somebody else writes to this database. */
static void follow_others(struct change *c)
{
    struct models *m = c->m;
    struct entry *e = find_entry(m, c->write.row.id);

    if (c->op.result == -ENOENT && e && c->write.action != ACTION_ADD) {
        forget(m, e);
    } else if (c->op.result == -EBUSY && c->write.fresh.config) {
        struct model_config *config = parse_stored(&c->write.fresh);

        if (config) {
            tell(m, MODEL_UPDATED, WISH_USER, remember(m, &c->write.fresh, config));
        }
    }
}

static void finish_change(struct change *c)
{
    struct models *m = c->m;
    int64_t id = c->write.row.id;
    struct entry *e;

    list_remove(&c->node);
    if (!m) {
        change_free(c);
        return;
    }
    m->adding -= c->write.action == ACTION_ADD;
    if (c->op.result >= 0 && !c->unchanged) {
        apply(c);
        id = c->write.row.id;
    } else if (c->op.result < 0) {
        follow_others(c);
    }
    if (c->done) {
        c->done(c->arg, MIN_OF(c->op.result, 0), id, &c->op.error);
    }
    change_free(c);
    e = find_entry(m, id);
    if (e) {
        next_change(m, e);
    }
}

static void on_written(struct store_op *op)
{
    finish_change(container_of(op, struct change, op));
}

static void on_ready(void *arg)
{
    struct models *m = arg;
    struct list changes;

    list_take(&m->ready, &changes);
    while (!list_empty(&changes)) {
        struct change *c = list_first(&changes, struct change, node);

        finish_change(c);
    }
}

/* Finished in the next turn, without the store. text NULL: empty. */
static void make_ready(struct change *c, int result, const char *text)
{
    c->op.result = result;
    c->unchanged = true;
    if (result < 0) {
        error_set(&c->op.error, result, "%s", text);
    }
    list_append(&c->m->ready, &c->node);
    timer_start(&c->m->ready_timer, 0);
}

/* ---- the start of a change ---- */

static int run_write(struct store_op *op, struct sql *db, struct error *reterr)
{
    return model_write_run(&container_of(op, struct change, op)->write, db, reterr);
}

static void send(struct change *c)
{
    c->op.run = run_write;
    c->op.done = on_written;
    list_append(&c->m->in_flight, &c->node);
    store_write(c->m->store, &c->op);
}

static void add_event(struct change *c, enum event_kind kind, const char *public_id, json_t *data)
{
    c->write.events[c->write.event_count++] = event_create(c->m->world, kind, public_id, data);
}

static char *config_text(const struct model_config *c)
{
    json_t *json = model_config_to_json(c);
    char *text;

    json_object_del(json, "created_at");
    json_object_del(json, "updated_at");
    text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text ? text : xstrdup("{}");
}

json_t *models_changed_members(const struct model_config *a, const struct model_config *b)
{
    json_t *before = model_config_to_json(a), *after = model_config_to_json(b), *value;
    json_t *names = json_array();
    const char *key;

    json_object_foreach(after, key, value)
    {
        if (!str_eq(key, "created_at") && !str_eq(key, "updated_at") &&
            !json_equal(value, json_object_get(before, key))) {
            json_array_append_new(names, json_string(key));
        }
    }
    json_decref(before);
    json_decref(after);
    return names;
}

/* Names are one space: an id or alias that another model has, or that a change with the store is
 * about to give to another, is taken. NULL: none is. */
static const char *taken_name(const struct models *m, const struct model_config *c, int64_t id)
{
    struct entry *other = map_get(&m->by_alias, c->id);
    const struct change *f;

    if (other && other->model.id != id) {
        return c->id;
    }
    for (char **a = c->aliases; a && *a; a++) {
        other = map_get(&m->by_public_id, *a);
        other = other ? other : map_get(&m->by_alias, *a);
        if (other && other->model.id != id) {
            return *a;
        }
    }
    list_for_each (f, &m->in_flight, node) {
        const char *name = f->config && (!id || f->write.row.id != id)
                               ? model_config_shared_name(c, f->config)
                               : NULL;

        if (name) {
            return name;
        }
    }
    return NULL;
}

/* The configuration file's models are checked among themselves before; the file wins. */
static bool refuse_taken_name(struct change *c)
{
    const char *name = c->takes_over ? NULL : taken_name(c->m, c->config, c->write.row.id);
    char text[MODEL_ID_MAX + 64];

    if (!name) {
        return false;
    }
    snprintf(text, sizeof(text), "the name '%s' is another model's id or alias", name);
    make_ready(c, -EEXIST, text);
    return true;
}

/* Who asks for a model that runs from now on: the definition, or somebody. */
static json_t *wanted_data(const char *by)
{
    return json_pack("{s:s}", "by", by);
}

static void add_status_event(struct change *c, const struct model *model)
{
    const enum model_status to = c->write.row.task_status;

    if (to != model->task_status) {
        add_event(c, EVENT_MODEL_TASK_STATUS, model->config->id,
                  json_pack("{s:s, s:s}", "from", model_status_name(model->task_status), "to",
                            model_status_name(to)));
    }
}

/* A definition says something new only when it says something else than before. */
static enum model_status status_after(const struct model_config *config, const struct model *model)
{
    return config->task_status == model->config->task_status ? model->task_status
                                                             : config->task_status;
}

static void start_update(struct change *c, const struct model *model)
{
    struct model_row *row = &c->write.row;
    struct model_config *config = c->config;
    bool turned_on = model_config_is_wanted(config) && !model_config_is_wanted(model->config);

    if (c->from_epoch && c->from_epoch != model->epoch) {
        make_ready(c, -ESTALE, "the definition was changed meanwhile");
        return;
    }
    free(config->id);
    config->id = xstrdup(model->config->id);
    if (refuse_taken_name(c)) {
        return;
    }
    row->origin = c->takes_over ? MODEL_FROM_CONFIG : model->origin;
    row->wanted = model->wanted || turned_on;
    row->task_status = status_after(config, model);
    row->epoch = model->epoch + 1;
    row->updated_ms = world_wall_ms(c->m->world);
    row->config = config_text(config);
    add_event(c, EVENT_MODEL_UPDATED, config->id,
              json_pack("{s:I, s:o}", "epoch", (json_int_t)row->epoch, "changed",
                        models_changed_members(model->config, config)));
    if (row->wanted && !model->wanted) {
        add_event(c, EVENT_MODEL_WANTED, config->id, wanted_data("autostart"));
    }
    add_status_event(c, model);
    send(c);
}

static void start_status(struct change *c, const struct model *model)
{
    if (c->write.row.task_status == model->task_status) {
        make_ready(c, 0, NULL);
        return;
    }
    c->write.row.epoch = model->epoch;
    add_status_event(c, model);
    send(c);
}

static void start_want(struct change *c, const struct model *model)
{
    bool wanted = c->write.row.wanted;

    if (wanted == model->wanted) {
        make_ready(c, 0, NULL);
        return;
    }
    c->write.row.epoch = model->epoch;
    add_event(c, wanted ? EVENT_MODEL_WANTED : EVENT_MODEL_UNWANTED, model->config->id,
              wanted_data(model_wish_name(c->by)));
    send(c);
}

static void start_remove(struct change *c, const struct model *model)
{
    c->write.row.epoch = model->epoch;
    add_event(c, EVENT_MODEL_DELETED, model->config->id, NULL);
    send(c);
}

static void next_change(struct models *m, struct entry *e)
{
    struct change *c = list_first(&e->waiting, struct change, node);

    e->busy = c != NULL;
    if (!c) {
        return;
    }
    list_remove(&c->node);
    switch (c->write.action) {
    case ACTION_UPDATE:
        start_update(c, &e->model);
        break;
    case ACTION_WANT:
        start_want(c, &e->model);
        break;
    case ACTION_STATUS:
        start_status(c, &e->model);
        break;
    default:
        start_remove(c, &e->model);
        break;
    }
}

static struct change *change_create(struct models *m, enum model_action action, int64_t id,
                                    models_done_fn done, void *arg)
{
    struct change *c = xcalloc(1, sizeof(*c));

    c->m = m;
    c->write.action = action;
    c->write.row.id = id;
    c->done = done;
    c->arg = arg;
    list_init(&c->node);
    return c;
}

static void enqueue(struct change *c)
{
    struct entry *e = find_entry(c->m, c->write.row.id);

    if (!e) {
        make_ready(c, -ENOENT, "there is no such model");
        return;
    }
    list_append(&e->waiting, &c->node);
    if (!e->busy) {
        next_change(c->m, e);
    }
}

void models_add(struct models *m, struct model_config *config, enum model_origin origin,
                models_done_fn done, void *arg)
{
    struct change *c = change_create(m, ACTION_ADD, 0, done, arg);
    struct model_row *row = &c->write.row;

    m->adding++;
    c->config = config;
    c->write.public_id = config->id;
    if (m->count + m->adding > MODELS_MAX) {
        make_ready(c, -EDQUOT, "there are too many models already");
        return;
    }
    c->takes_over = origin == MODEL_FROM_CONFIG;
    if (refuse_taken_name(c)) {
        return;
    }
    row->origin = origin;
    row->wanted = model_config_is_wanted(config);
    row->task_status = config->task_status;
    row->epoch = 1;
    row->created_ms = row->updated_ms = world_wall_ms(m->world);
    row->config = config_text(config);
    add_event(c, EVENT_MODEL_CREATED, config->id,
              json_pack("{s:s, s:s}", "origin", model_origin_name(origin), "framework",
                        config->framework));
    if (row->wanted) {
        add_event(c, EVENT_MODEL_WANTED, config->id, wanted_data("autostart"));
    }
    send(c);
}

static struct change *update_create(struct models *m, int64_t id, struct model_config *config,
                                    models_done_fn done, void *arg)
{
    struct change *c = change_create(m, ACTION_UPDATE, id, done, arg);

    c->config = config;
    return c;
}

void models_update(struct models *m, int64_t id, struct model_config *config, models_done_fn done,
                   void *arg)
{
    enqueue(update_create(m, id, config, done, arg));
}

void models_update_from(struct models *m, int64_t id, int64_t epoch, struct model_config *config,
                        models_done_fn done, void *arg)
{
    struct change *c = update_create(m, id, config, done, arg);

    c->from_epoch = epoch;
    enqueue(c);
}

void models_take_over(struct models *m, int64_t id, struct model_config *config,
                      models_done_fn done, void *arg)
{
    struct change *c = update_create(m, id, config, done, arg);

    c->takes_over = true;
    enqueue(c);
}

void models_later(struct models *m, models_done_fn done, void *arg)
{
    make_ready(change_create(m, ACTION_WANT, 0, done, arg), 0, NULL);
}

void models_remove(struct models *m, int64_t id, models_done_fn done, void *arg)
{
    enqueue(change_create(m, ACTION_REMOVE, id, done, arg));
}

void models_set_wanted(struct models *m, int64_t id, bool wanted, enum model_wish by,
                       models_done_fn done, void *arg)
{
    struct change *c = change_create(m, ACTION_WANT, id, done, arg);

    c->write.row.wanted = wanted;
    c->by = by;
    enqueue(c);
}

void models_set_task_status(struct models *m, int64_t id, enum model_status status,
                            models_done_fn done, void *arg)
{
    struct change *c = change_create(m, ACTION_STATUS, id, done, arg);

    c->write.row.task_status = status;
    enqueue(c);
}

/* ---- life ---- */

struct models *models_create(struct world *w, struct store *store, struct events *events)
{
    struct models *m = xcalloc(1, sizeof(*m));

    m->world = w;
    m->store = store;
    m->events = events;
    map_init(&m->by_public_id);
    map_init(&m->by_alias);
    list_init(&m->in_flight);
    list_init(&m->ready);
    timer_init(&m->ready_timer, w, "models", on_ready, m);
    notify_init(&m->signal);
    return m;
}

static void cancel(struct change *c)
{
    struct error e = { 0 };

    c->m = NULL;
    list_remove(&c->node);
    error_set(&e, -ECANCELED, "berth is going down");
    if (c->done) {
        c->done(c->arg, -ECANCELED, c->write.row.id, &e);
    }
}

static void cancel_all(struct list *changes, bool with_the_store)
{
    while (!list_empty(changes)) {
        struct change *c = list_first(changes, struct change, node);

        cancel(c);
        if (!with_the_store) { /* else its done frees it */
            change_free(c);
        }
    }
}

struct models *models_destroy(struct models *m)
{
    if (!m) {
        return NULL;
    }
    timer_stop(&m->ready_timer);
    cancel_all(&m->in_flight, true);
    cancel_all(&m->ready, false);
    for (size_t i = 0; i < m->count; i++) {
        cancel_all(&m->entries[i]->waiting, false);
    }
    for (size_t i = 0; i < m->count; i++) {
        entry_free(m->entries[i]);
    }
    free(m->entries);
    map_finish(&m->by_public_id);
    map_finish(&m->by_alias);
    free(m);
    return NULL;
}
