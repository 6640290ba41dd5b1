// SPDX-License-Identifier: Apache-2.0
/* Files, the stand-in library and configurations of the tests. */
#include "rig.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

static char folder[64];

int rig_set_up(void **state)
{
    log_set_fd(-1);
    strcpy(folder, "/tmp/berth-gpu-XXXXXX");
    return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

void rig_remove(const char *path)
{
    _cleanup_(freep) char *command = xasprintf("rm -rf '%s'", path);

    assert_int_equal(system(command), 0);
}

int rig_tear_down(void **state)
{
    rig_remove(folder);
    return 0;
}

void rig_write(const char *text, const char *fmt, ...)
{
    char path[512], part[512];
    va_list ap;
    FILE *f;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        mkdir(part, 0700);
    }
    f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

struct stub_nvml *rig_stub(bool old_driver, const char **ret_path)
{
    const char *path = getenv(old_driver ? "STUB_NVML_OLD" : "STUB_NVML");
    struct stub_nvml *stub;
    void *handle;

    assert_non_null(path);
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    assert_non_null(handle);
    stub = dlsym(handle, "stub_nvml");
    assert_non_null(stub);
    memset((void *)stub, 0, sizeof(*stub));
    *ret_path = path;
    return stub;
}

struct config *rig_config(const char *const *settings)
{
    const struct option_table *const tables[] = { &gpu_options, NULL };
    struct config *config;
    struct error e = { 0 };

    if (config_load(NULL, settings, tables, &config, &e) < 0) {
        fail_msg("%s", e.text);
    }
    return config;
}

struct gpu_reading rig_look(struct gpu_probe probe)
{
    struct gpu_reading reading = { 0 };

    probe.driver->read(probe.state, 0, &reading);
    return reading;
}
