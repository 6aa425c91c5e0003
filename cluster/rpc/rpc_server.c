/* SPDX-License-Identifier: Apache-2.0
 *
 * The gRPC server: its options, queues, threads and end.
 *
 * Threading: each completion queue has one thread, which polls the sockets of the connections that
 * the core assigned to it, runs the core's work for them and our events (rpc_call.c). There is no
 * other thread of ours; the core adds a few that sleep. POSTED_PER_QUEUE calls are asked for at any
 * time, each arrival asks for the next; arrivals beyond wait inside the core.
 *
 * End: drain (shutdown_and_notify, grace, cancel_all_calls) → the shutdown event, which comes when
 * the last connection is gone. Calls may still be held then, and ending them needs a live queue; so
 * close waits for the last call of each queue before the queues are shut down. Their threads take
 * out what is left and return: an undrained queue would leak.
 *
 * Message size: the core's own limit is off. Its text differs from the one that clients know, and
 * it is applied only after the whole message was buffered, so it saves no memory (measured with
 * 1.51). What bounds memory is the resource quota: at its edge the core resets streams. rpc_call.c
 * refuses messages that are too large, with the right text.
 */
#include "cluster/rpc/rpc_server.h"

#include <errno.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/log.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cluster/base/env.h"
#include "cluster/base/limits.h"
#include "cluster/base/log.h"
#include "cluster/base/mem.h"
#include "cluster/base/thread.h"
#include "cluster/rpc/rpc_call.h"
#include "cluster/rpc/rpc_inflate.h"
#include "cluster/rpc/rpc_tls.h"

#define POSTED_PER_QUEUE      128
#define QUEUES_MAX            64
#define METADATA_BYTES_MAX    (64 * 1024) /* authorization tokens can be long */
#define PING_INTERVAL_MIN_MS  5000
#define KEEPALIVE_MS          (60 * 1000) /* finds workers whose machine died, so their polls end */
#define KEEPALIVE_TIMEOUT_MS  (10 * 1000)
#define CONNECTION_AGE_MAX_MS (5 * 60 * 1000)
#define CONNECTION_GRACE_MS   (70 * 1000) /* longer than the longest poll */
#define HANDSHAKE_TIMEOUT_MS  (10 * 1000)

struct rpc_server {
    struct arena arena; /* what lives as long as the server */
    struct rpc_shared shared;
    struct rpc_queue *queues;
    int queue_count;
    int port;
    grpc_server *server;
    grpc_resource_quota *quota;
    char shutdown_tag; /* only its address matters */
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool draining; /* guarded by mutex, like all below */
    bool shut_down;
    int idle_queues; /* without a single call: only after shutdown, when all holders are done */
};

/* ---- queue threads --------------------------------------------------------------------------- */

static void on_shut_down(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->shut_down = true;
    pthread_cond_broadcast(&server->cond);
    pthread_mutex_unlock(&server->mutex);
}

static void on_queue_idle(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->idle_queues++;
    pthread_cond_broadcast(&server->cond);
    pthread_mutex_unlock(&server->mutex);
}

static void queue_run(void *arg)
{
    struct rpc_queue *queue = arg;
    struct rpc_server *server = CONTAINER_OF(queue->shared, struct rpc_server, shared);
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue->cq, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return;
        if (event.tag == &server->shutdown_tag)
            on_shut_down(server);
        else if (rpc_call_event(event.tag, event.success != 0))
            on_queue_idle(server);
    }
}

/* ---- opening --------------------------------------------------------------------------------- */

/* The core reports trouble with single connections as errors; for us they are gossip. An assertion
 * is followed by an abort. */
static void on_core_log(gpr_log_func_args *args)
{
    bool fatal = strncmp(args->message, "assertion failed", 16) == 0;
    log_write(fatal ? LOG_ERROR : LOG_DEBUG, "grpc.log", "file=%s line=%d text=%s", args->file,
        args->line, log_quote(args->message));
}

static void log_once_init(void)
{
    gpr_set_log_function(on_core_log);
}

static grpc_arg int_arg(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}

static grpc_server *create_server(grpc_resource_quota *quota)
{
    grpc_arg args[] = {
        int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0), /* see rpc_inflate.h */
        int_arg(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0),
        int_arg(GRPC_ARG_MAX_METADATA_SIZE, METADATA_BYTES_MAX),
        int_arg(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, PING_INTERVAL_MIN_MS),
        int_arg(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0),
        int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        int_arg(GRPC_ARG_MAX_CONNECTION_AGE_MS, CONNECTION_AGE_MAX_MS),
        int_arg(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, CONNECTION_GRACE_MS),
        int_arg(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
        int_arg(GRPC_ARG_ALLOW_REUSEPORT, 0), /* a second server on the port must fail */
        int_arg(GRPC_ARG_ENABLE_CHANNELZ, 0),
        {.type = GRPC_ARG_POINTER,
            .key = (char *)(uintptr_t)GRPC_ARG_RESOURCE_QUOTA,
            .value.pointer = {.p = quota, .vtable = grpc_resource_quota_arg_vtable()}},
    };
    grpc_channel_args channel_args = {.num_args = ARRAY_LEN(args), .args = args};
    return grpc_server_create(&channel_args, NULL);
}

/* Splits "host:port", "[v6]:port" or ":port"; false when it is none of them. */
static bool split_address(const char *address, char host[NAME_BYTES_MAX + 1], const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    size_t len = colon ? (size_t)(colon - address) : 0;
    if (!colon || len > NAME_BYTES_MAX)
        return false;
    char *end = NULL;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || port > UINT16_MAX)
        return false;
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    memcpy(host, address, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return true;
}

/* Why an address cannot be bound, found by trying: the core tells only its log. */
static int bind_errno(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(host[0] ? host : NULL, port, &hints, &found) != 0)
        return EADDRNOTAVAIL;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error = fd < 0 ? errno : 0;
    const int on = 1;
    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* as the core does */
        if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 1) < 0)
            error = errno;
        (void)close(fd); /* nothing was written */
    }
    freeaddrinfo(found);
    return error;
}

static enum err bind_port(struct rpc_server *server, const struct rpc_server_options *options,
    char ret_reason[RPC_REASON_BYTES])
{
    char host[NAME_BYTES_MAX + 1];
    const char *port = NULL;
    if (!split_address(options->listen, host, &port)) {
        (void)snprintf(ret_reason, RPC_REASON_BYTES,
            "cannot listen on %.150s: not of the form host:port", options->listen);
        return ERR_IO;
    }
    grpc_server_credentials *credentials = NULL;
    if (options->tls_cert_file) {
        enum err err = rpc_tls_server(&server->arena, options->tls_cert_file, options->tls_key_file,
            options->tls_client_ca_file, &credentials, ret_reason);
        if (err)
            return err;
    } else {
        credentials = grpc_insecure_server_credentials_create();
    }
    server->port = grpc_server_add_http2_port(server->server, options->listen, credentials);
    grpc_server_credentials_release(credentials);
    if (server->port > 0)
        return OK;
    int error = bind_errno(host, port);
    (void)snprintf(ret_reason, RPC_REASON_BYTES, "cannot listen on %.150s: %s", options->listen,
        error ? strerror(error) : "refused by the gRPC core");
    return ERR_IO;
}

static void open_metrics(struct rpc_shared *shared, struct metrics *metrics)
{
    if (!metrics)
        return;
    shared->started =
        metrics_counter(metrics, "strait_rpc_started_total", NULL, "Calls that arrived over gRPC.");
    shared->cancelled = metrics_counter(metrics, "strait_rpc_cancelled_total", NULL,
        "Calls whose client went away or whose deadline passed.");
    for (int code = 0; code < RPC_STATUS_CODES; code++) {
        char labels[32];
        (void)snprintf(labels, sizeof(labels), "code=\"%d\"", code);
        shared->ended[code] = metrics_counter(
            metrics, "strait_rpc_ended_total", labels, "Calls answered, by gRPC status code.");
    }
}

static void open_queues(struct rpc_server *server, int count)
{
    server->queue_count = count < 1 ? 1 : count > QUEUES_MAX ? QUEUES_MAX : count;
    server->queues =
        arena_zalloc(&server->arena, (size_t)server->queue_count, sizeof(*server->queues));
    for (int i = 0; i < server->queue_count; i++) {
        struct rpc_queue *queue = &server->queues[i];
        queue->shared = &server->shared;
        queue->cq = grpc_completion_queue_create_for_next(NULL);
        queue->inflater = inflater_open(&server->arena);
        grpc_server_register_completion_queue(server->server, queue->cq, NULL);
    }
}

static void start(struct rpc_server *server)
{
    grpc_server_start(server->server);
    for (int i = 0; i < server->queue_count; i++) {
        struct rpc_queue *queue = &server->queues[i];
        for (int k = 0; k < POSTED_PER_QUEUE; k++)
            rpc_call_listen(queue);
        char name[16];
        (void)snprintf(name, sizeof(name), "rpc-%d", i & 0xffff);
        queue->thread = thread_start(name, queue_run, queue);
    }
}

/* Everything but the core's server object. The threads have ended or were never started. */
static void release(struct rpc_server *server)
{
    for (int i = 0; i < server->queue_count; i++) {
        struct rpc_queue *queue = &server->queues[i];
        rpc_call_release_all(queue);
        grpc_completion_queue_destroy(queue->cq);
        inflater_close(queue->inflater);
        arena_release(&queue->arena);
    }
    grpc_resource_quota_unref(server->quota);
    pthread_cond_destroy(&server->cond);
    pthread_mutex_destroy(&server->mutex);
    arena_release(&server->arena);
    mem_free(server);
    grpc_shutdown();
}

enum err rpc_server_open(const struct rpc_server_options *options, struct rpc_server **ret_server,
    char ret_reason[RPC_REASON_BYTES])
{
    static pthread_once_t log_once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&log_once, log_once_init); /* cannot fail with these arguments */
    grpc_init();
    struct rpc_server *server = mem_new(struct rpc_server);
    pthread_mutex_init(&server->mutex, NULL);
    cond_init(&server->cond);
    server->quota = grpc_resource_quota_create("rpc");
    grpc_resource_quota_resize(
        server->quota, options->memory_bytes_max ? options->memory_bytes_max : RPC_MEMORY_DEFAULT);
    server->server = create_server(server->quota);
    server->shared = (struct rpc_shared){
        .server = server->server,
        .handle = options->handle,
        .ctx = options->ctx,
        .services = options->services,
    };
    enum err err = bind_port(server, options, ret_reason);
    if (err) {
        grpc_server_destroy(server->server);
        release(server);
        return err;
    }
    open_metrics(&server->shared, options->metrics);
    open_queues(server, options->threads);
    start(server);
    *ret_server = server;
    return OK;
}

int rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

void rpc_server_set_serving(struct rpc_server *server, int serving)
{
    atomic_store_explicit(&server->shared.serving, serving != 0, memory_order_relaxed);
}

/* ---- the end --------------------------------------------------------------------------------- */

void rpc_server_drain(struct rpc_server *server, int64_t grace_ns)
{
    rpc_server_set_serving(server, 0);
    int64_t end_ns = env_monotonic_ns(env_system()) + grace_ns;
    pthread_mutex_lock(&server->mutex);
    bool first = !server->draining;
    server->draining = true;
    pthread_mutex_unlock(&server->mutex);
    if (!first)
        return;
    grpc_server_shutdown_and_notify(server->server, server->queues[0].cq, &server->shutdown_tag);

    pthread_mutex_lock(&server->mutex);
    while (!server->shut_down) {
        int64_t left_ns = end_ns - env_monotonic_ns(env_system());
        if (left_ns <= 0)
            break;
        cond_wait_for(&server->cond, &server->mutex, left_ns);
    }
    bool shut_down = server->shut_down;
    pthread_mutex_unlock(&server->mutex);
    if (!shut_down)
        grpc_server_cancel_all_calls(server->server);
}

void rpc_server_close(struct rpc_server *server)
{
    pthread_mutex_lock(&server->mutex);
    CHECK(server->draining);
    while (!server->shut_down || server->idle_queues < server->queue_count)
        pthread_cond_wait(&server->cond, &server->mutex);
    pthread_mutex_unlock(&server->mutex);

    grpc_server_destroy(server->server);
    for (int i = 0; i < server->queue_count; i++)
        grpc_completion_queue_shutdown(server->queues[i].cq);
    for (int i = 0; i < server->queue_count; i++)
        thread_join(server->queues[i].thread);
    release(server);
}
