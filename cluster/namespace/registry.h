/* SPDX-License-Identifier: Apache-2.0
 *
 * The namespaces of this cluster: their records (table namespace, shard 0), the immutable views the
 * engine works with, and the merging of records that other clusters changed.
 *
 * Two counters order changes: config_version (cluster list, retention, description, …) and
 * failover_version (active cluster, failover history). Merging takes the higher of each; on equal
 * counters with different content the record with the larger digest wins, so that all clusters
 * choose the same. Handover state never leaves the active cluster.
 *
 * Reads from any thread (one mutex, short). Writes go through the executor of shard 0 and take
 * effect after their commit.
 */
#ifndef CLUSTER_NAMESPACE_REGISTRY_H
#define CLUSTER_NAMESPACE_REGISTRY_H

#include <stdbool.h>

#include "cluster/base/env.h"
#include "cluster/engine/executor.h"
#include "cluster/namespace/federation.h"
#include "proto/record.pb-c.h"

struct registry;

NODISCARD enum err registry_open(const struct env *env, const struct federation *federation,
    struct store *store, struct registry **ret_registry, char text[256]);
void registry_close(struct registry *registry);
/** The engine writes through this; must be set before the first put. */
void registry_set_engine(struct registry *registry, struct engine *engine);
/** For engine_options.namespaces. */
struct namespace_source registry_source(struct registry *registry);

/** Retained view, or NULL. */
struct namespace_view *registry_view(struct registry *registry, const char *name);
struct namespace_view *registry_view_by_id(struct registry *registry, struct uuid id);
/** A copy of the record in the arena, or NULL. */
Record__Namespace *registry_record(
    struct registry *registry, struct arena *arena, const char *name);
Record__Namespace *registry_record_by_id(
    struct registry *registry, struct arena *arena, struct uuid id);
/** Copies of all records, by name. */
size_t registry_list(
    struct registry *registry, struct arena *arena, Record__Namespace ***ret_records);

/** Called after a record's commit (or its failure). Executor's thread. */
typedef void registry_done_fn(void *ctx, enum err err, const char *text);

/** Changes a record: `change` gets a copy of the present record (NULL when there is none) in the
 *  arena and edits or creates it, or returns an error with text, all under the registry's order: no
 *  other change of the namespace runs in between. On success the new record is stored, then
 *  visible, engine_namespace_changed() is called and listeners are told; then `done`. `name` for
 *  creation. */
typedef enum err registry_change_fn(void *ctx, struct arena *arena,
    const Record__Namespace *present, Record__Namespace **ret_record, char text[256]);
void registry_change(struct registry *registry, const char *name, registry_change_fn *change,
    registry_done_fn *done, void *ctx);

/** Merges a record that came from another cluster (see above). `done` may be NULL. */
void registry_merge(
    struct registry *registry, const Record__Namespace *remote, registry_done_fn *done, void *ctx);
/** Digest of the replicated content of a record: equal records have equal digests everywhere. */
uint64_t registry_digest(const Record__Namespace *record);

/** Told after every visible change, on an executor's thread. At most 4 listeners. */
typedef void registry_listener_fn(void *ctx, const Record__Namespace *record);
void registry_listen(struct registry *registry, registry_listener_fn *listener, void *ctx);

#endif
