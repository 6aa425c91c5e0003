/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/store/memory_data.h"

#include <string.h>

#include "cluster/base/mem.h"

static uint8_t *key_extend(struct memory_key *key, size_t extra)
{
    CHECK(extra <= sizeof(key->data) - key->len);
    uint8_t *at = key->data + key->len;
    key->len += extra;
    return at;
}

void memory_key_shard(struct memory_key *key, int32_t shard)
{
    uint8_t *at = key_extend(key, 4);
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)((uint32_t)shard >> (24 - 8 * i));
}

void memory_key_time(struct memory_key *key, int64_t ns, bool descending)
{
    uint64_t ordered = (uint64_t)ns ^ (1ull << 63);
    if (descending)
        ordered = ~ordered;
    uint8_t *at = key_extend(key, 8);
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(ordered >> (56 - 8 * i));
}

void memory_key_bytes(struct memory_key *key, struct bytes data, bool descending)
{
    uint8_t *at = key_extend(key, data.len);
    for (size_t i = 0; i < data.len; i++)
        at[i] = descending ? (uint8_t)~data.data[i] : data.data[i];
}

struct bytes memory_key_view(const struct memory_key *key)
{
    return bytes_make(key->data, key->len);
}

static void release_values(struct ordered_map *map)
{
    for (struct ordered_node *node = ordered_map_first(map); node; node = ordered_node_next(node))
        mem_free(ordered_node_value(node));
    ordered_map_release(map);
}

void memory_data_init(struct memory_database *database)
{
    for (int i = 0; i < TABLE_COUNT; i++)
        ordered_map_init(&database->tables[i]);
    ordered_map_init(&database->due);
    ordered_map_init(&database->expiry);
    ordered_map_init(&database->visibility);
    ordered_map_init(&database->lists);
    memset(database->shards, 0, sizeof(database->shards));
}

void memory_data_release(struct memory_database *database)
{
    for (int i = 0; i < TABLE_COUNT; i++)
        release_values(&database->tables[i]);
    ordered_map_release(&database->due);
    ordered_map_release(&database->expiry);
    release_values(&database->visibility);
    ordered_map_release(&database->lists);
}

static void row_key(struct memory_key *ret_key, int32_t shard, struct bytes key)
{
    ret_key->len = 0;
    memory_key_shard(ret_key, shard);
    memory_key_bytes(ret_key, key, false);
}

struct memory_row *memory_row_get(
    const struct memory_database *database, enum table table, int32_t shard, struct bytes key)
{
    struct memory_key full;
    row_key(&full, shard, key);
    return ordered_map_get(&database->tables[table], memory_key_view(&full));
}

static void due_key(
    struct memory_key *ret_key, int32_t shard, const struct memory_row *row, struct bytes key)
{
    ret_key->len = 0;
    memory_key_shard(ret_key, shard);
    memory_key_bytes(ret_key, uuid_view(&row->namespace_id), false);
    memory_key_time(ret_key, row->due_ns, false);
    memory_key_bytes(ret_key, key, false);
}

static void expiry_key(
    struct memory_key *ret_key, int32_t shard, const struct memory_row *row, struct bytes key)
{
    ret_key->len = 0;
    memory_key_shard(ret_key, shard);
    memory_key_time(ret_key, row->expire_ns, false);
    memory_key_bytes(ret_key, key, false);
}

static void index_add(
    struct memory_database *database, int32_t shard, struct bytes key, struct memory_row *row)
{
    struct memory_key full;
    if (row->due_ns != DUE_NONE) {
        due_key(&full, shard, row, key);
        (void)ordered_map_put(&database->due, memory_key_view(&full), row);
    }
    if (row->expire_ns != DUE_NONE) {
        expiry_key(&full, shard, row, key);
        (void)ordered_map_put(&database->expiry, memory_key_view(&full), row);
    }
}

static void index_remove(
    struct memory_database *database, int32_t shard, struct bytes key, const struct memory_row *row)
{
    struct memory_key full;
    if (row->due_ns != DUE_NONE) {
        due_key(&full, shard, row, key);
        void *removed = ordered_map_remove(&database->due, memory_key_view(&full));
        CHECK(removed == row);
    }
    if (row->expire_ns != DUE_NONE) {
        expiry_key(&full, shard, row, key);
        void *removed = ordered_map_remove(&database->expiry, memory_key_view(&full));
        CHECK(removed == row);
    }
}

/** Removes a row when it is there. */
static void row_delete(
    struct memory_database *database, enum table table, int32_t shard, struct bytes key)
{
    struct memory_key full;
    row_key(&full, shard, key);
    struct memory_row *row = ordered_map_remove(&database->tables[table], memory_key_view(&full));
    if (!row)
        return;
    index_remove(database, shard, key, row);
    mem_free(row);
}

void memory_row_apply(struct memory_database *database, const struct commit_row *row)
{
    if (row->mode == COMMIT_DELETE) {
        row_delete(database, row->table, row->shard, row->key);
        return;
    }
    bool is_run = row->table == TABLE_RUN;
    struct memory_row *stored = mem_alloc(sizeof(*stored) + row->value.len);
    *stored = (struct memory_row){.due_ns = DUE_NONE, .expire_ns = DUE_NONE};
    stored->len = row->value.len;
    if (row->value.len > 0)
        memcpy(stored->value, row->value.data, row->value.len);
    if (is_run) {
        stored->namespace_id = row->namespace_id;
        stored->due_ns = row->due_ns;
        stored->expire_ns = row->expire_ns;
    }
    struct memory_key full;
    row_key(&full, row->shard, row->key);
    struct memory_row *before =
        ordered_map_put(&database->tables[row->table], memory_key_view(&full), stored);
    CHECK(!before == (row->mode == COMMIT_INSERT) || row->mode == COMMIT_PUT);
    if (before) {
        index_remove(database, row->shard, row->key, before);
        if (row->mode == COMMIT_UPDATE)
            stored->namespace_id = before->namespace_id;
        if (row->mode == COMMIT_UPDATE && !row->index_changed) {
            stored->due_ns = before->due_ns;
            stored->expire_ns = before->expire_ns;
        }
        mem_free(before);
    }
    index_add(database, row->shard, row->key, stored);
}

void memory_range_delete(struct memory_database *database, const struct commit_range *range)
{
    struct ordered_map *map = &database->tables[range->table];
    struct memory_key from;
    struct memory_key to;
    row_key(&from, range->shard, range->from);
    row_key(&to, range->shard, range->to);
    struct ordered_node *node = ordered_map_seek(map, memory_key_view(&from));
    while (node && bytes_compare(ordered_node_key(node), memory_key_view(&to)) < 0) {
        struct ordered_node *next = ordered_node_next(node);
        struct memory_row *row = ordered_node_value(node);
        struct bytes full = ordered_node_key(node);
        struct bytes key =
            bytes_make(full.data + MEMORY_ROW_KEY_OFFSET, full.len - MEMORY_ROW_KEY_OFFSET);
        index_remove(database, range->shard, key, row);
        (void)ordered_map_remove(map, full);
        mem_free(row);
        node = next;
    }
}

static void visibility_key(struct memory_key *ret_key, int32_t shard, struct uuid run_id)
{
    ret_key->len = 0;
    memory_key_shard(ret_key, shard);
    memory_key_bytes(ret_key, uuid_view(&run_id), false);
}

static void list_key(struct memory_key *ret_key, const struct visibility_row *row)
{
    ret_key->len = 0;
    memory_key_bytes(ret_key, uuid_view(&row->namespace_id), false);
    memory_key_time(ret_key, row->close_ns, true);
    memory_key_time(ret_key, row->start_ns, true);
    memory_key_bytes(ret_key, uuid_view(&row->run_id), true);
    memory_key_shard(ret_key, row->shard);
}

struct memory_visibility *memory_visibility_get(
    const struct memory_database *database, int32_t shard, struct uuid run_id)
{
    struct memory_key key;
    visibility_key(&key, shard, run_id);
    return ordered_map_get(&database->visibility, memory_key_view(&key));
}

/** Copies a string behind the row and makes the view point there. */
static uint8_t *string_move(uint8_t *at, struct bytes *string)
{
    if (string->len > 0)
        memcpy(at, string->data, string->len);
    string->data = at;
    return at + string->len;
}

static struct memory_visibility *visibility_copy(const struct visibility_row *row)
{
    size_t len = row->workflow_id.len + row->workflow_type.len + row->task_queue.len +
                 row->parent_workflow_id.len + row->parent_run_id.len + row->root_workflow_id.len +
                 row->root_run_id.len + row->memo.len + row->search_attributes.len;
    struct memory_visibility *copy = mem_alloc(sizeof(*copy) + len);
    copy->row = *row;
    uint8_t *at = copy->strings;
    at = string_move(at, &copy->row.workflow_id);
    at = string_move(at, &copy->row.workflow_type);
    at = string_move(at, &copy->row.task_queue);
    at = string_move(at, &copy->row.parent_workflow_id);
    at = string_move(at, &copy->row.parent_run_id);
    at = string_move(at, &copy->row.root_workflow_id);
    at = string_move(at, &copy->row.root_run_id);
    at = string_move(at, &copy->row.memo);
    at = string_move(at, &copy->row.search_attributes);
    CHECK((size_t)(at - copy->strings) == len);
    return copy;
}

void memory_visibility_apply(
    struct memory_database *database, const struct commit_visibility *change)
{
    struct memory_key key;
    visibility_key(&key, change->row.shard, change->row.run_id);
    struct memory_visibility *before =
        ordered_map_remove(&database->visibility, memory_key_view(&key));
    struct memory_key list;
    if (before) {
        list_key(&list, &before->row);
        void *removed = ordered_map_remove(&database->lists, memory_key_view(&list));
        CHECK(removed == before);
        mem_free(before);
    }
    if (change->mode == COMMIT_DELETE)
        return;
    CHECK(!before == (change->mode == COMMIT_INSERT));
    struct memory_visibility *copy = visibility_copy(&change->row);
    (void)ordered_map_put(&database->visibility, memory_key_view(&key), copy);
    list_key(&list, &copy->row);
    (void)ordered_map_put(&database->lists, memory_key_view(&list), copy);
}
