/* SPDX-License-Identifier: Apache-2.0
 *
 * The framing of History is that of protobuf: for every event the tag of field 1, the length as a
 * varint, the event.
 */
#include "cluster/engine/batch.h"

#include <protobuf-c/protobuf-c.h>
#include <string.h>

#include "cluster/base/hash.h"
#include "cluster/base/mem.h"

#define MAGIC         0x31424853u /* "SHB1" */
#define CAPACITY_MIN  512u
#define VARINT_MAX    10u
#define TAG_EVENT     0x0au /* History.events: field 1, length-delimited */
#define TAG_EVENT_ID  0x08u /* HistoryEvent.event_id: field 1, varint */
#define EVENT_LEN_MAX UINT32_MAX

enum offset {
    AT_MAGIC = 0,
    AT_COUNT = 4,
    AT_VERSION = 8,
    AT_FIRST_ID = 16,
    AT_TIME = 24,
    AT_EVENTS_LEN = 32,
    AT_META_LEN = 36,
    AT_DIGEST_BEFORE = 40,
    AT_DIGEST = 48,
    AT_META_HASH = 56,
};

static void put_le(uint8_t *at, uint64_t value, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Of the meta and of the header before the hash itself. */
static uint64_t envelope_hash(const uint8_t *header, struct bytes meta)
{
    return hash64(meta, hash64(bytes_make(header, AT_META_HASH), 0));
}

enum err batch_decode(struct bytes value, struct batch *ret_batch)
{
    if (value.len < BATCH_HEADER_BYTES)
        return ERR_CORRUPT;
    const uint8_t *header = value.data;
    uint64_t events_len = get_le(header + AT_EVENTS_LEN, 4);
    uint64_t meta_len = get_le(header + AT_META_LEN, 4);
    if (get_le(header + AT_MAGIC, 4) != MAGIC ||
        value.len != BATCH_HEADER_BYTES + events_len + meta_len)
        return ERR_CORRUPT;
    struct batch batch = {
        .event_count = (uint32_t)get_le(header + AT_COUNT, 4),
        .version = (int64_t)get_le(header + AT_VERSION, 8),
        .first_event_id = (int64_t)get_le(header + AT_FIRST_ID, 8),
        .last_event_time_ns = (int64_t)get_le(header + AT_TIME, 8),
        .digest_before = get_le(header + AT_DIGEST_BEFORE, 8),
        .digest = get_le(header + AT_DIGEST, 8),
        .events = bytes_make(value.data + BATCH_HEADER_BYTES, (size_t)events_len),
        .meta = bytes_make(value.data + BATCH_HEADER_BYTES + events_len, (size_t)meta_len),
    };
    if (batch.event_count == 0 || batch.first_event_id < 1 ||
        batch.first_event_id > INT64_MAX - batch.event_count)
        return ERR_CORRUPT;
    if (hash64(batch.events, batch.digest_before) != batch.digest ||
        envelope_hash(header, batch.meta) != get_le(header + AT_META_HASH, 8))
        return ERR_CORRUPT;
    *ret_batch = batch;
    return OK;
}

/* Reads a varint; false when it is cut off or too long. */
static bool read_varint(struct bytes data, size_t *offset, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_MAX; i++) {
        if (*offset >= data.len)
            return false;
        uint8_t byte = data.data[(*offset)++];
        value |= (uint64_t)(byte & 0x7fu) << (7 * i);
        if (!(byte & 0x80u)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool batch_next_event(
    struct bytes events, size_t *offset, struct bytes *ret_event, struct bytes *ret_framed)
{
    size_t at = *offset;
    if (at >= events.len || events.data[at++] != TAG_EVENT)
        return false;
    uint64_t len = 0;
    if (!read_varint(events, &at, &len) || len > events.len - at)
        return false;
    *ret_event = bytes_make(events.data + at, (size_t)len);
    at += (size_t)len;
    *ret_framed = bytes_make(events.data + *offset, at - *offset);
    *offset = at;
    return true;
}

int64_t batch_event_id(struct bytes event)
{
    /* Packed messages begin with their lowest field. */
    size_t offset = 1;
    uint64_t id = 0;
    if (event.len == 0 || event.data[0] != TAG_EVENT_ID || !read_varint(event, &offset, &id))
        return 0;
    return id > INT64_MAX ? 0 : (int64_t)id;
}

/* ---- building -------------------------------------------------------------------------------- */

/* Where `extra` more bytes go, behind the events. */
static uint8_t *reserve(struct batch_builder *builder, size_t extra)
{
    size_t used = BATCH_HEADER_BYTES + builder->events_len;
    if (extra > builder->capacity - used) {
        size_t capacity = 2 * (used + extra);
        builder->blob = mem_realloc(builder->blob, sizeof(*builder->blob) + capacity);
        builder->capacity = capacity;
    }
    return builder->blob->data + used;
}

void batch_begin(struct batch_builder *builder, int64_t first_event_id, int64_t version)
{
    CHECK(!builder->blob);
    CHECK(first_event_id > 0);
    *builder = (struct batch_builder){.blob = blob_alloc(CAPACITY_MIN),
        .capacity = CAPACITY_MIN,
        .version = version,
        .first_event_id = first_event_id};
}

size_t batch_add(
    struct batch_builder *builder, const struct ProtobufCMessage *event, int64_t event_time_ns)
{
    CHECK(builder->blob);
    size_t len = protobuf_c_message_get_packed_size(event);
    CHECK(len <= EVENT_LEN_MAX - VARINT_MAX - 1 - builder->events_len);
    uint8_t *begin = reserve(builder, 1 + VARINT_MAX + len);
    uint8_t *at = begin;
    *at++ = TAG_EVENT;
    size_t rest = len;
    for (; rest >= 0x80; rest >>= 7)
        *at++ = (uint8_t)(rest | 0x80u);
    *at++ = (uint8_t)rest;
    size_t packed = protobuf_c_message_pack(event, at);
    CHECK(packed == len);
    size_t added = (size_t)(at - begin) + len;
    builder->events_len += added;
    builder->event_count++;
    builder->last_event_time_ns = event_time_ns;
    return added;
}

struct blob *batch_finish(
    struct batch_builder *builder, struct bytes meta, uint64_t digest_before, uint64_t *ret_digest)
{
    CHECK(builder->event_count > 0);
    CHECK(meta.len <= UINT32_MAX);
    uint8_t *at = reserve(builder, meta.len);
    if (meta.len > 0)
        memcpy(at, meta.data, meta.len);
    size_t len = BATCH_HEADER_BYTES + builder->events_len + meta.len;
    /* Values live long in caches: give back what growing reserved. */
    struct blob *blob = mem_realloc(builder->blob, sizeof(*blob) + len);
    blob->len = len;
    struct bytes events = bytes_make(blob->data + BATCH_HEADER_BYTES, builder->events_len);
    uint64_t digest = hash64(events, digest_before);
    uint8_t *header = blob->data;
    put_le(header + AT_MAGIC, MAGIC, 4);
    put_le(header + AT_COUNT, builder->event_count, 4);
    put_le(header + AT_VERSION, (uint64_t)builder->version, 8);
    put_le(header + AT_FIRST_ID, (uint64_t)builder->first_event_id, 8);
    put_le(header + AT_TIME, (uint64_t)builder->last_event_time_ns, 8);
    put_le(header + AT_EVENTS_LEN, events.len, 4);
    put_le(header + AT_META_LEN, meta.len, 4);
    put_le(header + AT_DIGEST_BEFORE, digest_before, 8);
    put_le(header + AT_DIGEST, digest, 8);
    struct bytes stored_meta = bytes_make(blob->data + BATCH_HEADER_BYTES + events.len, meta.len);
    put_le(header + AT_META_HASH, envelope_hash(header, stored_meta), 8);
    *builder = (struct batch_builder){0};
    *ret_digest = digest;
    return blob;
}

void batch_abandon(struct batch_builder *builder)
{
    blob_unref(builder->blob);
    *builder = (struct batch_builder){0};
}
