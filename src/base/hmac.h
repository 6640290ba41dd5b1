// SPDX-License-Identifier: Apache-2.0
/* A keyed hash of a text, so that whoever shares the key knows who wrote it. Any thread. */
#pragma once

#include "base/str.h"

enum { HMAC_HEX_SIZE = 65 };

/* HMAC-SHA256 in lower-case hex. -EIO: the library refused. */
int hmac_sha256_hex(struct span key, struct span text, char out[HMAC_HEX_SIZE]) _must_check_;
