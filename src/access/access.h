// SPDX-License-Identifier: Apache-2.0
/*
 * Who may call what. One admin key (made at first start when berth listens beyond loopback, printed
 * once, stored as a hash), or none needed on loopback.
 *
 * Keyless use needs all of: a loopback listener, a loopback peer, a Host header that is loopback,
 * no Forwarded, X-Forwarded-* or X-Real-IP header, and an Origin header that is absent, our own or
 * listed in cors.origins (a page of another site may not drive the daemon). A key that is sent
 * where none is needed is not looked at: clients that must send one may send any. On the admin
 * socket nothing is asked: its file mode is the key.
 *
 * access.keys: auto (this rule), on (a key always, but on the admin socket), off (never; a loud
 * warning when berth listens beyond loopback).
 *
 * cors.origins: the sites whose pages may call berth from a browser, at every door; "*" is all of
 * them, but without a key for inference only. Cookies are never allowed (nothing here uses any).
 */
#pragma once

#include "config/config.h"
#include "http/router.h"
#include "store/store.h"

struct access;

extern const struct store_schema access_schema;
extern const struct option_table access_options; /* access.keys, cors.origins */

/* Reads the keys' hashes, or makes a key when one is needed and there is none: *ret_new_key is then
 * the key in clear (owned by the caller, to be shown once), else NULL. Before the loop runs. */
int access_create(struct world *w, struct store *store, const struct config *config,
                  bool listens_beyond_loopback, struct access **ret, char **ret_new_key,
                  struct error *reterr) _must_check_;
struct access *access_destroy(struct access *a); /* accepts NULL, returns NULL */
/* Takes cors.origins and access.keys over. A change to "on" with no key stored is not made (it
 * would lock everybody out): logged; the next start makes the key. */
void access_reconfigure(struct access *a, const struct config *config);

/* Is every entry of cors.origins one? -EINVAL with the sentence. */
int access_check_origins(const struct config *config, struct error *reterr) _must_check_;

/* What a listener is, given as its tag to http_server_listen. */
struct access_listener {
    bool loopback;     /* bound to a loopback address */
    bool admin_socket; /* the unix socket in the data directory: its file mode is the key */
};

/* 0 may go on; -EACCES (401: no or wrong key), -EPERM (403: a keyless rule is broken, or the key
 * lacks this scope) with the sentence. Reads Authorization: Bearer and x-api-key. */
int access_check(const struct access *a, const struct http_exchange *x, enum route_scope scope,
                 struct error *reterr) _must_check_;
/* A body must be declared as JSON: what a browser could otherwise send unasked (without a
 * preflight) is refused with -EMEDIUMTYPE, and so is a packed one. 0 for a request without a body.
 */
int access_check_content(const struct http_exchange *x, struct error *reterr) _must_check_;

/* ---- pages of other sites (CORS) ---- */

/* To be called for every request before it is answered: whatever the answer will be, it carries the
 * headers by which a page of an allowed origin may read it. */
void access_allow_origin(const struct access *a, struct http_exchange *x);
/* Does a browser ask whether a page may send a request (OPTIONS with Origin and
 * Access-Control-Request-Method)? */
bool access_is_preflight(const struct http_exchange *x);
/* Answers that: 204 with the methods that the path has (`allow`: "GET, POST") and the headers that
 * were asked for. -EPERM, with the sentence, when the origin may not: the answer is the caller's
 * then. */
int access_preflight(const struct access *a, struct http_exchange *x, const char *allow,
                     struct error *reterr) _must_check_;
