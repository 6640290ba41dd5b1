// SPDX-License-Identifier: Apache-2.0
/*
 * What the tests of the drivers share: a directory of its own with an empty model.gguf in it, a
 * configuration whose llama-server is /bin/true, definitions from JSON members, and what a driver
 * makes of them.
 */
#pragma once

#include "unit.h"

#include "engines/engine_driver.h"

extern struct config *driver_rig_config;

int driver_rig_set_up(void **state);
int driver_rig_tear_down(void **state);

/* members: JSON members that are added to the usual ones or replace them; NULL for none. */
struct model_config *driver_model(const char *framework, const char *members);

/* What is asked for (replica, port), and what came of it; driver_made_finish. */
struct driver_made {
    unsigned replica;
    uint16_t port;
    int result;
    struct engine_command command;
    struct error error;
    char *line, *env; /* the words, joined by blanks; "" for none */
};
/* Expects a command line, or fails the test. */
void driver_make(const struct engine_driver *driver, const char *members, struct driver_made *made);
/* Expects a refusal with these words in it. */
void driver_refuses(const struct engine_driver *driver, const char *members, const char *words);
void driver_made_finish(struct driver_made *made);

/* The errors and warnings must hold these words; NULL: there must be none. */
void driver_check(const struct engine_driver *driver, const char *members, const char *error,
                  const char *warning);

/* The same for what is wrong with the definition itself, and what this machine lacks for it. */
void driver_check_apart(const struct engine_driver *driver, const char *members,
                        const char *definition, const char *machine);

void assert_has(const char *text, const char *part);
void assert_has_not(const char *text, const char *part);
void write_file(const char *path, const char *text);
