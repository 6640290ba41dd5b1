// SPDX-License-Identifier: Apache-2.0
/* The gateway's door: options, tables, signals. The life of a request is in relay.c. */
#include "gateway/gateway.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "gateway/gateway_int.h"
#include "gateway/ollama_int.h"
#include "gateway/relay_int.h"

enum { SCRATCH_MAX = 4 * 1024 * 1024 };

// clang-format off
static const struct option_row option_rows[] = {
    { "gateway.deadline", OPTION_DURATION, "1h", 1000, 86400000, NULL, true, false,
      "How long a request may take in all, from its first byte to the answer's last; a client may ask for less by the header x-berth-deadline." },
    { "gateway.stream_wait", OPTION_DURATION, "5s", 100, 600000, NULL, true, false,
      "A streaming client that has waited so long gets its headers and, from then on, SSE comments as signs of life." },
    { "gateway.first_byte_timeout", OPTION_DURATION, "600s", 1000, 86400000, NULL, true, false,
      "How long an engine may work on a request before the first byte of its answer." },
    { "gateway.idle_timeout", OPTION_DURATION, "300s", 1000, 86400000, NULL, true, false,
      "How long an engine may be silent in the middle of an answer." },
    { "gateway.spill_per_stream", OPTION_BYTES, "256KiB", 16384, 1073741824, NULL, true, false,
      "How much of an answer is held for a client that reads slowly before the engine is no longer read." },
    { "gateway.spill_budget", OPTION_BYTES, "32MiB", 1048576, 68719476736, NULL, true, false,
      "How much is held for all slow readers together; beyond it each holds 16 KiB at most." },
    { "gateway.max_attempts", OPTION_INT, "3", 1, 10, NULL, true, false,
      "How often a request is given to an instance, when the connection is lost or the engine is not able to serve before the first byte of the answer." },
    { "gateway.access_log", OPTION_BOOL, "true", 0, 0, NULL, true, false,
      "One log line for every request, with its times and token counts." },
};
// clang-format on

const struct option_table gateway_options = { option_rows, ARRAY_SIZE(option_rows) };

void gateway_reconfigure(struct gateway *g, const struct config *config)
{
    g->in.config = config;
    g->deadline_ms = config_duration_ms(config, "gateway.deadline");
    g->queue_timeout_ms = config_duration_ms(config, "gateway.queue_timeout");
    g->stream_wait_ms = config_duration_ms(config, "gateway.stream_wait");
    g->first_byte_timeout_ms = config_duration_ms(config, "gateway.first_byte_timeout");
    g->idle_timeout_ms = config_duration_ms(config, "gateway.idle_timeout");
    g->spill_per_stream = config_bytes(config, "gateway.spill_per_stream");
    g->spill_budget = config_bytes(config, "gateway.spill_budget");
    g->max_attempts = (unsigned)config_int(config, "gateway.max_attempts");
    g->access_log = config_bool(config, "gateway.access_log");
}

struct gateway *gateway_create(const struct gateway_in *in)
{
    struct gateway *g = xcalloc(1, sizeof(*g));

    g->in = *in;
    map_init(&g->counts);
    list_init(&g->relays);
    list_init(&g->spare);
    buf_init(&g->scratch, SCRATCH_MAX);
    timer_init(&g->sweep, in->world, "gateway sweep", relay_sweep, g);
    g->history = history_create();
    g->openai = (struct route_table){ "OpenAI-compatible gateway", SHAPE_OPENAI,
                                      gateway_openai_rows, gateway_openai_row_count, g };
    g->anthropic = (struct route_table){ "Anthropic-compatible gateway", SHAPE_ANTHROPIC,
                                         gateway_anthropic_rows, gateway_anthropic_row_count, g };
    g->ollama = ollama_door_create(g);
    account_declare(g);
    gateway_reconfigure(g, in->config);
    return g;
}

struct gateway *gateway_destroy(struct gateway *g)
{
    if (!g) {
        return NULL;
    }
    timer_stop(&g->sweep);
    relay_forget_spare(g);
    map_for_each(e, &g->counts)
    {
        counts_release(e->value);
    }
    map_finish(&g->counts);
    buf_finish(&g->scratch);
    history_destroy(g->history);
    ollama_door_destroy(g->ollama);
    free(g);
    return NULL;
}

const struct route_table *gateway_routes(struct gateway *g)
{
    return &g->openai;
}

const struct route_table *gateway_anthropic_routes(struct gateway *g)
{
    return &g->anthropic;
}

const struct route_table *gateway_ollama_routes(struct gateway *g)
{
    return ollama_door_routes(g->ollama);
}

const struct history *gateway_history(const struct gateway *g)
{
    return g->history;
}

void gateway_on_model(void *gateway, const void *model_change)
{
    struct gateway *g = gateway;
    const struct model_change *change = model_change;

    if (change->kind == MODEL_REMOVED) {
        counts_forget(g, change->public_id);
        /* Those of the rooms below, too, which have let go before (daemon/wiring.c). */
        metrics_forget(g->in.metrics, "model", change->public_id);
    }
}

const struct model *gateway_find_model(const struct gateway *g, const char *name,
                                       enum error_shape shape)
{
    const struct model *m = models_find(g->in.models, span_of(name));

    if (!m && shape == SHAPE_OLLAMA && str_ends(name, ":latest")) {
        m = models_find(g->in.models, (struct span){ name, strlen(name) - strlen(":latest") });
    }
    return m;
}
