// SPDX-License-Identifier: Apache-2.0
/*
 * Chips as people write them: by name, our own members, or those of seed 001's hardware.chip. A
 * name that is known brings its data sheet and its measured kernels; figures that are given win.
 */
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "presets/presets_int.h"

static const double gib_in_gb = 1.073741824;

#define AT(member) offsetof(struct planner_chip, member)
// clang-format off
static const struct figure {
    size_t offset;
    double low, high;
    const char *names[4]; /* ours, then the seed's */
} figures[] = {
    { AT(bf16_tflops),    1e-3, 1e7, { "bf16_tflops", "compute_tflops_fp16", "compute_tflops_bf16" } },
    { AT(fp8_tflops),     0,    1e7, { "fp8_tflops", "compute_tflops_fp8" } },
    { AT(fp4_tflops),     0,    1e7, { "fp4_tflops", "compute_tflops_fp4" } },
    { AT(int8_tops),      0,    1e7, { "int8_tops", "compute_tops_int8" } },
    { AT(bandwidth_gbps), 1e-3, 1e7, { "bandwidth_gbps", "memory_bandwidth_gbps", "dram_bandwidth_gbps" } },
    { AT(scaleup_gbps),   0,    1e6, { "scaleup_gbps" } },
    { AT(scaleout_gbps),  0,    1e6, { "scaleout_gbps" } },
    { AT(tdp_w),          0,    1e6, { "tdp_w" } },
    { AT(price_hour),     0,    1e9, { "price_hour", "cost_per_hour" } },
    { AT(decode_times),   0,    100, { "decode_times" } },
    { AT(prefill_times),  0,    100, { "prefill_times" } },
};

static const char *const known[] = {
    "preset", "name", "aliases", "source", "generation", "kernels", "bf16_tflops", "fp8_tflops", "fp4_tflops", "int8_tops", "memory_gb", "memory_bytes",
    "bandwidth_gbps", "scaleup_gbps", "scaleup_chips", "scaleout_gbps", "tdp_w", "price_hour", "decode_times", "prefill_times", "chip_type",
    "compute_tflops_fp16", "compute_tflops_bf16", "compute_tflops_fp8", "compute_tflops_fp4", "compute_tops_int8", "memory_bandwidth_gbps",
    "dram_bandwidth_gbps", "memory_bandwidth_utilization", "cost_per_hour", "num_cores", "l2_cache_mb", "l2_bandwidth_gbps", "pcie_bandwidth_gbps",
    "pcie_latency_us", "flops_dtype", "compute_tflops", "sram_size_mb", "intra_bw_gbps", "inter_bw_gbps", NULL,
};

static const char *const generations[PLANNER_GEN_MAX_] = {
    [PLANNER_GEN_OTHER] = "other", [PLANNER_GEN_AMPERE] = "ampere", [PLANNER_GEN_ADA] = "ada", [PLANNER_GEN_HOPPER] = "hopper",
    [PLANNER_GEN_BLACKWELL] = "blackwell", [PLANNER_GEN_CDNA] = "cdna", [PLANNER_GEN_TPU] = "tpu", [PLANNER_GEN_APPLE] = "apple",
};
// clang-format on

static int generation_from_string(const char *name)
{
    for (int i = 0; i < PLANNER_GEN_MAX_; i++) {
        if (span_eq_nocase(span_of(name), generations[i])) {
            return i;
        }
    }
    return -1;
}

/* ---- figures ---- */

/* compute_tflops is of the flops_dtype beside it (fp16 when nobody says). */
static void read_peak_by_dtype(const struct fields *f, struct planner_chip *c)
{
    const double peak = fields_number(f, "compute_tflops", 1e-3, 1e7, 0);
    const int format = fields_word(f, "flops_dtype", model_dtype,
                                   "bf16, fp16, fp8, fp4 and int8 are known", PLANNER_BF16);

    if (peak <= 0) {
        return;
    }
    if (format == PLANNER_FP8 || format == PLANNER_INT8) {
        *(format == PLANNER_FP8 ? &c->fp8_tflops : &c->int8_tops) = peak;
        c->bf16_tflops = c->bf16_tflops > 0 ? c->bf16_tflops : peak / 2;
    } else if (format == PLANNER_NVFP4 || format == PLANNER_MXFP4) {
        c->fp4_tflops = peak;
        c->bf16_tflops = c->bf16_tflops > 0 ? c->bf16_tflops : peak / 4;
    } else {
        c->bf16_tflops = peak;
    }
}

/* The other peaks of a known chip keep their ratio to the one that was given. */
static void read_figures(const struct fields *f, struct planner_chip *c)
{
    const double before = c->bf16_tflops;
    double *const others[] = { &c->fp8_tflops, &c->fp4_tflops, &c->int8_tops };

    read_peak_by_dtype(f, c);
    c->bf16_tflops = fields_number(f, fields_pick(f, figures[0].names), 1e-3, 1e7, c->bf16_tflops);
    for (size_t i = 0; before > 0 && i < ARRAY_SIZE(others); i++) {
        *others[i] *= c->bf16_tflops / before;
    }
    for (size_t i = 1; i < ARRAY_SIZE(figures); i++) {
        double *value = (double *)(void *)((char *)c + figures[i].offset);

        *value = fields_number(f, fields_pick(f, figures[i].names), figures[i].low, figures[i].high,
                               *value);
    }
    c->scaleup_chips = fields_count(f, "scaleup_chips", 1, 65536, c->scaleup_chips);
}

/* memory_gb is what the maker prints on the card, and those are GiB; the exact number is
 * memory_bytes. Of a known chip the size on its box is the size it has. */
static void read_memory(const struct fields *f, struct planner_chip *c)
{
    const double told = fields_number(f, "memory_gb", 1e-3, 1e6, 0), was = c->memory_gb;

    if (fields_has(f, "memory_bytes")) {
        c->memory_gb = fields_number(f, "memory_bytes", 1e6, 1e15, 0) / 1e9;
    } else if (told > 0 && (was <= 0 || (fabs(told * gib_in_gb / was - 1) > 0.07 &&
                                         fabs(told / was - 1) > 0.01))) {
        c->memory_gb = told * gib_in_gb;
    }
}

/* A share of the bandwidth that somebody expects; kernels that were measured know better. */
static void read_utilization(const struct fields *f, struct planner_chip *c, bool measured)
{
    const double usual = 0.8;
    const double share = fields_number(f, "memory_bandwidth_utilization", 0.01, 1, usual);

    if (!measured && fields_has(f, "memory_bandwidth_utilization")) {
        c->bandwidth_gbps *= share / usual;
    }
}

/* Seed 001 counts both directions of the links inside a node, and bits between nodes. */
static void read_seed_links(const struct fields *f, struct planner_chip *c)
{
    c->scaleup_gbps = fields_number(f, "intra_bw_gbps", 0, 1e6, 2 * c->scaleup_gbps) / 2;
    c->scaleout_gbps = fields_number(f, "inter_bw_gbps", 0, 1e6, 8 * c->scaleout_gbps) / 8;
}

/* Heard, and nothing here needs them. */
static void read_others(const struct fields *f, struct chip_extras *ret)
{
    fields_number(f, "num_cores", 0, 1e9, 0);
    fields_number(f, "l2_cache_mb", 0, 1e9, 0);
    fields_number(f, "l2_bandwidth_gbps", 0, 1e9, 0);
    fields_number(f, "sram_size_mb", 0, 1e9, 0);
    ret->pcie_gbps = fields_number(f, "pcie_bandwidth_gbps", 0, 1e6, 0);
    ret->pcie_us = fields_number(f, "pcie_latency_us", 0, 1e6, 0);
}

/* ---- a chip ---- */

static bool find_preset(const struct presets *p, const struct fields *f, const char *member,
                        const char *name, struct preset_chip *ret)
{
    const struct planner_chip *c = presets_chip(p, name);
    const char *near[3] = { book_near_chip(p, name), "", "" };
    const size_t own = near[0] ? 1 : 0;

    if (c) {
        preset_chip_of(ret, c);
        return true;
    }
    planner_near_chips(name, near + own, ARRAY_SIZE(near) - own);
    fields_fault(f, -EINVAL, member, "there is no chip '%.64s'; the nearest are %s, %s, %s", name,
                 near[0], near[1], near[2]);
    return false;
}

/* A chip_type that nobody knows is a name only. */
static bool read_base(const struct presets *p, const struct fields *f, struct preset_chip *ret)
{
    const char *preset = fields_text(f, "preset"), *type = fields_text(f, "chip_type");
    const struct planner_chip *c;

    if (preset) {
        return find_preset(p, f, "preset", preset, ret);
    }
    c = type ? presets_chip(p, type) : NULL;
    if (c) {
        preset_chip_of(ret, c);
    } else if (type && *type) {
        preset_name_copy(ret->name, type);
    }
    return c != NULL;
}

static void read_names(const struct fields *f, struct preset_chip *ret, bool based)
{
    const char *name = fields_text(f, "name"), *source = fields_text(f, "source");

    ret->chip.generation =
        (enum planner_generation)fields_word(f, "generation", generation_from_string,
                                             "ampere, ada, hopper, blackwell, cdna, tpu, apple and "
                                             "other are known",
                                             (int)ret->chip.generation);
    if (name && *name) {
        preset_name_copy(ret->name, name);
    } else if (!*ret->name) {
        preset_name_copy(ret->name, "unnamed");
    }
    if (source || !based) {
        preset_name_copy(ret->source, source ? source : "given");
    }
}

/* Whose measured kernels count, by name: of the planner's own chips only. */
static void read_kernels(const struct fields *f, struct planner_chip *c)
{
    const char *name = fields_text(f, "kernels");
    const struct planner_chip *like = name ? planner_find_chip(name) : NULL;

    if (like) {
        c->kernels = like->name;
    } else if (name) {
        fields_fault(f, -EINVAL, "kernels", "there is no chip '%.64s' with measured kernels", name);
    }
}

static void check_chip(const struct fields *f, const struct planner_chip *c)
{
    const struct {
        double value;
        const char *ours, *seeds;
    } needed[] = { { c->bf16_tflops, "bf16_tflops", "compute_tflops_fp16" },
                   { c->memory_gb, "memory_gb", "memory_gb" },
                   { c->bandwidth_gbps, "bandwidth_gbps", "memory_bandwidth_gbps" } };

    for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
        if (needed[i].value <= 0) {
            fields_fault(f, -EPROTO, fields_has(f, "chip_type") ? needed[i].seeds : needed[i].ours,
                         "this is missing, and the chip is not one that is known");
        }
    }
}

void chip_read(const struct presets *p, const json_t *value, const char *path, struct fault *fault,
               struct preset_chip *ret, struct chip_extras *ret_extras)
{
    struct fields f = { .fault = fault };
    struct chip_extras extras;
    bool based;

    memset(ret, 0, sizeof(*ret));
    ret->chip.name = ret->name;
    ret->chip.source = ret->source;
    ret->chip.aliases = "";
    if (json_is_string(value)) {
        snprintf(f.path, sizeof(f.path), "%s", path);
        find_preset(p, &f, NULL, json_string_value(value), ret);
        return;
    }
    f = fields_of(value, path, fault);
    fields_spelling(&f, known);
    based = read_base(p, &f, ret);
    read_figures(&f, &ret->chip);
    read_memory(&f, &ret->chip);
    read_seed_links(&f, &ret->chip);
    read_utilization(&f, &ret->chip, based);
    read_others(&f, ret_extras ? ret_extras : &extras);
    read_kernels(&f, &ret->chip);
    read_names(&f, ret, based);
    ret->chip.scaleup_chips = ret->chip.scaleup_chips ? ret->chip.scaleup_chips : 1;
    check_chip(&f, &ret->chip);
}

int preset_chip_from_json(const struct presets *p, const json_t *object, struct preset_chip *ret,
                          struct error *reterr)
{
    struct preset_chip c;
    struct fault fault = { 0 };

    chip_read(p, object, "", &fault, &c, NULL);
    if (fault.code == 0) {
        preset_chip_copy(ret, &c);
        return 0;
    }
    fault_result(&fault, NULL, reterr);
    return -EINVAL;
}

json_t *preset_chip_to_json(const struct planner_chip *c)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", json_string(c->name));
    json_object_set_new(o, "generation", json_string(generations[c->generation]));
    json_object_set_new(o, "memory_gb", json_real(round(c->memory_gb / gib_in_gb * 10) / 10));
    json_object_set_new(o, "memory_bytes", json_integer((json_int_t)round(c->memory_gb * 1e9)));
    for (size_t i = 0; i < ARRAY_SIZE(figures); i++) {
        const double v = *(const double *)(const void *)((const char *)c + figures[i].offset);

        if (v > 0) {
            json_object_set_new(o, figures[i].names[0], json_real(v));
        }
    }
    json_object_set_new(o, "scaleup_chips", json_integer(c->scaleup_chips));
    if (c->kernels && strcmp(c->kernels, c->name) != 0) {
        json_object_set_new(o, "kernels", json_string(c->kernels));
    }
    if (c->aliases && *c->aliases) {
        json_object_set_new(o, "aliases", json_string(c->aliases));
    }
    if (c->source && *c->source) {
        json_object_set_new(o, "source", json_string(c->source));
    }
    return o;
}
