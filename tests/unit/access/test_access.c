// SPDX-License-Identifier: Apache-2.0
/* Keys: made when they are needed and only then, shown once, stored as a hash, known again after a
 * restart. */
#include "unit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "access/access_int.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/sim.h"

static const struct store_schema *const schemas[] = { &access_schema, NULL };

struct fixture {
    struct world *w;
    struct store *s;
    struct access *a;
    struct config *config;
    char dir[64], path[96];
    char *key; /* made by the last create, or NULL */
};

static struct config *config_with(const char *keys)
{
    const struct option_table *const tables[] = { &access_options, NULL };
    _cleanup_(freep) char *line = xasprintf("BERTH_ACCESS_KEYS=%s", keys);
    const char *const env[] = { line, NULL };
    struct config *config = NULL;

    assert_int_equal(config_load(NULL, env, tables, &config, NULL), 0);
    return config;
}

static void stop(struct fixture *f)
{
    f->a = access_destroy(f->a);
    f->s = store_close(f->s);
    f->config = config_free(f->config);
    free(TAKE_PTR(f->key));
}

static void start(struct fixture *f, const char *keys, bool beyond)
{
    stop(f);
    f->config = config_with(keys);
    assert_int_equal(store_open(f->w,
                                &(struct store_options){ .path = f->path, .schemas = schemas },
                                &f->s, NULL),
                     0);
    assert_int_equal(access_create(f->w, f->s, f->config, beyond, &f->a, &f->key, NULL), 0);
}

static struct fixture *setup(void)
{
    struct fixture *f = xcalloc(1, sizeof(*f));

    log_set_fd(-1);
    f->w = sim_create(1);
    snprintf(f->dir, sizeof(f->dir), "/tmp/berth-access-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/berth.db", f->dir);
    return f;
}

static void teardown(struct fixture *f)
{
    stop(f);
    world_destroy(f->w);
    unlink(f->path);
    rmdir(f->dir);
    free(f);
}

static int ask(const struct fixture *f, const char *key)
{
    struct access_facts facts = { .scope = SCOPE_ADMIN,
                                  .host = SPAN("box"),
                                  .api_key = span_of(key) };

    return access_decide(&f->a->policy, &facts, NULL);
}

static int ask_on_loopback(const struct fixture *f)
{
    struct access_facts facts = { .scope = SCOPE_ADMIN,
                                  .host = SPAN("localhost"),
                                  .listener_loopback = true,
                                  .peer_loopback = true };

    return access_decide(&f->a->policy, &facts, NULL);
}

static void test_made_when_needed(void **state)
{
    struct fixture *f = setup();
    _cleanup_(freep) char *key = NULL;

    start(f, "auto", false);
    assert_null(f->key);
    start(f, "off", true);
    assert_null(f->key);
    assert_int_equal(ask(f, NULL), 0);
    start(f, "auto", true);
    assert_non_null(f->key);
    assert_int_equal(strlen(f->key), 6 + 43);
    assert_int_equal(
        strspn(f->key + 6, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), 43);
    assert_memory_equal(f->key, "berth-", 6);
    assert_int_equal(ask(f, f->key), 0);
    assert_int_equal(ask(f, NULL), -EACCES);
    key = xstrdup(f->key);

    start(f, "on", false); /* the same key, not shown again */
    assert_null(f->key);
    assert_int_equal(ask(f, key), 0);
    key[20] ^= 1;
    assert_int_equal(ask(f, key), -EACCES);
    assert_int_equal(ask_on_loopback(f), -EACCES);
    teardown(f);
}

/* The key stands nowhere in the data directory. */
static void test_not_stored_in_clear(void **state)
{
    struct fixture *f = setup();
    _cleanup_(freep) char *key = NULL;
    static char file[1 << 20];
    size_t n;
    FILE *in;

    start(f, "on", false);
    key = xstrdup(f->key);
    stop(f);
    in = fopen(f->path, "r");
    n = fread(file, 1, sizeof(file), in);
    fclose(in);
    assert_true(n > 0 && n < sizeof(file));
    assert_null(memmem(file, n, key + 6, 12));
    teardown(f);
}

static void test_reconfigure(void **state)
{
    struct fixture *f = setup();
    struct config *on = config_with("on"), *automatic = config_with("auto");

    start(f, "auto", false);
    access_reconfigure(f->a, on); /* nobody could come in: not taken over */
    assert_int_equal(ask_on_loopback(f), 0);
    start(f, "on", false);
    assert_non_null(f->key);
    assert_int_equal(ask_on_loopback(f), -EACCES);
    access_reconfigure(f->a, automatic);
    assert_int_equal(ask_on_loopback(f), 0);
    access_reconfigure(f->a, on);
    assert_int_equal(ask_on_loopback(f), -EACCES);
    config_free(on);
    config_free(automatic);
    teardown(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_made_when_needed),
        cmocka_unit_test(test_not_stored_in_clear),
        cmocka_unit_test(test_reconfigure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
