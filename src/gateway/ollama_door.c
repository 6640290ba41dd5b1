// SPDX-License-Identifier: Apache-2.0
/*
 * Ollama's routes, and what is answered without an engine: which models there are, which are
 * loaded, what is known of one. Model files are looked at on a worker, and what was found is kept
 * until the file changes, so that a list of thousands costs a stat each.
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/timefmt.h"
#include "base/worker.h"
#include "codec/gguf.h"
#include "engines/devices.h"
#include "gateway/gateway_int.h"
#include "gateway/ollama_int.h"

enum {
    LOOKUPS_MAX = 64,     /* that may wait */
    HEADERS_A_LOOK = 256, /* GGUF headers read for one list at most; the next one reads on */
    ONE_MODEL_BYTES = 4 * 6 * MODEL_ID_MAX + 2048,
};

/* What is known of a model's file; zeroed: nothing. */
struct facts {
    uint64_t size;
    struct timespec modified;
    bool is_gguf; /* its header was read; the rest is void otherwise */
    bool has_file_type, has_chat_template;
    char architecture[48], name[128];
    uint32_t file_type;
    uint64_t context_length, embedding_length, block_count, head_count, head_count_kv, vocab_size;
};

struct entry {
    int64_t model_id;
    char *id, *path; /* owned */
    struct facts facts;
    struct buf common; /* what lists and facts have in common, as JSON */
};

/* One request that waits for facts. */
struct lookup {
    struct job job;
    struct ollama_door *door;
    struct http_exchange *x; /* NULL: the client left */
    void (*answer)(const struct lookup *l, struct buf *out);
    struct gpus gpus;
    size_t count;
    struct entry *entries;
};

struct ollama_door {
    struct gateway *gateway;
    struct worker *worker; /* NULL until the first lookup */
    struct map facts;      /* by path: struct facts */
    struct route_table table;
};

/* On the worker's thread: looking at files, and the writing that needs nothing else */

static void take_header(struct facts *f, const struct gguf_info *info)
{
    f->is_gguf = true;
    snprintf(f->architecture, sizeof(f->architecture), "%.*s", (int)sizeof(f->architecture) - 1,
             info->architecture);
    snprintf(f->name, sizeof(f->name), "%.*s", (int)sizeof(f->name) - 1, info->name);
    f->has_file_type = info->has_file_type;
    f->has_chat_template = info->has_chat_template;
    f->file_type = info->file_type;
    f->context_length = info->context_length;
    f->embedding_length = info->embedding_length;
    f->block_count = info->block_count;
    f->head_count = info->head_count;
    f->head_count_kv = info->head_count_kv;
    f->vocab_size = info->vocab_size;
}

static bool is_unchanged(const struct facts *f, const struct stat *st)
{
    return f->size == (uint64_t)st->st_size && f->modified.tv_sec == st->st_mtim.tv_sec &&
           f->modified.tv_nsec == st->st_mtim.tv_nsec;
}

static void look_at(struct entry *e, unsigned *headers)
{
    struct gguf_info info;
    struct stat st;

    if (stat(e->path, &st) < 0 || !S_ISREG(st.st_mode)) {
        e->facts = (struct facts){ 0 };
        return;
    }
    if (is_unchanged(&e->facts, &st)) {
        return;
    }
    e->facts = (struct facts){ .size = (uint64_t)st.st_size };
    if (str_ends(e->path, ".gguf")) {
        if (*headers == 0) {
            return; /* without its time: the next look reads the header */
        }
        (*headers)--;
        if (gguf_read_file(e->path, &info, NULL) == 0) {
            take_header(&e->facts, &info);
        }
    }
    e->facts.modified = st.st_mtim;
}

/* The usual names of general.file_type. */
static const char *quantization(const struct facts *f)
{
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",      [2] = "Q4_0",    [3] = "Q4_1",    [7] = "Q8_0",
        [8] = "Q5_0",     [9] = "Q5_1",     [10] = "Q2_K",   [11] = "Q3_K_S", [12] = "Q3_K_M",
        [13] = "Q3_K_L",  [14] = "Q4_K_S",  [15] = "Q4_K_M", [16] = "Q5_K_S", [17] = "Q5_K_M",
        [18] = "Q6_K",    [19] = "IQ2_XXS", [20] = "IQ2_XS", [21] = "Q2_K_S", [22] = "IQ3_XS",
        [23] = "IQ3_XXS", [24] = "IQ1_S",   [25] = "IQ4_NL", [26] = "IQ3_S",  [27] = "IQ3_M",
        [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",  [32] = "BF16",
    };
    const char *name =
        f->has_file_type && f->file_type < ARRAY_SIZE(names) ? names[f->file_type] : NULL;

    return name ? name : "";
}

static void put_details(const struct facts *f, struct buf *out)
{
    buf_printf(out, "\"details\":{\"parent_model\":\"\",\"format\":\"%s\",\"family\":",
               f->is_gguf ? "gguf" : "");
    put_text(out, f->architecture);
    buf_puts(out, ",\"families\":[");
    if (f->architecture[0]) {
        put_text(out, f->architecture);
    }
    buf_printf(out, "],\"parameter_size\":\"\",\"quantization_level\":\"%s\"}", quantization(f));
}

/* Ollama's is of a manifest; ours only tells models apart, and stays. */
static void put_digest(const char *id, struct buf *out)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1];
    unsigned n = 0;

    if (!EVP_Digest(id, strlen(id), digest, &n, EVP_sha256(), NULL)) {
        n = 0;
    }
    hex_encode(digest, n, hex);
    buf_printf(out, "\"digest\":\"%s\"", hex);
}

/* name, model, size, digest and details: what lists have in common. No tag is added: the name is
 * the one that every door knows. */
static void put_common(struct entry *e)
{
    struct buf *out = &e->common;

    buf_puts(out, "{\"name\":");
    put_text(out, e->id);
    buf_puts(out, ",\"model\":");
    put_text(out, e->id);
    buf_printf(out, ",\"size\":%llu,", (unsigned long long)e->facts.size);
    put_digest(e->id, out);
    buf_putc(out, ',');
    put_details(&e->facts, out);
}

static void run_lookup(struct job *job)
{
    struct lookup *l = container_of(job, struct lookup, job);
    unsigned headers = HEADERS_A_LOOK;

    for (size_t i = 0; i < l->count; i++) {
        look_at(&l->entries[i], &headers);
        put_common(&l->entries[i]);
    }
}

/* On the loop */

static void free_lookup(struct lookup *l)
{
    for (size_t i = 0; i < l->count; i++) {
        free(l->entries[i].id);
        free(l->entries[i].path);
        buf_finish(&l->entries[i].common);
    }
    free(l->entries);
    free(l);
}

static void forget_all(struct ollama_door *d)
{
    map_for_each(e, &d->facts)
    {
        free(e->value);
    }
    map_finish(&d->facts);
}

static void keep(struct ollama_door *d, const struct entry *e)
{
    struct facts *f = map_get(&d->facts, e->path);

    if (!f) {
        f = xcalloc(1, sizeof(*f));
        map_put(&d->facts, e->path, f);
    }
    *f = e->facts;
}

static void on_looked(struct job *job)
{
    struct lookup *l = container_of(job, struct lookup, job);
    struct buf body = BUF_INIT((l->count + 1) * ONE_MODEL_BYTES);

    if (l->door->facts.count + l->count > MODELS_MAX) {
        forget_all(l->door);
    }
    for (size_t i = 0; i < l->count; i++) {
        keep(l->door, &l->entries[i]);
    }
    if (l->x) {
        l->answer(l, &body);
        if (body.len > 0) {
            http_respond(l->x, 200, "application/json", buf_span(&body));
        } else {
            answer_error(l->x, SHAPE_OLLAMA, -ENOENT, NULL, "the model was just deleted");
        }
    }
    buf_finish(&body);
    free_lookup(l);
}

static void on_client_gone(void *owner)
{
    ((struct lookup *)owner)->x = NULL;
}

static const struct http_exchange_events client_events = { on_client_gone, NULL };

static struct lookup *lookup_create(struct ollama_door *d, struct http_exchange *x,
                                    void (*answer)(const struct lookup *l, struct buf *out))
{
    struct lookup *l = xcalloc(1, sizeof(*l));

    l->job = (struct job){ .run = run_lookup, .done = on_looked };
    l->door = d;
    l->x = x;
    l->answer = answer;
    l->gpus = gpus_of(engines_gpu(d->gateway->in.engines));
    l->entries = xcalloc(models_count(d->gateway->in.models) + 1, sizeof(*l->entries));
    return l;
}

static void lookup_add(struct lookup *l, const struct model *m)
{
    struct entry *e = &l->entries[l->count++];
    const char *path = m->config->model_path ? m->config->model_path : "";
    const struct facts *known = map_get(&l->door->facts, path);

    e->model_id = m->id;
    e->id = xstrdup(m->config->id);
    e->path = xstrdup(path);
    buf_init(&e->common, ONE_MODEL_BYTES);
    e->facts = known ? *known : (struct facts){ 0 };
}

static void lookup_start(struct lookup *l)
{
    struct ollama_door *d = l->door;
    const struct worker_options options = { .name = "model files",
                                            .threads = 1,
                                            .max_queued = LOOKUPS_MAX };

    if (!d->worker) {
        d->worker = worker_create(d->gateway->in.world, &options);
    }
    http_exchange_set_events(l->x, &client_events, l);
    if (worker_submit(d->worker, &l->job) < 0) {
        answer_error(l->x, SHAPE_OLLAMA, -EAGAIN, NULL, "too many lists are asked for at once");
        free_lookup(l);
    }
}

/* Writing */

static const char *modified_at(const struct model *m)
{
    return m->config->updated_at   ? m->config->updated_at
           : m->config->created_at ? m->config->created_at
                                   : "1970-01-01T00:00:00Z";
}

/* Each entry whose model is there yet. */
static void put_list(const struct lookup *l, struct buf *out,
                     void (*put)(const struct lookup *l, const struct model *m,
                                 const struct facts *f, struct buf *out))
{
    bool first = true;

    buf_puts(out, "{\"models\":[");
    for (size_t i = 0; i < l->count; i++) {
        const struct entry *e = &l->entries[i];
        const struct model *m = models_get(l->door->gateway->in.models, e->model_id);

        if (m) {
            buf_puts(out, first ? "" : ",");
            put_span(out, buf_span(&e->common));
            put(l, m, &e->facts, out);
            buf_putc(out, '}');
            first = false;
        }
    }
    buf_puts(out, "]}");
}

/* GET /api/tags */

static void put_tag(const struct lookup *l, const struct model *m, const struct facts *f,
                    struct buf *out)
{
    buf_printf(out, ",\"modified_at\":\"%s\"", modified_at(m));
}

static void answer_tags(const struct lookup *l, struct buf *out)
{
    put_list(l, out, put_tag);
}

static void tags(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct ollama_door *d = owner;
    struct lookup *l = lookup_create(d, x, answer_tags);
    const struct model *m;
    size_t cursor = 0;

    while ((m = models_next(d->gateway->in.models, &cursor))) {
        lookup_add(l, m);
    }
    lookup_start(l);
}

/* GET /api/ps */

static const struct instance *loaded(const struct gateway *g, const struct model *m)
{
    const struct instance *in = engines_of_model(g->in.engines, m->id);

    return in && in->state == INSTANCE_READY && !in->sleeping ? in : NULL;
}

static uint64_t context_of(const struct model *m, const struct facts *f)
{
    const json_t *given = json_object_get(m->config->parameters, "ctx_size");

    return json_integer_value(given) > 0 ? (uint64_t)json_integer_value(given) : f->context_length;
}

static void put_loaded(const struct lookup *l, const struct model *m, const struct facts *f,
                       struct buf *out)
{
    const struct placement *placement = l->door->gateway->in.placement;
    int64_t expires = placement ? placement_expires_wall_ms(placement, m->id) : 0;
    bool on_gpu = l->gpus.nvidia + l->gpus.amd > 0 && !devices_are_cpu(m->config, &l->gpus);
    char when[TIMEFMT_SIZE] = "9999-12-31T23:59:59.000Z"; /* never */

    if (expires > 0) {
        timefmt_iso(expires, when);
    }
    buf_printf(out, ",\"expires_at\":\"%s\",\"size_vram\":%llu,\"context_length\":%llu", when,
               (unsigned long long)(on_gpu ? f->size : 0), (unsigned long long)context_of(m, f));
}

static void answer_ps(const struct lookup *l, struct buf *out)
{
    put_list(l, out, put_loaded);
}

static void ps(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct ollama_door *d = owner;
    struct lookup *l = lookup_create(d, x, answer_ps);
    const struct model *m;
    size_t cursor = 0;

    while ((m = models_next(d->gateway->in.models, &cursor))) {
        if (loaded(d->gateway, m)) {
            lookup_add(l, m);
        }
    }
    lookup_start(l);
}

/* POST /api/show */

/* Those of the definition that Ollama has a word for, as a text of lines; no others, since a
 * definition may hold what is not for everybody's eyes. */
static void put_parameters(const struct model *m, struct buf *out)
{
    static const struct {
        const char *name, *word;
    } rows[] = {
        { "ctx_size", "num_ctx" },      { "temperature", "temperature" },
        { "top_k", "top_k" },           { "top_p", "top_p" },
        { "min_p", "min_p" },           { "seed", "seed" },
        { "n_predict", "num_predict" }, { "repeat_penalty", "repeat_penalty" },
    };
    bool first = true;

    buf_puts(out, "\"parameters\":\"");
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        const json_t *v = json_object_get(m->config->parameters, rows[i].name);

        if (json_is_number(v)) {
            buf_printf(out, "%s%-30s %.15g", first ? "" : "\\n", rows[i].word,
                       json_number_value(v));
            first = false;
        }
    }
    buf_puts(out, "\",");
}

static void put_number(struct buf *out, const char *architecture, const char *name, uint64_t value)
{
    if (value > 0) {
        buf_puts(out, ",\"");
        buf_put_json_escaped(out, architecture, strlen(architecture));
        buf_printf(out, ".%s\":%llu", name, (unsigned long long)value);
    }
}

static void put_model_info(const struct facts *f, struct buf *out)
{
    const char *a = f->architecture;

    buf_puts(out, "\"model_info\":{");
    if (f->is_gguf) {
        buf_puts(out, "\"general.architecture\":");
        put_text(out, a);
        if (f->name[0]) {
            buf_puts(out, ",\"general.name\":");
            put_text(out, f->name);
        }
        if (f->has_file_type) {
            buf_printf(out, ",\"general.file_type\":%u", f->file_type);
        }
        put_number(out, a, "context_length", f->context_length);
        put_number(out, a, "embedding_length", f->embedding_length);
        put_number(out, a, "block_count", f->block_count);
        put_number(out, a, "attention.head_count", f->head_count);
        put_number(out, a, "attention.head_count_kv", f->head_count_kv);
        put_number(out, a, "vocab_size", f->vocab_size);
    }
    buf_puts(out, "},");
}

static void put_capabilities(const struct model *m, const struct facts *f, struct buf *out)
{
    const json_t *p = m->config->parameters;

    buf_puts(out, "\"capabilities\":[\"completion\"");
    buf_puts(out, f->has_chat_template ? ",\"tools\"" : "");
    buf_puts(out, json_is_string(json_object_get(p, "mmproj")) ? ",\"vision\"" : "");
    buf_puts(out, json_is_true(json_object_get(p, "embeddings")) ? ",\"embedding\"" : "");
    buf_putc(out, ']');
}

static void answer_show(const struct lookup *l, struct buf *out)
{
    const struct entry *e = &l->entries[0];
    const struct model *m = models_get(l->door->gateway->in.models, e->model_id);

    if (!m) {
        return;
    }
    buf_puts(out, "{\"license\":\"\",\"modelfile\":\"\",\"template\":\"\",\"system\":\"\",");
    put_parameters(m, out);
    put_details(&e->facts, out);
    buf_putc(out, ',');
    put_model_info(&e->facts, out);
    put_capabilities(m, &e->facts, out);
    buf_printf(out, ",\"modified_at\":\"%s\"}", modified_at(m));
}

/* The model that a body names; NULL when it has been answered with what is wrong. */
static const struct model *named_model(struct ollama_door *d, struct http_exchange *x)
{
    struct scan_member f[] = { { .name = "model" }, { .name = "name" } };
    _cleanup_(freep) char *name = NULL;
    const struct model *m;
    struct error e = { 0 };
    int r = scan_object(http_exchange_body(x), f, ARRAY_SIZE(f), &e);

    if (r == 0 && !raw_given(&f[0]) && !raw_given(&f[1])) {
        r = error_set(&e, -EINVAL, "model is required");
    }
    if (r == 0) {
        r = scan_string(raw_given(&f[0]) ? &f[0] : &f[1], &name, &e);
    }
    m = r == 0 ? gateway_find_model(d->gateway, name, SHAPE_OLLAMA) : NULL;
    if (r == 0 && !m) {
        r = error_set(&e, -ENOENT, "model '%s' not found",
                      strlen(name) > MODEL_ID_MAX ? "…" : name);
    }
    if (r < 0) {
        answer_error(x, SHAPE_OLLAMA, r, NULL, e.text);
    }
    return m;
}

static void show(void *owner, struct http_exchange *x, const struct route_params *params)
{
    struct ollama_door *d = owner;
    const struct model *m = named_model(d, x);
    struct lookup *l;

    if (m) {
        l = lookup_create(d, x, answer_show);
        lookup_add(l, m);
        lookup_start(l);
    }
}

/* The others */

static void version(void *owner, struct http_exchange *x, const struct route_params *params)
{
    http_respond(x, 200, "application/json", SPAN("{\"version\":\"" PROJECT_VERSION "\"}"));
}

static void not_here(void *owner, struct http_exchange *x, const struct route_params *params)
{
    answer_error(x, SHAPE_OLLAMA, -ENOSYS, NULL,
                 "there is no registry of models here: models are defined and deleted with "
                 "/api/models/, or in the configuration file");
}

#define SERVE(function, id)                                                                        \
    static void function(void *owner, struct http_exchange *x, const struct route_params *params)  \
    {                                                                                              \
        relay_start(((struct ollama_door *)owner)->gateway, x, &endpoints[id]);                    \
    }

SERVE(chat, ENDPOINT_OLLAMA_CHAT)
SERVE(generate, ENDPOINT_OLLAMA_GENERATE)
SERVE(embed, ENDPOINT_OLLAMA_EMBED)
SERVE(embeddings, ENDPOINT_OLLAMA_EMBEDDINGS)

#define RELAYED "200 400 404 408 413 415 429 499 500 501 502 503 504"
// clang-format off
static const struct route routes[] = {
    { "POST", "/api/chat", SCOPE_INFERENCE, chat, "Chat, streamed as lines of JSON unless \"stream\" is false; without messages the model is only loaded.",
      { NULL, NULL, RELAYED, NULL } },
    { "POST", "/api/generate", SCOPE_INFERENCE, generate, "The answer to a prompt, streamed as lines of JSON unless \"stream\" is false; without a prompt the model is only loaded, or with \"keep_alive\": 0 unloaded.",
      { NULL, NULL, RELAYED, NULL } },
    { "POST", "/api/embed", SCOPE_INFERENCE, embed, "Embeddings of one or more texts.",
      { NULL, NULL, RELAYED, NULL } },
    { "POST", "/api/embeddings", SCOPE_INFERENCE, embeddings, "The embedding of one text.",
      { NULL, NULL, RELAYED, NULL } },
    { "GET", "/api/tags", SCOPE_INFERENCE, tags, "Lists the models that can be asked for.",
      { NULL, NULL, "200 429", NULL } },
    { "GET", "/api/ps", SCOPE_INFERENCE, ps, "Lists the models that are loaded.",
      { NULL, NULL, "200 429", NULL } },
    { "POST", "/api/show", SCOPE_INFERENCE, show, "What is known of one model.",
      { NULL, NULL, "200 400 404 415 429", NULL } },
    { "GET", "/api/version", SCOPE_INFERENCE, version, "The version of berth.",
      { NULL, NULL, "200", NULL } },
    { "POST", "/api/pull", SCOPE_INFERENCE, not_here, "Not supported: berth has no registry of models.",
      { NULL, NULL, "501", NULL } },
    { "POST", "/api/push", SCOPE_INFERENCE, not_here, "Not supported: berth has no registry of models.",
      { NULL, NULL, "501", NULL } },
    { "POST", "/api/create", SCOPE_INFERENCE, not_here, "Not supported: models are defined with POST /api/models/.",
      { NULL, NULL, "501", NULL } },
    { "POST", "/api/copy", SCOPE_INFERENCE, not_here, "Not supported: models are defined with POST /api/models/.",
      { NULL, NULL, "501", NULL } },
    { "DELETE", "/api/delete", SCOPE_INFERENCE, not_here, "Not supported: models are deleted with DELETE /api/models/{id}.",
      { NULL, NULL, "501", NULL } },
};
// clang-format on

struct ollama_door *ollama_door_create(struct gateway *g)
{
    struct ollama_door *d = xcalloc(1, sizeof(*d));

    d->gateway = g;
    map_init(&d->facts);
    d->table = (struct route_table){ "Ollama-compatible gateway", SHAPE_OLLAMA, routes,
                                     ARRAY_SIZE(routes), d };
    return d;
}

const struct route_table *ollama_door_routes(struct ollama_door *d)
{
    return &d->table;
}

struct ollama_door *ollama_door_destroy(struct ollama_door *d)
{
    if (d) {
        worker_destroy(d->worker);
        forget_all(d);
        free(d);
    }
    return NULL;
}
