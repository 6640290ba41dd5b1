// SPDX-License-Identifier: Apache-2.0
/*
 * berth why: where a model is, or why it is not anywhere. The sentence first, then what it needs
 * and how that is known, its instances, what each device could give, and who could make room.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

enum { LINE_MAX_BYTES = 16 * 1024 };

static const char *const headings[] = { "DEVICE", "NAME",     "PLACEABLE", "FREE",
                                        "OTHERS", "BY MOVES", "NEED" };

static void format_bytes(const json_t *object, const char *name, char out[SIZE_SIZE])
{
    format_size(json_number_value(json_object_get(object, name)) / (1024 * 1024), out);
}

/* ", name 1.2G" when there is any. */
static void add_part(struct buf *line, const json_t *need, const char *member, const char *name)
{
    char size[SIZE_SIZE];

    if (json_number_value(json_object_get(need, member)) > 0) {
        format_bytes(need, member, size);
        buf_printf(line, "%s%s %s", line->len > 0 ? ", " : "", name, size);
    }
}

struct part {
    const char *member, *name;
};

/* "label  a 1.2G, b 3.4G", unless all of them are nothing. */
static void print_parts(const char *label, const json_t *need, const struct part *parts,
                        size_t count)
{
    struct buf line = BUF_INIT(LINE_MAX_BYTES);

    for (size_t i = 0; i < count; i++) {
        add_part(&line, need, parts[i].member, parts[i].name);
    }
    if (line.len > 0) {
        printf("%-10s%s\n", label, buf_data(&line));
    }
    buf_finish(&line);
}

/* ---- what it needs ---- */

/* "8.0G on one device", "85 % of each of 2 devices" */
static void print_need(const json_t *need)
{
    const int64_t devices = MAX_OF(member_int(need, "min_devices"), (int64_t)1);
    const double share = json_number_value(json_object_get(need, "share"));
    const double split = json_number_value(json_object_get(need, "split_bytes"));
    const double fixed = json_number_value(json_object_get(need, "fixed_bytes"));
    char size[SIZE_SIZE];

    printf("%-10s", "needs");
    if (share > 0) {
        printf("%.0f %% of %s", share * 100, devices > 1 ? "each of " : "a device");
    } else {
        format_size((split / (double)devices + fixed) / (1024 * 1024), size);
        printf("%s on %s", size, devices > 1 ? "each of " : "one device");
    }
    if (devices > 1) {
        printf("%lld devices", (long long)devices);
    }
    if (json_number_value(json_object_get(need, "host_bytes")) > 0) {
        format_bytes(need, "host_bytes", size);
        printf(", %s of the host's memory", size);
    }
    printf(" (%s)\n", member_str(need, "source", "unknown"));
}

static void print_needs(const json_t *need)
{
    static const struct part figures[] = { { "declared_bytes", "declared" },
                                           { "estimated_bytes", "estimated" },
                                           { "measured_bytes", "measured" } };
    static const struct part parts[] = { { "weight_bytes", "weights" },
                                         { "kv_bytes", "KV cache" },
                                         { "compute_bytes", "compute" },
                                         { "runtime_bytes", "runtime" } };
    const double load_s = json_number_value(json_object_get(need, "load_seconds"));

    if (!json_is_object(need)) {
        printf("%-10snot known yet: the model's file is being read\n", "needs");
        return;
    }
    print_need(need);
    print_parts("figures", need, figures, ARRAY_SIZE(figures));
    print_parts("parts", need, parts, ARRAY_SIZE(parts));
    if (load_s > 0) {
        printf("%-10s%.1fs last time\n", "loading", load_s);
    }
}

/* ---- where it is ---- */

/* "BEFORE device 0 (8.0G), device 1 (8.0G)"; nothing for no place. */
static void add_place(struct buf *line, const char *before, const json_t *place)
{
    size_t i;
    json_t *share;

    json_array_foreach(json_object_get(place, "devices"), i, share)
    {
        char size[SIZE_SIZE];

        format_bytes(share, "bytes", size);
        buf_printf(line, "%s device %lld (%s)", i > 0 ? "," : before,
                   (long long)member_int(share, "device"), size);
    }
}

static void print_instance(const struct cli *cli, const json_t *inst)
{
    const bool displaced = json_is_true(json_object_get(inst, "displaced"));
    const char *state = member_str(inst, "state", "?"),
               *sentence = member_str(inst, "sentence", "");
    struct buf line = BUF_INIT(LINE_MAX_BYTES);

    if (str_eq(state, "waiting")) {
        state = displaced ? "preempted" : "queued";
    }
    buf_puts(&line, paint_state(cli, state));
    add_place(&line, json_is_true(json_object_get(inst, "reserved")) ? ", reserved:" : " on",
              json_object_get(inst, "place"));
    add_place(&line, "; takes of", json_object_get(inst, "taken"));
    if (sentence[0]) {
        buf_printf(&line, "; %s", sentence);
    }
    printf("%-10s%s\n", "instance", buf_data(&line));
    buf_finish(&line);
}

static void print_instances(const struct cli *cli, const json_t *instances)
{
    size_t i;
    json_t *inst;

    json_array_foreach(instances, i, inst)
    {
        print_instance(cli, inst);
    }
}

/* ---- where it could be ---- */

static void add_bytes(struct table *t, const json_t *device, const char *name)
{
    char size[SIZE_SIZE];

    format_bytes(device, name, size);
    table_cell(t, "%s", size);
}

static void print_candidates(const struct cli *cli, const json_t *devices)
{
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    size_t i;
    json_t *device;

    json_array_foreach(devices, i, device)
    {
        table_cell(t, "%lld", (long long)member_int(device, "device"));
        table_cell(t, "%s", member_str(device, "name", "?"));
        add_bytes(t, device, "placeable_bytes");
        add_bytes(t, device, "free_bytes");
        add_bytes(t, device, "other_bytes");
        add_bytes(t, device, "movable_bytes");
        add_bytes(t, device, "need_bytes");
    }
    table_print(t, stdout, cli->color);
    table_free(t);
}

static void print_why(const struct cli *cli, const json_t *why)
{
    const json_t *devices = json_object_get(why, "candidates"),
                 *moves = json_object_get(why, "moves");
    _cleanup_(freep) char *names = join_members(moves, "");

    printf("%s: %s\n", member_str(why, "model_id", cli->args[0]), member_str(why, "sentence", "?"));
    if (json_array_size(json_object_get(why, "instances")) == 0) {
        return;
    }
    print_needs(json_object_get(why, "need"));
    print_instances(cli, json_object_get(why, "instances"));
    if (json_array_size(devices) > 0) {
        print_candidates(cli, devices);
    }
    if (json_array_size(moves) > 0) {
        printf("room could be made by moving %s\n", names);
    }
}

static int run(struct cli *cli)
{
    _cleanup_(freep) char *path = cli_path("/api/v1/scheduler/why/", cli->args[0], "");
    struct reply reply;
    int code = cli_ask(cli, "GET", path, NULL, &reply);

    if (code != 0) {
        return code;
    }
    if (cli->json) {
        print_json(reply.json);
    } else {
        print_why(cli, reply.json);
    }
    reply_finish(&reply);
    return 0;
}

const struct command why_command = {
    "why", "MODEL", "Says why a model is where it is, or what keeps it waiting.", NULL, 1, 1,
    run,   "MODEL",
};
