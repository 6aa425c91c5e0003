/* SPDX-License-Identifier: Apache-2.0
 *
 * strait.admin.v1.AdminService: namespaces with their clusters, failover, replication status. For
 * the command line and the console; proto/admin.proto is the contract.
 *
 * Calls arrive on gRPC threads and hold none: what needs a commit, a store read or another cluster
 * is answered from the completion.
 */
#ifndef CLUSTER_FRONTEND_ADMIN_H
#define CLUSTER_FRONTEND_ADMIN_H

#include <stdbool.h>

#include "cluster/base/call.h"
#include "cluster/base/config.h"
#include "cluster/base/env.h"
#include "cluster/namespace/federation.h"

#define ADMIN_SERVICE_PREFIX "/strait.admin.v1.AdminService/"

struct admin;
struct engine;
struct failover;
struct frontend;
struct registry;
struct replicator;

/** All of it outlives the service. */
struct admin_options {
    const struct env *env;
    struct registry *registry;
    struct engine *engine;
    struct replicator *replicator;
    struct failover *failover;
    struct frontend *frontend; /* fills the answers of admin_failover_call(); NULL = empty ones */
    const struct federation *federation;
    const struct config *config;
    const char *node_id;
    const char *database; /* name of the store's driver */
    const char *server_version;
};

NODISCARD enum err admin_open(const struct admin_options *options, struct admin **ret_admin);
/** After the last call has ended. NULL is ignored. */
void admin_close(struct admin *admin);
/** Takes the call when its method begins with ADMIN_SERVICE_PREFIX (unknown ones are answered
 *  UNIMPLEMENTED); false = not ours, still the caller's. Any thread. */
bool admin_handle(struct admin *admin, struct call *call);
/** The public UpdateNamespace with an active cluster name: a graceful failover, answered with
 *  UpdateNamespaceResponse. `ctx` is the admin. Takes the call. Any thread. */
void admin_failover_call(
    void *ctx, struct call *call, const char *namespace_name, const char *target);

#endif
