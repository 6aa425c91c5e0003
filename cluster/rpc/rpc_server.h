/* SPDX-License-Identifier: Apache-2.0
 *
 * gRPC server on the C core. Accepts every unary method by name and hands each request over as a
 * `struct call`; knows nothing of what the methods mean.
 *
 * Threads: each of `threads` completion queues has one thread, started by rpc_server_open and
 * joined by rpc_server_close. `handle` runs on them. Calls may be ended from any thread; a parked
 * call costs 16 KiB, no thread. All other functions here may be called from any one thread that is
 * not a thread of the server.
 */
#ifndef CLUSTER_RPC_RPC_SERVER_H
#define CLUSTER_RPC_RPC_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/base/call.h"
#include "cluster/base/metrics.h"

struct rpc_server;

#define RPC_MEMORY_DEFAULT (512u << 20)

struct rpc_server_options {
    const char *listen;        /* "host:port"; port 0 = any free port */
    const char *tls_cert_file; /* NULL = plaintext; reloaded when the file changes */
    const char *tls_key_file;
    const char *tls_client_ca_file; /* NULL = no client certificates wanted */
    int threads;                    /* completion-queue threads; 0 = 1 */
    /* Bound of what the core may hold in buffers, 0 = RPC_MEMORY_DEFAULT. Beyond it, calls and
     * connections are refused with RESOURCE_EXHAUSTED. */
    size_t memory_bytes_max;
    struct metrics *metrics; /* may be NULL */
    /* Names that grpc.health.v1.Health knows, ended by NULL; without a list it knows every name. */
    const char *const *services;
    /* Takes over the call. Runs on a gRPC thread: must not block. */
    void (*handle)(void *ctx, struct call *call);
    void *ctx;
};

/** Binds and serves at once; grpc.health.v1 answers NOT_SERVING until rpc_server_set_serving.
 *  ERR_IO with the reason in ret_reason when the address cannot be bound. */
NODISCARD enum err rpc_server_open(
    const struct rpc_server_options *options, struct rpc_server **ret_server, char ret_reason[256]);
/** The bound port. */
int rpc_server_port(const struct rpc_server *server);
/** What grpc.health.v1.Health/Check says for "" and every known service. Any thread. */
void rpc_server_set_serving(struct rpc_server *server, int serving);
/** Stops accepting, tells clients to go elsewhere (GOAWAY), waits up to `grace_ns` for calls in
 *  flight, then cancels the rest: their watches fire, and every call handed out must still be ended
 *  by its holder. Does not wait for that. */
void rpc_server_drain(struct rpc_server *server, int64_t grace_ns);
/** After drain: waits until the holders have ended all calls, then frees. */
void rpc_server_close(struct rpc_server *server);

#endif
