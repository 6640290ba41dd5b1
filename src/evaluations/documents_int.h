// SPDX-License-Identifier: Apache-2.0
/*
 * The keeper of the documents, as the rest of the room sees it: their rows, and the book of chips,
 * models and topologies, which is the planner's own, then the preset files', then the documents'.
 * The book is made anew whenever such a document is committed; who asked for it before may use what
 * it got until the turn ends.
 */
#pragma once

#include "evaluations/evaluations.h"

struct documents;

extern const char documents_table[]; /* a migration */

struct documents *documents_create(struct world *w, struct store *store);
/* Late commits are coped with; their done comes with -ECANCELED now. Accepts NULL, returns NULL. */
struct documents *documents_destroy(struct documents *d);
/* Before the loop runs. files: the preset files (YAML), count of them. What a file says wrongly is
 * an error; a document that is not good any more is passed over, with a line in the log. */
int documents_start(struct documents *d, const char *const *files, size_t count,
                    struct error *reterr) _must_check_;
const struct presets *documents_book(const struct documents *d);

/* Of evaluations.c: where the evaluations keep them. */
struct documents *evaluations_documents(struct evaluations *v);

/* ---- what may be kept (documents_check.c) ---- */

extern const char *const document_kind_names[DOCUMENT_KIND_MAX_]; /* "benchmark" … */
int document_kind_from_string(const char *s);                     /* -EINVAL */
extern const char *const document_sections[DOCUMENT_KIND_MAX_];   /* of a book; benchmark: NULL */
/* Can it stand in a book under this id? */
int document_check_entry(enum document_kind kind, const char *id, json_t *entry,
                         struct error *reterr) _must_check_;

/* -EINVAL: it is no name. */
int document_check_id(const char *id, struct error *reterr) _must_check_;
/* The sentence begins with the member. *ret_entry: as the book is to have it, the caller's; NULL of
 * a benchmark. */
int document_check(const struct presets *book, enum document_kind kind, const char *id,
                   const json_t *object, json_t **ret_entry, struct error *reterr) _must_check_;
/* "memory_gb: it must be …" is about memory_gb; as it was when it is about none. */
void document_field(const struct error *e, char field[PRESET_NAME_MAX]);
