/* SPDX-License-Identifier: Apache-2.0
 *
 * What the engine must know of a namespace: an immutable, reference-counted picture made by
 * namespace/registry. A change makes a new view; executors are told by mail.
 */
#ifndef CLUSTER_ENGINE_NAMESPACE_VIEW_H
#define CLUSTER_ENGINE_NAMESPACE_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/uuid.h"

struct namespace_view {
    _Atomic(uint32_t) refs;
    struct uuid id;
    const char *name;
    bool active;     /* this cluster is the active one */
    bool handover;   /* active, but writes wait: a graceful failover is under way */
    bool replicated; /* more than one cluster: changes go to the outbox */
    bool deleted;
    int64_t failover_version; /* events are written at this version */
    int64_t retention_ns;
    const char *active_cluster;
    const char *const *targets; /* other clusters of the namespace */
    int target_count;
    const char *handover_id; /* "" when none */
};

/** Where views come from. `get` returns a retained view or NULL (unknown id). Any thread. */
struct namespace_source {
    void *ctx;
    struct namespace_view *(*get)(void *ctx, struct uuid id);
};

struct namespace_view *namespace_view_retain(struct namespace_view *view);
/** NULL is ignored. */
void namespace_view_unref(struct namespace_view *view);

#endif
