// SPDX-License-Identifier: Apache-2.0
/*
 * Does an instance get on with its work? An engine may answer its health probe for hours and make
 * no token. While it has work, something must be seen of it within engines.stall_timeout: a byte of
 * any answer, or, where its driver knows a number that tells of progress, a change of that. A whole
 * answer comes in one piece at its end, so without such a number (the driver knows none, or the
 * engine does not tell it) only streams are judged.
 */
#include "engines/engines_int.h"

#include "base/mem.h"

enum { LOOKS = 4, LONGEST_QUESTION_MS = 10 * 1000, MAX_ANSWER = 1 << 20 };

static uint64_t now(const struct inst *inst)
{
    return world_now_ms(inst->engines->world);
}

/* Requests whose progress would be seen. */
static unsigned judged(const struct inst *inst)
{
    bool asked = inst->driver && inst->driver->progress_path && !inst->progress_refused;

    return asked ? inst->work : inst->streams;
}

static bool is_judged(const struct inst *inst)
{
    return inst->pub.state == INSTANCE_READY && !inst->pub.remote && judged(inst) > 0;
}

/* What wakes up loads first. */
static uint64_t limit_ms(const struct inst *inst)
{
    const struct config *config = inst->engines->config;

    return config_duration_ms(config, "engines.stall_timeout") +
           (inst->pub.sleeping ? config_duration_ms(config, "engines.start_timeout") : 0);
}

static void note_alive(struct inst *inst)
{
    inst->alive_ms = now(inst);
    inst->progress_known = false;
}

static void watch(struct inst *inst)
{
    uint64_t limit = limit_ms(inst);
    uint64_t quiet = now(inst) - inst->alive_ms;

    timer_start(&inst->stall, MIN_OF(limit / LOOKS, limit - MIN_OF(quiet, limit)));
}

static void on_progress(void *owner, int result, int status, struct span body,
                        const struct error *err)
{
    struct inst *inst = owner;
    uint64_t progress;

    inst->question = NULL;
    if (result == 0 && (status == 404 || status == 501)) {
        inst->progress_refused = true; /* llama-server --no-slots: a silent answer is no hang */
    }
    if (result < 0 || status != 200) {
        return;
    }
    progress = inst->driver->read_progress(body);
    if (inst->progress_known && progress != inst->progress) {
        inst->alive_ms = now(inst);
    }
    inst->progress = progress;
    inst->progress_known = true;
}

static void ask_progress(struct inst *inst)
{
    uint64_t limit = MIN_OF(limit_ms(inst) / LOOKS, (uint64_t)LONGEST_QUESTION_MS);
    struct http_call_request request = {
        .method = "GET",
        .path = inst->driver->progress_path,
        .headers = inst->command.headers,
        .head_timeout_ms = limit,
        .idle_timeout_ms = limit,
    };

    if (!inst->question && !inst->pub.sleeping && inst->upstream) {
        inst->question = http_fetch_start(inst->upstream, &request, MAX_ANSWER, on_progress, inst);
    }
}

/* A good answer came in that time. */
static bool answers_probes(const struct inst *inst, uint64_t quiet_ms)
{
    return inst->probes == 0 &&
           inst->pub.last_probe_wall_ms + (int64_t)quiet_ms >= world_wall_ms(inst->engines->world);
}

static void fail(struct inst *inst, uint64_t quiet_ms)
{
    unsigned n = judged(inst);

    inst_fail(inst, FAILURE_HUNG,
              "hung: it worked on %u request%s and made no progress for %llu s%s", n,
              n == 1 ? "" : "s", (unsigned long long)(quiet_ms / 1000),
              answers_probes(inst, quiet_ms) ? " (its health probe still answers)" : "");
}

void inst_on_stall(void *arg)
{
    struct inst *inst = arg;
    uint64_t quiet = now(inst) - inst->alive_ms;

    if (!is_judged(inst)) {
        return;
    }
    if (quiet >= limit_ms(inst)) {
        fail(inst, quiet);
        return;
    }
    if (inst->driver->progress_path && quiet >= limit_ms(inst) / LOOKS) {
        ask_progress(inst);
    }
    watch(inst);
}

void inst_watch_progress(struct inst *inst)
{
    note_alive(inst);
    if (is_judged(inst)) {
        watch(inst);
    }
}

static void change(unsigned *counter, int by)
{
    *counter = by > 0 ? *counter + 1 : *counter - (*counter > 0);
}

void inst_note_work(struct inst *inst, int by, bool streams)
{
    bool judged_before = judged(inst) > 0;

    change(&inst->work, by);
    if (streams) {
        change(&inst->streams, by);
    }
    if (!judged_before && judged(inst) > 0) {
        inst_watch_progress(inst);
    }
}

void inst_note_progress(struct inst *inst)
{
    inst->progress_ms = MAX_OF(now(inst), 1);
    inst->pub.sleeping = false;
    note_alive(inst);
}
