/* SPDX-License-Identifier: Apache-2.0
 *
 * The frame around an envelope. A decoder has to be cheap for hostile bytes: sizes are checked
 * before anything is allocated, and the messages of an envelope are counted before they are
 * unpacked, because two bytes on the wire can become some hundred in memory.
 */
#include "replicator/envelope.h"

#include <string.h>
#include <zstd.h>

#include "cluster/base/hash.h"
#include "cluster/base/limits.h"
#include "cluster/base/mem.h"
#include "cluster/base/proto_arena.h"
#include "replicator/envelope_private.h"

#define FORMAT              1u
#define FLAG_ZSTD           1u
#define LEVEL               1
#define ITEMS_MAX           262144u  /* of one envelope */
#define VERSION_ITEMS_MAX   1048576u /* of all its items */
#define FIELD_ITEMS         10u      /* Envelope.items */
#define FIELD_VERSION_ITEMS 8u       /* Item.version_history */

enum offset {
    AT_MAGIC = 0,
    AT_FORMAT = 4,
    AT_FLAGS = 5,
    AT_ZERO = 6,
    AT_PLAIN_LEN = 8,
    AT_BODY_LEN = 12,
    AT_HASH = 16,
};

/* ---- writing --------------------------------------------------------------------------------- */

static void write_header(uint8_t *at, uint32_t flags, size_t plain_len, struct bytes body)
{
    envelope_put(at + AT_MAGIC, ENVELOPE_FRAME_MAGIC, 4);
    envelope_put(at + AT_FORMAT, FORMAT, 1);
    envelope_put(at + AT_FLAGS, flags, 1);
    envelope_put(at + AT_ZERO, 0, 2);
    envelope_put(at + AT_PLAIN_LEN, plain_len, 4);
    envelope_put(at + AT_BODY_LEN, body.len, 4);
    envelope_put(at + AT_HASH, hash64(body, 0), 8);
}

/* NULL when compressing does not pay. */
static struct blob *encode_compressed(struct bytes plain)
{
    size_t bound = ZSTD_compressBound(plain.len);
    uint8_t *body = mem_alloc(bound);
    size_t len = ZSTD_compress(body, bound, plain.data, plain.len, LEVEL);
    struct blob *frame = NULL;
    if (!ZSTD_isError(len) && len < plain.len) {
        frame = blob_alloc(ENVELOPE_HEADER_BYTES + len);
        memcpy(frame->data + ENVELOPE_HEADER_BYTES, body, len);
        write_header(frame->data, FLAG_ZSTD, plain.len, bytes_make(body, len));
    }
    mem_free(body);
    return frame;
}

struct blob *envelope_encode(const Replication__Envelope *envelope)
{
    size_t len = protobuf_c_message_get_packed_size(&envelope->base);
    CHECK(len <= ENVELOPE_PLAIN_BYTES_MAX);
    struct blob *frame = blob_alloc(ENVELOPE_HEADER_BYTES + len);
    uint8_t *body = frame->data + ENVELOPE_HEADER_BYTES;
    protobuf_c_message_pack(&envelope->base, body);
    struct bytes plain = bytes_make(body, len);
    struct blob *smaller = len >= ENVELOPE_COMPRESS_FROM ? encode_compressed(plain) : NULL;
    if (smaller) {
        blob_unref(frame);
        return smaller;
    }
    write_header(frame->data, 0, len, plain);
    return frame;
}

/* ---- counting -------------------------------------------------------------------------------- */

/* One field of a serialized message. */
struct field {
    uint32_t number;
    struct bytes data; /* of length-delimited ones; else empty */
};

static bool read_varint(struct bytes message, size_t *offset, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && *offset < message.len; shift += 7) {
        uint8_t byte = message.data[(*offset)++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

/* False at the end, and at what is no message (then *offset is not the end). */
static bool next_field(struct bytes message, size_t *offset, struct field *ret_field)
{
    size_t at = *offset;
    uint64_t tag;
    uint64_t skip = 0;
    if (at == message.len || !read_varint(message, &at, &tag) || tag > UINT32_MAX)
        return false;
    switch (tag & 7) {
    case 0:
        if (!read_varint(message, &at, &skip))
            return false;
        skip = 0;
        break;
    case 1:
        skip = 8;
        break;
    case 2:
        if (!read_varint(message, &at, &skip))
            return false;
        break;
    case 5:
        skip = 4;
        break;
    default:
        return false;
    }
    if (skip > message.len - at)
        return false;
    ret_field->number = (uint32_t)(tag >> 3);
    ret_field->data = (tag & 7) == 2 ? bytes_make(message.data + at, skip) : (struct bytes){0};
    *offset = at + skip;
    return true;
}

/* How often the field occurs; false when the framing is broken. */
static bool count_field(struct bytes message, uint32_t number, size_t *count)
{
    size_t offset = 0;
    struct field field;
    while (next_field(message, &offset, &field)) {
        if (field.number == number)
            (*count)++;
    }
    return offset == message.len;
}

static bool size_is_sane(struct bytes plain)
{
    size_t items = 0;
    size_t version_items = 0;
    size_t offset = 0;
    struct field field;
    while (next_field(plain, &offset, &field)) {
        if (field.number != FIELD_ITEMS)
            continue;
        items++;
        if (!count_field(field.data, FIELD_VERSION_ITEMS, &version_items))
            return false;
        if (items > ITEMS_MAX || version_items > VERSION_ITEMS_MAX)
            return false;
    }
    return offset == plain.len;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool items_are_valid(const Replication__Envelope *envelope)
{
    int64_t seq = envelope->prev_seq;
    int32_t index = INT32_MAX;
    for (size_t i = 0; i < envelope->n_items; i++) {
        const Replication__Item *item = envelope->items[i];
        if (item->index < 0 || item->seq > envelope->last_seq)
            return false;
        if (item->seq < seq || (item->seq == seq && item->index <= index))
            return false;
        seq = item->seq;
        index = item->index;
    }
    return true;
}

static enum err check_envelope(const Replication__Envelope *envelope)
{
    if (envelope->format > FORMAT)
        return ERR_VERSION;
    if (envelope->format != FORMAT)
        return ERR_CORRUPT;
    size_t source_len = strlen(envelope->source);
    size_t target_len = strlen(envelope->target);
    if (source_len == 0 || source_len > NAME_BYTES_MAX || target_len == 0 ||
        target_len > NAME_BYTES_MAX)
        return ERR_CORRUPT;
    if (envelope->shard < 0 || envelope->shard >= SHARDS_MAX || envelope->epoch < 0)
        return ERR_CORRUPT;
    if (envelope->prev_seq < 0 || envelope->prev_seq > envelope->last_seq)
        return ERR_CORRUPT;
    if (envelope->part < 0 || envelope->parts < 0 ||
        envelope->part >= (envelope->parts > 0 ? envelope->parts : 1))
        return ERR_CORRUPT;
    return items_are_valid(envelope) ? OK : ERR_CORRUPT;
}

static enum err unpack(
    struct arena *arena, struct bytes plain, Replication__Envelope **ret_envelope)
{
    if (!size_is_sane(plain))
        return ERR_CORRUPT;
    Replication__Envelope *envelope =
        proto_unpack(arena, &replication__envelope__descriptor, plain);
    if (!envelope)
        return ERR_CORRUPT;
    enum err err = check_envelope(envelope);
    if (err)
        return err;
    *ret_envelope = envelope;
    return OK;
}

static enum err unpack_compressed(
    struct arena *arena, struct bytes body, size_t plain_len, Replication__Envelope **ret_envelope)
{
    uint8_t *plain = mem_alloc(plain_len + 1);
    size_t len = ZSTD_decompress(plain, plain_len, body.data, body.len);
    enum err err = ERR_CORRUPT;
    if (!ZSTD_isError(len) && len == plain_len)
        err = unpack(arena, bytes_make(plain, plain_len), ret_envelope);
    mem_free(plain);
    return err;
}

enum err envelope_decode(
    struct arena *arena, struct bytes frame, Replication__Envelope **ret_envelope)
{
    if (frame.len < ENVELOPE_HEADER_BYTES ||
        envelope_get(frame.data + AT_MAGIC, 4) != ENVELOPE_FRAME_MAGIC)
        return ERR_CORRUPT;
    uint64_t format = envelope_get(frame.data + AT_FORMAT, 1);
    uint64_t flags = envelope_get(frame.data + AT_FLAGS, 1);
    if (format > FORMAT)
        return ERR_VERSION;
    if (format != FORMAT || envelope_get(frame.data + AT_ZERO, 2) != 0)
        return ERR_CORRUPT;
    if (flags & ~(uint64_t)FLAG_ZSTD)
        return ERR_VERSION;
    struct bytes body =
        bytes_make(frame.data + ENVELOPE_HEADER_BYTES, frame.len - ENVELOPE_HEADER_BYTES);
    uint64_t plain_len = envelope_get(frame.data + AT_PLAIN_LEN, 4);
    if (envelope_get(frame.data + AT_BODY_LEN, 4) != body.len ||
        plain_len > ENVELOPE_PLAIN_BYTES_MAX ||
        envelope_get(frame.data + AT_HASH, 8) != hash64(body, 0))
        return ERR_CORRUPT;
    if (flags & FLAG_ZSTD)
        return unpack_compressed(arena, body, plain_len, ret_envelope);
    return plain_len == body.len ? unpack(arena, body, ret_envelope) : ERR_CORRUPT;
}
