/* SPDX-License-Identifier: Apache-2.0
 *
 * gRPC client on the C core: unary calls by method name, blocking or with a completion.
 *
 * Connections are made by the core when the first call needs one, and again after they break, with
 * growing pauses (0.2 to 5 s). A call does not wait for that: without a connection it ends with
 * UNAVAILABLE. Requests are sent uncompressed.
 */
#ifndef CLUSTER_RPC_RPC_CLIENT_H
#define CLUSTER_RPC_RPC_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/base/err.h"

struct rpc_client;

/** A header that every call carries. Names are lower case; values printable ASCII. */
struct rpc_header {
    const char *name;
    const char *value;
};

struct rpc_client_options {
    const char *address;     /* "host:port" */
    const char *tls_ca_file; /* NULL with tls = 0: plaintext */
    const char *tls_cert_file;
    const char *tls_key_file;
    const char *tls_server_name;
    int tls;         /* 1 = TLS even without a CA file (system roots) */
    int connections; /* 0 = 1; load generators use more */
    int threads;     /* completion-queue threads; 0 = 1 */
    const struct rpc_header *headers;
    size_t header_count;
};

/** Outcome of one call. Bytes live in the arena given (blocking) or until the callback returns. */
struct rpc_result {
    enum grpc_code code;
    const char *message;  /* "" when OK */
    struct bytes body;    /* serialized response */
    struct bytes details; /* grpc-status-details-bin, may be empty; see rpc_status_detail */
};

typedef void rpc_done_fn(const struct rpc_result *result, void *ctx);

NODISCARD enum err rpc_client_open(
    const struct rpc_client_options *options, struct rpc_client **ret_client, char ret_reason[256]);
/** Waits for the completions of all calls under way. NULL is ignored. */
void rpc_client_close(struct rpc_client *client);
/** Blocks until answered or `timeout_ns` passed. `method` = "/package.Service/Method". Any thread
 *  but those of gRPC. */
struct rpc_result rpc_client_call(struct rpc_client *client, const char *method, struct bytes body,
    int64_t timeout_ns, struct arena *arena);
/** Starts a call; `done` runs once, on a gRPC thread, and must not block: it may start further
 *  calls, but neither wait for one nor close the client. Any thread. */
void rpc_client_start(struct rpc_client *client, const char *method, struct bytes body,
    int64_t timeout_ns, rpc_done_fn *done, void *ctx);

#endif
