// SPDX-License-Identifier: Apache-2.0
/*
 * A request as an engine gets it, whoever asks: a client's (relay.c) or a task's (task_runner.c).
 * Headers towards engines are made here, or from an allow-list; the body names the model as the
 * engine knows it.
 */
#pragma once

#include "base/buf.h"
#include "dispatch/dispatch.h"
#include "engines/engines.h"
#include "gateway/request.h"

/* "Name: value" as a line; nothing when the value is absent. */
void engine_header(struct buf *out, const char *name, struct span value);
/* Those of a JSON body. */
void engine_json_headers(struct buf *out, bool stream);
/* The key and what else the route brings. */
void engine_route_headers(struct buf *out, const struct engine_route *route);

/* Composes the parts with this name (NULL: any will do) as the body's model. *text holds what the
 * parts borrow: NULL at first, freed by the caller when they are done with. */
void engine_name_model(struct gateway_request *r, const char *name, char **text);

/* An engine that is busy loading, or an endpoint behind a gateway of its own. */
bool engine_cannot_serve(int status);
/* What an answer of this status says of the engine. 501 is a good one: it was asked for what it
 * never does (a chat model for embeddings). */
enum outcome engine_outcome(int status);
