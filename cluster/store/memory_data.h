/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory driver's data: sorted maps per table, indexes of runs and of visibility, fences.
 *
 * Map keys are (shard, row key), big-endian, so a shard's rows are neighbours. Every change goes
 * through the functions below, which keep the indexes in step with the rows:
 *  D1  A run is in `due` (or `expiry`) exactly when its due_ns (expire_ns) is not DUE_NONE.
 *  D2  `lists` and `visibility` hold the same objects.
 */
#ifndef CLUSTER_STORE_MEMORY_DATA_H
#define CLUSTER_STORE_MEMORY_DATA_H

#include "cluster/base/limits.h"
#include "cluster/base/ordered_map.h"
#include "cluster/store/commit.h"

struct memory_row {
    struct uuid namespace_id; /* runs only, as the two times */
    int64_t due_ns;
    int64_t expire_ns;
    size_t len;
    uint8_t value[];
};

/** A visibility row; its strings follow the struct. */
struct memory_visibility {
    struct visibility_row row;
    uint8_t strings[];
};

struct memory_shard {
    int64_t range_id;
    int64_t commit_no;
};

struct memory_database {
    struct ordered_map tables[TABLE_COUNT];
    struct ordered_map due;        /* shard, namespace, due_ns, key -> memory_row */
    struct ordered_map expiry;     /* shard, expire_ns, key -> memory_row */
    struct ordered_map visibility; /* shard, run_id -> memory_visibility */
    struct ordered_map lists;      /* namespace, close, start, run_id, all descending; shard */
    struct memory_shard shards[SHARDS_MAX];
};

#define MEMORY_KEY_BYTES_MAX (64 + TABLE_KEY_BYTES_MAX)

/** A map key under construction, on the stack. */
struct memory_key {
    uint8_t data[MEMORY_KEY_BYTES_MAX];
    size_t len;
};

void memory_key_shard(struct memory_key *key, int32_t shard);
/** Any int64_t, in order; `descending` turns the order around. */
void memory_key_time(struct memory_key *key, int64_t ns, bool descending);
void memory_key_bytes(struct memory_key *key, struct bytes data, bool descending);
struct bytes memory_key_view(const struct memory_key *key);

#define MEMORY_ROW_KEY_OFFSET    4  /* of the row's key in a table's map key */
#define MEMORY_DUE_KEY_OFFSET    28 /* in a key of `due` */
#define MEMORY_EXPIRY_KEY_OFFSET 12

void memory_data_init(struct memory_database *database);
void memory_data_release(struct memory_database *database);
struct memory_row *memory_row_get(
    const struct memory_database *database, enum table table, int32_t shard, struct bytes key);
/** INSERT, UPDATE, PUT or DELETE; that it may succeed was checked before. */
void memory_row_apply(struct memory_database *database, const struct commit_row *row);
void memory_range_delete(struct memory_database *database, const struct commit_range *range);
struct memory_visibility *memory_visibility_get(
    const struct memory_database *database, int32_t shard, struct uuid run_id);
void memory_visibility_apply(
    struct memory_database *database, const struct commit_visibility *change);

#endif
