// SPDX-License-Identifier: Apache-2.0
/*
 * A change of a model on its way, one of a model at a time:
 *
 *     (those of the model before it) ──► ask the local server, if one is named ──► define ──► keep
 *     the key, if there is a new one (a worker) ──► commit ──► set the status, if it is named
 */
#include "api/task_model_edit.h"

#include <stdlib.h>
#include <string.h>

#include "api/task_doors_int.h"
#include "base/mem.h"
#include "base/worker.h"
#include "http/client.h"

enum { PROBE_MS = 2000, PROBE_ANSWER_MAX = 1 << 20, CHANGES_MAX = 64 };

struct model_edit {
    struct list node;        /* of api->model_edits */
    struct api *api;         /* NULL once the api is gone */
    struct http_exchange *x; /* NULL once the client is gone */
    json_t *body;            /* the words are borrowed from it */
    struct model_words words;
    int64_t id; /* 0: a new model */
    const char *message;
    bool shows;   /* the model is told, else null */
    bool waiting; /* for another change of the same model */
    void (*act)(struct model_edit *c);
    int status; /* to be set; -1: it stays */
    /* the local server */
    char url[LOCAL_URL_SIZE];
    struct http_upstream *upstream;
    struct http_fetch *fetch;
    bool reachable;
    /* the key */
    struct job job;
    char key_name[TASK_KEY_NAME_SIZE];
    char *key, *data_dir;
    int key_result;
    struct error key_error;
    char *old_key_name; /* goes when the definition stands */
    struct model_config *config;
};

/* ---- life ---- */

/* The next one of this model, if one waits. */
static void start_next(struct api *api, int64_t id)
{
    struct model_edit *c;

    list_for_each (c, &api->model_edits, node) {
        if (c->waiting && c->id == id) {
            c->waiting = false;
            c->act(c);
            return;
        }
    }
}

static void free_memory(struct model_edit *c)
{
    if (c->key) {
        explicit_bzero(c->key, strlen(c->key));
    }
    free(c->key);
    free(c->data_dir);
    free(c->old_key_name);
    model_config_free(c->config);
    json_decref(c->body);
    free(c);
}

static void edit_free(struct model_edit *c)
{
    struct api *api = c->api;
    const int64_t id = c->id;

    if (c->fetch) {
        http_fetch_cancel(c->fetch);
    }
    http_upstream_destroy(c->upstream);
    list_remove(&c->node);
    free_memory(c);
    if (api) {
        api->model_edit_count--;
        if (id > 0) {
            start_next(api, id);
        }
    }
}

static void on_gone(void *arg)
{
    ((struct model_edit *)arg)->x = NULL;
}

static const struct http_exchange_events edit_events = { .on_gone = on_gone };

static void fail(struct model_edit *c, const struct error *e)
{
    if (c->x && e->code == -EEXIST) {
        envelope_refuse(c->x, 400, "%s", e->text);
    } else if (c->x && e->code == -EINVAL) {
        envelope_invalid(c->x, "%s", e->text);
    } else if (c->x) {
        envelope_fail(c->x, e);
    }
    edit_free(c);
}

/* ---- the commit ---- */

static void respond_committed(struct model_edit *c)
{
    const struct model *model = models_get(c->api->in.models, c->id);

    envelope_respond(c->x, c->message, c->shows && model ? task_model_json(c->api, model) : NULL);
}

static void on_committed(void *arg, int result, int64_t id, const struct error *e)
{
    struct model_edit *c = arg;

    if (c->api && result < 0) {
        fail(c, e);
        return;
    }
    if (c->api && c->x) {
        c->id = id;
        respond_committed(c);
    }
    edit_free(c);
}

/* The definition stands, or does not: so does the key that it names. */
static void on_defined(void *arg, int result, int64_t id, const struct error *e)
{
    struct model_edit *c = arg;

    if (c->api && result >= 0) {
        task_key_remove(c->api, c->old_key_name);
    } else if (c->api && c->key) {
        task_key_remove(c->api, c->key_name);
    }
    if (c->api && result >= 0 && c->status >= 0) {
        models_set_task_status(c->api->in.models, id, (enum model_status)c->status, on_committed,
                               c);
    } else {
        on_committed(c, result, id, e);
    }
}

static void commit(struct model_edit *c)
{
    struct models *models = c->api->in.models;

    if (c->id == 0) {
        models_add(models, TAKE_PTR(c->config), MODEL_FROM_API, on_defined, c);
    } else {
        models_update(models, c->id, TAKE_PTR(c->config), on_defined, c);
    }
}

/* ---- the key ---- */

static void run_key_job(struct job *job)
{
    struct model_edit *c = container_of(job, struct model_edit, job);

    c->key_result = task_key_write(c->data_dir, c->key_name, c->key, &c->key_error);
}

static void on_key_kept(struct job *job)
{
    struct model_edit *c = container_of(job, struct model_edit, job);

    if (!c->api) { /* the sweep of the next start takes the file */
        edit_free(c);
    } else if (c->key_result < 0) {
        fail(c, &c->key_error);
    } else {
        commit(c);
    }
}

static void keep_key(struct model_edit *c, const char *key)
{
    static const struct worker_options options = { .name = "keys",
                                                   .threads = 1,
                                                   .max_queued = CHANGES_MAX };
    struct api *api = c->api;
    struct error e = { 0 };

    if (!api->key_worker) {
        api->key_worker = worker_create(api->in.world, &options);
    }
    c->key = xstrdup(key);
    c->data_dir = xstrdup(api->in.data_dir);
    c->job.run = run_key_job;
    c->job.done = on_key_kept;
    if (worker_submit(api->key_worker, &c->job) < 0) {
        error_set(&e, -EAGAIN, "too many keys are being kept");
        fail(c, &e);
    }
}

/* ---- the definition ---- */

/* What stands in the definition's place now: the old file's name, if the new definition names
 * another one. */
static char *key_to_drop(const struct model *old, const struct model_config *config)
{
    const char *was = old ? task_key_of(old->config) : NULL, *now = task_key_of(config);

    return was && !str_eq_opt(was, now) ? xstrdup(was) : NULL;
}

static void define(struct model_edit *c)
{
    const struct model *old = c->id ? models_get(c->api->in.models, c->id) : NULL;
    const struct model_making making = { .words = c->words,
                                         .old = old,
                                         .server_url = c->reachable ? c->url : NULL,
                                         .key_name = c->key_name };
    struct error e = { 0 };
    const char *key;

    if (c->id && !old) {
        error_set(&e, -ENOENT, "there is no model %lld", (long long)c->id);
        fail(c, &e);
        return;
    }
    task_key_name(c->api, c->key_name);
    if (model_words_define(c->api, &making, &c->config, &key, &e) < 0) {
        fail(c, &e);
        return;
    }
    c->old_key_name = key_to_drop(old, c->config);
    if (key) {
        keep_key(c, key);
    } else {
        commit(c);
    }
}

/* ---- the local server ---- */

/* Any answer is one: what it says is for the engine's own probe to judge. */
static void on_probed(void *owner, int result, int status, struct span body, const struct error *e)
{
    struct model_edit *c = owner;

    c->fetch = NULL;
    c->upstream = http_upstream_destroy(c->upstream);
    c->reachable = result >= 0;
    define(c);
}

static void probe(struct model_edit *c)
{
    const struct http_call_request request = { .method = "GET",
                                               .path = "/v1/models",
                                               .head_timeout_ms = PROBE_MS,
                                               .idle_timeout_ms = PROBE_MS };
    struct http_upstream_options options = { .connect_timeout_ms = PROBE_MS };
    _cleanup_(freep) char *path = NULL;

    if (address_parse_url(c->url, &options.where, &path, NULL) < 0) {
        define(c);
        return;
    }
    c->upstream = http_upstream_create(c->api->in.world, &options);
    c->fetch = http_fetch_start(c->upstream, &request, PROBE_ANSWER_MAX, on_probed, c);
}

/* ---- what is asked for ---- */

/* Nothing but its status: the definition stays, whoever made it. */
static bool is_status_alone(const struct model_words *w)
{
    return w->status && !w->name && !w->config && w->max_workers == 0;
}

static bool is_local(const struct model_edit *c)
{
    const struct model *model = c->id ? models_get(c->api->in.models, c->id) : NULL;

    return str_eq_opt(model ? model->config->type : c->words.type, "local");
}

static void act_define(struct model_edit *c)
{
    struct error e = { 0 };

    if (c->id && is_status_alone(&c->words)) {
        models_set_task_status(c->api->in.models, c->id, (enum model_status)c->status, on_committed,
                               c);
        return;
    }
    if (c->words.config && is_local(c)) {
        if (model_words_server(c->api, c->words.config, c->url, &e) < 0) {
            fail(c, &e);
            return;
        }
        if (c->url[0]) {
            probe(c);
            return;
        }
    }
    define(c);
}

static void act_remove(struct model_edit *c)
{
    const struct task_filter filter = {
        .kind = -1, .model_id = c->id, .state = -1, .priority = -1, .dead = -1
    };
    const struct task_counts now = tasks_counts(c->api->in.tasks, &filter);
    struct error e = { 0 };

    if (now.by_state[TASK_PENDING] + now.by_state[TASK_RUNNING] > 0) {
        error_set(&e, -EBUSY, "the model has %llu pending and %llu running tasks",
                  (unsigned long long)now.by_state[TASK_PENDING],
                  (unsigned long long)now.by_state[TASK_RUNNING]);
        fail(c, &e);
        return;
    }
    models_remove(c->api->in.models, c->id, on_committed, c);
}

void model_edit_begin(struct api *api, struct http_exchange *x,
                      const struct model_edit_order *order)
{
    struct model_edit *c, *other;

    if (api->model_edit_count >= CHANGES_MAX) {
        json_decref(order->body);
        envelope_refuse(x, 503, "%d models are being changed already", CHANGES_MAX);
        return;
    }
    c = xcalloc(1, sizeof(*c));
    c->api = api;
    c->x = x;
    c->body = order->body;
    c->words = order->words;
    c->id = order->id;
    c->message = order->message;
    c->shows = order->shows;
    c->act = order->id > 0 && order->removes ? act_remove : act_define;
    c->status =
        order->id > 0 && order->words.status ? model_status_from_string(order->words.status) : -1;
    list_for_each (other, &api->model_edits, node) {
        c->waiting |= c->id > 0 && other->id == c->id;
    }
    list_append(&api->model_edits, &c->node);
    api->model_edit_count++;
    http_exchange_set_events(x, &edit_events, c);
    if (!c->waiting) {
        c->act(c);
    }
}

void model_edits_detach(struct api *api)
{
    struct model_edit *c, *tmp;

    list_for_each_safe (c, tmp, &api->model_edits, node) {
        const bool comes_back = !c->fetch && !c->waiting; /* from the worker or the catalogue */

        list_remove(&c->node);
        c->api = NULL;
        if (!comes_back) {
            edit_free(c);
        }
    }
}
