/* SPDX-License-Identifier: Apache-2.0
 *
 * protobuf-c over arenas: unpacked messages live in the arena and are never freed one by one.
 */
#ifndef CLUSTER_BASE_PROTO_ARENA_H
#define CLUSTER_BASE_PROTO_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "cluster/base/bytes.h"

/** An allocator whose memory is the arena's; its free does nothing. */
ProtobufCAllocator proto_arena_allocator(struct arena *arena);
/** The serialized message, in the arena. */
struct bytes proto_pack(struct arena *arena, const ProtobufCMessage *message);
/** Appends the serialized message. */
void proto_pack_into(struct buffer *buffer, const ProtobufCMessage *message);
/** The message of this type, in the arena (bytes are copied: `data` may die). NULL = malformed. */
NODISCARD void *proto_unpack(
    struct arena *arena, const ProtobufCMessageDescriptor *descriptor, struct bytes data);

#endif
