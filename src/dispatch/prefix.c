// SPDX-License-Identifier: Apache-2.0
/*
 * Who has read which prompt's beginning: one bounded table a line, from the hash of a prompt up to
 * the end of a block to the few seats that were given it last. So what a choice costs depends on
 * the prompt's length alone, however many instances there are.
 *
 * Sets of four entries; the one used longest ago gives way. The table grows while entries that
 * still might be of use give way, up to a bound.
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/dispatch_int.h"

enum { WAYS = 4, HOLDERS = 4, SETS_MIN = 256, SETS_MAX = 16384, BYTES_PER_TOKEN = 4 };

/* Who was given it, in which of its lives: a new one has forgotten it. */
struct holder {
    uint32_t serial, life;
};

struct entry {
    uint64_t hash;                  /* 0: empty */
    uint64_t used;                  /* when it was given last, in choices of the line */
    struct holder holders[HOLDERS]; /* the last one first; serial 0 ends */
};

struct prefix_table {
    struct entry (*sets)[WAYS];
    size_t set_count, evicted;
};

/* Hashes */

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15U;
    return hash ^ (hash >> 32);
}

unsigned prefix_hashes(struct span prompt, uint64_t out[PREFIX_BLOCKS_MAX])
{
    uint64_t hash = 0x243f6a8885a308d3U, word;
    size_t at = 0, end = prefix_next_end(0);
    unsigned count = 0;

    for (; count < PREFIX_BLOCKS_MAX && end <= prompt.n; end = prefix_next_end(end)) {
        for (; at < end; at += sizeof(word)) {
            memcpy(&word, prompt.p + at, sizeof(word));
            hash = mix(hash, word);
        }
        out[count++] = mix(hash, 1) | 1;
    }
    return count;
}

/* Where it is not told, as the prompt's tokens are spread over its bytes. */
void prefix_copy(struct ticket *t, const struct dispatch_ask *ask)
{
    size_t end = 0;

    for (unsigned b = 0; b < t->prefix_count; b++) {
        uint64_t tokens;

        end = prefix_next_end(end);
        tokens = ask->prefix_tokens ? ask->prefix_tokens[b] : end / BYTES_PER_TOKEN;
        t->prefix[b] = (struct prefix_part){
            .hash = ask->prefix[b],
            .tokens = (uint32_t)MAX_OF(1U, MIN_OF((uint64_t)ask->prompt_tokens, tokens)),
        };
    }
}

/* The table */

struct prefix_table *prefix_table_free(struct prefix_table *t)
{
    if (t) {
        free(t->sets);
        free(t);
    }
    return NULL;
}

static struct entry *set_of(const struct prefix_table *t, uint64_t hash)
{
    return t->sets[(hash >> 20) & (t->set_count - 1)];
}

static struct entry *find(const struct prefix_table *t, uint64_t hash)
{
    struct entry *set = set_of(t, hash);

    for (int w = 0; w < WAYS; w++) {
        if (set[w].hash == hash) {
            return &set[w];
        }
    }
    return NULL;
}

/* The entry of this hash, empty when it was not there: of the set the one that was used longest
 * ago. */
static struct entry *make(struct prefix_table *t, uint64_t hash)
{
    struct entry *set = set_of(t, hash), *oldest = &set[0];

    for (int w = 1; w < WAYS && oldest->hash; w++) {
        if (!set[w].hash || set[w].used < oldest->used) {
            oldest = &set[w];
        }
    }
    t->evicted += oldest->hash != 0;
    *oldest = (struct entry){ .hash = hash };
    return oldest;
}

static void resize(struct prefix_table *t, size_t set_count)
{
    struct prefix_table old = *t;

    t->sets = xcalloc(set_count, sizeof(*t->sets));
    t->set_count = set_count;
    for (size_t s = 0; s < old.set_count; s++) {
        for (int w = 0; w < WAYS; w++) {
            if (old.sets[s][w].hash) {
                *make(t, old.sets[s][w].hash) = old.sets[s][w];
            }
        }
    }
    t->evicted = 0;
    free(old.sets);
}

static void note_holder(struct entry *e, const struct seat *s)
{
    int at = 0;

    while (at < HOLDERS - 1 && e->holders[at].serial && e->holders[at].serial != s->serial) {
        at++;
    }
    memmove(&e->holders[1], &e->holders[0], (size_t)at * sizeof(e->holders[0]));
    e->holders[0] = (struct holder){ s->serial, s->life };
}

void prefix_note(struct line *l, const struct seat *s, const struct ticket *t)
{
    struct prefix_table *table = l->prefixes;

    if (t->prefix_count == 0) {
        return;
    }
    if (!table) {
        table = l->prefixes = xcalloc(1, sizeof(*table));
        resize(table, SETS_MIN);
    } else if (table->evicted > table->set_count && table->set_count < SETS_MAX) {
        resize(table, 2 * table->set_count);
    }
    for (unsigned b = 0; b < t->prefix_count; b++) {
        struct entry *e = find(table, t->prefix[b].hash);

        e = e ? e : make(table, t->prefix[b].hash);
        e->used = l->turn;
        note_holder(e, s);
    }
}

/* What the candidates have of a prompt */

/* When it takes requests, lives that life, and is not one of those with more of the prompt. */
static void mark(struct line *l, const struct holder *h, uint32_t tokens, struct marks *m)
{
    struct seat *s = seat_by_serial(l, h->serial);
    struct candidate *c = s ? &l->candidates[s->at] : NULL;

    if (c && h->life == s->life && c->cached_tokens == 0 && m->count < MARKS_MAX) {
        c->cached_tokens = tokens;
        m->marked[m->count++] = c;
    }
}

void prefix_mark(struct line *l, const struct ticket *t, struct marks *m)
{
    m->count = 0;
    for (unsigned b = t->prefix_count; l->prefixes && b > 0 && m->count < MARKS_MAX; b--) {
        const struct entry *e = find(l->prefixes, t->prefix[b - 1].hash);

        for (int h = 0; e && h < HOLDERS && e->holders[h].serial; h++) {
            mark(l, &e->holders[h], t->prefix[b - 1].tokens, m);
        }
    }
}

void prefix_unmark(const struct marks *m)
{
    for (unsigned i = 0; i < m->count; i++) {
        m->marked[i]->cached_tokens = 0;
    }
}
