// SPDX-License-Identifier: Apache-2.0
/* Means and percentiles of the latest requests, from the gateway's history of them. */
#include "monitor/service.h"

#include <stdlib.h>

#include "base/macros.h"
#include "base/mem.h"
#include "gateway/history.h"

enum { STATUS_BAD = 400, PERCENTILE = 95 };

/* Times in milliseconds, HISTORY_KEPT at most. */
struct times {
    size_t count;
    uint32_t ms[HISTORY_KEPT];
};

static void add(struct times *t, uint32_t ms)
{
    t->ms[t->count++] = ms;
}

static int compare(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

/* The smallest that 95 of 100 do not exceed. */
static struct service_times sum_up(struct times *t)
{
    const size_t rank = (t->count * PERCENTILE + 99) / 100; /* from 1 */
    double sum = 0;

    if (t->count == 0) {
        return (struct service_times){ -1, -1 };
    }
    for (size_t i = 0; i < t->count; i++) {
        sum += t->ms[i];
    }
    qsort(t->ms, t->count, sizeof(t->ms[0]), compare);
    return (struct service_times){
        .mean_ms = (float)(sum / (double)t->count),
        .p95_ms = (float)t->ms[rank - 1],
    };
}

void service_sample_times(struct service_sample *s, const struct history *h, uint64_t count)
{
    struct times *times = xcalloc(3, sizeof(*times)), *first_byte = times, *total = times + 1,
                 *queue = times + 2;
    const struct request_record *r;

    for (size_t n = 0; n < MIN_OF(count, (uint64_t)HISTORY_KEPT) && (r = history_at(h, n)); n++) {
        if (r->status >= STATUS_BAD) {
            continue;
        }
        add(total, r->total_ms);
        add(queue, r->queue_ms);
        if (r->first_byte_ms > 0) {
            add(first_byte, r->first_byte_ms);
        }
    }
    s->first_byte = sum_up(first_byte);
    s->total = sum_up(total);
    s->queue = sum_up(queue);
    free(times);
}
