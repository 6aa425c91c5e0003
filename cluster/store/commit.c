/* SPDX-License-Identifier: Apache-2.0
 *
 * Building a commit. The hot path: an executor writes a few rows per request, tens of thousands a
 * second, so arrays grow inside the commit's arena, nothing is copied and history and outbox rows,
 * whose keys are new by construction, skip the merge map.
 *
 * The merge map leads from (table, shard, key) to a slot, which knows the position of the change in
 * its array; the change knows its slot, so a removal can move the last change into the hole.
 */
#include "cluster/store/commit.h"

#include <assert.h>
#include <string.h>

#include "cluster/base/limits.h"

/* First bytes of merge keys that are no table. */
enum { SLOT_SECTION = 254, SLOT_VISIBILITY = 255 };

struct commit_slot {
    size_t position;
    bool unsure; /* a PUT came first: nobody knows whether the row exists */
    size_t key_len;
    uint8_t key[];
};

static_assert((int)TABLE_COUNT < (int)SLOT_SECTION, "table numbers and slot kinds must differ");

#define SLOT_KEY_BYTES_MAX (5 + TABLE_KEY_BYTES_MAX)

/** Writes the merge key of (kind, shard, key) and returns its length. */
static size_t slot_key(uint8_t *ret_key, unsigned kind, int32_t shard, struct bytes key)
{
    CHECK(key.len <= TABLE_KEY_BYTES_MAX);
    ret_key[0] = (uint8_t)kind;
    memcpy(ret_key + 1, &shard, sizeof(shard));
    if (key.len > 0)
        memcpy(ret_key + 5, key.data, key.len);
    return 5 + key.len;
}

static struct commit_slot *slot_find(
    const struct commit *commit, unsigned kind, int32_t shard, struct bytes key)
{
    if (commit->index.count == 0)
        return NULL;
    uint8_t data[SLOT_KEY_BYTES_MAX];
    size_t len = slot_key(data, kind, shard, key);
    return map_get(&commit->index, bytes_make(data, len));
}

static struct commit_slot *slot_add(
    struct commit *commit, unsigned kind, int32_t shard, struct bytes key, size_t position)
{
    struct commit_slot *slot = arena_alloc(&commit->arena, sizeof(*slot) + 5 + key.len);
    slot->position = position;
    slot->unsure = false;
    slot->key_len = slot_key(slot->key, kind, shard, key);
    void *replaced = map_put(&commit->index, bytes_make(slot->key, slot->key_len), slot);
    CHECK(!replaced);
    return slot;
}

static void slot_remove(struct commit *commit, const struct commit_slot *slot)
{
    void *removed = map_remove(&commit->index, bytes_make(slot->key, slot->key_len));
    CHECK(removed == slot);
}

/** Room for one more element; a reset commit starts with the capacity it had. */
static void *array_grow(
    struct commit *commit, void *array, size_t count, size_t *capacity, size_t element)
{
    if (array && count < *capacity)
        return array;
    size_t grown = *capacity;
    if (array)
        grown *= 2;
    else if (grown == 0)
        grown = 16;
    void *moved = arena_alloc(&commit->arena, grown * element);
    if (array)
        memcpy(moved, array, count * element);
    *capacity = grown;
    return moved;
}

void commit_init(struct commit *commit)
{
    *commit = (struct commit){0};
    arena_init(&commit->arena);
    map_init(&commit->index);
}

void commit_release(struct commit *commit)
{
    map_release(&commit->index);
    arena_release(&commit->arena);
    *commit = (struct commit){0};
}

void commit_reset(struct commit *commit)
{
    map_release(&commit->index);
    map_init(&commit->index);
    arena_reset(&commit->arena);
    commit->sections = NULL;
    commit->section_count = 0;
    commit->rows = NULL;
    commit->row_count = 0;
    commit->ranges = NULL;
    commit->range_count = 0;
    commit->visibility = NULL;
    commit->visibility_count = 0;
    commit->bytes = 0;
}

bool commit_is_empty(const struct commit *commit)
{
    return commit->row_count == 0 && commit->range_count == 0 && commit->visibility_count == 0;
}

void commit_section(struct commit *commit, struct commit_section section)
{
    const struct bytes none = {0};
    const struct commit_section *known = NULL;
    if (commit->section_count > 0) {
        known = &commit->sections[commit->section_count - 1];
        if (known->shard != section.shard) {
            struct commit_slot *slot = slot_find(commit, SLOT_SECTION, section.shard, none);
            known = slot ? &commit->sections[slot->position] : NULL;
        }
    }
    if (known) {
        CHECK(known->range_id == section.range_id);
        CHECK(known->commit_no == section.commit_no);
        return;
    }
    commit->sections = array_grow(commit, commit->sections, commit->section_count,
        &commit->section_capacity, sizeof(*commit->sections));
    (void)slot_add(commit, SLOT_SECTION, section.shard, none, commit->section_count);
    commit->sections[commit->section_count++] = section;
}

static size_t row_bytes(const struct commit_row *row)
{
    return row->key.len + row->value.len;
}

static void row_append(struct commit *commit, const struct commit_row *row, bool merged)
{
    commit->rows = array_grow(
        commit, commit->rows, commit->row_count, &commit->row_capacity, sizeof(*commit->rows));
    struct commit_row *added = &commit->rows[commit->row_count];
    *added = *row;
    added->slot = NULL;
    if (added->mode == COMMIT_DELETE)
        added->value = (struct bytes){0};
    if (merged) {
        added->slot = slot_add(commit, row->table, row->shard, row->key, commit->row_count);
        added->slot->unsure = row->mode == COMMIT_PUT;
    }
    commit->bytes += row_bytes(added);
    commit->row_count++;
}

/** Takes a change back; the last one fills its place. */
static void row_drop(struct commit *commit, size_t position)
{
    CHECK(position < commit->row_count);
    struct commit_row *row = &commit->rows[position];
    commit->bytes -= row_bytes(row);
    if (row->slot)
        slot_remove(commit, row->slot);
    commit->row_count--;
    if (position == commit->row_count)
        return;
    *row = commit->rows[commit->row_count];
    if (row->slot)
        row->slot->position = position;
}

/** What a change becomes when another follows it. False: both together are nothing. */
static bool mode_merge(
    enum commit_mode before, enum commit_mode next, bool unsure, enum commit_mode *ret_mode)
{
    if (next == COMMIT_DELETE) {
        *ret_mode = COMMIT_DELETE;
        return before != COMMIT_INSERT;
    }
    if (before == COMMIT_DELETE) {
        CHECK(next != COMMIT_UPDATE);
        *ret_mode = next == COMMIT_PUT || unsure ? COMMIT_PUT : COMMIT_UPDATE;
        return true;
    }
    CHECK(next != COMMIT_INSERT);
    *ret_mode = before;
    return true;
}

static void row_merge(struct commit *commit, size_t position, const struct commit_row *next)
{
    struct commit_row *row = &commit->rows[position];
    enum commit_mode mode;
    if (!mode_merge(row->mode, next->mode, row->slot->unsure, &mode)) {
        row_drop(commit, position);
        return;
    }
    commit->bytes -= row_bytes(row);
    bool revived = row->mode == COMMIT_DELETE;
    row->mode = mode;
    row->slot->unsure |= next->mode == COMMIT_PUT && revived;
    row->value = mode == COMMIT_DELETE ? (struct bytes){0} : next->value;
    row->namespace_id = next->namespace_id;
    if (next->mode != COMMIT_UPDATE || next->index_changed) {
        row->due_ns = next->due_ns;
        row->expire_ns = next->expire_ns;
        row->index_changed = true;
    }
    commit->bytes += row_bytes(row);
}

static bool range_covers(
    const struct commit_range *range, enum table table, int32_t shard, struct bytes key)
{
    return range->table == table && range->shard == shard && bytes_compare(key, range->from) >= 0 &&
           bytes_compare(key, range->to) < 0;
}

static bool ranges_cover(const struct commit *commit, const struct commit_row *row)
{
    for (size_t i = 0; i < commit->range_count; i++) {
        if (range_covers(&commit->ranges[i], row->table, row->shard, row->key))
            return true;
    }
    return false;
}

void commit_write(struct commit *commit, const struct commit_row *row)
{
    CHECK((unsigned)row->table < TABLE_COUNT);
    CHECK(row->key.len > 0);
    CHECK(row->key.len <= TABLE_KEY_BYTES_MAX);
    if (row->table == TABLE_HISTORY || row->table == TABLE_OUTBOX) {
        row_append(commit, row, false);
        return;
    }
    struct commit_slot *slot = slot_find(commit, row->table, row->shard, row->key);
    if (slot)
        row_merge(commit, slot->position, row);
    else if (row->mode != COMMIT_DELETE || !ranges_cover(commit, row))
        row_append(commit, row, true);
}

void commit_delete_range(struct commit *commit, const struct commit_range *range)
{
    CHECK((unsigned)range->table < TABLE_COUNT);
    if (bytes_compare(range->from, range->to) >= 0)
        return;
    for (size_t i = commit->row_count; i-- > 0;) {
        const struct commit_row *row = &commit->rows[i];
        if (range_covers(range, row->table, row->shard, row->key))
            row_drop(commit, i);
    }
    commit->ranges = array_grow(commit, commit->ranges, commit->range_count,
        &commit->range_capacity, sizeof(*commit->ranges));
    commit->ranges[commit->range_count++] = *range;
    commit->bytes += range->from.len + range->to.len;
}

static size_t visibility_bytes(const struct commit_visibility *change)
{
    const struct visibility_row *row = &change->row;
    return sizeof(*row) + row->workflow_id.len + row->workflow_type.len + row->task_queue.len +
           row->memo.len + row->search_attributes.len;
}

static void visibility_drop(struct commit *commit, size_t position)
{
    struct commit_visibility *change = &commit->visibility[position];
    commit->bytes -= visibility_bytes(change);
    slot_remove(commit, change->slot);
    commit->visibility_count--;
    if (position == commit->visibility_count)
        return;
    *change = commit->visibility[commit->visibility_count];
    change->slot->position = position;
}

void commit_visibility(struct commit *commit, const struct commit_visibility *change)
{
    CHECK(change->mode != COMMIT_PUT);
    struct bytes key = uuid_view(&change->row.run_id);
    struct commit_slot *slot = slot_find(commit, SLOT_VISIBILITY, change->row.shard, key);
    if (!slot) {
        commit->visibility = array_grow(commit, commit->visibility, commit->visibility_count,
            &commit->visibility_capacity, sizeof(*commit->visibility));
        struct commit_visibility *added = &commit->visibility[commit->visibility_count];
        *added = *change;
        added->slot =
            slot_add(commit, SLOT_VISIBILITY, change->row.shard, key, commit->visibility_count);
        commit->visibility_count++;
        commit->bytes += visibility_bytes(added);
        return;
    }
    struct commit_visibility *known = &commit->visibility[slot->position];
    enum commit_mode mode;
    if (!mode_merge(known->mode, change->mode, false, &mode)) {
        visibility_drop(commit, slot->position);
        return;
    }
    commit->bytes -= visibility_bytes(known);
    *known = *change;
    known->mode = mode;
    known->slot = slot;
    commit->bytes += visibility_bytes(known);
}
