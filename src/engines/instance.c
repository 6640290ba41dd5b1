// SPDX-License-Identifier: Apache-2.0
/*
 * One instance's life. set_state is the only place where a state changes; it knows which changes
 * there are.
 *
 * What is a promise is committed before it takes effect: the intent row before the process. What is
 * a fact (it answers, it died) takes effect in memory and is told at once, since a request routed
 * to a dead process helps nobody; its row and event follow in order, together.
 */
#include "engines/engines_int.h"

#include <assert.h>
#include <signal.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_LOOK_MS = 10, LONGEST_LOOK_MS = 1000, STORE_WAIT_MS = 5000 };

#define BIT(state) (1u << (state))

/* From each state, those that may follow. Leaving the list ends WAITING, DRAINING (it died),
 * STOPPING, BACKOFF, FAILED and nothing else. */
static const unsigned followers[INSTANCE_STATE_MAX_] = {
    [INSTANCE_WAITING] = BIT(INSTANCE_STARTING) | BIT(INSTANCE_FAILED),
    [INSTANCE_STARTING] =
        BIT(INSTANCE_READY) | BIT(INSTANCE_STOPPING) | BIT(INSTANCE_BACKOFF) | BIT(INSTANCE_FAILED),
    [INSTANCE_READY] = BIT(INSTANCE_DRAINING) | BIT(INSTANCE_STOPPING) | BIT(INSTANCE_BACKOFF) |
                       BIT(INSTANCE_FAILED),
    [INSTANCE_DRAINING] = BIT(INSTANCE_READY) | BIT(INSTANCE_STOPPING) | BIT(INSTANCE_WAITING),
    [INSTANCE_STOPPING] = BIT(INSTANCE_BACKOFF) | BIT(INSTANCE_FAILED) | BIT(INSTANCE_WAITING),
    [INSTANCE_BACKOFF] = BIT(INSTANCE_WAITING),
    [INSTANCE_FAILED] = BIT(INSTANCE_WAITING),
};

static const char *const state_names[INSTANCE_STATE_MAX_] = {
    [INSTANCE_WAITING] = "waiting",   [INSTANCE_STARTING] = "starting",
    [INSTANCE_READY] = "ready",       [INSTANCE_DRAINING] = "draining",
    [INSTANCE_STOPPING] = "stopping", [INSTANCE_BACKOFF] = "backoff",
    [INSTANCE_FAILED] = "failed",
};

static const char *const failure_names[FAILURE_MAX_] = {
    [FAILURE_NONE] = "none",
    [FAILURE_COMMAND] = "command",
    [FAILURE_EXEC] = "exec",
    [FAILURE_SPAWN] = "spawn",
    [FAILURE_STORE] = "store",
    [FAILURE_EXIT] = "exit",
    [FAILURE_SIGNAL] = "signal",
    [FAILURE_UNKNOWN] = "unknown",
    [FAILURE_HUNG] = "hung",
    [FAILURE_START_TIMEOUT] = "start_timeout",
    [FAILURE_UNREACHABLE] = "unreachable",
    [FAILURE_MEMORY] = "out_of_memory",
};

const char *instance_state_name(enum instance_state s)
{
    assert(s < INSTANCE_STATE_MAX_);
    return state_names[s];
}

static uint64_t now(const struct inst *inst)
{
    return world_now_ms(inst->engines->world);
}

static void count(const struct inst *inst, int metric, const char *second)
{
    const char *values[] = { inst->model_name, second };

    metric_add(metrics_cell(inst->engines->metrics, &engines_metrics[metric], values), 1);
}

static struct event *state_event(const struct inst *inst, const char *from, const char *to,
                                 const char *why)
{
    json_t *data = json_pack("{s:s, s:s, s:s, s:s*}", "instance", inst->pub.uuid, "from", from,
                             "to", to, "why", why);

    return event_create(inst->engines->world, EVENT_INSTANCE_STATE, inst->model_name, data);
}

static void tell(struct inst *inst, enum instance_state from, bool gone)
{
    const struct instance_change change = { .instance = &inst->pub,
                                            .from = from,
                                            .to = inst->pub.state,
                                            .made = !inst->told,
                                            .gone = gone };

    inst->told = true;
    notify_emit(&inst->engines->signal, &change);
}

/* `why` is for people, and may be NULL. Listeners run inside: nothing of the instance may be half
 * done when it is called. */
static void set_state(struct inst *inst, enum instance_state to, const char *why)
{
    enum instance_state from = inst->pub.state;

    assert(followers[from] & BIT(to));
    inst->pub.state = to;
    inst->pub.state_since_ms = now(inst);
    log_info("engines", inst->log_name, state_names[to], kv_str("from", state_names[from]),
             kv_str("why", why), kv_int("pid", inst->pub.process.pid));
    inst_store(inst, inst->has_row ? ROW_UPDATE : ROW_NONE,
               state_event(inst, state_names[from], state_names[to], why));
    tell(inst, from, false);
}

static void set_error(struct inst *inst, const char *text)
{
    free(inst->pub.last_error);
    inst->pub.last_error = xstrdup(text);
}

/* ---- starting */

static void start_process(struct inst *inst)
{
    struct error err = { 0 };

    if (inst_spawn(inst, &err) < 0) {
        inst_fail(inst, FAILURE_SPAWN, "cannot start a process: %s", err.text);
        return;
    }
    count(inst, METRIC_STARTS, NULL);
    inst_store(inst, ROW_UPDATE, NULL);
    log_info("engines", inst->log_name, "process started", kv_int("pid", inst->pub.process.pid));
    inst_open_upstream(inst);
    timer_start(&inst->deadline,
                config_duration_ms(inst->engines->config, "engines.start_timeout"));
    timer_start(&inst->timer, FIRST_LOOK_MS);
}

/* The definition may be another one than that of its last start, and its engine of another kind. */
static void take_definition(struct inst *inst)
{
    const struct model *model = inst_model(inst);

    if (model && inst->pub.model_epoch != model->epoch) {
        inst->pub.model_epoch = model->epoch;
        inst->driver = driver_find(model->config->framework);
        inst_close_upstream(inst);
        inst->pub.need_known = false; /* nobody shall place it by what it needed before */
        inst_find_need(inst);
    }
}

/* Finds out what to run; whatever is wrong with that stays wrong until a person changes something.
 */
static int prepare(struct inst *inst, struct error *reterr)
{
    struct inst_place place = { inst->pub.uuid, inst->pub.replica, inst->port, &inst->pub.place };
    const struct model *model = inst_model(inst);
    struct engine_command command = { 0 };
    int r;

    if (!model) {
        return error_set(reterr, -ENOENT, "the model was deleted");
    }
    r = inst_command(inst->engines, model, &place, &command, inst->spec_hash, reterr);
    if (r < 0) {
        return r;
    }
    inst_take_command(inst, &command);
    return 0;
}

/* What its process is to find; perhaps another time when not now. */
static int make_ready(struct inst *inst, struct error *reterr)
{
    int r = instance_dir_make(inst->pub.uuid, reterr);

    return r < 0 ? r : inst_check_port(inst, reterr);
}

static void reset_start(struct inst *inst)
{
    inst->failure = FAILURE_NONE;
    inst->was_ready = false;
    inst->probes = inst->looks = 0;
    inst->progress_ms = 0;
    inst->progress_refused = false;
    inst->pub.retry_at_ms = inst->pub.ready_in_ms = 0;
    inst->pub.last_probe_wall_ms = 0;
    inst->pub.adopted = inst->pub.sleeping = false;
    inst->oom_kills = oom_kills(inst);
}

/* A remote endpoint runs already, if it does. Its connections outlive a time in which its probes
 * fail: what is under way may end well. */
static void start_remote(struct inst *inst)
{
    inst->spawned_ms = now(inst);
    if (!inst->upstream) {
        inst_open_upstream(inst);
    }
    timer_start(&inst->timer, 0);
}

/* In STARTING: commits the intent; the rest follows in inst_committed. */
static void start(struct inst *inst)
{
    struct error err = { 0 };
    int r;

    take_definition(inst);
    if (inst_choose_port(inst, &err) < 0) {
        reset_start(inst);
        inst_fail(inst, FAILURE_SPAWN, "%s", err.text);
        return;
    }
    reset_start(inst);
    r = prepare(inst, &err);
    if (r < 0) {
        inst_fail(inst, r == -ENODEV ? FAILURE_SPAWN : FAILURE_COMMAND, "%s", err.text);
    } else if (inst->pub.remote) {
        start_remote(inst);
    } else if (make_ready(inst, &err) < 0) {
        inst_fail(inst, FAILURE_SPAWN, "%s", err.text);
    } else {
        inst->committing = inst->has_row = true;
        inst_store(inst, ROW_INTENT, NULL);
    }
}

static void on_none_left(struct inst *inst);

void inst_committed(struct inst *inst, int result, const struct error *error)
{
    inst->committing = false;
    if (inst->pub.state != INSTANCE_STARTING) {
        on_none_left(inst); /* it was stopped meanwhile */
    } else if (result >= 0) {
        strcpy(inst->stored_hash, inst->spec_hash);
        start_process(inst);
    } else if (result != -ESTALE && str_eq(inst->stored_hash, inst->spec_hash)) {
        /* The row of an earlier start says the same. A full disk shall not keep an engine down. */
        log_warn("engines", inst->log_name, "the start is not stored anew, ignoring",
                 kv_str("reason", error->text));
        start_process(inst);
    } else {
        inst_fail(inst, FAILURE_STORE, "cannot store the intent to start: %s", error->text);
    }
}

/* ---- waiting */

/* From WAITING. */
static void begin_start(struct inst *inst, const char *why)
{
    inst->pub.displaced = inst->waited = false;
    timer_stop(&inst->timer);
    set_state(inst, INSTANCE_STARTING, why);
    start(inst);
}

/* In WAITING. A definition that can never run fails now, before anybody makes room for it; what
 * needs no place does not wait for one. */
static void look_ahead(struct inst *inst)
{
    struct inst_place nowhere = { inst->pub.uuid, inst->pub.replica, MAX_OF(inst->port, 1), NULL };
    const struct model *model = inst_model(inst);
    struct engine_command command = { 0 };
    char hash[SPEC_HASH_SIZE];
    struct error err = { 0 };
    int r;

    if (!model) {
        return; /* it is about to leave */
    }
    r = inst_command(inst->engines, model, &nowhere, &command, hash, &err);
    if (r == -ENODEV && !inst->engines->places_itself) {
        timer_start(&inst->timer, ROOM_PATIENCE_MS); /* a device that went may come back */
        return;
    }
    if (r < 0) {
        inst_fail(inst, FAILURE_COMMAND, "%s", err.text);
        return;
    }
    inst_take_command(inst, &command);
    inst->pub.address = (struct address){ 0 }; /* nothing listens, and a port is chosen later */
    if (inst->pub.remote || inst->engines->places_itself) {
        begin_start(inst, NULL);
    } else {
        timer_start(&inst->timer, ROOM_PATIENCE_MS);
    }
}

static void note_waiting(struct inst *inst)
{
    inst->pub.waiting_since_ms =
        inst->pub.waiting_since_ms ? inst->pub.waiting_since_ms : MAX_OF(now(inst), 1);
}

static void wait_for_place(struct inst *inst, const char *why)
{
    if (!inst->pub.remote) {
        inst_close_upstream(inst);
    }
    inst->pub.process = (struct process_id){ 0 };
    inst->pub.place = inst->pub.taken = (struct place){ 0 };
    inst->pub.retry_at_ms = 0;
    inst->stale = false;
    note_waiting(inst);
    set_state(inst, INSTANCE_WAITING, why);
    take_definition(inst);
    look_ahead(inst);
}

void inst_begin(struct inst *inst)
{
    inst->pub.state = INSTANCE_WAITING;
    inst->pub.state_since_ms = now(inst);
    note_waiting(inst);
    log_info("engines", inst->log_name, "waiting");
    inst_store(inst, ROW_NONE, state_event(inst, "none", "waiting", NULL));
    tell(inst, INSTANCE_WAITING, false);
    inst_find_need(inst);
    look_ahead(inst);
}

void inst_take_definition(struct inst *inst)
{
    assert(inst->pub.state == INSTANCE_WAITING);
    take_definition(inst);
    inst_store(inst, inst->has_row ? ROW_UPDATE : ROW_NONE, NULL);
    look_ahead(inst);
}

void inst_place(struct inst *inst, const struct place *place)
{
    const struct model *model = inst_model(inst);

    if (inst->pub.state != INSTANCE_WAITING || !model || !model->wanted ||
        inst->pub.model_epoch != model->epoch) {
        return; /* it is about to leave, has begun already, or is another one by now */
    }
    inst->pub.place = *place;
    begin_start(inst, NULL);
}

void inst_begin_adopted(struct inst *inst)
{
    inst->pub.state = INSTANCE_STARTING;
    inst->pub.state_since_ms = now(inst);
    inst->has_row = true;
    inst_open_upstream(inst);
    events_emit(
        inst->engines->events, EVENT_INSTANCE_ADOPTED, inst->model_name,
        json_pack("{s:s, s:i}", "instance", inst->pub.uuid, "pid", (int)inst->pub.process.pid));
    log_info("engines", inst->log_name, "adopted", kv_int("pid", inst->pub.process.pid));
    tell(inst, INSTANCE_STARTING, false);
    inst_find_need(inst);
    timer_start(&inst->deadline,
                config_duration_ms(inst->engines->config, "engines.start_timeout"));
    timer_start(&inst->timer, 0);
}

/* It is ready, unless a listener changed that. */
static void watch(struct inst *inst)
{
    if (inst->pub.state == INSTANCE_READY) {
        inst_measure(inst);
        inst_ask_info(inst);
        inst_plan_health(inst);
        inst_watch_progress(inst);
    }
}

void inst_ready(struct inst *inst)
{
    const char *model[] = { inst->model_name };
    struct engines *e = inst->engines;

    timer_stop(&inst->deadline);
    inst->was_ready = true;
    inst->probes = 0;
    inst->pub.waiting_since_ms = 0;
    inst->pub.out_of_memory = 0;
    if (!inst->pub.adopted) {
        inst->pub.ready_in_ms = MAX_OF(now(inst) - inst->spawned_ms, 1);
    }
    if (!inst->pub.adopted && !inst->pub.remote) {
        metric_observe(metrics_cell(e->metrics, &engines_metrics[METRIC_LOAD_SECONDS], model),
                       (double)inst->pub.ready_in_ms / 1000);
    }
    set_state(inst, INSTANCE_READY, inst->pub.adopted ? "adopted" : NULL);
    engines_reconcile_soon(e); /* a rolling update may go on */
    watch(inst);
}

void inst_tell_slots(struct inst *inst)
{
    log_info("engines", inst->log_name, "slots as the engine tells",
             kv_int("slots", inst->pub.slots));
    tell(inst, INSTANCE_READY, false);
}

void inst_tell_news(struct inst *inst)
{
    tell(inst, inst->pub.state, false);
}

/* ---- ending */

/* No marked process is left and the row is of no use: the last word, then it is forgotten. */
static void finish_gone(struct inst *inst)
{
    struct engines *e = inst->engines;

    inst_close_upstream(inst);
    timer_stop(&inst->timer);
    timer_stop(&inst->deadline);
    instance_dir_remove(inst->pub.uuid);
    log_info("engines", inst->log_name, "gone");
    inst_store(inst, inst->has_row ? ROW_DELETE : ROW_NONE,
               state_event(inst, state_names[inst->pub.state], "gone", NULL));
    tell(inst, inst->pub.state, true);
    inst_free(inst);
    engines_reconcile_soon(e);
}

/* Ready for so long that what went wrong before has nothing to do with what goes wrong next. */
static bool is_stable(const struct inst *inst)
{
    return inst->was_ready && now(inst) - inst->pub.state_since_ms >=
                                  config_duration_ms(inst->engines->config, "engines.stable_after");
}

static bool is_in_vain(enum failure f)
{
    return f == FAILURE_COMMAND || f == FAILURE_EXEC;
}

/* min(initial_delay × factor^(attempts - 1), max_delay). The first failure of one that was ready is
 * retried at once: people wait for it, and it has shown that it can run. A remote endpoint is asked
 * for ever, and so never in a hurry. */
static uint64_t retry_delay_ms(const struct inst *inst, const struct retry_policy *policy)
{
    double delay_s = policy->initial_delay_s;

    if (inst->failure == FAILURE_STORE) {
        return STORE_WAIT_MS; /* not its fault, and no end of attempts: never in a hurry */
    }
    if (inst->was_ready && inst->attempts <= 1) {
        return 0;
    }
    for (unsigned i = 1; i < inst->attempts && delay_s < policy->max_delay_s; i++) {
        delay_s *= policy->backoff_factor;
    }
    delay_s = MIN_OF(delay_s, policy->max_delay_s);
    return (uint64_t)(MAX_OF(delay_s, inst->pub.remote ? 1.0 : 0.0) * 1000);
}

/* A remote endpoint comes back by itself, however long that takes. */
static bool is_last_attempt(const struct inst *inst, const struct retry_policy *policy)
{
    return !inst->pub.remote && inst->attempts > 0 &&
           inst->attempts >= (unsigned)MAX_OF(policy->max_attempts, 1);
}

static void give_up(struct inst *inst)
{
    const char *why = inst->pub.last_error;

    log_error("engines", inst->log_name, "given up", kv_str("reason", why),
              kv_int("failed_attempts", inst->attempts));
    inst->pub.waiting_since_ms = 0;
    set_state(inst, INSTANCE_FAILED, why);
}

/* All its processes are gone, and it failed: again later, or never by itself. */
static void judge(struct inst *inst)
{
    const struct model *model = inst_model(inst);
    const struct retry_policy *policy = model ? &model->config->retry_policy : NULL;
    uint64_t delay_ms;

    inst->pub.process = (struct process_id){ 0 };
    if (!policy || !policy->enabled || is_in_vain(inst->failure) || is_last_attempt(inst, policy)) {
        give_up(inst);
        return;
    }
    delay_ms = retry_delay_ms(inst, policy);
    inst->pub.retry_at_ms = MAX_OF(now(inst) + delay_ms, 1);
    timer_start(&inst->timer, delay_ms);
    note_waiting(inst);
    set_state(inst, INSTANCE_BACKOFF, inst->pub.last_error);
}

static void on_none_left(struct inst *inst)
{
    inst->pub.process = (struct process_id){ 0 };
    if (inst->committing) {
        return; /* inst_committed goes on */
    }
    if (inst->leaving) {
        finish_gone(inst);
    } else if (inst->pub.displaced) {
        wait_for_place(inst, "moved aside");
    } else {
        judge(inst);
    }
}

/* The leader is gone. What else carries the mark is killed and looked for again until none is left.
 */
static void sweep(struct inst *inst)
{
    unsigned left = inst_signal_marked(inst, SIGKILL);

    if (left == 0) {
        on_none_left(inst);
        return;
    }
    if (!inst->container) {
        log_warn("engines", inst->log_name, "processes outlived their leader: killed",
                 kv_int("count", left));
    }
    timer_start(&inst->timer,
                MIN_OF((uint64_t)FIRST_LOOK_MS << MIN_OF(inst->looks, 10u), LONGEST_LOOK_MS));
    inst->looks++;
    if (inst->pub.state != INSTANCE_STOPPING) {
        set_state(inst, INSTANCE_STOPPING,
                  inst->container ? "its container is removed" : "processes outlived their leader");
    }
}

static void kill_all(struct inst *inst)
{
    if (inst_signal_marked(inst, SIGKILL) == 0 && !inst_has_process(inst)) {
        on_none_left(inst);
        return;
    }
    timer_start(&inst->timer,
                MIN_OF((uint64_t)FIRST_LOOK_MS << MIN_OF(inst->looks, 10u), LONGEST_LOOK_MS));
    inst->looks++;
}

static void note_failure(struct inst *inst, enum failure failure, const char *text)
{
    inst->failure = failure;
    if (is_stable(inst)) {
        inst->attempts = 0;
        inst->pub.restarts = 0;
    } else if (failure != FAILURE_STORE) {
        inst->attempts++;
    }
    set_error(inst, text);
    count(inst, METRIC_FAILURES, failure_names[failure]);
    if (failure == FAILURE_MEMORY) {
        inst->pub.out_of_memory++;
        inst->pub.need_known = false; /* it is more than was thought: no place before it is known */
        inst_find_need(inst);
    }
}

void inst_fail(struct inst *inst, enum failure failure, const char *fmt, ...)
{
    _cleanup_(freep) char *text = NULL;
    va_list ap;

    va_start(ap, fmt);
    text = xvasprintf(fmt, ap);
    va_end(ap);
    note_failure(inst, failure, text);
    timer_stop(&inst->timer);
    timer_stop(&inst->deadline);
    timer_stop(&inst->stall);
    inst_probe_stop(inst);
    if (!inst_has_process(inst)) {
        judge(inst);
        return;
    }
    set_state(inst, INSTANCE_STOPPING, text);
    inst->looks = 0;
    kill_all(inst);
}

/* The kernel has killed for want of memory since this start, or the last health probe: it was most
 * likely this one. */
static bool was_oom_killed(const struct inst *inst, const struct process_exit *how)
{
    return how->known && how->signal == SIGKILL && oom_kills(inst) > inst->oom_kills;
}

static enum failure describe_end(const struct process_exit *how, char *out, size_t size)
{
    if (!how->known) {
        snprintf(out, size, "ended (an earlier berth started it, so how is not known)");
        return FAILURE_UNKNOWN;
    }
    if (how->signal) {
        const char *name = sigabbrev_np(how->signal);

        snprintf(out, size, "was killed by signal %d (SIG%s%s)", how->signal, name ? name : "?",
                 how->signal == SIGKILL ? ", perhaps by the kernel's OOM killer" : "");
        return FAILURE_SIGNAL;
    }
    snprintf(out, size, "exited with code %d", how->code);
    return how->code == 126 || how->code == 127 ? FAILURE_EXEC : FAILURE_EXIT;
}

/* Why it ended, in its own words, owned by the caller, or NULL; and do they say that memory was
 * short? */
static char *find_last_words(const struct inst *inst, bool *ret_memory)
{
    _cleanup_(freep) char *tail = NULL;
    char *words = NULL;
    size_t len = 0;

    tail = engine_log_tail(inst->pub.log_path, inst->log_start, LAST_WORDS_TAIL, &len);
    if (tail && inst->driver->last_words) {
        words = inst->driver->last_words((struct span){ tail, len });
    }
    if (words) {
        make_presentable(words);
    }
    *ret_memory = tail && inst->driver->is_out_of_memory &&
                  inst->driver->is_out_of_memory(words ? words : tail);
    return words;
}

/* "the engine exited with code 1 while loading: error loading model …" */
static void on_crash(struct inst *inst, const struct process_exit *how)
{
    char end[96];
    bool memory;
    enum failure failure = describe_end(how, end, sizeof(end));
    _cleanup_(freep) char *words = find_last_words(inst, &memory);
    _cleanup_(freep) char *text =
        xasprintf("the engine %s%s%s%s", end, inst->was_ready ? "" : " while loading",
                  words ? ": " : "", words ? words : "");

    if (memory || was_oom_killed(inst, how)) {
        failure = FAILURE_MEMORY;
    } else if (inst->was_ready && failure == FAILURE_EXEC) {
        failure = FAILURE_EXIT;
    }
    note_failure(inst, failure, text);
    sweep(inst);
}

void inst_process_ended(struct inst *inst, const struct process_exit *how)
{
    timer_stop(&inst->timer);
    timer_stop(&inst->deadline);
    inst_probe_stop(inst);
    inst->looks = 0;
    if (inst->upstream) {
        http_upstream_flush(
            inst->upstream); /* calls under way see the end of their connection by themselves */
    }
    if (inst->pub.state == INSTANCE_STARTING || inst->pub.state == INSTANCE_READY) {
        on_crash(inst, how);
    } else {
        sweep(inst);
    }
}

/* Cuts what still runs: an engine that is asked to end while a client stays connected does not. */
static void terminate(struct inst *inst, const char *why)
{
    if (inst->pub.remote) {
        finish_gone(inst);
        return;
    }
    if (inst->was_ready) {
        inst_measure(inst);
    }
    set_state(inst, INSTANCE_STOPPING, why);
    inst_close_upstream(inst);
    if (!inst->committing) { /* else inst_committed ends it */
        timer_start(&inst->timer, config_duration_ms(inst->engines->config, "engines.stop_grace"));
    }
    if (inst_terminate(inst) < 0) {
        log_debug("engines", inst->log_name, "it ended before it was asked to");
    }
}

static const char *why_leaving(const struct inst *inst)
{
    return inst->renew ? "is replaced" : "is not wanted any more";
}

static void drain(struct inst *inst, uint64_t grace_ms, const char *why)
{
    inst_probe_stop(inst);
    inst->drained = false;
    timer_start(&inst->timer, grace_ms);
    set_state(inst, INSTANCE_DRAINING, why);
}

static uint64_t drain_limit_ms(const struct inst *inst)
{
    return config_duration_ms(inst->engines->config, "engines.drain_timeout");
}

/* DRAINING: so much longer, and no more. */
static void hurry(struct inst *inst, uint64_t grace_ms)
{
    if (!inst->drained && now(inst) + grace_ms < inst->timer.due_ms) {
        timer_start(&inst->timer, grace_ms);
    }
}

void inst_leave(struct inst *inst, bool renew)
{
    inst->renew |= renew;
    if (inst->leaving) {
        return;
    }
    inst->leaving = true;
    timer_stop(&inst->deadline);
    switch (inst->pub.state) {
    case INSTANCE_READY:
        drain(inst, drain_limit_ms(inst), why_leaving(inst));
        break;
    case INSTANCE_STARTING:
        terminate(inst, why_leaving(inst));
        break;              /* without a process: inst_committed ends it */
    case INSTANCE_DRAINING: /* it is moved aside already, perhaps in all leisure */
        hurry(inst, drain_limit_ms(inst));
        break;
    case INSTANCE_WAITING:
    case INSTANCE_BACKOFF:
    case INSTANCE_FAILED:
        finish_gone(inst);
        break;
    default:
        break; /* STOPPING: goes instead of being judged */
    }
}

/* What drains already, for idleness or by a person's wish, has its own end, sooner or later. */
static void displace_draining(struct inst *inst, uint64_t grace_ms)
{
    inst->pub.displaced = true;
    hurry(inst, grace_ms);
    tell(inst, INSTANCE_DRAINING, false);
}

void inst_displace(struct inst *inst, uint64_t grace_ms, const char *why)
{
    grace_ms = grace_ms ? grace_ms : drain_limit_ms(inst);
    if (inst->pub.remote || inst->pub.displaced) {
        return;
    }
    switch (inst->pub.state) {
    case INSTANCE_READY:
        inst->pub.displaced = true;
        drain(inst, grace_ms, why);
        break;
    case INSTANCE_STARTING:
        inst->pub.displaced = true;
        timer_stop(&inst->deadline);
        terminate(inst, why);
        break;
    case INSTANCE_DRAINING:
        displace_draining(inst, grace_ms);
        break;
    default:
        break; /* it has nothing, or is ending */
    }
}

bool inst_stay(struct inst *inst)
{
    if (inst->pub.displaced && !inst->renew) {
        inst->leaving = false; /* it is moved aside, and comes back */
        return true;
    }
    if (inst->renew || inst->pub.state != INSTANCE_DRAINING) {
        return false;
    }
    inst->leaving = false;
    timer_stop(&inst->timer);
    set_state(inst, INSTANCE_READY, "is wanted again");
    watch(inst);
    return true;
}

void inst_drained(struct inst *inst)
{
    if (inst->pub.state == INSTANCE_DRAINING) {
        inst->drained = true;
        timer_start(&inst->timer, 0);
    }
}

void inst_begin_leftover(struct inst *inst)
{
    inst->pub.state = INSTANCE_STOPPING;
    inst->pub.state_since_ms = now(inst);
    inst->leaving = true;
    events_emit(
        inst->engines->events, EVENT_INSTANCE_KILLED, inst->model_name,
        json_pack("{s:s, s:i}", "instance", inst->pub.uuid, "pid", (int)inst->pub.process.pid));
    inst_signal_marked(inst, SIGKILL);
    timer_start(&inst->timer, FIRST_LOOK_MS);
}

void inst_retry(struct inst *inst)
{
    if (inst->pub.state != INSTANCE_BACKOFF && inst->pub.state != INSTANCE_FAILED &&
        inst->pub.state != INSTANCE_WAITING) {
        return;
    }
    inst->attempts = 0;
    inst->pub.restarts = 0;
    inst->pub.retry_at_ms = 0;
    inst->pub.out_of_memory = 0;
    if (inst->pub.state == INSTANCE_WAITING) {
        inst->pub.displaced = false; /* a person asks for it: it need not come back by itself */
        tell(inst, INSTANCE_WAITING, false);
    } else {
        timer_start(&inst->timer, 0);
    }
}

/* ---- time */

static void on_health_due(struct inst *inst)
{
    if (is_stable(inst)) {
        inst->attempts = 0;
        inst->pub.restarts = 0;
    }
    inst->oom_kills = oom_kills(inst);
    inst_measure(inst);
    inst_probe_health(inst);
}

/* BACKOFF or FAILED is over. */
static void wait_again(struct inst *inst)
{
    const char *why = inst->pub.retry_at_ms ? "retry" : "asked to";

    if (inst->pub.retry_at_ms) {
        inst->pub.restarts++; /* by itself, not asked to */
    }
    wait_for_place(inst, why);
}

static const char *why_drained(const struct inst *inst)
{
    if (inst->drained) {
        return "drained";
    }
    return inst->pub.displaced ? "its grace is over" : "engines.drain_timeout is over";
}

void inst_on_timer(void *arg)
{
    struct inst *inst = arg;

    switch (inst->pub.state) {
    case INSTANCE_WAITING:
        engines_reconcile_soon(inst->engines);
        break;
    case INSTANCE_STARTING:
        inst_probe_ready(inst);
        break;
    case INSTANCE_READY:
        on_health_due(inst);
        break;
    case INSTANCE_DRAINING:
        terminate(inst, why_drained(inst));
        break;
    case INSTANCE_STOPPING:
        kill_all(inst);
        break;
    default:
        wait_again(inst);
        break;
    }
}

void inst_on_deadline(void *arg)
{
    struct inst *inst = arg;
    _cleanup_(freep) char *line = engine_log_last_line(inst->pub.log_path, inst->log_start);
    uint64_t limit_ms = config_duration_ms(inst->engines->config, "engines.start_timeout");

    inst_fail(inst, FAILURE_START_TIMEOUT, "not ready after %llu s%s%s",
              (unsigned long long)(limit_ms / 1000), line ? "; it last wrote: " : "",
              line ? line : "");
}
