/* SPDX-License-Identifier: Apache-2.0
 *
 * One incoming call of the gRPC server, from the request for it to its recycling.
 *
 * Internal to cluster/rpc. rpc_server.c owns the queues and their threads; this module owns what
 * comes out of a queue.
 */
#ifndef CLUSTER_RPC_RPC_CALL_H
#define CLUSTER_RPC_RPC_CALL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "cluster/base/arena.h"
#include "cluster/base/call.h"
#include "cluster/base/metrics.h"

struct grpc_completion_queue;
struct grpc_server;
struct inflater;
struct rpc_call;
struct thread;

#define RPC_STATUS_CODES 17

/** What all queues of a server share; constant while it runs, except `serving`. */
struct rpc_shared {
    struct grpc_server *server;
    void (*handle)(void *ctx, struct call *call);
    void *ctx;
    const char *const *services;
    atomic_bool serving;
    struct counter *started; /* NULL without metrics */
    struct counter *cancelled;
    struct counter *ended[RPC_STATUS_CODES];
};

/** A completion queue, its thread and the calls bound to it. Its thread's own while it runs. */
struct rpc_queue {
    struct rpc_shared *shared;
    struct grpc_completion_queue *cq;
    struct thread *thread;
    struct inflater *inflater;
    struct arena arena;    /* the call objects: they live as long as the queue */
    struct rpc_call *free; /* recycled calls */
    size_t busy;           /* calls not in the free list */
};

/** Asks the server for one more call, to be announced on this queue. */
void rpc_call_listen(struct rpc_queue *queue);
/** An event of the queue: `tag` and `success` as they came out of it. True when it ended the
 *  queue's last call, which happens once, after the server was shut down: until then some are asked
 *  for. Queue thread. */
NODISCARD bool rpc_call_event(void *tag, bool success);
/** Frees the calls; all must have been recycled. */
void rpc_call_release_all(struct rpc_queue *queue);

#endif
