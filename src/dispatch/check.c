// SPDX-License-Identifier: Apache-2.0
/* What of a model's definition is dispatch's to judge. */
#include "dispatch/dispatch.h"

void dispatch_check(const struct model_config *model, struct validation *v)
{
    struct error e;

    if (model->strategy && strategy_check(model->strategy, &e) < 0) {
        validation_error(v, "strategy: %s", e.text);
    }
}
