// SPDX-License-Identifier: Apache-2.0
/* The first words on stdout: where berth is, and a line to try once a model answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/daemon_int.h"

/* Where berth is, and the words that make curl go there: an address, or the admin socket where none
 * is listened on. Owned by the caller. */
struct shown_at {
    char *shown, *curl;
};

static struct shown_at place_of(const struct daemon *d)
{
    char text[ADDRESS_TEXT_SIZE];
    struct address a = d->bound;
    struct shown_at p;

    if (!a.port) {
        p.shown = xasprintf("unix:%s/berth.sock", d->dir.path);
        p.curl = xasprintf("--unix-socket '%s/berth.sock' http://localhost", d->dir.path);
        return p;
    }
    if (str_eq(a.host, "::") || str_eq(a.host, "0.0.0.0")) {
        memcpy(a.host, "127.0.0.1", sizeof("127.0.0.1"));
    }
    address_format(&a, text);
    p.shown = xasprintf("http://%s", text);
    p.curl = xstrdup(p.shown);
    return p;
}

static void place_finish(struct shown_at *p)
{
    free(p->shown);
    free(p->curl);
}

static void say_key(const struct daemon *d)
{
    if (d->new_key) {
        printf("\nAdmin key, shown this once: %s\n", d->new_key);
    }
}

static void say_ready(struct daemon *d, const struct model *model)
{
    struct shown_at p = place_of(d);

    printf("\nberth is ready at %s  (model '%s' is up)\n\nTry it:\n\n"
           "  curl -N %s/v1/chat/completions -H 'Content-Type: application/json' %s\\\n"
           "    -d '{\"model\": \"%s\", \"stream\": true, \"messages\": [{\"role\": \"user\", "
           "\"content\": \"Hello\"}]}'\n\n",
           p.shown, model->config->id, p.curl,
           d->new_key && d->bound.port ? "-H \"Authorization: Bearer $BERTH_KEY\" " : "",
           model->config->id);
    fflush(stdout);
    place_finish(&p);
    banner_stop(d);
}

static void say_failed(struct daemon *d, const struct model *model, const struct instance *in)
{
    printf("\nmodel '%s' could not start: %s\n", model->config->id,
           in->last_error ? in->last_error : "its engine failed");
    fflush(stdout);
}

static void on_instance(void *owner, const void *what)
{
    struct daemon *d = owner;
    const struct instance_change *c = what;
    const struct model *model = models_get(d->models, c->instance->model_id);

    if (!model || d->banner_done) {
        return;
    }
    if (c->to == INSTANCE_READY) {
        say_ready(d, model);
    } else if (c->to == INSTANCE_FAILED) {
        say_failed(d, model, c->instance);
    }
}

/* A model that the store or the file wants up; the file's are not yet in the catalogue at the first
 * start. */
static const char *first_wanted(const struct daemon *d)
{
    const struct model *m;
    size_t cursor = 0, i;
    json_t *configured;

    while ((m = models_next(d->models, &cursor))) {
        if (m->wanted) {
            return m->config->id;
        }
    }
    json_array_foreach(config_models(d->config), i, configured)
    {
        if (json_is_true(json_object_get(configured, "autostart")) ||
            json_is_true(json_object_get(configured, "pinned"))) {
            return json_string_value(json_object_get(configured, "id"));
        }
    }
    return NULL;
}

static void say_other_addresses(const struct daemon *d)
{
    size_t others = d->listener_count - 2; /* without the admin socket's, and the one shown */

    if (d->listener_count > 2) {
        printf(" (and %zu more address%s)", others, others > 1 ? "es" : "");
    }
    printf("\n");
}

void banner_start(struct daemon *d)
{
    const char *first = first_wanted(d);
    struct shown_at p = place_of(d);

    printf("berth %s listens on %s", BERTH_VERSION, p.shown);
    say_other_addresses(d);
    say_key(d);
    if (first) {
        printf("Starting model '%s' …\n", first);
    } else if (models_count(d->models) || json_array_size(config_models(d->config))) {
        printf("No model is loaded. The first request for one loads it, or `berth load ID`.\n");
    } else {
        printf("There is no model yet. Define one in the configuration file or with POST "
               "%s/api/models/.\n",
               d->bound.port ? p.shown : "");
    }
    fflush(stdout);
    place_finish(&p);
    d->banner.fn = on_instance;
    d->banner.owner = d;
    notify_add(engines_signal(d->engines), &d->banner);
}

void banner_stop(struct daemon *d)
{
    if (!d->banner_done && d->banner.fn) {
        d->banner_done = true;
        notify_remove(&d->banner);
    }
}
