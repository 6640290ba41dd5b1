// SPDX-License-Identifier: Apache-2.0
/*
 * Documents: objects by kind and id, kept as they were given. Ids are names, never paths: they are
 * keys of a table. Chips, models and topologies are checked before they are kept
 * (documents_check.c), and stand in the book from the commit on. Every answer comes from the
 * store's turn, refusals too, so that answers come in the order of the questions.
 */
#include "evaluations/documents_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"

enum { LIST_BYTES_MAX = 16 << 20 };

const char documents_table[] = "CREATE TABLE planner_documents("
                               "  kind TEXT NOT NULL"
                               "    CHECK(kind IN ('benchmark', 'topology', 'chip', 'model')),"
                               "  id TEXT NOT NULL,"
                               "  object TEXT NOT NULL,"
                               "  entry TEXT," /* as the book has it: nothing else is needed to
                                                  make the book anew */
                               "  created_ms INTEGER NOT NULL,"
                               "  updated_ms INTEGER NOT NULL,"
                               "  PRIMARY KEY(kind, id)) STRICT, WITHOUT ROWID";

struct documents {
    struct world *world;
    struct store *store;
    json_t *files;                          /* what the preset files say, as one document */
    size_t room;                            /* names that the book has beside theirs */
    struct map entries[DOCUMENT_KIND_MAX_]; /* id → json_t, in the book's own members */
    struct presets *book;
    struct list asks; /* struct ask */
};

enum verb { VERB_LIST, VERB_GET, VERB_CREATE, VERB_REPLACE, VERB_DELETE, VERB_REFUSE };

/* A question that is with the store. */
struct ask {
    struct store_op op;
    struct list node;
    struct documents *d; /* NULL: gone meanwhile, and answered */
    enum verb verb;
    enum document_kind kind;
    char *id, *text;
    json_t *entry;  /* what the book is to get; NULL: nothing */
    size_t room;    /* for such */
    json_t *answer; /* made on the store's thread, and nobody else's until it is done */
    char field[PRESET_NAME_MAX];
    struct error refusal;
    int64_t wall_ms;
    evaluations_done_fn done;
    void *arg;
};

/* ---- the book ---- */

static void add_section(json_t *document, const char *section, const char *name, json_t *entry)
{
    json_t *part = json_object_get(document, section);

    if (!part) {
        part = json_object();
        json_object_set_new(document, section, part);
    }
    json_object_set_new(part, name, entry);
}

/* What the user wrote of a book, as a document that another can be made of. */
static json_t *own_entries(const struct presets *book)
{
    json_t *document = json_object();
    const struct planner_chip *chip;
    const struct planner_model *model;
    const struct preset_topology *t;
    struct preset_model whole;
    size_t cursor = 0;
    bool own;

    while ((chip = presets_next_chip(book, &cursor, &own))) {
        if (own) {
            add_section(document, "chips", chip->name, preset_chip_to_json(chip));
        }
    }
    cursor = 0;
    while ((model = presets_next_model(book, &cursor, &own))) {
        if (own && presets_find_model(book, model->name, &whole)) {
            add_section(document, "models", model->name, preset_model_document(&whole));
        }
    }
    cursor = 0;
    while ((t = presets_next_topology(book, &cursor))) {
        add_section(document, "topologies", t->name, preset_topology_to_json(&t->topology));
    }
    return document;
}

static void add_all(struct presets *book, const json_t *document, const char *what)
{
    struct error e = { 0 };

    if (presets_add(book, document, &e) < 0) {
        log_warn("evaluations", NULL, "some do not join the presets, ignoring",
                 kv_str("which", what), kv_str("error", e.text));
    }
}

/* All at once: a book is copied whenever something is added to it. */
static void make_book(struct documents *d)
{
    struct presets *book = presets_create();
    json_t *own = json_object();

    for (enum document_kind kind = 0; kind < DOCUMENT_KIND_MAX_; kind++) {
        map_for_each(entry, &d->entries[kind])
        {
            add_section(own, document_sections[kind], entry->key, json_incref(entry->value));
        }
    }
    add_all(book, d->files, "preset files");
    add_all(book, own, "documents");
    json_decref(own);
    presets_destroy(d->book);
    d->book = book;
}

const struct presets *documents_book(const struct documents *d)
{
    return d->book;
}

static void set_entry(struct documents *d, enum document_kind kind, const char *id, json_t *entry)
{
    json_decref(entry ? map_put(&d->entries[kind], id, entry) : map_remove(&d->entries[kind], id));
}

/* ---- on the store's thread ---- */

static int list(struct ask *a, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    size_t bytes = 0;
    int r = sql_query(db, &st, reterr,
                      "SELECT object FROM planner_documents WHERE kind = ? ORDER BY id", "t",
                      document_kind_names[a->kind]);

    if (r < 0) {
        return r;
    }
    a->answer = json_array();
    while ((r = sql_next(st, reterr)) > 0) {
        const struct span text = sql_span(st, 0);

        bytes += text.n;
        if (bytes > LIST_BYTES_MAX) {
            return error_set(reterr, -EFBIG, "there is more than %d MiB of them: ask one by one",
                             LIST_BYTES_MAX >> 20);
        }
        json_array_append_new(a->answer, json_loadb(text.p, text.n, 0, NULL));
    }
    return r;
}

static int missing(const struct ask *a, struct error *reterr)
{
    return error_set(reterr, -ENOENT, "there is no %s '%s'", document_kind_names[a->kind], a->id);
}

static int get(struct ask *a, struct sql *db, struct error *reterr)
{
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    struct span text;
    int r =
        sql_query(db, &st, reterr, "SELECT object FROM planner_documents WHERE kind = ? AND id = ?",
                  "tt", document_kind_names[a->kind], a->id);

    r = r < 0 ? r : sql_next(st, reterr);
    if (r <= 0) {
        return r < 0 ? r : missing(a, reterr);
    }
    text = sql_span(st, 0);
    a->answer = json_loadb(text.p, text.n, 0, NULL);
    return 0;
}

static int create(struct ask *a, struct sql *db, struct error *reterr)
{
    _cleanup_(freep) char *entry = a->entry ? json_dumps(a->entry, JSON_COMPACT) : NULL;
    int r = sql_run(db, reterr,
                    "INSERT INTO planner_documents(kind, id, object, entry, created_ms, updated_ms)"
                    " SELECT ?1, ?2, ?3, ?4, ?5, ?5 "
                    "WHERE (SELECT count(*) FROM planner_documents WHERE kind = ?1) < ?6 AND "
                    "(?4 IS NULL OR "
                    "(SELECT count(*) FROM planner_documents WHERE kind <> 'benchmark') < ?7)",
                    "ttttiii", document_kind_names[a->kind], a->id, a->text, entry, a->wall_ms,
                    (int64_t)DOCUMENTS_MAX, (int64_t)a->room);

    if (r == -EEXIST) {
        return error_set(reterr, r, "there is a %s '%s' already", document_kind_names[a->kind],
                         a->id);
    }
    return r == 0 ? error_set(reterr, -EBUSY, "there is no room for more of them: delete one first")
                  : r;
}

static int change(struct ask *a, struct sql *db, struct error *reterr)
{
    _cleanup_(freep) char *entry = a->entry ? json_dumps(a->entry, JSON_COMPACT) : NULL;
    int r;

    if (a->verb == VERB_REPLACE) {
        r = sql_run(db, reterr,
                    "UPDATE planner_documents SET object = ?, entry = ?, updated_ms = ? "
                    "WHERE kind = ? AND id = ?",
                    "ttitt", a->text, entry, a->wall_ms, document_kind_names[a->kind], a->id);
    } else {
        r = sql_run(db, reterr, "DELETE FROM planner_documents WHERE kind = ? AND id = ?", "tt",
                    document_kind_names[a->kind], a->id);
    }
    return r == 0 ? missing(a, reterr) : r;
}

static int run_ask(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct ask *a = container_of(op, struct ask, op);
    int r;

    switch (a->verb) {
    case VERB_LIST:
        return list(a, db, reterr);
    case VERB_GET:
        return get(a, db, reterr);
    case VERB_REFUSE:
        return error_set(reterr, a->refusal.code, "%s", a->refusal.text);
    default:
        r = a->verb == VERB_CREATE ? create(a, db, reterr) : change(a, db, reterr);
        return MIN_OF(r, 0);
    }
}

/* ---- asking ---- */

static void ask_free(struct ask *a)
{
    json_decref(a->entry);
    json_decref(a->answer);
    free(a->id);
    free(a->text);
    free(a);
}

/* The book follows the commit. */
static void take_over(struct documents *d, struct ask *a)
{
    if (a->verb == VERB_LIST || a->verb == VERB_GET) {
        return;
    }
    a->answer = json_pack("{s:b, s:s}", "success", 1, "id", a->id);
    if (a->kind != DOCUMENT_BENCHMARK) {
        set_entry(d, a->kind, a->id, TAKE_PTR(a->entry));
        make_book(d);
    }
}

static void on_asked(struct store_op *op)
{
    struct ask *a = container_of(op, struct ask, op);

    list_remove(&a->node);
    if (a->d && op->result >= 0) {
        take_over(a->d, a);
        a->done(a->arg, 0, a->answer, "", &op->error);
    } else if (a->d) {
        a->done(a->arg, op->result, NULL, a->field, &op->error);
    }
    ask_free(a);
}

static struct ask *make_ask(struct documents *d, enum verb verb, enum document_kind kind,
                            const char *id)
{
    struct ask *a = xcalloc(1, sizeof(*a));

    a->op.run = run_ask;
    a->op.done = on_asked;
    a->d = d;
    a->verb = verb;
    a->kind = kind;
    a->id = xstrdup(id);
    list_append(&d->asks, &a->node);
    return a;
}

/* checked: what the checks before it gave. */
static void submit(struct ask *a, int checked, evaluations_done_fn done, void *arg)
{
    a->done = done;
    a->arg = arg;
    if (checked < 0) {
        a->verb = VERB_REFUSE;
        document_field(&a->refusal, a->field);
    }
    if (a->verb == VERB_LIST || a->verb == VERB_GET || a->verb == VERB_REFUSE) {
        store_read(a->d->store, &a->op);
    } else {
        a->wall_ms = world_wall_ms(a->d->world);
        store_write(a->d->store, &a->op);
    }
}

void documents_list(struct evaluations *v, enum document_kind kind, evaluations_done_fn done,
                    void *arg)
{
    submit(make_ask(evaluations_documents(v), VERB_LIST, kind, ""), 0, done, arg);
}

void documents_get(struct evaluations *v, enum document_kind kind, const char *id,
                   evaluations_done_fn done, void *arg)
{
    struct ask *a = make_ask(evaluations_documents(v), VERB_GET, kind, id);

    submit(a, document_check_id(id, &a->refusal), done, arg);
}

void documents_delete(struct evaluations *v, enum document_kind kind, const char *id,
                      evaluations_done_fn done, void *arg)
{
    struct ask *a = make_ask(evaluations_documents(v), VERB_DELETE, kind, id);

    submit(a, document_check_id(id, &a->refusal), done, arg);
}

/* With its id, as it is to be given back. */
static int write_text(struct ask *a, const json_t *object, struct error *reterr)
{
    json_t *copy = json_copy(UNCONST(json_t *, object));

    json_object_set_new(copy, "id", json_string(a->id));
    a->text = json_dumps(copy, JSON_COMPACT);
    json_decref(copy);
    if (strlen(a->text) > DOCUMENT_MAX) {
        return error_set(reterr, -EFBIG, "a document has at most %d bytes", DOCUMENT_MAX);
    }
    return 0;
}

void documents_put(struct evaluations *v, enum document_kind kind, const char *id,
                   const json_t *object, bool create_it, evaluations_done_fn done, void *arg)
{
    struct documents *d = evaluations_documents(v);
    struct ask *a = make_ask(d, create_it ? VERB_CREATE : VERB_REPLACE, kind, id);
    int r = document_check_id(id, &a->refusal);

    a->room = d->room;
    r = r < 0 ? r : document_check(d->book, kind, id, object, &a->entry, &a->refusal);
    r = r < 0 ? r : write_text(a, object, &a->refusal);
    submit(a, r, done, arg);
}

/* ---- life ---- */

struct documents *documents_create(struct world *w, struct store *store)
{
    struct documents *d = xcalloc(1, sizeof(*d));

    d->world = w;
    d->store = store;
    d->book = presets_create();
    list_init(&d->asks);
    for (size_t i = 0; i < DOCUMENT_KIND_MAX_; i++) {
        map_init(&d->entries[i]);
    }
    return d;
}

struct documents *documents_destroy(struct documents *d)
{
    static const struct error gone = { -ECANCELED, "berth is going down" };
    struct ask *a, *tmp;

    if (!d) {
        return NULL;
    }
    list_for_each_safe (a, tmp, &d->asks, node) {
        list_remove(&a->node);
        a->d = NULL;
        a->done(a->arg, gone.code, NULL, "", &gone);
    }
    for (size_t i = 0; i < DOCUMENT_KIND_MAX_; i++) {
        map_for_each(entry, &d->entries[i])
        {
            json_decref(entry->value);
        }
        map_finish(&d->entries[i]);
    }
    presets_destroy(d->book);
    json_decref(d->files);
    free(d);
    return NULL;
}

static size_t names_in(const json_t *document)
{
    const json_t *section;
    const char *name;
    size_t n = 0;

    json_object_foreach(UNCONST(json_t *, document), name, section)
    {
        n += json_object_size(section);
    }
    return n;
}

static size_t taken(const struct documents *d)
{
    size_t n = 0;

    for (size_t i = 0; i < DOCUMENT_KIND_MAX_; i++) {
        n += d->entries[i].count;
    }
    return n;
}

static void load_one(struct documents *d, enum document_kind kind, const char *id, struct span text)
{
    json_t *entry = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
    struct error e = { 0 };
    int r = taken(d) < d->room ? document_check_entry(kind, id, entry, &e)
                               : error_set(&e, -EBUSY, "there are too many presets");

    if (r < 0) {
        log_warn("evaluations", id, "a document does not join the presets, ignoring",
                 kv_str("kind", document_kind_names[kind]), kv_str("error", e.text));
        json_decref(entry);
        return;
    }
    set_entry(d, kind, id, entry);
}

struct load_op {
    struct store_op op;
    struct documents *d;
};

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct documents *d = container_of(op, struct load_op, op)->d;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr,
                      "SELECT kind, id, entry FROM planner_documents "
                      "WHERE kind <> 'benchmark' ORDER BY kind, id",
                      "");

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        const int kind = document_kind_from_string(sql_text(st, 0));

        if (kind >= 0) {
            load_one(d, (enum document_kind)kind, sql_text(st, 1), sql_span(st, 2));
        }
    }
    return r;
}

int documents_start(struct documents *d, const char *const *files, size_t count,
                    struct error *reterr)
{
    struct load_op o = { .op.run = run_load, .d = d };
    int r;

    for (size_t i = 0; i < count; i++) {
        r = presets_add_file(d->book, files[i], reterr);
        if (r < 0) {
            return r;
        }
    }
    d->files = own_entries(d->book);
    d->room = PRESETS_MAX - MIN_OF(names_in(d->files), (size_t)PRESETS_MAX);
    r = store_read_now(d->store, &o.op);
    if (r < 0) {
        return error_set(reterr, r, "the planner's documents cannot be read: %s", o.op.error.text);
    }
    make_book(d);
    return 0;
}
