// SPDX-License-Identifier: Apache-2.0
/* A TLS server for the tests, in threads of its own, with certificates made at run time. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <openssl/ssl.h>

struct tls_server;

struct tls_server_options {
    const char *names; /* subjectAltName, "DNS:localhost,IP:127.0.0.1"; NULL: that one */
    bool self_signed;  /* not by the authority that tls_server_trust made known */
    bool expired;
    int max_version; /* TLS1_2_VERSION, say; 0: any */
    /* One connection, in its own thread; the connection is closed when it returns, without
     * close_notify. Exactly one of the two. */
    void (*serve)(SSL *ssl, void *arg); /* after a handshake that went well */
    void (*serve_raw)(int fd, void *arg);
    void *arg;
};

/* Makes an authority, and lets OpenSSL trust it and no other (SSL_CERT_FILE, SSL_CERT_DIR). Once a
 * process, first. */
void tls_server_trust(void);
/* On 127.0.0.1. */
struct tls_server *tls_server_start(const struct tls_server_options *options);
uint16_t tls_server_port(const struct tls_server *s);
/* Connections that came so far. */
unsigned tls_server_accepted(struct tls_server *s);
/* Cuts what stands; waits for the threads. */
void tls_server_stop(struct tls_server *s);
