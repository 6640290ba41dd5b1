// SPDX-License-Identifier: Apache-2.0
/*
 * For tests of commands: a daemon made of canned answers, and running a command against it as a
 * user does.
 */
#pragma once

#include "unit.h"

/* Answers what begins so ("GET /path"), later rows before earlier ones; anything else is a 404. */
void answer(const char *asked, int status, const char *body);
/* The same for the next `times` requests; then earlier rows count. */
void answer_times(const char *asked, int times, int status, const char *body);
/* The last request that begins so ("PUT /path "): what follows in "METHOD PATH BODY"; NULL: there
 * was none. */
const char *last_asked(const char *start);
/* The head of the last request that begins so. */
const char *last_head(const char *start);

/* Runs the words after "berth"; their exit code, and what they wrote in out and err. */
#define BERTH(...) run_command((const char *[]){ __VA_ARGS__, NULL })
int run_command(const char **words);
enum { TEXT_MAX = 65536 };
extern char out[TEXT_MAX], err[TEXT_MAX];
/* A file in the tests' folder, which goes with it; good for a few more calls. */
char *in_folder(const char *name);
void put_file(const char *name, const char *text);

void assert_has(const char *text, const char *wanted);
void assert_lacks(const char *text, const char *unwanted);

/* Of the group, and of each test. */
int open_daemon(void **state);
int close_daemon(void **state);
int forget_answers(void **state);
