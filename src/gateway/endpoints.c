// SPDX-License-Identifier: Apache-2.0
/* Which kinds of requests there are, and under which paths they come. Ollama's paths stand in
 * ollama_door.c. */
#include "gateway/gateway_int.h"

// clang-format off
const struct endpoint endpoints[ENDPOINT_MAX_] = {
    [ENDPOINT_CHAT]         = { "chat_completions", "/v1/chat/completions", SHAPE_OPENAI, ERROR_EVENT_DATA, true, NULL },
    [ENDPOINT_COMPLETIONS]  = { "completions", "/v1/completions", SHAPE_OPENAI, ERROR_EVENT_DATA, false, NULL },
    [ENDPOINT_EMBEDDINGS]   = { "embeddings", "/v1/embeddings", SHAPE_OPENAI, ERROR_EVENT_DATA, false, NULL },
    [ENDPOINT_RERANK]       = { "rerank", "/v1/rerank", SHAPE_OPENAI, ERROR_EVENT_DATA, false, NULL },
    [ENDPOINT_RESPONSES]    = { "responses", "/v1/responses", SHAPE_OPENAI, ERROR_EVENT_RESPONSES, false, NULL },
    [ENDPOINT_MESSAGES]     = { "messages", "/v1/messages", SHAPE_ANTHROPIC, ERROR_EVENT_ANTHROPIC, false, NULL },
    [ENDPOINT_COUNT_TOKENS] = { "count_tokens", "/v1/messages/count_tokens", SHAPE_ANTHROPIC, ERROR_EVENT_ANTHROPIC, false, NULL },
    [ENDPOINT_OLLAMA_CHAT]  = { "ollama_chat", NULL, SHAPE_OLLAMA, ERROR_EVENT_DATA, false, &ollama_chat },
    [ENDPOINT_OLLAMA_GENERATE]   = { "ollama_generate", NULL, SHAPE_OLLAMA, ERROR_EVENT_DATA, false, &ollama_generate },
    [ENDPOINT_OLLAMA_EMBED]      = { "ollama_embed", NULL, SHAPE_OLLAMA, ERROR_EVENT_DATA, false, &ollama_embed },
    [ENDPOINT_OLLAMA_EMBEDDINGS] = { "ollama_embeddings", NULL, SHAPE_OLLAMA, ERROR_EVENT_DATA, false, &ollama_embeddings },
    [ENDPOINT_PASS]         = { "pass", NULL, SHAPE_OPENAI, ERROR_EVENT_DATA, false, NULL },
};
// clang-format on

#define SERVE(function, id)                                                                        \
    static void function(void *owner, struct http_exchange *x, const struct route_params *params)  \
    {                                                                                              \
        relay_start(owner, x, &endpoints[id]);                                                     \
    }

SERVE(chat, ENDPOINT_CHAT)
SERVE(completions, ENDPOINT_COMPLETIONS)
SERVE(embeddings, ENDPOINT_EMBEDDINGS)
SERVE(rerank, ENDPOINT_RERANK)
SERVE(responses, ENDPOINT_RESPONSES)
SERVE(messages, ENDPOINT_MESSAGES)
SERVE(count_tokens, ENDPOINT_COUNT_TOKENS)

#define RELAYED "200 400 404 408 413 415 429 499 500 501 502 503 504"
// clang-format off
const struct route gateway_openai_rows[] = {
    { "GET", "/v1/models", SCOPE_INFERENCE, models_list, "Lists the models that can be asked for.",
      { NULL, "OpenAIModelList", "200", NULL } },
    { "GET", "/v1/models/{id*}", SCOPE_INFERENCE, models_one, "One model.",
      { NULL, "OpenAIModel", "200 404", NULL } },
    { "POST", "/v1/chat/completions", SCOPE_INFERENCE, chat, "Chat, streamed (\"stream\": true) or whole.",
      { "ChatCompletionRequest", "ChatCompletion", RELAYED, NULL } },
    { "POST", "/v1/completions", SCOPE_INFERENCE, completions, "Text completion, streamed or whole.",
      { "CompletionRequest", "Completion", RELAYED, NULL } },
    { "POST", "/v1/embeddings", SCOPE_INFERENCE, embeddings, "Embeddings of one or more texts.",
      { "EmbeddingRequest", "EmbeddingList", RELAYED, NULL } },
    { "POST", "/v1/rerank", SCOPE_INFERENCE, rerank, "Orders documents by how well they fit a query.",
      { "RerankRequest", "RerankResult", RELAYED, NULL } },
    { "POST", "/v1/reranking", SCOPE_INFERENCE, rerank, "The same as /v1/rerank.",
      { "RerankRequest", "RerankResult", RELAYED, NULL } },
    { "POST", "/rerank", SCOPE_INFERENCE, rerank, "The same as /v1/rerank.",
      { "RerankRequest", "RerankResult", RELAYED, NULL } },
    { "POST", "/v1/responses", SCOPE_INFERENCE, responses, "OpenAI's Responses API, streamed or whole.",
      { "ResponseRequest", "Response", RELAYED, NULL } },
};

const struct route gateway_anthropic_rows[] = {
    { "POST", "/v1/messages", SCOPE_INFERENCE, messages, "Anthropic's Messages API, streamed or whole.",
      { "MessageRequest", "Message", RELAYED, NULL } },
    { "POST", "/v1/messages/count_tokens", SCOPE_INFERENCE, count_tokens, "How many tokens a message would take.",
      { "MessageRequest", "MessageTokens", RELAYED, NULL } },
};
// clang-format on

const size_t gateway_openai_row_count = ARRAY_SIZE(gateway_openai_rows);
const size_t gateway_anthropic_row_count = ARRAY_SIZE(gateway_anthropic_rows);
