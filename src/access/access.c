// SPDX-License-Identifier: Apache-2.0
/* Keys in the store, the policy in memory. A key in clear is never stored or logged. */
#include "access/access.h"

#include <stdlib.h>

#include "access/access_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"

enum { KEY_BYTES = 32 };

static const char *const migrations[] = {
    "CREATE TABLE access_keys("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  name TEXT NOT NULL UNIQUE,"
    "  hash TEXT NOT NULL UNIQUE," /* SHA-256 of the key's text, in hex */
    "  created_ms INTEGER NOT NULL,"
    "  scope TEXT NOT NULL CHECK(scope IN ('admin', 'inference'))) STRICT",
};
const struct store_schema access_schema = { "access", migrations, ARRAY_SIZE(migrations) };

// clang-format off
static const struct option_row rows[] = {
    { "access.keys", OPTION_ENUM, "auto", 0, 0, "auto on off", true, false,
      "Who needs an API key: auto (everybody but local programs on a loopback address), on (everybody but the admin socket), off (nobody)." },
    { "cors.origins", OPTION_LIST, "", 0, 0, NULL, true, false,
      "Sites whose pages may call berth from a browser: https://HOST[:PORT], exactly as the browser names it; * is every site, without an API key for inference only." },
};
// clang-format on
const struct option_table access_options = { rows, ARRAY_SIZE(rows) };

/* ---- keys in the store ---- */

struct keys_op {
    struct store_op op;
    struct access_policy *policy; /* load: filled */
    const char *hash;             /* add */
    int64_t now_ms;
};

static int run_load(struct store_op *op, struct sql *db, struct error *reterr)
{
    struct access_policy *p = container_of(op, struct keys_op, op)->policy;
    _cleanup_(sql_donep) struct sql_stmt *st = NULL;
    int r = sql_query(db, &st, reterr, "SELECT hash, scope FROM access_keys ORDER BY id LIMIT ?",
                      "i", (int64_t)ACCESS_KEYS_MAX);

    if (r < 0) {
        return r;
    }
    while ((r = sql_next(st, reterr)) > 0) {
        struct span hash = sql_span(st, 0);
        struct access_key *key = &p->stored[p->stored_count];

        if (hash.n == KEY_HASH_SIZE - 1) {
            memcpy(key->hash, hash.p, hash.n);
            key->scope = str_eq(sql_text(st, 1), "admin") ? SCOPE_ADMIN : SCOPE_INFERENCE;
            p->stored_count++;
        }
    }
    return r;
}

static int run_add(struct store_op *op, struct sql *db, struct error *reterr)
{
    const struct keys_op *k = container_of(op, struct keys_op, op);

    return sql_run(
        db, reterr,
        "INSERT INTO access_keys(name, hash, created_ms, scope) VALUES('admin', ?, ?, 'admin')",
        "ti", k->hash, k->now_ms);
}

/* "berth-" and 43 characters of base64url: 256 random bits. Owned by the caller. */
static char *make_key(struct world *w)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char random[KEY_BYTES + 1] = { 0 };
    char text[] = "berth-0123456789012345678901234567890123456789012";

    world_random(w, random, KEY_BYTES);
    for (size_t i = 0; i < 43; i++) {
        size_t bit = 6 * i, at = bit / 8;
        unsigned pair = (unsigned)random[at] << 8 | random[at + 1];

        text[6 + i] = digits[pair >> (10 - bit % 8) & 63];
    }
    return xstrdup(text);
}

static int add_key(struct access *a, struct world *w, struct store *store, char **ret_key,
                   struct error *reterr)
{
    _cleanup_(freep) char *key = make_key(w);
    struct access_key *stored = &a->policy.stored[0];
    struct keys_op add = { .op = { .run = run_add },
                           .hash = stored->hash,
                           .now_ms = world_wall_ms(w) };
    int r;

    access_key_hash(span_of(key), stored->hash);
    stored->scope = SCOPE_ADMIN;
    r = store_write_now(store, &add.op);
    if (r < 0) {
        return error_set(reterr, r, "cannot store the API key: %s", add.op.error.text);
    }
    a->policy.stored_count = 1;
    *ret_key = TAKE_PTR(key);
    return 0;
}

/* ---- life ---- */

static enum access_keys keys_of(const struct config *config)
{
    int keys = access_keys_from_string(config_string(config, "access.keys"));

    return keys < 0 ? KEYS_AUTO : (enum access_keys)keys;
}

static bool needs_key(const struct access *a, enum access_keys keys)
{
    return keys == KEYS_ON || (keys == KEYS_AUTO && a->beyond_loopback);
}

static void set_keys(struct access *a, enum access_keys keys)
{
    a->policy.keys = keys;
    if (keys == KEYS_OFF && a->beyond_loopback) {
        log_warn(
            "access", NULL,
            "ANYBODY WHO REACHES THIS ADDRESS CONTROLS BERTH: access.keys is off and berth listens "
            "beyond loopback");
    }
}

static void set_origins(struct access *a, const struct config *config)
{
    const char *const *list = config_list(config, "cors.origins");
    size_t n = 0;

    while (list[n]) {
        n++;
    }
    str_list_free(a->origins);
    a->origins = xcalloc(n + 1, sizeof(*a->origins));
    for (size_t i = 0; i < n; i++) {
        a->origins[i] = xstrdup(list[i]);
    }
    a->policy.origins = (const char *const *)a->origins;
}

int access_check_origins(const struct config *config, struct error *reterr)
{
    for (const char *const *o = config_list(config, "cors.origins"); *o; o++) {
        if (!access_origin_is_well_formed(*o)) {
            return error_set(reterr, -EINVAL,
                             "cors.origins (%s): '%.100s' is no origin: say https://HOST[:PORT] "
                             "with no path and no slash behind it, or *",
                             config_source(config, "cors.origins"), *o);
        }
    }
    return 0;
}

int access_create(struct world *w, struct store *store, const struct config *config,
                  bool listens_beyond_loopback, struct access **ret, char **ret_new_key,
                  struct error *reterr)
{
    struct access *a = xcalloc(1, sizeof(*a));
    struct keys_op load = { .op = { .run = run_load }, .policy = &a->policy };
    char *new_key = NULL;
    int r;

    a->beyond_loopback = listens_beyond_loopback;
    r = store_read_now(store, &load.op);
    if (r < 0) {
        error_set(reterr, r, "cannot read the API keys: %s", load.op.error.text);
    } else if (a->policy.stored_count == 0 && needs_key(a, keys_of(config))) {
        r = add_key(a, w, store, &new_key, reterr);
    }
    if (r < 0) {
        access_destroy(a);
        return r;
    }
    set_keys(a, keys_of(config));
    set_origins(a, config);
    *ret = a;
    *ret_new_key = new_key;
    return 0;
}

struct access *access_destroy(struct access *a)
{
    if (a) {
        str_list_free(a->origins);
    }
    free(a);
    return NULL;
}

void access_reconfigure(struct access *a, const struct config *config)
{
    enum access_keys keys = keys_of(config);

    set_origins(a, config);
    if (a->policy.stored_count == 0 && needs_key(a, keys)) {
        log_warn("access", NULL,
                 "access.keys stays as it was: there is no key yet, the next start makes one");
        return;
    }
    set_keys(a, keys);
}
