// SPDX-License-Identifier: Apache-2.0
/* Stores and queues that this build lacks are refused at start, wherever they are configured. */
#pragma once

#include "config/config.h"

/* The sections `database` and `redis`. */
extern const struct option_table foreign_store_options;

/*
 * -EINVAL, with one sentence that names the key and its place, when the configuration or the
 * environment (DATABASE_URL, DB_DRIVER, DB_HOST, REDIS_URL, REDIS_HOST, also with LLM_SCHEDULER_
 * before) names a database other than SQLite, or Redis. A variable that is empty says nothing;
 * with `database.driver: sqlite` in our own configuration all of them are passed over.
 */
int foreign_stores_check(const struct config *config, const char *const *env,
                         struct error *reterr) _must_check_;
