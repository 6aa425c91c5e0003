/* SPDX-License-Identifier: Apache-2.0
 *
 * The tables of a cluster's database, and the keys of their rows.
 *
 * One rule keeps every driver small: a table is (shard INT, key VARBINARY, value BLOB), primary key
 * (shard, key), unless SQL has to look inside. Only `run` (due and expiry columns), `visibility`
 * (filtered lists) and `shard` (the fence) have columns of their own. Keys are byte strings in
 * memcmp order: integers are big-endian, so a key range is a range of events or of seqs.
 */
#ifndef CLUSTER_STORE_TABLE_H
#define CLUSTER_STORE_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "cluster/base/bytes.h"
#include "cluster/base/uuid.h"

/* X(enum, SQL name, what the key is) */
#define TABLE_LIST(X)                                                              \
    X(TABLE_RUN, "run", "run id")                                                  \
    X(TABLE_CURRENT_RUN, "current_run", "namespace id, workflow id")               \
    X(TABLE_HISTORY, "history", "run id, branch, first event id of the batch")     \
    X(TABLE_FACT, "fact", "run id, kind, key within the kind")                     \
    X(TABLE_SNAPSHOT, "snapshot", "run id")                                        \
    X(TABLE_OUTBOX, "outbox", "seq")                                               \
    X(TABLE_PROGRESS, "progress", "role, cluster, shard")                          \
    X(TABLE_DEAD_LETTER, "dead_letter", "source cluster, source shard, seq, item") \
    X(TABLE_TOMBSTONE, "tombstone", "run id")                                      \
    X(TABLE_CONFLICT_REPORT, "conflict_report", "time, run id")                    \
    X(TABLE_NAMESPACE, "namespace", "namespace id; shard 0")                       \
    X(TABLE_FAILOVER, "failover", "namespace id, time; shard 0")                   \
    X(TABLE_CLUSTER, "cluster", "cluster name or setting; shard 0")                \
    X(TABLE_NODE, "node", "node id; shard 0")

enum table {
#define TABLE_ENUM(id, name, key) id,
    TABLE_LIST(TABLE_ENUM)
#undef TABLE_ENUM
        TABLE_COUNT
};

#define TABLE_KEY_BYTES_MAX 1100u /* a key holds at most one id of ID_BYTES_MAX */

/** The SQL name. Static string. */
const char *table_name(enum table table);

/** Append-only builder of keys in an arena. */
struct key_builder {
    struct arena *arena;
    uint8_t *data;
    size_t len;
    size_t capacity;
};

void key_begin(struct key_builder *builder, struct arena *arena, size_t size_hint);
void key_uuid(struct key_builder *builder, struct uuid uuid);
/** Big-endian; sorts correctly for values >= 0. */
void key_u32(struct key_builder *builder, uint32_t value);
void key_i64(struct key_builder *builder, int64_t value);
void key_bytes(struct key_builder *builder, struct bytes data);
struct bytes key_end(struct key_builder *builder);

/** Key of one history batch; event 0 = where the branch begins, INT64_MAX = behind its last. */
struct bytes key_history(
    struct arena *arena, struct uuid run_id, uint32_t branch, int64_t event_id);
struct bytes key_current_run(
    struct arena *arena, struct uuid namespace_id, struct bytes workflow_id);
struct bytes key_fact(struct arena *arena, struct uuid run_id, uint32_t kind, struct bytes key);
struct bytes key_seq(struct arena *arena, int64_t seq);

/** Reads back integers; false when the key is too short. */
bool key_read_i64(struct bytes key, size_t offset, int64_t *ret_value);
bool key_read_u32(struct bytes key, size_t offset, uint32_t *ret_value);

#endif
