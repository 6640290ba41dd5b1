// SPDX-License-Identifier: Apache-2.0
/*
 * Devices by a script: a YAML file whose figures change with time, for tests and demonstrations.
 *
 *     repeat: 60s                  # then it begins anew; absent: the last figures stay
 *     devices:
 *       - id: GPU-a                # all of it may be left out but memory_total
 *         name: Test 24G
 *         vendor: nvidia           # nvidia amd intel unknown
 *         memory_total: 24GiB
 *         memory_used: 1GiB
 *         utilization: 5           # also temperature, power, power_limit, clock, memory_clock
 *         processes: [{pid: 4711, memory: 1GiB}]
 *         holders:                 # memory that is used while such a process lives
 *           - {command: model-a, memory: 8GiB, linger: 2s}
 *         timeline:                # from then on these figures hold
 *           - {at: 10s, utilization: 95, memory_used: 20GiB}
 *           - {at: 30s, present: false}
 *
 * A holder is a live process whose command line has `command` in it and whose
 * CUDA_VISIBLE_DEVICES (or HIP_…), if it has one, names this device; its memory stays used for
 * `linger` after it ended. The file is read again when it changed; while it is wrong, what it said
 * before holds.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "codec/yaml_tree.h"
#include "gpu/gpu_probe.h"

enum kind { TEXT, BYTES, DURATION, NUMBER, FLAG, VENDOR, LIST };

struct key {
    const char *name;
    enum kind kind;
    const struct key *items; /* of a list: what its objects may have; NULL ends */
};

// clang-format off
static const struct key process_keys[] = { { "pid", NUMBER }, { "memory", BYTES }, { NULL } };
static const struct key holder_keys[] = {
    { "command", TEXT }, { "memory", BYTES }, { "linger", DURATION }, { NULL } };
#define FIGURES                                                                                    \
    { "memory_used", BYTES }, { "utilization", NUMBER }, { "temperature", NUMBER },                \
    { "power", NUMBER }, { "power_limit", NUMBER }, { "clock", NUMBER },                           \
    { "memory_clock", NUMBER }, { "present", FLAG }, { "processes", LIST, process_keys },          \
    { "holders", LIST, holder_keys }
static const struct key step_keys[] = { { "at", DURATION }, FIGURES, { NULL } };
static const struct key device_keys[] = {
    { "id", TEXT }, { "uuid", TEXT }, { "pci", TEXT }, { "name", TEXT }, { "vendor", VENDOR },
    { "mig", FLAG }, { "driver_version", TEXT }, { "memory_total", BYTES },
    { "timeline", LIST, step_keys }, FIGURES, { NULL } };
static const struct key script_keys[] = {
    { "repeat", DURATION }, { "devices", LIST, device_keys }, { NULL } };
// clang-format on

struct linger {
    char *key; /* device, holder */
    uint64_t until_ms;
    uint64_t bytes;
};

struct scripted {
    char *path, *proc;
    json_t *script; /* never NULL: what the file said when it was good */
    struct stat seen;
    struct error error; /* of the file as it is now */
    struct linger *lingers;
    size_t linger_count;
};

/* ---- reading the file ---- */

/* Bytes and durations: a number, or a text with a unit. */
static int to_bytes(const json_t *v, uint64_t *ret)
{
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *ret = (uint64_t)json_integer_value(v);
        return 0;
    }
    return json_is_string(v) ? str_to_bytes(json_string_value(v), ret) : -EINVAL;
}

static int to_ms(const json_t *v, uint64_t *ret)
{
    if (json_is_number(v) && json_number_value(v) >= 0 && json_number_value(v) < 1e12) {
        *ret = (uint64_t)(json_number_value(v) * 1000);
        return 0;
    }
    return json_is_string(v) ? str_to_duration_ms(json_string_value(v), ret) : -EINVAL;
}

static uint64_t bytes_of(const json_t *v)
{
    uint64_t bytes = 0;

    return v && to_bytes(v, &bytes) == 0 ? bytes : 0;
}

static bool fits(const json_t *v, enum kind kind)
{
    uint64_t unused;

    switch (kind) {
    case TEXT:
        return json_is_string(v);
    case BYTES:
        return to_bytes(v, &unused) == 0;
    case DURATION:
        return to_ms(v, &unused) == 0;
    case NUMBER:
        return json_is_number(v) && json_number_value(v) >= 0;
    case FLAG:
        return json_is_boolean(v);
    case VENDOR:
        return json_is_string(v) && gpu_vendor_from_string(json_string_value(v)) >= 0;
    case LIST:
        return json_is_array(v);
    }
    return false;
}

static const struct key *find_key(const struct key *keys, const char *name)
{
    for (const struct key *k = keys; k->name; k++) {
        if (str_eq(k->name, name)) {
            return k;
        }
    }
    return NULL;
}

struct checking {
    const struct yaml_document *doc;
    const char *file;
    struct error *reterr;
};

static int check_object(const struct checking *c, const json_t *object, const struct key *keys,
                        const char *path);

static int check_list(const struct checking *c, const json_t *list, const struct key *items,
                      const char *path)
{
    int r = 0;

    for (size_t i = 0; i < json_array_size(list) && r == 0; i++) {
        _cleanup_(freep) char *at = xasprintf("%s.%zu", path, i);

        r = check_object(c, json_array_get(list, i), items, at);
    }
    return r;
}

static int check_object(const struct checking *c, const json_t *object, const struct key *keys,
                        const char *path)
{
    const char *name;
    json_t *value;
    int r = 0;

    if (!json_is_object(object)) {
        return error_set(c->reterr, -EINVAL, "%s:%d: members such as 'name: value' are expected",
                         c->file, path[0] ? yaml_line(c->doc, path) : 1);
    }
    json_object_foreach(UNCONST(json_t *, object), name, value)
    {
        const struct key *k = find_key(keys, name);
        _cleanup_(freep) char *at = xasprintf("%s%s%s", path, path[0] ? "." : "", name);

        if (!k || !fits(value, k->kind)) {
            return error_set(c->reterr, -EINVAL, "%s:%d: %s '%.80s'", c->file,
                             yaml_line(c->doc, at),
                             k ? "this is no value for" : "a script of devices has no", name);
        }
        r = k->kind == LIST ? check_list(c, value, k->items, at) : 0;
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static char *id_of(const json_t *device, size_t number)
{
    const char *id = json_string_value(json_object_get(device, "id"));

    return id ? xstrdup(id) : xasprintf("scripted-%zu", number);
}

static int check_device(const struct checking *c, const json_t *device, size_t i, struct map *ids)
{
    _cleanup_(freep) char *id = id_of(device, i);

    if (bytes_of(json_object_get(device, "memory_total")) == 0) {
        return error_set(c->reterr, -EINVAL, "%s: device '%s' has no memory_total", c->file, id);
    }
    if (id[0] == '\0' || strlen(id) >= GPU_TEXT_SIZE || map_put(ids, id, ids)) {
        return error_set(c->reterr, -EINVAL, "%s: '%.99s' is not the id of one device", c->file,
                         id);
    }
    return 0;
}

static int check_devices(const struct checking *c, const json_t *root)
{
    const json_t *devices = json_object_get(root, "devices");
    struct map ids;
    int r = 0;

    if (json_array_size(devices) > GPU_DEVICES_MAX) {
        return error_set(c->reterr, -E2BIG, "%s: more than %d devices", c->file, GPU_DEVICES_MAX);
    }
    map_init(&ids);
    for (size_t i = 0; i < json_array_size(devices) && r == 0; i++) {
        r = check_device(c, json_array_get(devices, i), i, &ids);
    }
    map_finish(&ids);
    return r;
}

static void forget_lingers(struct scripted *s)
{
    for (size_t i = 0; i < s->linger_count; i++) {
        free(s->lingers[i].key);
    }
    free(s->lingers);
    s->lingers = NULL;
    s->linger_count = 0;
}

static int load(struct scripted *s, struct error *reterr)
{
    _cleanup_(freep) char *text = gpu_file_dup(s->path);
    struct yaml_document doc;
    const struct checking c = { &doc, s->path, reterr };
    int r;

    if (!text) {
        return error_set(reterr, -ENOENT, "%s: the script of devices cannot be read", s->path);
    }
    r = yaml_read(span_of(text), s->path, &doc, reterr);
    if (r < 0) {
        return r;
    }
    r = json_is_null(doc.root) ? 0 : check_object(&c, doc.root, script_keys, "");
    r = r < 0 ? r : check_devices(&c, doc.root);
    if (r == 0) {
        json_decref(s->script);
        s->script = json_incref(doc.root);
        forget_lingers(s);
    }
    yaml_document_finish(&doc);
    return r;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Looked at before it is read: what is written meanwhile is seen at the next reading. */
static void load_if_changed(struct scripted *s)
{
    struct stat now = { 0 };

    if (stat(s->path, &now) == 0 && is_same(&now, &s->seen)) {
        return;
    }
    s->seen = now;
    s->error = (struct error){ 0 };
    (void)!load(s, &s->error);
}

/* ---- what holds now ---- */

/* The figure of the latest step that has it, else the device's own. */
static const json_t *figure(const json_t *device, uint64_t now_ms, const char *name)
{
    const json_t *found = json_object_get(device, name);
    uint64_t latest = 0, at;
    size_t i;
    json_t *step;

    json_array_foreach(json_object_get(device, "timeline"), i, step)
    {
        const json_t *value = json_object_get(step, name);

        at = 0;
        if (value && to_ms(json_object_get(step, "at"), &at) <= 0 && at <= now_ms && at >= latest) {
            latest = at;
            found = value;
        }
    }
    return found;
}

static double number_of(const json_t *device, uint64_t now_ms, const char *name)
{
    const json_t *v = figure(device, now_ms, name);

    return v ? json_number_value(v) : GPU_NOT_TOLD;
}

static void set_text(char out[GPU_TEXT_SIZE], const json_t *device, const char *name)
{
    if (json_object_get(device, name)) {
        gpu_text_set(out, json_string_value(json_object_get(device, name)));
    }
}

static void add_processes(const json_t *list, struct gpu_device *d)
{
    size_t i;
    json_t *p;

    json_array_foreach(UNCONST(json_t *, list), i, p)
    {
        gpu_device_add_process(d, &(struct gpu_process){
                                      .pid = (int64_t)json_number_value(json_object_get(p, "pid")),
                                      .memory_known = json_object_get(p, "memory") != NULL,
                                      .memory_bytes = bytes_of(json_object_get(p, "memory")),
                                  });
    }
}

/* ---- holders ---- */

/* Does "0,2" (or uuids) name it? */
static bool names_device(struct span list, const struct gpu_device *d, int vendor_index)
{
    while (list.n > 0) {
        const struct span word = span_trim(span_cut(&list, ','));
        uint64_t index;

        if (span_eq(word, d->uuid[0] ? d->uuid : d->id) ||
            (span_to_u64(word, &index) == 0 && index == (uint64_t)vendor_index)) {
            return true;
        }
    }
    return false;
}

static bool may_use(const char *environ_text, size_t n, const struct gpu_device *d,
                    int vendor_index)
{
    const char *name = d->vendor == GPU_AMD ? "HIP_VISIBLE_DEVICES=" : "CUDA_VISIBLE_DEVICES=";

    for (size_t at = 0; at < n; at += strlen(environ_text + at) + 1) {
        if (str_starts(environ_text + at, name)) {
            return names_device(span_of(environ_text + at + strlen(name)), d, vendor_index);
        }
    }
    return true;
}

/* The whole of a file of /proc/PID; *ret_n is 0 when there is none (it has ended). */
static char *process_file(const struct scripted *s, uint64_t pid, const char *name, size_t *ret_n)
{
    enum { MOST = 256 * 1024 };
    _cleanup_(freep) char *path = xasprintf("%s/%llu/%s", s->proc, (unsigned long long)pid, name);
    FILE *f = fopen(path, "re");
    char *text = xcalloc(1, MOST + 2);

    *ret_n = f ? fread(text, 1, MOST, f) : 0;
    if (f) {
        fclose(f);
    }
    return text;
}

static bool holds(const struct scripted *s, uint64_t pid, const char *command,
                  const struct gpu_device *d, int vendor_index)
{
    size_t n, again, environ_n;
    _cleanup_(freep) char *line = process_file(s, pid, "cmdline", &n);
    _cleanup_(freep) char *env = NULL, *later = NULL;

    for (size_t i = 0; i < n; i++) {
        line[i] = line[i] ? line[i] : ' ';
    }
    if (n == 0 || !strstr(line, command)) {
        return false;
    }
    env = process_file(s, pid, "environ", &environ_n);
    if (environ_n > 0) {
        return may_use(env, environ_n, d, vendor_index);
    }
    /* Amid an exec both are void for a moment: what it will see comes later. */
    free(process_file(s, pid, "cmdline", &again));
    later = process_file(s, pid, "environ", &environ_n);
    return again > 0 && may_use(later, environ_n, d, vendor_index);
}

/* Made when it is not there: there are as many as the script has holders. */
static struct linger *find_linger(struct scripted *s, const char *key)
{
    for (size_t i = 0; i < s->linger_count; i++) {
        if (str_eq(s->lingers[i].key, key)) {
            return &s->lingers[i];
        }
    }
    s->lingers = xrealloc(s->lingers, (s->linger_count + 1) * sizeof(*s->lingers));
    s->lingers[s->linger_count] = (struct linger){ .key = xstrdup(key) };
    return &s->lingers[s->linger_count++];
}

static uint64_t add_live(const struct scripted *s, const json_t *holder, struct gpu_device *d,
                         int vendor_index)
{
    const char *command = json_string_value(json_object_get(holder, "command"));
    const uint64_t bytes = bytes_of(json_object_get(holder, "memory"));
    DIR *dir = command ? opendir(s->proc) : NULL;
    struct dirent *entry;
    uint64_t pid, sum = 0;

    while (dir && (entry = readdir(dir))) {
        if (span_to_u64(span_of(entry->d_name), &pid) == 0 && pid != (uint64_t)getpid() &&
            holds(s, pid, command, d, vendor_index)) {
            gpu_device_add_process(d, &(struct gpu_process){ .pid = (int64_t)pid,
                                                             .memory_bytes = bytes,
                                                             .memory_known = true });
            sum += bytes;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return sum;
}

/* Bytes that the holders use now. elapsed_ms is time that does not begin anew. */
static uint64_t add_holders(struct scripted *s, const json_t *holders, uint64_t elapsed_ms,
                            struct gpu_device *d, int vendor_index)
{
    uint64_t sum = 0, linger_ms;
    size_t i;
    json_t *holder;

    json_array_foreach(UNCONST(json_t *, holders), i, holder)
    {
        _cleanup_(freep) char *key = xasprintf("%s/%zu", d->id, i);
        struct linger *l = find_linger(s, key);
        const uint64_t live = add_live(s, holder, d, vendor_index);

        linger_ms = 0;
        (void)!to_ms(json_object_get(holder, "linger"), &linger_ms);
        if (live >= l->bytes || elapsed_ms >= l->until_ms) {
            l->bytes = live;
            l->until_ms = elapsed_ms + linger_ms;
        }
        sum += MAX_OF(live, l->bytes);
    }
    return sum;
}

/* ---- the probe ---- */

static enum gpu_vendor vendor_of(const json_t *device)
{
    const char *vendor = json_string_value(json_object_get(device, "vendor"));

    return vendor ? (enum gpu_vendor)gpu_vendor_from_string(vendor) : GPU_NVIDIA;
}

/* now_ms is the script's time, elapsed_ms the world's. */
struct moment {
    uint64_t now_ms, elapsed_ms;
};

static void read_device(struct scripted *s, const json_t *device, struct moment when,
                        int vendor_index, struct gpu_device *d)
{
    const uint64_t now_ms = when.now_ms;
    uint64_t used;

    d->vendor = vendor_of(device);
    snprintf(d->name, sizeof(d->name), "Scripted device");
    set_text(d->uuid, device, "uuid");
    set_text(d->pci, device, "pci");
    set_text(d->name, device, "name");
    set_text(d->driver_version, device, "driver_version");
    d->mig = json_is_true(json_object_get(device, "mig"));
    d->utilization = MIN_OF(number_of(device, now_ms, "utilization"), 100.0);
    d->temperature_c = number_of(device, now_ms, "temperature");
    d->power_w = number_of(device, now_ms, "power");
    d->power_limit_w = number_of(device, now_ms, "power_limit");
    d->clock_mhz = number_of(device, now_ms, "clock");
    d->memory_clock_mhz = number_of(device, now_ms, "memory_clock");
    add_processes(figure(device, now_ms, "processes"), d);
    used = bytes_of(figure(device, now_ms, "memory_used")) +
           add_holders(s, figure(device, now_ms, "holders"), when.elapsed_ms, d, vendor_index);
    gpu_device_set_memory(d, bytes_of(json_object_get(device, "memory_total")), used);
}

static void read_all(void *state, uint64_t elapsed_ms, struct gpu_reading *ret)
{
    struct scripted *s = state;
    int next_index[GPU_VENDOR_MAX_] = { 0 };
    uint64_t now_ms = elapsed_ms, repeat_ms = 0;
    size_t i;
    json_t *device;

    load_if_changed(s);
    ret->error = s->error;
    if (to_ms(json_object_get(s->script, "repeat"), &repeat_ms) == 0 && repeat_ms > 0) {
        now_ms %= repeat_ms;
    }
    json_array_foreach(json_object_get(s->script, "devices"), i, device)
    {
        const int vendor_index = next_index[vendor_of(device)]++;
        _cleanup_(freep) char *id = id_of(device, i);
        struct gpu_device *d = gpu_reading_add(ret);

        gpu_text_set(d->id, id);
        d->absent = json_is_false(figure(device, now_ms, "present"));
        read_device(s, device, (struct moment){ now_ms, elapsed_ms }, vendor_index, d);
    }
}

static void destroy(void *state)
{
    struct scripted *s = state;

    forget_lingers(s);
    json_decref(s->script);
    free(s->path);
    free(s->proc);
    free(s);
}

static const struct gpu_probe_driver driver = { "gpu script", read_all, destroy };

int gpu_scripted_probe(const char *path, const char *proc, struct gpu_probe *ret,
                       struct error *reterr)
{
    struct scripted *s = xcalloc(1, sizeof(*s));

    s->path = xstrdup(path);
    s->proc = xstrdup(proc);
    s->script = json_object();
    load_if_changed(s);
    if (s->error.code < 0) {
        const struct error e = s->error;

        destroy(s);
        return error_set(reterr, e.code, "%s", e.text);
    }
    *ret = (struct gpu_probe){ &driver, s };
    return 0;
}
