/* SPDX-License-Identifier: Apache-2.0
 *
 * The parts of a node, shared by node*.c.
 */
#ifndef CLUSTER_NODE_PRIVATE_H
#define CLUSTER_NODE_PRIVATE_H

#include <stdbool.h>

#include "cluster/node.h"

#include "cluster/base/call.h"
#include "cluster/base/metrics.h"
#include "cluster/namespace/federation.h"

struct node {
    const struct config *config;
    const struct env *env;
    char id[96];
    struct metrics *metrics;
    struct federation federation;
    struct federation_cluster *clusters;
    int bus_count;
    struct store *store;
    struct registry *registry;
    struct replicator *replicator;
    struct engine *engine;
    struct matching *matching;
    struct failover *failover;
    struct frontend *frontend;
    struct admin *admin;
    struct rpc_server *rpc;
    struct console *console;
    struct loop **loops; /* executors */
    int loop_count;
    struct loop *service;
    bool started;
};

/* node_sync.c */
/** Asks the other clusters for their namespace records and merges them; waits 1.5 s at most. Before
 *  namespaces are announced to the engine. */
void node_sync_namespaces(struct node *node);

/* node_wire.c */
/** Hands incoming peer requests to the parts that answer them. */
void node_wire_peers(struct node *node);
/** UpdateNamespace with an active cluster name: a failover. */
void node_failover_call(
    void *ctx, struct call *call, const char *namespace_name, const char *target);
NODISCARD enum err node_console_open(struct node *node, char reason[256]);
void node_console_close(struct node *node);

#endif
