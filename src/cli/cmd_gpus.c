// SPDX-License-Identifier: Apache-2.0
/*
 * berth gpus: the devices, how they are, and what is placed on them. The two doors that tell it are
 * put together by the device's index.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "INDEX",   "NAME",     "VENDOR", "MEMORY", "FREE",
                                        "FOREIGN", "BUSY",     "TEMP",   "POWER",  "PROCS",
                                        "NOTE",    "RESERVED", "ROOM",   "MODELS" };

enum { MODELS_MAX_BYTES = 64 * 1024 };

/* A figure with its unit, or "-" where the device does not tell it. */
static void add_figure(struct table *t, const json_t *device, const char *name, const char *unit)
{
    size_t i;
    json_t *missing;

    json_array_foreach(json_object_get(device, "not_told"), i, missing)
    {
        if (str_eq(json_string_value(missing), name)) {
            table_cell(t, "-");
            return;
        }
    }
    table_cell(t, "%.0f%s", json_number_value(json_object_get(device, name)), unit);
}

static void add_memory(struct table *t, const json_t *device, const char *name)
{
    table_cell(t, "%.1fG", (double)member_int(device, name) / 1024);
}

/* "chat 15.0G, draft 8.0G": measured, else reserved. Owned by the caller. */
static char *models_on(const json_t *device)
{
    struct buf b = BUF_INIT(MODELS_MAX_BYTES);
    size_t i;
    json_t *model;

    json_array_foreach(json_object_get(device, "allocated_models"), i, model)
    {
        const json_t *taken = json_object_get(model, "memory_usage");
        char size[SIZE_SIZE];

        format_size(json_is_number(taken) ? json_number_value(taken)
                                          : (double)member_int(model, "memory_reserved"),
                    size);
        buf_printf(&b, "%s%s %s", i > 0 ? ", " : "", member_str(model, "model_id", "?"), size);
    }
    return buf_take(&b, NULL);
}

/* What placement counts on the device; "-" when it does not. */
static void add_placed(struct table *t, const json_t *device)
{
    const json_t *placement = json_object_get(device, "placement");
    _cleanup_(freep) char *models = models_on(device);

    if (placement) {
        add_memory(t, placement, "reserved");
        add_memory(t, placement, "free");
    } else {
        table_cell(t, "-");
        table_cell(t, "-");
    }
    table_cell(t, "%s", models);
}

static void add_row(const struct cli *cli, struct table *t, const json_t *device)
{
    const bool cpu = json_is_true(json_object_get(device, "cpu"));
    const char *status = member_str(device, "status", "ok");

    table_cell(t, "%lld", (long long)member_int(device, "device_id"));
    table_cell(t, "%s", member_str(device, "name", "?"));
    table_cell(t, "%s", cpu ? "cpu" : member_str(device, "vendor", "?"));
    add_memory(t, device, "memory_total");
    add_memory(t, device, "memory_free");
    add_memory(t, device, "memory_foreign");
    add_figure(t, device, "utilization", "%");
    add_figure(t, device, "temperature", "C");
    add_figure(t, device, "power_usage", "W");
    table_cell(t, "%zu", json_array_size(json_object_get(device, "processes")));
    table_cell(t, "%s%s", json_is_true(json_object_get(device, "mig")) ? "MIG " : "",
               str_eq(status, "ok") ? "" : status);
    add_placed(t, device);
}

/* Adds to each device what placement tells of it. */
static void join_placement(json_t *devices, const json_t *placed)
{
    size_t i, j;
    json_t *device, *row;

    json_array_foreach(devices, i, device)
    {
        json_array_foreach(placed, j, row)
        {
            if (member_int(row, "gpu_id") == member_int(device, "device_id")) {
                json_object_set(device, "allocated_models",
                                json_object_get(row, "allocated_models"));
                json_object_set(device, "placement", json_object_get(row, "placement"));
            }
        }
    }
}

static void print_devices(const struct cli *cli, const json_t *devices)
{
    struct table *t = table_create(headings, ARRAY_SIZE(headings));
    size_t i;
    json_t *device;

    json_array_foreach(devices, i, device)
    {
        add_row(cli, t, device);
    }
    table_print(t, stdout, cli->color);
    table_free(t);
}

static int run(struct cli *cli)
{
    struct reply devices, placed;
    int code = cli_ask(cli, "GET", "/api/v1/system/gpu", NULL, &devices);

    if (code != 0) {
        return code;
    }
    code = cli_ask(cli, "GET", "/api/v1/scheduler/resources", NULL, &placed);
    if (code == 0) {
        join_placement(devices.json, json_object_get(placed.json, "gpu_allocation"));
        if (cli->json) {
            print_json(devices.json);
        } else {
            print_devices(cli, devices.json);
        }
        reply_finish(&placed);
    }
    reply_finish(&devices);
    return code;
}

const struct command gpus_command = {
    "gpus",
    "",
    "Lists the devices: memory, load, temperature, power, processes, what is placed there.",
    NULL,
    0,
    0,
    run,
};
