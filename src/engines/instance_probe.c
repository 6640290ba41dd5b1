// SPDX-License-Identifier: Apache-2.0
/*
 * Asking the engine. Ready: the probe path answers 200, asked quickly at first (tiny models load in
 * 70 ms), then four times a second. Alive: the same path at the model's own pace; a failed probe
 * counts only while nothing else tells that the engine works, because an engine under load may
 * answer a stream's tokens well and a probe late.
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

const char *inst_probe_path(const struct inst *inst)
{
    const struct model *model = inst_model(inst);
    const char *own = model ? model->config->health_check.endpoint : NULL;

    return own && *own == '/' ? own : inst->driver->probe_path;
}

void inst_probe_stop(struct inst *inst)
{
    if (inst->fetch) {
        http_fetch_cancel(TAKE_PTR(inst->fetch));
    }
}

static void ask(struct inst *inst, const char *path, uint64_t limit_ms, http_fetch_fn done)
{
    struct http_call_request request = {
        .method = "GET",
        .path = path,
        .head_timeout_ms = limit_ms,
        .idle_timeout_ms = limit_ms,
    };

    assert(!inst->fetch);
    inst->fetch = http_fetch_start(inst->upstream, &request, MAX_ANSWER, done, inst);
}

static void on_info(void *owner, int result, int status, struct span body, const struct error *err)
{
    struct inst *inst = owner;
    unsigned slots = inst->pub.slots;

    inst->fetch = NULL;
    if (result < 0 || status != 200) {
        return; /* the slots of the command line stand */
    }
    inst->driver->read_info(body, &slots);
    if (slots != inst->pub.slots) {
        log_info("engines", inst->log_name, "slots as the engine tells", kv_int("slots", slots));
        inst->pub.slots = slots;
    }
}

static uint64_t next_wait(unsigned tries)
{
    return tries > 4 ? LONGEST_WAIT_MS : MIN_OF((uint64_t)FIRST_WAIT_MS << tries, LONGEST_WAIT_MS);
}

static void on_ready_probe(void *owner, int result, int status, struct span body,
                           const struct error *err)
{
    struct inst *inst = owner;

    inst->fetch = NULL;
    if (result == 0 && status == 200) {
        inst->pub.last_probe_wall_ms = world_wall_ms(inst->engines->world);
        inst_ready(inst);
        return;
    }
    timer_start(&inst->timer, next_wait(inst->probes++));
}

void inst_probe_ready(struct inst *inst)
{
    ask(inst, inst_probe_path(inst), READY_PROBE_LIMIT_MS, on_ready_probe);
}

void inst_plan_health(struct inst *inst)
{
    const struct model *model = inst_model(inst);
    const struct health_check *hc = model ? &model->config->health_check : NULL;

    if (inst->driver->info_path && !inst->info_asked && !inst->fetch) {
        inst->info_asked = true;
        ask(inst, inst->driver->info_path, READY_PROBE_LIMIT_MS, on_info);
    }
    if (hc && hc->enabled) {
        timer_start(&inst->timer, (uint64_t)MAX_OF(hc->interval_s, 1) * 1000);
    }
}

/* The gateway saw bytes of it since the probe before this one. */
static bool has_worked(const struct inst *inst, const struct health_check *hc)
{
    uint64_t window_ms = (uint64_t)(hc->interval_s + hc->timeout_s) * 1000;

    return inst->progress_ms && world_now_ms(inst->engines->world) - inst->progress_ms < window_ms;
}

static void judge_failed_probe(struct inst *inst, const char *why)
{
    const struct model *model = inst_model(inst);
    const struct health_check *hc = model ? &model->config->health_check : NULL;

    if (!hc || has_worked(inst, hc)) {
        inst->probes = 0;
        return;
    }
    inst->probes++;
    log_warn("engines", inst->log_name, "health probe failed", kv_str("reason", why),
             kv_int("in_a_row", inst->probes));
    if (inst->probes >= (unsigned)MAX_OF(hc->max_failures, 1)) {
        inst_fail(inst, FAILURE_HUNG, "hung: %u health probes in a row failed (%s)", inst->probes,
                  why);
    }
}

static void on_health_probe(void *owner, int result, int status, struct span body,
                            const struct error *err)
{
    struct inst *inst = owner;
    char why[64];

    inst->fetch = NULL;
    if (result == 0 && status == 200) {
        inst->pub.last_probe_wall_ms = world_wall_ms(inst->engines->world);
        inst->probes = 0;
        inst_plan_health(inst);
        return;
    }
    snprintf(why, sizeof(why), "it answered with status %d", status);
    judge_failed_probe(inst, result < 0 ? err->text : why);
    if (inst->pub.state == INSTANCE_READY) {
        inst_plan_health(inst);
    }
}

void inst_probe_health(struct inst *inst)
{
    const struct model *model = inst_model(inst);
    int timeout_s = model ? model->config->health_check.timeout_s : 10;

    if (inst->fetch) {
        inst_plan_health(inst); /* the question about itself still waits for its answer */
        return;
    }
    ask(inst, inst_probe_path(inst), (uint64_t)MAX_OF(timeout_s, 1) * 1000, on_health_probe);
}
