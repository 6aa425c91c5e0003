/* SPDX-License-Identifier: Apache-2.0
 *
 * Protobuf wire format for the few tiny messages that the RPC layer itself speaks.
 *
 * Reading treats its input as hostile: every length is checked against what is left.
 */
#ifndef CLUSTER_RPC_RPC_WIRE_H
#define CLUSTER_RPC_RPC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cluster/base/bytes.h"

#define WIRE_VARINT           0u
#define WIRE_FIXED64          1u
#define WIRE_BYTES            2u
#define WIRE_FIXED32          5u
#define WIRE_VARINT_BYTES_MAX 10u

/** One field as read: `value` for numbers, `data` for length-delimited ones. */
struct wire_field {
    uint32_t number;
    uint32_t type;
    uint64_t value;
    struct bytes data;
};

static inline size_t wire_varint_size(uint64_t value)
{
    size_t size = 1;
    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static inline uint8_t *wire_put_varint(uint8_t *at, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *at++ = (uint8_t)(value | 0x80);
    *at++ = (uint8_t)value;
    return at;
}

/** Tag, length and `len` bytes of a field whose number is below 16. */
static inline size_t wire_bytes_size(size_t len)
{
    return 1 + wire_varint_size(len) + len;
}

/** The tag and the length; the bytes are for the caller to put. */
static inline uint8_t *wire_put_head(uint8_t *at, uint32_t number, size_t len)
{
    *at++ = (uint8_t)(number << 3 | WIRE_BYTES);
    return wire_put_varint(at, len);
}

static inline uint8_t *wire_put_bytes(uint8_t *at, uint32_t number, struct bytes data)
{
    at = wire_put_head(at, number, data.len);
    if (data.len > 0)
        memcpy(at, data.data, data.len);
    return at + data.len;
}

static inline bool wire_get_varint(struct bytes *in, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < in->len && i < WIRE_VARINT_BYTES_MAX; i++) {
        value |= (uint64_t)(in->data[i] & 0x7f) << (7 * i);
        if ((in->data[i] & 0x80) == 0) {
            *in = bytes_make(in->data + i + 1, in->len - i - 1);
            *ret_value = value;
            return true;
        }
    }
    return false;
}

static inline bool wire_skip(struct bytes *in, size_t len)
{
    if (len > in->len)
        return false;
    *in = bytes_make(in->data + len, in->len - len);
    return true;
}

static inline bool wire_get_payload(struct bytes *in, struct wire_field *field)
{
    switch (field->type) {
    case WIRE_VARINT:
        return wire_get_varint(in, &field->value);
    case WIRE_FIXED64:
        return wire_skip(in, 8);
    case WIRE_FIXED32:
        return wire_skip(in, 4);
    case WIRE_BYTES:
        if (!wire_get_varint(in, &field->value) || field->value > in->len)
            return false;
        field->data = bytes_make(in->data, (size_t)field->value);
        return wire_skip(in, field->data.len);
    default:
        return false;
    }
}

/** Takes the next field off `in`. False at the end, and on ill-formed input: then some of `in` is
 *  left. */
static inline bool wire_next(struct bytes *in, struct wire_field *ret_field)
{
    struct bytes rest = *in;
    uint64_t tag = 0;
    if (rest.len == 0 || !wire_get_varint(&rest, &tag) || tag > UINT32_MAX)
        return false;
    struct wire_field field = {.number = (uint32_t)(tag >> 3), .type = (uint32_t)(tag & 7)};
    if (field.number == 0 || !wire_get_payload(&rest, &field))
        return false;
    *in = rest;
    *ret_field = field;
    return true;
}

#endif
