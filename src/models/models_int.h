// SPDX-License-Identifier: Apache-2.0
/* Inside of models: rows of the table, and one change on its way through the store. */
#pragma once

#include "base/list.h"
#include "models/models.h"

struct model_row {
    int64_t id, epoch, created_ms, updated_ms;
    enum model_origin origin;
    bool wanted;
    char *config; /* JSON */
};
void model_row_finish(struct model_row *row);

/* Calls fn for every row in the order of ids, on the store's thread. */
int model_rows_read(struct sql *db, void (*fn)(void *arg, const struct model_row *row), void *arg,
                    struct error *reterr) _must_check_;

enum model_action { ACTION_ADD, ACTION_UPDATE, ACTION_REMOVE, ACTION_WANT };

/* What a change does to its row. Every one but the first asks for the row's epoch, and meeting
 * another one ends -EBUSY with the row as it is in `fresh`, or -ENOENT when it has gone. */
struct model_write {
    enum model_action action;
    struct model_row row; /* add, update: all of it as it shall be, but for the id of an add; want:
                             id, epoch, wanted */
    const char *public_id;
    struct event *events[2]; /* appended in the same transaction */
    size_t event_count;
    struct model_row fresh;
};
int model_write_run(struct model_write *write, struct sql *db, struct error *reterr) _must_check_;
