/* SPDX-License-Identifier: Apache-2.0
 *
 * History batches: events encoded once, then stored, shipped and verified as the same bytes.
 *
 * A batch value is a 64-byte little-endian header, the events (a serialized
 * temporal.api.history.v1.History, so that responses are concatenations of batches), and the meta
 * (record.BatchMeta):
 *
 *   0  u32 magic "SHB1"      4  u32 event count
 *   8  i64 version          16  i64 first event id
 *  24  i64 last event time  32  u32 events bytes   36  u32 meta bytes
 *  40  u64 previous digest  48  u64 digest = hash64(events, previous digest)
 *  56  u64 hash64(meta, hash64(header bytes 0 to 55, 0))
 *
 * All events of a batch have consecutive ids and one version. Bytes from disk and wire are hostile
 * until batch_decode() returned OK.
 */
#ifndef CLUSTER_ENGINE_BATCH_H
#define CLUSTER_ENGINE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"

#define BATCH_HEADER_BYTES 64

/** A decoded batch: views into the value. */
struct batch {
    uint32_t event_count;
    int64_t version;
    int64_t first_event_id;
    int64_t last_event_time_ns;
    uint64_t digest_before;
    uint64_t digest;
    struct bytes events;
    struct bytes meta;
};

/** Checks sizes, magic and all three hashes; ERR_CORRUPT otherwise. Does not parse the events. */
NODISCARD enum err batch_decode(struct bytes value, struct batch *ret_batch);

/** Grows a batch value in place; the finished value is a blob, so no payload is copied again. */
struct batch_builder {
    struct blob *blob; /* NULL = nothing begun */
    size_t capacity;
    uint32_t event_count;
    int64_t version;
    int64_t first_event_id;
    int64_t last_event_time_ns;
    size_t events_len;
};

struct ProtobufCMessage;

/** Starts an empty batch. */
void batch_begin(struct batch_builder *builder, int64_t first_event_id, int64_t version);
/** Appends one HistoryEvent (already numbered); returns the bytes it added. */
size_t batch_add(
    struct batch_builder *builder, const struct ProtobufCMessage *event, int64_t event_time_ns);
/** Completes header and meta; the builder is empty again. The caller owns the blob. */
struct blob *batch_finish(
    struct batch_builder *builder, struct bytes meta, uint64_t digest_before, uint64_t *ret_digest);
void batch_abandon(struct batch_builder *builder);

/** Iterates over the events of serialized History bytes: *offset starts at 0; false at the end or
 *  at malformed framing (then *offset != events.len). `ret_event` is the HistoryEvent's bytes,
 *  `ret_framed` the same with tag and length, ready to be spliced into another History. */
bool batch_next_event(
    struct bytes events, size_t *offset, struct bytes *ret_event, struct bytes *ret_framed);
/** Reads only the id (field 1) of serialized HistoryEvent bytes; 0 when malformed. */
int64_t batch_event_id(struct bytes event);

#endif
