/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/engine/token_seal.h"

#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/proto_arena.h"

#define SEAL_BYTES 8u

static uint64_t seal_of(enum token_kind kind, struct bytes body)
{
    return hash64(body, (uint64_t)kind);
}

struct bytes token_seal(struct arena *arena, enum token_kind kind, const ProtobufCMessage *message)
{
    size_t len = protobuf_c_message_get_packed_size(message);
    uint8_t *token = arena_alloc(arena, SEAL_BYTES + len);
    size_t packed = protobuf_c_message_pack(message, token + SEAL_BYTES);
    CHECK(packed == len);
    uint64_t seal = seal_of(kind, bytes_make(token + SEAL_BYTES, len));
    for (unsigned i = 0; i < SEAL_BYTES; i++)
        token[i] = (uint8_t)(seal >> (8 * i));
    return bytes_make(token, SEAL_BYTES + len);
}

void *token_open(struct arena *arena, enum token_kind kind,
    const ProtobufCMessageDescriptor *descriptor, struct bytes token)
{
    if (token.len < SEAL_BYTES)
        return NULL;
    uint64_t seal = 0;
    for (unsigned i = 0; i < SEAL_BYTES; i++)
        seal |= (uint64_t)token.data[i] << (8 * i);
    struct bytes body = bytes_make(token.data + SEAL_BYTES, token.len - SEAL_BYTES);
    if (seal != seal_of(kind, body))
        return NULL;
    return proto_unpack(arena, descriptor, body);
}

bool token_uuid(const ProtobufCBinaryData *data, struct uuid *ret_uuid)
{
    if (data->len != sizeof(ret_uuid->bytes))
        return false;
    memcpy(ret_uuid->bytes, data->data, sizeof(ret_uuid->bytes));
    return true;
}
