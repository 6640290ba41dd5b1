// SPDX-License-Identifier: Apache-2.0
/* Inside of models: rows of the table, and one change on its way through the store. */
#pragma once

#include "base/list.h"
#include "models/models.h"

struct model_row {
    int64_t id, epoch, created_ms, updated_ms;
    enum model_origin origin;
    bool wanted;
    enum model_status task_status;
    char *config; /* JSON */
};
void model_row_finish(struct model_row *row);

/* Calls fn for every row in the order of ids, on the store's thread. */
int model_rows_read(struct sql *db, void (*fn)(void *arg, const struct model_row *row), void *arg,
                    struct error *reterr) _must_check_;

enum model_action { ACTION_ADD, ACTION_UPDATE, ACTION_REMOVE, ACTION_WANT, ACTION_STATUS };

enum { MODEL_EVENTS_MAX = 3 };

/* What a change does to its row. Every one but the first asks for the row's epoch, and meeting
 * another one ends -EBUSY with the row as it is in `fresh`, or -ENOENT when it has gone. */
struct model_write {
    enum model_action action;
    struct model_row row; /* add, update: all of it as it shall be, but for the id of an add; want,
                             status: id, epoch and what the action is about */
    const char *public_id;
    struct event *events[MODEL_EVENTS_MAX]; /* appended in the same transaction */
    size_t event_count;
    struct model_row fresh;
};
int model_write_run(struct model_write *write, struct sql *db, struct error *reterr) _must_check_;

/* models_update by the file: the model becomes the file's. */
void models_take_over(struct models *m, int64_t id, struct model_config *config,
                      models_done_fn done, void *arg);
/* done in a later turn, with id 0. */
void models_later(struct models *m, models_done_fn done, void *arg);
/* Names of the members that differ, the caller's; never their values, which may be secrets. */
json_t *models_changed_members(const struct model_config *a, const struct model_config *b);
