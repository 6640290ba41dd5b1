// SPDX-License-Identifier: Apache-2.0
/*
 * Inside presets: readers that tell a fault with its field, so that a request and a file can share
 * them.
 */
#pragma once

#include "base/buf.h"
#include "codec/fields.h"
#include "presets/presets.h"

/* Letters and digits only, in lower case, without an owner before a slash. */
void preset_fold(const char *name, char out[PRESET_NAME_MAX]);
/* Copies, cut between characters. */
void preset_name_copy(char out[PRESET_NAME_MAX], const char *name);

/* All of a regular file of at most max bytes; the sentence begins with the path. Blocking. */
int preset_read_file(const char *path, size_t max, struct buf *b,
                     struct error *reterr) _must_check_;

/* book.c, for what reads documents into it: puts a preset under this name, in place of one that
 * has it; a book of the same presets; and the two's places exchanged. */
enum { BOOK_ALIASES_MAX = 1024 };
void book_put_chip(struct presets *p, const struct preset_chip *c, const char *name,
                   const char *aliases);
void book_put_model(struct presets *p, const struct preset_model *m, const char *name,
                    const char *aliases);
void book_put_topology(struct presets *p, const struct planner_topology *t, const char *name);
struct presets *book_copy(const struct presets *from);
void book_swap(struct presets *a, struct presets *b);
size_t book_count(const struct presets *p); /* of the user's */
/* The user's name that is but a few letters away; NULL: none. */
const char *book_near_chip(const struct presets *p, const char *name);
const char *book_near_model(const struct presets *p, const char *name);

/* A name of the book, or an object; path: where it stands. *ret_positions: how many tokens the
 * model was made for (0: not told); NULL: not asked for. */
void model_read(const struct presets *p, const json_t *value, const char *path, struct fault *fault,
                struct preset_model *ret, unsigned *ret_positions);
/* The members of a config.json (model_config.c). */
void model_config_read(const struct fields *f, struct preset_model *ret);
bool model_is_config(const json_t *object);
/* Families (a config.json's model_type, a GGUF's architecture) whose MLP is two matrices. */
bool model_is_plain(const char *family);
/* The dimensions that own members, seed members and a config.json name alike; what is absent stays
 * as it is. config: by the names of a config.json only. */
void model_dims_read(const struct fields *f, struct planner_model *m, bool config);
/* What cannot be, whoever said it. */
void model_check(const struct fields *f, const struct planner_model *m);
/* -1 when it is none. */
int model_dtype(const char *name);

/* What a chip's own object says beside the chip itself. */
struct chip_extras {
    double pcie_gbps, pcie_us; /* 0: not told */
};
void chip_read(const struct presets *p, const json_t *value, const char *path, struct fault *fault,
               struct preset_chip *ret, struct chip_extras *ret_extras);

/* Levels without a speed have gbps 0. *ret_chips: how many stand there. */
void topology_read(const json_t *value, const char *path, struct fault *fault,
                   struct planner_topology *ret, unsigned *ret_chips);
bool topology_is_told(const json_t *value); /* has levels, pods or counts, be they wrong */

/* "tp8 pp2 dp2" or an object {tp, pp, …, prefill}: the plan of a person, into the request, whose
 * model and load stand there. name: the member of f that it is. */
void plan_read(const struct fields *f, const char *name, struct plan_request *ret);
/* {latency, throughput, efficiency, balance} */
void weights_read(const struct fields *f, const char *name, struct planner_score_weights *ret);

/* The two shapes of a question. */
void request_read_submit(const struct presets *p, const json_t *body, struct plan_request *ret,
                         struct fault *fault);
void request_read_own(const struct presets *p, const json_t *body, struct plan_request *ret,
                      struct fault *fault);
/* The precision when nobody says. */
int request_default_format(const struct planner_chip *c, int engine);
/* Speeds of levels that none were told of. */
void request_fill_links(struct planner_topology *t, const struct planner_chip *c);
