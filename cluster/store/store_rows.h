/* SPDX-License-Identifier: Apache-2.0
 *
 * Result arrays of reads: rows appended in an arena, with the limits of a scan.
 */
#ifndef CLUSTER_STORE_STORE_ROWS_H
#define CLUSTER_STORE_STORE_ROWS_H

#include <string.h>

#include "cluster/store/store.h"

/** An array under construction. Start with arena, limit_rows and limit_bytes (0 = none) set. */
struct store_rows {
    struct arena *arena;
    struct store_row *rows;
    size_t count;
    size_t capacity;
    size_t bytes;
    size_t limit_rows;
    size_t limit_bytes;
};

/** True when a limit is reached: another row would not be part of the result. */
static inline bool store_rows_full(const struct store_rows *rows)
{
    return rows->count >= rows->limit_rows ||
           (rows->limit_bytes > 0 && rows->bytes > rows->limit_bytes);
}

/** Appends a row without key and value; the caller sets them and counts them in `bytes`. */
static inline struct store_row *store_rows_add_empty(struct store_rows *rows)
{
    if (rows->count == rows->capacity) {
        size_t capacity = rows->capacity > 0 ? rows->capacity * 2 : 16;
        if (capacity > rows->limit_rows)
            capacity = rows->limit_rows;
        struct store_row *grown = arena_alloc(rows->arena, capacity * sizeof(*grown));
        if (rows->count > 0)
            memcpy(grown, rows->rows, rows->count * sizeof(*grown));
        rows->rows = grown;
        rows->capacity = capacity;
    }
    struct store_row *row = &rows->rows[rows->count++];
    *row = (struct store_row){.found = true, .due_ns = DUE_NONE, .expire_ns = DUE_NONE};
    return row;
}

/** Appends a row with copies of key and value; the caller sets the columns of a run. */
static inline struct store_row *store_rows_add(
    struct store_rows *rows, struct bytes key, struct bytes value)
{
    struct store_row *row = store_rows_add_empty(rows);
    row->key = bytes_copy(rows->arena, key);
    row->value = bytes_copy(rows->arena, value);
    rows->bytes += key.len + value.len;
    return row;
}

#endif
