/* SPDX-License-Identifier: Apache-2.0
 *
 * One transaction of an executor: row changes grouped into a section per shard.
 *
 * Invariants:
 *  C1  A section's fence is checked on the server inside the transaction (range_id must still be
 *      ours); if it misses, nothing of the transaction is applied and the result is ERR_FENCED.
 *  C2  Within one commit a (table, shard, key) occurs at most once: commit_write() merges.
 *  C3  COMMIT_INSERT of an existing key fails the whole commit with ERR_DUPLICATE_KEY;
 *      COMMIT_UPDATE of a missing key fails it with ERR_CORRUPT. PUT is for cold tables only
 *      (an upsert is slow and deadlocks on MariaDB). DELETE of a missing key is allowed.
 *  C4  No invariant spans two sections, so a driver may run one transaction per shard.
 *  C5  Drivers execute range deletes before rows. commit_delete_range() drops the pending rows that
 *      it covers, so the result is that of the calls in their order.
 *  C6  Rows need no section: a commit without sections is not fenced (cluster-wide cold tables).
 *
 * Changing one key in a way that cannot succeed (insert twice, update after delete) is a bug of the
 * caller and fails a CHECK. History and outbox rows are not merged: one change per key and commit.
 *
 * A commit is built by one thread, then belongs to the store until its completion.
 */
#ifndef CLUSTER_STORE_COMMIT_H
#define CLUSTER_STORE_COMMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/arena.h"
#include "cluster/base/map.h"
#include "cluster/store/table.h"

#define DUE_NONE INT64_MAX /* stored as NULL: the run is not in the due (or expiry) index */

enum commit_mode { COMMIT_INSERT, COMMIT_UPDATE, COMMIT_PUT, COMMIT_DELETE };

/* Where a merged change sits; commit.c's. */
struct commit_slot;

/** One row change. Bytes are in the commit's arena or outlive the commit. */
struct commit_row {
    enum table table;
    enum commit_mode mode;
    int32_t shard;
    struct bytes key;
    struct bytes value; /* not for DELETE */
    /* TABLE_RUN only */
    struct uuid namespace_id;
    int64_t due_ns;    /* wall clock; DUE_NONE = nothing owed */
    int64_t expire_ns; /* wall clock; DUE_NONE = open run */
    /* UPDATE: due_ns or expire_ns differ from what is stored. When false a driver must leave both
     * columns (and their indexes) alone. The namespace of a run never changes. */
    bool index_changed;
    struct commit_slot *slot; /* commit.c's; callers leave it NULL */
};

/** A range of keys to delete: from <= key < to. */
struct commit_range {
    enum table table;
    int32_t shard;
    struct bytes from;
    struct bytes to;
};

/** What a list shows and filters by (docs: visibility). Strings are views. Times: wall ns. */
struct visibility_row {
    int32_t shard;
    struct uuid run_id;
    struct uuid namespace_id;
    struct bytes workflow_id;
    struct bytes workflow_type;
    struct bytes task_queue;
    int32_t status; /* temporal.api.enums.v1.WorkflowExecutionStatus */
    int64_t start_ns;
    int64_t execution_ns; /* start + first backoff */
    int64_t close_ns;     /* DUE_NONE while open (sorts first in descending order) */
    int64_t history_length;
    int64_t history_size_bytes;
    int64_t state_transitions;
    struct bytes parent_workflow_id;
    struct bytes parent_run_id; /* text form, empty = none */
    struct bytes root_workflow_id;
    struct bytes root_run_id;
    struct bytes memo;              /* serialized temporal.api.common.v1.Memo */
    struct bytes search_attributes; /* serialized SearchAttributes */
};

struct commit_visibility {
    enum commit_mode mode; /* INSERT, UPDATE (all columns), DELETE (shard and run_id only) */
    struct visibility_row row;
    struct commit_slot *slot; /* commit.c's */
};

/** The fence of one shard. */
struct commit_section {
    int32_t shard;
    int64_t range_id;  /* must equal the stored one */
    int64_t commit_no; /* value the shard row gets: exactly the stored one + 1 */
};

struct commit {
    struct arena arena; /* rows, keys, values: released with the commit */
    struct commit_section *sections;
    size_t section_count;
    size_t section_capacity;
    struct commit_row *rows;
    size_t row_count;
    size_t row_capacity;
    struct commit_range *ranges;
    size_t range_count;
    size_t range_capacity;
    struct commit_visibility *visibility;
    size_t visibility_count;
    size_t visibility_capacity;
    size_t bytes;     /* keys and values, for COMMIT_BYTES_MAX */
    struct map index; /* (table, shard, key) -> row, for merging; not for history and outbox */
};

void commit_init(struct commit *commit);
void commit_release(struct commit *commit);
/** Empties it for reuse; keeps memory. */
void commit_reset(struct commit *commit);
/** Adds the shard's fence once; later calls with the same shard check that it is the same. */
void commit_section(struct commit *commit, struct commit_section section);
/** Adds or merges a change. Keys and values are NOT copied: they must be in commit->arena or
 *  outlive the commit. Merge rules: insert+update = insert; insert+delete = nothing;
 *  update+delete = delete; delete+insert = update (the row existed); later value wins. */
void commit_write(struct commit *commit, const struct commit_row *row);
void commit_delete_range(struct commit *commit, const struct commit_range *range);
/** Same merging by (shard, run_id); no PUT. */
void commit_visibility(struct commit *commit, const struct commit_visibility *change);
/** No changes. Sections do not count; a commit of sections alone is valid and checks the fences. */
bool commit_is_empty(const struct commit *commit);

#endif
