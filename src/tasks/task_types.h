// SPDX-License-Identifier: Apache-2.0
/*
 * Types of tasks: rows of configuration that say which request a task becomes. A new type needs no
 * code.
 *
 *     task_types:
 *       - name: keywords
 *         endpoint: /v1/chat/completions
 *         help: The five most telling words.
 *         template:
 *           messages: [{role: user, content: "Five keywords of the following text:\n{{input}}"}]
 *         defaults: {language: English}
 *
 * In the texts of a template {{input}} is the task's input, {{name}} the member `name` of its
 * options, else of the row's defaults, else "". Braces in values are not looked at again. Built in
 * are text-generation, translation ({{language}}, {{source}}), summarization ({{length}}),
 * embedding and custom, whose input is the body itself (a JSON object, options.path its path);
 * input that is no JSON object is a chat's user message. So it is with a row without a template. A
 * row of the same name replaces one. A model's parameters.task_templates ({type: template}) goes
 * before both.
 *
 * options.request (an object) lies over the result, member by member; the model's request defaults
 * (parameters.max_tokens, parameters.temperature) stand in where neither says anything and the
 * endpoint knows them. A task is answered as a whole: `stream` is taken out, a batch's line that
 * asks for it is refused.
 *
 * The output is the text of a chat or completion (its tool calls as a JSON array when it has no
 * text), the JSON array of an embedding, else the whole answer. An answer that holds nothing but
 * reasoning is none. A text that ends with a character that its limit has cut in two ends before
 * it.
 *
 * Pure; any thread.
 */
#pragma once

#include "config/config.h"
#include "models/models.h"

struct task_types;

enum { TASK_PATH_MAX = 1024 }; /* bytes of a path of an engine */

enum task_output {
    TASK_OUTPUT_TEXT, /* of a chat or completion */
    TASK_OUTPUT_EMBEDDING,
    TASK_OUTPUT_BODY,
};

struct task_type {
    const char *name, *endpoint, *help;
    enum task_output output; /* by the endpoint; BODY for those that it does not know */
    const json_t *template;  /* NULL: the input is the body */
    const json_t *defaults;
    bool built_in;
};

/* -EINVAL with file, line and entry of what is wrong. */
int task_types_create(const struct config *config, struct task_types **ret,
                      struct error *reterr) _must_check_;
/* Other rows in their place; on failure the old ones stay. Pointers to rows are void. */
int task_types_reload(struct task_types *t, const struct config *config,
                      struct error *reterr) _must_check_;
struct task_types *task_types_destroy(struct task_types *t); /* accepts NULL, returns NULL */
/* Types are good until the turn ends. */
const struct task_type *task_types_find(const struct task_types *t, struct span name);
/* The same, and those that only other doors make: "batch", whose input is the body as it is and
 * options.url its path, and "instance", whose input ({"messages" | "prompt" | "input": …}) becomes
 * a chat, a completion or an embedding. */
const struct task_type *task_types_of_task(const struct task_types *t, const char *type);
/* Is it the type of a batch's lines? */
bool task_type_is_line(const struct task_type *type);
/* *cursor starts at 0; NULL at the end. */
const struct task_type *task_types_next(const struct task_types *t, size_t *cursor);

/* The request, owned by the caller. -EINVAL: input or options do not fit the type. */
struct task_request {
    char *path;
    char *body;
    size_t body_len;
};
int task_types_compose(const struct task_type *type, const struct model_config *model,
                       struct span input, struct span options, struct task_request *ret,
                       struct error *reterr) _must_check_;
void task_request_finish(struct task_request *r);
/* What the task's output is, out of a good answer; owned by the caller. -EPROTO: the answer is not
 * what this endpoint gives; -ENODATA: it holds no answer, only reasoning; -EFBIG: it is longer than
 * TASK_OUTPUT_MAX. */
int task_types_output(enum task_output kind, struct span answer, char **ret, size_t *ret_len,
                      struct error *reterr) _must_check_;
