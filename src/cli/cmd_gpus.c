// SPDX-License-Identifier: Apache-2.0
/* berth gpus: the devices and what is on them. */
#include "base/mem.h"
#include "cli/commands.h"

static const char *const headings[] = { "INDEX", "NAME", "VENDOR", "MEMORY", "FREE", "FOREIGN",
                                        "BUSY",  "TEMP", "POWER",  "PROCS",  "NOTE" };

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
}

static int run(struct cli *cli)
{
    return cli_list(cli, "/api/v1/system/gpu", NULL, headings, ARRAY_SIZE(headings), add_row);
}

const struct command gpus_command = {
    "gpus", "", "Lists the devices: memory, load, temperature, power, processes.", NULL, 0, 0, run,
};
