// SPDX-License-Identifier: Apache-2.0
/*
 * The judge: reads the events as they are stored, and nothing else of what happened, and follows
 * each instance through them. (Events name the members that a definition changed, not their values:
 * those are noted beside.) Where engines are told to load there is room for them and nobody else
 * loads; nobody is preempted by an equal or by more than so many an hour; nobody moves who is
 * pinned or young; whoever was moved aside comes back, or is not wanted any more. Then the history:
 * it has the same decisions.
 */
#include "placement_scene.h"

enum { LIVES_MAX = 4096, HOUR_MS = 3600 * 1000, DECISIONS = 5 };

/* An instance, by its events. */
struct life {
    char uuid[UUID_SIZE];
    char name[8];
    char state[16];
    struct place place;
    int64_t ready_ms;
    bool was_moved;
    char moved_for[8]; /* moved aside for it, and not ready again yet */
};

struct verdict {
    struct scene *scene;
    struct life *lives;
    size_t life_count;
    struct {
        unsigned life;
        int64_t epoch;
        bool there, wanted;
    } models[SUBJECTS];
    double threshold;
    int64_t preempted[LIVES_MAX]; /* wall times */
    size_t preemptions;
    int64_t last_id;
    size_t events;
    const struct death *death; /* the next one */
};

/* ---- what is noted ---- */

void judge_note_model(struct scene *s, const struct model *model, bool added)
{
    struct subject *of = subject_find(s, model->config->id);
    struct fact *f;

    of->lives += added;
    f = xcalloc(1, sizeof(*f));
    *f = (struct fact){ .life = of->lives,
                        .epoch = model->epoch,
                        .priority = model->config->priority,
                        .pinned = model->config->pinned };
    strcpy(f->name, of->name);
    list_append(&s->facts, &f->node);
}

struct last_question {
    struct store_op op;
    int64_t id;
};

static int run_last(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct last_question *q = container_of(op, struct last_question, op);
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT coalesce(max(id), 0) FROM events", "");

    if (r < 0 || (r = sql_next(st, reterr)) < 0) {
        return r;
    }
    q->id = sql_int(st, 0);
    return 0;
}

void judge_note_death(struct scene *s)
{
    struct death *d = xcalloc(1, sizeof(*d));
    struct last_question q = { .op.run = run_last };

    assert_int_equal(store_read_now(s->store, &q.op), 0);
    d->event_id = q.id;
    list_append(&s->deaths, &d->node);
}

void judge_finish(struct scene *s)
{
    while (!list_empty(&s->facts)) {
        struct fact *f = list_first(&s->facts, struct fact, node);

        list_remove(&f->node);
        free(f);
    }
    while (!list_empty(&s->deaths)) {
        struct death *d = list_first(&s->deaths, struct death, node);

        list_remove(&d->node);
        free(d);
    }
}

static size_t number_of(const struct verdict *v, const char *name)
{
    return (size_t)(subject_find(v->scene, name) - v->scene->subjects);
}

/* NULL: it was stored in the moment in which berth was killed, and is another one by now. */
static const struct fact *fact_of(const struct verdict *v, const char *name)
{
    const size_t i = number_of(v, name);
    const struct fact *f, *found = NULL;

    list_for_each (f, &v->scene->facts, node) {
        if (str_eq(f->name, name) && f->life == v->models[i].life &&
            f->epoch == v->models[i].epoch) {
            found = f;
        }
    }
    return found;
}

static void _printf_(3, 4)
    object(const struct verdict *v, const struct event *e, const char *fmt, ...)
{
    va_list ap;

    print_error("event %lld at %.3f s, %s %s %s:\n", (long long)e->id,
                (double)(e->wall_ms - 1767225600000LL) / 1000, event_kind_name(e->kind), e->subject,
                e->data);
    va_start(ap, fmt);
    vprint_error(fmt, ap);
    va_end(ap);
    print_error("\n");
    house_dump(v->scene);
    fail();
}

/* ---- instances ---- */

static struct life *life_of(struct verdict *v, const char *uuid, const char *name)
{
    for (size_t i = 0; i < v->life_count; i++) {
        if (str_eq(v->lives[i].uuid, uuid)) {
            return &v->lives[i];
        }
    }
    assert_true(v->life_count < LIVES_MAX);
    v->lives[v->life_count] = (struct life){ 0 };
    snprintf(v->lives[v->life_count].uuid, UUID_SIZE, "%s", uuid);
    snprintf(v->lives[v->life_count].name, sizeof(v->lives->name), "%s", name);
    strcpy(v->lives[v->life_count].state, "none");
    return &v->lives[v->life_count++];
}

static bool is(const struct life *l, const char *state)
{
    return str_eq(l->state, state);
}

static bool lies_there(const struct life *l)
{
    return is(l, "starting") || is(l, "ready") || is(l, "draining") || is(l, "stopping");
}

static void check_load(struct verdict *v, const struct event *e, const struct life *l)
{
    for (unsigned i = 0; i < l->place.count; i++) {
        const int device = l->place.shares[i].device;
        const uint64_t total = v->scene->machine->devices[device].facts.memory_total_bytes;
        uint64_t sum = 0;

        for (size_t k = 0; k < v->life_count; k++) {
            const struct life *other = &v->lives[k];

            sum += lies_there(other) ? place_bytes_on(&other->place, device) : 0;
            if (other != l && is(other, "starting") && place_bytes_on(&other->place, device)) {
                object(v, e, "%s loads there already", other->name);
            }
        }
        if (!v->scene->forces && sum > (uint64_t)((double)total * v->threshold) + MIB) {
            object(v, e, "there is no room on device %d: %.2f GiB with it", device,
                   (double)sum / (double)GIB);
        }
    }
}

static void on_state(struct verdict *v, const struct event *e, const json_t *data)
{
    const char *to = json_string_value(json_object_get(data, "to"));
    struct life *l = life_of(v, json_string_value(json_object_get(data, "instance")), e->subject);

    snprintf(l->state, sizeof(l->state), "%s", to);
    if (is(l, "starting")) {
        if (l->place.count == 0) {
            object(v, e, "nobody has given it a place");
        }
        check_load(v, e, l);
    } else if (is(l, "ready")) {
        l->ready_ms = e->wall_ms;
        l->moved_for[0] = '\0';
    } else if (!lies_there(l)) {
        l->place = (struct place){ 0 };
    }
    if (is(l, "gone") || is(l, "failed")) {
        l->moved_for[0] = '\0';
    }
}

/* ---- decisions ---- */

static void read_place(const json_t *data, struct place *place)
{
    const json_t *share;
    size_t i;

    *place = (struct place){ 0 };
    json_array_foreach(json_object_get(json_object_get(data, "place"), "devices"), i, share)
    {
        place->shares[place->count++] = (struct place_share){
            (int)json_integer_value(json_object_get(share, "device")),
            (uint64_t)json_integer_value(json_object_get(share, "bytes")),
        };
    }
}

/* It, or one before it: who was moved aside is remembered over restarts of berth. */
static bool was_moved(const struct verdict *v, const char *name)
{
    for (size_t i = 0; i < v->life_count; i++) {
        if (str_eq(v->lives[i].name, name) && v->lives[i].was_moved) {
            return true;
        }
    }
    return false;
}

static void on_placed(struct verdict *v, const struct event *e, const json_t *data)
{
    struct life *l = life_of(v, json_string_value(json_object_get(data, "instance")), e->subject);

    if (lies_there(l)) {
        object(v, e, "it has its place");
    }
    read_place(data, &l->place);
    if (e->kind == EVENT_MODEL_RECOVERED && !was_moved(v, l->name) && !v->scene->forces) {
        object(v, e, "it was not moved aside");
    }
}

/* Where one is preempted for another: of lower priority; equals only swap. */
static void check_rank(const struct verdict *v, const struct event *e, const char *newcomer)
{
    const struct fact *moved = fact_of(v, e->subject), *comes = fact_of(v, newcomer);

    if (!moved || !comes) {
        return;
    }
    if (moved->pinned) {
        object(v, e, "it is pinned");
    }
    if (e->kind == EVENT_MODEL_PREEMPTED && moved->priority >= comes->priority) {
        object(v, e, "its priority is %d, that of %s %d", moved->priority, newcomer,
               comes->priority);
    }
    if (e->kind == EVENT_MODEL_SWAPPED && moved->priority > comes->priority) {
        object(v, e, "its priority is %d, that of %s only %d", moved->priority, newcomer,
               comes->priority);
    }
}

static void check_rate(struct verdict *v, const struct event *e)
{
    size_t n = 0;

    assert_true(v->preemptions < LIVES_MAX);
    v->preempted[v->preemptions++] = e->wall_ms;
    for (size_t i = 0; i < v->preemptions; i++) {
        n += v->preempted[i] > e->wall_ms - HOUR_MS;
    }
    if (n > PREEMPTIONS_AN_HOUR) {
        object(v, e, "%zu preemptions within an hour", n);
    }
}

static void on_moved(struct verdict *v, const struct event *e, const json_t *data)
{
    struct life *l = life_of(v, json_string_value(json_object_get(data, "instance")), e->subject);
    const char *newcomer = json_string_value(json_object_get(data, "for"));

    if (!newcomer || !newcomer[0]) {
        object(v, e, "for nobody");
        return;
    }
    if (e->kind == EVENT_MODEL_PREEMPTED) {
        check_rate(v, e);
    }
    if (str_eq(newcomer, e->subject)) {
        return; /* placed again, by force */
    }
    check_rank(v, e, newcomer);
    if (is(l, "ready") && !v->scene->forces && e->wall_ms < l->ready_ms + MIN_RESIDENCY_MS) {
        object(v, e, "it is ready since %lld ms only", (long long)(e->wall_ms - l->ready_ms));
    }
    l->was_moved = true;
    snprintf(l->moved_for, sizeof(l->moved_for), "%s", newcomer);
}

static void check_reason(const struct verdict *v, const struct event *e, const json_t *data)
{
    const char *reason = json_string_value(json_object_get(data, "reason"));

    if (!reason || !reason[0]) {
        object(v, e, "without a reason");
    }
}

/* ---- one after the other ---- */

static void forget_moves(struct verdict *v, const char *name)
{
    for (size_t i = 0; i < v->life_count; i++) {
        if (str_eq(v->lives[i].name, name)) {
            v->lives[i].moved_for[0] = '\0';
        }
    }
}

static void on_catalogue(struct verdict *v, const struct event *e, const json_t *data)
{
    const size_t i = number_of(v, e->subject);

    switch (e->kind) {
    case EVENT_MODEL_CREATED:
        v->models[i].life++;
        v->models[i].there = true;
        v->models[i].epoch = 1;
        break;
    case EVENT_MODEL_UPDATED:
        v->models[i].epoch = json_integer_value(json_object_get(data, "epoch"));
        break;
    case EVENT_MODEL_DELETED:
        v->models[i].there = v->models[i].wanted = false;
        forget_moves(v, e->subject);
        break;
    default:
        v->models[i].wanted = e->kind == EVENT_MODEL_WANTED;
        if (!v->models[i].wanted) {
            forget_moves(v, e->subject);
        }
        break;
    }
}

/* Only what the next berth adopts goes on; who was moved aside and is wanted gets a fresh one. */
static void die(struct verdict *v)
{
    for (size_t i = 0; i < v->life_count; i++) {
        struct life *l = &v->lives[i];

        strcpy(l->state, lies_there(l) || is(l, "orphan") ? "orphan" : "gone");
        l->moved_for[0] = '\0';
    }
}

static void on_adopted(struct verdict *v, const struct event *e, const json_t *data)
{
    struct life *l = life_of(v, json_string_value(json_object_get(data, "instance")), e->subject);

    if (!is(l, "orphan")) {
        object(v, e, "it was %s", l->state);
    }
    strcpy(l->state, "starting");
}

static void on_event(void *arg, const struct event *e, int result)
{
    struct verdict *v = arg;
    json_t *data;

    if (!e) {
        assert_int_equal(result, 0);
        return;
    }
    v->last_id = e->id;
    v->events++;
    while (v->death && v->death->event_id < e->id) {
        die(v);
        v->death = &v->death->node == v->scene->deaths.prev
                       ? NULL
                       : container_of(v->death->node.next, struct death, node);
    }
    data = json_loads(e->data && e->data[0] ? e->data : "{}", 0, NULL);
    assert_non_null(data);
    v->scene->told[e->kind]++;
    switch (e->kind) {
    case EVENT_MODEL_CREATED:
    case EVENT_MODEL_UPDATED:
    case EVENT_MODEL_DELETED:
    case EVENT_MODEL_WANTED:
    case EVENT_MODEL_UNWANTED:
        on_catalogue(v, e, data);
        break;
    case EVENT_INSTANCE_STATE:
        on_state(v, e, data);
        break;
    case EVENT_INSTANCE_ADOPTED:
        on_adopted(v, e, data);
        break;
    case EVENT_MODEL_PLACED:
    case EVENT_MODEL_RECOVERED:
        check_reason(v, e, data);
        on_placed(v, e, data);
        break;
    case EVENT_MODEL_PREEMPTED:
    case EVENT_MODEL_SWAPPED:
        check_reason(v, e, data);
        on_moved(v, e, data);
        break;
    case EVENT_PLACEMENT_FAILED:
        check_reason(v, e, data);
        break;
    case EVENT_PLACEMENT_RULES_CHANGED:
        v->threshold = json_number_value(json_object_get(data, "resource_threshold"));
        break;
    default:
        break;
    }
    json_decref(data);
}

/* Whoever was moved aside is back, or waits; which of the two is right is for the end of the
 * history to say. */
static void check_moved(struct verdict *v)
{
    for (size_t i = 0; i < v->life_count; i++) {
        struct life *l = &v->lives[i];

        if (l->moved_for[0] && !is(l, "waiting") && !is(l, "backoff") && !is(l, "starting")) {
            complain(v->scene, "%s was moved aside for %s; now it is %s", l->name, l->moved_for,
                     l->state);
        }
    }
}

/* ---- the history ---- */

struct counted {
    struct scene *scene;
    unsigned acts[ACT_MAX_];
    size_t entries;
    unsigned placed, failed, preempted; /* today; within the last hour */
    int64_t newest;
    bool done;
};

static void on_entry(void *arg, const struct placement_entry *entry, int result)
{
    struct counted *c = arg;

    if (!entry) {
        assert_true(result >= (int)c->entries); /* how many match in all */
        c->done = true;
        return;
    }
    if (c->newest && entry->id >= c->newest) {
        complain(c->scene, "the history is not ordered");
    }
    c->newest = entry->id;
    c->entries++;
    c->acts[entry->act]++;
    c->placed += entry->success && (entry->act == ACT_SCHEDULED || entry->act == ACT_RECOVERED);
    c->failed += !entry->success;
    c->preempted +=
        entry->act == ACT_PREEMPTED && entry->wall_ms > world_wall_ms(c->scene->world) - HOUR_MS;
    if (!entry->reason || !entry->reason[0]) {
        complain(c->scene, "row %lld of the history has no reason", (long long)entry->id);
    }
}

static bool is_counted(struct scene *s, void *arg)
{
    return ((struct counted *)arg)->done;
}

/* The counters say what the history says, restarts or not. */
static void check_counts(const struct counted *c)
{
    const struct placement_counts counts = placement_counts(c->scene->placement);

    if (c->entries < 1000 &&
        (counts.placed_today != c->placed || counts.failed_today != c->failed ||
         counts.decisions_today != c->placed + c->failed ||
         counts.preemptions_last_hour != c->preempted)) {
        complain(c->scene, "%u placed, %u failed, %u preempted are counted; it was %u, %u and %u",
                 counts.placed_today, counts.failed_today, counts.preemptions_last_hour, c->placed,
                 c->failed, c->preempted);
    }
}

static void check_history(struct verdict *v)
{
    static const int kinds[ACT_MAX_] = {
        [ACT_SCHEDULED] = EVENT_MODEL_PLACED,  [ACT_PREEMPTED] = EVENT_MODEL_PREEMPTED,
        [ACT_SWAPPED] = EVENT_MODEL_SWAPPED,   [ACT_RECOVERED] = EVENT_MODEL_RECOVERED,
        [ACT_FAILED] = EVENT_PLACEMENT_FAILED,
    };
    struct counted c = { .scene = v->scene };

    placement_history(v->scene->placement, &(struct placement_history_filter){ .limit = 1000 },
                      on_entry, &c);
    assert_true(await(v->scene, is_counted, &c, 1000));
    for (int act = 0; act < ACT_MAX_ && c.entries < 1000; act++) {
        /* One that ran out of memory closes the row of its placement. */
        if (act == ACT_FAILED ? c.acts[act] > v->scene->told[kinds[act]]
                              : c.acts[act] != v->scene->told[kinds[act]]) {
            complain(v->scene, "%u rows of the history say %s, %u events say %s", c.acts[act],
                     placement_act_name((enum placement_act)act), v->scene->told[kinds[act]],
                     event_kind_name((enum event_kind)kinds[act]));
        }
    }
    check_counts(&c);
}

void judge(struct scene *s)
{
    struct verdict *v = xcalloc(1, sizeof(*v));
    size_t before;

    v->scene = s;
    memset(s->told, 0, sizeof(s->told));
    v->lives = xcalloc(LIVES_MAX, sizeof(*v->lives));
    v->threshold = 0.8;
    v->death = list_empty(&s->deaths) ? NULL : list_first(&s->deaths, struct death, node);
    do {
        before = v->events;
        events_query(s->events, &(struct event_filter){ .after_id = v->last_id, .kind = -1 },
                     on_event, v);
        sim_run_for(s->world, 1);
    } while (v->events > before);
    check_moved(v);
    check_history(v);
    free(v->lives);
    free(v);
}
