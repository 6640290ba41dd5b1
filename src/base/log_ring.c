// SPDX-License-Identifier: Apache-2.0
/*
 * A ring of bytes: each line stands behind its head, and both may go round the corner. A line's
 * place is counted from the first byte ever written, so that a reader's cursor stays good.
 */
#include "base/log_ring.h"

#include <pthread.h>
#include <string.h>

#include "base/macros.h"
#include "base/mem.h"

struct head {
    int64_t wall_ms;
    uint32_t n;
    uint32_t level;
};

static struct {
    pthread_mutex_t lock;
    char *bytes;          /* NULL before the first line */
    uint64_t oldest, end; /* from here to here lines stand */
} ring = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void put(const void *from, size_t n)
{
    const size_t at = ring.end % LOG_RING_BYTES, first = MIN_OF(n, LOG_RING_BYTES - at);

    memcpy(ring.bytes + at, from, first);
    memcpy(ring.bytes, (const char *)from + first, n - first);
    ring.end += n;
}

static void get(uint64_t from, void *to, size_t n)
{
    const size_t at = from % LOG_RING_BYTES, first = MIN_OF(n, LOG_RING_BYTES - at);

    memcpy(to, ring.bytes + at, first);
    memcpy((char *)to + first, ring.bytes, n - first);
}

static void drop_oldest(void)
{
    struct head head;

    get(ring.oldest, &head, sizeof(head));
    ring.oldest += sizeof(head) + head.n;
}

void log_ring_add(enum log_level level, int64_t wall_ms, const char *text, size_t n)
{
    const struct head head = { .wall_ms = wall_ms, .n = (uint32_t)n, .level = (uint32_t)level };

    if (n > LOG_LINE_MAX) {
        return;
    }
    pthread_mutex_lock(&ring.lock);
    if (!ring.bytes) {
        ring.bytes = xmalloc(LOG_RING_BYTES);
    }
    while (ring.end + sizeof(head) + n - ring.oldest > LOG_RING_BYTES) {
        drop_oldest();
    }
    put(&head, sizeof(head));
    put(text, n);
    pthread_mutex_unlock(&ring.lock);
}

bool log_ring_next(uint64_t *cursor, struct log_line *ret)
{
    struct head head;
    bool found;

    pthread_mutex_lock(&ring.lock);
    *cursor = MAX_OF(*cursor, ring.oldest);
    found = *cursor < ring.end;
    if (found) {
        get(*cursor, &head, sizeof(head));
        get(*cursor + sizeof(head), ret->text, head.n);
        *cursor += sizeof(head) + head.n;
    }
    pthread_mutex_unlock(&ring.lock);
    if (found) {
        ret->text[head.n] = '\0';
        ret->n = head.n;
        ret->wall_ms = head.wall_ms;
        ret->level = (enum log_level)head.level;
    }
    return found;
}
