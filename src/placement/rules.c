// SPDX-License-Identifier: Apache-2.0
/*
 * The rules: those that a person has set, kept as one row of JSON so that a new one needs no
 * migration, else the options. A row that a newer or an older berth has written is read as far as
 * it is understood.
 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "placement/placement_int.h"

const char placement_rules_table[] = "CREATE TABLE placement_rules("
                                     "  id INTEGER PRIMARY KEY CHECK(id = 1),"
                                     "  rules TEXT NOT NULL) STRICT";

/* One change that is with the store. */
struct rule_op {
    struct store_op op;
    struct list node;
    struct placement *p; /* NULL: destroyed meanwhile */
    struct placement_rules rules;
    char *text;
    struct event *event;
    void (*done)(void *arg, int result, const struct error *e);
    void *arg;
};

static json_t *to_json(const struct placement_rules *r)
{
    return json_pack("{s:s, s:b, s:b, s:f, s:i, s:i, s:i, s:i}", "scheduling_algorithm",
                     policy_algorithm_name(r->algorithm), "preemption_enabled",
                     r->preemption_enabled, "auto_recovery_enabled", r->auto_recovery_enabled,
                     "resource_threshold", r->resource_threshold, "priority_levels",
                     r->priority_levels, "max_queue_size", r->max_queue_size, "scheduling_interval",
                     r->scheduling_interval_s, "health_check_interval", r->health_check_interval_s);
}

static int check_range(const char *name, double value, double min, double max, struct error *reterr)
{
    /* Written so that what is no number is refused too. */
    if (!(value >= min && value <= max)) {
        return error_set(reterr, -EINVAL, "%s: %g is not between %g and %g", name, value, min, max);
    }
    return 0;
}

static int check(const struct placement_rules *r, struct error *reterr)
{
    int e = 0;

    if ((unsigned)r->algorithm >= POLICY_ALGORITHM_MAX_) {
        return error_set(reterr, -EINVAL,
                         "scheduling_algorithm: one of priority_based, spread and first_come");
    }
    e = check_range("resource_threshold", r->resource_threshold, 0.1, 1.0, reterr);
    if (e == 0) {
        e = check_range("priority_levels", r->priority_levels, 1, 20, reterr);
    }
    if (e == 0) {
        e = check_range("max_queue_size", r->max_queue_size, 1, 10000, reterr);
    }
    if (e == 0) {
        e = check_range("scheduling_interval", r->scheduling_interval_s, 10, 300, reterr);
    }
    return e < 0
               ? e
               : check_range("health_check_interval", r->health_check_interval_s, 1, 3600, reterr);
}

static void read_bool(const json_t *from, const char *name, bool *to)
{
    const json_t *v = json_object_get(from, name);

    *to = json_is_boolean(v) ? json_is_true(v) : *to;
}

static void read_int(const json_t *from, const char *name, int *to)
{
    const json_t *v = json_object_get(from, name);

    *to = json_is_integer(v) ? (int)json_integer_value(v) : *to;
}

/* What is absent stays as it is. */
static void from_json(const json_t *from, struct placement_rules *to)
{
    const char *word = json_string_value(json_object_get(from, "scheduling_algorithm"));
    const json_t *threshold = json_object_get(from, "resource_threshold");
    int algorithm = word ? policy_algorithm_from_string(word) : -EINVAL;

    to->algorithm = algorithm < 0 ? to->algorithm : (enum policy_algorithm)algorithm;
    to->resource_threshold =
        json_is_number(threshold) ? json_number_value(threshold) : to->resource_threshold;
    read_bool(from, "preemption_enabled", &to->preemption_enabled);
    read_bool(from, "auto_recovery_enabled", &to->auto_recovery_enabled);
    read_int(from, "priority_levels", &to->priority_levels);
    read_int(from, "max_queue_size", &to->max_queue_size);
    read_int(from, "scheduling_interval", &to->scheduling_interval_s);
    read_int(from, "health_check_interval", &to->health_check_interval_s);
}

const struct placement_rules *placement_rules(const struct placement *p)
{
    return &p->rules;
}

static void use(struct placement *p, const struct placement_rules *rules)
{
    p->rules = *rules;
    if (p->engines) {
        engines_set_probe_interval(p->engines, (uint64_t)rules->health_check_interval_s * 1000);
    }
}

static void apply(struct placement *p, const struct placement_rules *rules)
{
    use(p, rules);
    decide_soon(p);
}

void rules_reconfigure(struct placement *p, const struct config *config)
{
    const char *word = config_string(config, "placement.algorithm");

    p->configured = (struct placement_rules){
        .algorithm = (enum policy_algorithm)policy_algorithm_from_string(word),
        .preemption_enabled = config_bool(config, "placement.preemption"),
        .auto_recovery_enabled = config_bool(config, "placement.auto_recovery"),
        .resource_threshold = (double)config_int(config, "placement.threshold") / 100,
        .priority_levels = (int)config_int(config, "placement.priority_levels"),
        .max_queue_size = (int)config_int(config, "placement.max_queue"),
        .scheduling_interval_s = (int)(config_duration_ms(config, "placement.interval") / 1000),
        .health_check_interval_s =
            (int)(config_duration_ms(config, "placement.health_interval") / 1000),
    };
    if (!p->rules_set) {
        apply(p, &p->configured);
    }
}

/* ---- the store ---- */

static void rule_op_free(struct rule_op *o)
{
    event_free(o->event);
    free(o->text);
    free(o);
}

static int run_rules(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct rule_op *o = container_of(op, struct rule_op, op);
    int r = sql_run(db, reterr,
                    "INSERT INTO placement_rules(id, rules) VALUES(1, ?) "
                    "ON CONFLICT(id) DO UPDATE SET rules = excluded.rules",
                    "t", o->text);

    if (r >= 0 && o->event) {
        r = events_append(db, o->event, reterr);
    }
    return MIN_OF(r, 0);
}

static void finish_rules(struct rule_op *o, int result, const struct error *e)
{
    struct placement *p = o->p;

    list_remove(&o->node);
    if (p && result == 0) {
        p->rules_set = true;
        apply(p, &o->rules);
        if (o->event) {
            events_publish(p->events, TAKE_PTR(o->event));
        }
        log_info("placement", NULL, "the rules were changed", kv_str("rules", o->text));
    }
    if (p && o->done) {
        o->done(o->arg, result, e);
    }
    rule_op_free(o);
}

static void on_rules_stored(struct store_op *op)
{
    finish_rules(container_of(op, struct rule_op, op), MIN_OF(op->result, 0), &op->error);
}

int placement_set_rules(struct placement *p, const struct placement_rules *rules,
                        void (*done)(void *arg, int result, const struct error *e), void *arg,
                        struct error *reterr)
{
    struct rule_op *o;
    json_t *json;
    int r = check(rules, reterr);

    if (r < 0) {
        return r;
    }
    if (!p->store) {
        return error_set(reterr, -EROFS, "nothing is stored here");
    }
    o = xcalloc(1, sizeof(*o));
    json = to_json(rules);
    *o = (struct rule_op){ .p = p, .rules = *rules, .done = done, .arg = arg };
    o->op.run = run_rules;
    o->op.done = on_rules_stored;
    o->text = json_dumps(json, JSON_COMPACT);
    o->event = p->events ? event_create(p->world, EVENT_PLACEMENT_RULES_CHANGED, "", json) : NULL;
    if (!p->events) {
        json_decref(json);
    }
    list_append(&p->rule_ops, &o->node);
    store_write(p->store, &o->op);
    return 0;
}

void rules_detach(struct placement *p)
{
    struct error e = { 0 };
    struct rule_op *o, *tmp;

    error_set(&e, -ECANCELED, "berth goes down");
    list_for_each_safe (o, tmp, &p->rule_ops, node) {
        list_remove(&o->node);
        o->p = NULL;
        if (o->done) {
            o->done(o->arg, -ECANCELED, &e);
        }
    }
}

struct load_op {
    struct store_op op;
    struct placement *p;
};

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct placement *p = container_of(op, struct load_op, op)->p;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    struct placement_rules rules = p->configured;
    struct error e = { 0 };
    json_t *json;
    int r = sql_query(db, &st, reterr, "SELECT rules FROM placement_rules WHERE id = 1", "");

    if (r == 0) {
        r = sql_next(st, reterr);
    }
    if (r <= 0) {
        return r;
    }
    json = json_loads(sql_text(st, 0), 0, NULL);
    from_json(json, &rules);
    json_decref(json);
    r = check(&rules, &e);
    if (r < 0) {
        log_warn("placement", NULL, "the stored rules are not good, ignoring",
                 kv_str("error", e.text));
        return 0;
    }
    use(p, &rules);
    p->rules_set = true;
    return 0;
}

int rules_load(struct placement *p, struct error *reterr)
{
    struct load_op o = { .op.run = run_load, .p = p };
    int r = store_read_now(p->store, &o.op);

    if (r < 0) {
        return error_set(reterr, r, "the rules of placement cannot be read: %s", o.op.error.text);
    }
    return 0;
}
