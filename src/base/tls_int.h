// SPDX-License-Identifier: Apache-2.0
/* TLS as a stream on top of another stream, for connections that we make. */
#pragma once

#include "base/world_int.h"

/* What the TLS connections of a world share: made by the first of them. */
struct tls;
/* Accepts NULL, returns NULL. Every TLS stream must be closed before. */
struct tls *tls_destroy(struct tls *tls);

/* stream_connect for an address with `tls`. */
struct stream_connecting *tls_connect(struct world *w, const struct address *where,
                                      stream_connect_fn on_connect, void *owner);
