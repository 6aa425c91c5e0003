/* SPDX-License-Identifier: Apache-2.0
 *
 * Certificates from files, with reload.
 *
 * The core asks for the server's certificate at each handshake, on whatever thread runs it. We
 * answer "unchanged" unless a file's identity (inode, size, mtime) differs from what was last
 * handed over, looking at most every RECHECK_NS. Certificate and key are two files, replaced one
 * after the other: a pair that does not match is not handed over, and looked at again later.
 */
#include "cluster/rpc/rpc_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cluster/base/bytes.h"
#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"

#define PEM_BYTES_MAX (1u * MIB)
#define RECHECK_NS    (NS_PER_S / 2)

/* Zero = no file. */
struct file_id {
    ino_t inode;
    off_t size;
    struct timespec mtime;
};

struct tls_source {
    const char *cert_file;
    const char *key_file;
    const char *client_ca_file; /* may be NULL */
    pthread_mutex_t mutex;      /* guards what follows: handshakes run on any thread */
    struct file_id current[3];  /* what the core has */
    int64_t checked_ns;
    bool loaded;
};

struct pem {
    char *cert;
    char *key;
    char *client_ca;
};

static enum err read_fd(struct arena *arena, int fd, char **ret_text)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return ERR_IO;
    if (info.st_size > PEM_BYTES_MAX) {
        errno = EFBIG;
        return ERR_TOO_LARGE;
    }
    size_t size = (size_t)info.st_size;
    char *text = arena_alloc(arena, size + 1);
    size_t len = 0;
    while (len < size) {
        ssize_t got = read(fd, text + len, size - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return ERR_IO;
        if (got == 0)
            break;
        len += (size_t)got;
    }
    text[len] = '\0';
    *ret_text = text;
    return OK;
}

/* A NULL path gives NULL. */
static enum err read_file(
    struct arena *arena, const char *path, char **ret_text, char ret_reason[RPC_REASON_BYTES])
{
    if (!path)
        return OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err err = fd < 0 ? ERR_IO : read_fd(arena, fd, ret_text);
    if (err)
        (void)snprintf(ret_reason, RPC_REASON_BYTES, "%.150s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd); /* only read from */
    return err ? ERR_CONFIG : OK;
}

static bool has_certificate(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool found = cert != NULL;
    X509_free(cert);
    BIO_free(bio);
    ERR_clear_error();
    return found;
}

/* The core aborts or stays silent where a CA file holds no certificate, so look first. */
static enum err read_ca(
    struct arena *arena, const char *path, char **ret_text, char ret_reason[RPC_REASON_BYTES])
{
    enum err err = read_file(arena, path, ret_text, ret_reason);
    if (!err && path && !has_certificate(*ret_text)) {
        (void)snprintf(ret_reason, RPC_REASON_BYTES, "%.150s holds no certificate", path);
        err = ERR_CONFIG;
    }
    return err;
}

static bool pair_matches(const struct pem *pem)
{
    BIO *cert_bio = BIO_new_mem_buf(pem->cert, -1);
    BIO *key_bio = BIO_new_mem_buf(pem->key, -1);
    X509 *cert = PEM_read_bio_X509(cert_bio, NULL, NULL, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);
    bool matches = cert && key && X509_check_private_key(cert, key) == 1;
    EVP_PKEY_free(key);
    X509_free(cert);
    BIO_free(key_bio);
    BIO_free(cert_bio);
    ERR_clear_error();
    return matches;
}

static enum err read_pair(struct arena *arena, const struct tls_source *source, struct pem *ret_pem,
    char ret_reason[RPC_REASON_BYTES])
{
    enum err err = read_file(arena, source->cert_file, &ret_pem->cert, ret_reason);
    if (!err)
        err = read_file(arena, source->key_file, &ret_pem->key, ret_reason);
    if (!err)
        err = read_ca(arena, source->client_ca_file, &ret_pem->client_ca, ret_reason);
    if (!err && !pair_matches(ret_pem)) {
        (void)snprintf(ret_reason, RPC_REASON_BYTES, "%.110s and %.110s are not a pair",
            source->cert_file, source->key_file);
        err = ERR_CONFIG;
    }
    return err;
}

static struct file_id identify(const char *path)
{
    struct stat info;
    if (!path || stat(path, &info) < 0)
        return (struct file_id){0};
    return (struct file_id){.inode = info.st_ino, .size = info.st_size, .mtime = info.st_mtim};
}

static bool same_file(struct file_id a, struct file_id b)
{
    return a.inode == b.inode && a.size == b.size && a.mtime.tv_sec == b.mtime.tv_sec &&
           a.mtime.tv_nsec == b.mtime.tv_nsec;
}

static grpc_ssl_certificate_config_reload_status load(
    struct tls_source *source, grpc_ssl_server_certificate_config **ret_config)
{
    const char *paths[] = {source->cert_file, source->key_file, source->client_ca_file};
    struct file_id ids[ARRAY_LEN(paths)];
    bool changed = !source->loaded;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        ids[i] = identify(paths[i]);
        changed = changed || !same_file(ids[i], source->current[i]);
    }
    if (!changed)
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;

    CLEANUP(arena_release) struct arena arena = {0};
    char reason[RPC_REASON_BYTES];
    struct pem pem = {0};
    if (read_pair(&arena, source, &pem, reason)) {
        log_warn("rpc.certificate_refused", "reason=%s", log_quote(reason));
        return source->loaded ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED
                              : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    }
    grpc_ssl_pem_key_cert_pair pair = {.private_key = pem.key, .cert_chain = pem.cert};
    /* The core 1.51 aborts on a fetched config without roots, even where they are not used. */
    const char *roots = pem.client_ca ? pem.client_ca : pem.cert;
    *ret_config = grpc_ssl_server_certificate_config_create(roots, &pair, 1);
    log_info("rpc.certificate_loaded", "file=%s", log_quote(source->cert_file));
    memcpy(source->current, ids, sizeof(ids));
    source->loaded = true;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

static grpc_ssl_certificate_config_reload_status fetch(
    void *ctx, grpc_ssl_server_certificate_config **ret_config)
{
    struct tls_source *source = ctx;
    int64_t now_ns = env_monotonic_ns(env_system());
    grpc_ssl_certificate_config_reload_status status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    pthread_mutex_lock(&source->mutex);
    if (!source->loaded || now_ns - source->checked_ns >= RECHECK_NS) {
        source->checked_ns = now_ns;
        status = load(source, ret_config);
    }
    pthread_mutex_unlock(&source->mutex);
    return status;
}

enum err rpc_tls_server(struct arena *home, const char *cert_file, const char *key_file,
    const char *client_ca_file, struct grpc_server_credentials **ret_credentials,
    char ret_reason[RPC_REASON_BYTES])
{
    if (!cert_file || !key_file) {
        (void)snprintf(ret_reason, RPC_REASON_BYTES, "TLS needs both a certificate and a key file");
        return ERR_CONFIG;
    }
    struct tls_source *source = arena_new(home, struct tls_source);
    pthread_mutex_init(&source->mutex, NULL); /* holds nothing that would have to be destroyed */
    source->cert_file = arena_strdup(home, cert_file);
    source->key_file = arena_strdup(home, key_file);
    source->client_ca_file = client_ca_file ? arena_strdup(home, client_ca_file) : NULL;

    CLEANUP(arena_release) struct arena arena = {0};
    struct pem pem = {0};
    enum err err = read_pair(&arena, source, &pem, ret_reason);
    if (err)
        return err;
    grpc_ssl_client_certificate_request_type request =
        client_ca_file ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                       : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    *ret_credentials = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, fetch, source));
    return OK;
}

enum err rpc_tls_client(const char *ca_file, const char *cert_file, const char *key_file,
    struct grpc_channel_credentials **ret_credentials, char ret_reason[RPC_REASON_BYTES])
{
    CLEANUP(arena_release) struct arena arena = {0};
    struct tls_source source = {.cert_file = cert_file, .key_file = key_file};
    struct pem pem = {0};
    char *ca = NULL;
    enum err err = read_ca(&arena, ca_file, &ca, ret_reason);
    if (err)
        return err;
    if (!cert_file != !key_file) {
        (void)snprintf(
            ret_reason, RPC_REASON_BYTES, "a client certificate needs its key, and back");
        return ERR_CONFIG;
    }
    grpc_ssl_pem_key_cert_pair pair;
    if (cert_file) {
        err = read_pair(&arena, &source, &pem, ret_reason);
        if (err)
            return err;
        pair = (grpc_ssl_pem_key_cert_pair){.private_key = pem.key, .cert_chain = pem.cert};
    }
    *ret_credentials = grpc_ssl_credentials_create(ca, cert_file ? &pair : NULL, NULL, NULL);
    return OK;
}
