/* SPDX-License-Identifier: Apache-2.0
 *
 * SQL text with bind values, and the two visibility queries that all SQL drivers share.
 *
 * The text names columns as table.h, filter.h and the schema folders do. Nothing of a request is
 * ever spliced into the text: every value is bound.
 *
 * Invariants:
 *  Q1  values[i] belongs to the i-th placeholder in text order: `?` (MariaDB, SQLite) or
 *      `$1::bigint`, `$2::bytea` (PostgreSQL; bind int8 and bytea, nothing is inferred).
 *  Q2  Negation is pushed down to the comparisons and each of those guards against its own NULL
 *      (an open run's close time, an empty keyword), so WHERE text means what filter_matches()
 *      computes, on every database.
 *  Q3  Keywords and ids are byte strings: bytea, VARBINARY, BLOB. Columns are NOT NULL: an empty
 *      keyword is stored as '', an open run's close_ns as INT64_MAX.
 */
#ifndef CLUSTER_STORE_SQL_FILTER_H
#define CLUSTER_STORE_SQL_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/bytes.h"
#include "cluster/store/filter.h"
#include "cluster/store/store.h"

enum sql_dialect { SQL_POSTGRES, SQL_MARIADB, SQL_SQLITE };

/** A bind value: bytes or a 64-bit integer. */
struct sql_value {
    bool is_bytes;
    int64_t number;
    struct bytes bytes; /* view: filter, list and count values are not copied */
};

/** A statement under construction. Text and values live in the arena. */
struct sql_text {
    struct arena *arena;
    enum sql_dialect dialect;
    char *text; /* always NUL-terminated */
    size_t len;
    size_t capacity;
    struct sql_value *values;
    size_t value_count;
    size_t value_capacity;
};

void sql_text_init(struct sql_text *sql, struct arena *arena, enum sql_dialect dialect);
/** Appends literal text. */
void sql_text_add(struct sql_text *sql, const char *text);
/** Appends a placeholder and its value. */
void sql_text_number(struct sql_text *sql, int64_t number);
void sql_text_bytes(struct sql_text *sql, struct bytes bytes);
/** Appends the filter as one parenthesised boolean expression over the columns; NULL = all. */
void sql_text_filter(struct sql_text *sql, const struct filter *filter);

/* Columns of a list's result, in this order; the schema folders use these names too. */
#define SQL_VISIBILITY_COLUMNS                                                              \
    "shard, run_id, namespace_id, workflow_id, workflow_type, task_queue, status, "         \
    "start_ns, execution_ns, close_ns, history_length, history_size_bytes, "                \
    "state_transitions, parent_workflow_id, parent_run_id, root_workflow_id, root_run_id, " \
    "memo, search_attributes"
#define SQL_VISIBILITY_COLUMN_COUNT 19

/** The whole SELECT of a list page: SQL_VISIBILITY_COLUMNS, ordered, one row more than the page
 *  holds (LIMIT limit_rows + 1), so that the driver can tell `more`. */
void sql_list_select(struct sql_text *sql, const struct store_list *list);
/** The whole SELECT of a count. by_status: rows (status, count); else one row (count). */
void sql_count_select(struct sql_text *sql, const struct store_count *count);

#endif
