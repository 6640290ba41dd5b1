// SPDX-License-Identifier: Apache-2.0
/*
 * Models from the files of their makers: a config.json (or the directory that it lies in) and GGUF.
 * Blocking.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/gguf.h"
#include "codec/json.h"
#include "codec/yaml_tree.h"
#include "presets/presets_int.h"

enum { CONFIG_BYTES_MAX = 4 << 20 };

/* ---- files ---- */

int preset_read_file(const char *path, size_t max, struct buf *b, struct error *reterr)
{
    _cleanup_(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;
    ssize_t n = 1;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)max) {
        return error_set(reterr, -EINVAL, "%s: not a file of at most %zu MiB", path, max >> 20);
    }
    while (n > 0) {
        char piece[4096];

        n = read(fd, piece, sizeof(piece));
        r = n < 0 ? -errno : buf_append(b, piece, (size_t)n);
        if (r < 0) {
            return error_set(reterr, r, "%s: %s", path, strerror(-r));
        }
    }
    return 0;
}

/* ---- config.json ---- */

/* "…/NAME/config.json" is NAME; of a config.json where one stands, what it says of itself. */
static void name_by_path(const char *path, struct preset_model *ret)
{
    const char *end = strrchr(path, '/'), *start = end;

    while (end && start > path && start[-1] != '/') {
        start--;
    }
    if (end && end > start && !str_starts(start, ".")) {
        _cleanup_(freep) char *name = xstrndup(start, (size_t)(end - start));

        preset_name_copy(ret->name, name);
    }
}

static int import_config(const char *path, struct preset_model *ret, struct error *reterr)
{
    struct buf text = BUF_INIT(CONFIG_BYTES_MAX);
    json_t *config = NULL;
    int r = preset_read_file(path, CONFIG_BYTES_MAX, &text, reterr);

    if (r < 0) {
        buf_finish(&text);
        return r;
    }
    r = json_read(buf_span(&text), CONFIG_BYTES_MAX, &config, reterr);
    buf_finish(&text);
    r = r < 0 ? r : preset_model_from_json(NULL, config, ret, reterr);
    if (r < 0) {
        error_prefix(reterr, "%s: ", path);
    } else if (model_is_config(config)) {
        name_by_path(path, ret);
    }
    json_decref(config);
    return r < 0 ? -EINVAL : 0;
}

/* ---- GGUF ---- */

static int format_of_type(uint32_t type)
{
    static const struct {
        const char *name;
        int format;
    } rows[] = {
        { "F32", PLANNER_BF16 },    { "F16", PLANNER_BF16 },     { "BF16", PLANNER_BF16 },
        { "Q8_0", PLANNER_Q8_0 },   { "Q6_K", PLANNER_Q6_K },    { "Q5_K", PLANNER_Q5_K_M },
        { "Q5_0", PLANNER_Q5_K_M }, { "Q5_1", PLANNER_Q5_K_M },  { "Q4_K", PLANNER_Q4_K_M },
        { "Q4_0", PLANNER_Q4_0 },   { "Q4_1", PLANNER_Q4_0 },    { "Q3_K", PLANNER_Q3_K_M },
        { "Q2_K", PLANNER_Q2_K },   { "MXFP4", PLANNER_MXFP4 },  { "IQ4_NL", PLANNER_Q4_0 },
        { "IQ4_XS", PLANNER_Q4_0 }, { "IQ3_S", PLANNER_Q3_K_M }, { "IQ3_XXS", PLANNER_Q3_K_M },
        { "IQ2_S", PLANNER_Q2_K },  { "IQ2_XS", PLANNER_Q2_K },  { "IQ2_XXS", PLANNER_Q2_K },
    };
    const char *name = gguf_type_name(type);

    for (size_t i = 0; name && i < ARRAY_SIZE(rows); i++) {
        if (str_eq(rows[i].name, name)) {
            return rows[i].format;
        }
    }
    return -1;
}

/* The type that most bytes are of. */
static int format_of_file(const struct gguf_info *g)
{
    uint32_t most = 0;

    for (uint32_t i = 1; i < GGUF_TYPES; i++) {
        most = g->type_bytes[i] > g->type_bytes[most] ? i : most;
    }
    return g->type_bytes[most] > 0 ? format_of_type(most) : -1;
}

static unsigned bounded(uint64_t n)
{
    return n > 1 << 24 ? 1 << 24 : (unsigned)n;
}

/* The pattern's 1 is a layer with a window, or its only number a period. */
static unsigned windowed_layers(const struct gguf_info *g, unsigned layers)
{
    const struct gguf_list *l = &g->window_pattern;
    unsigned windowed = 0;

    if (g->sliding_window == 0) {
        return 0;
    }
    if (l->count == 0) {
        return str_starts(g->architecture, "gemma2") || str_starts(g->architecture, "gpt-oss")
                   ? layers / 2
               : str_starts(g->architecture, "gemma3") ? layers - layers / 6
                                                       : layers;
    }
    if (l->count == 1) {
        return l->values[0] > 0 ? layers - layers / l->values[0] : 0;
    }
    for (unsigned i = 0; i < layers && i < l->count && i < GGUF_LAYERS_MAX; i++) {
        windowed += l->values[i] == 1;
    }
    return windowed;
}

/* Shared experts by their size, by how many of an expert's there are, or by the family's habit. */
static unsigned shared_inter(const struct gguf_info *g, unsigned moe_inter)
{
    const uint64_t count = str_eq(g->architecture, "llama4") ? 1 : g->expert_shared_count;

    return g->expert_shared_feed_forward ? bounded(g->expert_shared_feed_forward)
                                         : bounded((uint64_t)bounded(count) * moe_inter);
}

static void fill_experts(const struct gguf_info *g, struct planner_model *m)
{
    unsigned sparse = 0;

    m->experts = bounded(g->expert_count);
    if (m->experts == 0) {
        return;
    }
    m->top_k = bounded(g->expert_used_count);
    m->moe_inter = g->expert_feed_forward ? bounded(g->expert_feed_forward) : m->inter;
    m->shared_inter = shared_inter(g, m->moe_inter);
    for (unsigned i = 0; i < m->layers && i < GGUF_LAYERS_MAX; i++) {
        sparse += g->layer_expert_bytes[i] > 0;
    }
    m->dense_layers = m->layers - sparse;
}

static void fill_by_gguf(const struct gguf_info *g, struct preset_model *ret)
{
    struct planner_model *m = &ret->model;

    m->layers = bounded(g->block_count > g->next_n_layers ? g->block_count - g->next_n_layers : 0);
    m->hidden = bounded(g->embedding_length);
    m->heads = bounded(g->head_count);
    m->kv_heads = bounded(g->head_count_kv ? g->head_count_kv : g->head_count);
    m->head_dim = bounded(g->key_length       ? g->key_length
                          : g->head_count > 0 ? g->embedding_length / g->head_count
                                              : 0);
    m->inter = bounded(gguf_list_greatest(&g->feed_forward));
    m->vocab = bounded(g->vocab_size);
    m->tied = g->output_bytes == 0;
    m->plain_mlp = model_is_plain(g->architecture);
    fill_experts(g, m);
    m->window = bounded(g->sliding_window);
    m->window_layers = windowed_layers(g, m->layers);
}

/* A file does not tell all of latent attention; its name may. */
static int fill_latent(const char *path, const struct gguf_info *g, struct preset_model *ret,
                       struct error *reterr)
{
    const struct planner_model *m = planner_find_model(g->name);

    if (!m || m->kv_lora != g->kv_lora_rank || m->hidden != g->embedding_length) {
        return error_set(reterr, -ENOTSUP,
                         "%s: a GGUF does not tell the sizes of latent attention; take the "
                         "model's config.json",
                         path);
    }
    preset_model_of(ret, m);
    return 0;
}

static int check_gguf(const char *path, struct preset_model *ret, struct error *reterr)
{
    json_t *o = preset_model_to_json(&ret->model);
    struct preset_model checked;
    int r = preset_model_from_json(NULL, o, &checked, reterr);

    json_decref(o);
    return r < 0 ? error_prefix(reterr, "%s: ", path) : 0;
}

static int import_gguf(const char *path, struct preset_model *ret, struct error *reterr)
{
    struct gguf_info *g = xcalloc(1, sizeof(*g));
    struct preset_model m = { .format = -1 };
    const char *base = strrchr(path, '/');
    int r = gguf_read_file(path, g, reterr);

    if (r == 0) {
        m.model.name = m.name;
        m.model.source = m.source;
        if (g->kv_lora_rank > 0) {
            r = fill_latent(path, g, &m, reterr);
        } else {
            fill_by_gguf(g, &m);
        }
    }
    if (r == 0) {
        preset_name_copy(m.name, *g->name ? g->name : base ? base + 1 : path);
        preset_name_copy(m.source, "GGUF file");
        m.format = format_of_file(g);
        r = check_gguf(path, &m, reterr);
    }
    free(g);
    if (r == 0) {
        preset_model_copy(ret, &m);
    }
    return r;
}

/* ---- a topology ---- */

/* The file, or the only one of its topologies; borrowed. */
static const json_t *only_topology(const json_t *root)
{
    json_t *all = json_object_get(root, "topologies");

    if (!json_is_object(root) || !all) {
        return json_is_object(root) ? root : NULL;
    }
    return json_object_size(all) == 1 ? json_object_iter_value(json_object_iter(all)) : NULL;
}

int preset_topology_import(const char *path, json_t **ret, struct error *reterr)
{
    struct buf text = BUF_INIT(YAML_SIZE_MAX);
    struct yaml_document doc;
    const json_t *one;
    int r = preset_read_file(path, YAML_SIZE_MAX, &text, reterr);

    r = r < 0 ? r : yaml_read(buf_span(&text), path, &doc, reterr);
    buf_finish(&text);
    if (r < 0) {
        return r;
    }
    one = only_topology(doc.root);
    if (one) {
        *ret = json_incref(UNCONST(json_t *, one));
    }
    yaml_document_finish(&doc);
    return one ? 0 : error_set(reterr, -EINVAL, "%s: there has to be one topology in it", path);
}

/* ---- a model ---- */

int preset_model_import(const char *path, struct preset_model *ret, struct error *reterr)
{
    struct stat st;
    int r;

    if (stat(path, &st) < 0) {
        r = -errno;
        return error_set(reterr, r, "%s: %s", path, strerror(-r));
    }
    if (S_ISDIR(st.st_mode)) {
        _cleanup_(freep) char *config =
            xasprintf("%s%sconfig.json", path, str_ends(path, "/") ? "" : "/");

        return import_config(config, ret, reterr);
    }
    if (str_ends(path, ".gguf")) {
        return import_gguf(path, ret, reterr);
    }
    return import_config(path, ret, reterr);
}
