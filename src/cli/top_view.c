// SPDX-License-Identifier: Apache-2.0
/* The overview as text: how the service does, its devices, its models, what happened last. Where
 * rows are scarce the models give way, those that do not run first. */
#include "cli/top_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/event_view.h"

enum { BAR_WIDTH = 20, EVENTS_MAX = 8, TEXT_SIZE = 64 };

/* ---- how the service does ---- */

static double per_second(const json_t *sample, const char *name)
{
    const double seconds = json_number_value(json_object_get(sample, "seconds"));

    return seconds > 0 ? json_number_value(json_object_get(sample, name)) / seconds : 0;
}

/* "210ms", or "-" for null. */
static void format_ms(const json_t *ms, char text[TEXT_SIZE])
{
    const double value = json_number_value(ms);

    if (!json_is_number(ms)) {
        snprintf(text, TEXT_SIZE, "-");
    } else if (value < 10000) {
        snprintf(text, TEXT_SIZE, "%.0fms", value);
    } else {
        snprintf(text, TEXT_SIZE, "%.1fs", value / 1000);
    }
}

static void print_head(FILE *out, const struct cli *cli, const json_t *health, bool lost)
{
    const char *status = lost ? "does not answer; asking again" : member_str(health, "status", "?");
    const char *color = lost ? "\033[31m" : str_eq(status, "healthy") ? "\033[32m" : "\033[33m";
    char up[AGE_SIZE];

    format_age((double)member_int(health, "uptime"), up);
    fprintf(out, "berth %s, up %s: %s%s%s\n", member_str(health, "version", "?"), up,
            cli->color ? color : "", status, cli->color ? "\033[0m" : "");
}

static void print_service(FILE *out, const json_t *sample)
{
    const json_t *first = json_object_get(sample, "first_byte");
    char queue[TEXT_SIZE], mean[TEXT_SIZE], p95[TEXT_SIZE];

    format_ms(json_object_get(json_object_get(sample, "queue"), "mean"), queue);
    format_ms(json_object_get(first, "mean"), mean);
    format_ms(json_object_get(first, "p95"), p95);
    fprintf(out, "requests  %.1f/s, %.1f/s failed; %lld in flight, %lld waiting, %s in the line\n",
            per_second(sample, "requests"), per_second(sample, "errors"),
            (long long)member_int(sample, "in_flight"), (long long)member_int(sample, "waiting"),
            queue);
    fprintf(out, "tokens    %.1f/s out, %.1f/s in; first byte after %s (95%%: %s)\n",
            per_second(sample, "output_tokens"), per_second(sample, "prompt_tokens"), mean, p95);
    fprintf(out, "tasks     %lld pending, %lld running\n",
            (long long)member_int(sample, "tasks_pending"),
            (long long)member_int(sample, "tasks_running"));
}

/* ---- devices ---- */

static const char *const device_headings[] = { "DEVICE", "NAME", "MEMORY", "",
                                               "BUSY",   "",     "TEMP",   "POWER" };

/* "[||||      ]" in the colour of how full it is. */
static void add_bar(const struct cli *cli, struct table *t, double share)
{
    const int full = (int)(MIN_OF(MAX_OF(share, 0.0), 1.0) * BAR_WIDTH + 0.5);
    const char *color = share > 0.9 ? "\033[31m" : share > 0.7 ? "\033[33m" : "\033[32m";
    char bar[BAR_WIDTH + 1];

    memset(bar, '|', (size_t)full);
    bar[full] = '\0';
    table_cell(t, "[%s%s%s%*s]", cli->color ? color : "", bar, cli->color ? "\033[0m" : "",
               BAR_WIDTH - full, "");
}

static bool is_told(const json_t *device, const char *name)
{
    size_t i;
    json_t *missing;

    json_array_foreach(json_object_get(device, "not_told"), i, missing)
    {
        if (str_eq(json_string_value(missing), name)) {
            return false;
        }
    }
    return json_is_number(json_object_get(device, name));
}

static void add_figure(struct table *t, const json_t *device, const char *name, const char *unit)
{
    if (is_told(device, name)) {
        table_cell(t, "%.0f%s", json_number_value(json_object_get(device, name)), unit);
    } else {
        table_cell(t, "-");
    }
}

static void add_device(const struct cli *cli, struct table *t, const json_t *device)
{
    const double total = (double)member_int(device, "memory_total");
    const double used = (double)member_int(device, "memory_used");
    char of[SIZE_SIZE], taken[SIZE_SIZE];

    format_size(used, taken);
    format_size(total, of);
    table_cell(t, "%lld", (long long)member_int(device, "device_id"));
    table_cell(t, "%s", member_str(device, "name", "?"));
    add_bar(cli, t, total > 0 ? used / total : 0);
    table_cell(t, "%s of %s", taken, of);
    add_bar(cli, t,
            is_told(device, "utilization")
                ? json_number_value(json_object_get(device, "utilization")) / 100
                : 0);
    add_figure(t, device, "utilization", "%");
    add_figure(t, device, "temperature", "C");
    add_figure(t, device, "power_usage", "W");
}

static void print_devices(FILE *out, const struct cli *cli, const json_t *devices)
{
    struct table *t = table_create(device_headings, ARRAY_SIZE(device_headings));
    size_t i;
    json_t *device;

    json_array_foreach(devices, i, device)
    {
        add_device(cli, t, device);
    }
    table_print(t, out, cli->color);
    table_free(t);
}

/* ---- models ---- */

static const char *const model_headings[] = { "MODEL", "STATE", "INSTANCES", "IN FLIGHT",
                                              "WAITING" };

/* What a model's instances sum up to. */
struct load {
    int instances, ready;
    int64_t in_flight, waiting;
};

static struct load load_of(const json_t *instances, const char *model)
{
    struct load load = { 0 };
    size_t i;
    json_t *inst;

    json_array_foreach(instances, i, inst)
    {
        if (str_eq(member_str(inst, "model", ""), model)) {
            load.instances++;
            load.ready += str_eq(member_str(inst, "state", ""), "ready");
            load.in_flight += member_int(inst, "in_flight");
            load.waiting += member_int(inst, "waiting");
        }
    }
    return load;
}

static void add_model(const struct cli *cli, struct table *t, const json_t *model,
                      const json_t *instances)
{
    const char *id = member_str(model, "id", "?");
    const struct load load = load_of(instances, id);

    table_cell(t, "%s", id);
    table_cell(t, "%s", paint_state(cli, member_str(model, "status", "?")));
    if (load.instances > 0) {
        table_cell(t, "%d of %d ready", load.ready, load.instances);
    } else {
        table_cell(t, "-");
    }
    table_cell(t, "%lld", (long long)load.in_flight);
    table_cell(t, "%lld", (long long)load.waiting);
}

/* Those that rest come last. limit: how many rows there is place for. */
static void print_models(FILE *out, const struct cli *cli, const struct top_facts *facts,
                         size_t limit)
{
    const json_t *instances = json_object_get(facts->instances, "instances");
    const size_t count = json_array_size(facts->models);
    struct table *t = table_create(model_headings, ARRAY_SIZE(model_headings));
    size_t i, shown = 0;
    json_t *model;

    for (int resting = 0; resting <= 1; resting++) {
        json_array_foreach(facts->models, i, model)
        {
            const bool rests = str_eq(member_str(model, "status", ""), "stopped");

            if (rests == (resting == 1) && shown < limit) {
                add_model(cli, t, model, instances);
                shown++;
            }
        }
    }
    table_print(t, out, cli->color);
    table_free(t);
    if (shown < count) {
        fprintf(out, "… and %zu more\n", count - shown);
    }
}

/* ---- all of it ---- */

static void print_events(FILE *out, const json_t *events)
{
    size_t i;
    json_t *event;

    json_array_foreach(events, i, event)
    {
        const char *at = member_str(event, "at", "?");

        if (i < EVENTS_MAX) {
            event_print(out, strlen(at) >= 19 ? at + 11 : at, event);
        }
    }
}

void top_print(FILE *out, const struct cli *cli, const struct top_facts *facts, int rows, bool lost)
{
    const json_t *events = json_object_get(facts->events, "events");
    const size_t others = 4 + 3 + json_array_size(facts->devices) + 3 +
                          MIN_OF(json_array_size(events), (size_t)EVENTS_MAX);
    const size_t room = rows == 0 ? SIZE_MAX : (size_t)rows > others ? (size_t)rows - others : 1;

    print_head(out, cli, facts->health, lost);
    print_service(out, json_object_get(facts->service, "service"));
    fputc('\n', out);
    print_devices(out, cli, facts->devices);
    fputc('\n', out);
    print_models(out, cli, facts,
                 json_array_size(facts->models) > room ? MAX_OF(room, (size_t)2) - 1 : room);
    fputc('\n', out);
    print_events(out, events);
}
