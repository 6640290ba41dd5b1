// SPDX-License-Identifier: Apache-2.0
/*
 * Processor time through /proc: the stat of a process and of its descendants, which its main thread
 * lists as its children. At most PROCESSES_MAX of them are asked.
 */
#include "monitor/processor_time.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PROCESSES_MAX = 256, TEXT_SIZE = 4096, CHILDREN_DEPTH_MAX = 16 };

/* Field numbers of /proc/PID/stat (proc(5)). */
enum { STAT_STATE = 3, STAT_UTIME = 14, STAT_CSTIME = 17, STAT_START_TIME = 22 };

static bool read_file(const char *path, char text[TEXT_SIZE])
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0) {
        return false;
    }
    n = read(fd, text, TEXT_SIZE - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

/* What stands in its stat: ticks, and when it was started. */
static bool read_stat(const char *proc, pid_t pid, uint64_t *ret_ticks, uint64_t *ret_start_time)
{
    char path[256], text[TEXT_SIZE], *field;

    snprintf(path, sizeof(path), "%s/%d/stat", proc, (int)pid);
    if (!read_file(path, text)) {
        return false;
    }
    field = strrchr(text, ')'); /* its name may hold anything */
    *ret_ticks = 0;
    *ret_start_time = 0;
    for (int n = STAT_STATE; field && n <= STAT_START_TIME; n++) {
        field = strchr(field + 1, ' ');
        if (field && n >= STAT_UTIME && n <= STAT_CSTIME) {
            *ret_ticks += strtoull(field, NULL, 10);
        } else if (field && n == STAT_START_TIME) {
            *ret_start_time = strtoull(field, NULL, 10);
        }
    }
    return field != NULL;
}

static uint64_t ticks_of_children(const char *proc, pid_t pid, unsigned depth, unsigned *left)
{
    char path[256], text[TEXT_SIZE], *rest = text;
    uint64_t sum = 0;

    snprintf(path, sizeof(path), "%s/%d/task/%d/children", proc, (int)pid, (int)pid);
    if (depth == 0 || !read_file(path, text)) {
        return 0;
    }
    for (long child; *left > 0 && (child = strtol(rest, &rest, 10)) > 0;) {
        uint64_t ticks, start_time;

        (*left)--;
        if (read_stat(proc, (pid_t)child, &ticks, &start_time)) {
            sum += ticks + ticks_of_children(proc, (pid_t)child, depth - 1, left);
        }
    }
    return sum;
}

uint64_t processor_time_ticks(const char *proc, struct process_id id)
{
    unsigned left = PROCESSES_MAX;
    uint64_t ticks, start_time;

    if (id.pid <= 0 || !read_stat(proc, id.pid, &ticks, &start_time) ||
        start_time != id.start_time) {
        return 0;
    }
    return ticks + ticks_of_children(proc, id.pid, CHILDREN_DEPTH_MAX, &left);
}
