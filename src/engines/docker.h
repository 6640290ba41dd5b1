// SPDX-License-Identifier: Apache-2.0
/*
 * The Docker Engine API: small requests on a container engine's unix socket, each answered once, in
 * a later turn, and the sentences that its refusals deserve.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/world.h"
#include "http/client.h"

struct docker;
struct docker_call;

struct docker *docker_create(struct world *w, const char *socket);
/* After its calls were cancelled or answered. Accepts NULL, returns NULL. */
struct docker *docker_destroy(struct docker *d);

/* status 0: it does not answer, e says why. From 400 on it refused, and e has its own words.
 * Otherwise e is NULL. body is borrowed and may be NULL. */
typedef void (*docker_fn)(void *owner, int status, const json_t *body, const struct error *e);

enum { DOCKER_PATH_MAX = 1024 };
/* path without the version ("/containers/x/start"); body is borrowed for the call, or NULL.
 * limit_ms 0: the answer may take as long as it likes. */
struct docker_call *docker_ask(struct docker *d, const char *method, const char *path,
                               const json_t *body, uint64_t limit_ms, docker_fn done, void *owner);
/* Accepts NULL, returns NULL. */
struct docker_call *docker_cancel(struct docker_call *call);
/* GET /version, which settles what version every later path says. */
struct docker_call *docker_ask_version(struct docker *d, docker_fn done, void *owner);

/* A request whose answer comes bit by bit. */
struct http_call *docker_follow(struct docker *d, const char *method, const char *path,
                                uint64_t idle_ms, const struct http_call_handler *handler,
                                void *owner);
/* Can its socket be connected to? Asked at once, without waiting. */
int docker_check(const char *socket, struct error *reterr) _must_check_;
