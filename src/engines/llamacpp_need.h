// SPDX-License-Identifier: Apache-2.0
/* What llama-server takes of memory with a definition's parameters. */
#pragma once

#include "codec/model_file.h"
#include "engines/engine_driver.h"

/* As engine_driver.need. */
void llamacpp_need(const struct engine_context *c, const struct model_facts *facts,
                   struct memory_need *ret);

/* Does llama.cpp keep matrices of this type (GGUF's number) in another order on a CPU with these
 * features ("… avx2 …" as /proc/cpuinfo has them)? Of a mapped file that is a second copy. */
bool llamacpp_repacks(const char *features, uint32_t type);

enum { LLAMACPP_CTX_SIZE = 2048 };
