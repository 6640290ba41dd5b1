// SPDX-License-Identifier: Apache-2.0
/* Inside of access: the decision as a function of plain facts, without HTTP and store. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "http/router.h"

enum access_keys { KEYS_AUTO, KEYS_ON, KEYS_OFF, KEYS_MAX_ };
int access_keys_from_string(const char *s); /* -EINVAL */

enum { KEY_HASH_SIZE = 65, ACCESS_KEYS_MAX = 64 };

/* A key as it is stored: the hash of its text, in hex, and what it is good for. */
struct access_key {
    char hash[KEY_HASH_SIZE];
    enum route_scope
        scope; /* SCOPE_ADMIN is good for all, SCOPE_INFERENCE not for the administration */
};
/* The hash of a key's text. */
void access_key_hash(struct span key, char out[KEY_HASH_SIZE]);

struct access_policy {
    enum access_keys keys;
    struct access_key stored[ACCESS_KEYS_MAX];
    size_t stored_count;
    const char *const *origins; /* cors.origins, NULL-terminated; NULL: none */
};

/* What cors.origins says of a page's origin: not a word, only by its "*", or by name. */
enum origin_rule { ORIGIN_FOREIGN, ORIGIN_ANY, ORIGIN_LISTED };
enum origin_rule access_origin_rule(const struct access_policy *policy, struct span origin);
/* May this stand in cors.origins: "*", or SCHEME://HOST[:PORT] and nothing behind it? */
bool access_origin_is_well_formed(const char *text);

struct access_facts {
    enum route_scope scope; /* asked for */
    bool listener_loopback, admin_socket, peer_loopback;
    bool forwarded; /* a header says that a proxy passed the request on */
    struct span host, origin, authorization, api_key; /* headers; absent when they are */
};

/* As access_check. */
int access_decide(const struct access_policy *policy, const struct access_facts *facts,
                  struct error *reterr) _must_check_;

/* "localhost", 127.0.0.0/8 or [::1], each with or without a port. */
bool access_host_is_loopback(struct span host);
/* Is the page that sends this request one of ours? Absent: yes. */
bool access_origin_is_own(struct span origin, struct span host);
/* Is this the name of a header by which proxies tell of themselves? */
bool access_header_is_proxys(struct span name);
/* application/json, or a type that ends with +json; parameters do not matter. */
bool access_content_is_json(struct span content_type);
