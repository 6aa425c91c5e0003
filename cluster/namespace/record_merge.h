/* SPDX-License-Identifier: Apache-2.0
 *
 * Merging namespace records of two clusters, and small helpers of their views.
 */
#ifndef CLUSTER_NAMESPACE_RECORD_MERGE_H
#define CLUSTER_NAMESPACE_RECORD_MERGE_H

#include "cluster/base/arena.h"
#include "cluster/namespace/federation.h"
#include "proto/record.pb-c.h"

/** The merge of `present` (may be NULL) with `remote`, in the arena: the configuration of the
 *  higher config_version, the failover part of the higher failover_version; a tie is broken by the
 *  larger digest of the part. *ret_record stays NULL when nothing changes. ERR_INVALID when the
 *  remote record names clusters or an active cluster that cannot be. A remote handover state is
 *  ignored; our own handover ends when the remote failover version is higher. */
NODISCARD enum err namespace_record_merge(struct arena *arena, const Record__Namespace *present,
    const Record__Namespace *remote, const struct federation *federation,
    Record__Namespace **ret_record);

/** Copies `text` with its NUL to *at, moves *at behind it, returns where it begins. */
const char *strcpy_next(char **at, const char *text);

#endif
