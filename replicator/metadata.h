/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeps the records of global namespaces alike on all clusters: every change is broadcast on
 * `strait.meta.<cluster>` over every NATS, and every few seconds digests are compared with each
 * peer, so that a lost broadcast costs seconds. Merging is the registry's.
 */
#ifndef REPLICATOR_METADATA_H
#define REPLICATOR_METADATA_H

#include "replicator/replicator_private.h"

struct metadata *metadata_open(struct replicator *replicator);
void metadata_start(struct metadata *metadata);
void metadata_close(struct metadata *metadata);
int64_t metadata_step(struct metadata *metadata, int64_t mono_now_ns);

/** For peer.c. In the arena. */
Replication__NamespaceDigests *metadata_digests(struct replicator *replicator, struct arena *arena);
Replication__Namespaces *metadata_list(
    struct replicator *replicator, struct arena *arena, const Replication__NamespaceList *wanted);
void metadata_received(struct replicator *replicator, const Replication__NamespacePut *put);

/** The hook of apply: asks a source for a namespace and merges it. */
void metadata_need(void *replicator, int source, struct uuid namespace_id,
    void (*done)(void *done_ctx, bool known), void *done_ctx);

#endif
