// SPDX-License-Identifier: Apache-2.0
/*
 * Request traces: when who asked for how many tokens. Read whole; times are from the first request,
 * ascending.
 *
 *     Azure LLM 2023 (CSV): TIMESTAMP,ContextTokens,GeneratedTokens
 *     Mooncake (JSON lines): timestamp (ms), input_length, output_length, hash_ids (of 512 tokens)
 *     ours (CSV): arrival_s,input_tokens,output_tokens[,model[,session]]
 *
 * Which one it is tells the first line.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    TRACE_REQUESTS_MAX = 20000000,
    TRACE_BLOCK_TOKENS = 512,
    TRACE_TOKENS_MAX = 10000000, /* in one request */
    TRACE_MODELS_MAX = 1024,
    TRACE_NAME_SIZE = 64
};

struct trace_request {
    double at_s;
    uint32_t input_tokens, output_tokens; /* at least 1 each */
    uint32_t model;                       /* index into the trace's models; 0 when it tells none */
    uint32_t session;                     /* numbered as they come, from 1; 0: none */
    /* Hashes of the prompt's beginning, block by block: each stands for all tokens up to its end.
     */
    uint32_t block_count;
    const uint64_t *blocks; /* in the trace's memory; NULL: not told */
};

struct trace {
    char name[TRACE_NAME_SIZE]; /* the file's, without its folder */
    struct trace_request *requests;
    size_t count;
    char (*models)[TRACE_NAME_SIZE]; /* as the trace names them; one "" when it names none */
    size_t model_count;
    uint64_t *block_memory; /* of all requests */
};

/* -EINVAL: the sentence begins with the path and the line's number; a file that cannot be opened is
 * refused as the system says. Blocking. */
int trace_read(const char *path, struct trace *ret, struct error *reterr) _must_check_;
void trace_finish(struct trace *t);
/* A made one: Poisson arrivals at a rate, lengths drawn from gamma distributions of these means and
 * coefficients of variation, prompts that share beginnings in so many families. */
struct trace_recipe {
    double rate_rps, isl, osl, isl_cv, osl_cv;
    size_t requests;
    unsigned families;   /* 0: nothing is shared */
    double shared_share; /* of the prompt */
    uint64_t seed;
};
void trace_make(const struct trace_recipe *r, struct trace *ret);
