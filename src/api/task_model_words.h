// SPDX-License-Identifier: Apache-2.0
/*
 * What the task doors say of a model (type and config of seed 002), and the definition that it
 * becomes. Pure, but for looking at the catalogue's configuration.
 *
 *     openai ──────────────────────────────► framework openai at base_url
 *     local  ── host:port answers ─────────► framework openai at http://host:port/v1
 *            └─ it does not ───────────────► framework llamacpp of model_path
 *     custom ── base_url ──────────────────► framework openai at base_url
 *            └─ command ───────────────────► framework command
 */
#pragma once

#include "api/api_int.h"

struct model_words {
    const char *name, *type, *status; /* NULL: not said; borrowed from the body */
    const json_t *config;             /* an object, or NULL; borrowed */
    int64_t max_workers;              /* 0: not said */
};

/* False: it is refused, and that is answered. */
bool model_words_read(struct http_exchange *x, const json_t *body, struct model_words *ret);

enum { LOCAL_URL_SIZE = 300 };
/* Where the server of a local model is to be asked; "" when config names none. -EINVAL, also when
 * it is berth itself. */
int model_words_server(struct api *api, const json_t *config, char ret_url[LOCAL_URL_SIZE],
                       struct error *reterr) _must_check_;

struct model_making {
    struct model_words words;
    const struct model *old; /* what is changed; NULL: a new one */
    const char *server_url;  /* a local model's server that answers; NULL: none does */
    const char *key_name;    /* of the file of a new key, should there be one */
};
/* The definition, checked. *ret_key: the new key in clear, borrowed from the words; NULL: there is
 * none. -EINVAL with all that is wrong. */
int model_words_define(struct api *api, const struct model_making *making,
                       struct model_config **ret, const char **ret_key,
                       struct error *reterr) _must_check_;
