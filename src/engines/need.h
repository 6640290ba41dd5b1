// SPDX-License-Identifier: Apache-2.0
/*
 * What drivers share when they say what an instance needs of memory (engine_driver.need), and what
 * becomes of it: need.c makes the final figure of the declared, the estimated and the measured one.
 */
#pragma once

#include "codec/model_file.h"
#include "engines/engine_driver.h"

/* The engine takes this share of every device, whatever the model is (vLLM's
 * gpu_memory_utilization), on exactly so many (tensor_parallel_size × pipeline_parallel_size).
 * facts may be NULL: then the weights' bytes are not told. */
void need_of_share(double share, unsigned devices, const struct model_facts *facts,
                   struct memory_need *ret);
/* For servers of which nothing is known but the model's files: its weights, some room for a cache,
 * a runtime. Fills nothing without facts. */
void need_of_files(const struct model_facts *facts, struct memory_need *ret);

/* The bytes of "… of size 123 …" in an engine's last words about an allocation that failed; 0. */
uint64_t need_failed_bytes(const char *last_words);
/* Do they say that memory was short, whichever engine's they are? (A context that cannot be made is
 * not enough: a wrong parameter has the same consequence.) */
bool need_is_out_of_memory(const char *last_words);
