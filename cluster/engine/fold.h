/* SPDX-License-Identifier: Apache-2.0
 *
 * The fold: events → state. One function for the active path, the passive path, rebuild, loading.
 */
#ifndef CLUSTER_ENGINE_FOLD_H
#define CLUSTER_ENGINE_FOLD_H

#include "cluster/engine/run.h"
#include "proto/api_history.pb-c.h"
#include "proto/record.pb-c.h"

/** A request id or an origin key that was consumed; key bytes follow the struct. */
struct fold_key {
    int64_t event_id;
    size_t len;
    uint8_t data[];
};

/** Applies one event to the folded state: total, never fails on its own events; ERR_CORRUPT for
 *  events that cannot follow (unknown activity, wrong id), the state is then unusable. `encoded` is
 *  the serialized event. Also advances the branch: next_event_id, version item, last event time and
 *  size. Does not touch facts, except that closing an activity removes its fact-fields with it. */
NODISCARD enum err fold_event(
    struct run *run, const Api__HistoryEvent *event, struct bytes encoded);
/** Folds the meta of a batch: request ids, origins, accept ids. */
NODISCARD enum err fold_meta(struct run *run, struct bytes meta, int64_t first_event_id);
/** Decodes and folds a whole batch value, checking that it continues the branch (id, digest). */
NODISCARD enum err fold_batch(struct run *run, struct bytes value);

/** RunHead ↔ run. */
void run_write_head(const struct run *run, Record__RunHead *ret_head, struct arena *arena);
NODISCARD enum err run_read_head(struct run *run, struct bytes value);
/** Snapshot ↔ folded state. A snapshot of another FOLD_VERSION reads as ERR_VERSION: load from
 *  the first event instead. */
struct bytes run_write_snapshot(const struct run *run, struct arena *arena);
NODISCARD enum err run_read_snapshot(struct run *run, struct bytes value);
/** Facts ↔ run. */
struct blob *run_write_activity_fact(const struct activity *activity);
NODISCARD enum err run_read_fact(struct run *run, enum fact_kind kind, struct bytes value);

/** The whole history as the state sees it, for comparing states in tests and checkers: a readable
 *  text of every folded field. */
void run_describe(const struct run *run, struct buffer *ret_text);

#endif
