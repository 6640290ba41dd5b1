// SPDX-License-Identifier: Apache-2.0
/* A TLS server for the tests. The rule: its threads touch sockets and OpenSSL only, never the world
 * of the test. */
#include "unit.h"

#include "tls_server.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"

enum { CONNECTIONS_MAX = 2048 };

struct served {
    struct tls_server *server;
    pthread_t thread;
    int fd;
};

struct tls_server {
    struct tls_server_options options;
    SSL_CTX *context;
    pthread_t thread;
    int fd;
    uint16_t port;
    pthread_mutex_t lock;
    unsigned count;
    bool stopping;
    struct served served[CONNECTIONS_MAX];
};

static EVP_PKEY *authority_key;
static X509 *authority;

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

/* issuer NULL: itself. Extensions and the signature are still to come. */
static X509 *create_certificate(EVP_PKEY *key, const char *name, const X509 *issuer, bool expired)
{
    static int serial = 1;
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(cert), -2 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(cert), expired ? -86400 : 86400);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(cert, issuer ? X509_get_subject_name(issuer) : subject);
    return cert;
}

static void sign(X509 *cert, EVP_PKEY *key)
{
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
}

static void remove_authority_file(void)
{
    const char *path = getenv("SSL_CERT_FILE");

    if (path) {
        unlink(path);
    }
}

void tls_server_trust(void)
{
    char path[] = "/tmp/berth-test-ca-XXXXXX";
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    assert_non_null(file);
    authority_key = EVP_EC_gen("P-256");
    authority = create_certificate(authority_key, "test authority", NULL, false);
    add_extension(authority, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(authority, NID_key_usage, "critical,keyCertSign,cRLSign");
    sign(authority, authority_key);
    PEM_write_X509(file, authority);
    fclose(file);
    setenv("SSL_CERT_FILE", path, 1);
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
    atexit(remove_authority_file);
}

static SSL_CTX *create_context(const struct tls_server_options *o)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = create_certificate(key, "a server", o->self_signed ? NULL : authority, o->expired);

    add_extension(cert, NID_subject_alt_name, o->names ? o->names : "DNS:localhost,IP:127.0.0.1");
    sign(cert, o->self_signed ? key : authority_key);
    assert_int_equal(SSL_CTX_use_certificate(context, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(context, key), 1);
    if (o->max_version) {
        SSL_CTX_set_security_level(context, 0);
        SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(context, o->max_version);
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return context;
}

static void *serve_one(void *arg)
{
    struct served *v = arg;
    struct tls_server *s = v->server;

    if (s->options.serve_raw) {
        s->options.serve_raw(v->fd, s->options.arg);
    } else {
        SSL *ssl = SSL_new(s->context);

        SSL_set_fd(ssl, v->fd);
        if (SSL_accept(ssl) == 1) {
            s->options.serve(ssl, s->options.arg);
        }
        SSL_free(ssl);
    }
    pthread_mutex_lock(&s->lock);
    close(v->fd);
    v->fd = -1;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *accept_all(void *arg)
{
    struct tls_server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        struct served *v;

        pthread_mutex_lock(&s->lock);
        v = s->count < CONNECTIONS_MAX ? &s->served[s->count] : NULL;
        if (v) {
            *v = (struct served){ .server = s, .fd = fd };
        }
        if (!v || s->stopping || pthread_create(&v->thread, NULL, serve_one, v) != 0) {
            close(fd);
        } else {
            s->count++;
        }
        pthread_mutex_unlock(&s->lock);
    }
    return NULL;
}

struct tls_server *tls_server_start(const struct tls_server_options *options)
{
    struct tls_server *s = xcalloc(1, sizeof(*s));
    struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(sa);

    s->options = *options;
    s->context = options->serve_raw ? NULL : create_context(options);
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    assert_int_equal(listen(s->fd, 256), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&sa, &n), 0);
    s->port = ntohs(sa.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, accept_all, s), 0);
    return s;
}

uint16_t tls_server_port(const struct tls_server *s)
{
    return s->port;
}

unsigned tls_server_accepted(struct tls_server *s)
{
    unsigned n;

    pthread_mutex_lock(&s->lock);
    n = s->count;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void tls_server_stop(struct tls_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (unsigned i = 0; i < s->count; i++) {
        if (s->served[i].fd >= 0) {
            shutdown(s->served[i].fd, SHUT_RDWR);
        }
    }
    pthread_mutex_unlock(&s->lock);
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    for (unsigned i = 0; i < s->count; i++) {
        pthread_join(s->served[i].thread, NULL);
    }
    close(s->fd);
    SSL_CTX_free(s->context);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
