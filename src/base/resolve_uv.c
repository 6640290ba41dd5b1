// SPDX-License-Identifier: Apache-2.0
/* Names to addresses. A look-up cannot be stopped once a thread has it, so its memory stays until
 * it ends, whoever has let go of it meanwhile. */
#include "base/resolve_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct resolving {
    uv_getaddrinfo_t req;
    struct uv_world *world;
    char *name;
    int status;
    struct timer failed; /* an error that came at once is told in a later turn */
    resolved_fn done;    /* NULL once cancelled */
    void *owner;
};

static void free_resolving(struct resolving *r)
{
    timer_stop(&r->failed);
    free(r->name);
    free(r);
}

static void finish(struct resolving *r, struct addrinfo *addresses)
{
    struct error e;
    resolved_fn done = r->done;
    void *owner = r->owner;
    bool found = r->status == 0 && addresses;

    if (!done) {
        resolve_free(addresses);
        free_resolving(r);
        return;
    }
    if (r->status == UV_EAI_AGAIN) {
        error_set(&e, -EHOSTUNREACH, "the name server does not answer for \"%s\"", r->name);
    } else if (!found) {
        error_set(&e, -EHOSTUNREACH, "no address is known for the name \"%s\"", r->name);
    }
    free_resolving(r);
    done(owner, found ? addresses : NULL, found ? NULL : &e);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *addresses)
{
    struct resolving *r = container_of(req, struct resolving, req);

    r->world->resolving--;
    r->status = status;
    finish(r, addresses);
}

static void on_failed_at_once(void *arg)
{
    finish(arg, NULL);
}

struct resolving *resolve_name(struct uv_world *w, const char *name, resolved_fn done, void *owner)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_ADDRCONFIG };
    struct resolving *r = xcalloc(1, sizeof(*r));

    r->world = w;
    r->name = xstrdup(name);
    r->done = done;
    r->owner = owner;
    timer_init(&r->failed, &w->base, "resolve", on_failed_at_once, r);
    r->status = uv_getaddrinfo(&w->loop, &r->req, on_resolved, name, NULL, &hints);
    if (r->status < 0) {
        timer_start(&r->failed, 0);
    } else {
        w->resolving++;
    }
    return r;
}

void resolve_cancel(struct resolving *r)
{
    if (!r) {
        return;
    }
    r->done = NULL;
    if (timer_active(&r->failed)) {
        free_resolving(r);
    } else {
        (void)uv_cancel((uv_req_t *)&r->req);
    }
}

void resolve_free(struct addrinfo *addresses)
{
    uv_freeaddrinfo(addresses);
}
