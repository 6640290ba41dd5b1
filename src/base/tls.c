// SPDX-License-Identifier: Apache-2.0
/*
 * TLS over a plain stream, by OpenSSL. OpenSSL reads and writes through a BIO that is this stream:
 *
 *     stream_write ──► SSL_write ──► lower stream's queue ──► kernel
 *     on_data ◄── SSL_read ◄── held (ciphertext that is here and not decrypted yet) ◄── lower
 *
 * The rule of reading: the lower stream is read only when OpenSSL has used up what is held. So one
 * read of the lower stream and one record of OpenSSL's are all that a stopped reader leaves in
 * memory. What is written is encrypted at once, so stream_queued is the lower stream's.
 *
 * A connection that ends without close_notify broke: whoever cut it, we cannot know that the peer
 * had said all.
 */
#include "base/tls_int.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

enum { RECORD_BYTES = 16384, HELD_MAX = 1 << 20, ALERT_LINGER_MS = 1000 };

struct tls {
    SSL_CTX *context;
    BIO_METHOD *method;
};

struct tls_stream {
    struct stream base;
    struct stream_connecting connecting; /* until it is told */
    struct world *world;
    struct address where;
    stream_connect_fn on_connect; /* NULL once it is told */
    void *connect_owner;
    struct stream_connecting *lower_connecting;
    struct stream *lower; /* NULL before it stands, and once this one is closed */
    SSL *ssl;
    struct span fresh; /* ciphertext that came in this call of the lower stream … */
    struct buf held;   /* … and what was left of earlier ones; goes first */
    bool reading, told_end;
    bool lower_ended;
    int lower_err; /* how */
    int broken;    /* TLS itself failed: negative errno */
    struct timer pump;
    unsigned busy; /* callbacks that run: memory stays */
    bool dead;
};

static struct tls_stream *tls_of(const struct stream *s)
{
    return container_of(UNCONST(struct stream *, s), struct tls_stream, base);
}

/* The BIO */

static int bio_write(BIO *bio, const char *p, int n)
{
    struct tls_stream *t = BIO_get_data(bio);

    stream_write(t->lower, p, (size_t)n);
    return n;
}

static int bio_read(BIO *bio, char *out, int n)
{
    struct tls_stream *t = BIO_get_data(bio);
    size_t take;

    BIO_clear_retry_flags(bio);
    if (t->held.len > 0) {
        take = MIN_OF(t->held.len, (size_t)n);
        memcpy(out, buf_data(&t->held), take);
        buf_consume(&t->held, take);
        return (int)take;
    }
    take = MIN_OF(t->fresh.n, (size_t)n);
    if (take == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, t->fresh.p, take);
    t->fresh.p += take;
    t->fresh.n -= take;
    return (int)take;
}

static long bio_ctrl(BIO *bio, int command, long larg, void *parg)
{
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *create_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

    if (method) {
        BIO_meth_set_write(method, bio_write);
        BIO_meth_set_read(method, bio_read);
        BIO_meth_set_ctrl(method, bio_ctrl);
    }
    return method;
}

/* What a world's connections share */

struct tls *tls_destroy(struct tls *tls)
{
    if (tls) {
        SSL_CTX_free(tls->context);
        BIO_meth_free(tls->method);
        free(tls);
    }
    return NULL;
}

static SSL_CTX *create_context(void)
{
    static const unsigned char http_1_1[] = "\x08http/1.1";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());

    if (!context || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_default_verify_paths(context) != 1 ||
        SSL_CTX_set_alpn_protos(context, http_1_1, sizeof(http_1_1) - 1) != 0) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    return context;
}

static struct tls *tls_of_world(struct world *w)
{
    struct tls *tls = w->tls;

    if (!tls) {
        tls = xcalloc(1, sizeof(*tls));
        tls->method = create_method();
        tls->context = create_context();
        if (!tls->method || !tls->context) {
            return tls_destroy(tls);
        }
        w->tls = tls;
    }
    return tls;
}

/* Who the peer must be */

static int expect_host(SSL *ssl, const char *host)
{
    unsigned char bin[16];
    char name[sizeof(((struct address *)0)->host)];
    size_t n = strlen(host);

    if (inet_pton(AF_INET, host, bin) == 1 || inet_pton(AF_INET6, host, bin) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host);
    }
    /* Certificates and SNI know no dot at the end. */
    memcpy(name, host, n + 1);
    if (n > 0 && name[n - 1] == '.') {
        name[n - 1] = '\0';
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, name) == 1 && SSL_set1_host(ssl, name) == 1;
}

static int create_ssl(struct tls_stream *t)
{
    struct tls *tls = tls_of_world(t->world);
    BIO *bio = tls ? BIO_new(tls->method) : NULL;

    if (!bio) {
        return -EPROTO;
    }
    t->ssl = SSL_new(tls->context);
    if (!t->ssl) {
        BIO_free(bio);
        return -EPROTO;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    SSL_set_connect_state(t->ssl);
    return expect_host(t->ssl, t->where.host) ? 0 : -EPROTO;
}

/* Closing */

static void free_tls(struct tls_stream *t)
{
    if (t->dead && t->busy == 0) {
        SSL_free(t->ssl);
        buf_finish(&t->held);
        free(t);
    }
}

/* Lets go of the lower stream: at once, or (limit_ms > 0) when what is queued is sent. */
static void end_tls(struct tls_stream *t, uint64_t limit_ms)
{
    struct stream *lower = TAKE_PTR(t->lower);

    t->dead = true;
    t->base.handler = NULL;
    timer_stop(&t->pump);
    if (t->lower_connecting) {
        stream_connect_cancel(TAKE_PTR(t->lower_connecting));
    }
    if (limit_ms > 0 && lower) {
        stream_close_flushed(lower, limit_ms);
    } else {
        stream_close(lower);
    }
    free_tls(t);
}

static void close_tls(struct stream *s)
{
    end_tls(tls_of(s), 0);
}

static void close_flushed(struct stream *s, uint64_t limit_ms)
{
    struct tls_stream *t = tls_of(s);

    ERR_clear_error();
    if (!t->broken && !t->lower_ended) {
        (void)SSL_shutdown(t->ssl); /* close_notify */
    }
    ERR_clear_error();
    end_tls(t, limit_ms);
}

/* Reading */

static void tell_end(struct tls_stream *t, int err)
{
    stream_read_stop(t->lower);
    if (!t->told_end) {
        t->told_end = true;
        t->base.handler->on_end(t->base.owner, err);
    }
}

/* OpenSSL gave nothing: for now, or for good. */
static void judge_nothing(struct tls_stream *t, int ret)
{
    switch (SSL_get_error(t->ssl, ret)) {
    case SSL_ERROR_WANT_READ:
        if (t->lower_ended) {
            tell_end(t, t->lower_err < 0 ? t->lower_err : -ECONNRESET);
        } else {
            stream_read_start(t->lower);
        }
        break;
    case SSL_ERROR_ZERO_RETURN:
        tell_end(t, 0);
        break;
    default:
        t->broken = -EPROTO;
        tell_end(t, -EPROTO);
    }
    ERR_clear_error();
}

static void read_on(struct tls_stream *t)
{
    char record[RECORD_BYTES];

    t->busy++;
    while (!t->dead && t->reading && !t->told_end) {
        int n;

        ERR_clear_error();
        n = SSL_read(t->ssl, record, sizeof(record));
        if (n <= 0) {
            judge_nothing(t, n);
            break;
        }
        t->base.handler->on_data(t->base.owner, record, (size_t)n);
    }
    t->busy--;
}

static void on_pump(void *arg)
{
    struct tls_stream *t = arg;

    if (t->broken && !t->told_end) {
        t->busy++;
        tell_end(t, t->broken);
        t->busy--;
    }
    if (!t->dead) {
        read_on(t);
    }
    free_tls(t);
}

static bool holds_something(const struct tls_stream *t)
{
    return t->held.len > 0 || t->fresh.n > 0 || SSL_has_pending(t->ssl) || t->lower_ended;
}

static void read_start(struct stream *s)
{
    struct tls_stream *t = tls_of(s);

    if (t->reading || t->told_end) {
        return;
    }
    t->reading = true;
    if (holds_something(t)) {
        timer_start(&t->pump, 0);
    } else {
        stream_read_start(t->lower);
    }
}

static void read_stop(struct stream *s)
{
    struct tls_stream *t = tls_of(s);

    t->reading = false;
    stream_read_stop(t->lower);
}

/* Writing */

static void write_bytes(struct stream *s, const void *p, size_t n)
{
    struct tls_stream *t = tls_of(s);
    size_t written;

    if (t->broken || t->lower_ended) {
        return;
    }
    ERR_clear_error();
    if (SSL_write_ex(t->ssl, p, n, &written) != 1) {
        t->broken = -EPROTO;
        timer_start(&t->pump, 0);
    }
    ERR_clear_error();
}

static size_t queued(const struct stream *s)
{
    return stream_queued(tls_of(s)->lower);
}

static const struct stream_ops tls_ops = { read_start, read_stop, write_bytes,
                                           queued,     close_tls, close_flushed };

/* The handshake */

static void fail_connect(struct tls_stream *t, const struct error *e)
{
    stream_connect_fn on_connect = t->on_connect;
    void *owner = t->connect_owner;

    /* The alert that tells the peer why is still to be sent. */
    end_tls(t, t->lower_ended ? 0 : ALERT_LINGER_MS);
    on_connect(owner, NULL, e);
}

static int describe_failure(const struct tls_stream *t, struct error *ret)
{
    const char *host = t->where.host;
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    long verified = SSL_get_verify_result(t->ssl);

    if (verified != X509_V_OK) {
        return error_set(ret, -EPROTO, "the certificate of %s is not valid: %s", host,
                         X509_verify_cert_error_string(verified));
    }
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
        return error_set(ret, -EPROTO, "%s does not speak TLS at this port", host);
    }
    return error_set(ret, -EPROTO, "the TLS handshake with %s failed: %s", host,
                     reason ? reason : "no reason known");
}

static void finish_handshake(struct tls_stream *t)
{
    stream_connect_fn on_connect = TAKE_PTR(t->on_connect);

    if (!t->reading) {
        stream_read_stop(t->lower);
    }
    on_connect(t->connect_owner, &t->base, NULL);
}

static void shake_hands(struct tls_stream *t)
{
    struct error e;
    int r;

    ERR_clear_error();
    r = SSL_do_handshake(t->ssl);
    if (r == 1) {
        finish_handshake(t);
    } else if (SSL_get_error(t->ssl, r) != SSL_ERROR_WANT_READ) {
        describe_failure(t, &e);
        fail_connect(t, &e);
    } else if (t->lower_ended) {
        error_set(&e, -EPROTO, "%s ended the connection during the TLS handshake", t->where.host);
        fail_connect(t, &e);
    }
    ERR_clear_error();
}

/* The lower stream */

static void on_lower_data(void *owner, const char *p, size_t n)
{
    struct tls_stream *t = owner;

    t->fresh = (struct span){ p, n };
    t->busy++;
    if (t->on_connect) {
        shake_hands(t);
    }
    if (!t->dead && !t->on_connect) {
        read_on(t);
    }
    t->busy--;
    if (t->fresh.n > 0 && buf_append(&t->held, t->fresh.p, t->fresh.n) < 0) {
        t->broken = -ENOBUFS;
    }
    t->fresh = (struct span){ 0 };
    free_tls(t);
}

static void on_lower_end(void *owner, int err)
{
    struct tls_stream *t = owner;

    t->lower_ended = true;
    t->lower_err = err;
    t->busy++;
    if (t->on_connect) {
        shake_hands(t);
    } else if (t->reading) {
        read_on(t);
    } else if (err < 0) {
        tell_end(t, err); /* late news is no news to who waits for on_drain */
    }
    t->busy--;
    free_tls(t);
}

static void on_lower_drain(void *owner)
{
    struct tls_stream *t = owner;

    if (!t->on_connect && t->base.handler->on_drain) {
        t->base.handler->on_drain(t->base.owner);
    }
}

static const struct stream_handler lower_handler = { on_lower_data, on_lower_end, on_lower_drain };

/* Connecting */

static void on_lower_connected(void *owner, struct stream *s, const struct error *e)
{
    struct tls_stream *t = owner;
    struct error failed;

    t->lower_connecting = NULL;
    t->lower = s;
    t->busy++;
    if (!s) {
        fail_connect(t, e);
    } else if (create_ssl(t) < 0) {
        ERR_clear_error();
        error_set(&failed, -EPROTO, "OpenSSL cannot be used");
        fail_connect(t, &failed);
    } else {
        t->base.peer = *stream_peer(s);
        t->base.peer.tls = true;
        stream_set_handler(s, &lower_handler, t);
        stream_read_start(s);
        shake_hands(t);
    }
    t->busy--;
    free_tls(t);
}

static void cancel_connect(struct stream_connecting *c)
{
    end_tls(container_of(c, struct tls_stream, connecting), 0);
}

struct stream_connecting *tls_connect(struct world *w, const struct address *where,
                                      stream_connect_fn on_connect, void *owner)
{
    struct tls_stream *t = xcalloc(1, sizeof(*t));

    t->base.ops = &tls_ops;
    t->connecting.cancel = cancel_connect;
    t->world = w;
    t->where = *where;
    t->on_connect = on_connect;
    t->connect_owner = owner;
    buf_init(&t->held, HELD_MAX);
    timer_init(&t->pump, w, "tls", on_pump, t);
    t->lower_connecting = w->ops->streams->connect(w, where, on_lower_connected, t);
    return &t->connecting;
}
