// SPDX-License-Identifier: Apache-2.0
/* What the tests of this room share: made-up files in a folder of their own, the stand-in NVML. */
#pragma once

#include "unit.h"

#include "base/str.h"
#include "config/config.h"
#include "gpu/gpu_probe.h"
#include "stub_nvml.h"

enum { MIB = 1 << 20 };

/* Group set-up and tear-down: a fresh working directory. */
int rig_set_up(void **state);
int rig_tear_down(void **state);
/* Writes a file, and makes the folders above it. */
void rig_write(const char *text, const char *path, ...) _printf_(2, 3);
void rig_remove(const char *path); /* a file or a whole folder */
/* The stand-in as it is after loading, zeroed. Its path is in *ret_path. */
struct stub_nvml *rig_stub(bool old_driver, const char **ret_path);
/* "NAME=value" settings, NULL-terminated. */
struct config *rig_config(const char *const *settings);
/* One look of a probe. The caller finishes it. */
struct gpu_reading rig_look(struct gpu_probe probe);
