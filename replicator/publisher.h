/* SPDX-License-Identifier: Apache-2.0
 *
 * Ships the outbox: per target and shard, in the order of seqs, over JetStream of our own NATS.
 *
 * Committed rows come in from the executors and are kept in memory, bounded in bytes; what is not
 * there any more is read from the table. A PubAck paces and nothing else: rows are forgotten when
 * the target has reported them drained.
 */
#ifndef REPLICATOR_PUBLISHER_H
#define REPLICATOR_PUBLISHER_H

#include <stdint.h>

#include "proto/replication.pb-c.h"
#include "replicator/replicator_private.h"

struct publisher *publisher_open(struct replicator *replicator);
/** While opening: what a target had drained of a shard when we stopped, and the newest row. */
void publisher_restore(
    struct publisher *publisher, int target, int32_t shard, const Record__Progress *progress);
void publisher_restore_newest(struct publisher *publisher, int32_t shard, int64_t seq);
void publisher_close(struct publisher *publisher);
/** Makes the streams, publishes what there is to publish; returns when it wants to run again. */
int64_t publisher_step(struct publisher *publisher, int64_t mono_now_ns);
/** The engine's sink. Executors' threads. */
void publisher_committed(void *publisher, int32_t shard, int64_t seq, struct bytes outbox_row,
    struct blob *const *values, size_t count);
/** A target says how far it is. */
void publisher_report(
    struct publisher *publisher, int target, const Replication__ProgressReport *report);
/** A target misses rows from `from_seq` on. */
void publisher_republish(
    struct publisher *publisher, int target, const Replication__Republish *request);
/** The newest committed seq of a shard known, and its time (0 = none). Any thread. */
int64_t publisher_newest(struct publisher *publisher, int32_t shard, int64_t *ret_time_ns);

/* ---- for progress.c -------------------------------------------------------------------------- */

/** What a target reported last. */
struct lane_progress {
    int64_t drained_seq;
    int64_t applied_seq;
    int64_t time_ns;
    bool stored; /* a row exists */
};
struct lane_progress publisher_lane(const struct publisher *publisher, int target, int32_t shard);
/** A progress row of the lane exists now. */
void publisher_lane_stored(struct publisher *publisher, int target, int32_t shard);
/** Rows of the shard up to here may be deleted; 0 = none. */
int64_t publisher_trim_seq(const struct publisher *publisher, int32_t shard);

/* ---- for watch.c: with the mutex held -------------------------------------------------------- */

/** What a target has not drained, as far as it was published; the zero id means all. */
struct lane_lag {
    int64_t events;
    int64_t oldest_ns; /* commit time of the oldest row, 0 = none */
    int64_t rows;      /* of all namespaces, also not yet published */
    int64_t applied_seq;
    int64_t newest_seq;
    bool waiting;       /* the stream is full */
    int64_t heard_mono; /* oldest of the lanes' last reports; 0 = one never reported */
};
void publisher_lag(const struct publisher *publisher, int target, struct uuid namespace_id,
    struct lane_lag *ret_lag);
int32_t publisher_barriers(const struct publisher *publisher, int target, const char *handover_id);

#endif
