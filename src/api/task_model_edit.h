// SPDX-License-Identifier: Apache-2.0
/* Changing a model as seed 002's door asks: from the words to the commit, and the answer. Changes
 * of one model come one after the other, each made from what the one before has left. */
#pragma once

#include "api/task_model_words.h"

struct model_edit_order {
    int64_t id;   /* 0: a new model */
    json_t *body; /* taken over; the words are borrowed from it. NULL: none */
    struct model_words words;
    bool removes;        /* instead: the model goes, unless tasks of it wait or run */
    const char *message; /* of the good answer, a constant */
    bool shows;          /* with the model as data */
};
/* Answers x, sooner or later. */
void model_edit_begin(struct api *api, struct http_exchange *x,
                      const struct model_edit_order *order);
