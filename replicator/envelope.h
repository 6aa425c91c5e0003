/* SPDX-License-Identifier: Apache-2.0
 *
 * What travels on a replication subject: a frame around a serialized replication.Envelope, possibly
 * cut into parts.
 *
 *   frame  0 u32 magic "SRE1"   4 u8 format (1)   5 u8 flags (1 = zstd)   6 u16 zero
 *          8 u32 plain bytes   12 u32 body bytes  16 u64 xxh3 of the body
 *         24 body
 *   part   0 u32 magic "SRP1"   4 u16 part (from 0)   6 u16 parts   8 u64 id (xxh3 of the whole)
 *         16 u32 whole bytes   20 u32 part bytes   24 u64 xxh3 of the data   32 data
 *
 * Little-endian. Bytes from the bus are hostile: decode returns ERR_CORRUPT (damaged or not ours)
 * or ERR_VERSION (a newer format).
 */
#ifndef REPLICATOR_ENVELOPE_H
#define REPLICATOR_ENVELOPE_H

#include <stdbool.h>

#include "cluster/base/bytes.h"
#include "cluster/base/err.h"
#include "proto/replication.pb-c.h"

#define ENVELOPE_PLAIN_BYTES_MAX (64u * 1024u * 1024u) /* of one envelope, after inflating */
#define ENVELOPE_COMPRESS_FROM   1024u

/** The frame, as a blob with one reference. Compressed when that is smaller. */
struct blob *envelope_encode(const Replication__Envelope *envelope);
/** A whole frame → envelope in the arena; checks checksum, sizes, format and the envelope's own
 *  rules (non-empty names, prev_seq <= last_seq, items ascending within the range). */
NODISCARD enum err envelope_decode(
    struct arena *arena, struct bytes frame, Replication__Envelope **ret_envelope);

/** How many parts a frame needs for messages of at most `max` bytes (1 = it goes as it is). */
size_t envelope_parts(struct bytes frame, size_t max);
struct blob *envelope_part(struct bytes frame, size_t max, size_t part);

/** Puts parts together again, in any order, for one sender and shard. Memory bounded: one frame at
 *  a time; a part of another frame discards the unfinished one (it is sent again). */
struct envelope_joiner {
    uint64_t id;
    struct buffer whole;
    uint64_t received[1024]; /* bit per part */
    size_t parts;
    size_t missing;
    size_t part_bytes;
};
void envelope_joiner_init(struct envelope_joiner *joiner);
void envelope_joiner_release(struct envelope_joiner *joiner);
/** OK and *ret_frame set (a view until the next call): `message` was a frame or completed one.
 *  OK and *ret_frame empty: a part, more to come. ERR_CORRUPT. */
NODISCARD enum err envelope_join(
    struct envelope_joiner *joiner, struct bytes message, struct bytes *ret_frame);

#endif
