// SPDX-License-Identifier: Apache-2.0
/* The kernel's own count of processes that it killed for want of memory, be it the machine's or a
 * memory cgroup's. */
#include "engines/engines_int.h"

#include <stdio.h>

#include "base/mem.h"

uint64_t oom_kills(const struct inst *inst)
{
    _cleanup_(freep) char *path = xasprintf("%s/vmstat", inst->engines->proc_path);
    FILE *f = fopen(path, "re");
    unsigned long long count = 0;
    char line[128];

    while (f && fgets(line, sizeof(line), f)) {
        if (sscanf(line, "oom_kill %llu", &count) == 1) {
            break;
        }
    }
    if (f) {
        fclose(f);
    }
    return count;
}
