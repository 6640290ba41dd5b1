// SPDX-License-Identifier: Apache-2.0
/*
 * llama-server's memory. Settings are read as the server would: the parameters' own names first,
 * then additional_parameters, of which the last one counts. What is not known counts as the
 * server's default.
 */
#include "engines/llamacpp_need.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "engines/devices.h"
#include "engines/parameters.h"
#include "planner/need.h"

#define MIB ((uint64_t)1 << 20)

enum {
    DEFAULT_UBATCH = 512,
    DEFAULT_BATCH = 2048,
    CELLS_STEP = 256,
    ALL_LAYERS = -1,
    /* Measured: libraries and a bare process; what the vocabulary's tables take of each token. */
    PROCESS_MIB = 24,
    BYTES_PER_TOKEN = 250,
    /* A CUDA or HIP context: on the device, and of the host. */
    DEVICE_RUNTIME_MIB = 400,
    HOST_RUNTIME_MIB = 400,
};

struct settings {
    int64_t ctx_size, slots, ubatch, batch, gpu_layers, cpu_expert_layers, cache_ram_mib;
    bool total; /* ctx_size is that of all slots */
    bool unified, flash_attention, repack, mapped, kv_offload, whole_windows, split;
    struct kv_type k, v;
    uint64_t more_bytes; /* of other files that are loaded: projector, draft, adapters */
};

/* ---- settings ---- */

static uint64_t file_bytes(const char *path)
{
    struct stat st;

    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
}

static bool is_off(const char *word)
{
    return word && (str_eq(word, "off") || str_eq(word, "0") || str_eq(word, "false"));
}

static void read_type(const char *name, struct kv_type *ret)
{
    if (name) {
        (void)!kv_type_from_string(name, ret);
    }
}

static void read_parameters(const struct engine_context *c, struct settings *s)
{
    const struct model_config *m = c->model;
    const char *split = parameter_text(m, "split_mode");

    *s = (struct settings){
        .ctx_size = parameter_int(m, "ctx_size", LLAMACPP_CTX_SIZE),
        .slots = parameter_slots(c),
        .ubatch = parameter_int(m, "ubatch_size", DEFAULT_UBATCH),
        .batch = parameter_int(m, "batch_size", DEFAULT_BATCH),
        .gpu_layers = parameter_int(m, "n_gpu_layers", ALL_LAYERS),
        .cache_ram_mib = parameter_int(m, "cache_ram", 0),
        .unified = parameter_bool(m, "kv_unified", false),
        .flash_attention =
            parameter_bool(m, "flash_attn", true) && !is_off(parameter_text(m, "flash_attn")),
        .repack = true,
        .mapped = !parameter_bool(m, "no_mmap", false),
        .kv_offload = true,
        .split = !split || !str_eq(split, "none"),
        .k = { 1, 2 },
        .v = { 1, 2 },
        .more_bytes = file_bytes(parameter_text(m, "mmproj")),
    };
    s->total = s->unified;
    read_type(parameter_text(m, "cache_type_k"), &s->k);
    read_type(parameter_text(m, "cache_type_v"), &s->v);
}

/* Flags of the server that change what it takes. */
struct flag {
    const char *names[3];
    void (*set)(struct settings *s, const char *value);
    bool alone; /* has no value */
};

static void set_ctx(struct settings *s, const char *v)
{
    s->ctx_size = atoll(v);
    s->total = true;
}
static void set_slots(struct settings *s, const char *v)
{
    s->slots = atoll(v);
}
static void set_ubatch(struct settings *s, const char *v)
{
    s->ubatch = atoll(v);
}
static void set_batch(struct settings *s, const char *v)
{
    s->batch = atoll(v);
}
static void set_gpu_layers(struct settings *s, const char *v)
{
    s->gpu_layers = *v >= '0' && *v <= '9' ? atoll(v) : ALL_LAYERS;
}
static void set_type_k(struct settings *s, const char *v)
{
    read_type(v, &s->k);
}
static void set_type_v(struct settings *s, const char *v)
{
    read_type(v, &s->v);
}
static void set_flash(struct settings *s, const char *v)
{
    s->flash_attention = !is_off(v);
}
static void set_cache_ram(struct settings *s, const char *v)
{
    s->cache_ram_mib = atoll(v);
}
static void set_cpu_experts(struct settings *s, const char *v)
{
    s->cpu_expert_layers = atoll(v);
}
static void set_all_cpu_experts(struct settings *s, const char *v)
{
    s->cpu_expert_layers = MODEL_LAYERS_MAX;
}
static void set_unified(struct settings *s, const char *v)
{
    s->unified = true;
}
static void set_no_kv_offload(struct settings *s, const char *v)
{
    s->kv_offload = false;
}
static void set_no_repack(struct settings *s, const char *v)
{
    s->repack = false;
}
static void set_no_mmap(struct settings *s, const char *v)
{
    s->mapped = false;
}
static void set_load_mode(struct settings *s, const char *v)
{
    s->mapped = strstr(v, "mmap") || str_eq(v, "auto");
}
static void set_whole_windows(struct settings *s, const char *v)
{
    s->whole_windows = true;
}
static void set_split(struct settings *s, const char *v)
{
    s->split = !str_eq(v, "none");
}
static void add_file(struct settings *s, const char *v)
{
    s->more_bytes += file_bytes(v);
}

// clang-format off
static const struct flag flags[] = {
    { { "--ctx-size", "-c" },                          set_ctx,             false },
    { { "--parallel", "-np" },                         set_slots,           false },
    { { "--ubatch-size", "-ub" },                      set_ubatch,          false },
    { { "--batch-size", "-b" },                        set_batch,           false },
    { { "--n-gpu-layers", "--gpu-layers", "-ngl" },    set_gpu_layers,      false },
    { { "--cache-type-k", "-ctk" },                    set_type_k,          false },
    { { "--cache-type-v", "-ctv" },                    set_type_v,          false },
    { { "--flash-attn", "-fa" },                       set_flash,           false },
    { { "--cache-ram", "-cram" },                      set_cache_ram,       false },
    { { "--n-cpu-moe", "-ncmoe" },                     set_cpu_experts,     false },
    { { "--load-mode", "-lm" },                        set_load_mode,       false },
    { { "--split-mode", "-sm" },                       set_split,           false },
    { { "--mmproj", "-mm" },                           add_file,            false },
    { { "--model-draft", "--spec-draft-model", "-md" }, add_file,           false },
    { { "--lora" },                                    add_file,            false },
    { { "--cpu-moe", "-cmoe" },                        set_all_cpu_experts, true },
    { { "--kv-unified", "-kvu" },                      set_unified,         true },
    { { "--no-kv-offload", "-nkvo" },                  set_no_kv_offload,   true },
    { { "--no-repack", "-nr" },                        set_no_repack,       true },
    { { "--no-mmap" },                                 set_no_mmap,         true },
    { { "--swa-full" },                                set_whole_windows,   true },
};
// clang-format on

static const struct flag *find_flag(const char *word)
{
    for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
        for (size_t n = 0; n < ARRAY_SIZE(flags[i].names) && flags[i].names[n]; n++) {
            if (str_eq(flags[i].names[n], word)) {
                return &flags[i];
            }
        }
    }
    return NULL;
}

static void read_additional(const struct model_config *model, struct settings *s)
{
    _cleanup_(str_list_freep) char **words = NULL;
    struct error err = { 0 };

    if (!model->additional_parameters ||
        str_split_words(model->additional_parameters, &words, &err) < 0) {
        return;
    }
    for (char **word = words; *word; word++) {
        const struct flag *flag = find_flag(*word);

        if (flag && flag->alone) {
            flag->set(s, NULL);
        } else if (flag && word[1]) {
            flag->set(s, *++word);
        }
    }
}

/* A definition that breaks rules may be stored: no figure of it may lead astray. */
static int64_t within(int64_t n, int64_t min, int64_t max)
{
    return MIN_OF(MAX_OF(n, min), max);
}

static void read_settings(const struct engine_context *c, struct settings *s)
{
    read_parameters(c, s);
    read_additional(c->model, s);
    s->ctx_size = within(s->ctx_size, 1, INT32_MAX);
    s->slots = within(s->slots, 1, 65536);
    s->batch = within(s->batch, 1, INT32_MAX);
    s->ubatch = within(s->ubatch, 1, s->batch);
    s->cache_ram_mib = within(s->cache_ram_mib, 0, INT32_MAX);
    s->gpu_layers = within(s->gpu_layers, ALL_LAYERS, INT32_MAX);
}

/* ---- the CPU ---- */

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (const char *at = text; (at = strstr(at, word)); at += n) {
        if ((at == text || at[-1] == ' ' || at[-1] == '\t') &&
            (at[n] == '\0' || at[n] == ' ' || at[n] == '\n')) {
            return true;
        }
    }
    return false;
}

/* llama.cpp: ggml_repack_get_optimal_repack_type, and the types that AMX has kernels for. */
bool llamacpp_repacks(const char *features, uint32_t type)
{
    enum {
        F16 = 1,
        Q4_0 = 2,
        Q4_1 = 3,
        Q8_0 = 8,
        Q2_K = 10,
        Q4_K = 12,
        Q5_K = 13,
        Q6_K = 14,
        IQ4_NL = 20,
        IQ4_XS = 23,
        MXFP4 = 39
    };
    static const struct {
        const char *feature;
        uint32_t types[10];
    } rows[] = {
        { "amx_int8", { F16, Q4_0, Q4_1, Q8_0, Q4_K, Q5_K, Q6_K, IQ4_XS } },
        { "avx2", { Q4_0, Q4_K, IQ4_NL, MXFP4 } },
        { "avx512f", { Q2_K } },
        { "asimddp", { Q4_0, Q4_K, Q5_K, Q6_K, Q8_0, IQ4_NL, MXFP4 } },
    };

    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        for (const uint32_t *t = rows[i].types; *t && has_word(features, rows[i].feature); t++) {
            if (*t == type) {
                return true;
            }
        }
    }
    return false;
}

/* The machine's, read once: they do not change. */
static const char *cpu_features(void)
{
    static char line[8192];
    FILE *f;

    if (line[0]) {
        return line;
    }
    f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (str_starts(line, "flags") || str_starts(line, "Features")) {
            break;
        }
        line[0] = '\0';
    }
    if (f) {
        fclose(f);
    }
    if (!line[0]) {
        snprintf(line, sizeof(line), "none");
    }
    return line;
}

static uint64_t repacked_bytes(const struct settings *s, const struct model_facts *f)
{
    uint64_t sum = 0;

    for (uint32_t type = 0; s->repack && type < GGUF_TYPES; type++) {
        if (f->matrix_bytes[type] && llamacpp_repacks(cpu_features(), type)) {
            sum += f->matrix_bytes[type];
        }
    }
    return sum;
}

/* ---- the estimate ---- */

/* Cells as llama.cpp counts them: each sequence has a stream of its own, or all share one. */
struct cells {
    uint64_t streams, of_stream, of_window; /* of_window: of all streams */
};

static struct cells count_cells(const struct settings *s, const struct model_facts *f)
{
    uint64_t total = (uint64_t)(s->total ? s->ctx_size : s->ctx_size * s->slots);
    uint64_t streams = s->unified ? 1 : (uint64_t)s->slots;
    uint64_t each = (total / streams + CELLS_STEP - 1) / CELLS_STEP * CELLS_STEP;
    struct cells cells = { streams, each, each * streams };

    if (f->window && !s->whole_windows) {
        cells.of_window = llamacpp_window_cells(each, streams, (uint64_t)s->slots, f->window,
                                                (uint64_t)s->ubatch);
    }
    return cells;
}

/* Layers from here on are the devices'; the output is the last "layer". */
static unsigned first_offloaded(const struct settings *s, const struct model_facts *f)
{
    uint64_t layers = f->layer_count + 1u;

    return s->gpu_layers == ALL_LAYERS || (uint64_t)s->gpu_layers >= layers
               ? 0
               : (unsigned)(layers - (uint64_t)s->gpu_layers);
}

/* What lies where. */
struct parts {
    uint64_t device_weights, device_kv, host_weights, host_kv;
};

static void add_layers(const struct settings *s, const struct model_facts *f, unsigned first,
                       struct parts *p)
{
    struct cells cells = count_cells(s, f);
    const struct kv_cache cache = { s->k, s->v, cells.streams * cells.of_stream, cells.of_window };

    for (unsigned i = 0; i < f->layer_count; i++) {
        const struct model_layer *l = &f->layers[i];
        uint64_t kv = kv_layer_bytes(&cache, l->k_values, l->v_values, l->windowed) +
                      l->state_bytes * (uint64_t)s->slots;
        uint64_t kept = i < s->cpu_expert_layers ? l->expert_bytes : 0;

        if (i < first) {
            p->host_weights += l->weight_bytes;
            p->host_kv += kv;
        } else {
            p->device_weights += l->weight_bytes - kept;
            p->host_weights += kept;
            *(s->kv_offload ? &p->device_kv : &p->host_kv) += kv;
        }
    }
}

/* The input embedding stays with the host, and serves as output there without a copy. */
static void add_rest(const struct model_facts *f, bool output_offloaded, struct parts *p)
{
    uint64_t placed = p->device_weights + p->host_weights;
    uint64_t rest = f->weight_bytes > placed ? f->weight_bytes - placed : 0;
    uint64_t output = MIN_OF(f->output_bytes, rest);

    if (output_offloaded) {
        p->device_weights += output ? output : f->embedding_bytes;
        p->host_weights += rest - output;
    } else {
        p->host_weights += rest;
    }
}

static struct llamacpp_graph graph_of(const struct settings *s, const struct model_facts *f)
{
    struct cells cells = count_cells(s, f);
    uint64_t widest = 0;
    bool windows = false;

    for (unsigned i = 0; i < f->layer_count; i++) {
        widest = MAX_OF(widest, (uint64_t)f->layers[i].k_values + f->layers[i].v_values);
        windows |= f->layers[i].windowed;
    }
    return (struct llamacpp_graph){
        .hidden = f->hidden,
        .feed_forward = f->feed_forward,
        .heads = f->heads,
        .qkv_values = f->heads * f->head_values + widest,
        .vocab = f->vocab,
        .experts_used = f->experts ? f->experts_used : 0,
        .expert_feed_forward = f->expert_feed_forward ? f->expert_feed_forward
                               : f->experts           ? f->feed_forward
                                                      : 0,
        .ubatch = (uint64_t)s->ubatch,
        .cells = cells.of_stream,
        .window_cells = windows ? cells.of_window / cells.streams : 0,
        .sequences = (uint64_t)s->slots,
        .flash_attention = s->flash_attention,
    };
}

static uint64_t process_bytes(const struct settings *s, const struct model_facts *f)
{
    return PROCESS_MIB * MIB + BYTES_PER_TOKEN * f->vocab + (uint64_t)s->cache_ram_mib * MIB;
}

/* The mapping is cut back to what is used of it: the output stands at one of its ends, so, when it
 * was copied, its pages go before the cache comes. */
static uint64_t unmapped_bytes(const struct settings *s, const struct model_facts *f,
                               uint64_t later_bytes)
{
    bool copied = s->mapped && s->repack && llamacpp_repacks(cpu_features(), f->output_type);

    return copied ? MIN_OF(f->output_bytes, later_bytes) : 0;
}

static void need_on_host(const struct settings *s, const struct model_facts *f,
                         const struct parts *p, struct memory_need *ret)
{
    uint64_t second = s->mapped ? repacked_bytes(s, f) : 0;

    ret->runtime_bytes = process_bytes(s, f);
    ret->kv_bytes = p->host_kv;
    ret->weight_bytes = p->host_weights + second + s->more_bytes -
                        MIN_OF(second, unmapped_bytes(s, f, ret->kv_bytes));
    ret->split_bytes = ret->weight_bytes + ret->kv_bytes;
    ret->fixed_bytes = ret->compute_bytes + ret->runtime_bytes;
    ret->min_devices = ret->max_devices = 1;
}

static void need_on_devices(const struct settings *s, const struct model_facts *f,
                            const struct parts *p, struct memory_need *ret)
{
    ret->runtime_bytes = DEVICE_RUNTIME_MIB * MIB;
    ret->weight_bytes = p->device_weights + s->more_bytes;
    ret->kv_bytes = p->device_kv;
    ret->split_bytes = ret->weight_bytes + ret->kv_bytes;
    ret->fixed_bytes = ret->compute_bytes + ret->runtime_bytes;
    ret->host_bytes = p->host_weights + p->host_kv + process_bytes(s, f) + HOST_RUNTIME_MIB * MIB;
    ret->min_devices = 1;
    ret->max_devices =
        s->split ? (unsigned)within((int64_t)f->layer_count, 1, PLACE_DEVICES_MAX) : 1;
}

void llamacpp_need(const struct engine_context *c, const struct model_facts *facts,
                   struct memory_need *ret)
{
    struct gpus gpus = gpus_of(c->gpu);
    bool on_host = devices_are_host(c->model, &gpus);
    struct llamacpp_graph graph;
    struct parts parts = { 0 };
    struct settings s;
    unsigned first;

    *ret = (struct memory_need){ .min_devices = 1, .max_devices = on_host ? 1 : PLACE_DEVICES_MAX };
    read_settings(c, &s);
    if (!facts || facts->weight_bytes == 0) {
        return;
    }
    first = on_host ? facts->layer_count + 1 : first_offloaded(&s, facts);
    add_layers(&s, facts, first, &parts);
    add_rest(facts, first <= facts->layer_count, &parts);
    graph = graph_of(&s, facts);
    ret->compute_bytes = llamacpp_compute_bytes(&graph) + llamacpp_output_bytes(&graph);
    if (on_host) {
        need_on_host(&s, facts, &parts, ret);
    } else {
        need_on_devices(&s, facts, &parts, ret);
    }
    ret->estimated_bytes = ret->split_bytes + ret->fixed_bytes;
}
