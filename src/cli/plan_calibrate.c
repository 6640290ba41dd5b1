// SPDX-License-Identifier: Apache-2.0
/*
 * berth plan calibrate: how far a chip is from what is computed of it, from a CSV of measurements
 * or from what the daemon has learnt of a model's instances, written as a chip for --presets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "cli/cmd_plan.h"

enum { LEARNT_MIN = 5 };

struct figures {
    struct preset_measured *items;
    size_t count;
};

static void add(struct figures *f, const struct preset_measured *one)
{
    f->items = xrealloc(f->items, (f->count + 1) * sizeof(*one));
    f->items[f->count++] = *one;
}

/* ---- of a file ---- */

/* Means and medians are what is computed; a tail is not. */
static bool is_middle(const char *metric, const char *what)
{
    const char *rest = metric + strlen(what);

    return str_starts(metric, what) && (str_eq(rest, "") || str_eq(rest, "_mean") ||
                                        str_eq(rest, "_median") || str_eq(rest, "_p50"));
}

/* Rows of this chip, or of one that the planner does not know: then it is this one. */
static void add_row(struct figures *f, const struct planner_row *row,
                    const struct planner_chip *chip)
{
    const bool unknown = !row->chip && str_starts(row->reason, "unknown chip");
    struct preset_measured m = { .model = row->model,
                                 .engine = row->engine,
                                 .format = row->format,
                                 .kv = row->kv,
                                 .plan = row->plan,
                                 .load = row->load };

    if (!row->model || (row->reason[0] && !unknown) ||
        (row->chip && !str_eq(row->chip->name, chip->kernels ? chip->kernels : chip->name))) {
        return;
    }
    if (is_middle(row->metric, "ttft")) {
        m.ttft_s = row->value / 1e3;
    } else if (is_middle(row->metric, "tpot") || is_middle(row->metric, "itl")) {
        m.tpot_s = row->value / 1e3;
    } else {
        return;
    }
    add(f, &m);
}

static int read_file(const char *path, const struct planner_chip *chip, struct figures *ret)
{
    struct buf text = BUF_INIT(PLAN_FILE_MAX);
    struct planner_rows rows = { 0 };
    struct error e;
    int r = plan_read_file(path, &text);

    if (r == 0) {
        r = planner_rows_parse(buf_data(&text), text.len, &rows, &e);
        if (r < 0) {
            complain("%s: %s", path, e.text);
        }
    }
    buf_finish(&text);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < rows.count; i++) {
        add_row(ret, &rows.rows[i], chip);
    }
    planner_rows_finish(&rows);
    return 0;
}

/* ---- of the daemon ---- */

static double member(const json_t *o, const char *name)
{
    return json_number_value(json_object_get(o, name));
}

/* What dispatch predicts of a prompt that came now is what it has learnt of this instance. */
static void add_instance(struct figures *f, const struct plan_request *r, const json_t *instance)
{
    const json_t *p = json_object_get(instance, "predicted");
    const double osl = member(p, "output_tokens"), isl = member(p, "prompt_tokens");
    struct preset_measured m = { .model = &r->model.model,
                                 .engine = r->engine,
                                 .format = r->format,
                                 .kv = r->kv,
                                 .plan = r->plan,
                                 .ttft_s = member(p, "prefill_ms") / 1e3,
                                 .tpot_s = member(p, "ms_per_output_token") / 1e3 };

    if (member(p, "learnt_from") < LEARNT_MIN || isl < 1) {
        return;
    }
    m.load = (struct planner_load){ .isl = isl,
                                    .osl = osl >= 1 ? osl : 1,
                                    .concurrency = r->question.concurrency };
    add(f, &m);
}

static int read_daemon(struct cli *cli, const struct plan_request *r, const char *id,
                       struct figures *ret)
{
    struct reply reply;
    const json_t *list, *one;
    size_t i;
    int code = cli_ask(cli, "GET", "/api/instances", NULL, &reply);

    if (code != 0) {
        return code;
    }
    list = json_object_get(reply.json, "instances");
    json_array_foreach(UNCONST(json_t *, list), i, one)
    {
        if (str_eq(member_str(one, "model", ""), id)) {
            add_instance(ret, r, one);
        }
    }
    reply_finish(&reply);
    if (ret->count == 0) {
        complain("no instance of %s has answered %d requests yet", id, LEARNT_MIN);
        return error_kind(-ENODATA)->exit_code;
    }
    return 0;
}

/* ---- writing ---- */

static void write_yaml(FILE *out, const char *name, const char *base,
                       const struct planner_chip *chip, size_t figures)
{
    json_t *quoted = json_string(name), *preset = json_string(base);
    char *q = json_dumps(quoted, JSON_ENCODE_ANY), *p = json_dumps(preset, JSON_ENCODE_ANY);

    fprintf(out,
            "# from %zu measured figures; times: measured over computed\n"
            "chips:\n"
            "  %s:\n"
            "    preset: %s\n",
            figures, q, p);
    if (chip->decode_times > 0) {
        fprintf(out, "    decode_times: %.4g\n", chip->decode_times);
    }
    if (chip->prefill_times > 0) {
        fprintf(out, "    prefill_times: %.4g\n", chip->prefill_times);
    }
    free(q);
    free(p);
    json_decref(quoted);
    json_decref(preset);
}

static int write_chip(const struct cli *cli, const struct planner_chip *chip, size_t figures)
{
    const char *path = cli_value(cli, "out"), *name = cli_value(cli, "name");
    FILE *out = path ? fopen(path, "w") : stdout;
    bool bad;

    if (!out) {
        complain("--out: %s: %s", path, strerror(errno));
        return 1;
    }
    write_yaml(out, name ? name : chip->name, chip->name, chip, figures);
    bad = ferror(out) != 0;
    bad = (path ? fclose(out) : fflush(out)) != 0 || bad;
    if (bad) {
        complain("cannot write %s", path ? path : "the chip");
    }
    return bad ? 1 : 0;
}

/* ---- the command ---- */

static int calibrate(const struct cli *cli, struct planner_chip *chip, const struct figures *f)
{
    struct error e = { 0 };
    const int r = preset_chip_calibrate(chip, f->items, f->count, &e);

    if (r < 0) {
        complain("%s", e.text);
        return error_kind(r)->exit_code;
    }
    return write_chip(cli, chip, f->count);
}

static int by_file(const struct cli *cli, const struct presets *presets, const char *path)
{
    const char *name = cli_value(cli, "chip");
    struct figures f = { 0 };
    struct preset_chip chip;
    struct error e = { 0 };
    json_t *text = name ? json_string(name) : NULL;
    int code = error_kind(-EINVAL)->exit_code;

    if (!text) {
        complain("plan calibrate needs --chip");
    } else if (preset_chip_from_json(presets, text, &chip, &e) < 0) {
        complain("--chip: %s", e.text);
    } else if (read_file(path, &chip.chip, &f) < 0) {
        code = 1;
    } else if (f.count == 0) {
        complain("%s: no row of it measures a first token or a token's time on %s", path,
                 chip.chip.name);
        code = error_kind(-ENODATA)->exit_code;
    } else {
        code = calibrate(cli, &chip.chip, &f);
    }
    json_decref(text);
    free(f.items);
    return code;
}

static int by_daemon(struct cli *cli, const struct presets *presets, const char *id)
{
    struct plan_request *r = xcalloc(1, sizeof(*r));
    struct figures f = { 0 };
    int code = error_kind(-EINVAL)->exit_code;

    if (plan_ask(cli, presets, r) == 0) {
        if (!r->manual) {
            r->plan = (struct planner_plan){ 1, 1, 1, 1, 1, 1, false };
        }
        if (r->question.concurrency <= 0) {
            r->question.concurrency = r->plan.replicas;
        }
        code = read_daemon(cli, r, id, &f);
        code = code ? code : calibrate(cli, &r->chip.chip, &f);
    }
    free(f.items);
    free(r);
    return code;
}

/* Whether a file could be read back that gives a chip this name. */
static bool is_name(const char *name)
{
    struct presets *book = presets_create();
    json_t *document = json_pack("{s:{s:{s:s}}}", "chips", name, "preset", "h100-sxm");
    struct error e = { 0 };
    const bool good = document && presets_add(book, document, &e) == 0;

    if (!good) {
        complain("--name: %s", document ? e.text : "it is no text");
    }
    json_decref(document);
    presets_destroy(book);
    return good;
}

int plan_calibrate(struct cli *cli, const struct presets *presets, const char *what)
{
    const char *name = cli_value(cli, "name");
    struct stat st;

    if (!what) {
        complain("plan: say 'plan calibrate FILE.csv' or 'plan calibrate MODEL', a model of the "
                 "daemon's");
        return error_kind(-EINVAL)->exit_code;
    }
    if (name && !is_name(name)) {
        return error_kind(-EINVAL)->exit_code;
    }
    /* a file that is not there is told as one when it looks like one */
    return stat(what, &st) == 0 || str_ends(what, ".csv") ? by_file(cli, presets, what)
                                                          : by_daemon(cli, presets, what);
}
