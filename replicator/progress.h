/* SPDX-License-Identifier: Apache-2.0
 *
 * How far everything is: stored, and told to the sources.
 *
 *   drained moves ─► (50 ms) ─► one commit per shard of ours ─► acknowledge, report
 *
 * Rows of table progress: role "in" (what we drained of a source's shard; stored in our shard
 * number `source shard mod shards`), role "out" (what a target reported of our shard; stored there
 * together with the deletion of outbox rows that all targets have drained).
 */
#ifndef REPLICATOR_PROGRESS_H
#define REPLICATOR_PROGRESS_H

#include "replicator/receiver.h"
#include "replicator/replicator_private.h"

enum progress_role { PROGRESS_IN, PROGRESS_OUT };

/** Key of a row of table progress. */
struct bytes progress_key(
    struct arena *arena, enum progress_role role, const char *cluster, int32_t shard);
/** Reads a key back; false when malformed. `ret_cluster` is in the arena. */
bool progress_key_read(struct arena *arena, struct bytes key, enum progress_role *ret_role,
    const char **ret_cluster, int32_t *ret_shard);

struct progress *progress_open(struct replicator *replicator);
/** Subscribes to what targets report. */
void progress_start(struct progress *progress);
void progress_close(struct progress *progress);
int64_t progress_step(struct progress *progress, int64_t mono_now_ns);
/** The inbound's watermark moved. */
void progress_changed(struct inbound *inbound);
/** A report is due without delay: a barrier was met. */
void progress_report_now(struct inbound *inbound);

#endif
