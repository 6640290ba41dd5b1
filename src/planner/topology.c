// SPDX-License-Identifier: Apache-2.0
/*
 * Collectives over chips that hang together by levels of links (recipe 5). The phases of a
 * collective follow one another, so their times add up; every phase has a start of its own. Where a
 * level is as fast as the chip's own scale-up links, what was measured of those counts instead of
 * its figures.
 */
#include "planner/planner_int.h"

#include <assert.h>
#include <math.h>

/* What data gets of a link's figure: microsoft/vidur's send and receive across nodes. */
static const double LINK_SHARE = 0.75;
/* Starts that nobody told: of links among neighbours, and of one message beyond them; all-reduces
 * there have the start that was fitted for nodes. */
static const double NEAR_S = 5e-6, FAR_S = 30e-6;

unsigned planner_topology_chips(const struct planner_topology *t)
{
    double chips = t->level_count > 0 ? 1 : 0;

    for (unsigned i = 0; i < t->level_count; i++) {
        chips *= t->levels[i].groups;
    }
    return chips > 4e9 ? 4000000000U : (unsigned)chips;
}

void planner_setup_topology(struct planner_setup *s, const struct planner_topology *t)
{
    assert(t->level_count <= PLANNER_LEVELS_MAX);
    s->topology = *t;
}

static bool is_near(double a, double b)
{
    return a > 0 && b > 0 && fabs(a - b) <= 0.1 * b;
}

static bool is_measured(const struct planner_setup *s, const struct planner_level *l)
{
    return l->link == PLANNER_LINK_SWITCH && is_near(l->gbps, s->chip->scaleup_gbps);
}

/* How many members of a group, inner chips from one to the next, lie in a block of so many. */
static double members_in(double block, unsigned inner, unsigned ranks)
{
    return fmin(fmax(floor(block / inner), 1), ranks);
}

/* One level as a group sees it. */
struct crossing {
    const struct planner_level *level;
    double below, members; /* chips in a group of the level below; groups of it that take part */
    bool first;            /* the innermost level with more than one group */
};

/* The next level that the group of ranks spans, from *i on; false when there is none. What does not
 * fit into the topology at all goes over its outermost level. */
static bool next_crossing(const struct planner_setup *s, unsigned inner, unsigned ranks,
                          unsigned *i, struct crossing *ret)
{
    const struct planner_topology *t = &s->topology;
    double below = 1;
    bool first = true;

    for (unsigned l = 0; l < t->level_count; l++) {
        const double block = l + 1 < t->level_count ? below * t->levels[l].groups : 1e12;
        const double in = members_in(below, inner, ranks), all = members_in(block, inner, ranks);

        if (l >= *i && all > in) {
            *i = l + 1;
            *ret = (struct crossing){ &t->levels[l], below, ceil(all / in), first };
            return true;
        }
        first = first && t->levels[l].groups <= 1;
        below = block;
    }
    return false;
}

/* Of one chip, while all the others that share the link use it too; members: who talk to one
 * another. */
static double bandwidth_of(const struct crossing *p, double members)
{
    const struct planner_level *l = p->level;
    const double all = fmax(l->gbps, 1e-3) * 1e9 * LINK_SHARE;

    switch (l->link) {
    case PLANNER_LINK_MESH: /* each pair has a link of its own */
        return all * fmax(members - 1, 1) / fmax(l->groups - 1.0, fmax(members - 1, 1));
    case PLANNER_LINK_RING: /* a neighbour lies on one of two sides */
        return members > 2 ? all : all / 2;
    case PLANNER_LINK_PCIE: /* one uplink for all chips of the group below */
        return all / p->below;
    default:
        return all;
    }
}

/* far_s: the start beyond the innermost level where nobody told one. */
static double start_of(const struct crossing *p, double hops, double far_s)
{
    const double told = 1e-6 * p->level->alpha_us;
    const double one = told > 0 ? told : p->first ? NEAR_S : far_s;

    return one * (p->level->link == PLANNER_LINK_RING ? fmax(hops, 1) : 1);
}

static double wire_time(const struct planner_wire *w, double bytes)
{
    return w->alpha_s + bytes / w->bytes_ps;
}

/* All phases of one level: at the top an all-reduce, below a reduce-scatter before and an
 * all-gather after what lies above; the same bytes, but two starts. */
static double phase_time(const struct planner_setup *s, const struct crossing *p, bool top,
                         double bytes)
{
    const double g = p->members, moved = 2 * (g - 1) / g * bytes;
    const unsigned i = planner_wire_index(g);

    if (is_measured(s, p->level)) {
        return top ? fmin(wire_time(&s->quick[i], moved), wire_time(&s->bulk[i], moved))
                   : wire_time(&s->parted[i], moved);
    }
    return (top && p->level->link != PLANNER_LINK_RING ? 1 : 2) *
               start_of(p, g - 1, s->across.alpha_s) +
           moved / bandwidth_of(p, g);
}

double planner_topology_all_reduce(const struct planner_setup *s, unsigned inner, unsigned ranks,
                                   double bytes)
{
    struct crossing now, above;
    unsigned i = 0;
    double t = 0;
    bool more;

    if (!next_crossing(s, inner, ranks, &i, &now)) {
        return 0;
    }
    do {
        more = next_crossing(s, inner, ranks, &i, &above);
        t += phase_time(s, &now, !more, bytes);
        bytes /= now.members; /* each carries its part across */
        now = above;
    } while (more);
    return t;
}

/* What goes within a level and what goes beyond it take different links at the same time: the
 * slowest decides, and the farthest start. */
double planner_topology_all_to_all(const struct planner_setup *s, unsigned inner, unsigned ranks,
                                   double bytes)
{
    double reached = 1, slowest = 0, start = 0;
    struct crossing p;
    unsigned i = 0;

    while (next_crossing(s, inner, ranks, &i, &p)) {
        const double all = fmin(reached * p.members, ranks);
        const double share = ranks > 1 ? (all - reached) / (ranks - 1) : 0;
        double bandwidth = bandwidth_of(&p, p.members);

        if (is_measured(s, p.level)) {
            /* its start is that of the kernels, which the caller counts */
            bandwidth = s->bulk[planner_wire_index(p.members)].bytes_ps;
        } else {
            start = fmax(start, start_of(&p, p.members - 1, FAR_S));
        }
        if (p.level->link == PLANNER_LINK_RING) { /* a quarter of the way round, on the mean */
            bandwidth /= fmax(p.members / 4, 1);
        }
        slowest = fmax(slowest, share * bytes / bandwidth);
        reached = all;
    }
    return start + slowest;
}

double planner_topology_p2p(const struct planner_setup *s, unsigned distance, double bytes)
{
    struct crossing p;
    unsigned i = 0;

    if (!next_crossing(s, distance, 2, &i, &p)) {
        return 0;
    }
    if (is_measured(s, p.level)) {
        return wire_time(&s->bulk[1], bytes);
    }
    return start_of(&p, 1, FAR_S) + bytes / bandwidth_of(&p, 2);
}

unsigned planner_fast_domain(const struct planner_setup *s)
{
    const struct planner_topology *t = &s->topology;
    double chips = 1, fastest = 0;

    if (t->level_count == 0) {
        return s->chip->scaleup_chips < 1 ? 1 : s->chip->scaleup_chips;
    }
    for (unsigned i = 0; i < t->level_count; i++) {
        const struct planner_level *l = &t->levels[i];

        if (l->groups > 1) {
            const double gbps = l->link == PLANNER_LINK_PCIE ? l->gbps / chips : l->gbps;

            if (fastest > 0 && gbps < fastest / 2) {
                break;
            }
            fastest = fmax(fastest, gbps);
            chips *= l->groups;
        }
    }
    return chips > 1e6 ? 1000000 : (unsigned)chips;
}
