/* SPDX-License-Identifier: Apache-2.0
 *
 * Table names and key encodings. A builder writes straight into one arena object; only a key that
 * outgrows its hint is copied.
 */
#include "cluster/store/table.h"

#include <string.h>

static const char *const names[TABLE_COUNT] = {
#define TABLE_NAME(id, name, key) [id] = name,
    TABLE_LIST(TABLE_NAME)
#undef TABLE_NAME
};

const char *table_name(enum table table)
{
    CHECK((unsigned)table < TABLE_COUNT);
    return names[table];
}

void key_begin(struct key_builder *builder, struct arena *arena, size_t size_hint)
{
    builder->arena = arena;
    builder->capacity = size_hint > 0 ? size_hint : 32;
    builder->data = arena_alloc(arena, builder->capacity);
    builder->len = 0;
}

/** Makes room for `extra` bytes, counts them in and returns where they go. */
static uint8_t *key_extend(struct key_builder *builder, size_t extra)
{
    if (builder->capacity - builder->len < extra) {
        size_t capacity = (builder->len + extra) * 2;
        uint8_t *data = arena_alloc(builder->arena, capacity);
        memcpy(data, builder->data, builder->len);
        builder->data = data;
        builder->capacity = capacity;
    }
    uint8_t *at = builder->data + builder->len;
    builder->len += extra;
    return at;
}

void key_uuid(struct key_builder *builder, struct uuid uuid)
{
    memcpy(key_extend(builder, sizeof(uuid.bytes)), uuid.bytes, sizeof(uuid.bytes));
}

void key_u32(struct key_builder *builder, uint32_t value)
{
    uint8_t *at = key_extend(builder, 4);
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

void key_i64(struct key_builder *builder, int64_t value)
{
    uint8_t *at = key_extend(builder, 8);
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)((uint64_t)value >> (56 - 8 * i));
}

void key_bytes(struct key_builder *builder, struct bytes data)
{
    if (data.len > 0)
        memcpy(key_extend(builder, data.len), data.data, data.len);
}

struct bytes key_end(struct key_builder *builder)
{
    CHECK(builder->len <= TABLE_KEY_BYTES_MAX);
    return bytes_make(builder->data, builder->len);
}

struct bytes key_history(struct arena *arena, struct uuid run_id, uint32_t branch, int64_t event_id)
{
    struct key_builder builder;
    key_begin(&builder, arena, 28);
    key_uuid(&builder, run_id);
    key_u32(&builder, branch);
    key_i64(&builder, event_id);
    return key_end(&builder);
}

struct bytes key_current_run(
    struct arena *arena, struct uuid namespace_id, struct bytes workflow_id)
{
    struct key_builder builder;
    key_begin(&builder, arena, 16 + workflow_id.len);
    key_uuid(&builder, namespace_id);
    key_bytes(&builder, workflow_id);
    return key_end(&builder);
}

struct bytes key_fact(struct arena *arena, struct uuid run_id, uint32_t kind, struct bytes key)
{
    struct key_builder builder;
    key_begin(&builder, arena, 20 + key.len);
    key_uuid(&builder, run_id);
    key_u32(&builder, kind);
    key_bytes(&builder, key);
    return key_end(&builder);
}

struct bytes key_seq(struct arena *arena, int64_t seq)
{
    struct key_builder builder;
    key_begin(&builder, arena, 8);
    key_i64(&builder, seq);
    return key_end(&builder);
}

bool key_read_i64(struct bytes key, size_t offset, int64_t *ret_value)
{
    if (offset > key.len || key.len - offset < 8)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < 8; i++)
        value = value << 8 | key.data[offset + i];
    *ret_value = (int64_t)value;
    return true;
}

bool key_read_u32(struct bytes key, size_t offset, uint32_t *ret_value)
{
    if (offset > key.len || key.len - offset < 4)
        return false;
    uint32_t value = 0;
    for (size_t i = 0; i < 4; i++)
        value = value << 8 | key.data[offset + i];
    *ret_value = value;
    return true;
}
