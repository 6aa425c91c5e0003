/* SPDX-License-Identifier: Apache-2.0
 *
 * The clusters that may share namespaces, and failover version arithmetic.
 *
 * Every cluster has a unique initial version 0 < i < increment. A failover version v belongs to the
 * cluster with i == v mod increment. 0 means "none".
 */
#ifndef CLUSTER_NAMESPACE_FEDERATION_H
#define CLUSTER_NAMESPACE_FEDERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/err.h"

struct bus;

struct federation_cluster {
    const char *name;
    int64_t initial_version;
    const char *address; /* gRPC for clients, informative; "" = unknown */
    struct bus *bus;     /* connection to that cluster's NATS; NULL = none configured */
};

/** Immutable after start. */
struct federation {
    int64_t increment;
    int self; /* index */
    int count;
    struct federation_cluster *clusters;
};

/** The smallest version > `current` (or equal, when current is already the target's) that belongs
 *  to the target: next(target, v) = v / inc * inc + i, plus inc when that is below v. */
int64_t federation_next_version(const struct federation *federation, int target, int64_t current);
/** Index of the owner of a version; -1 for 0 and for unknown remainders. */
int federation_owner(const struct federation *federation, int64_t version);
/** Index by name; -1 = unknown. */
int federation_find(const struct federation *federation, const char *name);
static inline const char *federation_self(const struct federation *federation)
{
    return federation->clusters[federation->self].name;
}

#endif
