/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/base/proto_arena.h"

static void *allocate(void *ctx, size_t size)
{
    return arena_alloc(ctx, size);
}

static void forget(void *ctx, void *ptr)
{
    (void)ctx;
    (void)ptr;
}

ProtobufCAllocator proto_arena_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){.alloc = allocate, .free = forget, .allocator_data = arena};
}

struct bytes proto_pack(struct arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *data = arena_alloc(arena, size);
    size_t packed = protobuf_c_message_pack(message, data);
    CHECK(packed == size);
    return bytes_make(data, size);
}

void proto_pack_into(struct buffer *buffer, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    size_t packed = protobuf_c_message_pack(message, buffer_reserve(buffer, size));
    CHECK(packed == size);
    buffer->len += size;
}

void *proto_unpack(
    struct arena *arena, const ProtobufCMessageDescriptor *descriptor, struct bytes data)
{
    ProtobufCAllocator allocator = proto_arena_allocator(arena);
    /* The library wants a pointer even for nothing. */
    const uint8_t *from = data.data ? data.data : (const uint8_t *)"";
    return protobuf_c_message_unpack(descriptor, &allocator, data.len, from);
}
