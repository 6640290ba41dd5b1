// SPDX-License-Identifier: Apache-2.0
/* The list of engine drivers. A new kind of engine is one file and one row here. */
#include "engines/engines_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static const struct engine_driver *const drivers[] = {
    &llamacpp_driver, &command_driver, &openai_driver, &docker_driver, &vllm_driver,
};

void engine_command_finish(struct engine_command *c)
{
    c->argv = str_list_free(c->argv);
    c->env = str_list_free(c->env);
    c->container = container_spec_free(c->container);
    free(TAKE_PTR(c->base_path));
    free(TAKE_PTR(c->model));
    if (c->headers) {
        explicit_bzero(c->headers, strlen(c->headers));
        free(TAKE_PTR(c->headers));
    }
}

const struct engine_driver *driver_find(const char *framework)
{
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
        for (const char *const *word = drivers[i]->frameworks; *word; word++) {
            if (str_eq(*word, framework)) {
                return drivers[i];
            }
        }
    }
    return NULL;
}

void driver_names(char *out, size_t size)
{
    size_t used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++) {
        for (const char *const *word = drivers[i]->frameworks; *word && used < size; word++) {
            used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", *word);
        }
    }
}

const char *engines_driver_name(const char *framework)
{
    const struct engine_driver *driver = driver_find(framework);

    return driver ? driver->name : NULL;
}
