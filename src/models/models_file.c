// SPDX-License-Identifier: Apache-2.0
/* The models of the configuration file: the catalogue is made equal to the list, by the same
 * changes as any other. */
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"
#include "models/models_int.h"

struct file_change {
    size_t open; /* changes not yet done, and one for the walk itself */
    struct error first;
    models_done_fn done;
    void *arg;
};

static void on_file_change(void *arg, int result, int64_t id, const struct error *e)
{
    struct file_change *f = arg;

    if (result < 0 && f->first.code == 0) {
        f->first = *e;
    }
    if (--f->open > 0) {
        return;
    }
    if (f->done) {
        f->done(f->arg, f->first.code, 0, &f->first);
    }
    free(f);
}

static bool same_definition(const struct model_config *a, const struct model_config *b)
{
    json_t *names = models_changed_members(a, b);
    bool same = json_array_size(names) == 0;

    json_decref(names);
    return same;
}

static void apply_one(struct models *m, struct model_config *config, struct file_change *f)
{
    const struct model *model = models_find(m, span_of(config->id));

    if (model && model->origin == MODEL_FROM_CONFIG && same_definition(model->config, config)) {
        model_config_free(config);
        return;
    }
    f->open++;
    if (model) {
        models_take_over(m, model->id, config, on_file_change, f);
    } else {
        models_add(m, config, MODEL_FROM_CONFIG, on_file_change, f);
    }
}

void models_apply_config(struct models *m, struct model_config **configs, size_t count,
                         models_done_fn done, void *arg)
{
    struct file_change *f = xcalloc(1, sizeof(*f));
    const struct model *model;
    struct map listed;
    size_t cursor = 0;

    *f = (struct file_change){ .open = 1, .done = done, .arg = arg };
    map_init(&listed);
    for (size_t i = 0; i < count; i++) {
        map_put(&listed, configs[i]->id, f);
    }
    while ((model = models_next(m, &cursor))) {
        if (model->origin == MODEL_FROM_CONFIG && !map_get(&listed, model->config->id)) {
            f->open++;
            models_remove(m, model->id, on_file_change, f);
        }
    }
    map_finish(&listed);
    for (size_t i = 0; i < count; i++) {
        apply_one(m, configs[i], f);
    }
    /* The walk's own share ends in a later turn, as done must. */
    models_later(m, on_file_change, f);
}
