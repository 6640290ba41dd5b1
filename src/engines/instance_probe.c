// SPDX-License-Identifier: Apache-2.0
/*
 * Asking the engine. Ready: the probe path answers 200, asked quickly at first (tiny models load in
 * 70 ms), then four times a second. Alive: the same path at the model's own pace; a failed probe
 * counts only while nothing else tells that the engine works, because an engine under load may
 * answer a stream's tokens well and a probe late. A remote endpoint is asked once to be ready; when
 * that fails it is asked again as its model's retry_policy says.
 */
#include "engines/engines_int.h"

#include <assert.h>

#include "base/mem.h"

enum {
    FIRST_WAIT_MS = 10,
    LONGEST_WAIT_MS = 250,
    READY_PROBE_LIMIT_MS = 5000,
    MAX_ANSWER = 1 << 20
};

static const struct health_check *health_check(const struct inst *inst)
{
    const struct model *model = inst_model(inst);

    return model ? &model->config->health_check : NULL;
}

static uint64_t health_limit_ms(const struct inst *inst)
{
    const struct health_check *hc = health_check(inst);

    return (uint64_t)(hc ? MAX_OF(hc->timeout_s, 1) : 10) * 1000;
}

/* ---- one probe */

struct probe {
    bool remote;
    struct http_fetch *fetch;
    http_fetch_fn done;
    void *owner;
};

/* What a remote endpoint says of a path that it does not have is an answer all the same. */
static bool is_good(const struct probe *p, int status)
{
    return status == 200 || (p->remote && status < 500 && status != 401 && status != 403);
}

static void on_answer(void *owner, int result, int status, struct span body,
                      const struct error *err)
{
    struct probe *p = owner;
    http_fetch_fn done = p->done;
    void *done_owner = p->owner;
    bool good = is_good(p, status);
    struct error bad = { 0 };

    free(p);
    if (result == 0 && !good) {
        err = &bad;
        result = error_set(&bad, -EPROTO, "it answered with status %d%s", status,
                           status == 401 || status == 403 ? ": it does not accept the key" : "");
    }
    done(done_owner, result, status, body, err);
}

/* The model's own path is the engine's; the driver's may lie elsewhere at a remote endpoint. */
static const char *probe_path(const struct inst *inst, char out[ENGINE_PATH_MAX])
{
    const struct health_check *hc = health_check(inst);
    const struct engine_route route = { .base_path = inst->command.base_path };

    if (hc && hc->endpoint && *hc->endpoint == '/') {
        return hc->endpoint;
    }
    return engine_route_path(&route, span_of(inst->driver->probe_path), out) < 0 ? "/" : out;
}

static struct http_fetch *ask(struct inst *inst, const char *path, uint64_t limit_ms,
                              http_fetch_fn done, void *owner)
{
    struct http_call_request request = {
        .method = "GET",
        .path = path,
        .headers = inst->command.headers,
        .head_timeout_ms = limit_ms,
        .idle_timeout_ms = limit_ms,
    };

    return http_fetch_start(inst->upstream, &request, MAX_ANSWER, done, owner);
}

struct probe *probe_start(struct inst *inst, uint64_t limit_ms, http_fetch_fn done, void *owner)
{
    struct probe *p = xmalloc(sizeof(*p));
    char buffer[ENGINE_PATH_MAX];

    *p = (struct probe){ .remote = inst->pub.remote, .done = done, .owner = owner };
    p->fetch = ask(inst, probe_path(inst, buffer), limit_ms, on_answer, p);
    return p;
}

static void cancel_probe(struct probe *p)
{
    http_fetch_cancel(p->fetch);
    free(p);
}

void inst_probe_stop(struct inst *inst)
{
    if (inst->probe) {
        cancel_probe(TAKE_PTR(inst->probe));
    }
    if (inst->fetch) {
        http_fetch_cancel(TAKE_PTR(inst->fetch));
    }
    if (inst->question) {
        http_fetch_cancel(TAKE_PTR(inst->question));
    }
}

/* ---- ready? */

static uint64_t next_wait(unsigned tries)
{
    return tries > 4 ? LONGEST_WAIT_MS : MIN_OF((uint64_t)FIRST_WAIT_MS << tries, LONGEST_WAIT_MS);
}

static void note_good(struct inst *inst)
{
    inst->pub.last_probe_wall_ms = world_wall_ms(inst->engines->world);
    inst->probes = 0;
}

static void on_ready_probe(void *owner, int result, int status, struct span body,
                           const struct error *err)
{
    struct inst *inst = owner;

    inst->probe = NULL;
    if (result == 0) {
        note_good(inst);
        inst_ready(inst);
    } else if (inst->pub.remote) {
        inst_fail(inst, FAILURE_UNREACHABLE, "the endpoint is not ready: %s", err->text);
    } else {
        timer_start(&inst->timer, next_wait(inst->probes++));
    }
}

void inst_probe_ready(struct inst *inst)
{
    uint64_t limit_ms = inst->pub.remote ? health_limit_ms(inst) : READY_PROBE_LIMIT_MS;

    assert(!inst->probe);
    inst->probe = probe_start(inst, limit_ms, on_ready_probe, inst);
}

/* ---- what it tells of itself */

static void on_info(void *owner, int result, int status, struct span body, const struct error *err)
{
    struct inst *inst = owner;
    struct instance *pub = &inst->pub;
    struct engine_info info = { pub->slots, pub->sleeping };
    bool turned; /* it fell asleep, or woke */

    inst->fetch = NULL;
    if (result < 0 || status != 200) {
        return; /* what is known stands */
    }
    inst->driver->read_info(body, &info);
    turned = pub->sleeping != info.sleeping;
    pub->sleeping = info.sleeping;
    if (info.slots != pub->slots) {
        pub->slots = info.slots;
        if (!inst->command.weight) {
            pub->weight = MAX_OF(info.slots, 1U);
        }
        inst_tell_slots(inst);
    } else if (turned) {
        inst_tell_news(inst);
    }
}

void inst_ask_info(struct inst *inst)
{
    if (inst->driver->info_path && !inst->fetch) {
        inst->fetch = ask(inst, inst->driver->info_path, READY_PROBE_LIMIT_MS, on_info, inst);
    }
}

/* ---- alive? */

/* As its model says, but no longer than engines_set_probe_interval. */
static uint64_t interval_ms(const struct inst *inst, const struct health_check *hc)
{
    const uint64_t own = (uint64_t)MAX_OF(hc->interval_s, 1) * 1000;
    const uint64_t longest = inst->engines->probe_interval_ms;

    return longest > 0 ? MIN_OF(own, longest) : own;
}

void inst_plan_health(struct inst *inst)
{
    const struct health_check *hc = health_check(inst);

    if (hc && hc->enabled) {
        timer_start(&inst->timer, interval_ms(inst, hc));
    }
}

/* The gateway saw bytes of it since the probe before this one. */
static bool has_worked(const struct inst *inst, const struct health_check *hc)
{
    uint64_t window_ms = interval_ms(inst, hc) + (uint64_t)hc->timeout_s * 1000;

    return inst->progress_ms && world_now_ms(inst->engines->world) - inst->progress_ms < window_ms;
}

static void judge_failed_probe(struct inst *inst, const char *why)
{
    const struct health_check *hc = health_check(inst);
    bool remote = inst->pub.remote;

    if (!hc || has_worked(inst, hc)) {
        inst->probes = 0;
        return;
    }
    inst->probes++;
    log_warn("engines", inst->log_name, "health probe failed", kv_str("reason", why),
             kv_int("in_a_row", inst->probes));
    if (inst->probes >= (unsigned)MAX_OF(hc->max_failures, 1)) {
        inst_fail(inst, remote ? FAILURE_UNREACHABLE : FAILURE_HUNG,
                  "%s: %u health probes in a row failed (%s)", remote ? "unreachable" : "hung",
                  inst->probes, why);
    }
}

static void on_health_probe(void *owner, int result, int status, struct span body,
                            const struct error *err)
{
    struct inst *inst = owner;

    inst->probe = NULL;
    if (result == 0) {
        note_good(inst);
        inst_ask_info(inst);
    } else {
        judge_failed_probe(inst, err->text);
    }
    if (inst->pub.state == INSTANCE_READY) {
        inst_plan_health(inst);
    }
}

void inst_probe_health(struct inst *inst)
{
    assert(!inst->probe);
    inst->probe = probe_start(inst, health_limit_ms(inst), on_health_probe, inst);
}
