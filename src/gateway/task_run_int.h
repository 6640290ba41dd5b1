// SPDX-License-Identifier: Apache-2.0
/* Inside the gateway's runner of tasks: one attempt. Its place and its life are task_runner.c's,
 * the engine's answer is task_run_answer.c's. */
#pragma once

#include "gateway/gateway_int.h"
#include "gateway/request.h"
#include "gateway/usage.h"
#include "tasks/tasks.h"

enum { TASK_RUN_ANSWER_MAX = 2 * TASK_OUTPUT_MAX }; /* an output and what is wrapped around it */

enum run_state { RUN_WAITING, RUN_PLACED, RUN_ASKED };

struct task_run {
    struct gateway *gateway;
    struct task_slot *slot;
    enum run_state state;
    int64_t model_id;
    struct ticket *ticket; /* NULL once released */
    enum outcome outcome;
    struct http_call *call;
    enum task_output output_kind;
    bool whole_refusal; /* a batch's line: what the engine answers is its output in any case */

    struct task_request made;
    struct gateway_request request; /* of the made body */
    char *model_text;
    struct buf answer;
    struct usage usage;
    int status; /* of the engine's answer; 0: none yet */
    uint64_t retry_after_ms;

    struct timer ending; /* an end that was found in the turn of run() */
    struct task_result end;
    char end_text[sizeof(((struct error *)0)->text)];

    const struct endpoint *endpoint;
    struct model_counts *counts; /* NULL until it is asked */
    struct request_record record;
    uint64_t started_us;
    char request_id[64];
};

/* The engine's work on it is over: the call is void. */
void task_run_end_call(struct task_run *r);
/* The one end of an attempt that was claimed: accounted, told to the queue; r is void. */
void task_run_finish(struct task_run *r, const struct task_result *result);
/* Of the call to the engine; owner: the attempt. */
extern const struct http_call_handler task_run_answer;
