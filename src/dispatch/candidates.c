// SPDX-License-Identifier: Apache-2.0
/*
 * How a line's seats look to a strategy, and choosing among them. The array of candidates is kept
 * as things change, so that a choice costs what its strategy looks at and nothing besides. Only who
 * may take a request at all stands in it; for one choice at a time, what concerns the asker alone
 * is set (caps of its rank, the instance that it shall not have, what is cached of its prompt).
 */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "dispatch/dispatch_int.h"

/* The array */

static bool may_take(const struct seat *s)
{
    return s->open &&
           (s->breaker == BREAKER_CLOSED || (s->breaker == BREAKER_HALF_OPEN && s->trial == NULL));
}

/* Index of the first whose serial is not less. */
static int find_place(const struct line *l, uint32_t serial)
{
    int low = 0, high = l->candidate_count;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (l->open_seats[middle]->serial < serial) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct seat *seat_by_serial(const struct line *l, uint32_t serial)
{
    int at = find_place(l, serial);

    return at < l->candidate_count && l->open_seats[at]->serial == serial ? l->open_seats[at]
                                                                          : NULL;
}

/* Those from here on have moved. */
static void renumber(struct line *l, int from)
{
    for (int i = from; i < l->candidate_count; i++) {
        l->open_seats[i]->at = i;
    }
}

static void insert(struct line *l, struct seat *s)
{
    int at = find_place(l, s->serial);
    size_t behind = (size_t)(l->candidate_count - at);

    if (l->candidate_count == l->candidate_cap) {
        l->candidate_cap = l->candidate_cap ? 2 * l->candidate_cap : 4;
        l->open_seats = xrealloc(l->open_seats, (size_t)l->candidate_cap * sizeof(*l->open_seats));
        l->candidates = xrealloc(l->candidates, (size_t)l->candidate_cap * sizeof(*l->candidates));
    }
    memmove(&l->open_seats[at + 1], &l->open_seats[at], behind * sizeof(*l->open_seats));
    memmove(&l->candidates[at + 1], &l->candidates[at], behind * sizeof(*l->candidates));
    l->open_seats[at] = s;
    l->candidate_count++;
    renumber(l, at);
}

static void take_out(struct line *l, struct seat *s)
{
    int at = s->at;
    size_t behind = (size_t)(l->candidate_count - at - 1);

    memmove(&l->open_seats[at], &l->open_seats[at + 1], behind * sizeof(*l->open_seats));
    memmove(&l->candidates[at], &l->candidates[at + 1], behind * sizeof(*l->candidates));
    l->candidate_count--;
    s->at = NOT_A_CANDIDATE;
    renumber(l, at);
}

static unsigned cap_of(const struct line *l, const struct seat *s)
{
    return l->caps_of_tasks ? s->slots : s->cap;
}

void seat_show(struct seat *s)
{
    struct line *l = s->line;
    bool takes = may_take(s);

    if (takes && s->at == NOT_A_CANDIDATE) {
        insert(l, s);
    } else if (!takes && s->at != NOT_A_CANDIDATE) {
        take_out(l, s);
    }
    if (!takes) {
        return;
    }
    l->candidates[s->at] = (struct candidate){
        .uuid = s->uuid,
        .in_flight = s->in_flight,
        .cap = cap_of(l, s),
        .weight = s->weight,
        .tokens = s->tokens,
        .response_ms = s->response_ms,
        .chosen = s->chosen,
        .place = s->place,
        .wait_ms = (double)s->work_us / 1000 / s->slots,
        .wait_error_ms = sqrt((double)s->error_ms2) / s->slots,
        .read_ms = (double)s->read_us / 1000 * (1 - 1.0 / s->slots),
        .swap_ms = s->sleeping ? (double)line_load_time_ms(l) : 0,
        .prefill_ms = s->figures.prefill_ms,
        .prefill_error = s->figures.prefill_error,
        .decode_ms = s->figures.decode_ms,
        .decode_error = s->figures.decode_error,
    };
}

void candidates_free(struct line *l)
{
    free(l->open_seats);
    free(l->candidates);
}

/* Choosing */

static void set_caps(struct line *l, enum dispatch_rank rank)
{
    bool of_tasks = rank != RANK_REQUEST;

    if (l->caps_of_tasks == of_tasks) {
        return;
    }
    l->caps_of_tasks = of_tasks;
    for (int i = 0; i < l->candidate_count; i++) {
        l->candidates[i].cap = cap_of(l, l->open_seats[i]);
    }
}

/* The one that this ticket shall not have, or NULL. */
static struct seat *find_excluded(const struct ticket *t)
{
    struct seat *s = t->exclude[0] ? map_get(&t->line->dispatch->seats, t->exclude) : NULL;

    return s && s->line == t->line && s->at != NOT_A_CANDIDATE ? s : NULL;
}

static struct choice choice_of(const struct ticket *t)
{
    struct choice c = dispatch_choice(t->line->dispatch);

    c.tokens = t->ask.tokens;
    c.prompt_tokens = t->ask.prompt_tokens;
    c.session = t->ask.session;
    c.turn = t->line->turn;
    line_expect_output(t->line, t->ask.output_limit, &c.output_tokens, &c.output_error);
    return c;
}

static int choose(struct ticket *t)
{
    struct line *l = t->line;
    struct choice c = choice_of(t);
    struct marks marks = { .count = 0 };
    int chosen;

    if (l->strategy->looks_at & LOOKS_AT_PREFIX) {
        prefix_mark(l, t, &marks);
    }
    chosen = l->strategy->choose(l->candidates, (size_t)l->candidate_count, &c);
    t->cached_tokens = chosen < 0 ? 0 : l->candidates[chosen].cached_tokens;
    prefix_unmark(&marks);
    return chosen;
}

struct seat *seat_choose(struct ticket *t)
{
    struct line *l = t->line;
    struct seat *excluded = find_excluded(t);
    int chosen;

    set_caps(l, t->ask.rank);
    if (excluded) {
        l->candidates[excluded->at].cap = 0;
    }
    chosen = l->candidate_count ? choose(t) : -1;
    if (excluded) {
        l->candidates[excluded->at].cap = cap_of(l, excluded);
    }
    return chosen < 0 ? NULL : l->open_seats[chosen];
}
