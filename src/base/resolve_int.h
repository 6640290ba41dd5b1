// SPDX-License-Identifier: Apache-2.0
/* Names to addresses, by the system's resolver on libuv's threads: the loop never waits for it. */
#pragma once

#include <netdb.h>

#include "base/world_uv_int.h"

struct resolving;

/* Either the addresses (at least one, TCP, in the system's order; the callee's, resolve_free), or e
 * (-EHOSTUNREACH; good for the call). Runs once, in a later turn. */
typedef void (*resolved_fn)(void *owner, struct addrinfo *addresses, const struct error *e);

struct resolving *resolve_name(struct uv_world *w, const char *name, resolved_fn done, void *owner);
/* done will not come; a look-up that the system has begun ends unheard. Accepts NULL; void once
 * done came. */
void resolve_cancel(struct resolving *r);
/* Accepts NULL. */
void resolve_free(struct addrinfo *addresses);
