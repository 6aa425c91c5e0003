/* SPDX-License-Identifier: Apache-2.0
 *
 * A node: one process's share of one cluster. The composition root: builds the parts, wires them,
 * starts their loops, stops them in order. Several nodes of different clusters may live in one
 * process (strait dev).
 */
#ifndef CLUSTER_NODE_H
#define CLUSTER_NODE_H

#include "cluster/base/config.h"
#include "cluster/base/env.h"
#include "cluster/base/err.h"

struct node;

struct node_options {
    const struct config *config; /* lives as long as the node */
    const struct env *env;
};

/** Opens everything and serves. Blocks until the node is ready or has failed; then ret_reason says
 *  what and where. */
NODISCARD enum err node_open(
    const struct node_options *options, struct node **ret_node, char ret_reason[256]);
/** Stops: no new calls, GOAWAY, calls in flight get `grace_ns`, commits finish, threads end. */
void node_close(struct node *node, int64_t grace_ns);
/** Bound ports. */
int node_grpc_port(const struct node *node);
int node_console_port(const struct node *node);
const char *node_cluster(const struct node *node);

#endif
